"""Releases of Helm, with the real Helm at the real API server: what comes back, what stays, and what is refused."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rollback_operator.core.choice import Chosen
from rollback_operator.core.progress import make_plan
from rollback_operator.core.values import Findings
from rollback_operator.kube import errors
from rollback_operator.kube.client import Api, load_configuration
from rollback_operator.kube.identity import ServiceAccount
from rollback_operator.targets import by_kind
from rollback_operator.targets.base import Where
from rollback_operator.targets.helm import effect
from testbed import Binaries, Cluster
from tests.e2e.conftest import namespace_in
from tests.e2e.helming import Shop, definition, hook
from tests.e2e.world import World, condition, outcome, policy, until

Object = dict[str, Any]
EXTRA = ("--set", "extra=true")
RELEASED = ("ConfigMap/settings", "ConfigMap/extra", "ConfigMap/added")


@pytest.fixture(scope="module")
def settings() -> dict[str, str]:
    return {"helm": str(Binaries().path("helm"))}


@pytest.fixture
def bare_shop(world: World, tmp_path: Path) -> Shop:
    """Without the rights that Helm takes."""
    return Shop(world.cluster, world.namespace, tmp_path)


@pytest.fixture
def shop(bare_shop: Shop) -> Shop:
    bare_shop.allow()
    return bare_shop


@pytest.fixture
def other(fake_cluster: Cluster, tmp_path: Path) -> Iterator[Shop]:
    """Another namespace."""
    with namespace_in(fake_cluster) as name:
        (tmp_path / "other").mkdir()
        yield Shop(fake_cluster, name, tmp_path / "other")


def message(body: Object, kind: str = "Ready") -> str:
    return str(condition(body, kind)["message"])


def test_a_release_goes_back_and_its_record_says_which_request_did_it(shop: Shop) -> None:
    shop.upgrade("shop:1")
    shop.upgrade("shop:2", *EXTRA)

    body = shop.back("back")

    assert outcome(body) == ("Succeeded", "Completed"), message(body)
    assert (body["status"]["from"], body["status"]["to"]) == ("2", "1")
    assert shop.image() == "shop:1"
    assert shop.history() == [(1, "superseded"), (2, "superseded"), (3, "deployed")]
    assert shop.record(3)["metadata"]["annotations"] == {"rollback.dev/request": body["metadata"]["uid"]}
    (step,) = body["status"]["targets"][0]["steps"]
    assert (step["state"], step["attempts"]) == ("Done", 1)


RESTORED = """{{ if .Values.extra }}
apiVersion: v1
kind: ConfigMap
metadata: {name: added}
data: {image: '{{ .Values.image }}'}
{{ else }}
apiVersion: v1
kind: ConfigMap
metadata: {name: dropped}
{{ end }}
"""


RETURNED = {
    *("Deployment/web", "Service/web", "Secret/password", "Secret/sh.helm.release.v1.shop.v3"),
    *("ConfigMap/settings", "ConfigMap/dropped", "ConfigMap/migrated"),
}


def names(shop: Shop) -> set[str]:
    """The ConfigMaps of the chart's."""
    return {one for one in shop.objects() if one.startswith("ConfigMap/")} - {"ConfigMap/kube-root-ca.crt"}


def replaced(shop: Shop, **spec: Any) -> tuple[dict[str, Object], Object]:
    """The objects of a release before it was rolled back to one that has others, and the request."""
    chart = shop.chart(more=RESTORED)
    shop.upgrade("shop:1", "--set", "secret=first", chart=chart)
    shop.upgrade("shop:2", "--set", "secret=second", *EXTRA, chart=chart)
    shop.rolled_out("web")
    before = shop.objects()
    body = shop.back("back", **spec)
    assert outcome(body) == ("Succeeded", "Completed"), message(body)
    assert names(shop) == {"ConfigMap/settings", "ConfigMap/dropped"}
    return before, body


def stands_again(shop: Shop, before: dict[str, Object]) -> None:
    """Whether the objects are those from before, and Helm knows it."""
    shop.rolled_out("web")
    assert names(shop) == {"ConfigMap/settings", "ConfigMap/extra", "ConfigMap/added"}
    after = shop.objects()
    for name in ("ConfigMap/added", "ConfigMap/settings", "ConfigMap/extra", "Secret/password"):
        assert after[name] == before[name]
    assert after["Deployment/web"]["spec"] == before["Deployment/web"]["spec"]
    assert [number for number, status in shop.history() if status == "deployed"] == [4]
    again, left = shop.held(4), shop.held(2)
    assert (again["config"], again["manifest"]) == (left["config"], left["manifest"])


def test_the_printed_command_goes_forward_again(shop: Shop) -> None:
    before, body = replaced(shop)

    shop.restore(body)

    stands_again(shop, before)
    assert body["status"]["targets"][0]["restore"] == f"helm -n {shop.namespace} rollback shop 2"


def test_the_printed_command_has_the_options_of_the_request(shop: Shop) -> None:
    options = {"hooks": False, "historyMax": 4, "force": "Conflicts", "cleanupOnFail": True}
    before, body = replaced(shop, options={"helm": options})

    shop.restore(body)

    stands_again(shop, before)
    assert body["status"]["targets"][0]["restore"].endswith(
        " rollback shop 2 --history-max=4 --no-hooks --cleanup-on-fail --force-conflicts"
    )


SERVICE = """apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports:
  - port: {{ if .Values.extra }}81{{ else }}80{{ end }}
"""
MIGRATED = """apiVersion: v1
kind: ConfigMap
metadata: {name: migrated, annotations: {helm.sh/hook: pre-rollback}}
"""
WAYS = {
    # made by (revision 1, revision 2), what is asked for: what the command that takes it back has of it
    "merged by Helm, as Helm 3 does": ("false", "false", "Conflicts", ""),
    "merged, then applied": ("false", "true", "Conflicts", " --force-conflicts"),
    "applied, then merged": ("true", "false", "Conflicts", ""),
    "replaced": ("false", "false", "Replace", " --force-replace"),
    "replaced, what was left not": ("false", "true", "Replace", ""),
}


@pytest.mark.parametrize("case", WAYS)
def test_what_is_forced_fits_the_way_in_which_a_revision_was_made(shop: Shop, case: str) -> None:
    first, second, force, forward = WAYS[case]
    chart = shop.chart(hook=MIGRATED)
    shop.upgrade("shop:1", f"--server-side={first}", chart=chart)
    shop.upgrade("shop:2", f"--server-side={second}", *EXTRA, chart=chart)
    shop.rolled_out("web")

    body = shop.back("back", options={"helm": {"force": force}})
    assert outcome(body) == ("Succeeded", "Completed"), message(body)
    assert (shop.image(), shop.history()[-1]) == ("shop:1", (3, "deployed"))
    assert shop.get("configmap", "migrated")
    shop.restore(body)

    assert (shop.image(), shop.history()[-1]) == ("shop:2", (4, "deployed"))
    assert body["status"]["targets"][0]["restore"] == f"helm -n {shop.namespace} rollback shop 2{forward}"


def test_what_helm_cannot_force_is_refused_before_its_hooks(shop: Shop) -> None:
    chart = shop.chart(hook=MIGRATED)
    shop.upgrade("shop:1", chart=chart)
    shop.upgrade("shop:2", chart=chart)

    body = shop.back("back", options={"helm": {"force": "Replace"}})

    assert outcome(body) == ("Failed", "Rejected")
    assert "Helm cannot replace the objects of revision 1 of release shop" in message(body)
    assert shop.history()[-1] == (2, "deployed")
    assert shop.kubectl("get", "configmap", "migrated", "--ignore-not-found") == ""


def test_a_revision_that_failed_is_gone_forward_to_whatever_the_limit(shop: Shop) -> None:
    shop.upgrade("shop:1")
    shop.upgrade("shop:2", *EXTRA)
    shop.status(1, "deployed")
    shop.status(2, "failed")

    body = shop.back("back", options={"helm": {"historyMax": 1}})
    assert outcome(body) == ("Succeeded", "Completed"), message(body)
    assert shop.history() == [(1, "superseded"), (2, "failed"), (3, "deployed")]
    shop.restore(body)

    assert shop.image() == "shop:2"
    assert shop.get("configmap", "extra")
    assert shop.history() == [(3, "superseded"), (4, "deployed")]


def test_of_a_revision_whose_record_is_gone_the_copy_has_it(shop: Shop) -> None:
    before, body = replaced(shop)
    mine = body["status"]["targets"][0]
    shop.kubectl("delete", "secret", "sh.helm.release.v1.shop.v2")
    with pytest.raises(subprocess.CalledProcessError):
        shop.restore(body)

    kept = f"kubectl -n {shop.namespace} get secret {mine['plan']['backup']['secret']} -o jsonpath='{{.data.record}}'"
    shop.shell(f"{kept} | base64 -d | gunzip | kubectl create -f -")
    shop.restore(body)

    stands_again(shop, before)


def test_the_copy_holds_what_there_was_of_the_objects(shop: Shop) -> None:
    before, body = replaced(shop)
    secret = body["status"]["targets"][0]["plan"]["backup"]["secret"]

    kept = shop.shell(
        f"kubectl -n {shop.namespace} get secret {secret} -o jsonpath='{{.data.manifests}}' | base64 -d | gunzip"
    )

    things = {f"{one['kind']}/{one['metadata']['name']}": one for one in json.loads(kept)["items"]}
    assert set(things) == {"Deployment/web", "Secret/password", *(one for one in before if one in RELEASED)}
    assert "deployment.kubernetes.io/revision" not in things["Deployment/web"]["metadata"]["annotations"]


@pytest.mark.parametrize("server_side", ["true", "false"])
def test_every_object_is_as_helm_rollback_leaves_it(shop: Shop, other: Shop, server_side: str) -> None:
    """And what Helm keeps of it: but for times, and the words that name the request."""
    chart = shop.chart(more=RESTORED, hook=MIGRATED, service=SERVICE)
    how = f"--server-side={server_side}"
    for one in (shop, other):
        one.upgrade("shop:1", "--set", "secret=first", how, chart=chart)
        one.rolled_out("web")  # or its controller, if it is late, gives other numbers in one than in the other
        one.upgrade("shop:2", *EXTRA, how, chart=chart)
        one.rolled_out("web")

    other.helm("rollback", "shop", "1")
    body = shop.back("back", to="1", backup="Never")
    for one in (shop, other):
        one.rolled_out("web")

    assert outcome(body) == ("Succeeded", "Completed"), message(body)
    ours, theirs = shop.objects(), other.objects()
    ours.pop("ServiceAccount/rollback")
    assert ours == theirs
    assert set(ours) >= RETURNED
    assert shop.plain_record(3) == other.plain_record(3)
    assert shop.plain_record(3)["info"]["status"] == "deployed"


def test_the_next_upgrade_and_the_next_helm_rollback_succeed(shop: Shop) -> None:
    shop.upgrade("shop:1", *EXTRA)
    shop.upgrade("shop:2")
    shop.back("back")

    shop.upgrade("shop:3")
    assert shop.image() == "shop:3"
    assert shop.kubectl("get", "configmap", "extra", "--ignore-not-found") == ""
    shop.helm("rollback", "shop", "3")
    assert shop.image() == "shop:1"
    assert shop.history()[-1] == (5, "deployed")


def test_a_release_that_helm_3_made_goes_back(shop: Shop) -> None:
    """Helm 3 writes no apply method and no modification times; all else of a record is the same."""
    shop.upgrade("shop:1", "--server-side=false")
    shop.upgrade("shop:2", "--server-side=false")

    def by_helm_3(release: Object) -> None:
        release.pop("apply_method", None)
        release["info"].pop("rollback_revision", None)
        release["info"]["deleted"] = ""
        chart = release["chart"]
        for name in ("modtime", "schemamodtime"):
            chart.pop(name, None)
        for file in [*(chart.get("templates") or []), *(chart.get("files") or [])]:
            file.pop("modtime", None)

    for number in (1, 2):
        shop.rewrite(number, by_helm_3)

    body = shop.back("back")

    assert outcome(body) == ("Succeeded", "Completed"), message(body)
    assert shop.image() == "shop:1"
    assert shop.history()[-1] == (3, "deployed")


def test_the_same_chart_released_again_is_the_same_release(shop: Shop) -> None:
    shop.upgrade("shop:1")
    shop.upgrade("shop:1")

    body = shop.back("back")

    assert outcome(body) == ("Succeeded", "AlreadyAtRevision")
    assert shop.history()[-1] == (2, "deployed")


def test_no_value_that_may_be_secret_is_shown(shop: Shop) -> None:
    shop.upgrade("shop:1", "--set", "secret=old-secret")
    shop.upgrade("shop:2", "--set", "secret=new-secret")

    body = shop.back("back")

    shown = json.dumps(body)
    assert outcome(body) == ("Succeeded", "Completed"), message(body)
    assert "password" in body["status"]["targets"][0]["plan"]["diff"]
    assert "old-secret" not in shown
    assert "new-secret" not in shown


def test_there_is_no_such_release(shop: Shop) -> None:
    body = shop.back("back")

    assert outcome(body) == ("Failed", "TargetNotFound")
    assert f"There is no Helm shop in namespace {shop.namespace}" in message(body)


def test_an_uninstalled_release_is_none(shop: Shop) -> None:
    shop.upgrade("shop:1")
    shop.upgrade("shop:2")
    shop.helm("uninstall", "shop", "--keep-history")

    assert outcome(shop.back("back")) == ("Failed", "TargetNotFound")


def test_a_history_of_one_has_nothing_to_go_back_to(shop: Shop) -> None:
    shop.upgrade("shop:1")

    body = shop.back("back")

    assert outcome(body) == ("Failed", "NothingToRollBackTo")
    assert "no revision before 1" in message(body)
    assert "--history-max" in message(body)


def test_a_name_that_would_be_an_option_is_refused(shop: Shop) -> None:
    said = shop.refused(
        {
            "apiVersion": "rollback.dev/v1alpha1",
            "kind": "RollbackRequest",
            "metadata": {"name": "back"},
            "spec": {"target": {"kind": "Helm", "name": "--kubeconfig=x"}, "reason": "no"},
        }
    )

    assert "write the target's name as kubectl shows it" in said


def test_a_failed_release_is_gone_back_from_and_never_to(shop: Shop) -> None:
    shop.upgrade("shop:1")
    shop.upgrade("shop:2")
    shop.rewrite(2, _failed)
    shop.upgrade("shop:3")
    shop.rewrite(3, _failed)
    assert shop.history() == [(1, "superseded"), (2, "superseded"), (3, "failed")]

    named = shop.back("named", to="2")
    assert outcome(named) == ("Failed", "RevisionNotFound")
    assert "Revision 2 of Helm/shop cannot be gone back to: it had failed before it was superseded" in message(named)
    body = shop.back("back")

    assert outcome(body) == ("Succeeded", "Completed"), message(body)
    assert (body["status"]["from"], body["status"]["to"]) == ("3", "1")
    assert shop.image() == "shop:1"


def _failed(release: Object) -> None:
    """As Helm leaves an upgrade that failed; the next one that succeeds calls it superseded."""
    release["info"].update(status="failed", description='Upgrade "shop" failed: context deadline exceeded')


def test_a_hook_that_fails_ends_the_request_with_helms_words_and_leaves_nothing_pending(shop: Shop) -> None:
    chart = shop.chart(migrate=hook("migrate", "pre-rollback", activeDeadlineSeconds=1))
    shop.upgrade("shop:1", chart=chart)
    shop.upgrade("shop:2")

    body = shop.back("back")

    assert outcome(body) == ("Failed", "HalfApplied")
    assert "migrate" in message(body)
    assert "Helm says: Rollback failed:" in message(body)
    assert shop.history() == [(1, "superseded"), (2, "deployed"), (3, "failed")]
    assert shop.image() == "shop:2"
    assert any("Hooks run: migrate" in step for step in body["status"]["targets"][0]["plan"]["steps"])


def test_a_hook_that_fails_afterwards_ends_the_request_and_the_objects_stay_back(shop: Shop) -> None:
    chart = shop.chart(tell=hook("tell", "post-rollback", activeDeadlineSeconds=1))
    shop.upgrade("shop:1", chart=chart)
    shop.upgrade("shop:2", *EXTRA)

    body = shop.back("back")

    assert outcome(body) == ("Failed", "HalfApplied")
    assert "tell" in message(body)
    assert condition(body, "Applied")["status"] == "True"
    assert shop.history() == [(1, "superseded"), (2, "deployed"), (3, "failed")]
    assert shop.image() == "shop:1"
    assert shop.kubectl("get", "configmap", "extra", "--ignore-not-found") == ""
    shop.upgrade("shop:3")
    assert shop.history()[-1] == (4, "deployed")


def test_what_failed_half_way_is_gone_back_to_again_when_its_cause_is_mended(shop: Shop) -> None:
    chart = shop.chart(note=NOTE)
    shop.upgrade("shop:1", chart=chart)
    shop.upgrade("shop:2", *EXTRA)
    shop.kubectl("create", "quota", "none", "--hard=count/configmaps=0")
    until(lambda: shop.get("quota", "none").get("status", {}).get("hard"), what="no ConfigMap may be created")

    failed = shop.back("first", to="1")
    assert outcome(failed) == ("Failed", "HalfApplied")
    assert "exceeded quota" in message(failed)
    assert (shop.image(), shop.history()[-1]) == ("shop:2", (3, "failed"))
    shop.kubectl("delete", "quota", "none")
    body = shop.back("second", to="1")

    assert outcome(body) == ("Succeeded", "Completed"), message(body)
    assert (body["status"]["from"], body["status"]["to"]) == ("3", "1")
    assert (shop.image(), shop.history()[-1]) == ("shop:1", (4, "deployed"))
    assert shop.kubectl("get", "configmap", "extra", "--ignore-not-found") == "", "what revision 2 had beside is gone"
    assert outcome(shop.back("third", to="1")) == ("Succeeded", "AlreadyAtRevision")


NOTE = """apiVersion: v1
kind: ConfigMap
metadata: {name: note, annotations: {helm.sh/hook: pre-rollback}}
"""


def test_a_hook_whose_object_is_there_already_is_not_gone_without(shop: Shop) -> None:
    """As `helm rollback` fails there."""
    policy = "pre-rollback, helm.sh/hook-delete-policy: hook-succeeded"
    shop.upgrade("shop:1", "--server-side=false", chart=shop.chart(note=NOTE.replace("pre-rollback", policy)))
    shop.upgrade("shop:2", "--server-side=false")
    shop.kubectl("create", "configmap", "note")

    body = shop.back("back")

    assert outcome(body) == ("Failed", "HalfApplied")
    assert "already exists" in message(body)
    assert (shop.image(), shop.history()[-1]) == ("shop:2", (3, "failed"))
    assert body["status"]["targets"][0]["steps"][0]["attempts"] == 1


def test_a_release_that_is_uninstalled_while_helm_works_is_gone_and_stays_so(shop: Shop) -> None:
    chart = shop.chart(migrate=hook("migrate", "pre-rollback"))
    shop.upgrade("shop:1", chart=chart)
    shop.upgrade("shop:2")
    shop.ask("back")
    until(lambda: shop.kubectl("get", "jobs", "-o", "name"), what="the hook runs")

    shop.helm("uninstall", "shop")
    body = shop.ended("back")

    assert outcome(body) == ("Failed", "TargetNotFound")
    assert "Helm/shop was deleted" in message(body)
    assert condition(body, "Applied")["status"] != "False", "Helm had begun"
    assert not _helms(shop)
    assert shop.kubectl("get", "deployments,secrets", "-l", "app.kubernetes.io/managed-by=Helm", "-o", "name") == ""
    assert shop.kubectl("get", "secrets", "-l", "owner=helm", "-o", "name") == ""


def test_hooks_are_left_out_when_that_is_asked_for(shop: Shop) -> None:
    chart = shop.chart(migrate=hook("migrate", "pre-rollback", activeDeadlineSeconds=1))
    shop.upgrade("shop:1", chart=chart)
    shop.upgrade("shop:2")

    body = shop.back("back", options={"helm": {"hooks": False}})

    assert outcome(body) == ("Succeeded", "Completed"), message(body)
    assert shop.kubectl("get", "jobs", "-o", "name") == ""


CORRUPT = {
    "not base64 inside": ("bm90IGEgcmVsZWFzZQ==", "its data is not base64 as Helm writes it"),
    "not gzip inside": ("Ym05MElHRWdjbVZzWldGelpRPT0=", "it is not gzip"),
}


@pytest.mark.parametrize("case", CORRUPT)
def test_a_newest_record_that_is_corrupt_is_an_end_and_no_crash(shop: Shop, case: str) -> None:
    data, why = CORRUPT[case]
    shop.upgrade("shop:1")
    shop.upgrade("shop:2")
    shop.kubectl(
        "patch", "secret", "sh.helm.release.v1.shop.v2", "--type=merge", "-p", json.dumps({"data": {"release": data}})
    )

    body = shop.back("back")

    assert outcome(body) == ("Failed", "UnreadableRecord")
    assert "Secret sh.helm.release.v1.shop.v2" in message(body)
    assert why in message(body)
    assert shop.image() == "shop:2"


def test_an_older_record_that_is_corrupt_is_passed_over(shop: Shop) -> None:
    for number in (1, 2, 3):
        shop.upgrade(f"shop:{number}")
    shop.kubectl("patch", "secret", "sh.helm.release.v1.shop.v2", "--type=merge", "-p", '{"data": {"release": "QUJD"}}')

    named = shop.back("named", to="2")
    body = shop.back("back")

    assert outcome(named) == ("Failed", "RevisionNotFound")
    assert "its record cannot be read" in message(named)
    assert outcome(body) == ("Succeeded", "Completed"), message(body)
    assert shop.image() == "shop:1"


def test_custom_resources_are_not_lost_unless_that_is_allowed(shop: Shop) -> None:
    kind = "Till" + shop.namespace.rpartition("-")[2]
    chart = shop.chart(definition=definition(kind))
    shop.upgrade("shop:1", chart=chart)
    shop.upgrade("shop:2", *EXTRA, chart=chart)
    name = f"{kind.lower()}s.example.com"
    shop.kubectl("apply", "-f", "-", input=CLUSTER_RIGHTS.replace("NAME", shop.namespace))
    shop.may("delete", "apiextensions.k8s.io/customresourcedefinitions")

    refused = shop.back("refused")
    assert outcome(refused) == ("Failed", "WouldDeleteCRD")
    assert f"would delete CustomResourceDefinition {name}" in message(refused)
    assert shop.history()[-1] == (2, "deployed")
    body = shop.back("allowed", options={"helm": {"allowCRDDeletion": True}})

    assert outcome(body) == ("Succeeded", "Completed"), message(body)
    until(lambda: not shop.cluster.kubectl("get", "crd", name, "--ignore-not-found"), what="the definition is gone")


CLUSTER_RIGHTS = """
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: crds-NAME}
rules: [{apiGroups: [apiextensions.k8s.io], resources: [customresourcedefinitions], verbs: ['*']}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: crds-NAME}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: crds-NAME}
subjects: [{kind: ServiceAccount, name: rollback, namespace: NAME}]
"""


def test_a_release_that_a_dead_process_left_pending_is_repaired_and_rolled_back(shop: Shop) -> None:
    shop.upgrade("shop:1")
    shop.upgrade("shop:2")
    shop.status(2, "pending-upgrade")
    assert "another operation" in _refusal_of_helm(shop)

    body = shop.back("back", options={"helm": {"pendingAfter": "1s"}})

    assert outcome(body) == ("Succeeded", "Completed"), message(body)
    assert shop.history() == [(1, "superseded"), (2, "failed"), (3, "deployed")]
    assert "Mark revision 2, which is pending-upgrade" in " ".join(body["status"]["targets"][0]["plan"]["steps"])
    shop.upgrade("shop:3")


def _refusal_of_helm(shop: Shop) -> str:
    try:
        shop.upgrade("shop:3")
    except Exception as error:  # noqa: BLE001 - its words are what is looked at
        return str(error)
    return ""


def test_a_release_that_somebody_works_on_is_waited_for(shop: Shop) -> None:
    shop.upgrade("shop:1")
    shop.upgrade("shop:2")
    shop.status(2, "pending-upgrade")
    shop.ask("back")

    until(lambda: _reason(shop, "back") == "WaitingForController", what="it waits")
    waiting = shop.get("rbr", "back")
    assert "Helm/shop can be changed: it is pending-upgrade (revision 2" in message(waiting)
    assert "pendingAfter" in message(waiting)
    shop.status(2, "deployed")
    body = shop.ended("back")

    assert outcome(body) == ("Succeeded", "Completed"), message(body)


def _reason(shop: Shop, name: str) -> str:
    conditions = shop.get("rbr", name).get("status", {}).get("conditions", [])
    return next((str(one["reason"]) for one in conditions if one["type"] == "Ready"), "")


def test_without_rights_on_the_records_nobody_looks_at_them(bare_shop: Shop) -> None:
    bare_shop.upgrade("shop:1")
    bare_shop.upgrade("shop:2")

    body = bare_shop.back("back")

    assert outcome(body) == ("Failed", "Forbidden")
    account = f"{bare_shop.namespace}/rollback"
    assert f"Service account {account} may not list secrets" in message(body)


def test_without_rights_on_what_the_chart_has_nothing_is_changed(shop: Shop) -> None:
    chart = shop.chart(rule=ROLE)
    shop.upgrade("shop:1", chart=chart)
    shop.upgrade("shop:2", chart=chart)

    body = shop.back("back")

    assert outcome(body) == ("Failed", "Forbidden")
    said = f"Service account {shop.namespace}/rollback may not get roles"
    assert said in message(body)
    assert shop.history()[-1] == (2, "deployed")
    assert condition(body, "Applied")["status"] == "False"


ROLE = """apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: of-the-chart}
rules: []
"""


def test_a_revision_that_was_pruned_cannot_be_gone_back_to(shop: Shop) -> None:
    for number in (1, 2, 3):
        shop.upgrade(f"shop:{number}", "--history-max=2")

    body = shop.back("back", to="1")

    assert outcome(body) == ("Failed", "RevisionNotFound")
    assert "it has 2 and 3. Older ones are removed by Helm's --history-max" in message(body)


def test_older_ones_are_removed_when_the_rollback_is_made(shop: Shop) -> None:
    for number in (1, 2, 3, 4):
        shop.upgrade(f"shop:{number}")

    body = shop.back("back", options={"helm": {"historyMax": 3}})

    assert outcome(body) == ("Succeeded", "Completed"), message(body)
    assert shop.history() == [(3, "superseded"), (4, "superseded"), (5, "deployed")]


def test_the_revision_that_is_gone_back_to_is_not_pruned_by_that(shop: Shop) -> None:
    for number in (1, 2, 3):
        shop.upgrade(f"shop:{number}")

    body = shop.back("back", to="1", options={"helm": {"historyMax": 3}})

    assert outcome(body) == ("Succeeded", "Completed"), message(body)
    assert [number for number, _ in shop.history()] == [1, 2, 3, 4]
    assert "revision 1 would be removed now; it is kept" in " ".join(body["status"]["targets"][0]["plan"]["notes"])


def test_a_dry_run_shows_the_difference_and_changes_nothing(shop: Shop) -> None:
    shop.upgrade("shop:1")
    shop.upgrade("shop:2")
    before = _versions(shop)

    body = shop.back("back", dryRun=True)

    assert outcome(body) == ("Succeeded", "DryRun"), message(body)
    assert "-        image: shop:2\n+        image: shop:1" in body["status"]["targets"][0]["plan"]["diff"]
    assert _versions(shop) == before


def _versions(shop: Shop) -> dict[str, str]:
    """What changes with every write but those of a Deployment's own controller, which may come at any time."""
    listed = json.loads(shop.kubectl("get", "deployments,configmaps,secrets", "-o", "json"))["items"]
    version = {"Deployment": "generation", "ConfigMap": "resourceVersion", "Secret": "resourceVersion"}
    return {f"{one['kind']}/{one['metadata']['name']}": str(one["metadata"][version[one["kind"]]]) for one in listed}


def test_an_operator_killed_in_the_middle_leaves_nothing_pending_and_the_next_completes_it(
    shop: Shop, operator: Any
) -> None:
    chart = shop.chart(migrate=hook("migrate", "pre-rollback"))
    shop.upgrade("shop:1", chart=chart)
    shop.upgrade("shop:2", *EXTRA)
    shop.ask("back")
    until(lambda: shop.kubectl("get", "jobs", "-o", "name"), what="the hook runs")
    assert _helms(shop)

    operator.kill()
    until(lambda: not _helms(shop), what="Helm ends with its parent")
    assert shop.history()[-1] == (3, "pending-rollback")
    operator.again()
    body = shop.ended("back")

    assert outcome(body) == ("Succeeded", "Completed"), message(body)
    assert shop.history() == [(1, "superseded"), (2, "superseded"), (3, "failed"), (4, "deployed")]
    assert shop.image() == "shop:1"
    assert shop.kubectl("get", "configmap", "extra", "--ignore-not-found") == ""
    (step,) = body["status"]["targets"][0]["steps"]
    assert step["state"] == "Done"
    assert step["attempts"] >= 2  # one more is written where it could not be sent in time


def _helms(shop: Shop) -> list[str]:
    """Processes of Helm that roll back in this namespace."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if b"rollback" in command and f"--namespace={shop.namespace}".encode() in command:
            found.append(process.name)
    return found


async def test_a_release_that_lands_between_the_look_and_the_effect_is_never_rolled_over(
    shop: Shop, credentials: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before Helm is started the records are read again; after that the API server refuses to create a number twice."""
    shop.upgrade("shop:1")
    shop.upgrade("shop:2")
    monkeypatch.setenv("KUBECONFIG", str(credentials))
    api = Api(await load_configuration(), lambda *_: None)
    try:
        target = by_kind(api, str(Binaries().path("helm")))["Helm"]
        where = Where(shop.namespace, "shop", ServiceAccount(shop.namespace, "rollback"))
        seen = await target.observe(where, None, None)
        assert seen is not None
        to = next(one for one in seen.history if one.name == "1")
        plan = make_plan(seen, Chosen(to), Findings((), ""), account="rollback", verify=None)
        started = effect.run

        async def late(*args: Any) -> effect.Finished:
            await asyncio.to_thread(shop.upgrade, "shop:3")
            return await started(*args)

        monkeypatch.setattr(effect, "run", late)
        with pytest.raises(errors.Conflict, match="another revision"):
            await target.apply(where, seen, plan, "uid-of-nobody")
        with pytest.raises(errors.Conflict, match="was changed after it was looked at"):
            await target.apply(where, seen, plan, "uid-of-nobody")
    finally:
        await api.close()

    assert shop.history() == [(1, "superseded"), (2, "superseded"), (3, "deployed")]
    assert shop.image() == "shop:3"


def orders(soak: str) -> Object:
    """A policy for the release."""
    trigger = {"name": "stuck", "rollout": {"progressDeadlineExceeded": True}, "interval": "1s"}
    return policy("shop", target={"kind": "Helm", "name": "shop"}, triggers=[trigger], soak=soak)


def armed(shop: Shop) -> tuple[str, str]:
    """Whether a policy could roll back, and the reason."""
    conditions = shop.get("rbp", "shop").get("status", {}).get("conditions", [])
    return next(((one["status"], one["reason"]) for one in conditions if one["type"] == "Armed"), ("", ""))


def known(shop: Shop) -> list[tuple[str, str]]:
    """What a policy's ledger says of each revision."""
    ledger = shop.get("rbp", "shop").get("status", {}).get("ledger", [])
    return [(one["revision"], one["verdict"]) for one in ledger]


def test_a_policy_says_whether_a_release_could_be_rolled_back(shop: Shop) -> None:
    shop.upgrade("shop:1")
    shop.apply(orders("1h"))
    until(lambda: armed(shop) == ("False", "NothingToRollBackTo"), what="there is one revision only")
    shop.upgrade("shop:2", "--history-max=2")
    until(lambda: armed(shop) == ("True", "Armed"), what="it can be rolled back")
    shop.upgrade("shop:3", "--history-max=2")
    until(lambda: armed(shop) == ("True", "ArmedForNow"), what="the next release removes what it would go back to")


def test_a_policy_is_disarmed_when_what_proved_good_is_removed(shop: Shop) -> None:
    """Another revision is there and superseded, but that proves nothing."""
    shop.upgrade("shop:1")
    shop.upgrade("shop:2")
    shop.apply(orders("1s"))
    until(lambda: known(shop) == [("2", "Good")], what="the release has proved good")
    shop.apply(orders("1h"))
    shop.wait("rbp/shop", "--for=jsonpath={.status.observedGeneration}=2")

    shop.upgrade("shop:3", "--history-max=2")
    until(lambda: armed(shop) == ("True", "ArmedForNow"), what="the next release removes what it would go back to")
    shop.upgrade("shop:4", "--history-max=2")

    until(lambda: armed(shop) == ("False", "RevisionNotFound"), what="it is disarmed")
    assert "What proved good of Helm/shop is no longer among its revisions" in message(shop.get("rbp", "shop"), "Armed")
    body = shop.ended(shop.request("back", policyRef={"name": "shop"}))
    assert outcome(body) == ("Failed", "RevisionNotFound")
    assert shop.history() == [(3, "superseded"), (4, "deployed")]


def test_a_release_that_does_well_proves_good(shop: Shop) -> None:
    """How its workloads do is not looked at before a rollback; it is for that."""
    shop.upgrade("shop:1")
    shop.apply(orders("1s"))
    until(lambda: known(shop) == [("1", "Good")], what="the release has proved good")
