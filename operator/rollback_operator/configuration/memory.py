"""Remembering configuration: one Secret for each version of an object, made and read as the policy's account."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rollback_operator.api import API_VERSION, GROUP
from rollback_operator.api.reasons import Reason
from rollback_operator.api.remember import MAX_OBJECTS, Remember, Remembered, RememberedObject
from rollback_operator.configuration.digest import digest_of, may_change, secret_name, to_remember, whole
from rollback_operator.core.backups import MANIFESTS
from rollback_operator.core.values import Revision
from rollback_operator.kube import errors
from rollback_operator.kube.access import Right
from rollback_operator.kube.client import Api
from rollback_operator.kube.identity import ServiceAccount
from rollback_operator.targets import dependencies, manifests
from rollback_operator.targets.podtemplate import Need

SECRET_TYPE = f"{GROUP}/config"
POLICY_LABEL = f"{GROUP}/policy-uid"
_PLURALS = {
    "ConfigMap": "/api/v1/namespaces/{}/configmaps",
    "Secret": "/api/v1/namespaces/{}/secrets",
    "Service": "/api/v1/namespaces/{}/services",
    "Ingress": "/apis/networking.k8s.io/v1/namespaces/{}/ingresses",
}
_KNOWN = 4096
"""Secrets that are known to be there; more are asked for again."""

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
        self._there: set[tuple[str, str]] = set()

    async def remember(self, whose: Whose, needed: Iterable[Need], current: Revision, now: datetime) -> Remembered:
        """Keep the configuration that runs with `current`; what is kept already costs no write.

        Raises:
            Unremembered: rights are missing, or it is too much.
            kube.errors.KubeError: no answer.
        """
        objects = to_remember(needed, whose.asked)
        if len(objects) > MAX_OBJECTS:
            message = f"It refers to {len(objects)} ConfigMaps and Secrets, and {MAX_OBJECTS} are remembered at most."
            raise Unremembered(Reason.NOT_REMEMBERED, message)
        found = await asyncio.gather(*(self._read(whose.account, kind, name) for kind, name in objects))
        kept = await asyncio.gather(
            *(
                self._keep(whose, kind, thing)
                for (kind, _), thing in zip(objects, found, strict=True)
                if thing is not None and may_change(thing)
            )
        )
        return Remembered(
            fingerprint=current.fingerprint, revision=current.name, config=whole(kept), at=now, objects=kept
        )

    async def changed(self, whose: Whose, then: Remembered) -> tuple[RememberedObject, ...]:
        """What is not as it was remembered; what the account may not read counts as unchanged.

        Raises:
            kube.errors.KubeError: no answer.
        """
        now = await asyncio.gather(*(self._digest(whose, one) for one in then.objects))
        return tuple(one for one, digest in zip(then.objects, now, strict=True) if secret_name(digest) != one.secret)

    async def forget(self, account: ServiceAccount, secrets: Iterable[str]) -> None:
        """Delete what nothing refers to any more. What cannot be deleted goes with the policy."""
        for name in secrets:
            path = f"{_PLURALS['Secret'].format(account.namespace)}/{name}"
            self._there.discard((account.namespace, name))
            try:
                found = await dependencies.read(self._api, path, account)
                if found is not None:
                    await self._api.delete(path, as_=account, uid=found["metadata"]["uid"])
            except (errors.NotFound, errors.Conflict, errors.Forbidden):
                continue

    async def _digest(self, whose: Whose, one: RememberedObject) -> str:
        try:
            thing = await self._read(whose.account, one.kind, one.name)
        except Unremembered:
            return one.secret.removeprefix(secret_name(""))
        return "gone" if thing is None else digest_of(one.kind, thing, whose.uid)

    async def _read(self, account: ServiceAccount, kind: str, name: str) -> Object | None:
        path = f"{_PLURALS[kind].format(account.namespace)}/{name}"
        try:
            return await dependencies.read(self._api, path, account)
        except errors.Forbidden as error:
            plural = _PLURALS[kind].rpartition("/")[2]
            raise Unremembered(Reason.MAY_NOT_ROLL_BACK, _lacking(account, f"get {plural} {name}")) from error

    async def _keep(self, whose: Whose, kind: str, thing: Object) -> RememberedObject:
        metadata = thing["metadata"]
        digest = digest_of(kind, thing, whose.uid)
        kept = RememberedObject(kind=kind, name=metadata["name"], secret=secret_name(digest))
        place = (whose.account.namespace, kept.secret)
        if place not in self._there:
            await self._create(whose, kind, thing, kept)
            if len(self._there) >= _KNOWN:
                self._there.clear()
            self._there.add(place)
        return kept

    async def _create(self, whose: Whose, kind: str, thing: Object, kept: RememberedObject) -> None:
        whole = {**manifests.bare(thing), "kind": kind, "apiVersion": thing.get("apiVersion", "v1")}
        data = manifests.compressed(whole)
        if len(data) > manifests.LARGEST:
            message = (
                f"{kind} {kept.name} takes {len(data)} bytes, and a Secret holds {manifests.LARGEST}: it cannot be "
                "remembered. Make it smaller, or give each release one of its own."
            )
            raise Unremembered(Reason.NOT_REMEMBERED, message)
        owner = {"apiVersion": API_VERSION, "kind": "RollbackPolicy", "name": whose.name, "uid": whose.uid}
        place = (whose.account.namespace, kept.secret)
        body = manifests.holding(place, SECRET_TYPE, {POLICY_LABEL: whose.uid}, owner, data)
        try:
            await self._api.create(_PLURALS["Secret"].format(place[0]), body, as_=whose.account)
        except errors.AlreadyExists:
            return
        except errors.Forbidden as error:
            raise Unremembered(Reason.MAY_NOT_ROLL_BACK, _lacking(whose.account, "create secrets")) from error
        except errors.Invalid as error:
            raise Unremembered(Reason.NOT_REMEMBERED, f"{kind} {kept.name} cannot be remembered: {error}") from error


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
