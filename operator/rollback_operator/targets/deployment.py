"""Deployments: what `kubectl rollout undo` does, with the plan written down, kept exact, and annotations kept."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Hashable
from datetime import datetime
from typing import Any

from rollback_operator.api import REQUEST_ANNOTATION
from rollback_operator.api.reasons import Reason
from rollback_operator.api.request import Phase, Plan
from rollback_operator.core.owners import recognised
from rollback_operator.core.values import Findings, Health, Obstacle, Revision, Snapshot, Wellbeing
from rollback_operator.kube import errors
from rollback_operator.kube.access import Right
from rollback_operator.kube.client import FIELD_MANAGER, Api
from rollback_operator.kube.identity import OPERATOR
from rollback_operator.targets import comparing, dependencies, manifests, ownership, pods, podtemplate
from rollback_operator.targets.base import Kept, Watched, Where
from rollback_operator.targets.effects import going_back, restart_of
from rollback_operator.targets.metadata import (
    REVISION,
    annotation_path,
    annotations_of,
    changed,
    controller,
    created,
    fresh,
)

EARLIER_NUMBERS = "deployment.kubernetes.io/revision-history"
"""On a ReplicaSet that was gone back to: the numbers that it had before."""
TIMED_OUT = "ProgressDeadlineExceeded"
_NUMBER = re.compile("[0-9]{1,19}")
_NAMED = re.compile(r'^ReplicaSet "([^"]+)"')
"""How the Deployment controller's words on progress begin, if it has a ReplicaSet to speak of."""

Object = dict[str, Any]


class DeploymentTarget:
    """Rolls Deployments back; history is their ReplicaSets."""

    kind = "Deployment"
    watched = Watched("apps", "v1", "deployments")

    def __init__(self, api: Api) -> None:
        self._api = api

    def told(self, body: Object) -> Hashable:
        """See `Target.told`. How many pods are up on the way there is not worth a look."""
        metadata = body["metadata"]
        return metadata["uid"], metadata["generation"], fresh(body), _rollout(body).state

    def version(self, body: Object) -> Hashable:
        """See `Target.version`. The revision number moves a moment after the template did."""
        return body["metadata"]["uid"], body["metadata"]["generation"], _number(body), fresh(body)

    def rights(self, where: Where) -> tuple[Right, ...]:
        """See `Target.rights`."""
        return (Right("patch", "apps", "deployments", where.namespace, where.name),)

    async def observe(self, where: Where, phase: Phase | None, plan: Plan | None) -> Snapshot | None:
        """See `Target.observe`. One call while a rollout goes on, a second for history, a third for the pods."""
        deployment = await dependencies.read(self._api, _path(where), OPERATOR)
        if deployment is None:
            return None
        verifying = phase is Phase.VERIFYING
        status = _rollout(deployment)
        replica_sets: list[Object] = []
        if not verifying or not fresh(deployment) or status.state is not Wellbeing.PROGRESSING or _stuck(deployment):
            replica_sets = await self._replica_sets(where, deployment)
        health = status
        if verifying and replica_sets:
            health = await self._look_at_pods(where, deployment, replica_sets, status, plan)
        return _snapshot(deployment, replica_sets, health)

    async def examine(self, where: Where, target: Snapshot, to: Revision) -> Findings:
        """See `Target.examine`."""
        deployment, replica_sets = target.raw
        replica_set = _of_revision(replica_sets, to.name)
        templates = (deployment["spec"]["template"], podtemplate.without_hash(replica_set["spec"]["template"]))
        return await comparing.findings(self._api, where, target, to, templates)

    def refers_to(self, target: Snapshot, of: Revision | None = None) -> tuple[podtemplate.Need, ...]:
        """See `Configured.refers_to`."""
        deployment, replica_sets = target.raw
        its = deployment if of is None else _of_revision(replica_sets, of.name)
        return podtemplate.refers_to(its["spec"]["template"])

    async def backup(self, where: Where, target: Snapshot, to: str) -> Kept:  # noqa: ARG002 - the protocol's
        """See `Target.backup`. It was read already."""
        return Kept((manifests.bare(target.raw[0]),))

    async def apply(self, where: Where, target: Snapshot, plan: Plan, key: str, *, dry_run: bool = False) -> None:
        """See `Target.apply`. One JSON patch: either all of it happens, or nothing."""
        deployment, replica_sets = target.raw
        source = _by_fingerprint(replica_sets, plan)
        patch = effect(deployment, source, key, restart_of(plan))
        await self._api.patch(_path(where), patch, as_=where.account, dry_run=dry_run)

    async def finish(self, where: Where, target: Snapshot) -> None:
        """See `Target.finish`. Gives fields back: changes nothing but `metadata.managedFields`."""
        patch = ownership.giving_back(FIELD_MANAGER, target.raw[0]["metadata"]["managedFields"])
        await self._api.patch(_path(where), patch, as_=where.account, field_manager=f"{FIELD_MANAGER}-give-back")

    async def pods(self, where: Where) -> list[Object]:
        """See `Target.pods`."""
        deployment = await dependencies.read(self._api, _path(where), OPERATOR)
        if deployment is None:
            return []
        current = _matching(deployment, await self._replica_sets(where, deployment))
        return [] if current is None else await self._pods_of(where, deployment, current)

    async def stuck(self, where: Where) -> str | None:
        """See `Target.stuck`. One call, a second one if the controller says so.

        The controller leaves what it said of a stuck release standing until the one that was gone back to makes its
        first step, so its words count only if they are about the current ReplicaSet.
        """
        deployment = await self._api.get(_path(where), as_=OPERATOR)
        said = _timed_out(deployment)
        named = _NAMED.match(said or "")
        if named is None:
            return said
        current = _matching(deployment, await self._replica_sets(where, deployment))
        return said if current is not None and current["metadata"]["name"] == named[1] else None

    async def _replica_sets(self, where: Where, deployment: Object) -> list[Object]:
        selector = dependencies.label_selector(deployment["spec"]["selector"])
        path = f"/apis/apps/v1/namespaces/{where.namespace}/replicasets"
        listed = await self._api.get(path, as_=OPERATOR, query={"labelSelector": selector})
        uid = deployment["metadata"]["uid"]
        return [one for one in listed["items"] if controller(one) == uid and _number(one)]

    async def _look_at_pods(
        self, where: Where, deployment: Object, replica_sets: list[Object], rollout: Health, plan: Plan | None
    ) -> Health:
        """What the pods of the new ReplicaSet themselves say, and the claims they use."""
        current = _matching(deployment, replica_sets)
        if current is None:
            return rollout
        listed, unbound = await asyncio.gather(
            self._pods_of(where, deployment, current), self._unbound_claims(where, deployment, plan)
        )
        return pods.judge(rollout, listed, unbound)

    async def _pods_of(self, where: Where, deployment: Object, replica_set: Object) -> list[Object]:
        of_deployment = dependencies.label_selector(deployment["spec"]["selector"])
        template_hash = replica_set["metadata"]["labels"][podtemplate.HASH_LABEL]
        selector = f"{of_deployment},{podtemplate.HASH_LABEL}={template_hash}"
        path = f"/api/v1/namespaces/{where.namespace}/pods"
        listed = await self._api.get(path, as_=OPERATOR, query={"labelSelector": selector})
        items: list[Object] = listed["items"]
        return items

    async def _unbound_claims(self, where: Where, deployment: Object, plan: Plan | None) -> tuple[str, ...]:
        if plan is None:
            return ()
        needed = podtemplate.needs(deployment["spec"]["template"])
        return await dependencies.unbound_claims(self._api, where.namespace, needed, where.account)


def effect(deployment: Object, source: Object, key: str, restart: datetime | None = None) -> list[Object]:
    """The one patch of a rollback: the template replaced by that of the ReplicaSet `source`, marked with `key`.

    A `test` on a revision number that only grows, on the whole template and on the mark of whoever came before makes a
    second or a late patch fail, even if somebody put the template back before the controller gave it a number. The
    resourceVersion would not do: status and autoscalers move it all the time.
    """
    metadata, template = (
        deployment["metadata"],
        podtemplate.restarted(podtemplate.without_hash(source["spec"]["template"]), restart),
    )
    return [
        {"op": "test", "path": "/metadata/uid", "value": metadata["uid"]},
        {"op": "test", "path": annotation_path(REVISION), "value": metadata["annotations"][REVISION]},
        {"op": "test", "path": "/spec/paused", "value": None},
        *going_back(deployment, template, source, key),
    ]


def _snapshot(deployment: Object, replica_sets: list[Object], health: Health) -> Snapshot:
    metadata, template = deployment["metadata"], deployment["spec"]["template"]
    history = sorted((_revision(one) for one in replica_sets), key=lambda one: one.order)
    number = _number(deployment) or "0"
    matching = _matching(deployment, replica_sets)
    reactivated = matching is not None and _was_gone_back_to(matching, replica_sets)
    marks = {annotations_of(one).get(REQUEST_ANNOTATION) for one in (deployment, *replica_sets)}
    return Snapshot(
        uid=metadata["uid"],
        generation=metadata["generation"],
        current=Revision(
            name=number,
            order=int(number),
            fingerprint=podtemplate.fingerprint(template),
            source="the Deployment",
            tags=podtemplate.moving_tags(template),
            created=created(matching) if matching else None,
        ),
        history=tuple(history),
        settled=fresh(deployment) and _number(deployment) is not None,
        health=health,
        obstacle=_obstacle(deployment),
        owners=recognised(deployment),
        marks=frozenset(mark for mark in marks if mark),
        unfinished=bool(ownership.held_by(FIELD_MANAGER, metadata.get("managedFields") or [])),
        raw=(deployment, replica_sets),
        changed=changed(deployment, replica_sets, None if reactivated else matching),
        reactivated=reactivated,
    )


def _was_gone_back_to(current: Object, replica_sets: list[Object]) -> bool:
    """Whether it was made for an earlier revision; the controller notes so as soon as it gives it a new number."""
    return EARLIER_NUMBERS in annotations_of(current) or any(_older(current, one) for one in replica_sets)


def _older(one: Object, other: Object) -> bool:
    """Whether `one` was made before `other`; of the same second, the lower number is the older one."""
    made, then = created(one), created(other)
    if made is None or then is None:
        return False
    return made < then or (made == then and int(annotations_of(one)[REVISION]) < int(annotations_of(other)[REVISION]))


def _matching(deployment: Object, replica_sets: list[Object]) -> Object | None:
    """The ReplicaSet of the Deployment's template; of several the oldest, as the controller has it."""
    template = podtemplate.without_hash(deployment["spec"]["template"])
    fitting = [one for one in replica_sets if podtemplate.without_hash(one["spec"]["template"]) == template]
    return min(
        fitting, key=lambda one: (one["metadata"].get("creationTimestamp", ""), one["metadata"]["name"]), default=None
    )


def _revision(replica_set: Object) -> Revision:
    template = replica_set["spec"]["template"]
    number = annotations_of(replica_set)[REVISION]
    return Revision(
        name=number,
        order=int(number),
        fingerprint=podtemplate.fingerprint(template),
        source=f"ReplicaSet {replica_set['metadata']['name']}",
        tags=podtemplate.moving_tags(template),
        created=created(replica_set),
    )


def _obstacle(deployment: Object) -> Obstacle | None:
    if not deployment["spec"].get("paused"):
        return None
    name = deployment["metadata"]["name"]
    message = (
        f"Deployment/{name} is paused, so a rollback would not reach its pods: nothing was changed. "
        f"Run kubectl rollout resume deployment/{name} and write a new request."
    )
    return Obstacle(Reason.TARGET_PAUSED, message)


def _rollout(deployment: Object) -> Health:
    """The rules of `kubectl rollout status`."""
    spec, status = deployment["spec"], deployment.get("status") or {}
    wanted = spec.get("replicas", 1)
    new, all_, ready = (status.get(key, 0) for key in ("updatedReplicas", "replicas", "availableReplicas"))
    if not fresh(deployment):
        return Health(Wellbeing.PROGRESSING, "the Deployment controller has not seen the change yet")
    if new < wanted:
        return Health(Wellbeing.PROGRESSING, f"{new} of {wanted} pods are updated")
    if all_ > new:
        return Health(Wellbeing.PROGRESSING, f"{all_ - new} old pods are still ending")
    if ready < new:
        return Health(Wellbeing.PROGRESSING, f"{ready} of {wanted} pods are available")
    return Health(Wellbeing.HEALTHY, f"{wanted} of {wanted} pods are updated and available")


def _stuck(deployment: Object) -> bool:
    """Whether some new pods are there that are not available: only then do they have a reason to tell."""
    status = deployment.get("status") or {}
    return bool(status.get("unavailableReplicas"))


def _timed_out(deployment: Object) -> str | None:
    """What the controller says of a rollout that exceeded its progress deadline, if it has seen the latest change."""
    if not fresh(deployment):
        return None
    for condition in (deployment.get("status") or {}).get("conditions") or []:
        if condition["type"] == "Progressing" and condition.get("reason") == TIMED_OUT:
            return condition.get("message") or "the rollout exceeded its progress deadline"
    return None


def _of_revision(replica_sets: list[Object], number: str) -> Object:
    return next(one for one in replica_sets if annotations_of(one)[REVISION] == number)


def _by_fingerprint(replica_sets: list[Object], plan: Plan) -> Object:
    """The ReplicaSet of the plan's revision.

    Raises:
        kube.errors.NotFound: it was removed meanwhile.
    """
    fitting = [one for one in replica_sets if podtemplate.fingerprint(one["spec"]["template"]) == plan.to.fingerprint]
    numbered = [one for one in fitting if annotations_of(one)[REVISION] == plan.to.revision]
    if not fitting:
        raise errors.NotFound(f"ReplicaSet of revision {plan.to.revision} is gone")
    return (numbered or fitting)[0]


def _number(thing: Object) -> str | None:
    """The revision that the Deployment controller gave it; what else people write there is none."""
    number = annotations_of(thing).get(REVISION, "")
    return number if _NUMBER.fullmatch(number) else None


def _path(where: Where) -> str:
    return f"/apis/apps/v1/namespaces/{where.namespace}/deployments/{where.name}"
