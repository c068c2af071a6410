"""A run of a group: two Deployments, one wave after the other."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from tests.faults.admin import Admin
from tests.faults.rows import DeploymentRow, deployment
from tests.faults.run import LONG, REQUEST, Bench

Object = dict[str, Any]
NAMES = ("web", "api")
"""The first wave, and the second."""


class GroupRow(DeploymentRow):
    """Two Deployments that are rolled back together."""

    name = "Deployment-group"
    begun_by = "group"
    create_call = "POST rollbackrequests"
    first_kills: tuple[str, ...] = (create_call,)
    samples = True

    async def release(self, admin: Admin, namespace: str, version: int, *, force: bool = False) -> None:
        for name in NAMES:
            await admin.apply(_path(namespace, name), _named(name, version), force=force)
        for name in NAMES:
            await admin.until(partial(_available, admin, namespace, name), f"version {version} of {name}")

    async def end_state(self, admin: Admin, namespace: str) -> Object:
        return {name: _gist(await admin.get(_path(namespace, name))) for name in NAMES}


@dataclass
class GroupBench(Bench):
    """A furnished namespace with two Deployments, in which a group can be made."""

    side_by_side: ClassVar[int] = 8
    idle: ClassVar[float] = 8  # longer than a group's pause between looks

    async def request(self, **spec: Any) -> None:
        """Ask for both to be rolled back."""
        targets = [{"target": {"kind": "Deployment", "name": name}, "wave": at} for at, name in enumerate(NAMES)]
        body: Object = {
            "apiVersion": "rollback.dev/v1alpha1",
            "kind": "RollbackRequest",
            "metadata": {"name": REQUEST},
            "spec": {"reason": "sweep", "targets": targets, "timeout": LONG, **spec},
        }
        await self.lab.admin.create(self._requests(), body)

    async def orders(self) -> Object:
        """The requests of the group, in the order of their waves, and how many were ever made."""
        found: list[Object] = (await self.lab.admin.get(self._requests()))["items"]
        of = {one["spec"]["target"]["name"]: one for one in found if "target" in one["spec"]}
        return {
            "created": sum(_is_creation(event) for event in self.audit()),
            "requests": {name: _end(of[name]) for name in NAMES if name in of},
            "in order": len(of) == len(NAMES) and _finished(of["web"]) <= of["api"]["metadata"]["creationTimestamp"],
        }


def _is_creation(event: Object) -> bool:
    """Whether the operator made a request."""
    return bool(
        event["verb"] == "create"
        and event["objectRef"]["resource"] == "rollbackrequests"
        and event["responseStatus"]["code"] == 201
        and event["user"]["username"].endswith(":rollback-operator")
    )


def _end(body: Object) -> tuple[Any, ...]:
    status = body.get("status", {})
    ready = [one["reason"] for one in status.get("conditions", []) if one["type"] == "Ready"]
    return status.get("phase"), *ready, body["metadata"].get("finalizers")


def _finished(body: Object) -> str:
    """To the second, as creation times are."""
    return str(body.get("status", {}).get("finishedAt", "9"))[:19] + "Z"


def _path(namespace: str, name: str) -> str:
    return f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}"


def _named(name: str, version: int) -> Object:
    body, labels = copy.deepcopy(deployment(version)), {"app": name}
    body["metadata"]["name"] = name
    body["spec"]["selector"] = {"matchLabels": labels}
    body["spec"]["template"]["metadata"] = {"labels": labels}
    return body


def _gist(body: Object) -> Object:
    metadata = body["metadata"]
    return {
        "spec": body["spec"],
        "annotations": sorted(metadata.get("annotations", {})),
        "revision": metadata["annotations"]["deployment.kubernetes.io/revision"],
        "finalizers": metadata.get("finalizers", []),
    }


async def _available(admin: Admin, namespace: str, name: str) -> bool:
    body = await admin.get(_path(namespace, name))
    status = body.get("status", {})
    seen = status.get("observedGeneration", 0) >= body["metadata"]["generation"]
    return bool(
        seen and status.get("availableReplicas") == status.get("replicas") == 1 == status.get("updatedReplicas")
    )
