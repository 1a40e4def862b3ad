"""What a process does, or leaves behind, that began while the Redis server's clock was ahead."""

import time

import pytest
import redis
from redis.asyncio import Redis

from tasks.ledger.change_set import ChangeSet, CommitResult
from tasks.ledger.due import Due, DueKind
from tasks.ledger.keys import Keys
from tasks.ledger.ledger import LOOK_EVERY_MS, TRUSTED_AFTER_MS, Ledger
from tasks.ledger.record_scan import RecordScan
from tasks.ledger.shared_time import CONFIRMED_AFTER_MS, SharedTime
from tasks.ledger.usage_entries import LimitCheck, UsageEntry
from tasks.limits.usage import UsageCounter
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


@pytest.mark.parametrize("tick_ahead_ms", [-A_DAY_MS, -600_000, 600_000, A_DAY_MS])
async def test_what_a_dead_server_lost_is_looked_for_by_either_time(
    async_redis: Redis, server: redis.Redis, tick_ahead_ms: int
) -> None:
    """The last tick that its history has, or the first one after it, is by a clock that was wrong."""
    now = _now_ms()
    server.hset("scaleout:epoch", mapping={"server": "0" * 40, "ticked": now + tick_ahead_ms})
    server.set("scaleout:clock", f"{now + tick_ahead_ms} {now - 3_600_000} 1", ex=60)
    new = Ledger(async_redis, Keys("scaleout"), ServerClock(), outcome_ttl_s=604_800, stream_maxlen=1_000)
    new.settle_ms = 105_000
    await new.learn_time()

    await new.request_sweep(10, "new")

    change = new.server_change
    assert change is not None
    assert change.since <= min(now, now + tick_ahead_ms)
    assert change.at + new.settle_ms > max(now, now + tick_ahead_ms)
    new.prove_time()
    await new.request_sweep(10, "new")
    # Once the time is known, a settle time from now is long enough.
    assert new.server_change is not None
    assert new.server_change.at <= _now_ms()
    assert new.server_change.since == change.since


@pytest.mark.parametrize(
    ("noted", "is_proven"),
    [
        (None, True),
        ((-1_000, 1), True),
        ((-3_600_000, 1), False),
        ((-1_000, 0), False),
        ((3_600_000, 1), False),
    ],
)
async def test_a_time_is_proven_by_workers_who_had_it_until_just_now(
    async_redis: Redis, server: redis.Redis, noted: tuple[int, int] | None, is_proven: bool
) -> None:
    if noted is not None:
        # By a server's time of an hour ago: the worker that noted it has ended.
        server.set("scaleout:clock", f"{_now_ms() + noted[0]} {_now_ms() - 3_600_000} {noted[1]}", ex=60)
    monotonic = Monotonic()
    clock = ServerClock(monotonic)
    new = Ledger(async_redis, Keys("scaleout"), clock, outcome_ttl_s=604_800, stream_maxlen=1_000)

    await new.learn_time()

    assert new.time_is_proven is is_proven
    monotonic.ms += TRUSTED_AFTER_MS
    assert new.time_is_proven


@pytest.mark.parametrize(("ago_ms", "is_proven"), [(1_000, True), (A_DAY_MS, False)])
async def test_before_the_first_worker_the_newest_request_tells_the_time(
    async_redis: Redis, server: redis.Redis, ago_ms: int, is_proven: bool
) -> None:
    server.zadd("scaleout:open", {"r-1": _now_ms() - ago_ms})
    server.expire("scaleout:open", 60)
    first = Ledger(async_redis, Keys("scaleout"), ServerClock(), outcome_ttl_s=604_800, stream_maxlen=1_000)

    await first.learn_time()

    assert first.time_is_proven is is_proven


async def test_a_limit_forgets_nothing_by_a_time_that_is_not_proven(
    async_redis: Redis, began_ahead: Ledger
) -> None:
    """What has left its window does not count, and is still there for those who know the time."""
    right = Ledger(async_redis, Keys("scaleout"), ServerClock(), outcome_ttl_s=604_800, stream_maxlen=1_000)
    await right.learn_time()
    await right.request_sweep(10, "right")
    await async_redis.expire("scaleout:clock", 60)
    await began_ahead.learn_time()
    counter = UsageCounter("account", 3_600)
    bought = ChangeSet()
    bought.add(UsageEntry("account", 3_600, "op-1", 8, right.clock.now_ms(), enters=True))
    assert await right.commit(bought) is CommitResult.OK

    by_wrong_time = ChangeSet()
    by_wrong_time.add(LimitCheck("account", 3_600, 8, 10))
    assert await began_ahead.commit(by_wrong_time) is CommitResult.OK

    (usage,) = await right.usage([counter])
    assert usage.used == 8
    too_much = ChangeSet()
    too_much.add(LimitCheck("account", 3_600, 8, 10))
    assert await right.commit(too_much) is CommitResult.OVER_LIMIT
