"""Every step that the world can take next: by itself, by a process, by a fault, by people."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from rollback_operator.api.request import Phase
from tests.model import faults, invariants, statuses, surroundings
from tests.model.faults import CRASH, OLD_BODY, OLD_LIST, SLOW, SLOW_READING, STALE, UNKNOWN
from tests.model.shell import APPLY, FREE, KEEP, OK, PUT, Answered, Asked, Over, Shell, Start
from tests.model.world import (
    Call,
    Case,
    Flying,
    Process,
    World,
    a_tick_later,
    copied,
    effect_on,
    fresh_process,
    patch_done,
    phase_of,
    start_of,
    with_call,
    with_flying,
    with_heard,
    with_process,
    with_target,
    without_flying,
    written,
)


class Step(NamedTuple):
    """One step: what happened, in words, and how the world is then."""

    words: str
    world: World
    faults: int = 0
    moves: int = 0
    wrong: str | None = None
    """The invariant that it breaks."""

    @property
    def fair(self) -> bool:
        """It also happens when nothing goes wrong and nobody interferes."""
        return self.faults == 0 == self.moves and not self.words.endswith(_UNFAIR)


_UNFAIR = ")"  # in brackets: what went wrong, though it costs nothing


@dataclass
class Steps:
    """The steps of a case, around a shell."""

    case: Case
    shell: Shell
    alike: dict[Hashable, Start] = field(default_factory=dict)

    faults: int = 0
    moves: int = 0
    """How much may still go wrong, and be done."""

    def of(self, world: World) -> Iterator[Step]:
        """All steps from `world`; none if everything is over."""
        if self.over(world):
            return
        yield from self._alone(world)
        for number, process in enumerate(world.processes):
            for index, call in enumerate(process.calls):
                if call is not None:
                    yield from self._answered(world, number, index, call)
                elif not world.asking[index].ended and not _claimed_by_another(process, index, world):
                    yield from self._looked(world, number, index)
            yield from self._crashed(world, number, process)
        if self.moves:
            yield from self._people(world)

    def over(self, world: World) -> bool:
        effects = any(one.call == APPLY for one in world.flying)
        busy = any(call is not None for process in world.processes for call in process.calls)
        return all(one.ended for one in world.asking) and not effects and not busy

    # What happens by itself.

    def _alone(self, world: World) -> Iterator[Step]:
        for words, target in surroundings.by_itself(world.target):
            yield Step(words, with_target(world, target))
        for one in dict.fromkeys(world.flying):
            yield self._arrives(world, one)
        yield from self._time_passes(world)

    def _arrives(self, world: World, one: Flying) -> Step:
        rest = without_flying(world, one)
        words = f"request {one.who + 1}: the {one.call} that was sent earlier arrives"
        if one.call == PUT:
            assert isinstance(one.payload, int)
            late_wrong = invariants.of_write(world, one.who, one.payload, None)
            return Step(words + " (late)", written(rest, one.who, one.payload, one.decided), wrong=late_wrong)
        if one.call == KEEP:
            return Step(words + " (late)", copied(rest, one.who))
        after = effect_on(world.target, str(one.payload))
        if after is None:
            return Step(words + ", and is refused (late)", rest)
        wrong = invariants.of_change(world, one.who, one.call, str(one.payload), after)
        return Step(words + " (late)", patch_done(rest, one.who, one.call, after), wrong=wrong)

    def _time_passes(self, world: World) -> Iterator[Step]:
        """Writes are answered within a tick; that of a status or a copy may take longer, and that is a fault."""
        calls = [call for process in world.processes for call in process.calls if call is not None]
        if any(call.asked.call not in (PUT, KEEP) or call.late for call in calls):
            return
        seconds = f"{statuses.TICK.total_seconds():.0f} seconds pass"
        if not calls:
            yield Step(seconds, a_tick_later(world))
        elif self.faults and SLOW not in self.case.but:
            yield Step(f"{seconds}: {SLOW}", a_tick_later(world), faults=1)

    # What a process reads and decides.

    def _looked(self, world: World, number: int, index: int) -> Iterator[Step]:
        for how, start, cost in self._readings(world, number, index):
            result = self.shell.run(start)
            words = _words(world, number, index, "looks")
            if isinstance(result, Over):
                process = with_heard(world.processes[number], index, result.heard)
                wrong = invariants.of_rest(result)
                if wrong or process != world.processes[number]:
                    yield Step(words + how, with_process(world, number, process), cost, wrong=wrong)
            elif how != f" ({OLD_BODY})" or result.call != PUT:  # else it will be refused, and nothing comes of it
                begun = self._begun(world, number, index, Call(self._like(start, result), (), result))
                wrong = self._wrong_decision(start, result)
                yield Step(f"{words}{how}: {_meaning(result)}", begun, cost, wrong=wrong)

    def _readings(self, world: World, number: int, index: int) -> Iterator[tuple[str, Start, int]]:
        """What it may read: everything as it is, or something that is old or refused."""
        fresh = start_of(world, world.processes[number], index, self.case.spec)
        yield "", fresh, 0
        old = world.asking[index].before
        if old is not None:
            yield f" ({OLD_BODY})", fresh._replace(body=old), 0
        if not self.faults:
            return
        if world.before is not None and world.before != world.target:
            for how, (target, history) in STALE.items():
                read = fresh._replace(target=world.before) if target else fresh
                yield f" ({how})", read._replace(history=world.before) if history else read, 1
        if world.earlier is not None:
            yield f" ({SLOW_READING})", fresh._replace(target=world.earlier, history=world.earlier, begun=1), 1
        if phase_of(fresh.body.status) is Phase.PENDING:
            before = tuple(one.before or one.body for one in world.asking if not one.gone)
            if len(before) > 1 and before != fresh.listed:
                yield f" ({OLD_LIST})", fresh._replace(listed=before), 1
            for broken in faults.REFUSED:
                if broken[0] != faults.REHEARSAL or dict(self.case.spec).get("dryRun"):
                    yield f" (refused: {broken[0]})", fresh._replace(broken=broken), 1

    def _wrong_decision(self, start: Start, asked: Asked) -> str | None:
        if asked.call in (APPLY, KEEP, FREE):
            return invariants.of_effect_begun(start)
        if asked.call != PUT:
            return None
        assert isinstance(asked.payload, int)
        if isinstance(then := self.shell.run(start, (Answered(OK),)), Asked) and then.call in (APPLY, KEEP):
            return invariants.of_effect_begun(start)
        return self._restless(start, asked)

    def _restless(self, start: Start, asked: Asked | Over) -> str | None:
        """Looking again and again at the same things, it comes to rest."""
        written_so_far: set[tuple[str | None, ...]] = set()
        while isinstance(asked, Asked) and isinstance(asked.payload, int):
            said = invariants.said(asked.payload)
            if said in written_so_far:
                return invariants.RESTLESS
            written_so_far.add(said)
            after = start.body._replace(status=asked.payload)
            listed = tuple(after if one.who == after.who else one for one in start.listed)
            start = start._replace(body=after, listed=listed, begun=0, broken=None)
            asked = self.shell.run(start)
        return None

    def _like(self, start: Start, asked: Asked) -> Start:
        """The first start whose round went on the same way: after the decision, what was read plays no part."""
        after = self.shell.run(start, (Answered(OK),))
        return self.alike.setdefault(
            (start.heard, start.body.who, start.body.status, start.copied, asked, after), start
        )

    def _begun(self, world: World, number: int, index: int, call: Call) -> World:
        return with_process(world, number, with_call(world.processes[number], index, call))

    # How its writes are answered.

    def _answered(self, world: World, number: int, index: int, call: Call) -> Iterator[Step]:
        words = _words(world, number, index, call.asked.call)
        waiting = _Waiting(number, index, call)
        if call.asked.call == KEEP and world.asking[index].copied:
            yield self._goes_on(world, waiting, "AlreadyExists", f"{words}: it is there")
        elif call.asked.call not in (PUT, KEEP) and effect_on(world.target, str(call.asked.payload)) is None:
            how = "NotFound" if world.target is None else "Conflict"
            yield self._goes_on(world, waiting, how, f"{words}: {how}")
        else:
            done, wrong = self._done(world, index, call)
            yield _first_wrong(self._goes_on(done, waiting, OK, f"{words}: done"), wrong)
        if not self.faults:
            return
        for error in faults.REFUSALS:
            yield self._goes_on(world, waiting, error, f"{words} ({error})")._replace(faults=1)
        for outcome, then, wrong in self._unclear(world, index, call):
            step = self._goes_on(then, waiting, UNKNOWN, f"{words} (no answer; {outcome})")
            yield _first_wrong(step._replace(faults=1), wrong)

    def _goes_on(self, world: World, waiting: _Waiting, how: str, words: str) -> Step:
        """The process with that answer: it makes the next write of its round, or the round is over."""
        number, index, call = waiting
        answers = (*call.answers, Answered(how, call.late))
        result = self.shell.run(call.start, answers)
        process = world.processes[number]
        if isinstance(result, Asked):
            process = with_call(process, index, Call(call.start, answers, result, call.late))
            return Step(f"{words}; goes on with: {_meaning(result)}", with_process(world, number, process))
        process = with_heard(with_call(process, index, None), index, result.heard)
        return Step(words, with_process(world, number, process), wrong=invariants.of_round(result))

    def _done(self, world: World, index: int, call: Call) -> tuple[World, str | None]:
        """The write is done, if it can be."""
        if call.asked.call == PUT:
            assert isinstance(call.asked.payload, int)
            wrong = invariants.of_write(world, index, call.asked.payload, call.start)
            return written(world, index, call.asked.payload, call.late), wrong
        if call.asked.call == KEEP:
            return copied(world, index), None
        after = effect_on(world.target, str(call.asked.payload))
        if after is None:
            return world, None
        wrong = invariants.of_change(world, index, call.asked.call, str(call.asked.payload), after)
        return patch_done(world, index, call.asked.call, after), wrong

    def _unclear(self, world: World, index: int, call: Call) -> Iterator[tuple[str, World, str | None]]:
        """What may become of a write that nobody waits for any more."""
        yield "done", *self._done(world, index, call)
        yield "not done", world, None
        yield "late", with_flying(world, Flying(call.asked.call, index, call.asked.payload, 0, call.late)), None

    def _crashed(self, world: World, number: int, process: Process) -> Iterator[Step]:
        """The process is killed and started anew, before, while or after its write is done."""
        anew = fresh_process(self.case.requests)
        if process == anew or not self.faults:
            return
        words = f"operator {number + 1} is killed ({CRASH}"
        yield Step(f"{words})", with_process(world, number, anew), faults=1)
        for index, call in enumerate(process.calls):
            for outcome, then, wrong in self._unclear(world, index, call) if call is not None else ():
                if outcome != "not done":
                    said = f"{words}: the {call.asked.call if call else ''} is {outcome})"
                    yield Step(said, with_process(then, number, anew), 1, wrong=wrong)

    def _people(self, world: World) -> Iterator[Step]:
        for words, then in surroundings.by_people(world):
            if words.rstrip(" 0123456789") not in self.case.but:
                yield Step(words, then, moves=1)


class _Waiting(NamedTuple):
    """Whose write it is that is answered."""

    number: int
    who: int
    call: Call


def _first_wrong(step: Step, wrong: str | None) -> Step:
    return step if wrong is None else step._replace(wrong=wrong)


def _claimed_by_another(process: Process, index: int, world: World) -> bool:
    """Within a process, nobody looks whose turn it is while another decides on the same target."""
    claims = any(call is not None and call.asked.claimed for at, call in enumerate(process.calls) if at != index)
    return claims and statuses.parsed(world.asking[index].body.status).phase in (None, "Pending")


def _words(world: World, number: int, index: int, what: str) -> str:
    who = f"operator {number + 1}" if len(world.processes) > 1 else "the operator"
    which = f", request {index + 1}" if len(world.asking) > 1 else ""
    return f"{who}{which}: {what}"


def _meaning(asked: Asked) -> str:
    if asked.call != PUT:
        return asked.call
    assert isinstance(asked.payload, int)
    status = statuses.parsed(asked.payload)
    return f"{asked.call} {status.phase}/{invariants.reason(status)}"
