"""Generates `crds/` from the models: `python -m rollback_operator.api.crds crds/`.

A structural schema is pydantic's JSON schema with its references inlined, `X | None` taken as "may be absent",
and `const` written as `enum` (the API server knows no `const`). CEL rules and defaults are kept as they stand.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml

from rollback_operator.api import GROUP, VERSION
from rollback_operator.api.fields import RULES, Resource
from rollback_operator.api.policy import RollbackPolicy
from rollback_operator.api.request import RollbackRequest

HEADER = "# Generated from operator/rollback_operator/api by `make crds`: change the models, not this file.\n"
_NOT_IN_SCHEMA = ("title", "$defs", "const")

_READY = '.status.conditions[?(@.type=="Ready")]'


def _column(name: str, path: str, kind: str = "string", *, wide: bool = False, about: str = "") -> dict[str, Any]:
    column: dict[str, Any] = {"name": name, "type": kind, "jsonPath": path}
    if about:
        column["description"] = about
    return {**column, "priority": 1} if wide else column


_REQUEST_COLUMNS = [
    _column("Target", ".status.target", about="What is rolled back."),
    _column("From", ".status.from", about="Revision that is left."),
    _column("To", ".status.to", about="Revision that is brought back."),
    _column("Phase", ".status.phase", about="Where the request is in its life."),
    _column("Reason", f"{_READY}.reason", about="Why it is there."),
    _column("Duration", ".status.duration", about="How long it ran."),
    _column("Age", ".metadata.creationTimestamp", "date"),
    _column("Message", f"{_READY}.message", wide=True, about="What happened, and what to do."),
]
_POLICY_COLUMNS = [
    _column("Target", ".status.target", about="What is rolled back."),
    _column("Mode", ".spec.mode", about="How far the policy goes."),
    _column("Ready", f"{_READY}.status", about="Whether the policy is accepted and evaluated."),
    _column("Armed", '.status.conditions[?(@.type=="Armed")].status', about="Whether it could be rolled back now."),
    _column("Verdict", ".status.verdict", about="The worst of the triggers' verdicts."),
    _column("Current", ".status.current.revision", about="Revision that runs."),
    _column("Good", ".status.lastKnownGood.revision", about="Newest revision that proved good."),
    _column("Last Rollback", ".status.lastRequest.at", "date", about="When the policy last asked for a rollback."),
    _column("Alert", '.status.conditions[?(@.type=="Alert")].reason', about="What people should know."),
    _column("Message", '.status.conditions[?(@.type=="Alert")].message', wide=True),
]


def _schema(node: Any, definitions: dict[str, Any]) -> Any:
    """One node of pydantic's JSON schema as the API server takes it."""
    if isinstance(node, list):
        return [_schema(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        return _merged(definitions[node["$ref"].rsplit("/", 1)[-1]], node, "$ref", definitions)
    if "anyOf" in node:
        (option,) = (option for option in node["anyOf"] if option.get("type") != "null")
        return _merged(option, node, "anyOf", definitions)
    return _cleaned(node, definitions)


def _merged(inner: dict[str, Any], outer: dict[str, Any], key: str, definitions: dict[str, Any]) -> Any:
    """`inner` with what stands beside the reference to it: the field's own description and default win."""
    rest = {name: value for name, value in outer.items() if name != key}
    return _schema({**inner, **rest}, definitions)


def _cleaned(node: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    cleaned = {
        name: value if name in ("default", RULES, "enum") else _schema(value, definitions)
        for name, value in node.items()
        if name not in _NOT_IN_SCHEMA and not (name == "default" and value in (None, [], ()))
    }
    if "properties" in node:
        cleaned["properties"] = {name: _schema(field, definitions) for name, field in node["properties"].items()}
    if "const" in node:
        cleaned["enum"] = [node["const"]]
    if node.get("type") == "integer":
        cleaned.setdefault("format", "int64")
    if "description" in cleaned:
        cleaned["description"] = " ".join(cleaned["description"].split())
    return cleaned


def schema_of(model: type[Resource]) -> dict[str, Any]:
    """The structural schema of a resource, root included."""
    raw = model.model_json_schema(by_alias=True)
    schema: dict[str, Any] = _schema(raw, raw.get("$defs", {}))
    spec, status = schema["properties"]["spec"], schema["properties"]["status"]
    status["default"] = {"observedGeneration": -1}  # kstatus waits until the operator has seen the object
    return {
        **{name: value for name, value in schema.items() if name in ("type", "description", RULES)},
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": spec,
            "status": status,
        },
    }


def crd(
    model: type[Resource], plural: str, short: str, columns: list[dict[str, Any]], selectable: list[str]
) -> dict[str, Any]:
    """The CustomResourceDefinition of a resource."""
    kind = model.__name__
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}", "labels": {"app.kubernetes.io/name": "rollback-operator"}},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": plural,
                "singular": kind.lower(),
                "shortNames": [short],
                "categories": ["rollback"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "selectableFields": [{"jsonPath": path} for path in selectable],
                    "additionalPrinterColumns": columns,
                    "schema": {"openAPIV3Schema": schema_of(model)},
                }
            ],
        },
    }


def definitions() -> dict[str, dict[str, Any]]:
    """File name to definition, for each resource."""
    return {
        "rollbackpolicies.yaml": crd(RollbackPolicy, "rollbackpolicies", "rbp", _POLICY_COLUMNS, [".spec.target.name"]),
        "rollbackrequests.yaml": crd(
            RollbackRequest,
            "rollbackrequests",
            "rbr",
            _REQUEST_COLUMNS,
            [".spec.target.name", ".spec.policyRef.name", ".status.phase", ".status.target"],
        ),
    }


def render(definition: dict[str, Any]) -> str:
    """A definition as it stands in `crds/`."""
    return HEADER + yaml.safe_dump(definition, sort_keys=False, width=120, allow_unicode=True)


def main(folder: Path) -> None:
    """Write all definitions into `folder`."""
    for name, definition in definitions().items():
        (folder / name).write_text(render(definition), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
