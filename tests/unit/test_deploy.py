"""What `kubectl apply -k deploy/` and the examples promise, read from the files themselves."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.registry import REGISTRY

from rollback_operator import __version__, metrics
from rollback_operator.api.policy import RollbackPolicy
from rollback_operator.api.reasons import FAILURES, Reason
from rollback_operator.api.request import RollbackRequest
from rollback_operator.settings import PREFIX, Settings
from testbed import images

ROOT = Path(__file__).parents[2]
DEPLOY, EXAMPLES = ROOT / "deploy", ROOT / "examples"
KUSTOMIZATIONS = ("kustomization.yaml", "Kustomization")
READING = {"get", "list", "watch"}

Object = dict[str, Any]


def documents(path: Path) -> list[Object]:
    return [document for document in yaml.safe_load_all(path.read_text(encoding="utf-8")) if document]


def kustomization(folder: Path) -> Object:
    (path,) = (folder / name for name in KUSTOMIZATIONS if (folder / name).exists())
    (content,) = documents(path)
    return content


def resources(folder: Path) -> list[Object]:
    found: list[Object] = []
    for entry in kustomization(folder)["resources"]:
        path = (folder / entry).resolve()
        found += resources(path) if path.is_dir() else documents(path)
    return found


def one(kind: str, name: str = "rollback-operator") -> Object:
    (found,) = (thing for thing in resources(DEPLOY) if (thing["kind"], thing["metadata"]["name"]) == (kind, name))
    return found


def pod() -> Object:
    template: Object = one("Deployment")["spec"]["template"]["spec"]
    return template


def container() -> Object:
    (found,) = pod()["containers"]
    return dict(found)


def granted(role: str) -> set[tuple[str, str, str]]:
    """(group, resource, verb) for each right of a ClusterRole."""
    return {
        (group, resource, verb)
        for rule in one("ClusterRole", role)["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


OURS = "rollback.dev"
ALLOWED = {
    *((OURS, resource, verb) for resource in ("rollbackrequests", "rollbackpolicies") for verb in READING),
    (OURS, "rollbackrequests/status", "update"),
    (OURS, "rollbackpolicies/status", "update"),
    *((OURS, "rollbackrequests", verb) for verb in ("create", "patch", "delete")),
    *(("apps", kind, verb) for kind in ("deployments", "statefulsets", "daemonsets") for verb in READING),
    ("apps", "replicasets", "list"),
    ("apps", "controllerrevisions", "list"),
    ("", "pods", "list"),
    ("", "events", "create"),
}


EXAMPLE_RIGHTS = {
    *((kind, verb) for kind in ("deployments", "statefulsets", "daemonsets") for verb in ("get", "patch")),
    ("pods", "delete"),
    ("configmaps", "get"),
    ("secrets", "get"),
    ("secrets", "create"),
    ("persistentvolumeclaims", "get"),
}


OWNER_RIGHTS = {
    *((kind, verb) for kind in ("kustomizations", "helmreleases") for verb in ("get", "patch")),
    ("applications", "get"),
    ("applicationsets", "get"),
    *((kind, "get") for kind in ("gitrepositories", "ocirepositories", "helmcharts", "buckets")),
}


MEMORY_RIGHTS = {
    *(
        (kind, verb)
        for kind in ("configmaps", "secrets", "services", "ingresses")
        for verb in ("get", "patch", "create")
    ),
    ("secrets", "delete"),
}


def test_the_operator_has_exactly_the_rights_that_it_uses() -> None:
    assert granted("rollback-operator") == ALLOWED


def test_the_operator_cannot_write_a_workload_or_read_a_secret_by_itself() -> None:
    rights = granted("rollback-operator") | granted("rollback-operator-impersonate")
    outside = {right for right in rights if right[0] != OURS}
    assert {right for right in outside if right[2] not in READING} == {
        ("", "events", "create"),
        ("", "serviceaccounts", "impersonate"),
    }
    assert not {"secrets", "configmaps", "namespaces", "nodes", "*"} & {resource for _, resource, _ in rights}
    assert "*" not in {part for right in rights for part in right}


def test_the_operators_account_is_given_nothing_but_these_roles() -> None:
    bindings = [thing for thing in resources(DEPLOY) if thing["kind"].endswith("RoleBinding")]
    assert {thing["roleRef"]["name"] for thing in bindings} == {"rollback-operator", "rollback-operator-impersonate"}
    account = {"kind": "ServiceAccount", "name": "rollback-operator", "namespace": "rollback-system"}
    assert all(thing["subjects"] == [account] for thing in bindings)


def test_people_who_edit_may_ask_for_rollbacks_and_nobody_may_write_a_status() -> None:
    edit, view = one("ClusterRole", "rollback-operator-edit"), one("ClusterRole", "rollback-operator-view")
    aggregate = "rbac.authorization.k8s.io/aggregate-to-"
    assert set(edit["metadata"]["labels"]) == {aggregate + "edit", aggregate + "admin"}
    assert set(view["metadata"]["labels"]) >= {aggregate + "view"}
    assert {verb for _, _, verb in granted("rollback-operator-view")} == READING
    assert {resource for _, resource, _ in granted("rollback-operator-edit")} == {
        "rollbackrequests",
        "rollbackpolicies",
    }


def component(name: str) -> list[Object]:
    """The operations of a component, all on the role that impersonates."""
    (patch,) = kustomization(DEPLOY / name)["patches"]
    assert patch["target"] == {"kind": "ClusterRole", "name": "rollback-operator-impersonate"}
    operations: list[Object] = yaml.safe_load(patch["patch"])
    return operations


def test_named_accounts_narrows_impersonation_to_the_default_account() -> None:
    (rule,) = one("ClusterRole", "rollback-operator-impersonate")["rules"]
    assert rule["verbs"] == ["impersonate"]
    (operation,) = component("named-accounts")
    assert operation == {"op": "add", "path": "/rules/0/resourceNames", "value": [Settings().service_account]}


def test_constrained_impersonation_allows_what_the_examples_account_is_for_and_no_more() -> None:
    (operation,) = component("constrained-impersonation")
    who, *what = operation["value"]
    assert (who["resources"], who["verbs"]) == (["serviceaccounts"], ["impersonate:serviceaccount"])
    allowed = {
        (resource, verb.removeprefix("impersonate-on:serviceaccount:"))
        for rule in what
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    for_people = {(kind, "get") for kind in ("deployments", "statefulsets", "daemonsets")}
    questions = {("selfsubjectaccessreviews", "create")}
    assert allowed == EXAMPLE_RIGHTS - for_people | OWNER_RIGHTS | MEMORY_RIGHTS | questions


DISCOVERY = {(path, "get") for path in ("/version", "/api", "/api/*", "/apis", "/apis/*", "/openapi/*")}


@pytest.mark.parametrize("name, more", [("helm", DISCOVERY), ("argocd", set[tuple[str, str]]())])
def test_constrained_impersonation_with_more_kinds_allows_what_their_examples_account_is_for(
    name: str, more: set[tuple[str, str]]
) -> None:
    added = component(f"constrained-impersonation-{name}")
    assert {(operation["op"], operation["path"]) for operation in added} == {("add", "/rules/-")}
    allowed = {
        (group, kind, verb.removeprefix("impersonate-on:serviceaccount:"))
        for rule in [operation["value"] for operation in added]
        for group in rule.get("apiGroups", [None])
        for kind in rule.get("resources", rule.get("nonResourceURLs"))
        for verb in rule["verbs"]
    }
    objects = list(yaml.safe_load_all((ROOT / "examples" / f"rbac-{name}.yaml").read_text()))
    rules = [rule for body in objects for rule in body.get("rules", [])]
    needed = {
        (group, kind, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for kind in rule["resources"]
        for verb in rule["verbs"]
    }
    assert needed <= allowed
    assert {(kind, verb) for _, kind, verb in allowed} == {(kind, verb) for _, kind, verb in needed} | more


@pytest.mark.parametrize("name, rights", [("owners", OWNER_RIGHTS), ("remember", MEMORY_RIGHTS)])
def test_the_other_examples_of_rights_give_what_they_are_for(name: str, rights: set[tuple[str, str]]) -> None:
    objects = list(yaml.safe_load_all((ROOT / "examples" / f"rbac-{name}.yaml").read_text()))
    rules = [rule for body in objects for rule in body.get("rules", [])]
    assert {(kind, verb) for rule in rules for kind in rule["resources"] for verb in rule["verbs"]} == rights


def test_the_component_for_alerts_gives_the_operator_the_file_that_its_setting_names() -> None:
    (patch,) = kustomization(DEPLOY / "alerts")["patches"]
    assert patch["target"] == {"kind": "Deployment", "name": "rollback-operator"}
    added = {
        operation["path"].rpartition("/spec/")[2]: operation["value"] for operation in yaml.safe_load(patch["patch"])
    }
    volume, mount = added["volumes/-"], added["containers/0/volumeMounts/-"]
    assert volume["name"] == mount["name"]
    assert volume["secret"]["optional"] is True, "without it the operator has to start all the same"
    (item,) = volume["secret"]["items"]
    setting = {"name": f"{PREFIX}ALERTS_TOKEN_FILE", "value": f"{mount['mountPath']}/{item['path']}"}
    assert added["containers/0/env/-"] == setting
    assert pod()["volumes"], "there has to be a list that it is added to"
    assert container()["volumeMounts"]


def test_every_file_that_kustomize_is_told_of_is_there_and_none_is_left_out() -> None:
    listed = set(kustomization(DEPLOY)["resources"])
    assert listed == {path.name for path in DEPLOY.glob("*.yaml") if path.name not in KUSTOMIZATIONS} | {"../crds"}
    crds = ROOT / "crds"
    assert set(kustomization(crds)["resources"]) == {path.name for path in crds.glob("*.yaml")}


def test_the_image_has_the_version_of_the_package() -> None:
    (image,) = kustomization(DEPLOY)["images"]
    assert image["name"] == container()["image"]
    assert image["newTag"] == __version__


def test_one_operator_at_a_time() -> None:
    spec = one("Deployment")["spec"]
    assert spec["replicas"] == 1
    assert spec["strategy"] == {"type": "Recreate"}


def test_the_pod_fits_the_restricted_pod_security_that_its_namespace_enforces() -> None:
    labels = one("Namespace", "rollback-system")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    security = pod()["securityContext"]
    assert security["runAsNonRoot"] is True
    assert security["runAsUser"] == 65532
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container()["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod())
    assert [set(one) - {"name"} for one in pod()["volumes"]] == [{"emptyDir"}]


def test_the_image_runs_as_the_user_that_the_pod_asks_for() -> None:
    user = pod()["securityContext"]["runAsUser"]
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    assert f"USER {user}:{user}" in lines
    assert 'ENTRYPOINT ["python", "-m", "rollback_operator"]' in lines


def test_the_image_has_the_helm_that_is_tested() -> None:
    """The testbed gives its own build of it the name that the Dockerfile asks for."""
    (image,) = re.findall(
        "^FROM (.*/helm:.*) AS helm$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE
    )
    module = (ROOT / "testbed" / "modules" / "helm" / "go.mod").read_text(encoding="utf-8")
    assert image == images.HELM
    assert re.findall("^\\s*(?:require )?helm.sh/helm/v4 v(\\S+)", module, re.MULTILINE) == [image.rpartition(":")[2]]


def test_the_probes_ask_what_the_server_answers() -> None:
    (port,) = container()["ports"]
    assert port["containerPort"] == Settings().port
    paths = {name: container()[name]["httpGet"]["path"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert paths == {"startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"}
    assert {container()[name]["httpGet"]["port"] for name in paths} == {port["name"]}


def test_the_container_has_requests_and_a_limit_of_memory() -> None:
    assert set(container()["resources"]["requests"]) == {"cpu", "memory"}
    assert "memory" in container()["resources"]["limits"]


def test_variables_of_services_are_not_taken_for_settings() -> None:
    service = one("Service")["metadata"]["name"].upper().replace("-", "_") + "_SERVICE_HOST"
    assert service.startswith(PREFIX), "then links would do no harm"
    assert pod()["enableServiceLinks"] is False


def test_the_service_and_the_network_policy_select_the_operators_pods() -> None:
    labels = one("Deployment")["spec"]["template"]["metadata"]["labels"]
    assert one("Service")["spec"]["selector"].items() <= labels.items()
    assert one("NetworkPolicy")["spec"]["podSelector"]["matchLabels"].items() <= labels.items()


def test_the_network_policy_lets_in_probes_metrics_and_alerts_and_out_what_the_operator_asks() -> None:
    spec = one("NetworkPolicy")["spec"]
    assert set(spec["policyTypes"]) == {"Ingress", "Egress"}
    ingress = [port for rule in spec["ingress"] for port in rule["ports"]]
    assert ingress == [{"protocol": "TCP", "port": Settings().port}]
    anywhere = [rule for rule in spec["egress"] if "to" not in rule]
    ports = {(port["protocol"], port["port"]) for rule in anywhere for port in rule["ports"]}
    assert ports == {("UDP", 53), ("TCP", 53), ("TCP", 443), ("TCP", 6443)}
    within_the_cluster: Object = {"to": [{"namespaceSelector": {}}]}
    assert [rule for rule in spec["egress"] if rule not in anywhere] == [within_the_cluster]


def test_the_examples_service_account_is_the_default_one_and_may_patch_deployments_and_read_what_they_need() -> None:
    found = {document["kind"]: document for document in documents(EXAMPLES / "rbac.yaml")}
    assert found["ServiceAccount"]["metadata"]["name"] == Settings().service_account
    rights = {
        (resource, verb) for rule in found["Role"]["rules"] for resource in rule["resources"] for verb in rule["verbs"]
    }
    assert rights == EXAMPLE_RIGHTS


OURS_BY_KIND: dict[str, type[RollbackRequest | RollbackPolicy]] = {
    "RollbackRequest": RollbackRequest,
    "RollbackPolicy": RollbackPolicy,
}


EXAMPLE_TARGETS = {
    ("Deployment", "shop"),
    ("Deployment", "checkout"),
    ("Helm", "shop"),
    ("StatefulSet", "orders"),
    ("DaemonSet", "kiosk"),
    ("Application", "shop"),
}


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("rollback*.yaml")), ids=lambda path: path.name)
def test_the_examples_are_about_the_shop_and_hold_no_field_that_the_models_do_not_know(path: Path) -> None:
    (document,) = documents(path)
    assert document["metadata"]["namespace"] == "shop"
    model = OURS_BY_KIND[document["kind"]].model_validate({"kind": document["kind"], "spec": document["spec"]})
    assert unknown(document["spec"], model.dump()["spec"]) == []
    target = document["spec"].get("target")
    assert target is None or (target["kind"], target["name"]) in EXAMPLE_TARGETS


def unknown(written: Any, understood: Any, path: str = "spec") -> list[str]:
    """What stands in a file and is lost, or means something else, when the models read it."""
    if isinstance(written, dict) and isinstance(understood, dict):
        return [
            found
            for name, value in written.items()
            for found in unknown(value, understood.get(name, "nothing"), f"{path}.{name}")
        ]
    if isinstance(written, list) and isinstance(understood, list) and len(written) == len(understood):
        pairs = enumerate(zip(written, understood, strict=True))
        return [found for number, (one, other) in pairs for found in unknown(one, other, f"{path}[{number}]")]
    return [] if written == understood else [f"{path}: {written!r} is read as {understood!r}"]


def test_a_field_that_the_models_do_not_know_is_noticed_wherever_it_stands() -> None:
    spec = {"a": [{"b": 1, "c": 2}], "d": {"e": 3}}
    assert unknown(spec, {"a": [{"b": 1}], "d": {"e": 3}}) == ["spec.a[0].c: 2 is read as 'nothing'"]
    assert unknown(spec, {"a": [{"b": 1, "c": 2}], "d": {"e": 4}}) == ["spec.d.e: 3 is read as 4"]


def test_the_shops_releases_differ_in_nothing_but_the_release_and_its_settings() -> None:
    def neutral(number: int) -> str:
        _, deployment = documents(EXAMPLES / "shop" / f"release-{number}.yaml")
        return yaml.safe_dump(deployment).replace(f"shop-{number}", "shop-N").replace(f"value: '{number}'", "value: N")

    assert neutral(1) == neutral(2)


README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_readme_explains_every_reason() -> None:
    for reason in Reason:
        assert f"`{reason}`" in README, f"{reason} has no row in the README"


def test_what_counts_as_a_failure_is_what_the_readme_says() -> None:
    rows = re.findall(r"^\| Failed \| (.*?) \|", README, re.MULTILINE)
    assert {reason for row in rows for reason in re.findall(r"`(\w+)`", row)} == set(FAILURES)


def test_the_readme_lists_every_setting_with_its_default() -> None:
    rows = dict(re.findall(rf"^\| `({PREFIX}[A-Z_]+)` \| `?([^`|]*?)`? ?\|", README, re.MULTILINE))
    assert rows == {PREFIX + field.name.upper(): str(field.default) for field in fields(Settings)}


def test_the_readme_lists_every_metric() -> None:
    ours = [metric for metric in REGISTRY.collect() if metric.name.startswith("rollback_")]
    assert metrics.PHASES.collect()[0].name in {metric.name for metric in ours}
    listed = set(re.findall(r"^\| `(rollback_[a-z_]+)", README, re.MULTILINE))
    assert listed == {f"{metric.name}_total" if metric.type == "counter" else metric.name for metric in ours}
