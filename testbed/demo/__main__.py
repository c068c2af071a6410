"""`python -m testbed.demo [--nodes real|fake] [--keep]`."""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from types import FrameType
from typing import Literal

import yaml

from testbed import Cluster, images, realnode, starting, workspace
from testbed.binaries import Binaries
from testbed.demo import running
from testbed.demo.byhand import ByHand
from testbed.demo.byitself import ByItself
from testbed.demo.customers import Customers, Played
from testbed.demo.screen import ROOT, Screen, Terminal, seconds
from testbed.demo.shop import Shop
from testbed.errors import TestbedError
from testbed.monitoring import Exporter, Prometheus

SHOP_IMAGE = "docker.io/library/shop:1"


def main() -> int:
    """Tell the story; 0 only if its end was verified."""
    arguments = _arguments()
    real = arguments.nodes == "real"
    signal.signal(signal.SIGTERM, _interrupt)
    screen = Screen(steps=11 if real else 10)
    screen.say("A shop opens. Two releases break it: one at once, one when nobody looks. Rollbacks mend it.")
    started = time.monotonic()
    try:
        with ExitStack() as stack:
            good = _tell(stack, screen, real=real, keep=arguments.keep)
            took = seconds(time.monotonic() - started)
    except KeyboardInterrupt:
        screen.end("Interrupted.")
        return 130
    except (TestbedError, subprocess.TimeoutExpired) as error:
        screen.bad(str(error))
        return 1
    screen.end(f"All of it took {took}." if good else f"This is not how it should end (after {took}).")
    return 0 if good else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m testbed.demo", description=__doc__)
    best = "fake" if realnode.what_is_missing() else "real"
    parser.add_argument("--nodes", choices=["real", "fake"], default=best, help=f"default here: {best}")
    parser.add_argument("--keep", action="store_true", help="leave the cluster up, to look around")
    return parser.parse_args()


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _tell(stack: ExitStack, screen: Screen, *, real: bool, keep: bool) -> bool:
    if not real:
        screen.say(f"On fake nodes: {realnode.what_is_missing() or 'asked for'}.")
        screen.say("The API server, the controllers and Prometheus are real then; the pods are not.")
    with screen.step("A Kubernetes of its own"):
        terminal = Terminal(_cluster(stack, screen, real=real, keep=keep), screen)
        terminal.show("get", "nodes")
    stack.enter_context(running.explained(terminal, real=real))
    if real:
        with screen.step("The images of the operator and of a shop"):
            _load_images(terminal.cluster, screen)
    exporter = None if real else stack.enter_context(Exporter())
    with screen.step("Prometheus, and the operator"):
        prometheus = _run(stack, terminal, exporter)
    shop = Shop(terminal, real=real)
    with screen.step("A shop opens"):
        shop.opens()
        customers = _customers(stack, shop, exporter)
        prometheus.wait('sum(rate(http_requests_total{namespace="shop"}[5s])) > 5')
        screen.good("Customers order all the time, and Prometheus counts their orders.")
    screen.act("Act one: a release does not start, and somebody asks for a rollback")
    good = _first_act(screen, shop)
    screen.act("Act two: a release starts and fails customers, and nobody is at the keyboard")
    return _second_act(screen, shop, customers) and good


def _run(stack: ExitStack, terminal: Terminal, exporter: Exporter | None) -> Prometheus:
    screen = terminal.screen
    prometheus = running.prometheus(stack, terminal, exporter)
    if exporter is None:
        screen.say(f"Prometheus runs beside the node; pods know it as {running.INSIDE}. It scrapes the shop's pods.")
    else:
        screen.say("Prometheus scrapes an exporter that plays the shop's pods: such numbers as they would serve.")
    running.install(terminal, real=exporter is None)
    if exporter is not None:
        stack.enter_context(running.as_a_process(terminal, prometheus))
        screen.good("The operator runs as a process, with a token of its service account.")
    return prometheus


def _customers(stack: ExitStack, shop: Shop, exporter: Exporter | None) -> Customers:
    if exporter is None:
        return stack.enter_context(Customers(shop.url()))
    return stack.enter_context(Played(shop.terminal.cluster.access, exporter))


def _first_act(screen: Screen, shop: Shop) -> bool:
    with screen.step("Release 2 does not start"):
        shop.ships_one_that_does_not_start()
    with screen.step("Somebody asks for a rollback"):
        act = ByHand(shop)
        act.is_asked_for()
        return act.is_checked()


def _second_act(screen: Screen, shop: Shop, customers: Customers) -> bool:
    act = ByItself(shop, customers)
    with screen.step("A policy, and a release that proves good"):
        act.is_armed()
    with act.is_watched():
        with screen.step("Release 3 goes out, and all that a pipeline looks at is well"):
            act.release_goes_out()
        with screen.step("The policy notices, rolls back, and verifies"):
            act.is_noticed()
    with screen.step("What stays"):
        act.is_looked_at()
    with screen.step("Is it true?"):
        good = act.is_checked()
        act.is_told()
    if not shop.real:
        screen.say("Verified here means what the exporter plays. On a real node, pods answer.")
    return good


def _cluster(stack: ExitStack, screen: Screen, *, real: bool, keep: bool) -> Cluster:
    nodes: Literal["real", "fake"] = "real" if real else "fake"
    Binaries.ensure((*starting.needed(nodes), "prometheus", "promtool"))
    if not keep:
        return stack.enter_context(Cluster.start(nodes=nodes))
    if workspace.current() is not None:
        raise TestbedError("A cluster runs here already: `make down` first.")
    stack.callback(_say_where, screen, real=real)
    cluster = workspace.up(nodes)
    assert isinstance(cluster, Cluster)
    return cluster


def _say_where(screen: Screen, *, real: bool) -> None:
    screen.say("The cluster stays up until `make down`. To look around:")
    screen.say(f"    export KUBECONFIG={workspace.FOLDER / 'kubeconfig'} PATH={workspace.FOLDER / 'bin'}:$PATH")
    screen.say("    kubectl -n shop describe rollbackpolicy shop")
    screen.say("    kubectl -n shop describe rollbackrequest shop-release-2")
    screen.say("Prometheus and the customers have gone, so the policy's triggers give no answer any more: Unknown.")
    if not real:
        screen.say("The operator has ended; `make run` starts one.")


def _load_images(cluster: Cluster, screen: Screen) -> None:
    screen.say("Built from their Dockerfiles; the first time, the base image is made too, which takes a minute or two.")
    for folder, tag in ((ROOT, _operator_image()), (ROOT / "examples" / "shop", SHOP_IMAGE)):
        with screen.busy(tag):
            cluster.load_image(images.build(folder, tag))


def _operator_image() -> str:
    """The name that deploy/ asks the node for."""
    (image,) = yaml.safe_load((ROOT / "deploy" / "kustomization.yaml").read_text())["images"]
    return f"docker.io/library/{image['newName']}:{image['newTag']}"


if __name__ == "__main__":
    sys.exit(main())
