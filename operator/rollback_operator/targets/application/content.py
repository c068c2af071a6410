"""What an Application deploys: its sources, and the revision that each of them is at.

Argo CD writes a content in the same form into the history, into operations and their results, and into what it compared
with: either `source` and `revision`, or `sources` and `revisions`.
"""

from __future__ import annotations

import copy
import hashlib
import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]

SHA = re.compile("[0-9a-f]{40}")
_SHORT = 12
"""Characters of a Git revision that people are shown."""
_CREDENTIALS = re.compile(r"(?<=://)[^/\s]+@")
"""Up to the last @: one of a password is often not written as %40."""


@dataclass(frozen=True, slots=True)
class Content:
    """Sources as the Application writes them, and the revision of each: a commit, or the version of a chart."""

    sources: tuple[Object, ...]
    revisions: tuple[str, ...]
    multiple: bool
    """Whether it is written as a list of sources."""

    @classmethod
    def of(cls, body: Mapping[str, Any] | None) -> Content | None:
        """What `body` (an entry of the history, a sync, its result) deploys; None if that is not known to the commit.

        A source without a revision is at whatever its branch is at: to sync to it would bring what nobody chose.
        """
        body = body or {}
        multiple = bool(body.get("sources"))
        sources: list[Object] = body["sources"] if multiple else [body.get("source") or {}]
        revisions: list[str] = (body.get("revisions") or []) if multiple else [body.get("revision") or ""]
        known = all(source.get("repoURL") for source in sources) and all(revisions)
        if not known or len(sources) != len(revisions):
            return None
        return cls(tuple(copy.deepcopy(sources)), tuple(revisions), multiple)

    @classmethod
    def compared(cls, app: Object) -> Content | None:
        """What Argo CD last found in Git, and compared with what runs; None if it could not tell, or not yet.

        When it could not, it writes the branch where the commit would stand.
        """
        status = (app.get("status") or {}).get("sync") or {}
        if status.get("status") not in ("Synced", "OutOfSync"):
            return None
        revisions = {key: status.get(key) for key in ("revision", "revisions")}
        return cls.of({**(status.get("comparedTo") or {}), **revisions})

    def body(self) -> Object:
        """The content as Argo CD writes it."""
        if self.multiple:
            return {"sources": copy.deepcopy(list(self.sources)), "revisions": list(self.revisions)}
        return {"source": copy.deepcopy(self.sources[0]), "revision": self.revisions[0]}

    @property
    def fingerprint(self) -> str:
        """What it is, whatever branch it was found on."""
        return self._fingerprint(plain)

    @property
    def fingerprint_before(self) -> str:
        """What plans may know it by that were written with `plain_before`."""
        return self._fingerprint(plain_before)

    def called(self, known: Collection[str]) -> str:
        """Its fingerprint, by the name that is known if it is under one of them."""
        before = self.fingerprint_before
        return before if before in known else self.fingerprint

    def _fingerprint(self, of: Callable[[Object], Object]) -> str:
        pairs = zip(self.sources, self.revisions, strict=True)
        return "v1:" + digest([{**of(source), "revision": at} for source, at in pairs])

    def __str__(self) -> str:
        return ", ".join(
            f"{source.get('chart') or source.get('targetRevision') or 'HEAD'} at {short(at)}"
            for source, at in zip(self.sources, self.revisions, strict=True)
        )


_AS_WRITTEN = ("valuesObject", "commonLabels", "commonAnnotations", "map")
"""Fields of a source that hold values of people's own: there, an empty one says something."""


def plain(source: Object) -> Object:
    """A source without what only says where its revision was looked for, and without what says nothing."""
    return {key: value for key, value in filled(source).items() if key not in ("targetRevision", "name")}


def filled(source: Object) -> Object:
    """A source without empty fields.

    People write them, and Argo CD drops them when it repeats a source, or puts others in, as its version has it.
    """
    found: Object = _filled(source)
    return found


def _filled(value: Any, key: str = "") -> Any:
    if key in _AS_WRITTEN:
        return value
    if isinstance(value, dict):
        inner = {name: _filled(one, name) for name, one in value.items()}
        return {name: one for name, one in inner.items() if not _is_empty(one)}
    return [_filled(one) for one in value] if isinstance(value, list) else value


def _is_empty(value: Any) -> bool:
    """Whether it says nothing. A zero does, as a number of replicas."""
    return value is None or value is False or value in ("", [], {})


def plain_before(source: Object) -> Object:
    """As `plain` once was: only empty fields at the top were dropped. Digests that are stored may be of this."""
    return {key: value for key, value in source.items() if key not in ("targetRevision", "name") and value}


def digest(value: Any) -> str:
    """SHA-256 of a JSON value, in hexadecimal digits."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def short(revision: str) -> str:
    """A revision as people are shown it."""
    return revision[:_SHORT] if SHA.fullmatch(revision) else revision


def without_credentials(text: str) -> str:
    """`text` without names and passwords in addresses."""
    return _CREDENTIALS.sub("", text)


def shown(content: Content, salt: str) -> list[Object]:
    """The content as it may be shown: whatever parameters and values there are, as short digests.

    `salt` is the Application's uid: the same value reads the same in both halves of a diff, and cannot be looked up.
    """
    return [
        {**{key: _shown(key, value, salt) for key, value in plain(source).items()}, "revision": at}
        for source, at in zip(content.sources, content.revisions, strict=True)
    ]


_OPEN = ("path", "chart", "ref")


def _shown(key: str, value: Any, salt: str) -> Any:
    if key == "repoURL":
        return without_credentials(value)
    return value if key in _OPEN else _hidden(value, salt)


def _hidden(value: Any, salt: str) -> Any:
    if isinstance(value, dict):
        return {key: inner if key == "name" else _hidden(inner, salt) for key, inner in value.items()}
    if isinstance(value, list):
        return [_hidden(inner, salt) for inner in value]
    return f"<digest {hashlib.sha256(f'{salt}/{value}'.encode()).hexdigest()[:8]}>"
