"""The life of a request: given what is known, what its status is and what is done next.

    Pending (-> AwaitingApproval) -> Running -> Verifying -> Succeeded
       |               |                |           |
       +---------------+----------------+-----------+-----> Failed | Superseded | Aborted

The status is written before the action is taken, guarded by the version of the request that was read. So what a
status says is true whoever reads it next, and any operator can go on from it:

- Pending, AwaitingApproval: nothing was done. Everything is still to be decided.
- Running: the plan is written; its effect may have been made, or be under way, or not. The target itself tells: it
  carries the request's uid once the effect is there. The effect's own precondition keeps it from happening twice.
- Verifying: the effect was seen. Nothing more is done to the target but giving fields back.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from rollback_operator.api.common import TargetRef
from rollback_operator.api.fields import parse_duration
from rollback_operator.api.reasons import Reason
from rollback_operator.api.request import Phase, Plan, RequestStatus
from rollback_operator.core import progress
from rollback_operator.core.choice import LAST_KNOWN_GOOD, PREVIOUS, Chosen, choose
from rollback_operator.core.ledger import Ledger
from rollback_operator.core.turn import ahead, meanwhile, rolled_back_from
from rollback_operator.core.values import (
    Apply,
    Decision,
    Ending,
    Examine,
    Findings,
    GiveBack,
    Health,
    Observation,
    Obstacle,
    Other,
    Refused,
    Rehearse,
    Rehearsed,
    Request,
    Revision,
    Snapshot,
    Wellbeing,
    resolved_target,
)
from rollback_operator.core.verdicts import Streak, Verdict

SEND_WITHIN = timedelta(seconds=3)
"""An attempt at an effect that was written down is sent within this time, or not at all."""
SETTLE = timedelta(seconds=20)
"""How long after it was written down an attempt without an answer may still arrive: `SEND_WITHIN`, then
`kube.client.LONGEST_WRITE`, and some seconds by which the clocks of two operators may differ."""
FIRST_PAUSE = timedelta(milliseconds=200)
LONGEST_PAUSE = timedelta(seconds=5)
"""Between tries; doubled each time."""
_DOUBLINGS = 10  # more than it takes to the longest pause; 2 to the power of all tries is no timedelta any more
GIVE_BACK_TRIES = 5
"""How often fields are tried to be given back before a request ends without."""
POLICY_GRACE = timedelta(seconds=10)
"""How long a request waits for a policy that is not there: both may have been applied together."""
QUEUE_POLL = timedelta(seconds=10)
CONTROLLER_POLL = timedelta(milliseconds=500)
HEALTH_POLL = timedelta(seconds=5)
"""Polls are for what no event announces; a change of the target or of another request wakes the request earlier."""


def advance(request: Request, seen: Observation, now: datetime) -> Decision:
    """The next status of `request`, the action that follows it, and when to look again.

    A status equal to the request's own means there is nothing to write. Without an action, nothing is left to do
    until something changes or `again` has passed; a final status has neither.
    """
    phase = request.status.phase
    if phase is not None and phase.final:
        return Decision(request.status)
    if phase is Phase.VERIFYING:
        return _verify(request, seen, now)
    if phase is Phase.RUNNING:
        return _carry_out(request, seen, now)
    return _prepare(request, seen, now)


# Pending, AwaitingApproval: whose turn, which revision, what would be done.


def _prepare(request: Request, seen: Observation, now: datetime) -> Decision:
    ref = resolved_target(request.spec, seen.policy)
    named = {"target": str(ref)} if ref is not None else {}
    if request.spec.abort:
        return _end(request, now, Ending(Phase.ABORTED, Reason.ABORTED, _UNTOUCHED), **named)
    if ref is None:
        return _without_policy(request, now)
    if grace_left(request, now) > timedelta():
        return _await(request, ref, seen.target, now)
    if _overdue(request, now):
        return _end(request, now, _too_late(request, str(ref)), **named)
    if isinstance(seen.answer, Refused):
        return _refused(request, ref, seen.answer, now)
    return _take_turn(request, ref, seen, now)


def _await(request: Request, ref: TargetRef, target: Snapshot | None, now: datetime) -> Decision:
    """People may step in. What runs now is what they are asked about: nothing else is rolled back afterwards."""
    numbered = target.current.name if target is not None and target.settled else None
    leaving = request.status.from_ or numbered
    status = progress.awaiting(request, now, str(ref), request.created + _grace(request), leaving)
    again = grace_left(request, now)
    return Decision(status, again=again if leaving or target is None else min(again, HEALTH_POLL))


def _take_turn(request: Request, ref: TargetRef, seen: Observation, now: datetime) -> Decision:
    first = ahead(request, seen.others)
    if first is not None:
        message = f"Waiting for {first.name}, which is rolling back {ref} and came first."
        return Decision(progress.waiting(request, now, Reason.QUEUED, message, target=str(ref)), again=QUEUE_POLL)
    return _select(request, ref, seen, now)


def _without_policy(request: Request, now: datetime) -> Decision:
    assert request.spec.policy_ref is not None
    name = request.spec.policy_ref.name
    if now - request.created >= POLICY_GRACE:
        message = (
            f"There is no RollbackPolicy {name} in namespace {request.namespace}. "
            "Create it and write a new request, or name a target instead of a policy."
        )
        return _end(request, now, Ending(Phase.FAILED, Reason.POLICY_NOT_FOUND, message))
    message = f"Waiting for RollbackPolicy {name} to be created."
    return Decision(progress.waiting(request, now, Reason.WAITING_FOR_POLICY, message), again=timedelta(seconds=1))


def _select(request: Request, ref: TargetRef, seen: Observation, now: datetime) -> Decision:
    target = seen.target
    if target is None:
        return _end(request, now, _no_target(request, ref), target=str(ref))
    if target.obstacle is not None:
        return _end(request, now, _blocked(target.obstacle), target=str(ref))
    if not target.settled:
        started = request.status.started_at or now
        message = f"{ref} was changed a moment ago; waiting for its controller to number the revision."
        why = Reason.WAITING_FOR_CONTROLLER
        status = progress.waiting(request, now, why, message, target=str(ref), started_at=started)
        return Decision(status, again=CONTROLLER_POLL)
    return _pick(request, ref, target, seen, now)


def _pick(request: Request, ref: TargetRef, target: Snapshot, seen: Observation, now: datetime) -> Decision:
    if request.spec.from_ not in (None, target.current.fingerprint):
        return _end(request, now, _not_what_was_seen(ref, target), target=str(ref))
    wanted = request.spec.to or (seen.policy.to if seen.policy is not None else PREVIOUS)
    other = meanwhile(request, seen.others) if wanted in (PREVIOUS, LAST_KNOWN_GOOD) else None
    if other is not None:
        return _end(request, now, _already_rolled_back(ref, target, other), target=str(ref), from_=target.current.name)
    ledger = Ledger.of(seen.policy, seen.entries) if seen.policy is not None else Ledger()
    bad = ledger.bad_with(rolled_back_from(seen.others))
    choice = choose(wanted, ref, target, bad, ledger.good)
    if isinstance(choice, Chosen) and choice.revision.fingerprint in bad and _made_by_policy(request):
        choice = _counts_as_bad(ref, choice.revision, bad[choice.revision.fingerprint])
    if isinstance(choice, Ending):
        to = None if wanted in (PREVIOUS, LAST_KNOWN_GOOD) else wanted
        return _end(request, now, choice, target=str(ref), from_=target.current.name, to=to)
    if _released_meanwhile(request, target):
        return _end(request, now, _nobody_asked(request, ref), target=str(ref))
    return _plan(request, ref, choice, seen, now)


def _made_by_policy(request: Request) -> bool:
    """Whether nobody but a policy asked for it."""
    return request.spec.policy_ref is not None and request.spec.policy_ref.uid is not None


def _released_meanwhile(request: Request, target: Snapshot) -> bool:
    """Whether another release came while people were asked about the one before; a restart is none."""
    asked_about, current = request.status.from_, target.current
    restarted = any((one.name, one.fingerprint) == (asked_about, current.fingerprint) for one in target.history)
    return asked_about not in (None, current.name) and not restarted


def _plan(request: Request, ref: TargetRef, choice: Chosen, seen: Observation, now: datetime) -> Decision:
    target, answer = seen.target, seen.answer
    assert target is not None
    if isinstance(answer, Rehearsed):
        return _dry_run_ended(request, ref, answer.plan, now)
    account = _service_account(request, seen)
    if not isinstance(answer, Findings):
        return Decision(request.status, Examine(choice.revision, account))
    if answer.missing:
        ending = _missing(ref, choice.revision, answer.missing)
        return _end(request, now, ending, target=str(ref), from_=target.current.name, to=choice.revision.name)
    verify = seen.policy.verify if seen.policy is not None else None
    plan = progress.make_plan(target, choice, answer, account=account, verify=verify)
    if request.spec.dry_run:
        return Decision(request.status, Rehearse(plan))
    return Decision(progress.planned(request, now, ref, plan), Apply(plan))


def _refused(request: Request, ref: TargetRef, answer: Refused, now: datetime) -> Decision:
    shown = progress.shown_plan(ref, answer.plan) if answer.plan is not None else {"target": str(ref)}
    return _end(request, now, Ending(Phase.FAILED, answer.reason, answer.message), **shown)


def _dry_run_ended(request: Request, ref: TargetRef, plan: Plan, now: datetime) -> Decision:
    message = (
        f"Dry run: {ref} would go back from revision {plan.from_.revision} to {plan.to.revision}, and the API server "
        "would accept it. Nothing was changed."
    )
    ending = Ending(Phase.SUCCEEDED, Reason.DRY_RUN, message)
    return _end(request, now, ending, **progress.shown_plan(ref, plan))


# Running: the plan is written, the effect may be anywhere between not sent and done.


def _carry_out(request: Request, seen: Observation, now: datetime) -> Decision:
    plan, _ = _planned(request)
    target = seen.target
    if target is not None and request.uid in target.marks:
        action = GiveBack(plan) if target.holds_fields else None
        return Decision(progress.applied(request, now, target), action, HEALTH_POLL)
    ending = _moved_on(request, target) or _stopped(request, seen, now)
    if ending is None:
        return _try_again(request, plan, now)
    until = _attempts(request)[1] + SETTLE
    if until > (seen.since or now) and not _all_answered(request, seen):
        return _settle(request, now, until, ending)
    return _end(request, now, ending, certain=_same_object(plan, target) or _all_answered(request, seen))


def _same_object(plan: Plan, target: Snapshot | None) -> bool:
    """Whether the target is there to tell what was done to it."""
    return target is not None and target.uid == plan.uid


def _all_answered(request: Request, seen: Observation) -> bool:
    return seen.answered >= _attempts(request)[0]


def _moved_on(request: Request, target: Snapshot | None) -> Ending | None:
    """Why the effect cannot be made any more, if the world moved after the plan was made."""
    plan, name = _planned(request)
    if target is None:
        message = f"{name} was deleted before its rollback was seen on it."
        return Ending(Phase.FAILED, Reason.TARGET_NOT_FOUND, message)
    if target.uid != plan.uid:
        message = f"{name} was deleted and created anew after the plan was made: the new one was not changed."
        return Ending(Phase.SUPERSEDED, Reason.TARGET_RECREATED, message)
    if (target.current.fingerprint, target.current.name) != (plan.from_.fingerprint, plan.from_.revision):
        message = (
            f"{name} moved on from revision {plan.from_.revision} before it could be rolled back: nothing was changed. "
            "If the new release is bad too, write a new request."
        )
        return Ending(Phase.SUPERSEDED, Reason.NEWER_RELEASE, message)
    if all(revision.fingerprint != plan.to.fingerprint for revision in target.history):
        message = f"Revision {plan.to.revision} of {name} was removed after the plan was made: nothing was changed."
        return Ending(Phase.FAILED, Reason.REVISION_NOT_FOUND, message)
    return None


def _stopped(request: Request, seen: Observation, now: datetime) -> Ending | None:
    """Why the effect must not be made, although it could be."""
    if seen.target is not None and seen.target.obstacle is not None:
        return _blocked(seen.target.obstacle)
    if request.spec.abort:
        return Ending(Phase.ABORTED, Reason.ABORTED, _UNTOUCHED)
    if isinstance(seen.answer, Refused):
        return Ending(Phase.FAILED, seen.answer.reason, seen.answer.message)
    if _overdue(request, now):
        return _too_late(request, _planned(request)[1])
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


# Verifying: the effect is made.


def _verify(request: Request, seen: Observation, now: datetime) -> Decision:
    plan, name = _planned(request)
    target = seen.target
    if target is not None and target.uid == plan.uid and _stale(request, target):
        return Decision(request.status, again=timedelta(seconds=1))
    lost = _lost(plan, name, target)
    decision = _end(request, now, lost) if lost is not None else _fare(request, seen, now)
    return _giving_back(request, seen, decision)


def _fare(request: Request, seen: Observation, now: datetime) -> Decision:
    """How the target does, with the effect on it."""
    plan, name = _planned(request)
    target = seen.target
    assert target is not None
    health = judged(target.health, plan, _made(request), seen.streaks)
    if health.state is Wellbeing.HEALTHY:
        message = f"{name} is back at revision {plan.to.revision}: {health.message}."
        return _end(request, now, Ending(Phase.SUCCEEDED, Reason.COMPLETED, message))
    if request.spec.abort:
        message = f"Aborted after {name} was set back to revision {plan.to.revision}: it stays there, not verified."
        return _end(request, now, Ending(Phase.ABORTED, Reason.ABORTED, message))
    return _not_healthy(request, target.health, health, now)


def judged(health: Health, plan: Plan, made: datetime | None, streaks: Mapping[str, Streak]) -> Health:
    """The target's own health, and what the triggers say that the plan has to be verified by.

    Only what was seen after the effect counts.
    """
    if health.state is not Wellbeing.HEALTHY or not plan.verify_triggers:
        return health
    seen = {name: streaks.get(name, Streak()) for name in plan.verify_triggers}
    late = {name: one for name, one in seen.items() if made is not None and one.at > made.timestamp()}
    bad = [name for name, one in late.items() if one.verdict is Verdict.BREACH]
    if bad:
        said = "; ".join(f"{name} is still in Breach: {seen[name].message}" for name in bad)
        return Health(Wellbeing.FAILING, f"{health.message}, but {said}")
    unknown = [name for name in seen if name not in late or late[name].verdict is not Verdict.HEALTHY]
    if unknown:
        return Health(Wellbeing.PROGRESSING, f"{health.message}; {', '.join(unknown)} did not say Healthy yet")
    are = "is" if len(seen) == 1 else "are"
    return Health(Wellbeing.HEALTHY, f"{health.message}, and {', '.join(seen)} {are} Healthy")


def _made(request: Request) -> datetime | None:
    """When the effect was seen on the target."""
    (mine,) = request.status.targets
    return max((step.finished_at for step in mine.steps if step.finished_at is not None), default=None)


def _giving_back(request: Request, seen: Observation, decision: Decision) -> Decision:
    """`decision`, but what the effect took is given back first; an end waits for a few tries of that, not for ever."""
    plan, _ = _planned(request)
    if seen.target is None or seen.target.uid != plan.uid or not seen.target.holds_fields:
        return decision
    ends = decision.status.phase is not None and decision.status.phase.final
    if isinstance(seen.answer, Refused) or (ends and seen.kept >= GIVE_BACK_TRIES):
        return decision
    return Decision(request.status if ends else decision.status, GiveBack(plan), decision.again)


def _stale(request: Request, target: Snapshot) -> bool:
    """Whether a reading is older than the effect, which was seen before."""
    (mine,) = request.status.targets
    return mine.generation is not None and target.generation < mine.generation


def _lost(plan: Plan, name: str, target: Snapshot | None) -> Ending | None:
    """How the world took the effect away, if it did."""
    back = f"after the rollback to revision {plan.to.revision}"
    if target is None:
        message = f"{name} was deleted {back}, before it was verified."
        return Ending(Phase.FAILED, Reason.TARGET_NOT_FOUND, message)
    if target.uid != plan.uid:
        message = f"{name} was deleted and created anew {back}, before it was verified."
        return Ending(Phase.FAILED, Reason.OVERTAKEN, message)
    if target.current.fingerprint == plan.to.fingerprint:
        return None
    if target.current.fingerprint == plan.from_.fingerprint:
        message = (
            f"Someone put the version of revision {plan.from_.revision} back {back}. "
            "Find who releases it (kubectl get -o yaml --show-managed-fields names the managers), stop it there, "
            "and write a new request."
        )
        return Ending(Phase.FAILED, Reason.REVERTED, message)
    message = f"Another release of {name} came {back}, before it was verified. If it is bad too, write a new request."
    return Ending(Phase.FAILED, Reason.OVERTAKEN, message)


def _not_healthy(request: Request, own: Health, health: Health, now: datetime) -> Decision:
    """`own` is what the pods say; `health` also what triggers do."""
    plan, name = _planned(request)
    deadline = verify_deadline(request)
    failing = health.state is Wellbeing.FAILING
    if now >= deadline and own.state is Wellbeing.HEALTHY and not failing:
        message = (
            f"{name} is back at revision {plan.to.revision}, but nobody could say in time that it is well: "
            f"{health.message}. It stays there. Look at what these triggers ask."
        )
        return _end(request, now, Ending(Phase.FAILED, Reason.NOT_VERIFIED, message))
    if now >= deadline:
        message = (
            f"{name} was set back to revision {plan.to.revision}, but was not healthy in time: {health.message}. "
            "It stays there. Look at these pods; to go further back, write a new request with that revision in `to`."
        )
        return _end(request, now, Ending(Phase.FAILED, Reason.UNHEALTHY if failing else Reason.TIMEOUT, message))
    status = request.status
    if failing:
        reason = Reason.PODS_FAILING if own.state is Wellbeing.FAILING else Reason.NOT_YET_WELL
        status = _note(request, now, reason, f"{name} at revision {plan.to.revision}: {health.message}.")
    return Decision(status, again=min(HEALTH_POLL, deadline - now))


def _note(request: Request, now: datetime, reason: Reason, message: str) -> RequestStatus:
    """That something fails is worth one write; that it goes on failing, in other words, is not."""
    if any(condition.reason == reason for condition in request.status.conditions):
        return request.status
    return progress.holding(request, now, reason, message)


# What several stages ask.


def pause(tries: int) -> timedelta:
    """How long to wait after so many tries."""
    return min(FIRST_PAUSE * (1 << min(tries - 1, _DOUBLINGS)), LONGEST_PAUSE)


def verify_deadline(request: Request) -> datetime:
    """When a request that made its effect must be healthy: its timeout, or its policy's for verification if earlier."""
    deadline, made = _deadline(request), _made(request)
    (mine,) = request.status.targets
    if mine.plan is not None and mine.plan.verify_timeout and made is not None:
        return min(deadline, made + parse_duration(mine.plan.verify_timeout))
    return deadline


def _deadline(request: Request) -> datetime:
    started = request.status.started_at
    assert started is not None
    return started + parse_duration(request.spec.timeout)


def _overdue(request: Request, now: datetime) -> bool:
    """Whether it is too late for an effect.

    A request that nobody has taken up could have run since its creation, or at the latest since its grace was over:
    nobody knows when it was approved.
    """
    started = request.status.started_at
    if started is None and request.status.phase in (None, Phase.AWAITING_APPROVAL):
        started = request.created + _grace(request)
    return started is not None and now >= started + parse_duration(request.spec.timeout)


def grace_left(request: Request, now: datetime) -> timedelta:
    """How long people may still veto the request before it runs by itself.

    Without a grace there is nothing to wait for, even if the API server's clock, which dated the request, is ahead.
    """
    grace = _grace(request)
    return request.created + grace - now if grace and not request.spec.approve else timedelta()


def _grace(request: Request) -> timedelta:
    """A dry run changes nothing, so it asks nobody."""
    spec = request.spec
    return parse_duration(spec.grace) if spec.grace and not spec.dry_run else timedelta()


def _planned(request: Request) -> tuple[Plan, str]:
    (mine,) = request.status.targets
    assert mine.plan is not None
    return mine.plan, mine.target


def _service_account(request: Request, seen: Observation) -> str:
    from_policy = seen.policy.service_account_name if seen.policy is not None else None
    return request.spec.service_account_name or from_policy or seen.default_service_account


# Endings.

_UNTOUCHED = "Aborted before anything was changed."


def _end(request: Request, now: datetime, ending: Ending, **fields: Any) -> Decision:
    return Decision(progress.ended(request, now, ending, **fields))


def _blocked(obstacle: Obstacle) -> Ending:
    return Ending(Phase.FAILED, obstacle.reason, obstacle.message)


def _not_what_was_seen(ref: TargetRef, target: Snapshot) -> Ending:
    message = (
        f"{ref} moved on to revision {target.current.name} before it could be rolled back: nothing was changed. "
        "If that release is bad too, write a new request."
    )
    return Ending(Phase.SUPERSEDED, Reason.NEWER_RELEASE, message)


def _nobody_asked(request: Request, ref: TargetRef) -> Ending:
    message = (
        f"{ref} moved on from revision {request.status.from_} while people were asked: nothing was changed. "
        "If the new release is bad too, write a new request."
    )
    return Ending(Phase.SUPERSEDED, Reason.NEWER_RELEASE, message)


def _too_late(request: Request, target: str) -> Ending:
    message = (
        f"{target} was not rolled back within {request.spec.timeout}: nothing was changed. "
        "If it is still wanted, write a new request."
    )
    return Ending(Phase.FAILED, Reason.TIMEOUT, message)


def _no_target(request: Request, ref: TargetRef) -> Ending:
    message = (
        f"There is no {ref.kind} {ref.name} in namespace {request.namespace}. "
        "A request rolls back what is in its own namespace: check the name and the namespace."
    )
    return Ending(Phase.FAILED, Reason.TARGET_NOT_FOUND, message)


def _counts_as_bad(ref: TargetRef, revision: Revision, why: str) -> Ending:
    message = (
        f"Revision {revision.name} of {ref}, which the policy names, counts as bad: {why}. A policy never goes back to "
        "such a revision by itself; name another one in its `to`, or call this one Good in its spec.ledger."
    )
    return Ending(Phase.FAILED, Reason.NOTHING_TO_ROLL_BACK_TO, message)


def _already_rolled_back(ref: TargetRef, target: Snapshot, other: Other) -> Ending:
    message = (
        f"{other.name} rolled {ref} back while this request was waiting: nothing more was changed. "
        f"If revision {target.current.name}, which stands now, is bad too, write a new request."
    )
    return Ending(Phase.SUPERSEDED, Reason.ALREADY_ROLLED_BACK, message)


def _missing(ref: TargetRef, revision: Revision, missing: tuple[str, ...]) -> Ending:
    message = (
        f"Revision {revision.name} of {ref} needs what is no longer there: {', '.join(missing)}. "
        "Restore it and write a new request, or name another revision in `to`."
    )
    return Ending(Phase.FAILED, Reason.MISSING_DEPENDENCY, message)
