"""A StatefulSet that `kubectl rollout undo` set back, and that goes on waiting for a broken pod, is freed."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.e2e.test_sets import NOWHERE, back, images, pods, said, stateful, waits_for
from tests.e2e.world import Object, World, outcome, until


def records(world: World) -> list[Object]:
    """The set's ControllerRevisions, the newest last."""
    found: list[Object] = json.loads(world.kubectl("get", "controllerrevisions", "-o", "json"))["items"]
    return sorted(found, key=lambda one: int(one["revision"]))


def set_back(world: World) -> None:
    """`kubectl rollout undo`, numbered by the controller."""
    world.kubectl("rollout", "undo", "statefulset/web")
    until(lambda: records(world)[-1]["revision"] == 3, what="what came back is numbered anew")


@pytest.fixture
def waiting(world: World) -> World:
    """Release 2 does not start; somebody undid it, and web-1 of it is still waited for."""
    world.release(stateful("shop:1"))
    made = datetime.fromisoformat(records(world)[0]["metadata"]["creationTimestamp"])
    # Which of two revisions was made first is told by whole seconds.
    until(lambda: datetime.now(UTC) >= made + timedelta(seconds=1), what="another second has begun")
    world.apply(stateful("shop:2", pods=NOWHERE))
    waits_for(world, "web-1", "shop:2")
    set_back(world)
    return world


def deleted(world: World) -> list[tuple[str, str]]:
    """The pods that were deleted on somebody's behalf, and whose."""
    return [
        (one["objectRef"]["name"], one["impersonatedUser"]["username"].rpartition(":")[2])
        for one in world.cluster.audit_events()
        if one["verb"] == "delete"
        and (one.get("objectRef") or {}).get("namespace") == world.namespace
        and one["objectRef"]["resource"] == "pods"
        and "impersonatedUser" in one
        and one["responseStatus"]["code"] == 200
    ]


ASKED: dict[str, Object] = {"the rollback that was made by hand": {}, "the revision that stands": {"to": "3"}}


@pytest.mark.parametrize("case", ASKED)
def test_its_broken_pod_is_deleted_by_a_request_for(waiting: World, case: str) -> None:
    before = pods(waiting)

    body = back(waiting, **ASKED[case])

    assert outcome(body) == ("Succeeded", "Completed")
    assert said(body) == "StatefulSet/web is back at revision 3: 2 of 2 pods are updated and available."
    assert images(waiting) == ["shop:1", "shop:1"]
    assert pods(waiting)["web-0"] == before["web-0"], "a pod that is well stays"
    assert deleted(waiting) == [("web-1", "rollback")]
    plan = body["status"]["targets"][0]["plan"]
    assert (plan["frees"], plan["from"]["revision"], plan["to"]["revision"]) == (True, "2", "3")
    assert plan["steps"] == ["Delete pod web-1 of revision 2: the StatefulSet waits for what is not ready."]
    assert (plan["diff"], "backup" in plan) == ("", False)


def test_a_dry_run_says_which_pod_and_touches_nothing(waiting: World) -> None:
    before = pods(waiting), waiting.get("statefulset", "web")["metadata"].get("annotations")

    body = back(waiting, dryRun=True)

    assert outcome(body) == ("Succeeded", "DryRun")
    assert said(body) == (
        "Dry run: StatefulSet/web has the template of revision 3 already. Delete pod web-1 of revision 2: the "
        "StatefulSet waits for what is not ready. Nothing was changed."
    )
    assert (pods(waiting), waiting.get("statefulset", "web")["metadata"].get("annotations")) == before


def test_it_is_left_to_people_when_they_say_so(waiting: World) -> None:
    before = pods(waiting)

    body = back(waiting, options={"statefulSet": {"freeStuckPods": False}})

    assert outcome(body) == ("Succeeded", "AlreadyAtRevision")
    assert "it waits for pod web-1 of revision 2: delete by hand what is not ready" in said(body)
    assert pods(waiting) == before


def test_without_the_right_to_delete_pods_nothing_is_done(waiting: World) -> None:
    rules = waiting.get("role", "rollback")["rules"]
    at = next(number for number, one in enumerate(rules) if one["resources"] == ["pods"])
    removed: list[Any] = [{"op": "remove", "path": f"/rules/{at}"}]
    waiting.kubectl("patch", "role/rollback", "--type=json", "-p", json.dumps(removed))
    waiting.may("delete", "pods", answer=False)
    before = pods(waiting)

    body = back(waiting)

    assert outcome(body) == ("Failed", "Forbidden")
    assert f"{waiting.namespace}/rollback may not delete pods web-1 in namespace {waiting.namespace}" in said(body)
    assert pods(waiting) == before


def test_nothing_is_deleted_where_nothing_is_waited_for(world: World) -> None:
    world.release(stateful("shop:1"))
    world.release(stateful("shop:2"))
    set_back(world)
    world.rolled_out("web", "StatefulSet")
    before = pods(world)

    body = back(world, to="3")

    assert outcome(body) == ("Succeeded", "AlreadyAtRevision")
    assert (pods(world), deleted(world)) == (before, [])
