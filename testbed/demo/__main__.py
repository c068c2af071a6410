"""`python -m testbed.demo [--nodes real|fake] [--keep]`."""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import Literal

import yaml

from testbed import Cluster, images, realnode, workspace
from testbed.demo import running
from testbed.demo.screen import ROOT, Screen, Terminal, seconds
from testbed.demo.story import Rollback, Shop
from testbed.demo.visitor import Visitor
from testbed.errors import TestbedError

SHOP_IMAGE = "docker.io/library/shop:1"


def main() -> int:
    """Tell the story; 0 only if its end was verified."""
    arguments = _arguments()
    real = arguments.nodes == "real"
    signal.signal(signal.SIGTERM, _interrupt)
    screen = Screen(steps=7 if real else 6)
    screen.say("A shop opens, a release breaks it, and a rollback mends it.")
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
        screen.say("The API server and the controllers are real then, the pods are not.")
    with screen.step("A Kubernetes of its own"):
        cluster = _cluster(stack, screen, real=real, keep=keep)
        terminal = Terminal(cluster, screen)
        terminal.show("get", "nodes")
    stack.enter_context(running.explained(terminal))
    if real:
        with screen.step("The images of the operator and of a shop"):
            _load_images(cluster, screen)
    with screen.step("Install the operator"):
        running.install(terminal, real=real)
        if not real:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            stack.enter_context(running.as_a_process(terminal, folder))
            screen.good("The operator runs as a process, with a token of its service account.")
    return _shop_is_broken_and_mended(stack, terminal, real=real)


def _cluster(stack: ExitStack, screen: Screen, *, real: bool, keep: bool) -> Cluster:
    nodes: Literal["real", "fake"] = "real" if real else "fake"
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
    screen.say("    kubectl -n shop describe rollbackrequest shop-release-2")
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


def _shop_is_broken_and_mended(stack: ExitStack, terminal: Terminal, *, real: bool) -> bool:
    screen = terminal.screen
    shop = Shop(terminal, real=real)
    rollback = Rollback(terminal, shop)
    with screen.step("A shop opens"):
        shop.opens()
        visitor = stack.enter_context(Visitor(shop.url())) if real else None
    with screen.step("A release breaks it"):
        shop.ships_a_bad_release()
    with screen.step("Ask for a rollback"):
        rollback.is_asked_for()
        rollback.is_looked_at()
    with screen.step("Is it true?"):
        good = rollback.is_checked(visitor)
    if not real:
        screen.say("Verified here means template, revision and conditions. On a real node, pods answer.")
    return good


if __name__ == "__main__":
    sys.exit(main())
