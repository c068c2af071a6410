"""What a trigger hears of a rollout."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from rollback_operator.api.common import TargetRef
from rollback_operator.api.trigger import Trigger
from rollback_operator.core.verdicts import Sample, Verdict
from rollback_operator.kube import errors
from rollback_operator.signals.base import Object, Question, Signal
from rollback_operator.signals.rollout import RolloutSignal
from tests.unit.builders import CHECKOUT, NOW

AT = NOW.timestamp()


class Rollout:
    """Workloads of which one answer is known."""

    def __init__(self, answer: str | errors.KubeError | None) -> None:
        self.answer = answer
        self.asked: list[tuple[str, TargetRef, str]] = []

    async def pods(self, namespace: str, ref: TargetRef, service_account: str) -> Sequence[Object]:
        raise NotImplementedError

    async def stuck(self, namespace: str, ref: TargetRef, service_account: str) -> str | None:
        self.asked.append((namespace, ref, service_account))
        if isinstance(self.answer, errors.KubeError):
            raise self.answer
        return self.answer


def question(no_data: str = "Unknown") -> Question:
    trigger = Trigger.model_validate({"name": "stuck", "rollout": {}, "noData": no_data})
    return Question("shop", "checkout", CHECKOUT, "rollback", trigger)


TIMED_OUT = 'ReplicaSet "checkout-3" has timed out progressing.'
ANSWERS: dict[str, tuple[str | errors.KubeError | None, Sample]] = {
    "makes progress": (None, Sample(AT, Verdict.HEALTHY, "not stuck")),
    "is stuck": (
        TIMED_OUT,
        Sample(AT, Verdict.BREACH, "stuck", f"the rollout makes no progress: {TIMED_OUT}"),
    ),
    "is of nothing": (
        errors.NotFound("GET /apis: 404"),
        Sample(AT, Verdict.UNKNOWN, "", "there is no Deployment/checkout"),
    ),
    "cannot be read": (
        errors.Unavailable("GET /apis: no answer"),
        Sample(AT, Verdict.UNKNOWN, "", "Deployment/checkout could not be read: GET /apis: no answer"),
    ),
}


@pytest.mark.parametrize("case", ANSWERS)
async def test_a_rollout_that(case: str) -> None:
    answer, expected = ANSWERS[case]
    rollout = Rollout(answer)
    assert await RolloutSignal(rollout).sample(question(), AT) == expected
    assert rollout.asked == [("shop", CHECKOUT, "rollback")]


@pytest.mark.parametrize("answer", [errors.NotFound("gone"), errors.Forbidden("no")])
async def test_an_answer_that_does_not_come_is_what_no_data_says(answer: errors.KubeError) -> None:
    assert (await RolloutSignal(Rollout(answer)).sample(question("Breach"), AT)).verdict is Verdict.BREACH


@pytest.mark.parametrize("answer", ["x" * 2000, errors.Unavailable("x" * 2000)])
async def test_words_without_end_are_cut(answer: str | errors.KubeError) -> None:
    assert len((await RolloutSignal(Rollout(answer)).sample(question(), AT)).message) == 300


async def test_it_knows_no_past() -> None:
    signal: Signal = RolloutSignal(Rollout(None))
    assert signal.source == "rollout"
    assert list(await signal.history(question(), 0, AT)) == []
    await signal.close()
