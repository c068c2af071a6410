"""Programs are found prebuilt, or built once."""

import threading
from pathlib import Path

import pytest

from testbed import Binaries, cache
from testbed.binaries import GITOPS, MONITORING, PEERS
from testbed.modules import MODULES, OF_PROGRAM
from testbed.starting import needed


def test_prebuilt_programs_are_taken_before_any_is_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "empty"))
    for name in needed("fake", controllers=False):
        (tmp_path / name).touch(mode=0o755)
    binaries = Binaries.ensure(needed("fake", controllers=False))
    assert {binaries.path(name).parent for name in needed("fake", controllers=False)} == {tmp_path}


def test_every_program_of_a_cluster_has_a_pinned_source() -> None:
    for program in (*needed("real"), *MONITORING, *GITOPS, *PEERS):
        module = OF_PROGRAM[program]
        assert (module.folder / "go.mod").exists()
        assert (module.folder / "go.sum").exists() == bool(module.path)
        assert module.version.startswith("v") == bool(module.path)


def test_the_modules_of_a_fake_cluster_are_those_it_needs() -> None:
    assert {OF_PROGRAM[name].name for name in needed("fake")} == {"kubernetes", "etcd", "kwok", "helm"}
    others = {"kind", "prometheus", "alertmanager", "argo-rollouts", "argo-cd"}
    assert {OF_PROGRAM[name].name for name in needed("real")} == set(MODULES) - others


def test_an_interrupted_build_leaves_nothing_that_looks_finished(tmp_path: Path) -> None:
    def interrupted(folder: Path) -> None:
        (folder / "half").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.once(tmp_path / "thing", interrupted)
    assert not (tmp_path / "thing").exists()
    assert cache.once(tmp_path / "thing", lambda folder: (folder / "whole").touch()).is_dir()
    assert [path.name for path in (tmp_path / "thing").iterdir()] == ["whole"]


def test_of_two_builds_at_once_the_second_waits_for_the_first(tmp_path: Path) -> None:
    builds: list[int] = []
    inside = threading.Event()
    let_go = threading.Event()

    def build(_: Path) -> None:
        builds.append(1)
        inside.set()
        let_go.wait()

    threads = [threading.Thread(target=cache.once, args=(tmp_path / "thing", build)) for _ in range(2)]
    threads[0].start()
    inside.wait()
    threads[1].start()
    let_go.set()
    for thread in threads:
        thread.join()
    assert len(builds) == 1
