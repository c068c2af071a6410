"""Which addresses the operator calls when tenants write the URL: whoever writes it does not gain the operator's place.

An operator stands where its tenants do not: beside the cloud's metadata service, on its own loopback, before the API
server. Those are refused unless the administrator allows them.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

Network = IPv4Network | IPv6Network
Lookup = Callable[[str, int], Awaitable[Sequence[str]]]
"""A name and a port to addresses. Raises OSError."""
_Address = IPv4Address | IPv6Address

SETTING = "ROLLBACK_ALLOWED_NETWORKS"

_REFUSED = {
    "a loopback address": ("127.0.0.0/8", "::1/128"),
    "a link-local address": ("169.254.0.0/16", "fe80::/10"),
    "no address of one host": ("0.0.0.0/8", "::/128", "224.0.0.0/4", "255.255.255.255/32", "ff00::/8"),
    # Azure, Alibaba, Oracle, AWS, Google: those that are not link-local.
    "a cloud's metadata address": (
        "168.63.129.16/32",
        "100.100.100.200/32",
        "192.0.0.192/32",
        "fd00:ec2::/32",
        "fd20:ce::254/128",
    ),
    # Teredo and local NAT64 prefixes: where the IPv4 address stands in them is not fixed.
    "an address that hides another one": ("2001::/32", "64:ff9b:1::/48"),
}
_KINDS = tuple((kind, ip_network(network)) for kind, networks in _REFUSED.items() for network in networks)

# The last 32 bits of these are an IPv4 address: NAT64, IPv4-compatible, IPv4-translated (IPv4-mapped is Python's).
_EMBEDDING = tuple(IPv6Network(network) for network in ("64:ff9b::/96", "::/96", "::ffff:0:0:0/96"))


class NotAllowed(Exception):  # noqa: N818 - named as what it tells
    """The URL may not be called; nothing was sent. The message says which address and which setting."""


class Fence:
    """What may be called.

    Args:
        allowed: networks that may be called although they would be refused.
        refused: further addresses that are refused, as `IP`, `IP:port` or `[IPv6]:port`: the API server's.

    Raises:
        ValueError: a refused address is none.
    """

    def __init__(self, allowed: Iterable[Network] = (), refused: Iterable[str] = ()) -> None:
        self._allowed = tuple(allowed)
        self._refused = frozenset(_address_and_port(text) for text in refused)

    def check(self, address: str, port: int) -> None:
        """Make sure that an address, as the socket would get it, may be called.

        Raises:
            NotAllowed: it may not, or it is no address in its usual form.
        """
        try:
            written = ip_address(address)
        except ValueError:
            raise NotAllowed(f"{address} is not an address in its usual form; write it as 192.0.2.7") from None
        for meant in _meanings(written):
            kind = self._kind(meant, port)
            if kind and not self._is_allowed(meant) and not self._is_allowed(written):
                raise NotAllowed(
                    f"{written} is {kind}, which policies may not call; an administrator can allow its network "
                    f"with {SETTING}"
                )

    def _kind(self, address: _Address, port: int) -> str | None:
        if (address, None) in self._refused or (address, port) in self._refused:
            return "the API server's address"
        return next((kind for kind, network in _KINDS if address in network), None)

    def _is_allowed(self, address: _Address) -> bool:
        return any(address in network for network in self._allowed)


OPEN = Fence(allowed=(IPv4Network("0.0.0.0/0"), IPv6Network("::/0")))
"""For addresses that the administrator wrote."""


class CheckedResolver(AbstractResolver):
    """Resolves names; all addresses of a name have to be allowed, whichever is connected to."""

    def __init__(self, fence: Fence, lookup: Lookup) -> None:
        self._fence = fence
        self._lookup = lookup

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Addresses of a name.

        Raises:
            NotAllowed: one of them may not be called.
            OSError: there are none.
        """
        del family  # both are taken
        try:
            addresses = await self._lookup(host, port)
        except UnicodeError as error:
            raise OSError(f"{host} is no name of a host") from error
        for address in addresses:
            self._fence.check(address, port)
        return [_resolved(host, port, address) for address in addresses]

    async def close(self) -> None:
        """Nothing to close."""


def _resolved(host: str, port: int, address: str) -> ResolveResult:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=socket.AI_NUMERICHOST)


def checked_sockets(fence: Fence) -> Callable[[Any], socket.socket]:
    """Makes sockets for addresses that are allowed: addresses in a URL are never resolved, so here is the last door."""

    def make(info: Any) -> socket.socket:
        family, kind, proto, _, (address, port, *_) = info
        fence.check(address, port)
        return socket.socket(family, kind, proto)

    return make


def _meanings(address: _Address) -> Iterator[_Address]:
    """An address, and the IPv4 address that it stands for."""
    yield address
    if not isinstance(address, IPv6Address):
        return
    for embedded in (address.ipv4_mapped, address.sixtofour):
        if embedded is not None:
            yield embedded
    if any(address in network for network in _EMBEDDING):
        yield IPv4Address(int(address) & 0xFFFFFFFF)


def _address_and_port(text: str) -> tuple[_Address, int | None]:
    try:
        return ip_address(text), None
    except ValueError:
        host, _, port = text.rpartition(":")
        return ip_address(host.removeprefix("[").removesuffix("]")), int(port)
