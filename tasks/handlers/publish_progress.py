"""Tells waiting Celery tasks of the state of their requests, from the ledger."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from redis.exceptions import RedisError

from tasks.handlers.context import Context
from tasks.ledger.callers import Callers
from tasks.views.read_status import read_statuses
from tasks.views.status import status_document

BATCH = 50

TaskStatus = tuple[str, dict[str, Any]]
Tell = Callable[[Sequence[TaskStatus]], Awaitable[None]]


async def publish_progress(ctx: Context, tell: Tell) -> bool:
    """Call `tell([(task_id, status document), …])` for the requests that have changed.

    Returns False if the tasks could not be told; then it is tried again.
    """
    ledger = ctx.ledger
    while changed := await ledger.progress(ctx.clock.now_ms(), BATCH):
        requests = await ledger.requests([name for name, _ in changed], readable_only=True)
        waiting = [request for request in requests.values() if not request.ended]
        tasks = await ledger.waiters([request.request_id for request in waiting])
        statuses = await read_statuses(ledger, waiting)
        known = await Callers(ledger).read([task_id for of_request in tasks for task_id in of_request])
        ignoring = {caller.task_id for caller in known if caller.ignores_result}
        told = [
            (task_id, status_document(request, status, None))
            for request, status, of_request in zip(waiting, statuses, tasks, strict=True)
            for task_id in of_request
            if task_id not in ignoring
        ]
        try:
            if told:
                await tell(told)
        except (RedisError, OSError):
            return False
        await ledger.progress_told(changed)
    return True
