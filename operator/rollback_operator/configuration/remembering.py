"""When a policy remembers configuration: at every look at its target, and once a minute: nothing tells of a change."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from datetime import datetime

from rollback_operator.api.policy import PolicyStatus
from rollback_operator.api.remember import Remembered
from rollback_operator.api.request import Phase
from rollback_operator.configuration.digest import forgotten, to_remember
from rollback_operator.configuration.identity import (
    identified,
    is_known_of_more,
    is_of_before,
    learned,
    ordered_anew,
    told_apart,
)
from rollback_operator.configuration.memory import Memory, Unremembered, Whose
from rollback_operator.core.ledger import Ledger
from rollback_operator.core.values import Other, Snapshot
from rollback_operator.kube.client import Api
from rollback_operator.kube.identity import ServiceAccount
from rollback_operator.targets.base import Configured, Target
from rollback_operator.watching import Standing


class Remembering:
    """Keeps what policies remember up to date.

    Args:
        api: the API server.
        targets: every kind of target.
        every: seconds between looks: the operator itself may not watch ConfigMaps and Secrets.
    """

    def __init__(self, api: Api, targets: Mapping[str, Target], every: float = 60) -> None:
        self._targets = targets
        self._every = every
        self._memory = Memory(api)

    def due(self, standing: Standing) -> bool:
        """Whether it is time to look."""
        return standing.spec.remember is not None and time.monotonic() - standing.remembered_at >= self._every

    def waits(self, standing: Standing, requests: Iterable[Other]) -> bool:
        """Whether a request is about to change target and configuration: what is seen in between is no revision."""
        return self._tells_apart(standing) and any(one.phase is Phase.RUNNING for one in requests)

    def news(self, standing: Standing) -> bool:
        """Whether more is known than the status says."""
        return standing.remembered is not None and standing.remembered != standing.status.remembered

    def told_apart(self, standing: Standing, requests: tuple[Other, ...]) -> tuple[Other, ...]:
        """Requests for the target, with the configuration in their fingerprints as well."""
        if not self._tells_apart(standing):
            return requests
        return tuple(told_apart(one, remembered_of(standing)) for one in requests)

    async def look(self, standing: Standing, snapshot: Snapshot | None, now: datetime) -> Snapshot | None:
        """See what runs with the current revision, and keep it; gives the target with it in its fingerprints.

        Raises:
            kube.errors.KubeError: no answer.
        """
        if standing.spec.remember is None or snapshot is None:
            standing.unremembered = None
            return snapshot
        known = await self._remember(standing, snapshot, now)
        if not self._tells_apart(standing):
            return snapshot
        config = known[-1].config if known and standing.unremembered is None else None
        return identified(snapshot, known, config, now)

    async def _remember(self, standing: Standing, snapshot: Snapshot, now: datetime) -> tuple[Remembered, ...]:
        assert standing.spec.remember is not None
        module = self._targets[standing.spec.target.kind]
        needed = module.refers_to(snapshot) if isinstance(module, Configured) else ()
        whose = Whose(standing.key[1], standing.uid, standing.where.account, standing.spec.remember)
        known = remembered_of(standing)
        try:
            found = await self._memory.remember(whose, needed, snapshot.current, now, known)
        except Unremembered as error:
            standing.unremembered = error.reason, error.message
        else:
            standing.unremembered = None
            must = [one for one in needed if not one.optional]
            more = is_known_of_more(known, found, {(one.kind, one.name) for one in must})
            changed = standing.generation != standing.status.observed_generation
            ordered = changed or is_of_before(known) or more
            required = to_remember(must, standing.spec.remember)
            known = (ordered_anew(known, found, required) if ordered else None) or learned(
                known, _dated(found, snapshot, known, now), _good(standing), required
            )
            standing.remembered = known
        standing.remembered_at = time.monotonic()
        return known

    def _tells_apart(self, standing: Standing) -> bool:
        """Whether configuration counts as part of what a revision is."""
        asked = standing.spec.remember
        return asked is not None and asked.config and isinstance(self._targets[standing.spec.target.kind], Configured)

    async def forget(self, standing: Standing, before: PolicyStatus, account: ServiceAccount) -> None:
        """Delete what the status does not speak of any more, now that it is written."""
        gone = forgotten(before.remembered, standing.status.remembered)
        if gone:
            await self._memory.forget(account, gone)


def remembered_of(standing: Standing) -> tuple[Remembered, ...]:
    """What is remembered, also what is not written yet."""
    return standing.status.remembered if standing.remembered is None else standing.remembered


def _good(standing: Standing) -> tuple[str, ...]:
    return Ledger.of(standing.spec, standing.status.ledger).good


def _dated(found: Remembered, snapshot: Snapshot, known: tuple[Remembered, ...], now: datetime) -> Remembered:
    """`found`, since when it stands: a time before what stood last tells nothing (something was deleted, say)."""
    since = min(max(found.at, snapshot.changed or found.at), now)
    return found.model_copy(update={"at": now if known and since <= known[-1].at else since})
