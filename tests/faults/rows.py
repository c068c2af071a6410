"""One row a kind of target: what the sweep has to know of it. A new kind joins by adding a row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Protocol

from tests.faults.admin import Admin

Object = dict[str, Any]
BROKEN = 2
"""The version whose pods do not get ready, where that matters."""


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
    only_own: bool
    """Whether only its own calls are disturbed, unless the run is a deep one: all else is swept with another row."""
    asks: Mapping[str, Any]
    """What a request says beside its target."""

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
    only_own = False
    asks: Mapping[str, Any] = MappingProxyType({})
    body = staticmethod(deployment)

    async def release(self, admin: Admin, namespace: str, version: int, *, force: bool = False) -> None:
        await admin.apply(self._path(namespace), self.body(version), force=force)
        await admin.until(lambda: self._available(admin, namespace), f"version {version} is rolled out")

    async def recreate(self, admin: Admin, namespace: str) -> None:
        await self.delete(admin, namespace)
        await self.release(admin, namespace, 2)

    async def delete(self, admin: Admin, namespace: str) -> None:
        await admin.delete(self._path(namespace))

        async def gone() -> bool:
            return await self.version(admin, namespace) is None

        await admin.until(gone, f"the {self.kind} is gone")

    async def version(self, admin: Admin, namespace: str) -> int | None:
        body = await admin.find(self._path(namespace))
        if body is None:
            return None
        return int(body["spec"]["template"]["spec"]["containers"][0]["image"].split(":")[1])

    async def end_state(self, admin: Admin, namespace: str) -> Object:
        body = await admin.get(self._path(namespace))
        sets = (await admin.get(f"/apis/apps/v1/namespaces/{namespace}/replicasets"))["items"]
        return {
            **self._asked(body),
            "revision": body["metadata"]["annotations"]["deployment.kubernetes.io/revision"],
            "revisions": sorted(one["metadata"]["annotations"]["deployment.kubernetes.io/revision"] for one in sets),
            "copies": len((await admin.get(f"/api/v1/namespaces/{namespace}/secrets"))["items"]),
        }

    def _asked(self, body: Object) -> Object:
        """What stands on the object itself, and who owns it."""
        metadata = body["metadata"]
        return {
            "spec": body["spec"],
            "annotations": sorted(metadata.get("annotations", {})),
            "finalizers": metadata.get("finalizers", []),
            "owners": sorted(
                (one["manager"], one["operation"], "f:OLD" in str(one) or '"OLD"' in str(one))
                for one in metadata["managedFields"]
                if not one.get("subresource")
            ),
        }

    def effects(self, audit: Iterable[Object], namespace: str) -> int:
        return sum(
            event["verb"] == "patch"
            and event["objectRef"].get("namespace") == namespace
            and event["objectRef"]["resource"] == self._plural
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
        return f"/apis/apps/v1/namespaces/{namespace}/{self._plural}/web"

    @property
    def _plural(self) -> str:
        return f"{self.kind.lower()}s"


def stateful_set(version: int) -> Object:
    """A StatefulSet `web` of that version; the pod of its second version is taken by no node."""
    body = deployment(version)
    body["kind"] = "StatefulSet"
    body["spec"]["serviceName"] = "web"
    if version == BROKEN:
        body["spec"]["template"]["spec"]["nodeSelector"] = {"nowhere": "true"}
    return body


def daemon_set(version: int) -> Object:
    """A DaemonSet `web` of that version."""
    body = deployment(version)
    body["kind"] = "DaemonSet"
    del body["spec"]["replicas"]
    return body


class SetRow(DeploymentRow):
    """A kind whose history is ControllerRevisions."""

    samples = True  # what all kinds have in common is swept with Deployments

    async def end_state(self, admin: Admin, namespace: str) -> Object:
        body = await admin.get(self._path(namespace))
        records = (await admin.get(f"/apis/apps/v1/namespaces/{namespace}/controllerrevisions"))["items"]
        pods = (await admin.get(f"/api/v1/namespaces/{namespace}/pods"))["items"]
        return {
            **self._asked(body),
            "revisions": sorted(one["revision"] for one in records),
            "pods": sorted(one["spec"]["containers"][0]["image"] for one in pods),
            "copies": len((await admin.get(f"/api/v1/namespaces/{namespace}/secrets"))["items"]),
        }


class StatefulSetRow(SetRow):
    """A StatefulSet that waits for a pod of the bad version, which has to be deleted."""

    name = kind = "StatefulSet"
    effect_call = "PATCH statefulsets/web"
    first_kills: tuple[str, ...] = (effect_call, "DELETE pods/web-0")
    body = staticmethod(stateful_set)

    async def _available(self, admin: Admin, namespace: str) -> bool:
        body = await admin.get(self._path(namespace))
        version = body["spec"]["template"]["spec"]["containers"][0]["image"]
        status = body.get("status", {})
        seen = status.get("observedGeneration", 0) >= body["metadata"]["generation"]
        there = status.get("availableReplicas", 0) == (0 if version == f"shop:{BROKEN}" else 1)
        return bool(seen and there and status.get("updatedReplicas") == 1)


class UndoneStatefulSetRow(StatefulSetRow):
    """The same when the template was set back by hand, so that all there is to do is to delete the pod.

    Its revision is named: which of two was made first is told by whole seconds, and a run takes less.
    """

    name = "StatefulSet-undone"
    only_own = True
    asks: Mapping[str, Any] = MappingProxyType({"to": "3"})

    async def release(self, admin: Admin, namespace: str, version: int, *, force: bool = False) -> None:
        await super().release(admin, namespace, version, force=force)
        if version == BROKEN:
            await admin.until(lambda: self._waits(admin, namespace), "no node takes the pod of the bad version")
            await admin.apply(self._path(namespace), self.body(1), force=force)
            await admin.until(lambda: self._numbered(admin, namespace), "what came back is numbered")

    async def _waits(self, admin: Admin, namespace: str) -> bool:
        pods = (await admin.get(f"/api/v1/namespaces/{namespace}/pods"))["items"]
        images = [one["spec"]["containers"][0]["image"] for one in pods]
        refused = [
            one for pod in pods for one in pod["status"].get("conditions", []) if one.get("reason") == "Unschedulable"
        ]
        return images == [f"shop:{BROKEN}"] and bool(refused)

    async def _numbered(self, admin: Admin, namespace: str) -> bool:
        body = await admin.get(self._path(namespace))
        records = (await admin.get(f"/apis/apps/v1/namespaces/{namespace}/controllerrevisions"))["items"]
        seen = body["status"].get("observedGeneration") == body["metadata"]["generation"]
        return bool(seen and max(one["revision"] for one in records) == 3)


class DaemonSetRow(SetRow):
    """A DaemonSet, on one node."""

    name = kind = "DaemonSet"
    effect_call = "PATCH daemonsets/web"
    first_kills: tuple[str, ...] = (effect_call,)
    body = staticmethod(daemon_set)

    async def _available(self, admin: Admin, namespace: str) -> bool:
        body = await admin.get(self._path(namespace))
        status = body.get("status", {})
        seen = status.get("observedGeneration", 0) >= body["metadata"]["generation"]
        return bool(seen and status.get("numberAvailable") == 1 == status.get("updatedNumberScheduled"))


class WatchedDeployment(DeploymentRow):
    """The same, when nobody asks for a rollback and a policy sees that the release is bad."""

    name = "Deployment-by-policy"
    begun_by = "policy"
    create_call = "POST rollbackrequests"
    first_kills: tuple[str, ...] = (create_call, DeploymentRow.effect_call)
    samples = True  # such a run makes a hundred calls


ROWS: tuple[Row, ...] = (DeploymentRow(),)
SETS: tuple[Row, ...] = (StatefulSetRow(), UndoneStatefulSetRow(), DaemonSetRow())
OWN_CALLS = {row.name: row.first_kills for row in SETS}
"""Of kinds that do the rest as another one does: the calls that are disturbed by every class of faults."""
WATCHED: tuple[WatchedDeployment, ...] = (WatchedDeployment(),)

__all__ = ["OWN_CALLS", "ROWS", "SETS", "WATCHED", "Row"]
