"""Time as a dependency: workers agree on the Redis server's time; tests move a clock by hand."""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

import structlog

log = structlog.get_logger(__name__)

MS = 1000
MAX_STEP_MS = 5_000
MAX_DRIFT = 0.0005  # of a monotonic clock, generously
FOREVER_MS = 10**12
BOOT_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Clock(Protocol):
    """The source of time for all code of this project."""

    def now_ms(self) -> int:
        """Milliseconds since 1970, UTC."""
        ...

    def monotonic_ms(self) -> int:
        """Milliseconds since some time, for durations: setting the clock does not change it."""
        ...

    def steady_ms(self) -> int:
        """For how long this clock has run without being set, in milliseconds."""
        ...

    def since_step_ms(self) -> int:
        """How long ago this clock has followed a step, in milliseconds; FOREVER_MS if it never has."""
        ...

    @property
    def step_ms(self) -> int:
        """How far the server's clock is from this one, in milliseconds; 0 while they agree."""
        ...

    def observe(self, server_ms: int) -> None:
        """Compare with the server's time, which has just arrived."""
        ...

    def follow_step(self) -> None:
        """Set this clock by the server's: somebody else has confirmed that the server is right."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""
        ...


def time_then(clock: Clock, monotonic_ms: int) -> int:
    """Return what the time was at `monotonic_ms`, by the clock as it is set now.

    A time that was read before a call says nothing after it: a reply may have set the clock.
    """
    return clock.now_ms() - (clock.monotonic_ms() - monotonic_ms)


class ServerClock:
    """The Redis server's time as it was at the start, carried on by this machine's monotonic clock.

    All decisions and scripts of a process use this time, so that a step of the server's clock, or of this
    machine's, changes nothing for a process that runs. An answer was stamped before it arrived, so this clock
    is late by at most one network way and never ahead: a signature made from it is never from the future.
    """

    def __init__(self, monotonic_ms: Callable[[], float] | None = None) -> None:
        self._monotonic_ms = monotonic_ms or _monotonic_ms
        self._offset_ms: float | None = None
        self._set_at_ms = self._observed_at_ms = 0.0
        self._has_followed = False
        self._step_ms = 0

    @property
    def step_ms(self) -> int:
        return self._step_ms

    def now_ms(self) -> int:
        if self._offset_ms is None:
            raise RuntimeError("the server's time is unknown before its first reply")
        return int(self._monotonic_ms() + self._offset_ms)

    def monotonic_ms(self) -> int:
        return int(self._monotonic_ms())

    def steady_ms(self) -> int:
        return int(self._monotonic_ms() - self._set_at_ms)

    def since_step_ms(self) -> int:
        return self.steady_ms() if self._has_followed else FOREVER_MS

    def observe(self, server_ms: int) -> None:
        """Follow the drift of the server's clock, but no step of it."""
        mono = self._monotonic_ms()
        offset = server_ms - mono
        if self._offset_ms is None:
            self._set(offset)
        apart = offset - (self._offset_ms or 0.0)
        if abs(apart) > MAX_STEP_MS:
            if not self.step_ms:
                log.error("clock_stepped", step_s=round(apart / MS, 1), detail="the Redis server's clock")
            self._step_ms = round(apart)
            return
        if self.step_ms:
            log.info("clock_agrees", detail="the Redis server's clock")
            self._step_ms = 0
        # The latest answers are the least accurate: what seems late may have been on its way for long.
        drift = (mono - self._observed_at_ms) * MAX_DRIFT
        self._offset_ms = max(offset, (self._offset_ms or 0.0) - drift)
        self._observed_at_ms = mono

    def follow_step(self) -> None:
        log.warning("clock_set", step_s=round(self.step_ms / MS, 1))
        self._set((self._offset_ms or 0.0) + self.step_ms)
        self._has_followed = True
        self._step_ms = 0

    def _set(self, offset_ms: float) -> None:
        self._offset_ms = offset_ms
        self._set_at_ms = self._observed_at_ms = self._monotonic_ms()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def _monotonic_ms() -> float:
    """Return milliseconds since the machine started. A machine that was suspended has been away so long."""
    return time.clock_gettime(BOOT_CLOCK) * MS


class HandClock:
    """A clock that moves only when a test moves it."""

    def __init__(self, now_ms: int = 1_700_000_000_000) -> None:
        self._now_ms = now_ms

    def now_ms(self) -> int:
        return self._now_ms

    def monotonic_ms(self) -> int:
        return self._now_ms

    def steady_ms(self) -> int:
        return FOREVER_MS

    def since_step_ms(self) -> int:
        return FOREVER_MS

    @property
    def step_ms(self) -> int:
        return 0

    def observe(self, server_ms: int) -> None:
        """Ignore the server's time."""

    def follow_step(self) -> None:
        """Do nothing: this clock never differs."""

    async def sleep(self, seconds: float) -> None:
        """Move the clock: a sleeping coroutine has nothing else to wait for."""
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        self._now_ms += round(seconds * MS)
