"""The status of a policy: what is known of it, as people read it. It changes when a verdict or a reason does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from rollback_operator.api.policy import (
    CurrentRevision,
    Entry,
    LastRequest,
    Mode,
    PolicySpec,
    PolicyStatus,
    RevisionName,
    TriggerStatus,
)
from rollback_operator.api.reasons import Reason
from rollback_operator.api.remember import Remembered
from rollback_operator.api.trigger import Trigger
from rollback_operator.core import conditions as on
from rollback_operator.core.judge import Scene, fires, worst
from rollback_operator.core.ledger import Ledger
from rollback_operator.core.values import Snapshot
from rollback_operator.core.verdicts import Streak, Verdict

ARMED = "Armed"
ALERT = "Alert"


@dataclass(frozen=True, slots=True)
class Findings:
    """What a look at a policy brought, beside its scene. `trouble`: why it is not, or not fully, evaluated.

    Without `asked`, nothing is known: neither what triggers say nor whether the target could be rolled back.
    """

    generation: int
    trouble: tuple[Reason, str] | None = None
    disarmed: tuple[Reason, str] | None = None
    alert: tuple[Reason, str] | None = None
    last_request: LastRequest | None = None
    asked: bool = True
    armed_is_known: bool = True
    """Whether it was looked at, ever, if the target could be rolled back."""
    remembered: tuple[Remembered, ...] | None = None
    """Configuration beside revisions; None: as before."""


def current_of(snapshot: Snapshot, known: CurrentRevision | None, now: datetime) -> CurrentRevision:
    """What runs, and since when: a restart of the same release is no change.

    A return to it is one, if another release came and went between two looks. A change of configuration alone is one
    when no other change followed for a while.
    """
    now_runs = snapshot.current
    if known is not None and known.uid == snapshot.uid and _goes_on(snapshot, known):
        return known
    if known is not None and _no_longer_told_apart(snapshot, known):
        return known.model_copy(update={"fingerprint": now_runs.fingerprint, "revision": now_runs.name})
    if known is not None and (known.uid, known.fingerprint) == (snapshot.uid, now_runs.fingerprint):
        if known.revision == now_runs.name:
            return known
        if known.rollback or not snapshot.reactivated:
            return known.model_copy(update={"revision": now_runs.name})
    return CurrentRevision(
        uid=snapshot.uid,
        revision=now_runs.name,
        fingerprint=now_runs.fingerprint,
        since=min(snapshot.changed or now, now),
        estimated=snapshot.changed is None,
        rollback=snapshot.reactivated,
    )


def _goes_on(snapshot: Snapshot, known: CurrentRevision) -> bool:
    """Whether what was known goes on, although there is other configuration: its release may be on its way."""
    return snapshot.arriving is not None and _template(known.fingerprint) == _template(snapshot.current.fingerprint)


def _no_longer_told_apart(snapshot: Snapshot, known: CurrentRevision) -> bool:
    """Whether the policy ceased to remember configuration since."""
    if snapshot.current.config or known.uid != snapshot.uid:
        return False
    return known.fingerprint != snapshot.current.fingerprint == _template(known.fingerprint)


def _template(fingerprint: str) -> str:
    return fingerprint.partition("+")[0]


def status_of(orders: PolicySpec, before: PolicyStatus, scene: Scene, found: Findings, now: datetime) -> PolicyStatus:
    """The status after a look; equal to `before` if nothing is new.

    What a condition says in other words is not new: figures change all the time. When something else is written, the
    words of today are written with it.
    """
    asked = found.asked and orders.mode is not Mode.SUSPEND
    kept = _not_asked_since(before, scene, found.generation)
    said = {**scene.streaks, **{name: Streak(Verdict(one.verdict)) for name, one in kept.items()}}
    verdict = worst(said, orders) if asked else None
    changes = _conditions(orders, found, asked=asked)
    after = PolicyStatus(
        conditions=before.conditions if _same(before, changes) else (),
        target=str(orders.target),
        verdict=verdict.value if verdict is not None else None,
        current=scene.current,
        last_known_good=_last_known_good(orders, scene.entries),
        ledger=scene.entries,
        triggers=tuple(_triggers(orders, before, scene, kept, now)) if asked else (),
        remembered=before.remembered if found.remembered is None else found.remembered,
        last_request=found.last_request or before.last_request,
        observed_generation=found.generation,
    )
    if after == before:
        return before
    gone: dict[str, on.Change] = {one.type: None for one in before.conditions if one.type not in changes}
    return after.model_copy(
        update={"conditions": on.updated(before.conditions, {**changes, **gone}, found.generation, now)}
    )


def _conditions(orders: PolicySpec, found: Findings, *, asked: bool) -> dict[str, tuple[on.State, Reason, str]]:
    """What each condition says."""
    changes: dict[str, tuple[on.State, Reason, str]] = {
        on.READY: ("True", *_ready(orders)) if found.trouble is None else ("False", *found.trouble)
    }
    if orders.triggers and asked:
        if found.armed_is_known:
            armed = f"{orders.target} can be rolled back."
            reason, message = found.disarmed or (Reason.ARMED, armed)
            changes[ARMED] = ("True" if reason in (Reason.ARMED, Reason.ARMED_FOR_NOW) else "False", reason, message)
        alert = found.alert or (Reason.NOTHING_WRONG, "Nothing wrong was seen.")
        changes[ALERT] = ("False" if alert[0] is Reason.NOTHING_WRONG else "True", *alert)
    return changes


def _same(before: PolicyStatus, changes: Mapping[str, tuple[on.State, Reason, str]]) -> bool:
    said = {one.type: (one.status, one.reason) for one in before.conditions}
    return said == {kind: new[:2] for kind, new in changes.items()}


def _ready(orders: PolicySpec) -> tuple[Reason, str]:
    lapses = " Nothing is remembered either: that takes triggers that are asked." if orders.remember else ""
    if orders.mode is Mode.SUSPEND:
        return Reason.SUSPENDED, f"mode: Suspend: nothing is asked, and nothing is done.{lapses}"
    if not orders.triggers:
        return Reason.ACCEPTED, f"Requests with policyRef use this policy to roll {orders.target} back.{lapses}"
    names = ", ".join(trigger.name for trigger in orders.triggers)
    return Reason.EVALUATING, f"{orders.target} is watched by {names}."


def _last_known_good(orders: PolicySpec, entries: tuple[Entry, ...]) -> RevisionName | None:
    fingerprint = Ledger.of(orders, entries).newest_good()
    found = next((one for one in reversed(entries) if one.fingerprint == fingerprint), None)
    if fingerprint is None:
        return None
    return RevisionName(revision=found.revision if found else "?", fingerprint=fingerprint)


def _not_asked_since(before: PolicyStatus, scene: Scene, generation: int) -> Mapping[str, TriggerStatus]:
    """What is known of triggers that were not asked since the operator started, or since another release came.

    Their newest answer stands until they are; of another release it says neither that it fires nor what it is excused.
    """
    if before.observed_generation != generation:
        return {}
    known = {one.name: one for one in before.triggers if not scene.streaks.get(one.name, Streak()).at}
    if _release(before.current) == _release(scene.current):
        return known
    fresh = {name: {"firing": False, "excused": name in scene.excused} for name in known}
    return {name: one.model_copy(update=fresh[name]) for name, one in known.items()}


def _release(current: CurrentRevision | None) -> tuple[str, str] | None:
    return (current.uid, current.fingerprint) if current is not None else None


def _triggers(
    orders: PolicySpec, before: PolicyStatus, scene: Scene, kept: Mapping[str, TriggerStatus], now: datetime
) -> Iterable[TriggerStatus]:
    known = {one.name: one for one in before.triggers}
    for trigger in orders.triggers:
        new = kept.get(trigger.name) or _trigger(trigger, scene, now)
        old = known.get(trigger.name)
        yield old if old is not None and _gist(old) == _gist(new) else new


def _trigger(trigger: Trigger, scene: Scene, now: datetime) -> TriggerStatus:
    streak = scene.streaks.get(trigger.name, Streak())
    return TriggerStatus(
        name=trigger.name,
        verdict=streak.verdict.value,
        firing=fires(trigger, scene),
        value=streak.value[:64] or None,
        since=datetime.fromtimestamp(streak.since, UTC) if streak.at else now,
        message=on.shorten(streak.message, 1024) or None,
        excused=trigger.name in scene.excused,
    )


def _gist(one: TriggerStatus) -> tuple[str, bool, bool, bool]:
    """What is worth a write. An Unknown without words was not asked yet, and is to say why once it was."""
    unasked = one.verdict == Verdict.UNKNOWN.value and one.message is None
    return one.verdict, one.firing, one.excused, unasked


def needs_a_look(orders: PolicySpec, status: PolicyStatus, scene: Scene) -> bool:
    """Whether the status would change by what the triggers say."""
    known: Mapping[str, TriggerStatus] = {one.name: one for one in status.triggers}
    for trigger in orders.triggers:
        streak = scene.streaks.get(trigger.name, Streak())
        unasked = streak.verdict is Verdict.UNKNOWN and not streak.message
        seen = streak.verdict, fires(trigger, scene), trigger.name in scene.excused, unasked
        if trigger.name not in known or (streak.at and _gist(known[trigger.name]) != seen):
            return True
    return False
