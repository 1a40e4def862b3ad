"""`scaleout.add_nodes`: writes the request to the ledger; its result resolves when the request ends."""

from __future__ import annotations

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
from tasks.ledger.due import Lane

OUTCOME_LATER = "the outcome follows when the request ends"
TIMEOUT_S = 20.0

log = structlog.get_logger(__name__)


class OutcomeLaterRequest(Request):  # type: ignore[misc]  # Celery has no types
    """The end of the body is not the end of the task: its success is announced with the outcome."""

    def send_event(self, type: str, **fields: Any) -> None:  # noqa: A002 - Celery's name for it
        if type == "task-succeeded" and fields.get("result") == repr(OUTCOME_LATER):
            return
        super().send_event(type, **fields)


@shared_task(name=ADD_NODES, bind=True, typing=False, Request=OutcomeLaterRequest)
def add_nodes(self: Task, *arguments: Any, **fields: Any) -> dict[str, Any] | str:
    """Take a request in. Anybody may send this task by name; see docs/request.schema.json for `fields`."""
    task_id = str(self.request.id)
    with bound_contextvars(task_id=task_id):
        try:
            taking = _take_in(worker_process.engine(), task_id, arguments, fields)
            taken = worker_process.run(taking, timeout_s=TIMEOUT_S)
        except (RedisError, OSError) as error:
            log.warning("ledger_unreachable", detail=str(error))
            raise Reject(reason="the ledger cannot be reached", requeue=True) from error
    if isinstance(taken, Ended):
        return taken.outcome
    self.request.ignore_result = True
    return OUTCOME_LATER


async def _take_in(
    engine: Engine, task_id: str, arguments: tuple[Any, ...], fields: Mapping[str, Any]
) -> Accepted | Ended:
    """With no coalescing window nothing is won by waiting for the next tick: it is planned at once."""
    settings = engine.machinery.settings
    at_once = settings.coalesce_window_s == 0 and engine.sweeper.has_room(Lane.SUBMISSIONS)
    planner_s = settings.submit_lease_s if at_once else 0.0
    taken = await engine.intake.receive(task_id, arguments, fields, planner_s=planner_s)
    if at_once and isinstance(taken, Accepted) and taken.new:
        engine.sweeper.plan_soon(taken.cluster_id)
    return taken
