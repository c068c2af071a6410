"""Paths in a commit, and where symbolic links in them lead to.

Whoever reads a file reads what its link leads to, and a link may stand anywhere in a path; so nothing else asks Git for
what is at a path. Links that nobody can follow are said, as what they lead to would be missed.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace

from rollback_operator.gitobjects.program import Entry, Git, Unknowable

_IN_A_ROW = 10
"""Links that lead to links."""
_LINKS = 2000
MOST = 100
"""Folders that one description may lead to."""
_FILES = 100_000
"""Files that a folder may have, with those that its links lead to."""
_LONGEST = 4096
"""Bytes of a path."""
_ASKED = 1024 * 1024
"""Characters of paths that are asked for at once; Linux gives a program twice that for all that it is told."""


@dataclass(frozen=True, slots=True)
class Place:
    """What a path comes to."""

    path: str
    """Where it is, without links."""
    kind: str
    """`blob`, `tree`, or `commit`: another repository, that the path leads into."""
    id: str
    links: tuple[str, ...] = ()
    """Ids of the links that lead to it."""

    @property
    def identity(self) -> str:
        """The same if and only if it is, and is reached in the same way."""
        return " ".join((self.id, *self.links))


@dataclass
class Found:
    """Ids by path, and paths that these lead to: of which everything counts."""

    ids: dict[str, str] = field(default_factory=dict)
    leads: list[str] = field(default_factory=list)
    rest: dict[str, str] = field(default_factory=dict)
    links: list[str] = field(default_factory=list)
    """As `leads`, which are links."""
    rest_links: list[str] = field(default_factory=list)


class Paths:
    """Of one commit."""

    def __init__(self, git: Git, commit: str) -> None:
        self.git = git
        self._commit = commit
        self._targets: dict[str, str] = {}

    async def find(self, paths: Iterable[str]) -> dict[str, Place | None]:
        """What these paths come to; None for those where nothing is. They are as `normal` gives them.

        Raises:
            Unknowable: a link among them leads out of the repository, or in a circle, or there are too many.
        """
        found: dict[str, Place | None] = {}
        waiting: dict[str, tuple[str, tuple[str, ...]]] = {path: (path, ()) for path in paths}
        for _ in range(_IN_A_ROW + 1):
            asked = _with_those_above(path for path, _ in waiting.values())
            there = {one.path: one for one in await self.git.at(self._commit, asked)}
            if any(not path for path, _ in waiting.values()):
                there[""] = Entry("", "tree", await self.git.root(self._commit))
            linked: dict[str, tuple[Entry, str, tuple[str, ...]]] = {}
            for one, (path, links) in waiting.items():
                first = next((there[above] for above in _upwards(path) if above in there), there.get(path))
                if first is not None and first.is_link:
                    linked[one] = (first, path[len(first.path) :].lstrip("/"), (*links, first.id))
                elif first is None or (first.path != path and first.kind != "commit"):
                    found[one] = None
                else:
                    found[one] = Place(first.path, first.kind, first.id, links)
            if not linked:
                return found
            targets = await self.targets([link for link, _, _ in linked.values()])
            waiting = {
                one: (normal(posixpath.join(targets[link.path], below)), links)
                for one, (link, below, links) in linked.items()
            }
        raise Unknowable(f"more than {_IN_A_ROW} links lead to each other, from {min(waiting)} on")

    async def targets(self, links: Iterable[Entry]) -> dict[str, str]:
        """Where links lead to, by their paths; these are from the top of the repository.

        Raises:
            Unknowable: that is nowhere in it, or there are too many.
        """
        asked = {one.path: one for one in links}
        new = [one for path, one in asked.items() if path not in self._targets]
        if len(self._targets) + len(new) > _LINKS:
            raise Unknowable(f"more than {_LINKS} links belong to it")
        texts = await self.git.blobs(one.id for one in new)
        self._targets |= {one.path: _target(one.path, texts[one.id]) for one in new}
        return {path: self._targets[path] for path in asked}

    async def out(self, folder: str, links: Iterable[Entry], is_in: Callable[[str], bool]) -> list[str]:
        """Paths of those links, of a folder, that lead to what is not counted anyway."""
        placed = [replace(one, path=posixpath.join(folder, one.path)) for one in links]
        return [path for path, target in (await self.targets(placed)).items() if not is_in(target)]

    async def texts(self, folder: str, entries: Collection[Entry]) -> dict[str, bytes]:
        """The contents of files of a folder, by their paths in it, also by links; what is no file has none."""
        ids = {one.path: one.id for one in entries if one.kind == "blob" and not one.is_link}
        links = {posixpath.join(folder, one.path): one.path for one in entries if one.is_link}
        for path, place in (await self.find(links)).items() if links else ():
            ids |= {links[path]: place.id} if place is not None and place.kind == "blob" else {}
        texts = await self.git.blobs(ids.values())
        return {path: texts[object_id] for path, object_id in ids.items()}

    async def files(self, folder: Place) -> list[Entry]:
        """All files below a folder, by their paths in it, also those that a link in it leads to.

        Raises:
            Unknowable: as `find`.
        """
        found: list[Entry] = []
        waiting = [("", folder, frozenset((folder.path,)))]
        walked = 0
        while waiting:
            name, place, chain = waiting.pop()
            walked += 1
            listed = await self.git.below(place.id, deep=True)
            found += [replace(one, path=posixpath.join(name, one.path)) for one in listed if not one.is_link]
            links = {posixpath.join(place.path, one.path): one for one in listed if one.is_link}
            for path, target in (await self.find(links)).items():
                called = posixpath.join(name, links[path].path)
                if target is None or target.kind != "tree":
                    found.append(Entry(called, target.kind, target.id) if target else replace(links[path], path=called))
                elif target.path not in chain:
                    waiting.append((called, target, chain | {target.path}))
            if walked + len(waiting) > MOST or len(found) > _FILES:
                raise Unknowable(f"{folder.path or 'the repository'} has too many files or linked folders")
        return found


def _upwards(path: str) -> Iterator[str]:
    """A path and what is above it, but for the top of the repository."""
    while path:
        yield path
        path = posixpath.dirname(path)


def _with_those_above(paths: Iterable[str]) -> set[str]:
    """The paths and all that is above them: a path is found by its link only where that stands."""
    found: set[str] = set()
    room = _ASKED
    for path in paths:
        for one in _upwards(path):
            if one in found:
                break
            found.add(one)
            room -= len(one)
            if room < 0:
                raise Unknowable("too many, or too long, paths in it lead to others")
    return found


def _target(path: str, text: bytes) -> str:
    try:
        target = text.decode()
    except UnicodeDecodeError:
        target = ""
    parts = target.split("/")
    downwards = next((number for number, part in enumerate(parts) if part not in ("", ".", "..")), len(parts))
    if not target or len(text) > _LONGEST or target.startswith("/") or ".." in parts[downwards:] or "\ufffd" in path:
        raise Unknowable(f"nobody can tell from the repository where the link {path} leads to")
    return normal(posixpath.join(posixpath.dirname(path), target))


def is_below(path: str, folder: str) -> bool:
    """Whether a path is a folder's, or of what is in it."""
    return not folder or f"{path}/".startswith(f"{folder}/")


def normal(path: str) -> str:
    """A path as Git names it; the root of the repository is empty.

    Raises:
        Unknowable: it is outside of the repository.
    """
    normal = posixpath.normpath("/" + path).lstrip("/")
    if posixpath.normpath(path.lstrip("/") or ".").startswith(".."):
        raise Unknowable(f"{path} is outside of the repository")
    return "" if normal == "." else normal
