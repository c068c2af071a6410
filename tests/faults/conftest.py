"""The lab that faults are tried in, and the line that says how many."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest
import pytest_asyncio

from testbed import Cluster
from testbed.operating import install, token
from tests.faults import owners
from tests.faults.admin import Admin
from tests.faults.applications import ApplicationBench, ApplicationRow
from tests.faults.configured import ConfiguredBench, ConfiguredRow
from tests.faults.groups import GroupBench
from tests.faults.helm import HelmBench, HelmRow
from tests.faults.orders import WatchedBench
from tests.faults.run import Bench, Lab, Nursery
from tests.faults.sweep import Tried

TALLY: Counter[str] = Counter()
_NOBODY_ASKS = (
    "disruption",
    "endpoints",
    "endpointslice",
    "endpointslice-mirroring",
    "horizontal-pod-autoscaler",
    "resourcequota",
    "root-ca-certificate-publisher",
)
"""Controllers that would be busy with each namespace and each pod, for nothing that a run looks at."""
BENCHES: dict[str, type[Bench]] = {
    "person": Bench,
    "policy": WatchedBench,
    "group": GroupBench,
    HelmRow.begun_by: HelmBench,
    ApplicationRow.begun_by: ApplicationBench,
    **owners.BENCHES,
    ConfiguredRow.begun_by: ConfiguredBench,
}


@pytest.fixture(scope="session")
def lab_cluster() -> Iterator[Cluster]:
    """A cluster on which no other operator runs."""
    nobody_asks = (f"-{name}-controller" for name in _NOBODY_ASKS)
    flags = (
        "--kube-api-qps=500",
        "--kube-api-burst=1000",
        "--concurrent-deployment-syncs=20",
        f"--controllers={','.join(nobody_asks)}",
    )
    with Cluster.start(controller_manager_flags=flags) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def operator_token(lab_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Token of the operator's own service account, with the rights of `deploy/`."""
    install(lab_cluster, tmp_path_factory.mktemp("operator"))
    return token(lab_cluster)


@pytest.fixture(scope="session")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    """Where operators come from."""
    running = Nursery(tmp_path_factory.mktemp("nursery"))
    yield running
    running.stop()


@pytest_asyncio.fixture
async def lab(lab_cluster: Cluster, operator_token: str, nursery: Nursery) -> AsyncIterator[Lab]:
    """Where runs happen."""
    connector = aiohttp.TCPConnector(ssl=False, limit=0)
    async with (
        Admin.of(lab_cluster) as admin,
        aiohttp.ClientSession(connector=connector, auto_decompress=False) as forwarding,
    ):
        yield Lab(lab_cluster, admin, forwarding, nursery, operator_token, benches=BENCHES)


def judge(tried: list[Tried]) -> None:
    """Count, and fail with every fault that was not survived."""
    TALLY["tried"] += len(tried)
    TALLY["survived"] += sum(one.trouble is None for one in tried)
    TALLY["kills"] += sum(one.outcome.kills for one in tried if one.outcome)
    TALLY["not reached"] += sum(not one.outcome.reached for one in tried if one.outcome)
    bad = [f"{one.fault}: {one.trouble}" for one in tried if one.trouble]
    if bad:
        pytest.fail("\n".join([f"{len(bad)} of {len(tried)} faults were not survived", *bad]))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line that counts."""
    if TALLY["tried"]:
        terminalreporter.write_line(
            f"faults: {TALLY['tried']} tried, {TALLY['survived']} survived, {TALLY['kills']} kills, "
            f"{TALLY['not reached']} at a call that was not made then"
        )
