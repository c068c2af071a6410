"""How a cluster comes up and goes away."""

import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from testbed import binaries as programs
from testbed import network, pki
from testbed.access import ADMIN, COMPONENTS, Access, new_tokens
from testbed.binaries import Binaries
from testbed.clients import Clients
from testbed.controlplane import FIRST_SERVICE, ControlPlane, free_ports
from testbed.errors import TestbedError
from testbed.processes import ComponentEndedError, Roster, wait_until
from testbed.realnode import RealNode

Nodes = Literal["fake", "real"]

STATE = "state.json"
AUDIT_LOG = "audit.log"
_PREFIX = "rollback-testbed-"
_LOOPBACK = "127.0.0.1"
_ATTEMPTS = 3
_COLLECTS_RARELY = {"GOGC": "400"}
"""For some hundred MiB more, the control plane takes a seventh less of the processor."""


@dataclass(frozen=True)
class Options:
    """What `Cluster.start` was asked for."""

    nodes: Nodes
    directory: Path | None
    audit: bool
    detached: bool
    apiserver_flags: tuple[str, ...]
    controller_manager_flags: tuple[str, ...]
    controllers: bool


def needed(nodes: Nodes, *, controllers: bool = True) -> tuple[str, ...]:
    """The programs that such a cluster runs."""
    return (
        programs.CONTROL_PLANE
        + (programs.CONTROLLERS if controllers else ())
        + (programs.NODE if nodes == "real" else ())
    )


def start(options: Options) -> tuple[Roster, RealNode | None]:
    """Start everything but fake nodes; a port that someone else took meanwhile is no reason to fail."""
    binaries = Binaries.ensure(needed(options.nodes, controllers=options.controllers))
    sweep()
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return _start_once(options, binaries)
        except ComponentEndedError as error:
            if attempt == _ATTEMPTS or "address already in use" not in str(error):
                raise
    raise AssertionError


def _start_once(options: Options, binaries: Binaries) -> tuple[Roster, RealNode | None]:
    directory = _make_directory(options.directory)
    roster = Roster.begin(directory / STATE, detached=options.detached, facts={"nodes": options.nodes})
    node = None
    try:
        if options.nodes == "real":
            node = RealNode.claim(directory, detached=options.detached)
        plane = _control_plane(options, binaries, directory, roster)
        _start_control_plane(plane, options, roster)
        if node is not None:
            node.start(plane)
    except BaseException:
        dismantle(roster, node)
        raise
    return roster, node


def _make_directory(wanted: Path | None) -> Path:
    if wanted is None:
        return Path(tempfile.mkdtemp(prefix=_PREFIX))
    try:
        wanted.mkdir(parents=True, mode=0o700)
    except FileExistsError:
        raise TestbedError(
            f"{wanted} exists: a cluster runs there, or one was cut off; `make down` clears it."
        ) from None
    return wanted.absolute()


def _control_plane(options: Options, binaries: Binaries, directory: Path, roster: Roster) -> ControlPlane:
    address = network.GATEWAY if options.nodes == "real" else _LOOPBACK
    ports = free_ports(address)
    secrets = pki.create(directory / "pki", {_LOOPBACK, network.GATEWAY, FIRST_SERVICE})
    access = Access(f"https://{address}:{ports.apiserver}", secrets.authority, new_tokens())
    access.kubeconfig(directory / "kubeconfig")
    for user in COMPONENTS:
        access.kubeconfig(directory / "kubeconfigs" / user.rpartition(":")[2], user)
    roster.facts.update(server=access.server, token=access.tokens[ADMIN])
    roster.save()
    Clients(directory).link_programs(needed(options.nodes, controllers=options.controllers))
    audit_log = directory / AUDIT_LOG if options.audit else None
    return ControlPlane(binaries, directory, address, ports, secrets, access, audit_log)


def _start_control_plane(plane: ControlPlane, options: Options, roster: Roster) -> None:
    def launch(name: str, arguments: list[str | Path]) -> None:
        roster.launch(name, arguments, plane.directory / "logs" / f"{name}.log", _COLLECTS_RARELY)

    def wait(what: str, path: str) -> None:
        wait_until(_answers(plane.access, path), what, roster, timeout=180)

    launch("etcd", plane.etcd())
    launch("kube-apiserver", plane.apiserver(options.apiserver_flags))
    wait("Getting the API server ready", "/readyz")
    if options.controllers:
        launch("kube-controller-manager", plane.controller_manager(options.controller_manager_flags))
        launch("kube-scheduler", plane.scheduler())
        # The last thing that a first pod waits for.
        wait("Getting the default service account", "/api/v1/namespaces/default/serviceaccounts/default")


def _answers(access: Access, path: str) -> Callable[[], bool]:
    return lambda: access.answers(path)


def dismantle(roster: Roster, node: RealNode | None) -> None:
    """End everything and remove every trace."""
    try:
        if node is not None:
            node.stop()
    finally:
        roster.end()
        shutil.rmtree(roster.path.parent, ignore_errors=True)


def sweep() -> None:
    """Clear what runs that were killed have left among the temporary folders."""
    for state in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*/{STATE}"):
        roster = Roster.read(state)
        if roster is not None and state.stat().st_uid == os.getuid() and not roster.owned():
            dismantle(roster, None)
