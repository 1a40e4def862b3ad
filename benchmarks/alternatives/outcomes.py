"""Write the outcome when a request ends: a key for its producer, and an entry of a stream for all."""

import json
from typing import Any

STREAM = "bench:outcomes"
KEPT_S = 7 * 86_400
LOCK_S = 3600.0


def outcome_of(
    request_id: str, cluster_id: str, job: dict[str, Any] | None, error: str | None = None
) -> dict[str, Any]:
    """`job` is the log's row of the ended job, if there was one."""
    words = job["resource_ids"].split() if job else []
    return {
        "request_id": request_id,
        "cluster_id": cluster_id,
        "status": "succeeded" if job and job["status"] == "successful" else "failed",
        "node_ids": [word for word in words if word.startswith("cln-")],
        "operations": [{"job_id": job["job_id"]}] if job else [],
        "error": error,
    }


def put_outcome(pipeline: Any, outcome: dict[str, Any]) -> None:
    """Into a pipeline of redis-py, blocking or not; the caller executes it."""
    text = json.dumps(outcome)
    request_id, status = outcome["request_id"], outcome["status"]
    pipeline.set(f"bench:outcome:{request_id}", text, ex=KEPT_S)
    fields = {"request_id": request_id, "status": status, "outcome": text}
    pipeline.xadd(STREAM, fields, maxlen=100_000, approximate=True)


def lock_name(cluster_id: str) -> str:
    return f"bench:lock:{cluster_id}"
