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
from collections.abc import Iterable
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

    async def id_of(self, commit: str, path: str) -> str | None:
        """The id of the object at that path; None if there is none."""
        try:
            return (await self.run("rev-parse", "--verify", "--quiet", f"{commit}:{path}")).decode().strip()
        except Unknowable:
            return None

    async def is_folder(self, object_id: str) -> bool:
        """Whether an object is a tree."""
        return (await self.run("cat-file", "-t", object_id)).strip() == b"tree"

    async def below(self, tree: str, *, deep: bool = False) -> list[Entry]:
        """What a folder has; `deep`: all files in it and below. Paths are relative to it."""
        return _entries(await self.run("ls-tree", "-z", *(["-r"] if deep else []), tree))

    async def at(self, commit: str, paths: Iterable[str]) -> list[Entry]:
        """What there is of these paths; none of them may be empty."""
        asked = sorted(set(paths))
        return _entries(await self.run("ls-tree", "-z", commit, "--", *asked)) if asked else []

    async def blob(self, object_id: str) -> bytes:
        """The content of a file."""
        return await self.run("cat-file", "blob", object_id)

    async def blobs(self, ids: Iterable[str]) -> bytes:
        """The contents of files, one after the other; they are fetched together, where one by one would take long."""
        asked = sorted(set(ids))
        if not asked:
            return b""
        lines = "\n".join(asked).encode()
        await self.run(
            *("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--recurse-submodules=no"),
            *("--filter=blob:none", "--stdin", "origin"),
            words=lines,
        )
        return await self.run("cat-file", "--batch", words=lines + b"\n")

    async def run(self, *arguments: str, words: bytes = b"") -> bytes:
        """What the program answers; `words`: what it is given to read.

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
            out, err, _ = await asyncio.gather(_read(process.stdout), _read(process.stderr), _give(process, words))
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


async def _give(process: asyncio.subprocess.Process, words: bytes) -> None:
    if not words or process.stdin is None:
        return
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        process.stdin.write(words)
        await process.stdin.drain()
    process.stdin.close()


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
