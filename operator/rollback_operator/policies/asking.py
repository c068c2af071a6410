"""Asking what the triggers of a policy ask, now and of the past, and judging the answers one by one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from rollback_operator import metrics
from rollback_operator.api.common import Place
from rollback_operator.api.policy import CurrentRevision
from rollback_operator.core.guard import Guard, in_a_crowd
from rollback_operator.core.judge import changed
from rollback_operator.core.standing import current_of
from rollback_operator.core.values import Snapshot
from rollback_operator.core.verdicts import Sample, Streak, Verdict, fold
from rollback_operator.signals.base import Checking, Signal
from rollback_operator.watching import Asking, Standing, Watching, horizon

LATE = 1.0
"""Seconds after its time that an evaluation counts as late."""


class Asker:
    """Keeps what the triggers of each policy say up to date."""

    def __init__(
        self, signals: Mapping[str, Signal], guard: Guard, watching: Watching, tell: Callable[[Place], None]
    ) -> None:
        """`tell` hears of the target whose triggers say something new."""
        self._signals = signals
        self._guard = guard
        self._watching = watching
        self._tell_of = tell

    async def evaluate(self, standing: Standing) -> None:
        """Ask what is due."""
        now = time.time()
        due = [one for one in standing.asking if one.due <= now]
        if due:
            samples = await asyncio.gather(*(self._ask(one, now) for one in due))
            for one, sample in zip(due, samples, strict=True):
                self._take(standing, one, sample)
            self._in_a_crowd(standing, zip(due, samples, strict=True))

    def _in_a_crowd(self, standing: Standing, answers: Iterable[tuple[Asking, Sample]]) -> None:
        if not self._watching.is_known(standing):
            return
        breaching = self._watching.breaching
        (breaching.add if standing.breaching() else breaching.discard)(standing.key)
        if self.crowd() is None:
            return
        for one, sample in answers:
            name = one.question.trigger.name
            standing.streaks[name] = in_a_crowd(standing.streaks[name], sample, one.rule)

    async def _ask(self, one: Asking, now: float) -> Sample:
        behind = now - one.due if one.due else 0.0
        if behind > LATE:
            metrics.EVALUATIONS_LATE.inc()
        skipped = int(behind // one.rule.interval)
        if skipped:
            metrics.EVALUATIONS_SKIPPED.inc(skipped)
        one.due = (one.due or now) + (skipped + 1) * one.rule.interval
        source = one.question.trigger.source
        sample = await self._signals[source].sample(one.question, now)
        metrics.EVALUATIONS.labels(source, sample.verdict.value).inc()
        return sample

    def _take(self, standing: Standing, one: Asking, sample: Sample) -> None:
        name = one.question.trigger.name
        before = standing.streaks.get(name, Streak())
        standing.streaks[name] = fold(before, sample, one.rule)
        if sample.verdict is not before.verdict:
            self._tell_of(standing.place)
        if sample.verdict is Verdict.HEALTHY and name in standing.excused:
            standing.excused -= {name}

    def crowd(self) -> str | None:
        """Why it looks as if the platform were the cause, and no release."""
        breaching = len(self._watching.breaching)
        return self._guard.crowd(breaching, self._watching.evaluated()) if breaching else None

    async def follow(self, standing: Standing, snapshot: Snapshot | None, now: datetime) -> None:
        """What runs now; when it is another revision than before, the triggers begin anew.

        That happens once, whatever becomes of this look: what is excused is told by the streaks before the change.
        """
        if snapshot is None:
            standing.current, standing.rebuilt = None, True
            return
        known = standing.current
        current = current_of(snapshot, known, now)
        if not standing.rebuilt:
            await self._rebuild(standing, known, current)
        elif known is None:
            standing.excused = frozenset(name for name, streak in standing.streaks.items() if streak.count)
            standing.streaks = {}
        elif (known.uid, known.fingerprint) != (current.uid, current.fingerprint):
            fresh = changed(standing.spec, standing.streaks, standing.excused, known, current.since)
            standing.streaks, standing.excused = dict(fresh.streaks), fresh.excused
        standing.current = current

    async def _rebuild(self, standing: Standing, known: CurrentRevision | None, current: CurrentRevision) -> None:
        """Ask the past, after a start or for a new policy: a breach of four minutes does not begin from zero."""
        since, end = current.since.timestamp(), time.time()
        back = horizon(standing)
        earlier: dict[str, Streak] = {}
        healed: set[str] = set()
        for one, samples in await self._histories(standing, max(since, end - back) - back, end):
            name = one.question.trigger.name
            live = standing.streaks.get(name, Streak())
            if samples:
                earlier[name] = _folded([sample for sample in samples if sample.at < since], one)
                later = [sample for sample in samples if sample.at >= since]
                healed |= {name for sample in later if sample.verdict is Verdict.HEALTHY}
                live = _joined(_folded(later, one), live, one)
            healed |= {name} if live.verdict is Verdict.HEALTHY else set()
            standing.streaks[name] = live
        if known is None or (known.uid, known.fingerprint) != (current.uid, current.fingerprint):
            before = known if known is not None and known.uid == current.uid else None
            standing.excused = _excused_before(standing, earlier, before)
        standing.excused -= healed
        standing.rebuilt = True

    async def _histories(self, standing: Standing, start: float, end: float) -> list[tuple[Asking, list[Sample]]]:
        found = await asyncio.gather(
            *(self._signals[one.question.trigger.source].history(one.question, start, end) for one in standing.asking)
        )
        return [(one, list(samples)) for one, samples in zip(standing.asking, found, strict=True)]

    async def check(self, standing: Standing) -> None:
        """Whether the triggers can be asked as they are written: once, as they do not change."""
        if not standing.checked:
            standing.invalid = await self._invalid(standing)
            standing.checked = True

    async def _invalid(self, standing: Standing) -> str | None:
        said = await asyncio.gather(*(self._mistake(one) for one in standing.asking))
        found = [
            f"trigger {one.question.trigger.name}: {why}" for one, why in zip(standing.asking, said, strict=True) if why
        ]
        return "; ".join(found) or None

    async def _mistake(self, one: Asking) -> str | None:
        signal = self._signals[one.question.trigger.source]
        return await signal.check(one.question) if isinstance(signal, Checking) else None


def _folded(samples: list[Sample], one: Asking) -> Streak:
    streak = Streak()
    for sample in samples:
        streak = fold(streak, sample, one.rule)
    return streak


def _joined(past: Streak, live: Streak, one: Asking) -> Streak:
    """The past, and the one or two answers that came before it was asked."""
    if live.at <= past.at:
        return past
    return fold(past, Sample(live.at, live.verdict, live.value, live.message), one.rule)


def _excused_before(
    standing: Standing, earlier: Mapping[str, Streak], before: CurrentRevision | None
) -> frozenset[str]:
    """What was bad when the target changed while nobody looked; without a known predecessor nothing may be blamed.

    `earlier`: what those triggers said until then whose past can be asked; for the others, what was known counts.
    """
    if before is None:
        return frozenset(name for name, streak in earlier.items() if streak.count)
    return changed(standing.spec, earlier, standing.excused, before).excused | (standing.excused - set(earlier))
