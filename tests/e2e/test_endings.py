"""Every other ending: a phase, a reason, and a sentence that tells the reader what to do."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.e2e.world import World, condition, outcome, until, web


@pytest.fixture
def released(world: World) -> World:
    """`web` with a good release and a bad one."""
    world.release(web("shop:1"))
    world.release(web("shop:2"))
    return world


def said(body: dict[str, Any]) -> str:
    message: str = condition(body, "Ready")["message"]
    return message


def test_a_deployment_that_does_not_exist(world: World) -> None:
    body = world.roll_back("back", target={"kind": "Deployment", "name": "wbe"})

    assert outcome(body) == ("Failed", "TargetNotFound")
    assert said(body).startswith(f"There is no Deployment wbe in namespace {world.namespace}.")
    assert condition(body, "Stalled")["status"] == "True"


def test_a_policy_that_does_not_exist(released: World) -> None:
    body = released.roll_back("back", policyRef={"name": "none"})

    assert outcome(body) == ("Failed", "PolicyNotFound")
    assert "Create it and write a new request" in said(body)


def test_a_paused_deployment(released: World) -> None:
    released.kubectl("rollout", "pause", "deployment/web")

    body = released.roll_back("back")

    assert outcome(body) == ("Failed", "TargetPaused")
    assert "kubectl rollout resume deployment/web" in said(body)
    assert released.image() == "shop:2"


def test_a_revision_that_is_not_there(released: World) -> None:
    body = released.roll_back("back", to="7")

    assert outcome(body) == ("Failed", "RevisionNotFound")
    assert said(body).startswith("Deployment/web has no revision 7: it has 1 and 2.")


def test_the_revision_that_is_current(released: World) -> None:
    body = released.roll_back("back", to="2")

    assert outcome(body) == ("Succeeded", "AlreadyAtRevision")
    assert said(body) == "Deployment/web already has the template of revision 2: nothing was changed."


def test_a_first_release(world: World) -> None:
    world.release(web("shop:1"))

    body = world.roll_back("back")

    assert outcome(body) == ("Failed", "NothingToRollBackTo")
    assert "has no revision before 1" in said(body)


NEEDS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "ConfigMap": (
        {"envFrom": [{"configMapRef": {"name": "old"}}]},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "old"}},
        "ConfigMap old",
    ),
    "Secret": (
        {"env": [{"name": "P", "valueFrom": {"secretKeyRef": {"name": "old", "key": "p"}}}]},
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "old"}, "stringData": {"p": "hunter2"}},
        "Secret old (key p)",
    ),
}


@pytest.mark.parametrize("container, thing, name", NEEDS.values(), ids=NEEDS.keys())
def test_a_revision_that_needs_what_is_gone(
    world: World, container: dict[str, Any], thing: dict[str, Any], name: str
) -> None:
    world.apply(thing)
    world.release(web("shop:1", **container))
    world.release(web("shop:2"))
    world.kubectl("delete", thing["kind"], "old")

    body = world.roll_back("back")

    assert outcome(body) == ("Failed", "MissingDependency")
    assert said(body).startswith(f"Revision 1 of Deployment/web needs what is no longer there: {name}.")
    assert world.image() == "shop:2"


def test_a_revision_that_needs_a_claim_that_is_gone(world: World) -> None:
    first = web("shop:1")
    first["spec"]["template"]["spec"]["volumes"] = [{"name": "d", "persistentVolumeClaim": {"claimName": "data"}}]
    world.begin(first)
    world.release(web("shop:2"))

    body = world.roll_back("back")

    assert outcome(body) == ("Failed", "MissingDependency")
    assert "PersistentVolumeClaim data" in said(body)


def test_what_the_account_may_not_read_is_named_in_the_plan_and_not_held_against_the_revision(
    bare_world: World,
) -> None:
    bare_world.grant(secrets=False)
    bare_world.apply(NEEDS["Secret"][1])
    bare_world.release(web("shop:1", **NEEDS["Secret"][0]))
    bare_world.release(web("shop:2"))

    body = bare_world.roll_back("back")

    assert outcome(body) == ("Succeeded", "Completed")
    notes = body["status"]["targets"][0]["plan"]["notes"]
    account = f"{bare_world.namespace}/rollback"
    assert f"Not checked, because service account {account} may not read them: Secret old (key p)." in notes


@pytest.mark.parametrize("dry_run", [False, True])
def test_an_account_without_rights_gains_none(bare_world: World, *, dry_run: bool) -> None:
    bare_world.release(web("shop:1"))
    bare_world.release(web("shop:2"))

    body = bare_world.roll_back("back", dryRun=dry_run)

    assert outcome(body) == ("Failed", "Forbidden")
    account = f"{bare_world.namespace}/rollback"
    assert said(body).startswith(f"Service account {account} may not patch Deployment web in namespace")
    assert 'cannot patch resource "deployments"' in said(body)
    assert bare_world.image() == "shop:2"


def test_another_account_of_the_namespace_does_not_lend_its_rights(world: World) -> None:
    world.release(web("shop:1"))
    world.release(web("shop:2"))

    body = world.roll_back("back", serviceAccountName="default")

    assert outcome(body) == ("Failed", "Forbidden")


def test_a_change_that_admission_refuses(released: World) -> None:
    released.cluster.kubectl("apply", "-f", "-", input=_deny(released.namespace))
    try:
        until(lambda: "no rollbacks today" in _tried(released), what="the admission policy is in force")
        body = released.roll_back("back")
    finally:
        released.cluster.kubectl("delete", "-f", "-", input=_deny(released.namespace))

    assert outcome(body) == ("Failed", "Rejected")
    assert "no rollbacks today" in said(body)
    assert released.image() == "shop:2"


def _tried(world: World) -> str:
    """What the API server says to a release that it is only asked to try."""
    release = yaml.safe_dump(web("shop:3"))
    kubectl = world.cluster.kubectl_process
    return kubectl("-n", world.namespace, "apply", "--dry-run=server", "-f", "-", input=release).stderr


def _deny(namespace: str) -> str:
    return f"""
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {{name: deny-{namespace}}}
spec:
  matchConstraints:
    namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: {namespace}}}}}
    resourceRules: [{{apiGroups: [apps], apiVersions: [v1], operations: [UPDATE], resources: [deployments]}}]
  validations: [{{expression: "object.spec.template == oldObject.spec.template", message: no rollbacks today}}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {{name: deny-{namespace}}}
spec: {{policyName: deny-{namespace}, validationActions: [Deny]}}
"""


def test_an_abort_before_the_effect_changes_nothing(released: World) -> None:
    released.request("back", policyRef={"name": "later"})

    released.kubectl("patch", "rbr/back", "--type=merge", "-p", '{"spec":{"abort":true}}')

    body = released.ended("back")
    assert outcome(body) == ("Aborted", "Aborted")
    assert condition(body, "Applied")["status"] == "False"
    assert released.image() == "shop:2"


def stuck(image: str) -> dict[str, Any]:
    """A release whose pods no node takes."""
    body = web(image)
    body["spec"]["template"]["spec"]["nodeSelector"] = {"nowhere": "true"}
    return body


def test_an_abort_after_the_effect_leaves_it_and_says_so(world: World) -> None:
    world.begin(stuck("shop:1"))
    world.release(web("shop:2"))
    world.request("back")
    world.in_phase("back", "Verifying")

    world.kubectl("patch", "rbr/back", "--type=merge", "-p", '{"spec":{"abort":true}}')

    body = world.ended("back")
    assert outcome(body) == ("Aborted", "Aborted")
    assert condition(body, "Applied")["status"] == "True"
    assert "it stays there, not verified" in said(body)
    assert world.image() == "shop:1"


def test_a_revision_whose_pods_do_not_come_up_in_time(world: World) -> None:
    world.begin(stuck("shop:1"))
    world.release(web("shop:2"))

    body = world.roll_back("back", timeout="12s")

    assert outcome(body) == ("Failed", "Timeout")
    assert "is not scheduled" in said(body)
    assert condition(body, "Applied")["status"] == "True"
    assert condition(body, "Verified")["status"] == "False"


def test_a_newer_release_while_the_rollback_is_verified(world: World) -> None:
    world.begin(stuck("shop:1"))
    world.release(web("shop:2"))
    world.request("back")
    world.in_phase("back", "Verifying")

    world.apply(web("shop:3"))

    body = world.ended("back")
    assert outcome(body) == ("Failed", "Overtaken")
    assert world.image() == "shop:3"


def test_someone_who_puts_the_bad_release_back(world: World) -> None:
    world.begin(stuck("shop:1"))
    world.release(web("shop:2"))
    world.request("back")
    world.in_phase("back", "Verifying")

    world.apply(web("shop:2"))

    body = world.ended("back")
    assert outcome(body) == ("Failed", "Reverted")
    assert "--show-managed-fields" in said(body)


def test_a_deployment_deleted_while_the_rollback_is_verified(world: World) -> None:
    world.begin(stuck("shop:1"))
    world.release(web("shop:2"))
    world.request("back")
    world.in_phase("back", "Verifying")

    world.kubectl("delete", "deployment/web")

    assert outcome(world.ended("back")) == ("Failed", "TargetNotFound")


def test_an_explicit_request_waits_for_the_one_before_it(world: World) -> None:
    world.begin(stuck("shop:1"))
    world.release(web("shop:2"))
    world.release(web("shop:3"))
    world.request("first", to="1")
    world.in_phase("first", "Verifying")

    world.request("second", to="2")

    world.wait("rbr/second", '--for=jsonpath={.status.conditions[?(@.type=="Ready")].reason}=Queued')
    assert "Waiting for first" in condition(world.get("rbr", "second"), "Ready")["message"]
    world.kubectl("patch", "rbr/first", "--type=merge", "-p", '{"spec":{"abort":true}}')
    assert outcome(world.ended("second")) == ("Succeeded", "Completed")
    assert world.image() == "shop:2"
