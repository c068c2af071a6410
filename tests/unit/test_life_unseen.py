"""A request that has begun, and whose target may not be looked at any more."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rollback_operator.api.reasons import Reason
from rollback_operator.api.request import RequestStatus
from rollback_operator.core import conditions as on
from rollback_operator.core.life.times import HEALTH_POLL
from rollback_operator.core.values import Observation, Refused, Request
from tests.unit.builders import after, decide, request, running, verifying

WHY = Refused(Reason.FORBIDDEN, "Service account shop/rollback may not get Application web.")
UNSEEN = Observation(answer=WHY, unseen=True)


def applied(status: RequestStatus) -> str:
    found = on.find(status.conditions, on.APPLIED)
    assert found is not None
    return found.status


@pytest.mark.parametrize("begun", [running, verifying])
def test_it_waits_for_the_rights_to_come_back(begun: Callable[[], Request]) -> None:
    asked = begun()
    decision = decide(asked, UNSEEN, after(1))
    assert decision.status == asked.status
    assert decision.action is None
    assert decision.again == HEALTH_POLL


ENDINGS = [
    pytest.param(
        running,
        "Unknown",
        "may have been set back to revision 2 or not: that cannot be seen",
        id="while it runs nobody can tell any more",
    ),
    pytest.param(
        verifying,
        "True",
        "and stays there; whether it is well cannot be seen",
        id="while it is verified the effect is known",
    ),
]


@pytest.mark.parametrize("begun,effect,words", ENDINGS)
def test_when_its_time_is_over_it_says_what_is_known(begun: Callable[[], Request], effect: str, words: str) -> None:
    decision = decide(begun(), UNSEEN, after(3600))
    ready = on.find(decision.status.conditions, on.READY)
    assert ready is not None
    assert ready.reason == Reason.FORBIDDEN
    assert words in ready.message
    assert WHY.message in ready.message
    assert applied(decision.status) == effect


def test_one_that_has_not_begun_ends_at_once() -> None:
    assert decide(request(), UNSEEN).status.phase == "Failed"
