"""One run: a world, a request, a fault, and what came of it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import aiohttp
import yaml

from testbed import Binaries, Cluster
from tests.faults.admin import PATIENCE, Admin
from tests.faults.calls import Call
from tests.faults.proxy import Proxy
from tests.faults.rows import Row

ROOT = Path(__file__).parents[2]
Object = dict[str, Any]
REQUEST = "back"
NUMBERS = itertools.count(1)
SIDE_BY_SIDE = 10
"""Runs at once: two cores are busy with that; with more of them limits of seconds would say nothing any more."""


LONG = "10m"
"""A request's own time: longer than anybody waits for it, so that no busy machine ends what goes on."""


class Nursery:
    """The process that operators are forked from."""

    def __init__(self, folder: Path) -> None:
        environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'operator'}:{ROOT}"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.nursery"],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        self.folder = folder

    def start(self, environment: dict[str, str], log: Path) -> int:
        """Fork an operator; gives its process id."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"environment": environment, "log": str(log)}) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def stop(self) -> None:
        """End it, and with it every operator that is left."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)
        assert self._process.stdout is not None
        self._process.stdout.close()


@dataclass
class Operators:
    """The operator of a run, started again whenever it was killed."""

    nursery: Nursery
    environment: dict[str, str]
    log: Path
    pids: list[int] = field(default_factory=list)
    kills: int = 0

    def start(self) -> None:
        self.pids.append(self.nursery.start(self.environment, self.log))

    async def kill_and_restart(self) -> None:
        """SIGKILL, then a new one, as the kubelet would."""
        self.kill()
        self.kills += 1
        self.start()

    async def kill_one(self) -> None:
        """SIGKILL the one that was started first; the other goes on."""
        os.kill(self.pids.pop(0), signal.SIGKILL)
        self.kills += 1

    def said(self) -> str:
        """The last lines that it logged, over all its lives."""
        try:
            lines = self.log.read_text(errors="replace").splitlines()
        except FileNotFoundError:
            lines = []
        return "\n".join(["The operator said last:", *lines[-30:]])

    def kill(self) -> None:
        for pid in self.pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.pids.clear()


@dataclass(frozen=True)
class Outcome:
    """What came of a run."""

    phase: str
    reason: str
    effects: int
    conditions: tuple[tuple[str, str, str], ...]
    steps: tuple[str, ...]
    world: Object
    journal: tuple[Call, ...]
    reached: frozenset[Call]
    kills: int
    orders: Object = field(default_factory=dict)
    """What is left of a policy, and how many requests it made."""
    writes_when_idle: int = 0


class Places:
    """How many runs there are at once: of a kind, and of all kinds."""

    def __init__(self, of_kind: int, of_all: asyncio.Semaphore) -> None:
        self._limits = (asyncio.Semaphore(of_kind), of_all)

    @contextlib.asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """Have a place while the context lasts."""
        await self._take()
        try:
            yield
        finally:
            self._give()

    @contextlib.asynccontextmanager
    async def lent(self) -> AsyncIterator[None]:
        """Let another run have the place while the context lasts."""
        self._give()
        try:
            yield
        finally:
            await self._take()

    async def _take(self) -> None:
        for limit in self._limits:
            await limit.acquire()

    def _give(self) -> None:
        for limit in self._limits:
            limit.release()


class Lab:
    """Where runs happen: one cluster, one nursery."""

    def __init__(
        self,
        cluster: Cluster,
        admin: Admin,
        forwarding: aiohttp.ClientSession,
        nursery: Nursery,
        token: str,
        *,
        benches: Mapping[str, type[Bench]],
    ) -> None:
        self.cluster = cluster
        self._forwarding = forwarding
        self.admin = admin
        self.nursery = nursery
        self._token = token
        self._benches = benches
        of_all = asyncio.Semaphore(SIDE_BY_SIDE)
        self.places = {begun_by: Places(bench.side_by_side, of_all) for begun_by, bench in benches.items()}

    @contextlib.asynccontextmanager
    async def bench(self, row: Row, mistake: str = "") -> AsyncIterator[Bench]:
        """A namespace with a target, and a proxy to watch an operator through."""
        async with self.places[row.begun_by].one(), Proxy(self.cluster.server, self._forwarding).serving() as proxy:
            namespace = f"faults-{next(NUMBERS)}"
            await self._furnish(namespace)
            operators = self._operators(namespace, proxy, mistake)
            bench = self._benches[row.begun_by](self, row, namespace, proxy, operators)
            try:
                async with bench.furnished():
                    yield bench
            except Exception as error:
                with contextlib.suppress(Exception):  # where the API server is gone, what failed is told all the same
                    error.add_note(f"What was left: {await bench.state()}")
                error.add_note(operators.said())
                raise
            finally:
                bench.operators.kill()
                await self._clear(namespace)

    async def _clear(self, namespace: str) -> None:
        """Take away what runs. The rest goes with the cluster: to delete a namespace takes sixty calls."""
        for plural in ("deployments", "statefulsets", "daemonsets"):
            await self.admin.delete(f"/apis/apps/v1/namespaces/{namespace}/{plural}")

    def _operators(self, namespace: str, proxy: Proxy, mistake: str) -> Operators:
        config = self.nursery.folder / f"{namespace}.kubeconfig"
        config.write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "clusters": [{"name": "c", "cluster": {"server": proxy.url}}],
                    "users": [{"name": "u", "user": {"token": self._token}}],
                    "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                    "current-context": "x",
                }
            )
        )
        environment = {
            "KUBECONFIG": str(config),
            "ROLLBACK_NAMESPACE": namespace,
            "ROLLBACK_BIND": "127.0.0.1",
            "ROLLBACK_PORT": "0",
            "ROLLBACK_HELM": str(Binaries().path("helm")),
            "FAULTS_MISTAKE": mistake,
            "SSL_CERT_FILE": os.devnull,  # the proxy speaks HTTP, and to read all authorities takes long
        }
        return Operators(self.nursery, environment, self.nursery.folder / f"{namespace}.log")

    async def _furnish(self, namespace: str) -> None:
        create = self.admin.create
        await create("/api/v1/namespaces", {"metadata": {"name": namespace}})
        for body in yaml.safe_load_all((ROOT / "examples" / "rbac.yaml").read_text()):
            body["metadata"].pop("namespace", None)
            for subject in body.get("subjects", []):
                subject["namespace"] = namespace
            group = body["apiVersion"]
            base = "/api/v1" if group == "v1" else f"/apis/{group}"
            await create(f"{base}/namespaces/{namespace}/{body['kind'].lower()}s", body)


@dataclass
class Bench:
    """A furnished namespace in which a request can be made."""

    lab: Lab
    row: Row
    namespace: str
    proxy: Proxy
    operators: Operators

    side_by_side: ClassVar[int] = 6
    """How many runs of the kind there are at once."""
    asks_every: ClassVar[float] = 0.2
    """Seconds between looks whether a run is over."""
    idle: ClassVar[float] = 30
    """Seconds without a write that a run is watched for when it is over."""

    @contextlib.asynccontextmanager
    async def furnished(self) -> AsyncIterator[None]:
        """The target at version 2."""
        for version in (1, 2):
            await self.row.release(self.lab.admin, self.namespace, version)
        yield

    async def allow(self, example: str, *names: str) -> None:
        """Give the service account what an example does, in this namespace; perhaps on objects of these names only."""
        made: set[tuple[str, str]] = set()
        for body in yaml.safe_load_all((ROOT / "examples" / example).read_text()):
            body["metadata"].pop("namespace")
            for subject in body.get("subjects", []):
                subject["namespace"] = self.namespace
            for rule in body.get("rules", []) if names else ():
                rule["resourceNames"] = list(names)
            kind, name = body["kind"], body["metadata"]["name"]
            if (kind, name) not in made:  # one of that name for each namespace that it is about
                path = f"/apis/{body['apiVersion']}/namespaces/{self.namespace}/{kind.lower()}s"
                await self.lab.admin.create(path, body)
            made.add((kind, name))

    async def start(self) -> None:
        """Start the operator and wait until it watches."""
        self.operators.start()
        await self.lab.admin.until(self._watches, "the operator watches")
        self.proxy.count_from_here()

    async def _watches(self) -> bool:
        names = {call.name for call in self.proxy.journal}
        return {"WATCH rollbackrequests", "WATCH rollbackpolicies", f"WATCH {self.row.kind.lower()}s"} <= names

    async def request(self, **spec: Any) -> None:
        """Ask for a rollback."""
        body: Object = {
            "apiVersion": "rollback.dev/v1alpha1",
            "kind": "RollbackRequest",
            "metadata": {"name": REQUEST},
            "spec": {"reason": "sweep", "target": {"kind": self.row.kind, "name": "web"}, "timeout": LONG, **spec},
        }
        await self.lab.admin.create(self._requests(), body)

    async def begin(self) -> None:
        """Have what leads to a rollback happen."""
        await self.request(**self.row.asks)

    async def read(self) -> Object | None:
        """The request as it is."""
        return await self.lab.admin.find(f"{self._requests()}/{REQUEST}")

    async def ended(self, within: float = PATIENCE) -> None:
        """Wait until the request has ended (or is gone)."""

        async def over() -> bool:
            body = await self.read()
            return body is None or bool(body.get("status", {}).get("finishedAt"))

        await self.lab.admin.until(over, f"the request in {self.namespace} ends", within)

    async def outcome(self) -> Outcome:
        """Everything that is compared."""
        body = await self.read()
        status: Object = (body or {}).get("status", {})
        conditions = sorted((one["type"], one["status"], one["reason"]) for one in status.get("conditions", []))
        ready = next((reason for kind, _, reason in conditions if kind == "Ready"), "")
        gone = await self.row.version(self.lab.admin, self.namespace) is None
        return Outcome(
            phase=status.get("phase", "Deleted"),
            reason=ready,
            effects=self.row.effects(self.audit(), self.namespace),
            conditions=tuple(conditions),
            steps=tuple(step["state"] for target in status.get("targets", []) for step in target.get("steps", [])),
            world={} if gone else await self.row.end_state(self.lab.admin, self.namespace),
            journal=tuple(self.proxy.journal),
            reached=frozenset(self.proxy.reached),
            kills=self.operators.kills,
            orders=await self.orders(),
        )

    async def orders(self) -> Object:
        """What is left of a policy; without one, nothing."""
        return {}

    async def rested(self) -> None:
        """Wait until what follows an ending is over: for a second, nothing has changed."""
        clock = asyncio.get_running_loop().time
        seen, since = None, clock()

        async def unchanged() -> bool:
            nonlocal seen, since
            now = replace(await self.outcome(), journal=())
            if now != seen:
                seen, since = now, clock()
            return clock() - since >= 1

        await self.lab.admin.until(unchanged, f"{self.namespace} comes to rest", every=self.asks_every)

    async def state(self) -> Any:
        """What is told of a run that did not end."""
        return (await self.read() or {}).get("status")

    async def over(self) -> datetime:
        """When nothing was left to do: after the Event that tells of the end, which comes when it comes.

        That is known when nothing was written for a while; who never is quiet for that long is not at rest.
        """

        async def quiet() -> bool:
            last = max(_received(event) for event in self.writes())
            return datetime.now(UTC) - last > timedelta(seconds=3)

        await self.lab.admin.until(quiet, f"the operator in {self.namespace} comes to rest", every=self.asks_every)
        return datetime.now(UTC)

    def audit(self) -> list[Object]:
        """What the API server wrote down of this namespace."""
        return self.lab.admin.audit.of(self.namespace)

    def writes(self) -> Iterator[Object]:
        """What the operator wrote, Events included."""
        for event in self.audit():
            ours = event["user"]["username"] == "system:serviceaccount:rollback-system:rollback-operator"
            if ours and event["verb"] in ("create", "update", "patch", "delete"):
                yield event

    def _requests(self) -> str:
        return f"/apis/rollback.dev/v1alpha1/namespaces/{self.namespace}/rollbackrequests"


def _received(event: Object) -> datetime:
    """When the API server was asked."""
    return datetime.fromisoformat(event["requestReceivedTimestamp"])
