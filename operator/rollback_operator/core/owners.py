"""Who else manages an object, told by what Argo CD, Flux and Helm write on what they make.

- Argo CD (3.x): the annotation `argocd.argoproj.io/tracking-id`, `APP:GROUP/KIND:NAMESPACE/NAME`, counts if it is about
  the object that carries it (others copy annotations). An Application outside Argo CD's own namespace is called
  `NAMESPACE_APP`. The label `app.kubernetes.io/instance` is on half of all charts, so it counts only if Argo CD itself
  wrote it; `argocd.argoproj.io/instance` is nobody else's.
- Helm (3 and 4): the label `app.kubernetes.io/managed-by: Helm` together with the annotations that name the release.
  What Argo CD renders from a chart has the label alone, and is no release.
- Flux (2.x): the labels that its controllers put on each object.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from rollback_operator.api.common import LONGEST_RELEASE
from rollback_operator.api.fields import LONGEST_NAME, can_be_a_name

Object = dict[str, Any]

TRACKING = "argocd.argoproj.io/tracking-id"
INSTANCE = "app.kubernetes.io/instance"
ARGO_CD_INSTANCE = "argocd.argoproj.io/instance"
ARGO_CD_MANAGERS = frozenset({"argocd-controller", "argocd-application-controller"})
ARGO_CD_GROUP = "argoproj.io"

MANAGED_BY = "app.kubernetes.io/managed-by"
RELEASE_NAME = "meta.helm.sh/release-name"
RELEASE_NAMESPACE = "meta.helm.sh/release-namespace"

HELM_RELEASES = "helm.toolkit.fluxcd.io"
KUSTOMIZATIONS = "kustomize.toolkit.fluxcd.io"
_TRACKING_PARTS = 3
_FLUX_LABEL = re.compile(
    rf"""^ {{4}}{re.escape(HELM_RELEASES)}/(name|namespace): ["']?([^"'\s]+)["']?\s*$""", re.MULTILINE
)


class OwnerKind(StrEnum):
    """What an owner is, as it is called."""

    APPLICATION = "Application"
    APPLICATION_SET = "ApplicationSet"
    HELM = "Helm"
    HELM_RELEASE = "HelmRelease"
    KUSTOMIZATION = "Kustomization"


_CALLED = {
    OwnerKind.APPLICATION: "Argo CD's Application",
    OwnerKind.APPLICATION_SET: "Argo CD's ApplicationSet",
    OwnerKind.HELM: "Helm release",
    OwnerKind.HELM_RELEASE: "Flux's HelmRelease",
    OwnerKind.KUSTOMIZATION: "Flux's Kustomization",
}
_NAMED_BY = {
    OwnerKind.APPLICATION: f"annotation {TRACKING}, or label {ARGO_CD_INSTANCE} or {INSTANCE}",
    OwnerKind.APPLICATION_SET: "ownerReferences",
    OwnerKind.HELM: f"annotation {RELEASE_NAME} or {RELEASE_NAMESPACE}",
    OwnerKind.HELM_RELEASE: f"label {HELM_RELEASES}/name or {HELM_RELEASES}/namespace",
    OwnerKind.KUSTOMIZATION: f"label {KUSTOMIZATIONS}/name or {KUSTOMIZATIONS}/namespace",
}


def _shown(text: str) -> str:
    """A name as it is said: what is none may be of any length."""
    return text if len(text) <= LONGEST_NAME else f"{text[:64]}…"


@dataclass(frozen=True, slots=True)
class Owner:
    """Something that made an object and will make it again as it wants it.

    An empty `namespace` is Argo CD's own, which an object does not tell.
    """

    kind: OwnerKind
    name: str
    namespace: str

    def __str__(self) -> str:
        where = f"{_shown(self.namespace)}/" if self.namespace and self.kind is not OwnerKind.HELM else ""
        return f"{_CALLED[self.kind]} {where}{_shown(self.name)}"

    @property
    def can_be(self) -> bool:
        """Whether there can be such an object: whoever may write the target may have written any text as its owner."""
        longest = LONGEST_RELEASE if self.kind is OwnerKind.HELM else LONGEST_NAME
        return can_be_a_name(self.name, longest) and can_be_a_name(self.namespace)

    @property
    def named_by(self) -> str:
        """What on an object names it."""
        return _NAMED_BY[self.kind]


@dataclass(frozen=True, slots=True)
class Seen:
    """An owner as it was read: None if it is not there, or if `refused` says why it could not be."""

    owner: Owner
    body: Object | None = field(default=None, compare=False, repr=False)
    refused: str | None = None


Lineage = tuple[Seen, ...]


def recognised(body: Object) -> tuple[Owner, ...]:
    """Who manages the object: the nearest first, what drives that after it; none if nobody is known to."""
    return tuple(dict.fromkeys([*_argo_cd(body), *_helm(body), *_flux(body)]))


def drivers(manifest: str) -> tuple[Owner, ...]:
    """Who drives the Helm release with this manifest: Flux puts its labels on each object before Helm stores them.

    They are looked for in the text, as kustomize writes it (labels of the object itself are indented by four): that
    is done for each release that is watched.
    """
    found: dict[str, str] = {}
    for label, value in _FLUX_LABEL.findall(manifest):
        found.setdefault(label, value)
    if set(found) != {"name", "namespace"}:
        return ()
    return (Owner(OwnerKind.HELM_RELEASE, found["name"], found["namespace"]),)


def _argo_cd(body: Object) -> Iterator[Owner]:
    metadata = body["metadata"]
    for reference in metadata.get("ownerReferences") or []:
        if reference["kind"] == "ApplicationSet" and reference["apiVersion"].startswith(f"{ARGO_CD_GROUP}/"):
            yield Owner(OwnerKind.APPLICATION_SET, reference["name"], metadata.get("namespace", ""))
    instance = _tracked(body) or _instance(metadata)
    if instance:
        namespace, _, name = instance.rpartition("_")
        yield Owner(OwnerKind.APPLICATION, name, namespace)


def _tracked(body: Object) -> str | None:
    """The application that the tracking annotation names, if it is about this object."""
    metadata = body["metadata"]
    parts = _annotations(body).get(TRACKING, "").split(":", _TRACKING_PARTS - 1)
    if len(parts) != _TRACKING_PARTS:
        return None
    instance, kind, name = parts
    itself = f"{metadata.get('namespace', '')}/{metadata.get('name', '')}"
    is_about_it = kind.rpartition("/")[2] == body.get("kind") and name == itself
    return instance if is_about_it else None


def _instance(metadata: Object) -> str | None:
    labels = metadata.get("labels") or {}
    if labels.get(ARGO_CD_INSTANCE):
        return str(labels[ARGO_CD_INSTANCE])
    if labels.get(INSTANCE) and any(_wrote_label(entry, INSTANCE) for entry in metadata.get("managedFields") or []):
        return str(labels[INSTANCE])
    return None


def _wrote_label(entry: Object, label: str) -> bool:
    fields = (entry.get("fieldsV1") or {}).get("f:metadata", {}).get("f:labels", {})
    return entry.get("manager") in ARGO_CD_MANAGERS and f"f:{label}" in fields


def _helm(body: Object) -> Iterator[Owner]:
    annotations, labels = _annotations(body), _labels(body)
    name = annotations.get(RELEASE_NAME)
    if name and labels.get(MANAGED_BY) == "Helm":
        namespace = annotations.get(RELEASE_NAMESPACE) or body["metadata"].get("namespace", "")
        yield Owner(OwnerKind.HELM, name, namespace)


def _flux(body: Object) -> Iterator[Owner]:
    labels = _labels(body)
    for kind, group in ((OwnerKind.HELM_RELEASE, HELM_RELEASES), (OwnerKind.KUSTOMIZATION, KUSTOMIZATIONS)):
        name, namespace = labels.get(f"{group}/name"), labels.get(f"{group}/namespace")
        if name and namespace and not (kind is OwnerKind.KUSTOMIZATION and _left_alone(body)):
            yield Owner(kind, name, namespace)


def _left_alone(body: Object) -> bool:
    """Whether people told Flux's kustomize-controller not to touch the object."""
    said = {**_labels(body), **_annotations(body)}
    reconcile, policy = said.get(f"{KUSTOMIZATIONS}/reconcile", ""), said.get(f"{KUSTOMIZATIONS}/ssa", "")
    return reconcile.lower() == "disabled" or policy.lower() in ("ignore", "ifnotpresent")


def _annotations(body: Object) -> dict[str, str]:
    return body["metadata"].get("annotations") or {}


def _labels(body: Object) -> dict[str, str]:
    return body["metadata"].get("labels") or {}
