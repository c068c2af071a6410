"""The whole world as one value: requests, the target, operator processes, and what is still on its way."""

from __future__ import annotations

import json
from functools import cache
from typing import Any, NamedTuple, TypeVar

from rollback_operator.api.request import Phase
from tests.model import statuses
from tests.model.cluster import POD, Deployment, deleted, patched
from tests.model.shell import APPLY, NOTHING, PUT, Answered, Asked, Body, Heard, Start

T = TypeVar("T")


class Case(NamedTuple):
    """What is walked: how many take part, and how much may go wrong in one run."""

    operators: int = 1
    requests: int = 1
    faults: int = 0
    moves: int = 0
    """What people may do to the target and to the requests."""
    spec: tuple[tuple[str, Any], ...] = ()
    but: frozenset[str] = frozenset()
    """Faults and moves that are left out."""
    kind: str = "Deployment"
    """Of the target."""
    begins: Deployment | None = None
    """What the target is; None: its third revision was just released."""


class Asking(NamedTuple):
    """A request, and what became of it in truth."""

    body: Body
    before: Body | None = None
    """The version before, which a watch may still show."""
    gone: bool = False
    effects: int = 0
    copied: bool = False
    """The copy of what it replaces is there."""
    on: str | None = None
    """The uid of the target that the effect was made on."""

    @property
    def ended(self) -> bool:
        return self.gone or phase_of(self.body.status).final


class Call(NamedTuple):
    """A write that a process has begun."""

    start: Start
    answers: tuple[Answered, ...]
    asked: Asked
    late: int = 0
    """Ticks since the decision."""


class Process(NamedTuple):
    """An operator; for each request the write it waits for, and what it remembers."""

    calls: tuple[Call | None, ...]
    heard: tuple[Heard, ...]


class Flying(NamedTuple):
    """A write whose answer was lost, and which may still be done."""

    call: str
    who: int
    payload: str | int
    sent: int = 0
    """Ticks ago."""
    decided: int = 0


class World(NamedTuple):
    asking: tuple[Asking, ...]
    target: Deployment | None
    before: Deployment | None
    """The target before its last change, where a reading may still show it."""
    first: Deployment | None
    """The target when this tick began, if it was changed since."""
    earlier: Deployment | None
    """The target when the tick before began, if it was changed in it: a slow reading may have begun then."""
    processes: tuple[Process, ...]
    flying: tuple[Flying, ...] = ()


@cache
def phase_of(status: int) -> Phase:
    return statuses.parsed(status).phase or Phase.PENDING


def beginning(case: Case) -> World:
    """Requests were just created for a target whose third revision, b, is bad; a came before, and o before that."""
    asking = tuple(
        Asking(Body(index, statuses.EMPTY, abort=False, created=0, kind=case.kind)) for index in range(case.requests)
    )
    target = case.begins or Deployment(kind=case.kind)
    return World(asking, target, None, None, None, (fresh_process(case.requests),) * case.operators)


def fresh_process(requests: int) -> Process:
    return Process((None,) * requests, (NOTHING,) * requests)


def start_of(world: World, process: Process, index: int, spec: tuple[tuple[str, Any], ...]) -> Start:
    """What a round reads if it reads everything fresh."""
    listed = tuple(one.body for one in world.asking if not one.gone)
    asking = world.asking[index]
    return Start(process.heard[index], asking.body, world.target, world.target, listed, spec, copied=asking.copied)


# Changes.


def with_target(world: World, target: Deployment | None) -> World:
    return world._replace(target=target, before=world.target, first=world.first or world.target)


def with_request(world: World, index: int, changed: Asking) -> World:
    """Another version of a request: whoever writes on the version before is refused by the API server.

    A refused status write changes nothing, neither here nor in the memory of the process: so it is over at once.
    """
    before = world.asking[index].body
    asking = _put(world.asking, index, changed._replace(before=None if phase_of(before.status).final else before))
    flying = tuple(one for one in world.flying if not (one.call == PUT and one.who == index))
    processes = tuple(_refused(process, index) for process in world.processes)
    return world._replace(asking=asking, flying=flying, processes=processes)


def _refused(process: Process, index: int) -> Process:
    call = process.calls[index]
    return with_call(process, index, None) if call is not None and call.asked.call == PUT else process


def with_call(process: Process, index: int, call: Call | None) -> Process:
    return process._replace(calls=_put(process.calls, index, call))


def with_heard(process: Process, index: int, heard: Heard) -> Process:
    return process._replace(heard=_put(process.heard, index, heard))


def with_process(world: World, number: int, process: Process) -> World:
    return world._replace(processes=_put(world.processes, number, process))


def with_flying(world: World, one: Flying) -> World:
    return world._replace(flying=tuple(sorted((*world.flying, one), key=str)))


def without_flying(world: World, one: Flying) -> World:
    at = world.flying.index(one)
    return world._replace(flying=world.flying[:at] + world.flying[at + 1 :])


def _put(row: tuple[T, ...], index: int, value: T) -> tuple[T, ...]:
    return (*row[:index], value, *row[index + 1 :])


def written(world: World, index: int, status: int, decided: int) -> World:
    """A status that was decided on so many ticks ago is stored."""
    for _ in range(decided):
        status = statuses.older(status)
    asking = world.asking[index]
    return with_request(world, index, asking._replace(body=asking.body._replace(status=status)))


@cache
def effect_on(target: Deployment | None, operations: str) -> Deployment | None:
    """What a patch, or the deletion of a pod by its uid, makes of the target; None if it is refused."""
    if target is not None and operations.startswith(POD):
        return deleted(target, operations)
    return None if target is None else patched(target, json.loads(operations))


def copied(world: World, index: int) -> World:
    """The copy of what a request replaces is there."""
    return world._replace(asking=_put(world.asking, index, world.asking[index]._replace(copied=True)))


def patch_done(world: World, index: int, call: str, target: Deployment) -> World:
    """A patch was taken."""
    changed = with_target(world, target)
    if call != APPLY:
        return changed
    asking = world.asking[index]
    made = asking._replace(effects=asking.effects + 1, on=target.uid)
    return changed._replace(asking=_put(changed.asking, index, made))


def forget_what_cannot_matter(case: Case, world: World) -> World:
    """The same world without memories that nobody uses: fewer states tell the same."""
    over = [one.ended for one in world.asking]
    asking = tuple(_forget_version(case, one) for one in world.asking)
    if all(one.body.status != statuses.EMPTY for one in asking):
        asking = tuple(_long_there(one) for one in asking)
    processes = tuple(
        process._replace(heard=tuple(NOTHING if end else one for end, one in zip(over, process.heard, strict=True)))
        for process in world.processes
    )
    before = world.before if case.faults and not all(over) and world.before != world.target else None
    settling = case.faults and any(_running(one) for one in asking)  # else it does not matter how long a reading took
    first, earlier = (world.first, world.earlier) if settling else (None, None)
    return World(asking, world.target, before, first, earlier, processes, world.flying)


def _running(one: Asking) -> bool:
    return not one.gone and phase_of(one.body.status) is Phase.RUNNING


def without_old_readings(world: World) -> World:
    """When no more faults come, nobody reads anything old."""
    return world._replace(before=None, first=None, earlier=None)


def _long_there(one: Asking) -> Asking:
    """Created some time ago: once all requests are taken up, it does not matter any more when."""
    body, before = one.body._replace(created=statuses.TIMEOUT), one.before
    return one._replace(body=body, before=before and before._replace(created=statuses.TIMEOUT))


def _forget_version(case: Case, one: Asking) -> Asking:
    """An old version of a request leads to something only if its round acts without writing, or others list it."""
    listed = case.faults and case.requests > 1
    if one.before is None or not (one.ended or not (listed or phase_of(one.before.status) is Phase.VERIFYING)):
        return one
    return one._replace(before=None)


def a_tick_later(world: World) -> World:
    """Time goes by: moments are longer ago, what was in flight long enough never arrives, old readings are renewed."""
    flying = tuple(
        one._replace(sent=one.sent + 1, decided=one.decided + (one.call == PUT))
        for one in world.flying
        if one.sent + 1 < statuses.IN_FLIGHT
    )
    asking = tuple(one._replace(body=_older(one.body), before=None) for one in world.asking)
    processes = tuple(
        process._replace(calls=tuple(call and call._replace(late=call.late + 1) for call in process.calls))
        for process in world.processes
    )
    return World(asking, world.target, None, None, world.first, processes, flying)


def _older(body: Body) -> Body:
    return body._replace(status=statuses.older(body.status), created=min(body.created + 1, statuses.TIMEOUT))
