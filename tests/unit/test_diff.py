"""The difference between two states, as a person reads it."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollback_operator.targets import diff
from rollback_operator.targets.diff import unified
from tests.unit.objects import template


def test_what_changes_stands_in_its_context() -> None:
    assert unified(template("shop:3"), template("shop:2"), "revision 3 (now)", "revision 2 (after)") == (
        "--- revision 3 (now)\n"
        "+++ revision 2 (after)\n"
        "@@ -3,5 +3,5 @@\n"
        "     app: checkout\n"
        " spec:\n"
        "   containers:\n"
        "-  - image: shop:3\n"
        "+  - image: shop:2\n"
        "     name: web\n"
    )


def test_nothing_is_said_about_equals() -> None:
    assert unified(template(), template(), "a", "b") == ""


def test_a_value_that_stands_twice_is_written_twice() -> None:
    twice = {"name": "x"}
    assert "&id" not in unified({"a": twice, "b": twice}, {}, "a", "b")


def test_a_long_line_is_not_folded() -> None:
    text = unified({"command": "word " * 200}, {}, "a", "b")
    assert len(text.splitlines()) == 5, text


values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(values, values)
def test_any_two_values_can_be_compared(one: Any, other: Any) -> None:
    text = unified(one, other, "before", "after")
    assert (text == "") == (one == other)
    assert text == "" or text.endswith("\n")


SLOW = {
    "many lines that are alike": (
        [f"a{i * i % 101}" for i in range(30_000)],
        [f"a{i**3 % 101}" for i in range(30_000)],
    ),
    "as many as the API server takes": ([""] * 400_000, [""] * 300_000),
}


@pytest.mark.parametrize("what", SLOW)
def test_of_much_only_so_much_is_compared(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes time by the square of that, and while it is made nobody else is served."""
    before, after = SLOW[what]
    compared: list[int] = []

    def comparing(one: list[str], other: list[str], *names: Any, **how: Any) -> Iterator[str]:
        compared.extend((len(one), len(other)))
        return real(one, other, *names, **how)

    real = difflib.unified_diff
    monkeypatch.setattr(difflib, "unified_diff", comparing)

    shown = unified({"args": before}, {"args": after}, "now", "after")

    assert shown.startswith("--- now\n+++ after\n")
    assert len(compared) == 2
    assert max(compared) <= diff.MOST_LINES + 1


def test_of_a_long_state_what_differs_is_shown_wherever_it_is() -> None:
    before = [f"line {number}" for number in range(5 * diff.MOST_LINES)]
    after = [*before[:-1], "another"]

    shown = unified(before, after, "now", "after")

    assert f"-- {before[-1]}\n+- another\n" in shown
    assert f" - {before[-2]}\n" in shown


def test_what_is_left_out_is_said() -> None:
    shown = unified({"a": 1}, [f"line {number}" for number in range(diff.MOST_LINES + 7)], "now", "after")

    assert shown.endswith("+# … 7 lines more, not compared\n")
