"""A replay as a picture: one SVG, drawn by hand, that needs nothing else and reads on white as on dark."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import ceil, floor, log10
from xml.sax.saxutils import escape

from rollback_operator.backtest.events import TOLD, Event, Record, Row, What
from rollback_operator.backtest.moments import shown, utc
from rollback_operator.backtest.orders import Orders
from rollback_operator.backtest.report import rule, summary
from rollback_operator.backtest.stretches import CARRIED_ON
from rollback_operator.core.verdicts import Threshold, Verdict

WIDTH = 1200
_LEFT, _RIGHT = 72, 24
_TOP = 92  # below title, figures and legend
_LANE = 17
_PANEL, _BETWEEN = 150, 42
_BOTTOM = 44
_ROOM = WIDTH - _LEFT - _RIGHT
_LETTER = 6.4  # pixels that a letter of a label takes, about

# Colours that people who do not see all of them can tell apart (Okabe and Ito); lines differ in their dashes, too.
_VALUE, _BOUND, _BREACH, _RELEASE, _ROLLBACK = "#0b4f8a", "#c24400", "#e69f00", "#00745c", "#8b1a5b"
_LIGHT, _DARK = 0.25, 0.65  # how much of the colour a breach has
_INK, _FAINT, _GRID = "#1c1e21", "#5f666d", "#e3e6e9"

_STEPS = (
    10,
    30,
    60,
    300,
    600,
    900,
    1800,
    3600,
    7200,
    10800,
    21600,
    43200,
    86400,
    172800,
    345600,
    604800,
    1209600,
    2592000,
)
_DAY = 86400
_MOST_TICKS = 11


def draw(orders: Orders, record: Record) -> str:
    """The SVG of a replay: a panel for each trigger, and lines for what happened to the target."""
    marks = _placed(record)
    lanes = max((mark.lane + 1 for mark in marks), default=0)
    top = _TOP + lanes * _LANE + 10
    height = top + len(record.rows) * (_PANEL + _BETWEEN) - _BETWEEN + _BOTTOM
    panels = [(row, top + 20 + number * (_PANEL + _BETWEEN)) for number, row in enumerate(record.rows)]
    bottom = panels[-1][1] + _PANEL if panels else top
    parts = [
        *_head(orders, record, height + 20),
        *(line for row, y in panels for line in _panel(row, record, y)),
        *(_rule(mark, bottom) for mark in marks),
        *(_named(mark) for mark in marks),
        *(_title(row, y) for row, y in panels),
        *_axis(record, bottom),
        "</svg>\n",
    ]
    return "\n".join(parts)


def _x(record: Record, at: float) -> float:
    share = (at - record.start) / (record.end - record.start)
    return round(_LEFT + min(1.0, max(0.0, share)) * _ROOM, 1)


def _text(x: float, y: float, words: str, *, size: int = 12, fill: str = _INK, more: str = "") -> str:
    return f'<text x="{x:g}" y="{y:g}" font-size="{size}" fill="{fill}"{more and " " + more}>{_escaped(words)}</text>'


def _escaped(words: str) -> str:
    """Text for XML, which has no place for control characters."""
    return escape("".join(one for one in words if one.isprintable()), {'"': "&quot;"})


# Title and legend.


def _head(orders: Orders, record: Record, height: int) -> Iterator[str]:
    title = f"Backtest of {orders} ({orders.spec.target})"
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'role="img" aria-label="{_escaped(title)}" '
        "font-family=\"system-ui, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif\">"
    )
    yield f"<title>{_escaped(title)}</title>"
    yield f"<desc>{_escaped(summary(record))}</desc>"
    yield (
        '<defs><pattern id="unknown" width="6" height="6" patternUnits="userSpaceOnUse" '
        'patternTransform="rotate(45)"><rect width="6" height="6" fill="#f1f2f4"/>'
        '<line x1="0" y1="0" x2="0" y2="6" stroke="#b4bac1" stroke-width="2"/></pattern></defs>'
    )
    yield f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>'
    yield _text(_LEFT, 30, title, size=18, more='font-weight="600"')
    yield _text(_LEFT, 52, f"{shown(record.start)} to {shown(record.end)} UTC.  {summary(record)}", fill=_FAINT)
    yield from _legend()


def _legend() -> Iterator[str]:
    x, y = float(_LEFT), 74
    for sample, words in (
        (_line(_VALUE, 2), "value"),
        (_line(_BOUND, 1.5, "6 4"), "threshold"),
        (_box(_BREACH, _LIGHT), "breach"),
        (_box(_BREACH, _DARK), "breach that fires"),
        (_box("url(#unknown)", 1), "no data"),
        (_line(_RELEASE, 1.5, "2 3"), "release"),
        (_line(_ROLLBACK, 2.5), "would roll back"),
        (_diamond(13, 0), "would tell people"),
    ):
        yield f'<g transform="translate({x:g} {y})">{sample}{_text(34, 4, words, fill=_FAINT)}</g>'
        x += 34 + len(words) * _LETTER + 24


def _line(colour: str, wide: float, dashes: str = "") -> str:
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    return f'<line x1="0" y1="0" x2="26" y2="0" stroke="{colour}" stroke-width="{wide:g}"{dashed}/>'


def _box(fill: str, opacity: float) -> str:
    return f'<rect y="-6" width="26" height="12" fill="{fill}" fill-opacity="{opacity:g}"/>'


def _diamond(x: float, y: float, about: str = "") -> str:
    told = f"<title>{_escaped(about)}</title>" if about else ""
    return f'<path d="M{x:g} {y - 6:g}l6 6l-6 6l-6 -6z" fill="{_BREACH}" stroke="{_INK}" stroke-width="1">{told}</path>'


# What happened to the target.


@dataclass(frozen=True, slots=True)
class _Mark:
    """A line through all panels, and its label in a lane above them."""

    event: Event
    x: float
    lane: int
    label: str
    before: bool
    """The label stands before the line, for there is no room behind it."""


def _placed(record: Record) -> list[_Mark]:
    """Every release and rollback; labels that would meet are in different lanes."""
    ends: list[float] = []
    marks = []
    for event in record.of(What.RELEASE, What.ROLLBACK):
        x, label = _x(record, event.at), _label(event)
        long = len(label) * _LETTER + 14
        before = x + long > WIDTH - 4
        begin, end = (x - long, x) if before else (x, x + long)
        lane = next((number for number, taken in enumerate(ends) if taken < begin), len(ends))
        if lane == len(ends):
            ends.append(end)
        ends[lane] = end
        marks.append(_Mark(event, x, lane, label, before))
    return marks


def _label(event: Event) -> str:
    return f"release {event.to}" if event.what is What.RELEASE else f"ROLL BACK to {event.to}"


def _rule(mark: _Mark, bottom: float) -> str:
    """The line; what it stands for is told to who points at it."""
    colour, wide, dashes = _RULES[mark.event.what]
    about = f"{shown(mark.event.at)} UTC: {mark.label}. {mark.event.why}".strip()
    return (
        f'<line x1="{mark.x:g}" y1="{_TOP + mark.lane * _LANE}" x2="{mark.x:g}" y2="{bottom:g}" stroke="{colour}" '
        f'stroke-width="{wide:g}"{dashes}><title>{_escaped(about)}</title></line>'
    )


def _named(mark: _Mark) -> str:
    colour, *_ = _RULES[mark.event.what]
    anchor, x = ("end", mark.x - 5) if mark.before else ("start", mark.x + 5)
    weight = ' font-weight="600"' if mark.event.what is What.ROLLBACK else ""
    y = _TOP + mark.lane * _LANE + 11
    return _text(x, y, mark.label, fill=colour, more=f'text-anchor="{anchor}"{weight} {_HALO}')


_RULES = {
    What.RELEASE: (_RELEASE, 1.5, ' stroke-dasharray="2 3"'),
    What.ROLLBACK: (_ROLLBACK, 2.5, ""),
}
_HALO = 'paint-order="stroke" stroke="#ffffff" stroke-width="4" stroke-linejoin="round"'


# A trigger.


@dataclass(frozen=True, slots=True)
class _Scale:
    """Values to pixels; `top` is the panel's upper edge."""

    top: float
    low: float
    high: float

    def y(self, value: float) -> float:
        """Where a value stands."""
        share = (value - self.low) / (self.high - self.low)
        return round(self.top + _PANEL * (1 - min(1.0, max(0.0, share))), 1)


def _panel(row: Row, record: Record, top: float) -> Iterator[str]:
    trigger = row.question.trigger
    threshold = Threshold.parse(trigger.when or "")
    points = [(one.at, _number(one.value, threshold.unit)) for one in row.samples]
    bound = _number(threshold.show(threshold.bound), threshold.unit) or 0.0
    values = [value for _, value in points if value is not None]
    scale, ticks = _scaled(top, [*values, bound])
    yield from _shades(row, record, top)
    for tick in ticks:
        y = scale.y(tick)
        yield f'<line x1="{_LEFT}" y1="{y:g}" x2="{WIDTH - _RIGHT}" y2="{y:g}" stroke="{_GRID}"/>'
        yield _text(_LEFT - 8, y + 4, f"{tick:g}{threshold.unit}", size=11, fill=_FAINT, more='text-anchor="end"')
    yield _path(list(_segments(points, _gap(row))), record, scale)
    y = scale.y(bound)
    yield (
        f'<line x1="{_LEFT}" y1="{y:g}" x2="{WIDTH - _RIGHT}" y2="{y:g}" stroke="{_BOUND}" stroke-width="1.5" '
        'stroke-dasharray="6 4"/>'
    )
    yield f'<rect x="{_LEFT}" y="{top:g}" width="{_ROOM}" height="{_PANEL}" fill="none" stroke="#9aa1a9"/>'
    if not values:
        middle = f'text-anchor="middle" {_HALO}'
        yield _text(WIDTH / 2, top + _PANEL / 2, "nothing was ever known", fill=_FAINT, more=middle)
    yield from _told(row, record, top)


def _title(row: Row, top: float) -> str:
    return (
        f'<text x="{_LEFT}" y="{top - 8:g}" font-size="12" fill="{_FAINT}" {_HALO}>'
        f'<tspan font-size="13" font-weight="600" fill="{_INK}">{_escaped(row.name)}</tspan>'
        f'<tspan dx="10">{_escaped(rule(row.question.trigger))}</tspan></text>'
    )


def _gap(row: Row) -> float:
    """Seconds between two samples beyond which no line joins them."""
    times = [one.at for one in row.samples[:2]]
    return 1.5 * (times[1] - times[0]) if len(times) > 1 else 0.0


def _number(shown_value: str, unit: str) -> float | None:
    """A value as people read it, in the threshold's unit; None if there is none."""
    return float(shown_value.removesuffix(unit)) if shown_value else None


def _scaled(top: float, values: Sequence[float]) -> tuple[_Scale, list[float]]:
    """A scale that holds all values, with round numbers for ticks."""
    low, high = min(0.0, *values), max(0.0, *values)
    high = high if high > low else low + 1.0
    step = _round_step((high - low) * 1.08 / 4)
    first, last = floor(low / step), ceil(high * 1.04 / step)
    ticks = [round(number * step, 12) for number in range(first, last + 1)]
    return _Scale(top, ticks[0], ticks[-1]), ticks


def _round_step(rough: float) -> float:
    size = 10.0 ** floor(log10(rough))
    return next(size * one for one in (1, 2, 2.5, 5, 10) if size * one >= rough)


Point = tuple[float, float]


def _segments(points: Sequence[tuple[float, float | None]], gap: float) -> Iterator[list[Point]]:
    """Points that a line joins."""
    segment: list[Point] = []
    for at, value in points:
        if segment and (value is None or at - segment[-1][0] > gap):
            yield segment
            segment = []
        if value is not None:
            segment.append((at, value))
    if segment:
        yield segment


def _path(segments: Iterable[list[Point]], record: Record, scale: _Scale) -> str:
    moves = []
    for segment in segments:
        drawn = [f"{x:g} {scale.y(value):g}" for x, value in _thinned(segment, record)]
        moves.append(f"M{' '.join(drawn)}" + ("h.01" if len(drawn) == 1 else ""))
    return (
        f'<path d="{"".join(moves)}" fill="none" stroke="{_VALUE}" stroke-width="2" stroke-linejoin="round" '
        'stroke-linecap="round"/>'
    )


def _thinned(segment: Sequence[Point], record: Record) -> Iterator[Point]:
    """As many points as can be seen: of each pixel the first, the extremes and the last."""
    for x, same in groupby(((_x(record, at) // 1, value) for at, value in segment), key=lambda one: one[0]):
        values = [value for _, value in same]
        kept = [values[0], min(values), max(values), values[-1]]
        for value in [one for n, one in enumerate(kept) if n == 0 or one != kept[n - 1]]:
            yield x, value


def _shades(row: Row, record: Record, top: float) -> Iterator[str]:
    """Breaches, those that fire darker, and times without data."""
    for event in record.of(What.BREACH):
        if event.trigger == row.name:
            end = event.until if event.until is not None else record.end
            fires = event.fired is not None and event.reason != CARRIED_ON
            yield _shade(_x(record, event.at), _x(record, end), top, _BREACH, _DARK if fires else _LIGHT)
    for begin, end in _unknown(row, record):
        yield _shade(begin, end, top, "url(#unknown)", 1)


def _shade(begin: float, end: float, top: float, fill: str, opacity: float) -> str:
    wide = max(1.0, end - begin)
    return (
        f'<rect x="{begin:g}" y="{top:g}" width="{wide:g}" height="{_PANEL}" fill="{fill}" fill-opacity="{opacity:g}"/>'
    )


def _unknown(row: Row, record: Record) -> Iterator[tuple[float, float]]:
    """Pixels between the known answers around each time without one."""
    found: list[tuple[float, float]] = []
    samples = row.samples
    for number, one in enumerate(samples):
        if one.verdict is not Verdict.UNKNOWN:
            continue
        begin = _x(record, samples[max(0, number - 1)].at)
        end = _x(record, samples[min(len(samples) - 1, number + 1)].at)
        if found and begin <= found[-1][1]:
            found[-1] = found[-1][0], end
        else:
            found.append((begin, end))
    yield from found


def _told(row: Row, record: Record, top: float) -> Iterator[str]:
    """Diamonds where people would be told; the policy's own stand in the panel of the trigger that they speak of."""
    for event in record.of(*TOLD):
        if event.why.startswith(f"{row.name}:") or f" {row.name}:" in event.why:
            yield _diamond(_x(record, event.at), top + 10, f"{shown(event.at)} UTC: {event.why}")


# Time.


def _axis(record: Record, bottom: float) -> Iterator[str]:
    span = record.end - record.start
    step = next((one for one in _STEPS if span / one <= _MOST_TICKS), _STEPS[-1])
    day = ""
    for number in range(ceil(record.start / step), floor(record.end / step) + 1):
        at = number * step
        x = _x(record, at)
        yield f'<line x1="{x:g}" y1="{bottom:g}" x2="{x:g}" y2="{bottom + 6:g}" stroke="{_FAINT}"/>'
        words, date = f"{utc(at):%H:%M:%S}".removesuffix(":00" if step % 60 == 0 else ""), f"{utc(at):%d %b %Y}"
        if step >= _DAY:
            yield _text(x, bottom + 22, f"{utc(at):%d %b}", fill=_FAINT, more='text-anchor="middle"')
            continue
        yield _text(x, bottom + 22, words, fill=_FAINT, more='text-anchor="middle"')
        if date != day:
            day = date
            yield _text(x, bottom + 38, date, fill=_FAINT, more='text-anchor="middle"')
