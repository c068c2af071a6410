"""Which revision a request goes back to. Revisions of one letter are the same release."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollback_operator.api.common import TargetRef
from rollback_operator.api.reasons import Reason
from rollback_operator.api.request import Phase
from rollback_operator.core.choice import Chosen, choose
from rollback_operator.core.values import Ending, Revision, Snapshot
from tests.unit.builders import CHECKOUT, fingerprint, snapshot

WHY = "tuesday rolled back from it"


def known_bad(letters: Iterable[str]) -> dict[str, str]:
    return {fingerprint(letter): WHY for letter in letters}


def numbered_like_a_commit() -> Snapshot:
    found = snapshot("abz")
    first, second, third = found.history
    commit = replace(second, aliases=("1234567" + "0" * 33,))
    return replace(found, history=(replace(first, name="1234567"), commit, third))


CHOICES: dict[str, tuple[str, Snapshot, str, str]] = {
    "the newest earlier one": ("Previous", snapshot("abc"), "", "2"),
    "the newest earlier one when numbers are missing": ("Previous", snapshot("a.c"), "", "1"),
    "the newest earlier one that differs": ("Previous", snapshot("abcc"), "", "2"),
    "the newest of two that are the same release": ("Previous", snapshot("abbc"), "", "3"),
    "the newest that nobody rolled back from": ("Previous", snapshot("abcd"), "c", "2"),
    "what stood before the release that a rollback left": ("Previous", snapshot("a.cb"), "c", "1"),
    "an earlier one than that which stands, not a later one": ("Previous", snapshot("abcd", current=3), "", "2"),
    "the newest earlier one until something proved good": ("LastKnownGood", snapshot("abc"), "", "2"),
    "the one of that number": ("1", snapshot("abc"), "", "1"),
    "the one of that number, later than what stands": ("4", snapshot("abcd", current=3), "", "4"),
    "the one of that number, although it was rolled back from": ("1", snapshot("abc"), "a", "1"),
    "the one of that fingerprint": (fingerprint("a"), snapshot("abc"), "", "1"),
    "the newest of that fingerprint": (fingerprint("a"), snapshot("aabc"), "", "2"),
}


def with_commits(*aliases: str) -> Snapshot:
    """A target whose revisions stand for Git commits."""
    found = snapshot("abcd"[: len(aliases)] + "z")
    history = (replace(one, aliases=(alias,)) for one, alias in zip(found.history, aliases, strict=False))
    return replace(found, history=(*history, found.history[-1]))


BEYOND = Revision("f" * 40, 9, fingerprint("x"))
BY_COMMIT: dict[str, tuple[str, Snapshot, str]] = {
    "the one of that commit": ("ab" * 20, with_commits("ab" * 20, "cd" * 20), "1"),
    "the one whose commit begins so": ("cdcdcdc", with_commits("ab" * 20, "cd" * 20), "2"),
    "the newest of several": ("abababab", with_commits("ab" * 20, "ab" * 20), "2"),
    "a number rather than a commit that begins so": ("1234567", numbered_like_a_commit(), "1234567"),
    "one that only the target knows": (
        "f" * 40,
        replace(with_commits("ab" * 20), named=lambda to: BEYOND if to == BEYOND.name else None),
        BEYOND.name,
    ),
}


@pytest.mark.parametrize("case", BY_COMMIT)
def test_of_git_commits_it_goes_back_to(case: str) -> None:
    to, target, expected = BY_COMMIT[case]
    chosen = choose(to, CHECKOUT, target, {})
    assert isinstance(chosen, Chosen)
    assert chosen.revision.name == expected


def test_a_few_digits_of_a_commit_name_nothing() -> None:
    found = choose("ababab", CHECKOUT, with_commits("ab" * 20), {})
    assert isinstance(found, Ending)
    assert found.reason == Reason.REVISION_NOT_FOUND


@pytest.mark.parametrize("case", CHOICES)
def test_it_goes_back_to(case: str) -> None:
    to, target, bad, expected = CHOICES[case]
    chosen = choose(to, CHECKOUT, target, known_bad(bad))
    assert isinstance(chosen, Chosen)
    assert chosen.revision.name == expected


NOTHING_GOOD = "Nothing earlier has proved good yet, so LastKnownGood means Previous."
NOTES: dict[str, tuple[str, Snapshot, str, tuple[str, ...]]] = {
    "nothing, when there is nothing to say": ("Previous", snapshot("abc"), "", ()),
    "what LastKnownGood means": (
        "LastKnownGood",
        snapshot("abc"),
        "",
        (NOTHING_GOOD,),
    ),
    "what was skipped": ("Previous", snapshot("abc"), "b", ("Skipped revision 2: tuesday rolled back from it.",)),
    "a bad one that was named": (
        "2",
        snapshot("abc"),
        "b",
        ("Revision 2 counts as bad: tuesday rolled back from it.",),
    ),
}


@pytest.mark.parametrize("case", NOTES)
def test_the_plan_notes(case: str) -> None:
    to, target, bad, expected = NOTES[case]
    chosen = choose(to, CHECKOUT, target, known_bad(bad))
    assert isinstance(chosen, Chosen)
    assert chosen.notes == expected


ENDINGS: dict[str, tuple[str, Snapshot, str, Reason, str]] = {
    "there is no history": ("2", snapshot("."), "", Reason.REVISION_NOT_FOUND, "has no revision 2: it has none."),
    "there is one revision": ("2", snapshot("a"), "", Reason.REVISION_NOT_FOUND, "no revision 2: it has 1. Older"),
    "there are several": ("9", snapshot("abc"), "", Reason.REVISION_NOT_FOUND, "no revision 9: it has 1, 2 and 3."),
    "revisions begin with 1": ("0", snapshot("ab"), "", Reason.REVISION_NOT_FOUND, "no revision 0: it has 1 and 2."),
    "all earlier ones are gone": (
        "Previous",
        snapshot("..c"),
        "",
        Reason.NOTHING_TO_ROLL_BACK_TO,
        "has no revision before 3. Older ones are removed by its revisionHistoryLimit. To go back now",
    ),
    "all earlier ones were rolled back from": (
        "LastKnownGood",
        snapshot("abc"),
        "ab",
        Reason.NOTHING_TO_ROLL_BACK_TO,
        f"no earlier revision that does not count as bad: 1 ({WHY}) and 2 ({WHY}).",
    ),
    "the bad release was restarted": (
        "Previous",
        snapshot("aa"),
        "a",
        Reason.NOTHING_TO_ROLL_BACK_TO,
        "no earlier revision that does not count as bad: 1 (tuesday rolled back from it).",
    ),
    "the release was only restarted": (
        "Previous",
        snapshot("aa", tags=("shop:1", "proxy:2")),
        "",
        Reason.ALREADY_AT_REVISION,
        "already has the template of revision 1: nothing was changed. It uses shop:1 and proxy:2: a tag that was moved",
    ),
    "the number is that of what stands": (
        "2",
        snapshot("ab", tags=("shop:1",)),
        "",
        Reason.ALREADY_AT_REVISION,
        "already has the template of revision 2: nothing was changed.",
    ),
}


@pytest.mark.parametrize("case", ENDINGS)
def test_there_is_nothing_to_do_when(case: str) -> None:
    to, target, bad, reason, says = ENDINGS[case]
    ending = choose(to, CHECKOUT, target, known_bad(bad))
    assert isinstance(ending, Ending)
    assert ending.reason == reason
    assert says in ending.message
    assert ending.phase is (Phase.SUCCEEDED if reason is Reason.ALREADY_AT_REVISION else Phase.FAILED)


@pytest.mark.parametrize("kind,what", [("Helm", "chart and values"), ("Application", "sources and commits")])
def test_what_a_target_has_already_is_called_what_it_is(kind: str, what: str) -> None:
    ending = choose("2", TargetRef.model_validate({"kind": kind, "name": "web"}), snapshot("ab"), {})
    assert isinstance(ending, Ending)
    assert ending.message == f"{kind}/web already has the {what} of revision 2: nothing was changed."


def test_a_tag_that_did_not_move_is_not_talked_about() -> None:
    ending = choose("2", CHECKOUT, snapshot("ab", tags=("shop:1",)), {})
    assert isinstance(ending, Ending)
    assert "tag" not in ending.message


# What proved good.

PROVED: dict[str, tuple[Snapshot, str, str, str, tuple[str, ...]]] = {
    "the one that proved good, not the one before": (snapshot("abc"), "", "a", "1", ()),
    "the newest of those that did, whichever proved it last": (snapshot("abcd"), "", "ba", "2", ()),
    "the newest of one that was released twice": (snapshot("abac"), "", "a", "3", ()),
    "what is still in the history": (snapshot(".bcd"), "", "ab", "2", ()),
    "no bad one, although it proved good once": (snapshot("abcd"), "c", "cb", "2", ()),
    "not what runs, although it proved good": (snapshot("abc"), "", "ca", "1", ()),
    "the one before, if only what runs proved good": (snapshot("abc"), "", "c", "2", (NOTHING_GOOD,)),
    "the one before, if what proved good is gone": (snapshot(".bc"), "", "a", "2", (NOTHING_GOOD,)),
    "the newest that is not bad, if only bad ones proved good": (
        snapshot("abc"),
        "b",
        "b",
        "1",
        (NOTHING_GOOD, "Skipped revision 2: tuesday rolled back from it."),
    ),
}


@pytest.mark.parametrize("case", PROVED)
def test_last_known_good_is(case: str) -> None:
    target, bad, good, expected, notes = PROVED[case]
    chosen = choose("LastKnownGood", CHECKOUT, target, known_bad(bad), [fingerprint(letter) for letter in good])
    assert chosen == Chosen(next(one for one in target.history if one.name == expected), notes)


def test_what_is_merely_on_record_does_not_stand_in_for_what_proved_good_where_that_says_nothing() -> None:
    target = replace(snapshot(".bc"), only_proved=True)

    lost = choose("LastKnownGood", CHECKOUT, target, {}, [fingerprint("a")])
    assert isinstance(lost, Ending)
    assert lost.reason == Reason.REVISION_NOT_FOUND
    assert "What proved good of Deployment/checkout is no longer among its revisions" in lost.message
    for good in ((), (fingerprint("c"),)):  # nothing proved good yet, or nothing but what runs
        assert isinstance(choose("LastKnownGood", CHECKOUT, target, {}, good), Chosen)


def test_a_revision_that_is_on_record_and_cannot_be_gone_back_to_is_told_of() -> None:
    target = replace(snapshot(".b"), excluded={"1": "its status is failed"})

    named = choose("1", CHECKOUT, target, {})
    previous = choose("Previous", CHECKOUT, target, {})

    assert isinstance(named, Ending)
    assert named.message.startswith("Revision 1 of Deployment/checkout cannot be gone back to: its status is failed.")
    assert isinstance(previous, Ending)
    assert "no revision before 2 that can be gone back to, as 1 (its status is failed) cannot" in previous.message


def test_previous_is_the_one_before_whatever_proved_good() -> None:
    chosen = choose("Previous", CHECKOUT, snapshot("abc"), {}, [fingerprint("a")])
    assert isinstance(chosen, Chosen)
    assert chosen.revision.name == "2"


def test_a_restart_of_what_proved_good_is_no_earlier_release() -> None:
    ending = choose("LastKnownGood", CHECKOUT, snapshot("aa"), {}, [fingerprint("a")])
    assert isinstance(ending, Ending)
    assert ending.reason is Reason.ALREADY_AT_REVISION


letters = st.sampled_from("abcd.")


@given(st.lists(letters, min_size=1, max_size=8), st.sets(st.sampled_from("abcd")), st.data())
def test_previous_is_never_bad_never_later_and_never_what_stands(
    history: list[str], bad: set[str], data: st.DataObject
) -> None:
    numbers = [number for number, letter in enumerate(history, 1) if letter != "."]
    current = data.draw(st.sampled_from(numbers)) if numbers else None
    target = snapshot("".join(history), current=current)
    known = known_bad(bad)
    chosen = choose("Previous", CHECKOUT, target, known)
    fitting = [
        one
        for one in target.history
        if one.order < target.current.order
        and one.fingerprint != target.current.fingerprint
        and one.fingerprint not in known
    ]
    if isinstance(chosen, Chosen):
        assert chosen.revision == max(fitting, key=lambda one: one.order)
    else:
        assert not fitting


@given(st.lists(letters, min_size=1, max_size=8), st.sets(st.sampled_from("abcd")), st.sets(st.sampled_from("abcd")))
def test_last_known_good_is_never_bad_and_good_if_anything_is(
    history: list[str], bad: set[str], good: set[str]
) -> None:
    target = snapshot("".join(history))
    proved = [fingerprint(letter) for letter in good]
    chosen = choose("LastKnownGood", CHECKOUT, target, known_bad(bad), proved)
    fitting = [
        one
        for one in target.history
        if one.fingerprint in proved
        and one.fingerprint != target.current.fingerprint
        and one.fingerprint not in known_bad(bad)
    ]
    if fitting:
        assert chosen == Chosen(max(fitting, key=lambda one: one.order))
    elif isinstance(chosen, Chosen):
        assert chosen.revision.fingerprint not in known_bad(bad)
        assert chosen.notes[0] == NOTHING_GOOD


@given(st.lists(letters, min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_the_order_in_which_the_history_is_listed_does_not_matter(history: list[str], random: object) -> None:
    target = snapshot("".join(history))
    shuffled: list[Revision] = list(target.history)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    other = Snapshot(target.uid, target.generation, target.current, tuple(shuffled), settled=True, health=target.health)
    for to in ("Previous", "LastKnownGood", "1", "3", fingerprint("a")):
        for good in ((), (fingerprint("a"), fingerprint("b"))):
            assert choose(to, CHECKOUT, target, {}, good) == choose(to, CHECKOUT, other, {}, good)
