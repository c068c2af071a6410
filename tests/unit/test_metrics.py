"""What /metrics shows of requests and policies."""

from __future__ import annotations

from prometheus_client import REGISTRY

from rollback_operator import metrics
from rollback_operator.api.reasons import FAILURES
from rollback_operator.api.request import Phase
from rollback_operator.metrics import Phases, Policies


def shown(phases: Phases) -> dict[str, float]:
    (family,) = phases.collect()
    assert family.name == "rollback_requests"
    return {sample.labels["phase"]: sample.value for sample in family.samples}


def test_every_phase_is_shown_from_the_start() -> None:
    assert shown(Phases()) == dict.fromkeys((phase.value for phase in Phase), 0)


def test_every_failure_is_counted_from_the_start() -> None:
    """A series that begins with 1 has no increase, so that nobody would be told of the first failure."""
    for reason in FAILURES:
        count = REGISTRY.get_sample_value("rollback_requests_finished_total", {"phase": "Failed", "reason": reason})
        assert count is not None, reason


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


def of_policies(policies: Policies) -> tuple[dict[str, float], list[dict[str, str]]]:
    verdicts, alerts = policies.collect()
    assert (verdicts.name, alerts.name) == ("rollback_policies", "rollback_policy_alert")
    assert all(sample.value == 1 for sample in alerts.samples)
    return {one.labels["verdict"]: one.value for one in verdicts.samples}, [one.labels for one in alerts.samples]


def test_every_verdict_is_shown_from_the_start() -> None:
    assert of_policies(Policies()) == ({"Healthy": 0, "Breach": 0, "Unknown": 0, "None": 0}, [])


def test_each_policy_counts_by_what_it_said_last() -> None:
    policies = Policies()
    policies.saw(("shop", "a"), None, None)
    policies.saw(("shop", "b"), "Breach", "Firing")
    policies.saw(("shop", "a"), "Healthy", None)
    policies.saw(("other", "a"), None, None)
    verdicts, alerts = of_policies(policies)
    assert verdicts == {"Healthy": 1, "Breach": 1, "Unknown": 0, "None": 1}
    assert alerts == [{"namespace": "shop", "policy": "b", "reason": "Firing"}]


def test_an_alert_that_is_over_is_shown_no_more() -> None:
    policies = Policies()
    policies.saw(("shop", "a"), "Breach", "Firing")
    policies.saw(("shop", "a"), "Healthy", None)
    assert of_policies(policies)[1] == []


def test_a_policy_that_is_gone_does_not_count() -> None:
    policies = Policies()
    policies.saw(("shop", "a"), "Breach", "Firing")
    policies.gone(("shop", "a"))
    policies.gone(("shop", "never seen"))
    verdicts, alerts = of_policies(policies)
    assert (sum(verdicts.values()), alerts) == (0, [])


BOUNDED = {"phase", "reason", "verb", "code", "why", "resource", "le", "source", "verdict"}


def test_no_metric_has_a_label_that_grows_without_bound() -> None:
    for family in REGISTRY.collect():
        if family.name.startswith("rollback_"):
            for sample in family.samples:
                assert set(sample.labels) <= BOUNDED | (
                    {"namespace", "policy"} if family.name == "rollback_policy_alert" else set()
                )
