"""Keeps all workers together within the account's API calls.

The provider counts a call when it arrives, which is some time between its sending and its reply. So a call
counts here from its grant until one window after its reply or timeout: at no moment can the provider have
counted more calls in a window than we have.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from redis.asyncio import Redis

from tasks.runtime.clock import Clock
from tasks.runtime.redis_client import Script

LUA = Path(__file__).parent / "lua"
PROBES_PER_WINDOW = 20
USED_UP = "the account's API calls are used up for now"
CLOCK_MARGIN_MS = 250  # this process knows the server's time only as of its last answer


class CallClass(Enum):
    """What a call is for, with the share of the window up to which it is granted.

    New submissions stop first, so that they can never take the calls that running jobs need.
    """

    SUBMIT = 0.92
    SETTLE = 0.95
    FOLLOW = 0.98


# Nor is a submission granted while all but following has used so much of the window: what following needs
# in it is kept free. What following has already, comes free for it again as it leaves, and need not be kept.
SUBMITTED_AND_SETTLED = 0.85
NUMBERS = {call_class: number for number, call_class in enumerate(CallClass, start=1)}


@dataclass(frozen=True, slots=True)
class Grant:
    """Calls that may be made, and have to have ended by `until_ms`.

    A `probe` finds out whether a window said to be full is so still.
    """

    calls: tuple[str, ...]
    probe: bool = False
    until_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Wait:
    """No call may be made before `until_ms`."""

    until_ms: int


@dataclass(frozen=True, slots=True)
class Usage:
    """Calls that count in the window now, by class; `full_until_ms`: until when the provider refuses more."""

    by_class: Mapping[CallClass, int]
    limit: int
    full_until_ms: int | None

    @property
    def used(self) -> int:
        return sum(self.by_class.values())

    def granted_up_to(self, call_class: CallClass) -> int:
        """Up to how many calls in the window this class is granted more, as things are."""
        but_following = most_but_following(call_class, self.limit)
        return min(most_calls(call_class, self.limit), but_following + self.by_class[CallClass.FOLLOW])


def most_calls(call_class: CallClass, limit: int) -> int:
    """Up to how many calls in a window of `limit` this class is granted more at the most.

    However small the limit, one call is left for following.
    """
    most = int(limit * call_class.value)
    return most if call_class is CallClass.FOLLOW else min(most, int(limit * CallClass.FOLLOW.value) - 1)


def most_but_following(call_class: CallClass, limit: int) -> int:
    """Up to how many calls by all but following this class is granted more; only submissions have less than
    the limit."""
    if call_class is not CallClass.SUBMIT:
        return limit
    return min(int(limit * SUBMITTED_AND_SETTLED), most_calls(CallClass.SETTLE, limit))


@dataclass(frozen=True, slots=True)
class Following:
    """What following has to share: the calls of the others, and those of one look at every zone."""

    others: int
    calls_of_a_look: int
    limit: int
    window_s: float


class Governor:
    """Grants API calls. `window_s`: the quota's period; `lasting_s`: how long one call may take."""

    def __init__(
        self, redis: Redis, prefix: str, clock: Clock, *, limit: int, window_s: float, lasting_s: float
    ) -> None:
        self._redis = redis
        self._clock = clock
        self._limit = limit
        self._window_ms = round(window_s * 1000)
        self._lasting_ms = round(lasting_s * 1000)
        self._calls = {number: f"{prefix}:quota:calls:{number}" for number in NUMBERS.values()}
        self._full = f"{prefix}:quota:full"
        self._looks = f"{prefix}:quota:looks"
        self._ended: dict[str, int] = {}
        self._reserve = Script(redis, LUA / "reserve.lua")

    async def reserve(
        self, call_class: CallClass, calls: int = 1, *, lasting_s: float | None = None
    ) -> Grant | Wait:
        """Reserve `calls` calls, all or none.

        `lasting_s`: when the last of them has ended at the latest, seconds from now, if they are not all made
        at once.
        """
        lasting_ms = self._lasting_ms if lasting_s is None else round(lasting_s * 1000)
        ids = tuple(f"{NUMBERS[call_class]}:{uuid.uuid4().hex}" for _ in range(calls))
        least = min(calls, self._limit)
        most = max(most_calls(call_class, self._limit), least)
        but_following = max(most_but_following(call_class, self._limit), least)
        probe_ms = self._window_ms // PROBES_PER_WINDOW
        ended, self._ended = self._ended, {}
        counted = [part for call, at in ended.items() for part in (call, at)]
        window = (self._clock.for_script(), self._window_ms, most, but_following)
        args = [*window, lasting_ms, probe_ms, len(ids), *ids, *counted]
        try:
            word, now, again = await self._reserve([*self._calls.values(), self._full], args)
        except BaseException:
            self._ended = {**ended, **self._ended}
            raise
        self._clock.observe(int(now))
        if word == "WAIT":
            return Wait(int(again))
        return Grant(ids, probe=word == "PROBE", until_ms=int(now) + lasting_ms)

    @property
    def kept_for_following(self) -> int:
        """How many calls are free for following at once, whatever else waits."""
        return most_calls(CallClass.FOLLOW, self._limit) - most_calls(CallClass.SETTLE, self._limit)

    def ended(self, calls: Sequence[str]) -> None:
        """The calls have been answered or given up; they count for one window from now.

        Told to the server with the next reservation. Until then, and if that never comes, they count for
        as long as a call can last: never for too short.
        """
        self._ended.update(dict.fromkeys(calls, self._clock.now_ms() + CLOCK_MARGIN_MS))

    async def unused(self, calls: Sequence[str]) -> None:
        """The calls were granted and not made. All are of one class."""
        if calls:
            await self._redis.zrem(self._calls[int(calls[0][0])], *calls)

    async def window_is_full(self, retry_after_s: float | None) -> int:
        """The provider has refused a call for the quota; gives until when the window counts as full, ms.

        Others may use the same account, so this holds whatever our own count says. One call a twentieth
        of the window still tries, and reopens the window if it is let through.
        """
        now = self._clock.now_ms()
        until = now + (self._window_ms if retry_after_s is None else round(retry_after_s * 1000))
        probe = now + self._window_ms // PROBES_PER_WINDOW
        await self._redis.hset(self._full, items=["until", until, "probe", min(until, probe)])
        return until

    async def window_is_open(self) -> None:
        """A call was let through: the window is not full, whatever was said before."""
        await self._redis.delete(self._full)

    async def following(self, zone: str, calls: int) -> Following:
        """One look at `zone` takes so many calls, 0 if nothing runs there; what all zones share."""
        async with self._redis.pipeline(transaction=False) as pipe:
            if calls:
                pipe.hset(self._looks, zone, str(calls))
            else:
                pipe.hdel(self._looks, zone)
            pipe.hvals(self._looks)
            for call_class in (CallClass.SUBMIT, CallClass.SETTLE):
                pipe.zcount(self._calls[NUMBERS[call_class]], self._begin(), "+inf")
            _, of_zones, submitting, settling = await pipe.execute()
        return Following(
            others=int(submitting) + int(settling),
            calls_of_a_look=sum(map(int, of_zones)),
            limit=self._limit,
            window_s=self._window_ms / 1000,
        )

    async def usage(self) -> Usage:
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.hget(self._full, "until")
            for key in self._calls.values():
                pipe.zcount(key, self._begin(), "+inf")
            until, *counts = await pipe.execute()
        full_until = int(until) if until and int(until) > self._clock.now_ms() else None
        return Usage(dict(zip(CallClass, map(int, counts), strict=True)), self._limit, full_until)

    async def next_free_ms(self, call_class: CallClass) -> int:
        """When the next call of this class may be made, if no other is made before."""
        usage = await self.usage()
        if usage.full_until_ms is not None:
            probe = int(await self._redis.hget(self._full, "probe") or 0)
            return max(self._clock.now_ms(), min(usage.full_until_ms, probe))
        not_following = usage.used - usage.by_class[CallClass.FOLLOW]
        over = usage.used + 1 - most_calls(call_class, self._limit)
        over_but_following = not_following + 1 - most_but_following(call_class, self._limit)
        return max(
            await self._free_again_ms(CallClass, over),
            await self._free_again_ms((CallClass.SUBMIT, CallClass.SETTLE), over_but_following),
        )

    async def _free_again_ms(self, classes: Iterable[CallClass], over: int) -> int:
        """When so many calls of these classes will have left the window."""
        if over <= 0:
            return self._clock.now_ms()
        async with self._redis.pipeline(transaction=False) as pipe:
            for call_class in classes:
                key = self._calls[NUMBERS[call_class]]
                pipe.zrange(
                    key, f"({self._begin()}", "+inf", byscore=True, withscores=True, offset=0, num=over
                )
            leaving = sorted(score for rows in await pipe.execute() for _, score in rows)
        return int(leaving[over - 1]) + self._window_ms + 1

    def _begin(self) -> str:
        return str(self._clock.now_ms() - self._window_ms)
