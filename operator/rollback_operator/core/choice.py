"""Which revision a request goes back to."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from rollback_operator.api.common import TargetRef
from rollback_operator.api.reasons import Reason
from rollback_operator.api.request import Phase
from rollback_operator.core.values import Ending, HeldUp, Revision, Snapshot

PREVIOUS = "Previous"
LAST_KNOWN_GOOD = "LastKnownGood"
COMMIT = 7
"""Digits of a Git revision that are enough to name it."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """The revision to go back to, and what the reader of the plan should know about the choice."""

    revision: Revision
    notes: tuple[str, ...] = ()
    frees: HeldUp | None = None
    """It stands already: all there is to do is to delete what keeps it from rolling out."""


def choose(
    to: str, ref: TargetRef, target: Snapshot, bad: Mapping[str, str], good: Collection[str] = ()
) -> Chosen | Ending:
    """The revision that `to` means for this target, or the ending of the request if it means none.

    `to` is a revision's number, a fingerprint, Previous or LastKnownGood (which means Previous until something has
    proved good). `bad` maps fingerprints that are not gone back to, to a clause that says why; a revision that a
    person names outright is taken as named, with a note. `good`: fingerprints that proved good.
    """
    proved = _proved(ref, target, bad, good) if to == LAST_KNOWN_GOOD else None
    if proved is not None:
        return proved
    if to in (PREVIOUS, LAST_KNOWN_GOOD):
        return _previous(to, ref, target, bad)
    revision = _named(to, target)
    if revision is None:
        return Ending(Phase.FAILED, Reason.REVISION_NOT_FOUND, _not_found(to, ref, target))
    if revision.fingerprint == target.current.fingerprint:
        return _already(ref, target, revision)
    if revision.fingerprint in bad:
        return Chosen(revision, (f"Revision {revision.name} counts as bad: {bad[revision.fingerprint]}.",))
    return Chosen(revision)


def _named(to: str, target: Snapshot) -> Revision | None:
    """The newest revision of that number or fingerprint, or of that template; else of that Git revision.

    Else what the kind makes of it.
    """
    exact = [one for one in target.history if to in (one.name, one.fingerprint)]
    by_template = [one for one in target.history if one.fingerprint.startswith(f"{to}+")]
    by_commit = [one for one in target.history if len(to) >= COMMIT and any(at.startswith(to) for at in one.aliases)]
    return max(exact or by_template or by_commit, key=lambda one: one.rank, default=None) or target.named(to)


def _may_be_gone_back_to(revision: Revision, target: Snapshot, bad: Mapping[str, str]) -> bool:
    return revision.fingerprint != target.current.fingerprint and revision.fingerprint not in bad


def _proved(ref: TargetRef, target: Snapshot, bad: Mapping[str, str], good: Collection[str]) -> Chosen | Ending | None:
    """The newest revision that proved good; None if there is none, and Previous may stand in for it."""
    proved = [one for one in target.history if _may_be_gone_back_to(one, target, bad) and one.fingerprint in good]
    if proved:
        return Chosen(max(proved, key=lambda one: one.rank))
    if target.only_proved and _was_lost(target, bad, good):
        return Ending(Phase.FAILED, Reason.REVISION_NOT_FOUND, _lost(ref, target))
    return None


def _was_lost(target: Snapshot, bad: Mapping[str, str], good: Collection[str]) -> bool:
    """Whether something else than what runs now has proved good, and nothing of that kind is on record any more."""
    return bool(set(good) - set(bad) - {target.current.fingerprint} - {one.fingerprint for one in target.history})


def _lost(ref: TargetRef, target: Snapshot) -> str:
    return (
        f"What proved good of {ref} is no longer among its revisions, and none of those that are has proved good. "
        f"{target.keeps} Name one of them in `to`, say Previous there, or release the good version anew."
    )


def _previous(to: str, ref: TargetRef, target: Snapshot, bad: Mapping[str, str]) -> Chosen | Ending:
    notes = ["Nothing earlier has proved good yet, so LastKnownGood means Previous."] if to == LAST_KNOWN_GOOD else []
    same: Revision | None = None
    for revision in sorted(target.history, key=lambda one: one.rank, reverse=True):
        if revision.rank >= target.current.rank:
            continue
        if revision.fingerprint == target.current.fingerprint:
            same = same or revision
        elif revision.fingerprint in bad:
            notes.append(f"Skipped revision {revision.name}: {bad[revision.fingerprint]}.")
        else:
            return Chosen(revision, tuple(notes))
    if same is not None and not any(revision.fingerprint in bad for revision in target.history):
        return _already(ref, target, same)
    return Ending(Phase.FAILED, Reason.NOTHING_TO_ROLL_BACK_TO, _nothing(ref, target, bad))


_IS = {"Helm": "chart and values", "Application": "sources and commits"}
"""What a revision of a kind is, where it is no pod template."""


def _already(ref: TargetRef, target: Snapshot, revision: Revision) -> Ending:
    what = _IS.get(ref.kind, "template")
    message = f"{ref} already has the {what} of revision {revision.name}: nothing was changed."
    if revision.name != target.current.name and target.current.tags:
        message += (
            f" It uses {_and(target.current.tags)}: a tag that was moved cannot be brought back by its name. "
            "Pin images by digest to make a revision mean one thing."
        )
    return Ending(Phase.SUCCEEDED, Reason.ALREADY_AT_REVISION, message)


def _not_found(to: str, ref: TargetRef, target: Snapshot) -> str:
    if to in target.excluded:
        return (
            f"Revision {to} of {ref} cannot be gone back to: {target.excluded[to]}. "
            "Name another one in `to`, or release the version you want anew."
        )
    names = list(dict.fromkeys(one.name for one in sorted(target.history, key=lambda one: one.rank)))
    has = f"it has {_and(names)}" if names else "it has none"
    return (
        f"{ref} has no revision {to}: {has}. {target.keeps} "
        "Write a new request with one of these in `to`, or release the version you want anew."
    )


def _nothing(ref: TargetRef, target: Snapshot, bad: Mapping[str, str]) -> str:
    earlier = [one for one in target.history if one.rank < target.current.rank and one.fingerprint in bad]
    if earlier:
        names = _and([f"{one.name} ({bad[one.fingerprint]})" for one in earlier])
        return (
            f"{ref} has no earlier revision that does not count as bad: {names}. "
            "To go back to one all the same, name it in `to`."
        )
    return (
        f"{ref} has no revision before {target.current.name}{_left_out(target)}. {target.keeps} "
        "To go back now, release the old version anew."
    )


def _left_out(target: Snapshot) -> str:
    earlier = [f"{name} ({why})" for name, why in target.excluded.items() if int(name) < target.current.order]
    return f" that can be gone back to, as {_and(earlier)} cannot" if earlier else ""


def _and(words: list[str] | tuple[str, ...]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
