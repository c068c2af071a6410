"""Putting one object back as it was: what is sent for it, and what of that is shown. Pure functions over JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from rollback_operator.api import REQUEST_ANNOTATION
from rollback_operator.configuration.digest import ADDRESS, says, without_address
from rollback_operator.targets import ownership, podtemplate
from rollback_operator.targets.diff import unified
from rollback_operator.targets.effects import following, marked
from rollback_operator.targets.metadata import annotations_of
from rollback_operator.targets.ownership import LAST_APPLIED, Content

Object = dict[str, Any]

CONTENT: Mapping[str, Content] = {
    "ConfigMap": (("f:data",), ("f:binaryData",)),
    "Secret": (("f:data",), ("f:stringData",)),
    "Service": (("f:spec",),),
    "Ingress": (("f:spec",),),
}
"""The fields whose owner applies the object."""
_PARTS = {
    "ConfigMap": ("data", "binaryData"),
    "Secret": ("data",),
    "Service": ("spec",),
    "Ingress": ("spec",),
}
"""What is put back. The type of a Secret cannot be changed: the API server says so if it would have to be."""
_APPLIED = {**_PARTS, "Secret": ("data", "stringData")}
"""What of it people apply."""
_OF_ITS_FORMER_LIFE = ("ownerReferences", "finalizers")


def replacing(kind: str, live: Object, kept: Object, key: str) -> list[Object]:
    """The patch that makes `live` say what `kept` says, marked with `key`; it fits no other version of the object."""
    metadata, now = live["metadata"], annotations_of(live)
    return [
        {"op": "test", "path": "/metadata/uid", "value": metadata["uid"]},
        {"op": "test", "path": "/metadata/resourceVersion", "value": metadata["resourceVersion"]},
        *(operation for part in _PARTS[kind] for operation in _part(part, live, kept)),
        marked(now, key, "add"),
        *following(now, _followed(kind, now.get(LAST_APPLIED), kept)),
    ]


def anew(kind: str, kept: Object, key: str) -> Object:
    """The object that is made where there is none any more, marked with `key`.

    Its owners of then are left out, for the garbage collector deletes what names one that is gone; so are finalizers,
    which whoever set them sets again.
    """
    metadata = {name: value for name, value in kept["metadata"].items() if name not in _OF_ITS_FORMER_LIFE}
    metadata["annotations"] = {**annotations_of(kept), REQUEST_ANNOTATION: key}
    spec = {"spec": without_address(kept["spec"])} if kind == "Service" else {}
    return {**kept, **spec, "metadata": metadata}


def _part(part: str, live: Object, kept: Object) -> list[Object]:
    if kept.get(part) is None:
        return [{"op": "remove", "path": f"/{part}"}] if part in live else []
    value = kept[part]
    if part == "spec":  # a Service keeps the address that it has
        value = {**without_address(value), **{name: live[part][name] for name in ADDRESS if name in live[part]}}
    return [{"op": "add", "path": f"/{part}", "value": value}]


def _followed(kind: str, last_applied: str | None, kept: Object) -> str | None:
    """What was applied last, as if its owner had gone back: what the owner applied then, if that is known."""
    then = _applied(kept)

    def follow(applied: Object) -> bool:
        for part in _APPLIED[kind]:
            applied.pop(part, None)
            if part in then:
                applied[part] = then[part]
        return bool(then)

    return ownership.followed(last_applied, follow)


def _applied(kept: Object) -> Object:
    """What the owner of `kept` had applied. Of one that says nothing of it, only data stands for itself."""
    try:
        then = json.loads(annotations_of(kept).get(LAST_APPLIED) or "null")
    except ValueError:
        then = None
    if isinstance(then, dict):
        return then
    return {} if "spec" in kept else kept


def difference(kind: str, live: Object | None, kept: Object, salt: str) -> str:
    """What changes, as a unified diff; every value of a ConfigMap or Secret as a digest."""
    name = f"{kind} {kept['metadata']['name']}"
    return unified(_shown(kind, live, salt), _shown(kind, kept, salt), f"{name} (now)", f"{name} (after)")


def _shown(kind: str, thing: Object | None, salt: str) -> Object | None:
    if thing is None:
        return None
    return {part: _hidden(value, salt) if part != "spec" else value for part, value in says(kind, thing).items()}


def _hidden(value: Any, salt: str) -> Any:
    if not isinstance(value, dict):
        return value
    return {key: podtemplate.digest(str(inner), salt) for key, inner in value.items()}
