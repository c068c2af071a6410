"""Every order in which templates and configuration can come, be seen or not, and last or not: which releases these are.

The real functions that a policy follows its target with (`learned`, `identified`, `current_of`) against what really
stood, for how long, and how it came.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rollback_operator.api.policy import CurrentRevision
from rollback_operator.api.remember import Remembered
from rollback_operator.configuration import identity, remembering
from rollback_operator.core import standing
from rollback_operator.core.standing import current_of
from rollback_operator.core.values import Health, Revision, Snapshot, Wellbeing
from tests.model.seeding import Mistake, put

NOW = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)
DAY, SOON, LONG = timedelta(days=1), timedelta(seconds=5), identity.PASSING + timedelta(seconds=20)
DEPTH = 4
Pair = tuple[str, str]


@dataclass(frozen=True)
class Shop:
    """What stands, how it came, and what a policy makes of it."""

    template: str = "a"
    config: str = "1"
    now: datetime = NOW
    rolled_out: datetime = NOW - DAY
    """When the template changed, or pods were started anew."""
    configured: datetime = NOW - DAY
    history: tuple[str, ...] = ("a",)
    """Templates by their number, from 1 on."""
    lasted: frozenset[Pair] = frozenset()
    """What was seen to stand for long enough."""
    returned: bool = False
    """The template is one that was left and gone back to."""
    stood: frozenset[Pair] = frozenset({("a", "1")})
    known: tuple[Remembered, ...] = ()
    current: CurrentRevision | None = None
    means: dict[str, Pair] = field(default_factory=dict, hash=False)
    """What fingerprints meant that lasted."""
    story: tuple[str, ...] = ()

    @property
    def pair(self) -> Pair:
        return self.template, self.config

    @property
    def stands_since(self) -> datetime:
        return max(self.rolled_out, self.configured)

    @property
    def complete(self) -> bool:
        """Whether the configuration is no longer on its way to something else."""
        return self.rolled_out >= self.configured or self.now - self.configured >= identity.PASSING


def fingerprint(template: str) -> str:
    return "v1:" + f"{ord(template):02x}" * 32


def digest(config: str) -> str:
    return "c1:" + config * 20


def snapshot(shop: Shop) -> Snapshot:
    history = tuple(
        Revision(str(number), number, fingerprint(template)) for number, template in enumerate(shop.history, 1)
    )
    newest = history[-1]
    return Snapshot(
        "uid",
        1,
        newest,
        history,
        settled=True,
        health=Health(Wellbeing.HEALTHY, "well"),
        changed=shop.rolled_out,
        reactivated=shop.returned,
    )


def look(shop: Shop) -> Shop:
    """The policy looks."""
    seen = snapshot(shop)
    found = Remembered(
        fingerprint=seen.current.fingerprint, revision=seen.current.name, config=digest(shop.config), at=shop.configured
    )
    known = identity.learned(shop.known, remembering._dated(found, seen, shop.known, shop.now))
    told = identity.identified(seen, known, known[-1].config, shop.now)
    after = replace(shop, known=known, current=current_of(told, shop.current, shop.now), means=dict(shop.means))
    if shop.now - shop.stands_since >= identity.PASSING:
        after = replace(after, lasted=shop.lasted | {shop.pair})
        after.means.setdefault(told.current.fingerprint, shop.pair)
    check(shop, after, told)
    return after


def check(before: Shop, after: Shop, told: Snapshot) -> None:
    """What has to be so after each look."""
    assert after.current is not None
    old, new = before.current, after.current.fingerprint
    assert identity.template_of(new) == fingerprint(after.template), "it is followed to another template at once"
    if after.complete:
        assert new == told.current.fingerprint, "what is no longer on its way is followed"
    alone = (
        old is not None
        and old.fingerprint != new
        and identity.template_of(old.fingerprint) == fingerprint(after.template)
    )
    unnoticed = before.known and before.known[-1].config == after.known[-1].config  # it came, went, and came again
    assert after.complete or not alone or unnoticed, "a mix is not followed"
    assert after.current.rollback or not alone or after.pair not in before.lasted, "a return to what lasted is known"
    for known, pair in after.means.items():
        assert told.current.fingerprint != known or pair == after.pair, "a fingerprint goes on to mean what lasted"
    targets = {(one.fingerprint, one.config) for one in told.history}
    stood = {(fingerprint(template), digest(config)) for template, config in after.stood}
    for one, config in targets:
        assert not config or (identity.template_of(one), config) in stood, "only what stood can be gone back to"
    there = {(identity.template_of(one), config) for one, config in targets}
    for template, config in after.lasted:
        assert (fingerprint(template), digest(config)) in there, "what lasted can be gone back to"
    assert len({one.identity for one in after.known}) == len(after.known), "each has a fingerprint of its own"


def moved(shop: Shop, what: str, **fields: Any) -> Shop:
    after = replace(shop, now=shop.now + SOON, story=(*shop.story, what), **fields)
    return replace(after, stood=after.stood | {after.pair})


def happenings(shop: Shop) -> Iterator[Shop]:
    """What people can do."""
    soon = shop.now + SOON
    for config in "123":
        if config != shop.config:
            yield moved(shop, f"configuration {config}", config=config, configured=soon)
    other = "b" if shop.template == "a" else "a"
    yield moved(
        shop,
        f"template {other}",
        template=other,
        rolled_out=soon,
        history=(*shop.history, other),
        returned=other in shop.history,
    )
    yield moved(shop, "restart", rolled_out=soon, history=(*shop.history, shop.template), returned=False)


def walk(shop: Shop, depth: int) -> int:
    """Every story of that many happenings; gives how many."""
    if depth == 0:
        return 1
    count = 0
    for after in happenings(shop):
        count += walk(replace(after, story=(*after.story, "unseen")), depth - 1)
        seen = look(after)
        count += walk(seen, depth - 1)
        later = look(replace(seen, now=seen.now + LONG, story=(*seen.story, "it lasts")))
        count += walk(later, depth - 1)
    return count


def test_every_order_of_templates_and_configuration_is_told_as_releases() -> None:
    assert walk(look(Shop()), DEPTH) == (3 * 4) ** DEPTH


def _follows_at_once(snapshot: Snapshot, known: Any) -> bool:  # noqa: ARG001 - the mistake
    return False


def _every_pair_alike(template: str, config: str) -> str:  # noqa: ARG001 - the mistake
    return template


_as_release = identity._as_release


def _never_again(*args: Any) -> Remembered:
    return _as_release(*args).model_copy(update={"again": False})


MISTAKES: dict[str, Mistake] = {
    "a change of configuration is followed at once": put(standing, "_goes_on", _follows_at_once),
    "configuration makes no other revision": put(identity, "together", _every_pair_alike),
    "each configuration is the first of its template": put(identity, "_is_first", lambda _: True),
    "a return is no return": put(identity, "_as_release", _never_again),
    "whatever stood for a moment was on its way": put(identity, "_came_alone", lambda _: True),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_found(mistake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    MISTAKES[mistake](monkeypatch)
    with pytest.raises(AssertionError):
        walk(look(Shop()), DEPTH)
