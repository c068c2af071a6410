"""The door through which Alertmanager tells of alerts."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from aiohttp import web

from rollback_operator.signals.alerts import AlertSignal

LARGEST = 1024 * 1024
"""Bytes of a body, unpacked, that are taken."""
LONGEST = 10.0
"""Seconds that a body may take to arrive."""


def webhook(
    alerts: AlertSignal, token: Callable[[], str | None]
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """The handler of POST requests from Alertmanager, which shows `token` as its bearer token.

    It answers 404 while there is no token, 401 to whoever does not show it, 413 to a body over 1 MiB, 408 to one that
    does not arrive, 400 with a sentence to one that is not Alertmanager's, and 200 otherwise.
    """

    async def handle(request: web.Request) -> web.StreamResponse:
        expected = token()
        if not expected:
            return _answer(HTTPStatus.NOT_FOUND, "alerts are not received here: no token is set")
        if not _shows(request, expected):
            return _answer(HTTPStatus.UNAUTHORIZED, "show the bearer token", {"WWW-Authenticate": "Bearer"})
        try:
            async with asyncio.timeout(LONGEST):
                body = await _body(request)
        except TimeoutError:
            return _answer(HTTPStatus.REQUEST_TIMEOUT, "the body did not arrive in time")
        if body is None:
            return _answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the body is over 1 MiB: set max_alerts")
        try:
            taken = alerts.receive(body)
        except ValueError as error:
            return _answer(HTTPStatus.BAD_REQUEST, str(error))
        return _answer(HTTPStatus.OK, f"{taken} alerts name a policy")

    return handle


def _shows(request: web.Request, expected: str) -> bool:
    scheme, _, shown = request.headers.get("Authorization", "").partition(" ")
    same = hmac.compare_digest(shown.strip().encode(errors="surrogateescape"), expected.encode())
    return same and scheme.lower() == "bearer"


async def _body(request: web.Request) -> bytes | None:
    """The body; None if it is too large. The limit is our own, whatever the application's is."""
    if (request.content_length or 0) > LARGEST:
        return None
    body = bytearray()
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > LARGEST:
            return None
    return bytes(body)


def _answer(status: HTTPStatus, text: str, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(status=status, text=f"{text}\n", headers=headers)
