"""Operations: what Argo CD does with an Application, or did last, and which of them is a rollback's own."""

from __future__ import annotations

from typing import Any

from rollback_operator.api import REQUEST_ANNOTATION
from rollback_operator.targets.application.content import Content
from rollback_operator.targets.application.words import told

Object = dict[str, Any]

_MESSAGE = 500
"""Characters of Argo CD's own words that are repeated."""
_GOING_ON = ("Running", "Terminating")
_FAILED = ("Failed", "Error")


def annotations_of(app: Object) -> dict[str, str]:
    """The Application's annotations."""
    return app["metadata"].get("annotations") or {}


def state(app: Object) -> Object:
    """The operation that goes on, or was the last one; empty if there is none."""
    found: Object = (app.get("status") or {}).get("operationState") or {}
    return found


def key_of(operation: Object | None) -> str | None:
    """The uid of the request that asked for the operation."""
    for one in (operation or {}).get("info") or []:
        if one.get("name") == REQUEST_ANNOTATION:
            return str(one.get("value"))
    return None


def going_on(app: Object) -> bool:
    """Whether Argo CD is busy with the Application, or about to be."""
    return bool(app.get("operation")) or state(app).get("phase") in _GOING_ON


def is_ours(app: Object) -> bool:
    """Whether the operation is the one that the last rollback asked for: waiting, going on or over."""
    mark = annotations_of(app).get(REQUEST_ANNOTATION)
    operation = app.get("operation") or state(app).get("operation")
    return mark is not None and key_of(operation) == mark


def was_taken_back(app: Object) -> bool:
    """Whether what the last rollback asked for was called off before Argo CD began it: its mark is all that is left.

    An effect clears what is known of the operation before it, and whatever Argo CD does is noted there again.
    """
    return REQUEST_ANNOTATION in annotations_of(app) and not app.get("operation") and not state(app)


def can_be_called_off(app: Object) -> bool:
    """Whether the rollback's own operation waits or goes on, and was not called off yet."""
    return is_ours(app) and going_on(app) and state(app).get("phase") != "Terminating"


def failed(app: Object) -> bool:
    """Whether the last operation is over, and did not do what it should."""
    return not going_on(app) and state(app).get("phase") in _FAILED


def asked_for(app: Object) -> Content | None:
    """What the operation is to bring."""
    operation = app.get("operation") or state(app).get("operation") or {}
    return Content.of(operation.get("sync"))


def left_half_done(app: Object) -> Content | None:
    """What a whole sync was bringing that failed after it had changed something; None if that is not the last word."""
    result = state(app).get("syncResult") or {}
    sync = (state(app).get("operation") or {}).get("sync") or {}
    partial = bool(sync.get("resources")) or bool(sync.get("dryRun"))
    if not failed(app) or partial or not result.get("resources"):
        return None
    return Content.of(result)


def said(app: Object) -> str:
    """What Argo CD says of the operation, without what may be secret and not at length."""
    return told(str(state(app).get("message") or ""), _MESSAGE)
