"""What this process knows of a request beside its status; lost with the process, without harm."""

from __future__ import annotations

from dataclasses import dataclass

from rollback_operator.core.life.times import over
from rollback_operator.core.values import Answer, Request


@dataclass
class Heard:
    """The last answer, how many attempts at the effect are over, and how often its end was tried."""

    answer: Answer | None = None
    answered: int = 0
    kept: int = 0
    stopped: int = 0
    put_back: tuple[str, ...] = ()
    suspends: int = 0
    """The attempt at the effect that Flux is suspended for; 0: an end of that may be under way, of whoever was here."""

    def note_put_back(self, name: str) -> None:
        """An object of the configuration was put back."""
        self.put_back = (*self.put_back, name)

    def suspending(self, request: Request) -> int:
        """The attempt that Flux is suspended for, from now on."""
        self.suspends = self.suspends or request.status.targets[0].steps[0].attempts
        return self.suspends

    def note_answered(self, request: Request) -> None:
        """The last attempt is over."""
        (step,) = request.status.targets[0].steps or (None,)
        if step is not None:
            self.answered = over(self.answered, step)
