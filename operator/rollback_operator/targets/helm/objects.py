"""The objects of a manifest at the API server: where they are, what changing them takes, and whether it is taken."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

from rollback_operator.api.options import Force
from rollback_operator.kube import access, errors
from rollback_operator.kube.access import Right
from rollback_operator.kube.client import Api
from rollback_operator.targets.base import Where
from rollback_operator.targets.helm.manifest import Name, definitions_left_out, kept

MOST_AT_ONCE = 5
"""Questions that are asked at the same time."""

_WAITED_FOR = ("list", "watch")
"""What Helm does with all objects of a kind, to see when a hook is done."""

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


def path_of_definition(definition: Object) -> str:
    """Path of a CustomResourceDefinition."""
    version, name = (quote(str(one)) for one in (definition.get("apiVersion"), definition["metadata"].get("name")))
    return f"/apis/{version}/customresourcedefinitions/{name}"


@dataclass(frozen=True, slots=True)
class Hooks:
    """The objects of hooks that are to be run. `deleted`: those that Helm deletes, before or when they are done."""

    objects: Objects
    deleted: frozenset[Name]
    applied: bool
    """They are made by applying them, which takes one more right."""


NO_HOOKS = Hooks({}, frozenset(), applied=False)


class Changes:
    """What going from one manifest to another changes, and the hooks that are run with it."""

    def __init__(self, api: Api, where: Where, before: Objects, after: Objects, hooks: Hooks = NO_HOOKS) -> None:
        self._api = api
        self._where = where
        self._before = before
        self._after = after
        self._hooks = hooks

    async def live(self) -> list[Object]:
        """What there is now of the objects that are changed or deleted, as far as the account may read it.

        Raises:
            kube.errors.KubeError: no answer.
        """
        resources = await Kinds(self._api).of(self._where, self._before.values())
        paths = [self._path(resources, thing) for thing in self._before.values()]
        found = await self._each(self._read(path) for path in paths if path is not None)
        return [one for one in found if one is not None]

    async def lost_definitions(self) -> tuple[str, ...]:
        """CustomResourceDefinitions that are deleted, and every object of theirs with them.

        Helm goes by what the object says that is there, and not by what the chart said; nor does this, if it may look.

        Raises:
            kube.errors.KubeError: no answer.
        """
        left_out = definitions_left_out(self._before, self._after)
        doomed = await self._each(self._is_deleted(one) for one in left_out)
        return tuple(str(one["metadata"]["name"]) for one, lost in zip(left_out, doomed, strict=True) if lost)

    async def _is_deleted(self, definition: Object) -> bool:
        try:
            there = await self._api.get(path_of_definition(definition), as_=self._where.account)
        except errors.NotFound:
            return False
        except errors.Forbidden:
            return not kept(definition)
        return not kept(there)

    async def first_lacking(self) -> Right | None:
        """The first right that it takes and the account lacks.

        Raises:
            kube.errors.KubeError: no answer.
        """
        objects, hooked = {**self._before, **self._after}, self._hooks.objects
        resources = await Kinds(self._api).of(self._where, [*objects.values(), *hooked.values()])
        asked = [
            *(self._rights(resources, name, thing, self._verbs(name, thing)) for name, thing in objects.items()),
            *(self._rights(resources, name, thing, self._verbs_of_hook(name)) for name, thing in hooked.items()),
            *(self._rights(resources, replace(name, name=""), one, _WAITED_FOR) for name, one in hooked.items()),
        ]
        alike = access.alike(right for rights in asked for right in rights).values()
        found = await self._each(access.first_lacking(self._api, some, self._where.account) for some in alike)
        return next((one for one in found if one is not None), None)

    def _verbs(self, name: Name, thing: Object) -> tuple[str, ...]:
        """What Helm does to an object; one that is not in the manifest before may be there all the same."""
        if name not in self._after:
            return () if kept(thing) else ("get", "delete")
        change = "update" if self._where.options.helm.force is Force.REPLACE else "patch"
        return ("get", change) if name in self._before else ("get", "create", change)

    def _verbs_of_hook(self, name: Name) -> tuple[str, ...]:
        made = ("create", "patch") if self._hooks.applied else ("create",)
        return (*made, "delete") if name in self._hooks.deleted else made

    def _rights(
        self, resources: Mapping[tuple[str, str], Resource], name: Name, thing: Object, verbs: tuple[str, ...]
    ) -> list[Right]:
        resource = resources.get((str(thing.get("apiVersion", "")), name.kind))
        if resource is None:
            return []
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
