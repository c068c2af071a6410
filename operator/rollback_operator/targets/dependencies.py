"""Reading what a target refers to, as the service account: what it may not see is not seen."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from rollback_operator.kube import errors
from rollback_operator.kube.client import Api
from rollback_operator.kube.identity import Identity, ServiceAccount
from rollback_operator.targets.podtemplate import Need

_PLURALS = {"ConfigMap": "configmaps", "Secret": "secrets", "PersistentVolumeClaim": "persistentvolumeclaims"}
CLAIM = "PersistentVolumeClaim"


async def read(api: Api, path: str, as_: Identity) -> dict[str, Any] | None:
    """The object at `path`, or None if there is none."""
    try:
        return await api.get(path, as_=as_)
    except errors.NotFound:
        return None


async def check(
    api: Api, namespace: str, needed: Iterable[Need], account: ServiceAccount
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What of `needed` is gone, and notes on what could not be checked (both as sentences' parts)."""
    found = await _read_all(api, namespace, needed, account)
    missing = [
        str(need) for need, thing in found if thing is None or (isinstance(thing, dict) and not _has(thing, need))
    ]
    unchecked = [str(need) for need, thing in found if isinstance(thing, errors.Forbidden)]
    if not unchecked:
        return tuple(missing), ()
    note = f"Not checked, because service account {account} may not read them: {', '.join(unchecked)}."
    return tuple(missing), (note,)


async def unbound_claims(api: Api, namespace: str, needed: Iterable[Need], account: ServiceAccount) -> tuple[str, ...]:
    """Claims that are not bound, as far as the account may see them."""
    claims = [need for need in needed if need.kind == CLAIM]
    found = await _read_all(api, namespace, claims, account)
    return tuple(
        f"{need} is {thing.get('status', {}).get('phase', 'Pending')}"
        for need, thing in found
        if isinstance(thing, dict) and thing.get("status", {}).get("phase") != "Bound"
    )


async def _read_all(
    api: Api, namespace: str, needed: Iterable[Need], account: ServiceAccount
) -> list[tuple[Need, dict[str, Any] | errors.Forbidden | None]]:
    """Each need with its object, None if it is not there, or the refusal; each object is read once."""
    needed = list(needed)
    objects = list(dict.fromkeys((need.kind, need.name) for need in needed))
    results = await asyncio.gather(*(_one(api, namespace, kind, name, account) for kind, name in objects))
    by_object = dict(zip(objects, results, strict=True))
    return [(need, by_object[need.kind, need.name]) for need in needed]


async def _one(
    api: Api, namespace: str, kind: str, name: str, account: ServiceAccount
) -> dict[str, Any] | errors.Forbidden | None:
    try:
        return await read(api, f"/api/v1/namespaces/{namespace}/{_PLURALS[kind]}/{name}", account)
    except errors.Forbidden as error:
        return error


def _has(thing: dict[str, Any], need: Need) -> bool:
    if need.key is None:
        return True
    return any(need.key in (thing.get(part) or {}) for part in ("data", "binaryData", "stringData"))


def label_selector(selector: dict[str, Any]) -> str:
    """A LabelSelector in the form that a list takes."""
    parts = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    parts += [
        _expression(one["key"], one["operator"], one.get("values") or [])
        for one in selector.get("matchExpressions") or []
    ]
    return ",".join(parts)


def _expression(key: str, operator: str, values: list[str]) -> str:
    listed = f"({','.join(values)})"
    return {
        "In": f"{key} in {listed}",
        "NotIn": f"{key} notin {listed}",
        "Exists": key,
        "DoesNotExist": f"!{key}",
    }[operator]
