"""Remembering configuration: one Secret for each version of an object, made and read as the policy's account."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rollback_operator.api import API_VERSION, GROUP
from rollback_operator.api.reasons import Reason
from rollback_operator.api.remember import MAX_OBJECTS, Remember, Remembered, RememberedObject
from rollback_operator.configuration.digest import (
    digest_of,
    may_change,
    named_by_content,
    secret_name,
    to_remember,
    whole,
    written,
)
from rollback_operator.configuration.identity import is_of_before
from rollback_operator.configuration.places import path_of, resource_of
from rollback_operator.configuration.restoring import OWNER, bare, owner_of
from rollback_operator.core.backups import MANIFESTS
from rollback_operator.core.values import Revision
from rollback_operator.kube import errors
from rollback_operator.kube.access import Right
from rollback_operator.kube.client import Api
from rollback_operator.kube.identity import ServiceAccount
from rollback_operator.refusals import lacks_rights
from rollback_operator.targets import dependencies, manifests
from rollback_operator.targets.podtemplate import Need

SECRET_TYPE = f"{GROUP}/config"
POLICY_LABEL = f"{GROUP}/policy-uid"
_KNOWN = 4096
"""Secrets that are known to be there; more are asked for again."""
_MOST_READ = 4 * MAX_OBJECTS
"""Objects of one revision that are looked for: what is optional may not be there, and then it does not count."""

_SURE_FOR = 540.0
"""Seconds for which a Secret that was seen is taken to be there: less than between two looks whether a target could be
rolled back, so that each of these asks."""

log = logging.getLogger(__name__)
Object = dict[str, Any]


class Unremembered(Exception):  # noqa: N818 - what follows is a state of the policy
    """Why the configuration cannot be remembered, as a reason and a sentence."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason, self.message = reason, message


@dataclass(frozen=True, slots=True)
class Whose:
    """The policy that remembers, and as whom."""

    name: str
    uid: str
    account: ServiceAccount
    asked: Remember


def rights(account: ServiceAccount) -> tuple[Right, ...]:
    """What an account has to be allowed to remember, beside reading what is remembered."""
    return tuple(Right(verb, "", "secrets", account.namespace, "") for verb in ("create", "delete"))


class Memory:
    """Remembers objects as they are, and says which are no longer as they were."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._there: dict[tuple[str, str], float] = {}
        self._unsaid: dict[str, set[str]] = {}
        """By policy: Secrets that were made before another one was refused, so that no status speaks of them."""

    async def remember(
        self,
        whose: Whose,
        needed: Iterable[Need],
        current: Revision,
        now: datetime,
        known: Sequence[Remembered] = (),
    ) -> Remembered:
        """Keep the configuration that runs with `current`; what is kept already costs no write.

        `known`: what is remembered so far, and refers to Secrets.

        Raises:
            Unremembered: rights are missing, or it is too much. What was kept nevertheless is deleted by a later call,
                unless that refers to it.
            kube.errors.KubeError: no answer.
        """
        found = await self._found(whose, to_remember(needed, whose.asked))
        changing = [one for one in found if may_change(*one)]
        _in_bounds(f"{len(changing)} objects would be remembered with each revision", len(changing), MAX_OBJECTS)
        fixed = [one for one in found if not may_change(*one)][: MAX_OBJECTS - len(changing)]
        kept = await self._keep(whose, [*changing, *fixed], known)
        objects = tuple(kept[: len(changing)])
        return Remembered(
            fingerprint=current.fingerprint,
            revision=current.name,
            config=whole(objects),
            at=_since(changing, now),
            objects=objects,
            fixed=tuple(kept[len(changing) :]),
        )

    async def _found(self, whose: Whose, objects: Sequence[tuple[str, str]]) -> list[tuple[str, Object]]:
        """What there is of these, each with its kind: what is optional need not be there."""
        _in_bounds(f"{len(objects)} objects are referred to or named", len(objects), _MOST_READ)
        found = await asyncio.gather(*(self._read_to_keep(whose.account, kind, name) for kind, name in objects))
        return [(kind, thing) for (kind, _), thing in zip(objects, found, strict=True) if thing is not None]

    async def now(self, whose: Whose, needed: Iterable[Need], known: Sequence[Remembered] = ()) -> str | None:
        """Digest of the configuration that is there, to be compared with what is known; None if it may not be read.

        Raises:
            kube.errors.KubeError: no answer.
        """
        objects = [one for one in to_remember(needed, whose.asked) if not named_by_content(*one)]
        if is_of_before(known):
            then = {(one.kind, one.name) for entry in known for one in entry.kept}
            objects = [one for one in objects if one in then]
        try:
            found = await self._found(whose, objects)
        except Unremembered:
            return None
        return whole(_as_kept(whose, kind, thing) for kind, thing in found if may_change(kind, thing))

    async def gone(self, whose: Whose, then: Remembered) -> tuple[RememberedObject, ...]:
        """What cannot change under its name and is not there, as far as the account may read.

        Raises:
            kube.errors.KubeError: no answer.
        """
        fixed = await self.changed(whose, then.model_copy(update={"objects": ()}))
        return tuple(one for one, thing in fixed.items() if thing is None)

    async def changed(self, whose: Whose, then: Remembered) -> dict[RememberedObject, Object | None]:
        """What is not as it was remembered, as it is now (None: gone).

        What the account may not read is left out, and what the policy leaves out by now.

        Raises:
            kube.errors.KubeError: no answer.
        """
        objects = _wanted(whose, then)
        now = await asyncio.gather(*(self._compared(whose, one) for one in objects))
        return {one: thing for one, (same, thing) in zip(objects, now, strict=True) if not same}

    async def besides(self, whose: Whose, then: Remembered, needed: Iterable[Need]) -> tuple[tuple[str, str], ...]:
        """Kind and name of what is there, and no part of what was remembered, although `needed` refers to it.

        What the account may not read is left out.

        Raises:
            kube.errors.KubeError: no answer.
        """
        known = {(one.kind, one.name) for one in then.kept}
        unknown = [one for one in to_remember(needed, whose.asked) if one not in known]
        others = [one for one in unknown if not named_by_content(*one)][:_MOST_READ]
        there = await asyncio.gather(*(self._may_have_changed(whose.account, *one) for one in others))
        return tuple(one for one, is_there in zip(others, there, strict=True) if is_there)

    async def _may_have_changed(self, account: ServiceAccount, kind: str, name: str) -> bool:
        try:
            thing = await self._read(account, kind, name)
        except Unremembered:
            return False
        return thing is not None and may_change(kind, thing)

    async def forget(self, account: ServiceAccount, secrets: Iterable[str]) -> None:
        """Delete what nothing refers to any more. What cannot be deleted goes with the policy."""
        for name in secrets:
            path = path_of(account.namespace, "Secret", name)
            self._there.pop((account.namespace, name), None)
            try:
                found = await dependencies.read(self._api, path, account)
                if found is not None:
                    await self._api.delete(path, as_=account, uid=found["metadata"]["uid"])
            except (errors.NotFound, errors.Conflict, errors.Forbidden):
                continue

    async def _compared(self, whose: Whose, one: RememberedObject) -> tuple[bool, Object | None]:
        """Whether the object is as it was, as far as anybody can tell, and the object."""
        try:
            thing = await self._read(whose.account, one.kind, one.name)
        except Unremembered:
            return True, None
        return thing is not None and _as_kept(whose, one.kind, thing) == one, thing

    async def _read(self, account: ServiceAccount, kind: str, name: str) -> Object | None:
        path = path_of(account.namespace, kind, name)
        try:
            return await dependencies.read(self._api, path, account)
        except errors.Forbidden as error:
            _, plural = resource_of(kind)
            raise Unremembered(Reason.MAY_NOT_ROLL_BACK, _lacking(account, f"get {plural} {name}")) from error

    async def _read_to_keep(self, account: ServiceAccount, kind: str, name: str) -> Object | None:
        """The object; without the right to read it, what its content names is left out, for it makes no release."""
        try:
            return await self._read(account, kind, name)
        except Unremembered:
            if named_by_content(kind, name):
                return None
            raise

    async def _keep(
        self, whose: Whose, things: Sequence[tuple[str, Object]], known: Sequence[Remembered]
    ) -> list[RememberedObject]:
        """Keep them all.

        Raises:
            Unremembered: one of them cannot be kept.
            kube.errors.KubeError: no answer.
        """
        kept = [_as_kept(whose, *one) for one in things]
        there = await asyncio.gather(*(self._stays(whose.account, one) for one in kept))
        found = zip(things, kept, there, strict=True)
        missing = [(one, _holding(whose, *thing, one)) for thing, one, stays in found if not stays]
        needed = {one.secret for one in kept} | {one.secret for entry in known for one in entry.kept}
        unsaid = self._unsaid.get(whose.uid, set())
        await self.forget(whose.account, sorted(unsaid - needed))
        self._unsaid.pop(whose.uid, None)
        await self._create_all(whose, missing, unsaid & needed)
        return kept

    async def _stays(self, account: ServiceAccount, kept: RememberedObject) -> bool:
        """Whether the Secret was seen, and is there still."""
        if (account.namespace, kept.secret) not in self._there:
            return False
        if await self._is_there(account, kept):
            return True
        log.warning("Secret %s, which keeps %s %s, was deleted, and is made again", kept.secret, kept.kind, kept.name)
        return False

    async def _create_all(
        self, whose: Whose, missing: Sequence[tuple[RememberedObject, Object]], unsaid: set[str]
    ) -> None:
        """Create Secrets. If that ends early, those that were made stay `unsaid`: each look would make them again."""
        try:
            for kept, body in missing:
                if await self._create(whose, kept, body):
                    unsaid.add(kept.secret)
                self._saw(whose.account, kept)
        except BaseException:
            if unsaid:
                self._unsaid[whose.uid] = unsaid
            raise

    async def mend(self, whose: Whose, then: Remembered) -> None:
        """Make Secrets again that somebody deleted, of what is as it was remembered.

        What is not as it was any more is lost with its Secret: who would put it back finds that.

        Raises:
            Unremembered: rights are missing.
            kube.errors.KubeError: no answer.
        """
        objects = _wanted(whose, then)
        there = await asyncio.gather(*(self._is_there(whose.account, one) for one in objects))
        for one in (one for one, is_there in zip(objects, there, strict=True) if not is_there):
            thing = await self._read_to_keep(whose.account, one.kind, one.name)
            if thing is not None and _as_kept(whose, one.kind, thing) == one:
                await self._keep(whose, [(one.kind, thing)], (then,))

    async def _is_there(self, account: ServiceAccount, kept: RememberedObject) -> bool:
        """Whether the Secret is there, as it was seen some minutes ago or is seen now.

        It is called after its content and cannot be changed, so that is all there is to know. Of who may create and not
        read Secrets it is believed: the right is asked for where a policy looks whether it is armed.
        """
        at = self._there.get((account.namespace, kept.secret))
        if at is not None and time.monotonic() - at < _SURE_FOR:
            return True
        try:
            found = await dependencies.read(self._api, path_of(account.namespace, "Secret", kept.secret), account)
        except errors.Forbidden:
            found = {}
        if found is not None:
            self._saw(account, kept)
        return found is not None

    def _saw(self, account: ServiceAccount, kept: RememberedObject) -> None:
        if len(self._there) >= _KNOWN:
            self._there.clear()
        self._there[account.namespace, kept.secret] = time.monotonic()

    async def _create(self, whose: Whose, kept: RememberedObject, body: Object) -> bool:
        """Create the Secret that keeps an object; gives whether it was not there."""
        try:
            await self._api.create(path_of(whose.account.namespace, "Secret"), body, as_=whose.account)
        except errors.AlreadyExists:
            return False
        except (errors.Forbidden, errors.Invalid) as error:
            if lacks_rights(error):
                raise Unremembered(Reason.MAY_NOT_ROLL_BACK, _lacking(whose.account, "create secrets")) from error
            message = (
                f"{kept.kind} {kept.name} cannot be remembered, because the API server does not take the Secret that "
                f"would keep it: {error}"
            )
            raise Unremembered(Reason.NOT_REMEMBERED, message) from error
        return True


def _holding(whose: Whose, kind: str, thing: Object, kept: RememberedObject) -> Object:
    """The Secret that keeps an object.

    Raises:
        Unremembered: no Secret is large enough.
    """
    data = manifests.compressed(bare(kind, thing))
    if len(data) > manifests.LARGEST:
        message = (
            f"{kind} {kept.name} takes {len(data)} bytes, and a Secret holds {manifests.LARGEST}: it cannot be "
            "remembered. Make it smaller, or leave it out with remember.without."
        )
        raise Unremembered(Reason.NOT_REMEMBERED, message)
    owner = {"apiVersion": API_VERSION, "kind": "RollbackPolicy", "name": whose.name, "uid": whose.uid}
    place = (whose.account.namespace, kept.secret)
    body = manifests.holding(place, SECRET_TYPE, {POLICY_LABEL: whose.uid}, owner, {MANIFESTS: data})
    content_owner = owner_of(kind, thing)
    if content_owner is not None:
        body["metadata"]["annotations"] = {OWNER: content_owner}
    return body


def _in_bounds(what: str, number: int, most: int) -> None:
    """Make sure that there are not more objects than `most`.

    Raises:
        Unremembered: there are.
    """
    if number > most:
        message = (
            f"{what} (spec.remember), and {most} are the most: nothing more is remembered. Leave some out with "
            "remember.without, or name fewer in remember.also."
        )
        raise Unremembered(Reason.NOT_REMEMBERED, message)


def _since(found: Iterable[tuple[str, Object]], now: datetime) -> datetime:
    """Since when all of it says what it says; now, if that cannot be told."""
    times = [written(kind, thing) for kind, thing in found]
    known = [time for time in times if time is not None]
    return min(max(known), now) if known and len(known) == len(times) else now


def _wanted(whose: Whose, then: Remembered) -> list[RememberedObject]:
    """What is kept of a revision, but for what the policy leaves out by now."""
    left_out = {(one.kind, one.name) for one in whose.asked.without}
    return [one for one in then.kept if (one.kind, one.name) not in left_out]


def _as_kept(whose: Whose, kind: str, thing: Object) -> RememberedObject:
    secret = secret_name(digest_of(kind, thing, whose.uid))
    return RememberedObject(kind=kind, name=thing["metadata"]["name"], secret=secret)


def restoring(namespace: str, objects: Iterable[RememberedObject]) -> str:
    """The command that brings objects back as they were remembered."""
    names = " ".join(one.secret for one in objects)
    reading = f"kubectl -n {namespace} get secret $one -o jsonpath='{{.data.{MANIFESTS}}}'"
    return f"for one in {names}; do {reading} | base64 -d | gunzip; done | kubectl replace -f -"


def _lacking(account: ServiceAccount, what: str) -> str:
    return (
        f"Service account {account} may not {what} in namespace {account.namespace}, and the policy remembers "
        "configuration (spec.remember). Give it the right: examples/rbac-remember.yaml shows which."
    )
