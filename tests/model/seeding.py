"""Mistakes are put into the code on purpose, to see that a walk finds them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.model.trails import Violation

Mistake = Callable[[pytest.MonkeyPatch], None]


def put(where: Any, name: str, value: Any) -> Mistake:
    """`value` stands in the place of what `where` has under that name."""
    return lambda patch: patch.setattr(where, name, value)


def both(*mistakes: Mistake) -> Mistake:
    """Several at once: what one of them breaks, another part of the code would make good."""

    def make(patch: pytest.MonkeyPatch) -> None:
        for one in mistakes:
            one(patch)

    return make


def assert_found(violation: Violation | None, wrong: str, story: tuple[str, ...] = ()) -> Iterator[str]:
    """A walk came to what begins with `wrong`; its story has these pieces in order. Gives the lines that follow."""
    assert violation is not None
    assert violation.wrong.startswith(wrong), str(violation)
    lines = iter(violation.story)
    for piece in story:
        assert any(piece in line for line in lines), (piece, str(violation))
    return lines
