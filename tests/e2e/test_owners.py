"""A target that Helm, Argo CD or Flux manages, on a real API server; Helm is the real one, Flux is its resources."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from testbed import Binaries, Cluster
from tests import flux
from tests.e2e.helming import Shop
from tests.e2e.test_afterwards import _chart
from tests.e2e.world import Object, World, condition, outcome, policy, request, until, web

HOLD = "rollback.dev/hold"
BY_ARGO_CD = {"argocd.argoproj.io/tracking-id": "shop:apps/Deployment:{namespace}/web"}


@pytest.fixture(scope="module")
def settings() -> dict[str, str]:
    return {"helm": str(Binaries().path("helm"))}


@pytest.fixture(scope="module", autouse=True)
def _flux(fake_cluster: Cluster) -> None:
    flux.install(fake_cluster)


def said(body: Object) -> str:
    text: str = condition(body, "Ready")["message"]
    return text


def installed(world: World, folder: Path) -> World:
    """web in two releases by the real Helm."""
    helm = ["--namespace", world.namespace, "--wait", "--timeout=180s"]
    chart = str(_chart(folder))
    world.cluster.helm("install", "web", chart, *helm, "--set=image=shop:1")
    world.cluster.helm("upgrade", "web", chart, *helm, "--set=image=shop:2")
    return world


@pytest.fixture
def by_helm(world: World, tmp_path: Path) -> World:
    """web, installed and upgraded by Helm."""
    return installed(world, tmp_path)


def released(world: World, *, labels: dict[str, str] | None = None, annotations: dict[str, str] | None = None) -> World:
    """web in two releases, marked like this."""
    for image in ("shop:1", "shop:2"):
        body = web(image)
        body["metadata"]["labels"] = {"app": "web", **(labels or {})}
        body["metadata"]["annotations"] = annotations or {}
        world.release(body)
    return world


@pytest.fixture
def by_flux(world: World) -> World:
    """web, as the Kustomization shop in its namespace applies it; the account may look at that and suspend it."""
    labels = {
        "kustomize.toolkit.fluxcd.io/name": "shop",
        "kustomize.toolkit.fluxcd.io/namespace": world.namespace,
    }
    world.apply(flux.kustomization("shop"))
    has_applied(world, f"{world.namespace}_web_apps_Deployment")
    allow(world, "get", "patch")
    return released(world, labels=labels)


def has_applied(world: World, *identities: str) -> None:
    """The Kustomization keeps these as they are."""
    inventory = {"status": flux.kustomization("shop", applied=identities)["status"]}
    world.kubectl("patch", "kustomization", "shop", "--subresource=status", "--type=merge", "-p", json.dumps(inventory))


def allow(world: World, *verbs: str) -> None:
    """What of examples/rbac-owners.yaml is for Flux, with these verbs; what feeds it may be looked at."""
    groups = {"kustomize.toolkit.fluxcd.io": "kustomizations", "helm.toolkit.fluxcd.io": "helmreleases"}
    role: Object = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": "rollback-owners"},
        "rules": [
            *({"apiGroups": [one], "resources": [groups[one]], "verbs": list(verbs)} for one in groups),
            {"apiGroups": ["source.toolkit.fluxcd.io"], "resources": ["*"], "verbs": ["get"]},
        ],
    }
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "rollback-owners"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "rollback-owners"},
        "subjects": [{"kind": "ServiceAccount", "name": "rollback", "namespace": world.namespace}],
    }
    world.apply(role, binding)
    for group, resource in groups.items():
        for verb in ("get", "list", "patch"):
            world.may(verb, f"{group}/{resource}", answer=verb in verbs)


def the_kustomization(world: World) -> Object:
    return world.get("kustomizations.kustomize.toolkit.fluxcd.io", "shop")


def test_a_deployment_of_helm_is_not_touched_and_the_release_is_named(by_helm: World) -> None:
    def asked() -> Object:
        web = by_helm.get("deployment", "web")  # its status may still be written when the rollout is over
        return {"spec": web["spec"], **{name: web["metadata"].get(name) for name in ("labels", "annotations")}}

    before = asked()
    body = by_helm.roll_back("back")
    assert outcome(body) == ("Failed", "OwnedBy")
    assert "Helm release web manages Deployment/web" in said(body)
    assert condition(body, "Applied")["status"] == "False"
    assert asked() == before


def test_a_deployment_of_helm_is_rolled_back_itself_if_asked_for(by_helm: World) -> None:
    body = by_helm.roll_back("back", owner="Ignore")
    assert outcome(body) == ("Succeeded", "Completed")
    assert by_helm.image() == "shop:1"
    assert any("Helm release web manages" in note for note in body["status"]["targets"][0]["plan"]["notes"])


def test_a_dry_run_names_the_owner_as_well(by_helm: World) -> None:
    assert outcome(by_helm.roll_back("back", dryRun=True)) == ("Failed", "OwnedBy")


def test_a_deployment_of_argo_cd_is_not_touched_and_the_application_is_named(world: World) -> None:
    tracking = {name: value.format(namespace=world.namespace) for name, value in BY_ARGO_CD.items()}
    body = released(world, annotations=tracking).roll_back("back")
    assert outcome(body) == ("Failed", "OwnedBy")
    assert "Argo CD's Application argocd/shop manages Deployment/web" in said(body)
    assert "name: shop, namespace: argocd" in said(body) or "by its own means" in said(body)
    assert world.image() == "shop:2"


def test_flux_is_suspended_for_the_rollback_and_resumed_by_the_command_that_is_shown(by_flux: World) -> None:
    before = the_kustomization(by_flux)["spec"]
    body = by_flux.roll_back("back", owner="Through")
    assert outcome(body) == ("Succeeded", "Completed")
    assert by_flux.image() == "shop:1"
    suspended = the_kustomization(by_flux)
    assert suspended["spec"] == {**before, "suspend": True}
    record = json.loads(suspended["metadata"]["annotations"][HOLD])
    assert record == {"request": body["metadata"]["uid"], "suspend": None}
    assert any("Deployment " + by_flux.namespace + "/web" in note for note in plan_of(body)["notes"])

    words = shlex.split(said(body).partition("resume it: ")[2])
    assert words[0] == "kubectl"
    by_flux.cluster.kubectl(*words[1:])

    resumed = the_kustomization(by_flux)
    assert resumed["spec"] == before
    assert HOLD not in resumed["metadata"].get("annotations", {})


def test_the_plan_names_as_many_objects_as_it_can_have_one_a_line(by_flux: World) -> None:
    names = [f"{'c' * 240}-{number}" for number in range(300)]
    has_applied(by_flux, *(f"{by_flux.namespace}_{name}__ConfigMap" for name in names))
    body = by_flux.roll_back("back", owner="Through")
    assert outcome(body) == ("Succeeded", "Completed")
    shown = r'{range .status.targets[0].plan.affected[*]}{@}{"\n"}{end}'
    lines = by_flux.kubectl("get", "rbr", "back", "-o", f"jsonpath={shown}").splitlines()
    assert lines == [f"ConfigMap {by_flux.namespace}/{name}" for name in names[:256]]
    notes = " ".join(plan_of(body)["notes"])
    assert "nothing that it applies is updated: 300 objects, which plan.affected names" in notes
    assert "plan.affected names the first 256 of 300 objects." in notes


def plan_of(body: Object) -> Object:
    plan: Object = body["status"]["targets"][0]["plan"]
    return plan


def test_by_default_flux_is_named_and_nothing_is_suspended(by_flux: World) -> None:
    body = by_flux.roll_back("back")
    assert outcome(body) == ("Failed", "OwnedBy")
    assert f"Flux's Kustomization {by_flux.namespace}/shop manages Deployment/web" in said(body)
    assert "suspend" not in the_kustomization(by_flux)["spec"]


def test_what_flux_is_applying_is_waited_for(by_flux: World) -> None:
    by_flux.kubectl(*flux.applying("kustomization", "shop", now=True))
    by_flux.request("back", owner="Through")
    until(
        lambda: (
            (by_flux.get("rbr", "back").get("status") or {}).get("conditions")
            and outcome(by_flux.get("rbr", "back")) == ("Pending", "WaitingForOwner")
        ),
        what="it waits",
    )
    assert "suspend" not in the_kustomization(by_flux)["spec"]
    by_flux.kubectl(*flux.applying("kustomization", "shop", now=False))
    assert outcome(by_flux.ended("back")) == ("Succeeded", "Completed")


def test_what_people_suspended_stays_theirs(by_flux: World) -> None:
    by_flux.kubectl("patch", "kustomization", "shop", "--type=merge", "-p", '{"spec":{"suspend":true}}')
    body = by_flux.roll_back("back", owner="Through")
    assert outcome(body) == ("Succeeded", "Completed")
    assert "resume it" not in said(body)
    assert HOLD not in the_kustomization(by_flux)["metadata"].get("annotations", {})


def test_a_suspension_that_git_would_undo_is_not_made(by_flux: World) -> None:
    body = flux.kustomization("shop", suspend=False)
    del body["status"]
    by_flux.kubectl(
        "apply",
        "--server-side",
        "--field-manager=kustomize-controller",
        "--force-conflicts",
        "-f",
        "-",
        input=yaml.safe_dump(body),
    )
    ended = by_flux.roll_back("back", owner="Through")
    assert outcome(ended) == ("Failed", "OwnedBy")
    assert "sets spec.suspend of it" in said(ended)
    assert (by_flux.image(), the_kustomization(by_flux)["spec"]["suspend"]) == ("shop:2", False)


RIGHTS = {
    "it may not look": ((), "may not get kustomizations shop"),
    "it may not suspend": (("get",), "may not patch kustomizations"),
}


@pytest.mark.parametrize("case", RIGHTS)
def test_rights_on_the_owner_are_the_service_accounts(case: str, by_flux: World) -> None:
    verbs, words = RIGHTS[case]
    allow(by_flux, *(verbs or ("list",)))
    body = by_flux.roll_back("back", owner="Through")
    assert outcome(body) == ("Failed", "Forbidden")
    assert words in said(body)
    assert (by_flux.image(), the_kustomization(by_flux)["spec"].get("suspend")) == ("shop:2", None)


def test_a_suspension_without_an_effect_is_ended(by_flux: World) -> None:
    role = by_flux.get("role", "rollback")
    role["rules"] = [{**one, "verbs": [verb for verb in one["verbs"] if verb != "patch"]} for one in role["rules"]]
    by_flux.apply({key: role[key] for key in ("apiVersion", "kind", "rules")} | {"metadata": {"name": "rollback"}})
    by_flux.may("patch", "apps/deployments", answer=False)
    body = by_flux.roll_back("back", owner="Through")
    assert outcome(body) == ("Failed", "Forbidden")
    now = the_kustomization(by_flux)
    assert "suspend" not in now["spec"]
    assert HOLD not in now["metadata"].get("annotations", {})
    assert now["metadata"]["generation"] == 3, "it was suspended in between"


def test_the_owner_rule_of_a_request_cannot_be_changed(by_flux: World) -> None:
    by_flux.roll_back("back")
    words: Any = {"apiVersion": "rollback.dev/v1alpha1", "kind": "RollbackRequest", "metadata": {"name": "back"}}
    spec = {"target": {"kind": "Deployment", "name": "web"}, "reason": "5xx after the release", "owner": "Through"}
    assert "owner cannot be changed" in by_flux.refused({**words, "spec": spec})


def test_a_policy_says_before_the_incident_that_something_else_owns_its_target(by_flux: World) -> None:
    trigger = {"name": "pods", "pods": {"notReady": "> 1"}}
    by_flux.apply(policy("web", triggers=[trigger]))
    until(lambda: armed(by_flux)["reason"] == "OwnedBy", what="it is said who owns it")
    assert armed(by_flux)["status"] == "False"
    by_flux.apply(policy("web", triggers=[trigger], owner="Through"))
    until(lambda: armed(by_flux)["status"] == "True", what="it is armed")


def armed(world: World) -> Object:
    def said_so() -> Object | None:
        conditions = (world.get("rbp", "web").get("status") or {}).get("conditions") or []
        return next((one for one in conditions if one["type"] == "Armed"), None)

    found: Object | None = until(said_so, what="it says whether it is armed")
    assert found is not None
    return found


# By the owner, where that is a release of Helm.


@pytest.fixture
def shop(world: World, tmp_path: Path) -> Shop:
    """The release shop in two revisions, with the rights that Helm takes."""
    shop = Shop(world.cluster, world.namespace, tmp_path)
    shop.allow()
    allow(shop, "get", "patch")
    shop.upgrade("shop:1")
    shop.upgrade("shop:2")
    return shop


def through(shop: Shop, name: str, **spec: Any) -> Object:
    """A request for one object of the release that goes by the release."""
    return shop.ended(shop.request(name, owner="Through", **spec))


def test_a_request_for_one_object_goes_by_its_release(shop: Shop) -> None:
    body = through(shop, "back")
    assert outcome(body) == ("Succeeded", "Completed"), said(body)
    assert (body["spec"]["target"]["kind"], body["status"]["target"]) == ("Deployment", "Helm/shop")
    assert (body["status"]["from"], body["status"]["to"]) == ("2", "1")
    assert (shop.image(), shop.history()[-1]) == ("shop:1", (3, "deployed"))
    affected = next(note for note in plan_of(body)["notes"] if note.startswith("It consists of: "))
    for name in ("Deployment web", "ConfigMap settings", "Secret password"):
        assert name in affected
        assert any(one.startswith(name) for one in plan_of(body)["affected"])


def test_a_group_goes_by_the_release_of_one_of_its_targets(shop: Shop) -> None:
    names = ("first", "web")
    for image in ("shop:1", "shop:2"):
        shop.apply(web(image, name="first", replicas=1))
        shop.rolled_out("first")
    targets = [{"target": {"kind": "Deployment", "name": name}, "wave": at} for at, name in enumerate(names)]
    shop.apply(request("both", targets=targets, reason="5xx after the release", owner="Through"))
    body = shop.ended("both")
    assert outcome(body) == ("Succeeded", "Completed"), said(body)
    assert "Deployment/web (by Helm/shop) at revision 1" in said(body)
    assert [one.get("owner") for one in body["status"]["targets"]] == [None, "Helm/shop"]
    assert (shop.image(), shop.history()[-1], shop.image("first")) == ("shop:1", (3, "deployed"), "shop:1")


def test_two_requests_that_come_to_the_same_release_roll_it_back_once(shop: Shop) -> None:
    both = {"reason": "both of us", "target": {"kind": "Deployment", "name": "web"}}
    by_name = {**both, "target": {"kind": "Helm", "name": "shop"}}
    shop.apply(request("by-object", **both, owner="Through"), request("by-name", **by_name))
    outcomes = sorted(outcome(shop.ended(name)) for name in ("by-object", "by-name"))
    assert outcomes == [("Succeeded", "Completed"), ("Superseded", "AlreadyRolledBack")]
    assert shop.history()[-1] == (3, "deployed")


def test_a_revision_of_the_object_is_not_taken_for_one_of_the_release(shop: Shop) -> None:
    body = through(shop, "back", to="1")
    assert outcome(body) == ("Failed", "OwnedBy")
    assert "target: {kind: Helm, name: shop}" in said(body)
    assert shop.history()[-1] == (2, "deployed")


def driven_by_flux(shop: Shop) -> None:
    """Have the release say that the HelmRelease shop made it, as Flux's post-renderer does."""
    labels = {
        "helm.toolkit.fluxcd.io/name": "shop",
        "helm.toolkit.fluxcd.io/namespace": shop.namespace,
    }
    shop.apply(flux.helm_release("shop"))
    body = web("{{ .Values.image }}")
    body["metadata"]["labels"] = {"app": "web", **labels}
    chart = shop.chart(web=yaml.safe_dump(body))
    for image in ("shop:3", "shop:4"):
        shop.upgrade(image, chart=chart)


def test_a_release_of_flux_is_not_touched_and_the_helm_release_is_named(shop: Shop) -> None:
    driven_by_flux(shop)
    body = shop.back("back")
    assert outcome(body) == ("Failed", "OwnedBy")
    assert f"Flux's HelmRelease {shop.namespace}/shop manages Helm/shop" in said(body)
    assert shop.history()[-1] == (4, "deployed")


def test_a_helm_release_is_suspended_before_its_release_is_rolled_back(shop: Shop) -> None:
    driven_by_flux(shop)
    body = through(shop, "back")
    assert outcome(body) == ("Succeeded", "Completed"), said(body)
    assert (shop.image(), shop.history()[-1]) == ("shop:3", (5, "deployed"))
    suspended = shop.get("helmreleases.helm.toolkit.fluxcd.io", "shop")
    assert suspended["spec"]["suspend"] is True
    assert json.loads(suspended["metadata"]["annotations"][HOLD])["request"] == body["metadata"]["uid"]
    words = shlex.split(said(body).partition("resume it: ")[2])
    shop.cluster.kubectl(*words[1:])
    resumed = shop.get("helmreleases.helm.toolkit.fluxcd.io", "shop")
    assert "suspend" not in resumed["spec"]
    assert HOLD not in resumed["metadata"].get("annotations", {})
