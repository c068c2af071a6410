"""Small values for what a policy's round reads and remembers, and the real ones that they stand for.

Every moment is an age in ticks before `NOW`: the same situation an hour later is the same value. Ages beyond `OLD` are
all alike, as every time limit of the policies that are walked is shorter.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, NamedTuple

from rollback_operator.api import API_VERSION, WITHDRAWN_ANNOTATION
from rollback_operator.api.policy import CurrentRevision, PolicySpec, PolicyStatus
from rollback_operator.api.request import Phase
from rollback_operator.core.values import Health, Other, Revision, Snapshot, Wellbeing
from rollback_operator.core.verdicts import Streak, Verdict

Object = dict[str, Any]
NOW = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)
TICK = timedelta(minutes=1)
"""The interval of the trigger."""
OLD = 30
NAMESPACE, NAME, POLICY_UID, TRIGGER = "shop", "checkout", "uid-of-policy", "errors"
ENOUGH = 3
"""Breaches in a row, or time in Breach or well: more of it makes no difference."""


def ago(ticks: int) -> datetime:
    """The moment so many ticks ago."""
    return NOW - ticks * TICK


def seconds(ticks: int) -> float:
    """The same in seconds since the epoch."""
    return ago(ticks).timestamp()


def age(moment: datetime) -> int:
    """How many ticks ago that was."""
    return min(round((NOW - moment) / TICK), OLD)


def _age(moment: float) -> int:
    return min(round((NOW.timestamp() - moment) / TICK.total_seconds()), OLD)


def older(ticks: int) -> int:
    """An age a tick later."""
    return min(ticks + 1, OLD)


def _older(ticks: int | None) -> int | None:
    return None if ticks is None else older(ticks)


@cache
def print_of(letter: str) -> str:
    """The fingerprint of a release."""
    return f"v1:{letter * 64}"


def letter_of(fingerprint: str) -> str:
    """The release of a fingerprint."""
    return fingerprint[3]


# The target.


class Target(NamedTuple):
    """What runs, and what ran; the newest last."""

    uid: str
    letter: str
    number: int
    since: int
    back: bool
    """It is a return to an earlier revision."""
    history: tuple[tuple[str, int], ...]


@cache
def snapshot(it: Target) -> Snapshot:
    """What the target's module makes of it."""
    history = tuple(Revision(str(number), number, print_of(letter)) for letter, number in it.history)
    current = next(one for one in history if one.order == it.number)
    health = Health(Wellbeing.HEALTHY, "3 of 3 pods")
    return Snapshot(
        it.uid, it.number, current, history, settled=True, health=health, changed=ago(it.since), reactivated=it.back
    )


# Requests.


class Req(NamedTuple):
    """A request of the policy, as far as its own model tells how it can go."""

    name: str
    who: int
    created: int
    why: tuple[str, int]
    """The target's uid and the revision that it was made for."""
    seen: str
    """The release that it was made for."""
    asked_to: str | None = None
    graced: bool = False
    asked_about: int | None = None
    """The revision that people were asked about."""
    phase: str = ""
    reason: str = ""
    applied: bool = False
    left: tuple[str, int] | None = None
    to: tuple[str, int] | None = None
    finished: int | None = None
    abort: bool = False
    withdrawn: bool = False
    approved: bool = False

    @property
    def ended(self) -> bool:
        """Whether its phase is final."""
        return self.finished is not None

    @property
    def waits(self) -> bool:
        """Whether people may still step in."""
        return self.graced and self.phase == "" and not self.approved and self.created < GRACE


GRACE = 2
"""Ticks that people have to step in."""


@cache
def other(it: Req) -> Other:
    """What `resources.requests_for` gives of it."""
    return Other(
        uid=f"uid-of-request-{it.who}",
        name=it.name,
        created=ago(it.created),
        phase=Phase(it.phase) if it.phase else None,
        applied=it.applied,
        left=print_of(it.left[0]) if it.left else None,
        left_name=str(it.left[1]) if it.left else "",
        to=print_of(it.to[0]) if it.to else None,
        to_name=str(it.to[1]) if it.to else "",
        finished=ago(it.finished) if it.finished is not None else None,
        reason=it.reason,
        message="said",
        policy_uid=POLICY_UID,
        graced=it.waits,
        withdrawn=it.withdrawn,
    )


def request_body(it: Req) -> Object:
    """Its JSON, as far as a policy reads it."""
    spec: Object = {"policyRef": {"name": NAME, "uid": POLICY_UID}, "reason": "5xx", "abort": it.abort}
    spec |= {"grace": f"{GRACE}m"} if it.graced else {}
    spec |= {"approve": True} if it.approved else {}
    status: Object = {"phase": it.phase} if it.phase else {}
    if it.applied:
        status["conditions"] = [_condition_body("Applied", "True", "Applied", 1)]
    if it.finished is not None:
        status["finishedAt"] = ago(it.finished).isoformat()
    return {
        "metadata": {
            "namespace": NAMESPACE,
            "name": it.name,
            "uid": f"uid-of-request-{it.who}",
            "generation": 1,
            "creationTimestamp": ago(it.created).isoformat(),
            "resourceVersion": "1",
            "annotations": {WITHDRAWN_ANNOTATION: "true"} if it.withdrawn else {},
        },
        "spec": spec,
        "status": status,
    }


# The policy and its status.


class Current(NamedTuple):
    """`status.current`."""

    uid: str
    number: str
    letter: str
    since: int
    back: bool


class Entry(NamedTuple):
    """A line of the ledger."""

    letter: str
    number: str
    verdict: str
    at: int


class Status(NamedTuple):
    """A policy's status without its words."""

    generation: int = -1
    conditions: tuple[tuple[str, str, str], ...] = ()
    verdict: str | None = None
    current: Current | None = None
    good: tuple[str, str] | None = None
    ledger: tuple[Entry, ...] = ()
    triggers: tuple[tuple[str, bool, bool, bool], ...] = ()
    """Verdict, firing, excused, and whether it says why."""
    last: tuple[str, int] | None = None

    @property
    def alert(self) -> str | None:
        """Why people are needed, or what goes on."""
        return next((why for kind, said, why in self.conditions if kind == "Alert" and said == "True"), None)


def current_of(it: CurrentRevision | None) -> Current | None:
    """A small value of what runs."""
    if it is None:
        return None
    return Current(it.uid, it.revision, letter_of(it.fingerprint), age(it.since), it.rollback)


def current_revision(it: Current | None) -> CurrentRevision | None:
    """The real one."""
    if it is None:
        return None
    return CurrentRevision(
        uid=it.uid, revision=it.number, fingerprint=print_of(it.letter), since=ago(it.since), rollback=it.back
    )


def status_of(it: PolicyStatus) -> Status:
    """A small value of a status."""
    good = it.last_known_good
    last = it.last_request
    return Status(
        it.observed_generation,
        tuple((one.type, one.status, one.reason) for one in it.conditions),
        it.verdict,
        current_of(it.current),
        (good.revision, letter_of(good.fingerprint)) if good else None,
        tuple(Entry(letter_of(one.fingerprint), one.revision, one.verdict.value, age(one.at)) for one in it.ledger),
        tuple((one.verdict, one.firing, one.excused, one.message is not None) for one in it.triggers),
        (last.name, age(last.at)) if last else None,
    )


def _condition_body(kind: str, said: str, reason: str, generation: int) -> Object:
    when = NOW.isoformat()
    return {
        "type": kind,
        "status": said,
        "reason": reason,
        "message": "said",
        "lastTransitionTime": when,
        "observedGeneration": generation,
    }


@cache
def status_body(it: Status) -> Object:
    """Its JSON."""
    now = NOW.isoformat()
    said: Object = {
        "conditions": [_condition_body(*one, it.generation) for one in it.conditions],
        "target": f"Deployment/{NAME}",
        "verdict": it.verdict,
        "current": it.current
        and {
            "uid": it.current.uid,
            "revision": it.current.number,
            "fingerprint": print_of(it.current.letter),
            "since": ago(it.current.since).isoformat(),
            "rollback": it.current.back,
        },
        "lastKnownGood": it.good and {"revision": it.good[0], "fingerprint": print_of(it.good[1])},
        "ledger": [
            {
                "fingerprint": print_of(one.letter),
                "revision": one.number,
                "verdict": one.verdict,
                "at": ago(one.at).isoformat(),
                "reason": "said",
            }
            for one in it.ledger
        ],
        "triggers": [
            {
                "name": TRIGGER,
                "verdict": verdict,
                "firing": firing,
                "excused": excused,
                "since": now,
                "value": "1",
                "message": "said" if why else None,
            }
            for verdict, firing, excused, why in it.triggers
        ],
        "lastRequest": it.last and {"name": it.last[0], "at": ago(it.last[1]).isoformat()},
        "observedGeneration": it.generation,
    }
    return {name: value for name, value in said.items() if value is not None} if it != Status() else {}


@cache
def policy_status(it: Status) -> PolicyStatus:
    """The real one."""
    return PolicyStatus.model_validate(status_body(it))


class Policy(NamedTuple):
    """The policy as the API server holds it."""

    mode: str
    generation: int
    status: Status


@cache
def policy_spec(spec: str, mode: str) -> PolicySpec:
    """Its orders."""
    return PolicySpec.model_validate(spec_body(spec, mode))


@cache
def spec_body(spec: str, mode: str) -> Object:
    """The JSON of its orders."""
    trigger: Object = {
        "name": TRIGGER,
        "prometheus": {"query": "errors"},
        "when": "> 5%",
        "interval": "1m",
        "for": "1m",
    }
    body: Object = {
        "target": {"kind": "Deployment", "name": NAME},
        "mode": mode,
        "triggers": [trigger],
        "watch": {"within": "2m"},
        "soak": "1m",
        "breaker": {"limit": 1, "window": "4m"},
    }
    if spec == GRACED:
        trigger |= {"action": "AlertThenRollback", "grace": f"{GRACE}m"}
    if spec == ON_RETURN:
        body |= {"onReturn": "Rollback", "breaker": {"limit": 2, "window": "4m"}}
    if spec == NEXT_GOOD:
        body |= {"onVerifyFailure": "NextGood", "breaker": {"limit": 2, "window": "4m"}}
    if spec == SHORT_HISTORY:
        body |= {"historyLimit": 1}
    return body


PLAIN, GRACED, ON_RETURN, NEXT_GOOD = "Rollback", "AlertThenRollback", "onReturn: Rollback", "NextGood"
SHORT_HISTORY = "historyLimit: 1"


def policy_body(spec: str, it: Policy) -> Object:
    """Its JSON."""
    return {
        "apiVersion": API_VERSION,
        "metadata": {
            "namespace": NAMESPACE,
            "name": NAME,
            "uid": POLICY_UID,
            "generation": it.generation,
            "resourceVersion": "1",
        },
        "spec": spec_body(spec, it.mode),
        "status": status_body(it.status),
    }


# Rows of answers.


class Row(NamedTuple):
    """A `Streak` in ticks."""

    verdict: str
    at: int
    breached: int
    bad: int
    began: int | None
    known: int | None
    healthy: int | None
    good: int


def row_of(it: Streak) -> Row | None:
    """A small value of a row; None for an empty one."""
    if not it.at:
        return None
    tick = TICK.total_seconds()
    began, known, healthy = (None if one is None else _age(one) for one in (it.began, it.known, it.healthy))
    breached, good = (min(round(one / tick), ENOUGH) for one in (it.breached, it.good))
    return Row(it.verdict.value, _age(it.at), breached, min(it.count, ENOUGH), began, known, healthy, good)


@cache
def streak(it: Row | None) -> Streak:
    """The real one."""
    if it is None:
        return Streak()
    tick, at = TICK.total_seconds(), seconds(it.at)
    began, known, healthy = (None if one is None else seconds(one) for one in (it.began, it.known, it.healthy))
    breached, good = it.breached * tick, it.good * tick
    return Streak(Verdict(it.verdict), at, "1", "said", at, breached, it.bad, began, known, healthy, good)


# A tick later.


@cache
def older_row(it: Row | None) -> Row | None:
    """A row a tick later."""
    if it is None:
        return None
    began, known, healthy = _older(it.began), _older(it.known), _older(it.healthy)
    return it._replace(at=older(it.at), began=began, known=known, healthy=healthy)


def older_current(it: Current | None) -> Current | None:
    """What runs, a tick later."""
    return it and it._replace(since=older(it.since))


@cache
def older_status(it: Status) -> Status:
    """A status a tick later."""
    ledger = tuple(one._replace(at=older(one.at)) for one in it.ledger)
    last = it.last and (it.last[0], older(it.last[1]))
    return it._replace(current=older_current(it.current), ledger=ledger, last=last)


@cache
def older_request(it: Req) -> Req:
    """A request a tick later."""
    return it._replace(created=older(it.created), finished=_older(it.finished))


def older_target(it: Target | None) -> Target | None:
    """The target a tick later."""
    return it and it._replace(since=older(it.since))
