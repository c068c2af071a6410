"""`RollbackRequest`: one rollback, asked for by a person or by a policy, and what became of it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, field_validator
from pydantic.alias_generators import to_camel

from rollback_operator.api.common import CONDITIONS, MAX_TARGET, Condition, TargetRef, revision_as_text, revision_field
from rollback_operator.api.fields import (
    FINGERPRINT,
    Duration,
    MicroTime,
    Resource,
    ServiceAccountName,
    object_name,
    rule,
    rules,
)
from rollback_operator.api.hold import HoldOrders
from rollback_operator.api.options import Backup, Options
from rollback_operator.api.owner import OwnerRule, Suspension
from rollback_operator.api.remember import MAX_OBJECTS

IMMUTABLE = (
    "target",
    "targets",
    "policyRef",
    "from",
    "to",
    "reason",
    "dryRun",
    "grace",
    "timeout",
    "serviceAccountName",
    "options",
    "hold",
    "owner",
    "backup",
)
MAX_DIFF_BYTES = 32 * 1024
MAX_REASON = 512
MAX_AFFECTED = 256
"""Objects that a plan names beside its target."""
MAX_AFFECTED_NAME = 384
"""Characters of each: a kind, a namespace and a name, each as long as it may be."""
MAX_TARGETS = 16
"""Targets of a group."""
MAX_MESSAGE = 1024
"""Characters of what is said of one target of a group."""


class Phase(StrEnum):
    """Where a request is in its life. The last four are final."""

    PENDING = "Pending"
    AWAITING_APPROVAL = "AwaitingApproval"
    RUNNING = "Running"
    VERIFYING = "Verifying"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    SUPERSEDED = "Superseded"
    ABORTED = "Aborted"

    @property
    def final(self) -> bool:
        """Whether the request has ended."""
        return self in FINAL


FINAL = frozenset({Phase.SUCCEEDED, Phase.FAILED, Phase.SUPERSEDED, Phase.ABORTED})


class PolicyRef(Resource):
    """The policy whose target and settings a request takes."""

    name: Annotated[str, object_name("policy", "checkout")] = Field(
        description="Name of a RollbackPolicy in the request's namespace."
    )
    uid: str | None = Field(
        default=None, max_length=64, description="UID of the policy, when it made the request itself."
    )


class Member(Resource):
    """One target of a group, and when its turn is."""

    target: TargetRef = Field(description="What to roll back, in the request's own namespace.")
    to: Annotated[
        str | None,
        revision_field(
            'The revision to go back to: a number as `kubectl rollout history` shows it ("3"), Previous, '
            "LastKnownGood, or a fingerprint (v1:...). Omitted: Previous."
        ),
    ] = None
    wave: int = Field(
        default=0,
        ge=0,
        le=15,
        description="When its turn is: waves are rolled back one after the other, the lowest number first, each when "
        "the one before is verified; targets of one wave at the same time.",
    )
    service_account_name: ServiceAccountName | None = Field(
        default=None, description="Service account that this target is rolled back as. Omitted: the request's."
    )

    @field_validator("to", mode="before")
    @classmethod
    def _number_as_text(cls, value: Any) -> Any:
        return revision_as_text(value)


def _frozen(field: str) -> dict[str, str]:
    return rule(
        f"has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) || self.{field} == oldSelf.{field})",
        f"{field} cannot be changed, added or removed: a request is one rollback. "
        "Write a new RollbackRequest; to stop this one, set abort: true",
    )


_SPEC_RULES = rules(
    rule(
        "has(self.target) || has(self.targets) || has(self.policyRef)",
        "say what to roll back: write target: {kind: Deployment, name: NAME}, or policyRef: {name: POLICY}, "
        "or a list of targets",
    ),
    rule(
        "!(has(self.target) && has(self.policyRef))",
        "write either target or policyRef, not both: a policy already names its target",
    ),
    rule(
        "!(has(self.targets) && (has(self.target) || has(self.policyRef)))",
        "write only one of target, targets and policyRef: what is rolled back is named in one place",
    ),
    rule(
        "!(has(self.targets) && (has(self.to) || has(self.from)))",
        "revisions are those of one target: with targets, write to in each of them, and no from",
    ),
    rule(
        f"has(self.reason) && self.reason.trim().size() > 0 && self.reason.size() <= {MAX_REASON}",
        f'write a reason of 1 to {MAX_REASON} characters, such as "5xx after the 14:02 release": '
        "it is what people find here afterwards",
    ),
    *(_frozen(field) for field in IMMUTABLE),
    rule("!oldSelf.approve || self.approve", "approve cannot be taken back: to stop the request, set abort: true"),
    rule("!oldSelf.abort || self.abort", "abort cannot be taken back: write a new RollbackRequest"),
)


class RequestSpec(Resource):
    """What is asked for. Nothing of it can be changed afterwards but `abort` and `approve`."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore", json_schema_extra=_SPEC_RULES
    )

    target: TargetRef | None = Field(
        default=None,
        description="What to roll back, in the request's own namespace, or an Application in any. Give this or "
        "policyRef, not both.",
    )
    targets: Annotated[tuple[Member, ...], Field(max_length=MAX_TARGETS)] | None = Field(
        default=None,
        description="Several targets that are rolled back as a group, in waves: each by a request of its own, which "
        "the operator makes when its wave comes. If one is not verified, later waves are not begun. Give this or "
        "target or policyRef.",
        json_schema_extra=rules(
            rule("self.size() > 0", "list what to roll back: at least one entry with target: {kind, name}"),
            rule(
                "self.all(one, self.exists_one(other, other.target == one.target))",
                "write each target once: a request rolls back what it names once",
            ),
        ),
    )
    policy_ref: PolicyRef | None = Field(
        default=None,
        description="A RollbackPolicy in the request's namespace; its target, to, verify and serviceAccountName apply.",
    )
    from_: Annotated[str, Field(max_length=80)] | None = Field(
        default=None,
        alias="from",
        description="Fingerprint (v1:...) of what is to be rolled back, as a policy saw it. If something else runs by "
        "then, nothing is done. Omitted: whatever runs.",
        json_schema_extra=rules(
            rule(
                f"self.matches('^{FINGERPRINT}$')",
                "write a fingerprint as a policy's status.current shows it: v1: and 64 hexadecimal digits",
            )
        ),
    )
    to: Annotated[
        str | None,
        revision_field(
            'The revision to go back to: a number as `kubectl rollout history` shows it ("3"), Previous, '
            "LastKnownGood, or a fingerprint (v1:...). Omitted: what the policy says, else Previous: the newest "
            "earlier revision that differs from the current one and was not itself rolled back from."
        ),
    ] = None
    reason: str | None = Field(
        default=None,
        max_length=4096,
        description="Why, in a sentence of 1 to 512 characters, for the people who read this afterwards. Required.",
    )
    dry_run: bool = Field(
        default=False,
        description="Plan, show the difference, ask the API server to try it (as the service account), touch nothing.",
    )
    grace: Duration | None = Field(
        default=None,
        description="How long after its creation the request waits for people: approve: true lets it run at once, "
        "abort: true vetoes it.",
    )
    approve: bool = Field(default=False, description="Set to true to let the request run before its grace is over.")
    timeout: Duration = Field(
        default="10m",
        description="How long the rollback may take once it may run, verification included; such as 90s or 10m.",
    )
    service_account_name: ServiceAccountName | None = Field(
        default=None,
        description="Service account in the request's namespace with whose rights everything is done. "
        "Omitted: the policy's, else the operator's setting (rollback).",
    )
    options: Options | None = Field(
        default=None, description="How it is done, by the kind of target. Omitted: as the policy says."
    )
    hold: HoldOrders | None = Field(
        default=None,
        description="How long automation (of an Argo CD Application, or of Flux that was suspended) is kept off "
        "afterwards, so that what is rolled back from does not come back. Omitted: as the policy says, else until Git "
        "brings something else.",
    )
    owner: OwnerRule | None = Field(
        default=None,
        description="What follows when Argo CD, Flux or Helm manages the target. Refuse: nothing is done, and the "
        "owner is named; Through: the owner is rolled back instead, or suspended first (Flux); Ignore: the target "
        "itself is rolled back, whatever the owner makes of it. Omitted: as the policy says, else Refuse.",
    )
    backup: Backup | None = Field(
        default=None,
        description="Whether a copy of what is replaced is kept in a Secret before anything is changed: IfAllowed: "
        "unless the service account may not create Secrets; Always: without one nothing is done; Never. Omitted: as "
        "the policy says, else IfAllowed.",
    )
    abort: bool = Field(
        default=False,
        description="Set to true to stop the request: before its effect nothing is changed, after it nothing more is "
        "done. It does not undo.",
    )

    @field_validator("to", mode="before")
    @classmethod
    def _number_as_text(cls, value: Any) -> Any:
        return revision_as_text(value)


class RevisionRef(Resource):
    """One state of a target."""

    revision: str = Field(max_length=80, description="Number that kubectl, Helm or Argo CD gives the revision.")
    fingerprint: str = Field(
        max_length=80,
        description="What the revision is: a digest of its pod template (of chart and values, or of what Git has); "
        "behind a + of its configuration.",
    )


class KeptCopy(Resource):
    """A copy of what a plan replaces."""

    secret: str = Field(max_length=253, description="Name of the Secret, in the request's namespace.")
    path: str | None = Field(
        default=None, max_length=640, description="Where the API server takes it, if it is one object."
    )
    command: str | None = Field(
        default=None,
        max_length=1024,
        description="The command that brings the target back; missing: it is replaced by the copy.",
    )
    reads: str | None = Field(
        default=None, max_length=32, description="The Secret's key whose content the command is given, if it takes any."
    )
    required: bool = Field(default=False, description="Without it nothing is done.")
    configuration: bool = Field(
        default=False, description="It also keeps the configuration that is replaced, under a key of its own."
    )


class PutBack(Resource):
    """An object that is put back as a policy remembered it."""

    kind: str = Field(max_length=32, description="ConfigMap, Secret, Service or Ingress.")
    name: str = Field(max_length=253, description="Its name, in the request's namespace.")
    secret: str = Field(max_length=253, description="Name of the Secret that keeps it as it was.")
    resource_version: str | None = Field(
        default=None,
        max_length=64,
        description="The version that is replaced, and no other; missing: it is gone, and is made anew.",
    )

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


class Restoration(Resource):
    """The configuration that goes back with a target."""

    policy_uid: str = Field(max_length=64, description="UID of the policy that remembered it.")
    restart: bool = Field(
        default=False, description="All pods are started anew, because they read configuration when they start."
    )
    objects: tuple[PutBack, ...] = Field(
        default=(), max_length=MAX_OBJECTS, description="What is put back, before the target itself is changed."
    )


_PLAN_RULES = rules(rule("self == oldSelf", "a plan is written once and never changed"))


class Plan(Resource):
    """What a request will do, written down before it does it, and frozen."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore", json_schema_extra=_PLAN_RULES
    )

    digest: str = Field(max_length=80, description="Digest of the rest of the plan.")
    uid: str = Field(max_length=64, description="UID of the target the plan was made for; no other is touched.")
    from_: RevisionRef = Field(
        alias="from", description="The revision that is left; if it is no longer current, nothing is done."
    )
    to: RevisionRef = Field(description="The revision that is brought back.")
    steps: tuple[Annotated[str, Field(max_length=256)], ...] = Field(
        max_length=16, description="The effects, in order, as sentences."
    )
    diff: str = Field(
        max_length=MAX_DIFF_BYTES,
        description="What changes, as a unified diff. Values of env variables, annotations, Secrets and remembered "
        "configuration appear as digests.",
    )
    notes: tuple[Annotated[str, Field(max_length=1024)], ...] = Field(
        default=(), max_length=16, description="What the reader should know, such as what could not be checked."
    )
    service_account_name: str = Field(
        max_length=253, description="Service account with whose rights the plan is carried out."
    )
    verify_timeout: str | None = Field(
        default=None, max_length=32, description="How long verification may take after the effect (the policy's)."
    )
    verify_triggers: tuple[Annotated[str, Field(max_length=63)], ...] = Field(
        default=(), max_length=16, description="Triggers of the policy that have to be Healthy again after the effect."
    )
    options: Options | None = Field(default=None, description="How it is done, where something was said of it.")
    hold: HoldOrders | None = Field(default=None, description="How long it is held, where something was said of it.")
    suspends: tuple[Suspension, ...] = Field(
        default=(), max_length=4, description="Flux objects that are suspended before the effect, and stay so."
    )
    frees: bool | None = Field(
        default=None,
        description="The target has the template of `to` already: all that is done is to delete pods of other "
        "revisions, such as `from`, that are not ready and keep it from rolling out.",
    )
    backup: KeptCopy | None = Field(
        default=None, description="The copy of what is replaced; none is kept if this is missing."
    )
    configuration: Restoration | None = Field(
        default=None, description="The configuration that is put back, where a policy remembers it."
    )
    affected: (
        Annotated[tuple[Annotated[str, Field(max_length=MAX_AFFECTED_NAME)], ...], Field(max_length=MAX_AFFECTED)]
        | None
    ) = Field(
        default=None,
        description="The objects that the target consists of, and those that nothing updates while what is suspended "
        "is; one name each. If there are more than fit, a note says how many.",
    )

    @property
    def expects(self) -> RevisionRef:
        """What has to stand for the effect to be made."""
        return self.to if self.frees else self.from_


class StepState(StrEnum):
    """How far one effect of a plan is."""

    PENDING = "Pending"
    RUNNING = "Running"
    DONE = "Done"
    NOT_MADE = "NotMade"
    UNKNOWN = "Unknown"


class Step(Resource):
    """One effect of a plan and when it happened."""

    name: str = Field(max_length=64, description="Name of the step.")
    state: StepState = Field(
        description="Pending, Running, then Done; NotMade if the request ended first, Unknown if nobody can tell."
    )
    attempts: int = Field(default=1, description="How often the effect was sent; it is made at most once all the same.")
    started_at: MicroTime | None = Field(default=None, description="When the step was begun.")
    last_attempt_at: MicroTime | None = Field(default=None, description="When the effect was last sent.")
    finished_at: MicroTime | None = Field(default=None, description="When its effect was seen on the target.")
    message: str | None = Field(default=None, max_length=1024, description="What the step did.")


_TARGET_RULES = rules(
    rule("!has(oldSelf.plan) || has(self.plan)", "a plan is written once and never removed"),
)


class TargetStatus(Resource):
    """What happened to one target."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore", json_schema_extra=_TARGET_RULES
    )

    target: str = Field(max_length=MAX_TARGET, description="The target, as KIND/NAME.")
    from_: str | None = Field(default=None, alias="from", max_length=80, description="Revision that is left.")
    to: str | None = Field(default=None, max_length=80, description="Revision that is brought back.")
    phase: Phase = Field(description="Where this target is.")
    plan: Plan | None = Field(default=None, description="What is done, written before it is done.")
    steps: tuple[Step, ...] = Field(default=(), max_length=16, description="The effects and when they happened.")
    generation: int | None = Field(default=None, description="Generation of the target that carries the effect.")
    owner: str | None = Field(
        default=None,
        max_length=MAX_TARGET,
        description="In a group: what manages the target and is rolled back instead of it (owner: Through), as "
        "KIND/NAME; revisions and the fingerprint are then those of the owner.",
    )
    request: str | None = Field(
        default=None, max_length=253, description="In a group: the RollbackRequest that rolls this target back."
    )
    fingerprint: str | None = Field(
        default=None,
        max_length=80,
        description="In a group: what ran when the group was taken up; if something else runs by the time it would be "
        "rolled back, it is left alone.",
    )
    message: str | None = Field(
        default=None, max_length=MAX_MESSAGE, description="In a group: what became of this target, in a sentence."
    )
    restore: str | None = Field(
        default=None,
        max_length=2048,
        description="The command that puts back what was replaced, as long as the copy is kept.",
    )


_FINAL_PHASES = "[" + ", ".join(f"'{phase}'" for phase in Phase if phase in FINAL) + "]"
_STATUS_RULES = rules(
    rule(
        f"!has(oldSelf.phase) || !(oldSelf.phase in {_FINAL_PHASES}) "
        "|| (has(self.phase) && self.phase == oldSelf.phase)",
        "a request that has ended stays as it ended: write a new RollbackRequest",
    ),
    rule(
        "!has(oldSelf.targets) || (has(self.targets) && "
        "oldSelf.targets.all(old, !has(old.plan) || self.targets.exists(new, new.target == old.target)))",
        "a target whose plan is written stays in the status",
    ),
)


class RequestStatus(Resource):
    """What happened. Written by the operator only."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore", json_schema_extra=_STATUS_RULES
    )

    phase: Phase | None = Field(
        default=None,
        description="Pending, AwaitingApproval, Running, Verifying, then Succeeded, Failed, Superseded or Aborted.",
    )
    conditions: tuple[Condition, ...] = Field(
        default=(),
        json_schema_extra=CONDITIONS,
        description="Planned, Applied, Verified and Ready (the summary); Held while something is held off; Reconciling "
        "and Stalled for kstatus.",
    )
    target: str | None = Field(
        default=None, max_length=MAX_TARGET, description="The target, as KIND/NAME; of a group, how many there are."
    )
    from_: str | None = Field(
        default=None,
        alias="from",
        max_length=80,
        description="Revision that is left; of a group, those of its targets.",
    )
    to: str | None = Field(
        default=None, max_length=80, description="Revision that is brought back; of a group, those of its targets."
    )
    targets: tuple[TargetStatus, ...] = Field(
        default=(),
        max_length=MAX_TARGETS,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["target"]},
        description="Plan and progress of each target.",
    )
    started_at: MicroTime | None = Field(
        default=None, description="When the request was allowed to run; its timeout counts from here."
    )
    finished_at: MicroTime | None = Field(default=None, description="When the request ended.")
    duration: str | None = Field(default=None, max_length=32, description="From startedAt to finishedAt.")
    observed_generation: int = Field(default=-1, description="Generation of the spec that this status is about.")


_ROOT_RULES = rules(
    rule(
        f"!has(oldSelf.status) || !has(oldSelf.status.phase) || !(oldSelf.status.phase in {_FINAL_PHASES}) "
        "|| !has(oldSelf.spec.abort) || self.spec.abort == oldSelf.spec.abort",
        "the request has ended, there is nothing left to abort",
        fieldPath=".spec.abort",
    ),
)


class RollbackRequest(Resource):
    """One rollback of one target. It takes effect once, is verified, and keeps the evidence in its status."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore", json_schema_extra=_ROOT_RULES
    )

    kind: Literal["RollbackRequest"] = "RollbackRequest"
    spec: RequestSpec = Field(description="What is asked for. Immutable but for abort and approve.")
    status: RequestStatus = Field(default=RequestStatus(), description="What happened.")
