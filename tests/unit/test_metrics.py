"""What /metrics shows of requests."""

from __future__ import annotations

from prometheus_client import REGISTRY

from rollback_operator import metrics
from rollback_operator.api.request import Phase
from rollback_operator.metrics import Phases


def shown(phases: Phases) -> dict[str, float]:
    (family,) = phases.collect()
    assert family.name == "rollback_requests"
    return {sample.labels["phase"]: sample.value for sample in family.samples}


def test_every_phase_is_shown_from_the_start() -> None:
    assert shown(Phases()) == dict.fromkeys((phase.value for phase in Phase), 0)


def test_each_request_counts_where_it_was_seen_last() -> None:
    phases = Phases()
    phases.saw(("shop", "a"), None)
    phases.saw(("shop", "b"), "Running")
    phases.saw(("shop", "a"), "Failed")
    phases.saw(("other", "a"), None)
    seen = shown(phases)
    assert (seen["Pending"], seen["Running"], seen["Failed"], sum(seen.values())) == (1, 1, 1, 3)


def test_what_is_gone_does_not_count() -> None:
    phases = Phases()
    phases.saw(("shop", "a"), "Running")
    phases.gone(("shop", "a"))
    phases.gone(("shop", "never seen"))
    assert sum(shown(phases).values()) == 0


def test_a_phase_of_a_later_version_does_no_harm() -> None:
    phases = Phases()
    phases.saw(("shop", "a"), "AwaitingApproval")
    assert set(shown(phases)) == {phase.value for phase in Phase}


def test_calls_count_by_verb_and_answer() -> None:
    def count() -> float:
        return REGISTRY.get_sample_value("rollback_api_calls_total", {"verb": "PATCH", "code": "0"}) or 0

    before = count()
    metrics.note_call("PATCH", "/a/path/with/names", 0)
    assert count() == before + 1


def test_no_metric_has_a_label_that_grows_without_bound() -> None:
    for family in REGISTRY.collect():
        if family.name.startswith("rollback_"):
            for sample in family.samples:
                assert set(sample.labels) <= {"phase", "reason", "verb", "code", "why", "resource", "le"}
