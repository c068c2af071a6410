"""What an evaluator got wrong, and how late it was right."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.decisions.evaluator import Decisions, Evaluator
from benchmarks.decisions.trace import Trace


@dataclass(frozen=True)
class Mark:
    """One evaluator on one trace. Times are in seconds; delays are beyond what the rule itself takes."""

    evaluator: str
    trace: Trace
    false: tuple[tuple[str, str, float], ...] = ()
    """Target, revision and moment of each rollback that should not have been."""
    missed: tuple[tuple[str, str], ...] = ()
    delays: tuple[float, ...] = ()
    from_onset: tuple[float, ...] = ()
    """From the fault's begin to the rollback."""
    doubtful: int = 0
    """Rollbacks of which nobody can say whether they are right."""


def mark(evaluator: Evaluator, trace: Trace) -> Mark:
    """What an evaluator makes of a trace."""
    return marked(evaluator.name, trace, evaluator.decide(trace))


def marked(name: str, trace: Trace, decisions: Decisions) -> Mark:
    """What these decisions are worth. A rollback before the fault it might be for is a false one."""
    false, delays, from_onset, doubtful = [], [], [], 0
    for (target, revision), at in decisions.items():
        expect = trace.by_name[target].expected(revision)
        if expect.rollback is None:
            doubtful += 1
        elif not expect.rollback or at < expect.onset:
            false.append((target, revision, at))
        else:
            delays.append(at - expect.due)
            from_onset.append(at - expect.onset)
    wanted = {(one.name, expect.revision) for one in trace.targets for expect in one.expect if expect.rollback}
    missed = tuple(sorted(wanted - set(decisions)))
    return Mark(name, trace, tuple(false), missed, tuple(delays), tuple(from_onset), doubtful)


@dataclass(frozen=True)
class Sum:
    """Several marks as one line. `false` and `missed` count traces; delays are in intervals of the rule."""

    traces: int
    false: int
    missed: int
    delays: Sequence[float]
    from_onset: Sequence[float]

    @classmethod
    def of(cls, marks: Iterable[Mark]) -> Sum:
        """Of the marks on traces that are not ambiguous."""
        clear = [one for one in marks if not one.trace.ambiguous]
        return cls(
            traces=len(clear),
            false=sum(bool(one.false) for one in clear),
            missed=sum(bool(one.missed) for one in clear),
            delays=[delay / one.trace.terms.interval for one in clear for delay in one.delays],
            from_onset=[delay for one in clear for delay in one.from_onset],
        )

    @property
    def wrong(self) -> str:
        """`false / missed`."""
        return f"{self.false} / {self.missed}"

    @property
    def late(self) -> str:
        """`median / max` of the delay in intervals; a negative one is earlier than the rule allows."""
        return f"{_tenths(median(self.delays))} / {_tenths(max(self.delays))}" if self.delays else "-"

    @property
    def seconds(self) -> str:
        """Median of the seconds from the fault's begin to the rollback."""
        return f"{median(self.from_onset):.0f}" if self.from_onset else "-"


def _tenths(number: float) -> str:
    """With its sign, and no minus before a zero."""
    return f"{round(number, 1) + 0.0:+.1f}"
