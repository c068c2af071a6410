"""A policy played over what was: the operator's own folding, judging and learning, on a target that is made up.

A rollback is taken to bring its revision back at once, and that to be well. The samples go on as they really were.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import groupby
from operator import itemgetter

from rollback_operator.api.fields import parse_duration
from rollback_operator.api.policy import CurrentRevision, Entry, PolicySpec, Proof
from rollback_operator.api.reasons import Reason
from rollback_operator.api.request import Phase
from rollback_operator.backtest.events import Event, Record, Row, What
from rollback_operator.backtest.moments import shown, utc
from rollback_operator.backtest.releases import Release
from rollback_operator.backtest.stretches import Stretches
from rollback_operator.core.choice import LAST_KNOWN_GOOD, PREVIOUS, Chosen, choose
from rollback_operator.core.judge import Act, Scene, changed, judge, soaked
from rollback_operator.core.ledger import Ledger, learned
from rollback_operator.core.turn import rolled_back_from
from rollback_operator.core.values import Ending, Health, Other, Revision, Snapshot, Wellbeing
from rollback_operator.core.verdicts import Rule, Sample, Streak, Verdict, fold

UID = "backtest"
"""Of the target and of the policy."""
_QUIET = (Reason.NOTHING_WRONG, Reason.ROLLING_BACK, Reason.ROLLED_BACK)
_LONG_AGO = f"({shown(0)} UTC)"
_GOES_ON = "What was recorded goes on being bad: it is of the release that nobody rolled back then."


def play(
    orders: PolicySpec, name: str, rows: Sequence[Row], releases: Sequence[Release], *, start: float, end: float
) -> Record:
    """Replay a policy.

    Args:
        orders: the policy, with those triggers only that the rows are of.
        name: the policy's.
        rows: what its triggers brought.
        releases: when the target changed, oldest first; at least one of them before the start, or at it.
        start: seconds since the epoch.
        end: seconds since the epoch.
    """
    stage = _Stage(orders, name, {row.name: Rule.of(row.question.trigger) for row in rows})
    stage.target.release(releases[0])
    past = [one for one in releases[1:] if one.at < start]
    for release in past:
        stage.target.release(release)
    runs = stage.target.label(stage.target.current.revision), stage.target.current.since.timestamp()
    coming = list(releases[1 + len(past) :])
    for at, samples in _by_time(rows):
        while coming and coming[0].at <= at:
            stage.release(coming.pop(0))
        stage.step(at, samples)
    for release in coming:
        stage.release(release)
    stage.close(end)
    return Record(start, end, tuple(rows), tuple(sorted(stage.events, key=_order)), runs)


def _by_time(rows: Sequence[Row]) -> Iterable[tuple[float, list[tuple[str, Sample]]]]:
    """All samples; those of one moment together."""
    every = sorted(((one.at, row.name, one) for row in rows for one in row.samples), key=itemgetter(0))
    for at, same in groupby(every, key=itemgetter(0)):
        yield at, [(name, sample) for _, name, sample in same]


def _order(event: Event) -> tuple[float, int]:
    """By time; what happens at one moment in the order in which it follows from another."""
    return event.at, list(What).index(event.what)


class _Target:
    """What would have been rolled back. Revisions are numbered as kubectl does it: a return gets a new number."""

    current: CurrentRevision

    def __init__(self) -> None:
        self._history: list[Revision] = []
        self._names: dict[str, str] = {}

    def release(self, release: Release) -> CurrentRevision | None:
        """It changed, and gives what ran before; the same if that is what is released again."""
        before = self.current if self._history else None
        fingerprint = _fingerprint(release.name or f"number {len(self._names) + 1}")
        if before is None or before.fingerprint != fingerprint:
            self._activate(fingerprint, release.name, release.at)
        return before

    def go_back(self, to: Revision, at: float) -> CurrentRevision:
        """It was rolled back; gives what ran before."""
        before = self.current
        self._activate(to.fingerprint, self._names[to.name] or f"{to.name} again", at)
        return before

    def label(self, revision: str) -> str:
        """A revision as people read it: its number, and its name if it has one."""
        name = self._names[revision]
        return f"{revision} ({name})" if name else revision

    def snapshot(self) -> Snapshot:
        """As the operator would see it."""
        return Snapshot(UID, len(self._names), self._history[-1], tuple(self._history), settled=True, health=_WELL)

    def _activate(self, fingerprint: str, name: str, at: float) -> None:
        number = len(self._names) + 1
        others = [one for one in self._history if one.fingerprint != fingerprint]
        self.current = CurrentRevision(
            uid=UID,
            revision=str(number),
            fingerprint=fingerprint,
            since=utc(at),
            rollback=len(others) < len(self._history),
        )
        self._names[str(number)] = name
        self._history = [*others, Revision(str(number), number, fingerprint)]


_WELL = Health(Wellbeing.HEALTHY, "as far as anybody knows")


def _fingerprint(name: str) -> str:
    return "v1:" + hashlib.sha256(name.encode()).hexdigest()


@dataclass(slots=True)
class _Stage:
    """The policy and its target as they would have been."""

    orders: PolicySpec
    name: str
    rules: Mapping[str, Rule]
    target: _Target = field(default_factory=_Target)
    streaks: dict[str, Streak] = field(default_factory=dict)
    excused: frozenset[str] = frozenset()
    entries: tuple[Entry, ...] = ()
    requests: dict[str, Other] = field(default_factory=dict)
    waiting: tuple[datetime, Act] | None = None
    """A request that leaves people time, and until when."""
    alert: Reason | None = None
    made_up: bool = False
    """What runs was brought back by this replay."""
    failed: tuple[str, Reason] | None = None
    """The revision that could not be left, and why: told once, however often it is tried."""
    events: list[Event] = field(default_factory=list)
    stretches: Stretches = field(init=False)

    def __post_init__(self) -> None:
        self.stretches = Stretches(self.rules, self.events)

    # What comes.

    def release(self, release: Release) -> None:
        """The target changed."""
        self._let_wait(release.at)
        before = self.target.release(release)
        current, to = self.target.current, self.target.label(self.target.current.revision)
        assert before is not None
        self.made_up = False
        if before is current:
            self.events.append(Event(release.at, What.RELEASE, "runs already, nothing changes", to=to))
            return
        why = "a return to an earlier release" if current.rollback else ""
        self.events.append(Event(release.at, What.RELEASE, why, to=to))
        self._supersede(release.at)
        self._begin_anew(before, release.at)

    def step(self, at: float, samples: Iterable[tuple[str, Sample]]) -> None:
        """Samples came."""
        self._let_wait(at)
        for name, sample in samples:
            self._take(name, sample)
        if self._wants_a_look():
            self._look(at, self.target.current)

    def close(self, end: float) -> None:
        """Nothing more comes."""
        self._let_wait(end)
        self.stretches.close(end)

    def _take(self, name: str, sample: Sample) -> None:
        streak = self.streaks[name] = fold(self.streaks.get(name, Streak()), sample, self.rules[name])
        if sample.verdict is Verdict.HEALTHY:
            self.excused -= {name}
        self.stretches.take(name, sample, streak, excused=name in self.excused)

    def _begin_anew(self, before: CurrentRevision, at: float) -> None:
        """Another revision runs: the triggers count from zero."""
        fresh = changed(self.orders, self.streaks, self.excused, before)
        self.streaks, self.excused = dict(fresh.streaks), fresh.excused
        self.stretches.anew(at, made_up=self.made_up)
        self._look(at, before)

    # Judging.

    def _wants_a_look(self) -> bool:
        if self.alert is not None or any(streak.fires(self.rules[name]) for name, streak in self.streaks.items()):
            return True
        known = {one.fingerprint for one in self.entries}
        return self.target.current.fingerprint not in known and soaked(self.orders, self.streaks)

    def _look(self, at: float, before: CurrentRevision) -> None:
        """As the operator looks at a policy: learn, judge, act."""
        self._learn(at, before)
        judgement = judge(self.orders, self._scene(), utc(at))
        if judgement.withdraw is not None:
            self._take_back(judgement.withdraw, at)
        alert, self.alert = self.alert, judgement.alert[0] if judgement.alert is not None else None
        if judgement.alert is None:
            return
        if self.alert is not alert:
            self._tell(at, *judgement.alert)
        if judgement.act is not None:
            self._act(judgement.act, judgement.alert[1], utc(at))

    def _learn(self, at: float, before: CurrentRevision) -> None:
        known = {one.fingerprint for one in self.entries}
        others, proved = tuple(self.requests.values()), soaked(self.orders, self.streaks)
        self.entries = learned(self.entries, before, self.target.current, others, utc(at), soaked=proved)
        for one in self.entries:
            if one.verdict is Proof.GOOD and one.fingerprint not in known:
                self.events.append(Event(at, What.PROVED_GOOD, one.reason, to=self.target.label(one.revision)))

    def _scene(self) -> Scene:
        return Scene(
            name=self.name,
            uid=UID,
            current=self.target.current,
            streaks=self.streaks,
            excused=self.excused,
            entries=self.entries,
            requests=tuple(self.requests.values()),
            last_request=next(reversed(self.requests), None),
        )

    def _tell(self, at: float, reason: Reason, message: str) -> None:
        if reason in _QUIET:
            return
        what = What.ALERT if reason is Reason.FIRING else What.WITHHELD
        if reason is Reason.EARLIER_REVISION and self.made_up:
            what, message = What.GOES_ON, _GOES_ON
        message = message.replace(_LONG_AGO, "(before all that is known here)")
        self.events.append(Event(at, what, message, reason=reason.value))

    # Acting.

    def _act(self, act: Act, why: str, now: datetime) -> None:
        graced = act.grace is not None
        self.requests[act.name] = Other(
            uid=act.name, name=act.name, created=now, phase=Phase.PENDING, policy_uid=UID, graced=graced
        )
        if act.grace is None:
            self._carry_out(act, why, now)
            return
        due = now + parse_duration(act.grace)
        self.waiting = due, act
        why = f"{why} People have {act.grace} to step in, until {due:%H:%M:%S}."
        self.events.append(Event(now.timestamp(), What.ASK, why))

    def _let_wait(self, at: float) -> None:
        """Carry out what waited for people until now."""
        if self.waiting is not None and self.waiting[0].timestamp() <= at:
            (due, act), self.waiting = self.waiting, None
            why = act.reason.removesuffix(f" (policy {self.name})")
            self._carry_out(act, f"{why}. Nobody stepped in.", due)

    def _take_back(self, name: str, at: float) -> None:
        """Nothing is wrong any more: the operator aborts its request."""
        self.waiting = None
        self._end(name, Phase.ABORTED, Reason.ABORTED, "it was taken back", utc(at))
        self.requests[name] = replace(self.requests[name], withdrawn=True)
        self.events.append(Event(at, What.TAKEN_BACK, "Nothing is wrong any more, while people are asked."))

    def _supersede(self, at: float) -> None:
        """Another release came while people were asked."""
        if self.waiting is not None:
            (_, act), self.waiting = self.waiting, None
            self._end(act.name, Phase.SUPERSEDED, Reason.NEWER_RELEASE, "another release came", utc(at))
            self.events.append(Event(at, What.TAKEN_BACK, "Another release came, while people were asked."))

    def _end(self, name: str, phase: Phase, reason: Reason, message: str, now: datetime) -> None:
        ended = replace(self.requests[name], phase=phase, reason=reason.value, message=message, finished=now)
        self.requests[name] = replace(ended, graced=False)

    def _carry_out(self, act: Act, why: str, now: datetime) -> None:
        choice = self._choice(act)
        if isinstance(choice, Ending):
            self._end(act.name, choice.phase, choice.reason, choice.message, now)
            self._tell_of_failure(why, choice, now.timestamp())
            return
        to, at = choice.revision, now.timestamp()
        self._end(act.name, Phase.SUCCEEDED, Reason.COMPLETED, "the revision was brought back", now)
        before = self.target.go_back(to, at)
        self.requests[act.name] = replace(
            self.requests[act.name],
            applied=True,
            left=before.fingerprint,
            left_name=before.revision,
            to=to.fingerprint,
            to_name=to.name,
        )
        labels = self.target.label(before.revision), self.target.label(to.name)
        why = " ".join([why, *choice.notes])
        self.events.append(Event(at, What.ROLLBACK, why, from_=labels[0], to=labels[1]))
        self.made_up, self.alert = True, None
        self._begin_anew(before, at)

    def _choice(self, act: Act) -> Chosen | Ending:
        """Where a request goes back to; numbers and fingerprints of the cluster's are not known here."""
        wanted = act.to or (self.orders.to if self.orders.to in (PREVIOUS, LAST_KNOWN_GOOD) else PREVIOUS)
        ledger = Ledger.of(self.orders, self.entries)
        bad = ledger.bad_with(rolled_back_from(self.requests.values()))
        return choose(wanted, self.orders.target, self.target.snapshot(), bad, ledger.good)

    def _tell_of_failure(self, why: str, ending: Ending, at: float) -> None:
        self.alert = Reason.COULD_NOT_ROLL_BACK
        failure = self.target.current.revision, ending.reason
        if failure != self.failed:
            self.failed = failure
            why = f"{why} The request would end {ending.reason}: {ending.message}"
            self.events.append(Event(at, What.FAILED, why, reason=ending.reason.value))
