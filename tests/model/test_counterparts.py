"""Nothing of the real shell is forgotten by the model."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from rollback_operator.kube import errors
from rollback_operator.kube.client import Api
from rollback_operator.kube.errors import KubeError
from rollback_operator.targets.base import Target
from tests.model import faults, surroundings
from tests.model.explore import Walk, explore
from tests.model.shell import Over, ScriptedApi, Shell
from tests.model.surroundings import all_but
from tests.model.world import Case


def _methods(kind: type) -> set[str]:
    return {name for name, _ in inspect.getmembers(kind, inspect.isfunction) if not name.startswith("_")}


def test_every_call_of_the_api_has_a_counterpart() -> None:
    assert set(faults.CALLS) == _methods(Api)


def test_every_call_of_the_api_is_scripted_or_not_made_by_the_worker() -> None:
    assert _methods(Api) - _methods(ScriptedApi) == {"addresses", "close", "forward", "metadata", "try_to_apply"}


def test_every_call_of_a_target_has_a_counterpart() -> None:
    assert set(faults.TARGET) == _methods(Target)


def _all(kind: type[KubeError]) -> set[type[KubeError]]:
    return {kind}.union(*(_all(one) for one in kind.__subclasses__()))


def test_every_error_is_an_answer_that_the_model_gives() -> None:
    answers = {*faults.REFUSALS, faults.UNKNOWN}
    raised = _all(errors.KubeError) - {errors.KubeError}

    assert answers == {kind.__name__ for kind in raised}


@pytest.mark.timeout(3600)
def test_every_fault_and_every_move_is_met_in_a_walk(shell: Shell, small_walk: Walk) -> None:
    resumed = Case(moves=2, but=all_but(surroundings.PAUSE, surroundings.RESUME))
    created = Case(moves=2, but=all_but(surroundings.DELETE, surroundings.CREATE))
    cases = (resumed, created, Case(requests=2, faults=1))
    words = "\n".join(small_walk.words.union(*(explore(case, shell).words for case in cases)))
    met = [
        *surroundings.MOVES[:-2],
        f"{surroundings.ABORT} 1",
        f"{surroundings.WITHDRAW} 1",
        *faults.STALE,
        faults.SLOW_READING,
        faults.OLD_LIST,
        faults.SLOW,
    ]
    met += [faults.CRASH, "no answer; done", "no answer; late", "(Invalid)", "(Forbidden)", "(refused: deployment)"]

    assert [one for one in met if one not in words] == []


READS = ("deployment", "replicasets", "pods", "rollbackrequests", "rollbackpolicies")


@pytest.mark.parametrize("error", sorted({*faults.REFUSALS, faults.UNKNOWN} - {"NotFound"}))
@pytest.mark.parametrize("call", READS)
def test_a_read_that_fails_ends_the_round_without_a_write_or_as_a_refused_one(
    call: str, error: str, shell: Shell
) -> None:
    """So the walk needs to refuse one read only, and may leave out the others."""
    walk = explore(Case(moves=1), shell)
    fresh = {start for start, answers in shell.runs if not answers and start.broken is None and not start.spec}
    assert walk.violation is None
    for start in sorted(fresh, key=str)[::40]:
        result = shell.run(start._replace(broken=(call, error)))
        refused = shell.run(start._replace(broken=("deployment", "Forbidden")))
        unread = shell.run(start)
        assert result in (unread, refused) or _only_ends(result, error), start


def _only_ends(result: Any, error: str) -> bool:
    return bool(result == Over(result.heard, error=error))


def test_a_refused_status_write_leaves_no_trace_in_the_process(shell: Shell) -> None:
    """As `world.with_request` has it, which takes such a write for over at once."""
    explore(Case(faults=1), shell)
    refused = [(start, result) for (start, answers), result in shell.runs.items() if _refused(answers)]

    assert refused
    assert {result.heard == start.heard for start, result in refused if isinstance(result, Over)} == {True}


def _refused(answers: tuple[Any, ...]) -> bool:
    return [one.how for one in answers] in (["Conflict"], ["NotFound"])
