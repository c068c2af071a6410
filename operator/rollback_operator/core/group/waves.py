"""Running: wave after wave, each when the one before has Succeeded as a whole."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from rollback_operator.api.reasons import Reason
from rollback_operator.api.request import Phase, RequestStatus, TargetStatus
from rollback_operator.core import conditions as on
from rollback_operator.core import progress
from rollback_operator.core.group import words
from rollback_operator.core.group.entries import (
    followed,
    given_up,
    has_failed,
    is_open,
    is_there,
    may_arrive_until,
    next_attempt,
    revisions,
    sent,
)
from rollback_operator.core.group.values import GroupDecision, Sight, members
from rollback_operator.core.group.words import Wave
from rollback_operator.core.life.times import HEALTH_POLL, deadline, overdue
from rollback_operator.core.values import Ending, Request

OVERTIME = timedelta(seconds=2)
"""How much longer than the group's time its requests may take: they began later, and end in words of their own."""
SOON = timedelta(seconds=1)


def carry_on(request: Request, seen: Sight, now: datetime) -> GroupDecision:
    """Follow the requests that are there; then wait, make those of the wave, or end."""
    entries = tuple(followed(one, seen, now) for one in request.status.targets)
    request = _noting_effects(request, entries, seen, now)
    wave = _wave(request, entries)
    if not wave.entries:
        return end(request, now, words.all_back(request, entries), entries)
    if request.spec.abort or overdue(request, now) or any(has_failed(one, seen) for one in wave.entries):
        return _stop(request, wave, entries, seen, now)
    return _make(request, wave, entries, now)


def end(request: Request, now: datetime, ending: Ending, entries: tuple[TargetStatus, ...]) -> GroupDecision:
    """The group ends like this; what became of each target stays as it is."""
    source, to = revisions(entries)
    status = progress.ended(request, now, ending, targets=(), target=words.title(request), from_=source, to=to)
    return GroupDecision(status.model_copy(update={"targets": entries}))


def _wave(request: Request, entries: tuple[TargetStatus, ...]) -> Wave:
    """The lowest wave of which not all have Succeeded. A dry run changes nothing, so it tries all targets at once."""
    numbers = [0 if request.spec.dry_run else one.wave for one in members(request)]
    numbered = list(zip(numbers, entries, strict=True))
    turn = min((number for number, one in numbered if one.phase is not Phase.SUCCEEDED), default=-1)
    return Wave(turn, tuple(one for number, one in numbered if number == turn))


def _make(request: Request, wave: Wave, entries: tuple[TargetStatus, ...], now: datetime) -> GroupDecision:
    """Have a request for each target of the wave; those that are there are waited for."""
    absent = {one.target: next_attempt(one) or now for one in wave.entries if not is_there(one) and not one.phase.final}
    create = tuple(target for target, due in absent.items() if due <= now)
    after = tuple(
        sent(request, one, member, now) if one.target in create else one
        for one, member in zip(entries, members(request), strict=True)
    )
    status = _under_way(request, now, (Reason.WAVE_RUNNING, words.under_way(request, wave)), after)
    pauses = [due - now for due in absent.values() if due > now]
    return GroupDecision(status, create=create, again=None if create else min([HEALTH_POLL, *pauses]))


def _stop(request: Request, wave: Wave, entries: tuple[TargetStatus, ...], seen: Sight, now: datetime) -> GroupDecision:
    """Begin nothing more; end when what was begun has ended, and what was sent cannot arrive any more."""
    if any(is_open(one) for one in wave.entries):
        why = (Reason.WAVE_RUNNING, words.stopping(request, wave))
        abort = _to_abort(request, seen, now)
        again = SOON if abort else min(HEALTH_POLL, max(SOON, deadline(request) + OVERTIME - now))
        return GroupDecision(_under_way(request, now, why, entries), abort=abort, again=again)
    arriving = [until for one in wave.entries if (until := may_arrive_until(one, seen)) is not None]
    if arriving and max(arriving) > (seen.since or now):
        status = _under_way(request, now, (Reason.SETTLING, words.settling(wave)), entries)
        return GroupDecision(status, again=max(timedelta(), min(max(arriving) - now, SOON)))
    entries = tuple(given_up(one, seen) for one in entries)
    return end(request, now, words.stopped(request, wave, entries, overdue=overdue(request, now)), entries)


def _to_abort(request: Request, seen: Sight, now: datetime) -> tuple[Request, ...]:
    """Requests of the group that go on although they must not."""
    if not request.spec.abort and now < deadline(request) + OVERTIME:
        return ()
    ours = [child.request for child in seen.children.values() if child.ours and not child.request.spec.abort]
    return tuple(one for one in ours if one.status.phase is None or not one.status.phase.final)


def _under_way(
    request: Request, now: datetime, why: tuple[Reason, str], entries: tuple[TargetStatus, ...]
) -> RequestStatus:
    source, to = revisions(entries)
    planned: dict[str, on.Change] = {on.PLANNED: ("True", Reason.PLANNED, words.order(request))}
    fields = {"targets": entries, "target": words.title(request), "from_": source, "to": to}
    return progress.under_way(request, now, why, conditions=planned, **fields)


def _noting_effects(request: Request, entries: tuple[TargetStatus, ...], seen: Sight, now: datetime) -> Request:
    """The group with what is known of effects: one that was made, else one of which nobody can tell any more."""
    status = request.status
    known = on.find(status.conditions, on.APPLIED)
    said = {name: on.find(child.request.status.conditions, on.APPLIED) for name, child in seen.children.items()}
    states = {name: one.status for name, one in said.items() if one is not None and seen.children[name].ours}
    if "True" in states.values() and (known is None or known.status != "True"):
        names = words.listed([one.target for one in entries if states.get(one.request or "") == "True"])
        changes: dict[str, on.Change] = {
            on.APPLIED: ("True", Reason.APPLIED, f"{names}: set back."),
            on.VERIFIED: ("False", Reason.WAVE_RUNNING, "Not all targets are rolled back and verified yet."),
        }
    elif known is None and ("Unknown" in states.values() or _lost(request, entries)):
        changes = {
            on.APPLIED: ("Unknown", Reason.WAVE_RUNNING, "Of one target, nobody can tell whether it was changed.")
        }
    else:
        return request
    conditions = on.updated(status.conditions, changes, request.generation, now)
    return replace(request, status=status.model_copy(update={"conditions": conditions}))


def _lost(request: Request, entries: tuple[TargetStatus, ...]) -> bool:
    """Whether a request vanished that could have had its effect."""
    both = zip(request.status.targets, entries, strict=True)
    return any(not before.phase.final and after.message == words.vanished(after) for before, after in both)
