"""Publishes outcomes to the tasks that wait for them, from the outbox in the ledger."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import structlog
from redis.exceptions import RedisError

from tasks.handlers.context import Context
from tasks.handlers.publish_progress import TaskStatus, publish_progress
from tasks.ledger.callers import Caller, Callers

log = structlog.get_logger(__name__)

BATCH = 100
RETRY_MS = 5_000


@dataclass(frozen=True, slots=True)
class TaskEnd:
    """What a Celery task gets: the outcome of its request, or the answer to a dry run or a conflict."""

    caller: Caller
    outcome: Mapping[str, Any]


class Publisher(Protocol):
    """What can be told to Celery. Each raises RedisError or OSError if it is not certain to have been."""

    async def resolve(self, ends: Sequence[TaskEnd]) -> None:
        """Store the results that producers wait for."""

    async def call_back(self, end: TaskEnd) -> None:
        """Send what the producer has linked to the task."""

    async def tell(self, told: Sequence[TaskStatus]) -> None:
        """Store the states of requests that have not ended."""


async def publish_outbox(ctx: Context, publisher: Publisher) -> None:
    """Publish what is in the outbox, and remove it; then the progress of what has not ended.

    A process that dies in between publishes again: a producer gets the same result twice, never none. Its
    callbacks are forgotten as soon as they are sent, one task at a time.
    """
    callers = Callers(ctx.ledger)
    while pairs := await ctx.ledger.outbox(BATCH):
        outcomes = await ctx.ledger.outcomes_for(pairs)
        known = await callers.read([task_id for task_id, _ in pairs])
        for (task_id, name), outcome in zip(pairs, outcomes, strict=True):
            if outcome is None:
                # It waited in the outbox for longer than the ledger keeps requests.
                log.error("outcome_not_published", task_id=task_id, request_id=name)
        ends = [
            TaskEnd(caller, outcome)
            for caller, outcome in zip(known, outcomes, strict=True)
            if outcome is not None
        ]
        try:
            await publisher.resolve([end for end in ends if not end.caller.ignores_result])
            for end in ends:
                if end.caller.callbacks is not None:
                    await publisher.call_back(end)
                    await callers.callbacks_sent(end.caller.task_id)
        except (RedisError, OSError):
            await ctx.ledger.schedule_outbox(ctx.clock.now_ms() + RETRY_MS)
            raise
        await callers.told([task_id for task_id, _ in pairs])
        await ctx.ledger.remove_from_outbox(pairs)
    now = ctx.clock.now_ms()
    if await publish_progress(ctx, publisher.tell):
        await ctx.ledger.schedule_outbox(now)
    else:
        await ctx.ledger.schedule_outbox(now, told_after=now + RETRY_MS)
