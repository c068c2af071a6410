"""`RollbackPolicy`: standing orders for one target."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, field_validator
from pydantic.alias_generators import to_camel

from rollback_operator.api.common import CONDITIONS, MAX_TARGET, Condition, TargetRef, revision_field
from rollback_operator.api.fields import (
    FINGERPRINT,
    Duration,
    MicroTime,
    Resource,
    ServiceAccountName,
    rule,
    rules,
)
from rollback_operator.api.hold import HoldOrders
from rollback_operator.api.options import Backup, Options
from rollback_operator.api.owner import OwnerRule
from rollback_operator.api.remember import MAX_REMEMBERED, Remember, Remembered
from rollback_operator.api.trigger import PrometheusServer, Trigger

MAX_LEDGER = 50
MAX_TRIGGERS = 16
_BY_NAME: dict[str, Any] = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}


class Mode(StrEnum):
    """How far a policy goes."""

    ENFORCE = "Enforce"
    OBSERVE = "Observe"
    SUSPEND = "Suspend"


class Proof(StrEnum):
    """What a release proved to be."""

    GOOD = "Good"
    BAD = "Bad"


Fingerprint = Annotated[
    str,
    Field(
        max_length=80,
        json_schema_extra=rules(
            rule(
                f"self.matches('^{FINGERPRINT}$')",
                "write a fingerprint as status.current or status.ledger shows it: v1: and 64 hexadecimal digits",
            )
        ),
    ),
]


class Correction(Resource):
    """What people know better than the operator."""

    fingerprint: Fingerprint = Field(description="Which release, as status.current or status.ledger shows it.")
    verdict: Proof = Field(description="Good: may be gone back to, and is not held. Bad: is never gone back to.")
    reason: str = Field(default="", max_length=512, description="Why, for the people who read this afterwards.")


class Watch(Resource):
    """When a change of the target counts as the cause of what is seen."""

    within: Duration = Field(
        default="1h", description="Only what begins this soon after a change can have been caused by it."
    )


class Breaker(Resource):
    """Keeps the policy from rolling back again and again."""

    limit: Annotated[int, Field(ge=1, le=20)] = Field(
        default=2, description="How many rollbacks of this policy may happen within the window."
    )
    window: Duration = Field(
        default="1h",
        description="The time in which they are counted. A new release that proves good begins the count anew.",
    )


class Verify(Resource):
    """When a rollback counts as verified."""

    timeout: Duration = Field(
        default="5m", description="How long the target may take, after the effect, to be rolled out and healthy."
    )
    triggers: tuple[Annotated[str, Field(max_length=63)], ...] = Field(
        default=(),
        max_length=MAX_TRIGGERS,
        description="Names of triggers that have to be Healthy again before the rollback counts as verified.",
    )


_SPEC_RULES = rules(
    rule(
        "!has(self.verify) || !has(self.verify.triggers) || "
        "self.verify.triggers.all(n, has(self.triggers) && self.triggers.exists(t, t.name == n))",
        "verify.triggers names a trigger that is not in triggers",
        fieldPath=".verify",
    ),
    rule(
        "!(self.target.kind in ['StatefulSet', 'DaemonSet']) || !has(self.triggers) || "
        "self.triggers.all(t, !has(t.rollout))",
        "a StatefulSet or DaemonSet has no progress deadline, so a rollout trigger would never fire: write "
        'pods: {notReady: "> 0"} instead',
        fieldPath=".triggers",
    ),
)


class PolicySpec(Resource):
    """Standing orders: what is watched, when it is bad, and what follows."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore", json_schema_extra=_SPEC_RULES
    )

    target: TargetRef = Field(
        description="What is rolled back, in the policy's own namespace, or an Application in any."
    )
    mode: Mode = Field(
        default=Mode.ENFORCE,
        description="Enforce; Observe: only record what would have been done; Suspend: ask nothing and do nothing.",
    )
    prometheus: PrometheusServer | None = Field(
        default=None, description="The Prometheus that triggers ask. Omitted: the operator's setting."
    )
    triggers: tuple[Trigger, ...] = Field(
        default=(),
        max_length=MAX_TRIGGERS,
        json_schema_extra=_BY_NAME,
        description="What is asked, when an answer is bad, and what follows. Without any, the policy only lends its "
        "settings to requests that name it.",
    )
    watch: Watch = Field(default=Watch(), description="When a change of the target counts as the cause.")
    to: Annotated[
        str,
        revision_field(
            'Where to go back to: LastKnownGood, Previous, a revision number ("3") or a fingerprint (v1:...). '
            "Until something has proved good, LastKnownGood means Previous.",
            default="LastKnownGood",
        ),
    ] = "LastKnownGood"
    soak: Duration = Field(
        default="10m", description="How long all triggers have to be Healthy before a release counts as good."
    )
    ledger: tuple[Correction, ...] = Field(
        default=(),
        max_length=MAX_LEDGER,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["fingerprint"]},
        description="Corrections of status.ledger: what people know better.",
    )
    on_return: Literal["Alert", "Rollback"] = Field(
        default="Alert", description="What follows when a release that proved bad is back: Alert, or Rollback at once."
    )
    breaker: Breaker = Field(default=Breaker(), description="Keeps the policy from rolling back again and again.")
    verify: Verify = Field(default=Verify(), description="When a rollback counts as verified.")
    on_verify_failure: Literal["Stop", "NextGood"] = Field(
        default="Stop",
        description="What follows when the revision that was brought back is not well either: Stop, or NextGood: go on "
        "to the next older one that proved good.",
    )
    options: Options | None = Field(default=None, description="How a rollback is made, by the kind of target.")
    hold: HoldOrders | None = Field(
        default=None,
        description="How long automation (of an Argo CD Application, or of Flux that was suspended) is kept off after "
        "a rollback. Omitted: until Git brings something else than what was rolled back from.",
    )
    owner: OwnerRule = Field(
        default=OwnerRule.REFUSE,
        description="What follows when Argo CD, Flux or Helm manages the target. Refuse: nothing is done, and the "
        "owner is named; Through: Flux is suspended first, and what Helm or Argo CD made is rolled back by a policy "
        "for that; Ignore: the target itself is rolled back, whatever the owner makes of it.",
    )
    backup: Backup = Field(
        default=Backup.IF_ALLOWED,
        description="Whether a copy of what a rollback replaces is kept in a Secret before anything is changed: "
        "IfAllowed: unless the service account may not create Secrets; Always: without one nothing is done; Never.",
    )
    remember: Remember | None = Field(
        default=None,
        description="What is remembered with each revision beside its pod template. Only a policy with triggers does.",
    )
    service_account_name: ServiceAccountName | None = Field(
        default=None,
        description="Service account in the policy's namespace with whose rights rollbacks run, and Secrets are read. "
        "Omitted: the operator's setting (rollback).",
    )
    history_limit: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=20,
        description="How many finished requests of this policy are kept; the oldest are deleted first. Those that the "
        "breaker still counts, and those that hold something (condition Held), are kept besides.",
    )

    @field_validator("to", mode="before")
    @classmethod
    def _number_as_text(cls, value: Any) -> Any:
        return str(value) if isinstance(value, int) else value


class TriggerStatus(Resource):
    """What a trigger says. Written when its verdict changes."""

    name: str = Field(max_length=63, description="Name of the trigger.")
    verdict: Literal["Healthy", "Breach", "Unknown"] = Field(
        description="Healthy, Breach or Unknown: the newest answer."
    )
    firing: bool = Field(default=False, description="Whether it has been in Breach for long enough.")
    value: str | None = Field(default=None, max_length=64, description="The value when the verdict changed.")
    since: MicroTime = Field(description="When the verdict changed.")
    message: str | None = Field(default=None, max_length=1024, description="What was seen then.")
    excused: bool = Field(
        default=False,
        description="It was bad before the current revision came, which is not blamed until it was Healthy once.",
    )


class CurrentRevision(Resource):
    """What runs now."""

    uid: str = Field(max_length=64, description="UID of the target.")
    revision: str = Field(max_length=80, description="Number that kubectl, Helm or Argo CD gives the revision.")
    fingerprint: str = Field(
        max_length=80,
        description="What the revision is: a digest of its pod template (of chart and values, or of what Git has); "
        "behind a + of its configuration, if that is remembered and not the first that ran with the template.",
    )
    since: MicroTime = Field(description="When the target changed to it.")
    estimated: bool = Field(default=False, description="since is when it was first seen: nothing tells better.")
    rollback: bool = Field(default=False, description="It is a return to an earlier revision, whoever made it.")


class Entry(Resource):
    """What one release proved to be."""

    fingerprint: str = Field(max_length=80, description="Which release.")
    revision: str = Field(max_length=80, description="Number that it had then.")
    verdict: Proof = Field(description="Good or Bad.")
    at: MicroTime = Field(description="When that was found.")
    reason: str = Field(max_length=512, description="Why.")


class RevisionName(Resource):
    """A release that can be gone back to."""

    revision: str = Field(max_length=80, description="Number that kubectl, Helm or Argo CD gives it.")
    fingerprint: str = Field(max_length=80, description="What it is.")


class LastRequest(Resource):
    """The newest request that this policy made."""

    name: str = Field(max_length=253, description="Name of the RollbackRequest.")
    at: MicroTime = Field(description="When it was made.")


class PolicyStatus(Resource):
    """What the operator makes of the policy. Written only when something changes."""

    conditions: tuple[Condition, ...] = Field(
        default=(),
        json_schema_extra=CONDITIONS,
        description="Ready: accepted and evaluated. Armed: a rollback would be possible now. Alert: people are needed.",
    )
    target: str | None = Field(default=None, max_length=MAX_TARGET, description="The target, as KIND/NAME.")
    verdict: Literal["Healthy", "Breach", "Unknown"] | None = Field(
        default=None, description="The worst of the triggers' verdicts."
    )
    current: CurrentRevision | None = Field(default=None, description="What runs now.")
    last_known_good: RevisionName | None = Field(default=None, description="The newest release that proved good.")
    ledger: tuple[Entry, ...] = Field(
        default=(),
        max_length=MAX_LEDGER,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["fingerprint"]},
        description="What releases proved to be, the newest last.",
    )
    triggers: tuple[TriggerStatus, ...] = Field(
        default=(), max_length=MAX_TRIGGERS, json_schema_extra=_BY_NAME, description="What each trigger says."
    )
    remembered: tuple[Remembered, ...] = Field(
        default=(),
        max_length=MAX_REMEMBERED,
        description="Revisions with the configuration that ran with them, the newest last.",
    )
    last_request: LastRequest | None = Field(default=None, description="The newest request that this policy made.")
    observed_generation: int = Field(default=-1, description="Generation of the spec that this status is about.")


class RollbackPolicy(Resource):
    """Standing orders for one target: what is watched, when it is bad, and where it goes back to."""

    kind: Literal["RollbackPolicy"] = "RollbackPolicy"
    spec: PolicySpec = Field(description="The orders.")
    status: PolicyStatus = Field(default=PolicyStatus(), description="What the operator makes of them.")
