"""From the first bad sample to the patched template: a policy, beside Prometheus' alert, Alertmanager and a webhook."""

from __future__ import annotations

import asyncio
import json
import statistics
import threading
import time
from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus
from pathlib import Path

from benchmarks.ground import NAMESPACE, Ground, Object
from benchmarks.table import Table
from testbed import Cluster
from testbed.binaries import MONITORING, Binaries
from testbed.monitoring import Alertmanager, Exporter, Prometheus, Webhook

TRIALS = 20
SCRAPED = "1s"
_POLICIES = f"/apis/rollback.dev/v1alpha1/namespaces/{NAMESPACE}/rollbackpolicies"
_RULES = {
    # A group each: every policy asks at moments of its own, too.
    f"webhook-{number}": [{"alert": "Bad", "expr": f'errors{{service="webhook-{number}"}} > 0.05'}]
    for number in range(TRIALS)
}
_FLAGS = ("--rules.alert.resend-delay=1s",)


def policy(name: str) -> Object:
    """A policy that asks as often as Prometheus scrapes, and does not wait."""
    query = f'errors{{service="{name}"}}'
    trigger = {"name": "errors", "prometheus": {"query": query}, "when": "> 5%", "interval": SCRAPED}
    return {
        "apiVersion": "rollback.dev/v1alpha1",
        "kind": "RollbackPolicy",
        "metadata": {"name": name},
        "spec": {"target": {"kind": "Deployment", "name": name}, "triggers": [trigger]},
    }


class _Undoing:
    """What people put behind Alertmanager: `kubectl rollout undo` for each alert that begins."""

    def __init__(self, cluster: Cluster, webhook: Webhook) -> None:
        self._cluster = cluster
        self._webhook = webhook
        self._done: set[str] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        seen = 0
        while not self._stop.wait(0.01):
            asked = self._webhook.asked[seen:]
            seen += len(asked)
            for one in asked:
                self._undo(json.loads(one.body))

    def _undo(self, told: Object) -> None:
        for alert in told["alerts"]:
            name = alert["labels"]["service"]
            if alert["status"] == "firing" and name not in self._done:
                self._done.add(name)
                self._cluster.kubectl("-n", NAMESPACE, "rollout", "undo", f"deployment/{name}")


async def _measure(folder: Path) -> Table:
    Binaries.ensure(MONITORING)
    table = Table("First bad sample to patched template", ("", "min s", "p50 s", "p95 s", "max s"))
    with (
        Exporter() as shop,
        Webhook() as webhook,
        Alertmanager.start(folder / "alertmanager", webhook.url) as alertmanager,
        Prometheus.start(
            folder / "prometheus",
            scrape_configs=[shop.job("shop", interval=SCRAPED)],
            rules=_RULES,
            alertmanager=alertmanager.url,
            flags=_FLAGS,
            interval=SCRAPED,
        ) as prometheus,
        Cluster.start() as cluster,
        _Undoing(cluster, webhook),
    ):
        settings = {"prometheus": prometheus.url, "allowed_networks": "127.0.0.0/8", "guard": "0"}
        async with Ground.prepared(cluster, folder, **settings) as ground:
            found = await _trials(ground, shop, prometheus)
    for name, seconds in found.items():
        table.row(name, *_spread(seconds))
    table.note(f"{TRIALS} releases each; scrapes, rules and questions every {SCRAPED}, none of them waits (no `for`).")
    table.note("Alertmanager: group_wait 0s, group_interval 1s. The first bad sample by Prometheus' own timestamp.")
    return table


async def _trials(ground: Ground, shop: Exporter, prometheus: Prometheus) -> Mapping[str, list[float]]:
    ours = await ground.deployments("policy", TRIALS)
    theirs = await ground.deployments("webhook", TRIALS)
    for name in (*ours, *theirs):
        shop.set("errors", _labels(name), 0.0)
        if name in ours:
            await ground.call("POST", _POLICIES, policy(name))
    await asyncio.sleep(10)  # all policies have been evaluated, and each release is some seconds old
    begun: dict[str, float] = {}
    for one, other in zip(ours, theirs, strict=True):
        shop.set("errors", _labels(one), 0.5)
        shop.set("errors", _labels(other), 0.5)
        await _patched(ground, {one, other})
        begun |= {name: _first_bad(prometheus, name) for name in (one, other)}
    patched = _patches(ground.cluster)
    return {
        "RollbackPolicy": [patched[name] - begun[name] for name in ours],
        "Prometheus, Alertmanager, webhook": [patched[name] - begun[name] for name in theirs],
    }


def _labels(name: str) -> dict[str, str]:
    return {"service": name}


def _first_bad(prometheus: Prometheus, name: str) -> float:
    (series,) = prometheus.query(f'errors{{service="{name}"}}[5m]')
    return min(float(at) for at, value in series["values"] if float(value) > 0)


async def _patched(ground: Ground, names: set[str]) -> None:
    """Wait until these Deployments show their first release again."""
    deadline = time.monotonic() + 60
    path = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments"
    while names:
        for name in sorted(names):
            body = await ground.call("GET", f"{path}/{name}")
            if body["spec"]["template"]["spec"]["containers"][0]["image"] == "shop:1":
                names = names - {name}
        if time.monotonic() > deadline:
            raise TimeoutError(f"not rolled back within 60 s: {', '.join(sorted(names))}")
        await asyncio.sleep(0.1)


def _patches(cluster: Cluster) -> Mapping[str, float]:
    """When each Deployment was last patched, by the API server's clock."""
    found: dict[str, float] = {}
    for event in cluster.audit_events():
        about = event.get("objectRef") or {}
        mine = about.get("namespace") == NAMESPACE and about.get("resource") == "deployments"
        by_hand = "fieldManager=rollback-operator-give-back" not in event["requestURI"]
        done = event["responseStatus"]["code"] < HTTPStatus.MULTIPLE_CHOICES
        if mine and by_hand and done and event["verb"] == "patch" and "dryRun" not in event["requestURI"]:
            found[about["name"]] = datetime.fromisoformat(event["stageTimestamp"]).timestamp()
    return found


def _spread(seconds: list[float]) -> tuple[str, ...]:
    p95 = statistics.quantiles(seconds, n=20)[-1]
    return tuple(f"{one:.2f}" for one in (min(seconds), statistics.median(seconds), p95, max(seconds)))


def run(folder: Path) -> Table:
    """See `_measure`."""
    return asyncio.run(_measure(folder))
