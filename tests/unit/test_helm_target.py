"""How a release does, in Helm's words."""

from __future__ import annotations

from typing import Any

from rollback_operator.core.values import Wellbeing
from rollback_operator.kube.identity import ServiceAccount
from rollback_operator.targets.base import Where
from rollback_operator.targets.helm.standing import standing_of
from rollback_operator.targets.helm.target import HelmTarget
from tests.unit.test_helm_rollback import NOW, PATIENCE, record

NOTHING: Any = None


async def test_what_helm_wrote_down_of_a_failure_is_told_without_values() -> None:
    """Helm writes the API server's words into its record, and that quotes what it was given."""
    said = (
        'Rollback "shop" failed: Job.batch "x" is invalid: spec.template: Invalid value: {"env":[{"value":"s3same"}]}'
    )
    standing = standing_of((record(1), record(2, "failed", description=said)), NOW, PATIENCE)
    target = HelmTarget(NOTHING, "helm", {})

    health = await target._health(Where("shop", "shop", ServiceAccount("shop", "rollback")), standing)

    assert (health.state, health.final) == (Wellbeing.FAILING, True)
    assert health.message.startswith('Helm says: Rollback "shop" failed: Job.batch "x" is invalid: spec.template: ')
    assert "s3same" not in health.message
