"""Alertmanager as a process of this machine."""

import json
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import yaml

from testbed.binaries import Binaries
from testbed.servers import Server


class Alertmanager(Server):
    """An Alertmanager of its own, which tells one webhook of everything at once."""

    @classmethod
    def start(
        cls,
        folder: Path,
        webhook_url: str,
        token: str = "",
        *,
        group_by: Sequence[str] = ("...",),
        flags: Sequence[str] = (),
        address: str = "127.0.0.1",
    ) -> Self:
        """Start one and wait until it is ready.

        Args:
            folder: where its files go, a folder that does not exist yet.
            webhook_url: whom it tells when alerts begin and end.
            token: sent along as a bearer token, if there is one.
            group_by: labels; alerts that have the same are told together. By default each is told alone.
            flags: more flags in the form `--name=value`, which win over ours.
            address: to listen on.

        Raises:
            TestbedError: when it does not come up, with the end of its log.
        """
        Binaries.ensure(("alertmanager",))
        alertmanager = cls("alertmanager", folder, address, flags)
        try:
            alertmanager.write("alertmanager.yml", yaml.safe_dump(_routes(webhook_url, token, group_by)))
            alertmanager.up()
        except BaseException:
            alertmanager.stop()
            raise
        return alertmanager

    def fire(self, labels: Mapping[str, str], annotations: Mapping[str, str] | None = None) -> None:
        """Have this alert begin, as Prometheus does; it lasts until `resolve`, an hour at most."""
        self._post(labels, annotations or {}, ends=time.time() + 3600)

    def resolve(self, labels: Mapping[str, str]) -> None:
        """Have this alert end."""
        self._post(labels, {}, ends=time.time())

    def alerts(self) -> list[dict[str, Any]]:
        """Those that go on."""
        found: list[dict[str, Any]] = json.loads(self.call("/api/v2/alerts"))
        return found

    def _post(self, labels: Mapping[str, str], annotations: Mapping[str, str], *, ends: float) -> None:
        alert = {
            "labels": dict(labels),
            "annotations": dict(annotations),
            # One that ends begins no later, as far as Alertmanager does not know better.
            "startsAt": datetime.fromtimestamp(min(time.time(), ends), UTC).isoformat(),
            "endsAt": datetime.fromtimestamp(ends, UTC).isoformat(),
        }
        self.call("/api/v2/alerts", json.dumps([alert]).encode())

    def _arguments(self) -> list[str]:
        return [
            f"--config.file={self.folder / 'alertmanager.yml'}",
            f"--storage.path={self.folder / 'data'}",
            f"--web.listen-address={self.listen}",
            "--cluster.listen-address=",  # it is alone
        ]


def _routes(webhook_url: str, token: str, group_by: Sequence[str]) -> dict[str, Any]:
    webhook: dict[str, Any] = {"url": webhook_url, "send_resolved": True}
    if token:
        webhook["http_config"] = {"authorization": {"type": "Bearer", "credentials": token}}
    return {
        "route": {
            "receiver": "webhook",
            "group_by": list(group_by),
            "group_wait": "0s",
            "group_interval": "1s",
            "repeat_interval": "1h",
        },
        "receivers": [{"name": "webhook", "webhook_configs": [webhook]}],
    }
