"""Keeps all workers together within the account's quota of API calls.

The provider counts a call when it arrives, some time between its sending and its reply. So a call counts here
from its grant until one window after its reply or timeout: the provider can never have counted more calls in
a window than we have.
"""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from redis.asyncio import Redis

from tasks.quota.priorities import (
    NUMBERS,
    CallPriority,
    PollingBudget,
    QuotaUsage,
    max_calls,
    max_calls_except_polling,
)
from tasks.runtime.clock import MAX_STEP_MS, Clock
from tasks.runtime.redis_client import Script

LUA = Path(__file__).parent / "lua"
PROBES_PER_WINDOW = 20
EXHAUSTED = "the account's API calls are exhausted for now"
BY_NUMBER = {number: priority for priority, number in NUMBERS.items()}
MAX_GRANTED = 5_000  # calls of this process that are kept in mind: more than twice an account's usual quota
CLOCK_MARGIN_MS = 250  # this process knows the server's time only as of its last answer


@dataclass(frozen=True, slots=True)
class Grant:
    """Calls that may be made and have to end by `until_ms`.

    Fields:
        probe: the call finds out whether the provider still refuses calls for the quota.
    """

    calls: tuple[str, ...]
    probe: bool = False
    until_ms: int | None = None

    @property
    def priority(self) -> CallPriority:
        """What the calls are for, which their ids begin with."""
        return BY_NUMBER[int(self.calls[0].partition(":")[0])]


@dataclass(frozen=True, slots=True)
class Denied:
    """No call may be made before `until_ms`."""

    until_ms: int


class RateLimiter:
    """Grants API calls.

    Args:
        prefix: of the keys in Redis.
        limit: calls of one window.
        window_s: the quota's period, in seconds.
        lasting_s: how long one call may take, in seconds.
    """

    def __init__(
        self, redis: Redis, prefix: str, clock: Clock, *, limit: int, window_s: float, lasting_s: float
    ) -> None:
        self._redis = redis
        self._clock = clock
        self._limit = limit
        self._window_ms = round(window_s * 1000)
        self._lasting_ms = round(lasting_s * 1000)
        self._calls = {number: f"{prefix}:quota:calls:{number}" for number in NUMBERS.values()}
        self._exhausted = f"{prefix}:quota:exhausted"
        self._polls = f"{prefix}:quota:polls"
        self._ended: dict[str, int] = {}
        self._granted: dict[str, int] = {}
        self._offset_ms: int | None = None
        self._reserve = Script(redis, LUA / "reserve.lua")

    async def reserve(
        self, priority: CallPriority, calls: int = 1, *, lasting_s: float | None = None
    ) -> Grant | Denied:
        """Reserve `calls` calls, all or none.

        Args:
            lasting_s: when the last of them has ended at the latest, in seconds from now.
        """
        lasting_ms = self._lasting_ms if lasting_s is None else round(lasting_s * 1000)
        ids = tuple(f"{NUMBERS[priority]}:{uuid.uuid4().hex}" for _ in range(calls))
        least = min(calls, self._limit)
        maximum = max(max_calls(priority, self._limit), least)
        except_polling = max(max_calls_except_polling(priority, self._limit), least)
        probe_ms = self._window_ms // PROBES_PER_WINDOW
        self._count_anew_if_set_forward()
        ended, self._ended = self._ended, {}
        counted = [part for call, at in ended.items() for part in (call, at)]
        window = (self._clock.now_ms(), self._window_ms, maximum, except_polling)
        args = [*window, lasting_ms, probe_ms, len(ids), *ids, *counted]
        try:
            word, now, again = await self._reserve([*self._calls.values(), self._exhausted], args)
        except BaseException:
            self._ended = {**ended, **self._ended}
            raise
        if word == "DENIED":
            return Denied(int(again))
        self._granted.update(dict.fromkeys(ids, self._clock.monotonic_ms()))
        return Grant(ids, probe=word == "PROBE", until_ms=int(now) + lasting_ms)

    def _count_anew_if_set_forward(self) -> None:
        """Count this process's calls from now on if its clock was behind and has been set.

        By the time that it had before they would leave the window too early.
        """
        now, monotonic = self._clock.now_ms(), self._clock.monotonic_ms()
        before, self._offset_ms = self._offset_ms, now - monotonic
        while self._granted:
            call, at = next(iter(self._granted.items()))
            if at > monotonic - self._window_ms and len(self._granted) <= MAX_GRANTED:
                break
            del self._granted[call]
        if before is not None and self._offset_ms - before > MAX_STEP_MS:
            self._ended.update(dict.fromkeys(self._granted, now))

    @property
    def reserved_for_polling(self) -> int:
        """How many calls are always free for polls, whatever else waits."""
        return max_calls(CallPriority.POLL, self._limit) - max_calls(CallPriority.RECONCILE, self._limit)

    def ended(self, calls: Sequence[str]) -> None:
        """Count the calls, which have a reply or have timed out, for one window from now.

        The next reservation sends this to the server. Until then, and if none is made, they count for as
        long as a call can last: never too short.
        """
        self._ended.update(dict.fromkeys(calls, self._clock.now_ms() + CLOCK_MARGIN_MS))

    async def release(self, calls: Sequence[str]) -> None:
        """Release calls of one priority that were granted and not made."""
        if calls:
            await self._redis.zrem(self._calls[int(calls[0][0])], *calls)

    async def mark_exhausted(self, retry_after_s: float | None) -> int:
        """Record that the provider refused a call for the quota; return until when no call is granted (ms).

        Others may use the same account, so this holds whatever our own count says. One call a twentieth of
        the window is granted as a probe, and clears the mark if it is let through.
        """
        now = self._clock.now_ms()
        until = now + (self._window_ms if retry_after_s is None else round(retry_after_s * 1000))
        probe = now + self._window_ms // PROBES_PER_WINDOW
        await self._redis.hset(self._exhausted, items=["until", until, "probe", min(until, probe)])
        return until

    async def clear_exhausted(self) -> None:
        """Record that a call was let through: the quota is not exhausted."""
        await self._redis.delete(self._exhausted)

    async def polling_budget(self, zone: str, calls: int) -> PollingBudget:
        """Record how many calls one poll of `zone` takes, 0 if no job runs there; return what zones share."""
        async with self._redis.pipeline(transaction=False) as pipe:
            if calls:
                pipe.hset(self._polls, zone, str(calls))
            else:
                pipe.hdel(self._polls, zone)
            pipe.hvals(self._polls)
            for priority in (CallPriority.SUBMIT, CallPriority.RECONCILE):
                pipe.zcount(self._calls[NUMBERS[priority]], self._begin(), "+inf")
            _, of_zones, submitting, reconciling = await pipe.execute()
        return PollingBudget(
            others=int(submitting) + int(reconciling),
            calls_per_poll=sum(map(int, of_zones)),
            limit=self._limit,
            window_s=self._window_ms / 1000,
        )

    async def usage(self) -> QuotaUsage:
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.hget(self._exhausted, "until")
            for key in self._calls.values():
                pipe.zcount(key, self._begin(), "+inf")
            until, *counts = await pipe.execute()
        exhausted_until = int(until) if until and int(until) > self._clock.now_ms() else None
        return QuotaUsage(
            dict(zip(CallPriority, map(int, counts), strict=True)), self._limit, exhausted_until
        )

    async def over_window(self, parts: int) -> dict[CallPriority, list[int]]:
        """Return how many calls count in each of `parts` equal parts of the window, the oldest first."""
        begin = self._clock.now_ms() - self._window_ms
        async with self._redis.pipeline(transaction=False) as pipe:
            for key in self._calls.values():
                pipe.zrange(key, self._begin(), "+inf", byscore=True, withscores=True)
            rows = await pipe.execute()
        found = {}
        for priority, of_class in zip(CallPriority, rows, strict=True):
            counts = [0] * parts
            for _, at in of_class:
                part = int((float(at) - begin) * parts / self._window_ms)
                # What has not ended yet counts from its end, which is still ahead.
                counts[min(max(part, 0), parts - 1)] += 1
            found[priority] = counts
        return found

    async def next_free_ms(self, priority: CallPriority) -> int:
        """Return when the next call of this priority may be made (ms), if no other is made before."""
        usage = await self.usage()
        if usage.exhausted_until_ms is not None:
            probe = int(await self._redis.hget(self._exhausted, "probe") or 0)
            return max(self._clock.now_ms(), min(usage.exhausted_until_ms, probe))
        except_polls = usage.used - usage.by_priority[CallPriority.POLL]
        over = usage.used + 1 - max_calls(priority, self._limit)
        over_except_polls = except_polls + 1 - max_calls_except_polling(priority, self._limit)
        return max(
            await self._free_again_ms(CallPriority, over),
            await self._free_again_ms((CallPriority.SUBMIT, CallPriority.RECONCILE), over_except_polls),
        )

    async def _free_again_ms(self, priorities: Iterable[CallPriority], over: int) -> int:
        """Return when `over` calls of these priorities will have left the window."""
        if over <= 0:
            return self._clock.now_ms()
        async with self._redis.pipeline(transaction=False) as pipe:
            for priority in priorities:
                key = self._calls[NUMBERS[priority]]
                pipe.zrange(key, self._begin(), "+inf", byscore=True, withscores=True, offset=0, num=over)
            leaving = sorted(score for rows in await pipe.execute() for _, score in rows)
        return int(leaving[over - 1]) + self._window_ms + 1

    def _begin(self) -> str:
        """Return the lower bound of the window for a sorted set, exclusive."""
        return f"({self._clock.now_ms() - self._window_ms}"
