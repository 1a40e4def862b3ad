"""Time, handed in. Workers go by the Redis server's clock; tests move a clock by hand."""

import asyncio
import time
from typing import Protocol

MS = 1000


class Clock(Protocol):
    """Where all code of this project gets the time from."""

    def now_ms(self) -> int:
        """Milliseconds since 1970, UTC."""
        ...

    def for_script(self) -> int:
        """What a Lua script is given as its time: milliseconds, or 0 for the server's own."""
        ...

    def observe(self, server_ms: int) -> None:
        """Take note of the time that a script has just returned."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Come back after `seconds`."""
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
            raise RuntimeError("the server's time was asked for before any answer of the server has told it")
        return int(time.monotonic() * MS + self._offset_ms)

    def for_script(self) -> int:
        return 0

    def observe(self, server_ms: int) -> None:
        self._offset_ms = server_ms - time.monotonic() * MS

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class HandClock:
    """A clock that stands still until a test moves it."""

    def __init__(self, now_ms: int = 1_700_000_000_000) -> None:
        self._now_ms = now_ms

    def now_ms(self) -> int:
        return self._now_ms

    def for_script(self) -> int:
        return self._now_ms

    def observe(self, server_ms: int) -> None:
        """The server's time means nothing here."""

    async def sleep(self, seconds: float) -> None:
        """Moves on by itself: whoever sleeps has nothing else to wait for."""
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        self._now_ms += round(seconds * MS)
