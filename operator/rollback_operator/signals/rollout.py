"""What a target's controller says of its rollout."""

from __future__ import annotations

from collections.abc import Sequence

from rollback_operator.core.verdicts import Sample, Verdict
from rollback_operator.kube.errors import KubeError, NotFound
from rollback_operator.signals.base import Question, Workloads, missing

LONGEST_SHOWN = 300


class RolloutSignal:
    """Breach while the controller says that the rollout exceeded its progress deadline."""

    source = "rollout"

    def __init__(self, workloads: Workloads) -> None:
        self._workloads = workloads

    async def sample(self, question: Question, now: float) -> Sample:
        """See `Signal.sample`."""
        ref = question.target
        try:
            why = await self._workloads.stuck(question.namespace, ref, question.service_account)
        except NotFound:
            return missing(question, now, f"there is no {ref.kind}/{ref.name}")
        except KubeError as error:
            return missing(question, now, f"{ref.kind}/{ref.name} could not be read: {error}"[:LONGEST_SHOWN])
        if why is None:
            return Sample(now, Verdict.HEALTHY, "not stuck")
        return Sample(now, Verdict.BREACH, "stuck", f"the rollout makes no progress: {why}"[:LONGEST_SHOWN])

    async def history(self, question: Question, start: float, end: float) -> Sequence[Sample]:  # noqa: ARG002
        """None: the controller tells of the present only."""
        return ()

    async def close(self) -> None:
        """Nothing is open."""
