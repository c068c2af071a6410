"""What a suspended Kustomization or HelmRelease would bring when it is resumed, as far as Flux's objects tell. Pure.

Sources go on being looked at while what they feed is suspended. So the revision of a source's artifact is what Git, or
a registry, has now, and `status.lastAttemptedRevision` of the suspended object is what was rolled back from. What the
object's own spec says (a path, patches, a chart's version, values) counts besides. From Flux's definitions:
kustomize.toolkit.fluxcd.io/v1, helm.toolkit.fluxcd.io/v2, source.toolkit.fluxcd.io/v1.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rollback_operator.api.common import ACROSS_NAMESPACES, Place
from rollback_operator.api.owner import Suspension
from rollback_operator.api.request import Plan
from rollback_operator.core import conditions as on
from rollback_operator.core.hold import Comparison
from rollback_operator.core.owners import OwnerKind
from rollback_operator.core.values import Request

Object = dict[str, Any]

SOURCES: Mapping[str, str] = {
    "GitRepository": "gitrepositories",
    "OCIRepository": "ocirepositories",
    "HelmChart": "helmcharts",
    "Bucket": "buckets",
}
"""The plural of each kind of source, in the group source.toolkit.fluxcd.io."""
_SAYS: Mapping[str, tuple[str, ...]] = {
    OwnerKind.KUSTOMIZATION: (
        "path",
        "sourceRef",
        "components",
        "patches",
        "images",
        "postBuild",
        "commonMetadata",
        "namePrefix",
        "nameSuffix",
        "targetNamespace",
    ),
    OwnerKind.HELM_RELEASE: ("chart", "chartRef", "values", "valuesFrom", "postRenderers", "commonMetadata"),
}
"""The fields of a spec that say what is applied; others say how, or when."""
_WORKLOADS = frozenset(
    {
        "Application",
        "ApplicationSet",
        "CronJob",
        "DaemonSet",
        "Deployment",
        "HelmRelease",
        "Job",
        "Kustomization",
        "Pod",
        "ReplicaSet",
        "Rollout",
        "StatefulSet",
    }
)
"""Kinds that run something; what else is applied (a Service, a ConfigMap) belongs to one of them."""
_COMMIT = re.compile(r"(?:^|[:/@])([0-9a-f]{40}(?:[0-9a-f]{24})?)$")
_VERSION = re.compile(r"v?(\d+\.\d+\.\d+[^+@]*)")
_ID_PARTS = 4
_SHORT = 12


@dataclass(frozen=True, slots=True)
class Source:
    """What feeds a Flux object."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class InGit:
    """It depends on what a repository has at two commits, below a path and what belongs to it."""

    url: str
    before: str
    now: str
    path: str
    also: tuple[str, ...] = ()


def looked_after(request: Request) -> Plan | None:
    """The plan of a request that has ended, and whose suspensions may go on; those beside a held Application are left.

    There the condition Held is about the Application.
    """
    return None if _about_application(request) else _unless(request, on.APPLIED, on.HELD)


def made_beside(request: Request) -> Plan | None:
    """The plan of a request for an Application that has ended with an effect: what it suspended is its own for good."""
    return _unless(request, on.APPLIED) if _about_application(request) else None


def _about_application(request: Request) -> bool:
    return any(one.target.startswith(f"{ACROSS_NAMESPACES}/") for one in request.status.targets[:1])


def _unless(request: Request, *conditions: str) -> Plan | None:
    """The plan of a request that suspends something and has ended, unless one of these conditions is False."""
    status = request.status
    plan = status.targets[0].plan if status.targets else None
    if plan is None or not plan.suspends or status.phase is None or not status.phase.final:
        return None
    return None if any(one.type in conditions and one.status == "False" for one in status.conditions) else plan


def content_of(body: Object) -> str:
    """A digest of what its spec says of what it applies."""
    spec = body.get("spec") or {}
    said = {name: spec[name] for name in _SAYS[body["kind"]] if name in spec}
    return "sha256:" + hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def attempted(body: Object) -> str | None:
    """The revision of its source that it applied last, or tried to."""
    status = body.get("status") or {}
    return status.get("lastAttemptedRevision") or status.get("lastAppliedRevision") or None


def source_of(body: Object) -> Source | None:
    """What feeds it; None if it does not say."""
    metadata, spec = body["metadata"], body.get("spec") or {}
    ref = spec.get("sourceRef") or spec.get("chartRef")
    if ref:
        return Source(ref["kind"], ref.get("namespace") or metadata["namespace"], ref["name"])
    namespace, _, name = ((body.get("status") or {}).get("helmChart") or "").partition("/")
    return Source("HelmChart", namespace, name) if name else None


def at_once(one: Suspension, body: Object, target: Place) -> Comparison | None:
    """What can be told without its source; None if that has to be read. `target` is what was rolled back."""
    if one.revision is None or one.content is None:
        return _unknown("it is not on record what it had applied")
    if one.kind == OwnerKind.KUSTOMIZATION:
        alone = _alone(body, target)
        if alone is not None:
            return alone
    if content_of(body) != one.content:
        return Comparison(changed=True, words="its spec says something else")
    return None


def by_source(one: Suspension, body: Object, source: Object) -> Comparison | InGit:
    """What the artifact of its source says, or what has to be asked in Git."""
    now = ((source.get("status") or {}).get("artifact") or {}).get("revision")
    before = one.revision or ""
    if not now:
        return _unknown(f"{_called(source)} has no artifact")
    if now == before:
        return Comparison(changed=False)
    if source["kind"] == "GitRepository":
        return _in_git(body, source, before, now)
    if one.kind == OwnerKind.HELM_RELEASE:
        return _chart(source, before, now)
    words = (
        f"{_called(source)} is at {now[:60]}, which another commit, or the same content pushed again, gives as well as "
        "a change of this path"
    )
    return _unknown(words)


def _in_git(body: Object, source: Object, before: str, now: str) -> Comparison | InGit:
    commits = [_COMMIT.search(one) for one in (before, now)]
    if commits[0] is None or commits[1] is None:
        return _unknown(f"{before[:60]} or {now[:60]} names no commit")
    spec = body["spec"]
    path = spec.get("path") or "."
    also = tuple(posixpath.join(path, one) for one in spec.get("components") or ())
    return InGit(source["spec"]["url"], commits[0][1], commits[1][1], path, also)


def _chart(source: Object, before: str, now: str) -> Comparison:
    """Whether another version of a chart is there. What follows a plus sign is only where that was made from."""
    tag, _, digest = now.partition("@")
    if digest and before.endswith(f"+{digest.rpartition(':')[2][:_SHORT]}"):
        return Comparison(changed=False)
    old, new = _VERSION.fullmatch(before.partition("+")[0]), _VERSION.fullmatch(tag.partition("+")[0])
    if old is not None and new is not None and old[1] != new[1]:
        return Comparison(changed=True, words=f"version {new[1]} of the chart instead of {old[1]}")
    return _unknown(f"{_called(source)} is at {now[:60]}: the same version, pushed again or made from another commit")


def _alone(body: Object, target: Place) -> Comparison | None:
    """A change of its path is one of the target if it applies nothing else that runs; else why that is not known."""
    entries = ((body.get("status") or {}).get("inventory") or {}).get("entries")
    if not entries:
        return _unknown("it does not say what it applies")
    parts = [one["id"].split("_") for one in entries]
    running = [(one[3], one[0], one[1]) for one in parts if len(one) == _ID_PARTS and one[3] in _WORKLOADS]
    others = [f"{kind}/{name}" for kind, namespace, name in running if (kind, namespace, name) != target]
    if not others:
        return None
    words = f"it applies {', '.join(others[:3])} as well, so that what changes need not be {target[0]}/{target[2]}"
    return _unknown(words)


def _unknown(words: str) -> Comparison:
    return Comparison(changed=None, words=words)


def _called(source: Object) -> str:
    metadata = source["metadata"]
    return f"{source['kind']} {metadata['namespace']}/{metadata['name']}"
