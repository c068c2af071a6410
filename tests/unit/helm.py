"""Builders of what Helm stores."""

from __future__ import annotations

from typing import Any

from rollback_operator.targets.helm.records import PREFIX, TYPE, encode

Object = dict[str, Any]

MANIFEST = """---
# Source: shop/templates/web.yaml
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  template:
    spec:
      containers:
      - name: web
        image: {image}
        env:
        - {{name: TOKEN, value: open-sesame}}
---
# Source: shop/templates/password.yaml
apiVersion: v1
kind: Secret
metadata:
  name: password
  annotations: {{note: open-sesame}}
stringData:
  password: open-sesame
"""


def release(
    number: int,
    *,
    image: str = "shop:1",
    status: str = "superseded",
    deployed: str = "2026-11-21T10:00:00Z",
    description: str = "Upgrade complete",
    **more: Any,
) -> Object:
    """A release as a record holds it."""
    info = {
        "first_deployed": "2026-11-21T09:00:00Z",
        "last_deployed": deployed,
        "deleted": "",
        "description": description,
        "status": status,
    }
    chart = {
        "metadata": {"name": "shop", "version": "1.0.0", "apiVersion": "v2"},
        "lock": None,
        "templates": [{"name": "templates/web.yaml", "data": "d2Vi"}, {"name": "templates/b.yaml", "data": "Yg=="}],
        "values": {"image": "shop:0"},
        "schema": None,
        "files": [],
    }
    body = {
        "name": "shop",
        "info": info,
        "chart": chart,
        "manifest": MANIFEST.format(image=image),
        "version": number,
        "namespace": "shop",
    }
    return {**body, **({} if image == "shop:1" else {"config": {"image": image}}), **more}


def secret(number: int, body: Object, *, written: str = "2026-11-21T10:00:00Z", **annotations: str) -> Object:
    """The Secret of a revision; annotations of ours by the last part of their names."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": TYPE,
        "metadata": {
            "name": f"{PREFIX}shop.v{number}",
            "namespace": "shop",
            "uid": f"uid-{number}",
            "resourceVersion": str(100 + number),
            "creationTimestamp": written,
            "labels": {
                "owner": "helm",
                "name": "shop",
                "status": body["info"]["status"],
                "version": str(number),
            },
            "annotations": {f"rollback.dev/{name}": value for name, value in annotations.items()},
        },
        "data": {"release": encode(body)},
    }
