"""End-to-end: a real API server and controllers, the operator as a process under the rights that `deploy/` gives it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed import Cluster
from testbed.operating import OperatorProcess, install
from tests.e2e.world import World


@pytest.fixture(scope="session")
def credentials(fake_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Kubeconfig of the operator's own service account."""
    return install(fake_cluster, tmp_path_factory.mktemp("operator"))


@pytest.fixture(scope="session")
def operator(credentials: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatorProcess]:
    """One operator for all tests that do not need one of their own."""
    running = OperatorProcess(credentials, tmp_path_factory.mktemp("log") / "operator.log", log_level="DEBUG")
    yield running
    running.stop()
    defects = [line for line in running.lines().splitlines() if '"exc_info"' in line or "Traceback" in line]
    assert not defects, "the operator logged defects:\n" + "\n".join(defects)


@pytest.fixture
def bare_world(fake_cluster: Cluster, operator: OperatorProcess) -> Iterator[World]:
    """A namespace of its own, in which no service account may do anything."""
    assert operator.process.poll() is None, f"the operator ended:\n{operator.lines()}"
    name = f"shop-{uuid.uuid4().hex[:8]}"
    fake_cluster.kubectl("create", "namespace", name)
    yield World(fake_cluster, name)
    fake_cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def world(bare_world: World) -> World:
    """A namespace of its own with the examples' service account."""
    bare_world.grant()
    return bare_world
