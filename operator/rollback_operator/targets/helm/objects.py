"""The objects of a manifest at the API server: where they are, what changing them takes, and whether it is taken."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from rollback_operator.kube import access, errors
from rollback_operator.kube.access import Right
from rollback_operator.kube.client import Api
from rollback_operator.targets.base import Where
from rollback_operator.targets.helm.manifest import Name, kept

MOST_AT_ONCE = 5
"""Questions that are asked at the same time."""

Object = dict[str, Any]
Objects = Mapping[Name, Object]


@dataclass(frozen=True, slots=True)
class Resource:
    """What the API server calls a kind."""

    version: str
    plural: str
    namespaced: bool


class Kinds:
    """What kinds of objects there are, as the API server tells."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def of(self, where: Where, things: Iterable[Object]) -> Mapping[tuple[str, str], Resource]:
        """The resources of these objects, by their apiVersion and kind; those that are not served are left out.

        Raises:
            kube.errors.KubeError: the API server does not tell.
        """
        versions = sorted({str(one.get("apiVersion", "")) for one in things})
        listed = await asyncio.gather(*(self._served(where, version) for version in versions))
        return {
            (version, one["kind"]): Resource(version, one["name"], bool(one["namespaced"]))
            for version, served in zip(versions, listed, strict=True)
            for one in served
            if "/" not in one["name"]
        }

    async def _served(self, where: Where, version: str) -> list[Object]:
        path = f"/apis/{version}" if "/" in version else f"/api/{version}"
        try:
            answer = await self._api.get(quote(path), as_=where.account)
        except errors.NotFound:
            return []
        found: list[Object] = answer.get("resources") or []
        return found


class Changes:
    """What going from one manifest to another changes."""

    def __init__(self, api: Api, where: Where, before: Objects, after: Objects) -> None:
        self._api = api
        self._where = where
        self._before = before
        self._after = after

    async def live(self) -> list[Object]:
        """What there is now of the objects that are changed or deleted, as far as the account may read it.

        Raises:
            kube.errors.KubeError: no answer.
        """
        resources = await Kinds(self._api).of(self._where, self._before.values())
        paths = [self._path(resources, thing) for thing in self._before.values()]
        found = await self._each(self._read(path) for path in paths if path is not None)
        return [one for one in found if one is not None]

    async def first_lacking(self) -> Right | None:
        """The first right that it takes and the account lacks.

        Raises:
            kube.errors.KubeError: no answer.
        """
        resources = await Kinds(self._api).of(self._where, [*self._before.values(), *self._after.values()])
        needed = [
            right
            for name, thing in {**self._before, **self._after}.items()
            for right in self._rights(resources, name, thing)
        ]
        found = await self._each(access.first_lacking(self._api, (one,), self._where.account) for one in needed)
        return next((one for one in found if one is not None), None)

    def _rights(self, resources: Mapping[tuple[str, str], Resource], name: Name, thing: Object) -> list[Right]:
        resource = resources.get((str(thing.get("apiVersion", "")), name.kind))
        if resource is None:
            return []
        if name in self._after:
            verbs = ["get", "patch"] if name in self._before else ["get", "create", "patch"]
        else:
            verbs = [] if kept(thing) else ["get", "delete"]
        namespace = (name.namespace or self._where.namespace) if resource.namespaced else ""
        return [Right(verb, name.group, resource.plural, namespace, name.name) for verb in verbs]

    async def rehearse(self, field_manager: str, *, force: bool) -> None:
        """Have the API server try each object of the new manifest, and store nothing.

        Raises:
            kube.errors.Forbidden, Invalid: it would not take one of them.
        """
        resources = await Kinds(self._api).of(self._where, self._after.values())
        paths = [(self._path(resources, thing), thing) for thing in self._after.values()]
        try:
            await self._each(
                self._api.try_to_apply(path, thing, as_=self._where.account, field_manager=field_manager, force=force)
                for path, thing in paths
                if path is not None
            )
        except errors.Conflict as error:
            raise errors.Invalid(f"{error} Helm fails on that, unless options.helm.force is Conflicts") from error

    async def _read(self, path: str) -> Object | None:
        try:
            return await self._api.get(path, as_=self._where.account)
        except (errors.NotFound, errors.Forbidden):
            return None

    def _path(self, resources: Mapping[tuple[str, str], Resource], thing: Object) -> str | None:
        resource = resources.get((str(thing.get("apiVersion", "")), thing["kind"]))
        if resource is None:
            return None
        metadata = thing["metadata"]
        base = f"/apis/{resource.version}" if "/" in resource.version else f"/api/{resource.version}"
        if resource.namespaced:
            base += f"/namespaces/{quote(str(metadata.get('namespace') or self._where.namespace), safe='')}"
        return f"{base}/{resource.plural}/{quote(str(metadata.get('name')), safe='')}"

    async def _each(self, calls: Iterable[Any]) -> list[Any]:
        slots = asyncio.Semaphore(MOST_AT_ONCE)

        async def one(call: Any) -> Any:
            async with slots:
                return await call

        return list(await asyncio.gather(*(one(call) for call in calls)))
