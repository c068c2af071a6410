"""Every write of a group's run has its turn with some fault, and the making of its requests with every fault."""

from __future__ import annotations

import asyncio

import pytest

from tests.faults.calls import Call
from tests.faults.conftest import judge
from tests.faults.groups import GroupRow
from tests.faults.run import Lab
from tests.faults.sweep import CLASSES, disturb, recovery, twice, undisturbed
from tests.faults.together import side_by_side

ROW = GroupRow()
KILLS = ("killed before", "killed after")


def chosen(kind: str, calls: list[Call]) -> list[Call]:
    """The calls at which a class of faults is tried: every write that matters has its turn with some class."""
    weighty = [call for call in calls if call.weighty]
    number = list(CLASSES).index(kind)
    return [call for at, call in enumerate(weighty) if call.name in ROW.first_kills or at % len(CLASSES) == number]


@side_by_side
async def test_without_faults_each_target_has_one_request_and_one_effect(lab: Lab) -> None:
    outcome = await undisturbed(lab, ROW)

    assert (outcome.phase, outcome.reason, outcome.effects) == ("Succeeded", "Completed", 2)
    assert outcome.steps == ("Done", "Done")
    assert outcome.orders == {
        "created": 2,
        "requests": dict.fromkeys(("web", "api"), ("Succeeded", "Completed", None)),
        "in order": True,
    }


@side_by_side
async def test_a_fault_at_every_write_of_a_group(lab: Lab) -> None:
    expected = await undisturbed(lab, ROW)
    calls = list(dict.fromkeys(expected.journal))
    tried = await asyncio.gather(*(disturb(lab, ROW, kind, chosen(kind, calls), expected) for kind in CLASSES))

    judge([one for of_kind in tried for one in of_kind])


@pytest.mark.deep
@side_by_side
async def test_every_fault_at_every_call_of_a_group(lab: Lab) -> None:
    expected = await undisturbed(lab, ROW)
    calls = list(dict.fromkeys(expected.journal))

    for kind in CLASSES:
        judge(await disturb(lab, ROW, kind, calls, expected))


@pytest.mark.parametrize("first", KILLS)
@side_by_side
async def test_a_second_kill_around_the_making_of_a_request(lab: Lab, first: str) -> None:
    expected = await undisturbed(lab, ROW)
    making = (first, Call(ROW.create_call, 1))
    journal = await recovery(lab, ROW, making)
    seconds = [call for call in dict.fromkeys(journal) if call.weighty and call.number == 1]

    judge(await asyncio.gather(*(twice(lab, ROW, making, (KILLS[1], call), expected) for call in seconds)))
