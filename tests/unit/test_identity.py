"""Who a call is made as: never anybody by mistake."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollback_operator.kube.identity import OPERATOR, ServiceAccount

REFUSED = {
    "no name": ("shop", ""),
    "no namespace": ("", "rollback"),
    "nothing": ("", ""),
    "a blank": ("shop", " "),
    "a colon, which separates": ("shop", "a:b"),
    "a colon in the namespace": ("shop:rollback", "x"),
    "a line break, which would begin another header": ("shop", "rollback\r\nImpersonate-Group: system:masters"),
    "a line break at the end": ("shop", "rollback\n"),
    "a star": ("shop", "*"),
    "capitals": ("shop", "Rollback"),
    "a dot in the namespace": ("shop.x", "rollback"),
    "a hyphen at the end": ("shop", "rollback-"),
    "a slash": ("shop", "a/b"),
    "letters that look alike": ("shop", "rоllback"),  # noqa: RUF001 - that is the point
}


@pytest.mark.parametrize("case", REFUSED)
def test_no_service_account_has(case: str) -> None:
    with pytest.raises(ValueError, match="not a service account"):
        ServiceAccount(*REFUSED[case])


@pytest.mark.parametrize("name", ["rollback", "a", "a-b.c-d", "0", "n" * 253])
def test_a_service_account_is_known_by_its_user_name(name: str) -> None:
    account = ServiceAccount("shop", name)
    assert account.user == f"system:serviceaccount:shop:{name}"
    assert str(account) == f"shop/{name}"


@given(st.text(max_size=20), st.text(max_size=20))
def test_whatever_is_taken_is_four_parts_and_no_more(namespace: str, name: str) -> None:
    try:
        account = ServiceAccount(namespace, name)
    except ValueError:
        return
    assert account.user.split(":") == ["system", "serviceaccount", namespace, name]
    assert namespace
    assert name
    assert account.user.isascii()
    assert account.user.isprintable()


def test_the_operator_is_named_in_errors() -> None:
    assert str(OPERATOR) == "the operator"
