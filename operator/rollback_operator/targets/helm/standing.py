"""Where a release stands: what is current, what can be gone back to, and who works on it. Pure.

The newest record is current, also when it failed. But for an attempt of ours that did not come to its end: until
its request is done with it, what it was to replace counts as current, so that the request can make it again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from rollback_operator.targets.helm.records import GONE, Record

DEAD_AFTER = timedelta(seconds=15)
"""After so long without a word, whoever worked on a record of ours is gone: see `door`, which keeps to it."""
MOST_ATTEMPTS = 3
"""Revisions that one request makes: each attempt that is interrupted leaves one in the history."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A release as its records show it; `current` is None if there is no such release.

    `mend`: the newest record, if it is pending and whoever worked on it is gone. `busy`: somebody works on it; then
    `said` tells who, and until when he is waited for. `marks`, `under_way`, `half_made`: uids of requests whose effect
    is there, is being made, or was begun by somebody who is gone; `attempts` are the records of the last.
    """

    newest: Record | None
    current: Record | None
    records: tuple[Record, ...] = ()
    mend: Record | None = None
    busy: bool = False
    said: str = ""
    marks: frozenset[str] = frozenset()
    under_way: frozenset[str] = frozenset()
    half_made: frozenset[str] = frozenset()
    attempts: tuple[Record, ...] = ()

    @property
    def in_parts(self) -> bool:
        """Whether an attempt of ours broke off over what is current: neither stands as a whole."""
        return self.current is not self.newest and not self.busy

    @property
    def history(self) -> tuple[Record, ...]:
        """What can be gone back to."""
        return tuple(one for one in self.records if one.candidate)

    def numbered(self, number: str) -> Record | None:
        """The revision of that number, as plans write it; None if there is none."""
        return next((one for one in self.records if str(one.number) == number), None)

    @property
    def hooks_begun(self) -> Record | None:
        """The last attempt before the newest of the same request that had begun hooks."""
        newest = self.newest
        if newest is None or newest.request is None:
            return None
        earlier = (one for one in self.records if one.request == newest.request and one is not newest)
        return max((one for one in earlier if one.hooks_ran), key=lambda one: one.number, default=None)

    @property
    def excluded(self) -> Mapping[str, str]:
        """What cannot, and why."""
        return {str(one.number): why for one in self.records if (why := one.why_not) is not None}


_NOTHING = Standing(None, None)


def standing_of(
    records: tuple[Record, ...], now: datetime, pending_after: timedelta, *, verifying: bool = False
) -> Standing:
    """Where the release stands `now`.

    `pending_after`: how long after its last change a pending record of somebody else is taken for alive. `verifying`:
    for a request that is done with its attempts, what it left is current, whatever it is.
    """
    if not records or records[-1].status in GONE:
        return _NOTHING
    newest = records[-1]
    ours = newest.request is not None and (newest.pending or newest.interrupted)
    whole = [one for one in records if not one.interrupted and not (one is newest and ours)]
    standing = Standing(
        newest=newest,
        current=whole[-1] if whole and ours and not verifying else newest,
        records=records,
        marks=_marks(records, newest.request if ours else None),
    )
    if ours:
        return _of_ours(standing, newest, now)
    return _of_others(standing, newest, now, pending_after) if newest.pending else standing


def _marks(records: tuple[Record, ...], at_it: str | None) -> frozenset[str]:
    """Requests whose effect is there; of the one that is still `at_it`, attempts that broke off are none yet.

    What another one's attempt changed stays changed, also if somebody released before it could be made again.
    """
    return frozenset(
        one.request
        for one in records
        if one.request and not (one.request == at_it and (one.interrupted or one.pending))
    )


def _of_ours(standing: Standing, newest: Record, now: datetime) -> Standing:
    """An attempt of ours is the newest: alive, or to be made again, or given up."""
    assert newest.request is not None
    mine = frozenset({newest.request})
    if newest.pending and newest.alive is not None and now - newest.alive < DEAD_AFTER:
        said = f"Helm is rolling it back for another request, as revision {newest.number}"
        return replace(standing, busy=True, said=said, under_way=mine)
    attempts = tuple(
        one for one in standing.records if one.request == newest.request and (one is newest or one.interrupted)
    )
    dead = replace(standing, mend=newest if newest.pending else None, attempts=attempts)
    if len(attempts) >= MOST_ATTEMPTS:
        return replace(dead, marks=dead.marks | mine)
    return replace(dead, half_made=mine)


def _of_others(standing: Standing, newest: Record, now: datetime, pending_after: timedelta) -> Standing:
    """Somebody else's Helm works on it, or did."""
    until = newest.modified + pending_after
    if now >= until:
        return replace(standing, mend=newest)
    said = (
        f"it is {newest.status} (revision {newest.number}, last written at {_clock(newest.modified)}), so somebody's "
        f"Helm works on it. From {_clock(until)} on that counts as dead; if you know that it is, write a new request "
        "with options.helm.pendingAfter: 1s"
    )
    return replace(standing, busy=True, said=said)


def _clock(moment: datetime) -> str:
    return f"{moment:%H:%M:%S} UTC"
