"""Events: a courtesy to people, which holds nothing up."""

from __future__ import annotations

import logging
import re
from typing import Any

import pytest

from rollback_operator.kube import errors, events
from tests.unit.fakes import FakeApi, failing
from tests.unit.objects import Object, request_body

METADATA = request_body()["metadata"]


async def told(api: FakeApi, message: str = "Done.", metadata: Object = METADATA, **more: Any) -> list[Object]:
    door: Any = api
    await events.emit(
        door, "RollbackRequest", metadata, more.pop("reason", "Completed"), message, **{"warning": False, **more}
    )
    return [call.body for call in api.writes()]


async def test_an_event_says_what_happened_to_what() -> None:
    api = FakeApi()
    (event,) = await told(api, warning=True)
    assert str(api.calls[0]) == "POST /api/v1/namespaces/shop/events"
    assert api.calls[0].as_ == "the operator"
    assert event["involvedObject"] == {
        "apiVersion": "rollback.dev/v1alpha1",
        "kind": "RollbackRequest",
        "namespace": "shop",
        "name": "undo",
        "uid": "uid-of-request",
    }
    assert (event["reason"], event["message"], event["type"]) == ("Completed", "Done.", "Warning")
    assert event["source"] == {"component": "rollback-operator"}
    assert event["firstTimestamp"] == event["lastTimestamp"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", event["firstTimestamp"])


async def test_good_news_is_no_warning() -> None:
    (event,) = await told(FakeApi())
    assert event["type"] == "Normal"


async def test_the_same_event_is_recorded_once() -> None:
    api = FakeApi()
    one, other = await told(api), await told(api)
    assert one[0]["metadata"] == other[-1]["metadata"]
    assert len(api._things) == 1


DIFFERENT: dict[str, Object] = {
    "another reason": {"reason": "Failed"},
    "another message": {"message": "Not done."},
    "another object": {"metadata": METADATA | {"uid": "another"}},
}


@pytest.mark.parametrize("case", DIFFERENT)
async def test_an_event_is_another_one_with(case: str) -> None:
    api = FakeApi()
    await told(api)
    await told(api, **DIFFERENT[case])
    assert len(api._things) == 2


NAMES = ["undo", "n" * 253, "n" * 199 + "-" + "n" * 53, "n" * 199 + "." + "n" * 53]


@pytest.mark.parametrize("name", NAMES, ids=["short", "long", "a hyphen where it is cut", "a dot where it is cut"])
async def test_its_name_is_one_that_the_api_server_takes(name: str) -> None:
    (event,) = await told(FakeApi(), metadata=METADATA | {"name": name})
    part = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
    assert re.fullmatch(rf"{part}(\.{part})*", event["metadata"]["name"])
    assert len(event["metadata"]["name"]) <= 253


async def test_a_long_message_is_cut() -> None:
    (event,) = await told(FakeApi(), "é" * 5000)
    assert len(event["message"]) == 1024
    assert event["message"].endswith(" …")


TROUBLE = [errors.Unavailable("no answer"), errors.Forbidden("no"), errors.NotFound("namespace is gone")]


@pytest.mark.parametrize("error", TROUBLE, ids=lambda error: type(error).__name__)
async def test_trouble_is_logged_and_swallowed(error: errors.KubeError, caplog: pytest.LogCaptureFixture) -> None:
    api = FakeApi()
    api.faults.append(failing("events", error))
    with caplog.at_level(logging.WARNING):
        await told(api)
    (record,) = caplog.records
    assert record.getMessage() == f"An Event could not be recorded: {error}"
