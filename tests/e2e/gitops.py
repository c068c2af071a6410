"""What tests with a real Argo CD are written with: a shop that Git describes, and its Application."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from testbed import Cluster
from testbed.argocd import ArgoCD, conditions, operated, synced
from testbed.git import GitRepository
from tests.e2e.world import ROOT, World, until

Object = dict[str, Any]
AUTOMATED = {"prune": True, "selfHeal": True}
HOLD = "rollback.dev/hold"


class Shop(World):
    """A namespace with an Application `web`, and the repository that it is from."""

    def __init__(self, cluster: Cluster, namespace: str, argocd: ArgoCD, folder: Path) -> None:
        super().__init__(cluster, namespace)
        self.argocd = argocd
        self.folder = folder
        self.repository = GitRepository(folder / f"{namespace}.git")
        self.at = namespace
        """The Application's namespace."""
        self.name = "web"
        """The Application's name."""

    def commit(self, image: str, *, path: str = "web/web.json", **files: str) -> str:
        """Commit the Deployment of that image, and other files."""
        return self.repository.commit({path: deployment(image), **files}, f"Release {image}")

    def application(self, *, automated: Mapping[str, Any] | None = AUTOMATED, path: str = "web", **more: Any) -> None:
        """Have Argo CD deploy the repository."""
        self.argocd.application(
            self.name,
            self.repository.url,
            namespace=self.at,
            path=path,
            destination=self.namespace,
            automated=automated,
            **more,
        )

    def released(self, commit: str, by: str | None = None) -> Object:
        """The Application (or another one beside it) once that commit was synced by itself."""
        name = by or self.name
        self.argocd.refresh(name, self.at)
        return self.argocd.wait(name, operated(commit), self.at)

    def settled(self, commit: str) -> None:
        """Wait until Argo CD has seen that the commit is deployed: before that it may sync it once more."""
        self.argocd.wait(self.name, synced(commit), self.at)

    def releases(self, *images: str, **application: Any) -> list[str]:
        """Release images one after the other; gives their commits."""
        commits = []
        for image in images:
            commits.append(self.commit(image))
            if len(commits) == 1:
                self.application(**application)
            self.released(commits[-1])
        return commits

    def app(self) -> Object:
        """The Application as it is."""
        return self.argocd.get(self.name, self.at)

    def back(self, name: str = "back", **spec: Any) -> Object:
        """Roll the Application back, and wait for the end."""
        return self.ended(self.ask(name, **spec))

    def ask(self, name: str = "back", **spec: Any) -> str:
        """Ask for a rollback of the Application."""
        where = {"namespace": self.at} if self.at != self.namespace else {}
        return self.request(name, **{"target": {"kind": "Application", "name": self.name, **where}, **spec})

    def hold(self) -> Object | None:
        """The hold on the Application."""
        text = self.app()["metadata"].get("annotations", {}).get(HOLD)
        return json.loads(text) if text else None

    def held(self, name: str, state: str, reason: str | None = None) -> Object:
        """The condition that tells of the hold, once it says so."""

        def found() -> Object | None:
            conditions = self.get("rbr", name)["status"]["conditions"]
            held = next((one for one in conditions if one["type"] == "Held"), None)
            fits = held is not None and held["status"] == state and reason in (None, held["reason"])
            return held if fits else None

        return until(found, what=f"Held is {state} ({reason})") or {}

    def grant_in(self, namespace: str) -> None:
        """Give the service account what `examples/rbac-argocd.yaml` gives it, on the Applications of a namespace."""
        for body in yaml.safe_load_all((ROOT / "examples" / "rbac-argocd.yaml").read_text()):
            body["metadata"].update(name=f"rollback-{self.namespace}", namespace=namespace)
            if body["kind"] == "RoleBinding":
                body["roleRef"]["name"] = body["metadata"]["name"]
                body["subjects"][0]["namespace"] = self.namespace
            else:
                body["rules"][0]["resourceNames"] = [self.name]
            self.cluster.kubectl("apply", "-f", "-", input=yaml.safe_dump(body))
        self.may("update", f"{namespace}:argoproj.io/applications", name=self.name)

    def without_rights(self) -> None:
        """Take from the service account what `grant_in` gave it in its own namespace."""
        self.kubectl("delete", "rolebinding", f"rollback-{self.namespace}")
        self.may("get", "argoproj.io/applications", name=self.name, answer=False)

    def not_held(self) -> None:
        """Wait until nothing of a hold is left on the Application."""
        until(lambda: self.hold() is None, what="the hold is taken off")

    def close_window(self) -> None:
        """Have Argo CD begin no sync of the namespace's own project any more, until the project is applied anew.

        A sync that is asked for goes on then, and does nothing. Argo CD hears of a project when it hears of it: it is
        known to have heard when an Application shows what else the project says now. What is taken back after that
        leaves it the window, whichever version it has.
        """
        window = {"kind": "deny", "schedule": "* * * * *", "duration": "1h", "applications": ["*"]}
        nowhere = [{"server": "*", "namespace": "nowhere"}]
        self.argocd.project(self.namespace, syncWindows=[window], destinations=nowhere)
        self.refused_by_project(answer=True)
        self.argocd.project(self.namespace, syncWindows=[window])
        self.refused_by_project(answer=False)

    def refused_by_project(self, *, answer: bool) -> None:
        """Wait until Argo CD finds that the project forbids the Application, or that it does not."""
        self.argocd.refresh(self.name, self.at)
        self.argocd.wait(self.name, lambda app: ("InvalidSpecError" in conditions(app)) is answer, self.at)

    def looks(self, times: int, meanwhile: Callable[[Object], None]) -> None:
        """Have Argo CD look at Git so many times, and make sure of something after each."""
        for _ in range(times):
            before = self.app()["status"].get("reconciledAt")
            self.argocd.refresh(self.name, self.at)
            until(
                lambda before=before: self.app()["status"].get("reconciledAt") != before,  # type: ignore[misc]
                what="Argo CD looked at Git",
            )
            meanwhile(self.app())


def deployment(image: str, name: str = "web", **more: Any) -> str:
    """A Deployment as it stands in Git."""
    labels = {"app": name}
    return json.dumps(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name},
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {"terminationGracePeriodSeconds": 0, "containers": [{"name": "web", "image": image}]},
                },
                **more,
            },
        }
    )


__all__ = ["AUTOMATED", "HOLD", "Shop", "deployment", "synced"]
