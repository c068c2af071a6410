"""What is known about pod templates: what makes two of them the same, what they need, how they are shown.

Pure functions over JSON, shared by the kinds that run pods.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

HASH_LABEL = "pod-template-hash"
RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"

_SECRETS_OF_DRIVERS = {
    "csi": "nodePublishSecretRef",
    **dict.fromkeys(("cephfs", "flexVolume", "iscsi", "rbd", "scaleIO", "storageos"), "secretRef"),
}
"""Volumes that are mounted with what a Secret says, and the field that names it (core/v1, Volume)."""

Template = dict[str, Any]


def without_hash(template: Template) -> Template:
    """A template as its owner wrote it: a ReplicaSet's copy carries the hash label besides."""
    copied = copy.deepcopy(template)
    metadata = copied.get("metadata") or {}
    metadata.pop("creationTimestamp", None)
    labels = metadata.get("labels") or {}
    labels.pop(HASH_LABEL, None)
    if metadata:
        copied["metadata"] = metadata
    return copied


def same(one: Template, other: Template) -> bool:
    """Whether two templates give the same ReplicaSet (the rule of the Deployment controller: all but the hash)."""
    return without_hash(one) == without_hash(other)


def fingerprint(template: Template) -> str:
    """What a release is: restarting it (`kubectl rollout restart`) does not make it another one."""
    plain = without_hash(template)
    metadata = plain.get("metadata") or {}
    annotations = {k: v for k, v in (metadata.get("annotations") or {}).items() if k != RESTARTED_AT}
    plain["metadata"] = {**metadata, "labels": metadata.get("labels") or {}, "annotations": annotations}
    canonical = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return "v1:" + hashlib.sha256(canonical.encode()).hexdigest()


def restarted(template: Template, at: datetime | None) -> Template:
    """A template that starts all pods anew, as `kubectl rollout restart` writes it at that time; None: as it is."""
    if at is None:
        return template
    copied = copy.deepcopy(template)
    copied.setdefault("metadata", {}).setdefault("annotations", {})[RESTARTED_AT] = f"{at:%Y-%m-%dT%H:%M:%SZ}"
    return copied


def not_restarted(template: Template) -> Template:
    """A template as its owner applies it: without what restarting its pods added."""
    copied = copy.deepcopy(template)
    metadata = copied.get("metadata") or {}
    annotations = metadata.get("annotations") or {}
    if annotations.pop(RESTARTED_AT, None) is not None and not annotations:
        del metadata["annotations"]
    return copied


def containers(template: Template) -> Iterator[dict[str, Any]]:
    """All containers, the initial ones included."""
    spec = template.get("spec") or {}
    yield from spec.get("initContainers") or []
    yield from spec.get("containers") or []


def moving_tags(template: Template) -> tuple[str, ...]:
    """Images that are named by a tag, not by digest: the same name may mean another image tomorrow."""
    images = (str(container.get("image", "")) for container in containers(template))
    return tuple(dict.fromkeys(image for image in images if image and "@sha256:" not in image))


@dataclass(frozen=True, slots=True, order=True)
class Need:
    """An object that a pod template refers to; `key` is the entry of it that is meant."""

    kind: str
    name: str
    key: str | None = None
    optional: bool = field(default=False, compare=False)
    """Pods start without it."""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}" + (f" (key {self.key})" if self.key else "")


def needs(template: Template) -> tuple[Need, ...]:
    """ConfigMaps, Secrets and PersistentVolumeClaims the template refers to, optional references left out."""
    return _listed(need for need in _references(template) if not need.optional)


def refers_to(template: Template) -> tuple[Need, ...]:
    """The same, with what is optional: pods start without it, and are given it where it is there."""
    return _listed(_references(template))


def _listed(found: Iterable[Need]) -> tuple[Need, ...]:
    """Each once; what one reference requires is not optional."""
    each = dict.fromkeys(sorted(found, key=lambda need: need.optional))
    return tuple(sorted(each, key=lambda need: (need.kind, need.name, need.key or "")))


def _references(template: Template) -> Iterator[Need]:
    """Each reference."""
    for container in containers(template):
        yield from _of_container(container)
    for volume in (template.get("spec") or {}).get("volumes") or []:
        yield from _of_volume(volume)


def _of_container(container: dict[str, Any]) -> Iterator[Need]:
    for source in container.get("envFrom") or []:
        yield from _reference("ConfigMap", source.get("configMapRef"))
        yield from _reference("Secret", source.get("secretRef"))
    for variable in container.get("env") or []:
        source = variable.get("valueFrom") or {}
        yield from _reference("ConfigMap", source.get("configMapKeyRef"), with_key=True)
        yield from _reference("Secret", source.get("secretKeyRef"), with_key=True)


def _of_volume(volume: dict[str, Any]) -> Iterator[Need]:
    sources = [volume, *((volume.get("projected") or {}).get("sources") or [])]
    for source in sources:
        yield from _reference("ConfigMap", source.get("configMap"))
        secret = source.get("secret") or {}
        yield from _reference("Secret", {"name": secret.get("secretName") or secret.get("name"), **secret})
    for driver, name in _SECRETS_OF_DRIVERS.items():
        yield from _reference("Secret", (volume.get(driver) or {}).get(name))
    yield from _reference("Secret", {"name": (volume.get("azureFile") or {}).get("secretName")})
    claim = volume.get("persistentVolumeClaim")
    if claim:
        yield Need("PersistentVolumeClaim", claim["claimName"])


def _reference(kind: str, reference: dict[str, Any] | None, *, with_key: bool = False) -> Iterator[Need]:
    if reference and reference.get("name"):
        key = reference.get("key") if with_key else None
        yield Need(kind, reference["name"], key, optional=bool(reference.get("optional")))


def shown(template: Template, salt: str) -> Template:
    """The template as it may be shown: what may be secret (values of env, annotations and headers) as short digests.

    `salt` is the target's uid: the same value reads the same in both halves of a diff, and cannot be looked up in a
    table made beforehand.
    """
    plain = without_hash(template)
    annotations = (plain.get("metadata") or {}).get("annotations") or {}
    for name in annotations:
        annotations[name] = digest(annotations[name], salt)
    for container in containers(plain):
        for literal in _literals(container):
            if literal.get("value"):
                literal["value"] = digest(literal["value"], salt)
    return plain


def _literals(container: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Names with a value: env variables, and the headers that probes and hooks send."""
    yield from container.get("env") or []
    probes = [container.get(name) for name in ("livenessProbe", "readinessProbe", "startupProbe")]
    hooks = (container.get("lifecycle") or {}).values()
    for asking in (*probes, *hooks):
        yield from ((asking or {}).get("httpGet") or {}).get("httpHeaders") or []


def digest(value: str, salt: str) -> str:
    """What is shown of a value that may be secret: the same value looks the same, and cannot be looked up."""
    return f"<digest {hashlib.sha256(f'{salt}/{value}'.encode()).hexdigest()[:8]}>"
