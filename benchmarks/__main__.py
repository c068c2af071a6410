"""`python -m benchmarks [NAME ...]`: measure on clusters of their own, print Markdown. `MEASUREMENTS` has the names."""

from __future__ import annotations

import argparse
import platform
import tempfile
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from os import cpu_count
from pathlib import Path

from benchmarks import detection, gitops, policies, releases, requests
from benchmarks.table import Table

MEASUREMENTS: Mapping[str, Callable[[Path], Table]] = {
    "single": requests.one_after_another,
    "sets": requests.sets,
    "thousand": requests.a_thousand_at_once,
    "helm": releases.one_after_another,
    "argocd": gitops.one_after_another,
    "detection": detection.run,
    "policies": policies.a_thousand,
    "policies-10000": policies.ten_thousand,
}


def main() -> None:
    """Measure what is named, or everything."""
    parser = argparse.ArgumentParser(prog="benchmarks", description="Measures on clusters of its own, prints Markdown.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join(MEASUREMENTS)}; none: all of them")
    names: list[str] = parser.parse_args().names
    unknown = [name for name in names if name not in MEASUREMENTS]
    if unknown:
        parser.error(f"nothing is measured by the name of {', '.join(unknown)}; choose from {', '.join(MEASUREMENTS)}")
    print(f"{datetime.now(UTC):%Y-%m-%d}, {cpu_count()} cores, Python {platform.python_version()}\n")
    with tempfile.TemporaryDirectory(prefix="rollback-bench-") as folder:
        for name in names or MEASUREMENTS:
            place = Path(folder, name)
            place.mkdir()
            print(MEASUREMENTS[name](place), flush=True)


if __name__ == "__main__":
    main()
