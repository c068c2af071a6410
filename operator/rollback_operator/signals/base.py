"""The protocol that every kind of signal keeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from rollback_operator.api.common import TargetRef
from rollback_operator.api.trigger import PrometheusServer, Trigger
from rollback_operator.core.verdicts import Sample, Verdict


@dataclass(frozen=True, slots=True)
class Question:
    """A trigger, and whose it is. Secrets are read as the policy's service account."""

    namespace: str
    policy: str
    target: TargetRef
    service_account: str
    trigger: Trigger
    server: PrometheusServer | None = None
    """The policy's own; None: the operator's default."""


Object = dict[str, Any]


class Workloads(Protocol):
    """What signals may know of the targets."""

    async def pods(self, namespace: str, ref: TargetRef, service_account: str) -> Sequence[Object]:
        """The pods of the target's current revision; none if there is no such target.

        Raises:
            kube.errors.KubeError: they could not be read.
        """

    async def stuck(self, namespace: str, ref: TargetRef, service_account: str) -> str | None:
        """Why the target's rollout makes no progress, in its controller's words; None if it does.

        Raises:
            kube.errors.KubeError: it could not be read, or there is no such target (NotFound).
        """


class Signal(Protocol):
    """One kind of thing that can be asked. It answers; what follows is decided elsewhere.

    An error, ours or theirs, is an Unknown sample with a sentence (`missing`), never an exception.
    """

    source: str
    """Name of the trigger's field that asks it."""

    async def sample(self, question: Question, now: float) -> Sample:
        """The answer of this moment; `now` in seconds since the epoch is its time."""

    async def history(self, question: Question, start: float, end: float) -> Sequence[Sample]:
        """Answers of the past, an interval apart, oldest first; none where the past cannot be asked."""

    async def close(self) -> None:
        """Close what is open."""


@runtime_checkable
class Checking(Protocol):
    """A signal that can tell a mistake in a question before it is asked for its answer."""

    async def check(self, question: Question) -> str | None:
        """What is wrong with the question itself, as it is written; None if nothing is, or nobody can tell."""


def missing(question: Question, at: float, why: str) -> Sample:
    """The sample of an answer that did not come: what the trigger's `noData` says."""
    return Sample(at, Verdict(question.trigger.no_data), "", why)
