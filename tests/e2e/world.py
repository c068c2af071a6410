"""What end-to-end tests are written with: a namespace, what people do in it, the operator as a process."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import yaml

from testbed import Cluster

ROOT = Path(__file__).parents[2]
Object = dict[str, Any]
T = TypeVar("T")
PATIENCE = 300
"""Seconds after which a wait is given up. What works takes a few of them, on a busy machine ten times as many."""


def until(question: Callable[[], T], *, within: float = PATIENCE, what: str) -> T:
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

    newest: ClassVar[World | None] = None
    """The one that was made last: what is told of a test that failed before it had one."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.cluster = cluster
        self.namespace = namespace
        World.newest = self

    def kubectl(self, *args: str, **options: Any) -> str:
        return self.cluster.kubectl("-n", self.namespace, *args, **options)

    def wait(self, *args: str, within: int = PATIENCE) -> None:
        """`kubectl wait`."""
        self.kubectl("wait", *args, f"--timeout={within}s", timeout=within + 30)

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
        self.kubectl("rollout", "status", f"{kind}/{name}", f"--timeout={PATIENCE}s", timeout=PATIENCE + 30)

    def begin(self, body: Object) -> None:
        """Apply a workload whose pods need not come up, and wait until its controller has a revision of it."""
        self.apply(body)
        kind, name = body["kind"], body["metadata"]["name"]
        until(lambda: _seen(self.get(kind, name)), what=f"{kind}/{name} is numbered")

    def request(self, name: str, **spec: Any) -> str:
        """Apply a RollbackRequest for the Deployment `web` (unless said otherwise); gives its name."""
        what = {} if "policyRef" in spec else {"target": {"kind": "Deployment", "name": "web"}}
        body = request(name, **{"reason": "5xx after the release", **what, **spec})
        self.apply(body)
        return name

    def ended(self, name: str, within: int = PATIENCE) -> Object:
        """The request once it has ended."""
        self.wait(f"rbr/{name}", "--for=jsonpath={.status.finishedAt}", within=within)
        return self.get("rbr", name)

    def in_phase(self, name: str, phase: str) -> None:
        """Wait until the request is in this phase."""
        self.wait(f"rbr/{name}", f"--for=jsonpath={{.status.phase}}={phase}")

    def roll_back(self, name: str, **spec: Any) -> Object:
        """Request a rollback and wait for its end."""
        return self.ended(self.request(name, **spec))

    def shell(self, command: str) -> str:
        """What a shell prints for a command that a person copied."""
        path = f"{self.cluster.bin}{os.pathsep}{os.environ['PATH']}"
        environment = {**os.environ, **self.cluster.environment(), "PATH": path}
        arguments = ["bash", "-o", "pipefail", "-c", command]
        return subprocess.run(arguments, check=True, env=environment, stdout=subprocess.PIPE, text=True).stdout

    def restore(self, request: Object) -> str:
        """Run the command with which a request's status says that what it replaced is put back."""
        return self.shell(request["status"]["targets"][0]["restore"])

    def grant(self, *, secrets: bool = True, account: str = "rollback") -> None:
        """Give the service account what `examples/rbac.yaml` gives it (perhaps without the Secrets)."""
        objects = list(yaml.safe_load_all((ROOT / "examples" / "rbac.yaml").read_text()))
        text = yaml.safe_dump_all([_in(body, self.namespace, account, secrets=secrets) for body in objects])
        self.kubectl("apply", "-f", "-", input=text)
        self.may("patch", "apps/deployments", account=account)

    def may(self, verb: str, resource: str, *, name: str = "", account: str = "rollback", answer: bool = True) -> None:
        """Wait until the API server says that the account may do this, or may not: it hears of roles a moment later.

        Args:
            verb: as roles have it.
            resource: as roles have it, behind its group and a slash where it has one; in this namespace, or behind
                another's name and a colon.
            name: of the one object that it is about, if it is about one.
            account: a service account of this namespace.
            answer: which answer to wait for.
        """
        where, _, what = resource.rpartition(":")
        group, _, plural = what.rpartition("/")
        asked = {"namespace": where or self.namespace, "verb": verb, "group": group, "resource": plural, "name": name}
        user = f"system:serviceaccount:{self.namespace}:{account}"
        groups = ["system:serviceaccounts", f"system:serviceaccounts:{self.namespace}", "system:authenticated"]
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {"user": user, "groups": groups, "resourceAttributes": asked},
        }

        def answered() -> bool:
            reviewed = self.cluster.access.call("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", body)
            return bool(reviewed["status"]["allowed"]) is answer

        until(answered, what=f"{user} may {'' if answer else 'not '}{verb} {resource} {name}")

    def image(self, name: str = "web", kind: str = "Deployment") -> str:
        image: str = self.get(kind, name)["spec"]["template"]["spec"]["containers"][0]["image"]
        return image


def _seen(body: Object) -> bool:
    """Whether a workload's controller has acted on its newest change, which it numbers first."""
    return bool(body.get("status", {}).get("observedGeneration", 0) >= body["metadata"]["generation"])


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
