"""Carrying requests out: gather -> decide (`core.life`) -> write the status -> act, until there is nothing to do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from weakref import WeakValueDictionary

from rollback_operator import metrics, owning
from rollback_operator.api import REQUESTS
from rollback_operator.api.common import Place, TargetRef
from rollback_operator.api.request import Phase, RequestStatus
from rollback_operator.backups import Backups
from rollback_operator.configuration.together import Together
from rollback_operator.core.life import advance
from rollback_operator.core.life.pending import without_orders
from rollback_operator.core.life.times import untold
from rollback_operator.core.values import (
    Action,
    Apply,
    Decision,
    Finish,
    Observation,
    Question,
    Release,
    Request,
    Snapshot,
    Stop,
    Trace,
    current_target,
)
from rollback_operator.core.verdicts import Streak
from rollback_operator.kube import errors, resources
from rollback_operator.kube.client import Api
from rollback_operator.kube.resources import Key, Orders
from rollback_operator.requests.acting import Actor, Job
from rollback_operator.requests.foresight import Foresight
from rollback_operator.requests.groups import Groups
from rollback_operator.requests.heard import Heard
from rollback_operator.requests.memory import Bodies, Interest
from rollback_operator.requests.reading import Reader, begun, by_plan
from rollback_operator.requests.reporting import Reporter
from rollback_operator.settings import Settings
from rollback_operator.targets.base import Target

Object = dict[str, Any]


class RequestWorker:
    """Works on one request at a time a key; see `work`."""

    def __init__(
        self,
        api: Api,
        targets: Mapping[str, Target],
        settings: Settings,
        wake: Callable[[Key], None],
        streaks: Callable[[Key], Mapping[str, Streak]] = lambda _: {},
    ) -> None:
        self._api = api
        self._targets = targets
        self._wake = wake
        self.interest = Interest()
        together, backups = Together(api, targets), Backups(api, targets)
        self._reader = Reader(api, settings, together, backups, self.interest, streaks)
        self._actor = Actor(api, targets, together, backups)
        self._groups = Groups(api, Foresight(self._reader).of)
        self._reporter = Reporter(api)
        self._bodies = Bodies()
        self._heard: dict[str, Heard] = {}
        self._claims: WeakValueDictionary[Place, asyncio.Lock] = WeakValueDictionary()

    def saw(self, body: Object) -> bool:
        """A watch event or a list brought `body`; gives whether that is news."""
        return self._bodies.learn(body)

    def gone(self, key: Key) -> None:
        """The request was deleted."""
        self._bodies.forget(key)
        self.interest.lost(key)

    async def work(self, key: Key) -> float | None:
        """Bring a request as far as it goes now; gives the seconds until it should be looked at again.

        Raises:
            kube.errors.KubeError: something could not be read or written; nothing is lost, try again later.
        """
        body = self._bodies.fresh(key) or await resources.read(self._api, REQUESTS, key)
        while body is not None:
            request = resources.parse_request(body)
            if request.status.phase is not None and request.status.phase.final:
                self._ended(key, request)
                return None
            one_round = self._one_round if request.spec.targets is None else self._one_round_of_group
            body, again = await one_round(body, request)
            if again is not None:
                return again
        self.gone(key)
        return None

    def _ended(self, key: Key, request: Request) -> None:
        self._heard.pop(request.uid, None)
        self._groups.forget(request.uid)
        self._bodies.ended(key)
        self.interest.lost(key)

    async def _one_round(self, body: Object, request: Request) -> tuple[Object | None, float | None]:
        """One decision, written and acted on; gives the request as it is then and, if it has to wait, for how long."""
        try:
            orders = await self._reader.policy(request)
        except resources.IllegibleError as error:
            return await self._end(body, request, without_orders(request, str(error), datetime.now(UTC))), None
        ref = current_target(request, orders.spec if orders is not None else None)
        async with self._claim(request, ref):
            observation = await self._reader.gather(request, ref, orders, self._heard_of(request))
            decision = await self._decide(request, observation, ref, orders)
            try:
                body = await self._report(body, request, decision)
            except (errors.Conflict, errors.NotFound):
                return await self._afresh(request), None
        if decision.action is not None and ref is not None:
            return body, await self._act(resources.parse_request(body), ref, observation.target, decision.action)
        return body, self._patience(request, decision, ref)

    async def _end(self, body: Object, request: Request, decision: Decision) -> Object | None:
        """Write how it ends, if nobody changed it meanwhile; gives the request as it is then."""
        try:
            return await self._report(body, request, decision)
        except (errors.Conflict, errors.NotFound):
            return await self._afresh(request)

    def _patience(self, request: Request, decision: Decision, ref: TargetRef | None) -> float | None:
        """The seconds until the next look. Of some kinds no event tells how a rollback of them fares."""
        if decision.again is None:
            return None
        again = decision.again
        if ref is not None and self._targets[ref.kind].watched is None and decision.status.phase is Phase.VERIFYING:
            again = min(again, untold(replace(request, status=decision.status), datetime.now(UTC)))
        return again.total_seconds()

    async def _one_round_of_group(self, body: Object, request: Request) -> tuple[Object | None, float | None]:
        """The same for a group, whose targets are rolled back by requests of their own."""
        decision = await self._groups.decide(request)
        try:
            body = await self._report(body, request, Decision(decision.status))
        except (errors.Conflict, errors.NotFound):
            return await self._afresh(request), None
        await self._groups.act(resources.parse_request(body), decision)
        return body, decision.again.total_seconds() if decision.again is not None else None

    async def _afresh(self, request: Request) -> Object | None:
        """The request as it is now: it was changed while it was decided on."""
        metrics.RETRIES.labels("conflict").inc()
        self._bodies.forget((request.namespace, request.name))
        return await resources.read(self._api, REQUESTS, (request.namespace, request.name))

    async def _decide(
        self, request: Request, observation: Observation, ref: TargetRef | None, orders: Orders | None
    ) -> Decision:
        """Decide; questions that change nothing are asked and decided on at once, on the same observation."""
        while True:
            decision = advance(request, observation, datetime.now(UTC))
            if ref is None or not isinstance(decision.action, Question):
                return decision
            if isinstance(decision.action, Trace | Release):
                observation = await self._about_owners(request, ref, observation, decision.action)
                continue
            if observation.target is None:
                return decision
            where = self._reader.where(request, ref, observation.policy)
            job = Job(request, ref, where, self._heard_of(request))
            answer = await self._actor.ask(job, orders, observation.target, decision.action)
            observation = replace(observation, answer=answer)

    async def _about_owners(
        self, request: Request, ref: TargetRef, seen: Observation, action: Trace | Release
    ) -> Observation:
        """Read the target's owners, or end what they were suspended for."""
        account = self._reader.where(request, ref, seen.policy).account
        if isinstance(action, Trace):
            return replace(seen, lineage=await owning.trace(self._api, action.owners, account))
        self._heard_of(request).suspends = 0
        return replace(seen, released=await owning.release(self._api, action.plan, request.uid, account))

    async def _act(self, request: Request, ref: TargetRef, target: Snapshot | None, action: Action) -> float | None:
        """Act, and give the seconds until the next round, if it should not follow at once."""
        assert isinstance(action, Apply | Finish | Stop)
        job = Job(request, ref, by_plan(request, ref, action.plan), self._heard_of(request))
        return await self._actor.act(job, target, action)

    @asynccontextmanager
    async def _claim(self, request: Request, ref: TargetRef | None) -> AsyncIterator[None]:
        """Within this process, two requests for one target do not look whose turn it is at the same moment."""
        if ref is None or begun(request):
            yield
            return
        lock = self._claims.setdefault(ref.place(request.namespace), asyncio.Lock())
        async with lock:
            yield

    # Report.

    async def _report(self, body: Object, request: Request, decision: Decision) -> Object:
        """Write the status if it changed, and tell of the transition."""
        if decision.status == request.status:
            return body
        written = await self._reporter.report(body, request, decision.status)
        self._bodies.learn(written)
        if decision.status.phase is not None and decision.status.phase.final:
            self._wake_others(request, decision.status)
        return written

    async def told(self) -> None:
        """Wait until all Events are recorded (before the process ends)."""
        await self._reporter.told()

    def _wake_others(self, request: Request, status: RequestStatus) -> None:
        """Requests that waited for this one's target may go on."""
        if status.target is None or "/" not in status.target:
            return  # it never was about one target
        for key in self.interest.of(TargetRef.of(status.target).place(request.namespace)):
            if key != (request.namespace, request.name):
                self._wake(key)

    def _heard_of(self, request: Request) -> Heard:
        return self._heard.setdefault(request.uid, Heard())
