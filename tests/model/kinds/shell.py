"""The real shell around a kind of target, replayed: `RequestWorker.work` with the real `advance` and the real target.

A round is a function of what could be read when it began, and of how its writes were answered and what could be read
from then on. It is run until it makes a write that has no answer yet (`Asked`), or it is over (`Over`).
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Coroutine, Hashable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from typing import Any, Generic, NamedTuple, NoReturn, TypeVar, cast

from rollback_operator.core.values import Answer
from rollback_operator.kube import errors
from rollback_operator.kube.client import Api
from rollback_operator.requests import heard as knowing
from rollback_operator.requests.reporting import Reporter
from rollback_operator.requests.worker import RequestWorker
from rollback_operator.settings import Settings
from rollback_operator.targets import by_kind
from tests.model import statuses
from tests.model.kinds.scene import Object, Scene
from tests.model.replay import Replays, by_the_clock

NAMESPACE, NAME, UID = "shop", "shop", "11111111-1111-4111-8111-111111111111"
OK, UNKNOWN = "ok", "Unavailable"
PUT = "status"
ERRORS: dict[str, type[errors.KubeError]] = {
    kind.__name__: kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, errors.KubeError)
}
STATUSES = {"AlreadyExists": 409, "Conflict": 409, "Forbidden": 403, "Invalid": 422, "NotFound": 404, "NotDone": 429}
"""What whoever passes calls on sees of an error."""
DEFECT = "defect"

World = TypeVar("World", bound=Hashable)


class Heard(NamedTuple):
    """What a process remembers of a request."""

    answer: Answer | None = None
    answered: int = 0
    kept: int = 0
    stopped: int = 0
    put_back: tuple[str, ...] = ()
    suspends: int = 0


NOTHING = Heard()


class Body(NamedTuple):
    """A version of the request."""

    status: int = statuses.EMPTY
    abort: bool = False
    created: int = 0


class Start(NamedTuple, Generic[World]):
    """What a round begins with; `begun`: its reading began so many ticks ago."""

    heard: Heard
    body: Body
    view: World
    begun: int = 0


class Answered(NamedTuple, Generic[World]):
    """How a write was answered, so many ticks after the decision, and what can be read from then on."""

    how: str
    late: int
    view: World


class Asked(NamedTuple):
    """The round makes a write (or something goes on for a while) and waits for the answer."""

    call: str
    payload: Hashable = None
    takes_time: bool = False
    """It is not over within a tick of itself: `LASTS` and `STALLS` are answers to it."""


WAITS = "nothing but time"
"""What is waited for where only time can pass."""
LASTS, STALLS = "lasts", "stalls"
"""A tick passes in what takes time: with all that goes on meanwhile, or with the whole process standing still."""


class Over(NamedTuple):
    """The round is over."""

    heard: Heard
    error: str | None = None
    spins: bool = False
    """It would look again at once, although nothing was done."""
    forgets: bool = False
    """It says no time to look again, although the request has not ended."""


class _Stop(BaseException):
    """Leaves the real shell, through whatever it handles."""


class _Unanswered(_Stop):
    def __init__(self, asked: Asked) -> None:
        self.asked = asked


class _NextRound(_Stop):
    pass


@dataclass
class _Response:
    """What `Api.forward` gives."""

    status: int
    body: bytes

    headers: Object = field(default_factory=dict)

    async def read(self) -> bytes:
        return self.body

    @property
    def content(self) -> _Response:
        return self

    async def iter_any(self) -> AsyncIterator[bytes]:
        yield self.body


class ScriptedApi(Generic[World]):
    """Takes the place of `kube.client.Api`: reads come from `view`, answers to writes from `answers`."""

    def __init__(self, scene: Scene[World], start: Start[World], answers: tuple[Answered[World], ...]) -> None:
        self._scene = scene
        self._start = start
        self._answers = answers
        self._given = 0
        self._stopped: _Stop | None = None
        self.view = start.view
        self.clock = -start.begun

    @property
    def now(self) -> datetime:
        """The model's clock."""
        return statuses.NOW + self.clock * statuses.TICK

    async def get(self, path: str, *, query: Object | None = None, **_: Any) -> Object:
        if path.endswith("/rollbackrequests"):
            mine, selector = request_body(self._scene, self._start.body), (query or {}).get("fieldSelector", "")
            fits = "target" in mine["status"] or not selector.startswith("status.target=")
            return {"items": [mine] if fits else [], "metadata": {}}
        if path.endswith("/rollbackpolicies"):
            return {"items": [], "metadata": {}}
        if "/rollbackrequests/" in path:
            raise _NextRound
        return self._scene.get(self, path, query or {})

    async def metadata(self, path: str, **_: Any) -> Object:
        found: Object = (await self.get(path))["metadata"]
        return found

    async def create(self, path: str, body: Object, *, dry_run: bool = False, **_: Any) -> Object:
        """Events, on which nothing depends, and questions what the account may do (it may), are no writes."""
        if path.endswith(("/events", "/selfsubjectaccessreviews")):
            return {**body, "status": {"allowed": True}}
        return body if dry_run else self._written("POST", path, body)

    async def patch(self, path: str, operations: list[Object], *, dry_run: bool = False, **_: Any) -> Object:
        return {} if dry_run else self._written("PATCH", path, operations)

    async def replace(self, path: str, body: Object, *, dry_run: bool = False, **_: Any) -> Object:
        if dry_run:
            return body
        if path.endswith("/status"):
            assert body["metadata"]["resourceVersion"], "so the API server refuses it if the request was changed"
            self.ask(Asked(PUT, statuses.store(body["status"])))
            return {**request_body(self._scene, self._start.body), "status": body["status"]}
        return self._written("PUT", path, body)

    @asynccontextmanager
    async def forward(self, verb: str, path: str, headers: Object, body: bytes, **_: Any) -> AsyncIterator[_Response]:
        del headers
        try:
            answer, status = self._written(verb, path.partition("?")[0], json.loads(body)), 200 + (verb == "POST")
        except errors.KubeError as error:
            if type(error) is errors.Unavailable:
                raise
            answer, status = {"message": str(error)}, STATUSES[type(error).__name__]
        yield _Response(status, json.dumps(answer).encode())

    def _written(self, verb: str, path: str, body: Any) -> Object:
        payload = self._scene.payload(self, verb, path, body)
        self.ask(Asked(f"{verb} {path.rpartition('/')[2]}", payload))
        return self._scene.answer(self, verb, path, body)

    def ask(self, asked: Asked) -> str:
        """Wait for an answer.

        Raises:
            kube.errors.KubeError: a bad one.
        """
        if self._stopped is not None:
            raise self._stopped
        if self._given == len(self._answers):
            self._stop(_Unanswered(asked))
        answer = self._answers[self._given]
        self._given += 1
        self.clock, self.view = answer.late, answer.view
        if answer.how in ERRORS:
            raise ERRORS[answer.how](f"{asked.call}: {answer.how}")
        return answer.how

    def _stop(self, stop: _Stop) -> NoReturn:
        self._stopped = stop
        raise stop

    @property
    def at_rest(self) -> bool:
        """Whether nothing was done yet."""
        return not self._given


def request_body(scene: Scene[Any], it: Body) -> Object:
    """The request's JSON."""
    seconds = round(statuses.TICK.total_seconds() * statuses.TIMEOUT)
    target = {"kind": scene.kind, "name": NAME}
    spec = {"target": target, "reason": "5xx", "timeout": f"{seconds}s", "abort": it.abort, "backup": "Never"}
    return {
        "metadata": {
            "namespace": NAMESPACE,
            "name": UID,
            "uid": UID,
            "generation": 1 + it.abort,
            "creationTimestamp": statuses.ago(it.created).isoformat(),
            "resourceVersion": "1",
        },
        "spec": {**spec, **scene.spec},
        "status": statuses.body(it.status),
    }


class Clock:
    """The model's clock, in the place of `datetime` or `time`."""

    def __init__(self, api: ScriptedApi[Any]) -> None:
        self._api = api

    def now(self, _: tzinfo | None = None) -> datetime:
        return self._api.now

    def monotonic(self) -> float:
        return (self._api.now - statuses.NOW + timedelta(days=1)).total_seconds()

    def time(self) -> float:
        return self._api.now.timestamp()

    fromisoformat = staticmethod(datetime.fromisoformat)


class Shell(Replays[Start[World], Answered[World], Asked | Over]):
    """Replays rounds about one kind of target."""

    def __init__(self, scene: Scene[World]) -> None:
        self.scene = scene
        super().__init__(self._replay)

    async def _replay(self, start: Start[World], answers: tuple[Answered[World], ...]) -> Asked | Over:
        api = ScriptedApi(self.scene, start, answers)
        as_api = cast("Api", api)
        worker = _Worker(as_api, by_kind(as_api), Settings(), lambda _: None)
        worker._reporter = _Reporter(as_api)
        worker._heard[UID] = knowing.Heard(*start.heard)
        worker.saw(request_body(self.scene, start.body))
        error, spins, forgets = None, False, False
        try:
            with ExitStack() as stack:
                stack.enter_context(by_the_clock(Clock(api)))
                self.scene.patch(stack, api)
                forgets = await worker.work((NAMESPACE, UID)) is None and not worker.over
        except _Unanswered as stop:
            return stop.asked
        except _NextRound:
            spins = api.at_rest
        except errors.KubeError as raised:
            error = type(raised).__name__
        except Exception as raised:  # noqa: BLE001 - a defect is a finding, with its story
            error = f"{DEFECT}: {type(raised).__name__}: {raised}"
        kept = worker._heard.get(UID)
        heard = Heard(*(getattr(kept, name) for name in Heard._fields)) if kept else NOTHING
        return Over(heard, error, spins, forgets)


class _Worker(RequestWorker):
    """The real one, for one round."""

    looked = False
    over = False

    def _ended(self, *arguments: Any) -> None:
        self.over = True
        super()._ended(*arguments)

    async def _one_round(self, *arguments: Any) -> tuple[dict[str, Any] | None, float | None]:
        if self.looked:
            raise _NextRound
        self.looked = True
        return await super()._one_round(*arguments)


class _Reporter(Reporter):
    """The real one, which tells nobody."""

    def _tell(self, telling: Coroutine[Any, Any, None]) -> None:
        telling.close()
