"""`python -m testbed.demo [--kind KIND] [--nodes real|fake] [--keep]`."""

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
from testbed.demo.kinds import STORIES
from testbed.demo.kinds.base import Story
from testbed.demo.screen import ROOT, Screen, Terminal, seconds
from testbed.demo.stage import Stage
from testbed.errors import TestbedError

USUAL = "deployment"
SHOP_IMAGE = "docker.io/library/shop:1"


def main() -> int:
    """Tell the story; 0 only if its end was verified."""
    arguments = _arguments()
    real = arguments.nodes == "real"
    story = STORIES[arguments.kind]()
    signal.signal(signal.SIGTERM, _interrupt)
    screen = Screen(steps=story.chapters + (2 if real else 1))
    screen.say(story.opening)
    started = time.monotonic()
    try:
        with ExitStack() as stack:
            good = _tell(stack, screen, story, real=real, keep=arguments.keep)
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
    parser.add_argument("--kind", default=USUAL, help=f"what is rolled back: {', '.join(STORIES)}; default: {USUAL}")
    parser.add_argument("--nodes", choices=["real", "fake"], default=best, help=f"default here: {best}")
    parser.add_argument("--keep", action="store_true", help="leave the cluster up, to look around")
    arguments = parser.parse_args()
    arguments.kind = arguments.kind.lower() or USUAL
    if arguments.kind not in STORIES:
        parser.error(f"there is no demo of the kind {arguments.kind}: KIND is one of {', '.join(STORIES)}")
    return arguments


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _tell(stack: ExitStack, screen: Screen, story: Story, *, real: bool, keep: bool) -> bool:
    if not real:
        screen.say(f"On fake nodes: {realnode.what_is_missing() or 'asked for'}.")
        screen.say("All but the pods is real then; no container runs.")
    with screen.step("A Kubernetes of its own"):
        terminal = Terminal(_cluster(stack, screen, story, real=real, keep=keep), screen)
        terminal.show("get", "nodes")
    stack.enter_context(running.explained(terminal, real=real))
    if real:
        with screen.step("The images of the operator and of a shop"):
            _load_images(terminal.cluster, screen)
    good = story.is_told(Stage(stack, terminal, real))
    if not real:
        screen.say(story.on_fake_nodes)
    return good


def _cluster(stack: ExitStack, screen: Screen, story: Story, *, real: bool, keep: bool) -> Cluster:
    nodes: Literal["real", "fake"] = "real" if real else "fake"
    Binaries.ensure((*starting.needed(nodes), *story.programs))
    if not keep:
        return stack.enter_context(Cluster.start(nodes=nodes))
    if workspace.current() is not None:
        raise TestbedError("A cluster runs here already: `make down` first.")
    stack.callback(_say_where, screen, story, real=real)
    cluster = workspace.up(nodes)
    assert isinstance(cluster, Cluster)
    return cluster


def _say_where(screen: Screen, story: Story, *, real: bool) -> None:
    screen.say("The cluster stays up until `make down`. To look around:")
    screen.say(f"    export KUBECONFIG={workspace.FOLDER / 'kubeconfig'} PATH={workspace.FOLDER / 'bin'}:$PATH")
    for line in story.to_look_at:
        screen.say(line)
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
