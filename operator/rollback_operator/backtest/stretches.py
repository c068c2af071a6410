"""Breaches and times without data, from their first sample to what ended them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rollback_operator.backtest.events import Event, What
from rollback_operator.core.verdicts import Rule, Sample, Streak, Verdict

WORTH_TELLING = 300.0
"""Seconds without data that are told of, even if a trigger forgets sooner."""
NOT_BLAMED = "NotBlamed"
"""Reason of a breach that began before the release: it is not blamed on it."""
TARGET_CHANGED = "TargetChanged"
"""Reason of a breach that ended because triggers count anew."""
CARRIED_ON = "CarriedOn"
"""Reason of a breach that goes on after a rollback which the record knows nothing of."""


@dataclass(slots=True)
class _Open:
    """One that is not over; `fired`: when it had lasted long enough; `reason`: why nothing follows from it."""

    at: float
    why: str
    fired: float | None = None
    reason: str = ""


@dataclass(slots=True)
class Stretches:
    """Follows the triggers' samples, and what they amount to."""

    rules: Mapping[str, Rule]
    events: list[Event]
    """Where those that are over go."""
    breaches: dict[str, _Open] = field(default_factory=dict)
    gaps: dict[str, _Open] = field(default_factory=dict)
    carried: set[str] = field(default_factory=set)
    """Triggers that were bad when a rollback was made up, and have not been well since."""

    def take(self, name: str, sample: Sample, streak: Streak, *, excused: bool) -> None:
        """One more sample of a trigger; `streak` holds it already."""
        if sample.verdict is Verdict.HEALTHY:
            self.carried.discard(name)
        if sample.verdict is Verdict.UNKNOWN:
            self.gaps.setdefault(name, _Open(sample.at, sample.message))
        else:
            self._gap_over(name, sample.at, sample.at)
        if streak.count == 0 or (streak.count == 1 and sample.verdict is Verdict.BREACH):
            self.breach_over(name, sample.at)
        if streak.count and name not in self.breaches:
            self.breaches[name] = _Open(sample.at, sample.message, reason=self._why_not(name, excused=excused))
        if streak.fires(self.rules[name]) and not excused and self.breaches[name].fired is None:
            self.breaches[name].fired = sample.at

    def _why_not(self, name: str, *, excused: bool) -> str:
        if name in self.carried:
            return CARRIED_ON
        return NOT_BLAMED if excused else ""

    def anew(self, at: float, *, made_up: bool) -> None:
        """The target changed, in truth or by a rollback that is made up: triggers begin to count anew."""
        self.carried = (self.carried | self.breaches.keys()) if made_up else set()
        for name in self.rules:
            self.breach_over(name, at, TARGET_CHANGED)

    def close(self, end: float) -> None:
        """Nothing more comes."""
        for name in self.rules:
            self.breach_over(name, None)
            self._gap_over(name, None, end)

    def breach_over(self, name: str, at: float | None, reason: str = "") -> None:
        """What was bad is well, or forgotten; None: it lasts."""
        one = self.breaches.pop(name, None)
        if one is not None:
            why_not = one.reason or reason
            self.events.append(Event(one.at, What.BREACH, one.why, name, why_not, until=at, fired=one.fired))

    def _gap_over(self, name: str, at: float | None, end: float) -> None:
        one = self.gaps.pop(name, None)
        if one is not None and end - one.at >= max(self.rules[name].patience, WORTH_TELLING):
            self.events.append(Event(one.at, What.NO_DATA, one.why, name, until=at))
