"""What makes two releases the same, what a template needs, and what of it may be shown."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollback_operator.targets.podtemplate import (
    HASH_LABEL,
    RESTARTED_AT,
    Need,
    fingerprint,
    moving_tags,
    needs,
    not_restarted,
    refers_to,
    restarted,
    same,
    shown,
    without_hash,
)
from tests.unit.builders import NOW
from tests.unit.objects import Object, template

BASE: Object = {
    "metadata": {"labels": {"app": "checkout"}, "annotations": {"team": "shop"}},
    "spec": {
        "containers": [
            {"name": "web", "image": "shop:3", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]}
        ],
        "volumes": [{"name": "data", "emptyDir": {}}],
    },
}


def changed(path: str, value: Any) -> Object:
    """`BASE` with the value at a path (dots; ~ for a dot in a key) replaced; None removes it."""
    result = copy.deepcopy(BASE)
    *way, last = (part.replace("~", ".") for part in path.split("."))
    place: Any = result
    for part in way:
        place = place[int(part)] if isinstance(place, list) else place.setdefault(part, {})
    if value is None:
        del place[last]
    else:
        place[last] = value
    return result


SAME: dict[str, Object] = {
    "the hash label of a ReplicaSet": changed(f"metadata.labels.{HASH_LABEL}", "5d8f"),
    "a restart": changed(f"metadata.annotations.{RESTARTED_AT.replace('.', '~')}", "2026-03-01T03:00:00Z"),
    "the null that old API servers write": changed("metadata.creationTimestamp", "") | {},
    "the order of keys": json.loads(json.dumps(BASE, sort_keys=True)),
}
DIFFERENT: dict[str, Object] = {
    "an image": changed("spec.containers.0.image", "shop:4"),
    "an env value": changed("spec.containers.0.env.0.value", "9"),
    "the order of env, which may refer to one another": changed(
        "spec.containers.0.env", list(reversed(BASE["spec"]["containers"][0]["env"]))
    ),
    "a label": changed("metadata.labels.tier", "front"),
    "an annotation": changed("metadata.annotations.team", "other"),
    "an annotation that is gone": changed("metadata.annotations", None),
    "a volume": changed("spec.volumes", None),
    "a field that we know nothing of": changed("spec.schedulingGates", [{"name": "wait"}]),
    "metadata that nobody uses": changed("metadata.finalizers", ["example.com/hold"]),
    "an umlaut": changed("metadata.annotations.team", "schöp"),
}


@pytest.mark.parametrize("case", SAME)
def test_a_release_stays_the_same_but_for(case: str) -> None:
    assert fingerprint(SAME[case]) == fingerprint(BASE)


@pytest.mark.parametrize("case", DIFFERENT)
def test_another_release_is_one_that_differs_in(case: str) -> None:
    assert fingerprint(DIFFERENT[case]) != fingerprint(BASE)


def test_a_fingerprint_says_its_version() -> None:
    """Pinned: a ledger holds fingerprints, so that another way of counting needs another version."""
    assert fingerprint(BASE) == "v1:" + "5a11caa1de4e1a16124bfe2c53991a512fc897d60079c40a044de48210441a9a"


def test_the_controllers_rule_ignores_the_hash_and_nothing_else() -> None:
    """A restart gives another ReplicaSet."""
    assert same(BASE, SAME["the hash label of a ReplicaSet"])
    assert not same(BASE, SAME["a restart"])
    for different in DIFFERENT.values():
        assert not same(BASE, different)


def test_taking_the_hash_away_leaves_the_original_alone() -> None:
    hashed = SAME["the hash label of a ReplicaSet"]
    before = copy.deepcopy(hashed)
    assert without_hash(hashed) == BASE
    assert hashed == before


@pytest.mark.parametrize("empty", [{}, {"metadata": None, "spec": None}, {"metadata": {}, "spec": {}}], ids=str)
def test_an_empty_template_is_no_trouble(empty: Object) -> None:
    assert fingerprint(empty).startswith("v1:")
    assert needs(empty) == ()
    assert moving_tags(empty) == ()
    assert shown(empty, "salt") is not None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(json_values, json_values)
def test_two_specs_have_one_fingerprint_only_if_they_are_equal(one: Any, other: Any) -> None:
    equal = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (fingerprint({"spec": {"x": one}}) == fingerprint({"spec": {"x": other}})) == equal


# Needs.

NEEDS: dict[str, tuple[Object, tuple[str, ...]]] = {
    "all of a ConfigMap as env": (
        {"envFrom": [{"configMapRef": {"name": "web"}}]},
        ("ConfigMap web",),
    ),
    "all of a Secret as env": ({"envFrom": [{"secretRef": {"name": "db"}}]}, ("Secret db",)),
    "a key of a ConfigMap": (
        {"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "web", "key": "theme"}}}]},
        ("ConfigMap web (key theme)",),
    ),
    "a key of a Secret": (
        {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}}]},
        ("Secret db (key password)",),
    ),
    "nothing for a field of the pod": (
        {"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]},
        (),
    ),
    "nothing for a literal": ({"env": [{"name": "A", "value": "1"}]}, ()),
    "nothing for what is optional": (
        {
            "envFrom": [{"configMapRef": {"name": "web", "optional": True}}],
            "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "db", "key": "x", "optional": True}}}],
        },
        (),
    ),
    "the same once": (
        {
            "envFrom": [{"secretRef": {"name": "db"}}, {"secretRef": {"name": "db", "optional": False}}],
        },
        ("Secret db",),
    ),
}
VOLUMES: dict[str, tuple[Object, tuple[str, ...]]] = {
    "a ConfigMap": ({"configMap": {"name": "web"}}, ("ConfigMap web",)),
    "a Secret": ({"secret": {"secretName": "tls"}}, ("Secret tls",)),
    "a claim": ({"persistentVolumeClaim": {"claimName": "data"}}, ("PersistentVolumeClaim data",)),
    "projected sources": (
        {
            "projected": {
                "sources": [
                    {"configMap": {"name": "web"}},
                    {"secret": {"name": "tls"}},
                    {"serviceAccountToken": {"path": "token"}},
                    {"secret": {"name": "maybe", "optional": True}},
                ]
            }
        },
        ("ConfigMap web", "Secret tls"),
    ),
    "what is optional": ({"configMap": {"name": "web", "optional": True}}, ()),
    "an optional Secret": ({"secret": {"secretName": "tls", "optional": True}}, ()),
    "an empty directory": ({"emptyDir": {}}, ()),
    "what a driver is given": ({"csi": {"driver": "d", "nodePublishSecretRef": {"name": "key"}}}, ("Secret key",)),
    "what a driver is given no Secret for": ({"csi": {"driver": "d"}}, ()),
    "a share of Azure": ({"azureFile": {"shareName": "s", "secretName": "key"}}, ("Secret key",)),
    **{
        f"a volume of {driver}": ({driver: {"secretRef": {"name": "key"}}}, ("Secret key",))
        for driver in ("cephfs", "flexVolume", "iscsi", "rbd", "scaleIO", "storageos")
    },
}


@pytest.mark.parametrize("where", ["containers", "initContainers"])
@pytest.mark.parametrize("case", NEEDS)
def test_a_container_needs(case: str, where: str) -> None:
    fields, expected = NEEDS[case]
    found = needs({"spec": {where: [{"name": "web", **fields}]}})
    assert tuple(str(need) for need in found) == expected


@pytest.mark.parametrize("case", VOLUMES)
def test_a_volume_needs(case: str) -> None:
    fields, expected = VOLUMES[case]
    assert tuple(str(need) for need in needs({"spec": {"volumes": [{"name": "v", **fields}]}})) == expected


def test_what_images_are_pulled_with_is_no_part_of_what_pods_are_given() -> None:
    assert refers_to({"spec": {"imagePullSecrets": [{"name": "registry"}]}}) == ()


OPTIONAL: dict[str, tuple[Object, str]] = {
    "of all its entries": (
        {"containers": [{"envFrom": [{"configMapRef": {"name": "web", "optional": True}}]}]},
        "ConfigMap web",
    ),
    "of one entry": (
        {"containers": [{"env": [{"valueFrom": {"secretKeyRef": {"name": "db", "key": "a", "optional": True}}}]}]},
        "Secret db (key a)",
    ),
    "as a volume": ({"volumes": [{"secret": {"secretName": "tls", "optional": True}}]}, "Secret tls"),
    "as part of a volume": (
        {"volumes": [{"projected": {"sources": [{"configMap": {"name": "web", "optional": True}}]}}]},
        "ConfigMap web",
    ),
}


@pytest.mark.parametrize("case", OPTIONAL)
def test_what_is_optional_is_referred_to_and_not_needed(case: str) -> None:
    spec, expected = OPTIONAL[case]
    assert [str(one) for one in refers_to({"spec": spec})] == [expected]
    assert needs({"spec": spec}) == ()


def test_what_is_optional_in_one_place_is_needed_in_another() -> None:
    sources = [{"configMapRef": {"name": "web", "optional": optional}} for optional in (True, False)]
    spec: Object = {"containers": [{"envFrom": sources}]}
    assert refers_to({"spec": spec}) == needs({"spec": spec}) == (Need("ConfigMap", "web"),)


def test_needs_are_listed_in_one_order() -> None:
    mixed = {
        "spec": {
            "volumes": [{"configMap": {"name": "b"}}, {"secret": {"secretName": "a"}}, {"configMap": {"name": "a"}}],
            "containers": [{"env": [{"valueFrom": {"configMapKeyRef": {"name": "a", "key": "k"}}}]}],
        }
    }
    assert needs(mixed) == (
        Need("ConfigMap", "a"),
        Need("ConfigMap", "a", "k"),
        Need("ConfigMap", "b"),
        Need("Secret", "a"),
    )


TAGS: dict[str, tuple[str, bool]] = {
    "a tag": ("shop:3", True),
    "no tag": ("shop", True),
    "a digest": ("shop@sha256:" + "0" * 64, False),
    "a tag and a digest": ("registry.example/shop:3@sha256:" + "0" * 64, False),
}


@pytest.mark.parametrize("case", TAGS)
def test_an_image_may_move_with(case: str) -> None:
    image, moves = TAGS[case]
    assert moving_tags(template(image)) == ((image,) if moves else ())


def test_images_of_all_containers_count_once() -> None:
    containers = [{"image": "b:1"}, {"image": "a:1"}, {"image": "b:1"}, {}]
    assert moving_tags({"spec": {"initContainers": [{"image": "i:1"}], "containers": containers}}) == (
        "i:1",
        "b:1",
        "a:1",
    )


# What is shown.

secrets = st.text(alphabet=st.characters(codec="utf-8", categories=("L", "N", "P")), min_size=9, max_size=30)


def test_the_same_value_reads_the_same_and_another_does_not() -> None:
    one, same_again, other = (
        template(env=[{"name": "A", "value": value}]) for value in ("s3cret", "s3cret", "s3cret2")
    )
    assert shown(one, "uid") == shown(same_again, "uid")
    assert shown(one, "uid") != shown(other, "uid")
    assert shown(one, "uid") != shown(one, "another uid"), "no table made beforehand helps"


def test_what_is_no_literal_is_shown_as_it_is() -> None:
    reference = {"name": "A", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}}
    (container,) = shown(template(env=[reference, {"name": "EMPTY", "value": ""}]), "uid")["spec"]["containers"]
    assert container["env"] == [reference, {"name": "EMPTY", "value": ""}]


def test_the_hash_label_is_not_shown() -> None:
    hashed = template()
    hashed["metadata"]["labels"][HASH_LABEL] = "5d8f"
    assert shown(hashed, "uid") == template()


@given(st.lists(secrets, min_size=5, max_size=5, unique=True))
def test_no_literal_is_shown(values: list[str]) -> None:
    env, other_env, init_env, annotation, header = (f"secret-{value}" for value in values)
    whole: Object = {
        "metadata": {"labels": {"app": "checkout"}, "annotations": {"vault": annotation}},
        "spec": {
            "initContainers": [{"name": "i", "env": [{"name": "A", "value": init_env}]}],
            "containers": [
                {
                    "name": "web",
                    "image": "shop:3",
                    "env": [{"name": "A", "value": env}, {"name": "B", "value": other_env}, {"name": "C"}],
                    "livenessProbe": {"httpGet": {"httpHeaders": [{"name": "Authorization", "value": header}]}},
                    "lifecycle": {"postStart": {"httpGet": {"httpHeaders": [{"name": "X", "value": header}]}}},
                }
            ],
        },
    }
    before = copy.deepcopy(whole)
    text = json.dumps(shown(whole, "uid"), ensure_ascii=False)
    assert not [value for value in (env, other_env, init_env, annotation, header) if value in text]
    assert "shop:3" in text
    assert whole == before, "what is shown is a copy"


def test_a_restart_makes_no_other_release_and_can_be_told_from_what_the_owner_applies() -> None:
    plain = template("shop:3")
    again = restarted(plain, NOW)
    assert again["metadata"]["annotations"] == {RESTARTED_AT: "2026-03-01T03:00:00Z"}
    assert fingerprint(again) == fingerprint(plain)
    assert not same(again, plain)
    assert not_restarted(again) == plain
