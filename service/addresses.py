"""Where a request that a caller has asked for may go: to public addresses, and to networks that the operator allows.

The check is made when the connection is made, on the addresses to which it is made: a name that is looked up before
and again later may have another address by then.
"""

import asyncio
import socket
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, cast

import httpcore

Network = IPv4Network | IPv6Network
NAT64 = IPv6Network("64:ff9b::/96")
TRANSLATED = (IPv6Network("64:ff9b:1::/48"), IPv6Network("::/96"), IPv6Network("2001::/32"))
"""Addresses behind which others stand: of translators, of the old compatible form, and of Teredo."""


class Forbidden(httpcore.ConnectError):
    """An address to which no caller may send us."""


def networks(text: str) -> tuple[Network, ...]:
    """Networks with commas between. Raises ValueError naming the one that is none."""
    return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())


def inner(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The address to which a packet goes in the end, where another form holds it."""
    if isinstance(address, IPv4Address):
        return address
    if address in NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def public(address: str) -> bool:
    """Whether everybody may reach an address: not loopback, private, link-local, multicast, or a way around that."""
    found = ip_address(address.partition("%")[0])
    if isinstance(found, IPv6Address) and any(found in network for network in TRANSLATED):
        return False
    end = inner(found)
    return end.is_global and not (end.is_multicast or end.is_reserved or end.is_unspecified)


def permitted(address: str, allowed: Iterable[Network]) -> bool:
    """Whether a request may go to an address."""
    found = ip_address(address.partition("%")[0])
    known = {found, inner(found)}
    return public(address) or any(one in network for network in allowed for one in known)


@dataclass
class Guarded(httpcore.AsyncNetworkBackend):
    """Connections to permitted addresses only. A name of which one address is forbidden is forbidden."""

    allowed: Sequence[Network] = ()
    lookups: Executor = field(default_factory=lambda: ThreadPoolExecutor(64, "lookup"))  # a name may take half a minute
    plain: httpcore.AsyncNetworkBackend = field(default_factory=lambda: cast(Any, httpcore.AnyIOBackend()))

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """A connection to one of the host's addresses. Raises Forbidden, or what httpcore raises."""
        addresses = await self._addresses(host, port)
        if not all(permitted(address, self.allowed) for address in addresses):
            raise Forbidden(f"{host!r} is not a public address")
        failed: Exception = httpcore.ConnectError(f"{host!r} has no address")
        for address in addresses:
            try:
                return await self.plain.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
        raise failed

    async def _addresses(self, host: str, port: int) -> list[str]:
        look = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        try:
            found = await asyncio.get_running_loop().run_in_executor(self.lookups, look)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"{host!r} has no address: {error}") from None
        return list(dict.fromkeys(str(info[4][0]) for info in found))

    async def sleep(self, seconds: float) -> None:
        """Of httpcore's own retries."""
        await asyncio.sleep(seconds)
