"""Releases as they are kept: records, and what they look like to who reads them."""

from __future__ import annotations

from datetime import datetime
from functools import cache
from typing import NamedTuple

from rollback_operator.api import REQUEST_ANNOTATION
from rollback_operator.targets.helm import records
from rollback_operator.targets.helm.records import ALIVE_ANNOTATION, INTERRUPTED_ANNOTATION
from tests.model import statuses
from tests.model.kinds.scene import Object
from tests.model.kinds.shell import NAME

PENDING, DEPLOYED, SUPERSEDED, FAILED = "pending-rollback", "deployed", "superseded", "failed"
UPGRADING = "pending-upgrade"
DEAD, OLD = 2, 2
"""Ticks from which on a sign of life, or a last change, is as old as makes a difference."""


class Rec(NamedTuple):
    """A revision; `by`: the uid of the request that made it; `alive`, `age`: ticks since the last sign, or change."""

    number: int
    letter: str
    status: str
    by: str = ""
    interrupted: bool = False
    alive: int | None = None
    age: int = OLD
    version: int = 0


class Release(NamedTuple):
    """The records, whose objects stand, and whether somebody else's Helm is at work on the newest."""

    records: tuple[Rec, ...] = (Rec(1, "a", SUPERSEDED), Rec(2, "b", DEPLOYED))
    objects: str = "b"
    theirs: bool = False
    version: int = 1
    installed: int = 1
    made: int = 0
    done: int = 0
    """Revisions that our request made, and that were brought to their end."""
    others: bool = False
    """Somebody else has released, or uninstalled it."""

    def __str__(self) -> str:
        marks = {True: " interrupted", False: ""}
        listed = (f"v{one.number} {one.letter} {one.status}{marks[one.interrupted]}" for one in self.records)
        return f"{', '.join(listed) or 'no release'}; objects of {self.objects or 'nothing'}"

    @property
    def newest(self) -> Rec | None:
        return self.records[-1] if self.records else None

    def find(self, number: int) -> Rec | None:
        return next((one for one in self.records if one.number == number), None)


# What a record looks like to who reads it.


@cache
def secret(it: Rec, installed: int, now: datetime) -> Object:
    """Its Secret."""
    notes = {
        REQUEST_ANNOTATION: it.by or None,
        ALIVE_ANNOTATION: (now - it.alive * statuses.TICK).isoformat() if it.alive is not None else None,
        INTERRUPTED_ANNOTATION: "true" if it.interrupted else None,
    }
    info = {
        "status": it.status,
        "first_deployed": f"2026-01-0{installed}T00:00:00Z",
        "last_deployed": "2026-02-01T00:00:00Z",
        "description": "Complete",
    }
    return {
        "type": records.TYPE,
        "metadata": {
            "name": records.secret_name(NAME, it.number),
            "uid": f"{installed}-{it.number}-{it.letter}-{it.by}",
            "resourceVersion": str(it.version),
            "labels": {"owner": "helm", "name": NAME, "status": it.status},
            "annotations": {name: value for name, value in notes.items() if value is not None},
            "managedFields": [{"time": (now - it.age * statuses.TICK).isoformat()}],
        },
        "data": {"release": records.encode({"version": it.number, "info": info, **content(it.letter)})},
    }


@cache
def content(letter: str) -> Object:
    """What a release consists of."""
    return {"name": NAME, "chart": {"metadata": {"name": NAME, "version": letter}}, "manifest": ""}


@cache
def print_of(letter: str) -> str:
    """The fingerprint by which plans know a letter."""
    return records.fingerprint(content(letter))


def rec(body: Object, now: datetime) -> Rec:
    """The record that a Secret holds."""
    release = records.decode(body)
    notes = body["metadata"].get("annotations") or {}
    alive = notes.get(ALIVE_ANNOTATION)
    assert body["metadata"]["labels"]["status"] == release["info"]["status"], "labels say what the record holds"
    return Rec(
        number=release["version"],
        letter=release["chart"]["metadata"]["version"],
        status=release["info"]["status"],
        by=notes.get(REQUEST_ANNOTATION, ""),
        interrupted=INTERRUPTED_ANNOTATION in notes,
        alive=None if alive is None else round((now - datetime.fromisoformat(alive)) / statuses.TICK),
        age=0,
    )
