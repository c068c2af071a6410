"""The door on loopback through which Helm reaches the API server: as a service account, and to do one thing only.

It is there for one run of Helm: its address holds a token, because client-go shows none where there is no TLS. Of the
release's records it lets one be created: the revision after the newest that the plan saw. So a release that lands in
between is never rolled over: the API server refuses to create its number twice. What Helm writes to that record carries
the request's uid, and the version that it replaces.

While Helm runs, the record says every few seconds that somebody is at work (`beat`). When that could not be said for
`LEASE`, nothing is written any more: another operator may take the work for dead soon, and make the effect itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
import secrets as randomness
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

from aiohttp import web
from yarl import URL

from rollback_operator.api import REQUEST_ANNOTATION
from rollback_operator.kube import errors
from rollback_operator.kube.client import APPLY, JSON, Api
from rollback_operator.kube.words import without_values
from rollback_operator.targets.base import Where
from rollback_operator.targets.helm import answers
from rollback_operator.targets.helm.records import (
    ALIVE_ANNOTATION,
    DEPLOYED,
    PENDING,
    PREFIX,
    TYPE,
    number_of,
    secret_name,
)
from rollback_operator.targets.helm.store import secrets
from rollback_operator.targets.helm.wire import WireError, secret_in

log = logging.getLogger(__name__)

BEAT = 2.0
"""Seconds between two signs of life."""
LEASE = 5.0
"""Seconds after the last one in which writes may be begun; together with `WRITE` less than `standing.DEAD_AFTER`."""
WRITE = 8
"""Seconds that the API server may work on a write; the connection is given up a second later."""
CREATE_WITHIN = 8.0
"""Seconds after the start in which the record may be created: together with `RECORD_WRITE` and `times.SEND_WITHIN`
less than `times.SETTLE`, after which a request may end without an effect."""
RECORD_WRITE = 5
LARGEST_BODY = 8 * 2**20
TRIES = 5
"""How often a write of the record is tried before Helm is told that it failed."""

_SECRETS = re.compile(r"/api/v1/namespaces/(?P<namespace>[^/]+)/secrets(?:/(?P<name>[^/]+))?")
_READS = ("GET", "HEAD")
_RETRY = {"Retry-After": "1"}
_ANSWERED = ("Content-Type", "Retry-After", "Warning", "Audit-Id")
"""Headers of an answer that the child gets."""

_BEGIN, _LIFE = ("", "begin"), ("", "life")
"""What is no call and can break as one."""

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Errand:
    """What one run of Helm is to do: create revision `number` for the request `key`; `spared` is not to be pruned."""

    number: int
    key: str
    spared: int
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class _Refusal(Exception):  # noqa: N818 - an answer, no error
    message: str
    status: int = HTTPStatus.FORBIDDEN


class Door:
    """One run's way to the API server.

    `record`: the Secret of the new revision, as it was last stored. `outrun`: somebody else created that revision, or
    wrote to it. `forbidden`: what the service account was first refused. `broken`: calls that got no good answer, and
    were not made again with success, and what time did not allow. `touched`: names of objects that were created or
    changed, or may have been; empty for one that has no name yet. `unsure`: why the record may be created yet.
    `doomed`: records that Helm removed for the history limit, as it believes. It does that before it creates the new
    one: then a rollback that is refused would have removed what could be gone back to.
    """

    def __init__(self, api: Api, where: Where, errand: Errand) -> None:
        self._api = api
        self._where = where
        self._errand = errand
        self._name = secret_name(where.name, errand.number)
        self._writing = asyncio.Lock()
        self._opened = self._confirmed = time.monotonic()
        self._resting = asyncio.Event()
        self._token = randomness.token_urlsafe(32)
        self.url = ""
        self.record: Object | None = None
        self._may_arrive: dict[object, float] = {}
        self.outrun = False
        self.forbidden = ""
        self.broken: dict[tuple[str, str], str] = {}
        self.touched: set[str] = set()
        self.unsure = ""
        self.doomed: list[str] = []

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[Door]:
        """Listen on a port of loopback while the context lasts."""
        app = web.Application(client_max_size=LARGEST_BODY)
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/{self._token}"
            yield self
        finally:
            await runner.cleanup()

    async def beat(self) -> None:
        """Say again and again that somebody is at work; returns when nobody may be any more.

        That is when the record is another's, or when it could not be said for so long that others may say so.
        """
        while not self.outrun and not self._lapsed() and not self._resting.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._resting.wait(), BEAT)
            due = not self._resting.is_set() and not self._lapsed()
            if due and self.record is not None and _pending(self.record):
                await self._say_alive()

    def rest(self) -> None:
        """No more signs of life: `beat` returns. One that is being written is written: its version has to be known."""
        self._resting.set()

    async def _say_alive(self) -> None:
        async with self._writing:
            begun = time.monotonic()
            assert self.record is not None
            try:
                self.record = await self._api.replace(
                    secrets(self._where, self._name), self._stamped(self.record), as_=self._where.account
                )
            except errors.Conflict:
                self.outrun = not await self._adopt(self.record)
            except errors.KubeError as error:
                log.warning("The sign of life could not be written: %s", error)
            else:
                self._confirmed = begun

    def _lapsed(self) -> bool:
        """Whether others may be at work: no reason for the attempt to have failed, so it is made again.

        Once so, always so: of a sign of life that comes after all, a call that was refused knows nothing. What is
        deployed is done: Helm writes nothing after that, and nobody says any more that he lives.
        """
        if self.deployed:
            return False
        if self.record is not None and time.monotonic() - self._confirmed > LEASE:
            self.broken[_LIFE] = f"no sign of life could be written for {LEASE:g} s"
        return _LIFE in self.broken

    @property
    def deployed(self) -> bool:
        """Whether Helm closed the record as one that was made as a whole."""
        return self.record is not None and _status(self.record) == DEPLOYED

    async def quiet(self) -> None:
        """Wait until no write can arrive any more whose answer is not known.

        While the record is pending nobody else releases. So it stays pending until then: what arrived later would
        change objects of a release that came in between.
        """
        left = max(self._may_arrive.values(), default=0.0) - time.monotonic()
        if left > 0:
            await asyncio.sleep(left)

    # Calls.

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        shown, _, rest = request.path_qs[1:].partition("/")
        if not randomness.compare_digest(shown.encode(), self._token.encode()):
            return answers.status(HTTPStatus.UNAUTHORIZED, "this door is for one run of Helm")
        asked = request.clone(rel_url=URL(f"/{rest}", encoded=True))
        try:
            return await self._admit(asked, await asked.read())
        except _Refusal as refusal:
            log.warning("Refused to Helm: %s %s: %s", request.method, request.path, refusal.message)
            return answers.status(refusal.status, refusal.message)

    async def _admit(self, request: web.Request, body: bytes) -> web.StreamResponse:
        """Decide about a call and make it."""
        if request.method in _READS:
            return await self._pass_on(request, body)
        if self._errand.dry_run:
            if request.query.getall("dryRun", []) != ["All"]:
                raise _Refusal("a dry run changes nothing")
            return await self._pass_on(request, body)
        self._check_alive()
        found = _SECRETS.fullmatch(request.path)
        return await (self._pass_on(request, body) if found is None else self._secret(request, found, body))

    def _check_alive(self) -> None:
        if self.outrun or self._lapsed():
            raise _Refusal("another operator may be at work on this release")

    async def _secret(self, request: web.Request, found: re.Match[str], body: bytes) -> web.StreamResponse:
        """Writes of Secrets: any but records of releases are the chart's own business."""
        ours = found["namespace"] == self._where.namespace
        if request.method == "POST":
            made = _secret_in(request, body)
            if made.get("type") != TYPE and not str((made.get("metadata") or {}).get("name", "")).startswith(PREFIX):
                return await self._pass_on(request, body)
            if not ours or made["metadata"].get("name") != self._name:
                # Helm saw a revision that came after ours was planned.
                self.outrun = ours and (number_of(made["metadata"].get("name", ""), self._where.name) or 0) > 0
                raise _Refusal(f"only {self._name} may be created: the plan is about no other revision")
            return await self._create(request, made)
        name = found["name"]
        if name is None:
            raise _Refusal("no collection of Secrets may be deleted")
        if not name.startswith(PREFIX):
            return await self._pass_on(request, body)
        number = number_of(name, self._where.name) if ours else None
        if number is None or number > self._errand.number or request.method not in ("PUT", "DELETE"):
            raise _Refusal(f"{name} is no record that this rollback may write")
        if request.method == "PUT" and number == self._errand.number:
            return await self._replace(request, _secret_in(request, body))
        if request.method == "PUT":
            return await self._update_older(request, name, _secret_in(request, body))
        if number in (self._errand.spared, self._errand.number):
            raise _Refusal(f"revision {number} is needed")
        self.doomed.append(name)
        return web.json_response(answers.SUCCESS)

    # The record.

    async def _create(self, request: web.Request, made: Object) -> web.StreamResponse:
        async with self._writing:
            begun = time.monotonic()
            if self.record is not None:
                raise _Refusal("the record was created before", HTTPStatus.CONFLICT)
            if begun - self._opened > CREATE_WITHIN:
                self.broken[_BEGIN] = f"it took Helm more than {CREATE_WITHIN:g} s to begin"
                raise _Refusal("it is too late to create the record", HTTPStatus.CONFLICT)
            body = json.dumps(self._stamped(made)).encode()
            unsure = False
            for _ in range(TRIES):
                status, answer = await self._send(request, body, RECORD_WRITE)
                if status == HTTPStatus.CREATED:
                    self.record, self._confirmed = answer, begun
                    break
                if await self._adopt(json.loads(body)):
                    self._confirmed = begun
                    return web.json_response(self.record, status=HTTPStatus.CREATED)
                if status == HTTPStatus.CONFLICT:
                    self.outrun = True
                    break
                if not answers.transient(status):
                    break
                unsure = True
                self._may_arrive[object()] = time.monotonic() + RECORD_WRITE + 1
                if time.monotonic() - self._opened > CREATE_WITHIN:
                    break
                await asyncio.sleep(0.2)
            if unsure and self.record is None:  # what a later try was answered says nothing of an earlier one
                self.unsure = f"it is not known whether {self._name} was created"
            return web.json_response(answer, status=status)

    async def _update_older(self, request: web.Request, name: str, new: Object) -> web.StreamResponse:
        """A record before ours, with what it says of ourselves: Helm writes it anew without."""
        try:
            metadata = await self._api.metadata(secrets(self._where, name), as_=self._where.account)
            noted = metadata.get("annotations") or {}
        except errors.NotFound:
            noted = {}
        except errors.KubeError as error:
            return answers.status(HTTPStatus.TOO_MANY_REQUESTS, str(error), _RETRY)
        self._check_alive()
        new["metadata"] = {**new["metadata"], "annotations": {**noted, **_notes(new)}}
        return await self._pass_on(request, json.dumps(new).encode(), {"Content-Type": JSON})

    async def _replace(self, request: web.Request, new: Object) -> web.StreamResponse:
        if not _pending(new):
            await self.quiet()
        async with self._writing:
            for _ in range(TRIES):
                self._check_alive()
                if self.record is None:
                    raise _Refusal("it was not created through this door")
                metadata = self.record["metadata"]
                stamped = self._stamped(new)
                held = {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}
                stamped["metadata"] = {**stamped["metadata"], **held}
                status, answer = await self._send(request, json.dumps(stamped).encode(), RECORD_WRITE)
                if status == HTTPStatus.OK:
                    self.record = answer
                    break
                if await self._adopt(stamped):
                    return web.json_response(self.record, status=HTTPStatus.OK)
                if status == HTTPStatus.CONFLICT and self.record["metadata"] != metadata:
                    continue
                if not answers.transient(status) and status != HTTPStatus.CONFLICT:
                    break
                await asyncio.sleep(0.2)
            return web.json_response(answer, status=status)

    async def _adopt(self, wanted: Object) -> bool:
        """See what became of a write without a good answer; gives whether the record is as it was to be.

        If it is still ours but was not changed, its version is learned; if it is another's, that is noted.
        """
        try:
            stored = await self._api.get(secrets(self._where, self._name), as_=self._where.account)
        except errors.KubeError:
            return False
        if self.record is None:
            same = _notes(stored) == _notes(wanted)
        elif stored["metadata"]["uid"] != self.record["metadata"]["uid"] or REQUEST_ANNOTATION not in _notes(stored):
            self.outrun = True
            return False
        else:
            same = stored["data"] == wanted["data"]
            if not same and not _pending(stored):  # somebody took us for dead, and closed it
                self.outrun = True
                return False
        if same or self.record is not None:
            self.record = stored
        return same

    def _stamped(self, secret: Object) -> Object:
        """A version of the record as it is stored: whose it is, and whether it is worked on."""
        noted = {**_notes(secret), REQUEST_ANNOTATION: self._errand.key}
        noted.pop(ALIVE_ANNOTATION, None)
        if _pending(secret):
            noted[ALIVE_ANNOTATION] = datetime.now(UTC).isoformat()
        return {**secret, "metadata": {**secret["metadata"], "annotations": noted}}

    async def _send(self, request: web.Request, body: bytes, seconds: int) -> tuple[int, Object]:
        headers = {**request.headers, "Accept": JSON, "Content-Type": JSON}
        where = _bounded(request, seconds)
        try:
            async with self._api.forward(
                request.method, where, headers, body, as_=self._where.account, limit=seconds + 1
            ) as response:
                text = await response.read()
                status = response.status
        except errors.Unavailable as error:
            return self._note(request, HTTPStatus.SERVICE_UNAVAILABLE, str(error)), answers.failure(503, str(error))
        answer = answers.parsed(text)
        return self._note(request, status, str(answer.get("message", ""))), answer

    # All else.

    async def _pass_on(
        self, request: web.Request, body: bytes, headers: Mapping[str, str] = MappingProxyType({})
    ) -> web.StreamResponse:
        """Make a call as it is; `headers`: those that are other than Helm's."""
        reads = request.method in _READS
        where, limit = (request.path_qs, None) if reads else (_bounded(request, WRITE), float(WRITE + 1))
        watches = request.query.get("watch", "") in ("1", "true")
        response, this = web.StreamResponse(), object()
        if not reads:
            self._may_arrive[this] = time.monotonic() + WRITE + 1
        try:
            async with self._api.forward(
                request.method, where, {**request.headers, **headers}, body, as_=self._where.account, limit=limit
            ) as answer:
                self._may_arrive.pop(this, None)
                if answer.status < HTTPStatus.BAD_REQUEST or answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                    self._touch(request, body)
                if answer.status >= HTTPStatus.BAD_REQUEST:
                    return self._failed(request, answer.status, await answer.read(), dict(answer.headers))
                response.set_status(answer.status)
                response.headers.update({name: answer.headers[name] for name in _ANSWERED if name in answer.headers})
                await response.prepare(request)
                async for chunk in answer.content.iter_any():
                    await response.write(chunk)
        except errors.Unavailable as error:
            if isinstance(error, errors.NotDone):
                self._may_arrive.pop(this, None)
            else:
                self._touch(request, body)
            if response.prepared:
                if not watches:
                    self._note(request, HTTPStatus.SERVICE_UNAVAILABLE, str(error))
                return _cut(request, response)
            return self._failed(request, HTTPStatus.SERVICE_UNAVAILABLE, str(error).encode(), {})
        if not watches:
            self._note(request, HTTPStatus.OK, "")
        await response.write_eof()
        return response

    def _touch(self, request: web.Request, body: bytes) -> None:
        if request.method in ("PUT", "PATCH"):
            self.touched.add(request.path.rpartition("/")[2])
        elif request.method == "POST":
            self.touched.add(str((answers.parsed(body).get("metadata") or {}).get("name") or ""))

    def _failed(self, request: web.Request, status: int, text: bytes, headers: dict[str, str]) -> web.Response:
        """A bad answer; one after which the same call may be made again is given as one that asks for that."""
        answer = answers.parsed(text)
        said = str(answer.get("message", "")) or text[:200].decode(errors="replace")
        stays = answers.of_managers(answer) or answers.of_what_is_there(answer)
        passing = answers.transient(status) or (status == HTTPStatus.CONFLICT and not stays)
        made_before = answers.of_what_is_there(answer) and (request.method, request.path) in self.broken
        if not made_before:  # or the call that got no good answer, and was made all the same, would count as well
            self._note(request, HTTPStatus.SERVICE_UNAVAILABLE if passing else status, said)
        if passing and _repeatable(request):
            return answers.status(HTTPStatus.TOO_MANY_REQUESTS, said, _RETRY)
        kept = {name: headers[name] for name in _ANSWERED if name in headers}
        return web.Response(status=status, body=text, headers=kept)

    def _note(self, request: web.Request, status: int, said: str) -> int:
        """What an answer says of how the run fares."""
        call, said = (request.method, request.path), without_values(said)
        if answers.transient(status):
            self.broken[call] = f"{request.method} {request.path}: {said}"[:500]
        else:
            self.broken.pop(call, None)
        if status == HTTPStatus.FORBIDDEN and not self.forbidden:
            self.forbidden = said[:1000]
        return status


def _status(secret: Object) -> str:
    return str((secret["metadata"].get("labels") or {}).get("status", ""))


def _pending(secret: Object) -> bool:
    return _status(secret) in PENDING


def _notes(secret: Object) -> dict[str, str]:
    return secret["metadata"].get("annotations") or {}


def _secret_in(request: web.Request, body: bytes) -> Object:
    try:
        return secret_in(body, request.content_type)
    except WireError as error:
        raise _Refusal(f"this is not understood as a Secret: {error}", HTTPStatus.UNSUPPORTED_MEDIA_TYPE) from None


def _repeatable(request: web.Request) -> bool:
    """Whether the call may be made twice: reads, applies, deletions, and what replaces a whole object."""
    if request.method == "PATCH":
        return request.content_type == APPLY
    return request.method in ("GET", "HEAD", "DELETE", "PUT")


def _bounded(request: web.Request, seconds: int) -> str:
    joint = "&" if request.query_string else "?"
    return f"{request.path_qs}{joint}timeout={seconds}s"


def _cut(request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.abort()
    return response
