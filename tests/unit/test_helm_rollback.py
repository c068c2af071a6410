"""One rollback of a release: what its plan says, what Helm is told, and what becomes of attempts that break off."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType, SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollback_operator.api.options import Force, HelmOptions, Options
from rollback_operator.kube import errors
from rollback_operator.kube.identity import Identity, ServiceAccount
from rollback_operator.targets.base import Where
from rollback_operator.targets.helm.effect import Finished
from rollback_operator.targets.helm.records import Record, decode, encode, fingerprint, record_of
from rollback_operator.targets.helm.rollback import AT_ONCE, SHARE, Means, Rollback, _before, going_forward
from rollback_operator.targets.helm.standing import DEAD_AFTER, MOST_ATTEMPTS, Standing, standing_of
from rollback_operator.targets.helm.store import Stored
from tests.unit.fakes import FakeApi, failing
from tests.unit.helm import MANIFEST, release, secret

Object = dict[str, Any]

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
PATIENCE = timedelta(minutes=15)
NOTHING: Any = None
SERVED = {
    "/apis/apps/v1": [{"name": "deployments", "kind": "Deployment", "namespaced": True}],
    "/api/v1": [{"name": "configmaps", "kind": "ConfigMap", "namespaced": True}],
    "/apis/example.com/v1": [{"name": "tills", "kind": "Till", "namespaced": True}],
    "/apis/apiextensions.k8s.io/v1": [
        {"name": "customresourcedefinitions", "kind": "CustomResourceDefinition", "namespaced": False}
    ],
}
_DEFINITION = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/tills.example.com"


class Server(FakeApi):
    """An API server that tells which kinds it serves, if it tells."""

    def __init__(self, *things: Object, tells: bool = True) -> None:
        super().__init__(*things)
        self.tells = tells
        self.definition: Object = {}

    async def get(
        self, path: str, *, as_: Identity, query: Object | None = None, metadata_only: bool = False
    ) -> Object:
        if path == _DEFINITION:
            return self.definition
        if path not in SERVED:
            return await super().get(path, as_=as_, query=query, metadata_only=metadata_only)
        if not self.tells:
            raise errors.Unavailable("no answer")
        return {"resources": SERVED[path]}


def record(number: int, status: str = "superseded", **more: Any) -> Record:
    given: dict[str, Any] = {"uid": f"u{number}", "version": str(number), "modified": NOW - timedelta(hours=1), **more}
    return Record(number=number, secret=f"v{number}", status=status, fingerprint=f"v1:{number}", **given)


def records(first: int, last: int) -> tuple[Record, ...]:
    return tuple(record(number, "deployed" if number == last else "superseded") for number in range(first, last + 1))


def rollback(
    listed: tuple[Record, ...], to: int, store: Any = NOTHING, api: FakeApi | None = None, **options: Any
) -> Rollback:
    where = Where("shop", "shop", ServiceAccount("shop", "rollback"), Options(helm=HelmOptions(**options)))
    server: Any = api or Server()
    return Rollback(Means(server, store, "helm"), where, standing_of(listed, NOW, PATIENCE), str(to))


def arguments(one: Rollback, *, hooks: bool = True) -> list[str]:
    return one._arguments("request-1", timedelta(seconds=90.7), hooks=hooks)


def test_helm_is_told_what_to_do_in_words_that_cannot_be_options() -> None:
    assert arguments(rollback(records(1, 3), 2)) == [
        "rollback",
        "shop",
        "2",
        "--namespace=shop",
        "--description=Rollback to 2 (rollback request request-1)",
        "--timeout=90s",
        "--history-max=10",
    ]


TOLD: dict[str, tuple[dict[str, Any], list[str]]] = {
    "no hooks": ({"hooks": False}, ["--no-hooks"]),
    "cleaning up": ({"cleanup_on_fail": True}, ["--cleanup-on-fail"]),
    "forcing conflicts": ({"force": Force.CONFLICTS}, ["--force-conflicts"]),
    "replacing": ({"force": Force.REPLACE}, ["--force-replace"]),
    "a shorter history": ({"history_max": 5}, ["--history-max=5"]),
    "all of the history": ({"history_max": 0}, ["--history-max=0"]),
}


def changed_as(told: list[str], one: Record) -> Record:
    """A revision whose objects are changed in a way that allows what is told."""
    return replace(one, applied="--force-conflicts" in told)


@pytest.mark.parametrize("case", TOLD)
def test_options_become_helms(case: str) -> None:
    options, told = TOLD[case]
    listed = tuple(changed_as(told, one) if one.number == 2 else one for one in records(1, 3))

    assert set(told) <= set(arguments(rollback(listed, 2, **options), hooks=options.get("hooks", True)))


@pytest.mark.parametrize("case", TOLD)
def test_the_command_that_takes_it_back_has_the_same_options(case: str) -> None:
    options, told = TOLD[case]
    where = Where("shop", "web", ServiceAccount("shop", "rollback"), Options(helm=HelmOptions(**options)))

    assert going_forward(where, changed_as(told, record(3))) == " ".join(["helm -n shop rollback web 3", *told])


OF_NO_USE = {
    "conflicts of what Helm merges": (Force.CONFLICTS, False),
    "replacing what is applied": (Force.REPLACE, True),
}


@pytest.mark.parametrize("case", OF_NO_USE)
def test_helm_is_not_told_to_force_what_it_would_refuse_after_its_hooks(case: str) -> None:
    force, applied = OF_NO_USE[case]
    where = Where("shop", "web", ServiceAccount("shop", "rollback"), Options(helm=HelmOptions(force=force)))
    listed = tuple(replace(one, applied=applied == (one.number == 2)) for one in records(1, 3))

    assert not [word for word in arguments(rollback(listed, 2, force=force)) if "force" in word]
    assert going_forward(where, replace(record(3), applied=applied)) == "helm -n shop rollback web 3"


FORCED = {
    "conflicts": (Force.CONFLICTS, True, "Helm is told to take fields from others"),
    "no conflicts": (Force.CONFLICTS, False, "There are no conflicts to force"),
    "replacing": (Force.REPLACE, False, "Helm is told to replace objects"),
}


@pytest.mark.parametrize("case", FORCED)
def test_the_plan_says_what_is_forced(case: str) -> None:
    force, applied, said = FORCED[case]
    listed = tuple(replace(one, applied=applied == (one.number == 2)) for one in records(1, 3))

    (note,) = rollback(listed, 2, force=force).notes()

    assert note.startswith(said)


LIMITS = {
    # revisions, where to, the limit: what Helm is told, and whether the plan speaks of it
    "room for one more": (records(1, 5), 1, 10, 10, False),
    "just so": (records(1, 9), 1, 10, 10, False),
    "the oldest has to go, and it is another": (records(1, 10), 2, 10, 10, False),
    "the oldest has to go, and it is the one": (records(1, 10), 1, 10, 11, True),
    "many have to go": (records(1, 10), 3, 4, 11, True),
    "all are kept": (records(1, 50), 1, 0, 0, False),
    "the one that is left would have to go": ((*records(1, 3), record(4, "failed")), 3, 1, 5, True),
    "an attempt that was interrupted takes no place": (
        (*records(1, 9), record(10, "failed", request="request-1", interrupted=True)),
        1,
        10,
        11,
        False,
    ),
}


@pytest.mark.parametrize("case", LIMITS)
def test_the_revisions_that_are_gone_back_to_and_left_are_kept(case: str) -> None:
    listed, to, limit, told, said = LIMITS[case]
    one = rollback(listed, to, history_max=limit)

    assert one._history_max() == told
    assert any("it is kept" in note for note in one.notes()) is said


SOON = {
    "far from the limit": (records(1, 5), 1, False),
    "the oldest of ten": (records(1, 10), 1, True),
    "not the oldest of ten": (records(1, 10), 2, False),
    "the oldest of three, after others went": (records(4, 6), 4, True),
    "what runs is never removed": (records(4, 6), 6, False),
}


@pytest.mark.parametrize("case", SOON)
def test_that_the_next_release_removes_it_is_said_before(case: str) -> None:
    listed, to, warned = SOON[case]

    assert bool(rollback(listed, to).warning()) is warned


def test_the_plan_says_what_is_done() -> None:
    hook = {"name": "migrate", "events": ["pre-rollback"]}
    left = record(3, "pending-upgrade", modified=NOW - timedelta(minutes=20))

    assert list(rollback((*records(1, 2), left), 1).steps({"hooks": [hook]})) == [
        "Mark revision 3, which is pending-upgrade since 11:40:00 UTC and nobody works on any more, as failed.",
        "Roll Helm release shop back from revision 3 to 1 (creates revision 4).",
        "Hooks run: migrate.",
    ]
    assert list(rollback(records(1, 2), 1, hooks=False).steps({"hooks": [hook]}))[-1] == (
        "Hooks that are not run: migrate."
    )


WAYS: dict[str, Callable[[Rollback], Awaitable[None]]] = {
    "to change something": lambda one: one.make("request-1"),
    "to try it": lambda one: one.rehearse("request-1"),
}


@pytest.mark.parametrize("way", WAYS)
async def test_no_more_helms_run_than_there_is_memory_for(way: str) -> None:
    one = rollback(records(1, 2), 1)
    for _ in range(AT_ONCE):
        await one._means.slots.acquire()

    with pytest.raises(errors.NotDone, match="too much memory"):
        async with asyncio.timeout(60):
            await WAYS[way](one)


async def test_helms_of_one_namespace_leave_room_for_those_of_others() -> None:
    """Whoever writes a chart says how long its hooks take."""
    means = Means(NOTHING, NOTHING, "helm")
    async with AsyncExitStack() as going:
        for _ in range(SHARE):
            await going.enter_async_context(means.slot("shop"))

        with pytest.raises(errors.NotDone, match="in namespace shop"):
            await going.enter_async_context(means.slot("shop"))
        await going.enter_async_context(means.slot("bank"))

    async with means.slot("shop"):
        pass


LAPSED = {("", "life"): "no sign of life"}


def door_of(
    record: Any, broken: Mapping[tuple[str, str], str] = MappingProxyType({}), touched: Collection[str] = ()
) -> Any:
    """A door that Helm, which has ended, made `record` through."""
    return SimpleNamespace(record=record, outrun=False, broken=broken, touched=touched, quiet=_at_once)


class Gone:
    """Records that cannot be written."""

    def __init__(self, error: type[errors.KubeError]) -> None:
        self.error = error

    async def read(self, where: Where, one: Record) -> Stored:
        raise errors.NotFound(f"{where.name}: {one.secret}")

    async def write(self, where: Where, secret: Any) -> None:
        raise self.error(f"{where.name}: {secret['metadata']['name']}")


@pytest.mark.parametrize("error", [errors.NotFound, errors.Conflict, errors.Forbidden, errors.Invalid])
async def test_an_attempt_that_had_begun_is_never_said_to_have_changed_nothing(error: type[errors.KubeError]) -> None:
    one = rollback(records(1, 2), 1, Gone(error))
    door = door_of(secret(3, release(3, status="pending-rollback")))

    with pytest.raises(errors.Unavailable, match="could not be recorded"):
        await one._after(door, Finished(1, "it failed"), 0)


class Kept:
    """Records that can be read, and what is written of them."""

    def __init__(self, *kept: Any) -> None:
        self.kept = {one["metadata"]["labels"]["version"]: one for one in kept}
        self.written: list[Any] = []

    async def read(self, where: Where, one: Record) -> Stored:
        assert where.name == "shop"
        found = self.kept[str(one.number)]
        return Stored(found, decode(found))

    async def write(self, where: Where, secret: Any) -> None:
        assert where.name == "shop"
        self.written.append(secret)


async def test_an_attempt_that_was_disturbed_names_what_the_release_before_it_may_have_left() -> None:
    """Or the next attempt, whose forerunner it is, would leave that standing for good."""
    settings = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: only-in-2}\n"
    newest = release(2, status="deployed", manifest=MANIFEST.format(image="shop:2") + settings)
    kept = Kept(secret(1, release(1)), secret(2, newest))
    one = rollback(records(1, 2), 1, kept)
    begun = secret(3, release(3, status="pending-rollback"))
    door = door_of(begun, LAPSED)

    with pytest.raises(errors.Unavailable, match="no sign of life"):
        await one._after(door, Finished(-1, "Helm was ended"), 0)

    (written,) = kept.written
    assert "only-in-2" in decode(written)["manifest"]


ONLY_THERE = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: only-in-2}\n"


def _with_more(more: str = ONLY_THERE) -> Object:
    return release(2, status="deployed", manifest=MANIFEST.format(image="shop:2") + more)


async def test_so_does_one_that_is_given_up() -> None:
    """The next request goes on from it."""
    dead = record(3, "pending-rollback", request="request-1", version="103", alive=NOW - timedelta(minutes=20))
    kept = Kept(secret(1, release(1)), secret(2, _with_more()), secret(3, release(3, status="pending-rollback")))

    await rollback((*records(1, 2), dead), 1, kept).give_up()

    (written,) = kept.written
    assert "only-in-2" in decode(written)["manifest"]


LEFT = {
    "a kind that is served": ("v1", True, True),
    "a kind that is not served any more": ("example.com/v2", True, False),
    "nobody tells which are": ("v1", False, True),
}


@pytest.mark.parametrize("case", LEFT)
async def test_nothing_is_left_of_a_kind_that_is_gone(case: str) -> None:
    """Helm reads what the newest revision names, and fails over it."""
    version, tells, left = LEFT[case]
    kept = Kept(secret(1, release(1)), secret(2, _with_more(ONLY_THERE.replace("v1", version))))
    door = door_of(secret(3, release(3, status="pending-rollback")))

    await rollback(records(1, 2), 1, kept, Server(tells=tells))._after(door, Finished(1, "a hook"), 0)

    (written,) = kept.written
    assert ("only-in-2" in decode(written)["manifest"]) is left


DEFINITION = """---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: tills.example.com}
spec: {group: example.com, names: {kind: Till}}
---
apiVersion: example.com/v1
kind: Till
metadata: {name: first}
"""


@pytest.mark.parametrize("ending", [True, False])
async def test_what_goes_with_its_definition_is_not_named_and_what_stays_is(*, ending: bool) -> None:
    """A definition may be kept, and its kind is served until the last of its objects is gone."""
    kept = Kept(secret(1, release(1)), secret(2, _with_more(DEFINITION)))
    api = Server()
    api.definition = {"metadata": {"name": "tills.example.com", **({"deletionTimestamp": "now"} if ending else {})}}
    door = door_of(secret(3, release(3, status="pending-rollback")))

    await rollback(records(1, 2), 1, kept, api)._after(door, Finished(1, "a hook"), 0)

    (written,) = kept.written
    text = decode(written)["manifest"]
    assert "kind: CustomResourceDefinition" in text
    assert ("kind: Till\n" in text) is not ending


async def test_that_the_record_may_come_yet_is_no_refusal() -> None:
    door: Any = SimpleNamespace(outrun=False, unsure="it is not known", forbidden="may not create", broken={})

    assert isinstance(_before(door, Finished(1, "no")), errors.Unavailable)
    door.outrun = True
    assert isinstance(_before(door, Finished(1, "no")), errors.Conflict)


async def test_what_goes_for_the_history_limit_is_removed_if_it_can_be() -> None:
    api = Server(secret(1, release(1)), secret(2, release(2)))
    api.faults.append(
        failing("DELETE /api/v1/namespaces/shop/secrets/sh.helm.release.v1.shop.v2", errors.Forbidden("no"))
    )
    one = rollback(records(1, 3), 3, api=api)

    for number in (1, 2, 7):
        await one._remove(f"sh.helm.release.v1.shop.v{number}")

    assert [call.path.rpartition(".")[2] for call in api.calls if call.verb == "DELETE"] == ["v1", "v2"]
    assert api.current(secret(2, release(2)))
    with pytest.raises(KeyError):
        api.current(secret(1, release(1)))


@pytest.mark.parametrize("late", [True, False])
async def test_what_becomes_of_helm_after_it_deployed_undoes_nothing(
    monkeypatch: pytest.MonkeyPatch, *, late: bool
) -> None:
    kept = Kept(secret(1, release(1)), secret(2, release(2, status="deployed")))
    door = door_of(secret(3, release(3, status="deployed")), LAPSED)
    door.deployed, door.doomed = True, []
    monkeypatch.setattr(Rollback, "_door", lambda *_: door)
    monkeypatch.setattr(Rollback, "_run", mock.AsyncMock(return_value=Finished(-1, "Helm was ended", late)))

    await rollback(records(1, 2), 1, kept).make("request-1")

    assert kept.written == []


AGAIN: dict[str, tuple[tuple[tuple[bool, str], ...], dict[str, Any], bool]] = {
    # the attempt before (hooks were begun, and for which request), the options: whether hooks are run by this one
    "there was none": ((), {}, True),
    "its hooks were begun": (((True, "request-1"),), {}, False),
    "its hooks were not begun": (((False, "request-1"),), {}, True),
    "it was another request's": (((True, "request-0"),), {}, True),
    "one before it had begun them": (((True, "request-1"), (False, "request-1")), {}, False),
    "they are to be run again": (((True, "request-1"),), {"rerun_hooks": True}, True),
    "they are never run": (((True, "request-1"),), {"rerun_hooks": True, "hooks": False}, False),
}


@pytest.mark.parametrize("case", AGAIN)
async def test_hooks_that_were_begun_are_run_again_only_if_asked(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before, options, run = AGAIN[case]
    attempts = tuple(
        record(3 + at, "failed", request=request, interrupted=True, hooks_ran=ran)
        for at, (ran, request) in enumerate(before)
    )
    helm = mock.AsyncMock(return_value=Finished(1, "no"))
    monkeypatch.setattr(Rollback, "_run", helm)

    with pytest.raises(errors.Invalid):
        await rollback((*records(1, 2), *attempts), 1, **options).make("request-1")

    assert helm.await_args is not None
    assert helm.await_args.kwargs == {"hooks": run}


BEGUN = {
    "its Job was not created": (set(), False),
    "its Job may have been created": ({"migrate"}, True),
    "something without a name was": ({""}, True),
    "another object was": ({"web"}, False),
}


@pytest.mark.parametrize("case", BEGUN)
async def test_a_hook_was_begun_if_what_it_consists_of_may_have_been_created(case: str) -> None:
    """Helm notes that it begins before it creates anything; hooks that were begun are not run again."""
    touched, ran = BEGUN[case]
    job = "apiVersion: batch/v1\nkind: Job\nmetadata: {name: migrate}\n"
    run = {"started_at": "2026-11-21T11:00:00Z", "phase": "Running"}
    hooks = [{"name": "migrate", "events": ["pre-rollback"], "manifest": job, "last_run": run}]
    hooks.append({**hooks[0], "name": "seed", "events": ["pre-install"]})
    kept = Kept(secret(1, release(1)), secret(2, release(2, status="deployed")))
    begun = secret(3, release(3, status="pending-rollback", hooks=hooks))
    door = door_of(begun, LAPSED, touched)

    with pytest.raises(errors.Unavailable, match="no sign of life"):
        await rollback(records(1, 2), 1, kept)._after(door, Finished(-1, "Helm was ended"), 0)

    (written,) = kept.written
    read = record_of(written, "shop")
    assert read is not None
    assert read.hooks_ran is ran
    assert decode(written)["hooks"][1] == hooks[1], "what others did is left alone"


async def test_so_does_one_that_failed_for_good() -> None:
    """It may be tried again by another request, when what it failed over is mended."""
    settings = "---\n# Source: shop/charts/more/x.yaml\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: only-in-2}\n"
    newest = release(2, status="deployed", manifest=MANIFEST.format(image="shop:2") + settings)
    kept = Kept(secret(1, release(1)), secret(2, newest))
    for begun, described in (("pending-rollback", "Rollback failed: a hook"), ("failed", "Upgrade complete")):
        door = door_of(secret(3, release(3, status=begun)))

        await rollback(records(1, 2), 1, kept)._after(door, Finished(1, "a hook"), 0)

        written = decode(kept.written.pop())
        assert "only-in-2" in written["manifest"]
        assert (written["info"]["status"], written["info"]["description"]) == ("failed", described)
        assert fingerprint(written) == fingerprint(release(1)), "it is no other release by that"


async def _at_once() -> None:
    return


async def _marked(one: Rollback) -> None:
    await one._mend(one._newest)


async def _broke(one: Rollback) -> None:
    door = door_of(secret(2, release(2, status="pending-rollback")))
    await one._after(door, Finished(1, "it failed"), 0)


CLOSED: dict[str, tuple[Callable[[Rollback], Awaitable[None]], dict[str, Any]]] = {
    "what somebody left": (_marked, {}),
    "an attempt of ours that is made again": (_marked, {"request": "request-1"}),
    "what Helm failed over": (_broke, {}),
    "what is not made again": (Rollback.give_up, {"request": "request-1"}),
}


@pytest.mark.parametrize("case", CLOSED)
async def test_what_we_closed_is_never_gone_back_to_although_helm_calls_it_superseded_later(case: str) -> None:
    close, known = CLOSED[case]
    kept = Kept(secret(1, release(1)), secret(2, release(2, status="pending-upgrade")))
    left = record(2, "pending-upgrade", version="102", **known)

    await close(rollback((record(1, "deployed"), left), 1, kept))

    (closed,) = kept.written
    later = decode(closed)
    later["info"]["status"] = "superseded"
    annotations = {name: text for name, text in closed["metadata"]["annotations"].items() if "interrupted" not in name}
    metadata = {**closed["metadata"], "annotations": annotations}
    read = record_of({**closed, "metadata": metadata, "data": {"release": encode(later)}}, "shop")
    assert read is not None
    assert read.why_not == "it had failed before it was superseded"


# A small world: one request, operators that come and go, and other people, against the real `standing_of`.


class World:
    """A release; time passes, an operator begins, beats, ends or dies; others release."""

    def __init__(self) -> None:
        self.now = NOW
        self.listed: tuple[Record, ...] = records(1, 2)
        self.at_work = 0
        """Operators whose Helm runs and that may still write."""
        self.ended = False

    def standing(self) -> Standing:
        return standing_of(self.listed, self.now, PATIENCE)

    def newest(self, **change: Any) -> None:
        self.listed = (*self.listed[:-1], replace(self.listed[-1], modified=self.now, **change))

    def look(self) -> None:
        """An operator looks, and begins if core would: not while one is at work, not when the effect is there."""
        standing = self.standing()
        assert standing.newest is not None
        if self.ended or "me" in standing.under_way or "me" in standing.marks:
            return
        if standing.busy or (standing.current is not None and standing.current.number != 2):
            return
        assert self.at_work == 0, "a second Helm is started while the first may be alive"
        if standing.mend is not None:
            self.newest(status="failed", interrupted=True, alive=None)
        number = standing.newest.number + 1
        made = record(number, "pending-rollback", request="me", alive=self.now, modified=self.now)
        self.listed = (*self.listed, made)
        self.at_work = 1

    def beat(self) -> None:
        if self.at_work:
            self.newest(alive=self.now)

    def finish(self, status: str) -> None:
        if self.at_work:
            self.newest(status=status, alive=None)
            self.at_work = 0

    def die(self) -> None:
        self.at_work = 0

    def stall(self) -> None:
        """No sign of life for so long that the door lets nothing through any more, and others may begin."""
        self.now += DEAD_AFTER
        self.at_work = 0

    def wait(self) -> None:
        """A while in which whoever is at work says so."""
        self.now += timedelta(seconds=4)
        self.beat()


STEPS = ("look", "beat", "die", "stall", "wait")


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from([*STEPS, "deployed", "failed"]), max_size=60))
def test_however_operators_die_there_is_one_at_a_time_few_attempts_and_an_end(steps: list[str]) -> None:
    world = World()
    for step in steps:
        world.finish(step) if step in ("deployed", "failed") else getattr(world, step)()
        attempts = [one for one in world.listed if one.request == "me"]
        assert len(attempts) <= MOST_ATTEMPTS
        assert sum(one.status == "deployed" for one in attempts) <= 1
        assert sum(one.pending for one in attempts) <= 1
    for _ in range(2 * MOST_ATTEMPTS):  # from here on nothing goes wrong
        world.look()
        world.finish("deployed")
        world.stall()
    assert "me" in world.standing().marks
