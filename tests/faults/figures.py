"""What Prometheus would say of a release, answered from a list: two paths of its API are all that policies ask."""

from __future__ import annotations

import bisect
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from aiohttp import web

Object = dict[str, Any]
WELL, BAD = 0.0, 0.5


class Figures:
    """The rate of errors of one target, now and in the past; the same whatever is asked for.

    `mark` says what it is from now on. `asked` is called before each answer, so that a rate can follow the target.
    """

    def __init__(self, asked: Callable[[Figures], Awaitable[None]]) -> None:
        self._asked = asked
        self._times = [0.0]
        self._rates = [WELL]
        self.url = ""
        self.silent = 0
        """How many of the next questions get no answer: their connections break."""

    @property
    def now(self) -> float:
        """The rate of this moment."""
        return self._rates[-1]

    def mark(self, rate: float) -> None:
        """From now on this is the rate."""
        self._times.append(time.time())
        self._rates.append(rate)

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[Figures]:
        """Serve on a port of its own while the context lasts."""
        app = web.Application()
        app.router.add_get("/api/v1/query", self._query)
        app.router.add_get("/api/v1/query_range", self._query_range)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _query(self, request: web.Request) -> web.Response:
        await self._ready(request)
        at = float(request.query["time"])
        return _answer("vector", [{"metric": {}, "value": [at, str(self._at(at))]}])

    async def _query_range(self, request: web.Request) -> web.Response:
        await self._ready(request)
        start, end, step = (float(request.query[name]) for name in ("start", "end", "step"))
        moments = [start + number * step for number in range(round((end - start) / step) + 1)]
        return _answer("matrix", [{"metric": {}, "values": [[at, str(self._at(at))] for at in moments]}])

    async def _ready(self, request: web.Request) -> None:
        if self.silent:
            self.silent -= 1
            if request.transport is not None:
                request.transport.abort()
            raise web.HTTPServiceUnavailable  # nobody receives it
        await self._asked(self)

    def _at(self, moment: float) -> float:
        return self._rates[max(0, bisect.bisect_right(self._times, moment) - 1)]


def _answer(kind: str, result: list[Object]) -> web.Response:
    return web.json_response({"status": "success", "data": {"resultType": kind, "result": result}})
