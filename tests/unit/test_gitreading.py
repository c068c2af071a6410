"""What of a folder counts, by how it is read: asked of real repositories by the real `git`."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rollback_operator.gitobjects import Chart, Directory, GitObjects, How, Kustomization, Reads, Spot, Unknowable
from rollback_operator.gitobjects.patterns import compiled
from testbed.git import GitRepository

Files = dict[str, str | None]


async def nobody(host: str, port: int) -> list[str]:
    raise OSError(f"{host}:{port} has no address")


@pytest.fixture
def repository(tmp_path: Path) -> GitRepository:
    found = GitRepository(tmp_path / "shop.git")
    # As Git hosts are set: only what is asked for is sent.
    for name in ("uploadpack.allowFilter", "uploadpack.allowAnySHA1InWant"):
        subprocess.run(["git", f"--git-dir={found.folder}", "config", name, "true"], check=True)
    return found


BASE: Files = {
    "web/web.yaml": "image: shop:1",
    "web/notes.md": "a",
    "web/prod/web.json": "{}",
    "web/staging/web.yaml": "a",
    "other/x.yaml": "a",
    "README.md": "a",
}
CHART: Files = {
    "charts/web/Chart.yaml": json.dumps({"dependencies": [{"repository": "file://../library"}]}),
    "charts/web/values.yaml": "a: 1",
    "charts/web/values-prod.yaml": "a: 2",
    "charts/web/values-staging.yaml": "a: 3",
    "charts/web/envs/prod.yaml": "a: 4",
    "charts/web/envs/staging.yaml": "a: 5",
    "charts/web/config/nginx.conf": "a",
    "charts/web/templates/web.yaml": "image: {{ .Values.configFiles }}",
    "charts/web/README.md": "a",
    "charts/library/values.yaml": "a",
    ".github/ci.yaml": "a",
}
OVERLAYS: Files = {
    "kustomization.yaml": json.dumps({"resources": ["apps/web"], "namespace": "other"}),
    "apps/web/kustomization.yaml": json.dumps(
        {
            "resources": ["./front", "web.yaml", "https://example.com/x.yaml"],
            "configMapGenerator": [{"name": "x", "files": ["nginx.conf=conf/nginx.conf"], "literals": ["a=README.md"]}],
            "patches": [{"path": "patch.yaml", "target": {"name": "notes.md"}}, {"patch": "- op: add\n  path: /a"}],
        }
    ),
    "apps/web/web.yaml": "a",
    "apps/web/patch.yaml": "a",
    "apps/web/conf/nginx.conf": "a",
    "apps/web/notes.md": "a",
    "apps/web/front/kustomization.yaml": json.dumps({"resources": ["../../../base"]}),
    "base/kustomization.yml": json.dumps({"resources": ["base.yaml"]}),
    "base/base.yaml": "a",
    "base/other.yaml": "a",
    "component/kustomization.yaml": json.dumps({"kind": "Component", "patches": [{"path": "c.yaml"}]}),
    "component/c.yaml": "a",
    "other/x.yaml": "a",
}
INFLATING: Files = {
    "web/kustomization.yaml": json.dumps({"helmCharts": [{"name": "shop"}]}),
    "web/charts/shop/values.yaml": "a",
}
GENERATING: Files = {
    "web/kustomization.yaml": json.dumps({"generators": ["secrets.yaml"]}),
    "web/secrets.yaml": json.dumps({"files": ["../secrets/web.enc"]}),
    "secrets/web.enc": "a",
    "secrets/shop.enc": "a",
}
PROD = Chart(used=("values-prod.yaml", "envs/prod.yaml"), overrides=(".argocd-source.yaml", ".argocd-source-web.yaml"))
OVERRIDDEN = {**CHART, "charts/web/.argocd-source-web.yaml": json.dumps({"helm": {"valueFiles": ["envs/eu.yaml"]}})}

MOVES: dict[str, tuple[Files, str, How, Files, bool]] = {
    "manifests: a file of it": (BASE, "web", Directory(), {"web/web.yaml": "b"}, True),
    "manifests: a new file": (BASE, "web", Directory(), {"web/more.yml": "b"}, True),
    "manifests: a file that goes": (BASE, "web", Directory(), {"web/web.yaml": None}, True),
    "manifests: what is none": (BASE, "web", Directory(), {"web/notes.md": "b"}, False),
    "manifests: a folder, if it does not recurse": (BASE, "web", Directory(), {"web/prod/web.json": "b"}, False),
    "manifests: a folder, if it recurses": (BASE, "web", Directory(recurse=True), {"web/prod/web.json": "b"}, True),
    "manifests: what is excluded": (
        BASE,
        "web",
        Directory(recurse=True, exclude="staging/*"),
        {"web/staging/web.yaml": "b"},
        False,
    ),
    "manifests: what is not excluded": (
        BASE,
        "web",
        Directory(recurse=True, exclude="staging/*"),
        {"web/prod/web.json": "b"},
        True,
    ),
    "manifests: what is not included": (
        BASE,
        "web",
        Directory(recurse=True, include="{prod/*,*.yml}"),
        {"web/staging/web.yaml": "b"},
        False,
    ),
    "manifests: what is included": (
        BASE,
        "web",
        Directory(recurse=True, include="{prod/*,*.yml}"),
        {"web/prod/web.json": "b"},
        True,
    ),
    "manifests: another folder, when it is all of the repository": (
        {**BASE, "web.yaml": "a"},
        ".",
        Directory(),
        {"other/x.yaml": "b"},
        False,
    ),
    "manifests: a chart that comes to be": (
        BASE,
        "web",
        Directory(include="web.yaml"),
        {"web/Chart.yaml": "a: 1"},
        True,
    ),
    "manifests: anything beside Jsonnet": (
        {**BASE, "web/web.jsonnet": "{}"},
        "web",
        Directory(),
        {"web/lib/x.libsonnet": "b"},
        True,
    ),
    "manifests: anything beside overrides": (
        {**BASE, "web/.argocd-source.yaml": "a: 1"},
        "web",
        Directory(overrides=(".argocd-source.yaml",)),
        {"web/prod/web.json": "b"},
        True,
    ),
    "chart: a template": (CHART, "charts/web", PROD, {"charts/web/templates/web.yaml": "b"}, True),
    "chart: its values": (CHART, "charts/web", PROD, {"charts/web/values.yaml": "b: 1"}, True),
    "chart: values that it is given": (CHART, "charts/web", PROD, {"charts/web/values-prod.yaml": "b"}, True),
    "chart: values that it is given, further down": (
        CHART,
        "charts/web",
        PROD,
        {"charts/web/envs/prod.yaml": "b"},
        True,
    ),
    "chart: a chart that it depends on": (CHART, "charts/web", PROD, {"charts/library/values.yaml": "b"}, True),
    "chart: values of others": (CHART, "charts/web", PROD, {"charts/web/values-staging.yaml": "b"}, False),
    "chart: values of others, further down": (CHART, "charts/web", PROD, {"charts/web/envs/staging.yaml": "b"}, False),
    "chart: its overrides": (CHART, "charts/web", PROD, {"charts/web/.argocd-source-web.yaml": "b: 1"}, True),
    "chart: overrides of others": (CHART, "charts/web", PROD, {"charts/web/.argocd-source-shop.yaml": "b: 1"}, False),
    "chart: values that overrides name": (OVERRIDDEN, "charts/web", PROD, {"charts/web/envs/eu.yaml": "b"}, True),
    "chart: what its templates read": (
        CHART,
        "charts/web",
        Chart(read=("config/*",)),
        {"charts/web/config/nginx.conf": "b"},
        True,
    ),
    "chart: what its templates do not read": (
        CHART,
        "charts/web",
        Chart(read=("config/*",)),
        {"charts/web/values-staging.yaml": "b"},
        False,
    ),
    "kustomize: what it names": (OVERLAYS, "apps/web", Kustomization(), {"apps/web/web.yaml": "b"}, True),
    "kustomize: a patch": (OVERLAYS, "apps/web", Kustomization(), {"apps/web/patch.yaml": "b"}, True),
    "kustomize: a file of a generator": (
        OVERLAYS,
        "apps/web",
        Kustomization(),
        {"apps/web/conf/nginx.conf": "b"},
        True,
    ),
    "kustomize: the base of a folder in it": (OVERLAYS, "apps/web", Kustomization(), {"base/base.yaml": "b"}, True),
    "kustomize: the kustomization of the base": (
        OVERLAYS,
        "apps/web",
        Kustomization(),
        {"base/kustomization.yml": "a: 1"},
        True,
    ),
    "kustomize: what the base does not name": (OVERLAYS, "apps/web", Kustomization(), {"base/other.yaml": "b"}, False),
    "kustomize: what it does not name": (OVERLAYS, "apps/web", Kustomization(), {"apps/web/notes.md": "b"}, False),
    "kustomize: all of the repository, a base": (OVERLAYS, ".", Kustomization(), {"base/base.yaml": "b"}, True),
    "kustomize: all of the repository, another folder": (OVERLAYS, ".", Kustomization(), {"other/x.yaml": "b"}, False),
    "kustomize: a component that the Application names": (
        OVERLAYS,
        "apps/web",
        Kustomization(used=("../../component",)),
        {"component/c.yaml": "b"},
        True,
    ),
    "kustomize: a chart that it inflates": (
        INFLATING,
        "web",
        Kustomization(),
        {"web/charts/shop/values.yaml": "b"},
        True,
    ),
    "kustomize: what a generator names": (GENERATING, "web", Kustomization(), {"secrets/web.enc": "b"}, True),
    "kustomize: what no generator names": (GENERATING, "web", Kustomization(), {"secrets/shop.enc": "b"}, False),
}


async def moved(repository: GitRepository, path: str, how: How | None, commits: tuple[str, str]) -> bool:
    asked = GitObjects(("file",), nobody)
    ids = [await asked.identity(Spot(repository.url, commit, path, (), how)) for commit in commits]
    return ids[0].sure != ids[1].sure


@pytest.mark.parametrize("what", MOVES)
async def test_what_counts(what: str, repository: GitRepository) -> None:
    files, path, how, change, differs = MOVES[what]
    commits = repository.commit(files, "first"), repository.commit(change, "second")
    assert await moved(repository, path, how, commits) is differs


PLAIN: Files = {
    "chart/Chart.yaml": "a: 1",
    "chart/templates/a.yaml": "a",
    "chart/envs/prod.yaml": "a",
    "o/kustomization.yaml": json.dumps({"resources": ["x/web.yaml", "../cur/app", "web.yaml"]}),
    "o/web.yaml": "a",
    "shared/app/kustomization.yaml": json.dumps({"resources": ["web.yaml"]}),
    "shared/app/web.yaml": "a",
    "shared/web.yaml": "a",
    "shared/common/Chart.yaml": json.dumps({"dependencies": [{"repository": "file://../base"}]}),
    "shared/common/templates/_x.tpl": "a",
    "shared/base/values.yaml": "a",
    "web/web.yaml": "a",
}
CONF = Chart(read=("conf/*",))
LINKS: dict[str, tuple[str, How | None, tuple[str, str], str]] = {
    "a manifest": ("web", Directory(), ("web/x.yaml", "../shared/web.yaml"), "shared/web.yaml"),
    "the Application's own path": ("cur", Directory(), ("cur", "web"), "web/web.yaml"),
    "the Application's own path, of a chart": ("cur", Chart(), ("cur", "chart"), "chart/templates/a.yaml"),
    "the Application's own path, of a kustomization": ("cur", Kustomization(), ("cur", "o"), "o/web.yaml"),
    "what is above the Application's own path": ("cur/app", None, ("cur", "shared"), "shared/app/web.yaml"),
    "something in a folder": ("web", None, ("web/a/b/x", "../../../shared"), "shared/web.yaml"),
    "templates": ("chart", Chart(), ("chart/templates", "../shared"), "shared/web.yaml"),
    "a template": ("chart", Chart(), ("chart/templates/b.yaml", "../../shared/web.yaml"), "shared/web.yaml"),
    "values": ("chart", Chart(), ("chart/values.yaml", "../shared/web.yaml"), "shared/web.yaml"),
    "a chart in it": ("chart", Chart(), ("chart/charts/a", "../../shared/common"), "shared/common/templates/_x.tpl"),
    "a chart in it, and what that depends on": (
        "chart",
        Chart(),
        ("chart/charts/a", "../../shared/common"),
        "shared/base/values.yaml",
    ),
    "the chart's description": (
        "chart",
        Chart(),
        ("chart/requirements.yaml", "../shared/common/Chart.yaml"),
        "base/values.yaml",
    ),
    "values that it is given": (
        "chart",
        Chart(used=("prod.yaml",)),
        ("chart/prod.yaml", "envs/prod.yaml"),
        "chart/envs/prod.yaml",
    ),
    "values that it is given, below a link": (
        "chart",
        Chart(used=("cur/prod.yaml",)),
        ("chart/cur", "envs"),
        "chart/envs/prod.yaml",
    ),
    "values beside it": ("chart", Chart(used=("../cur.yaml",)), ("cur.yaml", "shared/web.yaml"), "shared/web.yaml"),
    "what templates read": ("chart", CONF, ("chart/conf/a.conf", "../../shared/web.yaml"), "shared/web.yaml"),
    "a folder that templates read": ("chart", CONF, ("chart/conf", "../shared"), "shared/web.yaml"),
    "a resource": ("o", Kustomization(), ("o/web.yaml", "../shared/web.yaml"), "shared/web.yaml"),
    "what is above a resource": ("o", Kustomization(), ("o/x", "../shared"), "shared/web.yaml"),
    "what is above a base": ("o", Kustomization(), ("cur", "shared"), "shared/app/web.yaml"),
    "a kustomization": (
        "web",
        Kustomization(),
        ("web/kustomization.yaml", "../shared/app/kustomization.yaml"),
        "web/web.yaml",
    ),
}


@pytest.mark.parametrize("what", LINKS)
async def test_where_a_link_leads_counts(what: str, repository: GitRepository) -> None:
    path, how, link, changed = LINKS[what]
    repository.commit({**PLAIN, "base/values.yaml": "a"} | {name: None for name in PLAIN if name == link[0]}, "first")
    linked(repository, *link)
    first = repository.head
    assert await moved(repository, path, how, (first, repository.commit({changed: "b"}, "second")))
    assert not await moved(repository, path, how, (first, repository.commit({changed: "a", "x": "a"}, "third")))


async def test_a_link_that_leads_elsewhere_counts(repository: GitRepository) -> None:
    repository.commit({"web/a.yaml": "a", "x/a.yaml": "a", "y/a.yaml": "a"}, "first")
    linked(repository, "web/x", "../x")
    first = repository.head
    linked(repository, "web/x", "../y")
    assert await moved(repository, "web", None, (first, repository.head))
    assert await moved(repository, "web/x", Directory(), (first, repository.head))


async def test_a_link_to_what_comes_to_be_counts(repository: GitRepository) -> None:
    repository.commit(PLAIN, "first")
    linked(repository, "chart/templates/x", "../new")
    first = repository.head
    assert await moved(repository, "chart", Chart(), (first, repository.commit({"chart/new/x.yaml": "a"}, "second")))


@pytest.mark.parametrize("target", ["/etc", "../../..", "../a/../x"])
@pytest.mark.parametrize("how", [None, Chart()])
async def test_a_link_that_nobody_can_follow_is_said(target: str, how: How | None, repository: GitRepository) -> None:
    repository.commit(PLAIN, "first")
    linked(repository, "chart/templates/x", target)
    with pytest.raises(Unknowable, match=r"where the link chart/templates/x leads to|outside of the repository"):
        await GitObjects(("file",), nobody).identity(Spot(repository.url, repository.head, "chart", (), how))


async def test_links_in_a_circle_are_said(repository: GitRepository) -> None:
    repository.commit(PLAIN, "first")
    linked(repository, "a", "b")
    linked(repository, "b", "a")
    for spot in (
        Spot(repository.url, repository.head, "a"),
        Spot(repository.url, repository.head, "chart", (), Chart(used=("../a/prod.yaml",))),
    ):
        with pytest.raises(Unknowable, match="links lead to each other"):
            await GitObjects(("file",), nobody).identity(spot)


async def test_folders_that_link_to_each_other_come_to_an_end(repository: GitRepository) -> None:
    repository.commit({**PLAIN, "chart/templates/a.yaml": '{{ .Files.Get "a" }}'}, "first")
    linked(repository, "chart/up", "..")
    linked(repository, "web/chart", "../chart")
    asked = GitObjects(("file",), nobody)
    spot = Spot(repository.url, repository.head, "chart", (), Chart(read=("up/web/*",)))
    assert (await asked.identity(spot)).sure
    assert (await asked.reads(spot)).patterns == ("a",)


async def test_too_many_links_are_not_followed(repository: GitRepository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rollback_operator.gitobjects.paths._LINKS", 1)
    repository.commit(PLAIN, "first")
    linked(repository, "web/x", "../shared")
    linked(repository, "web/y", "../o")
    with pytest.raises(Unknowable, match="more than 1 links belong to it"):
        await GitObjects(("file",), nobody).identity(Spot(repository.url, repository.head, "web"))


async def test_too_many_paths_are_not_looked_for(repository: GitRepository) -> None:
    named = [f"{number}/" + "a/" * 490 for number in range(300)]
    commit = repository.commit({"web/kustomization.yaml": json.dumps({"resources": named})}, "first")
    with pytest.raises(Unknowable, match="too many, or too long, paths in it"):
        await GitObjects(("file",), nobody).identity(Spot(repository.url, commit, "web", (), Kustomization()))


async def test_links_that_only_templates_may_read_do_not_keep_the_rest_unknown(repository: GitRepository) -> None:
    repository.commit(PLAIN, "first")
    linked(repository, "chart/etc", "/etc")
    first = repository.head
    asked = GitObjects(("file",), nobody)
    second = repository.commit({"web/x": "a"}, "second")
    ids = [await asked.identity(Spot(repository.url, one, "chart", (), Chart())) for one in (first, second)]
    assert ids[0].sure == ids[1].sure
    assert ids[0].rest != ids[1].rest  # so that the templates are asked


async def test_a_folder_of_which_a_file_is_named_as_well_counts(repository: GitRepository) -> None:
    names = {"resources": ["../base"], "configMapGenerator": [{"files": ["../base/x"]}]}
    base = {"base/kustomization.yaml": json.dumps({"resources": ["../a.yaml"]}), "a.yaml": "a", "base/x": "a"}
    first = repository.commit({"web/kustomization.yaml": json.dumps(names), **base}, "first")
    assert await moved(repository, "web", Kustomization(), (first, repository.commit({"a.yaml": "b"}, "second")))


def linked(repository: GitRepository, path: str, target: str) -> None:
    """Commit a symbolic link."""
    written(repository, "120000", path, target.encode())


def written(repository: GitRepository, mode: str, path: str, content: bytes) -> None:
    """Commit what is no text."""
    about = f"commit refs/heads/main\ncommitter A <a@example.com> now\ndata 1\nx\nfrom {repository.head}\n"
    stream = f"{about}M {mode} inline {path}\ndata {len(content)}\n".encode() + content + b"\n"
    command = ["git", f"--git-dir={repository.folder}", "fast-import", "--quiet", "--date-format=now"]
    subprocess.run(command, input=stream, check=True)


READS: dict[str, tuple[str, Reads]] = {
    "nothing": ("{{ .Values.configFiles }} Files", Reads()),
    "what is written out": (
        '{{ .Files.Get "a.conf" }} {{ (.Files.Glob  "config/*").AsConfig }} {{ $.Files.Lines "a.conf" }}',
        Reads(("a.conf", "config/*")),
    ),
    "what a value says": ('{{ .Files.Get (printf "values-%s.yaml" .Values.env) }}', Reads(others=True)),
    "all of them": ("{{ range $path, $_ := .Files }}{{ end }}", Reads(others=True)),
    "what a variable holds": ('{{ (index . "Files").Get "x" }}', Reads(others=True)),
    "a pattern that nobody understands": ('{{ .Files.Glob "[" }}', Reads(others=True)),
}


@pytest.mark.parametrize("what", READS)
async def test_what_templates_read(what: str, repository: GitRepository) -> None:
    text, reads = READS[what]
    template = {"charts/web/charts/lib/templates/_x.tpl": text}
    commit = repository.commit({**CHART, **template}, "first")
    asked = GitObjects(("file",), nobody)
    assert await asked.reads(Spot(repository.url, commit, "charts/web", (), Chart())) == reads


async def test_values_that_are_rendered_read_as_well(repository: GitRepository) -> None:
    commit = repository.commit({**CHART, "charts/web/envs/prod.yaml": 'a: "{{ .Files.Get `x` }}"'}, "first")
    asked = GitObjects(("file",), nobody)
    assert (await asked.reads(Spot(repository.url, commit, "charts/web", (), PROD))).others
    assert not (await asked.reads(Spot(repository.url, commit, "charts/web", (), Chart()))).others


LIBRARY = '{{ define "x" }}{{ .Files.Get "a.conf" }}{{ end }}'


def packed(name: str, text: str) -> bytes:
    """A chart's archive with one file."""
    found = io.BytesIO()
    with tarfile.open(fileobj=found, mode="w:gz") as archive:
        about = tarfile.TarInfo(name)
        about.size = len(text)
        archive.addfile(about, io.BytesIO(text.encode()))
    return found.getvalue()


PACKED: dict[str, tuple[bytes, Reads]] = {
    "templates": (packed("lib/templates/_x.tpl", LIBRARY), Reads(("a.conf",))),
    "templates of a chart in it": (packed("lib/charts/a/templates/_x.tpl", LIBRARY), Reads(("a.conf",))),
    "what is rendered by nobody": (packed("lib/README.md", LIBRARY), Reads()),
    "another archive": (packed("lib/charts/a-1.tgz", ""), Reads(others=True)),
    "what is no archive": (b"a", Reads(others=True)),
    "half of one": (packed("lib/templates/_x.tpl", LIBRARY)[:-9], Reads(others=True)),
    "more than there is room for": (packed("lib/README.md", "a" * 17 * 2**20), Reads(others=True)),
}


@pytest.mark.parametrize("what", PACKED)
async def test_what_packed_charts_read(what: str, repository: GitRepository) -> None:
    content, reads = PACKED[what]
    repository.commit(CHART, "first")
    written(repository, "100644", "charts/web/charts/lib-1.0.0.tgz", content)
    spot = Spot(repository.url, repository.head, "charts/web", (), Chart())
    assert await GitObjects(("file",), nobody).reads(spot) == reads


READING: dict[str, tuple[Files, Spot]] = {
    "a chart that it depends on": ({"charts/library/templates/_x.tpl": LIBRARY}, Spot("", "", "", (), Chart())),
    "a chart that this depends on": (
        {
            "charts/library/Chart.yaml": json.dumps({"dependencies": [{"repository": "file://../base"}]}),
            "charts/base/templates/_x.tpl": LIBRARY,
        },
        Spot("", "", "", (), Chart()),
    ),
    "values of a chart in it": ({"charts/web/charts/a/values.yaml": f"a: '{LIBRARY}'"}, Spot("", "", "", (), Chart())),
    "values beside it": ({"envs/prod.yaml": f"a: '{LIBRARY}'"}, Spot("", "", "", ("/envs/prod.yaml",), Chart())),
    "overrides": (
        {"charts/web/.argocd-source.yaml": f"a: '{LIBRARY}'"},
        Spot("", "", "", (), Chart(overrides=(".argocd-source.yaml",))),
    ),
    "the source's own values": ({}, Spot("", "", "", (), Chart(values=LIBRARY))),
}


@pytest.mark.parametrize("what", READING)
async def test_what_else_reads_files_of_the_chart(what: str, repository: GitRepository) -> None:
    files, asked = READING[what]
    commit = repository.commit({**CHART, **files}, "first")
    spot = replace(asked, url=repository.url, commit=commit, path="charts/web")
    assert await GitObjects(("file",), nobody).reads(spot) == Reads(("a.conf",))


async def test_templates_that_a_link_leads_to_read_as_well(repository: GitRepository) -> None:
    repository.commit({**CHART, "charts/web/templates/web.yaml": None, "shared/_x.tpl": LIBRARY}, "first")
    linked(repository, "charts/web/templates", "../../shared")
    spot = Spot(repository.url, repository.head, "charts/web", (), Chart())
    assert await GitObjects(("file",), nobody).reads(spot) == Reads(("a.conf",))


async def test_templates_that_are_away_may_read_anything(repository: GitRepository) -> None:
    repository.commit(CHART, "first")
    linked(repository, "charts/web/charts/lib", "nowhere")
    spot = Spot(repository.url, repository.head, "charts/web", (), Chart())
    assert await GitObjects(("file",), nobody).reads(spot) == Reads(others=True)


async def test_a_value_file_that_is_lent_reads_as_well(repository: GitRepository) -> None:
    commit = repository.commit({"prod.yaml": f"a: '{LIBRARY}'"}, "first")
    assert await GitObjects(("file",), nobody).reads(Spot(repository.url, commit, "prod.yaml")) == Reads(("a.conf",))


async def test_too_many_templates_are_not_read(repository: GitRepository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rollback_operator.gitobjects.charts._TEMPLATES", 0)
    commit = repository.commit(CHART, "first")
    with pytest.raises(Unknowable, match="more than 0 templates"):
        await GitObjects(("file",), nobody).reads(Spot(repository.url, commit, "charts/web", (), Chart()))


@pytest.mark.parametrize("pattern", ["{a", "[a", "[]", "a\\", "{}", "[z-a]", "{a,b}" * 7, "a" * 1001])
async def test_a_pattern_that_nobody_understands_is_said(pattern: str, repository: GitRepository) -> None:
    commit = repository.commit(BASE, "first")
    for how in (Directory(include=pattern), Directory(exclude=pattern)):
        with pytest.raises(Unknowable, match=r"the pattern .* of its source (has|stands|is|ends)"):
            await GitObjects(("file",), nobody).identity(Spot(repository.url, commit, "web", (), how))


ODD = ["a\\0b", "\\ud800", "../a\\0b", "../" + "a" * 200_000]


@pytest.mark.parametrize("how", [None, Kustomization()])
@pytest.mark.parametrize("path", ODD)
async def test_what_cannot_be_a_path_is_no_defect(path: str, how: How | None, repository: GitRepository) -> None:
    commit = repository.commit({"web/kustomization.yaml": f'resources: ["{path}"]'}, "first")
    with contextlib.suppress(Unknowable):
        await GitObjects(("file",), nobody).identity(Spot(repository.url, commit, "web", (), how))


PATTERNS = {
    "*.yaml": (("a.yaml", "a/b.yaml"), ("a.yml", "")),
    "**/x": (("a/x", "a/b/x"), ("x",)),
    "{*.yml,*.yaml}": (("a/b.yml", "a.yaml"), ("a.json",)),
    "{a,b{c,d}}/?[0-9][!x].yaml": (("a/b1y.yaml", "bd/-0-.yaml"), ("b/b1y.yaml", "a/b1x.yaml")),
    "a\\*": (("a*",), ("ab",)),
    "a*b*c": (("abc", "axbxbxc"), ("abcd", "acb")),
}


@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns_of_argo_cd(pattern: str) -> None:
    """Measured against gobwas/glob 0.2.3 with 8,000 patterns: the same, but for the empty name and empty braces."""
    found = compiled(pattern)
    fitting, others = PATTERNS[pattern]
    assert all(found.fullmatch(one) for one in fitting)
    assert not any(found.fullmatch(one) for one in others)


def test_patterns_of_helm_end_at_slashes() -> None:
    assert not compiled("config/*", of_path=True).fullmatch("config/a/b")
    assert compiled("config/**", of_path=True).fullmatch("config/a/b")
    assert compiled("*/a?.conf", of_path=True).fullmatch("config/ab.conf")


@pytest.mark.timeout(10)
def test_a_pattern_takes_no_time() -> None:
    assert not compiled("*a" * 200 + "b").fullmatch("a" * 4000)
    assert not compiled("*a" * 200 + "b/c", of_path=True).fullmatch("a" * 4000)


CALLS: dict[str, tuple[Files, str, How | None, int]] = {
    "all of a folder": (BASE, "web", None, 6),
    "manifests": (BASE, "web", Directory(recurse=True), 5),
    "a chart": (CHART, "charts/web", PROD, 10),
    "a kustomization with two more": (OVERLAYS, "apps/web", Kustomization(), 13),
}


@pytest.mark.parametrize("what", CALLS)
async def test_how_often_git_is_called_for_a_commit(
    what: str, repository: GitRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, path, how, most = CALLS[what]
    commit = repository.commit(files, "first")
    called: list[Any] = []
    real = asyncio.create_subprocess_exec

    async def counted(*arguments: Any, **options: Any) -> asyncio.subprocess.Process:
        called.append(arguments)
        return await real(*arguments, **options)

    monkeypatch.setattr("asyncio.create_subprocess_exec", counted)
    await GitObjects(("file",), nobody).identity(Spot(repository.url, commit, path, (), how))
    assert len(called) <= most
