"""Groups: several targets, wave after wave, on a real API server; killed, stopped, tried, taken away midway."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.e2e.watched import Operator
from tests.e2e.world import Object, World, condition, outcome, until, web

BAD, GOOD = "shop:2", "shop:1"


@pytest.fixture
def shop(world: World) -> World:
    """Deployments a and b at their second release."""
    for image in (GOOD, BAD):
        world.apply(*(web(image, name=name, replicas=1) for name in ("a", "b")))
        for name in ("a", "b"):
            world.rolled_out(name)
    return world


def members(*names: str, **fields: Any) -> list[Object]:
    """Targets, each in a wave of its own."""
    return [{"target": {"kind": "Deployment", "name": name}, "wave": at, **fields} for at, name in enumerate(names)]


def ask(world: World, name: str, targets: list[Object], **spec: Any) -> str:
    """Apply a group; gives its name."""
    body = {
        "apiVersion": "rollback.dev/v1alpha1",
        "kind": "RollbackRequest",
        "metadata": {"name": name},
        "spec": {"targets": targets, "reason": "5xx after the release", **spec},
    }
    world.apply(body)
    return name


def children(world: World, group: str) -> dict[str, Object]:
    """The requests of a group, by the name of their target."""
    found = json.loads(world.kubectl("get", "rbr", "-l", f"rollback.dev/group={group}", "-o", "json"))["items"]
    return {one["spec"]["target"]["name"]: one for one in found}


def images(world: World) -> dict[str, str]:
    return {name: world.image(name) for name in ("a", "b")}


def holding_up(world: World, name: str) -> None:
    """A release of which no pod can be scheduled: going back to it is never verified."""
    body = web("shop:0", name=name, replicas=1)
    body["spec"]["template"]["spec"]["nodeSelector"] = {"no": "such-node"}
    world.begin(body)
    world.release(web("shop:3", name=name, replicas=1))


def test_two_waves_one_after_the_other(shop: World) -> None:
    group = shop.ended(ask(shop, "both", members("b", "a")))

    assert outcome(group) == ("Succeeded", "Completed")
    assert images(shop) == {"a": GOOD, "b": GOOD}
    of = children(shop, "both")
    assert {name: outcome(one) for name, one in of.items()} == dict.fromkeys("ab", ("Succeeded", "Completed"))
    assert of["a"]["status"]["startedAt"] >= of["b"]["status"]["finishedAt"]
    assert [(one["target"], one["from"], one["to"], one["phase"]) for one in group["status"]["targets"]] == [
        ("Deployment/b", "2", "1", "Succeeded"),
        ("Deployment/a", "2", "1", "Succeeded"),
    ]
    table = shop.kubectl("get", "rbr", "both").splitlines()[1]
    assert table.split()[:6] == ["both", "2", "targets", "2,2", "1,1", "Succeeded"]
    assert {one["type"]: one["status"] for one in group["status"]["conditions"]} == {
        "Planned": "True",
        "Applied": "True",
        "Verified": "True",
        "Ready": "True",
    }


def test_its_events_are_told_once(shop: World) -> None:
    shop.ended(ask(shop, "told", members("a", "b")))

    def told() -> list[Object]:
        every = json.loads(shop.kubectl("get", "events", "-o", "json"))["items"]
        return [one for one in every if one["involvedObject"]["name"] == "told"]

    until(lambda: len(told()) == 3, what="three events")
    assert sorted(one["reason"] for one in told()) == ["Completed", "WaveRunning", "WaveRunning"]
    assert {one["count"] for one in told()} == {1}


def test_a_wave_that_fails_is_the_last(shop: World) -> None:
    holding_up(shop, "a")
    group = shop.ended(ask(shop, "stops", members("a", "b"), timeout="12s"))

    assert outcome(group) == ("Failed", "WaveFailed")
    said = condition(group, "Ready")["message"]
    assert said.startswith("Wave 0 failed. Deployment/a: Timeout: Deployment/a was set back to revision 3")
    assert said.endswith("Not begun, so as it was: Deployment/b.")
    assert (images(shop), condition(group, "Applied")["status"]) == ({"a": "shop:0", "b": BAD}, "True")
    assert set(children(shop, "stops")) == {"a"}


def test_a_target_that_is_not_there_keeps_all_from_being_touched(shop: World) -> None:
    group = shop.ended(ask(shop, "lacks", members("a", "missing", "b")))

    assert outcome(group) == ("Failed", "TargetNotFound")
    assert "There is no Deployment missing" in condition(group, "Ready")["message"]
    assert (images(shop), children(shop, "lacks")) == ({"a": BAD, "b": BAD}, {})


def test_everything_that_a_later_wave_would_end_with_is_said_before_the_first(shop: World) -> None:
    shop.kubectl("label", "deployment", "b", "argocd.argoproj.io/instance=b")
    shop.apply(web(GOOD, name="once", replicas=1))
    shop.rolled_out("once")
    group = shop.ended(ask(shop, "owned", members("a", "b", "once")))

    assert outcome(group) == ("Failed", "OwnedBy")
    said = condition(group, "Ready")["message"]
    for name in ("b", "once"):
        alone = shop.ended(shop.request(f"alone-{name}", target={"kind": "Deployment", "name": name}))
        assert condition(alone, "Ready")["message"] in said
    assert said.endswith("None of the group's targets was changed.")
    assert (images(shop), children(shop, "owned")) == ({"a": BAD, "b": BAD}, {})


def test_a_dry_run_shows_every_plan_and_changes_nothing(shop: World) -> None:
    group = shop.ended(ask(shop, "tries", members("a", "b"), dryRun=True))

    assert outcome(group) == ("Succeeded", "DryRun")
    of = children(shop, "tries")
    assert all("image: shop:1" in one["status"]["targets"][0]["plan"]["diff"] for one in of.values())
    assert (set(of), images(shop)) == ({"a", "b"}, {"a": BAD, "b": BAD})


def test_an_abort_reaches_what_is_under_way_and_begins_nothing_more(shop: World) -> None:
    holding_up(shop, "a")
    ask(shop, "aborted", members("a", "b"))
    until(lambda: shop.image("a") == "shop:0", what="a is set back, and never ready")
    shop.kubectl("patch", "rbr", "aborted", "--type=merge", "-p", '{"spec":{"abort":true}}')
    group = shop.ended("aborted")

    assert outcome(group) == ("Aborted", "Aborted")
    assert outcome(children(shop, "aborted")["a"]) == ("Aborted", "Aborted")
    assert (set(children(shop, "aborted")), shop.image("b")) == ({"a"}, BAD)


def test_a_release_that_comes_while_the_group_is_under_way_is_left_alone(shop: World) -> None:
    ask(shop, "asks", members("a", "b"), grace="10m")
    shop.in_phase("asks", "AwaitingApproval")
    shop.release(web("shop:3", name="b", replicas=1))
    shop.kubectl("patch", "rbr", "asks", "--type=merge", "-p", '{"spec":{"approve":true}}')
    group = shop.ended("asks")

    assert outcome(group) == ("Failed", "WaveFailed")
    assert outcome(children(shop, "asks")["b"]) == ("Superseded", "NewerRelease")
    assert images(shop) == {"a": GOOD, "b": "shop:3"}


def test_who_deletes_a_group_deletes_its_requests(shop: World) -> None:
    shop.ended(ask(shop, "over", members("a", "b")))
    shop.kubectl("delete", "rbr", "over")

    until(lambda: not children(shop, "over"), what="the requests are gone")


def test_an_operator_that_is_killed_between_two_waves_goes_on(shop: World, operator: Operator) -> None:
    holding_up(shop, "a")
    ask(shop, "killed", members("a", "b"))
    until(lambda: shop.image("a") == "shop:0", what="a is set back, and never ready")
    operator.kill()
    shop.cluster.kubectl("label", "nodes", "--all", "no=such-node")
    try:
        shop.rolled_out("a")
        operator.again()
        group = shop.ended("killed")
    finally:
        shop.cluster.kubectl("label", "nodes", "--all", "no-")

    assert outcome(group) == ("Succeeded", "Completed")
    assert images(shop) == {"a": "shop:0", "b": GOOD}
    assert set(children(shop, "killed")) == {"a", "b"}
