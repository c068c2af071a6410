"""When: how long things may take, when to look again, and until when people may step in."""

from __future__ import annotations

from datetime import datetime, timedelta

from rollback_operator.api.fields import parse_duration
from rollback_operator.api.reasons import Reason
from rollback_operator.api.request import Phase, Plan, Step
from rollback_operator.core import conditions as on
from rollback_operator.core.values import Request

SEND_WITHIN = timedelta(seconds=3)
"""An attempt at an effect that was written down is sent within this time, or not at all."""
SETTLE = timedelta(seconds=20)
"""How long after it was written down an attempt without an answer may still arrive: `SEND_WITHIN`, then
`kube.client.LONGEST_WRITE`, and some seconds by which the clocks of two operators may differ."""
FIRST_PAUSE = timedelta(milliseconds=200)
LONGEST_PAUSE = timedelta(seconds=5)
"""Between tries; doubled each time."""
_DOUBLINGS = 10  # more than it takes to the longest pause; 2 to the power of all tries is no timedelta any more
FINISH_TRIES = 5
"""How often fields are tried to be given back before a request ends without."""
POLICY_GRACE = timedelta(seconds=10)
"""How long a request waits for a policy that is not there: both may have been applied together."""
QUEUE_POLL = timedelta(seconds=10)
CONTROLLER_POLL = timedelta(milliseconds=500)
HEALTH_POLL = timedelta(seconds=5)
MAKING_POLL = timedelta(seconds=1)
FIRST_LOOK, LAST_LOOK = timedelta(milliseconds=100), timedelta(seconds=1)
"""Polls are for what no event announces; a change of the target or of another request wakes the request earlier."""


def pause(tries: int) -> timedelta:
    """How long to wait after so many tries."""
    return min(FIRST_PAUSE * (1 << min(tries - 1, _DOUBLINGS)), LONGEST_PAUSE)


def last_moment(step: Step) -> datetime:
    """Until when the attempt that was written down last is sent, or not at all."""
    assert step.last_attempt_at is not None
    return step.last_attempt_at + SEND_WITHIN


def too_late_to_send(step: Step, now: datetime) -> bool:
    """Whether so much time passed since the attempt was written down that others may count it as over."""
    return now > last_moment(step)


def over(known: int, step: Step) -> int:
    """Up to which attempt all are over, now that the last one is, if that was known of `known` before.

    Earlier ones are only known to be over if each was answered in its turn.
    """
    return step.attempts if known == step.attempts - 1 else known


def verify_deadline(request: Request) -> datetime:
    """When a request that made its effect must be healthy: its timeout, or its policy's for verification if earlier."""
    last, effect_seen = deadline(request), made(request)
    (mine,) = request.status.targets
    if mine.plan is not None and mine.plan.verify_timeout and effect_seen is not None:
        return min(last, effect_seen + parse_duration(mine.plan.verify_timeout))
    return last


def deadline(request: Request) -> datetime:
    """When a request that has begun is over, whatever it reached."""
    started = request.status.started_at
    assert started is not None
    return started + parse_duration(request.spec.timeout)


def overdue(request: Request, now: datetime) -> bool:
    """Whether it is too late for an effect.

    A request that nobody has taken up, or that waited for its policy, could have run since its creation, or at the
    latest since its grace was over: nobody knows when it was approved.
    """
    started = request.status.started_at
    if started is None and (request.status.phase in (None, Phase.AWAITING_APPROVAL) or _waited_for_policy(request)):
        started = request.created + grace(request)
    return started is not None and now >= started + parse_duration(request.spec.timeout)


def _waited_for_policy(request: Request) -> bool:
    ready = on.find(request.status.conditions, on.READY)
    return ready is not None and ready.reason == Reason.WAITING_FOR_POLICY


def grace_left(request: Request, now: datetime) -> timedelta:
    """How long people may still veto the request before it runs by itself.

    Without a grace there is nothing to wait for, even if the API server's clock, which dated the request, is ahead.
    """
    whole = grace(request)
    return request.created + whole - now if whole and not request.spec.approve else timedelta()


def grace(request: Request) -> timedelta:
    """A dry run changes nothing, so it asks nobody."""
    spec = request.spec
    return parse_duration(spec.grace) if spec.grace and not spec.dry_run else timedelta()


def made(request: Request) -> datetime | None:
    """When the effect was seen on the target."""
    (mine,) = request.status.targets
    return max((step.finished_at for step in mine.steps if step.finished_at is not None), default=None)


def untold(request: Request, now: datetime) -> timedelta:
    """When to look again at an effect that no event tells of: soon at first, and then ever more rarely."""
    effect_seen = made(request)
    since = timedelta() if effect_seen is None else now - effect_seen
    return min(max(since / 2, FIRST_LOOK), LAST_LOOK)


def planned(request: Request) -> tuple[Plan, str]:
    """The written plan of a request that has begun, and what its target is called."""
    (mine,) = request.status.targets
    assert mine.plan is not None
    return mine.plan, mine.target
