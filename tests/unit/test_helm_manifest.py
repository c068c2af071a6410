"""What manifests say: objects, differences without secrets, and what would be lost."""

from __future__ import annotations

import pytest

from rollback_operator.targets.helm import manifest
from rollback_operator.targets.helm.manifest import ManifestError, Name, objects
from tests.unit.helm import MANIFEST

OLD, NEW = MANIFEST.format(image="shop:1"), MANIFEST.format(image="shop:2").replace("open-sesame", "another-word")
WEB, PASSWORD = Name("apps", "Deployment", "", "web"), Name("", "Secret", "", "password")


def difference(before: str, after: str) -> str:
    return manifest.difference(objects(before), objects(after), "salt", ("revision 2 (now)", "revision 1 (after)"))


def test_a_manifest_is_its_objects_by_name() -> None:
    assert list(objects(OLD)) == [WEB, PASSWORD]


def test_a_list_stands_for_its_items() -> None:
    text = "kind: List\napiVersion: v1\nitems:\n- {apiVersion: v1, kind: Secret, metadata: {name: password}}\n"

    assert list(objects(text)) == [PASSWORD]


def test_a_list_of_a_kind_stands_for_its_items_as_for_helm() -> None:
    """Such as a SecretList: shown as it is it would show what is secret, and what it deletes would not be seen."""
    listed = "metadata: {}\nitems:\n- {metadata: {name: password}, data: {word: b3Blbi1zZXNhbWU=}}\n"
    definitions = (
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinitionList\nitems:\n- metadata: {name: x}\n"
    )

    assert list(objects(f"apiVersion: v1\nkind: SecretList\n{listed}")) == [PASSWORD]
    assert list(objects(f"apiVersion: v1\nkind: Secret\n{listed}")) == [PASSWORD]
    assert "b3Blbi1zZXNhbWU=" not in difference("", f"apiVersion: v1\nkind: SecretList\n{listed}")
    assert [one["metadata"]["name"] for one in manifest.definitions_left_out(objects(definitions), {})] == ["x"]


NOT_THERE = {"nothing": "", "a comment": "---\n# Source: shop/x.yaml\n", "no object": "---\njust words\n"}


@pytest.mark.parametrize("text", NOT_THERE.values(), ids=NOT_THERE)
def test_what_is_no_object_is_passed_over(text: str) -> None:
    assert objects(text) == {}


BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n" for before, name in zip("abcdef", "bcdefg", strict=True)
)
WRONG = {
    "not YAML": ("---\n# Source: shop/x.yaml\na: [1\n", "the manifest of shop/x.yaml is not YAML"),
    "one that grows and grows": (BOMB, "the manifest of a template has more than 200000 values"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_with_a_manifest_is_a_sentence(case: str) -> None:
    text, said = WRONG[case]
    with pytest.raises(ManifestError, match=said):
        objects(text)


def test_a_difference_shows_what_changes_and_no_value_that_may_be_secret() -> None:
    shown = difference(NEW, OLD)

    assert "--- Deployment web, revision 2 (now)\n+++ Deployment web, revision 1 (after)" in shown
    assert {"-        image: shop:2", "+        image: shop:1"} <= set(shown.splitlines())
    assert shown.count("<digest") == 6  # an env literal, an annotation and an entry, before and after
    for word in ("open-sesame", "another-word"):
        assert word not in shown


ROLLOUT = """
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: {name: web, labels: {app: web}, annotations: {note: open-sesame}}
spec:
  replicas: %d
  password: open-sesame
  template: {spec: {containers: [{name: web, image: "shop:1", env: [{name: A, value: open-sesame}]}]}}
"""


def test_of_kinds_that_kubernetes_does_not_know_no_text_is_shown() -> None:
    shown = difference("", ROLLOUT % 2) + difference(ROLLOUT % 2, ROLLOUT % 3)

    assert "open-sesame" not in shown
    for line in (
        "+  password: <digest ",
        "+  replicas: 3",
        "-  replicas: 2",
        "+      - env:",
        "image: shop:1",
        "app: web",
    ):
        assert line in shown


_TEMPLATE = "{spec: {containers: [{name: web, image: x, env: [{name: A, value: open-sesame}]}]}}"
RUNS_PODS = {
    **dict.fromkeys(
        ("Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job", "ReplicationController"),
        f"spec: {{template: {_TEMPLATE}}}",
    ),
    "CronJob": f"spec: {{jobTemplate: {{spec: {{template: {_TEMPLATE}}}}}}}",
    "PodTemplate": f"template: {_TEMPLATE}",
    "Pod": _TEMPLATE[1:-1],
}


@pytest.mark.parametrize("kind", RUNS_PODS)
def test_whatever_runs_pods_shows_no_value_of_their_variables(kind: str) -> None:
    shown = difference("", f"apiVersion: v1\nkind: {kind}\nmetadata: {{name: web}}\n{RUNS_PODS[kind]}\n")

    assert "image: x" in shown
    assert "open-sesame" not in shown


def test_what_is_the_same_is_not_shown() -> None:
    assert difference(OLD, OLD) == ""


def test_what_is_new_or_gone_is_shown_as_a_whole() -> None:
    one = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: extra}\n"

    assert "+apiVersion: v1\n+kind: ConfigMap" in difference("", one)
    assert "-apiVersion: v1\n-kind: ConfigMap" in difference(one, "")


def test_a_template_that_is_none_is_not_shown() -> None:
    odd = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {template: {spec: {containers: [5]}}}\n"

    assert "<not shown>" in difference("", odd)


def test_a_difference_has_an_end() -> None:
    many = "---\n".join(
        f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c{number:05}}}\ndata: {{text: {'x' * 1000}}}\n"
        for number in range(500)
    )

    assert len(difference("", many)) < manifest.LONGEST_DIFF + 2000


def _definition(*annotations: str) -> str:
    noted = "".join(f"\n    {one}" for one in annotations)
    noted = f"\n  annotations:{noted}" if noted else ""
    kind = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition"
    return f"{kind}\nmetadata:\n  name: tills.example.com{noted}\n"


LEFT_OUT = {
    "it is there before and not after": (_definition(), "", ["tills.example.com"]),
    "it is there before and after": (_definition(), _definition(), []),
    "it is new": ("", _definition(), []),
}


@pytest.mark.parametrize("case", LEFT_OUT)
def test_definitions_that_are_left_out(case: str) -> None:
    before, after, names = LEFT_OUT[case]

    left_out = manifest.definitions_left_out(objects(before), objects(after))
    assert [one["metadata"]["name"] for one in left_out] == names


KEPT = {
    "helm.sh/resource-policy: keep": True,
    "helm.sh/resource-policy: Keep": False,
    "helm.sh/resource-policy: ' keep'": False,
    "helm.sh/resource-policy: other": False,
    "another: keep": False,
}


@pytest.mark.parametrize("noted", KEPT)
def test_helm_keeps_what_says_so_in_just_these_letters(noted: str) -> None:
    (definition,) = objects(_definition(noted)).values()

    assert manifest.kept(definition) is KEPT[noted]


def test_what_an_interrupted_rollback_may_have_left_is_named_beside_what_it_made() -> None:
    extra = "---\n# Source: shop/extra.yaml\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: extra}\n"

    assert set(objects(manifest.with_what_may_be_left(OLD, manifest.parts_of(NEW + extra)))) == {
        WEB,
        PASSWORD,
        Name("", "ConfigMap", "", "extra"),
    }
    assert objects(manifest.with_what_may_be_left(OLD, manifest.parts_of(NEW + extra)))[WEB] == objects(OLD)[WEB]
    assert manifest.with_what_may_be_left(OLD, manifest.parts_of(NEW)) == OLD


def test_of_kinds_that_are_gone_nothing_is_left() -> None:
    """Helm fails over an object of a kind that is gone, also over one that it is about to delete."""
    extra = "---\napiVersion: example.com/v1\nkind: Drawer\nmetadata: {name: second}\n"
    before = manifest.parts_of(NEW + extra)

    assert Name("example.com", "Drawer", "", "second") in objects(manifest.with_what_may_be_left(OLD, before))
    assert manifest.with_what_may_be_left(OLD, before, {("example.com/v1", "Drawer")}) == OLD
