"""The benchmark of decisions: its arithmetic, its labels, its files, and that it sees what is wrong."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

import pytest

from benchmarks.decisions import files, kinds, peers
from benchmarks.decisions.__main__ import COMMITTED, main
from benchmarks.decisions.evaluator import Decisions
from benchmarks.decisions.ours import Ours
from benchmarks.decisions.peers.argo_rollouts import ArgoRollouts
from benchmarks.decisions.peers.base import Peer
from benchmarks.decisions.peers.flagger import Flagger
from benchmarks.decisions.peers.helmwave import Helmwave
from benchmarks.decisions.picture import picture
from benchmarks.decisions.promql import Series, ratio
from benchmarks.decisions.score import Mark, Sum, mark, marked
from benchmarks.decisions.trace import Answer, Release, Span, Terms, Trace
from benchmarks.decisions.world import ELSEWHERE, Fault, Plan, Scenario, draw, label
from rollback_operator.settings import Settings

MINUTE = 60.0
SOME = 4
"""Traces of each kind that are looked at here; all of them are the benchmark's."""


# What the metrics server computes; rows from Prometheus' own tests, promql/promqltest/testdata/functions.test.


def every(seconds: float, values: Sequence[float]) -> Series:
    return Series([(seconds * number, value) for number, value in enumerate(values)])


def counting(start: int, by: int, steps: int) -> list[float]:
    return [start + by * number for number in range(steps + 1)]


INCREASES: dict[str, tuple[Sequence[float], int, int, float | None]] = {
    "a counter that was at zero in the beginning is not extrapolated": (counting(0, 10, 10), 50, 100, 100.0),
    "one that was not is, by half a step": (counting(10, 10, 10), 50, 100, 105.0),
    "but not below zero": (counting(1, 10, 10), 50, 100, 101.0),
    "a reset loses nothing": ([*counting(0, 18, 5), *counting(0, 18, 5)], 50, 100, 162.0),
    "a lesser value is a reset": ([0, 1, 2, 3, 2, 3, 4], 30, 30, 7.0),
    "one value in the window is nothing": (counting(0, 10, 10), 50, 5, None),
}


@pytest.mark.parametrize("case", INCREASES)
def test_increase(case: str) -> None:
    values, at, window, expected = INCREASES[case]
    found = every(5 * MINUTE, values).increase(at * MINUTE, window * MINUTE)
    assert found == (expected if expected is None else pytest.approx(expected))


def test_rate_is_a_second() -> None:
    assert every(5 * MINUTE, counting(0, 80, 10)).rate(50 * MINUTE, 50 * MINUTE) == pytest.approx(0.26666666666666666)


def test_an_instant_value_is_the_newest_unless_it_is_old_or_stale() -> None:
    series = Series([(0.0, 1.0), (15.0, 2.0), (30.0, None), (400.0, 3.0)])
    assert [series.instant(at) for at in (-1.0, 0.0, 14.9, 15.0, 30.0, 399.0)] == [None, 1.0, 1.0, 2.0, None, None]
    assert (series.instant(699.0), series.instant(700.0)) == (3.0, None)


def test_nothing_of_nothing_is_no_number() -> None:
    assert math.isnan(ratio(0.0, 0.0) or 0.0)
    assert (ratio(None, 1.0), ratio(1.0, None), ratio(1.0, 0.0), ratio(1.0, 4.0)) == (None, None, math.inf, 0.25)


# Labels.

RELEASED = (Release(-9000.0, "v1"), Release(600.0, "v2"))
BAD = Fault(900.0, 9000.0, 0.5, "v2")


def plan(*faults: Fault, releases: tuple[Release, ...] = RELEASED, rate: float = 10.0) -> Plan:
    return Plan(releases, faults, lambda _: rate, 0.005)


LABELS: dict[str, tuple[Plan, Terms, Sequence[Span], bool | None]] = {
    "nothing happens": (plan(), Terms(), (), False),
    "bad for good": (plan(BAD), Terms(), (), True),
    "bad for much shorter than `for`": (plan(replace(BAD, end=1000.0)), Terms(), (), False),
    "bad for about as long as `for`": (plan(replace(BAD, end=1200.0)), Terms(), (), None),
    "bad, and no release is the cause": (plan(replace(BAD, cause=ELSEWHERE)), Terms(), (), False),
    "bad near the threshold": (plan(replace(BAD, level=0.06)), Terms(), (), None),
    "nearly bad": (plan(replace(BAD, level=0.045)), Terms(), (), None),
    "worse than before, and well": (plan(replace(BAD, level=0.015)), Terms(), (), False),
    "bad, and hardly anybody asks": (plan(BAD, rate=0.3), Terms(), (), None),
    "bad long after the release": (plan(replace(BAD, at=4800.0)), Terms(), (), False),
    "bad about an hour after the release": (plan(replace(BAD, at=4200.0)), Terms(), (), None),
    "bad long after the release, watched always": (plan(replace(BAD, at=4800.0)), Terms(watch_all=True), (), True),
    "bad, and seen to be for a while": (plan(BAD), Terms(), (Span(1000.0, 2000.0),), True),
    "bad, and never seen to be for long enough": (plan(replace(BAD, end=2400.0)), Terms(), (Span(1100, 2200),), None),
    "bad from another release on, which brought it": (plan(replace(BAD, cause="v1", at=0.0)), Terms(), (), True),
}


@pytest.mark.parametrize("case", LABELS)
def test_the_label_is_what_was_injected(case: str) -> None:
    injected, terms, down, expected = LABELS[case]
    found = {one.revision: one.rollback for one in label(injected, terms, down)}
    assert found.get("v2", False) is expected


def test_a_release_that_mends_nothing_is_as_bad_as_the_one_before() -> None:
    releases = (*RELEASED, Release(1000.0, "v3"))
    found = {one.revision: one.rollback for one in label(plan(BAD, releases=releases), Terms(), ())}
    assert found == {"v2": False, "v3": True}


def test_due_is_the_rule_on_what_was_so_and_could_be_seen() -> None:
    def due(*down: Span) -> float:
        fault = Fault(900.0, 9000.0, 1.0, "v2")
        trace = draw("table", 1, Scenario(Terms(), 6000.0, {"shop": plan(fault)}, down))
        (expect,) = trace.targets[0].expect
        return expect.due

    undisturbed = due()
    assert 900 + 300 < undisturbed <= 900 + 300 + 2 * 30
    assert due(Span(undisturbed - 100, undisturbed - 75)) == undisturbed + 60, "one answer less costs two intervals"
    assert due(Span(undisturbed - 100, undisturbed + 300)) > undisturbed + 600, "a long gap begins it anew"


@pytest.mark.parametrize("kind", kinds.KINDS)
def test_a_kind_is_settled_by_its_seed(kind: str, tmp_path: Path) -> None:
    first, again, other = kinds.make(kind, 3), kinds.make(kind, 3), kinds.make(kind, 3, seed=2)
    texts = [files.write(one, tmp_path / "trace.jsonl").read_text() for one in (first, again, other)]
    assert texts[0] == texts[1] != texts[2]


def test_at_most_one_in_ten_is_ambiguous() -> None:
    for kind in kinds.KINDS:
        traces = [kinds.make(kind, number) for number in range(kinds.SEEDS)]
        assert sum(one.ambiguous for one in traces) <= kinds.SEEDS / 10, kind
        assert len({one.seed for one in traces}) == kinds.SEEDS


# Evaluators that are wrong are seen to be.


def marks(evaluator: object, kind: str, numbers: Sequence[int] = range(SOME)) -> Sum:
    return Sum.of(mark(evaluator, kinds.make(kind, number)) for number in numbers)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", kinds.KINDS)
def test_ours_is_right_and_in_time(kind: str) -> None:
    found = marks(Ours(), kind)
    assert (found.false, found.missed) == (0, 0)
    assert all(-1 <= delay <= 1 for delay in found.delays)


@pytest.mark.parametrize("kind", ["NaN", "server outage"])
def test_who_takes_what_is_missing_for_bad_rolls_back_falsely(kind: str) -> None:
    assert marks(Ours(no_data="Breach"), kind, range(8)).false > 0


def test_who_takes_a_series_without_errors_for_bad_does_not_see_what_is() -> None:
    assert marks(Ours(no_data="Breach"), "gaps", [0]).missed == 1


@dataclass(frozen=True)
class Changed:
    """Ours, on a trace that is not what is looked at."""

    change: Callable[[Trace], Trace]
    name: str = "wrong"
    inner: Ours = field(default_factory=Ours)

    def decide(self, trace: Trace) -> Decisions:
        return self.inner.decide(self.change(trace))


def asking(trace: Trace, **terms: object) -> Trace:
    return replace(trace, terms=replace(trace.terms, **terms), _answers={})  # type: ignore[arg-type]


WRONG: dict[str, tuple[str, Callable[[Trace], Trace]]] = {
    "who does not wait for `for`": ("spike", lambda trace: asking(trace, for_=0.0, consecutive=1)),
    "who forgets nothing": ("flapping", lambda trace: asking(trace, for_=30.0, consecutive=1)),
    "who does not ask for enough samples": ("low traffic", lambda trace: asking(trace, at_least=0, for_=60.0)),
    "who watches always": ("unrelated outage", lambda trace: asking(trace, watch_all=True)),
}


@pytest.mark.parametrize("case", WRONG)
def test_who_rolls_back_falsely(case: str) -> None:
    kind, change = WRONG[case]
    assert marks(Changed(change), kind, range(8)).false > 0


def test_who_has_no_guard_rolls_back_for_the_platform() -> None:
    assert marks(Ours(settings=Settings(guard=0)), "many at once", range(2)).false == 2


def test_who_never_rolls_back_misses_all() -> None:
    traces = [kinds.make("step", number) for number in range(SOME)]
    assert Sum.of(marked("sleeper", one, {}) for one in traces).missed == SOME


def test_who_is_late_is_seen_to_be() -> None:
    found = marks(Changed(lambda trace: asking(trace, for_=600.0, consecutive=1)), "step")
    assert found.missed == 0
    assert min(found.delays) >= 5


def test_a_rollback_before_the_fault_is_a_false_one() -> None:
    trace = kinds.make("step", 0)
    (expect,) = trace.targets[0].expect
    early = marked("hasty", trace, {("shop", "v2"): expect.onset - 1})
    assert (len(early.false), early.missed) == (1, ())
    assert marked("hasty", trace, {("shop", "v2"): expect.onset + 1}).false == ()


def test_ambiguous_traces_count_for_nothing() -> None:
    trace = kinds.make("step", 9)
    assert trace.ambiguous
    wrong = Mark("any", trace, false=(("shop", "v1", 0.0),), missed=(("shop", "v2"),))
    assert (Sum.of([wrong]).traces, Sum.of([wrong]).wrong) == (0, "0 / 0")


# The rules of others, one by one.

WELL, WORSE, NOTHING, NAN, ERROR = (
    Answer(0.01, 100.0),
    Answer(0.5, 100.0),
    Answer(None, None),
    Answer(math.nan, 0.0),
    Answer(error="connection refused"),
)
LETTERS = {"w": WELL, "B": WORSE, "-": NOTHING, "n": NAN, "E": ERROR}


def rolled_back_after(peer: Peer, letters: str, length: float = 3600.0) -> int | None:
    """The number of answers that were asked for when it rolled back; the last letter is repeated."""
    asked = count(1)
    number = 0

    def ask(at: float) -> Answer:
        nonlocal number
        del at
        number = next(asked)
        return LETTERS[letters[min(number, len(letters)) - 1]]

    return None if peer.analyse(ask, Terms(), 0.0, length) is None else number


FLAGGER, ARGO, HELMWAVE = Flagger(), ArgoRollouts(30.0, 3600.0), Helmwave()
PEERS: dict[str, tuple[Peer, str, int | None]] = {
    "Flagger: one failed check is too many by default": (FLAGGER, "wwB", 3),
    "Flagger: so is a missing value": (FLAGGER, "w-", 2),
    "Flagger: so is NaN": (FLAGGER, "wn", 2),
    "Flagger: so is an error": (FLAGGER, "wE", 2),
    "Flagger: enough that is well passes": (FLAGGER, "w" * 11 + "B", None),
    "Flagger: failed checks are not forgotten": (Flagger(threshold=3), "BwwwBwwwB", 9),
    "Argo Rollouts: one failure is too many by default": (ARGO, "wB", 2),
    "Argo Rollouts: so is NaN": (ARGO, "wn", 2),
    "Argo Rollouts: five errors in a row are": (ARGO, "wEEEEE", 6),
    "Argo Rollouts: four are not": (ARGO, "wEEEEw", None),
    "Argo Rollouts: nothing is an error": (ARGO, "w-----", 6),
    "Argo Rollouts: nothing is well where it is forgiven": (replace(ARGO, forgiving=True), "-n", None),
    "Argo Rollouts: failures are not forgotten": (replace(ARGO, failure_limit=2), "BwwwBwwwBw", 9),
    "helmwave: three failures in a row": (HELMWAVE, "wBBB", 4),
    "helmwave: not two": (replace(HELMWAVE, total_timeout=3600.0), "BBwBBw", None),
    "helmwave: three errors are three failures": (HELMWAVE, "EEE", 3),
    "helmwave: nothing is a failure": (HELMWAVE, "---", 3),
    "helmwave: but not with if_empty": (replace(HELMWAVE, if_empty=True), "-n-", None),
    "helmwave: three successes end it": (HELMWAVE, "wwwBBB", None),
    "helmwave: what is not settled in time has failed": (HELMWAVE, "BwBw", 4),
}


@pytest.mark.parametrize("case", PEERS)
def test_a_peer(case: str) -> None:
    peer, letters, expected = PEERS[case]
    assert rolled_back_after(peer, letters) == expected


def test_all_adapted_peers_take_as_many_bad_answers_as_our_rule() -> None:
    for kind in peers.KINDS:
        assert rolled_back_after(kind.adapted(Terms(), 3600.0), "B") == 11, kind.title


def test_a_guarded_query_hides_all_but_errors() -> None:
    numbers = [number for number in range(8) if not kinds.make("low traffic", number).ambiguous]
    for plain, guarded in zip(peers.turned_to_our_rule(), peers.with_guarded_queries(), strict=True):
        assert guarded.name == f"{plain.name}, guarded query"
        assert marks(guarded, "low traffic", numbers).false == 0
        assert marks(guarded, "server outage", range(8)).false > 0


# Files.


@pytest.mark.parametrize("kind", kinds.KINDS)
def test_a_trace_that_is_written_and_read_is_the_same(kind: str, tmp_path: Path) -> None:
    trace = kinds.make(kind, 1)
    written = files.write(trace, tmp_path / "trace.jsonl")
    again = files.read(written)
    assert files.write(again, tmp_path / "again.jsonl").read_text() == written.read_text()
    assert (again.terms, again.down, again.length) == (trace.terms, trace.down, trace.length)
    if kind != "NaN":  # which is not equal to itself
        assert again == trace


HEAD = (
    '{"trace": "mine", "length": 900, "rule": {"when": "> 5%", "for": "1m"}, '
    '"targets": [{"releases": [{"at": 0, "revision": "v1"}]}]}'
)


def test_a_trace_by_hand_needs_little(tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl"
    file.write_text(f'{HEAD}\n\n{{"at": 0, "value": 0.01}}\n{{"at": 30, "value": "NaN"}}\n{{"at": 60, "up": false}}\n')
    trace = files.read(file)
    assert [trace.ask("target", at).known for at in (0.0, 29.0, 30.0, 60.0)] == [True, True, False, False]
    assert trace.terms == Terms(for_=60.0, at_least=0)


EXPECTING = '"expect": [{"revision": "v1", "rollback": true, "onset": 100}], "releases"'
MISTAKES = {
    "an empty file": ("", "is empty"),
    "no JSON": ("trace: mine", "mine.jsonl:1: Invalid JSON"),
    "a rule without when": (HEAD.replace('"when": "> 5%", ', ""), "mine.jsonl:1: rule.when: Field required"),
    "a rule that is no comparison": (HEAD.replace("> 5%", "5%"), "mine.jsonl:1: rule.when"),
    "a word that is none of the format's": (HEAD.replace("length", "size"), "mine.jsonl:1"),
    "a release that never comes": (HEAD.replace('"releases"', EXPECTING.replace("v1", "v9")), "never releases"),
    "a target that is not there": (f'{HEAD}\n{{"at": 0, "target": "other"}}', "mine.jsonl:2: there is no target other"),
    "a scrape without a time": (f'{HEAD}\n{{"value": 1}}', "mine.jsonl:2: at: Field required"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_in_a_file_is_named(case: str, tmp_path: Path) -> None:
    text, sentence = MISTAKES[case]
    file = tmp_path / "mine.jsonl"
    file.write_text(text)
    with pytest.raises(ValueError, match=sentence):
        files.read(file)


def test_due_is_the_rules_own_time_after_the_onset_if_it_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl"
    file.write_text(HEAD.replace('"releases"', EXPECTING))
    assert files.read(file).targets[0].expect[0].due == 160


def test_ours_is_right_about_the_committed_traces() -> None:
    traces = files.read_all(COMMITTED)
    assert traces
    for trace in traces:
        found = mark(Ours(), trace)
        assert (found.false, found.missed) == ((), ()), trace.note
        assert all(abs(delay) <= trace.terms.interval for delay in found.delays), trace.note


# The command.


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    return lambda: capsys.readouterr().out


def test_the_command_prints_tables_takes_traces_and_draws(tmp_path: Path, printed: Callable[[], str]) -> None:
    folder, image = tmp_path / "traces", tmp_path / "image.svg"
    main(["--count", "1", "--write", str(folder), "--picture", "step", "0", str(image)])
    text = printed()
    assert all(kind in text for kind in kinds.KINDS)
    assert all(f"\n| {name}" in text for name in ("ours", "Flagger", "Argo Rollouts", "helmwave"))
    assert len(list(folder.iterdir())) >= len(kinds.KINDS)
    assert image.read_text().startswith("<svg")
    (folder / "mine.jsonl").write_text(HEAD.replace("mine", "brought along"))
    main(["--count", "1", "--traces", str(folder)])
    assert "brought along" in printed()


def test_a_picture_says_who_was_wrong() -> None:
    trace = kinds.make("server outage", 11)
    drawn = picture(trace, {"ours": {}, "hasty": {("shop", "v2"): trace.length - 100}})
    assert "rolled back, falsely" in drawn
    assert "no answers" in drawn
