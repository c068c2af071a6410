"""What a rollback does about configuration: what is not as it was when the revision ran, and how that comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rollback_operator.api.reasons import Reason
from rollback_operator.api.remember import Remembered, RememberedObject
from rollback_operator.api.request import PutBack, Restoration
from rollback_operator.configuration import change
from rollback_operator.configuration.digest import belonging, headless, may_change
from rollback_operator.configuration.memory import Memory, Whose, restoring
from rollback_operator.configuration.restoring import Restorer, bare, rights
from rollback_operator.core.owners import recognised
from rollback_operator.core.values import Findings, Obstacle, Revision
from rollback_operator.kube import access, errors
from rollback_operator.kube.client import Api
from rollback_operator.kube.identity import ServiceAccount
from rollback_operator.targets.podtemplate import Need

Object = dict[str, Any]

_NAMED = 6
"""Objects that are named one by one: a plan has room for so many sentences."""
_READ_AT_START = ("ConfigMap", "Secret")
INSTEAD = "To roll back the pod template alone, write a request with target instead of policyRef."


@dataclass(frozen=True, slots=True)
class Differing:
    """An object that is not as it was, as it is, and as it is kept (None: it is not any more)."""

    one: PutBack
    live: Object | None
    kept: Object | None


@dataclass(frozen=True, slots=True)
class Recalled:
    """What is to be put back beside a target; `replaced` is what stands there now, to be copied."""

    restoration: Restoration | None = None
    differing: tuple[Differing, ...] = ()
    notes: tuple[str, ...] = ()
    obstacle: Obstacle | None = None
    told: tuple[RememberedObject, ...] = ()
    """Objects that are not as they were, and that this rollback leaves as they are."""
    lost: tuple[PutBack, ...] = ()
    """Objects that are not as they were, and are not kept any more."""

    @property
    def replaced(self) -> list[Object]:
        """What putting back replaces, as objects that `kubectl replace` takes."""
        return [bare(one.one.kind, one.live) for one in self.differing if one.live is not None]

    def added_to(self, findings: Findings, salt: str) -> Findings:
        """`findings` of the target, with what is done beside it. `salt` is for the digests of values in the diff."""
        notes = (*findings.notes, *self.notes)
        if self.restoration is None:
            obstacle = findings.obstacle or self.obstacle
            return replace(findings, missing=self._kept(findings.missing), notes=notes, obstacle=obstacle)
        again = {str(one) for one in self.restoration.objects}
        restart = (_RESTART,) if self.restoration.restart else ()
        return replace(
            findings,
            steps=(*_steps(self.restoration.objects), *findings.steps, *restart),
            diff=findings.diff + "".join(_difference(one, salt) for one in self.differing),
            missing=tuple(one for one in findings.missing if _thing(one) not in again),
            notes=notes,
            obstacle=findings.obstacle or self.obstacle,
            configuration=self.restoration,
        )

    def _kept(self, missing: Iterable[str]) -> tuple[str, ...]:
        """What is missing, each with where it is kept."""
        kept = {f"{one.kind} {one.name}": one.secret for one in self.told}
        return tuple(f"{one} (kept in Secret {kept[_thing(one)]})" if _thing(one) in kept else one for one in missing)


_RESTART = "Start all pods anew, for they read configuration when they start (kubectl.kubernetes.io/restartedAt)."


class Recall:
    """Compares what a policy remembers with what is there."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._memory = Memory(api)
        self._restorer = Restorer(api)

    async def look(
        self, whose: Whose, known: Sequence[Remembered], to: Revision, needed: Iterable[Need] = (), *, restores: bool
    ) -> Recalled:
        """What changed since `to` ran, as far as the policy remembers and the account may read.

        `needed`: what its pods refer to. `restores`: it is put back; otherwise it is only told of.

        Raises:
            kube.errors.KubeError: no answer.
        """
        then = belonging(known, to)
        if then is None:
            return Recalled()
        besides = _beside(to, await self._memory.besides(whose, then, needed))
        changed, stuck = _apart(then, await self._memory.changed(whose, then))
        besides = (*besides, *_stuck(to, stuck))
        if not changed:
            return Recalled(notes=besides)
        if not restores:
            return Recalled(notes=(_note(whose.account.namespace, to, changed), *besides), told=tuple(changed))
        differing = await asyncio.gather(*(self._differing(whose.account, whose.uid, *one) for one in changed.items()))
        fixed = {(one.kind, one.name) for one in then.fixed or ()}
        restoration = Restoration(
            policy_uid=whose.uid,
            restart=any(_is_read_anew(one, fixed) for one in differing),
            objects=tuple(one.one for one in differing),
        )
        forbidden = await self._forbidden(whose.account, restoration)
        lost = () if forbidden is not None else tuple(one.one for one in differing if one.kept is None)
        obstacle = forbidden or _in_the_way(differing)
        return Recalled(restoration, tuple(differing), (*_managed(differing), *besides), obstacle, lost=lost)

    async def _differing(
        self, account: ServiceAccount, uid: str, one: RememberedObject, live: Object | None
    ) -> Differing:
        version = None if live is None else live["metadata"]["resourceVersion"]
        planned = PutBack(kind=one.kind, name=one.name, secret=one.secret, resource_version=version)
        try:
            kept = await self._restorer.kept(account, planned, uid)
        except errors.Forbidden:
            kept = None  # which right is missing is asked for as well
        return Differing(planned, live, kept)

    async def _forbidden(self, account: ServiceAccount, restoration: Restoration) -> Obstacle | None:
        lacking = await access.first_lacking(self._api, rights(account, restoration.objects), account)
        if lacking is None:
            return None
        message = (
            f"Service account {account} may not {lacking}, and the policy brings configuration back (spec.remember): "
            f"nothing was changed. Give it the right: examples/rbac-remember.yaml shows which. {INSTEAD}"
        )
        return Obstacle(Reason.FORBIDDEN, message)


def what_is_lost(to: Revision, lost: Sequence[PutBack]) -> str:
    """What a policy says that would go back to `to`, and could not bring these objects back."""
    names = ", ".join(f"{one} (Secret {one.secret})" for one in lost[:_NAMED])
    more = f" and {len(lost) - _NAMED} more" if len(lost) > _NAMED else ""
    return (
        f"What was remembered with revision {to.name}, which it would go back to, is lost: {names}{more}. The Secret "
        "is gone, or does not hold what its name says. Restore it from a backup, or give the object by hand what it "
        "said then: what is as it was need not go back, and is kept again."
    )


def nothing_put_back(to: Revision) -> Obstacle:
    """What is in the way of a rollback to the template that stands, if no object is to be put back."""
    message = (
        f"Revision {to.name} has the pod template that stands, and nothing of its configuration can be put back: "
        "nothing was changed. A rollback deletes nothing that was not there then, and puts nothing back that the "
        "policy leaves out or the service account may not read. Change that by hand, or name another revision in `to`."
    )
    return Obstacle(Reason.NOTHING_TO_ROLL_BACK_TO, message)


def _in_the_way(differing: Iterable[Differing]) -> Obstacle | None:
    """Why something cannot be put back, whoever tries."""
    for one in differing:
        if one.kept is None:
            message = (
                f"Secret {one.one.secret} does not keep {one.one} as it was any more: nothing was changed. Restore "
                f"{one.one} by hand, and write a new request. {INSTEAD}"
            )
            return Obstacle(Reason.MISSING_DEPENDENCY, message)
        fixed = _fixed(one.one.kind, one.live, one.kept)
        if fixed is not None:
            message = (
                f"{one.one} cannot be put back as it was, because {fixed}: nothing was changed. Delete it and write "
                f"a new request: then it is made anew. {INSTEAD}"
            )
            return Obstacle(Reason.REJECTED, message)
    return None


def _fixed(kind: str, live: Object | None, kept: Object) -> str | None:
    """What of the object the API server lets nobody change."""
    if live is None:
        return None
    if live.get("immutable") is True:
        return "it is immutable now"
    if live.get("type") != kept.get("type"):
        return "its type is another one now, and the type of a Secret cannot be changed"
    types = [(one.get("spec") or {}).get("type") for one in (live, kept)]
    if kind == "Service" and "ExternalName" not in types and headless(live) != headless(kept):
        which = "is headless now" if headless(live) else "was headless then"
        return f"it {which} (clusterIP: None), and whether a Service has an address cannot be changed"
    return None


def _managed(differing: Iterable[Differing]) -> tuple[str, ...]:
    """Who may undo it."""
    notes = []
    for one in differing:
        owners = recognised(one.live if one.live is not None else _labelled(one.kept or {}))
        if owners and one.live is not None:
            notes.append(f"{owners[0]} manages {one.one}, and may set it anew.")
        elif owners:
            notes.append(f"{owners[0]} made {one.one} before it was gone, and may delete it again.")
    return tuple(notes[:_NAMED])


def _labelled(kept: Object) -> Object:
    """What an object that was kept says of its owners; who may write Secrets may have written anything there."""
    metadata = kept.get("metadata") or {}
    told = {part: metadata[part] for part in ("labels", "annotations") if isinstance(metadata.get(part), dict)}
    texts = {part: {k: v for k, v in its.items() if isinstance(v, str)} for part, its in told.items()}
    return {"kind": kept.get("kind"), "metadata": {**texts, **{k: metadata.get(k, "") for k in ("name", "namespace")}}}


def _apart(
    then: Remembered, changed: Mapping[RememberedObject, Object | None]
) -> tuple[dict[RememberedObject, Object | None], list[RememberedObject]]:
    """What can be put back, and what is there and says something else although it cannot change."""
    fixed = set(then.fixed or ())
    stuck = [
        one for one, live in changed.items() if one in fixed and live is not None and not may_change(one.kind, live)
    ]
    return {one: live for one, live in changed.items() if one not in stuck}, stuck


def _is_read_anew(one: Differing, fixed: Collection[tuple[str, str]]) -> bool:
    """Whether pods have to start anew for it: whoever reads what cannot change reads what it always said."""
    as_ever = one.live is None and (one.one.kind, one.one.name) in fixed
    return one.one.kind in _READ_AT_START and not as_ever


def _steps(objects: Sequence[PutBack]) -> tuple[str, ...]:
    named = tuple(_step(one) for one in objects[:_NAMED])
    more = len(objects) - _NAMED
    return (*named, f"Put {more} more objects back: plan.configuration names them.") if more > 0 else named


def _step(one: PutBack) -> str:
    if one.resource_version is None:
        return f"Make {one} anew as it was (kept in Secret {one.secret})."
    return f"Put {one} back as it was (kept in Secret {one.secret})."


def _difference(one: Differing, salt: str) -> str:
    return "" if one.kept is None else change.difference(one.one.kind, one.live, one.kept, salt)


def _thing(missing: str) -> str:
    """The object, of which perhaps only a key is missing."""
    return missing.partition(" (key ")[0]


def _note(namespace: str, to: Revision, changed: Iterable[RememberedObject]) -> str:
    changed = list(changed)
    said = f"Configuration is not as it was when revision {to.name} ran, and this rollback leaves it as it is"
    if len(changed) > _NAMED:
        return f"{said}: {len(changed)} objects. The policy's status.remembered says where each is kept."
    names = ", ".join(f"{one.kind} {one.name}" for one in changed)
    return f"{said}: {names}. To bring it back as well: {restoring(namespace, changed)}"


def _beside(to: Revision, found: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """A note on what was not there then, as far as the policy remembers."""
    if not found:
        return ()
    said = (
        f"Left as it is, although nothing of it is remembered with revision {to.name} (a rollback deletes nothing that "
        f"was not there then): {_some(found)}."
    )
    return (said,)


def _stuck(to: Revision, found: Sequence[RememberedObject]) -> tuple[str, ...]:
    """A note on what was deleted and made with another content, and cannot be changed."""
    if not found:
        return ()
    names = _some([(one.kind, one.name) for one in found])
    return (f"Left as it is, although it says something else than when revision {to.name} ran: {names}.",)


def _some(found: Sequence[tuple[str, str]]) -> str:
    named = [f"{kind} {name}" for kind, name in found[:_NAMED]]
    more = [f"{len(found) - _NAMED} more"] if len(found) > _NAMED else []
    return ", ".join([*named, *more])
