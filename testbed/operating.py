"""The operator as a process of this machine, with the rights that `deploy/` gives it and no more."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import yaml

from testbed.cluster import Cluster
from testbed.servers import free_port

ROOT = Path(__file__).parents[1]
SYSTEM = "rollback-system"
ACCOUNT = "rollback-operator"


class OperatorProcess:
    """The operator as a process of its own; ended by its id."""

    def __init__(self, kubeconfig: Path, log: Path, *, port: int | None = None, **settings: str) -> None:
        self.port = port or free_port()
        self.log = log
        environment = {
            **os.environ,
            "KUBECONFIG": str(kubeconfig),
            "PYTHONPATH": str(ROOT / "operator"),
            "ROLLBACK_PORT": str(self.port),
            "ROLLBACK_BIND": "127.0.0.1",
            **{f"ROLLBACK_{name.upper()}": value for name, value in settings.items()},
        }
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "rollback_operator"], env=environment, stdout=output, stderr=output
            )

    def stop(self) -> None:
        """End it as the kubelet would."""
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"did not stop on SIGTERM within 60 s:\n{self.lines()}") from None

    def memory(self) -> tuple[float, float]:
        """Resident memory now and at its highest, in MiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        now, highest = (re.search(rf"{name}:\s+(\d+) kB", status) for name in ("VmRSS", "VmHWM"))
        assert now is not None
        assert highest is not None
        return int(now[1]) / 1024, int(highest[1]) / 1024

    def kill(self) -> None:
        """End it as the kernel would."""
        self.process.kill()
        self.process.wait(60)

    def lines(self) -> str:
        """Everything it logged."""
        return self.log.read_text()


def install(cluster: Cluster, folder: Path) -> Path:
    """Install `crds/` and `deploy/`, the Deployment at zero; gives a kubeconfig of the operator's own account."""
    cluster.kubectl("apply", "-k", str(ROOT / "deploy"))
    cluster.kubectl("-n", SYSTEM, "scale", f"deployment/{ACCOUNT}", "--replicas=0")
    cluster.until_known("rollback.dev", "rollbackrequests", "rollbackpolicies")
    return kubeconfig(cluster, folder)


def token(cluster: Cluster) -> str:
    """A token of the operator's own service account."""
    return cluster.kubectl("-n", SYSTEM, "create", "token", ACCOUNT, "--duration=8h").strip()


def kubeconfig(cluster: Cluster, folder: Path) -> Path:
    """Credentials with exactly the rights that `deploy/` gives."""
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    config["users"] = [{"name": "operator", "user": {"token": token(cluster)}}]
    for context in config["contexts"]:
        context["context"]["user"] = "operator"
    path = folder / "operator.kubeconfig"
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(config))
    return path
