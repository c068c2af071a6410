"""Where the API server has what configuration is made of."""

from __future__ import annotations

_COLLECTIONS = {
    "ConfigMap": "/api/v1/namespaces/{}/configmaps",
    "Secret": "/api/v1/namespaces/{}/secrets",
    "Service": "/api/v1/namespaces/{}/services",
    "Ingress": "/apis/networking.k8s.io/v1/namespaces/{}/ingresses",
}


def path_of(namespace: str, kind: str, name: str | None = None) -> str:
    """The path of an object, or of all of a kind."""
    collection = _COLLECTIONS[kind].format(namespace)
    return collection if name is None else f"{collection}/{name}"


def resource_of(kind: str) -> tuple[str, str]:
    """API group and plural."""
    return "networking.k8s.io" if kind == "Ingress" else "", _COLLECTIONS[kind].rpartition("/")[2]
