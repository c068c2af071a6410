"""Releases of Helm in the sweep: made as Helm leaves them, rolled back by the real Helm through the proxy."""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
from collections.abc import AsyncIterator, Iterable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import yaml

from tests.faults.admin import Admin, NoAnswerError
from tests.faults.rows import Object, deployment
from tests.faults.run import Bench

PREFIX = "sh.helm.release.v1.web.v"
SETTINGS: Object = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}}
ONLY_IN: dict[int, Object] = {
    version: {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"only-in-{version}"}} for version in (1, 2)
}
_SINCE = "2026-01-01T00:00:00Z"


def objects(version: int) -> list[Object]:
    """What the chart's version consists of; of either one object is in no other."""
    settings = {**SETTINGS, "data": {"version": str(version)}}
    return [settings, deployment(version), *([ONLY_IN[version]] if version in ONLY_IN else [])]


def record(namespace: str, version: int, status: str) -> Object:
    """The Secret that Helm keeps of a version."""
    release = {
        "name": "web",
        "namespace": namespace,
        "version": version,
        "info": {"first_deployed": _SINCE, "last_deployed": _SINCE, "description": "Complete", "status": status},
        "chart": {"metadata": {"name": "web", "version": "1.0.0", "apiVersion": "v2"}, "templates": [], "values": {}},
        "config": {"version": version},
        "manifest": "".join(f"---\n# Source: web/x.yaml\n{yaml.safe_dump(one)}" for one in objects(version)),
        "apply_method": "ssa",
    }
    packed = base64.b64encode(gzip.compress(json.dumps(release).encode())).decode()
    labels = {"owner": "helm", "name": "web", "status": status, "version": str(version)}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "helm.sh/release.v1",
        "metadata": {"name": f"{PREFIX}{version}", "labels": labels},
        "stringData": {"release": packed},
    }


class HelmRow:
    """Releases, at version 2 of their chart."""

    name = "Helm"
    kind = "Helm"
    begun_by = "person with Helm"
    effect_call = f"PUT secrets/{PREFIX}3"
    first_kills: tuple[str, ...] = (effect_call,)
    own_calls: tuple[str, ...] = (
        "POST secrets",
        "PATCH configmaps/settings helm",
        "PATCH deployments/web helm",
        "PATCH configmaps/only-in-1 helm",
        "DELETE configmaps/only-in-2",
        f"PUT secrets/{PREFIX}2",
        effect_call,
    )
    """What Helm writes, and the copy before: disturbed by every class of faults."""
    samples = True  # such a run makes some seventy calls
    only_own = False
    asks: Mapping[str, Any] = MappingProxyType({})

    async def release(self, admin: Admin, namespace: str, version: int, *, force: bool = False) -> None:
        """As Helm does it, but for the version before: that one is superseded, whatever it was."""
        del force
        base = f"/api/v1/namespaces/{namespace}/secrets"
        with contextlib.suppress(NoAnswerError):
            await admin.merge(f"{base}/{PREFIX}{version - 1}", record(namespace, version - 1, "superseded"))
        await admin.create(base, record(namespace, version, "deployed"))
        for thing in objects(version):
            await admin.apply(_path(namespace, thing), _owned(thing, namespace), force=True, manager="helm")
        if version - 1 in ONLY_IN:
            await admin.delete(_path(namespace, ONLY_IN[version - 1]))
        await admin.until(lambda: self._available(admin, namespace), f"version {version} is rolled out")

    async def recreate(self, admin: Admin, namespace: str) -> None:
        """Not part of its stories."""
        raise NotImplementedError

    async def delete(self, admin: Admin, namespace: str) -> None:
        """Not part of its stories."""
        raise NotImplementedError

    async def version(self, admin: Admin, namespace: str) -> int | None:
        body = await admin.get(_path(namespace, deployment(1)))
        return int(body["spec"]["template"]["spec"]["containers"][0]["image"].split(":")[1])

    async def end_state(self, admin: Admin, namespace: str) -> Object:
        """Attempts that were interrupted are left out: that they are recorded is what they are for."""
        secrets = (await admin.get(f"/api/v1/namespaces/{namespace}/secrets"))["items"]
        maps = (await admin.get(f"/api/v1/namespaces/{namespace}/configmaps"))["items"]
        web = await admin.get(_path(namespace, deployment(1)))
        records = sorted((one for one in secrets if one["type"] == "helm.sh/release.v1"), key=_number)
        return {
            "deployment": web["spec"],
            "owners": sorted(
                {(one["manager"], one["operation"]) for one in web["metadata"]["managedFields"] if not _status(one)}
            ),
            "settings": sorted((one["metadata"]["name"], json.dumps(one.get("data"))) for one in maps),
            "revisions": [one["metadata"]["labels"]["status"] for one in records if not _interrupted(one)],
            "left": [one["metadata"]["labels"]["status"] for one in records if _interrupted(one)].count("pending"),
            "signs of life": sum("rollback.dev/alive" in _notes(one) for one in records),
        }

    def effects(self, audit: Iterable[Object], namespace: str) -> int:
        """How many revisions of ours Helm brought to their end; what is mended is written by the operator itself.

        Helm repeats what it got no good answer for: of a revision that is the same once more.
        """
        updated = {
            event["objectRef"]["name"]
            for event in audit
            if event.get("objectRef")
            and event["verb"] == "update"
            and event["objectRef"].get("namespace") == namespace
            and event["objectRef"]["resource"] == "secrets"
            and event["objectRef"].get("name", "").startswith(PREFIX)
            and event["userAgent"].lower().startswith("helm")
            and event["responseStatus"]["code"] == 200
        }
        return sum(int(name.removeprefix(PREFIX)) > 2 for name in updated)

    async def _available(self, admin: Admin, namespace: str) -> bool:
        body = await admin.get(_path(namespace, deployment(1)))
        status = body.get("status", {})
        seen = status.get("observedGeneration", 0) >= body["metadata"]["generation"]
        return bool(seen and status.get("availableReplicas") == status.get("replicas") == status.get("updatedReplicas"))


class HelmBench(Bench):
    """A namespace whose service account may do what Helm takes. Runs mostly wait for somebody to count as dead."""

    side_by_side: ClassVar[int] = 8

    @contextlib.asynccontextmanager
    async def furnished(self) -> AsyncIterator[None]:
        """The rights, and the release at version 2."""
        await self.allow("rbac-helm.yaml")
        async with super().furnished():
            yield

    async def _watches(self) -> bool:
        names = {call.name for call in self.proxy.journal}
        return {"WATCH rollbackrequests", "WATCH rollbackpolicies"} <= names


def _path(namespace: str, thing: Object) -> str:
    base = "/api/v1" if thing["apiVersion"] == "v1" else f"/apis/{thing['apiVersion']}"
    return f"{base}/namespaces/{namespace}/{thing['kind'].lower()}s/{thing['metadata']['name']}"


def _owned(thing: Object, namespace: str) -> Object:
    """What Helm adds to each object."""
    notes = {"meta.helm.sh/release-name": "web", "meta.helm.sh/release-namespace": namespace}
    labels = {"app.kubernetes.io/managed-by": "Helm"}
    return {**thing, "metadata": {**thing["metadata"], "annotations": notes, "labels": labels}}


def _number(secret: Object) -> int:
    return int(secret["metadata"]["name"].removeprefix(PREFIX))


def _notes(secret: Object) -> dict[str, Any]:
    notes: dict[str, Any] = secret["metadata"].get("annotations") or {}
    return notes


def _interrupted(secret: Object) -> bool:
    return "rollback.dev/interrupted" in _notes(secret)


def _status(entry: Object) -> bool:
    return bool(entry.get("subresource"))


RELEASES: tuple[HelmRow, ...] = (HelmRow(),)
