"""What is built from Go modules: one folder with a go.mod beside this file, and one row in the table, for each.

A go.mod names its programs as `tool` dependencies, so that `go mod tidy` keeps exactly what they need and go.sum
pins every byte of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Module:
    """One Go module and the programs that are built from it."""

    name: str
    """The folder with its go.mod."""
    path: str
    """The dependency that gives the version and the assets, or nothing for a program of our own."""
    programs: Mapping[str, str]
    """From what a program is called here to the Go package it is built from."""
    typical: int
    """Seconds that a build takes with nothing cached on two cores, for the progress line."""
    variables: tuple[str, ...] = ()
    """Go variables to set at link time: `{version}` stands for the dependency's, `{number}` for that without the v."""
    tags: tuple[str, ...] = ()
    assets: tuple[str, ...] = field(default=())
    """Files of the dependency that are kept beside the programs."""

    @property
    def folder(self) -> Path:
        """Where its go.mod and go.sum are."""
        return FOLDER / self.name

    @property
    def version(self) -> str:
        """The dependency's version, as go.mod pins it."""
        for line in (self.folder / "go.mod").read_text().splitlines():
            words = line.removeprefix("require").split()
            if self.path and words[:1] == [self.path]:
                return words[1]
        return "local"


def _kubernetes_variables() -> tuple[str, ...]:
    """The server and `kubectl version` report what these say."""
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    values = ("gitVersion={version}", "gitMajor={major}", "gitMinor={minor}", "gitTreeState=clean")
    return tuple(f"{package}.{value}" for package in packages for value in values)


_ALL = (
    Module(
        name="kubernetes",
        path="k8s.io/kubernetes",
        programs={
            name: f"k8s.io/kubernetes/cmd/{name}"
            for name in (
                "kube-apiserver",
                "kube-controller-manager",
                "kube-scheduler",
                "kubectl",
                "kubelet",
                "kube-proxy",
            )
        },
        typical=420,
        variables=_kubernetes_variables(),
    ),
    Module(
        name="etcd",
        path="go.etcd.io/etcd/server/v3",
        programs={"etcd": "go.etcd.io/etcd/server/v3"},
        typical=30,
    ),
    Module(
        name="kwok",
        path="sigs.k8s.io/kwok",
        programs={"kwok": "sigs.k8s.io/kwok/cmd/kwok"},
        typical=60,
        assets=(
            "kustomize/stage/node/fast/node-initialize.yaml",
            "kustomize/stage/node/heartbeat-with-lease/node-heartbeat-with-lease.yaml",
            "kustomize/stage/pod/fast/pod-ready.yaml",
            "kustomize/stage/pod/fast/pod-complete.yaml",
            "kustomize/stage/pod/fast/pod-delete.yaml",
        ),
    ),
    Module(
        name="helm",
        path="helm.sh/helm/v4",
        programs={"helm": "helm.sh/helm/v4/cmd/helm"},
        typical=150,
        variables=("helm.sh/helm/v4/internal/version.version={version}",),
    ),
    Module(
        name="coredns",
        path="github.com/coredns/coredns",
        programs={"coredns": "github.com/coredns/coredns"},
        typical=90,
    ),
    Module(
        name="kind",
        path="sigs.k8s.io/kind",
        programs={"kind": "sigs.k8s.io/kind"},
        typical=15,
    ),
    Module(
        name="prometheus",
        path="github.com/prometheus/prometheus",
        programs={name: f"github.com/prometheus/prometheus/cmd/{name}" for name in ("prometheus", "promtool")},
        typical=140,
        variables=("github.com/prometheus/common/version.Version={version}",),
        # Nobody here discovers services in clouds. There are no web pages either: the module lacks their assets.
        tags=("remove_all_sd", "enable_kubernetes_sd"),
    ),
    Module(
        name="alertmanager",
        path="github.com/prometheus/alertmanager",
        programs={"alertmanager": "github.com/prometheus/alertmanager/cmd/alertmanager"},
        typical=70,
        variables=("github.com/prometheus/common/version.Version={version}",),
    ),
    Module(
        name="argo-rollouts",
        path="github.com/argoproj/argo-rollouts",
        programs={"rollouts-controller": "github.com/argoproj/argo-rollouts/cmd/rollouts-controller"},
        typical=180,
        assets=tuple(
            f"manifests/crds/{name}-crd.yaml"
            for name in ("rollout", "analysis-run", "analysis-template", "cluster-analysis-template", "experiment")
        ),
    ),
    Module(
        name="argo-cd",
        path="github.com/argoproj/argo-cd/v3",
        # One program for every part of Argo CD; `argocd-cache` is our own, in place of Redis.
        programs={"argocd": "github.com/argoproj/argo-cd/v3/cmd", "argocd-cache": "."},
        typical=270,
        variables=("github.com/argoproj/argo-cd/v3/common.version={number}",),
        assets=("manifests/crds/application-crd.yaml", "manifests/crds/appproject-crd.yaml"),
    ),
    Module(
        name="pause",
        path="",
        programs={"pause": "."},
        typical=5,
    ),
)

MODULES: Mapping[str, Module] = {module.name: module for module in _ALL}
OF_PROGRAM: Mapping[str, Module] = {program: module for module in _ALL for program in module.programs}
