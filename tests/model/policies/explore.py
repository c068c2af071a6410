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
from tests.model.trails import Left, Trail, Violation, better

LONG = 9
"""Ticks after which everything has come to rest: longer than the breaker's window and all pauses together."""
ROUNDS = 60


@dataclass(kw_only=True)
class Walk(Trail[World]):
    """What a walk found."""

    case: Case
    shell: Shell
    endings: int = 0
    ended: dict[tuple[World, str, int], tuple[str, list[str]] | None] = field(default_factory=dict)


def explore(case: Case, shell: Shell, *, endings: bool = True) -> Walk:
    """Walk the whole case; stops at the first violation, which is one of the nearest."""
    walk, begun = Walk(case=case, shell=shell, changes=_changes), time.process_time()
    steps = Steps(case, shell)
    most = case.faults, case.moves, case.ticks
    queue: deque[tuple[int, Left]] = deque([(walk.enter(beginning(case), (0, "", 0)), most)])
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
                target = walk.enter(world, (number, step.words, walk.came[number][2] + 1))
                if endings and _check_endings(walk, target):
                    break
            if better(walk.left[target], then):
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
        if wrong is None and answer == "H" and tick and _kept(at_rest):
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
    """Whether a request still waits for people although nothing is wrong any more."""
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
