"""A copy of what a rollback replaces: the printed command brings it back."""

from __future__ import annotations

import pytest
import yaml

from tests.e2e.test_sets import images, set_of
from tests.e2e.world import Object, World, condition, outcome, policy, until, web


def released(world: World) -> World:
    """`web` with a good release and a bad one, and what people and others put on it."""
    world.release(web("shop:1"))
    world.release(web("shop:2", env=[{"name": "TOKEN", "value": "hunter2"}]))
    return world


def may(world: World, *verbs: str) -> None:
    """The service account may do just this with Secrets."""
    world.kubectl("delete", "role", "rollback")
    rules = [
        {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["patch"]},
        *([{"apiGroups": [""], "resources": ["secrets"], "verbs": list(verbs)}] if verbs else []),
    ]
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "rollback"}}
    world.apply({**role, "rules": rules})
    world.may("patch", "apps/deployments")
    world.may("get", "persistentvolumeclaims", answer=False)
    for verb in ("get", "create"):
        world.may(verb, "secrets", answer=verb in verbs)


def tried(world: World) -> str:
    """What the API server says to a Secret that it is only asked to try."""
    create = ("create", "secret", "generic", "one-more", "--dry-run=server")
    return world.cluster.kubectl_process("-n", world.namespace, *create).stderr


def copies(world: World) -> list[Object]:
    """The Secrets that hold copies."""
    items: list[Object] = yaml.safe_load(
        world.kubectl("get", "secrets", "--field-selector=type=rollback.dev/backup", "-o", "yaml")
    )["items"]
    return items


def test_the_printed_command_puts_back_what_was_replaced(world: World) -> None:
    released(world)
    before = world.get("deployment", "web")

    body = world.roll_back("back")

    assert outcome(body) == ("Succeeded", "Completed")
    assert world.image() == "shop:1"
    assert world.restore(body) == ""
    world.rolled_out("web")
    after = world.get("deployment", "web")
    assert after["spec"] == before["spec"]
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    revision = "deployment.kubernetes.io/revision"
    assert after["metadata"]["annotations"].pop(revision) == "4"
    assert before["metadata"]["annotations"].pop(revision) == "2"
    assert after["metadata"]["annotations"] == before["metadata"]["annotations"]


@pytest.mark.parametrize("kind", ["StatefulSet", "DaemonSet"])
def test_the_printed_command_puts_a_set_back(world: World, kind: str) -> None:
    world.release(set_of(kind, "shop:1"))
    world.release(set_of(kind, "shop:2", env=[{"name": "TOKEN", "value": "hunter2"}]))
    world.kubectl("annotate", f"{kind}/web", "oncall=anna")
    before = world.get(kind, "web")

    body = world.roll_back("back", target={"kind": kind, "name": "web"})

    assert outcome(body) == ("Succeeded", "Completed")
    assert world.image(kind=kind) == "shop:1"
    assert world.restore(body) == ""
    world.rolled_out("web", kind)
    after = world.get(kind, "web")
    assert after["spec"] == before["spec"]
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    generation = "deprecated.daemonset.template.generation"
    for one in (after, before):
        one["metadata"]["annotations"].pop(generation, None)
    assert after["metadata"]["annotations"] == before["metadata"]["annotations"]
    assert images(world) == ["shop:2"] * (2 if kind == "StatefulSet" else 1)


def test_the_copy_is_made_as_the_service_account_and_deleted_with_its_request(world: World) -> None:
    body = released(world).roll_back("back")

    (copy,) = copies(world)

    assert copy["metadata"]["name"] == body["status"]["targets"][0]["plan"]["backup"]["secret"]
    made = [
        event
        for event in world.cluster.audit_events()
        if event["verb"] == "create"
        and event.get("objectRef", {}).get("namespace") == world.namespace
        and event["objectRef"]["resource"] == "secrets"
    ]
    account = f"system:serviceaccount:{world.namespace}:rollback"
    assert [event["impersonatedUser"]["username"] for event in made] == [account]
    world.kubectl("delete", "rbr", "back")
    world.wait(f"secret/{copy['metadata']['name']}", "--for=delete")


def test_who_may_not_create_secrets_rolls_back_and_the_plan_says_that_no_copy_is_kept(world: World) -> None:
    released(world)
    may(world, "get")

    planned = world.roll_back("look", dryRun=True)
    body = world.roll_back("back")

    note = f"No backup is kept: service account {world.namespace}/rollback may not create secrets in namespace"
    for one in (planned, body):
        (mine,) = one["status"]["targets"]
        assert [line for line in mine["plan"]["notes"] if line.startswith(note)]
        assert "restore" not in mine
    assert outcome(body) == ("Succeeded", "Completed")
    assert copies(world) == []


def test_where_a_copy_is_required_nothing_is_done_without_the_right(world: World) -> None:
    released(world)
    may(world, "get")
    world.apply(
        policy("web", backup="Always", triggers=[{"name": "stuck", "rollout": {"progressDeadlineExceeded": True}}])
    )

    body = world.roll_back("back", policyRef={"name": "web"})
    world.wait("rbp/web", '--for=jsonpath={.status.conditions[?(@.type=="Armed")].reason}=MayNotRollBack')

    assert outcome(body) == ("Failed", "Forbidden")
    assert "may not create secrets" in condition(body, "Ready")["message"]
    assert world.image() == "shop:2"
    armed = condition(world.get("rbp", "web"), "Armed")
    assert (armed["status"], "may not create secrets" in armed["message"]) == ("False", True)


def test_a_quota_that_lets_no_secret_in_is_no_reason_to_stay_with_a_bad_release(world: World) -> None:
    released(world)
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}}
    world.apply({**quota, "spec": {"hard": {"count/secrets": "0"}}})
    until(lambda: "exceeded quota" in tried(world), what="the quota is in force")

    body = world.roll_back("back")
    required = world.roll_back("not-without", to="2", backup="Always")

    assert outcome(body) == ("Succeeded", "Completed")
    (mine,) = body["status"]["targets"]
    assert "No backup was kept" in mine["steps"][0]["message"]
    assert "exceeded quota" in mine["steps"][0]["message"]
    assert "restore" not in mine
    assert outcome(required) == ("Failed", "Rejected")
    assert "exceeded quota" in condition(required, "Ready")["message"]


@pytest.mark.parametrize("wish", ["Never", "IfAllowed"])
def test_a_request_says_whether_a_copy_is_kept(world: World, wish: str) -> None:
    released(world).roll_back("back", backup=wish)

    assert len(copies(world)) == (wish == "IfAllowed")
