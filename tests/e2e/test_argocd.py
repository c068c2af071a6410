"""Applications rolled back on a real Argo CD: its repo-server and its controller, with automation and self-healing."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from testbed import Cluster
from testbed.argocd import ArgoCD, operated, synced
from testbed.operating import OperatorProcess
from tests.e2e.conftest import namespace_in
from tests.e2e.gitops import AUTOMATED, HOLD, Shop, deployment
from tests.e2e.watched import Operator
from tests.e2e.world import Object, condition, outcome, policy, until

BY_HAND = '[{"op": "remove", "path": "/spec/syncPolicy"}]'

pytestmark = pytest.mark.usefixtures("gitops")


@pytest.fixture(scope="module")
def settings() -> dict[str, str]:
    """Repositories are folders here, and holds are looked at often."""
    return {"git_protocols": "file", "holds": "1"}


@pytest.fixture(scope="module")
def argocd(gitops: None, fake_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ArgoCD]:  # noqa: ARG001
    """One Argo CD for all tests of a module."""
    with ArgoCD.start(tmp_path_factory.mktemp("argocd") / "argocd", fake_cluster) as running:
        yield running


@pytest.fixture
def shop(fake_cluster: Cluster, argocd: ArgoCD, operator: OperatorProcess, tmp_path: Path) -> Iterator[Shop]:
    """A namespace of its own with a repository, and the examples' service account."""
    assert operator.process.poll() is None, f"the operator ended:\n{operator.lines()}"
    with namespace_in(fake_cluster) as name:
        found = Shop(fake_cluster, name, argocd, tmp_path)
        found.grant()
        found.grant_in(name)
        yield found


def test_it_goes_back_and_stays_there(shop: Shop) -> None:
    first, second = shop.releases("shop:1", "shop:2")

    body = shop.back()

    assert outcome(body) == ("Succeeded", "Completed")
    assert (body["status"]["target"], body["status"]["from"], body["status"]["to"]) == ("Application/web", "1", "0")
    assert shop.image() == "shop:1"
    app = shop.app()
    assert app["status"]["history"][-1]["revision"] == first
    assert app["status"]["sync"]["revision"] == second
    assert app["spec"]["syncPolicy"]["automated"] == {**AUTOMATED, "enabled": False}
    # Argo CD, which looks at Git again and again and would heal what differs, leaves it there.
    shop.looks(4, lambda _: None)
    assert shop.image() == "shop:1"
    assert "operation" not in shop.app()


def test_of_several_sources_all_go_back(shop: Shop) -> None:
    files = {"base/settings.json": configmap("one")}
    first = shop.commit("shop:1", **files)
    sources = [
        {"repoURL": shop.repository.url, "path": "web", "targetRevision": "main"},
        {"repoURL": shop.repository.url, "path": "base", "targetRevision": "main"},
    ]
    shop.application(source=None, sources=sources)
    shop.argocd.wait("web", deployed([first, first]), shop.at)
    second = shop.commit("shop:2", **{"base/settings.json": configmap("two")})
    shop.argocd.refresh("web", shop.at)
    shop.argocd.wait("web", deployed([second, second]), shop.at)

    body = shop.back()

    assert outcome(body) == ("Succeeded", "Completed")
    assert shop.image() == "shop:1"
    assert shop.get("configmap", "settings")["data"] == {"says": "one"}
    assert shop.app()["status"]["history"][-1]["revisions"] == [first, first]
    shop.looks(2, lambda _: None)
    assert shop.image() == "shop:1"

    shop.restore(body)

    app = shop.argocd.wait("web", deployed([second, second]), shop.at)
    assert shop.image() == "shop:2"
    assert shop.get("configmap", "settings")["data"] == {"says": "two"}
    assert app["spec"]["sources"] == sources


def test_it_goes_to_a_commit_that_the_history_does_not_have(shop: Shop) -> None:
    between = shop.commit("shop:0")
    shop.releases("shop:1", "shop:2")

    body = shop.back(to=between)

    assert outcome(body) == ("Succeeded", "Completed")
    assert body["status"]["to"] == between
    assert shop.image() == "shop:0"


def test_it_goes_to_a_commit_of_the_history(shop: Shop) -> None:
    first, *_ = shop.releases("shop:1", "shop:2", "shop:3")
    body = shop.back(to=first[:10])
    assert outcome(body) == ("Succeeded", "Completed")
    assert body["status"]["to"] == "0"
    assert shop.image() == "shop:1"


@pytest.mark.parametrize("automated", [True, False], ids=["automated", "by hand"])
def test_the_printed_command_brings_back_what_was_replaced(shop: Shop, *, automated: bool) -> None:
    first, second = shop.releases("shop:1", "shop:2")
    shop.settled(second)
    if not automated:
        shop.kubectl("patch", "applications.argoproj.io", "web", "--type=json", "-p", BY_HAND)
    before = shop.app()

    body = shop.back()
    assert outcome(body) == ("Succeeded", "Completed")
    assert shop.image() == "shop:1"
    shop.restore(body)

    app = shop.argocd.wait("web", operated(second), shop.at)
    assert shop.image() == "shop:2"
    assert app["spec"] == before["spec"]
    assert HOLD not in app["metadata"].get("annotations", {})
    assert [one["revision"] for one in app["status"]["history"]] == [first, second, first, second]
    assert app["status"]["history"][:2] == before["status"]["history"]
    shop.settled(second)
    if automated:
        assert shop.held("back", "False")["reason"] == "NotHeld"
        shop.released(shop.commit("shop:3"))
        assert shop.image() == "shop:3"


def test_while_argo_cd_is_at_work_the_printed_command_is_refused(shop: Shop) -> None:
    shop.argocd.project(shop.namespace)
    shop.releases("shop:1", "shop:2", project=shop.namespace)
    body = shop.back()
    shop.close_window()
    busy = {"operation": {"sync": {"revision": shop.repository.head}}}
    shop.kubectl("patch", "applications.argoproj.io", "web", "--type=merge", "-p", json.dumps(busy))
    before = shop.app()["spec"]

    with pytest.raises(subprocess.CalledProcessError):
        shop.restore(body)

    assert shop.app()["spec"] == before
    shop.argocd.project(shop.namespace)
    shop.argocd.wait("web", lambda app: "operation" not in app, shop.at)
    shop.restore(body)
    shop.argocd.wait("web", operated(shop.repository.head), shop.at)
    assert shop.image() == "shop:2"


# The hold.


def test_the_hold_ends_when_git_changes_what_was_rolled_back_from_and_not_before(shop: Shop) -> None:
    shop.releases("shop:1", "shop:2", automated={**AUTOMATED, "allowEmpty": True})
    before = shop.app()["spec"]["syncPolicy"]
    shop.back()
    held = shop.held("back", "True")
    assert held["reason"] == "Holding"
    assert "rollback.dev/release=true" in held["message"]

    # Another team's commit in the same repository: Argo CD sees it, and it is none of ours.
    other = shop.repository.commit({"other/x.json": configmap("x")}, "Another team")
    shop.argocd.refresh("web", shop.at)
    shop.argocd.wait("web", lambda app: app["status"]["sync"]["revision"] == other, shop.at)
    shop.looks(3, lambda app: no_change(app, other))
    assert shop.image() == "shop:1"
    assert shop.held("back", "True")["reason"] == "Holding"

    fixed = shop.commit("shop:3")
    shop.argocd.refresh("web", shop.at)
    app = shop.argocd.wait("web", operated(fixed), shop.at)

    assert app["spec"]["syncPolicy"] == before
    assert HOLD not in app["metadata"].get("annotations", {})
    assert shop.image() == "shop:3"
    assert shop.held("back", "False")["reason"] == "TargetChanged"


def test_another_environments_files_in_its_own_folder_do_not_end_the_hold(shop: Shop) -> None:
    directory = {"recurse": True, "exclude": "staging/*"}
    shop.repository.commit({"web/staging/settings.json": configmap("one")}, "Staging")
    shop.releases("shop:1", "shop:2", source={"directory": directory}, automated={**AUTOMATED, "allowEmpty": True})
    before = shop.app()["spec"]["syncPolicy"]
    shop.back()

    other = shop.repository.commit({"web/staging/settings.json": configmap("two"), "web/README.md": "x"}, "Staging")
    shop.argocd.refresh("web", shop.at)
    shop.argocd.wait("web", lambda app: app["status"]["sync"]["revision"] == other, shop.at)
    shop.looks(3, lambda app: no_change(app, other))
    assert shop.held("back", "True")["reason"] == "Holding"
    assert shop.image() == "shop:1"

    fixed = shop.commit("shop:3")
    shop.argocd.refresh("web", shop.at)
    app = shop.argocd.wait("web", operated(fixed), shop.at)

    assert app["spec"]["syncPolicy"] == before
    assert shop.image() == "shop:3"
    assert shop.held("back", "False")["reason"] == "TargetChanged"


def test_another_environments_values_of_its_chart_do_not_end_the_hold(shop: Shop) -> None:
    chart = {
        "web/Chart.yaml": json.dumps({"apiVersion": "v2", "name": "web", "version": "1.0.0"}),
        "web/templates/web.json": deployment("{{ .Values.image }}"),
    }
    first = shop.repository.commit({**chart, **values("prod", "shop:1"), **values("staging", "shop:1")}, "First")
    shop.application(source={"helm": {"valueFiles": ["values-prod.yaml"], "skipCrds": False}})
    shop.released(first)
    shop.released(shop.repository.commit(values("prod", "shop:2"), "Second"))
    shop.back()
    assert shop.image() == "shop:1"

    other = shop.repository.commit(values("staging", "shop:3"), "Staging")
    shop.argocd.refresh("web", shop.at)
    shop.argocd.wait("web", lambda app: app["status"]["sync"]["revision"] == other, shop.at)
    shop.looks(3, lambda app: no_change(app, other))
    assert shop.held("back", "True")["reason"] == "Holding"

    fixed = shop.repository.commit(values("prod", "shop:3"), "Fixed")
    shop.released(fixed)
    assert shop.image() == "shop:3"
    assert shop.held("back", "False")["reason"] == "TargetChanged"


def test_a_revert_in_git_ends_the_hold(shop: Shop) -> None:
    shop.releases("shop:1", "shop:2")
    shop.back()
    reverted = shop.commit("shop:1")
    shop.argocd.refresh("web", shop.at)
    shop.held("back", "False")
    assert shop.image() == "shop:1"
    shop.argocd.wait("web", synced(reverted), shop.at)


def test_a_person_ends_the_hold(shop: Shop) -> None:
    shop.releases("shop:1", "shop:2")
    shop.back(hold={"until": "Manual"})
    shop.commit("shop:3")
    shop.looks(2, not_automated)
    assert shop.hold() is not None

    shop.kubectl("annotate", "applications.argoproj.io", "web", "rollback.dev/release=true")

    shop.argocd.wait("web", operated(shop.repository.head), shop.at)
    assert shop.held("back", "False")["reason"] == "ReleasedByHand"
    assert "rollback.dev/release" not in shop.app()["metadata"].get("annotations", {})
    assert shop.image() == "shop:3"


def test_whoever_turns_automation_on_has_the_last_word(shop: Shop) -> None:
    _, second = shop.releases("shop:1", "shop:2")
    shop.back()
    shop.held("back", "True")

    patch = '{"spec":{"syncPolicy":{"automated":{"enabled":true}}}}'
    shop.kubectl("patch", "applications.argoproj.io", "web", "--type=merge", "-p", patch)

    assert shop.held("back", "False")["reason"] == "AutomationTurnedOn"
    shop.argocd.wait("web", operated(second), shop.at)
    shop.not_held()


def test_while_argo_cd_cannot_tell_what_git_has_the_hold_stays_and_says_so(shop: Shop) -> None:
    shop.releases("shop:1", "shop:2")
    shop.back()
    shop.held("back", "True")
    shop.repository.commit({"web/kustomization.yaml": "{", "web/web.json": None}, "A broken one")
    shop.argocd.refresh("web", shop.at)
    message = shop.held("back", "True", "CannotCompare")["message"]
    assert "Argo CD cannot tell what Git has" in message
    not_automated(shop.app())


def test_a_second_rollback_takes_the_hold_over(shop: Shop) -> None:
    shop.releases("shop:1", "shop:2", "shop:3", automated=AUTOMATED)
    before = shop.app()["spec"]["syncPolicy"]
    ended = datetime.fromisoformat(shop.back("first")["status"]["finishedAt"])
    shop.held("first", "True")
    assert shop.image() == "shop:2"
    # Creation times are whole seconds: one of the same second could have been asked for before.
    until(lambda: datetime.now(UTC) > ended + timedelta(seconds=1), what="a second has passed")

    body = shop.back("second")

    assert outcome(body) == ("Succeeded", "Completed")
    assert shop.image() == "shop:1"
    shop.held("second", "True")
    assert shop.held("first", "False")["reason"] == "NotHeld"
    fixed = shop.commit("shop:4")
    shop.argocd.refresh("web", shop.at)
    app = shop.argocd.wait("web", operated(fixed), shop.at)
    assert app["spec"]["syncPolicy"] == before


def test_a_hold_outlives_its_request(shop: Shop) -> None:
    shop.releases("shop:1", "shop:2")
    shop.back()
    shop.held("back", "True")
    shop.kubectl("delete", "rbr", "back")

    fixed = shop.commit("shop:3")
    shop.argocd.refresh("web", shop.at)
    shop.argocd.wait("web", operated(fixed), shop.at)
    shop.not_held()


def test_a_hold_outlives_the_operator(shop: Shop, operator: Operator) -> None:
    def events() -> str:
        return shop.kubectl("get", "events", "-o", "jsonpath={.items[*].reason}")

    shop.releases("shop:1", "shop:2")
    shop.back(hold={"until": "TargetChanges", "alertAfter": "1s"})
    assert shop.held("back", "True", "HeldForLong")
    until(lambda: "HeldForLong" in events(), what="there is an Event of it: it comes after the status")
    operator.stop()
    fixed = shop.commit("shop:3")
    shop.looks(2, not_automated)

    operator.again()

    shop.argocd.wait("web", operated(fixed), shop.at)
    assert shop.held("back", "False")["reason"] == "TargetChanged"


def test_a_policy_says_whether_an_application_could_be_rolled_back(shop: Shop) -> None:
    shop.releases("shop:1", "shop:2")
    trigger = {"name": "stuck", "rollout": {"progressDeadlineExceeded": True}, "interval": "1s"}
    shop.apply(policy("web", target={"kind": "Application", "name": "web"}, triggers=[trigger]))
    shop.wait("rbp/web", "--for=condition=Armed")
    assert shop.get("rbp", "web")["status"]["current"]["revision"] == "1"


def test_a_policy_whose_account_may_not_look_says_so(shop: Shop) -> None:
    shop.releases("shop:1", "shop:2")
    shop.without_rights()
    trigger = {"name": "stuck", "rollout": {"progressDeadlineExceeded": True}, "interval": "1s"}
    shop.apply(policy("web", target={"kind": "Application", "name": "web"}, triggers=[trigger]))
    shop.wait("rbp/web", "--for=condition=Armed=False")
    armed = condition(shop.get("rbp", "web"), "Armed")
    assert armed["reason"] == "MayNotRollBack"
    assert f"Service account {shop.namespace}/rollback may not look at Application/web" in armed["message"]


# Bad luck.


def test_one_that_does_not_exist(shop: Shop) -> None:
    body = shop.back()
    assert outcome(body) == ("Failed", "TargetNotFound")
    assert f"There is no Application web in namespace {shop.namespace}" in condition(body, "Ready")["message"]


def test_a_history_of_one(shop: Shop) -> None:
    shop.releases("shop:1")
    body = shop.back()
    assert outcome(body) == ("Failed", "NothingToRollBackTo")
    not_held(shop.app())


def test_rights_that_are_missing_are_named(shop: Shop) -> None:
    shop.releases("shop:1", "shop:2")
    shop.without_rights()
    body = shop.back()
    assert outcome(body) == ("Failed", "Forbidden")
    message = condition(body, "Ready")["message"]
    assert f"{shop.namespace}/rollback may not get Application web in namespace {shop.namespace}" in message
    not_held(shop.app())


def test_a_right_to_read_alone_changes_nothing(shop: Shop) -> None:
    shop.releases("shop:1", "shop:2")
    rules = [{"apiGroups": ["argoproj.io"], "resources": ["applications"], "verbs": ["get"]}]
    shop.kubectl("patch", "role", f"rollback-{shop.namespace}", "--type=merge", "-p", json.dumps({"rules": rules}))
    shop.may("update", "argoproj.io/applications", name="web", answer=False)
    shop.may("get", "argoproj.io/applications", name="web")
    body = shop.back()
    assert outcome(body) == ("Failed", "Forbidden")
    assert "may not update Application web" in condition(body, "Ready")["message"]
    not_held(shop.app())


def test_git_that_is_away_fails_the_sync_and_the_hold_stands(shop: Shop) -> None:
    shop.settled(shop.releases("shop:1", "shop:2")[-1])
    shop.argocd.repo_server.down()
    shop.argocd.repo_server.forget()  # or it goes on from what it has, as Argo CD does
    shop.argocd.cache.restart()
    shop.repository.break_()
    shop.argocd.repo_server.up()

    body = shop.back(timeout="150s")

    assert outcome(body) == ("Failed", "HalfApplied")
    assert "Argo CD could not sync it" in condition(body, "Ready")["message"]
    shop.repository.mend()
    assert shop.hold() is not None


def test_a_hook_that_fails_fails_the_sync(shop: Shop) -> None:
    broken = shop.commit("shop:0", **{"web/migrate.json": hook("migrate", activeDeadlineSeconds=1)})
    shop.repository.commit({"web/migrate.json": None}, "No migration")
    shop.settled(shop.releases("shop:1", "shop:2")[-1])

    body = shop.back(to=broken, timeout="150s")

    assert outcome(body) == ("Failed", "HalfApplied")
    message = condition(body, "Ready")["message"]
    assert "Argo CD could not sync it" in message
    (migrate,) = [one for one in shop.app()["status"]["operationState"]["syncResult"]["resources"] if "hookType" in one]
    assert (migrate["name"], migrate["hookType"], migrate["hookPhase"]) == ("migrate", "PreSync", "Failed")
    assert shop.image() == "shop:2"
    assert shop.hold() is not None

    without = shop.back("without", to=broken, options={"application": {"hooks": False}})

    assert outcome(without) == ("Succeeded", "Completed")
    assert shop.image() == "shop:0"


def test_a_project_that_forbids_it_fails_the_sync(shop: Shop) -> None:
    shop.argocd.project(shop.namespace)
    shop.releases("shop:1", "shop:2", project=shop.namespace)
    shop.argocd.project(shop.namespace, destinations=[{"server": "*", "namespace": "nowhere"}])
    shop.refused_by_project(answer=True)

    body = shop.back(timeout="150s")

    assert outcome(body) == ("Failed", "HalfApplied")
    message = condition(body, "Ready")["message"]
    assert "Argo CD could not sync it" in message
    assert "do not match any of the allowed destinations in project" in message
    assert shop.image() == "shop:2"


def test_a_sync_window_leaves_it_running_until_our_own_deadline(shop: Shop) -> None:
    shop.argocd.project(shop.namespace)
    shop.releases("shop:1", "shop:2", project=shop.namespace)
    shop.close_window()

    body = shop.back(timeout="15s")

    assert outcome(body) == ("Failed", "Timeout")
    assert "Sync operation blocked by sync window" in condition(body, "Ready")["message"]
    assert shop.app()["status"]["operationState"]["phase"] == "Terminating"
    assert shop.hold() is not None
    # When the window opens, nothing of it comes.
    shop.argocd.project(shop.namespace)
    shop.argocd.wait("web", lambda app: app["status"]["operationState"]["phase"] == "Failed", shop.at)
    assert shop.image() == "shop:2"


def test_an_operation_that_goes_on_is_waited_for(shop: Shop) -> None:
    shop.argocd.project(shop.namespace)
    first, second = shop.releases("shop:1", "shop:2", project=shop.namespace)
    shop.close_window()
    busy = {"operation": {"sync": {"revision": second, "syncStrategy": {"hook": {}}}}}
    shop.kubectl("patch", "applications.argoproj.io", "web", "--type=merge", "-p", json.dumps(busy))
    shop.ask()
    shop.in_phase("back", "Pending")
    until(
        lambda: "Argo CD is syncing it" in condition(shop.get("rbr", "back"), "Ready")["message"],
        what="it says what it waits for",
    )
    assert "info" not in shop.app()["operation"]

    shop.argocd.project(shop.namespace)

    assert outcome(shop.ended("back")) == ("Succeeded", "Completed")
    assert [one["revision"] for one in shop.app()["status"]["history"]][-2:] == [second, first]


def test_one_that_is_deleted_midway(shop: Shop) -> None:
    shop.argocd.project(shop.namespace)
    shop.releases("shop:1", "shop:2", project=shop.namespace)
    shop.close_window()
    shop.ask()
    shop.in_phase("back", "Verifying")
    shop.kubectl("delete", "applications.argoproj.io", "web", "--wait=false")
    body = shop.ended("back")
    assert outcome(body) == ("Failed", "TargetNotFound")


def test_an_application_in_another_namespace(shop: Shop) -> None:
    shop.at = "argocd"
    shop.name = shop.namespace
    shop.releases("shop:1", "shop:2")
    lacking = shop.back("without")
    assert outcome(lacking) == ("Failed", "Forbidden")
    assert "in namespace argocd" in condition(lacking, "Ready")["message"]
    shop.grant_in("argocd")

    body = shop.back()

    assert outcome(body) == ("Succeeded", "Completed")
    assert body["status"]["target"] == f"Application/argocd/{shop.name}"
    assert shop.image() == "shop:1"


def test_a_dry_run_changes_nothing(shop: Shop) -> None:
    shop.releases("shop:1", "shop:2")
    body = shop.back(dryRun=True)
    assert outcome(body) == ("Succeeded", "DryRun")
    not_held(shop.app())


def values(environment: str, image: str) -> dict[str, str]:
    return {f"web/values-{environment}.yaml": json.dumps({"image": image})}


def hook(name: str, **spec: Any) -> str:
    """A Job before each sync that no node runs: it goes on until its `activeDeadlineSeconds`, and has failed then."""
    pod = {
        "restartPolicy": "Never",
        "nodeSelector": {"no-such": "node"},
        "containers": [{"name": name, "image": "hook:1"}],
    }
    return json.dumps(
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": name, "annotations": {"argocd.argoproj.io/hook": "PreSync"}},
            "spec": {"backoffLimit": 0, "template": {"spec": pod}, **spec},
        }
    )


def configmap(says: str) -> str:
    return json.dumps(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"says": says}}
    )


def deployed(revisions: list[str]) -> Callable[[Mapping[str, Any]], bool]:
    """Whether the last sync brought these commits of its sources."""
    return lambda app: (
        "operation" not in app and (app.get("status", {}).get("history") or [{}])[-1].get("revisions") == revisions
    )


def not_automated(app: Object) -> None:
    assert app["spec"]["syncPolicy"]["automated"]["enabled"] is False


def no_change(app: Object, commit: str) -> None:
    not_automated(app)
    assert app["status"]["sync"]["revision"] == commit
    assert "operation" not in app


def not_held(app: Object) -> None:
    assert app["spec"]["syncPolicy"]["automated"] == AUTOMATED
    assert HOLD not in app["metadata"].get("annotations", {})
