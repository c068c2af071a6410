"""A Git repository on disk, as others read it."""

import subprocess
from pathlib import Path

import pytest

from testbed import TestbedError
from testbed.git import GitRepository


@pytest.fixture
def repository(tmp_path: Path) -> GitRepository:
    return GitRepository(tmp_path / "shop.git")


def show(repository: GitRepository, what: str) -> str:
    command = ["git", "--git-dir", str(repository.folder), "show", "--no-patch", "--format=%an: %s", what]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_a_commit_has_the_files_of_the_one_before_except_where_it_says_otherwise(repository: GitRepository) -> None:
    first = repository.commit({"kept": "a\n", "shop/changed": "b", "gone": "c"}, "Open the shop")
    second = repository.commit({"shop/changed": "Füße\n", "gone": None, "new": ""}, "Change\n\nEverything.")
    assert repository.head == second != first
    assert show(repository, second) == "Testbed: Change\n"
    assert show(repository, f"{second}:kept") == "a\n"
    assert show(repository, f"{second}:shop/changed") == "Füße\n"
    assert show(repository, f"{second}:") == f"tree {second}:\n\nkept\nnew\nshop/\n"
    assert show(repository, f"{second}^:gone") == "c"


def test_a_repository_that_is_away_can_be_reached_again_where_it_was(repository: GitRepository) -> None:
    revision = repository.commit({"a": "b"}, "Begin")
    repository.break_()
    with pytest.raises(TestbedError, match="not a git repository"):
        repository.commit({}, "More")
    repository.mend()
    assert repository.head == revision


def test_an_empty_repository_has_no_head(repository: GitRepository) -> None:
    assert repository.head == ""


def test_a_folder_that_is_there_is_not_taken(tmp_path: Path) -> None:
    with pytest.raises(TestbedError, match="exists"):
        GitRepository(tmp_path)
