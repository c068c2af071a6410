"""What is said of the hold of an Application, beside what all holds say (`core.hold`)."""

from __future__ import annotations

from typing import Any

from rollback_operator.api.common import Place
from rollback_operator.api.reasons import Reason
from rollback_operator.core.hold import Ends, Goes
from rollback_operator.kube import errors
from rollback_operator.targets.application.held import HOLD_ANNOTATION, is_automated

Object = dict[str, Any]
_RIGHTS = "Give the service account the rights (examples/rbac-argocd.yaml shows which)"


def called(place: Place) -> str:
    """What it is called: two namespaces may have one of the same name."""
    return f"{place[0]} {place[1]}/{place[2]}"


def not_held(place: Place, app: Object) -> Ends:
    """There is no hold, and nothing says what became of one."""
    does = "syncs by itself" if is_automated(app) else "does not sync by itself"
    return Ends(Reason.NOT_HELD, f"There is no hold on {called(place)}, which {does}.", restore=False)


def gone(place: Place) -> Ends:
    """The Application was deleted."""
    return Ends(Reason.TARGET_NOT_FOUND, f"{called(place)} is gone.", restore=False)


def illegible(place: Place) -> Goes:
    """Somebody mangled the annotation."""
    message = (
        f"The annotation {HOLD_ANNOTATION} of {called(place)} is not what the operator wrote, so "
        "nothing ends it: put spec.syncPolicy.automated back as you want it, and remove the annotation."
    )
    return Goes(Reason.CANNOT_COMPARE, message, bad=True)


def may_not_look(place: Place, error: errors.Forbidden) -> Goes:
    """Nobody who knows of the hold may read the Application any more."""
    message = (
        f"{called(place)} is held and may not be looked at any more, so the hold stays: {error}. {_RIGHTS}, or "
        f"put spec.syncPolicy.automated back by hand and remove the annotation {HOLD_ANNOTATION}."
    )
    return Goes(Reason.CANNOT_COMPARE, message, bad=True)


def cannot_end(place: Place, ends: Ends, error: errors.Forbidden | errors.Invalid) -> Goes:
    """It is time, and the API server takes the write from nobody who knows of the hold."""
    is_to_end = f"The hold of {called(place)} is to end ({ends.reason}), and"
    if isinstance(error, errors.Forbidden):
        why, mend = "nobody may write that", _RIGHTS
    else:
        why, mend = "the API server refuses that write", "Change what refuses it (an admission policy, say)"
    message = (
        f"{is_to_end} {why}: {error}. {mend}, or put spec.syncPolicy.automated back by hand and remove the annotation "
        f"{HOLD_ANNOTATION}."
    )
    return Goes(Reason.CANNOT_COMPARE, message, bad=True)


def passed_on(place: Place) -> Ends:
    """The hold is another request's now."""
    return Ends(Reason.NOT_HELD, f"A later rollback of {called(place)} took the hold over.", restore=False)
