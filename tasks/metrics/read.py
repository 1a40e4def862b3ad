"""All metrics of the ledger, read once for all who ask within a second."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

import structlog
from redis.exceptions import RedisError

from config.policy.model import Policy
from tasks.ledger.ledger import Ledger
from tasks.metrics.account import account_samples
from tasks.metrics.families import Sample, known
from tasks.metrics.health import counter_samples, health_samples, queue_samples
from tasks.metrics.plans import schedule_samples, webhook_samples
from tasks.metrics.requests import operation_samples, request_samples
from tasks.quota.rate_limiter import RateLimiter

log = structlog.get_logger(__name__)

VALID_S = 1.0
TIMEOUT_S = 20.0
AWAY = (Sample("scaleout_redis_up", 0),)


class LedgerMetrics:
    """What is true of the ledger.

    Args:
        broker: a client of the broker's server; `queues`: of ours there.
    """

    def __init__(
        self,
        ledger: Ledger,
        rate_limiter: RateLimiter,
        policy: Callable[[], Policy],
        broker: Any,
        queues: Sequence[str],
    ) -> None:
        self._ledger = ledger
        self._rate_limiter = rate_limiter
        self._policy = policy
        self._broker = broker
        self._queues = queues
        self._reading = asyncio.Lock()
        self._read_at = float("-inf")
        self._samples: Sequence[Sample] = AWAY

    async def samples(self) -> Sequence[Sample]:
        """Return all samples, at most a second old; one alone if the ledger cannot be read."""
        async with self._reading:
            if time.monotonic() - self._read_at > VALID_S:
                try:
                    async with asyncio.timeout(TIMEOUT_S):
                        self._samples = known(await self._read())
                except (RedisError, OSError) as error:
                    log.warning("metrics_unreadable", kind=type(error).__name__, detail=str(error))
                    self._samples = AWAY
                self._read_at = time.monotonic()
            return self._samples

    async def _read(self) -> list[Sample]:
        ledger, counters = self._ledger, await self._ledger.overview.counters()
        return [
            *await health_samples(ledger),
            *await queue_samples(self._broker, self._queues),
            *counter_samples(counters),
            *await request_samples(ledger, counters),
            *await operation_samples(ledger),
            *await account_samples(ledger, self._rate_limiter, self._policy()),
            *await schedule_samples(ledger),
            *await webhook_samples(ledger),
        ]
