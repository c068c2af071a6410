"""What else can go wrong while a policy watches: a second operator, orders that change, no figures, dead watches."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest

from tests.faults.calls import Call
from tests.faults.conftest import judge
from tests.faults.orders import WatchedBench
from tests.faults.proxy import Fault
from tests.faults.rows import WATCHED, WatchedDeployment
from tests.faults.run import Lab, Outcome
from tests.faults.sweep import Tried, settled, trouble, undisturbed

pytestmark = [
    pytest.mark.timeout(1800),
    pytest.mark.parametrize("row", WATCHED, ids=lambda row: row.name),
]

Telling = Callable[..., Awaitable[None]]
STORIES: dict[str, Telling] = {}
_UNDISTURBED: dict[str, Outcome] = {}
_TOLD: dict[str, dict[str, BaseException | None]] = {}


def story(**given: Any) -> Callable[[Telling], Telling]:
    """Have a story told, perhaps in several ways."""

    def noted(telling: Telling) -> Telling:
        how = f" ({', '.join(str(value) for value in given.values())})" if given else ""
        STORIES[telling.__name__.replace("_", " ") + how] = partial(telling, **given)
        return telling

    return noted


async def told(lab: Lab, row: WatchedDeployment) -> dict[str, BaseException | None]:
    """All stories, side by side: each of them waits more than it works."""
    if row.name not in _TOLD:
        await reference(lab, row)
        ends = await asyncio.gather(*(telling(lab, row) for telling in STORIES.values()), return_exceptions=True)
        _TOLD[row.name] = dict(zip(STORIES, ends, strict=True))
    return _TOLD[row.name]


async def reference(lab: Lab, row: WatchedDeployment) -> Outcome:
    """A run without any trouble, made once a row."""
    if row.name not in _UNDISTURBED:
        _UNDISTURBED[row.name] = await undisturbed(lab, row)
    return _UNDISTURBED[row.name]


@asynccontextmanager
async def watched(lab: Lab, row: WatchedDeployment, mistake: str = "") -> AsyncIterator[WatchedBench]:
    """A bench for a policy."""
    async with lab.bench(row, mistake) as bench:
        assert isinstance(bench, WatchedBench)
        yield bench


async def ends_as_undisturbed(bench: WatchedBench, name: str) -> None:
    """Wait for the end of a story that has to end like one without any trouble."""
    expected = await reference(bench.lab, WATCHED[0])
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


async def test_without_trouble_the_bad_release_is_rolled_back_and_known(lab: Lab, row: WatchedDeployment) -> None:
    outcome = await reference(lab, row)

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


@story(kill=False)
@story(kill=True)
async def two_operators_at_once_make_one_request(lab: Lab, row: WatchedDeployment, *, kill: bool) -> None:
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


@story()
async def a_policy_deleted_after_its_request_takes_nothing_with_it(lab: Lab, row: WatchedDeployment) -> None:
    async with watched(lab, row) as bench:
        await bench.start()
        await bench.watch(verify={"timeout": "2m"})
        at(bench, row.effect_call, Fault(before=bench.withdraw))
        await bench.release()
        outcome = await ends(bench, "policy deleted before the effect")

    assert (outcome.phase, outcome.reason, outcome.effects) == ("Succeeded", "Completed", 1)
    assert (outcome.orders["requests"], outcome.orders["policy"]) == (1, "deleted")


@story()
async def what_only_a_deleted_policy_could_verify_is_not_called_well(lab: Lab, row: WatchedDeployment) -> None:
    async with watched(lab, row) as bench:
        await bench.start()
        await bench.watch(verify={"timeout": "5s", "triggers": ["errors"]})
        at(bench, row.effect_call, Fault(before=bench.withdraw))
        await bench.release()
        outcome = await ends(bench, "policy deleted before the effect, which it was to verify")

    assert (outcome.phase, outcome.effects, outcome.orders["requests"]) == ("Failed", 1, 1)
    assert ("Applied", "True", "Applied") in outcome.conditions


@story()
async def a_policy_deleted_while_it_makes_its_request_has_no_effect(lab: Lab, row: WatchedDeployment) -> None:
    async with watched(lab, row) as bench:
        await bench.start()
        await bench.watch()
        at(bench, row.create_call, Fault(before=bench.withdraw))
        await bench.release()
        outcome = await ends(bench, "policy deleted at the create")

    assert (outcome.phase, outcome.reason, outcome.effects) == ("Failed", "PolicyNotFound", 0)
    assert outcome.orders["requests"] == 1


@story(before="create")
@story(before="effect")
async def a_policy_edited_midway_makes_no_second_request(lab: Lab, row: WatchedDeployment, before: str) -> None:
    async with watched(lab, row) as bench:

        async def edit() -> None:
            await bench.change(breaker={"limit": 5, "window": "2h"}, watch={"within": "2h"}, historyLimit=5)

        await bench.start()
        await bench.watch()
        at(bench, call_of(row, before), Fault(before=edit))
        await bench.release()
        await ends_as_undisturbed(bench, f"policy edited before the {before}")


@story()
async def orders_to_only_observe_come_too_late_for_a_request_that_is_there(lab: Lab, row: WatchedDeployment) -> None:
    async with watched(lab, row) as bench:

        async def edit() -> None:
            await bench.change(mode="Observe")

        await bench.start()
        await bench.watch()
        at(bench, row.effect_call, Fault(before=edit))
        await bench.release()
        outcome = await ends(bench, "mode: Observe before the effect")

    assert (outcome.phase, outcome.effects, outcome.orders["requests"]) == ("Succeeded", 1, 1)


@story(before="create")
@story(before="effect")
async def figures_are_missing_just_when_the_operator_starts_again(
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


@story()
async def every_watch_drops_when_the_policy_comes(lab: Lab, row: WatchedDeployment) -> None:
    async with watched(lab, row) as bench:
        await bench.start()
        bench.proxy.drop_watches()
        await bench.begin()
        await ends_as_undisturbed(bench, "watches dropped before the policy")


@story(after="create")
@story(after="effect")
async def every_watch_drops_midway(lab: Lab, row: WatchedDeployment, after: str) -> None:
    async with watched(lab, row) as bench:

        async def drop() -> None:
            bench.proxy.drop_watches()

        await bench.start()
        at(bench, call_of(row, after), Fault(after=drop))
        await bench.begin()
        await ends_as_undisturbed(bench, f"watches dropped after the {after}")


@story(plural="rollbackpolicies")
@story(plural="rollbackrequests")
@story(plural="deployments")
async def a_watch_is_told_that_its_version_is_gone(lab: Lab, row: WatchedDeployment, plural: str) -> None:
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
    """The create loses its connection and arrives eight seconds later; meanwhile the operator tries again."""
    async with watched(lab, row, mistake) as bench:
        await bench.start()
        at(bench, row.create_call, Fault(late=8.0))

        async def arrived() -> bool:
            return bench.proxy.arrived

        await bench.begin()
        await lab.admin.until(arrived, "the late create arrives")
        await bench.ended()
        return await bench.outcome()


@story()
async def a_create_that_arrives_late_meets_the_one_that_was_made_since(lab: Lab, row: WatchedDeployment) -> None:
    outcome = await created_late(lab, row, "")

    judge([Tried("late create", outcome, None)])
    assert (outcome.orders["created"], outcome.effects) == (1, 1)


@story()
async def requests_with_random_names_are_caught(lab: Lab, row: WatchedDeployment) -> None:
    outcome = await created_late(lab, row, "nameless")

    assert outcome.orders["created"] == 2, "the sweep did not see that a request with a random name is made twice"


@pytest.mark.parametrize("sentence", STORIES)
async def test_a_story(lab: Lab, row: WatchedDeployment, sentence: str) -> None:
    trouble = (await told(lab, row))[sentence]
    if trouble is not None:
        raise trouble
