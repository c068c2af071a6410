"""Prometheus and the operator, run for the demo.

Where pods are real, the operator runs in the cluster and reaches Prometheus through a Service; else it is a process of
this machine with the same rights.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import yaml

from testbed import network
from testbed.demo.screen import ROOT, Terminal
from testbed.demo.shop import SHOP, until
from testbed.demo.stage import Stage
from testbed.errors import TestbedError
from testbed.monitoring import Exporter, Prometheus, pods_of
from testbed.operating import SYSTEM, OperatorProcess, kubeconfig

OPERATOR = "deployment/rollback-operator"
PORT = 9090
INSIDE = f"http://prometheus.monitoring:{PORT}"
"""Prometheus as pods know it; deploy/ in this folder tells the operator."""


def prometheus(stack: ExitStack, terminal: Terminal, exporter: Exporter | None) -> Prometheus:
    """A Prometheus that scrapes the shop's pods, or the exporter that stands for them."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "prometheus"
    if exporter is not None:
        jobs = [exporter.job("shop", {"namespace": SHOP, "app": "shop"})]
        return stack.enter_context(Prometheus.start(folder, scrape_configs=jobs))
    jobs = [pods_of(terminal.cluster.kubeconfig, SHOP)]
    running = stack.enter_context(Prometheus.start(folder, scrape_configs=jobs, address=network.GATEWAY))
    named(terminal, "prometheus", "monitoring", running.listen, PORT)
    return running


def named(terminal: Terminal, name: str, namespace: str, listen: str, port: int) -> None:
    """Give what listens outside of the cluster, at `HOST:PORT`, a Service of that name and port in it."""
    address, _, own = listen.partition(":")
    terminal.ask("apply", "-f", "-", stdin=yaml.safe_dump_all(_service(name, namespace, address, int(own), port)))


def _service(name: str, namespace: str, address: str, own: int, port: int) -> list[dict[str, Any]]:
    where = {"name": name, "namespace": namespace}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}},
        {"apiVersion": "v1", "kind": "Service", "metadata": where, "spec": {"ports": [{"port": port}]}},
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {**where, "labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": [address]}],
            "ports": [{"port": own}],
        },
    ]


def operator_beside_prometheus(stage: Stage, running: Prometheus) -> None:
    """The operator, which asks that Prometheus."""
    _install(stage, Path(__file__).parent / "deploy" if stage.real else ROOT / "deploy")
    if stage.real:
        stage.screen.say(f"That is deploy/ with one setting more: ROLLBACK_PROMETHEUS={INSIDE}")
    _run(stage, {"prometheus": running.url})


def operator(stage: Stage, **settings: str) -> None:
    """The operator as deploy/ has it, with these settings besides."""
    _install(stage, ROOT / "deploy")
    if stage.real and settings:
        variables = (f"ROLLBACK_{name.upper()}={value}" for name, value in settings.items())
        stage.terminal.show("-n", SYSTEM, "set", "env", OPERATOR, *variables)
    _run(stage, settings)


def _install(stage: Stage, folder: Path) -> None:
    """The resources, the operator and its rights."""
    stage.terminal.show("apply", "-k", folder)
    stage.terminal.ask("wait", "--for=condition=Established", "crd", "-l", "app.kubernetes.io/name=rollback-operator")


def _run(stage: Stage, settings: Mapping[str, str]) -> None:
    """Where pods are real, wait until it is ready; else run a process with its rights and these settings."""
    if stage.real:
        stage.terminal.ask("-n", SYSTEM, "rollout", "status", OPERATOR, "--timeout=120s", timeout=130)
        stage.terminal.show("-n", SYSTEM, "get", "pods")
        return
    stage.terminal.ask("-n", SYSTEM, "scale", OPERATOR, "--replicas=0")
    stage.stack.enter_context(_as_a_process(stage.terminal, settings))
    stage.screen.good("The operator runs as a process, with a token of its service account.")


@contextmanager
def explained(terminal: Terminal, *, real: bool) -> Iterator[None]:
    """If the block fails, show how things stand, and what the operator in the cluster logged, before all is gone."""
    try:
        yield
    except (TestbedError, subprocess.TimeoutExpired):
        for question in (
            ("get", "pods", "-A"),
            ("-n", SHOP, "get", "rollbackpolicies,rollbackrequests", "-o", "wide"),
            ("-n", SHOP, "get", "rollbackpolicies", "-o", "jsonpath={.items[*].status}"),
            *([("-n", SYSTEM, "logs", OPERATOR, "--tail=20")] if real else []),
        ):
            terminal.screen.command("kubectl", *question)
            answer = terminal.cluster.kubectl_process(*question)
            terminal.screen.output(answer.stdout + answer.stderr)
        raise


@contextmanager
def _as_a_process(terminal: Terminal, settings: Mapping[str, str]) -> Iterator[None]:
    """The operator as a process of this machine, as its own service account; if the block fails, show its log."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        running = OperatorProcess(kubeconfig(terminal.cluster, folder), folder / "operator.log", port=None, **settings)
        try:
            until(lambda: " watches " in running.lines(), within=30, what="the operator has started")
            yield
        except (TestbedError, subprocess.TimeoutExpired):
            terminal.screen.say("What the operator logged last:")
            terminal.screen.output("\n".join(running.lines().splitlines()[-20:]))
            raise
        finally:
            running.stop()
