"""Clients for a Redis server that is named by its own URL, or by that of its sentinels."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import redis
from redis.asyncio import BlockingConnectionPool, ConnectionPool, Redis
from redis.asyncio.retry import Retry as AsyncRetry
from redis.asyncio.sentinel import MasterNotFoundError, Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel as BlockingSentinel
from redis.sentinel import SentinelConnectionPool as BlockingSentinelPool
from redis.utils import str_if_bytes

from config.sentinels import Sentinels, names_sentinels, parse_sentinels

ADDRESS = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME")
Address = tuple[str, int]


class MasterPool(SentinelConnectionPool, BlockingConnectionPool):
    """Connections to the server that the sentinels name as the master when each connects.

    The sentinel that conducts a failover goes on listing the old master while the others name the new one
    already, and the old one accepts writes for ten more seconds (measured, Valkey 9.1). So all of them are
    asked, by the command that clients are to use.
    """

    async def agreed_master(self) -> Address | None:
        """Return the master that all that answer name, more than half of the sentinels; None without one.

        The few in the smaller part of a divided network do not know of another master, and the one that
        conducts a failover knows of it first.
        """
        answers = await self._ask()
        agree = len(set(answers)) == 1 and 2 * len(answers) > len(self.sentinel_manager.sentinels)
        return answers[0] if agree else None

    async def get_master_address(self) -> Address:
        """Return it for a connection that is about to be made. Raises MasterNotFoundError."""
        named = _most_named(await self._ask(), self.service_name)
        if named != self.master_address:
            self.master_address = named
            await self.disconnect(inuse_connections=False)
        return named

    async def aclose(self) -> None:
        """Close the connections to the sentinels too."""
        await super().aclose()
        await self.sentinel_manager.aclose()

    async def _ask(self) -> Sequence[Address]:
        asked = self.sentinel_manager.sentinels
        return _addresses(
            await asyncio.gather(
                *(one.execute_command(*ADDRESS, self.service_name) for one in asked), return_exceptions=True
            )
        )


def still_on_master(client: redis.Redis) -> bool:
    """Return whether a client for threads has used the master that the sentinels name now.

    Without sentinels it has.
    """
    pool: Any = client.connection_pool
    if not isinstance(pool, BlockingSentinelPool):
        return True
    answers = []
    for one in pool.sentinel_manager.sentinels:
        with suppress(redis.RedisError):
            answers.append(one.execute_command(*ADDRESS, pool.service_name))
    if _most_named(_addresses(answers), pool.service_name) == pool.master_address:
        return True
    pool.disconnect(inuse_connections=False)
    return False


def _addresses(answers: Sequence[Any]) -> Sequence[Address]:
    return [(str_if_bytes(one[0]), int(one[1])) for one in answers if isinstance(one, list)]


def _most_named(addresses: Sequence[Address], name: str) -> Address:
    """Return what more than half of those say that answer. Raises MasterNotFoundError."""
    for address, times in Counter(addresses).most_common(1):
        if 2 * times > len(addresses):
            return address
    raise MasterNotFoundError(f"the sentinels do not answer, or do not agree on a master called {name}")


def connection_pool(url: str, **options: Any) -> ConnectionPool:
    """Return connections to the server of the URL; `options` as its pools have them."""
    if url.startswith("unix://"):
        options.pop("socket_keepalive", None)
    if not names_sentinels(url):
        return BlockingConnectionPool.from_url(url, **options)
    found = parse_sentinels(url)
    manager = Sentinel(found.hosts, sentinel_kwargs=_asked_once(found))  # type: ignore[no-untyped-call]
    return MasterPool(found.name, manager, **_of_server(found), **options)  # type: ignore[no-untyped-call]


def sentinel_client(found: Sentinels, host: str, port: int) -> Redis:
    """Return a client of one of the sentinels. One that does not answer fails within two seconds."""
    return Redis(host=host, port=port, decode_responses=True, **_asked_once(found))


def async_client(url: str, **options: Any) -> Redis:
    """Return a client of redis-py as it is; it closes its connections with itself."""
    return Redis.from_pool(connection_pool(url, **options))


def blocking_client(url: str, **options: Any) -> redis.Redis:
    """Return a client for threads."""
    if not names_sentinels(url):
        return redis.Redis.from_url(url, **options)
    found = parse_sentinels(url)
    once = Retry(NoBackoff(), 0)
    manager: Any = BlockingSentinel(  # type: ignore[no-untyped-call]
        found.hosts, sentinel_kwargs={**found.sentinel_options, "retry": once}
    )
    client: redis.Redis = manager.master_for(found.name, **_of_server(found), **options)
    return client


def _asked_once(found: Sentinels) -> dict[str, Any]:
    """Return the options of an asyncio client of a sentinel. By default it would be asked four times."""
    return {**found.sentinel_options, "retry": AsyncRetry(NoBackoff(), 0)}


def _of_server(found: Sentinels) -> dict[str, Any]:
    options = {"db": found.db, "username": found.username, "password": found.password}
    return options if found.tls is None else {**options, "ssl": True, **found.tls}
