"""What can be rolled back: one module per kind, behind the protocol in `base`.

A new kind is one new module and one line in `BY_KIND`.
"""

from __future__ import annotations

from collections.abc import Mapping

from rollback_operator.kube.client import Api
from rollback_operator.targets.base import Target
from rollback_operator.targets.deployment import DeploymentTarget


def by_kind(api: Api) -> Mapping[str, Target]:
    """Every kind of target, ready to use."""
    return {target.kind: target for target in (DeploymentTarget(api),)}
