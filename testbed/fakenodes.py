"""Nodes and pods that exist in the API only, kept alive by kwok."""

from pathlib import Path
from typing import Any

from testbed.binaries import Binaries
from testbed.modules import MODULES

_LABEL = {"type": "kwok"}


def kwok(binaries: Binaries, kubeconfig: Path) -> list[str | Path]:
    """The command line; it manages labelled nodes only, so that a real one may stand beside them."""
    module = MODULES["kwok"]
    stages = [binaries.asset(module, Path(asset).name) for asset in module.assets]
    return [
        binaries.path("kwok"),
        f"--kubeconfig={kubeconfig}",
        "--manage-all-nodes=false",
        f"--manage-nodes-with-label-selector={'='.join(*_LABEL.items())}",
        "--node-lease-duration-seconds=40",
        *(f"--config={stage}" for stage in stages),
    ]


def node(name: str, pods: int, *, beside_real: bool) -> dict[str, Any]:
    """A node for `pods` pods; beside a real one it is tainted, so that only those who tolerate it land there."""
    taint = [{"key": "kwok.x-k8s.io/node", "value": "fake", "effect": "NoSchedule"}]
    size = {"cpu": "1000", "memory": "4Ti", "ephemeral-storage": "4Ti", "pods": str(pods)}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {**_LABEL, "kubernetes.io/hostname": name, "kubernetes.io/os": "linux"},
            "annotations": {"kwok.x-k8s.io/node": "fake", "node.alpha.kubernetes.io/ttl": "0"},
        },
        "spec": {"taints": taint} if beside_real else {},
        "status": {"allocatable": size, "capacity": size},
    }
