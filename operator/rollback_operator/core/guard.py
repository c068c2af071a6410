"""The guard: when many policies are in Breach at once, that is the platform, and no release is to blame."""

from __future__ import annotations

from dataclasses import dataclass

from rollback_operator.core.verdicts import Rule, Sample, Streak, Verdict, fold


@dataclass(frozen=True, slots=True)
class Guard:
    """How many at once are a crowd: at least `least` (0: never), and at least `percent` of all that are evaluated."""

    least: int
    percent: int

    def crowd(self, breaching: int, evaluated: int) -> str | None:
        """Why nothing is to be rolled back now; None if that is not so."""
        if self.least == 0 or breaching < self.least or breaching * 100 < evaluated * self.percent:
            return None
        return (
            f"{breaching} of {evaluated} policies are in Breach at once: that is the platform, not a release, so "
            "nothing is rolled back until fewer are (settings ROLLBACK_GUARD and ROLLBACK_GUARD_PERCENT)."
        )


def in_a_crowd(streak: Streak, sample: Sample, rule: Rule) -> Streak:
    """What a bad answer in a crowd amounts to: the row begins anew with it.

    Whatever goes on when the crowd is over has to go on for as long as the rule says: who recovers last is not to
    blame for what all had, and a bad release that came meanwhile is found all the same.
    """
    return fold(Streak(), sample, rule) if sample.verdict is Verdict.BREACH else streak
