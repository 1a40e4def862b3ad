"""The parts that every handler works with, one set a process."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import structlog

from config.policy.model import Policy
from config.settings import Settings
from tasks.ehpc.client import EhpcClient
from tasks.ledger.ledger import Ledger
from tasks.quota.rate_limiter import RateLimiter
from tasks.runtime.clock import Clock
from tasks.state_machine.backoff import BackoffPolicy

log = structlog.get_logger(__name__)

MAX_WARNED = 10_000


@dataclass(slots=True)
class Context:
    """`policy`: returns the policy in force."""

    settings: Settings
    ledger: Ledger
    api: EhpcClient
    rate_limiter: RateLimiter
    clock: Clock
    rng: random.Random = field(default_factory=random.SystemRandom)
    policy: Callable[[], Policy] = Policy
    _warned: set[str] = field(default_factory=set)

    @property
    def backoff(self) -> BackoffPolicy:
        return BackoffPolicy(self.settings.retry_backoff_s, self.rng)

    @property
    def lease_ms(self) -> int:
        return round(self.settings.submit_lease_s * 1000)

    def warn_once(self, event: str, about: str, **fields: Any) -> None:
        """Log a warning that would repeat with every poll once for each subject."""
        key = f"{event} {about}"
        if key in self._warned:
            return
        if len(self._warned) >= MAX_WARNED:
            self._warned.clear()
        self._warned.add(key)
        log.warning(event, **fields)
