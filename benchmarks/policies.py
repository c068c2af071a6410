"""What watching costs: many policies against a real Prometheus, beside as many AnalysisRuns of Argo Rollouts."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import subprocess
import time
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.ground import NAMESPACE, Ground, Object, gathered
from benchmarks.requests import CONTROLLERS_RAISED
from benchmarks.table import Table
from testbed import Cluster
from testbed.binaries import MONITORING, PEERS, Binaries
from testbed.modules import MODULES
from testbed.monitoring import Prometheus, Series
from testbed.operating import OperatorProcess

INTERVAL = 30
WATCHED = 120.0
"""Seconds that are measured: four rounds."""
PEER_COUNT = 1000
IN_A_NAMESPACE = 1000
"""Policies of one namespace; of more, each namespace has a hundred."""
TICKS = os.sysconf("SC_CLK_TCK")
_RUNS = f"/apis/argoproj.io/v1alpha1/namespaces/{NAMESPACE}/analysisruns"
_WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})


@dataclass(frozen=True)
class Cost:
    """What one stretch of time took: percent of a core by process, writes by who made them."""

    percent: Mapping[str, float]
    writes: Mapping[str, int]


@contextlib.contextmanager
def prometheus_with(folder: Path, count: int) -> Iterator[Prometheus]:
    """One that knows an error ratio for each of `count` services, fresh for the next hour."""
    # A sample a minute of each, a little into the future: nothing is scraped while others are measured.
    now = time.time()
    history = [
        Series.over(
            "error_ratio", {"service": f"s-{number}"}, lambda _: 0.01, start=now - 1800, end=now + 5400, step=60
        )
        for number in range(count)
    ]
    flags = ["--query.lookback-delta=5m"]
    with Prometheus.start(folder, history=history, flags=flags, interval="1h") as prometheus:
        yield prometheus


def query(number: int) -> str:
    """The question of one service."""
    return f'error_ratio{{service="s-{number}"}}'


def policy(name: str, number: int) -> Object:
    """A policy for the Deployment of the same name."""
    trigger = {
        "name": "errors",
        "prometheus": {"query": query(number)},
        "when": "> 5%",
        "interval": f"{INTERVAL}s",
        "for": "5m",
    }
    return {
        "apiVersion": "rollback.dev/v1alpha1",
        "kind": "RollbackPolicy",
        "metadata": {"name": name},
        # Not proved good while it is measured: that is one write a release, not what watching costs.
        "spec": {"target": {"kind": "Deployment", "name": name}, "soak": "24h", "triggers": [trigger]},
    }


def analysis_run(name: str, number: int, address: str) -> Object:
    """The same question at the same interval, asked by Argo Rollouts."""
    metric = {
        "name": "errors",
        "interval": f"{INTERVAL}s",
        "count": 10000,
        "failureLimit": 10000,
        "successCondition": "result[0] <= 0.05",
        "provider": {"prometheus": {"address": address, "query": query(number)}},
    }
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "AnalysisRun",
        "metadata": {"name": name},
        "spec": {"metrics": [metric]},
    }


async def watch(count: int, folder: Path, *, with_peer: bool) -> Table:
    """`count` policies that find nothing wrong; and then as many AnalysisRuns."""
    Binaries.ensure((*MONITORING, *(PEERS if with_peer else ())))
    replicas = 1 if count <= PEER_COUNT else 0
    table = Table(
        f"{count:,} policies, one question each every {INTERVAL} s", ("", "Rollback Operator", *_peer(with_peer))
    )
    columns: list[dict[str, str]] = []
    with (
        prometheus_with(folder / "prometheus", count) as prometheus,
        Cluster.start(fake_nodes=10, controller_manager_flags=CONTROLLERS_RAISED) as cluster,
    ):
        settings = {"prometheus": prometheus.url, "allowed_networks": "127.0.0.0/8"}
        async with Ground.prepared(cluster, folder, **settings) as ground:
            watched = await _released(ground, count, replicas)
            half = count // 2
            await _ordered(watched[:half])
            await _all_evaluated(ground, half)
            before, _ = ground.operator.memory()
            await _ordered(watched[half:])
            await _all_evaluated(ground, count)
            columns.append(await _ours(ground, prometheus, before, count - half))
            if with_peer:
                ground.operator.stop()
                columns.append(await _theirs(ground, prometheus, folder, [one.name for one in watched]))
    for line in dict.fromkeys(key for column in columns for key in column):
        table.row(line, *(column.get(line, "") for column in columns))
    table.note(f"Measured for {WATCHED:.0f} s after all were taken up; each question is another series.")
    table.note(f"Deployments of {replicas} replicas; nothing was wrong, nothing was released.")
    return table


@dataclass(frozen=True)
class Watched:
    """A Deployment that gets a policy; `number` is that of the series which the policy asks for."""

    where: Ground
    name: str
    number: int


async def _released(ground: Ground, count: int, replicas: int) -> list[Watched]:
    """As many Deployments, rolled out."""
    if count <= IN_A_NAMESPACE:
        names = await ground.released("w", count, replicas)
        return [Watched(ground, name, number) for number, name in enumerate(names)]
    found: list[Watched] = []
    for start in range(0, count, 100):
        where = await ground.beside(f"{ground.namespace}-{start}")
        names = await where.released("w", min(100, count - start), replicas)
        found += [Watched(where, name, start + number) for number, name in enumerate(names)]
    return found


async def _ordered(watched: Iterable[Watched]) -> None:
    """A policy for each."""
    await gathered(
        one.where.call("POST", _policies(one.where.namespace), policy(one.name, one.number)) for one in watched
    )


def _policies(namespace: str) -> str:
    return f"/apis/rollback.dev/v1alpha1/namespaces/{namespace}/rollbackpolicies"


def _peer(with_peer: bool) -> tuple[str, ...]:  # noqa: FBT001 - the table's shape
    return ("Argo Rollouts v1.10.2",) if with_peer else ()


async def _all_evaluated(ground: Ground, count: int) -> None:
    """Wait until every policy has a verdict, and what came with that is over."""
    begun = time.monotonic()
    while True:
        healthy = _metric(ground.operator, 'rollback_policies{verdict="Healthy"}')
        if healthy >= count:
            await asyncio.sleep(INTERVAL)
            return
        if time.monotonic() - begun > 1800:  # noqa: PLR2004 - half an hour
            raise TimeoutError(f"{healthy:.0f} of {count} policies have a verdict")
        await asyncio.sleep(1)


async def _ours(ground: Ground, prometheus: Prometheus, before: float, count: int) -> dict[str, str]:
    operator = ground.operator
    late = _metric(operator, "rollback_evaluations_late_total")
    skipped = _metric(operator, "rollback_evaluations_skipped_total")
    asked = _evaluations(operator)
    cost = await _measured(ground.cluster, {"controller": operator.process.pid, "Prometheus": prometheus.pid})
    memory, _ = operator.memory()
    return {
        **_shown(cost),
        "memory of the controller, MiB": f"{memory:.0f}",
        "memory for each further one, KiB": f"{(memory - before) * 1024 / count:.1f}",
        "answers": f"{_evaluations(operator) - asked:.0f}",
        "late evaluations": f"{_metric(operator, 'rollback_evaluations_late_total') - late:.0f}",
        "left out": f"{_metric(operator, 'rollback_evaluations_skipped_total') - skipped:.0f}",
        "API writes": f"{sum(count for who, count in cost.writes.items() if 'rollback-operator' in who)}",
    }


async def _theirs(ground: Ground, prometheus: Prometheus, folder: Path, names: list[str]) -> dict[str, str]:
    crds = [MODULES["argo-rollouts"]] * 5
    kinds = ("rollout", "analysis-run", "analysis-template", "cluster-analysis-template", "experiment")
    for module, kind in zip(crds, kinds, strict=True):
        ground.cluster.kubectl("create", "-f", str(Binaries().asset(module, f"{kind}-crd.yaml")))
    ground.cluster.kubectl("wait", "--for=condition=Established", "crd/analysisruns.argoproj.io")
    async with _rollouts(ground.cluster, folder) as process:
        half = len(names) // 2
        await _run_analyses(ground, names[:half], prometheus.url)
        before = _resident(process.pid)
        await _run_analyses(ground, names[half:], prometheus.url)
        cost = await _measured(ground.cluster, {"controller": process.pid, "Prometheus": prometheus.pid})
        memory = _resident(process.pid)
        return {
            **_shown(cost),
            "memory of the controller, MiB": f"{memory:.0f}",
            "memory for each further one, KiB": f"{(memory - before) * 1024 / half:.1f}",
            "API writes": f"{sum(cost.writes.values())}",
        }


async def _run_analyses(ground: Ground, names: list[str], address: str) -> None:
    """Have these analysed, and wait until what came with that is over."""
    already = await _measuring(ground)
    await gathered(ground.call("POST", _RUNS, analysis_run(name, int(name[2:]), address)) for name in names)
    begun = time.monotonic()
    while await _measuring(ground) < already + len(names):
        if time.monotonic() - begun > 600:  # noqa: PLR2004 - ten minutes
            raise TimeoutError("the AnalysisRuns do not measure")
        await asyncio.sleep(2)
    await asyncio.sleep(INTERVAL)


async def _measuring(ground: Ground) -> int:
    items = (await ground.call("GET", _RUNS))["items"]
    return sum(bool((item.get("status") or {}).get("metricResults")) for item in items)


@contextlib.asynccontextmanager
async def _rollouts(cluster: Cluster, folder: Path) -> AsyncIterator[subprocess.Popen[bytes]]:
    arguments: list[str | Path] = [
        Binaries().path("rollouts-controller"),
        f"--kubeconfig={cluster.kubeconfig}",
        "--leader-elect=false",
        f"--namespace={NAMESPACE}",
        # As generous as ours is: its own limits of 40 calls a second would only make it late.
        "--qps=1000",
        "--burst=2000",
        "--loglevel=error",
        "--metricsport=0",
        "--healthzPort=0",
    ]
    with (folder / "rollouts.log").open("ab") as log:
        process = subprocess.Popen(arguments, stdout=log, stderr=log)  # noqa: ASYNC220 - begun once
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


async def _measured(cluster: Cluster, others: Mapping[str, int]) -> Cost:
    pids = {"API server": cluster.pids()["kube-apiserver"], "etcd": cluster.pids()["etcd"], **others}
    begun, since = {name: _processor(pid) for name, pid in pids.items()}, datetime.now(UTC)
    start = time.monotonic()
    await asyncio.sleep(WATCHED)
    took = time.monotonic() - start
    percent = {name: (_processor(pid) - begun[name]) / took * 100 for name, pid in pids.items()}
    return Cost(percent, _writes(cluster, since))


def _shown(cost: Cost) -> dict[str, str]:
    percent = cost.percent
    shown = {
        f"{name}, % of a core": f"{percent[name]:.1f}" for name in ("controller", "API server", "etcd", "Prometheus")
    }
    return {**shown, "all together, % of a core": f"{sum(percent.values()):.1f}"}


def _writes(cluster: Cluster, since: datetime) -> Mapping[str, int]:
    """Writes by who made them, but for what the cluster does for itself (leases, events of nodes)."""
    count: Counter[str] = Counter()
    for event in cluster.audit_events():
        resource = (event.get("objectRef") or {}).get("resource")
        if event["verb"] not in _WRITES or resource in ("leases", "nodes", "selfsubjectaccessreviews"):
            continue
        if datetime.fromisoformat(event["stageTimestamp"]) >= since:
            count[event["user"]["username"]] += 1
    return count


def _processor(pid: int) -> float:
    """Seconds of processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def _resident(pid: int) -> float:
    """Memory of a process in MiB."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


def _metric(operator: OperatorProcess, name: str) -> float:
    return sum(value for sample, value in _samples(operator) if sample == name)


def _evaluations(operator: OperatorProcess) -> float:
    return sum(value for sample, value in _samples(operator) if sample.startswith("rollback_evaluations_total{"))


def _samples(operator: OperatorProcess) -> Iterator[tuple[str, float]]:
    with urllib.request.urlopen(f"http://127.0.0.1:{operator.port}/metrics", timeout=10) as answer:
        for line in answer.read().decode().splitlines():
            if not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                yield name, float(value)


def a_thousand(folder: Path) -> Table:
    """A thousand policies, and a thousand AnalysisRuns."""
    return asyncio.run(watch(PEER_COUNT, folder, with_peer=True))


def ten_thousand(folder: Path) -> Table:
    """Ten thousand policies."""
    return asyncio.run(watch(10 * PEER_COUNT, folder, with_peer=False))
