"""A policy that remembers configuration judges releases that change nothing else, and goes back from them."""

from __future__ import annotations

import pytest

from tests.e2e.test_configuration import config_map, configured, grant, remembered, secret, values
from tests.e2e.watched import Watched
from tests.e2e.world import Object, outcome

GOOD, BAD = "good", "bad"


@pytest.fixture(scope="module")
def settings(monitored: dict[str, str]) -> dict[str, str]:
    return {**monitored, "remember": "2"}


@pytest.fixture
def shop(watched: Watched) -> Watched:
    """`web` at a release that proved good, with the configuration that it ran with."""
    grant(watched)
    watched.apply(config_map(mode=GOOD), secret("hunter2"))
    watched.fail(0)
    watched.release(configured("shop:1"))
    watched.watch(watched.errors(for_="2s"), soak="1s", remember={"config": True})
    watched.proved("1")
    remembered(watched, 1)
    return watched


def restart(shop: Watched) -> None:
    shop.kubectl("rollout", "restart", "deployment/web")
    shop.rolled_out("web")


def ledger(shop: Watched) -> list[tuple[str, str]]:
    return [(one["fingerprint"], one["verdict"]) for one in shop.policy()["status"]["ledger"]]


def plan_of(body: Object) -> Object:
    plan: Object = body["status"]["targets"][0]["plan"]
    return plan


def test_a_release_that_changes_nothing_but_configuration_is_found_bad_and_rolled_back(shop: Watched) -> None:
    good = shop.policy()["status"]["lastKnownGood"]["fingerprint"]
    shop.apply(config_map(mode=BAD))
    restart(shop)
    shop.fail(0.5)

    body = shop.rolled_back()

    shop.fail(0)
    assert outcome(body) == ("Succeeded", "Completed")
    assert values(shop)[0] == GOOD
    left = plan_of(body)["from"]["fingerprint"]
    assert (left.startswith(f"{good}+"), plan_of(body)["to"]["fingerprint"]) == (True, good)
    shop.says("Alert", "NothingWrong")
    assert ledger(shop) == [(good, "Good"), (left, "Bad")]
    assert shop.policy()["status"]["current"]["fingerprint"] == good
    assert shop.requests() == [body["metadata"]["name"]]


def test_configuration_that_may_be_on_its_way_is_judged_with_its_release(shop: Watched) -> None:
    good = shop.policy()["status"]["lastKnownGood"]["fingerprint"]
    shop.apply(config_map(mode=BAD))
    shop.fail(0.5)
    assert "a release may be under way" in shop.says("Alert", "ReleaseUnderWay")
    assert shop.requests() == []
    shop.release(configured("shop:2"))

    body = shop.rolled_back()

    shop.fail(0)
    assert outcome(body) == ("Succeeded", "Completed")
    assert (shop.image(), values(shop)[0]) == ("shop:1", GOOD)
    left = plan_of(body)["from"]["fingerprint"]
    assert "+" not in left
    shop.says("Alert", "NothingWrong")
    assert ledger(shop) == [(good, "Good"), (left, "Bad")]


def test_a_bad_configuration_that_is_back_is_known(shop: Watched) -> None:
    shop.apply(config_map(mode=BAD))
    restart(shop)
    shop.fail(0.5)
    shop.rolled_back()
    shop.fail(0)
    shop.says("Alert", "NothingWrong")

    shop.apply(config_map(mode=BAD))
    restart(shop)

    assert "is a release that counts as bad" in shop.says("Alert", "BadReleaseReturned")
