"""/metrics for Prometheus, /alerts for Alertmanager, /healthz and /readyz for the kubelet."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from rollback_operator.settings import Settings


@asynccontextmanager
async def serving(
    settings: Settings,
    stuck: Callable[[], str | None],
    ready: Callable[[], bool],
    alerts: Callable[[web.Request], Awaitable[web.StreamResponse]],
) -> AsyncIterator[None]:
    """Serve while the context lasts.

    `stuck` says why no progress is made (liveness); `ready` whether requests are taken up (readiness); `alerts` takes
    what Alertmanager sends.
    """

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def healthz(_: web.Request) -> web.Response:
        why = stuck()
        return web.Response(text="ok\n" if why is None else f"stuck: {why}\n", status=200 if why is None else 503)

    async def readyz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n" if ready() else "starting\n", status=200 if ready() else 503)

    app = web.Application()
    app.add_routes(
        [
            web.get("/metrics", metrics),
            web.get("/healthz", healthz),
            web.get("/readyz", readyz),
            web.post("/alerts", alerts),
        ]
    )
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, settings.bind, settings.port).start()
        yield
    finally:
        await runner.cleanup()
