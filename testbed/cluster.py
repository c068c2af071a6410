"""One cluster, from start to stop."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

from testbed import fakenodes, starting
from testbed.access import ADMIN, Access
from testbed.clients import Clients
from testbed.errors import TestbedError
from testbed.processes import Roster, wait_until
from testbed.realnode import RealNode
from testbed.starting import Nodes, Options


class Cluster(Clients):
    """A running cluster; a context manager that leaves nothing behind."""

    kubeconfig: Path
    """The administrator's."""
    server: str
    """The API server's address, `https://HOST:PORT`; loopback, or the pods' bridge for a real node."""
    token: str
    """The administrator's (system:masters)."""
    ca: Path
    """The certificate that the API server is verified against."""
    audit_log: Path
    """One JSON document a line; not there if the cluster was started without."""
    directory: Path
    """Everything of the cluster; removed by `stop`."""
    bin: Path
    """Links to its programs, among them kubectl and helm."""

    def __init__(self, roster: Roster, node: RealNode | None) -> None:
        """Of what `starting` has started; use `start` or `attach`."""
        super().__init__(roster.path.parent)
        self.nodes: Nodes = roster.facts["nodes"]
        self.server = roster.facts["server"]
        self.token = roster.facts["token"]
        self.ca = self.directory / "pki" / "ca.crt"
        self.audit_log = self.directory / starting.AUDIT_LOG
        self.access = Access(self.server, self.ca, {ADMIN: self.token})
        self._roster = roster
        self._node = node

    @classmethod
    def start(
        cls,
        *,
        nodes: Nodes = "fake",
        directory: Path | None = None,
        fake_nodes: int = 1,
        audit: bool = True,
        detached: bool = False,
        apiserver_flags: Sequence[str] = (),
        controller_manager_flags: Sequence[str] = (),
        controllers: bool = True,
    ) -> Self:
        """Start a cluster and wait until pods can be scheduled.

        Args:
            nodes: `fake` runs no containers and needs no rights; `real` runs them and needs root on Linux.
            directory: where its files go, a folder that does not exist yet; by default among the temporary ones.
            fake_nodes: how many fake nodes to begin with, where nodes are fake.
            audit: whether the API server keeps an audit log.
            detached: whether it outlives this process; otherwise the kernel ends it with us.
            apiserver_flags: more flags, which win over ours.
            controller_manager_flags: the same for the controller manager.
            controllers: without them there is the API and nothing behind it, nodes included.

        Raises:
            TestbedError: saying which component failed, with the end of its log, and what to do.
        """
        options = Options(
            nodes=nodes,
            directory=directory,
            audit=audit,
            detached=detached,
            apiserver_flags=tuple(apiserver_flags),
            controller_manager_flags=tuple(controller_manager_flags),
            controllers=controllers or nodes == "real",
        )
        cluster = cls(*starting.start(options))
        try:
            if controllers and nodes == "fake":
                cluster.add_fake_nodes(fake_nodes)
        except BaseException:
            cluster.stop()
            raise
        return cluster

    @classmethod
    def attach(cls, directory: Path) -> Self | None:
        """The cluster that another run started in `directory`, if it is there and whole."""
        roster = Roster.read(directory / starting.STATE)
        if roster is None or roster.dead() or not roster.components:
            return None
        node = RealNode.attach(directory) if roster.facts["nodes"] == "real" else None
        cluster = cls(roster, node)
        return cluster if cluster.access.answers("/readyz") else None

    def __enter__(self) -> Self:
        """Nothing more: it runs already."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        self.stop()

    def add_fake_nodes(self, count: int, pods_per_node: int = 250) -> None:
        """Add nodes `fake-0`, `fake-1`, ... and wait until all are ready."""
        if not any(component.name == "kwok" for component in self._roster.running()):
            arguments = fakenodes.kwok(self._binaries, self.directory / "kubeconfigs" / "kwok")
            self._roster.launch("kwok", arguments, self.directory / "logs" / "kwok.log")
        existing = sum(_is_fake(node) for node in self._nodes())
        for number in range(existing, existing + count):
            body = fakenodes.node(f"fake-{number}", pods_per_node, beside_real=self.nodes == "real")
            self.access.call("POST", "/api/v1/nodes", body)
        wait_until(
            lambda: sum(_is_fake(node) and _is_ready(node) for node in self._nodes()) >= existing + count,
            "Getting the fake nodes ready",
            self._roster,
            timeout=150 + count / 10,
        )

    def until_known(self, group: str, *plurals: str) -> None:
        """Wait until kubectl knows resources: a busy API server tells of them later than it serves them."""
        names = {f"{plural}.{group}" for plural in plurals}
        asked = ("api-resources", f"--api-group={group}", "--output=name")
        wait_until(
            lambda: names <= set(self.kubectl(*asked, check=False).split()),
            f"Getting {', '.join(sorted(names))} known to kubectl",
            self._roster,
            timeout=150,
        )

    def load_image(self, archive: Path) -> None:
        """Give the real node the images of a docker-archive, by the names in it.

        Raises:
            TestbedError: when there is no real node, or the archive is none.
        """
        if self._node is None:
            raise TestbedError("Images are for a real node; fake nodes run none.")
        self._node.load_image(archive)

    def audit_events(self) -> Iterator[dict[str, Any]]:
        """The audit log so far, oldest first: every call that has been answered."""
        with self.audit_log.open() as file:
            for line in file:
                if line.endswith("\n"):  # the last one may be half written
                    yield json.loads(line)

    def components(self) -> dict[str, bool]:
        """Which programs belong to it, and whether each runs."""
        rosters = [self._roster, *([self._node.roster] if self._node else [])]
        return {part.name: part.alive() for roster in rosters for part in roster.components}

    def pids(self) -> dict[str, int]:
        """The process of each program that belongs to it, for measuring."""
        rosters = [self._roster, *([self._node.roster] if self._node else [])]
        return {part.name: part.identity.pid for roster in rosters for part in roster.components}

    def stop(self) -> None:
        """End everything and remove every trace; again is harmless."""
        starting.dismantle(self._roster, self._node)

    def _nodes(self) -> list[dict[str, Any]]:
        nodes: list[dict[str, Any]] = self.access.call("GET", "/api/v1/nodes")["items"]
        return nodes


def _is_fake(node: dict[str, Any]) -> bool:
    return ("type", "kwok") in node["metadata"]["labels"].items()


def _is_ready(node: dict[str, Any]) -> bool:
    conditions = node["status"].get("conditions", [])
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)
