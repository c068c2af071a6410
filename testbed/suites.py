"""Runs the test suites one after another, all of them, and tells in the end how each went and how long it took."""

import argparse
import subprocess
import sys
import time
from pathlib import Path

_TESTS = Path(__file__).parents[1] / "tests"
# From what tells most in the least time to what takes longest.
_ORDER = ("unit", "model", "testbed", "faults", "e2e")
_NOTHING_COLLECTED = 5


def main() -> int:
    """Run them; the exit code is 0 if none failed."""
    parser = argparse.ArgumentParser(prog="testbed.suites", description=__doc__)
    parser.add_argument("--deep", action="store_true", help="the long randomised runs as well")
    options, passed_on = parser.parse_known_args()
    selection = [] if options.deep else ["-m", "not deep"]
    rows = [_run(_TESTS / name, [*selection, *passed_on]) for name in _ORDER if (_TESTS / name).is_dir()]
    print(_table(rows))
    return int(any(result == "failed" for _, result, _ in rows))


_Row = tuple[str, str, float]


def _run(suite: Path, arguments: list[str]) -> _Row:
    print(f"\n=== {suite.name}", flush=True)
    started = time.monotonic()
    code = subprocess.run([sys.executable, "-m", "pytest", str(suite), *arguments], check=False).returncode
    result = {0: "passed", _NOTHING_COLLECTED: "empty"}.get(code, "failed")
    return suite.name, result, time.monotonic() - started


def _table(rows: list[_Row]) -> str:
    total = sum(seconds for _, _, seconds in rows)
    lines = [f"{name:10} {result:8} {seconds:8.1f} s" for name, result, seconds in rows]
    return "\n".join(["", f"{'suite':10} {'result':8} {'time':>10}", *lines, f"{'all':19} {total:8.1f} s"])


if __name__ == "__main__":
    sys.exit(main())
