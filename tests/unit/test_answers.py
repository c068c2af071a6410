"""What a Prometheus' answer says, where whoever answers is a tenant's."""

from __future__ import annotations

from rollback_operator.signals.answers import Nothing, document
from rollback_operator.signals.outbound import Answer
from rollback_operator.signals.prometheus import LARGEST_HISTORY


def _answered(result: bytes) -> object:
    return document(Answer(200, b'{"status":"success","data":{"result":[' + result + b"]}}", 0.1, whole=True), "x")


def test_an_answer_that_would_grow_too_large_is_not_read() -> None:
    found = _answered(b",".join([b"{}"] * 3_000_000))

    assert isinstance(found, Nothing)
    assert "too large an answer" in found.said


def test_a_history_as_long_as_one_may_be_is_read() -> None:
    point = b'[1772334000.123,"0.0123456"],'
    series = b'{"metric":{},"values":[' + point * (LARGEST_HISTORY // len(point) - 10) + b"[0]]}"

    assert not isinstance(_answered(series), Nothing)
