"""What of a commit belongs to what is deployed from one of its folders.

Of a folder of manifests that is what Argo CD reads, of a chart what Helm does, of a kustomization what it names. All of
a folder would be the simpler answer, and would call a change of another environment's values one of this.
"""

from __future__ import annotations

import asyncio
import hashlib
import posixpath
import re

from rollback_operator.gitobjects import charts
from rollback_operator.gitobjects.descriptions import outside_of
from rollback_operator.gitobjects.kustomizations import KUSTOMIZATIONS, of_kustomization
from rollback_operator.gitobjects.manifests import of_directory
from rollback_operator.gitobjects.paths import MOST, Found, Paths, Place, is_below, normal
from rollback_operator.gitobjects.program import Git, Unknowable
from rollback_operator.gitobjects.spots import Chart, Directory, Identity, Reads, Spot

_NAMING = "|".join((*map(re.escape, KUSTOMIZATIONS), charts.DESCRIBING.pattern))
"""Files that name others, outside of their own folder, that belong to what they describe."""
_LEADING = re.compile(rf"120000 .*|[^\t]*\t(?:{_NAMING})".encode(), re.DOTALL)
"""Of what `git ls-tree` lists below a folder: links, and what names others."""


async def identity_of(git: Git, spot: Spot) -> Identity:
    """Digests of all that belongs to the spot.

    Raises:
        Unknowable: there is no such path, or what is there cannot be told.
    """
    paths, folder = Paths(git, spot.commit), normal(spot.path)
    place = (await paths.find([folder]))[folder]
    if place is None:
        raise Unknowable(f"there is no {spot.path} at {spot.commit[:12]}")
    found = await _read(paths, spot, place, folder)
    found.ids |= {f"{folder} by links": " ".join(place.links)} if place.links else {}
    found.leads += [normal(one) for one in spot.also]
    await _follow(paths, spot, found)
    return Identity(await _digest(found.ids), await _digest(await _of_rest(paths, spot, found)) if found.rest else "")


async def reads_of(git: Git, spot: Spot) -> Reads:
    """Which files the templates of a chart, and the values that it is given, ask for.

    Raises:
        Unknowable: that are too many, or the repository does not give them.
    """
    return await charts.reads_of(Paths(git, spot.commit), spot)


async def _read(paths: Paths, spot: Spot, place: Place, folder: str) -> Found:
    if spot.how is None or place.kind != "tree":
        return Found(leads=[folder])
    if isinstance(spot.how, Directory):
        return await of_directory(paths, spot.how, place)
    if isinstance(spot.how, Chart):
        return await charts.of_chart(paths, spot.how, place, folder)
    return await of_kustomization(paths, spot.how, place)


async def _digest(ids: dict[str, str]) -> str:
    return await asyncio.to_thread(lambda: hashlib.sha256(repr(sorted(ids.items())).encode()).hexdigest())


async def _of_rest(paths: Paths, spot: Spot, found: Found) -> dict[str, str]:
    """What of a chart is only read if it is asked for, with where links lead to."""
    rest = Found(dict(found.rest), links=found.rest_links)
    try:
        await _follow(paths, spot, rest)
    except Unknowable:
        rest.ids["links"] = spot.commit  # that makes it another one, and the templates tell
    return rest.ids


async def _follow(paths: Paths, spot: Spot, found: Found) -> None:
    """Take all that the leads have, and what their files name, and so on."""
    named, linked, walked = set[str](), set[str](), set[str]()
    while found.leads or found.links:
        asked = ({*found.leads} | {*found.links}) - named - linked
        named |= {*found.leads} - linked
        linked |= {*found.links} - named
        found.leads, found.links = [], []
        if len(named) > MOST:
            raise Unknowable(f"{spot.path} leads to more than {MOST} other paths")
        for path, place in (await paths.find(sorted(asked))).items():
            found.ids[path] = place.identity if place else "none"
            if place is None or place.kind != "tree" or place.path in walked:
                continue
            walked.add(place.path)
            if len(walked) > MOST:
                raise Unknowable(f"{spot.path} leads to more than {MOST} other folders")
            await _beyond(paths, place, found)


async def _beyond(paths: Paths, folder: Place, found: Found) -> None:
    """Where links in a folder, and its descriptions, lead out of it."""
    entries = await paths.git.below(folder.id, deep=True, only=_LEADING)
    links = [one for one in entries if one.is_link]
    found.links += await paths.out(folder.path, links, lambda path: is_below(path, folder.path))
    described = [one for one in entries if re.fullmatch(_NAMING, one.path)]
    for path, text in (await paths.texts(folder.path, described)).items():
        there = posixpath.join(folder.path, posixpath.dirname(path))
        found.leads += [normal(posixpath.join(there, one)) for one in outside_of(text)]
