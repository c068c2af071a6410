"""A StatefulSet whose template was set back by others already, and which waits for a broken pod: it is freed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from rollback_operator.api import REQUEST_ANNOTATION
from rollback_operator.api.options import Options, StatefulSetOptions
from rollback_operator.api.reasons import Reason
from rollback_operator.api.request import Phase, RequestStatus
from rollback_operator.core.life import advance
from rollback_operator.core.life.times import FINISH_TRIES
from rollback_operator.core.life.verifying import FREEING_TRIES
from rollback_operator.core.values import (
    Apply,
    Decision,
    Ending,
    Examine,
    Findings,
    Finish,
    HeldUp,
    Observation,
    Obstacle,
    Rehearse,
    Rehearsed,
    Request,
    Snapshot,
)
from rollback_operator.kube import errors
from rollback_operator.requests.worker import RequestWorker
from rollback_operator.settings import Settings
from rollback_operator.targets.statefulset import StatefulSetTarget
from tests.unit.builders import (
    HEALTHY,
    NOW,
    REQUEST_UID,
    ROLLING,
    after,
    decide,
    entry,
    fingerprint,
    message,
    other,
    policy,
    request,
    revision,
    snapshot,
    states,
    step_on,
    why,
)
from tests.unit.fakes import Call, FakeApi, failing
from tests.unit.objects import Object, request_body
from tests.unit.sets import STATEFUL_COUNTS, record, set_pod, stateful_set
from tests.unit.test_controllerrevisions import HERE
from tests.unit.test_requests import LOST, asked

# What is decided.

HELD = HeldUp(revision(3), "pod checkout-1 of revision 3")
"""a came back as revision 4, after b; pods of c are not ready."""
STUCK: Snapshot = replace(snapshot(".bca", health=ROLLING), held_up=HELD, reactivated=True)
BY_PEOPLE = replace(STUCK, held_up=replace(HELD, left_to_people=True))
ANEW = replace(STUCK, reactivated=False)
FOUND = Findings(steps=("Delete pod checkout-1 of revision 3.",), diff="")


def decided(asked: Request, seen: Observation) -> Decision:
    """`advance`, told what is found of the revision that stands."""
    decision = advance(asked, seen, NOW)
    return advance(asked, replace(seen, answer=FOUND), NOW) if decision.action == Examine(STUCK.current) else decision


FREED: dict[str, tuple[Request, Observation]] = {
    "the revision that stands is named": (request(to="4"), Observation(target=ANEW)),
    "the fingerprint of what stands is named": (request(to=fingerprint("a")), Observation(target=ANEW)),
    "somebody went back already, and no revision is named": (request(), Observation(target=STUCK)),
    "somebody went back already, and Previous is asked for": (request(to="Previous"), Observation(target=STUCK)),
    "somebody went back already, to what proved good": (
        request(policy_ref={"name": "checkout"}),
        Observation(policy(), STUCK, entries=(entry("a"),)),
    ),
}


@pytest.mark.parametrize("case", FREED)
def test_it_is_freed_when(case: str) -> None:
    decision = decided(*FREED[case])

    assert isinstance(decision.action, Apply)
    plan = decision.action.plan
    assert (plan.frees, plan.from_.revision, plan.to.revision) == (True, "3", "4")
    assert plan.steps == FOUND.steps
    assert plan.notes[0] == (
        "Deployment/checkout was set to revision 4 already, and waits for pod checkout-1 of revision 3. To go to "
        "another revision, name it in `to`."
    )
    assert message(decision.status) == (
        "Freeing Deployment/checkout, which stands at revision 4, of pods of revision 3 that are not ready."
    )


NOT_FREED: dict[str, tuple[Request, Observation, str]] = {
    "another revision is named": (request(to="2"), Observation(target=STUCK), "2"),
    "a new release waits, and Previous is asked for": (request(), Observation(target=ANEW), "3"),
    "what stands is to be left": (request(from_=fingerprint("a")), Observation(target=STUCK), "3"),
    "something else proved good, and that is asked for": (
        request(policy_ref={"name": "checkout"}),
        Observation(policy(), STUCK, entries=(entry("b"),)),
        "2",
    ),
    "what stands counts as bad": (
        request(),
        Observation(target=STUCK, others=(other(phase=Phase.SUCCEEDED, applied=True, left=fingerprint("a"), to=None),)),
        "3",
    ),
}


@pytest.mark.parametrize("case", NOT_FREED)
def test_it_is_rolled_back_as_ever_when(case: str) -> None:
    asked, seen, to = NOT_FREED[case]

    plan = decide(asked, seen).action.plan  # type: ignore[union-attr]

    assert (plan.frees, plan.from_.revision, plan.to.revision) == (None, "4", to)


def ended(decision: Decision) -> Ending:
    status = decision.status
    assert status.phase is not None
    return Ending(status.phase, Reason(why(status)), message(status))


def test_people_who_keep_that_for_themselves_are_told_what_to_delete() -> None:
    assert ended(decided(request(to="4"), Observation(target=BY_PEOPLE))) == Ending(
        Phase.SUCCEEDED,
        Reason.ALREADY_AT_REVISION,
        "Deployment/checkout already has the template of revision 4: nothing was changed. But it waits for pod "
        "checkout-1 of revision 3: delete by hand what is not ready (options.statefulSet.freeStuckPods is off).",
    )


def test_without_the_right_it_ends_and_says_so() -> None:
    obstacle = Obstacle(Reason.FORBIDDEN, "Service account shop/rollback may not delete pods.")
    seen = Observation(target=STUCK, answer=replace(FOUND, obstacle=obstacle))
    assert ended(advance(request(), seen, NOW)) == Ending(Phase.FAILED, Reason.FORBIDDEN, obstacle.message)


def test_a_dry_run_says_which_pods() -> None:
    asked = request(dry_run=True)
    rehearse = decided(asked, Observation(target=STUCK)).action
    assert isinstance(rehearse, Rehearse)

    decision = advance(asked, Observation(target=STUCK, answer=Rehearsed(rehearse.plan)), NOW)

    assert ended(decision) == Ending(
        Phase.SUCCEEDED,
        Reason.DRY_RUN,
        "Dry run: Deployment/checkout has the template of revision 4 already. Delete pod checkout-1 of revision 3. "
        "Nothing was changed.",
    )


def freeing() -> Request:
    """A request whose plan is to free the set."""
    asked = request()
    return step_on(asked, decided(asked, Observation(target=STUCK)))


def test_no_copy_is_kept_of_what_stays() -> None:
    (mine,) = freeing().status.targets
    assert mine.plan is not None
    assert (mine.plan.backup, mine.restore) == (None, None)


def test_once_it_is_marked_its_pods_are_deleted() -> None:
    asked = freeing()
    marked = replace(STUCK, marks=frozenset({REQUEST_UID}), held_up=None)

    decision = advance(asked, Observation(target=marked), after(1))

    assert decision.status.phase is Phase.VERIFYING
    assert states(decision.status)["Applied"] == "True"
    assert message(decision.status, "Applied") == (
        "Deployment/checkout stands at revision 4 and is freed of pods of revision 3 that are not ready."
    )
    waiting = replace(marked, unfinished=True, freeing=True)
    assert isinstance(advance(step_on(asked, decision), Observation(target=waiting), after(2)).action, Finish)


def test_a_reading_without_the_mark_says_nothing_of_a_set_that_was_freed() -> None:
    """Its template was the same before, and so its generation. But people may take the mark away."""
    asked = freeing()
    marked = replace(STUCK, marks=frozenset({REQUEST_UID}), held_up=None)
    asked = step_on(asked, advance(asked, Observation(target=marked), after(1)))
    before = replace(STUCK, held_up=None, health=HEALTHY)

    decision = advance(asked, Observation(target=before), after(2))

    assert decision.status == asked.status
    assert advance(asked, Observation(target=before), after(3600)).status.phase is Phase.SUCCEEDED


def test_a_release_that_comes_before_the_mark_is_left_alone() -> None:
    asked = freeing()
    (mine,) = asked.status.targets
    assert mine.steps[0].last_attempt_at is not None
    seen = Observation(target=snapshot(".bca", current=3), answered=1)
    decision = advance(asked, seen, after(1))
    assert (decision.status.phase, why(decision.status)) == (Phase.SUPERSEDED, "NewerRelease")
    assert message(decision.status).startswith("Deployment/checkout moved on from revision 4 before")


# What is seen.

BAD, GOOD = record(3, created="2026-11-21T10:00:00Z"), record(4, "shop:2", created="2026-11-21T09:00:00Z")
HISTORY = (record(1, created="2026-11-21T08:00:00Z"), BAD, GOOD)
BY_HAND = replace(HERE, options=Options(stateful_set=StatefulSetOptions(free_stuck_pods=False)))


def counts(updated: int, available: int, **spec: Any) -> Object:
    status = dict(zip(STATEFUL_COUNTS, (3, available, available, updated), strict=True))
    return stateful_set("shop:2", status=status, **spec)


def partition(number: int) -> Object:
    return {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": number}}}


def pod(number: int, of: Object = BAD, *, ready: bool = False, **more: Any) -> Object:
    return set_pod(f"checkout-{number}", of["metadata"]["name"], ready=ready, **more)


WAITING = counts(0, 2)


async def held_up(*things: Object, where: Any = HERE, phase: Phase | None = None) -> HeldUp | None:
    seen = await StatefulSetTarget(FakeApi(*HISTORY, *things)).observe(where, phase, None)  # type: ignore[arg-type]
    assert seen is not None
    return seen.held_up


HOLDS: dict[str, tuple[tuple[Object, ...], str, str]] = {
    "a pod of a later release": ((pod(2),), "3", "pod checkout-2 of revision 3"),
    "two of them": ((pod(1), pod(2)), "3", "pod checkout-1, pod checkout-2 of revision 3"),
    "pods of several releases": (
        (pod(1, HISTORY[0]), pod(2)),
        "3",
        "pod checkout-1 of revision 1 and pod checkout-2 of revision 3",
    ),
    "one beside pods that are well": (
        (pod(0, GOOD, ready=True), pod(1, ready=True), pod(2)),
        "3",
        "pod checkout-2 of revision 3",
    ),
}


@pytest.mark.parametrize("case", HOLDS)
async def test_it_is_held_up_by(case: str) -> None:
    things, by, named = HOLDS[case]
    held = await held_up(WAITING, *things)
    assert held is not None
    assert (held.by.name, held.pods, held.left_to_people) == (by, named, False)


async def test_that_people_free_it_is_seen_too() -> None:
    held = await held_up(WAITING, pod(2), where=BY_HAND)
    assert held is not None
    assert held.left_to_people


GOING: Object = {"deletionTimestamp": "2026-11-21T10:00:00Z"}
NOT_HELD: dict[str, tuple[Object, ...]] = {
    "all pods are ready": (WAITING, pod(2, ready=True)),
    "it is rolled out": (counts(3, 3), pod(2)),
    "a pod is being replaced": (WAITING, pod(1), pod(2, **GOING)),
    "a pod that it made is starting": (WAITING, pod(1), pod(2, GOOD)),
    "a pod that the partition keeps back is not ready either": (
        counts(0, 2, **partition(2)),
        pod(1),
        pod(2),
    ),
    "its controller has not seen the change yet": (stateful_set("shop:2", more={"observed": 2}), pod(2)),
    "pods do not wait for each other": (counts(0, 2, podManagementPolicy="Parallel"), pod(2)),
    "people delete pods (OnDelete)": (counts(0, 2, updateStrategy={"type": "OnDelete"}), pod(2)),
    "the pod is somebody else's": (WAITING, pod(2, owner="another")),
}


@pytest.mark.parametrize("case", NOT_HELD)
async def test_nothing_is_to_be_deleted_when(case: str) -> None:
    assert await held_up(*NOT_HELD[case]) is None


async def test_after_the_plan_only_what_it_says_is_looked_at() -> None:
    assert await held_up(WAITING, pod(2), phase=Phase.RUNNING) is None


async def examined(*lacking: str) -> Findings:
    api = FakeApi(WAITING, *HISTORY, pod(2))
    api.lacking = set(lacking)
    module = StatefulSetTarget(api)  # type: ignore[arg-type]
    seen = await module.observe(HERE, None, None)
    assert seen is not None
    return await module.examine(HERE, seen, seen.current)


async def test_a_plan_names_the_pods_and_no_difference() -> None:
    found = await examined()
    assert found.steps == ("Delete pod checkout-2 of revision 3: the StatefulSet waits for what is not ready.",)
    assert (found.diff, found.obstacle) == ("", None)


async def test_a_plan_needs_the_right_to_delete_pods() -> None:
    found = await examined("delete")
    assert found.obstacle is not None
    assert found.obstacle.reason is Reason.FORBIDDEN
    assert found.obstacle.message.startswith(
        "Service account shop/rollback may not delete pods checkout-2 in namespace shop, and the StatefulSet waits for "
        "pod checkout-2 of revision 3, not ready: nothing was changed."
    )


# The whole of it.


class World:
    """A StatefulSet that waits, a request, and a worker."""

    def __init__(self, *things: Object) -> None:
        undo = asked(target={"kind": "StatefulSet", "name": "checkout"})
        self.api = FakeApi(WAITING, *HISTORY, pod(2), *things, undo)
        self.worker = self.another_worker()

    def another_worker(self) -> RequestWorker:
        api: Any = self.api
        return RequestWorker(api, {"StatefulSet": StatefulSetTarget(api)}, Settings(), lambda _: None)

    async def work(self) -> None:
        await self.worker.work(("shop", "undo"))
        await self.worker.told()

    def controller(self) -> None:
        """What waited is replaced."""
        self.api.put(counts(3, 3, pods=None) | {"metadata": self.api.current(WAITING)["metadata"]})

    def outcome(self) -> tuple[str, str]:
        status = self.api.current(request_body("undo"))["status"]
        return status["phase"], next(one["reason"] for one in status["conditions"] if one["type"] == "Ready")

    def deleted(self) -> list[str]:
        return [call.path.rsplit("/", 1)[1] for call in self.api.writes() if call.verb == "DELETE"]


async def test_the_pod_is_deleted_as_the_account_and_the_template_stays() -> None:
    world = World()
    before = world.api.current(WAITING)
    await world.work()
    assert world.deleted() == ["checkout-2"]
    thing = world.api.current(WAITING)
    assert (thing["spec"], thing["metadata"]["generation"]) == (before["spec"], before["metadata"]["generation"])
    assert thing["metadata"]["annotations"] == {REQUEST_ANNOTATION: "uid-of-undo"}
    world.controller()
    await world.work()
    assert world.outcome() == ("Succeeded", "Completed")
    assert {call.as_ for call in world.api.writes() if call.verb in ("PATCH", "DELETE")} == {"shop/rollback"}


@pytest.mark.parametrize("lost", ["PATCH", "DELETE"])
async def test_a_lost_answer_deletes_nothing_twice(lost: str) -> None:
    world = World()
    world.api.late_faults.append(failing(lost, LOST, times=1))
    await world.work()
    world.worker = world.another_worker()
    await world.work()
    assert world.deleted() == ["checkout-2"]
    world.controller()
    await world.work()
    assert world.outcome() == ("Succeeded", "Completed")


async def test_a_pod_of_that_name_that_came_after_stays() -> None:
    world = World()
    world.api.faults.append(failing("DELETE", LOST, times=1))
    await world.work()
    world.api.put(pod(2, GOOD, uid="another"))
    await world.work()
    world.controller()
    await world.work()
    assert world.outcome() == ("Succeeded", "Completed")
    assert world.api.current(pod(2))["metadata"]["uid"] == "another"


# Fields that may not be given back.


class Refusing(World):
    """A StatefulSet that is rolled back from a release that broke a pod; giving fields back is refused so often."""

    def __init__(self, times: int) -> None:
        super().__init__()
        status = dict(zip(STATEFUL_COUNTS, (3, 2, 2, 1), strict=True))
        self.given_back = 0

        def refuse(call: Call) -> Exception | None:
            if not call.query.get("fieldManager", "").endswith("-give-back"):
                return None
            self.given_back += 1
            return errors.Forbidden("403 a webhook says no") if self.given_back <= times else None

        undo = self.api.current(request_body("undo"))
        self.api = FakeApi(stateful_set("shop:3", status=status), record(1), record(2, "shop:2"), BAD, pod(2), undo)
        self.api.faults.append(refuse)
        self.worker = self.another_worker()

    async def go_back(self, *, abort: bool = False) -> None:
        """The effect is made, its controller sees it, and the fields are the operator's own."""
        await self.work()
        body = self.api.current(WAITING)
        body["status"] |= {"observedGeneration": body["metadata"]["generation"], "updatedReplicas": 0}
        body["metadata"]["managedFields"] = [
            {"manager": "rollback-operator", "operation": "Update", "apiVersion": "apps/v1", "fieldsV1": TEMPLATE},
            {"manager": "kubectl", "operation": "Apply", "apiVersion": "apps/v1", "fieldsV1": TEMPLATE},
        ]
        self.api.drop(record(2, "shop:2"))
        self.api.put(body, {**record(2, "shop:2"), "revision": 4})
        if abort:
            self.api.edit(request_body("undo"), lambda asked: asked["spec"].update(abort=True))
            self.worker.saw(self.api.current(request_body("undo")))

    def said(self) -> str:
        return message(RequestStatus.model_validate(self.api.current(request_body("undo"))["status"]))


TEMPLATE: Object = {"f:spec": {"f:template": {}}}


@pytest.mark.parametrize("times, tries", [(0, 1), (1, 2), (4, 5), (99, FINISH_TRIES)])
async def test_a_set_is_freed_although_giving_fields_back_is_refused(times: int, tries: int) -> None:
    world = Refusing(times)
    await world.go_back()
    for _ in range(FINISH_TRIES + 3):
        await world.work()
    assert (world.deleted(), world.given_back) == (["checkout-2"], tries)
    assert world.outcome() == ("Verifying", "RollingOut")


async def test_why_nothing_is_freed_is_said_when_all_is_refused() -> None:
    world = Refusing(99)
    world.api.faults.append(failing("DELETE", errors.Forbidden("403 nor may pods be deleted")))
    await world.go_back()
    for _ in range(FINISH_TRIES + FREEING_TRIES + 3):
        await world.work()
    assert (world.given_back, world.deleted()) == (FINISH_TRIES, ["checkout-2"] * FREEING_TRIES)
    assert world.outcome() == ("Verifying", "PodsFailing")
    assert "it waits for pod checkout-2 of revision 3, not ready" in world.said()
    assert "403 nor may pods be deleted" in world.said()


async def test_that_fields_could_not_be_given_back_at_first_keeps_no_pod_from_being_deleted() -> None:
    """The second try is made, and its answer is lost."""
    world = Refusing(1)

    def lost(call: Call) -> Exception | None:
        back = call.query.get("fieldManager", "").endswith("-give-back")
        return errors.Unavailable("no answer") if back and world.given_back >= 2 else None

    world.api.late_faults.append(lost)
    await world.go_back()
    for _ in range(FINISH_TRIES + FREEING_TRIES):
        await world.work()
    assert world.deleted() == ["checkout-2"]


async def test_after_an_abort_nothing_is_deleted_whatever_was_refused() -> None:
    world = Refusing(99)
    await world.go_back(abort=True)
    for _ in range(FINISH_TRIES + FREEING_TRIES):
        await world.work()
    assert (world.outcome(), world.deleted()) == (("Aborted", "Aborted"), [])
    assert world.given_back == FINISH_TRIES
