"""The worker that looks after holds: where it looks, as whom, what it writes, and that it forgets nothing it needs."""

from __future__ import annotations

import base64
import copy
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rollback_operator.api import POLICIES, REQUEST_ANNOTATION
from rollback_operator.api.common import Place
from rollback_operator.core import conditions as on
from rollback_operator.core.hold import RELEASE_ANNOTATION
from rollback_operator.core.life.times import SETTLE
from rollback_operator.gitobjects import Credentials, Identity, Spot, Unknowable
from rollback_operator.holds import applications
from rollback_operator.holds.applications import HoldWorker
from rollback_operator.kube import errors
from rollback_operator.settings import Settings
from rollback_operator.targets.application import ApplicationTarget
from rollback_operator.targets.application.content import Content
from rollback_operator.targets.application.held import HOLD_ANNOTATION, Hold, pieces
from tests.unit.applications import KEY, Object, application, entry, operated, sha
from tests.unit.fakes import Call, FakeApi, failing
from tests.unit.objects import policy_body, request_body

PLACE: Place = ("Application", "shop", "web")
PATH = "/apis/argoproj.io/v1alpha1/namespaces/shop/applications/web"
ORIGINAL = {"prune": True, "selfHeal": True}


class Git:
    """A repository in which every commit is another, or all are the same."""

    def __init__(self) -> None:
        self.differs = False
        self.shown: list[Credentials | None] = []
        self.private = False

    async def identity(self, spot: Spot, credentials: Credentials | None = None) -> Identity:
        self.shown.append(credentials)
        if self.private and credentials is None:
            raise Unknowable("it asks for a password")
        return Identity(spot.commit if self.differs else "same")


def held_application(until: str = "TargetChanges", **fields: Any) -> Object:
    """web, rolled back from c to b and held, while Git has gone on to d."""
    app = application("abcb")
    content = Content.of(entry(0, "c"))
    assert content is not None
    since = fields.get("since", datetime.now(UTC))
    hold = Hold(fields.get("request", KEY), since, until, "4h", dict(ORIGINAL), (pieces(content),))
    app["spec"]["syncPolicy"]["automated"]["enabled"] = False
    app["metadata"]["annotations"] |= {HOLD_ANNOTATION: hold.dump(), REQUEST_ANNOTATION: hold.request}
    app["status"]["sync"] |= {"status": "OutOfSync", "revision": sha("d")}
    return app


def rolled_back(name: str = "back", *, uid: str = KEY, phase: str = "Succeeded", hold: Object | None = None) -> Object:
    """A request that was applied to web."""
    body = request_body(name, uid=uid, target={"kind": "Application", "name": "web"})
    revision = {"revision": "2", "fingerprint": "v1:" + "0" * 64}
    plan = {
        "digest": "",
        "uid": "uid-of-web",
        "from": revision,
        "to": revision,
        "steps": [],
        "diff": "",
        "serviceAccountName": "mine",
        **({"hold": hold} if hold else {}),
    }
    applied = {
        "type": "Applied",
        "status": "True",
        "reason": "Applied",
        "message": "",
        "lastTransitionTime": "2026-03-01T03:00:00Z",
    }
    body["status"] = {
        "phase": phase,
        "target": "Application/web",
        "targets": [{"target": "Application/web", "phase": phase, "plan": plan}],
        "conditions": [applied],
        "observedGeneration": 1,
    }
    return body


class World:
    """A worker with an API server and a repository in memory."""

    def __init__(self, *things: Object) -> None:
        self.api = FakeApi(*things)
        self.git = Git()
        self.woken: list[Place] = []
        api: Any = self.api
        git: Any = self.git
        self.worker = HoldWorker(api, ApplicationTarget(api), git, Settings(holds=7), self.woken.append)

    def tell(self, *bodies: Object) -> None:
        for body in bodies:
            changed = self.worker.policy_changed if body["kind"] == "RollbackPolicy" else self.worker.request_changed
            changed(self.api.current(body))

    def delete(self, body: Object) -> None:
        """Somebody deletes a request, as it is now."""
        last = self.api.current(body)
        self.api.drop(body)
        self.worker.request_gone(last)

    async def work(self) -> float | None:
        return await self.worker.work(PLACE)

    def app(self) -> Object:
        return self.api.current(application())

    def held(self, body: Object) -> tuple[str, str] | None:
        """Status and reason of the condition."""
        for one in self.api.current(body)["status"]["conditions"]:
            if one["type"] == on.HELD:
                return one["status"], one["reason"]
        return None

    def said(self, body: Object) -> str:
        """Its message."""
        (said,) = [one["message"] for one in self.api.current(body)["status"]["conditions"] if one["type"] == on.HELD]
        return str(said)


def world(app: Object | None = None, request: Object | None = None) -> World:
    """web is held for the request."""
    request = request or rolled_back()
    found = World(app or held_application(), request)
    found.tell(request)
    return found


async def test_a_hold_that_goes_on_is_told_once_and_looked_at_again() -> None:
    one = world()
    assert one.woken == [PLACE]
    assert await one.work() == 7
    assert one.held(rolled_back()) == ("True", "Holding")
    assert one.said(rolled_back()).startswith("Automated sync of Application shop/web is off since the rollback")
    writes = len(one.api.writes())
    assert await one.work() == 7
    assert len(one.api.writes()) == writes
    assert {call.as_ for call in one.api.calls if "applications" in call.path} == {"shop/mine"}


async def test_when_git_brings_something_else_automation_is_as_it_was() -> None:
    one = world()
    one.git.differs = True
    before = one.app()
    assert await one.work() is None
    after = one.app()
    assert after["spec"]["syncPolicy"]["automated"] == ORIGINAL
    assert HOLD_ANNOTATION not in after["metadata"]["annotations"]
    assert after["metadata"]["annotations"]["note"] == "by hand"
    after["spec"]["syncPolicy"]["automated"]["enabled"] = False
    assert after["spec"] == before["spec"]
    assert after["status"] == before["status"]
    assert one.held(rolled_back()) == ("False", "TargetChanged")
    assert await one.work() is None


async def test_what_people_changed_of_the_rest_meanwhile_stays() -> None:
    app = held_application()
    app["spec"]["syncPolicy"]["syncOptions"] = ["Replace=true"]
    one = world(app)
    one.git.differs = True
    await one.work()
    assert one.app()["spec"]["syncPolicy"]["syncOptions"] == ["Replace=true"]


async def test_automation_that_had_been_taken_out_comes_back() -> None:
    app = held_application()
    del app["spec"]["syncPolicy"]["automated"]
    one = world(app)
    one.git.differs = True
    await one.work()
    assert one.app()["spec"]["syncPolicy"]["automated"] == ORIGINAL


async def test_a_person_ends_it() -> None:
    app = held_application("Manual")
    app["metadata"]["annotations"][RELEASE_ANNOTATION] = "true"
    one = world(app)
    assert await one.work() is None
    assert one.app()["spec"]["syncPolicy"]["automated"] == ORIGINAL
    assert RELEASE_ANNOTATION not in one.app()["metadata"]["annotations"]
    assert one.held(rolled_back()) == ("False", "ReleasedByHand")


async def test_a_person_who_turns_automation_on_has_the_last_word() -> None:
    app = held_application()
    app["spec"]["syncPolicy"]["automated"] = {"prune": False}
    one = world(app)
    assert await one.work() is None
    assert one.app()["spec"]["syncPolicy"]["automated"] == {"prune": False}
    assert one.held(rolled_back()) == ("False", "AutomationTurnedOn")


async def test_while_argo_cd_is_busy_nothing_is_written_to_it() -> None:
    app = operated(held_application(), "Running", entry(9, "x"), key=None)
    one = world(app)
    one.git.differs = True
    assert await one.work() == 7
    assert one.app()["spec"]["syncPolicy"]["automated"]["enabled"] is False


async def test_a_change_that_comes_in_between_puts_the_end_off() -> None:
    one = world()
    one.git.differs = True
    one.api.faults.append(failing("PUT /apis/argoproj.io", errors.Conflict("changed"), times=1))
    with pytest.raises(errors.Conflict):
        await one.work()
    assert await one.work() is None
    assert one.app()["spec"]["syncPolicy"]["automated"] == ORIGINAL


async def test_an_end_without_its_record_is_recorded_later() -> None:
    one = world()
    one.git.differs = True
    one.api.faults.append(failing("rollbackrequests", errors.Unavailable("no answer"), times=1))
    with pytest.raises(errors.Unavailable):
        await one.work()
    assert HOLD_ANNOTATION not in one.app()["metadata"]["annotations"]
    assert await one.work() is None
    assert one.held(rolled_back()) == ("False", "TargetChanged")


async def test_of_an_end_that_was_a_later_requests_an_earlier_one_is_not_told() -> None:
    first, second = rolled_back("first", uid="uid-of-first"), rolled_back("second")
    one = World(held_application(), first, second)
    one.tell(first, second)
    one.git.differs = True
    await one.work()
    assert one.held(first) == ("False", "NotHeld")
    assert one.held(second) == ("False", "TargetChanged")


async def test_a_long_hold_is_told_in_an_event() -> None:
    one = world(held_application(since=datetime(2026, 3, 1, tzinfo=UTC)))
    await one.work()
    assert one.held(rolled_back()) == ("True", "HeldForLong")
    (event,) = [call.body for call in one.api.writes() if call.path.endswith("/events")]
    assert (event["reason"], event["type"]) == ("HeldForLong", "Warning")


async def test_an_annotation_that_somebody_mangled_is_told_of_and_ends_nothing() -> None:
    app = held_application()
    app["metadata"]["annotations"][HOLD_ANNOTATION] = "{}"
    one = world(app)
    one.git.differs = True
    assert await one.work() == 7
    assert one.held(rolled_back()) == ("True", "CannotCompare")
    assert one.app()["spec"]["syncPolicy"]["automated"]["enabled"] is False


async def test_without_a_hold_nobody_looks_again() -> None:
    one = world(application("abcb"))
    assert await one.work() is None
    assert one.held(rolled_back()) == ("False", "NotHeld")
    one.woken.clear()
    one.tell(rolled_back())
    assert one.woken == []


async def test_an_application_that_is_gone_is_looked_for_seldom_and_nothing_is_written() -> None:
    one = World(rolled_back())
    one.tell(rolled_back())
    assert await one.work() == 600
    assert one.held(rolled_back()) == ("False", "TargetNotFound")
    one.woken.clear()
    one.tell(rolled_back())
    assert one.woken == []
    writes = len(one.api.writes())
    assert await one.work() == 600
    assert len(one.api.writes()) == writes
    one.delete(rolled_back())
    assert await one.work() is None


@pytest.mark.parametrize("restarted", [False, True])
async def test_an_application_that_is_made_anew_with_its_hold_is_held(restarted: bool) -> None:  # noqa: FBT001
    """As a backup, or `kubectl replace --force`, brings it back."""
    one = world()
    await one.work()
    one.api.drop(held_application())
    await one.work()
    one.tell(rolled_back())
    if restarted:
        one = World(one.api.current(rolled_back()))
        one.tell(rolled_back())
        assert one.woken == [PLACE]
    one.api.put(held_application())
    assert await one.work() == 7
    assert one.held(rolled_back()) == ("True", "Holding")
    one.git.differs = True
    assert await one.work() is None
    assert one.app()["spec"]["syncPolicy"]["automated"] == ORIGINAL


async def test_a_right_that_went_with_the_application_is_not_told() -> None:
    one = world()
    await one.work()
    one.api.drop(held_application())
    await one.work()
    one.api.faults.append(failing("GET /apis/argoproj.io", errors.Forbidden("no")))
    assert await one.work() == 600
    assert one.held(rolled_back()) == ("False", "TargetNotFound")


async def test_a_request_that_comes_while_the_end_of_another_hold_is_told_is_looked_after() -> None:
    first, second = rolled_back("first", uid="uid-of-first"), rolled_back("second", uid="uid-of-second")
    one = World(application("abcb"), first, second)
    one.tell(first)

    def meanwhile(call: Call) -> None:
        if call.verb == "PUT" and call.path.endswith("/first/status"):
            one.api.put(held_application(request="uid-of-second"))
            one.tell(second)

    one.api.faults.append(meanwhile)
    assert await one.work() == 0
    assert one.held(first) == ("False", "NotHeld")
    one.api.faults.clear()
    assert await one.work() == 7
    assert one.held(second) == ("True", "Holding")
    one.git.differs = True
    assert await one.work() is None
    assert one.app()["spec"]["syncPolicy"]["automated"] == ORIGINAL


NOT_LOOKED_AT: dict[str, Object] = {
    "a Deployment": {"target": "Deployment/web"},
    "one that was not applied": {"conditions": [{"type": "Applied", "status": "False"}]},
    "one whose hold is over": {
        "conditions": [{"type": "Applied", "status": "True"}, {"type": "Held", "status": "False"}]
    },
    "one without a plan": {"targets": []},
    "one that goes on": {"phase": "Verifying"},
    "a group": {"target": "2 targets"},
}


@pytest.mark.parametrize("what", NOT_LOOKED_AT)
def test_nobody_looks_for(what: str) -> None:
    body = rolled_back()
    body["status"].update(NOT_LOOKED_AT[what])
    one = World(body)
    one.tell(body)
    assert one.woken == []


def test_one_of_which_nobody_knows_whether_it_was_applied_is_looked_for() -> None:
    body = rolled_back(phase="Failed")
    body["status"]["conditions"] = [{"type": "Applied", "status": "Unknown"}]
    one = World(body)
    one.tell(body)
    assert one.woken == [PLACE]


async def test_a_later_request_takes_the_hold_over() -> None:
    first, second = rolled_back("first", uid="uid-of-first"), rolled_back("second")
    one = World(held_application(), first, second)
    one.tell(first, second)
    await one.work()
    assert one.held(first) == ("False", "NotHeld")
    assert one.held(second) == ("True", "Holding")


async def test_a_hold_outlives_its_request() -> None:
    one = world()
    await one.work()
    one.delete(rolled_back())
    assert await one.work() == 7
    one.git.differs = True
    assert await one.work() is None
    assert one.app()["spec"]["syncPolicy"]["automated"] == ORIGINAL


@pytest.mark.parametrize("phase", ["Running", "Verifying", "Succeeded"])
async def test_a_hold_is_looked_after_whose_request_is_deleted_before_it_was_told_of(phase: str) -> None:
    request = rolled_back(phase=phase)
    one = World(held_application(), request)
    one.delete(request)
    assert one.woken == [PLACE]
    assert await one.work() == 7
    assert {call.as_ for call in one.api.calls if "applications" in call.path} == {"shop/mine"}
    one.git.differs = True
    await one.work()
    assert one.app()["spec"]["syncPolicy"]["automated"] == ORIGINAL


async def test_an_effect_that_arrives_after_its_request_was_deleted_is_found() -> None:
    request = rolled_back(phase="Running")
    request["status"]["conditions"] = []
    one = World(application(), request)
    one.delete(request)
    again = await one.work()
    assert again is not None
    assert 0 < again <= SETTLE.total_seconds()
    one.api.put(held_application())
    assert await one.work() == 7


@pytest.mark.parametrize("phase", ["Pending", "Running", "Verifying", "Succeeded"])
async def test_a_request_that_is_deleted_without_a_hold_is_forgotten(
    phase: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(applications, "SETTLE", timedelta())
    request = rolled_back(phase=phase)
    if phase == "Pending":
        del request["status"]["targets"]
    one = World(application(), request)
    one.delete(request)
    assert await one.work() is None
    assert one.api.writes() == []
    calls = len(one.api.calls)
    assert await one.work() is None
    assert len(one.api.calls) == calls


async def test_what_cannot_be_said_to_a_request_that_is_gone_is_said_to_one_that_is_there() -> None:
    first, second = rolled_back("first", uid="uid-of-first"), rolled_back("second")
    one = World(held_application(request="uid-of-first"), first, second)
    one.delete(first)
    await one.work()
    one.tell(second)
    one.api.faults.append(failing("GET /apis/argoproj.io", errors.Forbidden("no")))
    assert await one.work() == 7
    assert one.held(second) == ("True", "CannotCompare")


async def test_another_request_of_that_name_takes_nothing_away() -> None:
    request = rolled_back(phase="Verifying")
    one = World(held_application(), request)
    one.delete(request)
    one.api.put(request_body("back", uid="uid-of-another", target={"kind": "Application", "name": "web"}))
    one.tell(request)
    assert await one.work() == 7


async def test_a_request_whose_hold_is_over_is_forgotten_with_it() -> None:
    request = rolled_back()
    request["status"]["conditions"].append({"type": "Held", "status": "False", "reason": "NotHeld"})
    one = World(held_application(), request)
    one.delete(request)
    assert one.woken == []
    assert await one.work() is None


def an_applications_policy(**spec: Any) -> Object:
    return policy_body("orders", target={"kind": "Application", "name": "web"}, **spec)


async def test_after_a_restart_a_policy_finds_the_hold_of_a_request_that_is_gone() -> None:
    policy = an_applications_policy(serviceAccountName="policys")
    one = World(held_application(), policy)
    one.tell(policy)
    assert await one.work() == 7
    assert {call.as_ for call in one.api.calls if "applications" in call.path} == {"shop/policys"}
    (event,) = [call.body for call in one.api.writes()]
    assert (event["involvedObject"]["kind"], event["reason"]) == ("RollbackPolicy", "Holding")
    await one.work()
    assert len(one.api.writes()) == 1
    one.git.differs = True
    assert await one.work() is None
    assert one.app()["spec"]["syncPolicy"]["automated"] == ORIGINAL


async def test_a_policy_of_something_else_finds_nothing() -> None:
    policy = policy_body()
    one = World(policy)
    one.tell(policy)
    assert one.woken == []


async def test_a_policy_that_turns_to_something_else_is_forgotten() -> None:
    policy = an_applications_policy()
    one = World(held_application(), policy)
    one.tell(policy)
    one.api.put(policy_body("orders"))
    one.tell(policy)
    assert await one.work() is None
    one.worker.gone(POLICIES, ("shop", "orders"))


async def test_whoever_may_read_it_is_asked() -> None:
    policy = an_applications_policy()
    one = World(held_application(), rolled_back(), policy)
    one.api.faults.append(failing("as shop/mine", errors.Forbidden("no")))
    one.tell(rolled_back(), policy)
    assert await one.work() == 7


async def test_what_nobody_may_read_is_looked_at_seldom_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """A stranger's policy that names it would fill the log."""
    policy = an_applications_policy()
    one = World(held_application(), policy)
    one.tell(policy)
    one.api.faults.append(failing("GET /apis/argoproj.io", errors.Forbidden("no")))
    with caplog.at_level("INFO"):
        assert [await one.work(), await one.work()] == [600, 600]
    assert [entry.getMessage() for entry in caplog.records] == ["Application shop/web is not looked at for a hold: no"]
    assert one.api.writes() == []
    one.api.faults.clear()
    assert await one.work() == 7


async def test_a_right_that_was_taken_away_before_a_restart_is_told() -> None:
    one = world()
    await one.work()
    anew = World(held_application(), one.api.current(rolled_back()))
    anew.tell(rolled_back())
    anew.api.faults.append(failing("GET /apis/argoproj.io", errors.Forbidden("no")))
    assert await anew.work() == 7
    assert anew.held(rolled_back()) == ("True", "CannotCompare")


@pytest.mark.parametrize(
    "verb,says",
    [
        (
            "GET",
            "Application shop/web is held and may not be looked at any more, so the hold stays: no. Give the service ",
        ),
        ("PUT", "The hold of Application shop/web is to end (TargetChanged), and nobody may write that: no. Give the "),
    ],
)
async def test_a_right_that_was_taken_away_during_a_hold_is_told(verb: str, says: str) -> None:
    one = world()
    await one.work()
    one.git.differs = True
    one.api.faults.append(failing(f"{verb} /apis/argoproj.io", errors.Forbidden("no")))
    assert await one.work() == 7
    assert one.held(rolled_back()) == ("True", "CannotCompare")
    assert one.said(rolled_back()).startswith(says)
    one.api.faults.clear()
    assert await one.work() is None
    assert one.held(rolled_back()) == ("False", "TargetChanged")


async def test_an_end_that_the_api_server_refuses_is_told_and_tried_again() -> None:
    one = world()
    await one.work()
    one.git.differs = True
    one.api.faults.append(
        failing("PUT /apis/argoproj.io", errors.Invalid("ValidatingAdmissionPolicy freeze denied it"))
    )
    assert await one.work() == 7
    assert one.held(rolled_back()) == ("True", "CannotCompare")
    assert one.said(rolled_back()) == (
        "The hold of Application shop/web is to end (TargetChanged), and the API server refuses that write: "
        "ValidatingAdmissionPolicy freeze denied it. Change what refuses it (an admission policy, say), or put "
        "spec.syncPolicy.automated back by hand and remove the annotation rollback.dev/hold."
    )
    told = [call for call in one.api.writes() if "rollbackrequests" in call.path]
    assert await one.work() == 7
    assert [call for call in one.api.writes() if "rollbackrequests" in call.path] == told
    one.api.faults.clear()
    assert await one.work() is None
    assert one.held(rolled_back()) == ("False", "TargetChanged")


async def test_an_end_that_is_refused_to_one_is_written_as_another() -> None:
    request, policy = rolled_back(), an_applications_policy(serviceAccountName="policys")
    one = World(held_application(), request, policy)
    one.tell(request, policy)
    one.git.differs = True
    one.api.faults.append(failing(f"PUT {PATH} as shop/mine", errors.Invalid("freeze denied it")))
    assert await one.work() is None
    assert one.app()["spec"]["syncPolicy"]["automated"] == ORIGINAL


# Credentials.


def secret(**data: str) -> Object:
    coded = {name: base64.b64encode(value.encode()).decode() for name, value in data.items()}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "repo", "namespace": "shop", "uid": "uid-of-secret"},
        "data": coded,
    }


async def test_the_repository_is_shown_what_the_request_names() -> None:
    request = rolled_back(hold={"until": "TargetChanges", "alertAfter": "1h", "gitSecretName": "repo"})
    one = World(held_application(), request, secret(url="https://git.example.com", username="bot", password="hunter2"))
    one.tell(request)
    await one.work()
    assert set(one.git.shown) == {Credentials("https://git.example.com", "bot", "hunter2")}
    assert [call.as_ for call in one.api.calls if "secrets" in call.path] == ["shop/mine"]
    assert "hunter2" not in str([call.body for call in one.api.writes()])


WITHOUT: dict[str, tuple[list[Object], str]] = {
    "there is no such Secret": ([], "is not there"),
    "it does not say for whom": ([secret(username="bot", password="hunter2")], "has no entry url"),
    "it is no text": ([secret() | {"data": {"url": "!", "password": "\udcff"}}], "holds what is no text"),
}


@pytest.mark.parametrize("why", WITHOUT)
async def test_the_repository_is_shown_nothing_if(why: str) -> None:
    request = rolled_back(hold={"until": "TargetChanges", "alertAfter": "1h", "gitSecretName": "repo"})
    things, says = WITHOUT[why]
    one = World(held_application(), request, *copy.deepcopy(things))
    one.git.private = True
    one.tell(request)
    await one.work()
    assert set(one.git.shown) == {None}
    assert one.held(request) == ("True", "CannotCompare")
    assert one.said(request).endswith(
        f"it asks for a password. Secret repo in namespace shop, which hold.gitSecretName names, {says}"
    )


async def test_a_secret_that_may_not_be_read_is_named_with_who_may_not() -> None:
    request = rolled_back(hold={"until": "TargetChanges", "alertAfter": "1h", "gitSecretName": "repo"})
    one = World(held_application(), request, secret(url="https://git.example.com"))
    one.api.faults.append(failing("GET /api/v1/namespaces/shop/secrets", errors.Forbidden("no")))
    one.git.private = True
    one.tell(request)
    await one.work()
    assert one.said(request).endswith("may not be read by service account shop/mine")


async def test_a_secret_that_is_not_needed_keeps_no_hold_from_ending() -> None:
    request = rolled_back(hold={"until": "TargetChanges", "alertAfter": "1h", "gitSecretName": "repo"})
    one = World(held_application(), request)
    one.git.differs = True
    one.tell(request)
    await one.work()
    assert one.held(request) == ("False", "TargetChanged")
