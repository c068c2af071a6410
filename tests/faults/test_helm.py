"""The platform stands still while Helm is at work: the rollback is made again, and leaves nothing behind."""

from __future__ import annotations

import asyncio

from rollback_operator.targets.helm.door import LEASE
from tests.faults.calls import Call
from tests.faults.conftest import judge
from tests.faults.helm import RELEASES
from tests.faults.proxy import Fault
from tests.faults.run import Bench, Lab, Outcome
from tests.faults.sweep import Tried, tried, undisturbed
from tests.faults.together import side_by_side

(ROW,) = RELEASES
STILL = LEASE + 2
"""Seconds: long enough that an operator may not go on, because another may take it for dead."""


@side_by_side
async def test_a_platform_that_stands_still_leaves_nothing_behind(lab: Lab) -> None:
    expected = await undisturbed(lab, ROW)
    calls = [call for call in dict.fromkeys(expected.journal) if call.name in ROW.own_calls]
    assert len(calls) > len(ROW.own_calls), "the copy and the record are two Secrets"

    judge(await asyncio.gather(*(_still(lab, call, expected) for call in calls)))


async def _still(lab: Lab, call: Call, expected: Outcome) -> Tried:
    """A run in which no call is answered for a while, from `call` on; those still waited for arrive in the end."""

    def fault(bench: Bench) -> Fault:
        return Fault(before=lambda: bench.proxy.stand_still(STILL))

    return await tried(lab, ROW, f"standing still from {call}", call, fault, expected=expected)
