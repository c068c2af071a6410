"""Where Kopf's events become calls: decorators and a call each, nothing else.

Requests are driven by plain watch events and an agenda of our own rather than by Kopf's `on.create` and `on.resume`:
those write annotations to every object, and lose results under faults (docs/decisions/0002).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import kopf
from kubernetes.aio.client.configuration import Configuration

from rollback_operator import metrics
from rollback_operator.api import GROUP, POLICIES, REQUESTS, VERSION
from rollback_operator.operator import RollbackOperator
from rollback_operator.targets.base import Target


class _NoDiffs(kopf.DiffBaseStorage):
    """Watch events need no differences to what was handled before: not making them halves the cost of an event."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        return kopf.BodyEssence()

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        return None


class _NoProgress(kopf.ProgressStorage):
    """Nothing is written to any object, so no progress is kept on it."""

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        return None

    def purge(self, **_: Any) -> None:
        return None

    def touch(self, **_: Any) -> None:
        return None

    def clear(self, *, essence: kopf.BodyEssence) -> kopf.BodyEssence:
        return essence


def register(
    registry: kopf.OperatorRegistry, operator: RollbackOperator, login: Callable[[], Awaitable[Configuration]]
) -> None:
    """Attach the operator to a registry of Kopf's."""

    @kopf.on.startup(registry=registry)
    async def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
        settings.posting.enabled = False
        settings.peering.standalone = True
        settings.scanning.disabled = True
        settings.networking.request_timeout = 30
        settings.networking.connect_timeout = 5
        settings.watching.connect_timeout = 10
        settings.watching.chunk_size = 500
        settings.persistence.finalizer = f"{GROUP}/unused"
        settings.persistence.progress_storage = _NoProgress()
        settings.persistence.diffbase_storage = _NoDiffs()

    @kopf.on.login(registry=registry)
    async def authenticate(**_: Any) -> kopf.ConnectionInfo:
        return await _connection(await login())

    @kopf.on.event(GROUP, VERSION, REQUESTS, registry=registry)
    async def request_event(event: kopf.RawEvent, **_: Any) -> None:
        operator.request_changed(dict(event["object"]), deleted=event["type"] == "DELETED")

    @kopf.on.event(GROUP, VERSION, POLICIES, registry=registry)
    async def policy_event(event: kopf.RawEvent, **_: Any) -> None:
        operator.policy_changed(dict(event["object"]), deleted=event["type"] == "DELETED")

    for target in operator.targets.values():
        watched = target.watched
        if watched is not None:
            kopf.on.event(watched.group, watched.version, watched.plural, registry=registry, id=watched.plural)(
                partial(_target_event, operator, target, watched.plural)
            )


async def _target_event(
    operator: RollbackOperator, target: Target, plural: str, event: kopf.RawEvent, **_: Any
) -> None:
    metrics.note_event(plural)
    operator.target_changed(target, dict(event["object"]), deleted=event["type"] == "DELETED")


async def _connection(configuration: Configuration) -> kopf.ConnectionInfo:
    token = await configuration.get_api_key_with_prefix("BearerToken", alias="authorization")
    return kopf.ConnectionInfo(
        server=configuration.host,
        ca_path=configuration.ssl_ca_cert,
        insecure=not configuration.verify_ssl,
        scheme="Bearer" if token else None,
        token=token.split(" ", 1)[-1] if token else None,
        certificate_path=configuration.cert_file,
        private_key_path=configuration.key_file,
    )
