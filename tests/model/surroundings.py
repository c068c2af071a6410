"""What people, the Deployment controller and pods do, whatever the operator does."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tests.model import cluster
from tests.model.cluster import Deployment
from tests.model.world import World, with_request, with_target

# What people do to the target. Each gives what becomes of it, or None where it cannot be done.

Move = Callable[[Deployment | None], Deployment | None]


def _release(letter: str) -> Move:
    return lambda it: None if it is None or it.letter == letter else cluster.released(it, letter)


def _pause(it: Deployment | None) -> Deployment | None:
    return None if it is None or it.paused else cluster.pause(it, paused=True)


def _resume(it: Deployment | None) -> Deployment | None:
    return None if it is None or not it.paused else cluster.pause(it, paused=False)


def _prune(it: Deployment | None) -> Deployment | None:
    found = it is not None and it.letter != "a" and any(one.letter == "a" for one in it.history)
    return cluster.pruned(it, "a") if it is not None and found else None


def _create(it: Deployment | None) -> Deployment | None:
    return cluster.NEW if it is None else None


NEWER = "somebody releases c"
BACK = "somebody puts b back"
BY_HAND = "somebody goes back to a by hand"
PAUSE, RESUME = "somebody pauses the target", "somebody resumes the target"
PRUNE = "the old ReplicaSet is removed"
DELETE, CREATE = "somebody deletes the target", "somebody creates the target anew"
ABORT, WITHDRAW = "somebody aborts request", "somebody deletes request"

ON_TARGET: dict[str, Move] = {
    NEWER: _release("c"),
    BACK: _release("b"),
    BY_HAND: _release("a"),
    PAUSE: _pause,
    RESUME: _resume,
    PRUNE: _prune,
    CREATE: _create,
}
MOVES = (*ON_TARGET, DELETE, ABORT, WITHDRAW)


def all_but(*moves: str) -> frozenset[str]:
    """What to leave out of a case so that people make these moves only."""
    return frozenset(MOVES) - set(moves)


# What happens by itself.


def by_itself(it: Deployment | None) -> Iterator[tuple[str, Deployment]]:
    """What the controller and the pods do next."""
    if it is None:
        return
    if not it.seen:
        yield "the controller numbers the revision", cluster.numbered(it)
        return
    if it.broken:
        yield "the pod that is waited for gets ready", it._replace(broken=None)
        return
    if it.pods == "rolling":
        yield "pods fail", it._replace(pods="failing")
    if it.pods != "healthy":
        yield "pods are healthy", it._replace(pods="healthy")


def by_people(world: World) -> Iterator[tuple[str, World]]:
    """Everything that people can do next."""
    for words, move in ON_TARGET.items():
        target = move(world.target)
        if target is not None:
            yield words, with_target(world, target._replace(kind=world.asking[0].body.kind))
    if world.target is not None:
        yield DELETE, with_target(world, None)
    for index, one in enumerate(world.asking):
        if not one.ended:
            if not one.body.abort:
                aborted = one._replace(body=one.body._replace(abort=True))
                yield f"{ABORT} {index + 1}", with_request(world, index, aborted)
            yield f"{WITHDRAW} {index + 1}", with_request(world, index, one._replace(gone=True))
