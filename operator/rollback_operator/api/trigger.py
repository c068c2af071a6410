"""Triggers of a policy: what is asked, when an answer is bad, and what follows if it stays bad."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, field_validator
from pydantic.alias_generators import to_camel

from rollback_operator.api.fields import Duration, Resource, object_name, rule, rules

MAX_QUERY = 1024
NUMBER = r"-?[0-9]{1,15}(\.[0-9]{1,9})?"
UNITS = "%|ms|s|m|h|Ki|Mi|Gi"
WHEN = rf"^ *(>=|<=|==|!=|>|<) *{NUMBER} *({UNITS})? *$"
COUNT = r"^ *(>=|>) *[0-9]{1,6} *$"


def _text(limit: int, least: int = 1) -> Any:
    return Field(min_length=least, max_length=limit)


When = Annotated[
    str,
    Field(
        max_length=64,
        json_schema_extra=rules(
            rule(
                f"self.matches('{WHEN.replace(chr(92), chr(92) * 2)}')",
                'write when an answer is bad, such as "> 5%", "> 2s", ">= 512Mi" or "< 0.5": a comparison, a number '
                "and perhaps one of the units %, ms, s, m, h, Ki, Mi, Gi",
            )
        ),
    ),
]
"""A comparison that is true of a bad value. `%` divides by 100; times are in seconds, sizes in bytes."""

Count = Annotated[
    str,
    Field(
        max_length=16,
        json_schema_extra=rules(
            rule(f"self.matches('{COUNT}')", 'write how many are too many, such as "> 5" or ">= 3"'),
        ),
    ),
]


class SecretRef(Resource):
    """A Secret in the policy's namespace."""

    name: Annotated[str, object_name("Secret", "prometheus-access")] = Field(description="Name of the Secret.")


class Header(Resource):
    """A header that is sent along, and is no secret."""

    name: Annotated[str, _text(128)] = Field(description="Name of the header, such as X-Scope-OrgID.")
    value: Annotated[str, _text(1024, 0)] = Field(
        description="Value of the header. What is secret belongs into the Secret of secretRef."
    )


_URL_RULE = rule(
    "self.matches('^https?://[^/@ ]+(/[^ ]*)?$')",
    "write an address such as http://prometheus.monitoring:9090, with no user or password in it",
)

Url = Annotated[str, Field(max_length=1024, json_schema_extra=rules(_URL_RULE))]
Address = Annotated[
    str,
    Field(
        max_length=1024,
        json_schema_extra=rules(
            _URL_RULE,
            rule("!self.contains('?') && !self.contains('#')", "write the address without a query: http://host:9090"),
        ),
    ),
]


class PrometheusServer(Resource):
    """A Prometheus, or what speaks its HTTP API."""

    address: Address | None = Field(
        default=None,
        description="Where the server is, such as http://prometheus.monitoring:9090. Omitted: the operator's setting.",
    )
    headers: tuple[Header, ...] = Field(
        default=(),
        max_length=8,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        description="Headers that are sent along, such as X-Scope-OrgID.",
    )
    secret_ref: SecretRef | None = Field(
        default=None,
        description="A Secret with username and password, or token, and perhaps ca.crt; it is read as the policy's "
        "service account. Only used with the address that stands beside it.",
    )


class PrometheusQuery(Resource):
    """A question to Prometheus."""

    query: Annotated[str, _text(MAX_QUERY)] = Field(
        description="PromQL that gives a scalar or a vector; `when` says which values are bad."
    )


_HTTP_RULES = rules(
    rule("!has(self.contains) || self.method == 'GET'", "an answer to HEAD contains nothing: write method: GET"),
    rule(
        "!self.timeout.matches('^([0-9]{1,5}(h|m|s|ms)){1,4}$') || duration(self.timeout) <= duration('60s')",
        "write a timeout of at most 60s",
        fieldPath=".timeout",
    ),
)


class HttpCheck(Resource):
    """A request that the target should answer well."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore", json_schema_extra=_HTTP_RULES
    )

    url: Url = Field(description="What to ask for, such as http://checkout.shop:8080/healthz.")
    method: Literal["GET", "HEAD"] = Field(default="GET", description="GET or HEAD.")
    status: tuple[Annotated[int, Field(ge=100, le=599)], ...] = Field(
        default=(), max_length=16, description="Status codes that are well. Omitted: 200 to 399, as for probes."
    )
    contains: Annotated[str, _text(256)] | None = Field(
        default=None, description="Text that has to stand in the first 64 KiB of the body."
    )
    slower_than: Duration | None = Field(
        default=None, description="An answer that takes longer than this is bad, whatever it says."
    )
    timeout: Duration = Field(default="2s", description="How long to wait for an answer.")


class PodsCheck(Resource):
    """What the target's pods of the current revision say about themselves; bad if any of these holds."""

    restarts: Count | None = Field(default=None, description='How many restarts are too many, such as "> 5".')
    within: Duration = Field(default="10m", description="The time in which restarts are counted.")
    reasons: tuple[
        Literal[
            "CrashLoopBackOff",
            "ImagePullBackOff",
            "ErrImagePull",
            "CreateContainerConfigError",
            "CreateContainerError",
            "InvalidImageName",
            "RunContainerError",
            "OOMKilled",
        ],
        ...,
    ] = Field(
        default=(),
        max_length=16,
        description="Reasons for which a container waits, or (OOMKilled) was ended within that time.",
    )
    not_ready: (
        Annotated[
            str,
            Field(
                max_length=16,
                json_schema_extra=rules(
                    rule(
                        "self.matches('^ *(>=|>) *[0-9]{1,3} *%? *$')",
                        'write how many pods may not be ready, such as "> 0", ">= 2" or "> 50%"',
                    )
                ),
            ),
        ]
        | None
    ) = Field(default=None, description='How many pods that are not ready are too many: "> 1" or "> 50%".')


class RolloutCheck(Resource):
    """What the target's controller says of its rollout."""

    progress_deadline_exceeded: Literal[True] = Field(
        default=True, description="The rollout did not progress within progressDeadlineSeconds."
    )


class AlertCheck(Resource):
    """An alert of Alertmanager that names this policy: labels namespace and rollback_policy."""

    name: Annotated[str, _text(256)] | None = Field(
        default=None, description="The alert's name (label alertname). Omitted: any alert that names this policy."
    )


class MinSamples(Resource):
    """How much there has to be to judge by."""

    query: Annotated[str, _text(MAX_QUERY)] = Field(
        description="PromQL that counts what the answer rests on, such as requests in the last minute."
    )
    at_least: Annotated[int, Field(ge=1, le=1_000_000_000)] = Field(
        description="With fewer than this the answer is Unknown."
    )


class Action(StrEnum):
    """What follows when a trigger fires."""

    ROLLBACK = "Rollback"
    ALERT_THEN_ROLLBACK = "AlertThenRollback"
    ALERT = "Alert"


SOURCES = ("prometheus", "http", "pods", "rollout", "alert")
_ONE_SOURCE = " + ".join(f"(has(self.{source}) ? 1 : 0)" for source in SOURCES)

_TRIGGER_RULES = rules(
    rule(
        f"{_ONE_SOURCE} == 1",
        "write exactly one of prometheus, http, pods, rollout and alert: it is what the trigger asks",
    ),
    rule("has(self.when) == has(self.prometheus)", 'write `when`, such as "> 5%", with prometheus and only there'),
    rule(
        "!has(self.series) || has(self.prometheus)", "series belongs to prometheus: nothing else gives several values"
    ),
    rule("!has(self.minSamples) || has(self.prometheus)", "minSamples belongs to prometheus"),
    rule(
        "!has(self.pods) || has(self.pods.restarts) || has(self.pods.reasons) || has(self.pods.notReady)",
        "write what is bad about the pods: restarts, reasons or notReady",
    ),
    rule(
        "!has(self.grace) || self.action == 'AlertThenRollback'",
        "grace is the time for people to step in: write action: AlertThenRollback with it",
    ),
    rule(
        "!self.interval.matches('^([0-9]{1,5}(h|m|s|ms)){1,4}$') || duration(self.interval) >= duration('1s')",
        "write an interval of at least 1s",
        fieldPath=".interval",
    ),
)


class Trigger(Resource):
    """A question that is asked again and again, and what follows if the answer stays bad."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore", json_schema_extra=_TRIGGER_RULES
    )

    name: Annotated[
        str,
        Field(
            max_length=63,
            json_schema_extra=rules(
                rule(
                    "self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",
                    "write a short name such as high-error-rate: lower-case letters, digits and '-'",
                )
            ),
        ),
    ] = Field(description="Name of the trigger.")
    prometheus: PrometheusQuery | None = Field(default=None, description="Ask Prometheus.")
    http: HttpCheck | None = Field(default=None, description="Make an HTTP request.")
    pods: PodsCheck | None = Field(default=None, description="Look at the target's pods.")
    rollout: RolloutCheck | None = Field(default=None, description="Look at the target's rollout.")
    alert: AlertCheck | None = Field(default=None, description="Be told by Alertmanager.")
    when: When | None = Field(default=None, description='Which values are bad: "> 5%", "> 2s", ">= 512Mi".')
    series: Literal["Any", "All"] | None = Field(
        default=None, description="Whether one bad series is enough (Any, the default) or all have to be bad."
    )
    interval: Duration = Field(default="30s", description="How often to ask; at least 1s.")
    for_: Duration | None = Field(
        default=None, alias="for", description="How long answers have to stay bad before the trigger fires."
    )
    consecutive: Annotated[int, Field(ge=1, le=100)] | None = Field(
        default=None, description="How many bad answers in a row it takes. With `for` too, both have to hold."
    )
    min_samples: MinSamples | None = Field(default=None, description="How much there has to be to judge by.")
    no_data: Literal["Unknown", "Breach"] = Field(
        default="Unknown", description="What a missing answer means. Unknown neither counts nor resets."
    )
    action: Action = Field(
        default=Action.ROLLBACK,
        description="Rollback; AlertThenRollback, which leaves people the time of `grace` to step in; or Alert.",
    )
    grace: Duration | None = Field(
        default=None, description="With AlertThenRollback: how long people have (5m if omitted)."
    )
    watch: Literal["Recent", "Always"] = Field(
        default="Recent",
        description="Recent: fires only within the policy's watch time after a change. Always: for slow ones, such as "
        "a leak.",
    )

    @property
    def source(self) -> str:
        """Name of the one source that is set.

        Raises:
            ValueError: none is.
        """
        for source in SOURCES:
            if getattr(self, source) is not None:
                return source
        raise ValueError(f"trigger {self.name} asks nothing")

    @field_validator("when", mode="before")
    @classmethod
    def _as_text(cls, value: Any) -> Any:
        return value.strip() if isinstance(value, str) else value
