"""Putting configuration back: each object once, as a policy remembered it, as the service account.

An object is replaced only in the version that the plan saw, and made anew only where the plan saw none, so a second or
a late attempt finds nothing to do. What an object says, and the mark on it, tell whether it was put back: nobody has to
remember it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from rollback_operator.api import GROUP, REQUEST_ANNOTATION
from rollback_operator.api.request import PutBack, Restoration
from rollback_operator.configuration import change
from rollback_operator.configuration.digest import digest_of, secret_name
from rollback_operator.configuration.places import path_of, resource_of
from rollback_operator.core.backups import MANIFESTS
from rollback_operator.core.values import Beside
from rollback_operator.kube import errors
from rollback_operator.kube.access import Right
from rollback_operator.kube.client import FIELD_MANAGER, Api
from rollback_operator.kube.identity import ServiceAccount
from rollback_operator.targets import dependencies, manifests, ownership
from rollback_operator.targets.base import Where, in_time
from rollback_operator.targets.metadata import annotations_of

OWNER = f"{GROUP}/content-owner"
"""Annotation of a Secret that keeps an object: the entry of the managed fields of whoever owned what it said."""

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Found:
    """An object of a plan, and what is there of it."""

    one: PutBack
    live: Object | None
    as_remembered: bool

    @property
    def as_planned(self) -> bool:
        """Whether it is as the plan saw it."""
        version = None if self.live is None else self.live["metadata"]["resourceVersion"]
        return not self.as_remembered and version == self.one.resource_version

    def marked(self, key: str) -> bool:
        """Whether it was put back by that request; somebody may have changed it since."""
        marks = annotations_of(self.live) if self.live is not None else {}
        return marks.get(REQUEST_ANNOTATION) == key

    def held(self) -> bool:
        """Whether fields of it are recorded as the operator's own."""
        managed = [] if self.live is None else self.live["metadata"].get("managedFields") or []
        return bool(ownership.held_by(FIELD_MANAGER, managed))


def rights(account: ServiceAccount, objects: Iterable[PutBack]) -> Iterator[Right]:
    """What an account has to be allowed to put them back."""
    for one in objects:
        group, plural = resource_of(one.kind)
        yield Right("get", "", "secrets", account.namespace, one.secret)
        if one.resource_version is None:
            yield Right("create", group, plural, account.namespace, "")
        yield Right("patch", group, plural, account.namespace, one.name)


class Restorer:
    """Puts back what a plan says of configuration."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def look(self, account: ServiceAccount, plan: Restoration | None, key: str, *, made: bool) -> Beside:
        """How far the request with that uid is; `made`: its effect on the target was seen, so everything was put back.

        Raises:
            kube.errors.KubeError: an object could not be read.
        """
        found = await self._found(account, plan) if plan is not None else ()
        changed = [
            one for one in found if not one.as_remembered and (not one.as_planned or (made and one.live is None))
        ]
        return Beside(
            put_back=tuple(str(one.one) for one in found if one.marked(key)),
            due=tuple(str(one.one) for one in found if one.as_planned and one not in changed),
            changed=tuple(str(one.one) for one in changed),
            held=any(one.marked(key) and one.held() for one in found),
        )

    async def put_back(
        self,
        where: Where,
        plan: Restoration,
        key: str,
        *,
        dry_run: bool = False,
        done: Callable[[str], None] | None = None,
    ) -> None:
        """Put back what is not there yet, marked with `key`. What an earlier attempt put back stays as it is.

        `done` is told of each object, as people name it, once it is put back.

        Raises:
            kube.errors.Conflict: an object is neither as the plan saw it nor as it was remembered.
            kube.errors.Forbidden, Invalid, NotFound: refused.
            kube.errors.NotDone: there is no time left in this attempt; what was put back stays.
            kube.errors.Unavailable: no answer; the object may or may not have been put back.
        """
        found = await self._found(where.account, plan)
        moved = [str(one.one) for one in found if not one.as_remembered and not one.as_planned]
        if moved:
            raise errors.Conflict(f"{', '.join(moved)} changed after it was looked at")
        due = [one for one in found if one.as_planned]
        kept = await asyncio.gather(*(self.kept(where.account, one.one, plan.policy_uid) for one in due))
        for one, then in zip(due, kept, strict=True):
            if then is None:
                raise errors.Invalid(f"Secret {one.one.secret} does not keep {one.one} as it was any more")
            in_time(where)
            await self._write(where, one, then, key, dry_run=dry_run)
            if done is not None:
                done(str(one.one))

    async def give_back(self, account: ServiceAccount, plan: Restoration, key: str) -> None:
        """Give the fields back that putting back took: changes nothing but `metadata.managedFields`.

        Raises:
            kube.errors.KubeError: it was refused, or nobody knows.
        """
        for one in await self._found(account, plan):
            if one.live is None or not one.marked(key) or not one.held():
                continue
            patch = await self._giving_back(account, one.one, one.live)
            path = path_of(account.namespace, one.one.kind, one.one.name)
            await self._api.patch(path, patch, as_=account, field_manager=f"{FIELD_MANAGER}-give-back")

    async def kept(self, account: ServiceAccount, one: PutBack, policy_uid: str) -> Object | None:
        """The object as it is kept; None if the Secret is gone, or does not hold what its name says.

        Raises:
            kube.errors.KubeError: it could not be read.
        """
        held = await dependencies.read(self._api, path_of(account.namespace, "Secret", one.secret), account)
        thing = manifests.unpacked((held.get("data") or {}).get(MANIFESTS) or "") if held is not None else None
        if thing is None or not _is_of(one, thing):
            return None
        return thing if is_as_remembered(one, thing, policy_uid) else None

    async def live(self, account: ServiceAccount, plan: Restoration) -> list[Object]:
        """What putting back replaces, as objects that `kubectl replace` takes.

        Raises:
            kube.errors.KubeError: it could not be read.
        """
        found = await self._found(account, plan)
        return [bare(one.one.kind, one.live) for one in found if one.live is not None]

    async def _found(self, account: ServiceAccount, plan: Restoration) -> tuple[Found, ...]:
        paths = [path_of(account.namespace, one.kind, one.name) for one in plan.objects]
        live = await asyncio.gather(*(dependencies.read(self._api, path, account) for path in paths))
        return tuple(
            Found(one, thing, thing is not None and is_as_remembered(one, thing, plan.policy_uid))
            for one, thing in zip(plan.objects, live, strict=True)
        )

    async def _write(self, where: Where, found: Found, kept: Object, key: str, *, dry_run: bool) -> None:
        one, namespace = found.one, where.account.namespace
        if found.live is not None:
            patch = change.replacing(one.kind, found.live, kept, key)
            await self._api.patch(path_of(namespace, one.kind, one.name), patch, as_=where.account, dry_run=dry_run)
            return
        body = change.anew(one.kind, kept, key)
        try:
            await self._api.create(path_of(namespace, one.kind), body, as_=where.account, dry_run=dry_run)
        except errors.AlreadyExists as error:
            raise errors.Conflict(str(error)) from error

    async def _giving_back(self, account: ServiceAccount, one: PutBack, live: Object) -> list[Object]:
        held = await dependencies.read(self._api, path_of(account.namespace, "Secret", one.secret), account)
        managed, content = live["metadata"]["managedFields"], change.CONTENT[one.kind]
        return ownership.giving_back(FIELD_MANAGER, managed, content, _owner(held))


def is_as_remembered(one: PutBack, live: Object, policy_uid: str) -> bool:
    """Whether the object says what it said then."""
    return secret_name(digest_of(one.kind, live, policy_uid)) == one.secret


def bare(kind: str, thing: Object) -> Object:
    """An object as it is kept; one of a list does not say itself what it is."""
    return {**manifests.bare(thing), "kind": kind, "apiVersion": thing.get("apiVersion", "v1")}


def _is_of(one: PutBack, thing: Object) -> bool:
    """Whether it is that object, whatever it says."""
    metadata = thing.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(thing.get("spec", {}), dict):
        return False
    same = (thing.get("kind"), metadata.get("name")) == (one.kind, one.name)
    return same and isinstance(metadata.get("annotations", {}), dict)


def owner_of(kind: str, thing: Object) -> str | None:
    """Who owns what the object says, as `OWNER` keeps it."""
    entry = ownership.owned_by(thing["metadata"].get("managedFields") or [], change.CONTENT[kind])
    return None if entry is None else json.dumps({name: entry[name] for name in ("manager", "operation")})


def _owner(held: Object | None) -> Object:
    """The owner that a Secret tells of; without one, whoever applies it from the client's side."""
    told = annotations_of(held).get(OWNER) if held is not None else None
    owner: Object = json.loads(told) if told else {"manager": "kubectl-client-side-apply", "operation": "Update"}
    return owner
