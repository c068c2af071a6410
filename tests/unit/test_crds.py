"""`crds/` is what the models say, and what they say is bounded."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from rollback_operator.api import crds
from rollback_operator.api.fields import RULES
from rollback_operator.api.reasons import Reason
from rollback_operator.api.request import IMMUTABLE, MAX_AFFECTED, RequestSpec
from tests.unit.schema import CRDS, Schema, nodes, schema_of

FILES = ("rollbackpolicies.yaml", "rollbackrequests.yaml")
REQUEST, POLICY = schema_of("rollbackrequests.yaml"), schema_of("rollbackpolicies.yaml")
REQUEST_MEMBER = REQUEST["properties"]["spec"]["properties"]["targets"]["items"]
METADATA = (".apiVersion", ".kind", ".metadata")


def all_nodes() -> dict[str, Schema]:
    """Every node of both schemas, without what the API server itself bounds."""
    found = {}
    for file in FILES:
        for path, node in nodes(schema_of(file)):
            if not path.startswith(METADATA):
                found[file.removesuffix(".yaml") + path] = node
    return found


ALL = all_nodes()


@pytest.mark.parametrize("file", FILES)
def test_the_files_are_generated_from_the_models(file: str) -> None:
    generated = crds.render(crds.definitions()[file])
    assert (CRDS / file).read_text(encoding="utf-8") == generated, "run `make crds`"


def test_every_resource_has_its_file() -> None:
    files = {path.name for path in CRDS.glob("*.yaml")} - {"kustomization.yaml"}
    assert files == set(crds.definitions())


@pytest.mark.parametrize("path", [path for path, node in ALL.items() if node.get("type") == "string"])
def test_every_string_is_bounded(path: str) -> None:
    node = ALL[path]
    assert node.get("maxLength") or node.get("enum") or node.get("format") == "date-time"


@pytest.mark.parametrize("path", [path for path, node in ALL.items() if node.get("x-kubernetes-int-or-string")])
def test_every_int_or_string_is_bounded(path: str) -> None:
    assert ALL[path]["maxLength"]
    assert ALL[path][RULES]
    assert "type" not in ALL[path]


@pytest.mark.parametrize("path", [path for path, node in ALL.items() if node.get("type") == "array"])
def test_every_list_is_bounded(path: str) -> None:
    assert 0 < ALL[path]["maxItems"] <= (MAX_AFFECTED if path.endswith(".affected") else 64)


@pytest.mark.parametrize("path", [path for path, node in ALL.items() if node.get("type") == "object"])
def test_every_object_says_what_it_holds(path: str) -> None:
    """A map of free keys would have to be bounded by maxProperties."""
    assert ALL[path].get("properties") or ALL[path].get("maxProperties")


@pytest.mark.parametrize("path", ALL)
def test_every_node_is_structural(path: str) -> None:
    node = ALL[path]
    foreign = {"const", "$ref", "$defs", "anyOf", "oneOf", "allOf", "title", "exclusiveMinimum", "prefixItems"}
    assert not foreign & set(node)
    assert node.get("type") or node.get("x-kubernetes-int-or-string")
    if node.get("type") == "integer":
        assert node["format"] == "int64"


@pytest.mark.parametrize("path", [path for path in ALL if not path.endswith(("[]", "."))])
def test_every_field_is_described(path: str) -> None:
    description = ALL[path]["description"]
    assert description.endswith((".", ")"))
    assert "\n" not in description


@pytest.mark.parametrize("path", [path for path, node in ALL.items() if node.get(RULES)])
def test_every_rule_says_what_to_do(path: str) -> None:
    for rule in ALL[path][RULES]:
        assert len(rule["message"]) > 20
        assert "\n" not in rule["message"]


KINDS = ["Deployment", "StatefulSet", "DaemonSet", "Helm", "Application"]


def test_a_kind_is_an_enum_and_never_a_constant() -> None:
    for schema in (REQUEST, POLICY):
        assert schema["properties"]["spec"]["properties"]["target"]["properties"]["kind"]["enum"] == KINDS


DEFAULTS: dict[str, tuple[Schema, tuple[str, ...], Any]] = {
    "a request's timeout": (REQUEST, ("spec", "timeout"), "10m"),
    "the wave of a group's target": (REQUEST_MEMBER, ("wave",), 0),
    "a dry run": (REQUEST, ("spec", "dryRun"), False),
    "an abort": (REQUEST, ("spec", "abort"), False),
    "an approval": (REQUEST, ("spec", "approve"), False),
    "a policy's goal": (POLICY, ("spec", "to"), "LastKnownGood"),
    "a policy's history": (POLICY, ("spec", "historyLimit"), 20),
    "a policy's mode": (POLICY, ("spec", "mode"), "Enforce"),
    "a policy's breaker": (POLICY, ("spec", "breaker"), {"limit": 2, "window": "1h"}),
    "what a policy does with a bad release that is back": (POLICY, ("spec", "onReturn"), "Alert"),
    "what a policy does after a rollback that did not help": (POLICY, ("spec", "onVerifyFailure"), "Stop"),
    "what kstatus waits on, of a request": (REQUEST, ("status",), {"observedGeneration": -1}),
    "what kstatus waits on, of a policy": (POLICY, ("status",), {"observedGeneration": -1}),
}


@pytest.mark.parametrize("case", DEFAULTS)
def test_the_api_server_fills_in(case: str) -> None:
    node, path, expected = DEFAULTS[case]
    for name in path:
        node = node["properties"][name]
    assert node["default"] == expected


@pytest.mark.parametrize("name", ["target", "targets", "policyRef", "to", "reason", "serviceAccountName", "grace"])
def test_nothing_is_filled_in_for(name: str) -> None:
    assert "default" not in REQUEST["properties"]["spec"]["properties"][name]


REVISIONS = [
    POLICY["properties"]["spec"]["properties"]["to"],
    REQUEST["properties"]["spec"]["properties"]["to"],
    REQUEST_MEMBER["properties"]["to"],
]


@pytest.mark.parametrize("to, taken", [("0", True), ("3", True), ("abcdef0", True), ("03", False), ("-1", False)])
def test_revisions_are_numbered_from_zero_on(to: str, taken: bool) -> None:  # noqa: FBT001
    """By Argo CD."""
    for node in REVISIONS:
        (rule,) = node[RULES]
        bare, _, quoted = rule["rule"].removeprefix("type(self) == int ? ").partition(" : ")
        assert bare == "self >= 0"
        pattern = quoted.removeprefix("string(self).matches('").removesuffix("')")
        assert bool(re.search(pattern, to)) is taken


def test_all_of_a_request_is_frozen_but_what_people_may_still_say_of_it() -> None:
    fields = {field.alias for field in RequestSpec.model_fields.values()}
    assert fields - set(IMMUTABLE) == {"abort", "approve"}
    rules = [rule["rule"] for rule in REQUEST["properties"]["spec"][RULES]]
    for name in IMMUTABLE:
        assert any(f"has(self.{name}) == has(oldSelf.{name})" in rule for rule in rules)


def test_the_plan_is_frozen_once_written() -> None:
    plan = REQUEST["properties"]["status"]["properties"]["targets"]["items"]["properties"]["plan"]
    assert {"rule": "self == oldSelf", "message": "a plan is written once and never changed"} in plan[RULES]


def test_the_targets_are_a_map_so_that_rules_can_compare_them_with_what_they_were() -> None:
    targets = REQUEST["properties"]["status"]["properties"]["targets"]
    assert (targets["x-kubernetes-list-type"], targets["x-kubernetes-list-map-keys"]) == ("map", ["target"])


@pytest.mark.parametrize("file", FILES)
def test_status_is_a_subresource(file: str) -> None:
    definition = yaml.safe_load((CRDS / file).read_text(encoding="utf-8"))
    (version,) = definition["spec"]["versions"]
    assert version["subresources"] == {"status": {}}
    assert "rollback" in definition["spec"]["names"]["categories"]


def test_the_operator_finds_requests_by_what_is_selectable() -> None:
    definition = crds.definitions()["rollbackrequests.yaml"]
    (version,) = definition["spec"]["versions"]
    selectable = {field["jsonPath"] for field in version["selectableFields"]}
    assert {".spec.target.name", ".spec.policyRef.name", ".status.phase", ".status.target"} <= selectable


def test_every_reason_fits_a_condition_and_reads_as_one_word() -> None:
    for reason in Reason:
        assert len(reason) <= 64
        assert reason.isalpha()
        assert reason[0].isupper()
