"""Asks repositories, with the credentials that are meant for them and at the addresses that may be called.

The program gets credentials by its environment only.
"""

from __future__ import annotations

import asyncio
import base64
import os
import re
import tempfile
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar, cast
from urllib.parse import urlsplit, urlunsplit

from rollback_operator.gitobjects.program import Git, Unknowable
from rollback_operator.gitobjects.reading import identity_of, reads_of
from rollback_operator.gitobjects.spots import Identity, Reads, Spot

TIMEOUT = 60.0
"""Seconds that one answer of a repository may take."""
AT_ONCE = 2
REMEMBERED = 1000
_SETTINGS = (
    ("http.followRedirects", "false"),
    ("gc.auto", "0"),
    ("protocol.version", "2"),
    ("fetch.negotiationAlgorithm", "noop"),
    ("pack.threads", "1"),
    ("core.bigFileThreshold", "1m"),
    ("core.deltaBaseCacheLimit", "16m"),
)
_HOST = re.compile(r"[a-z0-9_]([-a-z0-9_.]*[a-z0-9])?|[0-9a-f:]+")
"""What Git, curl and we understand alike; an address in IPv6, too."""
_COMMIT = re.compile("[0-9a-f]{40,64}")


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a repository is shown, if its address begins with `url`: nobody else gets to see it."""

    url: str
    username: str = field(repr=False)
    password: str = field(repr=False)

    def fits(self, url: str) -> bool:
        """Whether they are for that address."""
        mine, asked = urlsplit(self.url.rstrip("/")), urlsplit(url)
        if (mine.scheme, mine.netloc) != (asked.scheme, asked.netloc) or not asked.path.startswith(mine.path):
            return False
        below = f"{asked.path.removeprefix(mine.path)}/"
        return below.startswith(("/", ".git/")) and ".." not in below.split("/")


T = TypeVar("T")
Resolve = Callable[[str, int], Awaitable[list[str]]]
"""The addresses that a host may be called at.

Raises:
    OSError: it has none.
    Exception: it may not be called; the message says why.
"""


class GitObjects:
    """Asks repositories; what a commit has never changes, so it is asked once."""

    def __init__(self, protocols: Iterable[str], resolve: Resolve) -> None:
        self._protocols = frozenset(protocols)
        self._resolve = resolve
        self._known: OrderedDict[tuple[str, Spot], object] = OrderedDict()
        self._room = asyncio.Semaphore(AT_ONCE)

    async def identity(self, spot: Spot, credentials: Credentials | None = None) -> Identity:
        """Digests of what is there: equal if and only if the objects are.

        Raises:
            Unknowable: the repository could not be asked, or has no such commit or path.
        """
        return await self._asked("identity", identity_of, spot, credentials)

    async def reads(self, spot: Spot, credentials: Credentials | None = None) -> Reads:
        """Which files beside its own the templates of a chart read.

        Raises:
            Unknowable: as `identity`.
        """
        return await self._asked("reads", reads_of, spot, credentials)

    async def _asked(
        self, what: str, ask: Callable[[Git, Spot], Awaitable[T]], spot: Spot, credentials: Credentials | None
    ) -> T:
        known = self._known.get((what, spot))
        if known is None:
            async with self._room:
                known = await self._ask(ask, spot, credentials)
            self._known[what, spot] = known
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return cast("T", known)

    async def _ask(self, ask: Callable[[Git, Spot], Awaitable[T]], spot: Spot, credentials: Credentials | None) -> T:
        if not _COMMIT.fullmatch(spot.commit):
            raise Unknowable(f"{spot.commit[:80]!r} is no commit")
        url, written = _taken_apart(spot.url)
        shown = credentials if credentials is not None and credentials.fits(url) else written
        settings = await self._settings(url, shown)
        with tempfile.TemporaryDirectory(prefix="rollback-git-") as folder:
            git = Git(Path(folder), _environment(Path(folder), self._protocols, settings))
            try:
                async with asyncio.timeout(TIMEOUT):
                    await git.fetch(url, spot.commit)
                    return await ask(git, spot)
            except TimeoutError:
                raise Unknowable(f"{url} did not answer within {TIMEOUT:.0f} seconds") from None

    async def _settings(self, url: str, credentials: Credentials | None) -> list[tuple[str, str]]:
        """Git's settings for this address; they are passed by the environment."""
        parts = urlsplit(url)
        if parts.scheme not in self._protocols:
            known = ", ".join(sorted(self._protocols))
            raise Unknowable(f"the operator does not ask repositories by {parts.scheme or 'ssh'}, only by {known}")
        settings = [*_SETTINGS]
        if parts.scheme != "file":
            if parts.hostname is None or not _HOST.fullmatch(parts.hostname):
                raise Unknowable("its address has no host that is written in plain letters, digits, '-' and '.'")
            port = parts.port or (443 if parts.scheme == "https" else 80)
            try:
                addresses = await self._resolve(parts.hostname, port)
            except Exception as error:
                raise Unknowable(f"{parts.hostname} cannot be called: {error}") from error
            settings.append(("http.curloptResolve", f"{parts.hostname}:{port}:{','.join(addresses)}"))
        if credentials is not None:
            pair = base64.b64encode(f"{credentials.username}:{credentials.password}".encode()).decode()
            settings.append(("http.extraHeader", f"Authorization: Basic {pair}"))
        return settings


def _taken_apart(url: str) -> tuple[str, Credentials | None]:
    """An address without the credentials in it, which would be seen in the list of processes; and those."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        shown = Credentials("", parts.username, parts.password or "") if parts.username else None
    except ValueError:
        raise Unknowable("the address of its repository is not one that Git knows") from None
    return urlunsplit(parts._replace(netloc=host)), shown if parts.scheme in ("http", "https") else None


def _environment(folder: Path, protocols: Iterable[str], settings: list[tuple[str, str]]) -> dict[str, str]:
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(folder),
        "LC_ALL": "C",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_LITERAL_PATHSPECS": "1",
        "GIT_ALLOW_PROTOCOL": ":".join(sorted(protocols)),
        "GIT_CONFIG_COUNT": str(len(settings)),
    }
    for number, (name, value) in enumerate(settings):
        environment |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
    return environment
