"""The real shell, replayed: `RequestWorker.work` around the real `advance` and the real targets.

A round of the worker is a function of what it read and of how its writes were answered. `Shell.run` gives it both,
until it makes a write that has no answer yet (`Asked`) or its round is over (`Over`). The walk stops there, lets the
world go on, and later runs the same round again with one answer more: so a coroutine, which cannot be copied, is walked
like a value.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any, NamedTuple, cast

from rollback_operator.api import REQUEST_ANNOTATION
from rollback_operator.core.values import Answer, Decision, Request
from rollback_operator.kube import errors
from rollback_operator.kube.client import FIELD_MANAGER, Api
from rollback_operator.requests import heard as knowing
from rollback_operator.requests.worker import RequestWorker
from rollback_operator.settings import Settings
from rollback_operator.targets import by_kind
from tests.model import statuses
from tests.model.cluster import NAME, NAMESPACE, Deployment, document, patched, pods, records
from tests.model.replay import Replays, by_the_clock

OK = "ok"
PUT, APPLY, GIVE_BACK, KEEP, FREE = "status", "effect", "giving back", "keeping a copy", "deleting a pod"
ERRORS: dict[str, type[errors.KubeError]] = {
    kind.__name__: kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, errors.KubeError)
}


class Heard(NamedTuple):
    """What a process remembers of a request."""

    answer: Answer | None = None
    answered: int = 0


NOTHING = Heard()


class Body(NamedTuple):
    """A version of a request; `who` counts them."""

    who: int
    status: int
    abort: bool
    created: int
    kind: str = "Deployment"
    """Of its target."""

    @property
    def uid(self) -> str:
        return f"request-{self.who + 1}"


class Start(NamedTuple):
    """Everything that a round reads: its own request, the target, then the target's ReplicaSets, all requests."""

    heard: Heard
    body: Body
    target: Deployment | None
    history: Deployment | None
    listed: tuple[Body, ...]
    spec: tuple[tuple[str, Any], ...] = ()
    begun: int = 0
    """Ticks ago: the reading is slow."""
    broken: tuple[str, str] | None = None
    """A read that fails, and how."""
    copied: bool = False
    """The copy of what its rollback replaces is there."""


class Answered(NamedTuple):
    """How a write was answered, so many ticks after the decision."""

    how: str
    late: int = 0


class Asked(NamedTuple):
    """The round makes a write and waits for the answer."""

    call: str
    payload: str | int
    """The number of the status, the JSON patch, or the uid of the pod."""
    claimed: bool
    """It holds the target meanwhile: no other request of this process is looked at."""


class Over(NamedTuple):
    """The round is over."""

    heard: Heard
    again: float | None = None
    error: str | None = None
    spins: bool = False
    """It would look again at once, although nothing was done."""


DEFECT = "defect"


class _Stop(BaseException):
    """Leaves the real shell, through whatever it handles."""


class _Unanswered(_Stop):
    def __init__(self, call: str, payload: str | int) -> None:
        self.call, self.payload, self.claimed = call, payload, False


class _NextRound(_Stop):
    pass


@dataclass
class ScriptedApi:
    """Takes the place of `kube.client.Api`: reads come from `start`, answers to writes from `answers`.

    As whom a call is made makes no difference here.
    """

    start: Start
    answers: tuple[Answered, ...]
    clock: int = 0
    looked: bool = False
    given: int = 0

    async def get(self, path: str, *, query: dict[str, Any] | None = None, **_: Any) -> dict[str, Any]:
        name = path.rpartition("/")[2]
        if "/secrets/" in path:
            return self._copy(name)
        if name in (NAME, self.start.body.uid):
            return self._deployment(name)
        self._break(name)
        items: dict[str, tuple[dict[str, Any], ...]] = {
            "replicasets": records(self.start.history) if self.start.history else (),
            "controllerrevisions": records(self.start.history) if self.start.history else (),
            "pods": _selected(pods(self.start.target), (query or {}).get("labelSelector", "")),
            "rollbackrequests": self._listed((query or {}).get("fieldSelector", "")),
            "rollbackpolicies": (),
        }
        return {"items": list(items[name]), "metadata": {}}

    def _listed(self, selector: str) -> tuple[dict[str, Any], ...]:
        """All of them are about the target; that stands in the status of those that were taken up."""
        bodies = tuple(request_body(one, self.start.spec) for one in self.start.listed)
        return tuple(one for one in bodies if "target" in one["status"] or not selector.startswith("status.target="))

    def _deployment(self, name: str) -> dict[str, Any]:
        if self.looked:
            raise _NextRound
        self.looked, self.clock = True, 0
        self._break("deployment")
        if self.start.target is None:
            raise errors.NotFound(name)
        return document(self.start.target)

    def _copy(self, name: str) -> dict[str, Any]:
        if not self.start.copied:
            raise errors.NotFound(name)
        return {"metadata": {"name": name, "labels": {REQUEST_ANNOTATION: self.start.body.uid}}}

    async def create(self, path: str, body: dict[str, Any], **_: Any) -> dict[str, Any]:
        """A copy, Events, on which nothing depends, and questions what the account may do: it may."""
        if path.endswith("/secrets"):
            self._answer(KEEP, body["metadata"]["name"])
            return body
        assert path.endswith(("/events", "/selfsubjectaccessreviews"))
        return {**body, "status": {"allowed": True}}

    async def replace(self, path: str, body: dict[str, Any], **_: Any) -> dict[str, Any]:
        assert path.endswith("/status")
        assert body["metadata"]["resourceVersion"], "so the API server refuses it if the request was changed"
        self._answer(PUT, statuses.store(body["status"]))
        return {**request_body(self.start.body, self.start.spec), "status": body["status"]}

    async def patch(
        self, path: str, operations: list[Any], *, field_manager: str = FIELD_MANAGER, dry_run: bool = False, **_: Any
    ) -> dict[str, Any]:
        assert path.endswith(NAME)
        if dry_run:
            self._break("rehearsal")
            if self.start.target is None or patched(self.start.target, operations) is None:
                raise errors.Conflict("rehearsed on another target")
            return {}
        self._answer(APPLY if field_manager == FIELD_MANAGER else GIVE_BACK, json.dumps(operations, sort_keys=True))
        return {}

    async def delete(self, path: str, *, uid: str, version: str | None = None, **_: Any) -> dict[str, Any]:
        assert "/pods/" in path
        assert version, "so the API server refuses it if the pod got ready meanwhile"
        self._answer(FREE, uid)
        return {}

    def _break(self, call: str) -> None:
        if self.start.broken and self.start.broken[0] == call:
            raise ERRORS[self.start.broken[1]](f"{call}: rollback cannot get it: {self.start.broken[1]}")

    def _answer(self, call: str, payload: str | int) -> None:
        if self.given == len(self.answers):
            raise _Unanswered(call, payload)
        answer = self.answers[self.given]
        self.given += 1
        self.clock = answer.late
        if answer.how != OK:
            raise ERRORS[answer.how](f"{call}: rollback cannot patch it: {answer.how}")


def _selected(things: tuple[dict[str, Any], ...], selector: str) -> tuple[dict[str, Any], ...]:
    """Those of a ControllerRevision, if it names one."""
    _, _, revision = selector.partition("controller-revision-hash=")
    return tuple(one for one in things if revision in ("", one["metadata"]["labels"]["controller-revision-hash"]))


def request_body(it: Body, spec: tuple[tuple[str, Any], ...]) -> dict[str, Any]:
    """A request's JSON."""
    seconds = statuses.TICK.total_seconds()
    target = {"kind": it.kind, "name": NAME}
    asked = {"target": target, "reason": "5xx", "timeout": f"{round(seconds * statuses.TIMEOUT)}s", "abort": it.abort}
    asked["backup"] = "Never"  # a write more in every walk; some of them make it
    return {
        "metadata": {
            "namespace": NAMESPACE,
            "name": it.uid,
            "uid": it.uid,
            "generation": 1 + it.abort,
            "creationTimestamp": statuses.ago(it.created).isoformat(),
            "resourceVersion": "1",
        },
        "spec": {**asked, **dict(spec)},
        "status": statuses.body(it.status),
    }


class Shell(Replays[Start, Answered, Asked | Over]):
    """Replays rounds of a request."""

    def __init__(self) -> None:
        super().__init__(_replay)


async def _replay(start: Start, answers: tuple[Answered, ...]) -> Asked | Over:
    api = ScriptedApi(start, answers, clock=-start.begun)
    as_api = cast("Api", api)
    worker = _Worker(as_api, by_kind(as_api), Settings(), lambda _: None)
    worker._heard[start.body.uid] = knowing.Heard(*start.heard)
    worker.saw(request_body(start.body, start.spec))
    again, error, spins = None, None, False
    try:
        with by_the_clock(_Clock(api)):
            again = await worker.work((NAMESPACE, start.body.uid))
    except _Unanswered as asked:
        return Asked(asked.call, asked.payload, asked.claimed)
    except _NextRound:
        spins = not answers
    except errors.KubeError as raised:
        error = type(raised).__name__
    except Exception as raised:  # noqa: BLE001 - a defect is a finding, with its story
        error = f"{DEFECT}: {type(raised).__name__}: {raised}"
    finally:
        await asyncio.sleep(0)
        await worker.told()
    kept = worker._heard.get(start.body.uid)
    return Over(Heard(kept.answer, kept.answered) if kept else NOTHING, again, error, spins)


class _Worker(RequestWorker):
    """The real one, which tells whether it keeps the target to itself while it makes a write."""

    async def _report(self, body: dict[str, Any], request: Request, decision: Decision) -> dict[str, Any]:
        try:
            return await super()._report(body, request, decision)
        except _Unanswered as asked:
            asked.claimed = any(lock.locked() for lock in self._claims.values())
            raise


@dataclass
class _Clock:
    """The shell's clock is the model's."""

    api: ScriptedApi

    def now(self, _: tzinfo) -> datetime:
        return statuses.NOW + self.api.clock * statuses.TICK
