"""What stands in parts only, and what requests say that left something like that."""

from __future__ import annotations

import pytest

from rollback_operator.api.reasons import Reason
from rollback_operator.api.request import Phase
from rollback_operator.core.half import half_of, is_of, set_in_part, was_set_in_part
from rollback_operator.targets.application.content import digest
from tests.unit.builders import NOW, fingerprint, other

A = fingerprint("a")


def test_what_stands_in_parts_is_neither_the_one_nor_the_other() -> None:
    assert half_of(A) not in (A, half_of(fingerprint("b")))
    assert half_of(A) == "v1:" + digest({"failed": A}), "as an Application says it"


def test_it_is_of_what_was_to_come() -> None:
    assert is_of(A, A)
    assert is_of(half_of(A), A)
    assert not is_of(A, half_of(A))
    assert not is_of(half_of(A), None)


SAID = {
    "it failed over a hook": (set_in_part("Helm/shop", "1", "Helm says: no"), True),
    "it failed over a commit": (set_in_part("Application/argocd/shop", "a revision of words", "no"), True),
    "its pods failed": ("Helm/shop was set back to revision 1, but was not healthy in time: no", False),
    "a pod says so": ("Helm/shop was not healthy: " + set_in_part("Helm/shop", "1", "no"), False),
    "nothing": ("", False),
}


@pytest.mark.parametrize("case", SAID)
def test_who_left_it_so_says_so(case: str) -> None:
    message, said = SAID[case]
    ended = other(phase=Phase.FAILED, reason=Reason.UNHEALTHY, applied=True, finished=NOW, message=message)

    assert was_set_in_part(ended) is said
