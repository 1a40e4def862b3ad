"""Are the nodes that our own operations have added in the cluster's node list?

If they are not, either somebody has deleted them, which the operation log shows, or the list cannot be
trusted: a schedule that keeps a number of nodes would buy them again and again.
"""

from collections.abc import Sequence

from tasks.ehpc.models import JobRow, NodeRow
from tasks.handlers.context import Context
from tasks.handlers.provider_calls import list_cluster_jobs, reserve
from tasks.ledger.record_values import State
from tasks.ledger.records import Cluster, Operation
from tasks.quota.priorities import CallPriority
from tasks.state_machine.node_arrivals import CLOCK_MARGIN_MS

SHOWN = 3


async def missing_nodes(ctx: Context, zone: str, cluster: Cluster, rows: Sequence[NodeRow]) -> list[str]:
    """Return which nodes are missing from the list without an explanation.

    Raises:
        Deferred: the quota has no room for listing the cluster's jobs.
        EhpcError: they cannot be listed.
    """
    owners = await ctx.ledger.jobs(cluster.cluster_id)
    known = await ctx.ledger.operations(set(owners.values()))
    succeeded = [one for one in known.values() if one.state is State.SUCCEEDED]
    unlisted = [one for one in succeeded if unlisted_of(one, rows)]
    if not unlisted:
        return []
    since = min(one.sent_at or one.planned_at for one in unlisted)
    grant = await reserve(ctx, CallPriority.SUBMIT)
    jobs = await list_cluster_jobs(ctx, zone, cluster.cluster_id, since, CallPriority.SUBMIT, grant)
    foreign = [job for job in jobs.rows if job.job_id not in owners]
    return [
        f"{missing} of operation {one.operation_id} are not listed, and no job has removed them"
        for one in unlisted
        if (missing := unlisted_of(one, rows))
        and not removed_later(one, foreign, ctx.settings.add_nodes_job_action)
    ]


def unlisted_of(operation: Operation, rows: Sequence[NodeRow]) -> str:
    """Return which nodes of an operation are in no row, for people; empty if all are."""
    listed = {row.node_id for row in rows}
    if operation.node_ids:
        missing = [node_id for node_id in operation.node_ids if node_id not in listed]
        more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
        return f"{', '.join(missing[:SHOWN])}{more}"
    # The log never named them, so only their number is known.
    return f"{operation.nodes_added} nodes" if len(rows) < operation.nodes_added else ""


def removed_later(operation: Operation, foreign: Sequence[JobRow], add_nodes_action: str) -> bool:
    """Return whether a foreign job may have removed nodes of the operation since it ended."""
    since, own = (operation.finished_at or 0) - CLOCK_MARGIN_MS, set(operation.node_ids)
    named = {node_id for job in foreign for node_id in job.node_ids}
    # Some jobs do not say which nodes they change.
    silent = [job for job in foreign if not job.node_ids and job.job_action != add_nodes_action]
    times = [job.create_time.timestamp() * 1000 for job in silent if job.create_time is not None]
    return not own.isdisjoint(named) or any(at >= since for at in times)
