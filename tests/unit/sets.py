"""Makes StatefulSets, DaemonSets and what belongs to them as the API server gives them."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterable
from typing import Any

from rollback_operator.api import REQUEST_ANNOTATION
from tests.unit.builders import CHECKOUT_UID
from tests.unit.objects import SELECTOR, Object, template

STATEFUL_COUNTS = ("replicas", "readyReplicas", "availableReplicas", "updatedReplicas")
DAEMON_COUNTS = ("desiredNumberScheduled", "updatedNumberScheduled", "numberAvailable")


def _set(kind: str, image: str, status: Object, more: Object, spec: Object) -> Object:
    generation, observed = more.get("generation", 3), more.get("observed")
    noted = dict(more.get("annotations") or {})
    if more.get("mark"):
        noted[REQUEST_ANNOTATION] = more["mark"]
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {
            "name": "checkout",
            "namespace": "shop",
            "uid": CHECKOUT_UID,
            "generation": generation,
            "resourceVersion": "1",
            "managedFields": list(more.get("managed", ())),
            **({"annotations": noted} if noted else {}),
        },
        "spec": {
            "selector": {"matchLabels": dict(SELECTOR)},
            "template": more.get("pods") or template(image),
            **spec,
        },
        "status": {"observedGeneration": generation if observed is None else observed, **status},
    }


def stateful_set(
    image: str = "shop:3", *, replicas: int = 3, status: Object | None = None, more: Object | None = None, **spec: Any
) -> Object:
    """A StatefulSet that is rolled out; `more`: generation, observed, mark, annotations, managed, pods."""
    rolled_out = dict.fromkeys(STATEFUL_COUNTS, replicas)
    return _set("StatefulSet", image, {**rolled_out, **(status or {})}, more or {}, {"replicas": replicas, **spec})


def daemon_set(
    image: str = "shop:3", *, nodes: int = 3, status: Object | None = None, more: Object | None = None, **spec: Any
) -> Object:
    """A DaemonSet that is rolled out."""
    rolled_out = dict.fromkeys(DAEMON_COUNTS, nodes)
    return _set("DaemonSet", image, {**rolled_out, **(status or {})}, more or {}, spec)


def record(
    number: int,
    image: str | None = None,
    *,
    owner: str = CHECKOUT_UID,
    mark: str | None = None,
    annotations: dict[str, str] | None = None,
    created: str | None = None,
    pods: Object | None = None,
) -> Object:
    """A ControllerRevision as the controllers make it: the template as a patch that replaces the whole of it."""
    held = copy.deepcopy(pods or template(image or f"shop:{number}"))
    digest = hashlib.sha256(json.dumps(held, sort_keys=True).encode()).hexdigest()[:10]
    held["metadata"]["creationTimestamp"] = None  # as older API servers write it
    noted = dict(annotations or {})
    if mark is not None:
        noted[REQUEST_ANNOTATION] = mark
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": f"checkout-{digest}",
            "namespace": "shop",
            "labels": {**SELECTOR, "controller-revision-hash": digest},
            "annotations": noted,
            "ownerReferences": [{"kind": "StatefulSet", "name": "checkout", "uid": owner, "controller": True}],
            **({"creationTimestamp": created} if created else {}),
        },
        "revision": number,
        "data": {"spec": {"template": {**held, "$patch": "replace"}}},
    }


def set_pod(
    name: str,
    revision: str,
    *,
    ready: bool = True,
    owner: str = CHECKOUT_UID,
    statuses: Iterable[Object] = (),
    **fields: Any,
) -> Object:
    """A pod of a set; `revision` is what it has as controller-revision-hash."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": "shop",
            "uid": f"uid-of-{name}",
            "labels": {**SELECTOR, "controller-revision-hash": revision},
            "ownerReferences": [{"uid": owner, "controller": True}],
            **fields,
        },
        "status": {
            "conditions": [{"type": "Ready", "status": str(ready)}],
            "containerStatuses": list(statuses),
        },
    }
