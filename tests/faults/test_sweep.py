"""Every fault at every call of a rollback: it takes effect once and ends as if nothing had happened."""

from __future__ import annotations

import asyncio
import os

import pytest

from tests.faults.applications import APPLICATIONS
from tests.faults.calls import Call
from tests.faults.configured import CONFIGURED
from tests.faults.conftest import judge
from tests.faults.helm import RELEASES
from tests.faults.owners import OWNED
from tests.faults.rows import ROWS, SETS, WATCHED, Row
from tests.faults.run import Lab, Outcome
from tests.faults.sweep import CLASSES, disturb, picked, possible, recovery, twice, undisturbed, weighty
from tests.faults.together import side_by_side

pytestmark = pytest.mark.parametrize(
    "row", [*ROWS, *SETS, *WATCHED, *RELEASES, *APPLICATIONS, *OWNED, *CONFIGURED], ids=lambda row: row.name
)


@side_by_side
async def test_without_faults_there_is_one_effect(lab: Lab, row: Row) -> None:
    outcome = await undisturbed(lab, row)

    assert (outcome.phase, outcome.reason, outcome.effects) == ("Succeeded", "Completed", 1)
    assert Call(row.effect_call, 1) in outcome.journal


@pytest.mark.parametrize("kind", CLASSES)
@side_by_side
async def test_a_fault_at_every_call(lab: Lab, row: Row, kind: str) -> None:
    expected = await undisturbed(lab, row)

    judge(await disturb(lab, row, kind, picked(row, kind, possible(kind, expected.journal)), expected))


@pytest.mark.deep
@pytest.mark.parametrize("kind", CLASSES)
@side_by_side
async def test_a_fault_at_every_call_that_was_left_out(lab: Lab, row: Row, kind: str) -> None:
    expected = await undisturbed(lab, row)
    calls = possible(kind, expected.journal)
    tried = set(picked(row, kind, calls))

    judge(await disturb(lab, row, kind, [call for call in calls if call not in tried], expected))


KILLS = ("killed before", "killed after")


@pytest.mark.parametrize("first", KILLS)
@side_by_side
async def test_a_second_kill_around_the_effect(lab: Lab, row: Row, first: str) -> None:
    expected = await undisturbed(lab, row)

    await _second_kills(lab, row, [(first, Call(name, 1)) for name in row.first_kills], expected, deep=not row.samples)


@pytest.mark.deep
@side_by_side
async def test_a_second_kill_at_every_write_of_every_recovery(lab: Lab, row: Row) -> None:
    expected = await undisturbed(lab, row)
    writes = [call for call in dict.fromkeys(expected.journal) if call.writes]

    await _second_kills(lab, row, [(kind, call) for call in writes for kind in KILLS], expected, deep=True)


async def _second_kills(lab: Lab, row: Row, firsts: list[tuple[str, Call]], expected: Outcome, *, deep: bool) -> None:
    recoveries = await asyncio.gather(*(recovery(lab, row, first) for first in firsts))
    pairs = [
        (first, (kind, call))
        for first, journal in zip(firsts, recoveries, strict=True)
        for call in dict.fromkeys(journal)
        if call.writes and (deep or (weighty(row, call) and call.number == 1))
        for kind in (KILLS if deep else KILLS[1:])
    ]
    judge(await asyncio.gather(*(twice(lab, row, first, second, expected) for first, second in pairs)))


@pytest.mark.timeout(3600)
@pytest.mark.skipif("FAULT" not in os.environ, reason="repeats one fault: FAULT='killed after:PATCH deployments/web#1'")
async def test_one_fault_again(lab: Lab, row: Row) -> None:
    kind, _, call = os.environ["FAULT"].partition(":")
    expected = await undisturbed(lab, row)

    tried = await disturb(lab, row, kind, [Call.parse(call)], expected)
    judge(tried)
