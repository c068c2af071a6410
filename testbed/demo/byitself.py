"""The second act: a release starts, passes its probes and fails customers, and nobody is at the keyboard."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import yaml

from testbed.access import Access
from testbed.demo import timeline
from testbed.demo.customers import Answer, Customers, Repeated
from testbed.demo.screen import seconds
from testbed.demo.shop import EXAMPLES, SHOP, Claim, Object, Shop, until
from testbed.demo.timeline import Moment, moment_of

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
        self.customers = customers
        self.request = ""
        self.moments: list[Moment] = []
        self._released = 0.0
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
        self._released = time.time()
        self.terminal.show("apply", "-f", EXAMPLES / "shop" / "release-3.yaml")
        self._note(time.time(), "release 3 is applied", "kubectl apply")
        self._note(self.shop.rolls_out(), "successfully rolled out", "kubectl rollout status")
        self.terminal.show("-n", SHOP, "get", "pods")
        bad = until(self._bad, within=30, what="release 3 fails an order")
        self.screen.bad(f"But {self.customers.says}: {bad[-1].words}")

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
        claims = [*self.shop.ended_well(self.request), self.shop.runs_release_one(), *self._learned()]
        if self.shop.real:
            claims.append(self.shop.every_pod_serves())
        claims.append(self._served())
        return self.shop.is_told(claims)

    def is_told(self) -> None:
        """What happened when."""
        self._note_what_the_resources_say()
        bad, back, who = self._bad(), self._recovered(), self.customers.name
        first = bad[0].at
        self._note(first, f"first bad answer: {bad[0].words}", who)
        self._note(bad[-1].at, "last bad answer", who)
        if back is not None:
            self._note(back.at, "recovered: every answer is good from here on", who)
        self.screen.say("What happened when, counted from the first bad answer, and who says so:")
        timeline.show(self.screen, self.moments, first)
        if back is not None:
            end = moment_of(self._evidence()["finishedAt"])
            took = f"From the first bad answer to recovery: {seconds(back.at - first)}"
            self.screen.good(f"{took}; verified after {seconds(end - first)}.")
            self.screen.say("For 6 seconds of it the policy made sure (for: 6s); usual policies take longer for that.")

    def _note_what_the_resources_say(self) -> None:
        if self._breach is not None:
            words = f"verdict Breach: {self._breach['message']}"
            self._note(moment_of(self._breach["since"]), words, f"policy, trigger {TRIGGER}")
        self._note(moment_of(self._status()["lastRequest"]["at"]), "rollback requested", "policy, lastRequest")
        status = self._evidence()
        (step,) = status["targets"][0]["steps"]
        patched = moment_of(step["finishedAt"])
        self._note(patched, "template patched", f"request, step {step['name']}")
        again = next((one.at for one in self.customers.since(patched) if one.of(1)), None)
        if again is not None:
            self._note(again, "first answer of release 1 again", self.customers.name)
        ended = "verified, by the trigger that had noticed" if status["phase"] == "Succeeded" else "not verified"
        self._note(moment_of(status["finishedAt"]), ended, "request, finishedAt")

    # What is known.

    def _note(self, at: float, what: str, who: str) -> None:
        self.moments.append(Moment(at, what, who))

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

    def _bad(self) -> list[Answer]:
        return self.customers.bad(self._released)

    def _recovered(self) -> Answer | None:
        """The first answer after the last bad one."""
        return next(iter(self.customers.since(self._bad()[-1].at)), None)

    def _learned(self) -> list[Claim]:
        status = self._status()
        good, bad = status["lastKnownGood"], [one for one in status["ledger"] if one["verdict"] == "Bad"]
        back = good["fingerprint"] == status["current"]["fingerprint"]
        numbers = " and ".join(one["revision"] for one in bad)
        what = "What runs is the release that proved good" if back else "What runs is not what proved good"
        told = f"The policy says {status['verdict']}. {what}; revisions {numbers} count as bad."
        return [(told, back and status["verdict"] == "Healthy" and bool(bad))]

    def _served(self) -> Claim:
        back, failed = self._recovered(), len(self._bad())
        lasts = 0.0 if back is None else time.time() - back.at
        if not self.shop.real:
            return (
                f"The exporter has played no failed order for {seconds(lasts)}: no pod of release 3 is left.",
                lasts > 1,
            )
        served = len(self.customers.since(self._bad()[-1].at))
        return f"{failed} orders failed; the {served} of the last {seconds(lasts)} were all served.", lasts > 1
