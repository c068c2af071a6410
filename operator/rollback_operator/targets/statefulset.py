"""StatefulSets: the old template, and the pods that would hold it up for ever.

With the pod management policy OrderedReady the controller waits until every pod is ready before it replaces one: also
for the pod that will never be, because of a release that was rolled back (kubernetes#67250). Once the template is
back, such pods are deleted: those of releases that came after the one that was gone back to, that are not ready, and
that the update strategy lets change. The one that broke them need not be the last: a fix that was released on top of it
waited for them, too.

If the template was set back by others already (`kubectl rollout undo`), these pods are all that is left to deal with.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from rollback_operator.api.reasons import Reason
from rollback_operator.api.request import Phase, Plan
from rollback_operator.core.values import Findings, Health, HeldUp, Obstacle, Revision, Snapshot, Wellbeing
from rollback_operator.kube import access, errors
from rollback_operator.kube.access import Right
from rollback_operator.targets import podtemplate
from rollback_operator.targets.base import Where
from rollback_operator.targets.controllerrevisions import (
    POD_LABEL,
    ControllerRevisionTarget,
    Reading,
    current_of,
    held,
    is_ready,
    on_delete,
    template_of,
)
from rollback_operator.targets.metadata import fresh

ORDERED = "OrderedReady"

Object = dict[str, Any]


class StatefulSetTarget(ControllerRevisionTarget):
    """Rolls StatefulSets back, and frees those that wait for a pod which does not get ready."""

    kind = "StatefulSet"

    async def observe(self, where: Where, phase: Phase | None, plan: Plan | None) -> Snapshot | None:
        """See `Target.observe`. Before an effect, one call more if the set is not rolled out."""
        seen = await super().observe(where, phase, plan)
        if seen is None or phase in (Phase.RUNNING, Phase.VERIFYING):
            return seen
        seen = replace(seen, raw=replace(seen.raw, pods=await self._pods_of_unfinished(where, seen)))
        return replace(seen, held_up=self._held_up(where, seen))

    async def examine(self, where: Where, target: Snapshot, to: Revision) -> Findings:
        """See `Target.examine`."""
        found = await super().examine(where, target, to)
        body = target.raw.body
        if target.held_up is not None and to.fingerprint == target.current.fingerprint:
            return await self._freeing(where, target, found)
        if not _waits_in_order(body):
            return found
        bad = f"pods of {self._bad_revisions(target, to)} that are not ready"
        if not _may_free(where):
            note = f"freeStuckPods is off: the StatefulSet waits for {bad} until somebody deletes them."
            return replace(found, notes=(note, *found.notes))
        broken = (one for one in target.raw.pods if not is_ready(one))
        lacking = await access.first_lacking(self._api, _deleting(where, broken), where.account)
        if lacking is not None:
            note = f"Service account {where.account} may not {lacking}: the StatefulSet would wait for {bad}."
            found = replace(found, notes=(note, *found.notes))
        return replace(found, steps=(*found.steps, f"Then delete {bad}: the StatefulSet would wait for them."))

    async def finish(self, where: Where, target: Snapshot) -> None:
        """See `Target.finish`. Gives fields back; when that is done or given up, deletes the pods that are in the way.

        A pod is deleted just as it was seen: one that got ready meanwhile stays.
        """
        reading: Reading = target.raw
        if held(reading.body) and not target.freeing:
            await super().finish(where, target)
            return
        for pod in reading.in_the_way:
            metadata = pod["metadata"]
            path = f"/api/v1/namespaces/{where.namespace}/pods/{metadata['name']}"
            with contextlib.suppress(errors.NotFound):
                await self._api.delete(
                    path, as_=where.account, uid=metadata["uid"], version=metadata["resourceVersion"]
                )

    async def _freeing(self, where: Where, target: Snapshot, found: Findings) -> Findings:
        """What it means to delete the pods that hold it up, and nothing else."""
        held = target.held_up
        assert held is not None
        steps = (f"Delete {held.pods}: the StatefulSet waits for what is not ready.",)
        deleting = _deleting(where, self._waited_for(target.raw))
        lacking = await access.first_lacking(self._api, deleting, where.account)
        if lacking is None:
            return replace(found, steps=steps)
        message = (
            f"Service account {where.account} may not {lacking}, and the StatefulSet waits for {held.pods}, not ready: "
            "nothing was changed. Give it the right (examples/rbac.yaml shows it), or delete by hand what is not ready."
        )
        return replace(found, steps=steps, obstacle=Obstacle(Reason.FORBIDDEN, message))

    def _pod_label(self, record: Object) -> str:
        name: str = record["metadata"]["name"]
        return name

    def _notes(self, where: Where, body: Object) -> tuple[str, ...]:
        kept = _kept_back(body)
        if not kept:
            return super()._notes(where, body)
        first = _first(body)
        which = f"pods {first} to {first + kept - 1}" if kept > 1 else f"pod {first}"
        return (f"The partition of the update strategy leaves {which} unchanged.",)

    def _rollout(self, body: Object) -> Health:
        return _counted(body, _replicas(body))

    def _staged(self, body: Object) -> Health:
        due = _replicas(body) - _kept_back(body)
        if not on_delete(body) or not fresh(body):
            return _counted(body, due)
        new = (body.get("status") or {}).get("updatedReplicas", 0)
        return Health(Wellbeing.HEALTHY, f"{new} of {due} pods are updated, others once somebody deletes them")

    async def _verified(self, where: Where, target: Snapshot, plan: Plan) -> Snapshot:
        target = await super()._verified(where, target, plan)
        found = await self._stuck_pods(where, target, plan)
        if not found:
            return target
        reading: Reading = target.raw
        health = target.health
        waits = f"{health.message}; it waits for {_named(found, reading.records)}, not ready"
        bad = found if plan.frees else self._of(found, _rolled_back(reading, plan))
        if not bad:  # nothing is known against a release before the one that was gone back to
            return replace(target, health=replace(health, message=f"{waits}: delete it by hand if it stays so"))
        if not _may_free(where):
            waits = f"{waits}: delete it by hand (freeStuckPods is off)"
            return replace(target, health=Health(Wellbeing.FAILING, waits))
        free = not target.unfinished
        seen = replace(target, health=replace(health, message=waits), raw=replace(reading, in_the_way=bad))
        return replace(seen, unfinished=True, freeing=free, obstructed=True)

    async def _stuck_pods(self, where: Where, target: Snapshot, plan: Plan) -> tuple[Object, ...]:
        """Pods that are not ready, and that a controller with the old template waits for."""
        if target.current.fingerprint != plan.to.fingerprint:
            return ()
        reading = replace(target.raw, pods=await self._pods_of_unfinished(where, target))
        if plan.frees:
            return self._waited_for(reading)
        others, reached = self._labels_of_others(reading), _reached(reading.body)
        return tuple(one for one in reading.pods if not is_ready(one) and _in_vain(one, others, reached))

    def _bad_revisions(self, target: Snapshot, to: Revision) -> str:
        """What is rolled back: the current revision, and earlier ones of which there are pods still."""
        reading: Reading = target.raw
        record = next(one for one in reading.records if str(one["revision"]) == to.name)
        later = _released_after(reading.records, to.order, podtemplate.fingerprint(template_of(record)))
        numbers = {target.current.order, *(int(one["revision"]) for one in later if self._of(reading.pods, [one]))}
        *others, last = (str(one) for one in sorted(numbers))
        return f"revisions {', '.join(others)} and {last}" if others else f"revision {last}"

    def _of(self, pods: tuple[Object, ...], records: list[Object]) -> tuple[Object, ...]:
        """Those of the pods that were made from one of the records."""
        labels = {self._pod_label(one) for one in records}
        return tuple(one for one in pods if one["metadata"]["labels"].get(POD_LABEL) in labels)

    def _held_up(self, where: Where, target: Snapshot) -> HeldUp | None:
        reading: Reading = target.raw
        found = self._waited_for(reading)
        if not found:
            return None
        newest = [one for one in reading.records if self._of(found, [one])][-1]
        by = next(one for one in target.history if one.name == str(newest["revision"]))
        return HeldUp(by, _named(found, reading.records), not _may_free(where))

    async def _pods_of_unfinished(self, where: Where, target: Snapshot) -> tuple[Object, ...]:
        """The pods of a set that waits in order and is not rolled out; of another they do not matter."""
        body = target.raw.body
        rolled_out = self._staged(body).state is Wellbeing.HEALTHY
        if not target.settled or rolled_out or not _waits_in_order(body):
            return ()
        return tuple(await self._all_pods(where, body))

    def _waited_for(self, reading: Reading) -> tuple[Object, ...]:
        """Pods of other revisions than the current one that are not ready, if they alone are waited for.

        None if the set makes progress, or if deleting them would not help: another pod is going, or not ready either.
        """
        broken = tuple(one for one in reading.pods if one["metadata"].get("deletionTimestamp") or not is_ready(one))
        others, reached = self._labels_of_others(reading), _reached(reading.body)
        return broken if all(_in_vain(one, others, reached) for one in broken) else ()

    def _labels_of_others(self, reading: Reading) -> set[str]:
        """What the pods of all revisions but the current one have as their label."""
        current = current_of(reading.body, reading.records)
        return {self._pod_label(one) for one in reading.records if one is not current}


def _rolled_back(reading: Reading, plan: Plan) -> list[Object]:
    """The records of what a plan goes away from: also of the same template, where all pods are started anew."""
    left = {plan.from_.fingerprint}
    if plan.configuration is not None and plan.configuration.restart:
        left.add(plan.to.fingerprint)
    later = _released_after(reading.records, int(plan.to.revision), plan.to.fingerprint)
    current = current_of(reading.body, reading.records)
    others = [one for one in reading.records if one is not current]
    return [one for one in others if one in later or podtemplate.fingerprint(template_of(one)) in left]


def _released_after(records: list[Object], number: int, fingerprint: str) -> list[Object]:
    """The records of what was released after that revision, and is another template than its."""
    later = [one for one in records if int(one["revision"]) > number]
    return [one for one in later if podtemplate.fingerprint(template_of(one)) != fingerprint]


def _in_vain(pod: Object, others: set[str], reached: int) -> bool:
    """Whether a pod that is not ready would be replaced by the controller if it only got ready."""
    metadata = pod["metadata"]
    replaced = metadata["labels"].get(POD_LABEL) in others and _ordinal(pod) >= reached
    return replaced and not metadata.get("deletionTimestamp")


def _counted(body: Object, due: int) -> Health:
    """The rules of `kubectl rollout status`, for so many pods that are to be updated."""
    status, wanted = body.get("status") or {}, _replicas(body)
    new, available = status.get("updatedReplicas", 0), status.get("availableReplicas", 0)
    if not fresh(body):
        return Health(Wellbeing.PROGRESSING, "the StatefulSet controller has not seen the change yet")
    if new < due:
        return Health(Wellbeing.PROGRESSING, f"{new} of {due} pods are updated")
    if available < wanted:
        return Health(Wellbeing.PROGRESSING, f"{available} of {wanted} pods are available")
    if due < wanted:
        return Health(Wellbeing.HEALTHY, f"{due} of {wanted} pods are updated (partition), all are available")
    return Health(Wellbeing.HEALTHY, f"{wanted} of {wanted} pods are updated and available")


def _waits_in_order(body: Object) -> bool:
    """Whether one pod that is not ready keeps the controller from replacing any."""
    return body["spec"].get("podManagementPolicy", ORDERED) == ORDERED and not on_delete(body)


def _may_free(where: Where) -> bool:
    return where.options.stateful_set.free_stuck_pods


def _deleting(where: Where, pods: Iterable[Object]) -> list[Right]:
    """To delete these pods; where there are none yet, any."""
    names = [str(one["metadata"]["name"]) for one in pods] or [""]
    return [Right("delete", "", "pods", where.namespace, name) for name in names]


def _replicas(body: Object) -> int:
    return int(body["spec"].get("replicas", 1))


def _kept_back(body: Object) -> int:
    """How many pods, from the first one, the partition keeps as they are."""
    strategy = body["spec"].get("updateStrategy") or {}
    partition = (strategy.get("rollingUpdate") or {}).get("partition") or 0
    return 0 if on_delete(body) else min(int(partition), _replicas(body))


def _reached(body: Object) -> int:
    """The first ordinal that the update strategy lets change."""
    return _first(body) + _kept_back(body)


def _first(body: Object) -> int:
    return int((body["spec"].get("ordinals") or {}).get("start", 0))


def _ordinal(pod: Object) -> int:
    return int(pod["metadata"]["name"].rpartition("-")[2])


def _named(pods: tuple[Object, ...], records: list[Object]) -> str:
    """The pods by their names, together with the revision that they have."""
    numbers = {one["metadata"]["name"]: int(one["revision"]) for one in records}
    named: dict[int, list[str]] = {}
    for pod in pods:
        number = numbers[pod["metadata"]["labels"][POD_LABEL]]
        named.setdefault(number, []).append(f"pod {pod['metadata']['name']}")
    return " and ".join(f"{', '.join(sorted(names))} of revision {number}" for number, names in sorted(named.items()))
