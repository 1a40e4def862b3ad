"""Celery's `revoke` for requests: what can be cancelled is, and the task's result says what is so."""

import asyncio
from collections.abc import Sequence

from redis.exceptions import RedisError

from tasks import admin
from tasks.ledger.callers import Callers
from tasks.ledger.ledger import Ledger

BY = "celery revoke"
# A message that was being accepted when its task was revoked has been written by then.
LOOK_AGAIN_S = (1.0, 25.0)

_looking: set[asyncio.Task[None]] = set()


async def revoke(ledger: Ledger, task_ids: Sequence[str]) -> dict[str, str]:
    """Cancel the requests of these tasks; a message that arrives later ends as cancelled.

    Returns by task id what came of it: `cancelled`, `cancelled_before`, `ended_before` or `noted`.
    """
    callers = Callers(ledger)
    for task_id in task_ids:
        await callers.revoke(task_id)
    found = await _cancel_known(ledger, task_ids)
    if unknown := [task_id for task_id in task_ids if task_id not in found]:
        task = asyncio.create_task(_look_again(ledger, unknown))
        _looking.add(task)
        task.add_done_callback(_looking.discard)
    return {task_id: found.get(task_id, "noted") for task_id in task_ids}


async def _cancel_known(ledger: Ledger, task_ids: Sequence[str]) -> dict[str, str]:
    found = {}
    for caller in await Callers(ledger).read(task_ids):
        if caller.request_id is not None:
            result = await admin.cancel(ledger, caller.request_id, by=BY)
            found[caller.task_id] = result.name.lower()
    return found


async def _look_again(ledger: Ledger, task_ids: Sequence[str]) -> None:
    for pause_s in LOOK_AGAIN_S:
        await asyncio.sleep(pause_s)
        try:
            await _cancel_known(ledger, task_ids)
        except (RedisError, OSError):
            continue
