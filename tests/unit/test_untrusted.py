"""Texts that others wrote: what would grow, overflow the parser or take for ever is refused before it is read."""

from __future__ import annotations

import pytest

from rollback_operator.untrusted import MalformedError, Room, TooLargeError, json_in, yaml_in

MOST = 1000


def _named_again(by: str) -> str:
    """Ten lines, each with ten of the one before: ten thousand million values."""
    first = "a0: &a0 {x: 1}\n"
    return first + "".join(f"a{i}: &a{i} {by.format(', '.join([f'*a{i - 1}'] * 10))}\n" for i in range(1, 11))


_DEEP_BY_NAME = "- &a0 []\n" + "".join(f"- &a{i} [*a{i - 1}]\n" for i in range(1, 200))

TOO_LARGE = {
    "brackets that overflow the parser's stack": "[" * 200_000,
    "brackets that are closed again": "[" * 200_000 + "]" * 200_000,
    "lists of lists by name": _named_again("[{}]"),
    "mappings that take others in by name": _named_again("{{<<: [{}]}}"),
    "depth by name": _DEEP_BY_NAME,
    "many values": "- a\n" * 2000,
    "many documents": "--- a\n" * 200,
}


@pytest.mark.parametrize("what", TOO_LARGE)
def test_yaml_that_would_grow_too_large_is_not_read(what: str) -> None:
    with pytest.raises(TooLargeError):  # what is read after all takes longer than the machine lasts
        yaml_in(TOO_LARGE[what], Room(MOST))


MALFORMED = {
    "no YAML": "a: [1",
    "a value that stands in itself": "a: &a [*a]",
    "a name that nobody has": "a: *b",
    "a tag of Python's": "a: !!python/object/apply:os.getcwd []",
    "a set, which JSON does not know": "!!set {a, b}",
}


@pytest.mark.parametrize("what", MALFORMED)
def test_yaml_that_is_wrong_is_not_read(what: str) -> None:
    with pytest.raises(MalformedError):
        yaml_in(MALFORMED[what], Room(MOST))


READ = {
    "documents": ("a: 1\n---\n- x\n", [{"a": 1}, ["x"]]),
    "what is named twice": (
        "a: &a {x: 1}\nb: *a\nc: {<<: *a, y: 2}\n",
        [{"a": {"x": 1}, "b": {"x": 1}, "c": {"x": 1, "y": 2}}],
    ),
    "a day as its text, as JSON has it": ("a: 2026-11-21\n", [{"a": "2026-11-21"}]),
    "names that are numbers": ("1: a\n", [{"1": "a"}]),
    "nothing": ("", []),
}


@pytest.mark.parametrize("what", READ)
def test_yaml_is_read(what: str) -> None:
    text, value = READ[what]

    assert yaml_in(text, Room(MOST)) == value


def test_what_is_named_twice_is_there_twice() -> None:
    [read] = yaml_in("a: &a {x: 1}\nb: *a\n", Room(MOST))

    read["a"]["x"] = 2

    assert read["b"] == {"x": 1}


def test_a_number_that_would_take_for_ever_is_text() -> None:
    text = "1" + ":1" * 200_000

    assert yaml_in(text, Room(MOST)) == [text]


def test_the_room_is_for_all_texts_together() -> None:
    room = Room(MOST)
    yaml_in("- a\n" * 600, room)

    with pytest.raises(TooLargeError):
        yaml_in("- a\n" * 600, room)


def test_json_of_many_values_is_not_read_and_a_long_text_is() -> None:
    with pytest.raises(TooLargeError):
        json_in(b"[" + b",".join([b"{}"] * 2000) + b"]", MOST)

    assert json_in(b'["' + b',{[\\"' * 2000 + b'"]', MOST) == [',{["' * 2000]


@pytest.mark.parametrize("text", [b"{", b"[" * 100_000, b'"\xff"'], ids=["cut off", "without end", "no UTF-8"])
def test_json_that_is_wrong_is_not_read(text: bytes) -> None:
    with pytest.raises((MalformedError, TooLargeError)):
        json_in(text, 200_000)
