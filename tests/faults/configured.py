"""A Deployment whose configuration goes back with it: a ConfigMap, a Secret, and a ConfigMap that was deleted.

What else a rollback does is swept with Deployments; here it is about the writes before the effect.
"""

from __future__ import annotations

import base64
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

from rollback_operator.api.remember import Remembered, RememberedObject
from rollback_operator.configuration.digest import digest_of, secret_name, whole
from rollback_operator.configuration.restoring import OWNER, bare, owner_of
from rollback_operator.core.backups import MANIFESTS
from rollback_operator.targets import manifests, podtemplate
from tests.faults.admin import Admin, NoAnswerError
from tests.faults.rows import BROKEN, DeploymentRow, Object, deployment
from tests.faults.run import LONG, REQUEST, Bench

POLICY = "web"
PLACES = {("ConfigMap", "settings"): "configmaps", ("Secret", "db"): "secrets", ("ConfigMap", "extra"): "configmaps"}
DELETED = "extra"
"""What the second version does not have any more."""
PUT_BACK = ("PATCH configmaps/settings", "PATCH secrets/db", "POST configmaps")
GIVE_BACK = tuple(f"PATCH {plural}/{name} give-back" for (_, name), plural in PLACES.items())


def configured(version: int) -> Object:
    """A Deployment `web` of that version, which reads its configuration."""
    body = deployment(version)
    names = [name for kind, name in PLACES if kind == "ConfigMap" and not (version == BROKEN and name == DELETED)]
    sources: list[Object] = [{"configMapRef": {"name": name}} for name in names]
    body["spec"]["template"]["spec"]["containers"][0]["envFrom"] = [*sources, {"secretRef": {"name": "db"}}]
    return body


def configuration(kind: str, name: str, version: int) -> Object:
    """What an object says in that version; the first has a key that no other has."""
    data = {"mode": f"of-{version}", **({"old": "1"} if version == 1 else {})}
    if kind == "Secret":
        data = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, "data": data}


class ConfiguredRow(DeploymentRow):
    """A Deployment with configuration, whose policy remembers what ran with the first version."""

    name = "Deployment-with-configuration"
    begun_by = "person whose policy remembers"
    first_kills: tuple[str, ...] = (PUT_BACK[0], DeploymentRow.effect_call)
    own_calls: tuple[str, ...] = (*PUT_BACK, DeploymentRow.effect_call, *GIVE_BACK)
    samples = True
    only_own = True
    body = staticmethod(configured)

    async def release(self, admin: Admin, namespace: str, version: int, *, force: bool = False) -> None:
        for (kind, name), plural in PLACES.items():
            path = f"/api/v1/namespaces/{namespace}/{plural}/{name}"
            if version == BROKEN and name == DELETED:
                await admin.delete(path)
            else:
                await admin.apply(path, configuration(kind, name, version), force=force)
        await super().release(admin, namespace, version, force=force)

    async def end_state(self, admin: Admin, namespace: str) -> Object:
        """When pods were restarted differs between runs; that they were does not."""
        state = await super().end_state(admin, namespace)
        annotations = state["spec"]["template"]["metadata"].get("annotations", {})
        restarted = annotations.pop(podtemplate.RESTARTED_AT, None) is not None
        found = {name: await _stands(admin, namespace, plural, name) for (_, name), plural in PLACES.items()}
        return {**state, "restarted": restarted, "configuration": found, "written": _written(admin, namespace)}


async def _stands(admin: Admin, namespace: str, plural: str, name: str) -> Object | None:
    """What an object says, and who owns it."""
    try:
        body = await admin.get(f"/api/v1/namespaces/{namespace}/{plural}/{name}")
    except NoAnswerError:
        return None
    metadata = body["metadata"]
    managers = sorted((one["manager"], one["operation"], "f:old" in str(one)) for one in metadata["managedFields"])
    return {"data": body["data"], "annotations": sorted(metadata.get("annotations", {})), "owners": managers}


def _written(admin: Admin, namespace: str) -> Object:
    """How often each object was put back."""
    names = {name for _, name in PLACES}
    counted: Counter[str] = Counter()
    for event in admin.audit.of(namespace):
        about = event.get("objectRef") or {}
        done = event["verb"] in ("create", "patch") and event["responseStatus"]["code"] in (200, 201)
        as_account = "impersonatedUser" in event and about.get("name") in names
        if done and as_account and "give-back" not in event["requestURI"]:
            counted[f"{about['resource']}/{about['name']}"] += 1
    return dict(counted)


class ConfiguredBench(Bench):
    """A namespace whose policy remembers what ran with version 1."""

    @contextlib.asynccontextmanager
    async def furnished(self) -> AsyncIterator[None]:
        """The rights, version 1, what is remembered of it, and then version 2."""
        await self.allow("rbac-remember.yaml")
        await self.row.release(self.lab.admin, self.namespace, 1)
        await self._remember()
        await self.row.release(self.lab.admin, self.namespace, BROKEN)
        yield

    async def request(self, **spec: Any) -> None:
        """Ask for a rollback as the policy says."""
        body: Object = {
            "apiVersion": "rollback.dev/v1alpha1",
            "kind": "RollbackRequest",
            "metadata": {"name": REQUEST},
            "spec": {"reason": "sweep", "policyRef": {"name": POLICY}, "timeout": LONG, **spec},
        }
        await self.lab.admin.create(self._requests(), body)

    async def _remember(self) -> None:
        """What a policy with triggers does in its time."""
        admin, path = self.lab.admin, f"/apis/rollback.dev/v1alpha1/namespaces/{self.namespace}/rollbackpolicies"
        spec = {"target": {"kind": "Deployment", "name": "web"}, "remember": {"config": True}}
        policy = await admin.create(
            path,
            {
                "apiVersion": "rollback.dev/v1alpha1",
                "kind": "RollbackPolicy",
                "metadata": {"name": POLICY},
                "spec": spec,
            },
        )
        uid = policy["metadata"]["uid"]
        kept = [await self._keep(kind, name, uid) for kind, name in PLACES]
        web = await admin.get(f"/apis/apps/v1/namespaces/{self.namespace}/deployments/web")
        known = Remembered(
            fingerprint=podtemplate.fingerprint(web["spec"]["template"]),
            revision="1",
            config=whole(kept),
            at=datetime.now(UTC) - timedelta(hours=1),
            objects=tuple(kept),
            fixed=(),
        )
        await admin.merge(f"{path}/{POLICY}/status", {"status": {"remembered": [known.dump()]}})

    async def _keep(self, kind: str, name: str, uid: str) -> RememberedObject:
        admin, base = self.lab.admin, f"/api/v1/namespaces/{self.namespace}"
        thing = await admin.get(f"{base}/{PLACES[kind, name]}/{name}")
        kept = RememberedObject(kind=kind, name=name, secret=secret_name(digest_of(kind, thing, uid)))
        data = {MANIFESTS: manifests.compressed(bare(kind, thing))}
        owner = {"apiVersion": "rollback.dev/v1alpha1", "kind": "RollbackPolicy", "name": POLICY, "uid": uid}
        body = manifests.holding((self.namespace, kept.secret), "rollback.dev/config", {}, owner, data)
        body["metadata"]["annotations"] = {OWNER: owner_of(kind, thing)}
        await admin.create(f"{base}/secrets", body)
        return kept


CONFIGURED = (ConfiguredRow(),)
