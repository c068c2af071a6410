"""Who manages an object, told by what Argo CD, Flux and Helm write on it."""

from __future__ import annotations

from typing import Any

import pytest

from rollback_operator.core.owners import Owner, OwnerKind, drivers, recognised
from tests.unit.objects import Object, deployment

APP = Owner(OwnerKind.APPLICATION, "shop", "")
HELM = Owner(OwnerKind.HELM, "web", "shop")
HELM_RELEASE = Owner(OwnerKind.HELM_RELEASE, "web", "apps")
KUSTOMIZATION = Owner(OwnerKind.KUSTOMIZATION, "shop", "flux-system")

TRACKING = "argocd.argoproj.io/tracking-id"
BY_HELM = {"meta.helm.sh/release-name": "web", "meta.helm.sh/release-namespace": "shop"}
HELM_LABEL = {"app.kubernetes.io/managed-by": "Helm"}
HELM_RELEASE_LABELS = {"helm.toolkit.fluxcd.io/name": "web", "helm.toolkit.fluxcd.io/namespace": "apps"}
KUSTOMIZATION_LABELS = {
    "kustomize.toolkit.fluxcd.io/name": "shop",
    "kustomize.toolkit.fluxcd.io/namespace": "flux-system",
}
INSTANCE = {"app.kubernetes.io/instance": "shop"}


def wrote(manager: str, label: str) -> list[Object]:
    return [{"manager": manager, "fieldsV1": {"f:metadata": {"f:labels": {f"f:{label}": {}}}}}]


def thing(
    *, annotations: dict[str, str] | None = None, labels: dict[str, str] | None = None, managed: Any = ()
) -> Object:
    """The Deployment shop/checkout with these."""
    body = deployment(annotations=annotations, managed=managed)
    body["metadata"]["labels"] = labels or {}
    return body


CASES: dict[str, tuple[Object, tuple[Owner, ...]]] = {
    "nobody": (thing(labels={"app": "checkout"}), ()),
    "Argo CD, by its annotation": (thing(annotations={TRACKING: "shop:apps/Deployment:shop/checkout"}), (APP,)),
    "Argo CD, an Application in another namespace": (
        thing(annotations={TRACKING: "teams_shop:apps/Deployment:shop/checkout"}),
        (Owner(OwnerKind.APPLICATION, "shop", "teams"),),
    ),
    "an annotation that was copied from another object": (
        thing(annotations={TRACKING: "shop:apps/Deployment:shop/other"}),
        (),
    ),
    "an annotation that was copied from another kind": (
        thing(annotations={TRACKING: "shop:apps/StatefulSet:shop/checkout"}),
        (),
    ),
    "an annotation that is none": (thing(annotations={TRACKING: "shop"}), ()),
    "Argo CD, by the label that it wrote": (
        thing(labels=INSTANCE, managed=wrote("argocd-controller", "app.kubernetes.io/instance")),
        (APP,),
    ),
    "the same label, written by somebody else": (
        thing(labels=INSTANCE, managed=wrote("helm", "app.kubernetes.io/instance")),
        (),
    ),
    "the same label, and Argo CD wrote another one": (
        thing(labels=INSTANCE, managed=wrote("argocd-application-controller", "team")),
        (),
    ),
    "Argo CD, by its own label": (thing(labels={"argocd.argoproj.io/instance": "shop"}), (APP,)),
    "Helm": (thing(labels=HELM_LABEL, annotations=BY_HELM), (HELM,)),
    "a chart that Argo CD or people rendered": (thing(labels=HELM_LABEL), ()),
    "annotations of Helm without its label": (thing(annotations=BY_HELM), ()),
    "Helm, driven by Flux": (
        thing(labels={**HELM_LABEL, **HELM_RELEASE_LABELS}, annotations=BY_HELM),
        (HELM, HELM_RELEASE),
    ),
    "Flux's Kustomization": (thing(labels=KUSTOMIZATION_LABELS), (KUSTOMIZATION,)),
    "a Kustomization that was told not to touch it": (
        thing(labels=KUSTOMIZATION_LABELS, annotations={"kustomize.toolkit.fluxcd.io/reconcile": "Disabled"}),
        (),
    ),
    "a Kustomization that applies it once only": (
        thing(labels={**KUSTOMIZATION_LABELS, "kustomize.toolkit.fluxcd.io/ssa": "IfNotPresent"}),
        (),
    ),
    "half of Flux's labels": (thing(labels={"helm.toolkit.fluxcd.io/name": "web"}), ()),
    "Argo CD before a Helm that was there earlier": (
        thing(labels=HELM_LABEL, annotations={**BY_HELM, TRACKING: "shop:apps/Deployment:shop/checkout"}),
        (APP, HELM),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_an_owner_is_recognised(case: str) -> None:
    body, owners = CASES[case]
    assert recognised(body) == owners


def test_an_application_is_recognised_as_an_application_sets() -> None:
    reference = {"apiVersion": "argoproj.io/v1alpha1", "kind": "ApplicationSet", "name": "shops", "uid": "u"}
    body = {"kind": "Application", "metadata": {"name": "a", "namespace": "argocd", "ownerReferences": [reference]}}
    assert recognised(body) == (Owner(OwnerKind.APPLICATION_SET, "shops", "argocd"),)


MANIFEST = """---
# Source: web/templates/web.yaml
apiVersion: apps/v1
kind: Deployment
metadata:
  labels:
    app: web
    helm.toolkit.fluxcd.io/name: web
    helm.toolkit.fluxcd.io/namespace: "apps"
  name: web
"""
DRIVEN: dict[str, tuple[str, tuple[Owner, ...]]] = {
    "by Flux": (MANIFEST, (HELM_RELEASE,)),
    "by nobody": (MANIFEST.replace("helm.toolkit.fluxcd.io", "example.com"), ()),
    "half of the labels": (MANIFEST.replace("helm.toolkit.fluxcd.io/name:", "name:"), ()),
    "labels of a pod template only": (MANIFEST.replace("    helm.", "        helm."), ()),
    "nothing": ("", ()),
}


@pytest.mark.parametrize("case", DRIVEN)
def test_a_release_is_driven_by_whoever_its_manifest_names(case: str) -> None:
    manifest, expected = DRIVEN[case]
    assert drivers(manifest) == expected


def test_owners_are_called_as_people_know_them() -> None:
    assert [str(one) for one in (APP, HELM, HELM_RELEASE, KUSTOMIZATION)] == [
        "Argo CD's Application shop",
        "Helm release web",
        "Flux's HelmRelease apps/web",
        "Flux's Kustomization flux-system/shop",
    ]
