"""Flux is suspended for a rollback: every state that the real shell and the real worker come to keeps every rule."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

from rollback_operator import owning
from rollback_operator.core import flux
from rollback_operator.requests.heard import Heard
from tests.model import invariants
from tests.model.kinds import suspended
from tests.model.kinds.explore import Walk, explore
from tests.model.kinds.found import Found
from tests.model.kinds.shell import UID, Shell
from tests.model.kinds.suspended import Fleet, SuspendedScene, kustomization
from tests.model.kinds.world import ABORT, WITHDRAW, Case
from tests.model.seeding import put

ALL_MOVES = (*suspended.MOVES, ABORT, WITHDRAW)
FREE = SuspendedScene()
AT_WORK = SuspendedScene(kustomization(applies=True))
NOT_SUSPENDED = SuspendedScene(kustomization(suspend=False))
HELD = SuspendedScene(kustomization(suspend=True, held=True))


def only(*moves: str) -> frozenset[str]:
    """What to leave out so that people make these moves only."""
    return frozenset(ALL_MOVES) - set(moves)


Shells = Callable[[SuspendedScene], Shell[Fleet]]


class Told(NamedTuple):
    case: Case
    scene: SuspendedScene = FREE


WALKED = {
    "nothing goes wrong": Told(Case(), SuspendedScene(calm=False)),
    "Flux is at work": Told(Case(), AT_WORK),
    "a fault": Told(Case(faults=1)),
    "a fault, and an earlier rollback is held": Told(Case(faults=1), HELD),
    "people step in": Told(Case(moves=1, but=only(suspended.PUSH, suspended.RESUME, ABORT)), NOT_SUSPENDED),
    "people step in where an earlier rollback is held": Told(Case(moves=1, but=only(suspended.PUSH, ABORT)), HELD),
    "two operators": Told(Case(operators=2)),
}
DEEP = {
    "people interfere": Told(Case(moves=1)),
    "people interfere where an earlier rollback is held": Told(Case(moves=1), HELD),
    "people interfere twice": Told(Case(moves=2)),
    "two faults": Told(Case(faults=2)),
    "two faults, and Flux is at work": Told(Case(faults=2), AT_WORK),
    "two faults, and an earlier rollback is held": Told(Case(faults=2), HELD),
    "a fault, and people interfere": Told(Case(faults=1, moves=1)),
    "a fault, and people interfere where an earlier rollback is held": Told(Case(faults=1, moves=1), HELD),
    "two operators, and a fault": Told(Case(operators=2, faults=1)),
}
CASES = [
    *(pytest.param(told, id=name) for name, told in WALKED.items()),
    *(pytest.param(told, id=name, marks=[pytest.mark.deep, pytest.mark.timeout(3600)]) for name, told in DEEP.items()),
]


@pytest.mark.parametrize("told", CASES)
def test_flux_is_suspended_for_an_effect_and_for_nothing_else(
    told: Told, shells: Shells, walks: list[tuple[Walk[Any], int]]
) -> None:
    walk = explore(told.case, shells(told.scene))

    walks.append((walk, len(ALL_MOVES)))
    assert walk.violation is None, f"\n{walk.violation}"
    assert walk.transitions > len(walk.worlds) > 20


def test_undisturbed_flux_is_suspended_for_the_request_alone(shells: Shells) -> None:
    walk = explore(Case(), shells(HELD))

    ends = {one.target.flux for one in walk.worlds if one.over and invariants.completed(one.body.status)}
    assert ends
    for end in ends:
        body = Fleet(end).body
        assert body["spec"]["suspend"] is True
        assert flux.hold_of(body) == flux.Hold(UID, None, (suspended.EARLIER,)), "the worker of suspensions cuts it"


# What it is for: mistakes are found.


async def _nothing(*_: Any, **__: Any) -> None:
    return None


async def _nothing_left(*_: Any) -> str:
    return ""


_release = owning._release


async def _of_any_reading(api: Any, *arguments: Any) -> str:
    """As the real one, but what reads as if nothing were to be ended is believed."""
    reading: Any = SimpleNamespace(get=api.get, patch=_unless_it_only_tests(api))
    return await _release(reading, *arguments)


def _unless_it_only_tests(api: Any) -> Callable[..., Awaitable[Any]]:
    async def patch(path: str, operations: list[Any], **more: Any) -> Any:
        return await api.patch(path, operations, **more) if len(operations) > 1 else {}

    return patch


def _at_any_time(body: dict[str, Any]) -> dict[str, Any]:
    return {"op": "test", "path": "/metadata/uid", "value": body["metadata"]["uid"]}


FOUND = {
    "Flux is not suspended": (FREE, Found(put(owning, "suspend", _nothing), Case(), suspended.AWAKE)),
    "what Flux is doing is not waited for": (
        AT_WORK,
        Found(put(flux, "reconciling", lambda _: False), Case(), suspended.AT_WORK),
    ),
    "a suspension without an effect is not ended": (
        FREE,
        Found(
            put(owning, "release", _nothing_left),
            Case(faults=1),
            suspended.LEFT,
        ),
    ),
    "an earlier rollback is not thought of": (
        HELD,
        Found(
            put(flux.Hold, "without", lambda *_: None),
            Case(faults=1),
            suspended.OTHERS,
        ),
    ),
    "what spec.suspend was is not kept": (
        NOT_SUSPENDED,
        Found(put(flux, "before", lambda _: None), Case(), suspended.NOT_AS_BEFORE),
    ),
    "whose suspension it is is not told anew": (
        HELD,
        Found(put(flux, "keeping", lambda *_: []), Case(), suspended.UNKEPT),
    ),
    "a later attempt relies on the suspension of an earlier one": (
        FREE,
        Found(put(Heard, "suspending", lambda *_: 1), Case(faults=2), suspended.AWAKE),
    ),
    "that nothing is suspended is believed of an old reading": (
        FREE,
        Found(put(owning, "_release", _of_any_reading), Case(faults=2), suspended.LEFT),
    ),
    "a suspension fits what was changed since": (
        FREE,
        Found(put(flux, "as_it_was_read", _at_any_time), Case(faults=2, moves=1, but=only(ABORT)), suspended.LEFT),
    ),
}


@pytest.mark.parametrize("name", FOUND)
def test_a_mistake_is_found(name: str, shells: Shells, monkeypatch: pytest.MonkeyPatch) -> None:
    suspended._looked_at.cache_clear()
    scene, found = FOUND[name]
    try:
        found.check(shells(scene), monkeypatch)
    finally:
        suspended._looked_at.cache_clear()
