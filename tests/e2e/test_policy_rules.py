"""The rules that most services want, as the example file has them, minutes and all: Prometheus remembers an hour.

Each of them has been bad for all but its last half minute when the operator is started; what nobody remembers (health
checks, restarts of pods) is lived through.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml

from testbed import Cluster
from testbed.monitoring import Exporter, Prometheus, Series
from tests.e2e.conftest import namespace_in
from tests.e2e.watched import Operator, Watched
from tests.e2e.world import ROOT, World, condition, outcome, until, web

MINUTE = 60.0
HOUR = 60 * MINUTE
LEFT = MINUTE / 2
"""Of each rule's time, how much is left to come when Prometheus is started."""
EXAMPLE = (ROOT / "examples" / "rollbackpolicy-rules.yaml").read_text()


@dataclass(frozen=True)
class Case:
    """A service: what is bad about it, for how long that is to last, and since when it has its release."""

    bad: str = ""
    lasts: float = 0
    released: float = 20 * MINUTE


CASES = {
    "errors": Case("errors", 5 * MINUTE),
    "long-after": Case("errors", 5 * MINUTE, released=3 * HOUR),
    "slow": Case("slow", 10 * MINUTE),
    "leak": Case("memory", 15 * MINUTE, released=3 * HOUR),
    "health": Case("health"),
    "crashes": Case("crashes"),
    "well": Case(),
}


class Past:
    """What Prometheus remembers of the services, and of some minutes to come."""

    def __init__(self, namespaces: dict[str, str]) -> None:
        self._namespaces = namespaces
        self.now = time.time()

    def since(self, name: str) -> float:
        """When a service began to be bad."""
        return self.now + LEFT - CASES[name].lasts

    def series(self) -> Iterator[Series]:
        for name, case in CASES.items():
            since = self.since(name)
            yield from self._requests(name, since if case.bad == "errors" else math.inf)
            yield from self._durations(name, since if case.bad == "slow" else math.inf)
            yield from self._memory(name, since if case.bad == "memory" else math.inf)

    def _requests(self, name: str, since: float) -> Iterator[Series]:
        """As many errors as answers, from then on."""
        yield self._counter(name, "http_requests_total", {"app": "checkout", "code": "200"})
        yield self._counter(name, "http_requests_total", {"app": "checkout", "code": "500"}, first=since)

    def _durations(self, name: str, since: float) -> Iterator[Series]:
        """Half a second at the most, and between two and a half and five from then on."""
        for le, last in (("0.5", since), ("2.5", since), ("5", math.inf), ("+Inf", math.inf)):
            labels = {"app": "checkout", "le": le}
            yield self._counter(name, "http_request_duration_seconds_bucket", labels, last=last)

    def _memory(self, name: str, since: float) -> Iterator[Series]:
        pod = {"pod": "checkout-1", "container": "web"}
        limit = {**pod, "resource": "memory"}
        yield self._over(name, "container_memory_working_set_bytes", pod, lambda at: 95 if at > since else 50)
        yield self._over(name, "kube_pod_container_resource_limits", limit, lambda _: 100)

    def _counter(
        self, name: str, metric: str, labels: dict[str, str], *, first: float = -math.inf, last: float = math.inf
    ) -> Series:
        """A counter that grows by ten a second from `first` to `last`."""
        first = max(first, self.now - HOUR)
        return self._over(name, metric, labels, lambda at: 10 * max(0.0, min(at, last) - first))

    def _over(self, name: str, metric: str, labels: dict[str, str], value: Callable[[float], float]) -> Series:
        where = {"namespace": self._namespaces[name], **labels}
        return Series.over(metric, where, value, start=self.now - HOUR, end=self.now + 20 * MINUTE)


@pytest.fixture(scope="module")
def settings() -> dict[str, str]:
    return {"allowed_networks": "127.0.0.0/8", "guard": "0"}


@pytest.fixture(scope="module")
def namespaces(fake_cluster: Cluster) -> Iterator[dict[str, str]]:
    with ExitStack() as stack:
        yield {name: stack.enter_context(namespace_in(fake_cluster)) for name in CASES}


@pytest.fixture(scope="module")
def releases(namespaces: dict[str, str], fake_cluster: Cluster) -> dict[str, World]:
    """Each with two releases, before the clock starts by which they are bad."""
    found = {name: World(fake_cluster, namespace) for name, namespace in namespaces.items()}

    def begin(world: World) -> None:
        world.grant()
        for number in (1, 2):
            world.release(web(f"shop:{number}", name="checkout", replicas=1))

    with ThreadPoolExecutor(4) as people:
        list(people.map(begin, found.values()))
    return found


@pytest.fixture(scope="module")
def past(namespaces: dict[str, str], releases: dict[str, World], operator: Operator) -> Past:  # noqa: ARG001
    return Past(namespaces)


@pytest.fixture(scope="module")
def remembering(
    past: Past,
    monitoring: None,  # noqa: ARG001
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Prometheus]:
    folder = tmp_path_factory.mktemp("remembering") / "prometheus"
    with Prometheus.start(folder, history=past.series()) as prometheus:
        yield prometheus


@pytest.fixture(scope="module")
def probes() -> Iterator[dict[str, Exporter]]:
    with ExitStack() as stack:
        yield {name: stack.enter_context(Exporter()) for name in CASES}


@pytest.fixture(scope="module")
def services(
    namespaces: dict[str, str],
    remembering: Prometheus,
    probes: dict[str, Exporter],
    operator: Operator,
    fake_cluster: Cluster,
) -> dict[str, Watched]:
    """Each with a policy that is the example, and with a release that was made a while ago."""
    found = {name: Watched(fake_cluster, namespaces[name], remembering) for name in CASES}

    def begin(name: str) -> None:
        shop = found[name]
        shop.apply(example(shop.namespace, remembering.url, probes[name].url))
        shop.waits("current.revision", "2", "checkout")

    with ThreadPoolExecutor(4) as people:
        list(people.map(begin, found))
    operator.kill()
    for name, shop in found.items():
        _age(shop, CASES[name].released)
    _crash(found["crashes"])
    probes["health"].down()
    operator.again()
    return found


def example(namespace: str, prometheus: str, service: str) -> dict[str, Any]:
    """The example in another namespace, with addresses of this machine."""
    text = EXAMPLE.replace("http://prometheus.monitoring:9090", prometheus)
    text = text.replace("http://checkout.shop:8080", service).replace('namespace="shop"', f'namespace="{namespace}"')
    body: dict[str, Any] = yaml.safe_load(text)
    body["metadata"]["namespace"] = namespace
    return body


def _age(shop: Watched, seconds: float) -> None:
    """Have the release be older than it is."""
    since = datetime.fromtimestamp(time.time() - seconds, UTC).isoformat()
    patch = json.dumps({"status": {"current": {"since": since}}})
    shop.kubectl("patch", "rbp", "checkout", "--subresource=status", "--type=merge", "-p", patch)


def _crash(shop: Watched) -> None:
    """Have the container of the one pod have restarted six times."""
    (pod,) = json.loads(shop.kubectl("get", "pods", "-o", "json", "--field-selector=status.phase=Running"))["items"]
    container = {"name": "web", "image": "shop:2", "imageID": "", "ready": False, "restartCount": 6, "state": {}}
    patch = json.dumps({"status": {"containerStatuses": [container]}})
    shop.kubectl("patch", "pod", pod["metadata"]["name"], "--subresource=status", "--type=merge", "-p", patch)


def asked_at(shop: Watched) -> float:
    """When the policy's request was made."""
    (creation,) = shop.creations()
    return datetime.fromisoformat(creation["requestReceivedTimestamp"]).timestamp()


def test_errors_of_more_than_5_percent_for_5_minutes(services: dict[str, Watched], past: Past) -> None:
    shop = services["errors"]

    name = shop.made("checkout")

    shop.is_back("shop:1", "checkout")
    assert shop.get("rbr", name)["spec"]["reason"].startswith("high-error-rate: 50% > 5%")
    assert 5 * MINUTE <= asked_at(shop) - past.since("errors") < 7 * MINUTE


def test_errors_that_begin_long_after_the_release_are_only_told(services: dict[str, Watched]) -> None:
    shop = services["long-after"]

    said = shop.says("Alert", "NoRecentChange", "checkout")

    assert "It began more than 1h after Deployment/checkout last changed" in said
    assert (shop.requests("checkout"), shop.image("checkout")) == ([], "shop:2")


def test_a_p95_of_more_than_2_seconds_for_10_minutes_asks_people(services: dict[str, Watched], past: Past) -> None:
    shop = services["slow"]

    name = shop.made("checkout")

    shop.in_phase(name, "AwaitingApproval")
    spec = shop.get("rbr", name)["spec"]
    assert (spec["grace"], spec["reason"].split(":")[0]) == ("5m", "slow")
    assert 10 * MINUTE <= asked_at(shop) - past.since("slow") < 12 * MINUTE
    assert shop.image("checkout") == "shop:2"
    shop.answer(name, approve=True)
    shop.is_back("shop:1", "checkout")


def test_memory_of_more_than_90_percent_for_15_minutes_however_old_the_release(
    services: dict[str, Watched], past: Past
) -> None:
    shop = services["leak"]

    name = shop.made("checkout")

    shop.is_back("shop:1", "checkout")
    assert shop.get("rbr", name)["spec"]["reason"].startswith("memory-leak: 95% > 90%")
    assert 15 * MINUTE <= asked_at(shop) - past.since("leak") < 17 * MINUTE


def test_more_than_5_restarts_within_5_minutes(services: dict[str, Watched]) -> None:
    shop = services["crashes"]

    body = shop.rolled_back("checkout")

    assert outcome(body) == ("Succeeded", "Completed")
    assert body["spec"]["reason"].startswith("crash-loop: 6 restarts within 5m > 5")
    assert shop.image("checkout") == "shop:1"


def test_four_health_checks_in_a_row_and_the_rollback_is_verified_by_the_next(
    services: dict[str, Watched], probes: dict[str, Exporter]
) -> None:
    shop = services["health"]

    name = shop.made("checkout", within=400)

    shop.is_back("shop:1", "checkout")
    probes["health"].up()
    body = shop.ended(name)
    assert outcome(body) == ("Succeeded", "Completed")
    assert body["spec"]["reason"].startswith("health-check: ")
    assert "(4 in a row)" in body["spec"]["reason"]


def test_what_is_well_is_left_alone(services: dict[str, Watched]) -> None:
    shop = services["well"]

    until(lambda: shop.verdict("checkout") == "Healthy", what="every rule says Healthy")

    assert (shop.requests("checkout"), shop.image("checkout")) == ([], "shop:2")
    assert condition(shop.policy("checkout"), "Alert")["reason"] == "NothingWrong"
