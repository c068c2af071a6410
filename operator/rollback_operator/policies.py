"""Policies: accepting them, and keeping the history of their requests within its limit."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from rollback_operator.api import POLICIES, REQUESTS
from rollback_operator.api.policy import PolicySpec, PolicyStatus
from rollback_operator.api.reasons import Reason
from rollback_operator.core import conditions as on
from rollback_operator.kube import errors, resources
from rollback_operator.kube.client import Api
from rollback_operator.kube.identity import OPERATOR
from rollback_operator.kube.resources import Key

Object = dict[str, Any]


class PolicyWorker:
    """Works on one policy at a time a key."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def work(self, key: Key) -> float | None:
        """Say what became of the policy, if that is new, and trim its history.

        Raises:
            kube.errors.KubeError: something could not be read or written; try again later.
        """
        body = await resources.read(self._api, POLICIES, key)
        if body is None:
            return None
        spec = PolicySpec.model_validate(body["spec"])
        before = PolicyStatus.model_validate(body.get("status") or {})
        after = accepted(spec, before, body["metadata"]["generation"], datetime.now(UTC))
        if after != before:
            await resources.write_status(self._api, POLICIES, body, after)
        await self._trim(key, spec.history_limit)
        return None

    async def _trim(self, key: Key, limit: int) -> None:
        namespace, name = key
        bodies = await resources.list_all(self._api, REQUESTS, namespace, f"spec.policyRef.name={name}")
        for body in surplus(bodies, limit):
            path = resources.path(REQUESTS, *resources.key_of(body))
            try:
                await self._api.delete(path, as_=OPERATOR, uid=body["metadata"]["uid"])
            except (errors.NotFound, errors.Conflict):
                continue


def accepted(spec: PolicySpec, before: PolicyStatus, generation: int, now: datetime) -> PolicyStatus:
    """The status of a policy that requests can use; equal to `before` if nothing is new."""
    if before.observed_generation == generation:
        return before
    message = f"Requests with policyRef use this policy to roll {spec.target} back."
    return PolicyStatus(
        conditions=on.updated(before.conditions, {on.READY: ("True", Reason.ACCEPTED, message)}, generation, now),
        target=str(spec.target),
        observed_generation=generation,
    )


def surplus(bodies: list[Object], limit: int) -> list[Object]:
    """The finished requests beyond the newest `limit`, oldest first."""
    finished = [body for body in bodies if (body.get("status") or {}).get("finishedAt")]
    finished.sort(key=lambda body: (body["status"]["finishedAt"], body["metadata"]["uid"]))
    return finished[: max(0, len(finished) - limit)]
