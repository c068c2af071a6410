"""What the operator remembers between two looks at a request. All of it can be lost without harm."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

from rollback_operator.api.common import Place
from rollback_operator.kube.resources import Key, key_of

Object = dict[str, Any]
FRESH = 10.0
"""Seconds for which a body is as good as a read: what is decided on an older one fails when it is written."""


@dataclass(slots=True)
class _Body:
    body: Object
    at: float = field(default_factory=time.monotonic)


class Bodies:
    """The newest known version of each unfinished request, from watch events and from our own writes.

    That of one that has ended is known for a while longer: the watch may still tell of what was written before.
    """

    def __init__(self) -> None:
        self._known: dict[Key, _Body] = {}
        self._ended: deque[tuple[float, Key, _Body]] = deque()

    def learn(self, body: Object) -> bool:
        """Take note of a version; gives whether it is news (the echo of our own write is none)."""
        self._drop_the_ended()
        known = self._known.get(key_of(body))
        if known is not None and not _newer(body["metadata"], known.body["metadata"]):
            return False
        self._known[key_of(body)] = _Body(body)
        return True

    def fresh(self, key: Key) -> Object | None:
        """The known version, if it was learned a moment ago."""
        known = self._known.get(key)
        return known.body if known is not None and time.monotonic() - known.at < FRESH else None

    def ended(self, key: Key) -> None:
        """The request has ended."""
        if key in self._known:
            self._ended.append((time.monotonic(), key, self._known[key]))

    def forget(self, key: Key) -> None:
        """The request is gone, or is not what it was taken for."""
        self._known.pop(key, None)

    def _drop_the_ended(self) -> None:
        while self._ended and time.monotonic() - self._ended[0][0] > FRESH:
            _, key, body = self._ended.popleft()
            if self._known.get(key) is body:
                del self._known[key]


def _newer(one: Object, other: Object) -> bool:
    """By resourceVersion, which is a growing number (KEP-5504); what is none, or another object's, counts as new."""
    try:
        return bool(one["uid"] != other["uid"] or int(one["resourceVersion"]) > int(other["resourceVersion"]))
    except ValueError:
        return True


class Interest:
    """Which requests want to be woken when something happens to a target."""

    def __init__(self) -> None:
        self._keys: dict[Place, set[Key]] = {}
        self._told: dict[Place, Hashable] = {}
        self._place: dict[Key, Place] = {}

    def gained(self, key: Key, place: Place) -> None:
        """The request is about that target (and no other any more, if its policy was pointed elsewhere)."""
        if self._place.get(key) != place:
            self.lost(key)
        self._place[key] = place
        self._keys.setdefault(place, set()).add(key)

    def lost(self, key: Key) -> None:
        """The request has ended, or is gone."""
        place = self._place.pop(key, None)
        keys = self._keys.get(place, set()) if place else set()
        keys.discard(key)
        if place and not keys:
            self._keys.pop(place, None)
            self._told.pop(place, None)

    def news(self, place: Place, told: Hashable) -> tuple[Key, ...]:
        """Requests that want to know of an event about that target; none if it tells what the last one told."""
        if place not in self._keys or self._told.get(place) == told:
            return ()
        self._told[place] = told
        return self.of(place)

    def of(self, place: Place) -> tuple[Key, ...]:
        """Requests about that target."""
        return tuple(self._keys.get(place, ()))
