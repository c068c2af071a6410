"""What every evaluator is: it watches a trace go by, and says which revisions it would have rolled back, and when."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from benchmarks.decisions.trace import Answer, Trace

Decisions = Mapping[tuple[str, str], float]
"""When a target's revision was first rolled back, in seconds of the trace, by target and revision."""
Ask = Callable[[float], Answer]
"""What the server answers at a moment, in seconds of the trace."""


class Evaluator(Protocol):
    """One way to decide."""

    @property
    def name(self) -> str:
        """As it stands in the table."""

    def decide(self, trace: Trace) -> Decisions:
        """What it does."""
