"""What a policy would have done: replays over a past that a local server makes up, and the command around them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import yaml
from aiohttp import web

from rollback_operator import __main__ as program
from rollback_operator.backtest import cli
from rollback_operator.backtest.cli import backtest
from rollback_operator.backtest.events import Event, What
from rollback_operator.backtest.moments import length, parse_moment, rfc3339
from rollback_operator.backtest.past import Grid
from rollback_operator.backtest.problem import Problem
from rollback_operator.backtest.report import folded
from rollback_operator.signals.prometheus import MOST_STEPS
from tests.unit.serving import Serving, saying, serving

START = 1_772_359_200  # 2026-03-01 10:00:00 UTC
NOW = START + 86_400.0
MINUTE, HOUR = 60, 3600

Value = float | str | None
Past = Mapping[str, Callable[[float], Value]]
"""What each query gives, by the seconds since `START`; None: nothing. `name{label}` gives several series."""


def remembering(past: Past) -> Callable[[web.Request], Any]:
    """Answers range queries as Prometheus does; what it does not know gives nothing."""

    async def handler(request: web.Request) -> web.StreamResponse:
        start, end, step = (float(request.query[name]) for name in ("start", "end", "step"))
        times = [start + number * step for number in range(round((end - start) / step) + 1)]
        result = []
        for name, value in past.items():
            query, _, label = name.partition("#")
            if query not in request.query["query"]:
                continue
            values = [[at, str(found)] for at in times if (found := value(at - START)) is not None]
            if values:
                result.append({"metric": {"replicaset": label} if label else {}, "values": values})
        data = {"resultType": "matrix", "result": result}
        return web.json_response({"status": "success", "data": data})

    return handler


@pytest.fixture
async def server() -> AsyncIterator[Serving]:
    async with serving() as one:
        yield one


class Bench:
    """A policy in a file, and a server that remembers."""

    def __init__(self, server: Serving, folder: Path) -> None:
        self.server = server
        self.file = folder / "policy.yaml"

    def policy(self, *triggers: Mapping[str, Any], namespace: str = "shop", **spec: Any) -> None:
        """Write the policy; by default one trigger that has to be bad for five minutes."""
        target = {"kind": "Deployment", "name": "checkout"}
        body = {
            "apiVersion": "rollback.dev/v1alpha1",
            "kind": "RollbackPolicy",
            "metadata": {"name": "checkout", **({"namespace": namespace} if namespace else {})},
            "spec": {"target": target, "triggers": [dict(one) for one in triggers or (errors(),)], **spec},
        }
        self.file.write_text(yaml.safe_dump(body), encoding="utf-8")

    async def play(self, past: Past, *arguments: str, to: int = 3 * HOUR, start: int = 0) -> dict[str, Any]:
        """The document that the command prints."""
        return dict(json.loads(await self.shown(past, *arguments, "--json", to=to, start=start)))

    async def shown(self, past: Past, *arguments: str, to: int = 3 * HOUR, start: int = 0) -> str:
        """The text that the command prints."""
        self.server.handler = remembering(past)
        if not self.file.exists():
            self.policy()
        span = ("--from", str(START + start), "--to", str(START + to))
        return await backtest([str(self.file), "--prometheus", self.server.url, *span, *arguments], NOW)

    def asked(self) -> list[str]:
        return [request.query["query"] for request in self.server.asked]


@pytest.fixture
def bench(server: Serving, tmp_path: Path) -> Bench:
    return Bench(server, tmp_path)


def errors(**fields: Any) -> dict[str, Any]:
    return {"name": "errors", "prometheus": {"query": "errors"}, "when": "> 5%", "for": "5m", **fields}


def released(*minutes_and_names: tuple[int, str]) -> list[str]:
    return [f"--release={START + minutes * MINUTE}={name}" for minutes, name in minutes_and_names]


def bad(*spans: tuple[int, int], rest: Value = 0.01) -> Callable[[float], Value]:
    """20% of errors within these minutes (the last one not), else what is said."""
    return lambda at: 0.2 if any(begin * MINUTE <= at < end * MINUTE for begin, end in spans) else rest


def told(document: Mapping[str, Any], *but: What) -> list[tuple[float, str]]:
    """What happened, with its minute; breaches are left out unless nothing is."""
    skipped = {one.value for one in but or (What.BREACH,)}
    return [(_minute(one["at"]), one["what"]) for one in document["events"] if one["what"] not in skipped]


def _minute(text: str) -> float:
    return (parse_moment(text, "at", NOW) - START) / MINUTE


def of(document: Mapping[str, Any], what: What) -> list[dict[str, Any]]:
    return [one for one in document["events"] if one["what"] == what.value]


# When it acts.


async def test_it_acts_at_the_sample_with_which_the_time_is_full(bench: Bench) -> None:
    document = await bench.play({"errors": bad((30, 60))}, *released((20, "v2")))
    (rollback,) = of(document, What.ROLLBACK)
    assert rollback["at"] == rfc3339(START + 35 * MINUTE)
    assert (rollback["from"], rollback["to"]) == ("2 (v2)", "1 (before)")
    assert rollback["message"] == "errors: 20% > 5% for 5m."
    assert document["summary"] == {
        "rollbacks": 1,
        "firstRollback": rfc3339(START + 35 * MINUTE),
        "alerts": 0,
        "samples": 361,
        "unknown": 0,
    }


async def test_it_does_not_one_sample_before(bench: Bench) -> None:
    document = await bench.play({"errors": bad((30, 35))}, *released((20, "v2")))
    assert of(document, What.ROLLBACK) == []
    (breach,) = of(document, What.BREACH)
    assert (breach["at"], breach["until"]) == (rfc3339(START + 30 * MINUTE), rfc3339(START + 35 * MINUTE))


HOLES: dict[str, tuple[Callable[[float], Value], float | None]] = {
    "NaN within a breach stops the clock": (lambda at: "NaN" if 1950 <= at < 2010 else bad((30, 60))(at), 36.5),
    "a gap stops it": (lambda at: None if 1950 <= at < 2010 else bad((30, 60))(at), 36.5),
    "a gap longer than `for` resets it": (lambda at: None if 1950 <= at < 2310 else bad((30, 60))(at), 43.5),
    "NaN alone is nothing": (lambda _: "NaN", None),
    "infinity is no number either": (lambda _: "+Inf", None),
    "no data is nothing": (lambda _: None, None),
}


@pytest.mark.parametrize("case", HOLES)
async def test_what_is_missing_never_counts(bench: Bench, case: str) -> None:
    value, minute = HOLES[case]
    document = await bench.play({"errors": value}, *released((20, "v2")))
    minutes = [_minute(one["at"]) for one in of(document, What.ROLLBACK)]
    assert minutes == ([minute] if minute is not None else [])
    assert document["summary"]["unknown"] > 0


async def test_too_few_requests_are_unknown(bench: Bench) -> None:
    bench.policy(errors(minSamples={"query": "requests", "atLeast": 20}))
    document = await bench.play({"errors": bad((30, 60)), "requests": lambda _: 19}, *released((20, "v2")))
    assert of(document, What.ROLLBACK) == []
    (gap,) = of(document, What.NO_DATA)
    assert gap["message"] == "minSamples gives 19, at least 20 are asked for"


async def test_what_began_long_after_a_release_is_not_blamed_on_it(bench: Bench) -> None:
    document = await bench.play({"errors": bad((70, 90))}, *released((5, "v2")))
    assert told(document)[-1] == (75, "Withheld")
    assert of(document, What.WITHHELD)[0]["reason"] == "NoRecentChange"


async def test_without_any_release_the_message_names_no_made_up_date(bench: Bench) -> None:
    document = await bench.play({"errors": bad((30, 60))}, *released((120, "v2")))
    (withheld,) = of(document, What.WITHHELD)
    assert "1970" not in withheld["message"]
    assert "(before all that is known here)" in withheld["message"]


async def test_what_was_bad_before_a_release_is_not_blamed_on_it_either(bench: Bench) -> None:
    document = await bench.play({"errors": bad((30, 120))}, *released((60, "v2")), to=2 * HOUR)
    assert of(document, What.ROLLBACK) == []
    assert of(document, What.BREACH)[-1]["reason"] == "NotBlamed"


# What follows from what.


async def test_what_proved_bad_is_not_gone_back_to(bench: Bench) -> None:
    past = {"errors": bad((20, 30), (40, 50))}
    document = await bench.play(past, *released((2, "v1"), (19, "v2"), (32, "v1"), (39, "v3")))
    rollbacks = [(one["from"], one["to"]) for one in of(document, What.ROLLBACK)]
    assert rollbacks == [("3 (v2)", "2 (v1)"), ("5 (v3)", "4 (v1)")]
    assert [(one["to"], one.get("message", "")) for one in of(document, What.RELEASE)] == [
        ("2 (v1)", ""),
        ("3 (v2)", ""),
        ("4 (v1)", "runs already, nothing changes"),
        ("5 (v3)", ""),
    ]


async def test_the_breaker_opens_after_its_limit(bench: Bench) -> None:
    bench.policy(breaker={"limit": 1, "window": "2h"})
    past = {"errors": bad((20, 30), (40, 50))}
    document = await bench.play(past, *released((2, "v1"), (19, "v2"), (39, "v3")))
    assert [one["from"] for one in of(document, What.ROLLBACK)] == ["3 (v2)"]
    (withheld,) = of(document, What.WITHHELD)
    assert (_minute(withheld["at"]), withheld["reason"]) == (45, "BreakerOpen")
    assert document["summary"]["alerts"] == 1


async def test_a_bad_release_that_is_back_is_told(bench: Bench) -> None:
    document = await bench.play({"errors": bad((20, 30))}, *released((2, "v1"), (19, "v2"), (60, "v2")))
    assert told(document)[-2:] == [(60, "Release"), (60, "Withheld")]
    assert of(document, What.WITHHELD)[0]["reason"] == "BadReleaseReturned"


async def test_a_rollback_is_not_rolled_back_while_the_record_goes_on(bench: Bench) -> None:
    document = await bench.play({"errors": bad((30, 90))}, *released((20, "v2")))
    assert told(document) == [(10, "ProvedGood"), (20, "Release"), (35, "Rollback"), (40.5, "GoesOn")]
    assert document["summary"]["alerts"] == 0
    assert of(document, What.BREACH)[-1]["reason"] == "CarriedOn"


async def test_where_nothing_is_left_to_go_back_to_it_says_so_once(bench: Bench) -> None:
    replica_sets = {
        "spec_replicas#checkout-a": lambda _: 3,
        "created#checkout-a": lambda _: START + 20 * MINUTE,
        "errors": bad((30, 60)),
    }
    document = await bench.play(replica_sets)
    (failed,) = of(document, What.FAILED)
    assert failed["reason"] == "NothingToRollBackTo"
    assert document["summary"]["alerts"] == 1


# People.


async def test_people_have_their_time_before_it_acts(bench: Bench) -> None:
    bench.policy(errors(action="AlertThenRollback", grace="10m"))
    document = await bench.play({"errors": bad((30, 60))}, *released((20, "v2")))
    assert told(document)[2:] == [(35, "Ask"), (45, "Rollback"), (50, "GoesOn")]


async def test_it_takes_back_what_is_well_again(bench: Bench) -> None:
    bench.policy(errors(action="AlertThenRollback", grace="10m"))
    document = await bench.play({"errors": bad((30, 40))}, *released((20, "v2")))
    assert told(document)[2:4] == [(35, "Ask"), (40, "TakenBack")]
    assert of(document, What.ROLLBACK) == []


async def test_another_release_ends_the_asking(bench: Bench) -> None:
    bench.policy(errors(action="AlertThenRollback", grace="10m"))
    document = await bench.play({"errors": bad((30, 40))}, *released((20, "v2"), (38, "v3")))
    assert (38, "TakenBack") in told(document)
    assert of(document, What.ROLLBACK) == []


async def test_an_alert_is_only_told(bench: Bench) -> None:
    bench.policy(errors(action="Alert"))
    document = await bench.play({"errors": bad((30, 60))}, *released((20, "v2")))
    assert told(document)[2:4] == [(35, "Alert"), (70, "ProvedGood")]


# The policy.


async def test_a_policy_that_only_observes_is_replayed_as_if_it_acted(bench: Bench) -> None:
    bench.policy(mode="Observe", to="3")
    document = await bench.play({"errors": bad((30, 60))}, *released((20, "v2")))
    assert len(of(document, What.ROLLBACK)) == 1
    assert "The policy has mode: Observe; it is replayed as if it were Enforce." in document["notes"]
    assert "The policy has to: 3, which is not known here; it is replayed as Previous." in document["notes"]


async def test_triggers_without_a_past_are_named(bench: Bench) -> None:
    bench.policy(errors(), {"name": "probe", "http": {"url": "http://checkout.shop:8080/"}})
    shown = await bench.shown({"errors": bad()})
    assert "not replayed, for want of a past: probe (http)" in shown


# Releases.


def replica_sets() -> Past:
    """v1 for long, v2 from minute 20:10, back to v1 at 50."""
    return {
        "errors": bad((30, 60)),
        "spec_replicas#checkout-v1": lambda at: 0 if 1215 <= at < 50 * MINUTE else 3,
        "spec_replicas#checkout-v2": lambda at: None if at < 1215 else 3 if at < 50 * MINUTE else 0,
        "created#checkout-v1": lambda _: START - 86_400,
        "created#checkout-v2": lambda at: None if at < 1210 else START + 1210,
    }


async def test_releases_are_read_from_replica_sets(bench: Bench) -> None:
    document = await bench.play(replica_sets())
    moments = [(one["at"], one["to"]) for one in of(document, What.RELEASE)]
    assert moments == [(rfc3339(START + 1210), "2 (v2)"), (rfc3339(START + 50 * MINUTE), "3 (v1)")]
    assert document["notes"][0].startswith("Releases are estimated from the ReplicaSets")
    assert 'kube_replicaset_owner{namespace="shop",owner_kind="Deployment",owner_name="checkout"}' in bench.asked()[1]


async def test_a_gap_in_what_is_known_of_them_is_no_release(bench: Bench) -> None:
    past = replica_sets()
    gappy = {
        name: (lambda at, value=value: None if 100 * MINUTE < at < 120 * MINUTE else value(at))
        for name, value in past.items()
    }
    document = await bench.play(gappy)
    assert len(of(document, What.RELEASE)) == 2


async def test_what_was_gone_back_to_before_the_start_is_what_runs(bench: Bench) -> None:
    shown = await bench.shown(replica_sets(), start=100 * MINUTE)
    assert "3 (v1) runs, since 2026-03-01 10:50:00" in shown
    much_later = await bench.shown(replica_sets(), start=150 * MINUTE)
    assert "3 (v1) runs" in much_later


async def test_generations_do_where_replica_sets_are_not_kept(bench: Bench) -> None:
    past: Past = {"errors": bad((30, 60)), "metadata_generation": lambda at: 7 if at < 20 * MINUTE else 8}
    document = await bench.play(past)
    assert [(_minute(one["at"]), one["to"]) for one in of(document, What.RELEASE)] == [(20, "2 (generation 8)")]
    assert "which scaling moves too" in document["notes"][0]


async def test_else_the_start_counts(bench: Bench) -> None:
    document = await bench.play({"errors": bad((30, 60))})
    assert told(document)[0] == (0, "Release")
    assert document["notes"][0] == (
        "The start counts as a release, because kube-state-metrics says nothing of Deployment/checkout here; "
        "--release says better."
    )


async def test_without_a_namespace_nothing_is_looked_up(bench: Bench) -> None:
    bench.policy(namespace="")
    document = await bench.play({"errors": bad()})
    assert "the policy names no namespace" in document["notes"][0]
    assert bench.asked() == ["errors"]


# Asking.


async def test_what_is_long_is_asked_in_pieces(bench: Bench) -> None:
    bench.policy(errors(interval="1s"))
    document = await bench.play({"errors": bad((30, 60))}, *released((20, "v2")), to=7 * HOUR)
    assert document["summary"]["samples"] == 7 * HOUR + 1
    assert [_minute(one["at"]) for one in of(document, What.ROLLBACK)] == [35]
    counts = [float(one.query["end"]) - float(one.query["start"]) + 1 for one in bench.server.asked]
    assert counts == [MOST_STEPS, MOST_STEPS, 7 * HOUR + 1 - 2 * MOST_STEPS]


async def test_what_is_too_much_for_the_server_is_asked_in_halves(bench: Bench) -> None:
    past = remembering({"errors": bad((30, 60))})

    async def modest(request: web.Request) -> web.StreamResponse:
        if float(request.query["end"]) - float(request.query["start"]) > HOUR:
            said = {
                "status": "error",
                "errorType": "execution",
                "error": "query processing would load too many samples",
            }
            return web.json_response(said, status=422)
        answer: web.StreamResponse = await past(request)
        return answer

    bench.policy()
    bench.server.handler = modest
    span = ("--from", str(START), "--to", str(START + 3 * HOUR))
    arguments = [str(bench.file), "--prometheus", bench.server.url, *span, *released((20, "v2")), "--json"]
    document = json.loads(await backtest(arguments, NOW))
    assert document["summary"]["samples"] == 361
    assert [_minute(one["at"]) for one in of(document, What.ROLLBACK)] == [35]


def test_pieces_are_the_same_moments() -> None:
    grid = Grid.over(START, START + HOUR, 30)
    assert grid.count == 121
    assert [(one.start, one.count) for one in grid.pieces(50)] == [(START, 50), (START + 1500, 50), (START + 3000, 21)]


async def test_a_token_and_headers_are_shown(bench: Bench, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("s3same\n", encoding="utf-8")
    bench.policy(prometheus={"address": "http://elsewhere:9090", "headers": [{"name": "X-Scope-OrgID", "value": "a"}]})
    await bench.play({}, "--token-file", str(token), "--header", "X-Scope-OrgID=shop", "--header", "X-More=a=b")
    headers = bench.server.asked[0].headers
    assert (headers["Authorization"], headers["X-Scope-OrgID"], headers["X-More"]) == ("Bearer s3same", "shop", "a=b")


async def test_the_policys_own_server_is_asked_if_none_is_named(bench: Bench) -> None:
    bench.policy(prometheus={"address": bench.server.url})
    bench.server.handler = remembering({"errors": bad()})
    shown = await backtest([str(bench.file), "--from", "-1h"], NOW)
    assert "121 samples, 0 unknown" in shown


# What is shown.


async def test_people_read_a_table(bench: Bench) -> None:
    shown = await bench.shown({"errors": bad((30, 60))}, *released((20, "v2")))
    goes_on = "What was recorded goes on being bad: it is of the release that nobody rolled back then"
    span = "2026-03-01 10:00:00 to 2026-03-01 13:00:00 UTC (3h)"
    assert shown.splitlines()[:11] == [
        f"Policy shop/checkout for Deployment/checkout, replayed from {span}",
        "  errors: > 5% for 5m, asked every 30s",
        "",
        "TIME (UTC)           WHAT             WHY",
        "2026-03-01 10:00:00  start            1 (before) runs, since nobody knows when",
        "2026-03-01 10:10:00  proved good      1 (before): all triggers were Healthy for the soak time",
        "2026-03-01 10:20:00  release          2 (v2)",
        "2026-03-01 10:30:00  breach           errors: 20% > 5%; lasted 5m",
        "2026-03-01 10:35:00  WOULD ROLL BACK  2 (v2) to 1 (before): errors: 20% > 5% for 5m",
        f"2026-03-01 10:40:30  goes on          {goes_on}",
        "",
    ]
    assert "1 rollback, at 2026-03-01 10:35:00 UTC, 0 alerts; 361 samples, 0 unknown" in shown


async def test_lines_are_broken_for_a_terminal(bench: Bench) -> None:
    bench.policy()
    bench.server.handler = remembering({"errors": bad((30, 60))})
    span = ("--from", str(START), "--to", str(START + 3 * HOUR))
    shown = await backtest([str(bench.file), "--prometheus", bench.server.url, *span], NOW, width=90)
    assert max(len(line) for line in shown.splitlines()) <= 90


def test_many_short_breaches_are_told_as_one() -> None:
    breaches = [
        Event(START + n * HOUR, What.BREACH, "20% > 5%", "errors", until=START + n * HOUR + 60) for n in range(5)
    ]
    release = Event(START + 2.5 * HOUR, What.RELEASE)
    assert [one.what for one in folded(breaches)] == [What.BREACHES]
    assert folded(breaches)[0].why == (
        "5 short ones until 2026-03-01 14:01:00; the longest lasted 1m, from 2026-03-01 10:00:00"
    )
    assert folded([*breaches[:3], release, *breaches[3:]]) == [*breaches[:3], release, *breaches[3:]]


async def test_the_plot_shows_every_trigger_and_what_happened(bench: Bench, tmp_path: Path) -> None:
    bench.policy(errors(), errors(name="slow", when="> 800ms", prometheus={"query": "latency"}))
    past: Past = {
        "errors": lambda at: None if 4000 < at < 6000 else bad((30, 60))(at),
        "latency": lambda _: "NaN",
    }
    file = tmp_path / "plot.svg"
    shown = await bench.shown(past, *released((20, 'v2 "<&>"')), "--plot", str(file))
    assert f"The plot was written to {file}." in shown
    texts = ["".join(one.itertext()) for one in ET.parse(file).iter("{http://www.w3.org/2000/svg}text")]  # noqa: S314 - our own
    for expected in ('release 2 (v2 "<&>")', "ROLL BACK to 1 (before)", "nothing was ever known", "10:30", "20%"):
        assert expected in texts
    assert any(text.startswith("errors> 5% for 5m") for text in texts)


async def test_a_plot_of_a_long_range_stays_small(bench: Bench, tmp_path: Path) -> None:
    bench.policy(errors(interval="1s"))
    file = tmp_path / "plot.svg"
    await bench.play({"errors": lambda at: (at % 7) / 200}, *released((20, "v2")), "--plot", str(file), to=7 * HOUR)
    assert file.stat().st_size < 200_000


# Arguments.

GOOD = """\
kind: RollbackPolicy
metadata: {name: shop, namespace: shop}
spec: {target: {kind: Deployment, name: shop}, triggers: [TRIGGERS]}
"""
TRIGGER = "{name: errors, prometheus: {query: errors}, when: '> 5%', for: 5m}"
HOST = "--prometheus=http://127.0.0.1:1"
POLICIES = {
    "a request": ("kind: RollbackRequest\n", "holds no RollbackPolicy of rollback.dev"),
    "no YAML": ("a: [\n", "is not YAML: "),
    "a text": ("hello\n", "holds no RollbackPolicy"),
    "no spec": ("kind: RollbackPolicy\nmetadata: {name: x}\n", "spec: write the orders of policy x; there are none"),
    "another kind of target": (GOOD.replace("kind: Deployment", "kind: Pod"), "spec.target.kind: "),
    "no trigger": (GOOD.replace("TRIGGERS", ""), "policy shop/shop has no prometheus trigger"),
    "another trigger": (
        GOOD.replace("TRIGGERS", "{name: stuck, rollout: {progressDeadlineExceeded: true}}"),
        "has no prometheus trigger: nothing else has a past to replay",
    ),
    "a threshold without a comparison": (
        GOOD.replace("TRIGGERS", TRIGGER.replace("> 5%", "5%")),
        "spec.triggers[0].when: '5%': write when an answer is bad",
    ),
    "no threshold": (GOOD.replace("TRIGGERS", "{name: errors, prometheus: {query: errors}}"), "write `when`"),
    "two sources": (
        GOOD.replace("TRIGGERS", TRIGGER.replace("when", "alert: {}, when")),
        "spec.triggers[0] (errors): write exactly one of prometheus, http, pods, rollout, alert",
    ),
    "no duration": (
        GOOD.replace("TRIGGERS", TRIGGER.replace("5m", "5 minutes")),
        "spec.triggers[0].for: '5 minutes': write a duration",
    ),
    "no interval": (GOOD.replace("TRIGGERS", TRIGGER.replace("for: 5m", "interval: 0s")), "an interval of at least 1s"),
    "a field that is none": (
        GOOD.replace("TRIGGERS", TRIGGER.replace("for", "foor")),
        "spec.triggers[0].foor: there is no such field; there are name, prometheus,",
    ),
    "a name twice": (GOOD.replace("TRIGGERS", f"{TRIGGER}, {TRIGGER}"), "two are named errors"),
    "several": (f"{GOOD}---\n{GOOD.replace('name: shop, n', 'name: cart, n')}", "say with --name which of shop, cart"),
}


@pytest.mark.parametrize("case", POLICIES)
def test_a_file_that_is_no_policy_is_refused_in_one_line(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, expected = POLICIES[case]
    file = tmp_path / "policy.yaml"
    file.write_text(text, encoding="utf-8")
    assert cli.main([str(file), HOST, "--from", "-1h"]) == 2
    assert_one_line(capsys, expected)


def assert_one_line(capsys: pytest.CaptureFixture[str], expected: str) -> None:
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("rollback-operator backtest: ")
    assert expected in err


ARGUMENTS = {
    "nothing": ([], "the following arguments are required: POLICY, --from"),
    "no such file": (["/nowhere.yaml", HOST, "--from", "-1h"], "/nowhere.yaml: No such file or directory"),
    "no time": (["POLICY", HOST, "--from", "yesterday"], "--from 'yesterday' is not a time: write "),
    "a time without a zone": (["POLICY", HOST, "--from", "2026-03-01T10:00:00"], "names no zone: add Z"),
    "milliseconds": (["POLICY", HOST, "--from", "1772359200000"], "not milliseconds"),
    "a range that is none": (["POLICY", HOST, "--from", "-1h", "--to", "-2h"], "--from -1h is not before --to -2h"),
    "the future": (["POLICY", HOST, "--from", "-1h", "--to", "4000000000"], "--to 4000000000 is in the future"),
    "a release that is no time": (["POLICY", HOST, "--from", "-1h", "--release", "x"], "--release 'x' is not a time"),
    "a release after the end": (
        ["POLICY", HOST, "--from", "-2h", "--to", "-1h", "--release", "now"],
        "--release now is after --to -1h",
    ),
    "an option that is none": (["POLICY", HOST, "--from", "-1h", "--plott", "x.svg"], "--plott"),
    "no server": (["POLICY", "--from", "-1h"], "say which server to ask"),
    "an address that is none": (["POLICY", "--prometheus", "localhost:9090", "--from", "-1h"], "is not an address"),
    "a server that is not there": (["POLICY", HOST, "--from", "-1h"], "connection refused"),
    "a header that is none": (["POLICY", HOST, "--from", "-1h", "--header", "nothing"], "is not of the form K=V"),
    "no token": (["POLICY", HOST, "--from", "-1h", "--token-file", "/nowhere"], "--token-file /nowhere: it does not"),
    "another kind of picture": (["POLICY", HOST, "--from", "-1h", "--plot", "a.png"], "the plot is an SVG"),
    "a folder that is none": (["POLICY", HOST, "--from", "-1h", "--plot", "/no/a.svg"], "there is no folder /no"),
    "a name that is none": (["POLICY", HOST, "--from", "-1h", "--name", "x"], "no policies named x; there is shop"),
    "too much": (["POLICY", HOST, "--from", "-1000d"], "choose a shorter range"),
}


@pytest.mark.parametrize("case", ARGUMENTS)
def test_bad_arguments_get_one_line(case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments, expected = ARGUMENTS[case]
    file = tmp_path / "policy.yaml"
    file.write_text(GOOD.replace("TRIGGERS", TRIGGER), encoding="utf-8")
    assert cli.main([str(file) if one == "POLICY" else one for one in arguments]) == 2
    assert_one_line(capsys, expected)


REFUSALS = {
    400: (
        '{"status": "error", "errorType": "bad_data", "error": "1:1: parse error:\\nno expression"}',
        "trigger errors, prometheus: SERVER does not take the query: 1:1: parse error: no expression",
    ),
    401: ("", "SERVER answered 401: show it a token with --token-file, or send a --header"),
    404: ("", "SERVER answered 404: check the address and its path"),
    422: (
        '{"status": "error", "errorType": "execution", "error": "many-to-many matching"}',
        "trigger errors, prometheus: SERVER answered 422 (many-to-many matching)",
    ),
    200: ("<html>", "SERVER does not answer as Prometheus does: check the address and its path"),
}


@pytest.mark.parametrize("status", REFUSALS)
async def test_what_a_server_refuses_is_said_in_its_words(bench: Bench, status: int) -> None:
    body, expected = REFUSALS[status]
    bench.policy()
    bench.server.handler = saying(body, status)
    with pytest.raises(Problem) as caught:
        await backtest([str(bench.file), "--prometheus", bench.server.url, "--from", "-1h"], NOW)
    assert str(caught.value) == expected.replace("SERVER", bench.server.url)


MOMENTS = {
    "2026-03-01T10:00:00Z": START,
    "2026-03-01T19:00:00+09:00": START,
    "2026-03-01 10:00:00.5Z": START + 0.5,
    "1772359200": START,
    "now": NOW,
    "-6h": NOW - 6 * HOUR,
    "-1d12h": NOW - 36 * HOUR,
}


@pytest.mark.parametrize("text", MOMENTS)
def test_a_time_is_read(text: str) -> None:
    assert parse_moment(text, "--from", NOW) == MOMENTS[text]


@pytest.mark.parametrize(
    "seconds,words", [(30, "30s"), (210, "3m30s"), (3 * HOUR, "3h"), (90_000, "1d1h"), (86_399.9, "1d")]
)
def test_a_length_is_read(seconds: float, words: str) -> None:
    assert length(seconds) == words


# The program.


def test_the_program_makes_backtests(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["rollback-operator", "backtest", "/nowhere.yaml", "--from", "-1h"])
    with pytest.raises(SystemExit) as ended:
        program.main()
    assert ended.value.code == 2
    assert_one_line(capsys, "/nowhere.yaml: No such file or directory")


def test_the_operator_does_not_carry_them() -> None:
    code = "import rollback_operator.__main__, sys; sys.exit('rollback_operator.backtest' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0
