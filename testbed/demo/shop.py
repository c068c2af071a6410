"""The shop as people see it: through kubectl and, where its pods are real, through HTTP."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any, TypeVar

from testbed.demo.customers import order
from testbed.demo.screen import ROOT, Terminal
from testbed.errors import TestbedError

T = TypeVar("T")
Object = dict[str, Any]
Claim = tuple[str, bool]
"""Something that should be so, and whether it is."""

EXAMPLES = ROOT / "examples"
SHOP = "shop"
CONDITIONS = ("Planned", "Applied", "Verified", "Ready")
FINAL = ("Succeeded", "Failed", "Superseded", "Aborted")
PORT = 8000


def until(question: Callable[[], T | None], *, within: float, what: str) -> T:
    """Ask until the answer is true-ish, and give it back.

    Raises:
        TestbedError: it was not within so many seconds.
    """
    deadline = time.monotonic() + within
    while not (answer := question()):
        if time.monotonic() > deadline:
            raise TestbedError(f"Not within {within:.0f} seconds: {what}.")
        time.sleep(0.2)
    return answer


class Shop:
    """A Deployment of two pods behind a Service."""

    def __init__(self, terminal: Terminal, *, real: bool) -> None:
        self.terminal = terminal
        self.real = real

    def opens(self) -> None:
        """Release 1, and the service account that a rollback in this namespace runs with."""
        self.terminal.show("apply", "-f", EXAMPLES / "shop" / "shop.yaml", "-f", EXAMPLES / "shop" / "release-1.yaml")
        self.terminal.show("apply", "-f", EXAMPLES / "rbac.yaml")
        self.terminal.ask("-n", SHOP, "rollout", "status", "deployment/shop", "--timeout=120s", timeout=130)
        if self.real:
            url = self.url()
            answer = until(lambda: _good(url), within=20, what="the shop takes an order through its Service")
            self.terminal.screen.good(f"POST {url}orders: {answer}")

    def ships_one_that_does_not_start(self) -> None:
        """Release 2."""
        screen = self.terminal.screen
        self.terminal.show("apply", "-f", EXAMPLES / "shop" / "release-2.yaml")
        if not self.real:
            self.rolls_out()
            screen.say("Fake nodes run no container, so nothing crashes here: take it as broken.")
            return
        until(self._crash_loops, within=120, what="a pod of release 2 is in CrashLoopBackOff")
        self.terminal.show("-n", SHOP, "get", "pods")
        screen.say("Kubernetes keeps the old pods while the new ones do not come up; but the rollout hangs.")

    def rolls_out(self) -> float:
        """Wait as whoever releases does; gives the moment when kubectl said that it is done."""
        for _ in self.terminal.follow("-n", SHOP, "rollout", "status", "deployment/shop", "--timeout=120s"):
            pass
        return time.time()

    def url(self) -> str:
        """Where the shop's Service is."""
        address = self.terminal.ask("-n", SHOP, "get", "service", "shop", "-o", "jsonpath={.spec.clusterIP}")
        return f"http://{address}/"

    def pods(self) -> list[Object]:
        """The shop's pods that are not going away."""
        listed = self.get("pods", "-l", "app=shop")
        return [pod for pod in listed["items"] if "deletionTimestamp" not in pod["metadata"]]

    def get(self, *what: str) -> Object:
        """Something of the shop's namespace."""
        body: Object = json.loads(self.terminal.ask("-n", SHOP, "get", *what, "-o", "json"))
        return body

    def watch(self, *names: str, to: Callable[[str], T | None], within: float, what: str) -> T:
        """Follow `kubectl get --watch`, as it is shown, until a row is the one that was waited for.

        Raises:
            TestbedError: it did not come within so many seconds.
        """
        rows = self.terminal.follow("-n", SHOP, "get", *names, "--watch", f"--request-timeout={within:.0f}s")
        for row in rows:
            found = to(row)
            if found:
                rows.close()
                return found
        raise TestbedError(f"Not within {within:.0f} seconds: {what}.")

    def follow_request(self, name: str, *, within: float) -> None:
        """Watch a request until it has ended, however that is."""
        until(lambda: self.get("rollbackrequest", name).get("status"), within=30, what="the operator takes it up")
        self.watch("rollbackrequest", name, to=_ended, within=within, what=f"the request {name} has ended")

    def _crash_loops(self) -> bool:
        states = [state for pod in self.pods() for state in pod["status"].get("containerStatuses", [])]
        return any(state["state"].get("waiting", {}).get("reason") == "CrashLoopBackOff" for state in states)

    # Whether it is true, without taking the operator's word.

    def is_told(self, claims: list[Claim]) -> bool:
        """Show what was made sure of, and whether all of it holds."""
        for claim, holds in claims:
            (self.terminal.screen.good if holds else self.terminal.screen.bad)(claim)
        return all(holds for _, holds in claims)

    def ended_well(self, name: str) -> list[Claim]:
        """What a request says of itself."""
        status = self.get("rollbackrequest", name)["status"]
        conditions = {one["type"]: one for one in status["conditions"]}
        ready, phase = conditions["Ready"], status["phase"]
        states = {kind: conditions.get(kind, {}).get("status", "absent") for kind in CONDITIONS}
        told = ", ".join(f"{kind}={state}" for kind, state in states.items())
        return [
            (f"The request ended {phase} ({ready['reason']}): {ready['message']}", phase == "Succeeded"),
            (f"Its conditions: {told}", set(states.values()) == {"True"}),
        ]

    def runs_release_one(self) -> Claim:
        """What the Deployment is."""
        deployment = self.get("deployment", "shop")
        revision = deployment["metadata"]["annotations"]["deployment.kubernetes.io/revision"]
        container = deployment["spec"]["template"]["spec"]["containers"][0]
        settings = container["envFrom"][0]["configMapRef"]["name"]
        again = container["env"] == [{"name": "RELEASE", "value": "1"}] and settings == "shop-1"
        whose = "that of release 1" if again else "not that of release 1"
        return f"The Deployment's template is {whose}, as revision {revision}.", again

    def every_pod_serves(self) -> Claim:
        """Orders with and without a card, to each pod and to the Service."""
        pods = self.pods()
        addresses = [self.url(), *(f"http://{pod['status'].get('podIP')}:{PORT}/" for pod in pods)]
        answers = [order(address, card=card) for address in addresses for card in (True, False) * 3]
        bad = next((answer.words for answer in answers if not answer.good or not answer.of(1)), None)
        count = f"{len(answers)} orders to the Service and to each of its {len(pods)} pods, half of them with a card"
        return f"{count}: {bad or answers[-1].words}", bad is None and bool(pods)

    def operator_may_not(self) -> Claim:
        """The operator has no rights of its own over workloads."""
        operator = "system:serviceaccount:rollback-system:rollback-operator"
        question = ("auth", "can-i", "patch", "deployments", "-n", SHOP, "--as", operator)
        refused = self.terminal.cluster.kubectl_process(*question).stdout.strip() == "no"
        may = "may not" if refused else "may"
        return f"The operator itself {may} patch Deployments; it acts as the shop's service account.", refused


def _ended(row: str) -> bool:
    return any(f" {phase} " in row for phase in FINAL)


def _good(url: str) -> str | None:
    answer = order(url, card=True)
    return answer.words if answer.good else None
