"""Calls to URLs that tenants write, against real servers on loopback."""

from __future__ import annotations

import asyncio
import gzip
import ssl
import time
from collections.abc import AsyncIterator, Sequence
from ipaddress import ip_network
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port

from rollback_operator.signals import outbound as module
from rollback_operator.signals.fence import Fence, NotAllowed
from rollback_operator.signals.outbound import NoAnswer, Outbound
from testbed import pki
from tests.unit.serving import (
    LOOPBACK,
    Handler,
    Serving,
    calling,
    endless,
    resetting,
    saying,
    serving,
    silent,
    trickling,
)

API_SERVER = ("10.96.0.1", "192.0.2.5:6443", "[2001:db8::5]:6443")


@pytest.fixture
async def server() -> AsyncIterator[Serving]:
    async with serving() as one:
        yield one


@pytest.fixture
async def client() -> AsyncIterator[Outbound]:
    async with calling() as one:
        yield one


# Which addresses.

REFUSED: dict[str, tuple[str, str]] = {
    "loopback": ("127.0.0.1", "a loopback address"),
    "another loopback": ("127.255.0.9", "a loopback address"),
    "IPv6 loopback": ("::1", "a loopback address"),
    "the metadata service": ("169.254.169.254", "a link-local address"),
    "IPv6 link-local": ("fe80::1", "a link-local address"),
    "IPv6 link-local with a zone": ("fe80::1%eth0", "a link-local address"),
    "unspecified": ("0.0.0.0", "no address of one host"),  # noqa: S104 - not bound to
    "IPv6 unspecified": ("::", "no address of one host"),
    "multicast": ("224.0.0.1", "no address of one host"),
    "IPv6 multicast": ("ff02::1", "no address of one host"),
    "broadcast": ("255.255.255.255", "no address of one host"),
    "AWS' metadata on IPv6": ("fd00:ec2::254", "a cloud's metadata address"),
    "Azure's": ("168.63.129.16", "a cloud's metadata address"),
    "loopback, IPv4-mapped": ("::ffff:127.0.0.1", "a loopback address"),
    "loopback, IPv4-compatible": ("::127.0.0.1", "a loopback address"),
    "loopback, IPv4-translated": ("::ffff:0:127.0.0.1", "a loopback address"),
    "loopback, 6to4": ("2002:7f00:1::1", "a loopback address"),
    "the metadata service, NAT64": ("64:ff9b::a9fe:a9fe", "a link-local address"),
    "local NAT64": ("64:ff9b:1::808:808", "an address that hides another one"),
    "Teredo": ("2001:0:808:808::1", "an address that hides another one"),
    "the API server": ("10.96.0.1", "the API server's address"),
    "the API server, IPv4-mapped": ("::ffff:10.96.0.1", "the API server's address"),
    "the API server, 6to4": ("2002:a60:1::", "the API server's address"),
    "the API server's port": ("192.0.2.5", "the API server's address"),
    "the API server's port on IPv6": ("2001:db8::5", "the API server's address"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_it_is_refused(case: str) -> None:
    address, kind = REFUSED[case]
    with pytest.raises(NotAllowed, match=f"is {kind}, .*ROLLBACK_ALLOWED_NETWORKS"):
        Fence(refused=API_SERVER).check(address, 6443)


ALLOWED = ("10.0.0.7", "172.16.3.4", "192.168.1.1", "100.64.0.1", "8.8.8.8", "fd12::1", "2606:4700::1")
HIDDEN = ("::ffff:10.0.0.7", "64:ff9b::808:808", "2002:808:808::1")


@pytest.mark.parametrize("address", [*ALLOWED, *HIDDEN])
def test_it_is_allowed(address: str) -> None:
    Fence(refused=API_SERVER).check(address, 6443)


def test_another_port_of_the_api_servers_host_is_allowed() -> None:
    Fence(refused=API_SERVER).check("192.0.2.5", 9090)


@pytest.mark.parametrize("address", ["127.0.0.1", "::ffff:127.0.0.1", "2002:7f00:1::1"])
def test_an_administrator_can_allow(address: str) -> None:
    fence = Fence([ip_network("127.0.0.0/8")])
    fence.check(address, 80)
    with pytest.raises(NotAllowed):
        fence.check("169.254.169.254", 80)


@pytest.mark.parametrize("address", ["127.1", "0x7f.1", "2130706433", "host", ""])
def test_what_is_no_address_in_its_usual_form_is_refused(address: str) -> None:
    """The system would understand some of them."""
    with pytest.raises(NotAllowed, match="not an address in its usual form"):
        Fence().check(address, 80)


@pytest.mark.parametrize("text", ["kubernetes.default.svc", "10.0.0.1:https", ""])
def test_an_address_to_refuse_has_to_be_one(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Fence(refused=[text])


ODD = (
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "0177.0.0.1",
    "0x7f.1",
    "0x7f000001",
    "2130706433",
    "017700000001",
    "127。0。0。1",
    "①27.0.0.1",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[64:ff9b::7f00:1]",
    "0.0.0.0",  # noqa: S104 - not bound to
    "0",
    "[::]",
    "localhost",
    "LOCALHOST",
)


@pytest.mark.parametrize("host", ODD)
async def test_no_way_to_write_loopback_gets_there(host: str, server: Serving) -> None:
    async with calling(Fence()) as client:
        with pytest.raises(NotAllowed):
            await client.get(f"http://{host}:{server.port}/", within=5, limit=100)
    assert not server.asked


@pytest.mark.parametrize(
    "url",
    ["ftp://host/", "http://", "http://user:secret@host/", "/path", "http://a\\b/", "http://[::1/", "http://h:99999/"],
)
async def test_what_is_no_address_is_not_called(url: str, client: Outbound) -> None:
    with pytest.raises(NotAllowed, match="write one such as") as caught:
        await client.get(url, within=5, limit=100)
    assert "secret" not in str(caught.value)


# Names.


class Names:
    """Resolves names as a test says, one list for each time."""

    def __init__(self, *found: Sequence[str]) -> None:
        self.found = list(found)
        self.asked: list[tuple[str, int]] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append((host, port))
        return self.found.pop(0)


async def test_a_name_is_resolved_once_and_connected_to_what_was_checked(server: Serving) -> None:
    names = Names(["127.0.0.1"], ["127.0.0.2"])
    async with calling(Fence([ip_network("127.0.0.1/32")]), names) as client:
        answer = await client.get(f"http://rebinding.example:{server.port}/", within=5, limit=100)
    assert answer.status == 200
    assert names.asked == [("rebinding.example", server.port)]
    assert server.asked[0].headers["Host"] == f"rebinding.example:{server.port}"


@pytest.mark.parametrize("found", [["127.0.0.1", "169.254.169.254"], ["169.254.169.254", "127.0.0.1"]])
async def test_all_addresses_of_a_name_have_to_be_allowed(found: list[str], server: Serving) -> None:
    async with calling(Fence(LOOPBACK), Names(found)) as client:
        with pytest.raises(
            NotAllowed, match=rf"GET http://two.example:{server.port}/: 169.254.169.254 is a link-local"
        ):
            await client.get(f"http://two.example:{server.port}/?token=x", within=5, limit=100)
    assert not server.asked


async def test_a_name_that_nobody_knows(client: Outbound) -> None:
    with pytest.raises(NoAnswer, match="the host's name cannot be resolved") as caught:
        await client.get("http://nobody.invalid/", within=10, limit=100)
    assert caught.value.kind == "name"


async def test_a_name_that_cannot_be_one(client: Outbound) -> None:
    with pytest.raises(NoAnswer) as caught:
        await client.get(f"http://{'a' * 70}.example/", within=10, limit=100)
    assert caught.value.kind == "name"


@pytest.mark.usefixtures("never_busy")
async def test_a_name_that_is_not_resolved_in_time_is_no_fault_of_the_host() -> None:
    async def never(_: str, __: int) -> Sequence[str]:
        await asyncio.sleep(3600)
        raise AssertionError

    async with calling(lookup=never) as client:
        with pytest.raises(NoAnswer, match=r"no connection within 0.1s") as caught:
            await client.get("http://slow.example/", within=0.1, limit=100)
    assert caught.value.kind == "connect"


# What is sent, and what is not.


async def test_nothing_is_taken_from_the_surroundings(server: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{unused_port()}")
    server.handler = saying("ok", Set_Cookie="a=b")
    async with calling() as client:
        for _ in range(2):
            assert (await client.get(server.url, within=5, limit=100)).status == 200
    assert "Cookie" not in server.asked[1].headers


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_an_answer(status: int, server: Serving, client: Outbound) -> None:
    server.handler = saying("", status, Location="/elsewhere")
    answer = await client.get(f"{server.url}/here", within=5, limit=100, headers={"Authorization": "Bearer t"})
    assert answer.status == status
    assert [asked.path for asked in server.asked] == ["/here"]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_method_and_headers(method: str, server: Serving, client: Outbound) -> None:
    answer = await client.get(server.url, within=5, limit=100, method=method, headers={"X-Scope-OrgID": "shop"})
    assert answer.body == (b"ok" if method == "GET" else b"")
    assert server.asked[0].method == method
    assert server.asked[0].headers["X-Scope-OrgID"] == "shop"
    assert server.asked[0].headers["User-Agent"] == "rollback-operator"


async def test_connections_are_kept_unless_a_fresh_one_is_asked_for(server: Serving, client: Outbound) -> None:
    for fresh in (False, False, True, True, False):
        await client.get(server.url, within=5, limit=100, fresh=fresh)
    first, second, third, fourth, fifth = server.callers
    assert first == second == fifth
    assert len({first, third, fourth}) == 3


async def test_what_the_administrator_wrote_may_be_anywhere_and_lends_nobody_its_connection(server: Serving) -> None:
    async with calling(Fence()) as client:
        assert (await client.get(server.url, within=5, limit=100, trusted=True)).status == 200
        with pytest.raises(NotAllowed):
            await client.get(server.url, within=5, limit=100)
    assert len(server.asked) == 1


# What comes.


@pytest.mark.parametrize("size, whole", [(0, True), (99, True), (100, True), (101, False), (1_000_000, False)])
async def test_a_body_is_cut(size: int, whole: bool, server: Serving, client: Outbound) -> None:  # noqa: FBT001 - a table
    server.handler = saying("x" * size)
    answer = await client.get(server.url, within=5, limit=100)
    assert answer.body == b"x" * min(size, 100)
    assert answer.whole is whole
    assert "body" not in repr(answer)


async def test_a_body_without_end_is_cut(server: Serving, client: Outbound) -> None:
    server.handler = endless
    answer = await client.get(server.url, within=30, limit=200_000)
    assert (len(answer.body), answer.whole) == (200_000, False)


async def test_a_body_is_not_unpacked(server: Serving, client: Outbound) -> None:
    """A few bytes may become gigabytes."""
    packed = gzip.compress(b"x" * 1_000_000)
    server.handler = saying(packed, Content_Encoding="gzip")
    assert (await client.get(server.url, within=5, limit=10_000)).body == packed
    assert server.asked[0].headers["Accept-Encoding"] == "identity"


async def test_an_answer_is_timed_from_the_connection_on(server: Serving) -> None:
    async def slow(_: str, __: int) -> Sequence[str]:
        await asyncio.sleep(0.8)
        return ["127.0.0.1"]

    async def thinking(_: web.Request) -> web.StreamResponse:
        await asyncio.sleep(0.8)
        return web.Response()

    server.handler = thinking
    async with calling(lookup=slow) as client:
        answer = await client.get(f"http://slow.example:{server.port}/", within=1.5, limit=100)
    assert 0.8 <= answer.seconds < 1.5


# What does not.

FAILURES: dict[str, tuple[Handler, str, str]] = {
    "silence": (silent, "timeout", "no answer within 0.5s"),
    "an answer that does not end": (trickling, "timeout", "no answer within 0.5s"),
    "a reset": (resetting, "broken", "the connection broke, or what came is no HTTP"),
}


@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize("case", FAILURES)
@pytest.mark.usefixtures("never_busy")
async def test_what_happens_on(case: str, fresh: bool, server: Serving, client: Outbound) -> None:  # noqa: FBT001 - a table
    server.handler, kind, said = FAILURES[case]
    with pytest.raises(NoAnswer) as caught:
        await client.get(f"{server.url}/healthz?token=hidden#part", within=0.5, limit=100, fresh=fresh)
    assert caught.value.kind == kind
    assert str(caught.value) == f"GET {server.url}/healthz: {said}"


async def test_a_port_where_nobody_listens(client: Outbound) -> None:
    port = unused_port()
    with pytest.raises(NoAnswer) as caught:
        await client.get(f"http://127.0.0.1:{port}/", within=5, limit=100)
    assert (caught.value.kind, str(caught.value)) == ("refused", f"GET http://127.0.0.1:{port}/: connection refused")


async def test_a_name_whose_addresses_all_refuse(server: Serving) -> None:
    async with calling(Fence(LOOPBACK), Names(["127.0.0.2", "127.0.0.3"])) as client:
        with pytest.raises(NoAnswer) as caught:
            await client.get(f"http://two.example:{server.port}/", within=5, limit=100)
    assert caught.value.kind == "refused"


async def test_a_host_without_a_way_to_it(monkeypatch: pytest.MonkeyPatch, client: Outbound) -> None:
    async def no_route(*_: object) -> None:
        raise OSError(113, "No route to host")

    monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", no_route)
    with pytest.raises(NoAnswer, match="no connection: No route to host") as caught:
        await client.get("http://127.0.0.1:9/", within=5, limit=100)
    assert caught.value.kind == "connect"


async def test_what_speaks_no_http(client: Outbound) -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"secret words\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(babble, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(NoAnswer) as caught:
            await client.get(f"http://127.0.0.1:{port}/", within=5, limit=100)
    assert caught.value.kind == "broken"
    assert "secret" not in str(caught.value)


@pytest.mark.usefixtures("never_busy")
async def test_waiting_for_a_connection_of_ones_own_is_no_fault_of_the_host(
    server: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CONNECTIONS_PER_HOST", 1)
    server.handler = silent
    async with calling() as client:
        both = [client.get(server.url, within=within, limit=100) for within in (1.0, 0.4)]
        first, second = await asyncio.gather(*both, return_exceptions=True)
    assert isinstance(first, NoAnswer)
    assert isinstance(second, NoAnswer)
    assert (first.kind, second.kind) == ("timeout", "connect")


async def test_an_operator_that_was_busy_accuses_nobody(server: Serving, client: Outbound) -> None:
    reached = asyncio.Event()

    async def reaching(request: web.Request) -> web.StreamResponse:
        reached.set()
        return await silent(request)

    server.handler = reaching
    asked = asyncio.ensure_future(client.get(server.url, within=0.2, limit=100))
    await reached.wait()
    time.sleep(0.5)  # noqa: ASYNC251 - this is what is tested
    with pytest.raises(NoAnswer, match="the operator was too busy") as caught:
        await asked
    assert caught.value.kind == "busy"


# TLS.


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> pki.Pki:
    return pki.create(tmp_path_factory.mktemp("pki") / "keys", ["127.0.0.1"])


@pytest.fixture
async def secure(keys: pki.Pki) -> AsyncIterator[Serving]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(keys.certificate("apiserver"), keys.key("apiserver"))
    async with serving(context) as one:
        yield one


def trusting(file: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(file))


async def test_a_certificate_of_an_authority_that_is_trusted(secure: Serving, keys: pki.Pki, client: Outbound) -> None:
    url = f"https://127.0.0.1:{secure.port}/"
    assert (await client.get(url, within=5, limit=100, tls=trusting(keys.authority))).status == 200


async def test_a_certificate_of_nobody_known(secure: Serving, client: Outbound) -> None:
    with pytest.raises(NoAnswer, match=r"TLS failed: .*certificate") as caught:
        await client.get(f"https://127.0.0.1:{secure.port}/", within=5, limit=100)
    assert caught.value.kind == "tls"
    assert not secure.asked


async def test_a_certificate_of_another_host(secure: Serving, keys: pki.Pki) -> None:
    async with calling(lookup=Names(["127.0.0.1"])) as client:
        url = f"https://other.example:{secure.port}/"
        with pytest.raises(NoAnswer, match="TLS failed") as caught:
            await client.get(url, within=5, limit=100, tls=trusting(keys.authority))
    assert caught.value.kind == "tls"


async def test_tls_where_there_is_none(server: Serving, client: Outbound) -> None:
    with pytest.raises(NoAnswer, match="TLS failed") as caught:
        await client.get(f"https://127.0.0.1:{server.port}/", within=5, limit=100)
    assert caught.value.kind == "tls"


async def test_a_server_that_wants_a_certificate_of_ours(keys: pki.Pki, client: Outbound) -> None:
    """TLS 1.3 says so only after the handshake, when the connection seems to stand."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(keys.certificate("apiserver"), keys.key("apiserver"))
    context.load_verify_locations(keys.authority)
    context.verify_mode = ssl.CERT_REQUIRED
    async with serving(context) as one:
        url = f"https://127.0.0.1:{one.port}/"
        with pytest.raises(NoAnswer, match="perhaps a certificate is asked for") as caught:
            await client.get(url, within=5, limit=100, tls=trusting(keys.authority))
    assert caught.value.kind == "tls"


async def test_hosts_of_one_namespace_that_hang_keep_nobody_elses_from_being_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "CONNECTIONS", 4)
    monkeypatch.setattr(module, "SHARE", 3)
    gate, hanging = asyncio.Event(), asyncio.Semaphore(0)

    async def handle(request: web.Request) -> web.Response:
        if request.path == "/hang":
            hanging.release()
            await gate.wait()
        return web.Response(text="ok")

    async def lookup(_: str, __: int) -> list[str]:
        return ["127.0.0.1"]

    app = web.Application()
    app.router.add_get("/{path:.*}", handle)
    async with TestServer(app) as server:
        client = Outbound(Fence(LOOPBACK), lookup)
        held = [
            asyncio.create_task(
                client.get(f"http://{number}.example:{server.port}/hang", within=60, limit=10, whose="evil")
            )
            for number in range(3)
        ]
        for _ in held:
            await hanging.acquire()
        mine = f"http://good.example:{server.port}/"

        with pytest.raises(NoAnswer, match="3 other calls of namespace evil are under way") as caught:
            await client.get(mine, within=0.05, limit=10, whose="evil")
        answers = [await client.get(mine, within=60, limit=10, whose=whose) for whose in ("shop", None)]

        gate.set()
        await asyncio.gather(*held)
        await client.close()
    assert caught.value.kind == "busy"
    assert [answer.status for answer in answers] == [200, 200]
