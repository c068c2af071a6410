"""A request whose effect was seen: it is verified, and nothing more is done to the target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from rollback_operator.api.policy import Verify
from rollback_operator.api.reasons import Reason
from rollback_operator.api.request import Phase, PolicyRef, StepState
from rollback_operator.core import conditions as on
from rollback_operator.core.life import advance
from rollback_operator.core.life.times import FINISH_TRIES, HEALTH_POLL, verify_deadline
from rollback_operator.core.life.verifying import FREEING_TRIES, STOP_TRIES, judged
from rollback_operator.core.values import (
    Apply,
    Finish,
    Health,
    Observation,
    Refused,
    Request,
    Snapshot,
    Stop,
    Wellbeing,
)
from rollback_operator.core.verdicts import Streak, Verdict
from tests.unit.builders import (
    FAILING,
    HEALTHY,
    REQUEST_UID,
    ROLLING,
    after,
    changed,
    message,
    policy,
    rolled_back,
    running,
    said,
    snapshot,
    states,
    step_on,
    verifying,
    why,
)

BROKEN = Refused(Reason.FORBIDDEN, "may not patch")
WELL = rolled_back(health=HEALTHY)


def by_policy(timeout: str, verify: str) -> Request:
    """Being verified since second 1, by a policy that grants `verify`."""
    seen = Observation(policy=policy(verify=Verify(timeout=verify)), target=snapshot())
    asked = running(seen=seen, policy_ref=PolicyRef(name="checkout"), timeout=timeout)
    return step_on(asked, advance(asked, Observation(target=rolled_back()), after(1)))


ENDINGS: dict[str, tuple[Request, Snapshot | None, float, Phase, Reason, str]] = {
    "it is healthy": (
        verifying(),
        WELL,
        2,
        Phase.SUCCEEDED,
        Reason.COMPLETED,
        "Deployment/checkout is back at revision 2: 3 of 3 pods are updated and available.",
    ),
    "it is healthy, although late": (verifying(), WELL, 86_400, Phase.SUCCEEDED, Reason.COMPLETED, "is back at"),
    "it is healthy, although an abort came": (
        changed(verifying(), abort=True),
        WELL,
        2,
        Phase.SUCCEEDED,
        Reason.COMPLETED,
        "is back at",
    ),
    "it was aborted while it rolled out": (
        changed(verifying(), abort=True),
        rolled_back(),
        2,
        Phase.ABORTED,
        Reason.ABORTED,
        "Aborted after Deployment/checkout was set back to revision 2: it stays there, not verified.",
    ),
    "its time is over while it rolls out": (
        verifying(timeout="1m"),
        rolled_back(),
        60,
        Phase.FAILED,
        Reason.TIMEOUT,
        "Deployment/checkout was set back to revision 2, but was not healthy in time: 1 of 3 pods are updated.",
    ),
    "its time is over and its pods fail": (
        verifying(timeout="1m"),
        rolled_back(health=FAILING),
        60,
        Phase.FAILED,
        Reason.UNHEALTHY,
        "not healthy in time: pod checkout-1, container web: CrashLoopBackOff (Error, exit code 1).",
    ),
    "it fails for good before its time is over": (
        verifying(timeout="10m"),
        rolled_back(health=replace(FAILING, final=True)),
        2,
        Phase.FAILED,
        Reason.HALF_APPLIED,
        "Setting Deployment/checkout back to revision 2 failed, perhaps half-way: pod checkout-1",
    ),
    "the policy's time for verification is over": (
        by_policy("10m", "30s"),
        rolled_back(),
        31,
        Phase.FAILED,
        Reason.TIMEOUT,
        "was not healthy in time",
    ),
    "its time was over before the operator came back": (
        verifying(timeout="1m"),
        rolled_back(health=FAILING),
        86_400,
        Phase.FAILED,
        Reason.UNHEALTHY,
        "not healthy in time",
    ),
    "the target was deleted": (
        verifying(),
        None,
        2,
        Phase.FAILED,
        Reason.TARGET_NOT_FOUND,
        "Deployment/checkout was deleted after the rollback to revision 2, before it was verified.",
    ),
    "the target was deleted and created anew": (
        verifying(),
        snapshot(uid="another", generation=1),
        2,
        Phase.FAILED,
        Reason.OVERTAKEN,
        "was deleted and created anew after the rollback to revision 2",
    ),
    "somebody put the bad version back": (
        verifying(),
        snapshot("a..bc", generation=5, marks={REQUEST_UID}),
        2,
        Phase.FAILED,
        Reason.REVERTED,
        "Someone put the version of revision 3 back after the rollback to revision 2. Find who releases it",
    ),
    "another release came": (
        verifying(),
        snapshot("a.cbd", generation=5, marks={REQUEST_UID}),
        2,
        Phase.FAILED,
        Reason.OVERTAKEN,
        "Another release of Deployment/checkout came after the rollback to revision 2, before it was verified.",
    ),
    "somebody put the bad version back, and it was aborted too": (
        changed(verifying(), abort=True),
        snapshot("a..bc", generation=5),
        2,
        Phase.FAILED,
        Reason.REVERTED,
        "Someone put the version of revision 3 back",
    ),
}


@pytest.mark.parametrize("case", ENDINGS)
def test_it_ends_when(case: str) -> None:
    asked, target, at, phase, reason, says = ENDINGS[case]
    decision = advance(asked, Observation(target=target), after(at))
    status = decision.status
    assert (status.phase, why(status)) == (phase, reason)
    assert says in message(status)
    assert (decision.action, decision.again) == (None, None)
    good = "True" if phase is Phase.SUCCEEDED else "False"
    expected = {on.PLANNED: "True", on.APPLIED: "True", on.VERIFIED: good, on.READY: good}
    assert states(status) == (expected if phase is Phase.SUCCEEDED else {**expected, on.STALLED: "True"})
    assert message(status, on.VERIFIED) == message(status)
    assert message(status, on.APPLIED) == "Deployment/checkout was set back to revision 2."
    (mine,) = status.targets
    assert mine.phase is phase
    assert mine.steps[0].state is StepState.DONE
    assert (status.started_at, status.finished_at) == (after(0), after(at))


GOES_ON: dict[str, tuple[Request, Snapshot, float, timedelta]] = {
    "it rolls out": (verifying(), rolled_back(), 2, HEALTH_POLL),
    "its controller has not seen the change yet": (verifying(), rolled_back(settled=False), 2, HEALTH_POLL),
    "it was scaled meanwhile": (verifying(), rolled_back(generation=7), 2, HEALTH_POLL),
    "its mark was removed": (verifying(), rolled_back(marks=()), 2, HEALTH_POLL),
    "the same release was restarted": (verifying(), snapshot("a.cbb", generation=6, health=ROLLING), 2, HEALTH_POLL),
    "little time is left": (verifying(timeout="1m"), rolled_back(), 58, timedelta(seconds=2)),
    "little of the policy's time is left": (by_policy("10m", "30s"), rolled_back(), 30, timedelta(seconds=1)),
    "the policy grants more than the request": (by_policy("20s", "10m"), rolled_back(), 19, timedelta(seconds=1)),
    "the reading is older than the effect": (verifying(), snapshot(generation=3), 2, timedelta(seconds=1)),
}


@pytest.mark.parametrize("case", GOES_ON)
def test_it_waits_without_a_write_while(case: str) -> None:
    asked, target, at, again = GOES_ON[case]
    decision = advance(asked, Observation(target=target), after(at))
    assert (decision.status, decision.action) == (asked.status, None)
    assert decision.again == again


def test_what_counts_backwards_for_ever_is_no_reading_of_before() -> None:
    """Somebody deleted the newest record of a release by hand."""
    lower = Observation(target=snapshot("abc", generation=3, health=HEALTHY))

    ended = advance(verifying(), lower, after(86_400))

    assert (ended.status.phase, why(ended.status)) == (Phase.FAILED, Reason.REVERTED)


def test_a_stale_reading_is_neither_a_revert_nor_health() -> None:
    """The target as it was before the effect: healthy, and at the bad revision."""
    stale = snapshot(generation=3, health=HEALTHY)
    assert advance(verifying(), Observation(target=stale), after(2)).status.phase is Phase.VERIFYING


def test_no_effect_is_made_a_second_time_whatever_is_seen() -> None:
    for _, target, at, *_ in ENDINGS.values():
        assert not isinstance(advance(verifying(), Observation(target=target), after(at)).action, Apply)


# Failing pods.


def test_failing_pods_are_told_once() -> None:
    asked = verifying()
    first = advance(asked, Observation(target=rolled_back(health=FAILING)), after(5))
    assert (first.status.phase, why(first.status)) == (Phase.VERIFYING, Reason.PODS_FAILING)
    assert message(first.status) == (
        "Deployment/checkout at revision 2: pod checkout-1, container web: CrashLoopBackOff (Error, exit code 1)."
    )
    assert message(first.status, on.VERIFIED) == message(first.status)
    assert first.again == HEALTH_POLL
    told = step_on(asked, first)
    in_other_words = replace(FAILING, message="pod checkout-2, container web: CrashLoopBackOff (restarted 2 times)")
    for health in (FAILING, ROLLING, in_other_words):
        assert advance(told, Observation(target=rolled_back(health=health)), after(15)).status == told.status


def test_pods_that_failed_at_first_may_come_up_after_all() -> None:
    asked = verifying()
    failing = step_on(asked, advance(asked, Observation(target=rolled_back(health=FAILING)), after(5)))
    status = advance(failing, Observation(target=WELL), after(20)).status
    assert (status.phase, why(status)) == (Phase.SUCCEEDED, Reason.COMPLETED)
    assert on.find(status.conditions, on.STALLED) is None


# Triggers that have to be well again.

WELL_AGAIN = {"errors": said(Verdict.HEALTHY, 2), "probe": said(Verdict.HEALTHY, 3)}
"""Both were asked after the effect, which was seen at second 1."""
BAD = said(Verdict.BREACH, 3, "7% > 5%")


def by_triggers(*names: str, **fields: Any) -> Request:
    """Being verified since second 1, by these triggers too."""
    seen = Observation(policy=policy(verify=Verify(timeout="1m", triggers=names)), target=snapshot())
    asked = running(seen=seen, policy_ref=PolicyRef(name="checkout"), **fields)
    return step_on(asked, advance(asked, Observation(target=rolled_back()), after(1)))


def seen_with(streaks: Mapping[str, Streak], health: Health = HEALTHY) -> Observation:
    return Observation(target=rolled_back(health=health), streaks=streaks)


JUDGED: dict[str, tuple[Mapping[str, Streak], Wellbeing, str]] = {
    "all are Healthy": (WELL_AGAIN, Wellbeing.HEALTHY, ", and errors, probe are Healthy"),
    "one was only asked before the effect": (
        {**WELL_AGAIN, "probe": said(Verdict.HEALTHY, 0.5)},
        Wellbeing.PROGRESSING,
        "; probe did not say Healthy yet",
    ),
    "one was asked in the moment of the effect": (
        {**WELL_AGAIN, "probe": said(Verdict.HEALTHY, 1)},
        Wellbeing.PROGRESSING,
        "; probe did not say Healthy yet",
    ),
    "one gave no answer": (
        {**WELL_AGAIN, "errors": said(Verdict.UNKNOWN, 2, "connection refused")},
        Wellbeing.PROGRESSING,
        "; errors did not say Healthy yet",
    ),
    "none was asked": ({}, Wellbeing.PROGRESSING, "; errors, probe did not say Healthy yet"),
    "one was in Breach before the effect": (
        {**WELL_AGAIN, "errors": said(Verdict.BREACH, 0.5)},
        Wellbeing.PROGRESSING,
        "; errors did not say Healthy yet",
    ),
    "one is in Breach": ({**WELL_AGAIN, "errors": BAD}, Wellbeing.FAILING, ", but errors is still in Breach: 7% > 5%"),
    "one is in Breach, and one gave no answer": (
        {"errors": BAD},
        Wellbeing.FAILING,
        ", but errors is still in Breach: 7% > 5%",
    ),
    "both are in Breach": (
        {"errors": BAD, "probe": said(Verdict.BREACH, 2, "503")},
        Wellbeing.FAILING,
        ", but errors is still in Breach: 7% > 5%; probe is still in Breach: 503",
    ),
    "one that does not matter is in Breach": (
        {**WELL_AGAIN, "memory": BAD},
        Wellbeing.HEALTHY,
        ", and errors, probe are Healthy",
    ),
}


@pytest.mark.parametrize("case", JUDGED)
def test_it_is_judged_by_triggers_when(case: str) -> None:
    streaks, state, words = JUDGED[case]
    (mine,) = by_triggers("errors", "probe").status.targets
    assert mine.plan is not None
    assert judged(HEALTHY, mine.plan, after(1), streaks) == Health(state, HEALTHY.message + words)
    for health in (ROLLING, FAILING):
        assert judged(health, mine.plan, after(1), streaks) == health
    (without,) = verifying().status.targets
    assert without.plan is not None
    assert judged(HEALTHY, without.plan, after(1), streaks) == HEALTHY


def test_it_succeeds_once_its_triggers_are_healthy_again() -> None:
    asked = by_triggers("errors")
    decision = advance(asked, seen_with({"errors": said(Verdict.HEALTHY, 2)}), after(3))
    assert (decision.status.phase, why(decision.status)) == (Phase.SUCCEEDED, Reason.COMPLETED)
    assert message(decision.status) == (
        "Deployment/checkout is back at revision 2: 3 of 3 pods are updated and available, and errors is Healthy."
    )


def test_a_trigger_in_breach_is_told_once_and_names_itself_when_the_time_is_over() -> None:
    asked = by_triggers("errors")
    first = advance(asked, seen_with({"errors": BAD}), after(3))
    assert (first.status.phase, why(first.status)) == (Phase.VERIFYING, Reason.NOT_YET_WELL)
    assert message(first.status) == (
        "Deployment/checkout at revision 2: 3 of 3 pods are updated and available, "
        "but errors is still in Breach: 7% > 5%."
    )
    assert message(first.status, on.VERIFIED) == message(first.status)
    assert (first.action, first.again) == (None, HEALTH_POLL)
    told = step_on(asked, first)
    in_other_words = {"errors": said(Verdict.BREACH, 30, "9% > 5%")}
    assert advance(told, seen_with(in_other_words), after(30)).status == told.status
    late = advance(told, seen_with(in_other_words), after(61)).status
    assert (late.phase, why(late)) == (Phase.FAILED, Reason.UNHEALTHY)
    assert "but errors is still in Breach: 9% > 5%. It stays there." in message(late)
    well = advance(told, seen_with({"errors": said(Verdict.HEALTHY, 30)}), after(31)).status
    assert (well.phase, why(well)) == (Phase.SUCCEEDED, Reason.COMPLETED)


@pytest.mark.parametrize("streaks", [{}, {"errors": said(Verdict.UNKNOWN, 50)}], ids=["not asked", "no answer"])
def test_a_trigger_that_says_nothing_is_waited_for_and_accuses_nobody(streaks: Mapping[str, Streak]) -> None:
    asked = by_triggers("errors")
    decision = advance(asked, seen_with(streaks), after(60))
    assert (decision.status, decision.action, decision.again) == (asked.status, None, timedelta(seconds=1))
    late = advance(asked, seen_with(streaks), after(61)).status
    assert (late.phase, why(late)) == (Phase.FAILED, Reason.NOT_VERIFIED)
    assert "3 of 3 pods are updated and available; errors did not say Healthy yet." in message(late)


def test_failing_pods_are_told_although_a_trigger_was_told_before() -> None:
    told = step_on(by_triggers("errors"), advance(by_triggers("errors"), seen_with({"errors": BAD}), after(3)))
    status = advance(told, seen_with({"errors": BAD}, FAILING), after(10)).status
    assert why(status) == Reason.PODS_FAILING
    assert message(status) == f"Deployment/checkout at revision 2: {FAILING.message}."


def test_an_abort_does_not_wait_for_triggers() -> None:
    asked = changed(by_triggers("errors"), abort=True)
    for streaks in ({}, {"errors": BAD}):
        status = advance(asked, seen_with(streaks), after(3)).status
        assert (status.phase, why(status)) == (Phase.ABORTED, Reason.ABORTED)


# Deadlines.

DEADLINES: dict[str, tuple[Request, float]] = {
    "the request's timeout counts from its start": (verifying(at=30, timeout="1m"), 60),
    "the policy's time counts from the effect": (by_policy("10m", "30s"), 31),
    "whichever comes first": (by_policy("20s", "10m"), 20),
}


@pytest.mark.parametrize("case", DEADLINES)
def test_a_deadline(case: str) -> None:
    asked, seconds = DEADLINES[case]
    assert verify_deadline(asked) == after(seconds)
    assert advance(asked, Observation(target=rolled_back()), after(seconds - 0.001)).status == asked.status
    assert advance(asked, Observation(target=rolled_back()), after(seconds)).status.phase is Phase.FAILED


# Giving fields back.


def test_fields_are_given_back_before_it_succeeds() -> None:
    seen = Observation(target=rolled_back(health=HEALTHY, unfinished=True))
    decision = advance(verifying(), seen, after(2))
    assert isinstance(decision.action, Finish)
    assert decision.status == verifying().status


HOLDING: dict[str, Snapshot] = {
    "healthy": rolled_back(health=HEALTHY, unfinished=True),
    "rolling out": rolled_back(unfinished=True),
    "failing": rolled_back(health=FAILING, unfinished=True),
    "reverted": snapshot("a..bc", generation=5, unfinished=True),
    "overtaken": snapshot("a.cbd", generation=5, unfinished=True),
}


@pytest.mark.parametrize("case", HOLDING)
@pytest.mark.parametrize("asked", [verifying(timeout="1m"), changed(verifying(timeout="1m"), abort=True)])
@pytest.mark.parametrize("at", [2, 60, 7200])
def test_whatever_comes_fields_are_given_back_first(asked: Request, at: float, case: str) -> None:
    """Another's release must not run into what the operator still holds; late is better than never."""
    decision = advance(asked, Observation(target=HOLDING[case]), after(at))
    assert isinstance(decision.action, Finish)
    assert decision.status.phase is Phase.VERIFYING


@pytest.mark.parametrize("case", HOLDING)
def test_a_refused_give_back_keeps_nothing_from_ending(case: str) -> None:
    """A refusal that may pass is tried again a few times: the next release must not run into what is held."""
    refused = Observation(target=HOLDING[case], answer=BROKEN)
    free = advance(verifying(), Observation(target=replace(HOLDING[case], unfinished=False)), after(2))
    for tries in range(FINISH_TRIES):
        decision = advance(verifying(), replace(refused, kept=tries), after(2))
        assert isinstance(decision.action, Finish)
        assert decision.status.phase is Phase.VERIFYING
    assert advance(verifying(), replace(refused, kept=FINISH_TRIES), after(2)) == free


@pytest.mark.parametrize("case", HOLDING)
def test_a_give_back_that_fails_for_ever_keeps_nothing_from_ending(case: str) -> None:
    asked = verifying(timeout="1m")
    free = advance(asked, Observation(target=replace(HOLDING[case], unfinished=False)), after(60))
    for tries in range(FINISH_TRIES):
        seen = Observation(target=HOLDING[case], kept=tries)
        assert isinstance(advance(asked, seen, after(60)).action, Finish)
    seen = Observation(target=HOLDING[case], kept=FINISH_TRIES)
    assert advance(asked, seen, after(60)) == free
    assert free.status.phase is not None
    assert free.status.phase.final


def test_a_give_back_that_fails_keeps_nothing_from_being_told() -> None:
    decision = advance(verifying(), Observation(target=HOLDING["failing"], kept=99), after(2))
    assert why(decision.status) == Reason.PODS_FAILING
    assert isinstance(decision.action, Finish)


def test_a_target_that_was_created_anew_has_nothing_of_ours_to_give_back() -> None:
    decision = advance(verifying(), Observation(target=snapshot(uid="another", unfinished=True)), after(2))
    assert (decision.status.phase, decision.action) == (Phase.FAILED, None)


# Pods that hold the rollout up.

FREEING = {
    "rolling out": replace(HOLDING["rolling out"], freeing=True),
    "failing": replace(HOLDING["failing"], freeing=True),
}


@pytest.mark.parametrize("case", FREEING)
@pytest.mark.parametrize("tries", [0, 2, 99])
def test_pods_that_hold_it_up_are_dealt_with_again_and_again(case: str, tries: int) -> None:
    decision = advance(verifying(), Observation(target=FREEING[case], kept=tries), after(2))
    assert isinstance(decision.action, Finish)
    assert decision.status.phase is Phase.VERIFYING


@pytest.mark.parametrize("case", FREEING)
@pytest.mark.parametrize("asked, at", [(verifying(timeout="1m"), 60), (changed(verifying(), abort=True), 2)])
def test_pods_are_left_alone_once_the_request_ends(asked: Request, at: float, case: str) -> None:
    decision = advance(asked, Observation(target=FREEING[case]), after(at))
    assert decision.action is None
    assert decision.status.phase in (Phase.FAILED, Phase.ABORTED)


def test_that_they_could_not_be_dealt_with_is_told_at_once_and_at_the_end() -> None:
    asked, seen = verifying(timeout="1m"), Observation(target=FREEING["rolling out"], answer=BROKEN)
    decision = advance(asked, seen, after(2))
    assert why(decision.status) == Reason.PODS_FAILING
    assert isinstance(decision.action, Finish), "a refusal may pass"
    ended = advance(asked, seen, after(60))
    assert (ended.status.phase, why(ended.status)) == (Phase.FAILED, Reason.UNHEALTHY)
    for status in (decision.status, ended.status):
        ready = next(one for one in status.conditions if one.type == "Ready")
        assert BROKEN.message in ready.message


def holding_up(case: str, tries: int) -> Observation:
    """Pods are in the way, and wait until fields are given back, which is refused."""
    return Observation(target=replace(HOLDING[case], obstructed=True), answer=BROKEN, kept=tries)


@pytest.mark.parametrize("case", FREEING)
def test_pods_need_not_wait_for_a_give_back_that_is_refused_for_good(case: str) -> None:
    for tries in range(FINISH_TRIES + FREEING_TRIES):
        decision = advance(verifying(), holding_up(case, tries), after(2))
        assert isinstance(decision.action, Finish)
        assert decision.action.freeing == (tries >= FINISH_TRIES)
    decision = advance(verifying(), holding_up(case, FINISH_TRIES + FREEING_TRIES), after(2))
    assert (decision.action, why(decision.status)) == (None, Reason.PODS_FAILING)
    assert BROKEN.message in message(decision.status)


@pytest.mark.parametrize("case", FREEING)
@pytest.mark.parametrize("tries", [0, FINISH_TRIES, 99])
@pytest.mark.parametrize("asked, at", [(verifying(timeout="1m"), 60), (changed(verifying(), abort=True), 2)])
def test_a_request_that_ends_deals_with_no_pods_for_want_of_a_give_back(
    asked: Request, at: float, tries: int, case: str
) -> None:
    decision = advance(asked, holding_up(case, tries), after(at))
    assert not (isinstance(decision.action, Finish) and decision.action.freeing)
    assert (decision.action is None) is (tries >= FINISH_TRIES)
    assert (decision.status.phase in (Phase.FAILED, Phase.ABORTED)) is (tries >= FINISH_TRIES)


# Calling off what others still carry out.


BUSY = Health(Wellbeing.PROGRESSING, "Argo CD: Sync operation blocked by sync window")


def under_way(**fields: Any) -> Snapshot:
    return replace(rolled_back(**{"health": BUSY, **fields}), under_way=True)


def test_at_the_deadline_the_effect_is_called_off_before_the_end() -> None:
    asked = verifying(timeout="1m")
    decision = advance(asked, Observation(target=under_way()), after(60))
    assert isinstance(decision.action, Stop)
    assert decision.status == asked.status


def test_before_the_deadline_it_goes_on() -> None:
    decision = advance(verifying(timeout="1m"), Observation(target=under_way()), after(59))
    assert decision.action is None
    assert decision.status.phase is Phase.VERIFYING


def test_an_abort_calls_it_off_too() -> None:
    asked = changed(verifying(), abort=True)
    assert isinstance(advance(asked, Observation(target=under_way()), after(5)).action, Stop)
    over = advance(asked, Observation(target=replace(under_way(), under_way=False)), after(6))
    assert over.status.phase is Phase.ABORTED


CALLED_OFF: dict[str, Snapshot] = {
    "it is being ended": replace(under_way(), under_way=False),
    "it has ended": rolled_back(health=Health(Wellbeing.FAILING, "Operation terminated", final=True)),
}


@pytest.mark.parametrize("case", CALLED_OFF)
def test_what_was_called_off_ends_as_not_in_time(case: str) -> None:
    seen = Observation(target=CALLED_OFF[case], stopped=1)
    decision = advance(verifying(timeout="1m"), seen, after(61))
    assert why(decision.status) == Reason.TIMEOUT
    assert decision.action is None


def test_what_cannot_be_called_off_keeps_nothing_from_ending() -> None:
    asked = verifying(timeout="1m")
    for tries in range(STOP_TRIES):
        seen = Observation(target=under_way(), stopped=tries)
        assert isinstance(advance(asked, seen, after(60)).action, Stop)
    decision = advance(asked, Observation(target=under_way(), stopped=STOP_TRIES), after(60))
    assert why(decision.status) == Reason.TIMEOUT


LOOKS = {"Deployment/checkout": "Look at these pods", "Application/argocd/web": "Look at it in Argo CD"}


@pytest.mark.parametrize("target", LOOKS)
def test_it_says_where_to_look(target: str) -> None:
    asked = verifying(timeout="1m")
    (mine,) = asked.status.targets
    status = asked.status.model_copy(update={"targets": (mine.model_copy(update={"target": target}),)})
    seen = Observation(target=rolled_back(health=FAILING))
    assert LOOKS[target] in message(advance(replace(asked, status=status), seen, after(60)).status)
