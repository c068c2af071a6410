"""What a policy remembers beside revisions: the configuration that ran with them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from rollback_operator.api.fields import MicroTime, Resource, object_name

MAX_REMEMBERED = 10
"""Revisions, each with its configuration."""
MAX_OBJECTS = 32
"""Objects of one revision."""


class AlsoRemembered(Resource):
    """An object that belongs to the target although its pods do not refer to it."""

    kind: Literal["Service", "Ingress"] = Field(description="Service or Ingress.")
    name: Annotated[str, object_name("object", "checkout")] = Field(description="Its name, in the policy's namespace.")


class Remember(Resource):
    """What is remembered with each revision."""

    config: bool = Field(
        default=False,
        description="The ConfigMaps and Secrets that the pod template refers to. Immutable ones, and those whose names "
        "end in a hash of their content (kustomize), need not be: another content has another name.",
    )
    also: tuple[AlsoRemembered, ...] = Field(
        default=(), max_length=16, description="Services and Ingresses that are remembered as well."
    )


class RememberedObject(Resource):
    """One object as it was."""

    kind: str = Field(max_length=32, description="ConfigMap, Secret, Service or Ingress.")
    name: str = Field(max_length=253, description="Its name.")
    secret: str = Field(max_length=253, description="Name of the Secret that holds it; the same content has the same.")


class Remembered(Resource):
    """The configuration that ran with a revision."""

    fingerprint: str = Field(max_length=80, description="What the revision is.")
    revision: str = Field(max_length=80, description="Number that it had then.")
    config: str = Field(max_length=80, description="Digest of the configuration.")
    at: MicroTime = Field(description="When the two were first seen together.")
    objects: tuple[RememberedObject, ...] = Field(default=(), max_length=MAX_OBJECTS, description="Where each is kept.")
