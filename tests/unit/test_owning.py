"""A request for what Flux, Helm or Argo CD manages, from the first look to the end, over an API server in memory."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rollback_operator import owning
from rollback_operator.api import REQUEST_ANNOTATION
from rollback_operator.api.common import TargetRef
from rollback_operator.api.reasons import Reason
from rollback_operator.core import conditions as on
from rollback_operator.core import flux, stance
from rollback_operator.core.life import running, times
from rollback_operator.core.life.times import SEND_WITHIN
from rollback_operator.core.owners import RELEASE_NAME
from rollback_operator.holds.suspensions import SuspensionWorker
from rollback_operator.kube import errors
from rollback_operator.kube.identity import ServiceAccount
from rollback_operator.kube.resources import Key
from rollback_operator.policies.arming import Arming, Disarmed
from rollback_operator.settings import Settings
from rollback_operator.targets import by_kind
from rollback_operator.targets.base import Where, in_time
from rollback_operator.watching import standing_of
from tests.unit.builders import message, states
from tests.unit.fakes import Call, failing, killing
from tests.unit.objects import Object, deployment, policy_body, replica_set
from tests.unit.test_flux import condition, kustomization
from tests.unit.test_owners import BY_HELM, HELM_LABEL, KUSTOMIZATION_LABELS
from tests.unit.test_requests import BAD, GOOD, KEY, World, asked

FLUX = "/apis/kustomize.toolkit.fluxcd.io/v1/namespaces/flux-system/kustomizations/shop"
COMMAND = (
    "kubectl -n flux-system patch kustomizations.kustomize.toolkit.fluxcd.io shop --type merge -p "
    '\'{"metadata":{"annotations":{"rollback.dev/hold":null}},"spec":{"suspend":null}}\''
)
DENIED = errors.Forbidden(
    'kustomizations "shop" is forbidden: User "x" cannot patch resource "kustomizations" in API group '
    '"kustomize.toolkit.fluxcd.io" in the namespace "flux-system"'
)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tried again is tried at once."""
    monkeypatch.setattr(times, "FIRST_PAUSE", timedelta(0))


def of_flux(thing: Object) -> None:
    thing["metadata"]["labels"] = dict(KUSTOMIZATION_LABELS)


def of_helm(thing: Object) -> None:
    thing["metadata"]["labels"] = dict(HELM_LABEL)
    thing["metadata"]["annotations"].update(BY_HELM)


def by_flux(body: Object | None = None, **spec: Any) -> World:
    """checkout as Flux's Kustomization shop applies it, and a request for it."""
    body = body or kustomization()
    body["metadata"].setdefault("generation", 1)
    world = World(body, undo=asked(**{"owner": "Through", **spec}))
    world.edit(of_flux)
    return world


def the_kustomization(world: World) -> Object:
    return world.api.current(kustomization())


def changes(world: World) -> list[str]:
    """What was patched, in order."""
    return [call.path for call in world.effects()]


@pytest.mark.parametrize("owner", [{"owner": "Refuse"}, {}], ids=["asked for", "by default"])
async def test_a_target_of_flux_is_not_touched(owner: dict[str, Any]) -> None:
    world = World(kustomization(), undo=asked(**owner))
    world.edit(of_flux)
    assert await world.work() is None
    assert world.outcome() == ("Failed", "OwnedBy")
    assert "Flux's Kustomization flux-system/shop manages Deployment/checkout" in message(world.status())
    assert world.effects() == []


@pytest.mark.parametrize("owner", ["Refuse", "Through"])
async def test_an_owner_that_cannot_be_ends_the_request(owner: str) -> None:
    world = World(undo=asked(owner=owner))
    world.edit(of_helm)
    world.edit(lambda thing: thing["metadata"]["annotations"].update({RELEASE_NAME: "w" * 300}))
    assert await world.work() is None
    assert world.outcome() == ("Failed", "OwnedBy")
    assert "By its annotation meta.helm.sh/release-name" in message(world.status())
    assert world.effects() == []


async def test_flux_is_suspended_before_the_effect_and_its_resumption_is_shown() -> None:
    world = by_flux()
    await world.work()
    assert changes(world)[:2] == [FLUX, "/apis/apps/v1/namespaces/shop/deployments/checkout"]
    assert world.target["spec"]["template"] == GOOD
    assert the_kustomization(world)["spec"]["suspend"] is True
    record = json.loads(the_kustomization(world)["metadata"]["annotations"][flux.HOLD])
    assert record == {"request": "uid-of-undo", "suspend": None}
    world.controller()
    assert await world.work() is None
    assert world.outcome() == ("Succeeded", "Completed")
    assert message(world.status()).endswith(COMMAND)
    plan = world.status().targets[0].plan
    assert plan is not None
    assert "Suspend Kustomization flux-system/shop (spec.suspend)." in plan.steps


async def test_owners_are_looked_at_and_suspended_as_the_service_account() -> None:
    world = by_flux()
    await world.work()
    assert {call.as_ for call in world.api.calls if call.path == FLUX} == {"shop/rollback"}


async def test_the_effect_waits_for_what_flux_began_before_it_was_suspended() -> None:
    world = by_flux()
    begun: list[bool] = []

    def begin(call: Call) -> Exception | None:
        if call.verb == "PATCH" and call.path == FLUX and not begun:
            begun.append(True)
            world.api.edit(
                kustomization(), lambda one: one["status"].update(conditions=[condition("Reconciling", "True")])
            )
        return None

    world.api.faults.append(begin)
    patience = iter(range(3))

    def until_it_is_done(call: Call) -> Exception | None:
        if call.verb == "PUT" and begun and next(patience, None) is None:
            world.api.edit(kustomization(), lambda one: one["status"].update(conditions=[]))
        if begun and call.verb == "PATCH" and "deployments" in call.path:
            assert the_kustomization(world)["status"]["conditions"] == []
        return None

    world.api.faults.append(until_it_is_done)
    await world.work()
    assert begun
    assert world.target["spec"]["template"] == GOOD
    assert world.status().targets[0].steps[0].attempts > 2


async def test_what_flux_is_applying_is_waited_for_before_anything_is_planned() -> None:
    world = by_flux(kustomization(condition("Reconciling", "True", message="Building manifests")))
    assert await world.work() == 2
    assert world.outcome() == ("Pending", "WaitingForOwner")
    assert world.effects() == []


async def test_an_effect_that_suspending_made_late_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    world = by_flux()

    def take_long(call: Call) -> Exception | None:
        late = call.verb == "PATCH" and call.path == FLUX
        monkeypatch.setattr(times, "SEND_WITHIN", timedelta(seconds=-1) if late else SEND_WITHIN)
        return None

    world.api.late_faults.append(take_long)
    await world.work()
    assert world.status().targets[0].steps[0].attempts == 2
    assert world.target["spec"]["template"] == GOOD


async def test_a_suspension_that_reading_made_late_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The request may have ended since, for all that others know: nobody would end it."""
    world = by_flux()
    sent: list[int] = []

    def slow(where: Where) -> None:
        assert where.send_by is not None
        sent.append(len(changes(world)))
        in_time(replace(where, send_by=datetime.now(UTC) - timedelta(seconds=1)) if len(sent) == 1 else where)

    monkeypatch.setattr(owning, "in_time", slow)
    await world.work()
    assert sent == [0, 0], "the second attempt was the first to write"
    assert world.status().targets[0].steps[0].attempts == 2
    assert the_kustomization(world)["spec"]["suspend"] is True


@pytest.mark.parametrize("denied", [False, True], ids=["then done", "then refused"])
@pytest.mark.parametrize("late", [False, True], ids=["not done", "done"])
@pytest.mark.parametrize("write", range(6))
async def test_killed_at_any_write_the_next_operator_goes_on(
    write: int, *, late: bool, denied: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process ends just before a write is done, or just after; the effect is made then, or refused for good."""
    monkeypatch.setattr(running, "SETTLE", timedelta(0))
    world = by_flux()
    (world.api.late_faults if late else world.api.faults).append(killing(write))
    if denied:
        world.api.faults.append(failing("PATCH /apis/apps", errors.Invalid("denied by a webhook")))
    for _ in range(4):
        try:
            await world.worker.work(KEY)
        except SystemExit:
            world.worker = world.another_worker()
        await world.worker.told()
        world.controller()
    now = the_kustomization(world)
    if denied:
        assert world.outcome() == ("Failed", "Rejected")
        assert (now["spec"], now["metadata"].get("annotations", {})) == ({"prune": True}, {})
    else:
        assert world.outcome() == ("Succeeded", "Completed")
        assert world.target["metadata"]["generation"] == 4, "changed once"
        hold = flux.hold_of(now)
        assert hold is not None
        assert (hold.requests, hold.was) == (("uid-of-undo",), None)


@pytest.mark.parametrize("change", ["was deleted", "was made anew"])
async def test_another_object_of_that_name_is_not_suspended(change: str) -> None:
    world = by_flux()

    def meanwhile(call: Call) -> Exception | None:
        if call.verb == "PUT" and call.body["status"]["phase"] == "Running":
            if change == "was deleted":
                world.api.drop(kustomization())
            else:
                world.api.edit(kustomization(), lambda one: one["metadata"].update(uid="uid-of-another"))
            world.api.faults.remove(meanwhile)
        return None

    world.api.faults.append(meanwhile)
    assert await world.work() is None
    assert world.outcome() == ("Failed", "OwnedBy")
    assert change in message(world.status())
    assert world.effects() == []


async def test_an_end_of_which_nobody_can_say_whether_it_took_effect_tells_of_the_suspension(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = by_flux()

    def vanish(call: Call) -> Exception | None:
        if call.verb != "PATCH" or "deployments" not in call.path or call.query.get("dryRun"):
            return None
        world.api.drop(deployment())
        return errors.Unavailable("no answer")

    world.api.late_faults.append(vanish)
    monkeypatch.setattr(running, "SETTLE", timedelta(0))
    await world.work()
    assert states(world.status())["Applied"] == "Unknown"
    assert message(world.status()).endswith(COMMAND)
    assert the_kustomization(world)["spec"]["suspend"] is True


async def test_a_suspension_without_an_effect_is_ended() -> None:
    world = by_flux()
    world.api.faults.append(failing("PATCH /apis/apps", errors.Invalid("denied by a webhook")))
    await world.work(rounds=2)
    assert world.outcome() == ("Failed", "Rejected")
    assert the_kustomization(world)["spec"] == {"prune": True}
    assert flux.HOLD not in the_kustomization(world)["metadata"]["annotations"]
    assert COMMAND not in message(world.status())


async def test_an_old_reading_does_not_leave_a_suspension_without_an_effect() -> None:
    """As Flux was before: what has no version of its own that fits says nothing of now."""
    world = by_flux()
    before = the_kustomization(world)
    world.api.faults.append(failing("PATCH /apis/apps", errors.Invalid("denied by a webhook")))
    real, old = world.api.get, [before]

    async def get(path: str, **more: Any) -> Object:
        old_enough = path == FLUX and the_kustomization(world)["spec"].get("suspend")
        return old.pop() if old_enough and old else await real(path, **more)

    world.api.get = get  # type: ignore[method-assign]
    with pytest.raises(errors.Conflict):
        await world.work(rounds=2)
    assert world.status().phase == "Running"
    await world.work()
    assert world.outcome() == ("Failed", "Rejected")
    assert "suspend" not in the_kustomization(world)["spec"]


async def test_the_end_waits_until_the_suspension_is_ended() -> None:
    world = by_flux()
    world.api.faults.append(failing("PATCH /apis/apps", errors.Invalid("denied by a webhook")))
    await world.work()
    world.api.faults.append(failing(f"GET {FLUX}", errors.Unavailable("no answer"), times=1))
    if world.outcome()[0] == "Running":
        with pytest.raises(errors.Unavailable):
            await world.work()
        assert world.outcome()[0] == "Running"
        await world.work()
    assert world.outcome() == ("Failed", "Rejected")


# A later request for what an earlier one holds.

LATER: Key = ("shop", "later")
OF_THE_FIRST = {"request": "uid-of-undo", "suspend": None}


def holds(world: World) -> SuspensionWorker:
    """A worker that looks after what `undo` suspended."""
    api: Any = world.api
    git: Any = None
    worker = SuspensionWorker(api, git, Settings(holds=7), lambda _: None)
    for name in ("undo", "later"):
        worker.request_changed(world.body(name))
    return worker


def held(world: World, name: str = "undo") -> tuple[str, str]:
    """The condition Held of a request."""
    return next((one.status, one.message) for one in world.status(name).conditions if one.type == on.HELD)


def record(world: World) -> Object:
    """Whose suspension it is."""
    kept: Object = json.loads(the_kustomization(world)["metadata"]["annotations"][flux.HOLD])
    return kept


async def held_already() -> World:
    """`undo` went back to revision 2, and holds; `later` is to go back to revision 1."""
    world = by_flux()
    await world.work()
    world.controller()
    await world.work()
    assert world.outcome() == ("Succeeded", "Completed")
    world.api.put(asked("later", age=0, to="1", owner="Through"))
    return world


def aborted(world: World) -> None:
    """Begin with `later`, and abort it after it suspended and before its effect."""
    world.api.faults.append(failing("PATCH /apis/apps", errors.NotDone("429"), times=1))

    def abort(call: Call) -> Exception | None:
        if call.verb == "PATCH" and call.path == FLUX:
            world.api.edit(asked("later"), lambda body: body["spec"].update(abort=True))
            world.api.late_faults.remove(abort)
        return None

    world.api.late_faults.append(abort)


def refused(world: World) -> None:
    """Have the effect of `later` refused."""
    world.api.faults.append(failing("PATCH /apis/apps", errors.Invalid("denied by a webhook")))


WITHOUT_EFFECT = {"refused": (refused, ("Failed", "Rejected")), "aborted": (aborted, ("Aborted", "Aborted"))}


@pytest.mark.parametrize("case", WITHOUT_EFFECT)
async def test_what_an_earlier_request_holds_stays_suspended_when_a_later_one_ends_without_an_effect(case: str) -> None:
    world = await held_already()
    prepare, outcome = WITHOUT_EFFECT[case]
    prepare(world)
    await world.work(LATER, rounds=2)
    assert world.outcome("later") == outcome
    assert the_kustomization(world)["spec"]["suspend"] is True
    assert record(world) == OF_THE_FIRST
    assert COMMAND not in message(world.status("later"))
    assert await holds(world).work(KEY) == 7
    assert held(world)[0] == "True"


async def test_an_earlier_hold_goes_on_while_a_later_request_is_not_through(monkeypatch: pytest.MonkeyPatch) -> None:
    world = await held_already()
    monkeypatch.setattr(times, "FIRST_PAUSE", timedelta(seconds=10))
    world.api.faults.append(failing("PATCH /apis/apps", errors.NotDone("429")))
    await world.work(LATER)
    assert world.outcome("later")[0] == "Running"
    assert record(world) == {"request": "uid-of-later", "suspend": None, "earlier": ["uid-of-undo"]}
    assert await holds(world).work(KEY) == 7
    assert held(world)[0] == "True"
    assert held(world)[1].endswith("until it does, it is held for this one too.")


async def test_an_earlier_hold_is_passed_on_to_a_later_request_that_succeeded() -> None:
    world = await held_already()
    await world.work(LATER)
    world.controller(revision=5)
    await world.work(LATER)
    assert world.outcome("later") == ("Succeeded", "Completed")
    worker = holds(world)
    assert await worker.work(KEY) == 7, "it may still end without an effect, for all that the object says"
    assert await worker.work(LATER) == 7
    assert record(world) == {"request": "uid-of-later", "suspend": None}
    assert await worker.work(KEY) is None
    assert held(world) == ("False", "A later rollback holds Kustomization flux-system/shop now.")
    assert held(world, "later")[0] == "True"


@pytest.mark.parametrize("late", [False, True], ids=["not done", "done"])
@pytest.mark.parametrize("write", range(6))
async def test_whoever_is_killed_on_the_way_leaves_an_earlier_hold_as_it_was(
    write: int, *, late: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process ends just before a write of a later request is done, or just after; its effect is refused."""
    monkeypatch.setattr(running, "SETTLE", timedelta(0))
    world = await held_already()
    refused(world)
    (world.api.late_faults if late else world.api.faults).append(killing(write))
    for _ in range(4):
        try:
            await world.worker.work(LATER)
        except SystemExit:
            world.worker = world.another_worker()
        await world.worker.told()
        assert the_kustomization(world)["spec"]["suspend"] is True
    assert world.outcome("later") == ("Failed", "Rejected")
    assert record(world) == OF_THE_FIRST


async def test_what_cannot_be_given_back_to_an_earlier_request_is_said_with_the_command() -> None:
    world = await held_already()
    refused(world)

    def deny(call: Call) -> Exception | None:
        return DENIED if call.verb == "PATCH" and call.path == FLUX and "earlier" in str(record(world)) else None

    world.api.faults.append(deny)
    await world.work(LATER, rounds=2)
    assert world.outcome("later") == ("Failed", "Rejected")
    assert "could not be given back to the rollback that suspended it before" in message(world.status("later"))
    assert '"rollback.dev/hold":"{\\"request\\":\\"uid-of-undo\\"' in message(world.status("later"))
    assert COMMAND not in message(world.status("later"))


async def test_what_cannot_be_resumed_is_said_with_the_command() -> None:
    world = by_flux()

    def deny(call: Call) -> Exception | None:
        if call.verb == "PATCH" and call.path == FLUX and flux.HOLD in str(the_kustomization(world)["metadata"]):
            return DENIED
        return None

    world.api.faults += [failing("PATCH /apis/apps", errors.Invalid("denied by a webhook")), deny]
    await world.work(rounds=2)
    assert world.outcome() == ("Failed", "Rejected")
    assert message(world.status()).endswith(COMMAND)


async def test_a_right_to_suspend_that_is_missing_is_named_and_nothing_is_changed() -> None:
    world = by_flux()
    world.api.faults.append(failing(f"PATCH {FLUX}", DENIED))
    await world.work(rounds=2)
    assert world.outcome() == ("Failed", "Forbidden")
    assert (
        "may not patch kustomizations in namespace flux-system, and rolling Deployment/checkout back takes that:"
        in message(world.status())
    )
    assert world.target["spec"]["template"] == BAD


async def test_a_right_to_look_that_is_missing_is_named() -> None:
    world = by_flux()
    world.api.faults.append(failing(f"GET {FLUX}", errors.Forbidden("no")))
    await world.work()
    assert world.outcome() == ("Failed", "Forbidden")
    assert "may not get kustomizations shop in namespace flux-system" in message(world.status())


async def test_a_dry_run_suspends_nothing() -> None:
    world = by_flux(dryRun=True)
    assert await world.work() is None
    assert world.outcome() == ("Succeeded", "DryRun")
    assert world.effects() == []
    rehearsed = [call.path for call in world.api.writes() if call.query.get("dryRun")]
    assert rehearsed == [FLUX, "/apis/apps/v1/namespaces/shop/deployments/checkout"]


async def test_a_suspension_without_an_answer_is_made_once() -> None:
    world = by_flux()
    world.api.late_faults.append(failing(f"PATCH {FLUX}", errors.Unavailable("no answer"), times=1))
    await world.work()
    world.worker = world.another_worker()
    await world.work(rounds=3)
    world.controller()
    await world.work()
    assert world.outcome() == ("Succeeded", "Completed")
    record = json.loads(the_kustomization(world)["metadata"]["annotations"][flux.HOLD])
    assert record == {"request": "uid-of-undo", "suspend": None}
    assert changes(world).count(FLUX) == 1


# Going by the owner. Deployment/behind stands for the release or Application.


@pytest.fixture
def behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stance, "_ref", lambda *_: TargetRef(kind="Deployment", name="behind"))


def by_helm(**spec: Any) -> World:
    """checkout, made by a release for which the Deployment `behind` stands, with revisions of its own."""
    owner = deployment(name="behind")
    owner["metadata"]["uid"] = "uid-of-behind"
    own = [replica_set(number, owner="uid-of-behind") for number in (1, 2, 3)]
    for one in own:
        one["metadata"]["name"] = f"behind-{one['metadata']['name']}"
    world = World(owner, *own, undo=asked(**{"owner": "Through", **spec}))
    world.edit(of_helm)
    return world


@pytest.mark.usefixtures("behind")
async def test_the_owner_is_rolled_back_instead() -> None:
    world = by_helm()
    await world.work()
    assert world.outcome() == ("Verifying", "RollingOut")
    status = world.status()
    assert (status.target, status.targets[0].target) == ("Deployment/behind", "Deployment/behind")
    assert world.target["spec"]["template"] == BAD
    owner = world.api.current(deployment(name="behind"))
    assert owner["metadata"]["annotations"][REQUEST_ANNOTATION] == "uid-of-undo"


@pytest.mark.usefixtures("behind")
async def test_the_owner_is_written_down_before_anything_else_is_decided() -> None:
    world = by_helm()
    await world.work()
    first = world.status_writes()[0].body["status"]
    assert first["conditions"][0]["reason"] == "GoingByOwner"
    assert (first["phase"], first["target"]) == ("Pending", "Deployment/behind")
    assert "plan" not in first["targets"][0]


@pytest.mark.usefixtures("behind")
async def test_a_request_that_goes_by_the_owner_waits_for_one_about_the_owner() -> None:
    earlier = asked("earlier", age=60, target={"kind": "Deployment", "name": "behind"})
    world = by_helm()
    world.api.put(earlier)
    await world.work()
    assert world.outcome() == ("Pending", "Queued")
    assert "earlier" in message(world.status())


@pytest.mark.usefixtures("behind")
async def test_a_request_about_the_owner_waits_for_one_that_goes_by_it() -> None:
    world = by_helm()
    await world.work()
    world.api.put(asked("later", age=0, target={"kind": "Deployment", "name": "behind"}))
    await world.work(("shop", "later"))
    assert world.outcome("later") == ("Pending", "Queued")


@pytest.mark.usefixtures("behind")
@pytest.mark.parametrize(
    "spec, words",
    [({"to": "2"}, "revision 2 of it says nothing"), ({"from": "v1:" + "0" * 64}, "what was seen of it says nothing")],
    ids=["a revision", "what was seen"],
)
async def test_what_is_said_of_one_target_is_not_taken_for_another(spec: dict[str, str], words: str) -> None:
    world = by_helm(**spec)
    assert await world.work() is None
    assert world.outcome() == ("Failed", "OwnedBy")
    assert words in message(world.status())
    assert "target: {kind: Helm, name: web}" in message(world.status())


async def test_an_object_of_helm_is_rolled_back_itself_if_asked_for() -> None:
    world = by_helm(owner="Ignore")
    await world.work()
    assert world.outcome() == ("Verifying", "RollingOut")
    assert world.target["spec"]["template"] == GOOD
    plan = world.status().targets[0].plan
    assert plan is not None
    assert "Helm release web manages Deployment/checkout" in plan.notes[-1]


# Policies.


async def armed(world: World, **spec: Any) -> Disarmed | None:
    door: Any = world.api
    targets = by_kind(door)
    snapshot = await targets["Deployment"].observe(
        Where("shop", "checkout", ServiceAccount("shop", "rollback")), None, None
    )
    return await Arming(door, targets, Settings()).look(
        standing_of(policy_body(**spec), None, "rollback"), snapshot, ()
    )


async def test_a_policy_says_before_the_incident_that_something_else_owns_its_target() -> None:
    disarmed = await armed(by_flux())
    assert disarmed is not None
    assert disarmed[0] is Reason.OWNED_BY
    assert await armed(by_flux(), owner="Through") is None
    assert await armed(by_flux(), owner="Ignore") is None


@pytest.mark.usefixtures("behind")
async def test_a_policy_does_not_go_by_an_owner_whose_revisions_it_does_not_know() -> None:
    disarmed = await armed(by_helm(), owner="Through")
    assert disarmed is not None
    assert disarmed[0] is Reason.OWNED_BY
    assert disarmed[1].endswith("give it target: {kind: Helm, name: web}.")


async def test_a_policy_that_may_not_suspend_is_not_armed() -> None:
    world = by_flux()
    world.api.lacking = {"patch kustomizations"}
    disarmed = await armed(world, owner="Through")
    assert disarmed is not None
    assert disarmed[0] is Reason.MAY_NOT_ROLL_BACK
    assert "patch kustomizations shop in namespace flux-system" in disarmed[1]
