"""The model's clock for the whole suite, one shell for all walks; what was walked is told at the end."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

import pytest

from tests.model.policies import steps
from tests.model.policies.explore import Walk
from tests.model.policies.shell import Shell, patches

WALKS: list[Walk] = []


@pytest.fixture(autouse=True)
def _clock() -> Iterator[None]:
    log = logging.getLogger("rollback_operator")
    level = log.level
    log.setLevel(logging.CRITICAL)
    with contextlib.ExitStack() as stack:
        for one in patches():
            stack.enter_context(one)
        yield
    log.setLevel(level)


@pytest.fixture
def shell() -> Iterator[Shell]:
    """A shell of its own, as a test may put a mistake into the code."""
    it = Shell()
    yield it
    it.loop.close()


@pytest.fixture
def walks() -> list[Walk]:
    """Where a test puts what it walked."""
    return WALKS


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for walk in WALKS:
        case = walk.case
        terminalreporter.write_line(
            f"policies: {len(walk.worlds):,} states, {walk.transitions:,} transitions, {walk.endings:,} endings, "
            f"longest path {walk.longest}: {case.spec}, {case.mode}, operators {case.operators}, "
            f"minutes {case.ticks}, faults "
            f"{case.faults} of {len(steps.FAULTS)} kinds, interventions {case.moves} of "
            f"{len(steps.MOVES) - len(case.but)} kinds; {walk.seconds:.0f} s"
        )
