"""PURE: which nodes a job has added, when the operation log alone does not show it."""

from collections.abc import Sequence

from tasks.ehpc.models import NodeRow
from tasks.ledger.record_values import JobResult
from tasks.ledger.records import Operation

GONE = frozenset({"deleted", "deleting", "ceased", "terminated"})
CLOCK_MARGIN_MS = 5_000
WHOLE_SECOND_MS = 1_000


def needs_listing(operation: Operation, result: JobResult) -> bool:
    """Return whether nodes have to be listed: only fewer ids, or a failed job, leave a question."""
    return not result.successful or 0 < len(result.node_ids) < operation.node_count


def nodes_that_came(operation: Operation, result: JobResult, rows: Sequence[NodeRow]) -> list[str]:
    """Return the ids of the nodes of this job among the cluster's `rows`.

    While the job ran, nothing else could change the cluster (EHPC API, error 1400), so nodes of its role that
    were made in that time are its own, whether the log names them or not.
    """
    sent_at = operation.sent_at or operation.planned_at
    # The job may have started long after the call was sent, and another have ended in between.
    since = sent_at - CLOCK_MARGIN_MS if result.started_at is None else result.started_at
    named = set(result.node_ids)
    present = [row for row in rows if row.status not in GONE]
    certain = [row.node_id for row in present if row.node_id in named]
    made = nodes_made(present, operation.node_role, since, result.ended_at)
    # What the log names goes before what was merely made about that time.
    return [*certain, *(node_id for node_id in made if node_id not in named)][: operation.node_count]


def nodes_made(rows: Sequence[NodeRow], role: str, since: int, until: int) -> list[str]:
    """Return the ids of the nodes of `role` made from `since` to the end of the second of `until` (ms)."""
    return [
        row.node_id
        for row in rows
        if row.role == role
        and row.create_time is not None
        and since <= row.create_time.timestamp() * 1000 < until + WHOLE_SECOND_MS
    ]
