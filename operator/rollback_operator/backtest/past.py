"""What a Prometheus remembers: range queries of any length, in pieces that it takes."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlencode

from rollback_operator.api.fields import parse_duration
from rollback_operator.backtest.problem import Problem
from rollback_operator.core.verdicts import Sample
from rollback_operator.signals.answers import Nothing, Vector, answered, document, steps
from rollback_operator.signals.base import Question
from rollback_operator.signals.fence import NotAllowed
from rollback_operator.signals.outbound import Answer, NoAnswer, Outbound
from rollback_operator.signals.prometheus import MOST_STEPS
from rollback_operator.signals.secrets import NO_ACCESS, Access

TIMEOUT = 120.0
"""Seconds that a query may take: what Prometheus itself allows if nobody set it."""
LARGEST = 64 * 1024 * 1024
"""Bytes of one answer."""
AT_ONCE = 4
"""Queries that the server gets at the same time."""
_REFUSALS = (HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY)
_TOO_MUCH = b"too many samples"


@dataclass(frozen=True, slots=True)
class Grid:
    """Moments: the first one, in seconds since the epoch, the seconds between two, and how many."""

    start: float
    step: float
    count: int

    @classmethod
    def over(cls, start: float, end: float, step: float) -> Grid:
        """From `start` to `end`, which both belong to it."""
        return cls(round(start, 3), step, math.floor((end - start) / step + 1e-6) + 1)

    def at(self, index: int) -> float:
        """One of the moments."""
        return self.start + index * self.step

    def pieces(self, most: int) -> list[Grid]:
        """The same moments, at most so many in a piece."""
        return [Grid(self.at(first), self.step, min(most, self.count - first)) for first in range(0, self.count, most)]


class Refused(Problem):
    """The server is there, and does not take the query."""


class Past:
    """Asks one server.

    Args:
        outbound: how it is called; whoever made it closes it.
        address: where it is; any address may be called, for it is the caller's own.
        access: what is shown to it.
        headers: what is sent along.
    """

    def __init__(
        self, outbound: Outbound, address: str, access: Access = NO_ACCESS, headers: Mapping[str, str] | None = None
    ) -> None:
        self._outbound = outbound
        self._address = address.rstrip("/")
        self._tls = access.tls
        self._headers = dict(headers or {}) | ({"Authorization": access.authorization} if access.authorization else {})
        self._turn = asyncio.Semaphore(AT_ONCE)

    async def samples(self, question: Question, start: float, end: float) -> list[Sample]:
        """A trigger's answers, an interval apart, oldest first; what they mean is the signal's own doing.

        Raises:
            Problem: the server does not tell.
        """
        trigger = question.trigger
        assert trigger.prometheus is not None
        grid = Grid.over(start, end, parse_duration(trigger.interval).total_seconds())
        queries = {"prometheus": trigger.prometheus.query}
        if trigger.min_samples is not None:
            queries["minSamples"] = trigger.min_samples.query
        rows = []
        for name, query in queries.items():
            try:
                rows.append(await self.vectors(query, grid))
            except Refused as problem:
                raise Problem(f"trigger {trigger.name}, {name}: {problem}") from None
        return [answered(question, grid.at(i), *found) for i, found in enumerate(zip(*rows, strict=True))]

    async def vectors(self, query: str, grid: Grid) -> list[Vector]:
        """What a query gave at each moment.

        Raises:
            Problem: the server does not tell.
        """
        pieces = await asyncio.gather(*(self._piece(query, piece) for piece in grid.pieces(MOST_STEPS)))
        return [vector for piece in pieces for vector in piece]

    async def _piece(self, query: str, grid: Grid) -> Sequence[Vector]:
        """A part of the moments; where they are too many for the server, half of them and then the others."""
        async with self._turn:
            answer = await self._ask(query, grid)
        if grid.count > 1 and _is_too_much(answer):
            halves = grid.pieces(math.ceil(grid.count / 2))
            return [vector for half in halves for vector in await self._piece(query, half)]
        if answer.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise Problem(
                f"{self._address} answered {answer.status}: show it a token with --token-file, or send a --header"
            )
        data = document(answer, self._address)
        if isinstance(data, Nothing):
            raise (Refused if answer.status in _REFUSALS else Problem)(data.said)
        found = steps(data, grid.start, grid.step, grid.count)
        if found is None:
            raise Refused(f"{self._address} gives values that are no numbers, such as histograms")
        return found

    async def _ask(self, query: str, grid: Grid) -> Answer:
        asked = {
            "query": query,
            "start": f"{grid.start:.3f}",
            "end": f"{grid.at(grid.count - 1):.3f}",
            "step": f"{grid.step:g}",
            "timeout": f"{TIMEOUT:g}s",
        }
        url = f"{self._address}/api/v1/query_range?{urlencode(asked)}"
        try:
            return await self._outbound.get(
                url, within=TIMEOUT, limit=LARGEST, headers=self._headers, tls=self._tls, trusted=True
            )
        except (NoAnswer, NotAllowed) as error:
            raise Problem(str(error)) from None


def _is_too_much(answer: Answer) -> bool:
    if not answer.whole:
        return True
    return answer.status >= HTTPStatus.BAD_REQUEST and _TOO_MUCH in answer.body
