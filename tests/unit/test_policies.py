"""Policies: asked, judged, one request made, and nothing done that need not be."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from rollback_operator import watching
from rollback_operator.api import WITHDRAWN_ANNOTATION
from rollback_operator.core.verdicts import Sample, Verdict
from rollback_operator.kube import errors, resources
from rollback_operator.policies import asking, looking, making, worker
from rollback_operator.policies.making import surplus
from rollback_operator.policies.worker import PolicyWorker
from rollback_operator.settings import Settings
from rollback_operator.signals.base import Question
from rollback_operator.targets import by_kind, podtemplate
from rollback_operator.watching import Standing
from tests.unit import fakes
from tests.unit.builders import NOW, after
from tests.unit.fakes import Call, FakeApi, failing
from tests.unit.objects import Object, deployment, policy_body, replica_set, request_body

BREACH, UNKNOWN, HEALTHY = Verdict.BREACH, Verdict.UNKNOWN, Verdict.HEALTHY
KEY = ("shop", "checkout")
UID = "uid-of-policy-checkout"
REQUESTS = "/apis/rollback.dev/v1alpha1/namespaces/shop/rollbackrequests"
POLICY = "/apis/rollback.dev/v1alpha1/namespaces/shop/rollbackpolicies/checkout"


class Clock:
    """The time of day, and that since the start, as tests have it."""

    def __init__(self) -> None:
        self.now = NOW.timestamp()

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now - NOW.timestamp() + 1_000_000

    def date(self) -> type[datetime]:
        clock = self

        class Dated(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> Any:
                return datetime.fromtimestamp(clock.now, tz)

        return Dated


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    ticking = Clock()
    for place in (asking, looking, worker, watching):
        monkeypatch.setattr(place, "time", ticking)
    for dated in (looking, making, resources, fakes):
        monkeypatch.setattr(dated, "datetime", ticking.date())
    return ticking


class FakeSignal:
    """Says what it is told to: of each trigger the answer of now, and those of the past (seconds after `NOW`)."""

    source = "prometheus"

    def __init__(self) -> None:
        self.says: dict[str, Verdict] = {}
        self.past: dict[str, list[tuple[float, Verdict]]] = {}
        self.mistakes: dict[str, str] = {}
        self.asked: list[tuple[float, str]] = []
        self.meanwhile: Callable[[], None] = lambda: None
        self.figures = itertools.count(7)

    async def sample(self, question: Question, now: float) -> Sample:
        name = question.trigger.name
        self.asked.append((now - NOW.timestamp(), name))
        await asyncio.sleep(0)
        self.meanwhile()
        figure = f"{next(self.figures)}%"
        return Sample(now, self.says.get(name, HEALTHY), figure, f"{figure} of requests")

    async def history(self, question: Question, start: float, end: float) -> Sequence[Sample]:
        found = [(NOW.timestamp() + at, verdict) for at, verdict in self.past.get(question.trigger.name, [])]
        return [Sample(at, verdict, "9%", "9% then") for at, verdict in found if start <= at <= end]

    async def check(self, question: Question) -> str | None:
        return self.mistakes.get(question.trigger.name)

    async def close(self) -> None:
        """Nothing to close."""


def trigger(name: str = "errors", **fields: Any) -> Object:
    asks = {"prometheus": {"query": "q"}, "when": "> 5%", "interval": "30s"}
    return {"name": name, **asks, **fields}


def orders(*triggers: Object, name: str = "checkout", generation: int = 1, **spec: Any) -> Object:
    """A policy that asks every half minute, and acts at the first bad answer."""
    body = policy_body(name, triggers=list(triggers) or [trigger()], **spec)
    body["metadata"]["generation"] = generation
    return body


def made(at: float, body: Object) -> Object:
    moment = after(at).strftime("%Y-%m-%dT%H:%M:%SZ")
    body["metadata"]["creationTimestamp"] = moment
    return body


def release(number: int = 3, at: float = -600) -> list[Object]:
    """checkout at that revision, which came so many seconds after `NOW`; each one before it an hour earlier."""
    earlier = [made(at - 3600 * (number - older), replica_set(older)) for older in range(1, number + 1)]
    return [deployment(f"shop:{number}", number=number, generation=number), *earlier]


class World:
    """A worker, the API server, and what triggers say."""

    def __init__(self, clock: Clock, *things: Object, policy: Object | None = None, **settings: Any) -> None:
        self.clock = clock
        self.policy = policy or orders()
        self.api = FakeApi(*(things or release()), self.policy)
        self.signal = FakeSignal()
        self.settings = Settings(**settings)
        self.woken: list[tuple[str, str]] = []
        self.start()

    def start(self) -> None:
        """The operator starts (again): all that it remembered is gone."""
        door: Any = self.api
        sources = {"prometheus": self.signal}
        self.worker = PolicyWorker(door, by_kind(door), sources, self.settings, self.woken.append)
        self.saw(self.policy)

    def saw(self, thing: Object) -> bool:
        """The watch tells of a policy as it is now."""
        key = resources.key_of(thing)
        known = self.worker.watching.get(key)
        looks = self.worker.saw(self.api.current(thing))
        standing = self.worker.watching.get(key)
        if known is None and standing is not None:
            for one in standing.asking:
                one.due = self.clock.now
        return looks

    def edit(self, **spec: Any) -> None:
        """Somebody changes the policy, and the watch tells."""
        changed = self.api.current(self.policy)
        changed["spec"] |= spec
        changed["metadata"]["generation"] += 1
        self.api.put(changed)
        self.saw(self.policy)

    def deploy(self, number: int, at: float | None = None) -> None:
        """Another revision comes, and the watch tells."""
        moment = self.clock.now - NOW.timestamp() if at is None else at
        body = deployment(f"shop:{number}", number=number, generation=number)
        self.api.put(body, made(moment, replica_set(number)))
        self.tell_of_target(body)

    def tell_of_target(self, body: Object) -> None:
        target = by_kind(self.worker._api)["Deployment"]
        self.worker.target_changed(("Deployment", *resources.key_of(body)), target.version(body))

    async def turn(self, key: tuple[str, str] = KEY) -> float | None:
        return await self.worker.work(key)

    async def go(self, seconds: float, key: tuple[str, str] = KEY) -> None:
        """Time passes, and the policy is worked on when it is due."""
        end = self.clock.now + seconds
        while True:
            again = await self.turn(key)
            if again is None or self.clock.now + again >= end:
                break
            self.clock.now += max(again, 0.001)
        self.clock.now = end

    @property
    def standing(self) -> Standing:
        known = self.worker.watching.get(KEY)
        assert known is not None
        return known

    @property
    def status(self) -> Object:
        status: Object = self.api.current(self.policy)["status"]
        return status

    def condition(self, kind: str, policy: Object | None = None) -> tuple[str, str, str]:
        status = self.api.current(policy or self.policy)["status"]
        (found,) = [one for one in status["conditions"] if one["type"] == kind]
        return found["status"], found["reason"], found["message"]

    def why(self, kind: str = "Alert", policy: Object | None = None) -> str:
        return self.condition(kind, policy)[1]

    def requests(self) -> list[Object]:
        """What the policy made."""
        return [call.body for call in self.api.writes() if call.verb == "POST" and call.path == REQUESTS]

    def written(self) -> list[Call]:
        """Writes of the policy's status."""
        return [call for call in self.api.writes() if call.verb == "PUT"]

    def events(self) -> list[str]:
        posts = [call for call in self.api.writes() if call.verb == "POST" and call.path.endswith("/events")]
        return [call.body["reason"] for call in posts]

    def end(self, name: str, phase: str, reason: str = "Forbidden", *, applied: bool = False) -> None:
        """A request ends, and the watch tells."""
        body = self.api.current(request_body(name))
        moment = datetime.fromtimestamp(self.clock.now, UTC).isoformat().replace("+00:00", "Z")
        ready = condition("Ready", "False", reason)
        conditions = [ready, *([condition("Applied", "True", "Applied")] if applied else [])]
        body["status"] = {"phase": phase, "conditions": conditions, "finishedAt": moment}
        self.api.put(body)
        self.worker.request_changed(KEY)

    def forget_calls(self) -> None:
        self.api.calls.clear()


def condition(kind: str, status: str, reason: str) -> Object:
    moment = NOW.strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"type": kind, "status": status, "reason": reason, "message": "So.", "lastTransitionTime": moment}


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


@pytest.fixture
async def calm(clock: Clock) -> World:
    """A policy that was looked at, and is well."""
    world = World(clock)
    await world.go(60)
    world.forget_calls()
    return world


# What nothing happens to costs nothing.


async def test_an_idle_policy_costs_its_questions_and_no_call(calm: World) -> None:
    calm.signal.asked.clear()
    await calm.go(300)
    assert len(calm.signal.asked) == 10
    assert calm.api.calls == []


async def test_it_proves_good_and_costs_nothing_again(calm: World) -> None:
    await calm.go(700)
    assert calm.status["lastKnownGood"]["revision"] == "3"
    assert len(calm.written()) == 1
    looked = len(calm.api.calls)
    await calm.go(500)
    assert len(calm.written()) == 1
    assert len(calm.api.calls) - looked <= 12, "once it is looked whether it could still be rolled back"


async def test_a_release_that_does_not_roll_out_proves_nothing_and_costs_little(clock: Clock) -> None:
    stuck = deployment(status={"replicas": 4, "updatedReplicas": 1, "availableReplicas": 3})
    world = World(clock, stuck, *release()[1:])
    await world.go(600)
    world.forget_calls()
    await world.go(300)
    assert "lastKnownGood" not in world.status
    looks = [call for call in world.api.calls if call.path.endswith("/deployments/checkout")]
    assert len(looks) <= 6
    world.api.put(deployment())
    await world.go(90)
    assert world.status["lastKnownGood"]["revision"] == "3"


async def test_a_trigger_that_only_tells_other_figures_writes_nothing(clock: Clock) -> None:
    world = World(clock, policy=orders(trigger(action="Alert")))
    world.signal.says["errors"] = BREACH
    await world.go(300)
    assert world.why() == "Firing"
    assert len(world.written()) == 1


async def test_a_withheld_rollback_is_looked_at_now_and_then(clock: Clock) -> None:
    world = World(clock, policy=orders(trigger(interval="1s"), mode="Observe"))
    world.signal.says["errors"] = BREACH
    await world.go(5)
    world.forget_calls()
    world.signal.asked.clear()
    await world.go(100)
    assert len(world.signal.asked) == 100
    looks = [call for call in world.api.calls if call.path.endswith("/deployments/checkout")]
    assert 9 <= len(looks) <= 11
    assert world.api.writes() == []


# The first look.


async def test_the_first_look_tells_what_is_known(clock: Clock) -> None:
    world = World(clock)
    await world.turn()
    status = world.status
    assert world.condition("Ready") == ("True", "Evaluating", "Deployment/checkout is watched by errors.")
    assert world.condition("Armed") == ("True", "Armed", "Deployment/checkout can be rolled back.")
    assert world.condition("Alert") == ("False", "NothingWrong", "Nothing wrong was seen.")
    assert (status["verdict"], status["target"], status["observedGeneration"]) == ("Healthy", "Deployment/checkout", 1)
    assert (status["current"]["revision"], status["current"]["since"]) == ("3", "2026-03-01T02:50:00.000Z")
    assert [one["verdict"] for one in status["triggers"]] == ["Healthy"]
    assert len(world.written()) == 1
    assert world.events() == ["Evaluating"]


async def test_a_policy_that_no_event_told_of_is_read(clock: Clock) -> None:
    world = World(clock)
    world.worker.gone(KEY)
    assert await world.turn() is not None
    assert world.worker.watching.get(KEY) is not None


async def test_a_policy_that_is_gone_is_no_work(clock: Clock) -> None:
    world = World(clock)
    world.api.drop(world.policy)
    world.worker.gone(KEY)
    assert await world.turn() is None


async def test_several_triggers_are_told_apart(clock: Clock) -> None:
    world = World(clock, policy=orders(trigger("a", action="Alert"), trigger("b", interval="1m"), trigger("c")))
    world.signal.says |= {"a": BREACH, "c": UNKNOWN}
    await world.go(61)
    told = [(one["name"], one["verdict"], one["firing"]) for one in world.status["triggers"]]
    assert told == [("a", "Breach", True), ("b", "Healthy", False), ("c", "Unknown", False)]
    assert [name for _, name in world.signal.asked] == ["a", "b", "c", "a", "c", "a", "b", "c"]
    assert world.status["verdict"] == "Breach"


# One request.


async def test_what_fires_makes_one_request(clock: Clock) -> None:
    world = World(clock)
    world.signal.says["errors"] = BREACH
    await world.go(600)
    (request,) = world.requests()
    assert request["spec"] == {
        "policyRef": {"name": "checkout", "uid": UID},
        "from": podtemplate.fingerprint(deployment()["spec"]["template"]),
        "reason": "errors: 7% of requests (policy checkout)",
    }
    assert request["metadata"]["labels"] == {"rollback.dev/policy": "checkout"}
    assert "ownerReferences" not in request["metadata"], "evidence outlives the policy"
    assert world.status["lastRequest"]["name"] == request["metadata"]["name"]
    assert world.why() == "RollingBack"
    assert {call.as_ for call in world.api.writes()} == {"the operator"}


async def test_the_label_of_a_long_name_is_one(clock: Clock) -> None:
    name = "a" * 62 + "-b.c"
    world = World(clock, policy=orders(name=name))
    world.signal.says["errors"] = BREACH
    await world.go(30, ("shop", name))
    (request,) = world.requests()
    assert request["metadata"]["labels"] == {"rollback.dev/policy": "a" * 62}
    assert request["spec"]["policyRef"]["name"] == name


async def test_a_trigger_that_asks_people_first_makes_a_request_that_waits(clock: Clock) -> None:
    world = World(clock, policy=orders(trigger(action="AlertThenRollback", grace="2m")))
    world.signal.says["errors"] = BREACH
    await world.turn()
    assert world.requests()[0]["spec"]["grace"] == "2m"


@pytest.mark.parametrize("given,wanted", [("5m", None), ("30m", "35m"), ("23h56m", "24h"), ("24h", "24h")])
async def test_a_request_has_the_time_that_the_policy_gives_it_to_be_verified(
    clock: Clock, given: str, wanted: str | None
) -> None:
    world = World(clock, policy=orders(verify={"timeout": given}))
    world.signal.says["errors"] = BREACH
    await world.turn()
    assert world.requests()[0]["spec"].get("timeout") == wanted


async def test_whether_it_could_be_rolled_back_is_not_said_before_it_was_looked_at(clock: Clock) -> None:
    """The target is between two revisions, which nobody can look past."""
    sets = [replica_set(number) for number in (1, 2, 3)]
    world = World(clock, deployment(observed=2), *sets)
    await world.turn()
    assert [one["type"] for one in world.status["conditions"] if one["type"] == "Armed"] == []
    world.api.edit(deployment(), lambda body: body["status"].update(observedGeneration=3))
    await world.go(30)
    assert world.condition("Armed")[0] == "True"


KILLED: dict[str, tuple[str, bool]] = {
    "before it is made": (f"POST {REQUESTS}", False),
    "after it was made, before that is known": (f"POST {REQUESTS}", True),
    "before the status is written": ("PUT ", False),
    "after the status was written, before that is known": ("PUT ", True),
    "before the policy is read": (f"GET {POLICY}", False),
}


@pytest.mark.parametrize("restart", [True, False], ids=["started anew", "tried again"])
@pytest.mark.parametrize("case", KILLED)
async def test_the_request_is_made_exactly_once_if_the_operator_is_killed(
    clock: Clock,
    case: str,
    restart: bool,  # noqa: FBT001
) -> None:
    what, late = KILLED[case]
    world = World(clock)
    await world.go(30)
    world.signal.says["errors"] = BREACH
    (world.api.late_faults if late else world.api.faults).append(
        failing(what, errors.Unavailable("no answer"), times=1)
    )
    with pytest.raises(errors.Unavailable):
        await world.turn()
    if restart:
        world.start()
    await world.go(300)
    stored = await resources.list_all(world.worker._api, "rollbackrequests", "shop")
    assert len(stored) == 1
    assert world.status["lastRequest"]["name"] == stored[0]["metadata"]["name"]
    assert world.why() == "RollingBack"
    world.api.drop(request_body(stored[0]["metadata"]["name"]))
    await world.go(60)
    assert await resources.list_all(world.worker._api, "rollbackrequests", "shop") == [], "deleting it is a veto"


async def test_it_is_not_made_again_by_two_operators(clock: Clock) -> None:
    world = World(clock)
    world.signal.says["errors"] = BREACH
    await world.turn()
    other = World(clock)
    other.api, other.signal = world.api, world.signal
    other.start()
    world.forget_calls()
    await other.go(120)
    assert world.requests() == []
    assert other.why() == "RollingBack"


async def test_an_operator_that_knew_nothing_of_it_makes_no_request_again_that_people_deleted(clock: Clock) -> None:
    world, other = World(clock), World(clock)
    other.api, other.signal = world.api, world.signal
    await world.turn()
    other.start()
    await other.turn()
    world.signal.says["errors"] = BREACH
    clock.now += 30
    await world.turn()
    (made_once,) = world.requests()
    world.api.drop(request_body(made_once["metadata"]["name"]))
    await other.go(120)
    assert world.requests() == [made_once]
    assert other.why() == "Vetoed"


async def test_a_request_that_another_made_at_the_same_moment_is_ours(clock: Clock) -> None:
    world = World(clock)
    world.signal.says["errors"] = BREACH

    def meanwhile(call: Call) -> Exception | None:
        if call.verb == "POST" and call.path == REQUESTS:
            world.api.faults.clear()
            world.api.put(world.api._new(call.body))
        return None

    world.api.faults.append(meanwhile)
    before = counted("rollback_requests_made_total")
    await world.turn()
    assert len(await resources.list_all(world.worker._api, "rollbackrequests", "shop")) == 1
    assert world.why() == "RollingBack"
    assert "lastRequest" in world.status
    assert counted("rollback_requests_made_total") == before, "another counted it"


@pytest.mark.parametrize("about", ["the same target", "another target", "another policy"])
async def test_a_request_of_its_name_that_it_did_not_make_is_told_of_and_left_alone(clock: Clock, about: str) -> None:
    world = World(clock)
    world.signal.says["errors"] = BREACH
    await world.turn()
    name = world.requests()[0]["metadata"]["name"]
    fields: Object = {
        "the same target": {},
        "another target": {"target": {"kind": "Deployment", "name": "cart"}},
        "another policy": {"policyRef": {"name": "cart", "uid": "uid-of-another"}},
    }[about]
    world = World(clock, *release(), request_body(name, **fields))
    world.signal.says["errors"] = BREACH
    await world.go(300)
    assert world.requests() == []
    assert "lastRequest" not in world.status
    assert world.condition("Alert") == (
        "True",
        "CouldNotRollBack",
        f"errors: 7% of requests (policy checkout). A request named {name} is there that this policy did not make: "
        "nothing is rolled back until it is deleted."
        if about != "the same target"
        else f"errors: 7% of requests. A request named {name} is there that this policy did not make: nothing is "
        "rolled back until it is deleted.",
    )
    assert [call.verb for call in world.api.writes() if call.path != "/api/v1/namespaces/shop/events"] == ["PUT"]
    world.api.drop(request_body(name))
    await world.go(30)
    assert len(world.requests()) == 1


QUOTA = errors.Forbidden(f"POST {REQUESTS} as the operator: 403 exceeded quota: count/rollbackrequests=10")
RIGHTS = errors.Forbidden(
    f"POST {REQUESTS} as the operator: 403 rollbackrequests.rollback.dev is forbidden: User "
    '"system:serviceaccount:rollback-system:rollback-operator" cannot create resource "rollbackrequests" in API group '
    '"rollback.dev" in the namespace "shop"'
)
REFUSALS = {
    "a quota": (QUOTA, f"The request could not be made: {QUOTA}"),
    "a schema": (errors.Invalid("422 spec.to: no"), "The request could not be made: 422 spec.to: no"),
    "its own rights": (
        RIGHTS,
        (
            "The request could not be made: The operator's own rights do not suffice: apply its deploy/ folder again. "
            f"{RIGHTS}"
        ),
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
async def test_a_request_that_is_refused_is_told_of_and_made_once_it_is_taken(clock: Clock, case: str) -> None:
    error, said = REFUSALS[case]
    world = World(clock, policy=orders(trigger(interval="1s")))
    await world.go(30)
    world.forget_calls()
    world.api.faults.append(failing(f"POST {REQUESTS}", error))
    world.signal.says["errors"] = BREACH
    await world.go(100)
    kind, reason, message = world.condition("Alert")
    assert (kind, reason) == ("True", "CouldNotRollBack")
    assert message.endswith(f"of requests (policy checkout). {said}")
    assert (world.status["verdict"], world.status["triggers"][0]["firing"]) == ("Breach", True)
    assert len(world.written()) == 1
    assert world.events() == ["CouldNotRollBack"]
    assert 9 <= len(world.requests()) <= 11, "now and then, not in a tight loop"
    world.api.faults.clear()
    await world.go(30)
    assert world.why() == "RollingBack"
    assert "lastRequest" in world.status


async def test_a_request_without_an_answer_is_told_of_and_made_at_once(clock: Clock) -> None:
    world = World(clock)
    await world.go(30)
    world.forget_calls()
    world.api.faults.append(failing(f"POST {REQUESTS}", errors.Unavailable("500 calling a webhook failed")))
    world.signal.says["errors"] = BREACH
    for expected in ("RollingBack", "CouldNotRollBack", "CouldNotRollBack", "CouldNotRollBack"):
        with pytest.raises(errors.Unavailable, match="webhook"):
            await world.turn()
        assert world.why() == expected
    message = "It is not known yet whether the request was made; it is tried again: 500 calling a webhook failed"
    assert world.condition("Alert")[2].endswith(message)
    assert world.status["verdict"] == "Breach"
    assert len(world.written()) == 2
    world.api.faults.clear()
    await world.turn()
    assert world.why() == "RollingBack"


async def test_a_try_that_changed_nothing_is_made_again_and_not_for_ever(clock: Clock) -> None:
    world = World(clock, policy=orders(historyLimit=1))
    world.signal.says["errors"] = BREACH
    for _ in range(40):
        await world.go(60)
        for request in world.requests():
            name = request["metadata"]["name"]
            stored = await resources.read(world.worker._api, "rollbackrequests", ("shop", name))
            if stored is not None and "finishedAt" not in stored.get("status", {}):
                world.end(name, "Failed")
    assert len(world.requests()) == 3
    assert len({request["metadata"]["name"] for request in world.requests()}) == 3
    assert "was the last of 3 tries" in world.condition("Alert")[2]


async def test_that_a_try_was_vetoed_is_said_instead_of_when_it_is_tried_again(clock: Clock) -> None:
    world = World(clock)
    world.signal.says["errors"] = BREACH
    await world.turn()
    name = world.requests()[0]["metadata"]["name"]
    world.end(name, "Failed")
    await world.go(20)
    assert "It is tried again at" in world.condition("Alert")[2]
    world.api.drop(request_body(name))
    await world.go(600)
    assert world.why() == "Vetoed"
    assert f"{name} was made for that, and somebody deleted it" in world.condition("Alert")[2]
    assert len(world.requests()) == 1


async def test_what_it_made_last_is_kept_whatever_the_limit_and_tried_again(clock: Clock) -> None:
    world = World(clock, policy=orders(historyLimit=1))
    world.signal.says["errors"] = BREACH
    await world.turn()
    name = world.requests()[0]["metadata"]["name"]
    world.end(name, "Failed")
    later = (datetime.fromtimestamp(clock.now + 5, UTC)).isoformat().replace("+00:00", "Z")
    by_hand = ended("by-hand", 5)
    by_hand["status"]["finishedAt"] = later
    world.api.put(ended("before", 0), by_hand)
    await world.go(100)
    assert deleted(world) == ["before"]
    assert len(world.requests()) == 2


async def test_the_orders_are_read_anew_before_a_request_is_made(clock: Clock) -> None:
    """Somebody suspends the policy, and the watch is behind."""
    world = World(clock)
    world.signal.says["errors"] = BREACH
    changed = world.api.current(world.policy)
    changed["spec"]["mode"] = "Suspend"
    changed["metadata"]["generation"] = 2
    world.api.put(changed)
    await world.go(120)
    assert world.requests() == []
    assert world.woken == [KEY]
    await world.turn()
    assert world.why("Ready") == "Suspended"


async def test_a_policy_that_is_deleted_meanwhile_makes_no_request(clock: Clock) -> None:
    world = World(clock)
    world.signal.says["errors"] = BREACH
    world.api.drop(world.policy)
    assert await world.turn() is None
    assert world.api.writes() == []
    assert world.worker.watching.get(KEY) is None


@pytest.mark.parametrize("how", ["it is deleted", "it is changed"])
async def test_what_comes_while_triggers_are_asked_is_heard(clock: Clock, how: str) -> None:
    world = World(clock)
    world.signal.says["errors"] = BREACH
    world.signal.meanwhile = (
        (lambda: world.worker.gone(KEY)) if how == "it is deleted" else (lambda: world.edit(mode="Suspend"))
    )
    assert await world.turn() is None
    assert world.api.calls == []
    assert world.worker.watching.breaching == set()


# What waits for people is taken back.


@pytest.fixture
async def waiting(clock: Clock) -> World:
    world = World(clock, policy=orders(trigger(action="AlertThenRollback", grace="5m")))
    world.signal.says["errors"] = BREACH
    await world.go(29)
    world.signal.says["errors"] = HEALTHY
    world.forget_calls()
    return world


def only(world: World) -> Object:
    (found,) = [thing for path, thing in world.api._things.items() if path.startswith(REQUESTS)]
    return found


async def test_a_request_that_waits_is_taken_back_when_nothing_is_wrong(waiting: World) -> None:
    await waiting.go(30)
    request = only(waiting)
    assert request["spec"]["abort"] is True
    assert request["metadata"]["annotations"] == {WITHDRAWN_ANNOTATION: "true"}
    assert waiting.condition("Alert")[:2] == ("False", "NothingWrong")
    assert request["metadata"]["name"] in waiting.condition("Alert")[2]
    waiting.end(request["metadata"]["name"], "Aborted", "Aborted")
    waiting.signal.says["errors"] = BREACH
    await waiting.go(30)
    assert len(waiting.requests()) == 1, "taking it back was no veto"


async def test_a_request_that_people_aborted_is_a_veto(waiting: World) -> None:
    waiting.signal.says["errors"] = BREACH
    waiting.end(only(waiting)["metadata"]["name"], "Aborted", "Aborted")
    await waiting.go(900)
    assert waiting.requests() == []
    assert waiting.why() == "Vetoed"


async def test_a_request_that_was_hastened_meanwhile_is_not_taken_back(waiting: World) -> None:
    name = only(waiting)["metadata"]["name"]

    def hasten(call: Call) -> Exception | None:
        if call.path == f"{REQUESTS}/{name}":
            waiting.api.faults.clear()
            waiting.api.edit(request_body(name), lambda body: body["spec"].update(approve=True))
        return None

    waiting.api.faults.append(hasten)
    await waiting.go(30)
    assert "abort" not in only(waiting)["spec"]


async def test_a_request_that_changes_while_it_is_taken_back_is_looked_at_again(waiting: World) -> None:
    waiting.api.faults.append(failing("PATCH", errors.Conflict("changed"), times=1))
    with pytest.raises(errors.Conflict):
        await waiting.go(30)
    await waiting.turn()
    assert only(waiting)["spec"]["abort"] is True


async def test_a_request_that_may_not_be_taken_back_is_told_of(waiting: World) -> None:
    name = only(waiting)["metadata"]["name"]
    waiting.api.faults.append(failing(f"PATCH {REQUESTS}", errors.Forbidden("403 only people abort")))
    await waiting.go(120)
    assert waiting.condition("Alert") == (
        "True",
        "NotTakenBack",
        (
            f"{name}, which was waiting for people, could not be taken back: abort it (abort: true), or it runs when "
            "its grace is over. 403 only people abort"
        ),
    )
    assert waiting.status["verdict"] == "Healthy"
    assert len(waiting.written()) == 1
    waiting.api.faults.clear()
    await waiting.go(30)
    assert only(waiting)["spec"]["abort"] is True
    assert waiting.why() == "NothingWrong"


async def test_what_is_seen_is_said_while_a_request_cannot_be_taken_back(waiting: World) -> None:
    waiting.api.faults.append(failing(f"PATCH {REQUESTS}", errors.Unavailable("no answer")))
    for _ in range(3):
        with pytest.raises(errors.Unavailable):
            await waiting.go(30)
        assert (waiting.status["verdict"], waiting.why()) == ("Healthy", "RollingBack")
    assert len(waiting.written()) == 1
    waiting.api.faults.clear()
    await waiting.turn()
    assert waiting.why() == "NothingWrong"


# Another policy has the target.


async def test_two_policies_of_one_target_are_not_evaluated_until_one_goes(clock: Clock) -> None:
    world, second = World(clock), orders(name="second")
    await world.go(30)
    world.api.put(second)
    world.saw(second)
    assert world.woken == [KEY]
    world.signal.asked.clear()
    world.signal.says["errors"] = BREACH
    for key in (KEY, ("shop", "second")):
        assert await world.turn(key) is None
    assert world.signal.asked == []
    assert world.condition("Ready") == (
        "False",
        "TargetTaken",
        (
            "Deployment/checkout has another policy: second. One target has one policy: delete or suspend all but one; "
            "until then none of them is evaluated."
        ),
    )
    assert world.why("Ready", second) == "TargetTaken"
    assert {one["type"] for one in world.status["conditions"]} == {"Ready"}, "nothing is known of the rest"
    assert "verdict" not in world.status

    clock.now += 3600
    late = counted("rollback_evaluations_late_total"), counted("rollback_evaluations_skipped_total")
    world.woken.clear()
    world.worker.gone(("shop", "second"))
    assert world.woken == [KEY]
    world.signal.says["errors"] = HEALTHY
    await world.turn()
    assert world.why("Ready") == "Evaluating"
    assert world.signal.asked != []
    now = counted("rollback_evaluations_late_total"), counted("rollback_evaluations_skipped_total")
    assert now == late, "nothing was due"


@pytest.mark.parametrize("idle", [{"triggers": []}, {"mode": "Suspend"}], ids=["no triggers", "Suspend"])
async def test_a_policy_that_asks_nothing_takes_no_target(clock: Clock, idle: Object) -> None:
    world, second = World(clock), orders(name="second")
    second["spec"] |= idle
    world.api.put(second)
    world.saw(second)
    for key in (KEY, ("shop", "second")):
        await world.turn(key)
    assert world.why("Ready") == "Evaluating"
    assert world.why("Ready", second) in ("Accepted", "Suspended")


async def test_a_policy_that_moves_to_another_target_frees_the_first(clock: Clock) -> None:
    world, second = World(clock), orders(name="second")
    world.api.put(second)
    world.saw(second)
    world.woken.clear()
    moved = world.api.current(second)
    moved["spec"]["target"]["name"] = "cart"
    moved["metadata"]["generation"] = 2
    world.api.put(moved)
    world.saw(second)
    assert world.woken == [KEY]
    await world.turn()
    assert world.why("Ready") == "Evaluating"


async def test_a_policy_that_is_not_evaluated_is_in_no_crowd(clock: Clock) -> None:
    world, second = World(clock, policy=orders(mode="Observe")), orders(name="second")
    world.signal.says["errors"] = BREACH
    await world.turn()
    assert world.worker.watching.breaching == {KEY}
    world.api.put(second)
    world.saw(second)
    await world.turn()
    assert world.worker.watching.breaching == set()


# The policy changes.


async def test_a_changed_policy_keeps_what_unchanged_triggers_said(clock: Clock) -> None:
    world = World(clock, policy=orders(trigger("kept", **{"for": "2m"}), trigger("other", **{"for": "2m"})))
    world.signal.says |= {"kept": BREACH, "other": BREACH}
    await world.go(100)
    world.edit(triggers=[trigger("kept", **{"for": "2m"}), trigger("other", **{"for": "3m"}), trigger("new")])
    assert set(world.standing.streaks) == {"kept"}
    await world.go(40)
    (request,) = world.requests()
    assert request["spec"]["reason"].startswith("kept: ")
    assert world.status["observedGeneration"] == 2


async def test_a_policy_that_was_suspended_asks_and_does_nothing(clock: Clock) -> None:
    world = World(clock, policy=orders(mode="Suspend"))
    assert await world.turn() is None
    assert world.signal.asked == []
    assert world.condition("Ready") == (
        "True",
        "Suspended",
        "mode: Suspend: nothing is asked, and nothing is done.",
    )
    assert {one["type"] for one in world.status["conditions"]} == {"Ready"}


async def test_a_policy_that_goes_on_is_not_late(clock: Clock) -> None:
    world = World(clock)
    await world.go(60)
    world.edit(mode="Suspend")
    await world.turn()
    clock.now += 7200
    before = counted("rollback_evaluations_skipped_total")
    world.edit(mode="Enforce")
    await world.go(60)
    assert world.why("Ready") == "Evaluating"
    assert counted("rollback_evaluations_skipped_total") == before


async def test_what_the_watch_is_late_with_is_no_news(calm: World) -> None:
    before = calm.api.current(calm.policy)
    calm.edit(mode="Observe")
    assert not calm.worker.saw(before)
    assert calm.standing.generation == 2
    assert not calm.worker.saw(calm.api.current(calm.policy)), "the echo of a status"


async def test_a_policy_that_is_being_deleted_is_not_followed(calm: World) -> None:
    body = calm.api.current(calm.policy)
    body["metadata"] |= {"deletionTimestamp": "2026-03-01T03:00:00Z", "generation": 2}
    assert not calm.worker.saw(body)
    assert calm.worker.watching.get(KEY) is None


async def test_a_policy_that_cannot_be_read_is_not_followed(calm: World, caplog: pytest.LogCaptureFixture) -> None:
    body = calm.api.current(calm.policy)
    body["spec"]["target"]["kind"] = "Toaster"
    body["metadata"]["generation"] = 2
    calm.api.put(body)
    with caplog.at_level(logging.ERROR):
        assert not calm.worker.saw(body)
    assert calm.worker.watching.get(KEY) is None, "nor are the orders before"
    assert getattr(caplog.records[0], "policy", None) == "shop/checkout"
    assert await calm.turn() is None


async def test_a_status_that_cannot_be_read_is_written_anew_with_what_can(clock: Clock) -> None:
    body = orders()
    good = {
        "fingerprint": "v1:" + "a" * 64,
        "revision": "1",
        "verdict": "Bad",
        "at": "2026-03-01T02:00:00.000Z",
        "reason": "it was",
    }
    body["status"] = {"verdict": "Splendid", "ledger": [good, {"fingerprint": "v2:x"}], "observedGeneration": 1}
    world = World(clock, policy=body)
    await world.turn()
    assert world.status["verdict"] == "Healthy"
    assert world.status["ledger"] == [good]


async def test_an_alert_whose_reason_is_not_known_keeps_nothing_from_being_said(clock: Clock) -> None:
    """It was written by a later version, and the target is between two revisions."""
    world = World(clock)
    await world.go(30)
    body = world.api.current(world.policy)
    for one in body["status"]["conditions"]:
        one["reason"] = "OfLaterTimes"
    world.api.put(body, deployment("shop:4", number=4, generation=4, observed=3))
    world.start()
    await world.turn()
    assert world.why() == "NothingWrong"
    assert [one["type"] for one in world.status["conditions"]] == ["Ready", "Alert"]


# Asking.


async def test_late_and_left_out_questions_are_counted(calm: World) -> None:
    before = counted("rollback_evaluations_late_total"), counted("rollback_evaluations_skipped_total")
    (one,) = calm.standing.asking
    for behind, late, skipped in ((1.0, 0, 0), (1.1, 1, 0), (30.0, 2, 1), (95.0, 3, 4)):
        calm.clock.now = one.due + behind
        due = one.due
        await calm.turn()
        now = counted("rollback_evaluations_late_total"), counted("rollback_evaluations_skipped_total")
        assert (now[0] - before[0], now[1] - before[1]) == (late, skipped)
        assert (one.due - due) % 30 == 0, "they stay on their beat"
        assert one.due > calm.clock.now


async def test_answers_are_counted(calm: World) -> None:
    labels = {"source": "prometheus", "verdict": "Healthy"}
    before = counted("rollback_evaluations_total", **labels)
    await calm.go(60)
    assert counted("rollback_evaluations_total", **labels) == before + 2


async def test_a_policy_says_when_it_is_due(calm: World) -> None:
    assert await calm.turn() == pytest.approx(30)
    calm.clock.now += 10
    assert await calm.turn() == pytest.approx(20)


# What went before.


async def test_a_breach_of_four_minutes_does_not_begin_from_zero_after_a_restart(clock: Clock) -> None:
    world = World(clock, policy=orders(trigger(**{"for": "5m"})))
    world.signal.past["errors"] = [(at, BREACH) for at in range(-240, 0, 30)]
    world.signal.says["errors"] = BREACH
    await world.go(30)
    assert world.requests() == []
    await world.go(60)
    assert len(world.requests()) == 1


async def test_what_cannot_be_asked_of_the_past_begins_from_zero(clock: Clock) -> None:
    world = World(clock, policy=orders(trigger(**{"for": "1m"})))
    world.signal.says["errors"] = BREACH
    await world.go(45)
    assert world.requests() == []
    await world.go(30)
    assert len(world.requests()) == 1


REBUILT: dict[str, tuple[list[tuple[float, Verdict]], bool]] = {
    "bad since the release": ([(-700, HEALTHY), (-660, HEALTHY), (-570, BREACH), (-540, BREACH)], False),
    "bad before the release": ([(-700, HEALTHY), (-630, BREACH), (-570, BREACH), (-540, BREACH)], True),
    "bad before the release, and well since": ([(-630, BREACH), (-570, HEALTHY), (-540, BREACH)], False),
    "nobody knows": ([], False),
}


@pytest.mark.parametrize("case", REBUILT)
async def test_a_new_policy_blames_no_release_for_what_was_bad_before_it(clock: Clock, case: str) -> None:
    past, excused = REBUILT[case]
    world = World(clock)
    world.signal.past["errors"] = past
    world.signal.says["errors"] = BREACH
    await world.go(60)
    assert world.status["triggers"][0]["excused"] == excused
    assert (world.requests() == []) == excused
    if excused:
        world.signal.says["errors"] = HEALTHY
        await world.go(30)
        assert not world.status["triggers"][0]["excused"]


async def restarted(world: World, seconds: float = 600) -> None:
    """The operator is away for a while."""
    world.clock.now += seconds
    world.start()


async def test_what_is_excused_is_so_after_a_restart(clock: Clock) -> None:
    world = World(clock)
    world.signal.past["errors"] = REBUILT["bad before the release"][0]
    world.signal.says["errors"] = BREACH
    await world.go(60)
    world.signal.past.clear()
    await restarted(world)
    await world.go(60)
    assert world.status["triggers"][0]["excused"]
    assert world.requests() == []


AWAY: dict[str, tuple[list[tuple[float, Verdict]], bool]] = {
    "the release before may have caused it": ([(at, BREACH) for at in range(-300, 1000, 30)], False),
    "nothing was released for hours when it began": ([(at, BREACH) for at in range(4000, 4590, 30)], True),
    "it was well in between": ([*((at, BREACH) for at in range(4000, 4480, 30)), (4560, HEALTHY)], False),
}


@pytest.mark.parametrize("case", AWAY)
async def test_a_release_that_came_while_nobody_looked_is_blamed_as_if_somebody_had(clock: Clock, case: str) -> None:
    """The operator is away from the first minute until the eightieth; the release comes in the seventy-fifth."""
    past, excused = AWAY[case]
    world = World(clock, policy=orders(trigger(**{"for": "10s", "interval": "30s"}), soak="2h"))
    await world.go(30)
    released = 4530.0 if excused or case == "it was well in between" else 900.0
    world.deploy(4, at=released)
    await restarted(world, 4770 if released > 1000 else 1000)
    world.signal.past["errors"] = past
    world.signal.says["errors"] = BREACH
    await world.turn()
    assert (world.standing.excused == {"errors"}) == excused


async def test_what_was_excused_and_has_no_past_stays_so_when_a_release_came_while_nobody_looked(clock: Clock) -> None:
    world = World(clock)
    world.signal.past["errors"] = REBUILT["bad before the release"][0]
    world.signal.says["errors"] = BREACH
    await world.go(60)
    world.signal.past.clear()
    world.deploy(4)
    await restarted(world)
    await world.go(60)
    assert world.status["current"]["revision"] == "4"
    assert world.status["triggers"][0]["excused"]
    assert world.requests() == []


async def test_what_ran_on_another_target_is_no_predecessor(clock: Clock) -> None:
    body = orders()
    body["status"] = {
        "current": {
            "uid": "uid-of-cart",
            "revision": "9",
            "fingerprint": "v1:" + "9" * 64,
            "since": after(-700).isoformat().replace("+00:00", "Z"),
        },
        "observedGeneration": 1,
    }
    world = World(clock, policy=body)
    world.signal.past["errors"] = REBUILT["bad before the release"][0]
    world.signal.says["errors"] = BREACH
    await world.go(60)
    assert world.status["triggers"][0]["excused"]
    assert world.requests() == []


# The target.


async def test_another_revision_begins_anew(clock: Clock) -> None:
    world = World(clock, policy=orders(trigger(**{"for": "1m"})))
    world.signal.says["errors"] = BREACH
    await world.go(45)
    world.deploy(4)
    assert world.woken == [KEY]
    await world.go(30)
    assert world.status["current"]["revision"] == "4"
    assert world.requests() == [], "one bad release after another: each has its time"
    await world.go(60)
    (request,) = world.requests()
    assert not world.status["triggers"][0]["excused"]
    assert request["metadata"]["name"] == world.status["lastRequest"]["name"]


@pytest.mark.parametrize("what", ["PUT ", f"GET {POLICY}"])
async def test_an_outage_is_not_blamed_on_what_came_meanwhile_even_if_that_is_written_late(
    clock: Clock, what: str
) -> None:
    world = World(clock, policy=orders(trigger(**{"for": "1m"}), watch={"within": "5m"}))
    await world.go(30)
    world.signal.says["errors"] = BREACH
    await world.go(120)
    assert world.why() == "NoRecentChange"
    world.deploy(4)
    world.api.faults.append(failing(what, errors.Unavailable("no answer"), times=3))
    for _ in range(3):
        with pytest.raises(errors.Unavailable):
            await world.turn()
    await world.go(200)
    assert world.status["current"]["revision"] == "4"
    assert world.status["triggers"][0]["excused"]
    assert world.requests() == []


async def test_a_release_whose_number_is_not_known_yet_is_neither_blamed_nor_its_predecessor(clock: Clock) -> None:
    world = World(clock)
    await world.go(30)
    world.signal.says["errors"] = BREACH
    fix = deployment("shop:4", number=3, generation=4, observed=3)
    world.api.put(fix)
    world.tell_of_target(fix)
    await world.go(90)
    assert world.requests() == [], "the controller may be about to bring the cure"
    assert (world.status["current"]["revision"], world.why()) == ("3", "NothingWrong")
    world.api.put(deployment("shop:4", number=4, generation=4), made(clock.now - NOW.timestamp(), replica_set(4)))
    await world.go(31)
    assert world.status["current"]["revision"] == "4", "it is looked at again, whoever tells"


async def test_a_target_that_is_gone_is_told_of_and_costs_nothing(clock: Clock) -> None:
    world = World(clock)
    await world.go(30)
    world.api.drop(deployment())
    world.worker.target_changed(("Deployment", *KEY), None)
    assert world.woken == [KEY]
    world.signal.says["errors"] = BREACH
    await world.go(60)
    gone = "There is no Deployment/checkout in namespace shop. Correct spec.target, or create it."
    assert world.condition("Armed") == ("False", "TargetNotFound", gone)
    assert "current" not in world.status
    assert world.requests() == []
    world.forget_calls()
    await world.go(300)
    assert world.api.calls == []
    world.deploy(1)
    await world.go(60)
    assert world.status["current"]["revision"] == "1"
    assert world.status["triggers"][0]["excused"], "it was bad before there was anything to blame"
    assert world.requests() == []


async def test_a_target_that_never_was_costs_nothing(clock: Clock) -> None:
    world = World(clock, replica_set(1))
    await world.go(30)
    assert world.why("Armed") == "TargetNotFound"
    world.forget_calls()
    await world.go(300)
    assert world.api.calls == []


async def test_a_time_that_is_finer_than_what_is_written_is_no_news(clock: Clock) -> None:
    clock.now += 0.0001234
    world = World(clock, deployment(), replica_set(2), replica_set(3))
    await world.turn()
    assert world.status["current"]["estimated"]
    for _ in range(3):
        world.worker.request_changed(KEY)
        await world.turn()
    assert len(world.written()) == 1


async def test_a_restart_of_the_same_release_changes_nothing(calm: World) -> None:
    body = deployment("shop:3", number=4, generation=4)
    body["spec"]["template"]["metadata"]["annotations"] = {"kubectl.kubernetes.io/restartedAt": "2026"}
    calm.api.put(body)
    calm.tell_of_target(body)
    await calm.go(30)
    assert calm.status["current"]["revision"] == "4"
    assert calm.status["current"]["since"] == "2026-03-01T02:50:00.000Z"
    assert calm.standing.streaks["errors"].good >= 60


def _drop_history(world: World) -> None:
    for number in (1, 2):
        world.api.drop(replica_set(number))


DISARMED: dict[str, tuple[Callable[[World], None], str]] = {
    "it is paused": (lambda world: world.api.put(deployment(paused=True, generation=4)), "TargetPaused"),
    "there is nothing before it": (_drop_history, "NothingToRollBackTo"),
    "nobody may": (lambda world: world.api.lacking.add("patch"), "MayNotRollBack"),
}


@pytest.mark.parametrize("case", DISARMED)
async def test_it_says_why_it_could_not_be_rolled_back_and_when_it_could_again(calm: World, case: str) -> None:
    change, expected = DISARMED[case]
    change(calm)
    calm.clock.now += looking.ARMED_EVERY
    await calm.go(30)
    assert calm.condition("Armed")[:2] == ("False", expected)
    calm.api.put(*release(), deployment(generation=5))
    calm.api.lacking.clear()
    calm.tell_of_target(deployment(generation=5))
    await calm.go(30)
    assert calm.condition("Armed")[:2] == ("True", "Armed")
    assert calm.events() == [expected, "Armed"]


async def test_whether_it_could_is_looked_at_when_a_request_is_over_that_no_watch_told_of(clock: Clock) -> None:
    world = World(clock, *release(2), policy=orders(trigger(interval="1s"), mode="Observe"))
    world.signal.says["errors"] = BREACH
    await world.go(5)
    assert world.condition("Armed")[:2] == ("True", "Armed")
    first, second = (podtemplate.fingerprint(replica_set(one)["spec"]["template"]) for one in (1, 2))
    plan = {
        "digest": "d",
        "uid": "u",
        "from": {"revision": "1", "fingerprint": first},
        "to": {"revision": "2", "fingerprint": second},
        "steps": [],
        "diff": "",
        "serviceAccountName": "rollback",
    }
    body = request_body("by-hand")
    body["status"] = {
        "phase": "Succeeded",
        "conditions": [condition("Ready", "True", "Completed"), condition("Applied", "True", "Applied")],
        "targets": [{"target": "Deployment/checkout", "phase": "Succeeded", "plan": plan, "steps": []}],
        "finishedAt": NOW.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    world.api.put(body)
    await world.go(30)
    assert world.condition("Armed")[:2] == ("False", "NothingToRollBackTo")


REVIEWS = "POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


@pytest.mark.parametrize("restart", [True, False], ids=["started anew", "known"])
@pytest.mark.parametrize("armed", ["True", "False"])
async def test_a_release_is_judged_although_it_cannot_be_seen_whether_it_could_be_rolled_back(
    clock: Clock,
    armed: str,
    restart: bool,  # noqa: FBT001
) -> None:
    world = World(clock)
    world.api.lacking = set() if armed == "True" else {"patch"}
    await world.go(60)
    before = world.condition("Armed")
    assert before[0] == armed
    world.api.faults.append(failing(REVIEWS, errors.Unavailable("500 an authorizer failed")))
    if restart:
        world.start()
    world.deploy(4)
    world.signal.says["errors"] = BREACH
    world.forget_calls()
    await world.go(120)
    assert (world.why(), len(world.requests())) == ("RollingBack", 1)
    assert (world.condition("Armed"), world.status["current"]["revision"]) == (before, "4")
    asked = [call for call in world.api.calls if str(call) == REVIEWS]
    assert len(asked) <= 5, "once a turn"
    written = len(world.written())
    world.api.faults.clear()
    world.api.lacking = set()
    await world.go(60)
    assert world.condition("Armed")[0] == "True"
    assert len(world.written()) - written == (0 if armed == "True" else 1)


async def test_nothing_is_said_of_armed_before_it_could_be_seen(clock: Clock) -> None:
    world = World(clock)
    world.api.faults.append(failing(REVIEWS, errors.Unavailable("500 an authorizer failed")))
    await world.go(60)
    assert {one["type"] for one in world.status["conditions"]} == {"Ready", "Alert"}
    assert len(world.written()) == 1
    world.api.faults.clear()
    await world.go(30)
    assert world.why("Armed") == "Armed"


async def test_whether_it_could_is_looked_at_when_the_target_changes(calm: World) -> None:
    calm.api.lacking.add("patch")
    calm.deploy(4)
    await calm.turn()
    assert calm.why("Armed") == "MayNotRollBack"


# Triggers that cannot be asked.


async def test_a_trigger_that_cannot_be_asked_is_told_of_and_again_after_a_restart(clock: Clock) -> None:
    world = World(clock)
    world.signal.mistakes["errors"] = "query: parse error"
    await world.go(60)
    expected = ("False", "InvalidTrigger", "trigger errors: query: parse error")
    assert world.condition("Ready") == expected
    world.start()
    await world.go(60)
    assert world.condition("Ready") == expected
    assert len(world.written()) == 1
    world.signal.mistakes.clear()
    world.edit(triggers=[trigger(prometheus={"query": "better"})])
    await world.go(30)
    assert world.why("Ready") == "Evaluating"


# Writing.


async def test_a_status_that_changed_meanwhile_is_written_again(clock: Clock) -> None:
    world = World(clock)
    world.api.faults.append(failing("PUT ", errors.Conflict("changed"), times=1))
    with pytest.raises(errors.Conflict):
        await world.turn()
    await world.turn()
    assert world.why("Ready") == "Evaluating"


async def test_what_was_found_is_written_although_the_first_write_failed(calm: World) -> None:
    """Nothing but the rights changed: no verdict would bring another look."""
    calm.api.lacking.add("patch")
    calm.clock.now += looking.ARMED_EVERY
    calm.api.faults.append(failing("PUT ", errors.Unavailable("no answer"), times=1))
    with pytest.raises(errors.Unavailable):
        await calm.turn()
    await calm.turn()
    assert calm.why("Armed") == "MayNotRollBack"


async def test_what_another_operator_learned_is_not_lost(calm: World) -> None:
    bad = {
        "fingerprint": "v1:" + "b" * 64,
        "revision": "2",
        "verdict": "Bad",
        "at": "2026-03-01T02:00:00.000Z",
        "reason": "it was",
    }
    calm.api.edit(calm.policy, lambda body: body["status"].update(ledger=[bad]))
    calm.signal.says["errors"] = UNKNOWN
    await calm.go(31)
    await calm.turn()
    assert calm.status["ledger"] == [bad]
    assert calm.status["verdict"] == "Unknown"


async def test_a_policy_that_goes_while_its_status_is_written_is_forgotten(calm: World) -> None:
    calm.signal.says["errors"] = UNKNOWN
    calm.api.faults.append(lambda call: calm.api.drop(calm.policy) if call.verb == "PUT" else None)
    await calm.go(30)
    assert calm.worker.watching.get(KEY) is None


async def test_what_changes_is_told_once(clock: Clock) -> None:
    world = World(clock, policy=orders(trigger(action="Alert")))
    await world.go(30)
    for says in (BREACH, BREACH, HEALTHY):
        world.signal.says["errors"] = says
        await world.go(30)
    assert world.events() == ["Evaluating", "Firing", "NothingWrong"]


# The crowd.


async def test_in_a_crowd_nothing_is_rolled_back_and_afterwards_it_is(clock: Clock) -> None:
    world = World(clock, guard=3)
    for name in ("a", "b"):
        world.worker.watching.breaching.add(("shop", name))
    world.signal.says["errors"] = BREACH
    await world.go(30)
    assert (world.requests(), world.why()) == ([], "ManyAtOnce")
    world.forget_calls()
    await world.go(300)
    looks = [call for call in world.api.calls if call.path.endswith("/deployments/checkout")]
    assert len(looks) <= 5, "the API server has trouble enough"
    world.worker.watching.breaching.discard(("shop", "a"))
    await world.go(30)
    assert len(world.requests()) == 1


async def test_when_the_crowd_is_over_it_is_looked_at_at_once(clock: Clock) -> None:
    world = World(clock, policy=orders(trigger(interval="1s")), guard=2)
    world.worker.watching.breaching.add(("shop", "a"))
    world.signal.says["errors"] = BREACH
    await world.go(3)
    assert world.why() == "ManyAtOnce"
    world.worker.watching.breaching.discard(("shop", "a"))
    await world.go(2)
    assert len(world.requests()) == 1


# Events.


async def test_alerts_have_it_asked_at_once(clock: Clock) -> None:
    world = World(clock, policy=orders(trigger(), {"name": "told", "alert": {}, "interval": "30s"}))
    signals: Any = world.worker._asker._signals
    signals["alert"] = world.signal
    await world.go(59)
    world.signal.asked.clear()
    world.worker.alerted(("shop", "nobody"))
    world.worker.alerted(KEY)
    await world.turn()
    assert [name for _, name in world.signal.asked] == ["told"]
    assert world.woken == [KEY]


async def test_events_of_a_policy_that_is_not_evaluated_are_no_work(clock: Clock) -> None:
    world = World(clock, policy=orders(mode="Suspend"))
    world.worker.alerted(KEY)
    world.worker.target_changed(("Deployment", *KEY), 1)
    assert world.woken == []


# A policy that only lends its settings, and history.


async def test_a_policy_without_triggers_is_accepted_once(clock: Clock) -> None:
    world = World(clock, policy=policy_body())
    assert await world.turn() is None
    assert world.condition("Ready") == (
        "True",
        "Accepted",
        "Requests with policyRef use this policy to roll Deployment/checkout back.",
    )
    assert (world.status["target"], world.status["observedGeneration"]) == ("Deployment/checkout", 1)
    assert [one["type"] for one in world.status["conditions"]] == ["Ready"]
    await world.turn()
    assert len(world.written()) == 1
    assert world.events() == ["Accepted"]


def ended(name: str, at: float | None, **ref: str) -> Object:
    body = request_body(name, uid=f"uid-of-{name}", policyRef={"name": "checkout", **ref})
    body["status"] = {"phase": "Running"}
    if at is not None:
        body["status"] = {"phase": "Failed", "finishedAt": after(at).isoformat().replace("+00:00", ".000Z")}
    return body


def deleted(world: World) -> list[str]:
    return [call.path.rsplit("/", 1)[-1] for call in world.api.writes() if call.verb == "DELETE"]


@pytest.mark.parametrize("policy", [policy_body(historyLimit=1), orders(historyLimit=1)], ids=["without", "with"])
async def test_its_history_is_kept_within_its_limit(clock: Clock, policy: Object) -> None:
    things = [ended("a", 1), ended("b", 3), ended("c", 2), ended("running", None)]
    world = World(clock, *release(), *things, request_body("direct"), policy=policy)
    await world.turn()
    assert deleted(world) == ["a", "c"]
    uids = [call.query["uid"] for call in world.api.writes() if call.verb == "DELETE"]
    assert uids == ["uid-of-a", "uid-of-c"]
    assert {call.as_ for call in world.api.writes()} == {"the operator"}


def went_back(name: str, at: float, held: str | None, suspends: tuple[Object, ...] = ()) -> Object:
    """A request that had its effect, and perhaps says whether something is held for it."""
    body = ended(name, at)
    states = {"Applied": "True", **({"Held": held} if held else {})}
    ref = {"revision": "2", "fingerprint": "v1:" + "0" * 64}
    made = {"uid": "u", "from": ref, "to": ref, "serviceAccountName": "rollback", "suspends": list(suspends)}
    plan = {"digest": "", "steps": [], "diff": "", **made}
    body["status"] |= {
        "phase": "Succeeded",
        "conditions": [
            {"type": kind, "status": state, "reason": "R", "message": "", "lastTransitionTime": "2026-03-01T03:00:00Z"}
            for kind, state in states.items()
        ],
        "targets": [{"target": "Deployment/checkout", "phase": "Succeeded", "plan": plan}],
    }
    return body


SHOP = {"kind": "Kustomization", "namespace": "flux-system", "name": "shop", "uid": "u"}
KEPT: dict[str, tuple[Object, bool]] = {
    "it holds an Application": (went_back("a", 1, "True"), True),
    "it holds Flux": (went_back("a", 1, "True", (SHOP,)), True),
    "it suspended Flux and does not say yet how that stands": (went_back("a", 1, None, (SHOP,)), True),
    "its hold is over": (went_back("a", 1, "False", (SHOP,)), False),
    "it held nothing": (went_back("a", 1, None), False),
}


@pytest.mark.parametrize("case", KEPT)
async def test_what_holds_something_is_kept_beyond_the_limit(clock: Clock, case: str) -> None:
    body, kept = KEPT[case]
    world = World(clock, *release(), body, ended("b", 2), policy=orders(historyLimit=1))
    await world.turn()
    assert deleted(world) == ([] if kept else ["a"])


async def test_it_is_looked_after_when_a_request_ended(clock: Clock) -> None:
    world = World(clock, policy=orders(historyLimit=1))
    await world.go(30)
    world.api.put(ended("a", 1), ended("b", 2))
    await world.go(30)
    assert deleted(world) == []
    world.worker.request_changed(KEY)
    await world.turn()
    assert deleted(world) == ["a"]


async def test_what_the_breaker_counts_is_kept_until_it_does_not(clock: Clock) -> None:
    counts = [made(at - 60, ended(name, at, uid=UID)) for at, name in enumerate("abc")]
    for body in counts:
        body["status"]["conditions"] = [condition("Applied", "True", "Applied")]
    counts[1]["spec"]["policyRef"]["uid"] = "uid-of-another"
    world = World(clock, *release(), *counts, policy=orders(historyLimit=1))
    await world.turn()
    assert deleted(world) == ["b"]
    clock.now += 3600
    world.worker.request_changed(KEY)
    await world.turn()
    assert deleted(world) == ["b", "a"]


@pytest.mark.parametrize(
    "error",
    [
        errors.NotFound("gone"),
        errors.Conflict("another of that name"),
        errors.Forbidden("evidence is kept"),
        errors.Invalid("not like that"),
    ],
    ids=str,
)
async def test_what_is_gone_already_or_may_not_go_holds_nothing_up(clock: Clock, error: errors.KubeError) -> None:
    policy = policy_body(historyLimit=1)
    world = World(clock, *release(), ended("a", 1), ended("b", 2), ended("c", 3), policy=policy)
    world.api.faults.append(failing(f"DELETE {REQUESTS}/a", error))
    await world.turn()
    assert deleted(world) == ["a", "b"]


async def test_a_request_that_cannot_be_read_is_kept_and_holds_nothing_up(clock: Clock) -> None:
    """Whether the breaker counts it, nobody can say."""
    odd = ended("a", 1)
    odd["status"]["targets"] = [{"target": "Deployment/checkout", "phase": "OfLaterTimes"}]
    world = World(clock, *release(), odd, ended("b", 2), ended("c", 3), policy=orders(historyLimit=1))
    await world.turn()
    assert deleted(world) == ["b"]
    assert world.why("Ready") == "Evaluating"


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
