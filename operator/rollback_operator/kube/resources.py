"""Our own resources at the API server: read fresh, written under guard."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from rollback_operator.api import API_VERSION, GROUP, POLICIES, REQUESTS, VERSION, WITHDRAWN_ANNOTATION
from rollback_operator.api.common import ACROSS_NAMESPACES, Place, TargetRef
from rollback_operator.api.fields import Resource, parse_duration
from rollback_operator.api.policy import Entry, PolicySpec, PolicyStatus
from rollback_operator.api.remember import Remembered
from rollback_operator.api.request import Phase, RequestSpec, RequestStatus
from rollback_operator.core import conditions as on
from rollback_operator.core.values import Other, Request
from rollback_operator.kube import errors
from rollback_operator.kube.client import Api
from rollback_operator.kube.identity import OPERATOR

log = logging.getLogger(__name__)

Object = dict[str, Any]
Key = tuple[str, str]
"""Namespace and name."""

_FEW = 3
"""Mistakes that are told of what cannot be read."""
_KINDS = {REQUESTS: "RollbackRequest", POLICIES: "RollbackPolicy"}


def path(plural: str, namespace: str, name: str | None = None) -> str:
    """Path of one of our resources, or of their collection in a namespace."""
    base = f"/apis/{GROUP}/{VERSION}/namespaces/{namespace}/{plural}"
    return base if name is None else f"{base}/{name}"


def key_of(body: Object) -> Key:
    """Namespace and name of an object."""
    return body["metadata"]["namespace"], body["metadata"]["name"]


def group_of(body: Object) -> Key | None:
    """The group that a request was made for, if it was."""
    owners = body["metadata"].get("ownerReferences") or []
    names = [one["name"] for one in owners if one.get("controller") and one["kind"] == _KINDS[REQUESTS]]
    return (body["metadata"]["namespace"], names[0]) if names else None


def parse_request(body: Object) -> Request:
    """A RollbackRequest from its JSON. One that is being deleted, but held by a finalizer of somebody, is vetoed.

    Raises:
        pydantic.ValidationError: it is not what the schema promises (written before an upgrade, say).
    """
    metadata, spec = body["metadata"], RequestSpec.model_validate(body["spec"])
    return Request(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        generation=metadata["generation"],
        created=datetime.fromisoformat(metadata["creationTimestamp"]),
        spec=spec.model_copy(update={"abort": True}) if metadata.get("deletionTimestamp") else spec,
        status=RequestStatus.model_validate(body.get("status") or {}),
    )


async def read(api: Api, plural: str, key: Key) -> Object | None:
    """The object as it is now, or None if there is none."""
    try:
        return await api.get(path(plural, *key), as_=OPERATOR)
    except errors.NotFound:
        return None


@dataclass(frozen=True, slots=True)
class Orders:
    """A policy, as far as its requests are concerned."""

    name: str
    uid: str
    spec: PolicySpec
    ledger: tuple[Entry, ...] = ()
    remembered: tuple[Remembered, ...] = ()


class IllegibleError(Exception):
    """What is stored is not what the schema promises (written before an upgrade, say); the message says where."""


async def read_policy(api: Api, key: Key) -> Orders | None:
    """The orders of a policy, its ledger and what it remembers, or None if there is none.

    Raises:
        IllegibleError: there is one, and what it orders cannot be read.
    """
    body = await read(api, POLICIES, key)
    if body is None:
        return None
    try:
        spec = PolicySpec.model_validate(body["spec"])
    except ValidationError as error:
        raise IllegibleError(_mistakes(error)) from error
    status = parse_status(body)
    return Orders(key[1], body["metadata"]["uid"], spec, status.ledger, status.remembered)


def _mistakes(error: ValidationError) -> str:
    """Where the first few of them are, and what is wrong there; never what stands there."""
    found = error.errors(include_input=False, include_url=False)[:_FEW]
    return "; ".join(f"{'.'.join(str(part) for part in one['loc'])}: {one['msg']}" for one in found)


def parse_status(body: Object) -> PolicyStatus:
    """The status of a policy. Of one that cannot be read as a whole (written before an upgrade, say), what can be."""
    status: Object = body.get("status") or {}
    try:
        return PolicyStatus.model_validate(status)
    except ValidationError as error:
        where = f"{body['metadata']['namespace']}/{body['metadata']['name']}"
        log.warning("Parts of the status cannot be read, and are dropped: %s", error, extra={"policy": where})
    legible = {name: _legible(name, value) for name, value in status.items()}
    return PolicyStatus.model_validate({name: value for name, value in legible.items() if value is not None})


def _legible(name: str, value: Any) -> Any:
    """A field of a status, or what can be read of a list; None if nothing can."""
    if isinstance(value, list):
        return [one for one in value if _fits(name, [one])]
    return value if _fits(name, value) else None


def _fits(name: str, value: Any) -> bool:
    try:
        PolicyStatus.model_validate({name: value})
    except ValidationError:
        return False
    return True


async def write_status(api: Api, plural: str, body: Object, status: Resource) -> Object:
    """Replace the status of exactly the object that was read; returns it as it is then.

    Raises:
        kube.errors.Conflict: it was changed meanwhile; nothing was written.
        kube.errors.NotFound: it is gone.
    """
    metadata = body["metadata"]
    replacement = {
        "apiVersion": API_VERSION,
        "kind": _KINDS[plural],
        "metadata": {name: metadata[name] for name in ("namespace", "name", "uid", "resourceVersion")},
        "spec": body["spec"],
        "status": status.dump(),
    }
    return await api.replace(path(plural, *key_of(body)) + "/status", replacement, as_=OPERATOR)


async def list_all(api: Api, plural: str, namespace: str | None, selector: str = "") -> list[Object]:
    """All objects that a field selector fits, in pages."""
    query: dict[str, str | int] = {"limit": 500}
    if selector:
        query["fieldSelector"] = selector
    where = f"/apis/{GROUP}/{VERSION}/{plural}" if namespace is None else path(plural, namespace)
    found: list[Object] = []
    while True:
        page = await api.get(where, as_=OPERATOR, query=query)
        found += page["items"]
        token = page["metadata"].get("continue")
        if not token:
            return found
        query["continue"] = token


async def requests_for(api: Api, namespace: str, ref: TargetRef, within: str | None = None) -> tuple[Other, ...]:
    """Every request for a target, read fresh: it names the target or a policy of it, or was about it when taken up.

    What a request was about stands in its status: its policy may have been changed or deleted since. Requests of other
    namespaces than `namespace` may mean the same Application; `within`: the one namespace that the operator works in.
    """
    place = ref.place(namespace)
    scope = within if ref.kind == ACROSS_NAMESPACES else namespace
    direct, policies, *taken_up = await asyncio.gather(
        list_all(api, REQUESTS, scope, f"spec.target.name={ref.name}"),
        list_all(api, POLICIES, scope, f"spec.target.name={ref.name}"),
        *(list_all(api, REQUESTS, scope, f"status.target={name}") for name in _spellings(ref, place)),
    )
    named = [key_of(body) for body in policies if _is_about(body, place)]
    through = await asyncio.gather(*(list_all(api, REQUESTS, at, f"spec.policyRef.name={name}") for at, name in named))
    bodies = [body for body in direct if _is_about(body, place)]
    bodies += [body for one in taken_up for body in one if _was_about(body, place)]
    bodies += [body for one in through for body in one]
    return tuple(_others({body["metadata"]["uid"]: body for body in bodies}.values()))


def _spellings(ref: TargetRef, place: Place) -> list[str]:
    """How statuses may name the target: with its namespace and, if one can be said, without."""
    plain = ref.model_copy(update={"namespace": None})
    full = plain.model_copy(update={"namespace": place[1]})
    return [str(one) for one in ((plain, full) if ref.kind == ACROSS_NAMESPACES else (plain,))]


def _is_about(body: Object, place: Place) -> bool:
    target = body["spec"].get("target") or {}
    named = (target.get("kind"), target.get("namespace") or body["metadata"]["namespace"], target.get("name"))
    return named == place


def _was_about(body: Object, place: Place) -> bool:
    return TargetRef.of(body["status"]["target"]).place(body["metadata"]["namespace"]) == place


def _others(bodies: Iterable[Object]) -> Iterable[Other]:
    """What others see of them. One that cannot be read, of another version perhaps, keeps nobody waiting.

    Neither can it be carried out here, and between two operators the effect's precondition decides.
    """
    for body in bodies:
        withdrawn = WITHDRAWN_ANNOTATION in (body["metadata"].get("annotations") or {})
        try:
            yield replace(other_of(parse_request(body)), withdrawn=withdrawn)
        except ValidationError as error:
            log.warning("Request %s/%s cannot be read: %s", *key_of(body), error.errors(include_input=False)[:3])


def other_of(request: Request) -> Other:
    """A request as others see it."""
    status = request.status
    plan = next((target.plan for target in status.targets if target.plan is not None), None)
    ready = on.find(status.conditions, on.READY)
    return Other(
        uid=request.uid,
        name=request.name,
        created=request.created,
        phase=status.phase,
        dry_run=request.spec.dry_run,
        applied=on.is_true(status.conditions, on.APPLIED),
        left=plan.from_.fingerprint if plan else None,
        finished=status.finished_at,
        left_name=plan.from_.revision if plan else "",
        to=plan.to.fingerprint if plan else None,
        to_name=plan.to.revision if plan else "",
        reason=ready.reason if ready else "",
        message=ready.message if ready else "",
        policy_uid=request.spec.policy_ref.uid if request.spec.policy_ref else None,
        by_policy=request.spec.policy_ref is not None,
        graced=status.phase in (None, Phase.PENDING, Phase.AWAITING_APPROVAL)
        and request.spec.grace is not None
        and not request.spec.approve
        and datetime.now(UTC) < request.created + parse_duration(request.spec.grace),
    )
