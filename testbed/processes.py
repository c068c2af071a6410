"""Processes that we start, and end by id: never by name, and never one that merely got the same id."""

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from testbed.errors import TestbedError

# The kernel ties "die with your parent" to the thread that forked, so one thread that lives as long as this process
# starts everything; a cluster may then be started from any thread.
_LAUNCHER = ThreadPoolExecutor(1, thread_name_prefix="testbed-launcher")


@dataclass(frozen=True)
class Identity:
    """One process for ever: ids are reused, ids with a start time within one boot are not."""

    pid: int
    started: int
    """Clock ticks between boot and its start."""
    boot: str

    @classmethod
    def of(cls, pid: int) -> Self | None:
        """Of the process that has this id now, if one runs."""
        state, started = _state(pid)
        return None if state in "ZX" else cls(pid, started, _boot())

    def alive(self) -> bool:
        """Whether that very process runs."""
        return Identity.of(self.pid) == self

    def end(self, signal_number: int = signal.SIGKILL, timeout: float = 60.0) -> bool:
        """Signal it, if it is still the same, and wait at most `timeout` seconds until all its threads are gone."""
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return True
        try:
            # Through the handle, the process that is compared here is the one that is signalled.
            if (_state(self.pid)[1], _boot()) != (self.started, self.boot):
                return True
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, signal_number)
            return bool(select.select([handle], [], [], timeout)[0])
        finally:
            os.close(handle)


def _state(pid: int) -> tuple[str, int]:
    """The state's letter, X if there is no such process, and the start time."""
    try:
        # The name in brackets may hold anything, so count from its end: state is next, start time 19 further.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "X", 0
    return fields[0], int(fields[19])


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


@dataclass(frozen=True)
class Component:
    """A started program of a cluster."""

    name: str
    identity: Identity
    log: Path

    def alive(self) -> bool:
        """Whether it still runs."""
        return self.identity.alive()

    def tail(self, lines: int = 20) -> str:
        """The end of its log."""
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        except FileNotFoundError:
            return ""


class Roster:
    """What one cluster runs, on file from the first moment, so that any later run can end it by id."""

    def __init__(self, path: Path, *, detached: bool, owner: Identity | None, facts: Mapping[str, Any]) -> None:
        """Use `begin` or `read`."""
        self.path = path
        self.detached = detached
        self.owner = owner
        self.facts = dict(facts)
        self.components: list[Component] = []
        self._children: list[subprocess.Popen[bytes]] = []

    @classmethod
    def begin(cls, path: Path, *, detached: bool, facts: Mapping[str, Any]) -> Self:
        """A new one of this process; `facts` are kept with it for whoever reads it later."""
        roster = cls(path, detached=detached, owner=Identity.of(os.getpid()), facts=facts)
        roster.save()
        return roster

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """The one that an earlier run left at `path`, if it is there and whole."""
        try:
            stored = json.loads(path.read_text())
            owner = Identity(**stored["owner"]) if stored["owner"] else None
            roster = cls(path, detached=stored["detached"], owner=owner, facts=stored["facts"])
            roster.components = [
                Component(entry["name"], Identity(**entry["identity"]), Path(entry["log"]))
                for entry in stored["components"]
            ]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return roster

    def save(self) -> None:
        """Write it, whole or not at all."""
        content = {
            "detached": self.detached,
            "owner": asdict(self.owner) if self.owner else None,
            "facts": self.facts,
            "components": [
                {"name": component.name, "identity": asdict(component.identity), "log": str(component.log)}
                for component in self.components
            ],
        }
        scratch = self.path.with_suffix(".new")
        scratch.write_text(json.dumps(content, indent=2))
        scratch.rename(self.path)

    def launch(
        self, name: str, arguments: Sequence[str | Path], log: Path, environment: Mapping[str, str] | None = None
    ) -> Component:
        """Start a program in a session of its own, so that Ctrl-C reaches only us, with its output in `log`.

        Unless the cluster is detached, the kernel ends it when this process dies, however that happens.
        """
        command = [*([] if self.detached else _leash()), *map(str, arguments)]
        child = _LAUNCHER.submit(_start, command, log, environment).result()
        identity = Identity.of(child.pid) or Identity(child.pid, 0, _boot())
        component = Component(name, identity, log)
        self._children.append(child)
        self.components = [other for other in self.components if other.name != name] + [component]
        self.save()
        return component

    def owned(self) -> bool:
        """Whether it is in use: detached, or the run that began it still goes on."""
        return self.detached or (self.owner is not None and self.owner.alive())

    def running(self) -> list[Component]:
        """Those that are alive."""
        return [component for component in self.components if component.alive()]

    def dead(self) -> list[Component]:
        """Those that ended on their own."""
        return [component for component in self.components if not component.alive()]

    def end(self, *names: str, signal_number: int = signal.SIGKILL) -> None:
        """End those named, or all. Nothing here is worth a graceful goodbye, unless `signal_number` asks for one."""
        chosen = [component.identity for component in self.components if not names or component.name in names]
        for identity in chosen:
            identity.end(signal_number, timeout=0)
        for identity in chosen:
            if not identity.end(signal_number):
                identity.end(signal.SIGKILL)
        ended = {identity.pid for identity in chosen}
        for child in self._children:
            if child.pid in ended:
                child.wait(timeout=60)  # no zombies of ours


def _start(command: Sequence[str], log: Path, environment: Mapping[str, str] | None) -> subprocess.Popen[bytes]:
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )


def _leash() -> list[str]:
    """Has the kernel kill what follows when this process dies.

    The shell between looks whether we had died already before the kernel was asked: it has another parent then.
    """
    setpriv = shutil.which("setpriv", path=f"{os.environ.get('PATH', '')}:/usr/bin:/bin")
    if setpriv is None:
        raise TestbedError("`setpriv` is missing: install util-linux.")
    return [setpriv, "--pdeathsig", "KILL", "--", "/bin/sh", "-c", '[ "$PPID" = "$0" ] && exec "$@"', str(os.getpid())]


def wait_until(condition: Callable[[], bool], what: str, roster: Roster, timeout: float) -> None:
    """Ask until `condition` holds, watching that nothing of the roster ends meanwhile.

    Raises:
        TestbedError: with the end of the right log, when a component ended or `timeout` seconds are over.
    """
    deadline = time.monotonic() + timeout
    while not condition():
        for component in roster.dead():
            raise ComponentEndedError(component)
        if time.monotonic() > deadline:
            tails = "\n".join(f"--- {part.name}\n{part.tail(5)}" for part in roster.components)
            raise TestbedError(f"{what} took more than {timeout:.0f} s. The ends of the logs:\n{tails}")
        time.sleep(0.05)


class ComponentEndedError(TestbedError):
    """A component ended while the cluster was starting."""

    def __init__(self, component: Component) -> None:
        """Quote the end of its log."""
        self.component = component
        super().__init__(
            f"{component.name} ended on its own. The end of {component.log}:\n{component.tail()}\n"
            "If a port was taken, try again; if a file or right is missing, the last lines name it."
        )
