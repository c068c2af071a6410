"""What one reading of an Application says: the revision it is at, its history, how it does."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from typing import Any

from rollback_operator.api import REQUEST_ANNOTATION
from rollback_operator.api.reasons import Reason
from rollback_operator.api.request import Phase, Plan
from rollback_operator.core.half import half_of
from rollback_operator.core.owners import recognised
from rollback_operator.core.values import Health, Obstacle, Revision, Snapshot, Wellbeing
from rollback_operator.targets.application import operation
from rollback_operator.targets.application.content import SHA, Content, digest, short
from rollback_operator.targets.application.held import hold_of
from rollback_operator.targets.application.operation import annotations_of, state

Object = dict[str, Any]
REFRESH_ANNOTATION = "argocd.argoproj.io/refresh"
"""On an Application: Argo CD is to look at it anew; it takes the annotation away when it has."""


def snapshot(app: Object, phase: Phase | None, plan: Plan | None) -> Snapshot:
    """The Application as a request in `phase` sees it.

    While a rollback is verified, what its operation is to bring counts as current, whatever became of it: that is what
    the Application was asked for. For everybody else it is what was really deployed last.
    """
    metadata = app["metadata"]
    known = _known(plan)
    entries = history(app, known)
    current = _wanted(app, entries, plan) if phase is Phase.VERIFYING else None
    going_on = operation.going_on(app)
    return Snapshot(
        uid=metadata["uid"],
        generation=metadata["generation"],
        current=current or _deployed(app, entries, known),
        history=_with_planned(app, entries, plan),
        settled=not going_on,
        health=_health(app),
        obstacle=_obstacle(app),
        owners=recognised(app),
        marks=_marks(app),
        unfinished=_waits_for_a_look(app),
        raw=app,
        changed=_changed(app, entries),
        reactivated=_is_a_return(entries),
        waits_for=_busy(app) if going_on else "",
        under_way=operation.can_be_called_off(app),
        named=lambda to: commit(app, to, known),
    )


def resources(app: Object) -> tuple[str, ...]:
    """The objects that it manages, as far as Argo CD has noted them."""
    noted = (app.get("status") or {}).get("resources") or []
    names = ("/".join(part for part in (one.get("namespace"), one.get("name")) if part) for one in noted)
    return tuple(f"{one.get('kind')} {name}" for one, name in zip(noted, names, strict=True))


def _known(plan: Plan | None) -> frozenset[str]:
    """The fingerprints of a plan: one that is under way goes on with the names that it has for things."""
    return frozenset((plan.from_.fingerprint, plan.to.fingerprint)) if plan is not None else frozenset()


def history(app: Object, known: Collection[str] = ()) -> tuple[Revision, ...]:
    """The states that can be gone back to: Argo CD's history, as `argocd app history` shows it."""
    found = [(entry, Content.of(entry)) for entry in (app.get("status") or {}).get("history") or []]
    return tuple(_revision(entry, content, known) for entry, content in found if content is not None)


def content_of(app: Object, revision: str, fingerprint: str) -> Content | None:
    """The content of that fingerprint, found in the history or at a commit that `revision` names."""
    entries = (app.get("status") or {}).get("history") or []
    found = [(entry, content) for entry in entries if (content := Content.of(entry)) is not None]
    fitting = [(entry, content) for entry, content in found if content.called((fingerprint,)) == fingerprint]
    named = [content for entry, content in fitting if str(entry["id"]) == revision]
    if fitting:
        return (named or [content for _, content in fitting])[0]
    at = _at(app, revision)
    return at if at is not None and at.called((fingerprint,)) == fingerprint else None


def deployed(app: Object) -> Content | None:
    """What a rollback leaves: what a failed sync was bringing, else what the last one brought."""
    entries = (app.get("status") or {}).get("history") or []
    return operation.left_half_done(app) or (Content.of(entries[-1]) if entries else None)


def left_by(app: Object) -> Content | None:
    """What must not come back after a rollback: what it leaves, else what Argo CD has found in Git.

    What a rollback failed to bring is not bad for that; what was there before it still is.
    """
    ours = operation.is_ours(app) and operation.failed(app)
    entries = (app.get("status") or {}).get("history") or []
    before = Content.of(entries[-1]) if entries else None
    return (before if ours else deployed(app)) or Content.compared(app)


def commit(app: Object, to: str, known: Collection[str] = ()) -> Revision | None:
    """The state of the Application's present sources at a commit that is not in its history; None if `to` is none."""
    content = _at(app, to)
    if content is None:
        return None
    newest = max((one.order for one in history(app)), default=0)
    return Revision(name=to, order=newest, fingerprint=content.called(known), source=f"commit {short(to)}")


def _at(app: Object, commit: str) -> Content | None:
    """The present sources, those from Git at `commit`: all of one repository, as a commit is one repository's."""
    compared = Content.compared(app)
    if not SHA.fullmatch(commit) or compared is None:
        return None
    repositories = {source["repoURL"] for source in compared.sources if not source.get("chart")}
    if len(repositories) != 1:
        return None
    pairs = zip(compared.sources, compared.revisions, strict=True)
    return replace(compared, revisions=tuple(at if source.get("chart") else commit for source, at in pairs))


def _revision(entry: Object, content: Content, known: Collection[str]) -> Revision:
    number = int(entry["id"])
    return Revision(
        name=str(number),
        order=number,
        fingerprint=content.called(known),
        source=f"history entry {number} ({content})",
        created=_time(entry.get("deployedAt")),
        aliases=tuple(at for at in content.revisions if SHA.fullmatch(at)),
    )


def _with_planned(app: Object, entries: tuple[Revision, ...], plan: Plan | None) -> tuple[Revision, ...]:
    """The history, and the commit that the plan goes to, if that is none of it."""
    if plan is None or any(one.fingerprint == plan.to.fingerprint for one in entries):
        return entries
    found = commit(app, plan.to.revision, _known(plan))
    return (*entries, found) if found is not None and found.fingerprint == plan.to.fingerprint else entries


def _wanted(app: Object, entries: tuple[Revision, ...], plan: Plan | None) -> Revision | None:
    """What the last rollback asked for, also if that was called off before Argo CD began it."""
    if operation.is_ours(app):
        return _asked(app, entries, _known(plan))
    if plan is None or not operation.was_taken_back(app):
        return None
    known = _with_planned(app, entries, plan)
    return next((one for one in known if one.fingerprint == plan.to.fingerprint), None)


def _asked(app: Object, entries: tuple[Revision, ...], known: Collection[str]) -> Revision | None:
    content = operation.asked_for(app)
    if content is None:
        return None
    fingerprint = content.called(known)
    there = max((one for one in entries if one.fingerprint == fingerprint), key=_order, default=None)
    newest = max((one.order for one in entries), default=0)
    return there or Revision(str(content), newest + 1, fingerprint, "the operation")


def _deployed(app: Object, entries: tuple[Revision, ...], known: Collection[str]) -> Revision:
    newest = max(entries, key=_order, default=None)
    half = operation.left_half_done(app)
    if half is not None:
        # Neither the one nor the other: to sync to it anew is not "already there".
        name = f"{short(half.revisions[0])} (failed)"
        before, now = half_of(half.fingerprint_before), half_of(half.fingerprint)
        fingerprint = before if before in known else now
        return Revision(name, newest.order + 1 if newest else 1, fingerprint, "a sync that failed")
    return newest or Revision("none", 0, "v1:" + digest(app["spec"]), "the Application")


def _order(revision: Revision) -> int:
    return revision.order


def _marks(app: Object) -> frozenset[str]:
    """All places that tell of a rollback's effect: each of them can be lost while the others last."""
    hold = hold_of(app)
    marks = (
        annotations_of(app).get(REQUEST_ANNOTATION),
        hold.request if hold else None,
        operation.key_of(app.get("operation")),
        operation.key_of(state(app).get("operation")),
    )
    return frozenset(mark for mark in marks if mark)


def _obstacle(app: Object) -> Obstacle | None:
    metadata = app["metadata"]
    if not metadata.get("deletionTimestamp"):
        return None
    message = (
        f"Application {metadata['namespace']}/{metadata['name']} is being deleted: nothing was changed. If it is made "
        "anew with the bad release, write a new request then."
    )
    return Obstacle(Reason.TARGET_NOT_FOUND, message)


def _busy(app: Object) -> str:
    """What Argo CD is doing with it, as something to wait for."""
    words = operation.said(app)
    return "Argo CD is syncing it" + (f" ({words})" if words else "")


def _health(app: Object) -> Health:
    """How the Application does with what was asked for last."""
    if operation.going_on(app):
        begun = state(app).get("phase")
        words = operation.said(app) or ("the sync is under way" if begun else "the sync has not begun")
        return Health(Wellbeing.PROGRESSING, f"Argo CD: {words}")
    if operation.is_ours(app) and operation.failed(app):
        return Health(Wellbeing.FAILING, f"Argo CD could not sync it: {operation.said(app)}", final=True)
    if operation.was_taken_back(app):
        return Health(Wellbeing.FAILING, "its sync was called off before Argo CD began it", final=True)
    if not _was_looked_at(app):
        return Health(Wellbeing.PROGRESSING, "Argo CD has not looked at it since the sync")
    return _of_resources(app)


def _of_resources(app: Object) -> Health:
    health = (app.get("status") or {}).get("health") or {}
    status = health.get("status") or "Unknown"
    if status == "Healthy":
        return Health(Wellbeing.HEALTHY, "it is synced, and Argo CD calls it Healthy")
    unwell = _unwell(app)
    message = f"Argo CD calls it {status}" + (f": {', '.join(unwell)}" if unwell else "")
    return Health(Wellbeing.FAILING if status == "Degraded" else Wellbeing.PROGRESSING, message)


def _unwell(app: Object) -> list[str]:
    """The first objects of it that are not well; their own messages may quote what is secret."""
    resources = (app.get("status") or {}).get("resources") or []
    found = [
        f"{one.get('kind')} {one.get('name')} is {one['health']['status']}"
        for one in resources
        if (one.get("health") or {}).get("status") not in (None, "Healthy")
    ]
    return found[:3]


def _was_looked_at(app: Object) -> bool:
    """Whether what Argo CD says of its health is about what the sync brought. Its times are whole seconds."""
    finished = _time(state(app).get("finishedAt"))
    looked = _time((app.get("status") or {}).get("reconciledAt"))
    return finished is None or (looked is not None and looked > finished)


def _waits_for_a_look(app: Object) -> bool:
    """Whether our sync is over, and a look at the outcome has to be asked for: by itself it may take minutes."""
    over = operation.is_ours(app) and not operation.going_on(app) and not operation.failed(app)
    return over and not _was_looked_at(app) and REFRESH_ANNOTATION not in annotations_of(app)


def _changed(app: Object, entries: tuple[Revision, ...]) -> datetime | None:
    if operation.left_half_done(app) is not None:
        return _time(state(app).get("startedAt"))
    newest = max(entries, key=_order, default=None)
    return newest.created if newest else None


def _is_a_return(entries: tuple[Revision, ...]) -> bool:
    """Whether the newest state is one that there was before another."""
    ordered = [one.fingerprint for one in sorted(entries, key=_order)]
    newest = ordered[-1] if ordered else None
    while ordered and ordered[-1] == newest:
        ordered.pop()
    return newest in ordered


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
