"""A request whose plan is written: its effect may have been made, be under way, or not."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from rollback_operator.api.reasons import Reason
from rollback_operator.api.request import Phase, StepState
from rollback_operator.core import conditions as on
from rollback_operator.core.half import half_of
from rollback_operator.core.life import advance
from rollback_operator.core.life.times import LONGEST_PAUSE, SEND_WITHIN, SETTLE
from rollback_operator.core.values import Apply, Finish, Observation, Refused, Request, Snapshot
from rollback_operator.kube.client import LONGEST_WRITE
from tests.unit.builders import (
    PAUSED,
    REQUEST_UID,
    after,
    changed,
    message,
    rolled_back,
    running,
    snapshot,
    states,
    step_on,
    why,
)

DENIED = Refused(Reason.FORBIDDEN, "Service account shop/rollback may not patch Deployment checkout.")
REJECTED = Refused(Reason.REJECTED, "The API server does not take the change.")


def attempts(asked: Request) -> int:
    (mine,) = asked.status.targets
    (step,) = mine.steps
    return step.attempts


def sent(asked: Request, attempts: int, *, at: float = 0.0) -> Request:
    """The request with its effect sent so often, the last time at that second."""
    (mine,) = asked.status.targets
    (step,) = mine.steps
    step = step.model_copy(update={"attempts": attempts, "last_attempt_at": after(at)})
    status = asked.status.model_copy(update={"targets": (mine.model_copy(update={"steps": (step,)}),)})
    return replace(asked, status=status)


# The effect is there.


def test_the_mark_on_the_target_says_that_the_effect_was_made() -> None:
    decision = advance(running(), Observation(target=rolled_back(generation=4)), after(1.25))
    status = decision.status
    assert (status.phase, why(status)) == (Phase.VERIFYING, Reason.ROLLING_OUT)
    assert message(status) == "Deployment/checkout was set back to revision 2; waiting for its pods."
    assert states(status) == {
        on.PLANNED: "True",
        on.APPLIED: "True",
        on.VERIFIED: "False",
        on.READY: "False",
        on.RECONCILING: "True",
    }
    (mine,) = status.targets
    (step,) = mine.steps
    assert (mine.phase, mine.generation) == (Phase.VERIFYING, 4)
    assert (step.state, step.finished_at) == (StepState.DONE, after(1.25))
    assert step.message == "Revision 3 replaced by 2."
    assert decision.action is None


def test_the_plan_stays_as_it_was_written() -> None:
    asked = running()
    status = advance(asked, Observation(target=rolled_back()), after(1)).status
    assert status.targets[0].plan == asked.status.targets[0].plan


def test_fields_that_the_effect_took_are_given_back() -> None:
    decision = advance(running(), Observation(target=rolled_back(unfinished=True)), after(1))
    assert isinstance(decision.action, Finish)
    assert decision.status.phase is Phase.VERIFYING


STRONGER_THAN: dict[str, tuple[Request, Observation]] = {
    "an abort": (changed(running(), abort=True), Observation(target=rolled_back())),
    "the timeout": (running(), Observation(target=rolled_back())),
    "a later release": (running(), Observation(target=snapshot("a.cbd", generation=5, marks={REQUEST_UID}))),
    "a pause": (running(), Observation(target=rolled_back(obstacle=PAUSED))),
    "a refusal of a later attempt": (running(), Observation(target=rolled_back(), answer=DENIED, answered=1)),
    "another target of the same name": (running(), Observation(target=rolled_back(uid="restored"))),
}


@pytest.mark.parametrize("case", STRONGER_THAN)
def test_an_effect_that_was_made_is_never_denied_for(case: str) -> None:
    asked, seen = STRONGER_THAN[case]
    decision = advance(asked, seen, after(3600))
    assert decision.status.phase is Phase.VERIFYING
    assert states(decision.status)[on.APPLIED] == "True"


def test_a_mark_of_another_request_is_none() -> None:
    decision = advance(running(), Observation(target=snapshot(marks={"somebody-else"})), after(0.1))
    assert decision.status.phase is Phase.RUNNING


# The effect is not there and cannot or must not be made any more.

ENDINGS: dict[str, tuple[Request, Snapshot | None, Refused | None, float, Phase, Reason, str]] = {
    "the target was deleted": (
        running(),
        None,
        None,
        1,
        Phase.FAILED,
        Reason.TARGET_NOT_FOUND,
        "Deployment/checkout was deleted before its rollback was seen on it.",
    ),
    "the target was deleted and created anew": (
        running(),
        snapshot(uid="another"),
        None,
        1,
        Phase.SUPERSEDED,
        Reason.TARGET_RECREATED,
        "was deleted and created anew after the plan was made: the new one was not changed.",
    ),
    "another release came": (
        running(),
        snapshot("abcd"),
        None,
        1,
        Phase.SUPERSEDED,
        Reason.NEWER_RELEASE,
        "Deployment/checkout moved on from revision 3 before it could be rolled back: nothing was changed.",
    ),
    "the same release came under another number": (
        running(),
        snapshot("ab.c"),
        None,
        1,
        Phase.SUPERSEDED,
        Reason.NEWER_RELEASE,
        "moved on from revision 3",
    ),
    "somebody else went back to the planned revision": (
        running(),
        snapshot("a.cb"),
        None,
        1,
        Phase.SUPERSEDED,
        Reason.NEWER_RELEASE,
        "moved on from revision 3",
    ),
    "the planned revision was removed": (
        running(),
        snapshot("a.c"),
        None,
        1,
        Phase.FAILED,
        Reason.REVISION_NOT_FOUND,
        "Revision 2 of Deployment/checkout was removed after the plan was made: nothing was changed.",
    ),
    "the target was paused": (
        running(),
        snapshot(obstacle=PAUSED),
        None,
        1,
        Phase.FAILED,
        Reason.TARGET_PAUSED,
        PAUSED.message,
    ),
    "it was aborted": (
        changed(running(), abort=True),
        snapshot(),
        None,
        1,
        Phase.ABORTED,
        Reason.ABORTED,
        "Aborted before anything was changed.",
    ),
    "the service account may not": (
        running(),
        snapshot(),
        DENIED,
        1,
        Phase.FAILED,
        Reason.FORBIDDEN,
        DENIED.message,
    ),
    "an admission plugin said no": (
        running(),
        snapshot(),
        REJECTED,
        1,
        Phase.FAILED,
        Reason.REJECTED,
        REJECTED.message,
    ),
    "its time is over": (
        sent(running(timeout="1m"), 9, at=59),
        snapshot(),
        None,
        60,
        Phase.FAILED,
        Reason.TIMEOUT,
        "Deployment/checkout was not rolled back within 1m: nothing was changed.",
    ),
}


@pytest.mark.parametrize("case", ENDINGS)
def test_it_ends_at_once_when_every_attempt_was_answered_and(case: str) -> None:
    asked, target, answer, at, phase, reason, says = ENDINGS[case]
    decision = advance(asked, Observation(target=target, answer=answer, answered=attempts(asked)), after(at))
    status = decision.status
    assert (status.phase, why(status)) == (phase, reason)
    assert says in message(status)
    assert (decision.action, decision.again) == (None, None)
    assert states(status) == {on.PLANNED: "True", on.APPLIED: "False", on.READY: "False", on.STALLED: "True"}
    assert message(status, on.STALLED) == message(status)
    assert message(status, on.APPLIED) == "Nothing was changed."
    assert status.targets[0].phase is phase
    assert status.targets[0].plan == asked.status.targets[0].plan
    assert status.finished_at == after(at)
    assert status.started_at == after(0)


@pytest.mark.parametrize("case", ENDINGS)
def test_it_says_nothing_final_while_an_attempt_may_still_arrive_although(case: str) -> None:
    asked, target, answer, at, _, _, says = ENDINGS[case]
    (step,) = asked.status.targets[0].steps
    assert step.last_attempt_at is not None
    seen = Observation(target=target, answer=answer, answered=step.attempts - 1)
    now = step.last_attempt_at + SETTLE - timedelta(seconds=0.5)
    assert now >= after(at)
    decision = advance(asked, seen, now)
    assert decision.status.phase is Phase.RUNNING
    assert why(decision.status) == Reason.SETTLING
    assert says in message(decision.status)
    assert on.find(decision.status.conditions, on.APPLIED) is None
    assert decision.action is None
    assert decision.again == timedelta(seconds=0.5)
    assert advance(step_on(asked, decision), seen, now).status == step_on(asked, decision).status


@pytest.mark.parametrize("case", ENDINGS)
def test_it_ends_when_no_attempt_can_arrive_any_more_and(case: str) -> None:
    asked, target, answer, at, phase, reason, _ = ENDINGS[case]
    status = advance(asked, Observation(target=target, answer=answer), after(at) + SETTLE).status
    assert (status.phase, why(status)) == (phase, reason)


def test_an_effect_that_arrives_while_it_settles_is_seen() -> None:
    asked = changed(running(), abort=True)
    settling = step_on(asked, advance(asked, Observation(target=snapshot()), after(1)))
    assert why(settling.status) == Reason.SETTLING
    decision = advance(settling, Observation(target=rolled_back()), after(3))
    assert decision.status.phase is Phase.VERIFYING


# The effect is not there yet.


def test_another_attempt_is_written_down_before_it_is_sent() -> None:
    asked = running()
    decision = advance(asked, Observation(target=snapshot()), after(0.5))
    assert isinstance(decision.action, Apply)
    assert decision.action.plan == asked.status.targets[0].plan
    (step,) = decision.status.targets[0].steps
    assert (step.attempts, step.last_attempt_at, step.started_at) == (2, after(0.5), after(0))
    assert decision.status != asked.status


PAUSES = {1: 0.2, 2: 0.4, 3: 0.8, 4: 1.6, 5: 3.2, 6: 5.0, 7: 5.0, 60: 5.0, 1000: 5.0}


@pytest.mark.parametrize("made", PAUSES)
def test_attempts_come_ever_more_slowly(made: int) -> None:
    asked = sent(running(timeout="24h"), made)
    pause = timedelta(seconds=PAUSES[made])
    early = advance(asked, Observation(target=snapshot()), after(0.1))
    assert (early.status, early.action) == (asked.status, None)
    assert early.again == pause - timedelta(seconds=0.1)
    due = advance(asked, Observation(target=snapshot()), after(0) + pause)
    assert isinstance(due.action, Apply)
    assert pause <= LONGEST_PAUSE


def test_an_answer_to_the_last_attempt_says_nothing_of_those_before() -> None:
    """`answered` counts attempts that were answered without a gap: one of two is not enough."""
    asked = running()
    twice = step_on(asked, advance(asked, Observation(target=snapshot()), after(1)))
    assert attempts(twice) == 2
    seen = Observation(target=snapshot("abcd"), answered=1)
    assert why(advance(twice, seen, after(2)).status) == Reason.SETTLING
    assert advance(twice, seen, after(1) + SETTLE).status.phase is Phase.SUPERSEDED


def test_no_new_attempt_is_made_after_the_timeout() -> None:
    asked = running(timeout="1s")
    for at in (1, 2, 5, 19):
        decision = advance(asked, Observation(target=snapshot()), after(at))
        assert decision.action is None
        assert decision.status.phase is Phase.RUNNING


def test_an_operator_that_comes_back_late_ends_what_was_not_made() -> None:
    decision = advance(running(timeout="1m"), Observation(target=snapshot()), after(7200))
    assert (decision.status.phase, why(decision.status)) == (Phase.FAILED, Reason.TIMEOUT)
    assert states(decision.status)[on.APPLIED] == "False"
    assert decision.action is None


def test_an_operator_that_comes_back_late_acknowledges_what_was_made() -> None:
    asked = running(timeout="1m")
    decision = advance(asked, Observation(target=rolled_back()), after(7200))
    assert decision.status.phase is Phase.VERIFYING


def test_status_updates_and_scaling_are_no_new_release() -> None:
    decision = advance(running(), Observation(target=snapshot(generation=9)), after(0.5))
    assert isinstance(decision.action, Apply)


def test_a_pause_that_ends_while_it_settles_lets_it_go_on() -> None:
    asked = running()
    settling = step_on(asked, advance(asked, Observation(target=snapshot(obstacle=PAUSED)), after(1)))
    assert why(settling.status) == Reason.SETTLING
    decision = advance(settling, Observation(target=snapshot()), after(2))
    assert isinstance(decision.action, Apply)
    assert why(decision.status) == Reason.APPLYING
    assert message(decision.status) == message(asked.status)


def test_that_it_settles_is_said_once_although_operators_were_refused_in_different_words() -> None:
    asked = running()
    words = [Observation(target=snapshot(), answer=Refused(Reason.REJECTED, one)) for one in ("no", "never")]
    settling = step_on(asked, advance(asked, words[0], after(1)))
    assert why(settling.status) == Reason.SETTLING
    assert advance(settling, words[1], after(2)).status == settling.status


def test_a_step_that_was_not_made_does_not_run_for_ever() -> None:
    status = advance(running(), Observation(target=snapshot("abcd"), answered=1), after(1)).status
    (step,) = status.targets[0].steps
    assert step.state is StepState.NOT_MADE
    assert step.finished_at is None


def test_a_look_that_began_before_an_effect_could_arrive_says_nothing_final() -> None:
    """The answer may be late: what it shows is the world as it was when it was asked."""
    asked = changed(running(), abort=True)
    early, late = after(0) + SETTLE - timedelta(seconds=1), after(0) + SETTLE + timedelta(seconds=9)
    decision = advance(asked, Observation(target=snapshot(), since=early), late)
    assert why(decision.status) == Reason.SETTLING
    assert decision.again == timedelta()
    assert advance(asked, Observation(target=snapshot(), since=late), late).status.phase is Phase.ABORTED


def test_a_plan_of_before_knows_what_failed_over_a_release_by_that_release() -> None:
    seen = snapshot()
    torn = replace(seen, current=replace(seen.current, fingerprint=half_of(seen.current.fingerprint)))

    assert isinstance(advance(running(), Observation(target=torn), after(60)).action, Apply)


def test_settling_lasts_longer_than_any_effect_can_be_under_way() -> None:
    assert timedelta(seconds=LONGEST_WRITE) + SEND_WITHIN + timedelta(seconds=5) <= SETTLE


GONE: dict[str, Snapshot | None] = {"deleted": None, "deleted and created anew": snapshot(uid="another")}


@pytest.mark.parametrize("case", GONE)
def test_what_became_of_an_effect_is_unknown_when_its_target_was(case: str) -> None:
    """Sent without an answer, and the object that would show it is gone."""
    status = advance(running(), Observation(target=GONE[case]), after(0) + SETTLE).status
    assert states(status)[on.APPLIED] == "Unknown"
    assert "nobody can tell" in message(status, on.APPLIED)
    assert status.targets[0].steps[0].state is StepState.UNKNOWN
    assert on.find(status.conditions, on.VERIFIED) is None
