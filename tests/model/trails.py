"""What every walk keeps: the states that it came to, how, and what may still go wrong in each."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

World = TypeVar("World")
Left = tuple[int, ...]
"""How much of each kind (faults, moves, and so on) may still come."""


@dataclass
class Violation:
    """An invariant that does not hold, and the shortest way there."""

    wrong: str
    story: list[str]

    def __str__(self) -> str:
        return "\n".join([self.wrong, *(f"  {number:2}. {line}" for number, line in enumerate(self.story, 1))])


@dataclass(kw_only=True)
class Trail(Generic[World]):
    """What a walk found. A state counts once, however much may still happen in it.

    `changes`: what is new from one state to the next, for the story.
    """

    changes: Callable[[World, World], str]
    worlds: list[World] = field(default_factory=list)
    numbers: dict[World, int] = field(default_factory=dict)
    left: list[list[Left]] = field(default_factory=list)
    came: list[tuple[int, str, int]] = field(default_factory=list)
    """For each state: the one before, the step's words, and how many steps it takes."""
    fair: list[array[int]] = field(default_factory=list)
    """For each state: where it goes without a fault or a move, as far as the walk notes that."""
    transitions: int = 0
    words: set[str] = field(default_factory=set)
    """Every kind of step that was taken."""
    violation: Violation | None = None
    seconds: float = 0.0
    """Of processor time."""

    @property
    def longest(self) -> int:
        """Steps to the farthest state."""
        return max(steps for *_, steps in self.came)

    def enter(self, world: World, came: tuple[int, str, int]) -> int:
        """Number a state that is new."""
        number = self.numbers[world] = len(self.worlds)
        self.worlds.append(world)
        self.left.append([])
        self.fair.append(array("i"))
        self.came.append(came)
        return number

    def story(self, number: int) -> list[str]:
        """How a state was come to, a line a step, with what changed."""
        lines: list[str] = []
        while number:
            before, words, _ = self.came[number]
            lines.append(words + self.changes(self.worlds[before], self.worlds[number]))
            number = before
        return lines[::-1]


def better(known: list[Left], left: Left) -> bool:
    """Note what is left in a state, unless it was reached with as much already."""
    if any(all(mine >= its for mine, its in zip(one, left, strict=True)) for one in known):
        return False
    known[:] = [one for one in known if not all(its >= mine for mine, its in zip(one, left, strict=True))] + [left]
    return True
