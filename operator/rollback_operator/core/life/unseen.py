"""Running or Verifying, and the rights to look at the target were taken away."""

from __future__ import annotations

from datetime import datetime

from rollback_operator.api.reasons import Reason
from rollback_operator.api.request import Phase
from rollback_operator.core import conditions as on
from rollback_operator.core.life.endings import end
from rollback_operator.core.life.times import HEALTH_POLL, deadline, planned
from rollback_operator.core.values import Decision, Ending, Observation, Refused, Request


def wait_for_sight(request: Request, seen: Observation, now: datetime) -> Decision:
    """Wait for the rights to come back; without them nobody can say more than what was seen before."""
    left = deadline(request) - now
    if left.total_seconds() > 0:
        return Decision(request.status, again=min(HEALTH_POLL, left))
    plan, name = planned(request)
    why = seen.answer.message if isinstance(seen.answer, Refused) else "it may not be read"
    applied = on.is_true(request.status.conditions, on.APPLIED)
    message = (
        f"{name} was set back to revision {plan.to.revision} and stays there; whether it is well cannot be seen any "
        f"more. Look at it yourself. {why}"
        if applied
        else f"{name} may have been set back to revision {plan.to.revision} or not: that cannot be seen any more. Look "
        f"which revision runs, before you write a new request. {why}"
    )
    return end(request, now, Ending(Phase.FAILED, Reason.FORBIDDEN, message), certain=applied)
