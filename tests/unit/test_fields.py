"""Durations, times and what the models take from JSON."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from rollback_operator.api.fields import MicroTime, Time, format_duration, parse_duration
from rollback_operator.api.policy import PolicySpec, RollbackPolicy
from rollback_operator.api.request import FINAL, Phase, RequestSpec, RequestStatus, RollbackRequest
from tests.unit.builders import NOW, fingerprint

PARSED = {
    "90s": timedelta(seconds=90),
    "10m": timedelta(minutes=10),
    "1h30m": timedelta(minutes=90),
    "24h": timedelta(days=1),
    "250ms": timedelta(milliseconds=250),
    "1h1m1s1ms": timedelta(hours=1, minutes=1, seconds=1, milliseconds=1),
    "1s1s": timedelta(seconds=2),
    "00100s": timedelta(seconds=100),
}


@pytest.mark.parametrize("text", PARSED)
def test_a_duration_is_read(text: str) -> None:
    assert parse_duration(text) == PARSED[text]


@pytest.mark.parametrize(
    "text", ["", "10", "m", "-5s", "1.5s", "5 s", "1d", "100000s", "1h1m1s1ms1h", "10M", " 5s", "5s "]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration such as 90s, 10m or 1h30m"):
        parse_duration(text)


FORMATTED = {
    timedelta(): "0ms",
    timedelta(milliseconds=850): "850ms",
    timedelta(milliseconds=999.7): "1.0s",
    timedelta(seconds=1): "1.0s",
    timedelta(seconds=7.34): "7.3s",
    timedelta(seconds=9.96): "10s",
    timedelta(seconds=10): "10s",
    timedelta(seconds=59.6): "1m",
    timedelta(seconds=252): "4m12s",
    timedelta(minutes=65, seconds=7): "1h5m",
    timedelta(hours=24): "24h",
    timedelta(seconds=-3): "0ms",
}


@pytest.mark.parametrize("length", FORMATTED, ids=str)
def test_a_length_of_time_is_shown_as_people_read_it(length: timedelta) -> None:
    assert format_duration(length) == FORMATTED[length]


@given(st.timedeltas(timedelta(seconds=10), timedelta(days=300)))
def test_what_is_shown_can_be_read_again(length: timedelta) -> None:
    again = parse_duration(format_duration(length))
    assert abs(again - length) <= (timedelta(seconds=0.5) if length < timedelta(hours=1) else timedelta(minutes=1))
    assert format_duration(again) == format_duration(length)


units = st.lists(st.tuples(st.integers(0, 99_999), st.sampled_from(["h", "m", "s", "ms"])), min_size=1, max_size=4)


@given(units)
def test_a_duration_is_the_sum_of_its_parts(parts: list[tuple[int, str]]) -> None:
    names = {"h": "hours", "m": "minutes", "s": "seconds", "ms": "milliseconds"}
    total = sum((timedelta(**{names[unit]: number}) for number, unit in parts), timedelta())
    text = "".join(f"{number}{unit}" for number, unit in parts)
    assert abs(parse_duration(text) - total) < timedelta(milliseconds=1)


def test_times_are_written_in_utc() -> None:
    moment = datetime(2026, 3, 1, 4, 30, 15, 123_999, tzinfo=timezone(timedelta(hours=9)))
    assert TypeAdapter(Time).dump_python(moment) == "2026-02-28T19:30:15Z"
    assert TypeAdapter(MicroTime).dump_python(moment) == "2026-02-28T19:30:15.123Z"


@given(st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001 - bounds are naive
def test_a_written_time_reads_back_to_the_millisecond(moment: datetime) -> None:
    adapter = TypeAdapter[datetime](MicroTime)
    assert timedelta() <= moment - adapter.validate_python(adapter.dump_python(moment)) < timedelta(milliseconds=1)


TO: dict[str, tuple[Any, str | None]] = {
    "a bare number": (3, "3"),
    "a quoted number": ("3", "3"),
    "the first entry of an Application's history": (0, "0"),
    "a word": ("Previous", "Previous"),
    "a fingerprint": (fingerprint("a"), fingerprint("a")),
    "nothing": (None, None),
}


@pytest.mark.parametrize("case", TO)
def test_a_request_may_go_to(case: str) -> None:
    given_, expected = TO[case]
    body = {"target": {"kind": "Deployment", "name": "checkout"}, "reason": "5xx", "to": given_}
    assert RequestSpec.model_validate(body).to == expected


def test_a_policy_may_go_to_a_bare_number_too() -> None:
    target = {"kind": "Deployment", "name": "checkout"}
    assert PolicySpec.model_validate({"target": target, "to": 3}).to == "3"
    assert PolicySpec.model_validate({"target": target}).to == "LastKnownGood"


def test_a_request_has_the_defaults_that_the_api_server_fills_in() -> None:
    spec = RequestSpec.model_validate({"policyRef": {"name": "checkout"}, "reason": "5xx"})
    assert (spec.timeout, spec.dry_run, spec.abort, spec.service_account_name) == ("10m", False, False, None)
    assert RequestStatus().observed_generation == -1


def test_fields_of_a_later_version_are_ignored() -> None:
    body = {"target": {"kind": "Deployment", "name": "checkout", "cluster": "b"}, "reason": "5xx", "approve": True}
    assert str(RequestSpec.model_validate(body).target) == "Deployment/checkout"


def test_a_resource_cannot_be_changed_in_place() -> None:
    with pytest.raises(ValidationError):
        RequestStatus().phase = Phase.PENDING  # type: ignore[misc]


def test_what_is_unset_is_not_written() -> None:
    assert RequestStatus(phase=Phase.PENDING).dump() == {
        "phase": "Pending",
        "conditions": [],
        "targets": [],
        "observedGeneration": -1,
    }


def test_both_resources_know_their_kind() -> None:
    target = {"kind": "Deployment", "name": "checkout"}
    assert RollbackRequest.model_validate({"spec": {"target": target}}).kind == "RollbackRequest"
    assert RollbackPolicy.model_validate({"spec": {"target": target}}).kind == "RollbackPolicy"


def test_the_last_four_phases_are_final() -> None:
    assert [phase for phase in Phase if phase.final] == list(Phase)[-4:]
    assert {phase for phase in Phase if phase.final} == FINAL
    assert NOW.tzinfo is UTC
