"""Flagger 1.44.0 (15bd6ad5): failed checks are counted, and never forgotten, until one analysis has passed.

Blue/green without a mesh: the only strategy that needs nothing but Kubernetes. Lines are of
github.com/fluxcd/flagger at 15bd6ad555e6c935da55f0ab95977be74c149bd6.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import ClassVar, Self

from benchmarks.decisions.evaluator import Ask
from benchmarks.decisions.trace import Answer, Terms

_AT_LEAST = 10.0  # pkg/apis/flagger/v1beta1/canary.go:647


@dataclass(frozen=True)
class Flagger:
    """`analysis` of a Canary, with one metric template whose thresholdRange.max is our threshold."""

    title: ClassVar[str] = "Flagger"

    interval: float = 60.0  # pkg/apis/flagger/v1beta1/canary.go:33, :639
    threshold: int = 1  # pkg/apis/flagger/v1beta1/canary.go:655-659
    iterations: int = 10  # pkg/controller/scheduler.go:475-478

    @classmethod
    def by_default(cls, terms: Terms, longest: float) -> Self:
        """interval 60s, threshold 1, iterations 10."""
        del terms, longest
        return cls()

    @classmethod
    def adapted(cls, terms: Terms, longest: float) -> Self:
        """As many failed checks as our rule needs bad answers; as many iterations as fit into the watch time."""
        lasts = longest if terms.watch_all else terms.within
        return cls(terms.interval, terms.checks, max(1, ceil(lasts / terms.interval)))

    def analyse(self, ask: Ask, terms: Terms, begin: float, end: float) -> float | None:
        """Ticks from the release on."""
        every = max(self.interval, _AT_LEAST)  # pkg/apis/flagger/v1beta1/canary.go:647-649
        failed, iteration = 0, 0
        at = begin + every  # pkg/controller/scheduler.go:902-930: the first tick only begins the analysis
        while (at := at + every) < end:
            if (
                failed >= self.threshold
            ):  # pkg/controller/scheduler.go:430-438: looked at before the check, so a tick late
                return at
            # pkg/controller/scheduler.go:449: nothing is checked before the first iteration
            if iteration > 0 and not self.passes(ask(at), terms):
                failed += 1  # pkg/controller/scheduler.go:461-465; reset only by a new revision, :341-346
                continue
            if iteration > self.iterations:  # pkg/controller/scheduler.go:735-748: promoted
                return None
            iteration += 1  # pkg/controller/scheduler.go:687-704, :712-732
        return None

    @staticmethod
    def passes(answer: Answer, terms: Terms) -> bool:
        """One check."""
        if answer.error:  # pkg/controller/scheduler_metrics.go:316-324
            return False
        if not answer.known:  # pkg/metrics/providers/prometheus.go:170-172, scheduler_metrics.go:318-324
            return False
        assert answer.value is not None
        return not terms.threshold.breached_by(answer.value)  # pkg/controller/scheduler_metrics.go:336-339
