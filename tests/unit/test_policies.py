"""Policies: accepted once, and their history kept within its limit."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollback_operator.api.policy import PolicyStatus
from rollback_operator.core import conditions as on
from rollback_operator.kube import errors
from rollback_operator.policies import PolicyWorker, accepted, surplus
from tests.unit.builders import NOW, after, policy
from tests.unit.fakes import FakeApi, failing
from tests.unit.objects import Object, policy_body, request_body

KEY = ("shop", "checkout")


def ended(name: str, at: float | None) -> Object:
    body = request_body(name, uid=f"uid-of-{name}", policyRef={"name": "checkout"})
    body["status"] = {"phase": "Running"}
    if at is not None:
        body["status"] = {"phase": "Failed", "finishedAt": after(at).isoformat().replace("+00:00", ".000Z")}
    return body


def worker(api: FakeApi) -> PolicyWorker:
    door: Any = api
    return PolicyWorker(door)


# Accepting.


def test_a_policy_is_accepted() -> None:
    status = accepted(policy(), PolicyStatus(), 3, NOW)
    ready = on.find(status.conditions, on.READY)
    assert ready is not None
    assert (ready.status, ready.reason) == ("True", "Accepted")
    assert ready.message == "Requests with policyRef use this policy to roll Deployment/checkout back."
    assert (status.target, status.observed_generation) == ("Deployment/checkout", 3)


def test_a_policy_that_was_accepted_is_left_alone() -> None:
    once = accepted(policy(), PolicyStatus(), 3, NOW)
    assert accepted(policy(), once, 3, after(60)) is once


def test_a_policy_that_was_changed_is_accepted_again_in_the_same_state() -> None:
    once = accepted(policy(), PolicyStatus(), 3, NOW)
    again = accepted(policy(), once, 4, after(60))
    assert again.observed_generation == 4
    assert again.conditions[0].last_transition_time == NOW
    assert again.conditions[0].observed_generation == 4


async def test_it_is_written_once() -> None:
    api = FakeApi(policy_body())
    assert await worker(api).work(KEY) is None
    await worker(api).work(KEY)
    assert [str(call) for call in api.writes()] == [
        "PUT /apis/rollback.dev/v1alpha1/namespaces/shop/rollbackpolicies/checkout/status"
    ]


async def test_a_policy_that_is_gone_is_nobodys_work() -> None:
    api = FakeApi()
    assert await worker(api).work(KEY) is None
    assert api.writes() == []


# History.


async def test_the_oldest_that_ended_are_deleted_beyond_the_limit() -> None:
    things = [ended("a", 1), ended("b", 3), ended("c", 2), ended("running", None)]
    api = FakeApi(policy_body(historyLimit=1), *things, request_body("direct"))
    await worker(api).work(KEY)
    deleted = [(call.path.rsplit("/", 1)[-1], call.query["uid"]) for call in api.writes() if call.verb == "DELETE"]
    assert deleted == [("a", "uid-of-a"), ("c", "uid-of-c")]
    assert {call.as_ for call in api.writes()} == {"the operator"}


@pytest.mark.parametrize("error", [errors.NotFound("gone"), errors.Conflict("another of that name")], ids=str)
async def test_what_is_gone_already_holds_nothing_up(error: errors.KubeError) -> None:
    api = FakeApi(policy_body(historyLimit=1), ended("a", 1), ended("b", 2), ended("c", 3))
    api.faults.append(failing("DELETE /apis/rollback.dev/v1alpha1/namespaces/shop/rollbackrequests/a", error))
    await worker(api).work(KEY)
    assert [call.path.rsplit("/", 1)[-1] for call in api.writes() if call.verb == "DELETE"] == ["a", "b"]


@given(st.lists(st.none() | st.integers(0, 5), max_size=8), st.integers(1, 5))
def test_what_is_kept_is_what_runs_and_the_newest(ends: list[int | None], limit: int) -> None:
    bodies = [ended(f"r{number}", at) for number, at in enumerate(ends)]
    gone = surplus(bodies, limit)
    finished = [body for body in bodies if body["status"].get("finishedAt")]
    kept = [body for body in finished if body not in gone]
    assert all(body in finished for body in gone)
    assert len(kept) == min(limit, len(finished))
    times = [body["status"]["finishedAt"] for body in gone]
    assert times == sorted(times)
    assert not gone or not kept or max(times) <= min(body["status"]["finishedAt"] for body in kept)
    assert surplus(list(reversed(bodies)), limit) == gone
