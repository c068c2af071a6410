"""Flux was suspended for an effect that turns out to be forbidden: it is resumed, whatever fault comes when."""

from __future__ import annotations

import pytest

from tests.faults.calls import Call
from tests.faults.conftest import judge
from tests.faults.owners import SUSPEND_CALL, ForbiddenOfFlux
from tests.faults.run import Lab
from tests.faults.sweep import CLASSES, disturb, undisturbed, weighty
from tests.faults.together import side_by_side

ROW = ForbiddenOfFlux()
SHORT = ("killed after", "409")
"""What is tried in the short run."""


@side_by_side
async def test_what_was_suspended_is_as_it_was(lab: Lab) -> None:
    outcome = await undisturbed(lab, ROW)

    assert (outcome.phase, outcome.reason, outcome.effects) == ("Failed", "Forbidden", 0)
    assert {Call(SUSPEND_CALL, 1), Call(SUSPEND_CALL, 2)} <= set(outcome.journal)
    assert "suspend" not in outcome.world["Flux"]
    assert outcome.world["notes on it"] == []


KINDS = [kind if kind in SHORT else pytest.param(kind, marks=pytest.mark.deep) for kind in CLASSES]


@pytest.mark.parametrize("kind", KINDS)
@side_by_side
async def test_a_fault_at_every_write(lab: Lab, kind: str) -> None:
    expected = await undisturbed(lab, ROW)
    calls = [call for call in dict.fromkeys(expected.journal) if weighty(ROW, call)]

    judge(await disturb(lab, ROW, kind, calls, expected))
