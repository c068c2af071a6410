"""Alerts: what Alertmanager sends and says, what is remembered of it, and who may tell."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from rollback_operator.api.trigger import Trigger
from rollback_operator.core.verdicts import Sample, Verdict
from rollback_operator.signals import alerts as module
from rollback_operator.signals.alerts import ALERTS_PATH, AlertSignal
from rollback_operator.signals.base import Question, Signal
from rollback_operator.signals.webhook import LARGEST, webhook
from tests.unit.builders import CHECKOUT, NOW

Object = dict[str, Any]
Ask = Callable[[str], Awaitable[bytes]]
AT = NOW.timestamp()
NEVER = "0001-01-01T00:00:00Z"


def time(seconds: float) -> str:
    return datetime.fromtimestamp(AT + seconds, UTC).isoformat().replace("+00:00", "Z")


def alert(name: str = "HighErrorRate", *, policy: str = "checkout", since: float = -60, **more: Any) -> Object:
    """An alert as a webhook gets it."""
    return {
        "status": "firing",
        "labels": {"alertname": name, "namespace": "shop", "rollback_policy": policy},
        "annotations": {"summary": "SECRET words"},
        "startsAt": time(since),
        "endsAt": NEVER,
        "generatorURL": "http://prometheus/graph",
        "fingerprint": f"fingerprint-of-{name}-{policy}",
        **more,
    }


def over(one: Object) -> Object:
    return one | {"status": "resolved", "endsAt": time(0)}


def listed(one: Object, ends: float = 240, **status: Any) -> Object:
    """An alert as the API lists it."""
    state = {"state": "active", "silencedBy": [], "inhibitedBy": [], "mutedBy": [], **status}
    return one | {"status": state, "endsAt": time(ends), "updatedAt": time(0), "receivers": [{"name": "webhook"}]}


def payload(*alerts: Object, **more: Any) -> bytes:
    return json.dumps(
        {"version": "4", "status": "firing", "alerts": list(alerts), "truncatedAlerts": 0, **more}
    ).encode()


class Alertmanager:
    """One that is asked; `during` happens while it thinks."""

    def __init__(self, *alerts: Object) -> None:
        self.answer: bytes | Exception = b""
        self.asked: list[str] = []
        self.heard = asyncio.Semaphore(0)
        self.during: Callable[[], object] = lambda: None
        self.fires(*alerts)

    def fires(self, *alerts: Object) -> None:
        self.answer = json.dumps(alerts).encode()

    async def ask(self, path: str) -> bytes:
        self.asked.append(path)
        self.heard.release()
        await asyncio.sleep(0)
        self.during()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class World:
    """The signal, its clock, and whom it told."""

    def __init__(self, alertmanager: Alertmanager | None = None) -> None:
        self.now = AT
        self.told: list[tuple[str, str]] = []
        ask = alertmanager.ask if alertmanager else None
        self.signal = AlertSignal(lambda *key: self.told.append(key), ask, lambda: self.now)

    async def sample(self, name: str | None = None, policy: str = "checkout", no_data: str = "Unknown") -> Sample:
        trigger = Trigger.model_validate({"name": "pager", "alert": {"name": name} if name else {}, "noData": no_data})
        return await self.signal.sample(Question("shop", policy, CHECKOUT, "rollback", trigger), self.now)

    async def verdict(self, **about: Any) -> Verdict:
        return (await self.sample(**about)).verdict


# What is sent.


async def test_where_no_alert_can_arrive_nobody_is_called_healthy() -> None:
    world = World()
    world.signal = AlertSignal(lambda *_: None, None, lambda: AT, received=False)
    assert await world.sample() == Sample(AT, Verdict.UNKNOWN, "", module.DEAF)
    trigger = Trigger.model_validate({"name": "pager", "alert": {}})
    assert await world.signal.check(Question("shop", "checkout", CHECKOUT, "rollback", trigger)) == module.DEAF
    assert await World().signal.check(Question("shop", "checkout", CHECKOUT, "rollback", trigger)) is None


async def test_nothing_fires_at_first() -> None:
    assert await World().sample() == Sample(AT, Verdict.HEALTHY, "0 firing")


async def test_an_alert_fires_until_it_is_over() -> None:
    world = World()
    assert world.signal.receive(payload(alert(since=-90))) == 1
    assert await world.sample() == Sample(
        AT, Verdict.BREACH, "1 firing", "alert HighErrorRate fires since 02:58:30 UTC"
    )
    world.now += 86_400
    assert (await world.sample()).message == "alert HighErrorRate fires since 2026-03-01 02:58:30 UTC"
    assert world.signal.receive(payload(over(alert()))) == 1
    assert await world.verdict() is Verdict.HEALTHY


async def test_of_several_the_oldest_is_told() -> None:
    world = World()
    world.signal.receive(payload(alert("A", since=-10), alert("B", since=-20), alert("C", since=-15)))
    assert await world.sample() == Sample(
        AT, Verdict.BREACH, "3 firing", "alert B fires since 02:59:40 UTC, and 2 more"
    )
    world.signal.receive(payload(over(alert("B"))))
    assert (await world.sample()).message == "alert C fires since 02:59:45 UTC, and 1 more"


async def test_a_trigger_may_want_one_alert_only() -> None:
    world = World()
    world.signal.receive(payload(alert("A")))
    assert await world.verdict(name="A") is Verdict.BREACH
    assert await world.verdict(name="B") is Verdict.HEALTHY


def labelled(**labels: Any) -> Object:
    one = alert()
    return one | {"labels": {key: value for key, value in (one["labels"] | labels).items() if value is not None}}


NOT_MINE: dict[str, tuple[Object, int]] = {
    "another policy's": (labelled(rollback_policy="other"), 1),
    "another namespace's": (labelled(namespace="other"), 1),
    "nobody's": (labelled(rollback_policy=None), 0),
    "one of no namespace": (labelled(namespace=None), 0),
    "one with an empty label": (labelled(rollback_policy=""), 0),
    "one whose namespace is too long to be one": (labelled(namespace="x" * 64), 0),
    "one whose policy is too long to be one": (labelled(rollback_policy="x" * 254), 0),
}


@pytest.mark.parametrize("case", NOT_MINE)
async def test_an_alert_is_not_mine_if_it_is(case: str) -> None:
    one, taken = NOT_MINE[case]
    world = World()
    assert world.signal.receive(payload(one)) == taken
    assert await world.verdict() is Verdict.HEALTHY
    assert len(world.told) == taken


async def test_the_policy_is_told_when_an_alert_begins_or_ends_and_not_when_it_is_repeated() -> None:
    world = World()
    world.signal.receive(payload(alert("A"), alert("B"), alert("A", policy="other")))
    assert world.told == [("shop", "checkout"), ("shop", "other")]
    world.signal.receive(payload(alert("A"), alert("B")))
    world.signal.receive(payload(over(alert("never heard of"))))
    assert len(world.told) == 2
    world.signal.receive(payload(over(alert("A")), alert("B")))
    assert world.told[2:] == [("shop", "checkout")]
    assert (await world.sample()).value == "1 firing"


async def test_an_alert_with_an_end_is_over_then() -> None:
    world = World()
    world.signal.receive(payload(alert(endsAt=time(100))))
    assert await world.verdict() is Verdict.BREACH
    world.now += 100
    assert await world.verdict() is Verdict.HEALTHY


async def test_an_alert_that_fires_has_no_end_in_the_past() -> None:
    world = World()
    world.signal.receive(payload(alert(endsAt=time(-100))))
    assert await world.verdict() is Verdict.BREACH


@pytest.mark.parametrize("since", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-03-01T03:00:00"])
async def test_an_alert_may_begin_at_any_time(since: str) -> None:
    world = World()
    world.signal.receive(payload(alert(startsAt=since)))
    message = (await world.sample()).message
    expected = "1970-01-01 00:00:00 UTC" if since.startswith("0001") else "03:00:00 UTC"
    assert message == f"alert HighErrorRate fires since {expected}"


async def test_time_may_be_said_in_nanoseconds() -> None:
    world = World()
    world.signal.receive(payload(alert(startsAt="2026-03-01T03:59:30.123456789+01:00")))
    assert (await world.sample()).message == "alert HighErrorRate fires since 02:59:30 UTC"


NAMES: dict[str, tuple[Object, str]] = {
    "no name": (labelled(alertname=None), "without a name"),
    "an empty one": (labelled(alertname=""), "without a name"),
    "a long one": (labelled(alertname="x" * 1000), "x" * 256),
    "one in lines": (labelled(alertname="two\nlines\x1b[31m"), "two lines [31m"),
}


@pytest.mark.parametrize("case", NAMES)
async def test_an_alert_has(case: str) -> None:
    one, name = NAMES[case]
    world = World()
    world.signal.receive(payload(one))
    assert (await world.sample()).message == f"alert {name} fires since 02:59:00 UTC"


BAD: dict[str, tuple[bytes, str]] = {
    "no JSON": (b"{", "this is not JSON"),
    "no text": (b"\xff\xfe\xff", "this is not JSON"),
    "too deep": (b"[" * 100_000, "this is not JSON"),
    "a list": (b"[]", "this is not what Alertmanager sends to a webhook (version 4)"),
    "another version": (
        payload(alert(), version="3"),
        "this is not what Alertmanager sends to a webhook (version 4)",
    ),
    "no alerts": (b'{"version": "4"}', "there is no list of alerts"),
    "alerts that are none": (payload(alerts={}), "there is no list of alerts"),
    "an alert that is none": (payload(alert(), "x"), "alert 1 is not as Alertmanager writes it"),  # type: ignore[arg-type]
    "labels that are none": (payload(alert(labels=["x"])), "alert 0 is not as Alertmanager writes it"),
    "a label that is no text": (payload(labelled(namespace=7)), "alert 0 is not as Alertmanager writes it"),
    "another label that is no text": (
        payload(labelled(rollback_policy=["x"])),
        "alert 0 is not as Alertmanager writes it",
    ),
    "a fingerprint that is none": (payload(alert(fingerprint=None)), "alert 0 is not as Alertmanager writes it"),
    "a status that is none": (payload(alert(status="unknown")), "alert 0 is not as Alertmanager writes it"),
    "a status that is a list": (payload(alert(status=[])), "alert 0 is not as Alertmanager writes it"),
    "a time that is none": (payload(alert(startsAt="yesterday")), "alert 0 is not as Alertmanager writes it"),
    "a time that is a number": (payload(alert(endsAt=7)), "alert 0 is not as Alertmanager writes it"),
}


@pytest.mark.parametrize("case", BAD)
async def test_nothing_is_taken_of(case: str) -> None:
    body, why = BAD[case]
    world = World()
    with pytest.raises(ValueError, match=r"^[a-z]") as caught:
        world.signal.receive(body)
    assert str(caught.value) == why
    assert await world.verdict() is Verdict.HEALTHY
    assert world.told == []


# Bounds.


async def test_a_policy_has_room_for_so_many_alerts(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    many = [alert(str(number)) for number in range(module.MOST_OF_POLICY + 5)]
    world.signal.receive(payload(*many))
    assert (await world.sample()).value == "100 firing"
    assert await world.sample("104") == Sample(AT, Verdict.UNKNOWN, "", "more alerts fire than are kept")
    assert await world.verdict(policy="other") is Verdict.HEALTHY
    assert [record.getMessage() for record in caplog.records] == ["5 alerts were left out: more fire than are kept"]
    world.signal.receive(payload(over(alert("0")), alert("104")))
    assert await world.verdict(name="104") is Verdict.BREACH
    assert len(caplog.records) == 1


async def test_there_is_room_for_so_many_alerts_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_ALERTS", 3)
    world = World()
    world.signal.receive(payload(*(alert(policy=str(number), endsAt=time(100)) for number in range(4))))
    assert await world.verdict(policy="2") is Verdict.BREACH
    assert await world.sample(policy="3") == Sample(AT, Verdict.UNKNOWN, "", "more alerts fire than are kept")
    world.signal.receive(payload(alert(policy="2", startsAt=time(-5))))
    assert await world.verdict(policy="2") is Verdict.BREACH, "what is known already has its place"
    world.now += 100
    world.signal.receive(payload(alert(policy="3")))
    assert [await world.verdict(policy=str(number)) for number in range(4)] == [
        Verdict.HEALTHY,
        Verdict.HEALTHY,
        Verdict.BREACH,
        Verdict.BREACH,
    ]


# What is asked.


async def test_before_alertmanager_has_answered_nothing_is_known() -> None:
    world = World(Alertmanager())
    assert await world.sample() == Sample(AT, Verdict.UNKNOWN, "", "Alertmanager was not asked successfully yet")
    assert await world.verdict(no_data="Breach") is Verdict.BREACH
    world.signal.receive(payload(over(alert())))
    assert await world.verdict() is Verdict.UNKNOWN, "one message does not tell of all alerts"
    world.signal.receive(payload(alert()))
    assert await world.verdict() is Verdict.BREACH


async def test_what_alertmanager_says_replaces_what_was_known() -> None:
    alertmanager = Alertmanager(listed(alert("A")))
    world = World(alertmanager)
    world.signal.receive(payload(alert("B"), alert(policy="other")))
    world.told.clear()
    await world.signal.refresh()
    assert alertmanager.asked == [
        "/api/v2/alerts?active=true&silenced=false&inhibited=false&filter=rollback_policy%3D~%22.%2B%22"
    ]
    assert await world.verdict(name="A") is Verdict.BREACH
    assert await world.verdict(name="B") is Verdict.HEALTHY
    assert world.told == [("shop", "checkout"), ("shop", "other")]
    await world.signal.refresh()
    assert len(world.told) == 2, "that was no news"


SUPPRESSED: dict[str, Object] = {
    "it is silenced": {"state": "suppressed", "silencedBy": ["id"]},
    "it is silenced, though it is called active": {"silencedBy": ["id"]},
    "it is inhibited": {"inhibitedBy": ["id"]},
    "its time is muted": {"mutedBy": ["weekend"]},
    "it is suppressed for whatever reason": {"state": "suppressed"},
}


@pytest.mark.parametrize("case", SUPPRESSED)
async def test_an_alert_does_not_fire_if(case: str) -> None:
    world = World(Alertmanager(listed(alert(), **SUPPRESSED[case])))
    world.signal.receive(payload(alert()))
    assert await world.verdict() is Verdict.BREACH
    await world.signal.refresh()
    assert await world.verdict() is Verdict.HEALTHY


async def test_an_alert_that_alertmanager_has_not_looked_at_yet_fires() -> None:
    world = World(Alertmanager(listed(alert(), state="unprocessed")))
    await world.signal.refresh()
    assert await world.verdict() is Verdict.BREACH


async def test_what_is_sent_while_alertmanager_is_asked_is_newer_than_its_answer() -> None:
    alertmanager = Alertmanager(listed(alert("ended")), listed(alert("stays")))
    world = World(alertmanager)
    alertmanager.during = lambda: world.signal.receive(payload(over(alert("ended")), alert("begun")))
    await world.signal.refresh()
    assert await world.verdict(name="ended") is Verdict.HEALTHY
    assert await world.verdict(name="stays") is Verdict.BREACH
    assert await world.verdict(name="begun") is Verdict.BREACH
    alertmanager.during = lambda: None
    alertmanager.fires()
    await world.signal.refresh()
    assert await world.verdict() is Verdict.HEALTHY, "that was for the one answer only"


async def test_an_alert_whose_time_ran_out_is_in_doubt_until_alertmanager_is_asked() -> None:
    alertmanager = Alertmanager(listed(alert(), ends=240))
    world = World(alertmanager)
    await world.signal.refresh()
    world.now += 240
    assert await world.sample() == Sample(
        world.now, Verdict.UNKNOWN, "", "an alert was not renewed in time, and Alertmanager was not asked since"
    )
    alertmanager.fires(listed(alert(), ends=480))
    await world.signal.refresh()
    assert await world.verdict() is Verdict.BREACH
    alertmanager.fires()
    await world.signal.refresh()
    assert await world.verdict() is Verdict.HEALTHY


FAILURES: dict[str, bytes | Exception] = {
    "no answer": OSError("no route"),
    "an error of the client's own": RuntimeError("closed"),
    "no JSON": b"<html>",
    "no list": b"{}",
    "a list of other things": b"[1]",
}


@pytest.mark.parametrize("case", FAILURES)
async def test_what_was_known_stays_when_there_is(case: str, caplog: pytest.LogCaptureFixture) -> None:
    alertmanager = Alertmanager(listed(alert()))
    world = World(alertmanager)
    await world.signal.refresh()
    alertmanager.answer = FAILURES[case]
    for _ in range(2):
        await world.signal.refresh()
    assert await world.verdict() is Verdict.BREACH
    assert await world.verdict(policy="other") is Verdict.HEALTHY, "for a moment that may be"
    world.now += module.PATIENCE + 1
    assert await world.verdict() is Verdict.BREACH
    assert await world.sample(policy="other") == Sample(
        world.now, Verdict.UNKNOWN, "", "Alertmanager does not answer since 03:00:00 UTC"
    )
    assert len(caplog.records) == 1, "once is enough"
    alertmanager.fires()
    await world.signal.refresh()
    assert await world.verdict(policy="other") is Verdict.HEALTHY


async def test_an_alertmanager_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ASK_LIMIT", -0.99)

    async def ask(_: str) -> bytes:
        await asyncio.sleep(3600)
        raise AssertionError

    signal = AlertSignal(lambda *_: None, ask, lambda: AT)
    await signal.refresh()
    assert signal._failing == AT


async def test_without_its_address_alertmanager_is_not_asked() -> None:
    world = World()
    world.signal.receive(payload(alert(), truncatedAlerts=3))
    await world.signal.refresh()
    await world.signal.keep()
    assert await world.verdict() is Verdict.BREACH


@asynccontextmanager
async def kept(signal: AlertSignal) -> AsyncIterator[None]:
    task = asyncio.create_task(signal.keep())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def asked(alertmanager: Alertmanager, times: int) -> None:
    """Wait until it was asked so many times more."""
    async with asyncio.timeout(60):
        for _ in range(times):
            await alertmanager.heard.acquire()


async def test_alertmanager_is_asked_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY", 0.01)
    monkeypatch.setattr(module, "REFRESH", 0.05)
    alertmanager = Alertmanager()
    async with kept(World(alertmanager).signal):
        await asked(alertmanager, 4)
    assert set(alertmanager.asked) == {ALERTS_PATH}


async def test_alertmanager_is_asked_soon_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY", 0.01)
    alertmanager = Alertmanager()
    alertmanager.answer = OSError()
    async with kept(World(alertmanager).signal):
        await asked(alertmanager, 3)
        alertmanager.fires()
        await asyncio.sleep(0.1)
        number = len(alertmanager.asked)
        await asyncio.sleep(0.1)
        assert len(alertmanager.asked) == number, "it has answered: a minute's rest"


async def test_alertmanager_is_asked_at_once_if_alerts_were_left_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "RETRY", 0.01)
    alertmanager = Alertmanager()
    world = World(alertmanager)
    async with kept(world.signal):
        await asked(alertmanager, 1)
        await asyncio.sleep(0.05)
        alertmanager.fires(listed(alert("A")), listed(alert("B")))
        world.signal.receive(payload(alert("A"), truncatedAlerts=1))
        await asked(alertmanager, 1)
        await asyncio.sleep(0.05)
    assert await world.verdict(name="B") is Verdict.BREACH
    assert len(alertmanager.asked) == 2
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


async def test_alertmanager_is_asked_at_once_if_an_alert_is_in_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY", 0.01)
    alertmanager = Alertmanager(listed(alert(), ends=100))
    world = World(alertmanager)
    async with kept(world.signal):
        await asked(alertmanager, 1)
        await asyncio.sleep(0.05)
        alertmanager.fires()
        world.now += 101
        assert await world.verdict() is Verdict.UNKNOWN
        await asked(alertmanager, 1)
        await asyncio.sleep(0.05)
    assert await world.verdict() is Verdict.HEALTHY


async def test_it_knows_no_past() -> None:
    world = World()
    signal: Signal = world.signal
    trigger = Trigger.model_validate({"name": "pager", "alert": {}})
    assert signal.source == "alert"
    assert list(await signal.history(Question("shop", "checkout", CHECKOUT, "rollback", trigger), 0, AT)) == []
    await signal.close()


# The door.

TOKEN = "t0ken"


class Door:
    """A server with the webhook, and a client."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.token: str | None = TOKEN
        self.url = ""

    async def post(self, body: Any, authorization: str | None = f"Bearer {TOKEN}") -> tuple[int, str]:
        headers = {"Authorization": authorization} if authorization is not None else {}
        async with (
            aiohttp.ClientSession() as session,
            session.post(self.url, data=body, headers=headers) as answer,
        ):
            return answer.status, await answer.text()


@pytest.fixture
async def entrance() -> AsyncIterator[Door]:
    one = Door(World())
    app = web.Application(client_max_size=16)
    app.add_routes([web.post("/alerts", webhook(one.world.signal, lambda: one.token))])
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        one.url = f"http://127.0.0.1:{runner.addresses[0][1]}/alerts"
        yield one
    finally:
        await runner.cleanup()


async def test_alertmanager_tells_of_an_alert(entrance: Door) -> None:
    assert await entrance.post(payload(alert(), labelled(namespace=None))) == (200, "1 alerts name a policy\n")
    assert await entrance.world.verdict() is Verdict.BREACH


@pytest.mark.parametrize("shown", [None, "", "Bearer", "Bearer ", "Bearer t0ke", "Bearer t0kenn", "Basic t0ken", TOKEN])
async def test_nobody_else_may_tell(entrance: Door, shown: str | None) -> None:
    assert await entrance.post(payload(alert()), shown) == (401, "show the bearer token\n")
    assert await entrance.world.verdict() is Verdict.HEALTHY


async def test_a_token_may_have_any_letters_and_the_scheme_any_case(entrance: Door) -> None:
    assert (await entrance.post(payload(), f"bearer  {TOKEN}"))[0] == 200
    assert (await entrance.post(payload(), "Bearer tökén"))[0] == 401
    entrance.token = "tökén"
    assert (await entrance.post(payload(), "Bearer tökén"))[0] == 200
    assert (await entrance.post(payload(), f"Bearer {TOKEN}"))[0] == 401


@pytest.mark.parametrize("token", [None, ""])
@pytest.mark.parametrize("shown", [None, "Bearer", "Bearer ", f"Bearer {TOKEN}"])
async def test_without_a_token_nobody_may_tell(entrance: Door, token: str | None, shown: str | None) -> None:
    entrance.token = token
    assert await entrance.post(payload(alert()), shown) == (404, "alerts are not received here: no token is set\n")
    assert await entrance.world.verdict() is Verdict.HEALTHY


async def test_a_body_that_is_not_alertmanagers_is_refused_with_a_sentence(entrance: Door) -> None:
    assert await entrance.post(b"{}") == (400, "this is not what Alertmanager sends to a webhook (version 4)\n")


async def pieces(number: int) -> AsyncIterator[bytes]:
    for _ in range(number):
        yield b" " * 65536


async def test_a_body_has_a_limit_whether_it_says_its_length_or_not(entrance: Door) -> None:
    assert (await entrance.post(io.BytesIO(payload().ljust(LARGEST))))[0] == 200
    assert (await entrance.post(io.BytesIO(payload().ljust(LARGEST + 1))))[0] == 413
    refused: Iterable[type[Exception]] = (aiohttp.ClientError, ConnectionError)
    with suppress(*refused):  # the server need not wait for the rest of it
        assert (await entrance.post(pieces(64)))[0] == 413
    assert (await entrance.post(payload()))[0] == 200


async def test_a_body_that_does_not_arrive_is_not_waited_for(entrance: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[webhook.__module__], "LONGEST", 0.05)

    async def slowly() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(60)
        yield b"}"

    status, text = await entrance.post(slowly())
    assert (status, text) == (408, "the body did not arrive in time\n")
