"""What a replay brings: plain values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from rollback_operator.core.verdicts import Sample, Verdict
from rollback_operator.signals.base import Question


class What(StrEnum):
    """What happened, or would have happened."""

    RELEASE = "Release"
    BREACH = "Breach"
    BREACHES = "Breaches"
    NO_DATA = "NoData"
    ALERT = "Alert"
    ASK = "Ask"
    TAKEN_BACK = "TakenBack"
    ROLLBACK = "Rollback"
    FAILED = "Failed"
    WITHHELD = "Withheld"
    GOES_ON = "GoesOn"
    PROVED_GOOD = "ProvedGood"


TOLD = (What.ALERT, What.ASK, What.WITHHELD, What.FAILED)
"""What people would be told of."""


@dataclass(frozen=True, slots=True)
class Event:
    """One thing at one moment, in seconds since the epoch.

    `until`, of a breach or a gap: when it was over, None if it lasts. `fired`, of a breach: when it had lasted long
    enough. `reason`: as the policy's status would have it. `from_` and `to` name revisions.
    """

    at: float
    what: What
    why: str = ""
    trigger: str = ""
    reason: str = ""
    from_: str = ""
    to: str = ""
    until: float | None = None
    fired: float | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A trigger's question, and what it brought; oldest first."""

    question: Question
    samples: Sequence[Sample] = field(repr=False)

    @property
    def name(self) -> str:
        """The trigger's."""
        return self.question.trigger.name

    def count(self, verdict: Verdict) -> int:
        """How many samples say so."""
        return sum(one.verdict is verdict for one in self.samples)


@dataclass(frozen=True, slots=True)
class Record:
    """All that a replay brought. `runs`: what ran at the start, and since when; in seconds since the epoch."""

    start: float
    end: float
    rows: tuple[Row, ...]
    events: tuple[Event, ...]
    runs: tuple[str, float]

    def of(self, *kinds: What) -> list[Event]:
        """Events of these kinds."""
        return [one for one in self.events if one.what in kinds]
