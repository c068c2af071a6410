"""A program that answers HTTP, as a process in a folder of its own."""

import contextlib
import secrets
import shutil
import signal
import socket
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

from testbed.binaries import Binaries
from testbed.errors import TestbedError
from testbed.processes import ComponentEndedError, Roster, wait_until

_ATTEMPTS = 3
# Below those that Linux gives to connections (from 32768 on), and below those of Services.
_PORTS = range(15000, 30000)
_GIVEN: set[int] = set()
# No proxy: the machine may have one for the outside.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Server:
    """One such program; a context manager that leaves nothing behind. When this process dies, so does it."""

    url: str = ""
    """Its address, without a slash at the end; the same for life."""
    folder: Path
    """Everything of it; removed by `stop`."""
    program: str = ""
    """What it is called among the binaries, if that is not its name."""

    def __init__(self, name: str, folder: Path, address: str, flags: Sequence[str]) -> None:
        """Make the folder; `up` runs it.

        Raises:
            TestbedError: when the folder exists.
        """
        self.name = name
        self.folder = folder.absolute()
        self._address = address
        self._flags = flags
        self._port = 0
        try:
            self.folder.mkdir(parents=True, mode=0o700)
        except FileExistsError:
            raise TestbedError(f"{folder} exists: {name} makes its own folder, and removes it.") from None
        self._roster = Roster.begin(self.folder / "state.json", detached=False, facts={})

    def __enter__(self) -> Self:
        """Nothing more: it runs already."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        self.stop()

    @property
    def listen(self) -> str:
        """`HOST:PORT`."""
        return f"{self._address}:{self._port}"

    @property
    def pid(self) -> int:
        """Its process, for measuring."""
        return self._roster.components[-1].identity.pid

    @property
    def log(self) -> Path:
        """What it printed."""
        return self.folder / f"{self.name}.log"

    def up(self) -> None:
        """Run it, and wait until it is ready.

        Raises:
            TestbedError: with the end of its log.
        """
        for attempt in range(1, _ATTEMPTS + 1):
            known = self._port != 0
            self._choose_port()
            self._roster.launch(self.name, self._command(), self.log, self._environment())
            try:
                self.wait_until(self.ready, f"Getting {self.name} ready", timeout=180)
            except ComponentEndedError as error:
                # Someone was faster. Another port will do as long as nobody knows this one.
                if known or attempt == _ATTEMPTS or "address already in use" not in str(error):
                    raise
                self._port = 0
            else:
                return

    def down(self) -> None:
        """Kill it; data and port stay for `up`."""
        self._roster.end()

    def restart(self) -> None:
        """End it as the kubelet would, and run it again on its data."""
        self._roster.end(signal_number=signal.SIGTERM)
        self.up()

    def stop(self) -> None:
        """End it and remove its folder; again is harmless."""
        self.down()
        shutil.rmtree(self.folder, ignore_errors=True)

    def wait_until(self, condition: Callable[[], bool], what: str, timeout: float) -> None:
        """Ask until `condition` holds.

        Raises:
            TestbedError: with the end of the log, when it does not for `timeout` seconds or the program ended.
        """
        wait_until(condition, what, self._roster, timeout)

    def ready(self) -> bool:
        """Whether it says so now."""
        try:
            self.call("/-/ready")
        except (OSError, TestbedError):
            return False
        return True

    def call(self, path: str, body: bytes | None = None, content: str = "application/json") -> str:
        """GET `path`, or POST `body` to it.

        Raises:
            OSError: when it cannot be reached.
            TestbedError: when it answers with an error status.
        """
        request = urllib.request.Request(  # noqa: S310 - the address is ours
            self.url + path, data=body, headers={"Content-Type": content}
        )
        try:
            with _OPENER.open(request, timeout=90) as answer:
                return str(answer.read().decode())
        except urllib.error.HTTPError as error:
            with error:
                raise TestbedError(f"{self.name}: {path}: {error.code} {error.read().decode()}") from None

    def tail(self, lines: int = 20) -> str:
        """The end of its log."""
        return "\n".join(component.tail(lines) for component in self._roster.components)

    def write(self, name: str, content: str) -> Path:
        """A file in its folder, which nobody else may read."""
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_text(content)
        return path

    def _arguments(self) -> list[str]:
        """What it is started with, all in the form `--name=value`."""
        raise NotImplementedError

    def _environment(self) -> Mapping[str, str]:
        """What is added to our environment for it."""
        return {}

    def _command(self) -> list[str | Path]:
        # By name: such a program refuses a flag that is there twice.
        flags = {flag.partition("=")[0]: flag for flag in [*self._arguments(), *self._flags]}
        return [Binaries().path(self.program or self.name), *flags.values()]

    def _choose_port(self) -> None:
        if not self._port:
            self._port = free_port(self._address)
            self.url = f"http://{self.listen}"


def free_port(address: str = "127.0.0.1") -> int:
    """A port that nobody listens on now; each is given once. Another process may be faster, but hardly is.

    The kernel gives it to nobody meanwhile: not to a connection, and not to whoever listens on any port.

    Raises:
        TestbedError: when none is free.
    """
    for _ in range(len(_PORTS)):
        port = secrets.choice(_PORTS)
        with contextlib.suppress(OSError), socket.create_server((address, port)):
            if port not in _GIVEN:
                _GIVEN.add(port)
                return port
    raise TestbedError(f"No port from {_PORTS.start} to {_PORTS.stop - 1} is free on {address}.")
