"""A real Prometheus and a real Alertmanager, and what tests put before and behind them."""

import http.client
import json
import math
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from testbed import Cluster, TestbedError
from testbed.monitoring import Alertmanager, Exporter, Fault, FaultyServer, Prometheus, Series, Webhook, pods_of
from testbed.processes import Identity
from testbed.series import openmetrics

pytestmark = pytest.mark.usefixtures("monitoring")


@pytest.fixture
def shop() -> Iterator[Exporter]:
    with Exporter() as exporter:
        yield exporter


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory, monitoring: None) -> Iterator[Prometheus]:  # noqa: ARG001
    """One that scrapes nothing, for all tests that push or ask."""
    with Prometheus.start(tmp_path_factory.mktemp("empty") / "prometheus") as prometheus:
        yield prometheus


def pids(prometheus: Prometheus) -> list[int]:
    return [component.identity.pid for component in prometheus._roster.components]


def ask(server: FaultyServer, promql: str = "vector(1)", timeout: float = 60) -> Any:
    url = f"{server.url}/api/v1/query?query={urllib.parse.quote(promql)}"
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=timeout) as answer:
        return json.load(answer)["data"]["result"]


def test_what_an_exporter_says_is_scraped_and_nothing_is_left(shop: Exporter, tmp_path: Path) -> None:
    shop.set("queue_length", {"queue": 'of "orders"'}, 7)
    with Prometheus.start(tmp_path / "prometheus", scrape_configs=[shop.job("shop", {"pod": "a"})]) as prometheus:
        (found,) = prometheus.wait("queue_length")
        numbers = pids(prometheus)
    assert found["metric"] == {
        "__name__": "queue_length",
        "queue": 'of "orders"',
        "pod": "a",
        "job": "shop",
        "instance": shop.target,
    }
    assert found["value"][1] == "7"
    assert [Identity.of(number) for number in numbers] == [None]
    assert not (tmp_path / "prometheus").exists()


def test_a_counter_that_grows_has_a_rate_and_a_dead_exporter_is_noticed(shop: Exporter, tmp_path: Path) -> None:
    shop.grow("requests_total", {"code": "500"}, per_second=20)
    with Prometheus.start(tmp_path / "prometheus", scrape_configs=[shop.job("shop", interval="200ms")]) as prometheus:
        prometheus.wait("rate(requests_total[5s]) > 15 < 25")
        shop.down()
        prometheus.wait("up == 0")
        shop.up()
        prometheus.wait("up == 1")


def test_what_is_reloaded_counts_and_what_is_wrong_is_refused(shop: Exporter, tmp_path: Path) -> None:
    shop.set("height", {}, 2)
    with Prometheus.start(tmp_path / "prometheus") as prometheus:
        prometheus.reload(scrape_configs=[shop.job("shop")], rules=[{"record": "double", "expr": "height * 2"}])
        prometheus.wait("double == 4")
        with pytest.raises(TestbedError, match="could not parse expression"):
            prometheus.reload(rules=[{"record": "double", "expr": "height *"}])


def test_data_and_address_survive_a_restart_and_a_kill(tmp_path: Path) -> None:
    with Prometheus.start(tmp_path / "prometheus") as prometheus:
        url = prometheus.url
        prometheus.push(Series("height", {"of": "wall"}, [(time.time(), 3)]))
        prometheus.restart()
        assert prometheus.values("height") == [3]
        prometheus.down()
        with pytest.raises(OSError, match="refused"):
            prometheus.query("height")
        prometheus.up()
        assert prometheus.url == url
        assert prometheus.values("height") == [3]


def test_history_is_there_from_the_start(tmp_path: Path) -> None:
    now = time.time()
    leak = Series.over("memory_bytes", {"pod": "b"}, lambda at: at - now + 10800, start=now - 10800, end=now)
    flat = Series.over("memory_bytes", {"pod": "a"}, lambda _: 5.5, start=now - 10800, end=now)
    with Prometheus.start(tmp_path / "prometheus", history=[leak, flat]) as prometheus:
        (series,) = prometheus.query_range('memory_bytes{pod="b"}', now - 10800, now - 15)
        assert len(series["values"]) == len(leak.samples)
        assert prometheus.values('deriv(memory_bytes{pod="b"}[15m])') == [pytest.approx(1)]
        assert prometheus.values('min_over_time(memory_bytes{pod="a"}[3h])', at=now) == [5.5]
        prometheus.push(Series("memory_bytes", {"pod": "a"}, [(time.time(), 1.0)]))
        assert prometheus.values('memory_bytes{pod="a"}') == [1]


def test_samples_of_the_past_can_be_pushed(empty: Prometheus) -> None:
    now = time.time()
    labels = {"job": "pushed", "instance": "i", "le": "+Inf"}
    empty.push(Series("requests_total", labels, [(now, 600)]))
    empty.push(Series.over("requests_total", labels, lambda at: 600 + at - now, start=now - 3600, end=now - 1))
    assert empty.values('rate(requests_total{job="pushed"}[10m])', at=now) == [pytest.approx(1, rel=0.05)]
    (found,) = empty.query('requests_total{job="pushed"}')
    assert found["metric"] == {"__name__": "requests_total", **labels}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 0.1])
def test_every_value_arrives_as_it_is(shop: Exporter, tmp_path: Path, value: float) -> None:
    shop.set("odd", {"way": "scraped"}, value)
    past = Series("odd", {"way": "remembered"}, [(time.time() - 5, value)])
    with Prometheus.start(tmp_path / "prometheus", scrape_configs=[shop.job("shop")], history=[past]) as prometheus:
        prometheus.push(Series("odd", {"way": "pushed"}, [(time.time(), value)]))
        prometheus.wait('odd{way="scraped"}')
        assert [repr(one) for one in prometheus.values("odd")] == [repr(value)] * 3


def test_an_alert_reaches_the_webhook_within_seconds_and_so_does_its_end(shop: Exporter, tmp_path: Path) -> None:
    rule = {
        "alert": "TooManyErrors",
        "expr": "errors > 5",
        "labels": {"rollback_policy": "checkout"},
        "annotations": {"summary": "{{ $value }} errors"},
    }
    shop.set("errors", {"namespace": "shop"}, 9)
    with (
        Webhook() as webhook,
        Alertmanager.start(tmp_path / "alertmanager", webhook.url, token="secret") as alertmanager,
        Prometheus.start(
            tmp_path / "prometheus", scrape_configs=[shop.job("shop")], rules=[rule], alertmanager=alertmanager.url
        ),
    ):
        webhook.wait(lambda asked: asked)
        shop.set("errors", {"namespace": "shop"}, 0)
        webhook.wait(lambda asked: json.loads(asked[-1].body)["status"] == "resolved")
    first = json.loads(webhook.asked[0].body)["alerts"]
    assert first[0]["status"] == "firing"
    assert first[0]["labels"]["rollback_policy"] == "checkout"
    assert first[0]["annotations"] == {"summary": "9 errors"}
    assert webhook.asked[0].headers["authorization"] == "Bearer secret"


def test_an_alert_can_be_fired_without_prometheus(tmp_path: Path) -> None:
    with Webhook() as webhook, Alertmanager.start(tmp_path / "alertmanager", webhook.url) as alertmanager:
        for name in ("first", "second"):
            alertmanager.fire({"alertname": name}, {"summary": "by hand"})
        webhook.wait(lambda asked: len(asked) >= 2)
        assert {alert["labels"]["alertname"] for alert in alertmanager.alerts()} == {"first", "second"}
        alertmanager.resolve({"alertname": "first"})
        webhook.wait(lambda asked: json.loads(asked[-1].body)["status"] == "resolved")


def test_pods_that_ask_for_it_are_scraped(
    shop: Exporter, fake_cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    shop.set("requests", {}, 1)
    annotations = {"prometheus.io/scrape": "true", "prometheus.io/port": shop.target.rpartition(":")[2]}
    for name, wanted in (("scraped", annotations), ("silent", {})):
        # Nobody schedules them, so that the address that they are given here stays.
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "labels": {"app": "web"}, "annotations": wanted},
            "spec": {"schedulerName": "none", "containers": [{"name": "web", "image": "web:1"}]},
        }
        fake_cluster.kubectl("-n", namespace, "apply", "-f", "-", input=yaml.safe_dump(pod))
        status = json.dumps({"status": {"podIP": "127.0.0.1", "podIPs": [{"ip": "127.0.0.1"}]}})
        fake_cluster.kubectl("-n", namespace, "patch", "pod", name, "--subresource=status", "-p", status)
    jobs = [pods_of(fake_cluster.kubeconfig, namespace)]
    with Prometheus.start(tmp_path / "prometheus", scrape_configs=jobs) as prometheus:
        (found,) = prometheus.wait("requests")
        assert len(prometheus.targets()) == 1
    assert found["metric"].items() >= {("namespace", namespace), ("pod", "scraped"), ("app", "web")}


def test_a_healthy_faulty_server_passes_everything_on(empty: Prometheus) -> None:
    with FaultyServer(empty.url) as server:
        assert ask(server)[0]["value"][1] == "1"
        assert server.asked[-1].query == "vector(1)"
        with pytest.raises(urllib.error.HTTPError, match="400"):
            ask(server, "vector(")


def test_faults_hit_the_queries_that_they_are_for(empty: Prometheus) -> None:
    with FaultyServer(empty.url) as server:
        server.inject(Fault.status(503, Retry_After="7"), query="errors")
        server.inject(Fault.vector("NaN", "0.5"), query="errors_of_another")
        server.inject(Fault.vector(), query="latency")
        with pytest.raises(urllib.error.HTTPError) as raised:
            ask(server, "errors")
        assert (raised.value.code, raised.value.headers["Retry-After"]) == (503, "7")
        raised.value.close()
        assert [series["value"][1] for series in ask(server, "errors_of_another")] == ["NaN", "0.5"]
        assert ask(server, "latency") == []
        assert ask(server)[0]["value"][1] == "1"
        server.heal()
        assert ask(server, "errors") == []


@pytest.mark.parametrize("body", [b"", b'{"status":"success"}'])
def test_a_connection_breaks(empty: Prometheus, body: bytes) -> None:
    with FaultyServer(empty.url) as server:
        server.inject(Fault.cut(body))
        with pytest.raises((OSError, http.client.HTTPException)):
            ask(server)


def test_a_slow_answer_outlasts_patience_but_not_the_server(empty: Prometheus) -> None:
    with FaultyServer(empty.url) as server:
        server.inject(Fault(slow=600))
        started = time.monotonic()
        with pytest.raises(TimeoutError):
            ask(server, timeout=0.2)
        server.inject(Fault(slow=0.2))
        assert ask(server)[0]["value"][1] == "1"
    assert time.monotonic() - started < 300


def test_refused_connections_are_taken_again_at_the_same_address(empty: Prometheus) -> None:
    with FaultyServer(empty.url) as server:
        server.down()
        with pytest.raises(urllib.error.URLError, match="refused"):
            ask(server)
        server.up()
        assert ask(server)[0]["value"][1] == "1"


def test_a_folder_that_is_there_is_not_taken(tmp_path: Path) -> None:
    with pytest.raises(TestbedError, match="exists"):
        Prometheus.start(tmp_path)
    assert tmp_path.exists()


def test_a_start_that_fails_quotes_the_log_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(TestbedError, match="no_such_setting"):
        Prometheus.start(tmp_path / "prometheus", scrape_configs=[{"job_name": "a", "no_such_setting": 1}])
    assert list(tmp_path.iterdir()) == []


def test_flags_win_over_ours(tmp_path: Path) -> None:
    flag = "--rules.alert.resend-delay=9s"
    with Prometheus.start(tmp_path / "prometheus", flags=[flag]) as prometheus:
        answer = json.loads(prometheus.call("/api/v1/status/flags"))
    assert answer["data"]["rules.alert.resend-delay"] == "9s"


def test_openmetrics_puts_together_what_has_one_name() -> None:
    text = openmetrics(
        [Series("a", {"x": "1"}, [(1, 1)]), Series("b", {}, [(1, 2)]), Series("a", {"x": 'q"'}, [(2, 3)])]
    )
    assert text.splitlines() == ['a{x="1"} 1 1.000', 'a{x="q\\""} 3 2.000', "b{} 2 1.000", "# EOF"]
