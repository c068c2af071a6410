"""Verdicts: what one answer means, and what a row of them does.

Missing data is Unknown, never Breach: it neither counts nor resets.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from operator import eq, ge, gt, le, lt, ne

from rollback_operator.api.fields import parse_duration
from rollback_operator.api.trigger import WHEN, Trigger


class Verdict(StrEnum):
    """What an answer means."""

    HEALTHY = "Healthy"
    BREACH = "Breach"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class Sample:
    """One answer. `at` is in seconds since the epoch; `value` as a person reads it; `message` says why."""

    at: float
    verdict: Verdict
    value: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Threshold:
    """`when`, understood: a comparison that is true of a bad value."""

    sign: str
    bound: float
    unit: str

    @classmethod
    def parse(cls, text: str) -> Threshold:
        """`when` as it stands in a trigger.

        Raises:
            ValueError: it cannot be parsed; the message says what to write.
        """
        found = re.match(WHEN, text)
        if found is None:
            raise ValueError(f'{text!r} is no comparison such as "> 5%", "> 2s" or ">= 512Mi"')
        sign, number, unit = re.findall(r"(>=|<=|==|!=|>|<) *(-?[0-9.]+) *(\S*)", text)[0]
        return cls(sign, float(number) * _SCALE[unit], unit)

    def breached_by(self, value: float) -> bool:
        """Whether a value is bad. NaN is not for this to judge: it is no value."""
        return _COMPARE[self.sign](value, self.bound)

    def show(self, value: float) -> str:
        """A value in the threshold's unit, with four digits or as a whole number."""
        number = value / _SCALE[self.unit]
        whole = _FOUR_DIGITS <= abs(number) < _TOO_LONG  # `.4g` would write 12345 as 1.234e+04
        return f"{number:{'.0f' if whole else '.4g'}}{self.unit}"

    def __str__(self) -> str:
        return f"{self.sign} {self.show(self.bound)}"


_FOUR_DIGITS = 1e4
_TOO_LONG = 1e15
_COMPARE: Mapping[str, Callable[[float, float], bool]] = {">": gt, ">=": ge, "<": lt, "<=": le, "==": eq, "!=": ne}
_SCALE: Mapping[str, float] = {
    "": 1.0,
    "%": 0.01,
    "ms": 0.001,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
    "Ki": 2.0**10,
    "Mi": 2.0**20,
    "Gi": 2.0**30,
}


@dataclass(frozen=True, slots=True)
class Rule:
    """What it takes for a trigger to fire; all in seconds."""

    interval: float
    for_: float = 0.0
    consecutive: int = 1

    @classmethod
    def of(cls, trigger: Trigger) -> Rule:
        """The rule of a trigger: one bad answer is enough if it says neither `for` nor `consecutive`."""
        return cls(
            interval=parse_duration(trigger.interval).total_seconds(),
            for_=parse_duration(trigger.for_).total_seconds() if trigger.for_ else 0.0,
            consecutive=trigger.consecutive or 1,
        )

    @property
    def patience(self) -> float:
        """The longest gap of Unknown that does not reset."""
        return max(self.for_, self.consecutive * self.interval)


JITTER = 0.05
"""The part of an interval by which answers may come early or late."""


@dataclass(frozen=True, slots=True)
class Streak:
    """What a row of samples amounts to. Times are in seconds since the epoch.

    `verdict` is that of the newest sample. `breached`: the time spent in Breach so far, `count`: how many Breach
    samples, `began`: the first of them. `known`: the newest sample that was not Unknown. `healthy`: since when every
    answer that was known was Healthy; `good`: the time spent in it.
    """

    verdict: Verdict = Verdict.UNKNOWN
    since: float = 0.0
    value: str = ""
    message: str = ""
    at: float = 0.0
    breached: float = 0.0
    count: int = 0
    began: float | None = None
    known: float | None = None
    healthy: float | None = None
    good: float = 0.0

    def fires(self, rule: Rule) -> bool:
        """Whether it has been bad for long enough. Answers are some milliseconds early or late: that costs no round."""
        lenient = min(rule.interval * JITTER, 1.0)
        return self.count >= rule.consecutive and self.breached >= rule.for_ - lenient and self.count > 0


def fold(streak: Streak, sample: Sample, rule: Rule) -> Streak:
    """`streak` with one more sample.

    Time accumulates between adjacent Breach samples at most two intervals apart; Unknown stops the clock without
    resetting it, but a gap longer than the rule's patience resets; Healthy resets. A sample that is not newer than
    the last one changes nothing.
    """
    if sample.at <= streak.at:
        return streak
    fresh = not streak.at or streak.verdict is not sample.verdict
    seen = Streak(sample.verdict, sample.at if fresh else streak.since, sample.value, sample.message, sample.at)
    if sample.verdict is Verdict.UNKNOWN:
        return _unknown(streak, seen, rule)
    return (_well if sample.verdict is Verdict.HEALTHY else _bad)(streak, seen, rule)


def _unknown(before: Streak, seen: Streak, rule: Rule) -> Streak:
    """Everything is kept but what is seen now, unless nothing was known for too long."""
    if before.known is not None and seen.at - before.known > rule.patience:
        return seen
    kept = (before.breached, before.count, before.began, before.known, before.healthy, before.good)
    return Streak(seen.verdict, seen.since, seen.value, seen.message, seen.at, *kept)


def _well(before: Streak, seen: Streak, rule: Rule) -> Streak:
    if before.healthy is None:
        return replace(seen, known=seen.at, healthy=seen.at)
    good = before.good + (seen.at - before.at if _adjacent(before, seen, rule) else 0.0)
    return replace(seen, known=seen.at, healthy=before.healthy, good=good)


def _bad(before: Streak, seen: Streak, rule: Rule) -> Streak:
    lost = before.known is not None and seen.at - before.known > max(rule.patience, 2 * rule.interval)
    if lost or before.began is None:
        return replace(seen, known=seen.at, count=1, began=seen.at)
    breached = before.breached + (seen.at - before.at if _adjacent(before, seen, rule) else 0.0)
    return replace(seen, known=seen.at, count=before.count + 1, began=before.began, breached=breached)


def _adjacent(before: Streak, seen: Streak, rule: Rule) -> bool:
    """Whether nothing was missed between two answers of one kind."""
    return before.verdict is seen.verdict and seen.at - before.at <= 2 * rule.interval
