"""Calls to URLs that tenants write: resolved once, checked, bounded, and connected to what was checked.

A redirect is an answer like any other; proxies, cookies and netrc of the operator's surroundings are not used.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Literal
from weakref import WeakValueDictionary

import aiohttp
from yarl import URL

from rollback_operator.signals.fence import OPEN, CheckedResolver, Fence, Lookup, NotAllowed, checked_sockets

CONNECTIONS = 200
CONNECTIONS_PER_HOST = 32
SHARE = CONNECTIONS // 4
"""How many calls of one namespace may be under way: its hosts that hang keep nobody else's from being asked."""
KEPT_FOR = 75.0
"""Seconds that an idle connection is kept: longer than the usual interval."""
LOOKUPS = 16
LATE = 0.1
"""Seconds by which a timer may fire late; beyond that it was the operator that was slow, not the host."""
LONGEST_SHOWN = 200

_WRITE = "this address cannot be called; write one such as http://checkout.shop:8080/healthz, with no user in it"
_HEADERS = {"User-Agent": "rollback-operator", "Accept-Encoding": "identity"}

Kind = Literal["name", "connect", "refused", "tls", "timeout", "broken", "busy"]


class NoAnswer(Exception):  # noqa: N818 - named as what it tells
    """A call was not answered; `kind` says how far it got.

    name: the host's name was not resolved. connect: no connection was made. refused: the host refused it. tls: TLS
    failed. timeout: connected, but not answered in time. broken: connected, but the answer broke off or is no HTTP.
    busy: the operator itself was too slow to tell.
    """

    def __init__(self, kind: Kind, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer. `seconds` is from the connection to the end of the body; `whole`: the body was not cut."""

    status: int
    body: bytes = field(repr=False)
    seconds: float
    whole: bool


class Outbound:
    """The client for URLs that others write.

    Args:
        fence: which addresses may be called.
        lookup: resolves a name and a port to addresses; for tests.
    """

    def __init__(self, fence: Fence, lookup: Lookup | None = None) -> None:
        self._fence = fence
        self._threads = ThreadPoolExecutor(LOOKUPS, thread_name_prefix="lookup")
        self._lookup = lookup or self._getaddrinfo
        self._sessions: dict[tuple[bool, bool], aiohttp.ClientSession] = {}
        self._turns: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    async def addresses(self, host: str, port: int) -> list[str]:
        """The addresses that a host may be called at, for programs that call it themselves.

        Raises:
            NotAllowed: one of them may not be called.
            OSError: it has none.
        """
        found = await CheckedResolver(self._fence, self._lookup).resolve(host, port)
        return [str(one["host"]) for one in found]

    async def close(self) -> None:
        """Close all connections."""
        for session in self._sessions.values():
            await session.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def get(
        self,
        url: str,
        *,
        within: float,
        limit: int,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
        fresh: bool = False,
        trusted: bool = False,
        whose: str | None = None,
    ) -> Answer:
        """Ask for a URL.

        Args:
            url: what to ask for.
            within: seconds for the connection, and then as many for the answer.
            limit: bytes of the body that are read; the rest is cut.
            method: GET or HEAD.
            headers: what to send along.
            tls: whom to trust; None: the authorities of the system.
            fresh: on a connection of its own, which reaches any pod behind a Service, not the one of the last time.
            trusted: the URL is the administrator's: any address may be called.
            whose: the namespace that it is called for, which has no more than its share of calls; None: nobody's.

        Raises:
            NotAllowed: the URL may not be called.
            NoAnswer: none came.
        """
        call = _Call(method, _parsed(url), within)
        turn = asyncio.Semaphore() if whose is None else self._turns.setdefault(whose, asyncio.Semaphore(SHARE))
        try:
            async with asyncio.timeout(within if turn.locked() else None):
                await turn.acquire()
        except TimeoutError as error:
            raise NoAnswer("busy", f"{call}: {SHARE} other calls of namespace {whose} are under way") from error
        try:
            return await self._get(call, limit, headers, tls, self._session(fresh=fresh, trusted=trusted))
        finally:
            turn.release()

    async def _get(
        self,
        call: _Call,
        limit: int,
        headers: Mapping[str, str] | None,
        tls: ssl.SSLContext | None,
        session: aiohttp.ClientSession,
    ) -> Answer:
        try:
            async with asyncio.timeout(call.within) as call.clock:
                return await self._ask(call, limit, headers, tls, session)
        except TimeoutError as error:
            raise call.timed_out() from error
        except aiohttp.InvalidURL as error:
            raise NotAllowed(f"{call}: {_WRITE}") from error
        except (aiohttp.ClientError, OSError) as error:
            raise call.failed(error) from error
        except NotAllowed as error:
            raise NotAllowed(f"{call}: {error}") from None

    async def _ask(
        self,
        call: _Call,
        limit: int,
        headers: Mapping[str, str] | None,
        tls: ssl.SSLContext | None,
        session: aiohttp.ClientSession,
    ) -> Answer:
        asked = session.request(
            call.method,
            call.url,
            headers=headers,
            ssl=True if tls is None else tls,
            allow_redirects=False,
            trace_request_ctx=call,
        )
        async with asked as response:
            call.answered = True
            body, whole = await _read(response.content, limit)
            return Answer(response.status, body, call.since_connected, whole)

    def _session(self, *, fresh: bool, trusted: bool) -> aiohttp.ClientSession:
        found = self._sessions.get((fresh, trusted))
        if found is None:
            found = self._sessions[fresh, trusted] = self._new_session(fresh, OPEN if trusted else self._fence)
        return found

    def _new_session(self, fresh: bool, fence: Fence) -> aiohttp.ClientSession:  # noqa: FBT001 - private, and named by its caller
        keeping: dict[str, Any] = {"force_close": True} if fresh else {"keepalive_timeout": KEPT_FOR}
        connector = aiohttp.TCPConnector(
            resolver=CheckedResolver(fence, self._lookup),
            socket_factory=checked_sockets(fence),
            limit=CONNECTIONS,
            limit_per_host=CONNECTIONS_PER_HOST,
            **keeping,
        )
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            # One timer for each call, which knows of the connection, in place of the library's.
            timeout=aiohttp.ClientTimeout(total=None),
            headers=_HEADERS,
            # A few bytes may unpack to gigabytes.
            auto_decompress=False,
            trace_configs=[_tracing()],
        )

    async def _getaddrinfo(self, host: str, port: int) -> Sequence[str]:
        """Addresses of a name; in threads of our own, which names that nobody answers for cannot take from others."""
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(
            self._threads, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
        )
        return [str(info[4][0]) for info in found]


@dataclass(slots=True)
class _Call:
    """One call on its way; `clock` ends it."""

    method: str
    url: URL
    within: float
    clock: asyncio.Timeout = field(init=False)
    connected_at: float | None = None
    answered: bool = False

    def __str__(self) -> str:
        return shown(self.method, self.url)

    def connected(self) -> None:
        """The connection stands: the host's time begins."""
        self.connected_at = asyncio.get_running_loop().time()
        self.clock.reschedule(self.connected_at + self.within)

    @property
    def since_connected(self) -> float:
        assert self.connected_at is not None
        return asyncio.get_running_loop().time() - self.connected_at

    def timed_out(self) -> NoAnswer:
        due = self.clock.when()
        assert due is not None
        if asyncio.get_running_loop().time() - due > LATE:
            return NoAnswer("busy", f"{self}: the operator was too busy to tell whether an answer came in time")
        if self.connected_at is None:
            return NoAnswer("connect", f"{self}: no connection within {self.within:g}s")
        return NoAnswer("timeout", f"{self}: no answer within {self.within:g}s")

    def failed(self, error: Exception) -> NoAnswer:
        if self.connected_at is not None and self.url.scheme == "https" and not self.answered:
            # A server that wants a certificate of the client closes the connection only now (TLS 1.3).
            return NoAnswer("tls", f"{self}: closed without an answer; perhaps a certificate is asked for")
        kind, what = _meaning(error, connected=self.connected_at is not None)
        return NoAnswer(kind, f"{self}: {what}")


def shown(method: str, url: URL) -> str:
    """A call, for messages; what stands behind the path may be meant for the host alone."""
    return f"{method} {url.origin()}{url.raw_path}"[:LONGEST_SHOWN]


def _meaning(error: Exception, *, connected: bool) -> tuple[Kind, str]:
    """What an error of the transport means; its own words are not kept, they may hold some of the answer."""
    cause = error.__cause__
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "name", "the host's name cannot be resolved"
    if isinstance(cause, ssl.SSLError):
        return "tls", f"TLS failed: {getattr(cause, 'verify_message', None) or cause.reason or 'no common ground'}"
    if connected:
        return "broken", "the connection broke, or what came is no HTTP"
    if isinstance(cause, ConnectionRefusedError):
        return "refused", "connection refused"
    return "connect", f"no connection: {getattr(cause, 'strerror', None) or type(error).__name__}"


def _parsed(text: str) -> URL:
    """A URL with a host and without a user.

    Raises:
        NotAllowed: it is none.
    """
    try:
        url = URL(text)
    except ValueError:
        url = URL()
    if url.scheme not in {"http", "https"} or not url.host or url.user or url.password:
        raise NotAllowed(_WRITE)
    return url


async def _read(content: aiohttp.StreamReader, limit: int) -> tuple[bytes, bool]:
    """At most `limit` bytes, and whether that is all."""
    body = bytearray()
    while len(body) <= limit:
        some = await content.read(limit + 1 - len(body))
        if not some:
            return bytes(body), True
        body += some
    return bytes(body[:limit]), False


def _tracing() -> aiohttp.TraceConfig:
    """Tells each call when its connection stands."""

    async def stands(_: aiohttp.ClientSession, context: SimpleNamespace, __: object) -> None:
        context.trace_request_ctx.connected()

    config = aiohttp.TraceConfig()
    config.on_connection_create_end.append(stands)
    config.on_connection_reuseconn.append(stands)
    return config
