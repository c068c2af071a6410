"""What stands in parts only."""

from __future__ import annotations

from rollback_operator.core.half import half_of, is_of
from rollback_operator.targets.application.content import digest
from tests.unit.builders import fingerprint

A = fingerprint("a")


def test_what_stands_in_parts_is_neither_the_one_nor_the_other() -> None:
    assert half_of(A) not in (A, half_of(fingerprint("b")))
    assert half_of(A) == "v1:" + digest({"failed": A}), "as an Application says it"


def test_it_is_of_what_was_to_come() -> None:
    assert is_of(A, A)
    assert is_of(half_of(A), A)
    assert not is_of(A, half_of(A))
    assert not is_of(half_of(A), None)
