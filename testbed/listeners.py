"""Small HTTP servers in threads, for tests: what Prometheus scrapes, and what Alertmanager tells."""

import contextlib
import math
import socket
import threading
import time
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from testbed.errors import TestbedError
from testbed.series import selector


@dataclass(frozen=True)
class Asked:
    """One request that came."""

    method: str
    path: str
    """With the query, as it was sent."""
    headers: Mapping[str, str]
    """Names in small letters."""
    body: bytes

    @property
    def query(self) -> str:
        """The PromQL in it, from the address or the form; nothing if there is none."""
        form = self.body.decode(errors="replace") if "form" in self.headers.get("content-type", "") else ""
        asked = f"{urllib.parse.urlsplit(self.path).query}&{form}"
        return urllib.parse.parse_qs(asked).get("query", [""])[0]


@dataclass(frozen=True)
class Answer:
    """What is answered."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: bool = False
    """Say how long the body is, send half of it and break the connection; nothing at all if it is empty."""


class Listener:
    """An HTTP server on a port of its own; a context manager. `down` refuses connections until `up`, on that port."""

    def __init__(self, address: str = "127.0.0.1") -> None:
        """Serve at once."""
        self.asked: list[Asked] = []
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._address = address
        self._port = 0
        self._server: ThreadingHTTPServer | None = None
        self.up()
        self.url = f"http://{address}:{self._port}"

    def __enter__(self) -> Self:
        """Nothing more: it serves already."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self.stop()

    def up(self) -> None:
        """Take connections; again is harmless."""
        if self._server is None:
            self._stopping.clear()
            self._server = _Threads((self._address, self._port), _handler(self._handle))
            self._port = self._server.server_address[1]
            threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def down(self) -> None:
        """Refuse connections, as a process that is gone; again is harmless."""
        if self._server is not None:
            self._stopping.set()
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def stop(self) -> None:
        """End it for good."""
        self.down()

    def wait(self, condition: Callable[[list[Asked]], object], timeout: float = 90) -> None:
        """Wait until `condition` holds of what was asked so far.

        Raises:
            TestbedError: when it does not within `timeout` seconds.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: condition(self.asked), timeout):
                asked = "\n".join(f"{one.method} {one.path} {one.body[:500]!r}" for one in self.asked[-5:])
                raise TestbedError(f"Not within {timeout:.0f} s. Of {len(self.asked)} requests the last were:\n{asked}")

    def answer(self, asked: Asked) -> Answer:
        """What to answer: for those who derive from this."""
        raise NotImplementedError

    def _handle(self, asked: Asked) -> Answer:
        with self._changed:
            self.asked.append(asked)
            self._changed.notify_all()
        return self.answer(asked)


class Exporter(Listener):
    """Something to scrape, whose values a test sets."""

    def __init__(self, address: str = "127.0.0.1") -> None:
        """Serve no series yet."""
        self._values: dict[str, tuple[float, float, float]] = {}
        super().__init__(address)

    @property
    def target(self) -> str:
        """`HOST:PORT`, as scrape configurations and the label `instance` have it."""
        return f"{self._address}:{self._port}"

    def set(self, name: str, labels: Mapping[str, str], value: float, per_second: float = 0) -> None:
        """Have this series be `value` now, and grow by so much a second from now on."""
        self._values = {**self._values, selector(name, labels): (value, per_second, time.monotonic())}

    def grow(self, name: str, labels: Mapping[str, str], per_second: float) -> None:
        """Have a counter go on from where it is, from 0 if it is new, by so much a second."""
        known = self._values.get(selector(name, labels))
        self.set(name, labels, _now(*known) if known else 0, per_second)

    def remove(self, name: str, labels: Mapping[str, str]) -> None:
        """Have this series be gone."""
        self._values = {key: value for key, value in self._values.items() if key != selector(name, labels)}

    def job(self, name: str, labels: Mapping[str, str] | None = None, interval: str = "1s") -> dict[str, Any]:
        """A scrape configuration for this alone; `labels` are added to every series."""
        targets = {"targets": [self.target], "labels": dict(labels or {})}
        return {"job_name": name, "scrape_interval": interval, "static_configs": [targets]}

    def answer(self, _: Asked) -> Answer:
        """Prometheus' text format."""
        lines = [f"{series} {_number(_now(*value))}\n" for series, value in self._values.items()]
        return Answer(body="".join(lines).encode(), headers={"Content-Type": "text/plain; version=0.0.4"})


class Webhook(Listener):
    """Takes whatever is posted; look at `asked`, and `wait`."""

    status = 200
    """What it answers."""

    def answer(self, _: Asked) -> Answer:
        """An empty body."""
        return Answer(self.status)


class _Threads(ThreadingHTTPServer):
    """A thread a connection, for which nobody waits: it ends with its connection."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def server_bind(self) -> None:
        """Without looking the host's name up, which may take long."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])


def _handler(handle: Callable[[Asked], Answer]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            headers = {name.lower(): value for name, value in self.headers.items()}
            answer = handle(Asked(self.command, self.path, headers, self.rfile.read(length)))
            # Who asked may have gone meanwhile: a test that is over, a time limit.
            with contextlib.suppress(OSError):
                _send(self, answer)

        do_HEAD = do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815 - as http.server names them

        def log_message(self, *_: object) -> None:
            """Nothing: `asked` tells."""

    return Handler


def _send(handler: BaseHTTPRequestHandler, answer: Answer) -> None:
    # HTTP/1.0, a connection a request: what `down` refuses is then every request to come.
    handler.close_connection = True
    if not (answer.cut and not answer.body):
        handler.send_response(answer.status)
        for name, value in answer.headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(answer.body)))
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(answer.body[: len(answer.body) // 2] if answer.cut else answer.body)
        handler.wfile.flush()


def _now(value: float, per_second: float, since: float) -> float:
    return value + per_second * (time.monotonic() - since)


def _number(value: float) -> str:
    """As the text format writes it."""
    return repr(value) if math.isfinite(value) else {math.inf: "+Inf", -math.inf: "-Inf"}.get(value, "NaN")
