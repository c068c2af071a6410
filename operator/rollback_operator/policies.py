"""Standing orders: asking what triggers ask, judging the answers, and making the one request that follows.

An evaluation asks and folds; only when something changed, or something might have to be done, the policy is looked at
as a whole: target, requests, ledger. So an idle policy costs its questions, and no call to the API server.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from rollback_operator import metrics
from rollback_operator.api import API_VERSION, POLICIES, REQUESTS
from rollback_operator.api.policy import CurrentRevision, LastRequest, PolicyStatus
from rollback_operator.api.reasons import Reason
from rollback_operator.arming import Arming
from rollback_operator.core import conditions as on
from rollback_operator.core.judge import Act, Judgement, Scene, changed, judge, soaked
from rollback_operator.core.ledger import learned
from rollback_operator.core.standing import ALERT, Findings, current_of, needs_a_look, status_of
from rollback_operator.core.values import Other, Snapshot
from rollback_operator.core.verdicts import Sample, Streak, Verdict, fold
from rollback_operator.kube import errors, events, resources
from rollback_operator.kube.client import Api
from rollback_operator.kube.identity import OPERATOR
from rollback_operator.kube.resources import Key
from rollback_operator.settings import Settings
from rollback_operator.signals.base import Checking, Signal
from rollback_operator.targets.base import Target, Where
from rollback_operator.watching import Asking, Place, Standing, Watching, horizon, standing_of

log = logging.getLogger(__name__)
Object = dict[str, Any]

ARMED_EVERY = 600.0
"""Seconds between looks whether a target could be rolled back, when nothing tells of a change."""
LATE = 1.0
"""Seconds after its time that an evaluation counts as late."""
_FACES: Mapping[str, Callable[[Reason], bool]] = {
    on.READY: lambda reason: reason not in (Reason.ACCEPTED, Reason.EVALUATING, Reason.SUSPENDED),
    "Armed": lambda reason: reason is not Reason.ARMED,
    ALERT: lambda reason: reason not in (Reason.NOTHING_WRONG, Reason.ROLLING_BACK),
}
"""Conditions whose changes are told in Events; whether a reason is a warning."""


class PolicyWorker:
    """Works on one policy at a time a key."""

    def __init__(
        self,
        api: Api,
        targets: Mapping[str, Target],
        signals: Mapping[str, Signal],
        settings: Settings,
        wake: Callable[[Key], None],
    ) -> None:
        self._api = api
        self._targets = targets
        self._signals = signals
        self._settings = settings
        self._wake = wake
        self._arming = Arming(api, targets, settings)
        self.watching = Watching()

    # Events.

    def saw(self, body: Object) -> bool:
        """The watch brought a version of a policy; gives whether it is to be looked at at once."""
        key = resources.key_of(body)
        known = self.watching.get(key)
        if known is not None and (known.uid, known.generation) == _version(body):
            return False
        standing = standing_of(body, known, self._settings.service_account)
        places = {standing.place} | ({known.place} if known is not None else set())
        self.watching.put(standing)
        metrics.POLICIES.saw(key, standing.status.verdict, None)
        self._wake_neighbours(key, places)
        return True

    def gone(self, key: Key) -> None:
        """The policy was deleted."""
        known = self.watching.get(key)
        self.watching.drop(key)
        metrics.POLICIES.gone(key)
        if known is not None:
            self._wake_neighbours(key, {known.place})

    def target_changed(self, place: Place, version: Hashable) -> None:
        """Something happened to an object that may be a target; `version` grows with what it asks for."""
        for key in self.watching.of(place):
            standing = self.watching.get(key)
            if standing is not None and standing.evaluated and standing.target_version != version:
                standing.target_version, standing.target_changed = version, True
                self._wake(key)

    def alerted(self, key: Key) -> None:
        """An alert that names the policy fires, or is over: ask at once."""
        standing = self.watching.get(key)
        if standing is not None and standing.evaluated:
            for one in standing.asking:
                if one.question.trigger.source == "alert":
                    one.due = 0.0
            self._wake(key)

    def request_changed(self, key: Key) -> None:
        """A request of the policy is new, or has ended."""
        standing = self.watching.get(key)
        if standing is not None and standing.evaluated:
            standing.requests_changed = True

    def _wake_neighbours(self, key: Key, places: set[Place]) -> None:
        for place in places:
            for other in self.watching.of(place) - {key}:
                self._wake(other)

    # Work.

    async def work(self, key: Key) -> float | None:
        """Evaluate what is due; gives the seconds until the next evaluation.

        Raises:
            kube.errors.KubeError: something could not be read or written; nothing is lost, try again later.
        """
        standing = self.watching.get(key)
        if standing is None:
            body = await resources.read(self._api, POLICIES, key)
            if body is None:
                return None
            self.saw(body)
            standing = self.watching.get(key)
            assert standing is not None
        if not standing.evaluated or self._rivals(standing):
            await self._look(standing)
            await self._trim(key, standing)
            return None
        await self._evaluate(standing)
        if self._wants_a_look(standing):
            await self._look(standing)
            if standing.requests_changed:
                standing.requests_changed = False
                await self._trim(key, standing)
        return max(0.0, standing.next_due() - time.time())

    def _rivals(self, standing: Standing) -> list[str]:
        return sorted(name for _, name in self.watching.of(standing.place) - {standing.key})

    async def _evaluate(self, standing: Standing) -> None:
        now = time.time()
        due = [one for one in standing.asking if one.due <= now]
        if due:
            samples = await asyncio.gather(*(self._ask(one, now) for one in due))
            for one, sample in zip(due, samples, strict=True):
                self._take(standing, one, sample)
        breaching = self.watching.breaching
        (breaching.add if standing.breaching() else breaching.discard)(standing.key)

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
        standing.streaks[name] = fold(standing.streaks.get(name, Streak()), sample, one.rule)
        if sample.verdict is Verdict.HEALTHY and name in standing.excused:
            standing.excused -= {name}

    def _wants_a_look(self, standing: Standing) -> bool:
        if standing.target_changed or standing.requests_changed or standing.status.observed_generation < 0:
            return True
        if standing.generation != standing.status.observed_generation or not standing.rebuilt:
            return True
        if time.monotonic() - standing.armed_at > ARMED_EVERY:
            return True
        alert = on.find(standing.status.conditions, ALERT)
        if alert is None or alert.status == "True":
            return True
        if needs_a_look(standing.spec, standing.status, self._scene(standing, standing.status.current)):
            return True
        return self._proves_good(standing)

    def _proves_good(self, standing: Standing) -> bool:
        current = standing.status.current
        known = {one.fingerprint for one in standing.status.ledger}
        return current is not None and current.fingerprint not in known and soaked(standing.spec, standing.streaks)

    def _scene(self, standing: Standing, current: CurrentRevision | None, requests: tuple[Other, ...] = ()) -> Scene:
        last = standing.status.last_request
        return Scene(
            name=standing.key[1],
            uid=standing.uid,
            current=current,
            streaks=standing.streaks,
            excused=standing.excused,
            entries=standing.status.ledger,
            requests=requests,
            last_request=last.name if last else None,
            automatic=self._settings.automatic == "on",
            crowd=self._crowd(),
        )

    def _crowd(self) -> str | None:
        """Why it looks as if the platform were the cause, and no release."""
        count, least = len(self.watching.breaching), self._settings.guard
        if least == 0 or count < least:
            return None
        of = self.watching.evaluated()
        if count * 100 < of * self._settings.guard_percent:
            return None
        return (
            f"{count} of {of} policies are in Breach at once: that is the platform rather than a release, so nothing "
            "is rolled back until fewer are (settings ROLLBACK_GUARD and ROLLBACK_GUARD_PERCENT)."
        )

    # A look at the whole.

    async def _look(self, standing: Standing) -> None:
        """Bring ledger, status and requests up to date."""
        now = datetime.now(UTC)
        rivals = self._rivals(standing)
        if not standing.evaluated or rivals:
            trouble = _taken(standing, rivals) if rivals else None
            scene = self._scene(standing, standing.status.current)
            await self._write(standing, scene, Findings(standing.generation, trouble))
            standing.target_changed = False
            return
        look_closely, standing.target_changed = standing.target_changed or not standing.rebuilt, False
        try:
            snapshot, requests = await self._gather(standing)
            current = await self._current(standing, snapshot, now)
            await self._check(standing, snapshot, requests, look_closely=look_closely)
        except errors.KubeError:
            standing.target_changed = True
            raise
        proved = soaked(standing.spec, standing.streaks)
        known = standing.status
        entries = learned(known.ledger, known.current, current, requests, now, soaked=proved)
        scene = replace(self._scene(standing, current, requests), entries=entries)
        judgement = judge(standing.spec, scene, now) if snapshot is not None else Judgement()
        found = Findings(standing.generation, _trouble(standing), standing.disarmed, judgement.alert)
        if judgement.act is not None:
            found = replace(found, last_request=await self._make(standing, judgement.act, now))
        if judgement.withdraw is not None:
            await self._withdraw(standing, judgement.withdraw)
        await self._write(standing, scene, found)

    async def _gather(self, standing: Standing) -> tuple[Snapshot | None, tuple[Other, ...]]:
        namespace, ref = standing.key[0], standing.spec.target
        observed = self._targets[ref.kind].observe(Where(namespace, ref.name), None, None)
        return await asyncio.gather(observed, resources.requests_for(self._api, namespace, ref))

    async def _current(self, standing: Standing, snapshot: Snapshot | None, now: datetime) -> CurrentRevision | None:
        """What runs now; when it is another revision than before, the triggers begin anew."""
        if snapshot is None:
            return None
        if not snapshot.settled and standing.status.current is not None:
            standing.target_changed = True  # its controller has not numbered the revision yet; it will tell
            return standing.status.current
        known = standing.status.current
        current = current_of(snapshot, known, now)
        if not standing.rebuilt:
            await self._rebuild(standing, known, current)
        elif known is not None and (known.uid, known.fingerprint) != (current.uid, current.fingerprint):
            fresh = changed(standing.spec, standing.streaks, standing.excused, known)
            standing.streaks, standing.excused = dict(fresh.streaks), fresh.excused
        return current

    async def _rebuild(self, standing: Standing, known: CurrentRevision | None, current: CurrentRevision) -> None:
        """Ask the past, after a start or for a new policy: a breach of four minutes does not begin from zero."""
        since, end = current.since.timestamp(), time.time()
        back = horizon(standing)
        persisted = {one.name for one in standing.status.triggers if one.excused}
        same = known is not None and (known.uid, known.fingerprint) == (current.uid, current.fingerprint)
        earlier: dict[str, Streak] = {}
        for one, samples in await self._histories(standing, max(since, end - back) - back, end):
            name = one.question.trigger.name
            before, after = Streak(), Streak()
            for sample in samples:
                if sample.at < since:
                    before = fold(before, sample, one.rule)
                else:
                    after = fold(after, sample, one.rule)
                    if sample.verdict is Verdict.HEALTHY:
                        persisted.discard(name)
            earlier[name] = before
            live = standing.streaks.get(name, Streak())
            standing.streaks[name] = live if not samples else _joined(after, live, one)
        if same:
            standing.excused = frozenset(persisted)
        else:
            standing.excused = _excused_before(standing, earlier, known)
        standing.rebuilt = True

    async def _histories(self, standing: Standing, start: float, end: float) -> list[tuple[Asking, list[Sample]]]:
        found = await asyncio.gather(
            *(self._signals[one.question.trigger.source].history(one.question, start, end) for one in standing.asking)
        )
        return [(one, list(samples)) for one, samples in zip(standing.asking, found, strict=True)]

    async def _check(
        self, standing: Standing, snapshot: Snapshot | None, requests: tuple[Other, ...], *, look_closely: bool
    ) -> None:
        """Whether the triggers can be asked as they are written, and whether the target could be rolled back now."""
        if standing.generation != standing.status.observed_generation:
            standing.invalid = await self._invalid(standing)
        elif not look_closely and time.monotonic() - standing.armed_at < ARMED_EVERY:
            return
        standing.disarmed = await self._arming.look(standing, snapshot, requests)
        standing.armed_at = time.monotonic()

    async def _invalid(self, standing: Standing) -> str | None:
        said = await asyncio.gather(*(self._mistake(one) for one in standing.asking))
        found = [
            f"trigger {one.question.trigger.name}: {why}" for one, why in zip(standing.asking, said, strict=True) if why
        ]
        return "; ".join(found) or None

    async def _mistake(self, one: Asking) -> str | None:
        signal = self._signals[one.question.trigger.source]
        return await signal.check(one.question) if isinstance(signal, Checking) else None

    # What follows.

    async def _make(self, standing: Standing, act: Act, now: datetime) -> LastRequest | None:
        """Make the request, once: its name is made of what it is for."""
        namespace, policy = standing.key
        spec: Object = {"policyRef": {"name": policy, "uid": standing.uid}, "reason": act.reason}
        spec |= {"to": act.to} if act.to else {}
        spec |= {"grace": act.grace} if act.grace else {}
        body = {
            "apiVersion": API_VERSION,
            "kind": "RollbackRequest",
            "metadata": {"name": act.name, "namespace": namespace, "labels": {"rollback.dev/policy": policy[:63]}},
            "spec": spec,
        }
        try:
            await self._api.create(resources.path(REQUESTS, namespace), body, as_=OPERATOR)
        except errors.AlreadyExists:
            log.info("The request is there already", extra={"policy": f"{namespace}/{policy}", "request": act.name})
        standing.requests_changed = True
        metrics.REQUESTS_MADE.inc()
        return LastRequest(name=act.name, at=now)

    async def _withdraw(self, standing: Standing, name: str) -> None:
        """Take a request back that waits for people while nothing is wrong any more."""
        body = await resources.read(self._api, REQUESTS, (standing.key[0], name))
        if body is None:
            return
        patch: list[Object] = [
            {"op": "test", "path": "/metadata/resourceVersion", "value": body["metadata"]["resourceVersion"]},
            {"op": "add", "path": "/spec/abort", "value": True},
        ]
        await self._api.patch(resources.path(REQUESTS, standing.key[0], name), patch, as_=OPERATOR)

    async def _write(self, standing: Standing, scene: Scene, found: Findings) -> None:
        """Write the status, if it changed."""
        before = standing.status
        after = status_of(standing.spec, before, scene, found, datetime.now(UTC))
        metrics.POLICIES.saw(standing.key, after.verdict, _alert(after))
        if after == before:
            return
        body = await resources.read(self._api, POLICIES, standing.key)
        if body is None:
            return
        if _version(body) != (standing.uid, standing.generation):
            self.saw(body)
            self._wake(standing.key)
            return
        try:
            await resources.write_status(self._api, POLICIES, body, after)
        except errors.NotFound:
            return
        standing.status = after
        await self._tell(body, before, after)

    async def _tell(self, body: Object, before: PolicyStatus, after: PolicyStatus) -> None:
        for kind, warns in _FACES.items():
            old, new = on.find(before.conditions, kind), on.find(after.conditions, kind)
            if new is None or (old is None and new.reason in (Reason.NOTHING_WRONG, Reason.ARMED)):
                continue
            if old is None or old.reason != new.reason:
                warning = warns(Reason(new.reason))
                await events.emit(
                    self._api, "RollbackPolicy", body["metadata"], new.reason, new.message, warning=warning
                )

    async def _trim(self, key: Key, standing: Standing) -> None:
        namespace, name = key
        bodies = await resources.list_all(self._api, REQUESTS, namespace, f"spec.policyRef.name={name}")
        for body in surplus(bodies, standing.spec.history_limit):
            path = resources.path(REQUESTS, *resources.key_of(body))
            try:
                await self._api.delete(path, as_=OPERATOR, uid=body["metadata"]["uid"])
            except (errors.NotFound, errors.Conflict):
                continue


def _version(body: Object) -> tuple[str, int]:
    return body["metadata"]["uid"], body["metadata"]["generation"]


def _alert(status: PolicyStatus) -> str | None:
    alert = on.find(status.conditions, ALERT)
    return alert.reason if alert is not None and alert.status == "True" else None


def _taken(standing: Standing, rivals: list[str]) -> tuple[Reason, str]:
    names = ", ".join(rivals)
    message = (
        f"{standing.spec.target} has another policy: {names}. One target has one policy: delete all but one; until "
        "then none of them is evaluated."
    )
    return Reason.TARGET_TAKEN, message


def _trouble(standing: Standing) -> tuple[Reason, str] | None:
    return (Reason.INVALID_TRIGGER, standing.invalid) if standing.invalid else None


def _joined(past: Streak, live: Streak, one: Asking) -> Streak:
    """The past, and the one or two answers that came before it was asked."""
    if live.at <= past.at:
        return past
    return fold(past, Sample(live.at, live.verdict, live.value, live.message), one.rule)


def _excused_before(standing: Standing, earlier: Mapping[str, Streak], known: CurrentRevision | None) -> frozenset[str]:
    """What was bad when the target changed while nobody looked; without a known predecessor nothing may be blamed."""
    if known is not None:
        return changed(standing.spec, earlier, frozenset(), known).excused
    return frozenset(name for name, streak in earlier.items() if streak.count)


def surplus(bodies: list[Object], limit: int) -> list[Object]:
    """The finished requests beyond the newest `limit`, oldest first."""
    finished = [body for body in bodies if (body.get("status") or {}).get("finishedAt")]
    finished.sort(key=lambda body: (body["status"]["finishedAt"], body["metadata"]["uid"]))
    return finished[: max(0, len(finished) - limit)]
