"""Carrying groups out: look at the requests of the wave -> decide (`core.group`) -> make and abort requests."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from rollback_operator import metrics
from rollback_operator.api import API_VERSION, GROUP_LABEL, REQUESTS
from rollback_operator.api.reasons import Reason
from rollback_operator.api.request import Member, TargetStatus
from rollback_operator.core.group import advance_group
from rollback_operator.core.group.foresight import Outlook, first_sight, imagined
from rollback_operator.core.group.values import Child, GroupDecision, Sight, child_spec, members, noted
from rollback_operator.core.life.times import over, too_late_to_send
from rollback_operator.core.values import Refused, Request
from rollback_operator.kube import errors, resources
from rollback_operator.kube.client import Api
from rollback_operator.kube.identity import OPERATOR
from rollback_operator.requests.foresight import Foresee

log = logging.getLogger(__name__)
Object = dict[str, Any]


@dataclass
class _Heard:
    """What this process knows of a group beside its status, by the names of requests; lost without harm."""

    made: set[str] = field(default_factory=set)
    answered: dict[str, int] = field(default_factory=dict)
    refused: dict[str, Refused] = field(default_factory=dict)


class Groups:
    """Looks at groups, and acts for them; their status is written by whoever calls."""

    def __init__(self, api: Api, foresee: Foresee) -> None:
        self._api = api
        self._foresee = foresee
        self._heard: dict[str, _Heard] = {}

    def forget(self, uid: str) -> None:
        """The group has ended, or is gone."""
        self._heard.pop(uid, None)

    async def decide(self, request: Request) -> GroupDecision:
        """What the group's status is to be, and what follows when that is written.

        Raises:
            kube.errors.KubeError: its targets or requests could not be read.
        """
        return advance_group(request, await self._gather(request), datetime.now(UTC))

    async def act(self, request: Request, decision: GroupDecision) -> None:
        """Make and abort requests; `request` is the group as the decision was written."""
        wanted = [one for one in members(request) if str(one.target) in decision.create]
        makings = (self._make(request, one) for one in wanted)
        await asyncio.gather(*makings, *(self._abort(one) for one in decision.abort))

    # Gather.

    async def _gather(self, request: Request) -> Sight:
        heard = self._heard_of(request)
        if not request.status.targets:
            return first_sight(request, await self._outlooks(request))
        since, names = datetime.now(UTC), noted(request)
        bodies = await asyncio.gather(*(resources.read(self._api, REQUESTS, (request.namespace, one)) for one in names))
        there = {name: body for name, body in zip(names, bodies, strict=True) if body is not None}
        children = {name: Child(resources.parse_request(body), _is_ours(request, body)) for name, body in there.items()}
        made = frozenset(heard.made)
        return Sight(children=children, made=made, answered=heard.answered, refused=heard.refused, since=since)

    async def _outlooks(self, request: Request) -> dict[str, Outlook]:
        """What the requests that are going to be made would come to, by the names of their targets."""
        targets, now = members(request), datetime.now(UTC)
        found = await asyncio.gather(*(self._foresee(imagined(request, one, now), one.target) for one in targets))
        return {str(one.target): outlook for one, outlook in zip(targets, found, strict=True)}

    # Act.

    async def _make(self, request: Request, member: Member) -> None:
        """Make a target's request. What came of it is seen by the next look."""
        heard = self._heard_of(request)
        entry = next(one for one in request.status.targets if one.target == str(member.target))
        assert entry.request is not None
        (step,) = entry.steps
        if too_late_to_send(step, datetime.now(UTC)):
            _note_answered(heard, entry)
            return
        try:
            await self._api.create(
                resources.path(REQUESTS, request.namespace), _body(request, member, entry.request), as_=OPERATOR
            )
            heard.made.add(entry.request)
        except (errors.Forbidden, errors.Invalid) as error:
            heard.refused[entry.request] = Refused(Reason.REJECTED, _cannot_be_made(entry, error))
        except errors.Unavailable as error:
            metrics.RETRIES.labels("no answer").inc()
            log.warning("No answer, looking for the request: %s", error, extra=_context(request))
            if not isinstance(error, errors.NotDone):
                return
        except errors.KubeError as error:
            log.info("The request was not made: %s", error, extra=_context(request))
        _note_answered(heard, entry)

    async def _abort(self, child: Request) -> None:
        """Abort a request of the group, unless it ends by itself; if there is no answer, the next look tries again."""
        patch: list[Object] = [
            {"op": "test", "path": "/metadata/uid", "value": child.uid},
            {"op": "add", "path": "/spec/abort", "value": True},
        ]
        try:
            await self._api.patch(resources.path(REQUESTS, child.namespace, child.name), patch, as_=OPERATOR)
        except errors.KubeError as error:
            log.info("The request was not aborted: %s", error, extra=_context(child))

    def _heard_of(self, request: Request) -> _Heard:
        return self._heard.setdefault(request.uid, _Heard())


def _body(request: Request, member: Member, name: str) -> Object:
    """A target's request. It belongs to the group: who deletes the group deletes it too."""
    owner = {
        "apiVersion": API_VERSION,
        "kind": "RollbackRequest",
        "name": request.name,
        "uid": request.uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }
    metadata = {
        "name": name,
        "namespace": request.namespace,
        "labels": {GROUP_LABEL: request.name[:63].rstrip("-.")},  # what is cut off must leave a label
        "ownerReferences": [owner],
    }
    spec = child_spec(request, member, datetime.now(UTC))
    return {"apiVersion": API_VERSION, "kind": "RollbackRequest", "metadata": metadata, "spec": spec}


def _cannot_be_made(entry: TargetStatus, error: errors.KubeError) -> str:
    return (
        f"The request {entry.request} for {entry.target} cannot be made, and nothing was changed on it. Remove the "
        f"cause, then write a new request for it: {error}"
    )


def _is_ours(request: Request, body: Object) -> bool:
    return any(one["uid"] == request.uid for one in body["metadata"].get("ownerReferences") or [])


def _note_answered(heard: _Heard, entry: TargetStatus) -> None:
    """The last attempt is over."""
    (step,) = entry.steps
    assert entry.request is not None
    heard.answered[entry.request] = over(heard.answered.get(entry.request, 0), step)


def _context(request: Request) -> dict[str, str]:
    return {"request": f"{request.namespace}/{request.name}", "uid": request.uid}
