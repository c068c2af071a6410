"""What a policy does: given what its triggers say and what is known of its target, whether to act, and why not.

Pure and replayable: the backtest and the benchmark of decisions call the same functions as the operator.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from rollback_operator.api.fields import format_duration, parse_duration
from rollback_operator.api.policy import CurrentRevision, Entry, Mode, PolicySpec, Proof
from rollback_operator.api.reasons import Reason
from rollback_operator.api.request import MAX_REASON, Phase
from rollback_operator.api.trigger import Action, Trigger
from rollback_operator.core.conditions import shorten
from rollback_operator.core.half import is_of
from rollback_operator.core.ledger import Ledger
from rollback_operator.core.values import Other
from rollback_operator.core.verdicts import Rule, Streak, Verdict

GRACE = "5m"
"""How long people have to step in before an AlertThenRollback, if the trigger does not say."""
FIRST_RETRY = timedelta(minutes=1)
"""After a request that could not act; doubled each time."""
_NOT_WELL = (Reason.UNHEALTHY, Reason.HALF_APPLIED, Reason.TIMEOUT)


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything that a policy's decision depends on, but for its orders.

    `excused`: triggers that were bad before the current revision came. `crowd`: why it looks as if the platform were
    the cause and no release. `requests`: those for the same target.
    """

    name: str
    uid: str
    current: CurrentRevision | None
    streaks: Mapping[str, Streak]
    excused: frozenset[str] = frozenset()
    entries: tuple[Entry, ...] = ()
    requests: tuple[Other, ...] = ()
    last_request: str | None = None
    automatic: bool = True
    crowd: str | None = None
    arriving: datetime | None = None
    """Until then another release may be on its way: nothing but configuration has changed yet."""


@dataclass(frozen=True, slots=True)
class Act:
    """The request that a policy makes."""

    name: str
    from_: str
    """Fingerprint of what is to be rolled back: nothing else is."""
    reason: str
    to: str | None = None
    grace: str | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """What follows: a request to make, one to take back, and what people should know."""

    alert: tuple[Reason, str] | None = None
    act: Act | None = None
    withdraw: str | None = None
    """Name of a request that waits for people while nothing is wrong any more."""


@dataclass(frozen=True, slots=True)
class _Cause:
    """Why a rollback is wanted."""

    words: str
    to: str | None = None
    grace: str | None = None


def fires(trigger: Trigger, scene: Scene) -> bool:
    """Whether a trigger has been bad for long enough, and the current revision may be blamed."""
    streak = scene.streaks.get(trigger.name)
    return streak is not None and trigger.name not in scene.excused and streak.fires(Rule.of(trigger))


def judge(orders: PolicySpec, scene: Scene, now: datetime) -> Judgement:
    """Whether the policy acts now; without a current revision it never does."""
    if orders.mode is Mode.SUSPEND or scene.current is None:
        return Judgement()
    own = _own(scene)
    pending = next((one for one in own if one.phase is None or not one.phase.final), None)
    if pending is not None:
        return _wait_for(pending, orders, scene)
    cause = _cause(orders, scene, own)
    if isinstance(cause, _Cause):
        return _act(orders, scene, cause, own, now)
    return Judgement(cause)


def _own(scene: Scene) -> list[Other]:
    """The policy's own requests, the newest last."""
    return sorted((one for one in scene.requests if one.policy_uid == scene.uid), key=lambda one: one.created)


def _wait_for(pending: Other, orders: PolicySpec, scene: Scene) -> Judgement:
    if pending.graced and not _any_trouble(orders, scene):
        message = f"Nothing is wrong any more: {pending.name}, which was waiting for people, is taken back."
        return Judgement((Reason.NOTHING_WRONG, message), withdraw=pending.name)
    held = _held(orders, scene) if pending.graced else None
    if held is not None:
        message = f"{pending.name}, which was waiting for people, is taken back: {held[1]}"
        return Judgement((held[0], message), withdraw=pending.name)
    return Judgement((Reason.ROLLING_BACK, f"{pending.name} is at it: {pending.message or 'it was just made'}"))


def _any_trouble(orders: PolicySpec, scene: Scene) -> bool:
    """Whether a trigger that rolls back is in Breach, or nothing is known of it."""
    acting = [one.name for one in orders.triggers if one.action is not Action.ALERT]
    verdicts = [scene.streaks[name].verdict if name in scene.streaks else Verdict.UNKNOWN for name in acting]
    return any(verdict is not Verdict.HEALTHY for verdict in verdicts)


# Causes, the weightiest first.


def _cause(orders: PolicySpec, scene: Scene, own: list[Other]) -> _Cause | tuple[Reason, str] | None:
    failed = _failed_verification(orders, scene, own)
    if failed is not None:
        return failed
    returned = _returned(orders, scene)
    if returned is not None:
        return returned
    firing = [one for one in orders.triggers if fires(one, scene)]
    acting = [one for one in firing if one.action is not Action.ALERT]
    recent = [one for one in acting if _recent(one, orders, scene)] if scene.arriving is None else acting
    if recent:
        return _of_triggers(recent, scene)
    if acting:
        return _too_old(acting, orders, scene)
    return _nothing_to_do(orders, scene, firing)


def _nothing_to_do(orders: PolicySpec, scene: Scene, firing: list[Trigger]) -> tuple[Reason, str] | None:
    """What people should know although nothing is to be rolled back."""
    if scene.crowd is not None and _bad_now(orders, scene):
        return Reason.MANY_AT_ONCE, scene.crowd
    return (Reason.FIRING, _said(firing, scene)) if firing else _excused(orders, scene)


def _excused(orders: PolicySpec, scene: Scene) -> tuple[Reason, str] | None:
    """What the current revision is not blamed for was not well since: people have to know."""
    assert scene.current is not None
    excused = [one for one in orders.triggers if one.name in scene.excused]
    if not excused:
        return None
    said = "; ".join(_one(one, scene.streaks.get(one.name, Streak())) for one in excused)
    message = (
        f"{said}. It was bad before revision {scene.current.revision} of {orders.target} came, which is not blamed "
        "until it was Healthy once: nothing is rolled back."
    )
    return Reason.NO_RECENT_CHANGE, message


def _breaches(trigger: Trigger, scene: Scene) -> bool:
    streak = scene.streaks.get(trigger.name)
    return streak is not None and streak.verdict is Verdict.BREACH


def _bad_now(orders: PolicySpec, scene: Scene) -> bool:
    """Whether a trigger that rolls back is in Breach, however long."""
    return any(_breaches(one, scene) for one in orders.triggers if one.action is not Action.ALERT)


def _failed_verification(orders: PolicySpec, scene: Scene, own: list[Other]) -> _Cause | tuple[Reason, str] | None:
    """What was brought back is not well either, or nobody could say so."""
    assert scene.current is not None
    last = own[-1] if own else None
    if last is None or not last.applied or last.to is None or last.phase is not Phase.FAILED:
        return None
    if not is_of(scene.current.fingerprint, last.to):
        return None
    if last.reason == Reason.NOT_VERIFIED and _any_trouble(orders, scene):
        return (
            Reason.COULD_NOT_ROLL_BACK,
            f"{last.name} was made, and nobody could say whether it helped: {last.message}",
        )
    ledger = Ledger.of(orders, scene.entries)
    if last.reason not in _NOT_WELL or scene.current.fingerprint in ledger.forgiven:
        return None
    if last.reason == Reason.HALF_APPLIED and scene.current.fingerprint == last.to:
        return None  # somebody has brought the whole of it since
    return _after_no_help(orders, last, ledger.newest_good(_tried(own)))


def _tried(own: list[Other]) -> set[str]:
    """What the last requests brought back, one after the other, and none of it was well.

    It need not count as bad: what was brought in parts only proves nothing.
    """
    made = itertools.takewhile(
        lambda one: one.phase is Phase.FAILED and one.reason in _NOT_WELL,
        (one for one in reversed(own) if one.applied),
    )
    return {one.to for one in made if one.to is not None}


def _after_no_help(orders: PolicySpec, last: Other, to: str | None) -> _Cause | tuple[Reason, str]:
    """`to` is the release that proved good last, if one did."""
    if orders.on_verify_failure != "NextGood":
        return Reason.COULD_NOT_ROLL_BACK, f"{last.name} was made, and did not help: {last.message}"
    if to is None:
        words = f"{last.name} did not help, and no older revision proved good: {last.message}"
        return Reason.COULD_NOT_ROLL_BACK, words
    return _Cause(f"revision {last.to_name}, which {last.name} brought back, is not well either", to)


def _returned(orders: PolicySpec, scene: Scene) -> _Cause | tuple[Reason, str] | None:
    """A release that proved bad is back."""
    current = scene.current
    assert current is not None
    why = Ledger.of(orders, scene.entries).why_bad(current.fingerprint)
    if why is None:
        return None
    words = f"revision {current.revision} is a release that counts as bad ({why}), and it is back"
    if orders.on_return == "Rollback" and not _asked_for(scene):
        return _Cause(words)
    correct = "If it is well now, call it Good in the policy's spec.ledger; else release another one."
    return Reason.BAD_RELEASE_RETURNED, f"{words[0].upper()}{words[1:]}. {correct}"


def _asked_for(scene: Scene) -> bool:
    """Whether a request brought the bad release back: a request before it proved bad says nothing of that."""
    assert scene.current is not None
    bad = scene.current.fingerprint
    entries = [one for one in scene.entries if is_of(bad, one.fingerprint) and one.verdict is Proof.BAD]
    known = next((one.at for one in entries), None)
    brought = [one for one in scene.requests if one.applied and is_of(bad, one.to)]
    return any(known is None or one.finished is None or one.finished >= known for one in brought)


def _recent(trigger: Trigger, orders: PolicySpec, scene: Scene) -> bool:
    """Whether it began soon enough after the change for the change to be the cause."""
    assert scene.current is not None
    began = scene.streaks[trigger.name].began
    if trigger.watch == "Always" or began is None:
        return True
    return began - scene.current.since.timestamp() <= parse_duration(orders.watch.within).total_seconds()


def _of_triggers(recent: list[Trigger], scene: Scene) -> _Cause:
    at_once = [one for one in recent if one.action is Action.ROLLBACK]
    grace = None if at_once else min((one.grace or GRACE for one in recent), key=parse_duration)
    return _Cause(_said(at_once or recent, scene), grace=grace)


def _said(triggers: list[Trigger], scene: Scene) -> str:
    return "; ".join(_one(trigger, scene.streaks[trigger.name]) for trigger in triggers)


def _one(trigger: Trigger, streak: Streak) -> str:
    held = f" for {format_duration(timedelta(seconds=streak.breached))}" if trigger.for_ else ""
    count = f" ({streak.count} in a row)" if trigger.consecutive else ""
    return f"{trigger.name}: {streak.message or 'bad'}{held}{count}"


def _too_old(acting: list[Trigger], orders: PolicySpec, scene: Scene) -> tuple[Reason, str]:
    assert scene.current is not None
    since = f"{scene.current.since:%Y-%m-%d %H:%M:%S} UTC"
    message = (
        f"{_said(acting, scene)}. It began more than {orders.watch.within} after {orders.target} last changed "
        f"({since}), so no release is the cause: nothing is rolled back."
    )
    return Reason.NO_RECENT_CHANGE, message


# Whether a cause is acted on.


def _act(orders: PolicySpec, scene: Scene, cause: _Cause, own: list[Other], now: datetime) -> Judgement:
    current = scene.current
    assert current is not None
    why_not = _forbidden(orders, scene, cause, own, now)
    if why_not is not None:
        return Judgement(why_not)
    names = [request_name(scene, attempt) for attempt in range(orders.breaker.limit + 1)]
    tries = {one.name: one for one in own}
    # The newest try is the one that counts: those before it may have been deleted with the policy's history.
    done = max((at for at, name in enumerate(names) if name in tries or name == scene.last_request), default=-1)
    stop = _after(tries.get(names[done]), names, done, cause, now) if done >= 0 else None
    if stop is not None:
        return Judgement(stop)
    name = names[done + 1]
    if any(one.name == name for one in scene.requests):
        return Judgement((Reason.COULD_NOT_ROLL_BACK, f"{cause.words}. {in_the_way(name)}"))
    reason = shorten(f"{cause.words} (policy {scene.name})", MAX_REASON)
    act = Act(name, current.fingerprint, reason, cause.to, cause.grace)
    return Judgement((Reason.ROLLING_BACK, f"{cause.words}."), act)


def in_the_way(name: str) -> str:
    """What to do about a request that has the name of a policy's own, and is not."""
    return f"A request named {name} is there that this policy did not make: nothing is rolled back until it is deleted."


def _forbidden(
    orders: PolicySpec, scene: Scene, cause: _Cause, own: list[Other], now: datetime
) -> tuple[Reason, str] | None:
    current = scene.current
    assert current is not None
    if scene.arriving is not None:
        return Reason.RELEASE_UNDER_WAY, f"{cause.words}. {_under_way(orders, scene.arriving)}"
    if current.rollback and cause.to is None and not _is_bad(orders, scene):
        message = f"{cause.words}. {orders.target} went back to this revision, and a rollback is not rolled back."
        return Reason.EARLIER_REVISION, message
    held = _held(orders, scene)
    if held is not None:
        return held[0], f"{cause.words}. {held[1]}"
    return _breaker(orders, cause, own, scene, now)


def _under_way(orders: PolicySpec, until: datetime) -> str:
    return (
        f"Nothing but the configuration of {orders.target} changed, and a moment ago: a release may be under way. "
        f"It is judged from {until:%H:%M:%S} UTC on, or as soon as the rest of it comes or pods are started anew."
    )


def _held(orders: PolicySpec, scene: Scene) -> tuple[Reason, str] | None:
    """What keeps this policy, or all of them, from rolling anything back now."""
    if orders.mode is Mode.OBSERVE:
        return Reason.WOULD_ROLL_BACK, f"With mode: Enforce, {orders.target} would be rolled back."
    if not scene.automatic:
        setting = "The operator's setting ROLLBACK_AUTOMATIC=off keeps policies from rolling back."
        return Reason.AUTOMATIC_ROLLBACKS_OFF, setting
    return (Reason.MANY_AT_ONCE, scene.crowd) if scene.crowd is not None else None


def _is_bad(orders: PolicySpec, scene: Scene) -> bool:
    assert scene.current is not None
    return Ledger.of(orders, scene.entries).why_bad(scene.current.fingerprint) is not None


def _breaker(
    orders: PolicySpec, cause: _Cause, own: list[Other], scene: Scene, now: datetime
) -> tuple[Reason, str] | None:
    window = parse_duration(orders.breaker.window)
    made = [one for one in own if one.applied and now - one.created < window]
    made = [one for one in made if not _recovered_after(one, scene.entries)]
    if len(made) < orders.breaker.limit:
        return None
    closes = f"{min(one.created for one in made[-orders.breaker.limit :]) + window:%H:%M:%S} UTC"
    message = (
        f"{cause.words}. {_times(len(made))} within {orders.breaker.window} this policy rolled back, and its breaker "
        f"allows no more until {closes}, or until a new release proves good."
    )
    return Reason.BREAKER_OPEN, message


def _times(count: int) -> str:
    return {1: "Once", 2: "Twice"}.get(count, f"{count} times")


def _recovered_after(one: Other, entries: tuple[Entry, ...]) -> bool:
    """Whether another release than the one that was brought back proved good since."""
    end = one.finished or one.created
    return any(entry.verdict is Proof.GOOD and entry.at > end and entry.fingerprint != one.to for entry in entries)


_BY_HAND = ": for this release, the policy makes no other. If it is to be rolled back, write a request."


def _after(
    made: Other | None, names: list[str], attempt: int, cause: _Cause, now: datetime
) -> tuple[Reason, str] | None:
    """Why nothing more is done after this attempt; None if there may be another."""
    if made is None:
        return (
            Reason.VETOED,
            f"{cause.words}. {names[attempt]} was made for that, and somebody deleted it{_BY_HAND}",
        )
    if made.applied:
        return Reason.ROLLED_BACK, f"{made.name} ended: {made.message}"
    if made.phase is Phase.ABORTED and not made.withdrawn:
        return (
            Reason.VETOED,
            f"{cause.words}. {made.name} was made for that, and somebody aborted it{_BY_HAND}",
        )
    if attempt + 1 == len(names):
        message = f"{cause.words}. {made.name} was the last of {len(names)} tries: {made.message}"
        return Reason.COULD_NOT_ROLL_BACK, message
    again = (made.finished or made.created) + FIRST_RETRY * (1 << min(attempt, 10))
    if now < again and not made.withdrawn:
        message = (
            f"{cause.words}. {made.name} changed nothing: {made.message} It is tried again at {again:%H:%M:%S} UTC."
        )
        return Reason.COULD_NOT_ROLL_BACK, message
    return None


def request_name(scene: Scene, attempt: int) -> str:
    """The name that a request for this target, at this revision, has: whoever makes it, and however often."""
    current = scene.current
    assert current is not None
    parts = (scene.uid, current.uid, current.fingerprint, current.revision, str(attempt))
    digest = hashlib.sha256("/".join(parts).encode()).hexdigest()[:10]
    return f"{scene.name[:52].rstrip('-.')}-{digest}"


# When the target changes.


@dataclass(frozen=True, slots=True)
class Fresh:
    """What is left of the triggers' past when the target changed."""

    streaks: Mapping[str, Streak] = field(default_factory=dict)
    excused: frozenset[str] = frozenset()


def changed(
    orders: PolicySpec,
    streaks: Mapping[str, Streak],
    excused: frozenset[str],
    before: CurrentRevision,
    since: datetime | None = None,
) -> Fresh:
    """The target left `before`, at `since` (None: at this moment): the triggers begin anew.

    What was bad already, and was not caused by `before` either, is not blamed on what comes now, until it was well
    once. What `before` may have caused goes on counting against its successor: one bad release after another. A change
    may be noticed late: what began after it goes on.
    """
    within = parse_duration(orders.watch.within).total_seconds()
    innocent, kept = set(), {}
    for trigger in orders.triggers:
        streak = streaks.get(trigger.name, Streak())
        if streak.count == 0 or streak.began is None:
            continue
        if since is not None and streak.began > since.timestamp() and trigger.name not in excused:
            kept[trigger.name] = streak
            continue
        rule = Rule.of(trigger)
        if streak.breached * 2 < rule.for_ or streak.count * 2 < rule.consecutive:
            continue  # a blip: the release may well be what makes it last
        late = streak.began - before.since.timestamp() > within and trigger.watch != "Always"
        if late or trigger.name in excused:
            innocent.add(trigger.name)
    return Fresh(kept, frozenset(innocent))


def soaked(orders: PolicySpec, streaks: Mapping[str, Streak]) -> bool:
    """Whether every trigger has been Healthy for the soak time."""
    need = parse_duration(orders.soak).total_seconds()
    seen = [streaks.get(trigger.name, Streak()) for trigger in orders.triggers]
    return bool(seen) and all(one.verdict is Verdict.HEALTHY and one.good >= need for one in seen)


def worst(streaks: Mapping[str, Streak], orders: PolicySpec) -> Verdict | None:
    """The worst of the triggers' verdicts; None without triggers."""
    verdicts = {streaks.get(trigger.name, Streak()).verdict for trigger in orders.triggers}
    return next((one for one in (Verdict.BREACH, Verdict.UNKNOWN, Verdict.HEALTHY) if one in verdicts), None)
