"""What the requests of a group would come to, as far as that can be told before the first of them is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from rollback_operator.api.common import Place, TargetRef
from rollback_operator.api.reasons import Reason
from rollback_operator.api.request import Member, Phase, RequestStatus
from rollback_operator.core import conditions as on
from rollback_operator.core.group import words
from rollback_operator.core.group.values import Sight, members
from rollback_operator.core.life.endings import blocked, no_target
from rollback_operator.core.values import Ending, Refused, Request, Snapshot


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is rolled back for a target (itself, or its owner), how that is, and how it would end without an effect."""

    ref: TargetRef
    found: Snapshot | Refused | None
    ending: Ending | None = None


def imagined(request: Request, member: Member, now: datetime) -> Request:
    """The request for a target, as if it were made now.

    What others did before that counts as done, and not as done in its stead.
    """
    account = member.service_account_name or request.spec.service_account_name
    changes = {"targets": None, "target": member.target, "to": member.to, "service_account_name": account}
    return replace(request, created=now, spec=request.spec.model_copy(update=changes), status=RequestStatus())


def ending_of(status: RequestStatus) -> Ending | None:
    """How a request ends that would keep its group from going on; None if it goes on itself, or Succeeds."""
    ready = on.find(status.conditions, on.READY)
    if status.phase is None or not status.phase.final or status.phase is Phase.SUCCEEDED or ready is None:
        return None
    return Ending(status.phase, Reason(ready.reason), ready.message)


def first_sight(request: Request, outlooks: Mapping[str, Outlook]) -> Sight:
    """The first look at all targets, by their names."""
    own = {str(one.target): one.target for one in members(request)}
    return Sight(
        targets={name: one.found for name, one in outlooks.items()},
        instead={name: one.ref for name, one in outlooks.items() if one.ref != own[name]},
        endings={name: one.ending for name, one in outlooks.items() if one.ending is not None},
    )


def hindrances(request: Request, seen: Sight) -> list[Ending]:
    """Why the group is not begun: each in the words that the request for that target alone would end with.

    A dry run is begun although some would end so: it says everything of every target.
    """
    found = [_hindrance(request, one.target, seen) for one in members(request)]
    return [one for one in found if one is not None] + _named_twice(request, seen)


def _hindrance(request: Request, ref: TargetRef, seen: Sight) -> Ending | None:
    name, target = str(ref), seen.targets[str(ref)]
    if target is None:
        return no_target(request, seen.instead.get(name, ref))
    if isinstance(target, Refused):
        return Ending(Phase.FAILED, target.reason, target.message)
    if name in seen.endings and not request.spec.dry_run:
        return seen.endings[name]
    return blocked(target.obstacle) if target.obstacle is not None else None


def _named_twice(request: Request, seen: Sight) -> list[Ending]:
    """What would be rolled back for several of the targets."""
    for_whom: dict[Place, list[str]] = {}
    for one in members(request):
        ref = seen.instead.get(str(one.target), one.target)
        for_whom.setdefault(ref.place(request.namespace), []).append(str(one.target))
    owners = {ref.place(request.namespace): ref for ref in seen.instead.values()}
    return [words.named_twice(ref, for_whom[place]) for place, ref in owners.items() if len(for_whom[place]) > 1]
