"""The whole world of a group as one value, and every step that it can take next."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from rollback_operator.api.request import Phase, StepState
from rollback_operator.core import conditions as on
from tests.model import statuses
from tests.model.groups.shell import (
    ABORTED,
    CONFLICT,
    DEFECT,
    ENDS,
    EXISTS,
    FAILED,
    INVALID,
    LOST,
    NOT_DONE,
    NOT_FOUND,
    OK,
    PATCH,
    POST,
    PUT,
    REFUSED,
    SUCCEEDED,
    VERIFYING,
    WAITS,
    Answered,
    Asked,
    Heard,
    Kid,
    Shell,
    Start,
)

T = TypeVar("T")

EARLY = "a request of a later wave is made before all earlier ones have Succeeded"
HINDERED = "a request is made although one of the targets cannot be rolled back"
TWICE = "a request is made twice"
AFTER_THE_END = "a request is made after the group has ended"
NOT_NOTED = "a request is made that does not stand in the status"
CHANGED = "the status of a group that has ended is changed"
UNFINISHED = "the group has ended, and one of its requests has not"
DENIED = "the group says that nothing was changed, and something was"
CLAIMED = "the group says that something was changed, and nothing was"
NOT_ALL = "the group has Succeeded, and not all of its requests have"
STUCK = "no end can be reached any more, although nothing more goes wrong"


class Case(NamedTuple):
    """What is walked."""

    waves: tuple[int, ...] = (0, 0, 1)
    operators: int = 1
    faults: int = 0
    moves: int = 0
    deletes: bool = False
    """Whether people delete requests of the group, beside aborting it."""
    taken: bool = False
    """Whether somebody else has a request of the last name."""
    hindered: int | None = None
    """The place of a target that something else owns: nothing may be made."""


class Call(NamedTuple):
    """A write that a process waits for."""

    start: Start
    answers: tuple[Answered, ...]
    asked: Asked
    late: int = 0
    """Ticks since the decision."""
    sent: int = 0
    """Ticks since the write was sent."""


class Process(NamedTuple):
    heard: Heard
    call: Call | None = None


class World(NamedTuple):
    status: int
    abort: bool
    kids: tuple[Kid | None, ...]
    processes: tuple[Process, ...]
    flying: tuple[tuple[int, int], ...] = ()
    """Places of requests that were sent without an answer, and how many ticks ago."""
    made: tuple[int, ...] = ()
    effects: tuple[bool, ...] = ()
    succeeded: tuple[bool, ...] = ()
    deleted: bool = False


class Step(NamedTuple):
    words: str
    world: World
    faults: int = 0
    moves: int = 0
    wrong: str | None = None


def fresh(case: Case) -> Process:
    count = len(case.waves)
    return Process(Heard((0,) * count, (False,) * count, (False,) * count))


def beginning(case: Case) -> World:
    """A group was just created."""
    count = len(case.waves)
    kids: tuple[Kid | None, ...] = (None,) * count
    if case.taken:
        kids = (*kids[:-1], Kid(ours=False))
    return World(
        statuses.EMPTY,
        abort=False,
        kids=kids,
        processes=(fresh(case),) * case.operators,
        made=(0,) * count,
        effects=(False,) * count,
        succeeded=(False,) * count,
    )


def put(items: tuple[T, ...], place: int, item: T) -> tuple[T, ...]:
    return (*items[:place], item, *items[place + 1 :])


def final(status: int) -> bool:
    phase = statuses.parsed(status).phase
    return phase is not None and phase.final


@dataclass
class Steps:
    """The steps of a case, around a shell."""

    case: Case
    shell: Shell

    def of(self, world: World) -> Iterator[Step]:
        for number, process in enumerate(world.processes):
            if process.call is None:
                yield from self._looks(world, number, process)
            else:
                yield from self._answered(world, number, process, process.call)
            yield Step(f"operator {number} is killed", _with_process(world, number, fresh(self.case)), faults=1)
        for place, kid in enumerate(world.kids):
            if kid is not None and kid.phase not in ENDS:
                yield from self._lives(world, place, kid)
        for place, _ in world.flying:
            flying = tuple(one for one in world.flying if one[0] != place)
            yield self._made(f"the request for {place} arrives late", world._replace(flying=flying), place)
        yield from self._people(world)
        yield from self._tick(world)

    # The operator.

    def _looks(self, world: World, number: int, process: Process) -> Iterator[Step]:
        if final(world.status):
            return
        start = Start(self.case.waves, process.heard, world.status, world.abort, world.kids, self.case.hindered)
        yield self._goes_on(f"operator {number} looks", world, number, start, ())

    def _goes_on(self, words: str, world: World, number: int, start: Start, answers: tuple[Answered, ...]) -> Step:
        then = self.shell.run(start, answers)
        late = answers[-1].late if answers else 0
        if isinstance(then, Asked):
            process = world.processes[number]._replace(call=Call(start, answers, then, late))
            return Step(f"{words}; sends {then.call} {then.what}", _with_process(world, number, process))
        wrong = then.error if then.error and then.error.startswith(DEFECT) else None
        return Step(words, _with_process(world, number, Process(then.heard)), wrong=wrong)

    def _answered(self, world: World, number: int, process: Process, call: Call) -> Iterator[Step]:
        then, how = self._done(world, call)
        name = f"operator {number}: {call.asked.call} {call.asked.what}"

        def answer(how: str, after: World) -> Step:
            return self._goes_on(f"{name} {how}", after, number, call.start, (*call.answers, Answered(how, call.late)))

        yield _with_wrong(answer(how, then.world), then.wrong)
        yield _with_wrong(answer(LOST, then.world)._replace(faults=1), then.wrong)
        yield answer(LOST, world)._replace(faults=1, words=f"{name} is lost")
        killed = Step(
            f"{name} done, operator {number} is killed", _with_process(then.world, number, fresh(self.case)), 1
        )
        yield _with_wrong(killed, then.wrong)
        if call.asked.call == POST:
            yield answer(NOT_DONE, world)._replace(faults=1)
            yield answer(REFUSED, world)._replace(faults=1)
            if not any(place == call.asked.what for place, _ in world.flying):
                flying = world._replace(flying=(*world.flying, (call.asked.what, call.sent)))
                yield answer(LOST, flying)._replace(faults=1, words=f"{name} is late")
        del process

    def _done(self, world: World, call: Call) -> tuple[Step, str]:
        """The world after the write, and how it is answered."""
        if call.asked.call == PUT:
            return self._written(world, call)
        place = call.asked.what
        kid = world.kids[place]
        if call.asked.call == POST:
            return (self._made("", world, place), OK) if kid is None else (Step("", world), EXISTS)
        assert call.asked.call == PATCH
        if kid is None or not kid.ours:
            return Step("", world), NOT_FOUND
        if kid.phase in ENDS:
            return Step("", world), INVALID
        return Step("", world._replace(kids=put(world.kids, place, kid._replace(abort=True)))), OK

    def _written(self, world: World, call: Call) -> tuple[Step, str]:
        seen, payload = call.start.status, call.asked.what
        for _ in range(call.late):
            seen, payload = statuses.older(seen), statuses.older(payload)
        if (seen, call.start.abort) != (world.status, world.abort):
            return Step("", world), CONFLICT
        wrong = CHANGED if final(world.status) else None
        after = world._replace(status=payload)
        return Step("", after, wrong=wrong or (_of_end(self.case, after) if final(payload) else None)), OK

    def _made(self, words: str, world: World, place: int) -> Step:
        """A request comes to be, if its name is free."""
        if world.kids[place] is not None:
            return Step(words, world)
        wrong = None
        earlier = [at for at, wave in enumerate(self.case.waves) if wave < self.case.waves[place]]
        targets = statuses.parsed(world.status).targets
        if final(world.status):
            wrong = AFTER_THE_END
        elif self.case.hindered is not None:
            wrong = HINDERED
        elif not all(world.succeeded[at] for at in earlier):
            wrong = EARLY
        elif world.made[place]:
            wrong = TWICE
        elif not targets or targets[place].request is None:
            wrong = NOT_NOTED
        kids, made = put(world.kids, place, Kid()), put(world.made, place, world.made[place] + 1)
        return Step(words, world._replace(kids=kids, made=made), wrong=wrong)

    # The requests, people, time.

    def _lives(self, world: World, place: int, kid: Kid) -> Iterator[Step]:
        def becomes(phase: str, *, effect: bool = False) -> Step:
            after = kid._replace(phase=phase, effect=kid.effect or effect)
            done = put(world.succeeded, place, world.succeeded[place] or (phase == SUCCEEDED and kid.ours))
            made = put(world.effects, place, world.effects[place] or (after.effect and kid.ours))
            kids = put(world.kids, place, after)
            return Step(f"the request for {place} is {phase}", world._replace(kids=kids, succeeded=done, effects=made))

        if kid.abort:
            yield becomes(ABORTED)
        if kid.phase == WAITS:
            if not kid.abort:
                yield becomes(VERIFYING, effect=True)
            yield becomes(FAILED)
        else:
            yield becomes(SUCCEEDED)
            yield becomes(FAILED)

    def _people(self, world: World) -> Iterator[Step]:
        if not world.abort and not final(world.status):
            yield Step("somebody aborts the group", world._replace(abort=True), moves=1)
        for place, kid in enumerate(world.kids if self.case.deletes else ()):
            if kid is not None:
                kids = put(world.kids, place, None)
                yield Step(
                    f"somebody deletes the request for {place}", world._replace(kids=kids, deleted=True), moves=1
                )

    def _tick(self, world: World) -> Iterator[Step]:
        """Ten seconds pass. A write is answered or over by then; a process may stand still before it sends one."""
        calls = [one.call for one in world.processes if one.call is not None]
        if any(one.asked.call != PUT and one.sent for one in calls):
            return
        processes = tuple(one._replace(call=_older(one.call)) for one in world.processes)
        flying = tuple((place, age + 1) for place, age in world.flying if age + 1 < statuses.IN_FLIGHT)
        stalled = any(one.asked.call == PUT for one in calls)
        after = world._replace(status=statuses.older(world.status), processes=processes, flying=flying)
        yield Step("ten seconds pass", after, faults=int(stalled))


def _older(call: Call | None) -> Call | None:
    if call is None:
        return None
    late = min(call.late + 1, statuses.TIMEOUT + statuses.IN_FLIGHT)
    return call._replace(late=late, sent=call.sent + (call.asked.call != PUT))


def _with_process(world: World, number: int, process: Process) -> World:
    return world._replace(processes=put(world.processes, number, process))


def _with_wrong(step: Step, wrong: str | None) -> Step:
    return step if wrong is None else step._replace(wrong=wrong)


def _of_end(case: Case, world: World) -> str | None:
    """What is wrong with how the group has just ended."""
    status = statuses.parsed(world.status)
    if any(kid is not None and kid.ours and kid.phase not in ENDS for kid in world.kids):
        return UNFINISHED
    if status.phase is Phase.SUCCEEDED and not all(world.succeeded):
        return NOT_ALL
    applied = on.find(status.conditions, on.APPLIED)
    assert applied is not None
    if applied.status == "False" and any(world.effects):
        return DENIED
    if applied.status == "True" and not any(world.effects):
        return CLAIMED
    begun = [any(step.state is StepState.DONE for step in one.steps) for one in status.targets]
    if (
        not case.taken
        and not world.deleted
        and any(
            kid is not None and not seen
            for kid, seen in zip(world.kids, begun or [False] * len(world.kids), strict=True)
        )
    ):
        return UNFINISHED
    return None
