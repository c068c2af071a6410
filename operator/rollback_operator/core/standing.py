"""The status of a policy: what is known of it, as people read it. It changes when a verdict or a reason does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from rollback_operator.api.common import Condition
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
from rollback_operator.core import conditions as on
from rollback_operator.core.judge import Scene, fires, worst
from rollback_operator.core.ledger import Ledger
from rollback_operator.core.values import Snapshot
from rollback_operator.core.verdicts import Streak

ARMED = "Armed"
ALERT = "Alert"


@dataclass(frozen=True, slots=True)
class Findings:
    """What a look at a policy brought, beside its scene. `trouble`: why it is not, or not fully, evaluated."""

    generation: int
    trouble: tuple[Reason, str] | None = None
    disarmed: tuple[Reason, str] | None = None
    alert: tuple[Reason, str] | None = None
    last_request: LastRequest | None = None


def current_of(snapshot: Snapshot, known: CurrentRevision | None, now: datetime) -> CurrentRevision:
    """What runs, and since when: a restart of the same release is no change."""
    now_runs = snapshot.current
    if known is not None and (known.uid, known.fingerprint) == (snapshot.uid, now_runs.fingerprint):
        return known if known.revision == now_runs.name else known.model_copy(update={"revision": now_runs.name})
    return CurrentRevision(
        uid=snapshot.uid,
        revision=now_runs.name,
        fingerprint=now_runs.fingerprint,
        since=min(snapshot.changed or now, now),
        estimated=snapshot.changed is None,
        rollback=snapshot.reactivated,
    )


def status_of(orders: PolicySpec, before: PolicyStatus, scene: Scene, found: Findings, now: datetime) -> PolicyStatus:
    """The status after a look; equal to `before` if nothing is new."""
    verdict = None if orders.mode is Mode.SUSPEND else worst(scene.streaks, orders)
    return PolicyStatus(
        conditions=_conditions(orders, before, found, now),
        target=str(orders.target),
        verdict=verdict.value if verdict is not None else None,
        current=scene.current,
        last_known_good=_last_known_good(orders, scene.entries),
        ledger=scene.entries,
        triggers=tuple(_triggers(orders, before, scene)) if orders.mode is not Mode.SUSPEND else (),
        last_request=found.last_request or before.last_request,
        observed_generation=found.generation,
    )


def _conditions(orders: PolicySpec, before: PolicyStatus, found: Findings, now: datetime) -> tuple[Condition, ...]:
    ready: on.Change = ("True", *_ready(orders)) if found.trouble is None else ("False", *found.trouble)
    changes: dict[str, on.Change] = {on.READY: ready}
    if orders.triggers:
        armed = f"{orders.target} can be rolled back."
        changes[ARMED] = ("True", Reason.ARMED, armed) if found.disarmed is None else ("False", *found.disarmed)
        alert = found.alert or (Reason.NOTHING_WRONG, "Nothing wrong was seen.")
        changes[ALERT] = ("False" if alert[0] is Reason.NOTHING_WRONG else "True", *alert)
    kept = {one.type: one for one in before.conditions if before.observed_generation == found.generation}
    same = [kind for kind, change in changes.items() if change and kind in kept and _same(kept[kind], change)]
    fresh = {kind: change for kind, change in changes.items() if kind not in same}
    gone: dict[str, on.Change] = {one.type: None for one in before.conditions if one.type not in changes}
    return (
        on.updated(before.conditions, {**fresh, **gone}, found.generation, now) if fresh or gone else before.conditions
    )


def _same(known: Condition, change: tuple[on.State, Reason, str]) -> bool:
    """The same thing in other words is not worth a write: figures change all the time."""
    return known.status == change[0] and known.reason == change[1]


def _ready(orders: PolicySpec) -> tuple[Reason, str]:
    if orders.mode is Mode.SUSPEND:
        return Reason.SUSPENDED, "mode: Suspend: nothing is asked, and nothing is done."
    if not orders.triggers:
        return Reason.ACCEPTED, f"Requests with policyRef use this policy to roll {orders.target} back."
    names = ", ".join(trigger.name for trigger in orders.triggers)
    return Reason.EVALUATING, f"{orders.target} is watched by {names}."


def _last_known_good(orders: PolicySpec, entries: tuple[Entry, ...]) -> RevisionName | None:
    fingerprint = Ledger.of(orders, entries).newest_good(but="")
    found = next((one for one in reversed(entries) if one.fingerprint == fingerprint), None)
    if fingerprint is None:
        return None
    return RevisionName(revision=found.revision if found else "?", fingerprint=fingerprint)


def _triggers(orders: PolicySpec, before: PolicyStatus, scene: Scene) -> Iterable[TriggerStatus]:
    known = {one.name: one for one in before.triggers}
    for trigger in orders.triggers:
        streak = scene.streaks.get(trigger.name, Streak())
        now = _trigger(trigger.name, streak, firing=fires(trigger, scene), excused=trigger.name in scene.excused)
        old = known.get(trigger.name)
        same = old is not None and _gist(old) == _gist(now)
        yield old if same and old is not None else now


def _trigger(name: str, streak: Streak, *, firing: bool, excused: bool) -> TriggerStatus:
    return TriggerStatus(
        name=name,
        verdict=streak.verdict.value,
        firing=firing,
        value=streak.value[:64] or None,
        since=datetime.fromtimestamp(streak.since, UTC),
        message=on.shorten(streak.message, 1024) or None,
        excused=excused,
    )


def _gist(one: TriggerStatus) -> tuple[str, bool, bool]:
    return one.verdict, one.firing, one.excused


def needs_a_look(orders: PolicySpec, status: PolicyStatus, scene: Scene) -> bool:
    """Whether the status would change, or something might have to be done."""
    known: Mapping[str, TriggerStatus] = {one.name: one for one in status.triggers}
    for trigger in orders.triggers:
        firing = fires(trigger, scene)
        old = known.get(trigger.name)
        seen = (scene.streaks.get(trigger.name, Streak()).verdict, firing, trigger.name in scene.excused)
        if firing or old is None or _gist(old) != seen:
            return True
    return False
