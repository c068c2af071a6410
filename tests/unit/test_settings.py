"""Settings: a mistake is told at the start, and no default surprises."""

from __future__ import annotations

from dataclasses import fields

import pytest

from rollback_operator.settings import PREFIX, Settings

GOOD: dict[str, tuple[dict[str, str], str, object]] = {
    "a text": ({"ROLLBACK_SERVICE_ACCOUNT": "mine"}, "service_account", "mine"),
    "a number": ({"ROLLBACK_PORT": "9090"}, "port", 9090),
    "any free port": ({"ROLLBACK_PORT": "0"}, "port", 0),
    "a default": ({}, "service_account", "rollback"),
    "what is somebody else's": ({"KUBECONFIG": "x", "HOME": "/root", "XROLLBACK_PORT": "1"}, "port", 8080),
}
BAD: dict[str, tuple[dict[str, str], str]] = {
    "an unknown one": (
        {"ROLLBACK_WORKRES": "3"},
        "ROLLBACK_WORKRES is not a setting; there are ROLLBACK_SERVICE_ACCOUNT, ",
    ),
    "a bad number": ({"ROLLBACK_PORT": "http"}, "ROLLBACK_PORT='http' is not a port, or 0 for any that is free"),
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
