"""The requests that a policy makes, takes back, and keeps."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import ValidationError

from rollback_operator import metrics
from rollback_operator.api import API_VERSION, GROUP, REQUESTS, WITHDRAWN_ANNOTATION
from rollback_operator.api.fields import LONGEST_TIMEOUT, format_duration, parse_duration
from rollback_operator.api.policy import Verify
from rollback_operator.api.request import RequestSpec
from rollback_operator.core import conditions as on
from rollback_operator.core.judge import Act
from rollback_operator.core.suspended import looked_after
from rollback_operator.core.values import Request
from rollback_operator.kube import errors, resources
from rollback_operator.kube.client import Api
from rollback_operator.kube.identity import OPERATOR
from rollback_operator.watching import Standing

log = logging.getLogger(__name__)
Object = dict[str, Any]

_OWN: str = RequestSpec.model_fields["timeout"].default
_UP_TO_THE_EFFECT = timedelta(minutes=5)
"""How long a request that runs may take to its effect; with a policy's usual five minutes that is its own timeout."""
POLICY_LABEL = f"{GROUP}/policy"
"""On a request: the policy that made it."""


async def create(api: Api, standing: Standing, act: Act) -> Object:
    """Create the request; gives the one that is there of that name, whoever made it."""
    namespace, policy = standing.key
    spec: Object = {
        "policyRef": {"name": policy, "uid": standing.uid},
        "from": act.from_,
        "reason": act.reason,
    }
    spec |= {"to": act.to} if act.to else {}
    spec |= {"grace": act.grace} if act.grace else {}
    spec |= _time(standing.spec.verify)
    labels = {POLICY_LABEL: policy[:63].rstrip("-.")}  # what is cut off must leave a label
    body = {
        "apiVersion": API_VERSION,
        "kind": "RollbackRequest",
        "metadata": {"name": act.name, "namespace": namespace, "labels": labels},
        "spec": spec,
    }
    try:
        made = await api.create(resources.path(REQUESTS, namespace), body, as_=OPERATOR)
    except errors.AlreadyExists:
        there = await resources.read(api, REQUESTS, (namespace, act.name))
        if there is None:
            raise
        return there
    metrics.REQUESTS_MADE.inc()
    return made


def _time(verify: Verify) -> Object:
    """The `timeout`, where a request's own would be over before what the policy gives it to be verified.

    Never longer than what a request may have: the API server would take none of them.
    """
    needed = min(parse_duration(verify.timeout) + _UP_TO_THE_EFFECT, parse_duration(LONGEST_TIMEOUT))
    return {"timeout": format_duration(needed)} if needed > parse_duration(_OWN) else {}


async def withdraw(api: Api, standing: Standing, name: str) -> None:
    """Take a request back that waits for people while nothing is wrong any more."""
    body = await resources.read(api, REQUESTS, (standing.key[0], name))
    if body is None or body["spec"].get("abort") or not resources.other_of(resources.parse_request(body)).graced:
        return  # people were quicker: their veto is no taking back
    annotations = {**(body["metadata"].get("annotations") or {}), WITHDRAWN_ANNOTATION: "true"}
    patch: list[Object] = [
        {"op": "test", "path": "/metadata/resourceVersion", "value": body["metadata"]["resourceVersion"]},
        {"op": "add", "path": "/metadata/annotations", "value": annotations},
        {"op": "add", "path": "/spec/abort", "value": True},
    ]
    await api.patch(resources.path(REQUESTS, standing.key[0], name), patch, as_=OPERATOR)


async def trim(api: Api, standing: Standing) -> None:
    """Delete finished requests beyond the policy's `historyLimit`, the oldest first, but for what is needed.

    One that may not go is kept. So is the one that the policy made last: without it, it looks as if people had deleted
    it, which is a veto.
    """
    namespace, name = standing.key
    last = standing.status.last_request
    bodies = await resources.list_all(api, REQUESTS, namespace, f"spec.policyRef.name={name}")
    for body in surplus(bodies, standing.spec.history_limit):
        if _is_needed(standing, body) or (last is not None and body["metadata"]["name"] == last.name):
            continue
        path = resources.path(REQUESTS, *resources.key_of(body))
        try:
            await api.delete(path, as_=OPERATOR, uid=body["metadata"]["uid"])
        except (errors.NotFound, errors.Conflict):
            continue
        except (errors.Forbidden, errors.Invalid) as error:
            log.warning("A finished request is kept: %s", error, extra={"policy": f"{namespace}/{name}"})


def _is_needed(standing: Standing, body: Object) -> bool:
    """Whether the policy's breaker counts it, or something is held for it; of one that cannot be read nobody knows."""
    try:
        request = resources.parse_request(body)
    except ValidationError:
        return True
    return _counts(standing, request) or _holds(request)


def _holds(request: Request) -> bool:
    """Whether something is held for this request, or may be: without it nobody would look when that can end."""
    return on.is_true(request.status.conditions, on.HELD) or looked_after(request) is not None


def _counts(standing: Standing, request: Request) -> bool:
    """Whether the policy's breaker still counts this request."""
    one = resources.other_of(request)
    age = datetime.now(UTC) - one.created
    return one.applied and one.policy_uid == standing.uid and age < parse_duration(standing.spec.breaker.window)


def surplus(bodies: list[Object], limit: int) -> list[Object]:
    """The finished requests beyond the newest `limit`, oldest first."""
    finished = [body for body in bodies if (body.get("status") or {}).get("finishedAt")]
    finished.sort(key=lambda body: (body["status"]["finishedAt"], body["metadata"]["uid"]))
    return finished[: max(0, len(finished) - limit)]
