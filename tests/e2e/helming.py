"""What tests of Helm releases are written with: a chart, a namespace, and Helm as people call it."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from testbed import Cluster
from tests.e2e.world import ROOT, Object, World, web

DEPLOYMENT = yaml.safe_dump(web("{{ .Values.image }}", env=[{"name": "TOKEN", "value": "{{ .Values.secret }}"}]))
SETTINGS = """apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {image: '{{ .Values.image }}'}
"""
PASSWORD = """apiVersion: v1
kind: Secret
metadata: {name: password}
stringData: {password: '{{ .Values.secret }}'}
"""
EXTRA = """{{ if .Values.extra }}
apiVersion: v1
kind: ConfigMap
metadata: {name: extra}
{{ end }}
"""
CHART = {"web.yaml": DEPLOYMENT, "settings.yaml": SETTINGS, "password.yaml": PASSWORD, "extra.yaml": EXTRA}


def hook(name: str, event: str, **spec: Any) -> str:
    """A hook that no node runs: it goes on until its `activeDeadlineSeconds`, or for ever."""
    body: Object = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "annotations": {"helm.sh/hook": event}},
        "spec": {
            "backoffLimit": 0,
            "template": {
                "spec": {
                    "restartPolicy": "Never",
                    "nodeSelector": {"no-such": "node"},
                    "containers": [{"name": name, "image": "hook:1"}],
                }
            },
            **spec,
        },
    }
    return yaml.safe_dump(body)


def definition(kind: str) -> str:
    """A CustomResourceDefinition as a template, there if `extra` is."""
    plural = f"{kind.lower()}s"
    body: Object = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural, "singular": kind.lower()},
            "versions": [
                {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}
            ],
        },
    }
    return "{{ if .Values.extra }}\n" + yaml.safe_dump(body) + "{{ end }}\n"


class Shop(World):
    """A namespace in which the release `shop` is made with Helm."""

    def __init__(self, cluster: Cluster, namespace: str, folder: Path) -> None:
        super().__init__(cluster, namespace)
        self._folder = folder

    def allow(self) -> None:
        """Give the service account what `examples/rbac-helm.yaml` gives it."""
        text = (ROOT / "examples" / "rbac-helm.yaml").read_text()
        self.kubectl("apply", "-f", "-", input=text.replace("namespace: shop", f"namespace: {self.namespace}"))
        self.may("list", "secrets")

    def chart(self, **templates: str) -> Path:
        """The chart, with more templates; `_` in their names stands for a dot."""
        chart = self._folder / f"chart-{len(list(self._folder.iterdir()))}"
        (chart / "templates").mkdir(parents=True)
        (chart / "Chart.yaml").write_text("apiVersion: v2\nname: shop\nversion: 1.0.0\n")
        (chart / "values.yaml").write_text("image: shop:1\nextra: false\nsecret: none\n")
        more = {f"{name}.yaml": text for name, text in templates.items()}
        for name, text in {**CHART, **more}.items():
            (chart / "templates" / name).write_text(text)
        return chart

    def helm(self, *arguments: str, check: bool = True) -> str:
        """Helm as people call it."""
        return self.cluster.helm(*arguments, "--namespace", self.namespace, check=check)

    def upgrade(self, image: str, *more: str, chart: Path | None = None, check: bool = True) -> str:
        """`helm upgrade --install` of the release."""
        given = ("--set", f"image={image}", *more)
        return self.helm("upgrade", "--install", "shop", str(chart or self.chart()), *given, check=check)

    def ask(self, name: str, **spec: Any) -> str:
        """Request a rollback of the release."""
        return self.request(name, target={"kind": "Helm", "name": "shop"}, **spec)

    def back(self, name: str, **spec: Any) -> Object:
        """Request a rollback of the release and wait for its end."""
        return self.ended(self.ask(name, **spec))

    def history(self) -> list[tuple[int, str]]:
        """Number and status of each revision."""
        listed = json.loads(self.helm("history", "shop", "-o", "json"))
        return [(one["revision"], one["status"]) for one in listed]

    def record(self, number: int) -> Object:
        """The Secret of a revision."""
        return self.get("secret", f"sh.helm.release.v1.shop.v{number}")

    def held(self, number: int) -> Object:
        """What a revision's Secret holds."""
        packed = base64.b64decode(base64.b64decode(self.record(number)["data"]["release"]))
        release: Object = json.loads(gzip.decompress(packed))
        return release

    def plain_record(self, number: int) -> Object:
        """What a revision's Secret holds, without what differs from one namespace, request or moment to another."""
        release = self.held(number)
        for name in ("first_deployed", "last_deployed", "description"):
            del release["info"][name]
        for one in release.get("hooks") or []:
            for name in ("started_at", "completed_at"):
                (one.get("last_run") or {}).pop(name, None)
        plain: Object = json.loads(json.dumps(release).replace(self.namespace, "NAMESPACE"))
        return plain

    def rewrite(self, number: int, change: Callable[[Object], None]) -> None:
        """Change what a record holds, as another Helm, or one that died, would have left it."""
        secret, release = self.record(number), self.held(number)
        change(release)
        packed = gzip.compress(json.dumps(release).encode())
        secret["metadata"]["labels"]["status"] = release["info"]["status"]
        secret["data"]["release"] = base64.b64encode(base64.b64encode(packed)).decode()
        self.kubectl("replace", "-f", "-", input=json.dumps(secret))

    def status(self, number: int, status: str) -> None:
        """Have a revision be in this status."""
        self.rewrite(number, lambda release: release["info"].update(status=status))

    def objects(self) -> dict[str, Object]:
        """Every object that a chart may have here, without what differs from one namespace or moment to another."""
        kinds = "deployments,configmaps,secrets,services,jobs,serviceaccounts"
        listed = json.loads(self.kubectl("get", kinds, "-o", "json", "--show-managed-fields"))
        return {f"{one['kind']}/{one['metadata']['name']}": self._plain(one) for one in listed["items"]}

    def _plain(self, thing: Object) -> Object:
        metadata = thing["metadata"]
        for name in ("uid", "resourceVersion", "creationTimestamp", "namespace"):
            metadata.pop(name, None)
        managed = metadata.pop("managedFields", [])
        owners = sorted(
            json.dumps({**one, "time": ""}, sort_keys=True) for one in managed if not one.get("subresource")
        )
        if thing.get("type") == "helm.sh/release.v1":
            return {"labels": {**metadata["labels"], "createdAt": "", "modifiedAt": ""}}
        if thing["kind"] == "Service":
            thing["spec"] = {name: value for name, value in thing["spec"].items() if not name.startswith("clusterIP")}
        text = json.dumps({**{k: v for k, v in thing.items() if k != "status"}, "owners": owners}, sort_keys=True)
        plain: Object = json.loads(text.replace(self.namespace, "NAMESPACE"))
        return plain
