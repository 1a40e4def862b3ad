"""Wakes a process at times that it has scheduled itself."""

import asyncio
import heapq
from collections.abc import Callable
from typing import Generic, TypeVar

from tasks.runtime.clock import Clock

MAX_SCHEDULED = 10_000

K = TypeVar("K")


class Timer(Generic[K]):
    """Calls `fire` with the items whose time has come, in the event loop of the first call of `schedule`.

    Args:
        ahead_s: items further ahead are not scheduled, and neither are items beyond MAX_SCHEDULED.
    """

    def __init__(self, clock: Clock, fire: Callable[[set[K]], None], *, ahead_s: float) -> None:
        self._clock = clock
        self._on_fire = fire
        self._ahead_ms = ahead_s * 1000
        self._scheduled: list[tuple[int, int, K]] = []
        self._count = 0
        self._handle: asyncio.TimerHandle | None = None
        self._stopped = False

    def schedule(self, item: K, at: int) -> None:
        """Fire for `item` at `at` (ms)."""
        if at - self._clock.now_ms() > self._ahead_ms or len(self._scheduled) >= MAX_SCHEDULED:
            return
        self._count += 1
        heapq.heappush(self._scheduled, (at, self._count, item))
        if self._scheduled[0][0] == at:
            self._set()

    def stop(self) -> None:
        self._stopped = True
        self._scheduled.clear()
        self._set()

    def _set(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        if self._scheduled and not self._stopped:
            wait_s = max(0, self._scheduled[0][0] - self._clock.now_ms()) / 1000
            self._handle = asyncio.get_running_loop().call_later(wait_s, self._fire)

    def _fire(self) -> None:
        now, due = self._clock.now_ms(), set()
        while self._scheduled and self._scheduled[0][0] <= now:
            due.add(heapq.heappop(self._scheduled)[2])
        self._handle = None
        self._set()
        if due:
            self._on_fire(due)
