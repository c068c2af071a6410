"""How fast the rollback of a release of Helm is, beside `helm rollback` on the same releases."""

from __future__ import annotations

import asyncio
import json
import re
import time
from pathlib import Path

from benchmarks.figures import phases, ratio, spread
from benchmarks.ground import NAMESPACE, Ground, Object, deployment, request
from benchmarks.table import Table
from testbed import Binaries, Cluster

COUNT = 20
_REQUESTS = f"/apis/rollback.dev/v1alpha1/namespaces/{NAMESPACE}/rollbackrequests"
_RECORD = re.compile(r"sh\.helm\.release\.v1\.(?P<release>.+)\.v[0-9]+")


class Releases:
    """Releases of one chart (a Deployment, a ConfigMap, a Service), each with two revisions."""

    def __init__(self, cluster: Cluster, ground: Ground, chart: Path) -> None:
        self._cluster = cluster
        self._ground = ground
        self._chart = chart

    def made(self, count: int) -> list[str]:
        """As many releases, the second revision deployed and rolled out."""
        _write_chart(self._chart)
        names = [f"shop-{number}" for number in range(count)]
        for name in names:
            for image in ("shop:1", "shop:2"):
                self._helm("upgrade", "--install", name, str(self._chart), "--set", f"image={image}", "--wait")
        return names

    def by_hand(self, name: str, *more: str) -> float:
        """Seconds that `helm rollback` to the first revision takes as a whole process; and forth again."""
        begun = time.monotonic()
        self._helm("rollback", name, "1", *more)
        took = time.monotonic() - begun
        self._helm("rollback", name, "2", "--wait")
        return took

    async def by_request(self, name: str) -> None:
        """Have the operator do it."""
        body = request(name)
        body["spec"] |= {"target": {"kind": "Helm", "name": name}, "to": "1"}
        await self._ground.call("POST", _REQUESTS, body)
        await self._ground.ended({name})

    def _helm(self, *arguments: str) -> None:
        self._cluster.helm(*arguments, "--namespace", NAMESPACE)


async def side_by_side(folder: Path) -> Table:
    """Each release goes back by hand and forth, back by hand with `--wait` and forth, and back by a request."""
    table = Table("A release of Helm", ("", "p50 ms", "p95 ms", "of helm"))
    binaries = Binaries()
    binaries.ensure(("helm",))
    with Cluster.start() as cluster:
        async with Ground.prepared(cluster, folder, helm=str(binaries.path("helm"))) as ground:
            ground.allow("rbac-helm.yaml")
            releases = Releases(cluster, ground, folder / "chart")
            names = releases.made(COUNT)
            at_once, waited = [], []
            for name in names:
                at_once.append(releases.by_hand(name))
                waited.append(releases.by_hand(name, "--wait"))
                await releases.by_request(name)
            timings = await ground.timings(names, record_written)
    deployed, ended = [one.to_patch for one in timings], [one.to_end for one in timings]
    table.row("helm rollback (whole process)", *spread(at_once), "")
    table.row("request: accepted to record deployed", *spread(deployed), ratio(deployed, at_once))
    table.row("helm rollback --wait (whole process)", *spread(waited), "")
    table.row("request: accepted to Succeeded", *spread(ended), ratio(ended, waited))
    table.note(f"{COUNT} releases of three objects; {phases([one.phase for one in timings])}.")
    return table


def record_written(event: Object) -> str | None:
    """A record that Helm wrote for the operator; the last one says `deployed`. See `ground.Effect`."""
    about = event["objectRef"]
    ours = event["verb"] == "update" and event["userAgent"].startswith("Helm") and "impersonatedUser" in event
    found = _RECORD.fullmatch(about.get("name", "")) if ours and about["resource"] == "secrets" else None
    return found["release"] if found is not None else None


def _write_chart(chart: Path) -> None:
    web = deployment("{{ .Release.Name }}")
    web["spec"]["template"]["spec"]["containers"][0]["image"] = "{{ .Values.image }}"
    objects: dict[str, Object] = {
        "web": {"apiVersion": "apps/v1", "kind": "Deployment", **web},
        "settings": {"apiVersion": "v1", "kind": "ConfigMap", "data": {"image": "{{ .Values.image }}"}},
        "service": {"apiVersion": "v1", "kind": "Service", "spec": {"ports": [{"port": 80}]}},
    }
    (chart / "templates").mkdir(parents=True)
    (chart / "Chart.yaml").write_text("apiVersion: v2\nname: shop\nversion: 1.0.0\n")
    for name, body in objects.items():
        named = {**body, "metadata": {"name": "{{ .Release.Name }}"}}
        (chart / "templates" / f"{name}.yaml").write_text(json.dumps(named))


def one_after_another(folder: Path) -> Table:
    """See `side_by_side`."""
    return asyncio.run(side_by_side(folder))
