"""Argo Rollouts after 1.10.0-rc1 (9f8d111d): failures are counted for good, errors in a row.

A background analysis of a canary. Lines are of github.com/argoproj/argo-rollouts at
9f8d111d8f8e3e88b6d7f8bbdf62fd3cd863ef9d.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from math import isnan
from typing import ClassVar, Self

from benchmarks.decisions.evaluator import Ask
from benchmarks.decisions.trace import Answer, Terms

RETRY = 10.0  # analysis/analysis.go:30, :234-235, :736-737: after an error, whatever the interval is


class Phase(Enum):
    """What one measurement is."""

    SUCCESSFUL = 1
    FAILED = 2
    ERROR = 3


@dataclass(frozen=True)
class ArgoRollouts:
    """A metric of an AnalysisTemplate: `successCondition: result[0] <= 0.05`, guarded or not."""

    title: ClassVar[str] = "Argo Rollouts"

    interval: float
    lasts: float
    """How long the rollout takes, and with it the analysis: rollout/analysis.go:77-83 ends it when it is promoted."""
    failure_limit: int = 0  # analysis/analysis.go:662-665
    consecutive_error_limit: int = 4  # utils/defaults/defaults.go:37, :262-266
    forgiving: bool = False
    """`len(result) == 0 || isNaN(result[0]) || ...`, from docs/features/analysis.md:1274 and :1385."""

    @classmethod
    def by_default(cls, terms: Terms, longest: float) -> Self:
        """failureLimit 0, consecutiveErrorLimit 4; neither interval nor duration has a default: those of our rule."""
        return cls(terms.interval, longest if terms.watch_all else terms.within)

    @classmethod
    def adapted(cls, terms: Terms, longest: float) -> Self:
        """One more failure than failureLimit is as many bad answers as our rule needs; errors may last as long."""
        lasts = longest if terms.watch_all else terms.within
        return cls(terms.interval, lasts, terms.checks - 1, int(terms.need // RETRY), forgiving=True)

    def analyse(self, ask: Ask, terms: Terms, begin: float, end: float) -> float | None:
        """Measurements from the release on."""
        failed, errors, at = 0, 0, begin
        while at < min(end, begin + self.lasts):
            phase = self.measure(ask(at), terms)
            if phase is Phase.ERROR:
                errors += 1  # analysis/analysis.go:401-404
            else:
                errors = 0  # analysis/analysis.go:386-400
            failed += phase is Phase.FAILED  # analysis/analysis.go:391-392; never less again
            if failed > self.failure_limit:  # analysis/analysis.go:667-670
                return at  # rollout/analysis.go:379-384: Failed aborts
            if errors > self.consecutive_error_limit:  # analysis/analysis.go:681-685
                return at  # rollout/analysis.go:379-384: and so does Error
            at += RETRY if phase is Phase.ERROR else self.interval  # analysis/analysis.go:233-243
        return None

    def measure(self, answer: Answer, terms: Terms) -> Phase:
        """One measurement."""
        if answer.error:  # metricproviders/prometheus/prometheus.go:94-97
            return Phase.ERROR
        if answer.value is None:
            # utils/evaluate/evaluate.go:24-27: result[0] of nothing cannot be evaluated
            return Phase.SUCCESSFUL if self.forgiving else Phase.ERROR
        if isnan(answer.value):
            # utils/evaluate/evaluate.go:40-42, docs/features/analysis.md:1311-1329: NaN compares as false
            return Phase.SUCCESSFUL if self.forgiving else Phase.FAILED
        return Phase.FAILED if terms.threshold.breached_by(answer.value) else Phase.SUCCESSFUL  # evaluate.go:48-57
