"""The one write of a rollback, and the others around it: each is a whole Application with its resourceVersion."""

from __future__ import annotations

import copy
from dataclasses import replace
from datetime import datetime
from typing import Any

from rollback_operator.api import REQUEST_ANNOTATION
from rollback_operator.api.hold import HoldOrders
from rollback_operator.api.options import ApplicationOptions
from rollback_operator.core.hold import ENDED_ANNOTATION, RELEASE_ANNOTATION, Ends, ended_note
from rollback_operator.targets.application import operation
from rollback_operator.targets.application.content import Content
from rollback_operator.targets.application.held import (
    HOLD_ANNOTATION,
    Hold,
    Pieces,
    automated,
    hold_of,
    is_automated,
    pieces,
    with_bad,
    without,
)
from rollback_operator.targets.application.reading import REFRESH_ANNOTATION, deployed, left_by
from rollback_operator.targets.metadata import annotation_path

Object = dict[str, Any]


def rollback(
    app: Object,
    to: Content,
    key: str,
    *,
    options: ApplicationOptions,
    orders: HoldOrders,
    now: datetime,
    removing: bool,
) -> Object:
    """The Application as a rollback writes it: held, with the sync to `to` asked for, the last operation forgotten.

    `removing`: automation is taken out whole, where the API server does not know how to turn it off.
    """
    body = copy.deepcopy(app)
    noted = body["metadata"].setdefault("annotations", {})
    noted[REQUEST_ANNOTATION] = key
    for name in (RELEASE_ANNOTATION, ENDED_ANNOTATION):
        noted.pop(name, None)
    hold = new_hold(app, to, key, orders, now)
    if hold is not None:
        noted[HOLD_ANNOTATION] = hold.dump()
    if is_automated(app):
        _turn_off(body, removing=removing)
    body["operation"] = {
        "info": [{"name": REQUEST_ANNOTATION, "value": key}],
        "initiatedBy": {"username": "rollback-operator"},
        **_operation(app, to, options),
    }
    body.get("status", {}).pop("operationState", None)
    return body


def bringing_back(app: Object, options: ApplicationOptions) -> list[Object] | None:
    """The JSON patch that brings back what a rollback of `app` replaces; None if nobody can tell what that is.

    It asks Argo CD for a sync to what is deployed now, as the rollback asks for its own, and puts automation back as it
    is, without the hold. All else, and the history, stays. While Argo CD is at work on the Application, the API server
    refuses it: what is asked for then would get lost. A hold that is there already goes on, and is the rollback's by
    then: it knows how to end it.
    """
    left = deployed(app)
    if left is None:
        return None
    patch: list[Object] = [{"op": "test", "path": "/operation", "value": None}]
    if is_automated(app):
        hold = annotation_path(HOLD_ANNOTATION)
        patch += [
            _automation_back(app),
            {"op": "add", "path": hold, "value": ""},  # or it could not be removed if it is gone
            {"op": "remove", "path": hold},
        ]
    return [*patch, {"op": "add", "path": "/operation", "value": _operation(app, left, options)}]


def _automation_back(app: Object) -> Object:
    """What of a JSON patch puts automation back as it is.

    A policy for syncing that had nothing else is put back whole: where automation was taken out of it, Argo CD takes
    away what is left, and there would be nothing to add to.
    """
    policy = copy.deepcopy(app["spec"]["syncPolicy"])
    if any(value for name, value in policy.items() if name != "automated"):
        return {"op": "add", "path": "/spec/syncPolicy/automated", "value": policy["automated"]}
    return {"op": "add", "path": "/spec/syncPolicy", "value": policy}


def new_hold(app: Object, to: Content, key: str, orders: HoldOrders, now: datetime) -> Hold | None:
    """The hold that a rollback begins, or goes on with; None if nothing syncs by itself, so nothing has to be held.

    What was turned off is kept from the hold that is there: its original is the true one.
    """
    there = hold_of(app)
    original = automated(app) if is_automated(app) else (there.automated if there else None)
    if original is None:
        return None
    hold = Hold(
        request=key,
        since=now,
        until=orders.until,
        alert_after=orders.alert_after,
        automated=copy.deepcopy(original),
        bad=there.bad if there else (),
    )
    return replace(hold, bad=_bad(app, to, hold))


def _bad(app: Object, to: Content, hold: Hold) -> tuple[Pieces, ...]:
    """What must not come back: what was bad before, and what is left; not what somebody chose to go to now.

    If that is all that is known, it is what the sync left that failed to bring something else; or, without that, the
    content itself: a hold that knows nothing never ends.
    """
    left = left_by(app)
    bad = with_bad(hold, left) if left is not None else hold.bad
    half = deployed(app)
    return without(bad, to) or without((pieces(half),) if half is not None else (), to) or bad


def took_it_off(app: Object) -> bool:
    """Whether the Application, as the API server answered, really does not sync by itself."""
    return not is_automated(app)


def called_off(app: Object) -> Object:
    """The Application without the rollback's own operation: ended by Argo CD, or taken back if it did not begin it."""
    body = copy.deepcopy(app)
    if operation.state(app).get("phase"):
        body["status"]["operationState"]["phase"] = "Terminating"
    else:
        body.pop("operation", None)
    return body


def asking_for_a_look(app: Object) -> Object:
    """The Application with the wish that Argo CD looks at it anew."""
    body = copy.deepcopy(app)
    body["metadata"].setdefault("annotations", {})[REFRESH_ANNOTATION] = "normal"
    return body


def released(app: Object, hold: Hold, ended: Ends) -> Object:
    """The Application without the hold, and with how it ended; automation as it was, if it is to come back."""
    body = copy.deepcopy(app)
    noted = body["metadata"].setdefault("annotations", {})
    for name in (HOLD_ANNOTATION, RELEASE_ANNOTATION):
        noted.pop(name, None)
    noted[ENDED_ANNOTATION] = ended_note(ended, hold.request)
    if ended.restore:
        body["spec"].setdefault("syncPolicy", {})["automated"] = copy.deepcopy(hold.automated)
    return body


def _turn_off(body: Object, *, removing: bool) -> None:
    policy = body["spec"]["syncPolicy"]
    if removing:
        del policy["automated"]
    else:
        policy["automated"]["enabled"] = False


def _operation(app: Object, to: Content, options: ApplicationOptions) -> Object:
    policy = app["spec"].get("syncPolicy") or {}
    sync = {
        **to.body(),
        "prune": prunes(app, options),
        "syncStrategy": {"hook": {}} if options.hooks else {"apply": {}},
    }
    if policy.get("syncOptions"):
        sync["syncOptions"] = list(policy["syncOptions"])
    # With `refresh` a second try would go to whatever the branch is at: to what is rolled back.
    retry = {name: value for name, value in (policy.get("retry") or {}).items() if name != "refresh"}
    return {"sync": sync, "retry": copy.deepcopy(retry)} if retry else {"sync": sync}


def prunes(app: Object, options: ApplicationOptions) -> bool:
    """Whether what the old revision does not have is deleted: as asked, else as the automation did or would."""
    if options.prune is not None:
        return options.prune
    hold = hold_of(app)
    how = automated(app) or (hold.automated if hold else {})
    return bool(how.get("prune"))
