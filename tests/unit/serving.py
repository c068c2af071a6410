"""A server on loopback that answers what a test says, and keeps what it was asked."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_network

from aiohttp import web

from rollback_operator.signals.fence import Fence, Lookup
from rollback_operator.signals.outbound import Outbound

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))


class Serving:
    """What a server answers (`handler`) and was asked (`asked`, with the port each call came from: `callers`)."""

    def __init__(self) -> None:
        self.handler: Handler = saying("ok")
        self.asked: list[web.Request] = []
        self.callers: list[int] = []
        self.port = 0
        self.at_once = 0
        self.most_at_once = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def handle(self, request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        self.asked.append(request)
        self.callers.append(request.transport.get_extra_info("peername")[1])
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            return await self.handler(request)
        finally:
            self.at_once -= 1


@asynccontextmanager
async def serving(tls: ssl.SSLContext | None = None) -> AsyncIterator[Serving]:
    """A server that runs."""
    one = Serving()
    async with running(one, tls):
        yield one


@asynccontextmanager
async def running(one: Serving, tls: ssl.SSLContext | None = None) -> AsyncIterator[None]:
    """Run a server; with `tls` it shows a certificate."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", one.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        one.port = runner.addresses[0][1]
        yield
    finally:
        await runner.cleanup()


@asynccontextmanager
async def calling(fence: Fence | None = None, lookup: Lookup | None = None) -> AsyncIterator[Outbound]:
    """A client; without a fence of its own it may call loopback."""
    outbound = Outbound(fence or Fence(LOOPBACK), lookup)
    try:
        yield outbound
    finally:
        await outbound.close()


def saying(text: str | bytes, status: int = 200, **headers: str) -> Handler:
    """An answer; `Set_Cookie` is its header Set-Cookie."""
    body = text.encode() if isinstance(text, str) else text
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    async def handler(_: web.Request) -> web.StreamResponse:
        return web.Response(body=body, status=status, headers=named)

    return handler


async def silent(_: web.Request) -> web.StreamResponse:
    """No answer."""
    await asyncio.sleep(3600)
    raise AssertionError


async def trickling(request: web.Request) -> web.StreamResponse:
    """An answer that begins, and does not end."""
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b"o")
    return await silent(request)


async def endless(request: web.Request) -> web.StreamResponse:
    """An answer that goes on and on."""
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b"x" * 65536)


async def resetting(request: web.Request) -> web.StreamResponse:
    """A connection that breaks."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()
