"""Reading what manages a target, and suspending Flux for a rollback: all of it as the request's service account."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from rollback_operator.api.owner import Suspension
from rollback_operator.api.reasons import Reason
from rollback_operator.api.request import Plan
from rollback_operator.core import flux
from rollback_operator.core.owners import Lineage, Owner, Seen
from rollback_operator.core.values import Refused
from rollback_operator.kube import errors
from rollback_operator.kube.access import Right
from rollback_operator.kube.client import Api
from rollback_operator.kube.identity import ServiceAccount
from rollback_operator.targets.base import Where, in_time

Object = dict[str, Any]


async def trace(api: Api, owners: Iterable[Owner], account: ServiceAccount) -> Lineage:
    """The owners as they are now.

    Raises:
        kube.errors.KubeError: no answer; that the account may not look is an answer.
    """
    return tuple(await asyncio.gather(*(_seen(api, owner, account) for owner in owners)))


async def _seen(api: Api, owner: Owner, account: ServiceAccount) -> Seen:
    _, _, plural = flux.PLACES[owner.kind]
    try:
        return Seen(owner, await api.get(path_of(owner.kind, owner.namespace, owner.name), as_=account))
    except errors.NotFound:
        return Seen(owner)
    except errors.Forbidden:
        refused = f"Service account {account} may not get {plural} {owner.name} in namespace {owner.namespace}."
        return Seen(owner, refused=refused)


def rights(suspends: Iterable[Suspension]) -> tuple[Right, ...]:
    """What a service account has to be allowed for `suspend` to be."""
    places = ((one, *flux.PLACES[one.kind]) for one in suspends)
    return tuple(Right("patch", group, plural, one.namespace, one.name) for one, group, _, plural in places)


async def suspend(
    api: Api, plan: Plan, key: str, where: Where, attempt: int = 1, *, dry_run: bool = False
) -> Refused | None:
    """Suspend what the plan of a target says, marked with `key`; gives back once none of it applies anything any more.

    Done a second time for one attempt at the effect (they are counted from 1) it changes nothing. Refused: one of them
    is not the one that the plan was made for.

    Raises:
        kube.errors.NotDone: one of them is still applying something, and the effect has to wait; or there is no time
            left in this attempt: nobody would end a suspension that comes after the request has ended.
        kube.errors.KubeError: it could not be read or suspended.
    """
    for one in plan.suspends:
        path = path_of(one.kind, one.namespace, one.name)
        try:
            body = await _the_same(api, one, where.account)
        except errors.NotFound as error:
            return Refused(
                Reason.OWNED_BY, f"{error}: nothing was changed. Look at what it is now, then write a new request."
            )
        patch = flux.suspending(body, key, attempt)
        if patch:
            in_time(where)
            body = await api.patch(path, patch, as_=where.account, dry_run=dry_run)
        if flux.reconciling(body):
            raise errors.NotDone(f"{one.kind} {one.namespace}/{one.name} is still applying: {flux.said(body)}")
    return None


async def release(api: Api, plan: Plan, key: str, account: ServiceAccount) -> str:
    """End the suspensions that `key` made, for an effect that will not be made; gives what is left to do by hand.

    What was suspended for an earlier rollback stays so, for that one.

    Raises:
        kube.errors.KubeError: no answer, or it changed at the same moment; nothing is lost, try again.
    """
    left = [await _release(api, one, key, account) for one in plan.suspends]
    return " ".join(one for one in left if one)


async def _release(api: Api, one: Suspension, key: str, account: ServiceAccount) -> str:
    name, patch, earlier = f"{one.kind} {one.namespace}/{one.name}", None, None
    try:
        body = await _the_same(api, one, account)
        patch, earlier = flux.releasing(body, key), flux.handing_back(one, body, key)
        # After an old reading it would stay suspended for good: that nothing is to be ended has to be so now.
        await api.patch(path_of(one.kind, one.namespace, one.name), patch or [flux.as_it_was_read(body)], as_=account)
    except errors.NotFound:
        return ""
    except (errors.Forbidden, errors.Invalid) as error:
        if patch == []:
            return ""
        if earlier is not None:
            return f"{name} could not be given back to the rollback that suspended it before ({error}): {earlier}"
        return f"{name} could not be resumed ({error}): {flux.resuming(one)}"
    return ""


async def _the_same(api: Api, one: Suspension, account: ServiceAccount) -> Object:
    """The object as it is now.

    Raises:
        kube.errors.NotFound: it is gone, or was made anew since the plan.
    """
    try:
        body = await api.get(path_of(one.kind, one.namespace, one.name), as_=account)
    except errors.NotFound:
        raise errors.NotFound(f"{one.kind} {one.namespace}/{one.name} was deleted after the plan was made") from None
    if body["metadata"]["uid"] != one.uid:
        raise errors.NotFound(f"{one.kind} {one.namespace}/{one.name} was made anew after the plan was made")
    return body


def path_of(kind: str, namespace: str, name: str) -> str:
    """Where the API server has a Flux object, or one of Argo CD."""
    group, version, plural = flux.PLACES[kind]
    return f"/apis/{group}/{version}/namespaces/{namespace}/{plural}/{name}"
