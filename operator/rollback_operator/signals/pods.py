"""What a target's pods say about themselves: restarts, reasons, readiness. Never in a pod's own words."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import ge, gt
from typing import Any

from rollback_operator.api.fields import parse_duration
from rollback_operator.api.trigger import PodsCheck
from rollback_operator.core.verdicts import Sample, Verdict
from rollback_operator.kube.errors import KubeError
from rollback_operator.signals.base import Question, Workloads, missing

OOM_KILLED = "OOMKilled"
MOST_NAMED = 3
"""How many containers or pods a message names."""
MOST_RESTARTS = 1000
"""How many restarts of one container are remembered: more than its back-off allows in a day."""
LONGEST_WITHIN = 24 * 3600.0
"""Seconds after which a record that nobody asked for is of no use: no `within` is longer."""
LONGEST_SHOWN = 300

Object = dict[str, Any]
Container = tuple[str, str]
"""A pod's uid and the name of a container of it."""
Asker = tuple[str, str, str]
"""Namespace, policy and trigger."""


@dataclass(frozen=True, slots=True)
class Restarts:
    """What is remembered of one container: its count, and when it restarted (seconds since the epoch)."""

    count: int
    at: float
    times: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class _Limit:
    """`> 5`, `>= 2` or `> 50%`, understood."""

    text: str
    sign: str
    bound: int
    percent: bool

    @classmethod
    def parse(cls, text: str) -> _Limit:
        """A limit as it stands in a trigger.

        Raises:
            ValueError: it cannot be parsed; the message says what to write.
        """
        found = re.fullmatch(r" *(>=|>) *([0-9]{1,6}) *(%?) *", text)
        if found is None:
            raise ValueError(f'{text!r} is no limit such as "> 5" or "> 50%"')
        return cls(" ".join(text.split()), found[1], int(found[2]), bool(found[3]))

    def exceeded(self, number: int, of: int) -> bool:
        """Whether `number` (of so many) is too many; in whole numbers, so that a third is not rounded."""
        compare = ge if self.sign == ">=" else gt
        return bool(compare(number * 100, self.bound * of) if self.percent else compare(number, self.bound))


@dataclass(frozen=True, slots=True)
class _Check:
    """A check, understood; `within` in seconds and, for sentences, as it is written."""

    restarts: _Limit | None
    reasons: tuple[str, ...]
    not_ready: _Limit | None
    within: float
    written: str

    @classmethod
    def parse(cls, check: PodsCheck) -> _Check:
        """A check as it stands in a trigger.

        Raises:
            ValueError: a part of it cannot be parsed; the message says what to write.
        """
        return cls(
            restarts=_Limit.parse(check.restarts) if check.restarts is not None else None,
            reasons=check.reasons,
            not_ready=_Limit.parse(check.not_ready) if check.not_ready is not None else None,
            within=parse_duration(check.within).total_seconds(),
            written=check.within,
        )


@dataclass(frozen=True, slots=True)
class _Finding:
    """The answer to one part of a check: how it reads, and the sentence about it if it is bad."""

    value: str
    bad: str | None


class PodsSignal:
    """Asks the pods of the target's current revision; bad if any part of the check is.

    A pod tells how often a container restarted, not when, so the counts of earlier samples are remembered for each
    trigger. Restarts between two samples are taken to be spread evenly up to the last one, whose time is known. When
    there is no earlier sample (the operator or the policy is new), a pod that was made within the time has all of its
    restarts counted, and of an older one only the last, if that was within the time: a crash loop of an old pod is
    then seen a little later. Pods that are gone take their restarts with them.
    """

    source = "pods"

    def __init__(self, workloads: Workloads) -> None:
        self._workloads = workloads
        self._records: dict[Asker, tuple[float, dict[Container, Restarts]]] = {}

    async def sample(self, question: Question, now: float) -> Sample:
        """See `Signal.sample`."""
        ref = question.target
        try:
            check = _Check.parse(question.trigger.pods or PodsCheck())
            pods = await self._workloads.pods(question.namespace, ref, question.service_account)
        except ValueError as error:
            return Sample(now, Verdict.UNKNOWN, "", f"pods: {error}")
        except KubeError as error:
            why = f"the pods of {ref.kind}/{ref.name} could not be read: {error}"
            return missing(question, now, why[:LONGEST_SHOWN])
        findings = list(self._findings(question, check, pods, now))
        if not any(_active(pod) for pod in pods):
            return missing(question, now, "no pods of the current revision")
        bad = [finding.bad for finding in findings if finding.bad]
        value = ", ".join(finding.value for finding in findings)
        return Sample(now, Verdict.BREACH if bad else Verdict.HEALTHY, value, "; ".join(bad))

    async def history(self, question: Question, start: float, end: float) -> Sequence[Sample]:  # noqa: ARG002
        """None: pods tell of the present only."""
        return ()

    async def check(self, question: Question) -> str | None:
        """What cannot be understood in the check; the API server lets none of it pass."""
        try:
            _Check.parse(question.trigger.pods or PodsCheck())
        except ValueError as error:
            return str(error)
        return None

    async def close(self) -> None:
        """Nothing is open."""

    def _findings(self, question: Question, check: _Check, pods: Sequence[Object], now: float) -> Iterator[_Finding]:
        if check.restarts is not None:
            yield _restarts(check.restarts, check.written, pods, self._counted(question, pods, now, check.within))
        active = [pod for pod in pods if _active(pod)]
        if check.reasons:
            yield _reasons(check.reasons, active, now - check.within)
        if check.not_ready is not None:
            yield _not_ready(check.not_ready, active)

    def _counted(
        self, question: Question, pods: Sequence[Object], now: float, within: float
    ) -> Mapping[Container, Restarts]:
        """The restarts within the time, noted for the next sample."""
        asker = (question.namespace, question.policy, question.trigger.name)
        _, before = self._records.pop(asker, (now, {}))
        after = {
            (pod["metadata"]["uid"], status["name"]): _count(
                status, before.get((pod["metadata"]["uid"], status["name"])), _made(pod), now, within
            )
            for pod in pods
            for status in _statuses(pod)
        }
        self._records[asker] = (now, after)  # the records stay in the order in which they were asked for
        self._forget(now - LONGEST_WITHIN)
        return after

    def _forget(self, asked_before: float) -> None:
        """Drop the records of triggers that are gone."""
        while self._records:
            asker, (asked, _) = next(iter(self._records.items()))
            if asked >= asked_before:
                return
            del self._records[asker]


def _count(status: Object, before: Restarts | None, made: float, now: float, within: float) -> Restarts:
    """What is known of a container after this look at it; only restarts within the time are kept."""
    count, oldest = int(status.get("restartCount", 0)), now - within
    if before is not None:
        new, since, until, times = count - before.count, before.at, now, before.times
    else:
        new, since, until, times = count, min(made, now), min(made, now), ()
    if new > 0:
        times += _spread(new, since, min(max(_last_restart(status) or until, since), now))
    if before is None and made < oldest:
        times = times[-1:]
    return Restarts(count, now, tuple(time for time in times if time >= oldest)[-MOST_RESTARTS:])


def _spread(number: int, since: float, last: float) -> tuple[float, ...]:
    """The times of so many restarts, the last of which is known; more than are remembered are left out."""
    first = max(1, number - MOST_RESTARTS + 1)
    return tuple(since + (last - since) * index / number for index in range(first, number + 1))


def _last_restart(status: Object) -> float | None:
    """When the container began its last run, in seconds; None if it does not say."""
    state, last = status.get("state") or {}, status.get("lastState") or {}
    run = state.get("running") or state.get("terminated") or last.get("terminated") or {}
    # What could not even be started has the beginning of time for its start.
    moments = [_seconds(run.get(name)) for name in ("startedAt", "finishedAt")]
    return next((moment for moment in moments if moment), None)


def _restarts(limit: _Limit, within: str, pods: Sequence[Object], counted: Mapping[Container, Restarts]) -> _Finding:
    names = {pod["metadata"]["uid"]: pod["metadata"]["name"] for pod in pods}
    numbers = Counter({container: len(restarts.times) for container, restarts in counted.items() if restarts.times})
    total = numbers.total()
    value = f"{total} restart{'' if total == 1 else 's'}"
    if not limit.exceeded(total, 0):
        return _Finding(value, None)
    shown = [f"pod {names[uid]} container {name} {number}" for (uid, name), number in numbers.most_common()]
    return _Finding(value, f"{value} within {within} {limit.text}{_listed(shown)}")


def _reasons(reasons: Sequence[str], pods: Iterable[Object], oldest: float) -> _Finding:
    found = [
        f"pod {pod['metadata']['name']} container {status['name']} {reason}"
        for pod in pods
        for status in _statuses(pod)
        if (reason := _reason(status, reasons, oldest))
    ]
    value = f"{len(found)} failing"
    return _Finding(value, f"{value}{_listed(found)}" if found else None)


def _reason(status: Object, reasons: Sequence[str], oldest: float) -> str | None:
    """The reason in the list for which a container waits, or was ended within the time."""
    state, last = status.get("state") or {}, status.get("lastState") or {}
    reason = (state.get("waiting") or {}).get("reason")
    if reason in reasons:
        return str(reason)
    ended = [one.get("terminated") or {} for one in (state, last)]
    killed = any(
        one.get("reason") == OOM_KILLED and (_seconds(one.get("finishedAt")) or 0.0) >= oldest for one in ended
    )
    return OOM_KILLED if killed and OOM_KILLED in reasons else None


def _not_ready(limit: _Limit, pods: Sequence[Object]) -> _Finding:
    names = [f"pod {pod['metadata']['name']}" for pod in pods if not _ready(pod)]
    value = f"{len(names)} of {len(pods)} not ready"
    bad = limit.exceeded(len(names), len(pods))
    return _Finding(value, f"{value} {limit.text}{_listed(names)}" if bad else None)


def _ready(pod: Object) -> bool:
    """Whether it can be used. One that only starts cannot: `for` is the patience for that."""
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(one.get("type") == "Ready" and one.get("status") == "True" for one in conditions)


def _active(pod: Object) -> bool:
    """Whether it is to run. One that was evicted stays in the list, replaced by another."""
    phase = (pod.get("status") or {}).get("phase")
    return not pod["metadata"].get("deletionTimestamp") and phase not in {"Succeeded", "Failed"}


def _statuses(pod: Object) -> Iterator[Object]:
    status = pod.get("status") or {}
    yield from status.get("initContainerStatuses") or []
    yield from status.get("containerStatuses") or []


def _made(pod: Object) -> float:
    return _seconds(pod["metadata"].get("creationTimestamp")) or 0.0


def _seconds(text: str | None) -> float | None:
    """A time as the API server writes it, in seconds since the epoch."""
    return datetime.fromisoformat(text).timestamp() if text else None


def _listed(shown: Sequence[str]) -> str:
    if not shown:
        return ""
    more = [f"and {len(shown) - MOST_NAMED} more"] if len(shown) > MOST_NAMED else []
    return f" ({', '.join([*shown[:MOST_NAMED], *more])})"
