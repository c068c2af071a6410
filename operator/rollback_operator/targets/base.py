"""The protocol that every kind of target keeps."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, Protocol

from rollback_operator.api.request import Phase, Plan
from rollback_operator.core.values import Findings, Revision, Snapshot
from rollback_operator.kube.access import Right
from rollback_operator.kube.identity import ServiceAccount


@dataclass(frozen=True, slots=True)
class Where:
    """A target's place."""

    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class Watched:
    """A resource whose events say that a target of this kind may have changed."""

    group: str
    version: str
    plural: str


class Target(Protocol):
    """One kind of thing that can be rolled back.

    It observes and acts; it does not decide. Effects are made as the service account that is passed in, and are
    keyed: made a second time, on a target that already shows them or has moved on, they change nothing.
    """

    kind: str
    watched: Watched

    def told(self, body: dict[str, Any]) -> Hashable:
        """What an event about `body` tells a request that waits for it; while that stays the same, it is not woken."""

    def version(self, body: dict[str, Any]) -> Hashable:
        """Which revision `body` asks for, as far as an event tells; while that stays the same, nothing was released."""

    def rights(self, where: Where) -> tuple[Right, ...]:
        """What a service account has to be allowed for `apply` to be."""

    async def observe(self, where: Where, phase: Phase | None, plan: Plan | None) -> Snapshot | None:
        """The target as it is now, or None if there is none. Reads only what a request in `phase` has to know.

        Raises:
            kube.errors.KubeError: it could not be read.
        """

    async def examine(self, where: Where, target: Snapshot, to: Revision, account: ServiceAccount) -> Findings:
        """What going to `to` would do, and what `to` needs that is gone; secrets are read as `account` only."""

    async def apply(
        self, where: Where, target: Snapshot, plan: Plan, key: str, account: ServiceAccount, *, dry_run: bool = False
    ) -> None:
        """Make the effect of `plan` on the target exactly as `target` shows it, marked with `key`.

        Raises:
            kube.errors.Conflict: the target is not as `target` shows it; nothing was changed.
            kube.errors.Forbidden, Invalid, NotFound: refused; nothing was changed.
            kube.errors.Unavailable: no answer; it may or may not have happened.
        """

    async def give_back(self, where: Where, target: Snapshot, account: ServiceAccount) -> None:
        """Return the ownership of what `apply` changed, so that the owner's next release does not conflict."""

    async def pods(self, where: Where) -> list[dict[str, Any]]:
        """The pods of the target's current revision; none if there is no such target, or no pod of it yet.

        Raises:
            kube.errors.KubeError: they could not be read.
        """

    async def stuck(self, where: Where) -> str | None:
        """Why the rollout of the current revision makes no progress, in its controller's words; None if it does.

        Raises:
            kube.errors.NotFound: there is no such target.
            kube.errors.KubeError: it could not be read.
        """
