"""`python -m benchmarks [single] [thousand]`: measure on clusters of their own, print Markdown."""

from __future__ import annotations

import platform
import sys
import tempfile
from datetime import UTC, datetime
from os import cpu_count
from pathlib import Path

from benchmarks import requests

if __name__ == "__main__":
    print(f"{datetime.now(UTC):%Y-%m-%d}, {cpu_count()} cores, Python {platform.python_version()}\n")
    with tempfile.TemporaryDirectory(prefix="rollback-bench-") as folder:
        for table in requests.run(Path(folder), sys.argv[1:]):
            print(table, flush=True)
