"""What it means to go from one pod template to another, for the kinds that run pods."""

from __future__ import annotations

from rollback_operator.core.values import Findings, Revision, Snapshot
from rollback_operator.kube.client import Api
from rollback_operator.targets import dependencies, podtemplate
from rollback_operator.targets.base import Where
from rollback_operator.targets.diff import unified
from rollback_operator.targets.podtemplate import Template


async def findings(
    api: Api, where: Where, target: Snapshot, to: Revision, templates: tuple[Template, Template]
) -> Findings:
    """What replacing the first of `templates`, which `target` has, by the second, which is that of `to`, amounts to."""
    now, then = templates
    missing, notes = await dependencies.check(api, where.namespace, podtemplate.needs(then), where.account)
    same = podtemplate.fingerprint(now) == podtemplate.fingerprint(then)
    return Findings(
        steps=() if same else (f"Replace the pod template by that of {to.source} (revision {to.name}).",),
        diff=unified(
            podtemplate.shown(now, target.uid),
            podtemplate.shown(then, target.uid),
            f"revision {target.current.name} (now)",
            f"revision {to.name} (after)",
        ),
        notes=notes,
        missing=missing,
    )
