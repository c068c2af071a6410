"""What the API server refuses at `kubectl apply`, and the sentence it says."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.e2e.world import ROOT, World, policy, request, web

TARGET = {"kind": "Deployment", "name": "web"}
GOOD: dict[str, Any] = {"target": TARGET, "reason": "5xx"}
GROUP: list[dict[str, Any]] = [{"target": TARGET}]

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
    "another namespace's Deployment": (
        {**GOOD, "target": {**TARGET, "namespace": "other"}},
        "leave namespace out: only an Application may be in another namespace",
    ),
    "a release's name that Helm does not take": (
        {**GOOD, "target": {"kind": "Helm", "name": "w" * 54}},
        "write the release's name as `helm list` shows it",
    ),
    "a namespace that is none": (
        {**GOOD, "target": {"kind": "Application", "name": "a", "namespace": "A b"}},
        "write the namespace's name",
    ),
    "six digits of a commit": ({**GOOD, "to": "abcdef"}, "a Git commit (7 to 40 hexadecimal digits, in quotes)"),
    "a hold until something else": ({**GOOD, "hold": {"until": "Tomorrow"}}, 'supported values: "TargetChanges"'),
    "a hold that alerts after something else": (
        {**GOOD, "hold": {"alertAfter": "a while"}},
        "write a duration such as 90s, 10m or 1h30m",
    ),
    "no reason": ({"target": TARGET}, "write a reason of 1 to 512 characters"),
    "an empty reason": ({**GOOD, "reason": ""}, "write a reason of 1 to 512 characters"),
    "a blank reason": ({**GOOD, "reason": "  "}, "write a reason of 1 to 512 characters"),
    "an over-long reason": ({**GOOD, "reason": "x" * 513}, "write a reason of 1 to 512 characters"),
    "an enormous reason": ({**GOOD, "reason": "x" * 5000}, "Too long: may not be more than 4096"),
    "to that is no revision": ({**GOOD, "to": "latest"}, "write a revision number as `kubectl rollout history` shows"),
    "to a number that begins with zero": ({**GOOD, "to": "03"}, "write a revision number"),
    "to a negative number": ({**GOOD, "to": -1}, "write a revision number"),
    "to a fraction": ({**GOOD, "to": 1.5}, "spec.to"),
    "to half a fingerprint": ({**GOOD, "to": "v1:abc"}, "write a revision number"),
    "a bad duration": ({**GOOD, "timeout": "5 minutes"}, "write a duration such as 90s, 10m or 1h30m"),
    "a negative duration": ({**GOOD, "timeout": "-5m"}, "write a duration such as 90s, 10m or 1h30m"),
    "a duration of nothing": ({**GOOD, "timeout": "0s"}, "write a duration longer than 0s"),
    "a duration of days": ({**GOOD, "timeout": "48h"}, "of at most 24h"),
    "a number as duration": ({**GOOD, "timeout": 600}, "must be of type string"),
    "a grace that is no duration": ({**GOOD, "grace": "a while"}, "write a duration such as 90s, 10m or 1h30m"),
    "a grace of nothing": ({**GOOD, "grace": "0s"}, "write a duration longer than 0s"),
    "an endless uid of a policy": (
        {"reason": "5xx", "policyRef": {"name": "p", "uid": "u" * 65}},
        "spec.policyRef.uid: Too long: may not be more than 64",
    ),
    "an empty service account": ({**GOOD, "serviceAccountName": ""}, "write the service account's name"),
    "a service account with a colon": ({**GOOD, "serviceAccountName": "a:b"}, "write the service account's name"),
    "both target and targets": ({**GOOD, "targets": GROUP}, "write only one of target, targets and policyRef"),
    "both policyRef and targets": (
        {"reason": "5xx", "targets": GROUP, "policyRef": {"name": "p"}},
        "write only one of target, targets and policyRef",
    ),
    "a group of nothing": ({"reason": "5xx", "targets": []}, "list what to roll back: at least one entry"),
    "a group of seventeen": (
        {"reason": "5xx", "targets": [{"target": {**TARGET, "name": f"a{number}"}} for number in range(17)]},
        "spec.targets: Too many: 17: must have at most 16 items",
    ),
    "a target twice": ({"reason": "5xx", "targets": [*GROUP, {"target": TARGET, "wave": 1}]}, "write each target once"),
    "a revision for a whole group": (
        {"reason": "5xx", "targets": GROUP, "to": "1"},
        "with targets, write to in each of them, and no from",
    ),
    "a fingerprint for a whole group": (
        {"reason": "5xx", "targets": GROUP, "from": "v1:" + "a" * 64},
        "with targets, write to in each of them, and no from",
    ),
    "a wave before the first": (
        {"reason": "5xx", "targets": [{"target": TARGET, "wave": -1}]},
        "should be greater than or equal to 0",
    ),
    "a wave after the last": (
        {"reason": "5xx", "targets": [{"target": TARGET, "wave": 16}]},
        "should be less than or equal to 15",
    ),
    "to that is no revision, in a group": (
        {"reason": "5xx", "targets": [{"target": TARGET, "to": "latest"}]},
        "write a revision number as `kubectl rollout history` shows",
    ),
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
    "a group instead": ({"reason": "5xx", "targets": GROUP}, "target cannot be changed, added or removed"),
    "a policy instead": ({"reason": "5xx", "policyRef": {"name": "p"}}, "target cannot be changed, added or removed"),
    "another reason": ({**GOOD, "reason": "other"}, "reason cannot be changed"),
    "a revision added": ({**GOOD, "to": "1"}, "to cannot be changed, added or removed"),
    "a dry run made of it": ({**GOOD, "dryRun": True}, "dryRun cannot be changed"),
    "another timeout": ({**GOOD, "timeout": "1m"}, "timeout cannot be changed"),
    "a grace added": ({**GOOD, "grace": "5m"}, "grace cannot be changed, added or removed"),
    "a service account added": ({**GOOD, "serviceAccountName": "other"}, "serviceAccountName cannot be changed, added"),
}


@pytest.mark.parametrize("spec, sentence", CHANGED.values(), ids=CHANGED.keys())
def test_an_immutable_field_is_not_changed_or_added(bare_world: World, spec: dict[str, Any], sentence: str) -> None:
    bare_world.apply(request("fixed", **GOOD))

    assert sentence in bare_world.refused(request("fixed", **spec))


@pytest.mark.parametrize("field, value", [("to", "1"), ("serviceAccountName", "mine"), ("grace", "5m")])
def test_an_immutable_field_is_not_removed(bare_world: World, field: str, value: str) -> None:
    bare_world.apply(request("fixed", **GOOD, **{field: value}))

    assert f"{field} cannot be changed, added or removed" in bare_world.refused(request("fixed", **GOOD))


def test_the_targets_of_a_group_are_not_changed(bare_world: World) -> None:
    bare_world.apply(request("group", reason="5xx", targets=GROUP))

    refused = bare_world.refused(request("group", reason="5xx", targets=[{"target": TARGET, "wave": 1}]))

    assert "targets cannot be changed, added or removed" in refused


def test_a_grace_is_not_made_longer(bare_world: World) -> None:
    bare_world.apply(request("graced", **GOOD, grace="5m"))

    refused = bare_world.refused(request("graced", **GOOD, grace="10m"))

    assert "grace cannot be changed, added or removed: a request is one rollback" in refused


UIDS: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "changed": ({"uid": "one"}, {"uid": "another"}),
    "added": ({}, {"uid": "one"}),
    "removed": ({"uid": "one"}, {}),
}


@pytest.mark.parametrize("before, after", UIDS.values(), ids=UIDS.keys())
def test_whose_request_it_is_is_not(bare_world: World, before: dict[str, str], after: dict[str, str]) -> None:
    bare_world.apply(request("made", reason="x", policyRef={"name": "p", **before}))

    refused = bare_world.refused(request("made", reason="x", policyRef={"name": "p", **after}))

    assert "policyRef cannot be changed, added or removed" in refused


def test_approve_is_given_and_not_taken_back(bare_world: World) -> None:
    asked = {"reason": "x", "policyRef": {"name": "other"}, "grace": "5m"}
    bare_world.apply(request("waits", **asked))
    bare_world.apply(request("waits", **asked, approve=True))

    for refused in (
        bare_world.refused(request("waits", **asked, approve=False)),
        bare_world.refused(request("waits", **asked)),
    ):
        assert "approve cannot be taken back: to stop the request, set abort: true" in refused


def test_abort_is_not_taken_back(bare_world: World) -> None:
    bare_world.apply(policy("p"), request("waits", reason="x", policyRef={"name": "other"}, abort=True))

    refused = bare_world.refused(request("waits", reason="x", policyRef={"name": "other"}, abort=False))

    assert "abort cannot be taken back" in refused


@pytest.mark.parametrize("to", ["3", 3, "0", 0, "Previous", "LastKnownGood", "v1:" + "a" * 64])
def test_every_form_of_a_revision_is_taken(bare_world: World, to: object) -> None:
    bare_world.apply(request("good", **GOOD, to=to))


POLICIES: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown kind": ({"target": {"kind": "Foo", "name": "a"}}, 'supported values: "Deployment"'),
    "a bad verify timeout": ({"verify": {"timeout": "soon"}}, "write a duration such as 90s"),
    "to that is no revision": ({"to": "HEAD"}, "write a revision number"),
    "no history": ({"historyLimit": 0}, "should be greater than or equal to 1"),
    "fields that do not work yet": ({"strategy": {"type": "Gradual"}}, 'unknown field "spec.strategy"'),
    "an unknown mode": ({"mode": "Dream"}, 'supported values: "Enforce", "Observe", "Suspend"'),
    "a breaker that never closes": ({"breaker": {"limit": 0}}, "should be greater than or equal to 1"),
    "a breaker that hardly opens": ({"breaker": {"limit": 21}}, "should be less than or equal to 20"),
    "a correction of no release": (
        {"ledger": [{"fingerprint": "v1:abc", "verdict": "Good"}]},
        "write a fingerprint as status.current or status.ledger shows it: v1: and 64 hexadecimal digits",
    ),
    "two corrections of one release": (
        {"ledger": [{"fingerprint": "v1:" + "a" * 64, "verdict": verdict} for verdict in ("Good", "Bad")]},
        "spec.ledger[1]: Duplicate value",
    ),
    "to be verified by a trigger that it has not": (
        {"triggers": [{"name": "probe", "http": {"url": "http://web:8080"}}], "verify": {"triggers": ["prob"]}},
        "spec.verify: Invalid value: verify.triggers names a trigger that is not in triggers",
    ),
    "to be verified by a trigger when it has none": (
        {"verify": {"triggers": ["probe"]}},
        "verify.triggers names a trigger that is not in triggers",
    ),
    "a Prometheus with a password in its address": (
        {"prometheus": {"address": "http://me:secret@prometheus:9090"}},
        "with no user or password in it",
    ),
}


@pytest.mark.parametrize("spec, sentence", POLICIES.values(), ids=POLICIES.keys())
def test_a_policy_is_refused_with_a_sentence(bare_world: World, spec: dict[str, Any], sentence: str) -> None:
    assert sentence in bare_world.refused(policy("bad", **spec))


ASKS: dict[str, Any] = {"prometheus": {"query": "up"}, "when": "> 5%"}
PROBES: dict[str, Any] = {"http": {"url": "http://web:8080/healthz"}}
HOW_BAD = 'write when an answer is bad, such as "> 5%", "> 2s", ">= 512Mi" or "< 0.5": a comparison, a number'
ONE_SOURCE = "write exactly one of prometheus, http, pods, rollout and alert: it is what the trigger asks"

TRIGGERS: dict[str, tuple[dict[str, Any], str]] = {
    "when without a comparison": ({**ASKS, "when": "5%"}, HOW_BAD),
    "when without a number": ({**ASKS, "when": "> five"}, HOW_BAD),
    "when in an unknown unit": ({**ASKS, "when": "> 5kB"}, HOW_BAD),
    "when that is two": ({**ASKS, "when": "> 5% or < 1%"}, HOW_BAD),
    "an empty when": ({**ASKS, "when": ""}, HOW_BAD),
    "no when for a query": ({"prometheus": {"query": "up"}}, 'write `when`, such as "> 5%", with prometheus and only'),
    "when for a probe": ({**PROBES, "when": "> 5%"}, 'write `when`, such as "> 5%", with prometheus and only there'),
    "no source": ({}, ONE_SOURCE),
    "two sources": ({**ASKS, **PROBES}, ONE_SOURCE),
    "two sources that need no fields": ({"rollout": {}, "alert": {}}, ONE_SOURCE),
    "an endless query": (
        {**ASKS, "prometheus": {"query": "x" * 1025}},
        "spec.triggers[0].prometheus.query: Too long: may not be more than 1024",
    ),
    "an empty query": ({**ASKS, "prometheus": {"query": ""}}, "should be at least 1 chars long"),
    "an endless query for samples": (
        {**ASKS, "minSamples": {"query": "x" * 1025, "atLeast": 1}},
        "minSamples.query: Too long: may not be more than 1024",
    ),
    "an interval below a second": (
        {**PROBES, "interval": "999ms"},
        "spec.triggers[0].interval: Invalid value: write an interval of at least 1s",
    ),
    "an interval that is no duration": ({**PROBES, "interval": "often"}, "write a duration such as 90s, 10m or 1h30m"),
    "a grace with no word of its action": (
        {**PROBES, "grace": "5m"},
        "grace is the time for people to step in: write action: AlertThenRollback with it",
    ),
    "a grace before an alert": (
        {**PROBES, "grace": "5m", "action": "Alert"},
        "grace is the time for people to step in: write action: AlertThenRollback with it",
    ),
    "an unknown action": ({**PROBES, "action": "Restart"}, '"Rollback", "AlertThenRollback", "Alert"'),
    "series of a probe": ({**PROBES, "series": "All"}, "series belongs to prometheus"),
    "samples of a probe": (
        {**PROBES, "minSamples": {"query": "up", "atLeast": 1}},
        "minSamples belongs to prometheus",
    ),
    "pods of which nothing is bad": (
        {"pods": {}},
        "write what is bad about the pods: restarts, reasons or notReady",
    ),
    "restarts without a comparison": (
        {"pods": {"restarts": "5"}},
        'write how many are too many, such as "> 5" or ">= 3"',
    ),
    "few pods that are not ready": (
        {"pods": {"notReady": "< 2"}},
        'write how many pods may not be ready, such as "> 0", ">= 2" or "> 50%"',
    ),
    "a rollout that must not fail": ({"rollout": {"progressDeadlineExceeded": False}}, "Unsupported value: false"),
    "an address without a scheme": (
        {"http": {"url": "web:8080/healthz"}},
        "write an address such as http://prometheus.monitoring:9090, with no user or password in it",
    ),
    "an address with a password": ({"http": {"url": "http://me:secret@web"}}, "with no user or password in it"),
    "a name with spaces": ({**PROBES, "name": "My probe"}, "write a short name such as high-error-rate"),
}


@pytest.mark.parametrize("trigger, sentence", TRIGGERS.values(), ids=TRIGGERS.keys())
def test_a_trigger_is_refused_with_a_sentence(bare_world: World, trigger: dict[str, Any], sentence: str) -> None:
    refused = bare_world.refused(policy("bad", triggers=[{"name": "one", **trigger}]))

    assert sentence in refused


def test_triggers_have_names_of_their_own_and_are_not_too_many(bare_world: World) -> None:
    twice = [{"name": "one", **PROBES}, {"name": "one", "rollout": {}}]
    assert "spec.triggers[1]: Duplicate value" in bare_world.refused(policy("bad", triggers=twice))

    many = [{"name": f"n{number}", **PROBES} for number in range(17)]
    assert "spec.triggers: Too many: 17: must have at most 16 items" in bare_world.refused(policy("bad", triggers=many))


TAKEN: list[dict[str, Any]] = [
    *({**ASKS, "when": when} for when in (">5%", "> 2s", ">= 512Mi", "< 0.5", "!= -1", " == 0 ", "<= 100 ms", "> 2Gi")),
    {**ASKS, "prometheus": {"query": "x" * 1024}, "series": "All", "minSamples": {"query": "up", "atLeast": 20}},
    {**PROBES, "interval": "1s", "consecutive": 3, "for": "5m"},
    {**PROBES, "action": "AlertThenRollback", "grace": "5m"},
    {**PROBES, "action": "AlertThenRollback"},
    {"http": {"url": "https://web", "method": "HEAD", "status": [200, 204], "slowerThan": "500ms"}},
    {"pods": {"restarts": "> 5", "notReady": ">= 50%"}},
    {"pods": {"reasons": ["CrashLoopBackOff", "OOMKilled"]}, "watch": "Always"},
    {"rollout": {"progressDeadlineExceeded": True}},
    {"rollout": {}},
    {"alert": {}, "noData": "Breach"},
]


def test_every_form_of_a_trigger_is_taken(bare_world: World) -> None:
    for number in range(0, len(TAKEN), 16):
        triggers = [{"name": f"n{place}", **one} for place, one in enumerate(TAKEN[number : number + 16])]
        bare_world.apply(policy("suspended", mode="Suspend", triggers=triggers, verify={"triggers": ["n0"]}))


def test_the_example_of_rules_is_taken_as_it_stands(bare_world: World) -> None:
    written = yaml.safe_load((ROOT / "examples" / "rollbackpolicy-rules.yaml").read_text())
    written["metadata"]["namespace"] = bare_world.namespace

    bare_world.apply(written)

    assert _holds(bare_world.get("rbp", written["metadata"]["name"])["spec"], written["spec"])


def _holds(stored: Any, written: Any) -> bool:
    """Whether all that was written is there; the API server fills in more."""
    if isinstance(written, dict):
        return all(name in stored and _holds(stored[name], value) for name, value in written.items())
    if isinstance(written, list):
        return len(stored) == len(written) and all(map(_holds, stored, written))
    return bool(stored == written)


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
