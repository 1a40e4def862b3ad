"""The parts that every step of the lifecycle works with, one set a process."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import structlog

from config.policy import Policy
from config.settings import Settings
from tasks.ehpc.client import EhpcClient
from tasks.ledger.changes import Changes, Committed
from tasks.ledger.ledger import Ledger
from tasks.lifecycle.refusal import Waiting
from tasks.quota.governor import Governor
from tasks.runtime.clock import Clock

log = structlog.get_logger(__name__)

MOST_CONTENTION = 50
MOST_WARNED = 10_000


class Contention(RuntimeError):  # noqa: N818 - named by what happened
    """A step was overtaken by others again and again; its due entry brings it up once more."""


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


def tell(changes: Changes) -> None:
    """One log line for each event; a line about one request carries its id."""
    for event in changes.events:
        about: dict[str, Any] = {key: value for key, value in event.fields.items() if value is not None}
        # structlog's own name for the line's text
        if "message" in about:
            about["detail"] = about.pop("message")
        if len(event.requests) == 1:
            about["request_id"] = event.requests[0]
        elif event.requests:
            about["request_ids"] = list(event.requests[:20])
        getattr(log, event.level)(event.name, **about)
