"""Field types that both resources share, with the sentences the API server answers a mistake with."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer
from pydantic.alias_generators import to_camel

RULES = "x-kubernetes-validations"

DURATION = r"^([0-9]{1,5}(h|m|s|ms)){1,4}$"
"""The Gateway API's pattern (GEP-2257): what `kubectl` users already write, and nothing negative."""
FINGERPRINT = r"v1:[0-9a-f]{64}([+][0-9a-f]{12})?"
"""What a revision is; behind the `+` which configuration, if it is not its template's first."""
LONGEST_TIMEOUT = "24h"

_SECOND = 1000
_EXACT_BELOW = 9950  # milliseconds; a person wants tenths of few seconds and none of many
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


class Resource(BaseModel):
    """Base of every object in the API: camelCase outside, immutable inside, unknown fields ignored."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore")

    def dump(self) -> dict[str, Any]:
        """The object as the API server stores it: JSON types, camelCase, nothing that is unset."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def rule(expression: str, message: str, **more: str) -> dict[str, str]:
    """One CEL rule of a schema; `message` tells the author of the object what to write instead."""
    return {"rule": expression, "message": message, **more}


def rules(*items: dict[str, str]) -> dict[str, Any]:
    """CEL rules as extra schema of a pydantic field or model."""
    return {RULES: list(items)}


def parse_duration(text: str) -> timedelta:
    """`1h30m` as a timedelta.

    Raises:
        ValueError: the text does not match `DURATION`.
    """
    if not re.match(DURATION, text):
        raise ValueError(f"{text!r} is not a duration such as 90s, 10m or 1h30m")
    return timedelta(seconds=sum(int(n) * _UNITS[unit] for n, unit in re.findall(r"([0-9]+)(ms|h|m|s)", text)))


def format_duration(length: timedelta) -> str:
    """A length of time as a person reads it: `850ms`, `7.3s`, `4m12s`, `1h5m`."""
    milliseconds = max(0, round(length.total_seconds() * _SECOND))  # a clock may have been set back meanwhile
    if milliseconds < _SECOND:
        return f"{milliseconds}ms"
    if milliseconds < _EXACT_BELOW:
        return f"{milliseconds / _SECOND:.1f}s"
    return "".join(_parts(round(milliseconds / _SECOND)))


def _parts(seconds: int) -> Iterator[str]:
    hours, rest = divmod(seconds, 3600)
    minutes, rest = divmod(rest, 60)
    if hours:
        yield f"{hours}h"
    if minutes:
        yield f"{minutes}m"
    if rest and not hours:
        yield f"{rest}s"


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _rfc3339_ms(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


Time = Annotated[datetime, PlainSerializer(_rfc3339, return_type=str)]
"""To the second, as `metav1.Time`: for conditions."""
MicroTime = Annotated[datetime, PlainSerializer(_rfc3339_ms, return_type=str)]
"""To the millisecond: for what is measured."""

Duration = Annotated[
    str,
    Field(
        max_length=32,
        json_schema_extra=rules(
            rule(
                f"self.matches('{DURATION}')",
                "write a duration such as 90s, 10m or 1h30m: whole numbers with the units h, m, s or ms, not negative",
            ),
            rule(
                f"!self.matches('{DURATION}') || "
                f"(duration(self) > duration('0s') && duration(self) <= duration('{LONGEST_TIMEOUT}'))",
                f"write a duration longer than 0s and of at most {LONGEST_TIMEOUT}",
            ),
        ),
    ),
]

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_NAME = rf"^{_LABEL}(\\.{_LABEL})*$"
LONGEST_NAME = 253


def can_be_a_name(text: str, longest: int = LONGEST_NAME) -> bool:
    """Whether an object can have that name: what `object_name` has the API server check, of names from elsewhere."""
    return len(text) <= longest and re.fullmatch(rf"{_LABEL}(\.{_LABEL})*", text) is not None


def object_name(what: str, example: str) -> Any:
    """A Kubernetes object's name (RFC 1123 subdomain), refused with a sentence that shows one."""
    return Field(
        max_length=LONGEST_NAME,
        json_schema_extra=rules(
            rule(
                f"self.matches('{_NAME}')",
                f"write the {what}'s name as kubectl shows it, such as {example}: "
                "lower-case letters, digits, '-' and '.'",
            )
        ),
    )


ServiceAccountName = Annotated[str, object_name("service account", "rollback")]
"""Whose rights a rollback runs with; never empty (an empty identity would be the operator's own)."""
