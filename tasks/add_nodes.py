"""`scaleout.add_nodes`: writes the request to the ledger; its result resolves when the request ends."""

from __future__ import annotations

from typing import Any

import structlog
from celery import Task, shared_task
from celery.exceptions import Reject
from celery.worker.request import Request
from redis.exceptions import RedisError
from structlog.contextvars import bound_contextvars

from config.celery_options import ADD_NODES
from tasks.ledger.due import Due, DueKind
from tasks.lifecycle import worker_engine
from tasks.lifecycle.intake import Accepted, Ended

SUBMITTED = "SUBMITTED"
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
            # Before the ledger: from the moment the request is there, its outcome may be told at any time.
            self.update_state(state=SUBMITTED)
            engine = worker_engine.engine()
            taken = worker_engine.run(engine.intake.receive(task_id, arguments, fields), timeout_s=TIMEOUT_S)
        except (RedisError, OSError) as error:
            log.warning("ledger_unreachable", detail=str(error))
            raise Reject(reason="the ledger cannot be reached", requeue=True) from error
    match taken:
        case Ended(outcome):
            return outcome
        case Accepted():
            _plan_at_once(taken)
    self.request.ignore_result = True
    return OUTCOME_LATER


def _plan_at_once(taken: Accepted) -> None:
    """With no coalescing window nothing is won by waiting for the next tick."""
    engine = worker_engine.engine()
    if taken.new and engine.machinery.settings.coalesce_window_s == 0:
        due = Due(DueKind.CLUSTER, taken.cluster_id)
        worker_engine.run(engine.sweeper.plan_soon(due), timeout_s=TIMEOUT_S)
