"""What a person at a terminal reads: steps, commands with their output, and how long things took."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

from testbed import Cluster

ROOT = Path(__file__).parents[2]
EVERY = 15.0
"""Seconds between signs of life."""


class Screen:
    """Prints; coloured if standard output is a terminal and NO_COLOR is not set."""

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._step = 0
        self._colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """A numbered heading, and at the end of the block how long it took."""
        self._step += 1
        print(self._styled("1", f"\n[{self._step}/{self._steps}] {title}"), flush=True)
        started = time.monotonic()
        yield
        print(self._styled("2", f"      {seconds(time.monotonic() - started)}"), flush=True)

    @contextmanager
    def busy(self, what: str) -> Iterator[None]:
        """While the block goes on for long, say every now and then that it does; and at its end, how long it took."""
        started = time.monotonic()
        done = threading.Event()

        def tick() -> None:
            while not done.wait(EVERY):
                self.say(f"… {what}: {seconds(time.monotonic() - started)} so far")

        ticking = threading.Thread(target=tick, daemon=True)
        ticking.start()
        try:
            yield
        finally:
            done.set()
            ticking.join()
        self.good(f"{what}: {seconds(time.monotonic() - started)}")

    def act(self, title: str) -> None:
        """A heading above steps."""
        print(self._styled("1;4", f"\n{title}"), flush=True)

    def end(self, text: str) -> None:
        """The last sentence."""
        print(f"\n{text}", flush=True)

    def say(self, text: str) -> None:
        """A sentence."""
        print(f"  {text}", flush=True)

    def good(self, text: str) -> None:
        """Something that was made sure of."""
        print(f"  {self._styled('32', '✓')} {text}", flush=True)

    def bad(self, text: str) -> None:
        """Something that is not as it should be."""
        print(f"  {self._styled('31', '✗')} {text}", flush=True)

    def command(self, *arguments: str | Path) -> None:
        """A command, as the reader would type it in the repository."""
        words = [str(word.relative_to(ROOT)) if isinstance(word, Path) else word for word in arguments]
        line = " ".join(f"'{word}'" if set(word) & set(" {}()[]*$") else word for word in words)
        print(self._styled("36", f"  $ {line}"), flush=True)

    def output(self, text: str) -> None:
        """What a command printed."""
        for line in text.rstrip().splitlines():
            print(f"    {line.expandtabs(1)}".rstrip(), flush=True)  # helm pads its columns, and puts tabs besides

    def row(self, text: str, aside: str) -> None:
        """A line of a table, its last column dimmed."""
        print(f"  {text}{self._styled('2', aside)}", flush=True)

    def diff(self, text: str) -> None:
        """A unified diff, with what goes and what comes in colour."""
        for line in text.rstrip().splitlines():
            print("    " + self._styled({"-": "31", "+": "32"}.get(line[:1], "0"), line), flush=True)

    def _styled(self, code: str, text: str) -> str:
        return f"\033[{code}m{text}\033[0m" if self._colour and code != "0" else text


class Terminal:
    """kubectl and helm on one cluster, shown as they are run."""

    def __init__(self, cluster: Cluster, screen: Screen) -> None:
        self.cluster = cluster
        self.screen = screen

    def show(self, *arguments: str | Path, timeout: int = 60, stdin: str | None = None) -> str:
        """Run kubectl and show the command and what it prints; `stdin` goes in place of the files that it names."""
        self.screen.command("kubectl", *arguments)
        run = arguments if stdin is None else [word if isinstance(word, str) else "-" for word in arguments]
        text = self.ask(*run, timeout=timeout, stdin=stdin)
        self.screen.output(text)
        return text

    def helm(self, *arguments: str | Path) -> str:
        """Run helm in the same way."""
        self.screen.command("helm", *arguments)
        text = self.cluster.helm(*map(str, arguments))
        self.screen.output(text)
        return text

    def show_failing(self, *arguments: str) -> None:
        """Run kubectl in the same way where it is expected to fail, and show what it says on stderr."""
        self.screen.command("kubectl", *arguments)
        done = self.cluster.kubectl_process(*arguments)
        self.screen.output(done.stdout + done.stderr)

    def follow(self, *arguments: str | Path) -> Generator[str, None, None]:
        """Run kubectl, show each line that is new and give it; kubectl is ended when no more are asked for."""
        limits = ("--request-timeout", "--timeout")
        self.screen.command("kubectl", *(word for word in arguments if not str(word).startswith(limits)))
        command = [self.cluster.bin / "kubectl", "--kubeconfig", self.cluster.kubeconfig, *arguments]
        environment = {**os.environ, **self.cluster.environment(), "NO_PROXY": "*"}
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
        ) as process:
            try:
                before = ""
                for line in process.stdout or ():
                    if line != before:
                        self.screen.output(line)
                    yield line
                    before = line
            finally:
                process.terminate()

    def ask(self, *arguments: str | Path, timeout: int = 60, stdin: str | None = None) -> str:
        """Run kubectl without a word."""
        return self.cluster.kubectl(*map(str, arguments), timeout=timeout, input=stdin)


def seconds(length: float) -> str:
    """A length of time: `0.4 s`, `12 s`, `2 min 5 s`."""
    if length < 10:  # noqa: PLR2004 - a tenth of a second says something only below
        return f"{length:.1f} s"
    minutes, rest = divmod(round(length), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
