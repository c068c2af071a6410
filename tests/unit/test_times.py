"""When to look again."""

from __future__ import annotations

import pytest

from rollback_operator.core.life.times import untold
from tests.unit.builders import after, verifying

LOOKS: dict[str, tuple[float, float]] = {
    "at once": (1, 0.1),
    "after a moment": (1.3, 0.15),
    "after a second": (2, 0.5),
    "after some seconds": (6, 1),
    "by an operator whose clock is behind": (0, 0.1),
}


@pytest.mark.parametrize("case", LOOKS)
def test_an_effect_that_no_event_tells_of_is_looked_at_soon_and_then_ever_more_rarely(case: str) -> None:
    """It was made at second 1."""
    seconds, expected = LOOKS[case]

    assert untold(verifying(), after(seconds)).total_seconds() == pytest.approx(expected)
