"""Asking the API server what an identity may do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from rollback_operator.kube import errors
from rollback_operator.kube.client import Api
from rollback_operator.kube.identity import ServiceAccount

_PATH = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


@dataclass(frozen=True, slots=True)
class Right:
    """To do something to one object."""

    verb: str
    group: str
    resource: str
    namespace: str
    name: str

    def __str__(self) -> str:
        what = f"{self.resource} {self.name}" if self.name else self.resource
        return f"{self.verb} {what} in namespace {self.namespace}"


async def first_lacking(api: Api, rights: Iterable[Right], account: ServiceAccount) -> Right | None:
    """The first right that `account` lacks; nothing is stored by asking, and one who may not even ask lacks nothing.

    Raises:
        kube.errors.KubeError: the API server gives no answer.
    """
    try:
        return await _first_lacking(api, rights, account)
    except errors.Forbidden:
        return None


async def may(api: Api, rights: Iterable[Right], account: ServiceAccount) -> bool:
    """Whether it is known that `account` may do all that: of one who may not even ask, it is not.

    Raises:
        kube.errors.KubeError: the API server gives no answer.
    """
    try:
        return await _first_lacking(api, rights, account) is None
    except errors.Forbidden:
        return False


async def _first_lacking(api: Api, rights: Iterable[Right], account: ServiceAccount) -> Right | None:
    for right in rights:
        attributes = {name: getattr(right, name) for name in ("verb", "group", "resource", "namespace", "name")}
        review: dict[str, Any] = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        answer = await api.create(_PATH, review, as_=account)
        if not answer.get("status", {}).get("allowed"):
            return right
    return None
