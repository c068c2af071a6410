"""What is told of a test that failed: what stands in its namespace, and what the operator last said of it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.e2e.watched import Operator
from tests.e2e.world import World

LINES = 60
_LONGEST = 24_000
_SHOWN: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("requests and policies", ("get", "rollbackrequests,rollbackpolicies", "-o", "yaml")),
    ("workloads and pods", ("get", "deployments,statefulsets,daemonsets,replicasets,controllerrevisions,pods")),
    ("events", ("get", "events", "--sort-by=.lastTimestamp")),
)


def add(report: pytest.TestReport, fixtures: Mapping[str, Any]) -> None:
    """Add the evidence to a report of a failure."""
    world = next((value for value in fixtures.values() if isinstance(value, World)), World.newest)
    operator = next((value for value in fixtures.values() if isinstance(value, Operator)), Operator.newest)
    if world is not None:
        report.sections.extend(_of_namespace(world))
    if operator is not None:
        namespace = world.namespace if world is not None else ""
        report.sections.append((f"operator (exit code {operator.process.poll()})", _said(operator, namespace)))


def _of_namespace(world: World) -> Iterator[tuple[str, str]]:
    for title, arguments in _SHOWN:
        try:
            done = world.cluster.kubectl_process("-n", world.namespace, *arguments, timeout=60)
            text = done.stdout + done.stderr
        except (OSError, subprocess.TimeoutExpired) as error:
            text = str(error)
        yield f"{title} in {world.namespace}", text[-_LONGEST:]


def _said(operator: Operator, namespace: str) -> str:
    """The last lines that name the namespace, and the very last ones."""
    lines = operator.lines().splitlines()
    ours = [line for line in lines if namespace in line][-LINES:]
    return "\n".join([*ours, "... and of all that it said, last:", *lines[-LINES // 3 :]])[-_LONGEST:]
