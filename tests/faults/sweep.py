"""The sweep: every kind of fault at every call of a run."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from tests.faults.applications import ApplicationRow
from tests.faults.calls import Call
from tests.faults.configured import ConfiguredRow
from tests.faults.helm import HelmRow
from tests.faults.owners import OWNED, ForbiddenOfFlux
from tests.faults.proxy import Fault
from tests.faults.rows import OWN_CALLS, Row
from tests.faults.run import Bench, Lab, Outcome

LATE = "late"
_UNDISTURBED: dict[str, asyncio.Task[Outcome]] = {}

CLASSES: dict[str, Callable[[Bench], Fault]] = {
    "killed before": lambda bench: Fault(before=bench.operators.kill_and_restart, cut_before=True),
    "killed after": lambda bench: Fault(after=bench.operators.kill_and_restart, cut_after=True),
    "409": lambda _: Fault(answer=(409, {})),
    "429": lambda _: Fault(answer=(429, {"Retry-After": "1"})),
    "500": lambda _: Fault(answer=(500, {})),
    "503": lambda _: Fault(answer=(503, {})),
    "reset before": lambda _: Fault(cut_before=True),
    "reset after": lambda _: Fault(cut_after=True),
    LATE: lambda _: Fault(late=4.0),
}


REFUSALS = ("429", "500", "503")
"""Refusals that may pass."""
OF_ALL = ("killed before", "reset before")
OF_WRITES = ("killed after", "409", "reset after")
"""What says nothing at a call that only reads."""
_OFTEN = 4
_STOOD_STILL = "another operator may be at work"
"""What an operator says of itself that could not do anything for seconds."""


@dataclass(frozen=True)
class Tried:
    """A fault and what came of it."""

    fault: str
    outcome: Outcome | None
    trouble: str | None


async def undisturbed(lab: Lab, row: Row) -> Outcome:
    """A run without faults, made once a row: the calls that can be disturbed, and the end that every run comes to."""
    if row.name not in _UNDISTURBED:
        _UNDISTURBED[row.name] = asyncio.create_task(_undisturbed(lab, row))
    return await _UNDISTURBED[row.name]


async def _undisturbed(lab: Lab, row: Row) -> Outcome:
    async with lab.bench(row) as bench:
        await bench.start()
        await bench.begin()
        await bench.ended()
        await bench.rested()
        return await bench.outcome()


def possible(kind: str, calls: Iterable[Call]) -> list[Call]:
    """The calls at which a class of faults makes sense: nothing arrives late of what is only read."""
    return [call for call in dict.fromkeys(calls) if kind != LATE or call.writes]


def picked(row: Row, kind: str, calls: Sequence[Call]) -> list[Call]:
    """The calls at which a class of faults is tried; of a row that samples, every call has its turn with some class.

    Of one that is there for its own calls, no other has. What is only read is the same before and after it was asked
    for, so to kill or to reset before it is enough; and it meets no conflict. One refusal that may pass is like
    another, so where not all is tried each call meets one of them. The deep run takes none of that on trust.
    """
    if kind == LATE and row.samples and not row.only_own:
        return [call for call in calls if call.name in row.first_kills]
    return [call for at, call in enumerate(calls) if _is_tried(row, kind, call, at)]


def _is_tried(row: Row, kind: str, call: Call, at: int) -> bool:
    refusal = REFUSALS[at % len(REFUSALS)]
    if not row.samples:
        return call.writes or kind in {*OF_ALL, refusal}
    if weighty(row, call):
        return kind == refusal or kind not in REFUSALS
    # What is asked again and again while somebody waits is left out after the first times.
    turns = (*OF_ALL, *OF_WRITES, *REFUSALS) if call.writes else (*OF_ALL, *REFUSALS)
    return not row.only_own and call.number <= _OFTEN and turns[at % len(turns)] == kind


def weighty(row: Row, call: Call) -> bool:
    """Whether a call meets every class, also where a row samples; there one of the refusals is enough."""
    own = {
        **OWN_CALLS,
        **{one.name: one.own_calls for one in (HelmRow, ApplicationRow, ConfiguredRow, *OWNED, ForbiddenOfFlux)},
    }
    return bool({call.name, str(call)} & set(own[row.name])) if row.name in own else call.weighty


async def disturb(lab: Lab, row: Row, kind: str, calls: Iterable[Call], expected: Outcome) -> list[Tried]:
    """A run for each call with the fault at it; one of them is watched for writes when idle."""
    watched = None if row.only_own else Call(row.first_kills[0], 1)
    runs = (
        tried(lab, row, f"{kind} {call}", call, CLASSES[kind], expected=expected, watched=call == watched)
        for call in calls
    )
    return await asyncio.gather(*runs)


async def twice(lab: Lab, row: Row, first: tuple[str, Call], second: tuple[str, Call], expected: Outcome) -> Tried:
    """A run with a kill, and a second kill at a call of the recovery.

    Of three attempts of Helm's that leaves one. If the machine stands still just then, that is a third fault, of
    nobody's making, and the run is made again.
    """
    kind, call = first
    name = f"{kind} {call}, then {second[0]} {second[1]}"
    for _ in range(2):
        run = await tried(
            lab, row, name, call, lambda bench: then(bench, CLASSES[kind](bench), second), expected=expected
        )
        if _STOOD_STILL not in (run.trouble or ""):
            break
    return run


async def tried(
    lab: Lab,
    row: Row,
    name: str,
    call: Call,
    fault: Callable[[Bench], Fault],
    *,
    expected: Outcome,
    watched: bool = False,
) -> Tried:
    """A run with a fault at a call; it may be watched for writes when idle."""
    async with lab.bench(row) as bench:
        try:
            await bench.start()
            bench.proxy.faults[call] = fault(bench)
            await bench.begin()
            await bench.ended()
            await bench.proxy.nothing_is_late()
            outcome = await settled(bench, expected)
            if watched:
                outcome = replace(outcome, writes_when_idle=await writes_when_idle(bench))
        except TimeoutError as error:
            return Tried(name, None, f"{error}; {await bench.state()}\n{bench.operators.said()}")
        return Tried(name, outcome, trouble(bench, outcome, expected))


def then(bench: Bench, fault: Fault, second: tuple[str, Call] | None) -> Fault:
    """`fault`, after which the numbering begins anew and the second fault is set."""

    async def arm() -> None:
        bench.proxy.faults.clear()
        bench.proxy.count_from_here()
        if second is not None:
            bench.proxy.faults[second[1]] = CLASSES[second[0]](bench)

    async def before() -> None:
        await arm()
        if fault.before is not None:
            await fault.before()

    async def after() -> None:
        await arm()
        if fault.after is not None:
            await fault.after()

    return replace(fault, before=before if fault.before else None, after=after if fault.after else None)


async def recovery(lab: Lab, row: Row, first: tuple[str, Call]) -> tuple[Call, ...]:
    """The calls of the operator that comes after a kill."""
    async with lab.bench(row) as bench:
        await bench.start()
        bench.proxy.faults[first[1]] = then(bench, CLASSES[first[0]](bench), None)
        await bench.begin()
        await bench.ended()
        return (await bench.outcome()).journal


async def settled(bench: Bench, expected: Outcome) -> Outcome:
    """The outcome, once what follows an ending (Events, the target's own controller) has come to rest."""
    outcome = await bench.outcome()

    async def same() -> bool:
        nonlocal outcome
        outcome = await bench.outcome()
        return difference(outcome, expected) is None

    with contextlib.suppress(TimeoutError):
        await bench.lab.admin.until(same, "the world comes to rest", every=bench.asks_every)
    return outcome


async def writes_when_idle(bench: Bench) -> int:
    """How many writes the operator makes in the idle stretch after a run.

    One that got no answer, on a machine that stood still, is made again later: who then is idle is so all the same.
    """
    wrote = 0
    for _ in range(3):
        over = await bench.over()
        async with bench.lab.places[bench.row.begun_by].lent():  # waiting costs nothing
            await asyncio.sleep(bench.idle)
            wrote = sum(datetime.fromisoformat(event["requestReceivedTimestamp"]) > over for event in bench.writes())
        if not wrote:
            break
    return wrote


def trouble(bench: Bench, outcome: Outcome, expected: Outcome) -> str | None:
    """The difference, with what the operator said of the run; None if there is none."""
    wrong = difference(outcome, expected)
    return f"{wrong}\n{bench.operators.said()}" if wrong else None


def difference(outcome: Outcome, expected: Outcome) -> str | None:
    """In what an outcome is not what it has to be; None if it is."""
    wrong = [
        f"{name}: {getattr(outcome, name)!r} instead of {getattr(expected, name)!r}"
        for name in ("phase", "reason", "effects", "conditions", "steps", "world", "orders", "writes_when_idle")
        if getattr(outcome, name) != getattr(expected, name)
    ]
    return "; ".join(wrong) or None
