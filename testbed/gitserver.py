"""Serves the Git repositories of a folder over HTTP, for those who cannot read this machine's disk.

with GitServer(folder, network.GATEWAY) as server:
    repository = GitRepository(folder / "shop.git")
    server.url + "/shop.git"  # its address
"""

import os
import subprocess
from pathlib import Path

from testbed import git, packages
from testbed.listeners import Answer, Asked, Listener

_FAILED = 500


class GitServer(Listener):
    """Git's own program for that, run for each request; nobody can push."""

    def __init__(self, folder: Path, address: str = "127.0.0.1") -> None:
        """Serve at once.

        Args:
            folder: where the repositories are.
            address: where to listen.
        """
        self._folder = folder.absolute()
        super().__init__(address)

    def answer(self, asked: Asked) -> Answer:
        """What Git says, as a CGI program says it (RFC 3875)."""
        done = subprocess.run(
            [packages.path("git"), "http-backend"],
            input=asked.body,
            env=self._environment(asked),
            capture_output=True,
            check=False,
        )
        head, _, body = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line)
        if done.returncode or not headers:
            return Answer(_FAILED, done.stderr)
        status = int(headers.pop("Status", "200").split()[0])
        return Answer(status, body, headers)

    def _environment(self, asked: Asked) -> dict[str, str]:
        path, _, query = asked.path.partition("?")
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "GIT_PROJECT_ROOT": str(self._folder),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": asked.method,
            "CONTENT_TYPE": asked.headers.get("content-type", ""),
            "CONTENT_LENGTH": str(len(asked.body)),
            "HTTP_CONTENT_ENCODING": asked.headers.get("content-encoding", ""),
            "GIT_PROTOCOL": asked.headers.get("git-protocol", ""),
            # So that whoever wants a commit alone gets no more.
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "uploadpack.allowFilter",
            "GIT_CONFIG_VALUE_0": "true",
            **git.SETTINGS,
        }
