"""Carrying groups out, over an API server in memory that fails where a test says so."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rollback_operator.api import GROUP_LABEL
from rollback_operator.api.common import TargetRef
from rollback_operator.api.request import RequestStatus
from rollback_operator.core.group.values import child_name
from rollback_operator.core.life import times
from rollback_operator.kube import errors
from rollback_operator.kube.resources import Key, group_of, parse_request
from rollback_operator.operator import RollbackOperator
from rollback_operator.requests.worker import RequestWorker
from rollback_operator.settings import Settings
from rollback_operator.targets.deployment import DeploymentTarget
from tests.unit.builders import message, why
from tests.unit.fakes import Call, FakeApi, failing
from tests.unit.objects import Object, deployment, replica_set, request_body

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

    def another_worker(self) -> RequestWorker:
        """Of another operator, or of the same one after it was killed."""
        api: Any = self.api
        return RequestWorker(api, {"Deployment": DeploymentTarget(api)}, Settings(), lambda _: None)

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
