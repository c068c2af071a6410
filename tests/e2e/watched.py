"""What tests of policies are written with: Deployments whose errors a test sets, the policies that watch them, and an
operator that can be killed and started again."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

import yaml

from testbed import Cluster
from testbed.monitoring import Prometheus, Series
from testbed.operating import OperatorProcess
from tests.e2e.world import PATIENCE, Object, World, condition, policy, until, web

SYSTEM_ACCOUNT = "system:serviceaccount:rollback-system:rollback-operator"
WRITES = ("create", "update", "patch", "delete")


class Operator(OperatorProcess):
    """The operator on a port that it keeps when it is started again."""

    newest: ClassVar[Operator | None] = None
    """The one that was made last: what is told of a test that failed before it had one."""

    def __init__(self, credentials: Path, log: Path, port: int, settings: dict[str, str]) -> None:
        Operator.newest = self
        self._credentials = credentials
        self._settings = settings
        super().__init__(credentials, log, port=port, **settings)

    def again(self, **changes: str) -> None:
        """Start it again, with some settings changed for this run; what runs is stopped."""
        if self.process.poll() is None:
            self.stop()
        super().__init__(self._credentials, self.log, port=self.port, **{**self._settings, **changes})

    def ready(self) -> bool:
        """Whether it says so."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:  # refused, cut off, told that it is not, or nothing in time
            return False

    def up(self) -> None:
        """Wait until it is ready."""

        def ready() -> bool:
            assert self.process.poll() is None, f"the operator ended:\n{self.lines()}"
            return self.ready()

        until(ready, what="the operator is ready")


class Watched(World):
    """A namespace with Deployments and the policies that watch them; both named `web` unless said otherwise."""

    def __init__(self, cluster: Cluster, namespace: str, prometheus: Prometheus) -> None:
        super().__init__(cluster, namespace)
        self._prometheus = prometheus

    # What Prometheus knows.

    def fail(self, rate: float, app: str = "web", pod: str = "a") -> float:
        """From now on this part of the requests fails; gives the time."""
        now = time.time()
        labels = {"namespace": self.namespace, "app": app, "pod": pod}
        self._prometheus.push(Series("errors", labels, [(now, rate)]))
        return now

    def errors(self, app: str = "web", **more: Any) -> Object:
        """A trigger: more than one request in twenty fails; asked every second."""
        query = f'errors{{namespace="{self.namespace}",app="{app}"}}'
        return {"name": "errors", "prometheus": {"query": query}, "when": "> 5%", "interval": "1s", **more}

    # What people do.

    def watch(self, *triggers: Object, name: str = "web", **spec: Any) -> None:
        """Apply a policy for the Deployment of that name."""
        self.apply(order(name, *triggers, **spec))

    def change(self, name: str = "web", **spec: Any) -> None:
        """Change some of a policy's orders."""
        self.kubectl("patch", "rbp", name, "--type=merge", "-p", json.dumps({"spec": spec}))

    def answer(self, request: str, **spec: bool) -> None:
        """Approve or abort a request."""
        self.kubectl("patch", "rbr", request, "--type=merge", "-p", json.dumps({"spec": spec}))

    def well(self, *images: str, soak: str = "1s", action: str = "Rollback", **spec: Any) -> None:
        """Have a policy, and release `web`, each time waiting until the release has proved good."""
        self.fail(0)
        self.watch(self.errors(for_="2s", action=action), soak=soak, **spec)
        for number, image in enumerate(images, 1):
            self.release(web(image, replicas=1))
            self.waits("current.revision", str(number))
            if soak == "1s":
                self.proved(str(number))

    def bad(self, image: str) -> None:
        """Release `web`, and have it fail."""
        self.release(web(image, replicas=1))
        self.fail(0.5)

    def release_all(self, bodies: Iterable[Object]) -> None:
        """Apply Deployments, and wait until each is rolled out."""
        named = list(bodies)
        self.apply(*named)
        for body in named:
            self.rolled_out(body["metadata"]["name"])

    # What the operator does.

    def waits(self, what: str, value: str = "", name: str = "web", within: int = PATIENCE) -> None:
        """Wait until a field of a policy's status (a JSON path below it) has this value, or any."""
        wanted = f"jsonpath={{.status.{what}}}" + (f"={value}" if value else "")
        how = ["-n", self.namespace, "wait", f"rbp/{name}", f"--for={wanted}", f"--timeout={within}s"]
        done = self.cluster.kubectl_process(*how, timeout=within + 30)
        assert done.returncode == 0, f"{done.stderr}{wanted}:\n{yaml.safe_dump(self.policy(name).get('status'))}"

    def proved(self, revision: str, name: str = "web") -> None:
        """Wait until this revision is known good."""
        self.waits("lastKnownGood.revision", revision, name)

    def says(self, kind: str, reason: str, name: str = "web", within: int = PATIENCE) -> str:
        """Wait until a policy's condition has this reason; gives its message."""
        self.waits(f'conditions[?(@.type=="{kind}")].reason', reason, name, within)
        message: str = condition(self.policy(name), kind)["message"]
        return message

    def policy(self, name: str = "web") -> Object:
        """The policy."""
        return self.get("rbp", name)

    def verdict(self, name: str = "web") -> str | None:
        """The worst of what a policy's triggers say."""
        said: str | None = self.policy(name)["status"].get("verdict")
        return said

    def made(self, name: str = "web", within: int = PATIENCE) -> str:
        """Wait until a policy made a request; gives its name."""
        self.waits("lastRequest.name", name=name, within=within)
        last: str = self.policy(name)["status"]["lastRequest"]["name"]
        return last

    def requests(self, name: str = "web") -> list[str]:
        """Names of the requests that a policy made, the oldest first."""
        found = json.loads(self.kubectl("get", "rbr", "-o", "json", f"--field-selector=spec.policyRef.name={name}"))
        found["items"].sort(key=lambda one: one["metadata"]["creationTimestamp"])
        return [one["metadata"]["name"] for one in found["items"]]

    def is_back(self, image: str, name: str = "web") -> None:
        """Wait until a Deployment has this image."""
        path = "{.spec.template.spec.containers[0].image}"
        self.wait(f"deployment/{name}", f"--for=jsonpath={path}={image}")

    def rolled_back(self, name: str = "web") -> Object:
        """Wait until a policy's newest request has ended; gives it."""
        return self.ended(self.made(name))

    def writes(self) -> list[Object]:
        """Every write of the operator's in this namespace, as itself or as somebody else, but Events."""
        return [event for event in self.cluster.audit_events() if self._writes(event)]

    def _writes(self, event: Object) -> bool:
        where = event.get("objectRef", {})
        here = where.get("namespace") == self.namespace and where.get("resource") != "events"
        return here and event["verb"] in WRITES and bool(event["user"]["username"] == SYSTEM_ACCOUNT)

    def creations(self) -> list[Object]:
        """The requests that the operator made: what the API server took."""
        made = [one for one in self.writes() if one["verb"] == "create" and one["responseStatus"]["code"] == 201]
        return [one for one in made if one["objectRef"]["resource"] == "rollbackrequests"]


def order(name: str, *triggers: Object, **spec: Any) -> Object:
    """A policy for the Deployment of that name; `for_` stands for `for`."""
    written = [{key.rstrip("_"): value for key, value in one.items()} for one in triggers]
    return policy(name, target={"kind": "Deployment", "name": name}, triggers=written, **spec)
