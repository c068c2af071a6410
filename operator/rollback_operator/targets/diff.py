"""The difference between two states, as a person reads it."""

from __future__ import annotations

import difflib
from typing import Any

import yaml


def unified(before: Any, after: Any, name_before: str, name_after: str) -> str:
    """A unified diff of two JSON values as YAML, with three lines of context; empty if they are equal.

    None is nothing at all: everything was added, or removed.
    """
    lines = difflib.unified_diff(_lines(before), _lines(after), name_before, name_after, lineterm="")
    return "\n".join(lines) + "\n" if before != after else ""


def _lines(value: Any) -> list[str]:
    if value is None:
        return []
    return yaml.dump(value, Dumper=_Dumper, sort_keys=True, default_flow_style=False, width=4096).splitlines()


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    """Without anchors: `&id001` in a diff helps nobody."""

    def ignore_aliases(self, _: Any) -> bool:
        return True
