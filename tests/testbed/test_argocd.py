"""A real Argo CD, the repositories that it reads, and what it does with them."""

import json
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from testbed import Cluster, TestbedError
from testbed.argocd import NAMESPACE, ArgoCD, conditions, healthy, operated, synced
from testbed.git import GitRepository
from testbed.processes import Identity

pytestmark = pytest.mark.usefixtures("gitops")

AUTOMATED = {"prune": True, "selfHeal": True}


@pytest.fixture(scope="module")
def cluster(gitops: None) -> Iterator[Cluster]:  # noqa: ARG001
    """One of its own: Argo CD leaves its settings in it."""
    with Cluster.start() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def argocd(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ArgoCD]:
    with ArgoCD.start(tmp_path_factory.mktemp("argocd") / "argocd", cluster) as argocd:
        yield argocd


@dataclass(frozen=True)
class Shop:
    """A namespace to deploy to, and a repository that says what belongs there."""

    cluster: Cluster
    name: str
    """Of the namespace, and a good one for an Application."""
    repository: GitRepository

    def images(self) -> dict[str, str]:
        """The image of every Deployment, by its name."""
        found = json.loads(self.cluster.kubectl("-n", self.name, "get", "deployments", "-o", "json"))["items"]
        return {one["metadata"]["name"]: one["spec"]["template"]["spec"]["containers"][0]["image"] for one in found}


@pytest.fixture
def shop(cluster: Cluster, tmp_path: Path) -> Shop:
    name = f"shop-{uuid.uuid4().hex[:8]}"
    cluster.kubectl("create", "namespace", name)
    repository = GitRepository(tmp_path / "shop.git")
    repository.commit({"web.json": deployment("web", "web:1"), "cart.json": deployment("cart", "cart:1")}, "Open")
    return Shop(cluster, name, repository)


def deployment(name: str, image: str) -> str:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": image}]}}
    spec = {"selector": {"matchLabels": labels}, "template": template}
    return json.dumps({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec})


def open_shop(argocd: ArgoCD, shop: Shop, automated: Mapping[str, Any] | None = None, **spec: Any) -> None:
    argocd.application(shop.name, shop.repository.url, destination=shop.name, automated=automated, **spec)


def test_it_starts_and_ends_and_leaves_nothing_on_the_machine(cluster: Cluster, tmp_path: Path) -> None:
    with ArgoCD.start(tmp_path / "argocd", cluster) as argocd:
        pids = argocd.pids()
        assert all(Identity.of(pid) for pid in pids.values())
    assert {name: Identity.of(pid) for name, pid in pids.items()} == {
        "argocd-cache": None,
        "argocd-repo-server": None,
        "argocd-application-controller": None,
    }
    assert list(tmp_path.iterdir()) == []


def test_a_start_that_fails_quotes_the_log_and_leaves_nothing(cluster: Cluster, tmp_path: Path) -> None:
    with pytest.raises(TestbedError, match="unknown flag: --no-such-flag"):
        ArgoCD.start(tmp_path / "argocd", cluster, flags=("--no-such-flag=1",))
    assert list(tmp_path.iterdir()) == []


def test_a_repository_is_deployed_and_so_is_its_next_commit(argocd: ArgoCD, shop: Shop) -> None:
    open_shop(argocd, shop, AUTOMATED)
    argocd.wait(shop.name, synced(shop.repository.head))
    assert shop.images() == {"web": "web:1", "cart": "cart:1"}
    revision = shop.repository.commit({"web.json": deployment("web", "web:2"), "cart.json": None}, "Close the cart")
    argocd.refresh(shop.name)
    argocd.wait(shop.name, synced(revision))
    argocd.wait(shop.name, lambda _: shop.images() == {"web": "web:2"})


def test_a_commit_is_found_without_being_asked_for(argocd: ArgoCD, shop: Shop) -> None:
    open_shop(argocd, shop, AUTOMATED)
    argocd.wait(shop.name, synced(shop.repository.head))
    argocd.wait(shop.name, synced(shop.repository.commit({"web.json": deployment("web", "web:2")}, "Improve")))


def test_pods_that_are_said_to_run_make_an_application_healthy(argocd: ArgoCD, shop: Shop) -> None:
    open_shop(argocd, shop, AUTOMATED)
    argocd.wait(shop.name, healthy)


def test_a_change_by_hand_is_undone(argocd: ArgoCD, shop: Shop) -> None:
    open_shop(argocd, shop, AUTOMATED)
    argocd.wait(shop.name, synced(shop.repository.head))
    shop.cluster.kubectl("-n", shop.name, "set", "image", "deployment/web", "main=web:by-hand")
    # Its status does not say which operation undid it: now and then there is one more, right after a sync.
    argocd.wait(shop.name, lambda _: shop.images()["web"] == "web:1")


def test_an_older_commit_is_deployed_by_an_operation_that_somebody_writes(argocd: ArgoCD, shop: Shop) -> None:
    older = shop.repository.head
    open_shop(argocd, shop)
    newer = shop.repository.commit({"web.json": deployment("web", "web:2")}, "Improve")
    for revision in (newer, older):
        operation = json.dumps({"operation": {"initiatedBy": {"username": "me"}, "sync": {"revision": revision}}})
        shop.cluster.kubectl("-n", NAMESPACE, "patch", "application", shop.name, "--type=merge", "-p", operation)
        argocd.wait(shop.name, operated(revision))
    assert shop.images() == {"web": "web:1", "cart": "cart:1"}
    assert [entry["revision"] for entry in argocd.get(shop.name)["status"]["history"]] == [newer, older]


def test_a_chart_is_rendered_with_its_values(argocd: ArgoCD, shop: Shop) -> None:
    template = deployment("web", "{{ .Values.image }}").replace('"name": "web"', '"name": "{{ .Release.Name }}-web"', 1)
    chart = json.dumps({"apiVersion": "v2", "name": "shop", "version": "1.0.0"})
    shop.repository.commit(
        {"shop/Chart.yaml": chart, "shop/values.yaml": "image: web:1\n", "shop/templates/web.yaml": template}, "Pack"
    )
    open_shop(
        argocd, shop, AUTOMATED, path="shop", source={"helm": {"parameters": [{"name": "image", "value": "web:2"}]}}
    )
    argocd.wait(shop.name, synced(shop.repository.head))
    assert shop.images() == {f"{shop.name}-web": "web:2"}


def test_a_repository_that_is_away_is_a_condition_until_it_is_back(argocd: ArgoCD, shop: Shop) -> None:
    open_shop(argocd, shop, AUTOMATED)
    argocd.wait(shop.name, synced(shop.repository.head))
    shop.repository.break_()
    argocd.refresh(shop.name)
    application = argocd.wait(shop.name, lambda app: "ComparisonError" in conditions(app))
    assert "repository not found" in conditions(application)["ComparisonError"]
    assert application["status"]["sync"]["status"] == "Unknown"
    shop.repository.mend()
    argocd.refresh(shop.name)
    argocd.wait(shop.name, synced(shop.repository.head))
    argocd.wait(shop.name, lambda app: not conditions(app))


def test_a_project_says_where_its_applications_may_deploy(argocd: ArgoCD, shop: Shop) -> None:
    argocd.project(shop.name, destinations=[{"server": "*", "namespace": "elsewhere"}])
    open_shop(argocd, shop, AUTOMATED, project=shop.name)
    # At first it may not have heard of the project.
    refused = "do not match any of the allowed destinations"
    argocd.wait(shop.name, lambda app: refused in conditions(app).get("InvalidSpecError", ""))
    assert shop.images() == {}


def test_an_application_may_be_in_the_namespace_that_it_deploys_to(argocd: ArgoCD, shop: Shop) -> None:
    open_shop(argocd, shop, AUTOMATED, namespace=shop.name)
    argocd.wait(shop.name, synced(shop.repository.head), shop.name)
    assert shop.images() == {"web": "web:1", "cart": "cart:1"}


def test_it_goes_on_after_a_part_of_it_was_killed(argocd: ArgoCD, shop: Shop) -> None:
    open_shop(argocd, shop, AUTOMATED)
    argocd.wait(shop.name, synced(shop.repository.head))
    for part in (argocd.cache, argocd.repo_server, argocd.controller):
        part.down()
    revision = shop.repository.commit({"web.json": deployment("web", "web:2")}, "Improve")
    argocd.refresh(shop.name)
    for part in (argocd.cache, argocd.repo_server, argocd.controller):
        part.up()
    argocd.wait(shop.name, synced(revision))
