"""The story that the demo tells: a shop is open, a release breaks it, a request brings the old one back."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any, TypeVar

from testbed.demo.screen import ROOT, Terminal, seconds
from testbed.demo.visitor import Visitor, visit
from testbed.errors import TestbedError

T = TypeVar("T")
Object = dict[str, Any]

EXAMPLES = ROOT / "examples"
SHOP = "shop"
REQUEST = "shop-release-2"
LIMIT = 330
"""Seconds; longer than the request's own timeout."""
CONDITIONS = ("Planned", "Applied", "Verified", "Ready")
FINAL = ("Succeeded", "Failed", "Superseded", "Aborted")


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
    """The shop as people see it: through kubectl and, where its pods are real, through HTTP."""

    def __init__(self, terminal: Terminal, *, real: bool) -> None:
        self.terminal = terminal
        self.real = real

    def opens(self) -> None:
        """Release 1, and the service account that a rollback in this namespace runs with."""
        self.terminal.show("apply", "-f", EXAMPLES / "shop" / "shop.yaml", "-f", EXAMPLES / "shop" / "release-1.yaml")
        self.terminal.show("apply", "-f", EXAMPLES / "rbac.yaml")
        self.terminal.ask("-n", SHOP, "rollout", "status", "deployment/shop", "--timeout=120s", timeout=130)
        if self.real:
            page = until(lambda: visit(self.url()), within=20, what="the shop answers through its Service")
            self.terminal.screen.good(f"{self.url()} answers: {page}")

    def ships_a_bad_release(self) -> None:
        """Release 2, which does not start."""
        self.terminal.show("apply", "-f", EXAMPLES / "shop" / "release-2.yaml")
        if not self.real:
            self.terminal.ask("-n", SHOP, "rollout", "status", "deployment/shop", "--timeout=60s", timeout=70)
            self.terminal.screen.say("Fake nodes run no container, so nothing crashes here: take it as broken.")
            return
        until(self._crash_loops, within=120, what="a pod of release 2 is in CrashLoopBackOff")
        self.terminal.show("-n", SHOP, "get", "pods")
        self.terminal.show("-n", SHOP, "logs", "deployment/shop", "--tail=1")

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

    def _crash_loops(self) -> bool:
        states = [state for pod in self.pods() for state in pod["status"].get("containerStatuses", [])]
        return any(state["state"].get("waiting", {}).get("reason") == "CrashLoopBackOff" for state in states)


class Rollback:
    """The request: asked for, followed, looked at and checked."""

    def __init__(self, terminal: Terminal, shop: Shop) -> None:
        self.terminal = terminal
        self.shop = shop
        self.asked = 0.0

    def is_asked_for(self) -> None:
        """Apply the example, and watch it until it has ended."""
        self.asked = time.monotonic()
        self.terminal.show("apply", "-f", EXAMPLES / "rollbackrequest.yaml")
        watch = self.terminal.follow("-n", SHOP, "get", "rollbackrequests", "--watch", f"--request-timeout={LIMIT}s")
        if not any(f" {phase} " in row for row in watch for phase in FINAL):
            raise TestbedError(f"The RollbackRequest {REQUEST} has not ended within {LIMIT} seconds.")

    def is_looked_at(self) -> None:
        """The evidence: what was changed, and what happened when."""
        plan = "jsonpath={.status.targets[0].plan.diff}"
        self.terminal.screen.command("kubectl", "-n", SHOP, "get", "rollbackrequest", REQUEST, "-o", plan)
        self.terminal.screen.diff(self.terminal.ask("-n", SHOP, "get", "rollbackrequest", REQUEST, "-o", plan))
        self.terminal.show("-n", SHOP, "events", "--for", f"rollbackrequest/{REQUEST}")
        self.terminal.show("-n", SHOP, "get", "pods")

    def is_checked(self, visitor: Visitor | None) -> bool:
        """Make sure of it, without taking the operator's word."""
        claims = [*self._ended_well(), self._template(), self._no_rights_of_its_own()]
        if visitor is not None:
            claims += self._answers(visitor)
        for claim, holds in claims:
            (self.terminal.screen.good if holds else self.terminal.screen.bad)(claim)
        return all(holds for _, holds in claims)

    def _ended_well(self) -> list[tuple[str, bool]]:
        status = self.shop.get("rollbackrequest", REQUEST)["status"]
        conditions = {one["type"]: one for one in status["conditions"]}
        ready, phase = conditions["Ready"], status["phase"]
        states = {name: conditions.get(name, {}).get("status", "absent") for name in CONDITIONS}
        told = ", ".join(f"{name}={state}" for name, state in states.items())
        return [
            (f"The request ended {phase} ({ready['reason']}): {ready['message']}", phase == "Succeeded"),
            (f"Its conditions: {told}", set(states.values()) == {"True"}),
        ]

    def _template(self) -> tuple[str, bool]:
        deployment = self.shop.get("deployment", "shop")
        revision = deployment["metadata"]["annotations"]["deployment.kubernetes.io/revision"]
        container = deployment["spec"]["template"]["spec"]["containers"][0]
        settings = container["envFrom"][0]["configMapRef"]["name"]
        again = container["env"] == [{"name": "RELEASE", "value": "1"}] and settings == "shop-1"
        whose = "that of release 1" if again else "not that of release 1"
        return f"The Deployment's template is {whose}, as revision {revision}.", again

    def _no_rights_of_its_own(self) -> tuple[str, bool]:
        operator = "system:serviceaccount:rollback-system:rollback-operator"
        question = ("auth", "can-i", "patch", "deployments", "-n", SHOP, "--as", operator)
        refused = self.terminal.cluster.kubectl_process(*question).stdout.strip() == "no"
        may = "may not" if refused else "may"
        return f"The operator itself {may} patch Deployments; it acts as the shop's service account.", refused

    def _answers(self, visitor: Visitor) -> list[tuple[str, bool]]:
        pods = self.shop.pods()
        page = visit(self.shop.url())
        pages = [visit(f"http://{pod['status'].get('podIP')}:8000/") for pod in pods]
        fresh = all(one is not None and "release 1" in one for one in [page, *pages]) and bool(pods)
        claims = [(f"The shop's Service and its {len(pods)} new pods answer over HTTP: {page}", fresh)]
        reopened = until(lambda: visitor.reopened(self.asked), within=5, what="a visitor sees the shop open again")
        closed, took = seconds(visitor.closed_for()), seconds(reopened - self.asked)
        return [
            *claims,
            (f"The shop was closed for {closed}; it opened {took} after the rollback was asked for.", True),
        ]
