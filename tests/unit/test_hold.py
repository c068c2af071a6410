"""Whether a hold goes on: every combination of what can be seen."""

from __future__ import annotations

import itertools
from datetime import timedelta

import pytest

from rollback_operator.api.reasons import Reason
from rollback_operator.core.hold import Comparison, Ends, Goes, Orders, Seen, asks_git, stands
from tests.unit.builders import NOW, after

COMMAND = "kubectl annotate"
SAME, CHANGED = Comparison(changed=False), Comparison(changed=True, words="main at 1a2b3c")
UNKNOWN = Comparison(changed=None, words="git is down")


def orders(until: str = "TargetChanges") -> Orders:
    return Orders(until, NOW, timedelta(hours=1))


def seen(**fields: bool) -> Seen:
    return Seen("Application shop/web", COMMAND, **fields)


CASES: dict[str, tuple[Orders, Seen, Comparison | None, float, Reason, bool]] = {
    "Git has what was rolled back from": (orders(), seen(), SAME, 60, Reason.HOLDING, False),
    "Git has something else": (orders(), seen(), CHANGED, 60, Reason.TARGET_CHANGED, True),
    "nobody can tell": (orders(), seen(), UNKNOWN, 60, Reason.CANNOT_COMPARE, False),
    "nobody can tell for long": (orders(), seen(), UNKNOWN, 7200, Reason.CANNOT_COMPARE, False),
    "it lasts": (orders(), seen(), SAME, 3600, Reason.HELD_FOR_LONG, False),
    "it lasts almost too long": (orders(), seen(), SAME, 3599, Reason.HOLDING, False),
    "Git has something else after long": (orders(), seen(), CHANGED, 7200, Reason.TARGET_CHANGED, True),
    "by hand, and Git has something else": (orders("Manual"), seen(), None, 60, Reason.HOLDING, False),
    "by hand, and it lasts": (orders("Manual"), seen(), None, 7200, Reason.HELD_FOR_LONG, False),
    "a person ended it": (orders("Manual"), seen(released=True), None, 60, Reason.RELEASED_BY_HAND, True),
    "a person ended it before Git changed": (orders(), seen(released=True), None, 60, Reason.RELEASED_BY_HAND, True),
    "a person ended it while Argo CD is busy": (
        orders(),
        seen(released=True, busy=True),
        None,
        60,
        Reason.HOLDING,
        False,
    ),
    "Git has something else while Argo CD is busy": (orders(), seen(busy=True), None, 60, Reason.HOLDING, False),
    "a person turned automation on": (orders(), seen(automated=True), None, 60, Reason.AUTOMATION_TURNED_ON, False),
    "words that mean nothing": (orders("Whenever"), seen(), None, 60, Reason.HOLDING, False),
}


@pytest.mark.parametrize("case", CASES)
def test_it_stands_like_this(case: str) -> None:
    asked, found, comparison, later, reason, restored = CASES[case]
    standing = stands(asked, found, comparison, after(later))
    assert standing.reason == reason
    assert (isinstance(standing, Ends) and standing.restore) is restored


def test_a_hold_that_goes_on_says_how_to_end_it_and_why_it_lasts() -> None:
    standing = stands(orders(), seen(), UNKNOWN, NOW)
    assert isinstance(standing, Goes)
    assert standing.bad
    assert COMMAND in standing.message
    assert "git is down" in standing.message


def test_whatever_is_seen_automation_comes_back_only_for_a_reason() -> None:
    """The hold's whole life: every look at it, whatever it sees."""
    flags = itertools.product((False, True), repeat=3)
    comparisons = (None, SAME, CHANGED, UNKNOWN)
    for (automated, released, busy), until, comparison, later in itertools.product(
        flags, ("TargetChanges", "Manual", "?"), comparisons, (0, 7200)
    ):
        asked, found = orders(until), seen(automated=automated, released=released, busy=busy)
        if comparison is not None and not asks_git(asked, found):
            continue  # nobody asks Git then
        standing = stands(asked, found, comparison, after(later))
        restored = isinstance(standing, Ends) and standing.restore
        wished = released and not automated and not busy
        came = comparison is CHANGED and not automated and not busy
        assert restored is (wished or came)
        assert isinstance(standing, Ends) is (restored or automated)
        assert len(standing.message) < 1000


@pytest.mark.parametrize("until", ["Manual", "?"])
def test_a_hold_until_a_person_ends_it_asks_nobody(until: str) -> None:
    assert not asks_git(orders(until) if until == "Manual" else orders("Manual"), seen())
