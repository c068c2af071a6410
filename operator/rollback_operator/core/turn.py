"""Whose turn it is: one running request a target, the oldest first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from rollback_operator.api.request import Phase
from rollback_operator.core.values import Other, Request

_BEGUN = (Phase.RUNNING, Phase.VERIFYING)


def ahead(request: Request, others: Iterable[Other]) -> Other | None:
    """The request that `request` has to wait for, if there is one.

    Whoever has begun is ahead; of those that have not, the oldest. Creation times have a resolution of a second, so
    the uid breaks a tie: any order will do, as long as everybody sees the same one. Dry runs change nothing, so they
    neither wait nor are waited for; what still waits for people is not waited for.
    """
    if request.spec.dry_run:
        return None
    waiting = [other for other in others if _in_line(other) and other.uid != request.uid]
    begun = [other for other in waiting if other.phase in _BEGUN]
    older = [other for other in waiting if _age(other) < (request.created, request.uid)]
    return min(begun or older, key=_age, default=None)


def meanwhile(request: Request, others: Iterable[Other]) -> Other | None:
    """A request that rolled the same target back while `request` was there already.

    Two people who ask for the same thing at three in the morning mean one rollback, not two. Creation times are whole
    seconds, so one that ended in the second of the creation counts.
    """
    made = [other for other in others if other.applied and other.finished and other.uid != request.uid]
    overlapping = [other for other in made if other.finished and other.finished >= request.created]
    return max(overlapping, key=_age, default=None)


def rolled_back_from(others: Iterable[Other]) -> Mapping[str, str]:
    """Fingerprints that earlier requests rolled back from, with a clause that says so.

    Only a request whose effect was made says anything about the revision it left; and one that brought back what was
    rolled back from before undid a false alarm.
    """
    found: dict[str, str] = {}
    for other in sorted((one for one in others if one.applied and not one.dry_run), key=_age):
        if other.left and other.to not in found:
            found[other.left] = f"{other.name} rolled back from it"
    return found


def _in_line(other: Other) -> bool:
    return not other.dry_run and not other.graced and not (other.phase is not None and other.phase.final)


def _age(other: Other) -> tuple[datetime, str]:
    return (other.created, other.uid)
