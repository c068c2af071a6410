"""What the operator does with policies as a process: idle, killed, beside another, in a crowd, told to keep still."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from testbed.monitoring import Alertmanager, Exporter
from testbed.servers import free_port
from tests.e2e.watched import SYSTEM_ACCOUNT, Operator, Watched, order
from tests.e2e.world import Object, outcome, until, web


@pytest.fixture(scope="module")
def settings(monitored: dict[str, str]) -> dict[str, str]:
    return {**monitored, "guard": "3", "guard_percent": "1"}


def made_at(event: Object) -> float:
    """When the API server was asked, in seconds since the epoch."""
    return datetime.fromisoformat(event["requestReceivedTimestamp"]).timestamp()


@pytest.fixture(scope="module")
def idle(shared: Watched) -> Iterator[Watched]:
    """Policies of every kind for releases that are well."""
    soon = {"interval": "1s"}
    with Exporter() as health:
        asked: dict[str, Object] = {
            "prometheus": shared.errors("prometheus", for_="2s"),
            "no-data": shared.errors("no-data", for_="2s"),
            "http": {"name": "health", "http": {"url": health.url, "timeout": "10s"}, **soon},
            "pods": {"name": "restarts", "pods": {"restarts": "> 5", "notReady": "> 0"}, **soon},
            "rollout": {"name": "stuck", "rollout": {"progressDeadlineExceeded": True}, **soon},
            "alert": {"name": "told", "alert": {}, **soon},
        }
        for number in (1, 2):
            shared.release_all(web(f"shop:{number}", name=name, replicas=1) for name in asked)
        shared.fail(0, "prometheus")
        shared.apply(*(order(name, trigger, soak="1s") for name, trigger in asked.items()))
        for name in asked:
            if name != "no-data":
                shared.proved("2", name)
            shared.says("Armed", "Armed", name)
        yield shared


def test_idle_policies_cost_no_write(idle: Watched) -> None:
    def changed() -> set[str]:
        found = json.loads(idle.kubectl("get", "rbp", "-o", "json"))["items"]
        return {one["metadata"]["resourceVersion"] for one in found}

    until(lambda: quiet_for(idle) > 5, what="what was to be said of the releases has been said")
    before, began, versions = idle.writes(), time.monotonic(), changed()

    until(lambda: time.monotonic() - began > 20, what="20 seconds have passed")

    assert idle.writes() == before
    assert changed() == versions


def quiet_for(shop: Watched) -> float:
    """For how many seconds the operator has written nothing in that namespace."""
    return time.time() - max(made_at(event) for event in shop.writes())


@pytest.fixture
def killed(watched: Watched, operator: Operator) -> tuple[float, float]:
    """A release that is bad, and an operator killed half-way through `for`; since when, and when it was started."""
    watched.fail(0)
    watched.watch(watched.errors(for_="16s"), soak="1h")
    watched.release(web("shop:1", replicas=1))
    watched.release(web("shop:2", replicas=1))
    watched.waits("current.revision", "2")
    watched.waits("verdict", "Healthy")
    bad = watched.fail(0.5)
    until(lambda: time.time() > bad + 8, what="half of it has passed")
    operator.kill()
    operator.again()
    return bad, time.time()


def first_look(shop: Watched, started: float) -> float:
    """When an operator that was started then first read a policy's target."""
    reads = (
        made_at(event)
        for event in shop.cluster.audit_events()
        if event["user"]["username"] == SYSTEM_ACCOUNT
        and event.get("objectRef", {}).get("namespace") == shop.namespace
        and event["objectRef"]["resource"] == "deployments"
    )
    return min(at for at in reads if at > started)


def test_an_operator_that_is_killed_goes_on_where_it_was_and_makes_one_request(
    watched: Watched, operator: Operator, killed: tuple[float, float]
) -> None:
    bad, started = killed

    until(watched.requests, what="a request")
    operator.kill()
    operator.again()

    body = watched.rolled_back()
    assert outcome(body) == ("Succeeded", "Completed")
    (creation,) = watched.creations()
    # With `for` from zero, which begins when the operator has read what there is, it would have been later than that.
    assert bad + 15 <= made_at(creation) < first_look(watched, started) + 16
    assert (watched.image(), watched.requests()) == ("shop:1", [body["metadata"]["name"]])


def test_after_a_start_alertmanager_is_asked_for_what_fires(
    watched: Watched, operator: Operator, alertmanager: Alertmanager
) -> None:
    alert = {"alertname": "TooManyErrors", "namespace": watched.namespace, "rollback_policy": "web"}
    watched.watch({"name": "told", "alert": {}, "interval": "1s", "for": "5s"})
    watched.release(web("shop:1", replicas=1))
    watched.release(web("shop:2", replicas=1))
    watched.waits("current.revision", "2")
    alertmanager.fire(alert)
    watched.waits("verdict", "Breach")  # it was told, and will not be told again within an hour

    operator.kill()
    operator.again()

    assert outcome(watched.rolled_back()) == ("Succeeded", "Completed")
    alertmanager.resolve(alert)
    watched.waits("verdict", "Healthy")


def test_two_operators_make_one_request(
    watched: Watched, credentials: Path, settings: dict[str, str], tmp_path: Path
) -> None:
    other = Operator(credentials, tmp_path / "operator.log", free_port(), settings)
    try:
        other.up()
        watched.well("shop:1")
        watched.bad("shop:2")
        assert outcome(watched.rolled_back()) == ("Succeeded", "Completed")
    finally:
        other.kill()

    assert len(watched.creations()) == 1
    assert (watched.image(), len(watched.requests())) == ("shop:1", 1)


CROWD = ("one", "two", "three")


def crowd(shop: Watched) -> None:
    """Bad releases, all at once."""
    for name in CROWD:
        shop.fail(0, name)
    # Long enough that all of them are seen to be bad before the first has been so for that long.
    shop.apply(*(order(name, shop.errors(name, for_="6s")) for name in CROWD))
    for number in (1, 2):
        shop.release_all(web(f"shop:{number}", name=name, replicas=1) for name in CROWD)
        shop.wait("rbp", "--all", f"--for=jsonpath={{.status.current.revision}}={number}")
    for name in CROWD:
        shop.fail(0.5, name)


def test_many_that_are_bad_at_once_are_left_alone_until_fewer_are(watched: Watched) -> None:
    crowd(watched)

    for name in CROWD:
        assert "that is the platform" in watched.says("Alert", "ManyAtOnce", name)
        assert watched.requests(name) == []
    for name in ("one", "two"):
        watched.fail(0, name)
    assert outcome(watched.rolled_back("three")) == ("Succeeded", "Completed")
    assert [watched.image(name) for name in CROWD] == ["shop:2", "shop:2", "shop:1"]


def test_with_the_setting_off_nothing_is_rolled_back_but_what_people_ask_for(
    watched: Watched, operator: Operator
) -> None:
    operator.kill()
    operator.again(automatic="off")
    watched.watch(watched.errors(for_="2s"))
    watched.release(web("shop:1", replicas=1))
    watched.bad("shop:2")

    assert "ROLLBACK_AUTOMATIC=off" in watched.says("Alert", "AutomaticRollbacksOff")
    assert watched.requests() == []
    assert outcome(watched.roll_back("back", policyRef={"name": "web"})) == ("Succeeded", "Completed")
    assert watched.image() == "shop:1"


def test_a_restarted_operator_writes_nothing_about_what_is_as_it_was(idle: Watched, operator: Operator) -> None:
    operator.kill()
    began = len(idle.writes())
    operator.again()
    operator.up()

    idle.fail(0.5, "prometheus")
    idle.made("prometheus")

    written = [one["objectRef"] for one in idle.writes()[began:]]
    others = [one for one in written if one["resource"] == "rollbackpolicies" and one["name"] != "prometheus"]
    assert others == []
