"""Looking at a policy as a whole: target, requests and ledger; what follows is judged, done, and said in its status."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from rollback_operator import metrics
from rollback_operator.api import POLICIES, REQUESTS
from rollback_operator.api.policy import LastRequest, PolicyStatus
from rollback_operator.api.reasons import Reason
from rollback_operator.configuration.remembering import Remembering
from rollback_operator.core import conditions as on
from rollback_operator.core.judge import Act, Judgement, Scene, in_the_way, judge, soaked
from rollback_operator.core.ledger import learned
from rollback_operator.core.standing import ALERT, ARMED, Findings, needs_a_look, status_of
from rollback_operator.core.turn import rolled_back_from
from rollback_operator.core.values import Other, Snapshot, Wellbeing
from rollback_operator.kube import errors, events, resources
from rollback_operator.kube.client import Api
from rollback_operator.kube.resources import Key, parse_status
from rollback_operator.policies import making
from rollback_operator.policies.arming import Arming
from rollback_operator.policies.asking import Asker
from rollback_operator.policies.rivals import named
from rollback_operator.refusals import cannot_look, not_made, not_taken_back
from rollback_operator.settings import Settings
from rollback_operator.targets.base import Composed, Target
from rollback_operator.watching import Standing, Watching, version_of

log = logging.getLogger(__name__)
Object = dict[str, Any]

PAUSE = 10.0
CROWD_PAUSE = 60.0
"""Seconds between looks at a policy when nothing changes: with an alert, or a target that no event tells of; when the
platform is in trouble, or a release is soaked and not rolled out."""
ARMED_EVERY = 600.0
"""Seconds between looks whether a target could be rolled back, when nothing tells of a change."""
_FACES: Mapping[str, Callable[[Reason], bool]] = {
    on.READY: lambda reason: reason not in (Reason.ACCEPTED, Reason.EVALUATING, Reason.SUSPENDED),
    "Armed": lambda reason: reason is not Reason.ARMED,
    ALERT: lambda reason: reason not in (Reason.NOTHING_WRONG, Reason.ROLLING_BACK),
}
"""Conditions whose changes are told in Events; whether a reason is a warning."""


class Looker:
    """Looks at policies, and writes what it makes of them."""

    def __init__(
        self,
        api: Api,
        targets: Mapping[str, Target],
        settings: Settings,
        watching: Watching,
        asker: Asker,
        *,
        saw: Callable[[Object], bool],
        gone: Callable[[Key], None],
        wake: Callable[[Key], None],
    ) -> None:
        """`saw` and `gone` hear what a reading shows of a policy; `wake` has one worked on."""
        self._api = api
        self._targets = targets
        self._settings = settings
        self._watching = watching
        self._asker = asker
        self._saw = saw
        self._gone = gone
        self._wake = wake
        self._arming = Arming(api, targets, settings)
        self._remembering = Remembering(api, targets, settings.remember)

    def wants(self, standing: Standing) -> bool:
        """Whether there is a reason to look."""
        now = time.monotonic()
        if self._news(standing) or now - standing.armed_at > ARMED_EVERY or self._remembering.due(standing):
            return True
        if self._proves_good(standing) and now - standing.looked_at >= (CROWD_PAUSE if standing.unproved else 0.0):
            return True
        if self._targets[standing.spec.target.kind].watched is None and now - standing.looked_at >= PAUSE:
            return True
        alert, crowded = alert_of(standing.status) is not None, self._asker.crowd() is not None
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
        """Whether what stands would be known good by now, if it is well: nothing is known of it yet."""
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
            arriving=standing.arriving,
        )

    async def look(self, standing: Standing) -> None:
        """Bring ledger, status and requests up to date."""
        look_closely = standing.target_changed or standing.requests_changed or not standing.rebuilt
        trim = standing.requests_changed
        standing.target_changed = standing.requests_changed = False
        try:
            await self._look_at(standing, look_closely=look_closely)
            if trim:
                await making.trim(self._api, standing)
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
        requests = self._remembering.told_apart(standing, requests)
        settled = snapshot is None or (snapshot.settled and not self._remembering.waits(standing, requests))
        if settled:
            snapshot = await self._remembering.look(standing, snapshot, now)
            await self._asker.follow(standing, snapshot, now)
            new = self._remembering.news(standing) or standing.current != standing.status.current
            await self._arm(standing, snapshot, requests, look_closely=look_closely or new)
        else:
            standing.target_changed = True  # it is between two revisions
        await self._asker.check(standing)
        known, crowd = standing.status, self._asker.crowd()
        standing.arriving = snapshot.arriving if snapshot is not None else None
        long_enough = settled and self._proves_good(standing)
        proved = long_enough and standing.arriving is None and await self._is_well(standing, snapshot)
        standing.unproved = long_enough and not proved
        entries = learned(known.ledger, known.current, standing.current, requests, now, soaked=proved)
        scene = replace(self._scene(standing, requests, crowd), entries=entries)
        judgement = judge(standing.spec, scene, now) if settled else Judgement(_said(known, ALERT))
        last = _newest(known.last_request, requests, standing.uid)
        found = Findings(
            standing.generation,
            _trouble(standing),
            standing.unremembered or (standing.disarmed if standing.armed_is_seen else _said(known, ARMED)),
            judgement.alert,
            last,
            armed_is_known=standing.armed_is_seen or _said(known, ARMED) is not None,
            remembered=standing.remembered,
        )
        found, unanswered = await self._do(standing, judgement, found, now)
        if standing.status is known:  # else somebody else wrote it meanwhile: all of it is looked at again
            standing.crowded = crowd is not None
            await self._write(standing, scene, found)
        if unanswered is not None:
            raise unanswered

    async def _gather(self, standing: Standing) -> tuple[Snapshot | None, tuple[Other, ...]]:
        namespace, ref = standing.key[0], standing.spec.target
        observed = self._targets[ref.kind].observe(standing.where, None, None)
        others = resources.requests_for(self._api, namespace, ref, self._settings.namespace or None)
        return await asyncio.gather(observed, others)

    async def _is_well(self, standing: Standing, snapshot: Snapshot | None) -> bool:
        """Whether the revision is rolled out: old pods that go on serving prove nothing for one that does not start."""
        if snapshot is None:
            return False
        module = self._targets[standing.spec.target.kind]
        health = snapshot.health
        if isinstance(module, Composed):
            try:
                health = await module.wellbeing(standing.where, snapshot)
            except errors.KubeError as error:
                log.info("It cannot be seen how it does: %s", error, extra={"policy": "/".join(standing.key)})
                return False
        return health.state is Wellbeing.HEALTHY

    async def _blind(self, standing: Standing, error: errors.Forbidden) -> None:
        """The target may not be looked at: say so, and leave the rest of what is said as it stands."""
        account, status = standing.where.account, standing.status
        message = cannot_look(error, standing.spec.target, account)
        standing.disarmed = Reason.MAY_NOT_ROLL_BACK, message
        alert = _said(status, ALERT)
        found = Findings(standing.generation, _trouble(standing), standing.disarmed, alert, status.last_request)
        await self._write(standing, self._scene(standing), found)

    async def _arm(
        self, standing: Standing, snapshot: Snapshot | None, requests: tuple[Other, ...], *, look_closely: bool
    ) -> None:
        """Whether the target could be rolled back now; if that cannot be seen, what is known of it stands for a while.

        What requests rolled back from counts too: where no watch told that one of them has ended, it is seen here.
        """
        left = frozenset(rolled_back_from(requests))
        known = standing.generation == standing.status.observed_generation and left == standing.armed_without
        if known and not look_closely and time.monotonic() - standing.armed_at < ARMED_EVERY:
            return
        try:
            standing.disarmed = await self._arming.look(standing, snapshot, requests)
        except errors.KubeError as error:
            context = {"policy": "/".join(standing.key)}
            log.warning("It cannot be seen whether it could be rolled back: %s", error, extra=context)
            standing.armed_at = time.monotonic() - ARMED_EVERY + PAUSE
            return
        standing.armed_without, standing.armed_is_seen = left, True
        standing.armed_at = time.monotonic()

    async def rest(self, standing: Standing, rivals: list[Key]) -> None:
        """Bring the status of a policy that is not evaluated up to date. When it is again, nothing is late."""
        self._watching.breaching.discard(standing.key)
        for one in standing.asking:
            one.due = 0.0
        trouble = _taken(standing, rivals) if rivals else None
        await self._write(standing, self._scene(standing), Findings(standing.generation, trouble, asked=False))
        await making.trim(self._api, standing)

    async def _do(
        self, standing: Standing, judgement: Judgement, found: Findings, now: datetime
    ) -> tuple[Findings, errors.Unavailable | None]:
        """Make the request, or take one back. What keeps that from being done keeps nothing from being said.

        Gives what is to be said, and why it is to be done again at once.
        """
        try:
            if judgement.act is not None:
                return await self._make_or_wait(standing, judgement.act, found, now), None
            if judgement.withdraw is not None:
                return await self._withdraw(standing, judgement.withdraw, found), None
        except errors.Unavailable as error:
            return replace(found, alert=_unanswered(standing, judgement, error)), error
        return found, None

    async def _withdraw(self, standing: Standing, name: str, found: Findings) -> Findings:
        try:
            await making.withdraw(self._api, standing, name)
        except (errors.Forbidden, errors.Invalid) as error:
            return replace(found, alert=(Reason.NOT_TAKEN_BACK, not_taken_back(error, name)))
        return found

    async def _make_or_wait(self, standing: Standing, act: Act, found: Findings, now: datetime) -> Findings:
        """Make the request, once it is written which configuration is meant: the request reads it there."""
        if self._remembering.news(standing):
            standing.target_changed = True
            self._wake(standing.key)
            return found
        return await self._make(standing, act, found, now)

    async def _make(self, standing: Standing, act: Act, found: Findings, now: datetime) -> Findings:
        """Make the request, once: its name is made of what it is for."""
        if not await self._still_orders(standing):
            return found
        key = (standing.key[0], act.name)
        try:
            there = await resources.read(self._api, REQUESTS, key) or await making.create(self._api, standing, act)
        except (errors.Forbidden, errors.Invalid) as error:
            return replace(found, alert=(Reason.COULD_NOT_ROLL_BACK, f"{act.reason}. {not_made(error)}"))
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
        if version_of(body) == (standing.uid, standing.generation) and self._watching.is_known(standing):
            return True
        if self._saw(body):
            self._wake(standing.key)
        return False

    def _is_as_known(self, standing: Standing, body: Object) -> bool:
        """Whether nobody else wrote the status (while one operator takes over from another, say).

        If somebody did, what it knows is not to be lost: that it made a request which people deleted, for example.
        """
        stored = parse_status(body)
        if stored == standing.status:
            return True
        standing.status, standing.remembered, standing.target_changed = stored, None, True
        self._wake(standing.key)
        return False

    async def _write(self, standing: Standing, scene: Scene, found: Findings) -> None:
        """Write the status, if it changed."""
        before = standing.status
        after = status_of(standing.spec, before, scene, found, datetime.now(UTC))
        if not self._watching.is_known(standing):
            return
        metrics.POLICIES.saw(standing.key, after.verdict, alert_of(after))
        if after == before:
            return
        body = await resources.read(self._api, POLICIES, standing.key)
        if body is None:
            self._gone(standing.key)
            return
        if not self._is_of(standing, body):
            return
        if not self._is_as_known(standing, body):
            return
        try:
            written = await resources.write_status(self._api, POLICIES, body, after)
        except errors.NotFound:
            self._gone(standing.key)
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


def alert_of(status: PolicyStatus) -> str | None:
    """The reason for which people should look; None if they need not."""
    alert = on.find(status.conditions, ALERT)
    return alert.reason if alert is not None and alert.status == "True" else None


def _taken(standing: Standing, rivals: list[Key]) -> tuple[Reason, str]:
    message = (
        f"{standing.spec.target} has another policy: {named(standing, rivals)}. One target has one policy: delete or "
        "suspend all but one; until then none of them is evaluated."
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


def _said(status: PolicyStatus, kind: str) -> tuple[Reason, str] | None:
    """A condition as it stands; None also if its reason is not known (another version's, say)."""
    condition = on.find(status.conditions, kind)
    known = condition is not None and condition.reason in {reason.value for reason in Reason}
    return (Reason(condition.reason), condition.message) if condition is not None and known else None


def _unanswered(standing: Standing, judgement: Judgement, error: errors.Unavailable) -> tuple[Reason, str] | None:
    """The alert while nobody knows whether the request was made, or taken back; if that goes on, it was not."""
    if judgement.act is None:
        return _said(standing.status, ALERT)
    goes_on = alert_of(standing.status) in (Reason.ROLLING_BACK, Reason.COULD_NOT_ROLL_BACK)
    reason = Reason.COULD_NOT_ROLL_BACK if goes_on else Reason.ROLLING_BACK
    words = f"It is not known yet whether the request was made; it is tried again: {error}"
    return reason, f"{judgement.act.reason}. {words}"
