"""Answers that several askers share: asked for once, kept for a short time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@dataclass(slots=True)
class _Entry(Generic[V]):
    task: asyncio.Task[V]
    until: float


class Shared(Generic[K, V]):
    """Values by key. Whoever asks while a value is being made, or is still good, gets that one.

    Args:
        keep: for how many seconds, from the moment it is there, a value is good.
        clock: seconds; only differences matter.
    """

    def __init__(self, keep: Callable[[V], float], clock: Callable[[], float] = time.monotonic) -> None:
        self._keep = keep
        self._clock = clock
        self._entries: dict[K, _Entry[V]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    async def get(self, key: K, make: Callable[[], Awaitable[V]]) -> V:
        """The value of `key`, made now if there is none. An asker who gives up does not take it from the others.

        Raises:
            Exception: whatever `make` raised; it is not kept.
        """
        entry = self._entries.get(key)
        if entry is None or entry.until <= self._clock():
            self._forget_old()
            entry = self._entries[key] = _Entry(asyncio.ensure_future(self._made(key, make)), float("inf"))
        return await asyncio.shield(entry.task)

    async def close(self) -> None:
        """Stop making values."""
        tasks = [entry.task for entry in self._entries.values()]
        self._entries.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _made(self, key: K, make: Callable[[], Awaitable[V]]) -> V:
        try:
            value = await make()
        except BaseException:
            self._entries.pop(key, None)
            raise
        if key in self._entries:
            self._entries[key].until = self._clock() + self._keep(value)
        return value

    def _forget_old(self) -> None:
        """Drop what is no longer good, oldest first and only up to what is good: it costs next to nothing."""
        now = self._clock()
        while self._entries:
            key, entry = next(iter(self._entries.items()))
            if entry.until > now:
                return
            del self._entries[key]
