"""The part of an effect that all kinds with a pod template share: the template, the mark, and what follows them.

Pure functions over JSON patches. What a patch tests before is each kind's own.
"""

from __future__ import annotations

import json
from typing import Any

from rollback_operator.api import REQUEST_ANNOTATION
from rollback_operator.targets.metadata import annotation_path, annotations_of
from rollback_operator.targets.ownership import LAST_APPLIED

CHANGE_CAUSE = "kubernetes.io/change-cause"

Object = dict[str, Any]


def going_back(thing: Object, template: Object, source: Object, key: str) -> list[Object]:
    """Operations that give `thing` the `template` of the revision that `source` records, marked with `key`.

    Nothing happens if the template that `thing` shows, or the mark of whoever came before, is no longer there.
    """
    now = annotations_of(thing)
    patch: list[Object] = [
        {"op": "test", "path": "/spec/template", "value": thing["spec"]["template"]},
        _marked(now, key, "test"),
        {"op": "replace", "path": "/spec/template", "value": template},
        _marked(now, key, "add"),
    ]
    last_applied = now.get(LAST_APPLIED)
    followed = _followed(last_applied, template)
    if followed is not None:
        patch.append({"op": "test", "path": annotation_path(LAST_APPLIED), "value": last_applied})
        patch.append({"op": "replace", "path": annotation_path(LAST_APPLIED), "value": followed})
    return patch + _cause(now, annotations_of(source))


def _marked(now: dict[str, str], key: str, op: str) -> Object:
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


def _followed(last_applied: str | None, template: Object) -> str | None:
    """What `kubectl apply` is to believe it applied last: the template that now stands.

    Otherwise the fields that only the restored revision has are strangers to the next apply, and stay for ever
    (kubernetes#94698).
    """
    try:
        applied = json.loads(last_applied) if last_applied else None
    except ValueError:
        return None
    if not isinstance(applied, dict) or not isinstance(applied.get("spec"), dict) or "template" not in applied["spec"]:
        return None
    applied["spec"]["template"] = template
    return json.dumps(applied, separators=(",", ":")) + "\n"
