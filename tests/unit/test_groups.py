"""Carrying groups out, over an API server in memory that fails where a test says so."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rollback_operator.api import GROUP_LABEL
from rollback_operator.api.common import TargetRef
from rollback_operator.api.request import RequestStatus
from rollback_operator.core import stance
from rollback_operator.core.group.values import child_name
from rollback_operator.core.life import times
from rollback_operator.kube import errors
from rollback_operator.kube.resources import Key, group_of, parse_request
from rollback_operator.operator import RollbackOperator
from rollback_operator.requests.worker import RequestWorker
from rollback_operator.settings import Settings
from rollback_operator.targets import podtemplate
from rollback_operator.targets.deployment import DeploymentTarget
from tests.unit.builders import message, why
from tests.unit.fakes import Call, FakeApi, failing
from tests.unit.objects import Object, deployment, replica_set, request_body, template
from tests.unit.test_flux import condition, kustomization
from tests.unit.test_owners import BY_HELM, HELM_LABEL, KUSTOMIZATION_LABELS

KEY: Key = ("shop", "all")
CREATE = "POST /apis/rollback.dev/v1alpha1/namespaces/shop/rollbackrequests"
LOST = errors.Unavailable("no answer")


def target(name: str, **fields: Any) -> tuple[Object, ...]:
    """A Deployment with revisions 1 to 3."""
    made = deployment(name=name, **fields)
    made["metadata"]["uid"] = f"uid-of-{name}"
    sets = [replica_set(number, owner=f"uid-of-{name}") for number in (1, 2, 3)]
    for number, one in enumerate(sets, 1):
        one["metadata"] |= {"name": f"{name}-{number}", "uid": f"uid-of-{name}-{number}"}
    return made, *sets


def asked(*names: str, **spec: Any) -> Object:
    """A group of so many targets, each in the next wave, that was created a moment ago."""
    members = [{"target": {"kind": "Deployment", "name": name}, "wave": at} for at, name in enumerate(names)]
    body = request_body("all", uid="uid-of-all", targets=members, **spec)
    del body["spec"]["target"]
    created = datetime.now(UTC) - timedelta(seconds=2)
    body["metadata"]["creationTimestamp"] = created.strftime("%Y-%m-%dT%H:%M:%SZ")
    return body


class World:
    """Deployments a and b, a group of them, and a worker."""

    def __init__(self, group: Object | None = None, *things: Object) -> None:
        self.group = group or asked("a", "b")
        self.api = FakeApi(*target("a"), *target("b"), self.group, *things)
        self.worker = self.another_worker()

    def another_worker(self, settings: Settings | None = None) -> RequestWorker:
        """Of another operator, or of the same one after it was killed."""
        api: Any = self.api
        return RequestWorker(api, {"Deployment": DeploymentTarget(api)}, settings or Settings(), lambda _: None)

    async def work(self) -> float | None:
        again = await self.worker.work(KEY)
        await self.worker.told()
        return again

    def name(self, target: str) -> str:
        return child_name(parse_request(self.group), TargetRef(kind="Deployment", name=target))

    def child(self, target: str) -> Object:
        return self.api.current(request_body(self.name(target)))

    def ends(self, target: str, phase: str = "Succeeded", applied: str = "True") -> None:
        """The request for that target ends."""
        now = datetime.now(UTC).isoformat()
        state = "True" if phase == "Succeeded" else "False"
        conditions = [
            {"type": kind, "status": status, "reason": "Said", "message": "So.", "lastTransitionTime": now}
            for kind, status in (("Ready", state), ("Applied", applied))
        ]
        status = {"phase": phase, "conditions": conditions, "from": "3", "to": "2", "observedGeneration": 1}
        self.api.edit(request_body(self.name(target)), lambda body: body.update(status=status))

    def status(self) -> RequestStatus:
        return RequestStatus.model_validate(self.api.current(self.group)["status"])

    def outcome(self) -> tuple[str | None, str]:
        return self.status().phase, why(self.status())

    def creations(self) -> list[Call]:
        return [call for call in self.api.writes() if str(call) == CREATE]

    def events(self) -> list[str]:
        return [call.body["reason"] for call in self.api.writes() if call.path.endswith("/events")]


async def test_a_group_makes_a_request_for_each_target_when_its_wave_comes() -> None:
    world = World()
    assert await world.work() == pytest.approx(5, abs=1)
    assert world.outcome() == ("Running", "WaveRunning")
    assert [call.body["metadata"]["name"] for call in world.creations()] == [world.name("a")]
    world.ends("a")
    await world.work()
    assert [call.body["metadata"]["name"] for call in world.creations()] == [world.name("a"), world.name("b")]
    world.ends("b")
    assert await world.work() is None
    assert world.outcome() == ("Succeeded", "Completed")
    assert world.events() == ["WaveRunning", "WaveRunning", "Completed"]


async def test_the_status_is_written_before_a_request_is_made() -> None:
    world = World()
    await world.work()
    writes = [str(call).split()[0] for call in world.api.writes() if not call.path.endswith("/events")]
    assert writes == ["PUT", "POST", "PUT"]


async def test_a_request_belongs_to_its_group_and_says_so() -> None:
    world = World(asked("a", "b", serviceAccountName="mine", dryRun=False))
    await world.work()
    child = world.child("a")
    assert child["metadata"]["labels"] == {GROUP_LABEL: "all"}
    assert child["metadata"]["ownerReferences"] == [
        {
            "apiVersion": "rollback.dev/v1alpha1",
            "kind": "RollbackRequest",
            "name": "all",
            "uid": "uid-of-all",
            "controller": True,
            "blockOwnerDeletion": False,
        }
    ]
    assert group_of(child) == KEY
    assert child["spec"]["serviceAccountName"] == "mine"
    assert child["spec"]["from"] == world.status().targets[0].fingerprint
    assert {call.as_ for call in world.creations()} == {"the operator"}


async def test_everything_but_the_target_is_left_alone() -> None:
    world = World()
    await world.work()
    assert {call.path.rsplit("/", 2)[-2] for call in world.api.writes()} <= {"shop", "all"}


async def test_a_target_that_is_not_there_ends_it_before_anything_is_made() -> None:
    world = World(asked("a", "c"))
    assert await world.work() is None
    assert world.outcome() == ("Failed", "TargetNotFound")
    assert world.creations() == []


async def test_targets_that_may_not_be_read_end_it() -> None:
    world = World()
    world.api.faults.append(failing("GET /apis/apps/v1/namespaces/shop/deployments/b", errors.Forbidden("no")))
    await world.work()
    assert world.outcome() == ("Failed", "Forbidden")


async def test_whose_rights_are_missing_to_read_a_target_is_told() -> None:
    """As it would be told of a request of its own: what is read as the service account takes its rights."""
    said = (
        'GET /apis/apps/v1/namespaces/shop/deployments/b as shop/rollback: 403 deployments.apps "b" is forbidden: User '
        '"system:serviceaccount:shop:rollback" cannot get resource "deployments" in API group "apps" in the namespace '
        '"shop"'
    )
    world = World()
    world.api.faults.append(failing("GET /apis/apps/v1/namespaces/shop/deployments/b", errors.Forbidden(said)))
    await world.work()
    assert "Service account shop/rollback may not get Deployment b in namespace shop" in message(world.status())


# What its requests would come to.

SAID = "None of the group's targets was changed."
FLUX = "/apis/kustomize.toolkit.fluxcd.io/v1/namespaces/flux-system/kustomizations/shop"


def of_helm(thing: Object) -> None:
    thing["metadata"]["labels"] = dict(HELM_LABEL)
    thing["metadata"]["annotations"].update(BY_HELM)


def of_flux(thing: Object) -> None:
    thing["metadata"]["labels"] = dict(KUSTOMIZATION_LABELS)


async def alone(world: World, name: str, **spec: Any) -> tuple[tuple[str | None, str], str]:
    """How a request for that target alone ends, and with which words."""
    body = request_body(f"for-{name}", uid=f"uid-for-{name}", target={"kind": "Deployment", "name": name}, **spec)
    body["metadata"]["creationTimestamp"] = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    world.api.put(body)
    await world.worker.work(("shop", f"for-{name}"))
    await world.worker.told()
    status = RequestStatus.model_validate(world.api.current(request_body(f"for-{name}"))["status"])
    return (status.phase, why(status)), message(status)


async def test_an_owner_of_a_later_target_ends_it_in_the_words_of_its_own_request() -> None:
    world = World()
    world.api.edit(deployment(name="b"), of_helm)
    assert await world.work() is None
    outcome, said = await alone(world, "b")
    assert world.outcome() == outcome == ("Failed", "OwnedBy")
    assert message(world.status()) == f"{said} {SAID}"
    assert world.creations() == []


async def test_every_hindrance_is_named_before_anything_is_made() -> None:
    world = World(asked("a", "b", "c"), *target("c")[:1])
    world.api.edit(deployment(name="b"), of_helm)
    await world.work()
    (_, owned), (_, nothing) = await alone(world, "b"), await alone(world, "c")
    assert "Deployment/c has no revision before" in nothing
    assert message(world.status()) == f"{owned} {nothing} {SAID}"
    assert world.creations() == []


def rolled_back_from(number: int) -> Object:
    """A request that ended after it rolled b back from that revision, to one that is gone."""
    body = request_body(f"from-{number}", uid=f"uid-of-from-{number}", target={"kind": "Deployment", "name": "b"})
    left = {"revision": str(number), "fingerprint": podtemplate.fingerprint(template(f"shop:{number}"))}
    plan = {"digest": "", "uid": "uid-of-b", "from": left, "to": {"revision": "9", "fingerprint": "v1:gone"}}
    plan |= {"steps": [], "diff": "", "serviceAccountName": "rollback"}
    applied = {"type": "Applied", "status": "True", "reason": "Applied", "message": "So."}
    body["status"] = {
        "phase": "Succeeded",
        "conditions": [{**applied, "lastTransitionTime": "2026-03-01T00:00:00Z"}],
        "target": "Deployment/b",
        "targets": [{"target": "Deployment/b", "phase": "Succeeded", "plan": plan}],
        "finishedAt": "2026-03-01T00:00:00Z",
    }
    return body


async def test_what_was_rolled_back_from_is_not_gone_back_to() -> None:
    world = World(None, rolled_back_from(1), rolled_back_from(2))
    await world.work()
    assert world.outcome() == ("Failed", "NothingToRollBackTo")
    assert "Deployment/b has no earlier revision that does not count as bad" in message(world.status())
    assert world.creations() == []


async def test_what_was_rolled_back_before_its_turn_comes_is_no_hindrance() -> None:
    another = rolled_back_from(9)
    another["status"]["finishedAt"] = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    world = World(None, another)
    await world.work()
    assert world.outcome() == ("Running", "WaveRunning")


async def test_an_application_is_named_with_the_namespace_that_the_settings_say() -> None:
    world = World()
    named = {"argocd.argoproj.io/instance": "web"}
    world.api.edit(deployment(name="b"), lambda thing: thing["metadata"].update(labels=named))
    world.worker = world.another_worker(Settings(argo_cd_namespace="cd"))
    await world.work()
    assert "target: {kind: Application, name: web, namespace: cd}" in message(world.status())


async def test_a_revision_that_a_later_target_does_not_have_ends_it() -> None:
    group = asked("a", "b")
    group["spec"]["targets"][1]["to"] = "9"
    world = World(group)
    await world.work()
    assert world.outcome() == ("Failed", "RevisionNotFound")
    assert "Deployment/b has no revision 9" in message(world.status())


async def test_an_owner_that_would_not_stop_is_found_as_the_service_account_of_its_target() -> None:
    world = World(asked("a", "b", owner="Through", serviceAccountName="mine"))
    world.api.edit(deployment(name="b"), of_flux)
    await world.work()
    assert world.outcome() == ("Failed", "OwnedBy")
    assert "there is no such object in this cluster" in message(world.status())
    assert {call.as_ for call in world.api.calls if call.path == FLUX} == {"shop/mine"}


async def test_an_owner_that_may_not_be_looked_at_ends_it() -> None:
    world = World(asked("a", "b", owner="Through"))
    world.api.edit(deployment(name="b"), of_flux)
    world.api.faults.append(failing(f"GET {FLUX}", errors.Forbidden("no")))
    await world.work()
    assert world.outcome() == ("Failed", "Forbidden")
    assert "may not get kustomizations shop in namespace flux-system" in message(world.status())


async def test_requests_that_may_not_be_listed_end_it() -> None:
    world = World()
    listing = "GET /apis/rollback.dev/v1alpha1/namespaces/shop/rollbackpolicies"
    world.api.faults.append(failing(listing, errors.Forbidden("no")))
    await world.work()
    assert world.outcome() == ("Failed", "Forbidden")
    assert "The operator's own rights do not suffice" in message(world.status())


WAITED_FOR = {
    "Flux that is applying": kustomization(condition("Reconciling", "True")),
    "Flux that can be suspended": kustomization(),
}


@pytest.mark.parametrize("body", WAITED_FOR.values(), ids=WAITED_FOR.keys())
async def test_what_its_request_can_wait_for_or_suspend_is_no_hindrance(body: Object) -> None:
    body["metadata"].setdefault("generation", 1)
    world = World(asked("a", "b", owner="Through"), body)
    world.api.edit(deployment(name="b"), of_flux)
    await world.work()
    assert world.outcome() == ("Running", "WaveRunning")
    assert "suspend" not in world.api.current(body)["spec"]


async def test_a_request_that_is_ahead_is_no_hindrance_and_hides_none() -> None:
    ahead = request_body("ahead", target={"kind": "Deployment", "name": "b"})
    ahead["status"] = {"phase": "Running", "target": "Deployment/b"}
    world = World(None, ahead)
    await world.work()
    assert world.outcome() == ("Running", "WaveRunning")
    world = World(None, ahead)
    world.api.edit(deployment(name="b"), of_helm)
    await world.work()
    assert world.outcome() == ("Failed", "OwnedBy")


@pytest.fixture
def behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Deployment stands for the release that made another one."""
    monkeypatch.setattr(stance, "_ref", lambda *_: TargetRef(kind="Deployment", name="behind"))


@pytest.mark.usefixtures("behind")
async def test_a_target_goes_by_its_owner_as_that_was_found() -> None:
    world = World(asked("a", "b", owner="Through"), *target("behind"))
    world.api.edit(deployment(name="a"), of_helm)
    await world.work()
    child = world.child("a")
    assert child["spec"]["target"] == {"kind": "Deployment", "name": "behind"}
    assert child["spec"]["from"] == world.status().targets[0].fingerprint
    await world.worker.work(("shop", world.name("a")))
    of_child = RequestStatus.model_validate(world.child("a")["status"])
    assert (of_child.target, of_child.phase) == ("Deployment/behind", "Verifying")
    assert next(call.path for call in world.api.writes() if "deployments/" in call.path).endswith("/behind")
    assert world.status().targets[0].owner == "Deployment/behind"


@pytest.mark.usefixtures("behind")
async def test_an_owner_that_is_not_there_ends_it() -> None:
    world = World(asked("a", "b", owner="Through"))
    world.api.edit(deployment(name="b"), of_helm)
    await world.work()
    assert world.outcome() == ("Failed", "TargetNotFound")
    assert "There is no Deployment behind in namespace shop." in message(world.status())


@pytest.mark.usefixtures("behind")
async def test_an_owner_that_may_not_be_read_ends_it() -> None:
    world = World(asked("a", "b", owner="Through"))
    world.api.edit(deployment(name="b"), of_helm)
    world.api.faults.append(failing("GET /apis/apps/v1/namespaces/shop/deployments/behind", errors.Forbidden("no")))
    await world.work()
    assert world.outcome() == ("Failed", "Forbidden")


@pytest.mark.usefixtures("behind")
async def test_a_revision_of_a_target_is_none_of_its_owner() -> None:
    group = asked("a", "b", owner="Through")
    group["spec"]["targets"][1]["to"] = "2"
    world = World(group, *target("behind"))
    world.api.edit(deployment(name="b"), of_helm)
    await world.work()
    assert world.outcome() == ("Failed", "OwnedBy")
    assert "revision 2 of it says nothing of the revisions of Deployment/behind" in message(world.status())


async def test_a_dry_run_says_what_every_target_would_come_to() -> None:
    world = World(asked("a", "b", dryRun=True))
    world.api.edit(deployment(name="b"), of_helm)
    await world.work()
    for name in ("a", "b"):
        await world.worker.work(("shop", world.name(name)))
    await world.work()
    assert world.outcome() == ("Failed", "WaveFailed")
    assert "Deployment/b: OwnedBy" in message(world.status())
    assert "Would go back: Deployment/a from revision 3 to 2." in message(world.status())


async def test_an_abort_is_passed_on() -> None:
    world = World()
    await world.work()
    world.api.edit(world.group, lambda body: body["spec"].update(abort=True))
    world.worker = world.another_worker()
    assert await world.work() == pytest.approx(1)
    assert world.child("a")["spec"]["abort"] is True
    world.ends("a", "Aborted", applied="False")
    await world.work()
    assert world.outcome() == ("Aborted", "Aborted")
    assert len(world.creations()) == 1


async def test_an_abort_that_cannot_be_passed_on_is_tried_again_later() -> None:
    world = World()
    await world.work()
    world.api.edit(world.group, lambda body: body["spec"].update(abort=True))
    world.worker = world.another_worker()
    world.api.faults.append(failing("PATCH", errors.Invalid("it has ended")))
    assert await world.work() == pytest.approx(1)
    assert world.outcome() == ("Running", "WaveRunning")


# Lost answers, kills, other operators.

TROUBLE = {"no answer": LOST, "too many requests": errors.NotDone("429"), "gone": errors.NotFound("404")}


@pytest.mark.parametrize("error", TROUBLE.values(), ids=TROUBLE.keys())
async def test_a_request_whose_making_failed_is_made_again(
    error: errors.KubeError, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World()
    monkeypatch.setattr(times, "FIRST_PAUSE", timedelta())
    world.api.faults.append(failing(CREATE, error, times=1))
    await world.work()
    assert len(world.creations()) == 2
    assert world.status().targets[0].steps[0].attempts == 2


async def test_a_request_whose_answer_was_lost_is_found() -> None:
    world = World()
    world.api.late_faults.append(failing(CREATE, LOST, times=1))
    await world.work()
    assert len(world.creations()) == 1
    assert world.status().targets[0].steps[0].state == "Done"


async def test_another_operator_goes_on_from_what_is_written() -> None:
    world = World()
    world.api.late_faults.append(failing(CREATE, RuntimeError("killed"), times=1))
    with pytest.raises(RuntimeError):
        await world.work()
    world.worker = world.another_worker()
    await world.work()
    assert len(world.creations()) == 1


async def test_an_operator_on_an_old_reading_makes_nothing() -> None:
    world = World()
    old = world.api.current(world.group)
    await world.work()
    world.worker = world.another_worker()
    world.worker.saw(old)
    await world.work()
    assert len(world.creations()) == 1


async def test_what_was_written_too_long_ago_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    monkeypatch.setattr(times, "SEND_WITHIN", timedelta(seconds=-1))
    await world.work()
    assert world.creations() == []


async def test_a_request_of_somebody_else_is_not_taken_for_the_groups() -> None:
    world = World()
    world.api.put(request_body(world.name("a")))
    await world.work()
    assert world.outcome() == ("Failed", "WaveFailed")
    assert "that this group did not make" in message(world.status())


async def test_a_request_that_the_api_server_refuses_ends_the_group() -> None:
    world = World()
    world.api.faults.append(failing(CREATE, errors.Forbidden("exceeded quota")))
    await world.work()
    assert world.outcome() == ("Failed", "WaveFailed")
    assert "cannot be made, and nothing was changed on it. Remove the cause" in message(world.status())
    assert "exceeded quota" in message(world.status())


async def test_a_group_that_is_deleted_meanwhile_makes_nothing() -> None:
    world = World()
    world.worker.saw(world.api.current(world.group))
    world.api.drop(world.group)
    assert await world.work() is None
    assert world.creations() == []


async def test_a_group_that_is_being_deleted_begins_nothing() -> None:
    group = asked("a", "b")
    group["metadata"]["deletionTimestamp"] = group["metadata"]["creationTimestamp"]
    world = World(group)
    await world.work()
    assert world.outcome() == ("Aborted", "Aborted")
    assert world.creations() == []


# Being woken.


async def test_the_end_of_a_request_wakes_its_group_at_once() -> None:
    world = World()
    await world.work()
    api: Any = world.api
    operator = RollbackOperator(api, Settings())
    operator.agenda.wake(("rollbackrequests", *KEY), 5)
    _tell(operator, world.child("a"), wakes_in=0.5)
    world.ends("a")
    _tell(operator, world.child("a"), wakes_in=0)


async def test_a_group_that_has_ended_is_not_woken() -> None:
    world = World()
    await world.work()
    world.ends("a")
    api: Any = world.api
    operator = RollbackOperator(api, Settings())
    operator.request_changed(world.child("a"), deleted=True)
    assert not operator.agenda.knows(("rollbackrequests", *KEY))


def _tell(operator: RollbackOperator, child: Object, *, wakes_in: float) -> None:
    """Tell of a group's request; the group has to be due in so many seconds then."""
    begun = time.monotonic()
    operator.request_changed(child, deleted=False)
    due = operator.agenda._due["rollbackrequests", *KEY]
    assert begun + wakes_in <= due <= time.monotonic() + wakes_in
