"""Whether a target could be rolled back right now: said before the incident, not in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from rollback_operator import backups, owning
from rollback_operator.api.common import TargetRef
from rollback_operator.api.options import Backup
from rollback_operator.api.reasons import Reason
from rollback_operator.api.remember import Remembered
from rollback_operator.api.request import PutBack
from rollback_operator.configuration import memory, restoring
from rollback_operator.configuration.digest import belonging
from rollback_operator.configuration.memory import Memory, Unremembered, Whose
from rollback_operator.configuration.recall import what_is_lost
from rollback_operator.configuration.remembering import remembered_of
from rollback_operator.configuration.together import Together
from rollback_operator.core.choice import choose
from rollback_operator.core.ledger import Ledger
from rollback_operator.core.stance import Await, Go, GoBy, Managed, take, target_text, to_read
from rollback_operator.core.turn import rolled_back_from
from rollback_operator.core.values import Ending, Findings, Obstacle, Other, Revision, Snapshot
from rollback_operator.kube import access
from rollback_operator.kube.access import Right
from rollback_operator.kube.client import Api
from rollback_operator.kube.identity import ServiceAccount
from rollback_operator.kube.resources import Orders
from rollback_operator.refusals import REMEMBERING, example
from rollback_operator.settings import Settings
from rollback_operator.targets.base import Configured, Target
from rollback_operator.watching import Standing

Disarmed = tuple[Reason, str]


class Arming:
    """Goes the way of a request as far as it goes without changing anything."""

    def __init__(self, api: Api, targets: Mapping[str, Target], settings: Settings) -> None:
        self._api = api
        self._targets = targets
        self._together = Together(api, targets)
        self._memory = Memory(api)
        self._argo_cd = settings.argo_cd_namespace

    async def look(self, standing: Standing, snapshot: Snapshot | None, requests: tuple[Other, ...]) -> Disarmed | None:
        """Why the target could not be rolled back now, or perhaps not for long (ARMED_FOR_NOW); None if it could.

        Raises:
            kube.errors.KubeError: it could not be looked at.
        """
        spec, where = standing.spec, standing.where
        account = where.account
        if snapshot is None:
            what = f"{spec.target.kind}/{where.name} in namespace {where.namespace}"
            return Reason.TARGET_NOT_FOUND, f"There is no {what}. Correct spec.target, or create it."
        stance = await self._stance(standing, snapshot, account)
        obstacle = stance if isinstance(stance, Obstacle) else snapshot.obstacle
        if obstacle is not None:
            return obstacle.reason, obstacle.message
        ledger = Ledger.of(spec, standing.status.ledger)
        choice = choose(spec.to, spec.target, snapshot, ledger.bad_with(rolled_back_from(requests)), ledger.good)
        if isinstance(choice, Ending):
            return choice.reason, choice.message
        return await self._cannot_bring_back(standing, choice.revision) or await self._cannot_go(
            standing, snapshot, choice.revision, stance
        )

    async def _cannot_go(
        self, standing: Standing, snapshot: Snapshot, to: Revision, stance: Go | Await | Obstacle
    ) -> Disarmed | None:
        """Why the target could not go to that revision now, or perhaps not for long."""
        spec, where = standing.spec, standing.where
        target = self._targets[spec.target.kind]
        findings = await target.examine(where, snapshot, to)
        recalled = await self._together.recall(spec.target.kind, where, snapshot, _orders(standing), to)
        if recalled.lost:
            return Reason.MISSING_DEPENDENCY, what_is_lost(to, recalled.lost)
        findings = recalled.added_to(findings, snapshot.uid)
        trouble = _in_the_way(findings, to, spec.target)
        if trouble is not None:
            return trouble
        held = owning.rights(stance.suspends) if isinstance(stance, Go) else ()
        kept = (backups.right(where.account),) if spec.backup is Backup.ALWAYS else ()
        lacking = await self._lacking((*target.rights(where), *held, *kept), where.account, spec.target.kind)
        return lacking or ((Reason.ARMED_FOR_NOW, findings.warning) if findings.warning else None)

    async def _cannot_bring_back(self, standing: Standing, to: Revision) -> Disarmed | None:
        """What is missing to remember configuration, and to put that of a revision back."""
        account, asked = standing.where.account, standing.spec.remember
        if asked is None:
            return None
        goes_back = isinstance(self._targets[standing.spec.target.kind], Configured)
        whose = Whose(standing.key[1], standing.uid, account, asked)
        then = belonging(remembered_of(standing), to)
        needed = await self._to_put_back(whose, then) if goes_back and then is not None else ()
        lacking = await self._lacking((*memory.rights(account), *needed), account, None)
        if lacking is not None or then is None:
            return lacking
        try:
            await self._memory.mend(whose, then)
        except Unremembered as error:
            return error.reason, error.message
        return None

    async def _to_put_back(self, whose: Whose, then: Remembered) -> Iterable[Right]:
        """What it takes to bring back all of a configuration, whether it is as it was now or not.

        What cannot change under its name takes nothing while it is there.
        """
        objects = (*then.objects, *await self._memory.gone(whose, then))
        anew = [PutBack(kind=one.kind, name=one.name, secret=one.secret) for one in objects]
        return dict.fromkeys(restoring.rights(whose.account, anew))

    async def _lacking(self, rights: Iterable[Right], account: ServiceAccount, kind: str | None) -> Disarmed | None:
        """Which of `rights` is missing: to roll back a target of that kind, or (None) to remember configuration."""
        lacking = await access.first_lacking(self._api, rights, account)
        if lacking is None:
            return None
        shown = REMEMBERING if kind is None else example(kind, lacking.verb, lacking.resource)
        message = f"Service account {account} may not {lacking}. Give it the rights: {shown} shows which."
        return Reason.MAY_NOT_ROLL_BACK, message

    async def _stance(self, standing: Standing, snapshot: Snapshot, account: ServiceAccount) -> Go | Await | Obstacle:
        """What follows from what else manages the target."""
        spec = standing.spec
        managed = Managed(spec.target, snapshot.owners_of(self._argo_cd), spec.owner, standing.key[0])
        lineage = await owning.trace(self._api, to_read(managed), account)
        stance = take(replace(managed, lineage=lineage))
        if not isinstance(stance, GoBy):
            return stance
        message = (
            f"{stance.owner} manages {spec.target}. This policy remembers revisions of {spec.target}, which say "
            f"nothing of the owner's, so it cannot go by that: give it target: {target_text(stance.owner)}."
        )
        return Obstacle(Reason.OWNED_BY, message)


def _orders(standing: Standing) -> Orders:
    """The policy, as its requests read it."""
    return Orders(standing.key[1], standing.uid, standing.spec, standing.status.ledger, remembered_of(standing))


def _in_the_way(findings: Findings, revision: Revision, ref: TargetRef) -> Disarmed | None:
    """Why the target could not go to that revision."""
    if findings.obstacle is not None:
        lacking = findings.obstacle.reason is Reason.FORBIDDEN
        return Reason.MAY_NOT_ROLL_BACK if lacking else findings.obstacle.reason, findings.obstacle.message
    if not findings.missing:
        return None
    what = f"Revision {revision.name} of {ref}, which it would go back to, needs what is gone"
    return Reason.MISSING_DEPENDENCY, f"{what}: {', '.join(findings.missing)}. Restore it."
