"""Questions to Prometheus, and to what speaks its HTTP API."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import urlencode
from weakref import WeakValueDictionary

from rollback_operator.api.fields import parse_duration
from rollback_operator.api.trigger import Header, PrometheusServer
from rollback_operator.core.verdicts import Sample
from rollback_operator.kube.client import Api
from rollback_operator.signals.answers import Nothing, Vector, Why, answered, document, steps, vector
from rollback_operator.signals.base import Question, missing
from rollback_operator.signals.fence import NotAllowed
from rollback_operator.signals.outbound import NoAnswer, Outbound
from rollback_operator.signals.secrets import NO_ACCESS, Access, Files, NoAccess, Secrets
from rollback_operator.signals.shared import Shared

LARGEST = 1024 * 1024
LARGEST_HISTORY = 10 * 1024 * 1024
MOST_STEPS = 11_000
"""Prometheus gives no more points a series."""
LONGEST_SLOT = 5.0
"""Seconds for which an answer may be shared; a tenth of the interval where that is shorter."""
SETTING = "ROLLBACK_PROMETHEUS"

Headers = tuple[tuple[str, str], ...]

_GRACE = 2.0  # seconds for a server that gave up in time to say so

_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\U0010ffff]*")
_OURS = {"host", "connection", "content-length", "transfer-encoding", "te", "trailer", "upgrade", "expect"}


@dataclass(frozen=True, slots=True)
class _Server:
    """A server as one who asks sees it. `who` is equal for those who see the same."""

    address: str
    who: Hashable
    access: Access = NO_ACCESS
    headers: Headers = ()
    trusted: bool = False
    whose: str | None = None
    """The namespace that names it; None: it is the operator's own."""

    def sent(self) -> dict[str, str]:
        """The headers; what the Secret or the token file says stands above an Authorization among them."""
        if self.access.authorization is None:
            return dict(self.headers)
        kept = {name: value for name, value in self.headers if name.lower() != "authorization"}
        return kept | {"Authorization": self.access.authorization}


class PrometheusSignal:
    """Asks Prometheus; the same question asked by several policies at about the same time is asked once.

    Args:
        api: the API server, for Secrets.
        outbound: how servers are called; whoever made it closes it.
        address: the default server; None: there is none.
        files: what is shown to the default server.
        concurrency: how many queries a server gets at the same time.
        timeout: seconds that a query may take; the server is told.
    """

    source = "prometheus"

    def __init__(
        self,
        api: Api,
        outbound: Outbound,
        *,
        address: str | None = None,
        files: Files | None = None,
        concurrency: int = 20,
        timeout: float = 10.0,
    ) -> None:
        self._outbound = outbound
        self._address = address
        self._files = files or Files()
        self._secrets = Secrets(api)
        self._concurrency = concurrency
        self._timeout = timeout
        self._turns: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._shared: Shared[Hashable, Vector | Nothing] = Shared(lambda _: LONGEST_SLOT)

    async def sample(self, question: Question, now: float) -> Sample:
        """The answer of this moment."""
        try:
            server = await self._server(question)
        except NoAccess as error:
            return missing(question, now, str(error))
        slot = min(_interval(question) / 10, LONGEST_SLOT)
        at = math.floor(now / slot) * slot
        found = await asyncio.gather(*(self._once(server, query, at) for query in _queries(question).values()))
        return answered(question, now, *found)

    async def history(self, question: Question, start: float, end: float) -> Sequence[Sample]:
        """Answers of the past, minSamples included; none if the server does not tell."""
        step = _interval(question)
        count = math.floor((end - start) / step + 1e-6) + 1
        start += max(0, count - MOST_STEPS) * step
        count = min(count, MOST_STEPS)
        if count < 1:
            return ()
        try:
            server = await self._server(question)
        except NoAccess:
            return ()
        grid = (round(start, 3), step, count)
        found = await asyncio.gather(*(self._past(server, query, *grid) for query in _queries(question).values()))
        rows = [one for one in found if one is not None]
        if len(rows) < len(found):
            return ()
        return [answered(question, grid[0] + i * step, *vectors) for i, vectors in enumerate(zip(*rows, strict=True))]

    async def check(self, question: Question) -> str | None:
        """What is wrong with the queries, in the server's words; None if nothing is, or it cannot be asked."""
        try:
            server = await self._server(question)
        except NoAccess:
            return None
        for name, query in _queries(question).items():
            # At the beginning of time there is no data: the query is parsed and costs nothing.
            found = vector(await self._data(server, "query", {"query": query, "time": "0"}, LARGEST))
            if isinstance(found, Nothing) and found.why is Why.MISTAKE:
                return f"{name}: {found.said}"
        return None

    async def close(self) -> None:
        """Stop asking."""
        await self._shared.close()
        await self._secrets.close()

    async def _server(self, question: Question) -> _Server:
        """The server to ask.

        Raises:
            NoAccess: there is none, or what has to be shown to it cannot be had.
        """
        given = question.server or PrometheusServer()
        _check_headers(given.headers)
        headers = tuple((header.name, header.value) for header in given.headers)
        if given.address is None:
            return self._default_server(given, headers)
        address = _base(given.address)
        if given.secret_ref is None:
            return _Server(address, (address, headers), NO_ACCESS, headers, whose=question.namespace)
        account = (question.namespace, given.secret_ref.name, question.service_account)
        access = await self._secrets.access(*account)
        return _Server(address, (address, headers, account), access, headers, whose=question.namespace)

    def _default_server(self, given: PrometheusServer, headers: Headers) -> _Server:
        if not self._address:
            raise NoAccess(
                f"no Prometheus is known: write its address in the policy, or set {SETTING} for the operator"
            )
        if given.secret_ref is not None:
            raise NoAccess("secretRef is only used with an address beside it: write the address of its server")
        if headers and self._files.shows_token:
            # A header may choose whose data is read: with the operator's token that would be anybody's.
            raise NoAccess("headers are not sent along with the operator's own token: write an address and a secretRef")
        address = _base(self._address)
        return _Server(address, (None, headers), self._files.access(), headers, trusted=True)

    async def _once(self, server: _Server, query: str, at: float) -> Vector | Nothing:
        """The answer for that moment, shared with all who may see it."""

        async def ask() -> Vector | Nothing:
            return vector(await self._data(server, "query", {"query": query, "time": f"{at:.3f}"}, LARGEST))

        return await self._shared.get((server.who, query, at), ask)

    async def _past(self, server: _Server, query: str, start: float, step: float, count: int) -> list[Vector] | None:
        asked = {
            "query": query,
            "start": f"{start:.3f}",
            "end": f"{start + (count - 1) * step:.3f}",
            "step": f"{step:g}",
        }
        data = await self._data(server, "query_range", asked, LARGEST_HISTORY)
        return None if isinstance(data, Nothing) else steps(data, start, step, count)

    async def _data(
        self, server: _Server, what: str, asked: Mapping[str, str], limit: int
    ) -> Mapping[str, Any] | Nothing:
        """The `data` of the server's answer; waits for its turn, but not for long."""
        turn = self._turns.setdefault(server.address, asyncio.Semaphore(self._concurrency))
        try:
            async with asyncio.timeout(self._timeout if turn.locked() else None):
                await turn.acquire()
        except TimeoutError:
            return Nothing(
                Why.MISSING, f"{server.address} is busy with {self._concurrency} other queries of the operator"
            )
        url = f"{server.address}/api/v1/{what}?{urlencode({**asked, 'timeout': f'{self._timeout:g}s'})}"
        try:
            answer = await self._outbound.get(
                url,
                within=self._timeout + _GRACE,
                limit=limit,
                headers=server.sent(),
                tls=server.access.tls,
                trusted=server.trusted,
                whose=server.whose,
            )
        except (NoAnswer, NotAllowed) as error:
            return Nothing(Why.MISSING, str(error))
        finally:
            turn.release()
        return document(answer, server.address)


def _queries(question: Question) -> dict[str, str]:
    """What is asked, by the field it stands in; minSamples last."""
    trigger = question.trigger
    assert trigger.prometheus is not None
    queries = {"prometheus": trigger.prometheus.query}
    return queries | {"minSamples": trigger.min_samples.query} if trigger.min_samples else queries


@lru_cache(maxsize=1024)
def _seconds(duration: str) -> float:
    return max(1.0, parse_duration(duration).total_seconds())


def _interval(question: Question) -> float:
    return _seconds(question.trigger.interval)


def _base(address: str) -> str:
    if "?" in address or "#" in address:
        raise NoAccess(f"{address} is not an address of a Prometheus: write it without a query, as http://host:9090")
    return address.rstrip("/")


def _check_headers(headers: Sequence[Header]) -> None:
    """Make sure that headers are what they look like, and none that belongs to the transport.

    Raises:
        NoAccess: one is not.
    """
    for header in headers:
        if not _NAME.fullmatch(header.name) or header.name.lower() in _OURS or not _VALUE.fullmatch(header.value):
            raise NoAccess(
                f"header {header.name!r} cannot be sent: choose another name, or a value without line breaks"
            )
