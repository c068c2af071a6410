"""Standing orders: asking what triggers ask, judging the answers, and making the one request that follows."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Hashable, Mapping
from typing import Any

from pydantic import ValidationError

from rollback_operator import metrics
from rollback_operator.api import POLICIES
from rollback_operator.api.common import Place
from rollback_operator.core.guard import Guard
from rollback_operator.kube import resources
from rollback_operator.kube.client import Api
from rollback_operator.kube.resources import Key
from rollback_operator.policies import rivals
from rollback_operator.policies.asking import Asker
from rollback_operator.policies.looking import Looker, alert_of
from rollback_operator.policies.rivals import Rivals
from rollback_operator.settings import Settings
from rollback_operator.signals.base import Signal
from rollback_operator.targets.base import Target
from rollback_operator.watching import Standing, Watching, standing_of, version_of

log = logging.getLogger(__name__)
Object = dict[str, Any]


class PolicyWorker:
    """Works on one policy at a time a key."""

    def __init__(
        self,
        api: Api,
        targets: Mapping[str, Target],
        signals: Mapping[str, Signal],
        settings: Settings,
        wake: Callable[[Key], None],
        *,
        tell: Callable[[Place], None] = lambda _: None,
    ) -> None:
        """`wake` has a policy looked at; `tell` hears of the target whose triggers say something new."""
        self._api = api
        self._settings = settings
        self._wake = wake
        self.watching = Watching()
        guard = Guard(settings.guard, settings.guard_percent)
        self._asker = Asker(signals, guard, self.watching, tell)
        self._rivals = Rivals(api, targets, self.watching, wake)
        self._looker = Looker(
            api, targets, settings, self.watching, self._asker, saw=self.saw, gone=self.gone, wake=wake
        )

    # Events.

    def saw(self, body: Object) -> bool:
        """The watch brought a version of a policy; gives whether it is to be looked at at once."""
        key = resources.key_of(body)
        known = self.watching.get(key)
        if known is not None and (known.uid, known.generation) == version_of(body):
            return False
        if (
            known is not None
            and known.uid == body["metadata"]["uid"]
            and body["metadata"]["generation"] < known.generation
        ):
            return False  # the watch is behind what was read
        standing = self._understood(body, known)
        if standing is None or body["metadata"].get("deletionTimestamp"):
            self.gone(key)
            return False
        places = {standing.place} | ({known.place} if known is not None else set())
        self.watching.put(standing)
        metrics.POLICIES.saw(key, standing.status.verdict, alert_of(standing.status))
        self._wake_neighbours(key, places)
        return True

    def _understood(self, body: Object, known: Standing | None) -> Standing | None:
        try:
            return standing_of(body, known, self._settings.service_account)
        except ValidationError as error:
            context = {"policy": "/".join(resources.key_of(body))}
            log.error("The policy cannot be read, and is not followed: %s", error, extra=context)  # noqa: TRY400
            return None

    def gone(self, key: Key) -> None:
        """The policy was deleted."""
        known = self.watching.get(key)
        self.watching.drop(key)
        metrics.POLICIES.gone(key)
        if known is not None:
            self._wake_neighbours(key, {known.place})

    def target_changed(self, place: Place, version: Hashable) -> None:
        """Something happened to an object that may be a target; `version` grows with what it asks for."""
        for key in self.watching.of(place):
            standing = self.watching.get(key)
            if standing is not None and standing.evaluated and standing.target_version != version:
                standing.target_version, standing.target_changed = version, True
                self._wake(key)

    def alerted(self, key: Key) -> None:
        """An alert that names the policy fires, or is over: ask at once."""
        standing = self.watching.get(key)
        if standing is not None and standing.evaluated:
            for one in standing.asking:
                if one.question.trigger.source == "alert":
                    one.due = 0.0
            self._wake(key)

    def request_changed(self, key: Key) -> None:
        """A request of the policy is new, or has ended."""
        standing = self.watching.get(key)
        if standing is not None and standing.evaluated:
            standing.requests_changed = True

    def _wake_neighbours(self, key: Key, places: set[Place]) -> None:
        for place in places:
            for other in self.watching.of(place) - {key}:
                self._wake(other)

    # Work.

    async def work(self, key: Key) -> float | None:
        """Evaluate what is due; gives the seconds until the next evaluation.

        Raises:
            kube.errors.KubeError: something could not be read or written; nothing is lost, try again later.
        """
        standing = self.watching.get(key) or await self._read(key)
        if standing is None:
            return None
        found = await self._rivals.of(standing)
        if not standing.evaluated or found:
            await self._looker.rest(standing, found)
            return rivals.look_again(standing, found)
        await self._asker.evaluate(standing)
        if self.watching.is_known(standing) and self._looker.wants(standing):
            await self._looker.look(standing)
        return max(0.0, standing.next_due() - time.time()) if self.watching.is_known(standing) else None

    async def _read(self, key: Key) -> Standing | None:
        body = await resources.read(self._api, POLICIES, key)
        if body is not None:
            self.saw(body)
        return self.watching.get(key)
