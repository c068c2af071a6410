"""Folders of manifests: what Argo CD reads of them."""

from __future__ import annotations

import asyncio
import posixpath
import re
from collections.abc import Callable

from rollback_operator.gitobjects.kustomizations import KUSTOMIZATIONS
from rollback_operator.gitobjects.paths import Found, Paths, Place
from rollback_operator.gitobjects.patterns import compiled
from rollback_operator.gitobjects.program import Entry, Unknowable
from rollback_operator.gitobjects.spots import Directory

_MANIFEST = re.compile(r".*\.(yaml|yml|json|jsonnet)", re.DOTALL)
"""Names of the files that Argo CD reads of a folder of manifests (`manifestFile` in its repository server)."""


async def those(entries: list[Entry], fitting: Callable[[Entry], bool]) -> list[Entry]:
    """Those that fit; tens of thousands and a long pattern keep nothing else waiting."""
    return await asyncio.to_thread(lambda: [one for one in entries if fitting(one)])


async def of_directory(paths: Paths, how: Directory, folder: Place) -> Found:
    """The manifests of a folder."""
    entries = await paths.git.below(folder.id, deep=how.recurse)
    names = {one.path for one in entries}
    if names & set(how.overrides) or any(name.endswith(".jsonnet") for name in names):
        return Found(leads=[folder.path])
    included, excluded = _pattern(how.include), _pattern(how.exclude)

    def is_read(one: Entry) -> bool:
        manifest = one.kind == "blob" and _MANIFEST.fullmatch(one.path) is not None
        return one.kind == "commit" or (manifest and included(one.path) and not excluded(one.path, ""))

    read = await those(entries, is_read)
    # Whatever comes to be a chart or a kustomization is read in another way from then on.
    found = {f"{folder.path} as {name}": "there" for name in (*KUSTOMIZATIONS, "Chart.yaml") if name in names}
    found |= {posixpath.join(folder.path, one.path): one.id for one in read}
    return Found(found, links=[posixpath.join(folder.path, one.path) for one in read if one.is_link])


def _pattern(pattern: str) -> Callable[..., bool]:
    """What tells whether a path matches; without a pattern it says yes, or what is asked about is empty."""
    if not pattern:
        return lambda path, without="*": bool(path and without)
    try:
        found = compiled(pattern)
    except ValueError as error:
        raise Unknowable(f"the pattern {pattern[:40]!r} of its source {error}") from None
    return lambda path, without="*": found.fullmatch(path) is not None  # noqa: ARG005 - as the other
