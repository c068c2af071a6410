"""Makes the values that decisions are made from. Everything has a default; a test names what it is about."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from rollback_operator.api.common import TargetRef
from rollback_operator.api.policy import Correction, Entry, PolicySpec, Proof
from rollback_operator.api.reasons import Reason
from rollback_operator.api.request import Phase, RequestSpec, RequestStatus
from rollback_operator.core import conditions as on
from rollback_operator.core.life import advance
from rollback_operator.core.values import (
    Apply,
    Decision,
    Examine,
    Findings,
    Health,
    Observation,
    Obstacle,
    Other,
    Rehearse,
    Rehearsed,
    Request,
    Revision,
    Snapshot,
    Wellbeing,
)
from rollback_operator.core.verdicts import Streak, Verdict

NOW = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)
"""When requests are created; every other time is said relative to it."""

CHECKOUT = TargetRef(kind="Deployment", name="checkout")
CHECKOUT_UID = "uid-of-checkout"
REQUEST_UID = "uid-of-request"

HEALTHY = Health(Wellbeing.HEALTHY, "3 of 3 pods are updated and available")
ROLLING = Health(Wellbeing.PROGRESSING, "1 of 3 pods are updated")
FAILING = Health(Wellbeing.FAILING, "pod checkout-1, container web: CrashLoopBackOff (Error, exit code 1)")
PAUSED = Obstacle(Reason.TARGET_PAUSED, "Deployment/checkout is paused: resume it.")

FINDINGS = Findings(steps=("Replace the pod template.",), diff="-image: shop:3\n+image: shop:2\n")


def after(seconds: float = 0.0) -> datetime:
    """A moment after `NOW`."""
    return NOW + timedelta(seconds=seconds)


def revision(number: int, letter: str | None = None, *, tags: tuple[str, ...] = ()) -> Revision:
    """Revision `number`; its content is named by a letter: revisions of one letter are the same release."""
    content = letter or "abcdefghij"[number - 1]
    return Revision(str(number), number, fingerprint(content), f"ReplicaSet checkout-{content}", tags)


def fingerprint(letter: str) -> str:
    return "v1:" + f"{ord(letter):02x}" * 32


def snapshot(
    letters: str = "abc",
    *,
    current: int | None = None,
    uid: str = CHECKOUT_UID,
    generation: int = 3,
    settled: bool = True,
    health: Health = HEALTHY,
    obstacle: Obstacle | None = None,
    marks: Iterable[str] = (),
    unfinished: bool = False,
    numbers: Iterable[int] | None = None,
    tags: tuple[str, ...] = (),
) -> Snapshot:
    """A target whose revisions hold what `letters` say, oldest first; a dot is a revision that is gone."""
    numbered = zip(numbers or range(1, len(letters) + 1), letters, strict=True)
    history = tuple(revision(number, letter) for number, letter in numbered if letter != ".")
    newest = max((one.order for one in history), default=0)
    now = next((one for one in history if one.order == (current or newest)), revision(1, "z"))
    return Snapshot(
        uid=uid,
        generation=generation,
        current=Revision(now.name, now.order, now.fingerprint, "the Deployment", tags),
        history=history,
        settled=settled,
        health=health,
        obstacle=obstacle,
        marks=frozenset(marks),
        unfinished=unfinished,
    )


def spec(**fields: Any) -> RequestSpec:
    if "policy_ref" not in fields:
        fields.setdefault("target", CHECKOUT)
    return RequestSpec(**{"reason": "5xx after the 14:02 release", **fields})


def request(
    status: RequestStatus | None = None,
    *,
    name: str = "undo",
    uid: str = REQUEST_UID,
    generation: int = 1,
    **fields: Any,
) -> Request:
    """A request for checkout, created at `NOW`; `fields` are its spec's."""
    return Request(
        namespace="shop",
        name=name,
        uid=uid,
        generation=generation,
        created=fields.pop("created", NOW),
        spec=spec(**fields),
        status=status or RequestStatus(),
    )


def policy(**fields: Any) -> PolicySpec:
    return PolicySpec(**{"target": CHECKOUT, **fields})


def other(
    name: str = "earlier",
    *,
    age: float = 60,
    phase: Phase | None = Phase.PENDING,
    uid: str | None = None,
    **fields: Any,
) -> Other:
    """Another request for checkout, created `age` seconds before `NOW`."""
    return Other(uid=uid or f"uid-of-{name}", name=name, created=NOW - timedelta(seconds=age), phase=phase, **fields)


def entry(letter: str, verdict: Proof = Proof.GOOD, *, at: float = -3600, **fields: Any) -> Entry:
    """What the ledger says of the release of that letter, found `at` seconds after `NOW`."""
    number = "abcdefghij".index(letter) + 1
    known = {"revision": str(number), "reason": f"{letter} proved {verdict}", **fields}
    return Entry(fingerprint=fingerprint(letter), verdict=verdict, at=after(at), **known)


def called(letter: str, verdict: Proof, reason: str = "") -> Correction:
    """What people call the release of that letter, in the policy's spec."""
    return Correction(fingerprint=fingerprint(letter), verdict=verdict, reason=reason)


def said(verdict: Verdict, at: float = 0.0, words: str = "") -> Streak:
    """A trigger whose newest answer came `at` seconds after `NOW`."""
    moment = after(at).timestamp()
    return Streak(verdict=verdict, since=moment, at=moment, message=words)


def step_on(asked: Request, decision: Decision) -> Request:
    """The request as it is read again once the decision's status was written."""
    stored = RequestStatus.model_validate(decision.status.dump())
    return replace(asked, status=stored)


def changed(asked: Request, **fields: Any) -> Request:
    """The request after somebody edited its spec (which only `abort` and `approve` allow)."""
    edited = asked.spec.model_copy(update=fields)
    return replace(asked, generation=asked.generation + 1, spec=edited)


def decide(asked: Request, seen: Observation, now: datetime = NOW) -> Decision:
    """`advance`, with its questions answered as if everything were in order."""
    decision = advance(asked, seen, now)
    while isinstance(decision.action, Examine | Rehearse):
        rehearsing = isinstance(decision.action, Rehearse)
        answer = Rehearsed(decision.action.plan) if isinstance(decision.action, Rehearse) else FINDINGS
        seen = replace(seen, answer=answer)
        decision = advance(asked, seen, now)
        assert not (rehearsing and isinstance(decision.action, Rehearse)), "the same question twice"
    return decision


def running(at: float = 0.0, *, seen: Observation | None = None, **fields: Any) -> Request:
    """A request whose plan (from revision 3, c, to 2, b) was written at that second, its effect sent once."""
    asked = request(**fields)
    decision = decide(asked, seen or Observation(target=snapshot()), after(at))
    assert isinstance(decision.action, Apply), decision
    return step_on(asked, decision)


def rolled_back(**fields: Any) -> Snapshot:
    """checkout after the effect of `running()`: b again, as revision 4."""
    return snapshot("a.cb", **{"generation": 4, "marks": {REQUEST_UID}, "health": ROLLING, **fields})


def verifying(at: float = 1.0, **fields: Any) -> Request:
    """A request whose effect was seen at that second."""
    asked = running(**fields)
    decision = advance(asked, Observation(target=rolled_back()), after(at))
    assert decision.status.phase is Phase.VERIFYING
    return step_on(asked, decision)


def why(status: RequestStatus) -> str:
    """The reason as the Ready condition gives it."""
    ready = on.find(status.conditions, on.READY)
    assert ready is not None
    return ready.reason


def message(status: RequestStatus, kind: str = on.READY) -> str:
    condition = on.find(status.conditions, kind)
    assert condition is not None
    return condition.message


def states(status: RequestStatus) -> dict[str, str]:
    """Type to status (with the reason, where it is not the Ready condition's) of all conditions."""
    return {condition.type: condition.status for condition in status.conditions}
