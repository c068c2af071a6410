"""A cluster in containers of a Docker engine, by kind, where there is one."""

import shutil
import subprocess
from pathlib import Path
from typing import Self

from testbed.binaries import Binaries
from testbed.clients import Clients
from testbed.errors import TestbedError

NAME = "rollback-operator"
CONFIGURATION = Path(__file__).parents[1] / "kind-config.yaml"
PROGRAMS = ("kind", "kubectl", "helm")


def engine_runs() -> bool:
    """Whether a Docker engine answers."""
    docker = shutil.which("docker")
    return docker is not None and subprocess.run([docker, "info"], capture_output=True, check=False).returncode == 0


class KindCluster(Clients):
    """The kind cluster of this project; there is one on a machine, by its name."""

    nodes = "kind"

    @classmethod
    def start(cls, directory: Path) -> Self:
        """Create it, with its kubeconfig in `directory`.

        Raises:
            TestbedError: when there is no engine, or with kind's own words.
        """
        if not engine_runs():
            raise TestbedError("kind needs a Docker engine, and `docker info` finds none. NODES=fake needs nothing.")
        Binaries.ensure(PROGRAMS)
        directory.mkdir(parents=True, mode=0o700)
        cluster = cls(directory)
        cluster._kind("create", "cluster", f"--config={CONFIGURATION}", f"--kubeconfig={cluster.kubeconfig}")
        cluster.link_programs(PROGRAMS)
        return cluster

    @classmethod
    def attach(cls, directory: Path) -> Self | None:
        """The one that an earlier run created with its kubeconfig in `directory`."""
        cluster = cls(directory)
        if not (directory / "bin" / "kind").is_symlink() or NAME not in cluster._kind("get", "clusters").split():
            return None
        return cluster

    def load_image(self, archive: Path) -> None:
        """Give its node the images of a docker-archive."""
        self._kind("load", "image-archive", str(archive))

    def components(self) -> dict[str, bool]:
        """What of it runs: its node is one container."""
        return {f"{NAME}-control-plane": NAME in self._kind("get", "clusters").split()}

    def stop(self) -> None:
        """Delete it."""
        self._kind("delete", "cluster", f"--kubeconfig={self.kubeconfig}")
        shutil.rmtree(self.directory, ignore_errors=True)

    def _kind(self, *arguments: str) -> str:
        name = [] if arguments[:2] in {("get", "clusters"), ("create", "cluster")} else [f"--name={NAME}"]
        done = subprocess.run(
            [self._binaries.path("kind"), *arguments, *name], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise TestbedError(f"kind {' '.join(arguments[:2])}: {done.stderr.strip()}")
        return done.stdout
