"""The door that Helm goes through: as whom, to what, and what becomes of answers that do not come."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from kubernetes.aio.client.configuration import Configuration
from yarl import URL

from rollback_operator.core.life.times import SEND_WITHIN, SETTLE
from rollback_operator.kube.client import Api
from rollback_operator.kube.identity import ServiceAccount
from rollback_operator.targets.base import Where
from rollback_operator.targets.helm import door as doors
from rollback_operator.targets.helm.door import Door, Errand
from rollback_operator.targets.helm.standing import DEAD_AFTER
from rollback_operator.targets.helm.wire import PROTOBUF
from tests.unit.helm import release, secret
from tests.unit.serving import Serving as Server
from tests.unit.serving import running

Object = dict[str, Any]

SECRETS = "/api/v1/namespaces/shop/secrets"
NEXT = f"{SECRETS}/sh.helm.release.v1.shop.v3"
USER = "system:serviceaccount:shop:rollback"
APPLY = "application/apply-patch+yaml"


class Store:
    """An API server that keeps Secrets, and can be told to answer something else a few times."""

    def __init__(self) -> None:
        self.kept: dict[str, Object] = {}
        self.asked: list[web.Request] = []
        self.instead: list[tuple[str, int, bool]] = []
        """Verb, status (0: the connection breaks) and whether the call is carried out all the same."""
        self.came, self.goes_on = asyncio.Event(), asyncio.Event()
        self.goes_on.set()
        """A PUT came; it is worked on as long as the other is not set."""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        body = await request.read()
        if request.method == "PUT":
            self.came.set()
            await self.goes_on.wait()
        status, carried = self._told(request.method)
        done = self._carry_out(request, json.loads(body) if body else {}) if carried else web.json_response({})
        if status == 0:
            assert request.transport is not None
            request.transport.abort()
        return done if status in (None, 0) else web.json_response(_injected(status), status=status)

    def _told(self, verb: str) -> tuple[int | None, bool]:
        for at, (wanted, status, carried) in enumerate(self.instead):
            if wanted == verb:
                del self.instead[at]
                return status, carried
        return None, True

    def _carry_out(self, request: web.Request, body: Object) -> web.StreamResponse:
        if request.method == "POST" and request.path == SECRETS:
            return self._create(f"{SECRETS}/{body['metadata']['name']}", body)
        kept = self.kept.get(request.path)
        if request.method == "PUT" and kept is not None:
            held = body["metadata"].get("resourceVersion")
            if held not in (None, kept["metadata"]["resourceVersion"]):
                return web.json_response({"message": "modified"}, status=409)
            return self._keep(request.path, body, 200)
        if request.method == "GET" and kept is None and request.path.startswith(SECRETS):
            return web.json_response({"message": "not found"}, status=404)
        return web.json_response(kept or {"items": []})

    def _create(self, path: str, body: Object) -> web.StreamResponse:
        if path in self.kept:
            return web.json_response({"message": "already exists"}, status=409)
        return self._keep(path, body, 201)

    def _keep(self, path: str, body: Object, status: int) -> web.StreamResponse:
        version = str(
            int(self.kept.get(path, {"metadata": {"resourceVersion": "0"}})["metadata"]["resourceVersion"]) + 1
        )
        self.kept[path] = {**body, "metadata": {**body["metadata"], "uid": "uid-3", "resourceVersion": version}}
        return web.json_response(self.kept[path], status=status)

    @property
    def notes(self) -> dict[str, str]:
        noted: dict[str, str] = self.kept[NEXT]["metadata"]["annotations"]
        return noted


def _injected(status: int) -> Object:
    return {"message": "injected", **({"reason": "AlreadyExists"} if status == 409 else {})}


class Child:
    """What Helm does, through the door."""

    def __init__(self, door: Door, session: aiohttp.ClientSession) -> None:
        self.door = door
        self._session = session

    async def call(self, verb: str, path: str, body: Any = None, **headers: str) -> int:
        named = {"Content-Type": "application/json", **{name.replace("_", "-"): text for name, text in headers.items()}}
        data = body if isinstance(body, bytes) else (json.dumps(body) if body is not None else None)
        async with self._session.request(
            verb, URL(self.door.url + path, encoded=True), data=data, headers=named
        ) as answer:
            self.answer = await answer.read()
            self.headers = answer.headers
            return answer.status

    async def create(self, number: int = 3) -> int:
        return await self.call("POST", SECRETS, record(number))

    async def write(self, number: int = 3, status: str = "deployed") -> int:
        return await self.call("PUT", f"{SECRETS}/sh.helm.release.v1.shop.v{number}", record(number, status))


def record(number: int, status: str = "pending-rollback") -> Object:
    body = secret(number, release(number, status=status))
    metadata = {name: body["metadata"][name] for name in ("name", "labels")}
    return {**body, "metadata": metadata}


@pytest.fixture
async def store() -> AsyncIterator[tuple[Store, Api]]:
    kept, server = Store(), Server()
    server.handler = kept.handle
    async with running(server):
        configuration = Configuration()
        configuration.host = server.url
        api = Api(configuration, lambda *_: None)
        yield kept, api
        await api.close()


@asynccontextmanager
async def child(api: Api, *, dry_run: bool = False) -> AsyncIterator[Child]:
    where = Where("shop", "shop", ServiceAccount("shop", "rollback"))
    errand = Errand(3, "request-1", 1, dry_run=dry_run)
    async with Door(api, where, errand).open() as door, aiohttp.ClientSession() as session:
        yield Child(door, session)


async def test_calls_are_made_as_the_service_account_whatever_they_say(store: tuple[Store, Api]) -> None:
    kept, api = store
    async with child(api) as helm:
        forged = {
            "Authorization": "Bearer x",
            "Impersonate_User": "system:admin",
            "Impersonate_Group": "system:masters",
        }
        assert await helm.call("GET", "/api/v1/pods?limit=5&continue=a%2Fb", **forged) == 200

    (asked,) = kept.asked
    assert asked.headers["Impersonate-User"] == USER
    assert asked.headers.getall("Impersonate-User") == [USER]
    assert "Impersonate-Group" not in asked.headers
    assert "Authorization" not in asked.headers
    assert asked.path_qs == "/api/v1/pods?limit=5&continue=a%2Fb"


async def test_without_the_token_the_door_is_shut(store: tuple[Store, Api]) -> None:
    kept, api = store
    async with child(api) as helm:
        helm.door.url = helm.door.url.rpartition("/")[0] + "/another"
        assert await helm.call("GET", "/api/v1/pods") == 401

    assert kept.asked == []


async def test_the_record_is_created_with_our_mark_and_a_sign_of_life(store: tuple[Store, Api]) -> None:
    kept, api = store
    async with child(api) as helm:
        assert await helm.create() == 201

    assert kept.notes["rollback.dev/request"] == "request-1"
    assert datetime.now(UTC) - datetime.fromisoformat(kept.notes["rollback.dev/alive"]) < timedelta(minutes=1)


async def test_a_record_that_is_done_says_no_more_that_somebody_is_at_work(store: tuple[Store, Api]) -> None:
    kept, api = store
    async with child(api) as helm:
        await helm.create()
        assert await helm.write() == 200

    assert kept.notes == {"rollback.dev/request": "request-1"}


async def test_protobuf_is_understood(store: tuple[Store, Api]) -> None:
    def field(number: int, value: bytes) -> bytes:
        assert len(value) < 128
        return bytes([number << 3 | 2, len(value)]) + value

    def entry(key: str, value: bytes) -> bytes:
        return field(1, key.encode()) + field(2, value)

    labels = field(11, entry("status", b"pending-rollback")) + field(11, entry("owner", b"helm"))
    body = (
        field(1, field(1, b"sh.helm.release.v1.shop.v3") + labels)
        + field(2, entry("release", b"packed"))
        + field(3, b"helm.sh/release.v1")
    )
    kept, api = store
    async with child(api) as helm:
        assert await helm.call("POST", SECRETS, b"k8s\x00" + field(2, body), Content_Type=PROTOBUF) == 201

    stored = kept.kept[NEXT]
    assert stored["data"] == {"release": base64.b64encode(b"packed").decode()}
    assert stored["metadata"]["labels"] == {"status": "pending-rollback", "owner": "helm"}
    assert stored["type"] == "helm.sh/release.v1"
    assert kept.notes["rollback.dev/request"] == "request-1"


REFUSED = {
    "a revision of another number": ("POST", SECRETS, record(4)),
    "a revision in another namespace": ("POST", "/api/v1/namespaces/other/secrets", record(3)),
    "a Secret named like a record": (
        "POST",
        SECRETS,
        {"type": "Opaque", "metadata": {"name": "sh.helm.release.v1.x.v1"}},
    ),
    "a record of another name": ("POST", SECRETS, {"type": "helm.sh/release.v1", "metadata": {"name": "x"}}),
    "a record of another release": ("PUT", f"{SECRETS}/sh.helm.release.v1.other.v1", record(1)),
    "a later record": ("PUT", f"{SECRETS}/sh.helm.release.v1.shop.v4", record(4)),
    "a record that was not created here": ("PUT", NEXT, record(3)),
    "removing what is gone back to": ("DELETE", f"{SECRETS}/sh.helm.release.v1.shop.v1", None),
    "removing the new one": ("DELETE", NEXT, None),
    "removing all Secrets": ("DELETE", SECRETS, None),
    "patching a record": ("PATCH", f"{SECRETS}/sh.helm.release.v1.shop.v2", {}),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_other_writes_of_records_are_refused(store: tuple[Store, Api], case: str) -> None:
    verb, path, body = REFUSED[case]
    kept, api = store
    async with child(api) as helm:
        assert await helm.call(verb, path, body) == 403

    assert kept.asked == []


async def test_that_helm_saw_a_later_revision_means_that_somebody_came_first(store: tuple[Store, Api]) -> None:
    _, api = store
    async with child(api) as helm:
        assert await helm.create(4) == 403
        assert helm.door.outrun


async def test_a_secret_in_a_form_that_is_not_understood_is_refused(store: tuple[Store, Api]) -> None:
    kept, api = store
    async with child(api) as helm:
        assert await helm.call("POST", SECRETS, b"\xd9\xd9\xf7", Content_Type="application/cbor") == 415

    assert kept.asked == []


PASSED = {
    "a Secret of the chart": ("POST", SECRETS, {"type": "Opaque", "metadata": {"name": "password"}}),
    "anything else": ("PATCH", "/apis/apps/v1/namespaces/shop/deployments/web", {}),
}


@pytest.mark.parametrize("case", PASSED)
async def test_what_helm_has_to_do_is_passed_on(store: tuple[Store, Api], case: str) -> None:
    verb, path, body = PASSED[case]
    kept, api = store
    async with child(api) as helm:
        assert await helm.call(verb, path, body) in (200, 201)

    assert [one.method for one in kept.asked] == [verb]


async def test_an_earlier_record_keeps_what_we_noted_on_it(store: tuple[Store, Api]) -> None:
    """Helm writes it anew without, and what was an attempt of ours would count as a release."""
    kept, api = store
    earlier = record(2, "failed")
    noted = {"rollback.dev/request": "request-1", "rollback.dev/interrupted": "true"}
    earlier["metadata"] |= {"annotations": noted, "uid": "uid-2", "resourceVersion": "5"}
    kept.kept[f"{SECRETS}/sh.helm.release.v1.shop.v2"] = earlier
    async with child(api) as helm:
        assert await helm.write(2, "superseded") == 200

    stored = kept.kept[f"{SECRETS}/sh.helm.release.v1.shop.v2"]["metadata"]
    assert (stored["annotations"], stored["labels"]["status"]) == (noted, "superseded")


async def test_an_earlier_record_whose_notes_nobody_can_read_is_marked_later(store: tuple[Store, Api]) -> None:
    kept, api = store
    kept.kept[f"{SECRETS}/sh.helm.release.v1.shop.v2"] = record(2)
    kept.kept[f"{SECRETS}/sh.helm.release.v1.shop.v2"]["metadata"]["resourceVersion"] = "5"
    kept.instead = [("GET", 403, False)]
    async with child(api) as helm:
        assert await helm.write(2, "superseded") == 429
        assert helm.headers["Retry-After"] == "1"
        assert await helm.write(2, "superseded") == 200


async def test_nothing_is_removed_before_the_record_is_created(store: tuple[Store, Api]) -> None:
    """Helm makes room first; if it may not create then, a revision that proved good would be gone for nothing."""
    kept, api = store
    async with child(api) as helm:
        assert await helm.call("DELETE", f"{SECRETS}/sh.helm.release.v1.shop.v2") == 200
        assert json.loads(helm.answer)["status"] == "Success"
        assert helm.door.doomed == ["sh.helm.release.v1.shop.v2"]

    assert kept.asked == []


@pytest.mark.parametrize("refused", [403, 422])
async def test_a_refusal_says_nothing_of_an_earlier_try_that_may_arrive_yet(
    store: tuple[Store, Api], refused: int
) -> None:
    kept, api = store
    kept.instead = [("POST", 0, False), ("POST", refused, False)]
    async with child(api) as helm:
        assert await helm.create() == refused
        assert helm.door.unsure == "it is not known whether sh.helm.release.v1.shop.v3 was created"
    kept.instead = [("POST", refused, False)]
    async with child(api) as helm:
        assert await helm.create() == refused
        assert helm.door.unsure == ""


async def test_a_second_record_is_not_created(store: tuple[Store, Api]) -> None:
    _, api = store
    async with child(api) as helm:
        assert await helm.create() == 201
        assert await helm.create() == 409


async def test_whoever_created_the_revision_first_wins(store: tuple[Store, Api]) -> None:
    kept, api = store
    kept.kept[NEXT] = {"metadata": {"uid": "x", "resourceVersion": "7", "name": "sh.helm.release.v1.shop.v3"}}
    async with child(api) as helm:
        assert await helm.create() == 409
        assert helm.door.outrun
        assert helm.door.record is None
        assert await helm.call("PATCH", "/apis/apps/v1/namespaces/shop/deployments/web", {}) == 403


@pytest.mark.parametrize("status", [0, 500, 503, 429])
@pytest.mark.parametrize("carried", [True, False], ids=["was done", "was not done"])
async def test_a_record_whose_creation_got_no_answer_is_created_once(
    store: tuple[Store, Api], status: int, *, carried: bool
) -> None:
    kept, api = store
    kept.instead = [("POST", status, carried)]
    async with child(api) as helm:
        assert await helm.create() == 201
        assert helm.door.record == kept.kept[NEXT]
        assert not helm.door.outrun

    assert kept.kept[NEXT]["metadata"]["resourceVersion"] == "1"


@pytest.mark.parametrize("status", [0, 500, 503, 409])
@pytest.mark.parametrize("carried", [True, False], ids=["was done", "was not done"])
async def test_a_write_of_the_record_without_an_answer_is_made_once(
    store: tuple[Store, Api], status: int, *, carried: bool
) -> None:
    kept, api = store
    async with child(api) as helm:
        await helm.create()
        kept.instead = [("PUT", status, carried)] * 2
        assert await helm.write() == 200
        assert helm.door.record == kept.kept[NEXT]

    assert kept.kept[NEXT]["metadata"]["labels"]["status"] == "deployed"
    assert kept.kept[NEXT]["metadata"]["resourceVersion"] == "2"


async def test_a_record_that_somebody_else_mended_is_not_written_any_more(store: tuple[Store, Api]) -> None:
    kept, api = store
    async with child(api) as helm:
        await helm.create()
        mended = {**kept.kept[NEXT], "data": {"release": "mended"}}
        mended["metadata"] = {**mended["metadata"], "uid": "another", "resourceVersion": "9"}
        kept.kept[NEXT] = mended
        assert await helm.write() != 200
        assert helm.door.outrun

    assert kept.kept[NEXT] == mended


async def test_it_can_be_too_late_to_begin(store: tuple[Store, Api], monkeypatch: pytest.MonkeyPatch) -> None:
    kept, api = store
    monkeypatch.setattr(doors, "CREATE_WITHIN", -1)
    async with child(api) as helm:
        assert await helm.create() == 409
        assert "more than -1 s to begin" in " ".join(helm.door.broken.values())

    assert kept.kept == {}


async def test_signs_of_life_follow_each_other(store: tuple[Store, Api], monkeypatch: pytest.MonkeyPatch) -> None:
    kept, api = store
    monkeypatch.setattr(doors, "BEAT", 0.01)
    async with child(api) as helm:
        await helm.create()
        first = kept.notes["rollback.dev/alive"]
        beats = asyncio.create_task(helm.door.beat())
        async with asyncio.timeout(60):
            while kept.notes["rollback.dev/alive"] == first:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)
        helm.door.rest()
        await beats


async def test_who_cannot_say_that_he_lives_writes_nothing_more(
    store: tuple[Store, Api], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, api = store
    monkeypatch.setattr(doors, "BEAT", 0.01)
    monkeypatch.setattr(doors, "LEASE", 0.05)
    async with child(api) as helm:
        await helm.create()
        kept.instead = [("PUT", 500, False)] * 1000
        async with asyncio.timeout(60):
            await helm.door.beat()
        assert await helm.call("PATCH", "/apis/apps/v1/namespaces/shop/deployments/web", {}) == 403
        assert "no sign of life could be written" in " ".join(helm.door.broken.values())
        assert await helm.call("GET", "/apis/apps/v1/namespaces/shop/deployments/web") == 200


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.slept: list[float] = []
        monkeypatch.setattr(doors, "time", self)
        monkeypatch.setattr(doors, "asyncio", SimpleNamespace(**{**vars(asyncio), "sleep": self.sleep}))
        monkeypatch.setattr(doors, "LEASE", 60.0)
        monkeypatch.setattr(doors, "BEAT", 0.01)

    def monotonic(self) -> float:
        return 100.0 + sum(self.slept)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


@pytest.mark.parametrize("status", ["deployed", "failed"])
async def test_the_record_stays_pending_until_no_write_without_an_answer_can_arrive(
    store: tuple[Store, Api], monkeypatch: pytest.MonkeyPatch, status: str
) -> None:
    kept, api = store
    clock = Clock(monkeypatch)
    async with child(api) as helm:
        await helm.create()
        kept.instead = [("PATCH", 0, False)]
        await helm.call("PATCH", "/api/v1/x", b"{}", Content_Type=APPLY)
        assert await helm.call("PATCH", "/api/v1/x", b"{}", Content_Type=APPLY) == 200
        assert await helm.write(status="pending-rollback") == 200
        assert clock.slept == []
        assert await helm.write(status=status) == 200

    assert clock.slept == [doors.WRITE + 1]


async def test_so_it_does_until_no_second_record_can_arrive(
    store: tuple[Store, Api], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If somebody uninstalled the release before that, there would be one that nobody works on."""
    kept, api = store
    clock = Clock(monkeypatch)
    async with child(api) as helm:
        kept.instead = [("POST", 0, False)]
        assert await helm.create() == 201
        assert await helm.write() == 200

    assert sum(clock.slept) == pytest.approx(doors.RECORD_WRITE + 1)


async def test_who_was_silent_for_too_long_writes_nothing_more_when_he_can_speak_again(
    store: tuple[Store, Api], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or Helm, refused an object for the silence, would record a failure that another attempt then comes after."""
    kept, api = store
    clock = Clock(monkeypatch)
    async with child(api) as helm:
        await helm.create()
        alive = kept.notes["rollback.dev/alive"]
        beats = asyncio.create_task(helm.door.beat())
        await asyncio.sleep(0)
        clock.slept.append(doors.LEASE + 1)
        async with asyncio.timeout(60):
            await beats
        assert kept.notes["rollback.dev/alive"] == alive
        assert await helm.write(status="failed") == 403


@asynccontextmanager
async def last_sign_of_life(kept: Store, clock: Clock, helm: Child) -> AsyncIterator[None]:
    """A sign of life that is begun a second before it would be too late, and gets no answer while the context lasts."""
    kept.goes_on.clear()
    clock.slept.append(doors.LEASE - 1)
    beats = asyncio.create_task(helm.door.beat())
    async with asyncio.timeout(60):
        await kept.came.wait()
        yield
        kept.goes_on.set()
        await beats


async def test_an_answer_that_comes_too_late_gives_nobody_his_time_back(
    store: tuple[Store, Api], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, api = store
    clock = Clock(monkeypatch)
    async with child(api) as helm:
        await helm.create()
        async with last_sign_of_life(kept, clock, helm):
            clock.slept.append(2)
            assert await helm.call("PATCH", "/apis/apps/v1/namespaces/shop/deployments/web", {}) == 403
        assert await helm.write(status="failed") == 403


async def test_what_is_deployed_is_done_however_long_helm_stays(
    store: tuple[Store, Api], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody says any more that he lives then, and nobody has to: it is not made a second time for that."""
    _, api = store
    clock = Clock(monkeypatch)
    async with child(api) as helm:
        await helm.create()
        assert await helm.write() == 200
        beats = asyncio.create_task(helm.door.beat())
        clock.slept.append(doors.LEASE + 1)
        done, _ = await asyncio.wait({beats}, timeout=0.2)
        assert not done
        assert helm.door.broken == {}
        helm.door.rest()
        await beats


async def test_a_record_is_not_closed_by_who_had_to_wait_for_too_long(
    store: tuple[Store, Api], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sign of life is written before it, and takes its time."""
    kept, api = store
    clock = Clock(monkeypatch)
    async with child(api) as helm:
        await helm.create()
        async with last_sign_of_life(kept, clock, helm):
            closing = asyncio.create_task(helm.write())
            while not helm.door._writing._waiters:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)
            kept.instead = [("PUT", 500, False)]
            clock.slept.append(2)
        assert await closing == 403
    assert kept.kept[NEXT]["metadata"]["labels"]["status"] == "pending-rollback"


async def test_a_record_that_another_operator_closed_stays_as_it_is(store: tuple[Store, Api]) -> None:
    """It took us for dead, and its own attempt comes after: the record is marked as ours all the same."""
    kept, api = store
    async with child(api) as helm:
        await helm.create()
        there = kept.kept[NEXT]
        noted = {**there["metadata"]["annotations"], "rollback.dev/interrupted": "true"}
        labels = {**there["metadata"]["labels"], "status": "failed"}
        metadata = {**there["metadata"], "annotations": noted, "labels": labels, "resourceVersion": "9"}
        mended = kept.kept[NEXT] = {**there, "data": {"release": "mended"}, "metadata": metadata}
        assert await helm.write() == 403
        assert helm.door.outrun

    assert kept.kept[NEXT] == mended


async def test_an_answer_that_breaks_off_is_one_that_was_not_good(store: tuple[Store, Api]) -> None:
    """Or Helm, which fails over it, would seem to fail for a reason of its own."""
    kept, api = store
    carry_out = kept._carry_out

    def broken(request: web.Request, body: Object) -> web.StreamResponse:
        if request.path != "/api/v1/pods":
            return carry_out(request, body)
        assert request.transport is not None
        asyncio.get_running_loop().call_later(0.05, request.transport.abort)
        return web.Response(body=b"{", headers={"Content-Length": "100"})

    kept._carry_out = broken  # type: ignore[method-assign]
    async with child(api) as helm:
        with pytest.raises(aiohttp.ClientError):
            await helm.call("GET", "/api/v1/pods")
        assert ("GET", "/api/v1/pods") in helm.door.broken


@pytest.mark.parametrize("answer", [200, 403, 429, 500])
async def test_a_write_with_an_answer_keeps_the_record_open_no_longer(
    store: tuple[Store, Api], monkeypatch: pytest.MonkeyPatch, answer: int
) -> None:
    kept, api = store
    clock = Clock(monkeypatch)
    async with child(api) as helm:
        await helm.create()
        kept.instead = [("PATCH", answer, False)] if answer != 200 else []
        await helm.call("PATCH", "/api/v1/x", b"{}", Content_Type=APPLY)
        assert await helm.write() == 200

    assert clock.slept == []


AGAIN = {
    "a read": ("GET", "/api/v1/pods", "application/json", 429),
    "an apply": ("PATCH", "/api/v1/x", APPLY, 429),
    "a deletion": ("DELETE", "/api/v1/x", "application/json", 429),
    "a merge": ("PATCH", "/api/v1/x", "application/merge-patch+json", 503),
    "a creation": ("POST", "/api/v1/x", "application/json", 503),
}


@pytest.mark.parametrize("status", [503, 0])
@pytest.mark.parametrize("case", AGAIN)
async def test_helm_is_asked_to_repeat_what_may_be_repeated(store: tuple[Store, Api], case: str, status: int) -> None:
    verb, path, content, expected = AGAIN[case]
    kept, api = store
    kept.instead = [(verb, status, False)] * 2  # the transport repeats some by itself
    async with child(api) as helm:
        assert await helm.call(verb, path, b"{}" if verb != "GET" else None, Content_Type=content) == expected
        assert ("Retry-After" in helm.headers) is (expected == 429)
        assert list(helm.door.broken) == [(verb, path)]
        kept.instead = []
        assert await helm.call(verb, path, b"{}" if verb != "GET" else None, Content_Type=content) == 200
        assert helm.door.broken == {}


async def test_the_first_refusal_is_remembered(store: tuple[Store, Api]) -> None:
    kept, api = store
    kept.instead = [("GET", 403, False)]
    async with child(api) as helm:
        assert await helm.call("GET", "/api/v1/pods") == 403
        assert helm.door.forbidden == "injected"


DRY = {
    "a read": ("GET", "/api/v1/pods", 200),
    "a write": ("PATCH", "/api/v1/x", 403),
    "a creation of the record": ("POST", SECRETS, 403),
    "a write that is a dry run": ("PATCH", "/api/v1/x?dryRun=All", 200),
    "a write that is one and is not": ("PATCH", "/api/v1/x?dryRun=All&dryRun=", 403),
}


@pytest.mark.parametrize("case", DRY)
async def test_a_dry_run_lets_no_write_through(store: tuple[Store, Api], case: str) -> None:
    verb, path, status = DRY[case]
    _, api = store
    async with child(api, dry_run=True) as helm:
        assert await helm.call(verb, path, record(3) if verb == "POST" else None) == status


def test_the_times_fit_together() -> None:
    """Whoever is taken for dead writes nothing any more; and an end without effect is said when none can come."""
    margin = timedelta(seconds=1)
    assert timedelta(seconds=doors.LEASE + doors.WRITE + 1) + margin <= DEAD_AFTER
    assert SEND_WITHIN + timedelta(seconds=doors.CREATE_WITHIN + doors.RECORD_WRITE + 1) + margin <= SETTLE
    assert doors.BEAT * 2 < doors.LEASE


CREATED: dict[str, tuple[int | None, set[str], bool]] = {
    # the answer's status (None: as it comes, 0: none); what may be there by now, and whether the run was disturbed
    "it was": (None, {"migrate"}, False),
    "nobody knows": (0, {"migrate"}, True),
    "nobody knows, although there is an answer": (500, {"migrate"}, True),
    "it was refused": (403, set(), False),
    "it is to be tried later": (429, set(), True),
    "it is there already": (409, set(), False),
}


@pytest.mark.parametrize("case", CREATED)
async def test_what_may_have_been_created_is_known(store: tuple[Store, Api], case: str) -> None:
    """That an object is there already passes no more than a refusal: Helm fails, and that is how the rollback ended."""
    status, touched, disturbed = CREATED[case]
    kept, api = store
    if status is not None:
        kept.instead = [("POST", status, False)]
    async with child(api) as helm:
        assert await helm.call("POST", "/apis/batch/v1/namespaces/shop/jobs", {"metadata": {"name": "migrate"}})

        assert helm.door.touched == touched
        assert bool(helm.door.broken) is disturbed


async def test_what_is_there_after_an_answer_that_was_lost_may_be_its_own(store: tuple[Store, Api]) -> None:
    """Helm repeats by itself what it got no good answer for."""
    kept, api = store
    kept.instead = [("POST", 500, False), ("POST", 409, False)]
    async with child(api) as helm:
        for _ in range(2):
            await helm.call("POST", "/apis/batch/v1/namespaces/shop/jobs", {"metadata": {"name": "migrate"}})

        assert helm.door.broken


async def test_what_was_changed_is_known_by_its_path(store: tuple[Store, Api]) -> None:
    _, api = store
    async with child(api) as helm:
        await helm.call("PATCH", "/apis/batch/v1/namespaces/shop/jobs/migrate", {}, Content_Type=APPLY)
        await helm.call("DELETE", "/apis/batch/v1/namespaces/shop/jobs/old")
        await helm.call("GET", "/apis/batch/v1/namespaces/shop/jobs/read")
        await helm.call("POST", "/apis/batch/v1/namespaces/shop/jobs", {"metadata": {"generateName": "migrate-"}})

        assert helm.door.touched == {"migrate", ""}
