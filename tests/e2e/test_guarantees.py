"""What holds whatever is asked: rights, secrets, silence."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from testbed.operating import OperatorProcess
from tests.e2e.world import World, outcome, until, web

OPERATOR = "system:serviceaccount:rollback-system:rollback-operator"
MAY = {
    "patch deployments": "no",
    "update deployments": "no",
    "delete deployments": "no",
    "delete pods": "no",
    "get secrets": "no",
    "get configmaps": "no",
    "list namespaces": "no",
    "get deployments": "yes",
    "list replicasets": "yes",
    "list pods": "yes",
    "create events": "yes",
    "impersonate serviceaccounts": "yes",
    "impersonate users": "no",
    "impersonate groups": "no",
    "update rollbackrequests/status": "yes",
    "create rollbackrequests": "yes",
    "create rollbackpolicies": "no",
    "update rollbackpolicies": "no",
}


@pytest.mark.parametrize("what, answer", MAY.items(), ids=MAY.keys())
def test_the_operators_own_rights(bare_world: World, what: str, answer: str) -> None:
    verb, resource = what.split()
    resource, _, subresource = resource.partition("/")
    more = [f"--subresource={subresource}"] if subresource else []

    asked = bare_world.cluster.kubectl_process(
        "auth", "can-i", verb, resource, *more, f"--as={OPERATOR}", "-n", bare_world.namespace
    )

    assert asked.stdout.strip() == answer


def test_no_secret_value_is_told_anywhere(world: World, operator: OperatorProcess) -> None:
    password = "hunter2-correct-horse"
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db"}, "stringData": {"p": password}}
    world.apply(secret)
    first = web("shop:1", env=[{"name": "TOKEN", "value": password}], envFrom=[{"secretRef": {"name": "db"}}])
    first["spec"]["template"]["metadata"]["annotations"] = {"note": password}
    world.release(first)
    world.release(web("shop:2"))

    body = world.roll_back("back")

    assert outcome(body) == ("Succeeded", "Completed")
    diff = body["status"]["targets"][0]["plan"]["diff"]
    assert "value: <digest " in diff
    assert "note: <digest " in diff
    told = json.dumps(body["status"]) + world.kubectl("get", "events", "-o", "json") + operator.lines()
    metrics = urllib.request.urlopen(f"http://127.0.0.1:{operator.port}/metrics").read().decode()
    assert password not in told + metrics


def test_the_effect_and_every_read_of_a_secret_are_made_as_the_service_account(world: World) -> None:
    world.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db"}, "stringData": {"p": "x"}})
    world.release(web("shop:1", envFrom=[{"secretRef": {"name": "db"}}]))
    world.release(web("shop:2"))

    world.roll_back("back")

    calls = [event for event in world.cluster.audit_events() if _by_operator(event, world.namespace)]
    made = {
        (event["verb"], event["objectRef"]["resource"], event.get("impersonatedUser", {}).get("username"))
        for event in calls
        if event["objectRef"]["resource"] in ("deployments", "secrets") and event["verb"] in ("patch", "get")
    }
    account = f"system:serviceaccount:{world.namespace}:rollback"
    assert made == {("get", "deployments", None), ("patch", "deployments", account), ("get", "secrets", account)}


def _by_operator(event: dict[str, Any], namespace: str) -> bool:
    ours = bool(event["user"]["username"] == OPERATOR)
    return ours and event.get("objectRef", {}).get("namespace") == namespace


def test_one_request_makes_one_effect_and_idles_without_a_write(world: World) -> None:
    world.release(web("shop:1"))
    world.release(web("shop:2"))
    world.roll_back("back")

    def effects() -> list[dict[str, Any]]:
        return [event for event in world.cluster.audit_events() if _effect(event, world.namespace)]

    def writes() -> list[str]:
        made = [event for event in world.cluster.audit_events() if _write(event, world.namespace)]
        return [event["objectRef"]["resource"] for event in made if event["objectRef"]["resource"] != "events"]

    # Planned, applied, ended; the effect, and giving its fields back (which may have met a conflict first).
    until(lambda: writes().count("rollbackrequests") == 3, what="the audit log shows the last status")
    before = writes()

    for number in range(10):
        world.kubectl("annotate", "deployment/web", f"touched={number}", "--overwrite")
        world.kubectl("annotate", "rbr/back", f"touched={number}", "--overwrite")
    until(lambda: _touches(world) == 20, what="the audit log has caught up")

    assert writes() == before
    assert len(effects()) == 1


def _effect(event: dict[str, Any], namespace: str) -> bool:
    return _by_operator(event, namespace) and "fieldManager=rollback-operator&" in event["requestURI"]


def _write(event: dict[str, Any], namespace: str) -> bool:
    return _by_operator(event, namespace) and event["verb"] in ("create", "update", "patch", "delete")


def _touches(world: World) -> int:
    touched = [event for event in world.cluster.audit_events() if "kubectl-annotate" in event["requestURI"]]
    return len([event for event in touched if event["objectRef"].get("namespace") == world.namespace])


@pytest.fixture
def own_operator(credentials: Path, tmp_path: Path) -> Iterator[OperatorProcess]:
    """An operator beside the other one, to be killed."""
    running = OperatorProcess(credentials, tmp_path / "operator.log")
    yield running
    if running.process.poll() is None:
        running.stop()


def test_the_probes_and_metrics_answer(operator: OperatorProcess) -> None:
    def read(path: str) -> str:
        text: str = urllib.request.urlopen(f"http://127.0.0.1:{operator.port}{path}").read().decode()
        return text

    assert read("/healthz") == "ok\n"
    assert read("/readyz") == "ok\n"
    metrics = read("/metrics")
    for name in ("rollback_requests{phase=", "rollback_api_calls_total{", "rollback_watch_events_total{"):
        assert name in metrics
    for name in ("rollback_requests_finished_total", "rollback_duration_seconds_bucket", "rollback_retries_total"):
        assert name in metrics


def test_two_operators_at_once_make_one_effect(world: World, own_operator: OperatorProcess) -> None:
    until(lambda: "watches rollback.dev" in own_operator.lines(), what="the second operator is up")
    world.release(web("shop:1"))
    world.release(web("shop:2"))

    body = world.roll_back("back")

    assert outcome(body) == ("Succeeded", "Completed")
    done = [
        event
        for event in world.cluster.audit_events()
        if _effect(event, world.namespace) and event["responseStatus"]["code"] == 200
    ]
    assert len(done) == 1


def test_log_lines_are_json_with_the_request_on_them(world: World, operator: OperatorProcess) -> None:
    world.release(web("shop:1"))
    world.release(web("shop:2"))
    world.roll_back("back")

    def told() -> list[str]:
        whole = operator.lines().rpartition("\n")[0]  # the last one may be half written
        lines = [json.loads(line) for line in whole.splitlines()]
        mine = [line for line in lines if line.get("request") == f"{world.namespace}/back" and line["level"] == "INFO"]
        return [line["message"].split(":")[0] for line in mine]  # a conflict, met and overcome, is a WARNING

    until(lambda: "Completed" in told(), what="the end is in the log")
    assert told() == ["Applying", "RollingOut", "Completed"]
