"""Releases of Helm as a kind of target: read from their records, changed by Helm itself, behind a door."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from rollback_operator.api.fields import parse_duration
from rollback_operator.api.options import Force
from rollback_operator.api.reasons import Reason
from rollback_operator.api.request import Phase, Plan
from rollback_operator.core.backups import RECORD
from rollback_operator.core.half import half_of
from rollback_operator.core.values import Findings, Health, Obstacle, Revision, Snapshot, Wellbeing
from rollback_operator.kube import errors
from rollback_operator.kube.access import Right
from rollback_operator.kube.client import Api
from rollback_operator.lately import Lately
from rollback_operator.targets.base import Kept, Target, Where
from rollback_operator.targets.helm import manifest, records
from rollback_operator.targets.helm.effect import told
from rollback_operator.targets.helm.health import Workloads
from rollback_operator.targets.helm.manifest import ManifestError, Name
from rollback_operator.targets.helm.objects import NO_HOOKS, Changes, Hooks
from rollback_operator.targets.helm.records import Record, UnreadableError
from rollback_operator.targets.helm.remains import with_remains
from rollback_operator.targets.helm.rollback import Means, Rollback, going_forward
from rollback_operator.targets.helm.standing import Standing, standing_of
from rollback_operator.targets.helm.store import Store, Stored
from rollback_operator.targets.manifests import bare

_CLEAR_FOR = 60.0
"""Seconds for which what was made sure of holds: an attempt has to be begun within seconds, so one that took too long
to look would be followed by others that do."""
KEEPS = "Older ones are removed by Helm's --history-max (10, unless said otherwise)."

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Move:
    """Two revisions: what the one that is gone back to holds, the objects of both, and what changes.

    `lost`: CustomResourceDefinitions that going there deletes.
    """

    then: Object
    before: dict[Name, Object]
    after: dict[Name, Object]
    changes: Changes
    lost: tuple[str, ...]


class HelmTarget:
    """Rolls releases of Helm back; history is their records."""

    kind = "Helm"
    watched = None

    def __init__(self, api: Api, program: str, workloads: Mapping[str, Target]) -> None:
        """`program`: path of Helm; `workloads`: what tells how the things that a release runs do."""
        self._api = api
        self._store = Store(api)
        self._means = Means(api, self._store, program)
        self._workloads = Workloads(workloads)
        self._clear = Lately(_CLEAR_FOR)

    def told(self, body: Object) -> Hashable:
        """See `Target.told`. No event tells of a release."""
        return str(body["metadata"]["uid"])

    def version(self, body: Object) -> Hashable:
        """See `Target.version`."""
        return str(body["metadata"]["uid"])

    def rights(self, where: Where) -> tuple[Right, ...]:
        """See `Target.rights`. What the chart's objects take is asked for when the revision is known."""
        verbs = ("list", "get", "create", "update", *(("delete",) if where.options.helm.history_max else ()))
        return tuple(Right(verb, "", "secrets", where.namespace, "") for verb in verbs)

    async def observe(self, where: Where, phase: Phase | None, plan: Plan | None) -> Snapshot | None:
        """See `Target.observe`. One call as long as no record changes; its workloads when a rollback is verified."""
        if not records.is_release_name(where.name):
            return None
        verifying = phase is Phase.VERIFYING
        standing = await self._standing(where, verifying=verifying)
        if standing.current is None:
            return None
        health = await self._health(where, standing) if verifying else Health(Wellbeing.PROGRESSING, "not looked at")
        return _snapshot(where, standing, health, plan if verifying else None)

    async def wellbeing(self, where: Where, target: Snapshot) -> Health:
        """See `Composed.wellbeing`."""
        return await self._health(where, target.raw)

    async def _standing(self, where: Where, *, verifying: bool = False) -> Standing:
        found = await self._store.records(where)
        patience = parse_duration(where.options.helm.pending_after)
        return standing_of(found, datetime.now(UTC), patience, verifying=verifying)

    async def _health(self, where: Where, standing: Standing) -> Health:
        """What Helm says of the newest revision; if that is well, what its workloads say."""
        current = standing.current
        assert current is not None
        if current.trouble:
            return Health(Wellbeing.FAILING, f"the record of revision {current.number} cannot be read", final=True)
        if current.pending:
            if standing.busy:
                return Health(Wellbeing.PROGRESSING, f"Helm is at work ({current.status})")
            said = "whoever rolled it back is gone, and it may be half done"
            return Health(Wellbeing.FAILING, said, final=True)
        if standing.in_parts:
            return Health(Wellbeing.FAILING, "a rollback of it broke off, so it may stand in parts only")
        if current.status != records.DEPLOYED:
            said = told(current.description) or current.status  # Helm's own words, with what the API server quoted
            return Health(Wellbeing.FAILING, f"Helm says: {said}", final=True)
        return await self._workloads.health(where, list(await self._things(where, current)))

    async def _things(self, where: Where, record: Record | None) -> dict[Name, Object]:
        """The objects of a revision; none if nobody can tell, or if there is no such revision."""
        try:
            return {} if record is None else await _objects((await self._store.read(where, record)).release)
        except (UnreadableError, ManifestError, errors.NotFound):
            return {}

    async def examine(self, where: Where, target: Snapshot, to: Revision) -> Findings:
        """See `Target.examine`."""
        standing: Standing = target.raw
        rollback = Rollback(self._means, where, standing, to.name)
        try:
            move = await self._move(where, standing, to.name)
        except (UnreadableError, ManifestError, errors.NotFound) as error:
            return Findings((), "", obstacle=_unreadable(where, to.name, str(error)))
        obstacle = _in_the_way(where, to.name, move)
        if obstacle is not None:
            return Findings((), "", obstacle=obstacle)
        lacking = await move.changes.first_lacking()
        if lacking is not None:
            return Findings((), "", obstacle=_may_not(where, to.name, lacking))
        self._clear.note(_sure(where, standing, to.name))
        return Findings(
            steps=tuple(rollback.steps(move.then)),
            diff=await asyncio.to_thread(
                manifest.difference,
                move.before,
                move.after,
                target.uid,
                (f"revision {target.current.name} (now)", f"revision {to.name} (after)"),
            ),
            notes=(*rollback.notes(), *_deletes(move.lost)),
            warning=rollback.warning(),
            affected=tuple(dict.fromkeys(str(name) for name in (*move.before, *move.after))),
        )

    async def _move(self, where: Where, standing: Standing, to: str) -> Move:
        """What the newest revision and that of number `to` hold.

        Raises:
            UnreadableError, ManifestError: nobody can tell.
            kube.errors.NotFound: one of them is gone.
        """
        assert standing.newest is not None
        there = standing.numbered(to)
        if there is None:
            raise errors.NotFound(f"revision {to} is gone")
        stands, goes = await asyncio.gather(self._newest(where, standing), self._store.read(where, there))
        then = goes.release
        before, after = await _objects(stands.release), await _objects(then)
        hooks = await asyncio.to_thread(_hooks, then) if where.options.helm.hooks else NO_HOOKS
        changes = Changes(self._api, where, before, after, hooks)
        return Move(then, before, after, changes, await changes.lost_definitions())

    async def _newest(self, where: Where, standing: Standing) -> Stored:
        """The newest record, as it is when it is rolled back from: an attempt that broke off names what it left.

        Raises:
            UnreadableError, kube.errors.NotFound: nobody can tell.
        """
        assert standing.newest is not None
        stored = await self._store.read(where, standing.newest)
        if standing.mend is None or standing.mend.request is None:
            return stored
        text = await with_remains(self._api, self._store, where, standing.records, stored.release)
        return replace(stored, release={**stored.release, "manifest": text})

    async def backup(self, where: Where, target: Snapshot, to: str) -> Kept | None:
        """See `Target.backup`. The objects as they are now, and the release's record with the values it was given.

        Of those of `to` alone, too, if they are there: somebody made them, or Helm was told to keep them.
        Helm brings them back: to replace them would neither make those anew that the rollback deletes nor delete those
        that it makes, and Helm would not know of it.
        """
        standing: Standing = target.raw
        assert standing.current is not None
        try:
            stored, things = await asyncio.gather(
                self._newest(where, standing), self._things(where, standing.numbered(to))
            )
            live = await Changes(self._api, where, things | await _objects(stored.release), {}).live()
            if standing.current is not standing.newest:
                stored = await self._store.read(where, standing.current)
        except (UnreadableError, ManifestError, errors.NotFound):
            return None
        record = bare({"apiVersion": "v1", "kind": "Secret", **stored.secret})
        return Kept(tuple(map(bare, live)), {RECORD: record}, going_forward(where, standing.current))

    async def apply(self, where: Where, target: Snapshot, plan: Plan, key: str, *, dry_run: bool = False) -> None:
        """See `Target.apply`. Returns when Helm is done, which its hooks may make a matter of minutes."""
        seen: Standing = target.raw
        standing = await self._standing(where)
        if _shape(standing) != _shape(seen):
            raise errors.Conflict(f"release {where.name} was changed after it was looked at")
        to = _target_of(standing, plan)
        rollback = Rollback(self._means, where, standing, str(to.number))
        if dry_run:
            move = await self._cleared(where, standing, to)
            if records.is_applied(move.then):
                await move.changes.rehearse("helm", force=where.options.helm.force is Force.CONFLICTS)
            await rollback.rehearse(key)
            return
        sure = _sure(where, standing, str(to.number))
        if not self._clear.has(sure):
            await self._cleared(where, standing, to)
            self._clear.note(sure)
        await rollback.make(key)

    async def _cleared(self, where: Where, standing: Standing, to: Record) -> Move:
        """Make sure of all that can be made sure of before Helm is started. Of a large release it takes its time.

        Raises:
            kube.errors.Forbidden, Invalid: it would not work.
        """
        try:
            move = await self._move(where, standing, str(to.number))
        except (UnreadableError, ManifestError) as error:
            raise errors.Invalid(_unreadable(where, str(to.number), str(error)).message) from error
        obstacle = _in_the_way(where, str(to.number), move)
        if obstacle is not None:
            raise errors.Invalid(obstacle.message)
        await self._may(where, move.changes)
        return move

    async def _may(self, where: Where, changes: Changes) -> None:
        """Make sure that the account may do all that Helm will do: a rollback that stops half-way helps nobody.

        Raises:
            kube.errors.Forbidden: it may not.
        """
        lacking = await changes.first_lacking()
        if lacking is not None:
            group = f' in API group "{lacking.group}"'
            raise errors.Forbidden(
                f'{lacking.resource} "{lacking.name}" is forbidden: User "{where.account.user}" cannot {lacking.verb} '
                f'resource "{lacking.resource}"{group} in the namespace "{lacking.namespace}"'
            )

    async def finish(self, where: Where, target: Snapshot) -> None:
        """See `Target.finish`. A rollback that is given up half-way leaves no pending record."""
        standing: Standing = target.raw
        await Rollback(self._means, where, standing, "").give_up()

    async def pods(self, where: Where) -> list[Object]:
        """See `Target.pods`."""
        standing = await self._standing(where)
        return (
            []
            if standing.current is None
            else await self._workloads.pods(where, list(await self._things(where, standing.current)))
        )

    async def stuck(self, where: Where) -> str | None:
        """See `Target.stuck`."""
        standing = await self._standing(where)
        if standing.current is None:
            raise errors.NotFound(f"there is no release {where.name}")
        return await self._workloads.stuck(where, list(await self._things(where, standing.current)))


def _snapshot(where: Where, standing: Standing, health: Health, verified: Plan | None) -> Snapshot:
    newest, current = standing.newest, standing.current
    assert newest is not None
    assert current is not None
    half = bool(standing.half_made) or (standing.mend is not None and standing.mend.request is not None)
    return Snapshot(
        uid=_uid(where, standing),
        generation=newest.number,
        current=_current(standing, verified),
        whole=_revision(current) if standing.in_parts else None,
        history=tuple(_revision(one) for one in standing.history),
        settled=not standing.busy,
        health=health,
        obstacle=_obstacle(where, current),
        owners=newest.owners,
        marks=standing.marks,
        unfinished=half,
        raw=standing,
        changed=current.deployed,
        reactivated=current.returned_to,
        waits_for=standing.said,
        being_made=standing.under_way,
        half_made=standing.half_made,
        left_out=_left_out(where, standing),
        excluded=standing.excluded,
        only_proved=True,
        keeps=KEEPS,
    )


def _left_out(where: Where, standing: Standing) -> str:
    """That hooks were not run, because an attempt before had begun them."""
    options, begun = where.options.helm, standing.hooks_begun
    if begun is None or not options.hooks or options.rerun_hooks:
        return ""
    return (
        f"No hooks were run by this attempt: the one before, revision {begun.number}, had begun them "
        "(options.helm.rerunHooks has them run again)."
    )


def _uid(where: Where, standing: Standing) -> str:
    """A release has no uid; when it was first installed stands for one: installed anew, it is another."""
    first = next((one.first for one in reversed(standing.records) if one.first), "")
    return hashlib.sha256(f"{where.namespace}/{where.name}/{first}".encode()).hexdigest()[:32]


def _revision(record: Record) -> Revision:
    return Revision(
        name=str(record.number),
        order=record.number,
        fingerprint=record.fingerprint or f"v1:{hashlib.sha256(record.uid.encode()).hexdigest()}",
        source=f"Secret {record.secret}",
        created=record.deployed.replace(microsecond=0) if record.deployed is not None else None,
    )


def _current(standing: Standing, verified: Plan | None) -> Revision:
    """What stands. Of one that failed, was left pending, or half replaced, that is neither the one nor the other.

    What somebody else's Helm works on is still going to be the whole.

    While a rollback is verified, it is what that was to bring, whatever became of it: Helm says how it went.
    """
    record = standing.current
    assert record is not None
    revision = _revision(record)
    going_to_be = standing.busy and record.pending and record.request is None
    if (record.candidate and not standing.in_parts) or going_to_be:
        return revision
    if verified is not None and record.request is not None:
        return replace(revision, fingerprint=verified.to.fingerprint)
    return replace(revision, fingerprint=half_of(revision.fingerprint))


def _obstacle(where: Where, current: Record) -> Obstacle | None:
    if current.trouble:
        return _unreadable(where, str(current.number), current.trouble)
    return _elsewhere(where, current) if current.elsewhere else None


def _elsewhere(where: Where, current: Record) -> Obstacle:
    """Helm is told one namespace, and would take it for both."""
    message = (
        f"Release {where.name} was released into namespace {current.elsewhere}, but its records are kept in namespace "
        f"{where.namespace}, as a HelmRelease of Flux has them with targetNamespace or storageNamespace. Helm would "
        f"roll it back in {where.namespace}, so nothing was changed. Go back with what releases it (the HelmRelease), "
        f"or have its records kept in {current.elsewhere} (storageNamespace) and write the request there."
    )
    return Obstacle(Reason.RELEASED_ELSEWHERE, message)


def _unreadable(where: Where, number: str, why: str) -> Obstacle:
    message = (
        f"The record of revision {number} of release {where.name} cannot be used: {why}. Nothing was changed. "
        f"Look at Secret {records.PREFIX}{where.name}.v{number}; helm history {where.name} -n {where.namespace} shows "
        "what Helm can still read."
    )
    return Obstacle(Reason.UNREADABLE_RECORD, message)


def _may_not(where: Where, number: str, lacking: Right) -> Obstacle:
    message = (
        f"Service account {where.account} may not {lacking}, and going back to revision {number} of release "
        f"{where.name} takes that: nothing was changed. Give it the right (examples/rbac-helm.yaml shows how), then "
        "write a new request."
    )
    return Obstacle(Reason.FORBIDDEN, message)


def _in_the_way(where: Where, number: str, move: Move) -> Obstacle | None:
    """What the options do not allow, or cannot do."""
    options = where.options.helm
    if move.lost and not options.allow_crd_deletion:
        return _would_delete(where, number, move.lost)
    if options.force is Force.REPLACE and records.is_applied(move.then):
        return _cannot_replace(where, number)
    return None


def _cannot_replace(where: Where, number: str) -> Obstacle:
    """Helm would say so itself, but only after it had created the revision and run the hooks."""
    message = (
        f"Helm cannot replace the objects of revision {number} of release {where.name}, which are applied by the API "
        "server (server-side): nothing was changed. Write a new request without options.helm.force, or with "
        "`force: Conflicts` to take fields from others who own them."
    )
    return Obstacle(Reason.REJECTED, message)


def _would_delete(where: Where, number: str, lost: tuple[str, ...]) -> Obstacle:
    message = (
        f"Going back to revision {number} of release {where.name} would delete CustomResourceDefinition "
        f"{', '.join(lost)} and every object of that kind in the cluster: nothing was changed. To allow it, write a "
        "new request with options.helm.allowCRDDeletion: true; to keep them, annotate them with "
        "helm.sh/resource-policy: keep in the chart."
    )
    return Obstacle(Reason.WOULD_DELETE_CRD, message)


def _deletes(lost: tuple[str, ...]) -> tuple[str, ...]:
    if not lost:
        return ()
    return (f"Deletes CustomResourceDefinition {', '.join(lost)}, and every object of that kind in the cluster.",)


def _target_of(standing: Standing, plan: Plan) -> Record:
    """The record of the plan's revision.

    Raises:
        kube.errors.NotFound: it was removed meanwhile.
    """
    fitting = [one for one in standing.history if one.fingerprint == plan.to.fingerprint]
    numbered = [one for one in fitting if str(one.number) == plan.to.revision]
    if not fitting:
        raise errors.NotFound(f"revision {plan.to.revision} is gone")
    return (numbered or fitting)[-1]


def _shape(standing: Standing) -> tuple[object, ...]:
    """What must not change between a look and the effect: the newest record, and who works on it."""
    newest = standing.newest
    return () if newest is None else (newest.uid, newest.version, newest.number, standing.busy)


def _sure(where: Where, standing: Standing, to: str) -> Hashable:
    """What it was made sure of that nothing is in the way."""
    return where.namespace, where.name, where.account, where.options.helm, to, _shape(standing)


async def _objects(release: Object) -> dict[Name, Object]:
    """The objects of a release; a large one takes its time.

    Raises:
        ManifestError: nobody can tell.
    """
    return await asyncio.to_thread(manifest.objects, str(release.get("manifest") or ""))


def _hooks(release: Object) -> Hooks:
    """The objects of the hooks that a rollback to it runs.

    Raises:
        ManifestError: nobody can tell.
    """
    found: dict[Name, Object] = {}
    deleted: set[Name] = set()
    for hook in records.hooks(release, *records.OF_ROLLBACK):
        objects = manifest.objects(str(hook.get("manifest") or ""))
        found |= objects
        if records.is_deleted(hook):
            deleted |= {name for name in objects if name.kind != manifest.CRD}
    return Hooks(found, frozenset(deleted), applied=records.is_applied(release))
