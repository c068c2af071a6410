"""One shell and one list of walks for the whole suite; what was walked is told at the end."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from tests.model import faults, surroundings
from tests.model.explore import Walk, explore
from tests.model.shell import Shell
from tests.model.world import Case

WALKS = pytest.StashKey[list[Walk]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[WALKS] = []


@pytest.fixture(scope="session")
def shell() -> Iterator[Shell]:
    """The real shell as it is; what it did once is remembered for all walks."""
    yield from _closed_afterwards(Shell())


@pytest.fixture
def mistaken_shell() -> Iterator[Shell]:
    """A shell of its own for a test that puts a mistake into the code."""
    yield from _closed_afterwards(Shell())


def _closed_afterwards(shell: Shell) -> Iterator[Shell]:
    log = logging.getLogger("rollback_operator")
    level = log.level
    log.setLevel(logging.CRITICAL)
    yield shell
    log.setLevel(level)
    shell.loop.close()


@pytest.fixture(scope="session")
def small_walk(shell: Shell) -> Walk:
    """One operator, a fault, and somebody interferes: for tests that look at what a walk came to."""
    return explore(Case(faults=1, moves=1), shell)


@pytest.fixture(scope="session")
def walks(pytestconfig: pytest.Config) -> list[Walk]:
    """Where a test puts what it walked."""
    return pytestconfig.stash[WALKS]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for walk in config.stash[WALKS]:
        case = walk.case
        terminalreporter.write_line(
            f"model: {len(walk.worlds):,} states, {walk.transitions:,} transitions, longest path {walk.longest}: "
            f"operators {case.operators}, requests {case.requests}, "
            f"faults {case.faults} of {len(faults.FAULTS)} kinds, "
            f"interventions {case.moves} of {len(surroundings.MOVES)} kinds; {walk.seconds:.0f} s"
        )
