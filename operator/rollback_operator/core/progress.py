"""How a status changes: the transitions of a request's life, each as one function from status to status."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import datetime
from typing import Any

from rollback_operator.api.common import TargetRef
from rollback_operator.api.fields import format_duration
from rollback_operator.api.hold import HoldOrders
from rollback_operator.api.options import Options
from rollback_operator.api.policy import Verify
from rollback_operator.api.reasons import Reason
from rollback_operator.api.request import (
    MAX_AFFECTED,
    MAX_AFFECTED_NAME,
    MAX_DIFF_BYTES,
    Phase,
    Plan,
    RequestStatus,
    RevisionRef,
    Step,
    StepState,
    TargetStatus,
)
from rollback_operator.core import conditions as on
from rollback_operator.core.backups import restoring
from rollback_operator.core.choice import Chosen
from rollback_operator.core.stance import NOTHING_ELSE, Go
from rollback_operator.core.values import Ending, Findings, Request, Revision, Snapshot

STEP = "Rollback"
_LOST = "It was sent, and what it did could not be seen any more: nobody can tell."
CUT = "\n… cut here: the whole difference is longer than 32 KiB\n"


def make_plan(
    target: Snapshot,
    chosen: Chosen,
    findings: Findings,
    *,
    account: str,
    verify: Verify | None,
    options: Options | None = None,
    hold: HoldOrders | None = None,
    standing: Go = NOTHING_ELSE,
) -> Plan:
    """The plan as it is written down: everything that the effect will be held to."""
    to, left = chosen.revision, chosen.frees.by if chosen.frees else _left(target, chosen)
    findings = replace(findings, copy=None) if chosen.frees else findings  # nothing is replaced
    affected = _affected(findings, standing)
    plan = Plan(
        digest="",
        uid=target.uid,
        from_=RevisionRef(revision=left.name, fingerprint=left.fingerprint),
        to=RevisionRef(revision=to.name, fingerprint=to.fingerprint),
        steps=tuple(on.shorten(step, 256) for step in _effects(findings, standing)[:16]),
        diff=cut_diff(findings.diff),
        notes=tuple(on.shorten(note, 1024) for note in _notes(chosen, findings, standing, len(affected))[:16]),
        service_account_name=account,
        verify_timeout=verify.timeout if verify else None,
        verify_triggers=verify.triggers if verify else (),
        options=options,
        hold=hold,
        suspends=standing.suspends,
        frees=True if chosen.frees else None,
        backup=findings.copy,
        configuration=None if chosen.frees else findings.configuration,
        affected=tuple(on.shorten(name, MAX_AFFECTED_NAME) for name in affected[:MAX_AFFECTED]) or None,
    )
    canonical = json.dumps(plan.dump(), sort_keys=True, separators=(",", ":"))
    return plan.model_copy(update={"digest": "sha256:" + hashlib.sha256(canonical.encode()).hexdigest()})


def _left(target: Snapshot, chosen: Chosen) -> Revision:
    """What is left: of what stands in parts only the whole, unless that is brought back."""
    whole = target.whole
    return target.current if whole is None or whole.fingerprint == chosen.revision.fingerprint else whole


def _notes(chosen: Chosen, findings: Findings, standing: Go, count: int) -> tuple[str, ...]:
    """`count`: of all that is affected."""
    consists = (f"It consists of: {on.some_of(findings.affected)}.",) if findings.affected else ()
    cut = (f"plan.affected names the first {MAX_AFFECTED} of {count} objects.",) if count > MAX_AFFECTED else ()
    return (*chosen.notes, *consists, *cut, *standing.notes, *findings.notes)


def _affected(findings: Findings, standing: Go) -> tuple[str, ...]:
    """What goes back with the target, then what stands still for it."""
    return tuple(dict.fromkeys((*findings.affected, *standing.affected)))


def _effects(findings: Findings, standing: Go) -> tuple[str, ...]:
    suspending = tuple(f"Suspend {one.kind} {one.namespace}/{one.name} (spec.suspend)." for one in standing.suspends)
    keeping = (f"Keep a copy of what is replaced in Secret {findings.copy.secret}.",) if findings.copy else ()
    return (*keeping, *suspending, *findings.steps)


def cut_diff(diff: str) -> str:
    """`diff` within the schema's bound of bytes, cut visibly between lines."""
    if len(diff.encode()) <= MAX_DIFF_BYTES:
        return diff
    room = MAX_DIFF_BYTES - len(CUT.encode())
    head = diff.encode()[:room].decode(errors="ignore")
    return head[: head.rfind("\n")] + CUT


def waiting(request: Request, now: datetime, reason: Reason, message: str, **fields: Any) -> RequestStatus:
    """Pending for a reason; nothing has been done."""
    return _moved(request, now, Phase.PENDING, (reason, message), **fields)


def awaiting(
    request: Request, now: datetime, target: str, until: datetime, leaving: str | None = None
) -> RequestStatus:
    """AwaitingApproval: it will run at `until`, and people may hasten or veto it; `leaving` is what they decide on."""
    patch = f"kubectl -n {request.namespace} patch rbr {request.name} --type merge -p"
    message = (
        f"{target} will be rolled back at {until:%H:%M:%S} UTC. To do it now: approve: true; to prevent it: "
        f'abort: true ({patch} \'{{"spec":{{"abort":true}}}}\').'
    )
    why = (Reason.AWAITING_APPROVAL, message)
    return _moved(request, now, Phase.AWAITING_APPROVAL, why, target=target, from_=leaving)


def going_by(request: Request, now: datetime, ref: TargetRef, message: str) -> RequestStatus:
    """Pending, about another target than the one that was named; whatever was noted of that one is forgotten."""
    mine = TargetStatus(target=str(ref), phase=Phase.PENDING)
    why = (Reason.GOING_BY_OWNER, message)
    started = request.status.started_at or now
    return _moved(request, now, Phase.PENDING, why, target=str(ref), from_=None, targets=(mine,), started_at=started)


def planned(request: Request, now: datetime, ref: TargetRef, plan: Plan) -> RequestStatus:
    """Running: the plan is written, its effect comes next."""
    source, to = plan.from_.revision, plan.to.revision
    step = Step(name=STEP, state=StepState.RUNNING, started_at=now, last_attempt_at=now)
    restore = restoring(request.namespace, plan.backup) if plan.backup is not None else None
    return _moved(
        request,
        now,
        Phase.RUNNING,
        (Reason.APPLYING, _rolling(str(ref), plan)),
        conditions={on.PLANNED: ("True", Reason.PLANNED, f"Revision {source} to {to}: see the plan for what changes.")},
        started_at=request.status.started_at or now,
        **_with_target(ref, plan, Phase.RUNNING, (step,), restore),
    )


def under_way(
    request: Request, now: datetime, why: tuple[Reason, str], *, conditions: dict[str, on.Change], **fields: Any
) -> RequestStatus:
    """Running: of a group, whose targets have requests of their own."""
    return _moved(request, now, Phase.RUNNING, why, conditions=conditions, **fields)


def holding(request: Request, now: datetime, reason: Reason, message: str) -> RequestStatus:
    """Still where it was, for another reason: written because a person should know.

    That it goes on is no reason to write again, in whatever words: two operators would write theirs in turns.
    """
    said = any(condition.reason == reason for condition in request.status.conditions)
    return request.status if said else _held_up(request, now, reason, message)


def _held_up(request: Request, now: datetime, reason: Reason, message: str) -> RequestStatus:
    phase = request.status.phase or Phase.PENDING
    verified: dict[str, on.Change] = {}
    if phase is Phase.VERIFYING:
        verified = {on.VERIFIED: ("False", reason, message)}
    return _moved(request, now, phase, (reason, message), conditions=verified)


def attempted(request: Request, now: datetime, *, unkept: str | None = None) -> RequestStatus:
    """Running, with one more attempt: written before the effect is sent again.

    The write is guarded by the version that was read, so whoever ends the request on an older reading fails.
    `unkept`: why it is made without the copy that the plan names.
    """
    (mine,) = request.status.targets
    (step,) = mine.steps
    plan = mine.plan
    assert plan is not None
    step = step.model_copy(update={"attempts": step.attempts + 1, "last_attempt_at": now})
    if unkept is not None:
        step = step.model_copy(update={"message": on.shorten(unkept, 512)})
        mine = mine.model_copy(update={"restore": None})
    targets = (mine.model_copy(update={"steps": (step,)}),)
    return _moved(request, now, Phase.RUNNING, (Reason.APPLYING, _rolling(mine.target, plan)), targets=targets)


def applied(request: Request, now: datetime, target: Snapshot) -> RequestStatus:
    """Verifying: the effect was seen on the target."""
    (mine,) = request.status.targets
    plan = mine.plan
    assert plan is not None
    whom = "Argo CD" if mine.target.startswith("Application/") else "its pods"
    back = f"{mine.target} {_stands(plan)}"
    done = tuple(
        step.model_copy(
            update={"state": StepState.DONE, "finished_at": now, "message": _done(plan, target.left_out, step.message)}
        )
        for step in mine.steps
    )
    mine = mine.model_copy(update={"phase": Phase.VERIFYING, "steps": done, "generation": target.generation})
    return _moved(
        request,
        now,
        Phase.VERIFYING,
        (Reason.ROLLING_OUT, f"{back}; waiting for {whom}."),
        targets=(mine,),
        conditions={
            on.APPLIED: ("True", Reason.APPLIED, f"{back}."),
            on.VERIFIED: ("False", Reason.ROLLING_OUT, "Waiting for the rollout."),
        },
    )


def ended(
    request: Request, now: datetime, ending: Ending, *, certain: bool = True, part: str | None = None, **fields: Any
) -> RequestStatus:
    """Final: Ready and Stalled say how, Applied whether anything was changed (Unknown if nobody can tell any more).

    `part`: what was changed beside a target that was not.
    """
    phase, reason, message = ending.phase, ending.reason, ending.message
    good = phase is Phase.SUCCEEDED
    conditions: dict[str, on.Change] = {
        on.READY: ("True" if good else "False", reason, message),
        on.RECONCILING: None,
        on.STALLED: None if good else ("True", reason, message),
    }
    untouched = on.find(request.status.conditions, on.APPLIED) is None
    if untouched:
        said = part or "Nothing was changed."
        conditions[on.APPLIED] = ("False", reason, said) if certain else ("Unknown", reason, _LOST)
    if on.is_true(request.status.conditions, on.APPLIED):
        conditions[on.VERIFIED] = ("True" if good else "False", reason, message)
    started = request.status.started_at or now
    targets = fields.pop("targets", request.status.targets)
    return _with_conditions(
        request,
        now,
        conditions,
        phase=phase,
        targets=tuple(
            _closed(
                one,
                phase,
                StepState.NOT_MADE if certain else StepState.UNKNOWN,
                untouched=untouched and certain and part is None,
            )
            for one in targets
        ),
        started_at=started,
        finished_at=now,
        duration=format_duration(now - started),
        **fields,
    )


def _closed(mine: TargetStatus, phase: Phase, rest: StepState, *, untouched: bool) -> TargetStatus:
    """What became of a target when the request ended; `rest` is what became of the steps that were not seen done.

    Of a target that was not touched, nothing is to be put back.
    """
    steps = tuple(
        step if step.state is StepState.DONE else step.model_copy(update={"state": rest}) for step in mine.steps
    )
    restore = None if untouched else mine.restore
    return mine.model_copy(update={"phase": phase, "steps": steps, "restore": restore})


def shown_plan(ref: TargetRef, plan: Plan) -> dict[str, Any]:
    """Fields of a status that shows a plan which is not going to be carried out (a dry run's)."""
    return _with_target(ref, plan, Phase.SUCCEEDED, ())


def _stands(plan: Plan) -> str:
    if plan.frees:
        return f"stands at revision {plan.to.revision} and is freed of {_not_ready(plan)}"
    return f"was set back to revision {plan.to.revision}"


def _not_ready(plan: Plan) -> str:
    return f"pods of revision {plan.from_.revision} that are not ready"


def _rolling(target: str, plan: Plan) -> str:
    if plan.frees:
        return f"Freeing {target}, which stands at revision {plan.to.revision}, of {_not_ready(plan)}."
    return f"Rolling {target} back from revision {plan.from_.revision} to {plan.to.revision}."


def _done(plan: Plan, *more: str | None) -> str:
    done = f"Revision {plan.from_.revision} replaced by {plan.to.revision}."
    if plan.frees:
        done = f"Marked: revision {plan.to.revision} stood already."
    return " ".join([done, *filter(None, more)])


def _with_target(
    ref: TargetRef, plan: Plan, phase: Phase, steps: tuple[Step, ...], restore: str | None = None
) -> dict[str, Any]:
    source, to = plan.from_.revision, plan.to.revision
    mine = TargetStatus(target=str(ref), from_=source, to=to, phase=phase, plan=plan, steps=steps, restore=restore)
    return {"target": str(ref), "from_": source, "to": to, "targets": (mine,)}


def _moved(
    request: Request,
    now: datetime,
    phase: Phase,
    why: tuple[Reason, str],
    *,
    conditions: dict[str, on.Change] | None = None,
    **fields: Any,
) -> RequestStatus:
    reason, message = why
    changes: dict[str, on.Change] = {
        on.READY: ("False", reason, message),
        on.RECONCILING: ("True", reason, message),
        **(conditions or {}),
    }
    return _with_conditions(request, now, changes, phase=phase, **fields)


def _with_conditions(request: Request, now: datetime, changes: dict[str, on.Change], **fields: Any) -> RequestStatus:
    status = request.status
    conditions = on.updated(status.conditions, changes, request.generation, now)
    return status.model_copy(update={"conditions": conditions, "observed_generation": request.generation, **fields})
