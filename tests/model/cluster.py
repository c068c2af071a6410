"""The target as the API server holds it, and what happens to it: patches, releases, its controller.

A `Deployment` is small and hashable; as a StatefulSet or DaemonSet it keeps its numbers elsewhere. `document` and
`records` give the JSON that the real targets of these kinds read, `patched` applies the JSON patches that they send,
test by test.
"""

from __future__ import annotations

import copy
from functools import cache
from typing import Any, NamedTuple

from rollback_operator.api import REQUEST_ANNOTATION
from rollback_operator.kube.client import FIELD_MANAGER
from rollback_operator.targets.controllerrevisions import POD_LABEL
from rollback_operator.targets.metadata import REVISION
from rollback_operator.targets.podtemplate import HASH_LABEL, fingerprint

Object = dict[str, Any]
NAMESPACE, NAME = "shop", "checkout"
OWNER = "kubectl-client-side-apply"
STATEFUL_SET, DAEMON_SET = "StatefulSet", "DaemonSet"


class Revision(NamedTuple):
    """A ReplicaSet, or a ControllerRevision: one letter is one pod template."""

    letter: str
    number: int
    mark: str | None = None


class Deployment(NamedTuple):
    """The target; `seen` says that its controller has seen the latest change."""

    uid: str = "uid-1"
    letter: str = "b"
    number: int | None = 3
    mark: str | None = None
    paused: bool = False
    generation: int = 3
    seen: bool = True
    history: tuple[Revision, ...] = (Revision("o", 1), Revision("a", 2), Revision("b", 3))
    held: bool = False
    """Fields that the effect changed are recorded as the operator's."""
    pods: str = "healthy"
    kind: str = "Deployment"
    ordered: bool = False
    """A StatefulSet whose pods wait for each other."""
    broken: str | None = None
    """The letter of a pod that does not get ready, and that such a set waits for."""
    refers: tuple[str, ...] = ()
    """ConfigMaps that its pods refer to, in every revision."""

    @property
    def numbers_itself(self) -> bool:
        """Its number stands on it; that of a set stands on the ControllerRevision with its template only."""
        return self.kind not in (STATEFUL_SET, DAEMON_SET)

    def __str__(self) -> str:
        marked = f", marked {self.mark}" if self.mark else ""
        flags = ", paused" * self.paused + ", not yet numbered" * (not self.seen)
        flags += f", waits for a pod of {self.broken}" if self.broken else ""
        return f"{self.uid} shows {self.letter} as revision {self.number}{marked}{flags}"


NEW = Deployment("uid-2", "b", None, None, paused=False, generation=1, seen=False, history=(), pods="rolling")
"""The same Deployment deleted and created anew, not yet seen by its controller."""


STUCK = Deployment(
    letter="a",
    number=4,
    generation=4,
    history=(Revision("o", 1), Revision("b", 3), Revision("a", 4)),
    pods="rolling",
    kind=STATEFUL_SET,
    ordered=True,
    broken="b",
)
"""A StatefulSet that somebody set back from b to a, and that waits for a pod of b."""
BROKEN_BEFORE = Deployment(
    letter="c",
    number=4,
    generation=4,
    history=(Revision("o", 1), Revision("a", 2), Revision("b", 3), Revision("c", 4)),
    pods="rolling",
    kind=STATEFUL_SET,
    ordered=True,
    broken="b",
)
"""A StatefulSet whose bad revision b broke a pod, which c, released on top of it, waits for."""
POD = "pod of "
"""How the uid of a pod begins; the rest is its letter."""


@cache
def template(letter: str, refers: tuple[str, ...] = ()) -> Object:
    sources = {"envFrom": [{"configMapRef": {"name": name}} for name in refers]} if refers else {}
    return {
        "metadata": {"labels": {"app": NAME}},
        "spec": {"containers": [{"name": "web", "image": f"shop@sha256:{letter * 64}", **sources}]},
    }


@cache
def print_of(letter: str, refers: tuple[str, ...] = ()) -> str:
    """The fingerprint by which plans know a letter."""
    return fingerprint(template(letter, refers))


@cache
def document(it: Deployment) -> Object:
    """Its JSON."""
    numbered = it.number is not None and it.numbers_itself
    annotations = {REVISION: str(it.number) if numbered else None, REQUEST_ANNOTATION: it.mark}
    noted = {name: value for name, value in annotations.items() if value is not None}
    ready = {"rolling": 1}.get(it.pods, 3 if it.pods == "healthy" else 2)
    order = "OrderedReady" if it.ordered else "Parallel"
    owners = [_entry(OWNER)] + [_entry(FIELD_MANAGER)] * it.held
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": NAME,
            "namespace": NAMESPACE,
            "uid": it.uid,
            "generation": it.generation,
            **({"annotations": noted} if noted else {}),
            "managedFields": owners,
        },
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": {"app": NAME}},
            "template": template(it.letter, it.refers),
            **({"paused": True} if it.paused else {}),
            **({"podManagementPolicy": order} if it.kind == STATEFUL_SET else {}),
        },
        "status": {
            "observedGeneration": it.generation - (not it.seen),
            "replicas": 3,
            "updatedReplicas": 3 - bool(it.broken),
            "availableReplicas": ready,
            "readyReplicas": ready,
            "unavailableReplicas": int(it.pods == "failing"),
            "desiredNumberScheduled": 3,
            "updatedNumberScheduled": 3,
            "numberAvailable": ready,
        },
    }


def _entry(manager: str) -> Object:
    fields: Object = {"f:spec": {"f:template": {"f:spec": {"f:containers": {}}}}}
    return {"manager": manager, "operation": "Update", "apiVersion": "apps/v1", "fieldsV1": fields}


@cache
def records(it: Deployment) -> tuple[Object, ...]:
    """The JSON of what records its revisions."""
    make = _replica_set if it.numbers_itself else _controller_revision
    return tuple(make(it, one) for one in it.history)


def pods(it: Deployment | None) -> tuple[Object, ...]:
    """The JSON of those of its pods that matter: what fails, and what is waited for."""
    letters = [] if it is None else [it.broken or "", it.letter if it.pods == "failing" else ""]
    return tuple(_pod(it.uid, letter) for letter in letters if it is not None and letter)


def _pod(owner: str, letter: str) -> Object:
    waiting = {"name": "web", "state": {"waiting": {"reason": "CrashLoopBackOff"}}}
    return {
        "metadata": {
            "name": f"{NAME}-{ord(letter)}",
            "uid": POD + letter,
            "resourceVersion": "1",
            "labels": {POD_LABEL: f"{NAME}-{letter}"},
            "ownerReferences": [{"controller": True, "uid": owner}],
        },
        "status": {"containerStatuses": [waiting]},
    }


def deleted(it: Deployment, uid: str) -> Deployment | None:
    """What a deletion of the pod makes of it: the controller makes another one; None if there is no such pod."""
    if uid == POD + (it.broken or ""):
        return it._replace(broken=None, pods="rolling")
    return it._replace(pods="rolling") if it.pods == "failing" and uid == POD + it.letter else None


def _controller_revision(it: Deployment, one: Revision) -> Object:
    return {
        "metadata": {
            "name": f"{NAME}-{one.letter}",
            "labels": {"app": NAME, POD_LABEL: f"{NAME}-{one.letter}"},
            "annotations": {REQUEST_ANNOTATION: one.mark} if one.mark else {},
            "ownerReferences": [{"controller": True, "uid": it.uid}],
        },
        "revision": one.number,
        "data": {"spec": {"template": {**template(one.letter, it.refers), "$patch": "replace"}}},
    }


def _replica_set(it: Deployment, one: Revision) -> Object:
    held = copy.deepcopy(template(one.letter, it.refers))
    held["metadata"]["labels"][HASH_LABEL] = one.letter
    marks = {REQUEST_ANNOTATION: one.mark} if one.mark else {}
    return {
        "metadata": {
            "name": f"{NAME}-{one.letter}",
            "labels": {"app": NAME, HASH_LABEL: one.letter},
            "annotations": {REVISION: str(one.number), **marks},
            "ownerReferences": [{"controller": True, "uid": it.uid}],
        },
        "spec": {"template": held},
    }


# What the API server does with a patch.


def patched(it: Deployment, operations: list[Object]) -> Deployment | None:
    """The Deployment after a JSON patch; None if one of its tests fails, and then nothing is changed."""
    before = document(it)
    after = copy.deepcopy(before)
    for operation in operations:
        if not done(after, operation):
            return None
    noted_before, annotations = (one["metadata"].get("annotations", {}) for one in (before, after))
    spec = after["spec"]
    number = annotations.get(REVISION, None if it.numbers_itself else it.number)
    letter = spec["template"]["spec"]["containers"][0]["image"][-1]
    kept = any(entry["manager"] == FIELD_MANAGER for entry in after["metadata"]["managedFields"])
    changed = it._replace(
        letter=letter,
        mark=annotations.get(REQUEST_ANNOTATION),
        number=None if number is None else int(number),
        paused=bool(spec.get("paused")),
        held=kept or annotations != noted_before or spec != before["spec"],
    )
    return _asked_anew(changed) if spec != before["spec"] else changed


def done(thing: Object, operation: Object) -> bool:
    """Do one operation of a JSON patch in place; False if it does not fit. A `test` for null fits what is not there."""
    *way, last = [part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]]
    at: Any = thing
    for part in way:
        at = at[int(part)] if isinstance(at, list) else at.get(part)
        if at is None:
            return False
    there = int(last) < len(at) if isinstance(at, list) else last in at
    key = int(last) if isinstance(at, list) else last
    if operation["op"] == "test":
        return bool((at[key] if there else None) == operation["value"])
    if operation["op"] == "remove":
        return there and (at.pop(key), True)[1]
    if operation["op"] == "replace" and not there:
        return False
    at[key] = copy.deepcopy(operation["value"])
    return True


def _asked_anew(it: Deployment) -> Deployment:
    """Something of the spec changed: the controller has not seen it.

    The number of a set is that of the ControllerRevision with its template, if there is one.
    """
    if not it.numbers_itself:
        it = it._replace(number=next((one.number for one in it.history if one.letter == it.letter), 0))
    return it._replace(generation=it.generation + 1, seen=False, pods="rolling")


# What people and the controller do.


def released(it: Deployment, letter: str) -> Deployment:
    """`kubectl apply` of another template: annotations of others stay."""
    return _asked_anew(it._replace(letter=letter))


def pause(it: Deployment, *, paused: bool) -> Deployment:
    return _asked_anew(it._replace(paused=paused))


def pruned(it: Deployment, letter: str) -> Deployment:
    """An old ReplicaSet is gone (revisionHistoryLimit)."""
    return it._replace(history=tuple(one for one in it.history if one.letter != letter))


def numbered(it: Deployment) -> Deployment:
    """What the controller does with a change: the record of the template gets the highest number.

    A ReplicaSet takes over the Deployment's annotations, a ControllerRevision those that are there when it is made.
    Without a ReplicaSet, a paused Deployment gets none.
    """
    mine = next((one for one in it.history if one.letter == it.letter), None)
    if mine is None and it.paused:
        return it._replace(seen=True)
    others = tuple(one for one in it.history if one.letter != it.letter)
    highest = max((one.number for one in others), default=0)
    number = mine.number if mine is not None and mine.number > highest else highest + 1
    kept = mine.mark if mine else None
    taken = it.mark if it.numbers_itself or mine is None else None
    newest = Revision(it.letter, number, taken or kept)
    return it._replace(seen=True, number=number, history=(*others, newest))
