"""The whole world of a request about one kind of target as one value, and every step that it can take next."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

from rollback_operator.api.request import Phase
from tests.model import invariants, statuses
from tests.model.kinds.scene import Asker, Scene
from tests.model.kinds.shell import (
    DEFECT,
    LASTS,
    NOTHING,
    OK,
    PUT,
    STALLS,
    UID,
    UNKNOWN,
    WAITS,
    Answered,
    Asked,
    Body,
    Heard,
    Over,
    Shell,
    Start,
)

T = TypeVar("T", bound=Hashable)

REFUSALS = ("Forbidden", "Invalid", "NotDone", "Conflict")
"""Answers after which nothing was changed."""
CRASH, STALE, SLOW_READING, SLOW, STANDS = (
    "is killed",
    "an old reading",
    "a slow reading",
    "the write is slow",
    "the process stands still",
)
FAULTS = (*REFUSALS, "no answer; done", "no answer; not done", "no answer; late", CRASH, STALE, SLOW_READING, SLOW)
ABORT, WITHDRAW = "somebody aborts the request", "somebody deletes the request"


class Case(NamedTuple):
    """What is walked."""

    operators: int = 1
    faults: int = 0
    moves: int = 0
    but: frozenset[str] = frozenset()
    """Moves that are left out."""


class Call(NamedTuple, Generic[T]):
    """A write that a process waits for, so many ticks after its decision."""

    start: Start[T]
    answers: tuple[Answered[T], ...]
    asked: Asked
    late: int = 0


class Process(NamedTuple, Generic[T]):
    heard: Heard = NOTHING
    call: Call[T] | None = None


class World(NamedTuple, Generic[T]):
    """`before`: the target before its last change; `earlier`: at the beginning of the tick before, if it changed in it.

    `first`: when this tick began, if it was changed since. `flying`: writes whose answers nobody waits for, and for how
    many ticks.
    """

    body: Body
    target: T
    processes: tuple[Process[T], ...]
    gone: bool = False
    before: T | None = None
    first: T | None = None
    earlier: T | None = None
    flying: tuple[tuple[Hashable, int], ...] = ()

    @property
    def asker(self) -> Asker:
        return Asker(UID, self.body.status, self.gone)

    @property
    def ended(self) -> bool:
        phase = statuses.parsed(self.body.status).phase
        return self.gone or (phase is not None and phase.final)

    @property
    def over(self) -> bool:
        return self.ended and not self.flying and all(one.call is None for one in self.processes)


class Step(NamedTuple, Generic[T]):
    words: str
    world: World[T]
    faults: int = 0
    moves: int = 0
    wrong: str | None = None


@dataclass
class Steps(Generic[T]):
    """The steps of a case, around a shell."""

    case: Case
    shell: Shell[T]
    alike: dict[Hashable, Start[T]] = field(default_factory=dict)

    @property
    def scene(self) -> Scene[T]:
        return self.shell.scene

    def beginning(self) -> World[T]:
        return World(Body(), self.scene.beginning(), (Process(),) * self.case.operators)

    def of(self, world: World[T], faults: int, moves: int) -> Iterator[Step[T]]:
        """All steps; `faults` and `moves` may still come."""
        if world.over:
            return
        for words, target in self.scene.by_itself(world.target):
            yield Step(words, _changed(world, target))
        for one in dict.fromkeys(world.flying):
            yield self._arrives(world, one)
        for number, process in enumerate(world.processes):
            if process.call is not None:
                yield from self._answered(world, number, process.call, faults)
            elif not world.ended:
                yield from self._looks(world, number, process, faults)
            if faults:
                yield from self._killed(world, number, process)
        if moves:
            yield from self._people(world)
        yield from self._time(world, faults)

    def tidied(self, world: World[T], faults: int) -> World[T]:
        """The world without memories that nobody uses: fewer states tell the same."""
        phase = statuses.parsed(world.body.status).phase
        running = phase in (Phase.RUNNING, Phase.VERIFYING)
        created = statuses.TIMEOUT if world.body.status != statuses.EMPTY else world.body.created
        processes = world.processes
        if world.ended:
            processes = tuple(one._replace(heard=NOTHING) for one in processes)
        elif phase is Phase.VERIFYING:  # by then, the target tells that all of it was put back
            processes = tuple(one._replace(heard=one.heard._replace(put_back=())) for one in processes)
        old = bool(faults) and not world.ended
        return world._replace(
            body=world.body._replace(created=created),
            processes=processes,
            before=world.before if old and world.before != world.target else None,
            first=world.first if old and running else None,
            earlier=world.earlier if old and running else None,
        )

    # A process.

    def _looks(self, world: World[T], number: int, process: Process[T], faults: int) -> Iterator[Step[T]]:
        fresh = Start(process.heard, world.body, world.target)
        readings = [("", fresh, 0)]
        if faults and world.before is not None:
            readings.append((f" ({STALE})", fresh._replace(view=world.before), 1))
        if faults and world.earlier is not None:
            readings.append((f" ({SLOW_READING})", fresh._replace(view=world.earlier, begun=1), 1))
        for how, start, cost in readings:
            step = self._goes_on(f"operator {number + 1} looks{how}", world, number, start, ())
            if step.world != world or step.wrong:
                yield step._replace(faults=cost)

    def _goes_on(
        self, words: str, world: World[T], number: int, start: Start[T], answers: tuple[Answered[T], ...]
    ) -> Step[T]:
        then = self.shell.run(start, answers)
        late = answers[-1].late if answers else 0
        if isinstance(then, Asked):
            call = Call(start if answers else self._like(start, then), answers, then, max(late, 0))
            begun = _with(world, number, world.processes[number]._replace(call=call))
            return Step(f"{words}; {_meaning(then)}", begun, wrong=self._misjudged(start, then))
        return Step(words, _with(world, number, Process(then.heard)), wrong=_of_round(then, world, answers))

    def _misjudged(self, start: Start[T], then: Asked) -> str | None:
        if then.call != PUT:
            return None
        assert isinstance(then.payload, int)
        return self.scene.misjudged(start.view, then.payload)

    def _like(self, start: Start[T], asked: Asked) -> Start[T]:
        """The first start that led to the same, if the round is over with this write: which one plays no part."""
        after = self.shell.run(start, (Answered(OK, 0, start.view),))
        if isinstance(after, Asked):
            return start
        return self.alike.setdefault((start.heard, start.body, asked, after), start)

    def _answered(self, world: World[T], number: int, call: Call[T], faults: int) -> Iterator[Step[T]]:
        name = f"operator {number + 1}: {call.asked.call}"

        def answer(how: str, after: World[T], words: str) -> Step[T]:
            given = (*call.answers, Answered(how, call.late, after.target))
            return self._goes_on(f"{name} {words}", after, number, call.start, given)

        if call.asked.takes_time:
            if call.asked.call != WAITS:
                yield answer(OK, world, "goes on")
            return
        how, done = self._done(world, call)
        yield _also(answer(how, done.world, how), done.wrong)
        if not faults:
            return
        for refusal in REFUSALS:
            yield answer(refusal, world, f"({refusal})")._replace(faults=1)
        for outcome, after in self._unclear(world, call):
            yield _also(answer(UNKNOWN, after.world, f"(no answer; {outcome})"), after.wrong)._replace(faults=1)

    def _done(self, world: World[T], call: Call[T]) -> tuple[str, Step[T]]:
        """A write arrives."""
        asked = call.asked
        if asked.call == PUT:
            assert isinstance(asked.payload, int)
            if _overtaken(world, call):
                return "Conflict", Step("", world)
            return OK, self._stored(world, asked.payload, call.late)
        landed = self.scene.landed(world.target, asked.payload, 0, world.asker)
        return landed.how, Step("", _changed(world, landed.world), wrong=landed.wrong)

    def _unclear(self, world: World[T], call: Call[T]) -> Iterator[tuple[str, Step[T]]]:
        """What may become of a write that nobody waits for any more."""
        yield "done", self._done(world, call)[1]
        yield "not done", Step("", world)
        if call.asked.call != PUT:
            flying = tuple(sorted((*world.flying, (call.asked.payload, 0)), key=str))
            yield "late", Step("", world._replace(flying=flying))

    def _stored(self, world: World[T], number: int, late: int) -> Step[T]:
        """A status is stored; whoever else writes on the version before is refused, at once."""
        number = _aged(number, late)
        wrong = _of_write(world, number) or self.scene.wrong_end(world.target, world.asker, number)
        after = _of_new_version(world._replace(body=world.body._replace(status=number)))
        return Step("", after, wrong=wrong)

    def _killed(self, world: World[T], number: int, process: Process[T]) -> Iterator[Step[T]]:
        """The process is killed and started anew: before its write, after it, or while it is under way."""
        words = f"operator {number + 1} {CRASH}"
        if process != Process():
            yield Step(words, _with(world, number, Process()), faults=1)
        if process.call is None or process.call.asked.takes_time:
            return
        for outcome, after in self._unclear(world, process.call):
            if outcome != "not done":
                said = f"{words}; {process.call.asked.call} is {outcome}"
                yield Step(said, _with(after.world, number, Process()), 1, wrong=after.wrong)

    # The others.

    def _arrives(self, world: World[T], one: tuple[Hashable, int]) -> Step[T]:
        at = world.flying.index(one)
        rest = world._replace(flying=world.flying[:at] + world.flying[at + 1 :])
        landed = self.scene.landed(world.target, one[0], one[1], world.asker)
        return Step(f"what was sent earlier arrives: {landed.how}", _changed(rest, landed.world), wrong=landed.wrong)

    def _people(self, world: World[T]) -> Iterator[Step[T]]:
        for words, target in self.scene.by_people(world.target):
            if words not in self.case.but:
                yield Step(words, _changed(world, target), moves=1)
        if not world.ended and not world.body.abort and ABORT not in self.case.but:
            aborted = world._replace(body=world.body._replace(abort=True))
            yield Step(ABORT, _of_new_version(aborted), moves=1)
        if not world.ended and WITHDRAW not in self.case.but:
            yield Step(WITHDRAW, _of_new_version(world._replace(gone=True)), moves=1)

    def _time(self, world: World[T], faults: int) -> Iterator[Step[T]]:
        """A tick passes. A write is answered by then, but for that of a status; what takes time goes on, or stalls."""
        calls = [one.call for one in world.processes if one.call is not None]
        if self.scene.hurries(world.target) or any(
            not (one.asked.call == PUT or one.asked.takes_time) for one in calls
        ):
            return
        older = self._older(world)
        slow = sum(one.asked.call == PUT for one in calls)
        long = [number for number, one in enumerate(world.processes) if one.call and one.call.asked.takes_time]
        words = f"{statuses.TICK.total_seconds():.0f} seconds pass"
        yield self._through(Step(words, older, faults=slow), long, LASTS)
        if long and faults:
            yield self._through(Step(f"{words}: {STANDS}", older, faults=slow + 1), long, STALLS)

    def _through(self, step: Step[T], long: list[int], how: str) -> Step[T]:
        for number in long:
            call = step.world.processes[number].call
            assert call is not None
            given = (*call.answers, Answered(how, call.late, step.world.target))
            after = self._goes_on(step.words, step.world, number, call.start, given)
            step = Step(after.words, after.world, step.faults, wrong=step.wrong or after.wrong)
        return step

    def _older(self, world: World[T]) -> World[T]:
        body = Body(statuses.older(world.body.status), world.body.abort, min(world.body.created + 1, statuses.TIMEOUT))
        processes = tuple(
            one._replace(call=one.call and one.call._replace(late=one.call.late + 1)) for one in world.processes
        )
        flying = tuple((payload, sent + 1) for payload, sent in world.flying if sent + 1 < self.scene.flight(payload))
        return World(
            body,
            self.scene.later(world.target),
            processes,
            world.gone,
            earlier=None if world.first is None else self.scene.later(world.first),
            flying=flying,
        )


def _overtaken(world: World[T], call: Call[T]) -> bool:
    """Whether another status was stored since the round of a write began, which made other writes before."""
    read = _aged(call.start.body.status, call.late)
    return (read, call.start.body.abort) != (world.body.status, world.body.abort) or world.gone


def _aged(number: int, late: int) -> int:
    """A status as it reads when time has passed so many times."""
    for _ in range(late):
        number = statuses.older(number)
    return number


def _changed(world: World[T], target: T) -> World[T]:
    if target == world.target:
        return world
    first = world.target if world.first is None else world.first
    return world._replace(target=target, before=world.target, first=first)


def _with(world: World[T], number: int, process: Process[T]) -> World[T]:
    processes = (*world.processes[:number], process, *world.processes[number + 1 :])
    return world._replace(processes=processes)


def _of_new_version(world: World[T]) -> World[T]:
    """Status writes on the version before are refused, which leaves no trace in the process."""
    processes = tuple(
        one._replace(call=None) if one.call is not None and one.call.asked.call == PUT else one
        for one in world.processes
    )
    return world._replace(processes=processes)


def _also(step: Step[T], wrong: str | None) -> Step[T]:
    return step if wrong is None else step._replace(wrong=wrong)


def _of_round(over: Over, world: World[T], answers: tuple[Answered[T], ...]) -> str | None:
    if over.error and over.error.startswith(DEFECT):
        return over.error
    if over.spins:
        return invariants.SPINS
    return invariants.FORGOTTEN if over.forgets and not answers and not world.ended else None


def _of_write(world: World[T], number: int) -> str | None:
    """What holds for every status, whatever it is about."""
    before, status = statuses.parsed(world.body.status), statuses.parsed(number)
    if before.phase is not None and before.phase.final:
        return invariants.REOPENED
    plan = invariants.plan_of(before)
    return invariants.REPLANNED if plan is not None and invariants.plan_of(status) != plan else None


def _meaning(asked: Asked) -> str:
    if asked.call != PUT:
        return asked.call
    assert isinstance(asked.payload, int)
    return f"status {'/'.join(map(str, invariants.said(asked.payload)))}"
