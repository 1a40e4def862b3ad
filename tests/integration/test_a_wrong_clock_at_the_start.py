"""What a process does, or leaves behind, that began while the Redis server's clock was ahead."""

import time

import pytest
import redis
from redis.asyncio import Redis

from tasks.ledger.change_set import ChangeSet
from tasks.ledger.due import Due, DueKind
from tasks.ledger.keys import Keys
from tasks.ledger.ledger import LOOK_EVERY_MS, Ledger
from tasks.ledger.record_scan import RecordScan
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


async def test_it_looks_for_due_work_again_once_its_clock_is_set_back(
    began_ahead: Ledger, monotonic: Monotonic
) -> None:
    assert await began_ahead.tick(10, "worker") is not None
    assert await began_ahead.tick(10, "worker") is None

    began_ahead.clock.observe(_now_ms())
    began_ahead.clock.follow_step()
    monotonic.ms += LOOK_EVERY_MS + 1

    assert await began_ahead.tick(10, "worker") is not None


async def test_a_sweep_that_it_has_noted_as_under_way_stops_no_other(
    began_ahead: Ledger, async_redis: Redis
) -> None:
    right = Ledger(async_redis, Keys("scaleout"), ServerClock(), outcome_ttl_s=604_800, stream_maxlen=1_000)
    await right.learn_time()
    changes = ChangeSet()
    changes.schedule(Due(DueKind.CLUSTER, "ehpc-a"), right.clock.now_ms())
    await right.commit(changes)

    assert await began_ahead.request_sweep(10)
    assert await right.request_sweep(10)
    assert not await right.request_sweep(10)


async def test_a_slow_check_that_it_has_put_off_is_made_by_others(
    began_ahead: Ledger, async_redis: Redis
) -> None:
    right = Ledger(async_redis, Keys("scaleout"), ServerClock(), outcome_ttl_s=604_800, stream_maxlen=1_000)
    await right.learn_time()

    await RecordScan(began_ahead).wait(15_000)

    assert await RecordScan(right).next_ids(15_000, 10) is not None
    assert await RecordScan(right).next_ids(15_000, 10) is None
