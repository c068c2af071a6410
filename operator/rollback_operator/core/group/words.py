"""What a group says: on its way, and when it ends, which of its targets stands where."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rollback_operator.api.common import TargetRef
from rollback_operator.api.reasons import Reason
from rollback_operator.api.request import MAX_MESSAGE, Phase, RequestStatus, TargetStatus
from rollback_operator.core import conditions as on
from rollback_operator.core.group.values import members
from rollback_operator.core.values import Ending, Request

LONGEST = MAX_MESSAGE
NOT_BEGUN = "Not begun: nothing was changed."
_ROOM = 3000
"""Characters that the words of all targets that failed may take together."""
_STOPPED = (Phase.FAILED, Phase.SUPERSEDED)


@dataclass(frozen=True, slots=True)
class Wave:
    """Targets that are rolled back at the same time."""

    number: int
    entries: tuple[TargetStatus, ...]


def title(request: Request) -> str:
    """What stands where one target's name would."""
    count = len(members(request))
    return f"{count} targets" if count > 1 else "1 target"


def listed(names: Sequence[str]) -> str:
    """Names as a person lists them."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def order(request: Request) -> str:
    """Which target is rolled back when."""
    if request.spec.dry_run:
        return "A dry run tries all targets at once."
    waves: dict[int, list[str]] = {}
    for one in members(request):
        waves.setdefault(one.wave, []).append(str(one.target))
    return "; ".join(f"Wave {number}: {listed(waves[number])}" for number in sorted(waves)) + "."


# On its way.


def under_way(request: Request, wave: Wave) -> str:
    """The requests of a wave are made, or waited for."""
    names = listed([one.target for one in wave.entries])
    if request.spec.dry_run:
        return f"Trying what a rollback of {names} would be."
    numbers = sorted({one.wave for one in members(request)})
    place = f" ({numbers.index(wave.number) + 1} of {len(numbers)})" if len(numbers) > 1 else ""
    return f"Wave {wave.number}{place}: rolling {names} back."


def stopping(request: Request, wave: Wave) -> str:
    """Nothing more is begun, and something is still waited for."""
    waited = [one.target for one in wave.entries if not one.phase.final]
    failed = [one.target for one in wave.entries if one.phase in _STOPPED]
    if request.spec.abort:
        why = "The group was aborted"
    elif failed:
        why = f"{listed(failed)} could not be rolled back"
    else:
        why = "The group has to end early"
    return f"{why}: nothing more is begun. Waiting for the end of {listed(waited)}."


def settling(wave: Wave) -> str:
    """A request could still come to be."""
    names = [one.target for one in wave.entries if not one.phase.final]
    return f"Making sure that no request for {listed(names)} that was sent earlier is made any more, before ending."


# Of one target.


def said(status: RequestStatus) -> str | None:
    """What a request that has ended says, in a few words for the group's status."""
    ready = on.find(status.conditions, on.READY)
    return on.shorten(f"{ready.reason}: {ready.message}", LONGEST) if ready is not None else None


def vanished(entry: TargetStatus) -> str:
    """A request was deleted."""
    return on.shorten(f"Request {entry.request} was deleted before it ended: look at {entry.target}.", LONGEST)


def in_the_way(name: str) -> str:
    """A request of that name is somebody else's."""
    return on.shorten(
        f"A request named {name} is there that this group did not make: delete it, then write a new request.", LONGEST
    )


# When it ends.


def hindered(endings: Sequence[Ending]) -> Ending:
    """Some of the targets cannot be rolled back as they are: better to know all of that before the first is."""
    last = "None of the group's targets was changed."
    said = [one.message for one in endings]
    room = on.MAX_MESSAGE - len(last) - len(said)
    if sum(map(len, said)) > room:
        said = [on.shorten(one, room // len(said)) for one in said]
    return Ending(Phase.FAILED, endings[0].reason, " ".join([*said, last]))


def named_twice(owner: TargetRef, names: Sequence[str]) -> Ending:
    """Several targets would be rolled back by one owner."""
    message = (
        f"{owner} would be rolled back for {listed(names)}, and in one group that can happen once only: name it in "
        "`targets` instead of what it manages."
    )
    return Ending(Phase.FAILED, Reason.OWNED_BY, message)


def all_back(request: Request, entries: tuple[TargetStatus, ...]) -> Ending:
    """All targets have Succeeded."""
    if request.spec.dry_run:
        message = f"Dry run: {_moves(entries)}. Their requests have the plans. Nothing was changed."
        return Ending(Phase.SUCCEEDED, Reason.DRY_RUN, message)
    if not on.is_true(request.status.conditions, on.APPLIED):
        message = f"{title(request)} already are what was asked for: nothing was changed."
        return Ending(Phase.SUCCEEDED, Reason.ALREADY_AT_REVISION, message)
    return Ending(Phase.SUCCEEDED, Reason.COMPLETED, f"{title(request)} are back: {_places(entries)}.")


def stopped(request: Request, wave: Wave, entries: tuple[TargetStatus, ...], *, overdue: bool) -> Ending:
    """The group goes no further."""
    where = _what_is_where(request, entries)
    if request.spec.abort:
        return Ending(Phase.ABORTED, Reason.ABORTED, f"Aborted. {where}")
    if overdue and not any(one.phase in _STOPPED for one in entries):
        message = f"The group was not done within {request.spec.timeout}. {where}"
        return Ending(Phase.FAILED, Reason.TIMEOUT, message)
    what = "Not all of it would work" if request.spec.dry_run else f"Wave {wave.number} failed"
    return Ending(Phase.FAILED, Reason.WAVE_FAILED, f"{what}. {where}")


def _what_is_where(request: Request, entries: tuple[TargetStatus, ...]) -> str:
    done = [one for one in entries if one.phase is Phase.SUCCEEDED]
    left = [one.target for one in entries if one.message == NOT_BEGUN]
    rest = [one for one in entries if one not in done and one.message != NOT_BEGUN]
    parts = [on.shorten(f"{one.target}: {one.message}", _ROOM // len(rest)) for one in rest]
    if done:
        parts.append(f"Would go back: {_moves(done)}." if request.spec.dry_run else f"Done: {_places(done)}.")
    if left:
        parts.append(f"Not begun, so as {'it was' if len(left) == 1 else 'they were'}: {listed(left)}.")
    return " ".join(parts)


def _places(entries: Iterable[TargetStatus]) -> str:
    return listed([f"{_named(one)} at revision {one.to or one.from_ or '?'}" for one in entries])


def _moves(entries: Iterable[TargetStatus]) -> str:
    moves = [f"{_named(one)} from revision {one.from_ or '?'} to {one.to or one.from_ or '?'}" for one in entries]
    return listed(moves)


def _named(entry: TargetStatus) -> str:
    """The target, with what was rolled back instead of it."""
    return f"{entry.target} (by {entry.owner})" if entry.owner is not None else entry.target
