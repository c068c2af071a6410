"""Releases of Helm: every state that the real shell, the real module and the real door can come to keeps every rule."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any, NamedTuple

import pytest

from rollback_operator.targets.helm import rollback, standing, target
from rollback_operator.targets.helm.door import Door
from rollback_operator.targets.helm.rollback import Rollback
from tests.model import invariants, statuses
from tests.model.kinds import helm
from tests.model.kinds.explore import Walk, explore
from tests.model.kinds.found import Found
from tests.model.kinds.helm import HelmScene
from tests.model.kinds.releases import DEPLOYED, FAILED, OLD, PENDING, UPGRADING, Rec, Release, rec, secret
from tests.model.kinds.shell import Shell
from tests.model.kinds.world import ABORT, WITHDRAW, Case
from tests.model.seeding import put

ALL_MOVES = (*helm.MOVES, ABORT, WITHDRAW)
PLAIN = Release()
LEFT = Release((*PLAIN.records, Rec(3, "c", UPGRADING, age=OLD)), objects="c")
"""Somebody's Helm died over an upgrade."""
TORN = Release((Rec(1, "a", DEPLOYED), Rec(2, "a", FAILED)))
"""The same chart once more, and Helm failed over it: objects of another one may stand."""


def all_but(*moves: str) -> frozenset[str]:
    """What to leave out so that people make these moves only."""
    return frozenset(ALL_MOVES) - set(moves)


Shells = Callable[[HelmScene], Shell[Release]]


@pytest.fixture(scope="module")
def with_a_fault() -> Iterator[Walk[Release]]:
    """The walk with one fault, for all tests that look at what it came to."""
    shell = Shell(HelmScene())
    yield explore(Case(faults=1), shell)
    shell.loop.close()


class Told(NamedTuple):
    case: Case
    release: Release = PLAIN


WALKED = {
    "nothing goes wrong": Told(Case()),
    "people interfere": Told(Case(moves=1)),
    "two operators": Told(Case(operators=2)),
    "an upgrade was left pending": Told(Case(), LEFT),
    "what is gone back to failed before": Told(Case(), TORN),
}
DEEP = {
    "a fault, and people interfere": Told(Case(faults=1, moves=1)),
    "two faults": Told(Case(faults=2)),
    "two operators, and a fault": Told(Case(operators=2, faults=1)),
    "an upgrade was left pending, and a fault": Told(Case(faults=1), LEFT),
    "an upgrade was left pending, and people interfere": Told(Case(moves=1), LEFT),
    "what is gone back to failed before, and a fault": Told(Case(faults=1), TORN),
    "people interfere twice": Told(Case(moves=2)),
}
CASES = [
    *(pytest.param(told, id=name) for name, told in WALKED.items()),
    *(pytest.param(told, id=name, marks=[pytest.mark.deep, pytest.mark.timeout(3600)]) for name, told in DEEP.items()),
]


@pytest.mark.parametrize("told", CASES)
def test_a_release_is_rolled_back_once_or_in_recorded_attempts(
    told: Told, shells: Shells, walks: list[tuple[Walk[Any], int]]
) -> None:
    walk = explore(told.case, shells(HelmScene(told.release)))

    walks.append((walk, len(ALL_MOVES)))
    assert walk.violation is None, f"\n{walk.violation}"
    assert walk.transitions >= len(walk.worlds) > 10


def test_a_release_is_rolled_back_so_whatever_fails_once(
    with_a_fault: Walk[Release], walks: list[tuple[Walk[Any], int]]
) -> None:
    walks.append((with_a_fault, len(ALL_MOVES)))
    assert with_a_fault.violation is None, f"\n{with_a_fault.violation}"


def test_a_second_attempt_brings_to_its_end_what_a_killed_operator_began(with_a_fault: Walk[Release]) -> None:
    ends = {
        str(world.target) for world in with_a_fault.worlds if world.over and invariants.completed(world.body.status)
    }

    assert ends == {
        "v1 a superseded, v2 b superseded, v3 a deployed; objects of a",
        "v1 a superseded, v2 b superseded, v3 a failed interrupted, v4 a deployed; objects of a",
    }


def test_what_is_stored_is_what_is_read() -> None:
    it = Rec(3, "a", PENDING, by="me", alive=1, age=1, version=7)

    read = rec(secret(it, 1, statuses.NOW), statuses.NOW)

    assert read._replace(age=1, version=7) == it


# What it is for: mistakes are found.


async def _not_waiting(_: Door) -> None:
    return


async def _closed_as_it_comes(self: Rollback, secret: Any) -> None:
    await self._store.write(self._where, secret)


def _never_interrupted(*arguments: Any, interrupted: bool) -> Any:
    del interrupted
    return _REAL_PACKED(*arguments, interrupted=False)


def _without_marks(*arguments: Any, **more: Any) -> Any:
    return replace(_REAL_STANDING(*arguments, **more), marks=frozenset())


_REAL_PACKED, _REAL_STANDING = rollback._packed, standing.standing_of


FOUND = {
    "whoever works on it is taken for dead at once": Found(
        put(standing, "DEAD_AFTER", timedelta()),
        Case(operators=2),
        helm.ACROSS,
        ("operator 2 looks", "PATCH settings ok"),
    ),
    "a record is closed while a write may still arrive": Found(
        put(Door, "quiet", _not_waiting), Case(faults=1), helm.ACROSS, ("late", "failed", "arrives")
    ),
    "an attempt whose end cannot be recorded counts as none": Found(
        put(Rollback, "_close", _closed_as_it_comes),
        Case(moves=1),
        invariants.DENIED,
        ("uninstalls", "NotFound", "Failed/TargetNotFound"),
    ),
    "an attempt that broke off is not marked": Found(
        put(rollback, "_packed", _never_interrupted), Case(faults=1), helm.UNRECORDED, ("POST secrets",)
    ),
    "marks are not looked at": Found(
        put(target, "standing_of", _without_marks), Case(), invariants.DENIED, ("Superseded/NewerRelease",)
    ),
    "nobody waits for somebody else's Helm": Found(
        put(target, "parse_duration", lambda _: timedelta()),
        Case(moves=1),
        helm.MENDED_ALIVE,
        ("upgrade begins", "failed"),
    ),
}


@pytest.mark.parametrize("name", FOUND)
def test_a_mistake_is_found(name: str, shells: Shells, monkeypatch: pytest.MonkeyPatch) -> None:
    FOUND[name].check(shells(HelmScene()), monkeypatch)
