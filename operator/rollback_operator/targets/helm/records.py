"""What Helm keeps of a release: one Secret a revision, written alike by Helm 3 and Helm 4.

`.data.release` is base64 (Kubernetes') of base64 (Helm's) of gzip of JSON. Whoever may write Secrets may write anything
there, so reading is bounded, and what cannot be read is a sentence.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import hashlib
import json
import re
import zlib
from collections.abc import Container, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rollback_operator.api import GROUP, REQUEST_ANNOTATION
from rollback_operator.api.common import LONGEST_RELEASE
from rollback_operator.api.fields import can_be_a_name
from rollback_operator.core.owners import Owner, drivers
from rollback_operator.targets.helm.manifest import ManifestError, documents, objects
from rollback_operator.targets.metadata import annotations_of, created
from rollback_operator.untrusted import UntrustedError, json_in

TYPE = "helm.sh/release.v1"
PREFIX = "sh.helm.release.v1."
ALIVE_ANNOTATION = f"{GROUP}/alive"
"""On a record that is being worked on: when its operator last said that it is."""
INTERRUPTED_ANNOTATION = f"{GROUP}/interrupted"
"""On a record of ours that was not brought to its end, and is followed by another attempt."""
LARGEST = 16 * 2**20
"""Bytes of JSON that a record may unpack to; its Secret holds 1 MiB at the most."""
MOST_VALUES = 500_000
"""Values of JSON that a record may have."""
LARGEST_SECRET = 1_000_000
"""Bytes that a record which we write may have: the API server takes little more."""

DEPLOYED, SUPERSEDED, FAILED = "deployed", "superseded", "failed"
PENDING = ("pending-install", "pending-upgrade", "pending-rollback")
GONE = ("uninstalled", "uninstalling")
OF_ROLLBACK = ("pre-rollback", "post-rollback")
"""When hooks of a rollback are run."""
_NAME = re.compile(r"sh\.helm\.release\.v1\.(?P<release>.+)\.v(?P<number>[0-9]{1,10})")
_GZIP = b"\x1f\x8b\x08"
MARKED, BROKEN = "Marked as failed by a rollback: ", "Rollback failed: "
"""How we describe a revision that somebody left pending, and one of ours that Helm failed over; why follows."""
GIVEN_UP = "The rollback was interrupted, and not made again: parts of it may be done."
"""How we describe one of ours that is not made again."""
_FAILED = re.compile(
    "|".join(
        [
            r'(Upgrade|Release|Rollback) "[^"]*" failed: ',
            "(Preparing upgrade|Initial install underway)$",
            *map(re.escape, (MARKED, BROKEN, GIVEN_UP)),
        ]
    )
)
"""How Helm and we describe a revision that failed, or was never completed; Helm calls some superseded later."""
_RETURN = re.compile(r"Rollback to [0-9]+")
_REQUEST = re.compile(r"\(rollback request ([-0-9a-f]{1,64})\)")

Object = dict[str, Any]


class UnreadableError(Exception):
    """A Secret is no record of a release; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Record:
    """One revision, as its Secret tells of it, without what it holds.

    `trouble`: why it cannot be read; of such a record only `number` and the Secret's own names are known. `request`:
    uid of the RollbackRequest that made it. `alive`: when the operator that works on it last said so. `interrupted`:
    an attempt of ours that another one follows. `hooks_ran`: hooks of a rollback were begun for this very revision.
    `owners`: who drives the release, if somebody does. `elsewhere`: the namespace that it was released into, if its
    record is kept in another one. `applied`: its objects are applied by the API server; Helm 3 merges them itself.
    """

    number: int
    secret: str
    uid: str
    version: str
    modified: datetime
    status: str = ""
    fingerprint: str = ""
    first: str = ""
    deployed: datetime | None = None
    description: str = ""
    chart: str = ""
    returned_to: bool = False
    request: str | None = None
    alive: datetime | None = None
    interrupted: bool = False
    hooks_ran: bool = False
    owners: tuple[Owner, ...] = ()
    elsewhere: str = ""
    applied: bool = False
    trouble: str = ""

    @property
    def pending(self) -> bool:
        """Whether somebody works on it, or did until he was gone."""
        return self.status in PENDING

    @property
    def candidate(self) -> bool:
        """Whether it can be gone back to: it was installed as a whole, as far as Helm knows."""
        return self.why_not is None

    @property
    def why_not(self) -> str | None:
        """Why it is not gone back to, as the end of a sentence; None if it may be."""
        if self.trouble:
            return f"its record cannot be read ({self.trouble})"
        if self.elsewhere:
            return f"it was released into namespace {self.elsewhere}, and its record is kept in this one"
        if self.interrupted:
            return "it was never completed"
        if self.status == SUPERSEDED and _FAILED.match(self.description):
            return "it had failed before it was superseded"
        if self.status not in (DEPLOYED, SUPERSEDED):
            return f"its status is {self.status}"
        return None


def is_release_name(name: str) -> bool:
    """Whether Helm takes this as the name of a release; none such begins with `-`."""
    return can_be_a_name(name, LONGEST_RELEASE)


def secret_name(release: str, number: int) -> str:
    """Name of the Secret of a revision."""
    return f"{PREFIX}{release}.v{number}"


def number_of(secret: str, release: str) -> int | None:
    """The revision whose Secret has this name; None if it is no revision of `release`."""
    found = _NAME.fullmatch(secret)
    return int(found["number"]) if found is not None and found["release"] == release else None


def record_of(secret: Object, release: str) -> Record | None:
    """What a Secret of `release` tells; None if it is no revision of it."""
    number = number_of(secret["metadata"]["name"], release)
    if number is None or secret.get("type") != TYPE:
        return None
    try:
        return _described(secret, number, decode(secret))
    except UnreadableError as error:
        return Record(**_identity(secret, number), trouble=str(error))
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
        return Record(**_identity(secret, number), trouble="it holds no release as Helm writes one")


def decode(secret: Object) -> Object:
    """The release that a Secret holds.

    Raises:
        UnreadableError: it holds none.
    """
    packed = (secret.get("data") or {}).get("release")
    if not isinstance(packed, str) or not packed:
        raise UnreadableError("it has no entry `release`")
    try:
        inner = base64.b64decode(base64.b64decode(packed, validate=True), validate=True)
    except (binascii.Error, ValueError):
        raise UnreadableError("its data is not base64 as Helm writes it") from None
    try:
        release = json_in(_unpacked(inner), MOST_VALUES)
    except UntrustedError as error:
        raise UnreadableError(f"what is inside {error}") from None
    if not isinstance(release, dict) or not isinstance(release.get("info"), dict):
        raise UnreadableError("it holds no release")
    return release


def _unpacked(inner: bytes) -> bytes:
    """Helm does not pack what it stored before it could; all else is gzip."""
    if not inner.startswith(_GZIP):
        if inner[:1] == b"{":
            return inner
        raise UnreadableError("it is not gzip")
    try:
        stream = zlib.decompressobj(wbits=31)
        unpacked = stream.decompress(inner, LARGEST + 1)
    except zlib.error:
        raise UnreadableError("its gzip is damaged") from None
    if len(unpacked) > LARGEST:
        raise UnreadableError(f"it unpacks to more than {LARGEST // 2**20} MiB")
    if not stream.eof:
        raise UnreadableError("its gzip is cut off")
    return unpacked


def encode(release: Object) -> str:
    """A release as a Secret's data holds it."""
    text = json.dumps(release, separators=(",", ":"), ensure_ascii=False).encode()
    return base64.b64encode(base64.b64encode(gzip.compress(text, mtime=0))).decode()


def _identity(secret: Object, number: int) -> dict[str, Any]:
    metadata = secret["metadata"]
    return {
        "number": number,
        "secret": metadata["name"],
        "uid": metadata["uid"],
        "version": metadata["resourceVersion"],
        "modified": _modified(secret),
    }


def _described(secret: Object, number: int, release: Object) -> Record:
    info, noted = release["info"], annotations_of(secret)
    description = _text(info.get("description"))
    deployed = _time(info.get("last_deployed"))
    named = _REQUEST.search(description)
    return Record(
        **_identity(secret, number),
        status=_text(info.get("status")),
        fingerprint=fingerprint(release),
        first=_text(info.get("first_deployed")),
        deployed=deployed,
        description=description,
        chart=_chart(release),
        returned_to=bool(info.get("rollback_revision")) or _RETURN.match(description) is not None,
        request=noted.get(REQUEST_ANNOTATION) or (named[1] if named is not None else None),
        alive=_time(noted.get(ALIVE_ANNOTATION)),
        interrupted=INTERRUPTED_ANNOTATION in noted,
        hooks_ran=any(_ran_since(hook, deployed) for hook in hooks(release, *OF_ROLLBACK)),
        owners=drivers(_text(release.get("manifest"))),
        elsewhere=_elsewhere(secret, release),
        applied=is_applied(release),
    )


def _elsewhere(secret: Object, release: Object) -> str:
    """Another namespace than the record's; old records do not say into which they were released."""
    into = _text(release.get("namespace"))
    return into if into != secret["metadata"].get("namespace", into) else ""


def is_applied(release: Object) -> bool:
    """Whether Helm has the API server apply the objects of a release: by Helm 4's default, never by Helm 3."""
    return release.get("apply_method") == "ssa"


def hooks(release: Object, *events: str) -> Iterator[Object]:
    """The hooks of a release that are run at one of these moments."""
    for hook in _list(release.get("hooks")):
        if set(_list(hook.get("events"))) & set(events):
            yield hook


def is_deleted(hook: Object) -> bool:
    """Whether Helm deletes what the hook consists of, before it runs (so it does if nobody says) or after."""
    policies = _list(hook.get("delete_policies"))
    return not policies or not {"before-hook-creation", "hook-succeeded"}.isdisjoint(policies)


def _ran_since(hook: Object, moment: datetime | None) -> bool:
    """Whether it was begun after the revision was; a revision inherits what its forerunner wrote of its hooks."""
    started = _time((hook.get("last_run") or {}).get("started_at"))
    return started is not None and moment is not None and started >= moment


def without_runs(release: Object, touched: Container[str]) -> Object:
    """The release, whose hooks of a rollback were not begun unless one of their objects is named in `touched`.

    Helm notes that a hook was begun before it creates what that consists of.
    """
    kept = []
    for hook in _list(release.get("hooks")):
        of_rollback = set(_list(hook.get("events"))) & set(OF_ROLLBACK)
        begun = not of_rollback or _may_have_begun(hook, touched)
        kept.append(hook if begun else {name: value for name, value in hook.items() if name != "last_run"})
    return {**release, "hooks": kept} if kept else release


def _may_have_begun(hook: Object, touched: Container[str]) -> bool:
    try:
        names = [one.name for one in objects(_text(hook.get("manifest")))]
    except ManifestError:
        return True
    return any(name in touched for name in (*names, ""))


def fingerprint(release: Object) -> str:
    """What a release is: its chart and the values it was given. When, how often and by which Helm does not matter.

    A record holds the chart without its subcharts, so what those render stands for them.
    """
    chart = release.get("chart") or {}
    lock = {name: value for name, value in (chart.get("lock") or {}).items() if name != "generated"}
    plain = {
        "metadata": chart.get("metadata") or {},
        "lock": lock,
        "templates": _files(chart.get("templates")),
        "files": _files(chart.get("files")),
        "values": chart.get("values") or {},
        "schema": chart.get("schema") or "",
        "config": release.get("config") or {},
        "subcharts": sorted(_of_subcharts(release)),
    }
    canonical = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return "v1:" + hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()


def _files(files: Any) -> list[tuple[str, str]]:
    return sorted((_text(one.get("name")), _text(one.get("data"))) for one in _list(files))


def _of_subcharts(release: Object) -> Iterator[str]:
    for source, text in documents(_text(release.get("manifest"))):
        if "/charts/" in source:
            yield text
    for hook in _list(release.get("hooks")):
        if "/charts/" in _text(hook.get("path")):
            yield _text(hook.get("manifest"))


def _chart(release: Object) -> str:
    metadata = (release.get("chart") or {}).get("metadata") or {}
    return f"{metadata.get('name', '?')}-{metadata.get('version', '?')}"


def _modified(secret: Object) -> datetime:
    """When the Secret was last written, by the API server's clock."""
    managed = secret["metadata"].get("managedFields") or []
    times = [time for entry in managed if (time := _time(entry.get("time"))) is not None]
    return max([*times, *([made] if (made := created(secret)) else [])], default=datetime.fromtimestamp(0, UTC))


def _time(text: Any) -> datetime | None:
    if not isinstance(text, str) or not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _list(value: Any) -> list[Any]:
    return [one for one in value if one] if isinstance(value, list) else []
