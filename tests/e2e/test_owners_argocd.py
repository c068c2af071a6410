"""What Argo CD deploys, and what is above an Application, with a real Argo CD."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from testbed import Cluster
from tests.e2e.gitops import AUTOMATED, Shop
from tests.e2e.test_argocd import argocd, not_automated, settings, shop  # noqa: F401 - fixtures
from tests.e2e.world import Object, condition, outcome
from tests.flux import definition as definition_of

pytestmark = pytest.mark.usefixtures("gitops")


@pytest.fixture(scope="module", autouse=True)
def _application_sets(fake_cluster: Cluster) -> None:
    """Their definition, as far as a rollback reads them; their controller does not run here."""
    definition = definition_of("argoproj.io", "v1alpha1", "ApplicationSet")
    fake_cluster.kubectl("apply", "-f", "-", input=yaml.safe_dump(definition))
    fake_cluster.kubectl("wait", "--for=condition=Established", "crd", definition["metadata"]["name"], "--timeout=150s")


def said(body: Object) -> str:
    return str(condition(body, "Ready")["message"])


def by_object(shop: Shop, name: str, **spec: Any) -> Object:  # noqa: F811 - a parameter
    """Ask for a rollback of the Deployment that the Application deploys."""
    return shop.ended(shop.request(name, **spec))


def above(shop: Shop, policy: str | None = None) -> None:  # noqa: F811
    """Put an ApplicationSet above the Application, and let the service account look at it."""
    body: Object = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "ApplicationSet",
        "metadata": {"name": "shops"},
        "spec": {
            "generators": [],
            "template": {
                "metadata": {"name": "web"},
                "spec": {"project": "default", "destination": {}, "source": {"repoURL": shop.repository.url}},
            },
            **({"syncPolicy": {"applicationsSync": policy}} if policy else {}),
        },
    }
    shop.apply(body, server_side=True)
    made = shop.get("applicationset", "shops")["metadata"]
    owner = {"apiVersion": "argoproj.io/v1alpha1", "kind": "ApplicationSet", "name": "shops", "uid": made["uid"]}
    patch = {"metadata": {"ownerReferences": [{**owner, "controller": True}]}}
    shop.kubectl("patch", "application", shop.name, "--type=merge", "-p", json.dumps(patch))
    may_look(shop)


def may_look(shop: Shop) -> None:  # noqa: F811
    """Let the service account look at what may be above an Application."""
    rule = {"apiGroups": ["argoproj.io"], "resources": ["applications", "applicationsets"], "verbs": ["get"]}
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": "rollback-owners"},
        "rules": [rule],
    }
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "rollback-owners"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "rollback-owners"},
        "subjects": [{"kind": "ServiceAccount", "name": "rollback", "namespace": shop.namespace}],
    }
    shop.apply(role, binding)
    for resource in ("applications", "applicationsets"):
        shop.may("get", f"argoproj.io/{resource}")


def test_what_argo_cd_deploys_is_recognised_and_rolled_back_by_its_application(shop: Shop) -> None:  # noqa: F811
    shop.releases("shop:1", "shop:2")

    refused = by_object(shop, "itself")
    assert outcome(refused) == ("Failed", "OwnedBy")
    assert f"Argo CD's Application {shop.at}/web manages Deployment/web" in said(refused)
    assert shop.image() == "shop:2"

    body = by_object(shop, "through", owner="Through")
    assert outcome(body) == ("Succeeded", "Completed"), said(body)
    assert body["status"]["target"] == "Application/web"
    assert shop.image() == "shop:1"
    assert shop.hold() is not None
    assert any(
        "Deployment " + shop.namespace + "/web" in note for note in body["status"]["targets"][0]["plan"]["notes"]
    )


@pytest.mark.parametrize("owner", ["Refuse", "Through"])
def test_an_application_set_that_would_undo_it_is_named_before_anything_is_touched(shop: Shop, owner: str) -> None:  # noqa: F811
    shop.releases("shop:1", "shop:2")
    above(shop)
    before = shop.app()["spec"]

    body = shop.back(owner=owner)

    assert outcome(body) == ("Failed", "OwnedBy")
    assert f"Argo CD's ApplicationSet {shop.at}/shops manages Application/web" in said(body)
    assert (shop.app()["spec"], shop.hold()) == (before, None)


def test_an_application_set_that_leaves_its_applications_alone_is_no_obstacle(shop: Shop) -> None:  # noqa: F811
    shop.releases("shop:1", "shop:2")
    above(shop, "create-only")
    assert outcome(shop.back()) == ("Succeeded", "Completed")
    assert shop.image() == "shop:1"


ROOT = "root"
IGNORES = {"group": "argoproj.io", "kind": "Application", "jsonPointers": ["/spec/syncPolicy"]}


def by_parent(shop: Shop, **spec: Any) -> None:  # noqa: F811
    """Have Argo CD deploy the Application itself, from the same repository, by another one."""
    commit = shop.repository.commit({"apps/web.json": child(shop)}, "The Application itself")
    at: dict[str, Any] = {"namespace": shop.at, "destination": shop.namespace}
    shop.argocd.application(ROOT, shop.repository.url, path="apps", automated=AUTOMATED, **at, **spec)
    shop.released(commit, by=ROOT)
    may_look(shop)


def child(shop: Shop, **more: Any) -> str:  # noqa: F811
    """The Application as it stands in Git."""
    spec = {**shop.app()["spec"], "syncPolicy": {"automated": AUTOMATED}, **more}
    names = {"name": shop.name, "namespace": shop.at}
    return json.dumps({"apiVersion": "argoproj.io/v1alpha1", "kind": "Application", "metadata": names, "spec": spec})


def test_an_app_of_apps_that_would_undo_it_is_named_before_anything_is_touched(shop: Shop) -> None:  # noqa: F811
    shop.releases("shop:1", "shop:2")
    by_parent(shop)
    before = shop.app()["spec"]

    body = shop.back(owner="Through")

    assert outcome(body) == ("Failed", "OwnedBy"), said(body)
    assert f"Argo CD's Application {shop.at}/{ROOT} manages Application/web" in said(body)
    assert (shop.app()["spec"], shop.hold(), shop.image()) == (before, None, "shop:2")


def test_an_app_of_apps_that_leaves_automation_to_others_does_not_end_the_hold(shop: Shop) -> None:  # noqa: F811
    shop.releases("shop:1", "shop:2")
    how = {"automated": AUTOMATED, "syncOptions": ["RespectIgnoreDifferences=true"]}
    by_parent(shop, syncPolicy=how, ignoreDifferences=[IGNORES])

    body = shop.back(owner="Through")
    assert outcome(body) == ("Succeeded", "Completed"), said(body)
    assert any("leaves the rollback alone" in note for note in body["status"]["targets"][0]["plan"]["notes"])
    shop.held("back", "True")
    told = [{"name": "team", "value": "shop"}]
    commit = shop.repository.commit({"apps/web.json": child(shop, info=told)}, "Whose it is")
    shop.released(commit, by=ROOT)

    app = shop.app()
    assert app["spec"]["info"] == told
    not_automated(app)
    assert (shop.hold() is not None, shop.image()) == (True, "shop:1")
    shop.held("back", "True")
