"""`scaleout.cancel`: cancel a request; its outcome goes to the task that requested it."""

from typing import Any

from celery import Task, shared_task
from celery.exceptions import Reject
from redis.exceptions import RedisError

from config.celery_options import CANCEL
from tasks import admin
from tasks.engine import worker_process
from tasks.engine.wiring import Engine
from tasks.ledger.ledger import WriteConflict

TIMEOUT_S = 20.0
MAX_CHARS = 128


@shared_task(name=CANCEL, bind=True)
def cancel(self: Task, request_id: str, by: str | None = None, reason: str | None = None) -> dict[str, Any]:
    """Cancel a request. What was sent continues to its end.

    Args:
        by: who cancels; the task's sender if it is not said.
        reason: why; both are recorded in the history.

    Returns `{"request_id", "result"}`: `cancelled`, `cancelled_before`, `ended_before` or `not_found`.
    """
    who = by or str(getattr(self.request, "origin", None) or "a Celery task")
    work = _cancel(worker_process.engine(), str(request_id), who[:MAX_CHARS], reason)
    try:
        result = worker_process.run(work, timeout_s=TIMEOUT_S)
    except (RedisError, OSError, WriteConflict) as error:
        raise Reject(reason="the ledger cannot be reached", requeue=True) from error
    return {"request_id": request_id, "result": result}


async def _cancel(engine: Engine, request_id: str, by: str, reason: str | None) -> str:
    result = await admin.cancel(engine.ctx.ledger, request_id, by=by, reason=reason)
    return result.name.lower()
