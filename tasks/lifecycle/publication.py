"""Tells waiting producers the outcomes of their requests, from the outbox in the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from tasks.lifecycle.machinery import Machinery

BATCH = 100
AT_ONCE = 8

Deliver = Callable[[str, dict[str, Any]], Awaitable[None]]


async def publish_outbox(m: Machinery, deliver: Deliver) -> None:
    """Hand each outcome to `deliver(task_id, outcome)`, then take it out of the outbox.

    A process that dies between the two tells again; a producer sees the same result twice, never none.
    """
    limit = asyncio.Semaphore(AT_ONCE)

    async def tell(task_id: str, outcome: dict[str, Any]) -> None:
        async with limit:
            await deliver(task_id, outcome)

    while pairs := await m.ledger.outbox(BATCH):
        outcomes = await m.ledger.outcomes([request_id for _, request_id in pairs])
        await asyncio.gather(
            *(
                tell(task_id, outcome)
                for (task_id, _), outcome in zip(pairs, outcomes, strict=True)
                if outcome is not None
            )
        )
        await m.ledger.told(pairs)
    await m.ledger.rest_outbox(m.clock.now_ms())
