"""The life of a group: several targets in waves, each rolled back by a request of its own.

    Pending (-> AwaitingApproval) -> Running (wave after wave) -> Succeeded | Failed | Aborted

A group touches nothing itself. It makes the requests of a wave, waits until all of them have ended, and goes on only if
all of them Succeeded. Which request is whose stands in its status before the request is made, as an effect stands in a
request's: so whoever reads it next, after a crash or in another process, can go on from it. What a request does, once
it is made, is its own affair (`core.life`).
"""

from __future__ import annotations

from datetime import datetime, timedelta

from rollback_operator.api.reasons import Reason
from rollback_operator.api.request import Phase
from rollback_operator.core import progress
from rollback_operator.core.group import words
from rollback_operator.core.group.entries import found, revisions
from rollback_operator.core.group.foresight import hindrances
from rollback_operator.core.group.values import GroupDecision, Sight, begun
from rollback_operator.core.group.waves import carry_on, end
from rollback_operator.core.life.endings import UNTOUCHED, too_late
from rollback_operator.core.life.times import grace, grace_left, overdue
from rollback_operator.core.values import Ending, Request


def advance_group(request: Request, seen: Sight, now: datetime) -> GroupDecision:
    """The next status of a group, what follows it, and when to look again.

    A status equal to the request's own means there is nothing to write.
    """
    phase = request.status.phase
    if phase is not None and phase.final:
        return GroupDecision(request.status)
    if phase is Phase.RUNNING:
        return carry_on(request, seen, now)
    return _prepare(request, seen, now)


def _prepare(request: Request, seen: Sight, now: datetime) -> GroupDecision:
    """Nothing was begun yet: look at all targets once, wait for people, or begin."""
    entries = request.status.targets
    if request.spec.abort:
        return end(request, now, Ending(Phase.ABORTED, Reason.ABORTED, UNTOUCHED), entries)
    if overdue(request, now):
        return end(request, now, too_late(request, words.title(request)), entries)
    if not entries:
        hindered = hindrances(request, seen)
        if hindered:
            return end(request, now, words.hindered(hindered), ())
        entries = found(request, seen)
    left = grace_left(request, now)
    if left > timedelta():
        until = request.created + grace(request)
        status = progress.awaiting(request, now, words.title(request), until, revisions(entries)[0])
        return GroupDecision(status.model_copy(update={"targets": entries}), again=left)
    return carry_on(begun(request, entries, now), seen, now)
