"""Which policies are in each other's way: one target has one policy that is evaluated.

Anybody may write a policy that names an Application of another namespace. So between namespaces only those count whose
service account may roll the Application back, else a stranger could switch an owner's policy off. What an account may
do is asked while its own policy is worked on: whoever writes a thousand of them keeps nobody else's waiting.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from rollback_operator.kube import access
from rollback_operator.kube.client import Api
from rollback_operator.kube.resources import Key
from rollback_operator.targets.base import Target
from rollback_operator.watching import Standing, Watching

ASK_EVERY = 60.0
"""Seconds between questions whether an account may roll the target back: no event tells."""


class Rivals:
    """Knows of each policy which others keep it from being evaluated."""

    def __init__(
        self, api: Api, targets: Mapping[str, Target], watching: Watching, wake: Callable[[Key], None]
    ) -> None:
        self._api = api
        self._targets = targets
        self._watching = watching
        self._wake = wake

    async def of(self, standing: Standing) -> list[Key]:
        """The policies that are evaluated for the same target; none for one that is not evaluated itself.

        Raises:
            kube.errors.KubeError: nobody says what the account may do.
        """
        others = self._evaluated(standing) if standing.evaluated else []
        abroad = [one for one in others if one.key[0] != standing.key[0]]
        if abroad:
            await self._ask(standing, abroad)
        return sorted(one.key for one in others if one not in abroad or (standing.empowered and one.empowered))

    def _evaluated(self, standing: Standing) -> list[Standing]:
        keys = self._watching.of(standing.place) - {standing.key}
        known = (self._watching.get(key) for key in keys)
        return [one for one in known if one is not None and one.evaluated]

    async def _ask(self, standing: Standing, abroad: list[Standing]) -> None:
        """Learn, once in a while, what the policy's own account may do; tell those whom it concerns."""
        now = time.monotonic()
        if now - standing.empowered_at < ASK_EVERY:
            return
        rights = self._targets[standing.spec.target.kind].rights(standing.where)
        empowered = await access.may(self._api, rights, standing.where.account)
        changed = empowered != standing.empowered
        standing.empowered, standing.empowered_at = empowered, now
        for one in abroad if changed else ():
            self._wake(one.key)


def look_again(standing: Standing, rivals: list[Key]) -> float | None:
    """Seconds until a policy with rivals is looked at again: rights may change, and all else is told by events."""
    return ASK_EVERY if any(namespace != standing.key[0] for namespace, _ in rivals) else None


def named(standing: Standing, rivals: list[Key]) -> str:
    """The rivals as people of the policy's namespace know them."""
    return ", ".join(name if namespace == standing.key[0] else f"{namespace}/{name}" for namespace, name in rivals)
