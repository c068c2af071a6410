"""How fast the rollback of an Application is, beside the same operation written by hand."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import phases, ratio, spread
from benchmarks.ground import NAMESPACE, Ground, Object, deployment, request
from benchmarks.table import Table
from rollback_operator.api import REQUEST_ANNOTATION
from rollback_operator.api.request import FINAL
from testbed import Cluster
from testbed.argocd import ArgoCD, healthy, operated
from testbed.git import GitRepository

COUNT = 20
_APPLICATIONS = f"/apis/argoproj.io/v1alpha1/namespaces/{NAMESPACE}/applications"
_REQUESTS = f"/apis/rollback.dev/v1alpha1/namespaces/{NAMESPACE}/rollbackrequests"
_LOOK_EVERY = 0.01
_ARGOS_OWN_RESYNC = 120
"""Seconds: nothing is to look at Git while a rollback is measured."""


@dataclass(frozen=True)
class Timing:
    """One rollback, in seconds from when it was asked for."""

    written: float
    """The operation is in the Application."""
    synced: float
    """Argo CD has done it."""
    ended: float
    """The request has ended; by hand the same as `synced`."""
    phase: str = "Succeeded"


class Applications:
    """Applications of one repository, each with a path of its own and two commits in its history."""

    def __init__(self, cluster: Cluster, ground: Ground, argocd: ArgoCD, repository: GitRepository) -> None:
        self._cluster = cluster
        self._ground = ground
        self._argocd = argocd
        self._repository = repository
        self._older = ""
        self._newer = ""

    async def released(self, count: int) -> list[str]:
        """As many Applications, the second commit deployed."""
        names = [f"shop-{number}" for number in range(count)]
        self._older = self._repository.commit({f"{name}/web.json": _manifest(name, "shop:1") for name in names}, "One")
        self._newer = self._repository.commit({f"{name}/web.json": _manifest(name, "shop:2") for name in names}, "Two")
        for name in names:
            self._argocd.application(
                name, self._repository.url, namespace=NAMESPACE, path=name, destination=NAMESPACE, automated=None
            )
            await self._sync(name, self._older)
            await self._sync(name, self._newer)
        return names

    async def by_hand(self, name: str) -> Timing:
        """Have Argo CD go back to the first commit, and forth again."""
        begun = time.monotonic()
        written = await self._sync(name, self._older)
        timing = Timing(written - begun, (done := time.monotonic()) - begun, done - begun)
        await self._sync(name, self._newer)
        return timing

    async def by_request(self, name: str) -> Timing:
        """Have the operator do it."""
        begun = time.monotonic()
        body = request(name)
        body["spec"]["target"]["kind"] = "Application"
        await self._ground.call("POST", _REQUESTS, body)
        application, asked = f"{_APPLICATIONS}/{name}", f"{_REQUESTS}/{name}"
        written, synced, ended = await asyncio.gather(
            self._until(application, _is_asked_for),
            self._until(application, lambda one: _is_asked_for(one) and operated(self._older)(one)),
            self._until(asked, lambda one: one.get("status", {}).get("phase") in FINAL),
        )
        phase = (await self._ground.call("GET", asked))["status"]["phase"]
        return Timing(written - begun, synced - begun, ended - begun, phase)

    async def _sync(self, name: str, revision: str) -> float:
        """Write the operation as people do; the moment at which it was written."""
        operation = {"initiatedBy": {"username": "by-hand"}, "sync": {"revision": revision}}
        patch = json.dumps({"operation": operation})
        self._cluster.kubectl("-n", NAMESPACE, "patch", "application", name, "--type=merge", "-p", patch)
        written = time.monotonic()
        await self._until(f"{_APPLICATIONS}/{name}", operated(revision))
        return written

    async def _until(self, path: str, holds: Callable[[Object], bool]) -> float:
        async with asyncio.timeout(60):
            while True:
                if holds(await self._ground.call("GET", path)):
                    return time.monotonic()
                await asyncio.sleep(_LOOK_EVERY)


async def side_by_side(folder: Path) -> Table:
    """Each Application is brought back by hand, forth, and back by a request."""
    table = Table("An Application of Argo CD", ("", "p50 ms", "p95 ms", "of by hand"))
    with Cluster.start() as cluster, ArgoCD.start(folder / "argocd", cluster, resync=_ARGOS_OWN_RESYNC) as argocd:
        async with Ground.prepared(cluster, folder) as ground:
            _allow(cluster)
            applications = Applications(cluster, ground, argocd, GitRepository(folder / "shop.git"))
            names = await applications.released(COUNT)
            for name in names:
                argocd.refresh(name, NAMESPACE)
                argocd.wait(name, healthy, NAMESPACE)
            hand = [await applications.by_hand(name) for name in names]
            ours = [await applications.by_request(name) for name in names]
    by_hand = [one.synced for one in hand]
    table.row("kubectl patch: operation written", *spread([one.written for one in hand]), "")
    table.row("kubectl patch: operation Succeeded", *spread(by_hand), "")
    table.row("request: operation written", *spread([one.written for one in ours]), "")
    table.row(
        "request: operation Succeeded",
        *spread([one.synced for one in ours]),
        ratio([one.synced for one in ours], by_hand),
    )
    table.row("request: Succeeded", *spread([one.ended for one in ours]), ratio([one.ended for one in ours], by_hand))
    table.note(f"{COUNT} Applications without automated sync; {phases([one.phase for one in ours])}.")
    table.note(f"Looked at every {_LOOK_EVERY * 1000:.0f} ms. A request Succeeded only once Argo CD says Healthy.")
    return table


def _is_asked_for(application: Object) -> bool:
    return REQUEST_ANNOTATION in application["metadata"].get("annotations", {})


def _manifest(name: str, image: str) -> str:
    body = deployment(name)
    body["spec"]["template"]["spec"]["containers"][0]["image"] = image
    return json.dumps({"apiVersion": "apps/v1", "kind": "Deployment", **body})


def _allow(cluster: Cluster) -> None:
    """Let the examples' service account roll Applications back."""
    rights = ["--verb=get,update", "--resource=applications.argoproj.io"]
    cluster.kubectl("-n", NAMESPACE, "create", "role", "applications", *rights)
    account = f"--serviceaccount={NAMESPACE}:rollback"
    cluster.kubectl("-n", NAMESPACE, "create", "rolebinding", "applications", "--role=applications", account)


def one_after_another(folder: Path) -> Table:
    """See `side_by_side`."""
    return asyncio.run(side_by_side(folder))
