"""A release of Helm that is deployed, by all that Helm knows, and fails customers."""

from __future__ import annotations

import json

from testbed.binaries import Binaries
from testbed.demo import running
from testbed.demo.byhand import ByHand
from testbed.demo.customers import Customers
from testbed.demo.kinds.base import BY_CONTROLLERS
from testbed.demo.outage import Outage
from testbed.demo.shop import EXAMPLES, SHOP, Claim, Shop
from testbed.demo.stage import Stage

CHART = EXAMPLES / "chart"
WHERE = ("--namespace", SHOP)
HISTORY = ("superseded", "superseded", "deployed")
"""What `helm history` says of the revisions after the rollback."""


class HelmStory:
    """Release 2 changes a setting: `helm upgrade --wait` succeeds, and every third order fails."""

    opening = "A shop is installed with Helm. An upgrade succeeds and fails customers; a rollback mends that."
    chapters = 6
    programs: tuple[str, ...] = ("helm",)
    on_fake_nodes = BY_CONTROLLERS
    to_look_at: tuple[str, ...] = (
        "    helm history shop --namespace shop",
        "    kubectl -n shop describe rollbackrequest shop-chart-2",
    )

    def is_told(self, stage: Stage) -> bool:
        """See `Story.is_told`."""
        screen, shop = stage.screen, Release(stage)
        with screen.step("The operator"):
            running.operator(stage, **({} if stage.real else {"helm": str(Binaries().path("helm"))}))
        with screen.step("A shop is installed"):
            shop.is_installed()
            customers = stage.stack.enter_context(Customers(shop.urls()[0])) if stage.real else None
        outage = Outage(customers) if customers else None
        with screen.step("An upgrade succeeds, by all that Helm knows"):
            shop.upgrades("2", "discountPercent=ten")
            if outage:
                outage.note("helm upgrade has succeeded", "helm upgrade --wait")
                outage.begins(screen, "release 2 fails an order")
            else:
                screen.say("Fake nodes run no container, so nobody is served, well or badly: take it as broken.")
        act = ByHand(shop, "rollbackrequest-helm.yaml")
        with screen.step("Somebody asks for a rollback"):
            if outage:
                outage.note("rollback requested", "kubectl apply")
            act.is_asked_for()
            act.is_looked_at()
            shop.shows_history()
        with screen.step("Is it true?"):
            claims = [*act.ended_well(), *shop.is_back(), shop.operator_may_not("get", "secrets")]
            if outage:
                claims.append(outage.is_over())
            good = shop.is_told(claims)
            if outage:
                outage.is_told(screen, act.status(), "helm rollback has ended", "verified: its pods are ready")
        with screen.step("The next upgrade finds nothing in its way"):
            shop.upgrades("3", "discountPercent=10")
            return shop.is_told(shop.is_at("3")) and good


class Release(Shop):
    """The shop, as the chart in `examples/` has it."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage.terminal, real=stage.real)

    def is_installed(self) -> None:
        """Release 1, and the rights that a rollback of it runs with."""
        self.terminal.helm("install", SHOP, CHART, *WHERE, "--create-namespace", "--wait")
        self.gives_rights("rbac.yaml", "rbac-helm.yaml")
        self.is_open()

    def upgrades(self, release: str, setting: str) -> None:
        """`helm upgrade --wait` to that release, with that setting."""
        values = ("--set-string", f"release={release},{setting}")
        self.terminal.helm("upgrade", SHOP, CHART, *WHERE, *values, "--wait")
        self.shows_history()

    def shows_history(self) -> None:
        """What Helm knows."""
        self.terminal.helm("history", SHOP, *WHERE)

    def is_back(self) -> list[Claim]:
        """What Helm says, who did it, and what is served."""
        history = self._history()
        right = tuple(one["status"] for one in history) == HISTORY
        told = ", ".join(f"{one['revision']} {one['status']}" for one in history)
        made = self.made_once("create", "secrets", f"sh.helm.release.v1.shop.v{len(HISTORY)}")
        return [(f"helm history: {told}", right), made, *self.is_at("1")]

    def is_at(self, release: str) -> list[Claim]:
        """What runs is that release, its settings included."""
        container = self.get(self.kind, self.name)["spec"]["template"]["spec"]["containers"][0]
        shown, settings = container["env"][0]["value"], self.get("configmap", self.name)["data"]
        discount = settings["DISCOUNT_PERCENT"]
        told = f"The Deployment has RELEASE={shown}, the ConfigMap DISCOUNT_PERCENT={discount}."
        served = [self.every_pod_serves(int(release))] if self.real else []
        return [(told, shown == release and discount.isdecimal()), *served]

    def _history(self) -> list[dict[str, str]]:
        listed: list[dict[str, str]] = json.loads(self.terminal.cluster.helm("history", SHOP, *WHERE, "-o", "json"))
        return listed
