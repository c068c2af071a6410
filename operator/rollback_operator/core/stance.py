"""What follows from somebody else managing a target: nothing, going by the owner, suspending it first, or refusing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, get_args

from rollback_operator.api.common import TargetKind, TargetRef
from rollback_operator.api.owner import OwnerRule, Suspension
from rollback_operator.api.reasons import Reason
from rollback_operator.core import flux, suspended
from rollback_operator.core.conditions import some_of
from rollback_operator.core.owners import ARGO_CD_GROUP, Lineage, Owner, OwnerKind, Seen, recognised
from rollback_operator.core.values import Obstacle

TARGETS = frozenset({OwnerKind.HELM, OwnerKind.APPLICATION})
"""Owners that are rolled back themselves."""
SUSPENDED = frozenset({OwnerKind.HELM_RELEASE, OwnerKind.KUSTOMIZATION})
"""Owners that are suspended while what they drive is rolled back."""
ARGO_CD = frozenset({OwnerKind.APPLICATION, OwnerKind.APPLICATION_SET})
"""Owners of an Application that may put its automation back."""
IGNORE = "owner: Ignore rolls back all the same, and it may be undone at any moment."

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Go:
    """The target itself is rolled back, these suspended first."""

    suspends: tuple[Suspension, ...] = ()
    notes: tuple[str, ...] = ()
    affected: tuple[str, ...] = ()
    """Objects that are not updated while these are suspended."""


NOTHING_ELSE = Go()
"""Nothing else manages the target."""


@dataclass(frozen=True, slots=True)
class GoBy:
    """The owner is rolled back instead."""

    owner: Owner
    ref: TargetRef


@dataclass(frozen=True, slots=True)
class Await:
    """Not at this moment."""

    message: str


Stance = Go | GoBy | Await | Obstacle


@dataclass(frozen=True, slots=True)
class Managed:
    """A target, what manages it, and what is asked for in that case.

    `namespace`: of the request or policy. `lineage`: the owners that `to_read` names, as they were read.
    """

    ref: TargetRef
    owners: tuple[Owner, ...]
    rule: OwnerRule
    namespace: str
    lineage: Lineage = ()


def to_read(managed: Managed) -> tuple[Owner, ...]:
    """The owners whose own objects have to be read before anything is decided."""
    direct = _gone_by(managed)
    if managed.rule is OwnerRule.IGNORE or direct is not None or _impossible(managed) is not None:
        return ()
    read = SUSPENDED | ARGO_CD if _is(managed.ref, OwnerKind.APPLICATION) else SUSPENDED
    return tuple(owner for owner in managed.owners if owner.kind in read)


def take(managed: Managed) -> Stance:
    """How the target is rolled back."""
    ref, owners = managed.ref, managed.owners
    if not owners:
        return NOTHING_ELSE
    if managed.rule is OwnerRule.IGNORE:
        note = f"{chain(owners)} manages {ref}, and owner is Ignore: what it does next may undo the rollback."
        return Go(notes=(note,))
    impossible = _impossible(managed)
    if impossible is not None:
        return _no_name(managed, impossible)
    direct = _gone_by(managed)
    if direct is not None:
        return _by_owner(managed, direct)
    return _together([_below(managed), _with_drivers(managed)])


def _together(stances: list[Go | Await | Obstacle]) -> Go | Await | Obstacle:
    """What all of them come to: one that refuses is enough, and before one that waits."""
    for kind in (Obstacle, Await):
        for stance in stances:
            if isinstance(stance, kind):
                return stance
    going = [stance for stance in stances if isinstance(stance, Go)]
    suspends = tuple(one for stance in going for one in stance.suspends)
    affected = tuple(name for stance in going for name in stance.affected)
    return Go(suspends, tuple(note for stance in going for note in stance.notes), affected)


def _is(ref: TargetRef, kind: OwnerKind) -> bool:
    return ref.kind == kind.value


def chain(owners: Iterable[Owner]) -> str:
    """The owners in one clause: who manages it, and who drives that."""
    first, *rest = (str(owner) for owner in owners)
    return ", driven by ".join([first, *rest])


def _impossible(managed: Managed) -> Owner | None:
    """An owner that cannot be, by its name. Something wrote it there, so the target may well be managed."""
    return next((owner for owner in managed.owners if not owner.can_be), None)


def _no_name(managed: Managed, owner: Owner) -> Obstacle:
    message = (
        f"By its {owner.named_by}, {owner} manages {managed.ref}, and nothing can have that name: nothing was changed. "
        "Correct what names it, or take it away if nothing manages the target; then write a new request. "
        f"{IGNORE}"
    )
    return _owned(message)


def _gone_by(managed: Managed) -> Owner | None:
    """The owner that is a target itself, and is rolled back instead of what it made."""
    if any(_is(managed.ref, kind) for kind in TARGETS):
        return None
    return next((owner for owner in managed.owners if owner.kind in TARGETS), None)


def _by_owner(managed: Managed, owner: Owner) -> GoBy | Obstacle:
    manages = f"{chain(managed.owners)} manages {managed.ref}"
    text = target_text(owner)
    if owner.kind is OwnerKind.HELM and owner.namespace != managed.namespace:
        where = f"Write a new request with target: {text} in namespace {owner.namespace}, where the release is."
        return _owned(f"{manages}: nothing was changed. {where} {IGNORE}")
    target = _ref(owner, managed.namespace)
    if target is None:
        return _owned(f"{manages}: nothing was changed. Roll {owner} back by its own means. {IGNORE}")
    if managed.rule is OwnerRule.THROUGH:
        return GoBy(owner, target)
    driven = [str(one) for one in managed.owners if one.kind in SUSPENDED]
    through = f" and owner: Through (which suspends {' and '.join(driven)} first)" if driven else ""
    message = (
        f"{manages}, and would put its own version back with its next change: nothing was changed. Write a new request "
        f"with target: {text}{through}. owner: Through in a request for {managed.ref} does the same. {IGNORE}"
    )
    return _owned(message)


def target_text(owner: Owner) -> str:
    """The owner as people write it in a request."""
    where = f", namespace: {owner.namespace}" if owner.kind is OwnerKind.APPLICATION else ""
    return f"{{kind: {owner.kind}, name: {owner.name}{where}}}"


def _ref(owner: Owner, namespace: str) -> TargetRef | None:
    """The owner as a target, said in that namespace; None if its kind cannot be rolled back."""
    if owner.kind not in get_args(TargetKind):
        return None
    elsewhere = owner.namespace if owner.namespace != namespace else None
    return TargetRef.model_validate({"kind": owner.kind.value, "name": owner.name, "namespace": elsewhere})


def _owned(message: str) -> Obstacle:
    return Obstacle(Reason.OWNED_BY, message)


# What Flux drives: suspended for the rollback.


def _with_drivers(managed: Managed) -> Go | Await | Obstacle:
    ref, driving = managed.ref, [owner for owner in managed.owners if owner.kind in SUSPENDED]
    if managed.rule is OwnerRule.REFUSE and driving:
        names = " and ".join(str(owner) for owner in driving)
        message = (
            f"{names} manages {ref}, and would put its own version back: nothing was changed. Write a new request with "
            f"owner: Through, which suspends {names} first and says how it is resumed. {IGNORE}"
        )
        return _owned(message)
    return _together([_suspend(ref, seen) for seen in managed.lineage if seen.owner.kind in SUSPENDED])


def _suspend(ref: TargetRef, seen: Seen) -> Go | Await | Obstacle:
    """What it takes to keep one Flux object from undoing the rollback."""
    owner, body = seen.owner, seen.body
    if body is None:
        return _unread(ref, seen)
    above = flux.undone_by(body)
    if above is not None:
        by = chain(recognised(body)) if recognised(body) else f"field manager {above}"
        message = (
            f"{owner} manages {ref}, and {by} sets spec.suspend of it, so the suspension would be undone: nothing was "
            f"changed. Suspend {by} or take spec.suspend out of what it applies; then write a new request. {IGNORE}"
        )
        return _owned(message)
    if flux.reconciling(body):
        return Await(f"Waiting for {owner} to finish what it is applying: {flux.said(body)}")
    if flux.suspended(body) and flux.hold_of(body) is None:
        return Go(notes=(f"{owner} is suspended already, not by this request, and stays so.",))
    suspension = Suspension(
        kind=owner.kind.value,
        namespace=owner.namespace,
        name=owner.name,
        uid=body["metadata"]["uid"],
        was=flux.before(body),
        revision=suspended.attempted(body),
        content=suspended.content_of(body),
    )
    return Go((suspension,), tuple(_suspension_notes(owner, body)), flux.applied(body))


def _suspension_notes(owner: Owner, body: Object) -> Iterator[str]:
    above = recognised(body)
    if above:
        yield f"{chain(above)} applies {owner}, and says nothing of spec.suspend: it leaves the suspension alone."
    if flux.hold_of(body) is not None:
        yield f"{owner} is already suspended, for an earlier request."
    applied = flux.applied(body)
    if applied:
        yield f"While {owner} is suspended, nothing that it applies is updated: {some_of(applied)}."


def _unread(ref: TargetRef, seen: Seen) -> Obstacle:
    owner = seen.owner
    if seen.refused is not None:
        message = (
            f"{owner} manages {ref}, and what it does could not be looked at: nothing was changed. {seen.refused} Give "
            "the service account the right to get it (examples/rbac-owners.yaml shows it), then write a new request. "
            f"{IGNORE}"
        )
        return Obstacle(Reason.FORBIDDEN, message)
    message = (
        f"{ref} says that {owner} manages it, and there is no such object in this cluster: nothing was changed. If it "
        f"is in another cluster, stop it there; then, or if it is long gone, write a new request with owner: Ignore."
    )
    return _owned(message)


# What is above an Argo CD Application: nothing that would undo the hold.


def _below(managed: Managed) -> Go | Obstacle:
    ref, notes = managed.ref, []
    for seen in managed.lineage:
        if seen.owner.kind not in ARGO_CD:
            continue
        if seen.body is None:
            return _unread(ref, seen)
        why = _undoes(seen, ref.name)
        if why is not None:
            message = (
                f"{seen.owner} manages {ref}, and would put its automation back: nothing was changed. {why} Then write "
                f"a new request. {IGNORE}"
            )
            return _owned(message)
        notes.append(f"{seen.owner} manages {ref}, and as it is set up it leaves the rollback alone.")
    made = [owner for owner in managed.owners if owner.kind is OwnerKind.HELM]
    notes += [f"{owner} made {ref}: its next upgrade may put back what is changed of it." for owner in made]
    return Go(notes=tuple(notes))


def _undoes(seen: Seen, name: str) -> str | None:
    """What to do about an owner of an Application that would undo the hold; None if it would not."""
    assert seen.body is not None
    spec: Object = seen.body.get("spec") or {}
    if seen.owner.kind is OwnerKind.APPLICATION_SET:
        if (spec.get("syncPolicy") or {}).get("applicationsSync") in ("create-only", "create-delete"):
            return None
        return (
            "Set spec.syncPolicy.applicationsSync: create-only in it for as long as the rollback is to stay, or roll "
            "back what it generates from."
        )
    if seen.owner.kind is not OwnerKind.APPLICATION or not _automated(spec) or _ignores(spec, name):
        return None
    return (
        "Turn its automation off for as long as the rollback is to stay, or have it ignore differences in "
        "/spec/syncPolicy of Applications (ignoreDifferences, with the sync option RespectIgnoreDifferences=true)."
    )


def _automated(spec: Object) -> bool:
    automated = (spec.get("syncPolicy") or {}).get("automated")
    return automated is not None and automated.get("enabled") is not False


def _ignores(spec: Object, name: str) -> bool:
    """Whether an app of apps leaves the automation of that Application alone, also when it syncs."""
    options = (spec.get("syncPolicy") or {}).get("syncOptions") or []
    return "RespectIgnoreDifferences=true" in options and any(
        one.get("kind") in ("Application", "*")
        and one.get("group") in (ARGO_CD_GROUP, "*")
        and one.get("name") in (None, "", name)
        and any(pointer in ("/spec/syncPolicy", "/spec") for pointer in one.get("jsonPointers") or [])
        for one in spec.get("ignoreDifferences") or []
    )
