"""Configuration comes back with a target: before it, each object once, and what was not reached is said."""

from __future__ import annotations

import base64
import copy
import gzip
import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from rollback_operator.api import REQUEST_ANNOTATION
from rollback_operator.api.reasons import Reason
from rollback_operator.api.remember import Remember, Remembered, RememberedObject
from rollback_operator.configuration import change, recall, restoring
from rollback_operator.configuration.digest import whole
from rollback_operator.configuration.memory import Memory, Whose
from rollback_operator.configuration.recall import Recall, Recalled
from rollback_operator.configuration.together import Together
from rollback_operator.core.life import running
from rollback_operator.core.values import Beside
from rollback_operator.kube import errors
from rollback_operator.kube.client import FIELD_MANAGER
from rollback_operator.kube.identity import ServiceAccount
from rollback_operator.kube.resources import Orders
from rollback_operator.targets import manifests, podtemplate
from rollback_operator.targets.base import Where, in_time
from rollback_operator.targets.deployment import DeploymentTarget
from rollback_operator.targets.ownership import LAST_APPLIED
from rollback_operator.targets.podtemplate import Need
from tests.unit.builders import NOW, message, policy, revision, snapshot, states
from tests.unit.fakes import Call, FakeApi, failing, killing
from tests.unit.objects import Object, deployment, policy_body, replica_set, template
from tests.unit.test_configuration import CONFIG, PASSWORD, config_map, secret
from tests.unit.test_requests import DEPLOYMENT, World, asked

ACCOUNT = ServiceAccount("shop", "rollback")
CONFIG_MAP = "/api/v1/namespaces/shop/configmaps/settings"
SECRET = "/api/v1/namespaces/shop/secrets/db"
UID = "uid-of-undo"
REFERS: Object = {"envFrom": [{"configMapRef": {"name": "settings"}}, {"secretRef": {"name": "db"}}]}
BAD_PODS, GOOD_PODS = template("shop:3", **REFERS), template("shop:2", **REFERS)


def good() -> tuple[Object, Object]:
    return config_map(mode="good", old="1"), secret(value="Z29vZA==")


def bad() -> tuple[Object, Object]:
    return config_map(mode="bad"), secret(value="YmFk")


async def kept(uid: str) -> tuple[Remembered, list[Object]]:
    """What a policy remembers of the good configuration, and the Secrets that keep it."""
    api: Any = FakeApi(*good())
    whose = Whose("checkout", uid, ACCOUNT, Remember(config=True))
    found = await Memory(api).remember(whose, [CONFIG, PASSWORD], revision(2), NOW)
    return found, [call.body for call in api.writes()]


class Restoring(World):
    """checkout, whose good revision 2 ran with another configuration than what is there now."""

    @classmethod
    async def made(cls, *now: Object, alone: bool = False, refers: Object = REFERS, **spec: Any) -> Restoring:
        """`alone`: revision 3 has the same template, and nothing but configuration changed; `refers`: of both."""
        policy = policy_body(remember={"config": True})
        found, secrets = await kept(policy["metadata"]["uid"])
        bad_pods, good_pods = template("shop:3", **refers), template("shop:2", **refers)
        pods = bad_pods if alone else good_pods
        number = "3" if alone else "2"
        then = found.model_copy(update={"fingerprint": podtemplate.fingerprint(pods), "revision": number})
        policy["status"] = {"remembered": [then.dump()]}
        things = now or bad()
        world = cls(policy, *secrets, *things, undo=asked(policyRef={"name": "checkout"}, backup="Never", **spec))
        for number_before in (2, 3):
            world.api.drop(replica_set(number_before))
        sets = (replica_set(3, pods=bad_pods), *(() if alone else (replica_set(2, pods=good_pods),)))
        world.api.put(deployment(pods=bad_pods), *sets)
        return world

    def restored(self) -> dict[str, Object]:
        """What the configuration says now, by kind."""
        found: dict[str, Object] = {}
        for thing in good():
            try:
                found[thing["kind"]] = self.api.current(thing)
            except KeyError:
                continue
        return found

    def data(self) -> tuple[Any, Any]:
        now = self.restored()
        return now["ConfigMap"]["data"].get("mode"), now["Secret"]["data"]["password"]

    def writes_of(self, *paths: str) -> list[str]:
        """What was really written there, in its order."""
        taken = [call for call in self.api.writes() if "dryRun" not in call.query]
        return [str(call) for call in taken if any(call.path.startswith(path) for path in paths)]

    async def to_the_end(self) -> None:
        for _ in range(4):
            await self.work()
            self.controller()


ORDER = [f"PATCH {CONFIG_MAP}", f"PATCH {SECRET}", f"PATCH {DEPLOYMENT}"]
CHANGED = (CONFIG_MAP, SECRET, DEPLOYMENT)


async def test_configuration_is_put_back_before_the_target() -> None:
    world = await Restoring.made()
    await world.work()
    assert world.writes_of(*CHANGED) == ORDER
    assert world.data() == ("good", "Z29vZA==")
    assert {call.as_ for call in world.api.writes() if call.path in CHANGED} == {"shop/rollback"}
    marks = [thing["metadata"]["annotations"][REQUEST_ANNOTATION] for thing in world.restored().values()]
    assert marks == [UID, UID]
    annotations = world.target["spec"]["template"]["metadata"]["annotations"]
    assert podtemplate.RESTARTED_AT in annotations
    world.controller()
    await world.work()
    assert world.outcome() == ("Succeeded", "Completed")


async def test_the_plan_names_each_object_and_its_version_and_no_value() -> None:
    world = await Restoring.made()
    await world.work()
    (mine,) = world.status().targets
    assert mine.plan is not None
    assert mine.plan.configuration is not None
    assert [str(one) for one in mine.plan.configuration.objects] == ["ConfigMap settings", "Secret db"]
    assert all(one.resource_version for one in mine.plan.configuration.objects)
    source = replica_set(2, pods=GOOD_PODS)["metadata"]["name"]
    assert [step.split(" (")[0] for step in mine.plan.steps] == [
        "Put ConfigMap settings back as it was",
        "Put Secret db back as it was",
        f"Replace the pod template by that of ReplicaSet {source}",
        "Start all pods anew, for they read configuration when they start",
    ]
    said = json.dumps(world.body()["status"]) + json.dumps(
        [call.body for call in world.api.writes() if call.path.endswith("/events")]
    )
    assert not [value for value in ("Z29vZA", "YmFk", '"good"', "mode: good") if value in said]
    assert "+  password: <digest" in mine.plan.diff


async def test_configuration_alone_is_something_to_go_back_to() -> None:
    world = await Restoring.made(alone=True)
    await world.work()
    assert world.writes_of(*CHANGED) == ORDER
    (mine,) = world.status().targets
    assert mine.plan is not None
    assert [step.split(" (")[0] for step in mine.plan.steps][-2:] == [
        "Put Secret db back as it was",
        "Start all pods anew, for they read configuration when they start",
    ]
    pods = copy.deepcopy(world.target["spec"]["template"])
    assert podtemplate.not_restarted(pods) == BAD_PODS != pods
    world.controller()
    await world.work()
    assert world.outcome() == ("Succeeded", "Completed")


async def test_what_is_as_it_was_is_left_alone() -> None:
    world = await Restoring.made(*good())
    await world.work()
    assert world.writes_of(*CHANGED) == [f"PATCH {DEPLOYMENT}"]
    (mine,) = world.status().targets
    assert mine.plan is not None
    assert mine.plan.configuration is None
    assert podtemplate.RESTARTED_AT not in str(world.target["spec"]["template"])


async def test_what_was_not_there_then_is_not_said_to_be_gone_again() -> None:
    world = await Restoring.made(*good(), alone=True)

    def without_password(body: Object) -> None:
        (then,) = body["status"]["remembered"]
        kept_then = RememberedObject.model_validate(then["objects"][0])
        then.update(objects=[kept_then.dump()], config=whole([kept_then]))

    world.api.edit(policy_body(), without_password)
    await world.work()
    assert world.outcome() == ("Failed", "NothingToRollBackTo")
    assert message(world.status()).startswith("Revision 3 has the pod template that stands, and nothing of its config")
    assert world.writes_of(*CHANGED) == []


OPTIONAL: Object = {"envFrom": [{"configMapRef": {"name": "settings", "optional": True}}, REFERS["envFrom"][1]]}


@pytest.mark.parametrize("now", [bad(), bad()[1:]], ids=["changed", "gone"])
async def test_what_is_optional_goes_back_like_the_rest(now: tuple[Object, ...]) -> None:
    world = await Restoring.made(*now, refers=OPTIONAL)
    await world.to_the_end()
    assert world.outcome() == ("Succeeded", "Completed")
    assert world.data() == ("good", "Z29vZA==")


async def test_what_was_not_there_then_stays_and_the_plan_says_so() -> None:
    world = await Restoring.made(*bad(), refers=OPTIONAL)

    def without_settings(body: Object) -> None:
        (then,) = body["status"]["remembered"]
        kept_then = RememberedObject.model_validate(then["objects"][1])
        then.update(objects=[kept_then.dump()], config=whole([kept_then]))

    world.api.edit(policy_body(), without_settings)
    await world.to_the_end()
    assert world.outcome() == ("Succeeded", "Completed")
    assert world.data() == ("bad", "Z29vZA==")
    (mine,) = world.status().targets
    assert mine.plan is not None
    assert mine.plan.notes[-1] == (
        "Left as it is, although nothing of it is remembered with revision 2 (a rollback deletes nothing that was not "
        "there then): ConfigMap settings."
    )


HASHED = "settings-7f9cgg4m2b"
FLUX = {f"kustomize.toolkit.fluxcd.io/{part}": value for part, value in (("name", "shop"), ("namespace", "flux"))}


async def pruned(*now: Object, labels: Any = FLUX) -> Restoring:
    """Revision 2 ran with a ConfigMap that kustomize named; now there is what is given."""
    refers: Object = {"envFrom": [{"configMapRef": {"name": HASHED}}]}
    world = await Restoring.made(*(now or bad()), refers=refers)
    hashed = config_map(HASHED, mode="good")
    hashed["metadata"]["labels"] = labels
    api: Any = FakeApi(hashed)
    whose = Whose("checkout", policy_body()["metadata"]["uid"], ACCOUNT, Remember(config=True))
    found = await Memory(api).remember(whose, [Need("ConfigMap", HASHED)], revision(2), NOW)
    world.api.put(*(call.body for call in api.writes()))
    its = found.dump()

    def remembered(body: Object) -> None:
        body["status"]["remembered"][0].update({name: its[name] for name in ("config", "objects", "fixed")})

    world.api.edit(policy_body(), remembered)
    return world


async def test_what_is_named_by_its_content_is_made_anew_where_it_was_pruned() -> None:
    world = await pruned()
    await world.to_the_end()
    assert world.outcome() == ("Succeeded", "Completed")
    assert world.api.current(config_map(HASHED))["data"] == {"mode": "good"}
    (mine,) = world.status().targets
    assert mine.plan is not None
    refers = template("shop:2", envFrom=[{"configMapRef": {"name": HASHED}}])
    source = replica_set(2, pods=refers)["metadata"]["name"]
    assert [step.split(" (")[0] for step in mine.plan.steps] == [
        f"Make ConfigMap {HASHED} anew as it was",
        f"Replace the pod template by that of ReplicaSet {source}",
    ]
    assert podtemplate.RESTARTED_AT not in str(world.target["spec"]["template"]), "pods read what it always said"
    assert mine.plan.notes[-1] == (
        f"Flux's Kustomization flux/shop made ConfigMap {HASHED} before it was gone, and may delete it again."
    )


@pytest.mark.parametrize("labels", [["no", "labels"], {"a": 1, **dict.fromkeys(FLUX, 2)}], ids=["a list", "numbers"])
async def test_who_writes_nonsense_into_a_secret_is_no_owner(labels: Any) -> None:
    world = await pruned(labels=labels)
    await world.work()
    (mine,) = world.status().targets
    assert mine.plan is not None
    assert not [note for note in mine.plan.notes if "made ConfigMap" in note]


STANDING: dict[str, tuple[str, tuple[str, ...]]] = {
    "as it was": ("good", ()),
    "with another content": (
        "other",
        (f"Left as it is, although it says something else than when revision 2 ran: ConfigMap {HASHED}.",),
    ),
}


@pytest.mark.parametrize("case", STANDING)
async def test_where_it_is_there_it_is_left(case: str) -> None:
    mode, notes = STANDING[case]
    world = await pruned(config_map(HASHED, mode=mode))
    await world.to_the_end()
    assert world.outcome() == ("Succeeded", "Completed")
    assert world.api.current(config_map(HASHED))["data"] == {"mode": mode}
    (mine,) = world.status().targets
    assert mine.plan is not None
    assert mine.plan.configuration is None
    assert mine.plan.notes[1:] == notes


async def test_what_was_immutable_and_is_not_any_more_goes_back() -> None:
    world = await pruned()

    found, _ = await kept(policy_body()["metadata"]["uid"])

    def immutable(body: Object) -> None:
        (then,) = body["status"]["remembered"]
        then.update(objects=[], fixed=[found.objects[0].dump()], config=whole([]))

    world.api.edit(policy_body(), immutable)
    world.api.put(config_map(HASHED))
    await world.to_the_end()
    assert world.outcome() == ("Succeeded", "Completed")
    assert world.data() == ("good", "YmFk")
    assert podtemplate.RESTARTED_AT in str(world.target["spec"]["template"])


async def test_what_is_gone_is_made_anew() -> None:
    world = await Restoring.made(bad()[1])
    await world.to_the_end()
    assert world.outcome() == ("Succeeded", "Completed")
    assert world.writes_of("/api/v1/namespaces/shop/configmaps") == ["POST /api/v1/namespaces/shop/configmaps"]
    assert world.data() == ("good", "Z29vZA==")


def test_what_is_made_anew_belongs_to_nobody_who_is_gone() -> None:
    """The garbage collector deletes what names an owner whose uid is not there."""
    kept_then = good()[1]
    owner = {"apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret", "name": "db", "uid": "uid-long-gone"}
    kept_then["metadata"] |= {"ownerReferences": [owner], "finalizers": ["example.com/kept"], "labels": {"app": "db"}}
    assert change.anew("Secret", manifests.bare(kept_then), UID)["metadata"] == {
        "name": "db",
        "namespace": "shop",
        "labels": {"app": "db"},
        "annotations": {REQUEST_ANNOTATION: UID},
    }


async def test_a_dry_run_tries_everything_and_changes_nothing() -> None:
    world = await Restoring.made(bad()[1], dryRun=True)
    await world.work()
    assert world.outcome() == ("Succeeded", "DryRun")
    tried = [call for call in world.api.writes() if call.path.startswith(("/api/v1/namespaces/shop/c", *CHANGED))]
    assert len(tried) == 3
    assert all(call.query.get("dryRun") for call in tried)
    assert "ConfigMap" not in world.restored()


KILLED = range(7)


@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("write", KILLED)
async def test_killed_around_any_write_the_next_operator_completes_it(
    write: int, *, late: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "SETTLE", timedelta(0))
    world = await Restoring.made()
    done: list[str] = []

    def note(call: Call) -> Exception | None:
        done.extend([call.path] if call.verb == "PATCH" else [])
        return None

    world.api.late_faults.append(note)
    (world.api.late_faults if late else world.api.faults).append(killing(write))
    for _ in range(6):
        try:
            await world.work()
        except SystemExit:
            world.worker = world.another_worker()
            world.api.edit(world.undo, _some_time_passed)
        world.controller()
    assert world.outcome() == ("Succeeded", "Completed")
    assert world.data() == ("good", "Z29vZA==")
    assert sorted(done) == sorted(CHANGED), "each was changed once"


def _some_time_passed(body: Object) -> None:
    """The pause between two attempts is over."""
    for one in (body.get("status") or {}).get("targets", []):
        for step in one.get("steps", []):
            step["lastAttemptAt"] = "2026-01-01T00:00:00.000000Z"


# The world moves.


def before(world: Restoring, path: str, change_it: Any) -> None:
    """Just before the write to `path`, once, something happens."""
    done = [False]

    def happen(call: Call) -> Exception | None:
        if call.verb == "PATCH" and call.path == path and not done[0]:
            done[0] = True
            change_it()
        return None

    world.api.faults.append(happen)


async def test_an_object_that_somebody_changed_meanwhile_is_left_alone_and_so_is_everything_else() -> None:
    world = await Restoring.made()
    before(world, CONFIG_MAP, lambda: world.api.put(config_map(mode="newer")))
    await world.work()
    assert world.outcome() == ("Superseded", "NewerRelease")
    assert message(world.status()) == (
        "ConfigMap settings was changed by somebody else after the plan was made, so Deployment/checkout was not "
        "rolled back: nothing was changed. If it is still wanted, write a new request."
    )
    assert world.data() == ("newer", "YmFk")
    assert states(world.status())["Applied"] == "False"


MOVED: dict[str, tuple[str, Any, str]] = {
    "the next object was changed": (
        SECRET,
        lambda world: world.api.put(secret(value="bmV3")),
        (
            "ConfigMap settings was put back as remembered, Secret db was not, and Deployment/checkout itself was not "
            "changed. Secret db was changed by somebody else after the plan was made, so Deployment/checkout was not "
            "rolled back. If it is still wanted, write a new request. No copy was kept of what that replaced: "
            "if it is not to stay so, apply what is to stand there."
        ),
    ),
    "another release came": (
        DEPLOYMENT,
        lambda world: world.edit(_another_release),
        (
            "ConfigMap settings and Secret db were put back as remembered, but Deployment/checkout itself was not "
            "changed. Deployment/checkout moved on from revision 3 before it could be rolled back. If the new release "
            "is bad too, write a new request. No copy was kept of what that replaced: "
            "if it is not to stay so, apply what is to stand there."
        ),
    ),
    "it was paused": (
        DEPLOYMENT,
        lambda world: world.edit(lambda body: body["spec"].update(paused=True)),
        (
            "ConfigMap settings and Secret db were put back as remembered, but Deployment/checkout itself was not "
            "changed. Deployment/checkout is paused, so a rollback would not reach its pods. Run kubectl rollout "
            "resume deployment/checkout and write a new request. No copy was kept of what that replaced: "
            "if it is not to stay so, apply what is to stand there."
        ),
    ),
}


def _another_release(body: Object) -> None:
    body["spec"]["template"] = template("shop:4", **REFERS)
    body["metadata"]["generation"] += 1


@pytest.mark.parametrize("case", MOVED)
async def test_what_was_put_back_is_said_when(case: str) -> None:
    path, happens, says = MOVED[case]
    world = await Restoring.made()
    before(world, path, lambda: happens(world))
    await world.work()
    assert world.outcome() == ("Failed", "PartlyMade")
    assert message(world.status()) == says
    assert says.startswith(message(world.status(), "Applied"))
    assert states(world.status())["Applied"] == "False"


async def test_an_old_reading_hides_nothing_that_was_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    world = await Restoring.made()
    before(world, SECRET, lambda: world.api.put(secret(value="bmV3")))

    async def old(*_: Any) -> Beside:
        return Beside(due=("ConfigMap settings",), changed=("Secret db",))

    monkeypatch.setattr(Together, "beside", old)
    await world.work()
    assert world.data() == ("good", "bmV3")
    assert world.outcome() == ("Failed", "PartlyMade")
    assert message(world.status(), "Applied") == (
        "ConfigMap settings was put back as remembered, Secret db was not, and Deployment/checkout itself was not "
        "changed."
    )


async def test_what_was_put_back_and_deleted_since_is_said_by_who_did_it() -> None:
    world = await Restoring.made()
    before(world, DEPLOYMENT, lambda: world.api.drop(config_map()))
    world.api.faults.append(failing(f"PATCH {DEPLOYMENT}", errors.Invalid("denied by a webhook")))
    await world.work()
    assert world.outcome() == ("Failed", "PartlyMade")
    assert message(world.status(), "Applied").startswith("ConfigMap settings and Secret db were put back as remembered")
    assert message(world.status(), "Applied").endswith("By now, ConfigMap settings was changed by somebody else.")


async def test_what_was_put_back_and_changed_again_is_said() -> None:
    world = await Restoring.made()

    def overwrite(body: Object) -> None:
        body["data"]["mode"] = "newer"

    before(world, SECRET, lambda: world.api.edit(config_map(), overwrite))
    world.api.faults.append(failing(f"PATCH {DEPLOYMENT}", errors.Invalid("denied by a webhook")))
    await world.work()
    assert world.outcome() == ("Failed", "PartlyMade")
    assert message(world.status(), "Applied") == (
        "ConfigMap settings and Secret db were put back as remembered, but Deployment/checkout itself was not changed. "
        "By now, ConfigMap settings was changed by somebody else."
    )


async def test_who_aborts_between_the_two_is_told_what_was_put_back() -> None:
    world = await Restoring.made()
    world.api.faults.append(failing(f"PATCH {DEPLOYMENT}", errors.NotDone("busy")))
    await world.work()
    world.api.edit(world.undo, lambda body: body["spec"].update(abort=True))
    world.worker.saw(world.body())
    await world.work()
    assert world.outcome() == ("Aborted", "Aborted")
    assert message(world.status()).startswith("ConfigMap settings and Secret db were put back as remembered, but ")
    assert "nothing was changed" not in message(world.status())


async def test_a_target_that_is_refused_leaves_what_was_put_back_and_the_command_that_takes_it_back() -> None:
    world = await Restoring.made()
    world.api.edit(world.undo, lambda body: body["spec"].update(backup="IfAllowed"))
    world.api.faults.append(failing(f"PATCH {DEPLOYMENT}", errors.Invalid("denied by a webhook")))
    await world.work()
    assert world.outcome() == ("Failed", "PartlyMade")
    (mine,) = world.status().targets
    assert mine.plan is not None
    assert mine.plan.backup is not None
    assert message(world.status()).endswith(
        "The API server does not take the change of Deployment/checkout. Remove the cause, then write a new request: "
        "denied by a webhook. To take that back: "
        f"kubectl -n shop get secret {mine.plan.backup.secret} -o jsonpath='{{.data.configuration}}' | base64 -d | "
        "gunzip | kubectl replace -f -"
    )
    assert mine.restore is not None
    held = world.api.current({"kind": "Secret", "metadata": {"namespace": "shop", "name": mine.plan.backup.secret}})
    replaced = json.loads(gzip.decompress(base64.b64decode(held["data"]["configuration"])))
    assert [(one["kind"], one["data"]) for one in replaced["items"]] == [
        ("ConfigMap", {"mode": "bad"}),
        ("Secret", {"password": "YmFk"}),
    ]


async def test_an_attempt_that_takes_too_long_begins_no_other_write(monkeypatch: pytest.MonkeyPatch) -> None:
    world = await Restoring.made()
    asked_for = [0]

    def slow(where: Any) -> None:
        asked_for[0] += 1
        if asked_for[0] == 2:
            raise errors.NotDone("the attempt took too long; the next one goes on")
        in_time(where)

    monkeypatch.setattr(restoring, "in_time", slow)
    await world.work()
    assert world.writes_of(*CHANGED) == ORDER[:1]
    world.worker = world.another_worker()
    world.api.edit(world.undo, _some_time_passed)
    await world.work()
    (step,) = world.status().targets[0].steps
    assert world.writes_of(*CHANGED) == ORDER
    assert step.attempts == 2


async def test_what_is_changed_again_before_it_is_verified_is_told() -> None:
    world = await Restoring.made()
    await world.work()
    world.controller()
    world.api.put(config_map(mode="newer"))
    await world.work()
    assert world.outcome() == ("Failed", "Overtaken")
    assert message(world.status()).startswith("ConfigMap settings was changed by somebody else after the rollback to ")


async def test_nothing_goes_back_with_the_revision_that_stands() -> None:
    found, secrets = await kept("uid-of-policy")
    api: Any = FakeApi(*bad(), *secrets)
    seen = replace(snapshot(), raw=(deployment(), [replica_set(3)]))
    known = found.model_copy(update={"fingerprint": seen.current.fingerprint})
    orders = Orders("checkout", "uid-of-policy", policy(remember=Remember(config=True)), remembered=(known,))
    where = Where("shop", "checkout", ACCOUNT)

    together = Together(api, {"Deployment": DeploymentTarget(api)})

    assert await together.recall("Deployment", where, seen, orders, seen.current) == Recalled()
    another = replace(seen, current=revision(9, "z"))
    assert (await together.recall("Deployment", where, another, orders, seen.current)).restoration is not None


# What cannot be put back.


REFUSED: dict[str, tuple[Any, str, str]] = {
    "it is immutable": (
        lambda world: world.api.put({**config_map(mode="bad"), "immutable": True}),
        "Rejected",
        "ConfigMap settings cannot be put back as it was, because it is immutable now: nothing was changed. Delete it ",
    ),
    "its type changed": (
        lambda world: world.api.put({**secret(value="YmFk"), "type": "kubernetes.io/tls"}),
        "Rejected",
        "Secret db cannot be put back as it was, because its type is another one now, and the type of a Secret cannot ",
    ),
    "it may not be changed": (
        lambda world: world.api.lacking.add("patch configmaps"),
        "Forbidden",
        "Service account shop/rollback may not patch configmaps settings in namespace shop, and the policy brings ",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_nothing_is_changed_and_that_is_said_if(case: str) -> None:
    happens, reason, says = REFUSED[case]
    world = await Restoring.made()
    happens(world)
    await world.work()
    assert world.outcome() == ("Failed", reason)
    assert message(world.status()).startswith(says)
    assert message(world.status()).endswith("write a request with target instead of policyRef.")
    assert world.writes_of(*CHANGED) == []


def _with_data(data: Object) -> Any:
    return lambda world, kept: world.api.put({**kept, "data": data})


def _packed(thing: Object) -> Object:
    return {"manifests": base64.b64encode(manifests.compressed(thing)).decode()}


NOT_KEPT: dict[str, Any] = {
    "is gone": lambda world, kept: world.api.drop(kept),
    "has no data": lambda world, kept: world.api.put({**kept, "data": None}),
    "holds no base64": _with_data({"manifests": "?"}),
    "holds no gzip": _with_data({"manifests": "aGVsbG8="}),
    "holds no object": _with_data(_packed([])),  # type: ignore[arg-type]
    "holds another object": _with_data(_packed(config_map("another", mode="good", old="1"))),
    "says something else": _with_data(_packed(config_map(mode="forged"))),
    "holds too much": _with_data(_packed(config_map(mode="x" * manifests.LARGEST_UNPACKED))),
}


@pytest.mark.parametrize("case", NOT_KEPT)
async def test_nothing_is_put_back_from_a_secret_that(case: str) -> None:
    world = await Restoring.made()
    _, secrets = await kept(policy_body()["metadata"]["uid"])
    NOT_KEPT[case](world, secrets[0])
    await world.work()
    assert world.outcome() == ("Failed", "MissingDependency")
    assert "does not keep ConfigMap settings as it was any more: nothing was changed" in message(world.status())
    assert world.writes_of(*CHANGED) == []


# One object.


def held(thing: Object, manager: str = FIELD_MANAGER) -> Object:
    """An object whose data is recorded as that manager's."""
    fields: Object = {"f:data": {f"f:{key}": {} for key in thing["data"]}}
    entries = [{"manager": manager, "operation": "Update", "apiVersion": "v1", "fieldsV1": fields}]
    return {**thing, "metadata": {**thing["metadata"], "managedFields": entries}}


async def test_fields_are_given_back_before_the_request_ends() -> None:
    world = await Restoring.made()
    await world.work()
    for thing in world.restored().values():
        mine = held(thing)["metadata"]["managedFields"]
        owner = held(thing, "kubectl")["metadata"]["managedFields"]
        world.api.put({**thing, "metadata": {**thing["metadata"], "managedFields": [*owner, *mine]}})
    await world.to_the_end()
    assert world.outcome() == ("Succeeded", "Completed")
    managers = {one["manager"] for thing in world.restored().values() for one in thing["metadata"]["managedFields"]}
    assert managers == {"kubectl"}


def service(address: str, port: int) -> Object:
    spec = {"clusterIP": address, "clusterIPs": [address], "ports": [{"port": port}]}
    return {"kind": "Service", "metadata": {"name": "web", "uid": "u", "resourceVersion": "7"}, "spec": spec}


def test_a_service_keeps_its_address() -> None:
    patch = change.replacing("Service", service("10.0.0.2", 81), service("10.0.0.1", 80), UID)
    (spec,) = (one["value"] for one in patch if one["path"] == "/spec")
    assert (spec["clusterIP"], spec["ports"]) == ("10.0.0.2", [{"port": 80}])
    assert "clusterIP" not in change.anew("Service", service("10.0.0.1", 80), UID)["spec"]
    assert change.anew("Service", service("None", 80), UID)["spec"]["clusterIP"] == "None"


HEADLESS: dict[str, tuple[str, str, str | None]] = {
    "it is headless now": ("None", "10.0.0.1", "it is headless now (clusterIP: None)"),
    "it was headless then": ("10.0.0.1", "None", "it was headless then (clusterIP: None)"),
    "it has another address": ("10.0.0.2", "10.0.0.1", None),
    "it is headless as it was": ("None", "None", None),
}


@pytest.mark.parametrize("case", HEADLESS)
async def test_a_service_is_in_the_way_only_where_it_got_or_lost_its_address(case: str) -> None:
    now, then, says = HEADLESS[case]
    asked_for = Remember.model_validate({"also": [{"kind": "Service", "name": "web"}]})
    whose = Whose("checkout", "uid-of-policy", ACCOUNT, asked_for)
    live, was = service(now, 81), service(then, 80)
    for one in (live, was):
        one["metadata"]["namespace"] = "shop"
    api: Any = FakeApi(was)
    known = await Memory(api).remember(whose, [], revision(2), NOW)
    api.put(live)
    recalled = await Recall(api).look(whose, (known,), revision(2), restores=True)
    if says is None:
        assert recalled.obstacle is None
    else:
        assert recalled.obstacle is not None
        assert recalled.obstacle.reason is Reason.REJECTED
        assert recalled.obstacle.message.startswith(f"Service web cannot be put back as it was, because {says}, and ")
        assert "Delete it and write a new request: then it is made anew." in recalled.obstacle.message


@pytest.mark.parametrize("outside", ["then", "now"])
async def test_a_service_that_stands_for_a_name_outside_gets_or_loses_its_address(outside: str) -> None:
    then, now = service("None", 80), service("None", 81)
    spec: Object = (then if outside == "then" else now)["spec"]
    del spec["clusterIP"]
    spec |= {"type": "ExternalName", "externalName": "db.example.com"}
    assert recall._fixed("Service", now, then) is None


APPLIED: dict[str, tuple[Object | None, Object]] = {
    "what its owner applied then": ({"data": {"mode": "good"}, "kind": "ConfigMap"}, {"mode": "good"}),
    "what it said then, if nothing was applied": (None, {"mode": "good", "old": "1"}),
}


@pytest.mark.parametrize("case", APPLIED)
def test_what_was_applied_last_follows_as(case: str) -> None:
    then, data = APPLIED[case]
    live, was = config_map(mode="bad"), config_map(mode="good", old="1")
    live["metadata"] |= {"uid": "u", "resourceVersion": "7"}
    live["metadata"]["annotations"] = {LAST_APPLIED: json.dumps({"data": {"mode": "bad"}, "metadata": {"labels": {}}})}
    if then is not None:
        was["metadata"]["annotations"] = {LAST_APPLIED: json.dumps(then)}
    *_, last = change.replacing("ConfigMap", live, was, UID)
    assert json.loads(last["value"]) == {"data": data, "metadata": {"labels": {}}}
