"""What else manages a Deployment, in the sweep: an Application that is rolled back instead, and Flux that is suspended.

What comes before and after is swept with Deployments and Applications; here it is about going by the owner, and about
suspending and resuming. Flux's controllers cannot run here: its part is to leave alone what is suspended.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from types import MappingProxyType
from typing import Any

from tests import flux
from tests.faults.admin import Admin
from tests.faults.applications import ApplicationBench, ApplicationRow, HeldBench
from tests.faults.rows import DeploymentRow, Object, deployment
from tests.faults.run import Bench

THROUGH: Mapping[str, Any] = MappingProxyType({"target": {"kind": "Deployment", "name": "web"}, "owner": "Through"})
STATUS_CALL = "PUT rollbackrequests/back/status"
SUSPEND_CALL = "PATCH kustomizations/shop"
BAD = "main@sha1:" + "b" * 40
TRACKING = "argocd.argoproj.io/tracking-id"


class DeploymentOfApplication(ApplicationRow):
    """A Deployment that an Application made: what is rolled back is the Application, its hold included."""

    name = "Deployment-of-Application"
    own_calls: tuple[str, ...] = (f"{STATUS_CALL}#1",)
    """Who is gone by is written into the status before anything is done. All else is as with Applications."""
    first_kills: tuple[str, ...] = ()
    only_own = True
    asks = THROUGH

    async def release(self, admin: Admin, namespace: str, version: int, *, force: bool = False) -> None:
        await super().release(admin, namespace, version)
        body = deployment(version)
        body["metadata"]["annotations"] = {TRACKING: f"{namespace}_web:apps/Deployment:{namespace}/web"}
        await admin.apply(f"/apis/apps/v1/namespaces/{namespace}/deployments/web", body, force=force)

    async def end_state(self, admin: Admin, namespace: str) -> Object:
        """What Argo CD makes of the Deployment is not played: the operator leaves it alone."""
        web = await admin.get(f"/apis/apps/v1/namespaces/{namespace}/deployments/web")
        state = await super().end_state(admin, namespace)
        return {**state, "deployment": web["spec"], "annotations of it": sorted(web["metadata"]["annotations"])}


class DeploymentOfFlux(DeploymentRow):
    """A Deployment that a Kustomization of Flux applies, which is suspended first."""

    name = "Deployment-of-Flux"
    begun_by = "person where Flux is"
    first_kills: tuple[str, ...] = (SUSPEND_CALL, DeploymentRow.effect_call)
    own_calls: tuple[str, ...] = (SUSPEND_CALL,)
    samples = True
    only_own = True
    asks = THROUGH

    async def release(self, admin: Admin, namespace: str, version: int, *, force: bool = False) -> None:
        body = deployment(version)
        group = "kustomize.toolkit.fluxcd.io"
        body["metadata"]["labels"] = {f"{group}/name": "shop", f"{group}/namespace": namespace}
        await admin.apply(self._path(namespace), body, force=force)
        await admin.until(lambda: self._available(admin, namespace), f"version {version} is rolled out")

    async def end_state(self, admin: Admin, namespace: str) -> Object:
        body = await admin.get(_kustomization(namespace))
        return {
            **await super().end_state(admin, namespace),
            "Flux": body["spec"],
            "notes on it": sorted(body["metadata"].get("annotations", {})),
        }


class ForbiddenOfFlux(DeploymentOfFlux):
    """The same, when the effect turns out to be forbidden: what was suspended for it is resumed."""

    name = "Deployment-of-Flux-forbidden"
    begun_by = "person without a right where Flux is"
    own_calls: tuple[str, ...] = (SUSPEND_CALL,)


class FluxPlace(Bench):
    """A namespace whose Deployment a Kustomization applies."""

    @contextlib.asynccontextmanager
    async def furnished(self) -> AsyncIterator[None]:
        """The rights, a Kustomization that has applied what there is, and the repository that feeds it."""
        self.operators.environment["ROLLBACK_HOLDS"] = "1"
        admin = self.lab.admin
        for definition in flux.DEFINITIONS:
            await admin.define(definition, definition["spec"]["names"]["plural"])
        await self.allow("rbac-owners.yaml")
        applied = (f"{self.namespace}_web_apps_Deployment",)
        for path, body in (
            (_kustomization, flux.kustomization("shop", applied=applied, revision=BAD)),
            (_repository, flux.source("GitRepository", "shop", "https://git.example.com/shop", BAD)),
        ):
            await admin.create(path(self.namespace, ""), body)
            await admin.merge(f"{path(self.namespace)}/status", {"status": body["status"]})
        async with super().furnished():
            yield


class FluxBench(HeldBench, FluxPlace):
    """The same, until Flux is resumed."""

    async def bring_something_else(self) -> None:
        """Have Git say another image in the Kustomization itself."""
        images = [{"name": "shop", "newTag": "3"}]
        await self.lab.admin.merge(_kustomization(self.namespace), {"spec": {"images": images}})


class ForbiddenBench(FluxPlace):
    """The same, with a service account that may suspend Flux and not change Deployments."""

    @contextlib.asynccontextmanager
    async def furnished(self) -> AsyncIterator[None]:
        """As above, without the right to patch workloads."""
        async with super().furnished():
            role = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{self.namespace}/roles/rollback"
            rules = (await self.lab.admin.get(role))["rules"]
            for rule in rules:
                if "deployments" in rule["resources"]:
                    rule["verbs"] = [verb for verb in rule["verbs"] if verb != "patch"]
            await self.lab.admin.merge(role, {"rules": rules})
            await self.lab.admin.until(self._forbidden, "the API server has heard of it")
            yield

    async def _forbidden(self) -> bool:
        spec = {
            "user": f"system:serviceaccount:{self.namespace}:rollback",
            "resourceAttributes": {
                "namespace": self.namespace,
                "verb": "patch",
                "group": "apps",
                "resource": "deployments",
            },
        }
        body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
        answer = await self.lab.admin.create("/apis/authorization.k8s.io/v1/subjectaccessreviews", body)
        return not answer["status"]["allowed"]


def _repository(namespace: str, name: str = "/shop") -> str:
    return f"/apis/source.toolkit.fluxcd.io/v1/namespaces/{namespace}/gitrepositories{name}"


def _kustomization(namespace: str, name: str = "/shop") -> str:
    return f"/apis/kustomize.toolkit.fluxcd.io/v1/namespaces/{namespace}/kustomizations{name}"


OWNED = (DeploymentOfApplication(), DeploymentOfFlux())
BENCHES: Mapping[str, type[Bench]] = MappingProxyType(
    {
        DeploymentOfApplication.begun_by: ApplicationBench,
        DeploymentOfFlux.begun_by: FluxBench,
        ForbiddenOfFlux.begun_by: ForbiddenBench,
    }
)
