"""Time as a dependency: workers use the Redis server's clock; tests move a clock by hand."""

import asyncio
import time
from typing import Protocol

MS = 1000


class Clock(Protocol):
    """The source of time for all code of this project."""

    def now_ms(self) -> int:
        """Milliseconds since 1970, UTC."""
        ...

    def for_script(self) -> int:
        """The time argument of Lua scripts: milliseconds, or 0 for the server's own."""
        ...

    def observe(self, server_ms: int) -> None:
        """Record the time that a script has just returned."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""
        ...


class ServerClock:
    """The Redis server's time, carried on between two answers by this machine's monotonic clock.

    An answer was stamped before it arrived, so this clock is late by at most one network way and never
    ahead: a signature made from it is never from the future.
    """

    def __init__(self) -> None:
        self._offset_ms: float | None = None

    def now_ms(self) -> int:
        if self._offset_ms is None:
            raise RuntimeError("the server's time is unknown before its first reply")
        return int(time.monotonic() * MS + self._offset_ms)

    def for_script(self) -> int:
        return 0

    def observe(self, server_ms: int) -> None:
        self._offset_ms = server_ms - time.monotonic() * MS

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class HandClock:
    """A clock that moves only when a test moves it."""

    def __init__(self, now_ms: int = 1_700_000_000_000) -> None:
        self._now_ms = now_ms

    def now_ms(self) -> int:
        return self._now_ms

    def for_script(self) -> int:
        return self._now_ms

    def observe(self, server_ms: int) -> None:
        """Ignore the server's time."""

    async def sleep(self, seconds: float) -> None:
        """Move the clock: a sleeping coroutine has nothing else to wait for."""
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        self._now_ms += round(seconds * MS)
