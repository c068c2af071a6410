"""Kustomizations: what they name, and what of that names more."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable

from rollback_operator.gitobjects.descriptions import documents, strings_in, strings_of
from rollback_operator.gitobjects.paths import MOST, Found, Paths, Place, is_below
from rollback_operator.gitobjects.program import Unknowable
from rollback_operator.gitobjects.spots import Kustomization

KUSTOMIZATIONS = ("kustomization.yaml", "kustomization.yml", "Kustomization")
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
_STRINGS = 1000
_LONGEST = 1000
"""Characters of what may be a path."""


async def of_kustomization(paths: Paths, how: Kustomization, folder: Place) -> Found:
    """The kustomization and what it names; of a folder in it the same."""
    found = Found()
    waiting, seen = {folder.path: folder.id}, set[str]()
    given = [posixpath.normpath(posixpath.join(folder.path, one)) for one in how.used]
    while waiting:
        here, tree = waiting.popitem()
        seen.add(here)
        if len(seen) > MOST:
            raise Unknowable(f"{folder.path or 'the repository'} leads to more than {MOST} other paths")
        listed = {one.path: one for one in await paths.git.below(tree)}
        name = next((one for one in KUSTOMIZATIONS if one in listed), None)
        if name is None:
            found.leads.append(here)
            continue
        told = [name, *(one for one in how.overrides if one in listed and here == folder.path)]
        asked = given
        for one in told:
            at = posixpath.join(here, one)
            file = (await paths.find([at]))[at] if listed[one].is_link else Place(at, listed[one].kind, listed[one].id)
            found.ids[at] = file.identity if file else "none"
            if file is None or file.kind != "blob":
                found.leads.append(here)
                continue
            text = await paths.git.blob(file.id)
            if one == name and (hiding := _hiding(text)):
                found.leads.append(here)
                plugins = await there(paths, _paths(strings_of(hiding), here))
                texts = await paths.git.blobs(plugin.id for plugin in plugins.values() if plugin.kind == "blob")
                asked = [*asked, *(path for inner in texts.values() for path in paths_in(inner, here))]
            asked = [*asked, *paths_in(text, here)]
        named = await there(paths, asked)
        found.ids |= {path: one.identity for path, one in named.items() if one.kind != "tree" or one.links}
        further = {one.path: one.id for one in named.values() if one.kind == "tree" and not is_below(here, one.path)}
        waiting |= {path: one for path, one in further.items() if path not in seen}
        given = []
    return found


def _hiding(text: bytes) -> list[object]:
    """What a kustomization has in fields that hide what is read."""
    return [one[key] for one in documents(text) if isinstance(one, dict) for key in _HIDING if key in one]


def paths_in(text: bytes, folder: str) -> list[str]:
    """Paths that a description may mean, from the top of the repository."""
    return _paths(strings_in(text, but=_NO_PATHS), folder)


def _paths(strings: Iterable[str], folder: str) -> list[str]:
    named = [path for one in strings for path in {one, one.partition("=")[2]}]  # KEY=FILE
    plain = [path for path in named if path and len(path) <= _LONGEST and "\n" not in path and "://" not in path]
    found = [posixpath.normpath(posixpath.join(folder, path)) for path in plain]
    if len(found) > _STRINGS:
        raise Unknowable(f"a description in it names more than {_STRINGS} paths")
    return found


async def there(paths: Paths, named: Iterable[str]) -> dict[str, Place]:
    """What there is of the paths. One that leads out of the repository is none."""
    plain = [one for one in named if one not in ("", ".") and not one.startswith(("..", "/"))]
    return {path: place for path, place in (await paths.find(plain)).items() if place is not None}
