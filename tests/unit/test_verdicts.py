"""What one answer means, and what a row of them amounts to."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollback_operator.api.trigger import Trigger
from rollback_operator.core.verdicts import Rule, Sample, Streak, Threshold, Verdict, fold

EPOCH = 1_700_000_000.0
INTERVAL = 30.0
FIVE_MINUTES = Rule(INTERVAL, for_=300.0)
THREE = Rule(INTERVAL, consecutive=3)
LETTERS = {"H": Verdict.HEALTHY, "B": Verdict.BREACH, "U": Verdict.UNKNOWN}


def row(letters: str, interval: float = INTERVAL) -> list[Sample]:
    """A sample for each letter, an interval apart; `.` is a poll that did not happen."""
    return [Sample(EPOCH + n * interval, LETTERS[one]) for n, one in enumerate(letters) if one != "."]


def folded(samples: Iterable[Sample], rule: Rule, streak: Streak = Streak()) -> Streak:  # noqa: B008  # frozen
    return reduce(lambda sofar, sample: fold(sofar, sample, rule), samples, streak)


def fires(letters: str, rule: Rule) -> bool:
    return folded(row(letters), rule).fires(rule)


ROWS = {
    "five minutes of Breach are ten intervals": ("B" * 11, FIVE_MINUTES, True),
    "one interval less is not enough": ("B" * 10, FIVE_MINUTES, False),
    "Healthy resets": ("BBBBBBBBBBHB", FIVE_MINUTES, False),
    "and the time after it counts from zero": ("BBBH" + "B" * 11, FIVE_MINUTES, True),
    "a poll that did not happen costs nothing": ("BBBBB.BBBBB", FIVE_MINUTES, True),
    "two in a row stop the clock": ("BBBBB..BBBB", FIVE_MINUTES, False),
    "which goes on": ("BBBBB..BBBBBBB", FIVE_MINUTES, True),
    "one Unknown stops the clock for two intervals": ("BBBBBUBBBBBB", FIVE_MINUTES, False),
    "without resetting it": ("BBBBBUBBBBBBB", FIVE_MINUTES, True),
    "nor does an Unknown gap as long as `for`": ("BBBBBB" + "U" * 9 + "BBBBBB", FIVE_MINUTES, True),
    "a longer one resets": ("BBBBBB" + "U" * 10 + "BBBBBB", FIVE_MINUTES, False),
    "so does one without any sample": ("BBBBBB" + "." * 10 + "BBBBBB", FIVE_MINUTES, False),
    "the gap counts from the last answer that was known": ("BBBBBB" + "UU......UUUU" + "BBBBBB", FIVE_MINUTES, False),
    "Unknown alone is nothing": ("U" * 100, FIVE_MINUTES, False),
    "nothing is nothing": ("", Rule(INTERVAL), False),
    "one Breach is enough without `for` and `consecutive`": ("HB", Rule(INTERVAL), True),
    "three in a row": ("HBBB", THREE, True),
    "not two": ("HBB", THREE, False),
    "not three with a Healthy between": ("BBHB", THREE, False),
    "three with an Unknown between": ("BBUB", THREE, True),
    "not after three intervals of Unknown": ("BBUUUB", THREE, False),
    "`for` and `consecutive`: time is not enough": ("BBB", Rule(INTERVAL, for_=60.0, consecutive=4), False),
    "`for` and `consecutive`: count is not enough": ("BUBUBUB", Rule(INTERVAL, for_=60.0, consecutive=4), False),
    "`for` and `consecutive`: both hold": ("BBBB", Rule(INTERVAL, for_=60.0, consecutive=4), True),
    "`for` shorter than an interval takes two": ("B", Rule(INTERVAL, for_=10.0), False),
    "and no more": ("BB", Rule(INTERVAL, for_=10.0), True),
}


@pytest.mark.parametrize("case", ROWS)
def test_a_row(case: str) -> None:
    letters, rule, expected = ROWS[case]
    assert fires(letters, rule) is expected


def test_the_newest_answer_is_kept_as_it_was_said() -> None:
    streak = folded([*row("HB"), Sample(EPOCH + 60, Verdict.BREACH, "7%", "7% > 5%")], FIVE_MINUTES)
    assert (streak.verdict, streak.value, streak.message, streak.at) == (
        Verdict.BREACH,
        "7%",
        "7% > 5%",
        EPOCH + 60,
    )
    assert (streak.began, streak.known, streak.count, streak.breached) == (EPOCH + 30, EPOCH + 60, 2, 30.0)


@pytest.mark.parametrize("letter", LETTERS)
def test_since_is_when_the_verdict_changed_even_for_the_first(letter: str) -> None:
    assert folded(row(letter * 3), FIVE_MINUTES).since == EPOCH
    others = "".join(other for other in LETTERS if other != letter)
    assert folded(row(others + letter * 2), FIVE_MINUTES).since == EPOCH + 60


def test_soaking_counts_the_time_in_healthy_and_not_the_time_in_unknown() -> None:
    assert folded(row("HHHUUHH"), FIVE_MINUTES).good == 3 * INTERVAL
    assert folded(row("HHHUUHH"), FIVE_MINUTES).healthy == EPOCH
    assert folded(row("HHHBHH"), FIVE_MINUTES).good == INTERVAL
    assert folded(row("HHB"), FIVE_MINUTES).healthy is None
    assert folded(row("HH...HH"), FIVE_MINUTES).good == 2 * INTERVAL, "what nobody saw is not known to be good"


# What holds of every row.

gaps = st.integers(1, 400)
samples = st.lists(st.tuples(gaps, st.sampled_from(Verdict)), max_size=40).map(
    lambda steps: [Sample(EPOCH + sum(gap for gap, _ in steps[: n + 1]), one) for n, (_, one) in enumerate(steps)]
)
rule_of = st.builds(
    Rule,
    interval=st.sampled_from([10.0, 30.0]),
    for_=st.sampled_from([0.0, 10.0, 90.0, 300.0]),
    consecutive=st.integers(1, 4),
)


@given(samples, rule_of, st.data())
def test_it_can_go_on_from_anywhere_and_hear_again_what_it_knows(
    row: list[Sample], rule: Rule, data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(row)))
    half = folded(row[:cut], rule)
    heard_again = data.draw(st.lists(st.sampled_from(row[:cut]), max_size=5)) if cut else []
    assert folded(heard_again, rule, half) == half
    assert folded([*heard_again, *row[cut:]], rule, half) == folded(row, rule)


@given(samples, rule_of, gaps)
def test_unknown_makes_nothing_fire(row: list[Sample], rule: Rule, gap: int) -> None:
    before = folded(row, rule)
    after = fold(before, Sample(max(before.at, EPOCH) + gap, Verdict.UNKNOWN), rule)
    assert before.fires(rule) or not after.fires(rule)


@given(samples, rule_of, gaps)
def test_healthy_ends_it(row: list[Sample], rule: Rule, gap: int) -> None:
    before = folded(row, rule)
    after = fold(before, Sample(max(before.at, EPOCH) + gap, Verdict.HEALTHY), rule)
    assert not after.fires(rule)
    assert (after.breached, after.count, after.began) == (0.0, 0, None)


@given(samples, rule_of, st.lists(st.integers(0, 4000), max_size=10))
def test_more_unknown_never_makes_it_fire_earlier(row: list[Sample], rule: Rule, more: list[int]) -> None:
    taken = {sample.at for sample in row}
    added = [Sample(EPOCH + at + 0.5, Verdict.UNKNOWN) for at in set(more) if EPOCH + at + 0.5 not in taken]
    plain, mixed = _fired(row, rule), _fired(sorted([*row, *added], key=lambda one: one.at), rule)
    assert plain is None or mixed is None or plain <= mixed
    assert plain is not None or mixed is None


@given(samples, rule_of)
def test_it_fires_only_with_enough_breaches_and_enough_time(row: list[Sample], rule: Rule) -> None:
    streak = folded(row, rule)
    if streak.fires(rule):
        last_healthy = max((one.at for one in row if one.verdict is Verdict.HEALTHY), default=0.0)
        breaches = [one.at for one in row if one.verdict is Verdict.BREACH and one.at > last_healthy]
        assert len(breaches) >= rule.consecutive
        assert breaches[-1] - breaches[0] >= rule.for_


@given(samples, rule_of, st.integers(-1_000_000, 1_000_000))
def test_the_hour_of_the_day_is_nothing_to_it(row: list[Sample], rule: Rule, shift: int) -> None:
    moved = folded([Sample(one.at + shift, one.verdict) for one in row], rule)
    here = folded(row, rule)
    assert (moved.breached, moved.count, moved.good) == (here.breached, here.count, here.good)
    assert moved.fires(rule) is here.fires(rule)


def _fired(row: list[Sample], rule: Rule) -> float | None:
    """When it first fired, in seconds since the epoch."""
    streak = Streak()
    for sample in row:
        streak = fold(streak, sample, rule)
        if streak.verdict is Verdict.BREACH and streak.fires(rule):
            return sample.at
    return None


# Thresholds and rules.

BOUNDS = {
    "> 5%": (">", 0.05),
    ">= 512Mi": (">=", 512 * 2**20),
    "< 0.5": ("<", 0.5),
    "<= 250ms": ("<=", 0.25),
    "== 0": ("==", 0.0),
    "!= 1": ("!=", 1.0),
    "> 2s": (">", 2.0),
    "> 5m": (">", 300.0),
    "> 1h": (">", 3600.0),
    "> 64Ki": (">", 65536.0),
    "> 1.5Gi": (">", 1.5 * 2**30),
    "  >-3  ": (">", -3.0),
    ">5 %": (">", 0.05),
}


@pytest.mark.parametrize("text", BOUNDS)
def test_a_threshold(text: str) -> None:
    sign, bound = BOUNDS[text]
    threshold = Threshold.parse(text)
    assert threshold.sign == sign
    assert threshold.bound == pytest.approx(bound)
    assert Threshold.parse(str(threshold)) == threshold, "it is shown as it may be written"


@pytest.mark.parametrize(
    "text", ["", "5%", "> ", "> five", "=> 5", "> 5 kg", "> 5k", "> 1e3", "> 5%%", "> .5", "> 5; 1"]
)
def test_what_is_no_threshold_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match="is no comparison such as"):
        Threshold.parse(text)


@pytest.mark.parametrize(
    "when, bad, well",
    [("> 5%", 0.0501, 0.05), (">= 5%", 0.05, 0.0499), ("< 1s", 0.999, 1.0), ("<= 1s", 1.0, 1.01), ("!= 1", 0.0, 1.0)],
)
def test_the_border_belongs_to_whom_the_sign_says(when: str, bad: float, well: float) -> None:
    assert Threshold.parse(when).breached_by(bad)
    assert not Threshold.parse(when).breached_by(well)


SHOWN = {
    ("> 5%", 0.0734): "7.34%",
    ("> 250ms", 0.3): "300ms",
    ("> 512Mi", 2.0**30): "1024Mi",
    ("> 20000", 123456.0): "123456",
    ("> 1", 0.333333): "0.3333",
    ("> 1", float("inf")): "inf",
}


@pytest.mark.parametrize("when, value", SHOWN)
def test_a_value_is_shown_as_a_person_writes_it(when: str, value: float) -> None:
    assert Threshold.parse(when).show(value) == SHOWN[when, value]


def test_the_rule_of_a_trigger() -> None:
    def rule(**fields: object) -> Rule:
        return Rule.of(Trigger.model_validate({"name": "errors", "http": {"url": "http://shop"}, **fields}))

    assert rule() == Rule(interval=30.0, for_=0.0, consecutive=1)
    assert rule(**{"for": "5m", "interval": "15s", "consecutive": 3}) == Rule(15.0, 300.0, 3)
    assert rule(**{"for": "5m"}).patience == 300.0
    assert rule(consecutive=3).patience == 90.0
