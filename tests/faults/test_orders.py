"""What else can go wrong while a policy watches: a second operator, orders that change, no figures, dead watches."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.faults.calls import Call
from tests.faults.conftest import judge
from tests.faults.orders import WatchedBench
from tests.faults.proxy import Fault
from tests.faults.rows import WATCHED, WatchedDeployment
from tests.faults.run import Lab, Outcome
from tests.faults.sweep import Tried, settled, trouble, undisturbed
from tests.faults.together import side_by_side

pytestmark = pytest.mark.parametrize("row", WATCHED, ids=lambda row: row.name)


@asynccontextmanager
async def watched(lab: Lab, row: WatchedDeployment, mistake: str = "") -> AsyncIterator[WatchedBench]:
    """A bench for a policy, once it is known how it ends without trouble: who has a place waits for nobody else's."""
    await undisturbed(lab, row)
    async with lab.bench(row, mistake) as bench:
        assert isinstance(bench, WatchedBench)
        yield bench


async def ends_as_undisturbed(bench: WatchedBench, name: str) -> None:
    """Wait for the end of a story that has to end like one without any trouble."""
    expected = await undisturbed(bench.lab, WATCHED[0])
    await bench.ended()
    outcome = await settled(bench, expected)
    judge([Tried(name, outcome, trouble(bench, outcome, expected))])


async def ends(bench: WatchedBench, name: str) -> Outcome:
    """Wait for the end of a story that ends in its own way, and count it."""
    await bench.ended()
    outcome = await bench.outcome()
    judge([Tried(name, outcome, None)])
    return outcome


def at(bench: WatchedBench, call: str, fault: Fault) -> None:
    """Disturb the first call of that name."""
    bench.proxy.faults[Call(call, 1)] = fault


def call_of(row: WatchedDeployment, which: str) -> str:
    """The name of the call that is the request's create, or the effect."""
    return {"create": row.create_call, "effect": row.effect_call}[which]


@side_by_side
async def test_without_trouble_the_bad_release_is_rolled_back_and_known(lab: Lab, row: WatchedDeployment) -> None:
    outcome = await undisturbed(lab, row)

    assert (outcome.phase, outcome.reason, outcome.effects) == ("Succeeded", "Completed", 1)
    assert outcome.orders == {
        "requests": 1,
        "created": 1,
        "of the policy": [True],
        "left behind": [[], []],
        "policy": {
            "conditions": [
                ("Alert", "False", "NothingWrong"),
                ("Armed", "False", "NothingToRollBackTo"),
                ("Ready", "True", "Evaluating"),
            ],
            "verdict": "Healthy",
            "current": "3",
            "last known good": "1",
            "ledger": [("Bad", "2"), ("Good", "1")],
            "triggers": [("errors", "Healthy", False, False)],
            "last request": 0,
            "seen": True,
        },
    }


@pytest.mark.parametrize("kill", [True, False])
@side_by_side
async def test_two_operators_at_once_make_one_request(lab: Lab, row: WatchedDeployment, *, kill: bool) -> None:
    async with watched(lab, row) as bench:

        async def both_watch() -> bool:
            return bench.proxy.watches >= 6

        bench.operators.start()
        await bench.start()
        await lab.admin.until(both_watch, "both operators watch")
        if kill:
            at(bench, row.create_call, Fault(after=bench.operators.kill_one, cut_after=True))
        await bench.begin()
        await ends_as_undisturbed(bench, "two operators and a policy")


@side_by_side
async def test_a_policy_deleted_after_its_request_takes_nothing_with_it(lab: Lab, row: WatchedDeployment) -> None:
    async with watched(lab, row) as bench:
        await bench.start()
        await bench.watch(verify={"timeout": "2m"})
        at(bench, row.effect_call, Fault(before=bench.withdraw))
        await bench.release()
        outcome = await ends(bench, "policy deleted before the effect")

    assert (outcome.phase, outcome.reason, outcome.effects) == ("Succeeded", "Completed", 1)
    assert (outcome.orders["requests"], outcome.orders["policy"]) == (1, "deleted")


@side_by_side
async def test_what_only_a_deleted_policy_could_verify_is_not_called_well(lab: Lab, row: WatchedDeployment) -> None:
    async with watched(lab, row) as bench:
        await bench.start()
        await bench.watch(verify={"timeout": "5s", "triggers": ["errors"]})
        at(bench, row.effect_call, Fault(before=bench.withdraw))
        await bench.release()
        outcome = await ends(bench, "policy deleted before the effect, which it was to verify")

    assert (outcome.phase, outcome.effects, outcome.orders["requests"]) == ("Failed", 1, 1)
    assert ("Applied", "True", "Applied") in outcome.conditions


@side_by_side
async def test_a_policy_deleted_while_it_makes_its_request_has_no_effect(lab: Lab, row: WatchedDeployment) -> None:
    async with watched(lab, row) as bench:
        await bench.start()
        await bench.watch()
        at(bench, row.create_call, Fault(before=bench.withdraw))
        await bench.release()
        outcome = await ends(bench, "policy deleted at the create")

    assert (outcome.phase, outcome.reason, outcome.effects) == ("Failed", "PolicyNotFound", 0)
    assert outcome.orders["requests"] == 1


@pytest.mark.parametrize("before", ["effect", "create"])
@side_by_side
async def test_a_policy_edited_midway_makes_no_second_request(lab: Lab, row: WatchedDeployment, before: str) -> None:
    async with watched(lab, row) as bench:

        async def edit() -> None:
            await bench.change(breaker={"limit": 5, "window": "2h"}, watch={"within": "2h"}, historyLimit=5)

        await bench.start()
        await bench.watch()
        at(bench, call_of(row, before), Fault(before=edit))
        await bench.release()
        await ends_as_undisturbed(bench, f"policy edited before the {before}")


@side_by_side
async def test_orders_to_only_observe_come_too_late_for_a_request_that_is_there(
    lab: Lab, row: WatchedDeployment
) -> None:
    async with watched(lab, row) as bench:

        async def edit() -> None:
            await bench.change(mode="Observe")

        await bench.start()
        await bench.watch()
        at(bench, row.effect_call, Fault(before=edit))
        await bench.release()
        outcome = await ends(bench, "mode: Observe before the effect")

    assert (outcome.phase, outcome.effects, outcome.orders["requests"]) == ("Succeeded", 1, 1)


@pytest.mark.parametrize("before", ["effect", "create"])
@side_by_side
async def test_figures_are_missing_just_when_the_operator_starts_again(
    lab: Lab, row: WatchedDeployment, before: str
) -> None:
    async with watched(lab, row) as bench:

        async def fall() -> None:
            bench.figures.silent = 4
            await bench.operators.kill_and_restart()

        await bench.start()
        at(bench, call_of(row, before), Fault(before=fall, cut_before=True))
        await bench.begin()
        await ends_as_undisturbed(bench, f"no figures after a kill before the {before}")

    assert bench.figures.silent == 0, "nothing was asked while there were no figures"


@side_by_side
async def test_every_watch_drops_when_the_policy_comes(lab: Lab, row: WatchedDeployment) -> None:
    async with watched(lab, row) as bench:
        await bench.start()
        bench.proxy.drop_watches()
        await bench.begin()
        await ends_as_undisturbed(bench, "watches dropped before the policy")


@pytest.mark.parametrize("after", ["effect", "create"])
@side_by_side
async def test_every_watch_drops_midway(lab: Lab, row: WatchedDeployment, after: str) -> None:
    async with watched(lab, row) as bench:

        async def drop() -> None:
            bench.proxy.drop_watches()

        await bench.start()
        at(bench, call_of(row, after), Fault(after=drop))
        await bench.begin()
        await ends_as_undisturbed(bench, f"watches dropped after the {after}")


@pytest.mark.parametrize("plural", ["deployments", "rollbackrequests", "rollbackpolicies"])
@side_by_side
async def test_a_watch_is_told_that_its_version_is_gone(lab: Lab, row: WatchedDeployment, plural: str) -> None:
    async with watched(lab, row) as bench:
        await bench.start()
        await bench.watch()
        bench.proxy.count_from_here()
        for number in (1, 2):
            bench.proxy.faults[Call(f"WATCH {plural}", number)] = Fault(answer=(410, {}))
        bench.proxy.drop_watches()
        await bench.release()
        await ends_as_undisturbed(bench, f"410 on the watch of {plural}, with a policy")


async def created_late(lab: Lab, row: WatchedDeployment, mistake: str) -> Outcome:
    """The create loses its connection and arrives when the operator has tried again and there is a request."""
    async with watched(lab, row, mistake) as bench:

        async def made() -> bool:
            return bool(await bench.made())

        async def tried_again() -> None:
            await lab.admin.until(made, "the operator has tried again")

        await bench.start()
        at(bench, row.create_call, Fault(late=1.0, not_before=tried_again))

        async def arrived() -> bool:
            return bench.proxy.arrived

        await bench.begin()
        await lab.admin.until(arrived, "the late create arrives")
        await bench.ended()
        return await bench.outcome()


@side_by_side
async def test_a_create_that_arrives_late_meets_the_one_that_was_made_since(lab: Lab, row: WatchedDeployment) -> None:
    outcome = await created_late(lab, row, "")

    judge([Tried("late create", outcome, None)])
    assert (outcome.orders["created"], outcome.effects) == (1, 1)


@side_by_side
async def test_requests_with_random_names_are_caught(lab: Lab, row: WatchedDeployment) -> None:
    outcome = await created_late(lab, row, "nameless")

    assert outcome.orders["created"] == 2, "the sweep did not see that a request with a random name is made twice"
