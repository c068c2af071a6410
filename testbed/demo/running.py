"""Running the operator for the demo: in the cluster where pods are real, else as a process with the same rights."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from testbed import Cluster
from testbed.demo.screen import ROOT, Terminal
from testbed.demo.story import until
from testbed.errors import TestbedError

SYSTEM = "rollback-system"
OPERATOR = "deployment/rollback-operator"


def install(terminal: Terminal, *, real: bool) -> None:
    """The resources, the operator and its rights; where pods are real, wait until it is ready."""
    terminal.show("apply", "-k", ROOT / "deploy")
    terminal.ask("wait", "--for=condition=Established", "crd", "-l", "app.kubernetes.io/name=rollback-operator")
    if not real:
        terminal.ask("-n", SYSTEM, "scale", OPERATOR, "--replicas=0")
        return
    terminal.ask("-n", SYSTEM, "rollout", "status", OPERATOR, "--timeout=120s", timeout=130)
    terminal.show("-n", SYSTEM, "get", "pods")


@contextmanager
def explained(terminal: Terminal) -> Iterator[None]:
    """If the block fails, show the pods and what the operator logged before the cluster is gone."""
    try:
        yield
    except (TestbedError, subprocess.TimeoutExpired):
        for question in (("get", "pods", "-A"), ("-n", SYSTEM, "logs", OPERATOR, "--tail=20")):
            terminal.screen.command("kubectl", *question)
            answer = terminal.cluster.kubectl_process(*question)
            terminal.screen.output(answer.stdout + answer.stderr)
        raise


@contextmanager
def as_a_process(terminal: Terminal, folder: Path) -> Iterator[None]:
    """The operator as a process of this machine, as its own service account."""
    kubeconfig = _credentials(terminal.cluster, folder)
    environment = {
        **os.environ,
        "KUBECONFIG": str(kubeconfig),
        "PYTHONPATH": str(ROOT / "operator"),
        "ROLLBACK_BIND": "127.0.0.1",
        "ROLLBACK_PORT": "0",
        "NO_PROXY": "*",
    }
    log = folder / "operator.log"
    with log.open("wb") as output:
        process = subprocess.Popen([sys.executable, "-m", "rollback_operator"], env=environment, stderr=output)
    try:
        until(lambda: " watches " in log.read_text(), within=30, what=f"the operator has started; its log is {log}")
        yield
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _credentials(cluster: Cluster, folder: Path) -> Path:
    """A kubeconfig with a token of the operator's service account, so that it has deploy/'s rights and no more."""
    token = cluster.kubectl("-n", SYSTEM, "create", "token", "rollback-operator").strip()
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    config["users"] = [{"name": "operator", "user": {"token": token}}]
    for context in config["contexts"]:
        context["context"]["user"] = "operator"
    path = folder / "operator.kubeconfig"
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(config))
    return path
