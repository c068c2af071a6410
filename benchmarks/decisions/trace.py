"""A trace: what a metrics server saw of some targets, what changed when, and what is expected of an evaluator.

Times are in seconds from the trace's begin. What is before it (a release long ago) has negative ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import isnan

from benchmarks.decisions.promql import Series, ratio
from rollback_operator.core.verdicts import Threshold

WINDOW = 60.0
"""The range of `rate` and `increase`, in seconds: the `[1m]` of the query."""


@dataclass(frozen=True)
class Terms:
    """What the trigger of a trace says: the rule that labels are relative to. Lengths are in seconds.

    `watch_all`: `watch: Always`; else only what begins within `within` after a change counts.
    """

    when: str = "> 5%"
    interval: float = 30.0
    for_: float = 300.0
    consecutive: int = 1
    at_least: float = 20.0
    within: float = 3600.0
    watch_all: bool = False

    @cached_property
    def threshold(self) -> Threshold:
        """`when`, understood."""
        return Threshold.parse(self.when)

    @property
    def need(self) -> float:
        """How long it has to be bad, at the least."""
        return max(self.for_, (self.consecutive - 1) * self.interval)

    @property
    def checks(self) -> int:
        """How many bad answers that are, an interval apart: what a rule that only counts has to count to."""
        return round(self.need / self.interval) + 1


@dataclass(frozen=True)
class Answer:
    """What the server says to a query: a value (perhaps NaN), nothing, or an error; and how much it rests on."""

    value: float | None = None
    samples: float | None = None
    error: str = ""

    @property
    def known(self) -> bool:
        """Whether there is a number."""
        return not self.error and self.value is not None and not isnan(self.value)


@dataclass(frozen=True)
class Scrape:
    """One scrape of one target: two counters, or a gauge; all None where a series is not there; or not `up`."""

    at: float
    requests: float | None = None
    errors: float | None = None
    value: float | None = None
    up: bool = True


@dataclass(frozen=True)
class Release:
    """When a target changed to a revision."""

    at: float
    revision: str


@dataclass(frozen=True)
class Expect:
    """What is right for a revision that is not simply well.

    `rollback` None: ambiguous. `onset`: when the fault begins; a rollback before it is a false one. `due`: the
    earliest moment at which the rule is met by what could be seen of the fault.
    """

    revision: str
    rollback: bool | None
    onset: float = 0.0
    due: float = 0.0


@dataclass(frozen=True)
class Span:
    """A time in which something is so: from `at`, and no more at `end`."""

    at: float
    end: float

    def __contains__(self, moment: float) -> bool:
        return self.at <= moment < self.end


@dataclass(frozen=True)
class Target:
    """One target: its releases, the oldest first, its scrapes, and what is expected where a revision is not well."""

    name: str
    releases: tuple[Release, ...]
    scrapes: tuple[Scrape, ...]
    expect: tuple[Expect, ...] = ()
    phase: float = 0.0
    """When it is asked first; then an interval apart."""

    @cached_property
    def _requests(self) -> Series:
        return Series((one.at, one.requests if one.up else None) for one in self.scrapes if _has(one, one.requests))

    @cached_property
    def _errors(self) -> Series:
        return Series((one.at, one.errors if one.up else None) for one in self.scrapes if _has(one, one.errors))

    @cached_property
    def _gauge(self) -> Series:
        return Series((one.at, one.value if one.up else None) for one in self.scrapes if _has(one, one.value))

    @cached_property
    def counts(self) -> bool:
        """Whether the query is about counters; else it is about a gauge."""
        return any(one.requests is not None for one in self.scrapes)

    def look(self, at: float) -> Answer:
        """What a server that is well answers."""
        if not self.counts:
            return Answer(self._gauge.instant(at))
        share = ratio(self._errors.rate(at, WINDOW), self._requests.rate(at, WINDOW))
        return Answer(share, self._requests.increase(at, WINDOW))

    def polls(self, interval: float, length: float) -> Iterator[float]:
        """When our operator asks."""
        count = int((length - self.phase) // interval) + 1
        return (self.phase + number * interval for number in range(count))

    def expected(self, revision: str) -> Expect:
        """What is right for a revision: nothing, unless it says otherwise."""
        return next((one for one in self.expect if one.revision == revision), Expect(revision, rollback=False))


def _has(scrape: Scrape, value: float | None) -> bool:
    """Whether a scrape says something of a series: its value, or that it went stale."""
    return value is not None or not scrape.up


@dataclass(frozen=True)
class Trace:
    """Targets that are watched together, for `length` seconds, by the same terms and through the same server."""

    kind: str
    seed: int
    terms: Terms
    length: float
    targets: tuple[Target, ...]
    down: tuple[Span, ...] = ()
    """When the metrics server does not answer."""
    note: str = ""
    """What happens, in words."""
    _answers: dict[tuple[str, float], Answer] = field(default_factory=dict, compare=False, repr=False)

    @cached_property
    def by_name(self) -> Mapping[str, Target]:
        """The targets."""
        return {one.name: one for one in self.targets}

    @property
    def ambiguous(self) -> bool:
        """Whether what is right for any of its revisions cannot be said."""
        return any(one.rollback is None for target in self.targets for one in target.expect)

    def ask(self, target: str, at: float) -> Answer:
        """What the server answers. Remembered, because every evaluator asks the same."""
        key = (target, at)
        if key not in self._answers:
            self._answers[key] = self._answer(target, at)
        return self._answers[key]

    def _answer(self, target: str, at: float) -> Answer:
        if any(at in span for span in self.down):
            return Answer(error="connection refused")
        return self.by_name[target].look(at)
