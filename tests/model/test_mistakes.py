"""The walk finds what it is for: each mistake, with the shortest story to it."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from tests.model import cluster, invariants, surroundings
from tests.model.explore import explore
from tests.model.mistakes import MISTAKES
from tests.model.seeding import assert_found
from tests.model.shell import DEFECT, Shell
from tests.model.surroundings import all_but
from tests.model.world import Case

STUCK = Case(kind=cluster.STATEFUL_SET, begins=cluster.STUCK, spec=(("to", "4"),))


class Found(NamedTuple):
    case: Case
    wrong: str
    story: tuple[str, ...]
    """Pieces of its lines, in order; the last is in the last line."""


FOUND = {
    "it does not wait for an effect without an answer to settle": Found(
        Case(faults=1, moves=1), invariants.DENIED, ("effect: done", "aborts", "old reading", "Aborted, Applied=False")
    ),
    "it waits for ever for an effect to settle": Found(
        Case(faults=1), invariants.STUCK, ("status (no answer; done)", "Running/Settling, Applied=None")
    ),
    "the effect is made before the status is written": Found(Case(), invariants.UNPLANNED, ("effect: done",)),
    "a status is written without the version that it replaces": Found(Case(), DEFECT, ("looks",)),
    "a further attempt is not written down": Found(
        Case(faults=1, moves=1), invariants.SPINS, ("the write is slow", "status: done", "looks")
    ),
    "one answer counts for all attempts": Found(
        Case(faults=2), invariants.DENIED, ("late", "seconds", "(Forbidden)", "arrives", "Applied=False")
    ),
    "an attempt is sent however long ago it was written down": Found(
        Case(faults=2, moves=1), invariants.DENIED, ("the write is slow", "late", "arrives", "Applied=False")
    ),
    "a copy counts as made before it is": Found(
        Case(spec=(("backup", "IfAllowed"),)), invariants.UNCOPIED, ("status: done", "effect: done")
    ),
    "marks are not looked at": Found(Case(), invariants.DENIED, ("effect: done", "is Superseded/NewerRelease")),
    "fields are not given back": Found(Case(), invariants.STRANDED, ("effect: done", "is Succeeded/Completed")),
    "the effect does not test the revision": Found(
        Case(moves=2, but=all_but(surroundings.NEWER, surroundings.BACK)),
        invariants.ELSEWHERE,
        ("releases c", "puts b back", "effect: done"),
    ),
    "the effect does not test the template": Found(Case(moves=1), invariants.ELSEWHERE, ("somebody", "effect: done")),
    "the effect does not test that nobody paused the target": Found(
        Case(moves=1), invariants.ELSEWHERE, ("pauses", "effect: done")
    ),
    "the effect does not test who came before": Found(
        Case(faults=2, moves=1, but=all_but(surroundings.BACK)),
        invariants.TWICE,
        ("effect: done", "seconds pass", "a slow reading of the target", "puts b back", "effect: done"),
    ),
    "the effect does not test which target it is": Found(
        Case(moves=2, but=all_but(surroundings.DELETE, surroundings.CREATE)),
        invariants.ELSEWHERE,
        ("deletes the target", "creates the target anew", "effect: done"),
    ),
    "an abort is not heard": Found(Case(moves=1), invariants.STOPPED, ("aborts", "looks")),
    "a slow reading counts as new": Found(
        Case(faults=2, moves=1, but=all_but(surroundings.ABORT)),
        invariants.DENIED,
        ("late", "seconds", "arrives", "seconds", "slow reading", "Applied=False"),
    ),
    "nobody waits for a turn": Found(
        Case(requests=2), invariants.CROWD, ("request 1 is Running", "request 2 is Running")
    ),
    "a rollback meanwhile is not looked for": Found(
        Case(requests=2), invariants.BOTH, ("request 1 is Succeeded/Completed", "effect: done")
    ),
    "a pod that the controller itself made counts as in the way": Found(
        STUCK, invariants.HEALTHY_POD, ("gets ready", "pods fail", "effect: done", "deleting a pod: done")
    ),
    "failing pods are noted again and again": Found(Case(), invariants.RESTLESS, ("pods fail", "looks")),
}


def test_every_mistake_has_a_finding() -> None:
    assert set(FOUND) == set(MISTAKES)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("mistake", MISTAKES)
def test_it_is_found(mistake: str, mistaken_shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    found = FOUND[mistake]
    MISTAKES[mistake](monkeypatch)

    walk = explore(found.case, mistaken_shell)

    assert list(assert_found(walk.violation, found.wrong, found.story)) == [], str(walk.violation)
    assert str(walk.violation).splitlines()[1].startswith("   1. ")


def test_without_a_mistake_walks_that_are_made_here_only_find_nothing(shell: Shell) -> None:
    for case in {found.case for found in FOUND.values() if found.case.moves > 1}:
        walk = explore(case, shell)
        assert walk.violation is None, str(walk.violation)
