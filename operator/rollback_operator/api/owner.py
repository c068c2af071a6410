"""What follows when something else manages a target."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from rollback_operator.api.fields import Resource


class OwnerRule(StrEnum):
    """What a request does about a target that Argo CD, Flux or Helm manages."""

    REFUSE = "Refuse"
    THROUGH = "Through"
    IGNORE = "Ignore"


class Suspension(Resource):
    """A Flux object that is suspended for a rollback, before its effect."""

    kind: str = Field(max_length=32, description="HelmRelease or Kustomization.")
    namespace: str = Field(max_length=63, description="Its namespace.")
    name: str = Field(max_length=253, description="Its name.")
    uid: str = Field(max_length=64, description="UID of the object that was looked at; no other is suspended.")
    was: bool | None = Field(
        default=None, description="Its spec.suspend before, which resuming it restores; omitted: there was none."
    )
    revision: str | None = Field(
        default=None, max_length=512, description="Revision of its source that it had applied last."
    )
    content: str | None = Field(
        default=None, max_length=80, description="Digest of what its spec says of what it applies."
    )
