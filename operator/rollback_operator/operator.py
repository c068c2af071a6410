"""The operator as a whole: its workers, its agenda, its heartbeat. Kopf brings the events (`handlers`)."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine, Hashable
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from rollback_operator import metrics
from rollback_operator.agenda import Agenda
from rollback_operator.api import POLICIES, REQUESTS
from rollback_operator.api.common import Place
from rollback_operator.api.request import FINAL
from rollback_operator.gitobjects import GitObjects
from rollback_operator.holds.applications import HoldWorker
from rollback_operator.holds.suspensions import SuspensionWorker
from rollback_operator.kube import errors, resources
from rollback_operator.kube.client import Api
from rollback_operator.kube.resources import Key
from rollback_operator.policies.worker import PolicyWorker
from rollback_operator.requests.worker import RequestWorker
from rollback_operator.settings import Settings
from rollback_operator.signals import Signals
from rollback_operator.targets import Workloads, by_kind
from rollback_operator.targets.application import ApplicationTarget
from rollback_operator.targets.base import Target

log = logging.getLogger(__name__)

UNFINISHED = ",".join(f"status.phase!={phase}" for phase in sorted(FINAL))
TOO_LATE = 60.0
"""Seconds that the agenda may be behind before the operator counts as stuck."""
UNNOTICED = 5.0
"""Seconds after which a request must have been told of by the watch."""
AFTER_AN_END = 1.0
"""Seconds after the end of a policy's request that the policy looks at it: several may end together."""
ON_ITS_WAY = 0.5
"""Seconds after a change of a group's request, which has not ended, that the group looks at it."""
MISSES = 3
"""Resyncs in a row that found what the watch missed before the watch counts as dead."""

Work = tuple[str, str, str]
"""Plural, namespace and name."""
_WORK = {REQUESTS: "request", POLICIES: "policy"}


class RollbackOperator:
    """What events are turned into: keys on an agenda, and workers for them."""

    def __init__(self, api: Api, settings: Settings) -> None:
        self._api = api
        self._settings = settings
        self.targets = by_kind(api, settings.helm)
        self.signals = Signals(api, Workloads(self.targets), settings, self._alerted)
        self._policies = PolicyWorker(
            api, self.targets, self.signals.by_source, settings, self._wake_policy, tell=self._wake_requests_of
        )
        self._requests = RequestWorker(api, self.targets, settings, self._wake_request, self._policies.watching.streaks)
        objects = GitObjects(settings.git_protocols.split(","), self.signals.addresses)
        self._holds = self._hold_worker(objects)
        self._suspensions = SuspensionWorker(api, objects, settings, self._wake_suspension)
        self.agenda = Agenda(self._work_on_request, settings.workers, self._failed)
        self.holding = Agenda(self._work_on_hold, settings.workers, self._failed)
        self.orders = Agenda(
            self._work_on_policy,
            settings.evaluations,
            self._failed,
            whose=_namespace_of,
            share=max(1, settings.evaluations // 2),
        )
        self._beat = time.monotonic()
        self._misses = 0
        self.watch_is_dead = asyncio.Event()
        """Set when a resync found what the watch should have told of."""

    def _hold_worker(self, objects: GitObjects) -> HoldWorker:
        """Looks after what rollbacks hold."""
        application = self.targets[ApplicationTarget.kind]
        assert isinstance(application, ApplicationTarget)
        return HoldWorker(self._api, application, objects, self._settings, self._wake_hold)

    # Events.

    def request_changed(self, body: dict[str, Any], *, deleted: bool) -> None:
        """The watch says that a request is there, changed, or gone."""
        metrics.note_event(REQUESTS)
        key = resources.key_of(body)
        self._request_of_group(body, deleted=deleted)
        if deleted:
            metrics.PHASES.gone(key)
            self._requests.gone(key)
            self._holds.request_gone(body)
            self._suspensions.gone(key)
            self.agenda.forget((REQUESTS, *key))
            return
        self._holds.request_changed(body)
        self._suspensions.request_changed(body)
        phase = (body.get("status") or {}).get("phase")
        metrics.PHASES.saw(key, phase)
        if phase not in FINAL and self._requests.saw(body):
            self._wake_request(key)
        if body["spec"].get("policyRef"):
            self._request_of_policy((key[0], body["spec"]["policyRef"]["name"]), ended=phase in FINAL)

    def _request_of_group(self, body: dict[str, Any], *, deleted: bool) -> None:
        """A group that has not ended waits for the ends of its requests; how they come to it is no hurry."""
        group = resources.group_of(body)
        if group is not None and self.agenda.knows((REQUESTS, *group)):
            ended = deleted or (body.get("status") or {}).get("phase") in FINAL
            self.agenda.wake((REQUESTS, *group), 0.0 if ended else ON_ITS_WAY)

    def _request_of_policy(self, policy: Key, *, ended: bool) -> None:
        self._policies.request_changed(policy)
        if ended:
            self._wake_policy(policy, AFTER_AN_END)

    def policy_changed(self, body: dict[str, Any], *, deleted: bool) -> None:
        """The watch says that a policy is there, changed, or gone."""
        metrics.note_event(POLICIES)
        key = resources.key_of(body)
        if deleted:
            self._policies.gone(key)
            self._holds.gone(POLICIES, key)
            self.orders.forget((POLICIES, *key))
            return
        self._holds.policy_changed(body)
        if self._policies.saw(body):
            self._wake_policy(key)

    def target_changed(self, target: Target, body: dict[str, Any], *, deleted: bool) -> None:
        """The watch says that something happened to an object that may be a target."""
        place = (target.kind, *resources.key_of(body))
        told = None if deleted else target.told(body)
        for key in self._requests.interest.news(place, told):
            self._wake_request(key)
        self._policies.target_changed(place, None if deleted else target.version(body))

    def _wake_hold(self, place: Place) -> None:
        self.holding.wake(place)

    def _wake_suspension(self, key: Key) -> None:
        self.holding.wake((REQUESTS, *key))

    def _wake_request(self, key: Key) -> None:
        self.agenda.wake((REQUESTS, *key))

    def _wake_requests_of(self, place: Place) -> None:
        for key in self._requests.interest.of(place):
            self._wake_request(key)

    def _wake_policy(self, key: Key, after: float = 0.0) -> None:
        self.orders.wake((POLICIES, *key), after)

    def _alerted(self, namespace: str, policy: str) -> None:
        self._policies.alerted((namespace, policy))

    # Work.

    async def _work_on_request(self, key: Hashable) -> float | None:
        _, namespace, name = cast("Work", key)
        return await self._requests.work((namespace, name))

    async def _work_on_policy(self, key: Hashable) -> float | None:
        _, namespace, name = cast("Work", key)
        return await self._policies.work((namespace, name))

    async def _work_on_hold(self, key: Hashable) -> float | None:
        what, namespace, name = cast("Work", key)
        if what == REQUESTS:
            return await self._suspensions.work((namespace, name))
        return await self._holds.work((what, namespace, name))

    def _failed(self, key: Hashable, error: BaseException) -> None:
        what, namespace, name = cast("Work", key)
        context = {_WORK.get(what, "target"): f"{namespace}/{name}"}
        expected = isinstance(error, errors.KubeError)
        metrics.RETRIES.labels("API server" if expected else "defect").inc()
        log.warning("Trying again later: %s", error, extra=context, exc_info=None if expected else error)

    async def run(self) -> None:
        """Work until cancelled; then let the Events that are under way be recorded."""
        tasks = [asyncio.create_task(coroutine) for coroutine in self._everything()]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._requests.told()
            await self.signals.close()

    def _everything(self) -> tuple[Coroutine[Any, Any, None], ...]:
        agendas = (self.agenda, self.orders, self.holding)
        return *(agenda.run() for agenda in agendas), self._resync(), self._heartbeat(), self.signals.run()

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
        lateness = max(self.agenda.lateness(), self.orders.lateness())
        if lateness > TOO_LATE:
            return f"work is overdue by {lateness:.0f} seconds"
        if self._misses >= MISSES:
            return "the watch misses requests"
        return None


def _namespace_of(key: Hashable) -> Hashable:
    _, namespace, _ = cast("Work", key)
    return namespace
