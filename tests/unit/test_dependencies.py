"""How a list is narrowed to the objects of a target."""

from __future__ import annotations

import pytest

from rollback_operator.targets.dependencies import label_selector
from tests.unit.objects import Object

SELECTORS: dict[str, tuple[Object, str]] = {
    "labels, in one order": ({"matchLabels": {"b": "2", "a": "1"}}, "a=1,b=2"),
    "a choice": ({"matchExpressions": [{"key": "a", "operator": "In", "values": ["1", "2"]}]}, "a in (1,2)"),
    "what is not chosen": ({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["1"]}]}, "a notin (1)"),
    "what is there": ({"matchExpressions": [{"key": "a", "operator": "Exists"}]}, "a"),
    "what is not there": ({"matchExpressions": [{"key": "a", "operator": "DoesNotExist", "values": None}]}, "!a"),
    "both": (
        {"matchLabels": {"b": "2"}, "matchExpressions": [{"key": "a", "operator": "Exists"}]},
        "b=2,a",
    ),
    "all": ({"matchLabels": None, "matchExpressions": None}, ""),
}


@pytest.mark.parametrize("case", SELECTORS)
def test_it_selects_by(case: str) -> None:
    selector, expected = SELECTORS[case]
    assert label_selector(selector) == expected
