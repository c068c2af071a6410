"""What happened a moment ago, and need not be done again for a while."""

from __future__ import annotations

import itertools
import time
from collections.abc import Hashable


class Lately:
    """Things that were noted within the last so many seconds. Who forgets them does more, and nothing wrong."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._until: dict[Hashable, float] = {}
        """By when they were noted, the earliest first."""

    def has(self, what: Hashable) -> bool:
        """Whether it was noted lately."""
        return self._until.get(what, 0.0) > time.monotonic()

    def note(self, what: Hashable) -> None:
        """It happened now."""
        now = time.monotonic()
        self._until.pop(what, None)
        self._until[what] = now + self._seconds
        for one in list(itertools.takewhile(lambda one: self._until[one] <= now, self._until)):
            del self._until[one]
