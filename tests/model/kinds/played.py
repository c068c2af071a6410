"""The process of Helm, played: what it writes, in its order, through the real door; and what else is not real there."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http import HTTPStatus
from types import SimpleNamespace
from typing import Any, cast

from aiohttp import web
from multidict import MultiDict

from rollback_operator.api import REQUEST_ANNOTATION
from rollback_operator.kube.client import APPLY, JSON
from rollback_operator.targets.base import Where
from rollback_operator.targets.helm import door as doors
from rollback_operator.targets.helm import records
from rollback_operator.targets.helm.door import Door
from rollback_operator.targets.helm.effect import Finished
from tests.model.kinds.releases import DEPLOYED, FAILED, PENDING, SUPERSEDED, Rec, Release, secret
from tests.model.kinds.scene import Object
from tests.model.kinds.shell import LASTS, NAME, NAMESPACE, OK, WAITS, Asked, ScriptedApi


def at_once(api: ScriptedApi[Release]) -> SimpleNamespace:
    """`asyncio`, in which nobody sleeps for moments only, and no thread is needed."""

    async def sleep(seconds: float) -> None:
        until = api.now + timedelta(seconds=seconds)
        while seconds >= 1 and api.now < until:
            api.ask(Asked(WAITS, takes_time=True))

    async def to_thread(function: Callable[..., Any], *arguments: Any) -> Any:
        return function(*arguments)

    same = {name: getattr(asyncio, name) for name in ("Lock", "Event", "Semaphore", "gather")}
    return SimpleNamespace(**same, sleep=sleep, to_thread=to_thread)


@asynccontextmanager
async def opened(self: Door) -> AsyncIterator[Door]:
    """Nobody listens: Helm's calls are made as they would arrive."""
    yield self


@dataclass
class _Request:
    """What the door looks at of a request."""

    method: str
    path: str
    content_type: str
    headers: Object = field(default_factory=dict)
    query: MultiDict[str] = field(default_factory=MultiDict)
    query_string: str = ""

    @property
    def path_qs(self) -> str:
        return self.path


class _Stream:
    """A response that goes nowhere."""

    prepared = False

    def __init__(self) -> None:
        self.headers: Object = {}
        self.status = 200

    def set_status(self, status: int) -> None:
        self.status = status

    async def prepare(self, _: Any) -> None:
        self.prepared = True

    async def write(self, _: bytes) -> None:
        return

    async def write_eof(self) -> None:
        return


WEB = SimpleNamespace(StreamResponse=_Stream, Response=web.Response, json_response=web.json_response)


async def run(program: str, arguments: list[str], where: Where, door: Door, seconds: float) -> Finished:
    del program, where
    return await _Helm(door, int(arguments[2]), seconds).rollback()


@dataclass
class _Helm:
    """What `helm rollback` writes, in its order; `to` is the number that it goes back to."""

    door: Door
    to: int
    seconds: float

    @property
    def api(self) -> ScriptedApi[Release]:
        return self.door._api  # type: ignore[return-value]

    async def rollback(self) -> Finished:
        begun, view = self.api.now, self.api.view
        there = view.find(self.to)
        if there is None:
            return Finished(1, "release: not found")
        number = self.door._errand.number
        new = Rec(number, there.letter, PENDING)
        if await self._call("POST", "secrets", self._body(new)) != HTTPStatus.CREATED:
            return Finished(1, "the record could not be created")
        for step in (self._objects, self._supersede, self._complete):
            ended = await self._goes_on(begun)
            if ended is not None:
                return ended
            if not await step(new):
                await self._put(new._replace(status=FAILED))
                return Finished(1, "it failed")
        return Finished(0, "")

    async def _goes_on(self, begun: datetime) -> Finished | None:
        """Time may pass, with signs of life or without; the real `beat` and `run` end Helm as here."""
        while True:
            how = self.api.ask(Asked("Helm", takes_time=True))
            if how == OK:
                return None
            if how == LASTS:
                await self.door._say_alive()
            if self.door.outrun or self.door._lapsed():
                return Finished(-1, "Helm was ended: another operator may be at work on the release")
            if (self.api.now - begun).total_seconds() >= self.seconds:
                return Finished(-1, "Helm was ended: it took longer than it may", late=True)

    async def _objects(self, new: Rec) -> bool:
        body = {"number": new.number, "letter": new.letter}
        return await self._call("PATCH", "configmaps/settings", body, APPLY) < HTTPStatus.BAD_REQUEST

    async def _supersede(self, new: Rec) -> bool:
        del new
        for one in self.api.view.records:
            if one.status == DEPLOYED and not await self._put(one._replace(status=SUPERSEDED)):
                return False
        return True

    async def _complete(self, new: Rec) -> bool:
        return await self._put(new._replace(status=DEPLOYED))

    async def _put(self, it: Rec) -> bool:
        return (
            await self._call("PUT", f"secrets/{records.secret_name(NAME, it.number)}", self._body(it))
            < HTTPStatus.BAD_REQUEST
        )

    def _body(self, it: Rec) -> Object:
        """As Helm sends it: without any version, and with none of our annotations."""
        body: Object = json.loads(json.dumps(secret(it, self.api.view.installed, self.api.now)))
        for name in ("uid", "resourceVersion", "managedFields", "annotations"):
            body["metadata"].pop(name)
        if it.by:
            body["metadata"]["annotations"] = {REQUEST_ANNOTATION: it.by}
        return body

    async def _call(self, verb: str, path: str, body: Object, content_type: str = JSON) -> int:
        request = _Request(verb, f"/api/v1/namespaces/{NAMESPACE}/{path}", content_type)
        try:
            response = await self.door._admit(cast("web.Request", request), json.dumps(body).encode())
        except doors._Refusal as refusal:
            return int(refusal.status)
        return response.status
