"""All kinds of signal together: which there are, and who hears of alerts."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from rollback_operator.api.trigger import SOURCES
from rollback_operator.settings import Settings
from rollback_operator.signals import Signals
from rollback_operator.signals.base import Checking
from rollback_operator.targets import Workloads, by_kind
from tests.unit.fakes import FakeApi

ALERTS = b'{"version": "4", "status": "firing", "alerts": []}'


def signals(heard: list[tuple[str, str]] | None = None, **settings: Any) -> Signals:
    door: Any = FakeApi()
    told = [] if heard is None else heard
    return Signals(door, Workloads(by_kind(door)), Settings(**settings), lambda *key: told.append(key))


@pytest.fixture
async def ready(request: pytest.FixtureRequest) -> AsyncIterator[Signals]:
    made = signals(**getattr(request, "param", {}))
    yield made
    await made.close()


async def test_every_source_that_a_trigger_may_name_is_there(ready: Signals) -> None:
    assert set(ready.by_source) == set(SOURCES)
    assert all(signal.source == name for name, signal in ready.by_source.items())


async def test_a_mistake_in_a_query_can_be_told(ready: Signals) -> None:
    assert isinstance(ready.by_source["prometheus"], Checking)


async def test_a_network_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match=r"10\.0\.0\.1/8 has host bits set"):
        signals(allowed_networks="127.0.0.0/8, 10.0.0.1/8")


@contextlib.asynccontextmanager
async def door(made: Signals) -> AsyncIterator[TestClient[web.Request, web.Application]]:
    app = web.Application()
    app.router.add_post("/alerts", made.receiver())
    async with TestClient(TestServer(app)) as client:
        yield client


async def status(made: Signals, token: str | None) -> int:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with door(made) as client, client.post("/alerts", data=ALERTS, headers=headers) as answer:
        return answer.status


async def test_alerts_are_taken_from_who_shows_the_token(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("tea-for-two\n")
    made = signals(alerts_token_file=str(token))
    assert await status(made, "tea-for-two") == 200
    assert await status(made, "coffee") == 401
    assert await status(made, None) == 401
    await made.close()


@pytest.mark.parametrize("file", ["", "missing"])
async def test_alerts_are_taken_from_nobody_without_one(file: str, tmp_path: Path) -> None:
    made = signals(alerts_token_file=str(tmp_path / file) if file else "")
    for shown in (None, "", "None", "tea-for-two"):
        assert await status(made, shown) == 404
    await made.close()


@contextlib.asynccontextmanager
async def alertmanager(token: str | None = None) -> AsyncIterator[tuple[str, list[str]]]:
    """One at which an alert fires, and what it was asked; with a token, it answers only to who shows that."""
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path_qs)
        if request.headers.get("Authorization") != (f"Bearer {token}" if token else None):
            return web.Response(status=401)
        labels = {"namespace": "shop", "rollback_policy": "checkout", "alertname": "Errors"}
        return web.json_response(
            [
                {
                    "labels": labels,
                    "fingerprint": "a1",
                    "startsAt": "2026-03-01T03:00:00Z",
                    "endsAt": "2099-01-01T00:00:00Z",
                    "status": {"state": "active"},
                }
            ]
        )

    app = web.Application()
    app.router.add_get("/am/api/v2/alerts", answer)
    async with TestServer(app) as server:
        yield f"http://127.0.0.1:{server.port}/am/", asked


async def test_an_alertmanager_is_asked_what_fires() -> None:
    heard: list[tuple[str, str]] = []
    async with alertmanager() as (address, asked):
        made = signals(heard, alertmanager=address)
        running = asyncio.create_task(made.run())
        async with asyncio.timeout(30):
            while not heard:  # noqa: ASYNC110 - it tells nobody else
                await asyncio.sleep(0.01)
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        await made.close()
    assert heard == [("shop", "checkout")]
    assert asked
    assert all(path.startswith("/am/api/v2/alerts?") for path in asked)


@pytest.mark.parametrize("held, heard_of", [("tea-for-two\n", True), ("coffee", False), (None, False)])
async def test_an_alertmanager_behind_a_door_is_shown_the_token(
    held: str | None, *, heard_of: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    token = tmp_path / "token"
    if held is not None:
        token.write_text(held)
    heard: list[tuple[str, str]] = []
    async with alertmanager("tea-for-two") as (address, _):
        made = signals(heard, alertmanager=address, alertmanager_token_file=str(token))
        await made.alerts.refresh()
        await made.close()
    assert bool(heard) == heard_of
    assert heard_of or "Alertmanager cannot be asked which alerts fire" in caplog.text
    assert held is None or held.strip() not in caplog.text


async def test_it_runs_until_it_is_stopped(ready: Signals) -> None:
    running = asyncio.create_task(ready.run())
    await asyncio.sleep(0.05)
    assert not running.done()
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
