"""kubectl and helm against one cluster, whatever kind of cluster it is."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar

from testbed.binaries import Binaries
from testbed.errors import TestbedError


class Clients:
    """A cluster as its users see it: a kubeconfig, and the programs that read it."""

    besides: ClassVar[Mapping[str, str]] = MappingProxyType({})
    """More of the programs' environment; nothing, where what they take is measured."""

    def __init__(self, directory: Path) -> None:
        """Of the cluster whose kubeconfig is in `directory`; the programs keep their own files there too."""
        self.directory = directory
        self.kubeconfig = directory / "kubeconfig"
        self.bin = directory / "bin"
        self._binaries = Binaries()

    def kubectl(
        self,
        *arguments: str,
        input: str | None = None,  # noqa: A002 - as subprocess has it
        check: bool = True,
        timeout: float = 180,
    ) -> str:
        """What kubectl prints on stdout, as the administrator.

        Raises:
            TestbedError: with its stderr, when it fails and `check` is on.
            subprocess.TimeoutExpired: when it takes more than `timeout` seconds.
        """
        return self._checked("kubectl", arguments, input, timeout, check=check)

    def helm(
        self,
        *arguments: str,
        input: str | None = None,  # noqa: A002 - as subprocess has it
        check: bool = True,
        timeout: float = 300,
    ) -> str:
        """What helm prints on stdout; otherwise as `kubectl`."""
        return self._checked("helm", arguments, input, timeout, check=check)

    def kubectl_process(
        self,
        *arguments: str,
        input: str | None = None,  # noqa: A002 - as subprocess has it
        timeout: float = 180,
    ) -> subprocess.CompletedProcess[str]:
        """The finished kubectl, whatever its exit code."""
        return self._run("kubectl", arguments, input, timeout)

    def environment(self) -> dict[str, str]:
        """What a program needs in its environment to find this cluster, and to keep its own files in it."""
        helm = self.directory / "helm"
        return {
            "KUBECONFIG": str(self.kubeconfig),
            "KUBECACHEDIR": str(self.directory / "kubectl-cache"),
            "HELM_CACHE_HOME": str(helm / "cache"),
            "HELM_CONFIG_HOME": str(helm / "config"),
            "HELM_DATA_HOME": str(helm / "data"),
        }

    def link_programs(self, names: Sequence[str]) -> None:
        """Make `bin`, with links to these programs."""
        self.bin.mkdir(exist_ok=True)
        for name in names:
            (self.bin / name).unlink(missing_ok=True)
            (self.bin / name).symlink_to(self._binaries.path(name))

    def _checked(
        self, program: str, arguments: Sequence[str], stdin: str | None, timeout: float, *, check: bool
    ) -> str:
        done = self._run(program, arguments, stdin, timeout)
        if check and done.returncode:
            raise TestbedError(f"{program} {' '.join(arguments)}: exit code {done.returncode}\n{done.stderr.strip()}")
        return done.stdout

    def _run(
        self, program: str, arguments: Sequence[str], stdin: str | None, timeout: float
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self._binaries.path(program), *arguments],
            input=stdin or "",
            env={**_plain_environment(), **self.environment(), **self.besides},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )


def _plain_environment() -> dict[str, str]:
    """Ours without what would lead kubectl and helm to another cluster or through a proxy."""
    foreign = ("KUBE", "HELM_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
    return {key: value for key, value in os.environ.items() if not key.upper().startswith(foreign)}
