"""The second act: a release starts, passes its probes and fails customers, and nobody is at the keyboard."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import yaml

from testbed.access import Access
from testbed.demo.customers import Customers, Repeated
from testbed.demo.outage import Outage
from testbed.demo.shop import EXAMPLES, SHOP, Claim, Object, Shop, until
from testbed.demo.timeline import moment_of

POLICY = "shop"
FILE = EXAMPLES / "rollbackpolicy.yaml"
TRIGGER = "high-error-rate"


class Witness(Repeated):
    """Looks at the policy's status all the time: a verdict that changes again leaves no trace in it."""

    def __init__(self, access: Access) -> None:
        super().__init__(pause=0.2)
        self._access = access
        self.breach: Object | None = None
        """The trigger's status when it was first in Breach."""

    def once(self) -> None:
        """Look."""
        path = f"/apis/rollback.dev/v1alpha1/namespaces/{SHOP}/rollbackpolicies/{POLICY}"
        found = self._access.call("GET", path).get("status", {}).get("triggers", [])
        bad = (one for one in found if one["name"] == TRIGGER and one["verdict"] == "Breach")
        self.breach = self.breach or next(bad, None)


class ByItself:
    """The policy of examples/rollbackpolicy.yaml, and what comes of it."""

    def __init__(self, shop: Shop, customers: Customers) -> None:
        self.shop = shop
        self.terminal = shop.terminal
        self.screen = shop.terminal.screen
        self.request = ""
        self._customers = customers
        self._outage = Outage(customers)
        self._breach: Object | None = None

    def is_armed(self) -> None:
        """Apply the policy, and wait until release 1 has proved good."""
        self._apply()
        self.screen.say(
            "It says: if more than 5 % of the orders fail for 6 seconds, back to the last known good release."
        )
        until(self._evaluated, within=30, what="the policy is evaluated")
        self.shop.watch("rollbackpolicies", to=lambda _: self._good(), within=120, what="release 1 proves good")
        self.screen.good(
            "Release 1 was well for 10 seconds: known GOOD. (It is revision 3 now: a rollback makes a new one.)"
        )
        if self._condition("Armed")["status"] != "True":
            self.screen.say("Not ARMED yet: but for release 2, which is bad, there is nothing to go back to.")

    def _apply(self) -> None:
        if self.shop.real:
            self.terminal.show("apply", "-f", FILE)
            return
        policy = yaml.safe_load(FILE.read_text())
        spec = policy["spec"]
        asked = [trigger["name"] for trigger in spec["triggers"] if "http" not in trigger]
        spec["triggers"] = [trigger for trigger in spec["triggers"] if trigger["name"] in asked]
        spec["verify"]["triggers"] = [name for name in spec["verify"]["triggers"] if name in asked]
        self.screen.say("Without its trigger health-check: on fake nodes nobody answers HTTP.")
        self.terminal.show("apply", "-f", FILE, stdin=yaml.safe_dump(policy))

    @contextmanager
    def is_watched(self) -> Iterator[None]:
        """Keep in mind what the policy says meanwhile."""
        with Witness(self.terminal.cluster.access) as witness:
            yield
            self._breach = witness.breach

    def release_goes_out(self) -> None:
        """Release 3: all that a pipeline looks at is well."""
        self._outage = Outage(self._customers)
        self.shop.ships(3)
        self._outage.note("release 3 is applied", "kubectl apply")
        self.shop.rolls_out()
        self._outage.note("successfully rolled out", "kubectl rollout status")
        self.terminal.show("-n", SHOP, "get", "pods")
        self._outage.begins(self.screen, "release 3 fails an order")

    def is_noticed(self) -> None:
        """Watch the policy until it has made a request, and the request until it has ended."""
        self.screen.say("Nobody does anything from here on but look.")
        self.shop.watch("rollbackpolicies", to=lambda row: "RollingBack" in row, within=120, what="the policy acts")
        self.request = self._status()["lastRequest"]["name"]
        self.shop.follow_request(self.request, within=150)

    def is_looked_at(self) -> None:
        """What stays on the resources."""
        until(self._settled, within=30, what="the policy has taken note of the end of its request")
        self.terminal.show("-n", SHOP, "get", "rollbackrequests")
        self.terminal.show("-n", SHOP, "get", "rollbackpolicies")
        self.screen.say(
            "CURRENT is what was GOOD, under a new number. Not ARMED until a new release: all other revisions are bad."
        )
        reason = ("-n", SHOP, "get", "rollbackrequest", self.request, "-o", "jsonpath={.spec.reason}")
        self.terminal.show(*reason)
        self.terminal.show("-n", SHOP, "events", "--for", f"rollbackpolicy/{POLICY}")
        self.terminal.show("-n", SHOP, "events", "--for", f"rollbackrequest/{self.request}")

    def is_checked(self) -> bool:
        """Make sure of it."""
        claims = [*self.shop.ended_well(self.request), self.shop.runs(1), *self._learned()]
        if self.shop.real:
            claims.append(self.shop.every_pod_serves(1))
        claims.append(self._outage.is_over())
        return self.shop.is_told(claims)

    def is_told(self) -> None:
        """What happened when."""
        if self._breach is not None:
            at, words = moment_of(self._breach["since"]), f"verdict Breach: {self._breach['message']}"
            self._outage.note(words, f"policy, trigger {TRIGGER}", at)
        self._outage.note("rollback requested", "policy, lastRequest", moment_of(self._status()["lastRequest"]["at"]))
        verified = "verified, by the trigger that had noticed"
        self._outage.is_told(self.screen, self._evidence(), "template patched", verified)
        if self._outage.recovered() is not None:
            self.screen.say("For 6 seconds of it the policy made sure (for: 6s); usual policies take longer for that.")

    # What is known.

    def _evidence(self) -> Object:
        status: Object = self.shop.get("rollbackrequest", self.request)["status"]
        return status

    def _status(self) -> Object:
        status: Object = self.shop.get("rollbackpolicy", POLICY)["status"]
        return status

    def _condition(self, kind: str) -> dict[str, Any]:
        return next(one for one in self._status()["conditions"] if one["type"] == kind)

    def _evaluated(self) -> bool:
        return bool(self.shop.get("rollbackpolicy", POLICY).get("status", {}).get("triggers"))

    def _good(self) -> bool:
        return "lastKnownGood" in self._status()

    def _settled(self) -> bool:
        status = self._status()
        return status["verdict"] == "Healthy" and any(self.request in one["reason"] for one in status["ledger"])

    def _learned(self) -> list[Claim]:
        status = self._status()
        good, bad = status["lastKnownGood"], [one for one in status["ledger"] if one["verdict"] == "Bad"]
        back = good["fingerprint"] == status["current"]["fingerprint"]
        numbers = " and ".join(one["revision"] for one in bad)
        what = "What runs is the release that proved good" if back else "What runs is not what proved good"
        told = f"The policy says {status['verdict']}. {what}; revisions {numbers} count as bad."
        return [(told, back and status["verdict"] == "Healthy" and bool(bad))]
