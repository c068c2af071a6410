"""Acting on what was decided: questions that change nothing, the effect, and what it leaves to do."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from rollback_operator import metrics, owning
from rollback_operator.api.common import TargetRef
from rollback_operator.api.request import Phase, Plan
from rollback_operator.backups import Backups, given_up
from rollback_operator.configuration.together import Together
from rollback_operator.core import backups
from rollback_operator.core.life.times import pause, too_late_to_send
from rollback_operator.core.values import (
    Answer,
    Apply,
    Examine,
    Finish,
    Refused,
    Rehearse,
    Rehearsed,
    Request,
    Snapshot,
    Stop,
)
from rollback_operator.kube import errors
from rollback_operator.kube.client import Api
from rollback_operator.kube.resources import Orders
from rollback_operator.refusals import refusal, unfinished
from rollback_operator.requests.heard import Heard
from rollback_operator.requests.reading import plan_of
from rollback_operator.requests.reporting import context_of
from rollback_operator.targets.base import Stoppable, Target, Where

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Job:
    """What is acted for: a request about `ref`, which is `where`, and what is known of both."""

    request: Request
    ref: TargetRef
    where: Where
    heard: Heard


@dataclass(frozen=True, slots=True)
class Actor:
    """Acts with the rights of the request's service account; what came of it is seen by the next round."""

    api: Api
    targets: Mapping[str, Target]
    together: Together
    backups: Backups

    async def ask(self, job: Job, orders: Orders | None, target: Snapshot, action: Examine | Rehearse) -> Answer:
        """Ask what has to be known for a plan, or rehearse one."""
        if isinstance(action, Rehearse):
            return await self._rehearse(job, target, action.plan)
        recalled = await self.together.recall(job.ref.kind, job.where, target, orders, action.to)
        wish = backups.wish(job.request.spec, orders.spec if orders is not None else None)
        findings, copy = await asyncio.gather(
            self.targets[job.ref.kind].examine(job.where, target, action.to),
            self.backups.prepare(
                job.request, job.ref, job.where, target, wish, to=action.to.name, beside=recalled.replaced
            ),
        )
        return copy if isinstance(copy, Refused) else recalled.added_to(copy.added_to(findings), target.uid)

    async def _rehearse(self, job: Job, target: Snapshot, plan: Plan) -> Answer:
        key, account = job.request.uid, job.where.account
        try:
            moved = await owning.suspend(self.api, plan, key, job.where, dry_run=True)
            if moved is not None:
                return replace(moved, plan=plan)
            await self.together.apply(job.ref.kind, job.where, target, plan, key, dry_run=True)
        except (errors.Forbidden, errors.Invalid) as error:
            return replace(refusal(error, job.ref, account), plan=plan)
        return Rehearsed(plan)

    async def act(self, job: Job, target: Snapshot | None, action: Apply | Finish | Stop) -> float | None:
        """Make the effect, finish what it left to do, or call it off.

        Gives the seconds until the next round, if it should not follow at once.
        """
        if isinstance(action, Finish):
            return await self._finish(job, target, freeing=action.freeing)
        assert target is not None
        if isinstance(action, Stop):
            return await self._stop(job, target)
        kept = not _too_late(job.request) and await self.keep(job, target)
        if not kept or _too_late(job.request):
            job.heard.note_answered(job.request)
        else:
            await self._apply(job, target, action.plan)
        return None

    async def keep(self, job: Job, target: Snapshot) -> bool:
        """Keep the copy that the plan names, unless it was given up; gives whether the effect may follow."""
        (mine,) = job.request.status.targets
        assert mine.plan is not None
        if mine.restore is None or mine.plan.backup is None:
            return True
        try:
            beside = await self.together.replaced(job.where, mine.plan)
            to, copy = mine.plan.to.revision, mine.plan.backup
            await self.backups.keep(job.request, job.ref, job.where, target, copy, to=to, beside=beside)
        except (errors.Forbidden, errors.Invalid) as error:
            job.heard.answer = given_up(error, job.ref, job.where.account, required=mine.plan.backup.required)
            return False
        except errors.KubeError as error:
            metrics.RETRIES.labels("no answer").inc()
            self._say(job, logging.WARNING, "The backup is not kept yet", error)
            return False
        return True

    async def _apply(self, job: Job, target: Snapshot, plan: Plan) -> None:
        request, heard = job.request, job.heard
        try:
            moved = await owning.suspend(self.api, plan, request.uid, job.where, heard.suspending(request))
            heard.answer = moved or heard.answer
            if moved is not None or _too_late(request):
                heard.note_answered(request)
                return
            await self.together.apply(job.ref.kind, job.where, target, plan, request.uid, done=heard.note_put_back)
            metrics.TO_EFFECT.observe((datetime.now(UTC) - request.created).total_seconds())
        except errors.Conflict:
            metrics.RETRIES.labels("conflict").inc()
            heard.note_answered(request)
        except (errors.Forbidden, errors.Invalid) as error:
            heard.answer = refusal(error, job.ref, job.where.account)
            heard.note_answered(request)
        except errors.NotFound:
            heard.note_answered(request)
        except errors.Unavailable as error:
            not_done = isinstance(error, errors.NotDone)
            if not_done:
                heard.note_answered(request)
            metrics.RETRIES.labels("no answer").inc()
            what = "Not done, and tried again" if not_done else "No answer, looking at the target"
            self._say(job, logging.WARNING, what, error)

    async def _finish(self, job: Job, target: Snapshot | None, *, freeing: bool) -> float | None:
        heard, plan = job.heard, plan_of(job.request)
        heard.kept += 1
        assert plan is not None
        if target is not None and freeing:
            target = replace(target, freeing=True)
        try:
            await self.together.finish(job.ref.kind, job.where, target, plan, job.request.uid)
        except (errors.Forbidden, errors.Invalid) as error:
            heard.answer = unfinished(error, job.ref, job.where.account)
        except errors.KubeError as error:
            conflict = isinstance(error, errors.Conflict)  # as a rule: the controller writes at the same moment
            metrics.RETRIES.labels("conflict" if conflict else "no answer").inc()
            level = logging.DEBUG if conflict else logging.WARNING
            self._say(job, level, "What the effect left to do could not be done", error)
        else:
            if job.request.status.phase is Phase.VERIFYING and not freeing:
                heard.answer = None  # what was refused is done; before the effect is seen, that of the effect stands
            if heard.kept == 1:
                return None
        return pause(heard.kept).total_seconds()

    async def _stop(self, job: Job, target: Snapshot) -> float | None:
        """Call the effect off; gives the seconds until the next look, if that did not work at once."""
        module = self.targets[job.ref.kind]
        job.heard.stopped += 1
        assert isinstance(module, Stoppable)
        try:
            await module.stop(job.where, target)
        except errors.KubeError as error:
            self._say(job, logging.WARNING, "The effect could not be called off", error)
            return pause(job.heard.stopped).total_seconds()
        return None

    def _say(self, job: Job, level: int, what: str, error: errors.KubeError) -> None:
        log.log(level, "%s: %s", what, error, extra=context_of(job.request, job.request.status))


def _too_late(request: Request) -> bool:
    (step,) = request.status.targets[0].steps
    return too_late_to_send(step, datetime.now(UTC))
