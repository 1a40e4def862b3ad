"""Plain Celery, one HTTP call a task and nothing after it: no job is polled. A measure for throughput."""

from typing import Any

from benchmarks.alternatives.celery_application import call, make_app, server
from benchmarks.alternatives.outcomes import STREAM

app = make_app("one_call")


@app.task(name="bench.add_nodes", ignore_result=True)
def add_nodes(request_id: str, cluster_id: str, zone: str, node_count: int) -> None:
    """Its result is the entry in the stream, so that it costs no more than Celery's own result would."""
    job_id: Any = call(lambda provider: provider.add_nodes(zone, cluster_id, node_count))
    server.xadd(STREAM, {"request_id": request_id, "status": "succeeded", "outcome": f'"{job_id}"'})
