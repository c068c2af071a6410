"""What of Flux was suspended is resumed when Git has something else: on Flux's definitions and a real repository.

Flux's controllers cannot run here: a test says in their place which commit a source has, and what was applied from it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from testbed import Binaries, Cluster
from testbed.git import GitRepository
from tests import flux
from tests.e2e.helming import Shop
from tests.e2e.test_owners import (  # noqa: F401 - a fixture
    allow,
    driven_by_flux,
    released,
    said,
    shop,
    the_kustomization,
    through,
)
from tests.e2e.world import Object, World, condition, outcome, until

HOLD = "rollback.dev/hold"
SHOP = "web_apps_Deployment"


@pytest.fixture(scope="module")
def settings() -> dict[str, str]:
    """Repositories are folders here, and holds are looked at often."""
    return {"git_protocols": "file", "holds": "1", "helm": str(Binaries().path("helm"))}


@pytest.fixture(scope="module", autouse=True)
def _flux(fake_cluster: Cluster) -> None:
    flux.install(fake_cluster)


def held(world: World, status: str, reason: str) -> str:
    """Wait until the request says so of its hold; gives its words."""

    def says_so() -> Object | None:
        conditions = world.get("rbr", "back")["status"]["conditions"]
        return next((one for one in conditions if (one["type"], one["status"], one["reason"]) == wanted), None)

    wanted = ("Held", status, reason)
    found: Object | None = until(says_so, what=f"the hold is {status}, {reason}")
    assert found is not None
    message: str = found["message"]
    return message


class Fleet:
    """web, as the Kustomization shop applies it from the folder `shop` of a monorepo."""

    def __init__(self, world: World, repository: GitRepository) -> None:
        self.world = world
        self.repository = repository

    def commit(self, files: Mapping[str, str | None]) -> None:
        """Have Git, and then Flux's source, have something else."""
        self.repository.commit(files, "change")
        says(self.world, "gitrepository", flux.fetched(self._revision()))

    def begin(self, *applied: str) -> None:
        """The bad release was applied from what Git has."""
        self.repository.commit({"shop/web.yaml": "image: shop:2", "other/x.yaml": "a"}, "release 2")
        self._make(flux.source("GitRepository", "shop", self.repository.url, self._revision()))
        named = tuple(f"{self.world.namespace}_{one}" for one in applied)
        self._make(flux.kustomization("shop", applied=named, revision=self._revision()))

    def held(self, status: str, reason: str) -> str:
        """See `held`."""
        return held(self.world, status, reason)

    def suspended(self) -> bool:
        return the_kustomization(self.world)["spec"].get("suspend") is True

    def _revision(self) -> str:
        return f"main@sha1:{self.repository.head}"

    def _make(self, body: Object) -> None:
        status = body.pop("status")
        self.world.apply(body)
        says(self.world, body["kind"].lower(), status)


@pytest.fixture
def fleet(world: World, tmp_path: Path) -> Fleet:
    """Two releases of web, of which Flux applied the second."""
    allow(world, "get", "patch")
    group = "kustomize.toolkit.fluxcd.io"
    released(world, labels={f"{group}/name": "shop", f"{group}/namespace": world.namespace})
    return Fleet(world, GitRepository(tmp_path / "fleet.git"))


def rolled_back(fleet: Fleet, *applied: str, **spec: object) -> Object:
    """Roll web back through Flux, which then is suspended."""
    fleet.begin(*applied)
    body = fleet.world.roll_back("back", owner="Through", **spec)
    assert outcome(body) == ("Succeeded", "Completed"), said(body)
    assert fleet.suspended()
    return body


def test_another_commit_of_the_monorepo_ends_nothing_and_one_of_its_path_does(fleet: Fleet) -> None:
    rolled_back(fleet, SHOP, "web__Service")
    before = fleet.held("True", "Holding")
    assert "until Git brings it something else" in before

    fleet.commit({"other/x.yaml": "b"})
    so_far = looks(fleet)
    until(lambda: looks(fleet) > so_far + 1, what="the source was looked at again")
    assert (fleet.suspended(), fleet.held("True", "Holding")) == (True, before)

    fleet.commit({"shop/web.yaml": "image: shop:3"})
    assert "./shop at" in fleet.held("False", "TargetChanged")
    after = the_kustomization(fleet.world)
    assert "suspend" not in after["spec"]
    assert HOLD not in after["metadata"]["annotations"]


def looks(fleet: Fleet) -> int:
    """How often the operator looked at the source."""
    about = [one.get("objectRef") or {} for one in fleet.world.cluster.audit_events() if one["verb"] == "get"]
    return sum(
        (one.get("resource"), one.get("namespace")) == ("gitrepositories", fleet.world.namespace) for one in about
    )


def test_a_kustomization_that_applies_more_stays_suspended_and_says_why(fleet: Fleet) -> None:
    rolled_back(fleet, SHOP, "api_apps_Deployment")
    fleet.commit({"shop/web.yaml": "image: shop:3"})
    assert "it applies Deployment/api as well" in fleet.held("True", "CannotCompare")
    assert fleet.suspended()


def test_a_repository_that_cannot_be_asked_keeps_the_suspension(fleet: Fleet) -> None:
    rolled_back(fleet, SHOP)
    patch = '{"spec":{"url":"ssh://git@git.example.com/fleet"}}'
    fleet.world.kubectl("patch", "gitrepository", "shop", "--type=merge", "-p", patch)
    fleet.commit({"shop/web.yaml": "image: shop:3"})
    assert "does not ask repositories by ssh" in fleet.held("True", "CannotCompare")
    assert fleet.suspended()


def test_a_change_of_the_kustomization_itself_ends_it(fleet: Fleet) -> None:
    rolled_back(fleet, SHOP)
    patch = '{"spec":{"images":[{"name":"shop","newTag":"3"}]}}'
    fleet.world.kubectl("patch", "kustomization", "shop", "--type=merge", "-p", patch)
    assert "its spec says something else" in fleet.held("False", "TargetChanged")
    assert not fleet.suspended()


def test_until_a_person_ends_it_nothing_else_does(fleet: Fleet) -> None:
    body = rolled_back(fleet, SHOP, hold={"until": "Manual"})
    fleet.commit({"shop/web.yaml": "image: shop:3"})
    assert "until a person ends it" in fleet.held("True", "Holding")
    assert condition(body, "Applied")["status"] == "True"

    fleet.world.kubectl("annotate", "kustomization", "shop", "rollback.dev/release=true")

    fleet.held("False", "ReleasedByHand")
    after = the_kustomization(fleet.world)
    assert "suspend" not in after["spec"]
    assert set(after["metadata"]["annotations"]) & {HOLD, "rollback.dev/release"} == set()


def test_what_people_resume_is_theirs(fleet: Fleet) -> None:
    rolled_back(fleet, SHOP)
    fleet.held("True", "Holding")
    fleet.world.kubectl("patch", "kustomization", "shop", "--type=merge", "-p", '{"spec":{"suspend":false}}')
    fleet.held("False", "AutomationTurnedOn")
    until(lambda: HOLD not in the_kustomization(fleet.world)["metadata"]["annotations"], what="the record is gone")
    assert the_kustomization(fleet.world)["spec"]["suspend"] is False


# A release of Helm.

CHART = "oci://registry.example.com/shop"
OLD, SAME_VERSION, NEW = ("1.0.0@sha256:" + "a" * 64, "1.0.0@sha256:" + "b" * 64, "1.1.0@sha256:" + "c" * 64)


def says(world: World, kind: str, status: Object) -> None:
    """Flux's part: what it says of the object `shop`."""
    patch = json.dumps({"status": status})
    world.kubectl("patch", kind, "shop", "--subresource=status", "--type=merge", "-p", patch)


def test_a_helm_release_is_resumed_for_another_version_of_its_chart_only(shop: Shop) -> None:  # noqa: F811
    driven_by_flux(shop)
    source = flux.source("OCIRepository", "shop", CHART, OLD)
    status = source.pop("status")
    shop.apply(source)
    says(shop, "ocirepository", status)
    says(shop, "helmrelease", {"lastAttemptedRevision": "1.0.0+" + "a" * 12})
    body = through(shop, "back")
    assert outcome(body) == ("Succeeded", "Completed"), said(body)
    assert "until Git brings it something else" in held(shop, "True", "Holding")

    says(shop, "ocirepository", flux.fetched(SAME_VERSION))
    assert "the same version, pushed again" in held(shop, "True", "CannotCompare")

    says(shop, "ocirepository", flux.fetched(NEW))
    assert "version 1.1.0 of the chart instead of 1.0.0" in held(shop, "False", "TargetChanged")
    after = shop.get("helmreleases.helm.toolkit.fluxcd.io", "shop")
    assert "suspend" not in after["spec"]
    assert HOLD not in after["metadata"]["annotations"]
