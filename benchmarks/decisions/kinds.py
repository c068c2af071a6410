"""Kinds of traces: what is injected, drawn from seeds. Nothing here asks, judges or labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import pi, sin
from random import Random
from typing import Any

from benchmarks.decisions.trace import WINDOW, Release, Span, Terms, Trace
from benchmarks.decisions.world import ELSEWHERE, Fault, Plan, Scenario, draw

SEEDS = 20
"""Traces of each kind."""
LONG_AGO = -6 * 3600.0
MINUTE = 60.0
HOUR = 3600.0
FLEET = 30

ERRORS = (
    Terms(),
    Terms(interval=15.0, for_=180.0),
    Terms(for_=0.0, consecutive=11),
    Terms(consecutive=8),
)
"""Rules on a share of errors: `for`, a quicker one, `consecutive`, and both."""
LATENCY = Terms(when="> 800ms", at_least=0.0)
MEMORY = Terms(when="> 90%", interval=60.0, for_=600.0, at_least=0.0, watch_all=True)


@dataclass
class Dice:
    """What chance settles for one trace."""

    random: Random
    number: int
    """Which of its kind; the last of each ten is a border case where a kind has such."""

    @property
    def border(self) -> bool:
        """Whether this one is about where one can differ."""
        return self.number % 10 == 9  # noqa: PLR2004  # the last of ten

    def between(self, low: float, high: float) -> float:
        """Any number between."""
        return self.random.uniform(low, high)

    def every(self, count: int, which: int = 0) -> bool:
        """Whether this trace is one of each `count`."""
        return self.number % count == which

    def terms(self) -> Terms:
        """One of the rules on errors."""
        return ERRORS[self.number % len(ERRORS)]

    def traffic(self, low: float = 2.0, high: float = 80.0) -> Callable[[float], float]:
        """Requests a second, going slowly up and down."""
        mean, swing, period = self.between(low * 1.4, high), self.between(0.05, 0.3), self.between(1200, 5400)
        return lambda at: mean * (1 + swing * sin(2 * pi * at / period))

    def well(self) -> float:
        """The share of errors of a target that is well."""
        return self.between(0.0, 0.008)

    def bad(self) -> float:
        """The share of errors of one that is not."""
        return self.between(0.25, 1.0)

    def released(self) -> tuple[Release, ...]:
        """A release some minutes into the trace, after one of long ago."""
        return _two(round(self.between(10 * MINUTE, 20 * MINUTE)))


def _two(at: float) -> tuple[Release, ...]:
    return Release(LONG_AGO, "v1"), Release(float(at), "v2")


def _one(
    dice: Dice,
    terms: Terms,
    *faults: Fault,
    releases: tuple[Release, ...],
    note: str,
    down: tuple[Span, ...] = (),
    **more: Any,
) -> Scenario:
    """A target whose share of errors is asked, until a little more than the watch time after the last that happens."""
    plan = Plan(releases, faults, dice.traffic(), dice.well())
    begins = max([releases[-1].at, *(one.at for one in faults)])
    length = begins + terms.within + 10 * MINUTE
    return Scenario(terms, length, {"shop": replace(plan, **more)}, down, note)


def steady(dice: Dice) -> Scenario:
    """A healthy release; every third is asked for its latency."""
    releases = dice.released()
    if dice.every(3):
        plan = Plan(releases, base=dice.between(0.1, 0.45), noise=dice.between(0.02, 0.15))
        return Scenario(LATENCY, releases[-1].at + 70 * MINUTE, {"shop": plan}, note="latency, always well")
    return _one(dice, dice.terms(), releases=releases, note="errors, always well")


def spike(dice: Dice) -> Scenario:
    """Bad for shorter than the rule asks, up to three times."""
    terms, releases = dice.terms(), dice.released()
    longest = terms.need - WINDOW - 2 * terms.interval
    lengths = [dice.between(0.2, 1.0) * longest for _ in range(dice.random.randint(1, 3))]
    if dice.border:
        lengths = [terms.need + dice.between(-0.8, 0.8) * terms.interval]
    faults, at = [], releases[-1].at
    for length in lengths:
        at += dice.between(5 * MINUTE, 10 * MINUTE)
        faults.append(Fault(at, at + length, dice.bad(), "v2"))
        at += length
    return _one(dice, terms, *faults, releases=releases, note=f"bad for {', '.join(f'{one:.0f} s' for one in lengths)}")


def step(dice: Dice) -> Scenario:
    """Bad from some moment after a release on; every fifth time a second release does not mend it."""
    terms, releases = dice.terms(), dice.released()
    at = releases[-1].at + dice.random.choice([0.0, dice.between(0, 45 * MINUTE)])
    level = dice.bad()
    if dice.border:
        level = 0.05 * dice.between(0.98, 1.04)
    if dice.every(5, which=3):
        releases = (*releases, Release(round(at + 0.3 * terms.need), "v3"))
    fault = Fault(at, at + 2 * HOUR, level, "v2")
    return _one(dice, terms, fault, releases=releases, note=f"{level:.1%} of errors from {at:.0f} s on")


def ramp(dice: Dice) -> Scenario:
    """Growing worse over minutes: latency, or errors."""
    releases = dice.released()
    at, rise = releases[-1].at + dice.between(0, 5 * MINUTE), dice.between(8 * MINUTE, 25 * MINUTE)
    if dice.every(2):
        terms = dice.terms()
        fault = Fault(at, at + 2 * HOUR, dice.between(0.3, 0.8), "v2", rise)
        return _one(dice, terms, fault, releases=releases, note=f"errors grow for {rise:.0f} s")
    level = 0.8 * (dice.between(0.97, 1.05) if dice.border else dice.between(2.0, 5.0))
    fault = Fault(at, at + 2 * HOUR, level, "v2", rise)
    plan = Plan(releases, (fault,), base=dice.between(0.1, 0.4), noise=0.05)
    return Scenario(LATENCY, releases[-1].at + 70 * MINUTE, {"shop": plan}, note=f"latency grows for {rise:.0f} s")


def leak(dice: Dice) -> Scenario:
    """Memory that grows for hours, watched always; half of them stop growing where it is well."""
    releases = _two(10 * MINUTE)
    at, rise = releases[-1].at, dice.between(2 * HOUR, 5 * HOUR)
    level = dice.between(0.95, 0.99) if dice.every(2) else dice.between(0.6, 0.8)
    if dice.border:
        level = 0.9 * dice.between(0.997, 1.003)
    fault = Fault(at, at + 12 * HOUR, level, "v2", rise)
    plan = Plan(releases, (fault,), base=dice.between(0.3, 0.5), noise=0.004)
    return Scenario(
        MEMORY, at + rise + 1.5 * HOUR, {"shop": plan}, note=f"memory grows to {level:.0%} in {rise / HOUR:.1f} h"
    )


def flapping(dice: Dice) -> Scenario:
    """Bad and well in turn; every fourth time bad for longer than the rule asks."""
    terms, releases = dice.terms(), dice.released()
    margin = WINDOW + 2 * terms.interval
    low, high = 30.0, terms.need - margin
    if dice.every(4):
        low, high = terms.need + 1.5 * margin, terms.need + 3 * margin
    if dice.border:
        low, high = terms.need - 0.5 * margin, terms.need + 0.5 * margin
    faults, at = [], releases[-1].at + dice.between(0, 5 * MINUTE)
    while at < releases[-1].at + 35 * MINUTE:
        length = dice.between(low, high)
        faults.append(Fault(at, at + length, dice.bad(), "v2"))
        at += length + dice.between(WINDOW + 3 * terms.interval, 5 * MINUTE)
    return _one(dice, terms, *faults, releases=releases, note=f"bad {len(faults)} times, well between")


def low_traffic(dice: Dice) -> Scenario:
    """A few requests a minute, and one in ten an error; every fourth time enough of them, and a real fault."""
    terms, releases = dice.terms(), dice.released()
    rate = dice.between(0.01, 0.12)
    faults: tuple[Fault, ...] = ()
    fault = Fault(releases[-1].at + dice.between(0, 10 * MINUTE), 3 * HOUR, dice.between(0.6, 1.0), "v2")
    if dice.every(4):
        rate, faults = dice.between(0.9, 1.5), (fault,)
    if dice.border:
        rate, faults = dice.between(0.25, 0.4), (fault,)
    base = 0.01 if faults else dice.between(0.02, 0.1)
    note = f"{rate * MINUTE:.1f} requests a minute{', a fault' if faults else ''}"
    return _one(dice, terms, *faults, releases=releases, note=note, traffic=lambda _: rate, base=base)


def gaps(dice: Dice) -> Scenario:
    """Scrapes fail, one by one and for minutes; a series of errors that begins with the first error. Half are bad."""
    terms, releases = dice.terms(), dice.released()
    lost, at = [], releases[-1].at - 5 * MINUTE
    while at < releases[-1].at + HOUR:
        at += dice.between(9 * MINUTE, 20 * MINUTE) + terms.need
        lost.append(Span(at, at + dice.between(MINUTE, 6 * MINUTE)))
    begin = releases[-1].at + dice.between(0, 15 * MINUTE)
    faults: tuple[Fault, ...] = (Fault(begin, 3 * HOUR, dice.bad(), "v2"),) if dice.every(2) else ()
    if dice.border:  # all that is bad lies around one long gap
        long = terms.need + dice.between(0, 2) * terms.interval
        faults = (Fault(begin, begin + 2 * long, dice.bad(), "v2"),)
        lost = [Span(begin + 0.6 * long, begin + 1.3 * long)]
    absent = dice.every(3)
    note = f"{len(lost)} gaps{', errors counted from the first' if absent else ''}{', a fault' if faults else ''}"
    # Every fourth time it is the server that is away, and answers nothing at all.
    where = "down" if dice.every(4) else "lost"
    world: dict[str, Any] = {where: tuple(lost), "lossy": 0.06, "absent": absent, "base": 0.0 if absent else 0.004}
    return _one(dice, terms, *faults, releases=releases, note=note, **world)


def nan(dice: Dice) -> Scenario:
    """Nobody asks for minutes: nothing divided by nothing. Every third has a real fault between."""
    terms, releases = dice.terms(), dice.released()
    silent, at = [], releases[-1].at - 5 * MINUTE
    while at < releases[-1].at + HOUR:
        at += dice.between(6 * MINUTE, 10 * MINUTE) + terms.need
        silent.append(Span(at, at := at + dice.between(2 * MINUTE, 15 * MINUTE)))
    begin = releases[-1].at + dice.between(0, 10 * MINUTE)
    fault = Fault(begin, 3 * HOUR, dice.bad(), "v2")
    if dice.every(2):
        plan = Plan(releases, base=0.2, noise=0.05, silent=tuple(silent))
        return Scenario(LATENCY, releases[-1].at + 70 * MINUTE, {"shop": plan}, note="latency, NaN at times")
    faults = (fault,) if dice.every(3) else ()
    note = f"no requests at times{', a fault' if faults else ''}"
    return _one(dice, terms, *faults, releases=releases, note=note, silent=tuple(silent))


def server_outage(dice: Dice) -> Scenario:
    """The metrics server is away, for 40 s to 20 min, up to three times, while a healthy release rolls out."""
    releases = dice.released()
    down, at = [], releases[-1].at + dice.between(-2 * MINUTE, 5 * MINUTE)
    for _ in range(dice.random.randint(1, 3)):
        length = dice.random.choice([dice.between(40, 90), dice.between(90, 400), dice.between(400, 1200)])
        down.append(Span(at, at + length))
        at += length + dice.between(3 * MINUTE, 10 * MINUTE)
    note = f"no answers for {', '.join(f'{one.end - one.at:.0f} s' for one in down)}"
    return _one(dice, dice.terms(), releases=releases, note=note, down=tuple(down))


def counter_reset(dice: Dice) -> Scenario:
    """Processes that start anew, again and again; half of them bad as well."""
    terms, releases = dice.terms(), dice.released()
    resets, at = [], releases[-1].at
    for _ in range(dice.random.randint(3, 15)):
        at += dice.between(20, 6 * MINUTE)
        resets.append(at)
    begin = releases[-1].at + dice.between(0, 10 * MINUTE)
    faults = (Fault(begin, 3 * HOUR, dice.bad(), "v2"),) if dice.every(2) else ()
    note = f"{len(resets)} restarts{', a fault' if faults else ''}"
    return _one(dice, terms, *faults, releases=releases, note=note, resets=tuple(resets))


def unrelated(dice: Dice) -> Scenario:
    """An outage that no release brought: long after one, or begun before one; every fourth release is bad later."""
    terms, level = dice.terms(), dice.bad()
    length = terms.need + dice.between(5 * MINUTE, 25 * MINUTE)
    if dice.border:  # a healthy release, and something else breaks minutes later: nobody can tell
        releases = dice.released()
        at = releases[-1].at + dice.between(2 * MINUTE, 20 * MINUTE)
        fault = Fault(at, at + length, level)
        return _one(dice, terms, fault, releases=releases, note="a coincidence", doubtful=frozenset({"v2"}))
    if dice.every(2):
        at = terms.within + dice.between(15 * MINUTE, 30 * MINUTE)
        releases = (Release(0.0, "v1"),)
        return _one(dice, terms, Fault(at, at + length, level), releases=releases, note="long after a release")
    return _begun_before(dice, terms, length)


def _begun_before(dice: Dice, terms: Terms, length: float) -> Scenario:
    """An outage in the midst of which a release comes, which it outlasts."""
    release = round(dice.between(25 * MINUTE, 30 * MINUTE))
    at = release - dice.between(4 * MINUTE, 15 * MINUTE)
    faults = [Fault(at, release + length, dice.bad(), ELSEWHERE)]
    if dice.every(4, which=1):
        begin = release + length + dice.between(6 * MINUTE, 10 * MINUTE)
        faults.append(Fault(begin, begin + HOUR, dice.bad(), "v2"))
    note = f"begun before a release{', which is bad later' if len(faults) > 1 else ''}"
    return _one(dice, terms, *faults, releases=_two(release), note=note)


def many_at_once(dice: Dice) -> Scenario:
    """A platform's outage hits most of a fleet, some of which had healthy releases. Half the time one is bad later."""
    terms = dice.terms()
    names = [f"app-{number:02}" for number in range(FLEET)]
    plans = {name: Plan((Release(LONG_AGO, "v1"),), traffic=dice.traffic(), base=dice.well()) for name in names}
    if dice.border:
        return _same_mistake(dice, terms, plans)
    at = dice.between(40 * MINUTE, 50 * MINUTE)
    over = at + terms.need + dice.between(10 * MINUTE, 25 * MINUTE)
    hit = dice.random.sample(names, round(FLEET * dice.between(0.6, 1.0)))
    for name in hit:
        # Nothing breaks or mends at the same second everywhere.
        fault = Fault(at + dice.between(0, 45), over + dice.between(0, 4 * MINUTE), dice.bad())
        plans[name] = replace(plans[name], faults=(fault,))
    for name in dice.random.sample(hit, 5):
        plans[name] = replace(plans[name], releases=_two(at - dice.between(3 * MINUTE, 35 * MINUTE)))
    note = f"{len(hit)} of {FLEET} bad for {(over - at) / MINUTE:.0f} min"
    length = over + 20 * MINUTE
    if dice.every(2):
        name = dice.random.choice([one for one in hit if len(plans[one].releases) == 1])
        later = over + dice.between(15 * MINUTE, 20 * MINUTE)
        bad = Fault(later + dice.between(0, 2 * MINUTE), later + HOUR, dice.bad(), "v2")
        plans[name] = replace(plans[name], releases=_two(later), faults=(*plans[name].faults, bad))
        note, length = f"{note}; {name} is bad later", later + 30 * MINUTE
    return Scenario(terms, length, plans, note=note)


def _same_mistake(dice: Dice, terms: Terms, plans: dict[str, Plan]) -> Scenario:
    """Half of a fleet gets the same bad change within minutes: are the releases the cause, or what they share?"""
    at = 20 * MINUTE
    for name in dice.random.sample(list(plans), FLEET // 2):
        release = at + dice.between(0, 3 * MINUTE)
        fault = Fault(release + MINUTE, release + HOUR, dice.bad(), "v2")
        plans[name] = replace(plans[name], releases=_two(release), faults=(fault,), doubtful=frozenset({"v2"}))
    return Scenario(terms, at + 40 * MINUTE, plans, note="half of a fleet gets the same bad change")


KINDS: Mapping[str, Callable[[Dice], Scenario]] = {
    "steady": steady,
    "spike": spike,
    "step": step,
    "ramp": ramp,
    "slow leak": leak,
    "flapping": flapping,
    "low traffic": low_traffic,
    "gaps": gaps,
    "NaN": nan,
    "server outage": server_outage,
    "counter reset": counter_reset,
    "unrelated outage": unrelated,
    "many at once": many_at_once,
}


def make(kind: str, number: int, seed: int = 1) -> Trace:
    """The trace of a kind with this number; `seed` gives another set of traces.

    Raises:
        KeyError: there is no such kind.
        ValueError: what was drawn contradicts its label; the message says how.
    """
    dice = Dice(Random(f"{seed}/{kind}/{number}"), number)  # noqa: S311  # no secret is drawn
    return draw(kind, seed * 1000 + number, KINDS[kind](dice))


def make_all(seed: int = 1, count: int = SEEDS) -> list[Trace]:
    """`count` traces of each kind."""
    return [make(kind, number, seed) for kind in KINDS for number in range(count)]
