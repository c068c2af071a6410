"""Makes Kubernetes objects as the API server gives them, as far as a rollback reads them."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterable
from typing import Any

import jsonpatch
import jsonpointer

from rollback_operator.api import API_VERSION, REQUEST_ANNOTATION
from rollback_operator.targets.metadata import REVISION
from tests.unit.builders import CHECKOUT_UID, NOW

Object = dict[str, Any]
SELECTOR = {"app": "checkout"}


def template(image: str = "shop:3", **more: Any) -> Object:
    """A pod template of one container; `more` goes into the container."""
    return {
        "metadata": {"labels": dict(SELECTOR)},
        "spec": {"containers": [{"name": "web", "image": image, **more}]},
    }


def deployment(
    image: str = "shop:3",
    *,
    number: int | None = 3,
    generation: int = 3,
    observed: int | None = None,
    replicas: int = 3,
    mark: str | None = None,
    annotations: dict[str, str] | None = None,
    managed: Iterable[Object] = (),
    status: Object | None = None,
    name: str = "checkout",
    pods: Object | None = None,
    **spec: Any,
) -> Object:
    """A Deployment that is rolled out."""
    noted = dict(annotations or {})
    if number is not None:
        noted[REVISION] = str(number)
    if mark is not None:
        noted[REQUEST_ANNOTATION] = mark
    rolled_out = dict.fromkeys(("replicas", "updatedReplicas", "availableReplicas", "readyReplicas"), replicas)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": name,
            "namespace": "shop",
            "uid": CHECKOUT_UID,
            "generation": generation,
            "resourceVersion": "1",
            "labels": {"team": "shop"},
            "annotations": noted,
            "managedFields": list(managed),
        },
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": dict(SELECTOR)},
            "template": pods or template(image),
            **spec,
        },
        "status": {
            "observedGeneration": generation if observed is None else observed,
            **(rolled_out if status is None else status),
        },
    }


def replica_set(
    number: int,
    image: str | None = None,
    *,
    mark: str | None = None,
    owner: str = CHECKOUT_UID,
    annotations: dict[str, str] | None = None,
    pods: Object | None = None,
) -> Object:
    """A ReplicaSet as the Deployment controller makes it: the template with the hash label."""
    of_owner = copy.deepcopy(pods or template(image or f"shop:{number}"))
    digest = hashlib.sha256(json.dumps(of_owner, sort_keys=True).encode()).hexdigest()[:10]
    of_owner["metadata"].setdefault("labels", {})["pod-template-hash"] = digest
    noted = {REVISION: str(number), **(annotations or {})}
    if mark is not None:
        noted[REQUEST_ANNOTATION] = mark
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"checkout-{digest}",
            "namespace": "shop",
            "uid": f"uid-of-{digest}",
            "labels": {**SELECTOR, "pod-template-hash": digest},
            "annotations": noted,
            "ownerReferences": [{"kind": "Deployment", "name": "checkout", "uid": owner, "controller": True}],
        },
        "spec": {"replicas": 0, "template": of_owner},
    }


def pod(name: str, of: Object, *statuses: Object, initial: Iterable[Object] = (), **fields: Any) -> Object:
    """A pod of the ReplicaSet `of`, with the statuses of its containers."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "shop", "labels": dict(of["metadata"]["labels"]), **fields},
        "status": {"initContainerStatuses": list(initial), "containerStatuses": list(statuses)},
    }


def waiting(reason: str, *, last: Object | None = None, name: str = "web", restarts: int = 0) -> Object:
    """The status of a container that waits; words of its own are always there, and never ours to repeat."""
    return {
        "name": name,
        "image": "shop:2",
        "restartCount": restarts,
        "state": {"waiting": {"reason": reason, "message": "SECRET words of the kubelet"}},
        "lastState": {"terminated": {"message": "SECRET last words", **last}} if last else {},
    }


def request_body(name: str = "undo", *, uid: str = "uid-of-request", age: float = 0, **spec: Any) -> Object:
    """A RollbackRequest as it is read from the API server, its defaults filled in."""
    about = {} if "policyRef" in spec else {"target": {"kind": "Deployment", "name": "checkout"}}
    created = NOW.timestamp() - age
    return {
        "apiVersion": API_VERSION,
        "kind": "RollbackRequest",
        "metadata": {
            "name": name,
            "namespace": "shop",
            "uid": uid,
            "generation": 1,
            "resourceVersion": "1",
            "creationTimestamp": NOW.fromtimestamp(created, NOW.tzinfo).strftime("%Y-%m-%dT%H:%M:%SZ"),
        },
        "spec": {**about, "reason": "5xx", "dryRun": False, "timeout": "10m", "abort": False, **spec},
        "status": {"observedGeneration": -1},
    }


def policy_body(name: str = "checkout", **spec: Any) -> Object:
    """A RollbackPolicy as it is read from the API server."""
    return {
        "apiVersion": API_VERSION,
        "kind": "RollbackPolicy",
        "metadata": {
            "name": name,
            "namespace": "shop",
            "uid": f"uid-of-policy-{name}",
            "generation": 1,
            "resourceVersion": "1",
            "creationTimestamp": NOW.strftime("%Y-%m-%dT%H:%M:%SZ"),
        },
        "spec": {
            "target": {"kind": "Deployment", "name": "checkout"},
            "to": "LastKnownGood",
            "verify": {"timeout": "5m"},
            "historyLimit": 20,
            **spec,
        },
        "status": {"observedGeneration": -1},
    }


class PatchError(Exception):
    """An operation of a JSON patch does not fit: the API server does none of them."""


def patched(thing: Object, operations: list[Object]) -> Object:
    """What the API server makes of a JSON patch. Unlike the package, it takes what is not there for null in a test."""
    result = copy.deepcopy(thing)
    for operation in operations:
        absent = jsonpointer.resolve_pointer(result, operation["path"], None) is None
        if operation["op"] == "test" and operation["value"] is None and absent:
            continue
        try:
            result = jsonpatch.apply_patch(result, [operation])
        except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException) as error:
            raise PatchError(f"{operation}: {error}") from error
    return result
