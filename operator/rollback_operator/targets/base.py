"""The protocol that every kind of target keeps."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol, runtime_checkable

from rollback_operator.api.options import Options
from rollback_operator.api.request import Phase, Plan
from rollback_operator.core.values import Findings, Health, Revision, Snapshot
from rollback_operator.kube import errors
from rollback_operator.kube.access import Right
from rollback_operator.kube.identity import ServiceAccount
from rollback_operator.targets.podtemplate import Need


@dataclass(frozen=True, slots=True)
class Where:
    """A target's place, whose rights it is changed with (and read, where the operator's own do not do), and how."""

    namespace: str
    name: str
    account: ServiceAccount
    options: Options = field(default_factory=Options)
    until: datetime | None = None
    """When whoever asks wants to be done, if it is a request that has begun."""
    send_by: datetime | None = None
    """Until when each write of an attempt has to be begun: after that, others count the attempt as over."""


def in_time(where: Where) -> None:
    """Make sure that a write of the attempt may still be begun.

    Raises:
        kube.errors.NotDone: others may count the attempt as over.
    """
    if where.send_by is not None and datetime.now(UTC) > where.send_by:
        raise errors.NotDone("the attempt took too long; the next one goes on")


@dataclass(frozen=True, slots=True)
class Watched:
    """A resource whose events say that a target of this kind may have changed."""

    group: str
    version: str
    plural: str


@dataclass(frozen=True, slots=True)
class Kept:
    """What an effect on a target replaces, as a copy keeps it, and how it is brought back."""

    manifests: tuple[dict[str, Any], ...]
    """The objects as they are now (see `manifests.bare`)."""
    more: Mapping[str, Any] = field(default_factory=dict)
    """Documents that are kept besides, by their keys in the Secret."""
    command: str | None = None
    """The command that brings the target back; None: what `kubectl replace` makes of the manifests does."""
    reads: str | None = None
    """The key whose document the command is given, if it takes any."""


class Target(Protocol):
    """One kind of thing that can be rolled back.

    It observes and acts; it does not decide. Effects are made as `where.account`, and are keyed: made a second time,
    on a target that already shows them or has moved on, they change nothing.
    """

    kind: str

    @property
    def watched(self) -> Watched | None:
        """None: nothing that the operator itself may read tells of a change, so it looks again and again."""

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

    async def examine(self, where: Where, target: Snapshot, to: Revision) -> Findings:
        """What going to `to` would do, and what `to` needs that is gone; secrets are read as the account only."""

    async def backup(self, where: Where, target: Snapshot, to: str) -> Kept | None:
        """What going to revision `to` replaces; None if there is something to replace that cannot be read.

        Raises:
            kube.errors.KubeError: it could not be read.
        """

    async def apply(self, where: Where, target: Snapshot, plan: Plan, key: str, *, dry_run: bool = False) -> None:
        """Make the effect of `plan` on the target exactly as `target` shows it, marked with `key`.

        Raises:
            kube.errors.Conflict: the target is not as `target` shows it; nothing was changed.
            kube.errors.Forbidden, Invalid, NotFound: refused; nothing was changed.
            kube.errors.Unavailable: no answer; it may or may not have happened.
        """

    async def finish(self, where: Where, target: Snapshot) -> None:
        """Do what is `unfinished` after the effect, such as giving fields back. Done twice it does no harm."""

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


@runtime_checkable
class Stoppable(Protocol):
    """A kind whose effect others carry out, over some time: until they have, it can be called off."""

    async def stop(self, where: Where, target: Snapshot) -> None:
        """Call off what is `under_way`. Done twice it does no harm.

        Raises:
            kube.errors.KubeError: that could not be done, or nobody knows.
        """


@runtime_checkable
class Composed(Protocol):
    """A kind of which `observe` says how it does only while a rollback is verified: its parts are read for that."""

    async def wellbeing(self, where: Where, target: Snapshot) -> Health:
        """How it does now, with all its parts.

        Raises:
            kube.errors.KubeError: a part could not be read.
        """


@runtime_checkable
class Configured(Protocol):
    """A kind whose pods refer to ConfigMaps and Secrets."""

    def refers_to(self, target: Snapshot, of: Revision | None = None) -> tuple[Need, ...]:
        """What the pods of a revision (None: the current one) refer to, optional references included."""
