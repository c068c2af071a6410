"""What measurements stand on: a cluster with Deployments to roll back, the operator, and the API server's own clock."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from rollback_operator.api.request import FINAL
from testbed import Cluster
from testbed.operating import ROOT, OperatorProcess, install

Object = dict[str, Any]
NAMESPACE = "bench"
AT_ONCE = 50
"""Calls of the benchmark's own that are under way at the same time."""


@dataclass(frozen=True)
class Timing:
    """One request, by the API server's clock, in seconds from its acceptance."""

    to_patch: float
    to_end: float
    phase: str


class Ground:
    """A namespace full of Deployments with two revisions, and an operator."""

    def __init__(
        self,
        cluster: Cluster,
        operator: OperatorProcess,
        session: aiohttp.ClientSession,
        gate: asyncio.Semaphore,
        namespace: str = NAMESPACE,
    ) -> None:
        self.cluster = cluster
        self.operator = operator
        self.namespace = namespace
        self._session = session
        self._gate = gate
        self._deployments = f"/apis/apps/v1/namespaces/{namespace}/deployments"

    @classmethod
    @contextlib.asynccontextmanager
    async def prepared(cls, cluster: Cluster, folder: Path, **settings: str) -> AsyncIterator[Ground]:
        """A ground with the operator running, under these settings, and the examples' service account in place."""
        kubeconfig = install(cluster, folder)
        settings = {"log_level": "WARNING", **settings}
        operator = OperatorProcess(kubeconfig, folder / "operator.log", port=None, **settings)
        headers = {"Authorization": f"Bearer {cluster.token}"}
        connector = aiohttp.TCPConnector(ssl=False, limit=0)
        try:
            async with aiohttp.ClientSession(headers=headers, connector=connector) as session:
                ground = cls(cluster, operator, session, asyncio.Semaphore(AT_ONCE))
                yield await ground.beside(NAMESPACE)
        finally:
            operator.stop()

    async def beside(self, namespace: str) -> Ground:
        """The same in another namespace, which is made, with the service account."""
        await self.call("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
        ground = Ground(self.cluster, self.operator, self._session, self._gate, namespace)
        ground.allow("rbac.yaml")
        return ground

    def allow(self, example: str) -> None:
        """Give the service account what this file of `examples/` gives it."""
        self.cluster.kubectl("-n", self.namespace, "apply", "-f", "-", input=_rights(self.namespace, example))

    async def call(self, verb: str, path: str, body: Object | None = None, content: str = "application/json") -> Object:
        """A call as the administrator; made again while the API server asks for that (a new CRD's storage, say)."""
        while True:
            async with (
                self._gate,
                self._session.request(
                    verb,
                    self.cluster.server + path,
                    data=None if body is None else json.dumps(body),
                    headers={"Content-Type": content},
                ) as response,
            ):
                answer: Object = await response.json()
                if response.status != HTTPStatus.TOO_MANY_REQUESTS:
                    response.raise_for_status()
                    return answer
                pause = float(response.headers.get("Retry-After", "1"))
            await asyncio.sleep(pause)

    async def deployments(self, prefix: str, count: int) -> list[str]:
        """As many Deployments, each with a first and a second revision, rolled out."""
        names = await self.released(prefix, count)
        await gathered(self.call("PATCH", f"{self._deployments}/{name}", _SECOND, _STRATEGIC) for name in names)
        await self._rolled_out(prefix, count, 1)
        return names

    async def released(self, prefix: str, count: int, replicas: int = 1) -> list[str]:
        """As many Deployments of one revision, rolled out."""
        names = [f"{prefix}-{number}" for number in range(count)]
        await gathered(self.call("POST", self._deployments, deployment(name, replicas)) for name in names)
        await self._rolled_out(prefix, count, replicas)
        return names

    async def sets(self, kind: str, prefix: str, count: int) -> list[str]:
        """As many StatefulSets or DaemonSets, each with a first and a second revision, rolled out."""
        path = f"/apis/apps/v1/namespaces/{self.namespace}/{kind.lower()}s"
        names = [f"{prefix}-{number}" for number in range(count)]
        await gathered(self.call("POST", path, set_of(kind, name)) for name in names)
        self._wait_for(kind, names)
        await gathered(self.call("PATCH", f"{path}/{name}", _SECOND, _STRATEGIC) for name in names)
        self._wait_for(kind, names)
        return names

    def _wait_for(self, kind: str, names: Iterable[str]) -> None:
        for name in names:
            self.cluster.kubectl("-n", self.namespace, "rollout", "status", f"{kind}/{name}", "--timeout=600s")

    async def roll_back(self, names: Iterable[str], kind: str = "Deployment") -> None:
        """A request for each, all at once, and wait until all have ended."""
        names = list(names)
        await gathered(self.call("POST", _REQUESTS, request(name, kind)) for name in names)
        await self.ended(set(names))

    async def ended(self, names: set[str]) -> None:
        """Wait until the requests of these names have ended."""
        unfinished = ",".join(f"status.phase!={phase}" for phase in FINAL)
        while True:
            items = (await self.call("GET", f"{_REQUESTS}?fieldSelector={unfinished}"))["items"]
            if names.isdisjoint(one["metadata"]["name"] for one in items):
                return
            await asyncio.sleep(0.1 if len(names) < AT_ONCE else 2)

    async def timings(self, names: Iterable[str], effect: Effect | None = None) -> list[Timing]:
        """What the audit log says of the requests; `effect` is by default the patch of a workload."""
        log = AuditTimes(self.cluster, effect or patch_of_a_workload)
        items = {one["metadata"]["name"]: one for one in (await self.call("GET", _REQUESTS))["items"]}
        return [log.of(name, items[name]["status"]["phase"]) for name in names]

    async def _rolled_out(self, prefix: str, count: int, replicas: int) -> None:
        deadline = time.monotonic() + 600
        while True:
            items = (await self.call("GET", self._deployments))["items"]
            done = [
                one for one in items if one["metadata"]["name"].startswith(f"{prefix}-") and _available(one, replicas)
            ]
            if len(done) == count:
                return
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(done)} of {count} Deployments are rolled out after 600 s")
            await asyncio.sleep(0.2)


Effect = Callable[[Object], str | None]
"""The name of what was rolled back, if this successful call of the audit log is the effect; the last one counts."""


class AuditTimes:
    """When the API server accepted, patched and ended, read once from its audit log."""

    def __init__(self, cluster: Cluster, effect: Effect) -> None:
        self._effect = effect
        self._accepted: dict[str, datetime] = {}
        self._patched: dict[str, datetime] = {}
        self._ended: dict[str, datetime] = {}
        for event in cluster.audit_events():
            self._note(event)

    def of(self, name: str, phase: str) -> Timing:
        """Of the request `name`, which is about the target of the same name."""
        accepted = self._accepted[name]
        patched, ended = self._patched.get(name, accepted), self._ended[name]
        return Timing((patched - accepted).total_seconds(), (ended - accepted).total_seconds(), phase)

    def _note(self, event: Object) -> None:
        about = event.get("objectRef") or {}
        if about.get("namespace") != NAMESPACE or event["responseStatus"]["code"] >= HTTPStatus.MULTIPLE_CHOICES:
            return
        at = datetime.fromisoformat(event["stageTimestamp"])
        what = (event["verb"], about["resource"], about.get("subresource", ""))
        if what == ("create", "rollbackrequests", ""):
            self._accepted[about["name"]] = at
        elif what == ("update", "rollbackrequests", "status"):
            self._ended[about["name"]] = at
        elif (changed := self._effect(event)) is not None:
            self._patched[changed] = at


def patch_of_a_workload(event: Object) -> str | None:
    """See `Effect`."""
    about = event["objectRef"]
    ours = event["verb"] == "patch" and "fieldManager=rollback-operator&" in event["requestURI"]
    return str(about["name"]) if ours and about["resource"] in _WORKLOADS else None


_WORKLOADS = ("deployments", "statefulsets", "daemonsets")
_SECOND: Object = {"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "shop:2"}]}}}}
"""What makes a second revision of a workload, as a strategic merge patch."""
_STRATEGIC = "application/strategic-merge-patch+json"
_REQUESTS = f"/apis/rollback.dev/v1alpha1/namespaces/{NAMESPACE}/rollbackrequests"


async def gathered(calls: Iterable[Awaitable[Any]]) -> None:
    """Make the calls, some at a time."""
    await asyncio.gather(*calls)


def deployment(name: str, replicas: int = 1) -> Object:
    """A Deployment."""
    labels = {"app": name}
    pod = {"terminationGracePeriodSeconds": 0, "containers": [{"name": "web", "image": "shop:1"}]}
    return {
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def set_of(kind: str, name: str) -> Object:
    """A StatefulSet of one pod, or a DaemonSet."""
    body = deployment(name)
    if kind == "StatefulSet":
        body["spec"]["serviceName"] = name
    else:
        del body["spec"]["replicas"]
    return body


def request(name: str, kind: str = "Deployment") -> Object:
    """A request for the workload of the same name."""
    return {
        "apiVersion": "rollback.dev/v1alpha1",
        "kind": "RollbackRequest",
        "metadata": {"name": name},
        "spec": {"reason": "benchmark", "target": {"kind": kind, "name": name}},
    }


def _available(body: Object, replicas: int) -> bool:
    status = body.get("status", {})
    counts = {status.get(name, 0) for name in ("replicas", "updatedReplicas", "availableReplicas")}
    return counts == {replicas} and status.get("observedGeneration") == body["metadata"]["generation"]


def _rights(namespace: str, example: str) -> str:
    bodies = list(yaml.safe_load_all((ROOT / "examples" / example).read_text()))
    for body in bodies:
        body["metadata"].pop("namespace", None)
        for subject in body.get("subjects", []):
            subject["namespace"] = namespace
    return yaml.safe_dump_all(bodies)
