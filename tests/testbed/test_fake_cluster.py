"""Clusters with fake nodes: real API, real controllers, pods that are kept alive on paper."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed import Cluster, TestbedError
from testbed.processes import Identity

ROOT = Path(__file__).parents[2]


def pids(cluster: Cluster) -> list[int]:
    return [component.identity.pid for component in cluster._roster.components]


def all_gone(numbers: list[int]) -> bool:
    deadline = time.monotonic() + 60
    while any(Identity.of(number) for number in numbers) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not any(Identity.of(number) for number in numbers)


def test_a_deployment_becomes_available(fake_cluster: Cluster, namespace: str) -> None:
    fake_cluster.kubectl("-n", namespace, "create", "deployment", "web", "--image=web:1", "--replicas=3")
    fake_cluster.kubectl("-n", namespace, "wait", "deployment/web", "--for=condition=Available", "--timeout=150s")
    ready = fake_cluster.kubectl("-n", namespace, "get", "deployment", "web", "-o", "jsonpath={.status.readyReplicas}")
    assert ready == "3"


def test_helm_installs_and_rolls_back(fake_cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    fake_cluster.helm("create", str(tmp_path / "web"))
    for replicas in ("1", "2"):
        values = ("--set", f"replicaCount={replicas}", "--namespace", namespace)
        fake_cluster.helm("upgrade", "--install", "web", str(tmp_path / "web"), *values)
    fake_cluster.helm("rollback", "web", "1", "--namespace", namespace)
    assert "Rollback to 1" in fake_cluster.helm("history", "web", "--namespace", namespace)


def test_the_server_has_the_version_of_its_source(fake_cluster: Cluster) -> None:
    version = re.search(r"Server Version: v(\d+)\.(\d+)\.\d+$", fake_cluster.kubectl("version"), re.MULTILINE)
    assert version
    assert int(version[1]) == 1


def test_a_failing_command_says_why(fake_cluster: Cluster) -> None:
    with pytest.raises(TestbedError, match='pods "nobody" not found'):
        fake_cluster.kubectl("get", "pod", "nobody")
    assert fake_cluster.kubectl("get", "pod", "nobody", check=False) == ""
    assert fake_cluster.kubectl_process("get", "pod", "nobody").returncode == 1


def test_the_audit_log_tells_who_did_what_when_and_in_whose_name(fake_cluster: Cluster, namespace: str) -> None:
    fake_cluster.kubectl("-n", namespace, "create", "configmap", "seen", "--as=alice", "--as-group=system:masters")
    creation = next(
        event
        for event in fake_cluster.audit_events()
        if event["verb"] == "create" and event.get("objectRef", {}).get("name") == "seen"
    )
    assert creation["impersonatedUser"]["username"] == "alice"
    assert creation["userAgent"].startswith("kubectl/")
    assert creation["objectRef"]["namespace"] == namespace
    assert creation["responseStatus"]["code"] == 201
    assert creation["requestReceivedTimestamp"] <= creation["stageTimestamp"]


@pytest.fixture
def second(built: None) -> Iterator[Cluster]:  # noqa: ARG001 - builds before the clock starts
    with Cluster.start(fake_nodes=2) as cluster:
        yield cluster


def test_two_clusters_know_nothing_of_each_other(fake_cluster: Cluster, second: Cluster) -> None:
    second.kubectl("create", "namespace", "only-here")
    assert "only-here" not in fake_cluster.kubectl("get", "namespaces")
    assert fake_cluster.server != second.server


def test_nodes_can_be_added(second: Cluster) -> None:
    second.add_fake_nodes(8, pods_per_node=10)
    capacities = second.kubectl("get", "nodes", "-o", "jsonpath={.items[*].status.allocatable.pods}").split()
    assert sorted(capacities) == ["10"] * 8 + ["250"] * 2


def test_nothing_survives_a_stop(built: None) -> None:  # noqa: ARG001 - builds before the clock starts
    cluster = Cluster.start()
    numbers = pids(cluster)
    assert len(numbers) == 5
    assert all(Identity.of(number) for number in numbers)
    cluster.stop()
    assert not any(Identity.of(number) for number in numbers)
    assert not cluster.directory.exists()
    cluster.stop()


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGINT], ids=["killed", "interrupted"])
def test_nothing_survives_a_run_that_is(ending: signal.Signals, built: None) -> None:  # noqa: ARG001 - as above
    script = (
        "import signal, time; from testbed import Cluster\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # ignored, where tests run in the background
        "with Cluster.start() as cluster:\n"
        "    print(cluster.directory, *(part.identity.pid for part in cluster._roster.components), flush=True)\n"
        "    time.sleep(600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    ) as run:
        assert run.stdout is not None
        directory, *numbers = run.stdout.readline().split()
        run.send_signal(ending)
    assert all_gone([int(number) for number in numbers])
    with Cluster.start(controllers=False):  # a killed run's folder is cleared by the next start
        assert not Path(directory).exists()


def test_a_refused_flag_is_named_in_the_error(built: None) -> None:  # noqa: ARG001 - builds before the clock starts
    with pytest.raises(TestbedError, match=r"kube-apiserver ended on its own[\s\S]*unknown flag: --no-such-flag"):
        Cluster.start(apiserver_flags=["--no-such-flag"])


def test_a_folder_in_use_is_refused(fake_cluster: Cluster) -> None:
    with pytest.raises(TestbedError, match="make down"):
        Cluster.start(directory=fake_cluster.directory)


def test_a_detached_cluster_is_found_again_and_ended(built: None, tmp_path: Path) -> None:  # noqa: ARG001 - as above
    started = Cluster.start(directory=tmp_path / "cluster", detached=True, controllers=False, audit=False)
    found = Cluster.attach(tmp_path / "cluster")
    assert found is not None
    found.kubectl("wait", "--for=create", "namespace/default", "--timeout=150s")
    found.stop()
    assert all_gone(pids(started))
    assert Cluster.attach(tmp_path / "cluster") is None
    started.stop()
