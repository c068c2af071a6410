"""`RollbackPolicy`: standing orders for one target."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from rollback_operator.api.common import CONDITIONS, Condition, TargetRef, revision_field
from rollback_operator.api.fields import Duration, Resource, ServiceAccountName


class Verify(Resource):
    """When a rollback counts as verified."""

    timeout: Duration = Field(
        default="5m", description="How long the target may take, after the effect, to be rolled out and healthy."
    )


class PolicySpec(Resource):
    """Standing orders: what a request that names this policy takes from it."""

    target: TargetRef = Field(description="What is rolled back, in the policy's own namespace.")
    to: Annotated[
        str,
        revision_field(
            'Where to go back to: LastKnownGood, Previous, a revision number ("3") or a fingerprint (v1:...). '
            "Until something has proved good, LastKnownGood means Previous.",
            default="LastKnownGood",
        ),
    ] = "LastKnownGood"
    verify: Verify = Field(default=Verify(), description="When a rollback counts as verified.")
    service_account_name: ServiceAccountName | None = Field(
        default=None,
        description="Service account in the policy's namespace with whose rights rollbacks run. "
        "Omitted: the operator's setting (rollback).",
    )
    history_limit: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=20, description="How many finished requests of this policy are kept; the oldest are deleted first."
    )

    @field_validator("to", mode="before")
    @classmethod
    def _number_as_text(cls, value: Any) -> Any:
        return str(value) if isinstance(value, int) else value


class PolicyStatus(Resource):
    """What the operator makes of the policy. Written only when something changes."""

    conditions: tuple[Condition, ...] = Field(
        default=(), json_schema_extra=CONDITIONS, description="Ready: the policy is accepted and requests can use it."
    )
    target: str | None = Field(default=None, max_length=320, description="The target, as KIND/NAME.")
    observed_generation: int = Field(default=-1, description="Generation of the spec that this status is about.")


class RollbackPolicy(Resource):
    """Standing orders for one target: what a request that names this policy does."""

    kind: Literal["RollbackPolicy"] = "RollbackPolicy"
    spec: PolicySpec = Field(description="The orders.")
    status: PolicyStatus = Field(default=PolicyStatus(), description="What the operator makes of them.")
