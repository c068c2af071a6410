"""A rollback brings remembered configuration back before its target, once, and pods start with it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import yaml

from tests.e2e.test_configuration import (
    STUCK,
    config_map,
    configured,
    grant,
    proved_good,
    remembered,
    remembering,
    secret,
    values,
)
from tests.e2e.test_sets import KINDS, pods, set_of
from tests.e2e.world import Object, World, condition, outcome, policy, until, web

NO_IMAGE = {"name": "no-image", "interval": "1s", "pods": {"reasons": ["ImagePullBackOff"]}}
RESTARTED = "kubectl.kubernetes.io/restartedAt"
GOOD = ("good", "aHVudGVyMi1nb29k")
BAD = ("bad", "aHVudGVyMi1iYWQ=")


@pytest.fixture(scope="module")
def settings() -> dict[str, str]:
    """Configuration is looked at often."""
    return {"remember": "2"}


def released(world: World, *, server_side: bool = False) -> World:
    """`web` at its second release, which brought other configuration; the first one is remembered."""
    grant(world)
    world.apply(config_map(mode="good", old="1"), secret("hunter2-good"), server_side=server_side)
    world.release(configured("shop:1"), server_side=server_side)
    world.apply(policy("web", remember={"config": True}, triggers=[STUCK]))
    proved_good(world)
    world.apply(config_map(mode="bad"), secret("hunter2-bad"), server_side=server_side)
    world.release(configured("shop:2"), server_side=server_side)
    assert values(world) == BAD
    return world


def restarted(world: World) -> bool:
    metadata = world.get("deployment", "web")["spec"]["template"]["metadata"]
    return RESTARTED in metadata.get("annotations", {})


def plan_of(body: Object) -> Object:
    plan: Object = body["status"]["targets"][0]["plan"]
    return plan


def test_configuration_comes_back_with_the_template(world: World) -> None:
    released(world)

    body = world.roll_back("back", policyRef={"name": "web"})

    assert outcome(body) == ("Succeeded", "Completed")
    assert (world.image(), values(world)) == ("shop:1", GOOD)
    assert world.get("configmap", "settings")["data"] == {"mode": "good", "old": "1"}
    assert restarted(world)
    steps = plan_of(body)["steps"]
    assert [step.split(" (")[0] for step in steps[1:3]] == [
        "Put ConfigMap settings back as it was",
        "Put Secret db back as it was",
    ]
    assert steps[-1].startswith("Start all pods anew")
    assert "hunter2" not in world.kubectl("get", "rbp,rbr,events", "-o", "json")


def test_the_copy_brings_everything_back_to_what_was_replaced(world: World) -> None:
    released(world)
    body = world.roll_back("back", policyRef={"name": "web"})

    world.restore(body)

    assert (world.image(), values(world)) == ("shop:2", BAD)


def test_configuration_alone_comes_back_and_the_pods_start_anew(world: World) -> None:
    grant(world)
    proved_good(remembering(world))
    world.apply(config_map(mode="bad"))
    before = {pod["metadata"]["name"] for pod in yaml.safe_load(world.kubectl("get", "pods", "-o", "yaml"))["items"]}

    body = world.roll_back("back", policyRef={"name": "web"})

    assert outcome(body) == ("Succeeded", "Completed")
    assert (world.image(), values(world)[0]) == ("shop:1", "good")
    assert restarted(world)

    def gone() -> bool:
        pods = yaml.safe_load(world.kubectl("get", "pods", "-o", "yaml"))["items"]
        return before.isdisjoint(pod["metadata"]["name"] for pod in pods)

    until(gone, what="the pods that read the bad configuration are gone")


@pytest.mark.parametrize("kind", KINDS)
def test_sets_start_their_pods_anew_as_well(world: World, kind: str) -> None:
    grant(world)
    world.apply(config_map(mode="good"), secret("hunter2-good"))
    sources = [{"configMapRef": {"name": "settings"}}, {"secretRef": {"name": "db"}}]
    world.release(set_of(kind, "shop:1", envFrom=sources))
    orders = {"target": {"kind": kind, "name": "web"}, "remember": {"config": True}, "triggers": [NO_IMAGE]}
    world.apply(policy("web", **orders))
    (first,) = remembered(world, 1)
    known = {"fingerprint": first["fingerprint"], "verdict": "Good", "reason": "it served customers for a week"}
    world.apply(policy("web", **orders, ledger=[known]))
    until(lambda: "lastKnownGood" in world.get("rbp", "web")["status"], what="the policy knows a good revision")
    world.apply(config_map(mode="bad"))
    before = {uid for _, uid in pods(world).values()}

    body = world.roll_back("back", policyRef={"name": "web"})

    assert outcome(body) == ("Succeeded", "Completed")
    assert values(world)[0] == "good"
    until(
        lambda: before.isdisjoint(uid for _, uid in pods(world).values()),
        what="the pods that read the bad one are gone",
    )


@pytest.mark.parametrize("deleted", [False, True], ids=["changed", "deleted"])
def test_a_service_goes_back_and_keeps_its_address_if_it_has_one(world: World, *, deleted: bool) -> None:
    def service(port: int) -> Object:
        named = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}}
        return {**named, "spec": {"selector": {"app": "web"}, "ports": [{"port": port}]}}

    grant(world)
    world.apply(service(80))
    world.release(web("shop:1"))
    world.apply(policy("web", remember={"also": [{"kind": "Service", "name": "web"}]}, triggers=[STUCK]))
    remembered(world, 1)
    address = world.get("service", "web")["spec"]["clusterIP"]
    world.release(web("shop:2"))
    remembered(world, 2)
    world.kubectl("delete", "service", "web") if deleted else world.apply(service(81))

    body = world.roll_back("back", policyRef={"name": "web"})

    assert outcome(body) == ("Succeeded", "Completed")
    now = world.get("service", "web")["spec"]
    assert now["ports"][0]["port"] == 80
    assert deleted or now["clusterIP"] == address
    assert not restarted(world)
    world.apply(service(82))
    assert world.get("service", "web")["spec"]["ports"][0]["port"] == 82


def test_what_was_deleted_is_made_anew(world: World) -> None:
    released(world)
    world.kubectl("delete", "configmap", "settings")

    body = world.roll_back("back", policyRef={"name": "web"})

    assert outcome(body) == ("Succeeded", "Completed")
    assert values(world) == GOOD
    assert plan_of(body)["steps"][1].startswith("Make ConfigMap settings anew as it was")


def generated(digits: str) -> Object:
    """A ConfigMap as kustomize's configMapGenerator makes it, as Flux would apply it."""
    labels = {"kustomize.toolkit.fluxcd.io/name": "shop", "kustomize.toolkit.fluxcd.io/namespace": "flux-system"}
    body = config_map(mode=digits)
    return {**body, "metadata": {"name": f"settings-{digits}", "labels": labels}}


def test_what_was_pruned_with_its_release_is_made_anew(world: World) -> None:
    old, new = "7f9cgg4m2b", "2222222222"
    grant(world)
    for number, digits in enumerate((old, new), 1):
        world.apply(generated(digits))
        world.release(web(f"shop:{number}", envFrom=[{"configMapRef": {"name": f"settings-{digits}"}}]))
        world.apply(policy("web", remember={"config": True}, triggers=[STUCK]))
        remembered(world, number)
    world.kubectl("delete", "configmap", f"settings-{old}")

    body = world.roll_back("back", policyRef={"name": "web"})

    assert outcome(body) == ("Succeeded", "Completed")
    assert (world.image(), world.get("configmap", f"settings-{old}")["data"]) == ("shop:1", {"mode": old})
    assert not restarted(world)
    assert plan_of(body)["notes"][-1] == (
        f"Flux's Kustomization flux-system/shop made ConfigMap settings-{old} before it was gone, and may delete it "
        "again."
    )


def test_what_is_optional_comes_back_as_well_and_what_came_later_stays(world: World) -> None:
    grant(world)
    sources = [{"configMapRef": {"name": name, "optional": True}} for name in ("settings", "flags")]
    world.apply(config_map(mode="good"))
    world.release(web("shop:1", envFrom=sources))
    world.apply(policy("web", remember={"config": True}, triggers=[STUCK]))
    proved_good(world)
    flags = config_map(a="b")
    world.apply(config_map(mode="bad"), {**flags, "metadata": {"name": "flags"}})
    world.release(web("shop:2", envFrom=sources))

    body = world.roll_back("back", policyRef={"name": "web"})

    assert outcome(body) == ("Succeeded", "Completed")
    assert (world.image(), world.get("configmap", "settings")["data"]) == ("shop:1", {"mode": "good"})
    assert world.get("configmap", "flags")["data"] == {"a": "b"}
    assert plan_of(body)["notes"][-1].endswith("(a rollback deletes nothing that was not there then): ConfigMap flags.")


@pytest.mark.parametrize("made_anew", [False, True], ids=["changed", "made anew"])
@pytest.mark.parametrize("server_side", [False, True], ids=["kubectl apply", "kubectl apply --server-side"])
def test_the_next_apply_of_the_owner_succeeds_and_strands_nothing(
    world: World, *, server_side: bool, made_anew: bool
) -> None:
    released(world, server_side=server_side)
    if made_anew:
        world.kubectl("delete", "configmap", "settings")
    assert outcome(world.roll_back("back", policyRef={"name": "web"})) == ("Succeeded", "Completed")
    shown = world.get("configmap", "settings", "--show-managed-fields")
    assert "rollback-operator" not in {one["manager"] for one in shown["metadata"]["managedFields"]}

    world.apply(config_map(mode="next"), secret("hunter2-next"), server_side=server_side)
    world.release(configured("shop:3"), server_side=server_side)

    assert world.get("configmap", "settings")["data"] == {"mode": "next"}
    assert values(world)[1] == "aHVudGVyMi1uZXh0"
    assert world.image() == "shop:3"


def test_a_dry_run_names_what_would_be_put_back_and_changes_nothing(world: World) -> None:
    released(world)

    body = world.roll_back("try", policyRef={"name": "web"}, dryRun=True)

    assert outcome(body) == ("Succeeded", "DryRun")
    assert (world.image(), values(world)) == ("shop:2", BAD)
    assert "Put ConfigMap settings back as it was" in str(plan_of(body)["steps"])
    assert "-  old: <digest" not in plan_of(body)["diff"]
    assert "+  old: <digest" in plan_of(body)["diff"]


def _immutable(world: World) -> None:
    world.kubectl("patch", "configmap", "settings", "--type=merge", "-p", '{"immutable": true}')


def _without_rights(world: World) -> None:
    world.kubectl("delete", "role", "rollback-remember")
    may_read = {"apiGroups": [""], "resources": ["configmaps", "secrets"], "verbs": ["get"]}
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "rollback-remember"}}
    world.apply({**role, "rules": [may_read]})
    world.may("patch", "configmaps", name="settings", answer=False)


def _forgotten(world: World) -> None:
    secrets = yaml.safe_load(world.kubectl("get", "secrets", "--field-selector=type=rollback.dev/config", "-o", "yaml"))
    for one in secrets["items"]:
        world.kubectl("delete", "secret", one["metadata"]["name"])


REFUSED: dict[str, tuple[Callable[[World], None], str, str]] = {
    "it is immutable now": (
        _immutable,
        "Rejected",
        "ConfigMap settings cannot be put back as it was, because it is imm",
    ),
    "a right is missing": (_without_rights, "Forbidden", "may not patch configmaps settings in namespace"),
    "what was kept is gone": (_forgotten, "MissingDependency", "as it was any more: nothing was changed"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_nothing_is_changed_when(world: World, case: str) -> None:
    happens, reason, says = REFUSED[case]
    released(world)
    happens(world)

    body = world.roll_back("back", policyRef={"name": "web"})

    assert outcome(body) == ("Failed", reason)
    assert says in condition(body, "Ready")["message"]
    assert condition(body, "Applied")["status"] == "False"
    assert (world.image(), values(world)) == ("shop:2", BAD)


def test_the_template_alone_goes_back_when_no_policy_is_named(world: World) -> None:
    released(world)

    assert outcome(world.roll_back("back")) == ("Succeeded", "Completed")

    assert (world.image(), values(world)) == ("shop:1", BAD)
    assert not restarted(world)
