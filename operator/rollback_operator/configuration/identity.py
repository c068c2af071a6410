"""What a revision is when its configuration counts: one fingerprint for a pod template and what it runs with.

The first configuration that is seen with a template shares the template's own fingerprint: what was known of a revision
before its configuration was remembered goes on being known of it. Every other configuration makes another revision,
whose fingerprint is the template's, `+`, and the first digits of the configuration's digest. Pure functions.

A release often brings its configuration a moment before or after its template. Seen in between, that is no revision
of its own: see `learned`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from rollback_operator.api.remember import MAX_NUMBERS, MAX_OBJECTS, MAX_REMEMBERED, Remembered, RememberedObject
from rollback_operator.core.values import Other, Revision, Snapshot

PASSING = timedelta(minutes=3)
"""What stood for less than that was on the way to something else; it is looked at once a minute."""
_DIGITS = 12
"""Of a configuration's digest, in a fingerprint."""


def together(template: str, config: str) -> str:
    """Fingerprint of a pod template with a configuration other than its first; `template` is that of the template."""
    return f"{template}+{config.partition(':')[2][:_DIGITS]}"


def template_of(fingerprint: str) -> str:
    """Fingerprint of the pod template alone."""
    return fingerprint.partition("+")[0]


def learned(
    known: tuple[Remembered, ...],
    now_runs: Remembered,
    good: Collection[str] = (),
    required: Collection[tuple[str, str]] = (),
) -> tuple[Remembered, ...]:
    """What is remembered, with what runs now as the newest; the oldest are forgotten.

    `good`: fingerprints of what proved good. What stood for less than `PASSING` and did not prove good was a release on
    its way: a change of configuration alone is forgotten when something else follows, and configuration that follows a
    new template belongs to it.

    `required`: kind and name of what is asked for and not optional. What cannot change, and is gone, stays remembered
    only then.
    """
    if not known:
        return (now_runs,)
    last = known[-1]
    if _same(last, now_runs):
        return _numbered(known, now_runs, required)
    now_runs = now_runs.model_copy(update={"at": max(now_runs.at, last.at)})
    passed = now_runs.at - last.at < PASSING and not last.again and last.identity not in good
    in_parts = passed and _is_first(last) and last.fingerprint == now_runs.fingerprint
    earlier = known[:-1] if in_parts or (passed and _came_alone(known)) else known
    if earlier and _same(earlier[-1], now_runs):
        return _numbered(earlier, now_runs, required)
    others = tuple(one for one in earlier if not _same(one, now_runs))
    same = next((one for one in earlier if _same(one, now_runs)), None)
    if same is not None:
        now_runs = now_runs.model_copy(update={"fixed": _fixed(same, now_runs, required)})
    return (*others, _as_release(now_runs, earlier, same, last.at if in_parts else now_runs.at))[-MAX_REMEMBERED:]


def ordered_anew(
    known: tuple[Remembered, ...], now_runs: Remembered, required: Collection[tuple[str, str]]
) -> tuple[Remembered, ...] | None:
    """What is remembered when other objects are asked for: the newest has these. None if one changed or is gone.

    `required`: as `learned` has it.
    """
    if not known or known[-1].fingerprint != now_runs.fingerprint:
        return None
    then = {(one.kind, one.name): one.secret for one in known[-1].objects}
    there = {(one.kind, one.name) for one in now_runs.kept}
    changed = any(then.get((one.kind, one.name), one.secret) != one.secret for one in now_runs.objects)
    if changed or any(one in required and one not in there for one in then):
        return None
    fixed = _fixed(known[-1], now_runs, required)
    anew = {"config": now_runs.config, "objects": now_runs.objects, "fixed": fixed}
    return (*known[:-1], known[-1].model_copy(update=anew))


def is_of_before(known: Sequence[Remembered]) -> bool:
    """Whether an operator that remembered less saw the newest last: what there is besides is no change, then."""
    return bool(known) and known[-1].fixed is None


def is_known_of_more(known: Sequence[Remembered], found: Remembered, required: Collection[tuple[str, str]]) -> bool:
    """Whether more is looked at than before: what a template requires was there as long as that ran."""
    if not known or known[-1].fingerprint != found.fingerprint:
        return False
    then = {(one.kind, one.name) for one in known[-1].kept}
    return any((one.kind, one.name) in set(required) - then for one in found.objects)


def _as_release(
    now_runs: Remembered, earlier: Iterable[Remembered], same: Remembered | None, at: datetime
) -> Remembered:
    """`now_runs` with its fingerprint; `same` is what is remembered of an earlier time that it ran."""
    if same is not None:
        numbers = (
            {"earlier": (*same.earlier, same.revision)[-MAX_NUMBERS:]} if same.revision != now_runs.revision else {}
        )
        return now_runs.model_copy(update={"release": same.release, "again": True, **numbers})
    template = now_runs.fingerprint
    other = any(one.fingerprint == template for one in earlier)
    return now_runs.model_copy(update={"at": at, "release": together(template, now_runs.config) if other else None})


def _numbered(
    known: tuple[Remembered, ...], now_runs: Remembered, required: Collection[tuple[str, str]]
) -> tuple[Remembered, ...]:
    """`known`, whose newest may have another number now: it was restarted. That may be how its configuration came."""
    last, fixed = known[-1], _fixed(known[-1], now_runs, required)
    if last.fixed != fixed:
        last = last.model_copy(update={"fixed": fixed})
        known = (*known[:-1], last)
    if last.revision == now_runs.revision:
        return known
    arrived = not _is_first(last) and now_runs.at - last.at < PASSING
    earlier = last.earlier if arrived else (*last.earlier, last.revision)[-MAX_NUMBERS:]
    return (*known[:-1], last.model_copy(update={"revision": now_runs.revision, "earlier": earlier}))


def _fixed(
    before: Remembered, now: Remembered, required: Collection[tuple[str, str]]
) -> tuple[RememberedObject, ...] | None:
    """What cannot change under its name, as it is now; what is required and gone stays, to be made anew."""
    if now.fixed is None:
        return before.fixed
    there = {(one.kind, one.name) for one in now.kept}
    gone = [one for one in before.fixed or () if (one.kind, one.name) in required and (one.kind, one.name) not in there]
    return (*now.fixed, *gone[: MAX_OBJECTS - len(now.kept)])


def _same(one: Remembered, other: Remembered) -> bool:
    return (one.fingerprint, one.config) == (other.fingerprint, other.config)


def _came_alone(known: Sequence[Remembered]) -> bool:
    """Whether nothing but the configuration changed when the newest came, nor since: a restart has another number."""
    before, last = known[-2:] if len(known) > 1 else (None, known[-1])
    return before is not None and (before.fingerprint, before.revision) == (last.fingerprint, last.revision)


def _is_first(one: Remembered) -> bool:
    """Whether it is the first configuration of its template."""
    return one.release is None


def identified(target: Snapshot, known: Sequence[Remembered], config: str | None, now: datetime) -> Snapshot:
    """`target`, with revisions that tell configurations apart; `config` is the digest of what is there now.

    None: nobody can say; then it is taken to be as it was seen last with this template.
    """
    newest = known[-1] if known else None
    if config is None:
        config = newest.config if newest is not None and newest.fingerprint == target.current.fingerprint else ""
    current = _current(target.current, known, config)
    told = replace(target, current=current, history=tuple(_history(target, known, current, now)))
    if newest is None or len(known) == 1 or not _stands(newest, target.current, config):
        return told
    if known[-2].fingerprint != newest.fingerprint:
        return told
    return _changed_alone(told, known[-2], newest, now)


def told_apart(other: Other, known: Sequence[Remembered]) -> Other:
    """A request, with the configuration in its fingerprints as well.

    One that names no policy knows of pod templates only. What stood when it was made tells which revision it left, and
    what stood afterwards which one it brought back.
    """
    if other.by_policy or other.left is None or other.to is None:
        return other
    before = [one for one in known if one.fingerprint == other.left and one.at <= other.created]
    after = [one for one in known if one.fingerprint == other.to and one.at >= other.created]
    left = max(before, key=lambda one: one.at).identity if before else other.left
    return replace(other, left=left, to=after[0].identity if after else other.to)


def _changed_alone(target: Snapshot, before: Remembered, newest: Remembered, now: datetime) -> Snapshot:
    """Nothing but the configuration changed when the current revision came: the template's times say nothing of it.

    A release that is complete has started the pods anew since, which made another number; or some time has passed.
    """
    restarted = target.current.name != before.revision
    complete = restarted and (target.changed is None or target.changed >= newest.at)
    until = newest.at + PASSING
    return replace(
        target,
        changed=newest.at,
        changed_estimated=True,
        reactivated=newest.again,
        arriving=None if complete or now >= until else until,
    )


def _current(current: Revision, known: Sequence[Remembered], config: str) -> Revision:
    its = [one for one in known if one.fingerprint == current.fingerprint]
    found = next((one for one in its if one.config == config), None)
    if found is not None:
        return replace(current, fingerprint=found.identity, config=config, turn=len(known))
    if not its or not config:
        return replace(current, config=config, turn=len(known))
    return replace(current, fingerprint=together(current.fingerprint, config), config=config, turn=len(known))


def _history(target: Snapshot, known: Sequence[Remembered], current: Revision, now: datetime) -> Iterable[Revision]:
    """Each revision as often as there are configurations that it ran with; the current one is the newest."""
    lasting = [(turn, one) for turn, one in enumerate(known) if not _passing(one, known, current, now)]
    for revision in target.history:
        its = [(turn, one) for turn, one in lasting if one.fingerprint == revision.fingerprint]
        stands = revision.order == target.current.order
        ran = [(turn, one) for turn, one in its if revision.name in _numbers(one)] or its[: 0 if stands else 1]
        if _oldest_of_its_kind(revision, target.history):
            ran += [(turn, one) for turn, one in its if _numberless(one, target.history) and (turn, one) not in ran]
        if not its and not stands:
            yield revision
        for turn, one in ran:
            if one.identity != current.fingerprint:
                order = min(revision.order, _order(one)) if _numberless(one, target.history) else revision.order
                yield replace(revision, fingerprint=one.identity, config=one.config, turn=turn, order=order)
        if stands or any(one.identity == current.fingerprint for _, one in ran):
            yield replace(revision, fingerprint=current.fingerprint, config=current.config, turn=current.turn)


def _oldest_of_its_kind(revision: Revision, history: Sequence[Revision]) -> bool:
    """Whether it is the oldest revision with its template."""
    return revision.order == min(one.order for one in history if one.fingerprint == revision.fingerprint)


def _numbers(one: Remembered) -> tuple[str, ...]:
    return (*one.earlier, one.revision)


def _order(one: Remembered) -> int:
    return max(int(number) for number in _numbers(one))


def _numberless(one: Remembered, history: Sequence[Revision]) -> bool:
    """Whether no revision on record has a number that it ran with."""
    return not any(one.fingerprint == its.fingerprint and its.name in _numbers(one) for its in history)


def _passing(one: Remembered, known: Sequence[Remembered], current: Revision, now: datetime) -> bool:
    """Whether it was seen last, for a moment, and something else stands now."""
    is_last = one is known[-1] and one.identity != current.fingerprint
    return is_last and not _is_first(one) and not one.again and now - one.at < PASSING


def _stands(one: Remembered, current: Revision, config: str) -> bool:
    return (one.fingerprint, one.config) == (current.fingerprint, config)
