"""`python -m rollback_operator`: the operator in the foreground."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from typing import Any

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

WATCH_PAUSE = 1.0
"""Seconds between the end of the watches and their next start."""
WATCH_END = 15.0
"""Seconds that the watches may take to end."""


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
        async with serving(settings, operator.stuck, ready.is_set, operator.signals.receiver()):
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
    """Work and watch until Kopf, which listens for signals, ends."""
    work = asyncio.create_task(operator.run())
    watch = asyncio.create_task(_watch(operator, registry, ready, namespace))
    try:
        done, _ = await asyncio.wait({work, watch}, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in (work, watch):
            task.cancel()
        await asyncio.gather(work, watch, return_exceptions=True)


async def _watch(
    operator: RollbackOperator, registry: kopf.OperatorRegistry, ready: asyncio.Event, namespace: str
) -> None:
    """Watch until a signal asks to stop.

    An answer that Kopf does not expect on a watch (410 as the status of the response, say) ends all of its watches, or
    leaves some of them dead (kopf#1276). They are started again here, and list everything anew; leaving that to the
    kubelet would cost its growing back-off.
    """
    where: dict[str, Any] = {"namespaces": [namespace]} if namespace else {"clusterwide": True}
    while True:
        dead = asyncio.create_task(operator.watch_is_dead.wait())
        watch = asyncio.create_task(kopf.operator(registry=registry, standalone=True, ready_flag=ready, **where))
        try:
            await asyncio.wait({dead, watch}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            dead.cancel()
            operator.watch_is_dead.clear()
            await _ended(watch)
        error = None if watch.cancelled() else watch.exception()
        if error is None and not watch.cancelled():
            return
        metrics.WATCH_RESTARTS.inc()
        log.warning("The watches are started again: %s", error or "they missed a request")
        await asyncio.sleep(WATCH_PAUSE)


async def _ended(watch: asyncio.Task[None]) -> None:
    """Make sure that Kopf has ended; if it does not, end the process, so that the kubelet starts another."""
    watch.cancel()
    _, hanging = await asyncio.wait({watch}, timeout=WATCH_END)
    if hanging:
        log.error("The watches do not end: ending the process")
        logging.shutdown()
        os._exit(1)


def main() -> None:
    """Read the settings, set up logging, run; or make a backtest, if that is asked for."""
    if sys.argv[1:2] == ["backtest"]:
        from rollback_operator.backtest import cli  # noqa: PLC0415 - the operator itself does not carry it

        sys.exit(cli.main(sys.argv[2:]))
    try:
        settings = Settings.from_env()
    except ValueError as error:
        sys.exit(f"rollback-operator: {error}")
    logs.configure(settings.log_level, settings.log_format)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Until Kopf listens: the kernel ignores what a process of id 1 has no handler for.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(run(settings))


if __name__ == "__main__":
    main()
