"""A real server for all tests that need one: one process for the whole run, emptied before each test."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import redis
from celery import Celery
from hypothesis import settings
from redis.asyncio import Redis

from tasks.ledger.keys import Keys
from tasks.ledger.ledger import Ledger
from tasks.runtime.clock import HandClock
from tasks.runtime.redis_client import open_redis
from tests.support.key_expiry import keys_without_expiry
from tests.support.ports import free_port
from tests.support.processes import Process, Simulator, environment, simulator, worker
from tests.support.redis_server import RedisServer

# How long an example takes says more about the machine than about the code.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def redis_socket(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The server's Unix socket, for tests that send millions of commands."""
    return tmp_path_factory.mktemp("redis") / "socket"


@pytest.fixture(scope="session")
def redis_server(redis_socket: Path) -> Iterator[RedisServer]:
    # Without `save` and AOF: what the server keeps beyond a test is nobody's business.
    config = {"save": "", "appendonly": "no", "unixsocket": str(redis_socket)}
    with RedisServer(free_port(), config=config) as server:
        yield server


@pytest.fixture
def redis_url(redis_server: RedisServer, request: pytest.FixtureRequest) -> Iterator[str]:
    """The server, emptied. A test fails if it leaves a key without a time to live that is not permanent."""
    with redis.Redis(port=redis_server.port, decode_responses=True) as client:
        client.flushall()
        yield f"redis://127.0.0.1:{redis_server.port}/0"
        marker = request.node.get_closest_marker("permanent_keys")
        left = keys_without_expiry(client, marker.args if marker else ())
    assert left == [], f"keys without a time to live: {', '.join(left[:10])}"


@pytest.fixture
def server(redis_url: str) -> Iterator[redis.Redis]:
    """A plain client, to look at the server from outside."""
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        yield client


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
async def async_redis(redis_url: str) -> AsyncIterator[Redis]:
    client = open_redis(redis_url)
    yield client
    await client.aclose()


@pytest.fixture
def ledger(async_redis: Redis, clock: HandClock) -> Ledger:
    return Ledger(async_redis, Keys("scaleout"), clock, outcome_ttl_s=604_800, stream_maxlen=1_000)


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[Simulator]:
    with simulator(tmp_path / "simulator.log") as started:
        yield started


@pytest.fixture
def env(redis_url: str, provider: Simulator) -> dict[str, str]:
    return environment(redis_url, provider.api_url)


@pytest.fixture
def running(env: dict[str, str], tmp_path: Path) -> Iterator[Process]:
    with worker(env, tmp_path / "worker.log") as started:
        yield started


@pytest.fixture
def producer(redis_url: str) -> Iterator[Celery]:
    with Celery(broker=redis_url, backend=redis_url) as client:
        yield client
