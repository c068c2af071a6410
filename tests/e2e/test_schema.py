"""What the API server refuses at `kubectl apply`, and the sentence it says."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.e2e.world import World, policy, request, web

TARGET = {"kind": "Deployment", "name": "web"}
GOOD: dict[str, Any] = {"target": TARGET, "reason": "5xx"}

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no target": ({"reason": "5xx"}, "say what to roll back: write target: {kind: Deployment, name: NAME}"),
    "both target and policyRef": ({**GOOD, "policyRef": {"name": "p"}}, "write either target or policyRef, not both"),
    "an unknown kind": ({**GOOD, "target": {"kind": "CronJob", "name": "a"}}, 'supported values: "Deployment"'),
    "no name": ({**GOOD, "target": {"kind": "Deployment"}}, "spec.target.name: Required value"),
    "an empty name": (
        {**GOOD, "target": {"kind": "Deployment", "name": ""}},
        "write the target's name as kubectl shows",
    ),
    "a name that is none": ({**GOOD, "target": {"kind": "Deployment", "name": "A b"}}, "write the target's name"),
    "no reason": ({"target": TARGET}, "write a reason of 1 to 512 characters"),
    "an empty reason": ({**GOOD, "reason": ""}, "write a reason of 1 to 512 characters"),
    "a blank reason": ({**GOOD, "reason": "  "}, "write a reason of 1 to 512 characters"),
    "an over-long reason": ({**GOOD, "reason": "x" * 513}, "write a reason of 1 to 512 characters"),
    "an enormous reason": ({**GOOD, "reason": "x" * 5000}, "Too long: may not be more than 4096"),
    "to that is no revision": ({**GOOD, "to": "latest"}, "write a revision number as `kubectl rollout history` shows"),
    "to zero": ({**GOOD, "to": 0}, "write a revision number"),
    "to a negative number": ({**GOOD, "to": -1}, "write a revision number"),
    "to a fraction": ({**GOOD, "to": 1.5}, "spec.to"),
    "to half a fingerprint": ({**GOOD, "to": "v1:abc"}, "write a revision number"),
    "a bad duration": ({**GOOD, "timeout": "5 minutes"}, "write a duration such as 90s, 10m or 1h30m"),
    "a negative duration": ({**GOOD, "timeout": "-5m"}, "write a duration such as 90s, 10m or 1h30m"),
    "a duration of nothing": ({**GOOD, "timeout": "0s"}, "write a duration longer than 0s"),
    "a duration of days": ({**GOOD, "timeout": "48h"}, "of at most 24h"),
    "a number as duration": ({**GOOD, "timeout": 600}, "must be of type string"),
    "an empty service account": ({**GOOD, "serviceAccountName": ""}, "write the service account's name"),
    "a service account with a colon": ({**GOOD, "serviceAccountName": "a:b"}, "write the service account's name"),
    "an unknown field": ({**GOOD, "tpyo": 1}, 'unknown field "spec.tpyo"'),
}


@pytest.mark.parametrize("spec, sentence", REFUSED.values(), ids=REFUSED.keys())
def test_a_request_is_refused_with_a_sentence_that_says_what_to_write(
    bare_world: World, spec: dict[str, Any], sentence: str
) -> None:
    refused = bare_world.refused(request("bad", **spec))

    assert sentence in refused


CHANGED: dict[str, tuple[dict[str, Any], str]] = {
    "another target": ({**GOOD, "target": {"kind": "Deployment", "name": "b"}}, "target cannot be changed"),
    "a policy instead": ({"reason": "5xx", "policyRef": {"name": "p"}}, "target cannot be changed, added or removed"),
    "another reason": ({**GOOD, "reason": "other"}, "reason cannot be changed"),
    "a revision added": ({**GOOD, "to": "1"}, "to cannot be changed, added or removed"),
    "a dry run made of it": ({**GOOD, "dryRun": True}, "dryRun cannot be changed"),
    "another timeout": ({**GOOD, "timeout": "1m"}, "timeout cannot be changed"),
    "a service account added": ({**GOOD, "serviceAccountName": "other"}, "serviceAccountName cannot be changed, added"),
}


@pytest.mark.parametrize("spec, sentence", CHANGED.values(), ids=CHANGED.keys())
def test_an_immutable_field_is_not_changed_or_added(bare_world: World, spec: dict[str, Any], sentence: str) -> None:
    bare_world.apply(request("fixed", **GOOD))

    assert sentence in bare_world.refused(request("fixed", **spec))


@pytest.mark.parametrize("field, value", [("to", "1"), ("serviceAccountName", "mine")])
def test_an_immutable_field_is_not_removed(bare_world: World, field: str, value: str) -> None:
    bare_world.apply(request("fixed", **GOOD, **{field: value}))

    assert f"{field} cannot be changed, added or removed" in bare_world.refused(request("fixed", **GOOD))


def test_abort_is_not_taken_back(bare_world: World) -> None:
    bare_world.apply(policy("p"), request("waits", reason="x", policyRef={"name": "other"}, abort=True))

    refused = bare_world.refused(request("waits", reason="x", policyRef={"name": "other"}, abort=False))

    assert "abort cannot be taken back" in refused


@pytest.mark.parametrize("to", ["3", 3, "Previous", "LastKnownGood", "v1:" + "a" * 64])
def test_every_form_of_a_revision_is_taken(bare_world: World, to: object) -> None:
    bare_world.apply(request("good", **GOOD, to=to))


POLICIES: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown kind": ({"target": {"kind": "Foo", "name": "a"}}, 'supported values: "Deployment"'),
    "a bad verify timeout": ({"verify": {"timeout": "soon"}}, "write a duration such as 90s"),
    "to that is no revision": ({"to": "HEAD"}, "write a revision number"),
    "no history": ({"historyLimit": 0}, "should be greater than or equal to 1"),
    "fields that do not work yet": ({"triggers": []}, 'unknown field "spec.triggers"'),
}


@pytest.mark.parametrize("spec, sentence", POLICIES.values(), ids=POLICIES.keys())
def test_a_policy_is_refused_with_a_sentence(bare_world: World, spec: dict[str, Any], sentence: str) -> None:
    assert sentence in bare_world.refused(policy("bad", **spec))


def test_kubectl_explain_reads_like_documentation(bare_world: World) -> None:
    explained = bare_world.kubectl("explain", "rollbackrequest.spec", "--recursive=false")

    for word in ("Why, in a sentence", "Previous", "whose rights", "It does not undo"):
        assert word in " ".join(explained.split())


def test_short_names_and_the_category_list_both_resources(bare_world: World) -> None:
    bare_world.apply(policy("p"), request("r", reason="x", policyRef={"name": "p"}))

    listed = bare_world.kubectl("get", "rollback", "-o", "name")

    assert listed.split() == ["rollbackpolicy.rollback.dev/p", "rollbackrequest.rollback.dev/r"]
    assert bare_world.kubectl("get", "rbp,rbr", "-o", "name") == listed


FROZEN: dict[str, tuple[str, str]] = {
    "its phase": ('{"status":{"phase":"Running"}}', "stays as it ended"),
    "its whole status": ('{"status":null}', "stays as it ended"),
    "an abort": ('{"spec":{"abort":true}}', "nothing left to abort"),
}


@pytest.mark.parametrize("patch, sentence", FROZEN.values(), ids=FROZEN.keys())
def test_a_request_that_has_ended_keeps(bare_world: World, patch: str, sentence: str) -> None:
    bare_world.roll_back("over", target={"kind": "Deployment", "name": "nothing"})
    subresource = [] if "spec" in patch else ["--subresource=status"]

    result = bare_world.cluster.kubectl_process(
        "-n", bare_world.namespace, "patch", "rbr/over", "--type=merge", "-p", patch, *subresource
    )

    assert result.returncode != 0
    assert sentence in result.stderr


def test_a_written_plan_is_not_changed_or_removed(world: World) -> None:
    world.release(web("a:1"))
    world.release(web("a:2"))
    body = world.roll_back("done")
    target = body["status"]["targets"][0]

    for plan, sentence in (({**target["plan"], "diff": "other"}, "written once"), (None, "never removed")):
        changed = {**body, "status": {**body["status"], "targets": [{**target, "plan": plan}]}}
        if plan is None:
            del changed["status"]["targets"][0]["plan"]
        text = yaml.safe_dump(changed)
        result = world.cluster.kubectl_process(
            "-n", world.namespace, "replace", "--subresource=status", "-f", "-", input=text
        )
        assert result.returncode != 0
        assert sentence in result.stderr
