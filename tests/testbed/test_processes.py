"""Processes are ended by id, and only if they are still the same."""

import dataclasses
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.processes import ComponentEndedError, Identity, Roster, wait_until

SLEEP = ("sleep", "600")


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    """A process that is none of ours."""
    with subprocess.Popen(SLEEP) as process:
        yield process
        process.kill()


def gone(pid: int) -> bool:
    deadline = time.monotonic() + 60
    while Identity.of(pid) is not None and time.monotonic() < deadline:
        time.sleep(0.02)
    return Identity.of(pid) is None


def test_a_component_is_ended_and_reaped(tmp_path: Path) -> None:
    roster = Roster.begin(tmp_path / "state.json", detached=False, facts={})
    component = roster.launch("sleeper", SLEEP, tmp_path / "log")
    assert component.alive()
    roster.end()
    assert not Path(f"/proc/{component.identity.pid}").exists()


def test_another_run_ends_what_the_file_names(tmp_path: Path) -> None:
    roster = Roster.begin(tmp_path / "state.json", detached=True, facts={"colour": "blue"})
    component = roster.launch("sleeper", SLEEP, tmp_path / "log")
    read = Roster.read(roster.path)
    assert read is not None
    assert read.facts == {"colour": "blue"}
    read.end()
    assert not component.alive()
    roster.end()


def test_a_process_that_merely_has_the_same_id_is_left_alone(
    tmp_path: Path, bystander: subprocess.Popen[bytes]
) -> None:
    roster = Roster.begin(tmp_path / "state.json", detached=True, facts={})
    roster.end()
    real = Identity.of(bystander.pid)
    assert real is not None
    for stale in (
        dataclasses.replace(real, started=real.started - 1),
        dataclasses.replace(real, boot="of another day"),
    ):
        stored = json.loads(roster.path.read_text())
        stored["components"] = [{"name": "sleeper", "identity": dataclasses.asdict(stale), "log": "log"}]
        roster.path.write_text(json.dumps(stored))
        read = Roster.read(roster.path)
        assert read is not None
        read.end()
        assert read.running() == []
        assert bystander.poll() is None


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"components": [{"name": "x"}]}'])
def test_a_broken_state_file_ends_nothing(tmp_path: Path, content: str) -> None:
    (tmp_path / "state.json").write_text(content)
    assert Roster.read(tmp_path / "state.json") is None


@pytest.mark.parametrize("detached, survives", [(False, False), (True, True)])
def test_only_detached_components_outlive_a_killed_run(tmp_path: Path, *, detached: bool, survives: bool) -> None:
    script = (
        "import pathlib, sys, time; from testbed.processes import Roster\n"
        f"roster = Roster.begin(pathlib.Path('state.json'), detached={detached}, facts={{}})\n"
        f"print(roster.launch('sleeper', {SLEEP}, pathlib.Path('log')).identity.pid, flush=True)\n"
        "time.sleep(600)"
    )
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=tmp_path, env={"PYTHONPATH": str(root)}, stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        pid = int(run.stdout.readline())
        run.kill()
    roster = Roster.read(tmp_path / "state.json")
    assert roster is not None
    assert roster.owned() is detached
    if survives:
        assert [component.identity.pid for component in roster.running()] == [pid]
        roster.end()
    assert gone(pid)


def test_a_failed_start_quotes_the_log_of_the_culprit(tmp_path: Path) -> None:
    roster = Roster.begin(tmp_path / "state.json", detached=False, facts={})
    roster.launch("bystander", SLEEP, tmp_path / "bystander.log")
    roster.launch("culprit", ("sh", "-c", "echo no such flag; exit 2"), tmp_path / "culprit.log")
    with pytest.raises(ComponentEndedError, match=r"culprit ended on its own[\s\S]*no such flag"):
        wait_until(lambda: False, "Waiting", roster, timeout=60)
    roster.end()
