"""What a replay brought, for people and for programs."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rollback_operator.api.trigger import Action, Trigger
from rollback_operator.backtest.events import TOLD, Event, Record, What
from rollback_operator.backtest.moments import length, rfc3339, shown
from rollback_operator.backtest.orders import Orders
from rollback_operator.backtest.stretches import CARRIED_ON, NOT_BLAMED, TARGET_CHANGED
from rollback_operator.core.verdicts import Verdict

FEW = 3
"""Breaches in a row, of one trigger and with nothing between them, that are told one by one."""
_NARROWEST = 40
_HEAD = ("TIME (UTC)", "WHAT", "WHY")
_GAP = "  "
_HOW = (
    "Each rollback is taken to happen at once and to help; the record goes on as it really was, without it. What "
    "proves good is judged by the replayed triggers alone."
)


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that is told."""

    orders: Orders
    record: Record
    source: str
    """How the releases are known."""
    left_out: Sequence[Trigger]
    assumed: Sequence[str]
    plot: Path | None

    # For people.

    def text(self, width: int | None) -> str:
        """Lines, broken at so many columns; None: never."""
        parts = [*self._about(), "", *self._table(width), "", summary(self.record), "", *self._notes()]
        if self.plot is not None:
            parts.append(f"The plot was written to {self.plot}.")
        return "\n".join(_filled(line, width) for line in parts) + "\n"

    def _about(self) -> list[str]:
        record, spec = self.record, self.orders.spec
        span = f"{shown(record.start)} to {shown(record.end)} UTC ({length(record.end - record.start)})"
        lines = [f"Policy {self.orders} for {spec.target}, replayed from {span}"]
        lines += [f"  {row.name}: {rule(row.question.trigger)}" for row in record.rows]
        if self.left_out:
            names = ", ".join(f"{one.name} ({one.source})" for one in self.left_out)
            lines.append(f"  not replayed, for want of a past: {names}")
        return lines

    def _table(self, width: int | None) -> Iterable[str]:
        first = Event(self.record.start, What.RELEASE, self._runs())
        rows = [(shown(first.at), "start", first.why)]
        rows += [(shown(one.at), _WHAT[one.what], _why(one).rstrip(".")) for one in folded(self.record.events)]
        columns = max(len(row[1]) for row in (_HEAD, *rows))
        for at, what, why in (_HEAD, *rows):
            begin = f"{at:19}{_GAP}{what:{columns}}{_GAP}"
            room = max(_NARROWEST, width - len(begin)) if width else 0
            lines = textwrap.wrap(why, room) if room else [why]
            yield ("\n" + " " * len(begin)).join([begin + (lines[0] if lines else ""), *lines[1:]]).rstrip()

    def _runs(self) -> str:
        name, since = self.record.runs
        return f"{name} runs, since {shown(since)}" if since else f"{name} runs, since nobody knows when"

    def _notes(self) -> list[str]:
        notes = [self.source, *self.assumed, _HOW]
        silent = [row.name for row in self.record.rows if row.count(Verdict.UNKNOWN) == len(row.samples)]
        if silent:
            notes.append(
                f"Nothing was ever known of {', '.join(silent)}: check the queries, and how long this server remembers."
            )
        return notes

    # For programs.

    def document(self) -> dict[str, Any]:
        """The same as JSON."""
        record = self.record
        return {
            "policy": {"namespace": self.orders.namespace, "name": self.orders.name},
            "target": self.orders.spec.target.dump(),
            "from": rfc3339(record.start),
            "to": rfc3339(record.end),
            "triggers": [
                {
                    "name": row.name,
                    "samples": len(row.samples),
                    "breach": row.count(Verdict.BREACH),
                    "unknown": row.count(Verdict.UNKNOWN),
                }
                for row in record.rows
            ],
            "notReplayed": [one.name for one in self.left_out],
            "events": [_document(one) for one in record.events],
            "summary": counts(record),
            "notes": self._notes(),
            **({"plot": str(self.plot)} if self.plot is not None else {}),
        }


def counts(record: Record) -> dict[str, Any]:
    """The figures of a replay."""
    rollbacks = record.of(What.ROLLBACK)
    return {
        "rollbacks": len(rollbacks),
        "firstRollback": rfc3339(rollbacks[0].at) if rollbacks else None,
        "alerts": len(record.of(*TOLD)),
        "samples": sum(len(row.samples) for row in record.rows),
        "unknown": sum(row.count(Verdict.UNKNOWN) for row in record.rows),
    }


def summary(record: Record) -> str:
    """The figures in one line."""
    figures, rollbacks = counts(record), record.of(What.ROLLBACK)
    first = f", {'first' if len(rollbacks) > 1 else ''} at {shown(rollbacks[0].at)} UTC" if rollbacks else ""
    return (
        f"{_number(len(rollbacks), 'rollback')}{first.replace('  ', ' ')}, {_number(figures['alerts'], 'alert')}; "
        f"{_number(figures['samples'], 'sample')}, {figures['unknown']:,} unknown"
    )


def rule(trigger: Trigger) -> str:
    """What it takes for a trigger to fire, and what follows."""
    parts = [trigger.when or ""]
    parts += [f"for {trigger.for_}"] if trigger.for_ else []
    parts += [f"{trigger.consecutive} in a row"] if trigger.consecutive else []
    action = "" if trigger.action is Action.ROLLBACK else f" ({trigger.action})"
    return f"{', '.join(parts).replace(', for', ' for', 1)}, asked every {trigger.interval}{action}"


def _number(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def folded(events: Sequence[Event]) -> list[Event]:
    """The events, with many breaches in a row that came to nothing told as one."""
    rest: list[Event] = []
    run: list[Event] = []
    for event in (*(one for one in events if one.reason != CARRIED_ON), None):
        if event is not None and _came_to_nothing(event) and (not run or event.trigger == run[0].trigger):
            run.append(event)
            continue
        rest += run if len(run) <= FEW else [_as_one(run)]
        run = [event] if event is not None and _came_to_nothing(event) else []
        if event is not None and not run:
            rest.append(event)
    return rest


def _came_to_nothing(event: Event) -> bool:
    return event.what is What.BREACH and event.fired is None and event.until is not None and not event.reason


def _as_one(run: Sequence[Event]) -> Event:
    longest = max(run, key=lambda one: (one.until or one.at) - one.at)
    held = length((longest.until or longest.at) - longest.at)
    last = run[-1].until or run[-1].at
    why = f"{len(run)} short ones until {shown(last)}; the longest lasted {held}, from {shown(longest.at)}"
    return replace(run[0], why=why, what=What.BREACHES)


_WHAT = {
    What.RELEASE: "release",
    What.BREACH: "breach",
    What.BREACHES: "breaches",
    What.NO_DATA: "no data",
    What.ALERT: "would alert",
    What.ASK: "would ask people",
    What.TAKEN_BACK: "would take it back",
    What.ROLLBACK: "WOULD ROLL BACK",
    What.FAILED: "would fail",
    What.WITHHELD: "withheld",
    What.GOES_ON: "goes on",
    What.PROVED_GOOD: "proved good",
}


def _why(event: Event) -> str:
    about = " to ".join(part for part in (event.from_, event.to) if part) or event.trigger
    why = ": ".join(part for part in (about, event.why) if part)
    if event.what not in (What.BREACH, What.NO_DATA):
        return why
    lasted = f"lasted {length(event.until - event.at)}" if event.until is not None else "not over at the end"
    return f"{why}; {lasted}{_so_what(event)}"


def _so_what(event: Event) -> str:
    """Why nothing follows from a breach."""
    if event.what is not What.BREACH or event.fired is not None:
        return ""
    if event.reason == NOT_BLAMED:
        return "; it began before this release, which is not blamed for it"
    if event.until is None:
        return ""
    return ", until the target changed" if event.reason == TARGET_CHANGED else ", too short to count"


def _document(event: Event) -> dict[str, Any]:
    told = {
        "at": rfc3339(event.at),
        "what": event.what.value,
        "trigger": event.trigger,
        "reason": event.reason,
        "from": event.from_,
        "to": event.to,
        "until": rfc3339(event.until) if event.until is not None else "",
        "fired": rfc3339(event.fired) if event.fired is not None else "",
        "message": event.why,
    }
    return {name: value for name, value in told.items() if value}


def _filled(line: str, width: int | None) -> str:
    """A long sentence broken into lines; what stands in columns was broken before, or is too wide for it."""
    if width is None or len(line) <= width or "\n" in line:
        return line
    return textwrap.fill(line, max(_NARROWEST, width), subsequent_indent="  ")
