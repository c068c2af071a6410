"""The agenda: each key stands once, is worked on by one worker at a time, and is never lost."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Hashable

import pytest

from rollback_operator import agenda as module
from rollback_operator.agenda import LONGEST_PAUSE, Agenda

SOON = 0.03
LONG_PAUSE = 20.0


class Work:
    """A worker that does as it is told, and remembers."""

    def __init__(self) -> None:
        self.runs: dict[Hashable, int] = defaultdict(int)
        self.now: dict[Hashable, int] = defaultdict(int)
        self.at_once: dict[Hashable, int] = defaultdict(int)
        self.busiest = 0
        self.gates: dict[Hashable, asyncio.Event] = {}
        self.again: dict[Hashable, list[float | None]] = defaultdict(list)
        self.troubles: dict[Hashable, list[Exception]] = defaultdict(list)
        self.heard: list[tuple[Hashable, str]] = []
        self.order: list[Hashable] = []
        self._changed = asyncio.Condition()

    async def __call__(self, key: Hashable) -> float | None:
        self.runs[key] += 1
        self.now[key] += 1
        self.order.append(key)
        self.at_once[key] = max(self.at_once[key], self.now[key])
        self.busiest = max(self.busiest, sum(self.now.values()))
        async with self._changed:
            self._changed.notify_all()
        try:
            if key in self.gates:
                await self.gates[key].wait()
            if self.troubles[key]:
                raise self.troubles[key].pop(0)
            return self.again[key].pop(0) if self.again[key] else None
        finally:
            self.now[key] -= 1

    def failed(self, key: Hashable, error: BaseException) -> None:
        self.heard.append((key, str(error)))

    def hold(self, key: Hashable) -> asyncio.Event:
        """Have the work on `key` wait until the event is set."""
        self.gates[key] = asyncio.Event()
        return self.gates[key]

    async def until(self, key: Hashable, runs: int) -> None:
        """Wait until work on `key` was begun so often."""
        async with self._changed, asyncio.timeout(60):
            await self._changed.wait_for(lambda: self.runs[key] >= runs)


@pytest.fixture
def work() -> Work:
    return Work()


@pytest.fixture
def long_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed is not tried again while a test looks at it, however busy the machine is."""
    monkeypatch.setattr(module, "FIRST_PAUSE", LONG_PAUSE)


@contextlib.asynccontextmanager
async def going(work: Work, workers: int = 10, share: int | None = None) -> AsyncIterator[Agenda]:
    agenda = Agenda(work, workers, work.failed, whose=lambda key: str(key)[0], share=share)
    task = asyncio.create_task(agenda.run())
    try:
        yield agenda
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await asyncio.gather(*agenda._running.values(), return_exceptions=True)


async def passed(agenda: Agenda, work: Work, seconds: float) -> None:
    """Wait until what is due within these seconds has been begun, where it can be."""
    probe = object()
    agenda.wake(probe, seconds)
    await work.until(probe, 1)


async def idle(agenda: Agenda) -> None:
    while agenda._running:
        await asyncio.gather(*agenda._running.values(), return_exceptions=True)


async def test_a_key_is_worked_on_once(work: Work) -> None:
    async with going(work) as agenda:
        agenda.wake("a")
        agenda.wake("a")
        await passed(agenda, work, SOON)
    assert work.runs["a"] == 1


async def test_a_key_may_be_woken_before_the_agenda_runs(work: Work) -> None:
    agenda = Agenda(work, 1, work.failed)
    agenda.wake("a")
    task = asyncio.create_task(agenda.run())
    await work.until("a", 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_work_that_somebody_ends_is_begun_anew(work: Work) -> None:
    """Kopf ends every task that was begun after its own start when its watches end; they are started again."""
    work.hold("a")
    async with going(work) as agenda:
        agenda.wake("a")
        await work.until("a", 1)
        agenda._running["a"].cancel()
        await work.until("a", 2)
    assert work.heard == []


async def test_a_key_is_never_worked_on_twice_at_once(work: Work) -> None:
    gate = work.hold("a")
    async with going(work) as agenda:
        agenda.wake("a")
        await work.until("a", 1)
        for _ in range(5):
            agenda.wake("a")
        await passed(agenda, work, SOON)
        assert work.runs["a"] == 1
        gate.set()
        await work.until("a", 2)
        await passed(agenda, work, SOON)
    assert work.runs["a"] == 2, "however often it was woken meanwhile"
    assert work.at_once["a"] == 1


async def test_a_key_that_falls_due_while_it_is_worked_on_is_not_lost(work: Work) -> None:
    gate = work.hold("a")
    async with going(work) as agenda:
        agenda.wake("a")
        await work.until("a", 1)
        agenda.wake("a", SOON / 2)
        await passed(agenda, work, SOON)
        gate.set()
        await work.until("a", 2)
        await idle(agenda)
        assert not agenda.knows("a")
        assert agenda.lateness() == 0


async def test_a_key_that_falls_due_later_is_worked_on_then(work: Work) -> None:
    gate = work.hold("a")
    async with going(work) as agenda:
        agenda.wake("a")
        await work.until("a", 1)
        woken = time.monotonic()
        agenda.wake("a", 3 * SOON)
        gate.set()
        await work.until("a", 2)
        assert time.monotonic() - woken >= 3 * SOON - 0.005


async def test_it_comes_back_as_the_worker_says(work: Work) -> None:
    work.again["a"] = [0.0, SOON, None]
    async with going(work) as agenda:
        agenda.wake("a")
        await work.until("a", 3)
        await passed(agenda, work, SOON)
    assert work.runs["a"] == 3


async def test_the_earliest_time_wins(work: Work) -> None:
    async with going(work) as agenda:
        for after in (60, SOON, 30):
            agenda.wake("a", after)
        await work.until("a", 1)
        await idle(agenda)
        assert not agenda.knows("a")


async def test_what_the_worker_says_does_not_put_off_an_earlier_waking(work: Work) -> None:
    gate = work.hold("a")
    work.again["a"] = [60.0, None]
    async with going(work) as agenda:
        agenda.wake("a")
        await work.until("a", 1)
        agenda.wake("a")
        gate.set()
        await work.until("a", 2)


async def test_keys_are_begun_in_the_order_in_which_they_are_due(work: Work) -> None:
    async with going(work, workers=1) as agenda:
        agenda.wake("late", 10 * SOON)
        agenda.wake("first")
        agenda.wake("second")
        await work.until("late", 1)
    assert work.order == ["first", "second", "late"]


async def test_no_more_workers_than_allowed(work: Work) -> None:
    gates = [work.hold(number) for number in range(5)]
    async with going(work, workers=2) as agenda:
        for number in range(5):
            agenda.wake(number)
        for number, gate in enumerate(gates):
            await work.until(number, 1)
            gate.set()
    assert work.busiest == 2


# Trouble.


async def test_trouble_is_told_and_tried_again_ever_more_slowly(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.01)
    work.troubles["a"] = [ValueError("one"), ValueError("two"), ValueError("three")]
    begun = time.monotonic()
    async with going(work) as agenda:
        agenda.wake("a")
        await work.until("a", 4)
        await idle(agenda)
        assert not agenda.knows("a")
    assert work.heard == [("a", "one"), ("a", "two"), ("a", "three")]
    assert time.monotonic() - begun >= 0.01 + 0.02 + 0.04


async def test_trouble_with_one_key_does_not_stop_the_others(work: Work) -> None:
    work.troubles["a"] = [ValueError("no")] * 3
    async with going(work, workers=1) as agenda:
        agenda.wake("a")
        agenda.wake("b")
        await work.until("b", 1)


async def test_success_makes_the_next_trouble_the_first(work: Work, long_pauses: None) -> None:  # noqa: ARG001
    async with going(work) as agenda:
        for _ in range(3):
            work.troubles["a"] = [ValueError("no")]
            before = work.runs["a"]
            agenda.wake("a")
            await work.until("a", before + 1)
            await idle(agenda)
            assert agenda._failures["a"] == 1
            agenda.wake("a")
            await work.until("a", before + 2)
            await idle(agenda)


@pytest.mark.parametrize("failures", [0, 1, 7, 8, 1100, 10**6])
async def test_the_pause_after_trouble_has_a_limit(work: Work, failures: int, long_pauses: None) -> None:  # noqa: ARG001
    """After a thousand failures, too: the API server may have been away for a night."""
    work.troubles["a"] = [ValueError("no")]
    begun = time.monotonic()
    async with going(work) as agenda:
        agenda._failures["a"] = failures
        agenda.wake("a")
        await work.until("a", 1)
        await idle(agenda)
        assert agenda.knows("a")
        assert agenda._due["a"] >= begun + LONG_PAUSE
        assert agenda._due["a"] <= time.monotonic() + LONGEST_PAUSE


async def test_trouble_is_not_worked_on_at_once_although_it_was_woken_meanwhile(
    work: Work,
    long_pauses: None,  # noqa: ARG001
) -> None:
    gate = work.hold("a")
    work.troubles["a"] = [ValueError("no")]
    begun = time.monotonic()
    async with going(work) as agenda:
        agenda.wake("a")
        await work.until("a", 1)
        agenda.wake("a")
        gate.set()
        await idle(agenda)
        assert agenda._due["a"] >= begun + LONG_PAUSE


# What is known.


async def test_what_is_forgotten_is_not_worked_on(work: Work) -> None:
    async with going(work) as agenda:
        agenda.wake("a", SOON / 2)
        agenda.forget("a")
        assert not agenda.knows("a")
        await passed(agenda, work, SOON)
    assert work.runs["a"] == 0


async def test_what_is_forgotten_may_come_again(work: Work) -> None:
    async with going(work) as agenda:
        agenda.wake("a", SOON / 2)
        agenda.forget("a")
        agenda.wake("a", SOON)
        await work.until("a", 1)
        await passed(agenda, work, SOON)
    assert work.runs["a"] == 1


async def test_to_forget_what_is_unknown_is_no_trouble(work: Work) -> None:
    Agenda(work, 1, work.failed).forget("a")


async def test_a_key_is_known_while_it_is_due_or_worked_on(work: Work) -> None:
    gate = work.hold("a")
    async with going(work) as agenda:
        agenda.wake("a", SOON)
        assert agenda.knows("a")
        await work.until("a", 1)
        assert agenda.knows("a")
        gate.set()
        await idle(agenda)
        assert not agenda.knows("a")


async def test_lateness_is_that_of_the_most_overdue_key_that_nobody_works_on(work: Work) -> None:
    agenda = Agenda(work, 1, work.failed)
    assert agenda.lateness() == 0
    agenda.wake("later", 60)
    assert agenda.lateness() == 0
    agenda._due["a"] = time.monotonic() - 5
    agenda._due["b"] = time.monotonic() - 90
    assert 90 <= agenda.lateness() < 150
    agenda._running["b"] = asyncio.create_task(asyncio.sleep(0))
    assert 5 <= agenda.lateness() < 65
    await agenda._running["b"]


async def test_ending_ends_the_work(work: Work) -> None:
    work.hold("a")
    async with going(work) as agenda:
        agenda.wake("a")
        await work.until("a", 1)
        running = agenda._running["a"]
    assert running.cancelled()
    assert work.heard == []


# Shares.


async def test_slow_work_of_one_keeps_nobody_else_waiting_and_is_not_late(work: Work) -> None:
    gates = [work.hold(f"a{number}") for number in range(20)]
    async with going(work, workers=4, share=2) as agenda:
        for number in range(20):
            agenda.wake(f"a{number}")
        agenda.wake("b")
        await work.until("b", 1)

        assert sum(work.now.values()) == 2
        assert agenda.lateness() == 0
        assert agenda.knows("a19")

        for gate in gates:
            gate.set()
        await work.until("a19", 1)
        await idle(agenda)
    assert work.busiest <= 3
    assert all(work.runs[f"a{number}"] == 1 for number in range(20))


async def test_whoever_waits_for_a_share_may_be_forgotten_and_the_next_has_it(work: Work) -> None:
    gate = work.hold("a0")
    async with going(work, share=1) as agenda:
        for number in range(4):
            agenda.wake(f"a{number}")
        await work.until("a0", 1)
        await passed(agenda, work, SOON)
        agenda.forget("a1")
        gate.set()
        agenda.forget("a2")
        await work.until("a3", 1)
    assert (work.runs["a1"], work.runs["a2"]) == (0, 0)


async def test_one_whose_turn_has_come_and_that_is_forgotten_leaves_it_to_the_next(work: Work) -> None:
    agenda = Agenda(work, 10, work.failed, whose=lambda key: str(key)[0], share=1)
    agenda._waiting["a"] = {"a1": None, "a2": None}
    agenda._call_next("a")

    agenda.forget("a1")

    assert agenda._due.keys() == {"a2"}
