"""The walk: breadth first over every state that can be reached, until nothing is new or something is wrong."""

from __future__ import annotations

import time
from array import array
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.model import invariants, statuses
from tests.model.shell import Shell
from tests.model.steps import Steps
from tests.model.trails import Left, Trail, Violation, better
from tests.model.world import Case, World, beginning, forget_what_cannot_matter, without_old_readings


@dataclass(kw_only=True)
class Walk(Trail[World]):
    """What a walk found."""

    case: Case
    shell: Shell
    ends: dict[int, bool] = field(default_factory=dict)
    """Whether a state is one in which nothing is left to be done."""


def explore(case: Case, shell: Shell) -> Walk:
    """Walk the whole case; stops at the first violation, which is one of the nearest."""
    walk, begun = Walk(case=case, shell=shell, changes=_changes), time.process_time()
    steps = Steps(case, shell)
    queue: deque[tuple[int, Left]] = deque([(walk.enter(beginning(case), (0, "", 0)), (case.faults, case.moves))])
    walk.left[0].append((case.faults, case.moves))
    while queue and walk.violation is None:
        number, left = queue.popleft()
        if left not in walk.left[number]:
            continue  # since then it was reached with more left
        for world, words, then, wrong in _next(walk, steps, number, left):
            walk.transitions += 1
            walk.words.add(words)
            if wrong is not None:
                walk.violation = Violation(wrong, [*walk.story(number), words + _changes(walk.worlds[number], world)])
                break
            target = walk.numbers.get(world)
            if target is None:
                target = walk.enter(world, (number, words, walk.came[number][2] + 1))
            if better(walk.left[target], then):
                queue.append((target, then))
    if walk.violation is None:
        _check_endings(walk)
    walk.seconds = time.process_time() - begun
    return walk


def _next(walk: Walk, steps: Steps, number: int, left: Left) -> Iterator[tuple[World, str, Left, str | None]]:
    """Steps out of a state that are paid for; those of a fault-free world are kept for the endings."""
    world, first, fair = walk.worlds[number], not walk.fair[number], set()
    steps.faults, steps.moves = left
    for step in steps.of(world):
        then = forget_what_cannot_matter(walk.case, step.world)
        if then == world and step.wrong is None:
            continue
        faults, moves = left[0] - step.faults, left[1] - step.moves
        if faults < 0 or moves < 0:
            continue
        wrong = step.wrong or _state_wrong(walk.case, then)
        if not faults:
            then = without_old_readings(then)
        yield then, step.words, (faults, moves), wrong
        if step.fair:
            fair.add(walk.numbers[then])
    if first:
        walk.fair[number] = array("i", sorted(fair))
        walk.ends[number] = steps.over(world)


def _state_wrong(case: Case, world: World) -> str | None:
    if case.operators == 1 and case.faults == 0 and len(world.asking) > 1:
        return invariants.of_one_process(world)
    return None


def _check_endings(walk: Walk) -> None:
    """From every state an ending is reached if nothing more goes wrong, whatever happens first.

    Fault-free steps that change something never lead back, and lead on from every state but an ending.
    """
    waiting = [0] * len(walk.worlds)
    for targets in walk.fair:
        for target in targets:
            waiting[target] += 1
    ready = [number for number, count in enumerate(waiting) if not count]
    for number in ready:
        for target in walk.fair[number]:
            waiting[target] -= 1
            if not waiting[target]:
                ready.append(target)
    for number, targets in enumerate(walk.fair):
        if not targets and not walk.ends[number]:
            walk.violation = Violation(invariants.STUCK, walk.story(number))
            return
        if waiting[number]:
            walk.violation = Violation(invariants.CIRCLES, walk.story(number))
            return


def _changes(before: World, after: World) -> str:
    """What a step changed for all to see."""
    said = [
        f"request {one.body.who + 1} is {'/'.join(map(str, invariants.said(one.body.status)))}, "
        f"Applied={invariants.applied(statuses.parsed(one.body.status))}"
        for was, one in zip(before.asking, after.asking, strict=True)
        if one.body.status not in (was.body.status, statuses.older(was.body.status))
    ]
    if after.target != before.target:
        said.append(str(after.target or "there is no target"))
    return f" -> {'; '.join(said)}" if said else ""
