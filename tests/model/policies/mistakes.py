"""Mistakes that somebody could make in what policies do, each small, each put in by a test."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import datetime
from typing import Any

from rollback_operator.api.policy import LastRequest, PolicySpec
from rollback_operator.api.reasons import Reason
from rollback_operator.core import judge as judging
from rollback_operator.core.judge import Judgement, Scene
from rollback_operator.core.verdicts import Rule, Sample, Streak, Verdict, fold
from rollback_operator.policies import asking, looking, making
from tests.model.seeding import Mistake, put


def _seeing(**fields: Any) -> Mistake:
    """Judgements are made as if the scene showed `fields`."""

    def blind(orders: PolicySpec, scene: Scene, now: datetime) -> Judgement:
        return judging.judge(orders, replace(scene, **fields), now)

    return put(looking, "judge", blind)


def _named_after(*names: str) -> Mistake:
    """A request's name says less than it has to."""

    def name(scene: Scene, attempt: int) -> str:
        assert scene.current is not None
        parts = {"revision": scene.current.revision, "attempt": str(attempt), "release": scene.current.fingerprint}
        digest = hashlib.sha256("/".join(parts[one] for one in names).encode()).hexdigest()[:10]
        return f"{scene.name}-{digest}"

    return put(judging, "request_name", name)


def _named_at_random() -> Mistake:
    """Names that nobody can find again."""
    made: list[int] = []

    def name(scene: Scene, attempt: int) -> str:
        made.append(attempt)
        return f"{scene.name}-{len(made)}"

    return put(judging, "request_name", name)


def _at_once(self: Streak, rule: Rule) -> bool:  # noqa: ARG001 - the mistake
    return self.count > 0


def _unknown_counts(streak: Streak, sample: Sample, rule: Rule) -> Streak:
    return fold(streak, replace(sample, verdict=Verdict.BREACH) if sample.verdict is Verdict.UNKNOWN else sample, rule)


def _returns_are_releases(orders: PolicySpec, scene: Scene, now: datetime) -> Judgement:
    current = scene.current and scene.current.model_copy(update={"rollback": False})
    return judging.judge(orders, replace(scene, current=current), now)


def _never_taken_back(orders: PolicySpec, scene: Scene, now: datetime) -> Judgement:
    return replace(judging.judge(orders, scene, now), withdraw=None)


def _no_alert(orders: PolicySpec, scene: Scene, now: datetime) -> Judgement:
    return replace(judging.judge(orders, scene, now), alert=None)


def _learns_nothing(entries: Any, *_: Any, **__: Any) -> Any:
    return entries


async def _noted_before(_: Any, standing: Any, act: Any, found: Any, now: datetime) -> Any:
    """Notes the request, and makes it only at the next look."""
    if standing.status.last_request is not None and standing.status.last_request.name == act.name:
        return found
    return replace(found, last_request=LastRequest(name=act.name, at=now))


async def _made_whatever_is_there(self: Any, standing: Any, act: Any, found: Any, now: datetime) -> Any:
    """Does not read the orders anew before it acts."""
    await making.create(self._api, standing, act)
    return replace(found, last_request=LastRequest(name=act.name, at=now))


MISTAKES: dict[str, Mistake] = {
    "a request's name does not say which try it is": _named_after("release", "revision"),
    "a request's name does not say which revision it is for": _named_after("release", "attempt"),
    "a request's name cannot be found again": _named_at_random(),
    "the request is noted before it is made": put(looking.Looker, "_make", _noted_before),
    "orders are not read anew before a request is made": put(looking.Looker, "_make", _made_whatever_is_there),
    "what was made and is deleted is not remembered": _seeing(last_request=None),
    "the list of requests is not looked at": _seeing(requests=()),
    "the ledger is not consulted": _seeing(entries=()),
    "the ledger is not kept": put(looking, "learned", _learns_nothing),
    "the breaker does not count": put(judging, "_breaker", lambda *_: None),
    "a trigger fires at once": put(Streak, "fires", _at_once),
    "Unknown counts as Breach": put(asking, "fold", _unknown_counts),
    "a return counts as a release": put(looking, "judge", _returns_are_releases),
    "what waits for people is never taken back": put(looking, "judge", _never_taken_back),
    "an abort is no veto": put(judging, "_after", lambda made, *_: None if made else (Reason.FIRING, "")),
    "nobody is told": put(looking, "judge", _no_alert),
}
