"""Holds: Applications whose automation a rollback turned off, looked at until it may be turned on again.

The annotation on the Application is the truth, and all that it takes to end the hold. Where to look for one is known
from our own resources: requests that were applied, and policies of Applications; it is read with their rights.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from rollback_operator.api import POLICIES, REQUESTS
from rollback_operator.api.common import ACROSS_NAMESPACES, Place, TargetRef
from rollback_operator.api.fields import parse_duration
from rollback_operator.api.reasons import Reason
from rollback_operator.api.request import FINAL, Phase
from rollback_operator.core import conditions as on
from rollback_operator.core.hold import (
    RELEASE_ANNOTATION,
    Comparison,
    Ends,
    Goes,
    Orders,
    Seen,
    Standing,
    asks_git,
    how_it_ended,
    stands,
    wished,
)
from rollback_operator.core.life.times import SETTLE
from rollback_operator.gitobjects import GitObjects
from rollback_operator.holds import telling, words
from rollback_operator.kube import errors, events, resources
from rollback_operator.kube.client import Api
from rollback_operator.kube.identity import ServiceAccount
from rollback_operator.kube.resources import Key
from rollback_operator.settings import Settings
from rollback_operator.targets.application import ApplicationTarget, effect, operation
from rollback_operator.targets.application.compare import compare
from rollback_operator.targets.application.held import (
    HOLD_ANNOTATION,
    Hold,
    hold_of,
    is_automated,
)
from rollback_operator.targets.base import Where

log = logging.getLogger(__name__)
Object = dict[str, Any]
_SELDOM = 600.0
"""Seconds until the next look at an Application that nobody who names it may read, or that is gone."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One of our own resources that knows of an Application, and with whose rights that is read."""

    plural: str
    key: Key
    uid: str
    account: ServiceAccount
    secret: str | None
    """Secret in its namespace with what the repository is shown."""
    settles: datetime | None = None
    """Of a request that was deleted while it ran: until when its effect may still arrive."""

    @property
    def told_by(self) -> tuple[str, Key]:
        """What it is known by."""
        return self.plural, self.key


class HoldWorker:
    """Looks at one Application at a time a place."""

    def __init__(
        self,
        api: Api,
        target: ApplicationTarget,
        objects: GitObjects,
        settings: Settings,
        wake: Callable[[Place], None],
    ) -> None:
        self._api = api
        self._target = target
        self._objects = objects
        self._settings = settings
        self._wake = wake
        self._claims: dict[Place, dict[tuple[str, Key], Claim]] = {}
        self._places: dict[tuple[str, Key], Place] = {}
        self._told: dict[Place, str] = {}
        self._held: set[Place] = set()
        self._unread: set[Place] = set()

    # Events.

    def request_changed(self, body: Object) -> None:
        """A request is there, or has changed: one that was applied, and does not say that its hold is over."""
        found = _of_request(body)
        if found is None:
            self.gone(REQUESTS, resources.key_of(body))
        elif body["status"].get("phase") in FINAL:  # else it is at work itself
            place, claim = found
            if _condition(body, on.HELD).get("status") == "True":
                self._held.add(place)
            self._track(place, claim)

    def request_gone(self, body: Object) -> None:
        """A request was deleted, and was last like that: what it may have left is looked after until that is over."""
        found = _of_request(body)
        if found is None:
            self.gone(REQUESTS, resources.key_of(body))
            return
        place, claim = found
        if body["status"].get("phase") == Phase.RUNNING:
            claim = replace(claim, settles=datetime.now(UTC) + SETTLE)
        self._track(place, claim)
        del self._places[claim.told_by]  # no event takes it back, nor one of another request of that name

    def policy_changed(self, body: Object) -> None:
        """A policy is there, or has changed."""
        key, spec = resources.key_of(body), body["spec"]
        target = spec.get("target") or {}
        if target.get("kind") != ACROSS_NAMESPACES:
            self.gone(POLICIES, key)
            return
        account = ServiceAccount(key[0], spec.get("serviceAccountName") or self._settings.service_account)
        secret = (spec.get("hold") or {}).get("gitSecretName")
        claim = Claim(POLICIES, key, body["metadata"]["uid"], account, secret)
        self._track(TargetRef.model_validate(target).place(key[0]), claim)

    def gone(self, plural: str, key: Key) -> None:
        """It is gone, or knows of no hold any more; the last one that knew of a hold is remembered for it."""
        place = self._places.pop((plural, key), None)
        claims = self._claims.get(place, {}) if place is not None else {}
        if place in self._held and len(claims) == 1:
            return
        claims.pop((plural, key), None)
        if place is not None and not claims:
            self._claims.pop(place, None)

    def _track(self, place: Place, claim: Claim) -> None:
        before = self._places.get(claim.told_by)
        if before not in (None, place):
            self.gone(*claim.told_by)
        known = self._claims.setdefault(place, {})
        self._places[claim.told_by] = place
        if known.get(claim.told_by) != claim:
            known[claim.told_by] = claim
            self._wake(place)

    # Work.

    async def work(self, place: Place) -> float | None:
        """Look at a place; gives the seconds until the next look, or None if there is no hold.

        Raises:
            kube.errors.KubeError: it could not be looked at, or not be ended, for want of something else than rights;
                nothing is lost, try again later.
        """
        claims = self._claims.get(place)
        if not claims:
            return None
        try:
            reader, app = await self._look(place, list(claims.values()))
        except errors.Forbidden as error:
            if place in self._held:
                await self._tell(place, None, words.may_not_look(place, error))
                return self._settings.holds
            if place not in self._unread:  # everybody may write a policy that names an Application
                self._unread.add(place)
                log.info("%s is not looked at for a hold: %s", words.called(place), error)
            return _SELDOM
        self._unread.discard(place)
        if app is None:
            return await self._over(place, words.gone(place))
        if HOLD_ANNOTATION not in (app["metadata"].get("annotations") or {}):
            ended, whose = how_it_ended(app) or (words.not_held(place, app), None)
            return await self._over(place, ended, whose)
        return await self._look_after(place, app, reader)

    async def _look_after(self, place: Place, app: Object, reader: Claim) -> float | None:
        """See how it stands with the hold, and end it if it is time; gives the seconds until the next look."""
        self._held.add(place)
        hold = hold_of(app)
        if hold is None:
            await self._tell(place, None, words.illegible(place))
            return self._settings.holds
        standing = await self._standing(place, app, hold, reader)
        if isinstance(standing, Goes):
            await self._tell(place, hold, standing)
            return self._settings.holds
        try:
            await self._end(place, hold, effect.released(app, hold, standing))
        except (errors.Forbidden, errors.Invalid) as error:
            await self._tell(place, hold, words.cannot_end(place, standing, error))
            return self._settings.holds
        log.info("%s: %s", standing.reason, standing.message, extra={"target": "/".join(place)})
        return await self._over(place, standing, hold.request)

    async def _look(self, place: Place, claims: list[Claim]) -> tuple[Claim, Object | None]:
        """The Application, as the first who may read it."""
        refused: errors.Forbidden | None = None
        for claim in claims:
            try:
                return claim, await self._target.read(_where(place, claim))
            except errors.Forbidden as error:
                refused = error
        assert refused is not None
        raise refused

    def _by_nearness(self, place: Place, hold: Hold) -> list[Claim]:
        """Who knows of an Application, first the request that it is held for."""
        return sorted(self._claims.get(place, {}).values(), key=lambda one: one.uid != hold.request)

    async def _may_read(self, place: Place, claim: Claim) -> bool:
        """Whether it is any business of theirs: everybody may write a policy that names an Application."""
        try:
            await self._target.read(_where(place, claim))
        except errors.Forbidden:
            return False
        return True

    async def _end(self, place: Place, hold: Hold, released: Object) -> None:
        """Write the Application without its hold, as the first from whom the API server takes it."""
        refused: errors.Forbidden | errors.Invalid | None = None
        for claim in self._by_nearness(place, hold):
            try:
                await self._target.write(_where(place, claim), released)
            except (errors.Forbidden, errors.Invalid) as error:
                refused = refused or error
            else:
                return
        if refused is not None:
            raise refused

    async def _standing(self, place: Place, app: Object, hold: Hold, reader: Claim) -> Standing:
        orders = Orders(hold.until, hold.since, _alert_after(hold))
        seen = _seen(app, place)
        comparison: Comparison | None = None
        if asks_git(orders, seen):
            shown = await self._credentials(place, hold, reader)
            comparison = shown.added_to(await compare(app, hold, self._objects, shown.credentials))
        return stands(orders, seen, comparison, datetime.now(UTC))

    async def _credentials(self, place: Place, hold: Hold, reader: Claim) -> telling.Shown:
        """What the repository is shown: as the nearest of our resources says that names a Secret."""
        for one in self._by_nearness(place, hold):
            if one.secret is not None and (one == reader or await self._may_read(place, one)):
                return await telling.credentials(self._api, one.account, one.secret)
        return telling.Shown()

    # Report.

    async def _over(self, place: Place, ends: Ends, whose: str | None = None) -> float | None:
        """There is no hold any more: say so where it was asked for; gives the seconds until the next look, if any.

        `whose`: the request that it ended for. Who came while that was written may know of another hold, and the effect
        of a request that is gone may still come.
        """
        told: dict[Claim, float | None] = {}
        for claim in list(self._claims.get(place, {}).values()):
            mine = whose in (None, claim.uid)
            said = ends if mine else words.passed_on(place)
            there = claim.plural == REQUESTS and await self._write(claim, "False", said)
            told[claim] = _SELDOM if there and said.reason == Reason.TARGET_NOT_FOUND else _settling(claim)
        self._told.pop(place, None)
        return self._forget(place, told)

    def _forget(self, place: Place, told: dict[Claim, float | None]) -> float | None:
        """Those who were told know of nothing any more, unless they look again in some seconds; gives the fewest."""
        looks = {claim: told.get(claim, 0.0) for claim in self._claims.pop(place, {}).values()}
        left = {claim.told_by: claim for claim, seconds in looks.items() if seconds is not None}
        if left:
            self._claims[place] = left
        if all(claim in told for claim in left.values()):
            self._held.discard(place)
        return min((seconds for seconds in looks.values() if seconds is not None), default=None)

    async def _tell(self, place: Place, hold: Hold | None, goes: Goes) -> None:
        """The hold goes on: say so in the status of its request, or, if that is gone, in an Event on a policy."""
        claims = list(self._claims.get(place, {}).values())
        for claim in claims:
            if claim.plural == REQUESTS and hold is not None and claim.uid != hold.request:
                await self._write(claim, "False", words.passed_on(place))
        for claim in claims:
            mine = claim.plural == REQUESTS and (hold is None or claim.uid == hold.request)
            if mine and await self._write(claim, "True", goes):
                return
        if self._told.get(place) != goes.reason:
            self._told[place] = goes.reason
            await self._tell_policies(place, claims, goes)

    async def _tell_policies(self, place: Place, claims: list[Claim], goes: Goes) -> None:
        for claim in claims:
            if claim.plural == POLICIES and await self._may_read(place, claim):
                metadata = {"namespace": claim.key[0], "name": claim.key[1], "uid": claim.uid}
                await events.emit(self._api, "RollbackPolicy", metadata, goes.reason, goes.message, warning=goes.bad)

    async def _write(self, claim: Claim, state: on.State, said: Standing) -> bool:
        return await telling.tell(self._api, claim.key, claim.uid, state, said)


def _of_request(body: Object) -> tuple[Place, Claim] | None:
    """What a request knows of, unless it changed nothing of an Application, or says that the hold is over.

    It is not over for good if the Application is gone: a backup brings it back as it was held.
    """
    status = body.get("status") or {}
    plan = next((one["plan"] for one in status.get("targets") or [] if one.get("plan")), None)
    about = str(status.get("target") or "").startswith(f"{ACROSS_NAMESPACES}/")
    held = _condition(body, on.HELD)
    over = held.get("status") == "False" and held.get("reason") != Reason.TARGET_NOT_FOUND
    if plan is None or not about or over or _condition(body, on.APPLIED).get("status") == "False":
        return None
    key = resources.key_of(body)
    secret = (plan.get("hold") or {}).get("gitSecretName")
    account = ServiceAccount(key[0], plan["serviceAccountName"])
    claim = Claim(REQUESTS, key, body["metadata"]["uid"], account, secret)
    return TargetRef.of(status["target"]).place(key[0]), claim


def _condition(body: Object, kind: str) -> Object:
    """A condition as it stands in a status; empty if it is not there."""
    conditions: list[Object] = (body.get("status") or {}).get("conditions") or []
    return next((one for one in conditions if one["type"] == kind), {})


def _settling(claim: Claim) -> float | None:
    """Seconds in which an effect of a request that is gone may still arrive; None if there is nothing to come."""
    left = (claim.settles - datetime.now(UTC)).total_seconds() if claim.settles is not None else 0.0
    return left if left > 0 else None


def _where(place: Place, claim: Claim) -> Where:
    return Where(place[1], place[2], claim.account)


def _seen(app: Object, place: Place) -> Seen:
    _, namespace, name = place
    return Seen(
        name=words.called(place),
        command=f"kubectl -n {namespace} annotate applications.argoproj.io {name} {RELEASE_ANNOTATION}=true",
        automated=is_automated(app),
        released=wished(app),
        busy=operation.going_on(app),
    )


def _alert_after(hold: Hold) -> timedelta:
    try:
        return parse_duration(hold.alert_after)
    except ValueError:
        return timedelta()
