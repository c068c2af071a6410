"""One target of a group, as the group's status has it: found, sent, there, ended."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from rollback_operator.api.request import Member, Phase, Step, StepState, TargetStatus
from rollback_operator.core import conditions as on
from rollback_operator.core.group import words
from rollback_operator.core.group.values import Sight, child_name, members
from rollback_operator.core.life.times import SETTLE, pause
from rollback_operator.core.values import Request, Snapshot

STEP = "Request"
"""The one step of each target: that its request is made."""


def found(request: Request, seen: Sight) -> tuple[TargetStatus, ...]:
    """All targets as they were found: that, and no later release, is what is rolled back."""
    return tuple(_found(one, seen) for one in members(request))


def _found(member: Member, seen: Sight) -> TargetStatus:
    target = seen.targets[str(member.target)]
    assert isinstance(target, Snapshot)
    owner = seen.instead.get(str(member.target))
    return TargetStatus(
        target=str(member.target),
        owner=str(owner) if owner is not None else None,
        from_=target.current.name if target.settled else None,
        fingerprint=target.current.fingerprint,
        phase=Phase.PENDING,
    )


def followed(entry: TargetStatus, seen: Sight, now: datetime) -> TargetStatus:
    """A target as its request says now."""
    if entry.request is None or entry.phase.final:
        return entry
    child = seen.children.get(entry.request)
    if child is None:
        gone = is_there(entry) or entry.request in seen.made
        return closed(entry, Phase.ABORTED, words.vanished(entry)) if gone else entry
    if not child.ours:
        return closed(entry, Phase.FAILED, words.in_the_way(entry.request))
    status, (step,) = child.request.status, entry.steps
    if step.state is not StepState.DONE:
        step = step.model_copy(update={"state": StepState.DONE, "finished_at": now})
    phase = status.phase or Phase.PENDING
    changes = {
        "phase": phase,
        "steps": (step,),
        "from_": status.from_ or entry.from_,
        "to": status.to or entry.to,
        "message": words.said(status) if phase.final else None,
    }
    return entry.model_copy(update=changes)


def is_there(entry: TargetStatus) -> bool:
    """Whether the target's request was seen."""
    return any(step.state is StepState.DONE for step in entry.steps)


def is_open(entry: TargetStatus) -> bool:
    """Whether the target's request is there, and has not ended."""
    return is_there(entry) and not entry.phase.final


def has_failed(entry: TargetStatus, seen: Sight) -> bool:
    """Whether the target is the reason for the group to stop."""
    return (entry.phase.final and entry.phase is not Phase.SUCCEEDED) or entry.request in seen.refused


def closed(entry: TargetStatus, phase: Phase, message: str) -> TargetStatus:
    """A target of which nothing more is to come; a request that was never seen was not made."""
    rest = {"state": StepState.NOT_MADE}
    steps = tuple(step if step.state is StepState.DONE else step.model_copy(update=rest) for step in entry.steps)
    return entry.model_copy(update={"phase": phase, "steps": steps, "message": on.shorten(message, words.LONGEST)})


def given_up(entry: TargetStatus, seen: Sight) -> TargetStatus:
    """A target when its group ends."""
    if entry.phase.final:
        return entry
    refused = seen.refused.get(entry.request or "")
    return closed(entry, Phase.FAILED, refused.message) if refused else closed(entry, Phase.ABORTED, words.NOT_BEGUN)


def next_attempt(entry: TargetStatus) -> datetime | None:
    """When its request is to be made again; None: it was not sent yet."""
    if not entry.steps:
        return None
    (step,) = entry.steps
    assert step.last_attempt_at is not None
    return step.last_attempt_at + pause(step.attempts)


def may_arrive_until(entry: TargetStatus, seen: Sight) -> datetime | None:
    """Until when a request that was sent without an answer could still be made; None: it cannot."""
    if entry.request is None or entry.phase.final or is_there(entry):
        return None
    (step,) = entry.steps
    assert step.last_attempt_at is not None
    return step.last_attempt_at + SETTLE if seen.answered.get(entry.request, 0) < step.attempts else None


def sent(request: Request, entry: TargetStatus, member: Member, now: datetime) -> TargetStatus:
    """A target whose request is made next: written down each time before it is."""
    step = next(iter(entry.steps), Step(name=STEP, state=StepState.RUNNING, attempts=0, started_at=now))
    step = step.model_copy(update={"attempts": step.attempts + 1, "last_attempt_at": now})
    return entry.model_copy(update={"request": child_name(request, member.target), "steps": (step,)})


def revisions(entries: Iterable[TargetStatus]) -> tuple[str | None, str | None]:
    """What is left and what is brought back, in the order of the targets, as the columns show it."""
    both = [(one.from_ or "-", one.to or "-") for one in entries]
    shown = (",".join(one for one, _ in both), ",".join(one for _, one in both))
    left, right = (None if set(text) <= {"-", ","} else on.shorten(text, 80) for text in shown)
    return left, right
