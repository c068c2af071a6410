"""What a policy does: each reason, what outweighs what, and what never happens whatever triggers say."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollback_operator.api.policy import Breaker, CurrentRevision, Mode, PolicySpec, Proof, Watch
from rollback_operator.api.reasons import Reason
from rollback_operator.api.request import MAX_REASON, Phase
from rollback_operator.api.trigger import Trigger
from rollback_operator.core.half import half_of
from rollback_operator.core.judge import (
    FIRST_RETRY,
    Act,
    Judgement,
    Scene,
    changed,
    fires,
    judge,
    request_name,
    soaked,
    worst,
)
from rollback_operator.core.values import Other
from rollback_operator.core.verdicts import Rule, Sample, Streak, Verdict, fold
from tests.unit.builders import CHECKOUT_UID, NOW, after, called, entry, fingerprint, other, policy

BREACH, UNKNOWN, HEALTHY = Verdict.BREACH, Verdict.UNKNOWN, Verdict.HEALTHY
POLICY = "uid-of-policy"
CROWD = "7 of 9 policies are in Breach at once."


def trigger(name: str = "errors", **fields: Any) -> Trigger:
    asks = {"prometheus": {"query": "q"}, "when": "> 5%", "interval": "10s"}
    return Trigger.model_validate({"name": name, **asks, **fields})


def orders(*triggers: Trigger, **fields: Any) -> PolicySpec:
    return policy(triggers=triggers or (trigger(),), **fields)


def runs(letter: str = "c", *, since: float = -600, rollback: bool = False, uid: str = CHECKOUT_UID) -> CurrentRevision:
    """The release of that letter, which came `since` seconds after `NOW`."""
    known = entry(letter)
    return CurrentRevision(
        uid=uid, revision=known.revision, fingerprint=known.fingerprint, since=after(since), rollback=rollback
    )


def bad(began: float = -60, *, count: int = 7, words: str = "7% > 5%") -> Streak:
    """A trigger that is in Breach since then."""
    at = NOW.timestamp()
    start = after(began).timestamp()
    return Streak(BREACH, start, "7%", words, at, at - start, count, start, at)


def well(good: float = 3600) -> Streak:
    at = NOW.timestamp()
    return Streak(HEALTHY, at - good, "1%", "", at, known=at, healthy=at - good, good=good)


def unknown() -> Streak:
    return Streak(UNKNOWN, NOW.timestamp(), "", "nobody answers", NOW.timestamp())


def scene(**fields: Any) -> Scene:
    known = {"name": "checkout", "uid": POLICY, "current": runs(), "streaks": {"errors": bad()}}
    return Scene(**{**known, **fields})


def name_of(attempt: int = 0, **fields: Any) -> str:
    return request_name(scene(**fields), attempt)


def ours(attempt: int = 0, *, age: float = 60, phase: Phase | None = Phase.FAILED, **fields: Any) -> Other:
    """A request of the policy for release c, so many tries after the first."""
    ended = None if phase is None or not phase.final else NOW - timedelta(seconds=age)
    known = {"finished": ended, "policy_uid": POLICY, "message": "It may not.", **fields}
    return other(name_of(attempt), age=age, phase=phase, **known)


def rolled_back(left: str, to: str, *, age: float = 60, **fields: Any) -> Other:
    """A request of the policy that went from one release to another."""
    known = {
        "phase": Phase.SUCCEEDED,
        "applied": True,
        "finished": NOW - timedelta(seconds=age),
        "policy_uid": POLICY,
        "message": f"It is back at {to}.",
        "reason": Reason.COMPLETED,
        **fields,
    }
    return other(
        f"from-{left}-{age:.0f}",
        age=age,
        left=fingerprint(left),
        to=fingerprint(to),
        to_name=entry(to).revision,
        **known,
    )


def reason(judgement: Judgement) -> Reason | None:
    return judgement.alert[0] if judgement.alert else None


def words(judgement: Judgement) -> str:
    assert judgement.alert is not None
    return judgement.alert[1]


# It acts.


def test_a_trigger_that_fires_soon_after_a_release_rolls_it_back() -> None:
    judgement = judge(orders(), scene(), NOW)
    assert judgement.act == Act(name_of(), fingerprint("c"), "errors: 7% > 5% (policy checkout)")
    assert judgement.alert == (Reason.ROLLING_BACK, "errors: 7% > 5%.")
    assert judgement.withdraw is None


def test_the_reason_says_how_long_and_how_often() -> None:
    judgement = judge(orders(trigger(for_="1m", consecutive=3)), scene(), NOW)
    assert judgement.act is not None
    assert judgement.act.reason == "errors: 7% > 5% for 1m (7 in a row) (policy checkout)"


def test_the_reason_fits_into_a_request() -> None:
    judgement = judge(orders(), scene(streaks={"errors": bad(words="x" * 5000)}), NOW)
    assert judgement.act is not None
    assert len(judgement.act.reason) == MAX_REASON


NOTHING: dict[str, tuple[PolicySpec, Scene]] = {
    "when it is suspended": (orders(mode=Mode.SUSPEND), scene()),
    "when it is suspended, whatever it made": (orders(mode=Mode.SUSPEND), scene(requests=(ours(phase=None),))),
    "when nothing runs": (orders(), scene(current=None)),
    "when nothing runs, whatever it made": (orders(), scene(current=None, requests=(ours(phase=None),))),
    "when all is well": (orders(), scene(streaks={"errors": well()})),
    "when nobody asked yet": (orders(), scene(streaks={})),
    "when nobody answers": (orders(), scene(streaks={"errors": unknown()})),
    "when it is not bad for long enough": (orders(trigger(for_="2m")), scene()),
    "when it was not bad often enough": (orders(trigger(consecutive=8)), scene()),
    "without triggers": (policy(), scene()),
    "when all are in trouble but this one": (orders(), scene(crowd=CROWD, streaks={"errors": well()})),
    "because of triggers that are no more": (orders(), scene(streaks={"older": bad()})),
}


@pytest.mark.parametrize("case", NOTHING)
def test_nothing_is_to_be_said(case: str) -> None:
    assert judge(*NOTHING[case], NOW) == Judgement()


def test_both_for_and_consecutive_have_to_hold() -> None:
    both = trigger(for_="1m", consecutive=5)
    for streak, expected in ((bad(-60, count=5), True), (bad(-60, count=4), False), (bad(-30, count=5), False)):
        assert fires(both, scene(streaks={"errors": streak})) == expected


def test_a_row_that_was_bad_long_enough_fires_while_nobody_answers() -> None:
    """Unknown neither counts nor resets: whether it acts then is one decision, and it is that of the row."""
    streak = fold(bad(), Sample(NOW.timestamp() + 10, UNKNOWN, "", "nobody answers"), Rule.of(trigger()))
    assert fires(trigger(), scene(streaks={"errors": streak}))


# Why it does not act, although a trigger fires.


WITHHELD: dict[str, tuple[PolicySpec, Scene, Reason, str]] = {
    "it only watches": (
        orders(mode=Mode.OBSERVE),
        scene(),
        Reason.WOULD_ROLL_BACK,
        "errors: 7% > 5%. With mode: Enforce, Deployment/checkout would be rolled back.",
    ),
    "policies are switched off": (
        orders(),
        scene(automatic=False),
        Reason.AUTOMATIC_ROLLBACKS_OFF,
        "errors: 7% > 5%. The operator's setting ROLLBACK_AUTOMATIC=off keeps policies from rolling back.",
    ),
    "all are in trouble": (orders(), scene(crowd=CROWD), Reason.MANY_AT_ONCE, f"errors: 7% > 5%. {CROWD}"),
    "all are in trouble, though this one not for long enough": (
        orders(trigger(for_="10m"), trigger("tells", action="Alert")),
        scene(crowd=CROWD, streaks={"errors": bad(), "tells": bad()}),
        Reason.MANY_AT_ONCE,
        CROWD,
    ),
    "the trigger is only to tell": (orders(trigger(action="Alert")), scene(), Reason.FIRING, "errors: 7% > 5%"),
    "a rollback is not rolled back": (
        orders(),
        scene(current=runs("b", rollback=True)),
        Reason.EARLIER_REVISION,
        "errors: 7% > 5%. Deployment/checkout went back to this revision, and a rollback is not rolled back.",
    ),
    "the release is older than what is wrong": (
        orders(watch=Watch(within="5m")),
        scene(current=runs(since=-600)),
        Reason.NO_RECENT_CHANGE,
        (
            "errors: 7% > 5%. It began more than 5m after Deployment/checkout last changed (2026-03-01 02:50:00 "
            "UTC), so no release is the cause: nothing is rolled back."
        ),
    ),
    "it was bad before the release came": (
        orders(trigger(for_="1m")),
        scene(excused=frozenset({"errors"})),
        Reason.NO_RECENT_CHANGE,
        (
            "errors: 7% > 5% for 1m. It was bad before revision 3 of Deployment/checkout came, which is not blamed "
            "until it was Healthy once: nothing is rolled back."
        ),
    ),
    "a bad release is back": (
        orders(),
        scene(entries=(entry("c", Proof.BAD),)),
        Reason.BAD_RELEASE_RETURNED,
        (
            "Revision 3 is a release that counts as bad (c proved Bad), and it is back. If it is well now, call it "
            "Good in the policy's spec.ledger; else release another one."
        ),
    ),
    "what it brought back is not well": (
        orders(),
        scene(
            current=runs("b", rollback=True),
            requests=(
                rolled_back("c", "b", phase=Phase.FAILED, reason=Reason.UNHEALTHY, message="Pods crash."),
                other("by-hand", phase=Phase.FAILED),
            ),
        ),
        Reason.COULD_NOT_ROLL_BACK,
        "from-c-60 was made, and did not help: Pods crash.",
    ),
    "it is at it": (
        orders(),
        scene(requests=(ours(phase=None, message=""),)),
        Reason.ROLLING_BACK,
        f"{name_of()} is at it: it was just made",
    ),
    "it waits for people": (
        orders(trigger(action="AlertThenRollback")),
        scene(requests=(ours(phase=Phase.AWAITING_APPROVAL, graced=True, message="People may step in."),)),
        Reason.ROLLING_BACK,
        f"{name_of()} is at it: People may step in.",
    ),
    "it was made, and deleted": (
        orders(),
        scene(last_request=name_of()),
        Reason.VETOED,
        (
            f"errors: 7% > 5%. {name_of()} was made for that, and somebody deleted it: for this "
            "release, the policy makes no other. If it is to be rolled back, write a request."
        ),
    ),
    "it was made, and vetoed": (
        orders(),
        scene(requests=(ours(phase=Phase.ABORTED, age=7200),)),
        Reason.VETOED,
        (
            f"errors: 7% > 5%. {name_of()} was made for that, and somebody aborted it: for this "
            "release, the policy makes no other. If it is to be rolled back, write a request."
        ),
    ),
    "it was made, and had its effect": (
        orders(),
        scene(requests=(ours(phase=Phase.SUCCEEDED, applied=True, message="It is back."),)),
        Reason.ROLLED_BACK,
        f"{name_of()} ended: It is back.",
    ),
    "it was made, and aborted after its effect": (
        orders(),
        scene(requests=(ours(phase=Phase.ABORTED, applied=True, message="Aborted after the effect."),)),
        Reason.ROLLED_BACK,
        f"{name_of()} ended: Aborted after the effect.",
    ),
    "it was made, changed nothing, and has to wait": (
        orders(),
        scene(requests=(ours(age=59),)),
        Reason.COULD_NOT_ROLL_BACK,
        f"errors: 7% > 5%. {name_of()} changed nothing: It may not. It is tried again at 03:00:01 UTC.",
    ),
    "it was tried often enough": (
        orders(breaker=Breaker(limit=1)),
        scene(requests=(ours(0, age=500), ours(1, age=400))),
        Reason.COULD_NOT_ROLL_BACK,
        f"errors: 7% > 5%. {name_of(1)} was the last of 2 tries: It may not.",
    ),
    "somebody else's request has its name": (
        orders(),
        scene(requests=(ours(policy_uid="uid-of-another"),)),
        Reason.COULD_NOT_ROLL_BACK,
        (
            f"errors: 7% > 5%. A request named {name_of()} is there that this policy did not make: nothing is "
            "rolled back until it is deleted."
        ),
    ),
}


@pytest.mark.parametrize("case", WITHHELD)
def test_it_says_why_not(case: str) -> None:
    spec, seen, expected, says = WITHHELD[case]
    assert judge(spec, seen, NOW) == Judgement((expected, says))


# What outweighs what.


def test_what_was_brought_back_outweighs_what_fires() -> None:
    failed = rolled_back("c", "b", phase=Phase.FAILED, reason=Reason.TIMEOUT)
    seen = scene(current=runs("b", rollback=True), entries=(entry("b", Proof.BAD),), requests=(failed,))
    assert reason(judge(orders(), seen, NOW)) is Reason.COULD_NOT_ROLL_BACK


def test_a_bad_release_that_is_back_outweighs_what_fires() -> None:
    seen = scene(entries=(entry("c", Proof.BAD),))
    assert reason(judge(orders(), seen, NOW)) is Reason.BAD_RELEASE_RETURNED


def test_a_recent_trigger_outweighs_an_old_one() -> None:
    two = orders(trigger("old"), trigger("new"), watch=Watch(within="5m"))
    seen = scene(streaks={"old": bad(-100), "new": bad(-400)}, current=runs(since=-600))
    judgement = judge(two, seen, NOW)
    assert judgement.act is not None
    assert judgement.act.reason == "new: 7% > 5% (policy checkout)"


def test_one_that_acts_outweighs_one_that_only_tells() -> None:
    two = orders(trigger("tells", action="Alert"), trigger("acts"))
    judgement = judge(two, scene(streaks={"tells": bad(), "acts": bad()}), NOW)
    assert judgement.act is not None
    assert judgement.act.reason == "acts: 7% > 5% (policy checkout)"


def test_an_old_one_that_acts_outweighs_one_that_only_tells() -> None:
    two = orders(trigger("tells", action="Alert"), trigger("acts"), watch=Watch(within="5m"))
    seen = scene(streaks={"tells": bad(), "acts": bad(-10)}, current=runs(since=-600))
    assert reason(judge(two, seen, NOW)) is Reason.NO_RECENT_CHANGE


def test_what_is_under_way_outweighs_everything() -> None:
    failed = rolled_back("c", "b", phase=Phase.FAILED, reason=Reason.TIMEOUT, age=900)
    seen = scene(
        current=runs("b", rollback=True),
        entries=(entry("b", Proof.BAD),),
        requests=(failed, ours(phase=Phase.VERIFYING)),
    )
    for spec in (orders(), orders(on_return="Rollback"), orders(mode=Mode.OBSERVE)):
        assert reason(judge(spec, seen, NOW)) is Reason.ROLLING_BACK


ORDER: tuple[tuple[Reason, dict[str, Any], dict[str, Any]], ...] = (
    (Reason.EARLIER_REVISION, {}, {"current": runs("c", rollback=True)}),
    (Reason.WOULD_ROLL_BACK, {"mode": Mode.OBSERVE}, {}),
    (Reason.AUTOMATIC_ROLLBACKS_OFF, {}, {"automatic": False}),
    (Reason.MANY_AT_ONCE, {}, {"crowd": CROWD}),
    (Reason.BREAKER_OPEN, {"breaker": Breaker(limit=1)}, {"requests": (rolled_back("d", "b"),)}),
)
"""Why nothing is done, the weightiest first: what has to be true of the orders, and of the scene."""


@pytest.mark.parametrize("first", range(len(ORDER)))
def test_of_several_reasons_the_weightiest_is_given(first: int) -> None:
    fields: dict[str, Any] = {}
    seen: dict[str, Any] = {}
    for _, of_orders, of_scene in ORDER[first:]:
        fields |= of_orders
        seen |= of_scene
    assert reason(judge(orders(**fields), scene(**seen), NOW)) is ORDER[first][0]


# People have time to step in.


GRACE: dict[str, tuple[tuple[Trigger, ...], str | None]] = {
    "what is to be rolled back at once": ((trigger("a"),), None),
    "the trigger's own": ((trigger("a", action="AlertThenRollback", grace="2m"),), "2m"),
    "five minutes if it says nothing": ((trigger("a", action="AlertThenRollback"),), "5m"),
    "the shortest of several": (
        (
            trigger("a", action="AlertThenRollback", grace="90s"),
            trigger("b", action="AlertThenRollback", grace="10m"),
            trigger("c", action="AlertThenRollback"),
        ),
        "90s",
    ),
    "none, if one of several wants it at once": ((trigger("a", action="AlertThenRollback"), trigger("b")), None),
    "that of those that fire": (
        (trigger("a", action="AlertThenRollback", grace="9m"), trigger("z", action="AlertThenRollback", grace="1s")),
        "9m",
    ),
}


@pytest.mark.parametrize("case", GRACE)
def test_the_grace_is(case: str) -> None:
    triggers, expected = GRACE[case]
    judgement = judge(orders(*triggers), scene(streaks=dict.fromkeys("abc", bad())), NOW)
    assert judgement.act is not None
    assert judgement.act.grace == expected


def test_what_wants_it_at_once_is_why() -> None:
    two = orders(trigger("a", action="AlertThenRollback"), trigger("b"))
    judgement = judge(two, scene(streaks={"a": bad(), "b": bad()}), NOW)
    assert judgement.act is not None
    assert judgement.act.reason == "b: 7% > 5% (policy checkout)"


WAITING = ours(phase=Phase.AWAITING_APPROVAL, graced=True)

WITHDRAWN: dict[str, tuple[dict[str, Streak], bool]] = {
    "all is well": ({"a": well(), "b": well()}, True),
    "all is well but what only tells": ({"a": well(), "b": well(), "tells": bad()}, True),
    "one is bad": ({"a": well(), "b": bad()}, False),
    "nobody answers": ({"a": well(), "b": unknown()}, False),
    "one was not asked": ({"a": well()}, False),
}


@pytest.mark.parametrize("case", WITHDRAWN)
def test_what_waits_for_people_is_taken_back_if(case: str) -> None:
    streaks, taken_back = WITHDRAWN[case]
    spec = orders(trigger("a", action="AlertThenRollback"), trigger("b"), trigger("tells", action="Alert"))
    judgement = judge(spec, scene(streaks=streaks, requests=(WAITING,)), NOW)
    assert judgement.withdraw == (WAITING.name if taken_back else None)
    assert reason(judgement) is (Reason.NOTHING_WRONG if taken_back else Reason.ROLLING_BACK)
    assert judgement.act is None


@pytest.mark.parametrize(
    "spec, fields, why",
    [
        (orders(mode=Mode.OBSERVE), {}, Reason.WOULD_ROLL_BACK),
        (orders(), {"automatic": False}, Reason.AUTOMATIC_ROLLBACKS_OFF),
        (orders(), {"crowd": "7 of 9 are in Breach."}, Reason.MANY_AT_ONCE),
    ],
    ids=["Observe", "the stop for all", "a crowd"],
)
def test_what_holds_a_policy_back_takes_back_what_waits_for_people(
    spec: PolicySpec, fields: dict[str, Any], why: Reason
) -> None:
    seen = scene(streaks={"errors": bad()}, requests=(WAITING,), **fields)
    judgement = judge(spec, seen, NOW)
    assert (judgement.withdraw, reason(judgement)) == (WAITING.name, why)
    begun = replace(WAITING, phase=Phase.RUNNING, graced=False)
    assert judge(spec, replace(seen, requests=(begun,)), NOW).withdraw is None


def test_what_waits_for_nobody_is_not_taken_back() -> None:
    begun = replace(WAITING, phase=Phase.RUNNING, graced=False)
    judgement = judge(orders(), scene(streaks={"errors": well()}, requests=(begun,)), NOW)
    assert (judgement.withdraw, reason(judgement)) == (None, Reason.ROLLING_BACK)


def test_what_was_taken_back_is_made_anew_when_the_trouble_is_back() -> None:
    back = ours(phase=Phase.ABORTED, withdrawn=True, age=5)
    judgement = judge(orders(), scene(requests=(back,)), NOW)
    assert judgement.act is not None
    assert judgement.act.name == name_of(1)


def test_what_was_taken_back_again_and_again_is_not_made_for_ever() -> None:
    back = [ours(at, phase=Phase.ABORTED, withdrawn=True, age=100 - at) for at in range(3)]
    assert judge(orders(), scene(requests=back[:2]), NOW).act is not None
    judgement = judge(orders(), scene(requests=back), NOW)
    assert (judgement.act, reason(judgement)) == (None, Reason.COULD_NOT_ROLL_BACK)


# It is tried again.


@pytest.mark.parametrize("attempt", range(3))
def test_each_try_that_changed_nothing_doubles_the_pause(attempt: int) -> None:
    pause = FIRST_RETRY.total_seconds() * 2**attempt
    tries = [ours(at, age=10_000 - at) for at in range(attempt)]
    spec = orders(breaker=Breaker(limit=5))
    early = judge(spec, scene(requests=(*tries, ours(attempt, age=pause - 1))), NOW)
    assert (early.act, reason(early)) == (None, Reason.COULD_NOT_ROLL_BACK)
    due = judge(spec, scene(requests=(*tries, ours(attempt, age=pause))), NOW)
    assert due.act is not None
    assert due.act.name == name_of(attempt + 1)


@pytest.mark.parametrize("limit", [1, 2, 20])
def test_there_are_as_many_tries_as_the_breaker_allows_and_one(limit: int) -> None:
    made: list[Other] = []
    now, spec = NOW, orders(breaker=Breaker(limit=limit))
    while (act := judge(spec, scene(requests=made), now).act) is not None:
        assert act.name not in {one.name for one in made}
        made.append(other(act.name, phase=Phase.FAILED, finished=now, policy_uid=POLICY))
        now += timedelta(days=30)
    assert len(made) == limit + 1
    assert "was the last of" in words(judge(spec, scene(requests=made), now))


def test_the_last_try_promises_no_other() -> None:
    judgement = judge(orders(breaker=Breaker(limit=1)), scene(requests=(ours(0, age=9), ours(1, age=1))), NOW)
    assert "tried again" not in words(judgement)
    assert "was the last of 2 tries" in words(judgement)


def test_tries_that_the_history_lost_are_not_made_again() -> None:
    """historyLimit: 1 deletes the first try; the second one is known, so it was not the first."""
    second = ours(1, age=3600)
    judgement = judge(orders(), scene(requests=(second,), last_request=second.name), NOW)
    assert judgement.act is not None
    assert judgement.act.name == name_of(2)


def test_a_newer_try_that_somebody_deleted_is_a_veto() -> None:
    judgement = judge(orders(), scene(requests=(ours(0, age=3600),), last_request=name_of(1)), NOW)
    assert judgement.act is None
    assert f"{name_of(1)} was made for that, and somebody deleted it: for this release," in words(judgement)


def test_what_was_made_for_another_release_says_nothing_of_this_one() -> None:
    before = name_of(current=runs("b"))
    assert judge(orders(), scene(last_request=before), NOW).act is not None
    vetoed = other(before, phase=Phase.ABORTED, policy_uid=POLICY)
    assert judge(orders(), scene(requests=(vetoed,)), NOW).act is not None


def test_requests_of_people_do_not_keep_it_from_acting() -> None:
    for phase in (None, Phase.PENDING, Phase.RUNNING, Phase.FAILED):
        assert judge(orders(), scene(requests=(other("by-hand", phase=phase),)), NOW).act is not None


# Watching only for a while after a change.


RECENT: dict[str, tuple[Trigger, float, float, bool]] = {
    "at once": (trigger(), -600, -600, True),
    "at the last moment": (trigger(), -1000, -700, True),
    "a moment too late": (trigger(), -1000, -699.9, False),
    "too late, but the trigger is slow": (trigger(watch="Always"), -90_000, -60, True),
    "before the release came, as far as is known": (trigger(), -30, -60, True),
}


@pytest.mark.parametrize("case", RECENT)
def test_a_release_is_blamed_if_it_began(case: str) -> None:
    one, since, began, blamed = RECENT[case]
    seen = scene(current=runs(since=since), streaks={"errors": bad(began)})
    judgement = judge(orders(one, watch=Watch(within="5m")), seen, NOW)
    assert (judgement.act is not None) == blamed


def test_when_it_began_counts_and_not_how_long_it_takes_to_fire() -> None:
    seen = scene(current=runs(since=-3600), streaks={"errors": bad(-3400)})
    assert judge(orders(trigger(for_="50m"), watch=Watch(within="5m")), seen, NOW).act is not None


# A bad release is back.


def returned(on_return: str = "Rollback", **fields: Any) -> Judgement:
    seen = scene(**{"entries": (entry("c", Proof.BAD, at=-3600),), "streaks": {"errors": well()}, **fields})
    return judge(orders(on_return=on_return), seen, NOW)


def test_a_bad_release_that_is_back_is_rolled_back_at_once_if_asked_for() -> None:
    judgement = returned()
    assert judgement.act is not None
    assert judgement.act.reason.startswith("revision 3 is a release that counts as bad (c proved Bad), and it is back")
    assert (judgement.act.to, judgement.act.grace) == (None, None)


def test_it_is_even_if_it_came_back_as_a_rollback_by_hand() -> None:
    assert returned(current=runs("c", rollback=True)).act is not None


def test_it_is_not_if_it_only_watches() -> None:
    seen = scene(entries=(entry("c", Proof.BAD),))
    judgement = judge(orders(on_return="Rollback", mode=Mode.OBSERVE), seen, NOW)
    assert (judgement.act, reason(judgement)) == (None, Reason.WOULD_ROLL_BACK)


def test_a_bad_release_that_came_back_in_parts_is_one() -> None:
    parts = runs("c").model_copy(update={"fingerprint": half_of(fingerprint("c"))})
    by_hand = rolled_back("d", "c", age=60, policy_uid=None)

    assert returned(current=parts).act is not None
    assert reason(returned(current=parts, requests=(by_hand,))) is Reason.BAD_RELEASE_RETURNED


ASKED_FOR: dict[str, tuple[Other, bool]] = {
    "somebody's, since it proved bad": (rolled_back("d", "c", age=60, policy_uid=None), True),
    "one that goes on": (rolled_back("d", "c", age=9000, finished=None, phase=Phase.VERIFYING, policy_uid=None), True),
    "the very one by which it proved bad": (rolled_back("d", "c", age=3600, policy_uid=None), True),
    "one before it proved bad": (rolled_back("d", "c", age=3601), False),
    "one without an effect": (rolled_back("d", "c", applied=False), False),
    "one to another release": (rolled_back("d", "b", age=60), False),
}


@pytest.mark.parametrize("case", ASKED_FOR)
def test_a_request_asked_for_the_bad_release(case: str) -> None:
    one, asked_for = ASKED_FOR[case]
    judgement = returned(requests=(one,))
    assert reason(judgement) is (Reason.BAD_RELEASE_RETURNED if asked_for else Reason.ROLLING_BACK)
    assert (judgement.act is None) == asked_for


def test_what_people_call_bad_is_bad() -> None:
    judgement = judge(orders(ledger=(called("c", Proof.BAD, "INC-7"),)), scene(), NOW)
    assert reason(judgement) is Reason.BAD_RELEASE_RETURNED
    assert "(the policy's spec.ledger calls it bad: INC-7)" in words(judgement)


def test_what_people_call_good_is_judged_by_its_triggers() -> None:
    spec = orders(ledger=(called("c", Proof.GOOD),), on_return="Rollback")
    seen = scene(entries=(entry("c", Proof.BAD),))
    judgement = judge(spec, seen, NOW)
    assert judgement.act is not None
    assert judgement.act.reason.startswith("errors: ")
    assert judge(spec, replace(seen, streaks={"errors": well()}), NOW) == Judgement()


# What was brought back is not well either.


def failed(why: Reason = Reason.UNHEALTHY, **fields: Any) -> Scene:
    request = rolled_back("d", "c", phase=Phase.FAILED, reason=why, message="Pods crash.")
    known = {"current": runs("c", rollback=True), "entries": (entry("a"), entry("c", Proof.BAD, at=-60))}
    return scene(**{**known, "requests": (request,), **fields})


def test_it_goes_on_to_the_next_good_one_if_asked_for() -> None:
    judgement = judge(orders(on_verify_failure="NextGood"), failed(), NOW)
    assert judgement.act is not None
    assert judgement.act.to == fingerprint("a")
    assert judgement.act.reason.startswith("revision 3, which from-d-60 brought back, is not well either")
    assert judgement.act.grace is None


def test_what_could_be_brought_back_in_parts_only_did_not_help() -> None:
    """It proved good, and is not brought back again by itself: what was in the way is."""
    parts = runs("c", rollback=True).model_copy(update={"fingerprint": half_of(fingerprint("c"))})
    left = failed(current=parts, entries=(entry("a"), entry("c")))

    assert reason(judge(orders(), left, NOW)) is Reason.COULD_NOT_ROLL_BACK
    goes_on = judge(orders(on_verify_failure="NextGood"), left, NOW)
    assert goes_on.act is not None
    assert goes_on.act.to == fingerprint("a")


def test_what_comes_in_parts_only_is_not_brought_back_in_turns() -> None:
    """Nothing is known against either, and each try runs hooks again."""
    unwell = {"phase": Phase.FAILED, "reason": Reason.HALF_APPLIED}
    requests = (rolled_back("d", "c", age=120, **unwell), rolled_back("c", "a", age=60, **unwell))
    parts = runs("a", rollback=True).model_copy(update={"fingerprint": half_of(fingerprint("a"))})
    seen = failed(current=parts, requests=requests, entries=(entry("a"), entry("c")))

    judgement = judge(orders(on_verify_failure="NextGood"), seen, NOW)

    assert judgement.act is None
    assert reason(judgement) is Reason.COULD_NOT_ROLL_BACK


@pytest.mark.parametrize("how", ["Stop", "NextGood"])
def test_what_somebody_brought_as_a_whole_since_is_judged_by_its_triggers(how: str) -> None:
    parts = rolled_back("d", "c", phase=Phase.FAILED, reason=Reason.HALF_APPLIED)
    seen = failed(requests=(parts,), entries=(entry("a"), entry("c")), streaks={"errors": well()})

    assert judge(orders(on_verify_failure=how), seen, NOW) == Judgement()


def test_it_goes_on_although_what_runs_came_by_a_rollback_and_is_not_in_the_ledger() -> None:
    judgement = judge(orders(on_verify_failure="NextGood"), failed(entries=(entry("a"),)), NOW)
    assert judgement.act is not None


@pytest.mark.parametrize("why", [Reason.UNHEALTHY, Reason.TIMEOUT])
def test_it_stops_if_not(why: Reason) -> None:
    judgement = judge(orders(), failed(why), NOW)
    assert judgement == Judgement((Reason.COULD_NOT_ROLL_BACK, "from-d-60 was made, and did not help: Pods crash."))


def test_people_are_told_that_nobody_could_say_whether_it_helped_until_somebody_can() -> None:
    unverified = failed(Reason.NOT_VERIFIED, entries=(entry("a"),), streaks={"errors": unknown()})
    for how in ("Stop", "NextGood"):
        judgement = judge(orders(on_verify_failure=how), unverified, NOW)
        words = "from-d-60 was made, and nobody could say whether it helped: Pods crash."
        assert judgement == Judgement((Reason.COULD_NOT_ROLL_BACK, words))
    assert judge(orders(), replace(unverified, streaks={"errors": well()}), NOW).alert is None


def test_it_stops_if_nothing_else_proved_good() -> None:
    judgement = judge(orders(on_verify_failure="NextGood"), failed(entries=(entry("c", Proof.BAD),)), NOW)
    expected = "from-d-60 did not help, and no older revision proved good: Pods crash."
    assert judgement == Judgement((Reason.COULD_NOT_ROLL_BACK, expected))


def test_it_does_not_go_on_for_ever() -> None:
    spec = orders(on_verify_failure="NextGood", breaker=Breaker(limit=1))
    assert reason(judge(spec, failed(), NOW)) is Reason.BREAKER_OPEN


OTHERWISE: dict[str, Scene] = {
    "another end than not being well": failed(Reason.OVERTAKEN),
    "a request of somebody else": failed(requests=(replace(failed().requests[0], policy_uid=None),)),
    "a request before the newest": failed(requests=(*failed().requests, rolled_back("b", "a", age=5))),
    "another release by now": failed(current=runs("e")),
}


@pytest.mark.parametrize("case", OTHERWISE)
def test_nothing_follows_from(case: str) -> None:
    seen = replace(OTHERWISE[case], entries=(entry("a"),), streaks={"errors": well()})
    assert judge(orders(on_verify_failure="NextGood"), seen, NOW) == Judgement()


def test_what_people_call_good_was_not_brought_back_in_vain() -> None:
    spec = orders(ledger=(called("c", Proof.GOOD, "false alarm"),), on_verify_failure="NextGood")
    assert judge(spec, failed(streaks={"errors": well()}), NOW) == Judgement()


# The breaker.


BREAKER: dict[str, tuple[tuple[Other, ...], bool]] = {
    "none": ((), False),
    "one": ((rolled_back("a", "b", age=100),), False),
    "as many as are allowed": ((rolled_back("a", "b", age=100), rolled_back("d", "b", age=200)), True),
    "one of them long ago": ((rolled_back("a", "b", age=100), rolled_back("d", "b", age=3600)), False),
    "one of them nearly an hour ago": ((rolled_back("a", "b", age=100), rolled_back("d", "b", age=3599)), True),
    "one of them without an effect": (
        (rolled_back("a", "b", age=100), rolled_back("d", "b", age=200, applied=False)),
        False,
    ),
    "one of them somebody's": ((rolled_back("a", "b", age=100), rolled_back("d", "b", policy_uid=None)), False),
    "one of them by the policy that had the name before": (
        (rolled_back("a", "b", age=100), rolled_back("d", "b", policy_uid="uid-of-older")),
        False,
    ),
}


@pytest.mark.parametrize("case", BREAKER)
def test_the_breaker_counts_rollbacks(case: str) -> None:
    requests, opens = BREAKER[case]
    judgement = judge(orders(), scene(requests=requests), NOW)
    assert (judgement.act is None) == opens
    assert reason(judgement) is (Reason.BREAKER_OPEN if opens else Reason.ROLLING_BACK)


def test_the_breaker_says_when_it_closes_and_keeps_its_word() -> None:
    requests = [rolled_back("a", "b", age=age) for age in (100, 1800, 2400)]
    judgement = judge(orders(), scene(requests=requests), NOW)
    assert words(judgement) == (
        "errors: 7% > 5%. 3 times within 1h this policy rolled back, and its breaker allows no more until "
        "03:30:00 UTC, or until a new release proves good."
    )
    assert judge(orders(), scene(requests=requests), after(1799)).act is None
    assert judge(orders(), scene(requests=requests), after(1800)).act is not None


@pytest.mark.parametrize("limit, times", [(1, "Once"), (2, "Twice"), (3, "3 times")])
def test_the_breaker_says_how_often(limit: int, times: str) -> None:
    requests = tuple(rolled_back("a", "b", age=age) for age in range(10, 10 + limit))
    judgement = judge(orders(breaker=Breaker(limit=limit)), scene(requests=requests), NOW)
    assert words(judgement).startswith(f"errors: 7% > 5%. {times} within 1h this policy rolled back")


RECOVERED: dict[str, tuple[tuple[Any, ...], bool]] = {
    "nothing": ((), True),
    "a new release that proved good since": ((entry("e", at=-50),), False),
    "one that proved good before": ((entry("e", at=-101),), True),
    "the one that was brought back": ((entry("b", at=-50),), True),
    "one that proved bad since": ((entry("e", Proof.BAD, at=-50),), True),
}


@pytest.mark.parametrize("case", RECOVERED)
def test_the_count_begins_anew_with(case: str) -> None:
    entries, stays_open = RECOVERED[case]
    requests = (rolled_back("a", "b", age=100), rolled_back("d", "b", age=100.5))
    judgement = judge(orders(), scene(requests=requests, entries=entries), NOW)
    assert (judgement.act is None) == stays_open


# When the target changes.


def left(streak: Streak, *, excused: bool = False, within: str = "1h", **fields: Any) -> frozenset[str]:
    """What is excused when the release of ten minutes ago is left."""
    spec = orders(trigger(**fields), watch=Watch(within=within))
    fresh = changed(spec, {"errors": streak}, frozenset({"errors"} if excused else ()), runs(since=-600))
    assert fresh.streaks == {}, "triggers begin anew"
    return fresh.excused


LEFT: dict[str, tuple[frozenset[str], bool]] = {
    "what was well": (left(well()), False),
    "what nobody knows": (left(unknown()), False),
    "what the release that is left may have caused: one bad release after another": (left(bad(-300)), False),
    "an outage that began long after it": (left(bad(-60), within="5m"), True),
    "a slow trigger, which always blames the release": (left(bad(-60), within="5m", watch="Always"), False),
    "what was bad before that one came as well": (left(bad(-590), excused=True), True),
    "what was bad before that one came, and was well since": (left(well(), excused=True), False),
    "what was bad before that one came, and is unknown now": (left(unknown(), excused=True), False),
}


@pytest.mark.parametrize("case", LEFT)
def test_when_another_release_comes_it_is_not_blamed_for(case: str) -> None:
    excused, expected = LEFT[case]
    assert excused == (frozenset({"errors"}) if expected else frozenset())


def test_an_outage_stays_excused_over_several_releases() -> None:
    excused = left(bad(-60), within="5m")
    fresh = changed(orders(), {"errors": bad(-5)}, excused, runs("d", since=-30))
    assert fresh.excused == {"errors"}


NOTICED_LATE: dict[str, tuple[float, bool, bool, bool]] = {
    "what began after the change goes on": (-60, False, True, False),
    "what began before the change begins anew": (-130, False, False, False),
    "what began long after the release before, and before the change, is excused": (-290, False, False, True),
    "what was excused all along begins anew, and stays excused": (-60, True, False, True),
}


@pytest.mark.parametrize("case", NOTICED_LATE)
def test_of_a_change_that_is_noticed_late(case: str) -> None:
    """The release before came ten minutes ago, and only five can be blamed on it; this one two minutes ago."""
    began, was_excused, goes_on, excused = NOTICED_LATE[case]
    spec = orders(watch=Watch(within="5m" if began != -130 else "1h"))
    streak, known = bad(began), frozenset({"errors"} if was_excused else ())
    fresh = changed(spec, {"errors": streak}, known, runs(since=-600), after(-120))
    assert fresh.streaks == ({"errors": streak} if goes_on else {})
    assert fresh.excused == (frozenset({"errors"}) if excused else frozenset())


BLIPS: dict[str, tuple[Streak, bool]] = {
    "a blip": (bad(-29, count=3), False),
    "half of what it takes to fire": (bad(-30, count=3), True),
    "long enough but not often enough": (bad(-60, count=1), False),
}


@pytest.mark.parametrize("case", BLIPS)
def test_a_blip_before_a_release_does_not_excuse_what_comes_after_it(case: str) -> None:
    streak, excused = BLIPS[case]
    assert bool(left(streak, within="1m", for_="1m", consecutive=4)) == excused


@pytest.mark.parametrize("streaks", [{"errors": bad()}, {"errors": unknown()}, {}], ids=["bad", "unknown", "not asked"])
def test_what_a_release_is_not_blamed_for_is_said_until_it_was_well(streaks: dict[str, Streak]) -> None:
    judgement = judge(orders(), scene(excused=frozenset({"errors"}), streaks=streaks), NOW)
    assert (judgement.act, reason(judgement)) == (None, Reason.NO_RECENT_CHANGE)
    assert judgement.alert is not None
    assert "It was bad before revision 3 of Deployment/checkout came" in judgement.alert[1]


@pytest.mark.parametrize("came, goes_on", [(-30, True), (-25, False), (-20, False)])
def test_what_began_after_a_change_that_is_noticed_late_goes_on(came: float, *, goes_on: bool) -> None:
    spec, before = orders(watch=Watch(within="5m")), runs(since=-3600)
    fresh = changed(spec, {"errors": bad(-25)}, frozenset(), before, after(came))
    assert fresh.streaks == ({"errors": bad(-25)} if goes_on else {})
    assert fresh.excused == (frozenset() if goes_on else {"errors"})


def test_what_was_excused_stays_so_although_a_change_is_noticed_late() -> None:
    fresh = changed(orders(), {"errors": bad(-25)}, frozenset({"errors"}), runs(), after(-30))
    assert fresh.streaks == {}
    assert fresh.excused == {"errors"}


def test_triggers_that_are_no_more_are_forgotten() -> None:
    fresh = changed(orders(), {"older": bad()}, frozenset({"older"}), runs())
    assert fresh.excused == frozenset()


# What proves good, and what the worst is.


SOAK: dict[str, tuple[dict[str, Streak], bool]] = {
    "all were well for long enough": ({"a": well(600), "b": well(601)}, True),
    "one not for long enough": ({"a": well(600), "b": well(599)}, False),
    "one is bad": ({"a": well(), "b": bad()}, False),
    "nobody answers for one": ({"a": well(), "b": replace(well(), verdict=UNKNOWN)}, False),
    "one was not asked": ({"a": well()}, False),
}


@pytest.mark.parametrize("case", SOAK)
def test_a_release_proves_good_if(case: str) -> None:
    streaks, expected = SOAK[case]
    assert soaked(orders(trigger("a"), trigger("b")), streaks) == expected


def test_nothing_proves_good_without_triggers() -> None:
    assert not soaked(policy(), {})


def test_the_worst_is_told() -> None:
    two = orders(trigger("a"), trigger("b"))
    assert worst({}, policy()) is None
    assert worst({}, two) is UNKNOWN
    assert worst({"a": well(), "b": well()}, two) is HEALTHY
    assert worst({"a": well(), "b": unknown()}, two) is UNKNOWN
    assert worst({"a": bad(), "b": unknown()}, two) is BREACH
    assert worst({"a": well(), "b": well(), "older": bad()}, two) is HEALTHY


# Names.


DNS_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
LABEL = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?", fullmatch=True)
NAMES = st.lists(LABEL, min_size=1, max_size=8).map(lambda labels: ".".join(labels)[:253].rstrip("-."))


@given(NAMES, st.integers(0, 20))
def test_the_name_is_one_that_the_api_server_takes(name: str, attempt: int) -> None:
    made = request_name(scene(name=name), attempt)
    assert DNS_NAME.fullmatch(made)
    assert len(made) <= 63
    assert made.startswith(name[:40].rstrip("-."))


@pytest.mark.parametrize("name", ["a" * 51 + ".b", "a" * 51 + "-b", "a" * 50 + "--b", "a" * 253])
def test_a_name_that_is_cut_is_one_that_the_api_server_takes(name: str) -> None:
    assert DNS_NAME.fullmatch(request_name(scene(name=name), 0))


def test_the_name_is_the_same_after_an_upgrade() -> None:
    """Whoever comes after a crash has to find what was made before it."""
    assert request_name(scene(), 0) == "checkout-ea1b57b7f7"


DIFFERENT: dict[str, Any] = {
    "policy": scene(uid="uid-of-another"),
    "target": scene(current=runs(uid="uid-of-another")),
    "release": scene(current=runs().model_copy(update={"fingerprint": fingerprint("d")})),
    "revision": scene(current=runs().model_copy(update={"revision": "30"})),
}


@pytest.mark.parametrize("case", DIFFERENT)
def test_the_name_is_another_for_another(case: str) -> None:
    assert request_name(DIFFERENT[case], 0) != request_name(scene(), 0)
    assert request_name(DIFFERENT[case], 1) != request_name(scene(), 1)


# Whatever triggers say.


VERDICTS = st.sampled_from(Verdict)
ROWS = st.lists(st.tuples(VERDICTS, st.sampled_from([5.0, 10.0, 15.0, 40.0, 700.0])), max_size=12)
TRIGGERS = st.builds(
    lambda for_, consecutive, action, watch: trigger(for_=for_, consecutive=consecutive, action=action, watch=watch),
    st.sampled_from([None, "10s", "30s", "10m"]),
    st.sampled_from([None, 1, 3]),
    st.sampled_from(["Rollback", "AlertThenRollback", "Alert"]),
    st.sampled_from(["Recent", "Always"]),
)
REQUESTS = st.lists(
    st.builds(
        other,
        st.one_of(st.sampled_from([name_of(attempt) for attempt in range(3)]), st.sampled_from(["x", "y"])),
        age=st.floats(0, 10_000),
        phase=st.sampled_from([None, *Phase]),
        applied=st.booleans(),
        left=st.sampled_from([None, fingerprint("c"), fingerprint("d")]),
        to=st.sampled_from([None, fingerprint("b"), fingerprint("c")]),
        reason=st.sampled_from(["", Reason.UNHEALTHY, Reason.FORBIDDEN]),
        policy_uid=st.sampled_from([None, POLICY, "uid-of-another"]),
        graced=st.booleans(),
        withdrawn=st.booleans(),
    ),
    max_size=5,
)
ENTRIES = st.lists(
    st.builds(entry, st.sampled_from("abcd"), st.sampled_from(Proof), at=st.floats(-7200, 0)),
    max_size=4,
    unique_by=lambda one: one.fingerprint,
)
SPECS = st.builds(
    lambda one, mode, limit, on_return, on_failure: orders(
        one, mode=mode, breaker=Breaker(limit=limit), on_return=on_return, on_verify_failure=on_failure
    ),
    TRIGGERS,
    st.sampled_from(Mode),
    st.integers(1, 3),
    st.sampled_from(["Alert", "Rollback"]),
    st.sampled_from(["Stop", "NextGood"]),
)


def row(samples: list[tuple[Verdict, float]], one: Trigger) -> Streak:
    """What a row of answers amounts to that ends now; each with the pause before it."""
    streak, at = Streak(), NOW.timestamp() - sum(pause for _, pause in samples)
    for verdict, pause in samples:
        at += pause
        streak = fold(streak, Sample(at, verdict, "", "said"), Rule.of(one))
    return streak


@st.composite
def scenes(draw: st.DrawFn) -> tuple[PolicySpec, Scene]:
    spec = draw(SPECS)
    return spec, scene(
        current=draw(st.none() | st.builds(runs, st.sampled_from("bc"), rollback=st.booleans())),
        streaks={"errors": row(draw(ROWS), spec.triggers[0])},
        excused=frozenset({"errors"} if draw(st.booleans()) else ()),
        entries=tuple(draw(ENTRIES)),
        requests=tuple(draw(REQUESTS)),
        last_request=draw(st.sampled_from([None, name_of(0), name_of(1)])),
        automatic=draw(st.booleans()),
        crowd=draw(st.sampled_from([None, CROWD])),
    )


def unfinished(seen: Scene) -> bool:
    return any(one.policy_uid == POLICY and not (one.phase and one.phase.final) for one in seen.requests)


@given(scenes())
def test_it_never_acts_where_it_must_not(case: tuple[PolicySpec, Scene]) -> None:
    spec, seen = case
    judgement = judge(spec, seen, NOW)
    if judgement.act is None:
        return
    assert spec.mode is Mode.ENFORCE
    assert seen.automatic
    assert seen.crowd is None
    assert seen.current is not None
    assert not unfinished(seen)
    assert judgement.act.name not in {one.name for one in seen.requests}, "it exists"
    assert judgement.act.name != seen.last_request, "it was made"
    assert judgement.act.name in {request_name(seen, attempt) for attempt in range(spec.breaker.limit + 1)}
    assert judgement.alert is not None
    assert judgement.alert[0] is Reason.ROLLING_BACK
    assert judgement.withdraw is None


@given(scenes())
def test_a_rollback_is_never_rolled_back_but_to_the_next_good_or_off_a_bad_one(case: tuple[PolicySpec, Scene]) -> None:
    spec, seen = case
    act = judge(spec, seen, NOW).act
    if act is None or seen.current is None or not seen.current.rollback:
        return
    assert act.to is not None or spec.on_return == "Rollback"


@given(scenes())
def test_only_what_waits_for_people_is_taken_back(case: tuple[PolicySpec, Scene]) -> None:
    spec, seen = case
    judgement = judge(spec, seen, NOW)
    if judgement.withdraw is not None:
        (one,) = {one.uid: one for one in seen.requests if one.name == judgement.withdraw and one.graced}.values()
        assert one.policy_uid == POLICY
        assert judgement.act is None
        held = spec.mode is not Mode.ENFORCE or not seen.automatic or seen.crowd is not None
        assert held or seen.streaks["errors"].verdict is HEALTHY or spec.triggers[0].action == "Alert"


@given(st.lists(st.sampled_from([5.0, 10.0, 40.0]), max_size=20), TRIGGERS)
def test_unknown_alone_never_causes_anything(pauses: list[float], one: Trigger) -> None:
    seen = scene(streaks={"errors": row([(UNKNOWN, pause) for pause in pauses], one)})
    assert judge(orders(one), seen, NOW) == Judgement()


@given(ROWS, TRIGGERS, st.integers(1, 20))
def test_more_unknown_never_makes_it_fire(samples: list[tuple[Verdict, float]], one: Trigger, more: int) -> None:
    streak = row(samples, one)
    for at in range(1, more + 1):
        later = fold(streak, Sample(NOW.timestamp() + 10 * at, UNKNOWN, "", "said"), Rule.of(one))
        assert not later.fires(Rule.of(one)) or streak.fires(Rule.of(one))


@given(scenes(), st.floats(0, 86_400))
def test_for_one_try_there_is_one_name(case: tuple[PolicySpec, Scene], seconds: float) -> None:
    """The clock, the verdicts and the words may differ when the same is judged again: the name does not."""
    spec, seen = case
    first = judge(spec, seen, NOW).act
    words_changed = replace(seen, streaks={"errors": replace(seen.streaks["errors"], message="other words")})
    second = judge(spec, words_changed, after(seconds)).act
    if first is not None and second is not None:
        assert first.name == second.name


@given(scenes())
def test_what_was_made_is_not_made_again(case: tuple[PolicySpec, Scene]) -> None:
    spec, seen = case
    act = judge(spec, seen, NOW).act
    if act is None:
        return
    made = other(act.name, age=0, phase=None, policy_uid=POLICY)
    assert judge(spec, replace(seen, requests=(*seen.requests, made)), NOW).act is None
    again = judge(spec, replace(seen, last_request=act.name), NOW).act
    assert again is None, "it was made, and somebody deleted it"
