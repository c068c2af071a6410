"""The Application target: the one write of a rollback, and the others around it, at an API server in memory."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rollback_operator.api import REQUEST_ANNOTATION
from rollback_operator.api.hold import HoldOrders
from rollback_operator.api.options import ApplicationOptions, Options
from rollback_operator.api.request import Phase, Plan, RevisionRef
from rollback_operator.core.hold import RELEASE_ANNOTATION
from rollback_operator.core.values import Revision, Snapshot
from rollback_operator.kube import errors
from rollback_operator.kube.identity import ServiceAccount
from rollback_operator.targets.application import ApplicationTarget, effect
from rollback_operator.targets.application.held import HOLD_ANNOTATION, Hold
from rollback_operator.targets.application.reading import REFRESH_ANNOTATION
from rollback_operator.targets.base import Kept, Stoppable, Where
from tests.unit.applications import KEY, Object, application, entry, operated, operation_of, sha, source, with_sources
from tests.unit.fakes import FakeApi, failing
from tests.unit.objects import PatchError, patched

ACCOUNT = ServiceAccount("team", "rollback")


def where(**options: Any) -> Where:
    return Where("shop", "web", ACCOUNT, Options(application=ApplicationOptions(**options)))


async def look(api: FakeApi, phase: Phase | None = None) -> Snapshot:
    found = await ApplicationTarget(api).observe(where(), phase, None)  # type: ignore[arg-type]
    assert found is not None
    return found


def plan_of(to: Revision, hold: HoldOrders | None = None) -> Plan:
    return Plan(
        digest="",
        uid="uid-of-web",
        from_=RevisionRef(revision="2", fingerprint="v1:x"),
        to=RevisionRef(revision=to.name, fingerprint=to.fingerprint),
        steps=(),
        diff="",
        service_account_name="rollback",
        hold=hold,
    )


async def roll_back(
    api: FakeApi, app: Object, to: int = 1, *, key: str = KEY, hold: HoldOrders | None = None, **options: Any
) -> Object:
    """Go back to an entry of the history; gives the Application afterwards."""
    seen = await look(api)
    await ApplicationTarget(api).apply(where(**options), seen, plan_of(seen.history[to], hold), key)  # type: ignore[arg-type]
    return api.current(app)


async def test_one_write_holds_it_and_asks_for_the_sync() -> None:
    app = operated(application(), "Succeeded", entry(2, "c"), key=None)
    api = FakeApi(app)

    after = await roll_back(api, app)

    (dry, real) = api.writes()
    assert (dry.query, real.query) == ({"dryRun": "All"}, {})
    assert {call.as_ for call in api.calls} == {"team/rollback"}
    assert real.body == dry.body
    assert after["spec"]["syncPolicy"]["automated"] == {"prune": True, "selfHeal": True, "enabled": False}
    assert after["metadata"]["annotations"][REQUEST_ANNOTATION] == KEY
    assert "operationState" not in after["status"]
    assert after["operation"] == {
        "info": [{"name": REQUEST_ANNOTATION, "value": KEY}],
        "initiatedBy": {"username": "rollback-operator"},
        "sync": {
            "source": source(),
            "revision": sha("b"),
            "prune": True,
            "syncStrategy": {"hook": {}},
            "syncOptions": ["CreateNamespace=true"],
        },
        "retry": {"limit": 3, "backoff": {"duration": "5s"}},
    }


async def test_nothing_else_is_changed() -> None:
    app = application()
    api = FakeApi(app)
    before = api.current(app)

    after = await roll_back(api, app)

    for name in (REQUEST_ANNOTATION, HOLD_ANNOTATION):
        del after["metadata"]["annotations"][name]
    del after["operation"]
    del after["spec"]["syncPolicy"]["automated"]["enabled"]
    for name in ("generation", "resourceVersion"):
        after["metadata"][name] = before["metadata"][name]
    assert after == before


async def test_of_several_sources_all_are_copied_from_the_entry() -> None:
    app = with_sources()
    after = await roll_back(FakeApi(app), app, to=0)
    assert after["operation"]["sync"]["sources"] == app["spec"]["sources"]
    assert after["operation"]["sync"]["revisions"] == [sha("a"), sha("b")]
    assert "source" not in after["operation"]["sync"]


async def test_a_commit_that_is_not_in_the_history_is_synced_to() -> None:
    app = application()
    api = FakeApi(app)
    seen = await look(api)
    to = seen.named(sha("x"))
    assert to is not None
    await ApplicationTarget(api).apply(where(), seen, plan_of(to), KEY)  # type: ignore[arg-type]
    assert api.current(app)["operation"]["sync"]["revision"] == sha("x")


OPTIONS: dict[str, tuple[Object, str, Any]] = {
    "no hooks": ({"hooks": False}, "syncStrategy", {"apply": {}}),
    "pruning as asked": ({"prune": False}, "prune", False),
}


@pytest.mark.parametrize("what", OPTIONS)
async def test_options(what: str) -> None:
    options, field, expected = OPTIONS[what]
    app = application()
    after = await roll_back(FakeApi(app), app, **options)
    assert after["operation"]["sync"][field] == expected


async def test_without_automation_nothing_is_pruned_and_nothing_held() -> None:
    app = application()
    del app["spec"]["syncPolicy"]
    after = await roll_back(FakeApi(app), app)
    assert "syncPolicy" not in after["spec"]
    assert HOLD_ANNOTATION not in after["metadata"]["annotations"]
    assert after["operation"]["sync"]["prune"] is False


async def test_automation_that_is_off_already_is_not_held() -> None:
    app = application()
    app["spec"]["syncPolicy"]["automated"]["enabled"] = False
    after = await roll_back(FakeApi(app), app)
    assert after["spec"] == app["spec"]
    assert HOLD_ANNOTATION not in after["metadata"]["annotations"]


async def test_where_the_definition_does_not_know_how_automation_is_turned_off_it_is_taken_out() -> None:
    def prune(thing: Object) -> Object:
        (thing["spec"]["syncPolicy"].get("automated") or {}).pop("enabled", None)
        return thing

    app = application()
    api = FakeApi(app)
    api.admit = prune

    after = await roll_back(api, app)

    assert "automated" not in after["spec"]["syncPolicy"]
    assert hold(after).automated == {"prune": True, "selfHeal": True}


# The hold.


def hold(app: Object) -> Hold:
    return Hold.load(app["metadata"]["annotations"][HOLD_ANNOTATION])


async def test_the_hold_says_all_that_it_takes_to_end_it() -> None:
    app = application()
    orders = HoldOrders(until="Manual", alert_after="2h")
    held = hold(await roll_back(FakeApi(app), app, hold=orders))
    assert (held.request, held.until, held.alert_after) == (KEY, "Manual", "2h")
    assert held.automated == app["spec"]["syncPolicy"]["automated"]
    ((bad,),) = held.bad
    assert (bad.repo, bad.path, bad.revision) == (source()["repoURL"], "web", sha("c"))


async def test_without_orders_it_lasts_until_git_changes() -> None:
    app = application()
    held = hold(await roll_back(FakeApi(app), app))
    assert (held.until, held.alert_after) == ("TargetChanges", "24h")


async def rolled_back(api: FakeApi, app: Object) -> None:
    """To entry 1, and Argo CD has done that, and added it to the history as entry 3."""
    done = operated(await roll_back(api, app, to=1), "Succeeded", entry(1, "b"))
    done.pop("operation", None)
    done["status"]["history"].append(entry(3, "b"))
    api.put(done)


async def test_a_second_rollback_keeps_the_original_of_the_first() -> None:
    app = application()
    api = FakeApi(app)
    await rolled_back(api, app)

    again = hold(await roll_back(api, app, to=0, key="uid-of-another"))

    assert again.automated == app["spec"]["syncPolicy"]["automated"]
    assert again.request == "uid-of-another"
    assert [pieces[0].revision for pieces in again.bad] == [sha("c"), sha("b")]


async def test_what_was_chosen_to_go_back_to_is_not_bad_any_more() -> None:
    """Or automated sync stayed off although Git brings just what was chosen."""
    app = application()
    api = FakeApi(app)
    await rolled_back(api, app)

    again = hold(await roll_back(api, app, to=2, key="uid-of-another"))

    assert [pieces[0].revision for pieces in again.bad] == [sha("b")]


async def test_after_a_rollback_that_failed_half_way_what_it_left_is_bad_to_who_goes_back_to_where_it_began() -> None:
    app = application()
    api = FakeApi(app)
    failed = operated(await roll_back(api, app), "Failed", entry(1, "b"))
    failed.pop("operation", None)
    api.put(failed)
    again = hold(await roll_back(api, app, to=2, key="uid-of-another"))
    assert [pieces[0].revision for pieces in again.bad] == [sha("b")]


async def test_a_hold_never_knows_nothing_that_is_bad() -> None:
    """A sync that failed half-way is brought to its end."""
    app = operated(application("ab"), "Failed", entry(9, "c"), key=None)
    app["status"]["history"].append(entry(2, "c"))
    held = hold(await roll_back(FakeApi(app), app, to=2))
    assert [pieces[0].revision for pieces in held.bad] == [sha("c")]


async def test_what_a_rollback_failed_to_bring_is_not_bad() -> None:
    app = application()
    api = FakeApi(app)
    failed = operated(await roll_back(api, app), "Failed", entry(1, "b"))
    failed.pop("operation", None)
    api.put(failed)
    again = hold(await roll_back(api, app, key="uid-of-another"))
    assert [pieces[0].revision for pieces in again.bad] == [sha("c")]


async def test_a_second_hold_after_a_rollback_that_failed_knows_what_is_bad() -> None:
    """A person ended the first: nothing of it is left but the operation, which stays the last one."""
    app = application()
    api = FakeApi(app)
    failed = operated(await roll_back(api, app), "Failed", entry(1, "b"), syncResult={})
    failed.pop("operation", None)
    failed["spec"]["syncPolicy"]["automated"].pop("enabled")
    del failed["metadata"]["annotations"][HOLD_ANNOTATION]
    api.put(failed)
    again = hold(await roll_back(api, app, key="uid-of-another"))
    assert [pieces[0].revision for pieces in again.bad] == [sha("c")]


async def test_without_a_history_what_git_has_is_what_is_left() -> None:
    app = application("c")
    app["status"]["history"] = []
    api = FakeApi(app)
    to = (await look(api)).named(sha("a"))
    assert to is not None
    await ApplicationTarget(api).apply(where(), await look(api), plan_of(to), KEY)  # type: ignore[arg-type]
    assert [pieces[0].revision for pieces in hold(api.current(app)).bad] == [sha("c")]


async def test_a_new_rollback_takes_no_old_wish_to_end_the_hold() -> None:
    app = application()
    app["metadata"]["annotations"][RELEASE_ANNOTATION] = "true"
    after = await roll_back(FakeApi(app), app)
    assert RELEASE_ANNOTATION not in after["metadata"]["annotations"]


MANGLED = ["", "{}", "[]", "null", '{"request": 1}', json.dumps({"request": "x", "since": "yesterday"})]
MANGLED += ["[" * 100_000, '{"request": "x", "since": "0001-01-01T00:00:00+14:00"}']


async def test_what_others_may_count_as_over_is_not_written() -> None:
    """The API server may take its time over the question what it would make of it."""
    api = FakeApi(application())
    seen = await look(api)
    late = replace(where(), send_by=datetime.now(UTC) - timedelta(seconds=1))
    with pytest.raises(errors.NotDone):
        await ApplicationTarget(api).apply(late, seen, plan_of(seen.history[1]), KEY)  # type: ignore[arg-type]
    assert [call.query for call in api.writes()] == [{"dryRun": "All"}]


@pytest.mark.parametrize("text", MANGLED, ids=range(len(MANGLED)))
def test_a_hold_that_somebody_mangled_is_not_taken_for_one(text: str) -> None:
    with pytest.raises(ValueError, match="is not what the operator wrote"):
        Hold.load(text)


async def test_a_hold_reads_as_it_was_written() -> None:
    app = with_sources()
    app["spec"]["sources"][0]["helm"] = {"valueFiles": ["$values/web.yaml"]}
    app["status"]["history"][-1]["sources"][0]["helm"] = {"valueFiles": ["$values/web.yaml"]}
    held = hold(await roll_back(FakeApi(app), app, to=0))
    assert Hold.load(held.dump()) == held
    assert held.bad[0][0].files == ("$values/web.yaml",)


# Preconditions.


@pytest.mark.parametrize("phase", ["Running", "Terminating"])
async def test_it_is_never_written_over_an_operation_that_goes_on(phase: str) -> None:
    app = operated(application(), phase, entry(2, "c"), key=None)
    api = FakeApi(app)
    with pytest.raises(errors.Conflict, match="busy"):
        await roll_back(api, app)
    assert not api.writes()


async def test_it_is_not_written_over_an_operation_that_just_came() -> None:
    app = application()
    api = FakeApi(app)
    seen = await look(api)
    api.edit(app, lambda now: now.update(operation=operation_of(entry(2, "c"), key=None)))
    with pytest.raises(errors.Conflict):
        await ApplicationTarget(api).apply(where(), seen, plan_of(seen.history[1]), KEY)  # type: ignore[arg-type]
    assert api.current(app)["operation"]["info"] == []


async def test_an_entry_that_is_gone_is_not_found() -> None:
    app = application()
    api = FakeApi(app)
    gone = Revision("0", 0, "v1:" + "0" * 64)
    with pytest.raises(errors.NotFound, match="no longer in the history"):
        await ApplicationTarget(api).apply(where(), await look(api), plan_of(gone), KEY)  # type: ignore[arg-type]
    assert not api.writes()


async def test_a_dry_run_stores_nothing() -> None:
    app = application()
    api = FakeApi(app)
    before = api.current(app)
    seen = await look(api)
    await ApplicationTarget(api).apply(where(), seen, plan_of(seen.history[1]), KEY, dry_run=True)  # type: ignore[arg-type]
    assert api.current(app) == before


async def test_no_answer_to_the_rehearsal_means_that_nothing_was_done() -> None:
    app = application()
    api = FakeApi(app)
    api.faults.append(failing("PUT", errors.Unavailable("no answer")))
    with pytest.raises(errors.NotDone):
        await roll_back(api, app)


# Around it.


async def test_a_look_is_asked_for_and_nothing_else() -> None:
    app = operated(application(), "Succeeded", entry(1, "b"))
    api = FakeApi(app)
    before = api.current(app)
    await ApplicationTarget(api).finish(where(), await look(api))  # type: ignore[arg-type]
    after = api.current(app)
    assert after["metadata"]["annotations"].pop(REFRESH_ANNOTATION) == "normal"
    assert (after["spec"], after["status"]) == (before["spec"], before["status"])
    assert after["metadata"]["annotations"] == before["metadata"]["annotations"]


async def test_our_own_sync_that_goes_on_is_ended_by_argo_cd() -> None:
    app = operated(application(), "Running", entry(1, "b"))
    api = FakeApi(app)
    target = ApplicationTarget(api)  # type: ignore[arg-type]
    assert isinstance(target, Stoppable)
    await target.stop(where(), await look(api))
    after = api.current(app)
    assert after["status"]["operationState"]["phase"] == "Terminating"
    assert after["operation"] == app["operation"]
    assert not (await look(api)).under_way


async def test_our_own_sync_that_did_not_begin_is_taken_back() -> None:
    app = application()
    app["metadata"]["annotations"][REQUEST_ANNOTATION] = KEY
    app["operation"] = operation_of(entry(1, "b"))
    api = FakeApi(app)
    await ApplicationTarget(api).stop(where(), await look(api))  # type: ignore[arg-type]
    assert "operation" not in api.current(app)


async def test_somebody_elses_sync_is_never_ended() -> None:
    app = operated(application(), "Running", entry(1, "b"), key=None)
    api = FakeApi(app)
    await ApplicationTarget(api).stop(where(), await look(api))  # type: ignore[arg-type]
    assert not api.writes()


async def test_the_plan_says_what_will_be_done() -> None:
    app = application()
    app["status"]["history"][1]["source"]["helm"] = {"parameters": [{"name": "password", "value": "hunter2"}]}
    app["status"]["history"][1]["source"]["repoURL"] = "https://bot:hunter2@git.example.com/shop.git"
    api = FakeApi(app)
    seen = await look(api)
    findings = await ApplicationTarget(api).examine(where(prune=False), seen, seen.history[1])  # type: ignore[arg-type]
    assert findings.steps == (
        f"Have Argo CD sync it to revision 1 (main at {sha('b')[:12]}), with its hooks and deleting nothing.",
        "In the same write: turn automated sync off, and keep in an annotation what it was, until the hold ends.",
    )
    assert f"+  revision: '{sha('b')}'" in findings.diff
    assert "name: password" in findings.diff
    assert "hunter2" not in findings.diff


async def test_without_automation_the_plan_turns_nothing_off() -> None:
    app = application()
    del app["spec"]["syncPolicy"]
    api = FakeApi(app)
    seen = await look(api)
    findings = await ApplicationTarget(api).examine(where(), seen, seen.history[0])  # type: ignore[arg-type]
    assert len(findings.steps) == 1


async def test_one_that_does_not_exist_is_none() -> None:
    assert await ApplicationTarget(FakeApi()).observe(where(), None, None) is None  # type: ignore[arg-type]


async def test_the_rights_are_those_on_the_one_application() -> None:
    rights = ApplicationTarget(FakeApi()).rights(where())  # type: ignore[arg-type]
    assert [str(right) for right in rights] == [
        "get applications web in namespace shop",
        "update applications web in namespace shop",
    ]


async def test_a_sync_that_failed_makes_no_progress() -> None:
    app = operated(application(), "Failed", entry(9, "x"), key=None, message="hook failed")
    target = ApplicationTarget(FakeApi(app))  # type: ignore[arg-type]
    assert await target.stuck(where()) == "Argo CD could not sync it: hook failed"
    assert await ApplicationTarget(FakeApi(application())).stuck(where()) is None  # type: ignore[arg-type]


async def test_what_is_kept_of_it_can_be_put_back_by_hand() -> None:
    app = operated(application(), "Running", entry(1, "b"), key=None)
    api = FakeApi(app)
    kept = await backup(api)
    (whole,) = kept.manifests
    assert whole["spec"] == app["spec"]
    assert not {"status", "operation"} & set(whole)
    assert kept.command == "kubectl -n shop patch applications.argoproj.io web --type json --patch-file /dev/stdin"
    assert set(kept.more) == {kept.reads}


async def backup(api: FakeApi, **options: Any) -> Kept:
    found = await ApplicationTarget(api).backup(where(**options), await look(api), "1")  # type: ignore[arg-type]
    assert found is not None
    return found


async def brought_back(api: FakeApi, app: Object, **options: Any) -> Object:
    """The Application after a rollback, Argo CD's work for it, and what was kept before it."""
    kept = await backup(api, **options)
    await roll_back(api, app, **options)
    api.edit(app, lambda now: now.pop("operation"))
    return patched(api.current(app), kept.more[kept.reads or ""])


async def test_what_brings_it_back_asks_for_what_was_deployed_and_turns_automation_on_as_it_was() -> None:
    app = application()

    after = await brought_back(FakeApi(app), app)

    assert after["spec"] == app["spec"]
    assert HOLD_ANNOTATION not in after["metadata"]["annotations"]
    assert after["status"]["history"] == app["status"]["history"]
    assert after["operation"] == {
        "sync": {
            "source": source(),
            "revision": sha("c"),
            "prune": True,
            "syncStrategy": {"hook": {}},
            "syncOptions": ["CreateNamespace=true"],
        },
        "retry": {"limit": 3, "backoff": {"duration": "5s"}},
    }


@pytest.mark.parametrize("besides", [{}, {"syncOptions": []}])
@pytest.mark.parametrize("taken_away", [True, False])
async def test_automation_that_was_all_of_its_policy_is_brought_back(besides: Object, *, taken_away: bool) -> None:
    """Where it had to be taken out whole, Argo CD takes the empty policy away."""
    app = application()
    app["spec"]["syncPolicy"] = {"automated": {"prune": True}, **besides}
    patch = effect.bringing_back(app, ApplicationOptions())
    assert patch is not None
    after = copy.deepcopy(app)
    if taken_away:
        del after["spec"]["syncPolicy"]
    else:
        after["spec"]["syncPolicy"]["automated"]["enabled"] = False
    assert patched(after, patch)["spec"] == app["spec"]


async def test_a_policy_that_has_more_than_automation_stays_as_people_have_it_by_then() -> None:
    app = application()
    patch = effect.bringing_back(app, ApplicationOptions())
    assert patch is not None
    after = copy.deepcopy(app)
    after["spec"]["syncPolicy"]["syncOptions"] = ["Replace=true"]
    assert patched(after, patch)["spec"]["syncPolicy"]["syncOptions"] == ["Replace=true"]


async def test_of_several_sources_all_are_brought_back() -> None:
    app = with_sources()
    patch = effect.bringing_back(app, ApplicationOptions(hooks=False, prune=False))
    assert patch is not None
    sync = patch[-1]["value"]["sync"]
    assert (sync["sources"], sync["revisions"]) == (app["spec"]["sources"], [sha("c"), sha("d")])
    assert (sync["syncStrategy"], sync["prune"]) == ({"apply": {}}, False)


async def test_where_nothing_syncs_by_itself_what_brings_it_back_is_the_sync_alone() -> None:
    app = application()
    del app["spec"]["syncPolicy"]
    after = await brought_back(FakeApi(app), app)
    assert after["spec"] == app["spec"]
    assert after["operation"]["sync"]["revision"] == sha("c")


async def test_a_hold_that_was_there_before_goes_on() -> None:
    app = application()
    api = FakeApi(app)
    await roll_back(api, app, to=1, key="earlier")
    api.edit(app, lambda now: now.pop("operation"))
    api.edit(app, lambda now: now["status"]["history"].append(entry(3, "b")))

    after = await brought_back(api, app, to=0)

    assert after["spec"]["syncPolicy"]["automated"]["enabled"] is False
    assert Hold.load(after["metadata"]["annotations"][HOLD_ANNOTATION]).request == KEY
    assert after["operation"]["sync"]["revision"] == sha("b")


@pytest.mark.parametrize("there", [True, False])
async def test_that_the_hold_is_over_is_no_reason_to_fail(*, there: bool) -> None:
    app = application()
    patch = effect.bringing_back(app, ApplicationOptions())
    assert patch is not None
    if there:
        app["metadata"]["annotations"][HOLD_ANNOTATION] = "{}"
    assert HOLD_ANNOTATION not in patched(app, patch)["metadata"]["annotations"]


async def test_while_argo_cd_is_at_work_nothing_is_brought_back() -> None:
    patch = effect.bringing_back(application(), ApplicationOptions())
    assert patch is not None
    with pytest.raises(PatchError):
        patched(operated(application(), "Running", entry(1, "b")), patch)


async def test_of_what_nobody_can_tell_no_copy_is_kept() -> None:
    app = application()
    app["status"]["history"].append({**entry(3, "x"), "revision": ""})
    api = FakeApi(app)
    assert await ApplicationTarget(api).backup(where(), await look(api), "1") is None  # type: ignore[arg-type]


async def test_it_leaves_what_it_was_made_from_alone() -> None:
    app = application()
    api = FakeApi(app)
    seen = await look(api)
    before = copy.deepcopy(seen.raw)
    await ApplicationTarget(api).apply(where(), seen, plan_of(seen.history[1]), KEY)  # type: ignore[arg-type]
    assert seen.raw == before
