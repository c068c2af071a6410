"""How a request ends: each reason that is not the target module's own, with its sentence."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from rollback_operator.api.common import TargetRef
from rollback_operator.api.reasons import Reason
from rollback_operator.api.request import Phase
from rollback_operator.core import conditions as on
from rollback_operator.core import progress
from rollback_operator.core.flux import resuming
from rollback_operator.core.values import Decision, Ending, Obstacle, Other, Request, Revision, Snapshot

UNTOUCHED = "Aborted before anything was changed."


def end(request: Request, now: datetime, ending: Ending, **fields: Any) -> Decision:
    """The request ends like this; what stays suspended is said."""
    return Decision(progress.ended(request, now, _held(request, ending, certain=fields.get("certain", True)), **fields))


def _held(request: Request, ending: Ending, *, certain: bool) -> Ending:
    """The ending, with the one command for each suspension that outlives the request."""
    plans = [target.plan for target in request.status.targets if target.plan is not None]
    if certain and not on.is_true(request.status.conditions, on.APPLIED):
        return ending
    of_application = any(one.target.startswith("Application/") for one in request.status.targets)
    until = "" if of_application else "; the condition Held says until when"  # there it is about the Application
    held = [
        f"{one.kind} {one.namespace}/{one.name} stays suspended, or it would undo the rollback{until}. To end that "
        f"now, resume it: {resuming(one)}"
        for plan in plans
        for one in plan.suspends
    ]
    return replace(ending, message=" ".join([ending.message, *held]))


def blocked(obstacle: Obstacle) -> Ending:
    """The target says itself why it cannot be rolled back."""
    return Ending(Phase.FAILED, obstacle.reason, obstacle.message)


def not_what_was_seen(ref: TargetRef, target: Snapshot) -> Ending:
    """What the request was made about no longer stands."""
    message = (
        f"{ref} moved on to revision {target.current.name} before it could be rolled back: nothing was changed. "
        "If that release is bad too, write a new request."
    )
    return Ending(Phase.SUPERSEDED, Reason.NEWER_RELEASE, message)


def nobody_asked(request: Request, ref: TargetRef) -> Ending:
    """What people were asked about no longer stands."""
    message = (
        f"{ref} moved on from revision {request.status.from_} while people were asked: nothing was changed. "
        "If the new release is bad too, write a new request."
    )
    return Ending(Phase.SUPERSEDED, Reason.NEWER_RELEASE, message)


def illegible(request: Request, why: str) -> Ending:
    """The policy that it names is written in a way that is not known here."""
    assert request.spec.policy_ref is not None
    message = (
        f"RollbackPolicy {request.spec.policy_ref.name} in namespace {request.namespace} cannot be read ({why}): "
        "nothing was changed. Apply crds/ of the operator's own version, write the policy anew, and then a new request."
    )
    return Ending(Phase.FAILED, Reason.POLICY_NOT_FOUND, message)


def pointed_elsewhere(request: Request, ref: TargetRef) -> Ending:
    """What the request was taken up for is no longer what its policy is about."""
    assert request.spec.policy_ref is not None
    message = (
        f"RollbackPolicy {request.spec.policy_ref.name} was about {request.status.target} when this request was taken "
        f"up, and is about {ref} now: nothing was changed. Write a new request for what is to be rolled back."
    )
    return Ending(Phase.SUPERSEDED, Reason.POLICY_CHANGED, message)


def too_late(request: Request, target: str) -> Ending:
    """Its time was over before an effect."""
    message = (
        f"{target} was not rolled back within {request.spec.timeout}: nothing was changed. "
        "Its Events say what it waited for; if it is still wanted, write a new request, perhaps with a longer timeout."
    )
    return Ending(Phase.FAILED, Reason.TIMEOUT, message)


def no_target(request: Request, ref: TargetRef) -> Ending:
    """There is nothing of that name."""
    where = (
        "Check target.name and target.namespace."
        if ref.kind == "Application"
        else "A request rolls back what is in its own namespace: check the name and the namespace."
    )
    message = f"There is no {ref.kind} {ref.name} in namespace {ref.namespace or request.namespace}. {where}"
    return Ending(Phase.FAILED, Reason.TARGET_NOT_FOUND, message)


def counts_as_bad(ref: TargetRef, revision: Revision, why: str) -> Ending:
    """A policy names a revision that is bad."""
    message = (
        f"Revision {revision.name} of {ref}, which the policy names, counts as bad: {why}. A policy never goes back to "
        "such a revision by itself; name another one in its `to`, or call this one Good in its spec.ledger."
    )
    return Ending(Phase.FAILED, Reason.NOTHING_TO_ROLL_BACK_TO, message)


def already_rolled_back(ref: TargetRef, target: Snapshot, other: Other) -> Ending:
    """Another request did it."""
    message = (
        f"{other.name} rolled {ref} back while this request was waiting: nothing more was changed. "
        f"If revision {target.current.name}, which stands now, is bad too, write a new request."
    )
    return Ending(Phase.SUPERSEDED, Reason.ALREADY_ROLLED_BACK, message)


def missing(ref: TargetRef, revision: Revision, missing: tuple[str, ...]) -> Ending:
    """What the revision needs is gone."""
    message = (
        f"Revision {revision.name} of {ref} needs what is no longer there: {', '.join(missing)}. "
        "Restore it and write a new request, or name another revision in `to`."
    )
    return Ending(Phase.FAILED, Reason.MISSING_DEPENDENCY, message)
