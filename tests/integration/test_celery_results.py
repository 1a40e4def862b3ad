"""What is written to Celery's result store, on a real server."""

from typing import Any

from celery import Celery

from tasks.engine import celery_results
from tasks.handlers.publish_outcomes import TaskEnd
from tasks.ledger.callers import Caller

OUTCOME = {"status": "succeeded", "duration_s": 1.0}


def result(app: Celery, task_id: str) -> tuple[str, Any]:
    meta = app.backend.get_task_meta(task_id, cache=False)
    return meta["status"], meta["result"]


def test_a_state_that_comes_late_does_not_replace_the_result(redis_url: str) -> None:
    with Celery(broker=redis_url, backend=redis_url, set_as_current=False) as app:
        app.conf.result_expires = 60
        celery_results.tell(app.backend, [("t-1", {"state": "waiting"})])
        assert result(app, "t-1") == ("STARTED", {"state": "waiting"})

        celery_results.resolve(app.backend, [TaskEnd(Caller("t-1"), OUTCOME)])
        celery_results.tell(app.backend, [("t-1", {"state": "in_progress"})])

        assert result(app, "t-1") == ("SUCCESS", OUTCOME)


def test_what_could_not_be_read_is_a_failure_with_the_reason(redis_url: str) -> None:
    with Celery(broker=redis_url, backend=redis_url, set_as_current=False) as app:
        app.conf.result_expires = 60
        celery_results.resolve(app.backend, [TaskEnd(Caller("t-1"), {"failure": "not JSON"})])

        status, error = result(app, "t-1")
        assert (status, str(error)) == ("FAILURE", "not JSON")
