"""Charts: what Helm reads of each, and the further files that templates ask for."""

from __future__ import annotations

import asyncio
import posixpath
import re
from collections.abc import Collection, Iterable, Iterator

from rollback_operator.gitobjects import archives
from rollback_operator.gitobjects.descriptions import strings_in
from rollback_operator.gitobjects.kustomizations import paths_in, there
from rollback_operator.gitobjects.manifests import those
from rollback_operator.gitobjects.paths import MOST, Found, Paths, Place, is_below, normal
from rollback_operator.gitobjects.patterns import compiled
from rollback_operator.gitobjects.program import Entry, Unknowable
from rollback_operator.gitobjects.spots import Chart, Reads, Spot

_OF_CHART = frozenset(
    {
        ".helmignore",
        "Chart.lock",
        "Chart.yaml",
        "charts",
        "crds",
        "requirements.lock",
        "requirements.yaml",
        "templates",
        "values.schema.json",
        "values.yaml",
    }
)
"""What Helm reads of every chart. What else is there is read by templates that ask for it (`.Files`), or by nobody."""
DESCRIBING = re.compile(r"(?:charts/[^/]+/)*(?:Chart|requirements)\.yaml")
"""Files that name what a chart, or one in it, depends on."""
_VALUES = re.compile(r"(?:charts/[^/]+/)*values\.yaml")
_ARCHIVE = re.compile(r"(?:charts/[^/]+/)*charts/[^/]+\.t(?:ar\.)?gz")
_LINKS = re.compile(rb"120000 .*|[^\t]*\t(?:charts/[^/]+/)+(?:Chart|requirements)\.yaml", re.DOTALL)
"""Of what `git ls-tree` lists below a chart: what leads elsewhere."""
_TEMPLATES = 2000
_FILES = re.compile(rb"""[."']Files\b(?:\.[A-Za-z]+[ \t]+"([^"\\\n]*)")?""")
"""How a template gets at the files of its chart, and what it asks for if that is written out."""


async def of_chart(paths: Paths, how: Chart, folder: Place, named: str) -> Found:
    """What Helm reads of a chart; `named`: where it is by the name of the source, which may be a link."""
    top = await paths.git.below(folder.id)
    known = {one.path: one for one in top if one.path in _OF_CHART or one.path in how.overrides}
    used = await paths.find(posixpath.normpath(posixpath.join(named, one)) for one in how.used)
    found = Found({posixpath.join(folder.path, one.path): one.id for one in known.values()})
    found.ids |= {path: one.identity if one else "none" for path, one in used.items()}
    taken = {one.path for one in used.values() if one is not None}
    found.rest = {
        one.path: one.id for one in top if one.path not in known and posixpath.join(folder.path, one.path) not in taken
    }
    if how.read:
        patterns = [compiled(one, of_path=True) for one in how.read]
        entries = await paths.files(folder)
        read = await those(entries, lambda one: any(pattern.fullmatch(one.path) for pattern in patterns))
        found.ids |= {posixpath.join(folder.path, one.path): one.id for one in read}
    further = await paths.git.below(folder.id, deep=True, only=_LINKS)
    links = {posixpath.join(folder.path, one.path): one for one in further if one.is_link}
    counted = [posixpath.join(folder.path, one) for one in known]
    of_known = [one for one in links.values() if one.path.partition("/")[0] in known]
    found.links = await paths.out(folder.path, of_known, lambda path: any(is_below(path, one) for one in counted))
    found.rest_links = [path for path, one in links.items() if one not in of_known]
    found.leads += await _depending(paths, folder.path, {*known.values(), *further})
    overriding = [one for name, one in known.items() if name in how.overrides]
    for text in (await paths.texts(folder.path, overriding)).values():
        found.ids |= {path: place.identity for path, place in (await there(paths, paths_in(text, named))).items()}
    return found


async def _depending(paths: Paths, folder: str, entries: Collection[Entry]) -> list[str]:
    """Charts that it and the charts in it depend on, in the repository."""
    texts = await paths.texts(folder, [one for one in entries if DESCRIBING.fullmatch(one.path)])
    return [
        normal(posixpath.join(folder, posixpath.dirname(path), depended))
        for path, text in texts.items()
        for depended in _dependencies(strings_in(text))
    ]


def _dependencies(named: Iterable[str]) -> Iterator[str]:
    for one in named:
        if one.startswith(("file://", "../")):
            yield one.removeprefix("file://")


async def reads_of(paths: Paths, spot: Spot) -> Reads:
    """Which files its templates, and the values that it is given, ask for.

    A template of a chart that it depends on may be included by its own, and reads its files then. Of a spot that is no
    chart, it is the values that it lends.

    Raises:
        Unknowable: that are too many, or the repository does not give them.
    """
    asking: set[str] = set()
    packed: set[str] = set()
    is_all, values = True, set(spot.also)
    if isinstance(spot.how, Chart):
        values |= {posixpath.join(spot.path, one) for one in (*spot.how.used, *spot.how.overrides)}
        for entries in await _charts(paths, normal(spot.path)):
            asking |= {one.id for one in entries if one.kind == "blob" and _is_rendered(one.path)}
            packed |= {one.id for one in entries if _ARCHIVE.fullmatch(one.path)}
            is_all = is_all and not any(_is_away(one) for one in entries)
    else:
        values.add(spot.path)
    found = await paths.find(map(normal, values))
    asking |= {one.id for one in found.values() if one is not None and one.kind == "blob"}
    if len(asking) + len(packed) > _TEMPLATES:
        raise Unknowable(f"{spot.path} has more than {_TEMPLATES} templates")
    texts = [*(await paths.git.blobs(asking)).values()]
    unpacked, are_all = await asyncio.to_thread(archives.texts, [*(await paths.git.blobs(packed)).values()], _is_packed)
    inline = spot.how.values.encode() if isinstance(spot.how, Chart) else b""
    return _asked_for(b"\n".join((*texts, *unpacked, inline)), others=not (is_all and are_all))


def _asked_for(text: bytes, *, others: bool) -> Reads:
    patterns: set[str] = set()
    for match in _FILES.finditer(text):
        pattern = (match[1] or b"").decode(errors="replace")
        if pattern and _is_pattern(pattern):
            patterns.add(pattern)
        else:
            others = True
    return Reads(tuple(sorted(patterns)), others)


async def _charts(paths: Paths, path: str) -> list[list[Entry]]:
    """The files of the chart, and those of each that it depends on in the repository."""
    found: dict[str, list[Entry]] = {}
    waiting = [path]
    while waiting:
        places = await paths.find(waiting)
        waiting = []
        for place in places.values():
            if place is None or place.kind != "tree" or place.path in found:
                continue
            found[place.path] = await paths.files(place)
            if len(found) > MOST:
                raise Unknowable(f"{path} depends on more than {MOST} charts")
            waiting += await _depending(paths, place.path, found[place.path])
    return [*found.values()]


def _is_rendered(path: str) -> bool:
    return "templates" in path.split("/")[:-1] or _VALUES.fullmatch(path) is not None


def _is_away(one: Entry) -> bool:
    """Whether it is of another repository, or a link that leads to nothing."""
    return (one.kind != "blob" or one.is_link) and one.path.startswith(("templates", "charts"))


def _is_packed(path: str) -> bool:
    """Whether a file of an archive, which has a folder of the chart's name, is rendered."""
    return _is_rendered(path.removeprefix("./").partition("/")[2])


def _is_pattern(text: str) -> bool:
    try:
        compiled(text, of_path=True)
    except ValueError:
        return False
    return True
