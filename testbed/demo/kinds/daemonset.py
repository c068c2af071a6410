"""A DaemonSet: one pod on a node, so that a release which does not start is an outage there."""

from __future__ import annotations

from testbed.demo import running
from testbed.demo.byhand import ByHand
from testbed.demo.customers import Customers
from testbed.demo.kinds.base import BY_CONTROLLERS
from testbed.demo.outage import Outage
from testbed.demo.shop import SHOP, Shop
from testbed.demo.stage import Stage


class DaemonSetStory:
    """Release 2 of the kiosk does not start, and a DaemonSet takes the old pod away before it starts the new one."""

    opening = "A kiosk on each node sells coffee. Release 2 of it does not start; a rollback brings release 1 back."
    chapters = 5
    programs: tuple[str, ...] = ()
    on_fake_nodes = BY_CONTROLLERS
    to_look_at: tuple[str, ...] = ("    kubectl -n shop describe rollbackrequest kiosk-release-2",)

    def is_told(self, stage: Stage) -> bool:
        """See `Story.is_told`."""
        screen, terminal = stage.screen, stage.terminal
        kiosk = Shop(terminal, real=stage.real, kind="DaemonSet", name="kiosk")
        with screen.step("The operator"):
            running.operator(stage)
        with screen.step("A kiosk opens on each node"):
            kiosk.opens()
            terminal.show("-n", SHOP, "get", "daemonset,pods")
            customers = stage.stack.enter_context(Customers(kiosk.urls()[0])) if stage.real else None
        outage = Outage(customers) if customers else None
        with screen.step("Release 2 does not start, and nothing is left that serves"):
            kiosk.ships(2)
            if outage:
                outage.note("release 2 is applied", "kubectl apply")
            kiosk.breaks()
            if outage:
                terminal.show("-n", SHOP, "logs", kiosk.workload)
                outage.begins(screen, "release 2 turns a customer away")
        act = ByHand(kiosk, "rollbackrequest-daemonset.yaml")
        with screen.step("Somebody asks for a rollback"):
            if outage:
                outage.note("rollback requested", "kubectl apply")
            act.is_asked_for()
            act.is_looked_at()
        with screen.step("Is it true?"):
            terminal.show("-n", SHOP, "get", "daemonset,pods")
            claims = [*act.ended_well(), *act.is_back(), kiosk.operator_may_not("patch", "daemonsets")]
            if outage:
                claims.append(outage.is_over())
            good = kiosk.is_told(claims)
            if outage:
                outage.is_told(screen, act.status(), "template patched", "verified: its pod is ready")
        return good
