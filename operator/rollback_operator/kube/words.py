"""The API server's words, as they may be repeated: it quotes what it was given, and that may be secret."""

from __future__ import annotations

import re

_QUOTES = re.compile(
    r'(?P<what>(?:Invalid|Unsupported|Duplicate) value): (?P<text>"(?:[^"\\]|\\.)*"|[^\s"{}\[\]:,]+(?=[:,\]]|$))?'
)
_HIDDEN = "<not shown>"
_COMMON = ": field is immutable"
"""What is said of a field after its value, most often; where the value ends, nobody can tell."""


def without_values(said: str) -> str:
    """`said` without values of fields. Of one that is no plain text or number all that follows is left out, too."""
    shown: list[str] = []
    at = 0
    while (found := _QUOTES.search(said, at)) is not None:
        shown.append(f"{said[at : found.start()]}{found['what']}: {_HIDDEN}")
        at = found.end()
        if found["text"] is None:
            return "".join([*shown, _COMMON if _COMMON in said[at:] else ""])
    return "".join([*shown, said[at:]])
