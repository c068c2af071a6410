"""What the API server and controllers keep on every object: annotations, owners, times, how much was seen.

Pure functions over JSON, shared by the kinds whose target is an object of the API server.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

Object = dict[str, Any]

REVISION = "deployment.kubernetes.io/revision"
"""Annotation of a Deployment and its ReplicaSets: the number that its controller gave the revision."""


def annotations_of(thing: Object) -> dict[str, str]:
    """The annotations; none if there are none."""
    return thing["metadata"].get("annotations") or {}


def annotation_path(name: str) -> str:
    """Where a JSON patch finds an annotation."""
    return "/metadata/annotations/" + name.replace("~", "~0").replace("/", "~1")


def created(thing: Object) -> datetime | None:
    """When the object was made, to the second; None if it does not say so."""
    text = thing["metadata"].get("creationTimestamp")
    return datetime.fromisoformat(text) if text else None


def controller(thing: Object) -> str | None:
    """The uid of the object that controls this one."""
    owners = thing["metadata"].get("ownerReferences") or []
    return next((owner["uid"] for owner in owners if owner.get("controller")), None)


def fresh(thing: Object) -> bool:
    """Whether the object's controller has seen the latest change of what is asked for."""
    observed: int = (thing.get("status") or {}).get("observedGeneration", 0)
    return observed >= int(thing["metadata"]["generation"])


def changed(thing: Object, records: Iterable[Object], made_for_it: Object | None) -> datetime | None:
    """When the object got its template; `made_for_it` is the record of a revision that the change brought.

    Without one, the managed fields tell who wrote the template last. A time that is not after the newest of all
    `records` is that of an earlier change: the operator gives fields back to an owner whose entry keeps its old time.
    """
    if made_for_it is not None:
        return created(made_for_it)
    written = _template_written(thing["metadata"].get("managedFields") or [])
    newest = max((made for one in records if (made := created(one))), default=None)
    return None if written is None or (newest is not None and written <= newest) else written


def _template_written(managed: list[Object]) -> datetime | None:
    """The newest time at which a manager of fields of the template wrote (perhaps another field of its own)."""
    times = [
        datetime.fromisoformat(entry["time"])
        for entry in managed
        if not entry.get("subresource")
        and entry.get("time")
        and "f:template" in (entry.get("fieldsV1") or {}).get("f:spec", {})
    ]
    return max(times, default=None)
