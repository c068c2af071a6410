"""Giving fields back to their owner after an effect.

An update takes the ownership of every field it changes. Left so, the owner's next server-side apply (Helm 4, Argo CD,
`kubectl apply --server-side`) fails with a conflict on them; merely dropped, the fields that came back with the old
revision belong to nobody, and the owner's next apply leaves them behind. So they are moved: what the operator's
entry of `metadata.managedFields` holds is added to the entry of the manager that owns the pod template.
"""

from __future__ import annotations

import copy
from typing import Any

Entry = dict[str, Any]


def held_by(manager: str, managed: list[Entry]) -> list[Entry]:
    """The entries of that manager for the object itself (not for a subresource)."""
    return [entry for entry in managed if entry.get("manager") == manager and not entry.get("subresource")]


def given_back(manager: str, managed: list[Entry]) -> list[Entry]:
    """`managedFields` without entries of `manager`, their template fields moved to the template's owner."""
    mine = held_by(manager, managed)
    rest = [copy.deepcopy(entry) for entry in managed if entry not in mine]
    owner = _template_owner(rest)
    if owner is not None:
        for entry in mine:
            template = _template_fields(entry)
            if template is not None and entry.get("apiVersion") == owner.get("apiVersion"):
                _merge(owner["fieldsV1"].setdefault("f:spec", {}).setdefault("f:template", {}), template)
    return rest


def _template_owner(managed: list[Entry]) -> Entry | None:
    """Who applies the template: a server-side applier before others, then whoever owns most of it."""
    owners = [entry for entry in managed if not entry.get("subresource") and _template_fields(entry)]
    return max(owners, key=lambda entry: (entry.get("operation") == "Apply", _count(_template_fields(entry))), default=None)


def _template_fields(entry: Entry) -> dict[str, Any] | None:
    fields: dict[str, Any] | None = (entry.get("fieldsV1") or {}).get("f:spec", {}).get("f:template")
    return fields


def _count(fields: dict[str, Any] | None) -> int:
    return sum(1 + _count(inner) for inner in fields.values()) if fields else 0


def _merge(into: dict[str, Any], fields: dict[str, Any]) -> None:
    for key, inner in fields.items():
        _merge(into.setdefault(key, {}), inner)
