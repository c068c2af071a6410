"""What can be rolled back: one module per kind, behind the protocol in `base`.

A new kind is one new module and one line in `BY_KIND`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rollback_operator.api.common import TargetRef
from rollback_operator.kube.client import Api
from rollback_operator.kube.identity import ServiceAccount
from rollback_operator.settings import HELM
from rollback_operator.targets.application import ApplicationTarget
from rollback_operator.targets.base import Target, Where
from rollback_operator.targets.daemonset import DaemonSetTarget
from rollback_operator.targets.deployment import DeploymentTarget
from rollback_operator.targets.helm import HelmTarget
from rollback_operator.targets.statefulset import StatefulSetTarget


def by_kind(api: Api, helm: str = HELM) -> Mapping[str, Target]:
    """Every kind of target, ready to use."""
    workloads = _named(DeploymentTarget(api), StatefulSetTarget(api), DaemonSetTarget(api))
    return {**workloads, **_named(HelmTarget(api, helm, workloads), ApplicationTarget(api))}


def _named(*targets: Target) -> dict[str, Target]:
    return {target.kind: target for target in targets}


class Workloads:
    """What signals may know of the targets (`signals.base.Workloads`)."""

    def __init__(self, targets: Mapping[str, Target]) -> None:
        self._targets = targets

    async def pods(self, namespace: str, ref: TargetRef, service_account: str) -> Sequence[dict[str, Any]]:
        """The pods of the target's current revision."""
        return await self._targets[ref.kind].pods(_where(namespace, ref, service_account))

    async def stuck(self, namespace: str, ref: TargetRef, service_account: str) -> str | None:
        """Why the target's rollout makes no progress; None if it does."""
        return await self._targets[ref.kind].stuck(_where(namespace, ref, service_account))


def _where(namespace: str, ref: TargetRef, service_account: str) -> Where:
    return Where(ref.namespace or namespace, ref.name, ServiceAccount(namespace, service_account))
