"""A process that makes no API calls, and began while the Redis server's clock was wrong."""

import time

import pytest
import redis
from redis.asyncio import Redis

from tasks.ledger.keys import Keys
from tasks.ledger.ledger import Ledger
from tasks.ledger.shared_time import CONFIRMED_AFTER_MS, SharedTime
from tasks.runtime.clock import ServerClock

A_DAY_MS = 86_400_000


class Monotonic:
    """A monotonic clock that a test moves."""

    ms = 1_000_000.0

    def __call__(self) -> float:
        return self.ms


@pytest.fixture
def monotonic() -> Monotonic:
    return Monotonic()


@pytest.fixture
def began_ahead(async_redis: Redis, monotonic: Monotonic) -> Ledger:
    clock = ServerClock(monotonic)
    clock.observe(_now_ms() + A_DAY_MS)
    return Ledger(async_redis, Keys("scaleout"), clock, outcome_ttl_s=604_800, stream_maxlen=1_000)


def _now_ms() -> int:
    return round(time.time() * 1000)


def _a_worker_notes(server: redis.Redis, ahead_ms: int = 0) -> None:
    server.set("scaleout:clock", f"{_now_ms() + ahead_ms} {_now_ms()}", ex=60)


async def test_it_follows_once_workers_have_agreed_for_a_minute(
    began_ahead: Ledger, server: redis.Redis, monotonic: Monotonic
) -> None:
    shared = SharedTime(began_ahead)
    _a_worker_notes(server)

    await shared.compare()
    assert abs(began_ahead.clock.now_ms() - _now_ms()) > A_DAY_MS / 2
    monotonic.ms += CONFIRMED_AFTER_MS
    await shared.compare()

    assert abs(began_ahead.clock.now_ms() - _now_ms()) < 1_000


@pytest.mark.parametrize("worker_ahead_ms", [A_DAY_MS, None])
async def test_it_stays_while_workers_have_another_time_or_there_are_none(
    began_ahead: Ledger, server: redis.Redis, monotonic: Monotonic, worker_ahead_ms: int | None
) -> None:
    shared = SharedTime(began_ahead)
    for _ in range(3):
        if worker_ahead_ms is not None:
            _a_worker_notes(server, worker_ahead_ms)
        await shared.compare()
        monotonic.ms += CONFIRMED_AFTER_MS

    assert abs(began_ahead.clock.now_ms() - _now_ms()) > A_DAY_MS / 2


async def test_a_worker_that_disagrees_meanwhile_begins_the_minute_again(
    began_ahead: Ledger, server: redis.Redis, monotonic: Monotonic
) -> None:
    shared = SharedTime(began_ahead)
    for ahead_ms in (0, A_DAY_MS, 0):
        _a_worker_notes(server, ahead_ms)
        await shared.compare()
        monotonic.ms += CONFIRMED_AFTER_MS / 2

    assert abs(began_ahead.clock.now_ms() - _now_ms()) > A_DAY_MS / 2
