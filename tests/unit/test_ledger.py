"""What is learned of releases, and what people's corrections make of it. Releases are named by letters."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollback_operator.api.policy import MAX_LEDGER, CurrentRevision, Entry, Proof
from rollback_operator.api.reasons import Reason
from rollback_operator.api.request import Phase
from rollback_operator.core.half import half_of
from rollback_operator.core.ledger import Ledger, learned
from rollback_operator.core.turn import rolled_back_from
from rollback_operator.core.values import Other
from tests.unit.builders import CHECKOUT_UID, NOW, after, called, entry, fingerprint, other, policy

GOOD, BAD = Proof.GOOD, Proof.BAD


def runs(letter: str, *, since: float = -600, rollback: bool = False, uid: str = CHECKOUT_UID) -> CurrentRevision:
    """The release of that letter, which came `since` seconds after `NOW`."""
    known = entry(letter)
    return CurrentRevision(
        uid=uid, revision=known.revision, fingerprint=known.fingerprint, since=after(since), rollback=rollback
    )


def rollback(left: str, to: str, *, ended: float | None = -30, **fields: Any) -> Other:
    """A request, tuesday, that went from one release to another and ended so many seconds after `NOW`."""
    known = {"phase": Phase.SUCCEEDED, "reason": Reason.COMPLETED, "applied": True, "age": 90, **fields}
    return other(
        "tuesday",
        left=fingerprint(left),
        left_name=entry(left).revision,
        to=fingerprint(to),
        to_name=entry(to).revision,
        finished=None if ended is None else after(ended),
        **known,
    )


def learn(
    entries: tuple[Entry, ...] = (),
    *requests: Other,
    before: CurrentRevision | None = None,
    current: CurrentRevision | None = None,
    soaked: bool = False,
) -> tuple[Entry, ...]:
    return learned(entries, before, current, requests, NOW, soaked=soaked)


def gist(entries: Iterable[Entry]) -> dict[str, Proof]:
    """Letter to verdict, in order."""
    letters = {fingerprint(letter): letter for letter in "abcdefghij"}
    return {letters[one.fingerprint]: one.verdict for one in entries}


# What soaked.


def test_what_soaked_is_good() -> None:
    (found,) = learn(current=runs("b"), soaked=True)
    assert found == Entry(
        fingerprint=fingerprint("b"),
        revision="2",
        verdict=GOOD,
        at=NOW,
        reason="all triggers were Healthy for the soak time",
    )


NOT_GOOD: dict[str, tuple[CurrentRevision | None, bool, tuple[Entry, ...]]] = {
    "did not soak": (runs("b"), False, ()),
    "is not there": (None, True, ()),
    "is known to be good": (runs("b"), True, (entry("b"),)),
    "is known to be bad": (runs("b"), True, (entry("b", BAD),)),
}


@pytest.mark.parametrize("case", NOT_GOOD)
def test_nothing_is_learned_of_what(case: str) -> None:
    current, soaked, entries = NOT_GOOD[case]
    assert learn(entries, current=current, soaked=soaked) is entries


# What requests say.


def test_what_a_request_rolled_back_from_is_bad() -> None:
    (found,) = learn((), rollback("c", "b"))
    assert found == Entry(
        fingerprint=fingerprint("c"), revision="3", verdict=BAD, at=after(-30), reason="tuesday rolled back from it"
    )


def test_nobody_is_accused_when_a_bad_release_is_brought_back_by_its_name() -> None:
    false_alarm = rollback("c", "b", age=90, ended=-60)
    undone = rollback("b", "c", age=30, ended=-10)
    assert gist(learn((), false_alarm, undone)) == {"c": BAD}
    assert set(rolled_back_from([undone, false_alarm])) == {fingerprint("c")}


def test_a_revision_that_could_not_be_verified_is_not_bad() -> None:
    unverified = rollback("c", "b", phase=Phase.FAILED, reason=Reason.NOT_VERIFIED)
    assert gist(learn((), unverified)) == {"c": BAD}


def test_what_a_request_brought_back_is_bad_if_it_was_not_well() -> None:
    left, brought = learn((), rollback("c", "b", phase=Phase.FAILED, reason=Reason.UNHEALTHY))
    assert gist((left,)) == {"c": BAD}
    assert brought == Entry(
        fingerprint=fingerprint("b"),
        revision="2",
        verdict=BAD,
        at=after(-30),
        reason="it was not well after tuesday brought it back",
    )


REQUESTS: dict[str, tuple[Other, dict[str, Proof]]] = {
    "succeeded": (rollback("c", "b"), {"c": BAD}),
    "failed, for pods or triggers": (
        rollback("c", "b", phase=Phase.FAILED, reason=Reason.UNHEALTHY),
        {"c": BAD, "b": BAD},
    ),
    "failed half-way": (
        rollback("c", "b", phase=Phase.FAILED, reason=Reason.HALF_APPLIED),
        {"c": BAD},
    ),
    "was not well in time": (rollback("c", "b", phase=Phase.FAILED, reason=Reason.TIMEOUT), {"c": BAD, "b": BAD}),
    "was reverted": (rollback("c", "b", phase=Phase.FAILED, reason=Reason.REVERTED), {"c": BAD}),
    "was overtaken": (rollback("c", "b", phase=Phase.FAILED, reason=Reason.OVERTAKEN), {"c": BAD}),
    "was aborted after its effect": (rollback("c", "b", phase=Phase.ABORTED, reason=Reason.ABORTED), {"c": BAD}),
    "made no effect": (rollback("c", "b", phase=Phase.FAILED, reason=Reason.TIMEOUT, applied=False), {}),
    "has not ended": (rollback("c", "b", phase=Phase.VERIFYING, ended=None), {}),
    "was a dry run": (rollback("c", "b", dry_run=True), {}),
}


@pytest.mark.parametrize("case", REQUESTS)
def test_the_ledger_learns_of_a_request_that(case: str) -> None:
    request, expected = REQUESTS[case]
    assert gist(learn((), request)) == expected


def test_it_learns_nothing_of_a_request_without_a_plan() -> None:
    assert learn((), other(phase=Phase.FAILED, reason=Reason.UNHEALTHY, applied=True, finished=NOW)) == ()


KNOWN: dict[str, tuple[Entry, Proof, str]] = {
    "good before the rollback": (entry("c", at=-60), BAD, "tuesday rolled back from it"),
    "good in the moment of the rollback": (entry("c", at=-30), BAD, "tuesday rolled back from it"),
    "good since the rollback": (entry("c", at=-10), GOOD, "c proved Good"),
    "bad before the rollback": (entry("c", BAD, at=-60), BAD, "c proved Bad"),
}


@pytest.mark.parametrize("case", KNOWN)
def test_what_was_rolled_back_from_had_proved(case: str) -> None:
    known, verdict, reason = KNOWN[case]
    (found,) = learn((known,), rollback("c", "b"))
    assert (found.verdict, found.reason) == (verdict, reason)


# A return by hand.


def test_what_somebody_left_by_hand_is_bad() -> None:
    (found,) = learn(before=runs("c"), current=runs("b", since=-5, rollback=True))
    assert found == Entry(
        fingerprint=fingerprint("c"),
        revision="3",
        verdict=BAD,
        at=NOW,
        reason="somebody went back from it to revision 2",
    )


@pytest.mark.parametrize("phase", [Phase.RUNNING, Phase.VERIFYING], ids=["is not noted yet", "is being verified"])
def test_who_takes_back_a_rollback_accuses_nobody_while_it(phase: Phase) -> None:
    noted = phase is Phase.VERIFYING
    unfinished = other("x", phase=phase, applied=noted, left=fingerprint("c"), to=fingerprint("b"))
    before, current = runs("b", since=-20, rollback=True), runs("c", since=-5, rollback=True)
    assert learned((), before, current, (unfinished,), NOW, soaked=False) == ()


BACK = runs("b", since=-5, rollback=True)
RETURNS: dict[
    str, tuple[CurrentRevision | None, CurrentRevision | None, tuple[Entry, ...], tuple[Other, ...], bool]
] = {
    "somebody went back by hand": (runs("c"), BACK, (), (), True),
    "the release that was left had proved good": (runs("c"), BACK, (entry("c"),), (), True),
    "the one that came back had proved good": (runs("c"), BACK, (entry("b"),), (), True),
    "a new release came": (runs("c"), runs("d", since=-5), (), (), False),
    "a bad one came back": (runs("c"), BACK, (entry("b", BAD),), (), False),
    "nothing changed": (BACK, BACK, (), (), False),
    "the target was created anew": (runs("c", uid="another"), BACK, (), (), False),
    "nothing is known of before": (None, BACK, (), (), False),
    "nothing is known of now": (runs("c"), None, (), (), False),
    "a request did it, which verifies": (runs("c"), BACK, (), (rollback("c", "b", ended=None),), False),
    "a request did it, and that is not noted yet": (
        runs("c"),
        BACK,
        (),
        (rollback("c", "b", ended=None, applied=False, phase=Phase.RUNNING),),
        False,
    ),
    "a request did it from a release that nobody saw": (runs("c"), BACK, (), (rollback("d", "b", ended=None),), False),
    "a request planned it and made no effect": (
        runs("c"),
        BACK,
        (),
        (rollback("c", "b", applied=False, phase=Phase.SUPERSEDED),),
        True,
    ),
    "a request went elsewhere": (runs("c"), BACK, (), (rollback("c", "a", ended=None),), True),
    "a request went there before the release that was left came": (
        runs("c"),
        BACK,
        (entry("d", BAD),),
        (rollback("d", "b", ended=-3600, age=4000),),
        True,
    ),
}


@pytest.mark.parametrize("case", RETURNS)
def test_a_return_says_something_of_what_was_left_when(case: str) -> None:
    before, current, entries, requests, bad = RETURNS[case]
    found = learn(entries, *requests, before=before, current=current)
    assert gist(one for one in found if one not in entries) == ({"c": BAD} if bad else {})


def test_a_request_that_ended_is_why_the_release_is_bad_and_not_the_return() -> None:
    (found,) = learn((), rollback("c", "b"), before=runs("c"), current=BACK)
    assert found.reason == "tuesday rolled back from it"


# All of it.


def test_requests_may_be_given_one_by_one() -> None:
    """The ledger looks at them more than once."""
    made = [rollback("c", "b", ended=None)]
    assert learned((), runs("c"), BACK, iter(made), NOW, soaked=False) == ()


def test_the_newest_is_the_last() -> None:
    entries = (entry("a", at=-300), entry("e", at=-20))
    found = learn(entries, rollback("c", "b"), current=runs("d"), soaked=True)
    assert list(gist(found)) == ["a", "c", "e", "d"]


def many(count: int) -> tuple[Entry, ...]:
    """Entries of so many releases, the newest 100 seconds ago."""
    made = [entry("a", at=-100 - number) for number in range(count, 0, -1)]
    return tuple(
        one.model_copy(update={"fingerprint": f"v1:{number:064x}", "revision": str(number)})
        for number, one in enumerate(made)
    )


def test_it_keeps_the_newest_fifty() -> None:
    assert MAX_LEDGER == 50
    found = learn(many(50), current=runs("b"), soaked=True)
    assert len(found) == 50
    assert found[:-1] == many(50)[1:]
    assert gist(found[-1:]) == {"b": GOOD}


def test_what_it_forgot_is_nothing_new() -> None:
    """Requests are kept for longer than what was learned of them: an idle policy is not written for that."""
    entries = many(50)
    assert learn(entries, rollback("c", "b", ended=-9999, age=10_000)) is entries


letters = st.sampled_from("abcd")
moments = st.integers(-1000, 0)
requests = st.builds(
    rollback,
    letters,
    letters,
    ended=st.none() | moments,
    phase=st.sampled_from([Phase.SUCCEEDED, Phase.FAILED, Phase.ABORTED]),
    reason=st.sampled_from([Reason.UNHEALTHY, Reason.HALF_APPLIED, Reason.TIMEOUT, Reason.REVERTED]),
    applied=st.booleans(),
    age=st.integers(0, 1000),
)
releases = st.builds(runs, letters, since=moments, rollback=st.booleans())
ledgers = st.lists(st.builds(entry, letters, st.sampled_from(Proof), at=moments), unique_by=lambda one: one.fingerprint)


@given(
    known=ledgers,
    before=st.none() | releases,
    current=releases,
    made=st.lists(requests, max_size=4),
    soaked=st.booleans(),
)
def test_what_was_learned_once_is_learned_and_what_is_bad_stays_bad(
    known: list[Entry], before: CurrentRevision | None, current: CurrentRevision, made: list[Other], *, soaked: bool
) -> None:
    entries = tuple(known)
    found = learned(entries, before, current, made, NOW, soaked=soaked)
    assert learned(found, current, current, made, NOW, soaked=soaked) is found
    assert {one.fingerprint for one in entries} <= {one.fingerprint for one in found}
    bad = {one.fingerprint for one in entries if one.verdict is BAD}
    assert bad <= {one.fingerprint for one in found if one.verdict is BAD}
    assert [one.at for one in found] == sorted(one.at for one in found)


# What people correct.


def test_entries_are_good_or_bad_as_they_were_found() -> None:
    ledger = Ledger.of(policy(), (entry("a"), entry("c", BAD), entry("b")))
    assert ledger.good == (fingerprint("a"), fingerprint("b"))
    assert ledger.bad == {fingerprint("c"): "c proved Bad"}
    assert ledger.newest_good() == fingerprint("b")
    assert ledger.newest_good({fingerprint("b")}) == fingerprint("a")


def test_peoples_word_wins_both_ways() -> None:
    orders = policy(ledger=(called("a", BAD, "INC-7"), called("c", GOOD, "false alarm"), called("d", BAD)))
    ledger = Ledger.of(orders, (entry("a"), entry("b"), entry("c", BAD)))
    assert ledger.good == (fingerprint("b"), fingerprint("c"))
    assert ledger.bad == {
        fingerprint("a"): "the policy's spec.ledger calls it bad: INC-7",
        fingerprint("d"): "the policy's spec.ledger calls it bad",
    }
    left = {fingerprint(letter): "tuesday rolled back from it" for letter in "bc"}
    assert ledger.bad_with(left) == {**ledger.bad, fingerprint("b"): "tuesday rolled back from it"}


def test_what_the_ledger_says_goes_before_what_a_request_says() -> None:
    ledger = Ledger.of(policy(), (entry("c", BAD, reason="it was not well"),))
    assert ledger.bad_with({fingerprint("c"): "tuesday rolled back from it"}) == {fingerprint("c"): "it was not well"}


NEWEST: dict[str, tuple[tuple[Entry, ...], tuple[tuple[str, Proof], ...], str | None]] = {
    "none, when nothing proved good": ((entry("a", BAD),), (), None),
    "the last that did": ((entry("a"), entry("b"), entry("c", BAD)), (), "b"),
    "none that people call bad": ((entry("a"), entry("b")), (("b", BAD),), "a"),
    "one that people call good, of which nothing is known": ((entry("a"),), (("b", GOOD),), "b"),
    "what proved good after one that people call good": ((entry("a", BAD), entry("b")), (("a", GOOD),), "b"),
}


@pytest.mark.parametrize("case", NEWEST)
def test_the_newest_good_is(case: str) -> None:
    entries, corrections, expected = NEWEST[case]
    ledger = Ledger.of(policy(ledger=tuple(called(*one) for one in corrections)), entries)
    assert ledger.newest_good() == (fingerprint(expected) if expected else None)


def test_what_stands_in_parts_of_a_bad_release_is_bad() -> None:
    ledger = Ledger(bad={fingerprint("b"): "it is"})

    assert ledger.why_bad(fingerprint("b")) == ledger.why_bad(half_of(fingerprint("b"))) == "it is"
    assert ledger.why_bad(half_of(fingerprint("a"))) is None


def test_that_an_attempt_broke_off_over_a_release_says_nothing_against_it() -> None:
    parts = runs("c", since=-10, rollback=True).model_copy(update={"fingerprint": half_of(fingerprint("c"))})

    assert learned((), runs("c"), parts, [], NOW, soaked=False) == ()


def test_a_request_that_left_its_release_in_parts_is_no_return_by_hand() -> None:
    left = runs("b", since=-10, rollback=True).model_copy(update={"fingerprint": half_of(fingerprint("b"))})
    going = rollback("c", "b", ended=None, phase=Phase.VERIFYING)

    assert learned((), runs("c"), left, [going], NOW, soaked=False) == ()
