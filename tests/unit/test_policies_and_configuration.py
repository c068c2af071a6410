"""Policies to which configuration is part of a release: what is blamed, what proves good, and what is gone back to."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rollback_operator.api.policy import PolicyStatus
from rollback_operator.configuration import memory, remembering
from rollback_operator.configuration.identity import PASSING, template_of
from rollback_operator.kube import errors, resources
from rollback_operator.policies import asking, looking, making, worker
from rollback_operator.targets import podtemplate
from tests.unit.builders import NOW, after
from tests.unit.fakes import failing
from tests.unit.objects import Object, deployment, replica_set, request_body, template
from tests.unit.test_policies import BREACH, HEALTHY, KEY, Clock, World, made, orders, trigger

DAY = 86_400.0
LONG = PASSING.total_seconds()
SECRETS = "/api/v1/namespaces/shop/secrets"


def pods(image: str = "shop:3") -> Object:
    return template(image, envFrom=[{"configMapRef": {"name": "settings"}}])


def stamp(at: float) -> str:
    return after(at).strftime("%Y-%m-%dT%H:%M:%SZ")


def settings(mode: str, at: float) -> Object:
    """What pods read, as somebody wrote it so many seconds after `NOW`."""
    entry = {"manager": "kubectl", "operation": "Update", "time": stamp(at), "fieldsV1": {"f:data": {}}}
    metadata = {"name": "settings", "namespace": "shop", "uid": "uid-of-settings", "managedFields": [entry]}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"mode": mode}}


class Shop(World):
    """A policy that remembers configuration, and a release that stands since yesterday."""

    def __init__(self, clock: Clock, *, remember: bool = True, **spec: Any) -> None:
        asks = spec.pop("triggers", [trigger(consecutive=2, interval="10s")])
        kept = {"remember": {"config": True}} if remember else {}
        sets = [made(-2 * DAY, replica_set(1)), made(-DAY, replica_set(3, pods=pods()))]
        things = [deployment(pods=pods()), *sets, settings("good", -DAY)]
        super().__init__(clock, *things, policy=orders(*asks, **{"soak": "60s", **kept, **spec}))

    def configure(self, mode: str, late: float = 0.0) -> None:
        """Somebody changed the configuration; that many seconds ago."""
        self.api.put(settings(mode, self.at - late))

    def restart(self, number: int) -> None:
        """Pods are started anew: `kubectl rollout restart`."""
        again = pods()
        again["metadata"]["annotations"] = {"kubectl.kubernetes.io/restartedAt": stamp(self.at)}
        self._roll_out(number, again)

    def release(self, number: int) -> None:
        self._roll_out(number, pods(f"shop:{number}"))

    def _roll_out(self, number: int, content: Object) -> None:
        body = deployment(number=number, generation=number, pods=content)
        self.api.put(body, made(self.at, replica_set(number, pods=content)))
        self.tell_of_target(body)

    @property
    def at(self) -> float:
        return self.clock.now - NOW.timestamp()

    @property
    def said(self) -> PolicyStatus:
        return PolicyStatus.model_validate(self.status)

    def ledger(self) -> list[tuple[str, str]]:
        return [(one.fingerprint, one.verdict.value) for one in self.said.ledger]

    async def made(self) -> list[Object]:
        """What requests were made, as they ask."""
        return [one["spec"] for one in await resources.list_all(self.worker._api, "rollbackrequests", "shop")]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    ticking = Clock()
    for one in (asking, looking, worker, remembering, memory):
        monkeypatch.setattr(one, "time", ticking)
    for dated in (looking, making, resources):
        monkeypatch.setattr(dated, "datetime", ticking.date())
    return ticking


TEMPLATE = podtemplate.fingerprint(pods())


async def proved(clock: Clock, **spec: Any) -> Shop:
    """The release that stands has proved good."""
    shop = Shop(clock, **spec)
    await shop.go(150)
    assert shop.ledger() == [(TEMPLATE, "Good")]
    return shop


async def test_a_policy_that_begins_to_remember_goes_on_with_what_it_knows(clock: Clock) -> None:
    shop = await proved(clock, remember=False)
    known = shop.said
    shop.edit(remember={"config": True})
    await shop.go(120)
    assert (shop.said.current, shop.said.ledger, shop.said.last_known_good) == (
        known.current,
        known.ledger,
        known.last_known_good,
    )
    assert [one.identity for one in shop.said.remembered] == [TEMPLATE]


async def test_and_one_that_ceases_to_goes_on_with_its_release(clock: Clock) -> None:
    shop = await proved(clock)
    shop.configure("other")
    await shop.go(LONG + 60)
    before = shop.said.current
    shop.edit(remember=None)
    await shop.go(60)
    now = shop.said.current
    assert before is not None
    assert now is not None
    assert (before.fingerprint != TEMPLATE, now.fingerprint, now.since) == (True, TEMPLATE, before.since)


REORDERED: dict[str, Object] = {
    "it leaves an object out": {"without": [{"kind": "ConfigMap", "name": "settings"}]},
    "it names another one": {"also": [{"kind": "Service", "name": "checkout"}]},
}


@pytest.mark.parametrize("case", REORDERED)
async def test_what_a_policy_asks_for_anew_makes_no_release(clock: Clock, case: str) -> None:
    shop = await proved(clock)
    shop.api.put({**settings("", 0), "kind": "Service", "metadata": _named("checkout"), "spec": {"ports": []}})
    known = shop.said
    shop.edit(remember={"config": True, **REORDERED[case]})
    await shop.go(LONG + 60)
    assert (shop.said.current, shop.said.ledger) == (known.current, known.ledger)
    (one,) = shop.said.remembered
    assert one.identity == TEMPLATE
    assert one.config != known.remembered[0].config


def _named(name: str) -> Object:
    return {"name": name, "namespace": "shop", "uid": f"uid-of-{name}"}


async def test_what_an_earlier_version_did_not_remember_makes_no_release_either(clock: Clock) -> None:
    optional = template("shop:3", envFrom=[{"configMapRef": {"name": "settings", "optional": True}}])
    shop = Shop(clock)
    shop.api.drop(replica_set(3, pods=pods()))
    shop.api.put(deployment(pods=optional), made(-DAY, replica_set(3, pods=optional)))
    shop.api.drop(settings("good", 0))
    await shop.go(150)
    (known,) = shop.said.remembered
    shop.api.put(settings("good", -DAY))
    await upgraded(shop)
    (now,) = shop.said.remembered
    assert (now.identity, [one.name for one in now.objects], now.fixed) == (known.identity, ["settings"], ())
    assert now.config != known.config


async def test_what_a_template_requires_and_was_not_looked_at_before_makes_no_release(clock: Clock) -> None:
    """An earlier version did not know where else a template refers to Secrets."""
    mounted = template("shop:3", envFrom=[{"configMapRef": {"name": "settings"}}, {"secretRef": {"name": "vault"}}])
    shop = Shop(clock)
    shop.api.drop(replica_set(3, pods=pods()))
    shop.api.put(deployment(pods=mounted), made(-DAY, replica_set(3, pods=mounted)))
    shop.api.put({"apiVersion": "v1", "kind": "Secret", "metadata": _named("vault"), "data": {"p": "eA=="}})
    await shop.go(150)
    (known,) = shop.said.remembered
    assert [one.name for one in known.objects] == ["settings", "vault"]

    def older(body: Object) -> None:
        (one,) = body["status"]["remembered"]
        one["objects"] = one["objects"][:1]
        one["config"] = "c1:" + "0" * 12

    shop.api.edit(shop.policy, older)
    shop.start()
    shop.signal.past = {"errors": [(at, HEALTHY) for at in range(-600, int(shop.at), 10)]}
    await shop.go(LONG + 60)
    (now,) = shop.said.remembered
    assert (now.identity, now.objects) == (known.identity, known.objects)


async def test_what_was_deleted_before_the_first_look_of_a_newer_version_is_a_release(clock: Clock) -> None:
    shop = await proved(clock)
    (known,) = shop.said.remembered
    shop.api.drop(settings("good", 0))
    await upgraded(shop)
    before, now = shop.said.remembered
    assert (before.objects, now.objects) == (known.objects, ())
    assert deleted(shop) == []


async def upgraded(shop: Shop) -> None:
    """An earlier version of the operator, which remembered less, wrote the status."""

    def older(body: Object) -> None:
        del body["status"]["remembered"][0]["fixed"]

    shop.api.edit(shop.policy, older)
    shop.start()
    shop.signal.past = {"errors": [(at, HEALTHY) for at in range(-600, int(shop.at), 10)]}
    await shop.go(LONG + 60)


async def test_what_is_pruned_with_the_release_that_needed_it_can_be_made_anew(clock: Clock) -> None:
    old, new = (template(f"shop:{n}", envFrom=[{"configMapRef": {"name": f"settings-{h}"}}]) for n, h in HASHES)
    shop = Shop(clock)
    shop.api.drop(replica_set(3, pods=pods()))
    shop.api.put(deployment(pods=old), made(-DAY, replica_set(3, pods=old)), generated("settings-7f9cgg4m2b"))
    await shop.go(150)
    body = deployment(number=4, generation=4, pods=new)
    shop.api.put(body, made(shop.at, replica_set(4, pods=new)), generated("settings-2222222222"))
    shop.api.drop(generated("settings-7f9cgg4m2b"))
    shop.tell_of_target(body)
    await shop.go(LONG + 60)
    assert [one.reason for one in shop.said.conditions if one.type == "Armed"] == ["Armed"]
    assert [[one.name for one in entry.fixed or ()] for entry in shop.said.remembered] == [
        ["settings-7f9cgg4m2b"],
        ["settings-2222222222"],
    ]
    writes = len(shop.api.writes())
    await shop.go(1200)
    assert len(shop.api.writes()) == writes


EDITS: dict[str, tuple[Object, bool]] = {
    "something else": ({"config": True, "also": [{"kind": "Service", "name": "checkout"}]}, True),
    "that it is left out": ({"config": True, "without": [{"kind": "ConfigMap", "name": "settings-7f9cgg4m2b"}]}, False),
    "no configuration": ({"also": [{"kind": "Service", "name": "checkout"}]}, False),
}


@pytest.mark.parametrize("case", EDITS)
async def test_what_was_pruned_of_what_runs_outlasts_an_edit_that_asks_for(clock: Clock, case: str) -> None:
    asked, stays = EDITS[case]
    name = "settings-7f9cgg4m2b"
    shop = await running(clock, generated(name), name=name)
    (first,) = shop.said.remembered[0].fixed or ()
    shop.api.drop(generated(name))
    await shop.go(120)
    shop.edit(remember=asked)
    await shop.go(120)
    (now,) = shop.said.remembered
    assert now.fixed == ((first,) if stays else ())
    assert deleted(shop) == ([] if stays else [first.secret])


@pytest.mark.parametrize("optional", [True, False])
async def test_what_is_optional_and_deleted_while_its_revision_runs_is_not_made_anew(
    clock: Clock, *, optional: bool
) -> None:
    name = "settings-7f9cgg4m2b"
    shop = await running(clock, generated(name), name=name, optional=optional)
    (first,) = shop.said.remembered[0].fixed or ()
    shop.api.drop(generated(name))
    await shop.go(120)
    (now,) = shop.said.remembered
    assert now.fixed == (() if optional else (first,))
    assert deleted(shop) == ([first.secret] if optional else [])


async def running(clock: Clock, *things: Object, **reference: Any) -> Shop:
    """A release whose pods refer to a ConfigMap like that."""
    its = template("shop:3", envFrom=[{"configMapRef": reference}])
    shop = Shop(clock)
    shop.api.drop(replica_set(3, pods=pods()))
    shop.api.put(deployment(pods=its), made(-DAY, replica_set(3, pods=its)), *things)
    await shop.go(150)
    return shop


def deleted(shop: Shop) -> list[str]:
    """Secrets that the policy deleted."""
    return [call.path.rpartition("/")[2] for call in shop.api.writes() if call.verb == "DELETE"]


HASHES = ((3, "7f9cgg4m2b"), (4, "2222222222"))


def generated(name: str) -> Object:
    """A ConfigMap as kustomize's configMapGenerator makes it."""
    return {**settings("good", -DAY), "metadata": _named(name)}


async def test_and_a_change_that_comes_with_it_does(clock: Clock) -> None:
    shop = await proved(clock)
    shop.configure("bad")
    shop.edit(remember={"config": True, "also": [{"kind": "Service", "name": "checkout"}]})
    await shop.go(LONG + 60)
    assert shop.said.current is not None
    assert shop.said.current.fingerprint != TEMPLATE


async def test_a_change_of_configuration_alone_is_a_release_that_is_blamed(clock: Clock) -> None:
    shop = await proved(clock)
    shop.configure("bad")
    await shop.go(5)
    shop.signal.says["errors"] = BREACH
    await shop.go(LONG - 30)
    assert (await shop.made(), shop.why()) == ([], "ReleaseUnderWay")
    await shop.go(60)
    (asked,) = await shop.made()
    current = shop.said.current
    assert current is not None
    assert asked["from"] == current.fingerprint != TEMPLATE
    assert template_of(asked["from"]) == TEMPLATE
    assert shop.ledger() == [(TEMPLATE, "Good")]


async def test_it_is_blamed_at_once_when_pods_were_started_anew_since(clock: Clock) -> None:
    shop = await proved(clock)
    shop.configure("bad")
    await shop.go(5)
    shop.restart(4)
    shop.signal.says["errors"] = BREACH
    await shop.go(30)
    (asked,) = await shop.made()
    assert asked["from"] != TEMPLATE


async def test_what_began_after_a_change_that_is_noticed_late_is_blamed_on_it(clock: Clock) -> None:
    shop = await proved(clock, triggers=[trigger(**{"for": "20s", "interval": "10s"})])
    await shop.go(30)
    shop.configure("bad", late=25)
    shop.signal.says["errors"] = BREACH
    await shop.go(LONG + 30)
    current = shop.said.current
    assert current is not None
    assert (len(await shop.made()), shop.said.triggers[0].excused) == (1, False)
    assert current.since == after(150 + 30 - 25)


async def test_configuration_that_comes_before_its_release_makes_one_release_of_both(clock: Clock) -> None:
    shop = await proved(clock)
    shop.configure("new")
    await shop.go(65)
    assert shop.said.current is not None
    assert shop.said.current.fingerprint == TEMPLATE
    shop.release(4)
    shop.signal.says["errors"] = BREACH
    await shop.go(30)
    new = podtemplate.fingerprint(pods("shop:4"))
    assert [one["from"] for one in await shop.made()] == [new]
    assert [one.identity for one in shop.said.remembered] == [TEMPLATE, new]
    assert shop.ledger() == [(TEMPLATE, "Good")]


async def test_configuration_that_comes_after_its_release_belongs_to_it(clock: Clock) -> None:
    shop = await proved(clock)
    shop.release(4)
    await shop.go(45)
    shop.configure("new")
    await shop.go(30)
    new = podtemplate.fingerprint(pods("shop:4"))
    assert [(one.identity, one.revision) for one in shop.said.remembered] == [(TEMPLATE, "3"), (new, "4")]
    assert shop.said.current is not None
    assert shop.said.current.fingerprint == new


async def test_nothing_is_called_good_that_may_be_on_its_way(clock: Clock) -> None:
    shop = await proved(clock, soak="30s")
    shop.configure("new")
    await shop.go(LONG - 10)
    assert shop.ledger() == [(TEMPLATE, "Good")]
    await shop.go(120)
    (_, (later, verdict)) = shop.ledger()
    assert (template_of(later), later != TEMPLATE, verdict) == (TEMPLATE, True, "Good")


async def test_who_takes_a_change_of_configuration_back_says_that_it_was_bad(clock: Clock) -> None:
    shop = await proved(clock)
    shop.configure("bad")
    await shop.go(LONG + 60)
    left = shop.said.current
    shop.configure("good")
    await shop.go(LONG + 60)
    assert left is not None
    assert shop.said.current is not None
    assert (shop.said.current.fingerprint, shop.said.current.rollback) == (TEMPLATE, True)
    assert shop.ledger() == [(TEMPLATE, "Good"), (left.fingerprint, "Bad")]


async def test_and_at_once_says_nothing(clock: Clock) -> None:
    shop = await proved(clock)
    before = shop.said.current
    shop.configure("bad")
    await shop.go(60)
    shop.configure("good")
    await shop.go(LONG + 60)
    assert (shop.said.current, shop.ledger()) == (before, [(TEMPLATE, "Good")])
    assert [one.identity for one in shop.said.remembered] == [TEMPLATE]


async def test_a_bad_configuration_that_is_back_is_a_bad_release_that_is_back(clock: Clock) -> None:
    shop = await proved(clock)
    for mode in ("bad", "good", "bad"):
        shop.configure(mode)
        await shop.go(LONG + 60)
    assert shop.why() == "BadReleaseReturned"


async def test_while_a_request_changes_both_nothing_is_made_of_what_is_seen(clock: Clock) -> None:
    shop = await proved(clock)
    running = request_body("undo", uid="uid-of-undo", policyRef={"name": "checkout"})
    running["status"] = {"phase": "Running"}
    shop.api.put(running)
    shop.configure("half of it")
    await shop.go(LONG + 60)
    assert [one.identity for one in shop.said.remembered] == [TEMPLATE]


async def test_a_request_of_people_that_names_the_target_accuses_the_configuration_that_stood(clock: Clock) -> None:
    shop = await proved(clock)
    shop.configure("bad")
    await shop.go(LONG + 60)
    current = shop.said.current
    shop.api.put(_applied(shop, left=TEMPLATE, to=podtemplate.fingerprint(template("shop:1"))))
    shop.worker.request_changed(KEY)
    await shop.go(30)
    assert current is not None
    assert shop.ledger() == [(TEMPLATE, "Good"), (current.fingerprint, "Bad")]


async def test_and_does_so_while_another_request_runs(clock: Clock) -> None:
    shop = await proved(clock)
    shop.configure("bad")
    await shop.go(LONG + 60)
    current = shop.said.current
    running = request_body("undo", uid="uid-of-undo", policyRef={"name": "checkout"})
    running["status"] = {"phase": "Running"}
    shop.api.put(running, _applied(shop, left=TEMPLATE, to=podtemplate.fingerprint(template("shop:1"))))
    shop.worker.request_changed(KEY)
    await shop.go(30)
    assert current is not None
    assert shop.ledger() == [(TEMPLATE, "Good"), (current.fingerprint, "Bad")]


def _applied(shop: Shop, *, left: str, to: str) -> Object:
    body = made(
        shop.at, request_body("by-hand", uid="uid-of-by-hand", target={"kind": "Deployment", "name": "checkout"})
    )
    plan = {
        "digest": "d",
        "uid": "u",
        "from": {"revision": "3", "fingerprint": left},
        "to": {"revision": "1", "fingerprint": to},
        "steps": [],
        "diff": "",
        "serviceAccountName": "rollback",
    }
    body["status"] = {
        "phase": "Succeeded",
        "finishedAt": stamp(shop.at),
        "target": "Deployment/checkout",
        "targets": [{"target": "Deployment/checkout", "phase": "Succeeded", "plan": plan}],
        "conditions": [
            {
                "type": "Applied",
                "status": "True",
                "reason": "Applied",
                "message": "",
                "lastTransitionTime": stamp(shop.at),
            }
        ],
    }
    return body


async def test_where_configuration_cannot_be_read_it_is_taken_to_be_as_it_was(clock: Clock) -> None:
    shop = await proved(clock)
    shop.configure("other")
    await shop.go(LONG + 60)
    before = shop.said.current
    no = errors.Forbidden("no")
    shop.api.faults.append(failing("GET /api/v1/namespaces/shop/configmaps/settings", no))
    await shop.go(120)
    assert (shop.said.current, before is not None) == (before, True)
    (armed,) = [one for one in shop.said.conditions if one.type == "Armed"]
    assert armed.reason == "MayNotRollBack"


async def test_while_nothing_changes_nothing_is_written(clock: Clock) -> None:
    shop = await proved(clock)
    shop.configure("other")
    await shop.go(LONG + 300)
    writes = len(shop.api.writes())
    await shop.go(1200)
    assert len(shop.api.writes()) == writes


async def test_a_restart_of_the_operator_changes_nothing(clock: Clock) -> None:
    shop = await proved(clock)
    shop.configure("other")
    await shop.go(LONG + 300)
    before, writes = shop.said, len(shop.api.writes())
    shop.start()
    shop.signal.past = {"errors": [(at, HEALTHY) for at in range(-600, int(shop.at), 10)]}
    await shop.go(300)
    assert shop.said == before
    assert [call.path for call in shop.api.writes()[writes:]] == [SECRETS], "whether the copy is there is asked anew"


async def test_two_operators_agree_on_what_is_remembered(clock: Clock) -> None:
    shop = await proved(clock)
    first = shop.worker
    shop.start()
    second = shop.worker
    changed = settings("other", 0)
    del changed["metadata"]["managedFields"]  # so each has a time of its own for it
    shop.api.put(changed)
    for _ in range(15):
        for one in (first, second):
            shop.worker = one
            await shop.go(20)
    told = [call.body["status"].get("remembered") for call in shop.api.writes() if call.verb == "PUT"]
    assert len({json.dumps(one) for one in told if one and len(one) > 1}) == 1


async def test_no_value_is_in_what_the_status_says(clock: Clock) -> None:
    shop = await proved(clock)
    shop.configure("hunter2")
    await shop.go(LONG + 60)
    assert "hunter2" not in json.dumps(shop.status)


async def test_the_request_is_made_when_it_is_written_which_configuration_is_meant(clock: Clock) -> None:
    shop = await proved(clock)
    shop.configure("bad")
    shop.restart(4)
    await shop.go(1)
    shop.signal.says["errors"] = BREACH
    await shop.go(60)
    calls = [call for call in shop.api.writes() if call.verb == "POST" and "rollbackrequests" in call.path]
    at = shop.api.writes().index(calls[0])
    statuses = [call.body["status"] for call in shop.api.writes()[:at] if call.path.endswith("/checkout/status")]
    identities = [one.identity for one in PolicyStatus.model_validate(statuses[-1]).remembered]
    assert calls[0].body["spec"]["from"] == identities[-1]


# Whether it could be rolled back.


LACKING: dict[str, str] = {
    "patch configmaps": "patch configmaps settings in namespace shop",
    "create configmaps": "create configmaps in namespace shop",
    "delete": "delete secrets in namespace shop",
}


@pytest.mark.parametrize("right", LACKING)
async def test_a_policy_that_could_not_bring_configuration_back_says_so_before(clock: Clock, right: str) -> None:
    shop = await proved(clock)
    shop.api.lacking = {right}
    shop.release(4)
    await shop.go(30)
    (armed,) = [one for one in shop.said.conditions if one.type == "Armed"]
    assert (armed.status, armed.reason) == ("False", "MayNotRollBack")
    assert armed.message == (
        f"Service account shop/rollback may not {LACKING[right]}. Give it the rights: examples/rbac-remember.yaml "
        "shows which."
    )


async def test_a_policy_whose_configuration_is_gone_is_armed_if_it_can_be_made_anew(clock: Clock) -> None:
    shop = await proved(clock)
    shop.release(4)
    await shop.go(30)
    shop.api.drop(settings("good", 0))
    await shop.go(120)
    (armed,) = [one for one in shop.said.conditions if one.type == "Armed"]
    assert armed.reason == "Armed"


async def test_what_cannot_change_takes_rights_only_when_it_has_to_be_made_anew(clock: Clock) -> None:
    name = "settings-7f9cgg4m2b"
    shop = await running(clock, generated(name), name=name)
    shop.api.lacking = {"patch configmaps", "create configmaps"}
    body = deployment(number=4, generation=4, pods=template("shop:4"))
    shop.api.put(body, made(shop.at, replica_set(4, pods=template("shop:4"))))
    shop.tell_of_target(body)
    await shop.go(LONG + 30)
    assert [[one.name for one in entry.kept] for entry in shop.said.remembered] == [[name], []]
    assert [one.reason for one in shop.said.conditions if one.type == "Armed"] == ["Armed"]
    shop.api.drop(generated(name))
    await shop.go(660)
    (armed,) = [one for one in shop.said.conditions if one.type == "Armed"]
    assert (armed.reason, "create configmaps in namespace shop" in armed.message) == ("MayNotRollBack", True)


def secret_of(name: str) -> Object:
    return {"kind": "Secret", "metadata": {"namespace": "shop", "name": name}}


async def test_a_policy_says_what_is_lost_when_what_it_would_put_back_is_not_kept_any_more(clock: Clock) -> None:
    shop = await proved(clock)
    (first,) = shop.said.remembered
    shop.release(4)
    shop.configure("new")
    await shop.go(LONG + 30)
    assert [one.reason for one in shop.said.conditions if one.type == "Armed"] == ["Armed"]
    shop.api.drop(secret_of(first.objects[0].secret))
    await shop.go(660)
    (armed,) = [one for one in shop.said.conditions if one.type == "Armed"]
    assert (armed.status, armed.reason) == ("False", "MissingDependency")
    assert armed.message == (
        "What was remembered with revision 3, which it would go back to, is lost: ConfigMap settings (Secret "
        f"{first.objects[0].secret}). The Secret is gone, or does not hold what its name says. Restore it from a "
        "backup, or give the object by hand what it said then: what is as it was need not go back, and is kept again."
    )
    shop.configure("good")
    await shop.go(660)
    assert [one.reason for one in shop.said.conditions if one.type == "Armed"] == ["Armed"]
    assert shop.api.current(secret_of(first.objects[0].secret))


async def test_what_only_the_revision_to_go_back_to_refers_to_is_kept_again_as_well(clock: Clock) -> None:
    shop = await proved(clock)
    (first,) = shop.said.remembered
    body = deployment(number=4, generation=4, pods=template("shop:4"))
    shop.api.put(body, made(shop.at, replica_set(4, pods=template("shop:4"))))
    shop.tell_of_target(body)
    await shop.go(LONG + 30)
    shop.api.drop(secret_of(first.objects[0].secret))
    await shop.go(660)
    assert shop.api.current(secret_of(first.objects[0].secret))
    assert [one.reason for one in shop.said.conditions if one.type == "Armed"] == ["Armed"]


async def test_a_copy_that_may_not_be_made_again_disarms(clock: Clock) -> None:
    shop = await proved(clock)
    (first,) = shop.said.remembered
    shop.api.drop(secret_of(first.objects[0].secret))
    no = errors.Forbidden('secrets is forbidden: User "x" cannot create resource "secrets" in API group ""')
    shop.api.faults.append(failing(f"POST {SECRETS}", no))
    await shop.go(660)
    (armed,) = [one for one in shop.said.conditions if one.type == "Armed"]
    assert (armed.reason, "may not create secrets" in armed.message) == ("MayNotRollBack", True)


async def test_a_policy_is_armed_when_only_its_configuration_could_be_gone_back_to(clock: Clock) -> None:
    shop = Shop(clock)
    shop.api.drop(replica_set(1))
    await shop.go(150)
    assert [one.reason for one in shop.said.conditions if one.type == "Armed"] == ["NothingToRollBackTo"]
    shop.configure("other")
    await shop.go(LONG + 30)
    assert [one.reason for one in shop.said.conditions if one.type == "Armed"] == ["Armed"]
