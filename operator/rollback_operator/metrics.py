"""What /metrics shows."""

from __future__ import annotations

import time
from collections import Counter as Tally

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import REGISTRY, Collector

from rollback_operator.api.reasons import FAILURES
from rollback_operator.api.request import Phase

SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)

FINISHED = Counter("rollback_requests_finished", "Requests that ended.", ["phase", "reason"])
for _reason in FAILURES:  # or the first failure would be no increase: a series that begins with 1 did not grow
    FINISHED.labels(Phase.FAILED, _reason)
TO_EFFECT = Histogram("rollback_effect_seconds", "From a request's creation to its effect.", buckets=SECONDS)
TO_END = Histogram("rollback_duration_seconds", "From the start of a request to its end.", ["phase"], buckets=SECONDS)
RETRIES = Counter("rollback_retries", "Work on a request that had to be tried again.", ["why"])
CALLS = Counter("rollback_api_calls", "Calls to the API server.", ["verb", "code"])
WATCH_EVENTS = Counter("rollback_watch_events", "Events that watches brought.", ["resource"])
WATCH_MISSED = Counter("rollback_watch_missed", "Unfinished requests that only the resync found: a watch is not well.")
WATCH_RESTARTS = Counter("rollback_watch_restarts", "Times that all watches had to be started again.")
LAST_EVENT = Gauge("rollback_watch_last_event_timestamp_seconds", "When a watch last brought an event.", ["resource"])


EVALUATIONS = Counter("rollback_evaluations", "Answers that triggers got.", ["source", "verdict"])
EVALUATIONS_LATE = Counter("rollback_evaluations_late", "Evaluations that began more than a second after their time.")
EVALUATIONS_SKIPPED = Counter(
    "rollback_evaluations_skipped", "Evaluations that were left out: the one before was late."
)
REQUESTS_MADE = Counter("rollback_requests_made", "Requests that policies made.")


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


class Policies(Collector):
    """Policies by verdict, and those that people should look at, as they were last written."""

    def __init__(self) -> None:
        self._verdicts: dict[tuple[str, str], str] = {}
        self._alerts: dict[tuple[str, str], str] = {}

    def saw(self, key: tuple[str, str], verdict: str | None, alert: str | None) -> None:
        """What a policy says now; without an alert, people are not needed."""
        self._verdicts[key] = verdict or "None"
        if alert is None:
            self._alerts.pop(key, None)
        else:
            self._alerts[key] = alert

    def gone(self, key: tuple[str, str]) -> None:
        """A policy was deleted."""
        self._verdicts.pop(key, None)
        self._alerts.pop(key, None)

    def collect(self) -> list[Metric]:
        """One sample a verdict, and one an alert."""
        verdicts = GaugeMetricFamily("rollback_policies", "Policies by verdict.", labels=["verdict"])
        count = Tally(self._verdicts.values())
        for verdict in ("Healthy", "Breach", "Unknown", "None"):
            verdicts.add_metric([verdict], count[verdict])
        alerts = GaugeMetricFamily(
            "rollback_policy_alert",
            "1 for a policy that people should look at.",
            labels=["namespace", "policy", "reason"],
        )
        for (namespace, policy), reason in self._alerts.items():
            alerts.add_metric([namespace, policy, reason], 1)
        return [verdicts, alerts]


PHASES = Phases()
POLICIES = Policies()
REGISTRY.register(PHASES)
REGISTRY.register(POLICIES)


def note_call(verb: str, _path: str, status: int) -> None:
    """A call to the API server was answered (status 0: it was not)."""
    CALLS.labels(verb, str(status)).inc()


def note_event(resource: str) -> None:
    """A watch brought an event."""
    WATCH_EVENTS.labels(resource).inc()
    LAST_EVENT.labels(resource).set(time.time())
