"""How fast a request is: beside `kubectl rollout undo` on the same workloads, in bursts, and by the thousand."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from benchmarks.figures import p50_p95, phases, ratio, spread
from benchmarks.ground import NAMESPACE, Ground
from benchmarks.table import Table
from testbed import Cluster

SINGLE = 30
SETS = 10
BURSTS = (10, 100)
MANY = 1000
CONTROLLERS_RAISED = (
    "--kube-api-qps=1000",
    "--kube-api-burst=2000",
    "--concurrent-deployment-syncs=50",
    "--concurrent-replicaset-syncs=50",
)
"""Its defaults (20 calls a second) would be all that is measured."""


async def side_by_side(folder: Path) -> Table:
    """One request after another, each followed by `kubectl rollout undo` on the same Deployment."""
    table = Table("One after another", ("", "p50 ms", "p95 ms", "of kubectl"))
    with Cluster.start() as cluster:
        async with Ground.prepared(cluster, folder) as ground:
            names = await ground.deployments("single", SINGLE)
            at_rest, _ = ground.operator.memory()
            await beside_kubectl(ground, "Deployment", names, table)
            table.note(f"Operator's memory at rest: {at_rest:.0f} MiB.")
            table.note(
                "In bursts the rollouts wait for the controller manager's own limit, 20 calls a second by default."
            )
            for count in BURSTS:
                await _burst(ground, count, table)
            table.note(f"Operator's memory at its highest: {ground.operator.memory()[1]:.0f} MiB.")
    return table


async def sets_side_by_side(folder: Path) -> Table:
    """The same for StatefulSets of one pod, and for DaemonSets."""
    table = Table("StatefulSets and DaemonSets", ("", "p50 ms", "p95 ms", "of kubectl"))
    with Cluster.start() as cluster:
        async with Ground.prepared(cluster, folder) as ground:
            for kind in ("StatefulSet", "DaemonSet"):
                names = await ground.sets(kind, kind.lower(), SETS)
                await beside_kubectl(ground, kind, names, table)
    return table


async def beside_kubectl(ground: Ground, kind: str, names: list[str], table: Table) -> None:
    """A request for one workload after the other, each followed by `kubectl rollout undo` on the same one."""
    undone, complete = [], []
    for name in names:
        await ground.roll_back([name], kind)
        begun = time.monotonic()
        ground.cluster.kubectl("-n", NAMESPACE, "rollout", "undo", f"{kind}/{name}")
        undone.append(time.monotonic() - begun)
        ground.cluster.kubectl("-n", NAMESPACE, "rollout", "status", f"{kind}/{name}")
        complete.append(time.monotonic() - begun)
    timings = await ground.timings(names)
    patched, ended = [one.to_patch for one in timings], [one.to_end for one in timings]
    table.row(f"{kind}: kubectl rollout undo (whole process)", *spread(undone), "")
    table.row(f"{kind}: request, accepted to patched", *spread(patched), ratio(patched, undone))
    table.row(f"{kind}: kubectl rollout undo + status", *spread(complete), "")
    table.row(f"{kind}: request, accepted to Succeeded", *spread(ended), ratio(ended, complete))
    table.note(f"{len(names)} {kind}s; {phases([one.phase for one in timings])}.")


async def _burst(ground: Ground, count: int, table: Table) -> None:
    names = await ground.deployments(f"burst{count}", count)
    await ground.roll_back(names)
    timings = await ground.timings(names)
    table.row(f"{count} at once: accepted to patched", *spread([one.to_patch for one in timings]), "")
    table.row(f"{count} at once: accepted to Succeeded", *spread([one.to_end for one in timings]), "")
    table.note(f"{count} at once: {phases([one.phase for one in timings])}.")


async def a_thousand(folder: Path) -> Table:
    """A thousand requests for a thousand Deployments of one replica, all at once."""
    table = Table("A thousand at once", ("", "value"))
    with Cluster.start(fake_nodes=10, controller_manager_flags=CONTROLLERS_RAISED) as cluster:
        async with Ground.prepared(cluster, folder) as ground:
            names = await ground.deployments("many", MANY)
            at_rest, _ = ground.operator.memory()
            begun = time.monotonic()
            await ground.roll_back(names)
            took = time.monotonic() - begun
            timings = await ground.timings(names)
            table.row("all ended after, s", f"{took:.1f}")
            table.row("phases", phases([one.phase for one in timings]))
            table.row("accepted to patched, p50 / p95 s", p50_p95([one.to_patch for one in timings]))
            table.row("accepted to Succeeded, p50 / p95 s", p50_p95([one.to_end for one in timings]))
            highest = ground.operator.memory()[1]
            table.row("operator's memory before / highest, MiB", f"{at_rest:.0f} / {highest:.0f}")
    table.note(f"Controller manager: {' '.join(CONTROLLERS_RAISED)}.")
    return table


def one_after_another(folder: Path) -> Table:
    """See `side_by_side`."""
    return asyncio.run(side_by_side(folder))


def sets(folder: Path) -> Table:
    """See `sets_side_by_side`."""
    return asyncio.run(sets_side_by_side(folder))


def a_thousand_at_once(folder: Path) -> Table:
    """See `a_thousand`."""
    return asyncio.run(a_thousand(folder))
