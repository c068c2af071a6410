"""The shop as people see it: through kubectl and, where its pods are real, through HTTP."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
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
REFUSED = 400
"""HTTP status codes from here on say that nothing was done."""


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
    """Pods that sell coffee, and what they are pods of: a Deployment behind a Service, if nothing else is said."""

    def __init__(self, terminal: Terminal, *, real: bool, kind: str = "Deployment", name: str = "shop") -> None:
        """`examples/NAME/` holds what is released."""
        self.terminal = terminal
        self.real = real
        self.kind = kind
        self.name = name
        self.workload = f"{kind.lower()}/{name}"

    def opens(self) -> None:
        """Release 1, and the service account that a rollback in this namespace runs with."""
        folder = EXAMPLES / self.name
        self.terminal.show("apply", "-f", folder / f"{self.name}.yaml", "-f", folder / "release-1.yaml")
        self.gives_rights("rbac.yaml")
        self.is_open()

    def gives_rights(self, *files: str) -> None:
        """What a rollback in this namespace runs with, from `examples/`."""
        self.terminal.show("apply", *(word for file in files for word in ("-f", EXAMPLES / file)))

    def is_open(self) -> None:
        """Wait until all pods run, and take orders."""
        self.terminal.ask("-n", SHOP, "rollout", "status", self.workload, "--timeout=120s", timeout=130)
        if self.real:
            url = self.urls()[0]
            answer = until(lambda: _good(url), within=20, what="the shop takes an order")
            self.terminal.screen.good(f"POST {url}orders: {answer}")

    def ships(self, release: int) -> None:
        """Apply a release."""
        self.terminal.show("apply", "-f", self.release(release))

    def release(self, number: int) -> Path:
        """The file of a release."""
        return EXAMPLES / self.name / f"release-{number}.yaml"

    def breaks(self) -> None:
        """Wait until a pod of release 2 crashes again and again."""
        if not self.real:
            self.rolls_out()
            self.terminal.screen.say("Fake nodes run no container, so nothing crashes here: take it as broken.")
            return
        until(self._crash_loops, within=120, what="a pod of release 2 is in CrashLoopBackOff")
        self.terminal.show("-n", SHOP, "get", "pods")

    def rolls_out(self) -> None:
        """Wait as whoever releases does, until kubectl says that it is done."""
        for _ in self.terminal.follow("-n", SHOP, "rollout", "status", self.workload, "--timeout=120s"):
            pass

    def urls(self) -> list[str]:
        """Where orders are taken: the Service, unless it is headless, and each pod."""
        spec = self.get("service", self.name)["spec"]
        service = [] if spec["clusterIP"] == "None" else [f"http://{spec['clusterIP']}/"]
        return [*service, *(f"http://{pod['status'].get('podIP')}:{PORT}/" for pod in self.pods())]

    def pods(self) -> list[Object]:
        """Its pods that are not going away."""
        return [pod for pod in self._all_pods() if not _is_going(pod)]

    def _all_pods(self) -> list[Object]:
        listed: list[Object] = self.get("pods", "-l", f"app={self.name}")["items"]
        return listed

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

    def runs(self, release: int) -> Claim:
        """What the workload is."""
        container = self.get(self.kind, self.name)["spec"]["template"]["spec"]["containers"][0]
        settings = container["envFrom"][0]["configMapRef"]["name"]
        right = {"name": "RELEASE", "value": str(release)} in container["env"] and settings.endswith(f"-{release}")
        whose = f"that of release {release}" if right else f"not that of release {release}"
        return f"The {self.kind}'s template is {whose}, as revision {self._revision()}.", right

    def _revision(self) -> str:
        """The newest one, by kubectl."""
        listed = self.terminal.ask("-n", SHOP, "rollout", "history", self.workload)
        return listed.split()[-2]

    def every_pod_serves(self, release: int) -> Claim:
        """Orders with and without a card, to each pod and to the Service, once what is going away is gone.

        The Service gives an order to a pod that ends for a moment longer.
        """
        until(lambda: not any(map(_is_going, self._all_pods())), within=60, what="the pods of before are gone")
        urls, pods = self.urls(), len(self.pods())
        answers = [order(url, card=card) for url in urls for card in (True, False) * 3]
        bad = next((answer.words for answer in answers if not answer.good or not answer.of(release)), None)
        whom = " and ".join(
            [*(["the Service"] if len(urls) > pods else []), "its pod" if pods == 1 else f"each of {pods} pods"]
        )
        count = f"{len(answers)} orders to {whom}, half of them with a card"
        return f"{count}: {bad or answers[-1].words}", bad is None and pods > 0

    def made_once(self, verb: str, resource: str, name: str) -> Claim:
        """Something that the operator did once, with whose rights, by the API server's audit log."""
        as_whom = until(
            lambda: self._audited(verb, resource, name), within=10, what=f"the audit log tells of {verb} {name}"
        )
        often = "once" if len(as_whom) == 1 else f"{len(as_whom)} times"
        told = f"The API server's audit log: {verb} {resource}/{name}, {often}, as {as_whom[-1]}."
        return told, as_whom == [f"system:serviceaccount:{SHOP}:rollback"]

    def _audited(self, verb: str, resource: str, name: str) -> list[str]:
        """As whom the operator was let do it."""
        done = [
            event
            for event in self.terminal.cluster.audit_events()
            if event["verb"] == verb and "impersonatedUser" in event and event["responseStatus"]["code"] < REFUSED
        ]
        thing = {"resource": resource, "namespace": SHOP, "name": name}
        about = [event for event in done if thing.items() <= event["objectRef"].items()]
        return [event["impersonatedUser"]["username"] for event in about]

    def operator_may_not(self, verb: str, resource: str, namespace: str = SHOP) -> Claim:
        """The operator has no rights of its own over what it rolls back."""
        operator = "system:serviceaccount:rollback-system:rollback-operator"
        question = ("auth", "can-i", verb, resource, "-n", namespace, "--as", operator)
        refused = self.terminal.cluster.kubectl_process(*question).stdout.strip() == "no"
        may = "may not" if refused else "may"
        return f"The operator itself {may} {verb} {resource}; it acts as the shop's service account.", refused


def _is_going(pod: Object) -> bool:
    return "deletionTimestamp" in pod["metadata"]


def _ended(row: str) -> bool:
    return any(f" {phase} " in row for phase in FINAL)


def _good(url: str) -> str | None:
    answer = order(url, card=True)
    return answer.words if answer.good else None
