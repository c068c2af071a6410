"""Configuration is remembered with revisions; a policy that cannot do so says why."""

from __future__ import annotations

import base64
import random
from typing import Any

import pytest
import yaml

from tests.e2e.world import ROOT, Object, World, condition, policy, until, web


@pytest.fixture(scope="module")
def settings() -> dict[str, str]:
    """Configuration is looked at often."""
    return {"remember": "2"}


STUCK = {"name": "stuck", "interval": "1s", "rollout": {"progressDeadlineExceeded": True}}


def config_map(**data: str) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": data}


def secret(value: str) -> Object:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db"}, "stringData": {"password": value}}


def configured(image: str) -> Object:
    return web(image, envFrom=[{"configMapRef": {"name": "settings"}}, {"secretRef": {"name": "db"}}])


def grant(world: World) -> None:
    """What `examples/rbac-remember.yaml` gives."""
    text = (ROOT / "examples" / "rbac-remember.yaml").read_text()
    world.kubectl("apply", "-f", "-", input=text.replace("namespace: shop", f"namespace: {world.namespace}"))


def remembering(world: World, **remember: Any) -> World:
    """`web` with a policy that remembers its configuration, at its first release."""
    world.apply(config_map(mode="good"), secret("hunter2-good"))
    world.release(configured("shop:1"))
    world.apply(policy("web", remember={"config": True, **remember}, triggers=[STUCK]))
    return world


def remembered(world: World, count: int) -> list[Object]:
    """What the status speaks of, once that is so much."""

    def there() -> list[Object]:
        found: list[Object] = (world.get("rbp", "web").get("status") or {}).get("remembered", [])
        return found if len(found) == count else []

    return until(there, what=f"{count} remembered")


def values(world: World) -> tuple[str, str]:
    """What pods would be given now."""
    return world.get("configmap", "settings")["data"]["mode"], world.get("secret", "db")["data"]["password"]


def proved_good(world: World) -> None:
    """What runs is remembered, and known to be good: what follows within minutes is not taken for a part of it."""
    (first,) = remembered(world, 1)
    reason = "it served customers for a week"
    ledger = [{"fingerprint": first["fingerprint"], "verdict": "Good", "reason": reason}]
    world.apply(policy("web", remember={"config": True}, triggers=[STUCK], ledger=ledger))

    def known() -> bool:
        body = world.get("rbp", "web")
        return bool(body["status"].get("lastKnownGood")) and (
            body["status"]["observedGeneration"] == body["metadata"]["generation"]
        )

    until(known, what="the policy knows a good revision")


def test_a_change_of_configuration_alone_is_remembered(world: World) -> None:
    grant(world)
    proved_good(remembering(world))

    world.apply(config_map(mode="other"))

    before, after = remembered(world, 2)
    assert (before["fingerprint"], before["revision"]) == (after["fingerprint"], after["revision"])
    assert before["config"] != after["config"]
    kept = [{one["name"]: one["secret"] for one in entry["objects"]} for entry in (before, after)]
    assert kept[0]["db"] == kept[1]["db"]
    assert kept[0]["settings"] != kept[1]["settings"]
    assert ("release" in before, after["release"].startswith(f"{before['fingerprint']}+")) == (False, True)


def test_what_cannot_change_is_kept_apart_and_what_is_named_besides_with_the_rest(world: World) -> None:
    grant(world)
    world.apply({**config_map(mode="good"), "immutable": True}, secret("x"))
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}}
    world.apply({**service, "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}})
    world.release(configured("shop:1"))
    also = [{"kind": "Service", "name": "web"}]
    world.apply(policy("web", remember={"config": True, "also": also}, triggers=[STUCK]))

    (entry,) = remembered(world, 1)

    assert [(one["kind"], one["name"]) for one in entry["objects"]] == [("Secret", "db"), ("Service", "web")]
    assert [(one["kind"], one["name"]) for one in entry["fixed"]] == [("ConfigMap", "settings")]
    assert world.get("secret", entry["fixed"][0]["secret"])["immutable"]


DISARMED = {
    "without the right to create Secrets": ("MayNotRollBack", "may not create secrets"),
    "too large": ("NotRemembered", "ConfigMap settings takes"),
}


@pytest.mark.parametrize("case", DISARMED)
def test_a_policy_that_cannot_remember_is_not_armed(world: World, case: str) -> None:
    reason, says = DISARMED[case]
    if case == "too large":
        grant(world)
    else:
        world.kubectl("delete", "role", "rollback")
        may_read = {"apiGroups": [""], "resources": ["configmaps", "secrets"], "verbs": ["get"]}
        may_patch = {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["patch"]}
        role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "rollback"}}
        world.apply({**role, "rules": [may_read, may_patch]})
    world.apply(secret("x"))
    if case == "too large":
        whole = {**config_map(), "binaryData": {"noise": _noise()}}
        world.kubectl("apply", "--server-side", "-f", "-", input=_yaml(whole))
    else:
        world.apply(config_map(mode="good"))
    for version in (1, 2):
        world.release(configured(f"shop:{version}"))

    world.apply(policy("web", remember={"config": True}, triggers=[STUCK]))

    def armed() -> Object | None:
        body = world.get("rbp", "web")
        there = any(one["type"] == "Armed" for one in (body.get("status") or {}).get("conditions", []))
        return condition(body, "Armed") if there else None

    said = until(armed, what="Armed is said") or {}
    assert (said["status"], said["reason"]) == ("False", reason)
    assert says in said["message"]


def _noise() -> str:
    """What fills a ConfigMap, and becomes no smaller by compression."""
    return base64.b64encode(random.Random(1).randbytes(1_048_000)).decode()  # noqa: S311 - no secret


def _yaml(body: Object) -> str:
    return yaml.safe_dump(body)
