"""Reads a CRD's structural schema as the API server does, as far as bounds are concerned (CEL is for a real one)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

Schema = dict[str, Any]

CRDS = Path(__file__).parents[2] / "crds"


def schema_of(file: str) -> Schema:
    """The schema of a resource, from the file that users apply."""
    definition = yaml.safe_load((CRDS / file).read_text(encoding="utf-8"))
    (version,) = definition["spec"]["versions"]
    schema: Schema = version["schema"]["openAPIV3Schema"]
    return schema


def nodes(schema: Schema, path: str = "") -> Iterator[tuple[str, Schema]]:
    """Every node of a schema with its path."""
    yield path or ".", schema
    for name, inner in schema.get("properties", {}).items():
        yield from nodes(inner, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from nodes(schema[key], f"{path}[]")


def problems(schema: Schema, value: Any, path: str = "") -> list[str]:
    """Why the API server would refuse `value`, or silently lose some of it."""
    kind = _KINDS.get(schema.get("type", ""))
    if schema.get("x-kubernetes-int-or-string"):
        kind = (int, str)
    if kind is not None and (not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool)):
        return [f"{path}: {value!r} is no {schema.get('type')}"]
    found = [f"{path}: {value!r} is none of {schema['enum']}"] if value not in schema.get("enum", [value]) else []
    if isinstance(value, str):
        found += _of_text(schema, value, path)
    if isinstance(value, list):
        found += _of_list(schema, value, path)
    if isinstance(value, dict):
        found += _of_object(schema, value, path)
    return found


_KINDS: dict[str, Any] = {
    "string": str,
    "integer": int,
    "boolean": bool,
    "array": list,
    "object": dict,
    "number": float,
}


def _of_text(schema: Schema, value: str, path: str) -> list[str]:
    found = [f"{path}: {len(value)} characters"] if len(value) > schema.get("maxLength", len(value)) else []
    if schema.get("format") == "date-time":
        try:
            datetime.fromisoformat(value)
        except ValueError:
            found.append(f"{path}: {value!r} is no time")
    return found


def _of_list(schema: Schema, value: list[Any], path: str) -> list[str]:
    found = [f"{path}: {len(value)} items"] if len(value) > schema.get("maxItems", len(value)) else []
    keys = schema.get("x-kubernetes-list-map-keys", [])
    named = [tuple(item.get(key) for key in keys) for item in value] if keys else []
    if len(set(named)) < len(named):
        found.append(f"{path}: a key stands twice in {named}")
    for number, item in enumerate(value):
        found += problems(schema["items"], item, f"{path}[{number}]")
    return found


def _of_object(schema: Schema, value: dict[str, Any], path: str) -> list[str]:
    if "properties" not in schema:
        return []
    found = [f"{path}.{name} is required" for name in schema.get("required", []) if name not in value]
    for name, inner in value.items():
        if name in schema["properties"]:
            found += problems(schema["properties"][name], inner, f"{path}.{name}")
        else:
            found.append(f"{path}.{name} would be lost")
    return found
