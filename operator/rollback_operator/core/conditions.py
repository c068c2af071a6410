"""Conditions of a status: what `kubectl wait` and kstatus read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal

from rollback_operator.api.common import Condition
from rollback_operator.api.reasons import Reason

READY = "Ready"
PLANNED = "Planned"
APPLIED = "Applied"
VERIFIED = "Verified"
HELD = "Held"
RECONCILING = "Reconciling"
STALLED = "Stalled"

State = Literal["True", "False", "Unknown"]
Change = tuple[State, Reason, str] | None
MAX_MESSAGE = 4096
FEW = 5
"""Names that a sentence has before it gives a number."""


def find(conditions: tuple[Condition, ...], kind: str) -> Condition | None:
    """The condition of that type, if it is there."""
    return next((condition for condition in conditions if condition.type == kind), None)


def is_true(conditions: tuple[Condition, ...], kind: str) -> bool:
    """Whether the condition is there and True."""
    condition = find(conditions, kind)
    return condition is not None and condition.status == "True"


def shorten(text: str, limit: int = MAX_MESSAGE) -> str:
    """`text` within the schema's bound, cut visibly."""
    return text if len(text) <= limit else text[: limit - 2] + " …"


def some_of(names: Sequence[str]) -> str:
    """Names that a plan has as `affected`: how many, before there is no room left, and the first few."""
    if len(names) <= FEW:
        return ", ".join(names)
    return f"{len(names)} objects, which plan.affected names, such as {', '.join(names[:FEW])}"


def updated(
    conditions: tuple[Condition, ...], changes: Mapping[str, Change], generation: int, now: datetime
) -> tuple[Condition, ...]:
    """`conditions` with `changes` applied (None removes one); the transition time moves only with the status."""
    kept = {condition.type: condition for condition in conditions}
    for kind, change in changes.items():
        before = kept.pop(kind, None)
        if change is not None:
            kept[kind] = _condition(kind, change, before, generation, now)
    return tuple(kept[kind] for kind in sorted(kept, key=_rank))


def _condition(kind: str, change: Change, before: Condition | None, generation: int, now: datetime) -> Condition:
    assert change is not None
    state, reason, message = change
    same = before is not None and before.status == state
    return Condition(
        type=kind,
        status=state,
        reason=reason,
        message=shorten(message),
        last_transition_time=before.last_transition_time if same and before else now.replace(microsecond=0),
        observed_generation=generation,
    )


_ORDER = (PLANNED, APPLIED, VERIFIED, HELD, READY, RECONCILING, STALLED)


def _rank(kind: str) -> tuple[int, str]:
    return (_ORDER.index(kind) if kind in _ORDER else len(_ORDER), kind)
