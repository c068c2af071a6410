"""What the peers have in common: one analysis a release."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Protocol, Self

from benchmarks.decisions.evaluator import Ask, Decisions
from benchmarks.decisions.trace import Answer, Target, Terms, Trace
from benchmarks.decisions.world import enough


class Peer(Protocol):
    """The rule by which one release is decided on."""

    title: ClassVar[str]

    @classmethod
    def by_default(cls, terms: Terms, longest: float) -> Self:
        """As its documentation says it is when nothing is set but the threshold."""

    @classmethod
    def adapted(cls, terms: Terms, longest: float) -> Self:
        """With its settings turned to ask for what the terms ask for; `longest` seconds are left of the trace."""

    def analyse(self, ask: Ask, terms: Terms, begin: float, end: float) -> float | None:
        """When it rolls back a release of `begin`; None if it does not until `end`, or passes it before."""


@dataclass(frozen=True)
class Analyst:
    """An evaluator that analyses each release of each target, one by one."""

    name: str
    make: Callable[[Terms, float], Peer]

    def decide(self, trace: Trace) -> Decisions:
        """What it rolls back, and when."""
        found = {}
        for target in trace.targets:
            for revision, begin, end in _releases(target, trace.length):
                peer = self.make(trace.terms, end - begin)
                at = peer.analyse(_asking(trace, target.name), trace.terms, begin, end)
                if at is not None:
                    found[target.name, revision] = at
        return found


def adapted(kind: type[Peer], *, by_default: bool = False) -> Analyst:
    """The evaluator of a peer."""
    if by_default:
        return Analyst(f"{kind.title}, defaults", kind.by_default)
    return Analyst(kind.title, kind.adapted)


def _asking(trace: Trace, name: str) -> Ask:
    return lambda at: trace.ask(name, at)


def _releases(target: Target, length: float) -> list[tuple[str, float, float]]:
    """Revision, begin and end of each release within the trace."""
    ends = [one.at for one in target.releases[1:]] + [length]
    pairs = zip(target.releases, ends, strict=True)
    return [(one.revision, one.at, end) for one, end in pairs if one.at >= 0]


@dataclass(frozen=True)
class Guarded:
    """An evaluator whose query says zero where there is nothing to judge; only an error is still one."""

    inner: Analyst

    @property
    def name(self) -> str:
        """As it stands in the table."""
        return f"{self.inner.name}, guarded query"

    def decide(self, trace: Trace) -> Decisions:
        """What it rolls back, and when."""
        return self.inner.decide(_Guard(trace))


class _Guard(Trace):
    """A trace whose answers are guarded."""

    def __init__(self, trace: Trace) -> None:
        super().__init__(trace.kind, trace.seed, trace.terms, trace.length, trace.targets, trace.down, trace.note)
        object.__setattr__(self, "_inner", trace)

    def ask(self, target: str, at: float) -> Answer:
        inner: Trace = self.__dict__["_inner"]
        answer = inner.ask(target, at)
        if answer.error or enough(answer.known, answer.samples, self.terms):
            return answer
        return Answer(0.0, answer.samples)
