"""What was walked is told at the end."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.model.kinds.explore import Walk
from tests.model.kinds.scene import Scene
from tests.model.kinds.shell import Shell
from tests.model.kinds.world import FAULTS

WALKS: list[tuple[Walk[Any], int]] = []


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    log = logging.getLogger("rollback_operator")
    level = log.level
    log.setLevel(logging.CRITICAL)
    yield
    log.setLevel(level)


@pytest.fixture
def shells() -> Iterator[Callable[[Scene[Any]], Shell[Any]]]:
    """Makes shells of its own for a test, which may put a mistake into the code."""
    made: list[Shell[Any]] = []

    def make(scene: Scene[Any]) -> Shell[Any]:
        made.append(Shell(scene))
        return made[-1]

    yield make
    for one in made:
        one.loop.close()


@pytest.fixture
def walks() -> list[tuple[Walk[Any], int]]:
    """Where a test puts what it walked, and how many kinds of interventions there are."""
    return WALKS


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for walk, moves in WALKS:
        case = walk.case
        terminalreporter.write_line(
            f"{walk.kind}: {len(walk.worlds):,} states, {walk.transitions:,} transitions, longest path {walk.longest}: "
            f"operators {case.operators}, faults {case.faults} of {len(FAULTS)} kinds, "
            f"interventions {case.moves} of {moves - len(case.but)} kinds; {walk.seconds:.0f} s"
        )
