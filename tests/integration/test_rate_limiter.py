"""The rate limiter's sliding window on a real server."""

import pytest
import redis
from redis.asyncio import Redis

from tasks.quota.priorities import CallPriority
from tasks.quota.rate_limiter import MAX_GRANTED, Denied, Grant, RateLimiter
from tasks.runtime.clock import HandClock, ServerClock


@pytest.fixture
def limiter(async_redis: Redis, clock: HandClock) -> RateLimiter:
    return RateLimiter(async_redis, "scaleout", clock, limit=100, window_s=3600, lasting_s=30)


async def fill(limiter: RateLimiter, priority: CallPriority, maximum: int = 1000) -> int:
    granted = 0
    while granted < maximum and isinstance(await limiter.reserve(priority), Grant):
        granted += 1
    return granted


async def test_submissions_stop_first_then_reconciliation_then_polling(limiter: RateLimiter) -> None:
    assert await fill(limiter, CallPriority.SUBMIT) == 85
    assert await fill(limiter, CallPriority.RECONCILE) == 10
    assert await fill(limiter, CallPriority.POLL) == 3


async def test_calls_of_polling_leave_room_for_submissions(limiter: RateLimiter, clock: HandClock) -> None:
    await fill(limiter, CallPriority.POLL, 40)
    clock.advance(60)
    assert (await limiter.usage()).limit_for(CallPriority.SUBMIT) == 92
    assert await fill(limiter, CallPriority.SUBMIT) == 52
    assert await fill(limiter, CallPriority.POLL) == 6

    clock.advance(3600)
    # What has left the window was polling's, and goes to those that may have it.
    assert (await limiter.usage()).by_priority == {
        CallPriority.SUBMIT: 52,
        CallPriority.RECONCILE: 0,
        CallPriority.POLL: 6,
    }
    assert (await limiter.usage()).limit_for(CallPriority.SUBMIT) == 91
    assert await fill(limiter, CallPriority.SUBMIT) == 33
    assert await fill(limiter, CallPriority.POLL) == 7, "13 of 100 are polling's whatever is submitted"


@pytest.mark.parametrize("polls", [0, 3, 7, 30])
async def test_the_denied_caller_waits_exactly_as_long_as_needed(
    limiter: RateLimiter, clock: HandClock, polls: int
) -> None:
    for _ in range(polls):
        await fill(limiter, CallPriority.POLL, 1)
        clock.advance(3)
    while isinstance(await limiter.reserve(CallPriority.SUBMIT), Grant):
        clock.advance(1)

    until = await limiter.next_free_ms(CallPriority.SUBMIT)

    assert await limiter.reserve(CallPriority.SUBMIT) == Denied(until)
    clock.advance((until - 2 - clock.now_ms()) / 1000)
    assert await limiter.reserve(CallPriority.SUBMIT) == Denied(until)
    clock.advance(0.002)
    assert isinstance(await limiter.reserve(CallPriority.SUBMIT), Grant)


async def test_a_caller_whose_clock_is_ahead_makes_nobody_forget(
    limiter: RateLimiter, async_redis: Redis
) -> None:
    ahead = HandClock()
    ahead.advance(90_000)
    other = RateLimiter(async_redis, "scaleout", ahead, limit=100, window_s=3600, lasting_s=30)
    assert await fill(limiter, CallPriority.SUBMIT) == 85

    await other.reserve(CallPriority.POLL)

    assert isinstance(await limiter.reserve(CallPriority.SUBMIT), Denied)


@pytest.mark.parametrize("limit", [4, 5, 6, 10, 100, 2_000])
async def test_polling_has_calls_whatever_the_others_have_taken(
    async_redis: Redis, clock: HandClock, limit: int
) -> None:
    limiter = RateLimiter(async_redis, "scaleout", clock, limit=limit, window_s=3600, lasting_s=30)
    await fill(limiter, CallPriority.SUBMIT, limit)
    await fill(limiter, CallPriority.RECONCILE, limit)

    assert limiter.reserved_for_polling >= 1
    assert isinstance(await limiter.reserve(CallPriority.POLL, limiter.reserved_for_polling), Grant)


async def test_a_call_counts_from_its_grant_until_one_window_after_its_end(
    limiter: RateLimiter, clock: HandClock
) -> None:
    await fill(limiter, CallPriority.SUBMIT, 84)
    last = await limiter.reserve(CallPriority.SUBMIT)
    assert isinstance(last, Grant)
    clock.advance(20)
    limiter.ended(last.calls)
    clock.advance(3600 - 20 + 30)
    # The 84 that were never heard of count from the end of what a call may last.
    assert await fill(limiter, CallPriority.SUBMIT, 84) == 84
    assert (await limiter.usage()).used <= 85


async def test_a_denied_reservation_says_when_to_try_again(limiter: RateLimiter, clock: HandClock) -> None:
    began = clock.now_ms()
    await fill(limiter, CallPriority.SUBMIT)
    answer = await limiter.reserve(CallPriority.SUBMIT, 2)
    assert isinstance(answer, Denied)
    assert answer.until_ms == began + (30 + 3600) * 1000 + 1
    clock.advance((answer.until_ms - began) / 1000)
    assert isinstance(await limiter.reserve(CallPriority.SUBMIT, 2), Grant)


async def test_two_calls_are_granted_together_or_not_at_all(limiter: RateLimiter) -> None:
    await fill(limiter, CallPriority.SUBMIT, 84)
    assert isinstance(await limiter.reserve(CallPriority.SUBMIT, 2), Denied)
    assert isinstance(await limiter.reserve(CallPriority.SUBMIT, 1), Grant)


async def test_calls_that_were_not_made_are_given_back(limiter: RateLimiter) -> None:
    grant = await limiter.reserve(CallPriority.SUBMIT, 2)
    assert isinstance(grant, Grant)
    await limiter.release(grant.calls[1:])
    assert (await limiter.usage()).used == 1


async def test_a_window_that_the_provider_calls_exhausted_admits_only_a_probe(
    limiter: RateLimiter, clock: HandClock
) -> None:
    until = await limiter.mark_exhausted(None)
    assert until == clock.now_ms() + 3_600_000
    for priority in CallPriority:
        assert isinstance(await limiter.reserve(priority), Denied)
    clock.advance(180)
    probe = await limiter.reserve(CallPriority.POLL)
    assert isinstance(probe, Grant)
    assert probe.probe
    assert isinstance(await limiter.reserve(CallPriority.POLL), Denied), "one probe at a time"
    await limiter.clear_exhausted()
    assert isinstance(await limiter.reserve(CallPriority.SUBMIT), Grant)
    assert (await limiter.usage()).exhausted_until_ms is None


async def test_a_retry_after_is_kept_to(limiter: RateLimiter, clock: HandClock) -> None:
    await limiter.mark_exhausted(60)
    assert (await limiter.usage()).exhausted_until_ms == clock.now_ms() + 60_000
    clock.advance(61)
    assert isinstance(await limiter.reserve(CallPriority.SUBMIT), Grant)


async def test_it_says_when_the_next_call_of_each_priority_is_free(
    limiter: RateLimiter, clock: HandClock
) -> None:
    began = clock.now_ms()
    await fill(limiter, CallPriority.SUBMIT, 40)
    clock.advance(10)
    await fill(limiter, CallPriority.SUBMIT)
    await fill(limiter, CallPriority.RECONCILE, 4)

    assert await limiter.next_free_ms(CallPriority.POLL) == clock.now_ms()
    assert await limiter.next_free_ms(CallPriority.SUBMIT) == began + (30 + 3600) * 1000 + 1
    clock.advance((await limiter.next_free_ms(CallPriority.SUBMIT) - clock.now_ms()) / 1000)
    assert isinstance(await limiter.reserve(CallPriority.SUBMIT), Grant)


async def test_in_an_exhausted_window_the_next_call_is_the_probe(
    limiter: RateLimiter, clock: HandClock
) -> None:
    await limiter.mark_exhausted(None)

    assert await limiter.next_free_ms(CallPriority.SUBMIT) == clock.now_ms() + 180_000


async def test_consecutive_calls_count_until_the_last_may_have_ended(
    limiter: RateLimiter, clock: HandClock
) -> None:
    await limiter.reserve(CallPriority.POLL, 40, lasting_s=150)
    # The last of them has left after two minutes, and this process is never heard of again.
    clock.advance(3600 + 149)
    assert (await limiter.usage()).used == 40
    clock.advance(2)
    assert (await limiter.usage()).used == 0


async def test_a_grant_says_until_when_its_calls_may_be_made(limiter: RateLimiter, clock: HandClock) -> None:
    grant = await limiter.reserve(CallPriority.SUBMIT, 2, lasting_s=105)

    assert isinstance(grant, Grant)
    assert grant.until_ms == clock.now_ms() + 105_000


async def test_usage_is_counted_by_priority(limiter: RateLimiter) -> None:
    await fill(limiter, CallPriority.SUBMIT, 3)
    await fill(limiter, CallPriority.POLL, 2)

    usage = await limiter.usage()

    assert usage.by_priority == {CallPriority.SUBMIT: 3, CallPriority.RECONCILE: 0, CallPriority.POLL: 2}
    assert usage.used == 5


async def test_polling_shares_its_calls_among_all_zones(limiter: RateLimiter) -> None:
    await fill(limiter, CallPriority.SUBMIT, 3)
    await limiter.polling_budget("jn1a", 4)

    assert (await limiter.polling_budget("jn1b", 2)).calls_per_poll == 6
    assert (await limiter.polling_budget("jn1a", 0)).calls_per_poll == 2
    assert (await limiter.polling_budget("jn1b", 3)).others == 3


async def test_ends_that_could_not_be_written_go_with_the_next_reservation(
    limiter: RateLimiter, clock: HandClock, server: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    grant = await limiter.reserve(CallPriority.POLL)
    assert isinstance(grant, Grant)
    limiter.ended(grant.calls)

    async def away(*_: object) -> None:
        raise redis.ConnectionError("away")

    with monkeypatch.context() as outage:
        outage.setattr(limiter, "_reserve", away)
        with pytest.raises(redis.ConnectionError):
            await limiter.reserve(CallPriority.POLL)
    await limiter.reserve(CallPriority.POLL)

    ends = server.zscore("scaleout:quota:calls:3", grant.calls[0])
    assert ends == clock.now_ms() + 250


async def test_the_same_reservation_sent_twice_is_granted_once(
    limiter: RateLimiter, server: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("uuid.uuid4", lambda: type("U", (), {"hex": "one-call"})())
    assert isinstance(await limiter.reserve(CallPriority.SUBMIT), Grant)
    assert isinstance(await limiter.reserve(CallPriority.SUBMIT), Grant)
    assert server.zcard("scaleout:quota:calls:1") == 1


async def test_calls_of_a_clock_that_was_behind_count_until_their_window_is_over(async_redis: Redis) -> None:
    monotonic_ms = 0.0
    clock = ServerClock(lambda: monotonic_ms)
    clock.observe(1_700_000_000_000)
    limiter = RateLimiter(async_redis, "scaleout", clock, limit=100, window_s=3600, lasting_s=10)
    granted = await limiter.reserve(CallPriority.POLL, 90)
    assert isinstance(granted, Grant)
    limiter.ended(granted.calls)

    monotonic_ms += 60_000
    clock.observe(clock.now_ms() + 3_700_000)
    clock.follow_step()

    assert isinstance(await limiter.reserve(CallPriority.POLL, 20), Denied)
    monotonic_ms += 3_600_000
    assert isinstance(await limiter.reserve(CallPriority.POLL, 20), Grant)


async def test_an_exhausted_window_noted_by_a_clock_ahead_admits_a_probe(
    limiter: RateLimiter, async_redis: Redis, clock: HandClock
) -> None:
    ahead = HandClock(clock.now_ms() + 8 * 3_600_000)
    wrong = RateLimiter(async_redis, "scaleout", ahead, limit=100, window_s=3600, lasting_s=30)
    await wrong.mark_exhausted(None)

    granted = await limiter.reserve(CallPriority.POLL)

    assert isinstance(granted, Grant)
    assert granted.probe
    assert isinstance(await limiter.reserve(CallPriority.POLL), Denied)


async def test_a_process_keeps_no_more_calls_in_mind_than_an_account_has(
    async_redis: Redis, clock: HandClock
) -> None:
    limiter = RateLimiter(async_redis, "scaleout", clock, limit=10**9, window_s=3600, lasting_s=30)
    for _ in range(4):
        assert isinstance(await limiter.reserve(CallPriority.POLL, 3_000), Grant)

    assert len(limiter._granted) <= MAX_GRANTED + 3_000
