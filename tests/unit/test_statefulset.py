"""StatefulSets: how far their pods are, what the partition keeps back, and which pods are deleted to free one."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from rollback_operator.api.options import Options, StatefulSetOptions
from rollback_operator.api.request import Phase, Restoration
from rollback_operator.core.values import Findings, Snapshot, Wellbeing
from rollback_operator.kube import errors
from rollback_operator.kube.access import Right
from rollback_operator.targets.podtemplate import restarted
from rollback_operator.targets.statefulset import StatefulSetTarget
from tests.unit.fakes import FakeApi, failing
from tests.unit.objects import Object, template
from tests.unit.sets import STATEFUL_COUNTS, record, set_pod, stateful_set
from tests.unit.test_controllerrevisions import HERE, a_plan

BAD, OLD = record(3), record(4, "shop:2")
HISTORY = (record(1), BAD, OLD)
"""After the effect: what was revision 2 has become 4."""
BY_HAND = replace(HERE, options=Options(stateful_set=StatefulSetOptions(free_stuck_pods=False)))
PLAN = a_plan("shop:2", "2")


def target(*things: Object) -> tuple[StatefulSetTarget, FakeApi]:
    api = FakeApi(*things)
    return StatefulSetTarget(api), api  # type: ignore[arg-type]


# Health.


def partition(number: int) -> Object:
    return {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": number}}}


def counts(updated: int, available: int, **spec: Any) -> Object:
    status = dict(zip(STATEFUL_COUNTS, (3, available, available, updated), strict=True))
    return stateful_set("shop:2", status=status, **spec)


P, H = Wellbeing.PROGRESSING, Wellbeing.HEALTHY
HEALTH: dict[str, tuple[Object, Wellbeing, str, Wellbeing]] = {
    "all is well": (counts(3, 3), H, "3 of 3 pods are updated and available", H),
    "it is scaled to nothing": (stateful_set("shop:2", replicas=0), H, "0 of 0 pods are updated and available", H),
    "some pods are old": (counts(1, 3), P, "1 of 3 pods are updated", P),
    "some are not available": (counts(3, 2), P, "2 of 3 pods are available", P),
    "its controller has not looked yet": (
        stateful_set("shop:2", more={"observed": 2}),
        P,
        "the StatefulSet controller has not seen the change yet",
        P,
    ),
    "the partition keeps some back": (
        counts(1, 3, **partition(2)),
        H,
        "1 of 3 pods are updated (partition), all are available",
        P,
    ),
    "the partition keeps some back, and others are old": (
        counts(1, 3, **partition(1)),
        P,
        "1 of 2 pods are updated",
        P,
    ),
    "the partition keeps all back": (
        counts(0, 3, **partition(9)),
        H,
        "0 of 3 pods are updated (partition), all are available",
        P,
    ),
    "a pod that the partition keeps back is not available": (
        counts(1, 2, **partition(2)),
        P,
        "2 of 3 pods are available",
        P,
    ),
}


@pytest.mark.parametrize("case", HEALTH)
async def test_its_health_when(case: str) -> None:
    """A rollback waits for what the partition lets change; a release is rolled out when all pods have it."""
    thing, state, says, rolled_out = HEALTH[case]
    module, _ = target(thing, *HISTORY)
    verified = await module.observe(HERE, Phase.VERIFYING, PLAN)
    assert verified is not None
    assert (verified.health.state, verified.health.message) == (state, says)
    plain = await module.observe(HERE, None, None)
    assert plain is not None
    assert plain.health.state is rolled_out


# Plans.


async def examined(thing: Object, where: Any = HERE, lacking: set[str] | None = None) -> Findings:
    module, api = target(thing, record(1), record(2), BAD)
    api.lacking = lacking or set()
    seen = await module.observe(where, None, None)
    assert seen is not None
    return await module.examine(where, seen, seen.history[1])


STUCK_PODS = "pods of revision 3 that are not ready"
DELETE = Right("delete", "", "pods", "shop", "")
FREES = f"Then delete {STUCK_PODS}: the StatefulSet would wait for them."
ORDINALS: Object = {"ordinals": {"start": 5}}
NOTES: dict[str, tuple[Object, Any, set[str], str | None, bool]] = {
    "that stuck pods will be deleted": (stateful_set(), HERE, set(), None, True),
    "which pod the partition keeps back": (
        stateful_set(**partition(1)),
        HERE,
        set(),
        "The partition of the update strategy leaves pod 0 unchanged.",
        True,
    ),
    "which pods the partition keeps back, from where they are counted": (
        stateful_set(**partition(2), **ORDINALS),
        HERE,
        set(),
        "The partition of the update strategy leaves pods 5 to 6 unchanged.",
        True,
    ),
    "that stuck pods are left to people": (
        stateful_set(),
        BY_HAND,
        set(),
        f"freeStuckPods is off: the StatefulSet waits for {STUCK_PODS} until somebody deletes them.",
        False,
    ),
    "that the right to free it is missing": (
        stateful_set(),
        HERE,
        {"delete"},
        f"Service account shop/rollback may not {DELETE}: the StatefulSet would wait for {STUCK_PODS}.",
        True,
    ),
    "nothing, if pods do not wait for each other": (
        stateful_set(podManagementPolicy="Parallel"),
        HERE,
        {"delete"},
        None,
        False,
    ),
}


@pytest.mark.parametrize("case", NOTES)
async def test_a_plan_says(case: str) -> None:
    thing, where, lacking, note, frees = NOTES[case]
    found = await examined(thing, where, lacking)
    assert found.notes == ((note,) if note else ())
    assert (found.steps[-1] == FREES) == frees


async def test_a_plan_names_the_earlier_revisions_whose_pods_are_still_there() -> None:
    halfway = stateful_set("shop:4", status={"updatedReplicas": 0, "availableReplicas": 2})
    pods = (bad_pod(), *(set_pod(f"checkout-{number}", record(1)["metadata"]["name"]) for number in (0, 1)))
    module, _ = target(halfway, record(1), record(2), BAD, record(4), *pods)
    seen = await module.observe(HERE, None, None)
    assert seen is not None

    found = await module.examine(HERE, seen, seen.history[1])

    assert found.steps[-1] == (
        "Then delete pods of revisions 3 and 4 that are not ready: the StatefulSet would wait for them."
    )


@pytest.mark.parametrize("where", [HERE, BY_HAND])
def test_the_right_to_delete_pods_is_not_needed_for_a_rollback(where: Any) -> None:
    """Without it the rollback is made all the same; where it matters, `examine` asks for it."""
    module, _ = target()
    assert [right.verb for right in module.rights(where)] == ["patch"]


# What frees a StatefulSet that waits.

STUCK = counts(0, 2)


def bad_pod(number: int = 2, **more: Any) -> Object:
    """A pod of the bad revision, not ready."""
    return set_pod(f"checkout-{number}", BAD["metadata"]["name"], **{"ready": False, **more})


async def verified(*things: Object, where: Any = HERE, plan: Any = PLAN) -> Snapshot:
    seen = await target(*HISTORY, *things)[0].observe(where, Phase.VERIFYING, plan)
    assert seen is not None
    return seen


def in_the_way(seen: Snapshot) -> list[str]:
    return [one["metadata"]["name"] for one in seen.raw.in_the_way]


async def test_a_pod_of_the_bad_revision_that_is_not_ready_is_in_the_way() -> None:
    seen = await verified(STUCK, bad_pod())
    assert in_the_way(seen) == ["checkout-2"]
    assert (seen.unfinished, seen.freeing) == (True, True)
    assert seen.health.state is Wellbeing.PROGRESSING
    assert seen.health.message == "0 of 3 pods are updated; it waits for pod checkout-2 of revision 3, not ready"


FIX = record(4, "shop:4")
RETURNED = (record(1), BAD, FIX, record(5, "shop:2"))
"""After the effect: 3 broke a pod, 4 was to mend it and never reached it, and what was revision 2 has become 5."""


async def test_a_pod_that_an_earlier_bad_revision_broke_is_in_the_way_too() -> None:
    module, _ = target(STUCK, *RETURNED, bad_pod(), set_pod("checkout-1", FIX["metadata"]["name"], ready=False))

    seen = await module.observe(HERE, Phase.VERIFYING, a_plan("shop:2", "2", "shop:4", "4"))

    assert seen is not None
    assert sorted(in_the_way(seen)) == ["checkout-1", "checkout-2"]
    assert seen.health.message == (
        "0 of 3 pods are updated; it waits for pod checkout-2 of revision 3 and pod checkout-1 of revision 4, not ready"
    )


async def test_pods_of_an_earlier_bad_revision_that_are_ready_stay() -> None:
    module, _ = target(STUCK, *RETURNED, bad_pod(1, ready=True), bad_pod(2))
    seen = await module.observe(HERE, Phase.VERIFYING, a_plan("shop:2", "2", "shop:4", "4"))
    assert seen is not None
    assert in_the_way(seen) == ["checkout-2"]


async def test_the_same_release_started_anew_is_not_taken_for_a_bad_one() -> None:
    again = record(4, pods=restarted(template("shop:2"), datetime(2026, 3, 1, tzinfo=UTC)))
    started = set_pod("checkout-2", again["metadata"]["name"], ready=False)
    module, _ = target(STUCK, record(1), BAD, again, record(5, "shop:2"), started)
    seen = await module.observe(HERE, Phase.VERIFYING, PLAN)
    assert seen is not None
    assert in_the_way(seen) == []


async def test_a_pod_of_a_revision_before_is_named_and_left_to_people() -> None:
    seen = await verified(STUCK, set_pod("checkout-2", record(1)["metadata"]["name"], ready=False))
    assert seen.health.state is Wellbeing.PROGRESSING
    assert seen.health.message.endswith(
        "it waits for pod checkout-2 of revision 1, not ready: delete it by hand if it stays so"
    )


OURS = {"manager": "rollback-operator", "operation": "Update", "fieldsV1": {}}
LEFT_ALONE: dict[str, tuple[Object, ...]] = {
    "one that is ready": (STUCK, bad_pod(ready=True)),
    "one that is being deleted": (STUCK, bad_pod(deletionTimestamp="2026-11-21T10:00:00Z")),
    "one of a revision before the one that was gone back to": (
        STUCK,
        set_pod("checkout-2", record(1)["metadata"]["name"], ready=False),
    ),
    "one of the revision that was gone back to": (STUCK, set_pod("checkout-2", OLD["metadata"]["name"], ready=False)),
    "one that somebody else controls": (STUCK, bad_pod(owner="another")),
    "one that the partition keeps back": (counts(0, 2, **partition(2)), bad_pod(1)),
    "one that the partition keeps back, counted from five": (counts(0, 2, **partition(2), **ORDINALS), bad_pod(6)),
    "any, if pods do not wait for each other": (counts(0, 2, podManagementPolicy="Parallel"), bad_pod()),
    "any, with OnDelete": (counts(0, 2, updateStrategy={"type": "OnDelete"}), bad_pod()),
    "any, before its controller has seen the old template": (
        stateful_set("shop:2", more={"observed": 2}),
        bad_pod(),
    ),
    "any, if the bad release was put back": (
        stateful_set("shop:3", status={"updatedReplicas": 0}),
        bad_pod(),
        record(5, "shop:3"),
    ),
    "any, if another release came": (
        stateful_set("shop:1", status={"updatedReplicas": 0}),
        bad_pod(),
        record(5, "shop:1"),
    ),
}


@pytest.mark.parametrize("case", LEFT_ALONE)
async def test_left_alone_is(case: str) -> None:
    seen = await verified(*LEFT_ALONE[case])
    assert in_the_way(seen) == []
    assert (seen.unfinished, seen.freeing) == (False, False)


ANEW = restarted(template("shop:3"), datetime(2026, 3, 1, tzinfo=UTC))
CONFIGURED = a_plan("shop:3", "3").model_copy(update={"configuration": Restoration(policy_uid="uid", restart=True)})
"""Nothing but configuration goes back, and all pods are started anew: the bad revision has the same template."""


async def test_pods_that_are_started_anew_are_not_taken_for_those_of_the_bad_configuration() -> None:
    restarted_one = record(4, pods=ANEW)
    body = stateful_set("shop:3", status={"updatedReplicas": 1, "availableReplicas": 1}, more={"pods": ANEW})
    pods = (bad_pod(1), set_pod("checkout-2", restarted_one["metadata"]["name"], ready=False))

    module, _ = target(body, BAD, restarted_one, *pods)
    seen = await module.observe(HERE, Phase.VERIFYING, CONFIGURED)

    assert seen is not None
    assert in_the_way(seen) == ["checkout-1"]


async def test_the_partition_lets_those_above_it_be_freed() -> None:
    seen = await verified(counts(0, 2, **partition(2), **ORDINALS), bad_pod(6), bad_pod(7))
    assert in_the_way(seen) == ["checkout-7"]


async def test_people_who_keep_that_for_themselves_are_told_which_pod() -> None:
    seen = await verified(STUCK, bad_pod(), where=BY_HAND)
    assert (seen.unfinished, seen.freeing, in_the_way(seen)) == (False, False, [])
    assert seen.health.state is Wellbeing.FAILING
    assert seen.health.message.endswith(
        "pod checkout-2 of revision 3, not ready: delete it by hand (freeStuckPods is off)"
    )


@pytest.mark.parametrize("phase", [None, Phase.PENDING, Phase.RUNNING])
async def test_before_the_effect_is_seen_no_pod_is_in_the_way(phase: Phase | None) -> None:
    module, _ = target(STUCK, *HISTORY, bad_pod())
    seen = await module.observe(HERE, phase, PLAN)
    assert seen is not None
    assert (in_the_way(seen), seen.unfinished) == ([], False)


async def freed(api: FakeApi, module: StatefulSetTarget, seen: Snapshot) -> list[tuple[str, str, Object]]:
    await module.finish(HERE, seen)
    return [(call.path.rsplit("/", 1)[1], call.as_, call.query) for call in api.writes() if call.verb == "DELETE"]


async def test_it_is_freed_as_the_account_of_just_that_pod() -> None:
    module, api = target(STUCK, *HISTORY, bad_pod(), set_pod("checkout-1", OLD["metadata"]["name"], ready=False))
    seen = await module.observe(HERE, Phase.VERIFYING, PLAN)
    assert seen is not None
    assert await freed(api, module, seen) == [("checkout-2", "shop/rollback", {"uid": "uid-of-checkout-2"})]


async def test_a_pod_that_got_ready_meanwhile_stays() -> None:
    module, api = target(STUCK, *HISTORY, bad_pod())
    seen = await module.observe(HERE, Phase.VERIFYING, PLAN)
    assert seen is not None
    api.put(bad_pod(ready=True))

    with pytest.raises(errors.Conflict):
        await module.finish(HERE, seen)

    assert api.current(bad_pod())


async def test_a_pod_that_is_gone_meanwhile_is_no_trouble() -> None:
    module, api = target(STUCK, *HISTORY, bad_pod(1), bad_pod(2))
    seen = await module.observe(HERE, Phase.VERIFYING, PLAN)
    assert seen is not None
    api.drop(bad_pod(1))
    assert [name for name, *_ in await freed(api, module, seen)] == ["checkout-1", "checkout-2"]


async def test_without_the_right_it_is_refused() -> None:
    module, api = target(STUCK, *HISTORY, bad_pod())
    api.faults.append(failing("DELETE", errors.Forbidden("no")))
    seen = await module.observe(HERE, Phase.VERIFYING, PLAN)
    assert seen is not None
    with pytest.raises(errors.Forbidden):
        await module.finish(HERE, seen)


OWNER = {"manager": "kubectl", "operation": "Apply", "fieldsV1": {"f:spec": {"f:template": {}}}}
HELD = stateful_set("shop:2", status={"updatedReplicas": 0, "availableReplicas": 2}, more={"managed": [OWNER, OURS]})


async def test_fields_are_given_back_before_pods_are_deleted() -> None:
    module, api = target(HELD, *HISTORY, bad_pod())
    seen = await module.observe(HERE, Phase.VERIFYING, PLAN)
    assert seen is not None
    assert (seen.unfinished, seen.freeing, seen.obstructed) == (True, False, True)

    assert await freed(api, module, seen) == []

    seen = await module.observe(HERE, Phase.VERIFYING, PLAN)
    assert seen is not None
    assert (seen.unfinished, seen.freeing) == (True, True)
    assert [name for name, *_ in await freed(api, module, seen)] == ["checkout-2"]


async def test_when_giving_back_was_given_up_pods_are_deleted_all_the_same() -> None:
    module, api = target(HELD, *HISTORY, bad_pod())
    seen = await module.observe(HERE, Phase.VERIFYING, PLAN)
    assert seen is not None
    assert [name for name, *_ in await freed(api, module, replace(seen, freeing=True))] == ["checkout-2"]
    assert [call for call in api.writes() if call.verb == "PATCH"] == []
