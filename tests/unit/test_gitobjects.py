"""What a commit has, asked of real repositories by the real `git`."""

from __future__ import annotations

import asyncio
import json
import secrets
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from rollback_operator.gitobjects import Credentials, GitObjects, Spot, Unknowable, asking, program
from testbed.git import GitRepository
from testbed.gitserver import GitServer
from testbed.listeners import Answer, Asked

CREDENTIALS = Credentials("https://git.example.com/shop", "bot", "hunter2")


async def nobody(host: str, port: int) -> list[str]:
    raise OSError(f"{host}:{port} has no address")


def objects(*protocols: str) -> GitObjects:
    return GitObjects(protocols or ("file",), nobody)


@pytest.fixture
def repository(tmp_path: Path) -> GitRepository:
    return GitRepository(tmp_path / "shop.git")


BASE: dict[str, str | None] = {
    "web/web.yaml": "image: shop:1",
    "web/Chart.yaml": json.dumps({"dependencies": [{"repository": "file://../library"}]}),
    "other/x.yaml": "a",
    "overlay/kustomization.yaml": json.dumps({"resources": ["../base", "local.yaml"]}),
    "overlay/local.yaml": "a",
    "base/kustomization.yml": json.dumps({"components": ["../component"]}),
    "component/c.yaml": "a",
    "library/values.yaml": "a",
    "values/web.yaml": "a",
}
MOVES: dict[str, tuple[str, tuple[str, ...], dict[str, str | None], bool]] = {
    "its own file": ("web", (), {"web/web.yaml": "image: shop:2"}, True),
    "a new file of it": ("web", (), {"web/more.yaml": "b"}, True),
    "a file of another": ("web", (), {"other/x.yaml": "b"}, False),
    "anything, when it is all of it": (".", (), {"other/x.yaml": "b"}, True),
    "a value file beside it": ("web", ("/values/web.yaml",), {"values/web.yaml": "b"}, True),
    "a value file of another": ("web", ("/values/web.yaml",), {"values/other.yaml": "b"}, False),
    "a value file that comes to be": ("web", ("web/../values/new.yaml",), {"values/new.yaml": "b"}, True),
    "a chart that it depends on": ("web", (), {"library/values.yaml": "b"}, True),
    "a base of its overlay": ("overlay", (), {"base/more.yaml": "b"}, True),
    "a component of the base": ("overlay", (), {"component/c.yaml": "b"}, True),
    "what the overlay does not name": ("overlay", (), {"library/values.yaml": "b"}, False),
    "a single file": ("values/web.yaml", (), {"values/web.yaml": "b"}, True),
}


@pytest.mark.parametrize("what", MOVES)
async def test_it_is_another_after_a_change_of(what: str, repository: GitRepository) -> None:
    path, also, change, differs = MOVES[what]
    first, second = repository.commit(BASE, "first"), repository.commit(change, "second")
    asked = objects()
    ids = [await asked.identity(Spot(repository.url, commit, path, also)) for commit in (first, second)]
    assert (ids[0] != ids[1]) is differs


async def test_a_commit_that_was_asked_for_is_not_asked_for_again(repository: GitRepository) -> None:
    commit = repository.commit(BASE, "first")
    asked = objects()
    spot = Spot(repository.url, commit, "web")
    before = await asked.identity(spot)
    repository.break_()
    assert await asked.identity(spot) == before


async def test_no_file_is_left_behind(
    repository: GitRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = tmp_path / "room"
    room.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(room))
    await objects().identity(Spot(repository.url, repository.commit(BASE, "first"), "web"))
    with pytest.raises(Unknowable):
        await objects().identity(Spot(repository.url, repository.head, "nowhere"))
    assert list(room.iterdir()) == []


TROUBLE: dict[str, tuple[str, str, str]] = {
    "no repository": ("file:///nowhere.git", "a" * 40, "git fetch failed"),
    "no commit of that id": ("", "a" * 40, "git fetch failed"),
    "a branch instead of a commit": ("", "main", "'main' is no commit"),
    "an option instead of a commit": ("", "--upload-pack=x", "is no commit"),
    "SSH": ("git@git.example.com:shop.git", "a" * 40, "by ssh, only by file"),
    "a protocol that is not allowed": ("https://git.example.com/shop.git", "a" * 40, "by https, only by file"),
    "a program instead of an address": ("ext::sh -c true", "a" * 40, "by ext, only by file"),
}


@pytest.mark.parametrize("what", TROUBLE)
async def test_what_cannot_be_asked_is_said(what: str, repository: GitRepository) -> None:
    url, commit, words = TROUBLE[what]
    repository.commit(BASE, "first")
    with pytest.raises(Unknowable, match=words):
        await objects().identity(Spot(url or repository.url, commit, "web"))


async def test_an_address_that_may_not_be_called_is_not(repository: GitRepository) -> None:  # noqa: ARG001
    with pytest.raises(Unknowable, match=r"git.example.com cannot be called: git.example.com:443 has no address"):
        await objects("https").identity(Spot("https://git.example.com/shop.git", "a" * 40, "web"))


async def test_a_path_that_is_gone_is_said(repository: GitRepository) -> None:
    commit = repository.commit(BASE, "first")
    with pytest.raises(Unknowable, match="there is no nowhere at"):
        await objects().identity(Spot(repository.url, commit, "nowhere"))


OUTSIDE = ("../../etc", "web/../../x")


@pytest.mark.parametrize("path", OUTSIDE)
async def test_a_path_outside_of_the_repository_is_none(path: str, repository: GitRepository) -> None:
    with pytest.raises(Unknowable, match="outside of the repository"):
        await objects().identity(Spot(repository.url, repository.commit(BASE, "first"), path))


async def test_a_description_that_is_no_yaml_is_said(repository: GitRepository) -> None:
    commit = repository.commit({"web/kustomization.yaml": "{"}, "first")
    with pytest.raises(Unknowable, match="is not YAML"):
        await objects().identity(Spot(repository.url, commit, "web"))


async def test_descriptions_that_name_each_other_come_to_an_end(repository: GitRepository) -> None:
    commit = repository.commit(
        {
            "a/kustomization.yaml": json.dumps({"resources": ["../b"]}),
            "b/kustomization.yaml": json.dumps({"resources": ["../a"]}),
        },
        "first",
    )
    assert (await objects().identity(Spot(repository.url, commit, "a"))).sure


async def test_a_repository_that_does_not_answer_is_given_up(
    repository: GitRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = repository.commit(BASE, "first")
    monkeypatch.setattr(asking, "TIMEOUT", 0.0)
    with pytest.raises(Unknowable, match="did not answer within"):
        await objects().identity(Spot(repository.url, commit, "web"))


async def test_without_the_program_nobody_can_tell(
    repository: GitRepository, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    commit = repository.commit(BASE, "first")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unknowable, match=r"git, which the operator's image holds, cannot be run: .*'git'"):
        await objects().identity(Spot(repository.url, commit, "web"))


# Hostile ones.


async def test_what_a_server_says_is_not_repeated() -> None:
    """The address is a tenant's: it may be any server that the operator reaches."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=404, text="the bank's own words")

    async def resolve(_: str, __: int) -> list[str]:
        return ["127.0.0.1"]

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with TestServer(app) as server:
        spot = Spot(f"http://git.example.com:{server.port}/x", "a" * 40, "web")
        with pytest.raises(Unknowable) as caught:
            await GitObjects(("http",), resolve).identity(spot)

    assert "git fetch failed" in str(caught.value)
    assert "the bank's own words" not in str(caught.value)


TOOK = {
    "Failed to connect to x port 1 after 12 ms: Couldn't connect": "Failed to connect to x port 1: Couldn't connect",
    "Connection timed out after 60001 milliseconds": "Connection timed out",
    "Operation timed out after 60001 milliseconds with 0 out of 0 bytes received": "Operation timed out",
}


@pytest.mark.parametrize("said", TOOK)
def test_what_fails_again_in_the_same_way_reads_the_same(said: str) -> None:
    """It stands in a status, which is written when it changes."""
    assert program._said(said.encode()) == TOOK[said]


async def test_a_repository_that_is_too_large_is_given_up(
    repository: GitRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = repository.commit({f"web/{secrets.token_hex(8)}.yaml": secrets.token_hex(8) for _ in range(3000)}, "many")
    monkeypatch.setattr(program, "LARGEST_FILE", 16 * 1024)
    with pytest.raises(Unknowable, match="git fetch failed"):
        await objects().identity(Spot(repository.url, commit, "web"))


@pytest.mark.parametrize("what", ["a folder", "a description"])
async def test_an_answer_that_is_too_large_is_not_read(
    what: str, repository: GitRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {f"web/{number}.yaml": "a" for number in range(900)} if what == "a folder" else {}
    commit = repository.commit({**files, "web/kustomization.yaml": "# " + "a" * 20_000}, "first")
    monkeypatch.setattr(program, "_LARGEST_ANSWER", 16 * 1024)
    with pytest.raises(Unknowable, match="takes more than 0 MiB"):
        await objects().identity(Spot(repository.url, commit, "web"))


# Credentials.


async def started(
    url: str, credentials: Credentials | None, monkeypatch: pytest.MonkeyPatch
) -> tuple[Any, dict[str, str]]:
    """Arguments and environment of the fetch."""
    seen: list[tuple[Any, dict[str, str]]] = []

    class Silent:
        returncode = 1
        pid = 2**31 - 1

        def __init__(self) -> None:
            self.stdout, self.stderr = asyncio.StreamReader(), asyncio.StreamReader()
            self.stdout.feed_eof()
            self.stderr.feed_eof()

        async def wait(self) -> int:
            return self.returncode

    async def start(*arguments: str, **how: Any) -> Silent:
        seen.append((arguments, how["env"]))
        silent = Silent()
        silent.returncode = int("fetch" in arguments)
        return silent

    async def resolve(_: str, __: int) -> list[str]:
        return ["192.0.2.7"]

    monkeypatch.setattr("asyncio.create_subprocess_exec", start)
    with pytest.raises(Unknowable):
        await GitObjects(("https",), resolve).identity(Spot(url, "a" * 40, "web"), credentials)
    return [arguments for arguments, _ in seen], seen[-1][1]


SHOWN: dict[str, tuple[str, Credentials | None, bool]] = {
    "its own repository": ("https://git.example.com/shop.git", CREDENTIALS, True),
    "one below it": ("https://git.example.com/shop/web.git", CREDENTIALS, True),
    "one that only begins so": ("https://git.example.com/shopping.git", CREDENTIALS, False),
    "another host that begins with its name": (
        "https://git.example.com.gitevil.org/shop.git",
        Credentials("https://git.example.com", "bot", "hunter2"),
        False,
    ),
    "any of its host": (
        "https://git.example.com/x.git",
        Credentials("https://git.example.com/", "bot", "hunter2"),
        True,
    ),
    "one that only seems to be below it": ("https://git.example.com/shop/../bank.git", CREDENTIALS, False),
    "another port": ("https://git.example.com:8443/shop.git", CREDENTIALS, False),
    "another host": ("https://git.example.org/shop", CREDENTIALS, False),
    "nobody, without any": ("https://git.example.com/shop.git", None, False),
    "the address that they stand in": ("https://bot:hunter2@git.example.org/x.git", None, True),
}


@pytest.mark.parametrize("whom", SHOWN)
async def test_credentials_are_shown_to(whom: str, monkeypatch: pytest.MonkeyPatch) -> None:
    url, credentials, shown = SHOWN[whom]
    arguments, environment = await started(url, credentials, monkeypatch)
    assert ("Authorization: Basic Ym90Omh1bnRlcjI=" in environment.values()) is shown
    assert "hunter2" not in str(arguments)
    assert "hunter2" not in str(environment)
    assert "hunter2" not in repr(credentials)


class Private(GitServer):
    """Serves who shows the password of `CREDENTIALS`."""

    def answer(self, asked: Asked) -> Answer:
        if asked.headers.get("authorization") != "Basic Ym90Omh1bnRlcjI=":
            return Answer(401, headers={"WWW-Authenticate": 'Basic realm="git"'})
        return super().answer(asked)


@pytest.mark.parametrize("password", ["hunter2", "hunter1", None])
async def test_a_real_server_is_asked_at_the_address_that_was_checked_and_shown_the_password(
    password: str | None, repository: GitRepository, tmp_path: Path
) -> None:
    """By http: https is the same with TLS, whose authorities are the machine's."""

    async def resolve(host: str, _: int) -> list[str]:
        assert host == "git.example.com"
        return ["127.0.0.1"]

    commit = repository.commit(BASE, "first")
    there = await objects().identity(Spot(repository.url, commit, "web"))
    with Private(tmp_path) as server:
        url = server.url.replace("127.0.0.1", "git.example.com") + "/shop.git"
        shown = None if password is None else Credentials(url, "bot", password)
        asking_it = GitObjects(("http",), resolve).identity(Spot(url, commit, "web"), shown)
        if password == "hunter2":
            assert await asking_it == there
        else:
            with pytest.raises(Unknowable, match="git fetch failed") as refused:
                await asking_it
            assert "hunter" not in str(refused.value)
        assert server.asked


NO_HOSTS = [
    "https://b\u00fccher.example/x",
    "https://%31%32%37.0.0.1/x",
    "https:///x",
    "https://a\\b/x",
    "https://git.example./x",
]


@pytest.mark.parametrize("url", NO_HOSTS)
async def test_a_host_that_git_might_read_otherwise_is_not_called(url: str) -> None:
    """What was checked is pinned by its name: under another spelling it would be looked up once more."""

    async def resolve(_: str, __: int) -> list[str]:
        return ["192.0.2.7"]

    with pytest.raises(Unknowable, match="no host that is written in plain letters"):
        await GitObjects(("https",), resolve).identity(Spot(url, "a" * 40, "web"))


async def test_the_address_that_was_checked_is_the_one_that_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    _, environment = await started("https://git.example.com/shop.git", None, monkeypatch)
    assert "git.example.com:443:192.0.2.7" in environment.values()
    assert environment["GIT_ALLOW_PROTOCOL"] == "https"
    assert environment["GIT_TERMINAL_PROMPT"] == "0"


async def test_nothing_of_our_own_environment_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROLLBACK_SECRET", "hunter3")
    _, environment = await started("https://git.example.com/shop.git", None, monkeypatch)
    assert "hunter3" not in environment.values()
