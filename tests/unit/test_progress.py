"""What is written down is within its bounds, whatever it is made of."""

from __future__ import annotations

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
from tests.unit.builders import revision, snapshot


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
        standing=Go((suspension,), ("Another one.",)),
    )
    assert plan.suspends == (suspension,)
    assert plan.steps == ("Suspend HelmRelease apps/web (spec.suspend).", "Run helm rollback.")
    assert plan.notes == ("It consists of: Deployment web, ConfigMap web.", "Another one.", "A note.")
