"""Configuration goes back with a target; a fault and a person come at any two of its writes: what is said is true."""

from __future__ import annotations

import contextlib
import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from typing import Any

import pytest

from rollback_operator.configuration import change, restoring
from rollback_operator.core import conditions as on
from rollback_operator.core.life import running
from rollback_operator.kube import errors
from rollback_operator.kube.client import FIELD_MANAGER
from rollback_operator.requests import acting, reading, worker
from rollback_operator.targets import base
from tests.unit.builders import message, why
from tests.unit.fakes import Call
from tests.unit.objects import Object, deployment, template
from tests.unit.test_configuration import config_map, secret
from tests.unit.test_requests import DEPLOYMENT
from tests.unit.test_restoring import CONFIG_MAP, REFERS, SECRET, Restoring

ROUND = timedelta(seconds=3)
ARRIVES_AFTER = timedelta(seconds=8)
"""A late write: nobody may have said by then that nothing was changed."""
ANEW = "/api/v1/namespaces/shop/configmaps"
PUT_BACK = (CONFIG_MAP, SECRET, ANEW)


@dataclass
class Clock:
    """What the shell takes for the time."""

    ahead: timedelta = timedelta()

    def now(self, zone: tzinfo) -> datetime:
        return datetime.now(zone) + self.ahead


def _changed(thing: Object) -> Callable[[Restoring], None]:
    """Somebody applies something else: marks that others made stay, as with `kubectl apply`."""

    def happen(world: Restoring) -> None:
        def apply(body: Object) -> None:
            body["data"] = thing["data"]

        world.api.edit(thing, apply)

    return happen


def _released(world: Restoring) -> None:
    def apply(body: Object) -> None:
        body["spec"]["template"] = template("shop:4", **REFERS)
        body["metadata"]["generation"] += 1

    world.edit(apply)


PEOPLE: dict[str, Callable[[Restoring], None]] = {
    "nobody": lambda _: None,
    "settings are changed": _changed(config_map(mode="newer")),
    "the bad settings are applied again": _changed(config_map(mode="bad")),
    "the password is changed": _changed(secret(value="bmV3")),
    "another release": _released,
    "it is paused": lambda world: world.edit(lambda body: body["spec"].update(paused=True)),
    "it is deleted": lambda world: world.api.drop(deployment()),
    "the request is aborted": lambda world: world.api.edit(world.undo, lambda body: body["spec"].update(abort=True)),
}
BEFORE: dict[str, Exception | type[BaseException] | None] = {
    "no fault": None,
    "killed before": SystemExit,
    "not done": errors.Unavailable("no answer"),
    "409": errors.Conflict("the object has been modified"),
    "429": errors.NotDone("busy"),
    "refused": errors.Invalid("denied by a webhook"),
}
AFTER: dict[str, Exception | type[BaseException]] = {
    "killed after": SystemExit,
    "answer lost": errors.Unavailable("no answer"),
}
LATE = "late"
FAULTS = (*BEFORE, *AFTER, LATE)


@dataclass
class Walk:
    """One run: a fault at one write, and somebody at another."""

    world: Restoring
    clock: Clock
    fault: tuple[str, int]
    person: tuple[str, int]
    seen: int = 0
    made: Counter[str] = field(default_factory=Counter)
    late: list[tuple[timedelta, Call]] = field(default_factory=list)

    def before(self, call: Call) -> Exception | None:
        """What comes before a write."""
        if not _counts(call):
            return None
        self.seen += 1
        name, at = self.person
        if self.seen == at:
            PEOPLE[name](self.world)
        name, at = self.fault
        if self.seen != at:
            return None
        if name == LATE:
            self.late.append((self.clock.ahead + ARRIVES_AFTER, call))
            return errors.Unavailable("no answer")
        return _raised(BEFORE.get(name))

    def after(self, call: Call) -> Exception | None:
        """A write is done; so may the process be."""
        if not _counts(call):
            return None
        self.made[call.path] += 1
        name, at = self.fault
        return _raised(AFTER.get(name) if self.seen == at else None)

    async def go(self) -> None:
        """Until the request has ended, and what was late has arrived."""
        for _ in range(20):
            await self._round()
            if self.ended and not self.late:
                return
        raise AssertionError("it does not end")

    @property
    def ended(self) -> bool:
        phase = self.world.status().phase if self.world.body().get("status") else None
        return phase is not None and phase.final

    async def _round(self) -> None:
        try:
            self.world.worker.saw(self.world.body())
            await self.world.work()
        except SystemExit:
            self.world.worker = self.world.another_worker()
        except errors.KubeError:
            pass
        with contextlib.suppress(KeyError):  # there may be no target any more
            self.world.controller()
        self.clock.ahead += ROUND
        for due, call in list(self.late):
            if self.clock.ahead >= due:
                self.late.remove((due, call))
                await self._arrive(call)

    async def _arrive(self, call: Call) -> None:
        api: Any = self.world.api
        faults, api.faults, seen = api.faults, [], self.seen
        try:
            if call.verb == "PATCH":
                await api.patch(call.path, call.body, as_=call.as_, field_manager=call.query["fieldManager"])
            elif call.verb == "POST":
                await api.create(call.path, call.body, as_=call.as_)
        except errors.KubeError:
            pass
        api.faults, self.seen = faults, seen

    def check(self) -> None:
        """What must hold in the end."""
        status = self.world.status()
        said, applied = message(status), on.find(status.conditions, on.APPLIED)
        put_back, effects = sum(self.made[path] for path in PUT_BACK), self.made[DEPLOYMENT]
        assert max(self.made.values(), default=0) <= 1, f"more than once: {self.made}"
        assert applied is not None
        gone = self.person[0] == "it is deleted"
        if effects:
            assert applied.status == "True" or gone, said
            assert put_back == 2, "the effect comes after all of it"
        else:
            assert applied.status != "True", said
        if put_back and applied.status == "False":
            assert "nothing was changed" not in f"{said} {applied.message}".lower(), said
            assert "put back as remembered" in said, said
            assert why(status) in ("PartlyMade", "Aborted")
        if not put_back:
            assert "put back as remembered" not in said, said
        if why(status) == "Completed":
            assert (put_back, effects) == (2, 1)


def _raised(error: Exception | type[BaseException] | None) -> Exception | None:
    """The error; the end of a process is none, and ends it all the same."""
    return error() if isinstance(error, type) else error  # type: ignore[return-value]


def _counts(call: Call) -> bool:
    """Whether it puts something back, or is the effect."""
    if call.verb == "POST":
        return call.path == ANEW
    return call.verb == "PATCH" and call.query.get("fieldManager", FIELD_MANAGER) == FIELD_MANAGER


def runs() -> Iterator[tuple[int, tuple[str, int]]]:
    """The write that is disturbed, and who comes before which."""
    people = [("nobody", 0), *itertools.product([name for name in PEOPLE if name != "nobody"], (1, 2, 3))]
    return itertools.product((1, 2, 3), people)


async def violation(fault: str, monkeypatch: pytest.MonkeyPatch, *, deleted: bool = False) -> str | None:
    """The first of the runs with that fault in which something does not hold, in words; None if there is none."""
    for at, person in runs():
        if deleted and "settings" in person[0]:
            continue  # there are none to be changed
        clock = Clock()
        for module in (acting, reading, worker, base):
            monkeypatch.setattr(module, "datetime", clock)
        world = await (Restoring.made(secret(value="YmFk")) if deleted else Restoring.made())
        walk = Walk(world, clock, (fault, at), person)
        world.api.faults.append(walk.before)
        world.api.late_faults.append(walk.after)
        try:
            await walk.go()
            walk.check()
        except AssertionError as error:
            return f"{fault} at write {at}, {person[0]} before write {person[1]}: {error}"
    return None


@pytest.mark.parametrize("deleted", [False, True], ids=["changed", "one is gone"])
@pytest.mark.parametrize("fault", FAULTS)
async def test_what_is_said_is_true_after(fault: str, *, deleted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await violation(fault, monkeypatch, deleted=deleted) is None


def _any_version(monkeypatch: pytest.MonkeyPatch) -> None:
    real = change.replacing

    def careless(*given: Any) -> list[Object]:
        return [one for one in real(*given) if one["op"] != "test"]

    monkeypatch.setattr(change, "replacing", careless)
    monkeypatch.setattr(restoring.Found, "as_planned", property(lambda one: not one.as_remembered))


def _target_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "partly", lambda _request, ending, _beside: ending)
    monkeypatch.setattr(running, "so_far", lambda *_: None)


MISTAKES: dict[str, tuple[str, Callable[[pytest.MonkeyPatch], None]]] = {
    "a write fits any version of its object": ("killed after", _any_version),
    "an ending looks at nothing but the target": ("refused", _target_only),
    "an ending does not wait for what may still arrive": (
        LATE,
        lambda monkeypatch: monkeypatch.setattr(running, "SETTLE", timedelta(0)),
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
async def test_a_mistake_is_found(mistake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fault, make = MISTAKES[mistake]
    make(monkeypatch)

    assert await violation(fault, monkeypatch) is not None
