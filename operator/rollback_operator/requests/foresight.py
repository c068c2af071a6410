"""What the request for a target of a group would come to: its first decisions, on what it would read, unwritten."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from rollback_operator import owning
from rollback_operator.api.common import TargetRef
from rollback_operator.core.group.foresight import Outlook, ending_of
from rollback_operator.core.life.pending import select
from rollback_operator.core.values import Observation, Request, Snapshot, Trace, current_target
from rollback_operator.kube import errors
from rollback_operator.refusals import reading_refused
from rollback_operator.requests.reading import Reader

Foresee = Callable[[Request, TargetRef], Awaitable[Outlook]]
"""What a request about that target would come to."""


@dataclass(frozen=True, slots=True)
class Foresight:
    """Reads what such a request would read, with the same rights: who else manages the target, and other requests."""

    reader: Reader

    async def of(self, asked: Request, ref: TargetRef) -> Outlook:
        """Up to the choice of the revision, of the target or of the owner that it goes by.

        What the revision needs is not asked: an earlier wave may bring it back.

        Raises:
            kube.errors.KubeError: something could not be read; that somebody may not is an answer.
        """
        while True:
            try:
                target = await self.reader.observe(asked, ref, None)
                after = await self._decided(asked, ref, target)
            except errors.Forbidden as error:
                return Outlook(ref, reading_refused(error, ref, self.reader.where(asked, ref, None).account))
            by = current_target(after, None)
            if by is None or by == ref:
                return Outlook(ref, target, ending_of(after.status))
            asked, ref = after, by

    async def _decided(self, asked: Request, ref: TargetRef, target: Snapshot | None) -> Request:
        """The request after its first decision, if nobody were ahead of it."""
        settings = self.reader.settings
        seen = Observation(
            target=target,
            others=await self.reader.others(asked, ref),
            default_service_account=settings.service_account,
            argo_cd=settings.argo_cd_namespace,
        )
        while True:
            decision = select(asked, ref, seen, datetime.now(UTC))
            if not isinstance(decision.action, Trace):
                return replace(asked, status=decision.status)
            account = self.reader.where(asked, ref, None).account
            seen = replace(seen, lineage=await owning.trace(self.reader.api, decision.action.owners, account))
