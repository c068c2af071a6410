"""Runs the test suites, all of them, and tells in the end how each went and how long it took.

Tests often wait for a cluster to do something, so two suites run side by side where there is more than one core. With
more of them the machine is so busy that limits of seconds, which are the operator's own, say nothing any more. The
output of a suite is shown as a whole, when it has ended.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

_TESTS = Path(__file__).parents[1] / "tests"
# Begun in this order: what takes longest early, but for what tells most in the shortest time.
_SUITES = ("unit", "faults", "e2e", "model", "testbed")
_AT_ONCE = 2
_NOTHING_COLLECTED = 5
_REPORT_EVERY = 60.0


def main() -> int:
    """Run them; the exit code is 0 if none failed."""
    parser = argparse.ArgumentParser(prog="testbed.suites", description=__doc__)
    parser.add_argument("--deep", action="store_true", help="the long randomised runs as well")
    options, passed_on = parser.parse_known_args()
    selection = [] if options.deep else ["-m", "not deep"]
    started = time.monotonic()
    rows = _run_all([*selection, *passed_on])
    print(_table(rows, time.monotonic() - started))
    return int(any(result == "failed" for _, result, _ in rows))


_Row = tuple[str, str, float]


def _run_all(arguments: list[str]) -> list[_Row]:
    telling = threading.Lock()
    there = [_TESTS / name for name in _SUITES if (_TESTS / name).is_dir()]
    with ThreadPoolExecutor(_AT_ONCE if (os.cpu_count() or 1) > 1 else 1) as pool:
        return list(pool.map(lambda suite: _run(suite, arguments, telling), there))


def _run(suite: Path, arguments: list[str], telling: threading.Lock) -> _Row:
    _say(telling, f"{suite.name}: begun")
    started = time.monotonic()
    command = [sys.executable, "-m", "pytest", str(suite), *arguments]
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        with subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT) as running:
            while True:
                try:
                    code = running.wait(_REPORT_EVERY)
                    break
                except subprocess.TimeoutExpired:
                    _say(telling, f"{suite.name}: {time.monotonic() - started:.0f} s so far")
        output.seek(0)
        _say(telling, f"\n=== {suite.name}\n{output.read()}")
    result = {0: "passed", _NOTHING_COLLECTED: "empty"}.get(code, "failed")
    return suite.name, result, time.monotonic() - started


def _say(telling: threading.Lock, text: str) -> None:
    with telling:
        print(text, flush=True)


def _table(rows: list[_Row], total: float) -> str:
    lines = [f"{name:10} {result:8} {seconds:8.1f} s" for name, result, seconds in rows]
    return "\n".join(["", f"{'suite':10} {'result':8} {'time':>10}", *lines, f"{'all':19} {total:8.1f} s"])


if __name__ == "__main__":
    sys.exit(main())
