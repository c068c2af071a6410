"""What an Application's own words mean: current revision, history, health, and whose sync it is."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from rollback_operator.api import REQUEST_ANNOTATION
from rollback_operator.api.common import TargetRef
from rollback_operator.api.request import Phase, Plan, RevisionRef
from rollback_operator.core.choice import Chosen, choose
from rollback_operator.core.values import Wellbeing
from rollback_operator.targets.application.content import Content
from rollback_operator.targets.application.reading import REFRESH_ANNOTATION, content_of, snapshot
from tests.unit.applications import KEY, Object, application, entry, operated, operation_of, sha, source, with_sources

LATER = "2026-03-01T03:00:06Z"


def seen(app: Object, phase: Phase | None = None, plan: Plan | None = None) -> Any:
    return snapshot(app, phase, plan)


def fingerprint(letter: str) -> str:
    content = Content.of(entry(0, letter))
    assert content is not None
    return content.fingerprint


def plan_to(revision: str, of: str) -> Plan:
    return Plan(
        digest="",
        uid="uid-of-web",
        from_=RevisionRef(revision="2", fingerprint="v1:x"),
        to=RevisionRef(revision=revision, fingerprint=of),
        steps=(),
        diff="",
        service_account_name="rollback",
    )


def test_revisions_are_the_entries_of_the_history() -> None:
    found = seen(application())
    assert [(one.name, one.order, one.fingerprint) for one in found.history] == [
        ("0", 0, fingerprint("a")),
        ("1", 1, fingerprint("b")),
        ("2", 2, fingerprint("c")),
    ]
    assert found.history[1].created == datetime(2026, 3, 1, 2, 1, tzinfo=UTC)
    assert found.current == found.history[2]
    assert found.settled


def test_the_first_entry_can_be_named() -> None:
    chosen = choose("0", TargetRef(kind="Application", name="web"), seen(application()), {})
    assert isinstance(chosen, Chosen)
    assert chosen.revision.aliases == (sha("a"),)


def test_the_branch_that_a_commit_was_found_on_does_not_make_it_another() -> None:
    one, other = entry(0, "a"), entry(1, "a", source=source(targetRevision="release", name="x"))
    found = seen(application(history=[one, other]))
    assert found.history[0].fingerprint == found.history[1].fingerprint


CHANGES: dict[str, Object] = {
    "another path": {"path": "shop"},
    "another repository": {"repoURL": "https://git.example.com/other.git"},
    "parameters of Helm": {"helm": {"parameters": [{"name": "tag", "value": "2"}]}},
    "images of Kustomize": {"kustomize": {"images": ["shop=shop:2"]}},
}


@pytest.mark.parametrize("change", CHANGES)
def test_another_content_of_the_same_commit_is_another_revision(change: str) -> None:
    one, other = entry(0, "a"), entry(1, "a", source=source(**{"path": "web", **CHANGES[change]}))
    found = seen(application(history=[one, other]))
    assert found.history[0].fingerprint != found.history[1].fingerprint


def test_of_several_sources_every_revision_counts() -> None:
    found = seen(with_sources(("ab", "cb", "ab")))
    first, second, third = (one.fingerprint for one in found.history)
    assert first != second
    assert first == third
    assert found.history[1].aliases == (sha("c"), sha("b"))
    assert found.reactivated


INCOMPLETE: dict[str, Object] = {
    "no source, as Argo CD 0.11 wrote it": {"source": {"repoURL": ""}},
    "no revision": {"revision": ""},
    "a source without a revision": {"sources": [source(), source("base")], "revisions": [sha("a"), ""]},
    "fewer revisions than sources": {"sources": [source(), source("base")], "revisions": [sha("a")]},
}


@pytest.mark.parametrize("what", INCOMPLETE)
def test_what_is_not_known_to_the_commit_cannot_be_gone_back_to(what: str) -> None:
    found = seen(application(history=[entry(0, "a", **INCOMPLETE[what]), entry(1, "b")]))
    assert [one.name for one in found.history] == ["1"]


def test_an_application_that_was_never_synced_has_nothing() -> None:
    found = seen(application(""))
    assert found.history == ()
    assert found.current.name == "none"


@pytest.mark.parametrize(
    "letters,expected", [("abc", False), ("aba", True), ("abb", False), ("aabb", False), ("a", False), ("", False)]
)
def test_a_return_to_an_earlier_state_is_told(letters: str, expected: bool) -> None:  # noqa: FBT001
    assert seen(application(letters)).reactivated is expected


# Operations.


def waiting_operation(app: Object, content: Object, key: str | None = KEY) -> Object:
    app["operation"] = operation_of(content, key=key)
    return app


BUSY: dict[str, Callable[[], Object]] = {
    "somebody's operation waits": lambda: waiting_operation(application(), entry(9, "x"), None),
    "somebody's operation goes on": lambda: operated(application(), "Running", entry(9, "x"), key=None),
    "somebody's operation is being ended": lambda: operated(application(), "Terminating", entry(9, "x"), key=None),
}


@pytest.mark.parametrize("how", BUSY)
def test_while_somebodys_operation_goes_on_it_is_not_settled(how: str) -> None:
    found = seen(BUSY[how]())
    assert not found.settled
    assert "Argo CD is syncing it" in found.waits_for
    assert found.current.name == "2"
    assert not found.under_way


def test_argo_cds_own_words_are_passed_on_without_credentials() -> None:
    said = "Retrying: cannot read https://bot:hunter2@git.example.com/shop.git"
    found = seen(operated(application(), "Running", entry(9, "x"), key=None, message=said))
    assert "https://git.example.com/shop.git" in found.waits_for
    assert "hunter2" not in found.waits_for


def test_a_long_message_is_cut() -> None:
    found = seen(operated(application(), "Failed", entry(1, "b"), message="x" * 5000), Phase.VERIFYING)
    assert len(found.health.message) < 600


def test_a_failed_sync_that_changed_something_is_what_is_left() -> None:
    found = seen(operated(application(), "Failed", entry(9, "x"), key=None))
    assert (found.current.name, found.current.order) == (sha("x")[:12] + " (failed)", 3)
    assert found.current.fingerprint not in {one.fingerprint for one in found.history}
    assert found.changed == datetime(2026, 3, 1, 3, 0, tzinfo=UTC)


def test_a_sync_to_a_known_state_that_failed_halfway_is_not_that_state() -> None:
    found = seen(operated(application(), "Failed", entry(1, "b"), key=None))
    assert found.current.fingerprint not in {one.fingerprint for one in found.history}


UNCHANGED: dict[str, Object] = {
    "one that changed nothing": {"syncResult": {"source": source(), "revision": sha("x")}},
    "one without a result": {"syncResult": None},
    "a part of it": {"operation": operation_of(entry(9, "x"), key=None, resources=[{"kind": "ConfigMap"}])},
    "a rehearsal": {"operation": operation_of(entry(9, "x"), key=None, dryRun=True)},
}


@pytest.mark.parametrize("what", UNCHANGED)
def test_other_failed_syncs_leave_what_was_deployed_before(what: str) -> None:
    found = seen(operated(application(), "Failed", entry(9, "x"), key=None, **UNCHANGED[what]))
    assert found.current.name == "2"


# Ours.


def test_a_sync_that_was_called_off_before_it_began_is_no_revert_by_somebody() -> None:
    app, plan = application(), plan_to("1", fingerprint("b"))
    app["metadata"]["annotations"][REQUEST_ANNOTATION] = KEY

    found = seen(app, Phase.VERIFYING, plan)

    assert found.current.name == "1"
    assert (found.health.state, found.health.final) == (Wellbeing.FAILING, True)
    assert found.health.message == "its sync was called off before Argo CD began it"
    assert seen(app, Phase.RUNNING, plan).current.name == "2"
    assert seen(operated(app, "Succeeded", entry(2, "c"), key=None), Phase.VERIFYING, plan).current.name == "2"


def test_a_commit_whose_sync_was_called_off_is_found_too() -> None:
    app = application()
    app["metadata"]["annotations"][REQUEST_ANNOTATION] = KEY
    plan = plan_to(sha("z"), fingerprint("z"))

    assert seen(app, Phase.VERIFYING, plan).current.name == sha("z")


@pytest.mark.parametrize("phase", ["Running", "Succeeded", "Failed", "Error"])
def test_while_it_is_verified_what_was_asked_for_is_current(phase: str) -> None:
    found = seen(operated(application(), phase, entry(1, "b"), syncResult=None), Phase.VERIFYING)
    assert (found.current.name, found.current.fingerprint) == ("1", fingerprint("b"))
    assert KEY in found.marks


def test_for_others_a_rollback_that_brought_nothing_left_what_was_there() -> None:
    found = seen(operated(application(), "Error", entry(1, "b"), syncResult=None))
    assert found.current.name == "2"


MARKS: dict[str, Callable[[Object], None]] = {
    "the operation waits": lambda app: app.update(operation=operation_of(entry(1, "b"))),
    "the annotation": lambda app: app["metadata"]["annotations"].update({REQUEST_ANNOTATION: KEY}),
    "the last operation": lambda app: app["status"].update(
        operationState={"phase": "Succeeded", "operation": operation_of(entry(1, "b"))}
    ),
}


@pytest.mark.parametrize("where", MARKS)
def test_each_place_tells_of_the_effect(where: str) -> None:
    app = application()
    MARKS[where](app)
    assert seen(app).marks == {KEY}


HEALTH: dict[str, tuple[Object, Wellbeing, bool, str]] = {
    "not begun": (
        waiting_operation(application(), entry(1, "b")),
        Wellbeing.PROGRESSING,
        False,
        "the sync has not begun",
    ),
    "begun": (operated(application(), "Running", entry(1, "b")), Wellbeing.PROGRESSING, False, "under way"),
    "blocked": (
        operated(application(), "Running", entry(1, "b"), message="Sync operation blocked by sync window"),
        Wellbeing.PROGRESSING,
        False,
        "blocked by sync window",
    ),
    "failed": (
        operated(application(), "Failed", entry(1, "b"), message="one or more objects failed to apply"),
        Wellbeing.FAILING,
        True,
        "Argo CD could not sync it: one or more objects failed to apply",
    ),
    "an error": (
        operated(application(), "Error", entry(1, "b"), message="failed to get git client"),
        Wellbeing.FAILING,
        True,
        "failed to get git client",
    ),
    "synced, not looked at since": (
        operated(application(), "Succeeded", entry(1, "b")),
        Wellbeing.PROGRESSING,
        False,
        "has not looked at it since",
    ),
    "looked at in the second in which the sync ended": (
        operated(application(reconciledAt="2026-03-01T03:00:05Z"), "Succeeded", entry(1, "b")),
        Wellbeing.PROGRESSING,
        False,
        "has not looked at it since",
    ),
    "well": (
        operated(application(reconciledAt=LATER), "Succeeded", entry(1, "b")),
        Wellbeing.HEALTHY,
        False,
        "Healthy",
    ),
    "on the way": (
        operated(
            application(
                reconciledAt=LATER,
                health={"status": "Progressing"},
                resources=[
                    {"kind": "Deployment", "name": "web", "health": {"status": "Progressing", "message": "SECRET"}}
                ],
            ),
            "Succeeded",
            entry(1, "b"),
        ),
        Wellbeing.PROGRESSING,
        False,
        "Argo CD calls it Progressing: Deployment web is Progressing",
    ),
    "degraded": (
        operated(application(reconciledAt=LATER, health={"status": "Degraded"}), "Succeeded", entry(1, "b")),
        Wellbeing.FAILING,
        False,
        "Degraded",
    ),
    "unknown": (
        operated(application(reconciledAt=LATER, health={}), "Succeeded", entry(1, "b")),
        Wellbeing.PROGRESSING,
        False,
        "Unknown",
    ),
}


@pytest.mark.parametrize("how", HEALTH)
def test_how_it_does(how: str) -> None:
    app, state, final, words = HEALTH[how]
    health = seen(app, Phase.VERIFYING).health
    assert (health.state, health.final) == (state, final)
    assert words in health.message
    assert "SECRET" not in health.message


def test_a_look_is_asked_for_once_after_our_sync() -> None:
    app = operated(application(), "Succeeded", entry(1, "b"))
    assert seen(app).unfinished
    app["metadata"]["annotations"][REFRESH_ANNOTATION] = "normal"
    assert not seen(app).unfinished


@pytest.mark.parametrize("phase", ["Running", "Failed", "Terminating"])
def test_no_look_is_asked_for_otherwise(phase: str) -> None:
    assert not seen(operated(application(), phase, entry(1, "b"))).unfinished
    assert not seen(operated(application(), "Succeeded", entry(1, "b"), key=None)).unfinished


@pytest.mark.parametrize("phase,expected", [("Running", True), ("Terminating", False), ("Succeeded", False)])
def test_our_own_sync_can_be_called_off_while_it_goes_on(phase: str, expected: bool) -> None:  # noqa: FBT001
    assert seen(operated(application(), phase, entry(1, "b"))).under_way is expected


def test_an_application_that_is_being_deleted_is_left_alone() -> None:
    app = application()
    app["metadata"]["deletionTimestamp"] = "2026-03-01T03:00:00Z"
    assert "being deleted" in seen(app).obstacle.message


# Commits.


def test_a_commit_that_is_not_in_the_history_means_the_present_sources_at_it() -> None:
    found = seen(application()).named(sha("x"))
    assert found is not None
    assert (found.name, found.fingerprint) == (sha("x"), fingerprint("x"))


UNNAMED: dict[str, tuple[Object, str]] = {
    "part of a commit": (application(), sha("x")[:12]),
    "a number": (application(), "17"),
    "sources of two repositories": (
        application(
            sync={
                "status": "Synced",
                "revisions": [sha("a"), sha("b")],
                "comparedTo": {"sources": [source(), source(repoURL="https://git.example.com/b.git")]},
            }
        ),
        sha("x"),
    ),
    "a chart": (
        application(
            sync={
                "status": "Synced",
                "revision": "1.2.3",
                "comparedTo": {"source": {"repoURL": "https://charts", "chart": "web"}},
            }
        ),
        sha("x"),
    ),
    "Argo CD never compared it": (
        application(sync={"status": "Unknown", "revision": "main", "comparedTo": {"source": source()}}),
        sha("x"),
    ),
}


@pytest.mark.parametrize("what", UNNAMED)
def test_it_means_nothing(what: str) -> None:
    app, to = UNNAMED[what]
    assert seen(app).named(to) is None


def test_of_several_sources_of_one_repository_all_go_to_the_commit() -> None:
    app = with_sources()
    found = seen(app).named(sha("x"))
    assert found is not None
    content = content_of(app, found.name, found.fingerprint)
    assert content is not None
    assert content.revisions == (sha("x"), sha("x"))


def test_the_commit_that_a_plan_goes_to_is_there_as_long_as_the_sources_are() -> None:
    app = application()
    plan = plan_to(sha("x"), fingerprint("x"))
    assert seen(app, None, plan).history[-1].fingerprint == fingerprint("x")
    app["status"]["sync"]["comparedTo"]["source"]["path"] = "elsewhere"
    assert all(one.fingerprint != fingerprint("x") for one in seen(app, None, plan).history)


def test_a_plan_goes_on_with_the_fingerprints_that_it_was_written_with() -> None:
    """Once, empty fields within a source were a part of them."""
    app = application("ab")
    written = source(directory={"recurse": True, "jsonnet": {}})
    app["spec"]["source"] = app["status"]["sync"]["comparedTo"]["source"] = written
    app["status"]["history"] = [entry(number, letter, source=written) for number, letter in enumerate("ab")]
    contents = [Content.of(one) for one in app["status"]["history"]]
    before = [one.fingerprint_before for one in contents if one is not None]
    assert not set(before) & {one.fingerprint for one in seen(app).history}
    plan = plan_to("0", "a").model_copy(
        update={
            "from_": RevisionRef(revision="1", fingerprint=before[1]),
            "to": RevisionRef(revision="0", fingerprint=before[0]),
        }
    )

    planned = seen(app, None, plan)

    assert (planned.current.fingerprint, planned.history[0].fingerprint) == (before[1], before[0])
    asked = seen(operated(app, "Running", app["status"]["history"][0]), Phase.VERIFYING, plan)
    assert asked.current.fingerprint == before[0]
    content = content_of(app, "0", before[0])
    assert content is not None
    assert content.revisions == (sha("a"),)
