"""What people do from a shell is in the log of a worker, too: a shell's own output is kept by nobody."""

import json
from contextlib import suppress
from typing import Any

import structlog
from pydantic import BaseModel, ValidationError
from redis.exceptions import RedisError
from structlog.contextvars import bound_contextvars

from tasks.ledger.change_set import ChangeSet, CommitResult
from tasks.ledger.event_log import log_events
from tasks.ledger.events import Event, Level
from tasks.ledger.ledger import Ledger

log = structlog.get_logger(__name__)

KEPT = 1_000
SHOWN_CHARS = 200
KEPT_S = 7 * 86_400
LOGGED_AT_ONCE = 100
# Workers log these by what the ledger says.
LOGGED_ANYWAY = frozenset({"paused", "resumed", "ledger_data_loss_acknowledged"})


class _Act(BaseModel):
    name: str
    level: Level
    requests: tuple[str, ...]
    fields: dict[str, Any]
    shell: str


class ShellLedger(Ledger):
    """The ledger in a shell. `shell`: who uses it, and where."""

    shell = "unknown"

    async def commit(self, changes: ChangeSet) -> CommitResult:
        result = await super().commit(changes)
        if result is CommitResult.OK:
            # It is done, whether a worker's log has it or not.
            with suppress(RedisError, OSError):
                await self._tell_workers(changes.events)
        return result

    async def _tell_workers(self, events: list[Event]) -> None:
        lines = [self._line(event) for event in events if event.name not in LOGGED_ANYWAY]
        if not lines:
            return
        async with self.redis.pipeline(transaction=False) as pipe:
            pipe.rpush(self.keys.acts, *lines)
            pipe.ltrim(self.keys.acts, -KEPT, -1)
            pipe.expire(self.keys.acts, KEPT_S)
            await pipe.execute()

    def _line(self, event: Event) -> str:
        content = {
            "name": event.name,
            "level": event.level,
            "requests": event.requests,
            "fields": event.fields,
            "shell": self.shell,
        }
        return json.dumps(content, default=str)


async def log_acts(ledger: Ledger) -> None:
    """Log, once among all workers, what was done from shells since."""
    redis: Any = ledger.redis
    for text in await redis.lpop(ledger.keys.acts, LOGGED_AT_ONCE) or ():
        try:
            act = _Act.model_validate_json(text)
        except ValidationError:
            log.warning("act_unreadable", line=text[:SHOWN_CHARS])
            continue
        with bound_contextvars(shell=act.shell):
            log_events([Event(act.name, act.level, act.requests, act.fields)])
