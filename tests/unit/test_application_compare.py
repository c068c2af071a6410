"""Whether Git brings an Application something else: which sources are asked, and what an answer means."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from rollback_operator.gitobjects import (
    Chart,
    Credentials,
    Directory,
    How,
    Identity,
    Kustomization,
    Reads,
    Spot,
    Unknowable,
)
from rollback_operator.targets.application import places
from rollback_operator.targets.application.compare import compare
from rollback_operator.targets.application.content import Content
from rollback_operator.targets.application.held import Hold, Piece, pieces
from rollback_operator.targets.application.places import PATHS_ANNOTATION
from tests.unit.applications import REPO, Object, application, entry, sha, source, two_sources


class Objects:
    """Git in memory: what differs between commits is named by paths; `rest`: or it is what only templates may read."""

    def __init__(
        self, *different: str, trouble: str | None = None, rest: bool = False, reads: Reads | None = None
    ) -> None:
        self._different = different
        self._trouble = trouble
        self._rest = rest
        self._reads = reads or Reads()
        self.asked: list[Spot] = []

    async def identity(
        self,
        spot: Spot,
        credentials: Credentials | None = None,  # noqa: ARG002 - its double's
    ) -> Identity:
        self.asked.append(spot)
        if self._trouble:
            raise Unknowable(self._trouble)
        moved = any(path in (spot.path, *spot.also) for path in self._different)
        read = isinstance(spot.how, Chart) and any(path in spot.how.read for path in self._different)
        rest = spot.commit if self._rest else ""
        return Identity(f"{spot.path} {spot.commit if moved or read else 'same'}", rest)

    async def reads(self, spot: Spot, credentials: Credentials | None = None) -> Reads:  # noqa: ARG002 - its double's
        self.asked.append(spot)
        return self._reads


def held(app: Object, *letters: str) -> Hold:
    """A hold on what the Application has at these commits."""
    bad = []
    for letter in letters:
        content = Content.of(entry(0, letter, source=app["spec"]["source"]))
        assert content is not None
        bad.append(pieces(content))
    return Hold("uid", datetime(2026, 3, 1, tzinfo=UTC), "TargetChanges", "1h", {}, tuple(bad))


def at(letter: str, **more: Any) -> Object:
    """An Application that Argo CD compared with that commit."""
    app = application()
    app["spec"]["source"].update(more)
    app["status"]["sync"] = {
        "status": "OutOfSync",
        "revision": sha(letter),
        "comparedTo": {"source": copy.deepcopy(app["spec"]["source"])},
    }
    return app


async def changed(app: Object, hold: Hold, objects: Objects) -> bool | None:
    return (await compare(app, hold, objects, None)).changed  # type: ignore[arg-type]


async def test_the_very_commit_is_no_change_and_nobody_is_asked() -> None:
    app, git = at("c"), Objects()
    assert await changed(app, held(app, "c"), git) is False
    assert git.asked == []


async def test_another_commit_is_a_change_if_its_folder_is() -> None:
    app = at("d")
    assert await changed(app, held(app, "c"), Objects("web")) is True
    assert await changed(app, held(app, "c"), Objects("other")) is False


async def test_what_is_the_same_as_any_that_was_rolled_back_from_is_no_change() -> None:
    app = at("b")
    assert await changed(app, held(app, "b", "c"), Objects("web")) is False
    assert await changed(at("d"), held(app, "b", "c"), Objects("web")) is True


EDITS: dict[str, Callable[[Object], None]] = {
    "another path": lambda it: it.update(path="shop"),
    "another repository": lambda it: it.update(repoURL="https://git.example.com/x.git"),
    "a parameter": lambda it: it.update(helm={"parameters": [{"name": "tag", "value": "3"}]}),
}


@pytest.mark.parametrize("edit", EDITS)
async def test_a_changed_source_is_a_change(edit: str) -> None:
    app = at("c")
    hold = held(app, "c")
    EDITS[edit](app["spec"]["source"])
    app["status"]["sync"]["comparedTo"]["source"] = copy.deepcopy(app["spec"]["source"])
    assert await changed(app, hold, Objects()) is True


async def test_another_branch_with_the_same_commit_is_no_change() -> None:
    app = at("c")
    hold = held(app, "c")
    for one in (app["spec"]["source"], app["status"]["sync"]["comparedTo"]["source"]):
        one["targetRevision"] = "release"
    assert await changed(app, hold, Objects("web")) is False


def specified(app: Object, when: str) -> Object:
    """An Application whose sources were written at that time, and which a hold was put on later."""
    app["metadata"]["managedFields"] = [
        {"manager": "kubectl", "time": when, "fieldsV1": {"f:spec": {"f:source": {"f:path": {}}}}},
        {"manager": "rollback", "time": "2026-03-01T09:00:00Z", "fieldsV1": {"f:spec": {"f:syncPolicy": {}}}},
        {"manager": "argocd", "time": "2026-03-01T09:00:00Z", "fieldsV1": {"f:status": {}}},
    ]
    return app


async def test_a_source_that_argo_cd_has_not_compared_yet_is_waited_for() -> None:
    app = specified(at("d"), "2026-03-01T02:31:00Z")
    hold = held(app, "c")
    assert await changed(app, hold, Objects("web")) is True
    app["spec"]["source"]["path"] = "shop"
    assert await changed(app, hold, Objects("web")) is False
    app["status"]["reconciledAt"] = "2026-03-01T02:31:59Z"
    assert await changed(app, hold, Objects("web")) is False  # it may have begun before


@pytest.mark.parametrize("told", [True, False])
async def test_a_source_that_argo_cd_ought_to_have_compared_leaves_it_open(told: bool) -> None:  # noqa: FBT001
    app = at("d")
    if told:
        specified(app, "2026-03-01T02:28:00Z")
    app["spec"]["source"]["path"] = "shop"
    found = await compare(app, held(app, "c"), Objects("web"), None)  # type: ignore[arg-type]
    assert found.changed is None
    assert "it compared with other sources than the Application has" in found.words


EMPTY: dict[str, tuple[Object, Object]] = {
    "what Argo CD puts in": ({"directory": {"recurse": True}}, {"directory": {"recurse": True, "jsonnet": {}}}),
    "false": ({"helm": {"skipCrds": False, "releaseName": "web"}}, {"helm": {"releaseName": "web"}}),
    "an empty map": ({"kustomize": {"commonLabels": {}}}, {"kustomize": {}}),
    "an empty list": ({"helm": {"valueFiles": []}}, {}),
    "an empty text": ({"ref": ""}, {}),
    "an empty text in a list": (
        {"plugin": {"env": [{"name": "A", "value": ""}]}},
        {"plugin": {"env": [{"name": "A"}]}},
    ),
}


@pytest.mark.parametrize("what", EMPTY)
async def test_empty_fields_are_no_difference_between_what_people_and_argo_cd_write(what: str) -> None:
    written, repeated = EMPTY[what]
    app = at("d", **written)
    app["status"]["sync"]["comparedTo"]["source"] = source(**repeated)
    assert await changed(app, held(app, "c"), Objects("web")) is True
    assert await changed(app, held(app, "c"), Objects("other")) is False


@pytest.mark.parametrize("what", EMPTY)
async def test_what_another_version_of_argo_cd_writes_is_the_same_content(what: str) -> None:
    written, repeated = EMPTY[what]
    app = at("c", **written)
    hold = held(app, "c")
    for one in (app["spec"], app["status"]["sync"]["comparedTo"]):
        one["source"] = source(**repeated)
    assert await changed(app, hold, Objects()) is False
    contents = [Content.of(entry(0, "c", source=source(**more))) for more in (written, repeated)]
    assert len({one.fingerprint for one in contents if one is not None}) == 1


MEANT: dict[str, tuple[Object, Object]] = {
    "a value": ({"helm": {"valuesObject": {"debug": False}}}, {"helm": {"valuesObject": {}}}),
    "a label": ({"kustomize": {"commonLabels": {"a": ""}}}, {"kustomize": {}}),
    "a zero": ({"kustomize": {"replicas": [{"name": "a", "count": 0}]}}, {"kustomize": {"replicas": [{"name": "a"}]}}),
}


@pytest.mark.parametrize("what", MEANT)
async def test_empty_values_of_peoples_own_are_a_difference(what: str) -> None:
    before, after = MEANT[what]
    app = at("c", **before)
    hold = held(app, "c")
    for one in (app["spec"], app["status"]["sync"]["comparedTo"]):
        one["source"] = source(**after)
    assert await changed(app, hold, Objects()) is True


async def test_a_hold_of_before_is_understood() -> None:
    app = at("d", directory={"recurse": True, "jsonnet": {}})
    (piece,) = held(app, "c").bad[0]
    stored = Piece.load({**piece.dump(), "digest": piece.digest_before})
    assert stored.digest != piece.digest
    hold = Hold("uid", datetime(2026, 3, 1, tzinfo=UTC), "TargetChanges", "1h", {}, ((stored,),))
    assert await changed(app, hold, Objects("other")) is False
    assert await changed(app, hold, Objects("web")) is True


async def test_what_argo_cd_hydrates_is_compared_on_the_branch_that_it_syncs_from() -> None:
    app = at("d")
    app["status"]["sync"]["comparedTo"]["source"] = source("web", targetRevision="environments/prod")
    hold = held(app, "c")
    del app["spec"]["source"]
    app["spec"]["sourceHydrator"] = {
        "drySource": {"repoURL": REPO, "targetRevision": "HEAD", "path": "charts/web"},
        "syncSource": {"targetBranch": "environments/prod", "path": "web"},
    }
    assert await changed(app, hold, Objects("web")) is True
    assert await changed(app, hold, Objects("other")) is False
    app["spec"]["sourceHydrator"]["syncSource"]["path"] = "shop"
    assert await changed(app, hold, Objects("web")) is None


async def test_a_hold_that_does_not_say_what_must_not_come_back_stays() -> None:
    app = at("d")
    found = await compare(app, held(app), Objects("web"), None)  # type: ignore[arg-type]
    assert (found.changed, found.words) == (None, "the hold does not say what was rolled back from")


async def test_another_version_of_a_chart_is_a_change() -> None:
    chart: Object = {"repoURL": "https://charts.example.com", "chart": "web", "targetRevision": "*"}
    app = application()
    app["spec"]["source"] = chart
    app["status"]["sync"] = {"status": "Synced", "revision": "1.2.0", "comparedTo": {"source": chart}}
    content = Content.of({"source": chart, "revision": "1.1.0"})
    assert content is not None
    hold = Hold("uid", datetime(2026, 3, 1, tzinfo=UTC), "TargetChanges", "1h", {}, (pieces(content),))
    git = Objects()
    assert await changed(app, hold, git) is True
    app["status"]["sync"]["revision"] = "1.1.0"
    assert await changed(app, hold, git) is False
    assert git.asked == []


UNTOLD: dict[str, Callable[[Object], None]] = {
    "Argo CD could not compare": lambda app: app["status"]["sync"].update(status="Unknown", revision="main"),
    "Argo CD never compared": lambda app: app["status"].pop("sync"),
}


@pytest.mark.parametrize("why", UNTOLD)
async def test_without_argo_cds_word_nobody_can_tell(why: str) -> None:
    app = at("d")
    hold = held(app, "c")
    app["status"]["conditions"] = [
        {"type": "SharedResourceWarning", "message": "no"},
        {"type": "ComparisonError", "message": "cannot reach https://bot:hunter2@git.example.com/shop.git"},
    ]
    UNTOLD[why](app)
    found = await compare(app, hold, Objects(), None)  # type: ignore[arg-type]
    assert found.changed is None
    assert "cannot reach https://git.example.com/shop.git" in found.words


async def test_a_repository_that_cannot_be_asked_leaves_it_open() -> None:
    app = at("d")
    found = await compare(app, held(app, "c"), Objects(trouble="it is away"), None)  # type: ignore[arg-type]
    assert (found.changed, found.words) == (None, "it is away")


BESIDE: dict[str, tuple[Object, str]] = {
    "a value file in its folder": ({"helm": {"valueFiles": ["prod.yaml"]}}, ""),
    "a value file beside it": ({"helm": {"valueFiles": ["../values/prod.yaml"]}}, "web/../values/prod.yaml"),
    "a value file from the top": ({"helm": {"valueFiles": ["/values/prod.yaml"]}}, "/values/prod.yaml"),
}


@pytest.mark.parametrize("which", BESIDE)
async def test_value_files_of_its_own_repository_belong_to_it(which: str) -> None:
    more, path = BESIDE[which]
    app, git = at("d", **more), Objects(path or "nothing")
    assert await changed(app, held(app, "c"), git) is bool(path)
    assert git.asked[0].also == ((path,) if path else ())


NAMED: dict[str, tuple[str, str]] = {
    "beside it": ("../envs/$ARGOCD_APP_NAME.yaml", "web/../envs/web.yaml"),
    "beside it, in Argo CD's name of an Application elsewhere": (
        "../envs/$ARGOCD_APP_NAME.yaml",
        "web/../envs/shop_web.yaml",
    ),
    "from the top": ("/envs/${ARGOCD_APP_NAMESPACE}/${ARGOCD_APP_PROJECT_NAME}.yaml", "/envs/prod/team.yaml"),
    "by its folder": ("/envs/${ARGOCD_APP_SOURCE_PATH}.yaml", "/envs/web.yaml"),
    "of another source": ("$values/$ARGOCD_APP_NAME.yaml", "web.yaml"),
}


@pytest.mark.parametrize("where", NAMED)
async def test_value_files_are_named_with_argo_cds_variables(where: str) -> None:
    file, path = NAMED[where]
    app, lender = at("d"), {"repoURL": REPO, "ref": "values"}
    app["spec"] |= {"project": "team", "destination": {"namespace": "prod"}}
    named = source(helm={"valueFiles": [file]})
    found = places.spots(app, (named, lender), (sha("c"), sha("d")), 0)
    assert path in {one for spot in found for one in (spot.path if spot.how is None else "", *spot.also)}


async def test_a_value_file_in_the_chart_is_named_with_argo_cds_variables() -> None:
    app = chart_at("d", valueFiles=["$ARGOCD_APP_NAME/prod.yaml"])
    (spot,) = places.spots(app, (app["spec"]["source"],), (sha("d"),), 0)
    assert spot.how == Chart(used=("web/prod.yaml", "shop_web/prod.yaml"), overrides=OVERRIDES)


OPEN = (
    "../envs/*.yaml",
    "/envs/$ARGOCD_APP_REVISION.yaml",
    "/envs/${ARGOCD_APP_SOURCE_TARGET_REVISION}.yaml",
    "/$$.yaml",
)


@pytest.mark.parametrize("file", OPEN)
async def test_a_value_file_outside_of_the_chart_whose_name_is_open_leaves_it_open(file: str) -> None:
    app = chart_at("d", valueFiles=[file])
    found = await compare(app, held(app, "c"), Objects(), None)  # type: ignore[arg-type]
    assert found.changed is None
    assert found.words == f"nothing else differs, and which file {file} is, is only known when it is rendered"
    assert await changed(app, held(app, "c"), Objects("web")) is True
    assert await changed(app, held(app, "d"), Objects()) is False


async def test_a_value_file_from_elsewhere_leaves_it_open() -> None:
    app = at("d", helm={"valueFiles": ["https://example.com/values.yaml"]})
    assert await changed(app, held(app, "c"), Objects()) is None


async def test_what_people_name_besides_belongs_to_it() -> None:
    app = at("d")
    app["metadata"]["annotations"][PATHS_ANNOTATION] = ".;/shared;../lib"
    git = Objects("/shared")
    assert await changed(app, held(app, "c"), git) is True
    assert git.asked[0].also == ("/shared", "web/../lib")


# How it is read.

OVERRIDES = (".argocd-source.yaml", ".argocd-source-web.yaml", ".argocd-source-shop_web.yaml")
HOWS: dict[str, tuple[str | None, Object, How | None]] = {
    "nobody says": (None, {}, None),
    "a plugin": ("Plugin", {}, None),
    "manifests": ("Directory", {}, Directory(overrides=OVERRIDES)),
    "manifests with options": (
        "Directory",
        {"directory": {"recurse": True, "include": "*.yaml", "exclude": "x", "jsonnet": {}}},
        Directory(recurse=True, include="*.yaml", exclude="x", overrides=OVERRIDES),
    ),
    "Jsonnet": ("Directory", {"directory": {"jsonnet": {"libs": ["lib"]}}}, None),
    "a chart": (
        "Helm",
        {
            "helm": {
                "valueFiles": ["prod.yaml", "/values/prod.yaml", "$values/x.yaml"],
                "fileParameters": [{"name": "conf", "path": "./conf/a"}],
            }
        },
        Chart(used=("prod.yaml", "./conf/a"), overrides=OVERRIDES),
    ),
    "a kustomization": (
        "Kustomize",
        {"kustomize": {"components": ["../component"], "patches": [{"patch": "a"}, {"path": "b.yaml"}]}},
        Kustomization(used=("../component", "b.yaml"), overrides=OVERRIDES),
    ),
}


@pytest.mark.parametrize("kind", HOWS)
async def test_it_is_read_as_argo_cd_says_that_it_does(kind: str) -> None:
    said, more, how = HOWS[kind]
    app = at("d", **more)
    app["status"] |= {"sourceType": said} if said else {}
    (spot, *_) = places.spots(app, (app["spec"]["source"], {"repoURL": REPO, "ref": "values"}), (sha("d"), sha("d")), 0)
    assert spot.how == how
    assert ("/lib" in spot.also) is (kind == "Jsonnet")


async def test_of_several_sources_each_is_read_in_its_own_way() -> None:
    app = several("cd")
    sources = tuple(app["spec"]["sources"])
    for kinds, how in ((["Helm", "Directory"], Chart), (["Helm"], type(None))):
        app["status"]["sourceTypes"] = kinds
        assert isinstance(places.spots(app, sources, (sha("c"), sha("d")), 0)[0].how, how)


def chart_at(letter: str, **helm: Any) -> Object:
    """An Application of a chart in Git."""
    app = at(letter, helm={"valueFiles": ["prod.yaml"], **helm})
    app["status"]["sourceType"] = "Helm"
    return app


RESTS: dict[str, tuple[Objects, Object, bool | None]] = {
    "its templates read nothing": (Objects(rest=True), {}, False),
    "they read what is the same": (Objects(rest=True, reads=Reads(("config/*",))), {}, False),
    "they read what differs": (Objects("config/*", rest=True, reads=Reads(("config/*",))), {}, True),
    "nobody knows what they read": (Objects(rest=True, reads=Reads(("config/*",), others=True)), {}, None),
    "the chart differs anyway": (Objects("web", rest=True, reads=Reads(others=True)), {}, True),
    "nobody knows the value files": (Objects(rest=True), {"valueFiles": ["values-*.yaml"]}, None),
    "their names have the Application's in them": (
        Objects(rest=True),
        {"valueFiles": ["$ARGOCD_APP_NAME.yaml"]},
        False,
    ),
}


@pytest.mark.parametrize("when", RESTS)
async def test_further_files_of_a_chart_count_if_its_templates_read_them(when: str) -> None:
    git, helm, expected = RESTS[when]
    app = chart_at("d", **helm)
    found = await compare(app, held(app, "c"), git, None)  # type: ignore[arg-type]
    assert found.changed is expected
    assert ("only files of web differ of which that is not known" in found.words) is (expected is None)


@pytest.mark.parametrize("field", ["values", "valuesObject", "parameters"])
async def test_values_of_its_own_may_read_files_of_the_chart(field: str) -> None:
    text = '{{ .Files.Get "a" }}'
    own: dict[str, Any] = {
        "values": f"a: '{text}'",
        "valuesObject": {"a": [text], "b": "c"},
        "parameters": [{"name": "x", "value": text}],
    }
    app = chart_at("d", **{field: own[field]})
    (spot,) = places.spots(app, (app["spec"]["source"],), (sha("d"),), 0)
    assert isinstance(spot.how, Chart)
    assert text in spot.how.values


async def test_files_for_parameters_belong_to_it() -> None:
    app = chart_at("d", fileParameters=[{"name": "conf", "path": "../conf/a"}])
    assert await changed(app, held(app, "c"), Objects("web/../conf/a")) is True


# Several sources.


def several(letters: str) -> Object:
    app = application()
    del app["spec"]["source"]
    app["spec"]["sources"] = lending()
    app["status"]["sync"] = {
        "status": "Synced",
        "revisions": [sha(letter) for letter in letters],
        "comparedTo": {"sources": lending()},
    }
    return app


def lending() -> list[Object]:
    """A chart in Git that takes its values from another repository."""
    web, values = two_sources()
    web["helm"] = {"valueFiles": ["$values/web.yaml"]}
    values.update(repoURL="https://git.example.com/values.git")
    del values["path"]
    return [web, values]


def hold_on(letters: str) -> Hold:
    content = Content.of({"sources": lending(), "revisions": [sha(letter) for letter in letters]})
    assert content is not None
    return Hold("uid", datetime(2026, 3, 1, tzinfo=UTC), "TargetChanges", "1h", {}, (pieces(content),))


async def test_a_lent_value_file_is_a_change_and_another_file_there_is_none() -> None:
    assert await changed(several("cd"), hold_on("cb"), Objects("web.yaml")) is True
    git = Objects("other.yaml", "")
    assert await changed(several("cd"), hold_on("cb"), git) is False
    assert {(spot.url, spot.path) for spot in git.asked} == {
        (REPO, "web"),
        ("https://git.example.com/values.git", "web.yaml"),
    }


async def test_a_lent_value_file_is_asked_for_what_it_reads() -> None:
    app = several("db")
    app["status"]["sourceTypes"] = ["Helm", "Directory"]
    git = Objects("config/*", rest=True, reads=Reads(("config/*",)))
    assert await changed(app, hold_on("cb"), git) is True
    assert [spot.path for spot in git.asked if spot.how is None] == ["web.yaml"]


async def test_one_source_that_moves_is_enough() -> None:
    assert await changed(several("db"), hold_on("cb"), Objects("web")) is True


async def test_one_source_less_is_a_change() -> None:
    app = several("cb")
    app["spec"]["sources"] = app["spec"]["sources"][:1]
    app["status"]["sync"].update(revisions=[sha("c")], comparedTo={"sources": app["spec"]["sources"]})
    assert await changed(app, hold_on("cb"), Objects()) is True


async def test_a_lender_that_nobody_knows_leaves_it_open() -> None:
    app = at("d", helm={"valueFiles": ["$nobody/web.yaml"]})
    assert await changed(app, held(app, "c"), Objects()) is None


def test_a_source_without_a_path_brings_what_is_at_the_top() -> None:
    content = Content.of(entry(0, "a", source={"repoURL": REPO}))
    assert content is not None
    assert [(piece.path, piece.ref) for piece in pieces(content)] == [("", "")]
    assert source()["path"] == "web"
