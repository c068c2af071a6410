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
import json
from collections.abc import Callable
from typing import Any

from rollback_operator.targets.podtemplate import RESTARTED_AT

Entry = dict[str, Any]
Content = tuple[tuple[str, ...], ...]
"""Where the fields are that an effect changes: paths into `fieldsV1`."""
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
TEMPLATE: Content = (("f:spec", "f:template"),)
_PATH = "/metadata/managedFields"
_RESTARTED = f"f:{RESTARTED_AT}"


def held_by(manager: str, managed: list[Entry]) -> list[Entry]:
    """The entries of that manager for the object itself (not for a subresource)."""
    return [entry for entry in managed if entry.get("manager") == manager and not entry.get("subresource")]


def giving_back(
    manager: str, managed: list[Entry], content: Content = TEMPLATE, former: Entry | None = None
) -> list[dict[str, Any]]:
    """The JSON patch that removes the entries of `manager`, their fields of `content` moved to the owner of it.

    `former`: whose the content was, if that is known. An effect that changed all of it left that owner none; then it
    gets what the operator holds.

    It tests just the entries that it touches: status updates move the others, and the resourceVersion, all the time.
    """
    mine = [index for index, entry in enumerate(managed) if entry in held_by(manager, managed)]
    patch = [_operation("test", index, managed[index]) for index in mine]
    owner = _former(managed, mine, content, former)
    if owner is None and former is not None:
        return patch + [_operation("replace", index, _named(managed[index], former)) for index in mine]
    if owner is not None:
        whole = _with_fields_of(managed[owner], [managed[index] for index in mine], content)
        patch.append(_operation("test", owner, managed[owner]))
        patch.append(_operation("replace", owner, whole))
    return patch + [{"op": "remove", "path": f"{_PATH}/{index}"} for index in reversed(mine)]


def _operation(op: str, index: int, entry: Entry) -> dict[str, Any]:
    return {"op": op, "path": f"{_PATH}/{index}", "value": entry}


def owned_by(managed: list[Entry], content: Content) -> Entry | None:
    """The entry of whoever owns the `content`; None if nobody does."""
    owner = _owner(managed, [], content)
    return None if owner is None else managed[owner]


def followed(last_applied: str | None, change: Callable[[Entry], bool]) -> str | None:
    """What `kubectl apply` is to believe it applied last, so that its next apply knows the fields that came back.

    Otherwise the fields that only the restored state has are strangers to it, and stay for ever (kubernetes#94698).
    `change` makes the object that was applied what stands now, and says whether it could. None: nothing to follow.
    """
    try:
        applied = json.loads(last_applied) if last_applied else None
    except ValueError:
        return None
    if not isinstance(applied, dict) or not change(applied):
        return None
    return json.dumps(applied, separators=(",", ":")) + "\n"


def _with_fields_of(owner: Entry, mine: list[Entry], content: Content) -> Entry:
    merged = copy.deepcopy(owner)
    for entry in mine:
        if entry.get("apiVersion") == owner.get("apiVersion"):
            _merge(merged["fieldsV1"], _held(entry, content))
            if owner.get("operation") == "Update":
                _merge(merged["fieldsV1"], _last_applied_field(entry))
    return merged


def _last_applied_field(entry: Entry) -> dict[str, Any]:
    annotations = (entry.get("fieldsV1") or {}).get("f:metadata", {}).get("f:annotations", {})
    held = {name: inner for name, inner in annotations.items() if name == f"f:{LAST_APPLIED}"}
    return {"f:metadata": {"f:annotations": held}} if held else {}


def _former(managed: list[Entry], mine: list[int], content: Content, former: Entry | None) -> int | None:
    """The entry of the owner: also of one that lost every field of the content, if nobody applies it server-side."""
    owner = _owner(managed, mine, content)
    if former is None or (owner is not None and managed[owner].get("operation") == "Apply"):
        return owner
    same = [
        index
        for index, entry in enumerate(managed)
        if index not in mine and not entry.get("subresource") and entry == _named(entry, former)
    ]
    return same[0] if same else owner


def _named(entry: Entry, owner: Entry) -> Entry:
    """The entry as one of that owner's."""
    return {**entry, **{name: owner[name] for name in ("manager", "operation")}}


def _owner(managed: list[Entry], mine: list[int], content: Content) -> int | None:
    """Who applies the content: a server-side applier before others, then whoever owns most of it."""
    owners = [
        index
        for index, entry in enumerate(managed)
        if index not in mine and not entry.get("subresource") and _held(entry, content)
    ]
    return max(
        owners,
        key=lambda index: (managed[index].get("operation") == "Apply", _count(_held(managed[index], content))),
        default=None,
    )


def _held(entry: Entry, content: Content) -> dict[str, Any]:
    """The fields of the content that an entry holds; when pods were restarted is nobody's."""
    found: dict[str, Any] = {}
    for path in content:
        fields: dict[str, Any] | None = entry.get("fieldsV1") or {}
        for part in path:
            fields = (fields or {}).get(part)
        left = None if fields is None else _without(fields, ("f:metadata", "f:annotations", _RESTARTED))
        if left is not None:
            _merge(found, _under(path, left))
    return found


def _under(path: tuple[str, ...], fields: dict[str, Any]) -> dict[str, Any]:
    return {path[0]: _under(path[1:], fields)} if path else fields


def _without(fields: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any] | None:
    """The fields but for the one at `path`, and for what held nothing else; None if nothing is left.

    When pods were restarted is left to nobody: its owner's next apply would take it away, and restart them again.
    """
    if path[0] not in fields:
        return copy.deepcopy(fields)
    rest = {name: copy.deepcopy(inner) for name, inner in fields.items() if name != path[0]}
    inner = _without(fields[path[0]], path[1:]) if path[1:] else None
    if inner is not None:
        rest[path[0]] = inner
    return rest if set(rest) - {"."} else None


def _count(fields: dict[str, Any]) -> int:
    return sum(1 + _count(inner) for inner in fields.values())


def _merge(into: dict[str, Any], fields: dict[str, Any]) -> None:
    for key, inner in fields.items():
        _merge(into.setdefault(key, {}), inner)
