"""Removes a real node from the machine.

It works from the node's folder alone, so the same few steps serve an orderly stop, `make down` from another process,
and the next start after a run that was killed.
"""

import contextlib
import shutil
import signal
import subprocess
from collections.abc import Iterable
from pathlib import Path

from testbed import mounts, network, packages
from testbed.nodeconfig import NodeFiles
from testbed.processes import Identity, Roster

STATE = "state.json"
MARK = "ROLLBACK_OPERATOR_TESTBED"
"""In the environment of the node's programs, with a value of this run's own, and so in that of their children."""

_CGROUPS = Path("/sys/fs/cgroup")


def clear(folder: Path, roster: Roster | None = None) -> None:
    """Remove all that is recorded in `folder` (in `roster`, if this process has it read).

    In the order in which nothing brings anything back: first who starts containers, then containerd, the containers
    and their shims, then mounts (each container's, the network namespaces, volumes), the network, and the folder last:
    until then a second attempt finds everything.

    Raises:
        TestbedError: when something stays mounted, for then the folder is not safe to remove.
    """
    if not folder.exists():
        return
    roster = roster or Roster.read(folder / STATE)
    files = NodeFiles(folder)
    containers = [path.name for path in files.runc.glob("*")]
    if roster is not None:
        roster.end("kubelet", "kube-proxy", "coredns")
        roster.end("containerd", signal_number=signal.SIGTERM)
        roster.end()
        _end_containers(files, containers)
        _end_marked(roster.facts["mark"])
    mounts.unmount_below(folder)
    if roster is not None:
        network.remove(roster.facts["before"])
    _remove_scattered(files, containers)
    shutil.rmtree(folder)


def _end_containers(files: NodeFiles, containers: Iterable[str]) -> None:
    """By runc, which compares start times before it kills."""
    for container in containers:
        command: list[str | Path] = [packages.path("runc"), "--root", files.runc, "delete", "--force", container]
        subprocess.run(command, capture_output=True, check=False)


def _end_marked(mark: str) -> None:
    """End what carries this run's mark: containerd's shims, which outlive it and are noted nowhere."""
    wanted = f"{MARK}={mark}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        identity = Identity.of(int(folder.name))
        with contextlib.suppress(OSError):
            if identity and wanted in (folder / "environ").read_bytes().split(b"\0"):
                identity.end()


def _remove_scattered(files: NodeFiles, containers: Iterable[str]) -> None:
    """Remove what the node's programs put in places of their own choosing; folders only if nothing else is in them."""
    for note in files.tasks.glob("*/address"):
        Path(note.read_text().removeprefix("unix://")).unlink(missing_ok=True)
    results = Path("/var/lib/cni/results")
    for container in containers:
        for result in results.glob(f"*-{container}-*"):
            result.unlink()
    plugins = Path("/var/lib/kubelet/device-plugins")
    (plugins / "kubelet.sock").unlink(missing_ok=True)
    sockets = Path("/run/containerd/s")
    groups = [group for name in ("k8s.io", "*/k8s.io") for group in _CGROUPS.glob(name)]
    for empty in (sockets, sockets.parent, results, results.parent, plugins, plugins.parent, *groups):
        with contextlib.suppress(OSError):
            empty.rmdir()
