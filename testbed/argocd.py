"""Argo CD as processes of this machine, against one cluster: its repo-server, its application controller, its cache.

with Cluster.start() as cluster, ArgoCD.start(folder, cluster) as argocd:
    repository = GitRepository(folder / "shop.git")
    repository.commit({"web/deployment.yaml": manifest}, "Add the web shop")
    argocd.application("web", repository.url, path="web", automated={"selfHeal": True})
    argocd.wait("web", synced)
"""

import json
import secrets
import shutil
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from testbed import git
from testbed.access import Access
from testbed.argoservers import CONTROLLER, Cache, Controller, RepoServer
from testbed.binaries import GITOPS, Binaries
from testbed.cluster import Cluster
from testbed.errors import TestbedError
from testbed.modules import MODULES
from testbed.servers import Server

NAMESPACE = "argocd"
"""Where Argo CD's own settings and projects are."""
IN_CLUSTER = "https://kubernetes.default.svc"
"""The cluster itself, as an Application's destination."""

Manifest = Mapping[str, Any]

_GROUP = "argoproj.io"
_KINDS = ("applications", "appprojects")
_REFRESH = "argocd.argoproj.io/refresh"
# The longest that a token may be good for, by what the API server is set to.
_A_DAY = "--duration=24h"


class ArgoCD:
    """An Argo CD of its own; a context manager that leaves no process behind. When this process dies, so does it."""

    cache: Cache
    """What it has in place of Redis."""
    repo_server: RepoServer
    """Reads Git and renders manifests."""
    controller: Controller
    """Compares and syncs; as every `Server`, it can be ended (`down`), run again (`up`) and read (`log`)."""
    folder: Path
    """Everything of it on disk; removed by `stop`. What it put into the cluster stays there."""

    def __init__(self, folder: Path, cluster: Cluster) -> None:
        """Use `start`."""
        self.folder = folder.absolute()
        self._cluster = cluster
        self._running = ExitStack()

    @classmethod
    def start(cls, folder: Path, cluster: Cluster, *, resync: int = 3, flags: tuple[str, ...] = ()) -> Self:
        """Put it into a cluster that has none, and wait until it is ready.

        Applications may be in any namespace; those that are not in `argocd` need a project that lists their namespace
        in `sourceNamespaces`. The project `default` allows everything, to everyone.

        Args:
            folder: where its files go, a folder that does not exist yet.
            cluster: where it runs and what it deploys to; its pods need not run.
            resync: seconds between two looks at Git for each Application; `refresh` has it look at once.
            flags: more flags for the controller in the form `--name=value`, which win over ours.

        Raises:
            TestbedError: when it does not come up, with the end of the right log.
        """
        Binaries.ensure(GITOPS)
        argocd = cls(folder, cluster)
        try:
            argocd._up(resync, flags)
        except BaseException:
            argocd.stop()
            raise
        return argocd

    def __enter__(self) -> Self:
        """Nothing more: it runs already."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        self.stop()

    def stop(self) -> None:
        """End it and remove its folder; again is harmless."""
        self._running.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def pids(self) -> dict[str, int]:
        """The process of each of its programs, for measuring."""
        return {server.name: server.pid for server in (self.cache, self.repo_server, self.controller)}

    def project(self, name: str, **spec: Any) -> None:
        """Apply an AppProject that allows everything except where `spec` says otherwise.

        Args:
            name: what Applications call it.
            spec: fields of its `spec`, each in place of ours as a whole.
        """
        self.apply(_project(name, spec))

    def application(
        self,
        name: str,
        repository: str,
        *,
        namespace: str = NAMESPACE,
        path: str = ".",
        destination: str = "default",
        automated: Mapping[str, Any] | None = None,
        source: Mapping[str, Any] | None = None,
        **spec: Any,
    ) -> None:
        """Apply an Application.

        Args:
            name: its name.
            repository: the address of a Git repository (`GitRepository.url`).
            namespace: the Application's own.
            path: of the manifests or the chart, in the repository.
            destination: the namespace that it deploys to, in the same cluster.
            automated: automatic sync and how, as in `syncPolicy.automated`; None leaves syncing to whoever asks.
            source: more fields of `spec.source`, which win over ours.
            spec: more fields of `spec`, which win over ours.
        """
        ours = {
            "project": "default",
            "source": {"repoURL": repository, "path": path, "targetRevision": git.BRANCH, **(source or {})},
            "destination": {"server": IN_CLUSTER, "namespace": destination},
            **({} if automated is None else {"syncPolicy": {"automated": dict(automated)}}),
        }
        self.apply(_object(f"{_GROUP}/v1alpha1", "Application", name, namespace, spec=ours | spec))

    def get(self, name: str, namespace: str = NAMESPACE) -> dict[str, Any]:
        """The Application as it is now.

        Raises:
            TestbedError: when there is none.
        """
        found: dict[str, Any] = self._cluster.access.call("GET", _path(name, namespace))
        return found

    def wait(
        self, name: str, condition: Callable[[dict[str, Any]], object], namespace: str = NAMESPACE, timeout: float = 150
    ) -> dict[str, Any]:
        """Look until `condition` holds of the Application, which is given back.

        Raises:
            TestbedError: when it does not for `timeout` seconds, with the Application's status, or when the controller
                ended meanwhile.
        """
        found: list[dict[str, Any]] = []

        def held() -> bool:
            found[:] = [self.get(name, namespace)]
            return bool(condition(found[0]))

        try:
            self.controller.wait_until(held, f"Waiting for the Application {name}", timeout)
        except TestbedError as error:
            status = json.dumps([one.get("status") for one in found], indent=1)
            raise TestbedError(f"{error}\nThe status that was seen last:\n{status}") from None
        return found[0]

    def refresh(self, name: str, namespace: str = NAMESPACE, *, hard: bool = False) -> None:
        """Have it look at Git now; `hard`: and render again what it rendered for the same commit."""
        body = {"metadata": {"annotations": {_REFRESH: "hard" if hard else "normal"}}}
        self._cluster.access.call("PATCH", _path(name, namespace), body, "application/merge-patch+json")

    def apply(self, *manifests: Manifest) -> None:
        """Have the cluster hold these.

        Raises:
            TestbedError: when it refuses one.
        """
        document = json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests})
        self._cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", input=document)

    def _up(self, resync: int, flags: tuple[str, ...]) -> None:
        try:
            self.folder.mkdir(parents=True, mode=0o700)
        except FileExistsError:
            raise TestbedError(f"{self.folder} exists: Argo CD makes its own folder, and removes it.") from None
        self.cache = Cache(self.folder / "cache")
        self._run(self.cache)
        self._install()
        self.repo_server = RepoServer(self.folder / "repo-server", cache=self.cache.listen)
        self._run(self.repo_server)
        self.controller = Controller(
            self.folder / "controller",
            kubeconfig=self._kubeconfig(),
            cache=self.cache.listen,
            repo_server=self.repo_server.grpc,
            resync=resync,
            flags=flags,
        )
        self._run(self.controller)

    def _run(self, server: Server) -> None:
        self._running.enter_context(server)
        server.up()

    def _install(self) -> None:
        module = MODULES["argo-cd"]
        files = [f"--filename={Binaries().asset(module, Path(name).name)}" for name in module.assets]
        # They are too big for the annotation of a plain apply.
        self._cluster.kubectl("apply", "--server-side", *files)
        self._cluster.until_known(_GROUP, *_KINDS)
        self.apply(*_settings())

    def _kubeconfig(self) -> Path:
        """The controller's own, so that the audit log tells it from people and from the operator."""
        token = self._cluster.kubectl("-n", NAMESPACE, "create", "token", CONTROLLER, _A_DAY).strip()
        access = Access(self._cluster.server, self._cluster.ca, {CONTROLLER: token})
        return access.kubeconfig(self.folder / "kubeconfig", CONTROLLER)


def synced(revision: str = "") -> Callable[[Manifest], bool]:
    """A condition for `ArgoCD.wait`: nothing is under way, and the cluster is as this commit has it, or any commit."""

    def holds(application: Manifest) -> bool:
        status = application.get("status", {})
        sync = status.get("sync", {})
        done = status.get("operationState", {}).get("phase", "Succeeded") == "Succeeded"
        wanted = sync.get("status") == "Synced" and revision in ("", sync.get("revision"))
        return wanted and done and "operation" not in application

    return holds


def operated(revision: str) -> Callable[[Manifest], bool]:
    """A condition for `ArgoCD.wait`: the last operation was a sync to this commit, and succeeded."""

    def holds(application: Manifest) -> bool:
        state = application.get("status", {}).get("operationState", {})
        done = state.get("phase") == "Succeeded" and "operation" not in application
        return done and revision == state.get("syncResult", {}).get("revision")

    return holds


def healthy(application: Manifest) -> bool:
    """A condition for `ArgoCD.wait`: Argo CD says that all of it is well."""
    health: Manifest = application.get("status", {}).get("health", {})
    return health.get("status") == "Healthy"


def conditions(application: Manifest) -> dict[str, str]:
    """What the Application's status says is wrong: messages by type."""
    listed = application.get("status", {}).get("conditions", [])
    return {condition["type"]: condition["message"] for condition in listed}


def _path(name: str, namespace: str) -> str:
    return f"/apis/{_GROUP}/v1alpha1/namespaces/{namespace}/applications/{name}"


def _settings() -> list[Manifest]:
    """What the controller asks for before it does anything."""
    account = {"kind": "ServiceAccount", "name": CONTROLLER, "namespace": NAMESPACE}
    # As its own installation grants it: everything.
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        _object("v1", "ConfigMap", "argocd-cm", data={}),
        _object("v1", "ConfigMap", "argocd-rbac-cm", data={}),
        _object("v1", "Secret", "argocd-secret", stringData={"server.secretkey": secrets.token_hex(16)}),
        _object("v1", "ServiceAccount", CONTROLLER),
        _object("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", CONTROLLER, "", subjects=[account], roleRef=role),
        _project("default", {}),
    ]


def _project(name: str, spec: Manifest) -> Manifest:
    ours = {
        "sourceRepos": ["*"],
        "sourceNamespaces": ["*"],
        "destinations": [{"server": "*", "namespace": "*"}],
        "clusterResourceWhitelist": [{"group": "*", "kind": "*"}],
    }
    return _object(f"{_GROUP}/v1alpha1", "AppProject", name, spec=ours | dict(spec))


def _object(version: str, kind: str, name: str, namespace: str = NAMESPACE, **content: Any) -> Manifest:
    # Argo CD overlooks settings without the label.
    metadata = {"name": name, "labels": {"app.kubernetes.io/part-of": "argocd"}}
    where = {"namespace": namespace} if namespace else {}
    return {"apiVersion": version, "kind": kind, "metadata": metadata | where, **content}
