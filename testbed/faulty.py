"""An HTTP server before another, Prometheus for one, that does to its answers what networks and servers do."""

import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any, Self

from testbed.listeners import Answer, Asked, Listener

# No proxy: the machine may have one for the outside.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
_HOP_BY_HOP = frozenset({"host", "content-length", "connection", "transfer-encoding", "accept-encoding"})


@dataclass(frozen=True)
class Fault:
    """What happens to an answer."""

    answer: Answer | None = None
    """Given instead of asking."""
    slow: float = 0
    """Seconds that pass before."""

    @classmethod
    def status(cls, status: int, body: bytes = b"injected", **headers: str) -> Self:
        """An error, such as 500 or 503; names of headers with `_` for `-`."""
        return cls(Answer(status, body, {name.replace("_", "-"): value for name, value in headers.items()}))

    @classmethod
    def vector(cls, *values: str) -> Self:
        """Prometheus' answer of so many series (none: an empty vector), such as "NaN", "+Inf" and "0.5"."""
        series = ",".join(
            f'{{"metric":{{"series":"{number}"}},"value":[{time.time():.3f},"{value}"]}}'
            for number, value in enumerate(values)
        )
        return cls.json(f'{{"status":"success","data":{{"resultType":"vector","result":[{series}]}}}}')

    @classmethod
    def json(cls, body: str) -> Self:
        """This body with 200, whole or not."""
        return cls(Answer(200, body.encode(), {"Content-Type": "application/json"}))

    @classmethod
    def cut(cls, body: bytes = b'{"status":"success","data":{"resultType":"vector","result":[]}}') -> Self:
        """The connection breaks in the middle of this body; at once if it is empty."""
        return cls(Answer(200, body, {"Content-Type": "application/json"}, cut=True))


class FaultyServer(Listener):
    """Stands before an HTTP server and passes everything on, except where a fault was injected."""

    def __init__(self, upstream: str, address: str = "127.0.0.1") -> None:
        """Before what is at this address; `up` and `down` are for connections that are refused."""
        self._upstream = upstream
        self._faults: dict[str, Fault] = {}
        super().__init__(address)

    def inject(self, fault: Fault, query: str = "") -> None:
        """Do this to requests whose PromQL contains `query`; to all by default. The longest that fits decides."""
        self._faults = {**self._faults, query: fault}

    def heal(self) -> None:
        """Pass everything on again."""
        self._faults = {}
        self.up()

    def answer(self, asked: Asked) -> Answer:
        """The fault's, or the server's."""
        fitting = [query for query in self._faults if query in asked.query]
        fault = self._faults[max(fitting, key=len)] if fitting else Fault()
        if fault.slow and self._stopping.wait(fault.slow):
            return Answer(cut=True)
        return fault.answer or self._pass_on(asked)

    def _pass_on(self, asked: Asked) -> Answer:
        request = urllib.request.Request(  # noqa: S310 - the address is ours
            self._upstream + asked.path,
            method=asked.method,
            data=asked.body or None,
            headers={name: value for name, value in asked.headers.items() if name not in _HOP_BY_HOP},
        )
        try:
            with _OPENER.open(request, timeout=60) as response:
                return Answer(response.status, response.read(), _passed(response.headers))
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.read(), _passed(error.headers))
        except OSError as error:
            return Answer(502, str(error).encode())


def _passed(headers: Any) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in _HOP_BY_HOP}
