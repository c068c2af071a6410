"""Repositories over HTTP: what Git asks for is answered, and nobody can push."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed import git, packages
from testbed.git import GitRepository
from testbed.gitserver import GitServer


@pytest.fixture
def repository(tmp_path: Path) -> GitRepository:
    return GitRepository(tmp_path / "served" / "shop.git")


@pytest.fixture
def url(repository: GitRepository) -> Iterator[str]:
    with GitServer(repository.folder.parent) as server:
        yield f"{server.url}/{repository.folder.name}"


def ask(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Git as those who fetch run it."""
    environment = {**os.environ, **git.SETTINGS}
    command = [str(packages.path("git")), "-C", str(folder), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_an_older_commit_is_fetched_alone_and_without_contents(
    repository: GitRepository, url: str, tmp_path: Path
) -> None:
    first = repository.commit({"web/a": "1"}, "first")
    repository.commit({"web/a": "2"}, "second")
    ask(tmp_path, "init", "--quiet", "--bare", "here")

    done = ask(tmp_path / "here", "fetch", "--depth=1", "--filter=blob:none", url, first)

    assert done.returncode == 0, done.stderr
    assert "filtering not recognized" not in done.stderr
    assert ask(tmp_path / "here", "ls-tree", "-r", "--name-only", first).stdout == "web/a\n"


def test_a_new_commit_is_there_at_once(repository: GitRepository, url: str, tmp_path: Path) -> None:
    for number in (1, 2):
        commit = repository.commit({"web/a": str(number)}, "another")
        assert commit in ask(tmp_path, "ls-remote", url).stdout


def test_a_repository_that_is_not_there_is_an_error(url: str, tmp_path: Path) -> None:
    done = ask(tmp_path, "ls-remote", url.replace("shop", "other"))
    assert done.returncode
    assert "not found" in done.stderr


def test_nobody_can_push(repository: GitRepository, url: str, tmp_path: Path) -> None:
    commit = repository.commit({"web/a": "1"}, "first")
    ask(tmp_path, "clone", "--quiet", url, "here")

    assert ask(tmp_path / "here", "push", url, f"{commit}:refs/heads/other").returncode
    assert "other" not in ask(tmp_path, "ls-remote", url).stdout
