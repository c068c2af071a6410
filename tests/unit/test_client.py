"""The door to the API server, against a real server on loopback that answers what a test scripts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port
from kubernetes.aio.client.configuration import Configuration

from rollback_operator.core.life.times import SEND_WITHIN, SETTLE
from rollback_operator.kube import client, errors
from rollback_operator.kube.client import Api
from rollback_operator.kube.identity import OPERATOR, Identity, ServiceAccount

ROLLBACK = ServiceAccount("shop", "rollback")
PATH = "/apis/apps/v1/namespaces/shop/deployments/checkout"
COLLECTION = "/api/v1/namespaces/shop/events"
TEST_FAILED = "the server rejected our request due to an error in our request"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Script = list[Handler]


def answer(status: int = 200, body: Any = None, **headers: str) -> Handler:
    """A JSON answer; an error has the API server's form."""
    shown = {"message": body} if isinstance(body, str) else (body if body is not None else {})
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    async def handler(_: web.Request) -> web.StreamResponse:
        return web.json_response(shown, status=status, headers=named)

    return handler


async def reset(request: web.Request) -> web.StreamResponse:
    """The connection breaks without an answer."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def broken(_: web.Request) -> web.StreamResponse:
    return web.Response(text="<html>", content_type="text/html")


async def hang(_: web.Request) -> web.StreamResponse:
    await asyncio.sleep(3600)
    raise AssertionError


class Scripted:
    """A server that plays a script, the last line again and again, and keeps what it was asked."""

    def __init__(self) -> None:
        self.script: Script = [answer()]
        self.asked: list[tuple[str, str, dict[str, str], dict[str, str], str]] = []
        self.calls: list[tuple[str, str, int]] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        headers = dict(request.headers)
        self.asked.append((request.method, request.path, dict(request.query), headers, await request.text()))
        handler = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        return await handler(request)

    def plays(self, *script: Handler) -> None:
        self.script = list(script)

    def called(self, verb: str, path: str, status: int) -> None:
        self.calls.append((verb, path, status))

    @property
    def query(self) -> dict[str, str]:
        return self.asked[-1][2]

    @property
    def headers(self) -> dict[str, str]:
        return self.asked[-1][3]

    @property
    def body(self) -> Any:
        return json.loads(self.asked[-1][4])


@pytest.fixture
def server() -> Scripted:
    return Scripted()


@pytest.fixture
async def api(server: Scripted, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Api]:
    """An `Api` of that server; it makes no pauses that the server did not ask for."""
    pause = client._pause
    monkeypatch.setattr(client, "_pause", lambda n, e: pause(n, e) if getattr(e, "retry_after", None) else 0.0)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    async with TestServer(app) as running:
        configuration = Configuration()
        configuration.host = f"http://127.0.0.1:{running.port}"
        api = Api(configuration, server.called)
        try:
            yield api
        finally:
            await api.close()


CALLS: dict[str, Callable[[Api], Awaitable[Any]]] = {
    "GET": lambda api: api.get(PATH, as_=OPERATOR),
    "POST": lambda api: api.create(COLLECTION, {"kind": "Event"}, as_=OPERATOR),
    "PUT": lambda api: api.replace(PATH, {"kind": "Deployment"}, as_=OPERATOR),
    "PATCH": lambda api: api.patch(PATH, [{"op": "test", "path": "/a", "value": 1}], as_=OPERATOR),
    "DELETE": lambda api: api.delete(PATH, as_=OPERATOR, uid="uid-1"),
}
WRITES = sorted(set(CALLS) - {"GET"})


# What is not sent.


ELSEWHERE = ["../../other/deployments/web", "%2e%2E/x", "web/..", ".", "", "web?watch=1", "web#x"]


@pytest.mark.parametrize("name", ELSEWHERE)
async def test_a_name_does_not_lead_to_another_place(name: str, api: Api, server: Scripted) -> None:
    """The transport resolves `..`, so a name from a chart would be read where the chart's author may not look."""
    with pytest.raises(errors.Invalid, match="there can be no object of that name"):
        await api.get(f"/apis/apps/v1/namespaces/shop/deployments/{name}", as_=OPERATOR)

    assert server.asked == []


async def test_an_error_does_not_repeat_the_value_that_it_is_about(api: Api, server: Scripted) -> None:
    """Of a Job, whose template cannot be changed, the API server repeats all of it."""
    server.plays(
        answer(422, 'Job.batch "x" is invalid: spec.template: Invalid value: {"v":"hunter2"}: field is immutable')
    )
    with pytest.raises(errors.Invalid, match=r"Invalid value: <not shown>: field is immutable$"):
        await CALLS["PATCH"](api)


# What is sent.


@pytest.mark.parametrize("verb", CALLS)
async def test_an_object_comes_back(verb: str, api: Api, server: Scripted) -> None:
    server.plays(answer(200, {"kind": "Thing"}))
    assert await CALLS[verb](api) == {"kind": "Thing"}
    assert server.asked[0][:2] == (verb, COLLECTION if verb == "POST" else PATH)
    assert server.calls == [(verb, COLLECTION if verb == "POST" else PATH, 200)]


async def test_a_patch_is_a_json_patch(api: Api, server: Scripted) -> None:
    operations = [{"op": "test", "path": "/metadata/uid", "value": "1"}]
    await api.patch(PATH, operations, as_=OPERATOR)
    assert server.headers["Content-Type"] == "application/json-patch+json"
    assert server.body == operations
    assert server.query == {"fieldManager": "rollback-operator", "timeout": "5s"}


async def test_a_rehearsal_says_so(api: Api, server: Scripted) -> None:
    await api.patch(PATH, [], as_=OPERATOR, dry_run=True, field_manager="other")
    assert server.query == {"fieldManager": "other", "dryRun": "All", "timeout": "5s"}


async def test_what_is_deleted_is_what_was_meant(api: Api, server: Scripted) -> None:
    await api.delete(PATH, as_=OPERATOR, uid="uid-1")
    assert server.body == {"preconditions": {"uid": "uid-1"}}


async def test_what_is_deleted_is_as_it_was_read(api: Api, server: Scripted) -> None:
    await api.delete(PATH, as_=OPERATOR, uid="uid-1", version="7")
    assert server.body == {"preconditions": {"uid": "uid-1", "resourceVersion": "7"}}


async def test_a_list_is_asked_for_with_its_selectors(api: Api, server: Scripted) -> None:
    await api.get(COLLECTION, as_=OPERATOR, query={"labelSelector": "app in (a,b),!c", "limit": 500})
    assert server.query == {"labelSelector": "app in (a,b),!c", "limit": "500"}


@pytest.mark.parametrize("verb", CALLS)
async def test_the_server_is_told_how_long_it_may_work_on(verb: str, api: Api, server: Scripted) -> None:
    """On a write, so that it cannot come later; a read may take as long as it takes."""
    await CALLS[verb](api)
    assert server.query.get("timeout") == (None if verb == "GET" else f"{client.WRITE_TIMEOUT}s")


# Whose rights.

IDENTITIES: dict[str, tuple[Identity, str | None]] = {
    "a service account": (ROLLBACK, "system:serviceaccount:shop:rollback"),
    "the operator": (OPERATOR, None),
}


@pytest.mark.parametrize("case", IDENTITIES)
async def test_a_call_is_made_as(case: str, api: Api, server: Scripted) -> None:
    as_, user = IDENTITIES[case]
    await api.get(PATH, as_=as_)
    await api.patch(PATH, [], as_=as_)
    assert [asked[3].get("Impersonate-User") for asked in server.asked] == [user, user]
    assert not [name for asked in server.asked for name in asked[3] if name.startswith("Impersonate-") and user is None]


async def test_a_call_that_is_repeated_is_made_as_the_same(api: Api, server: Scripted) -> None:
    server.plays(answer(500, "no"), answer())
    await api.get(PATH, as_=ROLLBACK)
    assert [asked[3]["Impersonate-User"] for asked in server.asked] == ["system:serviceaccount:shop:rollback"] * 2


async def test_the_operators_token_goes_with_every_call(api: Api, server: Scripted) -> None:
    assert api._configuration is not None
    api._configuration.api_key = {"authorization": "the-token"}
    api._configuration.api_key_prefix = {"authorization": "Bearer"}
    api._configuration.api_key["BearerToken"] = "the-token"
    api._configuration.api_key_prefix["BearerToken"] = "Bearer"
    await api.get(PATH, as_=ROLLBACK)
    assert server.headers["Authorization"] == "Bearer the-token"


# What an answer means.

MEANINGS: dict[str, tuple[str, int, str, type[errors.KubeError]]] = {
    "a read of what is gone": ("GET", 404, "not found", errors.NotFound),
    "a read that is forbidden": ("GET", 403, 'User "x" cannot get', errors.Forbidden),
    "a list that has expired": ("GET", 410, "expired", errors.Expired),
    "a read that makes no sense": ("GET", 400, "bad selector", errors.Invalid),
    "an object of that name": ("POST", 409, "already exists", errors.AlreadyExists),
    "another version": ("PUT", 409, "the object has been modified", errors.Conflict),
    "a patch of another version": ("PATCH", 409, "the object has been modified", errors.Conflict),
    "a test that failed": ("PATCH", 422, TEST_FAILED, errors.Conflict),
    "a patch that gives no object": (
        "PATCH",
        422,
        'Deployment "x" is invalid: spec.replicas: Required',
        errors.Invalid,
    ),
    "a status that the schema refuses": ("PUT", 422, "status.phase: Unsupported value", errors.Invalid),
    "the words of a failed test, but to a PUT": ("PUT", 422, TEST_FAILED, errors.Invalid),
    "a delete of another uid": ("DELETE", 409, "the UID in the precondition", errors.Conflict),
    "a write of what is gone": ("PATCH", 404, "not found", errors.NotFound),
    "a write that is forbidden": ("PATCH", 403, "denied", errors.Forbidden),
    "a write that is too large": ("PATCH", 413, "too large", errors.Invalid),
    "a write that the server could not finish": ("PATCH", 504, "timed out", errors.Unavailable),
    "a write that broke something": ("PUT", 500, "etcdserver: leader changed", errors.Unavailable),
    "a server that goes away": ("PATCH", 503, "shutting down", errors.Unavailable),
    "a proxy that ran out of patience": ("PATCH", 408, "request timeout", errors.Unavailable),
    "a token that is not taken, or not yet": ("PATCH", 401, "Unauthorized", errors.NotDone),
}


@pytest.mark.parametrize("case", MEANINGS)
async def test_the_meaning_of(case: str, api: Api, server: Scripted) -> None:
    verb, status, said, expected = MEANINGS[case]
    server.plays(answer(status, said))
    with pytest.raises(expected) as caught:
        await CALLS[verb](api)
    assert type(caught.value) is expected
    where = COLLECTION if verb == "POST" else PATH
    assert str(caught.value) == f"{verb} {where} as the operator: {status} {said}"


async def test_an_answer_without_words_is_named_by_its_status(api: Api, server: Scripted) -> None:
    async def bare(_: web.Request) -> web.StreamResponse:
        return web.Response(status=404, text="<html>")

    server.plays(bare)
    with pytest.raises(errors.NotFound, match="404 Not Found"):
        await api.get(PATH, as_=OPERATOR)


async def test_endless_words_are_cut(api: Api, server: Scripted) -> None:
    server.plays(answer(404, "x" * 100_000))
    with pytest.raises(errors.NotFound) as caught:
        await api.get(PATH, as_=OPERATOR)
    assert len(str(caught.value)) < 1200


# Trying again.

TROUBLE: dict[str, Handler] = {
    "500": answer(500, "etcdserver: request timed out"),
    "503": answer(503, "shutting down"),
    "429": answer(429, "slow down"),
    "401": answer(401, "Unauthorized"),
    "a reset": reset,
    "no JSON": broken,
}
SAFE = ("429", "401")
REPEATED = ("PUT", "DELETE")
"""By the transport itself, once, when a connection breaks; both carry what they replace."""


@pytest.mark.parametrize("trouble", TROUBLE)
async def test_a_read_is_tried_again_after(trouble: str, api: Api, server: Scripted) -> None:
    server.plays(TROUBLE[trouble], TROUBLE[trouble], answer(200, {"kind": "Deployment"}))
    assert await api.get(PATH, as_=OPERATOR) == {"kind": "Deployment"}
    assert len(server.asked) == 3


@pytest.mark.parametrize("trouble", TROUBLE)
async def test_a_read_is_given_up_after(trouble: str, api: Api, server: Scripted) -> None:
    server.plays(TROUBLE[trouble])
    with pytest.raises(errors.Unavailable):
        await api.get(PATH, as_=OPERATOR)
    assert len(server.calls) == client.ATTEMPTS
    assert {call[2] for call in server.calls} <= {0, 200, 401, 429, 500, 503}


@pytest.mark.parametrize("verb", WRITES)
@pytest.mark.parametrize("trouble", sorted(set(TROUBLE) - set(SAFE)))
async def test_a_write_is_not_tried_again_after(trouble: str, verb: str, api: Api, server: Scripted) -> None:
    """It may have been done: whoever made it has to look first."""
    server.plays(TROUBLE[trouble])
    with pytest.raises(errors.Unavailable) as caught:
        await CALLS[verb](api)
    assert not isinstance(caught.value, errors.NotDone)
    assert len(server.asked) == (2 if trouble == "a reset" and verb in REPEATED else 1)


@pytest.mark.parametrize("verb", WRITES)
@pytest.mark.parametrize("trouble", SAFE)
async def test_a_write_is_tried_again_after(trouble: str, verb: str, api: Api, server: Scripted) -> None:
    server.plays(TROUBLE[trouble], answer(200, {"kind": "Thing"}))
    assert await CALLS[verb](api) == {"kind": "Thing"}
    assert len(server.asked) == 2


async def test_a_write_that_is_never_let_in_was_not_done(api: Api, server: Scripted) -> None:
    server.plays(TROUBLE["429"])
    with pytest.raises(errors.NotDone):
        await CALLS["PATCH"](api)
    assert len(server.asked) == client.ATTEMPTS


async def test_a_write_waits_as_long_as_it_is_asked_to(api: Api, server: Scripted) -> None:
    server.plays(answer(429, "slow down", Retry_After="0.01"), answer())
    await CALLS["PATCH"](api)
    assert len(server.asked) == 2


@pytest.mark.parametrize("pause", ["5", "60", "100000"])
async def test_a_write_is_never_sent_so_late_that_others_count_it_as_over(
    pause: str, api: Api, server: Scripted
) -> None:
    server.plays(answer(429, "slow down", Retry_After=pause), answer())
    with pytest.raises(errors.NotDone) as caught:
        await CALLS["PATCH"](api)
    assert caught.value.retry_after == float(pause)
    assert len(server.asked) == 1


async def test_no_connection_is_no_write(server: Scripted) -> None:
    configuration = Configuration()
    configuration.host = f"http://127.0.0.1:{unused_port()}"
    api = Api(configuration, server.called)
    try:
        with pytest.raises(errors.NotDone, match="cannot connect to the API server"):
            await CALLS["PATCH"](api)
    finally:
        await api.close()
    assert set(server.calls) == {("PATCH", PATH, 0)}


@pytest.mark.parametrize("verb", CALLS)
async def test_a_server_that_does_not_answer_is_given_up(
    verb: str, api: Api, server: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "READ_TIMEOUT", 0.3)
    monkeypatch.setattr(client, "WRITE_TIMEOUT", -0.7)  # the client waits a second longer than the server works
    server.plays(hang)
    with pytest.raises(errors.Unavailable, match="no answer: TimeoutError"):
        await CALLS[verb](api)
    assert len(server.calls) == (client.ATTEMPTS if verb == "GET" else 1)


def test_whatever_a_write_meets_it_is_over_before_its_request_is_settled() -> None:
    assert client.LONGEST_WRITE >= 2 * client.WRITE_TIMEOUT + 1
    assert timedelta(seconds=client.LONGEST_WRITE) + SEND_WITHIN < SETTLE


PAUSES: dict[str, tuple[int, errors.Unavailable, float, float]] = {
    "short at first": (1, errors.Unavailable(""), 0.1, 0.2),
    "longer then": (3, errors.Unavailable(""), 0.4, 0.8),
    "never long": (30, errors.Unavailable(""), client.LONGEST_WAIT / 2, client.LONGEST_WAIT),
    "what the server says": (1, errors.NotDone("", 3), 3, 3),
    "not what a mad server says": (1, errors.NotDone("", 86_400), client.LONGEST_WAIT, client.LONGEST_WAIT),
    "short, if the server does not say": (1, errors.NotDone(""), 0.1, 0.2),
}


@pytest.mark.parametrize("case", PAUSES)
def test_pauses_are(case: str) -> None:
    attempt, error, least, most = PAUSES[case]
    for _ in range(20):
        assert least <= client._pause(attempt, error) <= most


async def test_a_list_can_be_asked_for_without_content(api: Api, server: Scripted) -> None:
    await api.get(COLLECTION, as_=ROLLBACK, metadata_only=True)

    (_, _, _, headers, _) = server.asked[-1]
    assert headers["Accept"] == "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"


async def test_an_object_can_be_asked_for_without_content(api: Api, server: Scripted) -> None:
    server.plays(answer(body={"metadata": {"name": "x"}}))

    assert await api.metadata(PATH, as_=ROLLBACK) == {"name": "x"}
    (_, _, _, headers, _) = server.asked[-1]
    assert headers["Accept"] == "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"


async def test_trying_to_apply_stores_nothing(api: Api, server: Scripted) -> None:
    await api.try_to_apply(PATH, {"kind": "Deployment"}, as_=ROLLBACK, field_manager="helm", force=False)

    (verb, path, query, headers, body) = server.asked[-1]
    assert (verb, path, json.loads(body)) == ("PATCH", PATH, {"kind": "Deployment"})
    assert query == {"fieldManager": "helm", "force": "false", "dryRun": "All", "timeout": "5s"}
    assert headers["Content-Type"] == "application/apply-patch+yaml"
    assert headers["Impersonate-User"] == ROLLBACK.user


async def test_a_call_that_is_passed_on_is_made_once(api: Api, server: Scripted) -> None:
    server.plays(answer(500, "broken"))

    async with api.forward("PATCH", f"{PATH}?a=b", {"X-Given": "1"}, b"{}", as_=ROLLBACK, limit=5) as response:
        assert response.status == 500

    ((verb, path, query, headers, body),) = server.asked
    assert (verb, path, query, body) == ("PATCH", PATH, {"a": "b"}, "{}")
    assert (headers["X-Given"], headers["Impersonate-User"]) == ("1", ROLLBACK.user)


async def test_a_call_that_is_passed_on_and_gets_no_answer_may_have_been_made(api: Api, server: Scripted) -> None:
    server.plays(reset)

    with pytest.raises(errors.Unavailable):
        async with api.forward("PATCH", PATH, {}, b"{}", as_=ROLLBACK, limit=5):
            pass
