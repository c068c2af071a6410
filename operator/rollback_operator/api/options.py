"""Options of single kinds of targets: how a rollback of that kind is made."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from rollback_operator.api.fields import Duration, Resource


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


class ApplicationOptions(Resource):
    """How an Application of Argo CD is rolled back."""

    prune: bool | None = Field(
        default=None,
        description="Delete what the revision that is brought back does not have. Omitted: as the automated sync that "
        "is held would, else no.",
    )
    hooks: bool = Field(
        default=True, description="Run the hooks of that revision; false: apply its resources only (strategy apply)."
    )


class Force(StrEnum):
    """What Helm does about objects that it may not simply change."""

    NEVER = "Never"
    CONFLICTS = "Conflicts"
    REPLACE = "Replace"


class HelmOptions(Resource):
    """How a release of Helm is rolled back."""

    hooks: bool = Field(default=True, description="Run the chart's pre-rollback and post-rollback hooks.")
    rerun_hooks: bool = Field(
        default=False,
        description="Run the hooks again when a rollback that was interrupted after they had begun is made anew.",
    )
    cleanup_on_fail: bool = Field(
        default=False, description="Delete what a rollback that fails has created (helm's --cleanup-on-fail)."
    )
    history_max: int = Field(
        default=10,
        ge=0,
        le=10000,
        description="How many revisions Helm keeps, 0 for all (helm's --history-max). Those that are gone back to "
        "and left are kept this time.",
    )
    force: Force = Field(
        default=Force.NEVER,
        description="Conflicts: take fields from others who own them (helm's --force-conflicts); what Helm merges "
        "itself, as Helm 3 did, takes them anyway. Replace: replace whole objects instead of merging them (helm's "
        "--force-replace); refused where they are applied by the API server, as Helm 4 does.",
    )
    allow_crd_deletion: bool = Field(
        default=False,
        alias="allowCRDDeletion",
        description="Go back even if that deletes CustomResourceDefinitions, and every object of theirs with them.",
    )
    pending_after: Duration = Field(
        default="15m",
        description="How long after its last change a revision that is pending counts as somebody's work. After that "
        "it counts as left behind: it is marked as failed, and rolled back from.",
    )


class Options(Resource):
    """How a rollback is made, by the kind of target that it is about; what is said of other kinds is ignored."""

    stateful_set: StatefulSetOptions = Field(
        default=StatefulSetOptions(), description="For targets of kind StatefulSet."
    )
    application: ApplicationOptions = Field(
        default=ApplicationOptions(), description="For targets of kind Application."
    )
    helm: HelmOptions = Field(default=HelmOptions(), description="For targets of kind Helm.")
