"""The real shell of a group, replayed: a round of `RequestWorker` around the real `Groups` and the real decisions.

A round is a function of what it read and of how its writes were answered. It is run until it makes a write that has no
answer yet (`Asked`), or it is over (`Over`). What the requests of the group do is the model's own affair: `Kid`.
"""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from typing import Any, NamedTuple, cast
from unittest import mock

from rollback_operator.api.common import TargetRef
from rollback_operator.api.reasons import Reason
from rollback_operator.api.request import Phase
from rollback_operator.core.group.foresight import Outlook
from rollback_operator.core.group.values import child_name
from rollback_operator.core.values import Ending, Health, Refused, Request, Revision, Snapshot, Wellbeing
from rollback_operator.kube import errors
from rollback_operator.kube.client import Api
from rollback_operator.kube.resources import parse_request
from rollback_operator.requests import groups
from rollback_operator.requests.foresight import Foresee
from rollback_operator.requests.reporting import Reporter
from rollback_operator.requests.worker import RequestWorker
from rollback_operator.settings import Settings
from tests.model import statuses
from tests.model.replay import Replays

Object = dict[str, Any]
NAMESPACE, GROUP, UID = "shop", "all", "uid-of-all"
PUT, POST, PATCH = "status", "request", "abort"
OK, CONFLICT, EXISTS, NOT_FOUND, INVALID = "ok", "Conflict", "AlreadyExists", "NotFound", "Invalid"
LOST, NOT_DONE, REFUSED = "Unavailable", "NotDone", "Forbidden"
WAITS, VERIFYING, SUCCEEDED, FAILED, ABORTED = "", "Verifying", "Succeeded", "Failed", "Aborted"
ENDS = (SUCCEEDED, FAILED, ABORTED)
DEFECT = "defect"


class Kid(NamedTuple):
    """A request of the group (or of somebody else, under the same name)."""

    phase: str = WAITS
    abort: bool = False
    effect: bool = False
    ours: bool = True


class Heard(NamedTuple):
    """What a process remembers of a group, for each target: attempts that are over, whether its request was made or
    refused."""

    answered: tuple[int, ...]
    refused: tuple[bool, ...]
    made: tuple[bool, ...]


class Start(NamedTuple):
    """Everything that a round reads."""

    waves: tuple[int, ...]
    heard: Heard
    status: int
    abort: bool
    kids: tuple[Kid | None, ...]
    hindered: int | None = None
    """The place of a target that something else owns."""


class Answered(NamedTuple):
    """How a write was answered, so many ticks after the decision."""

    how: str
    late: int = 0


class Asked(NamedTuple):
    """The round makes a write and waits for the answer."""

    call: str
    what: int
    """The number of the status, or the place of the target."""


class Over(NamedTuple):
    """The round is over."""

    heard: Heard
    error: str | None = None


class _Unanswered(BaseException):
    def __init__(self, asked: Asked) -> None:
        self.asked = asked


def member(place: int) -> TargetRef:
    """The target at that place."""
    return TargetRef(kind="Deployment", name="abcdefgh"[place])


def group_body(waves: tuple[int, ...], status: int, *, abort: bool) -> Object:
    """The group's JSON."""
    seconds = round(statuses.TICK.total_seconds() * statuses.TIMEOUT)
    targets = [{"target": member(place).dump(), "wave": wave} for place, wave in enumerate(waves)]
    return {
        "metadata": _metadata(GROUP, UID),
        "spec": {"targets": targets, "reason": "5xx", "timeout": f"{seconds}s", "abort": abort},
        "status": statuses.body(status),
    }


def _metadata(name: str, uid: str) -> Object:
    return {
        "namespace": NAMESPACE,
        "name": name,
        "uid": uid,
        "generation": 1,
        "creationTimestamp": statuses.NOW.isoformat(),
        "resourceVersion": "1",
    }


def kid_body(name: str, place: int, it: Kid) -> Object:
    """A request's JSON."""
    metadata = _metadata(name, f"uid-of-{name}")
    if it.ours:
        owner = {"kind": "RollbackRequest", "name": GROUP, "uid": UID, "controller": True}
        metadata["ownerReferences"] = [owner]
    said = [("Ready", it.phase == SUCCEEDED)] + ([("Applied", it.effect)] if it.effect or it.phase in ENDS else [])
    conditions = [
        {
            "type": kind,
            "status": str(state),
            "reason": "Said",
            "message": "So.",
            "lastTransitionTime": statuses.NOW.isoformat(),
        }
        for kind, state in said
    ]
    status = {"phase": it.phase, "conditions": conditions, "from": "3", "to": "2"} if it.phase else {}
    spec = {"target": member(place).dump(), "reason": "5xx", "abort": it.abort}
    return {"metadata": metadata, "spec": spec, "status": status}


@dataclass
class ScriptedApi:
    """Takes the place of `kube.client.Api`: reads come from `start`, answers to writes from `answers`."""

    start: Start
    answers: tuple[Answered, ...]
    clock: int = 0
    given: int = 0
    names: dict[str, int] = field(default_factory=dict)

    async def get(self, path: str, **_: Any) -> Object:
        name = path.rpartition("/")[2]
        if name == GROUP:
            raise errors.NotFound(name)  # read again after a conflict: the next round begins with what is there
        kid = self.start.kids[self.names[name]] if name in self.names else None
        if kid is None:
            raise errors.NotFound(name)
        return kid_body(name, self.names[name], kid)

    async def create(self, _: str, body: Object, **__: Any) -> Object:
        assert body["metadata"]["ownerReferences"][0]["uid"] == UID
        return self._answer(Asked(POST, "abcdefgh".index(body["spec"]["target"]["name"])), body)

    async def replace(self, path: str, body: Object, **_: Any) -> Object:
        assert path.endswith("/status")
        assert body["metadata"]["resourceVersion"], "so the API server refuses it if the group was changed"
        self._answer(Asked(PUT, statuses.store(body["status"])), body)
        return {**group_body(self.start.waves, self.start.status, abort=self.start.abort), "status": body["status"]}

    async def patch(self, path: str, operations: list[Object], **_: Any) -> Object:
        assert [one["path"] for one in operations] == ["/metadata/uid", "/spec/abort"]
        return self._answer(Asked(PATCH, self.names[path.rpartition("/")[2]]), {})

    def _answer(self, asked: Asked, done: Object) -> Object:
        if self.given == len(self.answers):
            raise _Unanswered(asked)
        answer = self.answers[self.given]
        self.given += 1
        self.clock = answer.late
        if answer.how != OK:
            raise getattr(errors, answer.how)(f"{asked.call}: {answer.how}")
        return done


class _Clock:
    """The shell's clock is the model's."""

    def __init__(self, api: ScriptedApi) -> None:
        self._api = api

    def now(self, _: tzinfo) -> datetime:
        return statuses.NOW + self._api.clock * statuses.TICK


class _Reporter(Reporter):
    """The real one, which tells nobody."""

    def _tell(self, telling: Coroutine[Any, Any, None]) -> None:
        telling.close()


class Shell(Replays[Start, Answered, Asked | Over]):
    """Replays rounds of a group."""

    def __init__(self) -> None:
        super().__init__(_replay)


async def _replay(start: Start, answers: tuple[Answered, ...]) -> Asked | Over:
    api = ScriptedApi(start, answers)
    worker = RequestWorker(cast("Api", api), {}, Settings(), lambda _: None)
    worker._reporter = _Reporter(cast("Api", api))
    worker._groups._foresee = _foreseeing(start.hindered)
    body = group_body(start.waves, start.status, abort=start.abort)
    request = parse_request(body)
    api.names = {one.request: place for place, one in enumerate(request.status.targets) if one.request is not None} or {
        child_name(request, member(place)): place for place in range(len(start.waves))
    }
    refs = [child_name(request, member(place)) for place in range(len(start.waves))]
    heard = worker._groups._heard_of(request)
    heard.answered = {name: count for name, count in zip(refs, start.heard.answered, strict=True) if count}
    refused = Refused(Reason.REJECTED, "refused")
    heard.refused = {name: refused for name, it in zip(refs, start.heard.refused, strict=True) if it}
    heard.made = {name for name, it in zip(refs, start.heard.made, strict=True) if it}
    error = None
    try:
        with mock.patch.object(groups, "datetime", _Clock(api)):
            await worker._one_round_of_group(body, request)
    except _Unanswered as stop:
        return stop.asked
    except errors.KubeError as raised:
        error = type(raised).__name__
    except Exception as raised:  # noqa: BLE001 - a defect is a finding, with its story
        error = f"{DEFECT}: {type(raised).__name__}: {raised}"
    kept = worker._groups._heard_of(request)
    return Over(
        Heard(
            tuple(kept.answered.get(name, 0) for name in refs),
            tuple(name in kept.refused for name in refs),
            tuple(name in kept.made for name in refs),
        ),
        error,
    )


def _foreseeing(hindered: int | None) -> Foresee:
    """Every request would come to its effect, but for that of the target at that place."""
    owned = Ending(Phase.FAILED, Reason.OWNED_BY, "owned")

    async def foresee(_: Request, ref: TargetRef) -> Outlook:
        is_owned = hindered is not None and ref == member(hindered)
        return Outlook(ref, _found(ref), owned if is_owned else None)

    return foresee


def _found(ref: TargetRef) -> Snapshot:
    """Every target is there, and well."""
    now = Revision("3", 3, "v1:" + "c" * 64)
    return Snapshot(f"uid-of-{ref.name}", 3, now, (), settled=True, health=Health(Wellbeing.HEALTHY, "fine"))
