"""Whose turn it is: any set of requests for one target, in any order, seen by any of them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollback_operator.api.request import FINAL, Phase
from rollback_operator.core.turn import ahead, meanwhile, rolled_back_from
from rollback_operator.core.values import Other, Request
from tests.unit.builders import NOW, after, fingerprint, other, request

BEGUN = (Phase.RUNNING, Phase.VERIFYING)
NOT_BEGUN = (None, Phase.PENDING, Phase.AWAITING_APPROVAL)


@st.composite
def others(draw: st.DrawFn, phases: tuple[Phase | None, ...] = (*Phase, None)) -> list[Other]:
    """Requests with few creation times, so that ties are common, and each a uid of its own."""
    count = draw(st.integers(min_value=1, max_value=7))
    uids = draw(st.permutations([f"uid-{number}" for number in range(count)]))
    return [
        Other(
            uid=uid,
            name=f"request-{uid}",
            created=NOW + timedelta(seconds=draw(st.integers(0, 2))),
            phase=(phase := draw(st.sampled_from(phases))),
            dry_run=draw(st.booleans()),
            graced=phase in NOT_BEGUN and draw(st.booleans()),
        )
        for uid in uids
    ]


def as_request(one: Other) -> Request:
    return request(uid=one.uid, name=one.name, created=one.created, dry_run=one.dry_run)


def in_line(all_: list[Other]) -> list[Other]:
    return [one for one in all_ if one.phase not in FINAL and not one.dry_run and not one.graced]


def going(all_: list[Other]) -> list[Other]:
    """Those in line that have nobody ahead."""
    return [one for one in in_line(all_) if ahead(as_request(one), all_) is None]


@given(others(phases=(*NOT_BEGUN, *FINAL)))
def test_of_requests_that_have_not_begun_exactly_one_may(all_: list[Other]) -> None:
    assert len(going(all_)) == min(1, len(in_line(all_)))


@given(others())
def test_a_request_that_has_not_begun_waits_while_one_has(all_: list[Other]) -> None:
    begun = [one for one in in_line(all_) if one.phase in BEGUN]
    for one in in_line(all_):
        first = ahead(as_request(one), all_)
        if begun and one.phase not in BEGUN:
            assert first in begun
        if first is not None:
            assert first.uid != one.uid
            assert first in in_line(all_)


@given(others(), st.randoms(use_true_random=False))
def test_everybody_sees_the_same_order_however_it_is_listed(all_: list[Other], random: object) -> None:
    shuffled = list(all_)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    for one in all_:
        assert ahead(as_request(one), all_) == ahead(as_request(one), shuffled)
        assert meanwhile(as_request(one), all_) == meanwhile(as_request(one), shuffled)


@given(others())
def test_dry_runs_neither_wait_nor_are_waited_for(all_: list[Other]) -> None:
    for one in all_:
        first = ahead(as_request(one), all_)
        if one.dry_run:
            assert first is None
        else:
            assert first is None or not first.dry_run
            assert first == ahead(as_request(one), [two for two in all_ if not two.dry_run])


@given(others(phases=NOT_BEGUN))
def test_they_go_one_after_the_other_oldest_first(all_: list[Other]) -> None:
    left, order = list(all_), []
    while in_line(left):
        (one,) = going(left)
        order.append(one)
        left.remove(one)
    assert order == sorted(in_line(all_), key=lambda one: (one.created, one.uid))


WAITS: dict[str, tuple[Other, bool]] = {
    "an older one": (other(age=1), True),
    "an older one that nobody took up yet": (other(age=1, phase=None), True),
    "an older one that is being verified": (other(age=1, phase=Phase.VERIFYING), True),
    "a younger one that runs": (other(age=-1, phase=Phase.RUNNING), True),
    "one of the same second with the lesser uid": (other(age=0, uid="a"), True),
    "one of the same second with the greater uid": (other(age=0, uid="z"), False),
    "a younger one": (other(age=-1), False),
    "an older one that has ended": (other(age=1, phase=Phase.FAILED), False),
    "an older dry run": (other(age=1, dry_run=True), False),
    "an older one that waits for people": (other(age=1, phase=Phase.AWAITING_APPROVAL, graced=True), False),
    "an older one that nobody took up yet and that will wait for people": (
        other(age=1, phase=None, graced=True),
        False,
    ),
    "an older one whose grace is over": (other(age=1, phase=Phase.AWAITING_APPROVAL), True),
    "itself": (other(age=1, uid="uid-of-request"), False),
}


@pytest.mark.parametrize("case", WAITS)
def test_a_request_waits_for(case: str) -> None:
    first, waits = WAITS[case]
    assert ahead(request(), [first]) == (first if waits else None)


MEANWHILE: dict[str, tuple[Other, bool]] = {
    "ended later": (other(applied=True, finished=after(1), phase=Phase.SUCCEEDED), True),
    "ended in the same second": (other(applied=True, finished=NOW, phase=Phase.FAILED), True),
    "ended before": (other(applied=True, finished=after(-1), phase=Phase.SUCCEEDED), False),
    "made no effect": (other(finished=after(1), phase=Phase.FAILED), False),
    "has not ended": (other(applied=True, phase=Phase.VERIFYING), False),
    "is the same": (other(uid="uid-of-request", applied=True, finished=after(1)), False),
}


@pytest.mark.parametrize("case", MEANWHILE)
def test_a_request_overlaps_with_one_that(case: str) -> None:
    one, overlaps = MEANWHILE[case]
    assert meanwhile(request(), [one]) == (one if overlaps else None)


LEFT: dict[str, tuple[Other, bool]] = {
    "made its effect": (other(applied=True, left=fingerprint("c"), phase=Phase.SUCCEEDED), True),
    "made its effect and failed": (other(applied=True, left=fingerprint("c"), phase=Phase.FAILED), True),
    "planned it and made no effect": (other(left=fingerprint("c"), phase=Phase.SUPERSEDED), False),
    "only rehearsed it": (other(left=fingerprint("c"), applied=True, dry_run=True, phase=Phase.SUCCEEDED), False),
    "never planned": (other(applied=True, phase=Phase.FAILED), False),
}


@pytest.mark.parametrize("case", LEFT)
def test_a_revision_counts_as_rolled_back_from_by_a_request_that(case: str) -> None:
    one, counts = LEFT[case]
    assert rolled_back_from([one]) == ({fingerprint("c"): "earlier rolled back from it"} if counts else {})
