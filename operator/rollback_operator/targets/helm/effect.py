"""Running Helm: as a child without a shell, with an environment of its own, that ends when the operator does."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import re
import resource
import signal
import tempfile
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import yaml

from rollback_operator.kube.words import without_values
from rollback_operator.targets.base import Where
from rollback_operator.targets.helm.door import Door

PR_SET_PDEATHSIG = 1
MOST_WORDS = 512
"""Characters of Helm's own words that are kept."""
MEMORY = 256 * 2**20
"""Bytes that Helm may take: it unpacks whatever is kept of a release, and a Secret may unpack to gigabytes."""
_FATAL = b"fatal error: "
"""How Go's last words begin; pages of where it was follow."""
_KEPT = 8192
"""Bytes of a line that are kept, from its beginning: a value that is cut off before could not be told."""
_LINES = 20
_LIBC = ctypes.CDLL(None)
_ADDRESS = re.compile(r"http://127\.0\.0\.1:[0-9]+/[-_A-Za-z0-9]+")
"""The door's."""


@dataclass(frozen=True, slots=True)
class Finished:
    """How a run of Helm ended. `words`: its own, without values; `late`: it was ended, because its time was over."""

    code: int
    words: str
    late: bool = False


async def run(program: str, arguments: list[str], where: Where, door: Door, seconds: float) -> Finished:
    """Run Helm through `door` for at most so many seconds.

    It ends earlier when the door says that nobody may be at work any more. When this is cancelled, it is killed.

    Raises:
        FileNotFoundError, PermissionError: there is no such program.
    """
    with tempfile.TemporaryDirectory(prefix="helm-") as home:
        child = await asyncio.create_subprocess_exec(
            program,
            *arguments,
            env=_environment(Path(home), where, door),
            cwd=home,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
            preexec_fn=_ends_with(os.getpid()),
        )
        return await _watched(child, door, seconds)


def _ends_with(parent: int) -> Callable[[], None]:
    """What the child does before it becomes Helm: bounded, and killed when its parent ends."""

    def prepare() -> None:
        _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
        if os.getppid() != parent:
            os._exit(1)

    return prepare


def _environment(home: Path, where: Where, door: Door) -> dict[str, str]:
    """All that Helm gets to know: a folder of its own, which is removed afterwards, and the way to the door."""
    config = home / "kubeconfig"
    config.touch(mode=0o600)
    config.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "door", "cluster": {"server": door.url}}],
                "contexts": [{"name": "door", "context": {"cluster": "door", "namespace": where.namespace}}],
                "current-context": "door",
            }
        )
    )
    return {
        "HOME": str(home),
        "TMPDIR": str(home),
        "KUBECONFIG": str(config),
        "HELM_DRIVER": "secret",
        "NO_PROXY": "127.0.0.1",
        "NO_COLOR": "1",
        "GOMEMLIMIT": str(MEMORY * 3 // 4),  # where it begins to clear up more often
    }


async def _watched(child: asyncio.subprocess.Process, door: Door, seconds: float) -> Finished:
    ends = asyncio.create_task(_ended(child))
    beats = asyncio.create_task(door.beat())
    try:
        await asyncio.wait({ends, beats}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if ends.done():
            return ends.result()
        late = not beats.done()
        said = "it took longer than it may" if late else "another operator may be at work on the release"
        return Finished(-1, f"Helm was ended: {said}", late)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        ends.cancel()
        door.rest()
        await asyncio.gather(ends, beats, return_exceptions=True)
        await child.wait()


async def _ended(child: asyncio.subprocess.Process) -> Finished:
    assert child.stderr is not None
    said: deque[bytes] = deque([b""], maxlen=_LINES)
    last = False
    while chunk := await child.stderr.read(4096):
        for number, line in enumerate(chunk.split(b"\n")):
            last = last or (number > 0 and said[-1].startswith(_FATAL))
            if last:
                break
            if number > 0:
                said.append(b"")
            said[-1] = (said[-1] + line)[:_KEPT]
    return Finished(await child.wait(), told(b"\n".join(said).decode(errors="replace")))


def told(text: str) -> str:
    """Helm's words as they may be repeated: bounded, on one line, and without values."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("level=")]
    plain = _ADDRESS.sub("", " ".join(map(without_values, lines)))
    words = plain.removeprefix("Error: ")
    return words if len(words) <= MOST_WORDS else words[: MOST_WORDS - 1] + "…"
