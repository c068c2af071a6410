"""Policies: every state that the real `PolicyWorker` and the real decisions can come to keeps every invariant."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from tests.model.policies import invariants, steps
from tests.model.policies.explore import Walk, explore
from tests.model.policies.mistakes import MISTAKES
from tests.model.policies.shell import Shell
from tests.model.policies.steps import ABORT, BACK, REMOVE, REMOVE_ENDED, all_but
from tests.model.policies.values import GRACED, NEXT_GOOD, ON_RETURN, SHORT_HISTORY
from tests.model.policies.world import Case
from tests.model.seeding import assert_found

WALKED = {
    "nothing goes wrong": Case(ticks=4),
    "people interfere": Case(ticks=2, moves=1),
    "a fault": Case(ticks=3, faults=1),
    "two operators": Case(ticks=2, operators=2),
    "people are asked, and interfere": Case(GRACED, ticks=2, moves=1),
    "a bad release returns": Case(ON_RETURN, ticks=3, moves=1, but=all_but(BACK)),
    "what was brought back is bad too": Case(NEXT_GOOD, ticks=3),
    "the policy observes": Case(mode="Observe", ticks=4),
    "a fault, and a signal that remembers": Case(ticks=2, faults=1, remembers=True),
}
_REMOVALS = frozenset({REMOVE, REMOVE_ENDED})
DEEP = {
    "people interfere for longer": Case(ticks=4, moves=1),
    "people interfere twice": Case(ticks=3, moves=2),
    "two faults": Case(ticks=3, faults=2),
    # Without the limit below, which a second operator that decides in that moment meets as well.
    "a fault, and people interfere": Case(ticks=3, faults=1, moves=1, but=_REMOVALS),
    "two operators, and people interfere": Case(ticks=3, operators=2, moves=1, but=_REMOVALS),
    "two operators, a fault": Case(ticks=3, operators=2, faults=1),
    "people are asked, and interfere for longer": Case(GRACED, ticks=4, moves=1),
    "people are asked, a fault": Case(GRACED, ticks=3, faults=1),
    "a bad release returns, for longer": Case(ON_RETURN, ticks=5, moves=1, but=all_but(BACK)),
    "what was brought back is bad too, and people interfere": Case(NEXT_GOOD, ticks=4, moves=1),
    "a short history, and people interfere": Case(SHORT_HISTORY, ticks=4, moves=1),
    "a fault, and a signal that remembers, for longer": Case(ticks=4, faults=1, remembers=True),
}
CASES = [
    *(pytest.param(case, id=name) for name, case in WALKED.items()),
    *(pytest.param(case, id=name, marks=[pytest.mark.deep, pytest.mark.timeout(7200)]) for name, case in DEEP.items()),
]


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("case", CASES)
def test_a_policy_acts_once_or_says_why_not(case: Case, shell: Shell, walks: list[Walk]) -> None:
    walk = explore(case, shell)

    walks.append(walk)
    if walk.violation is not None:
        pytest.fail(f"\n{walk.violation}", pytrace=False)  # an assertion would show every state that was walked


# What it is for: mistakes are found.


class Found(NamedTuple):
    case: Case
    wrong: str


_B = Case(ON_RETURN, ticks=2, moves=1, but=all_but(BACK))
FOUND = {
    "a request's name does not say which try it is": Found(Case(ticks=2), invariants.GAVE_UP),
    "a request's name does not say which revision it is for": Found(_B, invariants.SILENT),
    "a request's name cannot be found again": Found(Case(ticks=2, operators=2), invariants.TWO_AT_ONCE),
    "the request is noted before it is made": Found(Case(ticks=2), invariants.GAVE_UP),
    "orders are not read anew before a request is made": Found(
        Case(ticks=2, moves=1, faults=1, but=all_but(steps.SUSPEND)), invariants.NOT_ENFORCED
    ),
    "what was made and is deleted is not remembered": Found(
        Case(ticks=2, moves=1, but=all_but(REMOVE)), invariants.VETOED
    ),
    "the list of requests is not looked at": Found(Case(ticks=3), invariants.GAVE_UP),
    "the ledger is not consulted": Found(_B, invariants.FORGOTTEN),
    "the ledger is not kept": Found(_B, invariants.FORGOTTEN),
    "the breaker does not count": Found(Case(ticks=4, moves=1, but=all_but(steps.RELEASE)), invariants.BREAKER),
    "a trigger fires at once": Found(Case(ticks=1), invariants.NOT_FIRED),
    "Unknown counts as Breach": Found(Case(ticks=2), invariants.NOT_FIRED),
    "a return counts as a release": Found(Case(ticks=2, moves=1, but=all_but(steps.BY_HAND)), invariants.OF_A_ROLLBACK),
    "what waits for people is never taken back": Found(Case(GRACED, ticks=2), invariants.KEPT),
    "an abort is no veto": Found(Case(ticks=2, moves=1, but=all_but(ABORT)), invariants.VETOED),
    "nobody is told": Found(Case(ticks=2), invariants.SILENT),
}


def test_every_mistake_has_a_finding() -> None:
    assert set(FOUND) == set(MISTAKES)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("mistake", MISTAKES)
def test_it_is_found(mistake: str, shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    found = FOUND[mistake]
    MISTAKES[mistake](monkeypatch)

    walk = explore(found.case, shell)

    assert_found(walk.violation, found.wrong)


@pytest.mark.timeout(3600)
def test_a_release_between_the_request_and_its_effect_is_left_alone(shell: Shell) -> None:
    walk = explore(Case(ticks=2, moves=1, but=all_but(steps.RELEASE)), shell, endings=False)

    assert walk.violation is None, str(walk.violation)
    assert any("Superseded/NewerRelease" in words for words in walk.words)


# A limit that is known. Should it fail because it does not happen any more, count it always.


@pytest.mark.timeout(3600)
def test_known_limit_a_request_is_made_again_that_was_deleted_before_it_could_be_noted(shell: Shell) -> None:
    walk = explore(Case(ticks=2, moves=1, faults=1, but=all_but(REMOVE)), shell, endings=False)

    assert walk.violation is not None
    assert walk.violation.wrong == invariants.VETOED
    assert any("is killed" in line or "no answer" in line for line in walk.violation.story)


def test_an_abort_is_final_whatever_fails(shell: Shell) -> None:
    walk = explore(Case(ticks=2, moves=1, faults=1, but=all_but(ABORT)), shell, endings=False)

    assert walk.violation is None, str(walk.violation)
