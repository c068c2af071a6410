"""When the target changed: as the person says, else as kube-state-metrics remembers, else once, at the start."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rollback_operator.api.fields import parse_duration
from rollback_operator.backtest.moments import length
from rollback_operator.backtest.orders import Orders
from rollback_operator.backtest.past import Grid, Past
from rollback_operator.backtest.problem import Problem
from rollback_operator.signals.answers import Vector

EARLIER = "before"
"""Name of what ran before the first release that is known."""
MOST_LOOKS = 11_000
"""Moments at which the past is looked at, for releases: what Prometheus gives in one answer."""
FINEST = 30.0
"""Seconds between two of them; kube-state-metrics is rarely scraped more often."""
COARSE = 500
"""Moments at which it is asked when each ReplicaSet was created: they stay for long."""


@dataclass(frozen=True, slots=True)
class Release:
    """The target changed. `at` is in seconds since the epoch; equal names are one release, without a name it is new."""

    at: float
    name: str = ""


@dataclass(frozen=True, slots=True)
class Releases:
    """All that are known, oldest first, and a sentence for how they are."""

    known: tuple[Release, ...]
    source: str


LONG_AGO = Release(0.0, EARLIER)


def as_told(told: Sequence[Release]) -> Releases:
    """Those that the person names; before them something else ran, for longer than anybody watches."""
    known = sorted(told, key=lambda one: one.at)
    return Releases((LONG_AGO, *known), "Releases are those given with --release.")


async def looked_up(past: Past, orders: Orders, start: float, end: float) -> Releases:
    """Those that kube-state-metrics remembers; without it, the start of the range counts as one."""
    if not orders.namespace:
        return _only_the_start(start, "the policy names no namespace to look for its target in")
    since = start - parse_duration(orders.spec.watch.within).total_seconds()
    grid = Grid.over(since, end, max(FINEST, math.ceil((end - since) / MOST_LOOKS)))
    try:
        return await _of_replica_sets(past, orders, grid) or await _of_generations(past, orders, grid)
    except Problem as problem:
        return _only_the_start(start, f"kube-state-metrics could not be asked ({problem})")
    except _Unknown:
        return _only_the_start(start, f"kube-state-metrics says nothing of {orders.spec.target} here")


class _Unknown(Exception):  # noqa: N818 - named as what it tells
    """Nothing is known of the target."""


def _only_the_start(start: float, why: str) -> Releases:
    source = f"The start counts as a release, because {why}; --release says better."
    return Releases((LONG_AGO, Release(start)), source)


# ReplicaSets: one that begins to have replicas is a release, or a return to one.


async def _of_replica_sets(past: Past, orders: Orders, grid: Grid) -> Releases | None:
    name, owned = orders.spec.target.name, _owned(orders)
    replicas = await past.vectors(f"max by (replicaset) (kube_replicaset_spec_replicas{owned}", grid)
    if not any(replicas):
        return None
    seldom = max(grid.step, math.ceil(grid.step * grid.count / COARSE))
    rows = await past.vectors(
        f"max by (replicaset) (kube_replicaset_created{owned}",
        Grid.over(grid.start, grid.at(grid.count - 1), seldom),
    )
    created = {labels["replicaset"]: value for row in rows for labels, value in row if "replicaset" in labels}
    known = tuple(Release(one.at, one.name.removeprefix(f"{name}-")) for one in _activations(replicas, created, grid))
    source = (
        "Releases are estimated from the ReplicaSets that kube-state-metrics remembers; a return to an earlier one is "
        f"dated to within {length(grid.step)}."
    )
    return Releases(known, source)


def _owned(orders: Orders) -> str:
    """The rest of a query for the target's ReplicaSets."""
    namespace, name = json.dumps(orders.namespace), json.dumps(orders.spec.target.name)
    owner = f'namespace={namespace},owner_kind="{orders.spec.target.kind}",owner_name={name}'
    return f"{{namespace={namespace}}}) * on (replicaset) max by (replicaset) (kube_replicaset_owner{{{owner}}})"


def _activations(rows: Sequence[Vector], created: Mapping[str, float], grid: Grid) -> list[Release]:
    """When each ReplicaSet began to have replicas; what was there at the first look came when it was created."""
    seen = _Seen(created)
    for index, row in enumerate(rows):
        if row:
            seen.look(grid.at(index), {labels.get("replicaset", ""): value > 0 for labels, value in row})
    return sorted(seen.found, key=lambda one: one.at)


@dataclass(slots=True)
class _Seen:
    """What was seen so far. A ReplicaSet that is not told of, as in a gap, is taken to be as it was."""

    created: Mapping[str, float]
    active: dict[str, bool] = field(default_factory=dict)
    found: list[Release] = field(default_factory=list)

    def look(self, at: float, active: Mapping[str, bool]) -> None:
        """One more look."""
        first = not self.active
        for name, is_active in active.items():
            if name not in self.active:
                if first or is_active:
                    self.found.append(Release(self.created.get(name, at), name))
            elif is_active and not self.active[name]:
                self.found.append(Release(at, name))
        self.active.update(active)
        if first:
            self._note_what_runs(at)

    def _note_what_runs(self, at: float) -> None:
        """At the first look, an older one than the newest may run: somebody went back to it before."""
        newest = max(self.found, key=lambda one: one.at).name
        running = [one for one in self.found if self.active[one.name]]
        if running and not self.active[newest]:
            self.found.append(Release(at, max(running, key=lambda one: one.at).name))


# Generations: every change of the spec, scaling too.


async def _of_generations(past: Past, orders: Orders, grid: Grid) -> Releases:
    """Changes of the target's generation.

    Raises:
        _Unknown: there are none to be read.
        Problem: the server does not tell.
    """
    kind, name = orders.spec.target.kind.lower(), json.dumps(orders.spec.target.name)
    selector = f"{{namespace={json.dumps(orders.namespace)},{kind}={name}}}"
    rows = await past.vectors(f"max(kube_{kind}_metadata_generation{selector})", grid)
    found: list[Release] = []
    last = None
    for index, row in enumerate(rows):
        if not row or row[0][1] == last:
            continue
        if last is not None:
            found.append(Release(grid.at(index), f"generation {row[0][1]:.0f}"))
        last = row[0][1]
    if last is None:
        raise _Unknown
    source = (
        f"Releases are estimated from the generation of {orders.spec.target} in kube-state-metrics, which scaling "
        "moves too; --release says better."
    )
    return Releases((LONG_AGO, *found), source)
