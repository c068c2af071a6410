# ruff: noqa: INP001 - a program beside its manifests, no module of a package
"""A shop that sells coffee, to be released, broken and rolled back.

GET / shows the price; POST /orders orders a coffee, POST /orders?card=yes one with a loyalty card. /healthz is for
probes, /metrics for Prometheus.

Settings: RELEASE (shown on the page), PRICE_CENTS (a whole number), DISCOUNT_PERCENT (for those with a card; 0),
PORT (8000).
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections import Counter
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

RELEASE = os.environ.get("RELEASE", "unnamed")


class Answered:
    """How many requests were answered, by status code."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # From the start, so that the first error is an increase and not the beginning of a series.
        self._counts = Counter({"200": 0, "500": 0})

    def count(self, status: int) -> None:
        """One more."""
        with self._lock:
            self._counts[str(status)] += 1

    def text(self) -> str:
        """As Prometheus reads it."""
        with self._lock:
            counts = sorted(self._counts.items())
        return (
            "# HELP http_requests_total Requests of customers that were answered.\n"
            "# TYPE http_requests_total counter\n"
            + "".join(f'http_requests_total{{code="{code}"}} {count}\n' for code, count in counts)
        )


def whole(name: str, text: str) -> int:
    """A whole number.

    Raises:
        ValueError: it is none; the message says of which setting.
    """
    if not text.isdecimal():
        raise ValueError(f"shop release {RELEASE}: {name} is {text!r}; write a whole number")
    return int(text)


def money(cents: int) -> str:
    """Cents as people write them."""
    return f"{cents // 100}.{cents % 100:02}"


class Shop(ThreadingHTTPServer):
    """The shop: a price, and a count of what was answered."""

    def __init__(self, port: int, price: int) -> None:
        super().__init__(("", port), Till)
        self.price = price
        self.answered = Answered()

    def due(self, *, card: bool) -> int:
        """Cents for one coffee."""
        # The discount is only read when somebody shows a card, so a wrong one passes every probe.
        discount = whole("DISCOUNT_PERCENT", os.environ.get("DISCOUNT_PERCENT", "0")) if card else 0
        return self.price * (100 - discount) // 100


class Till(BaseHTTPRequestHandler):
    """Where customers and probes are answered."""

    server: Shop

    def do_GET(self) -> None:
        """The page, and what probes and Prometheus ask for."""
        if self.path == "/healthz":
            self.answer(HTTPStatus.OK, "ok\n")
        elif self.path == "/metrics":
            self.answer(HTTPStatus.OK, self.server.answered.text(), "text/plain; version=0.0.4; charset=utf-8")
        elif self.path == "/":
            self.tell(HTTPStatus.OK, f"coffee {money(self.server.price)}")
        else:
            self.tell(HTTPStatus.NOT_FOUND, "there is no such page")

    def do_POST(self) -> None:
        """An order."""
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            cents = self.server.due(card=self.path.endswith("?card=yes"))
        except ValueError as error:
            print(error)  # noqa: T201 - a pod's log is its output
            self.tell(HTTPStatus.INTERNAL_SERVER_ERROR, "sorry, this order failed")
        else:
            self.tell(HTTPStatus.OK, f"one coffee, {money(cents)} please")

    def tell(self, status: HTTPStatus, words: str) -> None:
        """Answer a customer."""
        self.server.answered.count(status)
        self.answer(status, f"shop release {RELEASE}: {words}\n")

    def answer(self, status: HTTPStatus, text: str, content: str = "text/plain; charset=utf-8") -> None:
        """Answer anybody."""
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", content)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """What goes well is not worth a line."""


def main() -> None:
    """Serve until asked to stop."""
    try:
        price = whole("PRICE_CENTS", os.environ.get("PRICE_CENTS", ""))
    except ValueError as error:
        sys.exit(str(error))  # rather not open than sell at a wrong price
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    port = int(os.environ.get("PORT", "8000"))
    print(f"shop release {RELEASE} is open on port {port}")  # noqa: T201 - a pod's log is its output
    Shop(port, price).serve_forever()


if __name__ == "__main__":
    main()
