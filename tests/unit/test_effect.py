"""The one patch of a rollback: what it changes, what it leaves alone, and the worlds on which it does nothing."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from rollback_operator.api import REQUEST_ANNOTATION
from rollback_operator.targets.deployment import effect
from rollback_operator.targets.effects import CHANGE_CAUSE
from rollback_operator.targets.metadata import REVISION
from rollback_operator.targets.ownership import LAST_APPLIED
from rollback_operator.targets.podtemplate import HASH_LABEL
from tests.unit.objects import Object, PatchError, deployment, patched, replica_set, template

KEY = "uid-of-request"


def applied_by_kubectl(image: str = "shop:3", **more: Any) -> dict[str, str]:
    """The annotation that `kubectl apply` leaves."""
    manifest = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "spec": {"replicas": 5, "template": template(image), **more},
    }
    return {LAST_APPLIED: json.dumps(manifest) + "\n"}


def rolled_back(before: Object, source: Object | None = None) -> Object:
    return patched(before, effect(before, source or replica_set(2), KEY))


def test_it_replaces_the_template_and_marks_it() -> None:
    after = rolled_back(deployment())
    assert after["spec"]["template"] == template("shop:2")
    assert after["metadata"]["annotations"] == {REVISION: "3", REQUEST_ANNOTATION: KEY}


def test_it_changes_nothing_else() -> None:
    before = deployment(annotations={"note": "by hand", "a/b~c": "odd"}, replicas=7, minReadySeconds=4)
    after = rolled_back(before)
    after["spec"]["template"] = before["spec"]["template"]
    del after["metadata"]["annotations"][REQUEST_ANNOTATION]
    assert after == before


def test_the_hash_label_of_the_replica_set_is_not_carried_over() -> None:
    assert HASH_LABEL not in rolled_back(deployment())["spec"]["template"]["metadata"]["labels"]


def test_a_later_request_takes_the_mark_over() -> None:
    after = rolled_back(deployment(mark="uid-of-tuesday"))
    assert after["metadata"]["annotations"][REQUEST_ANNOTATION] == KEY


def test_it_leaves_what_it_was_made_from_alone() -> None:
    before, source = deployment(annotations=applied_by_kubectl()), replica_set(2)
    copies = copy.deepcopy((before, source))
    effect(before, source, KEY)
    assert (before, source) == copies


def edit(path: tuple[str, ...], value: Any) -> Callable[[Object], None]:
    """A change of a Deployment by somebody else."""

    def change(thing: Object) -> None:
        for part in path[:-1]:
            thing = thing[part]
        if value is None:
            del thing[path[-1]]
        else:
            thing[path[-1]] = value

    return change


MOVED: dict[str, Callable[[Object], None]] = {
    "was created anew": edit(("metadata", "uid"), "another"),
    "has another revision": edit(("metadata", "annotations", REVISION), "4"),
    "lost its annotations": edit(("metadata", "annotations"), {}),
    "has another image": edit(("spec", "template"), template("shop:4")),
    "was restarted": edit(("spec", "template", "metadata", "annotations"), {"restartedAt": "now"}),
    "was paused": edit(("spec", "paused"), value=True),
    "carries the mark already": edit(("metadata", "annotations", REQUEST_ANNOTATION), KEY),
    "was rolled back by another request": edit(("metadata", "annotations", REQUEST_ANNOTATION), "uid-of-another"),
    "was applied again": edit(("metadata", "annotations", LAST_APPLIED), "{}"),
}


@pytest.mark.parametrize("case", MOVED)
def test_it_does_nothing_to_a_deployment_that_meanwhile(case: str) -> None:
    seen = deployment(annotations=applied_by_kubectl())
    operations = effect(seen, replica_set(2), KEY)
    moved = copy.deepcopy(seen)
    MOVED[case](moved)
    with pytest.raises(PatchError):
        patched(moved, operations)


UNMOVED: dict[str, Callable[[Object], None]] = {
    "was scaled": edit(("spec", "replicas"), 9),
    "got another status": edit(("status", "observedGeneration"), 9),
    "got a label": edit(("metadata", "labels", "new"), "label"),
    "got an annotation": edit(("metadata", "annotations", "new"), "annotation"),
    "got another resourceVersion": edit(("metadata", "resourceVersion"), "99"),
}


@pytest.mark.parametrize("case", UNMOVED)
def test_it_happens_on_a_deployment_that_meanwhile(case: str) -> None:
    seen = deployment()
    operations = effect(seen, replica_set(2), KEY)
    UNMOVED[case](seen)
    assert patched(seen, operations)["spec"]["template"] == template("shop:2")


def test_it_happens_once() -> None:
    seen = deployment()
    operations = effect(seen, replica_set(2), KEY)
    once = patched(seen, operations)
    with pytest.raises(PatchError):
        patched(once, operations)


def test_an_attempt_that_comes_late_does_not_undo_a_revert() -> None:
    """Somebody put the bad version back before the controller gave the good one a number."""
    seen = deployment()
    operations = effect(seen, replica_set(2), KEY)
    reverted = patched(seen, operations)
    reverted["spec"]["template"] = template("shop:3")
    with pytest.raises(PatchError):
        patched(reverted, operations)


# What `kubectl apply` believes it applied last.


def test_last_applied_follows_so_that_the_next_apply_strands_nothing() -> None:
    before = deployment(annotations=applied_by_kubectl(strategy={"type": "Recreate"}))
    source = replica_set(2, pods=template("shop:2", env=[{"name": "OLD", "value": "1"}]))
    after = rolled_back(before, source)
    text = after["metadata"]["annotations"][LAST_APPLIED]
    assert text.endswith("}\n")
    manifest = json.loads(text)
    assert manifest["spec"]["template"] == after["spec"]["template"]
    assert manifest["spec"]["strategy"] == {"type": "Recreate"}
    assert manifest["spec"]["replicas"] == 5


STRANGE: dict[str, str] = {
    "no JSON": "{",
    "no object": "[]",
    "nothing": "",
    "no spec": "{}",
    "an odd spec": '{"spec": []}',
    "no template": '{"spec": {}}',
}


@pytest.mark.parametrize("case", STRANGE)
def test_a_record_is_left_alone_that_holds(case: str) -> None:
    after = rolled_back(deployment(annotations={LAST_APPLIED: STRANGE[case]}))
    assert after["metadata"]["annotations"][LAST_APPLIED] == STRANGE[case]
    assert after["spec"]["template"] == template("shop:2")


# What `kubectl rollout history` shows beside the number.

CAUSES: dict[str, tuple[str | None, str | None]] = {
    "the old revision's, in place of the new one's": ("release 3", "release 2"),
    "the old revision's, where there was none": (None, "release 2"),
    "none, where the old revision had none": ("release 3", None),
    "none at all": (None, None),
}


@pytest.mark.parametrize("case", CAUSES)
def test_the_change_cause_is(case: str) -> None:
    now, then = CAUSES[case]
    before = deployment(annotations={CHANGE_CAUSE: now} if now else {})
    after = rolled_back(before, replica_set(2, annotations={CHANGE_CAUSE: then} if then else {}))
    assert after["metadata"]["annotations"].get(CHANGE_CAUSE) == then
