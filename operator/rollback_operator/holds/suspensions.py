"""Flux objects that a rollback suspended, looked at until they may be resumed.

The annotation on the suspended object says whose suspension it is, the request's plan what had been applied then. Where
to look is known from requests that made their effect, and everything is read and resumed with their rights.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from rollback_operator import owning
from rollback_operator.api import REQUESTS
from rollback_operator.api.common import Place, TargetRef
from rollback_operator.api.fields import parse_duration
from rollback_operator.api.hold import HoldOrders
from rollback_operator.api.owner import Suspension
from rollback_operator.api.reasons import Reason
from rollback_operator.api.request import Plan
from rollback_operator.core import flux
from rollback_operator.core.hold import (
    Comparison,
    Ends,
    Goes,
    Orders,
    Seen,
    Standing,
    asks_git,
    ended_note,
    how_it_ended,
    stands,
    wished,
)
from rollback_operator.core.life.times import made
from rollback_operator.core.suspended import (
    SOURCES,
    InGit,
    Source,
    at_once,
    by_source,
    looked_after,
    made_beside,
    source_of,
)
from rollback_operator.core.values import Request
from rollback_operator.gitobjects import GitObjects, Spot, Unknowable
from rollback_operator.holds import telling
from rollback_operator.kube import errors, resources
from rollback_operator.kube.client import Api
from rollback_operator.kube.identity import ServiceAccount
from rollback_operator.kube.resources import Key
from rollback_operator.settings import Settings

log = logging.getLogger(__name__)
Object = dict[str, Any]
_SHOWN = "examples/rbac-owners.yaml"
_SOURCE_API = "/apis/source.toolkit.fluxcd.io/v1"


class SuspensionWorker:
    """Looks at what one request suspended at a time."""

    def __init__(self, api: Api, objects: GitObjects, settings: Settings, wake: Callable[[Key], None]) -> None:
        self._api = api
        self._objects = objects
        self._settings = settings
        self._wake = wake
        self._known: set[Key] = set()

    def request_changed(self, body: Object) -> None:
        """A request is there, or has changed."""
        key = resources.key_of(body)
        targets = (body.get("status") or {}).get("targets") or []
        suspends = any((one.get("plan") or {}).get("suspends") for one in targets)
        request = resources.parse_request(body) if suspends else None
        if request is None or (looked_after(request) is None and made_beside(request) is None):
            self.gone(key)
        elif key not in self._known:
            self._known.add(key)
            self._wake(key)

    def gone(self, key: Key) -> None:
        """It was deleted, or suspends nothing any more."""
        self._known.discard(key)

    async def work(self, key: Key) -> float | None:
        """Look at what a request suspended; gives the seconds until the next look, or None if nothing is left.

        Raises:
            kube.errors.KubeError: it could not be looked at, or not be resumed; nothing is lost, try again later.
        """
        body = await resources.read(self._api, REQUESTS, key)
        request = resources.parse_request(body) if body is not None else None
        plan = looked_after(request) if request is not None else None
        beside = made_beside(request) if request is not None else None
        if request is not None and beside is not None:
            await self._keep_beside(request, beside)
            return None
        if request is None or plan is None:
            self.gone(key)
            return None
        stand = [await self._look(request, plan, one) for one in plan.suspends]
        goes = [one for one in stand if isinstance(one, Goes)]
        said = _together(goes or stand)
        there = await telling.tell(self._api, key, request.uid, "True" if goes else "False", said)
        if goes and there:
            return self._settings.holds
        self.gone(key)
        return None

    async def _look(self, request: Request, plan: Plan, one: Suspension) -> Standing:
        account = ServiceAccount(request.namespace, plan.service_account_name)
        name = f"{one.kind} {one.namespace}/{one.name}"
        try:
            body = await self._api.get(owning.path_of(one.kind, one.namespace, one.name), as_=account)
            return await self._standing(request, plan, one, body, account)
        except errors.NotFound:
            return Ends(Reason.TARGET_NOT_FOUND, f"{name} is gone.", restore=False)
        except errors.Forbidden as error:
            message = (
                f"{name} is suspended, and service account {account} may not look when that can end, or end it: "
                f"{error}. Give it the rights ({_SHOWN} shows which). To end it by hand: {flux.resuming(one)}"
            )
        except errors.Invalid as error:
            message = (
                f"{name} is suspended, and the API server does not take what is written to it: {error}. Remove the "
                f"cause, then it is tried again. To end it by hand: {flux.resuming(one)}"
            )
        return Goes(Reason.CANNOT_COMPARE, message, bad=True)

    async def _standing(
        self, request: Request, plan: Plan, one: Suspension, body: Object, account: ServiceAccount
    ) -> Standing:
        """How it stands with one suspension, which is ended if it is time."""
        over = _over(request, one, body)
        if over is not None:
            return over
        seen, hold, now = _seen(one, body), flux.hold_of(body), datetime.now(UTC)
        orders, comparison = _orders(request, plan), None
        if hold is not None and hold.request != request.uid:
            if not seen.released or await self._is_there(hold.request):
                return _lent(stands(orders, replace(seen, released=False), None, now))
            body = await self._patch(one, flux.releasing(body, hold.request), account)
            return await self._standing(request, plan, one, body, account)
        body = await self._keep(one, body, request.uid, account)
        if asks_git(orders, seen):
            comparison = await self._compare(request, plan, one, body, account)
        standing = stands(orders, seen, comparison, now)
        if isinstance(standing, Ends):
            await self._end(one, body, request.uid, standing, account)
        return standing

    async def _keep(self, one: Suspension, body: Object, key: str, account: ServiceAccount) -> Object:
        """Have the suspension for good, whoever had it before, now that the request has ended with an effect."""
        patch = flux.keeping(body, key)
        return await self._patch(one, patch, account) if patch else body

    async def _keep_beside(self, request: Request, plan: Plan) -> None:
        """Have what a request for an Application suspended for good: earlier requests need not wait for it."""
        account = ServiceAccount(request.namespace, plan.service_account_name)
        for one in plan.suspends:
            try:
                body = await self._api.get(owning.path_of(one.kind, one.namespace, one.name), as_=account)
                await self._keep(one, body, request.uid, account)
            except (errors.NotFound, errors.Forbidden, errors.Invalid) as error:
                log.warning("%s %s/%s is left as it is: %s", one.kind, one.namespace, one.name, error)

    async def _is_there(self, uid: str) -> bool:
        """Whether there is a request of that uid."""
        found = await resources.list_all(self._api, REQUESTS, None)
        return any(one["metadata"]["uid"] == uid for one in found)

    async def _patch(self, one: Suspension, patch: list[Object], account: ServiceAccount) -> Object:
        return await self._api.patch(owning.path_of(one.kind, one.namespace, one.name), patch, as_=account)

    async def _end(self, one: Suspension, body: Object, key: str, ends: Ends, account: ServiceAccount) -> None:
        note = ended_note(ends, key)
        patch = flux.releasing(body, key, note) if ends.restore else flux.forgetting(body, key, note)
        if patch:
            await self._patch(one, patch, account)
            log.info("%s: %s", ends.reason, ends.message, extra={"target": f"{one.kind}/{one.namespace}/{one.name}"})

    async def _compare(
        self, request: Request, plan: Plan, one: Suspension, body: Object, account: ServiceAccount
    ) -> Comparison:
        (mine,) = request.status.targets
        told = at_once(one, body, _place(mine.target, request.namespace))
        if told is not None:
            return told
        source = source_of(body)
        if source is None or source.kind not in SOURCES:
            return Comparison(changed=None, words="it does not say what feeds it")
        try:
            found = await self._api.get(_source_path(source), as_=account)
        except errors.NotFound:
            return Comparison(changed=None, words=f"{source}, which feeds it, is gone")
        except errors.Forbidden:
            what = f"{SOURCES[source.kind]} {source.name} in namespace {source.namespace}"
            return Comparison(
                changed=None, words=f"service account {account} may not get {what}; {_SHOWN} shows the right"
            )
        asked = by_source(one, body, found)
        return await self._in_git(plan, asked, account) if isinstance(asked, InGit) else asked

    async def _in_git(self, plan: Plan, asked: InGit, account: ServiceAccount) -> Comparison:
        """Whether what is below the path is something else at the newest commit."""
        shown = await telling.credentials(self._api, account, plan.hold.git_secret_name if plan.hold else None)
        try:
            before, now = [
                await self._objects.identity(Spot(asked.url, commit, asked.path, asked.also), shown.credentials)
                for commit in (asked.before, asked.now)
            ]
        except Unknowable as error:
            return shown.added_to(Comparison(changed=None, words=str(error)))
        return Comparison(before != now, f"{asked.path} at {asked.now[:12]}")


def _over(request: Request, one: Suspension, body: Object) -> Ends | None:
    """Why the suspension is not this request's any more, if it is not."""
    name, hold, ended = _seen(one, body).name, flux.hold_of(body), how_it_ended(body)
    if body["metadata"]["uid"] != one.uid:
        return Ends(Reason.NOT_HELD, f"{name} was made anew since the rollback.", restore=False)
    if hold is not None and request.uid not in hold.requests:
        return Ends(Reason.NOT_HELD, f"A later rollback holds {name} now.", restore=False)
    if hold is None and flux.suspended(body):
        return Ends(Reason.NOT_HELD, f"{name} is suspended, but not for this request any more.", restore=False)
    return ended[0] if hold is None and ended is not None and ended[1] == request.uid else None


def _lent(standing: Standing) -> Standing:
    """How it stands while a later request has the suspension and may end without an effect: then it comes back."""
    words = "A later rollback has taken that over and does not hold it yet: until it does, it is held for this one too."
    return replace(standing, message=f"{standing.message} {words}")


def _orders(request: Request, plan: Plan) -> Orders:
    hold = plan.hold or HoldOrders()
    return Orders(hold.until, made(request) or request.created, parse_duration(hold.alert_after))


def _seen(one: Suspension, body: Object) -> Seen:
    return Seen(
        name=f"{one.kind} {one.namespace}/{one.name}",
        command=flux.resuming(one),
        automated=not flux.suspended(body),
        released=wished(body),
        busy=flux.reconciling(body),
        of_flux=True,
    )


def _place(target: str, namespace: str) -> Place:
    return TargetRef.of(target).place(namespace)


def _source_path(source: Source) -> str:
    return f"{_SOURCE_API}/namespaces/{source.namespace}/{SOURCES[source.kind]}/{source.name}"


def _together(stand: list[Goes] | list[Standing]) -> Standing:
    """What is said of several: the reason that people should know first, and all the words."""
    first = next((one for one in stand if isinstance(one, Goes) and one.bad), stand[0])
    words = " ".join(one.message for one in stand)
    if isinstance(first, Goes):
        return Goes(first.reason, words, first.bad)
    return Ends(first.reason, words, first.restore)
