"""What the operator remembers of each policy between two evaluations. All of it can be lost: it is asked anew."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from rollback_operator.api.common import Place
from rollback_operator.api.fields import parse_duration
from rollback_operator.api.options import Options
from rollback_operator.api.policy import CurrentRevision, Mode, PolicySpec, PolicyStatus
from rollback_operator.api.remember import Remembered
from rollback_operator.api.trigger import Action
from rollback_operator.core.verdicts import Rule, Streak, Verdict
from rollback_operator.kube.identity import ServiceAccount
from rollback_operator.kube.resources import Key, parse_status
from rollback_operator.signals.base import Question
from rollback_operator.targets.base import Where

log = logging.getLogger(__name__)

Object = dict[str, Any]

_NOT_SEEN = object()
"""The version of a target that no event told of yet: neither a version nor that it is gone."""


@dataclass(slots=True)
class Asking:
    """One trigger: what is asked, what it takes to fire, when it is due (seconds since the epoch)."""

    question: Question
    rule: Rule
    due: float = 0.0


@dataclass(slots=True)
class Standing:
    """One policy."""

    key: Key
    uid: str
    generation: int
    spec: PolicySpec
    status: PolicyStatus
    asking: tuple[Asking, ...]
    where: Where
    """The target, as requests of the policy will find it."""
    streaks: dict[str, Streak] = field(default_factory=dict)
    excused: frozenset[str] = frozenset()
    current: CurrentRevision | None = None
    """What the streaks are about; newer than the status' until that is written."""
    rebuilt: bool = False
    """The past was asked."""
    target_changed: bool = True
    target_version: Hashable = _NOT_SEEN
    requests_changed: bool = True
    looked_at: float = -math.inf
    """When it was last looked at as a whole (monotonic seconds)."""
    unproved: bool = False
    """Whether its triggers were Healthy for long enough then, and its target was not rolled out."""
    crowded: bool = False
    """Whether too many policies were in Breach then."""
    checked: bool = False
    """Whether its triggers can be asked as they are written is known."""
    armed_at: float = -math.inf
    """When it was last checked whether the target could be rolled back (monotonic seconds)."""
    armed_without: frozenset[str] = frozenset()
    """Fingerprints that requests had rolled back from then."""
    armed_is_seen: bool = False
    """Whether that could be checked since the operator started, with these orders."""
    disarmed: tuple[Any, str] | None = None
    remembered: tuple[Remembered, ...] | None = None
    """Configuration beside revisions; newer than the status' until that is written. None: nobody looked yet."""
    remembered_at: float = -math.inf
    """When that was last looked at (monotonic seconds)."""
    arriving: datetime | None = None
    """Until then its release may be on its way, as nothing but its configuration has changed yet."""
    unremembered: tuple[Any, str] | None = None
    """Why configuration cannot be remembered."""
    invalid: str | None = None
    """Why a trigger cannot be asked as it is written."""
    empowered: bool = False
    """Whether its account was seen to have the rights to roll the target back."""
    empowered_at: float = -math.inf
    """When that was asked (monotonic seconds); only if a policy of another namespace has the target, too."""

    @property
    def place(self) -> Place:
        """The policy's target."""
        return self.spec.target.place(self.key[0])

    @property
    def evaluated(self) -> bool:
        """Whether anything is asked."""
        return bool(self.asking) and self.spec.mode is not Mode.SUSPEND

    def next_due(self) -> float:
        """When the next trigger is due."""
        return min(one.due for one in self.asking)

    def breaching(self) -> bool:
        """Whether something that would roll back is bad now, however long."""
        acting = (one for one in self.asking if one.question.trigger.action is not Action.ALERT)
        seen = (self.streaks.get(one.question.trigger.name) for one in acting)
        return any(streak is not None and streak.verdict is Verdict.BREACH for streak in seen)


def standing_of(body: Object, before: Standing | None, service_account: str) -> Standing:
    """What a version of a policy amounts to; triggers that did not change keep what they said.

    Raises:
        pydantic.ValidationError: its spec is not what the schema promises (written before an upgrade, say).
    """
    metadata = body["metadata"]
    key = (metadata["namespace"], metadata["name"])
    spec, status = PolicySpec.model_validate(body["spec"]), parse_status(body)
    where = where_of(spec, key[0], service_account)
    asking = tuple(
        Asking(Question(key[0], key[1], spec.target, where.account.name, one, spec.prometheus), Rule.of(one))
        for one in spec.triggers
    )
    standing = Standing(
        key, metadata["uid"], metadata["generation"], spec, status, asking, where, current=status.current
    )
    standing.excused = frozenset(one.name for one in status.triggers if one.excused)
    if before is not None and before.uid == standing.uid and before.spec.target == spec.target:
        _inherit(standing, before)
    _spread(standing)
    return standing


def version_of(body: Object) -> tuple[str, int]:
    """Which orders these are."""
    return body["metadata"]["uid"], body["metadata"]["generation"]


def where_of(spec: PolicySpec, namespace: str, service_account: str) -> Where:
    """Where the target of a policy is, and with whose rights it is read and rolled back."""
    account = ServiceAccount(namespace, spec.service_account_name or service_account)
    return Where(spec.target.namespace or namespace, spec.target.name, account, spec.options or Options())


def _inherit(standing: Standing, before: Standing) -> None:
    """A trigger that is asked the same as before goes on from where it was."""
    known = {one.question: one for one in before.asking}
    for one in standing.asking:
        old, name = known.get(one.question), one.question.trigger.name
        if old is not None:
            one.due = old.due
            if name in before.streaks:
                standing.streaks[name] = before.streaks[name]
    names = {one.question.trigger.name for one in standing.asking}
    standing.excused = before.excused & names
    standing.current = before.current
    standing.rebuilt = before.rebuilt and set(standing.streaks) == names
    if before.where == standing.where:
        standing.empowered, standing.empowered_at = before.empowered, before.empowered_at


def _spread(standing: Standing) -> None:
    """New triggers begin somewhere within their interval, so that not all policies are due at once."""
    now = time.time()
    for number, one in enumerate(standing.asking):
        if not one.due:
            one.due = now + (hash((standing.uid, number)) % 1000) / 1000 * min(one.rule.interval, _SOON)


_SOON = 30.0
"""Seconds within which a policy is first evaluated."""


class Watching:
    """All policies, and which stand for the same target."""

    def __init__(self) -> None:
        self._known: dict[Key, Standing] = {}
        self._by_place: dict[Place, set[Key]] = {}
        self._evaluated: set[Key] = set()
        self.breaching: set[Key] = set()

    def get(self, key: Key) -> Standing | None:
        """The policy, if it is known."""
        return self._known.get(key)

    def is_known(self, standing: Standing) -> bool:
        """Whether the policy is still there, with these orders."""
        return self._known.get(standing.key) is standing

    def put(self, standing: Standing) -> None:
        """A policy is there, or has changed."""
        self.drop(standing.key)
        self._known[standing.key] = standing
        self._by_place.setdefault(standing.place, set()).add(standing.key)
        if standing.evaluated:
            self._evaluated.add(standing.key)

    def drop(self, key: Key) -> None:
        """A policy is gone."""
        standing = self._known.pop(key, None)
        self.breaching.discard(key)
        self._evaluated.discard(key)
        if standing is None:
            return
        keys = self._by_place[standing.place]
        keys.discard(key)
        if not keys:
            del self._by_place[standing.place]

    def of(self, place: Place) -> frozenset[Key]:
        """The policies of a target: more than one is a mistake."""
        return frozenset(self._by_place.get(place, ()))

    def evaluated(self) -> int:
        """How many policies are asked for."""
        return len(self._evaluated)

    def streaks(self, key: Key) -> Mapping[str, Streak]:
        """What the triggers of a policy say."""
        standing = self._known.get(key)
        return standing.streaks if standing is not None else {}


def horizon(standing: Standing) -> float:
    """How many seconds of the past matter: what `for` and soak look back on."""
    soak = parse_duration(standing.spec.soak).total_seconds()
    return max([soak, *(one.rule.patience for one in standing.asking)]) + 2 * max(
        one.rule.interval for one in standing.asking
    )
