"""Puts the account's window into the state that it would have after hours of work."""

import asyncio

import redis

from benchmarks.provider import Provider
from benchmarks.redis_stats import url_of
from tasks.quota.priorities import CallPriority
from tasks.quota.rate_limiter import Grant, RateLimiter
from tasks.runtime.clock import HandClock
from tasks.runtime.redis_client import open_redis

PREFIX = "scaleout"
LASTING_S = 1.0


def fill_window(server: redis.Redis, provider: Provider, calls: int, period_s: float, used: int) -> None:
    """From now on the quota is `calls` in `period_s`, and `used` of it are gone, evenly over the last period;
    for the provider and for the workers alike. No worker may be running."""
    for key in server.scan_iter(f"{PREFIX}:quota:*"):
        server.unlink(key)
    provider.set_quota(calls, period_s, used)
    asyncio.run(_use(url_of(server), _now_ms(server), calls, period_s, used))


async def _use(url: str, now_ms: int, calls: int, period_s: float, used: int) -> None:
    clock = HandClock(now_ms - round(period_s * 1000))
    client = open_redis(url)
    limiter = RateLimiter(client, PREFIX, clock, limit=calls, window_s=period_s, lasting_s=LASTING_S)
    for _ in range(used):
        clock.advance(period_s / used)
        grant = await limiter.reserve(CallPriority.POLL)
        if isinstance(grant, Grant):
            limiter.ended(grant.calls)
    await client.aclose()


def _now_ms(server: redis.Redis) -> int:
    seconds, micros = server.time()
    return int(seconds) * 1000 + int(micros) // 1000
