"""Traces as files: JSON lines, the first about the trace, each other one scrape (format: docs/decision-quality.md).

A mistake is refused with the file's name, the line and what is wrong with it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from benchmarks.decisions.trace import Expect, Release, Scrape, Span, Target, Terms, Trace
from rollback_operator.api.fields import DURATION, parse_duration
from rollback_operator.api.trigger import WHEN

SUFFIX = ".jsonl"
Duration = Annotated[str, Field(pattern=DURATION)]


class _Line(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", allow_inf_nan=False)


class _Rule(_Line):
    when: Annotated[str, Field(pattern=WHEN)]
    interval: Duration = "30s"
    for_: Duration | None = Field(default=None, alias="for")
    consecutive: Annotated[int, Field(ge=1, le=100)] = 1
    min_samples: Annotated[float, Field(ge=0)] = 0
    within: Duration = "1h"
    watch: Literal["Recent", "Always"] = "Recent"


class _Release(_Line):
    at: float
    revision: str


class _Expect(_Line):
    revision: str
    rollback: bool | None
    onset: float = 0
    due: float | None = None


class _Target(_Line):
    name: str = "target"
    phase: float = 0
    releases: Annotated[list[_Release], Field(min_length=1)]
    expect: list[_Expect] = []


class _Head(_Line):
    trace: str
    seed: int = 0
    note: str = ""
    length: Annotated[float, Field(gt=0, le=7 * 86400)]
    rule: _Rule
    down: list[tuple[float, float]] = []
    targets: Annotated[list[_Target], Field(min_length=1)]


class _Scrape(_Line):
    at: float
    target: str | None = None
    requests: float | None = None
    errors: float | None = None
    value: float | Literal["NaN"] | None = None
    up: bool = True


AnyLine = TypeVar("AnyLine", bound=_Line)

# Reading.


def read_all(folder: Path) -> list[Trace]:
    """Every trace in a folder, in the order of their names.

    Raises:
        ValueError: one is not as the format says.
    """
    return [read(path) for path in sorted(folder.glob(f"*{SUFFIX}"))]


def read(path: Path) -> Trace:
    """One trace.

    Raises:
        ValueError: it is not as the format says; the message names file and line.
    """
    lines = [(number, line) for number, line in enumerate(path.read_text().splitlines(), 1) if line.strip()]
    if not lines:
        raise ValueError(f"{path.name} is empty: its first line says what the trace is")
    number, first = lines[0]
    head = _parsed(_Head, first, f"{path.name}:{number}")
    terms = _terms(head.rule)
    scrapes: dict[str, list[Scrape]] = {one.name: [] for one in head.targets}
    for number, line in lines[1:]:
        where = f"{path.name}:{number}"
        one = _parsed(_Scrape, line, where)
        name = one.target or head.targets[0].name
        if name not in scrapes:
            raise ValueError(f"{where}: there is no target {name} in the first line")
        scrapes[name].append(_scrape(one))
    targets = tuple(_target(one, scrapes[one.name], terms, path.name) for one in head.targets)
    down = tuple(Span(at, end) for at, end in head.down)
    return Trace(head.trace, head.seed, terms, head.length, targets, down, head.note)


def _parsed(model: type[AnyLine], text: str, where: str) -> AnyLine:
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{where}: {field + ': ' if field else ''}{first['msg']}") from None


def _terms(rule: _Rule) -> Terms:
    return Terms(
        when=rule.when,
        interval=parse_duration(rule.interval).total_seconds(),
        for_=parse_duration(rule.for_).total_seconds() if rule.for_ else 0.0,
        consecutive=rule.consecutive,
        at_least=rule.min_samples,
        within=parse_duration(rule.within).total_seconds(),
        watch_all=rule.watch == "Always",
    )


def _scrape(line: _Scrape) -> Scrape:
    value = float("nan") if line.value == "NaN" else line.value
    return Scrape(line.at, line.requests, line.errors, value, line.up)


def _target(line: _Target, scrapes: list[Scrape], terms: Terms, file: str) -> Target:
    known = {one.revision for one in line.releases}
    for one in line.expect:
        if one.revision not in known:
            raise ValueError(f"{file}: {line.name} expects something of {one.revision}, which it never releases")
    releases = tuple(sorted((Release(one.at, one.revision) for one in line.releases), key=lambda one: one.at))
    expect = tuple(_expect(one, terms) for one in line.expect)
    return Target(line.name, releases, tuple(sorted(scrapes, key=lambda one: one.at)), expect, line.phase)


def _expect(line: _Expect, terms: Terms) -> Expect:
    """`due` left out: the rule's own time after the onset."""
    return Expect(line.revision, line.rollback, line.onset, line.onset + terms.need if line.due is None else line.due)


# Writing.


def write_all(traces: Iterable[Trace], folder: Path) -> list[Path]:
    """A file for each trace, named after its kind and seed."""
    folder.mkdir(parents=True, exist_ok=True)
    return [write(one, folder / f"{one.kind.replace(' ', '-')}-{one.seed:05}{SUFFIX}") for one in traces]


def write(trace: Trace, path: Path) -> Path:
    """One trace, so that reading it gives the same."""
    path.write_text("".join(f"{_json(line)}\n" for line in [_head(trace), *_scrapes(trace)]))
    return path


def _json(line: Mapping[str, Any]) -> str:
    return json.dumps(line, separators=(", ", ": "), allow_nan=False)


def _head(trace: Trace) -> dict[str, Any]:
    return {
        "trace": trace.kind,
        "seed": trace.seed,
        "note": trace.note,
        "length": trace.length,
        "rule": _rule(trace.terms),
        "down": [[one.at, one.end] for one in trace.down],
        "targets": [_described(one) for one in trace.targets],
    }


def _rule(terms: Terms) -> dict[str, Any]:
    rule = {"when": terms.when, "interval": _length(terms.interval), "consecutive": terms.consecutive}
    rule |= {"for": _length(terms.for_)} if terms.for_ else {}
    watch = "Always" if terms.watch_all else "Recent"
    return rule | {"minSamples": terms.at_least, "within": _length(terms.within), "watch": watch}


def _length(seconds: float) -> str:
    return f"{round(seconds * 1000)}ms" if seconds % 1 else f"{int(seconds)}s"


def _described(target: Target) -> dict[str, Any]:
    return {
        "name": target.name,
        "phase": target.phase,
        "releases": [{"at": one.at, "revision": one.revision} for one in target.releases],
        "expect": [
            {"revision": one.revision, "rollback": one.rollback, "onset": one.onset, "due": one.due}
            for one in target.expect
        ],
    }


def _scrapes(trace: Trace) -> Sequence[dict[str, Any]]:
    several = len(trace.targets) > 1
    lines = [(one.at, target.name, _line(one)) for target in trace.targets for one in target.scrapes]
    lines.sort(key=lambda line: line[:2])
    return [{"target": name, **line} if several else line for _, name, line in lines]


def _line(scrape: Scrape) -> dict[str, Any]:
    if not scrape.up:
        return {"at": scrape.at, "up": False}
    seen = {"requests": scrape.requests, "errors": scrape.errors, "value": scrape.value}
    # Only NaN differs from itself, and JSON has no word for it.
    return {"at": scrape.at} | {
        name: value if value == value else "NaN"  # noqa: PLR0124
        for name, value in seen.items()
        if value is not None
    }
