"""The parts that every handler works with, one set a process."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from config.policy.model import Policy
from config.settings import Settings
from tasks.ehpc.client import EhpcClient
from tasks.ehpc.signature import MAX_SKEW_S
from tasks.ledger.events import Event
from tasks.ledger.ledger import Ledger
from tasks.quota.rate_limiter import RateLimiter
from tasks.runtime.clock import Clock
from tasks.state_machine.backoff import BackoffPolicy

MAX_REPORTED = 1_000
SKEW_VALID_MS = 600_000
SKEW_RETRY_MS = 30_000
SAME_POLL_MS = 60_000


class PollsLogged:
    """What the last line about each zone's polls said: one that says the same is due once a minute."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[tuple[int, ...], int]] = {}

    def note(self, zone: str, shown: tuple[int, ...], now: int) -> bool:
        """Return whether a line is due; `now` in ms."""
        last = self._last.get(zone)
        if last is not None and last[0] == shown and now - last[1] < SAME_POLL_MS:
            return False
        self._last[zone] = (shown, now)
        return True


@dataclass(slots=True)
class Context:
    """What a handler works with.

    Fields:
        policy: returns the policy in force.
        polls_logged: which lines about polls are due.
        checked_clusters: for which change of the server (ms) each cluster was found to have lost no call.
        ask_time_from_ms: when the provider may be asked for the time again, by the monotonic clock.
    """

    settings: Settings
    ledger: Ledger
    api: EhpcClient
    rate_limiter: RateLimiter
    clock: Clock
    rng: random.Random = field(default_factory=random.SystemRandom)
    policy: Callable[[], Policy] = Policy
    checked_clusters: dict[str, int] = field(default_factory=dict)
    polls_logged: PollsLogged = field(default_factory=PollsLogged)
    ask_time_from_ms: int = 0
    _reported: set[str] = field(default_factory=set)

    @property
    def backoff(self) -> BackoffPolicy:
        return BackoffPolicy(self.settings.retry_backoff_s, self.rng)

    @property
    def lease_ms(self) -> int:
        return round(self.settings.submit_lease_s * 1000)

    @property
    def clocks_disagree(self) -> bool:
        """Whether a recent reply of the provider had another time."""
        skew_s = self.api.skew_s
        recent = self.clock.now_ms() - self.api.skew_at_ms < SKEW_VALID_MS
        return recent and skew_s is not None and abs(skew_s) > MAX_SKEW_S

    @property
    def may_end_by_time(self) -> bool:
        """Whether something may end because its time is over."""
        return self.ledger.time_is_proven and not self.clocks_disagree

    async def report_once(self, event: str, about: str, **fields: Any) -> None:
        """Log, count and keep something odd of the provider's, once for each subject and process.

        It would repeat with every call; `scaleout doctor` shows that there is something.
        """
        key = f"{event} {about}"
        if key in self._reported:
            return
        if len(self._reported) >= MAX_REPORTED:
            self._reported.clear()
        self._reported.add(key)
        await self.ledger.record(Event(event, "warning", fields=fields, in_journal=True))
