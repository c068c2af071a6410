"""The command line behind make."""

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from testbed import images, kind, workspace
from testbed.binaries import Binaries
from testbed.errors import TestbedError
from testbed.starting import needed

_ROOT = Path(__file__).parents[1]


def main() -> int:
    """Do what is asked; the exit code is 1 with one clear message if it cannot be done."""
    options = _parser().parse_args()
    try:
        return _COMMANDS[options.command](options)
    except TestbedError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="testbed", description="A real Kubernetes on this machine.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, purpose in (("up", "start a cluster, or say that it runs"), ("build", "build what it needs")):
        command = commands.add_parser(name, help=purpose)
        command.add_argument("--nodes", choices=("best", "fake", "real", "kind"), default="best")
    commands.add_parser("down", help="end it and leave nothing of it")
    commands.add_parser("status", help="say what runs")
    image = commands.add_parser("image", help="build a Dockerfile without Docker")
    image.add_argument("context", nargs="?", type=Path, default=_ROOT)
    image.add_argument("--tag", default="docker.io/rollback-operator/rollback-operator:dev")
    return parser


def _up(options: argparse.Namespace) -> int:
    cluster = workspace.up(options.nodes)
    folder = workspace.FOLDER
    print(f"A cluster with {cluster.nodes} nodes runs.")
    print(f"  export KUBECONFIG={folder / 'kubeconfig'} PATH={folder / 'bin'}:$PATH")
    return 0


def _down(_: argparse.Namespace) -> int:
    workspace.down()
    print("No cluster runs here.")
    return 0


def _status(_: argparse.Namespace) -> int:
    cluster = workspace.current()
    if cluster is None:
        print("No cluster runs here; `make cluster` starts one.")
        return 0
    print(f"A cluster with {cluster.nodes} nodes; its logs are in {cluster.directory / 'logs'}")
    for name, runs in cluster.components().items():
        print(f"  {name:26} {'runs' if runs else 'ended'}")
    return 0


def _build(options: argparse.Namespace) -> int:
    nodes = workspace.best() if options.nodes == "best" else options.nodes
    Binaries.ensure(kind.PROGRAMS if nodes == "kind" else needed(nodes))
    return 0


def _image(options: argparse.Namespace) -> int:
    print(images.build(options.context, options.tag))
    return 0


_COMMANDS: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "up": _up,
    "down": _down,
    "status": _status,
    "build": _build,
    "image": _image,
}

if __name__ == "__main__":
    sys.exit(main())
