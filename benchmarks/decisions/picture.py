"""A trace as a picture (SVG): what was answered, what was wrong, and who rolled back when."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from itertools import groupby

from benchmarks.decisions.trace import Target, Trace

WIDTH, LEFT, RIGHT = 900, 150, 20
PLOT, LANE, TOP = 150, 22, 40
MINUTE = 60.0
_GREY, _BLACK, _BLUE, _RED, _PALE, _GREEN = "#888", "#222", "#2563a8", "#c0392b", "#eee", "#2e7d32"


class _Page:
    """Elements, in the coordinates of the picture."""

    def __init__(self, begin: float, end: float, most: float) -> None:
        self._begin, self._end, self._most = begin, end, most
        self.elements: list[str] = []

    def x(self, at: float) -> float:
        share = (min(max(at, self._begin), self._end) - self._begin) / (self._end - self._begin)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        return TOP + PLOT * (1 - min(value, self._most) / self._most)

    def across(self, y: float, colour: str, dashes: str = "none") -> None:
        self._line((LEFT, y), (WIDTH - RIGHT, y), f'stroke="{colour}" stroke-dasharray="{dashes}"')

    def down(self, at: float, height: float) -> None:
        self._line((self.x(at), TOP), (self.x(at), TOP + height), f'stroke="{_BLACK}" stroke-dasharray="2 2"')

    def _line(self, begin: tuple[float, float], end: tuple[float, float], style: str) -> None:
        (x1, y1), (x2, y2) = begin, end
        self.elements.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" {style}/>')

    def box(self, at: float, end: float, y: float, height: float, colour: str) -> None:
        width = max(1.0, self.x(end) - self.x(at))
        self.elements.append(
            f'<rect x="{self.x(at):.1f}" y="{y:.1f}" width="{width:.1f}" height="{height}" fill="{colour}"/>'
        )

    def text(self, x: float, y: float, words: str, colour: str = _BLACK, anchor: str = "start") -> None:
        self.elements.append(
            f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" text-anchor="{anchor}">{escape(words)}</text>'
        )

    def path(self, points: Sequence[tuple[float, float]], colour: str) -> None:
        joined = " ".join(f"{self.x(at):.1f},{self.y(value):.1f}" for at, value in points)
        self.elements.append(f'<polyline points="{joined}" fill="none" stroke="{colour}" stroke-width="1.5"/>')

    def svg(self, height: float) -> str:
        inside = "\n".join(self.elements)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" '
            f'font-size="12">\n<rect width="100%" height="100%" fill="white"/>\n{inside}\n</svg>\n'
        )


def picture(trace: Trace, decisions: Mapping[str, Mapping[tuple[str, str], float]], begin: float = 0.0) -> str:
    """The first target of a trace from `begin` on; a lane for each evaluator's decisions."""
    target = trace.targets[0]
    answers = [(at, trace.ask(target.name, at)) for at in target.polls(trace.terms.interval, trace.length)]
    known = [(at, one.value if one.known else None) for at, one in answers if at >= begin]
    bound = trace.terms.threshold.bound
    page = _Page(begin, trace.length, 1.15 * max([2 * bound, *(value for _, value in known if value is not None)]))
    page.text(LEFT, 18, f"{trace.kind}: {trace.note} (seed {trace.seed}, rule {trace.terms.when})")
    _backdrop(page, trace, target, bound)
    for seen, run in groupby(known, key=lambda one: one[1] is not None):
        if seen:
            page.path([(at, value) for at, value in run if value is not None], _BLUE)
    y = TOP + PLOT + 20.0
    for name, made in decisions.items():
        y += LANE
        _lane(page, target, name, made, y)
    _clock(page, begin, trace.length, y + 24)
    return page.svg(y + 36)


def _backdrop(page: _Page, trace: Trace, target: Target, bound: float) -> None:
    for span in trace.down:
        page.box(span.at, span.end, TOP, PLOT, _PALE)
        page.text(page.x(span.at) + 3, TOP + 12, "no answers", _GREY)
    page.across(page.y(bound), _RED, "4 3")
    page.text(LEFT - 6, page.y(bound) + 4, trace.terms.threshold.show(bound), _RED, "end")
    page.text(LEFT - 6, page.y(0) + 4, "0", _GREY, "end")
    page.across(page.y(0), _GREY)
    for release in target.releases[1:]:
        page.down(release.at, PLOT + 10)
        page.text(page.x(release.at), TOP + PLOT + 22, f"release {release.revision}", anchor="middle")


def _lane(page: _Page, target: Target, name: str, made: Mapping[tuple[str, str], float], y: float) -> None:
    page.text(LEFT - 6, y + 4, name, anchor="end")
    page.across(y, _PALE)
    for (where, revision), at in made.items():
        if where != target.name:
            continue
        expect = target.expected(revision)
        right = bool(expect.rollback) and at >= expect.onset
        page.box(at - 8, at + 8, y - 6, 12, _GREEN if right else _RED)
        words = f"rolled back{'' if right else ', falsely'}"
        near_end = page.x(at) > WIDTH - RIGHT - 120
        page.text(page.x(at) + (-10 if near_end else 10), y + 4, words, anchor="end" if near_end else "start")


def _clock(page: _Page, begin: float, end: float, y: float) -> None:
    for minute in _minutes(begin, end):
        page.text(page.x(minute * MINUTE), y, f"{minute} min", _GREY, "middle")


def _minutes(begin: float, end: float) -> Iterator[int]:
    every = 60 if end - begin > 4 * 3600 else 10
    first = -(-int(begin / MINUTE) // every) * every
    return iter(range(first, int(end / MINUTE) + 1, every))
