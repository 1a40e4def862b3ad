"""Bounds of one client: requests a second, and waits and streams at once."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus

from workers.gateway.problems import Problem

PER_S = 60
OPEN_AT_ONCE = 50
FORGET_AT = 10_000


class Throttle:
    """A token bucket for each client, which holds a second's worth."""

    def __init__(self, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._now = monotonic_s
        self._buckets: dict[str, tuple[float, float]] = {}
        self._open: Counter[str] = Counter()

    def count(self, client: str) -> None:
        """Count a request. Raises Problem (429) if there were too many."""
        now = self._now()
        if len(self._buckets) > FORGET_AT:
            self._buckets.clear()
        left, at = self._buckets.get(client, (float(PER_S), now))
        left = min(float(PER_S), left + (now - at) * PER_S)
        if left < 1:
            self._buckets[client] = (left, now)
            raise _too_many(f"more than {PER_S} requests a second")
        self._buckets[client] = (left - 1, now)

    @contextmanager
    def held(self, client: str) -> Iterator[None]:
        """Count a wait or a stream while it is open. Raises Problem (429) if there are too many."""
        if self._open[client] >= OPEN_AT_ONCE:
            raise _too_many(f"more than {OPEN_AT_ONCE} open waits and streams")
        self._open[client] += 1
        try:
            yield
        finally:
            self._open[client] -= 1
            if not self._open[client]:
                del self._open[client]


def _too_many(what: str) -> Problem:
    detail = f"{what} of one client: slow down"
    return Problem(HTTPStatus.TOO_MANY_REQUESTS, "too-many-requests", detail, headers={"Retry-After": "1"})
