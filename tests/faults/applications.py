"""Argo CD's Applications in the sweep, hold included: from the one update to automation that is as it was.

Argo CD itself would be too heavy for hundreds of runs. Its part is played: whoever finds an operation carries it out as
the controller does (operation state, an entry of the history, the operation removed), and looks when it is asked to.
The definition of Applications is Argo CD's own. That the real one does the same is tested in tests/e2e/test_argocd.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, ClassVar

import yaml

from testbed.binaries import Binaries
from testbed.modules import MODULES
from tests.faults.admin import PATIENCE, Admin, NoAnswerError
from tests.faults.run import SIDE_BY_SIDE, Bench

Object = dict[str, Any]
CHART = {"repoURL": "https://charts.example.com", "chart": "web", "targetRevision": "*"}
"""A chart's version is all that it takes to tell two contents apart."""
AUTOMATED = {"prune": True, "selfHeal": True}
HOLD = "rollback.dev/hold"
FIXED = 3
"""The version that ends the hold."""


class ApplicationRow:
    """Applications, whose versions are those of a chart."""

    name = "Application"
    kind = "Application"
    begun_by = "person of an Application"
    effect_call = "PUT applications/web"
    first_kills: tuple[str, ...] = (effect_call,)
    own_calls: tuple[str, ...] = ("POST secrets", effect_call)
    """The copy before, the effect, and the end of the hold: disturbed by every class of faults."""
    samples = True
    only_own = False
    asks: Mapping[str, Any] = MappingProxyType({})

    def __init__(self) -> None:
        self.operations: Counter[str] = Counter()
        """How many there were, by namespace."""

    async def release(self, admin: Admin, namespace: str, version: int, *, force: bool = False) -> None:
        del force
        try:
            app = await admin.get(_path(namespace))
        except NoAnswerError:
            app = await admin.create(_path(namespace, ""), _application())
        history = [*app.get("status", {}).get("history", []), _entry(app, _version(version))]
        await admin.merge(_path(namespace), {"status": {**_compared(_version(version)), "history": history}})

    async def recreate(self, admin: Admin, namespace: str) -> None:
        await self.delete(admin, namespace)
        for version in (1, 2):
            await self.release(admin, namespace, version)

    async def delete(self, admin: Admin, namespace: str) -> None:
        await admin.delete(_path(namespace))

    async def version(self, admin: Admin, namespace: str) -> int | None:
        try:
            app = await admin.get(_path(namespace))
        except NoAnswerError:
            return None
        return int(app["status"]["history"][-1]["revision"].partition(".")[0])

    async def end_state(self, admin: Admin, namespace: str) -> Object:
        app = await admin.get(_path(namespace))
        status = app["status"]
        return {
            "spec": app["spec"],
            "annotations": sorted(app["metadata"].get("annotations", {})),
            "finalizers": app["metadata"].get("finalizers", []),
            "operation": app.get("operation"),
            "state": status["operationState"]["phase"],
            "history": [one["revision"] for one in status["history"]],
        }

    def effects(self, audit: Iterable[Object], namespace: str) -> int:
        del audit  # which does not tell an update that asks for a sync from another
        return self.operations[namespace]


class HeldBench(Bench):
    """A run whose effect is held until Git brings something else."""

    async def bring_something_else(self) -> None:
        """Have Git do so."""
        raise NotImplementedError

    async def ended(self, within: float = PATIENCE) -> None:
        """Wait until the request has ended; then have Git bring something else, and wait until the hold has ended."""
        await super().ended(within)
        await self.lab.admin.until(lambda: self._held("True"), f"the hold in {self.namespace} is told of", within)
        await self.bring_something_else()
        await self.lab.admin.until(lambda: self._held("False"), f"the hold in {self.namespace} ends", within)

    async def _held(self, status: str) -> bool:
        body = await self.read()
        return body is None or _held_of(body).get("status") in (status, "False")


class ApplicationBench(HeldBench):
    """A namespace with an Application, and somebody who plays Argo CD in it."""

    side_by_side: ClassVar[int] = SIDE_BY_SIDE

    @contextlib.asynccontextmanager
    async def furnished(self) -> AsyncIterator[None]:
        """The rights, and the Application at version 2."""
        self.operators.environment["ROLLBACK_HOLDS"] = "1"
        definition = Binaries().asset(MODULES["argo-cd"], "application-crd.yaml")
        await self.lab.admin.define(yaml.safe_load(definition.read_text()), "applications")
        await self.allow("rbac-argocd.yaml", "web")
        async with super().furnished():
            playing = asyncio.create_task(self._play())
            try:
                yield
            finally:
                playing.cancel()
                await asyncio.gather(playing, return_exceptions=True)

    async def bring_something_else(self) -> None:
        """See `HeldBench`."""
        await self.lab.admin.merge(_path(self.namespace), {"status": _compared(_version(FIXED))})

    async def _watches(self) -> bool:
        names = {call.name for call in self.proxy.journal}
        return {"WATCH rollbackrequests", "WATCH rollbackpolicies"} <= names

    async def _play(self) -> None:
        """Do what Argo CD's controller does, on the version that was read or not at all."""
        assert isinstance(self.row, ApplicationRow)
        while True:
            with contextlib.suppress(NoAnswerError):
                app = await self.lab.admin.get(_path(self.namespace))
                change = _carried_out(app) if app.get("operation") else _looked_at(app)
                if change is not None:
                    change["metadata"] = {**change.get("metadata", {}), "resourceVersion": _resource_version(app)}
                    await self.lab.admin.merge(_path(self.namespace), change)
                    self.row.operations[self.namespace] += "operation" in change
            await asyncio.sleep(0.2)


def _held_of(body: Object) -> Object:
    conditions = body.get("status", {}).get("conditions", [])
    return next((one for one in conditions if one["type"] == "Held"), {})


def _carried_out(app: Object) -> Object:
    operation = app["operation"]
    now = _now()
    state = {
        "phase": "Succeeded",
        "operation": operation,
        "startedAt": now,
        "finishedAt": now,
        "syncResult": {name: operation["sync"][name] for name in ("source", "revision")},
    }
    history = [*app["status"]["history"], _entry(app, operation["sync"]["revision"])]
    return {"operation": None, "status": {"operationState": state, "history": history}}


def _looked_at(app: Object) -> Object | None:
    """A look that was asked for; it is said to be a second later, as the times are whole seconds."""
    if "argocd.argoproj.io/refresh" not in app["metadata"].get("annotations", {}):
        return None
    later = _now(datetime.now(UTC) + timedelta(seconds=1))
    return {
        "metadata": {"annotations": {"argocd.argoproj.io/refresh": None}},
        "status": {"reconciledAt": later, "health": {"status": "Healthy"}},
    }


def _application() -> Object:
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Application",
        "metadata": {"name": "web"},
        "spec": {
            "project": "default",
            "source": copy.deepcopy(CHART),
            "destination": {"server": "https://kubernetes.default.svc", "namespace": "web"},
            "syncPolicy": {"automated": copy.deepcopy(AUTOMATED)},
        },
    }


def _entry(app: Object, revision: str) -> Object:
    number = len(app.get("status", {}).get("history", []))
    return {"id": number, "revision": revision, "source": copy.deepcopy(CHART), "deployedAt": _now()}


def _compared(revision: str) -> Object:
    to = {"source": copy.deepcopy(CHART), "destination": _application()["spec"]["destination"]}
    return {"sync": {"status": "Synced", "revision": revision, "comparedTo": to}, "health": {"status": "Healthy"}}


def _version(number: int) -> str:
    return f"{number}.0.0"


def _now(at: datetime | None = None) -> str:
    return (at or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ")


def _resource_version(app: Object) -> str:
    version: str = app["metadata"]["resourceVersion"]
    return version


def _path(namespace: str, name: str = "/web") -> str:
    return f"/apis/argoproj.io/v1alpha1/namespaces/{namespace}/applications{name}"


APPLICATIONS: tuple[ApplicationRow, ...] = (ApplicationRow(),)
