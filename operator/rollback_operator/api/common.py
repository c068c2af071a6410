"""What both resources hold: the target, the revision asked for, conditions."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, WithJsonSchema
from pydantic.alias_generators import to_camel

from rollback_operator.api.fields import FINGERPRINT, Resource, Time, object_name, rule, rules

TargetKind = Literal["Deployment", "StatefulSet", "DaemonSet", "Helm", "Application"]
ACROSS_NAMESPACES = "Application"
"""The kind of target that may be in another namespace than what names it."""
Place = tuple[str, str, str]
"""Kind, namespace and name of a target."""
LONGEST_RELEASE = 53
"""Characters of the name of a release, by Helm's own rule."""
MAX_TARGET = 520
"""Characters of a target as a status names it: an Application with the longest namespace and name."""

_TARGET_RULES = rules(
    rule(
        "!has(self.namespace) || self.kind == 'Application'",
        "leave namespace out: only an Application may be in another namespace than what names it; to roll back "
        "something else there, write the RollbackRequest or RollbackPolicy in that namespace",
    ),
    # Helm's records are looked for by a label with the name: the API server answers nothing about one that is too long.
    rule(
        f"self.kind != 'Helm' || self.name.size() <= {LONGEST_RELEASE}",
        f"write the release's name as `helm list` shows it: Helm takes {LONGEST_RELEASE} characters at most",
    ),
)


class TargetRef(Resource):
    """What is rolled back: an object in the resource's own namespace, or an Application of Argo CD anywhere."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore", json_schema_extra=_TARGET_RULES
    )

    kind: TargetKind = Field(description="Kind of the target.")
    name: Annotated[str, object_name("target", "checkout")] = Field(description="Name of the target.")
    namespace: Annotated[str, object_name("namespace", "argocd")] | None = Field(
        default=None,
        description="Namespace of an Application (kind Application only), in which the service account needs rights "
        "on it. Omitted: the resource's own.",
    )

    def __str__(self) -> str:
        return "/".join(part for part in (self.kind, self.namespace, self.name) if part)

    def place(self, namespace: str) -> Place:
        """Which object it is, said in that namespace."""
        return self.kind, self.namespace or namespace, self.name

    @classmethod
    def of(cls, text: str) -> TargetRef:
        """The target that a status names, as `str` writes it."""
        kind, *namespace, name = text.split("/")
        return cls.model_validate({"kind": kind, "namespace": namespace[0] if namespace else None, "name": name})


_TO = rf"^(LastKnownGood|Previous|0|[1-9][0-9]{{0,9}}|[0-9a-f]{{7,40}}|{FINGERPRINT})$"


def _revision_schema(description: str, default: str | None = None) -> dict[str, Any]:
    schema: dict[str, Any] = {
        "x-kubernetes-int-or-string": True,
        "maxLength": 80,
        "description": description,
        **rules(
            rule(
                f"type(self) == int ? self >= 0 : string(self).matches('{_TO}')",
                'write a revision number as `kubectl rollout history` shows it, such as "3", '
                "or Previous, LastKnownGood, a fingerprint (v1: and 64 hexadecimal digits) or, of an Application, a "
                "Git commit (7 to 40 hexadecimal digits, in quotes)",
            )
        ),
    }
    return schema if default is None else {**schema, "default": default}


def revision_field(description: str, default: str | None = None) -> Any:
    """Schema of a field that names a revision; a bare number is as good as a quoted one."""
    return WithJsonSchema(_revision_schema(description, default))


def revision_as_text(value: Any) -> Any:
    """A revision that was written as a bare number, as the text that it is compared as."""
    return str(value) if isinstance(value, int) else value


class Condition(Resource):
    """One aspect of the state, in the form that `kubectl wait` and kstatus read."""

    type: str = Field(max_length=64, description="Type of the condition, such as Ready or Verified.")
    status: Literal["True", "False", "Unknown"] = Field(description="True, False or Unknown.")
    reason: str = Field(max_length=64, description="One word for why, for programs.")
    message: str = Field(max_length=4096, description="A sentence for why and what to do, for people.")
    last_transition_time: Time = Field(description="When the status last changed.")
    observed_generation: int | None = Field(default=None, description="Generation of the spec this was said of.")


CONDITIONS: dict[str, Any] = {"maxItems": 16, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
