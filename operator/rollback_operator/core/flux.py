"""What a Flux HelmRelease or Kustomization says of itself, and what keeps it from undoing a rollback.

From Flux's own resources (helm.toolkit.fluxcd.io/v2, kustomize.toolkit.fluxcd.io/v1): while `spec.suspend` is true its
controllers begin no reconciliation; one that is under way goes on, and says so in the condition Reconciling with the
reason Progressing (ProgressingWithRetry: it failed, and waits).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from rollback_operator.api import GROUP
from rollback_operator.api.owner import Suspension
from rollback_operator.core.hold import ENDED_ANNOTATION, RELEASE_ANNOTATION
from rollback_operator.core.owners import ARGO_CD_MANAGERS, HELM_RELEASES, KUSTOMIZATIONS, OwnerKind

Object = dict[str, Any]
HOLD = f"{GROUP}/hold"
"""Annotation on what is suspended: for which request, and what stood there before."""
PLACES: Mapping[str, tuple[str, str, str]] = {
    OwnerKind.HELM_RELEASE: (HELM_RELEASES, "v2", "helmreleases"),
    OwnerKind.KUSTOMIZATION: (KUSTOMIZATIONS, "v1", "kustomizations"),
    OwnerKind.APPLICATION: ("argoproj.io", "v1alpha1", "applications"),
    OwnerKind.APPLICATION_SET: ("argoproj.io", "v1alpha1", "applicationsets"),
}
"""Group, version and plural of the owners whose objects are read."""
_APPLIERS = ARGO_CD_MANAGERS | {"kustomize-controller", "helm-controller", "helm", "Helm"}
"""Field managers that put a field back by themselves."""


_ID_PARTS = 4
_MOST_EARLIER = 32
"""Requests that one record names besides its own."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Whose suspension it is (a request's uid), and `spec.suspend` before; None if it was not there."""

    request: str
    was: bool | None
    earlier: tuple[str, ...] = ()
    """Requests that it was taken over from, the newest first: theirs again if this one ends without an effect."""
    attempt: int = 1
    """The attempt at the effect that it is for: an end of it that an earlier one sent does not fit any more."""

    @property
    def requests(self) -> tuple[str, ...]:
        """Every request that the suspension is for, or may be for again."""
        return (self.request, *self.earlier)

    def without(self, request: str) -> Hold | None:
        """What is left when `request` does not need it; None if nobody else does."""
        left = [one for one in self.requests if one != request]
        return Hold(left[0], self.was, tuple(left[1:])) if left else None

    def record(self) -> str:
        """What `hold_of` reads."""
        more: Object = {"earlier": list(self.earlier)} if self.earlier else {}
        if self.attempt > 1:
            more["attempt"] = self.attempt
        return json.dumps({"request": self.request, "suspend": self.was, **more}, separators=(",", ":"))


def suspended(body: Object) -> bool:
    """Whether nothing is reconciled any more."""
    return bool((body.get("spec") or {}).get("suspend"))


def hold_of(body: Object) -> Hold | None:
    """The record of a suspension by a request; None if people suspended it, or nobody did."""
    try:
        record = dict(json.loads((body["metadata"].get("annotations") or {}).get(HOLD, "null")))
        earlier = tuple(str(one) for one in record.get("earlier") or ())
        hold = Hold(str(record["request"]), record["suspend"], earlier, int(record.get("attempt", 1)))
        return hold if suspended(body) else None
    except (ValueError, TypeError, KeyError):
        return None


def before(body: Object) -> bool | None:
    """`spec.suspend` as it is to be once no request needs the suspension any more."""
    hold = hold_of(body)
    was: bool | None = hold.was if hold is not None else (body.get("spec") or {}).get("suspend")
    return was


def reconciling(body: Object) -> bool:
    """Whether its controller is applying something at this moment.

    A Kustomization that only waits for what it applied to become healthy (condition Healthy, Unknown) applies nothing.
    """
    conditions = _conditions(body)
    now = conditions.get("Reconciling", {})
    waits = body.get("kind") == OwnerKind.KUSTOMIZATION and conditions.get("Healthy", {}).get("status") == "Unknown"
    return now.get("status") == "True" and now.get("reason") == "Progressing" and not waits


def said(body: Object) -> str:
    """What its controller says that it is doing."""
    message: str = _conditions(body).get("Reconciling", {}).get("message") or "it does not say what"
    return message[:200]


def undone_by(body: Object) -> str | None:
    """The field manager that sets `spec.suspend` by itself again and again, if there is one."""
    for entry in body["metadata"].get("managedFields") or []:
        owns = "f:suspend" in (entry.get("fieldsV1") or {}).get("f:spec", {})
        if owns and entry.get("manager") in _APPLIERS:
            return str(entry["manager"])
    return None


def applied(body: Object) -> tuple[str, ...]:
    """The objects that it keeps as they are (in its inventory: `NAMESPACE_NAME_GROUP_KIND`)."""
    entries = ((body.get("status") or {}).get("inventory") or {}).get("entries") or []
    return tuple(_named(one["id"]) for one in entries)


def _named(identity: str) -> str:
    parts = identity.split("_")
    if len(parts) != _ID_PARTS:
        return identity
    namespace, name, _, kind = parts
    return f"{kind} {namespace}/{name}" if namespace else f"{kind} {name}"


def suspending(body: Object, request: str, attempt: int = 1) -> list[Object]:
    """The JSON patch that suspends it for an attempt of the request `request`; nothing if it is already.

    Each attempt makes it its own: who was killed while an end of it was on its way knows nothing of that. The
    suspension of an earlier request becomes this one's, so that the end of that one does not end it; the record names
    whose it was, for this one may end without an effect. The object has to be just as it was read: a patch without an
    answer may arrive when the suspension that was made since has ended.
    """
    hold = hold_of(body)
    if hold is not None and hold.request == request and hold.attempt != attempt:
        return _recording(body, replace(hold, attempt=attempt))
    if suspended(body) and (hold is None or request in hold.requests):
        return []
    metadata = body["metadata"]
    earlier = hold.requests[:_MOST_EARLIER] if hold is not None else ()
    record = Hold(request, before(body), earlier, attempt).record()
    patch: list[Object] = [as_it_was_read(body), {"op": "add", "path": "/spec/suspend", "value": True}]
    annotations = metadata.get("annotations")
    if annotations is None:
        return [*patch, {"op": "add", "path": "/metadata/annotations", "value": {HOLD: record}}]
    left = [one for one in (RELEASE_ANNOTATION, ENDED_ANNOTATION) if one in annotations]
    old = [{"op": "remove", "path": _path_of(one)} for one in left]
    return [*patch, *old, {"op": "add", "path": _HOLD_PATH, "value": record}]


def releasing(body: Object, request: str, note: str | None = None) -> list[Object]:
    """The JSON patch that ends the suspension by `request` and leaves it as it was; nothing if that is not there.

    Without a `note` no effect was made: what was suspended for an earlier request stays so, for that one. With one,
    which stays on the object, it is the end of a hold: then the object has to be just as it was read.
    """
    hold = hold_of(body)
    if hold is None or request not in (hold.requests if note is None else (hold.request,)):
        return []
    left = hold.without(request) if note is None else None
    if left is not None:
        return _recording(body, left)
    back = (
        {"op": "remove", "path": "/spec/suspend"}
        if hold.was is None
        else {"op": "replace", "path": "/spec/suspend", "value": hold.was}
    )
    return [*_as_recorded(body), back, *_noted(body, note)]


def keeping(body: Object, request: str) -> list[Object]:
    """The JSON patch by which `request`, whose effect is there, keeps the suspension; nothing if it does already.

    From then on the end of its hold is the end of the suspension, and earlier requests need not wait for it.
    """
    hold = hold_of(body)
    if hold is None or hold.request != request or not hold.earlier:
        return []
    return _recording(body, Hold(request, hold.was))


def _recording(body: Object, hold: Hold) -> list[Object]:
    return [*_as_recorded(body), {"op": "replace", "path": _HOLD_PATH, "value": hold.record()}]


def _as_recorded(body: Object) -> list[Object]:
    """Operations that make sure that it is the object that was read, and the suspension."""
    return [
        {"op": "test", "path": "/metadata/uid", "value": body["metadata"]["uid"]},
        {"op": "test", "path": _HOLD_PATH, "value": body["metadata"]["annotations"][HOLD]},
    ]


def forgetting(body: Object, request: str, note: str) -> list[Object]:
    """The JSON patch that takes the record of `request` from what people resumed; nothing if there is none."""
    annotations = body["metadata"].get("annotations") or {}
    try:
        record = json.loads(annotations.get(HOLD, "null"))
        ours = not suspended(body) and record["request"] == request
    except (ValueError, TypeError, KeyError):
        return []
    return _noted(body, note) if ours else []


def as_it_was_read(body: Object) -> Object:
    """The operation of a JSON patch that fits only the object as it was read."""
    return {"op": "test", "path": "/metadata/resourceVersion", "value": body["metadata"]["resourceVersion"]}


def _noted(body: Object, note: str | None) -> list[Object]:
    """Operations that remove the record, perhaps leaving a note of how it ended."""
    if note is None:
        return [{"op": "remove", "path": _HOLD_PATH}]
    wish = RELEASE_ANNOTATION in body["metadata"]["annotations"]
    return [
        as_it_was_read(body),
        {"op": "remove", "path": _HOLD_PATH},
        *([{"op": "remove", "path": _path_of(RELEASE_ANNOTATION)}] if wish else []),
        {"op": "add", "path": _path_of(ENDED_ANNOTATION), "value": note},
    ]


def _path_of(annotation: str) -> str:
    return "/metadata/annotations/" + annotation.replace("/", "~1")


def resuming(suspension: Suspension) -> str:
    """The one command that ends a suspension by hand and leaves the object as it was."""
    return _by_hand(suspension, {"metadata": {"annotations": {HOLD: None}}, "spec": {"suspend": suspension.was}})


def handing_back(suspension: Suspension, body: Object, request: str) -> str | None:
    """The one command that gives a suspension back by hand to whom `request` has it from; None if that is nobody."""
    hold = hold_of(body)
    left = hold.without(request) if hold is not None and request in hold.requests else None
    return None if left is None else _by_hand(suspension, {"metadata": {"annotations": {HOLD: left.record()}}})


def _by_hand(suspension: Suspension, patch: Object) -> str:
    group, _, plural = PLACES[suspension.kind]
    body = json.dumps(patch, separators=(",", ":"))
    return f"kubectl -n {suspension.namespace} patch {plural}.{group} {suspension.name} --type merge -p '{body}'"


_HOLD_PATH = _path_of(HOLD)


def _conditions(body: Object) -> dict[str, Object]:
    return {one["type"]: one for one in (body.get("status") or {}).get("conditions") or []}
