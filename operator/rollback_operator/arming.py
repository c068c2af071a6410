"""Whether a target could be rolled back right now: said before the incident, not in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from rollback_operator import backups, owning
from rollback_operator.api.common import TargetRef
from rollback_operator.api.options import Backup
from rollback_operator.api.reasons import Reason
from rollback_operator.configuration import memory
from rollback_operator.core.choice import choose
from rollback_operator.core.ledger import Ledger
from rollback_operator.core.stance import Await, Go, GoBy, Managed, take, target_text, to_read
from rollback_operator.core.turn import rolled_back_from
from rollback_operator.core.values import Ending, Findings, Obstacle, Other, Revision, Snapshot
from rollback_operator.kube import access
from rollback_operator.kube.client import Api
from rollback_operator.kube.identity import ServiceAccount
from rollback_operator.settings import Settings
from rollback_operator.targets.base import Target
from rollback_operator.watching import Standing

Disarmed = tuple[Reason, str]


class Arming:
    """Goes the way of a request as far as it goes without changing anything."""

    def __init__(self, api: Api, targets: Mapping[str, Target], settings: Settings) -> None:
        self._api = api
        self._targets = targets
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
            return Reason.TARGET_NOT_FOUND, f"There is no {what}."
        stance = await self._stance(standing, snapshot, account)
        obstacle = stance if isinstance(stance, Obstacle) else snapshot.obstacle
        if obstacle is not None:
            return obstacle.reason, obstacle.message
        ledger = Ledger.of(spec, standing.status.ledger)
        choice = choose(spec.to, spec.target, snapshot, ledger.bad_with(rolled_back_from(requests)), ledger.good)
        if isinstance(choice, Ending):
            return choice.reason, choice.message
        target = self._targets[spec.target.kind]
        findings = await target.examine(where, snapshot, choice.revision)
        trouble = _in_the_way(findings, choice.revision, spec.target)
        if trouble is not None:
            return trouble
        held = owning.rights(stance.suspends) if isinstance(stance, Go) else ()
        kept = (backups.right(account),) if spec.backup is Backup.ALWAYS else ()
        keeps = memory.rights(account) if spec.remember is not None else ()
        lacking = await access.first_lacking(self._api, (*target.rights(where), *held, *kept, *keeps), account)
        if lacking is not None:
            message = (
                f"Service account {account} may not {lacking}. Give it the rights: examples/rbac.yaml shows which."
            )
            return Reason.MAY_NOT_ROLL_BACK, message
        return (Reason.ARMED_FOR_NOW, findings.warning) if findings.warning else None

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


def _in_the_way(findings: Findings, revision: Revision, ref: TargetRef) -> Disarmed | None:
    """Why the target could not go to that revision."""
    if findings.obstacle is not None:
        return findings.obstacle.reason, findings.obstacle.message
    if not findings.missing:
        return None
    what = f"Revision {revision.name} of {ref}, which it would go back to, needs what is gone"
    return Reason.MISSING_DEPENDENCY, f"{what}: {', '.join(findings.missing)}. Restore it."
