"""Keeping a copy of what a rollback replaces: a Secret in the request's namespace, made as its service account."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from rollback_operator.api import API_VERSION, GROUP, REQUEST_ANNOTATION
from rollback_operator.api.common import TargetRef
from rollback_operator.api.options import Backup
from rollback_operator.api.reasons import Reason
from rollback_operator.api.request import KeptCopy
from rollback_operator.core.backups import CONFIGURATION, MANIFESTS, name_of
from rollback_operator.core.values import Findings, Refused, Request, Snapshot, Unkept
from rollback_operator.kube import access, errors
from rollback_operator.kube.access import Right
from rollback_operator.kube.client import Api
from rollback_operator.kube.identity import ServiceAccount
from rollback_operator.lately import Lately
from rollback_operator.refusals import refusal
from rollback_operator.targets.base import Kept, Target, Where
from rollback_operator.targets.manifests import LARGEST, compressed, holding

SECRET_TYPE = f"{GROUP}/backup"
TARGET_LABEL = f"{GROUP}/target"
UNREADABLE = "what would be replaced cannot be read"
YES_LASTS = 30.0
"""Seconds for which an account's right to make copies is not asked for again."""
_MADE_FOR = 60.0
"""Seconds for which a copy that was made is not made again: reading what it holds may take as long as an attempt."""
_LABEL_LENGTH = 63

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Prepared:
    """What the plan says of the copy: its name, or a note why none is kept."""

    copy: KeptCopy | None = None
    notes: tuple[str, ...] = ()

    def added_to(self, findings: Findings) -> Findings:
        """`findings` with the copy in them."""
        return replace(findings, copy=self.copy, notes=(*findings.notes, *self.notes))


def right(account: ServiceAccount) -> Right:
    """What a service account has to be allowed to keep a copy: in its own namespace, wherever the target is."""
    return Right("create", "", "secrets", account.namespace, "")


class Backups:
    """Says of a copy whether it can be kept, and keeps it."""

    def __init__(self, api: Api, targets: Mapping[str, Target]) -> None:
        self._api = api
        self._targets = targets
        self._allowed = Lately(YES_LASTS)
        self._made = Lately(_MADE_FOR)

    async def foresee(self, account: ServiceAccount) -> None:
        """Ask beside other calls what `prepare` will ask; without an answer, it asks again."""
        with suppress(errors.KubeError):
            await self._may(account)

    async def _may(self, account: ServiceAccount) -> bool:
        """Whether the account may make a copy. A yes holds for a while: if it is none any more, the copy is refused."""
        if self._allowed.has(account):
            return True
        allowed = await access.first_lacking(self._api, (right(account),), account) is None
        if allowed:
            self._allowed.note(account)
        return allowed

    async def prepare(
        self,
        request: Request,
        ref: TargetRef,
        where: Where,
        target: Snapshot,
        wish: Backup,
        *,
        to: str,
        beside: Sequence[Object] = (),
    ) -> Prepared | Refused:
        """Whether a copy will be kept, for the plan to say; nothing is made yet.

        `to`: the revision that it goes back to. `beside`: the configuration that is replaced besides, as objects that
        `kubectl replace` takes.

        Raises:
            kube.errors.KubeError: no answer.
        """
        if wish is Backup.NEVER:
            return Prepared()
        required = wish is Backup.ALWAYS
        if not await self._may(where.account):
            why = f"service account {where.account} may not create secrets in namespace {where.account.namespace}"
            return _cannot(Reason.FORBIDDEN, why, required=required)
        kept = await self._targets[ref.kind].backup(where, target, to)
        if kept is None:
            return _cannot(Reason.REJECTED, UNREADABLE, required=required)
        size = sum(len(data) for data in _data(kept, beside).values())
        if size > LARGEST:
            why = f"what would be replaced takes {size} bytes, and a Secret holds {LARGEST}"
            return _cannot(Reason.REJECTED, why, required=required)
        copy = KeptCopy(
            secret=name_of(request, ref),
            path=_path(kept.manifests) if kept.command is None else None,
            command=kept.command,
            reads=kept.reads,
            required=required,
            configuration=bool(beside),
        )
        return Prepared(copy)

    async def keep(
        self,
        request: Request,
        ref: TargetRef,
        where: Where,
        target: Snapshot,
        copy: KeptCopy,
        *,
        to: str,
        beside: Sequence[Object] = (),
    ) -> None:
        """Make the copy of what stands now; one that this request made already stays as it is.

        Raises:
            kube.errors.Forbidden, Invalid, NotFound: refused, or its name is taken, or what it is to hold cannot be
                read any more; nothing was made.
            kube.errors.Unavailable: no answer; it may or may not have been made.
        """
        if self._made.has((request.uid, copy.secret)):
            return  # by an attempt that came to be too late over it
        kept = await self._targets[ref.kind].backup(where, target, to)
        if kept is None:
            raise errors.Invalid(UNREADABLE)
        body = secret(request, ref, copy.secret, _data(kept, beside))
        path = f"/api/v1/namespaces/{request.namespace}/secrets"
        try:
            await self._api.create(path, body, as_=where.account)
        except errors.AlreadyExists:
            await self._make_sure_it_is_of(request, f"{path}/{copy.secret}", where.account)
        self._made.note((request.uid, copy.secret))

    async def _make_sure_it_is_of(self, request: Request, path: str, account: ServiceAccount) -> None:
        """A name that is made from the uid is nobody else's, unless somebody means to be in the way.

        An account that may create Secrets and not read them is believed.
        """
        try:
            found = await self._api.get(path, as_=account)
        except errors.Forbidden:
            return
        except errors.NotFound as error:  # 409 said something else, such as a quota that was counted at the moment
            raise errors.Unavailable(str(error)) from error
        if (found["metadata"].get("labels") or {}).get(REQUEST_ANNOTATION) != request.uid:
            raise errors.Invalid(f"Secret {found['metadata']['name']} is there and was not made by this request")


def packed(manifests: Sequence[Object]) -> bytes:
    """The one object, or a List of them, compressed; the same manifests give the same bytes."""
    return compressed(_list(manifests) if _path(manifests) is None else manifests[0])


def _list(manifests: Sequence[Object]) -> Object:
    return {"apiVersion": "v1", "kind": "List", "items": list(manifests)}


def _data(kept: Kept, beside: Sequence[Object]) -> dict[str, bytes]:
    """What the Secret holds: configuration for itself, so that it can be put back without the target."""
    more = {key: compressed(document) for key, document in kept.more.items()}
    configuration = {CONFIGURATION: compressed(_list(beside))} if beside else {}
    return {MANIFESTS: packed(kept.manifests), **more, **configuration}


def _path(manifests: Sequence[Object]) -> str | None:
    """Where the API server takes it, if it is one object of a kind that may be replaced without naming a version."""
    if len(manifests) != 1 or not manifests[0]["apiVersion"].startswith("apps/"):
        return None
    (thing,) = manifests
    metadata = thing["metadata"]
    base = f"/apis/{thing['apiVersion']}/namespaces/{metadata['namespace']}"
    return f"{base}/{thing['kind'].lower()}s/{metadata['name']}"


def secret(request: Request, ref: TargetRef, name: str, data: Mapping[str, bytes]) -> Object:
    """The Secret; it is deleted with its request."""
    owner = {"apiVersion": API_VERSION, "kind": "RollbackRequest", "name": request.name, "uid": request.uid}
    labels = {REQUEST_ANNOTATION: request.uid, TARGET_LABEL: _label(ref)}
    return holding((request.namespace, name), SECRET_TYPE, labels, owner, data)


def _label(ref: TargetRef) -> str:
    """The target as a label can say it; a name that is too long is told by its digest."""
    whole = f"{ref.kind}.{ref.name}"
    if len(whole) <= _LABEL_LENGTH:
        return whole
    return f"{ref.kind}.{hashlib.sha256(ref.name.encode()).hexdigest()[:16]}"


def _cannot(reason: Reason, why: str, *, required: bool) -> Prepared | Refused:
    return Refused(reason, _not_kept(why)) if required else Prepared(notes=(f"No backup is kept: {why}.",))


def given_up(error: errors.KubeError, ref: TargetRef, account: ServiceAccount, *, required: bool) -> Refused | Unkept:
    """What follows when the API server does not take the copy: rights, a quota, an admission policy."""
    if not required:
        return Unkept(f"No backup was kept: {error}")
    return Refused(refusal(error, ref, account).reason, _not_kept(str(error)))


def _not_kept(why: str) -> str:
    """The end of a request that must not go on without a backup."""
    return (
        f"No backup can be kept, and this rollback requires one (backup: Always): {why}. Nothing was changed. Set that "
        "right, or say backup: IfAllowed or Never; then write a new request."
    )
