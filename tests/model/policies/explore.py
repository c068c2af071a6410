"""The walk: breadth first over every state that can be reached, until nothing is new or something is wrong."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.model.policies import invariants
from tests.model.policies.shell import Shell
from tests.model.policies.steps import Step, Steps
from tests.model.policies.world import Case, World, a_tick_later, beginning

Left = tuple[int, int, int]
"""Faults, moves and ticks that may still come."""
LONG = 9
"""Ticks after which everything has come to rest: longer than the breaker's window and all pauses together."""
ROUNDS = 60


@dataclass
class Violation:
    """An invariant that does not hold, and the shortest way there."""

    wrong: str
    story: list[str]

    def __str__(self) -> str:
        return "\n".join([self.wrong, *(f"  {number:2}. {line}" for number, line in enumerate(self.story, 1))])


@dataclass
class Walk:
    """What a walk found. A state counts once, however much may still happen in it."""

    case: Case
    shell: Shell
    worlds: list[World] = field(default_factory=list)
    numbers: dict[World, int] = field(default_factory=dict)
    left: list[list[Left]] = field(default_factory=list)
    came: list[tuple[int, str, int]] = field(default_factory=list)
    """For each state: the one before, the step's words, and how many steps it takes."""
    transitions: int = 0
    words: set[str] = field(default_factory=set)
    violation: Violation | None = None
    seconds: float = 0.0
    """Of processor time."""
    endings: int = 0
    ended: dict[tuple[World, str, int], tuple[str, list[str]] | None] = field(default_factory=dict)

    @property
    def longest(self) -> int:
        """Steps to the farthest state."""
        return max(steps for *_, steps in self.came)

    def story(self, number: int) -> list[str]:
        """How a state was come to, a line a step."""
        lines: list[str] = []
        while number:
            before, words, _ = self.came[number]
            lines.append(words + _changes(self.worlds[before], self.worlds[number]))
            number = before
        return lines[::-1]


def explore(case: Case, shell: Shell, *, endings: bool = True) -> Walk:
    """Walk the whole case; stops at the first violation, which is one of the nearest."""
    walk, begun = Walk(case, shell), time.process_time()
    steps = Steps(case, shell)
    most = case.faults, case.moves, case.ticks
    queue: deque[tuple[int, Left]] = deque([(_enter(walk, beginning(case), (0, "", 0)), most)])
    walk.left[0].append(most)
    while queue and walk.violation is None:
        number, left = queue.popleft()
        if left not in walk.left[number]:
            continue  # since then it was reached with more left
        for step, world, then in _next(walk, steps, number, left):
            walk.transitions += 1
            walk.words.add(step.words)
            if step.wrong is not None:
                changes = _changes(walk.worlds[number], world)
                walk.violation = Violation(step.wrong, [*walk.story(number), step.words + changes])
                break
            target = walk.numbers.get(world)
            if target is None:
                target = _enter(walk, world, (number, step.words, walk.came[number][2] + 1))
                if endings and _check_endings(walk, target):
                    break
            if _better(walk.left[target], then):
                queue.append((target, then))
    walk.seconds = time.process_time() - begun
    return walk


def _next(walk: Walk, steps: Steps, number: int, left: Left) -> Iterator[tuple[Step, World, Left]]:
    """Steps out of a state that are paid for."""
    world = walk.worlds[number]
    steps.faults, steps.moves, steps.ticks = left
    for step in steps.of(world):
        faults, moves, ticks = left[0] - step.faults, left[1] - step.moves, left[2] - step.ticks
        then = step.world if faults else step.world._replace(before=None)
        if faults >= 0 and (then != world or step.wrong is not None):
            yield step, then, (faults, moves, ticks)


def _enter(walk: Walk, world: World, came: tuple[int, str, int]) -> int:
    number = walk.numbers[world] = len(walk.worlds)
    walk.worlds.append(world)
    walk.left.append([])
    walk.came.append(came)
    return number


def _better(known: list[Left], left: Left) -> bool:
    """Note what is left in a state, unless it was reached with as much already."""
    if any(all(mine >= its for mine, its in zip(one, left, strict=True)) for one in known):
        return False
    known[:] = [one for one in known if not all(its >= mine for mine, its in zip(one, left, strict=True))] + [left]
    return True


# What becomes of a state if nothing more goes wrong, and the signal says the same for ever.


def _check_endings(walk: Walk, number: int) -> bool:
    world = walk.worlds[number]
    if any(one.call is not None for one in world.processes):
        return False  # the states that its answers lead to are checked
    for answer in ("B", "H"):
        wrong = ending(walk, world, answer)
        if wrong is not None:
            walk.violation = Violation(wrong[0], [*walk.story(number), *wrong[1]])
            return True
    return False


def ending(walk: Walk, world: World, answer: str) -> tuple[str, list[str]] | None:
    """What is wrong with how it ends when everybody answers, with the rest of the story."""
    steps, lines = Steps(walk.case, walk.shell), [f"from now on the answer is {answer}, and everybody answers"]
    world = world._replace(before=None)
    passed: list[World] = []
    for tick in range(LONG + 1):
        if (world, answer, tick) in walk.ended:
            break
        passed.append(world)
        at_rest, writes, wrong = _until_rest(steps, world, lines)
        if wrong is None and tick == LONG:
            wrong = invariants.RESTLESS if writes else invariants.of_rest(walk.case, at_rest) if answer == "B" else None
        if (
            wrong is None
            and answer == "H"
            and tick
            and at_rest.policy.mode != "Suspend"
            and any(it.waits and not it.abort for it in at_rest.requests)
        ):
            wrong = invariants.KEPT
        if wrong is not None:
            return wrong, lines
        world = a_tick_later(at_rest, answer)
        lines.append(f"a minute passes; the answer is {answer}")
    for tick, one in enumerate(passed):
        walk.ended[one, answer, tick] = None
    walk.endings += 1
    return None


def _kept(world: World) -> bool:
    return world.policy.mode != "Suspend" and any(it.waits and not it.abort for it in world.requests)


def _until_rest(steps: Steps, world: World, lines: list[str]) -> tuple[World, int, str | None]:
    """The world when nobody has anything left to do in this tick, and how many writes that took."""
    writes = 0
    for _ in range(ROUNDS):
        step = next((one for one in _fair(steps, world) if one.world != world or one.wrong), None)
        if step is None:
            return world, writes, None
        lines.append(step.words + _changes(world, step.world))
        writes += step.words.count("; goes on with: ")
        if step.wrong is not None:
            return world, writes, step.wrong
        world = step.world._replace(before=None)
    return world, writes, invariants.FOREVER


def _fair(steps: Steps, world: World) -> Iterator[Step]:
    for one in world.flying:
        yield steps._arrives(world, one)
    for number, process in enumerate(world.processes):
        if process.call is not None:
            yield next(steps.answered(world, number, process.call))
    for one in world.requests:
        if not one.ended:
            yield from list(steps.carried_out(world, one))[:1]
    for number, process in enumerate(world.processes):
        if process.call is None:
            yield next(steps.looked(world, number))


def _changes(before: World, after: World) -> str:
    """What a step changed for all to see."""
    if after.target == before.target or after.target is None:
        return ""
    it = after.target
    return f" -> {it.uid} shows {it.letter} as revision {it.number}" if it[:3] != (before.target or ())[:3] else ""
