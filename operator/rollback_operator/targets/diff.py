"""The difference between two states, as a person reads it."""

from __future__ import annotations

import difflib
import itertools
import json
from collections.abc import Iterator
from typing import Any

import yaml

MOST_LINES = 1000
"""Lines of each state that are compared; the time that it takes grows with their square."""
MOST_VALUES = 50_000
"""Values of a state that is shown at all."""
_CONTEXT = 3


def unified(before: Any, after: Any, name_before: str, name_after: str) -> str:
    """A unified diff of two JSON values as YAML, with three lines of context; empty if they are equal.

    None is nothing at all: everything was added, or removed. Of long ones, the part is compared that begins with their
    first difference.
    """
    if before == after:
        return ""
    lines = difflib.unified_diff(*_part(_lines(before), _lines(after)), name_before, name_after, lineterm="")
    return "\n".join(lines) + "\n"


def _part(before: list[str], after: list[str]) -> tuple[list[str], list[str]]:
    if max(len(before), len(after)) <= MOST_LINES:
        return before, after
    same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(before, after, strict=False))
    start = max(0, sum(1 for _ in same) - _CONTEXT)
    return _cut(before[start:]), _cut(after[start:])


def _cut(lines: list[str]) -> list[str]:
    more = len(lines) - MOST_LINES
    return [*lines[:MOST_LINES], f"# … {more} lines more, not compared"] if more > 0 else lines


def _lines(value: Any) -> list[str]:
    if value is None:
        return []
    if next(itertools.islice(_values(value), MOST_VALUES, None), None) is not None:
        return [f"# more than {MOST_VALUES} values, not shown: {len(json.dumps(value))} bytes"]
    return yaml.dump(value, Dumper=_Dumper, sort_keys=True, default_flow_style=False, width=4096).splitlines()


def _values(value: Any) -> Iterator[bool]:
    """One for each value in it."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        yield True
        if isinstance(one, dict):
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    """Without anchors: `&id001` in a diff helps nobody."""

    def ignore_aliases(self, _: Any) -> bool:
        return True
