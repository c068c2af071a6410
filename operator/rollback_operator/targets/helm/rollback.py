"""One rollback of a release: what it will do, doing it, and leaving nothing pending whatever came of it."""

from __future__ import annotations

import asyncio
import copy
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from rollback_operator.api.options import Force, HelmOptions
from rollback_operator.kube import errors
from rollback_operator.kube.client import Api
from rollback_operator.targets.base import Where, in_time
from rollback_operator.targets.helm import effect, records
from rollback_operator.targets.helm.door import Door, Errand
from rollback_operator.targets.helm.effect import Finished
from rollback_operator.targets.helm.records import (
    ALIVE_ANNOTATION,
    FAILED,
    INTERRUPTED_ANNOTATION,
    Record,
    UnreadableError,
)
from rollback_operator.targets.helm.remains import with_remains
from rollback_operator.targets.helm.standing import MOST_ATTEMPTS, Standing
from rollback_operator.targets.helm.store import Store, Stored, secrets
from rollback_operator.targets.metadata import annotations_of

log = logging.getLogger(__name__)

LONGEST = timedelta(minutes=10)
"""How long Helm may take when nobody says."""
SHORTEST = timedelta(seconds=5)
AT_ONCE = 8
"""How many Helms run at the same time: each takes some 60 MiB of memory, of which they share two thirds."""
SHARE = 4
"""How many of them for one namespace: hooks may keep a Helm at work for hours."""
HELMS_LIMIT = 10
"""How many revisions Helm keeps if nobody says."""

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Means:
    """What it takes: the API server, the records, and the path of Helm."""

    api: Api
    store: Store
    program: str
    slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))
    busy: Counter[str] = field(default_factory=Counter)

    @asynccontextmanager
    async def slot(self, namespace: str) -> AsyncIterator[None]:
        """Room for one more Helm that works on a release of that namespace.

        Raises:
            kube.errors.NotDone: there is none now.
        """
        if self.slots.locked():
            raise errors.NotDone(f"{AT_ONCE} Helms are at work, and more would take too much memory")
        if self.busy[namespace] >= SHARE:
            raise errors.NotDone(f"{SHARE} Helms are at work in namespace {namespace}: the rest is for others")
        self.busy[namespace] += 1
        try:
            async with self.slots:
                yield
        finally:
            self.busy[namespace] -= 1


class Rollback:
    """Going back to revision `to` of a release that stands as `standing` says."""

    def __init__(self, means: Means, where: Where, standing: Standing, to: str) -> None:
        assert standing.newest is not None
        self._means = means
        self._store = means.store
        self._where = where
        self._standing = standing
        self._newest = standing.newest
        self._to = to
        self._options = where.options.helm

    # What it will do.

    def steps(self, then: Object) -> Iterator[str]:
        """Its effects as sentences; `then` is the release that it goes back to."""
        mend, number = self._standing.mend, self._newest.number
        if mend is not None:
            yield (
                f"Mark revision {mend.number}, which is {mend.status} since {mend.modified:%H:%M:%S} UTC and nobody "
                "works on any more, as failed."
            )
        name, left = self._where.name, self._left
        yield f"Roll Helm release {name} back from revision {left} to {self._to} (creates revision {number + 1})."
        hooks = [str(hook.get("name", "?")) for hook in records.hooks(then, *records.OF_ROLLBACK)]
        if hooks:
            yield f"{'Hooks run' if self._options.hooks else 'Hooks that are not run'}: {', '.join(hooks)}."

    def notes(self) -> Iterator[str]:
        """What a reader of the plan should know."""
        for spared in self._spared():
            yield (
                f"By the history limit of {self._options.history_max}, revision {spared} would be removed now; it is "
                "kept, and goes with the next release."
            )
        if self._options.force is Force.REPLACE:
            yield "Helm is told to replace objects (options.helm.force)."
        if self._options.force is Force.CONFLICTS:
            yield (
                "Helm is told to take fields from others who own them (options.helm.force)."
                if self._applied
                else f"There are no conflicts to force (options.helm.force): Helm merges the objects of revision "
                f"{self._to} itself, whoever owns their fields."
            )

    def warning(self) -> str:
        """That the next release removes what would be gone back to, as far as anybody can tell."""
        limit = self._limit_of_others()
        count = len(self._standing.records)
        if int(self._to) not in [one.number for one in self._oldest(count - (limit - 1))]:
            return ""
        return (
            f"Helm release {self._where.name} can be rolled back to revision {self._to}, but the next release may "
            f"remove that one: {count} revisions are kept. Release with a higher --history-max."
        )

    def _limit_of_others(self) -> int:
        """How many revisions whoever releases seems to keep: as many as there are, if older ones are gone."""
        listed = self._standing.records
        return len(listed) if listed[0].number > 1 else HELMS_LIMIT

    @property
    def _applied(self) -> bool:
        """Whether the objects are applied by the API server: as those of the revision were that is gone back to."""
        there = self._standing.numbered(self._to)
        return there is not None and there.applied

    @property
    def _left(self) -> int:
        """The revision that is left."""
        current = self._standing.current
        return current.number if current is not None else self._newest.number

    def _spared(self) -> list[int]:
        """What Helm would remove of the revision that it goes back to and the one that it leaves."""
        limit = self._options.history_max
        whole = sum(not one.interrupted for one in self._standing.records)
        doomed = self._oldest(whole - (limit - 1)) if limit else []
        return [one.number for one in doomed if one.number in (int(self._to), self._left)]

    def _oldest(self, count: int) -> list[Record]:
        """What Helm removes first: the oldest, but for the newest one that is deployed."""
        deployed = [one for one in self._standing.records if one.status == records.DEPLOYED]
        return [one for one in self._standing.records if one not in deployed[-1:]][: max(0, count)]

    def _history_max(self) -> int:
        """Attempts that were interrupted take no place from what can be gone back to."""
        limit = self._options.history_max
        if not limit:
            return 0
        if self._spared():
            return len(self._standing.records) + 1
        return limit + sum(one.interrupted for one in self._standing.records)

    # Doing it.

    async def rehearse(self, key: str) -> None:
        """Have Helm go through it without any change.

        Raises:
            kube.errors.Forbidden, Invalid: it would not work.
            kube.errors.Unavailable: no answer.
        """
        door = self._door(key, dry_run=True)
        async with self._means.slot(self._where.namespace):
            done = await self._run(door, ["--dry-run=server"], key, hooks=False)
        if done.code != 0:
            raise _before(door, done)

    async def make(self, key: str) -> None:
        """Make it. Afterwards the release's newest record says what came of it.

        Raises:
            kube.errors.Conflict: another release came first; nothing was changed.
            kube.errors.Forbidden, Invalid: refused; nothing was changed.
            kube.errors.Unavailable: no answer, or only a part of it was made, and it is to be made again.
        """
        async with self._means.slot(self._where.namespace):
            await self._make(key)

    async def _make(self, key: str) -> None:
        again = [one for one in self._standing.attempts if one.request == key]
        hooks = self._options.hooks and (self._options.rerun_hooks or not any(one.hooks_ran for one in again))
        if self._standing.mend is not None:
            in_time(self._where)
            await self._mend(self._standing.mend)
        in_time(self._where)
        door = self._door(key)
        done = await self._run(door, [], key, hooks=hooks)
        if door.record is None:
            raise _before(door, done)
        if done.code != 0 and not door.deployed:  # what becomes of Helm afterwards undoes nothing
            await self._after(door, done, earlier=len(again))
        for name in door.doomed:
            await self._remove(name)

    def _door(self, key: str, *, dry_run: bool = False) -> Door:
        errand = Errand(self._newest.number + 1, key, int(self._to), dry_run=dry_run)
        return Door(self._means.api, self._where, errand)

    async def _run(self, door: Door, more: list[str], key: str, *, hooks: bool) -> Finished:
        until = self._where.until
        left = LONGEST if until is None else max(until - datetime.now(UTC), SHORTEST)
        arguments = self._arguments(key, left, hooks=hooks)
        try:
            async with door.open():
                return await effect.run(
                    self._means.program, [*arguments, *more], self._where, door, left.total_seconds()
                )
        except (FileNotFoundError, PermissionError) as error:
            message = f"there is no Helm that can be run at {self._means.program}: the setting ROLLBACK_HELM names it"
            raise errors.Invalid(message) from error

    def _arguments(self, key: str, left: timedelta, *, hooks: bool) -> list[str]:
        return [
            "rollback",
            self._where.name,
            self._to,
            f"--namespace={self._where.namespace}",
            f"--description=Rollback to {self._to} (rollback request {key})",
            f"--timeout={max(1, int(left.total_seconds()))}s",
            f"--history-max={self._history_max()}",
            *_flags(self._options, hooks=hooks, applied=self._applied),
        ]

    async def _remove(self, name: str) -> None:
        """Remove a record for the history limit; if that cannot be done now, it goes with the next release."""
        path = secrets(self._where, name)
        try:
            there = await self._means.api.metadata(path, as_=self._where.account)
            await self._means.api.delete(path, as_=self._where.account, uid=there["uid"])
        except errors.NotFound:
            pass
        except errors.KubeError as error:
            log.warning("Secret %s/%s was not removed: %s", self._where.namespace, name, error)

    # Leaving nothing pending.

    async def _mend(self, left: Record) -> None:
        """Mark the record of somebody who is gone as failed, if it is still as it was seen.

        Raises:
            kube.errors.Conflict: it is not.
        """
        stored = await self._read(left)
        ours = left.request is not None
        said = "its operator was gone" if ours else f"it was left {left.status}, and nobody worked on it any more"
        release = _closed(stored.release, f"{records.MARKED}{said}.")
        if ours:
            release["manifest"] = await self._with_remains(stored.release)
        await self._store.write(self._where, _packed(stored.secret, release, interrupted=ours))

    async def _with_remains(self, release: Object) -> str:
        """The manifest of an attempt that failed, with what the revision before may have left standing."""
        return await with_remains(self._means.api, self._store, self._where, self._standing.records, release)

    async def give_up(self) -> None:
        """Mark what was left half made as failed, for good.

        Raises:
            kube.errors.KubeError: that could not be written.
        """
        newest = self._newest
        if not newest.pending and not newest.interrupted:
            return
        stored = await self._read(newest)
        closed = _closed(stored.release, records.GIVEN_UP)
        if newest.pending:
            closed["manifest"] = await self._with_remains(stored.release)
        await self._store.write(self._where, _packed(stored.secret, closed, interrupted=False))

    async def _read(self, record: Record) -> Stored:
        """A record that is to be mended, exactly as it was seen.

        Raises:
            kube.errors.Conflict: it is another by now.
        """
        try:
            stored = await self._store.read(self._where, record)
        except (UnreadableError, errors.NotFound) as error:
            raise errors.Conflict(f"Secret {record.secret} was changed: {error}") from error
        if stored.secret["metadata"]["resourceVersion"] != record.version:
            raise errors.Conflict(f"Secret {record.secret} was changed")
        return stored

    async def _after(self, door: Door, done: Finished, earlier: int) -> None:
        """Helm failed after it had begun. If the platform was in its way, the attempt is to be made again."""
        assert door.record is not None
        if door.outrun:
            raise errors.Unavailable(f"somebody else wrote to {door.record['metadata']['name']}: {done.words}")
        disturbed = bool(door.broken) and not done.late and earlier + 1 < MOST_ATTEMPTS
        release = records.decode(door.record)
        closed = release  # as Helm closed it, if it did
        if disturbed or release["info"].get("status") != FAILED:
            closed = _closed(release, f"{records.BROKEN}{done.words}")
        if disturbed:
            closed = records.without_runs(closed, door.touched)
        closed = {**closed, "manifest": await self._with_remains(release)}
        if closed != release or disturbed:
            await door.quiet()
            await self._close(_packed(door.record, closed, interrupted=disturbed))
        if disturbed:
            raise errors.Unavailable(f"Helm was disturbed: {'; '.join(door.broken.values())[:500]}")

    async def _close(self, secret: Object) -> None:
        """Write what became of an attempt that had begun; whatever keeps that from being written, it had begun.

        Raises:
            kube.errors.Unavailable: it could not be written.
        """
        try:
            await self._store.write(self._where, secret)
        except errors.KubeError as error:
            raise errors.Unavailable(f"the end of the rollback could not be recorded: {error}") from error


def going_forward(where: Where, left: Record) -> str:
    """The command that takes a rollback back: Helm goes to the revision that it left, in the way that was asked for."""
    options = where.options.helm
    limit = [] if options.history_max == HELMS_LIMIT else [f"--history-max={options.history_max}"]
    flags = [*limit, *_flags(options, hooks=options.hooks, applied=left.applied)]
    return " ".join(["helm", "-n", where.namespace, "rollback", where.name, str(left.number), *flags])


def _flags(options: HelmOptions, *, hooks: bool, applied: bool) -> list[str]:
    """Helm takes one way of forcing with each way of changing objects, and refuses the other when it has begun."""
    force = {(Force.CONFLICTS, True): ["--force-conflicts"], (Force.REPLACE, False): ["--force-replace"]}
    return [
        *([] if hooks else ["--no-hooks"]),
        *(["--cleanup-on-fail"] if options.cleanup_on_fail else []),
        *force.get((options.force, applied), []),
    ]


def _before(door: Door, done: Finished) -> errors.KubeError:
    """What it means that Helm failed before it had begun."""
    if door.outrun:
        return errors.Conflict("another revision of the release was created first")
    if door.unsure:
        return errors.Unavailable(door.unsure)
    if door.forbidden:
        return errors.Forbidden(door.forbidden)
    if door.broken:
        return errors.Unavailable(f"Helm could not begin: {'; '.join(door.broken.values())[:500]}")
    if done.late:
        return errors.Unavailable(done.words)
    return errors.Invalid(f"Helm says: {done.words}")


def _closed(release: Object, said: str) -> Object:
    closed = copy.deepcopy(release)
    closed["info"] = {**closed["info"], "status": FAILED, "description": said}
    return closed


def _packed(secret: Object, release: Object, *, interrupted: bool) -> Object:
    """A record's Secret with this release in it; a manifest that makes it too large is left as it was."""
    data = records.encode(release)
    if len(data) > records.LARGEST_SECRET:
        data = records.encode({**release, "manifest": records.decode(secret).get("manifest")})
    noted = {name: value for name, value in annotations_of(secret).items() if name != ALIVE_ANNOTATION}
    noted.pop(INTERRUPTED_ANNOTATION, None)
    if interrupted:
        noted[INTERRUPTED_ANNOTATION] = "true"
    labels = {**(secret["metadata"].get("labels") or {}), "status": FAILED, "modifiedAt": str(int(time.time()))}
    metadata = {**secret["metadata"], "labels": labels, "annotations": noted}
    return {"apiVersion": "v1", "kind": "Secret", **secret, "metadata": metadata, "data": {"release": data}}
