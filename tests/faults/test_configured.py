"""Configuration goes back before its target, and somebody comes in between: it is said what was reached."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from tests.faults.calls import Call
from tests.faults.configured import CONFIGURED, configuration
from tests.faults.conftest import judge
from tests.faults.proxy import Fault
from tests.faults.run import Bench, Lab, Outcome
from tests.faults.sweep import Tried
from tests.faults.together import side_by_side

(ROW,) = CONFIGURED
SETTINGS, PASSWORD, EFFECT = "PATCH configmaps/settings", "PATCH secrets/db", ROW.effect_call


async def tell(lab: Lab, call: str, story: Callable[[Bench], Awaitable[object]]) -> tuple[Outcome, str]:
    """A run in which something happens just before a call; gives what came of it, and what the request says."""
    async with lab.bench(ROW) as bench:
        await bench.start()
        bench.proxy.faults[Call(call, 1)] = Fault(before=lambda: _happens(bench, story))
        await bench.begin()
        await bench.ended()
        outcome = await bench.outcome()
        body = await bench.read() or {}
    judge([Tried(f"somebody comes before {call}", outcome, None)])
    (ready,) = (one["message"] for one in body["status"]["conditions"] if one["type"] == "Ready")
    return outcome, ready


async def _happens(bench: Bench, story: Callable[[Bench], Awaitable[object]]) -> None:
    await story(bench)


async def change_password(bench: Bench) -> None:
    path = f"/api/v1/namespaces/{bench.namespace}/secrets/db"
    await bench.lab.admin.apply(path, configuration("Secret", "db", 3), force=True)


async def release(bench: Bench) -> None:
    await ROW.release(bench.lab.admin, bench.namespace, 3, force=True)


@side_by_side
async def test_an_object_that_was_changed_first_is_left_alone_and_so_is_everything_else(lab: Lab) -> None:
    async def change_settings(bench: Bench) -> None:
        path = f"/api/v1/namespaces/{bench.namespace}/configmaps/settings"
        await bench.lab.admin.apply(path, configuration("ConfigMap", "settings", 3), force=True)

    outcome, said = await tell(lab, SETTINGS, change_settings)

    assert (outcome.phase, outcome.reason, outcome.effects) == ("Superseded", "NewerRelease", 0)
    assert "nothing was changed" in said
    assert outcome.world["written"] == {}


@side_by_side
async def test_an_object_that_was_changed_after_another_was_put_back_is_told(lab: Lab) -> None:
    outcome, said = await tell(lab, PASSWORD, change_password)

    assert (outcome.phase, outcome.reason, outcome.effects) == ("Failed", "PartlyMade", 0)
    assert said.startswith(
        "ConfigMap settings was put back as remembered, ConfigMap extra and Secret db were not, and "
    )
    assert "To take that back: kubectl -n" in said
    assert outcome.world["written"] == {"configmaps/settings": 1}
    owners = outcome.world["configuration"]["settings"]["owners"]
    assert "rollback-operator" not in {manager for manager, _, _ in owners}
    assert ("Applied", "False", "PartlyMade") in outcome.conditions


@side_by_side
async def test_a_release_after_everything_was_put_back_is_not_rolled_over(lab: Lab) -> None:
    outcome, said = await tell(lab, EFFECT, release)

    assert (outcome.phase, outcome.reason, outcome.effects) == ("Failed", "PartlyMade", 0)
    assert "shop:3" in str(outcome.world)
    assert "were put back as remembered, but Deployment/web itself was not changed. By now, " in said
    assert "Deployment/web moved on from revision 2 before it could be rolled back. " in said
