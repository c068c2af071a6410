"""Applications as Argo CD leaves them at the API server."""

from __future__ import annotations

import copy
from typing import Any

from rollback_operator.api import REQUEST_ANNOTATION

Object = dict[str, Any]

REPO = "https://git.example.com/shop.git"
KEY = "uid-of-request"


def sha(letter: str) -> str:
    """A commit that is named by a letter."""
    return f"{ord(letter):02x}" * 20


def source(path: str = "web", **more: Any) -> Object:
    """A source as people write it."""
    return {"repoURL": REPO, "path": path, "targetRevision": "main", **more}


def entry(number: int, letter: str, **more: Any) -> Object:
    """An entry of the history; its commit is named by a letter."""
    return {
        "id": number,
        "revision": sha(letter),
        "source": source(),
        "deployedAt": f"2026-03-01T02:0{number % 10}:00Z",
        **more,
    }


def sources_entry(number: int, letters: str) -> Object:
    """An entry of an Application with two sources, as Argo CD writes it: with an empty `source` besides."""
    return {
        "id": number,
        "revision": "",
        "source": {"repoURL": ""},
        "sources": two_sources(),
        "revisions": [sha(letter) for letter in letters],
        "deployedAt": f"2026-03-01T02:0{number % 10}:00Z",
    }


def two_sources() -> list[Object]:
    """A chart's values beside manifests."""
    return [source(), source("base", ref="values")]


def application(letters: str = "abc", **status: Any) -> Object:
    """An Application whose history holds the commits that `letters` say, oldest first, and that is synced and well."""
    history = [entry(number, letter) for number, letter in enumerate(letters)]
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Application",
        "metadata": {
            "name": "web",
            "namespace": "shop",
            "uid": "uid-of-web",
            "generation": 7,
            "resourceVersion": "1",
            "annotations": {"note": "by hand"},
        },
        "spec": {
            "project": "default",
            "source": source(),
            "destination": {"server": "https://kubernetes.default.svc", "namespace": "shop"},
            "syncPolicy": {
                "automated": {"prune": True, "selfHeal": True},
                "syncOptions": ["CreateNamespace=true"],
                "retry": {"limit": 3, "refresh": True, "backoff": {"duration": "5s"}},
            },
        },
        "status": {
            "history": history,
            "sync": {
                "status": "Synced",
                "revision": sha(letters[-1]) if letters else "",
                "comparedTo": {"source": source(), "destination": {"namespace": "shop"}},
            },
            "health": {"status": "Healthy"},
            "reconciledAt": "2026-03-01T02:30:00Z",
            **status,
        },
    }


def with_sources(letters: tuple[str, ...] = ("ab", "cd")) -> Object:
    """The same with two sources."""
    app = application()
    del app["spec"]["source"]
    app["spec"]["sources"] = two_sources()
    app["status"]["history"] = [sources_entry(number, pair) for number, pair in enumerate(letters)]
    app["status"]["sync"] = {
        "status": "Synced",
        "revisions": [sha(letter) for letter in letters[-1]],
        "comparedTo": {"sources": two_sources(), "destination": {}},
    }
    return app


def operation_of(content: Object, *, key: str | None = KEY, **sync: Any) -> Object:
    """An operation that brings the content of a history entry."""
    parts = {name: content[name] for name in ("source", "revision", "sources", "revisions") if name in content}
    info = [{"name": REQUEST_ANNOTATION, "value": key}] if key else []
    return {"info": info, "sync": {**copy.deepcopy(parts), **sync}}


def operated(app: Object, phase: str, content: Object, *, key: str | None = KEY, **state: Any) -> Object:
    """The Application during or after an operation."""
    app = copy.deepcopy(app)
    operation = operation_of(content, key=key)
    app["status"]["operationState"] = {
        "phase": phase,
        "operation": operation,
        "startedAt": "2026-03-01T03:00:00Z",
        "syncResult": {**operation["sync"], "resources": [{"kind": "Deployment", "name": "web"}]},
        **({} if phase in ("Running", "Terminating") else {"finishedAt": "2026-03-01T03:00:05Z"}),
        **state,
    }
    if phase in ("Running", "Terminating"):
        app["operation"] = operation
    if key is not None:
        app["metadata"]["annotations"][REQUEST_ANNOTATION] = key
    return app
