"""On a real node: the operator in the cluster, from its image, under its own rights; pods that really fail."""

from __future__ import annotations

import json
import re
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from testbed import Cluster, images
from testbed.operating import ROOT, SYSTEM
from tests.e2e import helming
from tests.e2e.world import World, condition, outcome, until, web

pytestmark = pytest.mark.real_node

SHOP = "docker.io/library/shop:1"


def shop(release: str, *, cents: str = "450", image: str = SHOP) -> dict[str, Any]:
    """The shop; it does not open if its price is not a number."""
    body = web(image, replicas=2, imagePullPolicy="IfNotPresent")
    (container,) = body["spec"]["template"]["spec"]["containers"]
    container["env"] = [{"name": "RELEASE", "value": release}, {"name": "PRICE_CENTS", "value": cents}]
    container["readinessProbe"] = {"httpGet": {"path": "/healthz", "port": 8000}, "periodSeconds": 1}
    return body


@pytest.fixture(scope="module")
def installed(real_cluster: Cluster) -> Cluster:
    """The operator, installed as the README says."""
    (image,) = yaml.safe_load((ROOT / "deploy" / "kustomization.yaml").read_text())["images"]
    operator = f"docker.io/library/{image['newName']}:{image['newTag']}"
    for folder, tag in ((ROOT, operator), (ROOT / "examples" / "shop", SHOP)):
        real_cluster.load_image(images.build(folder, tag))
    real_cluster.kubectl("apply", "-k", str(ROOT / "deploy"))
    ready = ["-n", SYSTEM, "rollout", "status", "deployment/rollback-operator", "--timeout=300s"]
    real_cluster.kubectl(*ready, timeout=330)
    return real_cluster


@pytest.fixture
def world(installed: Cluster) -> Iterator[World]:
    """A namespace of its own with the examples' service account."""
    name = f"shop-{uuid.uuid4().hex[:8]}"
    installed.kubectl("create", "namespace", name)
    world = World(installed, name)
    world.grant()
    yield world
    installed.kubectl("delete", "namespace", name, "--wait=false")


def failing(world: World, reason: str) -> bool:
    """Whether a pod waits for that reason."""
    return f'"reason": "{reason}"' in world.kubectl("get", "pods", "-o", "json")


def answers(world: World) -> set[str]:
    """What the shop's pods answer."""
    pods = json.loads(world.kubectl("get", "pods", "-l", "app=web", "-o", "json"))["items"]
    live = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
    return {urllib.request.urlopen(f"http://{pod['status']['podIP']}:8000/").read().decode() for pod in live}


def test_a_release_that_crash_loops_is_rolled_back_and_the_shop_answers(world: World) -> None:
    world.release(shop("good"))
    world.apply(shop("bad", cents="four fifty"))
    until(lambda: failing(world, "CrashLoopBackOff"), what="the bad release crash-loops")

    body = world.roll_back("back")

    assert outcome(body) == ("Succeeded", "Completed")
    assert condition(body, "Ready")["message"].endswith("2 of 2 pods are updated and available.")
    assert answers(world) == {"shop release good: coffee 4.50\n"}


def test_a_release_of_helm_that_crash_loops_is_rolled_back_by_the_helm_of_the_image(
    world: World, tmp_path: Path
) -> None:
    release = helming.Shop(world.cluster, world.namespace, tmp_path)
    release.allow()
    chart = release.chart(web=yaml.safe_dump(shop("{{ .Values.release }}", cents="{{ .Values.cents }}")))
    release.upgrade(SHOP, "--set", "release=good", "--set-string", "cents=450", chart=chart)
    release.rolled_out("web")
    release.upgrade(SHOP, "--set", "release=bad", "--set-string", "cents=four", chart=chart)
    until(lambda: failing(world, "CrashLoopBackOff"), what="the bad release crash-loops")

    body = release.back("back")

    assert outcome(body) == ("Succeeded", "Completed"), condition(body, "Ready")["message"]
    assert release.history() == [(1, "superseded"), (2, "superseded"), (3, "deployed")]
    assert release.record(3)["metadata"]["annotations"] == {"rollback.dev/request": body["metadata"]["uid"]}
    assert answers(world) == {"shop release good: coffee 4.50\n"}


def test_a_revision_that_crash_loops_itself_fails_with_the_pods_own_reasons(world: World) -> None:
    world.begin(shop("never opened", cents="?"))
    world.release(shop("fine"))

    body = world.roll_back("back", timeout="60s")

    assert outcome(body) == ("Failed", "Unhealthy")
    message = condition(body, "Ready")["message"]
    assert re.search(r"container web: (CrashLoopBackOff|crashed) \(Error, exit code 1, restarted", message)
    assert "write a whole number" not in json.dumps(body["status"]), "a pod's own words may hold a secret"
    assert condition(body, "Applied")["status"] == "True"

    def reasons() -> set[str]:
        return {event["reason"] for event in json.loads(world.kubectl("get", "events", "-o", "json"))["items"]}

    until(lambda: {"PodsFailing", "Unhealthy"} <= reasons(), what="Events tell of both")


def test_a_revision_whose_image_cannot_be_pulled_fails_with_the_pods_own_reasons(world: World) -> None:
    world.begin(shop("gone", image="localhost:1/gone:1"))
    world.release(shop("fine"))

    body = world.roll_back("back", timeout="40s")

    assert outcome(body) == ("Failed", "Unhealthy")
    assert "PullBackOff (image localhost:1/gone:1)" in condition(body, "Ready")["message"].replace(
        "ErrImagePull", "ImagePullBackOff"
    )


def test_a_revision_whose_claim_is_not_bound_is_not_healthy(world: World) -> None:
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}},
    }
    stored = shop("stored")
    stored["spec"]["template"]["spec"]["volumes"] = [{"name": "d", "persistentVolumeClaim": {"claimName": "data"}}]
    world.apply(claim)
    world.begin(stored)
    world.release(shop("fine"))

    body = world.roll_back("back", timeout="20s")

    assert outcome(body) == ("Failed", "Timeout")
    assert "PersistentVolumeClaim data is Pending" in condition(body, "Ready")["message"]


def test_the_operator_runs_restricted_and_is_well(world: World) -> None:
    pods = json.loads(world.cluster.kubectl("-n", SYSTEM, "get", "pods", "-o", "json"))["items"]

    (pod,) = pods
    (status,) = pod["status"]["containerStatuses"]
    assert (status["ready"], status["restartCount"]) == (True, 0)
    who = world.cluster.kubectl("-n", SYSTEM, "exec", pod["metadata"]["name"], "--", "id", "-u")
    assert who.strip() == "65532"
    wrote = world.cluster.kubectl_process("-n", SYSTEM, "exec", pod["metadata"]["name"], "--", "touch", "/x")
    assert "Read-only file system" in wrote.stderr
