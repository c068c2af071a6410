"""The operator as a whole: what events become, the net below the watch, and what liveness is judged by."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client import REGISTRY

from rollback_operator import operator as module
from rollback_operator.api import POLICIES, REQUESTS
from rollback_operator.kube import errors
from rollback_operator.operator import RollbackOperator
from rollback_operator.settings import Settings
from rollback_operator.watching import Standing
from tests.unit.fakes import FakeApi, failing
from tests.unit.objects import Object, deployment, policy_body, replica_set, request_body
from tests.unit.test_holds import rolled_back

UNDO = (REQUESTS, "shop", "undo")
CHECKOUT = (POLICIES, "shop", "checkout")


def aged(body: Object, seconds: float) -> Object:
    created = datetime.now(UTC) - timedelta(seconds=seconds)
    body["metadata"]["creationTimestamp"] = created.strftime("%Y-%m-%dT%H:%M:%SZ")
    return body


def an_operator(*things: Object, **settings: Any) -> tuple[RollbackOperator, FakeApi]:
    fake: Any = FakeApi(*things)
    return RollbackOperator(fake, Settings(**settings)), fake


@contextlib.asynccontextmanager
async def going(operator: RollbackOperator) -> AsyncIterator[None]:
    task = asyncio.create_task(operator.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def until(question: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not question():  # noqa: ASYNC110 - the operator tells nobody but the API server
            await asyncio.sleep(0.005)


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


# Events.


def test_a_request_that_came_is_worked_on() -> None:
    operator, _ = an_operator()
    operator.request_changed(request_body(), deleted=False)
    assert operator.agenda.knows(UNDO)


def test_a_request_that_is_gone_is_not() -> None:
    operator, _ = an_operator()
    operator.request_changed(request_body(), deleted=False)
    operator.request_changed(request_body(), deleted=True)
    assert not operator.agenda.knows(UNDO)


def test_what_a_request_that_is_gone_may_hold_is_looked_at() -> None:
    operator, _ = an_operator()
    operator.request_changed(rolled_back(phase="Verifying"), deleted=False)
    assert not operator.holding.knows(("Application", "shop", "web"))
    operator.request_changed(rolled_back(phase="Verifying"), deleted=True)
    assert operator.holding.knows(("Application", "shop", "web"))


@pytest.mark.parametrize("phase", ["Succeeded", "Failed", "Superseded", "Aborted"])
def test_a_request_that_has_ended_is_not(phase: str) -> None:
    operator, _ = an_operator()
    operator.request_changed(request_body() | {"status": {"phase": phase}}, deleted=False)
    assert not operator.agenda.knows(UNDO)
    assert not operator.orders.knows(CHECKOUT)


def test_a_request_that_has_ended_has_its_policy_trimmed() -> None:
    operator, _ = an_operator()
    body = request_body(policyRef={"name": "checkout"}) | {"status": {"phase": "Failed"}}
    operator.request_changed(body, deleted=False)
    assert operator.orders.knows(CHECKOUT)
    assert not operator.agenda.knows(UNDO)


def test_several_that_end_at_once_have_it_trimmed_once() -> None:
    operator, _ = an_operator()
    begun = time.monotonic()
    operator.request_changed(of_policy("Failed"), deleted=False)
    due = operator.orders._due[CHECKOUT]
    assert begun + module.AFTER_AN_END <= due <= time.monotonic() + module.AFTER_AN_END


def of_policy(phase: str | None) -> Object:
    return request_body(policyRef={"name": "checkout"}) | {"status": {"phase": phase} if phase else {}}


@pytest.mark.parametrize("phase, wakes", [(None, False), ("Running", False), ("Succeeded", True)])
def test_a_policy_is_told_of_its_requests_and_woken_at_their_end(phase: str | None, wakes: bool) -> None:  # noqa: FBT001
    operator, _ = an_operator()
    watched(operator)
    standing = standing_in(operator)
    standing.requests_changed = False
    operator.request_changed(of_policy(phase), deleted=False)
    assert standing.requests_changed
    assert operator.orders.knows(CHECKOUT) == wakes


def test_a_request_of_nobody_s_policy_tells_no_policy() -> None:
    operator, _ = an_operator()
    watched(operator)
    standing = standing_in(operator)
    standing.requests_changed = False
    operator.request_changed(request_body() | {"status": {"phase": "Failed"}}, deleted=False)
    assert not standing.requests_changed
    assert not operator.orders.knows(CHECKOUT)


def test_a_policy_that_came_is_worked_on() -> None:
    operator, _ = an_operator()
    operator.policy_changed(policy_body(), deleted=False)
    assert operator.orders.knows(CHECKOUT)
    assert not operator.agenda.knows(CHECKOUT), "requests and policies do not wait for each other"


def test_a_policy_that_is_gone_is_not() -> None:
    operator, _ = an_operator()
    operator.policy_changed(policy_body(), deleted=False)
    operator.policy_changed(policy_body(), deleted=True)
    assert not operator.orders.knows(CHECKOUT)
    assert operator._policies.watching.get(("shop", "checkout")) is None


def test_the_echo_of_its_status_is_no_work_on_a_policy() -> None:
    operator, _ = an_operator()
    watched(operator)
    operator.policy_changed(policy_body() | {"status": {"verdict": "Healthy"}}, deleted=False)
    assert not operator.orders.knows(CHECKOUT)


TRIGGER: Object = {"name": "errors", "alert": {"name": "TooManyErrors"}}


def watched(operator: RollbackOperator) -> None:
    """checkout is watched by a policy, and was worked on."""
    operator.policy_changed(policy_body(triggers=[TRIGGER]), deleted=False)
    operator.orders.forget(CHECKOUT)


def standing_in(operator: RollbackOperator) -> Standing:
    standing = operator._policies.watching.get(("shop", "checkout"))
    assert standing is not None
    return standing


def test_a_target_wakes_its_policy_when_another_revision_is_asked_for() -> None:
    operator, _ = an_operator()
    watched(operator)
    target = operator.targets["Deployment"]
    for thing, deleted, wakes in (
        (deployment(), False, True),
        (deployment(), False, False),
        (deployment(status={"replicas": 3, "updatedReplicas": 1}), False, False),
        (deployment("shop:4", number=4, generation=4), False, True),
        (deployment("shop:4", number=4, generation=4), True, True),
        (deployment("shop:4", number=4, generation=4), True, False),
    ):
        operator.orders.forget(CHECKOUT)
        operator.target_changed(target, thing, deleted=deleted)
        assert operator.orders.knows(CHECKOUT) == wakes, (thing, deleted)


def test_a_target_of_another_policy_wakes_nobody() -> None:
    operator, _ = an_operator()
    watched(operator)
    target = operator.targets["Deployment"]
    operator.target_changed(target, deployment(name="cart"), deleted=False)
    assert not operator.orders.knows(CHECKOUT)


def test_a_target_that_went_before_anything_was_told_of_it_wakes_its_policy() -> None:
    operator, _ = an_operator()
    watched(operator)
    target = operator.targets["Deployment"]
    operator.target_changed(target, deployment(), deleted=True)
    assert operator.orders.knows(CHECKOUT)


def test_an_alert_wakes_the_policy_that_it_names() -> None:
    operator, _ = an_operator()
    watched(operator)
    operator._alerted("shop", "nobody")
    assert not operator.orders.knows(CHECKOUT)
    operator._alerted("shop", "checkout")
    assert operator.orders.knows(CHECKOUT)
    assert standing_in(operator).next_due() == 0.0


def test_a_target_wakes_those_that_wait_for_it_with_news_only() -> None:
    operator, _ = an_operator()
    target = operator.targets["Deployment"]
    operator.target_changed(target, deployment(), deleted=False)
    assert not operator.agenda.knows(UNDO)
    operator._requests.interest.gained(("shop", "undo"), ("Deployment", "shop", "checkout"))
    for thing, deleted, wakes in (
        (deployment(), False, True),
        (deployment(), False, False),
        (deployment(annotations={"note": "x"}), False, False),
        (deployment(generation=4), False, True),
        (deployment(generation=4), True, True),
    ):
        operator.agenda.forget(UNDO)
        operator.target_changed(target, thing, deleted=deleted)
        assert operator.agenda.knows(UNDO) == wakes, thing


def test_a_trigger_that_says_something_new_wakes_requests_that_wait_for_its_target() -> None:
    operator, _ = an_operator()
    operator._requests.interest.gained(("shop", "undo"), ("Deployment", "shop", "checkout"))
    operator._policies._asker._tell_of(("Deployment", "shop", "other"))
    assert not operator.agenda.knows(UNDO)
    operator._policies._asker._tell_of(("Deployment", "shop", "checkout"))
    assert operator.agenda.knows(UNDO)


# Work.


async def test_a_request_is_carried_out() -> None:
    undo = aged(request_body(), 1)
    operator, fake = an_operator(deployment(), *(replica_set(n) for n in (1, 2, 3)), undo)
    async with going(operator):
        operator.request_changed(undo, deleted=False)
        await until(lambda: fake.current(undo)["status"].get("phase") == "Verifying")
    assert fake.current(deployment())["spec"]["template"]["spec"]["containers"][0]["image"] == "shop:2"


async def test_the_late_echo_of_a_write_is_no_work() -> None:
    """The watch is behind: what it tells was written by ourselves, before the request ended."""
    undo = aged(request_body(), 1)
    operator, fake = an_operator(deployment(), replica_set(2), replica_set(3), undo)
    fake.faults.append(failing("PATCH", errors.Forbidden('is forbidden: User "x" cannot patch ')))
    echoes: list[Object] = []
    fake.late_faults.append(lambda call: echoes.append(fake.current(undo)) if call.verb == "PUT" else None)
    async with going(operator):
        operator.request_changed(undo, deleted=False)
        await until(lambda: fake.current(undo)["status"].get("phase") == "Failed" and not operator.agenda.knows(UNDO))
        fake.calls.clear()
        for body in echoes:
            operator.request_changed(body, deleted=False)
            assert not operator.agenda.knows(UNDO)
    assert [body["status"]["phase"] for body in echoes] == ["Running", "Failed"]
    assert [call for call in fake.calls if call.verb == "PUT"] == []


async def test_a_policy_is_carried_out() -> None:
    operator, fake = an_operator(deployment(), replica_set(2), replica_set(3), policy_body(triggers=[TRIGGER]))
    async with going(operator):
        operator.policy_changed(fake.current(policy_body()), deleted=False)
        await until(lambda: "verdict" in fake.current(policy_body())["status"])
    assert fake.current(policy_body())["status"]["current"]["revision"] == "3"


async def test_trouble_with_a_policy_is_logged_as_such(caplog: pytest.LogCaptureFixture) -> None:
    operator, fake = an_operator(policy_body())
    fake.faults.append(failing("GET", errors.Unavailable("no answer")))
    with caplog.at_level(logging.WARNING):
        async with going(operator):
            operator.policy_changed(policy_body(), deleted=False)
            await until(lambda: bool(caplog.records))
    assert getattr(caplog.records[0], "policy", None) == "shop/checkout"
    assert not hasattr(caplog.records[0], "request")


TROUBLE: dict[str, tuple[Exception, str, bool]] = {
    "the API server": (errors.Unavailable("no answer"), "API server", False),
    "a defect": (ValueError("what"), "defect", True),
}


@pytest.mark.parametrize("case", TROUBLE)
async def test_trouble_is_logged_with_the_request_and_counted(case: str, caplog: pytest.LogCaptureFixture) -> None:
    error, counts_as, shows_trace = TROUBLE[case]
    operator, fake = an_operator(request_body())
    fake.faults.append(failing("GET", error))
    before = counted("rollback_retries_total", why=counts_as)
    with caplog.at_level(logging.WARNING):
        async with going(operator):
            operator.agenda.wake(UNDO)
            await until(lambda: bool(caplog.records))
    record = caplog.records[0]
    assert record.getMessage() == f"Trying again later: {error}"
    assert getattr(record, "request", None) == "shop/undo"
    assert bool(record.exc_info) == shows_trace
    assert counted("rollback_retries_total", why=counts_as) >= before + 1


async def test_what_is_being_told_is_told_before_the_end() -> None:
    undo = aged(request_body(), 1)
    operator, fake = an_operator(deployment(), replica_set(2), replica_set(3), undo)
    async with going(operator):
        operator.request_changed(undo, deleted=False)
        await until(lambda: fake.current(undo)["status"].get("phase") == "Verifying")
    reasons = [call.body["reason"] for call in fake.writes() if call.path.endswith("/events")]
    assert reasons == ["Applying", "RollingOut"]


# The net below the watch.


async def test_a_request_that_no_event_told_of_is_found(caplog: pytest.LogCaptureFixture) -> None:
    undo = aged(request_body(), 60)
    operator, fake = an_operator(deployment(), replica_set(2), replica_set(3), undo, resync=0)
    before = counted("rollback_watch_missed_total")
    async with going(operator):
        await until(lambda: fake.current(undo)["status"].get("phase") == "Verifying")
    assert operator.watch_is_dead.is_set()
    assert counted("rollback_watch_missed_total") == before + 1
    (record,) = (record for record in caplog.records if "No watch event" in record.getMessage())
    assert getattr(record, "request", None) == "shop/undo"


NOT_MISSED: dict[str, Object] = {
    "one that came a moment ago": aged(request_body(), 0),
    "one that has ended": aged(request_body(), 60) | {"status": {"phase": "Failed"}},
}


@pytest.mark.parametrize("case", NOT_MISSED)
async def test_the_watch_did_not_miss(case: str) -> None:
    body = NOT_MISSED[case]
    if case == "one that came a moment ago":
        body = aged(body, 0)
    operator, fake = an_operator(body, resync=0)
    async with going(operator):
        await until(lambda: len([call for call in fake.calls if call.path.endswith(REQUESTS)]) >= 3)
    assert not operator.watch_is_dead.is_set()
    assert not operator.agenda.knows(UNDO)


async def test_a_request_on_the_agenda_was_not_missed() -> None:
    operator, fake = an_operator(aged(request_body(), 60), resync=0)
    operator.agenda.wake(UNDO, 60)
    async with going(operator):
        await until(lambda: len(fake.calls) >= 3)
    assert not operator.watch_is_dead.is_set()


async def test_a_list_that_fails_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    undo = aged(request_body(), 60)
    operator, fake = an_operator(undo, resync=0)
    fake.faults.append(failing("GET /apis/rollback.dev", errors.Unavailable("no answer"), times=1))
    async with going(operator):
        await until(operator.watch_is_dead.is_set)
    assert "Unfinished requests could not be listed: no answer" in caplog.messages


async def test_the_net_is_as_wide_as_the_watch() -> None:
    elsewhere = aged(request_body(), 60)
    elsewhere["metadata"]["namespace"] = "elsewhere"
    operator, fake = an_operator(elsewhere, resync=0, namespace="shop")
    async with going(operator):
        await until(lambda: len(fake.calls) >= 3)
    assert not operator.watch_is_dead.is_set()


# Health.


def test_it_is_well_at_first() -> None:
    assert an_operator()[0].stuck() is None


def set_back(operator: RollbackOperator, what: str) -> None:
    if what == "the loop":
        operator._beat -= module.TOO_LATE + 1
    if what == "work":
        operator.agenda.wake(UNDO)
        operator.agenda._due[UNDO] -= module.TOO_LATE + 5
    if what == "policies":
        operator.orders.wake(CHECKOUT)
        operator.orders._due[CHECKOUT] -= module.TOO_LATE + 5
    if what == "the watch":
        operator._misses = module.MISSES


STUCK = {
    "the loop": "the event loop stands still",
    "work": "work is overdue by 65 seconds",
    "policies": "work is overdue by 65 seconds",
    "the watch": "the watch misses requests",
}


@pytest.mark.parametrize("what", STUCK)
def test_it_says_what_stands_still(what: str) -> None:
    operator, _ = an_operator()
    set_back(operator, what)
    assert operator.stuck() == STUCK[what]


async def test_its_heart_beats() -> None:
    operator, _ = an_operator()
    set_back(operator, "the loop")
    async with going(operator):
        await until(lambda: operator.stuck() is None)


async def test_a_watch_that_sees_again_is_forgiven(monkeypatch: pytest.MonkeyPatch) -> None:
    operator, _ = an_operator(resync=0)
    operator._misses = module.MISSES
    monkeypatch.setattr(module, "UNNOTICED", 0.0)
    async with going(operator):
        await until(lambda: operator.stuck() is None)
