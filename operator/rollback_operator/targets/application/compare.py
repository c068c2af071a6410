"""Whether Git would bring an Application something else than what must not come back."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from rollback_operator.core.hold import Comparison
from rollback_operator.gitobjects import Chart, Credentials, GitObjects, Spot, Unknowable
from rollback_operator.targets.application.content import Content, filled
from rollback_operator.targets.application.held import Hold, Piece, Pieces, pieces
from rollback_operator.targets.application.places import files_of, open_files, ref_of, spots
from rollback_operator.targets.application.words import told

Object = dict[str, Any]
_A_LOOK = timedelta(minutes=1)
"""How long a look of Argo CD's may take that began before a change."""
_SOME, _MOST = 300, 1000
"""Characters of Argo CD's own words that are repeated."""


async def compare(app: Object, hold: Hold, objects: GitObjects, credentials: Credentials | None) -> Comparison:
    """Compare what Argo CD last found in Git with all that was rolled back from.

    Commits are resolved by Argo CD, whose word is what it would sync to. Two commits are told apart by the ids of the
    objects that belong to this Application, so that what else changes in a repository is no change of it.
    """
    now = Content.compared(app)
    if now is None:
        return Comparison(None, f"Argo CD cannot tell what Git has: {_trouble(app)}")
    if [filled(one) for one in now.sources] != [filled(one) for one in _sources(app["spec"])]:
        return _not_seen(app)
    if not hold.bad:
        return Comparison(None, "the hold does not say what was rolled back from")
    trouble: Unknowable | None = None
    for bad in reversed(hold.bad):
        try:
            if await _same(app, bad, now, objects, credentials):
                return Comparison(changed=False)
        except Unknowable as error:
            trouble = trouble or error
    if trouble is not None:
        return Comparison(None, told(str(trouble), _MOST))
    return Comparison(changed=True, words=f"{now}")


def _trouble(app: Object) -> str:
    conditions = (app.get("status") or {}).get("conditions") or []
    said = [str(one.get("message")) for one in conditions if str(one.get("type")).endswith("Error")]
    return told((said or ["it did not compare it yet"])[0], _SOME)


def _sources(spec: Object) -> list[Object]:
    """What Argo CD is to compare with. What it hydrates, it compares with what that came to, on a branch of its own."""
    hydrator = spec.get("sourceHydrator")
    if hydrator:
        dry, sync = hydrator.get("drySource") or {}, hydrator.get("syncSource") or {}
        named = {"repoURL": dry.get("repoURL"), "path": sync.get("path"), "targetRevision": sync.get("targetBranch")}
        return [named]
    return spec.get("sources") or [spec.get("source") or {}]


def _not_seen(app: Object) -> Comparison:
    """What it means that Argo CD compared with other sources than the Application has: it will look, or has looked."""
    looked = (app.get("status") or {}).get("reconciledAt")
    changed = _changed(app)
    if looked and changed and datetime.fromisoformat(looked) <= changed + _A_LOOK:
        return Comparison(changed=False)
    words = "Argo CD says that it compared with other sources than the Application has (status.sync.comparedTo)"
    return Comparison(None, f"{words}, and has looked at it since these were changed")


def _changed(app: Object) -> datetime | None:
    """When what the Application is made of was changed last, as far as its managed fields tell."""
    noted = app["metadata"].get("managedFields") or []
    fields = ((one.get("fieldsV1") or {}).get("f:spec") or {} for one in noted)
    times = [
        one["time"]
        for one, spec in zip(noted, fields, strict=True)
        if one.get("time") and any(f"f:{name}" in spec for name in ("source", "sources", "sourceHydrator"))
    ]
    return max(map(datetime.fromisoformat, times), default=None)


async def _same(app: Object, bad: Pieces, now: Content, objects: GitObjects, credentials: Credentials | None) -> bool:
    """Whether both are the same as far as this Application is concerned.

    Raises:
        Unknowable: that could not be found out.
    """
    found = pieces(now)
    if len(bad) != len(found) or not all(map(Piece.of_same_source, found, bad)):
        return False
    moved = [
        number for number, (one, other) in enumerate(zip(bad, found, strict=True)) if one.revision != other.revision
    ]
    if not moved:
        return True
    if any(found[number].chart for number in moved):
        return False
    # The sources say the same but for the revision: what is true of the one now was true of the one then.
    before = tuple(one.revision for one in bad)
    outside: list[str] = []
    for number, source in enumerate(now.sources):
        if not _depends_on(source, number, moved, now):
            continue
        places = [spots(app, now.sources, revisions, number) for revisions in (before, now.revisions)]
        pairs = [*zip(*places, strict=True)]
        for one, other in pairs:
            unnamed = open_files(app, source)[0]
            lent = [spot for _, spot in pairs if spot.how is None]
            if not await _is_same((one, other), lent, unnamed, objects, credentials):
                return False
        outside += open_files(app, source)[1]
    if outside:
        raise Unknowable(f"nothing else differs, and which file {outside[0]} is, is only known when it is rendered")
    return True


def _depends_on(source: Object, number: int, moved: list[int], now: Content) -> bool:
    if number in moved:
        return True
    names = {now.sources[other].get("ref") for other in moved}
    return any(found is not None and found[0] in names for found in map(ref_of, files_of(source)))


async def _is_same(
    before_and_now: tuple[Spot, Spot],
    lent: list[Spot],
    unnamed: list[str],
    objects: GitObjects,
    credentials: Credentials | None,
) -> bool:
    """Whether both spots have the same, for whoever reads what is there.

    A chart's further files are looked at only if they differ and nothing else does: it takes its templates to tell.
    `lent`: value files of other sources; `unnamed`: value files in the chart whose names nobody knows.

    Raises:
        Unknowable: that cannot be told.
    """
    _, now = before_and_now
    one, other = [await objects.identity(spot, credentials) for spot in before_and_now]
    if one.sure != other.sure:
        return False
    if one.rest == other.rest:
        return True
    assert isinstance(now.how, Chart)
    reads = [await objects.reads(spot, credentials) for spot in (now, *lent)]
    others = any(found.others for found in reads)
    if patterns := {pattern for found in reads for pattern in found.patterns}:
        how = replace(now.how, read=tuple(sorted(patterns)))
        one, other = [await objects.identity(replace(spot, how=how), credentials) for spot in before_and_now]
        if one.sure != other.sure:
            return False
    if others or unnamed:
        what = (
            "its templates read files (.Files), or not all of them could be read"
            if others
            else "names of value files are patterns or have variables"
        )
        raise Unknowable(
            f"at {now.commit[:12]} only files of {now.path or 'the chart'} differ of which that is not known, "
            f"because {what}"
        )
    return True
