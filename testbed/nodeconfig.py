"""Configuration files and command lines of the real node's programs."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from testbed import mounts, network, packages
from testbed.archives import PAUSE_IMAGE
from testbed.binaries import Binaries
from testbed.pki import Pki

NAME = "real-0"
_DOMAIN = "cluster.local"


@dataclass(frozen=True)
class NodeFiles:
    """Where everything of the node is, containers included: in one folder, whose short path suits sockets."""

    folder: Path

    @property
    def socket(self) -> Path:
        """containerd's."""
        return self.folder / "containerd.sock"

    @property
    def tasks(self) -> Path:
        """One folder for each container, in which its shim notes its process id."""
        return self.folder / "state" / "io.containerd.runtime.v2.task" / "k8s.io"

    @property
    def runc(self) -> Path:
        """runc's own records: process ids with start times."""
        return self.folder / "runc" / "k8s.io"

    def log(self, name: str) -> Path:
        """The log of one program."""
        return self.folder / "logs" / f"{name}.log"

    def containerd(self) -> list[str | Path]:
        """containerd with no way to a registry: an image that was not loaded cannot be pulled, and that shows fast."""
        registries = self.folder / "registries" / "_default"
        registries.mkdir(parents=True)
        (registries / "hosts.toml").write_text('server = "http://127.0.0.1:1"\n')
        self._network_configuration()
        path = self.folder / "containerd.toml"
        content = _CONTAINERD.format(
            folder=self.folder,
            socket=self.socket,
            pause=PAUSE_IMAGE,
            plugins=packages.path("host-local").parent,
            snapshotter="overlayfs" if mounts.overlay_works(self.folder) else "native",
        )
        path.write_text(content)
        return [packages.path("containerd"), "--config", path]

    def kubelet(self, binaries: Binaries, kubeconfig: Path, pki: Pki, port: int) -> list[str | Path]:
        """A kubelet that answers on the bridge only, and only to the API server."""
        path = self.folder / "kubelet.yaml"
        path.write_text(yaml.safe_dump(_kubelet_configuration(self, pki, port)))
        return [
            binaries.path("kubelet"),
            f"--config={path}",
            f"--kubeconfig={kubeconfig}",
            f"--hostname-override={NAME}",
            f"--root-dir={self.folder / 'kubelet'}",
            f"--cert-dir={self.folder / 'kubelet' / 'pki'}",
            f"--node-ip={network.GATEWAY}",
        ]

    def coredns(self, binaries: Binaries, kubeconfig: Path) -> list[str | Path]:
        """The names of the cluster, and no others: pods have no way out."""
        path = self.folder / "Corefile"
        path.write_text(_COREFILE.format(address=network.GATEWAY, domain=_DOMAIN, kubeconfig=kubeconfig))
        return [binaries.path("coredns"), "-conf", path]

    def _network_configuration(self) -> None:
        (self.folder / "cni").mkdir()
        plugin = {
            "type": "bridge",
            "bridge": network.BRIDGE,
            "isGateway": True,
            "ipMasq": False,
            "ipam": {
                "type": "host-local",
                "dataDir": str(self.folder / "addresses"),
                "ranges": [[{"subnet": network.PODS}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        }
        content = {"cniVersion": "0.4.0", "name": "testbed", "plugins": [plugin]}
        (self.folder / "cni" / "10-bridge.conflist").write_text(json.dumps(content))


def kube_proxy(binaries: Binaries, kubeconfig: Path) -> list[str | Path]:
    """kube-proxy that leaves the kernel's settings alone.

    Traffic to Services is masqueraded: between pods of one bridge the answer would otherwise take the short way,
    past the translation, where the kernel lacks bridge filtering.
    """
    return [
        binaries.path("kube-proxy"),
        f"--kubeconfig={kubeconfig}",
        f"--hostname-override={NAME}",
        "--proxy-mode=iptables",
        f"--cluster-cidr={network.PODS}",
        "--masquerade-all",
        "--conntrack-max-per-core=0",
        "--conntrack-tcp-timeout-established=0",
        "--conntrack-tcp-timeout-close-wait=0",
        "--iptables-localhost-nodeports=false",
        "--healthz-bind-address=",
        "--metrics-bind-address=",
    ]


def _kubelet_configuration(files: NodeFiles, pki: Pki, port: int) -> dict[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": network.GATEWAY,
        "port": port,
        "readOnlyPort": 0,
        "healthzPort": 0,
        "tlsCertFile": str(pki.certificate("kubelet")),
        "tlsPrivateKeyFile": str(pki.key("kubelet")),
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": False},
            "x509": {"clientCAFile": str(pki.authority)},
        },
        "authorization": {"mode": "AlwaysAllow"},
        "containerRuntimeEndpoint": f"unix://{files.socket}",
        "clusterDNS": [network.GATEWAY],
        "clusterDomain": _DOMAIN,
        # Both kinds of control groups, with or without systemd, and no groups of our own to clear away.
        "cgroupDriver": "cgroupfs",
        "cgroupsPerQOS": False,
        "enforceNodeAllocatable": [],
        "failCgroupV1": False,
        "failSwapOn": False,
        "makeIPTablesUtilChains": False,
        "syncFrequency": "5s",
        "maxPods": 250,
        # A disk that is nearly full for other reasons is no reason to evict a test.
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "podLogsDir": str(files.folder / "pod-logs"),
    }


# restrict_oom_score_adj: a machine without CAP_SYS_RESOURCE could start no sandbox otherwise.
_CONTAINERD = """version = 2
root = "{folder}/containerd"
state = "{folder}/state"
[grpc]
  address = "{socket}"
[plugins."io.containerd.grpc.v1.cri"]
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  sandbox_image = "{pause}"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{folder}/registries"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "{snapshotter}"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        Root = "{folder}/runc"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins}"
    conf_dir = "{folder}/cni"
"""

_COREFILE = """.:53 {{
    bind {address}
    errors
    kubernetes {domain} in-addr.arpa ip6.arpa {{
        kubeconfig {kubeconfig} testbed
    }}
}}
"""
