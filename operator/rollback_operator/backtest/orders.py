"""The policy of a file, checked as the API server would check it."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from rollback_operator.api import API_VERSION, GROUP
from rollback_operator.api.crds import schema_of
from rollback_operator.api.fields import RULES, parse_duration
from rollback_operator.api.policy import PolicySpec, RollbackPolicy
from rollback_operator.api.trigger import SOURCES, Trigger
from rollback_operator.backtest.problem import Problem

Object = dict[str, Any]

_MATCHES = re.compile(r"self\.matches\('(.*)'\)")


@dataclass(frozen=True, slots=True)
class Orders:
    """A policy. `namespace` is empty if the file names none."""

    name: str
    namespace: str
    spec: PolicySpec

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


def read(file: str, name: str | None) -> Orders:
    """The policy of a file, `-` for standard input; the one of that name if there are several.

    Raises:
        Problem: there is none, or it is not what the API server would accept.
    """
    found = [one for one in _documents(file, _text(file)) if _is_policy(one)]
    if not found:
        raise Problem(f"{file} holds no RollbackPolicy of {GROUP}")
    names = [str(_metadata(one).get("name", "")) for one in found]
    if name is not None:
        found = [one for one, has in zip(found, names, strict=True) if has == name]
    if len(found) == 1:
        return _orders(file, found[0])
    if name is None:
        raise Problem(f"{file} holds several policies: say with --name which of {', '.join(names)}")
    raise Problem(f"{file} holds {len(found) or 'no'} policies named {name}; there is {', '.join(names)}")


def _text(file: str) -> str:
    try:
        return sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except OSError as error:
        raise Problem(f"{file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise Problem(f"{file} is not YAML: it is no text in UTF-8") from None


def _documents(file: str, text: str) -> Iterator[Any]:
    """All documents, and the items of lists, as `kubectl get -o yaml` writes them."""
    try:
        documents = list(yaml.safe_load_all(text))
    except yaml.MarkedYAMLError as error:
        where = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise Problem(f"{file} is not YAML: {error.problem}{where}") from None
    except yaml.YAMLError as error:
        raise Problem(f"{file} is not YAML: {error}") from None
    for document in documents:
        if isinstance(document, dict) and isinstance(document.get("items"), list):
            yield from document["items"]
        else:
            yield document


def _is_policy(document: Any) -> bool:
    if not isinstance(document, dict) or document.get("kind") != "RollbackPolicy":
        return False
    return str(document.get("apiVersion", API_VERSION)).startswith(f"{GROUP}/")


def _metadata(document: Object) -> Object:
    metadata = document.get("metadata")
    return metadata if isinstance(metadata, dict) else {}


def _orders(file: str, document: Object) -> Orders:
    metadata = _metadata(document)
    name = str(metadata.get("name") or "policy")
    spec = document.get("spec")
    if not isinstance(spec, dict):
        raise Problem(f"{file}: spec: write the orders of policy {name}; there are none")
    schema = schema_of(RollbackPolicy)["properties"]["spec"]
    wrong = next(_wrong(schema, spec, "spec"), None)
    if wrong is not None:
        raise Problem(f"{file}: {wrong}")
    try:
        checked = PolicySpec.model_validate(spec)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise Problem(f"{file}: {_path(first['loc'])}: {first['msg']}") from None
    for number, trigger in enumerate(checked.triggers):
        why = _unfit(trigger)
        if why is not None:
            raise Problem(f"{file}: spec.triggers[{number}] ({trigger.name}): {why}")
    names = [trigger.name for trigger in checked.triggers]
    twice = next((one for one in names if names.count(one) > 1), None)
    if twice is not None:
        raise Problem(f"{file}: spec.triggers: two are named {twice}; a name stands for one")
    return Orders(name, str(metadata.get("namespace") or ""), checked)


def _path(steps: tuple[int | str, ...]) -> str:
    return "spec" + "".join(f"[{one}]" if isinstance(one, int) else f".{one}" for one in steps)


def _wrong(schema: Mapping[str, Any], value: Any, path: str) -> Iterator[str]:
    """Fields that there are none of, and texts that the schema's rules refuse, with the rules' own words.

    Types and bounds are the models' business.
    """
    properties = schema.get("properties")
    if properties and isinstance(value, dict):
        for name, inner in value.items():
            if name in properties:
                yield from _wrong(properties[name], inner, f"{path}.{name}")
            else:
                yield f"{path}.{name}: there is no such field; there are {', '.join(properties)}"
    if "items" in schema and isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _wrong(schema["items"], inner, f"{path}[{number}]")
    if isinstance(value, str):
        for rule in schema.get(RULES, ()):
            pattern = _MATCHES.fullmatch(rule["rule"])
            if pattern and not re.search(pattern[1].replace("\\\\", "\\"), value):
                yield f"{path}: {value!r}: {rule['message']}"


def _unfit(trigger: Trigger) -> str | None:
    """What is wrong with a trigger as a whole."""
    sources = [source for source in SOURCES if getattr(trigger, source) is not None]
    if len(sources) != 1:
        return f"write exactly one of {', '.join(SOURCES)}: it is what the trigger asks"
    if (trigger.when is None) != (trigger.prometheus is None):
        return 'write `when`, such as "> 5%", with prometheus and only there'
    if parse_duration(trigger.interval).total_seconds() < 1:
        return "write an interval of at least 1s"
    return None
