"""What stands in parts only: neither what was there before nor what was to come.

Its fingerprint is one of its own, made of that of what was to come. So going there again is no "already there", and
what proves good or bad of the one says nothing of the other.
"""

from __future__ import annotations

import hashlib
import json
import re
from functools import lru_cache

from rollback_operator.core.values import Other

_SET_IN_PART = re.compile(r"Setting \S+ back to revision .{1,253}? failed, perhaps half-way: ")


@lru_cache(maxsize=4096)
def half_of(fingerprint: str) -> str:
    """The fingerprint of what stands of a release that failed over it."""
    canonical = json.dumps({"failed": fingerprint}, separators=(",", ":"))
    return "v1:" + hashlib.sha256(canonical.encode()).hexdigest()


def is_of(current: str, fingerprint: str | None) -> bool:
    """Whether what stands is that release, or what became of an attempt at it."""
    return fingerprint is not None and current in (fingerprint, half_of(fingerprint))


def set_in_part(name: str, revision: str, why: str) -> str:
    """How the request ends that set `name` back, and whoever carried that out failed over it."""
    return (
        f"Setting {name} back to revision {revision} failed, perhaps half-way: {why}. Look at what stands now; then "
        "write a new request, or release the version that you want."
    )


def was_set_in_part(other: Other) -> bool:
    """Whether a request ended like that: it says nothing of the release that it was to bring back."""
    return _SET_IN_PART.match(other.message) is not None
