"""Resolves the Celery results that producers wait for, in a thread, for Celery's backend blocks."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from celery import states
from celery.backends.redis import RedisBackend


def resolve(backend: Any, outcomes: Sequence[tuple[str, dict[str, Any]]]) -> None:
    """Store each outcome as its task's result, and wake the producers that wait for it.

    On Redis all go in one round trip, where Celery itself takes two for each: it first checks whether
    the task has succeeded already, which makes no difference to a result that is the same each time.
    """
    if not isinstance(backend, RedisBackend):
        for task_id, outcome in outcomes:
            backend.mark_as_done(task_id, outcome)
        return
    with backend.client.pipeline(transaction=False) as pipe:
        for task_id, outcome in outcomes:
            key, value = backend.get_key_for_task(task_id), backend.encode(_meta(task_id, outcome))
            pipe.set(key, value, ex=backend.expires)
            pipe.publish(key, value)
        pipe.execute()


def _meta(task_id: str, outcome: dict[str, Any]) -> dict[str, Any]:
    """Return a result as Celery's backends keep it (docs.celeryq.dev, Task result payload)."""
    return {
        "status": states.SUCCESS,
        "result": outcome,
        "traceback": None,
        "children": [],
        "date_done": datetime.now(UTC).isoformat(),
        "task_id": task_id,
    }
