"""The part of an effect that all kinds with a pod template share: the template, the mark, and what follows them.

Pure functions over JSON patches. What a patch tests before is each kind's own.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from rollback_operator.api import REQUEST_ANNOTATION
from rollback_operator.api.request import Plan
from rollback_operator.targets import ownership
from rollback_operator.targets.metadata import annotation_path, annotations_of
from rollback_operator.targets.ownership import LAST_APPLIED
from rollback_operator.targets.podtemplate import not_restarted

CHANGE_CAUSE = "kubernetes.io/change-cause"

Object = dict[str, Any]


def going_back(thing: Object, template: Object, source: Object, key: str) -> list[Object]:
    """Operations that give `thing` the `template` of the revision that `source` records, marked with `key`.

    Nothing happens if the template that `thing` shows, or the mark of whoever came before, is no longer there.
    """
    now = annotations_of(thing)
    patch: list[Object] = [
        {"op": "test", "path": "/spec/template", "value": thing["spec"]["template"]},
        marked(now, key, "test"),
        {"op": "replace", "path": "/spec/template", "value": template},
        marked(now, key, "add"),
    ]

    def follow(applied: Object) -> bool:
        if not isinstance(applied.get("spec"), dict) or "template" not in applied["spec"]:
            return False
        applied["spec"]["template"] = not_restarted(template)
        return True

    return [
        *patch,
        *following(now, ownership.followed(now.get(LAST_APPLIED), follow)),
        *_cause(now, annotations_of(source)),
    ]


def restart_of(plan: Plan) -> datetime | None:
    """When all pods are started anew, also those that have the template: with other configuration they have to."""
    return datetime.now(UTC) if plan.configuration is not None and plan.configuration.restart else None


def following(now: dict[str, str], followed: str | None) -> list[Object]:
    """Operations that set what was applied last; none if there is nothing to follow."""
    if followed is None:
        return []
    path = annotation_path(LAST_APPLIED)
    return [
        {"op": "test", "path": path, "value": now[LAST_APPLIED]},
        {"op": "replace", "path": path, "value": followed},
    ]


def marked(now: dict[str, str], key: str, op: str) -> Object:
    """The mark, tested or set. An object without annotations has no place for one: then all of them are."""
    value = now.get(REQUEST_ANNOTATION) if op == "test" else key
    if now:
        return {"op": op, "path": annotation_path(REQUEST_ANNOTATION), "value": value}
    whole = None if op == "test" else {REQUEST_ANNOTATION: key}
    return {"op": op, "path": "/metadata/annotations", "value": whole}


def _cause(now: dict[str, str], then: dict[str, str]) -> list[Object]:
    """The change-cause belongs to the revision: `kubectl rollout history` shows it beside the number."""
    if CHANGE_CAUSE in then:
        return [{"op": "add", "path": annotation_path(CHANGE_CAUSE), "value": then[CHANGE_CAUSE]}]
    return [{"op": "remove", "path": annotation_path(CHANGE_CAUSE)}] if CHANGE_CAUSE in now else []
