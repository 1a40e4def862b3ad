"""Plain Celery: the task adds the nodes and polls until its job has ended. Each running job has a thread."""

import time
from typing import Any

from benchmarks.alternatives.celery_application import call, given, make_app, server, write_outcome
from benchmarks.alternatives.outcomes import LOCK_S, lock_name, outcome_of
from benchmarks.alternatives.provider import Refused

app = make_app("polling")
app.conf.worker_prefetch_multiplier = 1


@app.task(name="bench.add_nodes")
def add_nodes(request_id: str, cluster_id: str, zone: str, node_count: int) -> dict[str, Any]:
    with server.lock(lock_name(cluster_id), timeout=LOCK_S, sleep=given.poll_s):
        try:
            job_id = _add(zone, cluster_id, node_count)
        except Refused as refused:
            outcome = outcome_of(request_id, cluster_id, None, refused.message)
        else:
            outcome = outcome_of(request_id, cluster_id, _ended(zone, job_id))
    write_outcome(outcome)
    return outcome


def _add(zone: str, cluster_id: str, node_count: int) -> str:
    while True:
        try:
            return call(lambda provider: provider.add_nodes(zone, cluster_id, node_count))
        except Refused as refused:
            if not refused.for_now:
                raise
        time.sleep(given.poll_s)


def _ended(zone: str, job_id: str) -> dict[str, Any]:
    while True:
        time.sleep(given.poll_s)
        if row := call(lambda provider: provider.job(zone, job_id)):
            return row
