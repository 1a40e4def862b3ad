"""The time of a process that makes no API calls, and so cannot ask the provider whose clock is right."""

from tasks.ledger.ledger import Ledger
from tasks.runtime.clock import MAX_STEP_MS

CONFIRMED_AFTER_MS = 60_000


class SharedTime:
    """Sets a process's clock by the Redis server's once running workers have had the same time for a minute.

    Such a process may have begun while the server's clock was wrong, as it is when a machine has just
    started, and would go on with that time for good. The workers compare their clocks with the provider's.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._confirmed_from_ms: int | None = None

    async def compare(self) -> None:
        """Compare the clocks once, and set this process's own if it is the one that differs."""
        clock, noted = self._ledger.clock, await self._ledger.noted_time()
        server_ms = await self._ledger.server_ms()
        clock.observe(server_ms)
        confirmed = noted is not None and noted.is_recent(server_ms) and abs(noted.ahead_ms) <= MAX_STEP_MS
        if not (clock.step_ms and confirmed):
            self._confirmed_from_ms = None
        elif self._confirmed_from_ms is None:
            self._confirmed_from_ms = clock.monotonic_ms()
        elif clock.monotonic_ms() - self._confirmed_from_ms >= CONFIRMED_AFTER_MS:
            self._confirmed_from_ms = None
            clock.follow_step()
