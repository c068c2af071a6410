"""Reading what a request is decided on: its policy, the target, other requests, and what goes back with it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from rollback_operator.api.common import TargetRef
from rollback_operator.api.options import Backup, Options
from rollback_operator.api.policy import PolicySpec
from rollback_operator.api.request import Phase, Plan
from rollback_operator.backups import Backups
from rollback_operator.configuration.together import Together
from rollback_operator.core import backups
from rollback_operator.core.life.times import deadline, last_moment
from rollback_operator.core.values import (
    Beside,
    Observation,
    Other,
    Request,
    Snapshot,
    resolved_account,
    resolved_options,
)
from rollback_operator.core.verdicts import Streak
from rollback_operator.kube import errors, resources
from rollback_operator.kube.client import Api
from rollback_operator.kube.identity import ServiceAccount
from rollback_operator.kube.resources import Key, Orders
from rollback_operator.refusals import not_seen, reading_refused
from rollback_operator.requests.heard import Heard
from rollback_operator.requests.memory import Interest
from rollback_operator.settings import Settings
from rollback_operator.targets.base import Where


@dataclass(frozen=True, slots=True)
class Reader:
    """`streaks`: how long the triggers of a policy have said what they say; `interest` learns who asks about what."""

    api: Api
    settings: Settings
    together: Together
    backups: Backups
    interest: Interest
    streaks: Callable[[Key], Mapping[str, Streak]]

    async def policy(self, request: Request) -> Orders | None:
        """The policy that it names, as it is now. Once there is a plan, one that cannot be read is as good as none.

        Raises:
            kube.resources.IllegibleError: it cannot be read, and it says what is to be done.
        """
        if request.spec.policy_ref is None:
            return None
        try:
            return await resources.read_policy(self.api, (request.namespace, request.spec.policy_ref.name))
        except resources.IllegibleError:
            if begun(request):
                return None
            raise

    async def gather(self, request: Request, ref: TargetRef | None, orders: Orders | None, heard: Heard) -> Observation:
        """Everything that is decided on.

        Raises:
            kube.errors.KubeError: something could not be read; that the account may not look is an answer.
        """
        policy = orders.spec if orders is not None else None
        if ref is None:
            return Observation(policy=policy)
        self.interest.gained((request.namespace, request.name), ref.place(request.namespace))
        since = datetime.now(UTC)
        try:
            target, others, beside, _ = await asyncio.gather(
                self.observe(request, ref, orders),
                self.others(request, ref),
                self._beside(request, ref, policy),
                self._foresee(request, ref, policy),
            )
        except errors.Forbidden as error:
            account, unseen = self.where(request, ref, policy).account, begun(request)
            refused = not_seen(error, ref, account) if unseen else reading_refused(error, ref, account)
            return Observation(policy=policy, answer=refused, unseen=unseen)
        return Observation(
            policy,
            target,
            self.together.told_apart(ref.kind, orders, others),
            heard.answer,
            heard.answered,
            self.settings.service_account,
            since,
            heard.kept,
            stopped=heard.stopped,
            argo_cd=self.settings.argo_cd_namespace,
            entries=orders.ledger if orders is not None else (),
            beside=beside.knowing(heard.put_back),
            streaks=self.streaks((request.namespace, request.spec.policy_ref.name)) if request.spec.policy_ref else {},
        )

    async def observe(self, request: Request, ref: TargetRef, orders: Orders | None) -> Snapshot | None:
        """The target, as it is decided on."""
        where, plan = self.where(request, ref, orders.spec if orders is not None else None), plan_of(request)
        if plan is None:
            return await self.together.observe(ref.kind, where, orders)
        return await self.together.observe_planned(ref.kind, where, request.status.phase, plan, request.uid)

    async def _beside(self, request: Request, ref: TargetRef, policy: PolicySpec | None) -> Beside:
        where = self.where(request, ref, policy)
        return await self.together.beside(where, request.status.phase, plan_of(request), request.uid)

    def where(self, request: Request, ref: TargetRef, policy: PolicySpec | None) -> Where:
        """The target's place, and the account and options for it: the plan's, once there is one."""
        plan, spec = plan_of(request), request.spec
        if plan is not None:
            return by_plan(request, ref, plan)
        account = resolved_account(spec, policy, self.settings.service_account)
        options = resolved_options(spec, policy) or Options()
        return Where(ref.namespace or request.namespace, ref.name, ServiceAccount(request.namespace, account), options)

    async def others(self, request: Request, ref: TargetRef) -> tuple[Other, ...]:
        """The other requests for the target; none once there is a plan, as nothing depends on them any more."""
        if begun(request):
            return ()
        return await resources.requests_for(self.api, request.namespace, ref, self.settings.namespace or None)

    async def _foresee(self, request: Request, ref: TargetRef, policy: PolicySpec | None) -> None:
        """What will be asked about the copy is asked beside the reading: it costs no time then."""
        if not begun(request) and backups.wish(request.spec, policy) is not Backup.NEVER:
            await self.backups.foresee(self.where(request, ref, policy).account)


def begun(request: Request) -> bool:
    """Whether there is a plan that is being carried out."""
    return request.status.phase in (Phase.RUNNING, Phase.VERIFYING)


def plan_of(request: Request) -> Plan | None:
    """What it is going to do, once that is written."""
    return request.status.targets[0].plan if request.status.targets else None


def by_plan(request: Request, ref: TargetRef, plan: Plan) -> Where:
    """The target's place, account and options as the plan has them, and until when."""
    account = ServiceAccount(request.namespace, plan.service_account_name)
    until = deadline(request) if request.status.started_at is not None else None
    (step,) = request.status.targets[0].steps or (None,)
    by = last_moment(step) if step is not None else None
    return Where(ref.namespace or request.namespace, ref.name, account, plan.options or Options(), until, by)
