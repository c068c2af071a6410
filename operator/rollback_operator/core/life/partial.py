"""Running, and configuration goes back before the target does: what to say if it ends between the two."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rollback_operator.api.reasons import Reason
from rollback_operator.api.request import Phase, Plan
from rollback_operator.core.backups import undoing
from rollback_operator.core.life.times import planned
from rollback_operator.core.values import Beside, Ending, Request

_UNTOUCHED = re.compile(r"[:;] nothing was changed| before anything was changed|(?<= )Nothing was changed\. ")
"""What endings say of a target that was not changed, and what is not true of its configuration."""


def configuration_moved(request: Request, beside: Beside) -> Ending | None:
    """Why the effect cannot be made any more: somebody else changed what was to be put back."""
    if not beside.changed:
        return None
    _, name = planned(request)
    message = (
        f"{_said(beside.changed)} changed by somebody else after the plan was made, so {name} was not rolled back: "
        "nothing was changed. If it is still wanted, write a new request."
    )
    return Ending(Phase.SUPERSEDED, Reason.NEWER_RELEASE, message)


def configuration_lost(plan: Plan, beside: Beside) -> Ending | None:
    """How somebody took back what was put back, if they did."""
    if not beside.changed:
        return None
    message = (
        f"{_said(beside.changed)} changed by somebody else after the rollback to revision {plan.to.revision}, before "
        "it was verified. Find who changes it (kubectl get -o yaml --show-managed-fields names the managers). If what "
        "it says now is bad, stop it there and write a new request."
    )
    return Ending(Phase.FAILED, Reason.OVERTAKEN, message)


def so_far(request: Request, beside: Beside) -> str | None:
    """What was put back of a rollback that is not going to be made, in a sentence; None if nothing was."""
    if not beside.put_back:
        return None
    _, name = planned(request)
    left = (*beside.due, *(one for one in beside.changed if one not in beside.put_back))
    rest = f"{_said(left)} not, and" if left else "but"
    since = [one for one in beside.put_back if one in beside.changed]
    again = f" By now, {_said(since)} changed by somebody else." if since else ""
    return f"{_said(beside.put_back)} put back as remembered, {rest} {name} itself was not changed.{again}"


def partly(request: Request, ending: Ending, beside: Beside) -> Ending:
    """`ending`, which knows of the target only, as it is when configuration was put back before it."""
    part = so_far(request, beside)
    if part is None:
        return ending
    aborted = ending.phase is Phase.ABORTED
    why = _UNTOUCHED.sub("", ending.message)
    message = f"{part} {why}{'' if why.endswith('.') else '.'} {_undo(request)}"
    return Ending(
        Phase.ABORTED if aborted else Phase.FAILED, Reason.ABORTED if aborted else Reason.PARTLY_MADE, message
    )


def _undo(request: Request) -> str:
    """How what was put back is taken back: nothing but the configuration, for the target may have moved on."""
    plan, _ = planned(request)
    kept = request.status.targets[0].restore is not None and plan.backup is not None and plan.backup.configuration
    if not kept or plan.backup is None:
        return "No copy was kept of what that replaced: if it is not to stay so, apply what is to stand there."
    return f"To take that back: {undoing(request.namespace, plan.backup)}"


def _said(names: Sequence[str]) -> str:
    """The names and their verb."""
    return f"{names[0]} was" if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]} were"
