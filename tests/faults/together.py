"""Tests that are run side by side, all by the first of them: much of their time they wait."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.faults.run import Lab

Test = Callable[..., Awaitable[None]]
_ENDS: dict[str, BaseException | None] = {}
_ALL = 14400
"""Seconds that the deep run may take."""


def side_by_side(test: Test) -> Test:
    """Run `test`, which takes `lab` and parameters, at once with all others that are asked for.

    It has the time of all: the first one runs them.
    """

    @functools.wraps(test)
    async def told(request: pytest.FixtureRequest, lab: Lab, **given: Any) -> None:
        del given  # each item brings its own
        mine = request.node.nodeid
        if mine not in _ENDS:
            await _tell(lab, request.session.items)
        end = _ENDS.pop(mine)
        if end is not None:
            raise end

    own = inspect.signature(test)
    asking = inspect.Parameter("request", inspect.Parameter.KEYWORD_ONLY)
    parameters = sorted([*own.parameters.values(), asking], key=lambda one: one.kind)
    told.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    told.told_by = test  # type: ignore[attr-defined]
    marked: Test = pytest.mark.timeout(_ALL)(told)
    return marked


async def _tell(lab: Lab, items: list[Any]) -> None:
    beside = [one for one in items if hasattr(getattr(one, "function", None), "told_by")]
    runs = (one.function.told_by(lab, **_given(one)) for one in beside)
    ends = await asyncio.gather(*runs, return_exceptions=True)
    _ENDS.update(zip((one.nodeid for one in beside), ends, strict=True))


def _given(item: Any) -> dict[str, Any]:
    return item.callspec.params if hasattr(item, "callspec") else {}
