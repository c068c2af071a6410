"""`python -m benchmarks.decisions`: label traces, let every evaluator decide, print Markdown."""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

from benchmarks.decisions import files, kinds, peers, report
from benchmarks.decisions.evaluator import Evaluator
from benchmarks.decisions.ours import Ours
from benchmarks.decisions.picture import picture
from benchmarks.decisions.trace import Trace

COMMITTED = Path(__file__).parent / "traces"


def main(words: Sequence[str]) -> int:
    """Print the tables; 1 if our evaluator was wrong about a trace that is not ambiguous."""
    asked = _parser().parse_args(words)
    begun = time.monotonic()
    traces = _traces(asked)
    if asked.write is not None:
        print(f"{len(files.write_all(traces, asked.write))} traces written to {asked.write}\n")
    ours, adapted = Ours(), peers.turned_to_our_rule()
    evaluators: list[Evaluator] = [ours, *adapted, *peers.with_guarded_queries(), *peers.by_default()]
    marks = report.marks_of(evaluators, traces)
    for table in report.tables(marks, [ours.name, *(one.name for one in adapted)]):
        print(table)
    failures = list(report.failures(marks[ours.name]))
    print("\n".join([*(f"ours: {one}" for one in failures), f"{time.monotonic() - begun:.0f} s."]))
    if asked.picture is not None:
        _draw(asked.picture, asked.seed, [ours, *adapted])
    return 1 if failures else 0


def _parser() -> ArgumentParser:
    parser = ArgumentParser(prog="python -m benchmarks.decisions", description=main.__doc__)
    parser.add_argument("--seed", type=int, default=1, help="which set of generated traces (default 1)")
    parser.add_argument("--count", type=int, default=kinds.SEEDS, help="how many of each kind (default %(default)s)")
    parser.add_argument("--traces", type=Path, help=f"a folder of further traces (*{files.SUFFIX})")
    parser.add_argument("--write", type=Path, help="write the traces to this folder as well")
    parser.add_argument("--picture", nargs=3, metavar=("KIND", "NUMBER", "FILE"), help="draw one generated trace")
    return parser


def _traces(asked: Namespace) -> list[Trace]:
    dropped_in = files.read_all(asked.traces) if asked.traces is not None else []
    return [*kinds.make_all(asked.seed, asked.count), *files.read_all(COMMITTED), *dropped_in]


def _draw(what: Sequence[str], seed: int, evaluators: Sequence[Evaluator]) -> None:
    kind, number, file = what
    trace = kinds.make(kind, int(number), seed)
    Path(file).write_text(picture(trace, {one.name: one.decide(trace) for one in evaluators}))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
