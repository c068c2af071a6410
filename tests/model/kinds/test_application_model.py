"""Applications: every state that the real shell and the real module can come to keeps every rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from rollback_operator.targets.application import effect, operation, reading
from tests.model import invariants
from tests.model.kinds import application
from tests.model.kinds.application import App, ApplicationScene, Operation
from tests.model.kinds.explore import Walk, explore
from tests.model.kinds.found import Found
from tests.model.kinds.shell import Shell
from tests.model.kinds.world import ABORT, WITHDRAW, Case
from tests.model.seeding import put

ALL_MOVES = (*application.MOVES, ABORT, WITHDRAW)


def all_but(*moves: str) -> frozenset[str]:
    """What to leave out so that people make these moves only."""
    return frozenset(ALL_MOVES) - set(moves)


Shells = Callable[[ApplicationScene], Shell[App]]


WALKED = {
    "nothing goes wrong": Case(),
    "a fault": Case(faults=1),
    "people step in": Case(moves=1, but=all_but(ABORT, WITHDRAW, application.CALLED_OFF)),
    "two operators": Case(operators=2),
}
DEEP = {
    "people interfere": Case(moves=1),
    "two faults": Case(faults=2),
    "a fault, and people interfere": Case(faults=1, moves=1),
    "two operators, and a fault": Case(operators=2, faults=1),
    "people interfere twice": Case(moves=2),
}
CASES = [
    *(pytest.param(case, id=name) for name, case in WALKED.items()),
    *(pytest.param(case, id=name, marks=[pytest.mark.deep, pytest.mark.timeout(3600)]) for name, case in DEEP.items()),
]


@pytest.mark.parametrize("case", CASES)
def test_an_application_is_rolled_back_once_and_held(
    case: Case, shells: Shells, walks: list[tuple[Walk[Any], int]]
) -> None:
    walk = explore(case, shells(ApplicationScene()))

    walks.append((walk, len(ALL_MOVES)))
    assert walk.violation is None, f"\n{walk.violation}"
    assert walk.transitions > len(walk.worlds) > 100


def test_what_is_written_is_what_is_read() -> None:
    it = App(
        auto="off",
        mark="me",
        held=("b", "c"),
        holder="me",
        waits=Operation("me", "a"),
        last=Operation("me", "a", "Running"),
        asked=True,
    )

    assert application._read(application.document(it), it) == it


# What it is for: mistakes are found.

FOUND = {
    "automated sync is left on": Found(put(effect, "_turn_off", lambda *_, **__: None), Case(), application.STILL_ON),
    "what automated sync was is not kept": Found(put(effect, "new_hold", lambda *_: None), Case(), application.UNHELD),
    "it rolls over an operation that goes on": Found(
        put(operation, "going_on", lambda _: False),
        Case(moves=1, but=all_but(application.SYNC)),
        application.BUSY,
    ),
    "what still goes on is left to itself": Found(
        put(operation, "can_be_called_off", lambda _: False), Case(), application.STILL_GOING
    ),
    "what was called off counts as put back by somebody": Found(
        put(operation, "was_taken_back", lambda _: False), Case(), application.ACCUSED
    ),
    "marks are not looked at": Found(put(reading, "_marks", lambda _: frozenset()), Case(), invariants.DENIED),
}


@pytest.mark.parametrize("name", FOUND)
def test_a_mistake_is_found(name: str, shells: Shells, monkeypatch: pytest.MonkeyPatch) -> None:
    application.document.cache_clear()
    FOUND[name].check(shells(ApplicationScene()), monkeypatch)
