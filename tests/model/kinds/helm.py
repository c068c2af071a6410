"""Releases of Helm in the model: the records, Helm's own writes through the real door, and other people's Helm.

What is real: `HelmTarget`, `Rollback`, `Standing`, `Store`, the records' encoding, and what the `Door` decides about
each call. What is played: the process of Helm, which makes its writes in Helm's order (`played`), and the wire.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import NamedTuple
from unittest import mock

from rollback_operator.api.reasons import Reason
from rollback_operator.core.half import half_of
from rollback_operator.kube import errors
from rollback_operator.targets.helm import door as doors
from rollback_operator.targets.helm import effect, records, rollback, standing, store, target
from rollback_operator.targets.helm.door import Door
from rollback_operator.targets.helm.standing import MOST_ATTEMPTS
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
from tests.model.kinds.played import WEB, at_once, opened, run
from tests.model.kinds.releases import (
    DEAD,
    DEPLOYED,
    OLD,
    PENDING,
    SUPERSEDED,
    UPGRADING,
    Rec,
    Release,
    print_of,
    rec,
    secret,
)
from tests.model.kinds.scene import Asker, Landed, Object
from tests.model.kinds.shell import NAME, NAMESPACE, OK, Clock, ScriptedApi

TRUE = "True"
ACROSS = "Helm writes for a request although its record is not the newest, or not pending any more"
COLLIDES = "a revision is created while somebody else's Helm is at work"
TOO_OFTEN = "a request makes more revisions than it may"
UNRECORDED = "an attempt follows another one that is not marked as interrupted"
LEFT_PENDING = "all is over, and a record of the request is pending"
NOT_THERE = "the request says Completed, and the objects are those of another revision"
ACCUSED = "the request says that somebody put something else there, and nobody did"
MENDED_ALIVE = "a record is marked as failed while the Helm that it belongs to is at work"


class Create(NamedTuple):
    """A record is created."""

    it: Rec


class Replace(NamedTuple):
    """A record is replaced, if its version is that; None: whatever it is."""

    it: Rec
    version: int | None
    mends: bool
    """It is the operator itself that writes it, not Helm."""


class Objects(NamedTuple):
    """Helm writes the objects, for the revision of that number."""

    number: int
    letter: str


_PATIENCE = f"{OLD * round(statuses.TICK.total_seconds())}s"


# The world's steps.


@dataclass
class HelmScene:
    """See `scene.Scene`."""

    beginning_with: Release = field(default_factory=Release)
    kind: str = "Helm"
    spec: Object = field(default_factory=lambda: {"options": {"helm": {"pendingAfter": _PATIENCE}}})

    def beginning(self) -> Release:
        return self.beginning_with

    def patch(self, stack: ExitStack, api: ScriptedApi[Release]) -> None:
        clock = Clock(api)
        put = {
            (doors, "time"): clock,
            (doors, "web"): WEB,
            (doors, "datetime"): clock,
            (doors, "asyncio"): at_once(api),
            (rollback, "time"): clock,
            (rollback, "datetime"): clock,
            (target, "datetime"): clock,
            (store, "asyncio"): at_once(api),
            (standing, "_clock"): lambda _: "then",
            (effect, "run"): run,
            (Door, "open"): opened,
        }
        for (module, name), value in put.items():
            stack.enter_context(mock.patch.object(module, name, value))

    # The API server.

    def get(self, api: ScriptedApi[Release], path: str, query: Object) -> Object:
        view, name = api.view, path.rpartition("/")[2]
        if name == "secrets":
            assert query["labelSelector"] == f"owner=helm,name={NAME}"
            listed = [secret(one, view.installed, api.now) for one in view.records]
            return {"items": [{"metadata": one["metadata"]} for one in listed], "metadata": {}}
        number = records.number_of(name, NAME)
        assert number is not None, path
        found = view.find(number)
        if found is None:
            raise errors.NotFound(name)
        return secret(found, view.installed, api.now)

    def payload(self, api: ScriptedApi[Release], verb: str, path: str, body: Object) -> Hashable:
        if not path.startswith(f"/api/v1/namespaces/{NAMESPACE}/secrets"):
            return Objects(**body)
        it = rec(body, api.now)
        if verb == "POST":
            return Create(it)
        version = body["metadata"].get("resourceVersion")
        return Replace(it, None if version is None else int(version), mends="kind" in body)

    def answer(self, api: ScriptedApi[Release], verb: str, path: str, body: Object) -> Object:
        del verb
        if not path.startswith(f"/api/v1/namespaces/{NAMESPACE}/secrets"):
            return {}
        found = api.view.find(rec(body, api.now).number)
        assert found is not None, "it was just written"
        return secret(found, api.view.installed, api.now)

    def flight(self, payload: Hashable) -> int:
        """What goes through the door is over within ten seconds."""
        return 2 if isinstance(payload, Replace) and payload.mends else 1

    def landed(self, world: Release, payload: Hashable, sent: int, asker: Asker) -> Landed[Release]:
        if isinstance(payload, Create):
            return _created(world, payload.it, sent, asker)
        if isinstance(payload, Replace):
            return _replaced(world, payload, sent)
        assert isinstance(payload, Objects)
        mine = world.newest
        fits = mine is None or (mine.number, mine.by, mine.status) == (payload.number, asker.uid, PENDING)
        return Landed(OK, world._replace(objects=payload.letter), None if fits else ACROSS)  # none: it was uninstalled

    # Time, others.

    def later(self, world: Release) -> Release:
        older = tuple(
            one._replace(
                alive=None if one.alive is None else min(one.alive + 1, DEAD),
                age=min(one.age + 1, OLD) if one.status in records.PENDING else OLD,
            )
            for one in world.records
        )
        return world._replace(records=older)

    def hurries(self, world: Release) -> bool:
        """Whoever works on a record has done so before it counts as left behind."""
        return world.theirs and world.newest is not None and world.newest.age + 1 >= OLD

    def by_itself(self, world: Release) -> Iterator[tuple[str, Release]]:
        """Somebody else's Helm comes to its end."""
        if world.theirs:
            assert world.newest is not None
            yield "their Helm is done", _done(world)

    def by_people(self, world: Release) -> Iterator[tuple[str, Release]]:
        newest = world.newest
        if newest is None:
            return
        if newest.status not in records.PENDING:
            world = world._replace(others=True)
            made = Rec(newest.number + 1, "c", UPGRADING, age=0, version=world.version + 1)
            begun = world._replace(records=(*world.records, made), theirs=True, version=made.version)
            yield BEGINS, begun
            yield UPGRADE, _done(begun)
        if world.theirs:
            yield DIES, world._replace(theirs=False)
        if world.find(1) is not None and newest.number > 1:
            yield PRUNE, world._replace(records=tuple(one for one in world.records if one.number != 1))
        if not world.theirs:
            yield UNINSTALL, world._replace(records=(), objects="", others=True)

    # What must hold.

    def misjudged(self, view: Release, status: int) -> None:
        del view, status

    def wrong_end(self, world: Release, asker: Asker, status: int) -> str | None:
        """See `Scene.wrong_end`."""
        said = statuses.parsed(status)
        if applied(said) == TRUE and not world.made:
            return FALSE_APPLIED
        if said.phase is None or not said.phase.final:
            return None
        if world.made and applied(said) == "False":
            return DENIED
        if reason(said) == Reason.COMPLETED:
            return _of_completed(world, asker)
        return ACCUSED if reason(said) in (Reason.REVERTED, Reason.OVERTAKEN) and not world.others else None

    def left(self, world: Release, asker: Asker) -> str | None:
        pending = any(one.by == asker.uid and one.status == PENDING for one in world.records)
        return LEFT_PENDING if pending and not asker.gone else None


BEGINS, UPGRADE = "somebody's helm upgrade begins", "somebody upgrades to c"
DIES, PRUNE, UNINSTALL = "their Helm dies", "revision 1 is removed", "somebody uninstalls the release"
MOVES = (BEGINS, UPGRADE, DIES, PRUNE, UNINSTALL)


def _done(world: Release) -> Release:
    """Somebody else's Helm has done what it came for."""
    *earlier, newest = world.records
    version = world.version + 1
    superseded = [
        one._replace(status=SUPERSEDED, version=version) if one.status == DEPLOYED else one for one in earlier
    ]
    ours = newest._replace(status=DEPLOYED, age=OLD, version=version)
    return world._replace(records=(*superseded, ours), objects=newest.letter, theirs=False, version=version)


def _created(world: Release, it: Rec, sent: int, asker: Asker) -> Landed[Release]:
    if world.find(it.number) is not None:
        return Landed("AlreadyExists", world)
    wrong = _of_create(world, it, asker) if world.records else None  # a limit: it was uninstalled meanwhile
    version = world.version + 1
    alive = None if it.alive is None else min(it.alive + sent, DEAD)
    made = it._replace(alive=alive, age=min(sent, OLD), version=version)
    listed = tuple(sorted((*world.records, made)))
    return Landed(OK, world._replace(records=listed, version=version, made=world.made + 1), wrong)


def _of_create(world: Release, it: Rec, asker: Asker) -> str | None:
    """What is wrong with an attempt that is just begun."""
    mine = [one for one in world.records if one.by == asker.uid]
    rules = {
        TWICE: world.done > 0,
        TOO_OFTEN: len(mine) >= MOST_ATTEMPTS,
        COLLIDES: world.theirs or any(one.status in records.PENDING for one in world.records),
        UNRECORDED: not all(one.interrupted for one in mine),
    }
    wrong = next((words for words, broken in rules.items() if broken), None)
    return wrong if wrong is not None or asker.gone else _of_plan(world, it, asker)


def _of_plan(world: Release, it: Rec, asker: Asker) -> str | None:
    """Whether the attempt is what was written down."""
    status, newest = statuses.parsed(asker.status), world.newest
    plan = plan_of(status)
    if plan is None:
        return UNPLANNED
    if status.phase is not None and status.phase.final and applied(status) != TRUE:
        return AFTER_END
    assert newest is not None
    before = [one for one in world.records if one.by != asker.uid]
    fits = bool(before) and newest.number == it.number - 1
    seen = (_stands(before[-1]), print_of(it.letter)) if fits else None
    return None if seen == (plan.from_.fingerprint, plan.to.fingerprint) else ELSEWHERE


def _stands(it: Rec) -> str:
    """The fingerprint of what a revision left standing: in parts only, unless it was installed as a whole."""
    whole = it.status in (DEPLOYED, SUPERSEDED)
    return print_of(it.letter) if whole else half_of(print_of(it.letter))


def _replaced(world: Release, payload: Replace, sent: int) -> Landed[Release]:
    there = world.find(payload.it.number)
    if there is None:
        return Landed("NotFound", world)
    if payload.version not in (None, there.version):
        return Landed("Conflict", world)
    version, it = world.version + 1, payload.it
    alive = None if it.alive is None else min(it.alive + sent, DEAD)
    age = min(sent, OLD) if it.status in records.PENDING else OLD
    put = it._replace(alive=alive, age=age, version=version)
    listed = tuple(put if one is there else one for one in world.records)
    done = world.done + (it.status == DEPLOYED and there.status == PENDING and bool(it.by))
    wrong = TWICE if done > 1 else None
    if world.theirs and there is world.newest:
        wrong = MENDED_ALIVE
    return Landed(OK, world._replace(records=listed, version=version, done=done), wrong)


def _of_completed(world: Release, asker: Asker) -> str | None:
    mine = [one for one in world.records if one.by == asker.uid and one.status in (DEPLOYED, SUPERSEDED)]
    if world.done != 1:
        return FALSE_SUCCESS
    plan = plan_of(statuses.parsed(asker.status))
    overtaken = not mine or mine[-1] is not world.newest
    return None if overtaken or (plan and print_of(world.objects) == plan.to.fingerprint) else NOT_THERE
