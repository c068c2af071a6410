"""How a release does: its workloads, each as its own kind of target sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from rollback_operator.api.request import Phase
from rollback_operator.core.values import Health, Wellbeing
from rollback_operator.kube import errors
from rollback_operator.kube.identity import is_name
from rollback_operator.targets.base import Target, Where
from rollback_operator.targets.helm.manifest import Name

MOST = 5
"""Workloads that a sentence names."""

Object = dict[str, Any]
Workload = tuple[Target, Where]


class Workloads:
    """What a release runs, in its own namespace: the operator may look at workloads, but not wherever a chart says."""

    def __init__(self, kinds: Mapping[str, Target]) -> None:
        self._kinds = kinds

    def of(self, where: Where, names: Iterable[Name]) -> list[Workload]:
        """Those of `names` that are workloads of a kind that is known here; a record may say anything to be a name."""
        here = [name for name in names if name.namespace in ("", where.namespace) and is_name(name.name)]
        return [
            (self._kinds[name.kind], replace(where, name=name.name))
            for name in here
            if name.kind in self._kinds and name.group == "apps"
        ]

    async def health(self, where: Where, names: Iterable[Name]) -> Health:
        """The worst of them, with what each says; healthy if there is none.

        Raises:
            kube.errors.KubeError: one of them could not be read.
        """
        workloads = self.of(where, names)
        seen = await asyncio.gather(*(self._one(target, at) for target, at in workloads))
        if not seen:
            return Health(Wellbeing.HEALTHY, "Helm has deployed it, and it has no workloads that could be looked at")
        for state in (Wellbeing.FAILING, Wellbeing.PROGRESSING):
            found = [f"{what}: {health.message}" for what, health in seen if health.state is state]
            if found:
                more = [f"and {len(found) - MOST} more"] if len(found) > MOST else []
                return Health(state, "; ".join([*found[:MOST], *more]))
        return Health(Wellbeing.HEALTHY, "; ".join(f"{what}: {health.message}" for what, health in seen[:MOST]))

    async def _one(self, target: Target, where: Where) -> tuple[str, Health]:
        snapshot = await target.observe(where, Phase.VERIFYING, None)
        what = f"{target.kind}/{where.name}"
        if snapshot is None:
            return what, Health(Wellbeing.PROGRESSING, "it is not there")
        return what, snapshot.health

    async def pods(self, where: Where, names: Iterable[Name]) -> list[Object]:
        """The pods of all of them."""
        found = await asyncio.gather(*(target.pods(at) for target, at in self.of(where, names)))
        return [pod for one in found for pod in one]

    async def stuck(self, where: Where, names: Iterable[Name]) -> str | None:
        """Why one of them makes no progress."""
        for target, at in self.of(where, names):
            try:
                why = await target.stuck(at)
            except errors.NotFound:
                continue
            if why is not None:
                return f"{target.kind}/{at.name}: {why}"
        return None
