"""Somebody who visits the shop all the time, and remembers what it answered when."""

from __future__ import annotations

import threading
import time
import urllib.request
from dataclasses import dataclass
from typing import Self

PAUSE = 0.2
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def visit(url: str) -> str | None:
    """The page at `url`; None if the shop does not answer with one."""
    try:
        with _OPENER.open(url, timeout=1) as answer:
            return str(answer.read().decode()).strip()
    except (OSError, ValueError):
        return None


@dataclass(frozen=True)
class Change:
    """From that moment (of `time.monotonic`) on the shop answered so."""

    since: float
    page: str | None


class Visitor:
    """Visits five times a second, in a thread of its own, until the block ends."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._visit, daemon=True)
        self.changes: list[Change] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def last(self) -> str | None:
        """What the shop answered last."""
        return self.changes[-1].page if self.changes else None

    def reopened(self, after: float) -> float | None:
        """The first moment after `after` from which on the shop has answered without a break."""
        if self.last() is None:
            return None
        closed = [number for number, change in enumerate(self.changes) if change.page is None]
        return max(after, self.changes[closed[-1] + 1].since) if closed else after

    def closed_for(self) -> float:
        """Seconds in which the shop did not answer, between its first answer and its last."""
        opened = next((change.since for change in self.changes if change.page is not None), 0.0)
        pairs = zip(self.changes, self.changes[1:], strict=False)
        return sum(after.since - before.since for before, after in pairs if _closed(before, opened))

    def _visit(self) -> None:
        while not self._end.wait(PAUSE):
            page = visit(self._url)
            if not self.changes or self.changes[-1].page != page:
                self.changes.append(Change(time.monotonic(), page))


def _closed(change: Change, opened: float) -> bool:
    return change.page is None and change.since > opened
