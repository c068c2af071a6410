"""Applications of Argo CD, rolled back by a sync to an earlier state of Git and held there."""

from __future__ import annotations

from collections.abc import Hashable
from datetime import UTC, datetime
from typing import Any

from rollback_operator.api.hold import HoldOrders
from rollback_operator.api.request import Phase, Plan
from rollback_operator.core.backups import PATCH
from rollback_operator.core.values import Findings, Revision, Snapshot
from rollback_operator.kube import errors
from rollback_operator.kube.access import Right
from rollback_operator.kube.client import Api
from rollback_operator.targets import dependencies, manifests
from rollback_operator.targets.application import effect, operation, reading
from rollback_operator.targets.application.content import Content, shown
from rollback_operator.targets.application.held import is_automated
from rollback_operator.targets.base import Kept, Watched, Where, in_time
from rollback_operator.targets.diff import unified

Object = dict[str, Any]
GROUP = "argoproj.io"


class ApplicationTarget:
    """Rolls Applications back; history is Argo CD's own."""

    kind = "Application"
    watched: Watched | None = None

    def __init__(self, api: Api) -> None:
        self._api = api

    def told(self, body: Object) -> Hashable:
        """See `Target.told`."""
        return body["metadata"]["uid"], body["metadata"]["resourceVersion"]

    def version(self, body: Object) -> Hashable:
        """See `Target.version`."""
        return body["metadata"]["uid"], body["metadata"]["generation"]

    def rights(self, where: Where) -> tuple[Right, ...]:
        """See `Target.rights`."""
        return tuple(Right(verb, GROUP, "applications", where.namespace, where.name) for verb in ("get", "update"))

    async def observe(self, where: Where, phase: Phase | None, plan: Plan | None) -> Snapshot | None:
        """See `Target.observe`. One call."""
        app = await self.read(where)
        return reading.snapshot(app, phase, plan) if app is not None else None

    async def read(self, where: Where) -> Object | None:
        """The Application as it is now, or None if there is none.

        Raises:
            kube.errors.KubeError: it could not be read.
        """
        return await dependencies.read(self._api, _path(where), where.account)

    async def examine(self, where: Where, target: Snapshot, to: Revision) -> Findings:
        """See `Target.examine`. What the repository server would render is not asked."""
        app: Object = target.raw
        after = reading.content_of(app, to.name, to.fingerprint)
        assert after is not None
        before = reading.deployed(app)
        return Findings(
            steps=_steps(app, after, to, where),
            diff=unified(
                shown(before, target.uid) if before is not None else [],
                shown(after, target.uid),
                f"revision {target.current.name} (now)",
                f"revision {to.name} (after)",
            ),
            notes=("The difference is that of the sources; what they render to is not compared.",),
            affected=reading.resources(app),
        )

    async def backup(self, where: Where, target: Snapshot, to: str) -> Kept | None:  # noqa: ARG002 - the protocol's
        """See `Target.backup`. It was read already.

        It is not brought back by `kubectl replace`: a rollback leaves the sources in its spec as they are, and its
        status, which holds the history, would be taken away.
        """
        patch = effect.bringing_back(target.raw, where.options.application)
        if patch is None:
            return None
        whole = manifests.bare(target.raw)
        whole.pop("operation", None)
        command = f"kubectl -n {where.namespace} patch applications.{GROUP} {where.name} --type json"
        return Kept((whole,), {PATCH: patch}, f"{command} --patch-file /dev/stdin", PATCH)

    async def apply(self, where: Where, target: Snapshot, plan: Plan, key: str, *, dry_run: bool = False) -> None:
        """See `Target.apply`. One PUT of exactly the version that was read: either all of it happens, or nothing.

        Before it the API server is asked what it would make of it: an older definition of Applications drops
        `enabled`, and with it would leave automation on. That may take its time.
        """
        app: Object = target.raw
        to = reading.content_of(app, plan.to.revision, plan.to.fingerprint)
        if to is None:
            raise errors.NotFound(f"Revision {plan.to.revision} is no longer in the history of {where.name}")
        if operation.going_on(app):
            raise errors.Conflict(f"Argo CD is busy with Application {where.name}")

        def written(*, removing: bool) -> Object:
            return effect.rollback(
                app,
                to,
                key,
                options=where.options.application,
                orders=plan.hold or HoldOrders(),
                now=datetime.now(UTC),
                removing=removing,
            )

        answer = await self._rehearse(where, written(removing=False))
        if not dry_run:
            in_time(where)
            await self._api.replace(_path(where), written(removing=not effect.took_it_off(answer)), as_=where.account)

    async def _rehearse(self, where: Where, app: Object) -> Object:
        try:
            return await self._api.replace(_path(where), app, as_=where.account, dry_run=True)
        except errors.Unavailable as error:
            raise errors.NotDone(str(error)) from error

    async def finish(self, where: Where, target: Snapshot) -> None:
        """See `Target.finish`. Asks Argo CD for a look at what the sync brought."""
        await self._api.replace(_path(where), effect.asking_for_a_look(target.raw), as_=where.account)

    async def stop(self, where: Where, target: Snapshot) -> None:
        """See `Stoppable.stop`."""
        if operation.can_be_called_off(target.raw):
            await self._api.replace(_path(where), effect.called_off(target.raw), as_=where.account)

    async def write(self, where: Where, app: Object) -> None:
        """Replace exactly the version of the Application that `app` was made from.

        Raises:
            kube.errors.Conflict: it was changed meanwhile; nothing was written.
            kube.errors.KubeError: it could not be written.
        """
        await self._api.replace(_path(where), app, as_=where.account)

    async def pods(self, where: Where) -> list[Object]:  # noqa: ARG002 - the protocol's
        """See `Target.pods`. An Application's resources may be in any cluster: nothing is known of their pods."""
        return []

    async def stuck(self, where: Where) -> str | None:
        """See `Target.stuck`. A sync that failed, or resources that Argo CD calls Degraded, go on by nobody's doing."""
        app = await self.read(where)
        if app is None:
            raise errors.NotFound(f"There is no Application {where.name} in namespace {where.namespace}")
        if operation.failed(app):
            return f"Argo CD could not sync it: {operation.said(app)}"
        return None


def _steps(app: Object, after: Content, to: Revision, where: Where) -> tuple[str, ...]:
    options = where.options.application
    ways = [
        "with its hooks" if options.hooks else "without its hooks",
        "deleting what it does not have" if effect.prunes(app, options) else "deleting nothing",
    ]
    sync = f"Have Argo CD sync it to revision {to.name} ({after}), {' and '.join(ways)}."
    if not is_automated(app):
        return (sync,)
    off = "In the same write: turn automated sync off, and keep in an annotation what it was, until the hold ends."
    return (sync, off)


def _path(where: Where) -> str:
    return f"/apis/{GROUP}/v1alpha1/namespaces/{where.namespace}/applications/{where.name}"
