"""The worker that resumes Flux: where it looks, as whom, what it writes, and when it leaves a suspension alone."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rollback_operator.api.owner import Suspension
from rollback_operator.core import conditions as on
from rollback_operator.core import flux
from rollback_operator.core.hold import ENDED_ANNOTATION, RELEASE_ANNOTATION
from rollback_operator.core.suspended import attempted, content_of
from rollback_operator.holds.suspensions import SuspensionWorker
from rollback_operator.kube import errors
from rollback_operator.kube.resources import Key, key_of
from rollback_operator.settings import Settings
from tests.unit import test_suspended as made
from tests.unit.fakes import FakeApi, failing
from tests.unit.objects import Object
from tests.unit.test_holds import Git, rolled_back

UID = "uid-of-back"
NAMED: Key = ("shop", "back")
SHOP = "/apis/kustomize.toolkit.fluxcd.io/v1/namespaces/flux-system/kustomizations/shop"


def suspended(
    body: Object | None = None, *, by: str = UID, was: bool | None = None, noted: dict[str, str] | None = None
) -> Object:
    """shop as a rollback suspended it."""
    body = body or made.kustomization()
    record = json.dumps({"request": by, "suspend": was})
    body["metadata"] |= {"uid": "uid-of-shop", "annotations": {flux.HOLD: record, **(noted or {})}}
    body["spec"]["suspend"] = True
    return body


def resumed(body: Object, *, keep: bool = True) -> Object:
    """As people resume it, who mostly leave the annotation."""
    del body["spec"]["suspend"]
    if not keep:
        body["metadata"]["annotations"] = {}
    return body


def request(*things: Object, until: str = "TargetChanges", made_at: datetime | None = None, **status: Any) -> Object:
    """A request for Deployment web that suspended these."""
    body = rolled_back(uid=UID, hold={"until": until})
    (target,) = body["status"]["targets"]
    body["status"] |= {"target": "Deployment/web", **status}
    suspends = [
        Suspension(
            kind=one["kind"],
            namespace=one["metadata"]["namespace"],
            name=one["metadata"]["name"],
            uid="uid-of-shop",
            revision=attempted(one),
            content=content_of(one),
        ).dump()
        for one in things or (suspended(),)
    ]
    step = {"name": "Rollback", "state": "Done", "finishedAt": (made_at or datetime.now(UTC)).isoformat()}
    target |= {"target": "Deployment/web", "steps": [step], "plan": {**target["plan"], "suspends": suspends}}
    return body


def fleet(revision: str = made.NOW) -> Object:
    return made.source("GitRepository", revision, url="https://git.example.com/fleet")


class World:
    """A worker with an API server and a repository in memory."""

    def __init__(self, *things: Object, asked: Object | None = None) -> None:
        self.asked = asked or request()
        self.api = FakeApi(*things, self.asked)
        self.git = Git()
        self.woken: list[Key] = []
        api: Any = self.api
        git: Any = self.git
        self.worker = SuspensionWorker(api, git, Settings(holds=7), self.woken.append)
        self.worker.request_changed(self.api.current(self.asked))

    async def work(self) -> float | None:
        return await self.worker.work(NAMED)

    def condition(self) -> tuple[str, str, str]:
        found = self.api.current(self.asked)["status"]["conditions"]
        return next((one["status"], one["reason"], one["message"]) for one in found if one["type"] == on.HELD)

    def shop(self) -> Object:
        return self.api.current(made.kustomization())


def notes(body: Object) -> set[str]:
    return set(body["metadata"]["annotations"])


async def test_while_git_has_the_same_it_stays_suspended_and_that_is_told_once() -> None:
    world = World(suspended(), fleet())
    assert world.woken == [NAMED]
    assert await world.work() == 7
    state, reason, message = world.condition()
    assert (state, reason) == ("True", "Holding")
    assert message.startswith("Kustomization flux-system/shop is suspended since the rollback, until Git brings it ")
    assert flux.resuming(Suspension(kind="Kustomization", namespace="flux-system", name="shop", uid="u")) in message
    writes = len(world.api.writes())
    assert await world.work() == 7
    assert len(world.api.writes()) == writes
    assert {call.as_ for call in world.api.calls if "toolkit.fluxcd.io" in call.path} == {"shop/mine"}


@pytest.mark.parametrize("was", [None, False])
async def test_when_git_brings_something_else_it_is_as_it_was(*, was: bool | None) -> None:
    thing = suspended(was=was, noted={RELEASE_ANNOTATION: "no", "team": "shop"})
    world = World(thing, fleet())
    world.git.differs = True
    assert await world.work() is None
    assert world.condition()[:2] == ("False", "TargetChanged")
    assert world.condition()[2].endswith("): spec.suspend is as it was before the rollback.")
    after = world.shop()
    assert after["spec"].get("suspend") is was
    assert notes(after) == {"team", ENDED_ANNOTATION}
    assert [call.as_ for call in world.api.writes() if call.verb == "PATCH"] == ["shop/mine"]


async def test_whoever_is_killed_between_the_end_and_its_telling_tells_it_afterwards() -> None:
    world = World(suspended(), fleet())
    world.git.differs = True
    world.api.faults.append(failing("/status", errors.Unavailable("no answer"), times=1))
    with pytest.raises(errors.Unavailable):
        await world.work()
    assert await world.work() is None
    assert world.condition()[:2] == ("False", "TargetChanged")
    assert len([call for call in world.api.writes() if call.verb == "PATCH"]) == 1


STAYS: dict[str, tuple[World, str, str]] = {
    "Git has the very commit": (World(suspended(), fleet(made.BAD)), "Holding", "until Git brings it something else"),
    "a person has to end it": (
        World(suspended(), fleet(), asked=request(until="Manual")),
        "Holding",
        "until a person ends it",
    ),
    "it lasts": (
        World(suspended(), fleet(made.BAD), asked=request(made_at=datetime.now(UTC) - timedelta(hours=25))),
        "HeldForLong",
        "It has lasted longer than its alertAfter.",
    ),
    "its source is gone": (
        World(suspended()),
        "CannotCompare",
        "GitRepository flux-system/fleet, which feeds it, is gone",
    ),
    "it applies more than the target": (
        World(suspended(made.kustomization("shop_web_apps_Deployment", "shop_api_apps_Deployment")), fleet()),
        "CannotCompare",
        "it applies Deployment/api as well",
    ),
}


@pytest.mark.parametrize("case", STAYS)
async def test_it_stays_suspended_when(case: str) -> None:
    world, reason, words = STAYS[case]
    world.git.differs = True
    assert await world.work() == 7
    assert world.condition()[:2] == ("True", reason)
    assert words in world.condition()[2]
    assert world.shop()["spec"]["suspend"] is True


async def test_without_the_right_to_look_at_its_source_it_stays() -> None:
    world = World(suspended(), fleet())
    world.api.faults.append(failing("gitrepositories", errors.Forbidden("no")))
    assert await world.work() == 7
    assert world.condition()[1] == "CannotCompare"
    assert world.condition()[2].endswith(
        "service account shop/mine may not get gitrepositories fleet in namespace flux-system; "
        "examples/rbac-owners.yaml shows the right"
    )


@pytest.mark.parametrize("verb", ["GET", "PATCH"])
async def test_without_rights_on_it_that_is_said_with_the_command(verb: str) -> None:
    world = World(suspended(), fleet())
    world.git.differs = True
    world.api.faults.append(failing(f"{verb} /apis/kustomize", errors.Forbidden("no")))
    assert await world.work() == 7
    assert world.condition()[:2] == ("True", "CannotCompare")
    said = world.condition()[2]
    assert "service account shop/mine may not look when that can end" in said
    assert "Give it the rights (examples/rbac-owners.yaml shows which). To end it by hand: kubectl -n flux-sys" in said


async def test_an_end_that_the_api_server_does_not_take_is_said_and_others_are_looked_at() -> None:
    other = made.kustomization()
    other["metadata"]["name"] = "other"
    both = (suspended(), suspended(other))
    world = World(*both, fleet(), asked=request(*both))
    world.git.differs = True
    world.api.faults.append(failing(f"PATCH {SHOP}", errors.Invalid("denied by a webhook")))
    assert await world.work() == 7
    assert world.condition()[:2] == ("True", "CannotCompare")
    assert "the API server does not take what is written to it: denied by a webhook. Remove" in world.condition()[2]
    assert "suspend" not in world.api.current(other)["spec"]
    world.api.faults.clear()
    assert await world.work() is None
    assert world.condition()[:2] == ("False", "TargetChanged")


BY_PEOPLE: dict[str, tuple[World, str, bool | None]] = {
    "resumed": (World(resumed(suspended())), "AutomationTurnedOn", None),
    "resumed by the command that is shown": (World(resumed(suspended(), keep=False)), "AutomationTurnedOn", None),
    "released by the annotation": (
        World(suspended(noted={RELEASE_ANNOTATION: "true"}), fleet()),
        "ReleasedByHand",
        None,
    ),
    "suspended for a later request": (World(suspended(by="another")), "NotHeld", True),
    "made anew": (World(suspended() | {"metadata": suspended()["metadata"] | {"uid": "another"}}), "NotHeld", True),
}


@pytest.mark.parametrize("case", BY_PEOPLE)
async def test_it_is_over_when_it_was(case: str) -> None:
    world, reason, suspend = BY_PEOPLE[case]
    before = notes(world.shop()) if suspend else set()
    assert await world.work() is None
    assert world.condition()[:2] == ("False", reason)
    assert world.shop()["spec"].get("suspend") is suspend
    assert notes(world.shop()) - {ENDED_ANNOTATION} == before


async def test_it_is_over_when_it_was_deleted() -> None:
    world = World()
    assert await world.work() is None
    assert world.condition()[:2] == ("False", "TargetNotFound")


async def test_an_end_by_somebody_else_at_the_same_moment_is_not_overwritten() -> None:
    world = World(suspended(), fleet())
    world.git.differs = True
    world.api.faults.append(failing("PATCH", errors.Conflict("another version"), times=1))
    with pytest.raises(errors.Conflict):
        await world.work()
    assert world.shop()["spec"]["suspend"] is True


async def test_of_two_the_one_that_can_be_resumed_is() -> None:
    other = made.kustomization(path="./other")
    other["metadata"]["name"] = "other"
    both = (suspended(), suspended(other))
    world = World(*both, fleet(), asked=request(*both))
    changed = suspended(made.kustomization(path="./other", images=[{"name": "web", "newTag": "3"}]))
    changed["metadata"]["name"] = "other"
    world.api.put(changed)
    assert await world.work() == 7
    assert world.condition()[:2] == ("True", "Holding")
    assert "flux-system/other" not in world.condition()[2]
    assert "suspend" not in world.api.current(changed)["spec"]
    assert world.shop()["spec"]["suspend"] is True


NOT_LOOKED_AT: dict[str, Object] = {
    "that has not ended": request(phase="Verifying"),
    "that changed nothing": request(conditions=[{**request()["status"]["conditions"][0], "status": "False"}]),
    "whose suspensions are over": request(
        conditions=[{**request()["status"]["conditions"][0], "type": "Held", "status": "False"}]
    ),
    "that suspended nothing": rolled_back(uid=UID),
}


@pytest.mark.parametrize("case", NOT_LOOKED_AT)
async def test_nobody_looks_for_a_request(case: str) -> None:
    world = World(suspended(), fleet(), asked=NOT_LOOKED_AT[case])
    assert world.woken == []
    assert await world.work() is None
    assert world.api.writes() == []


def lent(to: str, **noted: str) -> Object:
    """shop, whose suspension a later request took over."""
    body = suspended(noted=noted)
    record = {"request": to, "suspend": None, "earlier": [UID]}
    body["metadata"]["annotations"][flux.HOLD] = json.dumps(record)
    return body


def later(**status: Any) -> Object:
    """A request for an Application that suspended shop as well."""
    body = request(**status)
    body["metadata"] |= {"name": "later", "uid": "uid-of-later"}
    body["status"]["target"] = body["status"]["targets"][0]["target"] = "Application/argocd/shop"
    return body


async def test_what_a_request_for_an_application_took_over_is_its_own_once_it_has_ended() -> None:
    """The hold that it tells of is the Application's."""
    world = World(lent("uid-of-later"), fleet(), later())
    assert await world.work() == 7
    world.worker.request_changed(world.api.current(later()))
    assert world.woken[-1] == ("shop", "later")
    assert await world.worker.work(("shop", "later")) is None
    assert "earlier" not in json.loads(world.shop()["metadata"]["annotations"][flux.HOLD])
    assert world.shop()["spec"]["suspend"] is True
    assert await world.work() is None
    assert world.condition()[:2] == ("False", "NotHeld")
    before = len(world.api.writes())
    assert await world.worker.work(("shop", "later")) is None
    assert len(world.api.writes()) == before


@pytest.mark.parametrize("gone", [False, True])
async def test_people_may_end_what_a_request_took_over_that_is_gone(*, gone: bool) -> None:
    """Of one that is there, the effect may be under way: it would be undone."""
    body = later(phase="Running")
    world = World(lent("uid-of-later", **{RELEASE_ANNOTATION: "true"}), fleet(), *(() if gone else (body,)))
    assert await world.work() == (None if gone else 7)
    assert ("suspend" in world.shop()["spec"]) is not gone
    assert world.condition()[:2] == (("False", "ReleasedByHand") if gone else ("True", "Holding"))


async def test_a_request_that_was_deleted_is_forgotten() -> None:
    world = World(suspended(), fleet())
    world.api.drop(world.asked)
    world.worker.gone(key_of(world.asked))
    assert await world.work() is None
    assert world.api.writes() == []
