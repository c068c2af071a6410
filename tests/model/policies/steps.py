"""Every step that the world can take next: by itself, by a process, by a fault, by people."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from rollback_operator.core.choice import LAST_KNOWN_GOOD, Chosen, choose
from rollback_operator.core.ledger import Ledger
from rollback_operator.core.turn import rolled_back_from
from tests.model.policies import invariants, values
from tests.model.policies.shell import (
    CONFLICT,
    DELETE,
    EXISTS,
    NOT_FOUND,
    OK,
    POST,
    PUT,
    UNKNOWN,
    Answered,
    Asked,
    Shell,
    Start,
    View,
)
from tests.model.policies.values import Policy, Req, Target, print_of
from tests.model.policies.world import (
    Call,
    Case,
    Process,
    World,
    a_tick_later,
    view_of,
    with_process,
    with_request,
    with_requests,
    with_target,
    without_request,
)


class Step(NamedTuple):
    """One step: what happened, in words, how the world is then, and what it used up."""

    words: str
    world: World
    faults: int = 0
    moves: int = 0
    ticks: int = 0
    wrong: str | None = None
    """The invariant that it breaks."""


ANSWERS = {"H": "Healthy", "B": "Breach", "U": "Unknown"}
RELEASE, BACK, BY_HAND = "somebody releases c", "somebody releases b again", "somebody goes back to a by hand"
ANEW, SUSPEND, OBSERVE = "somebody creates the target anew", "somebody suspends the policy", "somebody has it observe"
ABORT, REMOVE, REMOVE_ENDED, APPROVE = (
    "somebody aborts request",
    "somebody deletes request",
    "somebody deletes the evidence of request",
    "somebody approves request",
)
MOVES = (RELEASE, BACK, BY_HAND, ANEW, SUSPEND, OBSERVE, ABORT, REMOVE, REMOVE_ENDED, APPROVE)
STALE_TARGET, STALE_LIST, UNREADABLE, STILL = (
    "an old reading of the target",
    "an old list of the requests",
    "it cannot read the target",
    "an operator stands still",
)
BEHIND = "the watch is behind"
CRASH, LOST = "is killed", "no answer"
FAULTS = (
    STALE_TARGET,
    STALE_LIST,
    UNREADABLE,
    STILL,
    BEHIND,
    *(f"{kind}: {what}" for kind in (CRASH, LOST) for what in ("done", "not done", "late")),
)
REFUSED, UNHEALTHY = "request is refused", "request is not healthy in time"


def all_but(*moves: str) -> frozenset[str]:
    """What to leave out of a case so that people make these moves only."""
    return frozenset(MOVES) - set(moves)


@dataclass
class Steps:
    """The steps of a case, around a shell."""

    case: Case
    shell: Shell
    faults: int = 0
    moves: int = 0
    ticks: int = 0
    """How much may still happen."""

    def of(self, world: World) -> Iterator[Step]:
        """All steps from `world`."""
        for number, process in enumerate(world.processes):
            if process.call is None:
                yield from self.looked(world, number)
            else:
                yield from self.answered(world, number, process.call)
            if self.faults:
                yield from self._crashed(world, number, process)
        for one in world.requests:
            if not one.ended:
                yield from self.carried_out(world, one)
        for one in world.flying:
            yield self._arrives(world, one)
        if self.moves:
            yield from self._people(world)
        if self.ticks:
            yield from self._time_passes(world)

    def _time_passes(self, world: World) -> Iterator[Step]:
        if any(one.call is not None for one in world.processes):
            return
        still = any(one.memory is None or not one.memory.asked for one in world.processes)
        if still and not self.faults:
            return
        how = f" ({STILL})" if still else ""
        for answer, words in ANSWERS.items():
            then = a_tick_later(world, answer, missed=still)
            yield Step(f"a minute passes{how}; the answer is {words}", then, ticks=1, faults=int(still))

    # What a process reads and decides.

    def looked(self, world: World, number: int) -> Iterator[Step]:
        """A round begins."""
        fresh = view_of(world)
        yield self._begun(world, number, fresh, "")
        if not self.faults:
            return
        if world.before is not None:
            target, requests = world.before
            if target != world.target and target is not None:
                step = self._begun(world, number, fresh._replace(target=target), f" ({STALE_TARGET})")
                yield step._replace(faults=1)
            if requests != world.requests:
                step = self._begun(world, number, fresh._replace(listed=requests), f" ({STALE_LIST})")
                yield step._replace(faults=1)
        yield self._begun(world, number, fresh, f" ({UNREADABLE})", broken=True)._replace(faults=1)
        memory = world.processes[number].memory
        if memory is not None and memory.generation != world.policy.generation:
            yield self._begun(world, number, fresh, f" ({BEHIND})", behind=True)._replace(faults=1)

    def _begun(
        self, world: World, number: int, view: View, how: str, *, broken: bool = False, behind: bool = False
    ) -> Step:
        process = world.processes[number]
        truth = world.truth if self.case.remembers and not (process.memory and process.memory.rebuilt) else ()
        truth = truth or world.truth[-1:]
        start = Start(self.case.spec, process.memory, view, truth, self.case.remembers, broken, behind)
        return self._goes_on(world, number, start, (), _who(world, number) + " looks" + how)

    def _goes_on(self, world: World, number: int, start: Start, answers: tuple[Answered, ...], words: str) -> Step:
        """The process makes the next write of its round, or the round is over."""
        process, result = world.processes[number], self.shell.run(start, answers)
        if isinstance(result, Asked):
            wrong = invariants.of_decision(self.case, world, start, result) if result.call == POST else None
            call = Call(start, answers, result, world.policy)
            process = Process(process.memory, call, process.news if answers else (False, False))
            return Step(
                f"{words}; goes on with: {_meaning(world, result)}", with_process(world, number, process), wrong=wrong
            )
        memory, news = result.memory, process.news
        if memory is not None:
            memory = memory._replace(
                news_of_target=memory.news_of_target or news[0], news_of_requests=memory.news_of_requests or news[1]
            )
        words += f" ({result.error})" if result.error else ""
        return Step(words, with_process(world, number, Process(memory)), wrong=invariants.of_round(result))

    # How its writes are answered.

    def answered(self, world: World, number: int, call: Call) -> Iterator[Step]:
        """A write is done, or refused, or its answer is lost."""
        who = f"{_who(world, number)}: {call.asked.call}"
        how, then, wrong = self._done(world, call)
        yield _wrong_first(self._told(then, number, call, how, f"{who}: {'done' if how == OK else how}"), wrong)
        if not self.faults:
            return
        for outcome, after, bad in self._unclear(world, call):
            step = self._told(after, number, call, UNKNOWN, f"{who} ({LOST}: {outcome})")
            yield _wrong_first(step._replace(faults=1), bad)

    def _told(self, world: World, number: int, call: Call, how: str, words: str) -> Step:
        return self._goes_on(world, number, call.start, (*call.answers, Answered(how, view_of(world))), words)

    def _unclear(self, world: World, call: Call) -> Iterator[tuple[str, World, str | None]]:
        how, then, wrong = self._done(world, call)
        yield "not done", world, None
        if how == OK:
            yield "done", then, wrong
        if call.asked.call == POST:
            yield "late", world._replace(flying=(*world.flying, self._new(world, call))), None

    def _done(self, world: World, call: Call) -> tuple[str, World, str | None]:  # noqa: PLR0911 - one for each answer
        """What the API server makes of a write."""
        asked = call.asked
        if asked.call == PUT:
            if world.policy != call.seen:
                return CONFLICT, world, None
            assert asked.status is not None
            return OK, world._replace(policy=world.policy._replace(status=asked.status)), None
        found = next((one for one in world.requests if one.name == asked.name), None)
        if asked.call == POST:
            return self._created(world, self._new(world, call))
        if found is None:
            return NOT_FOUND, world, None
        if asked.call == DELETE:
            had = (found,) if found.left is not None else ()
            return OK, without_request(world, found)._replace(cleared=(*world.cleared, *had)), None
        seen = next(
            one for one in (call.answers[-1].view if call.answers else call.start.view).there if one.name == found.name
        )
        if found != seen:
            return CONFLICT, world, None
        return OK, with_request(world, found._replace(abort=True, withdrawn=True)), None

    def _new(self, world: World, call: Call) -> Req:
        target = call.start.view.target
        assert target is not None
        number = world.target.number if world.target is not None and call.asked.graced else None
        return Req(
            call.asked.name,
            len(world.made),
            0,
            (target.uid, target.number),
            call.asked.seen or "",
            asked_to=call.asked.to,
            graced=call.asked.graced,
            asked_about=number,
        )

    def _created(self, world: World, one: Req) -> tuple[str, World, str | None]:
        if any(it.name == one.name for it in world.requests):
            return EXISTS, world, None
        wrong = invariants.of_creation(self.case, world, one)
        one = one._replace(who=len(world.made))
        then = with_requests(world, (*world.requests, one))
        return OK, then._replace(made=(*world.made, (one.name, one.why))), wrong

    def _arrives(self, world: World, one: Req) -> Step:
        """A request that was sent without an answer is made after all."""
        rest = world._replace(flying=tuple(it for it in world.flying if it != one))
        how, then, wrong = self._created(rest, one)
        return Step(f"the request that was sent earlier arrives: {how}", then, wrong=wrong)

    def _crashed(self, world: World, number: int, process: Process) -> Iterator[Step]:
        anew = Process(None)
        if process == anew:
            return
        words = f"{_who(world, number)} {CRASH}"
        if process.call is None:
            yield Step(words, with_process(world, number, anew), faults=1)
            return
        for outcome, then, wrong in self._unclear(world, process.call):
            said = f"{words}: the {process.call.asked.call} is {outcome}"
            yield Step(said, with_process(then, number, anew), faults=1, wrong=wrong)

    # What becomes of requests: their own model proves that nothing else does.

    def carried_out(self, world: World, one: Req) -> Iterator[Step]:
        """The next things that can happen to an unfinished request; the first is how it goes when all is well."""
        who = f"request {one.who + 1}"
        if one.phase == "":
            yield from self._pending(world, one, who)
        elif not one.applied:
            yield Step(
                f"{who}: its effect is noted", with_request(world, one._replace(phase="Verifying", applied=True))
            )
        else:
            yield from self._verifying(world, one, who)

    def _pending(self, world: World, one: Req, who: str) -> Iterator[Step]:
        if one.abort:
            yield _ended(world, one, who, "Aborted", "Aborted")
        elif not one.waits:
            yield self._effect(world, one, who)
            if REFUSED not in self.case.but:
                yield _ended(world, one, who, "Failed", "Forbidden")

    def _effect(self, world: World, one: Req, who: str) -> Step:
        target = world.target
        if target is None:
            return _ended(world, one, who, "Failed", "TargetNotFound")
        if any(it.applied and it.finished is not None and it.finished <= one.created for it in world.requests):
            return _ended(world, one, who, "Superseded", "AlreadyRolledBack")
        if one.seen != target.letter or (one.asked_about is not None and one.asked_about != target.number):
            return _ended(world, one, who, "Superseded", "NewerRelease")
        chosen = self._chosen(world, target, one)
        if chosen is None:
            return _ended(world, one, who, "Failed", "NothingToRollBackTo")
        made = one._replace(phase="Running", left=(target.letter, target.number), to=chosen)
        wrong = invariants.of_effect(self.case, world, made)
        after = with_target(with_request(world, made), _released(target, chosen[0]))
        after = after._replace(bad=after.bad | {target.letter})
        return Step(f"{who}: its effect is made: {target.letter} -> {chosen[0]}", after, wrong=wrong)

    def _chosen(self, world: World, target: Target, one: Req) -> tuple[str, int] | None:
        spec = values.policy_spec(self.case.spec, world.policy.mode)
        ledger = Ledger.of(spec, values.policy_status(world.policy.status).ledger)
        bad = ledger.bad_with(rolled_back_from([values.other(it) for it in world.requests]))
        wanted = print_of(one.asked_to) if one.asked_to else LAST_KNOWN_GOOD
        choice = choose(wanted, spec.target, values.snapshot(target), bad, ledger.good)
        if not isinstance(choice, Chosen) or choice.revision.fingerprint in bad:
            return None
        return values.letter_of(choice.revision.fingerprint), choice.revision.order

    def _verifying(self, world: World, one: Req, who: str) -> Iterator[Step]:
        target = world.target
        assert one.to is not None
        if target is None or target.letter != one.to[0] or target.uid != one.why[0]:
            yield _ended(world, one, who, "Failed", "Overtaken")
            return
        yield _ended(world, one, who, "Succeeded", "Completed")
        if UNHEALTHY not in self.case.but:
            after = _ended(world, one, who, "Failed", "Unhealthy")
            yield after._replace(world=after.world._replace(bad=after.world.bad | {one.to[0]}))

    # What people do.

    def _people(self, world: World) -> Iterator[Step]:
        for words, then in _moves(world):
            if words.rstrip(" 0123456789") not in self.case.but:
                yield Step(words, then, moves=1)


def _moves(world: World) -> Iterator[tuple[str, World]]:
    target = world.target
    if target is not None:
        for words, letter in ((RELEASE, "c"), (BACK, "b"), (BY_HAND, "a")):
            if target.letter != letter:
                yield words, _by_hand(world, target, letter)
        new = Target("uid-2", target.letter, 1, 0, back=False, history=((target.letter, 1),))
        if target.uid != new.uid:
            yield ANEW, with_target(world, new)
    for words, mode in ((SUSPEND, "Suspend"), (OBSERVE, "Observe")):
        if world.policy.mode == "Enforce":
            yield words, world._replace(policy=Policy(mode, world.policy.generation + 1, world.policy.status))
    for one in world.requests:
        yield from _moves_on(world, one)


def _by_hand(world: World, target: Target, letter: str) -> World:
    then = with_target(world, _released(target, letter))
    gone_back = any(one == letter for one, _ in target.history) and letter not in world.bad
    return then._replace(bad=then.bad | {target.letter}) if gone_back else then


def _moves_on(world: World, one: Req) -> Iterator[tuple[str, World]]:
    who = one.who + 1
    vetoed = world.vetoed | {one.why} if one.phase == "" else world.vetoed
    if one.ended:
        yield f"{REMOVE_ENDED} {who}", without_request(world, one)
        return
    yield f"{REMOVE} {who}", without_request(world, one)._replace(vetoed=vetoed)
    if one.phase == "" and not one.abort:
        yield f"{ABORT} {who}", with_request(world, one._replace(abort=True))._replace(vetoed=vetoed)
        if one.waits:
            yield f"{APPROVE} {who}", with_request(world, one._replace(approved=True))


def _released(target: Target, letter: str) -> Target:
    back = any(one == letter for one, _ in target.history)
    number = target.number + 1
    others = tuple(one for one in target.history if one[0] != letter)
    return Target(target.uid, letter, number, 0, back, (*others, (letter, number)))


def _ended(world: World, one: Req, who: str, phase: str, reason: str) -> Step:
    return Step(
        f"{who} ends {phase}/{reason}", with_request(world, one._replace(phase=phase, reason=reason, finished=0))
    )


def _wrong_first(step: Step, wrong: str | None) -> Step:
    return step if wrong is None else step._replace(wrong=wrong)


def _who(world: World, number: int) -> str:
    return f"operator {number + 1}" if len(world.processes) > 1 else "the operator"


def _meaning(world: World, asked: Asked) -> str:
    if asked.call == PUT:
        assert asked.status is not None
        verdict, firing, excused, _ = (
            asked.status.triggers[0] if asked.status.triggers else ("none", False, False, False)
        )
        flags = ", firing" * firing + ", excused" * excused
        return f"status {verdict}{flags}, alert {asked.status.alert}"
    known = [name for name, _ in world.made]
    number = known.index(asked.name) + 1 if asked.name in known else len(known) + 1
    return f"{asked.call} {number}" + (f" to {asked.to}" if asked.to else "")
