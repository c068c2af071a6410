"""A Deployment in two acts: somebody asks for a rollback; a policy makes one while nobody looks."""

from __future__ import annotations

from testbed.demo import running
from testbed.demo.byhand import ByHand
from testbed.demo.byitself import ByItself
from testbed.demo.customers import Customers, Played
from testbed.demo.shop import Shop
from testbed.demo.stage import Stage
from testbed.monitoring import Exporter, Prometheus


class DeploymentStory:
    """Release 2 does not start; release 3 starts, passes its probes, and fails every third order."""

    opening = "A shop opens. Two releases break it: one at once, one when nobody looks. Rollbacks mend it."
    chapters = 9
    programs: tuple[str, ...] = ("prometheus", "promtool")
    on_fake_nodes = "Verified here means what the exporter plays. On a real node, pods answer."
    to_look_at: tuple[str, ...] = (
        "    kubectl -n shop describe rollbackpolicy shop",
        "    kubectl -n shop describe rollbackrequest shop-release-2",
        "Prometheus and the customers have gone, so the policy's triggers give no answer any more: Unknown.",
    )

    def is_told(self, stage: Stage) -> bool:
        """See `Story.is_told`."""
        screen, shop = stage.screen, Shop(stage.terminal, real=stage.real)
        exporter = None if stage.real else stage.stack.enter_context(Exporter())
        with screen.step("Prometheus, and the operator"):
            prometheus = _run(stage, exporter)
        with screen.step("A shop opens"):
            shop.opens()
            customers = _customers(stage, shop, exporter)
            prometheus.wait('sum(rate(http_requests_total{namespace="shop"}[5s])) > 5')
            screen.good("Customers order all the time, and Prometheus counts their orders.")
        screen.act("Act one: a release does not start, and somebody asks for a rollback")
        good = _first_act(shop)
        screen.act("Act two: a release starts and fails customers, and nobody is at the keyboard")
        return _second_act(shop, customers) and good


def _run(stage: Stage, exporter: Exporter | None) -> Prometheus:
    screen = stage.screen
    prometheus = running.prometheus(stage.stack, stage.terminal, exporter)
    if exporter is None:
        screen.say(f"Prometheus runs beside the node; pods know it as {running.INSIDE}. It scrapes the shop's pods.")
    else:
        screen.say("Prometheus scrapes an exporter that plays the shop's pods: such numbers as they would serve.")
    running.operator_beside_prometheus(stage, prometheus)
    return prometheus


def _customers(stage: Stage, shop: Shop, exporter: Exporter | None) -> Customers:
    if exporter is None:
        return stage.stack.enter_context(Customers(shop.urls()[0]))
    return stage.stack.enter_context(Played(stage.terminal.cluster.access, exporter))


def _first_act(shop: Shop) -> bool:
    screen = shop.terminal.screen
    with screen.step("Release 2 does not start"):
        shop.ships(2)
        shop.breaks()
        if shop.real:
            screen.say("Kubernetes keeps the old pods while the new ones do not come up; but the rollout hangs.")
    with screen.step("Somebody asks for a rollback"):
        act = ByHand(shop, "rollbackrequest.yaml")
        act.is_asked_for()
        return shop.is_told([*act.ended_well(), *act.is_back(), shop.operator_may_not("patch", "deployments")])


def _second_act(shop: Shop, customers: Customers) -> bool:
    screen, act = shop.terminal.screen, ByItself(shop, customers)
    with screen.step("A policy, and a release that proves good"):
        act.is_armed()
    with act.is_watched():
        with screen.step("Release 3 goes out, and all that a pipeline looks at is well"):
            act.release_goes_out()
        with screen.step("The policy notices, rolls back, and verifies"):
            act.is_noticed()
    with screen.step("What stays"):
        act.is_looked_at()
    with screen.step("Is it true?"):
        good = act.is_checked()
        act.is_told()
    return good
