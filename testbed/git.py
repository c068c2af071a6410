"""A Git repository on this machine's disk, as Argo CD reads one.

repository = GitRepository(folder)
first = repository.commit({"web/deployment.yaml": manifest}, "Add the web shop")
repository.break_()  # whoever asks for repository.url now is told that there is none
"""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from testbed import packages
from testbed.errors import TestbedError

BRANCH = "main"
SETTINGS = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0"}
"""For Git's environment: nothing of the user's or the machine's decides."""

_AUTHOR = "Testbed <testbed@example.com>"


class GitRepository:
    """A bare repository with one branch, `main`."""

    url: str
    """Its address for Git, `file:///...`; the same for life."""
    folder: Path
    """Where it is; it goes with the folder it is in."""

    def __init__(self, folder: Path) -> None:
        """Make an empty one.

        Args:
            folder: where, a folder that does not exist yet; by convention its name ends with `.git`.

        Raises:
            TestbedError: when the folder exists, or there is no Git here.
        """
        self.folder = folder.absolute()
        self.url = self.folder.as_uri()
        self._away = self.folder.with_name(f"{self.folder.name}.away")
        if self.folder.exists() or self._away.exists():
            raise TestbedError(f"{folder} exists: a repository makes its own folder.")
        self._git("init", "--quiet", "--bare", f"--initial-branch={BRANCH}", str(self.folder))

    @property
    def head(self) -> str:
        """The newest commit, 40 hexadecimal digits; nothing while there is none."""
        return self._git("for-each-ref", "--format=%(objectname)", f"refs/heads/{BRANCH}").strip()

    def commit(self, files: Mapping[str, str | None], message: str) -> str:
        """Add a commit on top, which has these files and otherwise those of the one before.

        Args:
            files: contents by path; None removes a file.
            message: what the commit says.

        Returns:
            Its id, 40 hexadecimal digits.

        Raises:
            TestbedError: when Git refuses it, as it does while the repository is away.
        """
        said = message.encode()
        parts = [
            f"commit refs/heads/{BRANCH}\ncommitter {_AUTHOR} now\ndata {len(said)}\n".encode() + said + b"\n",
            f"from {self.head}\n".encode() if self.head else b"",
            *(_change(path, content) for path, content in files.items()),
        ]
        self._git("fast-import", "--quiet", "--date-format=now", stdin=b"".join(parts))
        return self.head

    def break_(self) -> None:
        """Have nobody reach it, until `mend`; again is harmless."""
        if self.folder.exists():
            self.folder.rename(self._away)

    def mend(self) -> None:
        """Have it back where it was; again is harmless."""
        if self._away.exists():
            self._away.rename(self.folder)

    def _git(self, command: str, *arguments: str, stdin: bytes = b"") -> str:
        done = subprocess.run(
            [packages.path("git"), f"--git-dir={self.folder}", command, *arguments],
            input=stdin,
            env=_environment(),
            capture_output=True,
            check=False,
        )
        if done.returncode:
            raise TestbedError(
                f"git {command} in {self.folder} failed:\n{done.stderr.decode(errors='replace').strip()}"
            )
        return done.stdout.decode()


def _environment() -> dict[str, str]:
    # Without the repository of a Git hook that runs us.
    return {key: value for key, value in os.environ.items() if not key.startswith("GIT_")} | SETTINGS


def _change(path: str, content: str | None) -> bytes:
    if content is None:
        return f"D {path}\n".encode()
    data = content.encode()
    return f"M 100644 inline {path}\ndata {len(data)}\n".encode() + data + b"\n"
