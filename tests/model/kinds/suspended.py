"""A Deployment that a Kustomization of Flux applies, in the model: suspended before the effect, and held afterwards.

What is real: what looks at the owner, suspends it and gives it back (`owning`, `core.flux`), the worker that looks when
a suspension may end, and `DeploymentTarget`. What is played: Flux, the Deployment's controller, people, the wire.
Flux is played by its documents: a suspended object is not begun to be applied, and what is under way goes on.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Coroutine, Hashable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple
from unittest import mock

from rollback_operator.api.owner import Suspension
from rollback_operator.api.reasons import Reason
from rollback_operator.core import flux
from rollback_operator.core.hold import RELEASE_ANNOTATION
from rollback_operator.core.suspended import attempted, content_of
from rollback_operator.holds.suspensions import SuspensionWorker
from rollback_operator.kube import errors
from rollback_operator.settings import Settings
from rollback_operator.targets import effects
from tests.model import cluster, statuses, surroundings
from tests.model.cluster import Deployment, Revision, patched, pods, print_of, records
from tests.model.invariants import (
    AFTER_END,
    DENIED,
    ELSEWHERE,
    FALSE_APPLIED,
    FALSE_SUCCESS,
    TWICE,
    UNPLANNED,
    applied,
    plan_of,
    reason,
)
from tests.model.kinds.scene import Asker, Landed, Object
from tests.model.kinds.shell import NAMESPACE, OK, UID, Clock, ScriptedApi
from tests.model.statuses import BY_HAND

AWAKE = "the effect was made while Flux could undo it"
AT_WORK = "the effect was made while Flux was still applying"
RESUMED = "the request says Completed, and nobody keeps Flux from undoing it"
LEFT = "nothing was changed, and Flux is still suspended for that"
OTHERS = "an earlier rollback lost its suspension to a request without an effect"
NOT_AS_BEFORE = "the suspension has ended, and spec.suspend is not as it was"
UNKEPT = "the effect was made, and its suspension is somebody else's, or nobody's"
FOR_GOOD = "Git brings something else, and Flux stays suspended"

FLUX, FLEET = "flux-system", "fleet"
KUSTOMIZATION = f"/kustomizations/{FLEET}"
BAD, NEWER = "b", "c"
"""What Git has, and what somebody pushes."""
EARLIER = "uid-of-earlier"
"""A request that rolled back before."""
_COMMIT = f"main@sha1:{'b' * 40}"


class Fleet(NamedTuple):
    """The Deployment, and the JSON of what applies it; `others`: people had their hands on that."""

    flux: str
    deployment: Deployment | None = Deployment(history=(Revision("a", 2), Revision("b", 3)))
    there: bool = True
    effects: int = 0
    on: str | None = None
    others: bool = False
    over: bool = False
    """The hold of the earlier rollback has ended."""

    def __str__(self) -> str:
        return f"{self.deployment or 'no Deployment'}; {self._of_flux()}"

    def _of_flux(self) -> str:
        if not self.there:
            return "no Kustomization"
        body, doing = self.body, "applies" if applying(self.body) else "has"
        hold = flux.hold_of(body)
        said = f"suspended for {'/'.join(hold.requests)}" if hold else f"suspend: {body['spec'].get('suspend')}"
        return f"Flux {doing} {body['spec']['path']}, {said}"

    @property
    def body(self) -> Object:
        """The Kustomization, as a copy of its own."""
        found: Object = json.loads(self.flux)
        return found

    def changed(self, change: Callable[[Object], object]) -> Fleet:
        """The Kustomization is written."""
        body = self.body
        change(body)
        body["metadata"]["resourceVersion"] = str(int(body["metadata"]["resourceVersion"]) + 1)
        return self._replace(flux=_text(body))


def kustomization(*, suspend: bool | None = None, applies: bool = False, held: bool = False) -> Fleet:
    """What there is when the request comes; `held`: the suspension is an earlier request's."""
    spec = {} if suspend is None else {"suspend": suspend}
    notes = {flux.HOLD: flux.Hold(EARLIER, None).record()} if held else {}
    body = {
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
        "kind": "Kustomization",
        "metadata": {
            "name": FLEET,
            "namespace": FLUX,
            "uid": "uid-of-fleet",
            "resourceVersion": "1",
            "annotations": notes,
        },
        "spec": {"path": BAD, "sourceRef": {"kind": "GitRepository", "name": FLEET}, **spec},
        "status": {
            "conditions": _CONDITIONS * applies,
            "lastAttemptedRevision": _COMMIT,
            "inventory": {"entries": [{"id": f"{NAMESPACE}_{cluster.NAME}_apps_Deployment", "v": "v1"}]},
        },
    }
    return Fleet(_text(body))


_CONDITIONS = [{"type": "Reconciling", "status": "True", "reason": "Progressing", "message": "it applies"}]
_SOURCE: Object = {
    "kind": "GitRepository",
    "metadata": {"name": FLEET, "namespace": FLUX},
    "status": {"artifact": {"revision": _COMMIT}},
}


def _text(body: Object) -> str:
    return json.dumps(body, sort_keys=True)


def applying(body: Object) -> bool:
    """Whether Flux has begun to apply what the Kustomization says, and is not done."""
    return bool(body["status"]["conditions"])


@cache
def document(it: Deployment) -> Object:
    """The Deployment as Flux labels it."""
    body = copy.deepcopy(cluster.document(it))
    group = "kustomize.toolkit.fluxcd.io"
    body["metadata"]["labels"] = {f"{group}/name": FLEET, f"{group}/namespace": FLUX}
    return body


class Write(NamedTuple):
    """A patch, as JSON."""

    name: str
    text: str


# What people do to Flux; what they do to the Deployment is as in the model of requests.


def _resume(body: Object) -> None:
    body["spec"].pop("suspend")


def _suspend(body: Object) -> None:
    body["spec"]["suspend"] = True


def _wish(body: Object) -> None:
    body["metadata"]["annotations"][RELEASE_ANNOTATION] = "true"


PUSH, RESUME, SUSPEND = "somebody pushes c", "somebody resumes Flux", "somebody suspends Flux"
WISH, APPLY = "somebody wishes the end of the hold", "somebody has Flux apply"
REMOVE, REMAKE = "somebody deletes the Kustomization", "somebody deletes the Kustomization and makes it anew"
_BY_HAND = {RESUME: _resume, SUSPEND: _suspend, WISH: _wish}
_ON_DEPLOYMENT = {words: move for words, move in surroundings.ON_TARGET.items() if words != surroundings.CREATE}
MOVES = (PUSH, *_BY_HAND, APPLY, REMOVE, REMAKE, *_ON_DEPLOYMENT, surroundings.DELETE)


@dataclass
class SuspendedScene:
    """See `scene.Scene`."""

    begins: Fleet = field(default_factory=kustomization)
    calm: bool = True
    """Pods get well: that they may not is walked elsewhere."""
    kind: str = "Deployment"
    spec: Object = field(
        default_factory=lambda: {"target": {"kind": "Deployment", "name": cluster.NAME}, "owner": "Through"}
    )

    def beginning(self) -> Fleet:
        return self.begins

    def patch(self, stack: ExitStack, api: ScriptedApi[Fleet]) -> None:
        stack.enter_context(mock.patch.object(effects, "datetime", Clock(api)))

    def get(self, api: ScriptedApi[Fleet], path: str, query: Object) -> Object:
        del query
        it = api.view.deployment
        if path.endswith(KUSTOMIZATION):
            if api.view.there:
                return api.view.body
        elif path.endswith(("/replicasets", "/pods")):
            listed = pods(it) if path.endswith("/pods") else records(it) if it is not None else ()
            return {"items": [*listed], "metadata": {}}
        elif it is not None:
            assert path.endswith(f"/deployments/{cluster.NAME}"), path
            return document(it)
        raise errors.NotFound(path)

    def payload(self, api: ScriptedApi[Fleet], verb: str, path: str, body: Any) -> Hashable:
        del api
        assert verb == "PATCH", path
        return Write(path.rpartition("/")[2], json.dumps(body, sort_keys=True))

    def answer(self, api: ScriptedApi[Fleet], verb: str, path: str, body: Any) -> Object:
        del verb, body
        return api.view.body if path.endswith(KUSTOMIZATION) else {}

    def flight(self, payload: Hashable) -> int:
        del payload
        return statuses.IN_FLIGHT

    def landed(self, world: Fleet, payload: Hashable, sent: int, asker: Asker) -> Landed[Fleet]:
        del sent
        assert isinstance(payload, Write)
        operations = json.loads(payload.text)
        if payload.name != FLEET:
            return _on_deployment(world, operations, asker)
        if not world.there:
            return Landed("NotFound", world)
        after = _patched(world, operations)
        return Landed("Conflict", world) if after is None else Landed(OK, after)

    # Flux, the controller, the pods, people.

    def later(self, world: Fleet) -> Fleet:
        return world

    def hurries(self, world: Fleet) -> bool:
        del world
        return False

    def by_itself(self, world: Fleet) -> Iterator[tuple[str, Fleet]]:
        for words, deployment in surroundings.by_itself(world.deployment):
            if not (self.calm and deployment.pods == "failing"):
                yield words, world._replace(deployment=deployment)
        if not world.there:
            return
        yield from _of_flux(world)
        if self.held and not world.over:
            yield "the earlier hold is looked at", _looked_at(world)

    @property
    def held(self) -> bool:
        """Whether an earlier rollback is held."""
        return flux.hold_of(self.begins.body) is not None

    def by_people(self, world: Fleet) -> Iterator[tuple[str, Fleet]]:
        for words, move in _ON_DEPLOYMENT.items():
            deployment = move(world.deployment)
            if deployment is not None:
                yield words, world._replace(deployment=deployment)
        if world.deployment is not None:
            yield surroundings.DELETE, world._replace(deployment=None)
        if world.there:
            yield from _on_flux(world)

    # What must hold.

    def misjudged(self, view: Fleet, status: int) -> None:
        del view, status

    def wrong_end(self, world: Fleet, asker: Asker, status: int) -> str | None:
        del asker
        said = statuses.parsed(status)
        if applied(said) == "True" and not world.effects:
            return FALSE_APPLIED
        if said.phase is None or not said.phase.final:
            return None
        if world.effects and _denied(world, status):
            return DENIED
        if reason(said) != Reason.COMPLETED:
            return None
        awake = world.there and not world.others and not flux.suspended(world.body)
        return RESUMED if awake else None if world.effects else FALSE_SUCCESS

    def left(self, world: Fleet, asker: Asker) -> str | None:
        if asker.gone or not world.there or world.others:
            return None
        said = statuses.parsed(asker.status)
        if applied(said) == "False":
            return self._of_nothing(world, said)
        return self._of_hold(world, asker.status)

    def _of_nothing(self, world: Fleet, said: Any) -> str | None:
        """Nothing was changed: Flux is as it was, or for whom it was suspended before."""
        hold, by_hand = flux.hold_of(world.body), any(BY_HAND in one.message for one in said.conditions)
        if by_hand:
            return None
        if hold is not None and UID in hold.requests:
            return LEFT
        if self.held and not world.over:
            return None if hold == flux.Hold(EARLIER, None) else OTHERS
        return self._as_before(world)

    def _of_hold(self, world: Fleet, status: int) -> str | None:
        """The rollback was made, perhaps: it is held until Git brings something else, and then all is as before."""
        held = _of_mine(world, status)
        hold = flux.hold_of(held.body)
        if applied(statuses.parsed(status)) != "True" and (hold is None or UID not in hold.requests):
            return None  # nobody knows whether it came to an effect, and it did not come to a suspension
        mine = hold is not None and (hold.requests, hold.was) == ((UID,), self._before())
        if world.body["spec"]["path"] == BAD and not mine:
            return UNKEPT
        after = _of_mine(held.changed(_something_else), status)
        return FOR_GOOD if flux.hold_of(after.body) is not None else self._as_before(after)

    def _as_before(self, world: Fleet) -> str | None:
        return None if world.body["spec"].get("suspend") is self._before() else NOT_AS_BEFORE

    def _before(self) -> bool | None:
        return flux.before(self.begins.body)


def _denied(world: Fleet, status: int) -> bool:
    """What bears witness of the effect can be deleted; then the status must not claim to know."""
    said = statuses.parsed(status)
    witness = world.deployment is not None and world.deployment.uid == world.on
    return applied(said) != "True" if witness else applied(said) == "False"


# What becomes of writes.


def _patched(world: Fleet, operations: list[Object]) -> Fleet | None:
    body = world.body
    if not all(cluster.done(body, operation) for operation in operations):
        return None
    if body == world.body:
        return world  # what changes nothing makes no new version
    return world.changed(lambda before: before.update(body))


def _on_deployment(world: Fleet, operations: list[Object], asker: Asker) -> Landed[Fleet]:
    if world.deployment is None:
        return Landed("NotFound", world)
    after = patched(world.deployment, operations)
    if after is None:
        return Landed("Conflict", world)
    if after.generation == world.deployment.generation:
        return Landed(OK, world._replace(deployment=after))
    made = world._replace(deployment=after, effects=world.effects + 1, on=after.uid)
    return Landed(OK, made, _of_effect(world, after, asker))


def _of_effect(world: Fleet, after: Deployment, asker: Asker) -> str | None:
    """What is wrong with the effect, just now."""
    if world.effects:
        return TWICE
    if world.there and not world.others:
        if not flux.suspended(world.body):
            return AWAKE
        if applying(world.body):
            return AT_WORK
    return None if asker.gone else _of_plan(world.deployment, after, asker)


def _of_plan(before: Deployment | None, after: Deployment, asker: Asker) -> str | None:
    status = statuses.parsed(asker.status)
    plan = plan_of(status)
    assert before is not None
    if plan is None:
        return UNPLANNED
    if status.phase is not None and status.phase.final and applied(status) != "True":
        return AFTER_END
    fits = (plan.uid, plan.expects.fingerprint, plan.expects.revision, plan.to.fingerprint)
    there = (before.uid, print_of(before.letter), str(before.number), print_of(after.letter))
    return ELSEWHERE if before.paused or fits != there else None


# Flux.


def _of_flux(world: Fleet) -> Iterator[tuple[str, Fleet]]:
    body, it = world.body, world.deployment
    path = body["spec"]["path"]
    if applying(body):
        applied = cluster.NEW._replace(letter=path) if it is None else it
        if applied.letter != path:
            applied = cluster.released(applied, path)
        yield "Flux has applied it", world._replace(deployment=applied).changed(_done)
    elif not flux.suspended(body) and (it is None or it.letter != path):
        yield "Flux begins to apply it", world.changed(_begun)


def _begun(body: Object) -> None:
    body["status"]["conditions"] = _CONDITIONS


def _done(body: Object) -> None:
    body["status"]["conditions"] = []


def _on_flux(world: Fleet) -> Iterator[tuple[str, Fleet]]:
    body = world.body
    if body["spec"]["path"] == BAD:
        yield PUSH, world.changed(lambda it: it["spec"].update(path=NEWER))
    if not flux.suspended(body) and not applying(body):
        yield APPLY, world.changed(_begun)
    touched = world._replace(others=True)
    yield REMOVE, touched._replace(there=False)
    yield REMAKE, touched.changed(_remade)
    for words, change in _BY_HAND.items():
        if (words == SUSPEND) is not flux.suspended(body):
            yield words, touched.changed(change)


def _remade(body: Object) -> None:
    body["metadata"].update(uid="uid-of-another", annotations={})
    body["spec"].pop("suspend", None)
    _done(body)


# What looks when a suspension may end: the real worker, each look at one moment.


class _Here:
    """What that worker asks and writes."""

    def __init__(self, world: Fleet, asked: Object) -> None:
        self.world = world
        self.asked = asked

    async def get(self, path: str, **_: Any) -> Object:
        if path.endswith("/rollbackrequests"):
            return {"items": [_request(uid, {}) for uid in (EARLIER, UID)], "metadata": {}}
        if "/rollbackrequests/" in path:
            return copy.deepcopy(self.asked)
        if path.endswith(KUSTOMIZATION):
            return self.world.body
        return _SOURCE

    async def patch(self, path: str, operations: list[Object], **_: Any) -> Object:
        assert path.endswith(KUSTOMIZATION), path
        after = _patched(self.world, operations)
        assert after is not None, "nothing comes in between"
        self.world = after
        return after.body

    async def replace(self, _: str, body: Object, **__: Any) -> Object:
        self.asked = body
        return body

    async def create(self, _: str, body: Object, **__: Any) -> Object:
        return body


def _look(world: Fleet, asked: Object) -> tuple[Fleet, bool]:
    """One look at what a request suspended; gives whether its hold is over then."""
    api: Any = _Here(world, asked)
    nowhere: Any = None
    worker = SuspensionWorker(api, nowhere, Settings(), lambda _: None)
    look: Coroutine[Any, Any, float | None] = worker.work((NAMESPACE, UID))
    try:
        look.send(None)
    except StopIteration as over:
        return api.world, over.value is None
    raise AssertionError("it waits for something")


def _request(uid: str, status: Object) -> Object:
    return {
        "metadata": {
            "namespace": NAMESPACE,
            "name": uid,
            "uid": uid,
            "generation": 1,
            "resourceVersion": "1",
            "creationTimestamp": statuses.NOW.isoformat(),
        },
        "spec": {"target": {"kind": "Deployment", "name": cluster.NAME}, "reason": "5xx"},
        "status": status,
    }


def _something_else(body: Object) -> None:
    """Git brings something else, and Flux has ended what it was about: while that goes on nothing is compared."""
    body["spec"]["path"] = "d"
    body["status"]["conditions"] = []


def _of_mine(world: Fleet, status: int) -> Fleet:
    """The looks at what the request suspended, until there is nothing new."""
    said = statuses.body(status)
    if not any((one.get("plan") or {}).get("suspends") for one in said.get("targets", ())):
        return world
    return _look(world, _request(UID, said))[0]


@cache
def _looked_at(world: Fleet) -> Fleet:
    after, over = _look(world, _earlier())
    return after._replace(over=over)


@cache
def _earlier() -> Object:
    """The request that rolled back before, as it stands."""
    before = kustomization(held=True).body
    suspension = Suspension(
        kind="Kustomization",
        namespace=FLUX,
        name=FLEET,
        uid=before["metadata"]["uid"],
        revision=attempted(before),
        content=content_of(before),
    )
    plan = {
        "digest": "",
        "uid": "uid-1",
        "steps": [],
        "diff": "",
        "from": {"revision": "3", "fingerprint": print_of("b")},
        "to": {"revision": "2", "fingerprint": print_of("a")},
        "serviceAccountName": "default",
        "suspends": [suspension.dump()],
    }
    steps = [{"name": "Rollback", "state": "Done"}]
    target = {"target": f"Deployment/{cluster.NAME}", "phase": "Succeeded", "plan": plan, "steps": steps}
    return _request(EARLIER, {"phase": "Succeeded", "targets": [target], "conditions": []})
