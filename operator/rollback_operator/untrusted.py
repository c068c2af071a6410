"""YAML and JSON that others wrote, read only if it is as small as it looks.

A few hundred bytes of YAML stand for gigabytes where what is named is named again and again, a hundred thousand open
brackets overflow the stack of the parser in C, which ends the process, and a megabyte of `{},{},{}` is a gigabyte as
objects. So the size is told from the text, before anything is built of it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

import yaml

DEEPEST = 100
"""Levels that values may stand in each other."""
_DOCUMENT = 20
"""Values that a document costs besides those in it."""
_LONGEST_NUMBER = 64
"""Characters of a number; what is longer is text."""
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_TAG = "tag:yaml.org,2002:"


class UntrustedError(Exception):
    """A text is not read; the message is the end of a sentence about it, without its content."""


class TooLargeError(UntrustedError):
    """It would grow too large."""


class MalformedError(UntrustedError):
    """It is not what it should be."""


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Gives what JSON knows and nothing else: what is sent to the API server was written as YAML."""

    def _number(self, node: yaml.ScalarNode) -> Any:
        """A whole number; a long one in base 60, which YAML knows, takes hours."""
        return self.construct_yaml_int(node) if len(node.value) <= _LONGEST_NUMBER else node.value


_Loader.add_constructor(f"{_TAG}int", _Loader._number)  # noqa: SLF001 - its own
for _tag in ("timestamp", "binary"):
    _Loader.add_constructor(f"{_TAG}{_tag}", _Loader.construct_scalar)
for _tag in ("set", "omap", "pairs"):
    _Loader.add_constructor(f"{_TAG}{_tag}", _Loader.construct_undefined)


@dataclass
class Room:
    """How many values there is room for; reading takes from it."""

    values: int
    left: int = field(init=False)

    def __post_init__(self) -> None:
        self.left = self.values

    def take(self, count: int) -> None:
        """Take room for so many.

        Raises:
            TooLargeError: there is none.
        """
        self.left -= count
        if self.left < 0:
            raise TooLargeError(f"has more than {self.values} values")


def yaml_in(text: str | bytes, room: Room) -> list[Any]:
    """The documents of a text; what is named in several places is there in each of them as a copy.

    Raises:
        TooLargeError: there is not room enough, or values stand too deep in each other.
        MalformedError: it is not YAML.
    """
    try:
        _measure(text, room)
        return [_written_out(one) for one in yaml.load_all(text, Loader=_Loader)]
    except (yaml.YAMLError, ValueError, TypeError):
        raise MalformedError("is not YAML") from None


def _measure(text: str | bytes, room: Room) -> None:
    """Count the values as they will stand when each is written out wherever it is named."""
    count = 0
    known: dict[str, tuple[int, int] | None] = {}  # how many values, and how deep; None: not closed yet
    opened: list[tuple[str | None, int]] = []
    heights: list[int] = []
    for event in yaml.parse(text, Loader=_Loader):
        before, height = count, 0
        if isinstance(event, yaml.DocumentStartEvent):
            count += _DOCUMENT
            known = {}
        elif isinstance(event, yaml.AliasEvent):
            size = known.get(str(event.anchor), (1, 0))
            if size is None:
                raise MalformedError("has a value that stands in itself")
            count, height = count + size[0], size[1]
        elif isinstance(event, yaml.CollectionStartEvent):
            count += 1
            opened.append((event.anchor, before))
            heights.append(0)
            known |= {event.anchor: None} if event.anchor else {}
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, begun = opened.pop()
            height = heights.pop() + 1
            known |= {anchor: (count - begun, height)} if anchor else {}
        elif isinstance(event, yaml.ScalarEvent):
            count += 1
            known |= {event.anchor: (1, 0)} if event.anchor else {}
        if heights:
            heights[-1] = max(heights[-1], height)
        room.take(count - before)
        if len(opened) + height > DEEPEST:
            raise TooLargeError(f"has values more than {DEEPEST} levels deep")


def _written_out(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _written_out(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_written_out(one) for one in value]
    return value


def json_in(text: bytes, most: int) -> Any:
    """The value of a text that has at most `most` of them.

    Raises:
        TooLargeError: it has more.
        MalformedError: it is not JSON.
    """
    if _separators(text) > most and _separators(_STRING.sub(b"", text)) > most:
        raise TooLargeError(f"has more than {most} values")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise MalformedError("is not JSON") from None


def _separators(text: bytes) -> int:
    return sum(text.count(one) for one in (b",", b"[", b"{"))
