"""Celery's consumer; it keeps the messages that plain Celery logs and drops."""

import logging
from collections.abc import Callable
from time import monotonic, sleep
from typing import Any, cast

import structlog
from celery.worker.consumer import Consumer as CeleryConsumer
from celery.worker.state import maybe_shutdown
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from tasks.runtime.redis_refusals import ServerRefuses
from workers.broker.dead_letters import raw_message, readable_task_id
from workers.broker.message_check import is_task_message
from workers.broker.pause import FIRST_PAUSE_S, MAX_PAUSE_S
from workers.broker.transport import OnDeadLetter

# Not kombu's own list: it counts KeyError among the broken connections, which a missing header raises too.
BROKEN_CONNECTION = (OSError, RedisError, OperationalError)

CONSUMER = f"{__name__}:Consumer"

log = structlog.get_logger(__name__)

FORGET_S = 120.0
STOP_CHECK_S = 0.2
HEARTBEAT_S = 10.0  # of Celery's events; its own default is 2

_listeners: list[OnDeadLetter] = []


def send_dead_letters_to(keep: OnDeadLetter) -> None:
    """Have `keep(reason, queue, message, task_id)` called for each message without a task."""
    _listeners[:] = [keep]


class Consumer(CeleryConsumer):  # type: ignore[misc]  # Celery has no types
    """Keeps messages as dead letters that cannot be decoded, have a wrong protocol or name an unknown task.

    It does not gossip: each of a hundred workers would receive the heartbeats of all, fifty a second, and use
    none. Remote control and events work as usual.
    """

    def __init__(self, *arguments: Any, worker_options: Any = None, **options: Any) -> None:
        self._pause_s, self._refused_at = FIRST_PAUSE_S, -FORGET_S
        given = worker_options or {}
        quiet = {**given, "without_gossip": True, "without_mingle": True}
        # Monitors know the interval from the events: they take a worker for lost after twice as long.
        quiet["heartbeat_interval"] = given.get("heartbeat_interval") or HEARTBEAT_S
        super().__init__(*arguments, worker_options=quiet, **options)

    def create_task_handler(self, *arguments: Any, **options: Any) -> Callable[[Any], Any]:
        """Celery's own handler, guarded: plain Celery exits on a message of the wrong shape."""
        handle = super().create_task_handler(*arguments, **options)

        def guarded(message: Any) -> Any:
            try:
                return handle(message)
            except BROKEN_CONNECTION:
                raise
            except Exception as error:
                stdlib_log = logging.getLogger(__name__)
                if is_task_message(message):
                    # It is not the message's fault: another worker, or this one later, can do it.
                    log.exception("message_not_handled", task=str(message.headers.get("task")))
                    message.reject_log_error(stdlib_log, self.connection_errors, requeue=True)
                    return None
                _keep(f"invalid message: {type(error).__name__}: {error}", message)
                message.ack_log_error(stdlib_log, self.connection_errors)
            return None

        return cast("Callable[[Any], Any]", guarded)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Connect again as Celery does, after a pause if the server has answered that it cannot now.

        It would accept the new connection, and refuse again at once.
        """
        if isinstance(exc, ServerRefuses):
            self._pause(exc)
        super().on_connection_error_after_connected(exc)

    def on_connection_error_before_connected(self, exc: Exception) -> None:
        """Do the same for a server that refuses while the worker starts. Celery would log each attempt."""
        if isinstance(exc, ServerRefuses):
            self._pause(exc)
        else:
            super().on_connection_error_before_connected(exc)

    def _pause(self, refusal: ServerRefuses) -> None:
        """Wait, longer each time. Raises WorkerShutdown when the worker is told to stop."""
        if monotonic() - self._refused_at > FORGET_S:
            self._pause_s = FIRST_PAUSE_S
            log.warning("broker_refuses", code=refusal.code, detail=str(refusal))
        until = monotonic() + self._pause_s
        while monotonic() < until:
            maybe_shutdown()
            sleep(STOP_CHECK_S)
        self._pause_s, self._refused_at = min(MAX_PAUSE_S, 2 * self._pause_s), monotonic()

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        _keep(f"cannot be decoded: {exc}", message)
        super().on_decode_error(message, exc)

    def on_unknown_message(self, body: Any, message: Any) -> None:
        _keep("not Celery's protocol", message)
        super().on_unknown_message(body, message)

    def on_unknown_task(self, body: Any, message: Any, exc: Exception) -> None:
        # Celery itself stores the failure.
        _keep(f"unknown task {message.headers.get('task')!r}", message, answers=False)
        super().on_unknown_task(body, message, exc)

    def on_invalid_task(self, body: Any, message: Any, exc: Exception) -> None:
        _keep(f"invalid task message: {exc}", message)
        super().on_invalid_task(body, message, exc)


def _keep(reason: str, message: Any, *, answers: bool = True) -> None:
    queue = str((message.delivery_info or {}).get("routing_key", ""))
    task_id = readable_task_id(message.headers, message.properties) if answers else None
    for keep in _listeners:
        keep(reason, queue, raw_message(message), task_id)
