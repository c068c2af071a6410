"""Copies of what a rollback replaces: made before the effect, once, or said why not."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any
from unittest import mock

import pytest

from rollback_operator import backups
from rollback_operator.api import REQUEST_ANNOTATION
from rollback_operator.api.common import TargetRef
from rollback_operator.api.options import Backup
from rollback_operator.api.request import KeptCopy
from rollback_operator.core.backups import name_of, restoring, wish
from rollback_operator.kube import errors
from rollback_operator.requests import acting
from rollback_operator.targets import manifests
from rollback_operator.targets.deployment import DeploymentTarget
from tests.unit.builders import message, policy, request, spec
from tests.unit.fakes import failing
from tests.unit.objects import Object, deployment, policy_body
from tests.unit.test_requests import BAD, DEPLOYMENT, GOOD, LOST, UNDO, World, asked

CHECKOUT = TargetRef(kind="Deployment", name="checkout")
SECRETS = "/api/v1/namespaces/shop/secrets"
DENIED = errors.Forbidden('secrets is forbidden: User "x" cannot create resource "secrets"')


def names(world: World) -> list[str]:
    """The writes in their order, Events left out."""
    return [str(call) for call in world.api.writes() if not call.path.endswith("/events")]


def copies(world: World) -> list[Object]:
    """The Secrets that were asked for."""
    return [call.body for call in world.api.writes() if call.path == SECRETS]


def kept(data: bytes) -> Object:
    """What is in a copy."""
    whole: Object = json.loads(gzip.decompress(data))
    return whole


# What is kept.


async def test_what_is_replaced_is_kept_before_the_effect_and_after_the_plan() -> None:
    world = World()
    await world.work()
    assert names(world)[:3] == [f"PUT {UNDO}/status", f"POST {SECRETS}", f"PATCH {DEPLOYMENT}"]
    assert world.target["spec"]["template"] == GOOD
    (copy,) = copies(world)
    thing = kept(base64.b64decode(copy["data"]["manifests"]))
    assert (thing["apiVersion"], thing["kind"], thing["spec"]["template"]) == ("apps/v1", "Deployment", BAD)


async def test_the_copy_is_made_as_the_service_account_and_goes_with_its_request() -> None:
    world = World()
    await world.work()
    (call,) = [call for call in world.api.writes() if call.path == SECRETS]
    assert call.as_ == "shop/rollback"
    (owner,) = call.body["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["uid"]) == ("RollbackRequest", "undo", "uid-of-undo")
    assert "blockOwnerDeletion" not in owner
    assert call.body["metadata"]["labels"] == {
        REQUEST_ANNOTATION: "uid-of-undo",
        backups.TARGET_LABEL: "Deployment.checkout",
    }


async def test_the_status_says_how_to_restore_what_the_plan_names() -> None:
    world = World()
    await world.work()
    (mine,) = world.status().targets
    assert mine.plan is not None
    assert mine.plan.backup is not None
    assert copies(world)[0]["metadata"]["name"] == mine.plan.backup.secret
    assert mine.plan.steps[0] == f"Keep a copy of what is replaced in Secret {mine.plan.backup.secret}."
    assert mine.restore == (
        f"kubectl -n shop get secret {mine.plan.backup.secret} -o jsonpath='{{.data.manifests}}' "
        f"| base64 -d | gunzip | kubectl replace --raw {DEPLOYMENT} -f - > /dev/null"
    )


def test_what_the_server_and_controllers_write_is_left_out() -> None:
    live = deployment(mark="uid-of-another", annotations={"team": "a"}, managed=[{"manager": "kubectl"}])
    live["metadata"]["ownerReferences"] = [{"uid": "of-an-owner"}]

    bare = manifests.bare(live)

    assert "status" not in bare
    assert bare["metadata"] == {
        "name": "checkout",
        "namespace": "shop",
        "labels": {"team": "shop"},
        "annotations": {"team": "a"},
        "ownerReferences": [{"uid": "of-an-owner"}],
    }
    assert live["metadata"]["annotations"][REQUEST_ANNOTATION] == "uid-of-another"


def test_the_same_manifests_give_the_same_bytes() -> None:
    assert backups.packed([deployment()]) == backups.packed([deployment()])


def test_names_tell_requests_and_targets_apart() -> None:
    another = TargetRef(kind="Deployment", name="cart")
    found = {name_of(request(uid=uid), ref) for uid in ("1", "2") for ref in (CHECKOUT, another)}
    assert len(found) == 4


def test_a_long_name_is_cut_to_what_a_name_may_be() -> None:
    name = name_of(request(name="a" * 199 + "-" + "b" * 53), CHECKOUT)
    assert len(name) <= 253
    assert "a-" in name
    assert "--" not in name
    copy = KeptCopy(secret=name_of(request(name="a" * 253), CHECKOUT), path=DEPLOYMENT + "n" * 253)
    assert len(restoring("n" * 63, copy)) <= 1024


def test_several_objects_are_kept_as_a_list_that_kubectl_replaces() -> None:
    things = [{"apiVersion": "apps/v1", "kind": "Deployment"}, {"apiVersion": "v1", "kind": "Service"}]
    assert kept(backups.packed(things)) == {"apiVersion": "v1", "kind": "List", "items": things}
    assert restoring("shop", KeptCopy(secret="copy")).endswith("| kubectl replace -f -")


def test_a_kind_may_be_brought_back_in_a_way_of_its_own() -> None:
    copy = KeptCopy(secret="copy", command="helm -n shop rollback shop 3")
    assert restoring("shop", copy) == "helm -n shop rollback shop 3"
    copy = KeptCopy(secret="copy", command="kubectl patch app", reads="patch", configuration=True)
    reading = "kubectl -n shop get secret copy -o jsonpath='{.data.%s}' | base64 -d | gunzip | "
    assert restoring("shop", copy) == (
        f"{reading % 'configuration'}kubectl replace -f - && {reading % 'patch'}kubectl patch app"
    )


def test_a_kind_that_takes_no_update_without_a_version_is_left_to_kubectl() -> None:
    thing = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Application", "metadata": {"namespace": "a", "name": "b"}}
    assert kept(backups.packed([thing]))["kind"] == "List"


def test_a_label_is_no_longer_than_labels_may_be() -> None:
    body = backups.secret(request(), TargetRef(kind="Deployment", name="n" * 253), "copy", {})
    assert len(body["metadata"]["labels"][backups.TARGET_LABEL]) <= 63


# Whether one is kept.

WISHES: dict[str, tuple[Any, Any, Backup]] = {
    "nobody says anything": (None, None, Backup.IF_ALLOWED),
    "the policy says nothing": (None, {}, Backup.IF_ALLOWED),
    "the policy says so": (None, {"backup": "Always"}, Backup.ALWAYS),
    "the request says otherwise": ("Never", {"backup": "Always"}, Backup.NEVER),
}


@pytest.mark.parametrize("case", WISHES)
def test_the_request_says_else_its_policy(case: str) -> None:
    of_request, of_policy, expected = WISHES[case]
    orders = None if of_policy is None else policy(**of_policy)
    assert wish(spec(backup=of_request), orders) is expected


async def test_never_asks_nothing_and_keeps_nothing() -> None:
    world = World(undo=asked(backup="Never"))
    await world.work()
    assert copies(world) == []
    assert [call for call in world.api.calls if call.path.endswith("accessreviews")] == []
    assert world.status().targets[0].restore is None
    assert world.target["spec"]["template"] == GOOD


async def test_who_may_not_keep_one_rolls_back_all_the_same_and_the_plan_says_so() -> None:
    world = World()
    world.api.lacking.add("create")
    await world.work()
    (mine,) = world.status().targets
    assert mine.plan is not None
    assert mine.plan.notes[-1] == (
        "No backup is kept: service account shop/rollback may not create secrets in namespace shop."
    )
    assert (mine.plan.backup, mine.restore, copies(world)) == (None, None, [])
    assert world.target["spec"]["template"] == GOOD


async def test_that_one_may_be_kept_is_asked_once_for_many_requests() -> None:
    world = World(asked("another", target={"kind": "Deployment", "name": "checkout"}))
    await world.work()
    world.controller()
    await world.work()
    await world.work(("shop", "another"))
    assert len([call for call in world.api.calls if call.path.endswith("accessreviews")]) == 1


async def test_that_one_may_not_be_kept_is_asked_anew() -> None:
    world = World(undo=asked(dryRun=True))
    world.api.lacking.add("create")
    await world.work()
    world.api.lacking.clear()
    world.api.put(asked("again"))
    await world.work(("shop", "again"))
    assert len(copies(world)) == 1


async def test_where_one_is_required_who_may_not_keep_it_does_not_roll_back() -> None:
    world = World(policy_body(backup="Always"), undo=asked(policyRef={"name": "checkout"}))
    world.api.lacking.add("create")
    await world.work()
    assert world.outcome() == ("Failed", "Forbidden")
    assert message(world.status()) == (
        "No backup can be kept, and this rollback requires one (backup: Always): service account shop/rollback may not "
        "create secrets in namespace shop. Nothing was changed. Set that right, or say backup: IfAllowed or Never; "
        "then write a new request."
    )
    assert world.effects() == []


async def test_a_dry_run_tells_of_the_copy_and_makes_none() -> None:
    world = World(undo=asked(dryRun=True))
    await world.work()
    (mine,) = world.status().targets
    assert mine.plan is not None
    assert mine.plan.backup is not None
    assert (copies(world), mine.restore) == ([], None)


async def test_what_is_too_large_for_a_secret_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backups, "LARGEST", 10)
    world = World()
    await world.work()
    (mine,) = world.status().targets
    assert mine.plan is not None
    assert mine.plan.notes[-1].startswith("No backup is kept: what would be replaced takes ")
    assert world.target["spec"]["template"] == GOOD


async def unreadable(*_: Any) -> None:
    """In place of a kind's `backup`."""


async def test_what_cannot_be_read_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DeploymentTarget, "backup", unreadable)
    world = World()
    await world.work()
    (mine,) = world.status().targets
    assert mine.plan is not None
    assert mine.plan.notes[-1] == "No backup is kept: what would be replaced cannot be read."


# What goes wrong.


async def test_what_cannot_be_read_any_more_is_no_empty_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    kept = DeploymentTarget.backup
    answers = iter([kept])

    async def once(*given: Any) -> Any:
        return await next(answers, unreadable)(*given)

    monkeypatch.setattr(DeploymentTarget, "backup", once)
    await world.work()
    (mine,) = world.status().targets
    assert (copies(world), mine.restore) == ([], None)
    assert "No backup was kept: what would be replaced cannot be read" in str(mine.steps[0].message)
    assert world.target["spec"]["template"] == GOOD


async def test_a_copy_that_is_refused_is_done_without_and_the_status_says_so_before_the_effect() -> None:
    world = World()
    world.api.faults.append(failing(f"POST {SECRETS}", DENIED))
    await world.work()
    assert names(world)[:4] == [
        f"PUT {UNDO}/status",
        f"POST {SECRETS}",
        f"PUT {UNDO}/status",
        f"PATCH {DEPLOYMENT}",
    ]
    (mine,) = world.status().targets
    assert mine.restore is None
    assert mine.steps[0].message is not None
    assert "Revision 3 replaced by 2. No backup was kept: " in mine.steps[0].message
    world.controller()
    await world.work()
    assert world.outcome() == ("Succeeded", "Completed")


async def test_a_required_copy_that_is_refused_ends_the_request_without_an_effect() -> None:
    world = World(undo=asked(backup="Always"))
    world.api.faults.append(failing(f"POST {SECRETS}", DENIED))
    await world.work(rounds=3)
    assert world.outcome() == ("Failed", "Forbidden")
    assert message(world.status()).startswith("No backup can be kept, and this rollback requires one (backup: Always)")
    assert (world.effects(), world.status().targets[0].restore) == ([], None)


async def test_a_copy_without_an_answer_is_asked_for_again_before_the_effect() -> None:
    world = World()
    world.api.late_faults.append(failing(f"POST {SECRETS}", LOST, times=1))
    assert await world.work() is not None
    assert world.effects() == []
    world.api.edit(world.undo, _attempted_earlier)
    world.worker = world.another_worker()
    await world.work()
    assert len(copies(world)) == 2
    assert len(world.effects()) == 1


def _attempted_earlier(body: Object) -> None:
    body["status"]["targets"][0]["steps"][0]["lastAttemptAt"] = "2026-01-01T00:00:00.000Z"


async def test_a_409_that_means_something_else_is_no_copy() -> None:
    world = World()
    world.api.faults.append(failing(f"POST {SECRETS}", errors.AlreadyExists("quota changed"), times=1))
    await world.work()
    assert world.effects() == []


async def test_a_copy_of_another_with_its_name_is_not_taken_for_its_own() -> None:
    world = World(undo=asked(backup="Always"))
    name = name_of(request(name="undo", uid="uid-of-undo"), CHECKOUT)
    metadata = {"name": name, "namespace": "shop", "labels": {REQUEST_ANNOTATION: "uid-of-another"}}
    world.api.put({"kind": "Secret", "metadata": metadata})
    await world.work(rounds=2)
    assert world.outcome() == ("Failed", "Rejected")
    assert f"Secret {name} is there and was not made by this request" in message(world.status())
    assert world.effects() == []


async def test_who_may_create_and_not_read_secrets_is_believed_that_it_is_there() -> None:
    world = World()
    world.api.faults.append(failing(f"POST {SECRETS}", errors.AlreadyExists("there")))
    world.api.faults.append(failing(f"GET {SECRETS}/", DENIED))
    await world.work()
    assert len(world.effects()) == 1


async def test_a_copy_that_took_long_is_followed_by_no_effect_of_the_same_attempt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Others may count the attempt as over by then."""
    world = World()
    late = iter([False, True])
    monkeypatch.setattr(acting, "too_late_to_send", lambda *_: next(late))
    await world.work()
    assert (len(copies(world)), world.effects()) == (1, [])


async def test_what_a_copy_took_is_not_read_again_by_the_next_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading a large release may take as long as an attempt may: each would come too late."""
    world = World()
    late = iter([False, True, False, False, False])
    monkeypatch.setattr(acting, "too_late_to_send", lambda *_: next(late))
    await world.work()
    monkeypatch.setattr(DeploymentTarget, "backup", mock.AsyncMock(side_effect=AssertionError("it is kept already")))
    world.api.edit(world.undo, _attempted_earlier)
    world.worker.saw(world.api.current(world.undo))

    await world.work()

    assert len(world.effects()) == 1
