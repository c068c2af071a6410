"""Descriptions in a repository, such as kustomizations: the strings in them, of which some are paths."""

from __future__ import annotations

from collections.abc import Iterator

from rollback_operator.gitobjects.program import Unknowable
from rollback_operator.untrusted import Room, UntrustedError, yaml_in

_LARGEST = 1024 * 1024
_VALUES = 20_000
"""Values that a description may have."""


def outside_of(text: bytes) -> Iterator[str]:
    """Relative paths that a description names, which lead out of its folder.

    Raises:
        Unknowable: it is not YAML, or too big to be read.
    """
    for one in strings_in(text):
        if one.removeprefix("file://").startswith("../"):
            yield one.removeprefix("file://")


def strings_in(text: bytes, but: frozenset[str] = frozenset()) -> Iterator[str]:
    """All strings of a description that are values; `but`: not those of, or below, such fields.

    Raises:
        Unknowable: it is not YAML, or too big to be read.
    """
    return strings_of(documents(text), but)


def strings_of(values: list[object], but: frozenset[str] = frozenset()) -> Iterator[str]:
    """As `strings_in`, of what a description says."""
    waiting = [*values]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += [inner for key, inner in value.items() if key not in but]
        elif isinstance(value, list):
            waiting += value
        elif isinstance(value, str):
            yield value


def documents(text: bytes) -> list[object]:
    """What a description says.

    Raises:
        Unknowable: it is not YAML, or too big to be read.
    """
    if len(text) > _LARGEST:
        raise Unknowable("a description in it is longer than 1 MiB")
    try:
        return yaml_in(text, Room(_VALUES))
    except UntrustedError as error:
        raise Unknowable(f"a description in it {error}") from None
