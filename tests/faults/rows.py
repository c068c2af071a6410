"""One row a kind of target: what the sweep has to know of it. A new kind joins by adding a row."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from tests.faults.admin import Admin, NoAnswerError

Object = dict[str, Any]


class Row(Protocol):
    """A kind of target in the sweep."""

    name: str
    kind: str
    begun_by: str
    """Who asks for the rollback: a person, or a policy."""
    effect_call: str
    """Name of the call that is the effect."""
    first_kills: tuple[str, ...]
    """Names of the calls around which a second kill follows a first one."""
    samples: bool
    """Whether what stores nothing of weight is disturbed by one class of faults each, unless the run is a deep one."""

    async def release(self, admin: Admin, namespace: str, version: int, *, force: bool = False) -> None:
        """Release a version of the target `web` and wait until it is there; `force` takes fields from others."""

    async def recreate(self, admin: Admin, namespace: str) -> None:
        """Delete the target and make it anew."""

    async def delete(self, admin: Admin, namespace: str) -> None:
        """Delete the target."""

    async def version(self, admin: Admin, namespace: str) -> int | None:
        """The version that the target asks for now."""

    async def end_state(self, admin: Admin, namespace: str) -> Object:
        """What has to be the same after every run, whatever happened in it."""

    def effects(self, audit: Iterable[Object], namespace: str) -> int:
        """How many effects the API server's audit log shows."""


def deployment(version: int) -> Object:
    """A Deployment `web` of that version; its first version has an env variable that no other has."""
    container: Object = {"name": "web", "image": f"shop:{version}"}
    if version == 1:
        container["env"] = [{"name": "OLD", "value": "1"}]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]},
            },
        },
    }


class DeploymentRow:
    """Deployments, released by server-side apply."""

    name = "Deployment"
    kind = "Deployment"
    begun_by = "person"
    effect_call = "PATCH deployments/web"
    first_kills: tuple[str, ...] = (effect_call,)
    samples = False

    async def release(self, admin: Admin, namespace: str, version: int, *, force: bool = False) -> None:
        await admin.apply(self._path(namespace), deployment(version), force=force)
        await admin.until(lambda: self._available(admin, namespace), f"version {version} is rolled out")

    async def recreate(self, admin: Admin, namespace: str) -> None:
        await self.delete(admin, namespace)
        await self.release(admin, namespace, 2)

    async def delete(self, admin: Admin, namespace: str) -> None:
        await admin.delete(self._path(namespace))

        async def gone() -> bool:
            return await self.version(admin, namespace) is None

        await admin.until(gone, "the Deployment is gone")

    async def version(self, admin: Admin, namespace: str) -> int | None:
        try:
            body = await admin.get(self._path(namespace))
        except NoAnswerError:
            return None
        return int(body["spec"]["template"]["spec"]["containers"][0]["image"].split(":")[1])

    async def end_state(self, admin: Admin, namespace: str) -> Object:
        body = await admin.get(self._path(namespace))
        metadata = body["metadata"]
        sets = (await admin.get(f"/apis/apps/v1/namespaces/{namespace}/replicasets"))["items"]
        return {
            "spec": body["spec"],
            "annotations": sorted(metadata.get("annotations", {})),
            "revision": metadata["annotations"]["deployment.kubernetes.io/revision"],
            "finalizers": metadata.get("finalizers", []),
            "owners": sorted(
                (one["manager"], one["operation"], "f:OLD" in str(one) or '"OLD"' in str(one))
                for one in metadata["managedFields"]
                if not one.get("subresource")
            ),
            "revisions": sorted(one["metadata"]["annotations"]["deployment.kubernetes.io/revision"] for one in sets),
            "copies": len((await admin.get(f"/api/v1/namespaces/{namespace}/secrets"))["items"]),
        }

    def effects(self, audit: Iterable[Object], namespace: str) -> int:
        return sum(
            event["verb"] == "patch"
            and event["objectRef"].get("namespace") == namespace
            and event["objectRef"]["resource"] == "deployments"
            and "fieldManager=rollback-operator&" in event["requestURI"]
            and event["responseStatus"]["code"] == 200
            for event in audit
            if event.get("objectRef")
        )

    async def _available(self, admin: Admin, namespace: str) -> bool:
        body = await admin.get(self._path(namespace))
        status = body.get("status", {})
        seen = status.get("observedGeneration", 0) >= body["metadata"]["generation"]
        return bool(
            seen and status.get("availableReplicas") == status.get("replicas") == 1 == status.get("updatedReplicas")
        )

    def _path(self, namespace: str) -> str:
        return f"/apis/apps/v1/namespaces/{namespace}/deployments/web"


class WatchedDeployment(DeploymentRow):
    """The same, when nobody asks for a rollback and a policy sees that the release is bad."""

    name = "Deployment-by-policy"
    begun_by = "policy"
    create_call = "POST rollbackrequests"
    first_kills: tuple[str, ...] = (create_call, DeploymentRow.effect_call)
    samples = True  # such a run makes a hundred calls


ROWS: tuple[Row, ...] = (DeploymentRow(),)
WATCHED: tuple[WatchedDeployment, ...] = (WatchedDeployment(),)

__all__ = ["ROWS", "WATCHED", "Row"]
