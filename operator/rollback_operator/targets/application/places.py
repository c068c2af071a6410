"""Where in Git the things stand that a source of an Application is made of, and how Argo CD reads them."""

from __future__ import annotations

import posixpath
import re
from typing import Any

from rollback_operator.gitobjects import Chart, Directory, How, Kustomization, Spot, Unknowable
from rollback_operator.gitobjects.descriptions import strings_of
from rollback_operator.targets.application.operation import annotations_of

Object = dict[str, Any]
PATHS_ANNOTATION = "argocd.argoproj.io/manifest-generate-paths"
"""On an Application: further paths that it is made of, in the words of whoever wrote it."""
_REF = re.compile(r"^\$([^/]+)/(.+)$")
_VARIABLE = re.compile(r"\$(?:\$|\{([^}]*)\}|([A-Za-z0-9_]+))")
"""As Go's `os.Expand` has them; `$$` is none."""
_BUILD = "ARGOCD_"
"""What the names of Argo CD's own variables begin with."""


def spots(app: Object, sources: tuple[Object, ...], revisions: tuple[str, ...], number: int) -> list[Spot]:
    """What a source is made of, at its commit: its own place, and the files that it takes from other sources.

    Raises:
        Unknowable: it is made of something else, too.
    """
    source = sources[number]
    files = [one for one in _named(app, source) if not _is_open(one)]
    lent = [_lent(sources, revisions, *found) for found in map(ref_of, files) if found is not None]
    if source.get("chart") or (source.get("ref") and not source.get("path")):
        return lent
    path = source.get("path") or ""
    own = [one for one in files if ref_of(one) is None]
    also = (*_beside(own, path), *_libraries(source), *_declared(app, path))
    return [Spot(source["repoURL"], revisions[number], path, also, _how(app, source, number, own)), *lent]


def files_of(source: Object) -> list[str]:
    """The files that Helm is given, as the source names them."""
    helm = source.get("helm") or {}
    parameters = [one.get("path") or "" for one in helm.get("fileParameters") or ()]
    return [one for one in (*(helm.get("valueFiles") or ()), *parameters) if one]


def ref_of(file: str) -> tuple[str, str] | None:
    """The source and the path in it that a value file such as `$values/web.yaml` names."""
    found = _REF.match(file)
    return (found[1], found[2]) if found and not found[1].startswith((_BUILD, "{")) else None


def open_files(app: Object, source: Object) -> tuple[list[str], list[str]]:
    """Files that are only known when it is rendered, such as `values-*.yaml`: those in the chart, and the others."""
    found = [one for one in _named(app, source) if _is_open(one)]
    inside = [one for one in found if ref_of(one) is None and _in_it(one)]
    return inside, [one for one in found if one not in inside]


def _is_open(file: str) -> bool:
    found = ref_of(file)
    return not set(found[1] if found else file).isdisjoint("$*?[{")


def _named(app: Object, source: Object) -> list[str]:
    """Its files, with what Argo CD puts in for variables; each by every name that it may have then.

    An Application outside of Argo CD's own namespace is called NAMESPACE_NAME there. The branch is left open, as that
    of what was rolled back from may have been another one; so are commits.
    """
    spec = app["spec"]
    known = {
        "ARGOCD_APP_NAMESPACE": (spec.get("destination") or {}).get("namespace") or "",
        "ARGOCD_APP_PROJECT_NAME": spec.get("project") or "default",
        "ARGOCD_APP_SOURCE_PATH": source.get("path") or "",
        "ARGOCD_APP_SOURCE_REPO_URL": source.get("repoURL") or "",
    }
    named = (_put_in(one, {**known, "ARGOCD_APP_NAME": name}) for one in files_of(source) for name in _names(app))
    return list(dict.fromkeys(named))


def _names(app: Object) -> tuple[str, str]:
    """What Argo CD may call it."""
    metadata = app["metadata"]
    return metadata["name"], f"{metadata.get('namespace')}_{metadata['name']}"


def _put_in(file: str, known: dict[str, str]) -> str:
    """The file's name with its variables; those that nobody knows stay."""
    lender, path = ref_of(file) or ("", file)
    found = _VARIABLE.sub(lambda match: known.get(match[1] or match[2] or "", match[0]), path)
    return f"${lender}/{found}" if lender else found


def _how(app: Object, source: Object, number: int, files: list[str]) -> How | None:
    """How Argo CD reads it, by its own word; None if it does not say, or by a program that nobody knows."""
    kind = _kind(app, number)
    overrides = (".argocd-source.yaml", *(f".argocd-source-{name}.yaml" for name in _names(app)))
    if kind == "Directory":
        options = source.get("directory") or {}
        if any((options.get("jsonnet") or {}).values()):
            return None
        recurse = options.get("recurse") is True
        return Directory(recurse, options.get("include") or "", options.get("exclude") or "", overrides)
    if kind == "Helm":
        return Chart(tuple(filter(_in_it, files)), (), overrides, _rendered(source))
    if kind == "Kustomize":
        options = source.get("kustomize") or {}
        patches = [one["path"] for one in options.get("patches") or () if one.get("path")]
        return Kustomization((*(options.get("components") or ()), *patches), overrides)
    return None


def _rendered(source: Object) -> str:
    """Values that the source itself has, as far as templates in them may read files of the chart."""
    helm = source.get("helm") or {}
    texts = strings_of([helm.get(key) for key in ("values", "valuesObject", "parameters")])
    return "\n".join(one for one in texts if "Files" in one)


def _kind(app: Object, number: int) -> str | None:
    status, several = app.get("status") or {}, app["spec"].get("sources")
    if not several:
        return status.get("sourceType")
    kinds = status.get("sourceTypes") or []
    return kinds[number] if len(kinds) == len(several) else None


def _beside(files: list[str], path: str) -> tuple[str, ...]:
    """Files that Helm is given which are not below the chart."""
    outside = [one for one in files if not _in_it(one)]
    for one in outside:
        if "://" in one:
            raise Unknowable(f"the value file {one} is not in a repository")
    return tuple(one if one.startswith("/") else f"{path}/{one}" for one in outside)


def _in_it(file: str) -> bool:
    return "://" not in file and not file.startswith("/") and not posixpath.normpath(file).startswith("..")


def _libraries(source: Object) -> tuple[str, ...]:
    """Folders that Jsonnet takes libraries from: Argo CD looks for them from the top of the repository."""
    jsonnet = (source.get("directory") or {}).get("jsonnet") or {}
    return tuple(f"/{one.lstrip('/')}" for one in jsonnet.get("libs") or ())


def _declared(app: Object, path: str) -> tuple[str, ...]:
    """What people named besides. Its own folder is named by many, and adds nothing to how that is read."""
    named = annotations_of(app).get(PATHS_ANNOTATION, "").split(";")
    plain = [one.strip() for one in named if one.strip()]
    mine = posixpath.normpath(f"/{path}")
    paths = [one if one.startswith("/") else f"{path}/{one}" for one in plain]
    return tuple(one for one in paths if posixpath.normpath(f"/{one.lstrip('/')}") != mine)


def _lent(sources: tuple[Object, ...], revisions: tuple[str, ...], name: str, file: str) -> Spot:
    for source, revision in zip(sources, revisions, strict=True):
        if source.get("ref") == name:
            return Spot(source["repoURL"], revision, file)
    raise Unknowable(f"no source is called {name}, which a value file is to come from")
