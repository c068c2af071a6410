"""Just enough of PromQL: an instant value with staleness, `rate` and `increase` with counter resets.

As Prometheus 3 computes them (promql/functions.go, extrapolatedRate): the window leaves out its left border, a failed
scrape ends a series until the next good one, and an instant value is at most five minutes old.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from itertools import pairwise

LOOKBACK = 300.0
"""The greatest age of an instant value, in seconds."""
_NEAR = 1.1
"""A border of the window this many scrape intervals away is reached by extrapolation; one further away is not."""


class Series:
    """What a server stored of one series. Times are in seconds; None marks where it went stale."""

    def __init__(self, points: Iterable[tuple[float, float | None]]) -> None:
        self._points = sorted(points, key=lambda point: point[0])
        self._times = [at for at, _ in self._points]

    def instant(self, at: float) -> float | None:
        """The value at a moment; None without one."""
        newest = bisect_right(self._times, at) - 1
        if newest < 0 or at - self._times[newest] >= LOOKBACK:
            return None
        return self._points[newest][1]

    def increase(self, at: float, window: float) -> float | None:
        """By how much a counter grew in the `window` seconds before `at`; None with fewer than two values."""
        inside = self._inside(at, window)
        if len(inside) < 2:  # noqa: PLR2004  # a growth is between two
            return None
        (first_at, first), (last_at, _) = inside[0], inside[-1]
        grown = sum(_step(before, after) for (_, before), (_, after) in pairwise(inside))
        sampled = last_at - first_at
        spacing = sampled / (len(inside) - 1)
        ahead, behind = first_at - (at - window), at - last_at
        ahead = ahead if ahead < _NEAR * spacing else spacing / 2
        behind = behind if behind < _NEAR * spacing else spacing / 2
        if grown > 0:
            ahead = min(ahead, sampled * first / grown)  # a counter was never below zero
        return grown * (sampled + ahead + behind) / sampled

    def rate(self, at: float, window: float) -> float | None:
        """`increase`, a second."""
        grown = self.increase(at, window)
        return None if grown is None else grown / window

    def _inside(self, at: float, window: float) -> list[tuple[float, float]]:
        first, last = bisect_right(self._times, at - window), bisect_right(self._times, at)
        return [(when, value) for when, value in self._points[first:last] if value is not None]


def _step(before: float, after: float) -> float:
    """What was counted between two scrapes; less than before means that the counter began anew at zero."""
    return after if after < before else after - before


def ratio(part: float | None, whole: float | None) -> float | None:
    """`part / whole` of two vectors of one element: nothing where either is missing, NaN for nothing of nothing."""
    if part is None or whole is None:
        return None
    if whole == 0:
        return float("nan") if part == 0 else float("inf")
    return part / whole
