"""What the API server says is repeated, but for what it quotes."""

from __future__ import annotations

import pytest

from rollback_operator.kube.words import without_values

WORDS = {
    "deployments.apps is forbidden: exceeded quota": "deployments.apps is forbidden: exceeded quota",
    'a: Invalid value: "s3": too long': "a: Invalid value: <not shown>: too long",
    'a: Invalid value: "s3\\"cret: x": too long, b: Required value': "a: Invalid value: <not shown>: too long, "
    "b: Required value",
    'a: Unsupported value: "s3": supported values: "Always"': "a: Unsupported value: <not shown>: supported values: "
    '"Always"',
    'a: Duplicate value: {"name":"x","value":"s3"}': "a: Duplicate value: <not shown>",
    "a: Invalid value: -5: must be positive": "a: Invalid value: <not shown>: must be positive",
    'a: Invalid value: {"x":"s3}: s3"}: field is immutable': "a: Invalid value: <not shown>: field is immutable",
    'a: Invalid value: core.X{Value:"s3: a"}: odd': "a: Invalid value: <not shown>",
    'a: Invalid value: "s3 that is cut o': "a: Invalid value: <not shown>",
    'a: Invalid value: "x": one, b: Invalid value: []string{"s3"}: two': "a: Invalid value: <not shown>: one, "
    "b: Invalid value: <not shown>",
}


@pytest.mark.parametrize("said", WORDS)
def test_values_are_left_out(said: str) -> None:
    assert without_values(said) == WORDS[said]
