"""Plain Celery: the task returns with `self.retry(countdown=…)` for each poll of its job."""

from typing import Any

from celery import Task

from benchmarks.alternatives.celery_application import call, given, make_app, server, write_outcome
from benchmarks.alternatives.outcomes import LOCK_S, lock_name, outcome_of
from benchmarks.alternatives.provider import Refused

app = make_app("retry")


@app.task(name="bench.add_nodes", bind=True, max_retries=None)
def add_nodes(
    self: Task, request_id: str, cluster_id: str, zone: str, node_count: int, job_id: str | None = None
) -> dict[str, Any]:
    again = {"request_id": request_id, "cluster_id": cluster_id, "zone": zone, "node_count": node_count}
    lock = lock_name(cluster_id)
    if job_id is None:
        # The lock is kept from one try to the next, so its owner is the request.
        taken = server.set(lock, request_id, nx=True, ex=int(LOCK_S), get=True)
        if taken not in (None, request_id.encode()):
            raise self.retry(countdown=given.poll_s, kwargs=again)
        try:
            job_id = call(lambda provider: provider.add_nodes(zone, cluster_id, node_count))
        except Refused as refused:
            if refused.for_now:
                raise self.retry(countdown=given.poll_s, kwargs=again) from refused
            return _end(lock, outcome_of(request_id, cluster_id, None, refused.message))
        raise self.retry(countdown=given.poll_s, kwargs={**again, "job_id": job_id})
    row = call(lambda provider: provider.job(zone, job_id))
    if row is None:
        raise self.retry(countdown=given.poll_s, kwargs={**again, "job_id": job_id})
    return _end(lock, outcome_of(request_id, cluster_id, row))


def _end(lock: str, outcome: dict[str, Any]) -> dict[str, Any]:
    server.delete(lock)
    write_outcome(outcome)
    return outcome
