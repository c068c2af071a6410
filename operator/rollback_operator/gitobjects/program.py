"""The `git` program, in a repository of its own that is thrown away.

It runs without a shell, with nothing of this process's environment, and fetches commits and trees; of contents only
those of a few small files that name others, and of templates if it depends on them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import resource
import signal
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

_LARGEST_ANSWER = 8 * 2**20
"""Bytes that one answer of the program may have."""
LARGEST_FILE = 24 * 2**20
"""Bytes of what is fetched: the folder that it is kept in is the operator's own, and small."""
MEMORY = 160 * 2**20
"""Bytes that the program may take."""
_WORDS = 300
_TOOK = re.compile(r" after [0-9]+ (ms|milliseconds)( with [0-9]+( out of [0-9]+)? bytes received)?")


class Unknowable(Exception):  # noqa: N818 - named as what it tells
    """What a repository has could not be found out; the message is a clause that says why."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What stands at a path of a commit."""

    path: str
    kind: str
    """`blob`, `tree`, or `commit`: another repository inside of this one."""
    id: str
    is_link: bool = False


class Git:
    """One bare repository in a folder of its own."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._folder = folder
        self._environment = environment

    async def fetch(self, url: str, commit: str) -> None:
        """Get a commit with its trees."""
        await self.run("init", "--quiet", "--bare", ".")
        await self.run("config", "remote.origin.url", url)
        await self.run("fetch", "--quiet", "--no-tags", "--depth=1", "--filter=blob:none", "origin", commit)

    async def root(self, commit: str) -> str:
        """The id of the tree of all that a commit has."""
        return (await self.run("rev-parse", "--verify", "--quiet", f"{commit}^{{tree}}")).decode().strip()

    async def below(self, tree: str, *, deep: bool = False, only: re.Pattern[bytes] | None = None) -> list[Entry]:
        """What a folder has; `deep`: all files in it and below. Paths are relative to it.

        `only`: of what is listed, the lines that match; then it may be any number of others.
        """
        return _entries(await self.run("ls-tree", "-z", *(["-r"] if deep else []), tree, only=only))

    async def at(self, commit: str, paths: Iterable[str]) -> list[Entry]:
        """What there is of these paths; none of them may be empty."""
        asked = set(paths)
        # Without -t a folder is left out if a file in it is asked for as well.
        listed = _entries(await self.run("ls-tree", "-z", "-t", commit, "--", *sorted(asked))) if asked else []
        return [one for one in listed if one.path in asked]

    async def blob(self, object_id: str) -> bytes:
        """The content of a file."""
        return await self.run("cat-file", "blob", object_id)

    async def blobs(self, ids: Iterable[str]) -> dict[str, bytes]:
        """The contents of files; they are fetched together, where one by one would take long."""
        asked = sorted(set(ids))
        if not asked:
            return {}
        lines = "\n".join(asked).encode()
        if len(asked) > 1:
            await self.run(
                *("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--recurse-submodules=no"),
                *("--filter=blob:none", "--stdin", "origin"),
                words=lines,
            )
        return dict(_contents(await self.run("cat-file", "--batch", words=lines + b"\n")))

    async def run(self, *arguments: str, words: bytes = b"", only: re.Pattern[bytes] | None = None) -> bytes:
        """What the program answers; `words`: what it is given to read; `only`: as `below`.

        Raises:
            Unknowable: it failed, or answers too much.
        """
        try:
            process = await asyncio.create_subprocess_exec(
                "git",
                *arguments,
                cwd=self._folder,
                env=self._environment,
                stdin=asyncio.subprocess.PIPE if words else asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
                preexec_fn=_bounded,
            )
        except OSError as error:
            raise Unknowable(f"git, which the operator's image holds, cannot be run: {error}") from error
        except ValueError:
            raise Unknowable("a path in it has characters that no path has") from None
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            out, err, _ = await asyncio.gather(
                _read(process.stdout, only), _read(process.stderr), _give(process, words)
            )
            await process.wait()
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
            raise
        if process.returncode:
            raise Unknowable(f"git {arguments[0]} failed: {_said(err) or process.returncode}")
        return out


def _entries(listed: bytes) -> list[Entry]:
    """Lines of `git ls-tree -z`: mode, kind and id, and after a tab the path."""
    found = []
    for line in listed.decode(errors="replace").split("\0"):
        about, _, path = line.partition("\t")
        if path:
            mode, kind, object_id = about.split()
            found.append(Entry(path, kind, object_id, is_link=mode == "120000"))
    return found


def _contents(answered: bytes) -> Iterator[tuple[str, bytes]]:
    """What `git cat-file --batch` has for each id: id, kind and size, the content, and the end of a line.

    Raises:
        Unknowable: there is none of that id.
    """
    at = 0
    while at < len(answered):
        end = answered.index(b"\n", at)
        object_id, _, size = answered[at:end].decode().rpartition(" ")
        if not size.isdecimal():
            raise Unknowable(f"git has no object {object_id}")
        yield object_id.partition(" ")[0], answered[end + 1 : end + 1 + int(size)]
        at = end + 1 + int(size) + 1


async def _give(process: asyncio.subprocess.Process, words: bytes) -> None:
    if not words or process.stdin is None:
        return
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        process.stdin.write(words)
        await process.stdin.drain()
    process.stdin.close()


async def _read(stream: asyncio.StreamReader, only: re.Pattern[bytes] | None = None) -> bytes:
    """All that it gives; `only`: of that, the parts that match, which end with a zero.

    Raises:
        Unknowable: that is too much.
    """
    found, begun = bytearray(), b""
    while some := await stream.read(64 * 1024):
        if only is not None:
            *parts, begun = (begun + some).split(b"\0")
            some = b"".join(one + b"\0" for one in parts if only.fullmatch(one))
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
