"""Releases of Helm as requests see them: what stands, what can be gone back to, and what is made sure of before."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast
from unittest import mock

import pytest

from rollback_operator.api.common import TargetRef
from rollback_operator.api.options import Force, HelmOptions, Options
from rollback_operator.api.reasons import Reason
from rollback_operator.api.request import Phase, Plan
from rollback_operator.core.choice import Chosen, choose
from rollback_operator.core.half import half_of
from rollback_operator.core.life.verifying import _lost
from rollback_operator.core.progress import make_plan
from rollback_operator.core.values import Ending, Findings, Health, Snapshot, Wellbeing
from rollback_operator.kube import errors
from rollback_operator.kube.identity import Identity, ServiceAccount
from rollback_operator.targets.base import Composed, Where
from rollback_operator.targets.helm import effect
from rollback_operator.targets.helm.effect import Finished
from rollback_operator.targets.helm.records import fingerprint
from rollback_operator.targets.helm.target import HelmTarget
from tests.unit.fakes import FakeApi, failing
from tests.unit.helm import MANIFEST, release, secret

Object = dict[str, Any]

SHOP = TargetRef(kind="Helm", name="shop")
WHERE = Where("shop", "shop", ServiceAccount("shop", "rollback"))
A, B = (fingerprint(release(1, image=image)) for image in ("shop:1", "shop:2"))
OURS = {"request": "request-1"}


class Server(FakeApi):
    """An API server that gives lists of Secrets without what they hold, and perhaps tells what it serves."""

    def __init__(self, *things: Object, serves: bool = False) -> None:
        super().__init__(*things)
        self._serves = serves

    async def get(
        self, path: str, *, as_: Identity, query: Object | None = None, metadata_only: bool = False
    ) -> Object:
        if self._serves and path == "/apis/apps/v1":
            return {"resources": [{"name": "deployments", "kind": "Deployment", "namespaced": True}]}
        found = await super().get(path, as_=as_, query=query)
        assert metadata_only is path.endswith("/secrets")
        return found


def revision(number: int, letter: str, status: str = "superseded", **notes: str) -> Object:
    """A revision of one of two releases, written long ago."""
    body = release(number, image={"a": "shop:1", "b": "shop:2"}[letter], status=status)
    return secret(number, body, written="2020-01-01T00:00:00Z", **notes)


def helm(*records: Object) -> HelmTarget:
    api: Any = Server(*records)
    return HelmTarget(api, "helm", {})


async def seen(*records: Object, phase: Phase | None = None, plan: Plan | None = None) -> Snapshot:
    found = await helm(*records).observe(WHERE, phase, plan)
    assert found is not None
    return found


class Workload:
    """A kind of workload, all of which do as told."""

    kind = "Deployment"

    def __init__(self, state: Wellbeing) -> None:
        self.state = state

    async def observe(self, *_: Any) -> Snapshot:
        seen: Any = SimpleNamespace(health=Health(self.state, "as told"))
        return cast("Snapshot", seen)


@pytest.mark.parametrize("state", Wellbeing)
async def test_how_it_does_is_what_its_workloads_say_when_it_is_asked_for(state: Wellbeing) -> None:
    """Before a rollback that is not looked at; without it, nothing would ever prove good."""
    api: Any = Server(revision(1, "a", "deployed"))
    workload: Any = Workload(state)
    target = HelmTarget(api, "helm", {"Deployment": workload})
    found = await target.observe(WHERE, None, None)
    assert found is not None
    assert found.health.state is Wellbeing.PROGRESSING

    assert isinstance(target, Composed)
    assert (await target.wellbeing(WHERE, found)).state is state


def plan_to(number: str, target: Snapshot) -> Plan:
    to = next(one for one in target.history if one.name == number)
    return make_plan(target, Chosen(to), Findings((), ""), account="rollback", verify=None)


TORN = {
    "a rollback to it failed over a hook": (revision(1, "a"), revision(2, "b", "deployed"), revision(3, "a", "failed")),
    "somebody's Helm died over the same chart": (revision(1, "a", "deployed"), revision(2, "a", "pending-upgrade")),
    "it failed, and Helm called that superseded": (
        revision(1, "a"),
        secret(2, release(2, description='Rollback "shop" failed: x')),
    ),
}


@pytest.mark.parametrize("case", TORN)
async def test_a_release_that_stands_in_parts_only_is_gone_back_to(case: str) -> None:
    found = await seen(*TORN[case])

    choice = choose("1", SHOP, found, {})
    assert isinstance(choice, Chosen), choice
    assert choice.revision.fingerprint == A
    assert found.current.fingerprint == half_of(A)
    assert found.health.state is not Wellbeing.HEALTHY, "or it would prove good"


@pytest.mark.parametrize("to", ["Previous", "LastKnownGood"])
async def test_it_is_what_previous_and_the_ledger_mean(to: str) -> None:
    found = await seen(*TORN["a rollback to it failed over a hook"])

    choice = choose(to, SHOP, found, {B: "undo rolled back from it"}, good=(A,) if to == "LastKnownGood" else ())

    assert isinstance(choice, Chosen), choice
    assert choice.revision.name == "1"


async def test_a_revision_that_failed_is_none_to_go_to_although_it_is_the_newest() -> None:
    found = await seen(*TORN["a rollback to it failed over a hook"])

    choice = choose("3", SHOP, found, {})

    assert isinstance(choice, Ending)
    assert "Revision 3 of Helm/shop cannot be gone back to: its status is failed." in choice.message


async def test_what_is_deployed_is_still_what_it_is() -> None:
    found = await seen(revision(1, "a"), revision(2, "b"), revision(3, "a", "deployed"))

    choice = choose("1", SHOP, found, {})

    assert isinstance(choice, Ending)
    assert choice.reason is Reason.ALREADY_AT_REVISION


STEPS = {
    "as it was planned": revision(2, "b", "pending-upgrade"),
    "marked as failed": secret(2, release(2, image="shop:2", status="failed", description="Marked as failed by a x")),
    "called superseded by a Helm that failed then": secret(
        2, release(2, image="shop:2", description="Marked as failed by a rollback: it was left pending")
    ),
}


@pytest.mark.parametrize("case", STEPS)
async def test_what_a_plan_goes_away_from_stays_what_it_is_whatever_an_attempt_made_of_it(case: str) -> None:
    plan = plan_to("1", await seen(revision(1, "a", "deployed"), STEPS["as it was planned"]))
    broken = revision(3, "a", "failed", interrupted="true", **OURS)

    found = await seen(revision(1, "a"), STEPS[case], broken, phase=Phase.RUNNING, plan=plan)

    assert (found.current.name, found.current.fingerprint) == (plan.expects.revision, plan.expects.fingerprint)
    assert plan.expects.fingerprint == half_of(B)


async def test_an_attempt_that_failed_is_no_other_release_while_it_is_verified() -> None:
    before = (revision(1, "a"), revision(2, "b", "deployed"))
    plan = plan_to("1", await seen(*before))

    found = await seen(*before, revision(3, "a", "failed", **OURS), phase=Phase.VERIFYING, plan=plan)

    assert _lost(plan, "Helm/shop", found) is None
    assert (found.health.state, found.health.final) == (Wellbeing.FAILING, True)


async def test_somebody_elses_that_failed_is_one() -> None:
    before = (revision(1, "a"), revision(2, "b"))
    plan = plan_to("1", await seen(*before))
    after = (*before, revision(3, "a", "deployed", **OURS), revision(4, "a", "failed"))

    lost = _lost(plan, "Helm/shop", await seen(*after, phase=Phase.VERIFYING, plan=plan))

    assert lost is not None
    assert lost.reason is Reason.OVERTAKEN


JOB: Object = {"name": "migrate", "events": ["pre-rollback"], "last_run": {"started_at": "2026-11-21T10:00:01Z"}}
ATTEMPTED = {
    # hooks that the attempt before had begun, and options: whether this one did without
    "they had begun": ([JOB], {}, True),
    "they had not": ([], {}, False),
    "they are run again": ([JOB], {"rerun_hooks": True}, False),
    "they are never run": ([JOB], {"hooks": False}, False),
}


@pytest.mark.parametrize("case", ATTEMPTED)
async def test_that_hooks_were_not_run_again_is_said_of_the_attempt(case: str) -> None:
    hooks, options, said = ATTEMPTED[case]
    broken = secret(3, release(3, status="failed", hooks=hooks), interrupted="true", **OURS)
    records = (revision(1, "a"), revision(2, "b"), broken, revision(4, "a", "deployed", **OURS))
    where = replace(WHERE, options=Options(helm=HelmOptions(**options)))

    found = await helm(*records).observe(where, Phase.RUNNING, None)

    assert found is not None
    assert ("No hooks were run by this attempt: the one before, revision 3, " in found.left_out) is said


INTO = {"the one that it is kept in": ("shop", None), "none that it says": ("", None), "another": ("till", "till")}


@pytest.mark.parametrize("case", INTO)
async def test_a_release_in_another_namespace_than_its_records_is_left_alone(case: str) -> None:
    """Helm would look for its objects in the wrong one."""
    namespace, elsewhere = INTO[case]

    found = await seen(*(secret(number, release(number, namespace=namespace)) for number in (1, 2)))

    if elsewhere is None:
        assert found.obstacle is None
        assert len(found.history) == 2
    else:
        assert found.obstacle is not None
        assert found.obstacle.reason is Reason.RELEASED_ELSEWHERE
        assert "released into namespace till, but its records are kept in namespace shop" in found.obstacle.message
        assert found.history == ()


async def test_a_revision_that_was_released_into_another_namespace_is_not_gone_back_to() -> None:
    found = await seen(secret(1, release(1, namespace="till")), revision(2, "b", "deployed"))

    assert found.obstacle is None
    assert [one.name for one in found.history] == ["2"]
    assert found.excluded == {"1": "it was released into namespace till, and its record is kept in this one"}


async def test_what_somebodys_helm_works_on_is_going_to_be_the_whole() -> None:
    now = datetime.now(UTC).isoformat()
    working = secret(2, release(2, image="shop:2", status="pending-upgrade"), written=now)

    found = await seen(revision(1, "a", "deployed"), working)

    assert not found.settled
    assert found.current.fingerprint == B


async def test_what_was_made_sure_of_for_an_attempt_that_came_too_late_holds_for_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Or a large release on a slow API server would never be begun."""
    monkeypatch.setattr(effect, "run", mock.AsyncMock(return_value=Finished(1, "no")))
    api: Any = Server(revision(1, "a"), revision(2, "b", "deployed"))
    target = HelmTarget(api, "helm", {})
    found = await target.observe(WHERE, Phase.RUNNING, None)
    assert found is not None
    plan, looks = plan_to("1", found), mock.AsyncMock(wraps=target._cleared)
    monkeypatch.setattr(target, "_cleared", looks)

    with pytest.raises(errors.NotDone):
        await target.apply(replace(WHERE, send_by=datetime.now(UTC) - timedelta(seconds=1)), found, plan, "request-1")
    with pytest.raises(errors.Invalid):
        await target.apply(replace(WHERE, send_by=datetime.now(UTC) + timedelta(seconds=60)), found, plan, "request-1")

    assert looks.await_count == 1


SEND_BY: dict[str, tuple[float | None, type[errors.KubeError]]] = {
    "there is time": (60.0, errors.Invalid),
    "nobody waits": (None, errors.Invalid),
    "late": (-1.0, errors.NotDone),
}


@pytest.mark.parametrize("case", SEND_BY)
async def test_an_attempt_is_begun_in_time_or_not_at_all(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is looked at before takes its time on a slow API server."""
    seconds, raised = SEND_BY[case]
    run = mock.AsyncMock(return_value=Finished(1, "no"))
    monkeypatch.setattr(effect, "run", run)
    before = (revision(1, "a"), revision(2, "b", "pending-upgrade"))
    api: Any = Server(*before)
    target = HelmTarget(api, "helm", {})
    found = await target.observe(WHERE, Phase.RUNNING, None)
    assert found is not None
    send_by = None if seconds is None else datetime.now(UTC) + timedelta(seconds=seconds)

    with pytest.raises(raised) as error:
        await target.apply(replace(WHERE, send_by=send_by), found, plan_to("1", found), "request-1")

    assert type(error.value) is raised
    late = raised is errors.NotDone
    assert run.await_count == (0 if late else 1)
    assert bool(api.writes()) is not late, "nor is what somebody left marked as failed"


async def test_a_right_that_the_chart_takes_is_missed_before_the_incident() -> None:
    """Who watches says so in Armed; a request ends with it before anything is planned."""
    api: Any = Server(revision(1, "a"), revision(2, "b", "deployed"), serves=True)
    api.lacking = {"patch deployments"}
    target = HelmTarget(api, "helm", {})
    found = await target.observe(WHERE, None, None)
    assert found is not None

    findings = await target.examine(WHERE, found, found.history[0])

    assert findings.obstacle is not None
    assert findings.obstacle.reason is Reason.FORBIDDEN
    assert findings.obstacle.message.startswith("Service account shop/rollback may not patch deployments web in namesp")


async def test_what_a_look_made_sure_of_is_not_looked_at_again_for_the_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(effect, "run", mock.AsyncMock(return_value=Finished(1, "no")))
    target = helm(revision(1, "a"), revision(2, "b", "deployed"))
    found = await target.observe(WHERE, Phase.RUNNING, None)
    assert found is not None
    looks = mock.AsyncMock()
    monkeypatch.setattr(target, "_cleared", looks)
    await target.examine(WHERE, found, found.history[0])

    for allowed in (False, True):
        where = replace(WHERE, options=Options(helm=HelmOptions(allowCRDDeletion=allowed)))
        with pytest.raises(errors.Invalid):
            await target.apply(where, found, plan_to("1", found), "request-1")

    assert looks.await_count == 1, "other options were not looked at"


async def test_a_release_over_which_an_attempt_broke_off_is_gone_back_to_and_does_not_prove_good() -> None:
    """The request that made the attempt is gone, so nobody makes it again."""
    dead = revision(3, "a", "pending-rollback", request="request-gone")
    found = await seen(revision(1, "a"), revision(2, "b", "deployed"), dead)

    assert (found.current.name, found.current.fingerprint, found.settled) == ("2", half_of(B), True)
    again = choose("2", SHOP, found, {})
    assert isinstance(again, Chosen)
    assert _plan(found, again).from_.fingerprint == half_of(B), "it is no way from it to itself"
    earlier = choose("Previous", SHOP, found, {})
    assert isinstance(earlier, Chosen)
    assert _plan(found, earlier).from_.fingerprint == B, "who leaves it in parts leaves it"
    target = helm(revision(1, "a"), revision(2, "b", "deployed"), dead)
    assert isinstance(target, Composed)
    assert (await target.wellbeing(WHERE, found)).state is Wellbeing.FAILING


def _plan(target: Snapshot, chosen: Chosen) -> Plan:
    return make_plan(target, chosen, Findings((), ""), account="rollback", verify=None)


async def test_what_such_an_attempt_left_is_part_of_what_is_left() -> None:
    """Helm deletes it: with a definition, every object of that kind."""
    definition = (
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: tills.example.com}\n"
    )
    more = release(2, image="shop:2", status="deployed", manifest=f"{MANIFEST.format(image='shop:2')}---\n{definition}")
    stored = secret(2, more, written="2020-01-01T00:00:00Z")
    dead = revision(3, "a", "pending-rollback", request="request-gone")
    api: Any = Server(revision(1, "a"), stored, dead)
    api.faults.append(failing("/apis/apiextensions.k8s.io", errors.Forbidden("no")))
    target = HelmTarget(api, "helm", {})
    found = await target.observe(WHERE, None, None)
    assert found is not None

    findings = await target.examine(WHERE, found, next(one for one in found.history if one.name == "1"))

    assert findings.obstacle is not None
    assert findings.obstacle.reason is Reason.WOULD_DELETE_CRD


@pytest.mark.parametrize("applied", [True, False])
async def test_what_helm_would_refuse_after_its_hooks_is_refused_in_the_plan(*, applied: bool) -> None:
    """Helm 4.3 checks that objects it applies are not to be replaced when it has created the revision."""
    method = {"apply_method": "ssa"} if applied else {}
    stored = [
        secret(number, release(number, image=f"shop:{number}", status=status, **method), written="2020-01-01T00:00:00Z")
        for number, status in ((1, "superseded"), (2, "deployed"))
    ]
    api: Any = Server(*stored)
    target = HelmTarget(api, "helm", {})
    where = replace(WHERE, options=Options(helm=HelmOptions(force=Force.REPLACE)))
    found = await target.observe(where, None, None)
    assert found is not None

    findings = await target.examine(where, found, next(one for one in found.history if one.name == "1"))

    if applied:
        assert findings.obstacle is not None
        assert findings.obstacle.reason is Reason.REJECTED
        assert "cannot replace the objects of revision 1 of release shop" in findings.obstacle.message
    else:
        assert findings.obstacle is None
        assert "Helm is told to replace objects (options.helm.force)." in findings.notes
