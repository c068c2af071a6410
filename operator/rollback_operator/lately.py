"""What happened a moment ago, and need not be done again for a while."""

from __future__ import annotations

import time
from collections.abc import Hashable


class Lately:
    """Things that were noted within the last so many seconds. Who forgets them does more, and nothing wrong."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._until: dict[Hashable, float] = {}

    def has(self, what: Hashable) -> bool:
        """Whether it was noted lately."""
        return self._until.get(what, 0.0) > time.monotonic()

    def note(self, what: Hashable) -> None:
        """It happened now."""
        now = time.monotonic()
        self._until = {one: until for one, until in self._until.items() if until > now} | {what: now + self._seconds}
