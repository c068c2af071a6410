"""The tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from benchmarks.decisions.evaluator import Evaluator
from benchmarks.decisions.score import Mark, Sum, mark
from benchmarks.decisions.trace import Trace
from benchmarks.table import Table

Marks = Mapping[str, Sequence[Mark]]
"""By evaluator."""


def marks_of(evaluators: Sequence[Evaluator], traces: Sequence[Trace]) -> Marks:
    """Every evaluator on every trace."""
    return {one.name: [mark(one, trace) for trace in traces] for one in evaluators}


def tables(marks: Marks, by_kind: Sequence[str]) -> Iterator[Table]:
    """What there is to say; `by_kind` names the evaluators that are worth a column."""
    yield _wrong(marks, by_kind)
    yield _late(marks, by_kind)
    yield _totals(marks)


def _wrong(marks: Marks, names: Sequence[str]) -> Table:
    table = Table("False / missed rollbacks, in traces", ("", "traces", "to roll back", *names))
    for kind, traces in _by_kind(marks):
        clear = [one for one in traces if not one.ambiguous]
        wanted = sum(any(expect.rollback for target in one.targets for expect in target.expect) for one in clear)
        cells = [Sum.of(_of_kind(marks[name], kind)).wrong for name in names]
        table.row(kind or "all", str(len(clear)), str(wanted), *cells)
    table.note("A trace with several targets counts once, whichever of them was wrong.")
    return table


def _late(marks: Marks, names: Sequence[str]) -> Table:
    header = ("", *names)
    table = Table("Delay beyond the rule's own minimum, in intervals: median / max", header)
    for kind, _ in _by_kind(marks):
        cells = [Sum.of(_of_kind(marks[name], kind)).late for name in names]
        if any(cell != "-" for cell in cells):
            table.row(kind or "all", *cells)
    table.note("Of rollbacks that were right. Less than zero: earlier than the rule allows.")
    return table


def _totals(marks: Marks) -> Table:
    header = ("", "false", "missed", "delay, intervals", "from the fault, s", "ambiguous rolled back")
    table = Table("All evaluators, all traces", header)
    for name, all_marks in marks.items():
        total = Sum.of(all_marks)
        doubtful = [one for one in all_marks if one.trace.ambiguous]
        share = f"{sum(bool(one.doubtful) for one in doubtful)} of {len(doubtful)}"
        table.row(name, str(total.false), str(total.missed), total.late, total.seconds, share)
    some = next(iter(marks.values()))
    targets = sum(len(one.trace.targets) for one in some if not one.trace.ambiguous)
    table.note(
        f"{Sum.of(some).traces} traces of {targets} targets, and {sum(one.trace.ambiguous for one in some)} ambiguous "
        "ones that count for nothing. Delay: median / max. From the fault: median of the seconds from its begin."
    )
    return table


def failures(marks: Sequence[Mark]) -> Iterator[str]:
    """What one evaluator got wrong, one line each, with what is needed to see it again."""
    for one in marks:
        if one.trace.ambiguous:
            continue
        which = f"{one.trace.kind}, seed {one.trace.seed} ({one.trace.note})"
        for target, revision, at in one.false:
            yield f"false: {target} {revision} at {at:.0f} s of {which}"
        for target, revision in one.missed:
            yield f"missed: {target} {revision} of {which}"


def _by_kind(marks: Marks) -> list[tuple[str, list[Trace]]]:
    """The traces of each kind, and those of all under an empty name."""
    traces = [one.trace for one in next(iter(marks.values()))]
    kinds = dict.fromkeys(one.kind for one in traces)
    return [*((kind, [one for one in traces if one.kind == kind]) for kind in kinds), ("", traces)]


def _of_kind(marks: Sequence[Mark], kind: str) -> list[Mark]:
    return [one for one in marks if kind in {"", one.trace.kind}]
