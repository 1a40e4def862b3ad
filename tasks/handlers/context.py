"""The parts that every step of the lifecycle works with, one set a process."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import structlog

from config.policy.model import Policy
from config.settings import Settings
from tasks.ehpc.client import EhpcClient
from tasks.ledger.change_set import Changes, Committed
from tasks.ledger.ledger import Ledger
from tasks.ledger.transactions import MOST_CONTENTION, Contention, tell
from tasks.quota.rate_limiter import Governor
from tasks.runtime.clock import Clock
from tasks.state_machine.refusal import Waiting

log = structlog.get_logger(__name__)

MOST_WARNED = 10_000


@dataclass(slots=True)
class Machinery:
    settings: Settings
    ledger: Ledger
    api: EhpcClient
    governor: Governor
    clock: Clock
    rng: random.Random = field(default_factory=random.SystemRandom)
    policy: Callable[[], Policy] = Policy
    _warned: set[str] = field(default_factory=set)

    @property
    def waiting(self) -> Waiting:
        return Waiting(self.settings.retry_backoff_s, self.rng)

    @property
    def lease_ms(self) -> int:
        return round(self.settings.submit_lease_s * 1000)

    def warn_once(self, event: str, about: str, **fields: Any) -> None:
        """A warning that would come again with every sweep is worth one line for each thing it is about."""
        key = f"{event} {about}"
        if key in self._warned:
            return
        if len(self._warned) >= MOST_WARNED:
            self._warned.clear()
        self._warned.add(key)
        log.warning(event, **fields)

    async def commit(self, changes: Changes) -> Committed:
        """Apply `changes`; what happened is logged once it is written, never before."""
        word = await self.ledger.commit(changes)
        if word is Committed.OK:
            tell(changes)
        return word

    async def commit_current(self, build: Callable[[], Awaitable[Changes | None]]) -> Changes | None:
        """Read, decide and commit, again if others were faster; None if `build` has nothing to change."""
        for _ in range(MOST_CONTENTION):
            changes = await build()
            if changes is None or await self.commit(changes) is Committed.OK:
                return changes
        raise Contention(f"a step was overtaken {MOST_CONTENTION} times in a row")
