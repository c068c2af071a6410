"""Pending, and what is asked for stands already, but pods of another revision keep it from rolling out."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from rollback_operator.api.common import TargetRef
from rollback_operator.api.reasons import Reason
from rollback_operator.api.request import Phase, Plan
from rollback_operator.core.choice import LAST_KNOWN_GOOD, PREVIOUS, Chosen
from rollback_operator.core.values import Ending, HeldUp, Request, Snapshot


def made_already(
    request: Request, wanted: str, target: Snapshot, *, bad: Collection[str], good: Collection[str]
) -> bool:
    """Whether the target was gone back with by other means (`kubectl rollout undo`), and pods hold that up.

    Then Previous would be the very revision whose pods hold it up. Not if the request says (`from`) that what stands is
    to be left, if that counts as bad, or if something else is what proved good and that is asked for.
    """
    fits = wanted == PREVIOUS or (wanted == LAST_KNOWN_GOOD and (not good or target.current.fingerprint in good))
    relative = fits and request.spec.from_ is None
    returned = target.held_up is not None and target.reactivated
    return relative and returned and target.current.fingerprint not in bad


def rather_freed(ref: TargetRef, target: Snapshot, choice: Chosen | Ending, *, made: bool) -> Chosen | Ending:
    """`choice`, or the revision that stands, to be freed of the pods that hold it up.

    The latter if just that revision is asked for, or if the rollback was `made` already.
    """
    held = target.held_up
    stands = isinstance(choice, Ending) and choice.reason is Reason.ALREADY_AT_REVISION
    if held is None or not (stands or made):
        return choice
    if held.left_to_people:
        return Ending(Phase.SUCCEEDED, Reason.ALREADY_AT_REVISION, _by_hand(ref, target, held))
    by = next((one for one in target.history if one.name == held.by.name), held.by)  # by the name that it has here
    return Chosen(target.current, (_stands_already(ref, target, held),), replace(held, by=by))


def freed_by_dry_run(ref: TargetRef, plan: Plan) -> str:
    """What a dry run says."""
    return (
        f"Dry run: {ref} has the template of revision {plan.to.revision} already. {' '.join(plan.steps)} Nothing was "
        "changed."
    )


def _stands_already(ref: TargetRef, target: Snapshot, held: HeldUp) -> str:
    return (
        f"{ref} was set to revision {target.current.name} already, and waits for {held.pods}. To go to another "
        "revision, name it in `to`."
    )


def _by_hand(ref: TargetRef, target: Snapshot, held: HeldUp) -> str:
    return (
        f"{ref} already has the template of revision {target.current.name}: nothing was changed. But it waits for "
        f"{held.pods}: delete by hand what is not ready (options.statefulSet.freeStuckPods is off)."
    )
