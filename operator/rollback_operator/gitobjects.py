"""What a Git repository has at a commit, as the ids of its objects: where those are the same, so is what they bring.

The `git` program fetches commits and trees, no contents but those of a few small files that name others. It runs
without a shell, with nothing of this process's environment, and gets credentials by its environment only.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import os
import posixpath
import re
import resource
import signal
import tempfile
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from rollback_operator.untrusted import Room, UntrustedError, yaml_in

TIMEOUT = 60.0
"""Seconds that one answer of a repository may take."""
AT_ONCE = 2
REMEMBERED = 1000
_NAMING = ("kustomization.yaml", "kustomization.yml", "Kustomization", "Chart.yaml")
"""Files that name others, outside of their own folder, that belong to what they describe."""
_LARGEST = 1024 * 1024
_VALUES = 20_000
"""Values that a description may have."""
_MOST = 100
"""Paths that one description may lead to."""
_LARGEST_ANSWER = 8 * 2**20
"""Bytes that one answer of the program may have."""
LARGEST_FILE = 24 * 2**20
"""Bytes of what is fetched: the folder that it is kept in is the operator's own, and small."""
MEMORY = 160 * 2**20
"""Bytes that the program may take."""
_WORDS = 300
_SETTINGS = (
    ("http.followRedirects", "false"),
    ("gc.auto", "0"),
    ("protocol.version", "2"),
    ("pack.threads", "1"),
    ("core.bigFileThreshold", "1m"),
    ("core.deltaBaseCacheLimit", "16m"),
)
_HOST = re.compile(r"[a-z0-9_]([-a-z0-9_.]*[a-z0-9])?|[0-9a-f:]+")
"""What Git, curl and we understand alike; an address in IPv6, too."""
_TOOK = re.compile(r" after [0-9]+ (ms|milliseconds)( with [0-9]+( out of [0-9]+)? bytes received)?")
_COMMIT = re.compile("[0-9a-f]{40,64}")
_REF = re.compile(r"^\$([^/]+)/(.+)$")


class Unknowable(Exception):  # noqa: N818 - named as what it tells
    """What a repository has could not be found out; the message is a clause that says why."""


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


@dataclass(frozen=True, slots=True)
class Spot:
    """A place in a repository at a commit, and what else of it belongs to what is there."""

    url: str
    commit: str
    path: str
    also: tuple[str, ...] = ()


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
        self._known: OrderedDict[Spot, str] = OrderedDict()
        self._room = asyncio.Semaphore(AT_ONCE)

    async def identity(self, spot: Spot, credentials: Credentials | None = None) -> str:
        """A digest of what is there: equal if and only if the objects are.

        Raises:
            Unknowable: the repository could not be asked, or has no such commit or path.
        """
        known = self._known.get(spot)
        if known is None:
            async with self._room:
                known = await self._ask(spot, credentials)
            self._known[spot] = known
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return known

    async def _ask(self, spot: Spot, credentials: Credentials | None) -> str:
        if not _COMMIT.fullmatch(spot.commit):
            raise Unknowable(f"{spot.commit[:80]!r} is no commit")
        url, written = _taken_apart(spot.url)
        shown = credentials if credentials is not None and credentials.fits(url) else written
        settings = await self._settings(url, shown)
        with tempfile.TemporaryDirectory(prefix="rollback-git-") as folder:
            git = _Git(Path(folder), _environment(Path(folder), self._protocols, settings))
            try:
                async with asyncio.timeout(TIMEOUT):
                    await git.fetch(url, spot.commit)
                    return await _digest(git, spot)
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


class _Git:
    """One bare repository in a folder of its own."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._folder = folder
        self._environment = environment

    async def fetch(self, url: str, commit: str) -> None:
        await self.run("init", "--quiet", "--bare", ".")
        await self.run("config", "remote.origin.url", url)
        await self.run("fetch", "--quiet", "--no-tags", "--depth=1", "--filter=blob:none", "origin", commit)

    async def id_of(self, commit: str, path: str) -> str | None:
        """The id of the object at that path; None if there is none."""
        try:
            return (await self.run("rev-parse", "--verify", "--quiet", f"{commit}:{path}")).decode().strip()
        except Unknowable:
            return None

    async def names(self, tree: str) -> dict[str, str]:
        """What a folder has: ids of its files and folders."""
        listed = (await self.run("ls-tree", "-z", tree)).decode(errors="replace").split("\0")
        return {name: about.split()[2] for about, _, name in (line.partition("\t") for line in listed) if name}

    async def is_folder(self, object_id: str) -> bool:
        return (await self.run("cat-file", "-t", object_id)).strip() == b"tree"

    async def run(self, *arguments: str) -> bytes:
        try:
            process = await asyncio.create_subprocess_exec(
                "git",
                *arguments,
                cwd=self._folder,
                env=self._environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
                preexec_fn=_bounded,
            )
        except OSError as error:
            raise Unknowable(f"git, which the operator's image holds, cannot be run: {error}") from error
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            out, err = await asyncio.gather(_read(process.stdout), _read(process.stderr))
            await process.wait()
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
            raise
        if process.returncode:
            raise Unknowable(f"git {arguments[0]} failed: {_said(err) or process.returncode}")
        return out


async def _read(stream: asyncio.StreamReader) -> bytes:
    """All that it gives.

    Raises:
        Unknowable: that is too much.
    """
    found = bytearray()
    while some := await stream.read(64 * 1024):
        found += some
        if len(found) > _LARGEST_ANSWER:
            raise Unknowable(f"what it has there takes more than {_LARGEST_ANSWER // 2**20} MiB")
    return bytes(found)


def _said(err: bytes) -> str:
    """Git's own words. Those of the server are not among them: it may be any that answers by HTTP.

    Nor is how long something took: what fails in the same way again is to read the same, and to be written once.
    """
    lines = err.decode(errors="replace").splitlines()
    words = " ".join(" ".join(line for line in lines if not line.startswith("remote:")).split())
    return _TOOK.sub("", words)[:_WORDS]


def _bounded() -> None:
    """What the child does before it becomes Git."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE, LARGEST_FILE))
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))


async def _digest(git: _Git, spot: Spot) -> str:
    """All that belongs to the place, found by following what its files name."""
    waiting = [_normal(spot.path), *(_normal(one) for one in spot.also)]
    found: dict[str, str] = {}
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        if len(found) >= _MOST:
            raise Unknowable(f"{spot.path} leads to more than {_MOST} other paths")
        object_id = await git.id_of(spot.commit, path)
        if object_id is None and path == _normal(spot.path):
            raise Unknowable(f"there is no {spot.path} at {spot.commit[:12]}")
        found[path] = object_id or "none"
        if object_id is not None and await git.is_folder(object_id):
            waiting += await _named_outside(git, path, object_id)
    return hashlib.sha256(repr(sorted(found.items())).encode()).hexdigest()


async def _named_outside(git: _Git, folder: str, tree: str) -> list[str]:
    """Paths outside of a folder that its descriptions name."""
    names = await git.names(tree)
    outside: list[str] = []
    for name in _NAMING:
        if name in names:
            text = await git.run("cat-file", "blob", names[name])
            outside += [_normal(posixpath.join(folder, one)) for one in outside_of(text)]
    return outside


def outside_of(text: bytes) -> Iterator[str]:
    """Relative paths that a description names, which lead out of its folder.

    Raises:
        Unknowable: it is not YAML, or too big to be read.
    """
    if len(text) > _LARGEST:
        raise Unknowable("a description in it is longer than 1 MiB")
    try:
        waiting: list[object] = yaml_in(text, Room(_VALUES))
    except UntrustedError as error:
        raise Unknowable(f"a description in it {error}") from None
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
        elif isinstance(value, str) and value.removeprefix("file://").startswith("../"):
            yield value.removeprefix("file://")


def _normal(path: str) -> str:
    """A path as Git names it; the root of the repository is empty."""
    normal = posixpath.normpath("/" + path).lstrip("/")
    if posixpath.normpath(path.lstrip("/") or ".").startswith(".."):
        raise Unknowable(f"{path} is outside of the repository")
    return "" if normal == "." else normal


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
        "GIT_ALLOW_PROTOCOL": ":".join(sorted(protocols)),
        "GIT_CONFIG_COUNT": str(len(settings)),
    }
    for number, (name, value) in enumerate(settings):
        environment |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
    return environment


def ref_of(file: str) -> tuple[str, str] | None:
    """The source and the path in it that a value file such as `$values/web.yaml` names."""
    found = _REF.match(file)
    return (found[1], found[2]) if found else None
