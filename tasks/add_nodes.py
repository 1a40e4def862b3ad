"""`scaleout.add_nodes`: write the request to the ledger; the task's result is the outcome."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from celery import Task, shared_task
from celery.exceptions import Reject
from celery.utils.time import maybe_iso8601, maybe_make_aware
from celery.worker.request import Request
from redis.exceptions import RedisError
from structlog.contextvars import bound_contextvars

from config.celery_options import ADD_NODES
from tasks.engine import worker_process
from tasks.engine.callbacks import take_callbacks
from tasks.engine.wiring import Engine
from tasks.intake.accept import Accepted, Ended, MessageTimes
from tasks.ledger.callers import Callers
from tasks.ledger.due import OUTBOX, Lane
from tasks.ledger.ledger import WriteConflict
from tasks.runtime import tracing

OUTCOME_LATER = "the outcome is stored when the request ends"
TIMEOUT_S = 20.0

log = structlog.get_logger(__name__)


class OutcomeLaterRequest(Request):  # type: ignore[misc]  # Celery has no types
    """A message that is accepted at once, whatever it says of when: the ledger waits, and not a pool slot."""

    eta = None  # so that Celery keeps no copy of it until then
    expires = None

    def revoked(self) -> bool:
        """Return False: revoking cancels the request, and the outcome says so."""
        return False

    def send_event(self, type: str, **fields: Any) -> None:  # noqa: A002 - Celery's name for it
        """Send no success event when the body ends: the task succeeds with the outcome."""
        if type == "task-succeeded" and fields.get("result") == repr(OUTCOME_LATER):
            return
        super().send_event(type, **fields)


@shared_task(name=ADD_NODES, bind=True, typing=False, Request=OutcomeLaterRequest)
def add_nodes(self: Task, *arguments: Any, **fields: Any) -> str:
    """Accept a request. Any producer may send this task by name; `fields`: docs/request.schema.json."""
    request = self.request
    task_id = str(request.id)
    with bound_contextvars(task_id=task_id):
        # Celery would send them when this body returns.
        callbacks = take_callbacks(request)
        message = Message(
            task_id,
            arguments,
            fields,
            _times(request),
            callbacks,
            bool(request.ignore_result),
            _traceparent(request),
        )
        try:
            worker_process.run(_accept_traced(worker_process.engine(), message), timeout_s=TIMEOUT_S)
        except (RedisError, OSError, WriteConflict) as error:
            log.warning("ledger_unreachable", detail=str(error))
            raise Reject(reason="the ledger cannot be reached", requeue=True) from error
        except Exception as error:
            # An invalid request ends as rejected. All else is no fault of the message's, which a
            # failed task would lose: another worker, or this one later, can do it.
            log.exception("message_not_handled", task=ADD_NODES)
            raise Reject(reason=f"{type(error).__name__}: {error}", requeue=True) from error
    request.ignore_result = True
    return OUTCOME_LATER


@dataclass(frozen=True, slots=True)
class Message:
    """What a Celery message says. `callbacks`: what its producer has linked to it."""

    task_id: str
    arguments: tuple[Any, ...]
    fields: Mapping[str, Any]
    times: MessageTimes
    callbacks: Mapping[str, Any] | None
    ignores_result: bool
    traceparent: str | None = None


async def _accept_traced(engine: Engine, message: Message) -> None:
    with tracing.span("scaleout accept", parent=message.traceparent, task_id=message.task_id):
        await _accept(engine, message)


async def _accept(engine: Engine, message: Message) -> None:
    """Accept the request, and plan it at once if no coalescing window waits for others.

    What has ended already is told by the outbox, like all outcomes: a result store that is away would keep
    this slot for minutes.
    """
    settings, callers = engine.ctx.settings, Callers(engine.ctx.ledger)
    if message.callbacks is not None or message.ignores_result:
        # Before the request, so that no end can come without them.
        await callers.note(message.task_id, message.callbacks, ignores_result=message.ignores_result)
    at_once = settings.coalesce_window_s == 0 and engine.dispatcher.has_room(Lane.SUBMISSIONS)
    answer = await engine.intake.accept_message(
        message.task_id,
        message.arguments,
        message.fields,
        planner_s=settings.submit_lease_s if at_once else 0.0,
        times=message.times,
        revoked=await callers.is_revoked(message.task_id),
    )
    if at_once and isinstance(answer, Accepted) and answer.new and not message.times.not_before:
        engine.dispatcher.plan_soon(answer.cluster_id)
    if isinstance(answer, Ended):
        engine.dispatcher.sweep_soon([OUTBOX.lane])


def _traceparent(request: Any) -> str | None:
    """Return the producer's trace context: a header of the message, as OpenTelemetry sends it."""
    given = getattr(request, "traceparent", None) or (request.headers or {}).get("traceparent")
    return tracing.valid(given)


def _times(request: Any) -> MessageTimes:
    """Return what the message says of when, read as Celery has read it when it took the message."""
    return MessageTimes(_ms(request.eta) or 0, _ms(request.expires))


def _ms(text: str | None) -> int | None:
    at = maybe_iso8601(text)
    return None if at is None else round(maybe_make_aware(at).timestamp() * 1000)
