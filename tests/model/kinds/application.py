"""Applications of Argo CD in the model: operations, automated sync, Git, the hold, and what other people do.

What is real: `ApplicationTarget` with all that reads and writes an Application, and what the hold decides. What is
played: Argo CD, which carries operations out, and the wire.
"""

from __future__ import annotations

import copy
from collections.abc import Hashable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from typing import Any, NamedTuple
from unittest import mock

from rollback_operator.api import REQUEST_ANNOTATION
from rollback_operator.api.reasons import Reason
from rollback_operator.core.hold import Comparison, Ends, Orders, stands
from rollback_operator.holds import applications
from rollback_operator.kube import errors
from rollback_operator.targets.application import effect, operation, reading
from rollback_operator.targets.application import target as module
from rollback_operator.targets.application.content import Content
from rollback_operator.targets.application.held import HOLD_ANNOTATION, Hold, automated, hold_of, is_automated, with_bad
from tests.model import statuses
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
from tests.model.kinds.shell import NAME, NAMESPACE, OK, Clock, ScriptedApi
from tests.unit.applications import application, entry, sha, source

BUSY = "an operation is asked for while another one goes on"
UNHELD = "automated sync is off, and no hold says what it was"
STILL_ON = "automated sync is on after the effect, and nobody turned it on"
NOT_AS_BEFORE = "the hold has ended, and automated sync is not as it was"
ACCUSED = "the request says that somebody put something else there, and nobody did"
STILL_GOING = "the request has ended, and its operation still goes on"
NOT_THERE = "the request says Completed, and its revision was not deployed last"

ORIGINAL: Object = {"prune": True, "selfHeal": True}
PLACE = ("Application", NAMESPACE, NAME)


class Operation(NamedTuple):
    """What Argo CD is to do, or did: for whom, and to which commit; `phase`: "" if it was not begun."""

    key: str
    letter: str
    phase: str = ""


class App(NamedTuple):
    """An Application; one letter is one commit. `git`: what the branch has; `seen`: what Argo CD last found there.

    `looked`: Argo CD has looked at it since the last sync.
    """

    deployed: tuple[str, ...] = ("a", "b")
    git: str = "b"
    seen: str = "b"
    auto: str = "on"
    """"on", or "off" (there, and not enabled)."""
    mark: str = ""
    held: tuple[str, ...] = ()
    """Commits that must not come back; none: there is no hold."""
    holder: str = ""
    waits: Operation | None = None
    """The operation that is asked for."""
    last: Operation | None = None
    """The operation that goes on, or was the last one."""
    looked: bool = True
    asked: bool = False
    """Argo CD is asked for a look."""
    health: str = "Healthy"
    there: bool = True
    generation: int = 7
    made: int = 0
    others: bool = False
    """Somebody else, or automated sync, has asked for something."""

    def __str__(self) -> str:
        if not self.there:
            return "no Application"
        held = f", held from {'/'.join(self.held)}" if self.held else ""
        busy = f", {self.last.phase} {self.last.letter}" if self.last else ""
        waits = f", asked for {self.waits.letter}" if self.waits and not self.going_on else ""
        return f"at {self.deployed[-1]}, Git at {self.git}, automation {self.auto}{held}{busy}{waits}"

    @property
    def going_on(self) -> bool:
        return self.last is not None and self.last.phase in ("Running", "Terminating")

    @property
    def busy(self) -> bool:
        return self.waits is not None or self.going_on


_versions: dict[App, int] = {}
_by_version: list[App] = []


def _version(it: App) -> str:
    """Two equal Applications are one version: to replace the one is to replace the other."""
    if it not in _versions:
        _versions[it] = len(_by_version)
        _by_version.append(it)
    return str(_versions[it])


@cache
def document(it: App) -> Object:
    """Its JSON."""
    body = application("".join(it.deployed))
    body["metadata"].update(name=NAME, namespace=NAMESPACE, resourceVersion=_version(it), generation=it.generation)
    notes = {REQUEST_ANNOTATION: it.mark, reading.REFRESH_ANNOTATION: "normal" if it.asked else ""}
    if it.held:
        notes[HOLD_ANNOTATION] = _hold(it).dump()
    body["metadata"]["annotations"] = {name: value for name, value in notes.items() if value}
    body["spec"]["syncPolicy"]["automated"] = {**ORIGINAL, **({"enabled": False} if it.auto == "off" else {})}
    body["status"]["sync"].update(revision=sha(it.seen), status="Synced" if it.seen == it.deployed[-1] else "OutOfSync")
    body["status"]["health"] = {"status": it.health}
    body["status"]["reconciledAt"] = "2026-03-01T04:00:00Z" if it.looked else "2026-03-01T02:30:00Z"
    if it.waits is not None:
        body["operation"] = _asked(it.waits)
    if it.last is not None:
        body["status"]["operationState"] = _state(it.last)
    return body


@cache
def print_of(letter: str) -> str:
    """The fingerprint by which plans know a letter."""
    content = Content.of(entry(0, letter))
    assert content is not None
    return content.fingerprint


def _hold(it: App) -> Hold:
    contents = [Content.of(entry(0, letter)) for letter in it.held]
    hold = Hold(it.holder, statuses.NOW, "TargetChanges", "24h", ORIGINAL, ())
    for content in contents:
        assert content is not None
        hold = Hold(it.holder, statuses.NOW, "TargetChanges", "24h", ORIGINAL, with_bad(hold, content))
    return hold


def _asked(it: Operation) -> Object:
    info = [{"name": REQUEST_ANNOTATION, "value": it.key}] if it.key else []
    return {"info": info, "sync": {"revision": sha(it.letter), "source": source()}}


def _state(it: Operation) -> Object:
    over = it.phase not in ("Running", "Terminating")
    times = {"startedAt": "2026-03-01T03:00:00Z", **({"finishedAt": "2026-03-01T03:00:05Z"} if over else {})}
    result = {"revision": sha(it.letter), "source": source(), "resources": [{"kind": "Deployment", "name": "web"}]}
    return {"phase": it.phase, "operation": _asked(it), "syncResult": result, **times}


_LETTERS = {sha(letter): letter for letter in "abcd"}


def _operation(body: Object | None, phase: str = "") -> Operation | None:
    if not body:
        return None
    return Operation(operation.key_of(body) or "", _LETTERS[body["sync"]["revision"]], phase)


def _read(body: Object, before: App) -> App:
    """What an Application is that somebody wrote; what Argo CD alone writes stays."""
    notes = operation.annotations_of(body)
    hold, state = hold_of(body), operation.state(body)
    assert hold is None or hold.automated == ORIGINAL, "the hold keeps automation exactly as it was"
    return before._replace(
        auto="on" if is_automated(body) else "off",
        mark=notes.get(REQUEST_ANNOTATION, ""),
        held=tuple(_LETTERS[piece.revision] for one in hold.bad for piece in one) if hold else (),
        holder=hold.request if hold else "",
        waits=_operation(body.get("operation")),
        last=_operation(state.get("operation"), state["phase"]) if state else None,
        asked=reading.REFRESH_ANNOTATION in notes,
    )


class Put(NamedTuple):
    """The Application is replaced, if it is still `before`."""

    before: App
    after: App


PUSH, BY_HAND, SYNC = "somebody pushes c", "somebody turns automated sync on", "somebody syncs to c by hand"
CALLED_OFF, DELETE, RELEASE = (
    "somebody calls the operation off",
    "somebody deletes the Application",
    "somebody ends the hold",
)
MOVES = (PUSH, BY_HAND, SYNC, CALLED_OFF, DELETE, RELEASE)


@dataclass
class ApplicationScene:
    """See `scene.Scene`."""

    beginning_with: App = field(default_factory=App)
    kind: str = "Application"
    spec: Object = field(default_factory=dict)

    def beginning(self) -> App:
        return self.beginning_with

    def patch(self, stack: ExitStack, api: ScriptedApi[App]) -> None:
        stack.enter_context(mock.patch.object(module, "datetime", Clock(api)))

    def get(self, api: ScriptedApi[App], path: str, query: Object) -> Object:
        del query
        assert path.endswith(f"/applications/{NAME}"), path
        if not api.view.there:
            raise errors.NotFound(NAME)
        return copy.deepcopy(document(api.view))

    def payload(self, api: ScriptedApi[App], verb: str, path: str, body: Object) -> Hashable:
        del api
        assert verb == "PUT", path
        before = _by_version[int(body["metadata"]["resourceVersion"])]
        return Put(before, _read(body, before))

    def answer(self, api: ScriptedApi[App], verb: str, path: str, body: Object) -> Object:
        del verb, path, body
        return document(api.view)

    def flight(self, payload: Hashable) -> int:
        del payload
        return statuses.IN_FLIGHT

    def landed(self, world: App, payload: Hashable, sent: int, asker: Asker) -> Landed[App]:
        del sent
        assert isinstance(payload, Put)
        before, after = payload
        if not world.there:
            return Landed("NotFound", world)
        if world._replace(made=before.made, others=before.others, git=before.git) != before:
            return Landed("Conflict", world)
        after = after._replace(made=world.made, others=world.others, git=world.git)
        if after.waits is None or after.waits.key != asker.uid or before.waits == after.waits:
            return Landed(OK, after, UNHELD if after.auto == "off" and not after.held else None)
        after = after._replace(made=after.made + 1, generation=after.generation + 1)
        return Landed(OK, after, _of_effect(world, after, asker))

    # Argo CD, Git, the hold.

    def later(self, world: App) -> App:
        return world

    def hurries(self, world: App) -> bool:
        del world
        return False

    def by_itself(self, world: App) -> Iterator[tuple[str, App]]:
        if not world.there:
            return
        if world.waits is not None and not world.going_on:
            yield "Argo CD begins the sync", world._replace(last=world.waits._replace(phase="Running"))
        elif world.last is not None and world.going_on:
            yield from _carried_out(world, world.last)
        else:
            yield from _at_leisure(world)
            yield from _of_hold(world)

    def by_people(self, world: App) -> Iterator[tuple[str, App]]:
        if not world.there:
            return
        yield DELETE, world._replace(there=False)
        if world.git != "c":
            yield PUSH, world._replace(git="c")
        touched = world._replace(others=True, generation=world.generation + 1)
        if world.auto == "off":
            yield BY_HAND, touched._replace(auto="on")
        if not world.busy:
            yield SYNC, touched._replace(waits=Operation("", "c"))
        if world.last is not None and world.last.phase == "Running":
            yield CALLED_OFF, touched._replace(last=world.last._replace(phase="Terminating"))
        if world.held and not world.busy:
            yield RELEASE, _by(touched, Ends(Reason.RELEASED_BY_HAND, "somebody wished it", restore=True))

    # What must hold.

    def misjudged(self, view: App, status: int) -> None:
        del view, status

    def wrong_end(self, world: App, asker: Asker, status: int) -> str | None:
        said = statuses.parsed(status)
        if applied(said) == "True" and not world.made:
            return FALSE_APPLIED
        if said.phase is None or not said.phase.final:
            return None
        if world.made and applied(said) == "False":
            return DENIED
        if reason(said) == Reason.COMPLETED:
            return _of_completed(world, asker)
        if reason(said) in (Reason.REVERTED, Reason.OVERTAKEN) and not world.others:
            return ACCUSED
        return STILL_GOING if _goes_on(world, asker) else None

    def left(self, world: App, asker: Asker) -> str | None:
        del asker
        return UNHELD if world.there and world.auto == "off" and not world.held else None


def _of_effect(before: App, after: App, asker: Asker) -> str | None:
    """What is wrong with an effect that is just being made."""
    rules = {
        TWICE: after.made > 1,
        BUSY: before.busy,
        STILL_ON: after.auto == "on",
        UNHELD: not after.held,
    }
    wrong = next((words for words, broken in rules.items() if broken), None)
    return wrong if wrong is not None or asker.gone else _of_plan(before, after, asker)


def _of_plan(before: App, after: App, asker: Asker) -> str | None:
    status = statuses.parsed(asker.status)
    plan = plan_of(status)
    if plan is None:
        return UNPLANNED
    if status.phase is not None and status.phase.final and applied(status) != "True":
        return AFTER_END
    assert after.waits is not None
    current = reading.snapshot(document(before), None, None).current
    fits = (plan.from_.fingerprint, plan.to.fingerprint) == (current.fingerprint, print_of(after.waits.letter))
    return None if fits else ELSEWHERE


def _goes_on(world: App, asker: Asker) -> bool:
    """Whether the request's operation may still do something, and nobody called it off."""
    going = world.last if world.going_on else world.waits
    return world.there and going is not None and going.key == asker.uid and going.phase != "Terminating"


def _of_completed(world: App, asker: Asker) -> str | None:
    if world.made != 1:
        return FALSE_SUCCESS
    plan = plan_of(statuses.parsed(asker.status))
    mine = world.there and world.last is not None and world.last.key == asker.uid
    return NOT_THERE if mine and plan and print_of(world.deployed[-1]) != plan.to.fingerprint else None


def _carried_out(world: App, it: Operation) -> Iterator[tuple[str, App]]:
    """A sync comes to its end."""
    over = world._replace(waits=None, looked=False)
    if it.phase == "Terminating":
        yield "Argo CD has ended the sync", over._replace(last=it._replace(phase="Failed"))
        return
    done = over._replace(deployed=(*world.deployed, it.letter)[-3:], last=it._replace(phase="Succeeded"))
    yield "Argo CD has synced", done._replace(health="Progressing")
    yield "the sync fails", over._replace(last=it._replace(phase="Failed"))


def _at_leisure(world: App) -> Iterator[tuple[str, App]]:
    """What Argo CD does when nothing goes on."""
    looked = world._replace(looked=True, asked=False, seen=world.git)
    if looked != world:
        yield "Argo CD looks at it", looked
    if world.health == "Progressing":
        yield "its resources are healthy", world._replace(health="Healthy")
        yield "its resources are degraded", world._replace(health="Degraded")
    if world.auto == "on" and world.looked and world.seen != world.deployed[-1]:
        tried = world.last is not None and (world.last.letter, world.last.phase) == (world.seen, "Failed")
        if not tried:
            yield "automated sync begins", world._replace(waits=Operation("", world.seen), others=True)


def _of_hold(world: App) -> Iterator[tuple[str, App]]:
    """What the operator's look at a hold comes to, by the real rules."""
    if not world.held:
        return
    orders = Orders("TargetChanges", statuses.NOW, timedelta(hours=24))
    comparison = Comparison(world.seen not in world.held)
    standing = stands(orders, applications._seen(document(world), PLACE), comparison, statuses.NOW)
    if isinstance(standing, Ends):
        yield "the hold ends", _by(world, standing)


def _by(world: App, ends: Ends) -> App:
    hold = hold_of(document(world))
    assert hold is not None
    body: Any = effect.released(copy.deepcopy(document(world)), hold, ends)
    assert not ends.restore or automated(body) == ORIGINAL, NOT_AS_BEFORE
    return _read(body, world)
