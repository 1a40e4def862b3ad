"""How long operations took, as the ledger keeps it."""

import redis

from tasks.ledger.change_entries import KeepDuration
from tasks.ledger.change_set import CommitResult
from tasks.ledger.durations import KEPT, KEPT_S, Duration
from tasks.ledger.ledger import Ledger
from tasks.ledger.pools import Pool
from tasks.runtime.clock import HandClock
from tests.support.records import with_entries

POOL = Pool("ehpc-a", "0123456789abcdef", "jn1a", "compute", {"cpu": 4})
OTHER = Pool("ehpc-b", "0123456789abcdef", "jn1a", "compute")


async def ends(ledger: Ledger, pool: Pool, ms: int) -> None:
    at = ledger.clock.now_ms()
    changes = with_entries(KeepDuration(pool, Duration(ms, 2, ok=True, at=at)))
    assert await ledger.commit(changes) is CommitResult.OK


async def test_the_last_hundred_durations_of_a_pool_are_kept_in_order(ledger: Ledger) -> None:
    for ms in range(KEPT + 5):
        await ends(ledger, POOL, ms)
    await ends(ledger, OTHER, 7)

    assert [duration.ms for duration in await ledger.overview.durations("ehpc-a", POOL.name)] == list(
        range(5, 105)
    )
    assert [duration.ms for duration in await ledger.overview.durations("ehpc-b", POOL.name)] == [7]


async def test_pools_are_listed_in_words_the_latest_first(ledger: Ledger, clock: HandClock) -> None:
    await ends(ledger, POOL, 1)
    clock.advance(1)
    await ends(ledger, OTHER, 1)
    assert await ledger.overview.pools_seen() == [OTHER, POOL]
    assert await ledger.overview.pools_seen(1) == [OTHER]
    clock.advance(1)
    await ends(ledger, POOL, 1)
    assert await ledger.overview.pools_seen() == [POOL, OTHER]


async def test_a_pool_that_has_had_no_operation_for_ninety_days_is_forgotten(
    ledger: Ledger, clock: HandClock, server: redis.Redis
) -> None:
    await ends(ledger, POOL, 1)
    key = ledger.keys.durations("ehpc-a", POOL.name)
    assert KEPT_S - 10 <= int(server.ttl(key)) <= KEPT_S
    clock.advance(KEPT_S + 1)
    await ends(ledger, OTHER, 1)

    assert await ledger.overview.pools_seen() == [OTHER]
