"""From what is injected to what is seen, and to what is right.

A `Plan` says what happens to one target. `label` reads only the plan and the terms: what is right is settled before
any query is made, let alone judged. Two worlds are then drawn from the same dice: one in which nothing is lost on the
way to the metrics server, from which the earliest right moment is read, and the one that evaluators see.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import exp, sqrt
from random import Random

from benchmarks.decisions.trace import WINDOW, Expect, Release, Scrape, Span, Target, Terms, Trace

SCRAPE = 15.0
"""Seconds between two scrapes."""
ELSEWHERE = ""
"""The cause of a fault that no release brought."""
_SURE = 5.0
"""In standard deviations of one answer: a fault nearer to the threshold than this is ambiguous."""
_ENOUGH = 2.0
"""With fewer samples than this many times `minSamples` it is ambiguous whether they are enough."""
_KNUTH = 30.0


@dataclass(frozen=True)
class Fault:
    """Something bad: from `at` to `end`, growing for `rise` seconds to `level` (a share of errors, or a gauge)."""

    at: float
    end: float
    level: float
    cause: str = ELSEWHERE
    """The revision that brought it."""
    rise: float = 0.0

    def level_at(self, moment: float, base: float) -> float:
        """The level at a moment; `base` is that of a well target."""
        if not self.at <= moment < self.end:
            return base
        grown = 1.0 if self.rise == 0 else min(1.0, (moment - self.at) / self.rise)
        return base + (self.level - base) * grown

    def crosses(self, bound: float, base: float) -> float:
        """When it passes `bound`; its end if it never does."""
        if self.level <= bound:
            return self.end
        return min(self.end, self.at + self.rise * (bound - base) / (self.level - base))


@dataclass(frozen=True)
class Plan:
    """What happens to one target. Without `traffic` (requests a second) the query is about a gauge."""

    releases: tuple[Release, ...]
    faults: tuple[Fault, ...] = ()
    traffic: Callable[[float], float] | None = None
    base: float = 0.0
    noise: float = 0.0
    """Standard deviation of a gauge, as a share of its value."""
    resets: tuple[float, ...] = ()
    """When its processes start anew, and their counters with them; each release does that too."""
    lost: tuple[Span, ...] = ()
    """When scrapes of it fail."""
    lossy: float = 0.0
    """How likely any scrape fails, besides."""
    silent: tuple[Span, ...] = ()
    """When nobody asks anything of it: no requests, and a gauge is NaN, as a quantile of nothing is."""
    absent: bool = False
    """The series of errors begins with the first error."""
    doubtful: frozenset[str] = frozenset()
    """Revisions of which nobody can say whether they are the cause."""


@dataclass(frozen=True)
class Scenario:
    """What happens in a trace, in which `length` seconds are watched and the metrics server is `down` at times."""

    terms: Terms
    length: float
    plans: Mapping[str, Plan]
    down: tuple[Span, ...] = ()
    note: str = ""
    """In words."""


# What is right.


def label(plan: Plan, terms: Terms, down: Sequence[Span]) -> list[Expect]:
    """What is right for each revision that has a fault, by the plan alone; `due` is not known yet.

    A fault that a release brought is to be rolled back if it is bad for longer than the terms ask, by a margin; it is
    not if it is bad for shorter, by the same margin; what lies between is ambiguous. So is a level that noise may
    carry across the threshold, too little traffic, and a fault of which too little was to be seen.
    """
    found: dict[str, list[Expect]] = {}
    for fault in plan.faults:
        for release in _blamed(fault, plan):
            verdict = _verdict(fault, release, plan, terms, down)
            found.setdefault(release.revision, []).append(
                Expect(release.revision, verdict, onset=max(fault.at, release.at))
            )
    merged = [_merge(one) for one in found.values()]
    return [*merged, *(Expect(one, None) for one in plan.doubtful if one not in found)]


def _blamed(fault: Fault, plan: Plan) -> list[Release]:
    """The release that brought a fault, and those after it that did not mend it."""
    by_name = {one.revision: one for one in plan.releases}
    if fault.cause not in by_name:
        return []
    return [one for one in plan.releases if by_name[fault.cause].at <= one.at < fault.end]


def _merge(found: list[Expect]) -> Expect:
    """One word on a revision with several faults: doubt wins, then the first to be rolled back for."""
    if any(one.rollback is None for one in found):
        return Expect(found[0].revision, None)
    return min(found, key=lambda one: (not one.rollback, one.onset))


def _verdict(fault: Fault, release: Release, plan: Plan, terms: Terms, down: Sequence[Span]) -> bool | None:
    if release.revision in plan.doubtful:
        return None
    bound, margin = terms.threshold.bound, WINDOW + 2 * terms.interval
    if fault.level <= bound:
        return False if _sure(fault, plan, terms, [fault.at]) else None
    begin = max(release.at, fault.crosses(bound, plan.base))
    until = min([fault.end, *(one.at for one in plan.releases if one.at > release.at)])
    if until - begin <= terms.need - margin:
        return False
    moments = [begin + (until - begin) * number / 50 for number in range(51)]
    if until - begin < terms.need + margin or not _sure(fault, plan, terms, moments):
        return None
    if not terms.watch_all and begin > release.at + terms.within - margin:
        return None if begin < release.at + terms.within + margin else False
    seen = _longest_without([*plan.lost, *plan.silent, *down], begin, until)
    return True if seen >= terms.need + margin else None


def _sure(fault: Fault, plan: Plan, terms: Terms, moments: Sequence[float]) -> bool:
    """Whether chance cannot carry the fault's full level across the threshold at these moments."""
    bound, level = terms.threshold.bound, fault.level
    if plan.traffic is None:
        return abs(level - bound) >= _SURE * plan.noise * level
    few = min(plan.traffic(moment) for moment in moments) * WINDOW
    spread = sqrt(max(level * (1 - level), 1e-6) / max(few, 1e-6))
    return few >= _ENOUGH * terms.at_least and abs(level - bound) >= _SURE * spread


def _longest_without(blind: Sequence[Span], begin: float, until: float) -> float:
    """The longest time between two spans of blindness, in seconds."""
    ends = sorted((max(begin, one.at), min(until, one.end)) for one in blind if one.end > begin and one.at < until)
    borders = [(begin, begin), *ends, (until, until)]
    return max(after[0] - before[1] for before, after in pairwise(borders))


def due(terms: Terms, plain: Target, seen: Trace, expect: Expect) -> float | None:
    """The earliest moment at which the terms are met by what is true and could be seen; None if they never are.

    What is true is read from the world in which nothing is lost, whether it could be seen from the other. The terms:
    time counts between two bad answers in a row; an answer that could not be had stops the clock; one that is well,
    or a longer time without any than the terms ask for, begins anew.
    """
    count, spent, known, before = 0, 0.0, None, None
    begin = max(expect.onset, next(one.at for one in plain.releases if one.revision == expect.revision))
    end = min((one.at for one in plain.releases if one.at > begin), default=seen.length)
    for at in plain.polls(terms.interval, seen.length):
        if not begin <= at < end or not enough(seen.ask(plain.name, at).known, seen.ask(plain.name, at).samples, terms):
            before = None
            continue
        value = plain.look(at).value
        bad = value is not None and terms.threshold.breached_by(value)
        if not bad or (known is not None and at - known > max(terms.for_, terms.consecutive * terms.interval)):
            count, spent, before = 0, 0.0, None
        known = at
        if bad:
            count, spent, before = count + 1, spent + (0.0 if before is None else at - before), at
        if count >= terms.consecutive and count > 0 and spent >= terms.for_:
            return at
    return None


def enough(known: bool, samples: float | None, terms: Terms) -> bool:  # noqa: FBT001  # both are parts of one answer
    """Whether there is something to judge, and enough that it rests on; gauges rest on nothing that is counted."""
    return known and (samples is None or samples >= terms.at_least)


# What is seen.


def draw(kind: str, seed: int, scenario: Scenario) -> Trace:
    """The trace of a scenario; `kind` and `seed` settle all that chance does.

    Raises:
        ValueError: a fault is to be rolled back, and yet nothing that could be seen of it meets the terms; or what
            is injected comes after the trace's end.
    """
    plans = scenario.plans.values()
    latest = max(one.at for plan in plans for row in (plan.faults, plan.releases) for one in row)
    if latest > scenario.length - scenario.terms.need:
        raise ValueError(f"{kind} {seed}: something comes too late to be seen in {scenario.length:.0f} s")

    def dice(*words: str) -> Random:
        return Random("/".join([kind, str(seed), *words]))  # noqa: S311  # no secret is drawn

    named, down = scenario.plans, scenario.down
    plain = {name: _plain(name, plan, scenario.length, dice(name)) for name, plan in named.items()}
    seen = tuple(_seen(one, named[one.name], down, dice(one.name, "lost")) for one in plain.values())
    trace = Trace(kind, seed, scenario.terms, scenario.length, seen, down, scenario.note)
    targets = tuple(_labelled(one, plain[one.name], named[one.name], trace) for one in seen)
    return replace(trace, targets=targets)


def _labelled(seen: Target, plain: Target, plan: Plan, trace: Trace) -> Target:
    found = []
    for expect in label(plan, trace.terms, trace.down):
        moment = due(trace.terms, plain, trace, expect) if expect.rollback else 0.0
        if moment is None:
            raise ValueError(
                f"{trace.kind} {trace.seed}: {expect.revision} of {seen.name} is bad, and never seen to be"
            )
        found.append(replace(expect, due=moment))
    return replace(seen, expect=tuple(one for one in found if one.rollback is not False))


def _plain(name: str, plan: Plan, length: float, dice: Random) -> Target:
    """The target as a server sees it that loses nothing."""
    phase = round(dice.uniform(0.0, SCRAPE), 3)  # a server stores milliseconds
    moments = [round(phase + number * SCRAPE, 3) for number in range(int((length - phase) // SCRAPE) + 1)]
    scrapes = _gauge(plan, moments, dice) if plan.traffic is None else _counters(plan, moments, dice)
    return Target(name, plan.releases, tuple(scrapes), phase=float(dice.randrange(15)))


def _gauge(plan: Plan, moments: list[float], dice: Random) -> list[Scrape]:
    def value(at: float) -> float:
        drawn = _level(plan, at) * dice.gauss(1.0, plan.noise)
        return float("nan") if any(at in one for one in plan.silent) else round(drawn, 6)

    return [Scrape(at, value=value(at)) for at in moments]


def _counters(plan: Plan, moments: list[float], dice: Random) -> list[Scrape]:
    """Requests and errors, counted from each start of the processes."""
    assert plan.traffic is not None
    starts = sorted([*plan.resets, *(one.at for one in plan.releases)])
    # What was counted before the trace began, so that it does not look like a start.
    requests, errors = 50_000, 0 if plan.absent else int(50_000 * plan.base) + 1
    scrapes = []
    for before, at in pairwise([moments[0] - SCRAPE, *moments]):
        if any(before < start <= at for start in starts):
            requests, errors = 0, 0
        middle = (before + at) / 2
        idle = any(middle in one for one in plan.silent)
        new = 0 if idle else _poisson(plan.traffic(middle) * SCRAPE, dice)
        requests += new
        errors += min(new, _poisson(new * _level(plan, middle), dice))
        scrapes.append(Scrape(at, float(requests), None if plan.absent and errors == 0 else float(errors)))
    return scrapes


def _level(plan: Plan, at: float) -> float:
    return max([plan.base, *(one.level_at(at, plan.base) for one in plan.faults)])


def _poisson(mean: float, dice: Random) -> int:
    """A count of what happens independently, `mean` on average."""
    if mean >= _KNUTH:
        return max(0, round(dice.gauss(mean, sqrt(mean))))
    limit, product, count = exp(-mean), dice.random(), 0
    while product > limit:
        product *= dice.random()
        count += 1
    return count


def _seen(plain: Target, plan: Plan, down: Sequence[Span], dice: Random) -> Target:
    """The target as the server saw it: nothing while it was down, and what scrapes failed."""
    scrapes = []
    for one in plain.scrapes:
        fails = dice.random() < plan.lossy or any(one.at in span for span in plan.lost)
        if not any(one.at in span for span in down):
            scrapes.append(Scrape(one.at, up=False) if fails else one)
    return replace(plain, scrapes=tuple(scrapes))
