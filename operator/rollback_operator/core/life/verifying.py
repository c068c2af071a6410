"""Verifying: the effect is made; is the target well with it?"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from rollback_operator.api.reasons import Reason
from rollback_operator.api.request import Phase, Plan
from rollback_operator.core import progress
from rollback_operator.core.life.endings import end
from rollback_operator.core.life.partial import configuration_lost
from rollback_operator.core.life.times import FINISH_TRIES, HEALTH_POLL, made, planned, verify_deadline
from rollback_operator.core.values import (
    Decision,
    Ending,
    Finish,
    Health,
    Observation,
    Refused,
    Request,
    Snapshot,
    Stop,
    Wellbeing,
)
from rollback_operator.core.verdicts import Streak, Verdict

FREEING_TRIES = 5
"""How often pods are tried to be dealt with although giving fields back was given up."""
STOP_TRIES = 5
"""How often an effect that is still under way is tried to be called off before a request ends without."""


def verify(request: Request, seen: Observation, now: datetime) -> Decision:
    """See how the target does with the effect on it, and end when that is known."""
    plan, name = planned(request)
    target = seen.target
    if target is not None and target.uid == plan.uid and _stale(request, target, now):
        return Decision(request.status, again=timedelta(seconds=1))
    lost = _lost(plan, name, target) or configuration_lost(plan, seen.beside)
    decision = end(request, now, lost) if lost is not None else _fare(request, seen, now)
    return _finishing(request, seen, decision)


def _fare(request: Request, seen: Observation, now: datetime) -> Decision:
    """How the target does, with the effect on it."""
    plan, name = planned(request)
    target = seen.target
    assert target is not None
    own = _own(target, seen)
    health = judged(own, plan, made(request), seen.streaks)
    if health.state is Wellbeing.HEALTHY:
        message = f"{name} is back at revision {plan.to.revision}: {health.message}."
        return end(request, now, Ending(Phase.SUCCEEDED, Reason.COMPLETED, message))
    if request.spec.abort:
        message = f"Aborted after {name} was set back to revision {plan.to.revision}: it stays there, not verified."
        return end(request, now, Ending(Phase.ABORTED, Reason.ABORTED, message))
    return _not_healthy(request, own, health, now)


def _own(target: Snapshot, seen: Observation) -> Health:
    """What the target says of itself, and why pods that hold it up could not be dealt with.

    A refusal may be that of giving fields back, which comes first. That what was called off failed says nothing that
    was not known before.
    """
    left = target.freeing or (target.obstructed and seen.kept >= FINISH_TRIES + FREEING_TRIES)
    if left and isinstance(seen.answer, Refused):
        return Health(Wellbeing.FAILING, f"{target.health.message}. {seen.answer.message}")
    if seen.stopped and target.health.final:
        return Health(Wellbeing.PROGRESSING, target.health.message)
    return target.health


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


def _finishing(request: Request, seen: Observation, decision: Decision) -> Decision:
    """`decision`, but what the effect took is given back first; an end waits for a few tries of that, not for ever.

    So it does if others are still carrying the effect out: after the end, nothing more is to happen. A refusal may
    pass, so it is tried again; if it lasts, pods that are in the way need not wait for it.
    """
    plan, _ = planned(request)
    if seen.target is None or seen.target.uid != plan.uid:
        return decision
    ends = decision.status.phase is not None and decision.status.phase.final
    if ends and seen.target.under_way and seen.stopped < STOP_TRIES:
        return Decision(request.status, Stop(plan))
    if not seen.target.unfinished and not seen.beside.held:
        return decision
    enough = seen.kept >= FINISH_TRIES
    if ends:
        return decision if seen.target.freeing or enough else Decision(request.status, Finish(plan), decision.again)
    refused = isinstance(seen.answer, Refused)
    if refused and seen.kept >= FINISH_TRIES + (FREEING_TRIES if seen.target.obstructed else 0):
        return decision
    only_pods = refused and enough and seen.target.obstructed
    return Decision(decision.status, Finish(plan, freeing=only_pods), decision.again)


def _stale(request: Request, target: Snapshot, now: datetime) -> bool:
    """Whether a reading is older than the effect, which was seen before.

    An effect that only frees what stands already changes nothing that is counted: its mark tells. Somebody may have
    taken that away, or what counts (the newest record of a release, by hand), so it is not waited for for ever.
    """
    (mine,) = request.status.targets
    plan, _ = planned(request)
    if mine.generation is None or target.generation > mine.generation:
        return False
    older = target.generation < mine.generation or (bool(plan.frees) and request.uid not in target.marks)
    return older and now < verify_deadline(request)


def _lost(plan: Plan, name: str, target: Snapshot | None) -> Ending | None:
    """How the world took the effect away, if it did."""
    back = f"after the rollback to revision {plan.to.revision}"
    if target is None:
        message = (
            f"{name} was deleted {back}, before it was verified. Find who deletes it; if it is made anew with the bad "
            "release, write a new request."
        )
        return Ending(Phase.FAILED, Reason.TARGET_NOT_FOUND, message)
    if target.uid != plan.uid:
        message = (
            f"{name} was deleted and created anew {back}, before it was verified. Look what it runs now; if that is "
            "bad, write a new request."
        )
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
    plan, name = planned(request)
    deadline = verify_deadline(request)
    failing = health.state is Wellbeing.FAILING
    if now >= deadline and own.state is Wellbeing.HEALTHY and not failing:
        message = (
            f"{name} is back at revision {plan.to.revision}, but nobody could say in time that it is well: "
            f"{health.message}. It stays there. Look at what these triggers ask."
        )
        return end(request, now, Ending(Phase.FAILED, Reason.NOT_VERIFIED, message))
    if own.final:
        message = (
            f"Setting {name} back to revision {plan.to.revision} failed, perhaps half-way: {own.message}. Look at what "
            "stands now; then write a new request, or release the version that you want."
        )
        return end(request, now, Ending(Phase.FAILED, Reason.HALF_APPLIED, message))
    if now >= deadline:
        message = (
            f"{name} was set back to revision {plan.to.revision}, but was not healthy in time: {health.message}. It "
            f"stays there. {_where_to_look(name)}; to go further back, write a new request with that revision in `to`."
        )
        return end(request, now, Ending(Phase.FAILED, Reason.UNHEALTHY if failing else Reason.TIMEOUT, message))
    status = request.status
    if failing:
        reason = Reason.PODS_FAILING if own.state is Wellbeing.FAILING else Reason.NOT_YET_WELL
        status = progress.holding(request, now, reason, f"{name} at revision {plan.to.revision}: {health.message}.")
    return Decision(status, again=min(HEALTH_POLL, deadline - now))


def _where_to_look(name: str) -> str:
    return "Look at it in Argo CD" if name.startswith("Application/") else "Look at these pods"
