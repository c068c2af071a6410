# ruff: noqa: INP001 - a program beside its manifests, no module of a package
"""A shop of one page, to be released, broken and rolled back.

Settings: RELEASE (shown on the page), PRICE_CENTS (a whole number), PORT (8000).
"""

from __future__ import annotations

import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

RELEASE = os.environ.get("RELEASE", "unnamed")


def price(text: str) -> str:
    """Cents as people write them.

    Raises:
        SystemExit: it is not a whole number; the shop would rather not open than sell at a wrong price.
    """
    if not text.isdecimal():
        sys.exit(f"shop release {RELEASE}: PRICE_CENTS is {text!r}; write a whole number of cents, such as 450")
    return f"{int(text) // 100}.{int(text) % 100:02}"


def main() -> None:
    """Serve until asked to stop."""
    page = f"shop release {RELEASE}: coffee {price(os.environ.get('PRICE_CENTS', ''))}\n".encode()

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b"ok\n" if self.path == "/healthz" else page
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Probes are not worth a line."""

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    port = int(os.environ.get("PORT", "8000"))
    print(f"shop release {RELEASE} is open on port {port}")  # noqa: T201 - a pod's log is its output
    ThreadingHTTPServer(("", port), Page).serve_forever()


if __name__ == "__main__":
    main()
