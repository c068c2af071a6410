"""Where a story is told."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass

from testbed.demo.screen import Screen, Terminal


@dataclass(frozen=True)
class Stage:
    """A cluster, and how it is shown."""

    stack: ExitStack
    """Ends what the story starts, before the cluster goes away."""
    terminal: Terminal
    real: bool
    """Whether pods run; otherwise nodes are fake."""

    @property
    def screen(self) -> Screen:
        """Where it is shown."""
        return self.terminal.screen
