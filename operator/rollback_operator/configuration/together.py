"""A target together with its configuration: what a request sees of both, and how it changes both.

Kinds of targets know pod templates only. Here revisions get the fingerprints of both together, and lose them again
where a kind is asked; and what is remembered is put back before the kind makes its effect.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from rollback_operator.api.request import Phase, Plan
from rollback_operator.configuration.identity import identified, template_of, told_apart
from rollback_operator.configuration.memory import Memory, Whose
from rollback_operator.configuration.recall import Recall, Recalled, nothing_put_back
from rollback_operator.configuration.restoring import Restorer
from rollback_operator.core.values import Beside, Other, Revision, Snapshot
from rollback_operator.kube.client import Api
from rollback_operator.kube.identity import ServiceAccount
from rollback_operator.kube.resources import Orders
from rollback_operator.targets.base import Configured, Target, Where, in_time

Object = dict[str, Any]


class Together:
    """Sees and changes targets and their configuration; see `Target` for what is raised."""

    def __init__(self, api: Api, targets: Mapping[str, Target]) -> None:
        self._targets = targets
        self._memory = Memory(api)
        self._recall = Recall(api)
        self._restorer = Restorer(api)

    async def observe(self, kind: str, where: Where, orders: Orders | None) -> Snapshot | None:
        """The target before there is a plan, its revisions told apart as its policy does."""
        module = self._targets[kind]
        target = await module.observe(where, None, None)
        whose = _whose(orders, where.account)
        if target is None or orders is None or whose is None or not _counts(module, orders):
            return target
        config = None
        if isinstance(module, Configured):
            config = await self._memory.now(whose, module.refers_to(target), orders.remembered)
        return identified(target, orders.remembered, config, datetime.now(UTC))

    def told_apart(self, kind: str, orders: Orders | None, others: tuple[Other, ...]) -> tuple[Other, ...]:
        """Other requests for the target, their revisions told apart as its policy does."""
        if orders is None or not _counts(self._targets[kind], orders):
            return others
        return tuple(told_apart(one, orders.remembered) for one in others)

    async def observe_planned(
        self, kind: str, where: Where, phase: Phase | None, plan: Plan, key: str
    ) -> Snapshot | None:
        """The target of a plan, its revisions told apart as the plan does."""
        target = await self._targets[kind].observe(where, phase, of_templates(plan))
        made = phase is Phase.VERIFYING or (target is not None and key in target.marks)
        return None if target is None else as_planned(target, plan, made=made)

    async def beside(self, where: Where, phase: Phase | None, plan: Plan | None, key: str) -> Beside:
        """How far the configuration of a plan is."""
        if plan is None or plan.configuration is None:
            return Beside()
        made = phase is Phase.VERIFYING
        return await self._restorer.look(where.account, plan.configuration, key, made=made)

    async def recall(self, kind: str, where: Where, target: Snapshot, orders: Orders | None, to: Revision) -> Recalled:
        """What of the configuration goes back with a revision; nothing with the one that stands."""
        whose = _whose(orders, where.account)
        if orders is None or whose is None or to.fingerprint == target.current.fingerprint:
            return Recalled()
        module = self._targets[kind]
        needed = module.refers_to(target, to) if isinstance(module, Configured) else ()
        recalled = await self._recall.look(whose, orders.remembered, to, needed, restores=_restores(module))
        same_template = template_of(to.fingerprint) == template_of(target.current.fingerprint)
        if same_template and recalled.restoration is None:
            return replace(recalled, obstacle=nothing_put_back(to))
        return recalled

    async def replaced(self, where: Where, plan: Plan) -> list[Object]:
        """What is there of the configuration that a plan puts back, for the copy."""
        return [] if plan.configuration is None else await self._restorer.live(where.account, plan.configuration)

    async def apply(
        self,
        kind: str,
        where: Where,
        target: Snapshot,
        plan: Plan,
        key: str,
        *,
        dry_run: bool = False,
        done: Callable[[str], None] | None = None,
    ) -> None:
        """Put configuration back, then make the effect on the target.

        `done` is told of each object that was put back.

        Raises:
            kube.errors.Conflict, Forbidden, Invalid, NotFound: the one that was tried last was not done; what was put
                back before it stays.
            kube.errors.NotDone: the same; there is no time left in this attempt.
            kube.errors.Unavailable: no answer to the one that was tried last.
        """
        if plan.configuration is not None:
            await self._restorer.put_back(where, plan.configuration, key, dry_run=dry_run, done=done)
            in_time(where)
        await self._targets[kind].apply(where, target, of_templates(plan), key, dry_run=dry_run)

    async def finish(self, kind: str, where: Where, target: Snapshot | None, plan: Plan, key: str) -> None:
        """Do what is left to do after the effect, on the target and beside it. Done twice it does no harm."""
        if target is not None and target.unfinished:
            await self._targets[kind].finish(where, target)
        if plan.configuration is not None:
            await self._restorer.give_back(where.account, plan.configuration, key)


def of_templates(plan: Plan) -> Plan:
    """The plan as a kind of target knows it: its revisions are pod templates."""
    refs = {
        name: ref.model_copy(update={"fingerprint": template_of(ref.fingerprint)})
        for name, ref in (("from_", plan.from_), ("to", plan.to))
    }
    return plan.model_copy(update=refs)


def as_planned(target: Snapshot, plan: Plan, *, made: bool) -> Snapshot:
    """The target with the fingerprints that the plan gives its two revisions, which may have one pod template.

    `made`: the effect was seen, so what stands is the one that was gone back to.
    """
    here = (plan.to, plan.from_) if made else (plan.expects, plan.from_, plan.to)

    def told(revision: Revision, *refs: Any) -> Revision:
        fitting = (one.fingerprint for one in refs if template_of(one.fingerprint) == revision.fingerprint)
        return replace(revision, fingerprint=next(fitting, revision.fingerprint))

    history = tuple(told(one, plan.to, plan.from_) for one in target.history)
    return replace(target, current=told(target.current, *here), history=history)


def _counts(module: Target, orders: Orders) -> bool:
    """Whether configuration is part of what a revision is."""
    return orders.spec.remember is not None and orders.spec.remember.config and _restores(module)


def _restores(module: Target) -> bool:
    """Whether configuration goes back with targets of that kind: if their pods refer to it."""
    return isinstance(module, Configured)


def _whose(orders: Orders | None, account: ServiceAccount) -> Whose | None:
    if orders is None or orders.spec.remember is None:
        return None
    return Whose(orders.name, orders.uid, account, orders.spec.remember)
