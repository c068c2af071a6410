"""Running a program in Helm's place: what it gets, what is kept of its words, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rollback_operator.kube.identity import ServiceAccount
from rollback_operator.targets.base import Where
from rollback_operator.targets.helm import effect

WHERE = Where("shop", "shop", ServiceAccount("shop", "rollback"))
ADDRESS = "http://127.0.0.1:1234/one-time"


def door(beats: float = 3600) -> Any:
    resting = asyncio.Event()

    async def beat() -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(resting.wait(), beats)

    return SimpleNamespace(url=ADDRESS, beat=beat, rest=resting.set)


async def run(script: str, *more: str, seconds: float = 60, beats: float = 3600) -> effect.Finished:
    return await effect.run("/bin/sh", ["-c", script, *more], WHERE, door(beats), seconds)


async def test_the_child_gets_the_way_to_the_door_and_nothing_of_the_operators_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KUBECONFIG", "/the/operators")
    monkeypatch.setenv("ROLLBACK_PROMETHEUS_TOKEN_FILE", "/secret")

    done = await run('env >&2; cat "$KUBECONFIG" >&2; stat -c %a "$KUBECONFIG" >&2; exit 3')

    assert done.code == 3
    for word in ("/the/operators", "ROLLBACK", "one-time"):
        assert word not in done.words
    assert "server:" in done.words
    assert "600" in done.words


async def test_its_folder_is_gone_afterwards() -> None:
    done = await run('echo "$HOME" >&2; exit 1')

    assert not Path(done.words).exists()  # noqa: ASYNC240 - nothing else runs here


async def test_arguments_reach_it_as_they_are() -> None:
    assert (await run('printf "%s|" "$@" >&2', "x", "a b", "$(id)", "`id`")).words == "a b|$(id)|`id`|"


async def test_it_is_ended_when_its_time_is_over_and_its_children_with_it() -> None:
    done = await run("sleep 1000 & echo $! >&2; wait", seconds=0.5)

    assert (done.late, done.code) == (True, -1)


async def test_a_sign_of_life_that_is_being_written_is_not_broken_off() -> None:
    """Or the record would have a version that nobody knows, and what Helm said could not be written to it."""
    said: list[str] = []
    one = door()
    resting = one.rest

    async def beat() -> None:
        said.append("begun")
        await asyncio.sleep(0.2)
        said.append("known")

    def rest() -> None:
        said.append("rest")
        resting()

    one.beat, one.rest = beat, rest
    done = await effect.run("/bin/sh", ["-c", "exit 3"], WHERE, one, 60)

    assert (done.code, said) == (3, ["begun", "rest", "known"])


async def test_it_is_ended_when_nobody_may_be_at_work_any_more() -> None:
    done = await run("sleep 1000", beats=0.2)

    assert (done.late, done.code) == (False, -1)
    assert "another operator" in done.words


async def test_whoever_stops_waiting_for_it_ends_it(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    task = asyncio.create_task(run(f'echo $$ > "{note}"; sleep 1000'))
    async with asyncio.timeout(60):
        while not (note.exists() and note.read_text()):  # noqa: ASYNC110 - a file tells nobody
            await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert not _runs(int(note.read_text()))


async def test_a_program_that_is_not_there_is_an_error() -> None:
    with pytest.raises(FileNotFoundError):
        await effect.run("/no/such/helm", [], WHERE, door(), 1)


PARENT = """
import asyncio, sys
from tests.unit.test_helm_effect import run
asyncio.run(run(f'echo $$ > "{sys.argv[1]}"; sleep 1000', seconds=1000))
"""


async def test_it_is_killed_when_its_parent_is(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, str(note), env={**os.environ, "PYTHONPATH": ":".join(p for p in sys.path if p)}
    )
    async with asyncio.timeout(60):
        while not (note.exists() and note.read_text()):  # noqa: ASYNC110 - a file tells nobody
            await asyncio.sleep(0.02)
    child = int(note.read_text())
    parent.send_signal(signal.SIGKILL)
    await parent.wait()
    async with asyncio.timeout(60):
        while _runs(child):  # noqa: ASYNC110 - the kernel tells nobody
            await asyncio.sleep(0.02)


def _runs(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().split()[2]
    except OSError:
        return False


JOB = 'Job.batch "x" is invalid: spec.template: Invalid value: {}: field is immutable'
WORDS = {
    "Error: UPGRADE FAILED: x": "UPGRADE FAILED: x",
    "level=DEBUG msg=x\nError: one\n two\n": "one two",
    'Secret "x" is invalid: data[a]: Invalid value: "open-sesame": too long': 'Secret "x" is invalid: data[a]: '
    "Invalid value: <not shown>: too long",
    JOB.format('{"spec":{"env":[{"name":"A","value":"}: open-sesame"}]}}'): JOB.format("<not shown>"),
    JOB.format('core.PodTemplateSpec{Env:[]core.EnvVar{core.EnvVar{Name:"A", Value:"x: open-sesame"}}}'): JOB.format(
        "<not shown>"
    ),
    'Get "http://127.0.0.1:4711/aB-_9/version": refused': 'Get "/version": refused',
    "x" * 600: "x" * 511 + "…",
}


@pytest.mark.parametrize("said", WORDS)
def test_helms_words_are_repeated_without_values_and_not_for_ever(said: str) -> None:
    assert effect.told(said) == WORDS[said]


async def test_a_value_that_is_longer_than_what_is_kept_of_a_line_is_not_shown() -> None:
    template = '{"env":"' + "a" * 20_000 + 'open-sesame"}'
    done = await run('echo level=x >&2; printf "%s\\n" "$1" >&2; exit 1', "sh", f"Error: {JOB.format(template)}")

    assert done.words == 'Job.batch "x" is invalid: spec.template: Invalid value: <not shown>'


async def test_it_may_not_take_all_memory() -> None:
    """What a tenant keeps in a Secret of less than a megabyte may unpack to gigabytes, and Helm unpacks it."""
    assert (await run("ulimit -d >&2; exit 1")).words == str(effect.MEMORY // 1024)


async def test_of_a_crash_the_reason_is_told_and_not_where_it_was() -> None:
    script = 'echo before >&2; echo "fatal error: runtime: out of memory" >&2; seq 1 5000 >&2; exit 2'

    assert (await run(script)).words == "before fatal error: runtime: out of memory"
