"""Tells waiting producers the outcomes of their requests, from the outbox in the ledger."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from tasks.handlers.context import Machinery

BATCH = 100

Told = tuple[str, dict[str, Any]]
Deliver = Callable[[Sequence[Told]], Awaitable[None]]


async def publish_outbox(m: Machinery, deliver: Deliver) -> None:
    """Hand the outcomes to `deliver([(task_id, outcome), …])`, then take them out of the outbox.

    A process that dies between the two tells again; a producer sees the same result twice, never none.
    """
    while pairs := await m.ledger.outbox(BATCH):
        outcomes = await m.ledger.outcomes([request_id for _, request_id in pairs])
        await deliver(
            [
                (task_id, outcome)
                for (task_id, _), outcome in zip(pairs, outcomes, strict=True)
                if outcome is not None
            ]
        )
        await m.ledger.told(pairs)
    await m.ledger.rest_outbox(m.clock.now_ms())
