"""What happened when, seen from the first customer who was turned away."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from testbed.demo.screen import Screen


@dataclass(frozen=True)
class Moment:
    """Something that happened (in seconds since the epoch), and who says so."""

    at: float
    what: str
    who: str


def moment_of(text: str) -> float:
    """A time as Kubernetes writes it, in seconds since the epoch."""
    return datetime.fromisoformat(text).timestamp()


def show(screen: Screen, moments: list[Moment], zero: float) -> None:
    """A line for each moment, in order; the time is counted from `zero`."""
    width = max(len(moment.what) for moment in moments)
    for moment in sorted(moments, key=lambda moment: moment.at):
        screen.row(f"{moment.at - zero:+8.1f} s   {moment.what:<{width}}   ", moment.who)
