"""Deliberate mistakes, to see that the sweep finds them."""

from __future__ import annotations

import dataclasses
import secrets
from datetime import timedelta
from typing import Any

from rollback_operator.core import judge
from rollback_operator.core.life import running
from rollback_operator.targets import deployment, podtemplate


def make(name: str) -> None:
    """Make the operator of this process make the mistake of that name."""
    {"naive": _naive, "unsettled": _unsettled, "nameless": _nameless}[name]()


def _naive() -> None:
    """The effect as a script would make it: no precondition, and only this process knows that it was made."""
    made: set[str] = set()
    see, apply = deployment._snapshot, deployment.DeploymentTarget.apply

    def patch(_: Any, source: Any, *__: Any) -> list[dict[str, Any]]:
        template = podtemplate.without_hash(source["spec"]["template"])
        return [{"op": "replace", "path": "/spec/template", "value": template}]

    def snapshot(*args: Any) -> Any:
        return dataclasses.replace(see(*args), marks=frozenset(made))

    async def remembered(self: Any, where: Any, target: Any, plan: Any, key: str, *args: Any, **more: Any) -> None:
        await apply(self, where, target, plan, key, *args, **more)
        made.add(key)

    for module, name, mistaken in (
        (deployment, "effect", patch),
        (deployment, "_snapshot", snapshot),
        (deployment.DeploymentTarget, "apply", remembered),
        (running, "_moved_on", lambda *_: None),
    ):
        setattr(module, name, mistaken)


def _unsettled() -> None:
    """A request ends without effect while the effect may still arrive."""
    setattr(running, "SETTLE", timedelta(0))  # noqa: B010 - it is imported there


def _nameless() -> None:
    """A policy's request gets a name of its own each time, as `generateName` would give it."""

    def name(scene: judge.Scene, attempt: int) -> str:
        return f"{scene.name}-{attempt}{secrets.token_hex(5)[1:]}"

    judge.request_name = name
