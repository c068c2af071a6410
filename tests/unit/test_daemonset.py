"""DaemonSets: how far their pods are."""

from __future__ import annotations

import pytest

from rollback_operator.api.request import Phase
from rollback_operator.core.values import Wellbeing
from rollback_operator.targets.daemonset import DaemonSetTarget
from tests.unit.fakes import FakeApi
from tests.unit.objects import Object
from tests.unit.sets import DAEMON_COUNTS, daemon_set, record
from tests.unit.test_controllerrevisions import HERE, a_plan

HISTORY = (record(1), record(2), record(3))


def counts(wanted: int, updated: int, available: int) -> Object:
    return daemon_set("shop:2", status=dict(zip(DAEMON_COUNTS, (wanted, updated, available), strict=True)))


HEALTH: dict[str, tuple[Object, Wellbeing, str]] = {
    "all is well": (counts(3, 3, 3), Wellbeing.HEALTHY, "3 of 3 pods are updated and available"),
    "no node fits": (counts(0, 0, 0), Wellbeing.HEALTHY, "0 of 0 pods are updated and available"),
    "some nodes have an old pod": (counts(3, 1, 3), Wellbeing.PROGRESSING, "1 of 3 pods are updated"),
    "some pods are not available": (counts(3, 3, 2), Wellbeing.PROGRESSING, "2 of 3 pods are available"),
    "nothing is known": (daemon_set("shop:2", nodes=0) | {"status": {}}, Wellbeing.PROGRESSING, "the DaemonSet"),
    "its controller has not looked yet": (
        daemon_set("shop:2", more={"observed": 2}),
        Wellbeing.PROGRESSING,
        "the DaemonSet controller has not seen the change yet",
    ),
}


@pytest.mark.parametrize("case", HEALTH)
@pytest.mark.parametrize("phase", [None, Phase.RUNNING, Phase.VERIFYING])
async def test_its_health_when(case: str, phase: Phase | None) -> None:
    thing, state, says = HEALTH[case]
    seen = await DaemonSetTarget(FakeApi(thing, *HISTORY)).observe(HERE, phase, a_plan("shop:2", "2"))  # type: ignore[arg-type]
    assert seen is not None
    assert seen.health.state is state
    assert seen.health.message.startswith(says)
    assert not seen.freeing
