"""Wakes a process at moments that it knows of."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from typing import Generic, TypeVar

from tasks.runtime.clock import Clock

MOST_MOMENTS = 10_000

K = TypeVar("K")


class Alarm(Generic[K]):
    """Calls `ring` with what its moment has come for; lives in the event loop of the first call of `at`.

    `ahead_s`: what is further away is left to somebody else, and so is what there is no room for.
    """

    def __init__(self, clock: Clock, ring: Callable[[set[K]], None], *, ahead_s: float) -> None:
        self._clock = clock
        self._ring = ring
        self._ahead_ms = ahead_s * 1000
        self._moments: list[tuple[int, int, K]] = []
        self._count = 0
        self._handle: asyncio.TimerHandle | None = None
        self._stopped = False

    def at(self, what: K, moment_ms: int) -> None:
        """Ring for `what` at `moment_ms`."""
        if moment_ms - self._clock.now_ms() > self._ahead_ms or len(self._moments) >= MOST_MOMENTS:
            return
        self._count += 1
        heapq.heappush(self._moments, (moment_ms, self._count, what))
        if self._moments[0][0] == moment_ms:
            self._set()

    def stop(self) -> None:
        self._stopped = True
        self._moments.clear()
        self._set()

    def _set(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        if self._moments and not self._stopped:
            wait_s = max(0, self._moments[0][0] - self._clock.now_ms()) / 1000
            self._handle = asyncio.get_running_loop().call_later(wait_s, self._fire)

    def _fire(self) -> None:
        now, due = self._clock.now_ms(), set()
        while self._moments and self._moments[0][0] <= now:
            due.add(heapq.heappop(self._moments)[2])
        self._handle = None
        self._set()
        if due:
            self._ring(due)
