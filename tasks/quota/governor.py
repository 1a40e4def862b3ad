"""Keeps all workers together within the account's API calls.

The provider counts a call when it arrives, which is some time between its sending and its reply. So a call
counts here from its grant until one window after its reply or timeout: at no moment can the provider have
counted more calls in a window than we have.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from redis.asyncio import Redis

from tasks.runtime.clock import Clock
from tasks.runtime.redis_scripts import Script

LUA = Path(__file__).parent / "lua"
PROBES_PER_WINDOW = 20
CLOCK_MARGIN_MS = 250  # this process knows the server's time only as of its last answer


class CallClass(Enum):
    """What a call is for, with the share of the window up to which it is granted.

    New submissions stop first, so that they can never take the calls that running jobs need.
    """

    SUBMIT = 0.85
    SETTLE = 0.95
    FOLLOW = 0.98


@dataclass(frozen=True, slots=True)
class Grant:
    """Calls that may be made; a `probe` finds out whether a window said to be full is so still."""

    calls: tuple[str, ...]
    probe: bool = False


@dataclass(frozen=True, slots=True)
class Wait:
    """No call may be made before `until_ms`."""

    until_ms: int


@dataclass(frozen=True, slots=True)
class Usage:
    used: int
    limit: int
    full_until_ms: int | None


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
        self._calls = f"{prefix}:quota:calls"
        self._full = f"{prefix}:quota:full"
        self._ended: dict[str, int] = {}
        self._reserve = Script(redis, LUA / "reserve.lua")

    async def reserve(self, call_class: CallClass, calls: int = 1) -> Grant | Wait:
        """Reserve `calls` calls, all or none."""
        ids = tuple(uuid.uuid4().hex for _ in range(calls))
        most = max(int(self._limit * call_class.value), min(calls, self._limit))
        probe_ms = self._window_ms // PROBES_PER_WINDOW
        ended, self._ended = self._ended, {}
        counted = [part for call, at in ended.items() for part in (call, at)]
        args = [self._clock.for_script(), self._window_ms, most, self._lasting_ms, probe_ms, len(ids), *ids]
        try:
            word, now, again = await self._reserve([self._calls, self._full], [*args, *counted])
        except BaseException:
            self._ended = {**ended, **self._ended}
            raise
        self._clock.observe(int(now))
        if word == "WAIT":
            return Wait(int(again))
        return Grant(ids, probe=word == "PROBE")

    def ended(self, calls: Sequence[str]) -> None:
        """The calls have been answered or given up; they count for one window from now.

        Told to the server with the next reservation. Until then, and if that never comes, they count for
        as long as a call can last: never for too short.
        """
        self._ended.update(dict.fromkeys(calls, self._clock.now_ms() + CLOCK_MARGIN_MS))

    async def unused(self, calls: Sequence[str]) -> None:
        """The calls were granted and not made."""
        if calls:
            await self._redis.zrem(self._calls, *calls)

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

    async def usage(self) -> Usage:
        now = self._clock.now_ms()
        used = await self._redis.zcount(self._calls, now - self._window_ms, "+inf")
        until = await self._redis.hget(self._full, "until")
        full_until = int(until) if until and int(until) > now else None
        return Usage(int(used), self._limit, full_until)
