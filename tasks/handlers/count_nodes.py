"""Finishes an operation whose job has ended, by listNodes where the log does not name its nodes."""

from tasks.ehpc.errors import EhpcError, Rejected
from tasks.handlers.context import Context
from tasks.handlers.provider_calls import Deferred, defer_after_error, list_cluster_nodes
from tasks.ledger.change_set import ChangeSet, CommitResult
from tasks.ledger.record_values import JobResult, State
from tasks.ledger.records import Operation
from tasks.ledger.snapshots import OperationSnapshot
from tasks.state_machine.completion import finish, note_job_result
from tasks.state_machine.node_arrivals import needs_listing, nodes_that_came
from tasks.state_machine.reconciliation import hold
from tasks.state_machine.submission import retry_later


async def finish_job(ctx: Context, snapshot: OperationSnapshot, result: JobResult) -> None:
    """Finish an operation whose job has ended by the log, or have its nodes counted first."""
    known: OperationSnapshot | None = snapshot
    operation_id = snapshot.operation.operation_id

    async def build() -> ChangeSet | None:
        nonlocal known
        current, known = known or await ctx.ledger.operation_snapshot(operation_id), None
        if current is None or current.operation.state is not State.RUNNING:
            return None
        operation, now = current.operation, ctx.clock.now_ms()
        if operation.job_result is not None:
            return None
        if needs_listing(operation, result):
            return note_job_result(operation, result, now)
        ids = result.node_ids[: operation.node_count]
        return finish(current, result, nodes_added=operation.node_count, node_ids=ids, now=now)

    await ctx.ledger.transact(build)


async def count_nodes(ctx: Context, operation: Operation) -> None:
    """List the cluster's nodes, and finish. A listing that fails is repeated later."""
    try:
        rows = await list_cluster_nodes(ctx, operation.zone, operation.cluster_id)
    except Deferred as deferred:
        await ctx.ledger.commit(retry_later(operation, at=deferred.until, reason=deferred.reason))
        return
    except EhpcError as error:
        if isinstance(error, Rejected) and await _held(ctx, operation, error):
            return
        later = await defer_after_error(ctx, error, operation.attempts)
        await ctx.ledger.commit(retry_later(operation, at=later.until, reason=later.reason))
        return

    async def build() -> ChangeSet | None:
        current = await ctx.ledger.operation_snapshot(operation.operation_id)
        if current is None or current.operation.state is not State.RUNNING:
            return None
        if (result := current.operation.job_result) is None:
            return None
        ids = nodes_that_came(current.operation, result, rows)
        return finish(current, result, nodes_added=len(ids), node_ids=ids, now=ctx.clock.now_ms())

    await ctx.ledger.transact(build)


async def _held(ctx: Context, operation: Operation, error: Rejected) -> bool:
    """Hold the operation once no request waits for it: a permanent refusal is not repeated for ever."""
    snapshot, now = await ctx.ledger.operation_snapshot(operation.operation_id), ctx.clock.now_ms()
    if snapshot is None or snapshot.has_time_left(now):
        return False
    cluster_id = operation.cluster_id
    reason = f"job {operation.job_id} has ended, but the nodes of {cluster_id} cannot be listed: {error}"
    changes = hold(snapshot.operation, snapshot.served, reason=reason, now=now)
    return await ctx.ledger.commit(changes) is CommitResult.OK
