"""A node that runs containers: containerd, kubelet, kube-proxy and CoreDNS on a bridge of their own.

Bridge, packet rules and the folder are the machine's, so there is one such node at a time, and a record in that folder
says whose it is.
"""

import contextlib
import fcntl
import os
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Self

from testbed import archives, clearing, network, packages
from testbed.controlplane import ControlPlane
from testbed.errors import TestbedError
from testbed.nodeconfig import NAME, NodeFiles, kube_proxy
from testbed.processes import Identity, Roster, wait_until
from testbed.servers import free_port

FOLDER = Path("/var/lib/rollback-operator-testbed")
_PATIENCE = 900.0


def what_is_missing() -> str | None:
    """Why this machine and user cannot have a real node; nothing if they can."""
    if os.uname().sysname != "Linux" or os.geteuid() != 0:
        return "a real node needs root on Linux: it owns a network bridge, mounts and containers"
    lacking = packages.missing(packages.NODE)
    if lacking and not packages.installable():
        return f"a real node needs these packages: {' '.join(lacking)}"
    return None


def who_has_it() -> str | None:
    """Who has the real node for longer than it would make sense to wait; nothing if nobody has."""
    roster = Roster.read(FOLDER / clearing.STATE)
    if roster is None or not roster.running():
        return None
    if roster.owner == Identity.of(os.getpid()):
        return "this run has it already"
    return f"the cluster in {roster.facts['cluster']} has it, `make down` there first" if roster.detached else None


class RealNode:
    """The one real node of this machine."""

    def __init__(self, roster: Roster, *, claimed: bool) -> None:
        """Use `claim` or `attach`."""
        self.roster = roster
        self._files = NodeFiles(roster.path.parent)
        self._claimed = claimed

    @classmethod
    def claim(cls, cluster: Path, *, detached: bool) -> Self:
        """Become the one who has the real node, clear what a killed run left, and make the bridge.

        Waits while another run has it; the lock is held until `stop`, or until this process ends.

        Raises:
            TestbedError: when it cannot be had here, or someone keeps it.
        """
        reason = what_is_missing()
        if reason:
            raise TestbedError(f"No real node here: {reason}. `make cluster NODES=fake` needs nothing.")
        packages.ensure(packages.NODE)
        _LOCK.acquire()
        try:
            _make_room()
            FOLDER.mkdir(parents=True, mode=0o711)
            facts = {"cluster": str(cluster), "mark": uuid.uuid4().hex, "before": network.before()}
            roster = Roster.begin(FOLDER / clearing.STATE, detached=detached, facts=facts)
        except BaseException:
            _LOCK.release()
            raise
        network.create_bridge()
        return cls(roster, claimed=True)

    @classmethod
    def attach(cls, cluster: Path) -> Self | None:
        """The node of a cluster that another run started, if it is still that cluster's."""
        roster = Roster.read(FOLDER / clearing.STATE)
        return cls(roster, claimed=False) if roster and roster.facts["cluster"] == str(cluster) else None

    def start(self, plane: ControlPlane) -> None:
        """Start the node's programs and wait until it takes pods."""
        files, launch = self._files, self.roster.launch
        environment = {"PATH": packages.search_path(), clearing.MARK: self.roster.facts["mark"]}
        launch("containerd", files.containerd(), files.log("containerd"), environment)
        wait_until(lambda: self._ctr("version").returncode == 0, "Getting containerd ready", self.roster, 120)
        self.load_image(archives.pause(plane.binaries))
        port = free_port(network.GATEWAY)
        kubelet = files.kubelet(plane.binaries, plane.kubeconfig("kubelet"), plane.pki, port)
        launch("kubelet", kubelet, files.log("kubelet"), environment)
        launch(
            "kube-proxy",
            kube_proxy(plane.binaries, plane.kubeconfig("kube-proxy")),
            files.log("kube-proxy"),
            environment,
        )
        launch("coredns", files.coredns(plane.binaries, plane.kubeconfig("coredns")), files.log("coredns"))
        wait_until(lambda: _is_ready(plane), "Getting the node ready", self.roster, 300)
        wait_until(_names_resolve, "Getting CoreDNS ready", self.roster, 120)

    def load_image(self, archive: Path) -> None:
        """Give containerd the images of a docker-archive.

        Raises:
            TestbedError: with containerd's answer, when it takes them not.
        """
        done = self._ctr("images", "import", str(archive))
        if done.returncode:
            raise TestbedError(f"containerd does not take {archive}: {done.stderr.strip()}")

    def stop(self) -> None:
        """Remove every trace and let the next one have it; again is harmless."""
        with keep():
            recorded = Roster.read(FOLDER / clearing.STATE)
            if recorded and recorded.facts["mark"] == self.roster.facts["mark"]:
                clearing.clear(FOLDER, self.roster)
        if self._claimed:
            self._claimed = False
            _LOCK.release()

    def _ctr(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command: list[str | Path] = [
            packages.path("ctr"),
            "--address",
            self._files.socket,
            "--namespace",
            "k8s.io",
            *arguments,
        ]
        return subprocess.run(command, capture_output=True, text=True, check=False)


def _make_room() -> None:
    """Clear what a killed run left; leave alone what is in use."""
    reason = who_has_it()
    if reason:
        raise TestbedError(f"No second real node: {reason}.")
    clearing.clear(FOLDER)
    network.refuse_if_taken()


class _Lock:
    """Among processes, by the kernel, which gives it back when its holder dies; within one, by counting."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[str] | None = None
        self._holders = 0

    def acquire(self) -> None:
        """Wait for it, unless this process has it already."""
        if self._file is None:
            self._file = _wait_for(self._path)
        self._holders += 1

    def release(self) -> None:
        """Give it back when the last holder does."""
        self._holders -= 1
        if self._holders == 0 and self._file is not None:
            self._file.close()
            self._file = None


_LOCK = _Lock(Path("/run/rollback-operator-testbed.lock"))


@contextlib.contextmanager
def keep() -> Iterator[None]:
    """Let no other process have the real node meanwhile."""
    _LOCK.acquire()
    try:
        yield
    finally:
        _LOCK.release()


def _wait_for(path: Path) -> IO[str]:
    file = path.open("w")
    deadline = time.monotonic() + _PATIENCE
    told = False
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                file.close()
                raise TestbedError("Another run has kept the real node for a quarter of an hour; end it.") from None
        else:
            return file
        if not told:
            print("Waiting for another run on this machine that has the real node ...", flush=True)
            told = True
        time.sleep(0.5)


def _is_ready(plane: ControlPlane) -> bool:
    try:
        node = plane.access.call("GET", f"/api/v1/nodes/{NAME}")
    except (OSError, TestbedError):
        return False
    return any(item["type"] == "Ready" and item["status"] == "True" for item in node["status"].get("conditions", []))


def _names_resolve() -> bool:
    with contextlib.suppress(OSError), socket.create_connection((network.GATEWAY, 53), timeout=1):
        return True
    return False
