"""What happened a moment ago."""

from __future__ import annotations

import time

import pytest

from rollback_operator.lately import Lately


def test_it_is_known_for_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    lately = Lately(60.0)
    assert not lately.has("it")
    lately.note("it")
    now += 59
    assert lately.has("it")
    now += 2
    assert not lately.has("it")


def test_what_is_over_takes_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    lately = Lately(60.0)
    for number in range(100):
        now += 10
        lately.note(number)
    assert len(lately._until) <= 7
