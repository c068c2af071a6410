"""A bad release comes back: what a rollback does to a Deployment, and what it leaves alone."""

from __future__ import annotations

import json

import pytest

from tests.e2e.world import Object, World, condition, outcome, policy, request, until, web

RESTARTED = "kubectl.kubernetes.io/restartedAt"


@pytest.fixture
def released(world: World) -> World:
    """`web` with a good release and a bad one."""
    world.release(web("shop:1"))
    world.release(web("shop:2"))
    return world


def test_the_previous_revision_comes_back_and_the_request_tells(released: World) -> None:
    name = released.request("back")

    released.wait(f"rbr/{name}", "--for=condition=Verified")

    body = released.ended(name)
    assert outcome(body) == ("Succeeded", "Completed")
    assert released.image() == "shop:1"
    assert condition(body, "Applied")["status"] == "True"
    assert condition(body, "Ready")["message"] == (
        "Deployment/web is back at revision 1: 2 of 2 pods are updated and available."
    )
    assert [one["type"] for one in body["status"]["conditions"]] == ["Planned", "Applied", "Verified", "Ready"]
    target = body["status"]["targets"][0]
    assert (target["from"], target["to"], target["steps"][0]["state"]) == ("2", "1", "Done")
    assert "-  - image: shop:2" in target["plan"]["diff"]
    assert "+  - image: shop:1" in target["plan"]["diff"]


def test_the_table_is_what_a_person_reads(released: World) -> None:
    released.roll_back("back")

    header, row = released.kubectl("get", "rollbackrequests").splitlines()

    assert header.split() == ["NAME", "TARGET", "FROM", "TO", "PHASE", "REASON", "DURATION", "AGE"]
    assert row.split()[:6] == ["back", "Deployment/web", "2", "1", "Succeeded", "Completed"]


def test_events_tell_each_transition_once(released: World) -> None:
    released.roll_back("back")

    def reasons() -> list[str]:
        told = json.loads(released.kubectl("get", "events", "-o", "json", "--field-selector=involvedObject.name=back"))
        return sorted(event["reason"] for event in told["items"])

    until(lambda: reasons() == ["Applying", "Completed", "RollingOut"], what="three Events, one a transition")
    described = released.kubectl("describe", "rbr/back")
    assert "Deployment/web is back at revision 1" in described


def test_replicas_annotations_and_labels_added_since_are_kept(released: World) -> None:
    released.kubectl("scale", "deployment/web", "--replicas=4")
    released.kubectl("annotate", "deployment/web", "oncall=anna")
    released.kubectl("label", "deployment/web", "tier=front")

    released.roll_back("back")

    body = released.get("deployment", "web")
    assert body["spec"]["replicas"] == 4
    assert body["metadata"]["annotations"]["oncall"] == "anna"
    assert body["metadata"]["labels"] == {"app": "web", "tier": "front"}


def test_the_change_cause_of_the_revision_comes_back_with_it(world: World) -> None:
    for version in (1, 2):
        body = web(f"shop:{version}")
        body["metadata"]["annotations"] = {"kubernetes.io/change-cause": f"release {version}"}
        world.release(body)

    world.roll_back("back")

    history = world.kubectl("rollout", "history", "deployment/web").splitlines()
    assert [line.split(maxsplit=1) for line in history[2:] if line] == [["2", "release 2"], ["3", "release 1"]]


def test_a_revision_named_by_number_comes_back(released: World) -> None:
    released.release(web("shop:3"))

    body = released.roll_back("back", to=1)

    assert outcome(body) == ("Succeeded", "Completed")
    assert (body["status"]["from"], body["status"]["to"], released.image()) == ("3", "1", "shop:1")


def test_a_revision_named_by_fingerprint_comes_back(released: World) -> None:
    planned = released.roll_back("look", dryRun=True)
    fingerprint = planned["status"]["targets"][0]["plan"]["to"]["fingerprint"]

    body = released.roll_back("back", to=fingerprint)

    assert outcome(body) == ("Succeeded", "Completed")
    assert released.image() == "shop:1"


def test_previous_skips_what_was_rolled_back_from(released: World) -> None:
    released.roll_back("first")
    released.release(web("shop:3"))

    body = _later(released, "second")

    assert outcome(body) == ("Succeeded", "Completed")
    assert released.image() == "shop:1"


def test_undoing_twice_does_not_restore_the_bad_release(released: World) -> None:
    released.roll_back("first")

    body = _later(released, "second")

    assert outcome(body) == ("Failed", "NothingToRollBackTo")
    assert "2 (first rolled back from it)" in condition(body, "Ready")["message"]
    assert released.image() == "shop:1"


def _later(world: World, name: str) -> Object:
    """A request that was certainly made after the last one ended (creation times are whole seconds)."""
    ended = max(
        one["status"].get("finishedAt", "") for one in json.loads(world.kubectl("get", "rbr", "-o", "json"))["items"]
    )

    def now() -> str:
        return world.kubectl(
            "create", "configmap", "clock", "--dry-run=server", "-o", "jsonpath={.metadata.creationTimestamp}"
        )

    until(lambda: now()[:19] > ended[:19], what="the API server's clock goes on")
    return world.roll_back(name)


def test_a_bad_revision_named_outright_is_taken_with_a_note(released: World) -> None:
    released.roll_back("first")

    body = released.roll_back("again", to="2")

    assert outcome(body) == ("Succeeded", "Completed")
    assert body["status"]["targets"][0]["plan"]["notes"] == ["Revision 2 counts as bad: first rolled back from it."]


def test_a_dry_run_shows_the_difference_and_touches_nothing(released: World) -> None:
    def asked() -> Object:
        web = released.get("deployment", "web")  # its status may still be written when the rollout is over
        return {"spec": web["spec"], **{name: web["metadata"].get(name) for name in ("labels", "annotations")}}

    before = asked()

    body = released.roll_back("look", dryRun=True)

    assert outcome(body) == ("Succeeded", "DryRun")
    assert "+  - image: shop:1" in body["status"]["targets"][0]["plan"]["diff"]
    assert condition(body, "Applied")["status"] == "False"
    assert asked() == before


def test_a_policy_lends_target_service_account_and_revision(bare_world: World) -> None:
    bare_world.grant(account="mine")
    bare_world.release(web("shop:1"))
    bare_world.release(web("shop:2"))
    bare_world.apply(policy("web", serviceAccountName="mine"))
    bare_world.wait("rbp/web", "--for=condition=Ready")

    body = bare_world.roll_back("back", policyRef={"name": "web"})

    assert outcome(body) == ("Succeeded", "Completed")
    plan = body["status"]["targets"][0]["plan"]
    assert plan["serviceAccountName"] == "mine"
    assert plan["notes"] == ["Nothing earlier has proved good yet, so LastKnownGood means Previous."]
    assert plan["verifyTimeout"] == "5m"


def test_a_policy_created_a_moment_after_its_request_is_waited_for(released: World) -> None:
    name = released.request("back", policyRef={"name": "web"})
    released.in_phase(name, "Pending")

    released.apply(policy("web"))

    assert outcome(released.ended(name)) == ("Succeeded", "Completed")


def test_a_policy_keeps_only_so_many_finished_requests(released: World) -> None:
    released.apply(policy("web", historyLimit=2))

    for number in range(4):
        released.roll_back(f"look-{number}", policyRef={"name": "web"}, dryRun=True)

    def names() -> list[str]:
        return released.kubectl("get", "rbr", "-o", "name").split()

    kept = ["rollbackrequest.rollback.dev/look-2", "rollbackrequest.rollback.dev/look-3"]
    until(lambda: names() == kept, what="the two newest requests are kept")


def test_requests_outlive_their_policy(released: World) -> None:
    released.apply(policy("web"))
    released.roll_back("look", policyRef={"name": "web"}, dryRun=True)

    released.kubectl("delete", "rbp/web")

    assert outcome(released.get("rbr", "look")) == ("Succeeded", "DryRun")


def test_two_people_who_ask_at_once_get_one_rollback(released: World) -> None:
    released.release(web("shop:3"))
    both = {"target": {"kind": "Deployment", "name": "web"}, "reason": "both of us"}
    released.apply(request("by-anna", **both), request("by-ben", **both))

    outcomes = sorted(outcome(released.ended(name)) for name in ("by-anna", "by-ben"))

    assert outcomes == [("Succeeded", "Completed"), ("Superseded", "AlreadyRolledBack")]
    assert released.image() == "shop:2"


def test_a_restart_is_not_another_release(released: World) -> None:
    released.kubectl("rollout", "restart", "deployment/web")
    released.rolled_out("web")

    body = released.roll_back("back")

    assert outcome(body) == ("Succeeded", "Completed")
    assert (body["status"]["from"], body["status"]["to"], released.image()) == ("3", "1", "shop:1")


def test_a_moved_tag_is_named(world: World) -> None:
    world.release(web("shop:latest"))
    world.kubectl("rollout", "restart", "deployment/web")
    world.rolled_out("web")

    body = world.roll_back("back")

    assert outcome(body) == ("Succeeded", "AlreadyAtRevision")
    assert "It uses shop:latest: a tag that was moved cannot be brought back" in condition(body, "Ready")["message"]
    assert condition(body, "Applied")["status"] == "False"


def test_after_a_rollback_of_a_scaled_down_deployment_nothing_has_to_start(world: World) -> None:
    world.release(web("shop:1", replicas=0))
    world.release(web("shop:2", replicas=0))

    assert outcome(world.roll_back("back")) == ("Succeeded", "Completed")
    assert world.image() == "shop:1"
