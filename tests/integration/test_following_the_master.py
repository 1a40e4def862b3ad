"""The ledger's client and the master that sentinels name."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from tasks.engine import celery_results
from tasks.handlers.publish_outcomes import TaskEnd
from tasks.ledger.callers import Caller
from tasks.runtime.redis_client import open_redis
from tests.support.sentinels import SentinelServers, sentinel_servers

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with sentinel_servers(tmp_path_factory.mktemp("redis")) as found:
        yield found


@pytest.fixture
async def client(servers: SentinelServers) -> AsyncIterator[Any]:
    client = open_redis(servers.url)
    yield client
    await client.aclose()


async def test_no_connection_shows_the_past_once_another_has_reached_the_new_master(
    servers: SentinelServers, client: Any
) -> None:
    # Two pipelines at once: each has a connection of its own.
    pings = []
    for _ in range(20):
        pings.append(asyncio.create_task(client.ping()))
        await asyncio.sleep(0)
    await asyncio.gather(*pings)
    assert len(client._connections) == 2
    old = await asyncio.to_thread(servers.fail_over, "planned")
    with old.client() as former:
        former.replicaof("127.0.0.1", 1)  # what is written from now on never reaches it

    await client.set("name", "new")
    seen = await asyncio.gather(*(client.get("name") for _ in range(200)))

    assert set(seen) == {"new"}
    await asyncio.to_thread(rejoin, servers, old)


async def test_a_connection_is_made_anew_once_another_has_reached_another_master(client: Any) -> None:
    before = await client.client_id()

    # As a second connection leaves it that was made after a failover.
    client.connection_pool.master_address = ("127.0.0.1", 1)

    assert await client.client_id() != before


async def test_the_old_master_is_left_before_it_knows_that_it_is_none(
    servers: SentinelServers, client: Any
) -> None:
    await client.set("name", "before")
    old = servers.master
    await asyncio.to_thread(servers.fail_over, "cut off")
    old.thaw()

    assert await client.is_on_master() is False
    await client.set("name", "after")
    assert await client.is_on_master() is True
    with servers.master.client() as master:
        assert master.get("name") == "after"
    await asyncio.to_thread(servers.follow)


def test_results_on_an_old_master_are_stored_again(servers: SentinelServers) -> None:
    ends = [TaskEnd(Caller("t-1"), {"status": "succeeded"})]
    with servers.producer() as app:
        celery_results.resolve(app.backend, ends)
        old = servers.master
        servers.fail_over("cut off")
        old.thaw()

        with pytest.raises(RedisConnectionError, match="old master"):
            celery_results.resolve(app.backend, ends)
        celery_results.resolve(app.backend, ends)
        assert app.AsyncResult("t-1").result == {"status": "succeeded"}
    servers.follow()


async def test_a_majority_of_the_sentinels_has_to_name_the_server(
    servers: SentinelServers, client: Any
) -> None:
    await client.ping()
    assert await client.is_on_master() is True

    for sentinel in servers.sentinels[1:]:
        sentinel.freeze()
    try:
        assert await client.is_on_master() is False
        assert await client.ping() is True
    finally:
        for sentinel in servers.sentinels[1:]:
            sentinel.thaw()


def rejoin(servers: SentinelServers, old: Any) -> None:
    with old.client() as former:
        former.replicaof("127.0.0.1", servers.master.port)
    servers.follow()
