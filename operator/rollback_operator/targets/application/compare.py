"""Whether Git would bring an Application something else than what must not come back."""

from __future__ import annotations

from typing import Any

from rollback_operator.core.hold import Comparison
from rollback_operator.gitobjects import Credentials, GitObjects, Spot, Unknowable, ref_of
from rollback_operator.targets.application.content import Content
from rollback_operator.targets.application.held import Hold, Piece, Pieces, pieces
from rollback_operator.targets.application.operation import annotations_of
from rollback_operator.targets.application.words import told

Object = dict[str, Any]
PATHS_ANNOTATION = "argocd.argoproj.io/manifest-generate-paths"
"""On an Application: further paths that it is made of, in the words of whoever wrote it."""
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
    if list(now.sources) != _sources(app["spec"]):
        return Comparison(changed=False)  # Argo CD has not looked since the sources were changed: it will
    found = pieces(now)
    try:
        same = [await _same(app, bad, found, objects, credentials) for bad in hold.bad]
    except Unknowable as error:
        return Comparison(None, told(str(error), _MOST))
    return Comparison(not any(same), f"{now}")


def _trouble(app: Object) -> str:
    conditions = (app.get("status") or {}).get("conditions") or []
    said = [str(one.get("message")) for one in conditions if str(one.get("type")).endswith("Error")]
    return told((said or ["it did not compare it yet"])[0], _SOME)


def _sources(spec: Object) -> list[Object]:
    return spec.get("sources") or [spec.get("source") or {}]


async def _same(app: Object, bad: Pieces, now: Pieces, objects: GitObjects, credentials: Credentials | None) -> bool:
    """Whether both are the same as far as this Application is concerned.

    Raises:
        Unknowable: that could not be found out.
    """
    if len(bad) != len(now) or any(one.digest != other.digest for one, other in zip(bad, now, strict=True)):
        return False
    moved = [number for number, (one, other) in enumerate(zip(bad, now, strict=True)) if one.revision != other.revision]
    if not moved:
        return True
    if any(now[number].chart for number in moved):
        return False
    for number, piece in enumerate(now):
        if not _depends_on(piece, number, moved, now):
            continue
        before = await _identity(app, bad, number, objects, credentials)
        if before != await _identity(app, now, number, objects, credentials):
            return False
    return True


def _depends_on(piece: Piece, number: int, moved: list[int], all_: Pieces) -> bool:
    if number in moved:
        return True
    names = {all_[other].ref for other in moved}
    return any(found is not None and found[0] in names for found in map(ref_of, piece.files))


async def _identity(
    app: Object, content: Pieces, number: int, objects: GitObjects, credentials: Credentials | None
) -> tuple[str, ...]:
    """What a source is made of, at its commit: its own place, and the value files that it takes from other sources."""
    piece = content[number]
    mine = () if piece.chart or _only_lends(piece) else (await objects.identity(_spot(app, piece), credentials),)
    lent = [_lent(content, found[0], found[1]) for found in map(ref_of, piece.files) if found is not None]
    return (*mine, *[await objects.identity(spot, credentials) for spot in lent])


def _only_lends(piece: Piece) -> bool:
    """Whether it brings nothing itself, but files for other sources."""
    return bool(piece.ref) and not piece.path


def _spot(app: Object, piece: Piece) -> Spot:
    beside = tuple(_beside(piece.path, file) for file in piece.files if ref_of(file) is None and not _in_it(file))
    return Spot(piece.repo, piece.revision, piece.path, (*beside, *_declared(app, piece.path)))


def _in_it(file: str) -> bool:
    return not file.startswith(("/", "..")) and "://" not in file


def _beside(path: str, file: str) -> str:
    if "://" in file:
        raise Unknowable(f"the value file {file} is not in a repository")
    return file if file.startswith("/") else f"{path}/{file}"


def _declared(app: Object, path: str) -> tuple[str, ...]:
    named = annotations_of(app).get(PATHS_ANNOTATION, "").split(";")
    plain = [one.strip() for one in named if one.strip()]
    return tuple(one if one.startswith("/") else f"{path}/{one}" for one in plain)


def _lent(content: Pieces, name: str, file: str) -> Spot:
    lender = next((piece for piece in content if piece.ref == name), None)
    if lender is None:
        raise Unknowable(f"no source is called {name}, which a value file is to come from")
    return Spot(lender.repo, lender.revision, file)
