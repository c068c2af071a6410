"""What Flux's objects tell of what they would bring when they are resumed."""

from __future__ import annotations

from typing import Any

import pytest

from rollback_operator.api.common import Place
from rollback_operator.api.owner import Suspension
from rollback_operator.core.hold import Comparison
from rollback_operator.core.suspended import InGit, Source, at_once, attempted, by_source, content_of, source_of
from tests.unit.objects import Object

BAD, NOW = "main@sha1:" + "b" * 40, "main@sha1:" + "c" * 40
WEB: Place = ("Deployment", "shop", "web")
ALONE = ("shop_web_apps_Deployment", "shop_web__Service", "_shop__Namespace")


def kustomization(*applied: str, attempted: str | None = BAD, **spec: Any) -> Object:
    status = {"lastAttemptedRevision": attempted} if attempted else {}
    return {
        "kind": "Kustomization",
        "metadata": {"name": "shop", "namespace": "flux-system"},
        "spec": {
            "interval": "10m",
            "path": "./shop",
            "sourceRef": {"kind": "GitRepository", "name": "fleet"},
            **spec,
        },
        "status": {**status, "inventory": {"entries": [{"id": one, "v": "v1"} for one in applied or ALONE]}},
    }


def helm_release(attempted: str = "1.2.3", **spec: Any) -> Object:
    return {
        "kind": "HelmRelease",
        "metadata": {"name": "shop", "namespace": "shop"},
        "spec": {"interval": "10m", "chart": {"spec": {"chart": "shop", "version": "1.x"}}, **spec},
        "status": {"lastAttemptedRevision": attempted, "helmChart": "flux-system/shop-shop"},
    }


def suspension(body: Object) -> Suspension:
    """As a plan has it that was made when the object was like this."""
    metadata = body["metadata"]
    return Suspension(
        kind=body["kind"],
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid="uid-of-shop",
        revision=attempted(body),
        content=content_of(body),
    )


def source(kind: str, revision: str | None, **spec: Any) -> Object:
    artifact = {"artifact": {"revision": revision}} if revision else {}
    return {"kind": kind, "metadata": {"name": "fleet", "namespace": "flux-system"}, "spec": spec, "status": artifact}


# What it says itself.

CHANGES: dict[str, tuple[Object, Object, bool]] = {
    "its path": (kustomization(), kustomization(path="./other"), True),
    "a patch": (kustomization(), kustomization(patches=[{"patch": "x"}]), True),
    "an image": (kustomization(), kustomization(images=[{"name": "web", "newTag": "3"}]), True),
    "that it is suspended": (kustomization(), kustomization(suspend=True), False),
    "how often it is looked at": (kustomization(), kustomization(interval="1m"), False),
    "what it waits for": (kustomization(), kustomization(wait=True, timeout="2m"), False),
    "values": (helm_release(), helm_release(values={"replicas": 2}), True),
    "the chart's version": (helm_release(), helm_release(chart={"spec": {"chart": "shop", "version": "2.x"}}), True),
    "how a release that failed is mended": (helm_release(), helm_release(upgrade={"force": True}), False),
}


@pytest.mark.parametrize("case", CHANGES)
def test_its_spec_tells_a_change_of(case: str) -> None:
    before, now, changed = CHANGES[case]
    told = at_once(suspension(before), now, WEB)
    assert (told is not None and told.changed) is changed


def test_the_revision_that_was_tried_last_counts_also_if_it_failed() -> None:
    body = kustomization()
    body["status"]["lastAppliedRevision"] = "main@sha1:" + "a" * 40
    assert attempted(body) == BAD
    del body["status"]["lastAttemptedRevision"]
    assert attempted(body) == "main@sha1:" + "a" * 40


UNTOLD: dict[str, tuple[Suspension, Object, str]] = {
    "an older version of the operator made the plan": (
        suspension(kustomization()).model_copy(update={"content": None}),
        kustomization(path="./other"),
        "it is not on record what it had applied",
    ),
    "it had applied nothing": (
        suspension(kustomization(attempted=None)),
        kustomization(),
        "it is not on record what it had applied",
    ),
    "it applies other workloads, too": (
        suspension(kustomization()),
        kustomization("shop_web_apps_Deployment", "shop_api_apps_Deployment", path="./other"),
        "it applies Deployment/api as well, so that what changes need not be Deployment/web",
    ),
    "it applies a workload of that name elsewhere": (
        suspension(kustomization()),
        kustomization("shop_web_apps_Deployment", "test_web_apps_Deployment"),
        "it applies Deployment/web as well, so that what changes need not be Deployment/web",
    ),
}


@pytest.mark.parametrize("case", UNTOLD)
def test_nobody_can_tell_when(case: str) -> None:
    one, body, words = UNTOLD[case]
    assert at_once(one, body, WEB) == Comparison(None, words)


def test_without_an_inventory_nobody_can_tell() -> None:
    body = kustomization()
    del body["status"]["inventory"]
    assert at_once(suspension(kustomization()), body, WEB) == Comparison(None, "it does not say what it applies")


# What feeds it.

SOURCES: dict[str, tuple[Object, Source | None]] = {
    "in its own namespace": (kustomization(), Source("GitRepository", "flux-system", "fleet")),
    "elsewhere": (
        kustomization(sourceRef={"kind": "OCIRepository", "name": "fleet", "namespace": "git"}),
        Source("OCIRepository", "git", "fleet"),
    ),
    "a chart that Flux made an object of": (helm_release(), Source("HelmChart", "flux-system", "shop-shop")),
    "a chart that it refers to": (
        helm_release(chartRef={"kind": "OCIRepository", "name": "shop"}),
        Source("OCIRepository", "shop", "shop"),
    ),
    "nothing yet": ({**helm_release(), "status": {}}, None),
}


@pytest.mark.parametrize("case", SOURCES)
def test_its_source_is(case: str) -> None:
    body, expected = SOURCES[case]
    assert source_of(body) == expected


DIGEST = "sha256:1234567890abcdef" + "0" * 48
FED: dict[str, tuple[Object, Object, bool | None, str]] = {
    "the commit that was rolled back from": (kustomization(), source("GitRepository", BAD), False, ""),
    "nothing": (
        kustomization(),
        source("GitRepository", None),
        None,
        "flux-system/fleet has no artifact",
    ),
    "a revision that names no commit": (
        kustomization(),
        source("GitRepository", "v1.2.3"),
        None,
        f"{BAD} or v1.2.3 names no commit",
    ),
    "another artifact of a registry": (
        kustomization(attempted=f"latest@{DIGEST}"),
        source("OCIRepository", "latest@sha256:" + "9" * 64),
        None,
        "OCIRepository flux-system/fleet is at latest@sha256:9999",
    ),
    "the same version of a chart": (helm_release(), source("HelmChart", "1.2.3"), False, ""),
    "another version of a chart": (
        helm_release(),
        source("HelmChart", "1.2.4"),
        True,
        "version 1.2.4 of the chart instead of 1.2.3",
    ),
    "the same version of a chart, from another commit": (
        helm_release("1.2.3+b1"),
        source("HelmChart", "1.2.3+c1"),
        None,
        "is at 1.2.3+c1: the same version, pushed again or made from another commit",
    ),
    "another version of a chart in a registry": (
        helm_release("1.2.3+1234567890ab"),
        source("OCIRepository", "1.2.4@sha256:" + "9" * 64),
        True,
        "version 1.2.4 of the chart instead of 1.2.3",
    ),
    "the very chart of a registry": (
        helm_release("1.2.3+1234567890ab"),
        source("OCIRepository", f"latest@{DIGEST}"),
        False,
        "",
    ),
    "a chart of a registry under a tag that is no version": (
        helm_release("1.2.3+1234567890ab"),
        source("OCIRepository", "latest@sha256:" + "9" * 64),
        None,
        "the same version, pushed again",
    ),
}


@pytest.mark.parametrize("case", FED)
def test_its_source_has(case: str) -> None:
    body, feeding, changed, words = FED[case]
    told = by_source(suspension(body), body, feeding)
    assert isinstance(told, Comparison)
    assert told.changed is changed
    assert words in told.words


REVISIONS = ("main@sha1:" + "c" * 40, "main/" + "c" * 40, "sha1:" + "c" * 40, "v1.2@sha1:" + "c" * 40)


@pytest.mark.parametrize("revision", REVISIONS)
def test_another_commit_is_looked_for_in_git_below_its_path(revision: str) -> None:
    body = kustomization(components=["../tls"])
    told = by_source(suspension(body), body, source("GitRepository", revision, url="https://git.example.com/fleet"))
    assert told == InGit("https://git.example.com/fleet", "b" * 40, "c" * 40, "./shop", ("./shop/../tls",))
