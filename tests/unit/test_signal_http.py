"""What an answer to an HTTP check means, and what no answer means (decision 6)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import unused_port

from rollback_operator.api.trigger import Trigger
from rollback_operator.core.verdicts import Sample, Verdict
from rollback_operator.signals import http as module
from rollback_operator.signals.base import Question
from rollback_operator.signals.fence import Fence
from rollback_operator.signals.http import HttpSignal
from rollback_operator.signals.outbound import NoAnswer
from tests.unit.builders import CHECKOUT
from tests.unit.serving import Handler, Serving, calling, endless, resetting, saying, serving, silent, trickling

NOW = 1_772_334_000.0
Fields = dict[str, Any]


def question(url: str, no_data: str = "Unknown", **check: Any) -> Question:
    trigger = Trigger.model_validate({"name": "probe", "http": {"url": url, **check}, "noData": no_data})
    return Question("shop", "checkout", CHECKOUT, "rollback", trigger)


@pytest.fixture
async def server() -> AsyncIterator[Serving]:
    async with serving() as one:
        yield one


@pytest.fixture
async def signal() -> AsyncIterator[HttpSignal]:
    async with calling() as outbound:
        yield HttpSignal(outbound)


@pytest.fixture(autouse=True)
def _never_busy(never_busy: None) -> None:
    """What is asked here is what a host is accused of."""


async def late(_: web.Request) -> web.StreamResponse:
    await asyncio.sleep(2)
    return web.Response()


MEANINGS: dict[str, tuple[Handler, Fields, Verdict, str]] = {
    "an answer": (saying("ok"), {}, Verdict.HEALTHY, ""),
    "a redirect": (saying("", 302, Location="/"), {}, Verdict.HEALTHY, ""),
    "399": (saying("", 399), {}, Verdict.HEALTHY, ""),
    "400": (saying("", 400), {}, Verdict.BREACH, "answered 400, not 200 to 399"),
    "503": (saying("", 503), {}, Verdict.BREACH, "answered 503, not 200 to 399"),
    "a status that was asked for": (saying("", 401), {"status": [200, 401]}, Verdict.HEALTHY, ""),
    "one that was not": (saying("", 204), {"status": [200, 401]}, Verdict.BREACH, "answered 204, not 200, 401"),
    "the text": (saying("all is ready"), {"contains": "ready"}, Verdict.HEALTHY, ""),
    "the text, in letters of the world": (saying("bereit für alles"), {"contains": "für"}, Verdict.HEALTHY, ""),
    "another text": (
        saying("no"),
        {"contains": "ready"},
        Verdict.BREACH,
        "'ready' is not in the first 64 KiB of the answer",
    ),
    "the text, with a bad status": (
        saying("ready", 500),
        {"contains": "ready"},
        Verdict.BREACH,
        "answered 500, not 200 to 399",
    ),
    "the text behind 64 KiB": (
        saying("x" * 65533 + "ready"),
        {"contains": "ready"},
        Verdict.BREACH,
        "'ready' is not in the first 64 KiB of the answer",
    ),
    "the text before 64 KiB": (saying("x" * 65531 + "ready" + "x" * 9), {"contains": "ready"}, Verdict.HEALTHY, ""),
    "a body without end": (endless, {}, Verdict.HEALTHY, ""),
    "a HEAD": (saying("ok"), {"method": "HEAD"}, Verdict.HEALTHY, ""),
    "silence": (silent, {"timeout": "500ms"}, Verdict.BREACH, "no answer within 0.5s"),
    "half an answer": (trickling, {"timeout": "500ms"}, Verdict.BREACH, "no answer within 0.5s"),
    "a slow answer": (late, {"slowerThan": "500ms"}, Verdict.BREACH, "no answer within 0.5s"),
    "an answer that is not too slow": (late, {"slowerThan": "30s", "timeout": "20s"}, Verdict.HEALTHY, ""),
    "a reset": (resetting, {}, Verdict.BREACH, "the connection broke, or what came is no HTTP"),
}


@pytest.mark.parametrize("case", MEANINGS)
async def test_the_meaning_of(case: str, server: Serving, signal: HttpSignal) -> None:
    server.handler, check, verdict, said = MEANINGS[case]
    sample = await signal.sample(question(f"{server.url}/healthz?token=hidden", **check), NOW)
    assert (sample.at, sample.verdict) == (NOW, verdict)
    assert sample.message == (f"{check.get('method', 'GET')} {server.url}/healthz: {said}" if said else "")


async def test_what_is_shown_is_the_status_and_the_time(server: Serving, signal: HttpSignal) -> None:
    server.handler = saying("the body", 503)
    sample = await signal.sample(question(server.url), NOW)
    assert re.fullmatch(r"503 in [0-9]+ms", sample.value)
    assert "the body" not in sample.message


async def test_a_port_where_nobody_listens_is_bad(signal: HttpSignal) -> None:
    """The host itself says so, as it does to a kubelet's probe; kube-proxy says it of a Service without pods."""
    port = unused_port()
    sample = await signal.sample(question(f"http://127.0.0.1:{port}/"), NOW)
    assert sample == Sample(NOW, Verdict.BREACH, "", f"GET http://127.0.0.1:{port}/: connection refused")


TROUBLE: dict[str, tuple[str, str]] = {
    "a name that nobody knows": ("http://nobody.invalid/", "the host's name cannot be resolved"),
    "TLS where there is none": ("https://127.0.0.1:{port}/", "TLS failed"),
    "an address that is not allowed": ("http://169.254.169.254/latest", "169.254.169.254 is a link-local address"),
    "what is no address": ("http://a\\b/", "this address cannot be called"),
}


@pytest.mark.parametrize("no_data, verdict", [("Unknown", Verdict.UNKNOWN), ("Breach", Verdict.BREACH)])
@pytest.mark.parametrize("case", TROUBLE)
async def test_trouble_of_ours_or_on_the_way_is_no_data(
    case: str, no_data: str, verdict: Verdict, server: Serving, signal: HttpSignal
) -> None:
    url, said = TROUBLE[case]
    sample = await signal.sample(question(url.format(port=server.port), no_data), NOW)
    assert sample.verdict is verdict
    assert said in sample.message
    assert not server.asked


async def test_a_connection_that_is_not_made_in_time_is_unknown() -> None:
    async def never(_: str, __: int) -> Sequence[str]:
        await asyncio.sleep(3600)
        raise AssertionError

    async with calling(lookup=never) as outbound:
        sample = await HttpSignal(outbound).sample(question("http://slow.example/", timeout="100ms"), NOW)
    assert (sample.verdict, sample.message) == (
        Verdict.UNKNOWN,
        "GET http://slow.example/: no connection within 0.1s",
    )


async def test_an_operator_that_was_busy_accuses_nobody(monkeypatch: pytest.MonkeyPatch, signal: HttpSignal) -> None:
    async def busy(*_: Any, **__: Any) -> None:
        raise NoAnswer("busy", "the operator was too busy")

    monkeypatch.setattr(signal._outbound, "get", busy)
    assert (await signal.sample(question("http://host/"), NOW)).verdict is Verdict.UNKNOWN


async def test_loopback_is_not_for_policies(server: Serving) -> None:
    async with calling(Fence()) as outbound:
        sample = await HttpSignal(outbound).sample(question(server.url), NOW)
    assert sample.verdict is Verdict.UNKNOWN
    assert not server.asked


async def test_nobody_is_waited_for_without_end(
    server: Serving, signal: HttpSignal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What takes longer than is ever waited for has not been shown to be bad."""
    monkeypatch.setattr(module, "LONGEST", 0.1)
    server.handler = silent
    sample = await signal.sample(question(server.url, timeout="10m"), NOW)
    assert sample.verdict is Verdict.UNKNOWN


async def test_each_check_makes_a_connection_of_its_own(server: Serving, signal: HttpSignal) -> None:
    """A kept one would stay with one pod of a Service, and perhaps with the old one."""
    for _ in range(3):
        await signal.sample(question(server.url), NOW)
    assert len(set(server.callers)) == 3


async def test_what_cannot_be_answered_is_said_and_not_asked(server: Serving, signal: HttpSignal) -> None:
    one = question(server.url, "Breach", method="HEAD", contains="ready")
    sample = await signal.sample(one, NOW)
    assert (sample.verdict, sample.message) == (Verdict.UNKNOWN, await signal.check(one))
    assert "use GET" in sample.message
    assert not server.asked


async def test_a_check_that_can_be_asked_is_said_to_be_fine(signal: HttpSignal) -> None:
    assert await signal.check(question("http://host/", contains="ready")) is None


async def test_the_past_cannot_be_asked(signal: HttpSignal) -> None:
    assert not await signal.history(question("http://host/"), NOW - 600, NOW)
    await signal.close()
