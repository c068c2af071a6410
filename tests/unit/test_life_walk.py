"""Random walks through everything that may happen to a request between two lines of code.

Two operators step through their rounds (read the request, look at the target, write the status, send the effect),
may be killed between any two steps, and may get no answer from a call that was done, or that will be done later.
Meanwhile people release, revert, pause, delete, restore and abort. Whatever the order:

- the effect is made at most once, and never after the request has ended without it,
- nothing is planned before people had the time that they were given,
- a plan, once written, and an ending, once written, stay as they are,
- every status is one that the API server takes,
- when the world lets it, the request ends.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, ClassVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from rollback_operator.api.fields import parse_duration
from rollback_operator.api.request import Phase, RequestStatus, StepState
from rollback_operator.core import conditions as on
from rollback_operator.core.life import advance
from rollback_operator.core.life.times import SEND_WITHIN, SETTLE
from rollback_operator.core.values import (
    Apply,
    Decision,
    Examine,
    Finish,
    Health,
    Observation,
    Request,
    Revision,
    Snapshot,
)
from rollback_operator.kube.client import LONGEST_WRITE
from tests.unit.builders import FAILING, FINDINGS, HEALTHY, NOW, PAUSED, REQUEST_UID, ROLLING, fingerprint, request
from tests.unit.schema import problems, schema_of

STATUS = schema_of("rollbackrequests.yaml")["properties"]["status"]
LONGEST_FLIGHT = SEND_WITHIN + timedelta(seconds=LONGEST_WRITE)
"""From the moment that is written down as an attempt's to its arrival."""
STEP = timedelta(seconds=0.05)
PEOPLE = (
    *("does nothing",) * 8,
    *(f"releases {letter}" for letter in "abcxy"),
    "prunes b",
    "pauses or resumes",
    "pauses or resumes",
    "aborts",
    "approves",
    "deletes",
    "restores",
)


@dataclass(frozen=True)
class Patch:
    """An effect on its way: what it tests and what it does."""

    uid: str
    number: int
    letter: str
    mark: str | None
    to: str
    latest: datetime


@dataclass
class Deployment:
    """A Deployment and its ReplicaSets, as far as a rollback sees them."""

    uid: str
    letter: str
    number: int
    generation: int = 1
    observed: int = 1
    paused: bool = False
    mark: str | None = None
    unfinished: bool = False
    health: Health = HEALTHY
    history: dict[str, tuple[int, str | None]] = field(default_factory=dict)
    """Letter to revision number and mark."""

    def change(self, letter: str) -> None:
        self.letter, self.generation, self.health = letter, self.generation + 1, ROLLING

    def sync(self) -> None:
        """What the Deployment controller does: number the revision, copy the annotations to its ReplicaSet."""
        newest = max((number for number, _ in self.history.values()), default=0)
        number, mark = self.history.get(self.letter, (0, None))
        self.number = number if number == newest and number else newest + 1
        self.history[self.letter] = (self.number, self.mark or mark)
        self.observed = self.generation

    def snapshot(self) -> Snapshot:
        marks = {self.mark, *(mark for _, mark in self.history.values())}
        return Snapshot(
            uid=self.uid,
            generation=self.generation,
            current=Revision(str(self.number), self.number, fingerprint(self.letter)),
            history=tuple(
                sorted(
                    (
                        Revision(str(number), number, fingerprint(letter))
                        for letter, (number, _) in self.history.items()
                    ),
                    key=lambda one: one.order,
                )
            ),
            settled=self.observed >= self.generation,
            health=self.health if self.observed >= self.generation else ROLLING,
            obstacle=PAUSED if self.paused else None,
            marks=frozenset(mark for mark in marks if mark),
            unfinished=self.unfinished,
            raw=(self.letter, self.mark),
        )


@dataclass
class Operator:
    """One operator's round: how far it is, and what it knows that is not in the status."""

    request: Request | None = None
    version: int = 0
    seen: Snapshot | None = None
    looked: datetime | None = None
    decision: Decision | None = None
    written: bool = False
    answered: int = 0
    kept: int = 0


class World(RuleBasedStateMachine):
    """The request, its target, two operators and what is under way."""

    ever: ClassVar[set[str]] = set()

    @initialize(
        history=st.sampled_from(["ab", "abc", "abcd", "abca"]),
        timeout=st.sampled_from(["1m", "20s", "2s"]),
        grace=st.sampled_from([None, None, "5s"]),
    )
    def begin(self, history: str, timeout: str, grace: str | None) -> None:
        self.now = NOW
        self.asked = request(timeout=timeout, grace=grace)
        self.version = 1
        self.target: Deployment | None = Deployment("uid-1", history[0], 0)
        for letter in history:
            self.target.change(letter)
            self.target.sync()
        self.target.health = HEALTHY
        self.flying: list[Patch] = []
        self.effects = 0
        self.births = 1
        self.vanished = False
        self.plan: Any = None
        self.ending: RequestStatus | None = None
        self.operators = (Operator(), Operator())

    # Operators.

    @rule(
        which=st.sampled_from([0, 1]),
        lucks=st.lists(st.sampled_from(["done", "done", "done", "no answer", "not done"]), min_size=1, max_size=6),
    )
    def go_on(self, which: int, lucks: list[str]) -> None:
        for luck in lucks:
            self._one_step(which, luck)

    def _one_step(self, which: int, luck: str) -> None:
        operator = self.operators[which]
        self.now += STEP
        if operator.request is None:
            operator.request, operator.version = self.asked, self.version
        elif operator.looked is None:
            operator.seen, operator.looked = self.target.snapshot() if self.target else None, self.now
        elif operator.decision is None:
            self._decide(operator)
        elif not operator.written:
            self._write(operator, luck)
        else:
            self._act(operator, luck)

    def _decide(self, operator: Operator) -> None:
        assert operator.request is not None
        seen = Observation(target=operator.seen, answered=operator.answered, since=operator.looked, kept=operator.kept)
        decision = advance(operator.request, seen, self.now)
        if isinstance(decision.action, Examine):
            decision = advance(operator.request, replace(seen, answer=FINDINGS), self.now)
        operator.decision = decision

    def _write(self, operator: Operator, luck: str) -> None:
        decision = operator.decision
        assert operator.request is not None
        assert decision is not None
        if decision.status != operator.request.status:
            if operator.version != self.version or luck == "not done":
                self._begin_anew(operator)
                return
            self._store(decision.status)
        operator.written = True
        if decision.action is None or luck == "no answer":
            self._begin_anew(operator)

    def _act(self, operator: Operator, luck: str) -> None:
        decision, seen = operator.decision, operator.seen
        assert decision is not None
        assert seen is not None
        if isinstance(decision.action, Finish):
            operator.kept += luck != "done"
            if luck == "done" and self.target is not None and self.target.uid == seen.uid:
                self.target.unfinished = False
        if isinstance(decision.action, Apply):
            self._send(operator, decision, seen, luck)
        self._begin_anew(operator)

    def _send(self, operator: Operator, decision: Decision, seen: Snapshot, luck: str) -> None:
        assert isinstance(decision.action, Apply)
        (step,) = decision.status.targets[0].steps
        assert step.last_attempt_at is not None
        latest = step.last_attempt_at + LONGEST_FLIGHT
        letter, mark = seen.raw
        to = next(one for one in "abcdxyz" if fingerprint(one) == decision.action.plan.to.fingerprint)
        patch = Patch(seen.uid, seen.current.order, letter, mark, to, latest)
        in_time = self.now <= step.last_attempt_at + SEND_WITHIN
        if luck == "no answer" and in_time:
            self.flying.append(patch)
            return
        if luck == "done" and in_time and self._arrive(patch):
            return
        if operator.answered == step.attempts - 1:
            operator.answered = step.attempts

    def _arrive(self, patch: Patch) -> bool:
        target = self.target
        if target is None or target.paused:
            return False
        tested = (target.uid, target.number, target.letter, target.mark)
        if tested != (patch.uid, patch.number, patch.letter, patch.mark):
            return False
        self.effects += 1
        target.change(patch.to)
        target.mark, target.unfinished = REQUEST_UID, True
        return True

    def _begin_anew(self, operator: Operator) -> None:
        answered, kept = operator.answered, operator.kept
        operator.__init__()  # type: ignore[misc]
        operator.answered, operator.kept = answered, kept

    @rule(which=st.sampled_from([0, 1]))
    def kill(self, which: int) -> None:
        """And restarted at once: what is written goes on."""
        self.operators[which].__init__()  # type: ignore[misc]

    def _store(self, status: RequestStatus) -> None:
        body = status.dump()
        assert problems(STATUS, body) == []
        self.asked = replace(self.asked, status=RequestStatus.model_validate(body))
        self.version += 1
        self.ever.add(on.find(status.conditions, on.READY).reason)  # type: ignore[union-attr]
        if self.plan is not None:
            assert self.asked.status.targets[0].plan == self.plan, "a plan was changed"
        elif self.asked.status.targets:
            self.plan = self.asked.status.targets[0].plan
            spec = self.asked.spec
            in_grace = spec.grace is not None and self.now < NOW + parse_duration(spec.grace)
            assert spec.approve or not in_grace, "people were not given their time"
        assert self.ending is None, "an ending was overwritten"
        if status.phase is not None and status.phase.final:
            self.ending = self.asked.status

    # The network.

    @precondition(lambda self: self.flying)
    @rule(data=st.data())
    def arrive_late(self, data: st.DataObject) -> None:
        patch = data.draw(st.sampled_from(self.flying))
        self.flying.remove(patch)
        self._arrive(patch)

    @rule(seconds=st.sampled_from([0.2, 0.2, 0.5, 0.5, 1, 1, 5, 12, 61]))
    def time_passes(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        for patch in [one for one in self.flying if one.latest < self.now]:
            self.flying.remove(patch)

    # People and controllers.

    @precondition(lambda self: self.target)
    @rule(health=st.sampled_from([HEALTHY, HEALTHY, ROLLING, FAILING]))
    def controller(self, health: Health) -> None:
        assert self.target is not None
        self.target.sync()
        self.target.health = health

    @rule(what=st.sampled_from(PEOPLE))
    def somebody(self, what: str) -> None:
        said = {"aborts": "abort", "approves": "approve"}.get(what)
        if said and not getattr(self.asked.spec, said) and self.ending is None:
            edited = self.asked.spec.model_copy(update={said: True})
            self.asked = replace(self.asked, spec=edited, generation=self.asked.generation + 1)
            self.version += 1
        if what == "restores" and self.target is None:
            self.births += 1
            self.target = Deployment(f"uid-{self.births}", "x", 0)
            self.target.change("x")
            self.target.sync()
        if self.target is not None:
            self._does_to(self.target, what)

    def _does_to(self, target: Deployment, what: str) -> None:
        if what == "deletes":
            self.target, self.vanished = None, True
        if what == "pauses or resumes":
            target.paused = not target.paused
        if what.startswith("releases ") and what[-1] != target.letter:
            target.change(what[-1])
        if what.startswith("prunes ") and what[-1] != target.letter:
            target.history.pop(what[-1], None)

    # What must hold.

    @invariant()
    def made_at_most_once(self) -> None:
        if hasattr(self, "effects"):
            assert self.effects <= 1

    @invariant()
    def an_ending_tells_the_truth(self) -> None:
        if getattr(self, "ending", None) is None:
            return
        assert self.ending is not None
        applied = on.find(self.ending.conditions, on.APPLIED)
        assert applied is not None
        steps = {step.state for target in self.ending.targets for step in target.steps}
        if applied.status == "Unknown":
            assert self.vanished, "only what is gone cannot be asked"
            assert steps == {StepState.UNKNOWN}
        else:
            said = applied.status == "True"
            assert self.effects == int(said), self.ending
            assert steps <= {StepState.DONE if said else StepState.NOT_MADE}
            assert not (said and self.ending.phase is Phase.SUPERSEDED)

    def teardown(self) -> None:
        """The storm is over: the one operator that is left brings the request to its end, in time."""
        if not hasattr(self, "asked"):
            return
        began = self.now
        self.kill(0)
        self.flying.clear()
        if self.target is not None:
            self.target.sync()
        for _ in range(500):
            if self.ending is not None:
                break
            self.go_on(0, ["done"] * 5)
            if self.target is not None:
                self.target.sync()
            self.now += timedelta(seconds=0.5)
        assert self.ending is not None, self.asked.status
        assert self.now - began <= timedelta(seconds=60) + SETTLE + timedelta(seconds=10)
        self.an_ending_tells_the_truth()


World.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None, derandomize=True)
TestWalk = World.TestCase
