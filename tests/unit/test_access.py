"""Asking the API server what an identity may do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from rollback_operator.kube import errors
from rollback_operator.kube.access import Right, first_lacking, may
from rollback_operator.kube.identity import ServiceAccount
from tests.unit.fakes import FakeApi, failing

ACCOUNT = ServiceAccount("shop", "rollback")
PATCH = Right("patch", "apps", "deployments", "shop", "checkout")
GET = Right("get", "", "secrets", "shop", "key")


async def asked(api: FakeApi, *rights: Right) -> Right | None:
    door: Any = api
    return await first_lacking(door, rights, ACCOUNT)


async def test_who_may_do_all_lacks_nothing() -> None:
    api = FakeApi()
    assert await asked(api, PATCH, GET) is None
    assert api.writes() == [], "nothing is stored"


async def test_the_account_itself_is_asked_for_exactly_that() -> None:
    api = FakeApi()
    await asked(api, PATCH)
    (call,) = api.calls
    assert (str(call), call.as_) == ("POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews", str(ACCOUNT))
    assert call.body["kind"] == "SelfSubjectAccessReview"
    assert call.body["spec"] == {
        "resourceAttributes": {
            "verb": "patch",
            "group": "apps",
            "resource": "deployments",
            "namespace": "shop",
            "name": "checkout",
        }
    }


async def test_the_first_that_is_lacking_is_told() -> None:
    api = FakeApi()
    api.lacking = {"patch"}
    assert await asked(api, GET, PATCH, replace(GET, verb="list")) is PATCH
    assert len(api.calls) == 2
    assert str(PATCH) == "patch deployments checkout in namespace shop"
    assert str(Right("get", "x", "definitions", "", "tills")) == "get definitions tills"


async def test_of_many_objects_of_a_kind_it_is_asked_once() -> None:
    api = FakeApi()
    assert await asked(api, PATCH, replace(PATCH, name="cart"), replace(PATCH, name="bank")) is None
    assert [call.body["spec"]["resourceAttributes"]["name"] for call in api.calls] == [""]


async def test_who_may_not_do_it_to_all_may_do_it_to_some() -> None:
    api = FakeApi()
    cart = replace(PATCH, name="cart")
    api.lacking = {"patch deployments "}
    assert await asked(api, PATCH, cart) is None
    api.lacking.add("patch deployments cart")
    assert await asked(api, PATCH, cart) is cart


async def test_who_needs_nothing_is_not_asked() -> None:
    api = FakeApi()
    assert await asked(api) is None
    assert api.calls == []


async def test_who_may_not_even_ask_lacks_nothing_that_is_known() -> None:
    api = FakeApi()
    api.faults.append(failing("POST", errors.Forbidden("is forbidden")))
    assert await asked(api, PATCH) is None


async def test_who_is_known_to_may_do_all_of_it() -> None:
    api: Any = FakeApi()
    assert await may(api, (GET, PATCH), ACCOUNT)
    api.lacking = {"patch"}
    assert not await may(api, (GET, PATCH), ACCOUNT)


async def test_of_who_may_not_even_ask_nothing_is_known() -> None:
    api: Any = FakeApi()
    api.faults.append(failing("POST", errors.Forbidden("is forbidden")))
    assert not await may(api, (PATCH,), ACCOUNT)


async def test_no_answer_is_no_right() -> None:
    api = FakeApi()
    api.faults.append(failing("POST", errors.Unavailable("no answer")))
    with pytest.raises(errors.Unavailable):
        await asked(api, PATCH)


@pytest.mark.parametrize("answer", [{}, {"status": {}}, {"status": {"allowed": False, "reason": "no"}}], ids=str)
async def test_only_an_answer_that_allows_it_does(answer: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    async def create(*_: Any, **__: Any) -> dict[str, Any]:
        return answer

    api = FakeApi()
    monkeypatch.setattr(api, "create", create)
    assert await asked(api, PATCH) is PATCH
