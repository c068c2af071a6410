"""What StatefulSets and DaemonSets have in common: their history is in ControllerRevisions.

A ControllerRevision holds the pod template of one release, as the patch that `kubectl rollout undo` sends. Its number
grows with each release; that of a template that was gone back to becomes the newest one. The number is not on the
object itself, so the effect holds on to the object's generation, which grows with every change of what is asked for.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Hashable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from rollback_operator.api import REQUEST_ANNOTATION
from rollback_operator.api.request import Phase, Plan
from rollback_operator.core.owners import recognised
from rollback_operator.core.values import Findings, Health, Revision, Snapshot, Wellbeing
from rollback_operator.kube import errors
from rollback_operator.kube.access import Right
from rollback_operator.kube.client import FIELD_MANAGER, Api
from rollback_operator.kube.identity import OPERATOR
from rollback_operator.targets import comparing, dependencies, manifests, ownership, pods, podtemplate
from rollback_operator.targets.base import Kept, Watched, Where
from rollback_operator.targets.effects import going_back, restart_of
from rollback_operator.targets.metadata import annotations_of, changed, controller, created, fresh

POD_LABEL = "controller-revision-hash"
"""On a pod: the ControllerRevision that it was made from."""
ON_DELETE = "OnDelete"
_REPLACE = "$patch"

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Reading:
    """A set and its ControllerRevisions.

    `pods`: its pods, where it waits for some of them. `in_the_way`: those that it waits for in vain.
    """

    body: Object
    records: list[Object]
    pods: tuple[Object, ...] = ()
    in_the_way: tuple[Object, ...] = ()


class ControllerRevisionTarget(ABC):
    """Rolls back a kind of set whose history is ControllerRevisions."""

    kind: str

    def __init__(self, api: Api) -> None:
        self._api = api

    # What a kind adds.

    @abstractmethod
    def _rollout(self, body: Object) -> Health:
        """How far all pods are with what is asked for, by the counts of the status."""

    @abstractmethod
    def _pod_label(self, record: Object) -> str:
        """What the pods of a ControllerRevision have as `POD_LABEL`."""

    @abstractmethod
    def _staged(self, body: Object) -> Health:
        """How far those pods are that a change reaches by itself: the rules of `kubectl rollout status`."""

    def _notes(self, where: Where, body: Object) -> tuple[str, ...]:  # noqa: ARG002 - others look at more
        """What the reader of a plan should know of how the change will reach the pods."""
        if on_delete(body):
            note = "updateStrategy is OnDelete: pods keep what they run until somebody deletes them"
            return (f"{note}. Only those that have the old template by then are waited for.",)
        return ()

    # The protocol.

    @property
    def watched(self) -> Watched:
        """See `Target.watched`."""
        return Watched("apps", "v1", self._plural)

    def told(self, body: Object) -> Hashable:
        """See `Target.told`. How many pods are up on the way there is not worth a look."""
        metadata = body["metadata"]
        states = self._rollout(body).state, self._staged(body).state
        return metadata["uid"], metadata["generation"], fresh(body), states

    def version(self, body: Object) -> Hashable:
        """See `Target.version`. The controller numbers the revision before it says that it has seen the change."""
        return body["metadata"]["uid"], body["metadata"]["generation"], fresh(body)

    def rights(self, where: Where) -> tuple[Right, ...]:
        """See `Target.rights`."""
        return (Right("patch", "apps", self._plural, where.namespace, where.name),)

    async def observe(self, where: Where, phase: Phase | None, plan: Plan | None) -> Snapshot | None:
        """See `Target.observe`. Two calls, and more for the pods while a rollback is verified."""
        body = await dependencies.read(self._api, self._path(where), OPERATOR)
        if body is None:
            return None
        reading = Reading(body, await self._records(where, body))
        if phase is Phase.VERIFYING and plan is not None:
            return await self._verified(where, self._snapshot(reading, self._staged(body)), plan)
        return self._snapshot(reading, self._rollout(body))

    async def examine(self, where: Where, target: Snapshot, to: Revision) -> Findings:
        """See `Target.examine`."""
        reading: Reading = target.raw
        templates = (reading.body["spec"]["template"], template_of(_record(reading, to)))
        found = await comparing.findings(self._api, where, target, to, templates)
        return replace(found, notes=(*self._notes(where, reading.body), *found.notes))

    def refers_to(self, target: Snapshot, of: Revision | None = None) -> tuple[podtemplate.Need, ...]:
        """See `Configured.refers_to`."""
        reading: Reading = target.raw
        if of is None:
            return podtemplate.refers_to(reading.body["spec"]["template"])
        return podtemplate.refers_to(template_of(_record(reading, of)))

    async def backup(self, where: Where, target: Snapshot, to: str) -> Kept:  # noqa: ARG002 - the protocol's
        """See `Target.backup`. It was read already."""
        return Kept((manifests.bare(target.raw.body),))

    async def apply(self, where: Where, target: Snapshot, plan: Plan, key: str, *, dry_run: bool = False) -> None:
        """See `Target.apply`. One JSON patch: either all of it happens, or nothing."""
        reading: Reading = target.raw
        patch = effect(reading.body, _by_fingerprint(reading.records, plan), key, restart_of(plan))
        await self._api.patch(self._path(where), patch, as_=where.account, dry_run=dry_run)

    async def finish(self, where: Where, target: Snapshot) -> None:
        """See `Target.finish`. Gives fields back: changes nothing but `metadata.managedFields`."""
        patch = ownership.giving_back(FIELD_MANAGER, target.raw.body["metadata"]["managedFields"])
        await self._api.patch(self._path(where), patch, as_=where.account, field_manager=f"{FIELD_MANAGER}-give-back")

    async def pods(self, where: Where) -> list[Object]:
        """See `Target.pods`."""
        body = await dependencies.read(self._api, self._path(where), OPERATOR)
        if body is None:
            return []
        current = current_of(body, await self._records(where, body))
        return [] if current is None else await self._pods_of(where, body, current)

    async def stuck(self, where: Where) -> str | None:
        """See `Target.stuck`. The controllers of sets set a rollout no deadline, so they never say so."""
        await self._api.get(self._path(where), as_=OPERATOR)
        return None

    # Inside.

    @property
    def _plural(self) -> str:
        return f"{self.kind.lower()}s"

    def _path(self, where: Where) -> str:
        return f"/apis/apps/v1/namespaces/{where.namespace}/{self._plural}/{where.name}"

    async def _records(self, where: Where, body: Object) -> list[Object]:
        """The ControllerRevisions of the set, oldest number first."""
        path = f"/apis/apps/v1/namespaces/{where.namespace}/controllerrevisions"
        listed = await self._api.get(path, as_=OPERATOR, query={"labelSelector": _selector(body)})
        uid = body["metadata"]["uid"]
        return sorted((one for one in listed["items"] if controller(one) == uid), key=lambda one: int(one["revision"]))

    async def _pods_of(self, where: Where, body: Object, record: Object) -> list[Object]:
        return await self._selected(where, body, f"{_selector(body)},{POD_LABEL}={self._pod_label(record)}")

    async def _all_pods(self, where: Where, body: Object) -> list[Object]:
        return await self._selected(where, body, _selector(body))

    async def _selected(self, where: Where, body: Object, selector: str) -> list[Object]:
        path = f"/api/v1/namespaces/{where.namespace}/pods"
        listed = await self._api.get(path, as_=OPERATOR, query={"labelSelector": selector})
        return [one for one in listed["items"] if controller(one) == body["metadata"]["uid"]]

    async def _verified(self, where: Where, target: Snapshot, plan: Plan) -> Snapshot:  # noqa: ARG002 - others look at it
        """`target` with what its pods themselves say."""
        reading: Reading = target.raw
        current = current_of(reading.body, reading.records)
        if current is None:
            return target
        needed = podtemplate.needs(reading.body["spec"]["template"])
        listed, unbound = await asyncio.gather(
            self._pods_of(where, reading.body, current),
            dependencies.unbound_claims(self._api, where.namespace, needed, where.account),
        )
        rollout = _standing(target.health, listed) if on_delete(reading.body) else target.health
        return replace(target, health=pods.judge(rollout, listed, unbound))

    def _snapshot(self, reading: Reading, health: Health) -> Snapshot:
        body, records = reading.body, reading.records
        metadata, template = body["metadata"], body["spec"]["template"]
        current = current_of(body, records)
        reactivated = current is not None and any(_older(current, one) for one in records)
        number = int(current["revision"]) if current else 0  # the newest one, or the list is older than the object
        marks = {annotations_of(one).get(REQUEST_ANNOTATION) for one in (body, *records)}
        return Snapshot(
            uid=metadata["uid"],
            generation=metadata["generation"],
            current=Revision(
                name=str(number),
                order=number,
                fingerprint=podtemplate.fingerprint(template),
                source=f"the {self.kind}",
                tags=podtemplate.moving_tags(template),
                created=created(current) if current else None,
            ),
            history=tuple(_revision(one) for one in records),
            settled=fresh(body) and current is not None and current is records[-1],
            health=health,
            marks=frozenset(mark for mark in marks if mark),
            unfinished=held(body),
            owners=recognised(body),
            raw=reading,
            changed=changed(body, records, None if reactivated else current),
            reactivated=reactivated,
        )


def effect(body: Object, source: Object, key: str, restart: datetime | None = None) -> list[Object]:
    """The one patch of a rollback: the template replaced by that of the ControllerRevision `source`, marked with `key`.

    A `test` on the generation, which only grows and which the effect itself moves, makes a second or a late patch
    fail, whatever was put back meanwhile, mark and template included. An autoscaler of a StatefulSet moves it too:
    then the effect is made a moment later, on what stands by then.
    """
    metadata = body["metadata"]
    return [
        {"op": "test", "path": "/metadata/uid", "value": metadata["uid"]},
        {"op": "test", "path": "/metadata/generation", "value": metadata["generation"]},
        *going_back(body, podtemplate.restarted(template_of(source), restart), source, key),
    ]


def _record(reading: Reading, of: Revision) -> Object:
    return next(one for one in reading.records if str(one["revision"]) == of.name)


def template_of(record: Object) -> Object:
    """The pod template that a ControllerRevision holds."""
    template = record["data"]["spec"]["template"]
    return podtemplate.without_hash({name: value for name, value in template.items() if name != _REPLACE})


def current_of(body: Object, records: list[Object]) -> Object | None:
    """The ControllerRevision of the set's template; of several the newest, as the controllers have it."""
    template = podtemplate.without_hash(body["spec"]["template"])
    return next((one for one in reversed(records) if template_of(one) == template), None)


def held(body: Object) -> bool:
    """Whether fields are recorded as the operator's own."""
    return bool(ownership.held_by(FIELD_MANAGER, body["metadata"].get("managedFields") or []))


def is_ready(pod: Object) -> bool:
    """Whether the kubelet says so."""
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def on_delete(body: Object) -> bool:
    """Whether pods get the template only when somebody deletes them."""
    return bool((body["spec"].get("updateStrategy") or {}).get("type") == ON_DELETE)


def _standing(seen: Health, listed: list[Object]) -> Health:
    """With OnDelete: how those pods do that have the template; the others have it once somebody deletes them."""
    if seen.state is not Wellbeing.HEALTHY:
        return seen
    there = [one for one in listed if not one["metadata"].get("deletionTimestamp")]
    ready = sum(is_ready(one) for one in there)
    message = f"{ready} of {len(there)} pods that have its template are ready"
    if ready < len(there):
        return Health(Wellbeing.PROGRESSING, message)
    return Health(Wellbeing.HEALTHY, f"{message}; {seen.message}")


def _selector(body: Object) -> str:
    return dependencies.label_selector(body["spec"]["selector"])


def _older(one: Object, other: Object) -> bool:
    """Whether `one` was made before `other`; of the same second, the lower number is the older one."""
    made, then = created(one), created(other)
    if made is None or then is None:
        return False
    return made < then or (made == then and int(one["revision"]) < int(other["revision"]))


def _revision(record: Object) -> Revision:
    template = template_of(record)
    return Revision(
        name=str(record["revision"]),
        order=int(record["revision"]),
        fingerprint=podtemplate.fingerprint(template),
        source=f"ControllerRevision {record['metadata']['name']}",
        tags=podtemplate.moving_tags(template),
        created=created(record),
    )


def _by_fingerprint(records: list[Object], plan: Plan) -> Object:
    """The ControllerRevision of the plan's revision.

    Raises:
        kube.errors.NotFound: it was removed meanwhile.
    """
    fitting = [one for one in records if podtemplate.fingerprint(template_of(one)) == plan.to.fingerprint]
    numbered = [one for one in fitting if str(one["revision"]) == plan.to.revision]
    if not fitting:
        raise errors.NotFound(f"ControllerRevision of revision {plan.to.revision} is gone")
    return (numbered or fitting)[0]
