"""Pure: which nodes a job has brought, when the operation log alone does not say so."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.ehpc.models import NodeRow
from tasks.ledger.records import Operation, Verdict

GONE = frozenset({"deleted", "deleting", "ceased", "terminated"})
CLOCK_MARGIN_MS = 5_000
WHOLE_SECOND_MS = 1_000


def needs_listing(operation: Operation, verdict: Verdict) -> bool:
    """`successful` means that every node was bought. Only fewer ids, or a failed job, leave a question."""
    return not verdict.successful or 0 < len(verdict.node_ids) < operation.node_count


def nodes_that_came(operation: Operation, verdict: Verdict, rows: Sequence[NodeRow]) -> list[str]:
    """Ids of the nodes of this job among the cluster's `rows`.

    While the job ran nobody else could change the cluster (EHPC API, error 1400), so nodes of its role that
    were made in that time are its own, whether the log names them or not.
    """
    sent_at = operation.sent_at or operation.planned_at
    # The job may have started long after it was sent, and another have ended in between.
    since = sent_at - CLOCK_MARGIN_MS if verdict.started_at is None else verdict.started_at
    named = set(verdict.node_ids)
    there = [row for row in rows if row.status not in GONE]
    sure = [row.node_id for row in there if row.node_id in named]
    made = nodes_made(there, operation.node_role, since, verdict.ended_at)
    # What the log names goes before what was merely made about that time.
    return [*sure, *(node_id for node_id in made if node_id not in named)][: operation.node_count]


def nodes_made(rows: Sequence[NodeRow], role: str, since: int, until: int) -> list[str]:
    """Ids of the nodes of `role` made from `since` to the end of the second of `until` (ms)."""
    return [
        row.node_id
        for row in rows
        if row.role == role
        and row.create_time is not None
        and since <= row.create_time.timestamp() * 1000 < until + WHOLE_SECOND_MS
    ]
