"""Which addresses a delivery may go to: a webhook must not reach what only this network can reach."""

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

# RFC 6052, 2.1: an IPv4 address in the last four bytes, which a gateway of the network takes for it.
NAT64 = ip_network("64:ff9b::/96")


class NotAllowed(OSError):  # noqa: N818 - named by what it is
    """The host has no address that deliveries may go to."""


def is_public(address: str) -> bool:
    """Return whether anybody on the Internet can reach it, also if it is written inside an IPv6 address."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if not found.is_global or found.is_multicast:
        return False
    return all(inner.is_global and not inner.is_multicast for inner in _inner(found))


def _inner(found: IPv4Address | IPv6Address) -> list[IPv4Address]:
    if isinstance(found, IPv4Address):
        return []
    inner = [found.ipv4_mapped, found.sixtofour, *(found.teredo or ())]
    if found in NAT64:
        inner.append(IPv4Address(int(found) & 0xFFFFFFFF))
    return [address for address in inner if address is not None]


class PublicOnly(AbstractResolver):
    """Resolves a name once for each connection, which uses just the addresses that were looked at."""

    def __init__(self) -> None:
        self._resolver = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        public = [result for result in found if is_public(result["host"])]
        if not public:
            raise NotAllowed(f"{host} has no public address: set allow_private = true if that is right")
        return public

    async def close(self) -> None:
        await self._resolver.close()


def is_literal(host: str | None) -> bool:
    """Return whether a URL's host is an address and not a name, so that nothing resolves it."""
    try:
        ip_address((host or "").partition("%")[0])
    except ValueError:
        return False
    return True


def resolver_of(*, allow_private: bool) -> Any:
    return ThreadedResolver() if allow_private else PublicOnly()
