"""What is remembered between two looks at a request, and what counts as news."""

from __future__ import annotations

import pytest

from rollback_operator.requests import memory
from rollback_operator.requests.memory import Bodies, Interest
from tests.unit.objects import Object, request_body

KEY = ("shop", "undo")
PLACE = ("Deployment", "shop", "checkout")


def version(number: str, uid: str = "uid-1") -> Object:
    body = request_body(uid=uid)
    body["metadata"]["resourceVersion"] = number
    return body


NEWS: dict[str, tuple[Object, bool]] = {
    "a later version": (version("10"), True),
    "a version with more digits": (version("100"), True),
    "the same version": (version("9"), False),
    "an earlier version, which came late": (version("8"), False),
    "another object of that name": (version("1", "uid-2"), True),
    "a version that is no number": (version("opaque"), True),
}


@pytest.mark.parametrize("case", NEWS)
def test_news_is(case: str) -> None:
    body, news = NEWS[case]
    bodies = Bodies()
    assert bodies.learn(version("9"))
    assert bodies.learn(body) == news
    assert bodies.fresh(KEY) == (body if news else version("9"))


def test_nothing_is_known_at_first_and_of_what_was_forgotten() -> None:
    bodies = Bodies()
    assert bodies.fresh(KEY) is None
    bodies.learn(version("9"))
    bodies.forget(KEY)
    bodies.forget(KEY)
    assert bodies.fresh(KEY) is None
    assert bodies.learn(version("9"))


def test_what_was_learned_a_while_ago_is_read_again() -> None:
    bodies = Bodies()
    bodies.learn(version("9"))
    bodies._known[KEY].at -= memory.FRESH - 1
    assert bodies.fresh(KEY) is not None
    bodies._known[KEY].at -= 1
    assert bodies.fresh(KEY) is None
    assert not bodies.learn(version("9")), "old, but known"


def ended_a_while_ago(bodies: Bodies) -> None:
    at, key, body = bodies._ended.pop()
    bodies._ended.append((at - memory.FRESH - 1, key, body))


def test_what_has_ended_is_known_for_a_while() -> None:
    bodies = Bodies()
    bodies.learn(version("9"))
    bodies.ended(KEY)
    assert not bodies.learn(version("8"))
    ended_a_while_ago(bodies)
    bodies.learn(request_body("another"))
    assert bodies.fresh(KEY) is None
    assert set(bodies._known) == {("shop", "another")}
    assert not bodies._ended


def test_what_came_anew_under_the_name_of_what_has_ended_stays_known() -> None:
    bodies = Bodies()
    bodies.learn(version("9"))
    bodies.ended(KEY)
    bodies.learn(version("10", "uid-2"))
    ended_a_while_ago(bodies)
    bodies.learn(request_body("another"))
    assert bodies.fresh(KEY) == version("10", "uid-2")


def test_what_has_ended_unknown_is_no_trouble() -> None:
    bodies = Bodies()
    bodies.ended(KEY)
    assert not bodies._ended


def test_a_target_wakes_those_that_are_about_it() -> None:
    interest = Interest()
    interest.gained(KEY, PLACE)
    interest.gained(("shop", "other"), PLACE)
    interest.gained(("shop", "third"), ("Deployment", "shop", "cart"))
    assert set(interest.of(PLACE)) == {KEY, ("shop", "other")}
    interest.lost(KEY)
    interest.lost(KEY)
    assert interest.of(PLACE) == (("shop", "other"),)


def test_a_target_wakes_nobody_with_what_it_told_before() -> None:
    interest = Interest()
    assert interest.news(PLACE, "rolling") == ()
    interest.gained(KEY, PLACE)
    assert interest.news(PLACE, "rolling") == (KEY,)
    assert interest.news(PLACE, "rolling") == ()
    assert interest.news(PLACE, "healthy") == (KEY,)
    assert interest.news(PLACE, "rolling") == (KEY,)


def test_what_was_told_is_forgotten_with_the_last_that_cares() -> None:
    interest = Interest()
    interest.gained(KEY, PLACE)
    interest.news(PLACE, "healthy")
    interest.lost(KEY)
    interest.gained(KEY, PLACE)
    assert interest.news(PLACE, "healthy") == (KEY,)
    assert interest._told == {PLACE: "healthy"}


def test_a_request_that_turns_to_another_target_is_not_woken_by_the_first() -> None:
    """Its policy was pointed elsewhere while it waited."""
    interest = Interest()
    interest.gained(KEY, PLACE)
    interest.gained(KEY, ("Deployment", "shop", "cart"))
    assert interest.of(PLACE) == ()
    interest.lost(KEY)
    assert interest._keys == {}
