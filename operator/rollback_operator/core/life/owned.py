"""Pending, and something else manages the target: end, ask, wait, or go by the owner."""

from __future__ import annotations

from datetime import datetime, timedelta

from rollback_operator.api.common import TargetRef
from rollback_operator.api.reasons import Reason
from rollback_operator.api.request import Phase
from rollback_operator.core import progress
from rollback_operator.core.choice import LAST_KNOWN_GOOD, PREVIOUS
from rollback_operator.core.life.endings import blocked, end
from rollback_operator.core.stance import Await, Go, GoBy, Managed, take, target_text, to_read
from rollback_operator.core.values import (
    Decision,
    Ending,
    Observation,
    Obstacle,
    Request,
    Trace,
    resolved_owner_rule,
)

OWNER_POLL = timedelta(seconds=2)


def stand(request: Request, ref: TargetRef, seen: Observation, now: datetime) -> Go | GoBy | Decision:
    """How the target is rolled back, given what manages it; a decision if it is not, or not yet."""
    assert seen.target is not None
    owners, rule = seen.target.owners_of(seen.argo_cd), resolved_owner_rule(request.spec, seen.policy)
    managed = Managed(ref, owners, rule, request.namespace, seen.lineage or ())
    unread = to_read(managed) if seen.lineage is None else ()
    if unread:
        return Decision(request.status, Trace(unread))
    stance = take(managed)
    if isinstance(stance, Obstacle):
        return end(request, now, blocked(stance), target=str(ref))
    if isinstance(stance, Await):
        started = request.status.started_at or now
        why = Reason.WAITING_FOR_OWNER
        status = progress.waiting(request, now, why, stance.message, target=str(ref), started_at=started)
        return Decision(status, again=OWNER_POLL)
    return stance


def go_by(request: Request, ref: TargetRef, by: GoBy, seen: Observation, now: datetime) -> Decision:
    """From now on the request is about the owner: the status says so before anything else is decided.

    Revisions and fingerprints are those of one target: what was said of the one says nothing of the other.
    """
    wanted = request.spec.to or (seen.policy.to if seen.policy is not None else PREVIOUS)
    if request.spec.from_ is not None or wanted not in (PREVIOUS, LAST_KNOWN_GOOD):
        said = "what was seen of it" if request.spec.from_ is not None else f"revision {wanted} of it"
        message = (
            f"{by.owner} manages {ref}, and {said} says nothing of the revisions of {by.ref}: nothing was changed. "
            f"Write a request or a policy with target: {target_text(by.owner)}."
        )
        return end(request, now, Ending(Phase.FAILED, Reason.OWNED_BY, message), target=str(ref))
    message = f"{by.owner} manages {ref}, and is rolled back instead (owner: Through)."
    return Decision(progress.going_by(request, now, by.ref, message))
