"""Carrying requests out, over an API server in memory that fails where a test says so."""

from __future__ import annotations

import asyncio
import copy
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rollback_operator.api import REQUEST_ANNOTATION
from rollback_operator.api.policy import Entry, PolicyStatus, Proof
from rollback_operator.api.request import RequestStatus
from rollback_operator.core.life import times
from rollback_operator.core.life.times import FINISH_TRIES, SEND_WITHIN
from rollback_operator.core.verdicts import Streak, Verdict
from rollback_operator.kube import errors
from rollback_operator.kube.resources import Key, key_of
from rollback_operator.requests.worker import RequestWorker
from rollback_operator.settings import Settings
from rollback_operator.targets import podtemplate
from rollback_operator.targets.deployment import DeploymentTarget
from rollback_operator.targets.metadata import REVISION
from tests.unit.builders import message, states, why
from tests.unit.fakes import Call, FakeApi, Fault, failing, killing
from tests.unit.objects import Object, deployment, policy_body, replica_set, request_body, template

KEY: Key = ("shop", "undo")
BAD, GOOD = template("shop:3"), template("shop:2")
FIRST = podtemplate.fingerprint(template("shop:1"))
DENIED = errors.Forbidden('deployments.apps "checkout" is forbidden: User "x" cannot patch resource "deployments"')
LOST = errors.Unavailable("no answer")
DEPLOYMENT = "/apis/apps/v1/namespaces/shop/deployments/checkout"
UNDO = "/apis/rollback.dev/v1alpha1/namespaces/shop/rollbackrequests/undo"


def asked(name: str = "undo", *, age: float = 5, **spec: Any) -> Object:
    """A request that was created some seconds ago."""
    body = request_body(name, uid=f"uid-of-{name}", **spec)
    created = datetime.now(UTC) - timedelta(seconds=age)
    body["metadata"]["creationTimestamp"] = created.strftime("%Y-%m-%dT%H:%M:%SZ")
    return body


class World:
    """checkout with revisions 1 to 3, requests for it, and a worker."""

    def __init__(self, *things: Object, undo: Object | None = None) -> None:
        self.undo = undo or asked()
        self.api = FakeApi(deployment(), *(replica_set(number) for number in (1, 2, 3)), self.undo, *things)
        self.woken: list[Key] = []
        self.streaks: dict[Key, dict[str, Streak]] = {}
        self.worker = self.another_worker()

    def another_worker(self, settings: Settings | None = None) -> RequestWorker:
        """Of another operator, or of the same one after it was killed."""
        api: Any = self.api
        targets = {"Deployment": DeploymentTarget(api)}
        return RequestWorker(
            api, targets, settings or Settings(), self.woken.append, lambda key: self.streaks.get(key, {})
        )

    async def work(self, key: Key = KEY, *, rounds: int = 1) -> float | None:
        """Have the request looked at so often; gives when it wants to be looked at again."""
        again: float | None = None
        for _ in range(rounds):
            again = await self.worker.work(key)
        await self.worker.told()
        return again

    def body(self, name: str = "undo") -> Object:
        return self.api.current(request_body(name))

    def status(self, name: str = "undo") -> RequestStatus:
        return RequestStatus.model_validate(self.body(name)["status"])

    def outcome(self, name: str = "undo") -> tuple[str | None, str]:
        status = self.status(name)
        return status.phase, why(status)

    @property
    def target(self) -> Object:
        return self.api.current(deployment())

    def edit(self, change: Callable[[Object], None]) -> None:
        self.api.edit(deployment(), change)

    def controller(self, revision: int = 4) -> None:
        """Number the revision that stands, as the Deployment controller does."""
        if self.target["status"]["observedGeneration"] == self.target["metadata"]["generation"]:
            return

        def number(thing: Object) -> None:
            thing["metadata"]["annotations"][REVISION] = str(revision)
            thing["status"]["observedGeneration"] = thing["metadata"]["generation"]

        self.edit(number)
        mark = self.target["metadata"]["annotations"].get(REQUEST_ANNOTATION)
        self.api.put(replica_set(revision, pods=self.target["spec"]["template"], mark=mark))

    def effects(self) -> list[Call]:
        return [call for call in self.api.writes() if call.verb == "PATCH" and "dryRun" not in call.query]

    def events(self) -> list[str]:
        return [call.body["reason"] for call in self.api.writes() if call.path.endswith("/events")]

    def status_writes(self) -> list[Call]:
        return [call for call in self.api.writes() if call.verb == "PUT"]


async def test_a_request_succeeds() -> None:
    world = World()
    assert await world.work() is not None
    assert world.outcome() == ("Verifying", "RollingOut")
    assert world.target["spec"]["template"] == GOOD
    assert world.target["metadata"]["annotations"][REQUEST_ANNOTATION] == "uid-of-undo"
    world.controller()
    assert await world.work() is None
    assert world.outcome() == ("Succeeded", "Completed")
    assert len(world.effects()) == 1
    assert [call.as_ for call in world.effects()] == ["shop/rollback"]
    assert {call.as_ for call in world.status_writes()} == {"the operator"}


async def test_the_plan_is_written_before_the_effect_is_sent() -> None:
    world = World()
    await world.work()
    writes = [str(call) for call in world.api.writes() if call.verb != "POST"]
    assert writes == [f"PUT {UNDO}/status", f"PATCH {DEPLOYMENT}", f"PUT {UNDO}/status"]
    first = world.status_writes()[0].body["status"]
    assert first["phase"] == "Running"
    assert first["targets"][0]["plan"]["to"]["revision"] == "2"


async def test_a_request_by_policy_takes_the_policys_settings() -> None:
    orders = policy_body(to="1", serviceAccountName="shop-rollback")
    world = World(orders, undo=asked(policyRef={"name": "checkout"}))
    await world.work()
    assert world.target["spec"]["template"] == template("shop:1")
    assert world.effects()[0].as_ == "shop/shop-rollback"


async def test_what_is_planned_goes_on_without_its_policy() -> None:
    orders = policy_body()
    world = World(orders, undo=asked(policyRef={"name": "checkout"}))
    await world.work()
    world.api.drop(orders)
    world.controller()
    await world.work()
    assert world.outcome() == ("Succeeded", "Completed")


ILLEGIBLE: dict[str, Object] = {
    "its orders": {"spec": {"target": {"kind": "Deployment", "name": "checkout"}, "mode": "OfLaterTimes"}},
    "its status": {"status": {"verdict": "Splendid", "observedGeneration": 1}},
}


@pytest.mark.parametrize("case", ILLEGIBLE)
async def test_what_is_planned_goes_on_although_its_policy_cannot_be_read(case: str) -> None:
    orders = policy_body()
    world = World(orders, undo=asked(policyRef={"name": "checkout"}))
    await world.work()
    world.api.put({**world.api.current(orders), **ILLEGIBLE[case]})
    world.controller()
    await world.work()
    assert world.outcome() == ("Succeeded", "Completed")


@pytest.mark.parametrize("abort", [False, True])
async def test_by_orders_that_cannot_be_read_nothing_is_done(*, abort: bool) -> None:
    orders = {**policy_body(), **ILLEGIBLE["its orders"]}
    fields: dict[str, Any] = {"abort": True} if abort else {}
    world = World(orders, undo=asked(policyRef={"name": "checkout"}, **fields))
    await world.work()
    assert world.effects() == []
    if abort:
        assert world.outcome() == ("Aborted", "Aborted")
        return
    assert world.outcome() == ("Failed", "PolicyNotFound")
    assert message(world.status()) == (
        "RollbackPolicy checkout in namespace shop cannot be read (mode: Input should be 'Enforce', 'Observe' or "
        "'Suspend'): nothing was changed. Apply crds/ of the operator's own version, write the policy anew, and then "
        "a new request."
    )


async def test_of_a_policy_whose_status_cannot_be_read_the_orders_count() -> None:
    world = World({**policy_body(to="1"), **ILLEGIBLE["its status"]}, undo=asked(policyRef={"name": "checkout"}))
    await world.work()
    assert world.status().to == "1"


async def test_what_was_deleted_is_nobodys_work() -> None:
    world = World()
    world.api.drop(world.undo)
    assert await world.work() is None
    assert world.api.writes() == []


# Conflicts.


async def test_a_request_that_changed_meanwhile_is_read_again_before_anything_is_done() -> None:
    """Aborted between the look and the write: the write fails, and nothing is sent."""
    world = World()
    world.worker.saw(world.body())
    world.api.edit(world.undo, lambda body: body["spec"].update(abort=True))
    await world.work()
    assert world.outcome() == ("Aborted", "Aborted")
    assert world.effects() == []
    assert world.target["spec"]["template"] == BAD


async def test_a_request_that_is_deleted_meanwhile_has_no_effect() -> None:
    world = World()
    world.worker.saw(world.body())
    world.api.drop(world.undo)
    assert await world.work() is None
    assert world.effects() == []


async def test_a_request_of_the_same_name_that_came_meanwhile_is_another_one() -> None:
    world = World()
    world.worker.saw(world.body())
    world.api.drop(world.undo)
    again = asked(abort=True)
    again["metadata"]["uid"] = "uid-of-another"
    world.api.put(again)
    await world.work()
    assert world.outcome() == ("Aborted", "Aborted")
    assert world.effects() == []


async def test_a_second_operator_on_an_old_reading_makes_no_second_effect() -> None:
    world = World()
    old = world.body()
    await world.work()
    another = world.another_worker()
    another.saw(old)
    await another.work(KEY)
    await another.told()
    assert len(world.effects()) == 1


async def test_two_operators_at_once_make_one_effect() -> None:
    world = World()
    workers = [world.another_worker() for _ in range(3)]
    await asyncio.gather(*(worker.work(KEY) for worker in workers))
    for worker in workers:
        await worker.told()
    made = [call for call in world.effects() if call.query["fieldManager"] == "rollback-operator"]
    assert world.target["metadata"]["generation"] == 4, "changed once"
    assert world.outcome() == ("Verifying", "RollingOut")
    assert made


# No answer.


def lost(when: str) -> Fault:
    return failing(when, LOST, times=1)


async def test_an_effect_that_was_made_without_an_answer_is_seen() -> None:
    world = World()
    world.api.late_faults.append(lost(f"PATCH {DEPLOYMENT}"))
    await world.work()
    assert world.outcome() == ("Verifying", "RollingOut")
    assert len(world.effects()) == 1


async def test_an_effect_that_was_not_made_is_made_after_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(times, "FIRST_PAUSE", timedelta(seconds=1))
    world = World()
    world.api.faults.append(lost(f"PATCH {DEPLOYMENT}"))
    again = await world.work()
    assert world.outcome() == ("Running", "Applying")
    assert again is not None
    assert 0 < again <= 1
    await asyncio.sleep(again)
    await world.work()
    assert world.outcome() == ("Verifying", "RollingOut")
    assert world.status().targets[0].steps[0].attempts == 2


@pytest.mark.parametrize("late", [False, True], ids=["not done", "done"])
@pytest.mark.parametrize("write", range(6))
async def test_killed_at_any_write_the_next_operator_goes_on(
    write: int, *, late: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process ends just before a write is done, or just after."""
    monkeypatch.setattr(times, "FIRST_PAUSE", timedelta(0))
    managed = {"manager": "rollback-operator", "operation": "Update", "apiVersion": "apps/v1", "fieldsV1": {}}
    world = World()
    world.edit(lambda thing: thing["metadata"].update(managedFields=[managed]))
    (world.api.late_faults if late else world.api.faults).append(killing(write))
    for _ in range(4):
        try:
            await world.worker.work(KEY)
        except SystemExit:
            world.worker = world.another_worker()
        await world.worker.told()
        world.controller()
    assert world.outcome() == ("Succeeded", "Completed")
    assert world.target["spec"]["template"] == GOOD
    assert world.target["metadata"]["generation"] == 4, "changed once"
    assert world.target["metadata"]["managedFields"] == []


async def test_an_effect_is_not_sent_long_after_it_was_written_down() -> None:
    """The process stood still in between: others may count that attempt as over, so that another is written down."""
    world = World()
    long_ago = (datetime.now(UTC) - SEND_WITHIN - timedelta(seconds=1)).isoformat()

    def stand_still(call: Call) -> Exception | None:
        steps = [step for one in (call.body or {})["status"]["targets"] for step in one["steps"]]
        for step in steps:
            if step["attempts"] == 1 and step["state"] == "Running":
                step["lastAttemptAt"] = long_ago
        return None

    world.api.faults.append(lambda call: stand_still(call) if call.verb == "PUT" else None)
    await world.work()
    assert world.outcome() == ("Verifying", "RollingOut")
    assert world.status().targets[0].steps[0].attempts == 2
    assert len(world.effects()) == 1


async def test_a_status_that_was_not_written_leads_to_nothing() -> None:
    world = World()
    world.api.faults.append(failing(f"PUT {UNDO}/status", LOST))
    with pytest.raises(errors.Unavailable):
        await world.work()
    assert world.effects() == []
    assert world.events() == []


async def test_a_status_that_was_written_without_an_answer_is_gone_on_from() -> None:
    world = World()
    world.api.late_faults.append(failing(f"PUT {UNDO}/status", LOST, times=1))
    with pytest.raises(errors.Unavailable):
        await world.work()
    assert world.outcome() == ("Running", "Applying")
    assert world.effects() == []
    await asyncio.sleep(0.2)
    await world.work()
    assert world.outcome() == ("Verifying", "RollingOut")
    assert len(world.effects()) == 1


# Refusals.


async def test_a_right_that_is_missing_ends_it() -> None:
    world = World()
    world.api.faults.append(failing(f"PATCH {DEPLOYMENT}", DENIED))
    assert await world.work() is None
    assert world.outcome() == ("Failed", "Forbidden")
    assert states(world.status())["Applied"] == "False"
    assert "Service account shop/rollback may not patch Deployment checkout" in message(world.status())
    assert len(world.effects()) == 1, "no use in trying again"


async def test_a_change_that_is_not_taken_ends_it() -> None:
    world = World()
    world.api.faults.append(failing(f"PATCH {DEPLOYMENT}", errors.Invalid("422 image is required")))
    await world.work()
    assert world.outcome() == ("Failed", "Rejected")


async def test_a_refused_dry_run_shows_what_was_refused() -> None:
    world = World(undo=asked(dryRun=True))
    world.api.faults.append(failing(f"PATCH {DEPLOYMENT}", DENIED))
    await world.work()
    assert world.outcome() == ("Failed", "Forbidden")
    assert world.status().targets[0].plan is not None


async def test_a_dry_run_changes_nothing() -> None:
    world = World(undo=asked(dryRun=True))
    assert await world.work() is None
    assert world.outcome() == ("Succeeded", "DryRun")
    assert world.effects() == []
    assert world.target == world.api.current(deployment())
    assert world.target["spec"]["template"] == BAD


async def test_the_operators_own_missing_rights_are_told() -> None:
    world = World()
    world.api.faults.append(failing(f"GET {DEPLOYMENT}", errors.Forbidden("cannot get deployments")))
    await world.work()
    assert world.outcome() == ("Failed", "Forbidden")
    assert "apply its deploy/ folder again" in message(world.status())


async def test_the_operators_own_missing_rights_deny_no_effect() -> None:
    world = World()
    await world.work()
    world.api.faults.append(failing(f"GET {DEPLOYMENT}", errors.Forbidden("cannot get deployments")))
    assert await world.work() == times.HEALTH_POLL.total_seconds()
    assert world.outcome() == ("Verifying", "RollingOut")


async def test_what_cannot_be_looked_at_after_its_effect_is_not_said_to_be_unchanged() -> None:
    said = (
        f'GET {DEPLOYMENT} as shop/rollback: 403 deployments.apps "checkout" is forbidden: User '
        '"system:serviceaccount:shop:rollback" cannot get resource "deployments" in API group "apps" in the namespace '
        '"shop"'
    )
    world = World()
    await world.work()
    earlier = "2026-03-01T03:00:00Z"
    world.api.edit(world.undo, lambda body: body["status"].update(startedAt=earlier))
    world.worker = world.another_worker()
    world.api.faults.append(failing(f"GET {DEPLOYMENT}", errors.Forbidden(said)))
    await world.work()
    assert world.outcome() == ("Failed", "Forbidden")
    assert "was set back to revision 2 and stays there" in message(world.status())
    assert "Service account shop/rollback may not look at Deployment/checkout." in message(world.status())
    assert "nothing was changed" not in message(world.status())


async def test_an_identity_that_is_none_is_nobodys() -> None:
    world = World()
    world.worker = world.another_worker(Settings(service_account=""))
    with pytest.raises(ValueError, match="not a service account"):
        await world.work()
    assert world.effects() == []


# Giving back.


def holding(world: World) -> None:
    """The operator holds fields of checkout, as after an effect."""
    entry = {"manager": "rollback-operator", "operation": "Update", "apiVersion": "apps/v1", "fieldsV1": {}}
    world.edit(lambda thing: thing["metadata"].update(managedFields=[copy.deepcopy(entry)]))


async def test_what_the_effect_took_is_given_back() -> None:
    world = World()
    holding(world)
    await world.work()
    world.controller()
    await world.work()
    assert world.outcome() == ("Succeeded", "Completed")
    assert world.target["metadata"]["managedFields"] == []


NO_GIVING: dict[str, errors.KubeError] = {
    "refused": DENIED,
    "not taken": errors.Invalid("no"),
    "in conflict": errors.Conflict("moved"),
    "without an answer": LOST,
    "never let in": errors.NotDone("slow down"),
}


@pytest.mark.parametrize("case", NO_GIVING)
async def test_giving_back_keeps_no_request_from_succeeding_if_it_is_always(
    case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(times, "FIRST_PAUSE", timedelta(milliseconds=1))
    world = World()
    holding(world)

    def fault(call: Call) -> Exception | None:
        return NO_GIVING[case] if call.query.get("fieldManager") == "rollback-operator-give-back" else None

    world.api.faults.append(fault)
    await world.work()
    world.controller()
    for _ in range(FINISH_TRIES + 1):
        again = await world.work()
        if again is None:
            break
        assert again > 0, "no hot loop"
    assert world.outcome() == ("Succeeded", "Completed")
    tries = [call for call in world.effects() if call.query["fieldManager"].endswith("give-back")]
    assert len(tries) <= FINISH_TRIES
    assert world.target["metadata"]["generation"] == 4, "changed once"


# Whose turn.


async def test_of_two_for_one_target_one_goes() -> None:
    world = World(asked("older", age=60))
    await asyncio.gather(world.worker.work(("shop", "undo")), world.worker.work(("shop", "older")))
    await world.worker.told()
    assert world.outcome("older") == ("Verifying", "RollingOut")
    assert world.outcome("undo") == ("Pending", "Queued")
    assert message(world.status("undo")).startswith("Waiting for older")
    assert len(world.effects()) == 1


async def test_of_many_that_start_at_once_one_plans() -> None:
    names = [f"r{number}" for number in range(8)]
    world = World(*(asked(name, age=60 - number) for number, name in enumerate(names)))
    await asyncio.gather(*(world.worker.work(("shop", name)) for name in reversed(names)))
    await world.worker.told()
    planned = [name for name in names if world.status(name).targets]
    assert planned == ["r0"]
    assert len(world.effects()) == 1


async def test_whoever_waited_is_woken_by_the_end() -> None:
    world = World(asked("older", age=60))
    await world.work(("shop", "older"))
    await world.work()
    world.controller()
    await world.work(("shop", "older"))
    assert world.woken == [KEY]
    await world.work()
    assert world.outcome() == ("Superseded", "AlreadyRolledBack")


async def test_a_policys_request_and_a_persons_wait_for_each_other() -> None:
    through = asked("through", age=60, policyRef={"name": "checkout"})
    world = World(policy_body(), through)
    await world.work(("shop", "through"))
    await world.work()
    assert world.outcome("through") == ("Verifying", "RollingOut")
    assert world.outcome() == ("Pending", "Queued")


GONE: dict[str, Callable[[World, Object], None]] = {
    "deleted": lambda world, orders: world.api.drop(orders),
    "pointed elsewhere": lambda world, orders: world.api.edit(
        orders, lambda body: body["spec"]["target"].update(name="another")
    ),
}


@pytest.mark.parametrize("case", GONE)
async def test_a_request_is_waited_for_although_its_policy_was(case: str) -> None:
    orders = policy_body()
    world = World(orders, asked("through", age=60, policyRef={"name": "checkout"}))
    await world.work(("shop", "through"))
    GONE[case](world, orders)
    await world.work()
    assert world.outcome() == ("Pending", "Queued")


@pytest.mark.parametrize("case", GONE)
async def test_a_revision_stays_bad_although_the_policy_of_its_request_was(case: str) -> None:
    """Never back to a revision that was rolled back from."""
    orders = policy_body()
    world = World(orders, asked("through", age=60, policyRef={"name": "checkout"}))
    await world.work(("shop", "through"))
    world.controller()
    await world.work(("shop", "through"))
    assert world.outcome("through") == ("Succeeded", "Completed")
    GONE[case](world, orders)
    later = (datetime.now(UTC) + timedelta(seconds=2)).strftime("%Y-%m-%dT%H:%M:%SZ")
    world.api.edit(world.undo, lambda body: body["metadata"].update(creationTimestamp=later))
    await world.work()
    (plan,) = (one.plan for one in world.status().targets if one.plan)
    assert plan.to.revision == "1"


# People and policies.


async def test_a_request_in_its_grace_touches_nothing_until_it_is_approved() -> None:
    world = World(undo=asked(grace="5m"))
    again = await world.work(rounds=2)
    assert again is not None
    assert 290 < again <= 295
    assert world.outcome() == ("AwaitingApproval", "AwaitingApproval")
    assert (len(world.status_writes()), world.effects()) == (1, [])
    world.api.edit(world.undo, lambda body: body["spec"].update(approve=True))
    world.worker.saw(world.body())
    await world.work()
    assert world.outcome() == ("Verifying", "RollingOut")
    assert len(world.effects()) == 1


async def test_a_request_in_its_grace_holds_nobody_up() -> None:
    world = World(asked("waits", age=60, grace="5m"))
    await world.work(("shop", "waits"))
    await world.work()
    assert world.outcome("waits") == ("AwaitingApproval", "AwaitingApproval")
    assert world.outcome() == ("Verifying", "RollingOut")


async def test_a_policys_ledger_says_where_to_go_back_to() -> None:
    orders = policy_body()
    known = Entry(fingerprint=FIRST, revision="1", verdict=Proof.GOOD, at=datetime.now(UTC), reason="well")
    orders["status"] = PolicyStatus(ledger=(known,)).dump()
    world = World(orders, undo=asked(policyRef={"name": "checkout"}))
    await world.work()
    assert world.target["spec"]["template"] == template("shop:1")


async def test_a_policys_triggers_are_waited_for() -> None:
    orders = policy_body(verify={"timeout": "5m", "triggers": ["errors"]})
    world = World(orders, undo=asked(policyRef={"name": "checkout"}))
    await world.work()
    world.controller()
    await world.work()
    assert world.outcome() == ("Verifying", "RollingOut")
    later = (datetime.now(UTC) + timedelta(seconds=1)).timestamp()
    world.streaks["shop", "checkout"] = {"errors": Streak(Verdict.BREACH, at=later, message="7% > 5%")}
    await world.work()
    assert world.outcome() == ("Verifying", "NotYetWell")
    world.streaks["shop", "checkout"] = {"errors": Streak(Verdict.HEALTHY, at=later)}
    assert await world.work() is None
    assert world.outcome() == ("Succeeded", "Completed")


# Telling.


async def test_events_are_told_of_transitions_only() -> None:
    world = World()
    await world.work()
    await world.work(rounds=3)
    assert world.events() == ["Applying", "RollingOut"]
    world.controller()
    await world.work(rounds=3)
    assert world.events() == ["Applying", "RollingOut", "Completed"]


async def test_an_event_is_of_the_request_and_by_the_operator() -> None:
    world = World()
    world.api.faults.append(failing(f"PATCH {DEPLOYMENT}", DENIED))
    await world.work()
    calls = [call for call in world.api.writes() if call.path.endswith("/events")]
    assert [(call.body["reason"], call.body["type"], call.as_) for call in calls] == [
        ("Applying", "Normal", "the operator"),
        ("Forbidden", "Warning", "the operator"),
    ]
    assert calls[-1].body["involvedObject"]["uid"] == "uid-of-undo"


async def test_events_that_cannot_be_told_hold_nothing_up() -> None:
    world = World()
    world.api.faults.append(failing("events", LOST))
    await world.work()
    assert world.outcome() == ("Verifying", "RollingOut")


async def test_every_line_of_the_log_says_which_request(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    with caplog.at_level(logging.INFO):
        await world.work()
    lines = [
        record
        for record in caplog.records
        if record.name in ("rollback_operator.requests.reporting", "rollback_operator.requests.acting")
    ]
    assert lines
    for record in lines:
        assert getattr(record, "request", None) == "shop/undo"
        assert getattr(record, "target", None) == "Deployment/checkout"


# Idle.

STILL: dict[str, Callable[[], World]] = {
    "rolling out": World,
    "waiting for its turn": lambda: World(asked("older", age=60)),
    "waiting for its policy": lambda: World(undo=asked(age=0, policyRef={"name": "none"})),
}


@pytest.mark.parametrize("case", STILL)
async def test_nothing_is_written_by_a_request_that_is_only(case: str) -> None:
    world = STILL[case]()
    if case == "rolling out":
        await world.work()
    await world.work()
    world.api.calls.clear()
    assert await world.work(rounds=3) is not None
    assert world.api.writes() == []


async def test_what_has_ended_is_not_even_looked_at() -> None:
    world = World()
    await world.work()
    world.controller()
    await world.work()
    world.api.calls.clear()
    assert await world.work(rounds=3) is None
    assert {str(call) for call in world.api.calls} <= {f"GET {UNDO}"}


async def test_nothing_is_remembered_of_what_has_ended() -> None:
    world = World()
    world.worker.saw(world.body())
    await world.work()
    world.controller()
    await world.work()
    assert world.worker._heard == {}
    assert world.worker.interest.of(("Deployment", "shop", "checkout")) == ()
    assert [key for _, key, _ in world.worker._bodies._ended] == [KEY]


async def test_nothing_is_remembered_of_what_was_deleted() -> None:
    world = World()
    await world.work()
    world.api.drop(world.undo)
    world.worker.gone(key_of(world.undo))
    assert await world.work() is None
    assert world.worker.interest.of(("Deployment", "shop", "checkout")) == ()


async def test_a_request_that_is_being_deleted_is_vetoed() -> None:
    """Somebody took it back, and a finalizer of another keeps it a while."""
    undo = asked()
    undo["metadata"]["deletionTimestamp"] = "2026-03-01T03:00:00Z"
    world = World(undo=undo)
    await world.work()
    assert world.outcome() == ("Aborted", "Aborted")
    assert world.effects() == []
