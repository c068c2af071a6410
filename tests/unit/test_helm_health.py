"""Which workloads a release runs, as far as the operator looks at them."""

from __future__ import annotations

from typing import Any, cast

import pytest

from rollback_operator.kube.identity import ServiceAccount
from rollback_operator.targets.base import Target, Where
from rollback_operator.targets.helm.health import Workloads
from rollback_operator.targets.helm.manifest import Name

HERE = Where("shop", "web", ServiceAccount("shop", "rollback"))
NAMES: dict[str, tuple[Name, list[str]]] = {
    "its own": (Name("apps", "Deployment", "", "web"), ["web"]),
    "its own, with the namespace": (Name("apps", "Deployment", "shop", "web"), ["web"]),
    "in another namespace": (Name("apps", "Deployment", "bank", "web"), []),
    "in another namespace, by its name": (Name("apps", "Deployment", "", "../../bank/deployments/web"), []),
    "without a name": (Name("apps", "Deployment", "", ""), []),
    "of another group": (Name("example.com", "Deployment", "", "web"), []),
    "of another kind": (Name("", "ConfigMap", "", "web"), []),
}


@pytest.mark.parametrize("which", NAMES)
def test_only_workloads_of_the_releases_own_namespace_are_looked_at(which: str) -> None:
    """The operator looks with its own rights, which reach into all namespaces."""
    name, looked_at = NAMES[which]
    workloads = Workloads({"Deployment": cast("Target", cast("Any", object()))})

    assert [at.name for _, at in workloads.of(HERE, [name])] == looked_at
