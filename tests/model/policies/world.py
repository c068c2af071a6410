"""The whole world as one value: the target, the policy, its requests, operator processes, what is on its way."""

from __future__ import annotations

from typing import NamedTuple

from tests.model.policies import values
from tests.model.policies.shell import Answered, Asked, Memory, Start, View, later
from tests.model.policies.values import (
    OLD,
    PLAIN,
    Current,
    Entry,
    Policy,
    Req,
    Row,
    Status,
    Target,
    older_request,
    older_target,
)

Blamed = tuple[str, int]
"""UID of a target, and the number of one of its revisions."""
REMEMBERED = 4
"""Answers that the signal remembers."""


class Case(NamedTuple):
    """What is walked: how many take part, what the policy says, and how much may happen in one run."""

    spec: str = PLAIN
    mode: str = "Enforce"
    operators: int = 1
    ticks: int = 4
    faults: int = 0
    moves: int = 0
    """What people may do."""
    remembers: bool = False
    """The signal can be asked for the past."""
    but: frozenset[str] = frozenset()
    """Moves and endings that are left out."""


class Call(NamedTuple):
    """A write that a process has begun."""

    start: Start
    answers: tuple[Answered, ...]
    asked: Asked
    seen: Policy
    """The policy when the round read it last."""


class Process(NamedTuple):
    """An operator. `news`: events of the target and of requests that came while it waits for an answer."""

    memory: Memory | None
    call: Call | None = None
    news: tuple[bool, bool] = (False, False)


class World(NamedTuple):
    """Everything; what stands after `flying` is the truth that nobody reads."""

    target: Target | None
    requests: tuple[Req, ...]
    policy: Policy
    truth: tuple[tuple[str, int], ...]
    processes: tuple[Process, ...]
    before: tuple[Target | None, tuple[Req, ...]] | None = None
    """What stood before the last change, where a reading may still show it."""
    flying: tuple[Req, ...] = ()
    made: tuple[tuple[str, Blamed], ...] = ()
    """Every request that ever was: its name and what it was made for."""
    vetoed: frozenset[Blamed] = frozenset()
    bad: frozenset[str] = frozenset()
    """Releases that were rolled back from."""
    cleared: tuple[Req, ...] = ()
    """Requests that had an effect, and that the policy itself removed."""


def beginning(case: Case) -> World:
    """Release b came just now; a, which was before, and o proved good; the operators have watched all the time."""
    ledger = (Entry("o", "1", "Good", OLD), Entry("a", "2", "Good", OLD))
    conditions = (("Ready", "True", "Evaluating"), ("Armed", "True", "Armed"), ("Alert", "False", "NothingWrong"))
    current = Current("uid-1", "2", "a", OLD, back=False)
    status = Status(1, conditions, "Healthy", current, ("2", "a"), ledger, (("Healthy", False, False, True),))
    row = Row("Healthy", 0, 0, 0, None, 0, OLD, values.ENOUGH)
    memory = Memory(
        status,
        case.mode,
        1,
        row,
        excused=False,
        current=current,
        rebuilt=True,
        news_of_target=True,
        news_of_requests=False,
        asked=True,
        looked=False,
    )
    target = Target("uid-1", "b", 3, 0, back=False, history=(("o", 1), ("a", 2), ("b", 3)))
    policy = Policy(case.mode, 1, status)
    return World(target, (), policy, (("H", 0),), (Process(memory),) * case.operators)


def view_of(world: World) -> View:
    """What can be read now."""
    return View(world.target, world.requests, world.requests, world.policy)


def with_process(world: World, number: int, process: Process) -> World:
    """`process` has become another."""
    row = world.processes
    return world._replace(processes=(*row[:number], process, *row[number + 1 :]))


def with_target(world: World, target: Target | None) -> World:
    """The target changed; the watch tells everybody."""
    processes = tuple(_told(one, target=True, requests=False) for one in world.processes)
    return world._replace(target=target, before=(world.target, world.requests), processes=processes)


def with_requests(world: World, requests: tuple[Req, ...]) -> World:
    """A request changed; the watch tells everybody."""
    processes = tuple(_told(one, target=False, requests=True) for one in world.processes)
    return world._replace(requests=requests, before=(world.target, world.requests), processes=processes)


def with_request(world: World, one: Req) -> World:
    """A request has become another of that name."""
    return with_requests(world, tuple(one if it.name == one.name else it for it in world.requests))


def without_request(world: World, one: Req) -> World:
    """A request is deleted."""
    return with_requests(world, tuple(it for it in world.requests if it.name != one.name))


def _told(process: Process, *, target: bool, requests: bool) -> Process:
    if process.call is not None:
        return process._replace(news=(process.news[0] or target, process.news[1] or requests))
    memory = process.memory
    if memory is None:
        return process
    news = memory.news_of_target or target, memory.news_of_requests or requests
    return process._replace(memory=memory._replace(news_of_target=news[0], news_of_requests=news[1]))


def a_tick_later(world: World, answer: str, *, missed: bool = False) -> World:
    """Time goes by, and the signal's answer is `answer` from now on. Nobody waits for an answer to a write.

    `missed`: somebody did not hear the answer before; nobody can be reproached then for not knowing that it was well.
    """
    truth = tuple((one, at + 1) for one, at in world.truth if at + 1 < REMEMBERED)
    truth = tuple(("U", at) if missed and (one, at) == ("H", 1) else (one, at) for one, at in truth)
    return world._replace(
        target=older_target(world.target),
        requests=tuple(older_request(one) for one in world.requests),
        policy=world.policy._replace(status=values.older_status(world.policy.status)),
        truth=(*truth, (answer, 0)),
        processes=tuple(one._replace(memory=one.memory and later(one.memory)) for one in world.processes),
        before=None,
        flying=(),
        cleared=tuple(older_request(one) for one in world.cleared),
    )
