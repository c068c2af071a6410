"""Our evaluator: the operator's own functions, driven by the clock of a trace.

What is the operator's: what an answer means (`signals.answers.answered`), the fold, what a change of the target does
to what was seen (`changed`), and the judgement. What is restated here, because it lives among calls to the API server
there (`policies.looking`, `policies.asking`): the order of these calls, that a Healthy answer ends an excuse, and how
many policies in Breach make a crowd.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from heapq import merge

from benchmarks.decisions.evaluator import Decisions
from benchmarks.decisions.trace import Answer, Release, Target, Terms, Trace
from rollback_operator.api.policy import CurrentRevision, PolicySpec
from rollback_operator.core.guard import Guard, in_a_crowd
from rollback_operator.core.judge import Scene, changed, judge
from rollback_operator.core.verdicts import Rule, Sample, Streak, Verdict, fold
from rollback_operator.settings import Settings
from rollback_operator.signals.answers import Nothing, Vector, Why, answered
from rollback_operator.signals.base import Question

EPOCH = 1_800_000_000.0
"""When traces begin, in seconds since the epoch."""
TRIGGER = "bad"


def orders_of(terms: Terms, target: str, no_data: str = "Unknown") -> PolicySpec:
    """The policy that says what the terms say."""
    trigger: dict[str, object] = {
        "name": TRIGGER,
        "prometheus": {"query": "errors / requests"},
        "when": terms.when,
        "interval": _seconds(terms.interval),
        "consecutive": terms.consecutive if terms.consecutive > 1 else None,
        "for": _seconds(terms.for_) if terms.for_ else None,
        "watch": "Always" if terms.watch_all else "Recent",
        "noData": no_data,
    }
    if terms.at_least:
        trigger["minSamples"] = {"query": "requests", "atLeast": int(terms.at_least)}
    return PolicySpec.model_validate(
        {
            "target": {"kind": "Deployment", "name": target},
            "triggers": [trigger],
            "watch": {"within": _seconds(terms.within)},
        }
    )


def _seconds(length: float) -> str:
    return f"{int(length)}s"


@dataclass
class Policy:
    """What the operator remembers of one policy."""

    target: Target
    orders: PolicySpec
    current: CurrentRevision
    streak: Streak = field(default_factory=Streak)
    excused: frozenset[str] = frozenset()

    @classmethod
    def of(cls, target: Target, terms: Terms, no_data: str) -> Policy:
        """As it stands before the trace begins."""
        return cls(target, orders_of(terms, target.name, no_data), _current(target, target.releases[0]))

    @property
    def question(self) -> Question:
        """What it asks."""
        return Question("shop", self.target.name, self.orders.target, "rollback", self.orders.triggers[0])

    def heard(self, sample: Sample) -> None:
        """One more answer."""
        self.streak = fold(self.streak, sample, Rule.of(self.orders.triggers[0]))
        if sample.verdict is Verdict.HEALTHY:
            self.excused = frozenset()

    def released(self, release: Release) -> None:
        """The target changed."""
        fresh = changed(self.orders, {TRIGGER: self.streak}, self.excused, self.current)
        self.streak, self.excused = fresh.streaks.get(TRIGGER, Streak()), fresh.excused
        self.current = _current(self.target, release)

    def acts(self, at: float, crowd: str | None) -> bool:
        """Whether it makes a request now."""
        scene = Scene(
            name=self.target.name,
            uid=f"uid-of-{self.target.name}",
            current=self.current,
            streaks={TRIGGER: self.streak},
            excused=self.excused,
            crowd=crowd,
        )
        return judge(self.orders, scene, _moment(at)).act is not None


def _current(target: Target, release: Release) -> CurrentRevision:
    digest = hashlib.sha256(f"{target.name}/{release.revision}".encode()).hexdigest()
    return CurrentRevision(
        uid=f"uid-of-{target.name}", revision=release.revision, fingerprint=f"v1:{digest}", since=_moment(release.at)
    )


def _moment(at: float) -> datetime:
    return datetime.fromtimestamp(EPOCH + at, UTC)


def vector(answer: Answer) -> Vector | Nothing:
    """An answer as the signal has it once it is parsed."""
    if answer.error:
        return Nothing(Why.MISSING, answer.error)
    return () if answer.value is None else (({}, answer.value),)


def counted(answer: Answer, terms: Terms) -> Vector | Nothing | None:
    """The answer to minSamples; None where it is not asked."""
    if not terms.at_least:
        return None
    if answer.error:
        return Nothing(Why.MISSING, answer.error)
    return () if answer.samples is None else (({}, answer.samples),)


@dataclass(frozen=True)
class Ours:
    """The operator as it is set up by default."""

    name: str = "ours"
    no_data: str = "Unknown"
    settings: Settings = field(default_factory=Settings)

    def decide(self, trace: Trace) -> Decisions:
        """What it rolls back, and when first."""
        policies = {one.name: Policy.of(one, trace.terms, self.no_data) for one in trace.targets}
        guard, breaching = Guard(self.settings.guard, self.settings.guard_percent), set[str]()
        decided: dict[tuple[str, str], float] = {}
        for at, name, release in _happenings(trace):
            policy = policies[name]
            if release is not None:
                policy.released(release)
                continue
            sample = self._sample(trace, policy, at)
            policy.heard(sample)
            (breaching.add if policy.streak.verdict is Verdict.BREACH else breaching.discard)(name)
            crowd = guard.crowd(len(breaching), len(policies))
            if crowd is not None:
                policy.streak = in_a_crowd(policy.streak, sample, Rule.of(policy.orders.triggers[0]))
            key = (name, policy.current.revision)
            if key not in decided and policy.acts(at, crowd):
                decided[key] = at
        return decided

    def _sample(self, trace: Trace, policy: Policy, at: float) -> Sample:
        answer = trace.ask(policy.target.name, at)
        return answered(policy.question, EPOCH + at, vector(answer), counted(answer, trace.terms))


def _happenings(trace: Trace) -> Iterator[tuple[float, str, Release | None]]:
    """Releases and polls of all targets in the order of time; a release comes before a poll of the same moment."""
    rows = (_row(one, trace) for one in trace.targets)
    for at, _, name, release in merge(*rows, key=lambda one: one[:3]):
        yield at, name, release


def _row(target: Target, trace: Trace) -> list[tuple[float, int, str, Release | None]]:
    polls = [(at, 1, target.name, None) for at in target.polls(trace.terms.interval, trace.length)]
    releases = [(one.at, 0, target.name, one) for one in target.releases[1:]]
    return sorted([*polls, *releases], key=lambda one: one[:3])
