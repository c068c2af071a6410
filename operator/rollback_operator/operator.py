"""The operator as a whole: its workers, its agenda, its heartbeat. Kopf brings the events (`handlers`)."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Hashable
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from rollback_operator import metrics
from rollback_operator.agenda import Agenda
from rollback_operator.api import POLICIES, REQUESTS
from rollback_operator.api.request import FINAL
from rollback_operator.kube import errors, resources
from rollback_operator.kube.client import Api
from rollback_operator.kube.resources import Key
from rollback_operator.policies import PolicyWorker
from rollback_operator.requests import RequestWorker
from rollback_operator.settings import Settings
from rollback_operator.targets import by_kind
from rollback_operator.targets.base import Target

log = logging.getLogger(__name__)

UNFINISHED = ",".join(f"status.phase!={phase}" for phase in sorted(FINAL))
TOO_LATE = 60.0
"""Seconds that the agenda may be behind before the operator counts as stuck."""
UNNOTICED = 5.0
"""Seconds after which a request must have been told of by the watch."""
MISSES = 3
"""Resyncs in a row that found what the watch missed before the watch counts as dead."""

Work = tuple[str, str, str]
"""Plural, namespace and name."""


class RollbackOperator:
    """What events are turned into: keys on an agenda, and workers for them."""

    def __init__(self, api: Api, settings: Settings) -> None:
        self._api = api
        self._settings = settings
        self.targets = by_kind(api)
        self._requests = RequestWorker(api, self.targets, settings, lambda key: self.agenda.wake((REQUESTS, *key)))
        self._policies = PolicyWorker(api)
        self.agenda = Agenda(self._work, settings.workers, self._failed)
        self._beat = time.monotonic()
        self._misses = 0
        self.watch_is_dead = asyncio.Event()
        """Set when a resync found what the watch should have told of."""

    # Events.

    def request_changed(self, body: dict[str, Any], *, deleted: bool) -> None:
        """The watch says that a request is there, changed, or gone."""
        metrics.note_event(REQUESTS)
        key = resources.key_of(body)
        if deleted:
            metrics.PHASES.gone(key)
            self._requests.gone(key)
            self.agenda.forget((REQUESTS, *key))
            return
        phase = (body.get("status") or {}).get("phase")
        metrics.PHASES.saw(key, phase)
        if phase not in FINAL:
            if self._requests.saw(body):
                self.agenda.wake((REQUESTS, *key))
        elif body["spec"].get("policyRef"):
            self.agenda.wake((POLICIES, key[0], body["spec"]["policyRef"]["name"]), 1.0)

    def policy_changed(self, body: dict[str, Any], *, deleted: bool) -> None:
        """The watch says that a policy is there, changed, or gone."""
        metrics.note_event(POLICIES)
        if not deleted:
            self.agenda.wake((POLICIES, *resources.key_of(body)))

    def target_changed(self, target: Target, body: dict[str, Any], *, deleted: bool) -> None:
        """The watch says that something happened to an object that may be a target."""
        metrics.note_event(target.watched.plural)
        told = None if deleted else target.told(body)
        for key in self._requests.interest.news((target.kind, *resources.key_of(body)), told):
            self.agenda.wake((REQUESTS, *key))

    # Work.

    async def _work(self, key: Hashable) -> float | None:
        plural, namespace, name = cast("Work", key)
        if plural == REQUESTS:
            return await self._requests.work((namespace, name))
        return await self._policies.work((namespace, name))

    def _failed(self, key: Hashable, error: BaseException) -> None:
        plural, namespace, name = cast("Work", key)
        context = {"request" if plural == REQUESTS else "policy": f"{namespace}/{name}"}
        expected = isinstance(error, errors.KubeError)
        metrics.RETRIES.labels("API server" if expected else "defect").inc()
        log.warning("Trying again later: %s", error, extra=context, exc_info=None if expected else error)

    async def run(self) -> None:
        """Work until cancelled; then let the Events that are under way be recorded."""
        tasks = [asyncio.create_task(coroutine) for coroutine in (self.agenda.run(), self._resync(), self._heartbeat())]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._requests.told()

    async def _resync(self) -> None:
        """Find unfinished requests that no event told of: the net below the watch."""
        while True:
            await asyncio.sleep(self._settings.resync)
            try:
                missed = [key for key in await self._unnoticed() if await self._still_unnoticed(key)]
            except errors.KubeError as error:
                log.warning("Unfinished requests could not be listed: %s", error)
                continue
            for key in missed:
                log.warning("No watch event told of this request", extra={"request": "/".join(key)})
                metrics.WATCH_MISSED.inc()
                self.agenda.wake((REQUESTS, *key))
            self._misses = self._misses + 1 if missed else 0
            if missed:
                self.watch_is_dead.set()

    async def _unnoticed(self) -> list[Key]:
        """Unfinished requests, made a while ago, that are not on the agenda."""
        before = datetime.now(UTC) - timedelta(seconds=UNNOTICED)
        bodies = await resources.list_all(self._api, REQUESTS, self._settings.namespace or None, UNFINISHED)
        old = [body for body in bodies if datetime.fromisoformat(body["metadata"]["creationTimestamp"]) < before]
        return [key for key in map(resources.key_of, old) if not self.agenda.knows((REQUESTS, *key))]

    async def _still_unnoticed(self, key: Key) -> bool:
        """Whether the request is unfinished now: it may have ended while it was being listed."""
        body = await resources.read(self._api, REQUESTS, key)
        phase = (body or {}).get("status", {}).get("phase")
        return body is not None and phase not in FINAL and not self.agenda.knows((REQUESTS, *key))

    async def _heartbeat(self) -> None:
        while True:
            self._beat = time.monotonic()
            await asyncio.sleep(1)

    # Health.

    def stuck(self) -> str | None:
        """Why the operator makes no progress, for the liveness probe; None if it does."""
        if time.monotonic() - self._beat > TOO_LATE:
            return "the event loop stands still"
        if self.agenda.lateness() > TOO_LATE:
            return f"work is overdue by {self.agenda.lateness():.0f} seconds"
        if self._misses >= MISSES:
            return "the watch misses requests"
        return None
