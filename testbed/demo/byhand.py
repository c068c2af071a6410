"""Somebody asks for a rollback."""

from __future__ import annotations

import yaml

from testbed.demo.shop import EXAMPLES, SHOP, Claim, Object, Shop
from testbed.errors import TestbedError

LIMIT = 330
"""Seconds; longer than the time limit of the requests that are about what serves customers."""
STEPS = '{range .status.targets[0].plan.steps[*]}{@}{"\\n"}{end}'


class ByHand:
    """A request of `examples/`."""

    def __init__(self, shop: Shop, file: str) -> None:
        """`file` is its name in that folder; the request is its first document."""
        self.shop = shop
        self.terminal = shop.terminal
        self._file = EXAMPLES / file
        self.name: str = next(yaml.safe_load_all(self._file.read_text()))["metadata"]["name"]

    def is_asked_for(self) -> None:
        """Apply it, watch it until it has ended, and show what it changed.

        Raises:
            TestbedError: it ended before anything was planned.
        """
        self.terminal.show("apply", "-f", self._file)
        self.shop.follow_request(self.name, within=LIMIT)
        if not self.status()["targets"]:
            raise TestbedError(f"It came to no plan: {self.ended_well()[0][0]}")
        plan = (*self._get(), "-o", "jsonpath={.status.targets[0].plan.diff}")
        self.terminal.screen.command("kubectl", *plan)
        self.terminal.screen.diff(self.terminal.ask(*plan))

    def is_looked_at(self) -> None:
        """What stays on it: what it was going to do, and what happened."""
        self.terminal.show(*self._get(), "-o", f"jsonpath={STEPS}")
        self.terminal.show("-n", SHOP, "events", "--for", f"rollbackrequest/{self.name}")
        self.terminal.show("-n", SHOP, "get", "rollbackrequests")

    def ended_well(self) -> list[Claim]:
        """What it says of itself."""
        return self.shop.ended_well(self.name)

    def is_back(self) -> list[Claim]:
        """What its target is, and does."""
        return [self.shop.runs(1), *([self.shop.every_pod_serves(1)] if self.shop.real else [])]

    def status(self) -> Object:
        """What happened, by its own account."""
        status: Object = self.shop.get("rollbackrequest", self.name)["status"]
        return status

    def _get(self) -> tuple[str, ...]:
        return ("-n", SHOP, "get", "rollbackrequest", self.name)
