"""What /metrics shows."""

from __future__ import annotations

import time
from collections import Counter as Tally

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import REGISTRY, Collector

from rollback_operator.api.request import Phase

SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)

FINISHED = Counter("rollback_requests_finished", "Requests that ended.", ["phase", "reason"])
TO_EFFECT = Histogram("rollback_effect_seconds", "From a request's creation to its effect.", buckets=SECONDS)
TO_END = Histogram("rollback_duration_seconds", "From the start of a request to its end.", ["phase"], buckets=SECONDS)
RETRIES = Counter("rollback_retries", "Work on a request that had to be tried again.", ["why"])
CALLS = Counter("rollback_api_calls", "Calls to the API server.", ["verb", "code"])
WATCH_EVENTS = Counter("rollback_watch_events", "Events that watches brought.", ["resource"])
WATCH_MISSED = Counter("rollback_watch_missed", "Unfinished requests that only the resync found: a watch is not well.")
WATCH_RESTARTS = Counter("rollback_watch_restarts", "Times that all watches had to be started again.")
LAST_EVENT = Gauge("rollback_watch_last_event_timestamp_seconds", "When a watch last brought an event.", ["resource"])


class Phases(Collector):
    """Requests by phase, counted from what the watch last said of each."""

    def __init__(self) -> None:
        self._phase_of: dict[tuple[str, str], str] = {}

    def saw(self, key: tuple[str, str], phase: str | None) -> None:
        """A request is in that phase now (None: the operator has not taken it up yet)."""
        self._phase_of[key] = phase or Phase.PENDING

    def gone(self, key: tuple[str, str]) -> None:
        """A request was deleted."""
        self._phase_of.pop(key, None)

    def collect(self) -> list[Metric]:
        """One sample a phase, zeros included."""
        family = GaugeMetricFamily("rollback_requests", "Requests by phase.", labels=["phase"])
        count = Tally(self._phase_of.values())
        for phase in Phase:
            family.add_metric([phase.value], count[phase.value])
        return [family]


PHASES = Phases()
REGISTRY.register(PHASES)


def note_call(verb: str, _path: str, status: int) -> None:
    """A call to the API server was answered (status 0: it was not)."""
    CALLS.labels(verb, str(status)).inc()


def note_event(resource: str) -> None:
    """A watch brought an event."""
    WATCH_EVENTS.labels(resource).inc()
    LAST_EVENT.labels(resource).set(time.time())
