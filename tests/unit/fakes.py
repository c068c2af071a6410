"""An API server in memory, behind the methods of `kube.client.Api`, that can be told to fail."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from rollback_operator.kube import errors
from rollback_operator.kube.client import FIELD_MANAGER
from rollback_operator.kube.identity import Identity
from tests.unit.objects import Object, PatchError, patched

_COLLECTIONS = {
    "Deployment": ("/apis/apps/v1", "deployments"),
    "ReplicaSet": ("/apis/apps/v1", "replicasets"),
    "StatefulSet": ("/apis/apps/v1", "statefulsets"),
    "DaemonSet": ("/apis/apps/v1", "daemonsets"),
    "ControllerRevision": ("/apis/apps/v1", "controllerrevisions"),
    "Application": ("/apis/argoproj.io/v1alpha1", "applications"),
    "Pod": ("/api/v1", "pods"),
    "ConfigMap": ("/api/v1", "configmaps"),
    "Secret": ("/api/v1", "secrets"),
    "Service": ("/api/v1", "services"),
    "PersistentVolumeClaim": ("/api/v1", "persistentvolumeclaims"),
    "RollbackRequest": ("/apis/rollback.dev/v1alpha1", "rollbackrequests"),
    "RollbackPolicy": ("/apis/rollback.dev/v1alpha1", "rollbackpolicies"),
    "Event": ("/api/v1", "events"),
    "HelmRelease": ("/apis/helm.toolkit.fluxcd.io/v2", "helmreleases"),
    "GitRepository": ("/apis/source.toolkit.fluxcd.io/v1", "gitrepositories"),
    "OCIRepository": ("/apis/source.toolkit.fluxcd.io/v1", "ocirepositories"),
    "HelmChart": ("/apis/source.toolkit.fluxcd.io/v1", "helmcharts"),
    "Kustomization": ("/apis/kustomize.toolkit.fluxcd.io/v1", "kustomizations"),
    "ApplicationSet": ("/apis/argoproj.io/v1alpha1", "applicationsets"),
}


_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


@dataclass(frozen=True)
class Call:
    """One call as it came in."""

    verb: str
    path: str
    as_: str
    query: Object = field(default_factory=dict, compare=False)
    body: Any = field(default=None, compare=False)

    def __str__(self) -> str:
        return f"{self.verb} {self.path}"


Fault = Callable[[Call], BaseException | None]


class FakeApi:
    """Objects by path. `calls` are all that came in; `faults` are asked before, `late_faults` after a call is done."""

    def __init__(self, *things: Object) -> None:
        self._things: dict[str, Object] = {}
        self._version = 100
        self.calls: list[Call] = []
        self.faults: list[Fault] = []
        self.late_faults: list[Fault] = []
        self.admit: Callable[[Object], Object] = lambda thing: thing
        """What a definition's schema makes of an object that is replaced."""
        self.lacking: set[str] = set()
        """Verbs that nobody is allowed, or verbs and resources, or these and a name (none: any)."""
        self.powerless: set[str] = set()
        """Accounts that are allowed nothing, as far as they ask."""
        self.put(*things)

    # What tests do.

    def put(self, *things: Object) -> None:
        """Somebody creates or replaces objects."""
        for thing in things:
            self._store(_path_of(thing), copy.deepcopy(thing))

    def drop(self, thing: Object) -> None:
        """Somebody deletes an object."""
        del self._things[_path_of(thing)]

    def current(self, thing: Object) -> Object:
        """The object of that kind and name as it is now."""
        return copy.deepcopy(self._things[_path_of(thing)])

    def edit(self, thing: Object, change: Callable[[Object], None]) -> None:
        """Somebody changes an object."""
        now = self.current(thing)
        change(now)
        self.put(now)

    def writes(self) -> list[Call]:
        """The calls that were no reads; asking what one may do stores nothing."""
        return [call for call in self.calls if call.verb != "GET" and call.path != _REVIEWS]

    # What the operator does.

    def addresses(self) -> tuple[str, ...]:
        """Where the API server is."""
        return ("10.96.0.1:443",)

    async def close(self) -> None:
        """Nothing to close."""

    async def get(
        self,
        path: str,
        *,
        as_: Identity,
        query: Object | None = None,
        metadata_only: bool = False,  # noqa: ARG002 - it gives more than that
    ) -> Object:
        """One object, or a list."""
        with self._answering(Call("GET", path, str(as_), dict(query or {}))):
            if path.rsplit("/", 1)[-1] in {plural for _, plural in _COLLECTIONS.values()}:
                return {"metadata": {}, "items": list(self._listed(path, query or {}))}
            return self._existing(path)

    async def metadata(self, path: str, *, as_: Identity) -> Object:
        """The metadata of one object."""
        found: Object = (await self.get(path, as_=as_))["metadata"]
        return found

    async def create(self, path: str, body: Object, *, as_: Identity, dry_run: bool = False) -> Object:
        """Create an object."""
        with self._answering(Call("POST", path, str(as_), {"dryRun": "All"} if dry_run else {}, body)):
            if path == _REVIEWS:
                right = body["spec"]["resourceAttributes"]
                verb, resource = right["verb"], f"{right['verb']} {right['resource']}"
                lacking = {verb, resource, f"{resource} {right['name']}"} & self.lacking
                return {"status": {"allowed": not lacking and str(as_) not in self.powerless}}
            where = f"{path}/{body['metadata']['name']}"
            if where in self._things:
                raise errors.AlreadyExists(f"{where} exists")
            return self._new(body) if dry_run else self._store(where, self._new(body))

    async def replace(self, path: str, body: Object, *, as_: Identity, dry_run: bool = False) -> Object:
        """PUT the object, or its status, of exactly the version that was read."""
        query = {"dryRun": "All"} if dry_run else {}
        with self._answering(Call("PUT", path, str(as_), query, body)):
            where = path.removesuffix("/status")
            now = self._existing(where)
            names = ("uid", "resourceVersion")
            if [now["metadata"][name] for name in names] != [body["metadata"][name] for name in names]:
                raise errors.Conflict("the object has been modified")
            if where != path:
                return self._store(where, now | {"status": copy.deepcopy(body["status"])})
            after = self.admit(copy.deepcopy(body))
            after["metadata"]["generation"] = after["metadata"].get("generation", 0) + 1
            return after if dry_run else self._store(where, after)

    async def patch(
        self,
        path: str,
        operations: list[Object],
        *,
        as_: Identity,
        field_manager: str = FIELD_MANAGER,
        dry_run: bool = False,
    ) -> Object:
        """Apply a JSON patch; a changed spec gives another generation."""
        query = {"fieldManager": field_manager, **({"dryRun": "All"} if dry_run else {})}
        with self._answering(Call("PATCH", path, str(as_), query, operations)):
            before = self._existing(path)
            try:
                after = patched(before, operations)
            except PatchError as error:
                raise errors.Conflict(str(error)) from error
            if after.get("spec") != before.get("spec"):
                after["metadata"]["generation"] = after["metadata"].get("generation", 0) + 1
            return after if dry_run else self._store(path, after)

    async def delete(self, path: str, *, as_: Identity, uid: str, version: str | None = None) -> Object:
        """Delete the object of that uid, perhaps only as it was read."""
        with self._answering(Call("DELETE", path, str(as_), {"uid": uid})):
            metadata = self._existing(path)["metadata"]
            if metadata["uid"] != uid or version not in (None, metadata["resourceVersion"]):
                raise errors.Conflict("another object, or another version of it")
            return self._things.pop(path)

    # Inside.

    def _answering(self, call: Call) -> _Answering:
        self.calls.append(call)
        return _Answering(self, call)

    def _existing(self, path: str) -> Object:
        if path not in self._things:
            raise errors.NotFound(f"{path} not found")
        return copy.deepcopy(self._things[path])

    def _new(self, body: Object) -> Object:
        """What the API server adds to an object that it creates."""
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        given = {"uid": f"uid-of-{body['metadata']['name']}", "generation": 1, "creationTimestamp": now}
        return {**copy.deepcopy(body), "metadata": {**given, **copy.deepcopy(body["metadata"])}}

    def _store(self, path: str, thing: Object) -> Object:
        self._version += 1
        thing["metadata"]["resourceVersion"] = str(self._version)
        self._things[path] = thing
        return copy.deepcopy(thing)

    def _listed(self, path: str, query: Object) -> Iterator[Object]:
        plural = path.rsplit("/", 1)[-1]
        for where, thing in self._things.items():
            folder = where.rsplit("/", 1)[0]
            everywhere = (
                "/namespaces/" not in path and folder.endswith(f"/{plural}") and where.startswith(path[: -len(plural)])
            )
            if (folder == path or everywhere) and _fits(thing, query):
                yield copy.deepcopy(thing)


@dataclass
class _Answering:
    """Raises the faults around a call."""

    api: FakeApi
    call: Call

    def __enter__(self) -> None:
        self._raise(self.api.faults)

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if error is None:
            self._raise(self.api.late_faults)

    def _raise(self, faults: Iterable[Fault]) -> None:
        for fault in list(faults):
            error = fault(self.call)
            if error is not None:
                raise error


def failing(what: str, error: Exception, times: int | None = None) -> Fault:
    """Calls that contain these words fail, all of them or so many."""
    left = [times]

    def fault(call: Call) -> Exception | None:
        if what not in f"{call} as {call.as_}" or left[0] == 0:
            return None
        if left[0] is not None:
            left[0] -= 1
        return error

    return fault


def killing(write: int) -> Fault:
    """The process ends at that write, counted from 0: before it is done as one of `faults`, else after."""
    seen = [0]

    def fault(call: Call) -> BaseException | None:
        if call.verb not in ("PUT", "PATCH"):
            return None
        seen[0] += 1
        return SystemExit() if seen[0] == write + 1 else None

    return fault


def _path_of(thing: Object) -> str:
    base, plural = _COLLECTIONS[thing["kind"]]
    return f"{base}/namespaces/{thing['metadata']['namespace']}/{plural}/{thing['metadata']['name']}"


def _fits(thing: Object, query: Object) -> bool:
    labels = thing["metadata"].get("labels") or {}
    wanted = [part.partition("=") for part in query.get("labelSelector", "").split(",") if part]
    if any(labels.get(key) != value for key, _, value in wanted):
        return False
    selectors = [part for part in query.get("fieldSelector", "").split(",") if part]
    return all(_selected(thing, selector) for selector in selectors)


def _selected(thing: Object, selector: str) -> bool:
    path, _, value = selector.partition("=")
    found: Any = thing
    for part in path.removesuffix("!").split("."):
        found = (found or {}).get(part)
    return ((found or "") == value) != path.endswith("!")
