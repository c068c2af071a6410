"""What else can go wrong around a request: watches, stale reads, other releases, deletions, a second operator."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.faults.admin import PATIENCE
from tests.faults.applications import APPLICATIONS
from tests.faults.calls import Call
from tests.faults.conftest import judge
from tests.faults.proxy import Fault
from tests.faults.rows import ROWS, DaemonSetRow, Row, StatefulSetRow
from tests.faults.run import REQUEST, Bench, Lab, Outcome
from tests.faults.sweep import Tried, settled, trouble, undisturbed
from tests.faults.together import side_by_side


def of(*rows: Row) -> pytest.MarkDecorator:
    """Tell a story of each of these."""
    return pytest.mark.parametrize("row", rows, ids=lambda row: row.name)


SETS: tuple[Row, ...] = (StatefulSetRow(), DaemonSetRow())
THE_USUAL = of(*ROWS)
EVERY_WORKLOAD = of(*ROWS, *SETS)
EVERY_ONE_THAT_IS_PATCHED_OR_PUT = of(*ROWS, *SETS, *APPLICATIONS)
EVERY_ONE_THAT_GOES_ON = of(*ROWS, DaemonSetRow())
"""A StatefulSet that waits for a broken pod waits with the next release, too."""

Story = Callable[[Bench], Awaitable[None]]


async def tell(lab: Lab, row: Row, name: str, story: Story) -> Outcome:
    """Make a run of a story, and count it."""
    async with lab.bench(row) as bench:
        await story(bench)
        await bench.ended()
        outcome = await bench.outcome()
    judge([Tried(name, outcome, None)])
    return outcome


async def as_if_nothing_happened(lab: Lab, row: Row, name: str, story: Story) -> None:
    """Make a run of a story that has to end like one without any trouble."""
    expected = await undisturbed(lab, row)
    async with lab.bench(row) as bench:
        await story(bench)
        await bench.ended()
        outcome = await settled(bench, expected)
        judge([Tried(name, outcome, trouble(bench, outcome, expected))])


def before_the_effect(bench: Bench, hook: Callable[[], Awaitable[None]]) -> None:
    bench.proxy.faults[Call(bench.row.effect_call, 1)] = Fault(before=hook)


def after_the_effect(bench: Bench, hook: Callable[[], Awaitable[None]]) -> None:
    bench.proxy.faults[Call(bench.row.effect_call, 1)] = Fault(after=hook)


async def freeze(bench: Bench) -> None:
    """From now on, for four seconds, every read is answered with what it was answered before."""

    def thaw() -> None:
        bench.proxy.frozen = False

    bench.proxy.frozen = True
    asyncio.get_running_loop().call_later(4, thaw)


@THE_USUAL
@side_by_side
async def test_a_request_made_while_the_operator_was_down(lab: Lab, row: Row) -> None:
    async def story(bench: Bench) -> None:
        await bench.begin()
        bench.operators.start()

    await as_if_nothing_happened(lab, row, "ADDED missed", story)


@THE_USUAL
@side_by_side
async def test_every_watch_drops_when_the_request_comes(lab: Lab, row: Row) -> None:
    async def story(bench: Bench) -> None:
        await bench.start()
        bench.proxy.drop_watches()
        await bench.begin()

    await as_if_nothing_happened(lab, row, "watches dropped", story)


@THE_USUAL
@side_by_side
async def test_every_watch_drops_while_the_rollout_goes_on(lab: Lab, row: Row) -> None:
    async def story(bench: Bench) -> None:
        async def drop() -> None:
            bench.proxy.drop_watches()

        await bench.start()
        after_the_effect(bench, drop)
        await bench.begin()

    await as_if_nothing_happened(lab, row, "watches dropped after the effect", story)


@THE_USUAL
@pytest.mark.parametrize("plural", ["rollbackrequests", "deployments"])
@side_by_side
async def test_a_watch_is_told_that_its_version_is_gone(lab: Lab, row: Row, plural: str) -> None:
    async def story(bench: Bench) -> None:
        await bench.start()
        for number in (1, 2):
            bench.proxy.faults[Call(f"WATCH {plural}", number)] = Fault(answer=(410, {}))
        bench.proxy.drop_watches()
        await bench.begin()

    await as_if_nothing_happened(lab, row, f"410 on the watch of {plural}", story)


@EVERY_ONE_THAT_IS_PATCHED_OR_PUT
@side_by_side
async def test_reads_are_stale_after_the_effect(lab: Lab, row: Row) -> None:
    async def story(bench: Bench) -> None:
        await bench.start()
        after_the_effect(bench, lambda: freeze(bench))
        await bench.begin()

    await as_if_nothing_happened(lab, row, "stale reads", story)


@EVERY_ONE_THAT_IS_PATCHED_OR_PUT
@side_by_side
async def test_the_answer_is_lost_and_reads_are_stale(lab: Lab, row: Row) -> None:
    async def story(bench: Bench) -> None:
        await bench.start()
        effect = Call(row.effect_call, 1)
        bench.proxy.faults[effect] = Fault(after=lambda: freeze(bench), cut_after=True)
        await bench.begin()

    await as_if_nothing_happened(lab, row, "lost answer and stale reads", story)


@EVERY_ONE_THAT_GOES_ON
@side_by_side
async def test_a_new_release_between_plan_and_effect_is_never_rolled_over(lab: Lab, row: Row) -> None:
    async def story(bench: Bench) -> None:
        await bench.start()
        before_the_effect(bench, lambda: row.release(lab.admin, bench.namespace, 3))
        await bench.begin()

    outcome = await tell(lab, row, "new release before the effect", story)

    assert (outcome.phase, outcome.reason, outcome.effects) == ("Superseded", "NewerRelease", 0)
    assert '"shop:3"' in str(outcome.world).replace("'", '"')


@EVERY_ONE_THAT_GOES_ON
@side_by_side
async def test_a_new_release_right_after_the_effect_is_told(lab: Lab, row: Row) -> None:
    async def story(bench: Bench) -> None:
        await bench.start()
        after_the_effect(bench, lambda: row.release(lab.admin, bench.namespace, 3, force=True))
        await bench.begin()

    outcome = await tell(lab, row, "new release after the effect", story)

    assert (outcome.phase, outcome.reason, outcome.effects) == ("Failed", "Overtaken", 1)
    assert ("Applied", "True", "Applied") in outcome.conditions


@EVERY_WORKLOAD
@side_by_side
async def test_a_target_made_anew_before_the_effect_is_not_touched(lab: Lab, row: Row) -> None:
    async def story(bench: Bench) -> None:
        await bench.start()
        before_the_effect(bench, lambda: row.recreate(lab.admin, bench.namespace))
        await bench.begin()

    outcome = await tell(lab, row, "recreated before the effect", story)

    assert (outcome.phase, outcome.reason, outcome.effects) == ("Superseded", "TargetRecreated", 0)


@EVERY_WORKLOAD
@side_by_side
async def test_a_target_deleted_before_the_effect(lab: Lab, row: Row) -> None:
    async def story(bench: Bench) -> None:
        await bench.start()
        before_the_effect(bench, lambda: row.delete(lab.admin, bench.namespace))
        await bench.begin()

    outcome = await tell(lab, row, "deleted before the effect", story)

    assert (outcome.phase, outcome.reason, outcome.effects) == ("Failed", "TargetNotFound", 0)


@THE_USUAL
@pytest.mark.parametrize("call", ["PUT rollbackrequests/back/status#1", "PATCH deployments/web#1"])
@side_by_side
async def test_a_request_deleted_midway_makes_at_most_one_effect_and_harms_no_other(
    lab: Lab, row: Row, call: str
) -> None:
    async with lab.bench(row) as bench:
        requests = f"/apis/rollback.dev/v1alpha1/namespaces/{bench.namespace}/rollbackrequests/{REQUEST}"

        answered = asyncio.Event()

        async def delete() -> None:
            await lab.admin.delete(requests)

        async def note() -> None:
            answered.set()

        await bench.start()
        bench.proxy.faults[Call.parse(call)] = Fault(before=delete, after=note)
        await bench.begin()
        async with asyncio.timeout(PATIENCE):
            await answered.wait()
        await bench.ended()
        first = row.effects(bench.audit(), bench.namespace)
        bench.proxy.faults.clear()
        await bench.request(to="1")
        await bench.ended()
        outcome = await bench.outcome()

    judge([Tried(f"request deleted at {call}", outcome, None)])
    # If the first one had its effect, what was revision 1 is current, under another number.
    assert (outcome.phase, outcome.reason) == (("Failed", "RevisionNotFound") if first else ("Succeeded", "Completed"))
    assert outcome.effects == 1


@EVERY_ONE_THAT_IS_PATCHED_OR_PUT
@pytest.mark.parametrize("kill", [False, True], ids=["both live", "one is killed at the effect"])
@side_by_side
async def test_two_operators_at_once(lab: Lab, row: Row, *, kill: bool) -> None:
    async def story(bench: Bench) -> None:
        bench.operators.start()
        await bench.start()
        await lab.admin.until(lambda: watching_twice(bench), "both operators watch")
        if kill:
            before_the_effect(bench, bench.operators.kill_one)
        await bench.begin()

    async def watching_twice(bench: Bench) -> bool:
        # `start` began the numbering anew; a watch that came before counts by its open stream.
        return bench.proxy.watches >= 6

    await as_if_nothing_happened(lab, row, "two operators", story)


@EVERY_WORKLOAD
@side_by_side
async def test_an_abort_while_the_effect_is_late_does_not_deny_it(lab: Lab, row: Row) -> None:
    outcome = await aborted_while_late(lab, row, "")

    judge([Tried("abort while the effect is late", outcome, None)])
    assert outcome.effects == 1
    assert ("Applied", "True", "Applied") in outcome.conditions


async def aborted_while_late(lab: Lab, row: Row, mistake: str) -> Outcome:
    """The effect loses its connection and arrives seconds later; meanwhile a person aborts."""
    async with lab.bench(row, mistake) as bench:
        requests = f"/apis/rollback.dev/v1alpha1/namespaces/{bench.namespace}/rollbackrequests/{REQUEST}"

        async def abort() -> None:
            await lab.admin.merge(requests, {"spec": {"abort": True}})

        await bench.start()
        # Of one that makes no mistake the effect comes while it settles; of the other, when it has said its lie.
        late = Fault(before=abort, late=1.0, not_before=bench.ended) if mistake else Fault(before=abort, late=4.0)
        bench.proxy.faults[Call(row.effect_call, 1)] = late
        await bench.begin()
        await bench.ended()

        async def arrived() -> bool:
            return row.effects(bench.audit(), bench.namespace) == 1

        await lab.admin.until(arrived, "the late effect arrives")
        return await bench.outcome()


@THE_USUAL
@side_by_side
async def test_a_naive_effect_is_caught(lab: Lab, row: Row) -> None:
    effect = Call(row.effect_call, 1)
    async with lab.bench(row, "naive") as bench:
        await bench.start()
        bench.proxy.faults[effect] = Fault(after=bench.operators.kill_and_restart, cut_after=True)
        await bench.begin()
        await bench.ended()
        outcome = await bench.outcome()

    assert outcome.effects == 2, "the sweep did not see that a naive effect is made twice"


@THE_USUAL
@side_by_side
async def test_an_ending_that_does_not_wait_for_a_late_effect_is_caught(lab: Lab, row: Row) -> None:
    outcome = await aborted_while_late(lab, row, "unsettled")

    assert outcome.effects == 1
    assert ("Applied", "False", "Aborted") in outcome.conditions, "the sweep did not see a lie in the status"
