"""When a policy remembers configuration: at every look at its target, and once a minute: nothing tells of a change."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime

from rollback_operator.api.policy import PolicyStatus
from rollback_operator.configuration.digest import forgotten
from rollback_operator.configuration.identity import learned
from rollback_operator.configuration.memory import Memory, Unremembered, Whose
from rollback_operator.core.values import Snapshot
from rollback_operator.kube.client import Api
from rollback_operator.kube.identity import ServiceAccount
from rollback_operator.targets.base import Configured, Target
from rollback_operator.watching import Standing

EVERY = 60.0
"""Seconds between looks at configuration: the operator itself may not watch ConfigMaps and Secrets."""


class Remembering:
    """Keeps what policies remember up to date."""

    def __init__(self, api: Api, targets: Mapping[str, Target]) -> None:
        self._targets = targets
        self._memory = Memory(api)

    def due(self, standing: Standing) -> bool:
        """Whether it is time to look."""
        return standing.spec.remember is not None and time.monotonic() - standing.remembered_at >= EVERY

    async def look(self, standing: Standing, snapshot: Snapshot | None, account: ServiceAccount, now: datetime) -> None:
        """See what runs with the current revision, and keep it.

        Raises:
            kube.errors.KubeError: no answer.
        """
        asked = standing.spec.remember
        if asked is None or snapshot is None:
            standing.unremembered = None
            return
        module = self._targets[standing.spec.target.kind]
        needed = module.needs(snapshot) if isinstance(module, Configured) else ()
        whose = Whose(standing.key[1], standing.uid, account, asked)
        known = standing.status.remembered if standing.remembered is None else standing.remembered
        try:
            found = await self._memory.remember(whose, needed, snapshot.current, now)
        except Unremembered as error:
            standing.unremembered = error.reason, error.message
        else:
            standing.unremembered = None
            standing.remembered = learned(known, found)
        standing.remembered_at = time.monotonic()

    async def forget(self, standing: Standing, before: PolicyStatus, account: ServiceAccount) -> None:
        """Delete what the status does not speak of any more, now that it is written."""
        gone = forgotten(before.remembered, standing.status.remembered)
        if gone:
            await self._memory.forget(account, gone)
