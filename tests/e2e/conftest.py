"""End-to-end: a real API server and controllers, the operator as a process under the rights that `deploy/` gives it."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from testbed import Cluster
from testbed.monitoring import Alertmanager, Prometheus
from testbed.operating import OperatorProcess, install
from testbed.servers import free_port
from tests.e2e import evidence
from tests.e2e.watched import Operator, Watched
from tests.e2e.world import World

ALERTS_TOKEN = "shown-by-alertmanager"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With a failure, tell what there was, for whoever has nothing but the output."""
    report = yield
    if report.failed and call.when != "teardown":
        evidence.add(report, getattr(item, "funcargs", {}))
    return report


@pytest.fixture(scope="session")
def credentials(fake_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Kubeconfig of the operator's own service account."""
    return install(fake_cluster, tmp_path_factory.mktemp("operator"))


@pytest.fixture(scope="module")
def settings() -> dict[str, str]:
    """The operator's settings; a module that needs others says so."""
    return {}


@pytest.fixture(scope="module")
def port() -> int:
    """The operator's port."""
    return free_port()


@pytest.fixture(scope="module")
def operator(
    credentials: Path, port: int, settings: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Operator]:
    """One operator for all tests of a module: two with different settings would contradict each other."""
    log = tmp_path_factory.mktemp("log") / "operator.log"
    running = Operator(credentials, log, port, {"log_level": "DEBUG", **settings})
    try:
        running.up()
        yield running
    finally:
        running.stop()
    defects = [line for line in running.lines().splitlines() if '"exc_info"' in line or "Traceback" in line]
    assert not defects, "the operator logged defects:\n" + "\n".join(defects)


@contextlib.contextmanager
def namespace_in(cluster: Cluster) -> Iterator[str]:
    """A new namespace."""
    name = f"shop-{uuid.uuid4().hex[:8]}"
    cluster.kubectl("create", "namespace", name)
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def bare_world(fake_cluster: Cluster, operator: OperatorProcess) -> Iterator[World]:
    """A namespace of its own, in which no service account may do anything."""
    assert operator.process.poll() is None, f"the operator ended:\n{operator.lines()}"
    with namespace_in(fake_cluster) as name:
        yield World(fake_cluster, name)


@pytest.fixture
def world(bare_world: World) -> World:
    """A namespace of its own with the examples' service account."""
    bare_world.grant()
    return bare_world


@pytest.fixture(scope="session")
def prometheus(monitoring: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:  # noqa: ARG001
    """One Prometheus for all tests that push what it knows."""
    # What a test pushed once counts until it pushes something else, however long the tests of a module take.
    lasting = ["--query.lookback-delta=2h"]
    with Prometheus.start(tmp_path_factory.mktemp("monitoring") / "prometheus", flags=lasting) as running:
        yield running


@pytest.fixture(scope="module")
def alertmanager(
    port: int,
    monitoring: None,  # noqa: ARG001
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Alertmanager]:
    """An Alertmanager that tells the module's operator."""
    folder = tmp_path_factory.mktemp("alerting") / "alertmanager"
    with Alertmanager.start(folder, f"http://127.0.0.1:{port}/alerts", token=ALERTS_TOKEN) as running:
        yield running


@pytest.fixture(scope="module")
def monitored(
    prometheus: Prometheus, alertmanager: Alertmanager, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """Settings of an operator that knows both, and may call what listens on this machine."""
    token = tmp_path_factory.mktemp("token") / "token"
    token.write_text(ALERTS_TOKEN)
    return {
        "allowed_networks": "127.0.0.0/8",
        "prometheus": prometheus.url,
        "alertmanager": alertmanager.url,
        "alerts_token_file": str(token),
        "guard": "0",
    }


@pytest.fixture
def watched(world: World, prometheus: Prometheus) -> Watched:
    """A namespace of its own whose errors a test sets, with the examples' service account."""
    return Watched(world.cluster, world.namespace, prometheus)


@pytest.fixture(scope="module")
def shared(fake_cluster: Cluster, operator: Operator, prometheus: Prometheus) -> Iterator[Watched]:  # noqa: ARG001
    """The same, for all tests of a module."""
    with namespace_in(fake_cluster) as name:
        watched = Watched(fake_cluster, name, prometheus)
        watched.grant()
        yield watched
