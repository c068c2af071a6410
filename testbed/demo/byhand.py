"""The first act: a release does not start, and somebody asks for a rollback."""

from __future__ import annotations

from testbed.demo.shop import EXAMPLES, SHOP, Shop

REQUEST = "shop-release-2"
LIMIT = 330
"""Seconds; longer than the request's own timeout."""


class ByHand:
    """The request of examples/rollbackrequest.yaml."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.terminal = shop.terminal

    def is_asked_for(self) -> None:
        """Apply it, and watch it until it has ended."""
        self.terminal.show("apply", "-f", EXAMPLES / "rollbackrequest.yaml")
        self.shop.follow_request(REQUEST, within=LIMIT)
        plan = ("-n", SHOP, "get", "rollbackrequest", REQUEST, "-o", "jsonpath={.status.targets[0].plan.diff}")
        self.terminal.screen.command("kubectl", *plan)
        self.terminal.screen.diff(self.terminal.ask(*plan))

    def is_checked(self) -> bool:
        """Make sure of it."""
        claims = [*self.shop.ended_well(REQUEST), self.shop.runs_release_one(), self.shop.operator_may_not()]
        if self.shop.real:
            claims.append(self.shop.every_pod_serves())
        return self.shop.is_told(claims)
