"""Configuration beside revisions: what of it is remembered, and what a rollback says of it."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from datetime import timedelta
from typing import Any

import pytest

from rollback_operator.api.policy import PolicyStatus
from rollback_operator.api.reasons import Reason
from rollback_operator.api.remember import MAX_REMEMBERED, Remember, Remembered, RememberedObject
from rollback_operator.configuration import memory as keeping
from rollback_operator.configuration import remembering as watch
from rollback_operator.configuration.digest import (
    digest_of,
    forgotten,
    last_with,
    may_change,
    to_remember,
    whole,
)
from rollback_operator.configuration.identity import PASSING, learned
from rollback_operator.configuration.memory import Memory, Unremembered, Whose
from rollback_operator.configuration.recall import Recall, Recalled
from rollback_operator.core.values import Findings
from rollback_operator.kube import errors
from rollback_operator.kube.identity import ServiceAccount
from rollback_operator.policies import asking, looking, making, worker
from rollback_operator.targets import manifests, podtemplate
from rollback_operator.targets.podtemplate import Need
from tests.unit.builders import NOW, revision
from tests.unit.fakes import Call, FakeApi, failing
from tests.unit.objects import Object, deployment, replica_set, template
from tests.unit.test_policies import Clock, orders, trigger
from tests.unit.test_policies import World as Policies

ACCOUNT = ServiceAccount("shop", "rollback")
SECRETS = "/api/v1/namespaces/shop/secrets"
CONFIG = Need("ConfigMap", "settings")
PASSWORD = Need("Secret", "db")


def config_map(name: str = "settings", **data: str) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": _metadata(name), "data": data or {"mode": "fast"}}


def secret(name: str = "db", value: str = "aHVudGVyMg==") -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": _metadata(name),
        "type": "Opaque",
        "data": {"password": value},
    }


def _metadata(name: str) -> Object:
    return {"name": name, "namespace": "shop", "uid": f"uid-of-{name}", "managedFields": [{"manager": "kubectl"}]}


def whose(**fields: Any) -> Whose:
    return Whose("checkout", "uid-of-policy", ACCOUNT, Remember(**{"config": True, **fields}))


async def remembered(api: FakeApi, *needed: Need, **fields: Any) -> Remembered:
    door: Any = api
    return await Memory(door).remember(whose(**fields), needed, revision(3), NOW)


def copies(api: FakeApi) -> dict[str, Object]:
    """What was kept, by the name of its Secret."""
    bodies = [call.body for call in api.writes() if call.path == SECRETS]
    return {
        body["metadata"]["name"]: json.loads(gzip.decompress(base64.b64decode(body["data"]["manifests"])))
        for body in bodies
    }


# What is remembered.


HASHED = Need("ConfigMap", "settings-7f9cgg4m2b")


def test_each_object_that_pods_are_given_is_remembered_once() -> None:
    needed = [CONFIG, HASHED, Need("ConfigMap", "settings", "mode"), PASSWORD, Need("PersistentVolumeClaim", "data")]
    assert to_remember(needed, Remember(config=True)) == (
        ("ConfigMap", "settings"),
        ("ConfigMap", "settings-7f9cgg4m2b"),
        ("Secret", "db"),
    )


def test_what_is_renewed_by_itself_is_left_out() -> None:
    asked = Remember.model_validate({"config": True, "without": [{"kind": "Secret", "name": "db"}]})
    assert to_remember([CONFIG, PASSWORD, Need("ConfigMap", "db")], asked) == (
        ("ConfigMap", "settings"),
        ("ConfigMap", "db"),
    )


def test_what_pods_require_in_one_place_is_not_optional_in_another() -> None:
    may, must = ({"configMapRef": {"name": "settings", "optional": one}} for one in (True, False))
    for references in ([may, must], [must, may]):
        assert [need.optional for need in podtemplate.refers_to(template(envFrom=references))] == [False]
    assert [need.optional for need in podtemplate.refers_to(template(envFrom=[may]))] == [True]


def test_what_is_named_besides_is_remembered_with_and_without_configuration() -> None:
    also = ({"kind": "Service", "name": "web"},)
    assert to_remember([CONFIG], Remember.model_validate({"also": also})) == (("Service", "web"),)


def test_what_is_immutable_or_named_after_its_content_cannot_change() -> None:
    assert may_change("ConfigMap", config_map())
    assert not may_change("ConfigMap", {**config_map(), "immutable": True})
    assert not may_change("ConfigMap", config_map(HASHED.name))
    assert may_change("Service", {"metadata": {"name": HASHED.name}}), "kustomize hashes no names of Services"


FIXED: dict[str, Object] = {
    "it is immutable": {**config_map("settings-2"), "immutable": True},
    "kustomize made its name": config_map(HASHED.name),
}


@pytest.mark.parametrize("case", FIXED)
async def test_what_cannot_change_is_kept_and_makes_no_other_configuration(case: str) -> None:
    api = FakeApi(config_map(), FIXED[case])
    alone = await remembered(api, CONFIG)

    found = await remembered(api, CONFIG, Need("ConfigMap", FIXED[case]["metadata"]["name"]))

    assert found.fixed is not None
    assert [one.name for one in found.fixed] == [FIXED[case]["metadata"]["name"]]
    assert (found.objects, found.config, found.at) == (alone.objects, alone.config, alone.at)
    kept = copies(api)[found.fixed[0].secret]
    assert (kept["data"], kept.get("immutable")) == (FIXED[case]["data"], FIXED[case].get("immutable"))


CROWDED: dict[str, tuple[int, int, int]] = {
    "there is room for all": (24, 8, 8),
    "there is room for some": (25, 8, 7),
    "there is room for none": (32, 8, 0),
    "there is nothing else": (0, 33, 32),
}


@pytest.mark.parametrize("case", CROWDED)
async def test_of_what_cannot_change_as_much_is_kept_as_there_is_room_for(case: str) -> None:
    changing, fixed, kept = CROWDED[case]
    things = [config_map(f"settings-{number}") for number in range(changing)]
    things += [{**config_map(f"a-{number}"), "immutable": True} for number in range(fixed)]
    api = FakeApi(*things)
    found = await remembered(api, *(Need("ConfigMap", one["metadata"]["name"]) for one in things))
    assert (len(found.objects), len(found.fixed or ())) == (changing, kept)
    assert len(copies(api)) == len(found.kept)


async def test_what_cannot_change_may_be_too_large_like_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifests, "LARGEST", 10)
    with pytest.raises(Unremembered, match=r"cannot be remembered. Make it smaller, or leave it out"):
        await remembered(FakeApi({**config_map("settings-1"), "immutable": True}), Need("ConfigMap", "settings-1"))


async def test_what_is_named_by_its_content_is_left_out_where_it_may_not_be_read() -> None:
    api = FakeApi(config_map(), config_map(HASHED.name))
    before = await remembered(api, CONFIG, HASHED)
    api.faults.append(failing(f"GET /api/v1/namespaces/shop/configmaps/{HASHED.name}", LACKING))
    found = await remembered(api, CONFIG, HASHED)
    assert (found.objects, found.config, found.fixed) == (before.objects, before.config, ())


async def test_and_its_copy_is_not_made_again_then() -> None:
    api = FakeApi(config_map(HASHED.name))
    then = await remembered(api, HASHED)
    api.drop({"kind": "Secret", "metadata": {"namespace": "shop", "name": then.kept[0].secret}})
    api.faults.append(failing(f"GET /api/v1/namespaces/shop/configmaps/{HASHED.name}", LACKING))
    writes = len(api.writes())
    door: Any = api
    await Memory(door).mend(whose(), then)
    assert len(api.writes()) == writes


async def test_a_request_reads_none_of_it_to_tell_configurations_apart() -> None:
    api = FakeApi(config_map(), config_map(HASHED.name))
    door: Any = api
    then = await remembered(api, CONFIG, HASHED)
    before = len(api.calls)
    assert await Memory(door).now(whose(), [CONFIG, HASHED]) == then.config
    assert [str(call) for call in api.calls[before:]] == ["GET /api/v1/namespaces/shop/configmaps/settings"]


async def test_and_compares_no_more_than_an_earlier_version_remembered() -> None:
    api = FakeApi(config_map(), config_map("flags"))
    door: Any = api
    then = await remembered(api, CONFIG)
    needed = [CONFIG, Need("ConfigMap", "flags")]
    older = then.model_copy(update={"fixed": None})
    assert await Memory(door).now(whose(), needed, (then,)) != then.config
    assert await Memory(door).now(whose(), needed, (older,)) == then.config
    api.put(config_map(mode="slow"))
    assert await Memory(door).now(whose(), needed, (older,)) != then.config


async def test_of_what_cannot_change_it_matters_whether_it_is_there() -> None:
    api = FakeApi(config_map(HASHED.name))
    door: Any = api
    memory = Memory(door)
    then = await memory.remember(whose(), [HASHED], revision(3), NOW)
    assert await memory.changed(whose(), then) == {}
    api.drop(config_map(HASHED.name))
    assert [(one.name, thing) for one, thing in (await memory.changed(whose(), then)).items()] == [(HASHED.name, None)]


CHANGES: dict[str, tuple[Object, bool]] = {
    "other data": ({**config_map(), "data": {"mode": "slow"}}, True),
    "binary data": ({**config_map(), "binaryData": {"x": "AA=="}}, True),
    "a label": ({**config_map(), "metadata": {**_metadata("settings"), "labels": {"a": "b"}}}, False),
    "its version": ({**config_map(), "metadata": {**_metadata("settings"), "resourceVersion": "9"}}, False),
}


@pytest.mark.parametrize("case", CHANGES)
def test_only_what_pods_are_given_makes_another_configuration(case: str) -> None:
    thing, differs = CHANGES[case]
    before, after = digest_of("ConfigMap", config_map(), "salt"), digest_of("ConfigMap", thing, "salt")
    assert (before != after) == differs


def test_a_digest_is_of_one_policy() -> None:
    assert digest_of("Secret", secret(), "one") != digest_of("Secret", secret(), "another")


async def test_each_object_is_kept_in_a_secret_of_its_own_as_the_account_and_for_the_policy() -> None:
    api = FakeApi(config_map(), secret())

    found = await remembered(api, CONFIG, PASSWORD)

    assert [(one.kind, one.name) for one in found.objects] == [("ConfigMap", "settings"), ("Secret", "db")]
    assert found.config == whole(found.objects)
    kept = copies(api)
    assert set(kept) == {one.secret for one in found.objects}
    assert kept[found.objects[0].secret]["data"] == {"mode": "fast"}
    assert set(kept[found.objects[1].secret]["metadata"]) == {"name", "namespace"}
    calls = [call for call in api.calls if call.path.startswith("/api/v1")]
    assert {call.as_ for call in calls} == {"shop/rollback"}
    owners = [call.body["metadata"]["ownerReferences"] for call in api.writes()]
    assert {(owner["kind"], owner["uid"]) for (owner,) in owners} == {("RollbackPolicy", "uid-of-policy")}


async def test_no_value_of_a_secret_is_in_what_the_status_says() -> None:
    found = await remembered(FakeApi(secret()), PASSWORD)
    assert "aHVudGVyMg" not in json.dumps(found.dump())


async def test_what_is_kept_already_costs_no_write() -> None:
    api = FakeApi(config_map())
    door: Any = api
    memory = Memory(door)
    for _ in range(2):
        await memory.remember(whose(), [CONFIG], revision(3), NOW)
    assert len(api.writes()) == 1

    again = await Memory(door).remember(whose(), [CONFIG], revision(3), NOW)

    assert again.objects[0].secret in copies(api)


async def test_what_is_left_out_by_now_counts_as_it_was() -> None:
    api = FakeApi(config_map(), secret())
    door: Any = api
    memory = Memory(door)
    then = await memory.remember(whose(), [CONFIG, PASSWORD], revision(3), NOW)
    api.put(config_map(mode="slow"), secret(value="b3RoZXI="))
    assert [one.name for one in await memory.changed(whose(), then)] == ["settings", "db"]
    without = whose(without=({"kind": "Secret", "name": "db"},))
    assert [one.name for one in await memory.changed(without, then)] == ["settings"]


async def test_what_is_not_there_is_not_remembered() -> None:
    found = await remembered(FakeApi(), CONFIG)
    assert found.objects == ()


LACKING = errors.Forbidden(
    'secrets is forbidden: User "x" cannot create resource "secrets" in API group "" in the namespace "shop"'
)
REFUSED: dict[str, tuple[str, Reason, str]] = {
    "a ConfigMap may not be read": (
        "GET /api/v1/namespaces/shop/configmaps/settings",
        Reason.MAY_NOT_ROLL_BACK,
        "may not get configmaps settings in namespace shop",
    ),
    "a Secret may not be created": (f"POST {SECRETS}", Reason.MAY_NOT_ROLL_BACK, "may not create secrets in namespace"),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_a_right_that_is_missing_is_named(case: str) -> None:
    what, reason, says = REFUSED[case]
    api = FakeApi(config_map())
    api.faults.append(failing(what, LACKING))
    with pytest.raises(Unremembered) as raised:
        await remembered(api, CONFIG)
    assert raised.value.reason is reason
    assert says in raised.value.message
    assert "examples/rbac-remember.yaml" in raised.value.message


QUOTA = 'secrets "rollback-config-1" is forbidden: exceeded quota: compute, requested: secrets=1, used: secrets=20'


@pytest.mark.parametrize("error", [errors.Forbidden(QUOTA), errors.Invalid("denied by a webhook")])
async def test_a_refusal_for_another_cause_than_rights_is_told_in_its_words(error: errors.KubeError) -> None:
    api = FakeApi(config_map())
    api.faults.append(failing(f"POST {SECRETS}", error))
    with pytest.raises(Unremembered) as raised:
        await remembered(api, CONFIG)
    assert raised.value.reason is Reason.NOT_REMEMBERED
    assert raised.value.message == (
        "ConfigMap settings cannot be remembered, because the API server does not take the Secret that would keep it: "
        f"{error}"
    )


async def test_what_is_too_large_for_a_secret_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifests, "LARGEST", 10)
    with pytest.raises(Unremembered, match=r"ConfigMap settings takes \d+ bytes, and a Secret holds 10"):
        await remembered(FakeApi(config_map()), CONFIG)


def kept_by(api: FakeApi) -> set[str]:
    """The Secrets that are there."""
    return {path.rpartition("/")[2] for path in api._things if path.startswith(SECRETS)}


async def test_while_one_is_too_large_nothing_is_kept_that_nothing_refers_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifests, "LARGEST", 400)
    noise = {f"key-{number}": hashlib.sha256(str(number).encode()).hexdigest() for number in range(20)}
    api = FakeApi(config_map("large", **noise))
    door: Any = api
    memory = Memory(door)
    for mode in ("fast", "slow", "off"):
        api.put(config_map(mode=mode))
        with pytest.raises(Unremembered, match="ConfigMap large takes"):
            await memory.remember(whose(), [CONFIG, Need("ConfigMap", "large")], revision(3), NOW)
    assert api.writes() == []


@pytest.mark.parametrize("others", [["a", "b"], ["y", "z"]], ids=["before it", "after it"])
async def test_while_one_is_refused_nothing_piles_up_and_nothing_is_made_again_and_again(others: list[str]) -> None:
    api = FakeApi(config_map("kept"), config_map("refused"))
    door: Any = api
    memory = Memory(door)
    before = await memory.remember(whose(), [Need("ConfigMap", "kept")], revision(3), NOW)

    def deny(call: Call) -> Exception | None:
        of_it = call.verb == "POST" and "refused" in str(manifests.unpacked(call.body["data"]["manifests"]))
        return errors.Invalid("denied by a webhook") if of_it else None

    api.faults.append(deny)
    needed = [Need("ConfigMap", name) for name in sorted(["kept", "refused", *others])]
    for mode in ("fast", "slow", "off"):
        api.put(*(config_map(name, mode=mode) for name in others))
        for _ in range(2):
            tried = len(api.writes())
            with pytest.raises(Unremembered, match="ConfigMap refused cannot be remembered"):
                await memory.remember(whose(), needed, revision(3), NOW, (before,))
        assert len(api.writes()) - tried == 1, "what was refused, and nothing else"
        assert len(kept_by(api)) <= 3
    assert before.objects[0].secret in kept_by(api)

    api.faults.clear()
    found = await memory.remember(whose(), needed, revision(3), NOW, (before,))
    assert {one.secret for one in found.kept} == kept_by(api)


async def test_under_a_quota_as_many_as_fit_stay() -> None:
    api = FakeApi(*map(config_map, "abc"))
    memory = Memory(api)  # type: ignore[arg-type]
    full = errors.Forbidden('secrets "x" is forbidden: exceeded quota: few')
    api.faults.append(lambda call: full if call.verb == "POST" and len(kept_by(api)) >= 2 else None)
    tried = []
    for _ in range(3):
        with pytest.raises(Unremembered, match="exceeded quota"):
            await memory.remember(whose(), [Need("ConfigMap", name) for name in "abc"], revision(3), NOW)
        tried.append(len(api.writes()))
    assert tried == [3, 4, 5]


async def test_too_many_objects_are_said() -> None:
    names = [f"settings-{number}" for number in range(33)]
    with pytest.raises(
        Unremembered, match=r"33 objects would be remembered with each revision .*, and 32 are the most"
    ):
        await remembered(FakeApi(*map(config_map, names)), *(Need("ConfigMap", name) for name in names))


async def test_what_may_be_missing_counts_only_if_it_is_there() -> None:
    needed = [Need("ConfigMap", f"settings-{number}") for number in range(33)]
    found = await remembered(FakeApi(config_map("settings-1")), *needed)
    assert [one.name for one in found.objects] == ["settings-1"]


async def test_and_so_much_of_it_is_looked_for() -> None:
    needed = [Need("ConfigMap", f"settings-{number}") for number in range(129)]
    with pytest.raises(Unremembered, match=r"129 objects are referred to or named .*, and 128 are the most"):
        await remembered(FakeApi(), *needed)


# Revisions.


def entry(letter: str, config: str = "c1:x", at: float = 0, *secrets: str) -> Remembered:
    objects = tuple(RememberedObject(kind="ConfigMap", name="settings", secret=one) for one in secrets)
    return Remembered(
        fingerprint=f"v1:{letter}", revision="1", config=config, at=NOW + timedelta(seconds=at), objects=objects
    )


def test_the_oldest_are_forgotten_and_nothing_that_is_still_referred_to() -> None:
    known = tuple(entry("a", f"c1:{number}", number, f"s{number}", "shared") for number in range(MAX_REMEMBERED))
    after = learned(known, entry("b", "c1:new", 9999, "new"))
    assert len(after) == MAX_REMEMBERED
    assert forgotten(known, after) == ("s0",)


def test_what_cannot_change_is_referred_to_like_the_rest() -> None:
    (one,) = entry("a", "c1:x", 0, "s0").objects
    known = (entry("a").model_copy(update={"fixed": (one,)}),)
    assert forgotten(known, known) == ()
    assert forgotten(known, (entry("b"),)) == ("s0",)


def test_configuration_that_came_just_before_its_release_is_not_taken_for_the_old_ones() -> None:
    passing = PASSING.total_seconds()
    known = (entry("a", "c1:old"), entry("a", "c1:new", 9000), entry("b", "c1:new", 9000 + passing - 1))
    assert last_with(known, "v1:a") == known[0]
    lasting = (entry("a", "c1:old"), entry("a", "c1:new", 9000), entry("b", "c1:new", 9000 + passing))
    assert last_with(lasting, "v1:a") == lasting[1]


def test_what_only_stood_for_a_moment_is_better_than_nothing() -> None:
    known = (entry("a", "c1:new"), entry("b", "c1:new", 1))
    assert last_with(known, "v1:a") == known[0]
    assert last_with(known, "v1:x") is None
    assert last_with((), "v1:a") is None


# A policy.


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for one in (asking, looking, worker, watch, keeping):
        monkeypatch.setattr(one, "time", clock)
    for dated in (looking, making):
        monkeypatch.setattr(dated, "datetime", clock.date())
    return clock


def configured(image: str = "shop:3") -> Object:
    return template(image, envFrom=[{"configMapRef": {"name": "settings"}}])


def remembering(clock: Clock, *things: Object, **spec: Any) -> Policies:
    body = deployment(pods=configured())
    sets = [replica_set(2), replica_set(3, pods=configured())]
    return Policies(clock, body, *sets, *things, policy=orders(trigger(), remember={"config": True}, **spec))


async def test_a_policy_remembers_what_runs_and_notices_a_change_within_a_minute(clock: Clock) -> None:
    world = remembering(clock, config_map())
    await world.go(240)
    (first,) = PolicyStatus.model_validate(world.status).remembered
    assert first.fingerprint == podtemplate.fingerprint(configured())
    world.api.put(config_map(mode="slow"))
    await world.go(90)
    before, after = PolicyStatus.model_validate(world.status).remembered
    assert (before, after.fingerprint, after.config != first.config) == (first, first.fingerprint, True)


async def test_what_is_optional_is_remembered_when_it_comes_when_it_changes_and_when_it_goes(clock: Clock) -> None:
    pods = template("shop:3", envFrom=[{"configMapRef": {"name": "settings", "optional": True}}])
    sets = [replica_set(2), replica_set(3, pods=pods)]
    world = Policies(clock, deployment(pods=pods), *sets, policy=orders(trigger(), remember={"config": True}))
    await world.go(240)
    armed = next(one for one in world.status["conditions"] if one["type"] == "Armed")
    assert armed["status"] == "True", "what is optional may be missing"
    for mode in ("fast", "slow", None):
        world.api.put(config_map(mode=mode)) if mode else world.api.drop(config_map())
        await world.go(240)
    known = PolicyStatus.model_validate(world.status).remembered
    assert [len(one.objects) for one in known] == [1, 1, 0], "without it is the first one again"
    assert known[-1].again


async def test_while_nothing_changes_nothing_is_written(clock: Clock) -> None:
    world = remembering(clock, config_map())
    await world.go(900)
    writes = len(world.api.writes())
    await world.go(600)
    assert len(world.api.writes()) == writes


async def test_a_policy_that_cannot_remember_is_not_armed(clock: Clock) -> None:
    world = remembering(clock, config_map())
    world.api.faults.append(failing("GET /api/v1/namespaces/shop/configmaps/settings", LACKING))
    await world.go(90)
    armed = next(one for one in world.status["conditions"] if one["type"] == "Armed")
    assert (armed["status"], armed["reason"]) == ("False", "MayNotRollBack")
    assert "may not get configmaps settings in namespace shop" in armed["message"]


async def test_whether_what_is_kept_is_there_is_asked_now_and_then(clock: Clock) -> None:
    world = remembering(clock, config_map())
    await world.go(240)
    (first,) = PolicyStatus.model_validate(world.status).remembered
    path = f"{SECRETS}/{first.objects[0].secret}"
    before = len(world.api.calls)
    await world.go(3600)
    calls = world.api.calls[before:]
    asked = [call for call in calls if call.path == path]
    assert {call.verb for call in asked} == {"GET"}
    assert 5 <= len(asked) <= 7
    assert [call for call in calls if call in world.api.writes() and call.path == SECRETS] == []


async def test_what_is_kept_of_what_stands_is_kept_again_when_somebody_deleted_it(clock: Clock) -> None:
    world = remembering(clock, config_map())
    await world.go(240)
    (first,) = PolicyStatus.model_validate(world.status).remembered
    kept = {"kind": "Secret", "metadata": {"namespace": "shop", "name": first.objects[0].secret}}
    before = world.api.current(kept)
    world.api.drop(kept)
    await world.go(660)
    assert world.api.current(kept)["data"] == before["data"]


async def test_of_who_may_not_read_secrets_it_is_believed_that_they_are_there(clock: Clock) -> None:
    world = remembering(clock, config_map())
    await world.go(240)
    world.api.faults.append(failing("GET /api/v1/namespaces/shop/secrets/rollback-config", LACKING))
    writes = len(world.api.writes())
    await world.go(1200)
    assert [call for call in world.api.writes()[writes:] if call.path == SECRETS] == []


async def test_what_is_forgotten_is_deleted(clock: Clock) -> None:
    world = remembering(clock, config_map())
    await world.go(240)
    (first,) = PolicyStatus.model_validate(world.status).remembered
    for number in range(MAX_REMEMBERED):
        world.api.put(config_map(mode=str(number)))
        await world.go(240)
    deleted = [call.path for call in world.api.writes() if call.verb == "DELETE"]
    assert deleted == [f"{SECRETS}/{first.objects[0].secret}"]


# A rollback of a kind whose pods refer to nothing: it is only told of.


TOLD = Recalled(told=(RememberedObject(kind="ConfigMap", name="settings", secret="kept"),), notes=("as it is",))


def test_what_is_gone_and_kept_is_said_where() -> None:
    found = TOLD.added_to(Findings((), "", missing=("ConfigMap settings (key a)", "Secret db")), "salt")
    assert found.missing == ("ConfigMap settings (key a) (kept in Secret kept)", "Secret db")
    assert (found.notes, found.configuration) == (("as it is",), None)


MANY: dict[int, str] = {
    1: "ConfigMap c0. To bring it back as well: for one in {}; do kubectl -n shop get secret $one ",
    9: "9 objects. The policy's status.remembered says where each is kept.",
}


@pytest.mark.parametrize("number", MANY)
async def test_what_is_not_as_it_was_is_told_with_the_command(number: int) -> None:
    things = [config_map(f"c{one}") for one in range(number)]
    then = await remembered(FakeApi(*things), *(Need("ConfigMap", f"c{one}") for one in range(number)))
    door: Any = FakeApi(*(config_map(f"c{one}", mode="other") for one in range(number)))

    (note,) = (await Recall(door).look(whose(), (then,), revision(3), restores=False)).notes

    assert note.startswith("Configuration is not as it was when revision 3 ran, and this rollback leaves it as it is: ")
    assert MANY[number].format(then.objects[0].secret) in note
