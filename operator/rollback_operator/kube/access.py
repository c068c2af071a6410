"""Asking the API server what an identity may do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
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
        return f"{self.verb} {what}" + (f" in namespace {self.namespace}" if self.namespace else "")


def alike(rights: Iterable[Right]) -> dict[Right, tuple[Right, ...]]:
    """Rights to do the same to objects of one kind in one namespace, each once, by the right to do it to all."""
    found: dict[Right, dict[Right, None]] = {}
    for right in rights:
        found.setdefault(replace(right, name=""), {})[right] = None
    return {whole: tuple(named) for whole, named in found.items()}


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
    for whole, named in alike(rights).items():
        if len(named) > 1 and await _allowed(api, whole, account):
            continue  # of all objects: so of each
        for right in named:
            if not await _allowed(api, right, account):
                return right
    return None


async def _allowed(api: Api, right: Right, account: ServiceAccount) -> bool:
    attributes = {name: getattr(right, name) for name in ("verb", "group", "resource", "namespace", "name")}
    review: dict[str, Any] = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    answer = await api.create(_PATH, review, as_=account)
    return bool(answer.get("status", {}).get("allowed"))
