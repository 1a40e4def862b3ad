"""The quota's sliding window on a real server."""

from __future__ import annotations

import pytest
import redis
from redis.asyncio import Redis

from tasks.quota.rate_limiter import CallClass, Governor, Grant, Wait
from tasks.runtime.clock import HandClock


@pytest.fixture
def governor(async_redis: Redis, clock: HandClock) -> Governor:
    return Governor(async_redis, "scaleout", clock, limit=100, window_s=3600, lasting_s=30)


async def fill(governor: Governor, call_class: CallClass, most: int = 1000) -> int:
    granted = 0
    while granted < most and isinstance(await governor.reserve(call_class), Grant):
        granted += 1
    return granted


async def test_submissions_stop_first_then_settling_then_following(governor: Governor) -> None:
    assert await fill(governor, CallClass.SUBMIT) == 85
    assert await fill(governor, CallClass.SETTLE) == 10
    assert await fill(governor, CallClass.FOLLOW) == 3


async def test_what_following_has_in_the_window_leaves_room_for_submissions_beside_it(
    governor: Governor, clock: HandClock
) -> None:
    await fill(governor, CallClass.FOLLOW, 40)
    clock.advance(60)
    assert (await governor.usage()).granted_up_to(CallClass.SUBMIT) == 92
    assert await fill(governor, CallClass.SUBMIT) == 52
    assert await fill(governor, CallClass.FOLLOW) == 6

    clock.advance(3600)
    # What has left the window is following's, and goes to those that may have it.
    assert (await governor.usage()).by_class == {
        CallClass.SUBMIT: 52,
        CallClass.SETTLE: 0,
        CallClass.FOLLOW: 6,
    }
    assert (await governor.usage()).granted_up_to(CallClass.SUBMIT) == 91
    assert await fill(governor, CallClass.SUBMIT) == 33
    assert await fill(governor, CallClass.FOLLOW) == 7, "13 of 100 are following's whatever is submitted"


@pytest.mark.parametrize("followed", [0, 3, 7, 30])
async def test_waiting_until_the_time_that_was_told_is_enough_and_no_less_is(
    governor: Governor, clock: HandClock, followed: int
) -> None:
    for _ in range(followed):
        await fill(governor, CallClass.FOLLOW, 1)
        clock.advance(3)
    while isinstance(await governor.reserve(CallClass.SUBMIT), Grant):
        clock.advance(1)

    told = await governor.next_free_ms(CallClass.SUBMIT)

    assert await governor.reserve(CallClass.SUBMIT) == Wait(told)
    clock.advance((told - 2 - clock.now_ms()) / 1000)
    assert await governor.reserve(CallClass.SUBMIT) == Wait(told)
    clock.advance(0.002)
    assert isinstance(await governor.reserve(CallClass.SUBMIT), Grant)


@pytest.mark.parametrize("limit", [4, 5, 6, 10, 100, 2_000])
async def test_whatever_else_has_taken_all_that_it_may_following_has_calls_at_once(
    async_redis: Redis, clock: HandClock, limit: int
) -> None:
    governor = Governor(async_redis, "scaleout", clock, limit=limit, window_s=3600, lasting_s=30)
    await fill(governor, CallClass.SUBMIT, limit)
    await fill(governor, CallClass.SETTLE, limit)

    assert governor.kept_for_following >= 1
    assert isinstance(await governor.reserve(CallClass.FOLLOW, governor.kept_for_following), Grant)


async def test_a_call_counts_from_its_grant_until_one_window_after_its_end(
    governor: Governor, clock: HandClock
) -> None:
    await fill(governor, CallClass.SUBMIT, 84)
    last = await governor.reserve(CallClass.SUBMIT)
    assert isinstance(last, Grant)
    clock.advance(20)
    governor.ended(last.calls)
    clock.advance(3600 - 20 + 30)
    # The 84 that were never heard of count from the end of what a call may last.
    assert await fill(governor, CallClass.SUBMIT, 84) == 84
    assert (await governor.usage()).used <= 85


async def test_a_refused_reservation_says_when_to_ask_again(governor: Governor, clock: HandClock) -> None:
    began = clock.now_ms()
    await fill(governor, CallClass.SUBMIT)
    answer = await governor.reserve(CallClass.SUBMIT, 2)
    assert isinstance(answer, Wait)
    assert answer.until_ms == began + (30 + 3600) * 1000 + 1
    clock.advance((answer.until_ms - began) / 1000)
    assert isinstance(await governor.reserve(CallClass.SUBMIT, 2), Grant)


async def test_two_calls_are_granted_together_or_not_at_all(governor: Governor) -> None:
    await fill(governor, CallClass.SUBMIT, 84)
    assert isinstance(await governor.reserve(CallClass.SUBMIT, 2), Wait)
    assert isinstance(await governor.reserve(CallClass.SUBMIT, 1), Grant)


async def test_calls_that_were_not_made_are_given_back(governor: Governor) -> None:
    grant = await governor.reserve(CallClass.SUBMIT, 2)
    assert isinstance(grant, Grant)
    await governor.unused(grant.calls[1:])
    assert (await governor.usage()).used == 1


async def test_a_window_that_the_provider_calls_full_is_closed_to_all_but_a_probe(
    governor: Governor, clock: HandClock
) -> None:
    until = await governor.window_is_full(None)
    assert until == clock.now_ms() + 3_600_000
    for call_class in CallClass:
        assert isinstance(await governor.reserve(call_class), Wait)
    clock.advance(180)
    probe = await governor.reserve(CallClass.FOLLOW)
    assert isinstance(probe, Grant)
    assert probe.probe
    assert isinstance(await governor.reserve(CallClass.FOLLOW), Wait), "one probe at a time"
    await governor.window_is_open()
    assert isinstance(await governor.reserve(CallClass.SUBMIT), Grant)
    assert (await governor.usage()).full_until_ms is None


async def test_a_retry_after_is_kept_to(governor: Governor, clock: HandClock) -> None:
    await governor.window_is_full(60)
    assert (await governor.usage()).full_until_ms == clock.now_ms() + 60_000
    clock.advance(61)
    assert isinstance(await governor.reserve(CallClass.SUBMIT), Grant)


async def test_it_says_when_the_next_call_of_each_class_is_free(governor: Governor, clock: HandClock) -> None:
    began = clock.now_ms()
    await fill(governor, CallClass.SUBMIT, 40)
    clock.advance(10)
    await fill(governor, CallClass.SUBMIT)
    await fill(governor, CallClass.SETTLE, 4)

    assert await governor.next_free_ms(CallClass.FOLLOW) == clock.now_ms()
    assert await governor.next_free_ms(CallClass.SUBMIT) == began + (30 + 3600) * 1000 + 1
    clock.advance((await governor.next_free_ms(CallClass.SUBMIT) - clock.now_ms()) / 1000)
    assert isinstance(await governor.reserve(CallClass.SUBMIT), Grant)


async def test_when_the_provider_calls_the_window_full_the_next_call_is_the_probe(
    governor: Governor, clock: HandClock
) -> None:
    await governor.window_is_full(None)

    assert await governor.next_free_ms(CallClass.SUBMIT) == clock.now_ms() + 180_000


async def test_calls_that_are_made_one_after_the_other_count_as_if_the_last_took_as_long_as_it_may(
    governor: Governor, clock: HandClock
) -> None:
    await governor.reserve(CallClass.FOLLOW, 40, lasting_s=150)
    # The last of them has left after two minutes, and this process is never heard of again.
    clock.advance(3600 + 149)
    assert (await governor.usage()).used == 40
    clock.advance(2)
    assert (await governor.usage()).used == 0


async def test_a_grant_says_until_when_its_calls_may_be_made(governor: Governor, clock: HandClock) -> None:
    grant = await governor.reserve(CallClass.SUBMIT, 2, lasting_s=105)

    assert isinstance(grant, Grant)
    assert grant.until_ms == clock.now_ms() + 105_000


async def test_usage_tells_the_classes_apart(governor: Governor) -> None:
    await fill(governor, CallClass.SUBMIT, 3)
    await fill(governor, CallClass.FOLLOW, 2)

    usage = await governor.usage()

    assert usage.by_class == {CallClass.SUBMIT: 3, CallClass.SETTLE: 0, CallClass.FOLLOW: 2}
    assert usage.used == 5


async def test_following_shares_its_calls_among_the_looks_at_all_zones(governor: Governor) -> None:
    await fill(governor, CallClass.SUBMIT, 3)
    await governor.following("jn1a", 4)

    assert (await governor.following("jn1b", 2)).calls_of_a_look == 6
    assert (await governor.following("jn1a", 0)).calls_of_a_look == 2
    assert (await governor.following("jn1b", 3)).others == 3


async def test_ends_that_could_not_be_told_are_told_with_the_next_reservation(
    governor: Governor, clock: HandClock, server: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    grant = await governor.reserve(CallClass.FOLLOW)
    assert isinstance(grant, Grant)
    governor.ended(grant.calls)

    async def away(*_: object) -> None:
        raise redis.ConnectionError("away")

    with monkeypatch.context() as outage:
        outage.setattr(governor, "_reserve", away)
        with pytest.raises(redis.ConnectionError):
            await governor.reserve(CallClass.FOLLOW)
    await governor.reserve(CallClass.FOLLOW)

    ends = server.zscore("scaleout:quota:calls:3", grant.calls[0])
    assert ends == clock.now_ms() + 250


async def test_the_same_reservation_sent_twice_is_granted_once(
    governor: Governor, server: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("uuid.uuid4", lambda: type("U", (), {"hex": "one-call"})())
    assert isinstance(await governor.reserve(CallClass.SUBMIT), Grant)
    assert isinstance(await governor.reserve(CallClass.SUBMIT), Grant)
    assert server.zcard("scaleout:quota:calls:1") == 1
