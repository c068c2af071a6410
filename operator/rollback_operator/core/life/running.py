"""Running: the plan is written, its effect may be anywhere between not sent and done."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from rollback_operator.api.reasons import Reason
from rollback_operator.api.request import Phase, Plan
from rollback_operator.core import progress
from rollback_operator.core.half import is_of
from rollback_operator.core.life.endings import UNTOUCHED, blocked, end, too_late
from rollback_operator.core.life.partial import configuration_moved, partly, so_far
from rollback_operator.core.life.times import FINISH_TRIES, HEALTH_POLL, MAKING_POLL, SETTLE, overdue, pause, planned
from rollback_operator.core.values import (
    Apply,
    Decision,
    Ending,
    Finish,
    Observation,
    Refused,
    Release,
    Request,
    Snapshot,
    Unkept,
)


def carry_out(request: Request, seen: Observation, now: datetime) -> Decision:
    """See whether the effect is there; make it, again if need be, or end."""
    plan, _ = planned(request)
    target = seen.target
    if target is not None and request.uid in target.marks:
        action = Finish(plan) if target.unfinished or seen.beside.held else None
        again = None if plan.frees else HEALTH_POLL  # what is to be freed is seen only from here on, and no event tells
        return Decision(progress.applied(request, now, target), action, again)
    if target is not None and request.uid in target.being_made:
        return Decision(request.status, again=MAKING_POLL)
    ending = _moved_on(request, target) or configuration_moved(request, seen.beside) or _stopped(request, seen, now)
    if ending is None:
        return _make(request, seen, plan, now)
    if target is not None and request.uid in target.half_made:
        return Decision(progress.applied(request, now, target), Finish(plan), HEALTH_POLL)
    return _end(request, seen, ending, now)


def _make(request: Request, seen: Observation, plan: Plan, now: datetime) -> Decision:
    """Make the effect, perhaps without the copy that could not be kept."""
    if isinstance(seen.answer, Unkept) and request.status.targets[0].restore is not None:
        return Decision(progress.attempted(request, now, unkept=seen.answer.message), Apply(plan))
    return _try_again(request, plan, now)


def _end(request: Request, seen: Observation, ending: Ending, now: datetime) -> Decision:
    """End without an effect, once none can come any more."""
    plan, _ = planned(request)
    until = _attempts(request)[1] + SETTLE
    if until > (seen.since or now) and not _all_answered(request, seen):
        return _settle(request, now, until, ending)
    certain = _same_object(plan, seen.target) or _all_answered(request, seen)
    if certain and plan.suspends and seen.released is None:
        return Decision(request.status, Release(plan))
    if seen.beside.held and seen.kept < FINISH_TRIES:
        return Decision(request.status, Finish(plan))
    left = f" {seen.released}" if seen.released else ""
    ending = partly(request, ending, seen.beside)
    part = so_far(request, seen.beside)
    return end(request, now, replace(ending, message=ending.message + left), certain=certain, part=part)


def _same_object(plan: Plan, target: Snapshot | None) -> bool:
    """Whether the target is there to tell what was done to it."""
    return target is not None and target.uid == plan.uid


def _all_answered(request: Request, seen: Observation) -> bool:
    return seen.answered >= _attempts(request)[0]


def _moved_on(request: Request, target: Snapshot | None) -> Ending | None:
    """Why the effect cannot be made any more, if the world moved after the plan was made."""
    plan, name = planned(request)
    if target is None:
        message = (
            f"{name} was deleted before its rollback was seen on it. If it is made anew with the bad release, write a "
            "new request."
        )
        return Ending(Phase.FAILED, Reason.TARGET_NOT_FOUND, message)
    if target.uid != plan.uid:
        message = (
            f"{name} was deleted and created anew after the plan was made: the new one was not changed. If it has the "
            "bad release too, write a new request."
        )
        return Ending(Phase.SUPERSEDED, Reason.TARGET_RECREATED, message)
    expected = plan.expects
    # An operator of before the rule knew what failed by the fingerprint of the whole: the revision tells.
    same = is_of(target.current.fingerprint, expected.fingerprint) and target.current.name == expected.revision
    if not same:
        message = (
            f"{name} moved on from revision {expected.revision} before it could be rolled back: nothing was changed. "
            "If the new release is bad too, write a new request."
        )
        return Ending(Phase.SUPERSEDED, Reason.NEWER_RELEASE, message)
    if all(revision.fingerprint != plan.to.fingerprint for revision in target.history):
        message = (
            f"Revision {plan.to.revision} of {name} was removed after the plan was made: nothing was changed. Write a "
            "new request with another revision in `to`, or release the version that you want."
        )
        return Ending(Phase.FAILED, Reason.REVISION_NOT_FOUND, message)
    return None


def _stopped(request: Request, seen: Observation, now: datetime) -> Ending | None:
    """Why the effect must not be made, although it could be."""
    if seen.target is not None and seen.target.obstacle is not None:
        return blocked(seen.target.obstacle)
    if request.spec.abort:
        return Ending(Phase.ABORTED, Reason.ABORTED, UNTOUCHED)
    if isinstance(seen.answer, Refused):
        return Ending(Phase.FAILED, seen.answer.reason, seen.answer.message)
    if overdue(request, now):
        return too_late(request, planned(request)[1])
    return None


def _try_again(request: Request, plan: Plan, now: datetime) -> Decision:
    attempts, last = _attempts(request)
    due = last + pause(attempts)
    if now < due:
        return Decision(request.status, again=due - now)
    return Decision(progress.attempted(request, now), Apply(plan))


def _settle(request: Request, now: datetime, until: datetime, ending: Ending) -> Decision:
    """An effect that was sent without an answer could still arrive: say nothing final before it cannot."""
    message = f"Making sure that an effect sent earlier does not arrive any more before ending. {ending.message}"
    status = progress.holding(request, now, Reason.SETTLING, message)
    return Decision(status, again=max(timedelta(), min(until - now, timedelta(seconds=1))))


def _attempts(request: Request) -> tuple[int, datetime]:
    (mine,) = request.status.targets
    (step,) = mine.steps
    assert step.last_attempt_at is not None
    return step.attempts, step.last_attempt_at
