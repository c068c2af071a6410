"""Runs the test suites, all of them, and tells in the end how each went and how long it took.

Where there is more than one core, suites run in two lanes, side by side: much of their time they wait for a cluster to
do something. With more of them the machine would be so busy that limits of seconds, which are the operator's own, say
nothing any more. A suite's output is shown as a whole, when it has ended; what failed is said once more, last of all.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

_TESTS = Path(__file__).parents[1] / "tests"
_LANES = (("unit", "e2e", "testbed"), ("faults", "model"))
"""Of about the same length."""
# A file is the smallest part of a suite that can be run apart: its tests share an operator.
_APART = {"e2e": ("-n", "2", "--dist", "loadfile")}
_NOTHING_COLLECTED = 5
_REPORT_EVERY = 60.0
_CORES = os.cpu_count() or 1
_SUMMARY = " short test summary info "
_LINES, _WIDTH = 8, 300
"""How much of a suite's own summary is said again."""
_WORDY = {**os.environ, "CI": "true"}
"""pytest does not cut its summary to the width of a terminal then."""
_running: list[subprocess.Popen[bytes]] = []
_stopped = threading.Event()


def main() -> int:
    """Run them; the exit code is 0 if none failed."""
    parser = argparse.ArgumentParser(prog="testbed.suites", description=__doc__)
    parser.add_argument("--deep", action="store_true", help="the long randomised runs as well")
    options, passed_on = parser.parse_known_args()
    selection = [] if options.deep else ["-m", "not deep"]
    started = time.monotonic()
    signal.signal(signal.SIGTERM, _stop)
    rows = _run_lanes([*selection, *passed_on])
    print(_table(rows, time.monotonic() - started))
    print("".join(f"\n{row.name}: {line}" for row in rows for line in row.failures))
    return int(any(row.result == "failed" for row in rows))


class _Row(NamedTuple):
    name: str
    result: str
    seconds: float
    failures: list[str]


def _run_lanes(arguments: list[str]) -> list[_Row]:
    lanes = _LANES if _CORES > 1 else (tuple(name for lane in _LANES for name in lane),)
    telling = threading.Lock()
    with ThreadPoolExecutor(len(lanes)) as pool:
        ended = pool.map(lambda lane: _run_lane(lane, arguments, telling), lanes)
        return [row for rows in ended for row in rows]


def _run_lane(lane: Sequence[str], arguments: list[str], telling: threading.Lock) -> list[_Row]:
    suites = (_TESTS / name for name in lane if (_TESTS / name).is_dir())
    return [_run(suite, arguments, telling) for suite in suites if not _stopped.is_set()]


def _stop(*_: object) -> None:
    """Whoever ends this ends the suites that are running; they end what they have started."""
    _stopped.set()
    for one in _running:
        one.terminate()


def _run(suite: Path, arguments: list[str], telling: threading.Lock) -> _Row:
    _say(telling, f"{suite.name}: begun")
    started = time.monotonic()
    apart = _APART.get(suite.name, ()) if _CORES > 1 else ()
    command = [sys.executable, "-m", "pytest", str(suite), *apart, *arguments]
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        with subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=_WORDY) as running:
            _running.append(running)
            while True:
                try:
                    code = running.wait(_REPORT_EVERY)
                    break
                except subprocess.TimeoutExpired:
                    _say(telling, f"{suite.name}: {time.monotonic() - started:.0f} s so far")
        output.seek(0)
        told = output.read()
        _say(telling, f"\n=== {suite.name}\n{told}")
    result = {0: "passed", _NOTHING_COLLECTED: "empty"}.get(code, "failed")
    return _Row(suite.name, result, time.monotonic() - started, _failures(told) if result == "failed" else [])


def _failures(told: str) -> list[str]:
    """What pytest says of failures in the end, without its frame, what is skipped, and what an operator logged."""
    _, _, summary = told.rpartition(_SUMMARY)
    lines = [line for line in summary.splitlines()[1:] if line.strip() and not line.startswith(("=", "SKIPPED", "{"))]
    return [line[:_WIDTH] for line in lines[:_LINES]]


def _say(telling: threading.Lock, text: str) -> None:
    with telling:
        print(text, flush=True)


def _table(rows: list[_Row], total: float) -> str:
    lines = [f"{name:10} {result:8} {seconds:8.1f} s" for name, result, seconds, _ in rows]
    return "\n".join(["", f"{'suite':10} {'result':8} {'time':>10}", *lines, f"{'all':19} {total:8.1f} s"])


if __name__ == "__main__":
    sys.exit(main())
