"""A release is bad, and a policy sees it: what fires, what does not, and what follows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from testbed.monitoring import Alertmanager, Exporter
from tests.e2e.conftest import namespace_in
from tests.e2e.watched import Watched, order
from tests.e2e.world import Object, World, condition, outcome, policy, until, web


@pytest.fixture(scope="module")
def settings(monitored: dict[str, str]) -> dict[str, str]:
    return monitored


# One bad release each, all at once: every kind of trigger, and what else decides.

TWO_PODS = {"any": {"a": 0.0, "b": 0.5}, "all": {"a": 0.5, "b": 0.5}, "one-well": {"a": 0.0, "b": 0.5}}
"""The rates of errors of a bad release with two pods; of others it is 0.5, or 0.01."""
WELL = ("well",)


def gallery_of(shop: Watched, health: str) -> dict[str, Object]:
    """Policies, each for a Deployment of its own."""

    def errors(app: str, **more: Any) -> Object:
        return shop.errors(app, **more)

    def samples(count: int) -> Object:
        return {"query": f"vector({count})", "atLeast": 20}

    query = f'errors{{namespace="{shop.namespace}",app="scalar"}}'
    soon = {"interval": "1s", "consecutive": 2}
    triggers: dict[str, list[Object]] = {
        "scalar": [errors("scalar", prometheus={"query": f"scalar({query})"}, for_="2s")],
        "any": [errors("any", series="Any", for_="2s")],
        "all": [errors("all", series="All", for_="2s")],
        "enough": [errors("enough", minSamples=samples(20), consecutive=2)],
        "http": [{"name": "health", "http": {"url": health, "timeout": "10s"}, **soon}],
        "restarts": [{"name": "restarts", "pods": {"restarts": "> 5", "within": "5m"}, **soon}],
        "waiting": [{"name": "waiting", "pods": {"reasons": ["CrashLoopBackOff"]}, **soon}],
        "stuck": [{"name": "stuck", "rollout": {"progressDeadlineExceeded": True}, "interval": "1s"}],
        "alert": [{"name": "told", "alert": {"name": "TooManyErrors"}, "interval": "1s"}],
        "graced": [errors("graced", for_="2s", action="AlertThenRollback", grace="1s")],
        "misspelt": [
            errors("misspelt", for_="2s"),
            errors("misspelt", name="broken", prometheus={"query": "sum(errors"}),
        ],
        "well": [errors("well", for_="2s")],
        "one-well": [errors("one-well", series="All", for_="2s")],
        "few": [errors("few", minSamples=samples(19), consecutive=2)],
        "no-data": [errors("no-such-app", consecutive=1)],
        "link-local": [{"name": "metadata", "http": {"url": "http://169.254.169.254/latest"}, **soon}],
        "observe": [errors("observe", for_="2s")],
        "suspend": [errors("suspend", for_="2s")],
        "only-told": [errors("only-told", for_="2s", action="Alert")],
        "first": [errors("first", for_="2s")],
        "gone-config": [errors("gone-config", for_="2s")],
        "powerless": [errors("powerless", for_="2s")],
    }
    more: dict[str, Object] = {
        "observe": {"mode": "Observe"},
        "suspend": {"mode": "Suspend"},
        "powerless": {"serviceAccountName": "nobody"},
    }
    return {name: order(name, *asked, **more.get(name, {})) for name, asked in triggers.items()}


def releases(names: list[str], number: int) -> Iterator[Object]:
    """A release of each Deployment."""
    for name in names:
        body = web(f"shop:{number}", name=name, replicas=1)
        pods = body["spec"]["template"]["spec"]
        if name == "stuck":
            body["spec"]["progressDeadlineSeconds"] = 2
            pods["nodeSelector"] = {"disk": "fast"} if number == 2 else {}
        if name == "gone-config" and number == 1:
            pods["containers"][0]["envFrom"] = [{"configMapRef": {"name": "prices"}}]
        if number == 1 or name != "first":
            yield body


@pytest.fixture(scope="module")
def gallery(shared: Watched, alertmanager: Alertmanager) -> Iterator[Watched]:
    """All of them, each with a release that was well and one that is bad."""
    with Exporter() as health:
        policies = gallery_of(shared, f"{health.url}/healthz")
        _release_what_is_well(shared, policies)
        _release_what_is_bad(shared, list(policies))
        health.down()
        alert = {"alertname": "TooManyErrors", "namespace": shared.namespace, "rollback_policy": "alert"}
        alertmanager.fire(alert)
        yield shared
        alertmanager.resolve(alert)


def _release_what_is_well(shop: Watched, policies: dict[str, Object]) -> None:
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "prices"}, "data": {"tea": "3"}}
    shop.apply(config, *releases(list(policies), 1))
    for name in policies:
        for pod in TWO_PODS.get(name, ["a"]):
            shop.fail(0, name, pod)
    shop.wait("deployment", "--all", "--for=condition=Available")
    shop.kubectl("delete", "configmap", "prices")
    shop.apply(*policies.values())
    shop.wait("rbp", "--all", "--for=jsonpath={.status.observedGeneration}=1")


def _release_what_is_bad(shop: Watched, names: list[str]) -> None:
    shop.apply(*releases(names, 2))
    # Nobody has to help `stuck`: it may be back, at revision 3, before it is looked at.
    seen = [f"rbp/{name}" for name in names if name not in ("first", "suspend", "stuck")]
    shop.wait(*seen, "--for=jsonpath={.status.current.revision}=2")
    for name in names:
        for pod, rate in TWO_PODS.get(name, {"a": 0.01 if name in WELL else 0.5}).items():
            shop.fail(rate, name, pod)
    crashing = {"restartCount": 6, "state": {"running": {}}}
    waiting = {"restartCount": 1, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}
    for name, status in {"restarts": crashing, "waiting": waiting}.items():
        _patch_pod(shop, name, status)


def _patch_pod(shop: Watched, name: str, status: Object) -> None:
    """Have the one container of a Deployment's new pod look like this."""

    def pods() -> list[Object]:
        found = json.loads(shop.kubectl("get", "pods", "-o", "json", f"--selector=app={name}"))["items"]
        return [pod for pod in found if pod["spec"]["containers"][0]["image"] == "shop:2"]

    (pod,) = until(pods, what=f"{name} has a new pod")
    shop.wait(f"pod/{pod['metadata']['name']}", "--for=condition=Ready")
    container = {"name": "web", "image": "shop:2", "imageID": "", "ready": False, **status}
    patch = json.dumps({"status": {"containerStatuses": [container]}})
    shop.kubectl("patch", "pod", pod["metadata"]["name"], "--subresource=status", "--type=merge", "-p", patch)


@pytest.fixture(scope="module")
def fired(gallery: Watched) -> Watched:
    """When all that are to act have acted."""
    for name in FIRES:
        gallery.made(name)
    return gallery


FIRES = {
    "scalar": "errors: ",
    "any": "errors: ",
    "all": "errors: ",
    "enough": "errors: ",
    "http": "health: ",
    "restarts": "restarts: 6 restarts within 5m > 5",
    "waiting": "waiting: 1 failing",
    "stuck": "stuck: the rollout makes no progress",
    "alert": "told: alert TooManyErrors fires",
    "graced": "errors: ",
    "misspelt": "errors: ",
}


@pytest.mark.parametrize("name, said", FIRES.items(), ids=FIRES.keys())
def test_a_trigger_fires_and_the_release_is_rolled_back_once(gallery: Watched, name: str, said: str) -> None:
    body = gallery.rolled_back(name)

    assert outcome(body) == ("Succeeded", "Completed")
    assert gallery.image(name) == "shop:1"
    assert gallery.requests(name) == [body["metadata"]["name"]]
    assert body["spec"]["reason"].startswith(said)
    assert body["spec"]["reason"].endswith(f"(policy {name})")


QUIET = {"well": "Healthy", "one-well": "Healthy", "few": "Unknown", "no-data": "Unknown", "link-local": "Unknown"}


@pytest.mark.parametrize("name, verdict", QUIET.items(), ids=QUIET.keys())
def test_what_is_well_or_unknown_is_not_rolled_back(fired: Watched, name: str, verdict: str) -> None:
    fired.waits("verdict", verdict, name)
    assert (fired.image(name), fired.requests(name)) == ("shop:2", [])
    assert condition(fired.policy(name), "Alert")["reason"] == "NothingWrong"


TOLD = {
    "observe": ("WouldRollBack", "With mode: Enforce, Deployment/observe would be rolled back."),
    "only-told": ("Firing", "errors: "),
}


@pytest.mark.parametrize("name, reason, said", [(name, *told) for name, told in TOLD.items()], ids=TOLD.keys())
def test_a_policy_that_may_not_act_tells(gallery: Watched, name: str, reason: str, said: str) -> None:
    assert said in gallery.says("Alert", reason, name)
    assert (gallery.image(name), gallery.requests(name)) == ("shop:2", [])


def test_a_suspended_policy_asks_nothing(fired: Watched) -> None:
    status = fired.policy("suspend")["status"]

    assert fired.says("Ready", "Suspended", "suspend").startswith("mode: Suspend")
    assert "verdict" not in status
    assert (status.get("triggers", []), fired.requests("suspend")) == ([], [])


def test_a_query_that_is_none_is_told_in_the_servers_words(gallery: Watched) -> None:
    said = gallery.says("Ready", "InvalidTrigger", "misspelt")

    assert said.startswith("trigger broken: prometheus: ")
    assert "parse error" in said


def test_an_address_that_may_not_be_called_is_told(gallery: Watched) -> None:
    gallery.waits("triggers[0].verdict", "Unknown", "link-local")
    (trigger,) = gallery.policy("link-local")["status"]["triggers"]

    assert "169.254.169.254" in trigger["message"]
    assert "ROLLBACK_ALLOWED_NETWORKS" in trigger["message"]


DISARMED = {
    "first": ("NothingToRollBackTo", "Deployment/first has no revision before 1."),
    "gone-config": ("MissingDependency", "ConfigMap prices"),
    "powerless": ("MayNotRollBack", "Service account"),
}


@pytest.mark.parametrize("name, reason, said", [(name, *why) for name, why in DISARMED.items()], ids=DISARMED.keys())
def test_a_policy_tells_beforehand_that_it_could_not_roll_back(
    gallery: Watched, name: str, reason: str, said: str
) -> None:
    assert said in gallery.says("Armed", reason, name)
    assert "changed nothing" in gallery.says("Alert", "CouldNotRollBack", name)


# One after the other: what follows from what was before.


def ask_people(shop: Watched) -> str:
    """A bad release of which people are asked first; gives the request that waits for them."""
    shop.well("shop:1", action="AlertThenRollback")
    shop.release(web("shop:2", replicas=1))
    shop.fail(0.5)
    name = shop.made()
    shop.in_phase(name, "AwaitingApproval")
    return name


def test_people_veto_a_rollback(watched: Watched) -> None:
    name = ask_people(watched)

    watched.answer(name, abort=True)

    assert outcome(watched.ended(name)) == ("Aborted", "Aborted")
    assert "somebody aborted it" in watched.says("Alert", "Vetoed")
    assert (watched.image(), watched.requests()) == ("shop:2", [name])


def test_people_hasten_a_rollback(watched: Watched) -> None:
    name = ask_people(watched)

    watched.answer(name, approve=True)

    assert outcome(watched.ended(name)) == ("Succeeded", "Completed")
    assert (watched.image(), watched.requests()) == ("shop:1", [name])


def test_a_rollback_that_waits_for_people_is_taken_back_when_nothing_is_wrong_any_more(watched: Watched) -> None:
    name = ask_people(watched)

    watched.fail(0)

    assert outcome(watched.ended(name)) == ("Aborted", "Aborted")
    watched.says("Alert", "NothingWrong")
    assert (watched.image(), watched.requests()) == ("shop:2", [name])


def test_the_breaker_ends_a_row_of_rollbacks(watched: Watched) -> None:
    watched.well("shop:1", breaker={"limit": 1})
    watched.bad("shop:2")
    watched.rolled_back()
    watched.fail(0)
    watched.waits("verdict", "Healthy")
    watched.change(soak="1h")  # or it may prove good before anybody says that it is not

    watched.bad("shop:3")

    assert "Once within 1h this policy rolled back" in watched.says("Alert", "BreakerOpen")
    assert (watched.image(), len(watched.requests())) == ("shop:3", 1)


def test_a_bad_release_that_is_back_is_told_of_until_people_call_it_good(watched: Watched) -> None:
    watched.well("shop:1")
    watched.bad("shop:2")
    watched.rolled_back()
    watched.fail(0)

    watched.release(web("shop:2", replicas=1))

    assert "Revision 4 is a release that counts as bad" in watched.says("Alert", "BadReleaseReturned")
    fingerprint = watched.policy()["status"]["current"]["fingerprint"]
    watched.change(ledger=[{"fingerprint": fingerprint, "verdict": "Good", "reason": "a false alarm"}])
    watched.says("Alert", "NothingWrong")
    watched.waits("lastKnownGood.fingerprint", fingerprint)
    assert (watched.image(), len(watched.requests())) == ("shop:2", 1)


def test_a_bad_release_that_is_back_is_rolled_back_if_the_policy_says_so(watched: Watched) -> None:
    watched.well("shop:1", onReturn="Rollback")
    watched.bad("shop:2")
    watched.rolled_back()
    watched.fail(0)
    watched.waits("verdict", "Healthy")

    watched.apply(web("shop:2", replicas=1))

    until(lambda: len(watched.requests()) == 2, what="another request")
    body = watched.ended(watched.requests()[1])
    assert outcome(body) == ("Succeeded", "Completed")
    assert "it is back" in body["spec"]["reason"]
    assert watched.image() == "shop:1"


def test_it_goes_back_over_what_never_proved_good(watched: Watched) -> None:
    watched.well("shop:1")
    watched.change(soak="1h")
    watched.release(web("shop:2", replicas=1))
    watched.waits("current.revision", "2")

    watched.bad("shop:3")

    body = watched.rolled_back()

    assert outcome(body) == ("Succeeded", "Completed")
    assert (body["status"]["from"], body["status"]["to"], watched.image()) == ("3", "1", "shop:1")


def test_it_does_not_go_back_to_what_people_call_bad(watched: Watched) -> None:
    watched.well("shop:1", "shop:2")
    fingerprint = watched.policy()["status"]["current"]["fingerprint"]
    watched.change(ledger=[{"fingerprint": fingerprint, "verdict": "Bad", "reason": "see INC-7"}])
    watched.proved("1")

    watched.bad("shop:3")

    assert outcome(watched.rolled_back()) == ("Succeeded", "Completed")
    assert watched.image() == "shop:1"


def test_if_going_back_does_not_help_it_goes_further_back(watched: Watched) -> None:
    verify = {"timeout": "12s", "triggers": ["errors"]}
    watched.well("shop:1", "shop:2", verify=verify, onVerifyFailure="NextGood")
    watched.bad("shop:3")

    watched.is_back("shop:1")
    watched.fail(0)

    first, second = map(watched.ended, watched.requests())
    assert (outcome(first), first["status"]["to"]) == (("Failed", "Unhealthy"), "2")
    assert (outcome(second), second["status"]["to"]) == (("Succeeded", "Completed"), "1")
    assert "is not well either" in second["spec"]["reason"]


def test_what_was_bad_before_a_release_is_not_blamed_on_it(watched: Watched) -> None:
    watched.well("shop:1", watch={"within": "1s"})
    watched.fail(0.5)
    assert "no release is the cause" in watched.says("Alert", "NoRecentChange")

    watched.release(web("shop:2", replicas=1))

    watched.waits("triggers[0].excused", "true")
    watched.change(watch={"within": "1h"})
    watched.fail(0)
    watched.waits("verdict", "Healthy")
    assert watched.requests() == []
    watched.fail(0.5)
    assert outcome(watched.rolled_back()) == ("Succeeded", "Completed")


def test_what_people_went_back_to_is_not_rolled_back_and_what_they_left_is_bad(watched: Watched) -> None:
    watched.well("shop:1", soak="1h")
    watched.release(web("shop:2", replicas=1))
    watched.waits("current.revision", "2")

    watched.kubectl("rollout", "undo", "deployment/web")

    watched.waits('ledger[?(@.verdict=="Bad")].revision', "2")
    (entry,) = watched.policy()["status"]["ledger"]
    assert (entry["revision"], entry["reason"]) == ("2", "somebody went back from it to revision 3")
    watched.fail(0.5)
    assert "a rollback is not rolled back" in watched.says("Alert", "EarlierRevision")
    assert (watched.image(), watched.requests()) == ("shop:1", [])


@pytest.fixture
def elsewhere(watched: Watched) -> Iterator[World]:
    """A namespace of somebody else's."""
    with namespace_in(watched.cluster) as name:
        yield World(watched.cluster, name)


def test_a_stranger_takes_no_application_and_who_may_roll_it_back_does(watched: Watched, elsewhere: World) -> None:
    here, there = watched.namespace, elsewhere.namespace
    rule = {"apiGroups": ["argoproj.io"], "resources": ["applications"], "verbs": ["get", "update"]}
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "sync"}, "rules": [rule]}
    watched.apply(role)
    for account in (f"{here}:rollback", f"{there}:known"):
        name = account.replace(":", "-")
        watched.kubectl("create", "rolebinding", name, "--role=sync", f"--serviceaccount={account}")
    trigger = {"name": "never", "prometheus": {"query": "vector(0)"}, "when": "> 1", "interval": "1s"}
    orders = {"target": {"kind": "Application", "name": "web", "namespace": here}, "triggers": [trigger]}
    watched.apply(policy("web", **orders))
    elsewhere.apply(policy("web", **orders))

    assert f"{there}/rollback may not" in told(elsewhere, "Armed", "MayNotRollBack")
    assert told(elsewhere, "Ready", "Evaluating")
    assert watched.says("Armed", "TargetNotFound")
    assert watched.says("Ready", "Evaluating")

    elsewhere.apply(policy("web", **orders, serviceAccountName="known"))

    assert f"has another policy: {there}/web." in watched.says("Ready", "TargetTaken")
    assert f"has another policy: {here}/web." in told(elsewhere, "Ready", "TargetTaken")


def told(world: World, kind: str, reason: str) -> str:
    """Wait until a condition of the policy `web` has this reason; gives its message."""
    world.wait("rbp/web", f'--for=jsonpath={{.status.conditions[?(@.type=="{kind}")].reason}}={reason}')
    message: str = condition(world.get("rbp", "web"), kind)["message"]
    return message


def test_a_target_has_one_policy(watched: Watched) -> None:
    watched.well("shop:1")
    watched.apply(order("other", watched.errors(for_="2s")) | {"spec": watched.policy()["spec"]})

    assert "has another policy: other." in watched.says("Ready", "TargetTaken")
    assert "has another policy: web." in watched.says("Ready", "TargetTaken", "other")
    watched.kubectl("delete", "rbp/other")
    watched.says("Ready", "Evaluating")
    watched.bad("shop:2")
    assert outcome(watched.rolled_back()) == ("Succeeded", "Completed")
