"""Moments as people write and read them; all in seconds since the epoch, and shown in UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from rollback_operator.api.fields import format_duration
from rollback_operator.backtest.problem import Problem

_LATEST = 32_503_680_000.0  # the year 3000: whoever writes more means milliseconds
_BACK = re.compile(r"-((?:[0-9]{1,5}(?:w|d|h|m|s))+)")
_UNITS = {"w": 604_800, "d": 86_400, "h": 3600, "m": 60, "s": 1}
_DAY = 86_400


def parse_moment(text: str, what: str, now: float) -> float:
    """A moment: RFC 3339, seconds since the epoch, `now`, or before now, such as `-6h`.

    Args:
        text: what was written.
        what: the option it was written for.
        now: the moment that is now.

    Raises:
        Problem: it is none.
    """
    if text == "now":
        return now
    back = _BACK.fullmatch(text)
    if back:
        return now - sum(int(n) * _UNITS[unit] for n, unit in re.findall(r"([0-9]+)([wdhms])", back[1]))
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
        if float(text) > _LATEST:
            raise Problem(f"{what} {text}: that is too far in the future; write seconds since 1970, not milliseconds")
        return float(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Problem(
            f"{what} {text!r} is not a time: write 2026-03-01T14:00:00Z, seconds since 1970, now, or such as -6h"
        ) from None
    if moment.tzinfo is None:
        raise Problem(f"{what} {text!r} names no zone: add Z for UTC, or one such as +09:00")
    return moment.timestamp()


def utc(at: float) -> datetime:
    """A moment as the core takes it."""
    return datetime.fromtimestamp(at, UTC)


def shown(at: float) -> str:
    """A moment, to the second."""
    return f"{utc(at):%Y-%m-%d %H:%M:%S}"


def rfc3339(at: float) -> str:
    """A moment for programs, to the millisecond."""
    return utc(at).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def length(seconds: float) -> str:
    """A length of time as a person reads it: `90d`, `2d3h`, `1h5m`, `3m30s`."""
    days, rest = divmod(round(seconds), _DAY)
    if days == 0:
        return format_duration(timedelta(seconds=seconds))
    hours = round(rest / 3600)
    return f"{days}d{hours}h" if hours else f"{days}d"
