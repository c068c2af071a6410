"""The real shell, replayed: `PolicyWorker.work` around the real `judge`, `learned`, `changed`, `status_of`, `fold`.

A round is a function of what the process remembers, of what it read, and of how its writes were answered and what
could be read then. It is run until it makes a write that has no answer yet (`Asked`), or it is over (`Over`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any, NamedTuple, cast
from unittest import mock

from rollback_operator import watching
from rollback_operator.api import WITHDRAWN_ANNOTATION
from rollback_operator.api.policy import PolicyStatus
from rollback_operator.core.values import Other, Snapshot
from rollback_operator.core.verdicts import Rule, Sample, Verdict
from rollback_operator.kube import errors, resources
from rollback_operator.kube.client import Api
from rollback_operator.policies import asking, looking, making
from rollback_operator.policies import worker as working
from rollback_operator.policies.worker import PolicyWorker
from rollback_operator.settings import Settings
from rollback_operator.signals.base import Question, Signal
from rollback_operator.targets.base import Target as TargetModule
from rollback_operator.targets.base import Watched
from rollback_operator.watching import Asking, Standing, where_of
from tests.model.policies import values
from tests.model.policies.values import (
    NAME,
    NAMESPACE,
    POLICY_UID,
    TICK,
    TRIGGER,
    Current,
    Object,
    Policy,
    Req,
    Row,
    Status,
    Target,
    older_current,
    older_row,
    older_status,
)
from tests.model.replay import Replays

KEY = (NAMESPACE, NAME)
OK, UNKNOWN, CONFLICT, EXISTS, NOT_FOUND = "ok", "Unavailable", "Conflict", "AlreadyExists", "NotFound"
POST, PUT, PATCH, DELETE = "request", "status", "taking back", "removal"
VERDICTS = {"H": Verdict.HEALTHY, "B": Verdict.BREACH, "U": Verdict.UNKNOWN}
DEFECT = "defect"


class Memory(NamedTuple):
    """What a process remembers of the policy between two rounds."""

    status: Status
    mode: str
    generation: int
    row: Row | None
    excused: bool
    current: Current | None
    rebuilt: bool
    news_of_target: bool
    news_of_requests: bool
    asked: bool
    """In this tick."""
    looked: bool
    """In this tick."""


def later(it: Memory) -> Memory:
    """A memory a tick later."""
    return it._replace(
        status=older_status(it.status),
        row=older_row(it.row),
        current=older_current(it.current),
        asked=False,
        looked=False,
    )


class View(NamedTuple):
    """What can be read at a moment; `listed` may be older than what is read by name."""

    target: Target | None
    listed: tuple[Req, ...]
    there: tuple[Req, ...]
    policy: Policy


class Start(NamedTuple):
    """What a round begins with; without a memory the process has just started."""

    spec: str
    memory: Memory | None
    view: View
    truth: tuple[tuple[str, int], ...]
    """What the signal says: answers and how many ticks ago; the last is of now."""
    remembers: bool
    """The signal can be asked for the past."""
    broken: bool = False
    """What it reads fails."""
    behind: bool = False
    """The watch did not tell yet that people changed the policy."""


class Answered(NamedTuple):
    """How a write was answered, and what can be read from then on."""

    how: str
    view: View


class Asked(NamedTuple):
    """The round makes a write and waits for the answer."""

    call: str
    name: str = ""
    status: Status | None = None
    to: str | None = None
    graced: bool = False
    seen: str | None = None
    """The release that it is made for."""


class Over(NamedTuple):
    """The round is over."""

    memory: Memory | None
    error: str | None = None


class _Stop(BaseException):
    def __init__(self, asked: Asked) -> None:
        self.asked = asked


@dataclass
class ScriptedApi:
    """Takes the place of `kube.client.Api`: reads come from the view of the moment, answers to writes in turn."""

    start: Start
    answers: tuple[Answered, ...]
    given: int = 0

    @property
    def view(self) -> View:
        return self.answers[self.given - 1].view if self.given else self.start.view

    async def get(self, path: str, **_: Any) -> Object:
        name = path.rpartition("/")[2]
        if name == "rollbackrequests":
            return {"items": [values.request_body(one) for one in self.view.there], "metadata": {}}
        if "/rollbackpolicies/" in path:
            return values.policy_body(self.start.spec, self.view.policy)
        found = [one for one in self.view.there if one.name == name]
        if not found:
            raise errors.NotFound(name)
        return values.request_body(found[0])

    async def create(self, path: str, body: Object, **_: Any) -> Object:
        if path.endswith("/events"):
            return body
        spec = body["spec"]
        assert spec["policyRef"] == {"name": NAME, "uid": POLICY_UID}
        to = spec.get("to")
        return self._answer(
            Asked(
                POST,
                body["metadata"]["name"],
                to=to and values.letter_of(to),
                graced="grace" in spec,
                seen=values.letter_of(spec["from"]),
            ),
            body,
        )

    async def replace(self, path: str, body: Object, **_: Any) -> Object:
        assert path.endswith("/status")
        assert body["metadata"]["resourceVersion"], "so the API server refuses it if the policy was changed"
        status = values.status_of(PolicyStatus.model_validate(body["status"]))
        self._answer(Asked(PUT, status=status), body)
        return {**values.policy_body(self.start.spec, self.view.policy), "status": values.status_body(status)}

    async def patch(self, path: str, operations: list[Object], **_: Any) -> Object:
        paths = {one["path"]: one for one in operations}
        assert paths["/metadata/resourceVersion"]["op"] == "test"
        assert paths["/metadata/annotations"]["value"][WITHDRAWN_ANNOTATION] == "true"
        assert paths["/spec/abort"]["value"] is True
        return self._answer(Asked(PATCH, path.rpartition("/")[2]), {})

    async def delete(self, path: str, *, uid: str, **_: Any) -> Object:
        name = path.rpartition("/")[2]
        assert uid == values.request_body(next(one for one in self.view.there if one.name == name))["metadata"]["uid"]
        return self._answer(Asked(DELETE, name), {})

    def _answer(self, asked: Asked, done: Object) -> Object:
        if self.given == len(self.answers):
            raise _Stop(asked)
        answer = self.answers[self.given]
        self.given += 1
        if answer.how != OK:
            raise getattr(errors, answer.how)(f"{asked.call}: {answer.how}")
        return done


@dataclass
class _Target:
    """The target's module: reads from the view."""

    api: ScriptedApi
    watched = Watched("apps", "v1", "deployments")

    async def observe(self, *_: Any) -> Snapshot | None:
        if self.api.start.broken:
            raise errors.Unavailable("the target cannot be read")
        it = self.api.view.target
        return values.snapshot(it) if it is not None else None


@dataclass
class _Signal:
    """Says what is true."""

    truth: tuple[tuple[str, int], ...]
    remembers: bool
    source: str = "prometheus"

    async def sample(self, _: Question, now: float) -> Sample:
        return Sample(now, VERDICTS[self.truth[-1][0]], "1", "said")

    async def history(self, _: Question, start: float, end: float) -> Sequence[Sample]:
        if not self.remembers:
            return ()
        seen = [Sample(values.seconds(at), VERDICTS[verdict], "1", "said") for verdict, at in self.truth]
        return [one for one in seen if start <= one.at <= end and one.verdict is not Verdict.UNKNOWN]

    async def close(self) -> None:
        pass


class _Armed:
    """Nothing keeps the target from being rolled back: the requests' model is about that."""

    async def look(self, *_: Any) -> None:
        return None


class _Clock:
    """Stands still: ages are said relative to it."""

    def time(self) -> float:
        return values.NOW.timestamp()

    def monotonic(self) -> float:
        return 0.0


class _Calendar:
    def now(self, _: tzinfo) -> datetime:
        return values.NOW

    def __getattr__(self, name: str) -> Any:
        return getattr(datetime, name)


async def _requests_for(api: Any, *_: Any) -> tuple[Other, ...]:
    return tuple(values.other(one) for one in api.view.listed)


class Shell(Replays[Start, Answered, Asked | Over]):
    """Replays rounds of a policy."""

    def __init__(self) -> None:
        super().__init__(_replay)


async def _replay(start: Start, answers: tuple[Answered, ...]) -> Asked | Over:
    api = ScriptedApi(start, answers)
    modules = {"Deployment": cast("TargetModule", _Target(api))}
    signals = {"prometheus": cast("Signal", _Signal(start.truth, start.remembers))}
    worker = PolicyWorker(cast("Api", api), modules, signals, Settings(), lambda _: None)
    worker._looker._arming = cast("Any", _Armed())
    if start.memory is not None:
        worker.watching.put(_standing(start.spec, start.memory))
        if start.memory.generation != start.view.policy.generation and not start.behind:
            worker.saw(values.policy_body(start.spec, start.view.policy))
    try:
        await worker.work(KEY)
    except _Stop as stop:
        return stop.asked
    except errors.KubeError as raised:
        return Over(_memory(worker), type(raised).__name__)
    except Exception as raised:  # noqa: BLE001 - a defect is a finding, with its story
        return Over(_memory(worker), f"{DEFECT}: {type(raised).__name__}: {raised}")
    return Over(_memory(worker))


def _standing(spec: str, it: Memory) -> Standing:
    orders = values.policy_spec(spec, it.mode)
    now = values.NOW.timestamp()
    asking = tuple(
        Asking(
            Question(*KEY, orders.target, "rollback", one),
            Rule.of(one),
            now + TICK.total_seconds() if it.asked else now,
        )
        for one in orders.triggers
    )
    where = where_of(orders, NAMESPACE, "rollback")
    known = Standing(KEY, POLICY_UID, it.generation, orders, values.policy_status(it.status), asking, where)
    known.streaks = {TRIGGER: values.streak(it.row)} if it.row is not None else {}
    known.excused = frozenset({TRIGGER} if it.excused else ())
    known.current = values.current_revision(it.current)
    known.rebuilt = it.rebuilt
    known.target_changed, known.requests_changed = it.news_of_target, it.news_of_requests
    known.looked_at = 0.0 if it.looked else -looking.CROWD_PAUSE
    known.checked, known.armed_at = True, 0.0
    return known


def _memory(worker: PolicyWorker) -> Memory | None:
    it = worker.watching.get(KEY)
    if it is None:
        return None
    return Memory(
        values.status_of(it.status),
        it.spec.mode.value,
        it.generation,
        values.row_of(it.streaks[TRIGGER]) if TRIGGER in it.streaks else None,
        TRIGGER in it.excused,
        values.current_of(it.current),
        it.rebuilt,
        it.target_changed,
        it.requests_changed,
        it.asking[0].due > values.NOW.timestamp(),
        it.looked_at == 0.0,
    )


def patches() -> list[Any]:
    """What has to be in force while rounds are replayed: the model's clock, and requests as its views show them."""
    return [
        *(mock.patch.object(module, "time", _Clock()) for module in (asking, looking, working)),
        mock.patch.object(watching, "time", _Clock()),
        mock.patch.object(watching, "_SOON", 0.0),
        *(mock.patch.object(module, "datetime", _Calendar()) for module in (looking, making)),
        mock.patch.object(resources, "datetime", _Calendar()),
        mock.patch.object(resources, "requests_for", _requests_for),
    ]
