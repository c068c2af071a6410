"""What decisions about a group are made from, and what they are."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from rollback_operator.api.common import TargetRef
from rollback_operator.api.request import Member, RequestStatus, TargetStatus
from rollback_operator.core.life.times import deadline
from rollback_operator.core.values import Ending, Refused, Request, Snapshot

SHORTEST = timedelta(seconds=1)
"""The least time that a request is given."""
_OWN = frozenset({"targets", "grace", "approve", "abort", "timeout"})
"""What a group's orders say of the group itself; all the rest is taken over by the requests that it makes."""


@dataclass(frozen=True, slots=True)
class Child:
    """A request that has the name of one that the group makes, and whether the group made it."""

    request: Request
    ours: bool


@dataclass(frozen=True, slots=True)
class Sight:
    """Everything outside the group that a decision about it may depend on.

    `targets`: how the targets are, by name; looked at once, before anything is begun. `instead`: the owners that are
    rolled back instead of targets, by the names of these; how they are is in `targets` then. `endings`: how requests
    for targets would end without an effect. `children`: the requests that were noted and have not ended, by name, as
    far as they are there. `made`: those that this process is sure to have made. `answered`: all attempts to make that
    request, up to this number, are known to be over. `refused`: requests that the API server does not let the operator
    make. `since`: when the look at the children began (None: this moment).
    """

    targets: Mapping[str, Snapshot | Refused | None] = field(default_factory=dict)
    children: Mapping[str, Child] = field(default_factory=dict)
    made: frozenset[str] = frozenset()
    answered: Mapping[str, int] = field(default_factory=dict)
    refused: Mapping[str, Refused] = field(default_factory=dict)
    since: datetime | None = None
    instead: Mapping[str, TargetRef] = field(default_factory=dict)
    endings: Mapping[str, Ending] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GroupDecision:
    """The status to write (first), requests to make and to abort (then), and when to look again (None: at once)."""

    status: RequestStatus
    create: tuple[str, ...] = ()
    """The targets, by name."""
    abort: tuple[Request, ...] = ()
    again: timedelta | None = None


def members(request: Request) -> tuple[Member, ...]:
    """The targets of a group as its orders name them."""
    assert request.spec.targets is not None
    return request.spec.targets


def begun(request: Request, entries: tuple[TargetStatus, ...], now: datetime) -> Request:
    """The group at the moment when its time begins."""
    return replace(request, status=request.status.model_copy(update={"started_at": now, "targets": entries}))


def child_name(request: Request, target: TargetRef) -> str:
    """The name of the request that a group makes for a target: whoever makes it, and however often.

    The group's uid is in it, so that a group of the same name that comes later makes others.
    """
    digest = hashlib.sha256(f"{request.uid}/{target}".encode()).hexdigest()[:10]
    return f"{f'{request.name}-{target.name}'[:200].rstrip('-.')}-{digest}"


def child_spec(request: Request, member: Member, now: datetime) -> dict[str, Any]:
    """The orders of that request: the group's own, for one target as the group found it, with the time that is left."""
    entry = next(one for one in request.status.targets if one.target == str(member.target))
    left = max(SHORTEST, deadline(request) - now)
    spec = {name: value for name, value in request.spec.dump().items() if name not in _OWN}
    spec |= {name: value for name, value in member.dump().items() if name != "wave"}
    spec |= {"timeout": f"{round(left.total_seconds())}s"}
    if entry.owner is not None:
        spec["target"] = TargetRef.of(entry.owner).dump()
    return spec | ({"from": entry.fingerprint} if entry.fingerprint else {})


def noted(request: Request) -> tuple[str, ...]:
    """Names of the requests that were begun to be made, and are not known to have ended."""
    return tuple(one.request for one in request.status.targets if one.request is not None and not one.phase.final)
