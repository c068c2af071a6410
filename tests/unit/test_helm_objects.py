"""What a rollback of Helm changes at the API server, and which rights that takes."""

from __future__ import annotations

from typing import Any

import pytest

from rollback_operator.api.options import Force, HelmOptions, Options
from rollback_operator.kube import errors
from rollback_operator.kube.identity import Identity, ServiceAccount
from rollback_operator.targets.base import Where
from rollback_operator.targets.helm import manifest
from rollback_operator.targets.helm.objects import NO_HOOKS, Changes, Hooks
from rollback_operator.targets.helm.target import _hooks
from tests.unit.fakes import FakeApi, failing
from tests.unit.helm import release

Object = dict[str, Any]

WEB = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n"
SETTINGS = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\n"
EXTRA = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: extra}\n"
JOB = "apiVersion: batch/v1\nkind: Job\nmetadata: {name: migrate}\n"
TILLS = """---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: tills.example.com
  annotations: {helm.sh/resource-policy: %s}
"""
SERVED = {
    "/apis/apps/v1": [("deployments", "Deployment", True)],
    "/apis/batch/v1": [("jobs", "Job", True)],
    "/api/v1": [("configmaps", "ConfigMap", True)],
    "/apis/apiextensions.k8s.io/v1": [("customresourcedefinitions", "CustomResourceDefinition", False)],
}
_DEFINITION = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/tills.example.com"


class Server(FakeApi):
    """An API server that tells what it serves, and has a definition or not."""

    definition: Object | None = None

    async def get(
        self, path: str, *, as_: Identity, query: Object | None = None, metadata_only: bool = False
    ) -> Object:
        if path in SERVED:
            named = [{"name": name, "kind": kind, "namespaced": inside} for name, kind, inside in SERVED[path]]
            return {"resources": named}
        if path == _DEFINITION and self.definition is not None:
            return self.definition
        return await super().get(path, as_=as_, query=query, metadata_only=metadata_only)

    @property
    def asked(self) -> set[tuple[str, str]]:
        """Verbs and names of objects."""
        reviews = [call.body["spec"]["resourceAttributes"] for call in self.calls if call.verb == "POST"]
        return {(one["verb"], one["name"]) for one in reviews}


def changes(
    before: str, after: str = "", *, hooks: Hooks = NO_HOOKS, force: Force = Force.NEVER
) -> tuple[Changes, Server]:
    api = Server()
    door: Any = api
    where = Where("shop", "shop", ServiceAccount("shop", "rollback"), Options(helm=HelmOptions(force=force)))
    return Changes(door, where, manifest.objects(before), manifest.objects(after), hooks), api


TAKES = {
    Force.NEVER: "patch",
    Force.CONFLICTS: "patch",
    Force.REPLACE: "update",
}


@pytest.mark.parametrize("force", TAKES)
async def test_what_is_changed_created_and_deleted_is_asked_for(force: Force) -> None:
    one, api = changes(WEB + EXTRA, WEB + SETTINGS, force=force)

    assert await one.first_lacking() is None
    change = TAKES[force]
    assert api.asked == {
        *((verb, "web") for verb in ("get", change)),
        *((verb, "settings") for verb in ("create", change)),
        ("get", ""),  # of both ConfigMaps
        ("delete", "extra"),
    }


HOOKS: dict[str, tuple[Object, set[str]]] = {
    "it is a Job": ({}, {"create", "delete"}),
    "it is applied": ({"apply_method": "ssa"}, {"create", "patch", "delete"}),
    "it is kept": ({"delete_policies": ["hook-failed"]}, {"create"}),
    "it goes when it is done": ({"delete_policies": ["hook-succeeded"]}, {"create", "delete"}),
    "it is run at other times": ({"events": ["pre-upgrade"]}, set()),
}


@pytest.mark.parametrize("case", HOOKS)
async def test_what_a_hook_takes_is_asked_for(case: str) -> None:
    more, verbs = HOOKS[case]
    hook = {"events": ["post-rollback"], "manifest": JOB, **more}
    one, api = changes("", hooks=_hooks(release(1, hooks=[hook], apply_method=more.get("apply_method"))))

    assert await one.first_lacking() is None
    waited_for = {(verb, "") for verb in ("list", "watch") if verbs}
    assert api.asked == {(verb, "migrate") for verb in verbs} | waited_for


async def test_what_is_lacking_for_a_hook_is_told() -> None:
    hook = {"events": ["pre-rollback"], "manifest": JOB}
    one, api = changes(WEB, WEB, hooks=_hooks(release(1, hooks=[hook])))
    api.lacking = {"create jobs"}

    lacking = await one.first_lacking()

    assert lacking is not None
    assert (lacking.verb, lacking.group, lacking.resource, lacking.name) == ("create", "batch", "jobs", "migrate")


LOST = {
    # what the chart says, what the object says that is there (None: it is gone): whether it is lost
    "both say keep": ("keep", "keep", False),
    "the object says it": ("other", "keep", False),
    "only the chart says it": ("keep", "other", True),
    "neither says it": ("Keep", "Keep", True),
    "it is gone": ("other", None, False),
}


@pytest.mark.parametrize("case", LOST)
async def test_a_definition_is_lost_unless_the_one_that_is_there_says_keep(case: str) -> None:
    chart, there, lost = LOST[case]
    one, api = changes(TILLS % chart)
    if there is not None:
        (api.definition,) = manifest.objects(TILLS % there).values()

    assert await one.lost_definitions() == (("tills.example.com",) if lost else ())


@pytest.mark.parametrize("chart, lost", [("keep", ()), ("other", ("tills.example.com",))])
async def test_who_may_not_look_goes_by_the_chart(chart: str, lost: tuple[str, ...]) -> None:
    one, api = changes(TILLS % chart)
    api.faults.append(failing("customresourcedefinitions", errors.Forbidden("no")))

    assert await one.lost_definitions() == lost
