"""helmwave 0.44.4 (7b88f36a): streaks. The first of enough successes or enough failures in a row ends it.

A monitor with `action: rollback`. Lines are of github.com/helmwave/helmwave at
7b88f36ae00112f0877ce5bb6a5485402838932b.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import ClassVar, Self

from benchmarks.decisions.evaluator import Ask
from benchmarks.decisions.trace import Answer, Terms

_MOST = 255  # pkg/monitor/config.go:33-34: the thresholds are of eight bits
_DAY = 86400.0


@dataclass(frozen=True)
class Helmwave:
    """A prometheus monitor."""

    title: ClassVar[str] = "helmwave"

    interval: float = 60.0  # pkg/monitor/config.go:17
    success_threshold: int = 3  # pkg/monitor/config.go:18
    failure_threshold: int = 3  # pkg/monitor/config.go:19
    total_timeout: float = 300.0  # pkg/monitor/config.go:15
    if_empty: bool = False  # pkg/monitor/prometheus/config.go:51-60
    """success_mode if_empty with `... > 0.05`; else if_vector with `... <= 0.05`."""

    @classmethod
    def by_default(cls, terms: Terms, longest: float) -> Self:
        """interval 1m, thresholds 3 and 3, total_timeout 5m, success_mode if_vector."""
        del terms, longest
        return cls()

    @classmethod
    def adapted(cls, terms: Terms, longest: float) -> Self:
        """As many failures as our rule needs bad answers; successes for the watch time, as far as it can count."""
        lasts = longest if terms.watch_all else terms.within
        enough = min(_MOST, max(1, ceil(lasts / terms.interval)))
        return cls(terms.interval, enough, min(_MOST, terms.checks), _DAY, if_empty=True)

    def analyse(self, ask: Ask, terms: Terms, begin: float, end: float) -> float | None:
        """Iterations from the release on, the first after an interval (pkg/monitor/config.go:75)."""
        successes = failures = 0
        at = begin
        while successes < self.success_threshold and failures < self.failure_threshold:  # pkg/monitor/config.go:81
            at += self.interval
            if at - begin >= self.total_timeout:  # pkg/monitor/config.go:64, :103-104: an error, whatever the streak
                at = begin + self.total_timeout
                return at if at < end else None  # pkg/plan/up.go:122-124, :223-227
            if at >= end:
                return None
            if self.succeeds(ask(at), terms):
                successes, failures = successes + 1, 0  # pkg/monitor/config.go:89-91
            else:
                successes, failures = 0, failures + 1  # pkg/monitor/config.go:95-97
        return at if failures > 0 else None  # pkg/monitor/config.go:108-112

    def succeeds(self, answer: Answer, terms: Terms) -> bool:
        """One iteration."""
        if answer.error:  # pkg/monitor/prometheus/config.go:78-80
            return False
        if not answer.known:  # a comparison gives no element for nothing, nor for NaN
            return self.if_empty  # pkg/monitor/prometheus/config.go:88-102, :105-119
        assert answer.value is not None
        return not terms.threshold.breached_by(answer.value)
