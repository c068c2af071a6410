"""A StatefulSet that waits for a broken pod for ever, also after its template was put back."""

from __future__ import annotations

import yaml

from testbed.demo import running
from testbed.demo.byhand import ByHand
from testbed.demo.kinds.base import BY_CONTROLLERS
from testbed.demo.shop import SHOP, Claim, Shop, until
from testbed.demo.stage import Stage

PATIENCE = 10
"""Seconds after which a pod that was not replaced counts as one that will not be."""
LAST = "orders-2"
"""The pod that an update begins with."""
NOWHERE = {"no-such": "node"}


class StatefulSetStory:
    """Release 2 breaks the first pod that gets it; `kubectl rollout undo` leaves it there, the operator does not."""

    opening = "Three pods take orders. Release 2 breaks one; `kubectl rollout undo` does not mend it, a rollback does."
    chapters = 6
    programs: tuple[str, ...] = ()
    on_fake_nodes = BY_CONTROLLERS
    to_look_at: tuple[str, ...] = ("    kubectl -n shop describe rollbackrequest orders-release-2",)

    def is_told(self, stage: Stage) -> bool:
        """See `Story.is_told`."""
        screen = stage.screen
        orders = Orders(stage)
        with screen.step("The operator"):
            running.operator(stage)
        with screen.step("Three pods open, one after the other"):
            orders.opens()
            stage.terminal.show("-n", SHOP, "get", "pods")
            before = orders.uids()
        with screen.step(f"Release 2: {LAST} does not start, and the others wait for it"):
            orders.ships(2)
            orders.breaks()
        with screen.step("`kubectl rollout undo` is not enough"):
            stuck = orders.is_undone()
        act = ByHand(orders, "rollbackrequest-statefulset.yaml")
        with screen.step("Somebody asks for a rollback"):
            screen.say("Once more, from where it was: release 2 is what runs.")
            orders.ships(2)
            act.is_asked_for()
            act.is_looked_at()
        with screen.step("Is it true?"):
            stage.terminal.show("-n", SHOP, "get", "statefulset,pods")
            claims = [stuck, *act.ended_well(), *act.is_back(), orders.replaced_one_pod(before)]
            claims += [orders.made_once("delete", "pods", LAST), orders.operator_may_not("delete", "pods")]
            return orders.is_told(claims)


class Orders(Shop):
    """A StatefulSet of three pods that are replaced one after the other, each when the one before is ready."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage.terminal, real=stage.real, kind="StatefulSet", name="orders")
        self._screen = stage.screen

    def uids(self) -> dict[str, str]:
        """Which pods there are."""
        return {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in self.pods()}

    def ships(self, release: int) -> None:
        """Apply a release."""
        if self.real:
            super().ships(release)
            return
        settings, body = yaml.safe_load_all(self.release(release).read_text())
        body["spec"]["template"]["spec"]["nodeSelector"] = NOWHERE
        self.terminal.show("apply", "-f", self.release(release), stdin=yaml.safe_dump_all([settings, body]))

    def breaks(self) -> None:
        """Wait until the first pod that has release 2 is broken."""
        if self.real:
            super().breaks()
            self.terminal.show("-n", SHOP, "logs", LAST)
            return
        self._screen.say("Fake nodes run no container: in place of a crash, its pods ask for a node that is not there.")
        until(self._waits, within=30, what=f"{LAST} of release 2 waits for a node")
        self.terminal.show("-n", SHOP, "get", "pods")

    def is_undone(self) -> Claim:
        """`kubectl rollout undo`, and what comes of it: nothing."""
        broken = self.uids()[LAST]
        self.terminal.show("-n", SHOP, "rollout", "undo", self.workload)
        self.terminal.show_failing("-n", SHOP, "rollout", "status", self.workload, f"--timeout={PATIENCE}s")
        self.terminal.show("-n", SHOP, "get", "pods")
        self._screen.bad(f"The template is that of release 1 again, but {LAST} is still the pod of release 2:")
        self._screen.say("the StatefulSet waits until it is ready before it replaces any pod (kubernetes#67250).")
        stuck = self.uids().get(LAST) == broken and self.runs(1)[1]
        return f"{PATIENCE} seconds after `kubectl rollout undo`, {LAST} was still the broken pod.", stuck

    def replaced_one_pod(self, before: dict[str, str]) -> Claim:
        """Only what was broken was touched."""
        now = self.uids()
        new = [name for name in sorted(now) if now[name] != before.get(name)]
        names = " and ".join(name for name in sorted(before) if name != LAST)
        right = new == [LAST] and now.keys() == before.keys()
        return (f"{names} are the pods that they were before release 2." if right else f"New pods: {new}"), right

    def _waits(self) -> bool:
        last = [pod for pod in self.pods() if pod["metadata"]["name"] == LAST]
        return any(pod["status"]["phase"] == "Pending" and pod["spec"].get("nodeSelector") == NOWHERE for pod in last)
