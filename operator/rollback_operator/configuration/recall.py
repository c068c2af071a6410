"""What a rollback says of configuration: what is not as it was when the revision ran, and how that is brought back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from rollback_operator.api import POLICIES
from rollback_operator.api.policy import PolicySpec
from rollback_operator.api.remember import RememberedObject
from rollback_operator.configuration.digest import last_with
from rollback_operator.configuration.memory import Memory, Whose, restoring
from rollback_operator.core.values import Findings, Revision
from rollback_operator.kube import resources
from rollback_operator.kube.client import Api
from rollback_operator.kube.identity import ServiceAccount
from rollback_operator.kube.resources import Key
from rollback_operator.watching import parse_status

_NAMED = 8
"""Objects that a note can name together with its command."""


@dataclass(frozen=True, slots=True)
class Recalled:
    """What is not as it was when a revision ran."""

    namespace: str
    revision: str
    changed: tuple[RememberedObject, ...] = ()

    def added_to(self, findings: Findings) -> Findings:
        """`findings`, with a note on what changed, and with where that is kept which is gone."""
        if not self.changed:
            return findings
        kept = {f"{one.kind} {one.name}": one.secret for one in self.changed}
        missing = tuple(
            f"{one} (kept in Secret {kept[thing]})" if (thing := one.partition(" (key ")[0]) in kept else one
            for one in findings.missing
        )
        return replace(findings, missing=missing, notes=(*findings.notes, self._note()))

    def _note(self) -> str:
        said = f"Configuration is not as it was when revision {self.revision} ran, and this rollback leaves it as it is"
        if len(self.changed) > _NAMED:
            return f"{said}: {len(self.changed)} objects. The policy's status.remembered says where each is kept."
        return (
            f"{said}: {_list(self.changed)}. To bring it back as well, which takes a restart of pods that run by then: "
            f"{restoring(self.namespace, self.changed)}"
        )


class Recall:
    """Compares what a policy remembers with what is there."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._memory = Memory(api)

    async def look(self, policy: Key, orders: PolicySpec | None, account: ServiceAccount, to: Revision) -> Recalled:
        """What changed since `to` ran, as far as the policy remembers and the account may read.

        Raises:
            kube.errors.KubeError: no answer.
        """
        nothing = Recalled(policy[0], to.name)
        if orders is None or orders.remember is None:
            return nothing
        body = await resources.read(self._api, POLICIES, policy)
        then = last_with(parse_status(body).remembered, to.fingerprint) if body is not None else None
        if body is None or then is None:
            return nothing
        whose = Whose(policy[1], body["metadata"]["uid"], account, orders.remember)
        return replace(nothing, changed=await self._memory.changed(whose, then))


def _list(objects: Iterable[RememberedObject]) -> str:
    return ", ".join(f"{one.kind} {one.name}" for one in objects)
