"""A proxy between one operator and the real API server, which does to a call what the network and the server may do."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web

from tests.faults.calls import Call, name_of

Hook = Callable[[], Awaitable[None]]
HOP_BY_HOP = {"host", "content-length", "connection", "transfer-encoding", "accept-encoding"}


@dataclass
class Fault:
    """What happens at one call: something before it reaches the API server, something after it was answered.

    `before` and `after` run then (a kill, a foreign release). `answer` is given instead of asking the API server;
    `cut_before` and `cut_after` break the connection without an answer.
    """

    before: Hook | None = None
    after: Hook | None = None
    answer: tuple[int, dict[str, str]] | None = None
    cut_before: bool = False
    cut_after: bool = False
    late: float = 0
    """Break the connection at once, and let the call arrive this many seconds later all the same."""
    not_before: Hook | None = None
    """What a late call waits for besides."""


@dataclass
class Proxy:
    """Stands in for the API server at `url`; `journal` lists the calls that came, in order."""

    upstream: str
    session: aiohttp.ClientSession
    """Everybody's, so that connections are used again: to make one takes more of the processor than a call."""
    faults: dict[Call, Fault] = field(default_factory=dict)
    journal: list[Call] = field(default_factory=list)
    reached: set[Call] = field(default_factory=set)
    url: str = ""
    frozen: bool = False
    """Answer reads with what the same read was answered before: a stale cache."""

    def __post_init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._answers: dict[str, tuple[int, bytes, str]] = {}
        self._streams: set[asyncio.Task[Any]] = set()
        self._late: set[asyncio.Task[None]] = set()
        self._moving = asyncio.Event()
        self._moving.set()

    @property
    def arrived(self) -> bool:
        """Whether a late call has been answered."""
        return any(call.done() for call in self._late)

    @property
    def watches(self) -> int:
        """How many watches are open."""
        return len(self._streams)

    def count_from_here(self) -> None:
        """Begin the numbering anew: a run's calls start now."""
        self._counts.clear()
        self.journal.clear()

    async def stand_still(self, seconds: float) -> None:
        """Let no call through for so long, the one that asks for it neither."""
        self._moving.clear()
        await asyncio.sleep(seconds)
        self._moving.set()

    def drop_watches(self) -> None:
        """Break all watches that are open."""
        for stream in self._streams:
            stream.cancel()

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[Proxy]:
        """Serve on a port of its own while the context lasts."""
        app = web.Application(client_max_size=2**24)
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{port}"
        try:
            yield self
        finally:
            for task in self._late:
                task.cancel()
            await asyncio.gather(*self._late, return_exceptions=True)
            await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        call = self._numbered(request)
        await self._moving.wait()
        fault = self.faults.get(call, Fault())
        if call in self.faults:
            self.reached.add(call)
        if fault.before is not None:
            await fault.before()
        if fault.late:
            self._later(request, await request.read(), fault)
        if fault.cut_before or fault.late:
            return _cut(request)
        if fault.answer is not None:
            return _refusal(*fault.answer)
        if call.name.startswith("WATCH"):
            return await self._stream(request)
        status, body, content = await self._forward(request)
        if fault.after is not None:
            await fault.after()
        if fault.cut_after:
            return _cut(request)
        return web.Response(status=status, body=body, headers={"Content-Type": content})

    def _later(self, request: web.Request, body: bytes, fault: Fault) -> None:
        async def send() -> None:
            await asyncio.sleep(fault.late)
            if fault.not_before is not None:
                await fault.not_before()
            where, headers = self.upstream + request.path_qs, _headers(request)
            async with self.session.request(request.method, where, headers=headers, data=body or None) as response:
                await response.read()

        self._late.add(asyncio.create_task(send()))

    async def nothing_is_late(self) -> None:
        """Wait until the late calls were answered."""
        await asyncio.gather(*self._late)

    def _numbered(self, request: web.Request) -> Call:
        name = name_of(request.method, request.path, request.query_string)
        self._counts[name] += 1
        call = Call(name, self._counts[name])
        self.journal.append(call)
        return call

    async def _forward(self, request: web.Request) -> tuple[int, bytes, str]:
        key = f"{request.method} {request.path_qs}"
        if self.frozen and key in self._answers:
            return self._answers[key]
        body = await request.read()
        async with self.session.request(
            request.method, self.upstream + request.path_qs, headers=_headers(request), data=body or None
        ) as response:
            answer = (response.status, await response.read(), response.headers.get("Content-Type", ""))
        if request.method == "GET":
            self._answers[key] = answer
        return answer

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        task = asyncio.current_task()
        assert task is not None
        self._streams.add(task)
        try:
            async with self.session.get(
                self.upstream + request.path_qs, headers=_headers(request), timeout=aiohttp.ClientTimeout(total=None)
            ) as upstream:
                response = web.StreamResponse(status=upstream.status, headers={"Content-Type": "application/json"})
                await response.prepare(request)
                async for chunk in upstream.content.iter_any():
                    await response.write(chunk)
                return response
        except asyncio.CancelledError:
            return _cut(request)
        finally:
            self._streams.discard(task)


def _headers(request: web.Request) -> dict[str, str]:
    return {name: value for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP}


def _cut(request: web.Request) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.abort()
    raise web.HTTPServiceUnavailable  # nobody receives it


def _refusal(status: int, headers: dict[str, str]) -> web.Response:
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "injected", "code": status}
    return web.Response(status=status, text=json.dumps(body), headers=headers, content_type="application/json")
