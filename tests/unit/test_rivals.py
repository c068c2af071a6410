"""Two policies of one target: who is in whose way, also where they are in different namespaces."""

from __future__ import annotations

from typing import Any

import pytest

from rollback_operator import watching
from rollback_operator.kube import errors
from rollback_operator.policies import asking, looking, making, rivals, worker
from tests.unit.applications import application
from tests.unit.fakes import Call
from tests.unit.objects import Object
from tests.unit.test_policies import BREACH, KEY, Clock, World, orders

APPLICATION = {"kind": "Application", "name": "web", "namespace": "shop"}
OTHERS = ("team", "checkout")
"""The key of a policy of another namespace."""
MINUTE = 60.0


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    ticking = Clock()
    for place in (asking, looking, worker, watching, rivals):
        monkeypatch.setattr(place, "time", ticking)
    for dated in (looking, making):
        monkeypatch.setattr(dated, "datetime", ticking.date())
    return ticking


def others(name: str = "checkout", **spec: Any) -> Object:
    body = orders(name=name, target=APPLICATION, **spec)
    body["metadata"] |= {"namespace": OTHERS[0], "uid": f"uid-of-others-{name}"}
    return body


class Shared(World):
    """An Application, a policy of it in its own namespace, and one in another, each looked at twice."""

    def __init__(self, clock: Clock, *others: Object) -> None:
        super().__init__(clock, application(), policy=orders(target=APPLICATION))
        for body in others:
            self.api.put(body)
            self.saw(body)

    async def settle(self) -> list[float | None]:
        for _ in range(2):
            again = [await self.turn(key) for key in (KEY, OTHERS)]
        return again

    def reviews(self) -> list[str]:
        """Who was asked what he may do with the Application."""
        return [
            call.as_
            for call in self.api.calls
            if call.path.endswith("accessreviews")
            and call.body["spec"]["resourceAttributes"]["resource"] == "applications"
        ]


async def test_policies_of_two_namespaces_whose_accounts_may_write_it_are_in_each_others_way(clock: Clock) -> None:
    world = Shared(clock, others())

    again = await world.settle()

    assert world.condition("Ready")[1:] == (
        "TargetTaken",
        (
            "Application/shop/web has another policy: team/checkout. One target has one policy: delete or suspend all "
            "but one; until then none of them is evaluated."
        ),
    )
    assert "has another policy: shop/checkout." in world.condition("Ready", others())[2]
    assert again == [MINUTE, MINUTE], "no event tells that one of them may not any more"


async def test_a_stranger_is_in_nobodys_way_and_is_told_of_nobody(clock: Clock) -> None:
    world = Shared(clock, others())
    world.api.powerless = {"team/rollback"}

    await world.settle()

    assert world.why("Ready") == "Evaluating"
    assert world.why("Ready", others()) == "Evaluating"
    world.signal.says["errors"] = BREACH
    await world.go(31)
    assert len(world.requests()) == 1


async def test_who_may_not_even_ask_is_a_stranger(clock: Clock) -> None:
    world = Shared(clock, others())

    def refuse(call: Call) -> Exception | None:
        asks = call.path.endswith("accessreviews") and call.as_ == "team/rollback"
        return errors.Forbidden("no") if asks else None

    world.api.faults.append(refuse)

    await world.settle()

    assert world.why("Ready") == "Evaluating"


async def test_who_is_given_the_right_is_in_the_way_and_who_loses_it_is_not(clock: Clock) -> None:
    world = Shared(clock, others())
    world.api.powerless = {"team/rollback"}
    await world.settle()

    world.api.powerless = set()
    clock.now += MINUTE
    world.woken.clear()
    await world.turn(OTHERS)
    assert world.woken == [KEY]
    await world.turn()
    assert world.why("Ready") == "TargetTaken"

    world.api.powerless = {"team/rollback"}
    clock.now += MINUTE
    world.woken.clear()
    await world.turn(OTHERS)
    assert world.woken == [KEY]
    await world.turn()
    assert world.why("Ready") == "Evaluating"


async def test_what_is_known_of_an_account_outlives_a_change_of_its_policy(clock: Clock) -> None:
    world = Shared(clock, others())
    await world.settle()
    changed = world.api.current(others())
    changed["spec"]["soak"] = "3m"
    changed["metadata"]["generation"] += 1
    world.api.put(changed)
    world.saw(changed)

    await world.turn()

    assert world.why("Ready") == "TargetTaken"


async def test_another_account_is_asked_anew(clock: Clock) -> None:
    world = Shared(clock, others())
    await world.settle()
    changed = world.api.current(others())
    changed["spec"]["serviceAccountName"] = "reader"
    changed["metadata"]["generation"] += 1
    world.api.put(changed)
    world.saw(changed)
    world.api.powerless = {"team/reader"}

    await world.settle()

    assert world.why("Ready") == "Evaluating"


@pytest.mark.parametrize("count", [1, 50])
async def test_strangers_cost_their_own_time_and_nobody_elses(clock: Clock, count: int) -> None:
    world = Shared(clock, *(others(f"stranger-{number}") for number in range(count)))
    world.api.powerless = {"team/rollback"}
    await world.turn()
    world.forget_calls()

    await world.go(5 * MINUTE)

    assert set(world.reviews()) == {"shop/rollback"}
    assert len(world.reviews()) <= 2 * 5, "two rights, once a minute"


async def test_where_nobody_else_has_a_policy_nothing_is_asked(clock: Clock) -> None:
    world = Shared(clock)
    await world.turn()
    world.forget_calls()
    await world.go(5 * MINUTE)
    assert world.reviews() == []


async def test_within_a_namespace_rights_are_not_asked_for(clock: Clock) -> None:
    second = orders(name="second", target=APPLICATION)
    world = Shared(clock, second)
    world.api.powerless = {"shop/rollback"}

    assert await world.turn() is None

    assert world.why("Ready") == "TargetTaken"
    assert "has another policy: second." in world.condition("Ready")[2]
    assert world.reviews() == []
