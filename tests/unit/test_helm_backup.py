"""What is kept of a release before it is rolled back, and the command that takes that back."""

from __future__ import annotations

import copy
from typing import Any

from rollback_operator.api import REQUEST_ANNOTATION
from rollback_operator.api.options import HelmOptions, Options
from rollback_operator.core.backups import RECORD
from rollback_operator.kube import errors
from rollback_operator.kube.identity import ServiceAccount
from rollback_operator.targets.base import Kept, Where
from rollback_operator.targets.helm import HelmTarget
from rollback_operator.targets.helm.records import decode
from rollback_operator.targets.metadata import REVISION
from tests.unit.helm import MANIFEST, release, secret
from tests.unit.objects import deployment

Object = dict[str, Any]
SERVED = {
    "/apis/apps/v1": [{"name": "deployments", "kind": "Deployment", "namespaced": True}],
    "/api/v1": [
        {"name": "secrets", "kind": "Secret", "namespaced": True},
        {"name": "configmaps", "kind": "ConfigMap", "namespaced": True},
    ],
}
SECRETS = "/api/v1/namespaces/shop/secrets"
WEB = "/apis/apps/v1/namespaces/shop/deployments/web"


class Cluster:
    """A release, and of its objects those that are given, by their paths."""

    def __init__(self, records: list[Object], objects: dict[str, Object]) -> None:
        named = {f"{SECRETS}/{one['metadata']['name']}": one for one in records}
        self.things = {**named, **objects, **{path: {"resources": listed} for path, listed in SERVED.items()}}
        self.records = records

    async def get(self, path: str, **_: Any) -> Object:
        if path == SECRETS:
            return {"metadata": {}, "items": [{"metadata": one["metadata"]} for one in self.records]}
        if path not in self.things:
            raise errors.NotFound(path)
        return copy.deepcopy(self.things[path])


async def kept(cluster: Cluster, **options: Any) -> Kept | None:
    api: Any = cluster
    target = HelmTarget(api, "helm", {})
    where = Where("shop", "shop", ServiceAccount("shop", "rollback"), Options(helm=HelmOptions(**options)))
    seen = await target.observe(where, None, None)
    assert seen is not None
    return await target.backup(where, seen, "1")


def releases(*, newest: str = "deployed") -> list[Object]:
    return [secret(1, release(1)), secret(2, release(2, image="shop:2", status=newest, description="as it went"))]


async def test_helm_takes_it_back_and_manifests_and_values_are_kept() -> None:
    web = deployment(name="web", mark="uid-of-another", number=7)
    assert web["metadata"]["annotations"] == {REQUEST_ANNOTATION: "uid-of-another", REVISION: "7"}

    copy_ = await kept(Cluster(releases(), {WEB: web}), hooks=False)

    assert copy_ is not None
    assert (copy_.command, copy_.reads) == ("helm -n shop rollback shop 2 --no-hooks", None)
    (thing,) = copy_.manifests
    assert "annotations" not in thing["metadata"]
    assert thing["spec"] == web["spec"]
    record = copy_.more[RECORD]
    assert (record["kind"], record["metadata"]["name"]) == ("Secret", "sh.helm.release.v1.shop.v2")
    assert decode(record)["config"] == {"image": "shop:2"}


async def test_what_only_the_earlier_revision_names_is_kept_if_it_is_there() -> None:
    """Somebody made it, or Helm was told to keep it: the rollback changes it."""
    settings = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {a: then}\n"
    records = [
        secret(1, release(1, manifest=MANIFEST.format(image="shop:1") + settings)),
        secret(2, release(2, image="shop:2", status="deployed")),
    ]
    there = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"a": "by hand"}}
    path = "/api/v1/namespaces/shop/configmaps/settings"

    copy_ = await kept(Cluster(records, {WEB: deployment(name="web"), path: there}))

    assert copy_ is not None
    assert [one["kind"] for one in copy_.manifests] == ["Deployment", "ConfigMap"]
    assert copy_.manifests[1]["data"] == {"a": "by hand"}


async def test_that_the_earlier_revision_cannot_be_read_is_for_others_to_say() -> None:
    records = [secret(1, release(1, manifest="{")), secret(2, release(2, image="shop:2", status="deployed"))]
    copy_ = await kept(Cluster(records, {WEB: deployment(name="web")}))
    assert copy_ is not None
    assert [one["kind"] for one in copy_.manifests] == ["Deployment"]


async def test_a_release_that_failed_is_what_is_left() -> None:
    copy_ = await kept(Cluster(releases(newest="failed"), {}))
    assert copy_ is not None
    assert copy_.command == "helm -n shop rollback shop 2"


async def test_an_attempt_that_broke_off_is_not_what_is_left() -> None:
    broken = release(3, status="failed", description="as it went")
    annotations = {"interrupted": "true", "request": "uid-of-another"}
    copy_ = await kept(Cluster([*releases(), secret(3, broken, **annotations)], {}))
    assert copy_ is not None
    assert copy_.command == "helm -n shop rollback shop 2"
    assert copy_.more[RECORD]["metadata"]["name"].endswith(".v2")


async def test_a_record_that_nobody_can_read_is_not_kept() -> None:
    records = releases()
    records[1]["data"]["release"] = "AAAA"
    assert await kept(Cluster(records, {})) is None
