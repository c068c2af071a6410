"""Settings: a mistake is told at the start, and no default surprises."""

from __future__ import annotations

from dataclasses import fields

import pytest

from rollback_operator.settings import PREFIX, Settings

GOOD: dict[str, tuple[dict[str, str], str, object]] = {
    "a text": ({"ROLLBACK_SERVICE_ACCOUNT": "mine"}, "service_account", "mine"),
    "a number": ({"ROLLBACK_PORT": "9090"}, "port", 9090),
    "any free port": ({"ROLLBACK_PORT": "0"}, "port", 0),
    "the last port": ({"ROLLBACK_PORT": "65535"}, "port", 65535),
    "no guard": ({"ROLLBACK_GUARD": "0"}, "guard", 0),
    "policies that only tell": ({"ROLLBACK_AUTOMATIC": "off"}, "automatic", "off"),
    "an address with a path": (
        {"ROLLBACK_PROMETHEUS": "https://mimir/prometheus"},
        "prometheus",
        "https://mimir/prometheus",
    ),
    "networks": ({"ROLLBACK_ALLOWED_NETWORKS": "127.0.0.0/8, fd00::/8"}, "allowed_networks", "127.0.0.0/8, fd00::/8"),
    "a default": ({}, "service_account", "rollback"),
    "what is somebody else's": ({"KUBECONFIG": "x", "HOME": "/root", "XROLLBACK_PORT": "1"}, "port", 8080),
}
BAD: dict[str, tuple[dict[str, str], str]] = {
    "an unknown one": (
        {"ROLLBACK_WORKRES": "3"},
        "ROLLBACK_WORKRES is not a setting; there are ROLLBACK_SERVICE_ACCOUNT, ",
    ),
    "a bad number": ({"ROLLBACK_PORT": "http"}, "ROLLBACK_PORT='http' is not a port, or 0 for any that is free"),
    "a port beyond the last": ({"ROLLBACK_PORT": "65536"}, "ROLLBACK_PORT='65536' is not a port"),
    "an address with a password": (
        {"ROLLBACK_PROMETHEUS": "http://me:secret@prometheus"},
        "ROLLBACK_PROMETHEUS='http://me:secret@prometheus' is not an address such as http://prometheus.monitoring:9090",
    ),
    "an address without a scheme": (
        {"ROLLBACK_ALERTMANAGER": "am:9093"},
        "ROLLBACK_ALERTMANAGER='am:9093' is not an ad",
    ),
    "more than a hundred percent": ({"ROLLBACK_GUARD_PERCENT": "101"}, "ROLLBACK_GUARD_PERCENT='101' is not a percent"),
    "neither on nor off": ({"ROLLBACK_AUTOMATIC": "true"}, "ROLLBACK_AUTOMATIC='true' is not on or off"),
    "a network with bits behind its prefix": (
        {"ROLLBACK_ALLOWED_NETWORKS": "10.0.0.0/8,127.0.0.1/8"},
        "ROLLBACK_ALLOWED_NETWORKS='10.0.0.0/8,127.0.0.1/8' is not a list of networks such as 127.0.0.0/8,10.0.0.0/8",
    ),
    "a network that is none": (
        {"ROLLBACK_ALLOWED_NETWORKS": "10.0.0/8"},
        "ROLLBACK_ALLOWED_NETWORKS='10.0.0/8' is not",
    ),
    "no number": ({"ROLLBACK_WORKERS": ""}, "ROLLBACK_WORKERS='' is not a whole number"),
    "no service account": ({"ROLLBACK_SERVICE_ACCOUNT": ""}, "ROLLBACK_SERVICE_ACCOUNT='' is not the name"),
    "a service account that is none": ({"ROLLBACK_SERVICE_ACCOUNT": "a:b"}, "ROLLBACK_SERVICE_ACCOUNT='a:b' is not"),
    "no workers": ({"ROLLBACK_WORKERS": "0"}, "ROLLBACK_WORKERS='0' is not a whole number from 1"),
    "no time between resyncs": ({"ROLLBACK_RESYNC": "-1"}, "ROLLBACK_RESYNC='-1' is not a whole number from 1"),
    "a log level that is none": ({"ROLLBACK_LOG_LEVEL": "LOUD"}, "ROLLBACK_LOG_LEVEL='LOUD' is not"),
    "a namespace that is none": ({"ROLLBACK_NAMESPACE": "a/b"}, "ROLLBACK_NAMESPACE='a/b' is not the name"),
    "a log format that is none": ({"ROLLBACK_LOG_FORMAT": "xml"}, "ROLLBACK_LOG_FORMAT='xml' is not"),
}


@pytest.mark.parametrize("case", GOOD)
def test_it_takes(case: str) -> None:
    environ, name, expected = GOOD[case]
    assert getattr(Settings.from_env(environ), name) == expected


@pytest.mark.parametrize("case", BAD)
def test_it_refuses(case: str) -> None:
    environ, says = BAD[case]
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message follows
        Settings.from_env(environ)
    assert str(caught.value).startswith(says)


def test_every_default_can_be_given_by_its_variable() -> None:
    defaults = Settings()
    environ = {PREFIX + field.name.upper(): str(getattr(defaults, field.name)) for field in fields(Settings)}
    assert Settings.from_env(environ) == defaults
