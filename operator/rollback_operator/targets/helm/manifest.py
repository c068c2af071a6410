"""What a release's manifest says: its objects, how two manifests differ, and what a change of them would delete.

Pure functions over text and JSON.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rollback_operator.targets import podtemplate
from rollback_operator.targets.diff import unified
from rollback_operator.untrusted import Room, UntrustedError, yaml_in

LONGEST_DIFF = 64 * 1024
"""Characters of a difference that are made before it is cut; the status holds less."""
MOST_VALUES = 200_000
"""Values that a manifest may have: one that refers to itself again and again has more."""
CRD = "CustomResourceDefinition"
_KEEP = "helm.sh/resource-policy"
_SEPARATOR = re.compile(r"(?:^|\n)---[ \t]*(?:\n|$)")
_SOURCE = re.compile(r"^# Source: (.*)$", re.MULTILINE)
_TEMPLATES = {
    "Deployment": ("spec", "template"),
    "ReplicaSet": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
    "DaemonSet": ("spec", "template"),
    "Job": ("spec", "template"),
    "ReplicationController": ("spec", "template"),
    "PodTemplate": ("template",),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
}

_OPEN = ("apiVersion", "kind", "metadata")

Object = dict[str, Any]


class ManifestError(Exception):
    """A manifest cannot be understood; the message says why, without its content."""


@dataclass(frozen=True, slots=True, order=True)
class Name:
    """Which object a part of a manifest is about; `namespace` as the chart has it, empty where it says none."""

    group: str
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}" + (f" in namespace {self.namespace}" if self.namespace else "")


Parts = tuple[tuple[str, dict[Name, Object]], ...]
"""Texts, each with the objects in it."""


def documents(manifest: str) -> Iterator[tuple[str, str]]:
    """The parts of a manifest, each with the template it came from."""
    for part in _SEPARATOR.split(manifest):
        if part.strip():
            source = _SOURCE.search(part)
            yield (source[1].strip() if source is not None else ""), part.strip()


def objects(manifest: str) -> dict[Name, Object]:
    """The objects of a manifest by name.

    Raises:
        ManifestError: it is not YAML, or larger than anything sensible.
    """
    room = Room(MOST_VALUES)
    return {name: thing for part in documents(manifest) for name, thing in _objects_in(part, room).items()}


def _objects_in(part: tuple[str, str], room: Room) -> dict[Name, Object]:
    source, text = part
    try:
        return {name_of(one): one for thing in yaml_in(text, room) for one in _members(thing)}
    except UntrustedError as error:
        raise ManifestError(f"the manifest of {source or 'a template'} {error}") from None


def _members(thing: Any) -> Iterator[Object]:
    """Objects. Whatever has `items` is a list for Helm and stands for them, which need not say what they are."""
    if not isinstance(thing, dict) or not thing.get("kind"):
        return
    if isinstance(thing.get("items"), list):
        implied = {"apiVersion": thing.get("apiVersion"), "kind": str(thing["kind"]).removesuffix("List")}
        for item in thing["items"]:
            said = isinstance(item, dict) and (item.get("apiVersion") or item.get("kind"))
            yield from _members(item if said or not isinstance(item, dict) else {**item, **implied})
    elif isinstance(thing.get("metadata"), dict):
        yield thing


def name_of(thing: Object) -> Name:
    """The name of an object."""
    metadata, version = thing["metadata"], str(thing.get("apiVersion", ""))
    group = version.rpartition("/")[0]
    return Name(group, str(thing["kind"]), str(metadata.get("namespace") or ""), str(metadata.get("name", "")))


def difference(before: dict[Name, Object], after: dict[Name, Object], salt: str, then: tuple[str, str]) -> str:
    """How the objects differ, one after the other; `then` says what the two sides are."""
    parts: list[str] = []
    length = 0
    for name in sorted({*before, *after}):
        old, new = (_shown(side.get(name), salt) for side in (before, after))
        part = unified(old, new, f"{name}, {then[0]}", f"{name}, {then[1]}")
        parts.append(part)
        length += len(part)
        if length > LONGEST_DIFF:
            break
    return "".join(parts)


def _shown(thing: Object | None, salt: str) -> Object | None:
    """An object as it may be shown: what may be secret as digests."""
    if thing is None:
        return None
    shown = dict(thing)
    if thing["kind"] == "Secret":
        for part in ("data", "stringData"):
            if isinstance(thing.get(part), dict):
                shown[part] = {name: podtemplate.digest(str(value), salt) for name, value in thing[part].items()}
    metadata = dict(thing["metadata"])
    if isinstance(metadata.get("annotations"), dict):
        noted = metadata["annotations"]
        metadata["annotations"] = {name: podtemplate.digest(str(value), salt) for name, value in noted.items()}
    shown["metadata"] = metadata
    if not _is_known(thing):
        return {name: one if name in _OPEN else _digested(one, salt) for name, one in shown.items()}
    try:
        if thing["kind"] == "Pod":
            return {**podtemplate.shown(shown, salt), "metadata": metadata}
        return _with_template(shown, _TEMPLATES.get(thing["kind"], ()), salt)
    except (AttributeError, TypeError, KeyError):  # no pod template that any API server takes
        return {"metadata": {"name": thing["metadata"].get("name")}, "spec": "<not shown>"}


def _is_known(thing: Object) -> bool:
    """Whether Kubernetes itself says what its fields are; in another kind any of them may be secret."""
    group = name_of(thing).group
    return "." not in group or group.endswith(".k8s.io")


def _digested(value: Any, salt: str) -> Any:
    """A value with digests in place of texts; an image is shown, because that is what changes most."""
    if isinstance(value, dict):
        return {
            name: one if name == "image" and isinstance(one, str) else _digested(one, salt)
            for name, one in value.items()
        }
    if isinstance(value, list):
        return [_digested(one, salt) for one in value]
    return podtemplate.digest(value, salt) if isinstance(value, str) else value


def _with_template(thing: Object, path: tuple[str, ...], salt: str) -> Object:
    if not path or not isinstance(thing.get(path[0]), dict):
        return thing
    inner = thing[path[0]]
    changed = podtemplate.shown(inner, salt) if len(path) == 1 else _with_template(inner, path[1:], salt)
    return {**thing, path[0]: changed}


def defined_by(definition: Object) -> tuple[str, str]:
    """Group and kind of the objects of a CustomResourceDefinition."""
    spec = definition.get("spec")
    names = spec.get("names") if isinstance(spec, dict) else None
    if not isinstance(spec, dict) or not isinstance(names, dict):
        return "", ""
    return str(spec.get("group")), str(names.get("kind"))


def definitions_left_out(before: Mapping[Name, Object], after: Mapping[Name, Object]) -> tuple[Object, ...]:
    """CustomResourceDefinitions that one has and the other has not: with them, every object of theirs is deleted."""
    return tuple(thing for name, thing in sorted(before.items()) if name.kind == CRD and name not in after)


def kept(thing: Object) -> bool:
    """Whether Helm is told not to delete the object: in just these letters, or it does."""
    noted = thing["metadata"].get("annotations") or {}
    return isinstance(noted, dict) and noted.get(_KEEP) == "keep"


def type_of(thing: Object) -> tuple[str, str]:
    """What the API server tells kinds apart by."""
    return str(thing.get("apiVersion", "")), str(thing["kind"])


def parts_of(manifest: str) -> Parts:
    """The parts of a manifest, and the objects of each.

    Without their templates' names: what a release is may not depend on what another one left.

    Raises:
        ManifestError: it cannot be understood.
    """
    room = Room(MOST_VALUES)
    return tuple((_SOURCE.sub("", text), _objects_in((source, text), room)) for source, text in documents(manifest))


def with_what_may_be_left(manifest: str, before: Parts, gone: Container[tuple[str, str]] = ()) -> str:
    """`manifest`, and those of the parts `before` whose objects it does not have.

    What an interrupted rollback may have left standing: the next one deletes what its own manifest does not name.
    Nothing is left of objects whose kind (see `type_of`) is `gone`.

    Raises:
        ManifestError: it cannot be understood.
    """
    after = objects(manifest)
    left = [
        text
        for text, found in before
        if any(name not in after and type_of(one) not in gone for name, one in found.items())
    ]
    return "\n---\n".join([manifest.strip(), *left]) + "\n" if left else manifest
