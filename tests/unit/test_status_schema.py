"""Every status that can be written is one that the API server takes: a refused write would never end.

Kopf is no safety net here, and neither is the schema: what is too long has to be cut before it is written.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollback_operator.api.common import TargetRef
from rollback_operator.api.policy import (
    MAX_LEDGER,
    MAX_TRIGGERS,
    CurrentRevision,
    Entry,
    LastRequest,
    PolicySpec,
    PolicyStatus,
    Proof,
    Verify,
)
from rollback_operator.api.reasons import Reason
from rollback_operator.api.request import MAX_TARGETS, KeptCopy, Member, Phase, PolicyRef, RequestStatus
from rollback_operator.api.trigger import HttpCheck, Trigger
from rollback_operator.core.group import advance_group
from rollback_operator.core.group.values import Sight
from rollback_operator.core.judge import Scene
from rollback_operator.core.life import advance
from rollback_operator.core.life.times import SETTLE
from rollback_operator.core.standing import Findings as Found
from rollback_operator.core.standing import status_of
from rollback_operator.core.values import (
    Examine,
    Findings,
    Health,
    Observation,
    Obstacle,
    Refused,
    Rehearse,
    Rehearsed,
    Request,
    Revision,
    Snapshot,
    Unkept,
    Wellbeing,
)
from rollback_operator.core.verdicts import Streak, Verdict
from tests.unit.builders import CHECKOUT_UID, NOW, REQUEST_UID, after, called, fingerprint, other, request, said
from tests.unit.schema import problems, schema_of

STATUS = schema_of("rollbackrequests.yaml")["properties"]["status"]
POLICY_STATUS = schema_of("rollbackpolicies.yaml")["properties"]["status"]
LONGEST_NAME = "n" * 253
NUMBER = "9" * 10
TRIGGERS = tuple(f"{'t' * 61}{number:02}" for number in range(MAX_TRIGGERS))
"""As many as there can be, with the longest names."""

texts = st.sampled_from(["", "x", "é" * 300, "🙂" * 5_000, "line\n" * 8_000, "\u0000\u2028\x7f", "x" * 40_000])
lists_of_texts = st.lists(texts, max_size=40).map(tuple)


def revisions() -> tuple[Revision, ...]:
    """The longest names and numbers that there can be."""
    return tuple(
        Revision(number, int(number), fingerprint(letter), f"ReplicaSet {LONGEST_NAME}", ("image:" + "t" * 200,) * 20)
        for number, letter in (("1", "a"), (NUMBER, "b"))
    )


def rarely(something: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.sampled_from([0, 0, 0, 0, 1]).flatmap(lambda yes: something if yes else st.none())


@st.composite
def targets(draw: st.DrawFn) -> Snapshot | None:
    history = revisions()
    return Snapshot(
        uid=draw(st.sampled_from([CHECKOUT_UID, CHECKOUT_UID, "another"])),
        generation=draw(st.integers(1, 2**62)),
        current=draw(st.sampled_from([history[1], history[1], history[0]])),
        history=draw(st.sampled_from([history, history, ()])),
        settled=draw(st.sampled_from([True, True, True, False])),
        health=Health(draw(st.sampled_from(Wellbeing)), draw(texts)),
        obstacle=draw(rarely(st.builds(Obstacle, st.just(Reason.TARGET_PAUSED), texts))),
        marks=draw(st.sampled_from([frozenset(), frozenset({REQUEST_UID})])),
        unfinished=draw(st.booleans()),
    )


@st.composite
def observations(draw: st.DrawFn) -> Observation:
    refused = st.builds(Refused, st.sampled_from([Reason.FORBIDDEN, Reason.REJECTED]), texts)
    policy = PolicySpec(
        target=TargetRef(kind="Deployment", name=LONGEST_NAME),
        service_account_name=draw(st.none() | st.just(LONGEST_NAME)),
        verify=Verify(triggers=draw(st.sampled_from([(), TRIGGERS]))),
        ledger=draw(st.sampled_from([(), (called("a", Proof.BAD, "é" * 512),), (called("a", Proof.GOOD),)])),
    )
    return Observation(
        policy=policy,
        target=draw(st.sampled_from([1, 1, 1, 0]).flatmap(lambda there: targets() if there else st.none())),
        others=tuple(draw(st.sampled_from([(), (), (), (other(LONGEST_NAME, phase=Phase.RUNNING),)]))),
        answer=draw(rarely(refused | st.builds(Unkept, texts))),
        answered=draw(st.integers(0, 5)),
        entries=draw(st.sampled_from([(), ledger()])),
        streaks=draw(st.dictionaries(st.sampled_from(TRIGGERS), st.builds(said, verdicts, seconds, texts))),
    )


def ledger() -> tuple[Entry, ...]:
    """As long as it can be; the first release proved bad, with the longest reason."""
    prints = (fingerprint("a"), *(f"v1:{number:064x}" for number in range(1, MAX_LEDGER)))
    return tuple(
        Entry(fingerprint=one, revision=NUMBER, verdict=Proof.BAD, at=after(-number), reason="🙂" * 512)
        for number, one in enumerate(prints)
    )


verdicts = st.sampled_from(Verdict)
seconds = st.sampled_from([-9.0, 9e6])
"""Before all effects, and after them."""
copies = st.sampled_from([None, KeptCopy(secret=LONGEST_NAME, required=True), KeptCopy(secret=LONGEST_NAME)])
findings = st.builds(Findings, lists_of_texts, texts, lists_of_texts, copy=copies)
many_texts = st.sampled_from([(), ("x",), tuple(f"{number} {'é' * 500}" for number in range(300))])
findings = findings | st.builds(Findings, lists_of_texts, texts, lists_of_texts, affected=many_texts, copy=copies)
found_or_missing = findings | st.builds(Findings, lists_of_texts, texts, lists_of_texts, lists_of_texts)


def written(asked: Request, seen: Observation, found: Findings, seconds: float) -> RequestStatus:
    """The status after one round, its questions answered with `found`."""
    while True:
        decision = advance(asked, seen, after(seconds))
        if isinstance(decision.action, Examine):
            seen = replace(seen, answer=found)
        elif isinstance(decision.action, Rehearse):
            seen = replace(seen, answer=Rehearsed(decision.action.plan))
        else:
            return decision.status


@st.composite
def requests(draw: st.DrawFn) -> Request:
    """A request that nobody took up yet, or one that runs, or one that is being verified."""
    stage = draw(st.integers(0, 2))
    wanted = [None, "1", fingerprint("a"), "LastKnownGood", *((NUMBER, fingerprint("x")) if not stage else ())]
    asked = request(
        name=LONGEST_NAME,
        to=draw(st.sampled_from(wanted)),
        dry_run=not stage and draw(rarely(st.just("yes"))) == "yes",
        timeout=draw(st.sampled_from(["24h", "24h", "23h59m59s999ms", "1ms"])) if not stage else "24h",
        grace=draw(st.sampled_from([None, None, "1s"])) if not stage else None,
        approve=draw(st.booleans()),
        target=None,
        policy_ref=PolicyRef(name=LONGEST_NAME),
    )
    orders = PolicySpec(target=TargetRef(kind="Deployment", name=LONGEST_NAME), verify=Verify(triggers=TRIGGERS))
    for seen in (before_the_effect(), after_the_effect())[:stage]:
        asked = replace(asked, status=written(asked, Observation(policy=orders, target=seen), draw(findings), 0))
    if draw(rarely(st.just("yes"))) == "yes":
        asked = replace(asked, spec=asked.spec.model_copy(update={"abort": True}))
    return asked


def before_the_effect() -> Snapshot:
    history = revisions()
    return Snapshot(CHECKOUT_UID, 1, history[1], history, settled=True, health=Health(Wellbeing.HEALTHY, "well"))


def after_the_effect() -> Snapshot:
    newest = Revision("1" + NUMBER, int("1" + NUMBER), fingerprint("a"))
    rolling = Health(Wellbeing.PROGRESSING, "1 of 3 pods are updated")
    return replace(before_the_effect(), current=newest, generation=2, marks=frozenset({REQUEST_UID}), health=rolling)


@settings(max_examples=300)
@given(
    requests(),
    st.lists(
        st.tuples(observations(), found_or_missing, st.sampled_from([1, 1, 1, 30, 90_000])), min_size=1, max_size=5
    ),
)
def test_whatever_happens_the_status_can_be_written(
    asked: Request, rounds: list[tuple[Observation, Findings, int]]
) -> None:
    passed = 0
    for seen, found, seconds in rounds:
        passed += seconds
        status = written(asked, seen, found, passed)
        body = status.dump()
        assert problems(STATUS, body) == []
        assert RequestStatus.model_validate(body).dump() == body
        asked = replace(asked, status=RequestStatus.model_validate(body))


def test_the_sentence_of_a_step_fits_whatever_the_target_is_called() -> None:
    """Refused for 300 characters where 256 may be, the request would have been tried for ever."""
    step = f"Replace the pod template by that of ReplicaSet {LONGEST_NAME} (revision {NUMBER})."
    asked = request(target=TargetRef(kind="Deployment", name=LONGEST_NAME))
    status = written(asked, Observation(target=before_the_effect()), Findings((step,), ""), 0)
    assert status.phase is Phase.RUNNING
    assert problems(STATUS, status.dump()) == []


def test_the_longest_name_of_a_target_fits() -> None:
    application = TargetRef(kind="Application", namespace=LONGEST_NAME, name=LONGEST_NAME)
    status = written(request(target=application), Observation(), Findings((), ""), 0)
    assert status.phase is Phase.FAILED
    assert problems(STATUS, status.dump()) == []
    orders = PolicySpec(target=application)
    of_policy = status_of(orders, PolicyStatus(), Scene("checkout", "uid", None, {}), Found(2**62), NOW)
    assert problems(POLICY_STATUS, of_policy.dump()) == []


def test_the_longest_plan_leaves_room_in_what_etcd_takes() -> None:
    """A request to etcd may have 1.5 MiB, whatever characters it is written in."""
    wide = "🙂" * 40_000
    everything = tuple(f"{number} {wide}" for number in range(300))
    found = Findings((wide,) * 16, wide, (wide,) * 16, affected=everything, copy=KeptCopy(secret=LONGEST_NAME))
    status = written(request(), Observation(target=before_the_effect()), found, 0)
    assert status.phase is Phase.RUNNING
    plan = status.targets[0].plan
    assert plan is not None
    assert (len(plan.affected or ()), "plan.affected names the first 256 of 300 objects." in plan.notes) == (256, True)
    assert len(json.dumps(status.dump(), ensure_ascii=False).encode()) < 2**19 + 2**16


def test_a_status_with_everything_that_a_request_can_have_is_written() -> None:
    """Planned, attempted, failing, and ended after all: each field of the schema is used by then."""
    asked = request()
    target, rolled = before_the_effect(), replace(after_the_effect(), health=Health(Wellbeing.FAILING, "pod x: no"))
    found = Findings(("Replace it.",), "+a\n", ("A note.",), copy=KeptCopy(secret="copy", path="/apis"))
    for seen, seconds in ((target, 0.0), (target, 1), (rolled, 2), (rolled, 3), (rolled, 601)):
        status = written(asked, Observation(target=seen), found, seconds)
        assert problems(STATUS, status.dump()) == []
        asked = replace(asked, status=RequestStatus.model_validate(status.dump()))
    assert asked.status.phase is Phase.FAILED
    assert set(asked.status.dump()) == set(STATUS["properties"])
    assert set(asked.status.dump()["targets"][0]) | OF_GROUPS == set(
        STATUS["properties"]["targets"]["items"]["properties"]
    )


OF_GROUPS = {"request", "fingerprint", "message", "owner"}
"""What only a group says of its targets."""


def test_the_longest_status_of_a_group_is_written() -> None:
    """Sixteen targets with the longest names fail, each with all that can be said."""
    refs = [TargetRef(kind="Deployment", name=f"{'t' * 251}{number:02}") for number in range(MAX_TARGETS)]
    asked = request(target=None, targets=tuple(Member(target=ref) for ref in refs))
    owners = {
        str(ref): TargetRef(kind="Application", namespace=LONGEST_NAME, name=f"{'a' * 251}{number:02}")
        for number, ref in enumerate(refs)
    }
    sight = Sight({str(ref): before_the_effect() for ref in refs}, instead=owners)
    for seconds in (0.0, 1.0):
        status = advance_group(asked, sight, after(seconds)).status
        assert problems(STATUS, status.dump()) == []
        asked = replace(asked, status=RequestStatus.model_validate(status.dump()))
        names = [one.request for one in asked.status.targets if one.request is not None]
        sight = Sight(
            refused=dict.fromkeys(names, Refused(Reason.REJECTED, EVERYTHING)), answered=dict.fromkeys(names, 1)
        )
    assert asked.status.phase is Phase.FAILED
    assert set(asked.status.dump()["targets"][0]) >= OF_GROUPS


EVERYTHING = "é" * 5000


def watched() -> tuple[PolicySpec, Scene]:
    """A policy with as many triggers as there can be, about all of which much is said."""
    triggers = tuple(Trigger(name=name, http=HttpCheck(url="http://checkout:8080")) for name in TRIGGERS)
    current = CurrentRevision(uid="u" * 64, revision=NUMBER, fingerprint=fingerprint("a"), since=NOW)
    streak = replace(said(Verdict.BREACH, 5, EVERYTHING), value=EVERYTHING, count=9)
    streaks: dict[str, Streak] = dict.fromkeys(TRIGGERS, streak)
    orders = PolicySpec(
        target=TargetRef(kind="Deployment", name=LONGEST_NAME),
        triggers=triggers,
        ledger=(called("b", Proof.GOOD),),
    )
    scene = Scene(LONGEST_NAME, "uid", current, streaks, excused=frozenset(TRIGGERS[:1]), entries=ledger())
    return orders, scene


def test_a_policys_status_with_everything_that_it_can_have_is_written() -> None:
    orders, scene = watched()
    words = (Reason.COULD_NOT_ROLL_BACK, EVERYTHING)
    found = Found(
        2**62, trouble=words, disarmed=words, alert=words, last_request=LastRequest(name=LONGEST_NAME, at=NOW)
    )
    body = status_of(orders, PolicyStatus(), scene, found, NOW).dump()
    assert problems(POLICY_STATUS, body) == []
    assert PolicyStatus.model_validate(body).dump() == body
    assert set(body) == set(POLICY_STATUS["properties"])
    assert set(body["triggers"][0]) == set(POLICY_STATUS["properties"]["triggers"]["items"]["properties"])


@pytest.mark.parametrize("name", ["checkout", LONGEST_NAME])
def test_the_status_of_a_policy_without_triggers_is_written(name: str) -> None:
    spec = PolicySpec(target=TargetRef(kind="Deployment", name=name))
    status = status_of(spec, PolicyStatus(), Scene("checkout", "uid", None, {}), Found(2**62), NOW)
    assert problems(POLICY_STATUS, status.dump()) == []
    assert PolicyStatus.model_validate(status.dump()) == status


LIES: dict[str, tuple[dict[str, Any], str]] = {
    "a text that is too long": ({"duration": "x" * 33}, ".duration: 33 characters"),
    "a field that is not there": ({"approved": True}, ".approved would be lost"),
    "a phase that is none": ({"phase": "Done"}, "'Done' is none of"),
    "a number for a text": ({"target": 3}, "3 is no string"),
    "a time that is none": ({"startedAt": "yesterday"}, "'yesterday' is no time"),
    "a missing field": ({"targets": [{"target": "Deployment/a"}]}, ".targets[0].phase is required"),
    "the same condition twice": (
        {"conditions": [dict.fromkeys(("type", "status", "reason", "message", "lastTransitionTime"), "x")] * 2},
        ".conditions: a key stands twice",
    ),
    "too many targets": ({"targets": [{}] * 17}, ".targets: 17 items"),
}


@pytest.mark.parametrize("case", LIES)
def test_the_reader_of_the_schema_notices(case: str) -> None:
    value, expected = LIES[case]
    assert any(expected in problem for problem in problems(STATUS, value))
    assert timedelta() < SETTLE
