"""Clusters for every suite; their binaries are built before the first test's clock starts."""

import uuid
from collections.abc import Iterator

import pytest

from testbed import Binaries, Cluster, images
from testbed.binaries import GITOPS, MONITORING
from testbed.clients import Clients
from testbed.realnode import what_is_missing, who_has_it
from testbed.starting import needed

Clients.besides = {"GOGC": "off"}
"""Thousands of programs run for a moment each: a quarter of what kubectl takes goes into collecting garbage."""


def pytest_collection_finish(session: pytest.Session) -> None:
    """Make what the chosen tests need: the first time it takes minutes, which no test should be blamed for."""
    if session.config.option.collectonly:
        return
    wanted = {name for item in session.items for name in getattr(item, "fixturenames", ())}
    if any(item.get_closest_marker("real_node") for item in session.items):
        wanted.add("real_cluster")
    if "real_cluster" in wanted and what_is_missing() is None:
        Binaries.ensure(needed("real"))
        images.prepare()
    elif wanted & {"real_cluster", "fake_cluster", "built"}:
        Binaries.ensure(needed("fake"))
    if "monitoring" in wanted:
        Binaries.ensure(MONITORING)
    if "gitops" in wanted:
        Binaries.ensure(GITOPS)


@pytest.fixture(scope="session")
def built() -> None:
    """For tests that start clusters of their own."""


@pytest.fixture(scope="session")
def monitoring() -> None:
    """For tests that start a Prometheus or an Alertmanager."""


@pytest.fixture(scope="session")
def gitops() -> None:
    """For tests that start an Argo CD."""


@pytest.fixture(scope="session")
def fake_cluster() -> Iterator[Cluster]:
    """A cluster with one fake node, for all tests of the run: share it, each in a namespace of its own."""
    with Cluster.start() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def real_cluster() -> Iterator[Cluster]:
    """A cluster with one real node, where pods run."""
    reason = what_is_missing() or who_has_it()
    if reason:
        pytest.skip(reason)
    with Cluster.start(nodes="real") as cluster:
        yield cluster


@pytest.fixture
def namespace(fake_cluster: Cluster) -> Iterator[str]:
    """The name of a new namespace of the shared fake cluster."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    fake_cluster.kubectl("create", "namespace", name)
    yield name
    fake_cluster.kubectl("delete", "namespace", name, "--wait=false")
