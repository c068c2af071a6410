"""Whether a hold goes on: pure, from what was seen of the held object and of what Git would bring."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from rollback_operator.api import GROUP
from rollback_operator.api.reasons import Reason

MANUAL = "Manual"
RELEASE_ANNOTATION = f"{GROUP}/release"
"""On what is held: "true" ends the hold, as a person wishes."""
ENDED_ANNOTATION = f"{GROUP}/hold-ended"
"""On what was held: how its last hold ended, and whose it was."""

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Orders:
    """Until when, and when it is long."""

    until: str
    """`TargetChanges` or `Manual`; what is neither counts as Manual, which ends nothing by itself."""
    since: datetime
    alert_after: timedelta


@dataclass(frozen=True, slots=True)
class Seen:
    """The held object: an Application of Argo CD, or what of Flux is suspended."""

    name: str
    """Kind, namespace and name."""
    command: str
    """What a person types to end the hold."""
    automated: bool = False
    """Whether it syncs by itself, which the hold had turned off."""
    of_flux: bool = False
    released: bool = False
    """Whether a person wished the end."""
    busy: bool = False
    """Whether an operation goes on."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Whether what would be brought is something else than what must not come back."""

    changed: bool | None
    """None: that could not be established."""
    words: str = ""
    """What changed, or why nobody can tell."""


@dataclass(frozen=True, slots=True)
class Goes:
    """The hold goes on."""

    reason: Reason
    message: str
    bad: bool = False
    """Whether people should look."""


@dataclass(frozen=True, slots=True)
class Ends:
    """The hold ends; `restore`: automation is put back as it was."""

    reason: Reason
    message: str
    restore: bool


Standing = Goes | Ends


def by_people(seen: Seen) -> Ends | None:
    """The end of the hold that people chose."""
    if seen.automated:
        did = f"resumed {seen.name}" if seen.of_flux else f"turned automated sync of {seen.name} on"
        message = f"Somebody {did}: the hold ends, and nothing else is changed."
        return Ends(Reason.AUTOMATION_TURNED_ON, message, restore=False)
    if seen.released and not seen.busy:
        message = f"Somebody ended the hold of {seen.name}: {_as_before(seen)}."
        return Ends(Reason.RELEASED_BY_HAND, message, restore=True)
    return None


def asks_git(orders: Orders, seen: Seen) -> bool:
    """Whether it depends on Git how it goes on."""
    return orders.until != MANUAL and by_people(seen) is None and not seen.busy


def stands(orders: Orders, seen: Seen, comparison: Comparison | None, now: datetime) -> Standing:
    """How it goes on; `comparison` is None where nobody asked Git (see `asks_git`)."""
    chosen = by_people(seen)
    if chosen is not None:
        return chosen
    if comparison is not None and comparison.changed and not seen.busy:
        message = (
            f"Git brings {seen.name} something else than what was rolled back from ({comparison.words}): "
            f"{_as_before(seen)}."
        )
        return Ends(Reason.TARGET_CHANGED, message, restore=True)
    return _goes_on(orders, seen, comparison, now)


def _goes_on(orders: Orders, seen: Seen, comparison: Comparison | None, now: datetime) -> Goes:
    until = "a person ends it" if orders.until == MANUAL else "Git brings it something else"
    what = f"{seen.name} is suspended" if seen.of_flux else f"Automated sync of {seen.name} is off"
    held = f"{what} since the rollback, until {until}. To end that now: {seen.command}"
    if comparison is not None and comparison.changed is None:
        message = f"{held}. It cannot be told whether Git brings something else, so it stays: {comparison.words}"
        return Goes(Reason.CANNOT_COMPARE, message, bad=True)
    if now - orders.since >= orders.alert_after:
        return Goes(Reason.HELD_FOR_LONG, f"{held}. It has lasted longer than its alertAfter.", bad=True)
    return Goes(Reason.HOLDING, held)


def _as_before(seen: Seen) -> str:
    return f"{'spec.suspend' if seen.of_flux else 'automated sync'} is as it was before the rollback"


def how_it_ended(body: Object) -> tuple[Ends, str] | None:
    """How the last hold ended, and whose it was: as the held object itself says."""
    try:
        said = json.loads((body["metadata"].get("annotations") or {}).get(ENDED_ANNOTATION) or "")
        return Ends(Reason(said["reason"]), str(said["message"]), restore=False), str(said["request"])
    except (ValueError, TypeError, KeyError):
        return None


def ended_note(ends: Ends, request: str) -> str:
    """What `how_it_ended` reads."""
    return json.dumps({"request": request, "reason": ends.reason, "message": ends.message}, separators=(",", ":"))


def wished(body: Object) -> bool:
    """Whether a person wishes the end of the hold, by the annotation for that."""
    return (body["metadata"].get("annotations") or {}).get(RELEASE_ANNOTATION) == "true"
