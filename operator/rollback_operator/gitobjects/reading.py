"""What of a commit belongs to what is deployed from one of its folders.

Of a folder of manifests that is what Argo CD reads, of a chart what Helm does, of a kustomization what it names. All of
a folder would be the simpler answer, and would call a change of another environment's values one of this.
"""

from __future__ import annotations

import asyncio
import hashlib
import posixpath
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from rollback_operator.gitobjects.patterns import compiled
from rollback_operator.gitobjects.program import Entry, Git, Unknowable
from rollback_operator.untrusted import Room, UntrustedError, yaml_in

_KUSTOMIZATIONS = ("kustomization.yaml", "kustomization.yml", "Kustomization")
_CHARTS = ("Chart.yaml", "requirements.yaml")
_NAMING = (*_KUSTOMIZATIONS, *_CHARTS)
"""Files that name others, outside of their own folder, that belong to what they describe."""
_OF_CHART = frozenset(
    (
        *(*_CHARTS, "Chart.lock", "requirements.lock", "values.yaml", "values.schema.json", ".helmignore"),
        *("templates", "charts", "crds"),
    )
)
"""What Helm reads of every chart. What else is there is read by templates that ask for it (`.Files`), or by nobody."""
_HIDING = ("helmCharts", "helmChartInflationGenerator", "helmGlobals", "generators", "transformers", "validators")
"""Fields of a kustomization by which it may read files that it does not name."""
_NO_PATHS = frozenset(
    (
        *("apiVersion", "kind", "metadata", "namespace", "namePrefix", "nameSuffix", "name", "newName", "newTag"),
        *("digest", "commonLabels", "commonAnnotations", "labels", "literals", "images", "replicas", "patch", "target"),
        *("source", "targets", "buildMetadata", "sortOptions"),
    )
)
"""Fields of a kustomization whose values are no paths, even if there should be a file of such a name."""
_MANIFEST = re.compile(r".*\.(yaml|yml|json|jsonnet)", re.DOTALL)
"""Names of the files that Argo CD reads of a folder of manifests (`manifestFile` in its repository server)."""
_LARGEST = 1024 * 1024
_VALUES = 20_000
"""Values that a description may have."""
_MOST = 100
"""Folders that one description may lead to."""
_STRINGS = 1000
_LONGEST = 1000
"""Characters of what may be a path."""
_TEMPLATES = 2000
_FILES = re.compile(rb"""[."']Files\b(?:\.[A-Za-z]+[ \t]+"([^"\\\n]*)")?""")
"""How a template gets at the files of its chart, and what it asks for if that is written out."""


@dataclass(frozen=True, slots=True)
class Directory:
    """A folder of manifests."""

    recurse: bool = False
    include: str = ""
    exclude: str = ""
    overrides: tuple[str, ...] = ()
    """Files in the folder by which these options may be other ones (`.argocd-source.yaml`)."""


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart of Helm."""

    used: tuple[str, ...] = ()
    """Further files that it is given, relative to it."""
    read: tuple[str, ...] = ()
    """Patterns of further files that its templates read."""
    overrides: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Kustomization:
    """A folder that a kustomization describes."""

    used: tuple[str, ...] = ()
    """Further paths that it is given, relative to it."""
    overrides: tuple[str, ...] = ()


How = Directory | Chart | Kustomization


@dataclass(frozen=True, slots=True)
class Spot:
    """A place in a repository at a commit, and what else of it belongs to what is there."""

    url: str
    commit: str
    path: str
    also: tuple[str, ...] = ()
    how: How | None = None
    """How it is read; None: all of it."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Digests of what is at a spot."""

    sure: str
    """Of what is read."""
    rest: str = ""
    """Of what is only read if a chart's templates ask for it."""


@dataclass(frozen=True, slots=True)
class Reads:
    """Which files the templates of a chart ask for."""

    patterns: tuple[str, ...] = ()
    others: bool = False
    """Whether there are some whose names only come to be when it is rendered."""


@dataclass
class _Found:
    """Ids by path, and paths that these lead to: of which everything counts."""

    ids: dict[str, str] = field(default_factory=dict)
    leads: list[str] = field(default_factory=list)
    rest: dict[str, str] = field(default_factory=dict)


async def identity_of(git: Git, spot: Spot) -> Identity:
    """Digests of all that belongs to the spot.

    Raises:
        Unknowable: there is no such path, or what is there cannot be told.
    """
    folder = _normal(spot.path)
    tree = await git.id_of(spot.commit, folder)
    if tree is None:
        raise Unknowable(f"there is no {spot.path} at {spot.commit[:12]}")
    found = await _read(git, spot, folder, tree)
    found.leads += [_normal(one) for one in spot.also]
    await _follow(git, spot, found)
    return Identity(_digest(found.ids), _digest(found.rest) if found.rest else "")


async def _read(git: Git, spot: Spot, folder: str, tree: str) -> _Found:
    if spot.how is None or not await git.is_folder(tree):
        return _Found(leads=[folder])
    if isinstance(spot.how, Directory):
        return await _of_directory(git, spot.how, folder, tree)
    if isinstance(spot.how, Chart):
        return await _of_chart(git, spot, spot.how, folder, tree)
    return await _of_kustomization(git, spot, spot.how, folder, tree)


def _digest(ids: dict[str, str]) -> str:
    return hashlib.sha256(repr(sorted(ids.items())).encode()).hexdigest()


async def _follow(git: Git, spot: Spot, found: _Found) -> None:
    """Take all that the leads have, and what their files name, and so on."""
    seen: set[str] = set()
    while found.leads:
        path = found.leads.pop()
        if path in seen:
            continue
        seen.add(path)
        if len(seen) > _MOST:
            raise Unknowable(f"{spot.path} leads to more than {_MOST} other paths")
        object_id = await git.id_of(spot.commit, path)
        found.ids[path] = object_id or "none"
        if object_id is not None and await git.is_folder(object_id):
            found.leads += await _named_outside(git, path, await git.below(object_id))


async def _linked(git: Git, folder: str, entries: Iterable[Entry]) -> list[str]:
    """Where links lead to."""
    links = [one for one in entries if one.is_link]
    return [
        _normal(posixpath.join(folder, posixpath.dirname(one.path), (await git.blob(one.id)).decode(errors="replace")))
        for one in links
    ]


async def _those(entries: list[Entry], fitting: Callable[[Entry], bool]) -> list[Entry]:
    """Those that fit; tens of thousands and a long pattern keep nothing else waiting."""
    return await asyncio.to_thread(lambda: [one for one in entries if fitting(one)])


# Manifests.


async def _of_directory(git: Git, how: Directory, folder: str, tree: str) -> _Found:
    entries = await git.below(tree, deep=how.recurse)
    names = {one.path for one in entries}
    if names & set(how.overrides) or any(name.endswith(".jsonnet") for name in names):
        return _Found(leads=[folder])
    included, excluded = _pattern(how.include), _pattern(how.exclude)

    def is_read(one: Entry) -> bool:
        manifest = one.kind == "blob" and _MANIFEST.fullmatch(one.path) is not None
        return one.kind == "commit" or (manifest and included(one.path) and not excluded(one.path, ""))

    read = await _those(entries, is_read)
    # Whatever comes to be a chart or a kustomization is read in another way from then on.
    found = {f"{folder} as {name}": "there" for name in (*_KUSTOMIZATIONS, "Chart.yaml") if name in names}
    found |= {posixpath.join(folder, one.path): one.id for one in read}
    return _Found(found, await _linked(git, folder, read))


def _pattern(pattern: str) -> Callable[..., bool]:
    """What tells whether a path matches; without a pattern it says yes, or what is asked about is empty."""
    if not pattern:
        return lambda path, without="*": bool(path and without)
    try:
        found = compiled(pattern)
    except ValueError as error:
        raise Unknowable(f"the pattern {pattern[:40]!r} of its source {error}") from None
    return lambda path, without="*": found.fullmatch(path) is not None  # noqa: ARG005 - as the other


# Charts.


async def _of_chart(git: Git, spot: Spot, how: Chart, folder: str, tree: str) -> _Found:
    top = await git.below(tree)
    known = [one for one in top if one.path in _OF_CHART or one.path in how.overrides]
    used = {posixpath.join(folder, one): "none" for one in map(posixpath.normpath, how.used)}
    found = _Found({posixpath.join(folder, one.path): one.id for one in known} | used)
    found.ids |= {one.path: one.id for one in await git.at(spot.commit, used)}
    found.rest = {
        one.path: one.id for one in top if one not in known and posixpath.join(folder, one.path) not in found.ids
    }
    if how.read:
        found.ids |= await _asked_for(git, how, folder, tree)
    found.leads = await _linked(git, folder, known)
    for one in known:
        if one.path in _CHARTS:
            named = strings_in(await git.blob(one.id))
            found.leads += [_normal(posixpath.join(folder, path)) for path in _dependencies(named)]
        elif one.path in how.overrides:
            found.ids |= {there.path: there.id for there in await _named_in(git, spot, folder, one.id)}
    return found


async def _asked_for(git: Git, how: Chart, folder: str, tree: str) -> dict[str, str]:
    """What the templates read besides, by the patterns that they have."""
    patterns = [compiled(one, of_path=True) for one in how.read]
    entries = await git.below(tree, deep=True)
    found = await _those(entries, lambda one: any(pattern.fullmatch(one.path) for pattern in patterns))
    return {posixpath.join(folder, one.path): one.id for one in found}


def _dependencies(named: Iterable[str]) -> Iterator[str]:
    for one in named:
        if one.startswith(("file://", "../")):
            yield one.removeprefix("file://")


async def reads_of(git: Git, spot: Spot) -> Reads:
    """Which files its templates, and the values that it brings along, ask for.

    Raises:
        Unknowable: that are too many, or the repository does not give them.
    """
    folder = _normal(spot.path)
    tree = await git.id_of(spot.commit, folder)
    assert isinstance(spot.how, Chart)
    values = {"values.yaml", *map(posixpath.normpath, spot.how.used)}
    asking = [
        one.id
        for one in await git.below(tree or "", deep=True)
        if one.kind == "blob" and (one.path in values or "templates" in one.path.split("/")[:-1])
    ]
    if len(asking) > _TEMPLATES:
        raise Unknowable(f"{spot.path} has more than {_TEMPLATES} templates")
    patterns: set[str] = set()
    others = False
    for match in _FILES.finditer(await git.blobs(asking)):
        pattern = (match[1] or b"").decode(errors="replace")
        if pattern and _is_pattern(pattern):
            patterns.add(pattern)
        else:
            others = True
    return Reads(tuple(sorted(patterns)), others)


def _is_pattern(text: str) -> bool:
    try:
        compiled(text, of_path=True)
    except ValueError:
        return False
    return True


# Kustomizations.


async def _of_kustomization(git: Git, spot: Spot, how: Kustomization, folder: str, tree: str) -> _Found:
    """The kustomization and what it names; of a folder in it the same."""
    found = _Found()
    waiting, seen = {folder: tree}, set[str]()
    given = [posixpath.join(folder, one) for one in how.used]
    while waiting:
        here, tree = waiting.popitem()
        seen.add(here)
        if len(seen) > _MOST:
            raise Unknowable(f"{spot.path} leads to more than {_MOST} other paths")
        entries = await git.below(tree)
        described = next((one for name in _KUSTOMIZATIONS for one in entries if one.path == name), None)
        if described is None:
            found.leads.append(here)
            continue
        text = await git.blob(described.id)
        found.ids[posixpath.join(here, described.path)] = described.id
        if _hides(text):
            found.leads.append(here)
        named = await _there(git, spot.commit, [*_paths_in(text, here), *given])
        for one in [one for one in entries if one.path in how.overrides and here == folder]:
            found.ids[posixpath.join(here, one.path)] = one.id
            named += await _named_in(git, spot, here, one.id)
        found.ids |= {one.path: one.id for one in named if one.kind != "tree"}
        found.leads += await _linked(git, "", named)
        further = {one.path: one.id for one in named if one.kind == "tree" and not _is_above(one.path, here)}
        waiting |= {path: one for path, one in further.items() if path not in seen}
        given = []
    return found


def _hides(text: bytes) -> bool:
    return any(isinstance(one, dict) and any(key in one for key in _HIDING) for one in _documents(text))


def _is_above(path: str, folder: str) -> bool:
    """Whether a folder is another, or holds it: a kustomization cannot be made of what it is a part of."""
    return f"{folder}/".startswith(f"{path}/")


def _paths_in(text: bytes, folder: str) -> list[str]:
    """Paths that a description may mean, from the top of the repository."""
    named = [path for one in strings_in(text, but=_NO_PATHS) for path in {one, one.partition("=")[2]}]  # KEY=FILE
    plain = [path for path in named if path and len(path) <= _LONGEST and "\n" not in path and "://" not in path]
    found = [posixpath.normpath(posixpath.join(folder, path)) for path in plain]
    if len(found) > _STRINGS:
        raise Unknowable(f"a description in it names more than {_STRINGS} paths")
    return found


async def _named_in(git: Git, spot: Spot, folder: str, object_id: str) -> list[Entry]:
    return await _there(git, spot.commit, _paths_in(await git.blob(object_id), folder))


async def _there(git: Git, commit: str, paths: Iterable[str]) -> list[Entry]:
    """Those of the paths that there are. One that leads out of the repository is none."""
    return await git.at(commit, [one for one in paths if one not in ("", ".") and not one.startswith(("..", "/"))])


# All of a folder.


async def _named_outside(git: Git, folder: str, entries: Iterable[Entry]) -> list[str]:
    """Paths outside of a folder that its descriptions name."""
    outside: list[str] = []
    for one in entries:
        if one.path in _NAMING:
            outside += [_normal(posixpath.join(folder, path)) for path in outside_of(await git.blob(one.id))]
    return outside


def outside_of(text: bytes) -> Iterator[str]:
    """Relative paths that a description names, which lead out of its folder.

    Raises:
        Unknowable: it is not YAML, or too big to be read.
    """
    for one in strings_in(text):
        if one.removeprefix("file://").startswith("../"):
            yield one.removeprefix("file://")


def strings_in(text: bytes, but: frozenset[str] = frozenset()) -> Iterator[str]:
    """All strings of a description that are values; `but`: not those of, or below, such fields.

    Raises:
        Unknowable: it is not YAML, or too big to be read.
    """
    waiting = _documents(text)
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += [inner for key, inner in value.items() if key not in but]
        elif isinstance(value, list):
            waiting += value
        elif isinstance(value, str):
            yield value


def _documents(text: bytes) -> list[object]:
    if len(text) > _LARGEST:
        raise Unknowable("a description in it is longer than 1 MiB")
    try:
        return yaml_in(text, Room(_VALUES))
    except UntrustedError as error:
        raise Unknowable(f"a description in it {error}") from None


def _normal(path: str) -> str:
    """A path as Git names it; the root of the repository is empty."""
    normal = posixpath.normpath("/" + path).lstrip("/")
    if posixpath.normpath(path.lstrip("/") or ".").startswith(".."):
        raise Unknowable(f"{path} is outside of the repository")
    return "" if normal == "." else normal
