"""Deployments as the operator sees them: history, marks, obstacles, health, and what a revision needs."""

from __future__ import annotations

from datetime import datetime
from typing import Any, get_args

import pytest

from rollback_operator.api.common import TargetKind
from rollback_operator.api.reasons import Reason
from rollback_operator.api.request import Phase, Plan
from rollback_operator.core.values import Snapshot, Wellbeing
from rollback_operator.kube import errors
from rollback_operator.kube.identity import ServiceAccount
from rollback_operator.targets import by_kind
from rollback_operator.targets.base import Where
from rollback_operator.targets.deployment import DeploymentTarget
from rollback_operator.targets.metadata import REVISION
from rollback_operator.targets.podtemplate import fingerprint
from tests.unit.builders import CHECKOUT_UID, after, running
from tests.unit.fakes import FakeApi, failing
from tests.unit.objects import SELECTOR, Object, deployment, pod, replica_set, template, waiting

ACCOUNT = ServiceAccount("shop", "rollback")
HERE = Where("shop", "checkout", ACCOUNT)
HISTORY = (replica_set(1), replica_set(2), replica_set(3))
DENIED = errors.Forbidden('secrets "db" is forbidden: User "x" cannot get resource "secrets"')


def target(api: FakeApi) -> DeploymentTarget:
    return DeploymentTarget(api)  # type: ignore[arg-type]


async def observed(*things: Object, phase: Phase | None = None, plan: Plan | None = None) -> Snapshot:
    seen = await target(FakeApi(*things)).observe(HERE, phase, plan)
    assert seen is not None
    return seen


def a_plan(to: Object) -> Plan:
    (mine,) = running().status.targets
    assert mine.plan is not None
    number = to["metadata"]["annotations"][REVISION]
    reference = mine.plan.to.model_copy(update={"revision": number, "fingerprint": fingerprint(to["spec"]["template"])})
    return mine.plan.model_copy(update={"to": reference})


# History.


async def test_there_is_no_deployment() -> None:
    assert await target(FakeApi()).observe(HERE, None, None) is None


async def test_its_revisions_are_its_replica_sets_by_number() -> None:
    seen = await observed(deployment(), *reversed(HISTORY), replica_set(10, "shop:10"))
    assert [(one.name, one.order) for one in seen.history] == [("1", 1), ("2", 2), ("3", 3), ("10", 10)]
    assert [one.fingerprint for one in seen.history[:3]] == [fingerprint(template(f"shop:{n}")) for n in (1, 2, 3)]
    assert seen.history[0].source == f"ReplicaSet {HISTORY[0]['metadata']['name']}"
    assert seen.history[0].tags == ("shop:1",)
    assert (seen.current.name, seen.current.order) == ("3", 3)
    assert seen.current.fingerprint == seen.history[2].fingerprint
    assert seen.current.tags == ("shop:3",)
    assert (seen.uid, seen.generation, seen.settled) == (CHECKOUT_UID, 3, True)


NO_REVISION: dict[str, Object] = {
    "another Deployment's": replica_set(1, owner="another"),
    "nobody's": replica_set(1) | {"metadata": replica_set(1)["metadata"] | {"ownerReferences": []}},
    "one without a number": replica_set(1) | {"metadata": replica_set(1)["metadata"] | {"annotations": {}}},
    "one with a number that is none": replica_set(1, annotations={REVISION: "first"}),
    "one with other labels": replica_set(1) | {"metadata": replica_set(1)["metadata"] | {"labels": {"app": "x"}}},
}


@pytest.mark.parametrize("case", NO_REVISION)
async def test_a_replica_set_is_no_revision_if_it_is(case: str) -> None:
    seen = await observed(deployment(), NO_REVISION[case], HISTORY[1])
    assert [one.name for one in seen.history] == ["2"]


UNSETTLED: dict[str, Object] = {
    "its controller has not seen the last change": deployment(generation=4, observed=3),
    "it has never been seen": deployment(status={}, observed=0),
    "it has no number yet": deployment(number=None),
    "its number is none": deployment(number=None, annotations={REVISION: "first"}),
}


@pytest.mark.parametrize("case", UNSETTLED)
async def test_its_numbers_cannot_be_trusted_while(case: str) -> None:
    seen = await observed(UNSETTLED[case], *HISTORY)
    assert not seen.settled
    assert len(seen.history) == 3


async def test_a_selector_with_expressions_finds_its_replica_sets() -> None:
    api = FakeApi(deployment(selector={"matchLabels": SELECTOR, "matchExpressions": []}), *HISTORY)
    seen = await target(api).observe(HERE, None, None)
    assert seen is not None
    assert len(seen.history) == 3
    assert api.calls[1].query == {"labelSelector": "app=checkout"}


# Marks, obstacles, ownership.

MARKS: dict[str, tuple[tuple[Object, ...], set[str]]] = {
    "none": ((deployment(), *HISTORY), set()),
    "its own": ((deployment(mark="a"), *HISTORY), {"a"}),
    "those of its ReplicaSets, when a release has taken its own away": (
        (deployment(), replica_set(1, mark="a"), replica_set(2, mark="b")),
        {"a", "b"},
    ),
    "no other Deployment's": ((deployment(), replica_set(1, mark="a", owner="another")), set()),
}


@pytest.mark.parametrize("phase", [None, Phase.PENDING, Phase.RUNNING])
@pytest.mark.parametrize("case", MARKS)
async def test_it_shows_the_marks(case: str, phase: Phase | None) -> None:
    things, expected = MARKS[case]
    assert (await observed(*things, phase=phase)).marks == expected


async def test_a_paused_deployment_says_how_to_go_on() -> None:
    seen = await observed(deployment(paused=True), *HISTORY)
    assert seen.obstacle is not None
    assert seen.obstacle.reason is Reason.TARGET_PAUSED
    assert "Run kubectl rollout resume deployment/checkout and write a new request" in seen.obstacle.message
    assert (await observed(deployment(paused=False), *HISTORY)).obstacle is None


HELD: dict[str, tuple[Object, bool]] = {
    "its effect": ({"manager": "rollback-operator", "operation": "Update"}, True),
    "another's": ({"manager": "helm", "operation": "Apply"}, False),
    "the status of an object": ({"manager": "rollback-operator", "subresource": "status"}, False),
}


@pytest.mark.parametrize("case", HELD)
async def test_the_operator_holds_fields_by(case: str) -> None:
    entry, holds = HELD[case]
    assert (await observed(deployment(managed=[entry]), *HISTORY)).unfinished == holds


# Health.

NUMBERS = ("replicas", "updatedReplicas", "availableReplicas")


def counts(all_: int, updated: int, available: int) -> Object:
    return {**dict(zip(NUMBERS, (all_, updated, available), strict=True)), "unavailableReplicas": all_ - available}


HEALTH: dict[str, tuple[Object, Wellbeing, str]] = {
    "all is well": (deployment(), Wellbeing.HEALTHY, "3 of 3 pods are updated and available"),
    "it is scaled to nothing": (deployment(replicas=0), Wellbeing.HEALTHY, "0 of 0 pods are updated and available"),
    "the controller has not looked yet": (
        deployment(observed=2),
        Wellbeing.PROGRESSING,
        "the Deployment controller has not seen the change yet",
    ),
    "some pods are old": (deployment(status=counts(3, 1, 3)), Wellbeing.PROGRESSING, "1 of 3 pods are updated"),
    "old pods end": (deployment(status=counts(5, 3, 3)), Wellbeing.PROGRESSING, "2 old pods are still ending"),
    "some are not ready": (deployment(status=counts(3, 3, 2)), Wellbeing.PROGRESSING, "2 of 3 pods are available"),
    "nothing is known": (deployment(status={}), Wellbeing.PROGRESSING, "0 of 3 pods are updated"),
}


@pytest.mark.parametrize("case", HEALTH)
@pytest.mark.parametrize("phase", [Phase.RUNNING, Phase.VERIFYING])
async def test_its_health_when(case: str, phase: Phase) -> None:
    thing, state, says = HEALTH[case]
    seen = await observed(thing, *HISTORY, phase=phase)
    assert (seen.health.state, seen.health.message) == (state, says)


def rolling(**fields: Any) -> Object:
    return deployment("shop:2", number=4, generation=4, status=counts(3, 3, 2), **fields)


CURRENT = replica_set(4, "shop:2")


def between_crashes(now: str) -> Object:
    crash = {"reason": "Error", "exitCode": 1, "message": "SECRET last words"}
    state = {"terminated": crash} if now == "terminated" else {"running": {"startedAt": "now"}}
    last = {} if now == "terminated" else {"terminated": crash}
    return {"name": "web", "image": "shop:2", "ready": False, "restartCount": 2, "state": state, "lastState": last}


PODS: dict[str, tuple[tuple[Object, ...], Wellbeing, str]] = {
    "nothing more, if its pods have nothing to say": (
        (pod("a", CURRENT),),
        Wellbeing.PROGRESSING,
        "2 of 3 pods are available",
    ),
    "a container that crashes": (
        (
            pod(
                "a",
                CURRENT,
                waiting("CrashLoopBackOff", last={"reason": "OOMKilled", "exitCode": 137}, restarts=4),
            ),
        ),
        Wellbeing.FAILING,
        "pod a, container web: CrashLoopBackOff (OOMKilled, exit code 137, restarted 4 times)",
    ),
    "an image that cannot be pulled": (
        (pod("a", CURRENT, waiting("ImagePullBackOff")),),
        Wellbeing.FAILING,
        "2 of 3 pods are available; pod a, container web: ImagePullBackOff (image shop:2)",
    ),
    "a configuration that is wrong": (
        (pod("a", CURRENT, waiting("CreateContainerConfigError")),),
        Wellbeing.FAILING,
        "2 of 3 pods are available; pod a, container web: CreateContainerConfigError",
    ),
    "an initial container that crashes": (
        (pod("a", CURRENT, initial=[waiting("CrashLoopBackOff", name="init", last={"exitCode": 1})]),),
        Wellbeing.FAILING,
        "2 of 3 pods are available; pod a, container init: CrashLoopBackOff (ended, exit code 1, restarted 0 times)",
    ),
    "a container that runs between two crashes": (
        (pod("a", CURRENT, between_crashes("running")),),
        Wellbeing.FAILING,
        "2 of 3 pods are available; pod a, container web: crashed (Error, exit code 1, restarted 2 times)",
    ),
    "a container that has just crashed": (
        (pod("a", CURRENT, between_crashes("terminated")),),
        Wellbeing.FAILING,
        "2 of 3 pods are available; pod a, container web: crashed (Error, exit code 1, restarted 2 times)",
    ),
    "no container that is ready, however often it crashed before": (
        (pod("a", CURRENT, {**between_crashes("running"), "ready": True}),),
        Wellbeing.PROGRESSING,
        "2 of 3 pods are available",
    ),
    "no pod that only starts": (
        (pod("a", CURRENT, waiting("ContainerCreating")),),
        Wellbeing.PROGRESSING,
        "2 of 3 pods are available",
    ),
    "no pod that is being deleted": (
        (pod("a", CURRENT, waiting("CrashLoopBackOff"), deletionTimestamp="now"),),
        Wellbeing.PROGRESSING,
        "2 of 3 pods are available",
    ),
    "no pod of the revision that is left": (
        (pod("a", HISTORY[2], waiting("CrashLoopBackOff")),),
        Wellbeing.PROGRESSING,
        "2 of 3 pods are available",
    ),
    "five reasons and how many more": (
        tuple(pod(f"p{number}", CURRENT, waiting("ErrImagePull")) for number in range(7)),
        Wellbeing.FAILING,
        "pod p4, container web: ErrImagePull (image shop:2); and 2 more",
    ),
}


@pytest.mark.parametrize("case", PODS)
async def test_its_pods_tell_of(case: str) -> None:
    things, state, says = PODS[case]
    seen = await observed(rolling(), *HISTORY[:1], HISTORY[2], CURRENT, *things, phase=Phase.VERIFYING)
    assert seen.health.state is state
    assert seen.health.message.endswith(says)
    assert "SECRET" not in seen.health.message


async def test_a_pod_without_a_node_says_so() -> None:
    lonely = pod("a", CURRENT)
    lonely["status"]["conditions"] = [
        {"type": "Ready", "status": "False"},
        {"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available"},
    ]
    seen = await observed(rolling(), CURRENT, lonely, phase=Phase.VERIFYING)
    assert seen.health.state is Wellbeing.PROGRESSING
    assert seen.health.message == "2 of 3 pods are available; pod a is not scheduled: 0/3 nodes are available"


async def test_failing_pods_outweigh_a_rollout_that_is_done() -> None:
    healthy = deployment("shop:2", number=4)
    seen = await observed(healthy, CURRENT, pod("a", CURRENT, waiting("CrashLoopBackOff")), phase=Phase.VERIFYING)
    assert (seen.health.state, seen.health.message) == (
        Wellbeing.FAILING,
        "pod a, container web: CrashLoopBackOff",
    )


CLAIM: Object = {
    "kind": "PersistentVolumeClaim",
    "metadata": {"name": "data", "namespace": "shop"},
    "status": {"phase": "Pending"},
}
WITH_CLAIM = template("shop:2") | {
    "spec": {**template("shop:2")["spec"], "volumes": [{"persistentVolumeClaim": {"claimName": "data"}}]}
}


async def test_a_claim_that_is_not_bound_is_named() -> None:
    of = replica_set(4, pods=WITH_CLAIM)
    seen = await observed(rolling(pods=WITH_CLAIM), of, CLAIM, phase=Phase.VERIFYING, plan=a_plan(of))
    assert seen.health.state is Wellbeing.PROGRESSING
    assert seen.health.message == "2 of 3 pods are available; PersistentVolumeClaim data is Pending"


async def test_a_claim_that_the_account_may_not_see_is_left_out() -> None:
    of = replica_set(4, pods=WITH_CLAIM)
    api = FakeApi(rolling(pods=WITH_CLAIM), of, CLAIM)
    api.faults.append(failing("persistentvolumeclaims", DENIED))
    seen = await target(api).observe(HERE, Phase.VERIFYING, a_plan(of))
    assert seen is not None
    assert seen.health.message == "2 of 3 pods are available"
    assert api.calls[-1].as_ == "shop/rollback"


async def test_a_rollout_that_goes_on_costs_one_call() -> None:
    api = FakeApi(deployment("shop:2", number=4, status={"updatedReplicas": 1}), CURRENT)
    await target(api).observe(HERE, Phase.VERIFYING, None)
    assert [str(call) for call in api.calls] == ["GET /apis/apps/v1/namespaces/shop/deployments/checkout"]


# What a revision needs.

DB: Object = {"kind": "Secret", "metadata": {"name": "db", "namespace": "shop"}, "data": {"password": "SECRET"}}
WEB: Object = {"kind": "ConfigMap", "metadata": {"name": "web", "namespace": "shop"}, "data": {"theme": "dark"}}
NEEDY = template(
    "shop:2",
    envFrom=[{"secretRef": {"name": "db"}}],
    env=[{"name": "THEME", "valueFrom": {"configMapKeyRef": {"name": "web", "key": "theme"}}}],
)

MISSING: dict[str, tuple[tuple[Object, ...], tuple[str, ...]]] = {
    "nothing, if all is there": ((DB, WEB), ()),
    "a Secret that is gone": ((WEB,), ("Secret db",)),
    "a key that is gone": ((DB, WEB | {"data": {"font": "serif"}}), ("ConfigMap web (key theme)",)),
    "a key of an empty ConfigMap": ((DB, WEB | {"data": None}), ("ConfigMap web (key theme)",)),
    "no key that is binary": ((DB, WEB | {"data": {}, "binaryData": {"theme": ""}}), ()),
    "all": ((), ("ConfigMap web (key theme)", "Secret db")),
}


@pytest.mark.parametrize("case", MISSING)
async def test_a_revision_misses(case: str) -> None:
    things, expected = MISSING[case]
    api = FakeApi(deployment(), replica_set(2, pods=NEEDY), HISTORY[2], *things)
    seen = await target(api).observe(HERE, None, None)
    assert seen is not None
    found = await target(api).examine(HERE, seen, seen.history[0])
    assert found.missing == expected
    assert found.notes == ()


async def test_what_may_not_be_read_is_noted_and_not_missed() -> None:
    api = FakeApi(deployment(), replica_set(2, pods=NEEDY), HISTORY[2])
    api.faults.append(failing("secrets", DENIED))
    api.put(WEB)
    seen = await target(api).observe(HERE, None, None)
    assert seen is not None
    found = await target(api).examine(HERE, seen, seen.history[0])
    assert found.missing == ()
    assert found.notes == ("Not checked, because service account shop/rollback may not read them: Secret db.",)


async def test_what_a_revision_needs_is_read_as_the_service_account_and_once() -> None:
    twice = template("shop:2", envFrom=[{"secretRef": {"name": "db"}}])
    twice["spec"]["volumes"] = [{"secret": {"secretName": "db"}}]
    twice["spec"]["containers"][0]["env"] = [
        {"name": "A", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}}
    ]
    api = FakeApi(deployment(), replica_set(2, pods=twice), HISTORY[2], DB)
    seen = await target(api).observe(HERE, None, None)
    assert seen is not None
    assert {call.as_ for call in api.calls} == {"the operator"}
    api.calls.clear()
    found = await target(api).examine(HERE, seen, seen.history[0])
    assert found.missing == ()
    assert [(str(call), call.as_) for call in api.calls] == [
        ("GET /api/v1/namespaces/shop/secrets/db", "shop/rollback")
    ]


async def test_each_revision_refers_to_what_its_own_template_names() -> None:
    old, new = (
        template(f"shop:{number}", envFrom=[{"configMapRef": {"name": f"settings-{number}", "optional": True}}])
        for number in (2, 3)
    )
    api = FakeApi(deployment(pods=new), replica_set(2, pods=old), replica_set(3, pods=new))
    module = target(api)
    seen = await module.observe(HERE, None, None)
    assert seen is not None
    assert [str(one) for one in module.refers_to(seen)] == ["ConfigMap settings-3"]
    assert [str(one) for one in module.refers_to(seen, seen.history[0])] == ["ConfigMap settings-2"]


async def test_the_difference_shows_no_value() -> None:
    now = deployment(pods=template("shop:3", env=[{"name": "A", "value": "hunter2-now"}]))
    then = replica_set(2, pods=template("shop:2", env=[{"name": "A", "value": "hunter2-then"}]))
    api = FakeApi(now, then)
    seen = await target(api).observe(HERE, None, None)
    assert seen is not None
    found = await target(api).examine(HERE, seen, seen.history[0])
    assert found.steps == (f"Replace the pod template by that of ReplicaSet {then['metadata']['name']} (revision 2).",)
    assert found.diff.startswith("--- revision 3 (now)\n+++ revision 2 (after)\n")
    assert "-    image: shop:3" in found.diff
    assert "+    image: shop:2" in found.diff
    assert found.diff.count("<digest ") == 2
    assert "hunter2" not in found.diff


# The effect.


async def seen_by(api: FakeApi) -> Snapshot:
    seen = await target(api).observe(HERE, None, None)
    assert seen is not None
    return seen


async def test_the_effect_is_made_as_the_service_account() -> None:
    api = FakeApi(deployment(), *HISTORY)
    await target(api).apply(HERE, await seen_by(api), a_plan(HISTORY[1]), "uid-of-request")
    (write,) = api.writes()
    assert (write.as_, write.query) == ("shop/rollback", {"fieldManager": "rollback-operator"})
    assert api.current(deployment())["spec"]["template"] == template("shop:2")
    assert (await seen_by(api)).marks == {"uid-of-request"}


async def test_a_rehearsal_changes_nothing() -> None:
    api = FakeApi(deployment(), *HISTORY)
    before = api.current(deployment())
    await target(api).apply(HERE, await seen_by(api), a_plan(HISTORY[1]), "uid", dry_run=True)
    (write,) = api.writes()
    assert write.query["dryRun"] == "All"
    assert api.current(deployment()) == before


async def test_the_effect_made_twice_on_one_reading_conflicts() -> None:
    api = FakeApi(deployment(), *HISTORY)
    seen = await seen_by(api)
    await target(api).apply(HERE, seen, a_plan(HISTORY[1]), "uid")
    with pytest.raises(errors.Conflict):
        await target(api).apply(HERE, seen, a_plan(HISTORY[1]), "uid")


SOURCES: dict[str, tuple[tuple[Object, ...], str]] = {
    "the planned number": ((replica_set(1, "shop:2", annotations={"n": "1"}), replica_set(2)), "2"),
    "the planned content under another number": ((replica_set(1), replica_set(5, "shop:2")), "5"),
}


@pytest.mark.parametrize("case", SOURCES)
async def test_the_effect_takes_the_template_of(case: str) -> None:
    things, number = SOURCES[case]
    for thing in things:
        cause = {"kubernetes.io/change-cause": thing["metadata"]["annotations"][REVISION]}
        thing["metadata"]["annotations"] |= cause
        thing["metadata"]["name"] += cause["kubernetes.io/change-cause"]
    api = FakeApi(deployment(), *things)
    await target(api).apply(HERE, await seen_by(api), a_plan(replica_set(2)), "uid")
    after = api.current(deployment())
    assert after["spec"]["template"] == template("shop:2")
    assert after["metadata"]["annotations"]["kubernetes.io/change-cause"] == number


async def test_a_revision_that_is_gone_is_not_made_up() -> None:
    api = FakeApi(deployment(), HISTORY[0], HISTORY[2])
    with pytest.raises(errors.NotFound, match="revision 2 is gone"):
        await target(api).apply(HERE, await seen_by(api), a_plan(HISTORY[1]), "uid")
    assert api.writes() == []


async def test_fields_are_given_back_as_the_service_account_under_another_name() -> None:
    """Under the operator's own name the API server would record the change as its own again."""
    ours = {"manager": "rollback-operator", "operation": "Update", "apiVersion": "apps/v1", "fieldsV1": {}}
    api = FakeApi(deployment(managed=[ours]), *HISTORY)
    await target(api).finish(HERE, await seen_by(api))
    (write,) = api.writes()
    assert (write.as_, write.query) == ("shop/rollback", {"fieldManager": "rollback-operator-give-back"})
    assert not (await seen_by(api)).unfinished


def test_every_kind_that_the_api_takes_has_its_target() -> None:
    assert set(by_kind(FakeApi())) == set(get_args(TargetKind))  # type: ignore[arg-type]


# What an event tells.

TOLD: dict[str, tuple[Object, bool]] = {
    "it is another object": (deployment() | {"metadata": deployment()["metadata"] | {"uid": "another"}}, True),
    "something else is asked for": (deployment(generation=4, observed=3), True),
    "its controller has seen that": (deployment(observed=2), True),
    "it is not rolled out any more": (deployment(status=counts(3, 3, 2)), True),
    "a pod more is up": (deployment(status=counts(3, 3, 3) | {"readyReplicas": 1}), False),
    "somebody made a note on it": (deployment(annotations={"note": "x"}), False),
}


@pytest.mark.parametrize("case", TOLD)
def test_an_event_is_worth_a_look_if(case: str) -> None:
    thing, worth = TOLD[case]
    assert (target(FakeApi()).told(thing) != target(FakeApi()).told(deployment())) == worth


# When it changed.


def at(seconds: float) -> str:
    return after(seconds).strftime("%Y-%m-%dT%H:%M:%SZ")


def made(seconds: float, number: int, image: str | None = None, **fields: Any) -> Object:
    """A ReplicaSet that was made so many seconds after `NOW`."""
    thing = replica_set(number, image, **fields)
    thing["metadata"]["creationTimestamp"] = at(seconds)
    return thing


def numbered_before(replica_set: Object) -> Object:
    """The ReplicaSet as the controller leaves it when it was gone back to."""
    replica_set["metadata"]["annotations"]["deployment.kubernetes.io/revision-history"] = "2"
    return replica_set


def writes(seconds: float | None, *path: str, **more: Any) -> Object:
    """What a manager wrote, when."""
    fields: Object = {}
    for name in reversed(path):
        fields = {f"f:{name}": fields}
    time = {} if seconds is None else {"time": at(seconds)}
    return {"manager": "kubectl", "operation": "Update", "fieldsV1": fields, **time, **more}


RESTARTED = template("shop:3")
RESTARTED["metadata"] = {
    **RESTARTED["metadata"],
    "annotations": {"kubectl.kubernetes.io/restartedAt": "2026-03-01T03:05:00Z"},
}
TEMPLATE = ("spec", "template", "spec")
BACK = deployment("shop:1", number=4)
RETURN = (made(0, 4, "shop:1"), made(60, 2), made(120, 3))

CHANGED: dict[str, tuple[tuple[Object, ...], float | None, bool]] = {
    "when the newest ReplicaSet was made": ((deployment(), made(0, 1), made(60, 2), made(120, 3)), 120, False),
    "so, whatever was written since": (
        (deployment(managed=[writes(900, *TEMPLATE)]), made(0, 1), made(120, 3)),
        120,
        False,
    ),
    "when it was restarted, as the same release": (
        (deployment(number=4, pods=RESTARTED), made(0, 3), made(300, 4, pods=RESTARTED)),
        300,
        False,
    ),
    "when both releases of one second were made": ((deployment(), made(0, 2), made(0, 3)), 0, False),
    "when somebody went back": (
        (deployment("shop:1", number=4, managed=[writes(60, *TEMPLATE), writes(600, *TEMPLATE)]), *RETURN),
        600,
        True,
    ),
    "some time after somebody went back": ((BACK, *RETURN), None, True),
    "when somebody went back, before it has a new number": (
        (deployment("shop:1", managed=[writes(600, *TEMPLATE)]), made(0, 1), made(60, 2), made(60, 3)),
        600,
        True,
    ),
    "when somebody went back within the second": (
        (deployment("shop:2", managed=[writes(1, *TEMPLATE)]), made(0, 2), made(0, 3)),
        1,
        True,
    ),
    "some time after somebody went back, whoever wrote other fields": (
        (
            deployment(
                "shop:1",
                number=4,
                managed=[
                    writes(700, "spec", "replicas"),
                    writes(700, *TEMPLATE, subresource="status"),
                    writes(None, *TEMPLATE),
                    {"manager": "old"},
                ],
            ),
            *RETURN,
        ),
        None,
        True,
    ),
    "when somebody went back, of two releases of one second": (
        (
            deployment("shop:1", number=4, managed=[writes(600, *TEMPLATE)]),
            numbered_before(made(0, 4, "shop:1")),
            made(0, 3),
        ),
        600,
        True,
    ),
    "some time after, if the owner's entry tells of the release that was left": (
        (deployment("shop:1", number=4, managed=[writes(120, *TEMPLATE)]), *RETURN),
        None,
        True,
    ),
    "when the template was written, if no ReplicaSet has it yet": (
        (deployment("shop:4", managed=[writes(600, *TEMPLATE)]), made(0, 1), made(120, 3)),
        600,
        False,
    ),
    "unknown, if nothing tells": ((deployment("shop:4"), made(0, 1)), None, False),
    "unknown, if a ReplicaSet does not say when it was made": ((deployment(), *HISTORY), None, False),
}


@pytest.mark.parametrize("case", CHANGED)
async def test_it_changed(case: str) -> None:
    things, seconds, back = CHANGED[case]
    seen = await observed(*things)
    assert seen.changed == (None if seconds is None else after(seconds))
    assert seen.reactivated == back
    assert not seen.changed_estimated


async def test_a_revision_is_as_old_as_its_replica_set() -> None:
    seen = await observed(*(BACK, *RETURN))
    assert [(one.name, one.created) for one in seen.history] == [("2", after(60)), ("3", after(120)), ("4", after())]
    assert seen.current.created == after(0)
    assert isinstance(seen.current.created, datetime)
    assert (await observed(deployment("shop:9"), *RETURN)).current.created is None


# What signals ask.


async def test_its_pods_are_those_of_the_current_revision() -> None:
    mine = [pod("a", HISTORY[2]), pod("b", HISTORY[2])]
    api = FakeApi(deployment(), *HISTORY, *mine, pod("old", HISTORY[1]))
    assert [one["metadata"]["name"] for one in await target(api).pods(HERE)] == ["a", "b"]
    assert {call.as_ for call in api.calls} == {"the operator"}


async def test_of_two_replica_sets_with_its_template_the_older_one_has_its_pods() -> None:
    older, newer = made(0, 3), made(60, 4, "shop:3")
    newer["metadata"] |= {"name": "checkout-", "labels": {**SELECTOR, "pod-template-hash": "a"}}
    api = FakeApi(deployment(), newer, older, pod("a", newer), pod("b", older))
    assert [one["metadata"]["name"] for one in await target(api).pods(HERE)] == ["b"]


NO_PODS: dict[str, tuple[Object, ...]] = {
    "there is no Deployment": (HISTORY[2], pod("a", HISTORY[2])),
    "no ReplicaSet has its template yet": (deployment("shop:4"), HISTORY[2], pod("a", HISTORY[2])),
    "none were made yet": (deployment(), HISTORY[2]),
}


@pytest.mark.parametrize("case", NO_PODS)
async def test_it_has_no_pods_if(case: str) -> None:
    assert await target(FakeApi(*NO_PODS[case])).pods(HERE) == []


async def test_pods_that_cannot_be_read_are_not_taken_for_none() -> None:
    api = FakeApi(deployment(), *HISTORY)
    api.faults.append(failing("GET", errors.Unavailable("no answer")))
    with pytest.raises(errors.Unavailable):
        await target(api).pods(HERE)


def says(reason: str, about: str, kind: str = "Progressing") -> Object:
    return counts(3, 1, 2) | {"conditions": [{"type": kind, "status": "False", "reason": reason, "message": about}]}


MINE = f'ReplicaSet "{HISTORY[2]["metadata"]["name"]}" has timed out progressing.'
LEFT = f'ReplicaSet "{HISTORY[1]["metadata"]["name"]}" has timed out progressing.'
WHOLE = 'Deployment "checkout" has timed out progressing.'
DEADLINE = "ProgressDeadlineExceeded"

STUCK: dict[str, tuple[Object, str | None]] = {
    "no, if it is rolled out": (deployment(), None),
    "no, if nothing is known": (deployment(status={}), None),
    "no, if its controller only makes progress": (deployment(status=says("ReplicaSetUpdated", "progressing")), None),
    "yes, if its ReplicaSet timed out": (deployment(status=says(DEADLINE, MINE)), MINE),
    "no, if the one it left timed out": (deployment(status=says(DEADLINE, LEFT)), None),
    "no, if its template has no ReplicaSet": (deployment("shop:4", status=says(DEADLINE, MINE)), None),
    "yes, if it timed out without any": (deployment("shop:4", status=says(DEADLINE, WHOLE)), WHOLE),
    "no, if that was said of an earlier change": (
        deployment(generation=4, observed=3, status=says(DEADLINE, MINE)),
        None,
    ),
    "no, if another condition has that reason": (deployment(status=says(DEADLINE, MINE, "Available")), None),
    "yes, if no words were left": (
        deployment(status=says(DEADLINE, "")),
        "the rollout exceeded its progress deadline",
    ),
}


@pytest.mark.parametrize("case", STUCK)
async def test_it_is_stuck(case: str) -> None:
    thing, expected = STUCK[case]
    assert await target(FakeApi(thing, *HISTORY)).stuck(HERE) == expected


async def test_whether_it_is_stuck_costs_one_call() -> None:
    api = FakeApi(deployment(), *HISTORY)
    await target(api).stuck(HERE)
    assert [(str(call), call.as_) for call in api.calls] == [
        ("GET /apis/apps/v1/namespaces/shop/deployments/checkout", "the operator")
    ]


async def test_what_is_not_there_is_not_stuck_but_missing() -> None:
    with pytest.raises(errors.NotFound):
        await target(FakeApi()).stuck(HERE)
