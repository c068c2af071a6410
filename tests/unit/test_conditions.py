"""Conditions: the transition time moves with the status and with nothing else."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from typing import get_args

from hypothesis import given
from hypothesis import strategies as st

from rollback_operator.api.reasons import Reason
from rollback_operator.core import conditions as on
from tests.unit.builders import NOW, after

STATES = get_args(on.State)
TYPES = (on.PLANNED, on.APPLIED, on.VERIFIED, on.READY, on.RECONCILING, on.STALLED)

change = st.none() | st.tuples(
    st.sampled_from(STATES), st.sampled_from([Reason.QUEUED, Reason.APPLIED]), st.sampled_from(["one", "other"])
)
rounds = st.lists(st.dictionaries(st.sampled_from(TYPES), change, max_size=4), max_size=8)


@given(rounds)
def test_the_transition_time_moves_when_the_status_does_and_only_then(changes: list[dict[str, on.Change]]) -> None:
    seen = [on.updated((), {}, 1, NOW)]
    for seconds, one in enumerate(changes, 1):
        seen.append(on.updated(seen[-1], one, 1, after(seconds)))
    for seconds, (before, now) in enumerate(pairwise(seen), 1):
        for condition in now:
            earlier = on.find(before, condition.type)
            moved = earlier is None or earlier.status != condition.status
            expected = after(seconds) if moved or earlier is None else earlier.last_transition_time
            assert condition.last_transition_time == expected


@given(rounds)
def test_the_same_change_twice_is_no_change(changes: list[dict[str, on.Change]]) -> None:
    conditions = on.updated((), {}, 1, NOW)
    for seconds, one in enumerate(changes):
        conditions = on.updated(conditions, one, 1, after(seconds))
        assert on.updated(conditions, one, 1, after(1000)) == conditions


@given(rounds)
def test_each_type_stands_once_in_the_order_in_which_people_read(changes: list[dict[str, on.Change]]) -> None:
    conditions = on.updated((), {}, 1, NOW)
    for one in changes:
        conditions = on.updated(conditions, one, 1, NOW)
    assert [one.type for one in conditions] == [kind for kind in TYPES if on.find(conditions, kind)]


def test_what_is_not_changed_stays_as_it_was() -> None:
    before = on.updated((), {on.READY: ("True", Reason.COMPLETED, "done"), on.STALLED: None}, 1, NOW)
    now = on.updated(before, {on.APPLIED: ("True", Reason.APPLIED, "made")}, 2, after(1))
    assert on.find(now, on.READY) == before[0]
    assert [one.observed_generation for one in now] == [2, 1]


def test_none_removes_a_condition() -> None:
    before = on.updated((), {on.RECONCILING: ("True", Reason.QUEUED, "waiting")}, 1, NOW)
    assert on.updated(before, {on.RECONCILING: None}, 1, NOW) == ()


def test_a_condition_of_somebody_else_is_kept_last() -> None:
    theirs = on.updated((), {"Zealous": ("True", Reason.QUEUED, "mine")}, 1, NOW)
    now = on.updated(theirs, {on.STALLED: ("True", Reason.TIMEOUT, "late")}, 1, NOW)
    assert [one.type for one in now] == [on.STALLED, "Zealous"]


def test_times_have_whole_seconds_as_the_api_server_keeps_them() -> None:
    (condition,) = on.updated((), {on.READY: ("True", Reason.COMPLETED, "")}, 1, NOW + timedelta(seconds=1.75))
    assert condition.last_transition_time == after(1)


@given(st.text(max_size=50), st.integers(2, 40))
def test_a_text_is_cut_visibly_within_its_bound(text: str, limit: int) -> None:
    short = on.shorten(text, limit)
    assert len(short) <= limit
    assert short == text or (len(text) > limit and short.endswith(" …") and text.startswith(short[:-2]))


def test_truth_is_told_by_the_status() -> None:
    conditions = on.updated(
        (), {on.READY: ("True", Reason.COMPLETED, ""), on.STALLED: ("Unknown", Reason.TIMEOUT, "")}, 1, NOW
    )
    assert on.is_true(conditions, on.READY)
    assert not on.is_true(conditions, on.STALLED)
    assert not on.is_true(conditions, on.APPLIED)
