"""What StatefulSets and DaemonSets have in common: history, marks, the one patch, and giving fields back."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from rollback_operator.api import REQUEST_ANNOTATION
from rollback_operator.api.request import Phase, Plan
from rollback_operator.core.values import Snapshot, Wellbeing
from rollback_operator.kube import errors
from rollback_operator.kube.access import Right
from rollback_operator.kube.identity import ServiceAccount
from rollback_operator.targets.base import Where
from rollback_operator.targets.controllerrevisions import ControllerRevisionTarget, effect
from rollback_operator.targets.daemonset import DaemonSetTarget
from rollback_operator.targets.effects import CHANGE_CAUSE
from rollback_operator.targets.ownership import LAST_APPLIED
from rollback_operator.targets.podtemplate import fingerprint
from rollback_operator.targets.statefulset import StatefulSetTarget
from tests.unit.builders import CHECKOUT_UID, running
from tests.unit.fakes import FakeApi, failing
from tests.unit.objects import Object, PatchError, patched, template, waiting
from tests.unit.sets import daemon_set, record, set_pod, stateful_set

HERE = Where("shop", "checkout", ServiceAccount("shop", "rollback"))
HISTORY = (record(1), record(2), record(3))
KEY = "uid-of-request"
Kind = tuple[type[ControllerRevisionTarget], Callable[..., Object]]
KINDS: dict[str, Kind] = {"StatefulSet": (StatefulSetTarget, stateful_set), "DaemonSet": (DaemonSetTarget, daemon_set)}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]


def target(kind: Kind, *things: Object) -> tuple[ControllerRevisionTarget, FakeApi]:
    api = FakeApi(*things)
    return kind[0](api), api  # type: ignore[arg-type]


async def observed(kind: Kind, *things: Object, phase: Phase | None = None, plan: Plan | None = None) -> Snapshot:
    seen = await target(kind, *things)[0].observe(HERE, phase, plan)
    assert seen is not None
    return seen


def a_plan(to: str, number: str, left: str = "shop:3", left_number: str = "3") -> Plan:
    """A plan that goes from one image to another."""
    (mine,) = running().status.targets
    assert mine.plan is not None
    back = mine.plan.to.model_copy(update={"revision": number, "fingerprint": fingerprint(template(to))})
    bad = mine.plan.from_.model_copy(update={"revision": left_number, "fingerprint": fingerprint(template(left))})
    return mine.plan.model_copy(update={"to": back, "from_": bad})


# History.


async def test_there_is_none(kind: Kind) -> None:
    module, _ = target(kind)
    assert await module.observe(HERE, None, None) is None
    assert await module.pods(HERE) == []
    with pytest.raises(errors.NotFound):
        await module.stuck(HERE)


async def test_its_revisions_are_its_controller_revisions_by_number(kind: Kind) -> None:
    seen = await observed(kind, kind[1](), *reversed(HISTORY))

    assert [(one.name, one.order) for one in seen.history] == [("1", 1), ("2", 2), ("3", 3)]
    assert [one.fingerprint for one in seen.history] == [fingerprint(template(f"shop:{n}")) for n in (1, 2, 3)]
    assert seen.history[0].source == f"ControllerRevision {HISTORY[0]['metadata']['name']}"
    assert seen.history[0].tags == ("shop:1",)
    assert (seen.current.name, seen.current.order) == ("3", 3)
    assert seen.current.fingerprint == seen.history[2].fingerprint
    assert (seen.uid, seen.generation, seen.settled) == (CHECKOUT_UID, 3, True)


async def test_what_another_one_controls_is_no_revision_of_it(kind: Kind) -> None:
    seen = await observed(kind, kind[1](), record(1, owner="another"), *HISTORY[1:])
    assert [one.name for one in seen.history] == ["2", "3"]


async def test_of_revisions_with_the_same_template_the_newest_is_the_current_one(kind: Kind) -> None:
    twin = record(4, "shop:2")
    twin["metadata"]["name"] = "checkout-twin"
    seen = await observed(kind, kind[1]("shop:2"), *HISTORY, twin)
    assert seen.current.name == "4"


UNSETTLED: dict[str, tuple[Object, tuple[Object, ...]]] = {
    "its controller has not seen the last change": ({"generation": 4, "observed": 3}, HISTORY),
    "its template has no number yet": ({}, HISTORY[:2]),
    "its template was gone back to, and has the old number still": ({}, (*HISTORY, record(4))),
}


@pytest.mark.parametrize("case", UNSETTLED)
async def test_its_numbers_cannot_be_trusted_while(kind: Kind, case: str) -> None:
    more, records = UNSETTLED[case]
    seen = await observed(kind, kind[1](more=more), *records)
    assert not seen.settled


async def test_it_shows_its_own_mark_and_those_that_its_revisions_took_over(kind: Kind) -> None:
    assert (await observed(kind, kind[1](), *HISTORY)).marks == frozenset()
    marked = (kind[1](more={"mark": "a"}), record(3, mark="b"), record(2, mark="c", owner="another"))
    assert (await observed(kind, *marked)).marks == {"a", "b"}


NINE, TEN, ELEVEN = (f"2026-11-21T{hour}:00:00Z" for hour in ("09", "10", "11"))


def written(at: str) -> Object:
    """A managed-fields entry of somebody who wrote the template."""
    return {"manager": "kubectl", "operation": "Apply", "time": at, "fieldsV1": {"f:spec": {"f:template": {}}}}


CHANGED: dict[str, tuple[Object, tuple[Object, ...], str | None, bool]] = {
    "a new one: when it was made": (
        {"managed": [written(ELEVEN)]},
        (record(2, created=NINE), record(3, created=TEN)),
        TEN,
        False,
    ),
    "an older one is back: when the template was written": (
        {"managed": [written(ELEVEN)]},
        (record(2, created=TEN), record(3, created=NINE)),
        ELEVEN,
        True,
    ),
    "an older one is back, and nobody wrote it since: not known": (
        {"managed": [written(NINE)]},
        (record(2, created=TEN), record(3, created=NINE)),
        None,
        True,
    ),
}


@pytest.mark.parametrize("case", CHANGED)
async def test_when_it_changed_is_told_by(kind: Kind, case: str) -> None:
    more, records, at, reactivated = CHANGED[case]
    seen = await observed(kind, kind[1](more=more), *records)
    assert (seen.changed.strftime("%Y-%m-%dT%H:%M:%SZ") if seen.changed else None) == at
    assert seen.reactivated == reactivated


async def test_fields_recorded_as_the_operators_are_given_back(kind: Kind) -> None:
    ours = {"manager": "rollback-operator", "operation": "Update", "fieldsV1": {"f:spec": {"f:template": {"f:x": {}}}}}
    module, api = target(kind, kind[1](more={"managed": [written(NINE), ours]}), *HISTORY)
    seen = await module.observe(HERE, Phase.RUNNING, None)
    assert seen is not None
    assert (seen.unfinished, seen.freeing) == (True, False)

    await module.finish(HERE, seen)

    seen = await module.observe(HERE, Phase.RUNNING, None)
    assert seen is not None
    assert not seen.unfinished
    (write,) = api.writes()
    assert (write.as_, write.query["fieldManager"]) == ("shop/rollback", "rollback-operator-give-back")


# What is done.


async def test_a_plan_says_what_changes(kind: Kind) -> None:
    module, _ = target(kind, kind[1](), *HISTORY)
    seen = await module.observe(HERE, None, None)
    assert seen is not None

    found = await module.examine(HERE, seen, seen.history[1])

    name = HISTORY[1]["metadata"]["name"]
    assert found.steps[0] == f"Replace the pod template by that of ControllerRevision {name} (revision 2)."
    assert "-  - image: shop:3" in found.diff
    assert "+  - image: shop:2" in found.diff
    assert "$patch" not in found.diff


async def test_each_revision_refers_to_what_its_own_template_names(kind: Kind) -> None:
    old, new = (
        template(f"shop:{number}", envFrom=[{"configMapRef": {"name": f"settings-{number}", "optional": True}}])
        for number in (2, 3)
    )
    body = kind[1](more={"pods": new})
    module, _ = target(kind, body, record(2, pods=old), record(3, pods=new))
    seen = await module.observe(HERE, None, None)
    assert seen is not None
    assert [str(one) for one in module.refers_to(seen)] == ["ConfigMap settings-3"]
    assert [str(one) for one in module.refers_to(seen, seen.history[0])] == ["ConfigMap settings-2"]


@pytest.mark.parametrize("dry_run", [False, True])
async def test_the_effect_is_one_patch_as_the_account(kind: Kind, *, dry_run: bool) -> None:
    module, api = target(kind, kind[1](), *HISTORY)
    seen = await module.observe(HERE, None, None)
    assert seen is not None

    await module.apply(HERE, seen, a_plan("shop:2", "2"), KEY, dry_run=dry_run)

    (write,) = api.writes()
    assert (write.verb, write.as_, "dryRun" in write.query) == ("PATCH", "shop/rollback", dry_run)
    after = api.current(kind[1]())
    assert after["spec"]["template"] == template("shop:3" if dry_run else "shop:2")


async def test_a_revision_that_is_gone_changes_nothing(kind: Kind) -> None:
    module, api = target(kind, kind[1](), *HISTORY[1:])
    seen = await module.observe(HERE, None, None)
    assert seen is not None
    with pytest.raises(errors.NotFound, match="ControllerRevision of revision 1 is gone"):
        await module.apply(HERE, seen, a_plan("shop:1", "1"), KEY)
    assert api.writes() == []


async def test_a_revision_that_got_another_number_meanwhile_is_found_by_what_it_is(kind: Kind) -> None:
    module, api = target(kind, kind[1](), record(5, "shop:2"), HISTORY[2])
    seen = await module.observe(HERE, None, None)
    assert seen is not None
    await module.apply(HERE, seen, a_plan("shop:2", "2"), KEY)
    assert api.current(kind[1]())["spec"]["template"] == template("shop:2")


def rolled_back(before: Object, source: Object = HISTORY[1]) -> Object:
    return patched(before, effect(before, source, KEY))


@pytest.mark.parametrize("noted", [{}, {"note": "by hand"}], ids=["no annotations", "some annotations"])
def test_the_patch_changes_the_template_and_the_mark_and_nothing_else(kind: Kind, noted: dict[str, str]) -> None:
    before = kind[1](more={"annotations": noted})

    after = rolled_back(before)

    assert after["metadata"]["annotations"] == {**noted, REQUEST_ANNOTATION: KEY}
    assert after["spec"]["template"] == template("shop:2")
    after["spec"]["template"] = before["spec"]["template"]
    after["metadata"].pop("annotations")
    before["metadata"].pop("annotations", None)
    assert after == before


def edit(path: tuple[str, ...], value: Any) -> Callable[[Object], None]:
    """A change by somebody else."""

    def change(thing: Object) -> None:
        for part in path[:-1]:
            thing = thing.setdefault(part, {})
        thing[path[-1]] = value

    return change


MOVED: dict[str, Callable[[Object], None]] = {
    "was created anew": edit(("metadata", "uid"), "another"),
    "was changed and put back": edit(("metadata", "generation"), 5),
    "has another image": edit(("spec", "template"), template("shop:4")),
    "was rolled back by another request": edit(("metadata", "annotations"), {REQUEST_ANNOTATION: "uid-of-another"}),
}


@pytest.mark.parametrize("case", MOVED)
def test_the_patch_does_nothing_to_one_that_meanwhile(kind: Kind, case: str) -> None:
    seen = kind[1]()
    operations = effect(seen, HISTORY[1], KEY)
    MOVED[case](seen)
    with pytest.raises(PatchError):
        patched(seen, operations)


UNMOVED: dict[str, Callable[[Object], None]] = {
    "got another status": edit(("status", "observedGeneration"), 9),
    "got a label": edit(("metadata", "labels"), {"new": "label"}),
    "got another resourceVersion": edit(("metadata", "resourceVersion"), "99"),
}


@pytest.mark.parametrize("case", UNMOVED)
def test_the_patch_happens_on_one_that_meanwhile(kind: Kind, case: str) -> None:
    seen = kind[1]()
    operations = effect(seen, HISTORY[1], KEY)
    UNMOVED[case](seen)
    assert patched(seen, operations)["spec"]["template"] == template("shop:2")


def test_an_attempt_that_comes_late_does_not_undo_a_revert_that_took_the_mark_away(kind: Kind) -> None:
    """`kubectl replace` with what was there before: all but the generation is as the attempt wants it."""
    seen = kind[1]()
    operations = effect(seen, HISTORY[1], KEY)
    reverted = copy.deepcopy(seen)
    reverted["metadata"]["generation"] += 2  # the effect, and the revert
    with pytest.raises(PatchError):
        patched(reverted, operations)


def test_last_applied_and_the_change_cause_follow(kind: Kind) -> None:
    applied = json.dumps({"kind": "StatefulSet", "spec": {"template": template("shop:3"), "replicas": 3}})
    before = kind[1](more={"annotations": {LAST_APPLIED: applied, CHANGE_CAUSE: "release 3"}})

    after = rolled_back(before, record(2, annotations={CHANGE_CAUSE: "release 2"}))

    noted = after["metadata"]["annotations"]
    assert json.loads(noted[LAST_APPLIED])["spec"] == {"template": template("shop:2"), "replicas": 3}
    assert noted[CHANGE_CAUSE] == "release 2"


# Pods.


def label(kind: Kind, one: Object) -> str:
    """What the pods of a revision are labelled with: the two controllers do it differently."""
    name: str = one["metadata"]["name"]
    return name if kind[0] is StatefulSetTarget else name.removeprefix("checkout-")


async def test_its_pods_are_those_of_the_current_revision(kind: Kind) -> None:
    mine = set_pod("checkout-0", label(kind, HISTORY[2]))
    others = (
        set_pod("checkout-1", label(kind, HISTORY[1])),
        set_pod("stranger", label(kind, HISTORY[2]), owner="another"),
    )
    module, _ = target(kind, kind[1](), *HISTORY, mine, *others)

    assert [one["metadata"]["name"] for one in await module.pods(HERE)] == ["checkout-0"]
    assert await module.stuck(HERE) is None


async def test_a_template_without_a_number_has_no_pods_yet(kind: Kind) -> None:
    module, _ = target(kind, kind[1]("shop:4"), *HISTORY)
    assert await module.pods(HERE) == []
    seen = await module.observe(HERE, Phase.VERIFYING, a_plan("shop:4", "4"))
    assert seen is not None


async def test_while_it_is_verified_its_pods_say_why_they_fail(kind: Kind) -> None:
    failing_pod = set_pod("checkout-0", label(kind, HISTORY[1]), ready=False, statuses=[waiting("CrashLoopBackOff")])
    few = {"availableReplicas": 2, "numberAvailable": 2}

    seen = await observed(
        kind, kind[1]("shop:2", status=few), *HISTORY, failing_pod, phase=Phase.VERIFYING, plan=a_plan("shop:2", "2")
    )

    assert seen.health.state is Wellbeing.FAILING
    assert "2 of 3 pods are available; pod checkout-0, container web: CrashLoopBackOff" in seen.health.message


ON_DELETE = {"updateStrategy": {"type": "OnDelete"}}
OLD = {"updatedReplicas": 1, "updatedNumberScheduled": 1}
STANDS: dict[str, tuple[Object, tuple[bool, ...], Wellbeing, str]] = {
    "nobody deleted a pod": ({**OLD}, (), Wellbeing.HEALTHY, "0 of 0 pods that have its template are ready; 1 of 3"),
    "the pod that was deleted is back": ({**OLD}, (True,), Wellbeing.HEALTHY, "1 of 1 pods that have its template"),
    "the pod that was deleted is on its way": ({**OLD}, (True, False), Wellbeing.PROGRESSING, "1 of 2 pods that have"),
    "its controller has not looked yet": ({"observedGeneration": 2}, (), Wellbeing.PROGRESSING, "has not seen"),
}


@pytest.mark.parametrize("case", STANDS)
async def test_with_on_delete_what_stands_is_verified_when(kind: Kind, case: str) -> None:
    status, ready, state, says = STANDS[case]
    there = [set_pod(f"checkout-{n}", label(kind, HISTORY[1]), ready=one) for n, one in enumerate(ready)]
    body = kind[1]("shop:2", status=status, **ON_DELETE)

    seen = await observed(kind, body, *HISTORY, *there, phase=Phase.VERIFYING, plan=a_plan("shop:2", "2"))

    assert seen.health.state is state
    assert says in seen.health.message


async def test_with_on_delete_a_release_is_not_rolled_out_before_all_pods_have_it(kind: Kind) -> None:
    """A policy would otherwise call a release good that no pod runs."""
    seen = await observed(kind, kind[1](status=OLD, **ON_DELETE), *HISTORY)
    assert (seen.health.state, seen.health.message) == (Wellbeing.PROGRESSING, "1 of 3 pods are updated")


async def test_with_on_delete_the_plan_says_who_replaces_the_pods(kind: Kind) -> None:
    module, _ = target(kind, kind[1](**ON_DELETE), *HISTORY)
    seen = await module.observe(HERE, None, None)
    assert seen is not None
    found = await module.examine(HERE, seen, seen.history[1])
    (note,) = found.notes
    assert note == (
        "updateStrategy is OnDelete: pods keep what they run until somebody deletes them. Only those that have the old "
        "template by then are waited for."
    )
    assert len(found.steps) == 1


# What it tells.


def test_it_tells_of_changes_and_not_of_each_pod(kind: Kind) -> None:
    module, _ = target(kind)
    rolling = {"updatedReplicas": 1, "updatedNumberScheduled": 1}
    further = {"updatedReplicas": 2, "updatedNumberScheduled": 2}
    assert module.told(kind[1](status=rolling)) == module.told(kind[1](status=further))
    assert module.told(kind[1](status=rolling)) != module.told(kind[1]())
    assert module.told(kind[1](more={"generation": 4})) != module.told(kind[1]())
    assert module.version(kind[1](status=rolling)) == module.version(kind[1]())
    assert module.version(kind[1](more={"generation": 4, "observed": 3})) != module.version(
        kind[1](more={"generation": 4})
    )


def test_it_needs_the_right_to_patch_it(kind: Kind) -> None:
    module, _ = target(kind)
    plural = f"{module.kind.lower()}s"
    assert module.rights(HERE)[0] == Right("patch", "apps", plural, "shop", "checkout")
    assert (module.watched.group, module.watched.version, module.watched.plural) == ("apps", "v1", plural)


async def test_a_list_that_fails_is_no_history(kind: Kind) -> None:
    module, api = target(kind, kind[1](), *HISTORY)
    api.faults.append(failing("controllerrevisions", errors.Unavailable("gone")))
    with pytest.raises(errors.Unavailable):
        await module.observe(HERE, None, None)
