"""The walk over what may become of a request about one kind of target."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass
from typing import TypeVar

from tests.model import invariants
from tests.model.kinds.shell import Shell
from tests.model.kinds.world import Case, Steps, World
from tests.model.trails import Left, Trail, Violation, better

T = TypeVar("T", bound=Hashable)


@dataclass(kw_only=True)
class Walk(Trail[World[T]]):
    """What a walk found."""

    case: Case
    kind: str


def explore(case: Case, shell: Shell[T]) -> Walk[T]:
    """Breadth first over every state; then from each of them an end must be in reach without any more faults."""
    begun, steps = time.process_time(), Steps(case, shell)
    walk: Walk[T] = Walk(case=case, kind=shell.scene.kind, changes=_changes)
    most = case.faults, case.moves
    queue: deque[tuple[int, Left]] = deque([(walk.enter(steps.beginning(), (0, "", 0)), most)])
    walk.left[0].append(most)
    while queue and walk.violation is None:
        number, left = queue.popleft()
        if left in walk.left[number]:  # else it was reached since with more left
            queue.extend(_next(walk, steps, number, left))
    if walk.violation is None:
        _check_endings(walk)
    walk.seconds = time.process_time() - begun
    return walk


def _next(walk: Walk[T], steps: Steps[T], number: int, left: Left) -> list[tuple[int, Left]]:
    """Where a state leads, as far as that is new."""
    found: list[tuple[int, Left]] = []
    world = walk.worlds[number]
    for step in steps.of(world, *left):
        then = left[0] - step.faults, left[1] - step.moves
        after = steps.tidied(step.world, then[0])
        if min(then) < 0 or (after == world and step.wrong is None):
            continue
        walk.transitions += 1
        walk.words.add(step.words)
        wrong = step.wrong or (steps.scene.left(after.target, after.asker) if after.over else None)
        if wrong is not None:
            walk.violation = Violation(wrong, [*walk.story(number), step.words + _changes(world, after)])
            return []
        target = walk.numbers.get(after)
        if target is None:
            target = walk.enter(after, (number, step.words, walk.came[number][2] + 1))
        if then == left:
            walk.fair[number].append(target)
        if better(walk.left[target], then):
            found.append((target, then))
    return found


def _check_endings(walk: Walk[T]) -> None:
    back: list[list[int]] = [[] for _ in walk.worlds]
    for number, targets in enumerate(walk.fair):
        for target in targets:
            back[target].append(number)
    found = {number for number, world in enumerate(walk.worlds) if world.over}
    queue = deque(found)
    while queue:
        for number in back[queue.popleft()]:
            if number not in found:
                found.add(number)
                queue.append(number)
    stuck = next((number for number in range(len(walk.worlds)) if number not in found), None)
    if stuck is not None:
        walk.violation = Violation(invariants.STUCK, walk.story(stuck))


def _changes(before: World[T], after: World[T]) -> str:
    """What a step changed for all to see."""
    said = []
    if after.body.status != before.body.status and after.processes != before.processes:
        said.append("/".join(map(str, invariants.said(after.body.status))))
    if str(after.target) != str(before.target):
        said.append(str(after.target))
    return f" -> {'; '.join(said)}" if said else ""
