"""The life of a request: given what is known, what its status is and what is done next.

    Pending (-> AwaitingApproval) -> Running -> Verifying -> Succeeded
       |               |                |           |
       +---------------+----------------+-----------+-----> Failed | Superseded | Aborted

The status is written before the action is taken, guarded by the version of the request that was read. So what a
status says is true whoever reads it next, and any operator can go on from it:

- Pending, AwaitingApproval: nothing was done. Everything is still to be decided.
- Running: the plan is written; its effect may have been made, or be under way, or not. The target itself tells: it
  carries the request's uid once the effect is there. The effect's own precondition keeps it from happening twice.
- Verifying: the effect was seen. Nothing more is done to the target but giving fields back, and freeing what
  keeps it from rolling out.
"""

from __future__ import annotations

from datetime import datetime

from rollback_operator.api.request import Phase
from rollback_operator.core.life.pending import prepare
from rollback_operator.core.life.running import carry_out
from rollback_operator.core.life.unseen import wait_for_sight
from rollback_operator.core.life.verifying import verify
from rollback_operator.core.values import Decision, Observation, Request


def advance(request: Request, seen: Observation, now: datetime) -> Decision:
    """The next status of `request`, the action that follows it, and when to look again.

    A status equal to the request's own means there is nothing to write. Without an action, nothing is left to do
    until something changes or `again` has passed; a final status has neither.
    """
    phase = request.status.phase
    if phase is not None and phase.final:
        return Decision(request.status)
    if seen.unseen and phase in (Phase.RUNNING, Phase.VERIFYING):
        return wait_for_sight(request, seen, now)
    if phase is Phase.VERIFYING:
        return verify(request, seen, now)
    if phase is Phase.RUNNING:
        return carry_out(request, seen, now)
    return prepare(request, seen, now)
