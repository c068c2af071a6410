"""Where a release stands: what is current, who works on it, and what became of attempts."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rollback_operator.targets.helm.records import Record
from rollback_operator.targets.helm.standing import DEAD_AFTER, Standing, standing_of

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
PATIENCE = timedelta(minutes=15)


def record(number: int, status: str = "superseded", **more: Any) -> Record:
    """A revision, written an hour ago."""
    given = {"uid": f"uid-{number}", "version": str(number), "modified": NOW - timedelta(hours=1), **more}
    return Record(number=number, secret=f"v{number}", status=status, fingerprint=f"v1:{number}", **given)


def ours(number: int, status: str = "pending-rollback", beat: float | None = 1.0, **more: Any) -> Record:
    """A revision that request `a` made, last heard of so many seconds ago."""
    alive = None if beat is None else NOW - timedelta(seconds=beat)
    return record(number, status, request="a", alive=alive, modified=NOW - timedelta(seconds=beat or 60), **more)


def seen(*records: Record, verifying: bool = False) -> Standing:
    return standing_of(records, NOW, PATIENCE, verifying=verifying)


def current(standing: Standing) -> int | None:
    return None if standing.current is None else standing.current.number


OLD, BAD = record(1), record(2, "deployed")
DEAD = DEAD_AFTER.total_seconds()


@pytest.mark.parametrize("records", [(), (OLD, record(2, "uninstalled")), (OLD, record(2, "uninstalling"))])
def test_there_is_no_such_release(records: tuple[Record, ...]) -> None:
    assert seen(*records).current is None


@pytest.mark.parametrize("status", ["deployed", "failed", "superseded"])
def test_the_newest_record_is_current_whatever_became_of_it(status: str) -> None:
    standing = seen(OLD, record(2, status))

    assert current(standing) == 2
    assert (standing.busy, standing.mend) == (False, None)


def test_only_what_was_installed_can_be_gone_back_to() -> None:
    standing = seen(OLD, record(2, "failed"), record(3, "superseded", trouble="it is not gzip"), record(4, "deployed"))

    assert [one.number for one in standing.history] == [1, 4]
    assert standing.excluded == {
        "2": "its status is failed",
        "3": "its record cannot be read (it is not gzip)",
    }


@pytest.mark.parametrize("age, alive", [(60, True), (899, True), (900, False), (3600, False)])
def test_a_pending_record_of_somebody_else_is_alive_until_it_is_too_old(age: float, *, alive: bool) -> None:
    left = record(2, "pending-upgrade", modified=NOW - timedelta(seconds=age))

    standing = seen(OLD, left)

    assert standing.busy is alive
    assert standing.mend is (None if alive else left)
    assert current(standing) == 2
    assert (standing.under_way, standing.half_made) == (frozenset(), frozenset())


def test_whoever_is_waited_for_is_told() -> None:
    left = record(2, "pending-upgrade", modified=NOW - timedelta(seconds=60))

    assert seen(OLD, left).said == (
        "it is pending-upgrade (revision 2, last written at 11:59:00 UTC), so somebody's Helm works on it. From "
        "12:14:00 UTC on that counts as dead; if you know that it is, write a new request with "
        "options.helm.pendingAfter: 1s"
    )


ATTEMPTS = {
    # the attempt, seconds since its last sign of life: under way, half made, marks, what is current, to be mended
    "at work": (ours(3), {"a"}, set(), set(), 2, False),
    "at work, just so": (ours(3, beat=DEAD - 0.1), {"a"}, set(), set(), 2, False),
    "silent for too long": (ours(3, beat=DEAD), set(), {"a"}, set(), 2, True),
    "never said that it lives": (ours(3, beat=None), set(), {"a"}, set(), 2, True),
    "mended, to be made again": (ours(3, "failed", beat=None, interrupted=True), set(), {"a"}, set(), 2, False),
    "deployed": (ours(3, "deployed", beat=None), set(), set(), {"a"}, 3, False),
    "failed, as Helm says": (ours(3, "failed", beat=None), set(), set(), {"a"}, 3, False),
}


@pytest.mark.parametrize("case", ATTEMPTS)
def test_an_attempt_of_ours(case: str) -> None:
    attempt, under_way, half_made, marks, now, mend = ATTEMPTS[case]

    standing = seen(OLD, BAD, attempt)

    assert (set(standing.under_way), set(standing.half_made), set(standing.marks)) == (under_way, half_made, marks)
    assert current(standing) == now
    assert (standing.mend is not None) is mend
    assert standing.busy is bool(under_way)


@pytest.mark.parametrize("case", ATTEMPTS)
def test_what_an_attempt_left_is_current_once_its_request_is_done_with_it(case: str) -> None:
    assert current(seen(OLD, BAD, ATTEMPTS[case][0], verifying=True)) == 3


def test_an_interrupted_attempt_is_nothing_to_go_back_to() -> None:
    standing = seen(OLD, BAD, ours(3, "failed", beat=None, interrupted=True), ours(4, "deployed", beat=None))

    assert [one.number for one in standing.history] == [1, 2, 4]
    assert standing.excluded["3"] == "it was never completed"
    assert standing.marks == {"a"}


def test_attempts_come_to_an_end() -> None:
    """Each leaves a revision, and the history has no room for many."""
    broken = [ours(number, "failed", beat=None, interrupted=True) for number in (3, 4)]

    standing = seen(OLD, BAD, *broken, ours(5, beat=DEAD))

    assert (set(standing.half_made), set(standing.marks)) == (set(), {"a"})
    assert standing.mend is not None


def test_attempts_of_another_request_do_not_count() -> None:
    broken = [replace(ours(number, "failed", beat=None, interrupted=True), request="b") for number in (3, 4)]

    assert seen(OLD, BAD, *broken, ours(5, beat=DEAD)).half_made == {"a"}


def test_an_attempt_that_broke_off_before_another_release_came_was_made_all_the_same() -> None:
    standing = seen(OLD, BAD, ours(3, "failed", beat=None, interrupted=True), record(4, "deployed"))

    assert current(standing) == 4
    assert (standing.half_made, standing.marks, standing.mend) == (frozenset(), frozenset({"a"}), None)
