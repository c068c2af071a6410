"""Names for calls, so that a fault can be repeated: verb, what it is about, and the how-manieth of its kind."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qs

_PATH = re.compile(
    r"/(?:api/v1|apis/[^/]+/[^/]+)(?:/namespaces/(?P<namespace>[^/]+))?/(?P<plural>[^/]+)(?:/(?P<name>[^/]+))?(?P<sub>/status)?$"
)
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
        return self.name.split()[0] in WRITES

    @classmethod
    def parse(cls, text: str) -> Call:
        """The reverse of `str`."""
        name, _, number = text.rpartition("#")
        return cls(name, int(number))


def name_of(method: str, path: str, query: str) -> str:
    """What a call is, without what differs between runs (namespace, resourceVersions)."""
    found = _PATH.match(path)
    asked = parse_qs(query)
    if found is None:
        return f"{method} {path}"
    what = found["plural"] + (f"/{found['name']}" if found["name"] else "") + (found["sub"] or "")
    if method == "GET" and not found["name"]:
        method = "WATCH" if "watch" in asked else "LIST"
    manager = asked.get("fieldManager", [""])[0].removeprefix("rollback-operator").strip("-")
    return f"{method} {what}" + (f" {manager}" if manager else "")
