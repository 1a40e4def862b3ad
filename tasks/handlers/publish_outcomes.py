"""Publishes outcomes to the tasks that wait for them, from the outbox in the ledger."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from tasks.handlers.context import Context

BATCH = 100

TaskOutcome = tuple[str, dict[str, Any]]
Publish = Callable[[Sequence[TaskOutcome]], Awaitable[None]]


async def publish_outbox(ctx: Context, publish: Publish) -> None:
    """Call `publish([(task_id, outcome), …])`, then remove the outcomes from the outbox.

    A process that dies between the two publishes again: a producer gets the same result twice, never none.
    """
    while pairs := await ctx.ledger.outbox(BATCH):
        outcomes = await ctx.ledger.outcomes([request_id for _, request_id in pairs])
        found = zip(pairs, outcomes, strict=True)
        await publish([(task_id, outcome) for (task_id, _), outcome in found if outcome is not None])
        await ctx.ledger.remove_from_outbox(pairs)
    await ctx.ledger.schedule_outbox(ctx.clock.now_ms())
