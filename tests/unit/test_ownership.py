"""Fields given back to their owner: what the operator held is gone, and the next release of the owner just works."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollback_operator.targets.ownership import LAST_APPLIED, giving_back, held_by
from rollback_operator.targets.podtemplate import RESTARTED_AT
from tests.unit.objects import Object, PatchError, deployment, patched

OURS = "rollback-operator"
IMAGE: Object = {"f:spec": {"f:containers": {'k:{"name":"web"}': {"f:image": {}}}}}
OLD_ENV: Object = {"f:spec": {"f:containers": {'k:{"name":"web"}': {"f:env": {".": {}, 'k:{"name":"OLD"}': {}}}}}}
WHOLE: Object = {
    "f:metadata": {"f:labels": {"f:app": {}}},
    "f:spec": {"f:containers": {'k:{"name":"web"}': {".": {}, "f:name": {}, "f:image": {}}}},
}


def entry(manager: str, template: Object | None, operation: str = "Update", **more: Any) -> Object:
    """What a manager holds: fields of the pod template, and a label of the Deployment itself."""
    fields: Object = {"f:metadata": {"f:labels": {f"f:of-{manager}": {}}}}
    if template is not None:
        fields["f:spec"] = {"f:replicas": {}, "f:template": template}
    fields_v1 = more.pop("fields", fields)
    return {
        "manager": manager,
        "operation": operation,
        "apiVersion": "apps/v1",
        "time": "2026-03-01T03:00:00Z",
        "fieldsType": "FieldsV1",
        "fieldsV1": fields_v1,
        **more,
    }


def effect(template: Object | None = None, annotations: tuple[str, ...] = ("rollback.dev/request",)) -> Object:
    """What the operator holds after its effect."""
    fields: Object = {"f:metadata": {"f:annotations": {f"f:{name}": {} for name in annotations}}}
    fields["f:spec"] = {"f:template": template or OLD_ENV}
    return entry(OURS, None, fields=fields)


CONTROLLER = entry("kube-controller-manager", None, subresource="status")
SCALER = entry("autoscaler", None, fields={"f:spec": {"f:replicas": {}}})


def after_giving_back(*managed: Object) -> list[Object]:
    before = deployment(managed=copy.deepcopy(managed))
    after = patched(before, giving_back(OURS, before["metadata"]["managedFields"]))
    result: list[Object] = after["metadata"].pop("managedFields")
    del before["metadata"]["managedFields"]
    assert after == before, "nothing but the record of ownership is touched"
    return result


def by_manager(managed: list[Object], name: str) -> Object:
    (found,) = (one for one in managed if one["manager"] == name)
    return found


def template_of(one: Object) -> Object:
    fields: Object = one["fieldsV1"]["f:spec"]["f:template"]
    return fields


def union(one: Object, other: Object) -> Object:
    return {
        key: union(one.get(key, {}), other.get(key, {})) for key in (*one, *(key for key in other if key not in one))
    }


OWNERS: dict[str, tuple[tuple[Object, ...], str]] = {
    "a server-side applier": ((entry("helm", WHOLE, "Apply"), CONTROLLER, effect()), "helm"),
    "a client-side applier": (
        (CONTROLLER, entry("kubectl-client-side-apply", WHOLE), effect()),
        "kubectl-client-side-apply",
    ),
    "a server-side applier before whoever owns more": (
        (entry("helm", IMAGE, "Apply"), entry("kubectl-edit", WHOLE), effect()),
        "helm",
    ),
    "whoever owns most of it": (
        (entry("kubectl-set", IMAGE), entry("kubectl-create", WHOLE), effect()),
        "kubectl-create",
    ),
    "the one that owns any of it": ((effect(), SCALER, entry("kubectl-set", IMAGE)), "kubectl-set"),
}


@pytest.mark.parametrize("case", OWNERS)
def test_the_fields_go_to(case: str) -> None:
    managed, name = OWNERS[case]
    after = after_giving_back(*managed)
    assert held_by(OURS, after) == []
    owner = by_manager(list(managed), name)
    assert template_of(by_manager(after, name)) == union(template_of(owner), OLD_ENV)
    rest = [one for one in managed if one["manager"] not in (OURS, name)]
    assert [one for one in after if one["manager"] != name] == rest
    assert by_manager(after, name)["operation"] == owner["operation"]


def test_without_an_owner_they_are_nobodys() -> None:
    assert after_giving_back(SCALER, effect(), CONTROLLER) == [SCALER, CONTROLLER]


def test_several_entries_of_ours_are_all_given_back() -> None:
    after = after_giving_back(effect(OLD_ENV), entry("helm", WHOLE, "Apply"), effect(IMAGE))
    assert [one["manager"] for one in after] == ["helm"]
    assert template_of(after[0]) == union(union(WHOLE, OLD_ENV), IMAGE)


def test_the_mark_is_given_to_nobody() -> None:
    (after,) = after_giving_back(entry("helm", WHOLE, "Apply"), effect())
    assert "f:annotations" not in after["fieldsV1"]["f:metadata"]


def test_the_record_of_what_was_applied_goes_to_a_client_side_applier() -> None:
    """By its owner, `kubectl apply --server-side` finds whose fields to take over."""
    held = effect(annotations=("rollback.dev/request", LAST_APPLIED))
    (after,) = after_giving_back(entry("kubectl-client-side-apply", WHOLE), held)
    assert after["fieldsV1"]["f:metadata"]["f:annotations"] == {f"f:{LAST_APPLIED}": {}}


def test_the_record_of_what_was_applied_does_not_go_to_a_server_side_applier() -> None:
    """It would remove the annotation with its next apply."""
    held = effect(annotations=("rollback.dev/request", LAST_APPLIED))
    (after,) = after_giving_back(entry("helm", WHOLE, "Apply"), held)
    assert "f:annotations" not in after["fieldsV1"]["f:metadata"]


def test_an_entry_of_another_version_of_the_api_is_not_mixed_in() -> None:
    other = effect() | {"apiVersion": "apps/v2"}
    (after,) = after_giving_back(entry("helm", WHOLE, "Apply"), other)
    assert template_of(after) == WHOLE


def test_what_a_subresource_of_ours_holds_stays() -> None:
    scale = entry(OURS, None, subresource="scale")
    assert after_giving_back(scale, effect()) == [scale]


MOVED: dict[str, Object] = {
    "ours came to hold more": effect(WHOLE),
    "ours is gone": CONTROLLER,
}


@pytest.mark.parametrize("case", MOVED)
def test_nothing_is_given_back_if_meanwhile(case: str) -> None:
    seen = [entry("helm", WHOLE, "Apply"), effect()]
    with pytest.raises(PatchError):
        patched(deployment(managed=[seen[0], MOVED[case]]), giving_back(OURS, seen))


def test_nothing_is_given_back_if_the_owner_applied_meanwhile() -> None:
    seen = [entry("helm", WHOLE, "Apply"), effect()]
    again = entry("helm", IMAGE, "Apply")
    with pytest.raises(PatchError):
        patched(deployment(managed=[again, seen[1]]), giving_back(OURS, seen))


def test_a_status_update_meanwhile_does_not_matter() -> None:
    seen = [entry("helm", WHOLE, "Apply"), effect(), CONTROLLER]
    later = CONTROLLER | {"time": "2026-03-01T03:00:09Z"}
    after = patched(deployment(managed=[*seen[:2], later]), giving_back(OURS, seen))
    assert [one["manager"] for one in after["metadata"]["managedFields"]] == ["helm", "kube-controller-manager"]


managers = st.sampled_from(
    [
        effect(),
        effect(IMAGE),
        CONTROLLER,
        SCALER,
        entry("helm", WHOLE, "Apply"),
        entry("kubectl-edit", IMAGE),
        entry("kubectl-client-side-apply", WHOLE),
    ]
)


@given(st.lists(managers, max_size=6))
def test_whoever_holds_what_ours_is_gone_and_nothing_is_lost(managed: list[Object]) -> None:
    after = after_giving_back(*managed)
    assert held_by(OURS, after) == []
    others = [one for one in managed if one["manager"] != OURS]
    assert [one["manager"] for one in after] == [one["manager"] for one in others]
    differ = [(before, now) for before, now in zip(others, after, strict=True) if before != now]
    assert len(differ) <= 1
    for before, now in differ:
        assert union(before["fieldsV1"], now["fieldsV1"]) == now["fieldsV1"], "only more"


RESTART: Object = {"f:metadata": {"f:annotations": {".": {}, f"f:{RESTARTED_AT}": {}}}}


def test_when_pods_were_restarted_belongs_to_nobody_so_the_next_apply_leaves_it() -> None:
    owner = entry("kubectl", WHOLE, "Apply")
    assert after_giving_back(owner, effect(RESTART)) == [owner]
    both = {**RESTART, **OLD_ENV}
    (kept,) = after_giving_back(owner, effect(both))
    assert "OLD" in str(kept)
    assert RESTARTED_AT not in str(kept)


CONTENT = (("f:data",), ("f:binaryData",))


def held(manager: str, *keys: str, operation: str = "Update") -> Object:
    """What a manager holds of a ConfigMap."""
    return entry(manager, None, operation, fields={"f:data": {f"f:{key}": {} for key in keys}})


def test_what_is_in_a_config_map_goes_back_to_whoever_applies_it() -> None:
    owner, other = held("kubectl", "mode", operation="Apply"), held("other", "a", "b", "c")
    before = deployment(managed=[owner, other, held(OURS, "mode", "old")])
    after = patched(before, giving_back(OURS, before["metadata"]["managedFields"], CONTENT))
    kept, beside = after["metadata"]["managedFields"]
    assert kept["fieldsV1"]["f:data"] == {"f:mode": {}, "f:old": {}}
    assert beside == other


FORMER = held("kubectl", operation="Apply")
LEFT: dict[str, tuple[list[Object], list[tuple[str, str, set[str]]]]] = {
    "nobody": ([], [("kubectl", "Apply", {"f:mode", "f:old"})]),
    "its former owner, without any of it": (
        [entry("kubectl", None, "Apply")],
        [("kubectl", "Apply", {"f:mode", "f:old"})],
    ),
    "somebody else, with some of it": (
        [entry("kubectl", None, "Apply"), held("other", "x")],
        [("kubectl", "Apply", {"f:mode", "f:old"}), ("other", "Update", {"f:x"})],
    ),
    "another one who applies it now": (
        [held("helm", "x", operation="Apply")],
        [("helm", "Apply", {"f:x", "f:mode", "f:old"})],
    ),
}


@pytest.mark.parametrize("case", LEFT)
def test_where_the_effect_took_all_of_it_the_former_owner_gets_it_beside(case: str) -> None:
    others, expected = LEFT[case]
    before = deployment(managed=copy.deepcopy([*others, held(OURS, "mode", "old")]))
    after = patched(before, giving_back(OURS, before["metadata"]["managedFields"], CONTENT, FORMER))
    kept = after["metadata"]["managedFields"]
    assert [(one["manager"], one["operation"], set(one["fieldsV1"]["f:data"])) for one in kept] == expected
