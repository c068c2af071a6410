"""What follows from what else manages a target."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from rollback_operator.api.common import TargetRef
from rollback_operator.api.owner import OwnerRule, Suspension
from rollback_operator.api.reasons import Reason
from rollback_operator.core import flux, stance
from rollback_operator.core.owners import Lineage, Owner, OwnerKind, Seen
from rollback_operator.core.stance import Await, Go, GoBy, Managed, take, to_read
from rollback_operator.core.suspended import content_of
from rollback_operator.core.values import Obstacle
from tests.unit.builders import CHECKOUT
from tests.unit.objects import Object
from tests.unit.test_flux import condition, held, kustomization

APP = Owner(OwnerKind.APPLICATION, "shop", "argocd")
PARENT = Owner(OwnerKind.APPLICATION, "root", "argocd")
APP_SET = Owner(OwnerKind.APPLICATION_SET, "shops", "argocd")
HELM = Owner(OwnerKind.HELM, "web", "shop")
HELM_RELEASE = Owner(OwnerKind.HELM_RELEASE, "web", "apps")
KUSTOMIZATION = Owner(OwnerKind.KUSTOMIZATION, "shop", "flux-system")
BEHIND = TargetRef(kind="Deployment", name="behind")
"""Stands for the owner where its kind is not what a test is about."""
UNCHECKED: Any = TargetRef.model_construct
AN_APPLICATION: TargetRef = UNCHECKED(kind="Application", name="shop", namespace=None)
A_RELEASE: TargetRef = UNCHECKED(kind="Helm", name="web", namespace=None)


def managed(*owners: Owner, rule: str = "Through", ref: TargetRef = CHECKOUT, lineage: Lineage = ()) -> Managed:
    return Managed(ref, owners, OwnerRule(rule), "shop", lineage)


def by_flux(body: Object | None, rule: str = "Through", **fields: Any) -> Managed:
    """checkout, which that Kustomization applies."""
    return managed(KUSTOMIZATION, rule=rule, lineage=(Seen(KUSTOMIZATION, body, **fields),))


def app_set(policy: str | None = None) -> Object:
    return {
        "kind": "ApplicationSet",
        "metadata": {},
        "spec": {"syncPolicy": {"applicationsSync": policy}} if policy else {},
    }


def parent(*, automated: Any = None, options: Any = (), ignore: Any = ()) -> Object:
    policy = {"syncOptions": list(options), **({"automated": automated} if automated is not None else {})}
    return {"kind": "Application", "metadata": {}, "spec": {"syncPolicy": policy, "ignoreDifferences": list(ignore)}}


READS: dict[str, tuple[Managed, tuple[Owner, ...]]] = {
    "nobody manages it": (managed(), ()),
    "Flux applies it": (managed(KUSTOMIZATION), (KUSTOMIZATION,)),
    "Flux applies it, and that is ignored": (managed(KUSTOMIZATION, rule="Ignore"), ()),
    "it is gone by, and what drives the owner is looked at then": (managed(HELM, HELM_RELEASE), ()),
    "a release that Flux drives": (managed(HELM_RELEASE, ref=A_RELEASE), (HELM_RELEASE,)),
    "an Application with owners of its own": (
        managed(APP_SET, PARENT, HELM, KUSTOMIZATION, ref=AN_APPLICATION),
        (APP_SET, PARENT, KUSTOMIZATION),
    ),
}


@pytest.mark.parametrize("case", READS)
def test_only_owners_that_something_depends_on_are_read(case: str) -> None:
    asked, expected = READS[case]
    assert to_read(asked) == expected


REFUSED: dict[str, tuple[Managed, Reason, tuple[str, ...]]] = {
    "Kustomization": (
        by_flux(kustomization(), "Refuse"),
        Reason.OWNED_BY,
        ("Flux's Kustomization flux-system/shop manages Deployment/checkout", "owner: Through", "owner: Ignore"),
    ),
    "a release in another namespace": (
        managed(replace(HELM, namespace="else")),
        Reason.OWNED_BY,
        ("Helm release web manages", "target: {kind: Helm, name: web} in namespace else"),
    ),
    "a Kustomization that is not in this cluster": (
        by_flux(None),
        Reason.OWNED_BY,
        ("there is no such object in this cluster", "owner: Ignore"),
    ),
    "a Kustomization that may not be read": (
        by_flux(None, refused="Service account shop/rollback may not get kustomizations shop."),
        Reason.FORBIDDEN,
        ("Service account shop/rollback may not get kustomizations shop.", "examples/rbac-owners.yaml"),
    ),
    "a Kustomization whose suspension another one undoes": (
        by_flux(
            kustomization(
                managedFields=[{"manager": "kustomize-controller", "fieldsV1": {"f:spec": {"f:suspend": {}}}}],
                labels={
                    "kustomize.toolkit.fluxcd.io/name": "all",
                    "kustomize.toolkit.fluxcd.io/namespace": "flux-system",
                },
            )
        ),
        Reason.OWNED_BY,
        (
            "Flux's Kustomization flux-system/all sets spec.suspend of it",
            "Suspend Flux's Kustomization flux-system/all",
        ),
    ),
    "an Application of an ApplicationSet": (
        managed(APP_SET, ref=AN_APPLICATION, lineage=(Seen(APP_SET, app_set()),)),
        Reason.OWNED_BY,
        ("Argo CD's ApplicationSet argocd/shops manages Application/shop", "applicationsSync: create-only"),
    ),
    "the same, if only new fields are kept": (
        managed(APP_SET, ref=AN_APPLICATION, lineage=(Seen(APP_SET, app_set("create-update")),)),
        Reason.OWNED_BY,
        ("ApplicationSet argocd/shops",),
    ),
    "the same, by default": (
        managed(APP_SET, ref=AN_APPLICATION, rule="Refuse", lineage=(Seen(APP_SET, app_set()),)),
        Reason.OWNED_BY,
        ("ApplicationSet argocd/shops",),
    ),
    "an ApplicationSet that may not be read": (
        managed(APP_SET, ref=AN_APPLICATION, lineage=(Seen(APP_SET, refused="Service account a may not get it."),)),
        Reason.FORBIDDEN,
        ("Service account a may not get it.",),
    ),
    "an Application that Flux applies": (
        managed(KUSTOMIZATION, ref=AN_APPLICATION, rule="Refuse", lineage=(Seen(KUSTOMIZATION, kustomization()),)),
        Reason.OWNED_BY,
        ("Flux's Kustomization flux-system/shop manages Application/shop", "owner: Through"),
    ),
    "a refusal before what would be waited for": (
        managed(
            APP_SET,
            KUSTOMIZATION,
            ref=AN_APPLICATION,
            lineage=(
                Seen(KUSTOMIZATION, kustomization(condition("Reconciling", "True"))),
                Seen(APP_SET, app_set()),
            ),
        ),
        Reason.OWNED_BY,
        ("ApplicationSet argocd/shops",),
    ),
    "an automated app of apps": (
        managed(PARENT, ref=AN_APPLICATION, lineage=(Seen(PARENT, parent(automated={})),)),
        Reason.OWNED_BY,
        ("Argo CD's Application argocd/root manages Application/shop", "Turn its automation off"),
    ),
    "an app of apps that ignores the difference, and syncs over it": (
        managed(
            PARENT,
            ref=AN_APPLICATION,
            lineage=(
                Seen(
                    PARENT,
                    parent(
                        automated={},
                        ignore=[
                            {"group": "argoproj.io", "kind": "Application", "jsonPointers": ["/spec/syncPolicy"]},
                        ],
                    ),
                ),
            ),
        ),
        Reason.OWNED_BY,
        ("RespectIgnoreDifferences=true",),
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_it_is_refused_with_a_sentence_that_says_what_to_do(case: str) -> None:
    asked, reason, words = REFUSED[case]
    refused = take(asked)
    assert isinstance(refused, Obstacle)
    assert refused.reason is reason
    assert "nothing was changed" in refused.message
    for word in words:
        assert word in refused.message


# What is written on an object need not be a name.

NO_NAMES: dict[str, tuple[Owner, str]] = {
    "too long": (replace(HELM, name="w" * 300), "annotation meta.helm.sh/release-name or"),
    "too long for Helm": (replace(HELM, name="w" * 54), "annotation meta.helm.sh/release-name or"),
    "a path": (replace(HELM, name="else/web"), "annotation meta.helm.sh/release-name or"),
    "another namespace that is none": (replace(HELM, namespace="../else"), "meta.helm.sh/release-namespace"),
    "an Application's": (replace(APP, name="x" * 100_000), "annotation argocd.argoproj.io/tracking-id"),
    "in capitals": (replace(APP, name="Shop"), "annotation argocd.argoproj.io/tracking-id"),
    "a Kustomization's": (replace(KUSTOMIZATION, name="my_shop"), "label kustomize.toolkit.fluxcd.io/name"),
}


@pytest.mark.parametrize("rule", ["Refuse", "Through"])
@pytest.mark.parametrize("case", NO_NAMES)
def test_an_owner_that_cannot_be_is_neither_read_nor_gone_by(case: str, rule: str) -> None:
    owner, where = NO_NAMES[case]
    asked = managed(owner, KUSTOMIZATION, rule=rule)
    refused = take(asked)
    assert to_read(asked) == ()
    assert isinstance(refused, Obstacle)
    assert refused.reason is Reason.OWNED_BY
    assert where in refused.message
    assert "nothing can have that name: nothing was changed" in refused.message
    assert "owner: Ignore" in refused.message
    assert len(refused.message) < 1024


def test_an_application_above_that_cannot_be_is_not_read() -> None:
    owner = replace(APP_SET, name="../../secrets/token")
    asked = managed(owner, ref=AN_APPLICATION)
    assert to_read(asked) == ()
    refused = take(asked)
    assert isinstance(refused, Obstacle)
    assert "By its ownerReferences, Argo CD's ApplicationSet" in refused.message


def test_what_cannot_be_is_ignored_if_that_is_asked_for() -> None:
    going = take(managed(replace(HELM, name="w" * 300), rule="Ignore"))
    assert isinstance(going, Go)
    assert len(going.notes[0]) < 1024


IGNORES = {"group": "argoproj.io", "kind": "Application", "jsonPointers": ["/spec/syncPolicy"]}
GOES: dict[str, tuple[Managed, tuple[str, ...]]] = {
    "nobody manages it": (managed(), ()),
    "that is ignored": (
        managed(HELM, HELM_RELEASE, rule="Ignore"),
        ("Helm release web, driven by Flux's HelmRelease",),
    ),
    "people suspended it": (by_flux(kustomization(suspend=True)), ("is suspended already, not by this request",)),
    "an ApplicationSet that changes nothing": (
        managed(APP_SET, ref=AN_APPLICATION, lineage=(Seen(APP_SET, app_set("create-only")),)),
        ("leaves the rollback alone",),
    ),
    "the same, without asking for it": (
        managed(APP_SET, ref=AN_APPLICATION, rule="Refuse", lineage=(Seen(APP_SET, app_set("create-delete")),)),
        ("leaves the rollback alone",),
    ),
    "an Application that Helm made": (managed(HELM, ref=AN_APPLICATION, rule="Refuse"), ("its next upgrade may",)),
    "an app of apps that people sync": (
        managed(PARENT, ref=AN_APPLICATION, lineage=(Seen(PARENT, parent()),)),
        ("leaves the rollback alone",),
    ),
    "an app of apps whose automation is off": (
        managed(PARENT, ref=AN_APPLICATION, lineage=(Seen(PARENT, parent(automated={"enabled": False})),)),
        ("leaves the rollback alone",),
    ),
    "an app of apps that leaves automation to others": (
        managed(
            PARENT,
            ref=AN_APPLICATION,
            lineage=(Seen(PARENT, parent(automated={}, options=["RespectIgnoreDifferences=true"], ignore=[IGNORES])),),
        ),
        ("leaves the rollback alone",),
    ),
}


@pytest.mark.parametrize("case", GOES)
def test_the_target_itself_is_rolled_back(case: str) -> None:
    asked, words = GOES[case]
    going = take(asked)
    assert isinstance(going, Go)
    assert going.suspends == ()
    assert len(going.notes) == len(words)
    for word, note in zip(words, going.notes, strict=True):
        assert word in note


def test_what_flux_drives_is_suspended_first() -> None:
    body = kustomization(suspend=False)
    body["status"] |= {
        "inventory": {"entries": [{"id": "shop_web_apps_Deployment", "v": "v1"}]},
        "lastAttemptedRevision": "main@sha1:b",
    }
    body["metadata"]["labels"] = {
        "kustomize.toolkit.fluxcd.io/name": "all",
        "kustomize.toolkit.fluxcd.io/namespace": "flux-system",
    }
    going = take(by_flux(body))
    assert isinstance(going, Go)
    assert going.suspends == (
        Suspension(
            kind="Kustomization",
            namespace="flux-system",
            name="shop",
            uid="uid-of-shop",
            was=False,
            revision="main@sha1:b",
            content=content_of(body),
        ),
    )
    above, others = going.notes
    assert above.startswith(
        "Flux's Kustomization flux-system/all applies Flux's Kustomization flux-system/shop, and says"
    )
    assert others.startswith("While Flux's Kustomization flux-system/shop is suspended, nothing that it applies is")
    assert others.endswith("Deployment shop/web.")
    assert going.affected == ("Deployment shop/web",)


def test_the_suspension_of_an_earlier_request_is_kept_with_what_was_before_it() -> None:
    going = take(by_flux(held(was=False, by="uid-of-another")))
    assert isinstance(going, Go)
    assert [one.was for one in going.suspends] == [False]
    assert "already suspended, for an earlier request" in going.notes[0]


def test_what_is_applying_something_is_waited_for() -> None:
    body = kustomization(condition("Reconciling", "True", message="Building manifests"))
    waiting = take(by_flux(body))
    assert isinstance(waiting, Await)
    assert waiting.message.endswith("what it is applying: Building manifests")


def test_an_owner_that_can_be_rolled_back_is_gone_by(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stance, "_ref", lambda *_: BEHIND)
    assert take(managed(HELM, HELM_RELEASE)) == GoBy(HELM, BEHIND)
    assert take(managed(APP, HELM)) == GoBy(APP, BEHIND)


def test_by_default_the_request_for_the_owner_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stance, "_ref", lambda *_: BEHIND)
    alone, driven, by_argo_cd = (
        take(managed(*owners, rule="Refuse")) for owners in ((HELM,), (HELM, HELM_RELEASE), (APP,))
    )
    for refused in (alone, driven, by_argo_cd):
        assert isinstance(refused, Obstacle)
        assert refused.reason is Reason.OWNED_BY
    assert isinstance(alone, Obstacle)
    assert "target: {kind: Helm, name: web}. owner: Through in a request for Deployment/checkout" in alone.message
    assert isinstance(driven, Obstacle)
    assert (
        "{kind: Helm, name: web} and owner: Through (which suspends Flux's HelmRelease apps/web first)"
        in driven.message
    )
    assert isinstance(by_argo_cd, Obstacle)
    assert "target: {kind: Application, name: shop, namespace: argocd}" in by_argo_cd.message


def test_an_owner_of_a_kind_that_cannot_be_rolled_back_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stance, "_ref", lambda *_: None)
    refused = take(managed(HELM))
    assert isinstance(refused, Obstacle)
    assert "Roll Helm release web back by its own means" in refused.message


def test_every_suspension_has_a_command_that_fits_it() -> None:
    going = take(by_flux(kustomization()))
    assert isinstance(going, Go)
    patch = flux.resuming(going.suspends[0]).rpartition(" -p ")[2].strip("'")
    assert json.loads(patch)["spec"] == {"suspend": None}
