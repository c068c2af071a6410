"""What a group decides: which request is made when, when it stops, and what it says of each target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from rollback_operator.api.common import Condition, TargetRef
from rollback_operator.api.reasons import Reason
from rollback_operator.api.request import Member, Phase, RequestSpec, RequestStatus, StepState, TargetStatus
from rollback_operator.core import conditions as on
from rollback_operator.core.group import advance_group
from rollback_operator.core.group.values import Child, GroupDecision, Sight, child_name, child_spec
from rollback_operator.core.group.waves import OVERTIME
from rollback_operator.core.life.times import SETTLE
from rollback_operator.core.values import Ending, Refused, Request, Snapshot
from tests.unit.builders import NOW, PAUSED, after, changed, fingerprint, message, snapshot, states, why

REFUSED = Refused(Reason.REJECTED, "Its request cannot be made: the quota is used up")


def member(name: str, wave: int = 0, **fields: Any) -> Member:
    return Member(target=TargetRef(kind="Deployment", name=name), wave=wave, **fields)


class Group:
    """A group, the requests that were made for it, and what the operator remembers."""

    def __init__(self, *members: Member, **spec: Any) -> None:
        orders = RequestSpec(targets=members, reason="5xx", **spec)
        self.request = Request("shop", "all", "uid-of-all", 1, NOW, orders, RequestStatus())
        self.targets: dict[str, Snapshot | Refused | None] = {str(one.target): snapshot() for one in members}
        self.instead: dict[str, TargetRef] = {}
        self.endings: dict[str, Ending] = {}
        self.children: dict[str, Child] = {}
        self.answered: dict[str, int] = {}
        self.refused: dict[str, Refused] = {}
        self.made: list[str] = []

    def look(self, seconds: float = 0.0, *, answers: bool = True) -> GroupDecision:
        """One decision, written down and acted on (unless no call is answered, nor does it arrive)."""
        children, first = dict(self.children), {"instead": self.instead, "endings": self.endings}
        sight = Sight(self.targets, children, answered=self.answered, refused=self.refused, **first)  # type: ignore[arg-type]
        decision = advance_group(self.request, sight, after(seconds))
        self.request = replace(self.request, status=RequestStatus.model_validate(decision.status.dump()))
        for target in decision.create if answers else ():
            self.arrives(target.removeprefix("Deployment/"))
        for one in decision.abort if answers else ():
            self.children[one.name] = Child(changed(one, abort=True), ours=True)
        return decision

    def arrives(self, name: str) -> None:
        """The request for that target is made."""
        asked = self.name(name)
        self.made.append(name)
        spec = RequestSpec(target=TargetRef(kind="Deployment", name=name), reason="5xx")
        self.children[asked] = Child(Request("shop", asked, f"uid-of-{name}", 1, NOW, spec, RequestStatus()), ours=True)

    def name(self, name: str) -> str:
        return child_name(self.request, TargetRef(kind="Deployment", name=name))

    def now(self, name: str, phase: Phase, reason: str = "Completed", words: str = "said.", **fields: Any) -> None:
        """The request for that target comes to be so; it was applied unless it is said that it was not."""
        child = self.children[self.name(name)]
        applied = fields.pop("applied", "True" if phase in (Phase.VERIFYING, Phase.SUCCEEDED) else "False")
        both = ((on.READY, "True" if phase is Phase.SUCCEEDED else "False"), (on.APPLIED, applied))
        said = tuple(
            Condition(type=kind, status=state, reason=reason, message=words, last_transition_time=NOW)
            for kind, state in both
        )
        status = RequestStatus(phase=phase, conditions=said, from_="3", to="2", **fields)
        self.children[child.request.name] = Child(replace(child.request, status=status), ours=child.ours)

    def entry(self, name: str) -> TargetStatus:
        return next(one for one in self.status.targets if one.target == f"Deployment/{name}")

    def phases(self) -> dict[str, str]:
        return {one.target.removeprefix("Deployment/"): one.phase.value for one in self.status.targets}

    @property
    def status(self) -> RequestStatus:
        return self.request.status

    def outcome(self) -> tuple[str | None, str]:
        return self.status.phase, why(self.status)


@pytest.fixture
def group() -> Group:
    """a and b in the first wave, c in the second."""
    return Group(member("a"), member("b"), member("c", 1))


def test_the_first_wave_is_noted_before_it_is_made(group: Group) -> None:
    decision = group.look(answers=False)

    assert decision.create == ("Deployment/a", "Deployment/b")
    assert [one.request for one in group.status.targets] == [group.name("a"), group.name("b"), None]
    assert group.outcome() == (Phase.RUNNING, "WaveRunning")
    assert message(group.status) == "Wave 0 (1 of 2): rolling Deployment/a and Deployment/b back."
    assert message(group.status, on.PLANNED) == "Wave 0: Deployment/a and Deployment/b; Wave 1: Deployment/c."
    assert (group.status.target, group.status.from_, group.status.to) == ("3 targets", "3,3,3", None)


def test_the_next_wave_waits_for_all_of_the_one_before(group: Group) -> None:
    group.look()
    group.now("a", Phase.SUCCEEDED)
    group.now("b", Phase.VERIFYING)

    assert group.look(1).create == ()
    group.now("b", Phase.SUCCEEDED)
    assert group.look(2).create == ("Deployment/c",)
    assert message(group.status) == "Wave 1 (2 of 2): rolling Deployment/c back."


def test_a_group_succeeds_when_all_waves_have(group: Group) -> None:
    group.look()
    for name in ("a", "b"):
        group.now(name, Phase.SUCCEEDED)
    group.look(1)
    group.now("c", Phase.SUCCEEDED)
    group.look(2)

    assert group.outcome() == (Phase.SUCCEEDED, "Completed")
    assert message(group.status) == (
        "3 targets are back: Deployment/a at revision 2, Deployment/b at revision 2 and Deployment/c at revision 2."
    )
    assert states(group.status) == {"Planned": "True", "Applied": "True", "Verified": "True", "Ready": "True"}
    assert (group.status.from_, group.status.to, group.status.duration) == ("3,3,3", "2,2,2", "2.0s")
    assert group.made == ["a", "b", "c"]


def test_a_failure_stops_it_and_it_says_what_is_where(group: Group) -> None:
    group.look()
    group.now("a", Phase.SUCCEEDED)
    group.now("b", Phase.FAILED, "Unhealthy", "Its pods fail.", applied="True")
    group.look(1)

    assert group.outcome() == (Phase.FAILED, "WaveFailed")
    assert message(group.status) == (
        "Wave 0 failed. Deployment/b: Unhealthy: Its pods fail. Done: Deployment/a at revision 2. "
        "Not begun, so as it was: Deployment/c."
    )
    assert group.phases() == {"a": "Succeeded", "b": "Failed", "c": "Aborted"}
    assert states(group.status)["Applied"] == "True"
    assert states(group.status)["Verified"] == "False"
    assert group.made == ["a", "b"]


def test_a_failure_waits_for_the_others_of_its_wave(group: Group) -> None:
    group.look()
    group.now("a", Phase.FAILED, "Forbidden")
    group.now("b", Phase.VERIFYING)
    decision = group.look(1)

    assert (decision.create, decision.abort) == ((), ())
    assert message(group.status) == (
        "Deployment/a could not be rolled back: nothing more is begun. Waiting for the end of Deployment/b."
    )
    group.now("b", Phase.SUCCEEDED)
    group.look(2)
    assert group.outcome() == (Phase.FAILED, "WaveFailed")


@pytest.mark.parametrize("phase", [Phase.FAILED, Phase.SUPERSEDED, Phase.ABORTED])
def test_whatever_is_no_success_stops_it(group: Group, phase: Phase) -> None:
    group.look()
    group.now("a", phase, "NewerRelease")
    group.now("b", Phase.SUCCEEDED)
    group.look(1)

    assert group.outcome() == (Phase.FAILED, "WaveFailed")
    assert group.made == ["a", "b"]


def test_what_was_there_already_is_no_failure(group: Group) -> None:
    group.look()
    for name in ("a", "b"):
        group.now(name, Phase.SUCCEEDED, "AlreadyAtRevision", applied="False")
    group.look(1)
    group.now("c", Phase.SUCCEEDED, "AlreadyAtRevision", applied="False")
    group.look(2)

    assert group.outcome() == (Phase.SUCCEEDED, "AlreadyAtRevision")
    assert states(group.status)["Applied"] == "False"


def test_waves_go_by_number_and_may_leave_numbers_out() -> None:
    group = Group(member("late", 7), member("early", 3))

    assert group.look().create == ("Deployment/early",)
    group.now("early", Phase.SUCCEEDED)
    assert group.look(1).create == ("Deployment/late",)


# What a target's request is told.


def test_a_request_takes_the_groups_orders_over() -> None:
    group = Group(
        member("a", to="2", service_account_name="mine"), dry_run=True, timeout="5m", grace="1m", approve=True
    )
    group.look(10)

    assert child_spec(group.request, group.request.spec.targets[0], after(70)) == {  # type: ignore[index]
        "target": {"kind": "Deployment", "name": "a"},
        "to": "2",
        "from": fingerprint("c"),
        "reason": "5xx",
        "dryRun": True,
        "serviceAccountName": "mine",
        "timeout": "240s",
    }


def test_a_request_runs_as_the_group_says_unless_its_target_says_otherwise() -> None:
    group = Group(member("a"), service_account_name="ours")
    group.look()

    assert child_spec(group.request, group.request.spec.targets[0], NOW)["serviceAccountName"] == "ours"  # type: ignore[index]


def test_the_names_of_requests_differ_by_group_and_by_target(group: Group) -> None:
    another = replace(group.request, uid="uid-of-another")
    ref = TargetRef(kind="Deployment", name="a")
    long = replace(group.request, name="n" * 253)

    assert len({group.name("a"), group.name("b"), child_name(another, ref)}) == 3
    assert group.name("a").startswith("all-a-")
    assert len(child_name(long, TargetRef(kind="Deployment", name="t" * 253))) <= 253


# Before it begins.

HINDERED: Mapping[str, tuple[Snapshot | Refused | None, str, str]] = {
    "a target that is not there": (None, "TargetNotFound", "There is no Deployment c in namespace shop."),
    "a target that is paused": (snapshot(obstacle=PAUSED), "TargetPaused", "is paused: resume it."),
    "a target that may not be read": (Refused(Reason.FORBIDDEN, "May not read."), "Forbidden", "May not read."),
}


@pytest.mark.parametrize("found, reason, words", HINDERED.values(), ids=HINDERED.keys())
def test_what_cannot_be_rolled_back_is_said_before_anything_is_begun(
    group: Group, found: Snapshot | Refused | None, reason: str, words: str
) -> None:
    group.targets["Deployment/c"] = found
    group.look()

    assert group.outcome() == (Phase.FAILED, reason)
    assert words in message(group.status)
    assert message(group.status).endswith("None of the group's targets was changed.")
    assert group.made == []
    assert states(group.status)["Applied"] == "False"


OWNED = Ending(Phase.FAILED, Reason.OWNED_BY, "Helm release web manages Deployment/b: nothing was changed.")
NOTHING_EARLIER = Ending(Phase.FAILED, Reason.NOTHING_TO_ROLL_BACK_TO, "Deployment/c has no revision before 1.")


def test_all_that_keeps_targets_from_being_rolled_back_is_said_at_once(group: Group) -> None:
    group.targets["Deployment/a"] = None
    group.endings |= {"Deployment/b": OWNED, "Deployment/c": NOTHING_EARLIER}
    group.look()

    assert group.outcome() == (Phase.FAILED, "TargetNotFound")
    said = message(group.status)
    assert "There is no Deployment a in namespace shop." in said
    assert said.endswith(f"{OWNED.message} {NOTHING_EARLIER.message} None of the group's targets was changed.")
    assert (group.made, group.status.targets) == ([], ())


def test_of_sixteen_hindrances_each_is_said() -> None:
    group = Group(*(member(f"{'t' * 100}{number}") for number in range(16)))
    for name in group.targets:
        group.endings[name] = Ending(Phase.FAILED, Reason.OWNED_BY, f"{name} {'w' * 1000}")
    group.look()

    said = message(group.status)
    assert len(said) <= 4096
    assert all(f"{name} " in said for name in group.targets)
    assert said.endswith("None of the group's targets was changed.")


def test_one_long_hindrance_leaves_room_for_short_ones(group: Group) -> None:
    long = "w" * 3000
    group.endings |= {"Deployment/a": replace(OWNED, message=long), "Deployment/b": OWNED}
    group.look()

    assert message(group.status).startswith(f"{long} {OWNED.message}")


def test_a_dry_run_is_begun_all_the_same_and_says_everything() -> None:
    group = Group(member("a"), member("b", 1), dry_run=True)
    group.endings["Deployment/b"] = OWNED

    assert group.look().create == ("Deployment/a", "Deployment/b")


# Going by owners.

RELEASE = TargetRef(kind="Helm", name="web")


def test_an_owner_is_rolled_back_instead_as_it_was_found(group: Group) -> None:
    group.instead["Deployment/b"] = RELEASE
    group.targets["Deployment/b"] = snapshot("xy")
    group.look()

    assert group.entry("b").owner == "Helm/web"
    told = child_spec(group.request, group.request.spec.targets[1], NOW)  # type: ignore[index]
    assert told["target"] == {"kind": "Helm", "name": "web"}
    assert told["from"] == fingerprint("y")
    assert "owner" not in group.entry("a").dump()
    for name in ("a", "b"):
        group.now(name, Phase.SUCCEEDED)
    group.look(1)
    group.now("c", Phase.SUCCEEDED)
    group.look(2)
    assert "Deployment/b (by Helm/web) at revision 2" in message(group.status)


def test_an_owner_in_another_namespace_is_told_with_it(group: Group) -> None:
    group.instead["Deployment/b"] = TargetRef(kind="Application", namespace="argocd", name="web")
    group.look()

    told = child_spec(group.request, group.request.spec.targets[1], NOW)  # type: ignore[index]
    assert told["target"] == {"kind": "Application", "namespace": "argocd", "name": "web"}


@pytest.mark.parametrize("dry_run", [False, True])
def test_one_owner_is_not_rolled_back_for_two_targets(*, dry_run: bool) -> None:
    group = Group(member("a"), member("b", 1), member("c", 1), dry_run=dry_run)
    group.instead |= {"Deployment/a": RELEASE, "Deployment/c": RELEASE}
    group.look()

    assert group.outcome() == (Phase.FAILED, "OwnedBy")
    assert "Helm/web would be rolled back for Deployment/a and Deployment/c" in message(group.status)
    assert group.made == []


def test_an_owner_is_not_rolled_back_beside_itself() -> None:
    group = Group(member("a"), Member(target=RELEASE))
    group.instead["Deployment/a"] = RELEASE
    group.look()

    assert group.outcome() == (Phase.FAILED, "OwnedBy")
    assert "for Deployment/a and Helm/web" in message(group.status)


def test_an_owner_that_is_not_there_is_named(group: Group) -> None:
    group.instead["Deployment/b"] = RELEASE
    group.targets["Deployment/b"] = None
    group.look()

    assert group.outcome() == (Phase.FAILED, "TargetNotFound")
    assert "There is no Helm web in namespace shop." in message(group.status)


def test_people_are_asked_about_what_stands_then() -> None:
    group = Group(member("a"), grace="5m")

    assert group.look().again == timedelta(minutes=5)
    assert group.outcome() == (Phase.AWAITING_APPROVAL, "AwaitingApproval")
    group.targets["Deployment/a"] = snapshot("abcd")
    group.request = changed(group.request, approve=True)
    assert group.look(60).create == ("Deployment/a",)
    assert group.entry("a").fingerprint == fingerprint("c")


def test_a_veto_touches_nothing() -> None:
    group = Group(member("a"), grace="5m")
    group.look()
    group.request = changed(group.request, abort=True)
    group.look(1)

    assert group.outcome() == (Phase.ABORTED, "Aborted")
    assert group.made == []


def test_a_group_that_nobody_took_up_in_time_begins_nothing(group: Group) -> None:
    group.look(601)

    assert group.outcome() == (Phase.FAILED, "Timeout")
    assert group.made == []


# Stopping.


def test_an_abort_is_passed_on_once_and_waited_for(group: Group) -> None:
    group.look()
    group.now("a", Phase.SUCCEEDED)
    group.now("b", Phase.VERIFYING)
    group.look(1)
    group.request = changed(group.request, abort=True)

    assert [one.name for one in group.look(2).abort] == [group.name("b")]
    assert group.look(3).abort == ()
    assert group.status.phase is Phase.RUNNING
    group.now("b", Phase.ABORTED, "Aborted", "It stays there.", applied="True")
    group.look(4)
    assert group.outcome() == (Phase.ABORTED, "Aborted")
    assert message(group.status) == (
        "Aborted. Deployment/b: Aborted: It stays there. Done: Deployment/a at revision 2. "
        "Not begun, so as it was: Deployment/c."
    )


def test_an_abort_between_two_waves_begins_nothing_more(group: Group) -> None:
    group.look()
    for name in ("a", "b"):
        group.now(name, Phase.SUCCEEDED)
    group.request = changed(group.request, abort=True)
    group.look(1)

    assert group.outcome() == (Phase.ABORTED, "Aborted")
    assert group.made == ["a", "b"]


def test_when_time_is_over_what_goes_on_is_aborted() -> None:
    group = Group(member("a"), member("b", 1), timeout="1m")
    group.look()
    group.now("a", Phase.VERIFYING)

    assert group.look(60).abort == ()
    over = 60 + OVERTIME.total_seconds()
    assert [one.name for one in group.look(over).abort] == [group.name("a")]
    group.now("a", Phase.ABORTED, "Aborted", "It stays there.", applied="True")
    group.look(over + 1)
    assert group.outcome() == (Phase.FAILED, "Timeout")
    assert message(group.status).startswith("The group was not done within 1m. Deployment/a: Aborted: It stays there.")


def test_no_wave_begins_when_time_is_over() -> None:
    group = Group(member("a"), member("b", 1), timeout="1m")
    group.look()
    group.now("a", Phase.SUCCEEDED)
    group.look(60)

    assert group.outcome() == (Phase.FAILED, "Timeout")
    assert group.made == ["a"]


# Requests that are lost, refused, in the way, gone.


def test_a_request_that_did_not_arrive_is_made_again_and_noted_each_time(group: Group) -> None:
    group.look(answers=False)
    assert group.look(0.1, answers=False).create == ()
    assert group.look(1, answers=False).create == ("Deployment/a", "Deployment/b")

    (step,) = group.entry("a").steps
    assert (step.state, step.attempts) == (StepState.RUNNING, 2)
    group.look(5)
    group.look(6)
    assert group.entry("a").steps[0].state is StepState.DONE


def test_it_does_not_end_while_a_request_could_still_arrive(group: Group) -> None:
    group.look(answers=False)
    group.request = changed(group.request, abort=True)
    settled = SETTLE.total_seconds()

    group.look(settled - 1)
    assert group.outcome() == (Phase.RUNNING, "Settling")
    group.arrives("a")
    assert len(group.look(settled - 0.5).abort) == 1
    group.now("a", Phase.ABORTED, "Aborted")
    group.look(settled)
    assert group.outcome() == (Phase.ABORTED, "Aborted")
    assert group.entry("b").steps[0].state is StepState.NOT_MADE


def test_what_was_answered_cannot_arrive_any_more(group: Group) -> None:
    group.look(answers=False)
    group.answered = {group.name("a"): 1, group.name("b"): 1}
    group.request = changed(group.request, abort=True)
    group.look(1)

    assert group.outcome() == (Phase.ABORTED, "Aborted")


def test_a_request_that_the_api_server_refuses_fails_its_target(group: Group) -> None:
    group.look(answers=False)
    group.arrives("b")
    group.refused, group.answered = {group.name("a"): REFUSED}, {group.name("a"): 1}
    group.now("b", Phase.SUCCEEDED)
    group.look(1)

    assert group.outcome() == (Phase.FAILED, "WaveFailed")
    assert "Deployment/a: Its request cannot be made: the quota is used up" in message(group.status)


def test_a_request_of_somebody_else_is_in_the_way(group: Group) -> None:
    group.look()
    group.now("b", Phase.SUCCEEDED)
    taken = group.children[group.name("a")]
    group.children[group.name("a")] = Child(taken.request, ours=False)
    group.look(1)

    assert group.outcome() == (Phase.FAILED, "WaveFailed")
    assert f"A request named {group.name('a')} is there that this group did not make" in message(group.status)


def test_a_request_that_was_deleted_is_not_made_again(group: Group) -> None:
    group.look()
    group.look(1)
    group.now("b", Phase.SUCCEEDED)
    del group.children[group.name("a")]
    decision = group.look(2)

    assert decision.create == ()
    assert group.outcome() == (Phase.FAILED, "WaveFailed")
    assert "was deleted before it ended: look at Deployment/a" in message(group.status)


def test_nobody_can_tell_of_the_effect_of_a_request_that_was_deleted() -> None:
    group = Group(member("a"))
    group.look()
    group.now("a", Phase.RUNNING, "Applying")
    group.look(1)
    group.children.clear()
    group.look(2)

    assert states(group.status)["Applied"] == "Unknown"


# Dry runs.


def test_a_dry_run_tries_all_waves_at_once() -> None:
    group = Group(member("a"), member("b", 1), dry_run=True)

    assert group.look().create == ("Deployment/a", "Deployment/b")
    for name in ("a", "b"):
        group.now(name, Phase.SUCCEEDED, "DryRun", applied="False")
    group.look(1)
    assert group.outcome() == (Phase.SUCCEEDED, "DryRun")
    assert message(group.status).startswith("Dry run: Deployment/a from revision 3 to 2 and Deployment/b")
    assert states(group.status)["Applied"] == "False"


def test_a_dry_run_says_everything_that_would_fail() -> None:
    group = Group(member("a"), member("b", 1), dry_run=True)
    group.look()
    group.now("a", Phase.FAILED, "MissingDependency", "A Secret is gone.")
    group.now("b", Phase.FAILED, "Forbidden", "May not.")
    group.look(1)

    assert group.outcome() == (Phase.FAILED, "WaveFailed")
    assert "Deployment/a: MissingDependency: A Secret is gone." in message(group.status)
    assert "Deployment/b: Forbidden: May not." in message(group.status)


# What is written.


def test_nothing_is_written_while_nothing_changes(group: Group) -> None:
    group.look()
    group.look(1)
    before = group.status

    assert group.look(2).status == before


def test_what_has_ended_stays_as_it_ended(group: Group) -> None:
    group.targets["Deployment/c"] = None
    group.look()

    assert group.look(1) == GroupDecision(group.status)


def test_sixteen_failures_fit_into_a_condition() -> None:
    group = Group(*(member(f"{'t' * 200}{number}") for number in range(16)))
    group.look()
    for one in group.request.spec.targets or ():
        group.now(one.target.name, Phase.FAILED, "Unhealthy", "w" * 4000)
    group.look(1)

    assert group.outcome() == (Phase.FAILED, "WaveFailed")
    assert len(message(group.status)) <= 4096
    assert all(len(one.message or "") <= 1024 for one in group.status.targets)
