"""Questions to Prometheus, against a server on loopback that answers in its API's form."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator, Callable
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from rollback_operator.api.trigger import PrometheusServer, Trigger
from rollback_operator.core.verdicts import Sample, Verdict
from rollback_operator.kube import errors
from rollback_operator.signals import prometheus as module
from rollback_operator.signals import secrets as secrets_module
from rollback_operator.signals.base import Question
from rollback_operator.signals.fence import Fence
from rollback_operator.signals.outbound import Outbound
from rollback_operator.signals.prometheus import PrometheusSignal
from rollback_operator.signals.secrets import Access, Files, Secrets
from rollback_operator.signals.shared import Shared
from testbed import pki
from tests.unit.builders import CHECKOUT
from tests.unit.fakes import FakeApi
from tests.unit.serving import Handler, Serving, calling, endless, running, saying, serving, silent

NOW = 1_772_334_000.0
SECRET = "s3cr3t-value"
Fields = dict[str, Any]
Point = tuple[dict[str, str], str]
UNKNOWN, BREACH, HEALTHY = Verdict.UNKNOWN, Verdict.BREACH, Verdict.HEALTHY


# What a server answers.


def data(kind: str, result: Any, **more: Any) -> str:
    return json.dumps({"status": "success", "data": {"resultType": kind, "result": result}, **more})


def vector(*points: Point | str, **more: Any) -> str:
    """An instant vector; a bare value is a series without labels."""
    found = [({}, one) if isinstance(one, str) else one for one in points]
    return data("vector", [{"metric": labels, "value": [NOW, value]} for labels, value in found], **more)


def refusal(kind: str, words: str) -> str:
    return json.dumps({"status": "error", "errorType": kind, "error": words})


class Prom(Serving):
    """Answers queries by a table; what is not in it is an empty vector."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: dict[str, str] = {}
        self.handler = self.answer

    async def answer(self, request: web.Request) -> web.StreamResponse:
        return web.Response(text=self.answers.get(request.query["query"], vector()))

    @property
    def queries(self) -> list[str]:
        return [request.query["query"] for request in self.asked]


@pytest.fixture
async def server() -> AsyncIterator[Prom]:
    one = Prom()
    async with running(one):
        yield one


@pytest.fixture
async def outbound() -> AsyncIterator[Outbound]:
    async with calling() as one:
        yield one


@pytest.fixture(autouse=True)
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_GRACE", 0.1)


Make = Callable[..., PrometheusSignal]


@pytest.fixture
async def make(server: Prom, outbound: Outbound) -> AsyncIterator[Make]:
    made: list[PrometheusSignal] = []

    def one(api: FakeApi | None = None, **arguments: Any) -> PrometheusSignal:
        arguments = {"address": server.url, **arguments}
        made.append(PrometheusSignal(api or FakeApi(), outbound, **arguments))  # type: ignore[arg-type]
        return made[-1]

    yield one
    for signal in made:
        await signal.close()


def question(when: str = "> 5%", policy: str = "checkout", given: Fields | None = None, **trigger: Any) -> Question:
    """A question that asks for `main`; `given` is the policy's own server."""
    asked = {"name": "errors", "prometheus": {"query": "main"}, "when": when, **trigger}
    own = None if given is None else PrometheusServer.model_validate(given)
    return Question("shop", policy, CHECKOUT, "rollback", Trigger.model_validate(asked), own)


GUARDED: Fields = {"minSamples": {"query": "guard", "atLeast": 20}}


# What an answer means.


def series(*values: str) -> str:
    return vector(*(({"pod": f"web-{i}"}, value) for i, value in enumerate(values)))


MEANINGS: dict[str, tuple[str, Fields, Verdict, str, str]] = {
    "a bad value": (vector("0.0723"), {}, BREACH, "7.23%", "7.23% > 5%"),
    "a good value": (vector("0.03"), {}, HEALTHY, "3%", "3% is not > 5%"),
    "a scalar": (data("scalar", [NOW, "0.5"]), {}, BREACH, "50%", "50% > 5%"),
    "a value that is too small": (vector("2"), {"when": "< 3"}, BREACH, "2", "2 < 3"),
    "nothing": (vector(), {}, UNKNOWN, "", "the query gives nothing"),
    "NaN": (vector("NaN"), {}, UNKNOWN, "", "the query gives no number (NaN or Inf)"),
    "a division by zero": (vector("+Inf"), {}, UNKNOWN, "", "the query gives no number (NaN or Inf)"),
    "the other infinity": (vector("-Inf"), {"when": "< 3"}, UNKNOWN, "", "the query gives no number (NaN or Inf)"),
    "any: one bad": (
        series("0.01", "0.2", "0.1"),
        {},
        BREACH,
        "20%",
        '20% > 5% at {pod="web-1"}, the worst of 3 series',
    ),
    "any: none bad": (
        series("0.01", "0.02"),
        {"series": "Any"},
        HEALTHY,
        "2%",
        '2% is not > 5% at {pod="web-1"}, the worst of 2 series',
    ),
    "any: too small": (
        series("4", "1", "2"),
        {"when": "<= 2"},
        BREACH,
        "1",
        '1 <= 2 at {pod="web-1"}, the worst of 3 series',
    ),
    "any: one bad, one NaN": (
        series("NaN", "0.2"),
        {},
        BREACH,
        "20%",
        '20% > 5% at {pod="web-1"}, the worst of 2 series',
    ),
    "any: one good, one NaN": (
        series("0.01", "NaN"),
        {},
        UNKNOWN,
        "",
        "1 of 2 series give no number (NaN or Inf)",
    ),
    "all: all bad": (
        series("0.3", "0.2"),
        {"series": "All"},
        BREACH,
        "20%",
        '20% > 5% at {pod="web-1"}, the best of 2 series',
    ),
    "all: one good": (
        series("0.3", "0.02"),
        {"series": "All"},
        HEALTHY,
        "2%",
        '2% is not > 5% at {pod="web-1"}, the best of 2 series',
    ),
    "all: one bad, one NaN": (
        series("0.3", "NaN"),
        {"series": "All"},
        UNKNOWN,
        "",
        "1 of 2 series give no number (NaN or Inf)",
    ),
    "all: one good, one NaN": (
        series("0.01", "NaN"),
        {"series": "All"},
        HEALTHY,
        "1%",
        '1% is not > 5% at {pod="web-0"}, the best of 2 series',
    ),
    "any: one that equals": (
        series("3", "1", "2"),
        {"when": "== 1"},
        BREACH,
        "1",
        '1 == 1 at {pod="web-1"}, the worst of 3 series',
    ),
    "all: one that equals": (
        series("3", "1", "2"),
        {"when": "!= 1", "series": "All"},
        HEALTHY,
        "1",
        '1 is not != 1 at {pod="web-1"}, the best of 3 series',
    ),
    "a note on the query": (vector("0.2", infos=["PromQL info: not a counter"]), {}, BREACH, "20%", "20% > 5%"),
    "a note among the warnings": (
        vector("0.2", warnings=["PromQL info: not a counter"]),
        {},
        BREACH,
        "20%",
        "20% > 5%",
    ),
}


@pytest.mark.parametrize("case", MEANINGS)
async def test_the_meaning_of(case: str, server: Prom, make: Make) -> None:
    server.answers["main"], trigger, verdict, value, said = MEANINGS[case]
    assert await make().sample(question(**trigger), NOW) == Sample(NOW, verdict, value, said)


@pytest.mark.parametrize("answer", [vector(), vector("NaN"), series("0.01", "NaN")])
async def test_missing_data_is_bad_if_that_was_asked_for(answer: str, server: Prom, make: Make) -> None:
    server.answers["main"] = answer
    assert (await make().sample(question(noData="Breach"), NOW)).verdict is BREACH


async def test_long_labels_are_cut(server: Prom, make: Make) -> None:
    server.answers["main"] = vector(({"pod": "x" * 5000}, "1"), "0")
    sample = await make().sample(question(), NOW)
    assert len(sample.message) < 300
    assert "…}" in sample.message


DOUBTS: dict[str, tuple[str, str]] = {
    "a warning": (vector("0.2", warnings=["no store\nmatched\x1b"]), "warns: no store matched"),
    "an endless warning": (vector("0.2", warnings=["x" * 9999]), "warns: " + "x" * 299 + "…"),
    "half an answer": (vector("0.2", isPartial=True), "says that its answer is incomplete"),
}


@pytest.mark.parametrize("case", DOUBTS)
async def test_an_answer_that_its_server_doubts_is_unknown(case: str, server: Prom, make: Make) -> None:
    server.answers["main"], said = DOUBTS[case]
    sample = await make().sample(question(noData="Breach"), NOW)
    assert sample == Sample(NOW, UNKNOWN, "", f"{server.url} {said}")


async def test_partial_content_is_unknown(server: Prom, make: Make) -> None:
    server.handler = saying(vector("0.2"), 206)
    sample = await make().sample(question(), NOW)
    assert (sample.verdict, sample.message) == (UNKNOWN, f"{server.url} says that its answer is incomplete")


BAD = 'invalid parameter "query": 1:5: parse error: unexpected end of input'
MISTAKES: dict[str, tuple[Handler, str]] = {
    "a malformed query": (saying(refusal("bad_data", BAD), 400), "{url} does not take the query: " + BAD),
    "a range": (saying(data("matrix", [])), "the query gives a matrix; write one that gives a scalar or a vector"),
    "a text": (
        saying(data("string", [NOW, "a"])),
        "the query gives a string; write one that gives a scalar or a vector",
    ),
    "a histogram": (
        saying(data("vector", [{"metric": {}, "histogram": [NOW, {"count": "1"}]}])),
        "the query gives values that are no numbers, such as histograms",
    ),
}


@pytest.mark.parametrize("case", MISTAKES)
async def test_a_mistake_in_the_query_is_unknown_whatever_missing_data_means(
    case: str, server: Prom, make: Make
) -> None:
    server.handler, said = MISTAKES[case]
    sample = await make().sample(question(noData="Breach", **GUARDED), NOW)
    assert sample == Sample(NOW, UNKNOWN, "", said.format(url=server.url))


@pytest.mark.parametrize("case", MISTAKES)
async def test_a_mistake_in_the_query_is_told_when_it_is_checked(case: str, server: Prom, make: Make) -> None:
    server.handler, said = MISTAKES[case]
    assert await make().check(question()) == f"prometheus: {said.format(url=server.url)}"
    assert server.asked[0].query["time"] == "0"


async def test_a_mistake_in_min_samples_is_told_when_it_is_checked(server: Prom, make: Make) -> None:
    server.answers["guard"] = data("matrix", [])
    said = await make().check(question(**GUARDED))
    assert said == "minSamples: the query gives a matrix; write one that gives a scalar or a vector"


@pytest.mark.parametrize("handler", [saying(vector()), saying("", 503), saying("", 401), saying("<html>", 404)])
async def test_nothing_is_wrong_with_a_query_that_is_taken_or_cannot_be_asked(
    handler: Handler, server: Prom, make: Make
) -> None:
    server.handler = handler
    assert await make().check(question(**GUARDED)) is None
    assert await make(address="").check(question()) is None


TROUBLE: dict[str, tuple[Handler, str]] = {
    "401": (saying(SECRET, 401), "{url} answered 401: check what secretRef holds"),
    "403": (saying(SECRET, 403), "{url} answered 403: what is shown to it does not allow this query"),
    "404": (saying(SECRET, 404), "{url} answered 404: check the address and its path"),
    "a redirect": (
        saying("", 302, Location=f"/{SECRET}"),
        "{url} answered 302, a redirect, which is not followed: correct the address",
    ),
    "a query that cannot be executed": (
        saying(refusal("execution", "found duplicate series"), 422),
        "{url} answered 422 (found duplicate series)",
    ),
    "a query that takes too long": (
        saying(refusal("timeout", "query timed out"), 503),
        "{url} answered 503 (query timed out)",
    ),
    "a proxy's words": (saying(SECRET, 502), "{url} answered 502"),
    "400 in no known form": (saying(json.dumps([SECRET]), 400), "{url} answered 400"),
    "what is no JSON": (saying(SECRET), "{url} does not answer as Prometheus does: check the address and its path"),
    "what is deep": (saying("[" * 100_000), "{url} does not answer as Prometheus does: check the address and its path"),
    "other JSON": (
        saying(json.dumps({"data": SECRET})),
        "{url} does not answer as Prometheus does: check the address and its path",
    ),
    "too much": (endless, "{url} gave too large an answer: aggregate more, so that fewer series come"),
    "silence": (silent, "GET {url}/api/v1/query: no answer within 0.6s"),
}


@pytest.mark.parametrize("no_data, verdict", [("Unknown", UNKNOWN), ("Breach", BREACH)])
@pytest.mark.parametrize("case", TROUBLE)
@pytest.mark.usefixtures("never_busy")
async def test_trouble_is_no_data(case: str, no_data: str, verdict: Verdict, server: Prom, make: Make) -> None:
    server.handler, said = TROUBLE[case]
    sample = await make(timeout=0.5 if case == "silence" else 10).sample(question(noData=no_data, **GUARDED), NOW)
    assert sample == Sample(NOW, verdict, "", said.format(url=server.url))
    assert SECRET not in sample.message


# Enough to judge by.

GUARDS: dict[str, tuple[str, str]] = {
    "too few": (vector("12"), "minSamples gives 12, at least 20 are asked for"),
    "none": (vector(), "minSamples gives nothing, at least 20 are asked for"),
    "NaN": (vector("NaN"), "minSamples gives no number, at least 20 are asked for"),
    "too few in one of several": (
        series("100", "3"),
        "minSamples gives 3, in the smallest of 2 series, at least 20 are asked for",
    ),
    "a mistake": (
        data("matrix", []),
        "minSamples: the query gives a matrix; write one that gives a scalar or a vector",
    ),
}


@pytest.mark.parametrize("main", [vector("1"), vector("0"), vector(), vector("NaN")])
@pytest.mark.parametrize("case", GUARDS)
async def test_too_little_to_judge_by_is_unknown_whatever_missing_data_means(
    case: str, main: str, server: Prom, make: Make
) -> None:
    server.answers["guard"], said = GUARDS[case]
    server.answers["main"] = main
    assert await make().sample(question(noData="Breach", **GUARDED), NOW) == Sample(NOW, UNKNOWN, "", said)


@pytest.mark.parametrize("guard", [vector("20"), series("20", "21"), data("scalar", [NOW, "20"])])
async def test_enough_to_judge_by(guard: str, server: Prom, make: Make) -> None:
    server.answers |= {"guard": guard, "main": vector("1")}
    assert (await make().sample(question(**GUARDED), NOW)).verdict is BREACH


async def test_if_only_min_samples_is_not_answered_it_is_unknown(server: Prom, make: Make) -> None:
    async def half(request: web.Request) -> web.StreamResponse:
        bad = request.query["query"] == "guard"
        return web.Response(status=500) if bad else web.Response(text=vector("1"))

    server.handler = half
    sample = await make().sample(question(noData="Breach", **GUARDED), NOW)
    assert sample == Sample(NOW, UNKNOWN, "", f"minSamples: {server.url} answered 500")


# What is asked, and how often.


async def test_what_is_asked(server: Prom, make: Make) -> None:
    query = 'rate(a{code=~"5.."}[1m]) + 1 & x#?%é'
    await make(address=f"{server.url}/prom/").sample(question(prometheus={"query": query}, interval="1m"), NOW + 12.3)
    (asked,) = server.asked
    assert asked.path == "/prom/api/v1/query"
    assert dict(asked.query) == {"query": query, "time": f"{NOW + 10:.3f}", "timeout": "10s"}


@pytest.mark.parametrize("interval, slot", [("1s", 0.1), ("10s", 1.0), ("30s", 3.0), ("1h", 5.0)])
async def test_what_is_asked_at_about_the_same_time_is_asked_once(
    interval: str, slot: float, server: Prom, make: Make
) -> None:
    server.answers["main"] = vector("1")
    signal = make()
    begin = round(NOW / slot) * slot + slot / 100
    for later in (0, 0.4 * slot, 0.9 * slot, 1.1 * slot):
        sample = await signal.sample(question(policy=f"p{later}", interval=interval), begin + later)
        assert (sample.verdict, sample.at) == (BREACH, begin + later)
    assert len(server.asked) == 2


async def test_what_is_asked_at_the_same_time_is_asked_once(server: Prom, make: Make) -> None:
    signal = make()
    whens = [f"> {limit}" for limit in range(50)]
    server.answers["main"] = vector("25.5")
    samples = await asyncio.gather(
        *(signal.sample(question(when, **GUARDED | {"minSamples": None}), NOW) for when in whens)
    )
    assert [sample.verdict for sample in samples] == [BREACH] * 26 + [HEALTHY] * 24
    assert server.queries == ["main"]


async def test_who_sees_other_things_asks_for_themselves(server: Prom, make: Make) -> None:
    api = FakeApi(secret(token="a"), secret("other", token="b"))
    signal = make(api)
    ref = {"secretRef": {"name": "prometheus"}}
    own: list[Fields | None] = [
        None,
        {"address": server.url},
        {"address": server.url + "/"},
        {"address": server.url, "headers": [{"name": "X-Scope-OrgID", "value": "a"}]},
        {"address": server.url, "headers": [{"name": "X-Scope-OrgID", "value": "b"}]},
        {"address": server.url, **ref},
        {"address": server.url, "secretRef": {"name": "other"}},
        {"address": server.url.replace("127.0.0.1", "localhost"), **ref},
    ]
    for given in own * 2:
        await signal.sample(question(given=given), NOW)
    assert len(server.asked) == len(own) - 1
    shown = [request.headers.get("Authorization") for request in server.asked]
    assert shown == [None, None, None, None, "Bearer a", "Bearer b", "Bearer a"]


@pytest.mark.parametrize("namespace, account", [("other", "rollback"), ("shop", "weak")])
async def test_an_answer_for_one_account_is_not_shown_to_another(
    namespace: str, account: str, server: Prom, make: Make
) -> None:
    api = FakeApi(secret(token="a"))
    signal = make(api)
    one = question(given={"address": server.url, "secretRef": {"name": "prometheus"}})
    await signal.sample(one, NOW)
    api.faults.append(lambda call: None if call.as_ == "shop/rollback" else errors.Forbidden("no"))
    other = Question(namespace, one.policy, one.target, account, one.trigger, one.server)
    sample = await signal.sample(other, NOW)
    assert sample.message == (
        f"service account {namespace}/{account} may not get Secret {namespace}/prometheus: "
        "grant that, or name another account"
    )
    assert len(server.asked) == 1


async def test_a_server_gets_so_many_queries_at_once_and_no_more(server: Prom, make: Make) -> None:
    together = asyncio.Barrier(3)

    async def thinking(_: web.Request) -> web.StreamResponse:
        await together.wait()
        return web.Response(text=vector("1"))

    server.handler = thinking
    signal = make(concurrency=3)
    asked = [question(prometheus={"query": f"q{i}"}) for i in range(12)]
    samples = await asyncio.gather(*(signal.sample(one, NOW) for one in asked))
    assert {sample.verdict for sample in samples} == {BREACH}
    assert (len(server.asked), server.most_at_once) == (12, 3)
    assert not signal._turns


async def test_a_turn_is_not_waited_for_without_end(server: Prom, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_GRACE", 5.0)
    server.handler = silent
    signal = make(concurrency=1, timeout=0.1)
    first = asyncio.ensure_future(signal.sample(question(prometheus={"query": "slow"}), NOW))
    await asyncio.sleep(0)
    sample = await signal.sample(question(), NOW)
    assert sample.message == f"{server.url} is busy with 1 other queries of the operator"
    first.cancel()


async def test_whoever_gives_up_does_not_take_the_answer_from_others(server: Prom, make: Make) -> None:
    release, reached = asyncio.Event(), asyncio.Event()

    async def held(_: web.Request) -> web.StreamResponse:
        reached.set()
        await release.wait()
        return web.Response(text=vector("1"))

    server.handler = held
    signal = make()
    first, second = (asyncio.ensure_future(signal.sample(question(policy=name), NOW)) for name in "ab")
    await reached.wait()
    first.cancel()
    release.set()
    assert (await second).verdict is BREACH
    assert len(server.asked) == 1


# Whose access.


def secret(name: str = "prometheus", **held: str | bytes) -> Fields:
    """A Secret; `ca_crt` is its key ca.crt."""
    raw = {key.replace("_", "."): one if isinstance(one, bytes) else one.encode() for key, one in held.items()}
    return {
        "kind": "Secret",
        "metadata": {"name": name, "namespace": "shop"},
        "data": {key: base64.b64encode(one).decode() for key, one in raw.items()},
    }


SHOWN: dict[str, tuple[Fields, str | None]] = {
    "a token": ({"token": SECRET}, f"Bearer {SECRET}"),
    "a token with a line break at its end": ({"token": f"{SECRET}\n"}, f"Bearer {SECRET}"),
    "user and password": (
        {"username": "me", "password": SECRET},
        "Basic " + base64.b64encode(f"me:{SECRET}".encode()).decode(),
    ),
    "a token and a user": ({"token": SECRET, "username": "me", "password": "no"}, f"Bearer {SECRET}"),
}


@pytest.mark.parametrize("case", SHOWN)
async def test_what_is_shown_of(case: str, server: Prom, make: Make) -> None:
    held, shown = SHOWN[case]
    api = FakeApi(secret(**held))
    given = {
        "address": server.url,
        "secretRef": {"name": "prometheus"},
        "headers": [{"name": "authorization", "value": "mine"}, {"name": "X-Scope-OrgID", "value": "a"}],
    }
    await make(api).sample(question(given=given), NOW)
    assert server.asked[0].headers.getall("Authorization") == [shown]
    assert server.asked[0].headers["X-Scope-OrgID"] == "a"
    assert [(str(call), call.as_) for call in api.calls] == [
        ("GET /api/v1/namespaces/shop/secrets/prometheus", "shop/rollback")
    ]


UNUSABLE: dict[str, tuple[Fields, str]] = {
    "nothing of use": ({"key": SECRET}, "it holds neither token, nor username and password, nor ca.crt"),
    "a user alone": ({"username": SECRET}, "username and password are only of use together"),
    "a password alone": ({"password": SECRET}, "username and password are only of use together"),
    "an empty token": ({"token": "\n"}, "token is empty or holds what no token has, such as a space or a line break"),
    "a token with a header in it": (
        {"token": f"{SECRET}\r\nX-Evil: 1"},
        "token is empty or holds what no token has, such as a space or a line break",
    ),
    "a user with a colon": (
        {"username": f"{SECRET}:", "password": SECRET},
        "username holds a colon, which cannot be sent",
    ),
    "a certificate that is none": ({"ca_crt": SECRET}, "ca.crt holds no certificate in PEM form"),
    "a certificate of letters": ({"ca_crt": "é"}, "ca.crt holds no certificate in PEM form"),
    "a certificate that is too large": ({"ca_crt": SECRET * 9999}, "ca.crt is larger than 64 KiB"),
}


@pytest.mark.parametrize("case", UNUSABLE)
async def test_a_secret_that_holds(case: str, server: Prom, make: Make) -> None:
    held, said = UNUSABLE[case]
    given = {"address": server.url, "secretRef": {"name": "prometheus"}}
    sample = await make(FakeApi(secret(**held))).sample(question(given=given), NOW)
    assert sample == Sample(NOW, UNKNOWN, "", f"Secret shop/prometheus: {said}")
    assert not server.asked


async def test_a_secret_whose_value_is_no_base64(server: Prom, make: Make) -> None:
    broken = secret() | {"data": {"token": f"%{SECRET}"}}
    given = {"address": server.url, "secretRef": {"name": "prometheus"}}
    sample = await make(FakeApi(broken)).sample(question(given=given), NOW)
    assert sample.message == "Secret shop/prometheus: token is not base64"


UNREADABLE: dict[str, tuple[Exception, str]] = {
    "it is not there": (
        errors.NotFound("gone"),
        "Secret shop/prometheus does not exist: create it, or correct secretRef",
    ),
    "the account may not": (
        errors.Forbidden("no"),
        "service account shop/rollback may not get Secret shop/prometheus: grant that, or name another account",
    ),
    "nobody answers": (errors.Unavailable("no answer"), "Secret shop/prometheus could not be read: no answer"),
}


@pytest.mark.parametrize("no_data, verdict", [("Unknown", UNKNOWN), ("Breach", BREACH)])
@pytest.mark.parametrize("case", UNREADABLE)
async def test_a_secret_cannot_be_read_because(
    case: str, no_data: str, verdict: Verdict, server: Prom, make: Make
) -> None:
    error, said = UNREADABLE[case]
    api = FakeApi()
    api.faults.append(lambda _: error)
    one = question(given={"address": server.url, "secretRef": {"name": "prometheus"}}, noData=no_data)
    signal = make(api)
    assert await signal.sample(one, NOW) == Sample(NOW, verdict, "", said)
    assert await signal.history(one, NOW - 60, NOW) == ()
    assert await signal.check(one) is None
    assert not server.asked


async def test_without_a_service_account_no_secret_is_read(server: Prom, make: Make) -> None:
    """An empty identity would be the operator's own."""
    api = FakeApi(secret(token=SECRET))
    one = question(given={"address": server.url, "secretRef": {"name": "prometheus"}})
    nobody = Question(one.namespace, one.policy, one.target, "", one.trigger, one.server)
    sample = await make(api).sample(nobody, NOW)
    assert "not a service account" in sample.message
    assert not api.calls
    assert not server.asked


async def test_a_secret_is_read_once_a_minute() -> None:
    now = [0.0]
    api = FakeApi(secret(token="a"))
    reading = Secrets(api, lambda: now[0])  # type: ignore[arg-type]
    found = []
    for now[0] in (0.0, 59.0, 61.0, 119.0):
        api.put(secret(token=f"at-{now[0]:g}"))
        found.append((await reading.access("shop", "prometheus", "rollback")).authorization)
    assert found == ["Bearer at-0", "Bearer at-0", "Bearer at-61", "Bearer at-61"]
    await reading.close()


async def test_a_secret_that_is_missing_is_looked_for_sooner() -> None:
    now = [0.0]
    api = FakeApi()
    reading = Secrets(api, lambda: now[0])  # type: ignore[arg-type]
    for now[0] in (0.0, 14.0, 16.0):
        with pytest.raises(secrets_module.NoAccess):
            await reading.access("shop", "prometheus", "rollback")
    assert len(api.calls) == 2
    await reading.close()


def test_what_is_shown_is_in_no_representation() -> None:
    assert SECRET not in repr(Access(f"Bearer {SECRET}"))
    assert SECRET not in repr(module._Server("http://host", None, Access(f"Bearer {SECRET}")))


async def test_a_secret_goes_nowhere_but_to_the_address_beside_it(server: Prom, make: Make) -> None:
    api = FakeApi(secret(token=SECRET))
    sample = await make(api).sample(question(given={"secretRef": {"name": "prometheus"}}), NOW)
    assert sample.message == "secretRef is only used with an address beside it: write the address of its server"
    assert not api.calls
    assert not server.asked


async def test_a_secret_is_not_sent_after_a_redirect(server: Prom, make: Make) -> None:
    async with serving() as other:
        server.handler = saying("", 307, Location=other.url)
        given = {"address": server.url, "secretRef": {"name": "prometheus"}}
        await make(FakeApi(secret(token=SECRET))).sample(question(given=given), NOW)
        assert not other.asked


HEADERS: dict[str, tuple[str, str]] = {
    "a line break": ("X-A", "a\r\nX-Evil: 1"),
    "a null": ("X-A", "a\0"),
    "a name with a space": ("X A", "a"),
    "a name with a line break": ("X-A\r\nX-Evil", "a"),
    "the host": ("Host", "kubernetes.default"),
    "the length": ("content-length", "5"),
    "the framing": ("Transfer-Encoding", "chunked"),
}


@pytest.mark.parametrize("case", HEADERS)
async def test_a_header_cannot_be(case: str, server: Prom, make: Make) -> None:
    name, value = HEADERS[case]
    given = {"address": server.url, "headers": [{"name": name, "value": value}]}
    sample = await make().sample(question(given=given), NOW)
    assert (sample.verdict, sample.message[:6]) == (UNKNOWN, "header")
    assert not server.asked


@pytest.mark.parametrize("address", ["http://prometheus:9090/?a=b", "http://prometheus:9090#a"])
async def test_an_address_has_no_query(address: str, make: Make) -> None:
    sample = await make().sample(question(given={"address": address}), NOW)
    assert "write it without a query" in sample.message


async def test_a_policys_own_address_may_not_be_anywhere(server: Prom) -> None:
    async with calling(Fence()) as outbound:
        signal = PrometheusSignal(FakeApi(), outbound, address=server.url)  # type: ignore[arg-type]
        server.answers["main"] = vector("1")
        assert (await signal.sample(question(), NOW)).verdict is BREACH
        sample = await signal.sample(question(given={"address": server.url}), NOW)
        assert (sample.verdict, "a loopback address" in sample.message) == (UNKNOWN, True)
        await signal.close()
    assert len(server.asked) == 1


# The operator's own server.


async def test_without_any_server_it_is_said_where_to_write_one(make: Make) -> None:
    sample = await make(address=None).sample(question(), NOW)
    assert sample.message == (
        "no Prometheus is known: write its address in the policy, or set ROLLBACK_PROMETHEUS for the operator"
    )


async def test_the_operators_token_is_read_again_when_it_changes(server: Prom, make: Make, tmp_path: Path) -> None:
    token = tmp_path / "token"
    signal = make(files=Files(token))
    for number, held in enumerate(("one\n", "another\n")):
        token.write_text(held)
        await signal.sample(question(), NOW + 60 * number)
    assert [request.headers["Authorization"] for request in server.asked] == ["Bearer one", "Bearer another"]


async def test_the_operators_token_is_not_lent_to_a_policy(server: Prom, make: Make, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(SECRET)
    signal = make(files=Files(tmp_path / "token"))
    await signal.sample(question(given={"address": server.url}), NOW)
    assert "Authorization" not in server.asked[0].headers
    sample = await signal.sample(question(given={"headers": [{"name": "X-Scope-OrgID", "value": "other"}]}), NOW)
    assert "headers are not sent along with the operator's own token" in sample.message
    assert len(server.asked) == 1


async def test_a_token_file_that_cannot_be_read_is_said(server: Prom, make: Make, tmp_path: Path) -> None:
    sample = await make(files=Files(tmp_path / "none")).sample(question(), NOW)
    assert sample.message == f"the operator cannot read {tmp_path / 'none'}: No such file or directory"
    assert not server.asked


async def test_an_authority_of_ones_own(make: Make, tmp_path: Path) -> None:
    keys = pki.create(tmp_path / "keys", ["127.0.0.1"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(keys.certificate("apiserver"), keys.key("apiserver"))
    authority = keys.authority.read_bytes()
    async with serving(context) as secure:
        secure.handler = saying(vector("1"))
        url = f"https://127.0.0.1:{secure.port}"
        given = {"address": url, "secretRef": {"name": "prometheus"}}
        signal = make(FakeApi(secret(ca_crt=authority)), address=url, files=Files(ca=keys.authority))
        assert (await signal.sample(question(given=given), NOW)).verdict is BREACH
        assert (await signal.sample(question(), NOW)).verdict is BREACH
        assert "TLS failed" in (await signal.sample(question(given={"address": url}), NOW)).message
        assert len(set(secure.callers)) == 2


# The past.


def matrix(**rows: dict[int, str]) -> str:
    """Series by name, values by minutes before NOW."""
    found = [
        {"metric": {"pod": name}, "values": [[NOW - 60 * minutes, value] for minutes, value in row.items()]}
        for name, row in rows.items()
    ]
    return data("matrix", found)


async def test_the_past_is_told_step_by_step_and_its_gaps_too(server: Prom, make: Make) -> None:
    server.answers |= {
        "main": matrix(a={5: "0.2", 4: "0.01", 2: "NaN", 1: "0.3", 0: "0.3"}),
        "guard": matrix(a={5: "100", 4: "100", 3: "100", 2: "100", 0: "3"}),
    }
    told = await make().history(question(interval="1m", **GUARDED), NOW - 300, NOW)
    assert list(told) == [
        Sample(NOW - 300, BREACH, "20%", "20% > 5%"),
        Sample(NOW - 240, HEALTHY, "1%", "1% is not > 5%"),
        Sample(NOW - 180, UNKNOWN, "", "the query gives nothing"),
        Sample(NOW - 120, UNKNOWN, "", "the query gives no number (NaN or Inf)"),
        Sample(NOW - 60, UNKNOWN, "", "minSamples gives nothing, at least 20 are asked for"),
        Sample(NOW, UNKNOWN, "", "minSamples gives 3, at least 20 are asked for"),
    ]
    asked = {request.query["query"]: dict(request.query) for request in server.asked}
    times = {"start": f"{NOW - 300:.3f}", "end": f"{NOW:.3f}", "step": "60", "timeout": "10s"}
    assert asked == {name: {"query": name, **times} for name in ("main", "guard")}
    assert {request.path for request in server.asked} == {"/api/v1/query_range"}


async def test_several_series_of_the_past_are_judged_together(server: Prom, make: Make) -> None:
    server.answers["main"] = matrix(a={1: "0.01", 0: "0.2"}, b={1: "0.3"})
    told = await make().history(question(interval="1m", series="All"), NOW - 60, NOW)
    assert [sample.verdict for sample in told] == [HEALTHY, BREACH]


async def test_gaps_of_the_past_are_bad_if_that_was_asked_for(server: Prom, make: Make) -> None:
    server.answers["main"] = matrix(a={0: "0.01"})
    told = await make().history(question(interval="1m", noData="Breach"), NOW - 60, NOW)
    assert [sample.verdict for sample in told] == [BREACH, HEALTHY]


async def test_times_that_are_not_whole_meet_their_steps(server: Prom, make: Make) -> None:
    start = NOW - 2.7182818
    grid = [round(start, 3) + 1.5 * i for i in range(2)]
    server.answers["main"] = data("matrix", [{"metric": {}, "values": [[round(at, 3), "1"] for at in grid]}])
    told = await make().history(question(interval="1500ms"), start, NOW)
    assert [(sample.verdict, round(sample.at, 3)) for sample in told] == [(BREACH, round(at, 3)) for at in grid]
    assert server.asked[0].query["step"] == "1.5"


async def test_of_a_long_past_the_newest_part_is_told(server: Prom, make: Make) -> None:
    server.answers["main"] = matrix(a={0: "1"})
    told = await make().history(question(interval="1s"), NOW - 100_000, NOW)
    assert (len(told), told[-1].at, told[-1].verdict) == (11_000, NOW, BREACH)
    asked = server.asked[0].query
    assert float(asked["end"]) - float(asked["start"]) == 10_999


async def test_there_is_no_past_before_the_beginning(server: Prom, make: Make) -> None:
    assert await make().history(question(), NOW, NOW - 1) == ()
    assert not server.asked


@pytest.mark.parametrize(
    "answer",
    [
        refusal("bad_data", "no"),
        data("matrix", [], warnings=["partial"]),
        data("matrix", 5),
        data("matrix", [{"values": [[NOW, "1"]]}]),
        data("matrix", [{"metric": {}, "values": [[NOW, "x"]]}]),
        "<html>",
    ],
)
@pytest.mark.parametrize("query", ["main", "guard"])
async def test_a_past_that_is_not_told_whole_is_none(query: str, answer: str, server: Prom, make: Make) -> None:
    server.answers |= {"main": matrix(a={0: "1"}), "guard": matrix(a={0: "99"}), query: answer}
    assert await make().history(question(interval="1m", **GUARDED), NOW - 60, NOW) == ()


# What is shared.


@pytest.fixture
def clock() -> list[float]:
    return [0.0]


async def test_old_answers_are_forgotten(clock: list[float]) -> None:
    async def made() -> int:
        return 1

    shared: Shared[int, int] = Shared(lambda _: 5.0, lambda: clock[0])
    for key in range(100):
        clock[0] = float(key)
        await shared.get(key, made)
    assert len(shared) <= 6


async def test_what_could_not_be_made_is_made_again(clock: list[float]) -> None:
    made: list[int] = []

    async def failing() -> int:
        made.append(1)
        raise OSError("no")

    shared: Shared[str, int] = Shared(lambda _: 5.0, lambda: clock[0])
    for _ in range(2):
        with pytest.raises(OSError, match="no"):
            await shared.get("key", failing)
    assert len(made) == 2


def test_loopback_is_allowed_to_these_tests_alone() -> None:
    assert ip_network("127.0.0.0/8") not in Fence()._allowed
