"""What must hold, each as a sentence that is told when it does not."""

from __future__ import annotations

from rollback_operator.api.reasons import Reason
from rollback_operator.api.request import Phase, Plan, RequestStatus
from rollback_operator.core import conditions as on
from tests.model import statuses
from tests.model.cluster import POD, Deployment, print_of
from tests.model.shell import APPLY, DEFECT, FREE, Over, Start
from tests.model.world import Asking, World

TWICE = "the effect was made twice"
UNPLANNED = "an effect was made without a written plan"
UNCOPIED = "an effect was made without the copy that its status speaks of"
ELSEWHERE = "an effect was made on another world than the planned one"
EARLY = "a pod was deleted before the status said that the effect was made"
HEALTHY_POD = "a pod of the revision that was gone back to was deleted"
AFTER_END = "an effect was made although the request ended without one"
FALSE_SUCCESS = "the request says Completed and its effect was not made once"
FALSE_APPLIED = "the status says that the effect was made, and it was not"
DENIED = "the status says that nothing was changed, and the effect was made"
REOPENED = "a final status was changed"
REPLANNED = "a written plan was changed"
STOPPED = "an effect was begun after an abort was read, or overdue"
RESTLESS = "the same observation gives another status the second time"
SPINS = "the worker would look again at once, although nothing changes"
FORGOTTEN = "the worker leaves a request that has not ended, and says no time to look again"
STRANDED = "Completed, and fields are still recorded as the operator's"
BOTH = "two requests that meant one rollback were both carried out"
CROWD = "two requests for one target run at once in one process"
STUCK = "no ending can be reached any more"
CIRCLES = "without any fault it could go on for ever"


def plan_of(status: RequestStatus) -> Plan | None:
    return status.targets[0].plan if status.targets else None


def applied(status: RequestStatus) -> str | None:
    found = on.find(status.conditions, on.APPLIED)
    return found.status if found else None


def reason(status: RequestStatus) -> str | None:
    found = on.find(status.conditions, on.READY)
    return found.reason if found else None


def of_change(world: World, index: int, call: str, payload: str, after: Deployment) -> str | None:
    """`world.target` is just becoming `after`, by a call of that request."""
    if call == FREE:
        return _of_deletion(world, index, payload)
    return of_effect(world, index, after) if call == APPLY else None


def _of_deletion(world: World, index: int, uid: str) -> str | None:
    """A pod is just being deleted."""
    status = statuses.parsed(world.asking[index].body.status)
    plan = plan_of(status)
    if plan is None or applied(status) != "True":
        return EARLY
    return HEALTHY_POD if print_of(uid.removeprefix(POD)) == plan.to.fingerprint else None


def of_effect(world: World, index: int, after: Deployment) -> str | None:
    """An effect is just being made on `world.target`, which is `after` then."""
    asking = world.asking[index]
    if asking.effects:
        return TWICE
    return None if asking.gone else _of_first_effect(world, asking, after)


def _of_first_effect(world: World, asking: Asking, after: Deployment) -> str | None:
    status, target = statuses.parsed(asking.body.status), world.target
    assert target is not None
    plan = plan_of(status)
    if plan is None:
        return UNPLANNED
    fits = (plan.uid, plan.expects.fingerprint, plan.expects.revision, plan.to.fingerprint)
    if target.paused or fits != (target.uid, print_of(target.letter), str(target.number), print_of(after.letter)):
        return ELSEWHERE
    if asking.ended and applied(status) != "True":
        return AFTER_END
    if status.targets[0].restore is not None and not asking.copied:
        return UNCOPIED
    return BOTH if any(one.effects and one.on == target.uid and not one.gone for one in world.asking) else None


def of_write(world: World, index: int, number: int, start: Start | None) -> str | None:
    """A status is just being stored, decided on by a round that began with `start` (None: long ago)."""
    asking, status = world.asking[index], statuses.parsed(number)
    before = statuses.parsed(asking.body.status)
    plan = plan_of(before)
    if before.phase is not None and before.phase.final:
        return REOPENED
    if plan is not None and plan_of(status) != plan:
        return REPLANNED
    if applied(status) == "True" and asking.effects != 1:
        return FALSE_APPLIED
    final = status.phase is not None and status.phase.final
    return _of_ending(world, asking, status, start) if final else None


def _of_ending(world: World, asking: Asking, status: RequestStatus, start: Start | None) -> str | None:
    if reason(status) == Reason.COMPLETED and asking.effects != 1:
        return FALSE_SUCCESS
    if asking.effects and _denied(world, asking, status):
        return DENIED
    return STRANDED if start is not None and _stranded(world, status, start) else None


def _denied(world: World, asking: Asking, status: RequestStatus) -> bool:
    """What bears witness of an effect can be deleted; then the status must not claim to know."""
    witness = world.target is not None and world.target.uid == asking.on
    return applied(status) != "True" if witness else applied(status) == "False"


def _stranded(world: World, status: RequestStatus, start: Start) -> bool:
    if reason(status) != Reason.COMPLETED or world.target is None or start.heard.answer is not None:
        return False
    in_time = statuses.age_of(statuses.parsed(start.body.status).started_at) < statuses.TIMEOUT
    return in_time and world.target.held


def of_effect_begun(start: Start) -> str | None:
    """A round makes an effect, after what it read in `start`."""
    late = statuses.age_of(statuses.parsed(start.body.status).started_at) >= statuses.TIMEOUT
    unseen = start.body.status == statuses.EMPTY and start.body.created >= statuses.TIMEOUT
    return STOPPED if start.body.abort or late or unseen else None


def said(number: int) -> tuple[str | None, ...]:
    """What a status says in two words."""
    status = statuses.parsed(number)
    return status.phase, reason(status)


def completed(number: int) -> bool:
    """Whether the status of that number says that the rollback was made, and verified."""
    return said(number) == ("Succeeded", "Completed")


def of_rest(over: Over) -> str | None:
    """A look at a request that has not ended led to no write."""
    if over.spins:
        return SPINS
    return of_round(over) or (FORGOTTEN if over.again is None and over.error is None else None)


def of_round(over: Over) -> str | None:
    """A round is over."""
    return over.error if over.error and over.error.startswith(DEFECT) else None


def of_one_process(world: World) -> str | None:
    """While nothing goes wrong, one request a target runs at a time."""
    phases = [statuses.parsed(one.body.status).phase for one in world.asking if not one.gone]
    return CROWD if sum(phase in (Phase.RUNNING, Phase.VERIFYING) for phase in phases) > 1 else None
