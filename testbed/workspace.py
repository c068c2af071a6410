"""The one cluster of a work tree, in `.testbed/`: what `make cluster` brings up and `make down` takes away."""

import os
import shutil
from pathlib import Path
from typing import Literal

from testbed import kind, realnode, starting
from testbed.cluster import Cluster
from testbed.errors import TestbedError
from testbed.kind import KindCluster
from testbed.processes import Roster
from testbed.realnode import RealNode

Wanted = Literal["best", "fake", "real", "kind"]

FOLDER = Path(__file__).parents[1] / ".testbed"
_CLUSTER = FOLDER / "cluster"
_LINKED = ("kubectl", "helm")


def best() -> Literal["fake", "real", "kind"]:
    """The kind of nodes that does most of what this machine and user can have."""
    if kind.engine_runs():
        return "kind"
    return "real" if realnode.what_is_missing() is None else "fake"


def current() -> Cluster | KindCluster | None:
    """The cluster that runs now, whole and answering."""
    return Cluster.attach(_CLUSTER) or KindCluster.attach(_CLUSTER)


def up(wanted: Wanted) -> Cluster | KindCluster:
    """Have a cluster with such nodes, and links to its kubeconfig and programs.

    Raises:
        TestbedError: when it cannot be started, or one with other nodes runs.
    """
    running = current()
    if running is not None and wanted in {"best", running.nodes}:
        return running
    if running is not None:
        raise TestbedError(f"A cluster with {running.nodes} nodes runs here: `make down` first.")
    down()
    nodes = best() if wanted == "best" else wanted
    cluster = (
        KindCluster.start(_CLUSTER)
        if nodes == "kind"
        else Cluster.start(nodes=nodes, directory=_CLUSTER, detached=True)
    )
    _link(cluster)
    return cluster


def down() -> None:
    """End that cluster, however much of it still runs, and remove every trace."""
    in_kind = KindCluster.attach(_CLUSTER)
    if in_kind is not None:
        in_kind.stop()
    node = RealNode.attach(_CLUSTER)
    if node is not None:
        node.stop()
    roster = Roster.read(_CLUSTER / starting.STATE)
    if roster is not None:
        roster.end()
    shutil.rmtree(_CLUSTER, ignore_errors=True)
    for link in (FOLDER / "kubeconfig", *(FOLDER / "bin" / name for name in _LINKED)):
        link.unlink(missing_ok=True)


def _link(cluster: Cluster | KindCluster) -> None:
    (FOLDER / "bin").mkdir(exist_ok=True)
    for link, target in [
        (FOLDER / "kubeconfig", cluster.kubeconfig),
        *((FOLDER / "bin" / name, (cluster.bin / name).readlink()) for name in _LINKED),
    ]:
        link.unlink(missing_ok=True)
        # Relative within the folder, so that the work tree may be moved.
        link.symlink_to(os.path.relpath(target, link.parent) if target.is_relative_to(FOLDER) else target)
