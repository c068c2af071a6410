"""What a revision is when its configuration counts: told apart by it, unless it was only on its way."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from rollback_operator.api.remember import MAX_NUMBERS, MAX_OBJECTS, MAX_REMEMBERED, Remembered, RememberedObject
from rollback_operator.configuration.digest import written
from rollback_operator.configuration.identity import (
    PASSING,
    identified,
    learned,
    ordered_anew,
    template_of,
    together,
)
from rollback_operator.core.choice import Chosen, choose
from rollback_operator.core.values import Ending, Revision, Snapshot
from tests.unit.builders import CHECKOUT, after, fingerprint, snapshot

LONG = PASSING.total_seconds()
A, B = fingerprint("a"), fingerprint("b")


def config(digit: str) -> str:
    return "c1:" + digit * 20


def other(letter: str, digit: str) -> str:
    """Fingerprint of a template with another configuration than its first."""
    return together(fingerprint(letter), config(digit))


def seen(letter: str, digit: str, at: float = 0, *, number: int = 1, **fields: Any) -> Remembered:
    return Remembered(
        fingerprint=fingerprint(letter), revision=str(number), config=config(digit), at=after(at), **fields
    )


def history(*looks: Remembered, good: tuple[str, ...] = ()) -> tuple[Remembered, ...]:
    """What is remembered after these looks."""
    known: tuple[Remembered, ...] = ()
    for look in looks:
        known = learned(known, look, good, named("x", "y"))
    return known


def named(*names: str) -> list[tuple[str, str]]:
    return [("ConfigMap", name) for name in names]


def said(known: tuple[Remembered, ...]) -> list[tuple[str, str]]:
    return [(one.identity, one.config[3]) for one in known]


# What is learned.


def fixed(*names: str) -> tuple[RememberedObject, ...]:
    return tuple(RememberedObject(kind="ConfigMap", name=name, secret=f"s-{name}") for name in names)


KEPT: dict[str, tuple[tuple[Remembered, ...], tuple[RememberedObject, ...]]] = {
    "it is there as ever": ((seen("a", "1", fixed=fixed("x")), seen("a", "1", LONG, fixed=fixed("x"))), fixed("x")),
    "it came later": ((seen("a", "1", fixed=()), seen("a", "1", LONG, fixed=fixed("x"))), fixed("x")),
    "it is gone": ((seen("a", "1", fixed=fixed("x", "y")), seen("a", "1", LONG, fixed=fixed("y"))), fixed("y", "x")),
    "it was gone when its template came back": (
        (seen("a", "1", fixed=fixed("x")), seen("b", "1", LONG, fixed=()), seen("a", "1", 2 * LONG, fixed=())),
        fixed("x"),
    ),
    "it is gone and pods start without it": (
        (seen("a", "1", fixed=fixed("o", "y")), seen("a", "1", LONG, fixed=fixed("y"))),
        fixed("y"),
    ),
    "pods start without it": (
        (seen("a", "1", fixed=fixed("o")), seen("a", "1", LONG, fixed=fixed("o"))),
        fixed("o"),
    ),
    "it may change by now": (
        (seen("a", "1", fixed=fixed("x")), seen("a", "1", LONG, objects=fixed("x"), fixed=())),
        (),
    ),
}


@pytest.mark.parametrize("case", KEPT)
def test_what_cannot_change_stays_remembered_with_its_revision_when(case: str) -> None:
    looks, expected = KEPT[case]
    assert history(*looks)[-1].fixed == expected


def test_what_pods_start_without_stays_remembered_with_the_revision_that_it_ran_with() -> None:
    known = history(seen("a", "1", fixed=fixed("o")), seen("b", "1", LONG, fixed=()))
    assert [one.fixed for one in known] == [fixed("o"), ()]


def test_no_more_of_it_stays_remembered_than_there_is_room_for() -> None:
    many = tuple(f"x{number}" for number in range(MAX_OBJECTS))
    before = history(seen("a", "1", fixed=fixed(*many)))
    (known,) = learned(before, seen("a", "1", LONG, fixed=fixed("y")), required=named(*many))
    assert len(known.kept) == MAX_OBJECTS


ORDERED: dict[str, tuple[list[tuple[str, str]], tuple[RememberedObject, ...]]] = {
    "it is asked for as before": (named("x", "y"), fixed("y", "x")),
    "it is left out by now": (named("y"), fixed("y")),
}


@pytest.mark.parametrize("case", ORDERED)
def test_what_is_gone_stays_remembered_when_other_objects_are_asked_for_if(case: str) -> None:
    required, expected = ORDERED[case]
    known = history(seen("a", "1", fixed=fixed("x", "y")))
    anew = ordered_anew(known, seen("a", "2", LONG, objects=fixed("z"), fixed=fixed("y")), required)
    assert anew is not None
    assert [(one.config, one.objects, one.fixed) for one in anew] == [(config("2"), fixed("z"), expected)]


GONE: dict[str, tuple[Remembered, bool]] = {
    "nothing is gone": (seen("a", "2", LONG, objects=fixed("x", "y", "z"), fixed=()), True),
    "one is known not to change by now": (seen("a", "2", LONG, objects=fixed("x"), fixed=fixed("y")), True),
    "one is left out": (seen("a", "2", LONG, objects=fixed("x", "y"), fixed=()), True),
    "one is gone": (seen("a", "2", LONG, objects=fixed("x"), fixed=()), False),
}


@pytest.mark.parametrize("case", GONE)
def test_what_an_earlier_version_kept_is_only_had_anew_when(case: str) -> None:
    now_runs, anew = GONE[case]
    known = history(seen("a", "1", objects=fixed("x", "y", "w")))
    assert (ordered_anew(known, now_runs, named("x", "y", "z")) is not None) == anew


def test_a_fingerprint_says_which_template_it_is_of_and_fits_where_fingerprints_stand() -> None:
    both = together(A, config("1"))
    assert template_of(both) == template_of(A) == A
    assert len(both) == 80


LOOKS: dict[str, tuple[tuple[Remembered, ...], list[tuple[str, str]]]] = {
    "the first configuration of a template shares its fingerprint": ((seen("a", "1"),), [(A, "1")]),
    "a change of configuration alone makes another revision": (
        (seen("a", "1"), seen("a", "2", LONG)),
        [(A, "1"), (other("a", "2"), "2")],
    ),
    "another template makes another revision, whatever its configuration": (
        (seen("a", "1"), seen("b", "1", 1), seen("a", "2", LONG)),
        [(A, "1"), (B, "1"), (other("a", "2"), "2")],
    ),
    "configuration that comes before its template makes none with the old one": (
        (seen("a", "1"), seen("a", "2", 9000), seen("b", "2", 9000 + LONG - 1)),
        [(A, "1"), (B, "2")],
    ),
    "configuration that stood long enough before a template was a release": (
        (seen("a", "1"), seen("a", "2", 9000), seen("b", "2", 9000 + LONG)),
        [(A, "1"), (other("a", "2"), "2"), (B, "2")],
    ),
    "configuration that comes after its template belongs to it": (
        (seen("a", "1"), seen("b", "1", 9000), seen("b", "2", 9000 + LONG - 1)),
        [(A, "1"), (B, "2")],
    ),
    "what comes in three parts is one release": (
        (seen("a", "1"), seen("a", "2", 9000), seen("b", "2", 9005), seen("b", "3", 9010)),
        [(A, "1"), (B, "3")],
    ),
    "configuration that comes long after its template is a release": (
        (seen("b", "1"), seen("b", "2", LONG - 1), seen("b", "3", LONG)),
        [(B, "2"), (other("b", "3"), "3")],
    ),
    "a change that is taken back at once leaves nothing behind": (
        (seen("a", "1"), seen("a", "2", 9000), seen("a", "1", 9001)),
        [(A, "1")],
    ),
    "a release by configuration and a restart is one, however soon something follows": (
        (seen("a", "1"), seen("a", "2", 9000), seen("a", "2", 9001, number=2), seen("b", "3", 9005, number=3)),
        [(A, "1"), (other("a", "2"), "2"), (B, "3")],
    ),
    "a template that came with other configuration is one, too": (
        (
            seen("a", "1"),
            seen("b", "1", 5000, number=2),
            seen("a", "2", 9000, number=3),
            seen("b", "1", 9001, number=4),
        ),
        [(A, "1"), (other("a", "2"), "2"), (B, "1")],
    ),
    "what came back is the newest": (
        (seen("a", "1"), seen("a", "2", 9000), seen("a", "1", 9000 + LONG)),
        [(other("a", "2"), "2"), (A, "1")],
    ),
    "what came back for a moment is kept": (
        (seen("a", "1"), seen("a", "2", 1000), seen("b", "3", 2000), seen("a", "2", 9000), seen("b", "3", 9001)),
        [(A, "1"), (other("a", "2"), "2"), (B, "3")],
    ),
}


@pytest.mark.parametrize("case", LOOKS)
def test_what_is_a_revision(case: str) -> None:
    looks, expected = LOOKS[case]
    assert said(history(*looks)) == expected


def test_what_proved_good_in_a_moment_was_no_release_on_its_way() -> None:
    looks = seen("a", "1"), seen("a", "2", 1), seen("a", "3", 2)
    assert said(history(*looks)) == [(A, "3")]
    assert said(history(*looks, good=(A, other("a", "2")))) == [
        (A, "1"),
        (other("a", "2"), "2"),
        (other("a", "3"), "3"),
    ]


def test_the_same_is_nothing_new() -> None:
    known = history(seen("a", "1"))
    assert learned(known, seen("a", "1", 60)) is known


def test_a_return_is_known_as_one() -> None:
    known = history(seen("a", "1"), seen("a", "2", 1000), seen("a", "1", 2000))
    assert [one.again for one in known] == [False, True]


def test_so_many_are_remembered() -> None:
    known = history(*(seen("a", f"{number:x}", number * LONG) for number in range(MAX_REMEMBERED + 3)))
    assert [one.config[3] for one in known] == [f"{number:x}" for number in range(3, MAX_REMEMBERED + 3)]


def test_a_restart_gives_another_number_and_the_earlier_ones_are_kept() -> None:
    known = history(seen("a", "1"), *(seen("a", "1", number * 1000, number=number) for number in range(2, 9)))
    (one,) = known
    assert (one.revision, one.earlier) == ("8", ("3", "4", "5", "6", "7"))
    assert len(one.earlier) == MAX_NUMBERS


def test_the_restart_by_which_configuration_comes_leaves_it_no_earlier_number() -> None:
    known = history(seen("a", "1"), seen("a", "2", 1000), seen("a", "2", 1005, number=2))
    assert [(one.revision, one.earlier) for one in known] == [("1", ()), ("2", ())]


# What a target shows.


def told(target: Snapshot, known: tuple[Remembered, ...], digit: str | None, at: float = 99_999) -> Snapshot:
    return identified(target, known, config(digit) if digit else None, after(at))


def revisions(target: Snapshot) -> list[tuple[str, str]]:
    return [(one.name, one.fingerprint) for one in sorted(target.history, key=lambda one: one.rank)]


def test_without_anything_remembered_revisions_are_their_templates() -> None:
    plain = snapshot("ab")
    shown = told(plain, (), "1")
    assert revisions(shown) == [("1", A), ("2", B)]
    assert (shown.current.fingerprint, shown.current.config) == (B, config("1"))


def test_a_policy_that_begins_to_remember_goes_on_with_what_it_knows() -> None:
    shown = told(snapshot("ab"), history(seen("b", "1", number=2)), "1")
    assert (shown.current.fingerprint, shown.changed, shown.arriving) == (B, None, None)


def test_a_change_of_configuration_alone_is_another_revision_of_that_number() -> None:
    known = history(seen("a", "1"), seen("a", "2", 1000))
    shown = told(snapshot("a"), known, "2")
    assert revisions(shown) == [("1", A), ("1", other("a", "2"))]
    assert shown.current.fingerprint == other("a", "2")
    assert [one.config for one in shown.history] == [config("1"), config("2")]
    assert (shown.changed, shown.changed_estimated, shown.reactivated) == (after(1000), True, False)


def test_what_nobody_saw_yet_is_another_revision_too() -> None:
    shown = told(snapshot("a"), history(seen("a", "1")), "2")
    assert revisions(shown) == [("1", A), ("1", other("a", "2"))]
    assert shown.current.fingerprint == other("a", "2")


def test_where_nobody_can_say_what_is_there_it_is_taken_to_be_as_before() -> None:
    known = history(seen("a", "1"), seen("a", "2", 1000))
    assert told(snapshot("a"), known, None).current.fingerprint == other("a", "2")
    assert told(snapshot("ab"), known, None).current == replace(snapshot("ab").current, turn=2)


def test_a_return_by_configuration_alone_is_a_return() -> None:
    known = history(seen("a", "1"), seen("a", "2", 1000), seen("a", "1", 2000))
    shown = told(snapshot("a"), known, "1")
    assert (shown.current.fingerprint, shown.reactivated, shown.changed) == (A, True, after(2000))


def test_new_configuration_of_a_template_that_was_gone_back_to_is_a_release() -> None:
    target = replace(snapshot("ab", current=1), reactivated=True)
    known = history(
        seen("a", "1"), seen("b", "2", 1000, number=2), seen("a", "1", 2000, number=3), seen("a", "3", 9000)
    )
    assert told(target, known, "3").reactivated is False


def test_a_number_means_what_ran_as_that_number() -> None:
    known = history(seen("a", "1"), seen("a", "2", 1000), seen("a", "2", 1005, number=2))
    shown = told(snapshot("aa"), known, "2")
    assert revisions(shown) == [("1", A), ("2", other("a", "2"))]
    assert _goes_to("1", shown) == A


def test_a_number_with_several_configurations_means_the_last() -> None:
    known = history(seen("a", "1"), seen("a", "2", 1000), seen("b", "3", 9000, number=2))
    shown = told(snapshot("ab"), known, "3")
    assert _goes_to("1", shown) == other("a", "2")


def test_a_fingerprint_means_just_that_one_and_that_of_a_template_its_first() -> None:
    known = history(seen("a", "1"), seen("a", "2", 1000), seen("b", "3", 9000, number=2))
    shown = told(snapshot("ab"), known, "3")
    assert _goes_to(A, shown) == A
    assert _goes_to(other("a", "2"), shown) == other("a", "2")


def test_the_fingerprint_of_a_template_whose_first_configuration_is_forgotten_means_its_last() -> None:
    known = history(seen("a", "1"), seen("a", "2", 1000), seen("b", "3", 9000, number=2))[1:]
    assert _goes_to(A, told(snapshot("ab"), known, "3")) == other("a", "2")


def test_previous_is_the_configuration_before_and_skips_what_is_bad() -> None:
    known = history(
        seen("b", "0"), seen("a", "1", 500, number=2), seen("a", "2", 1000, number=2), seen("a", "3", 9000, number=2)
    )
    shown = told(snapshot("ba"), known, "3")
    assert _goes_to("Previous", shown) == other("a", "2")
    assert _goes_to("Previous", shown, bad={other("a", "2"): "it is bad"}) == A
    assert _goes_to("Previous", shown, bad={other("a", "2"): "it is bad", A: "it is bad"}) == B
    assert _goes_to("LastKnownGood", shown, good=(A, B)) == A


def test_what_stood_for_a_moment_cannot_be_gone_back_to() -> None:
    known = history(seen("a", "1"), seen("a", "2", 9000))
    assert revisions(told(snapshot("a"), known, "3", 9010)) == [("1", A), ("1", other("a", "3"))]
    assert len(revisions(told(snapshot("a"), known, "3", 9000 + LONG))) == 3


def test_what_ran_with_a_number_that_is_off_the_record_can_be_gone_back_to_by_another() -> None:
    known = history(seen("a", "1"), seen("a", "2", 1000, number=2))
    target = snapshot(".aa", current=3)
    shown = told(target, (*known[:1], known[1].model_copy(update={"revision": "3"})), "2")
    assert [(one.name, one.fingerprint) for one in shown.history if one.fingerprint == A] == [("2", A)]


def test_an_older_number_than_was_ever_seen_means_the_first_that_was() -> None:
    known = history(seen("a", "1", number=2), seen("a", "2", 1000, number=3))
    shown = told(snapshot("aaa"), known, "2")
    assert revisions(shown) == [("1", A), ("2", A), ("3", other("a", "2"))]


ARRIVING: dict[str, tuple[float, float | None, int, bool]] = {
    "a moment after": (1001, None, 1, True),
    "long after": (1000 + LONG, None, 1, False),
    "when the pods were started anew since": (1010, 1005, 2, False),
    "when the pods were started anew, nobody knows when": (1010, None, 2, False),
    "when the pods were started anew before": (1010, 500, 2, True),
}


@pytest.mark.parametrize("case", ARRIVING)
def test_a_change_of_configuration_alone_may_be_a_release_on_its_way(case: str) -> None:
    at, restarted, number, arriving = ARRIVING[case]
    known = history(seen("a", "1"), seen("a", "2", 1000))
    target = replace(snapshot("a" * number), changed=after(restarted) if restarted is not None else None)
    assert told(target, known, "2", at).arriving == (after(1000 + LONG) if arriving else None)


def _goes_to(to: str, shown: Snapshot, bad: dict[str, str] | None = None, good: tuple[str, ...] = ()) -> str:
    chosen: Chosen | Ending = choose(to, CHECKOUT, shown, bad or {}, good)
    assert isinstance(chosen, Chosen), chosen
    revision: Revision = chosen.revision
    return revision.fingerprint


# Since when.


def managed(time: str | None, *parts: str, **more: Any) -> dict[str, Any]:
    entry: dict[str, Any] = {"manager": "kubectl", "fieldsV1": {part: {} for part in parts}, **more}
    return entry | ({"time": time} if time else {})


LATER = "2026-03-01T03:00:07Z"
WRITTEN: dict[str, tuple[str, list[dict[str, Any]], bool]] = {
    "its data": ("ConfigMap", [managed("2026-03-01T02:00:00Z", "f:data"), managed(LATER, "f:binaryData")], True),
    "the values of a Secret": ("Secret", [managed(LATER, "f:data", "f:type")], True),
    "nothing but a label": ("ConfigMap", [managed(LATER, "f:metadata")], False),
    "its status": ("Ingress", [managed(LATER, "f:spec", subresource="status")], False),
    "nobody knows when": ("ConfigMap", [managed(None, "f:data")], False),
}


@pytest.mark.parametrize("case", WRITTEN)
def test_the_managed_fields_tell_when_was_written(case: str) -> None:
    kind, entries, known = WRITTEN[case]
    assert written(kind, {"metadata": {"managedFields": entries}}) == (after(7) if known else None)
