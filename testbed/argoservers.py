"""The programs of Argo CD: what each is started with."""

import contextlib
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from testbed import git, packages
from testbed.binaries import Binaries
from testbed.errors import TestbedError
from testbed.servers import Server, free_port

CONTROLLER = "argocd-application-controller"
_LOOPBACK = "127.0.0.1"


class Cache(Server):
    """In place of Redis, and as volatile: Argo CD works out again what is not in it."""

    program = "argocd-cache"

    def __init__(self, folder: Path) -> None:
        """Make the folder; `up` runs it."""
        super().__init__("argocd-cache", folder, _LOOPBACK, ())

    def ready(self) -> bool:
        """Whether it takes connections."""
        with contextlib.suppress(OSError), socket.create_connection((_LOOPBACK, self._port), timeout=5):
            return True
        return False

    def _arguments(self) -> list[str]:
        return [f"--address={self.listen}"]


class _Part(Server):
    """One of the programs in Argo CD's one binary, which goes by the name that it is told."""

    program = "argocd"

    def ready(self) -> bool:
        """Whether it says so now."""
        try:
            self.call("/healthz")
        except (OSError, TestbedError):
            return False
        return True

    def _environment(self) -> Mapping[str, str]:
        # Whoever runs us behind a proxy wants none of this to go there.
        return {"ARGOCD_BINARY_NAME": self.name, "HOME": str(self.folder), "NO_PROXY": "*", "no_proxy": "*"}


class RepoServer(_Part):
    """Reads Git and renders manifests: plain ones, and Helm charts by the testbed's Helm."""

    def __init__(self, folder: Path, *, cache: str) -> None:
        """Make the folder; `up` runs it. `cache` is where the cache listens, `HOST:PORT`."""
        super().__init__("argocd-repo-server", folder, _LOOPBACK, ())
        self._cache = cache
        self._grpc = 0

    @property
    def grpc(self) -> str:
        """Where the controller asks it, `HOST:PORT`."""
        return f"{_LOOPBACK}:{self._grpc}"

    def forget(self) -> None:
        """While it is down: lose the clones that it made, so that it has to ask Git again."""
        (self.folder / "tmp").rename(self.folder / f"forgotten-{time.monotonic_ns()}")

    def _choose_port(self) -> None:
        if not self._port:
            self._grpc = free_port()
        super()._choose_port()

    def _arguments(self) -> list[str]:
        return [
            f"--address={_LOOPBACK}",
            f"--port={self._grpc}",
            f"--metrics-address={_LOOPBACK}",
            f"--metrics-port={self._port}",
            f"--redis={self._cache}",
            "--disable-tls",
            # What a branch points to: as old as this at most, where nobody asked to look again.
            "--revision-cache-expiration=1s",
            "--logformat=text",
        ]

    def _environment(self) -> Mapping[str, str]:
        temporary = self.folder / "tmp"
        temporary.mkdir(exist_ok=True)
        return {
            **super()._environment(),
            **git.SETTINGS,
            "ARGOCD_GPG_ENABLED": "false",
            "ARGOCD_ASK_PASS_SOCK": str(self.folder / "askpass.sock"),
            "TMPDIR": str(temporary),
            "PATH": f"{Binaries().path('helm').parent}:{packages.search_path()}",
        }


class Controller(_Part):
    """Compares what is in Git with what is in the cluster, and syncs. Its metrics are on all addresses: no flag."""

    def __init__(
        self, folder: Path, *, kubeconfig: Path, cache: str, repo_server: str, resync: int, flags: Sequence[str]
    ) -> None:
        """Make the folder; `up` runs it.

        Args:
            folder: where its files go, a folder that does not exist yet.
            kubeconfig: with whose rights it does everything.
            cache: where the cache listens, `HOST:PORT`.
            repo_server: where the repo-server listens, the same.
            resync: seconds between two looks at each Application.
            flags: more flags in the form `--name=value`, which win over ours.
        """
        super().__init__(CONTROLLER, folder, _LOOPBACK, flags)
        self._kubeconfig = kubeconfig
        self._cache = cache
        self._repo_server = repo_server
        self._resync = resync

    def _arguments(self) -> list[str]:
        return [
            "--namespace=argocd",
            "--application-namespaces=*",
            f"--metrics-port={self._port}",
            f"--redis={self._cache}",
            f"--repo-server={self._repo_server}",
            "--repo-server-plaintext",
            f"--app-resync={self._resync}",
            "--app-resync-jitter=0",
            # It would keep quiet about a Git that is away for three minutes.
            "--repo-error-grace-period-seconds=0",
            "--status-processors=5",
            "--operation-processors=5",
            "--logformat=text",
        ]

    def _environment(self) -> Mapping[str, str]:
        # It takes the kubeconfig's cluster for the one that it runs in.
        ours = {"KUBECONFIG": str(self._kubeconfig), "ARGOCD_FAKE_IN_CLUSTER": "true"}
        return {**super()._environment(), **ours}
