"""Carrying requests out: gather -> decide (`core.life`) -> write the status -> act, until there is nothing to do."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from weakref import WeakValueDictionary

from rollback_operator import metrics, owning
from rollback_operator.api import REQUESTS
from rollback_operator.api.common import Place, TargetRef
from rollback_operator.api.options import Backup, Options
from rollback_operator.api.policy import PolicySpec
from rollback_operator.api.request import Phase, Plan, RequestStatus
from rollback_operator.backups import Backups, given_up
from rollback_operator.configuration.together import Together
from rollback_operator.core import backups
from rollback_operator.core.life import advance
from rollback_operator.core.life.times import deadline, last_moment, over, pause, too_late_to_send, untold
from rollback_operator.core.values import (
    Action,
    Answer,
    Apply,
    Beside,
    Decision,
    Examine,
    Finish,
    Observation,
    Other,
    Question,
    Refused,
    Rehearse,
    Rehearsed,
    Release,
    Request,
    Snapshot,
    Stop,
    Trace,
    current_target,
    resolved_account,
    resolved_options,
)
from rollback_operator.core.verdicts import Streak
from rollback_operator.groups import Groups
from rollback_operator.kube import errors, resources
from rollback_operator.kube.client import Api
from rollback_operator.kube.identity import ServiceAccount
from rollback_operator.kube.resources import Key, Orders
from rollback_operator.memory import Bodies, Interest
from rollback_operator.refusals import reading_refused, refusal, unfinished
from rollback_operator.reporting import Reporter, context_of
from rollback_operator.settings import Settings
from rollback_operator.targets.base import Stoppable, Target, Where

log = logging.getLogger(__name__)
Object = dict[str, Any]


@dataclass
class _Heard:
    """What this process knows of a request beside its status; lost with the process, without harm."""

    answer: Answer | None = None
    answered: int = 0
    kept: int = 0
    stopped: int = 0
    put_back: tuple[str, ...] = ()

    def note_put_back(self, name: str) -> None:
        """An object of the configuration was put back."""
        self.put_back = (*self.put_back, name)


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
        self._settings = settings
        self._wake = wake
        self._streaks = streaks
        self._backups = Backups(api, targets)
        self._groups = Groups(api, lambda asked, ref: self._observe(asked, ref, None))
        self._together = Together(api, targets)
        self._bodies = Bodies()
        self._heard: dict[str, _Heard] = {}
        self._claims: WeakValueDictionary[Place, asyncio.Lock] = WeakValueDictionary()
        self._reporter = Reporter(api)
        self.interest = Interest()

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
        orders = await self._policy(request)
        ref = current_target(request, orders.spec if orders is not None else None)
        async with self._claim(request, ref):
            observation = await self._gather(request, ref, orders)
            decision = await self._decide(request, observation, ref, orders)
            try:
                body = await self._report(body, request, decision)
            except (errors.Conflict, errors.NotFound):
                return await self._afresh(request), None
        if decision.action is not None and ref is not None:
            return body, await self._act(resources.parse_request(body), ref, observation.target, decision.action)
        return body, self._patience(request, decision, ref)

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
            answer = await self._ask(request, ref, orders, observation.target, decision.action)
            observation = replace(observation, answer=answer)

    async def _about_owners(
        self, request: Request, ref: TargetRef, seen: Observation, action: Trace | Release
    ) -> Observation:
        """Read the target's owners, or end what they were suspended for."""
        account = self._where(request, ref, seen.policy).account
        if isinstance(action, Trace):
            return replace(seen, lineage=await owning.trace(self._api, action.owners, account))
        return replace(seen, released=await owning.release(self._api, action.plan, request.uid, account))

    # Gather.

    async def _policy(self, request: Request) -> Orders | None:
        if request.spec.policy_ref is None:
            return None
        return await resources.read_policy(self._api, (request.namespace, request.spec.policy_ref.name))

    async def _gather(self, request: Request, ref: TargetRef | None, orders: Orders | None) -> Observation:
        policy = orders.spec if orders is not None else None
        if ref is None:
            return Observation(policy=policy)
        self.interest.gained((request.namespace, request.name), ref.place(request.namespace))
        heard = self._heard_of(request)
        since = datetime.now(UTC)
        try:
            target, others, beside, _ = await asyncio.gather(
                self._observe(request, ref, orders),
                self._others(request, ref),
                self._beside(request, ref, policy),
                self._foresee(request, ref, policy),
            )
        except errors.Forbidden as error:
            refused = reading_refused(error, ref, self._where(request, ref, policy).account)
            return Observation(policy=policy, answer=refused, unseen=_begun(request))
        return Observation(
            policy,
            target,
            self._together.told_apart(ref.kind, orders, others),
            heard.answer,
            heard.answered,
            self._settings.service_account,
            since,
            heard.kept,
            stopped=heard.stopped,
            argo_cd=self._settings.argo_cd_namespace,
            entries=orders.ledger if orders is not None else (),
            beside=beside.knowing(heard.put_back),
            streaks=self._streaks((request.namespace, request.spec.policy_ref.name)) if request.spec.policy_ref else {},
        )

    async def _observe(self, request: Request, ref: TargetRef, orders: Orders | None) -> Snapshot | None:
        where, plan = self._where(request, ref, orders.spec if orders is not None else None), _plan_of(request)
        if plan is None:
            return await self._together.observe(ref.kind, where, orders)
        return await self._together.observe_planned(ref.kind, where, request.status.phase, plan, request.uid)

    async def _beside(self, request: Request, ref: TargetRef, policy: PolicySpec | None) -> Beside:
        where = self._where(request, ref, policy)
        return await self._together.beside(where, request.status.phase, _plan_of(request), request.uid)

    def _where(self, request: Request, ref: TargetRef, policy: PolicySpec | None) -> Where:
        """The target's place, and the account and options for it: the plan's, once there is one."""
        plan, spec = _plan_of(request), request.spec
        if plan is not None:
            return _by_plan(request, ref, plan)
        account = resolved_account(spec, policy, self._settings.service_account)
        options = resolved_options(spec, policy) or Options()
        return Where(ref.namespace or request.namespace, ref.name, ServiceAccount(request.namespace, account), options)

    async def _others(self, request: Request, ref: TargetRef) -> tuple[Other, ...]:
        if _begun(request):
            return ()
        return await resources.requests_for(self._api, request.namespace, ref, self._settings.namespace or None)

    async def _foresee(self, request: Request, ref: TargetRef, policy: PolicySpec | None) -> None:
        """What will be asked about the copy is asked beside the reading: it costs no time then."""
        if not _begun(request) and backups.wish(request.spec, policy) is not Backup.NEVER:
            await self._backups.foresee(self._where(request, ref, policy).account)

    @asynccontextmanager
    async def _claim(self, request: Request, ref: TargetRef | None) -> AsyncIterator[None]:
        """Within this process, two requests for one target do not look whose turn it is at the same moment."""
        if ref is None or _begun(request):
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

    # Act.

    async def _ask(
        self,
        request: Request,
        ref: TargetRef,
        orders: Orders | None,
        target: Snapshot,
        action: Examine | Rehearse,
    ) -> Answer:
        policy = orders.spec if orders is not None else None
        where = self._where(request, ref, policy)
        if isinstance(action, Examine):
            recalled = await self._together.recall(ref.kind, where, target, orders, action.to)
            wish = backups.wish(request.spec, policy)
            findings, copy = await asyncio.gather(
                self._targets[ref.kind].examine(where, target, action.to),
                self._backups.prepare(request, ref, where, target, wish, beside=recalled.replaced),
            )
            return copy if isinstance(copy, Refused) else recalled.added_to(copy.added_to(findings), target.uid)
        try:
            moved = await owning.suspend(self._api, action.plan, request.uid, where.account, dry_run=True)
            if moved is not None:
                return replace(moved, plan=action.plan)
            await self._together.apply(ref.kind, where, target, action.plan, request.uid, dry_run=True)
        except (errors.Forbidden, errors.Invalid) as error:
            return replace(refusal(error, ref, where.account), plan=action.plan)
        return Rehearsed(action.plan)

    async def _act(self, request: Request, ref: TargetRef, target: Snapshot | None, action: Action) -> float | None:
        """Make the effect, or finish what it left to do. What came of it is seen on the target, by the next round.

        Gives the seconds until that round, if it should not follow at once.
        """
        assert isinstance(action, Apply | Finish | Stop)
        where = _by_plan(request, ref, action.plan)
        if isinstance(action, Finish):
            return await self._finish(request, ref, where, target)
        assert target is not None
        if isinstance(action, Stop):
            return await self._stop(request, ref, where, target)
        kept = not _too_late(request) and await self._keep(request, ref, where, target)
        if not kept or _too_late(request):
            _note_answered(self._heard_of(request), request)
        else:
            await self._apply(request, ref, where, target, action)
        return None

    async def _keep(self, request: Request, ref: TargetRef, where: Where, target: Snapshot) -> bool:
        """Keep the copy that the plan names, unless it was given up; gives whether the effect may follow."""
        (mine,) = request.status.targets
        assert mine.plan is not None
        if mine.restore is None or mine.plan.backup is None:
            return True
        heard = self._heard_of(request)
        try:
            beside = await self._together.replaced(where, mine.plan)
            await self._backups.keep(request, ref, where, target, mine.plan.backup, beside=beside)
        except (errors.Forbidden, errors.Invalid) as error:
            heard.answer = given_up(error, ref, where.account, required=mine.plan.backup.required)
            return False
        except errors.KubeError as error:
            metrics.RETRIES.labels("no answer").inc()
            log.warning("The backup is not kept yet: %s", error, extra=context_of(request, request.status))
            return False
        return True

    async def _apply(self, request: Request, ref: TargetRef, where: Where, target: Snapshot, action: Apply) -> None:
        heard = self._heard_of(request)
        try:
            moved = await owning.suspend(self._api, action.plan, request.uid, where.account)
            heard.answer = moved or heard.answer
            if moved is not None or _too_late(request):
                _note_answered(heard, request)
                return
            await self._together.apply(ref.kind, where, target, action.plan, request.uid, done=heard.note_put_back)
            metrics.TO_EFFECT.observe((datetime.now(UTC) - request.created).total_seconds())
        except errors.Conflict:
            metrics.RETRIES.labels("conflict").inc()
            _note_answered(heard, request)
        except (errors.Forbidden, errors.Invalid) as error:
            heard.answer = refusal(error, ref, where.account)
            _note_answered(heard, request)
        except errors.NotFound:
            _note_answered(heard, request)
        except errors.Unavailable as error:
            not_done = isinstance(error, errors.NotDone)
            if not_done:
                _note_answered(heard, request)
            metrics.RETRIES.labels("no answer").inc()
            what = "Not done, and tried again" if not_done else "No answer, looking at the target"
            log.warning("%s: %s", what, error, extra=context_of(request, request.status))

    async def _finish(self, request: Request, ref: TargetRef, where: Where, target: Snapshot | None) -> float | None:
        heard, plan = self._heard_of(request), _plan_of(request)
        heard.kept += 1
        assert plan is not None
        try:
            await self._together.finish(ref.kind, where, target, plan, request.uid)
        except (errors.Forbidden, errors.Invalid) as error:
            heard.answer = unfinished(error, ref, where.account)
        except errors.KubeError as error:
            conflict = isinstance(error, errors.Conflict)  # as a rule: the controller writes at the same moment
            metrics.RETRIES.labels("conflict" if conflict else "no answer").inc()
            level = logging.DEBUG if conflict else logging.WARNING
            log.log(
                level,
                "What the effect left to do could not be done: %s",
                error,
                extra=context_of(request, request.status),
            )
        else:
            if heard.kept == 1:
                return None
        return pause(heard.kept).total_seconds()

    async def _stop(self, request: Request, ref: TargetRef, where: Where, target: Snapshot) -> float | None:
        """Call the effect off; gives the seconds until the next look, if that did not work at once."""
        heard, module = self._heard_of(request), self._targets[ref.kind]
        heard.stopped += 1
        assert isinstance(module, Stoppable)
        try:
            await module.stop(where, target)
        except errors.KubeError as error:
            log.warning("The effect could not be called off: %s", error, extra=context_of(request, request.status))
            return pause(heard.stopped).total_seconds()
        return None

    def _heard_of(self, request: Request) -> _Heard:
        return self._heard.setdefault(request.uid, _Heard())


def _begun(request: Request) -> bool:
    return request.status.phase in (Phase.RUNNING, Phase.VERIFYING)


def _plan_of(request: Request) -> Plan | None:
    return request.status.targets[0].plan if request.status.targets else None


def _by_plan(request: Request, ref: TargetRef, plan: Plan) -> Where:
    account = ServiceAccount(request.namespace, plan.service_account_name)
    until = deadline(request) if request.status.started_at is not None else None
    (step,) = request.status.targets[0].steps or (None,)
    by = last_moment(step) if step is not None else None
    return Where(ref.namespace or request.namespace, ref.name, account, plan.options or Options(), until, by)


def _note_answered(heard: _Heard, request: Request) -> None:
    """The last attempt is over."""
    (step,) = request.status.targets[0].steps or (None,)
    if step is not None:
        heard.answered = over(heard.answered, step)


def _too_late(request: Request) -> bool:
    (step,) = request.status.targets[0].steps
    return too_late_to_send(step, datetime.now(UTC))
