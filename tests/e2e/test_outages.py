"""Prometheus is gone, late, broken or has nothing to say: that is no reason to roll a healthy release back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from testbed.monitoring import Fault, FaultyServer, Prometheus
from tests.e2e.watched import Watched, order
from tests.e2e.world import condition, outcome, until, web

FOR = 3.0
OUTAGE = 5 * FOR
FAULTS: dict[str, tuple[Fault | None, str]] = {
    "down": (None, "refused|the connection broke"),
    "silent": (Fault(slow=60), "no answer within 12s|too busy to tell"),
    "error-500": (Fault.status(500), "500"),
    "busy-503": (Fault.status(503), "503"),
    "not-a-number": (Fault.vector("NaN"), "NaN"),
    "empty": (Fault.vector(), "the query gives nothing"),
    "cut": (Fault.cut(), ""),
    "not-json": (Fault.json("<html>"), ""),
}
"""What happens to the answers, and words of what is said of it: the first thing that was seen."""
LATE = "late"


@pytest.fixture(scope="module")
def settings(monitored: dict[str, str]) -> dict[str, str]:
    return monitored


@pytest.fixture(scope="module")
def servers(prometheus: Prometheus) -> Iterator[dict[str, FaultyServer]]:
    """Each name's own way to Prometheus."""
    with ExitStack() as stack:
        yield {name: stack.enter_context(FaultyServer(prometheus.url)) for name in (*FAULTS, LATE)}


@pytest.fixture(scope="module")
def outage(shared: Watched, servers: dict[str, FaultyServer]) -> Watched:
    """Healthy releases of a moment ago, in the middle of all of it, which has lasted for five times `for`."""
    for number in (1, 2):
        shared.release_all(web(f"shop:{number}", name=name, replicas=1) for name in servers)
    for name, server in servers.items():
        shared.fail(0, name)
        trigger = shared.errors(name, for_=f"{FOR:.0f}s")
        shared.apply(order(name, trigger, prometheus={"address": server.url}))
    shared.wait("rbp", "--all", "--for=jsonpath={.status.verdict}=Healthy")
    for name, (fault, _) in FAULTS.items():
        if fault is None:
            servers[name].down()
        else:
            servers[name].inject(fault)
    began = shared.fail(0, LATE)
    servers[LATE].inject(Fault(slow=0.7))
    until(lambda: shared.fail(0, LATE) - began > OUTAGE, what="the outage has lasted")
    return shared


@pytest.mark.parametrize("name, said", [(name, said) for name, (_, said) in FAULTS.items()], ids=FAULTS.keys())
def test_an_outage_is_unknown_and_rolls_nothing_back(outage: Watched, name: str, said: str) -> None:
    def told() -> bool:
        message = outage.policy(name)["status"]["triggers"][0]["message"]
        return any(words in message for words in said.split("|"))

    outage.waits("verdict", "Unknown", name)
    until(told, what=f"{name} says {said!r}")
    assert outage.verdict(name) == "Unknown"
    assert condition(outage.policy(name), "Alert")["reason"] == "NothingWrong"
    assert (outage.requests(name), outage.image(name)) == ([], "shop:2")


def test_answers_that_come_late_are_answers(outage: Watched) -> None:
    assert outage.verdict(LATE) == "Healthy"
    assert (outage.requests(LATE), outage.image(LATE)) == ([], "shop:2")


@pytest.fixture(scope="module")
def over(outage: Watched, servers: dict[str, FaultyServer]) -> Watched:
    """When the outage is over."""
    for server in servers.values():
        server.heal()
    return outage


@pytest.mark.parametrize("name", [*FAULTS, LATE])
def test_after_an_outage_it_is_healthy_again(over: Watched, name: str) -> None:
    over.waits("verdict", "Healthy", name)
    assert over.requests(name) == []


@pytest.fixture(scope="module")
def failing(over: Watched) -> Watched:
    """When all releases fail."""
    over.wait("rbp", "--all", "--for=jsonpath={.status.verdict}=Healthy")
    for name in (*FAULTS, LATE):
        over.fail(0.5, name)
    return over


@pytest.mark.parametrize("name", [*FAULTS, LATE])
def test_what_is_bad_after_an_outage_is_rolled_back(failing: Watched, name: str) -> None:
    assert outcome(failing.rolled_back(name)) == ("Succeeded", "Completed")
    assert failing.image(name) == "shop:1"
