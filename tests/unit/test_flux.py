"""What a Flux object says of itself, and the patches that suspend and resume it."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest

from rollback_operator.api.owner import Suspension
from rollback_operator.core import flux
from tests.unit.objects import Object, PatchError, patched

KEY, ANOTHER = "uid-of-request", "uid-of-another"


def condition(kind: str, status: str, reason: str = "Progressing", message: str = "") -> Object:
    return {"type": kind, "status": status, "reason": reason, "message": message}


def kustomization(*conditions: Object, suspend: bool | None = None, hold: str | None = None, **more: Any) -> Object:
    """A Kustomization; `hold` is the annotation as it stands."""
    metadata: Object = {"name": "shop", "namespace": "flux-system", "uid": "uid-of-shop", **more}
    metadata.setdefault("resourceVersion", "7")
    if hold is not None:
        metadata["annotations"] = {**metadata.get("annotations", {}), flux.HOLD: hold}
    return {
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
        "kind": "Kustomization",
        "metadata": metadata,
        "spec": {"prune": True} if suspend is None else {"prune": True, "suspend": suspend},
        "status": {"conditions": list(conditions)},
    }


def held(*, was: bool | None = None, by: str = KEY) -> Object:
    return kustomization(suspend=True, hold=json.dumps({"request": by, "suspend": was}))


RECONCILING: dict[str, tuple[tuple[Object, ...], bool]] = {
    "it says nothing": ((), False),
    "it is well": ((condition("Ready", "True", "ReconciliationSucceeded"),), False),
    "it applies": ((condition("Reconciling", "True"),), True),
    "it failed, and waits to try again": ((condition("Reconciling", "True", "ProgressingWithRetry"),), False),
    "it applied, and waits for health": ((condition("Reconciling", "True"), condition("Healthy", "Unknown")), False),
    "it applies what was unhealthy before": ((condition("Reconciling", "True"), condition("Healthy", "False")), True),
}


@pytest.mark.parametrize("case", RECONCILING)
def test_it_is_told_whether_it_is_applying_something(case: str) -> None:
    conditions, expected = RECONCILING[case]
    assert flux.reconciling(kustomization(*conditions)) is expected


def test_a_helm_release_that_waits_for_health_is_still_installing() -> None:
    body = kustomization(condition("Reconciling", "True"), condition("Healthy", "Unknown"))
    assert flux.reconciling({**body, "kind": "HelmRelease"})


@pytest.mark.parametrize("was", [None, False])
@pytest.mark.parametrize("annotations", [None, {"team": "shop"}])
def test_suspending_and_releasing_leaves_it_as_it_was(*, was: bool | None, annotations: dict[str, str] | None) -> None:
    body = kustomization(suspend=was)
    if annotations is not None:
        body["metadata"]["annotations"] = annotations
    suspended = patched(body, flux.suspending(body, KEY))
    assert suspended["spec"]["suspend"] is True
    assert flux.hold_of(suspended) == flux.Hold(KEY, was)

    resumed = patched(suspended, flux.releasing(suspended, KEY))

    resumed["metadata"]["annotations"] = resumed["metadata"]["annotations"] or None
    body["metadata"].setdefault("annotations", None)
    assert resumed == body


@pytest.mark.parametrize("was", [None, False])
def test_the_command_that_people_run_leaves_it_as_it_was(*, was: bool | None) -> None:
    suspension = Suspension(kind="Kustomization", namespace="flux-system", name="shop", uid="u", was=was)
    words = shlex.split(flux.resuming(suspension))
    assert words[:7] == [
        "kubectl",
        "-n",
        "flux-system",
        "patch",
        "kustomizations.kustomize.toolkit.fluxcd.io",
        "shop",
        "--type",
    ]
    assert json.loads(words[-1]) == {"metadata": {"annotations": {flux.HOLD: None}}, "spec": {"suspend": was}}


def test_the_command_that_gives_a_suspension_back_does_what_the_operator_would() -> None:
    suspension = Suspension(kind="Kustomization", namespace="flux-system", name="shop", uid="u")
    body = held(by=ANOTHER)
    assert flux.handing_back(suspension, body, ANOTHER) is None
    taken = patched(body, flux.suspending(body, KEY))
    command = flux.handing_back(suspension, taken, KEY)
    assert command is not None
    record = json.dumps({"request": ANOTHER, "suspend": None}, separators=(",", ":"))
    assert json.loads(shlex.split(command)[-1]) == {"metadata": {"annotations": {flux.HOLD: record}}}


NOTHING_TO_DO: dict[str, Object] = {
    "suspended for this request": held(),
    "suspended by people": kustomization(suspend=True),
    "suspended by people, with words of their own": kustomization(suspend=True, hold="since Tuesday"),
    "suspended by people, with a list": kustomization(suspend=True, hold="[1]"),
}


@pytest.mark.parametrize("case", NOTHING_TO_DO)
def test_what_is_suspended_stays_as_it_is(case: str) -> None:
    assert flux.suspending(NOTHING_TO_DO[case], KEY) == []


def test_the_suspension_of_an_earlier_request_is_taken_over_with_what_was_before_it() -> None:
    body = held(was=False, by=ANOTHER)
    taken = patched(body, flux.suspending(body, KEY))
    assert flux.hold_of(taken) == flux.Hold(KEY, was=False, earlier=(ANOTHER,))
    assert flux.releasing(taken, ANOTHER, "ended") == []
    assert flux.suspending(taken, ANOTHER) == []


def test_without_an_effect_the_suspension_is_the_earlier_requests_again() -> None:
    body = held(was=False, by=ANOTHER)
    taken = patched(body, flux.suspending(body, KEY))
    back = patched(taken, flux.releasing(taken, KEY))
    assert back["spec"]["suspend"] is True
    assert back["metadata"]["annotations"][flux.HOLD] == '{"request":"uid-of-another","suspend":false}'
    assert flux.releasing(back, KEY) == []


@pytest.mark.parametrize("first", [KEY, ANOTHER])
def test_of_two_that_end_without_an_effect_neither_has_the_suspension_last(first: str) -> None:
    body = kustomization()
    for key in (ANOTHER, KEY):
        body = patched(body, flux.suspending(body, key))
    for key in (first, ANOTHER if first == KEY else KEY):
        assert body["spec"]["suspend"] is True
        body = patched(body, flux.releasing(body, key))
    assert body["spec"] == {"prune": True}
    assert body["metadata"]["annotations"] == {}


def test_whose_effect_is_there_keeps_the_suspension_and_its_end_is_the_end() -> None:
    body = held(was=False, by=ANOTHER)
    taken = patched(body, flux.suspending(body, KEY))
    assert flux.keeping(taken, ANOTHER) == []
    kept = patched(taken, flux.keeping(taken, KEY))
    assert flux.hold_of(kept) == flux.Hold(KEY, was=False)
    assert flux.keeping(kept, KEY) == []
    for one in (taken, kept):
        assert patched(one, flux.releasing(one, KEY, "ended"))["spec"]["suspend"] is False


def test_a_record_names_so_many_requests_and_no_more() -> None:
    body = kustomization()
    for number in range(50):
        body = patched(body, flux.suspending(body, str(number)))
    hold = flux.hold_of(body)
    assert hold is not None
    assert hold.requests == tuple(str(number) for number in range(49, 16, -1))


def test_what_people_resumed_is_suspended_anew() -> None:
    body = held()
    body["spec"]["suspend"] = False
    assert flux.hold_of(patched(body, flux.suspending(body, KEY))) == flux.Hold(KEY, was=False)


def test_a_suspension_that_arrives_late_does_not_begin_anew_what_has_ended() -> None:
    """Nobody would look after it any more, and Flux would stay suspended for good."""
    body = kustomization()
    late = flux.suspending(body, KEY)
    suspended = patched(body, flux.suspending(body, KEY))
    suspended["metadata"]["resourceVersion"] = "8"
    ended = patched(suspended, flux.releasing(suspended, KEY, "ended"))
    ended["metadata"]["resourceVersion"] = "9"
    assert not flux.suspended(ended)
    with pytest.raises(PatchError):
        patched(ended, late)


@pytest.mark.parametrize("earlier", [None, ANOTHER], ids=["for this request alone", "for an earlier one as well"])
def test_an_end_that_arrives_late_does_not_end_what_a_later_attempt_relies_on(earlier: str | None) -> None:
    """Who sent it was killed, and whoever came then made the effect."""
    body = kustomization() if earlier is None else held(by=earlier)
    suspended = patched(body, flux.suspending(body, KEY))
    late = flux.releasing(suspended, KEY)
    again = patched(suspended, flux.suspending(suspended, KEY, attempt=2))
    assert flux.suspending(again, KEY, attempt=2) == []
    with pytest.raises(PatchError):
        patched(again, late)
    ended = patched(again, flux.releasing(again, KEY))
    assert ended["spec"].get("suspend") is (None if earlier is None else True)
    assert flux.hold_of(ended) == flux.hold_of(body)


def test_nothing_of_others_is_released() -> None:
    for body in (kustomization(), kustomization(suspend=True), held(by=ANOTHER)):
        assert flux.releasing(body, KEY) == []


MANAGERS = {"kustomize-controller": True, "argocd-controller": True, "kubectl-edit": False, "rollback-operator": False}


@pytest.mark.parametrize("manager", MANAGERS)
def test_who_sets_suspend_again_and_again_is_told_by_managed_fields(manager: str) -> None:
    entry = {"manager": manager, "fieldsV1": {"f:spec": {"f:suspend": {}}}}
    assert (flux.undone_by(kustomization(managedFields=[entry])) == manager) is MANAGERS[manager]


def test_a_manager_that_leaves_suspend_alone_does_not_undo_it() -> None:
    entry = {"manager": "kustomize-controller", "fieldsV1": {"f:spec": {"f:prune": {}}}}
    assert flux.undone_by(kustomization(managedFields=[entry])) is None


def test_what_it_applies_is_named_and_bounded() -> None:
    body = kustomization()
    body["status"]["inventory"] = {"entries": [{"id": f"shop_web{n}_apps_Deployment", "v": "v1"} for n in range(25)]}
    body["status"]["inventory"]["entries"][0]["id"] = "_shop__Namespace"
    named = flux.applied(body)
    assert (named[0], named[1], named[-1]) == ("Namespace shop", "Deployment shop/web1", "Deployment shop/web24")
