"""Running the operator for the demo: in the cluster where pods are real, else as a process with the same rights."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from testbed.demo.screen import ROOT, Terminal
from testbed.demo.story import until
from testbed.errors import TestbedError
from testbed.operating import SYSTEM, OperatorProcess, kubeconfig

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
    running = OperatorProcess(kubeconfig(terminal.cluster, folder), folder / "operator.log")
    try:
        until(lambda: " watches " in running.lines(), within=30, what=f"the operator has started; see {running.log}")
        yield
    finally:
        running.stop()
