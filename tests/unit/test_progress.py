"""What is written down is within its bounds, whatever it is made of."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollback_operator.api.owner import Suspension
from rollback_operator.api.policy import Verify
from rollback_operator.api.request import MAX_DIFF_BYTES
from rollback_operator.core.choice import Chosen
from rollback_operator.core.progress import CUT, cut_diff, make_plan
from rollback_operator.core.stance import Go
from rollback_operator.core.values import Findings
from tests.unit.builders import FINDINGS, revision, snapshot

TWO = Chosen(revision(2))


def lines(count: int, text: str = "-  image: shop:3") -> str:
    return f"{text}\n" * count


@given(st.text(max_size=200))
def test_a_short_diff_is_left_alone(diff: str) -> None:
    assert cut_diff(diff) == diff


BORDERS = {
    "as long as may be": (MAX_DIFF_BYTES, False),
    "one byte too long": (MAX_DIFF_BYTES + 1, True),
    "twice too long": (2 * MAX_DIFF_BYTES, True),
}


@pytest.mark.parametrize("case", BORDERS)
@pytest.mark.parametrize("letter", ["x", "é", "…", "🙂"])
def test_a_diff(case: str, letter: str) -> None:
    length, is_cut = BORDERS[case]
    width = len(letter.encode())
    diff = (f"+ {letter * 30}\n" * (length // (30 * width + 3) + 1)).encode()[:length].decode(errors="ignore")
    diff += "x" * (length - len(diff.encode()))
    short = cut_diff(diff)
    assert len(short.encode()) <= MAX_DIFF_BYTES
    assert (short != diff) == is_cut
    if is_cut:
        head = short.removesuffix(CUT)
        assert short.endswith(CUT)
        assert diff.startswith(head + "\n"), "cut between lines"
        assert len(head.encode()) > MAX_DIFF_BYTES - len(CUT.encode()) - 30 * width - 4, "no more than needed"


@given(st.integers(1, 40), st.characters(codec="utf-8"))
def test_one_endless_line_is_cut_too(more: int, letter: str) -> None:
    short = cut_diff(letter * (MAX_DIFF_BYTES + more))
    assert len(short.encode()) <= MAX_DIFF_BYTES
    assert short.endswith(CUT)


def test_the_digest_covers_everything_but_itself() -> None:
    two, found = Chosen(revision(2)), Findings(steps=("Replace it.",), diff="+a\n")
    triggers = Verify(triggers=("errors",))
    plans = [
        make_plan(snapshot(), two, found, account="rollback", verify=None),
        make_plan(snapshot(uid="another"), two, found, account="rollback", verify=None),
        make_plan(snapshot(), Chosen(revision(1)), found, account="rollback", verify=None),
        make_plan(snapshot(), Chosen(revision(2), ("note",)), found, account="rollback", verify=None),
        make_plan(snapshot(), two, found, account="mine", verify=None),
        make_plan(snapshot(), two, found, account="rollback", verify=Verify()),
        make_plan(snapshot(), two, found, account="rollback", verify=triggers),
        make_plan(snapshot(), two, Findings(("Other.",), "+a\n"), account="rollback", verify=None),
        make_plan(snapshot(), two, Findings(("Replace it.",), "+b\n"), account="rollback", verify=None),
    ]
    assert len({plan.digest for plan in plans}) == len(plans)


def test_a_plan_says_what_is_suspended_and_what_goes_back_with_the_target() -> None:
    suspension = Suspension(kind="HelmRelease", namespace="apps", name="web", uid="u")
    findings = Findings(("Run helm rollback.",), "", notes=("A note.",), affected=("Deployment web", "ConfigMap web"))
    plan = make_plan(
        snapshot(),
        Chosen(revision(2)),
        findings,
        account="rollback",
        verify=None,
        standing=Go((suspension,), ("Another one.",), ("Deployment web", "Deployment apps/cart")),
    )
    assert plan.suspends == (suspension,)
    assert plan.steps == ("Suspend HelmRelease apps/web (spec.suspend).", "Run helm rollback.")
    assert plan.notes == ("It consists of: Deployment web, ConfigMap web.", "Another one.", "A note.")
    assert plan.affected == ("Deployment web", "ConfigMap web", "Deployment apps/cart")


def test_sixty_objects_are_all_named_and_the_note_stays_short() -> None:
    names = tuple(f"ConfigMap configuration-of-the-shop-{number}" for number in range(60))
    plan = make_plan(snapshot(), TWO, replace(FINDINGS, affected=names), account="rollback", verify=None)
    assert plan.affected == names
    said = f"It consists of: 60 objects, which plan.affected names, such as {', '.join(names[:5])}."
    assert plan.notes == (said,)


def test_more_objects_than_fit_are_counted() -> None:
    names = tuple(f"ConfigMap {number}" for number in range(200))
    standing = Go(affected=tuple(f"Secret {number}" for number in range(100)))
    findings = replace(FINDINGS, affected=names)
    plan = make_plan(snapshot(), TWO, findings, account="rollback", verify=None, standing=standing)
    assert plan.affected == (*names, *standing.affected[:56])
    assert "plan.affected names the first 256 of 300 objects." in plan.notes


def test_the_digest_of_a_plan_without_other_objects_is_what_it_was() -> None:
    plan = make_plan(snapshot(), TWO, FINDINGS, account="rollback", verify=None)
    assert "affected" not in plan.dump()
    assert plan.digest == "sha256:c2d58558ad6d5ab30cfdd888f05138c38be6ee05d041bf0e265dff48d90a4c12"
