"""What becomes known of a request: its status, for each transition an Event and a line of the log, and figures."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from rollback_operator import metrics
from rollback_operator.api import REQUESTS
from rollback_operator.api.common import Condition
from rollback_operator.api.reasons import Reason
from rollback_operator.api.request import Phase, RequestStatus
from rollback_operator.core import conditions as on
from rollback_operator.core.values import Request
from rollback_operator.kube import events, resources
from rollback_operator.kube.client import Api

log = logging.getLogger(__name__)
Object = dict[str, Any]

_WARNINGS = (Reason.PODS_FAILING, Reason.NOT_YET_WELL)
"""Reasons on the way that people are warned of."""


class Reporter:
    """Writes statuses, and tells of what they say."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._telling: set[asyncio.Task[None]] = set()

    async def report(self, body: Object, request: Request, status: RequestStatus) -> Object:
        """Write a status that is new, and tell of the transition; gives the request as it is then.

        Raises:
            kube.errors.Conflict: the request was changed meanwhile; nothing was written.
            kube.errors.NotFound: it is gone.
        """
        written = await resources.write_status(self._api, REQUESTS, body, status)
        before, after = (on.find(one.conditions, on.READY) for one in (request.status, status))
        if after is not None and (before is None or _says(before) != _says(after)):
            log.info("%s: %s", after.reason, after.message, extra=context_of(request, status))
            bad = status.phase in (Phase.FAILED, Phase.SUPERSEDED) or after.reason in _WARNINGS
            self._tell(
                events.emit(self._api, "RollbackRequest", body["metadata"], after.reason, after.message, warning=bad)
            )
        _measure(status)
        return written

    def _tell(self, telling: Coroutine[Any, Any, None]) -> None:
        """Events are told beside the work, not before it: the effect does not wait for them."""
        task = asyncio.create_task(telling)
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def told(self) -> None:
        """Wait until all Events are recorded."""
        await asyncio.gather(*self._telling, return_exceptions=True)


def context_of(request: Request, status: RequestStatus) -> dict[str, Any]:
    """What a line of the log says beside its words."""
    return {
        "request": f"{request.namespace}/{request.name}",
        "uid": request.uid,
        "target": status.target,
        "phase": status.phase,
    }


def _says(ready: Condition) -> tuple[str, str]:
    """What is worth an Event: another reason, or the next wave of a group."""
    return ready.reason, ready.message if ready.reason == Reason.WAVE_RUNNING else ""


def _measure(status: RequestStatus) -> None:
    if status.phase is None or not status.phase.final or status.finished_at is None or status.started_at is None:
        return
    ready = on.find(status.conditions, on.READY)
    metrics.FINISHED.labels(status.phase, ready.reason if ready else "").inc()
    metrics.TO_END.labels(status.phase).observe((status.finished_at - status.started_at).total_seconds())
