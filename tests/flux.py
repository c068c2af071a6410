"""Flux's resources as far as a rollback uses them. Its controllers cannot run here, so a test does their part.

The definitions are ours, made from Flux's public API reference (helm.toolkit.fluxcd.io/v2,
kustomize.toolkit.fluxcd.io/v1 and source.toolkit.fluxcd.io/v1): what a rollback reads and writes has Flux's types, the
rest is taken as it comes.
"""

from __future__ import annotations

import json
from typing import Any

import yaml

from testbed import Cluster

Object = dict[str, Any]
_ANYTHING = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
_CONDITION = {
    "type": "object",
    "required": ["lastTransitionTime", "message", "reason", "status", "type"],
    "properties": {
        "lastTransitionTime": {"type": "string", "format": "date-time"},
        "message": {"type": "string", "maxLength": 32768},
        "observedGeneration": {"type": "integer", "format": "int64"},
        "reason": {"type": "string", "minLength": 1},
        "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
        "type": {"type": "string"},
    },
}
_ENTRY = {
    "type": "object",
    "required": ["id", "v"],
    "properties": {"id": {"type": "string"}, "v": {"type": "string"}},
}
_ARTIFACT = {
    "type": "object",
    "required": ["digest", "lastUpdateTime", "path", "revision", "url"],
    "properties": {
        "digest": {"type": "string", "pattern": "^[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[a-zA-Z0-9=_-]+$"},
        "lastUpdateTime": {"type": "string", "format": "date-time"},
        "path": {"type": "string"},
        "revision": {"type": "string"},
        "url": {"type": "string"},
    },
}
_SCHEMA = {
    "type": "object",
    "properties": {
        "spec": {**_ANYTHING, "properties": {"suspend": {"type": "boolean"}, "interval": {"type": "string"}}},
        "status": {
            **_ANYTHING,
            "properties": {
                "conditions": {"type": "array", "items": _CONDITION},
                "lastAttemptedRevision": {"type": "string"},
                "helmChart": {"type": "string"},
                "artifact": _ARTIFACT,
                "inventory": {"type": "object", "properties": {"entries": {"type": "array", "items": _ENTRY}}},
            },
        },
    },
}


def definition(group: str, version: str, kind: str) -> Object:
    """The CustomResourceDefinition of a kind."""
    plural = f"{kind.lower().removesuffix('y')}ies" if kind.endswith("y") else f"{kind.lower()}s"
    served = {
        "name": version,
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": _SCHEMA},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}", "labels": {"app": "flux"}},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": kind, "listKind": f"{kind}List", "plural": plural, "singular": kind.lower()},
            "versions": [served],
        },
    }


DEFINITIONS = (
    definition("kustomize.toolkit.fluxcd.io", "v1", "Kustomization"),
    definition("helm.toolkit.fluxcd.io", "v2", "HelmRelease"),
    definition("source.toolkit.fluxcd.io", "v1", "GitRepository"),
    definition("source.toolkit.fluxcd.io", "v1", "HelmChart"),
    definition("source.toolkit.fluxcd.io", "v1", "OCIRepository"),
)


def kustomization(
    name: str, *, applied: tuple[str, ...] = (), suspend: bool | None = None, revision: str | None = None
) -> Object:
    """A Kustomization that says it applies these (`NAMESPACE_NAME_GROUP_KIND`), of that revision of its source."""
    return {
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
        "kind": "Kustomization",
        "metadata": {"name": name},
        "spec": {
            "interval": "10m",
            "path": "./shop",
            "prune": True,
            "sourceRef": {"kind": "GitRepository", "name": "shop"},
            **({} if suspend is None else {"suspend": suspend}),
        },
        "status": {
            "inventory": {"entries": [{"id": one, "v": "v1"} for one in applied]},
            **({"lastAttemptedRevision": revision} if revision else {}),
        },
    }


def helm_release(name: str) -> Object:
    """A HelmRelease."""
    return {
        "apiVersion": "helm.toolkit.fluxcd.io/v2",
        "kind": "HelmRelease",
        "metadata": {"name": name},
        "spec": {"interval": "10m", "chartRef": {"kind": "OCIRepository", "name": name}},
    }


def source(kind: str, name: str, url: str, revision: str) -> Object:
    """A source whose newest artifact is of that revision."""
    return {
        "apiVersion": "source.toolkit.fluxcd.io/v1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": {"interval": "1m", "url": url},
        "status": fetched(revision),
    }


def fetched(revision: str) -> Object:
    """What a source says once it has that revision."""
    artifact = {
        "digest": "sha256:" + "0" * 64,
        "lastUpdateTime": "2026-01-01T00:00:00Z",
        "path": "x.tar.gz",
        "revision": revision,
        "url": "http://source-controller/x.tar.gz",
    }
    return {"artifact": artifact}


def applying(kind: str, name: str, *, now: bool) -> list[str]:
    """Arguments of kubectl that have the object say whether its controller applies something."""
    since = "2026-01-01T00:00:00Z"
    said = {"lastTransitionTime": since, "message": "Building manifests", "reason": "Progressing", "status": "True"}
    conditions = [{**said, "type": "Reconciling"}] if now else []
    patch = {"status": {"conditions": conditions}}
    return ["patch", kind, name, "--subresource=status", "--type=merge", "-p", json.dumps(patch)]


def install(cluster: Cluster) -> None:
    """Define the resources, once."""
    cluster.kubectl("apply", "-f", "-", input=yaml.safe_dump_all(DEFINITIONS))
    cluster.kubectl("wait", "--for=condition=Established", "crd", "-l", "app=flux", "--timeout=150s")
