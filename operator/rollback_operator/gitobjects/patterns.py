"""Patterns of file names as Argo CD and Helm have them: both take them from one library, gobwas/glob.

Argo CD's `*` stands for any characters, slashes among them; Helm's ends at slashes. Whoever writes a source writes its
patterns, so what they compile to must not take time beyond proportion.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_LONGEST = 1000
_MOST = 64
"""Alternatives that the braces of a pattern may come to."""
_STARS = re.compile(r"\*+")


def compiled(pattern: str, *, of_path: bool = False) -> re.Pattern[str]:
    """What matches the whole of a text as the pattern does; `of_path`: stars end at slashes.

    Raises:
        ValueError: it is none, or too long; the message is the end of a sentence about it.
    """
    if len(pattern) > _LONGEST:
        raise ValueError(f"is longer than {_LONGEST} characters")
    parts = [_of_path(one) if of_path else _regex(one, ".") for one in _alternatives(_signs(pattern))]
    return re.compile("|".join(f"(?:{one})" for one in parts), re.DOTALL)


Sign = str
"""A character, escaped by a backslash where it stands for itself; `*` or `**`; or a class in brackets."""


def _signs(pattern: str) -> list[Sign]:
    found: list[Sign] = []
    at = 0
    while at < len(pattern):
        one = pattern[at]
        if one == "\\":
            taken = pattern[at : at + 2]
            if len(taken) == 1:
                raise ValueError("ends with a backslash")
        elif one == "*":
            stars = _STARS.match(pattern, at)
            assert stars is not None
            taken = stars[0][:2]
        elif one == "[":
            taken = pattern[at : _class_end(pattern, at)]
        else:
            taken = one
        at += len(taken)
        found.append(taken if len(taken) > 1 or one in "*?{},[" else f"\\{one}")
    return found


def _class_end(pattern: str, at: int) -> int:
    end = pattern.find("]", at + 1)
    if end < 0:
        raise ValueError("has a bracket that is not closed")
    return end + 1


def _alternatives(signs: list[Sign]) -> list[list[Sign]]:
    """The pattern without braces: each of what it stands for."""
    rest = iter(signs)
    found, closed_by = _until(rest, inside=False)
    assert closed_by is None
    return found


def _until(rest: Iterator[Sign], *, inside: bool) -> tuple[list[list[Sign]], Sign | None]:
    """What stands up to the next `,` or `}` of this level."""
    found: list[list[Sign]] = [[]]
    for sign in rest:
        if inside and sign in (",", "}"):
            return found, sign
        if sign == "{":
            among = _braces(rest)
            found = [[*before, *one] for before in found for one in among]
        else:
            for one in found:
                one.append(sign)
        if len(found) > _MOST:
            raise ValueError("stands for too many others")
    if inside:
        raise ValueError("has a brace that is not closed")
    return found, None


def _braces(rest: Iterator[Sign]) -> list[list[Sign]]:
    among: list[list[Sign]] = []
    closed_by: Sign | None = ","
    while closed_by == ",":
        more, closed_by = _until(rest, inside=True)
        if not all(more):
            raise ValueError("has nothing between braces, of which the library makes something else")
        among += more
    return among


def _of_path(signs: list[Sign]) -> str:
    """Part by part, as no star but `**` leads into a folder; what follows that counts, whatever it is."""
    parts: list[list[Sign]] = [[]]
    for sign in signs:
        if sign == "\\/":
            parts.append([])
        else:
            parts[-1].append(sign)
    found = ""
    for number, part in enumerate(parts):
        if "**" in part:
            return f"{found}.*"
        found += ("/" if number else "") + _regex(part, "[^/]")
    return found


def _regex(signs: list[Sign], any_one: str) -> str:
    """Between two stars, the first place where what stands there fits is as good as any other: none is tried again."""
    pieces, stars = [""], 0
    for sign in signs:
        if sign[0] == "*":
            pieces.append("")
            stars += 1
        else:
            pieces[-1] += _one(sign, any_one)
    if not stars:
        return pieces[0]
    between = "".join(f"(?>{any_one}*?{piece})" for piece in pieces[1:-1])
    return f"{pieces[0]}{between}{any_one}*{pieces[-1]}"


def _one(sign: Sign, any_one: str) -> str:
    if sign == "?":
        return any_one
    if sign[0] == "[":
        return _class(sign[1:-1])
    return re.escape(sign[-1])


def _class(text: str) -> str:
    """A class has either one range or characters, of which none means anything else."""
    negated, text = ("^", text[1:]) if text.startswith("!") else ("", text)
    if not text or "\\" in text or (len(text) > 1 and text[1] == "-" and len(text) != len("a-z")):
        raise ValueError("has a bracket that nobody understands")
    if len(text) == len("a-z") and text[1] == "-":
        if text[0] > text[2]:
            raise ValueError("has a bracket that nobody understands")
        return f"[{negated}{re.escape(text[0])}-{re.escape(text[2])}]"
    return f"[{negated}{re.escape(text)}]"
