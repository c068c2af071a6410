"""Many measured values as the few that a table has."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence


def spread(seconds: Sequence[float]) -> tuple[str, str]:
    """Median and 95th percentile, in milliseconds."""
    p50, p95 = quantiles(seconds)
    return f"{p50 * 1000:.1f}", f"{p95 * 1000:.1f}"


def p50_p95(seconds: Sequence[float]) -> str:
    """Median and 95th percentile, in seconds."""
    p50, p95 = quantiles(seconds)
    return f"{p50:.1f} / {p95:.1f}"


def quantiles(seconds: Sequence[float]) -> tuple[float, float]:
    """Median and 95th percentile."""
    return statistics.median(seconds), statistics.quantiles(seconds, n=20)[-1]


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> str:
    """How many times as long ours take, by the medians."""
    return f"{statistics.median(ours) / statistics.median(theirs):.2f}"


def phases(ended: Sequence[str]) -> str:
    """How many requests ended in each phase."""
    return ", ".join(f"{count} {phase}" for phase, count in Counter(ended).most_common())
