"""The status of a policy: written when something is new, and never for figures."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollback_operator.api.common import Condition
from rollback_operator.api.policy import (
    CurrentRevision,
    LastRequest,
    Mode,
    PolicySpec,
    PolicyStatus,
    Proof,
    TriggerStatus,
)
from rollback_operator.api.reasons import Reason
from rollback_operator.api.remember import Remember
from rollback_operator.api.trigger import Trigger
from rollback_operator.core import conditions as on
from rollback_operator.core.judge import Scene
from rollback_operator.core.standing import Findings, current_of, needs_a_look, status_of
from rollback_operator.core.verdicts import Streak, Verdict
from tests.unit.builders import CHECKOUT_UID, NOW, after, called, entry, fingerprint, policy, snapshot

BREACH, UNKNOWN, HEALTHY = Verdict.BREACH, Verdict.UNKNOWN, Verdict.HEALTHY
RIGHTS = (Reason.MAY_NOT_ROLL_BACK, "Service account shop/rollback may not patch.")


def trigger(name: str = "errors", **fields: Any) -> Trigger:
    return Trigger.model_validate({"name": name, "prometheus": {"query": "q"}, "when": "> 5%", **fields})


def orders(*triggers: Trigger, **fields: Any) -> PolicySpec:
    return policy(triggers=triggers or (trigger(),), **fields)


def runs(letter: str = "c", number: str = "3", *, since: float = -600) -> CurrentRevision:
    return CurrentRevision(uid=CHECKOUT_UID, revision=number, fingerprint=fingerprint(letter), since=after(since))


def says(verdict: Verdict, at: float = 0.0, words: str = "7% of requests", **fields: Any) -> Streak:
    moment = after(at).timestamp()
    known = {"value": "7%", "at": moment, "count": int(verdict is BREACH), "began": moment, **fields}
    return Streak(verdict, NOW.timestamp(), message=words, **known)


def scene(verdict: Verdict = HEALTHY, at: float = 0.0, words: str = "7% of requests", **fields: Any) -> Scene:
    known = {"current": runs(), "streaks": {"errors": says(verdict, at, words)}, **fields}
    return Scene("checkout", "uid-of-policy", **known)


def look(
    before: PolicyStatus | None = None,
    seen: Scene | None = None,
    at: float = 0.0,
    spec: PolicySpec | None = None,
    **found: Any,
) -> PolicyStatus:
    findings = Findings(**{"generation": 1, **found})
    return status_of(spec or orders(), before or PolicyStatus(), seen or scene(), findings, after(at))


def condition(status: PolicyStatus, kind: str) -> Condition:
    found = on.find(status.conditions, kind)
    assert found is not None
    return found


def told(status: PolicyStatus) -> dict[str, tuple[str, str]]:
    return {one.type: (one.status, one.reason) for one in status.conditions}


def the_trigger(status: PolicyStatus) -> TriggerStatus:
    (found,) = status.triggers
    return found


# What is said.


def test_all_is_well() -> None:
    status = look()
    assert told(status) == {
        "Ready": ("True", "Evaluating"),
        "Armed": ("True", "Armed"),
        "Alert": ("False", "NothingWrong"),
    }
    assert (status.target, status.verdict, status.observed_generation) == ("Deployment/checkout", "Healthy", 1)
    assert status.current == runs()
    assert the_trigger(status) == TriggerStatus(
        name="errors", verdict="Healthy", value="7%", since=NOW, message="7% of requests"
    )


def test_what_people_should_know_is_told() -> None:
    status = look(
        disarmed=RIGHTS, alert=(Reason.BREAKER_OPEN, "No more."), trouble=(Reason.INVALID_TRIGGER, "parse error")
    )
    assert told(status) == {
        "Ready": ("False", "InvalidTrigger"),
        "Armed": ("False", "MayNotRollBack"),
        "Alert": ("True", "BreakerOpen"),
    }
    assert condition(status, "Armed").message == RIGHTS[1]
    assert condition(status, "Alert").observed_generation == 1


def test_what_was_taken_back_is_no_alert_and_told() -> None:
    status = look(alert=(Reason.NOTHING_WRONG, "undo is taken back."))
    assert (told(status)["Alert"], condition(status, "Alert").message) == (
        ("False", "NothingWrong"),
        "undo is taken back.",
    )


NOT_ASKED: dict[str, tuple[PolicySpec, dict[str, Any], tuple[str, str]]] = {
    "it is suspended": (orders(mode=Mode.SUSPEND), {"asked": False}, ("True", "Suspended")),
    "it has no triggers": (policy(), {"asked": False}, ("True", "Accepted")),
    "another has its target": (
        orders(),
        {"asked": False, "trouble": (Reason.TARGET_TAKEN, "second has it.")},
        ("False", "TargetTaken"),
    ),
}


@pytest.mark.parametrize("spec", [orders(mode=Mode.SUSPEND), policy()], ids=["it is suspended", "it has no triggers"])
def test_it_says_that_nothing_is_remembered_when(spec: PolicySpec) -> None:
    remembers = spec.model_copy(update={"remember": Remember(config=True)})
    says = "Nothing is remembered either: that takes triggers that are asked."
    assert condition(look(spec=remembers, asked=False), "Ready").message.endswith(says)
    assert says not in condition(look(spec=spec, asked=False), "Ready").message


@pytest.mark.parametrize("case", NOT_ASKED)
def test_nothing_is_made_up_when(case: str) -> None:
    spec, found, ready = NOT_ASKED[case]
    before = look(alert=(Reason.FIRING, "It fires."), disarmed=RIGHTS, seen=scene(BREACH))
    status = look(before, scene(BREACH), 60, spec, **found)
    assert told(status) == {"Ready": ready}
    assert (status.verdict, status.triggers) == (None, ())
    assert status.current == runs(), "what runs is remembered"


def test_a_trigger_that_was_not_asked_is_unknown_from_now_on() -> None:
    status = look(seen=scene(streaks={}))
    assert the_trigger(status) == TriggerStatus(name="errors", verdict="Unknown", since=NOW)


def test_the_first_answer_that_did_not_come_says_why() -> None:
    status = look(look(seen=scene(streaks={})), scene(UNKNOWN, 30, "nobody answers"), 30)
    assert the_trigger(status).message == "nobody answers"


def test_what_a_trigger_said_is_known_until_it_is_asked_again() -> None:
    """After a restart, and when another release came: its newest answer is its newest answer."""
    before = look(seen=scene(BREACH, excused=frozenset({"errors"})))
    assert look(before, scene(streaks={}, excused=frozenset({"errors"})), 60) is before


def test_of_another_release_it_does_not_say_that_it_fires() -> None:
    before = look(seen=scene(BREACH))
    assert the_trigger(before).firing
    for excused in (frozenset[str](), frozenset({"errors"})):
        fresh = scene(streaks={}, current=runs("d", "4"), excused=excused)
        status = look(before, fresh, 60)
        one = the_trigger(status)
        assert (one.verdict, one.firing, one.excused) == ("Breach", False, bool(excused))
        assert look(status, fresh, 90) is status
        assert not needs_a_look(orders(), status, fresh)


def test_of_other_orders_what_was_said_says_nothing() -> None:
    before = look(seen=scene(BREACH))
    assert the_trigger(look(before, scene(streaks={}), 60, generation=2)).verdict == "Unknown"


LAST: dict[str, tuple[tuple[Any, ...], tuple[Any, ...], tuple[str, str] | None]] = {
    "nothing": ((), (), None),
    "the newest": ((entry("a"), entry("b", at=-60)), (), ("2", "b")),
    "what is not bad": ((entry("a"), entry("b", Proof.BAD, at=-60)), (), ("1", "a")),
    "what people call good, whatever its number": ((entry("a"),), (called("j", Proof.GOOD),), ("?", "j")),
    "what people do not call bad": ((entry("a"), entry("b", at=-60)), (called("b", Proof.BAD),), ("1", "a")),
}


@pytest.mark.parametrize("case", LAST)
def test_the_last_known_good_is(case: str) -> None:
    entries, corrections, expected = LAST[case]
    good = look(seen=scene(entries=entries), spec=orders(ledger=corrections)).last_known_good
    assert (good and (good.revision, good.fingerprint)) == (expected and (expected[0], fingerprint(expected[1])))


def test_the_last_request_is_remembered() -> None:
    made = LastRequest(name="checkout-1", at=NOW)
    status = look(last_request=made)
    assert status.last_request == made
    assert look(status, at=60).last_request == made


# What is written.


ALERT = (Reason.WOULD_ROLL_BACK, "errors: 7% of requests.")

SAME: dict[str, tuple[Scene, dict[str, Any]]] = {
    "nothing": (scene(BREACH), {}),
    "figures": (scene(BREACH, 60, "9% of requests"), {"alert": (ALERT[0], "errors: 9% of requests.")}),
    "a longer time": (
        scene(streaks={"errors": replace(says(BREACH, 60), breached=60.0, count=9)}),
        {"alert": (ALERT[0], "errors: 7% of requests for 1m.")},
    ),
}


def firing() -> PolicyStatus:
    return look(seen=scene(BREACH), alert=ALERT)


@pytest.mark.parametrize("case", SAME)
def test_nothing_is_written_when_only_this_changes(case: str) -> None:
    seen, found = SAME[case]
    before = firing()
    assert look(before, seen, 60, **{"alert": ALERT, **found}) is before


OTHER: dict[str, tuple[Scene, dict[str, Any]]] = {
    "the verdict": (scene(HEALTHY, 60), {}),
    "nobody answers": (scene(UNKNOWN, 60), {}),
    "it does not fire any more": (scene(streaks={"errors": replace(says(BREACH, 60), count=0)}), {}),
    "it is excused": (scene(BREACH, 60, excused=frozenset({"errors"})), {}),
    "the alert": (scene(BREACH, 60), {"alert": (Reason.BREAKER_OPEN, "No more.")}),
    "the alert is over": (scene(BREACH, 60), {"alert": None}),
    "it is disarmed": (scene(BREACH, 60), {"disarmed": RIGHTS}),
    "it is in trouble": (scene(BREACH, 60), {"trouble": (Reason.INVALID_TRIGGER, "parse error")}),
    "the release": (scene(BREACH, 60, current=runs("d", "4")), {}),
    "its number": (scene(BREACH, 60, current=runs("c", "4")), {}),
    "the target is gone": (scene(BREACH, 60, current=None), {}),
    "the ledger": (scene(BREACH, 60, entries=(entry("a"),)), {}),
    "a request": (scene(BREACH, 60), {"last_request": LastRequest(name="checkout-1", at=NOW)}),
    "the orders": (scene(BREACH, 60), {"generation": 2}),
}


@pytest.mark.parametrize("case", OTHER)
def test_it_is_written_when_this_changes(case: str) -> None:
    seen, found = OTHER[case]
    before = firing()
    status = look(before, seen, 60, **{"alert": ALERT, **found})
    assert status != before
    again = look(status, seen, 120, **{"alert": ALERT, **found})
    assert again is status, "once"


def test_what_is_written_anyway_is_written_with_today_s_words() -> None:
    newer = (ALERT[0], "probe: 503.")
    both = orders(trigger(), trigger("probe"))
    before = look(seen=scene(BREACH), alert=ALERT, spec=both)
    seen = scene(streaks={"errors": says(HEALTHY, 60), "probe": says(BREACH, 60)})
    status = look(before, seen, 60, both, alert=newer)
    assert condition(status, "Alert").message == "probe: 503."


def test_times_are_those_of_the_change() -> None:
    before = firing()
    status = look(before, scene(HEALTHY, 60), 60, disarmed=RIGHTS)
    times = {one.type: one.last_transition_time for one in status.conditions}
    assert times == {"Ready": NOW, "Armed": after(60), "Alert": after(60)}


def test_other_orders_are_another_generation_in_the_same_state() -> None:
    status = look(firing(), scene(BREACH), 60, generation=2, alert=ALERT)
    assert {one.observed_generation for one in status.conditions} == {2}
    assert {one.last_transition_time for one in status.conditions} == {NOW}


def test_a_trigger_that_is_no_more_is_not_told_of() -> None:
    before = look(spec=orders(trigger(), trigger("older")))
    assert [one.name for one in look(before, spec=orders(), generation=2).triggers] == ["errors"]


def test_what_is_written_can_be_read_again() -> None:
    status = look(seen=scene(BREACH, entries=(entry("a"),)), alert=ALERT, disarmed=RIGHTS)
    read = PolicyStatus.model_validate(status.dump())
    assert (
        look(read, scene(BREACH, 60, entries=read.ledger, current=read.current), 60, alert=ALERT, disarmed=RIGHTS)
        is read
    )


def test_a_value_and_words_of_any_length_fit() -> None:
    one = the_trigger(look(seen=scene(streaks={"errors": replace(says(BREACH, words="x" * 9999), value="1" * 99)})))
    assert (len(one.value or ""), len(one.message or "")) == (64, 1024)


# Whether a look is worth it.


@pytest.mark.parametrize("case", SAME)
def test_no_look_is_worth_it_for(case: str) -> None:
    assert not needs_a_look(orders(), firing(), SAME[case][0])


WORTH = ("the verdict", "nobody answers", "it does not fire any more", "it is excused")


@pytest.mark.parametrize("case", WORTH)
def test_a_look_is_worth_it_when(case: str) -> None:
    assert needs_a_look(orders(), firing(), OTHER[case][0])


def test_a_look_is_worth_it_for_a_new_trigger() -> None:
    assert needs_a_look(orders(trigger(), trigger("new")), firing(), scene(BREACH))
    assert needs_a_look(orders(), PolicyStatus(), scene())


STREAKS = st.builds(
    says,
    st.sampled_from(Verdict),
    st.floats(0, 600),
    st.sampled_from(["", "7% of requests", "nobody answers"]),
    count=st.integers(0, 5),
    breached=st.floats(0, 600),
)
SEEN = st.builds(
    lambda streak, excused: scene(
        streaks={"errors": streak} if streak else {}, excused=frozenset({"errors"} if excused else ())
    ),
    st.none() | STREAKS,
    st.booleans(),
)


@given(SEEN, SEEN)
def test_whatever_changes_what_triggers_say_in_the_status_is_worth_a_look(first: Scene, second: Scene) -> None:
    """Else it would be written late; and what is worth a look is no more so after it."""
    before = look(seen=first)
    status = look(before, second, 60)
    if status.triggers != before.triggers:
        assert needs_a_look(orders(), before, second)
    assert not needs_a_look(orders(), status, second)
    assert look(status, second, 120) is status


# What runs.


def test_what_runs_is_known_by_its_release() -> None:
    first = current_of(replace(snapshot(), changed=after(-600), reactivated=True), None, NOW)
    assert first == CurrentRevision(
        uid=CHECKOUT_UID, revision="3", fingerprint=fingerprint("c"), since=after(-600), rollback=True
    )


SINCE: dict[str, tuple[datetime | None, datetime, bool]] = {
    "as the target tells": (after(-600), after(-600), False),
    "first sight, if it does not": (None, NOW, True),
    "now, if its clock is ahead": (after(5), NOW, False),
}


@pytest.mark.parametrize("case", SINCE)
def test_it_runs_since(case: str) -> None:
    told_by_target, since, estimated = SINCE[case]
    current = current_of(replace(snapshot(), changed=told_by_target), None, NOW)
    assert (current.since, current.estimated) == (since, estimated)


def test_a_restart_gives_it_another_number_and_nothing_else() -> None:
    known = runs("c", "3", since=-7200)
    again = replace(snapshot("abcc"), changed=after(-5))
    assert current_of(again, known, NOW) == known.model_copy(update={"revision": "4"})
    assert current_of(snapshot("abc"), known, NOW) is known


def test_a_release_that_came_and_went_between_two_looks_makes_what_runs_a_return() -> None:
    known = runs("c", "3")
    back = replace(snapshot("abc.c"), changed=after(-5), reactivated=True)
    seen = current_of(back, known, NOW)
    assert (seen.rollback, seen.since, seen.revision) == (True, after(-5), back.current.name)
    assert current_of(back, seen, NOW) == seen


def test_another_release_or_another_target_is_another() -> None:
    known = runs("b", "2", since=-7200)
    assert current_of(replace(snapshot(), changed=after(-5)), known, NOW).since == after(-5)
    recreated = replace(snapshot("c", uid="uid-of-another"), changed=after(-5))
    assert current_of(recreated, runs("c", "1"), NOW).uid == "uid-of-another"
