"""`scaleout.add_nodes`: write the request to the ledger; the task's result is the outcome."""

from collections.abc import Mapping
from typing import Any

import structlog
from celery import Task, shared_task
from celery.exceptions import Reject
from celery.worker.request import Request
from redis.exceptions import RedisError
from structlog.contextvars import bound_contextvars

from config.celery_options import ADD_NODES
from tasks.engine import worker_process
from tasks.engine.wiring import Engine
from tasks.intake.accept import Accepted, Ended
from tasks.ledger.due import OUTBOX, Lane
from tasks.ledger.ledger import WriteConflict

OUTCOME_LATER = "the outcome is stored when the request ends"
TIMEOUT_S = 20.0

log = structlog.get_logger(__name__)


class OutcomeLaterRequest(Request):  # type: ignore[misc]  # Celery has no types
    """Send no success event when the body ends: the task succeeds with the outcome."""

    def send_event(self, type: str, **fields: Any) -> None:  # noqa: A002 - Celery's name for it
        if type == "task-succeeded" and fields.get("result") == repr(OUTCOME_LATER):
            return
        super().send_event(type, **fields)


@shared_task(name=ADD_NODES, bind=True, typing=False, Request=OutcomeLaterRequest)
def add_nodes(self: Task, *arguments: Any, **fields: Any) -> str:
    """Accept a request. Any producer may send this task by name; `fields`: docs/request.schema.json."""
    task_id = str(self.request.id)
    with bound_contextvars(task_id=task_id):
        try:
            accepting = _accept(worker_process.engine(), task_id, arguments, fields)
            worker_process.run(accepting, timeout_s=TIMEOUT_S)
        except (RedisError, OSError, WriteConflict) as error:
            log.warning("ledger_unreachable", detail=str(error))
            raise Reject(reason="the ledger cannot be reached", requeue=True) from error
        except Exception as error:
            # An invalid request ends as rejected. All else is no fault of the message's, which a
            # failed task would lose: another worker, or this one later, can do it.
            log.exception("message_not_handled", task=ADD_NODES)
            raise Reject(reason=f"{type(error).__name__}: {error}", requeue=True) from error
    self.request.ignore_result = True
    return OUTCOME_LATER


async def _accept(
    engine: Engine, task_id: str, arguments: tuple[Any, ...], fields: Mapping[str, Any]
) -> None:
    """Accept the request, and plan it at once if no coalescing window waits for others.

    What has ended already is told by the outbox, like all outcomes: a result store that is away would keep
    this slot for minutes.
    """
    settings = engine.ctx.settings
    at_once = settings.coalesce_window_s == 0 and engine.dispatcher.has_room(Lane.SUBMISSIONS)
    planner_s = settings.submit_lease_s if at_once else 0.0
    answer = await engine.intake.accept_message(task_id, arguments, fields, planner_s=planner_s)
    if at_once and isinstance(answer, Accepted) and answer.new:
        engine.dispatcher.plan_soon(answer.cluster_id)
    if isinstance(answer, Ended):
        engine.dispatcher.sweep_soon([OUTBOX.lane])
