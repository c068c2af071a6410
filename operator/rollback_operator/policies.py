"""Standing orders: asking what triggers ask, judging the answers, and making the one request that follows.

An evaluation asks and folds; only when something changed, or something might have to be done, the policy is looked at
as a whole: target, requests, ledger. So an idle policy costs its questions, and no call to the API server.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from rollback_operator import metrics
from rollback_operator.api import API_VERSION, GROUP, POLICIES, REQUESTS, WITHDRAWN_ANNOTATION
from rollback_operator.api.common import Place
from rollback_operator.api.fields import parse_duration
from rollback_operator.api.policy import CurrentRevision, LastRequest, PolicyStatus
from rollback_operator.api.reasons import Reason
from rollback_operator.arming import Arming
from rollback_operator.configuration.remembering import Remembering
from rollback_operator.core import conditions as on
from rollback_operator.core.guard import Guard, in_a_crowd
from rollback_operator.core.judge import Act, Judgement, Scene, changed, in_the_way, judge, soaked
from rollback_operator.core.ledger import learned
from rollback_operator.core.standing import ALERT, Findings, current_of, needs_a_look, status_of
from rollback_operator.core.values import Other, Snapshot, Wellbeing
from rollback_operator.core.verdicts import Sample, Streak, Verdict, fold
from rollback_operator.kube import errors, events, resources
from rollback_operator.kube.client import Api
from rollback_operator.kube.identity import OPERATOR
from rollback_operator.kube.resources import Key
from rollback_operator.settings import Settings
from rollback_operator.signals.base import Checking, Signal
from rollback_operator.targets.base import Target
from rollback_operator.watching import Asking, Standing, Watching, horizon, parse_status, standing_of

log = logging.getLogger(__name__)
Object = dict[str, Any]

POLICY_LABEL = f"{GROUP}/policy"
"""On a request: the policy that made it."""
PAUSE = 10.0
CROWD_PAUSE = 60.0
"""Seconds between looks at a policy when nothing changes: with an alert, or a target that no event tells of; when the
platform is in trouble, or a release is soaked and not rolled out."""
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
        *,
        tell: Callable[[Place], None] = lambda _: None,
    ) -> None:
        """`wake` has a policy looked at; `tell` hears of the target whose triggers say something new."""
        self._tell_of = tell
        self._api = api
        self._targets = targets
        self._signals = signals
        self._settings = settings
        self._wake = wake
        self._guard = Guard(settings.guard, settings.guard_percent)
        self._arming = Arming(api, targets, settings)
        self._remembering = Remembering(api, targets)
        self.watching = Watching()

    # Events.

    def saw(self, body: Object) -> bool:
        """The watch brought a version of a policy; gives whether it is to be looked at at once."""
        key = resources.key_of(body)
        known = self.watching.get(key)
        if known is not None and (known.uid, known.generation) == _version(body):
            return False
        if (
            known is not None
            and known.uid == body["metadata"]["uid"]
            and body["metadata"]["generation"] < known.generation
        ):
            return False  # the watch is behind what was read
        standing = self._understood(body, known)
        if standing is None or body["metadata"].get("deletionTimestamp"):
            self.gone(key)
            return False
        places = {standing.place} | ({known.place} if known is not None else set())
        self.watching.put(standing)
        metrics.POLICIES.saw(key, standing.status.verdict, _alert(standing.status))
        self._wake_neighbours(key, places)
        return True

    def _understood(self, body: Object, known: Standing | None) -> Standing | None:
        try:
            return standing_of(body, known, self._settings.service_account)
        except ValidationError as error:
            context = {"policy": "/".join(resources.key_of(body))}
            log.error("The policy cannot be read, and is not followed: %s", error, extra=context)  # noqa: TRY400
            return None

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
        standing = self.watching.get(key) or await self._read(key)
        if standing is None:
            return None
        if not standing.evaluated or self._rivals(standing):
            await self._rest(standing)
            return None
        await self._evaluate(standing)
        if self._is_known(standing) and self._wants_a_look(standing):
            await self._look(standing)
        return max(0.0, standing.next_due() - time.time()) if self._is_known(standing) else None

    async def _read(self, key: Key) -> Standing | None:
        body = await resources.read(self._api, POLICIES, key)
        if body is not None:
            self.saw(body)
        return self.watching.get(key)

    def _is_known(self, standing: Standing) -> bool:
        """Whether the policy is still there, with these orders."""
        return self.watching.get(standing.key) is standing

    def _rivals(self, standing: Standing) -> list[str]:
        return sorted(name for _, name in self.watching.of(standing.place) - {standing.key})

    async def _evaluate(self, standing: Standing) -> None:
        now = time.time()
        due = [one for one in standing.asking if one.due <= now]
        if due:
            samples = await asyncio.gather(*(self._ask(one, now) for one in due))
            for one, sample in zip(due, samples, strict=True):
                self._take(standing, one, sample)
            self._in_a_crowd(standing, zip(due, samples, strict=True))

    def _in_a_crowd(self, standing: Standing, answers: Iterable[tuple[Asking, Sample]]) -> None:
        if not self._is_known(standing):
            return
        breaching = self.watching.breaching
        (breaching.add if standing.breaching() else breaching.discard)(standing.key)
        if self._crowd() is None:
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

    def _wants_a_look(self, standing: Standing) -> bool:
        now = time.monotonic()
        if self._news(standing) or now - standing.armed_at > ARMED_EVERY or self._remembering.due(standing):
            return True
        if self._proves_good(standing) and now - standing.looked_at >= (CROWD_PAUSE if standing.unproved else 0.0):
            return True
        if self._targets[standing.spec.target.kind].watched is None and now - standing.looked_at >= PAUSE:
            return True
        alert, crowded = _alert(standing.status) is not None, self._crowd() is not None
        if crowded != standing.crowded and (alert or standing.breaching()):
            return True
        return alert and now - standing.looked_at >= (CROWD_PAUSE if crowded else PAUSE)

    def _news(self, standing: Standing) -> bool:
        """Whether something is not as it was at the last look."""
        status = standing.status
        if standing.target_changed or standing.requests_changed or not standing.rebuilt:
            return True
        if standing.generation != status.observed_generation or on.find(status.conditions, ALERT) is None:
            return True
        return needs_a_look(standing.spec, status, self._scene(standing))

    def _proves_good(self, standing: Standing) -> bool:
        current = standing.current
        known = {one.fingerprint for one in standing.status.ledger}
        return current is not None and current.fingerprint not in known and soaked(standing.spec, standing.streaks)

    def _scene(self, standing: Standing, requests: tuple[Other, ...] = (), crowd: str | None = None) -> Scene:
        last = standing.status.last_request
        return Scene(
            name=standing.key[1],
            uid=standing.uid,
            current=standing.current,
            streaks=standing.streaks,
            excused=standing.excused,
            entries=standing.status.ledger,
            requests=requests,
            last_request=last.name if last else None,
            automatic=self._settings.automatic == "on",
            crowd=crowd,
        )

    def _crowd(self) -> str | None:
        """Why it looks as if the platform were the cause, and no release."""
        breaching = len(self.watching.breaching)
        return self._guard.crowd(breaching, self.watching.evaluated()) if breaching else None

    # A look at the whole.

    async def _look(self, standing: Standing) -> None:
        """Bring ledger, status and requests up to date."""
        look_closely = standing.target_changed or standing.requests_changed or not standing.rebuilt
        trim = standing.requests_changed
        standing.target_changed = standing.requests_changed = False
        try:
            await self._look_at(standing, look_closely=look_closely)
            if trim:
                await self._trim(standing)
        except Exception:
            standing.target_changed = standing.requests_changed = True
            raise
        standing.looked_at = time.monotonic()

    async def _look_at(self, standing: Standing, *, look_closely: bool) -> None:
        now = datetime.now(UTC)
        try:
            snapshot, requests = await self._gather(standing)
        except errors.Forbidden as error:
            await self._blind(standing, error)
            return
        settled = snapshot is None or snapshot.settled
        if settled:
            await self._follow(standing, snapshot, now)
            look_closely = look_closely or standing.current != standing.status.current
            await self._arm(standing, snapshot, requests, look_closely=look_closely)
            await self._remembering.look(standing, snapshot, standing.where.account, now)
        else:
            standing.target_changed = True  # its controller has not numbered the revision yet; it will tell
        await self._check(standing)
        known, crowd = standing.status, self._crowd()
        long_enough = settled and soaked(standing.spec, standing.streaks)
        proved = long_enough and _is_well(snapshot)
        standing.unproved = long_enough and not proved
        entries = learned(known.ledger, known.current, standing.current, requests, now, soaked=proved)
        scene = replace(self._scene(standing, requests, crowd), entries=entries)
        judgement = judge(standing.spec, scene, now) if settled else Judgement(_said(known))
        last = _newest(known.last_request, requests, standing.uid)
        found = Findings(
            standing.generation,
            _trouble(standing),
            standing.unremembered or standing.disarmed,
            judgement.alert,
            last,
            remembered=standing.remembered,
        )
        if judgement.act is not None:
            found = await self._make(standing, judgement.act, found, now)
        if judgement.withdraw is not None:
            await self._withdraw(standing, judgement.withdraw)
        if standing.status is not known:
            return  # somebody else wrote it meanwhile: all of it is looked at again
        standing.crowded = crowd is not None
        await self._write(standing, scene, found)

    async def _rest(self, standing: Standing) -> None:
        """Bring the status of a policy that is not evaluated up to date. When it is again, nothing is late."""
        self.watching.breaching.discard(standing.key)
        for one in standing.asking:
            one.due = 0.0
        rivals = self._rivals(standing)
        trouble = _taken(standing, rivals) if rivals else None
        await self._write(standing, self._scene(standing), Findings(standing.generation, trouble, asked=False))
        await self._trim(standing)

    async def _gather(self, standing: Standing) -> tuple[Snapshot | None, tuple[Other, ...]]:
        namespace, ref = standing.key[0], standing.spec.target
        observed = self._targets[ref.kind].observe(standing.where, None, None)
        others = resources.requests_for(self._api, namespace, ref, self._settings.namespace or None)
        return await asyncio.gather(observed, others)

    async def _blind(self, standing: Standing, error: errors.Forbidden) -> None:
        """The target may not be looked at: say so, and leave the rest of what is said as it stands."""
        account, status = standing.where.account, standing.status
        message = f"{standing.spec.target} cannot be looked at as service account {account}: {error}"
        standing.disarmed = Reason.MAY_NOT_ROLL_BACK, message
        found = Findings(standing.generation, _trouble(standing), standing.disarmed, _said(status), status.last_request)
        await self._write(standing, self._scene(standing), found)

    async def _follow(self, standing: Standing, snapshot: Snapshot | None, now: datetime) -> None:
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

    async def _arm(
        self, standing: Standing, snapshot: Snapshot | None, requests: tuple[Other, ...], *, look_closely: bool
    ) -> None:
        """Whether the target could be rolled back now."""
        known = standing.generation == standing.status.observed_generation and not look_closely
        if known and time.monotonic() - standing.armed_at < ARMED_EVERY:
            return
        standing.disarmed = await self._arming.look(standing, snapshot, requests)
        standing.armed_at = time.monotonic()

    async def _check(self, standing: Standing) -> None:
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

    # What follows.

    async def _make(self, standing: Standing, act: Act, found: Findings, now: datetime) -> Findings:
        """Make the request, once: its name is made of what it is for."""
        if not await self._still_orders(standing):
            return found
        key = (standing.key[0], act.name)
        there = await resources.read(self._api, REQUESTS, key) or await self._create(standing, act)
        if (there["spec"].get("policyRef") or {}).get("uid") != standing.uid:
            message = f"{act.reason}. {in_the_way(act.name)}"
            return replace(found, alert=(Reason.COULD_NOT_ROLL_BACK, message))
        return replace(found, last_request=LastRequest(name=act.name, at=now))

    async def _still_orders(self, standing: Standing) -> bool:
        """Whether the policy says what it said, read anew: the watch may be behind, and a rollback is not undone."""
        body = await resources.read(self._api, POLICIES, standing.key)
        return body is not None and self._is_of(standing, body) and self._is_as_known(standing, body)

    def _is_of(self, standing: Standing, body: Object) -> bool:
        """Whether these are the orders that are followed; if not, those are from now on."""
        if _version(body) == (standing.uid, standing.generation) and self._is_known(standing):
            return True
        if self.saw(body):
            self._wake(standing.key)
        return False

    def _is_as_known(self, standing: Standing, body: Object) -> bool:
        """Whether nobody else wrote the status (while one operator takes over from another, say).

        If somebody did, what it knows is not to be lost: that it made a request which people deleted, for example.
        """
        stored = parse_status(body)
        if stored == standing.status:
            return True
        standing.status, standing.target_changed = stored, True
        self._wake(standing.key)
        return False

    async def _create(self, standing: Standing, act: Act) -> Object:
        """Create the request; gives the one that is there of that name, whoever made it."""
        namespace, policy = standing.key
        spec: Object = {
            "policyRef": {"name": policy, "uid": standing.uid},
            "from": act.from_,
            "reason": act.reason,
        }
        spec |= {"to": act.to} if act.to else {}
        spec |= {"grace": act.grace} if act.grace else {}
        labels = {POLICY_LABEL: policy[:63].rstrip("-.")}  # what is cut off must leave a label
        body = {
            "apiVersion": API_VERSION,
            "kind": "RollbackRequest",
            "metadata": {"name": act.name, "namespace": namespace, "labels": labels},
            "spec": spec,
        }
        try:
            made = await self._api.create(resources.path(REQUESTS, namespace), body, as_=OPERATOR)
        except errors.AlreadyExists:
            there = await resources.read(self._api, REQUESTS, (namespace, act.name))
            if there is None:
                raise
            return there
        metrics.REQUESTS_MADE.inc()
        return made

    async def _withdraw(self, standing: Standing, name: str) -> None:
        """Take a request back that waits for people while nothing is wrong any more."""
        body = await resources.read(self._api, REQUESTS, (standing.key[0], name))
        if body is None or body["spec"].get("abort") or not resources.other_of(resources.parse_request(body)).graced:
            return  # people were quicker: their veto is no taking back
        annotations = {**(body["metadata"].get("annotations") or {}), WITHDRAWN_ANNOTATION: "true"}
        patch: list[Object] = [
            {"op": "test", "path": "/metadata/resourceVersion", "value": body["metadata"]["resourceVersion"]},
            {"op": "add", "path": "/metadata/annotations", "value": annotations},
            {"op": "add", "path": "/spec/abort", "value": True},
        ]
        await self._api.patch(resources.path(REQUESTS, standing.key[0], name), patch, as_=OPERATOR)

    async def _write(self, standing: Standing, scene: Scene, found: Findings) -> None:
        """Write the status, if it changed."""
        before = standing.status
        after = status_of(standing.spec, before, scene, found, datetime.now(UTC))
        if not self._is_known(standing):
            return
        metrics.POLICIES.saw(standing.key, after.verdict, _alert(after))
        if after == before:
            return
        body = await resources.read(self._api, POLICIES, standing.key)
        if body is None:
            self.gone(standing.key)
            return
        if not self._is_of(standing, body):
            return
        if not self._is_as_known(standing, body):
            return
        try:
            written = await resources.write_status(self._api, POLICIES, body, after)
        except errors.NotFound:
            self.gone(standing.key)
            return
        standing.status = parse_status(written)
        standing.current = standing.status.current
        await self._remembering.forget(standing, before, standing.where.account)
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

    async def _trim(self, standing: Standing) -> None:
        namespace, name = standing.key
        bodies = await resources.list_all(self._api, REQUESTS, namespace, f"spec.policyRef.name={name}")
        for body in surplus(bodies, standing.spec.history_limit):
            if self._counts(standing, body):
                continue
            path = resources.path(REQUESTS, *resources.key_of(body))
            try:
                await self._api.delete(path, as_=OPERATOR, uid=body["metadata"]["uid"])
            except (errors.NotFound, errors.Conflict):
                continue

    def _counts(self, standing: Standing, body: Object) -> bool:
        """Whether the policy's breaker still counts this request."""
        one = resources.other_of(resources.parse_request(body))
        age = datetime.now(UTC) - one.created
        return one.applied and one.policy_uid == standing.uid and age < parse_duration(standing.spec.breaker.window)


def _is_well(snapshot: Snapshot | None) -> bool:
    """Whether the revision is rolled out: old pods that go on serving prove nothing for one that does not start."""
    return snapshot is not None and snapshot.health.state is Wellbeing.HEALTHY


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


def _newest(known: LastRequest | None, requests: tuple[Other, ...], policy_uid: str) -> LastRequest | None:
    """The newest request that the policy made, also if that could not be written down then."""
    ours = [one for one in requests if one.policy_uid == policy_uid]
    newest = max(ours, key=lambda one: one.created, default=None)
    if newest is None or (known is not None and newest.created <= known.at):
        return known
    return LastRequest(name=newest.name, at=newest.created)


def _said(status: PolicyStatus) -> tuple[Reason, str] | None:
    """The alert as it stands."""
    alert = on.find(status.conditions, ALERT)
    return (Reason(alert.reason), alert.message) if alert is not None else None


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


def surplus(bodies: list[Object], limit: int) -> list[Object]:
    """The finished requests beyond the newest `limit`, oldest first."""
    finished = [body for body in bodies if (body.get("status") or {}).get("finishedAt")]
    finished.sort(key=lambda body: (body["status"]["finishedAt"], body["metadata"]["uid"]))
    return finished[: max(0, len(finished) - limit)]
