"""What end-to-end tests are written with: a namespace, what people do in it, the operator as a process."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import yaml

from testbed import Cluster

ROOT = Path(__file__).parents[2]
Object = dict[str, Any]
T = TypeVar("T")


def until(question: Callable[[], T], *, within: float = 30, what: str) -> T:
    """Ask again and again until the answer is true-ish; it is given back."""
    deadline = time.monotonic() + within
    while True:
        answer = question()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"not within {within} s: {what}"
        time.sleep(0.05)


class World:
    """A namespace with what people do in it."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.cluster = cluster
        self.namespace = namespace

    def kubectl(self, *args: str, **options: Any) -> str:
        return self.cluster.kubectl("-n", self.namespace, *args, **options)

    def apply(self, *objects: Object, server_side: bool = False) -> None:
        """`kubectl apply`, as people do it."""
        how = ["--server-side"] if server_side else []
        self.kubectl("apply", *how, "-f", "-", input=yaml.safe_dump_all(objects))

    def refused(self, body: Object) -> str:
        """Apply an object that the API server refuses; gives what it says."""
        result = self.cluster.kubectl_process("-n", self.namespace, "apply", "-f", "-", input=yaml.safe_dump(body))
        assert result.returncode != 0, "it was taken"
        return " ".join(result.stderr.split())

    def get(self, kind: str, name: str, *more: str) -> Object:
        body: Object = json.loads(self.kubectl("get", kind, name, "-o", "json", *more))
        return body

    def release(self, body: Object, **how: bool) -> None:
        """Apply a workload and wait until it is rolled out."""
        self.apply(body, **how)
        self.rolled_out(body["metadata"]["name"], body["kind"])

    def rolled_out(self, name: str, kind: str = "Deployment") -> None:
        self.kubectl("rollout", "status", f"{kind}/{name}", "--timeout=30s")

    def request(self, name: str, **spec: Any) -> str:
        """Apply a RollbackRequest for the Deployment `web` (unless said otherwise); gives its name."""
        what = {} if "policyRef" in spec else {"target": {"kind": "Deployment", "name": "web"}}
        body = request(name, **{"reason": "5xx after the release", **what, **spec})
        self.apply(body)
        return name

    def ended(self, name: str, within: int = 40) -> Object:
        """The request once it has ended."""
        self.kubectl(
            "wait", f"rbr/{name}", "--for=jsonpath={.status.finishedAt}", f"--timeout={within}s", timeout=within + 10
        )
        return self.get("rbr", name)

    def roll_back(self, name: str, **spec: Any) -> Object:
        """Request a rollback and wait for its end."""
        return self.ended(self.request(name, **spec))

    def grant(self, *, secrets: bool = True, account: str = "rollback") -> None:
        """Give the service account what `examples/rbac.yaml` gives it (perhaps without the Secrets)."""
        objects = list(yaml.safe_load_all((ROOT / "examples" / "rbac.yaml").read_text()))
        text = yaml.safe_dump_all([_in(body, self.namespace, account, secrets=secrets) for body in objects])
        self.kubectl("apply", "-f", "-", input=text)

    def image(self, name: str = "web", kind: str = "Deployment") -> str:
        image: str = self.get(kind, name)["spec"]["template"]["spec"]["containers"][0]["image"]
        return image


def _in(body: Object, namespace: str, account: str, *, secrets: bool) -> Object:
    body["metadata"].pop("namespace", None)
    if body["kind"] == "ServiceAccount":
        body["metadata"]["name"] = account
    for subject in body.get("subjects", []):
        subject.update(name=account, namespace=namespace)
    for one in body.get("rules", []):
        one["resources"] = [name for name in one["resources"] if secrets or name != "secrets"]
    body["rules"] = [one for one in body.get("rules", []) if one["resources"]] or body.get("rules", [])
    if not body["rules"]:
        del body["rules"]
    return body


def request(name: str, **spec: Any) -> Object:
    """A RollbackRequest."""
    return {"apiVersion": "rollback.dev/v1alpha1", "kind": "RollbackRequest", "metadata": {"name": name}, "spec": spec}


def policy(name: str, **spec: Any) -> Object:
    """A RollbackPolicy for the Deployment `web`."""
    target = {"target": {"kind": "Deployment", "name": "web"}}
    return {
        "apiVersion": "rollback.dev/v1alpha1",
        "kind": "RollbackPolicy",
        "metadata": {"name": name},
        "spec": {**target, **spec},
    }


def web(image: str, *, replicas: int = 2, name: str = "web", **container: Any) -> Object:
    """A Deployment that serves `image`."""
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "terminationGracePeriodSeconds": 1,
                    "containers": [{"name": "web", "image": image, **container}],
                },
            },
        },
    }


def condition(body: Object, kind: str) -> Object:
    """A condition of a request."""
    found: Object = next(one for one in body["status"]["conditions"] if one["type"] == kind)
    return found


def outcome(body: Object) -> tuple[str, str]:
    """Phase and reason."""
    return body["status"]["phase"], condition(body, "Ready")["reason"]
