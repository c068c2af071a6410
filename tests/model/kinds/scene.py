"""What a kind of target brings to the model: its world, how the API server takes what is written, and who else acts."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeVar

if TYPE_CHECKING:
    from tests.model.kinds.shell import ScriptedApi

Object = dict[str, Any]
World = TypeVar("World", bound=Hashable)


class Asker(NamedTuple):
    """The request on whose behalf something is written, as it stands in truth."""

    uid: str
    status: int
    gone: bool


class Landed(NamedTuple, Generic[World]):
    """What became of a write: how it was answered, the world then, and the invariant that it broke."""

    how: str
    world: World
    wrong: str | None = None


class Scene(Protocol[World]):
    """A kind of target. A world is a small value; moments in it are so many ticks ago."""

    kind: str
    spec: Object
    """What requests say besides."""

    def beginning(self) -> World:
        """The world when the request was just created."""

    def patch(self, stack: ExitStack, api: ScriptedApi[World]) -> None:
        """Give the real code the model's clock, and what else is not real, while `stack` is open."""

    def get(self, api: ScriptedApi[World], path: str, query: Object) -> Object:
        """What the API server answers to a reading of the target; `api.view` is the world as it is then.

        Raises:
            kube.errors.NotFound: it is not there.
        """

    def payload(self, api: ScriptedApi[World], verb: str, path: str, body: Any) -> Hashable:
        """A write to the target, as a value that does not depend on when it arrives."""

    def answer(self, api: ScriptedApi[World], verb: str, path: str, body: Any) -> Object:
        """The API server's answer to a write that was done; `api.view` is the world then."""

    def flight(self, payload: Hashable) -> int:
        """In how many ticks a write has arrived, or never will."""

    def landed(self, world: World, payload: Hashable, sent: int, asker: Asker) -> Landed[World]:
        """What becomes of a write that was sent so many ticks ago."""

    def later(self, world: World) -> World:
        """The world a tick later."""

    def hurries(self, world: World) -> bool:
        """Whether something has to happen before a tick can pass."""

    def by_itself(self, world: World) -> Iterator[tuple[str, World]]:
        """What happens next without anybody's doing."""

    def by_people(self, world: World) -> Iterator[tuple[str, World]]:
        """What other people may do."""

    def misjudged(self, view: World, status: int) -> str | None:
        """What a status says, and the round that decided on it saw otherwise."""

    def wrong_end(self, world: World, asker: Asker, status: int) -> str | None:
        """What is not so of what a status says that is just being stored."""

    def left(self, world: World, asker: Asker) -> str | None:
        """What should not be there any more when all is over."""
