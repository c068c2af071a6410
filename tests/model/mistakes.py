"""Mistakes that somebody could make in the code, each small, each put in by a test."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from rollback_operator.api import REQUEST_ANNOTATION
from rollback_operator.api.reasons import Reason
from rollback_operator.api.request import RequestStatus
from rollback_operator.core import conditions as on
from rollback_operator.core import life, progress
from rollback_operator.core.life import pending, running
from rollback_operator.core.values import Decision, Observation, Request, current_target
from rollback_operator.kube import resources
from rollback_operator.requests import acting, worker
from rollback_operator.requests.acting import Actor
from rollback_operator.requests.heard import Heard
from rollback_operator.requests.worker import RequestWorker
from rollback_operator.targets import deployment, statefulset
from rollback_operator.targets.metadata import REVISION
from tests.model.seeding import Mistake, put


def _seeing(**fields: Any) -> Mistake:
    """Decisions are made as if the target showed `fields`."""

    def blind(request: Request, seen: Observation, now: datetime) -> Decision:
        target = seen.target and replace(seen.target, **fields)
        return life.advance(request, replace(seen, target=target), now)

    return put(worker, "advance", blind)


def _without_test(*paths: str) -> Mistake:
    """The effect's patch lacks its tests of these paths."""
    real = deployment.effect

    def careless(*arguments: Any) -> list[dict[str, Any]]:
        return [one for one in real(*arguments) if not (one["op"] == "test" and one["path"].endswith(paths))]

    return put(deployment, "effect", careless)


async def _act_and_then_report(self: RequestWorker, body: Any, request: Request) -> tuple[Any, float | None]:
    ref = current_target(request, None)
    observation = await self._reader.gather(request, ref, None, self._heard_of(request))
    decision = await self._decide(request, observation, ref, None)
    if decision.action is not None and ref is not None:
        await self._act(replace(request, status=decision.status), ref, observation.target, decision.action)
    body = await self._report(body, request, decision)
    return body, decision.again.total_seconds() if decision.again is not None else None


async def _unguarded(api: Any, plural: str, body: Any, status: RequestStatus) -> Any:
    path = resources.path(plural, *resources.key_of(body)) + "/status"
    return await api.replace(path, {"metadata": {"name": "undo"}, "status": status.dump()})


def _note_every_answer(heard: Any, request: Request) -> None:
    heard.answered = request.status.targets[0].steps[0].attempts


def _not_counted(request: Request, now: datetime) -> RequestStatus:  # noqa: ARG001 - the mistake
    return request.status


def _noted_each_time(request: Request, now: datetime, reason: Reason, message: str) -> RequestStatus:
    ready = on.find(request.status.conditions, on.READY)
    other = message.upper() if ready is not None and ready.message == message else message
    return progress._held_up(request, now, reason, other)


def _deaf(request: Request, seen: Observation, now: datetime) -> Decision:
    """The abort of a request is not heard."""
    return life.advance(replace(request, spec=request.spec.model_copy(update={"abort": False})), seen, now)


def _at_this_moment(request: Request, seen: Observation, now: datetime) -> Decision:
    """Takes what was seen for what is now."""
    return life.advance(request, replace(seen, since=None), now)


async def unasked(*_: Any) -> bool:
    """A copy counts as made without a look at the answer."""
    return True


MISTAKES: dict[str, Mistake] = {
    "it does not wait for an effect without an answer to settle": put(running, "SETTLE", timedelta()),
    "it waits for ever for an effect to settle": put(running, "SETTLE", timedelta(days=1)),
    "the effect is made before the status is written": put(RequestWorker, "_one_round", _act_and_then_report),
    "a status is written without the version that it replaces": put(resources, "write_status", _unguarded),
    "a further attempt is not written down": put(progress, "attempted", _not_counted),
    "one answer counts for all attempts": put(Heard, "note_answered", _note_every_answer),
    "an attempt is sent however long ago it was written down": put(acting, "too_late_to_send", lambda *_: False),
    "a copy counts as made before it is": put(Actor, "keep", unasked),
    "marks are not looked at": _seeing(marks=frozenset()),
    "fields are not given back": _seeing(unfinished=False),
    "the effect does not test the revision": _without_test(REVISION.rpartition("/")[2]),
    "the effect does not test the template": _without_test("/spec/template"),
    "the effect does not test that nobody paused the target": _without_test("/spec/paused"),
    "the effect does not test who came before": _without_test(REQUEST_ANNOTATION.replace("/", "~1")),
    "the effect does not test which target it is": _without_test("/metadata/uid", REVISION.rpartition("/")[2]),
    "an abort is not heard": put(worker, "advance", _deaf),
    "a slow reading counts as new": put(worker, "advance", _at_this_moment),
    "nobody waits for a turn": put(pending, "ahead", lambda *_: None),
    "a rollback meanwhile is not looked for": put(pending, "meanwhile", lambda *_: None),
    "a pod that the controller itself made counts as in the way": put(statefulset, "_in_vain", lambda *_: True),
    "failing pods are noted again and again": put(progress, "holding", _noted_each_time),
}
