"""StatefulSets and DaemonSets come back: to which revision, by which pods, and what frees a StatefulSet that waits."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.e2e.world import Object, World, condition, outcome, policy, until, web

OLD_ONLY = [{"name": "OLD", "value": "only in the first release"}]
KINDS = ("StatefulSet", "DaemonSet")
NOWHERE = {"nodeSelector": {"nowhere": "true"}}


def set_of(
    kind: str, image: str, *, spec: Object | None = None, pods: Object | None = None, **container: Any
) -> Object:
    """A StatefulSet of two pods, or a DaemonSet; `spec` and `pods` go into its spec and into its pods'."""
    body = web(image, **container)
    body["kind"] = kind
    body["spec"]["template"]["spec"].update(pods or {})
    more = {"serviceName": "web"} if kind == "StatefulSet" else {}
    if kind == "DaemonSet":
        del body["spec"]["replicas"]
    body["spec"].update({**more, **(spec or {})})
    return body


def stateful(image: str, **more: Any) -> Object:
    """A StatefulSet."""
    return set_of("StatefulSet", image, **more)


def back(world: World, name: str = "back", kind: str = "StatefulSet", **spec: Any) -> Object:
    """Request a rollback of `web` and wait for its end."""
    return world.roll_back(name, **_asked(kind, spec))


def _asked(kind: str, spec: Object) -> Object:
    return {"target": {"kind": kind, "name": "web"}, **spec}


def said(body: Object) -> str:
    message: str = condition(body, "Ready")["message"]
    return message


def pods(world: World) -> dict[str, tuple[str, str]]:
    """Image and uid of each pod that is not being deleted."""
    found = json.loads(world.kubectl("get", "pods", "-o", "json"))["items"]
    return {
        one["metadata"]["name"]: (one["spec"]["containers"][0]["image"], one["metadata"]["uid"])
        for one in found
        if "deletionTimestamp" not in one["metadata"]
    }


def images(world: World) -> list[str]:
    """The images of the pods, by the pods' names."""
    return [image for _, (image, _) in sorted(pods(world).items())]


def revisions(world: World, kind: str) -> list[str]:
    """What `kubectl rollout history` lists."""
    return [line.split()[0] for line in world.kubectl("rollout", "history", f"{kind}/web").splitlines()[2:] if line]


def freed(world: World) -> list[tuple[str, str]]:
    """Which pods the operator deleted, and as whom."""
    return [
        (event["objectRef"]["name"], event["impersonatedUser"]["username"])
        for event in world.cluster.audit_events()
        if event["verb"] == "delete"
        and event.get("objectRef", {}).get("namespace") == world.namespace
        and event["objectRef"]["resource"] == "pods"
        and "impersonatedUser" in event
        and event["responseStatus"]["code"] == 200
    ]


def waits_for(world: World, pod: str, image: str) -> None:
    """Wait until the pod is there with that image, and is not scheduled."""
    until(lambda: pods(world).get(pod, ("", ""))[0] == image, what=f"{pod} has {image}")
    world.wait(f"pod/{pod}", "--for=jsonpath={.status.phase}=Pending")


@pytest.fixture(params=KINDS)
def released(world: World, request: pytest.FixtureRequest) -> tuple[World, str]:
    """A set with a good release, which had an env variable more, and a bad one."""
    kind: str = request.param
    world.release(set_of(kind, "shop:1", env=OLD_ONLY))
    world.release(set_of(kind, "shop:2"))
    return world, kind


# Both kinds.


def test_the_previous_revision_comes_back_and_the_request_tells(released: tuple[World, str]) -> None:
    world, kind = released

    body = back(world, kind=kind)

    count = 2 if kind == "StatefulSet" else 1
    assert outcome(body) == ("Succeeded", "Completed")
    assert said(body) == f"{kind}/web is back at revision 1: {count} of {count} pods are updated and available."
    assert images(world) == ["shop:1"] * count
    assert (body["status"]["from"], body["status"]["to"]) == ("2", "1")
    assert "-  - image: shop:2" in body["status"]["targets"][0]["plan"]["diff"]
    assert world.get(kind, "web")["metadata"]["annotations"]["rollback.dev/request"] == body["metadata"]["uid"]
    assert revisions(world, kind) == ["2", "3"]


def test_what_was_added_since_is_kept(released: tuple[World, str]) -> None:
    world, kind = released
    world.kubectl("annotate", f"{kind}/web", "oncall=anna")
    world.kubectl("label", f"{kind}/web", "tier=front")
    if kind == "StatefulSet":
        world.kubectl("scale", f"{kind}/web", "--replicas=3")

    assert outcome(back(world, kind=kind)) == ("Succeeded", "Completed")

    body = world.get(kind, "web")
    assert body["metadata"]["annotations"]["oncall"] == "anna"
    assert body["metadata"]["labels"]["tier"] == "front"
    assert body["spec"].get("replicas") == (3 if kind == "StatefulSet" else None)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("server_side", [False, True], ids=["kubectl apply", "kubectl apply --server-side"])
def test_the_next_apply_succeeds_and_strands_nothing(world: World, kind: str, *, server_side: bool) -> None:
    world.release(set_of(kind, "shop:1", env=OLD_ONLY), server_side=server_side)
    world.release(set_of(kind, "shop:2"), server_side=server_side)
    assert outcome(back(world, kind=kind)) == ("Succeeded", "Completed")

    world.release(set_of(kind, "shop:3"), server_side=server_side)

    body = world.get(kind, "web", "--show-managed-fields")
    container = body["spec"]["template"]["spec"]["containers"][0]
    assert (container["image"], container.get("env", [])) == ("shop:3", [])
    assert "rollback-operator" not in {entry["manager"] for entry in body["metadata"]["managedFields"]}


def test_a_dry_run_touches_nothing(released: tuple[World, str]) -> None:
    world, kind = released

    body = back(world, kind=kind, dryRun=True)

    assert outcome(body) == ("Succeeded", "DryRun")
    assert world.image(kind=kind) == "shop:2"


def test_undoing_twice_does_not_restore_the_bad_release(released: tuple[World, str]) -> None:
    world, kind = released
    assert outcome(back(world, kind=kind)) == ("Succeeded", "Completed")

    body = back(world, "again", kind=kind, to="2", dryRun=True)

    assert body["status"]["targets"][0]["plan"]["notes"][0] == "Revision 2 counts as bad: back rolled back from it."


def test_a_restart_is_not_another_release(released: tuple[World, str]) -> None:
    world, kind = released
    world.kubectl("rollout", "restart", f"{kind}/web")
    world.rolled_out("web", kind)

    body = back(world, kind=kind)

    assert outcome(body) == ("Succeeded", "Completed")
    assert (body["status"]["from"], body["status"]["to"], world.image(kind=kind)) == ("3", "1", "shop:1")


REFUSED: dict[str, tuple[Object, tuple[str, str], str]] = {
    "a revision that is not there": ({"to": "7"}, ("Failed", "RevisionNotFound"), "has no revision 7: it has 1 and 2."),
    "the revision that is current": ({"to": "2"}, ("Succeeded", "AlreadyAtRevision"), "has the template of revision 2"),
    "a name that is not there": (
        {"target": {"name": "wbe"}},
        ("Failed", "TargetNotFound"),
        "There is no",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_request_says_why_nothing_is_done_for(released: tuple[World, str], case: str) -> None:
    world, kind = released
    spec, ends, says = REFUSED[case]
    target = {"kind": kind, "name": "web", **spec.get("target", {})}

    body = world.roll_back("back", **{**spec, "target": target})

    assert outcome(body) == ends
    assert says in said(body)
    assert world.image(kind=kind) == "shop:2"


@pytest.mark.parametrize("kind", KINDS)
def test_a_first_release_has_nothing_before_it(world: World, kind: str) -> None:
    world.release(set_of(kind, "shop:1"))

    body = back(world, kind=kind)

    assert outcome(body) == ("Failed", "NothingToRollBackTo")
    assert f"{kind}/web has no revision before 1" in said(body)


@pytest.mark.parametrize("kind", KINDS)
def test_an_account_without_rights_gains_none(bare_world: World, kind: str) -> None:
    bare_world.release(set_of(kind, "shop:1"))
    bare_world.release(set_of(kind, "shop:2"))

    body = back(bare_world, kind=kind)

    assert outcome(body) == ("Failed", "Forbidden")
    account = f"{bare_world.namespace}/rollback"
    assert said(body).startswith(f"Service account {account} may not patch {kind} web in namespace")
    assert bare_world.image(kind=kind) == "shop:2"


@pytest.mark.parametrize("kind", KINDS)
def test_pods_are_replaced_by_people_with_on_delete(world: World, kind: str) -> None:
    on_delete = {"updateStrategy": {"type": "OnDelete"}}
    count = 2 if kind == "StatefulSet" else 1
    world.apply(set_of(kind, "shop:1", spec=on_delete))
    until(lambda: images(world) == ["shop:1"] * count, what="the first release runs")
    before = pods(world)
    for number in (2, 3):
        world.apply(set_of(kind, f"shop:{number}", spec=on_delete))
        until(lambda number=number: str(number) in revisions(world, kind), what="the revision is numbered")  # type: ignore[misc]

    body = back(world, kind=kind)

    assert outcome(body) == ("Succeeded", "Completed")
    assert said(body) == (
        f"{kind}/web is back at revision 2: 0 of 0 pods that have its template are ready; 0 of {count} pods are "
        "updated, others once somebody deletes them."
    )
    (note,) = body["status"]["targets"][0]["plan"]["notes"]
    assert note.startswith("updateStrategy is OnDelete: pods keep what they run until somebody deletes them.")
    assert pods(world) == before


PARALLEL = {"podManagementPolicy": "Parallel"}
TOO_LARGE = {"resources": {"requests": {"memory": "1Pi"}}}
"""A selector would do for a StatefulSet; of a DaemonSet it would just leave no node to be on."""


@pytest.fixture(params=KINDS)
def verifying(world: World, request: pytest.FixtureRequest) -> tuple[World, str]:
    """A rollback to a release whose pods no node takes."""
    kind: str = request.param
    spec = PARALLEL if kind == "StatefulSet" else {}
    world.begin(set_of(kind, "shop:1", spec=spec, **TOO_LARGE))
    world.release(set_of(kind, "shop:2", spec=spec))
    world.request("back", **_asked(kind, {}))
    world.in_phase("back", "Verifying")
    return world, kind


MIDWAY: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, str]]] = {
    "deleted": (("delete",), (), ("Failed", "TargetNotFound")),
    "put back": (("rollout", "undo"), (), ("Failed", "Reverted")),
    "released anew": (("set", "image"), ("web=shop:3",), ("Failed", "Overtaken")),
}


@pytest.mark.parametrize("case", MIDWAY)
def test_while_a_rollback_is_verified_the_target_is(verifying: tuple[World, str], case: str) -> None:
    world, kind = verifying
    command, more, ends = MIDWAY[case]

    world.kubectl(*command, f"{kind}/web", *more)

    assert outcome(world.ended("back")) == ends


# StatefulSets.


def test_the_partition_is_respected(world: World) -> None:
    half = {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}}
    world.release(stateful("shop:1"))
    world.release(stateful("shop:2"))
    world.release(stateful("shop:2", spec=half))
    before = pods(world)

    body = back(world)

    assert outcome(body) == ("Succeeded", "Completed")
    assert said(body).endswith("1 of 2 pods are updated (partition), all are available.")
    (note,) = body["status"]["targets"][0]["plan"]["notes"]
    assert note == "The partition of the update strategy leaves pod 0 unchanged."
    assert images(world) == ["shop:2", "shop:1"]
    assert pods(world)["web-0"] == before["web-0"]


def test_a_statefulset_that_waits_for_a_broken_pod_is_freed(world: World) -> None:
    world.release(stateful("shop:1"))
    before = pods(world)
    world.apply(stateful("shop:2", pods=NOWHERE))
    waits_for(world, "web-1", "shop:2")

    body = back(world)

    assert outcome(body) == ("Succeeded", "Completed")
    assert body["status"]["targets"][0]["plan"]["steps"][-1] == (
        "Then delete pods of revision 2 that are not ready: the StatefulSet would wait for them."
    )
    assert images(world) == ["shop:1", "shop:1"]
    assert pods(world)["web-0"] == before["web-0"], "a pod that is well, and not of the bad release, stays"
    assert freed(world) == [("web-1", f"system:serviceaccount:{world.namespace}:rollback")]


def test_a_statefulset_is_freed_of_a_pod_that_an_earlier_bad_release_broke(world: World) -> None:
    world.release(stateful("shop:1"))
    before = pods(world)
    world.apply(stateful("shop:2", pods=NOWHERE))
    waits_for(world, "web-1", "shop:2")
    world.begin(stateful("shop:3"))
    waits_for(world, "web-1", "shop:2")  # what was to mend it waits for the pod, too

    body = back(world, to="1")

    assert outcome(body) == ("Succeeded", "Completed")
    assert (body["status"]["from"], body["status"]["to"]) == ("3", "1")
    assert body["status"]["targets"][0]["plan"]["steps"][-1] == (
        "Then delete pods of revisions 2 and 3 that are not ready: the StatefulSet would wait for them."
    )
    assert images(world) == ["shop:1", "shop:1"]
    assert pods(world)["web-0"] == before["web-0"]
    assert freed(world) == [("web-1", f"system:serviceaccount:{world.namespace}:rollback")]


def test_a_statefulset_that_waits_is_left_to_people_when_they_say_so(world: World) -> None:
    world.release(stateful("shop:1"))
    world.apply(stateful("shop:2", pods=NOWHERE))
    waits_for(world, "web-1", "shop:2")
    before = pods(world)

    body = back(world, options={"statefulSet": {"freeStuckPods": False}}, timeout="15s")

    assert outcome(body) == ("Failed", "Unhealthy")
    assert "it waits for pod web-1 of revision 2, not ready: delete it by hand (freeStuckPods is off)" in said(body)
    assert (world.image(kind="StatefulSet"), pods(world)) == ("shop:1", before)


def test_without_the_right_to_delete_pods_the_request_says_so(world: World) -> None:
    rules = world.get("role", "rollback")["rules"]
    at = next(number for number, one in enumerate(rules) if one["resources"] == ["pods"])
    world.kubectl("patch", "role/rollback", "--type=json", "-p", json.dumps([{"op": "remove", "path": f"/rules/{at}"}]))
    world.may("delete", "pods", answer=False)
    world.release(stateful("shop:1"))
    world.apply(stateful("shop:2", pods=NOWHERE))
    waits_for(world, "web-1", "shop:2")
    before = pods(world)

    body = back(world, timeout="15s")

    account = f"{world.namespace}/rollback"
    assert outcome(body) == ("Failed", "Unhealthy")
    assert f"Service account {account} may not delete pods in namespace {world.namespace}" in said(body)
    (note,) = body["status"]["targets"][0]["plan"]["notes"]
    assert note.startswith(f"Service account {account} may not delete pods web-1 in namespace {world.namespace}")
    assert pods(world) == before


def test_a_policy_that_sees_pods_not_ready_rolls_a_statefulset_back(world: World) -> None:
    world.release(stateful("shop:1"))
    trigger = {"name": "not-ready", "pods": {"notReady": "> 0"}, "interval": "1s", "consecutive": 2}
    world.apply(policy("web", target={"kind": "StatefulSet", "name": "web"}, triggers=[trigger], soak="1s"))
    world.wait("rbp/web", "--for=jsonpath={.status.lastKnownGood.revision}=1")

    world.apply(stateful("shop:2", pods=NOWHERE))

    world.wait("rbp/web", "--for=jsonpath={.status.lastRequest.name}")
    body = world.ended(world.get("rbp", "web")["status"]["lastRequest"]["name"])
    assert outcome(body) == ("Succeeded", "Completed")
    assert images(world) == ["shop:1", "shop:1"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_trigger_that_would_never_fire_is_refused(bare_world: World, kind: str) -> None:
    trigger = {"name": "stuck", "rollout": {"progressDeadlineExceeded": True}}
    body = policy("web", target={"kind": kind, "name": "web"}, triggers=[trigger])
    assert "has no progress deadline, so a rollout trigger would never fire: write pods" in bare_world.refused(body)
