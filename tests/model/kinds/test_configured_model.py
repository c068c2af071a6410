"""Configuration that goes back: every state that the real shell and the real modules come to keeps every rule."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, NamedTuple

import pytest

from rollback_operator.api.request import Plan
from rollback_operator.configuration import change, restoring, together
from rollback_operator.configuration.together import Together, of_templates
from rollback_operator.core.life import running, verifying
from rollback_operator.core.values import Beside, Snapshot
from rollback_operator.requests.acting import Actor
from rollback_operator.targets.base import Where
from tests.model import invariants, surroundings
from tests.model.kinds import configured
from tests.model.kinds.configured import (
    CHANGE,
    DATABASE,
    GOOD,
    MEND,
    REFERS,
    REMOVE,
    SETTINGS,
    SPOIL,
    ConfiguredScene,
    Shop,
)
from tests.model.kinds.explore import Walk, explore
from tests.model.kinds.found import Found
from tests.model.kinds.shell import Shell
from tests.model.kinds.world import ABORT, WITHDRAW, Case
from tests.model.mistakes import unasked
from tests.model.seeding import both, put

ALL_MOVES = (*configured.MOVES, ABORT, WITHDRAW)
CALM = ConfiguredScene(calm=True)


def only(*moves: str) -> frozenset[str]:
    """What to leave out so that people make these moves only."""
    return frozenset(ALL_MOVES) - set(moves)


CHANGED, SPOILT, MENDED, REMOVED = (words.format(SETTINGS) for words in (CHANGE, SPOIL, MEND, REMOVE))
MADE, REMADE, GONE_AGAIN = (words.format(DATABASE) for words in (CHANGE, MEND, REMOVE))


Shells = Callable[[ConfiguredScene], Shell[Shop]]


class Told(NamedTuple):
    case: Case
    scene: ConfiguredScene = CALM


WALKED = {
    "nothing goes wrong": Told(Case(), ConfiguredScene()),
    "configuration alone": Told(Case(), ConfiguredScene(calm=True, alone=True)),
    "a fault": Told(Case(faults=1)),
    "people step in": Told(Case(moves=1, but=only(CHANGED, surroundings.NEWER, ABORT))),
    "two operators": Told(Case(operators=2)),
}
DEEP = {
    "people interfere": Told(Case(moves=1), ConfiguredScene()),
    "people interfere twice": Told(Case(moves=2)),
    "a fault, and people interfere": Told(Case(faults=1, moves=1)),
    "a fault, and pods that fail": Told(Case(faults=1), ConfiguredScene()),
    "two faults": Told(Case(faults=2)),
    "two faults, and a copy without which nothing is done": Told(
        Case(faults=2), ConfiguredScene(calm=True, backup="Always")
    ),
    "two operators, and a fault": Told(Case(operators=2, faults=1)),
    "two operators, and people interfere": Told(Case(operators=2, moves=1)),
    "configuration alone, and a fault": Told(Case(faults=1), ConfiguredScene(calm=True, alone=True)),
    "configuration alone, and people interfere": Told(Case(moves=1), ConfiguredScene(calm=True, alone=True)),
}
CASES = [
    *(pytest.param(told, id=name) for name, told in WALKED.items()),
    *(pytest.param(told, id=name, marks=[pytest.mark.deep, pytest.mark.timeout(3600)]) for name, told in DEEP.items()),
]


@pytest.mark.parametrize("told", CASES)
def test_configuration_goes_back_once_and_what_is_said_of_it_is_true(
    told: Told, shells: Shells, walks: list[tuple[Walk[Any], int]]
) -> None:
    walk = explore(told.case, shells(told.scene))

    walks.append((walk, len(ALL_MOVES)))
    assert walk.violation is None, f"\n{walk.violation}"
    assert walk.transitions > len(walk.worlds) > 100


def test_undisturbed_everything_stands_as_remembered_and_belongs_to_its_owner(
    shells: Shells,
) -> None:
    walk = explore(Case(), shells(CALM))

    ends = [one.target for one in walk.worlds if one.over and invariants.completed(one.body.status)]
    assert ends
    for end in ends:
        things = [end.thing(name) for name in REFERS]
        assert [(one.letter, one.put, one.held, one.owned) for one in things] == [(GOOD, True, False, True)] * 2
        assert (end.effects, end.copied, end.deployment is not None and end.deployment.held) == (1, True, False)


def test_what_is_deleted_once_more_is_made_anew_again(shells: Shells) -> None:
    """The limit that docs/reliability.md names: nothing bears witness of the first time."""
    strict = ConfiguredScene(calm=True, strict=True)

    walk = explore(Case(faults=1, moves=1, but=only(GONE_AGAIN)), shells(strict))

    assert walk.violation is not None
    assert walk.violation.wrong == configured.PUT_BACK_TWICE
    assert any(GONE_AGAIN in line for line in walk.violation.story)


def test_what_is_written_is_what_is_read() -> None:
    it = configured.Thing(GOOD, 4, "me", held=True, owned=True, put=True)

    assert configured._read(configured.config_map(SETTINGS, it), it) == it._replace(version=5)


# What it is for: mistakes are found.

Object = dict[str, Any]
_REPLACING = change.replacing


def _without_tests(*given: Any) -> list[Object]:
    return [one for one in _REPLACING(*given) if one["op"] != "test"]


def _without_mark(*given: Any) -> list[Object]:
    return [one for one in _REPLACING(*given) if "/metadata/annotations" not in one["path"]]


async def _target_first(
    self: Together, kind: str, where: Where, target: Snapshot, plan: Plan, *key: str, **more: Any
) -> None:
    await self._targets[kind].apply(where, target, of_templates(plan), *key)
    if plan.configuration is not None:
        await self._restorer.put_back(where, plan.configuration, *key, **more)


ANY_VERSION = put(change, "replacing", _without_tests)
DUE_ANYHOW = put(restoring.Found, "as_planned", property(lambda one: not one.as_remembered))
TARGET_ONLY = both(
    put(running, "partly", lambda _request, ending, _beside: ending), put(running, "so_far", lambda *_: None)
)


FOUND = {
    "a write fits any version of its object": Found(
        ANY_VERSION, Case(moves=1, but=only(CHANGED)), configured.OVERWRITTEN, (CHANGED, "PATCH settings ok")
    ),
    "whatever is not as remembered is due": Found(
        DUE_ANYHOW, Case(moves=1, but=only(CHANGED)), configured.OVERWRITTEN, (CHANGED, "PATCH settings ok")
    ),
    "a second attempt puts back again what somebody changed": Found(
        DUE_ANYHOW,
        Case(faults=1, moves=1, but=only(SPOILT)),
        configured.PUT_BACK_TWICE,
        ("PATCH settings", SPOILT, "PATCH settings ok"),
    ),
    "the target is changed before its configuration": Found(
        put(Together, "apply", _target_first), Case(), configured.TOO_EARLY, ("PATCH checkout ok",)
    ),
    "an ending looks at nothing but the target": Found(
        TARGET_ONLY,
        Case(moves=1, but=only(surroundings.NEWER)),
        configured.MISNAMED,
        ("PATCH settings ok", surroundings.NEWER, "Superseded/NewerRelease"),
    ),
    "what is put back bears no mark": Found(
        both(put(change, "replacing", _without_mark), put(Beside, "knowing", lambda self, _: self)),
        Case(moves=1, but=only(surroundings.NEWER)),
        configured.MISNAMED,
        ("PATCH settings ok", surroundings.NEWER),
    ),
    "what was put back is looked for in an old reading": Found(
        put(Beside, "knowing", lambda self, _: self),
        Case(faults=1, moves=1, but=only(MADE)),
        configured.MISNAMED,
        (MADE, "PATCH settings ok", "an old reading", "Superseded/NewerRelease"),
    ),
    "an ending does not wait for what may still arrive": Found(
        put(running, "SETTLE", timedelta()),
        Case(faults=1, moves=1, but=only(ABORT)),
        configured.MISNAMED,
        ("PATCH settings (no answer; late)", "Aborted/Aborted", "arrives"),
    ),
    "configuration is not looked at any more after the effect": Found(
        put(verifying, "configuration_lost", lambda *_: None),
        Case(moves=1, but=only(CHANGED)),
        configured.NOT_BACK,
        ("PATCH checkout ok", CHANGED, "Succeeded/Completed"),
    ),
    "a copy counts as made before it is": Found(
        put(Actor, "keep", unasked), Case(), invariants.UNCOPIED, ("PATCH settings ok",)
    ),
    "a rollback that puts nothing back counts as one": Found(
        put(together, "nothing_put_back", lambda _: None),
        Case(moves=1, but=only(MADE)),
        invariants.FALSE_APPLIED,
        (MADE, "Verifying"),
    ),
}


@pytest.mark.parametrize("name", FOUND)
def test_a_mistake_is_found(name: str, shells: Shells, monkeypatch: pytest.MonkeyPatch) -> None:
    FOUND[name].check(shells(CALM), monkeypatch)
