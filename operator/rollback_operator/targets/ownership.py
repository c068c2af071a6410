"""Giving fields back to their owner after an effect.

An update takes the ownership of every field it changes. Left so, the owner's next server-side apply (Helm 4, Argo CD,
`kubectl apply --server-side`) fails with a conflict on them; merely dropped, the fields that came back with the old
revision belong to nobody, and the owner's next apply leaves them behind. So they are moved: what the operator's
entry of `metadata.managedFields` holds is added to the entry of the manager that owns the pod template. For a
client-side applier that includes the annotation with what it applied last: by its owner `kubectl apply --server-side`
finds whose fields to take over.
"""

from __future__ import annotations

import copy
from typing import Any

Entry = dict[str, Any]
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_PATH = "/metadata/managedFields"


def held_by(manager: str, managed: list[Entry]) -> list[Entry]:
    """The entries of that manager for the object itself (not for a subresource)."""
    return [entry for entry in managed if entry.get("manager") == manager and not entry.get("subresource")]


def giving_back(manager: str, managed: list[Entry]) -> list[dict[str, Any]]:
    """The JSON patch that removes the entries of `manager`, their template fields moved to the template's owner.

    It tests just the entries that it touches: status updates move the others, and the resourceVersion, all the time.
    """
    mine = [index for index, entry in enumerate(managed) if entry in held_by(manager, managed)]
    patch = [_operation("test", index, managed[index]) for index in mine]
    owner = _template_owner(managed, mine)
    if owner is not None:
        patch.append(_operation("test", owner, managed[owner]))
        patch.append(_operation("replace", owner, _with_fields_of(managed[owner], [managed[index] for index in mine])))
    return patch + [{"op": "remove", "path": f"{_PATH}/{index}"} for index in reversed(mine)]


def _operation(op: str, index: int, entry: Entry) -> dict[str, Any]:
    return {"op": op, "path": f"{_PATH}/{index}", "value": entry}


def _with_fields_of(owner: Entry, mine: list[Entry]) -> Entry:
    merged = copy.deepcopy(owner)
    for entry in mine:
        if entry.get("apiVersion") == owner.get("apiVersion"):
            _merge(merged["fieldsV1"]["f:spec"]["f:template"], _template_fields(entry) or {})
            if owner.get("operation") == "Update":
                _merge(merged["fieldsV1"], _last_applied_field(entry))
    return merged


def _last_applied_field(entry: Entry) -> dict[str, Any]:
    annotations = (entry.get("fieldsV1") or {}).get("f:metadata", {}).get("f:annotations", {})
    held = {name: inner for name, inner in annotations.items() if name == f"f:{LAST_APPLIED}"}
    return {"f:metadata": {"f:annotations": held}} if held else {}


def _template_owner(managed: list[Entry], mine: list[int]) -> int | None:
    """Who applies the template: a server-side applier before others, then whoever owns most of it."""
    owners = [
        index
        for index, entry in enumerate(managed)
        if index not in mine and not entry.get("subresource") and _template_fields(entry)
    ]
    return max(
        owners,
        key=lambda index: (managed[index].get("operation") == "Apply", _count(_template_fields(managed[index]))),
        default=None,
    )


def _template_fields(entry: Entry) -> dict[str, Any] | None:
    fields: dict[str, Any] | None = (entry.get("fieldsV1") or {}).get("f:spec", {}).get("f:template")
    return fields


def _count(fields: dict[str, Any] | None) -> int:
    return sum(1 + _count(inner) for inner in fields.values()) if fields else 0


def _merge(into: dict[str, Any], fields: dict[str, Any]) -> None:
    for key, inner in fields.items():
        _merge(into.setdefault(key, {}), inner)
