"""Prometheus and the operator, run for the demo.

Where pods are real, the operator runs in the cluster and reaches Prometheus through a Service; else it is a process of
this machine with the same rights.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import yaml

from testbed import network
from testbed.demo.screen import ROOT, Terminal
from testbed.demo.shop import SHOP, until
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
    address, _, port = running.listen.partition(":")
    terminal.ask("apply", "-f", "-", stdin=yaml.safe_dump_all(_service(address, int(port))))
    return running


def _service(address: str, port: int) -> list[dict[str, Any]]:
    """A name in the cluster for what runs outside of it."""
    where = {"name": "prometheus", "namespace": "monitoring"}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "monitoring"}},
        {"apiVersion": "v1", "kind": "Service", "metadata": where, "spec": {"ports": [{"port": PORT}]}},
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {**where, "labels": {"kubernetes.io/service-name": "prometheus"}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": [address]}],
            "ports": [{"port": port}],
        },
    ]


def install(terminal: Terminal, *, real: bool) -> None:
    """The resources, the operator and its rights; where pods are real, wait until it is ready."""
    terminal.show("apply", "-k", Path(__file__).parent / "deploy" if real else ROOT / "deploy")
    terminal.ask("wait", "--for=condition=Established", "crd", "-l", "app.kubernetes.io/name=rollback-operator")
    if not real:
        terminal.ask("-n", SYSTEM, "scale", OPERATOR, "--replicas=0")
        return
    terminal.screen.say(f"That is deploy/ with one setting more: ROLLBACK_PROMETHEUS={INSIDE}")
    terminal.ask("-n", SYSTEM, "rollout", "status", OPERATOR, "--timeout=120s", timeout=130)
    terminal.show("-n", SYSTEM, "get", "pods")


@contextmanager
def explained(terminal: Terminal, *, real: bool) -> Iterator[None]:
    """If the block fails, show how things stand, and what the operator in the cluster logged, before all is gone."""
    try:
        yield
    except (TestbedError, subprocess.TimeoutExpired):
        for question in (
            ("get", "pods", "-A"),
            ("-n", SHOP, "get", "rollbackpolicies,rollbackrequests", "-o", "wide"),
            *([("-n", SYSTEM, "logs", OPERATOR, "--tail=20")] if real else []),
        ):
            terminal.screen.command("kubectl", *question)
            answer = terminal.cluster.kubectl_process(*question)
            terminal.screen.output(answer.stdout + answer.stderr)
        raise


@contextmanager
def as_a_process(terminal: Terminal, prometheus: Prometheus) -> Iterator[None]:
    """The operator as a process of this machine, as its own service account; if the block fails, show its log."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        running = OperatorProcess(
            kubeconfig(terminal.cluster, folder), folder / "operator.log", prometheus=prometheus.url
        )
        try:
            until(lambda: " watches " in running.lines(), within=30, what="the operator has started")
            yield
        except (TestbedError, subprocess.TimeoutExpired):
            terminal.screen.say("What the operator logged last:")
            terminal.screen.output("\n".join(running.lines().splitlines()[-20:]))
            raise
        finally:
            running.stop()
