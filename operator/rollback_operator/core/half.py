"""What stands in parts only: neither what was there before nor what was to come.

Its fingerprint is one of its own, made of that of what was to come. So going there again is no "already there", and
what proves good or bad of the one says nothing of the other.
"""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache


@lru_cache(maxsize=4096)
def half_of(fingerprint: str) -> str:
    """The fingerprint of what stands of a release that failed over it."""
    canonical = json.dumps({"failed": fingerprint}, separators=(",", ":"))
    return "v1:" + hashlib.sha256(canonical.encode()).hexdigest()


def is_of(current: str, fingerprint: str | None) -> bool:
    """Whether what stands is that release, or what became of an attempt at it."""
    return fingerprint is not None and current in (fingerprint, half_of(fingerprint))
