"""An effect that takes its time: made by somebody who is alive, or begun by somebody who is gone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rollback_operator.api.reasons import Reason
from rollback_operator.api.request import Phase
from rollback_operator.core.life import advance
from rollback_operator.core.life.times import MAKING_POLL
from rollback_operator.core.values import (
    Apply,
    Findings,
    Finish,
    Health,
    Observation,
    Obstacle,
    Refused,
    Snapshot,
    Wellbeing,
)
from tests.unit.builders import REQUEST_UID, after, changed, message, request, running, snapshot, step_on, why

MINE = frozenset({REQUEST_UID})
MINUTES = 9999.0


def being_made() -> Snapshot:
    return replace(snapshot("abc"), being_made=MINE, settled=False)


def half_made(**fields: object) -> Snapshot:
    return replace(snapshot("abc"), half_made=MINE, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("seconds", [0.0, 30.0, MINUTES])
def test_while_somebody_makes_it_nothing_else_is_done(seconds: float) -> None:
    asked = running()

    decision = advance(asked, Observation(target=being_made()), after(seconds))

    assert (decision.status, decision.action, decision.again) == (asked.status, None, MAKING_POLL)


def test_an_abort_is_seen_afterwards() -> None:
    asked = changed(running(), abort=True)

    assert advance(asked, Observation(target=being_made()), after(5)).status == asked.status


def test_what_somebody_else_makes_is_not_waited_for_as_if_it_were_ones_own() -> None:
    target = replace(snapshot("abc"), being_made=frozenset({"another"}))

    assert isinstance(advance(running(), Observation(target=target), after(5)).action, Apply)


def test_what_was_half_made_is_made_again_as_an_attempt_that_is_written_down() -> None:
    asked = running()

    decision = advance(asked, Observation(target=half_made()), after(20))

    assert isinstance(decision.action, Apply)
    (step,) = decision.status.targets[0].steps
    assert (step.attempts, step.last_attempt_at) == (2, after(20))


STOPPED = {
    "aborted": ({"abort": True}, None, 20.0),
    "refused": ({}, Refused(Reason.FORBIDDEN, "It may not."), 20.0),
    "out of time": ({}, None, MINUTES),
}


@pytest.mark.parametrize("case", STOPPED)
def test_what_was_half_made_and_may_not_be_made_again_is_finished_and_told_as_made(case: str) -> None:
    """Nobody may say that nothing was changed."""
    fields, answer, seconds = STOPPED[case]
    asked = changed(running(), **fields)

    decision = advance(asked, Observation(target=half_made(), answer=answer), after(seconds))

    assert decision.status.phase is Phase.VERIFYING
    assert isinstance(decision.action, Finish)


def test_a_rollback_that_was_given_up_ends_with_what_is_known() -> None:
    asked = running()
    seen = Observation(target=half_made(), answer=Refused(Reason.FORBIDDEN, "It may not."))
    asked = step_on(asked, advance(asked, seen, after(20)))
    left = snapshot("abcb", generation=4, health=Health(Wellbeing.FAILING, "Helm was interrupted", final=True))

    decision = advance(asked, Observation(target=left), after(21))

    assert (decision.status.phase, why(decision.status)) == (Phase.FAILED, Reason.HALF_APPLIED)
    assert "Helm was interrupted" in message(decision.status)


def test_a_target_that_somebody_works_on_is_waited_for_and_it_is_said_how_long() -> None:
    target = replace(snapshot("abc"), settled=False, waits_for="it is pending-upgrade until 12:14:00 UTC")

    decision = advance(request(), Observation(target=target), after())

    assert why(decision.status) == Reason.WAITING_FOR_CONTROLLER
    assert message(decision.status) == (
        "Waiting until Deployment/checkout can be changed: it is pending-upgrade until 12:14:00 UTC."
    )


def test_a_revision_that_the_target_must_not_go_to_is_an_end() -> None:
    findings = Findings((), "", obstacle=Obstacle(Reason.WOULD_DELETE_CRD, "It would delete tills.example.com."))

    decision = advance(request(), Observation(target=snapshot("abc"), answer=findings), after())

    assert (decision.status.phase, why(decision.status)) == (Phase.FAILED, Reason.WOULD_DELETE_CRD)
    assert message(decision.status) == "It would delete tills.example.com."
    assert decision.action is None
