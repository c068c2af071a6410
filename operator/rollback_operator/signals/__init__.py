"""What can be asked: one module per kind, behind the protocol in `base`.

A new kind is one new module and one line in `Signals`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from pathlib import Path

from aiohttp import web

from rollback_operator.kube.client import Api
from rollback_operator.settings import Settings, networks
from rollback_operator.signals.alerts import ASK_LIMIT, AlertSignal
from rollback_operator.signals.base import Signal, Workloads
from rollback_operator.signals.fence import Fence
from rollback_operator.signals.http import HttpSignal
from rollback_operator.signals.outbound import Outbound
from rollback_operator.signals.pods import PodsSignal
from rollback_operator.signals.prometheus import PrometheusSignal
from rollback_operator.signals.rollout import RolloutSignal
from rollback_operator.signals.secrets import Files, NoAccess
from rollback_operator.signals.webhook import webhook

log = logging.getLogger(__name__)

LARGEST_ANSWER = 16 * 1024 * 1024
"""Bytes of what Alertmanager says fires."""


class Signals:
    """Every kind of signal, ready to use. `alerted` is told namespace and policy when an alert begins or ends."""

    def __init__(self, api: Api, workloads: Workloads, settings: Settings, alerted: Callable[[str, str], None]) -> None:
        self._outbound = Outbound(Fence(networks(settings.allowed_networks), api.addresses()))
        files = Files(_path(settings.prometheus_token_file), _path(settings.prometheus_ca_file))
        self._alertmanager = settings.alertmanager.rstrip("/")
        self._shown = Files(_path(settings.alertmanager_token_file), _path(settings.alertmanager_ca_file))
        self._token = Files(_path(settings.alerts_token_file))
        self.alerts = AlertSignal(
            alerted,
            self._ask_alertmanager if self._alertmanager else None,
            received=bool(settings.alerts_token_file),
        )
        signals: tuple[Signal, ...] = (
            PrometheusSignal(api, self._outbound, address=settings.prometheus or None, files=files),
            HttpSignal(self._outbound),
            PodsSignal(workloads),
            RolloutSignal(workloads),
            self.alerts,
        )
        self.by_source: Mapping[str, Signal] = {signal.source: signal for signal in signals}

    async def addresses(self, host: str, port: int) -> list[str]:
        """The addresses that a host may be called at (see `Outbound.addresses`)."""
        return await self._outbound.addresses(host, port)

    def receiver(self) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """The handler of what Alertmanager sends."""
        return webhook(self.alerts, self._alerts_token)

    def _alerts_token(self) -> str | None:
        try:
            shown = self._token.access().authorization or ""
        except NoAccess as error:
            log.warning("Alerts are not received: %s", error)
            return None
        return shown.removeprefix("Bearer ")

    async def run(self) -> None:
        """Keep what is remembered true, until cancelled."""
        await self.alerts.keep()
        await asyncio.Event().wait()

    async def close(self) -> None:
        """Close all of them."""
        for signal in self.by_source.values():
            await signal.close()
        await self._outbound.close()

    async def _ask_alertmanager(self, path: str) -> bytes:
        url, access = self._alertmanager + path, self._shown.access()
        headers = {"Authorization": access.authorization} if access.authorization else {}
        answer = await self._outbound.get(
            url, within=ASK_LIMIT, limit=LARGEST_ANSWER, headers=headers, tls=access.tls, trusted=True
        )
        if answer.status != HTTPStatus.OK:
            raise OSError(f"{self._alertmanager} answers {answer.status}")
        return answer.body


def _path(text: str) -> Path | None:
    return Path(text) if text else None
