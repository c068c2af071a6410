"""Rounds of a real shell, replayed: each distinct one once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from unittest import mock

from rollback_operator.requests import acting, reading, worker
from rollback_operator.targets import base

Start = TypeVar("Start")
Answered = TypeVar("Answered")
Outcome = TypeVar("Outcome")


@contextlib.contextmanager
def by_the_clock(clock: object) -> Iterator[None]:
    """The shell of requests asks `clock` what time it is."""
    with contextlib.ExitStack() as stack:
        for module in (acting, reading, worker, base):
            stack.enter_context(mock.patch.object(module, "datetime", clock))
        yield


@dataclass
class Replays(Generic[Start, Answered, Outcome]):
    """What `replay` gives: a function of what a round read, and of how its writes were answered."""

    replay: Callable[[Start, tuple[Answered, ...]], Coroutine[Any, Any, Outcome]]
    runs: dict[tuple[Start, tuple[Answered, ...]], Outcome] = field(default_factory=dict)
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)

    def run(self, start: Start, answers: tuple[Answered, ...] = ()) -> Outcome:
        """What the worker does after it read `start` and its writes got `answers`."""
        key = (start, answers)
        if key not in self.runs:
            self.runs[key] = self.loop.run_until_complete(self.replay(start, answers))
        return self.runs[key]
