"""The administrator's calls to the API server, past the proxy: for making worlds and looking at them."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp

from testbed import Cluster

Object = dict[str, Any]
PATIENCE = 300
"""Seconds after which a wait is given up. What works takes a few of them, on a busy machine ten times as many."""


class NoAnswerError(Exception):
    """The API server did not do what was asked."""

    def __init__(self, asked: str, status: int, message: str) -> None:
        """What was asked, and what was answered."""
        super().__init__(f"{asked}: {status} {message}")
        self.status = status


class Admin:
    """A session with all rights."""

    def __init__(self, cluster: Cluster, session: aiohttp.ClientSession) -> None:
        self._server = cluster.server
        self._session = session
        self.audit = Audit(cluster.audit_log)

    @classmethod
    @contextlib.asynccontextmanager
    async def of(cls, cluster: Cluster) -> AsyncIterator[Admin]:
        """A session with a cluster."""
        headers = {"Authorization": f"Bearer {cluster.token}"}
        connector = aiohttp.TCPConnector(ssl=False, limit=0)
        async with aiohttp.ClientSession(headers=headers, connector=connector) as session:
            yield cls(cluster, session)

    async def get(self, path: str) -> Object:
        return await self._call("GET", path)

    async def find(self, path: str) -> Object | None:
        """What is at a path; None only if the API server says that nothing is."""
        try:
            return await self.get(path)
        except NoAnswerError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
            return None

    async def create(self, path: str, body: Object) -> Object:
        return await self._call("POST", path, body)

    async def apply(self, path: str, body: Object, *, force: bool, manager: str = "release") -> Object:
        """Server-side apply, as a release tool does it."""
        query = f"fieldManager={manager}&force={str(force).lower()}"
        return await self._call("PATCH", f"{path}?{query}", body, "application/apply-patch+yaml")

    async def merge(self, path: str, body: Object) -> Object:
        return await self._call("PATCH", path, body, "application/merge-patch+json")

    async def delete(self, path: str) -> Object:
        return await self._call("DELETE", f"{path}?propagationPolicy=Background")

    async def define(self, body: Object, plural: str) -> None:
        """Have the API server know the resource of a definition, if it does not yet."""
        with contextlib.suppress(NoAnswerError):  # another run was first
            await self.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", body)
        group, version = body["spec"]["group"], body["spec"]["versions"][0]["name"]

        async def served() -> bool:
            try:
                await self.get(f"/apis/{group}/{version}/{plural}?limit=1")
            except (NoAnswerError, aiohttp.ContentTypeError):  # who knows nothing of a group answers no JSON
                return False
            return True

        await self.until(served, f"{plural} are served")

    async def until(
        self, question: Callable[[], Awaitable[bool]], what: str, within: float = PATIENCE, *, every: float = 0.2
    ) -> None:
        """Ask until the answer is yes.

        Raises:
            TimeoutError: it was not, in time.
        """
        deadline = asyncio.get_running_loop().time() + within
        while not await question():
            if asyncio.get_running_loop().time() > deadline:
                raise TimeoutError(f"not within {within} s: {what}")
            await asyncio.sleep(every)

    async def _call(
        self, verb: str, path: str, body: Object | None = None, content: str = "application/json"
    ) -> Object:
        data = None if body is None else json.dumps(body)
        async with self._session.request(
            verb, self._server + path, data=data, headers={"Content-Type": content}
        ) as response:
            answer: Object = await response.json()
            if response.status >= 300:
                raise NoAnswerError(f"{verb} {path}", response.status, str(answer.get("message")))
            return answer


class Audit:
    """The API server's audit log, read on from where it was read to."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0
        self._by_namespace: dict[str, list[Object]] = {}

    def of(self, namespace: str) -> list[Object]:
        """Events about objects in that namespace."""
        for event in self._new():
            where = (event.get("objectRef") or {}).get("namespace")
            if where:
                self._by_namespace.setdefault(where, []).append(event)
        return self._by_namespace.get(namespace, [])

    def _new(self) -> Iterator[Object]:
        with self._path.open("rb") as log:
            log.seek(self._read)
            for line in log:
                if not line.endswith(b"\n"):
                    return
                self._read += len(line)
                yield json.loads(line)
