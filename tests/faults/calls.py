"""Names for calls, so that a fault can be repeated: verb, what it is about, and the how-manieth of its kind."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qs

_PATH = re.compile(
    r"/(?:api/v1|apis/[^/]+/[^/]+)(?:/namespaces/(?P<namespace>[^/]+))?/(?P<plural>[^/]+)(?:/(?P<name>[^/]+))?(?P<sub>/status)?$"
)
_DIGEST = re.compile(r"-[0-9a-f]{10}(?:[0-9a-f]{10})?$")
"""The end of the name of a policy's request, and of what is kept: made of uids, so it differs between runs."""
_MADE = ("rollbackrequests", "secrets")
WRITES = ("POST", "PUT", "PATCH", "DELETE")


@dataclass(frozen=True, slots=True, order=True)
class Call:
    """A call in a run. `number` counts calls of the same name from 1."""

    name: str
    number: int

    def __str__(self) -> str:
        return f"{self.name}#{self.number}"

    @property
    def writes(self) -> bool:
        """Whether anything is stored; a question for rights has the verb of a write, and is none."""
        return self.name.split()[0] in WRITES and not self.name.endswith("accessreviews")

    @property
    def weighty(self) -> bool:
        """Whether anything depends on what is stored: an Event is a courtesy."""
        return self.writes and self.name != "POST events"

    @classmethod
    def parse(cls, text: str) -> Call:
        """The reverse of `str`."""
        name, _, number = text.rpartition("#")
        return cls(name, int(number))


def name_of(method: str, path: str, query: str) -> str:
    """What a call is, without what differs between runs (namespace, resourceVersions, uids)."""
    found = _PATH.match(path)
    asked = parse_qs(query)
    if found is None:
        return f"{method} {path}"
    name = _DIGEST.sub("-*", found["name"] or "") if found["plural"] in _MADE else found["name"]
    what = found["plural"] + (f"/{name}" if name else "") + (found["sub"] or "")
    if method == "GET" and not found["name"]:
        method = "WATCH" if "watch" in asked else "LIST"
    manager = asked.get("fieldManager", [""])[0].removeprefix("rollback-operator").strip("-")
    rehearsed = " dry" if asked.get("dryRun") else ""
    return f"{method} {what}" + (f" {manager}" if manager else "") + rehearsed
