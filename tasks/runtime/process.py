"""What one worker process has: its event loop thread, and the parts that live in that loop."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from tasks.runtime.event_loop_thread import EventLoopThread

P = TypeVar("P")


class Process(Generic[P]):
    """Builds the parts once, inside the loop, when the first task needs them, and closes them at the end."""

    def __init__(self) -> None:
        self.loop = EventLoopThread()
        self._lock = threading.Lock()
        self._parts: P | None = None

    def parts(self, build: Callable[[], Awaitable[P]], *, timeout_s: float = 30.0) -> P:
        """The process's parts, built by the first call that gets them.

        Raises what `build` raises; the next call tries again.
        """
        with self._lock:
            if self._parts is None:
                self._parts = self.loop.run(_call(build), timeout_s=timeout_s)
            return self._parts

    def close(self, close: Callable[[P], Awaitable[None]], *, timeout_s: float) -> None:
        with self._lock:
            parts, self._parts = self._parts, None
            try:
                if parts is not None:
                    self.loop.run(_call(lambda: close(parts)), timeout_s=timeout_s)
            finally:
                self.loop.stop()


async def _call(function: Callable[[], Awaitable[P]]) -> P:
    return await function()
