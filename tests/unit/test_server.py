"""/metrics, /alerts, /healthz and /readyz, as Prometheus, Alertmanager and the kubelet ask for them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import unused_port

from rollback_operator.server import serving
from rollback_operator.settings import Settings


class State:
    """What the operator says of itself."""

    def __init__(self) -> None:
        self.stuck: str | None = None
        self.ready = True


async def heard(request: web.Request) -> web.Response:
    return web.Response(text=f"heard {await request.text()}")


@pytest.fixture
def state() -> State:
    return State()


@pytest.fixture
async def url(state: State) -> AsyncIterator[str]:
    settings = Settings(bind="127.0.0.1", port=unused_port())
    async with serving(settings, lambda: state.stuck, lambda: state.ready, heard):
        yield f"http://127.0.0.1:{settings.port}"


async def asked(url: str) -> tuple[int, str, str]:
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return response.status, response.content_type, await response.text()


async def test_it_is_well(url: str) -> None:
    assert (await asked(f"{url}/healthz"))[::2] == (200, "ok\n")
    assert (await asked(f"{url}/readyz"))[::2] == (200, "ok\n")


async def test_it_says_why_it_is_stuck(url: str, state: State) -> None:
    state.stuck = "work is overdue by 61 seconds"
    assert (await asked(f"{url}/healthz"))[::2] == (503, "stuck: work is overdue by 61 seconds\n")
    assert (await asked(f"{url}/readyz"))[0] == 200, "it may still be reached"


async def test_it_is_not_ready_at_first(url: str, state: State) -> None:
    state.ready = False
    assert (await asked(f"{url}/readyz"))[::2] == (503, "starting\n")
    assert (await asked(f"{url}/healthz"))[0] == 200, "it is not to be killed for that"


async def test_metrics_are_those_of_prometheus(url: str) -> None:
    status, kind, text = await asked(f"{url}/metrics")
    assert (status, kind) == (200, "text/plain")
    assert 'rollback_requests{phase="Running"}' in text
    assert "rollback_effect_seconds_bucket" in text


async def test_what_is_sent_to_alerts_is_handed_on(url: str) -> None:
    async with aiohttp.ClientSession() as session, session.post(f"{url}/alerts", data="an alert") as response:
        assert (response.status, await response.text()) == (200, "heard an alert")
    assert (await asked(f"{url}/alerts"))[0] == 405, "there is nothing to read"


async def test_nothing_else_is_served(url: str) -> None:
    assert (await asked(f"{url}/"))[0] == 404


async def test_the_port_is_free_again_afterwards(state: State) -> None:
    settings = Settings(bind="127.0.0.1", port=unused_port())
    for _ in range(2):
        async with serving(settings, lambda: state.stuck, lambda: state.ready, heard):
            assert (await asked(f"http://127.0.0.1:{settings.port}/healthz"))[0] == 200
