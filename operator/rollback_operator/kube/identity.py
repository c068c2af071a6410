"""Who a call is made as."""

from __future__ import annotations

import re
from dataclasses import dataclass

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


def is_name(text: str) -> bool:
    """Whether an object can have this name: whatever else is said to be one may lead to another place."""
    return _SUBDOMAIN.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """A service account to impersonate.

    Raises:
        ValueError: a part is empty or not a name. An empty impersonation header would make the call as the operator
            itself (CVE-2026-23990 was that, elsewhere), so a wrong identity must never reach a header.
    """

    namespace: str
    name: str

    def __post_init__(self) -> None:
        if not _LABEL.fullmatch(self.namespace) or not _SUBDOMAIN.fullmatch(self.name):
            raise ValueError(f"not a service account: {self.namespace!r}/{self.name!r}")

    @property
    def user(self) -> str:
        """User name that the API server knows the account by; its groups follow from it."""
        return f"system:serviceaccount:{self.namespace}:{self.name}"

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class Operator:
    """The operator itself: a caller has to say so, it is never the default."""

    def __str__(self) -> str:
        return "the operator"


OPERATOR = Operator()
Identity = ServiceAccount | Operator
