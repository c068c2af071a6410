"""The hold, as it stands on the Application itself: what was turned off, why, and until when."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from rollback_operator.api import GROUP
from rollback_operator.targets.application.content import Content, digest, plain, plain_before
from rollback_operator.targets.application.operation import annotations_of

Object = dict[str, Any]

HOLD_ANNOTATION = f"{GROUP}/hold"
"""On an Application: the hold, as JSON. Whoever reads it can put automation back without knowing anything else."""
_MOST = 10
"""How many bad contents are remembered, the newest ones."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One source of a content, as far as it takes to recognise what it gives."""

    repo: str
    revision: str
    path: str = ""
    chart: str = ""
    ref: str = ""
    files: tuple[str, ...] = ()
    """Value files that Helm is given, as the source names them."""
    digest: str = ""
    """Of all that the source says, but where to look for its revision."""
    digest_before: str = field(default="", compare=False)
    """The same, as it stands in holds that were written with `plain_before`."""

    def of_same_source(self, other: Piece) -> bool:
        """Whether a piece that was stored is of the same source as this one."""
        return other.digest in (self.digest, self.digest_before)

    def dump(self) -> Object:
        """As it stands in the annotation."""
        fields = {name: getattr(self, name) for name in ("repo", "revision", "path", "chart", "ref", "digest")}
        return {name: value for name, value in (*fields.items(), ("files", list(self.files))) if value}

    @classmethod
    def load(cls, body: Object) -> Piece:
        """From the annotation.

        Raises:
            KeyError, TypeError: it is none.
        """
        text = {name: str(body.get(name, "")) for name in ("path", "chart", "ref", "digest")}
        return cls(repo=str(body["repo"]), revision=str(body["revision"]), files=tuple(body.get("files") or ()), **text)


Pieces = tuple[Piece, ...]


def pieces(content: Content) -> Pieces:
    """What a content is made of."""
    return tuple(
        Piece(
            repo=source["repoURL"],
            revision=revision,
            path=source.get("path") or "",
            chart=source.get("chart") or "",
            ref=source.get("ref") or "",
            files=tuple((source.get("helm") or {}).get("valueFiles") or ()),
            digest=digest(plain(source)),
            digest_before=digest(plain_before(source)),
        )
        for source, revision in zip(content.sources, content.revisions, strict=True)
    )


@dataclass(frozen=True, slots=True)
class Hold:
    """That automation is kept off."""

    request: str
    """Uid of the request that asked for it."""
    since: datetime
    until: str
    """`TargetChanges` or `Manual`."""
    alert_after: str
    """A duration."""
    automated: Object
    """`spec.syncPolicy.automated` exactly as it was."""
    bad: tuple[Pieces, ...]
    """What must not come back."""

    def dump(self) -> str:
        """As it stands in the annotation."""
        return json.dumps(
            {
                "request": self.request,
                "since": self.since.isoformat(timespec="seconds"),
                "until": self.until,
                "alertAfter": self.alert_after,
                "automated": self.automated,
                "bad": [[piece.dump() for piece in one] for one in self.bad],
            },
            separators=(",", ":"),
        )

    @classmethod
    def load(cls, text: str) -> Hold:
        """From the annotation.

        Raises:
            ValueError: somebody wrote something else there.
        """
        try:
            body = json.loads(text)
            return cls(
                request=str(body["request"]),
                since=datetime.fromisoformat(body["since"]).astimezone(UTC),
                until=str(body["until"]),
                alert_after=str(body["alertAfter"]),
                automated=dict(body["automated"]),
                bad=tuple(tuple(Piece.load(piece) for piece in one) for one in body["bad"]),
            )
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
            raise ValueError(f"the annotation {HOLD_ANNOTATION} is not what the operator wrote") from error


def hold_of(app: Object) -> Hold | None:
    """The hold that the Application is under; None if there is none that can be read."""
    text = annotations_of(app).get(HOLD_ANNOTATION)
    if text is None:
        return None
    try:
        return Hold.load(text)
    except ValueError:
        return None


def automated(app: Object) -> Object | None:
    """`spec.syncPolicy.automated`, if it is there."""
    found: Object | None = (app["spec"].get("syncPolicy") or {}).get("automated")
    return found


def is_automated(app: Object) -> bool:
    """Whether Argo CD syncs by itself."""
    how = automated(app)
    return how is not None and how.get("enabled") is not False


def with_bad(hold: Hold, content: Content) -> tuple[Pieces, ...]:
    """What must not come back, with one more."""
    more = pieces(content)
    return (*(one for one in hold.bad if one != more), more)[-_MOST:]


def without(bad: tuple[Pieces, ...], content: Content) -> tuple[Pieces, ...]:
    """What must not come back, without that one."""
    found = pieces(content)
    return tuple(one for one in bad if not _is(one, found))


def _is(stored: Pieces, found: Pieces) -> bool:
    """Whether what was stored is the same sources at the same revisions."""
    return len(stored) == len(found) and all(
        one.of_same_source(other) and one.revision == other.revision for one, other in zip(found, stored, strict=True)
    )
