"""`python -m rollback_operator backtest POLICY`: what a policy would have done."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from rollback_operator.api.fields import parse_duration
from rollback_operator.api.policy import Mode
from rollback_operator.api.trigger import Trigger
from rollback_operator.backtest import plot, report
from rollback_operator.backtest.events import Row
from rollback_operator.backtest.moments import parse_moment
from rollback_operator.backtest.orders import Orders, read
from rollback_operator.backtest.past import Past
from rollback_operator.backtest.problem import Problem
from rollback_operator.backtest.releases import Release, Releases, as_told, looked_up
from rollback_operator.backtest.replay import play
from rollback_operator.core.choice import LAST_KNOWN_GOOD, PREVIOUS
from rollback_operator.signals.base import Question
from rollback_operator.signals.fence import OPEN
from rollback_operator.signals.outbound import Outbound
from rollback_operator.signals.secrets import Access, Files, NoAccess

MOST_SAMPLES = 1_000_000
"""More than that takes more memory than a laptop likes to give."""
_PROGRAM = "rollback-operator backtest"
_ADDRESS = r"https?://[^/@\s?#]+(/[^\s?#]*)?"
_HEADER = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"
_TIMES = ("--from", "--to", "--release")
_EPILOG = """\
A time T is 2026-03-01T14:00:00Z, seconds since 1970, now, or before now: -6h, -2d.
The exit code is 0 when the replay worked, whatever it says, and 2 when it could not be made.
"""


def main(argv: Sequence[str]) -> int:
    """Run the command; gives the exit code: 0, or 2 with one line on standard error."""
    try:
        shown = asyncio.run(backtest(argv, time.time(), _width()))
        sys.stdout.write(shown)
        sys.stdout.flush()
    except Problem as problem:
        sys.stderr.write(f"{_PROGRAM}: {problem}\n")
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read has seen enough; what is still in the buffer must not fail once more at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _width() -> int | None:
    """Columns of the terminal; None: what reads is none, and takes lines of any length."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


async def backtest(argv: Sequence[str], now: float, width: int | None = None) -> str:
    """What the command prints.

    Args:
        argv: its arguments.
        now: seconds since the epoch.
        width: columns to break lines at.

    Raises:
        Problem: it cannot be made.
    """
    options = _parsed(argv)
    asked = _understood(options, now)
    replayed, left_out = _replayable(asked)
    past, outbound = _past(asked)
    try:
        rows = await _rows(past, asked, replayed)
        releases = await _releases(past, asked)
    finally:
        await outbound.close()
    spec = asked.orders.spec.model_copy(update={"mode": Mode.ENFORCE, "triggers": replayed})
    record = play(spec, asked.orders.name, rows, releases.known, start=asked.start, end=asked.end)
    told = report.Report(asked.orders, record, releases.source, left_out, _assumed(asked.orders), asked.plot)
    if asked.plot is not None:
        _write(asked.plot, plot.draw(asked.orders, record))
    if options.json:
        return json.dumps(told.document(), indent=2, ensure_ascii=False) + "\n"
    return told.text(width)


# What was asked for.


@dataclass(frozen=True, slots=True)
class _Asked:
    """The arguments, understood; times are in seconds since the epoch."""

    orders: Orders
    address: str
    start: float
    end: float
    releases: tuple[Release, ...]
    access: Access
    headers: dict[str, str] = field(repr=False)
    plot: Path | None


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise Problem(f"{message}; --help tells more")


def _parsed(argv: Sequence[str]) -> argparse.Namespace:
    parser = _Parser(
        prog=f"python -m {_PROGRAM.replace('-', '_', 1)}",
        description="Replays a RollbackPolicy over what Prometheus remembers, and tells when it would have acted.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("policy", metavar="POLICY", help="a file with a RollbackPolicy; - is standard input")
    add("--name", help="which policy, if the file holds several")
    add("--prometheus", metavar="URL", help="the server to ask; by default the policy's own")
    add("--from", dest="start", metavar="T", required=True, help="where the replay starts")
    add("--to", dest="end", metavar="T", default="now", help="where it ends; by default now")
    add(
        "--release",
        metavar="T[=NAME]",
        action="append",
        default=[],
        help="when the target changed, once for each change; equal names are the same release. By default they are "
        "looked up in kube-state-metrics, or else the start counts as one",
    )
    add("--token-file", metavar="FILE", help="a file with a bearer token for the server")
    add("--ca-file", metavar="FILE", help="a file with the certificate authority of the server")
    add("--header", metavar="K=V", action="append", default=[], help="a header to send, such as X-Scope-OrgID=shop")
    add("--plot", metavar="FILE.svg", help="draw what was seen, and what would have been done")
    add("--json", action="store_true", help="print a JSON document")
    return parser.parse_args(_joined(argv))


def _joined(argv: Sequence[str]) -> list[str]:
    """`--from -6h` as `--from=-6h`: argparse takes a value that begins with a dash for an option."""
    joined: list[str] = []
    for argument in argv:
        if joined and joined[-1] in _TIMES and not argument.startswith("--"):
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


def _understood(options: argparse.Namespace, now: float) -> _Asked:
    start, end = parse_moment(options.start, "--from", now), parse_moment(options.end, "--to", now)
    if end > now:
        raise Problem(f"--to {options.end} is in the future")
    if start >= end:
        raise Problem(f"--from {options.start} is not before --to {options.end}")
    releases = tuple(_release(text, now) for text in options.release)
    late = next((text for text, one in zip(options.release, releases, strict=True) if one.at > end), None)
    if late is not None:
        raise Problem(f"--release {late} is after --to {options.end}")
    orders = read(options.policy, options.name)
    return _Asked(
        orders=orders,
        address=_address(options.prometheus, orders),
        start=start,
        end=end,
        releases=releases,
        access=_access(options.token_file, options.ca_file),
        headers=_headers(options.header, orders),
        plot=_plot(options.plot),
    )


def _release(text: str, now: float) -> Release:
    at, _, name = text.partition("=")
    return Release(parse_moment(at, "--release", now), name)


def _address(given: str | None, orders: Orders) -> str:
    server = orders.spec.prometheus
    address = given or (server.address if server is not None else None)
    if address is None:
        raise Problem("say which server to ask: --prometheus http://localhost:9090")
    if not re.fullmatch(_ADDRESS, address):
        raise Problem(f"--prometheus {address!r} is not an address such as http://localhost:9090")
    return address


def _access(token: str | None, ca: str | None) -> Access:
    for option, file in (("--token-file", token), ("--ca-file", ca)):
        if file is not None and not os.access(file, os.R_OK):
            raise Problem(f"{option} {file}: it does not exist, or you may not read it")
    try:
        return Files(Path(token) if token else None, Path(ca) if ca else None).access()
    except NoAccess as error:
        raise Problem(str(error)) from None


def _headers(given: Sequence[str], orders: Orders) -> dict[str, str]:
    server = orders.spec.prometheus
    headers = {one.name: one.value for one in server.headers} if server is not None else {}
    for text in given:
        name, sign, value = text.partition("=")
        if not sign or not re.fullmatch(_HEADER, name) or not value.isprintable():
            raise Problem(f"--header {name!r} is not of the form K=V, such as X-Scope-OrgID=shop")
        headers[name] = value
    return headers


def _plot(file: str | None) -> Path | None:
    if file is None:
        return None
    path = Path(file)
    if path.suffix.lower() != ".svg":
        raise Problem(f"--plot {file}: the plot is an SVG; name it so, such as backtest.svg")
    if not path.parent.is_dir():
        raise Problem(f"--plot {file}: there is no folder {path.parent}")
    return path


# What is replayed.


def _replayable(asked: _Asked) -> tuple[tuple[Trigger, ...], tuple[Trigger, ...]]:
    """The triggers that can be replayed, and those that cannot."""
    triggers = asked.orders.spec.triggers
    replayed = tuple(one for one in triggers if one.prometheus is not None)
    if not replayed:
        raise Problem(f"policy {asked.orders} has no prometheus trigger: nothing else has a past to replay")
    span = asked.end - asked.start
    count = round(sum(span / parse_duration(one.interval).total_seconds() for one in replayed))
    if count > MOST_SAMPLES:
        raise Problem(f"{count:,} samples would be asked for, {MOST_SAMPLES:,} at most: choose a shorter range")
    return replayed, tuple(one for one in triggers if one.prometheus is None)


def _past(asked: _Asked) -> tuple[Past, Outbound]:
    outbound = Outbound(OPEN)
    return Past(outbound, asked.address, asked.access, asked.headers), outbound


async def _rows(past: Past, asked: _Asked, triggers: Sequence[Trigger]) -> list[Row]:
    orders = asked.orders
    questions = [Question(orders.namespace, orders.name, orders.spec.target, "", one) for one in triggers]
    found = await asyncio.gather(*(past.samples(one, asked.start, asked.end) for one in questions))
    return [Row(question, samples) for question, samples in zip(questions, found, strict=True)]


async def _releases(past: Past, asked: _Asked) -> Releases:
    if asked.releases:
        return as_told(asked.releases)
    return await looked_up(past, asked.orders, asked.start, asked.end)


def _assumed(orders: Orders) -> list[str]:
    """What the policy says and the replay does otherwise."""
    assumed = []
    if orders.spec.mode is not Mode.ENFORCE:
        assumed.append(f"The policy has mode: {orders.spec.mode}; it is replayed as if it were Enforce.")
    if orders.spec.to not in (LAST_KNOWN_GOOD, PREVIOUS):
        assumed.append(f"The policy has to: {orders.spec.to}, which is not known here; it is replayed as Previous.")
    return assumed


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Problem(f"--plot {file}: {error.strerror}") from None
