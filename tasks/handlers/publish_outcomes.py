"""Publishes outcomes to the tasks that wait for them, from the outbox in the ledger."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import structlog
from redis.exceptions import RedisError

from tasks.handlers.context import Context

log = structlog.get_logger(__name__)

BATCH = 100
RETRY_MS = 5_000

TaskOutcome = tuple[str, dict[str, Any]]
Publish = Callable[[Sequence[TaskOutcome]], Awaitable[None]]


async def publish_outbox(ctx: Context, publish: Publish) -> None:
    """Call `publish([(task_id, outcome), …])`, then remove the outcomes from the outbox.

    A process that dies between the two publishes again: a producer gets the same result twice, never none.
    """
    while pairs := await ctx.ledger.outbox(BATCH):
        outcomes = await ctx.ledger.outcomes_for(pairs)
        told = zip(pairs, outcomes, strict=True)
        try:
            await publish([(task_id, outcome) for (task_id, _), outcome in told if outcome is not None])
        except (RedisError, OSError):
            await ctx.ledger.schedule_outbox(ctx.clock.now_ms() + RETRY_MS)
            raise
        for (task_id, name), outcome in zip(pairs, outcomes, strict=True):
            if outcome is None:
                # It waited in the outbox for longer than the ledger keeps requests.
                log.error("outcome_not_published", task_id=task_id, request_id=name)
        await ctx.ledger.remove_from_outbox(pairs)
    await ctx.ledger.schedule_outbox(ctx.clock.now_ms())
