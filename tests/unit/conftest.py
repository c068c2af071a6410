"""Generated cases: the same ones in each run, and no limit on the time of one (a busy machine is no defect)."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("unit", deadline=None, derandomize=True, database=None)
settings.load_profile("unit")
