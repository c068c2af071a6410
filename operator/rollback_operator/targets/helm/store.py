"""Reading and mending the records of releases, as the service account: the operator itself may read no Secret."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from rollback_operator.kube import errors
from rollback_operator.kube.client import Api
from rollback_operator.targets.base import Where
from rollback_operator.targets.helm.records import Record, decode, number_of, record_of

MOST_REMEMBERED = 4096
"""Records whose summaries are remembered; a version of a Secret never changes."""
MOST_AT_ONCE = 5
"""Secrets that are read at the same time."""
MOST_RECORDS = 100
"""Records of one release that are looked at, the newest: Helm keeps ten unless it is told otherwise."""
MOST_UNPACKED = 2
"""Records that are unpacked at the same time, of all releases: each may take a hundred megabytes for a moment."""
PAGE = 500

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Stored:
    """A record's Secret, and the release that it holds."""

    secret: Object
    release: Object


class Store:
    """The records of releases. What was read once is read again only when it changed."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._known: OrderedDict[tuple[str, str], Record | None] = OrderedDict()
        self._unpacking = asyncio.Semaphore(MOST_UNPACKED)

    async def records(self, where: Where) -> tuple[Record, ...]:
        """All records of the release, oldest first.

        Raises:
            kube.errors.KubeError: they could not be read.
        """
        numbered = [
            (number, one["metadata"])
            for one in await self._listed(where)
            if (number := number_of(one["metadata"]["name"], where.name)) is not None
        ]
        newest = sorted(numbered, key=lambda one: one[0])[-MOST_RECORDS:]
        slots = asyncio.Semaphore(MOST_AT_ONCE)
        found = await asyncio.gather(*(self._record(where, metadata, slots) for _, metadata in newest))
        return tuple(sorted((one for one in found if one is not None), key=lambda one: one.number))

    async def _listed(self, where: Where) -> list[Object]:
        """The metadata of all records, however many there are: the newest is not the last one of the list."""
        query: dict[str, str | int] = {"labelSelector": f"owner=helm,name={where.name}", "limit": PAGE}
        found: list[Object] = []
        while True:
            page = await self._api.get(secrets(where), as_=where.account, query=query, metadata_only=True)
            found += page["items"] or ()
            token = page["metadata"].get("continue")
            if not token:
                return found
            query["continue"] = token

    async def _record(self, where: Where, metadata: Object, slots: asyncio.Semaphore) -> Record | None:
        key = (metadata["uid"], metadata["resourceVersion"])
        if key in self._known:
            self._known.move_to_end(key)
            return self._known[key]
        async with slots:
            try:
                secret = await self._api.get(secrets(where, metadata["name"]), as_=where.account)
            except errors.NotFound:
                return None
            async with self._unpacking:
                record = await asyncio.to_thread(record_of, secret, where.name)
        self._known[secret["metadata"]["uid"], secret["metadata"]["resourceVersion"]] = record
        while len(self._known) > MOST_REMEMBERED:
            self._known.popitem(last=False)
        return record

    async def read(self, where: Where, record: Record) -> Stored:
        """What a record holds.

        Raises:
            UnreadableError: nothing that can be read.
            kube.errors.NotFound: it was removed.
        """
        secret = await self._api.get(secrets(where, record.secret), as_=where.account)
        async with self._unpacking:
            return Stored(secret, await asyncio.to_thread(decode, secret))

    async def write(self, where: Where, secret: Object) -> Object:
        """Replace exactly the version of a record's Secret that was read.

        Raises:
            kube.errors.Conflict: it was changed meanwhile; nothing was written.
        """
        return await self._api.replace(secrets(where, secret["metadata"]["name"]), secret, as_=where.account)


def secrets(where: Where, name: str | None = None) -> str:
    """Path of the Secrets of a namespace, or of one of them."""
    base = f"/api/v1/namespaces/{where.namespace}/secrets"
    return base if name is None else f"{base}/{name}"
