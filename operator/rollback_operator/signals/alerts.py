"""Alerts that name a policy (labels `namespace` and `rollback_policy`): what Alertmanager sends, and says when asked.

Alertmanager sends an alert when it begins and when it ends, and again after hours. So what fires is remembered here,
and Alertmanager is asked for it: after a start, when time has passed, and when something was left out. An alert that
is silenced or inhibited does not fire; Alertmanager does not send the beginning of a silence, so that takes effect
with the next look. Without Alertmanager's address nothing can be asked: what was sent counts from the start, alerts
that began before are unknown until they are sent again (its repeat_interval), and a silence ends nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rollback_operator.core.verdicts import Sample, Verdict
from rollback_operator.signals.base import Question, missing

log = logging.getLogger(__name__)

ALERTS_PATH = "/api/v2/alerts?active=true&silenced=false&inhibited=false&filter=rollback_policy%3D~%22.%2B%22"
"""What is asked of Alertmanager: alerts that fire and name a policy."""
REFRESH = 60.0
"""Seconds between looks: less than Prometheus gives an alert that it does not repeat (four minutes)."""
RETRY = 10.0
"""Seconds until the next look after one that failed; no two looks are nearer to each other."""
PATIENCE = 60.0
"""Seconds for which looks may fail before nobody is called Healthy any more."""
ASK_LIMIT = 15.0
"""Seconds that a look may take; a second later it is given up whatever `ask` does."""

DEAF = "no alert can be heard of: set ROLLBACK_ALERTS_TOKEN_FILE or ROLLBACK_ALERTMANAGER for the operator"

MOST_ALERTS = 10_000
MOST_OF_POLICY = 100
LONGEST_TEXT = 256
LONGEST_NAMESPACE = 63
LONGEST_POLICY = 253

Key = tuple[str, str]
"""Namespace and name of a policy."""


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert that fires; times in seconds since the epoch. `ends`: when it ends unless it is renewed."""

    name: str
    since: float
    ends: float | None = None

    def fires(self, now: float) -> bool:
        """Whether it goes on."""
        return self.ends is None or self.ends > now


@dataclass(frozen=True, slots=True)
class _Told:
    """What was said of one alert: that it fires, or (None) that it does not."""

    key: Key
    fingerprint: str
    alert: Alert | None


class _Table:
    """The alerts that fire, by policy and fingerprint; no more than there is room for."""

    def __init__(self) -> None:
        self._of: dict[Key, dict[str, Alert]] = {}
        self._total = 0
        self.left_out = 0

    @property
    def full(self) -> bool:
        return self._total >= MOST_ALERTS

    def keys(self) -> set[Key]:
        return set(self._of)

    def of(self, key: Key) -> Mapping[str, Alert]:
        return self._of.get(key, {})

    def take(self, told: _Told) -> bool:
        """Note what was said; gives whether something began or ended."""
        known = told.fingerprint in self.of(told.key)
        if told.alert is None:
            return known and self._drop(told.key, told.fingerprint)
        if not known and (self.full or len(self.of(told.key)) >= MOST_OF_POLICY):
            self.left_out += 1
            return False
        self._of.setdefault(told.key, {})[told.fingerprint] = told.alert
        self._total += not known
        return not known

    def forget_ended(self, now: float) -> None:
        for key in self.keys():
            for fingerprint in [name for name, alert in self._of[key].items() if not alert.fires(now)]:
                self._drop(key, fingerprint)

    def _drop(self, key: Key, fingerprint: str) -> bool:
        mine = self._of[key]
        del mine[fingerprint]
        if not mine:
            del self._of[key]
        self._total -= 1
        return True


class AlertSignal:
    """Breach while an alert fires that names the policy.

    Args:
        watch: is told namespace and policy when an alert for that policy begins or ends, so that it is judged at once.
        ask: gets a path of Alertmanager's, with its query, and gives the body of a good answer; raises what it likes.
            None: Alertmanager's address is not known.
        clock: seconds since the epoch.
        received: whether alerts can be sent here at all.
    """

    source = "alert"

    def __init__(
        self,
        watch: Callable[[str, str], None],
        ask: Callable[[str], Awaitable[bytes]] | None = None,
        clock: Callable[[], float] = time.time,
        *,
        received: bool = True,
    ) -> None:
        self._deaf = ask is None and not received
        self._watch = watch
        self._ask = ask
        self._clock = clock
        self._table = _Table()
        self._answered = ask is None
        self._failing: float | None = None
        self._doubt = asyncio.Event()
        self._asking = asyncio.Lock()
        self._meanwhile: dict[tuple[Key, str], _Told] = {}

    async def sample(self, question: Question, now: float) -> Sample:
        """See `Signal.sample`."""
        if self._deaf:
            return missing(question, now, DEAF)
        name = question.trigger.alert.name if question.trigger.alert else None
        mine = self._table.of((question.namespace, question.policy))
        fitting = [alert for alert in mine.values() if name in (None, alert.name)]
        firing = sorted((alert for alert in fitting if alert.fires(now)), key=lambda alert: alert.since)
        if firing:
            more = f", and {len(firing) - 1} more" if len(firing) > 1 else ""
            message = f"alert {firing[0].name} fires since {_shown(firing[0].since, now)}{more}"
            return Sample(now, Verdict.BREACH, f"{len(firing)} firing", message)
        unknown = self._unknown(now, ended=bool(fitting), full=self._table.full or len(mine) >= MOST_OF_POLICY)
        return missing(question, now, unknown) if unknown else Sample(now, Verdict.HEALTHY, "0 firing")

    async def history(self, question: Question, start: float, end: float) -> Sequence[Sample]:  # noqa: ARG002
        """None: Alertmanager forgets alerts that are over."""
        return ()

    async def check(self, question: Question) -> str | None:  # noqa: ARG002
        """See `Checking.check`."""
        return DEAF if self._deaf else None

    async def close(self) -> None:
        """Nothing is open."""

    def receive(self, payload: bytes) -> int:
        """Take what Alertmanager sends to a webhook; gives how many of the alerts name a policy.

        Raises:
            ValueError: it is not what Alertmanager sends. Nothing of it was taken.
        """
        said = _parsed(payload)
        if not isinstance(said, dict) or said.get("version") != "4":
            raise ValueError("this is not what Alertmanager sends to a webhook (version 4)")
        now = self._clock()
        told = list(_all_told(said.get("alerts"), now))
        if self._table.full and self._ask is None:
            self._table.forget_ended(now)
        if self._asking.locked():
            self._meanwhile |= {(one.key, one.fingerprint): one for one in told}
        changed = {one.key for one in told if self._table.take(one)}
        if said.get("truncatedAlerts"):
            log.warning("Alertmanager left alerts out (max_alerts of its webhook)")
            self._doubt.set()
        self._tell(changed)
        return len(told)

    async def refresh(self) -> None:
        """Ask Alertmanager which alerts fire; without its address nothing happens. A failure is noted, not raised."""
        if self._ask is None:
            return
        async with self._asking:
            self._doubt.clear()
            self._meanwhile = {}
            try:
                async with asyncio.timeout(ASK_LIMIT + 1):
                    answer = await self._ask(ALERTS_PATH)
                told = list(_all_told(_parsed(answer), self._clock()))
            except Exception as error:  # noqa: BLE001 - whatever went wrong, the state is not known any better
                self._failed(error)
            else:
                self._answered, self._failing = True, None
                self._replace(told)

    async def keep(self) -> None:
        """Look again and again, sooner after a failure and in doubt. Ends with its task, or at once without address."""
        while self._ask is not None:
            await self.refresh()
            await asyncio.sleep(RETRY)
            if self._failing is None:
                with contextlib.suppress(TimeoutError):
                    # Not wait_for: it makes a task, and Kopf waits 5 s for tasks made after its start when it stops.
                    async with asyncio.timeout(REFRESH - RETRY):
                        await self._doubt.wait()

    def _unknown(self, now: float, *, ended: bool, full: bool) -> str | None:
        """Why it is not known that nothing fires; None if it is."""
        if not self._answered:
            return "Alertmanager was not asked successfully yet"
        if self._failing is not None and now - self._failing > PATIENCE:
            return f"Alertmanager does not answer since {_shown(self._failing, now)}"
        if ended and self._ask is not None:
            # Its time has run out without a renewal, or the renewal was not seen: the next look tells.
            self._doubt.set()
            return "an alert was not renewed in time, and Alertmanager was not asked since"
        return "more alerts fire than are kept" if full else None

    def _failed(self, error: Exception) -> None:
        if self._failing is None:
            self._failing = self._clock()
            log.warning("Alertmanager cannot be asked which alerts fire: %s %s", type(error).__name__, error)

    def _replace(self, told: Sequence[_Told]) -> None:
        """What was asked for replaces what was known, but for what was sent while it was asked for."""
        before, self._table = self._table, _Table()
        for one in (*told, *self._meanwhile.values()):
            self._table.take(one)
        keys = before.keys() | self._table.keys()
        self._tell({key for key in keys if before.of(key).keys() != self._table.of(key).keys()})

    def _tell(self, changed: set[Key]) -> None:
        if self._table.left_out:
            log.warning("%d alerts were left out: more fire than are kept", self._table.left_out)
            self._table.left_out = 0
        for namespace, policy in sorted(changed):
            self._watch(namespace, policy)


def _parsed(payload: bytes) -> Any:
    try:
        return json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise ValueError("this is not JSON") from error


def _all_told(alerts: Any, now: float) -> Iterator[_Told]:
    """What is said of the alerts that name a policy.

    Raises:
        ValueError: they are no list, or one of them is no alert.
    """
    if not isinstance(alerts, list):
        raise ValueError("there is no list of alerts")  # noqa: TRY004 - it is the sender's mistake
    for index, alert in enumerate(alerts):
        try:
            told = _told(alert, now)
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"alert {index} is not as Alertmanager writes it") from error
        if told is not None:
            yield told


def _told(alert: Mapping[str, Any], now: float) -> _Told | None:
    labels = alert["labels"]
    namespace, policy = labels.get("namespace", ""), labels.get("rollback_policy", "")
    fingerprint, since, ends = alert["fingerprint"], _seconds(alert["startsAt"]), _seconds(alert["endsAt"])
    if not all(isinstance(text, str) for text in (namespace, policy, fingerprint)):
        raise TypeError("a label or the fingerprint is no text")
    if not (0 < len(namespace) <= LONGEST_NAMESPACE and 0 < len(policy) <= LONGEST_POLICY):
        return None
    name = _fit(str(labels.get("alertname") or "without a name"))
    firing = Alert(name, min(max(since, 0.0), now), ends if ends > now else None) if _fires(alert["status"]) else None
    return _Told((namespace, policy), _fit(fingerprint), firing)


def _fires(status: Any) -> bool:
    """Whether an alert of that status fires: a word in a webhook, and more than one in an answer."""
    if isinstance(status, dict):
        muted = any(status.get(name) for name in ("silencedBy", "inhibitedBy", "mutedBy"))
        return not muted and status.get("state") != "suppressed"
    if status not in {"firing", "resolved"}:
        raise ValueError("neither firing nor resolved")
    return bool(status == "firing")


def _seconds(text: str) -> float:
    """A time with its zone; the year 1 stands for none."""
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _fit(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text[:LONGEST_TEXT])


def _shown(at: float, now: float) -> str:
    """A time as a person reads it in UTC, with the day if it is another one."""
    moment, today = datetime.fromtimestamp(at, UTC), datetime.fromtimestamp(now, UTC)
    return moment.strftime("%H:%M:%S UTC" if moment.date() == today.date() else "%Y-%m-%d %H:%M:%S UTC")
