"""Groups: every state that the real shell and the real decisions can come to keeps every invariant."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any, NamedTuple

import pytest

from rollback_operator.core.group import entries, foresight, waves
from rollback_operator.core.group.words import Wave
from rollback_operator.requests import groups
from rollback_operator.requests.worker import RequestWorker
from tests.model.groups import world as model
from tests.model.groups.shell import Shell
from tests.model.groups.world import Case, Steps, World, beginning, final
from tests.model.seeding import Mistake, assert_found, put
from tests.model.trails import Left, Trail, Violation, better

Walk = Trail[World]


def explore(case: Case, shell: Shell) -> Walk:
    """Breadth first over every state; then from each of them an end must be in reach without any more faults."""
    walk, steps = Walk(changes=lambda *_: ""), Steps(case, shell)
    most = case.faults, case.moves
    queue: deque[tuple[int, Left]] = deque([(walk.enter(beginning(case), (0, "", 0)), most)])
    while queue and walk.violation is None:
        number, left = queue.popleft()
        for step in steps.of(walk.worlds[number]):
            then = left[0] - step.faults, left[1] - step.moves
            if min(then) < 0 or (step.world == walk.worlds[number] and not step.wrong):
                continue
            walk.transitions += 1
            if step.wrong:
                walk.violation = Violation(step.wrong, [*walk.story(number), step.words])
                break
            target = walk.numbers.get(step.world)
            if target is None:
                target = walk.enter(step.world, (number, step.words, walk.came[number][2] + 1))
            if then == left and target not in walk.fair[number]:
                walk.fair[number].append(target)
            if better(walk.left[target], then):
                queue.append((target, then))
    return walk if walk.violation else _ends_in_reach(walk)


def _ends_in_reach(walk: Walk) -> Walk:
    back: list[list[int]] = [[] for _ in walk.worlds]
    for number, targets in enumerate(walk.fair):
        for target in targets:
            back[target].append(number)
    found = {number for number, world in enumerate(walk.worlds) if final(world.status)}
    queue = deque(found)
    while queue:
        for number in back[queue.popleft()]:
            if number not in found:
                found.add(number)
                queue.append(number)
    stuck = [number for number in range(len(walk.worlds)) if number not in found]
    if stuck:
        walk.violation = Violation(model.STUCK, walk.story(stuck[0]))
    return walk


@pytest.fixture
def shell() -> Iterator[Shell]:
    """A shell of its own, as a test may put a mistake into the code."""
    log = logging.getLogger("rollback_operator")
    level = log.level
    log.setLevel(logging.CRITICAL)
    it = Shell()
    yield it
    it.loop.close()
    log.setLevel(level)


WALKED = {
    "nothing goes wrong": Case((0, 1)),
    "two in a wave": Case((0, 0)),
    "a fault": Case((0, 1), faults=1),
    "people abort": Case((0, 1), moves=1),
    "people abort, and a fault": Case((0,), faults=1, moves=1),
    "people delete requests": Case((0, 1), moves=1, deletes=True),
    "two operators": Case((0,), operators=2),
    "somebody has the name": Case((0, 1), taken=True),
    "something else owns the later target": Case((0, 1), operators=2, faults=1, moves=1, hindered=1),
}
DEEP = {
    "three targets": Case((0, 0, 1)),
    "two faults, and people abort": Case((0,), faults=2, moves=1),
    "a fault, people abort, and two waves": Case((0, 1), faults=1, moves=1),
    "two operators, and two waves": Case((0, 1), operators=2),
    "two operators, a fault, and people abort": Case((0,), operators=2, faults=1, moves=1),
    "somebody has the name, and a fault": Case((0, 1), taken=True, faults=1),
}
CASES = [
    *(pytest.param(case, id=name) for name, case in WALKED.items()),
    *(pytest.param(case, id=name, marks=[pytest.mark.deep, pytest.mark.timeout(3600)]) for name, case in DEEP.items()),
]


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("case", CASES)
def test_a_group_goes_wave_after_wave_and_ends(case: Case, shell: Shell) -> None:
    walk = explore(case, shell)

    assert walk.violation is None, f"\n{walk.violation}"
    assert walk.transitions > len(walk.worlds) > 10


# What it is for: mistakes are found.


def _always(value: object) -> Callable[..., object]:
    return lambda *_, **__: value


_real_round = RequestWorker._one_round_of_group


async def _made_first(self: Any, body: Any, request: Any) -> Any:
    """Makes the requests, and then writes that they are made."""
    decision = await self._groups.decide(request)
    noted = replace(request, status=decision.status)
    await self._groups.act(noted, decision)
    return await _real_round(self, body, request)


def _all_at_once(_: Any, them: Any) -> Any:
    return Wave(0, tuple(them)) if any(one.phase.value != "Succeeded" for one in them) else Wave(-1, ())


class Found(NamedTuple):
    mistake: Mistake
    case: Case
    wrong: str


FOUND = {
    "waves are not waited for": Found(put(waves, "_wave", _all_at_once), Case((0, 1)), model.EARLY),
    "requests are made before they are noted": Found(
        put(RequestWorker, "_one_round_of_group", _made_first), Case((0, 1)), model.NOT_NOTED
    ),
    "what was sent is not waited for": Found(
        put(entries, "SETTLE", timedelta()), Case((0,), faults=1, moves=1), model.AFTER_THE_END
    ),
    "what was written long ago is sent": Found(
        put(groups, "too_late_to_send", _always(value=False)),
        Case((0,), operators=2, faults=1, moves=1),
        model.UNFINISHED,
    ),
    "what has gone is made again": Found(
        put(entries, "is_there", _always(value=False)), Case((0, 1), moves=1, deletes=True), model.UNFINISHED
    ),
    "whoever has the name is taken for one of the group": Found(
        put(groups, "_is_ours", _always(value=True)), Case((0, 1), taken=True), model.NOT_ALL
    ),
    "what hinders a later target is not looked for": Found(
        put(foresight, "_hindrance", _always(value=None)), Case((0, 1), hindered=1), model.HINDERED
    ),
    "effects are not noted": Found(put(waves, "_noting_effects", lambda it, *_: it), Case((0, 1)), model.DENIED),
}


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", FOUND)
def test_a_mistake_is_found(name: str, shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    found = FOUND[name]
    found.mistake(monkeypatch)

    walk = explore(found.case, shell)

    assert_found(walk.violation, found.wrong)


# A limit that is known. Should it fail because it does not happen any more, walk deletions with faults always.


@pytest.mark.timeout(3600)
def test_known_limit_a_request_that_is_deleted_before_it_was_seen_is_made_again(shell: Shell) -> None:
    walk = explore(Case((0,), faults=1, moves=1, deletes=True), shell)

    assert walk.violation is not None
    assert walk.violation.wrong == model.TWICE, str(walk.violation)
    assert any("is killed" in line or "Unavailable" in line for line in walk.violation.story), str(walk.violation)
