"""Pending, AwaitingApproval: whose turn, which revision, what would be done."""

from __future__ import annotations

from datetime import datetime, timedelta

from rollback_operator.api.common import TargetRef
from rollback_operator.api.reasons import Reason
from rollback_operator.api.request import Phase, Plan
from rollback_operator.core import progress
from rollback_operator.core.choice import LAST_KNOWN_GOOD, PREVIOUS, Chosen, choose
from rollback_operator.core.half import is_of
from rollback_operator.core.ledger import Ledger
from rollback_operator.core.life.endings import (
    UNTOUCHED,
    already_rolled_back,
    blocked,
    counts_as_bad,
    end,
    illegible,
    missing,
    no_target,
    nobody_asked,
    not_what_was_seen,
    pointed_elsewhere,
    too_late,
)
from rollback_operator.core.life.freeing import freed_by_dry_run, made_already, rather_freed
from rollback_operator.core.life.owned import go_by, stand
from rollback_operator.core.life.times import (
    CONTROLLER_POLL,
    HEALTH_POLL,
    POLICY_GRACE,
    QUEUE_POLL,
    grace,
    grace_left,
    overdue,
)
from rollback_operator.core.stance import Go, GoBy
from rollback_operator.core.turn import ahead, meanwhile, rolled_back_from
from rollback_operator.core.values import (
    Apply,
    Decision,
    Ending,
    Examine,
    Findings,
    Observation,
    Refused,
    Rehearse,
    Rehearsed,
    Request,
    Snapshot,
    current_target,
    resolved_account,
    resolved_hold,
    resolved_options,
)


def prepare(request: Request, seen: Observation, now: datetime) -> Decision:
    """Nothing was done yet: wait, end, or write the plan."""
    ref = current_target(request, seen.policy)
    named = {"target": str(ref)} if ref is not None and request.status.target is None else {}
    if request.spec.abort:
        return end(request, now, Ending(Phase.ABORTED, Reason.ABORTED, UNTOUCHED), **named)
    if ref is None:
        return _without_policy(request, now)
    over = _over(request, ref, now)
    if over is not None:
        return end(request, now, over, **named)
    if grace_left(request, now) > timedelta():
        return _await(request, ref, seen.target, now)
    if isinstance(seen.answer, Refused):
        return _refused(request, ref, seen.answer, now)
    return _take_turn(request, ref, seen, now)


def _over(request: Request, ref: TargetRef, now: datetime) -> Ending | None:
    """Why it does not run any more: its policy is about another object by now, or it is too late."""
    taken_up = TargetRef.of(request.status.target) if request.status.target is not None else ref
    if taken_up.place(request.namespace) != ref.place(request.namespace):
        return pointed_elsewhere(request, ref)
    return too_late(request, str(ref)) if overdue(request, now) else None


def _await(request: Request, ref: TargetRef, target: Snapshot | None, now: datetime) -> Decision:
    """People may step in. What runs now is what they are asked about: nothing else is rolled back afterwards."""
    numbered = target.current.name if target is not None and target.settled else None
    leaving = request.status.from_ or numbered
    status = progress.awaiting(request, now, str(ref), request.created + grace(request), leaving)
    again = grace_left(request, now)
    return Decision(status, again=again if leaving or target is None else min(again, HEALTH_POLL))


def _take_turn(request: Request, ref: TargetRef, seen: Observation, now: datetime) -> Decision:
    first = ahead(request, seen.others)
    if first is not None:
        message = f"Waiting for {first.name}, which is rolling back {ref} and came first."
        queued = progress.waiting(request, now, Reason.QUEUED, message, target=str(ref), started_at=None)
        return Decision(queued, again=QUEUE_POLL)
    return select(request, ref, seen, now)


def _without_policy(request: Request, now: datetime) -> Decision:
    assert request.spec.policy_ref is not None
    name = request.spec.policy_ref.name
    if now - request.created >= POLICY_GRACE:
        message = (
            f"There is no RollbackPolicy {name} in namespace {request.namespace}. "
            "Create it and write a new request, or name a target instead of a policy."
        )
        return end(request, now, Ending(Phase.FAILED, Reason.POLICY_NOT_FOUND, message))
    message = f"Waiting for RollbackPolicy {name} to be created."
    return Decision(progress.waiting(request, now, Reason.WAITING_FOR_POLICY, message), again=timedelta(seconds=1))


def without_orders(request: Request, why: str, now: datetime) -> Decision:
    """There is a policy, and what it orders cannot be read."""
    if request.spec.abort:
        return end(request, now, Ending(Phase.ABORTED, Reason.ABORTED, UNTOUCHED))
    return end(request, now, illegible(request, why))


def select(request: Request, ref: TargetRef, seen: Observation, now: datetime) -> Decision:
    """It is the request's turn: go by the owner, wait, end, or go on to the revision and what it needs."""
    target = seen.target
    if target is None:
        return end(request, now, no_target(request, ref), target=str(ref))
    standing = stand(request, ref, seen, now)
    if isinstance(standing, Decision):
        return standing
    if isinstance(standing, GoBy) and (target.settled or request.status.from_ is None):
        ending = nobody_asked(request, ref) if _released_meanwhile(request, target) else None
        return end(request, now, ending, target=str(ref)) if ending else go_by(request, ref, standing, seen, now)
    if target.obstacle is not None:
        return end(request, now, blocked(target.obstacle), target=str(ref))
    if not target.settled:
        started = request.status.started_at or now
        message = f"{ref} was changed a moment ago; waiting for its controller to number the revision."
        if target.waits_for:
            message = f"Waiting until {ref} can be changed: {target.waits_for}."
        why = Reason.WAITING_FOR_CONTROLLER
        status = progress.waiting(request, now, why, message, target=str(ref), started_at=started)
        return Decision(status, again=HEALTH_POLL if target.waits_for else CONTROLLER_POLL)
    assert isinstance(standing, Go)
    return _pick(request, ref, standing, seen, now)


def _pick(request: Request, ref: TargetRef, standing: Go, seen: Observation, now: datetime) -> Decision:
    target = seen.target
    assert target is not None
    if request.spec.from_ is not None and not is_of(target.current.fingerprint, request.spec.from_):
        return end(request, now, not_what_was_seen(ref, target), target=str(ref))
    wanted = request.spec.to or (seen.policy.to if seen.policy is not None else PREVIOUS)
    # What says what it is about is about what still stands: who rolled that back a moment ago was taken back since.
    open_to_doubt = wanted in (PREVIOUS, LAST_KNOWN_GOOD) and request.spec.from_ is None
    other = meanwhile(request, seen.others) if open_to_doubt else None
    if other is not None:
        return end(request, now, already_rolled_back(ref, target, other), target=str(ref), from_=target.current.name)
    ledger = Ledger.of(seen.policy, seen.entries) if seen.policy is not None else Ledger()
    bad = ledger.bad_with(rolled_back_from(seen.others))
    choice = choose(wanted, ref, target, bad, ledger.good)
    if isinstance(choice, Chosen) and choice.revision.fingerprint in bad and _made_by_policy(request):
        choice = counts_as_bad(ref, choice.revision, bad[choice.revision.fingerprint])
    made = made_already(request, wanted, target, bad=bad, good=ledger.good)
    choice = rather_freed(ref, target, choice, made=made)
    if isinstance(choice, Ending):
        to = None if wanted in (PREVIOUS, LAST_KNOWN_GOOD) else wanted
        return end(request, now, choice, target=str(ref), from_=target.current.name, to=to)
    if _released_meanwhile(request, target):
        return end(request, now, nobody_asked(request, ref), target=str(ref))
    return _plan(request, ref, choice, seen, now, standing=standing)


def _made_by_policy(request: Request) -> bool:
    """Whether nobody but a policy asked for it."""
    return request.spec.policy_ref is not None and request.spec.policy_ref.uid is not None


def _released_meanwhile(request: Request, target: Snapshot) -> bool:
    """Whether another release came while people were asked about the one before; a restart is none."""
    asked_about, current = request.status.from_, target.current
    restarted = any((one.name, one.fingerprint) == (asked_about, current.fingerprint) for one in target.history)
    return asked_about not in (None, current.name) and not restarted


def _plan(
    request: Request, ref: TargetRef, choice: Chosen, seen: Observation, now: datetime, *, standing: Go
) -> Decision:
    target, answer = seen.target, seen.answer
    assert target is not None
    if isinstance(answer, Rehearsed):
        return _dry_run_ended(request, ref, answer.plan, now)
    account = resolved_account(request.spec, seen.policy, seen.default_service_account)
    if not isinstance(answer, Findings):
        return Decision(request.status, Examine(choice.revision))
    if answer.obstacle is not None:
        ending = blocked(answer.obstacle)
        return end(request, now, ending, target=str(ref), from_=target.current.name, to=choice.revision.name)
    if answer.missing:
        ending = missing(ref, choice.revision, answer.missing)
        return end(request, now, ending, target=str(ref), from_=target.current.name, to=choice.revision.name)
    verify = seen.policy.verify if seen.policy is not None else None
    plan = progress.make_plan(
        target,
        choice,
        answer,
        account=account,
        verify=verify,
        options=resolved_options(request.spec, seen.policy),
        hold=resolved_hold(request.spec, seen.policy),
        standing=standing,
    )
    if request.spec.dry_run:
        return Decision(request.status, Rehearse(plan))
    return Decision(progress.planned(request, now, ref, plan), Apply(plan))


def _refused(request: Request, ref: TargetRef, answer: Refused, now: datetime) -> Decision:
    shown = progress.shown_plan(ref, answer.plan) if answer.plan is not None else {"target": str(ref)}
    return end(request, now, Ending(Phase.FAILED, answer.reason, answer.message), **shown)


def _dry_run_ended(request: Request, ref: TargetRef, plan: Plan, now: datetime) -> Decision:
    message = (
        f"Dry run: {ref} would go back from revision {plan.from_.revision} to {plan.to.revision}, and the API server "
        "would accept it. Nothing was changed."
    )
    if plan.frees:
        message = freed_by_dry_run(ref, plan)
    ending = Ending(Phase.SUCCEEDED, Reason.DRY_RUN, message)
    return end(request, now, ending, **progress.shown_plan(ref, plan))
