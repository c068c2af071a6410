"""Everybody may write a policy that names an Application: who has no rights on it has no say in its hold."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from rollback_operator.kube import errors
from rollback_operator.targets.application.held import HOLD_ANNOTATION
from tests.unit.applications import Object
from tests.unit.fakes import failing
from tests.unit.objects import policy_body
from tests.unit.test_holds import World, held_application, rolled_back

APPLICATION = {"kind": "Application", "name": "web", "namespace": "shop"}
WRITE = "PUT /apis/argoproj.io/v1alpha1/namespaces/shop/applications/web as evil/evil"


def strangers_policy(**hold: Any) -> Object:
    """A policy of another namespace."""
    orders = {"until": "TargetChanges", "alertAfter": "1h", **hold}
    body = policy_body("stranger", target=APPLICATION, serviceAccountName="evil", hold=orders)
    body["metadata"]["namespace"] = "evil"
    return body


def strangers_secret() -> Object:
    """Credentials that the repository does not take."""
    said = {"url": "https://git.example.com", "username": "evil", "password": "wrong"}
    data = {key: base64.b64encode(value.encode()).decode() for key, value in said.items()}
    metadata = {"name": "evil", "namespace": "evil", "uid": "s"}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}


async def test_a_stranger_does_not_say_what_the_repository_is_shown() -> None:
    request, stranger = rolled_back(), strangers_policy(gitSecretName="evil")
    one = World(held_application(), request, stranger, strangers_secret())
    one.tell(stranger, request)
    one.api.faults.append(failing("applications/web as evil/evil", errors.Forbidden("no")))

    await one.work()

    assert set(one.git.shown) == {None}


async def test_who_may_read_the_application_says_what_the_repository_is_shown_unless_its_request_does() -> None:
    request, other = rolled_back(), strangers_policy(gitSecretName="evil")
    one = World(held_application(), request, other, strangers_secret())
    one.tell(request, other)

    await one.work()

    assert {shown.username for shown in one.git.shown if shown is not None} == {"evil"}


@pytest.mark.parametrize("stranger_first", [True, False])
async def test_who_may_read_and_not_write_keeps_no_hold_from_ending(stranger_first: bool) -> None:  # noqa: FBT001
    request, stranger = rolled_back(), strangers_policy()
    one = World(held_application(), request, stranger)
    one.tell(*((stranger, request) if stranger_first else (request, stranger)))
    one.git.differs = True
    one.api.faults.append(failing(WRITE, errors.Forbidden("no")))

    await one.work()

    assert HOLD_ANNOTATION not in one.app()["metadata"]["annotations"]


async def test_a_stranger_is_told_nothing_of_a_hold() -> None:
    mine = policy_body("mine", target={"kind": "Application", "name": "web"}, serviceAccountName="mine")
    stranger = strangers_policy()
    one = World(held_application(), mine, stranger)
    one.tell(mine, stranger)
    one.api.faults.append(failing("applications/web as evil/evil", errors.Forbidden("no")))

    await one.work()

    told = [call.path for call in one.api.calls if call.path.endswith("/events")]
    assert told == ["/api/v1/namespaces/shop/events"]


async def test_a_stranger_is_no_heir_of_a_hold_whose_request_is_deleted() -> None:
    request, stranger = rolled_back(), strangers_policy()
    one = World(held_application(), request, stranger)
    one.tell(request, stranger)
    one.api.faults.append(failing("applications/web as evil/evil", errors.Forbidden("no")))
    await one.work()

    one.delete(request)
    one.git.differs = True

    assert await one.work() is None
    assert HOLD_ANNOTATION not in one.app()["metadata"]["annotations"]
