"""What is remembered of policies, and which stand for the same target."""

from __future__ import annotations

import time
from typing import Any

import pytest
from pydantic import ValidationError

from rollback_operator.api.policy import PolicyStatus
from rollback_operator.core.verdicts import Streak, Verdict
from rollback_operator.kube.resources import parse_status
from rollback_operator.watching import Standing, Watching, horizon, standing_of
from tests.unit.builders import NOW, said
from tests.unit.objects import Object, policy_body

ENTRY = {
    "fingerprint": "v1:" + "a" * 64,
    "revision": "1",
    "verdict": "Bad",
    "at": "2026-03-01T02:00:00.000Z",
    "reason": "it was",
}
CURRENT = {"uid": "u", "revision": "3", "fingerprint": "v1:" + "c" * 64, "since": "2026-03-01T02:00:00.000Z"}


def trigger(name: str = "errors", **fields: Any) -> Object:
    return {"name": name, "prometheus": {"query": "q"}, "when": "> 5%", **fields}


def body(name: str = "checkout", *, generation: int = 1, status: Object | None = None, **spec: Any) -> Object:
    made = policy_body(name, **{"triggers": [trigger()], **spec})
    made["metadata"]["generation"] = generation
    return made | {"status": status or {"observedGeneration": -1}}


def standing(before: Standing | None = None, **fields: Any) -> Standing:
    return standing_of(body(**fields), before, "rollback")


# One policy.


def test_what_is_asked_is_asked_for_the_policy() -> None:
    (one,) = standing(prometheus={"address": "http://mine:9090"}).asking
    question = one.question
    assert (question.namespace, question.policy, str(question.target)) == ("shop", "checkout", "Deployment/checkout")
    assert question.service_account == "rollback"
    assert question.server is not None
    assert question.server.address == "http://mine:9090"
    assert standing(serviceAccountName="mine").asking[0].question.service_account == "mine"


EVALUATED: dict[str, tuple[Object, bool]] = {
    "one that acts": (body(), True),
    "one that only watches": (body(mode="Observe"), True),
    "one that is suspended": (body(mode="Suspend"), False),
    "one without triggers": (body(triggers=[]), False),
}


@pytest.mark.parametrize("case", EVALUATED)
def test_what_is_evaluated(case: str) -> None:
    made, evaluated = EVALUATED[case]
    known = Watching()
    known.put(standing_of(made, None, "rollback"))
    assert known.evaluated() == int(evaluated)


def test_the_first_questions_are_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", NOW.timestamp)
    dues = [standing(name=f"p{number}").next_due() - NOW.timestamp() for number in range(200)]
    assert all(0 <= due < 30 for due in dues)
    assert len(set(dues)) > 100
    slow = [standing(name=f"p{number}", triggers=[trigger(interval="1h")]).next_due() for number in range(50)]
    assert all(due - NOW.timestamp() < 30 for due in slow), "nobody waits an hour for the first answer"
    fast = [standing(name=f"p{number}", triggers=[trigger(interval="1s")]).next_due() for number in range(50)]
    assert all(due - NOW.timestamp() < 1 for due in fast)


BREACHING: dict[str, tuple[dict[str, Streak], bool]] = {
    "one that acts": ({"errors": said(Verdict.BREACH)}, True),
    "one that only tells": ({"tells": said(Verdict.BREACH)}, False),
    "one that is well": ({"errors": said(Verdict.HEALTHY)}, False),
    "one that nobody knows": ({"errors": said(Verdict.UNKNOWN)}, False),
    "none that was asked": ({}, False),
}


@pytest.mark.parametrize("case", BREACHING)
def test_what_is_in_breach(case: str) -> None:
    streaks, expected = BREACHING[case]
    one = standing(triggers=[trigger(), trigger("tells", action="Alert")])
    one.streaks = streaks
    assert one.breaching() == expected


def test_what_was_written_is_remembered() -> None:
    told = {
        "name": "errors",
        "verdict": "Breach",
        "since": "2026-03-01T02:00:00.000Z",
        "excused": True,
    }
    one = standing(status={"current": CURRENT, "triggers": [told], "observedGeneration": 1})
    assert one.excused == {"errors"}
    assert one.current is not None
    assert one.current.revision == "3"
    assert not one.rebuilt


# Another version of it.


def asked_before(**fields: Any) -> Standing:
    one = standing(triggers=[trigger("a"), trigger("b")], **fields)
    one.streaks = {"a": said(Verdict.BREACH), "b": said(Verdict.BREACH)}
    one.excused, one.rebuilt = frozenset({"a", "b"}), True
    for asking in one.asking:
        asking.due = 77.0
    return one


def test_a_trigger_that_did_not_change_goes_on_from_where_it_was() -> None:
    before = asked_before()
    after = standing(before, generation=2, triggers=[trigger("b"), trigger("a")], soak="1h", mode="Observe")
    assert after.streaks == before.streaks
    assert after.excused == {"a", "b"}
    assert [one.due for one in after.asking] == [77.0, 77.0]
    assert after.rebuilt
    assert after.target_changed, "it is looked at all the same"


def test_what_runs_is_known_although_it_could_not_be_written_yet() -> None:
    before = asked_before(status={"current": CURRENT, "observedGeneration": 1})
    assert before.current is not None
    before.current = before.current.model_copy(update={"revision": "4"})
    after = standing(before, generation=2, status={"current": CURRENT, "observedGeneration": 1})
    assert after.current == before.current


def test_a_trigger_that_is_no_more_is_excused_nothing() -> None:
    assert standing(asked_before(), generation=2, triggers=[trigger("a")]).excused == {"a"}


ANEW: dict[str, Object] = {
    "its threshold changed": {"triggers": [trigger("a", when="> 6%"), trigger("b")]},
    "its query changed": {"triggers": [trigger("a", prometheus={"query": "p"}), trigger("b")]},
    "it takes longer": {"triggers": [trigger("a", **{"for": "1m"}), trigger("b")]},
}


@pytest.mark.parametrize("case", ANEW)
def test_a_trigger_begins_anew_if(case: str) -> None:
    after = standing(asked_before(), generation=2, **ANEW[case])
    assert set(after.streaks) == {"b"}
    assert after.excused == {"a", "b"}, "it is no less an old trouble for that"
    assert not after.rebuilt
    assert after.asking[1].due == 77.0
    assert after.asking[0].due != 77.0


NOTHING_LEFT: dict[str, Object] = {
    "another Prometheus is asked": {"prometheus": {"address": "http://other:9090"}},
    "another account asks": {"serviceAccountName": "other"},
}


@pytest.mark.parametrize("case", NOTHING_LEFT)
def test_all_triggers_begin_anew_if(case: str) -> None:
    after = standing(asked_before(), generation=2, triggers=[trigger("a"), trigger("b")], **NOTHING_LEFT[case])
    assert after.streaks == {}


def test_another_target_has_nothing_to_do_with_the_one_before() -> None:
    cart = {"kind": "Deployment", "name": "cart"}
    after = standing(asked_before(), generation=2, triggers=[trigger("a"), trigger("b")], target=cart)
    assert (after.streaks, after.excused, after.rebuilt) == ({}, frozenset(), False)


def test_another_policy_of_the_same_name_has_nothing_to_do_with_the_one_before() -> None:
    made = body(triggers=[trigger("a"), trigger("b")])
    made["metadata"]["uid"] = "another"
    assert standing_of(made, asked_before(), "rollback").streaks == {}


# A status that cannot be read.


def test_a_status_that_can_be_read_is_read() -> None:
    assert parse_status(body(status={"ledger": [ENTRY], "observedGeneration": 4})).observed_generation == 4
    assert parse_status({"metadata": {}, "spec": {}}) == PolicyStatus()


LEGIBLE: dict[str, tuple[Object, Object]] = {
    "one field": ({"verdict": "Splendid", "target": "Deployment/x"}, {"target": "Deployment/x"}),
    "one entry of the ledger": ({"ledger": [{"fingerprint": 7}, ENTRY]}, {"ledger": [ENTRY]}),
    "a list that is none": ({"ledger": "lost", "target": "Deployment/x"}, {"target": "Deployment/x"}),
    "all of it": ({"conditions": 3, "current": {"uid": 5}}, {}),
}


@pytest.mark.parametrize("case", LEGIBLE)
def test_what_cannot_be_read_is_dropped(case: str, caplog: pytest.LogCaptureFixture) -> None:
    status, left = LEGIBLE[case]
    assert parse_status(body(status=status)) == PolicyStatus.model_validate(left)
    assert getattr(caplog.records[0], "policy", None) == "shop/checkout"


def test_orders_that_cannot_be_read_are_refused() -> None:
    with pytest.raises(ValidationError):
        standing(target={"kind": "Toaster", "name": "x"})


# All of them.


PLACE = ("Deployment", "shop", "checkout")


def test_the_policies_of_a_target_are_known() -> None:
    known = Watching()
    first, second = standing(), standing(name="second")
    known.put(first)
    known.put(second)
    assert known.of(PLACE) == {first.key, second.key}
    known.put(standing(name="second", target={"kind": "Deployment", "name": "cart"}))
    assert known.of(PLACE) == {first.key}
    known.drop(first.key)
    assert known.of(PLACE) == frozenset()
    assert known.get(first.key) is None
    known.drop(first.key)


def test_what_is_gone_is_counted_no_more() -> None:
    known = Watching()
    known.put(standing())
    known.breaching.add(("shop", "checkout"))
    known.put(standing(mode="Suspend"))
    assert (known.evaluated(), known.breaching) == (0, set())
    known.put(standing())
    assert known.evaluated() == 1
    known.drop(("shop", "checkout"))
    assert known.evaluated() == 0


def test_what_triggers_say_is_told_by_policy() -> None:
    known = Watching()
    one = standing()
    one.streaks = {"errors": said(Verdict.BREACH)}
    known.put(one)
    assert known.streaks(one.key) == one.streaks
    assert known.streaks(("shop", "nobody")) == {}


HORIZON: dict[str, tuple[Object, float]] = {
    "soak": ({"soak": "20m"}, 1200 + 60),
    "for": ({"soak": "1m", "triggers": [trigger(**{"for": "1h"}), trigger("b", interval="1m")]}, 3600 + 120),
    "consecutive": ({"soak": "1m", "triggers": [trigger(consecutive=10)]}, 300 + 60),
}


@pytest.mark.parametrize("case", HORIZON)
def test_it_is_looked_back_for_as_long_as_it_matters(case: str) -> None:
    spec, expected = HORIZON[case]
    assert horizon(standing(**spec)) == expected
