"""The shop's customers: they order all the time, and remember what was answered when."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any, Self

from testbed.access import Access
from testbed.errors import TestbedError
from testbed.monitoring import Exporter

RATE = 20.0
"""Orders a second."""
CARD = 3
"""Every how many customers one has a loyalty card; release 3 fails their orders."""
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Answer:
    """What one order was answered, and when (seconds since the epoch)."""

    at: float
    good: bool
    words: str

    def of(self, release: int) -> bool:
        """Whether that release answered."""
        return f"shop release {release}:" in self.words


def order(shop: str, *, card: bool) -> Answer:
    """Order a coffee from the shop at an address such as `http://10.96.0.7/`."""
    request = urllib.request.Request(  # noqa: S310 - the address is the shop's
        f"{shop}orders{'?card=yes' if card else ''}", method="POST"
    )
    try:
        with _OPENER.open(request, timeout=2) as answer:
            return Answer(time.time(), good=True, words=answer.read().decode().strip())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(time.time(), good=False, words=f"{error.code} {error.read().decode().strip()}")
    except OSError as error:
        why = getattr(error, "reason", error)  # urllib wraps the error that says more
        return Answer(time.time(), good=False, words=f"no answer ({getattr(why, 'strerror', None) or why})")


class Repeated:
    """Does something again and again, in a thread of its own, until the block ends."""

    def __init__(self, pause: float) -> None:
        self._pause = pause
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._repeat, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def once(self) -> None:
        """What is repeated: for those who derive from this."""
        raise NotImplementedError

    def _repeat(self) -> None:
        while not self._end.wait(self._pause):
            with contextlib.suppress(OSError, TestbedError):
                self.once()


class Customers(Repeated):
    """Those who order from a shop whose pods are real."""

    name = "customers"
    says = "Customers get"

    def __init__(self, shop: str, pause: float = 1 / RATE) -> None:
        super().__init__(pause)
        self._shop = shop
        self._number = itertools.count(1)
        self.answers: list[Answer] = []

    def once(self) -> None:
        """One customer after the other."""
        self.answers.append(order(self._shop, card=next(self._number) % CARD == 0))

    def since(self, moment: float) -> list[Answer]:
        """What was answered after that moment."""
        return [answer for answer in self.answers if answer.at > moment]

    def bad(self, since: float) -> list[Answer]:
        """The orders after that moment that failed."""
        return [answer for answer in self.since(since) if not answer.good]

    def sums_up(self, failed: int, served: int, lasts: str) -> str:
        """A sentence about so many orders, the last of which were all served, for so long."""
        return f"{failed} orders failed; the {served} of the last {lasts} were all served."


class Played(Customers):
    """Where nodes are fake, nobody serves: an exporter says what Prometheus would scrape from such pods.

    It follows the pods that the Deployment has: as long as one is of release 3, orders fail in its share.
    """

    name = "exporter"
    says = "The exporter plays"

    def __init__(self, access: Access, exporter: Exporter) -> None:
        super().__init__("", pause=0.25)
        self._access = access
        self._exporter = exporter

    def sums_up(self, failed: int, served: int, lasts: str) -> str:  # noqa: ARG002 - nobody ordered
        """The same of what is played."""
        return f"The exporter has played no failed order for {lasts}: no pod of release 3 is left."

    def once(self) -> None:
        """Look at the pods, and have the metrics be as they would make them."""
        pods = self._access.call("GET", "/api/v1/namespaces/shop/pods?labelSelector=app%3Dshop")["items"]
        # Release 2 does not start, so it serves nobody.
        serving = [release for release in map(_release, pods) if release not in (None, "2")]
        if not serving:
            return
        failing = serving.count("3") / len(serving) / CARD
        self._exporter.grow("http_requests_total", {"code": "500"}, per_second=RATE * failing)
        self._exporter.grow("http_requests_total", {"code": "200"}, per_second=RATE * (1 - failing))
        words = f"shop release 3: {failing:.0%} of its orders" if failing else f"shop release {serving[0]}: all is well"
        self.answers.append(Answer(time.time(), good=not failing, words=f"{'500 ' if failing else ''}{words} (played)"))


def _release(pod: dict[str, Any]) -> str | None:
    """Which release a pod runs; None if it does not run, or is going away."""
    if "deletionTimestamp" in pod["metadata"] or pod["status"].get("phase") != "Running":
        return None
    variables = {one["name"]: one["value"] for one in pod["spec"]["containers"][0]["env"]}
    return str(variables["RELEASE"])
