"""A request that has done nothing yet: whose turn it is, which revision, what would be done."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from rollback_operator.api.common import TargetRef
from rollback_operator.api.policy import Correction, Entry, Proof, Verify
from rollback_operator.api.reasons import Reason
from rollback_operator.api.request import Phase, PolicyRef, RequestStatus, StepState
from rollback_operator.core import conditions as on
from rollback_operator.core import progress
from rollback_operator.core.half import half_of
from rollback_operator.core.life import advance
from rollback_operator.core.life.times import CONTROLLER_POLL, HEALTH_POLL, POLICY_GRACE, QUEUE_POLL, verify_deadline
from rollback_operator.core.values import (
    Apply,
    Examine,
    Findings,
    Observation,
    Refused,
    Rehearse,
    Request,
    Snapshot,
)
from tests.unit.builders import (
    CHECKOUT_UID,
    FINDINGS,
    NOW,
    PAUSED,
    after,
    called,
    changed,
    decide,
    entry,
    fingerprint,
    message,
    other,
    policy,
    request,
    running,
    snapshot,
    states,
    step_on,
    why,
)

BY_POLICY: dict[str, Any] = {"policy_ref": PolicyRef(name="checkout")}
NOTHING_GOOD = "Nothing earlier has proved good yet, so LastKnownGood means Previous."
MISSING = Findings(steps=("Replace it.",), diff="", missing=("Secret db", "ConfigMap web (key theme)"))
DENIED = Refused(Reason.FORBIDDEN, "Service account shop/rollback may not patch Deployment checkout.")

ENDINGS: dict[str, tuple[Request, Observation, Phase, Reason, str]] = {
    "an abort before anything else": (
        request(abort=True),
        Observation(target=snapshot()),
        Phase.ABORTED,
        Reason.ABORTED,
        "Aborted before anything was changed.",
    ),
    "an abort while its policy is missing": (
        request(**BY_POLICY, abort=True),
        Observation(),
        Phase.ABORTED,
        Reason.ABORTED,
        "Aborted before anything was changed.",
    ),
    "a target that is not there": (
        request(),
        Observation(),
        Phase.FAILED,
        Reason.TARGET_NOT_FOUND,
        "There is no Deployment checkout in namespace shop. A request rolls back what is in its own namespace",
    ),
    "a paused target": (
        request(),
        Observation(target=snapshot(obstacle=PAUSED)),
        Phase.FAILED,
        Reason.TARGET_PAUSED,
        "is paused: resume it",
    ),
    "a revision that is not there": (
        request(to="7"),
        Observation(target=snapshot()),
        Phase.FAILED,
        Reason.REVISION_NOT_FOUND,
        "Deployment/checkout has no revision 7: it has 1, 2 and 3.",
    ),
    "a fingerprint that is not there": (
        request(to=fingerprint("x")),
        Observation(target=snapshot()),
        Phase.FAILED,
        Reason.REVISION_NOT_FOUND,
        f"has no revision {fingerprint('x')}",
    ),
    "a first release": (
        request(),
        Observation(target=snapshot("a")),
        Phase.FAILED,
        Reason.NOTHING_TO_ROLL_BACK_TO,
        "has no revision before 1. Older ones are removed by its revisionHistoryLimit. To go back now",
    ),
    "only revisions that were rolled back from": (
        request(),
        Observation(
            target=snapshot("ab"),
            others=(other("tuesday", phase=Phase.SUCCEEDED, applied=True, left=fingerprint("a")),),
        ),
        Phase.FAILED,
        Reason.NOTHING_TO_ROLL_BACK_TO,
        "no earlier revision that does not count as bad: 1 (tuesday rolled back from it).",
    ),
    "the revision that stands": (
        request(to="3"),
        Observation(target=snapshot()),
        Phase.SUCCEEDED,
        Reason.ALREADY_AT_REVISION,
        "Deployment/checkout already has the template of revision 3: nothing was changed.",
    ),
    "the same release under an older number, with a tag that may have moved": (
        request(to="1"),
        Observation(target=snapshot("aba", tags=("shop:latest",))),
        Phase.SUCCEEDED,
        Reason.ALREADY_AT_REVISION,
        "It uses shop:latest: a tag that was moved cannot be brought back by its name.",
    ),
    "a mere restart before it": (
        request(),
        Observation(target=snapshot("aa")),
        Phase.SUCCEEDED,
        Reason.ALREADY_AT_REVISION,
        "already has the template of revision 1",
    ),
    "what the revision needs is gone": (
        request(),
        Observation(target=snapshot(), answer=MISSING),
        Phase.FAILED,
        Reason.MISSING_DEPENDENCY,
        "Revision 2 of Deployment/checkout needs what is no longer there: Secret db, ConfigMap web (key theme).",
    ),
    "the operator may not even look": (
        request(),
        Observation(answer=Refused(Reason.FORBIDDEN, "The operator's own rights do not suffice")),
        Phase.FAILED,
        Reason.FORBIDDEN,
        "The operator's own rights do not suffice",
    ),
    "a dry run that the API server refuses": (
        request(dry_run=True),
        Observation(target=snapshot(), answer=DENIED),
        Phase.FAILED,
        Reason.FORBIDDEN,
        "may not patch Deployment checkout",
    ),
    "a policy that does not come": (
        request(**BY_POLICY, created=NOW - POLICY_GRACE),
        Observation(),
        Phase.FAILED,
        Reason.POLICY_NOT_FOUND,
        "There is no RollbackPolicy checkout in namespace shop.",
    ),
}


@pytest.mark.parametrize("case", ENDINGS)
def test_it_ends_at_once_for(case: str) -> None:
    asked, seen, phase, reason, says = ENDINGS[case]
    decision = advance(asked, seen, NOW)
    assert (decision.status.phase, why(decision.status)) == (phase, reason)
    assert says in message(decision.status)
    assert (decision.action, decision.again) == (None, None)
    assert decision.status.target in (None, "Deployment/checkout")
    assert (decision.status.target is None) == (asked.spec.policy_ref is not None and seen.policy is None)
    good = phase is Phase.SUCCEEDED
    expected = {on.APPLIED: "False", on.READY: "True" if good else "False"}
    assert states(decision.status) == (expected if good else {**expected, on.STALLED: "True"})
    assert message(decision.status, on.APPLIED) == "Nothing was changed."
    assert decision.status.finished_at == NOW
    assert decision.status.started_at == NOW


WAITS: dict[str, tuple[Request, Observation, Reason, str, timedelta]] = {
    "the one before it": (
        request(),
        Observation(target=snapshot(), others=(other("earlier"),)),
        Reason.QUEUED,
        "Waiting for earlier, which is rolling back Deployment/checkout and came first.",
        QUEUE_POLL,
    ),
    "a younger one that has begun": (
        request(),
        Observation(target=snapshot(), others=(other("quick", age=-5, phase=Phase.RUNNING),)),
        Reason.QUEUED,
        "Waiting for quick",
        QUEUE_POLL,
    ),
    "the one before it, although its target is gone": (
        request(),
        Observation(others=(other("earlier"),)),
        Reason.QUEUED,
        "Waiting for earlier",
        QUEUE_POLL,
    ),
    "its policy": (
        request(**BY_POLICY),
        Observation(),
        Reason.WAITING_FOR_POLICY,
        "Waiting for RollbackPolicy checkout to be created.",
        timedelta(seconds=1),
    ),
    "the controller to number the newest revision": (
        request(),
        Observation(target=snapshot(settled=False)),
        Reason.WAITING_FOR_CONTROLLER,
        "Deployment/checkout was changed a moment ago; waiting for its controller to number the revision.",
        CONTROLLER_POLL,
    ),
}


@pytest.mark.parametrize("case", WAITS)
def test_it_waits_for(case: str) -> None:
    asked, seen, reason, says, again = WAITS[case]
    decision = advance(asked, seen, NOW)
    assert decision.status.phase is Phase.PENDING
    assert why(decision.status) == reason
    assert says in message(decision.status)
    assert states(decision.status) == {on.READY: "False", on.RECONCILING: "True"}
    assert (decision.action, decision.again) == (None, again)
    assert decision.status.observed_generation == asked.generation


@pytest.mark.parametrize("case", WAITS)
def test_it_writes_once_that_it_waits_for(case: str) -> None:
    asked, seen, *_ = WAITS[case]
    once = step_on(asked, advance(asked, seen, NOW))
    again = advance(once, seen, after(3))
    assert again.status == once.status


def test_waiting_in_the_queue_does_not_start_the_clock() -> None:
    seen = Observation(target=snapshot(), others=(other("earlier"),))
    queued = step_on(request(timeout="1m"), advance(request(timeout="1m"), seen, NOW))
    assert queued.status.started_at is None
    later = decide(queued, Observation(target=snapshot()), after(3600))
    assert isinstance(later.action, Apply)
    assert later.status.started_at == after(3600)


def test_a_controller_that_never_comes_ends_it_at_its_timeout() -> None:
    seen = Observation(target=snapshot(settled=False))
    asked = request(timeout="1m")
    waiting = step_on(asked, advance(asked, seen, NOW))
    assert waiting.status.started_at == NOW
    assert advance(waiting, seen, after(59.9)).status == waiting.status
    ended = advance(waiting, seen, after(60)).status
    assert (ended.phase, why(ended)) == (Phase.FAILED, Reason.TIMEOUT)
    assert message(ended) == (
        "Deployment/checkout was not rolled back within 1m: nothing was changed. "
        "Its Events say what it waited for; if it is still wanted, write a new request, perhaps with a longer timeout."
    )
    assert states(ended)[on.APPLIED] == "False"


def test_a_controller_that_comes_back_too_late_starts_no_effect() -> None:
    asked = request(timeout="1m")
    waiting = step_on(asked, advance(asked, Observation(target=snapshot(settled=False)), NOW))
    decision = advance(waiting, Observation(target=snapshot()), after(61))
    assert (decision.status.phase, why(decision.status)) == (Phase.FAILED, Reason.TIMEOUT)
    assert decision.action is None


def test_an_abort_in_the_queue_ends_it_at_once() -> None:
    seen = Observation(target=snapshot(), others=(other("earlier", phase=Phase.RUNNING),))
    queued = step_on(request(), advance(request(), seen, NOW))
    aborted = advance(request(queued.status, abort=True, generation=2), seen, after(5)).status
    assert (aborted.phase, why(aborted)) == (Phase.ABORTED, Reason.ABORTED)
    assert on.find(aborted.conditions, on.RECONCILING) is None
    assert aborted.observed_generation == 2
    assert aborted.target == "Deployment/checkout"


def test_a_policy_that_comes_within_the_grace_is_used() -> None:
    asked = request(**BY_POLICY)
    waiting = step_on(asked, advance(asked, Observation(), NOW))
    decision = advance(waiting, Observation(policy=policy(), target=snapshot()), after(2))
    assert isinstance(decision.action, Examine)


def test_a_policy_that_came_while_the_operator_was_down_is_not_used_any_more() -> None:
    for asked, last in (
        (request(**BY_POLICY, timeout="1m"), 60),
        (request(**BY_POLICY, timeout="1m", grace="5m"), 360),
    ):
        waiting = step_on(asked, advance(asked, Observation(), NOW))
        assert why(waiting.status) == Reason.WAITING_FOR_POLICY
        come = Observation(policy=policy(), target=snapshot())
        assert isinstance(advance(waiting, come, after(last - 0.1)).action, Examine)
        late = advance(waiting, come, after(last))
        assert (late.status.phase, why(late.status), late.action) == (Phase.FAILED, Reason.TIMEOUT, None)


def going_by_the_owner() -> Request:
    asked = request(timeout="1m")
    release = TargetRef(kind="Helm", name="shop")
    return replace(asked, status=progress.going_by(asked, NOW, release, "Release shop manages it."))


def test_a_request_that_went_by_the_owner_before_the_operator_was_down_starts_no_effect_too_late() -> None:
    seen = Observation(target=snapshot())
    assert isinstance(decide(going_by_the_owner(), seen, after(59.9)).action, Apply)
    late = decide(going_by_the_owner(), seen, after(60))
    assert (late.status.phase, why(late.status), late.action) == (Phase.FAILED, Reason.TIMEOUT, None)


def test_waiting_in_the_owners_line_costs_nothing_either() -> None:
    asked = going_by_the_owner()
    queued = step_on(asked, advance(asked, Observation(target=snapshot(), others=(other("earlier"),)), after(1)))
    assert (why(queued.status), queued.status.started_at) == (Reason.QUEUED, None)
    assert isinstance(decide(queued, Observation(target=snapshot()), after(3600)).action, Apply)


# Who rolled back meanwhile.

SAME_NIGHT: dict[str, tuple[str | None, float, bool]] = {
    "the one before it ended while this one waited": (None, 5, True),
    "it ended in the second in which this one was written": (None, 0, True),
    "it had ended before this one was written": (None, -1, False),
    "this one names its revision": ("1", 5, False),
}


@pytest.mark.parametrize("case", SAME_NIGHT)
def test_two_who_ask_for_the_same_mean_one_rollback(case: str) -> None:
    to, ended_at, superseded = SAME_NIGHT[case]
    before = other("alice", phase=Phase.SUCCEEDED, applied=True, left=fingerprint("c"), finished=after(ended_at))
    decision = decide(request(to=to), Observation(target=snapshot("a.cb"), others=(before,)), after(30))
    if superseded:
        assert (decision.status.phase, why(decision.status)) == (Phase.SUPERSEDED, Reason.ALREADY_ROLLED_BACK)
        assert "alice rolled Deployment/checkout back while this request was waiting" in message(decision.status)
        assert "If revision 4, which stands now, is bad too, write a new request" in message(decision.status)
        assert states(decision.status)[on.APPLIED] == "False"
    else:
        assert isinstance(decision.action, Apply)
        assert decision.action.plan.to.revision == "1"


def test_one_that_says_which_release_it_is_about_is_superseded_by_no_rollback_of_it_that_was_taken_back() -> None:
    """The release that was rolled back a moment ago is back: times of creation are whole seconds, and tell nothing."""
    before = other("alice", phase=Phase.SUCCEEDED, applied=True, left=fingerprint("c"), finished=after(0.5))
    seen = Observation(target=snapshot("a.cb"), others=(before,))
    stands = seen.target
    assert stands is not None

    decision = decide(request(from_=stands.current.fingerprint), seen, after(1))

    assert isinstance(decision.action, Apply)


def test_what_failed_over_a_release_may_be_named_by_that_release() -> None:
    """As operators of before did, who knew no other name for it."""
    seen = snapshot()
    torn = replace(seen, current=replace(seen.current, fingerprint=half_of(seen.current.fingerprint)))

    decision = decide(request(from_=seen.current.fingerprint), Observation(target=torn))

    assert isinstance(decision.action, Apply)


def test_two_policies_requests_for_the_last_known_good_mean_one_rollback() -> None:
    before = other("alice", phase=Phase.SUCCEEDED, applied=True, left=fingerprint("c"), finished=after(5))
    seen = Observation(
        policy=policy(to="LastKnownGood"), target=snapshot("a.cb"), others=(before,), entries=(entry("a"),)
    )
    status = decide(request(**BY_POLICY), seen, after(30)).status
    assert (status.phase, why(status)) == (Phase.SUPERSEDED, Reason.ALREADY_ROLLED_BACK)


def test_a_request_that_made_no_effect_supersedes_nobody() -> None:
    failed = other("alice", phase=Phase.FAILED, left=fingerprint("c"), finished=after(5))
    decision = decide(request(), Observation(target=snapshot(), others=(failed,)))
    assert isinstance(decision.action, Apply)


# The plan.


def test_it_asks_what_the_revision_needs_before_it_plans() -> None:
    decision = advance(request(), Observation(target=snapshot()), NOW)
    assert isinstance(decision.action, Examine)
    assert decision.action.to.name == "2"
    assert decision.status == request().status


def test_the_plan_is_in_the_status_that_is_written_before_the_effect() -> None:
    decision = decide(request(), Observation(target=snapshot()), after(1.5))
    assert isinstance(decision.action, Apply)
    status = decision.status
    (mine,) = status.targets
    assert mine.plan == decision.action.plan
    plan = decision.action.plan
    assert plan.uid == CHECKOUT_UID
    assert (plan.from_.revision, plan.from_.fingerprint) == ("3", fingerprint("c"))
    assert (plan.to.revision, plan.to.fingerprint) == ("2", fingerprint("b"))
    assert (plan.steps, plan.diff) == (FINDINGS.steps, FINDINGS.diff)
    (step,) = mine.steps
    assert (step.state, step.attempts, step.last_attempt_at) == (StepState.RUNNING, 1, after(1.5))
    assert (status.phase, why(status)) == (Phase.RUNNING, Reason.APPLYING)
    assert (status.target, status.from_, status.to) == ("Deployment/checkout", "3", "2")
    assert (mine.target, mine.from_, mine.to, mine.phase) == ("Deployment/checkout", "3", "2", Phase.RUNNING)
    assert states(status) == {on.PLANNED: "True", on.READY: "False", on.RECONCILING: "True"}
    assert message(status) == "Rolling Deployment/checkout back from revision 3 to 2."
    assert status.started_at == after(1.5)


def test_the_digest_of_a_plan_is_that_of_what_it_says() -> None:
    (one,) = running().status.targets
    (same,) = running().status.targets
    (different,) = running(to="1").status.targets
    assert one.plan is not None
    assert same.plan is not None
    assert different.plan is not None
    assert one.plan.digest.startswith("sha256:")
    assert one.plan.digest == same.plan.digest != different.plan.digest


WHOSE_RIGHTS: dict[str, tuple[dict[str, Any], str | None, str]] = {
    "the setting, if nobody says": ({}, None, "rollback"),
    "the policy's, if the request does not say": (BY_POLICY, "shop-rollback", "shop-rollback"),
    "the request's, whatever the policy says": (
        {**BY_POLICY, "service_account_name": "mine"},
        "shop-rollback",
        "mine",
    ),
    "the request's own without a policy": ({"service_account_name": "mine"}, None, "mine"),
}


@pytest.mark.parametrize("case", WHOSE_RIGHTS)
def test_it_runs_with_the_rights_of(case: str) -> None:
    fields, of_policy, expected = WHOSE_RIGHTS[case]
    orders = policy(service_account_name=of_policy) if "policy_ref" in fields else None
    seen = Observation(policy=orders, target=snapshot())
    decision = decide(request(**fields), seen)
    assert isinstance(decision.action, Apply)
    assert decision.action.plan.service_account_name == expected


def test_the_plan_remembers_what_the_policy_says_about_verification() -> None:
    orders = policy(verify=Verify(timeout="90s", triggers=("errors", "probe")), to="1")
    decision = decide(request(**BY_POLICY), Observation(policy=orders, target=snapshot()))
    assert isinstance(decision.action, Apply)
    assert decision.action.plan.verify_timeout == "90s"
    assert decision.action.plan.verify_triggers == ("errors", "probe")
    assert decision.action.plan.to.revision == "1"


def test_what_the_request_names_goes_before_what_the_policy_names() -> None:
    orders = policy(to="1")
    decision = decide(request(**BY_POLICY, to="2"), Observation(policy=orders, target=snapshot()))
    assert isinstance(decision.action, Apply)
    assert decision.action.plan.to.revision == "2"


# Last known good.

LEDGERS: dict[str, tuple[tuple[Entry, ...], tuple[Correction, ...], str, tuple[str, ...]]] = {
    "the newest that proved good": ((entry("b"), entry("a")), (), "2", ()),
    "the one that proved good, not the one before": ((entry("a"),), (), "1", ()),
    "the one before, until something proved good": ((), (), "3", (NOTHING_GOOD,)),
    "no bad one": (
        (entry("c", Proof.BAD, reason="tuesday rolled back from it"),),
        (),
        "2",
        (NOTHING_GOOD, "Skipped revision 3: tuesday rolled back from it."),
    ),
    "what people call good": ((entry("a"),), (called("c", Proof.GOOD),), "3", ()),
    "what people call good, although it proved bad": ((entry("c", Proof.BAD),), (called("c", Proof.GOOD),), "3", ()),
    "nothing that people call bad, although it proved good": (
        (entry("b"), entry("c")),
        (called("c", Proof.BAD, "INC-7"),),
        "2",
        (),
    ),
    "nothing that people call bad, and what they say of it is in the plan": (
        (),
        (called("c", Proof.BAD, "INC-7"), called("b", Proof.BAD)),
        "1",
        (
            NOTHING_GOOD,
            "Skipped revision 3: the policy's spec.ledger calls it bad: INC-7.",
            "Skipped revision 2: the policy's spec.ledger calls it bad.",
        ),
    ),
}


@pytest.mark.parametrize("case", LEDGERS)
def test_a_policys_last_known_good_is(case: str) -> None:
    entries, corrections, to, notes = LEDGERS[case]
    seen = Observation(policy=policy(ledger=corrections), target=snapshot("abcd"), entries=entries)
    decision = decide(request(**BY_POLICY), seen)
    assert isinstance(decision.action, Apply)
    assert (decision.action.plan.to.revision, decision.action.plan.notes) == (to, notes)


def test_what_an_earlier_request_rolled_back_from_is_not_good_unless_people_say_so() -> None:
    left = other("tuesday", phase=Phase.SUCCEEDED, applied=True, left=fingerprint("c"), finished=after(-30))
    for corrections, to in ((), "2"), ((called("c", Proof.GOOD),), "3"):
        seen = Observation(
            policy=policy(ledger=corrections), target=snapshot("abcd"), others=(left,), entries=(entry("b"), entry("c"))
        )
        decision = decide(request(**BY_POLICY), seen)
        assert isinstance(decision.action, Apply)
        assert decision.action.plan.to.revision == to


def test_a_request_may_ask_for_the_last_known_good_of_a_policy_that_says_otherwise() -> None:
    seen = Observation(policy=policy(to="Previous"), target=snapshot("abcd"), entries=(entry("a"),))
    for to, expected in ((None, "3"), ("LastKnownGood", "1")):
        decision = decide(request(**BY_POLICY, to=to), seen)
        assert isinstance(decision.action, Apply)
        assert decision.action.plan.to.revision == expected


# People are asked first.

GRACE = timedelta(minutes=5)


def graced(seen: Snapshot | None = None, **fields: Any) -> Request:
    """A request in its grace of five minutes, first looked at when it was made; the release is revision 3, c."""
    asked = request(grace="5m", **fields)
    decision = advance(asked, Observation(target=seen or snapshot()), NOW)
    assert decision.status.phase is Phase.AWAITING_APPROVAL
    return step_on(asked, decision)


def test_in_its_grace_a_request_waits_for_people_and_says_what_they_can_do() -> None:
    decision = advance(request(grace="5m"), Observation(target=snapshot()), after(1))
    status = decision.status
    assert (status.phase, why(status)) == (Phase.AWAITING_APPROVAL, Reason.AWAITING_APPROVAL)
    assert message(status) == (
        "Deployment/checkout will be rolled back at 03:05:00 UTC. To do it now: approve: true; to prevent it: "
        'abort: true (kubectl -n shop patch rbr undo --type merge -p \'{"spec":{"abort":true}}\').'
    )
    assert states(status) == {on.READY: "False", on.RECONCILING: "True"}
    assert (status.target, status.from_, status.to) == ("Deployment/checkout", "3", None)
    assert (status.started_at, status.targets) == (None, ())
    assert (decision.action, decision.again) == (None, timedelta(seconds=299))


def test_in_its_grace_it_writes_once() -> None:
    decision = advance(graced(), Observation(target=snapshot("abcd")), after(100))
    assert decision.status == graced().status
    assert (decision.action, decision.again) == (None, timedelta(seconds=200))


def test_it_runs_by_itself_when_its_grace_is_over() -> None:
    seen = Observation(target=snapshot())
    assert decide(graced(), seen, NOW + GRACE - timedelta(milliseconds=1)).status == graced().status
    decision = decide(graced(), seen, NOW + GRACE)
    assert isinstance(decision.action, Apply)
    assert decision.status.started_at == NOW + GRACE


@pytest.mark.parametrize("asked", [graced(), request(grace="5m")], ids=["seen before", "not seen before"])
def test_an_approval_lets_it_run_at_once(asked: Request) -> None:
    decision = decide(changed(asked, approve=True), Observation(target=snapshot()), after(10))
    assert isinstance(decision.action, Apply)
    assert decision.status.started_at == after(10)


@pytest.mark.parametrize("fields", [{"abort": True}, {"abort": True, "approve": True}], ids=str)
@pytest.mark.parametrize("at", [10, 300, 9999])
def test_an_abort_vetoes_it(fields: dict[str, bool], at: float) -> None:
    decision = advance(changed(graced(), **fields), Observation(target=snapshot()), after(at))
    assert (decision.status.phase, why(decision.status)) == (Phase.ABORTED, Reason.ABORTED)
    assert message(decision.status) == "Aborted before anything was changed."
    assert states(decision.status)[on.APPLIED] == "False"
    assert decision.action is None


def test_its_timeout_counts_from_when_it_may_run() -> None:
    decision = decide(graced(timeout="1m"), Observation(target=snapshot()), after(310))
    begun = step_on(graced(timeout="1m"), decision)
    assert verify_deadline(begun) == after(370)


NOBODY_LOOKED: dict[str, Request] = {
    "in its grace": graced(timeout="1m"),
    "before it was looked at": request(grace="5m", timeout="1m"),
    "in its grace, when it was approved": changed(graced(timeout="1m"), approve=True),
    "before it was looked at, and it was approved": request(grace="5m", timeout="1m", approve=True),
}


@pytest.mark.parametrize("case", NOBODY_LOOKED)
def test_it_starts_no_effect_when_its_time_passed_while_the_operator_was_down(case: str) -> None:
    in_time = decide(NOBODY_LOOKED[case], Observation(target=snapshot()), after(359.9))
    assert isinstance(in_time.action, Apply)
    late = decide(NOBODY_LOOKED[case], Observation(target=snapshot()), after(360))
    assert (late.status.phase, why(late.status)) == (Phase.FAILED, Reason.TIMEOUT)
    assert late.action is None


def test_what_waits_for_people_holds_nobody_up_and_is_superseded_by_whoever_went_first() -> None:
    waits = other("waits", age=60, phase=Phase.AWAITING_APPROVAL, graced=True)
    assert isinstance(decide(request(), Observation(target=snapshot(), others=(waits,))).action, Apply)
    quick = other("quick", age=-10, phase=Phase.VERIFYING, applied=True, left=fingerprint("c"))
    queued = step_on(graced(), advance(graced(), Observation(target=snapshot("a.cb"), others=(quick,)), after(300)))
    assert (queued.status.phase, why(queued.status)) == (Phase.PENDING, Reason.QUEUED)
    done = replace(quick, phase=Phase.SUCCEEDED, finished=after(301))
    for asked in (queued, graced()):
        status = decide(asked, Observation(target=snapshot("a.cb"), others=(done,)), after(302)).status
        assert (status.phase, why(status)) == (Phase.SUPERSEDED, Reason.ALREADY_ROLLED_BACK)
        assert states(status)[on.APPLIED] == "False"


MEANWHILE: dict[str, tuple[str | None, Snapshot, str | None]] = {
    "nothing": (None, snapshot(), "2"),
    "a restart": (None, snapshot("abcc"), "2"),
    "a restart, and the release's old ReplicaSet was removed": (None, snapshot("ab.c"), None),
    "another release": (None, snapshot("abcd"), None),
    "another release, whatever revision was asked for": ("1", snapshot("abcd"), None),
    "a return to an earlier one": (None, snapshot("a.cb"), None),
}


@pytest.mark.parametrize("case", MEANWHILE)
@pytest.mark.parametrize("approved", [False, True])
def test_people_are_asked_about_one_release_and_meanwhile_came(case: str, *, approved: bool) -> None:
    """A release that nobody was asked about is not rolled back: it may be the very remedy."""
    to, target, goes_to = MEANWHILE[case]
    asked = changed(graced(to=to), approve=approved)
    decision = decide(asked, Observation(target=target), after(300))
    if goes_to is not None:
        assert isinstance(decision.action, Apply)
        assert decision.action.plan.to.revision == goes_to
        return
    assert (decision.status.phase, why(decision.status)) == (Phase.SUPERSEDED, Reason.NEWER_RELEASE)
    assert message(decision.status) == (
        "Deployment/checkout moved on from revision 3 while people were asked: nothing was changed. "
        "If the new release is bad too, write a new request."
    )
    assert (decision.status.from_, decision.action) == ("3", None)


def test_what_people_are_asked_about_is_noted_once_its_controller_numbered_it() -> None:
    asked = request(grace="5m")
    first = advance(asked, Observation(target=snapshot(settled=False)), NOW)
    assert (first.status.phase, first.status.from_, first.again) == (Phase.AWAITING_APPROVAL, None, HEALTH_POLL)
    second = advance(step_on(asked, first), Observation(target=snapshot("abcd")), after(5))
    assert second.status.from_ == "4"
    third = advance(step_on(asked, second), Observation(target=snapshot("abcde")), after(9))
    assert third.status.from_ == "4"


ELSEWHERE: dict[str, tuple[RequestStatus, str]] = {
    "while people are asked": (RequestStatus(phase=Phase.AWAITING_APPROVAL, from_="3"), "Deployment/checkout"),
    "while it waits in line": (RequestStatus(phase=Phase.PENDING), "Deployment/checkout"),
    "of another namespace": (RequestStatus(phase=Phase.PENDING), "Application/argocd/checkout"),
}


@pytest.mark.parametrize("case", ELSEWHERE)
@pytest.mark.parametrize("fields", [{}, {"approve": True}, {"abort": True}], ids=["waiting", "approved", "aborted"])
def test_a_policy_that_is_pointed_elsewhere_takes_no_request_with_it(case: str, fields: dict[str, Any]) -> None:
    """Nobody was asked about the other object."""
    status, target = ELSEWHERE[case]
    status = status.model_copy(update={"target": target})
    kind = target.partition("/")[0]
    asked = request(status, **BY_POLICY, grace="5m", **fields)
    cart = policy(target=TargetRef.model_validate({"kind": kind, "name": "cart"}))
    ended = decide(asked, Observation(policy=cart, target=snapshot()), after(10)).status
    assert (ended.target, ended.targets) == (target, ())
    if fields.get("abort"):
        assert (ended.phase, why(ended)) == (Phase.ABORTED, Reason.ABORTED)
        return
    assert (ended.phase, why(ended)) == (Phase.SUPERSEDED, Reason.POLICY_CHANGED)
    assert message(ended) == (
        f"RollbackPolicy checkout was about {target} when this request was taken up, and is about {kind}/cart now: "
        "nothing was changed. Write a new request for what is to be rolled back."
    )


def test_a_policy_that_only_spells_its_target_otherwise_is_about_the_same() -> None:
    status = RequestStatus(phase=Phase.PENDING, target="Application/shop")
    same = policy(target=TargetRef(kind="Application", name="shop", namespace="shop"))
    assert isinstance(
        advance(request(status, **BY_POLICY), Observation(policy=same, target=snapshot()), after(10)).action, Examine
    )


def test_in_its_grace_a_request_may_be_about_a_target_that_is_not_there_yet() -> None:
    waiting = advance(request(grace="5m"), Observation(), NOW)
    assert (waiting.status.phase, waiting.status.from_, waiting.again) == (Phase.AWAITING_APPROVAL, None, GRACE)
    ended = advance(step_on(request(grace="5m"), waiting), Observation(), NOW + GRACE).status
    assert (ended.phase, why(ended)) == (Phase.FAILED, Reason.TARGET_NOT_FOUND)


def test_a_request_without_a_grace_waits_for_nobody_although_the_clock_that_dated_it_is_ahead() -> None:
    decision = decide(request(created=after(2)), Observation(target=snapshot()))
    assert isinstance(decision.action, Apply)


def test_a_dry_run_asks_nobody() -> None:
    decision = decide(request(grace="5m", dry_run=True), Observation(target=snapshot()))
    assert (decision.status.phase, why(decision.status)) == (Phase.SUCCEEDED, Reason.DRY_RUN)


# Dry runs.


def test_a_dry_run_ends_with_its_plan_and_no_effect() -> None:
    asked = request(dry_run=True)
    seen = Observation(target=snapshot(), answer=FINDINGS)
    question = advance(asked, seen, NOW)
    assert isinstance(question.action, Rehearse)
    assert question.status == asked.status
    decision = decide(asked, Observation(target=snapshot()))
    status = decision.status
    assert (status.phase, why(status), decision.action) == (Phase.SUCCEEDED, Reason.DRY_RUN, None)
    assert message(status) == (
        "Dry run: Deployment/checkout would go back from revision 3 to 2, and the API server would accept it. "
        "Nothing was changed."
    )
    (mine,) = status.targets
    assert mine.plan is not None
    assert mine.plan.diff == FINDINGS.diff
    assert mine.steps == ()
    assert states(status) == {on.APPLIED: "False", on.READY: "True"}


def test_a_refused_dry_run_shows_the_plan_that_was_refused() -> None:
    asked = request(dry_run=True)
    question = advance(asked, Observation(target=snapshot(), answer=FINDINGS), NOW)
    assert isinstance(question.action, Rehearse)
    refused = Refused(DENIED.reason, DENIED.message, question.action.plan)
    status = advance(asked, Observation(target=snapshot(), answer=refused), NOW).status
    assert (status.phase, why(status)) == (Phase.FAILED, Reason.FORBIDDEN)
    (mine,) = status.targets
    assert mine.plan == question.action.plan


def test_a_dry_run_does_not_wait_for_its_turn() -> None:
    seen = Observation(target=snapshot(), others=(other("earlier", phase=Phase.RUNNING),))
    assert decide(request(dry_run=True), seen).status.phase is Phase.SUCCEEDED


# Time that passed while nobody looked.


def test_a_request_that_nobody_took_up_in_time_starts_no_effect() -> None:
    """The operator was down for the night, and the world has moved on since."""
    decision = advance(request(timeout="10m"), Observation(target=snapshot()), after(3600))
    assert (decision.status.phase, why(decision.status)) == (Phase.FAILED, Reason.TIMEOUT)
    assert decision.action is None
    assert "was not rolled back within 10m: nothing was changed" in message(decision.status)


def test_a_request_that_was_taken_up_a_little_late_runs_with_its_whole_timeout() -> None:
    decision = decide(request(timeout="10m"), Observation(target=snapshot()), after(599))
    assert isinstance(decision.action, Apply)
    assert decision.status.started_at == after(599)


@pytest.mark.parametrize("phase", [Phase.SUCCEEDED, Phase.FAILED, Phase.SUPERSEDED, Phase.ABORTED])
def test_what_has_ended_stays_as_it_ended(phase: Phase) -> None:
    status = RequestStatus(phase=phase)
    for target in (None, snapshot(), snapshot(uid="another", marks={"uid-of-request"})):
        decision = advance(request(status, abort=True), Observation(target=target), after(9999))
        assert decision.status is status
        assert (decision.action, decision.again) == (None, None)


def test_a_target_is_chosen_anew_while_nothing_is_planned() -> None:
    """Nothing is remembered from a reading that led to no plan."""
    asked = request()
    waiting = step_on(asked, advance(asked, Observation(target=snapshot("ab", settled=False)), NOW))
    moved: Snapshot = snapshot("abc")
    decision = decide(waiting, Observation(target=moved), after(1))
    assert isinstance(decision.action, Apply)
    assert decision.action.plan.to.revision == "2"


def test_a_policy_does_not_go_back_to_a_bad_revision_that_it_names_itself() -> None:
    named = policy(to="1", ledger=(called("a", Proof.BAD),))
    by_policy = request(policy_ref=PolicyRef(name="checkout", uid="uid-of-policy"))
    status = advance(by_policy, Observation(policy=named, target=snapshot()), NOW).status
    assert (status.phase, why(status)) == (Phase.FAILED, Reason.NOTHING_TO_ROLL_BACK_TO)
    assert "counts as bad" in message(status)
    by_a_person = request(policy_ref=PolicyRef(name="checkout"))
    assert isinstance(advance(by_a_person, Observation(policy=named, target=snapshot()), NOW).action, Examine)


@pytest.mark.parametrize("to", [None, "1"])
def test_what_a_policy_did_not_see_is_not_rolled_back(to: str | None) -> None:
    seen = request(from_=fingerprint("b"), to=to)
    status = advance(seen, Observation(target=snapshot()), NOW).status
    assert (status.phase, why(status)) == (Phase.SUPERSEDED, Reason.NEWER_RELEASE)
    assert "moved on to revision 3" in message(status)
    still = request(from_=fingerprint("c"), to=to)
    assert isinstance(advance(still, Observation(target=snapshot()), NOW).action, Examine)
