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
from tests.model.world import Case, World, beginning, forget_what_cannot_matter, without_old_readings

Left = tuple[int, int]
"""Faults and moves that may still come."""


@dataclass
class Violation:
    """An invariant that does not hold, and the shortest way there."""

    wrong: str
    story: list[str]

    def __str__(self) -> str:
        return "\n".join([self.wrong, *(f"  {number:2}. {line}" for number, line in enumerate(self.story, 1))])


@dataclass
class Walk:
    """What a walk found. A state counts once, however much may still go wrong in it."""

    case: Case
    shell: Shell
    worlds: list[World] = field(default_factory=list)
    numbers: dict[World, int] = field(default_factory=dict)
    left: list[list[Left]] = field(default_factory=list)
    came: list[tuple[int, str, int]] = field(default_factory=list)
    """For each state: the one before, the step's words, and how many steps it takes."""
    transitions: int = 0
    words: set[str] = field(default_factory=set)
    """Every kind of step that was taken."""
    fair: list[array[int]] = field(default_factory=list)
    ends: list[bool] = field(default_factory=list)
    violation: Violation | None = None
    seconds: float = 0.0
    """Of processor time."""

    @property
    def longest(self) -> int:
        """Steps to the farthest state."""
        return max(steps for *_, steps in self.came)

    def story(self, number: int) -> list[str]:
        """How a state was come to, a line a step, with the statuses as they changed."""
        lines: list[str] = []
        while number:
            before, words, _ = self.came[number]
            lines.append(words + _changes(self.worlds[before], self.worlds[number]))
            number = before
        return lines[::-1]


def explore(case: Case, shell: Shell) -> Walk:
    """Walk the whole case; stops at the first violation, which is one of the nearest."""
    walk, begun = Walk(case, shell), time.process_time()
    steps = Steps(case, shell)
    queue: deque[tuple[int, Left]] = deque([(_enter(walk, beginning(case), (0, "", 0)), (case.faults, case.moves))])
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
                target = _enter(walk, world, (number, words, walk.came[number][2] + 1))
            if _better(walk.left[target], then):
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
        walk.fair[number] = array("l", sorted(fair))
        walk.ends[number] = steps.over(world)


def _state_wrong(case: Case, world: World) -> str | None:
    if case.operators == 1 and case.faults == 0 and len(world.asking) > 1:
        return invariants.of_one_process(world)
    return None


def _enter(walk: Walk, world: World, came: tuple[int, str, int]) -> int:
    number = walk.numbers[world] = len(walk.worlds)
    walk.worlds.append(world)
    walk.left.append([])
    walk.came.append(came)
    walk.fair.append(array("l"))
    walk.ends.append(False)
    return number


def _better(known: list[Left], left: Left) -> bool:
    """Note what is left in a state, unless it was reached with as much already."""
    if any(faults >= left[0] and moves >= left[1] for faults, moves in known):
        return False
    known[:] = [one for one in known if not (one[0] <= left[0] and one[1] <= left[1])] + [left]
    return True


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
