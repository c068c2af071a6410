"""Statuses as the API server stores them: JSON that went through the real model, one small number for each.

Time is relative: a stored moment is so many ticks ago, and from a certain age on older makes no difference. So the
states stay finite although time does not end.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import cache
from typing import Any

from rollback_operator.api.request import FINAL, RequestStatus
from rollback_operator.core.life.times import LONGEST_PAUSE, SETTLE

NOW = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)
TICK = SETTLE / 2
"""Time goes by in these. No pause between attempts is longer, two of them are what an effect takes to settle."""
assert TICK >= LONGEST_PAUSE
IN_FLIGHT = 2
"""Ticks after which what was sent has arrived or never will."""
TIMEOUT = 3
"""A request's timeout in ticks: an attempt in each, and the last one settles after it."""

PART = "put back as remembered"
"""What an ending says of configuration that went back, and the target did not."""
BY_HAND = "--type merge -p"
"""What is in the command that ends a suspension by hand."""

EMPTY = 0

_texts: list[str] = []
_numbers: dict[str, int] = {}


def ago(ticks: int) -> datetime:
    return NOW - ticks * TICK


def _written(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def store(status: dict[str, Any], late: int = 0) -> int:
    """The number of a status that was decided on `late` ticks ago."""
    clean = RequestStatus.model_validate(status).dump()
    final = clean.get("phase") in FINAL
    text = json.dumps(_canonical(clean, late, final=final), sort_keys=True)
    if text not in _numbers:
        _numbers[text] = len(_texts)
        _texts.append(text)
    return _numbers[text]


def _canonical(status: dict[str, Any], late: int, *, final: bool) -> dict[str, Any]:
    """The status without what no decision can depend on: times of mere record, and the words of one that has ended.

    But for the words on what was put back of configuration, which have to be true, and that people have to act.

    When it ended matters to other requests only in that they were there already, as all are from the beginning.
    """
    for condition in status.get("conditions", ()):
        condition["lastTransitionTime"] = _written(NOW)
        if final and PART not in condition["message"]:
            condition["message"] = BY_HAND if BY_HAND in condition["message"] else ""
    status.pop("duration", None)
    _age(status, "startedAt", late, 0 if final else TIMEOUT)
    _age(status, "finishedAt", late, 0)
    for target in status.get("targets", ()):
        done = status["phase"] != "Running"
        for step in target["steps"]:
            _age(step, "startedAt", late, 0)
            _age(step, "finishedAt", late, 0)
            _age(step, "lastAttemptAt", late, 0 if done else IN_FLIGHT)
            step["attempts"] = 1 if done else step["attempts"]
    return status


def _age(thing: dict[str, Any], field: str, late: int, oldest: int) -> None:
    if field in thing:
        ticks = round((NOW - datetime.fromisoformat(thing[field])) / TICK) + late
        thing[field] = _written(ago(min(ticks, oldest)))


@cache
def older(number: int) -> int:
    """The same status a tick later."""
    return store(body(number), late=1)


def body(number: int) -> dict[str, Any]:
    """The stored JSON, as a copy of its own."""
    stored: dict[str, Any] = json.loads(_texts[number])
    return stored


@cache
def parsed(number: int) -> RequestStatus:
    return RequestStatus.model_validate(body(number))


def age_of(moment: datetime | None) -> int:
    """Ticks since a stored moment."""
    return 0 if moment is None else round((NOW - moment) / TICK)


assert store({}) == EMPTY
