"""The command lines of etcd, the API server and the controllers."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from testbed.access import Access
from testbed.binaries import Binaries
from testbed.pki import Pki
from testbed.servers import free_port

SERVICES = "10.96.0.0/16"
FIRST_SERVICE = "10.96.0.1"

_AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived", "ResponseStarted"],
    "rules": [{"level": "Metadata"}],
}


@dataclass(frozen=True)
class Ports:
    """The ports of one cluster on the addresses it listens on."""

    etcd: int
    etcd_peers: int
    apiserver: int


def free_ports(address: str) -> Ports:
    """Ports that nobody listens on now; someone else may be faster, so a start with them may have to be repeated."""
    return Ports(free_port(), free_port(), free_port(address))


@dataclass(frozen=True)
class ControlPlane:
    """Everything that the command lines are made from."""

    binaries: Binaries
    directory: Path
    address: str
    """Where the API server listens: loopback, or the pods' bridge."""
    ports: Ports
    pki: Pki
    access: Access
    audit_log: Path | None

    def etcd(self) -> list[str | Path]:
        """Without syncing to disk: the data is worth nothing after a crash, and tests are waiting."""
        clients = f"http://127.0.0.1:{self.ports.etcd}"
        peers = f"http://127.0.0.1:{self.ports.etcd_peers}"
        return [
            self.binaries.path("etcd"),
            f"--data-dir={self.directory / 'etcd'}",
            f"--listen-client-urls={clients}",
            f"--advertise-client-urls={clients}",
            f"--listen-peer-urls={peers}",
            f"--initial-advertise-peer-urls={peers}",
            f"--initial-cluster=default={peers}",
            "--unsafe-no-fsync",
            "--quota-backend-bytes=8589934592",
            "--log-level=warn",
        ]

    def apiserver(self, extra: Sequence[str]) -> list[str | Path]:
        """With tokens, RBAC, and an audit log of everything if it is wanted."""
        return [
            self.binaries.path("kube-apiserver"),
            f"--etcd-servers=http://127.0.0.1:{self.ports.etcd}",
            f"--bind-address={self.address}",
            f"--advertise-address={self.address}",
            f"--secure-port={self.ports.apiserver}",
            f"--tls-cert-file={self.pki.certificate('apiserver')}",
            f"--tls-private-key-file={self.pki.key('apiserver')}",
            f"--kubelet-certificate-authority={self.pki.authority}",
            f"--kubelet-client-certificate={self.pki.certificate('kubelet-client')}",
            f"--kubelet-client-key={self.pki.key('kubelet-client')}",
            "--kubelet-preferred-address-types=InternalIP",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={self.pki.folder / 'service-accounts.pub'}",
            f"--service-account-signing-key-file={self.pki.key('service-accounts')}",
            f"--token-auth-file={self.access.token_file(self.directory / 'tokens.csv')}",
            "--authorization-mode=RBAC",
            f"--service-cluster-ip-range={SERVICES}",
            *self._audit(),
            *extra,
        ]

    def _audit(self) -> list[str]:
        if self.audit_log is None:
            return []
        policy = self.directory / "audit-policy.yaml"
        policy.write_text(yaml.safe_dump(_AUDIT_POLICY))
        # Blocking: when a call has been answered, its line is in the file.
        return [
            f"--audit-policy-file={policy}",
            f"--audit-log-path={self.audit_log}",
            "--audit-log-mode=blocking",
            "--audit-log-maxsize=10000",
        ]

    def controller_manager(self, extra: Sequence[str]) -> list[str | Path]:
        """All controllers, no leader election: there is one."""
        return [
            self.binaries.path("kube-controller-manager"),
            f"--kubeconfig={self.kubeconfig('system:kube-controller-manager')}",
            f"--service-account-private-key-file={self.pki.key('service-accounts')}",
            f"--root-ca-file={self.pki.authority}",
            "--use-service-account-credentials=false",
            "--leader-elect=false",
            "--secure-port=0",
            "--controllers=*,-bootstrap-signer-controller",
            *extra,
        ]

    def scheduler(self) -> list[str | Path]:
        """The default profile."""
        return [
            self.binaries.path("kube-scheduler"),
            f"--kubeconfig={self.kubeconfig('system:kube-scheduler')}",
            "--leader-elect=false",
            "--secure-port=0",
        ]

    def kubeconfig(self, user: str) -> Path:
        """A component's own, so that the audit log names it."""
        return self.directory / "kubeconfigs" / user.rpartition(":")[2]
