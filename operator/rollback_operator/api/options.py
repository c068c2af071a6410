"""Options of single kinds of targets: how a rollback of that kind is made."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from rollback_operator.api.fields import Resource


class Backup(StrEnum):
    """Whether a copy of what a rollback replaces is kept."""

    ALWAYS = "Always"
    IF_ALLOWED = "IfAllowed"
    NEVER = "Never"


class StatefulSetOptions(Resource):
    """How a StatefulSet is rolled back."""

    free_stuck_pods: bool = Field(
        default=True,
        description="Delete pods of the bad revision that are not ready, once the template is back: with the pod "
        "management policy OrderedReady the StatefulSet would wait for them for ever.",
    )


class Options(Resource):
    """How a rollback is made, by the kind of target that it is about; what is said of other kinds is ignored."""

    stateful_set: StatefulSetOptions = Field(
        default=StatefulSetOptions(), description="For targets of kind StatefulSet."
    )
