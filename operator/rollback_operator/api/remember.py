"""What a policy remembers beside revisions: the configuration that ran with them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from rollback_operator.api.fields import MicroTime, Resource, object_name

MAX_REMEMBERED = 10
"""Revisions, each with its configuration."""
MAX_OBJECTS = 32
"""Objects of one revision."""
MAX_NUMBERS = 5
"""Earlier numbers of one revision."""


class AlsoRemembered(Resource):
    """An object that belongs to the target although its pods do not refer to it."""

    kind: Literal["Service", "Ingress"] = Field(description="Service or Ingress.")
    name: Annotated[str, object_name("object", "checkout")] = Field(description="Its name, in the policy's namespace.")


class LeftOut(Resource):
    """An object that pods refer to and that is not a part of releases."""

    kind: Literal["ConfigMap", "Secret"] = Field(description="ConfigMap or Secret.")
    name: Annotated[str, object_name("object", "checkout-tls")] = Field(
        description="Its name, in the policy's namespace."
    )


class Remember(Resource):
    """What is remembered with each revision."""

    config: bool = Field(
        default=False,
        description="The ConfigMaps and Secrets that the pod template refers to, optional references included. "
        "Immutable ones, and those whose names end in a hash of their content (kustomize), are kept to be made anew "
        "where they are gone; they make no release of their own, for another content has another name. Left out are "
        "imagePullSecrets: they are renewed by themselves, and no program reads them.",
    )
    without: tuple[LeftOut, ...] = Field(
        default=(),
        max_length=16,
        description="ConfigMaps and Secrets that are left out: what something renews by itself (certificates, rotated "
        "passwords) is no release, and must not be put back.",
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

    fingerprint: str = Field(max_length=80, description="What its pod template is.")
    release: str | None = Field(
        default=None,
        max_length=80,
        description="Fingerprint of both together, where it is not that of the template: with another configuration "
        "than its first, a template is another revision.",
    )
    revision: str = Field(max_length=80, description="Number that it had last.")
    earlier: tuple[Annotated[str, Field(max_length=80)], ...] = Field(
        default=(), max_length=MAX_NUMBERS, description="Numbers that it had before."
    )
    config: str = Field(max_length=80, description="Digest of the configuration.")
    at: MicroTime = Field(description="Since when the two stood together, as far as that can be told.")
    again: bool = Field(default=False, description="They stood together before, and something else came in between.")
    objects: tuple[RememberedObject, ...] = Field(default=(), max_length=MAX_OBJECTS, description="Where each is kept.")
    fixed: Annotated[tuple[RememberedObject, ...], Field(max_length=MAX_OBJECTS)] | None = Field(
        default=None,
        description="Where those are kept that cannot change under their name, to be made anew if they are gone. "
        "Missing: an earlier version of the operator remembered it, without them and without optional references.",
    )

    @property
    def identity(self) -> str:
        """Fingerprint of both together."""
        return self.release or self.fingerprint

    @property
    def kept(self) -> tuple[RememberedObject, ...]:
        """Everything that is kept of it."""
        return (*self.objects, *(self.fixed or ()))
