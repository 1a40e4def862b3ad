"""Writes Celery's results: outcomes, failures, and the state of what has not ended. It blocks."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from celery import states
from celery.backends.redis import RedisBackend
from redis.exceptions import ConnectionError as RedisConnectionError

from tasks.handlers.publish_outcomes import TaskEnd
from tasks.handlers.publish_progress import TaskStatus
from tasks.runtime.redis_servers import still_on_master

FAILURE = "failure"  # the field of an answer that is no outcome: why the message was not understood

# A state that comes late, from a worker that was slow, must not replace the end.
TELL = f"""
local before = redis.call('GET', KEYS[1])
if before then
  local known, meta = pcall(cjson.decode, before)
  if known and ({" or ".join(f"meta.status == '{state}'" for state in sorted(states.READY_STATES))}) then
    return 0
  end
end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
redis.call('PUBLISH', KEYS[1], ARGV[1])
return 1
"""


def resolve(backend: Any, ends: Sequence[TaskEnd]) -> None:
    """Store each outcome as its task's result, and wake the producers that wait for it.

    On Redis all go in one round trip, where Celery itself takes two for each: it first checks whether
    the task has succeeded already, which makes no difference to a result that is the same each time.

    Raises:
        RedisError: it is not known that all are stored.
    """
    if not isinstance(backend, RedisBackend):
        for end in ends:
            if FAILURE in end.outcome:
                backend.mark_as_failure(end.caller.task_id, ValueError(end.outcome[FAILURE]))
            else:
                backend.mark_as_done(end.caller.task_id, dict(end.outcome))
        return
    with backend.client.pipeline(transaction=False) as pipe:
        for end in ends:
            task_id = end.caller.task_id
            key, value = backend.get_key_for_task(task_id), backend.encode(_end_of(task_id, end.outcome))
            pipe.set(key, value, ex=backend.expires)
            pipe.publish(key, value)
        pipe.execute()
    if not still_on_master(backend.client):
        raise RedisConnectionError("the results may be on an old master: they have to be stored again")


def tell(backend: Any, told: Sequence[TaskStatus]) -> None:
    """Store the status document of a request as the meta data of its task, which is STARTED then.

    Only on Redis can a late state be kept from replacing the result.
    """
    if not isinstance(backend, RedisBackend):
        return
    with backend.client.pipeline(transaction=False) as pipe:
        for task_id, document in told:
            value = backend.encode(_meta(task_id, states.STARTED, document))
            pipe.eval(TELL, 1, backend.get_key_for_task(task_id), value, int(backend.expires))
        pipe.execute()


def _end_of(task_id: str, outcome: Mapping[str, Any]) -> dict[str, Any]:
    if FAILURE in outcome:
        error = {"exc_type": "ValueError", "exc_message": [outcome[FAILURE]], "exc_module": "builtins"}
        return _meta(task_id, states.FAILURE, error)
    return _meta(task_id, states.SUCCESS, outcome)


def _meta(task_id: str, status: str, result: Mapping[str, Any]) -> dict[str, Any]:
    """Return a result as Celery's backends keep it (docs.celeryq.dev, Task result payload)."""
    ended = datetime.now(UTC).isoformat() if status in states.READY_STATES else None
    return {
        "status": status,
        "result": result,
        "traceback": None,
        "children": [],
        "date_done": ended,
        "task_id": task_id,
    }
