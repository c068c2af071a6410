"""The ledger: which releases proved good or bad. People correct it in the policy's spec, and their word wins."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from rollback_operator.api.policy import MAX_LEDGER, Correction, CurrentRevision, Entry, PolicySpec, Proof
from rollback_operator.api.reasons import Reason
from rollback_operator.api.request import Phase
from rollback_operator.core.half import half_of, is_of
from rollback_operator.core.values import Other

_NOT_WELL = (Reason.UNHEALTHY, Reason.TIMEOUT)


@dataclass(frozen=True, slots=True)
class Ledger:
    """What is known of releases by their fingerprint; `bad` with a clause that says why."""

    good: tuple[str, ...] = ()
    """The newest last."""
    bad: Mapping[str, str] = field(default_factory=dict)
    forgiven: frozenset[str] = frozenset()
    """What people call good, whatever was rolled back from it."""

    @classmethod
    def of(cls, spec: PolicySpec, entries: Iterable[Entry]) -> Ledger:
        """The entries as people corrected them."""
        entries = tuple(entries)
        verdicts = {one.fingerprint: one.verdict for one in entries}
        verdicts |= {one.fingerprint: one.verdict for one in spec.ledger}
        bad = {one.fingerprint: one.reason for one in entries} | {one.fingerprint: _told(one) for one in spec.ledger}
        return cls(
            good=tuple(one for one, verdict in verdicts.items() if verdict is Proof.GOOD),
            bad={one: why for one, why in bad.items() if verdicts[one] is Proof.BAD},
            forgiven=frozenset(one.fingerprint for one in spec.ledger if one.verdict is Proof.GOOD),
        )

    def bad_with(self, rolled_back_from: Mapping[str, str]) -> Mapping[str, str]:
        """What must not be gone back to, with a clause that says why."""
        both = {**rolled_back_from, **self.bad}
        return {one: why for one, why in both.items() if one not in self.forgiven}

    def why_bad(self, fingerprint: str) -> str | None:
        """Why what stands counts as bad, if it does: so does what stands in parts only of a bad release."""
        return self.bad.get(fingerprint) or next(
            (why for one, why in self.bad.items() if half_of(one) == fingerprint), None
        )

    def newest_good(self, but: Collection[str] = ()) -> str | None:
        """The release that proved good last, other than those."""
        return next((one for one in reversed(self.good) if one not in but), None)


def _told(one: Correction) -> str:
    return "the policy's spec.ledger calls it bad" + (f": {one.reason}" if one.reason else "")


def learned(
    entries: tuple[Entry, ...],
    before: CurrentRevision | None,
    current: CurrentRevision | None,
    others: Iterable[Other],
    now: datetime,
    *,
    soaked: bool,
) -> tuple[Entry, ...]:
    """`entries` with what is new: the same tuple if nothing is.

    Bad is what was rolled back from, by a request or by hand, and what was brought back and was not well. Good is what
    soaked. What is bad stays bad until people say otherwise. What was brought back in parts only proves nothing.
    """
    known = {one.fingerprint: one for one in entries}
    others = sorted(others, key=lambda one: one.created)
    for other in others:
        _learn_of_request(known, other)
    if current is not None and before is not None:
        _learn_of_return(known, before, current, others, now)
    if soaked and current is not None and current.fingerprint not in known:
        reason = "all triggers were Healthy for the soak time"
        known[current.fingerprint] = _entry(current.fingerprint, current.revision, Proof.GOOD, now, reason)
    newest = tuple(sorted(known.values(), key=lambda one: one.at)[-MAX_LEDGER:])
    return entries if newest == entries else newest


def _learn_of_request(known: dict[str, Entry], other: Other) -> None:
    if not other.applied or other.finished is None or other.dry_run:
        return
    if other.left is not None and not _was_bad(known, other):
        reason = f"{other.name} rolled back from it"
        _learn_bad(known, _entry(other.left, other.left_name, Proof.BAD, other.finished, reason))
    unwell = other.phase is Phase.FAILED and other.reason in _NOT_WELL
    if other.to is not None and unwell:
        reason = f"it was not well after {other.name} brought it back"
        _learn_bad(known, _entry(other.to, other.to_name, Proof.BAD, other.finished, reason))


def _was_bad(known: Mapping[str, Entry], other: Other) -> bool:
    """Whether a bad release was brought back, by its name: that undoes a false alarm, and accuses nobody."""
    brought = known.get(other.to or "")
    return brought is not None and brought.verdict is Proof.BAD and brought.at <= other.created


def _learn_of_return(
    known: dict[str, Entry], before: CurrentRevision, current: CurrentRevision, others: Sequence[Other], now: datetime
) -> None:
    """Somebody went back by hand: that says something of the release that was left, unless a bad one came back."""
    same = is_of(current.fingerprint, before.fingerprint)  # perhaps in parts by now
    by_hand = current.rollback and before.uid == current.uid and not same
    # The effect of one that has not ended may be there before it is noted: what it left counts once it has ended.
    later = [one for one in others if one.finished is None or (one.applied and one.finished >= before.since)]
    came_by_request = any(is_of(current.fingerprint, one.to) for one in later)
    came_bad = current.fingerprint in known and known[current.fingerprint].verdict is Proof.BAD
    # A rollback that is being verified and is taken back: what it left counts as bad once it has ended.
    undone = any(one.finished is None and one.left == current.fingerprint for one in others)
    if by_hand and not came_by_request and not came_bad and not undone:
        reason = f"somebody went back from it to revision {current.revision}"
        _learn_bad(known, _entry(before.fingerprint, before.revision, Proof.BAD, now, reason))


def _learn_bad(known: dict[str, Entry], entry: Entry) -> None:
    old = known.get(entry.fingerprint)
    if old is None or (old.verdict is Proof.GOOD and old.at <= entry.at):
        known[entry.fingerprint] = entry


def _entry(fingerprint: str, revision: str, verdict: Proof, at: datetime, reason: str) -> Entry:
    return Entry(fingerprint=fingerprint, revision=revision, verdict=verdict, at=at, reason=reason[:512])
