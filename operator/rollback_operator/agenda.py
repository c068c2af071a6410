"""What is to be looked at, and when: a queue in which each key stands once.

A key is never worked on twice at the same time. Woken while it is worked on, it is worked on once more afterwards.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Hashable

log = logging.getLogger(__name__)

FIRST_PAUSE = 0.2
LONGEST_PAUSE = 30.0
_DOUBLINGS = 10  # more than it takes to the longest pause; two to the power of all failures is no number any more

Worker = Callable[[Hashable], Awaitable[float | None]]
"""Works on a key; gives the seconds until it wants to look again, or None."""


class Agenda:
    """Keys with the time at which each is due.

    Of keys that are the same one's (`whose`) no more than `share` are worked on at once, so that nobody whose work is
    slow keeps the others waiting; what waits for its share is not late.
    """

    def __init__(
        self,
        worker: Worker,
        workers: int,
        on_error: Callable[[Hashable, BaseException], None],
        *,
        whose: Callable[[Hashable], Hashable] = lambda key: key,
        share: int | None = None,
    ) -> None:
        self._worker = worker
        self._limit = workers
        self._on_error = on_error
        self._due: dict[Hashable, float] = {}
        self._heap: list[tuple[float, int, Hashable]] = []
        self._order = itertools.count()
        self._running: dict[Hashable, asyncio.Task[None]] = {}
        self._woken: set[Hashable] = set()
        self._failures: dict[Hashable, int] = {}
        self._whose = whose
        self._share = share or workers
        self._taken: Counter[Hashable] = Counter()
        self._waiting: dict[Hashable, dict[Hashable, None]] = {}
        self._changed = asyncio.Event()

    def wake(self, key: Hashable, after: float = 0.0) -> None:
        """Have `key` looked at in `after` seconds, or earlier if it already is due earlier."""
        if after <= 0 and key in self._running:
            self._woken.add(key)
            return
        due = time.monotonic() + after
        if self._due.get(key, float("inf")) <= due:
            return
        self._due[key] = due
        heapq.heappush(self._heap, (due, next(self._order), key))
        self._changed.set()

    def forget(self, key: Hashable) -> None:
        """`key` is gone: do not look at it again."""
        self._due.pop(key, None)
        self._failures.pop(key, None)
        self._woken.discard(key)
        self._waiting.get(self._whose(key), {}).pop(key, None)
        self._call_next(self._whose(key))  # it may have been the one whose turn had come

    def knows(self, key: Hashable) -> bool:
        """Whether `key` is due some time, or is being worked on."""
        return key in self._due or key in self._running or key in self._waiting.get(self._whose(key), {})

    def lateness(self) -> float:
        """Seconds by which the most overdue key is late; what liveness is judged by."""
        overdue = [due for key, due in self._due.items() if key not in self._running]
        return max(0.0, time.monotonic() - min(overdue)) if overdue else 0.0

    async def run(self) -> None:
        """Work until cancelled."""
        try:
            while True:
                pause = self._start_what_is_due()
                self._changed.clear()
                with contextlib.suppress(TimeoutError):
                    # Not wait_for: it makes a task, and Kopf waits 5 s for tasks made after its start when it stops.
                    async with asyncio.timeout(pause):
                        await self._changed.wait()
        finally:
            for task in self._running.values():
                task.cancel()

    def _start_what_is_due(self) -> float | None:
        """Start workers; gives the seconds until there is more to start (None: when something changes)."""
        while self._heap and len(self._running) < self._limit:
            due, _, key = self._heap[0]
            pause = due - time.monotonic()
            if self._due.get(key) == due and pause > 0:
                return pause
            heapq.heappop(self._heap)
            if self._due.get(key) == due:
                del self._due[key]
                self._start(key)
        return None

    def _start(self, key: Hashable) -> None:
        whose = self._whose(key)
        if key in self._running:
            self._woken.add(key)
        elif self._taken[whose] >= self._share:
            self._waiting.setdefault(whose, {})[key] = None
        else:
            self._taken[whose] += 1
            self._running[key] = asyncio.create_task(self._work(key))

    async def _work(self, key: Hashable) -> None:
        again: float | None = None
        try:
            again = await self._worker(key)
            self._failures.pop(key, None)
        except asyncio.CancelledError:
            # Kopf ends every task begun after its own start when its watches end. They are started again; so is this.
            again = 0.0
            raise
        except Exception as error:  # noqa: BLE001 - one key's trouble must not stop the others
            self._on_error(key, error)
            failures = self._failures[key] = self._failures.get(key, 0) + 1
            again = min(FIRST_PAUSE * 2.0 ** min(failures - 1, _DOUBLINGS), LONGEST_PAUSE)
        finally:
            del self._running[key]
            self._give_back(self._whose(key))
            if key in self._woken:
                self._woken.discard(key)
                again = 0.0 if not self._failures.get(key) else again
            if again is not None:
                self.wake(key, again)
            self._changed.set()

    def _give_back(self, whose: Hashable) -> None:
        """One of somebody's has ended."""
        self._taken[whose] -= 1
        if not self._taken[whose]:
            del self._taken[whose]
        self._call_next(whose)

    def _call_next(self, whose: Hashable) -> None:
        """The one that has waited longest for its share may begin."""
        waiting = self._waiting.get(whose)
        if waiting:
            key = next(iter(waiting))
            del waiting[key]
            self.wake(key)
        if not waiting:
            self._waiting.pop(whose, None)
