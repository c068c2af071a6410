"""What a configuration is: digests of its objects, and which of them cannot change. Pure functions."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from rollback_operator.api.remember import Remember, Remembered, RememberedObject
from rollback_operator.configuration.identity import PASSING, template_of
from rollback_operator.core.values import Revision
from rollback_operator.targets.podtemplate import Need

Object = dict[str, Any]

_SAYS = {
    "ConfigMap": ("data", "binaryData"),
    "Secret": ("data", "type"),
    "Service": ("spec",),
    "Ingress": ("spec",),
}
"""The parts of each kind that change what pods are given; labels and annotations do not."""
_OF_PODS = ("ConfigMap", "Secret")
ADDRESS = ("clusterIP", "clusterIPs")
_HASH = re.compile(r"-[2456789bcdfghkmt]{10}$")
"""How names end that kustomize makes from the content (its digits avoid what could be read as words)."""
_SHOWN = 20


def to_remember(needed: Iterable[Need], asked: Remember) -> tuple[tuple[str, str], ...]:
    """Kind and name of each object that is remembered, if it is there."""
    left_out = {(one.kind, one.name) for one in asked.without}
    referred = [(need.kind, need.name) for need in needed if asked.config and need.kind in _OF_PODS]
    also = [(one.kind, one.name) for one in asked.also]
    return tuple(one for one in dict.fromkeys([*referred, *also]) if one not in left_out)


def named_by_content(kind: str, name: str) -> bool:
    """Whether another content would have another name."""
    return kind in _OF_PODS and _HASH.search(name) is not None


def may_change(kind: str, thing: Object) -> bool:
    """Whether the object can have another content under its name."""
    return thing.get("immutable") is not True and not named_by_content(kind, thing["metadata"]["name"])


def says(kind: str, thing: Object) -> Object:
    """The parts of an object that change what pods are given; the address that a Service was given is none of them."""
    said = {part: thing[part] for part in _SAYS[kind] if thing.get(part) is not None}
    return {**said, "spec": without_address(said["spec"])} if kind == "Service" and "spec" in said else said


def without_address(spec: Object) -> Object:
    """The spec of a Service without the address that the API server gave it; that it is to have none is kept."""
    return spec if _has_none(spec) else {k: v for k, v in spec.items() if k not in ADDRESS}


def headless(service: Object) -> bool:
    """Whether a Service is to have no address."""
    return _has_none(service.get("spec") or {})


def _has_none(spec: Object) -> bool:
    return spec.get("clusterIP") == "None"


def digest_of(kind: str, thing: Object, salt: str) -> str:
    """What an object says, as a digest.

    `salt` is the policy's uid: the same content reads the same for one policy, and cannot be looked up in a table made
    beforehand.
    """
    return _sha([salt, kind, thing["metadata"]["name"], says(kind, thing)])[:_SHOWN]


def written(kind: str, thing: Object) -> datetime | None:
    """When what an object says was written last, to the second, as its managed fields have it; None if they do not."""
    parts = {f"f:{part}" for part in _SAYS[kind]}
    times = [
        datetime.fromisoformat(entry["time"])
        for entry in thing["metadata"].get("managedFields") or []
        if entry.get("time") and not entry.get("subresource") and parts & set(entry.get("fieldsV1") or {})
    ]
    return max(times, default=None)


def secret_name(digest: str) -> str:
    """Name of the Secret that holds what has this digest."""
    return f"rollback-config-{digest}"


def whole(objects: Iterable[RememberedObject]) -> str:
    """Digest of a whole configuration."""
    return "c1:" + _sha(sorted(one.secret for one in objects))[:_SHOWN]


def _sha(value: Any) -> str:
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def last_with(known: Sequence[Remembered], fingerprint: str) -> Remembered | None:
    """The configuration that a revision ran with last.

    A release often brings its configuration a moment before its template: seen in between, the new configuration
    stands beside the old revision. So what was soon followed by something else counts only if there is nothing better.
    """
    followed = zip(known, [*known[1:], None], strict=False)
    its = [(one, then) for one, then in followed if one.fingerprint == fingerprint]
    lasting = [one for one, then in its if then is None or then.at - one.at >= PASSING]
    candidates = lasting or [one for one, _ in its]
    return candidates[-1] if candidates else None


def belonging(known: Sequence[Remembered], to: Revision) -> Remembered | None:
    """The configuration that belongs to a revision: its own, or the last one that its template ran with."""
    its = [one for one in known if one.identity == to.fingerprint and one.config == to.config]
    return its[-1] if its else last_with(known, template_of(to.fingerprint))


def forgotten(before: Iterable[Remembered], after: Iterable[Remembered]) -> tuple[str, ...]:
    """Secrets that nothing refers to any more."""
    held = {one.secret for entry in after for one in entry.kept}
    return tuple(dict.fromkeys(one.secret for entry in before for one in entry.kept if one.secret not in held))
