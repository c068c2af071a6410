"""Prometheus and Alertmanager as processes of this machine.

with Exporter() as shop, Prometheus.start(folder, scrape_configs=[shop.job("shop")]) as prometheus:
    shop.grow("http_requests_total", {"code": "500"}, per_second=5)
    prometheus.wait('rate(http_requests_total{code="500"}[5s]) > 1')
"""

import json
import subprocess
import urllib.parse
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import yaml

from testbed.alerting import Alertmanager
from testbed.binaries import Binaries
from testbed.errors import TestbedError
from testbed.faulty import Fault, FaultyServer
from testbed.listeners import Exporter, Webhook
from testbed.series import Series, openmetrics, otlp
from testbed.servers import Server

__all__ = ["Alertmanager", "Exporter", "Fault", "FaultyServer", "Prometheus", "Series", "Webhook", "pods_of"]

Config = Mapping[str, Any]
Rules = Sequence[Config] | Mapping[str, Sequence[Config]]


class Prometheus(Server):
    """A Prometheus of its own."""

    def __init__(
        self, folder: Path, *, alertmanager: str | None, flags: Sequence[str], address: str, interval: str
    ) -> None:
        """Use `start`."""
        super().__init__("prometheus", folder, address, flags)
        self._alertmanager = alertmanager
        self._interval = interval

    @classmethod
    def start(
        cls,
        folder: Path,
        *,
        scrape_configs: Sequence[Config] = (),
        rules: Rules = (),
        alertmanager: str | None = None,
        history: Iterable[Series] | str = (),
        flags: Sequence[str] = (),
        address: str = "127.0.0.1",
        interval: str = "1s",
    ) -> Self:
        """Start one and wait until it is ready.

        Args:
            folder: where its files go, a folder that does not exist yet.
            scrape_configs: as in its configuration; see `Exporter.job` and `pods_of`.
            rules: alerting and recording rules, which are evaluated in this order; or several groups of them by name,
                each of which is evaluated at moments of its own.
            alertmanager: the address of an Alertmanager (its `url`).
            history: what it remembers already, or that as OpenMetrics text.
            flags: more flags in the form `--name=value`, which win over ours.
            address: to listen on; a real node's pods reach `network.GATEWAY`, and so does this machine.
            interval: between two scrapes of a target, and between two evaluations of the rules.

        Raises:
            TestbedError: when it does not come up, with the end of its log.
        """
        Binaries.ensure(("prometheus", "promtool"))
        prometheus = cls(folder, alertmanager=alertmanager, flags=flags, address=address, interval=interval)
        try:
            prometheus._configure(scrape_configs, rules)
            prometheus._remember(history)
            prometheus.up()
        except BaseException:
            prometheus.stop()
            raise
        return prometheus

    def reload(self, *, scrape_configs: Sequence[Config] | None = None, rules: Rules | None = None) -> None:
        """Have it read its configuration again, with these instead of what there was.

        Raises:
            TestbedError: when it refuses it, with the end of its log; it goes on with what it had, until a restart.
        """
        self._configure(scrape_configs, rules)
        try:
            self.call("/-/reload", b"")
        except TestbedError as error:
            raise TestbedError(f"{error}{self.tail(5)}") from None

    def query(self, promql: str, at: float | None = None) -> Any:
        """The `result` of an instant query, at a time in seconds since the epoch, by default now.

        Raises:
            OSError: when it cannot be reached.
            TestbedError: when it refuses the query.
        """
        return self._ask("query", {"query": promql} | ({} if at is None else {"time": f"{at:.3f}"}))

    def query_range(self, promql: str, start: float, end: float, step: float = 15) -> Any:
        """The `result` of a range query, in seconds; otherwise as `query`."""
        return self._ask(
            "query_range", {"query": promql, "start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step:.3f}"}
        )

    def values(self, promql: str, at: float | None = None) -> list[float]:
        """The values alone of an instant query that gives a vector."""
        return [float(series["value"][1]) for series in self.query(promql, at)]

    def wait(self, promql: str, timeout: float = 120) -> Any:
        """Ask until a query gives something, which is given back.

        Raises:
            TestbedError: when it gives nothing for `timeout` seconds.
        """
        found: list[Any] = []

        def asked() -> bool:
            found[:] = self.query(promql)
            return bool(found)

        self.wait_until(asked, f"Waiting for {promql}", timeout)
        return found

    def push(self, *series: Series) -> None:
        """Add samples, of this moment or of the last day.

        Raises:
            TestbedError: when it refuses them.
        """
        self.call("/api/v1/otlp/v1/metrics", otlp(series))

    def targets(self) -> list[dict[str, Any]]:
        """What it scrapes, and how that goes."""
        found: list[dict[str, Any]] = json.loads(self.call("/api/v1/targets?state=active"))["data"]["activeTargets"]
        return found

    def _ask(self, what: str, parameters: Mapping[str, str]) -> Any:
        body = urllib.parse.urlencode(parameters).encode()
        return json.loads(self.call(f"/api/v1/{what}", body, "application/x-www-form-urlencoded"))["data"]["result"]

    def _configure(self, scrape_configs: Sequence[Config] | None, rules: Rules | None) -> None:
        if scrape_configs is not None:
            config = _config(scrape_configs, self._alertmanager, self._interval)
            self.write("prometheus.yml", yaml.safe_dump(config))
        if rules is not None:
            named = rules if isinstance(rules, Mapping) else {"testbed": rules}
            groups = [{"name": name, "rules": list(group)} for name, group in named.items() if group]
            self.write("rules.yml", yaml.safe_dump({"groups": groups}))

    def _remember(self, history: Iterable[Series] | str) -> None:
        text = history if isinstance(history, str) else openmetrics(history)
        source = self.write("history.txt", text)
        data = self.folder / "data"
        data.mkdir()
        promtool = Binaries().path("promtool")
        done = subprocess.run(
            [promtool, "tsdb", "create-blocks-from", "openmetrics", source, data],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise TestbedError(f"Prometheus cannot take the history: {done.stdout}{done.stderr}")

    def _arguments(self) -> list[str]:
        return [
            f"--config.file={self.folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={self.folder / 'data'}",
            f"--web.listen-address={self.listen}",
            "--web.enable-lifecycle",
            "--web.enable-otlp-receiver",
            "--web.enable-remote-write-receiver",
            # Tests do not wait for what is meant for clusters: new targets after 5 s, what was not told after 1 min.
            "--scrape.discovery-reload-interval=100ms",
            "--rules.alert.resend-delay=5s",
        ]


def pods_of(kubeconfig: Path, namespace: str | None = None, interval: str = "1s") -> dict[str, Any]:
    """A scrape configuration for the pods of a cluster, or of one namespace, that ask for it.

    They do by the annotations `prometheus.io/scrape: "true"`, `prometheus.io/port` and perhaps `prometheus.io/path`.
    Series get the labels `namespace`, `pod` and those of the pod.
    """
    meta = "__meta_kubernetes_pod"
    annotation = f"{meta}_annotation_prometheus_io"
    discovery = {"role": "pod", "kubeconfig_file": str(kubeconfig)}
    return {
        "job_name": "pods",
        "scrape_interval": interval,
        "kubernetes_sd_configs": [discovery | ({"namespaces": {"names": [namespace]}} if namespace else {})],
        "relabel_configs": [
            {"action": "keep", "source_labels": [f"{annotation}_scrape"], "regex": "true"},
            # One target for each pod, however many ports its containers name.
            {
                "action": "replace",
                "source_labels": [f"{meta}_ip", f"{annotation}_port"],
                "separator": ":",
                "target_label": "__address__",
            },
            {"source_labels": [f"{annotation}_path"], "regex": "(.+)", "target_label": "__metrics_path__"},
            {"action": "labelmap", "regex": f"{meta}_label_(.+)"},
            {"source_labels": ["__meta_kubernetes_namespace"], "target_label": "namespace"},
            {"source_labels": [f"{meta}_name"], "target_label": "pod"},
        ],
    }


def _config(scrape_configs: Sequence[Config], alertmanager: str | None, interval: str) -> dict[str, Any]:
    address = urllib.parse.urlsplit(alertmanager or "").netloc
    return {
        "global": {"scrape_interval": interval, "evaluation_interval": interval},
        "rule_files": ["rules.yml"],
        "scrape_configs": [dict(config) for config in scrape_configs],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [address]}]}] if address else []},
        # What is pushed keeps its name, and may be older than what is there.
        "otlp": {"translation_strategy": "NoTranslation"},
        "storage": {"tsdb": {"out_of_order_time_window": "1d"}},
    }
