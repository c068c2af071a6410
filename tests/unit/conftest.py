"""Generated cases: the same ones in each run, and no limit on the time of one (a busy machine is no defect)."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

from rollback_operator.signals import outbound

settings.register_profile(
    "unit", deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("unit")


@pytest.fixture
def never_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have an answer that is out of time be the host's fault, also where this machine was too busy to see it."""
    monkeypatch.setattr(outbound, "LATE", 60.0)
