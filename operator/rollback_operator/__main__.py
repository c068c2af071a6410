"""`python -m rollback_operator`: the operator in the foreground."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys

import kopf
from kubernetes.aio.config.config_exception import ConfigException

from rollback_operator import __version__, handlers, logs, metrics
from rollback_operator.api import GROUP, VERSION
from rollback_operator.kube import errors
from rollback_operator.kube.client import Api, load_configuration
from rollback_operator.kube.identity import OPERATOR
from rollback_operator.operator import RollbackOperator
from rollback_operator.server import serving
from rollback_operator.settings import Settings

log = logging.getLogger("rollback_operator")


async def run(settings: Settings) -> None:
    """Run until a signal asks to stop.

    Raises:
        SystemExit: the API server cannot be used; the message says why and what to do.
    """
    try:
        configuration = await load_configuration()
    except ConfigException as error:
        raise SystemExit(f"rollback-operator: no API server to talk to: {error} Set KUBECONFIG to a file.") from None
    api = Api(configuration, metrics.note_call)
    operator = RollbackOperator(api, settings)
    registry = kopf.OperatorRegistry()
    handlers.register(registry, operator, load_configuration)
    ready = asyncio.Event()
    try:
        async with serving(settings, operator.stuck, ready.is_set):
            await _check(api)
            log.info("Rollback Operator %s watches %s/%s", __version__, GROUP, VERSION)
            await _until_stopped(operator, registry, ready, settings.namespace)
    finally:
        await api.close()


async def _check(api: Api) -> None:
    """Make sure that our resources are served, before watching them."""
    try:
        await api.get(f"/apis/{GROUP}/{VERSION}", as_=OPERATOR)
    except errors.NotFound:
        message = f"the API server does not know {GROUP}/{VERSION}: apply the crds/ folder first."
        raise SystemExit(f"rollback-operator: {message}") from None
    except errors.KubeError as error:
        raise SystemExit(f"rollback-operator: the API server cannot be used: {error}") from None


async def _until_stopped(
    operator: RollbackOperator, registry: kopf.OperatorRegistry, ready: asyncio.Event, namespace: str
) -> None:
    """Work and watch until Kopf, which listens for signals, ends, or until either fails."""
    where = {"namespaces": [namespace]} if namespace else {"clusterwide": True}
    work = asyncio.create_task(operator.run())
    watch = asyncio.create_task(kopf.operator(registry=registry, standalone=True, ready_flag=ready, **where))
    try:
        done, _ = await asyncio.wait({work, watch}, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in (work, watch):
            task.cancel()
        await asyncio.gather(work, watch, return_exceptions=True)


def main() -> None:
    """Read the settings, set up logging, run."""
    try:
        settings = Settings.from_env()
    except ValueError as error:
        sys.exit(f"rollback-operator: {error}")
    logs.configure(settings.log_level, settings.log_format)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(run(settings))


if __name__ == "__main__":
    main()
