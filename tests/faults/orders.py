"""A run in which nobody asks for anything: a policy sees a bad release, and makes the request itself."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

from tests.faults.admin import PATIENCE
from tests.faults.figures import BAD, WELL, Figures
from tests.faults.run import LONG, SIDE_BY_SIDE, Bench

Object = dict[str, Any]
POLICY = "web"


@dataclass
class WatchedBench(Bench):
    """A furnished namespace whose target is well at version 1, and bad at version 2."""

    figures: Figures = field(init=False)

    side_by_side: ClassVar[int] = SIDE_BY_SIDE  # these runs wait more than they work
    asks_every: ClassVar[float] = 0.25
    idle: ClassVar[float] = 12

    @contextlib.asynccontextmanager
    async def furnished(self) -> AsyncIterator[None]:
        """The target at version 1, and somebody who knows how it is."""
        self.figures = Figures(self._follow)
        async with self.figures.serving():
            self.operators.environment["ROLLBACK_PROMETHEUS"] = self.figures.url
            await self.row.release(self.lab.admin, self.namespace, 1)
            yield

    async def _follow(self, figures: Figures) -> None:
        if figures.now == BAD and await self.row.version(self.lab.admin, self.namespace) != 2:
            figures.mark(WELL)

    async def begin(self) -> None:
        """Apply the policy, wait until version 1 has proved good, and release the bad version."""
        await self.watch()
        await self.release()

    async def watch(self, **spec: Any) -> None:
        """Apply the policy, and wait until version 1 has proved good."""
        orders = self._orders()
        orders["spec"].update(spec)
        await self.lab.admin.create(self._policies(), orders)
        await self.lab.admin.until(self._proved, f"version 1 in {self.namespace} proves good", every=self.asks_every)

    async def release(self) -> None:
        """Release the bad version; whoever asks before it is there must not take it for gone."""
        await self.row.release(self.lab.admin, self.namespace, 2)
        self.figures.mark(BAD)

    async def change(self, **spec: Any) -> None:
        """Change some of the policy's orders."""
        await self.lab.admin.merge(f"{self._policies()}/{POLICY}", {"spec": spec})

    async def withdraw(self) -> None:
        """Delete the policy."""
        await self.lab.admin.delete(f"{self._policies()}/{POLICY}")

    async def policy(self) -> Object | None:
        """The policy as it is."""
        return await self.lab.admin.find(f"{self._policies()}/{POLICY}")

    async def made(self) -> list[Object]:
        """All requests that there are, the oldest first."""
        found: list[Object] = (await self.lab.admin.get(self._requests()))["items"]
        return sorted(found, key=lambda one: one["metadata"]["creationTimestamp"])

    async def read(self) -> Object | None:
        """The first request, as it is."""
        return next(iter(await self.made()), None)

    async def ended(self, within: float = PATIENCE) -> None:
        """Wait until there are requests, and all of them have ended."""

        async def over() -> bool:
            made = await self.made()
            return bool(made) and all(one.get("status", {}).get("finishedAt") for one in made)

        await self.lab.admin.until(over, f"the request in {self.namespace} ends", within, every=self.asks_every)

    async def orders(self) -> Object:
        """The requests and the policy, without what differs between runs."""
        made = await self.made()
        body = await self.policy()
        return {
            "requests": len(made),
            "created": self._created(),
            "of the policy": [one["spec"].get("policyRef", {}).get("name") == POLICY for one in made],
            "left behind": [_left_behind(one) for one in (*made, *([body] if body else []))],
            "policy": _gist(body, made) if body else "deleted",
        }

    async def rested(self) -> None:
        """Wait until the policy knows what became of its request."""

        async def knows() -> bool:
            status = (await self.policy() or {}).get("status", {})
            says = {one["type"]: one["reason"] for one in status.get("conditions", [])}
            bad = [one for one in status.get("ledger", []) if one["verdict"] == "Bad"]
            return bool(bad) and says.get("Alert") == "NothingWrong" and status.get("verdict") == "Healthy"

        await self.lab.admin.until(knows, f"the policy in {self.namespace} knows of the end")
        await super().rested()

    async def state(self) -> Any:
        """What is told of a run that did not end."""
        return [one.get("status") for one in (*await self.made(), await self.policy() or {})]

    async def _proved(self) -> bool:
        status = (await self.policy() or {}).get("status", {})
        return bool(status.get("lastKnownGood", {}).get("revision") == "1")

    def _created(self) -> int:
        """How many requests the API server took."""
        return sum(
            event["verb"] == "create"
            and event["objectRef"]["resource"] == "rollbackrequests"
            and event["responseStatus"]["code"] == 201
            for event in self.audit()
        )

    def _orders(self) -> Object:
        return {
            "apiVersion": "rollback.dev/v1alpha1",
            "kind": "RollbackPolicy",
            "metadata": {"name": POLICY},
            "spec": {
                "target": {"kind": self.row.kind, "name": "web"},
                "triggers": [
                    {
                        "name": "errors",
                        "prometheus": {"query": "errors"},
                        "when": "> 5%",
                        "interval": "1s",
                        "consecutive": 2,
                    }
                ],
                "soak": "1s",
                "verify": {"timeout": LONG, "triggers": ["errors"]},
            },
        }

    def _policies(self) -> str:
        return f"/apis/rollback.dev/v1alpha1/namespaces/{self.namespace}/rollbackpolicies"


def _left_behind(body: Object) -> list[Any]:
    metadata = body["metadata"]
    return [metadata.get(name) for name in ("finalizers", "annotations", "ownerReferences") if metadata.get(name)]


def _gist(body: Object, made: list[Object]) -> Object:
    """What a policy says, by names that are the same in every run."""
    status = body.get("status", {})
    names = [one["metadata"]["name"] for one in made]
    last = status.get("lastRequest", {}).get("name")
    return {
        "conditions": sorted((one["type"], one["status"], one["reason"]) for one in status.get("conditions", [])),
        "verdict": status.get("verdict"),
        "current": (status.get("current") or {}).get("revision"),
        "last known good": (status.get("lastKnownGood") or {}).get("revision"),
        "ledger": sorted((one["verdict"], one["revision"]) for one in status.get("ledger", [])),
        "triggers": [
            (one["name"], one["verdict"], one["firing"], one.get("excused", False)) for one in status["triggers"]
        ]
        if "triggers" in status
        else [],
        "last request": names.index(last) if last in names else last,
        "seen": status.get("observedGeneration") == body["metadata"]["generation"],
    }
