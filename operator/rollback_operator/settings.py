"""Settings of the operator, from environment variables that begin with `ROLLBACK_`."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from ipaddress import IPv4Network, IPv6Network, ip_network

PREFIX = "ROLLBACK_"
HELM = "/usr/local/bin/helm"
"""Where the image has it."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting has a default that is right for most clusters.

    Raises:
        ValueError: an environment variable with the prefix is not a setting, or its value is none for it.
    """

    service_account: str = "rollback"
    """Service account that a request runs as when neither it nor its policy names one."""
    log_level: str = "INFO"
    log_format: str = "json"
    """`json`, or `plain` for a terminal."""
    bind: str = "0.0.0.0"  # noqa: S104 - the kubelet and Prometheus reach it on the pod's address
    port: int = 8080
    """Where /metrics, /healthz and /readyz are served; 0: on any port that is free."""
    namespace: str = ""
    """The one namespace to work in; empty: all of them."""
    workers: int = 50
    """How many requests are worked on at the same time."""
    argo_cd_namespace: str = "argocd"
    """Argo CD's own namespace, which what it manages does not tell."""
    helm: str = HELM
    """The Helm 4 that rolls releases back."""
    holds: int = 15
    """Seconds between looks at an Application whose automation a rollback holds off, or at Flux that it suspended."""
    remember: int = 60
    """Seconds between looks at configuration that policies remember."""
    git_protocols: str = "https"
    """How Git repositories may be asked whether a hold is over: https,http,file."""
    resync: int = 15
    """Seconds between looks for unfinished requests that no watch event told of."""

    prometheus: str = ""
    """Address of the Prometheus that policies ask which name none."""
    prometheus_token_file: str = ""
    """File with a bearer token for that Prometheus; read again when it changes."""
    prometheus_ca_file: str = ""
    """File with the certificate authority of that Prometheus; empty: the system's."""
    alertmanager: str = ""
    """Address of the Alertmanager that is asked after a start which alerts fire."""
    alertmanager_token_file: str = ""
    """File with a bearer token for that Alertmanager; read again when it changes."""
    alertmanager_ca_file: str = ""
    """File with the certificate authority of that Alertmanager; empty: the system's."""
    alerts_token_file: str = ""
    """File with the bearer token that Alertmanager shows at /alerts; empty: alerts are not received."""
    allowed_networks: str = ""
    """Networks that policies may call although they are loopback, link-local or the API server's: 127.0.0.0/8,..."""
    automatic: str = "on"
    """off: no policy rolls anything back; requests of people go on."""
    guard: int = 5
    """How many policies in Breach at once are taken for the platform's trouble; 0: never."""
    guard_percent: int = 20
    """How many of a hundred evaluated policies it takes besides."""
    evaluations: int = 200
    """How many policies are evaluated at the same time."""

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Settings:
        """Settings as the environment has them."""
        kinds = {field.name: type(field.default) for field in fields(cls)}
        given: dict[str, object] = {}
        for variable, text in environ.items():
            name = variable.removeprefix(PREFIX).lower()
            if not variable.startswith(PREFIX):
                continue
            if name not in kinds:
                raise ValueError(
                    f"{variable} is not a setting; there are {', '.join(PREFIX + n.upper() for n in kinds)}"
                )
            given[name] = _parsed(variable, text, kinds[name])
        return cls(**given)  # type: ignore[arg-type]


_ADDRESS = (r"(https?://[^/@\s]+(/\S*)?)?", "an address such as http://prometheus.monitoring:9090")
_NUMBER = ("[1-9][0-9]{0,8}", "a whole number from 1")
_ALLOWED: Mapping[str, tuple[str, str]] = {
    "service_account": (r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", "the name of a service account"),
    "log_level": ("(?i:debug|info|warning|error|critical)", "DEBUG, INFO, WARNING, ERROR or CRITICAL"),
    "log_format": ("json|plain", "json or plain"),
    "namespace": (r"([a-z0-9]([-a-z0-9]*[a-z0-9])?)?", "the name of a namespace"),
    "argo_cd_namespace": (r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", "the name of a namespace"),
    "helm": (r"/\S+", "the path of a program"),
    "port": (
        "0|[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]",
        "a port, or 0 for any that is free",
    ),
    "workers": _NUMBER,
    "evaluations": _NUMBER,
    "automatic": ("on|off", "on or off"),
    "guard": ("0|[1-9][0-9]{0,8}", "a whole number"),
    "guard_percent": ("[1-9]?[0-9]|100", "a percentage: 0 to 100"),
    "prometheus": _ADDRESS,
    "alertmanager": _ADDRESS,
    "allowed_networks": (r"[0-9a-fA-F.:/, ]*", "a list of networks such as 127.0.0.0/8,10.0.0.0/8"),
    "resync": _NUMBER,
    "holds": _NUMBER,
    "remember": _NUMBER,
    "git_protocols": (r"(https|http|file)(,(https|http|file))*", "a list of https, http and file"),
}


def _parsed(variable: str, text: str, kind: type) -> object:
    pattern, what = _ALLOWED.get(variable.removeprefix(PREFIX).lower(), (".*", "a text"))
    if not re.fullmatch(pattern, text) or (variable == PREFIX + "ALLOWED_NETWORKS" and not _are_networks(text)):
        raise ValueError(f"{variable}={text!r} is not {what}")
    return kind(text)


def _are_networks(text: str) -> bool:
    try:
        networks(text)
    except ValueError:
        return False
    return True


def networks(text: str) -> list[IPv4Network | IPv6Network]:
    """The networks of a list.

    Raises:
        ValueError: one of them is none; the bits behind its prefix have to be zero.
    """
    return [ip_network(part.strip()) for part in text.split(",") if part.strip()]
