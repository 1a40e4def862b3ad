"""PURE: which nodes a job has added, when the operation log alone does not show it."""

from collections.abc import Collection, Sequence

from tasks.ehpc.models import NodeRow
from tasks.ledger.record_values import JobResult
from tasks.ledger.records import Operation

GONE = frozenset({"deleted", "deleting", "ceased", "terminated", "released", "destroyed", "removed"})
CLOCK_MARGIN_MS = 5_000
WHOLE_SECOND_MS = 1_000


def needs_listing(operation: Operation, result: JobResult) -> bool:
    """Return whether nodes have to be listed: another number of ids, or a failed job, leaves a question."""
    return not result.successful or len(result.node_ids) not in (0, operation.node_count)


def nodes_that_came(
    operation: Operation, result: JobResult, rows: Sequence[NodeRow], others: Collection[str] = ()
) -> list[str]:
    """Return the ids of the nodes of this job, by the operation log and the cluster's `rows`.

    A node that the log names is there unless the list says that it is gone: the list may lag. While the job
    ran, nothing else could change the cluster (EHPC API, error 1400), so nodes of its role that were made in
    that time are its own too.

    Args:
        others: nodes of other operations.
    """
    sent_at = operation.sent_at or operation.planned_at
    # The job may have started long after the call was sent, and another have ended in between.
    since = sent_at - CLOCK_MARGIN_MS if result.started_at is None else result.started_at
    gone = {*others, *(row.node_id for row in rows if row.status in GONE)}
    certain = [node_id for node_id in dict.fromkeys(result.node_ids) if node_id not in gone]
    present = [row for row in rows if row.node_id not in gone]
    made = nodes_made(present, operation.node_role, since, result.ended_at)
    # What both show goes first, and what the log names before what was merely made about that time.
    both = [node_id for node_id in certain if node_id in set(made)]
    return list(dict.fromkeys([*both, *certain, *made]))[: operation.node_count]


def nodes_made(rows: Sequence[NodeRow], role: str, since: int, until: int) -> list[str]:
    """Return the ids of the nodes of `role` made from `since` to the end of the second of `until` (ms)."""
    return [
        row.node_id
        for row in rows
        # Nothing else changed the cluster meanwhile, so that a node without a role is the job's as well.
        if row.role in (role, "")
        and row.create_time is not None
        and since <= row.create_time.timestamp() * 1000 < until + WHOLE_SECOND_MS
    ]
